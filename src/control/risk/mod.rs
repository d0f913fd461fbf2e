//! `risk`: the owner says what share of time may be over the target, not gains.
//!
//! Demand one lead ahead is foretold by several predictors, each held for several times. Each of these candidates keeps
//! its own errors, realised one lead later; raised by the quantile of them that is exceeded in the accepted share of
//! time, all candidates carry the same risk, so the cheapest is the best. There is nothing to tune, and nothing to know
//! at the start: a margin that is common in the field is blended out as errors come in.

mod errors;
mod past;

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::errors::Errors;
use self::past::Past;
use super::window::Highest;
use crate::observation::elapsed;
use crate::policy::Capacity;

/// Samples are no closer than this, however short the interval, so that memory is bounded.
const LEAST_SPACING: Duration = Duration::from_secs(15);
const DAY: Duration = Duration::from_hours(24);
/// How long a candidate holds the highest prediction.
const HOLDS: [Duration; 5] =
    [Duration::ZERO, Duration::from_mins(2), Duration::from_mins(5), Duration::from_mins(15), Duration::from_mins(30)];
/// Persistence, trend, seasonal, and the higher of the first and third.
const PREDICTORS: usize = 4;
const SEASONAL: usize = 2;
const CANDIDATES: usize = PREDICTORS * HOLDS.len();
/// Persistence held for five minutes, which is what others do, until errors tell.
const FIRST_CHOICE: usize = 2;

/// Samples between two looks at the quantiles and the choice.
const REFRESH: u32 = 40;
/// The margin at the start where the group is short: else it is what the group runs with. Against the ceiling it makes a target of about 70 %.
const FIRST_MARGIN: f64 = 0.35;
/// The most that is taken over from what the group runs with: an idle one says little of what a busy one needs.
const MOST_FIRST_MARGIN: f64 = 0.6;
/// The same at several times the accepted share, relative to that.
const LOOSE: f64 = 0.57;
/// How long it is blended out.
const BLEND: Duration = Duration::from_hours(4);
const MARGINS: (f64, f64) = (0.02, 9.0);
/// Whole instances and the noise within a sample need this much of the ceiling.
const USABLE: f64 = 0.97;
/// A candidate that can't be judged before it has a season must have been for so long.
const PROBATION: Duration = Duration::from_hours(8);
/// The choice changes for a gain of 3 %.
const WORTH_A_CHANGE: f64 = 0.97;
/// Below this share of the highest demand of the day errors are another population.
const LOW: f64 = 0.15;
/// Fewer samples than this make no population of their own.
const POPULATION: f64 = 300.0;
/// How fast the accepted share follows what was realised, and how far. At much less than the share that is accepted, the
/// quantile would rest on a single crowd of the day, and every crowd that nobody could foretell would buy it for hours.
const ADAPTATION: f64 = 0.002;
const ADAPTED: (f64, f64) = (0.4, 3.0);
/// A scale-out must be needed at this many times the accepted share, so that noise buys nothing.
const LOOSER: f64 = 5.0;
/// Stands for a prediction of nothing, so that an error relative to it exists.
const LEAST: f64 = 0.1;

/// What the law is asked for, apart from demand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The accepted share of time over the target.
    pub share: f64,
    /// Launch to serving.
    pub boot_time: Duration,
    /// In service to carrying a full share.
    pub warm_up: Duration,
    /// Time between two evaluations.
    pub interval: Duration,
}

/// What there is to do now, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Instances' worth of work at the ceiling; finite, not negative.
    pub demand: f64,
    /// The ceiling is exceeded.
    pub over: bool,
    /// More would have been served if it had been asked for.
    pub free: bool,
    /// Desired capacity.
    pub desired: Capacity,
}

/// What is foretold to be needed, in instances before rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Need {
    /// At the accepted share of time over the target.
    pub strict: f64,
    /// At several times that share: less than this is not noise.
    pub loose: f64,
    /// What `strict` keeps beyond what is foretold, as a share.
    pub margin: f64,
}

/// The day's memory of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RiskMemory {
    sampled: Timestamp,
    samples: u32,
    /// How many of them had a season to go by.
    seasonal: u32,
    past: Past,
    highest: Highest<f64>,
    candidates: Box<[Candidate; CANDIDATES]>,
    /// What each candidate foretold, oldest first; as far back as one lead.
    foretold: VecDeque<Foretold>,
    #[serde(deserialize_with = "candidate")]
    chosen: usize,
    /// The share of time that is aimed at, so that the accepted one comes out.
    aim: f64,
    /// The margin at the start.
    first: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Foretold {
    at: Timestamp,
    values: [f32; CANDIDATES],
    low: [bool; CANDIDATES],
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Candidate {
    held: Highest<f64>,
    value: f64,
    /// What the population of low predictions, and that of the others, has come to.
    populations: [Population; 2],
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Population {
    errors: Errors,
    /// Fading sums: of the values, and of their upward moves.
    capacity: f64,
    launched: f64,
    /// As of the last refresh.
    strict: f64,
    loose: f64,
}

/// A place in the list of candidates; the first choice where there is no such place.
fn candidate<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let chosen = usize::deserialize(deserializer)?;
    Ok(if chosen < CANDIDATES { chosen } else { FIRST_CHOICE })
}

impl Terms {
    /// The time from a decision to the capacity that it brings: boot, half the warm-up, and one interval.
    fn lead(&self) -> Duration {
        self.boot_time + self.warm_up / 2 + self.interval
    }

    /// Time between two samples: whole intervals.
    fn spacing(&self) -> Duration {
        let intervals = LEAST_SPACING.as_secs_f64() / self.interval.as_secs_f64().max(0.001);
        self.interval.mul_f64(intervals.ceil().max(1.0))
    }
}

impl RiskMemory {
    fn new(share: f64, first: f64, now: Timestamp) -> Self {
        let population = || Population { strict: first, loose: first * LOOSE, ..Population::default() };
        let candidate = || Candidate { populations: [population(), population()], ..Candidate::default() };
        Self {
            sampled: now,
            samples: 0,
            seasonal: 0,
            past: Past::default(),
            highest: Highest::default(),
            candidates: Box::new(std::array::from_fn(|_| candidate())),
            foretold: VecDeque::new(),
            chosen: FIRST_CHOICE,
            aim: share,
            first,
        }
    }

    /// Takes one sample in: scores what was foretold, and foretells anew.
    fn sample(&mut self, terms: &Terms, demand: f64, over: bool, now: Timestamp) {
        self.sampled = now;
        self.samples = self.samples.saturating_add(1);
        let missed = if over { 1.0 } else { 0.0 };
        let (least, most) = ADAPTED;
        self.aim = (self.aim + ADAPTATION * (terms.share - missed)).clamp(terms.share * least, terms.share * most);
        self.score(terms, demand, now);
        self.past.push(now, demand);
        let highest = self.highest.push(now, demand, DAY);
        self.foretell(terms, demand, highest, now);
        if self.samples.is_multiple_of(REFRESH) {
            self.refresh(terms);
        }
    }

    /// Compares demand with what was foretold for now.
    fn score(&mut self, terms: &Terms, demand: f64, now: Timestamp) {
        let lead = terms.lead();
        let mut due = None;
        while self.foretold.front().is_some_and(|foretold| elapsed(foretold.at, now) >= lead) {
            due = self.foretold.pop_front();
        }
        // After a gap the newest that is due was made for another time.
        let Some(due) = due.filter(|due| elapsed(due.at, now) < lead + terms.spacing() * 2) else { return };
        let marks = due.values.iter().zip(due.low);
        for (candidate, (value, low)) in self.candidates.iter_mut().zip(marks) {
            candidate.populations[usize::from(low)].errors.count(f64::from(*value).max(LEAST), demand);
        }
    }

    fn foretell(&mut self, terms: &Terms, demand: f64, highest: f64, now: Timestamp) {
        let trend = self.past.trend(now, demand, terms.lead());
        let seasonal = self.past.seasonal(now, terms.lead(), terms.spacing());
        let season = seasonal.unwrap_or(demand);
        self.seasonal = self.seasonal.saturating_add(u32::from(seasonal.is_some()));
        let predictions = [demand, trend, season, season.max(demand)];
        let mut foretold = Foretold { at: now, values: [0.0; CANDIDATES], low: [false; CANDIDATES] };
        for (index, candidate) in self.candidates.iter_mut().enumerate() {
            let (predictor, hold) = (index / HOLDS.len(), HOLDS[index % HOLDS.len()]);
            let value = candidate.held.push(now, predictions[predictor], hold);
            let low = value < LOW * highest;
            let population = &mut candidate.populations[usize::from(low)];
            population.capacity += value;
            population.launched += (value - candidate.value).max(0.0);
            candidate.value = value;
            #[expect(clippy::cast_possible_truncation, reason = "an error is classed in steps of two percent")]
            let narrow = value as f32;
            foretold.values[index] = narrow;
            foretold.low[index] = low;
        }
        self.foretold.push_back(foretold);
    }

    /// Takes the quantiles of the errors anew, and with them the choice.
    fn refresh(&mut self, terms: &Terms) {
        // By what was seen, not by the clock: a gap teaches nothing.
        let age = terms.spacing().saturating_mul(self.samples);
        let blend = 1.0 - (age.as_secs_f64() / BLEND.as_secs_f64()).min(1.0);
        let faded = (-terms.spacing().as_secs_f64() * f64::from(REFRESH) / DAY.as_secs_f64()).exp();
        let loose = (self.aim * LOOSER).min(0.5);
        for candidate in self.candidates.iter_mut() {
            candidate.refresh((self.aim, self.first), (loose, self.first * LOOSE), blend);
            candidate.fade(faded);
        }
        let launch = terms.boot_time.as_secs_f64() / terms.spacing().as_secs_f64();
        let cost = |candidate: &Candidate| candidate.cost(launch, self.aim);
        let seasoned = terms.spacing().saturating_mul(self.seasonal) >= PROBATION;
        let eligible = if seasoned { CANDIDATES } else { SEASONAL * HOLDS.len() };
        let cheapest =
            self.candidates.iter().enumerate().take(eligible).min_by(|(_, a), (_, b)| cost(a).total_cmp(&cost(b)));
        if let Some((index, candidate)) = cheapest
            && blend < 0.75
            && cost(candidate) < WORTH_A_CHANGE * cost(&self.candidates[self.chosen])
        {
            self.chosen = index;
        }
    }

    fn need(&self, demand: f64) -> Need {
        let candidate = &self.candidates[self.chosen];
        let highest = self.highest.last_extreme().unwrap_or(demand);
        let population = &candidate.populations[usize::from(candidate.value < LOW * highest)];
        let needed = |margin: f64| (candidate.value * (1.0 + margin) / USABLE).max(demand);
        let (strict, loose) = (needed(population.strict), needed(population.loose));
        Need { strict, loose: loose.min(strict), margin: population.strict }
    }
}

impl Candidate {
    /// Takes the margins anew, each for a share of time that may exceed it, from what was known at first and since.
    fn refresh(&mut self, strict: (f64, f64), loose: (f64, f64), blend: f64) {
        let [normal, low] = &self.populations;
        let margins = |own: &Population, other: &Population| {
            let other = (own.errors.total() < POPULATION).then_some(&other.errors);
            let known = own.errors.total() + other.map_or(0.0, Errors::total) > 0.0;
            let blended = |(tail, first)| {
                let (least, most) = MARGINS;
                let margin = if known { own.errors.exceeded_by(other, tail).clamp(least, most) } else { first };
                // That more is needed is believed at once; that less will do, only in time.
                margin.max(blend * first + (1.0 - blend) * margin)
            };
            (blended(strict), blended(loose))
        };
        let found = [margins(normal, low), margins(low, normal)];
        for (population, (strict, loose)) in self.populations.iter_mut().zip(found) {
            (population.strict, population.loose) = (strict, loose);
        }
    }

    /// What it costs at the risk of all others. Where even the largest margin leaves more than `aim` of the time
    /// uncovered, it is not at that risk, and counts as dearer by as much as it misses more often.
    fn cost(&self, launch: f64, aim: f64) -> f64 {
        let [normal, low] = &self.populations;
        let errors = (normal.errors.total() + low.errors.total()).max(1.0);
        let missed = (normal.errors.uncovered() + low.errors.uncovered()) / errors;
        (normal.cost(launch) + low.cost(launch)) * (missed / aim).max(1.0)
    }

    fn fade(&mut self, share: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "a share close to one")]
        let narrow = share as f32;
        for population in &mut self.populations {
            population.errors.fade(narrow);
            population.capacity *= share;
            population.launched *= share;
        }
    }
}

impl Population {
    /// Capacity over time, with what is billed before it serves: a launch costs `launch` samples of an instance.
    fn cost(&self, launch: f64) -> f64 {
        (1.0 + self.strict) * (self.capacity + self.launched * launch)
    }
}

/// What the load of now will need. A group that runs well with less than the first margin goes on so, so that a restart
/// changes nothing.
pub(super) fn need(terms: &Terms, memory: &mut Option<RiskMemory>, load: Load, now: Timestamp) -> Need {
    let Load { demand, over, free, desired } = load;
    // No more than can be asked for: one absurd number must not spoil the sums of a day.
    let demand = demand.min(Capacity::MAX.as_f64());
    let first = memory.is_none();
    let running = desired.as_f64() * USABLE / demand.max(LEAST) - 1.0;
    let margin = if over { FIRST_MARGIN } else { running.clamp(USABLE - 1.0, MOST_FIRST_MARGIN) };
    let memory = memory.get_or_insert_with(|| RiskMemory::new(terms.share, margin, now));
    // Half a second early is on time: cycles start when a timer says so.
    if first || elapsed(memory.sampled, now) + Duration::from_millis(500) >= terms.spacing() {
        memory.sample(terms, demand, over && free, now);
    }
    memory.need(demand)
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::Error as ValueError;

    use super::*;

    const TERMS: Terms = Terms {
        share: 0.01,
        boot_time: Duration::from_mins(2),
        warm_up: Duration::from_mins(1),
        interval: Duration::from_secs(15),
    };

    /// What is remembered after samples of `demand` at these seconds.
    fn taught(seconds: impl Iterator<Item = i64>, demand: impl Fn(i64) -> f64) -> RiskMemory {
        let mut memory = None;
        for second in seconds {
            let load = Load { demand: demand(second), over: false, free: true, desired: Capacity::new(20) };
            need(&TERMS, &mut memory, load, Timestamp::from_second(second).unwrap());
        }
        memory.unwrap()
    }

    /// Half an hour of it in every hour.
    fn crowds(second: i64) -> f64 {
        if second / 1800 % 2 == 1 { 60.0 } else { 10.0 }
    }

    #[test]
    fn a_prediction_is_judged_one_lead_later() {
        let check = |seconds: &mut dyn Iterator<Item = i64>, expected: f64| {
            let judged = taught(seconds, |_| 10.0).candidates[0].populations[0].errors.total();
            assert!((judged - expected).abs() < 1e-9, "{judged}, not {expected}");
        };
        let every = |samples| (0..samples).map(|sample| sample * 15);
        check(&mut every(11), 0.0);
        check(&mut every(12), 1.0);
        check(&mut every(33), 22.0);
        // One that is ten seconds late judges what is, and makes the next wait.
        check(&mut every(33).map(|second| if second == 300 { 310 } else { second }), 20.0);
        // What was foretold before a gap was for a time within it.
        check(&mut every(20).chain([3600]), 9.0);
    }

    #[test]
    fn samples_are_whole_intervals_apart_and_no_closer_than_the_least() {
        for (interval, expected) in [(5, 15), (10, 20), (15, 15), (20, 20), (60, 60)] {
            let terms = Terms { interval: Duration::from_secs(interval), ..TERMS };
            assert_eq!(terms.spacing(), Duration::from_secs(expected), "every {interval} s");
        }
    }

    #[test]
    fn a_crowd_that_comes_every_day_is_awaited() {
        let chosen = |hours: i64| taught((0..hours * 3600).step_by(15), crowds).chosen / HOLDS.len();
        assert!(chosen(24) < SEASONAL);
        assert!(chosen(32) < SEASONAL, "a season is on probation");
        assert!(chosen(3 * 24) >= SEASONAL);
    }

    #[test]
    fn a_crowd_that_comes_out_of_nothing_every_day_is_awaited() {
        // Every hour, for ten minutes: no margin on nothing is enough, and nothing is held for so long.
        let batch = |second: i64| if second % 3_600 / 600 == 3 { 80.0 } else { 0.0 };
        let memory = taught((0..3 * 86_400).step_by(15), batch);
        assert!(memory.chosen / HOLDS.len() >= SEASONAL, "{}", memory.chosen);
    }

    #[test]
    fn what_no_margin_covers_makes_a_candidate_dearer_by_as_much_as_it_misses() {
        let cost = |uncovered: u32| {
            let mut candidate = Candidate::default();
            let [normal, low] = &mut candidate.populations;
            normal.capacity = 5.0;
            (0..100 - uncovered).for_each(|_| normal.errors.count(1.0, 1.0));
            (0..uncovered).for_each(|_| low.errors.count(1.0, 20.0));
            candidate.cost(8.0, 0.01)
        };
        let dearer = [0, 1, 2, 3].map(|uncovered| cost(uncovered) / 5.0);
        let off = dearer.iter().zip([1.0, 1.0, 2.0, 3.0]).map(|(found, expected)| (found - expected).abs());
        assert!(off.fold(0.0, f64::max) < 1e-9, "{dearer:?}");
    }

    #[test]
    fn errors_at_a_low_level_are_those_of_another_population() {
        let memory = taught((0..86_400).step_by(15), |second| if second % 3600 < 1800 { 100.0 } else { 14.0 });
        let [normal, low] = &memory.candidates[0].populations;
        assert!((normal.errors.total() - low.errors.total()).abs() < 200.0);
        assert!(low.strict > 5.0 && normal.strict < 0.1, "{} and {}", low.strict, normal.strict);
    }

    #[test]
    fn the_accepted_share_follows_what_was_missed() {
        let aim = |over| {
            let mut memory = RiskMemory::new(TERMS.share, 0.3, Timestamp::UNIX_EPOCH);
            (0..2_000).for_each(|_| memory.sample(&TERMS, 10.0, over, Timestamp::UNIX_EPOCH));
            memory.aim
        };
        assert!((aim(true) - 0.004).abs() < 1e-9, "{}", aim(true));
        assert!((aim(false) - 0.03).abs() < 1e-9, "{}", aim(false));
    }

    #[test]
    fn a_choice_of_another_version_that_is_none_here_is_the_first() {
        let read = |chosen: usize| candidate(IntoDeserializer::<ValueError>::into_deserializer(chosen)).unwrap();
        assert_eq!(
            [0, CANDIDATES - 1, CANDIDATES, usize::MAX].map(read),
            [0, CANDIDATES - 1, FIRST_CHOICE, FIRST_CHOICE]
        );
    }
}
