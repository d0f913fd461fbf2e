//! Which settings are tried: first all over the space, then ever nearer to the best of them.
//!
//! A batch is raced: all of its settings run on the beginning of the training part, and those go on to a longer part
//! that the fewest others beat in both cost and time over the objective. Which go on is decided when all have arrived,
//! so that it does not matter which was first.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::knobs::{Knob, Range, knobs};
use super::parallel::at_once;
use super::{Progress, Task, contestant, part, share};
use crate::policy::{MetricKind, Policy};
use crate::simulation::contest::Arena;
use crate::simulation::noise::Noise;
use crate::simulation::trace::count;

/// One round of a race.
#[derive(Clone, Copy)]
struct Heat {
    /// How much of the training part it is.
    of: f64,
    /// How much of the batch goes on from there.
    keep: f64,
}

const HEATS: [Heat; 2] = [Heat { of: 0.1, keep: 0.25 }, Heat { of: 0.33, keep: 0.34 }];

/// A smaller batch is not worth a race.
const LEAST_RACE: usize = 12;

/// A shorter part tells nothing, in seconds: windows and cooldowns are of half an hour.
const LEAST_HEAT: f64 = 12.0 * HOUR;

/// How many still run to the end when the search is told to stop.
const LAST: usize = 2;

/// How much of the candidates is drawn from the whole space.
const WIDE: f64 = 0.5;

/// How far from the best each further batch looks, as a share of a knob's range.
const NEAR: [f64; 4] = [0.2, 0.1, 0.05, 0.03];

/// How many of the best are looked around.
const ELITE: usize = 5;

/// How many of the knobs are turned at once, near the best.
const TURNED: f64 = 0.4;

/// What costs so little more is as good, if it leaves the policy more as it is.
const AS_GOOD: f64 = 1.002;

/// Seconds of an hour.
const HOUR: f64 = 3600.0;

/// A value for each knob.
type Setting = Vec<f64>;

/// What a setting came to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Trial {
    /// Percent of the time over the objective.
    over: f64,
    /// Instance-seconds.
    cost: f64,
}

impl Trial {
    /// Better in both, or in one and no worse in the other.
    fn beats(&self, other: &Self) -> bool {
        self.over <= other.over && self.cost <= other.cost && self != other
    }

    /// The better comes first: what keeps the objective by its cost, and after it what does not by how much.
    fn order(&self, other: &Self, slo: f64) -> std::cmp::Ordering {
        match (self.over <= slo, other.over <= slo) {
            (true, false) => Less,
            (false, true) => Greater,
            (true, true) => self.cost.total_cmp(&other.cost).then(self.over.total_cmp(&other.over)),
            (false, false) => self.over.total_cmp(&other.over).then(self.cost.total_cmp(&other.cost)),
        }
    }
}

/// What a search ended with.
pub(super) struct Found {
    pub best: Setting,
    pub tried: usize,
    pub stopped: bool,
}

pub(super) struct Search<'a> {
    policy: &'a Policy,
    ranges: Vec<Range>,
    training: &'a Arena,
    /// Shorter parts of it.
    heats: Vec<(Heat, Arena)>,
    slo: f64,
    candidates: usize,
    seed: u64,
    stop: &'a AtomicBool,
    watch: &'a (dyn Fn(Progress) + Sync),
    progress: Mutex<Progress>,
    planned: f64,
}

impl<'a> Search<'a> {
    pub fn new(
        policy: &'a Policy,
        training: &'a Arena,
        task: &Task,
        stop: &'a AtomicBool,
        watch: &'a (dyn Fn(Progress) + Sync),
    ) -> Self {
        let demand = training.demand();
        let mut ranges = knobs(policy);
        if training.settings().totals_at.is_some() {
            // What a total is then follows its target, so turning that would turn nothing.
            let kind = |place: usize| policy.metrics.get(place).map(|metric| metric.kind);
            ranges.retain(|range| !matches!(range.knob, Knob::Target(place) if kind(place) == Some(MetricKind::Total)));
        }
        let long = HEATS.iter().filter(|heat| heat.of * demand.seconds() >= LEAST_HEAT);
        let arena = |of| Arena::new(training.settings().clone(), part(demand, 0, share(demand.expected.len(), of)));
        let heats = long.map(|heat| (*heat, arena(heat.of))).collect();
        let mut search = Self {
            policy,
            ranges,
            training,
            heats,
            slo: task.slo,
            candidates: task.candidates.max(1),
            seed: task.seed,
            stop,
            watch,
            progress: Mutex::new(Progress { done: 0.0, best: None }),
            planned: 0.0,
        };
        search.planned = search.planned();
        search
    }

    pub fn policy_of(&self, setting: &Setting) -> Policy {
        let mut policy = self.policy.clone();
        let present = self.present();
        for ((range, value), now) in self.ranges.iter().zip(setting).zip(present) {
            // What stays as it is stays unstated, such as a lead that follows the boot time.
            if value.total_cmp(&now) != Equal {
                range.knob.set(&mut policy, *value);
            }
        }
        policy
    }

    fn present(&self) -> Setting {
        self.ranges.iter().map(|range| range.knob.of(self.policy)).collect()
    }

    pub fn run(&self) -> Found {
        let mut noise = Noise::new(self.seed);
        let present = self.present();
        let mut known = vec![(present.clone(), self.trial(self.training, 1.0, &present))];
        let mut tried = 1;
        for (size, radius) in self.batches() {
            let batch = match radius {
                None => self.hypercube(size, &mut noise),
                Some(radius) => self.around(&known, size, radius, &mut noise),
            };
            let (began, finished) = self.race(batch);
            tried += began;
            known.extend(finished);
            known.sort_by(|(_, left), (_, right)| left.order(right, self.slo));
        }
        let stopped = self.stopped();
        let (best, trial) = known.swap_remove(0);
        Found { best: if stopped { best } else { self.simplest(best, trial) }, tried, stopped }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How many settings each batch has, and how far from the best it looks; the first looks everywhere.
    fn batches(&self) -> Vec<(usize, Option<f64>)> {
        let all = self.candidates - 1;
        let wide = share(all, WIDE);
        let near = |place: usize| (all - wide + place) / NEAR.len();
        let further = NEAR.iter().enumerate().map(|(place, radius)| (near(place), Some(*radius)));
        std::iter::once((wide, None)).chain(further).filter(|(size, _)| *size > 0).collect()
    }

    /// Settings that lie evenly over the range of every knob, in any combination (a Latin hypercube).
    fn hypercube(&self, size: usize, noise: &mut Noise) -> Vec<Setting> {
        let mut batch = vec![Setting::new(); size];
        for range in &self.ranges {
            let mut cells: Vec<(f64, usize)> = (0..size).map(|cell| (noise.uniform(), cell)).collect();
            cells.sort_by(|(left, _), (right, _)| left.total_cmp(right));
            for (setting, (_, cell)) in batch.iter_mut().zip(cells) {
                let [cell, size] = [cell, size].map(count);
                setting.push(range.at((cell + 1.0 - noise.uniform()) / size));
            }
        }
        batch
    }

    /// Settings near the best of `known`, which are in order.
    fn around(&self, known: &[(Setting, Trial)], size: usize, radius: f64, noise: &mut Noise) -> Vec<Setting> {
        let elite = known[..known.len().min(ELITE)].iter().cycle().take(size);
        elite.map(|(setting, _)| self.near(setting, radius, noise)).collect()
    }

    fn near(&self, setting: &Setting, radius: f64, noise: &mut Noise) -> Setting {
        let knobs = self.ranges.iter().zip(setting);
        let turned = knobs.map(|(range, value)| {
            let (turns, by) = (noise.uniform() < TURNED, radius * noise.normal());
            if turns { range.at(range.place(*value) + by) } else { *value }
        });
        turned.collect()
    }

    /// Lets settings race; how many began, and those that ran to the end.
    fn race(&self, mut batch: Vec<Setting>) -> (usize, Vec<(Setting, Trial)>) {
        batch.sort_by(|left, right| left.partial_cmp(right).unwrap_or(Equal));
        batch.dedup();
        let mut began = None;
        if batch.len() >= LEAST_RACE {
            for (heat, arena) in self.heats.iter().take_while(|_| !self.stopped()) {
                let arrived = self.trials(arena, heat.of, batch);
                began = began.or(Some(arrived.len()));
                batch = self.foremost(arrived, heat.keep);
            }
        }
        if self.stopped() {
            // The foremost of a race that was broken off still tell the best so far.
            batch.truncate(if began.is_some() { LAST } else { 0 });
            let finished = batch.into_iter().map(|setting| (setting.clone(), self.trial(self.training, 1.0, &setting)));
            return (began.unwrap_or(0), finished.collect());
        }
        let finished = self.trials(self.training, 1.0, batch);
        (began.unwrap_or(finished.len()), finished)
    }

    /// Those that the fewest others beat.
    fn foremost(&self, arrived: Vec<(Setting, Trial)>, keep: f64) -> Vec<Setting> {
        let trials: Vec<Trial> = arrived.iter().map(|(_, trial)| *trial).collect();
        let beaten = |trial: &Trial| trials.iter().filter(|other| other.beats(trial)).count();
        let mut ranked: Vec<_> = arrived.into_iter().map(|(setting, trial)| (beaten(&trial), trial, setting)).collect();
        ranked.sort_by(|(left, a, _), (right, b, _)| left.cmp(right).then(a.order(b, self.slo)));
        ranked.truncate(share(trials.len(), keep));
        ranked.into_iter().map(|(_, _, setting)| setting).collect()
    }

    /// As `best`, with every knob that does not matter left as it is.
    fn simplest(&self, mut best: Setting, trial: Trial) -> Setting {
        for (place, now) in self.present().into_iter().enumerate() {
            let turned = std::mem::replace(&mut best[place], now);
            if turned.total_cmp(&now) == Equal {
                continue;
            }
            let without = self.trial(self.training, 1.0, &best);
            let as_good = without.over <= self.slo.max(trial.over) && without.cost <= trial.cost * AS_GOOD;
            if !as_good {
                best[place] = turned;
            }
        }
        best
    }

    fn trials(&self, arena: &Arena, of: f64, batch: Vec<Setting>) -> Vec<(Setting, Trial)> {
        let run = |setting: Setting| {
            let trial = self.trial(arena, of, &setting);
            (setting, trial)
        };
        at_once(batch, self.stop, run).into_iter().flatten().collect()
    }

    /// What `setting` comes to in `arena`, which is so much of the training part.
    fn trial(&self, arena: &Arena, of: f64, setting: &Setting) -> Trial {
        let tally = arena.tally(&contestant(&self.policy_of(setting)));
        let score = tally.score(arena.optimum());
        let trial = Trial { over: score.over_objective, cost: tally.billed_seconds };
        let best = Some(trial.cost / HOUR).filter(|_| of >= 1.0 && trial.over <= self.slo);
        self.advance(of, best);
        trial
    }

    fn advance(&self, by: f64, found: Option<f64>) {
        // A panic under this lock would be one of `watch`; then there is nobody to be told.
        let Ok(mut progress) = self.progress.lock() else { return };
        progress.done = (progress.done + by / self.planned).min(1.0);
        progress.best = [progress.best, found].into_iter().flatten().min_by(f64::total_cmp);
        (self.watch)(*progress);
    }

    /// How often the training part is run through, all in all.
    fn planned(&self) -> f64 {
        let heat = |(left, runs): (f64, f64), (heat, _): &(Heat, Arena)| (left * heat.keep, runs + left * heat.of);
        let (left, runs) = self.heats.iter().fold((1.0, 0.0), heat);
        let race = left + runs;
        let batch = |(size, _): (usize, _)| count(size) * if size < LEAST_RACE { 1.0 } else { race };
        1.0 + count(self.ranges.len()) + self.batches().into_iter().map(batch).sum::<f64>()
    }
}
