//! Whether more capacity helps a latency.
//!
//! A latency over its target asks for more. Where its cause lies elsewhere, in a database, a lock, or a limit that the fleet
//! itself runs into, more never helps and may make it worse. What tells is the load of one instance: where the fleet has
//! grown and each has less to do, and the latency is no better, capacity is not what it lacks. A crowd that grows as fast
//! as the fleet leaves each instance as much to do, so that it never looks like this; by the latency alone, or by a
//! utilization alone, the two can't be told apart. See [`Brake`](crate::policy::Brake).

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observation::elapsed;
use crate::policy::Capacity;

/// A boot with its warm-up counts as this long at least, so that a metric that is the mean of some minutes has seen it.
const LEAST_TURN: Duration = Duration::from_mins(2);
/// Turns since the latency went over its target.
const TURNS: u32 = 3;
/// Turns between two tries.
const REST: u32 = 10;
/// An instance has less to do when its load is this share of what it was.
const LIGHTER: f64 = 0.75;
/// A latency is better when it is this share of what it was at its worst.
const BETTER: f64 = 0.9;
/// What a try adds, as a share.
const TRY: f64 = 0.2;

/// What is remembered of one latency: nothing while it is within its target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct BrakeMemory(Option<Episode>);

/// A time in which the latency has been over its target, and not got better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Episode {
    since: Timestamp,
    /// When it was seen last.
    at: Timestamp,
    /// What served at the beginning.
    from: Capacity,
    /// The load of one instance at the beginning, over its target.
    load: f64,
    /// The filtered logarithm of the latency over its target, and the highest of it.
    course: f64,
    worst: f64,
    /// Since when the fleet has grown enough to tell.
    grown: Option<Timestamp>,
    /// When the brake took hold or a step was tried last, and what was desired then.
    held: Option<(Timestamp, Capacity)>,
}

/// What is seen of a latency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The latency over its target.
    pub ratio: f64,
    /// The load of one instance over its target, where a metric of the policy tells it.
    pub load: Option<f64>,
    pub serving: Capacity,
    pub desired: Capacity,
}

/// The most that a latency may ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit {
    pub most: Capacity,
    /// Since when it has been over its target without getting better.
    pub since: Timestamp,
    /// What served then.
    pub from: Capacity,
    /// Time until a step is tried; zero when that is now.
    pub rest: Duration,
}

/// How long it takes until what is asked for has shown in what is measured, at least.
pub(super) fn turn(boot_time: Duration, warm_up: Duration, interval: Duration) -> Duration {
    (boot_time + warm_up).max(LEAST_TURN).max(interval * 2)
}

impl BrakeMemory {
    /// Whether the brake has taken hold.
    pub(super) fn holds(&self) -> bool {
        self.0.as_ref().is_some_and(|episode| episode.held.is_some())
    }

    /// Takes what is `seen` in; `None` where the latency may ask for as much as it likes.
    pub(super) fn limit(&mut self, factor: f64, turn: Duration, seen: Seen, now: Timestamp) -> Option<Limit> {
        if seen.ratio <= 1.0 {
            self.0 = None;
            return None;
        }
        let load = seen.load?;
        let x = seen.ratio.ln();
        let known = self.0.take().filter(|episode| elapsed(episode.at, now) <= turn);
        let mut episode = known.unwrap_or_else(|| Episode::begin(x, load, seen.serving, now));
        episode.follow(x, turn, now);
        if episode.course < episode.worst + BETTER.ln() {
            episode = Episode::begin(episode.course, load, seen.serving, now);
        }
        let lighter = load <= (LIGHTER * episode.load).min(1.0);
        episode.judge(factor, turn, lighter, seen, now);
        let limit = episode.limit(turn, seen.desired, now);
        self.0 = Some(episode);
        limit.filter(|_| lighter)
    }
}

impl Episode {
    fn begin(course: f64, load: f64, from: Capacity, now: Timestamp) -> Self {
        Self { since: now, at: now, from, load, course, worst: course, grown: None, held: None }
    }

    /// Filters in first order with a time constant of one turn, since a tail latency scatters widely.
    fn follow(&mut self, x: f64, turn: Duration, now: Timestamp) {
        let seconds = elapsed(self.at, now).as_secs_f64();
        self.course += seconds / (turn.as_secs_f64() + seconds) * (x - self.course);
        self.worst = self.worst.max(self.course);
        self.at = now;
    }

    /// Takes hold where it is shown that more does not help.
    fn judge(&mut self, factor: f64, turn: Duration, lighter: bool, seen: Seen, now: Timestamp) {
        let enough = factor * self.from.as_f64().max(1.0);
        let grown = (seen.serving.as_f64() >= enough).then(|| self.grown.unwrap_or(now));
        self.grown = grown;
        let tried = grown.is_some_and(|grown| elapsed(grown, now) >= turn) && elapsed(self.since, now) >= turn * TURNS;
        let shown = lighter && tried && self.held.is_none();
        // What has been added since, by this latency's own try or for another reason, is to show first.
        if shown || self.held.is_some_and(|(_, desired)| seen.desired > desired) {
            self.held = Some((now, seen.desired));
        }
    }

    fn limit(&self, turn: Duration, desired: Capacity, now: Timestamp) -> Option<Limit> {
        let (since, _) = self.held?;
        let rest = (turn * REST).saturating_sub(elapsed(since, now));
        let step = Capacity::ceil(desired.as_f64() * TRY)?.max(Capacity::new(1));
        let most = if rest.is_zero() { desired.plus(step) } else { desired };
        Some(Limit { most, since: self.since, from: self.from, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_mins(2);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Four instances at twice the target, each at 0.8 of its load; from second 120 on there are eight, at 0.4.
    fn futile(second: i64) -> Seen {
        let (serving, load) = if second < 120 { (4, 0.8) } else { (8, 0.4) };
        let serving = Capacity::new(serving);
        Seen { ratio: 2.0, load: Some(load), serving, desired: serving }
    }

    fn eight(second: i64, change: impl Fn(&mut Seen)) -> Seen {
        let mut seen = futile(second);
        if second >= 120 {
            change(&mut seen);
        }
        seen
    }

    fn limit(memory: &mut BrakeMemory, second: i64, seen: Seen) -> Option<Limit> {
        memory.limit(2.0, TURN, seen, at(second))
    }

    /// Sees every 15 s until `end`, and returns the last limit.
    fn run(memory: &mut BrakeMemory, seconds: std::ops::Range<i64>, seen: impl Fn(i64) -> Seen) -> Option<Limit> {
        seconds.step_by(15).map(|second| limit(memory, second, seen(second))).last().flatten()
    }

    /// The second at which it takes hold, within a quarter of an hour.
    fn check(seen: impl Fn(i64) -> Seen, expected: Option<i64>) {
        let mut memory = BrakeMemory::default();
        let held = (0..900).step_by(15).find(|second| {
            let limited = limit(&mut memory, *second, seen(*second)).is_some();
            assert_eq!(limited, memory.holds());
            limited
        });
        assert_eq!(held, expected);
    }

    #[test]
    fn it_takes_hold_after_three_turns_and_one_at_the_new_size() {
        check(futile, Some(360));
        check(|second| if second < 300 { futile(0) } else { futile(second) }, Some(420));
    }

    #[test]
    fn a_fleet_that_has_not_grown_enough_tells_nothing() {
        let of = |count| move |second| eight(second, |seen| seen.serving = Capacity::new(count));
        check(of(8), Some(360));
        check(of(7), None);
        // Nothing that serves counts as one.
        let none = |later| {
            move |second| Seen { serving: Capacity::new(if second < 120 { 0 } else { later }), ..futile(second) }
        };
        check(none(1), None);
        check(none(2), Some(360));
        let flickers = |second| eight(second, |seen| seen.serving = Capacity::new(if second == 330 { 7 } else { 8 }));
        check(flickers, Some(345 + 120));
    }

    #[test]
    fn a_crowd_that_grows_as_fast_as_the_fleet_is_never_braked() {
        let load = |before, after| {
            move |second| Seen { load: Some(if second < 120 { before } else { after }), ..futile(second) }
        };
        check(load(0.8, 0.8), None);
        check(load(0.8, 0.61), None);
        check(load(0.8, 0.6), Some(360));
        check(load(0.0, 0.0), Some(360));
        check(load(1.6, 1.01), None);
        check(load(1.6, 1.0), Some(360));
    }

    #[test]
    fn a_latency_that_gets_better_is_helped() {
        let falls_to = |ratio| move |second| eight(second, |seen| seen.ratio = ratio);
        check(falls_to(1.7), None);
        check(falls_to(1.85), Some(360));
        check(falls_to(5.0), Some(360));
        check(falls_to(1.0), None);
        // Once within its target, all that was before says nothing.
        check(|second| eight(second, |seen| seen.ratio = if second == 200 / 15 * 15 { 1.0 } else { 2.0 }), None);
    }

    #[test]
    fn without_a_load_there_is_no_brake() {
        check(|second| Seen { load: None, ..futile(second) }, None);
        // A gap longer than a turn begins anew, at eight.
        check(|second| Seen { load: (!(120..255).contains(&second)).then_some(0.4), ..futile(second) }, None);
        let short = |second| eight(second, |seen| seen.load = (!(120..225).contains(&second)).then_some(0.4));
        check(short, Some(360));
    }

    #[test]
    fn a_latency_that_scatters_by_a_fifth_is_still_seen_not_to_get_better() {
        let scatter =
            |second| [0.2_f64, -0.2, 0.1, -0.15, 0.05, -0.05, 0.18][usize::try_from(second / 15 % 7).unwrap()];
        // Its first value counts in full, and so it begins anew once, at 75.
        check(|second| Seen { ratio: 2.0 * scatter(second).exp(), ..futile(second) }, Some(435));
    }

    fn held() -> BrakeMemory {
        let mut memory = BrakeMemory::default();
        let limit = run(&mut memory, 0..375, futile);
        let (most, from) = (Capacity::new(8), Capacity::new(4));
        assert_eq!(limit, Some(Limit { most, since: at(0), from, rest: TURN * 10 }));
        memory
    }

    #[test]
    fn a_step_is_tried_after_a_rest_and_then_it_rests_again() {
        let mut memory = held();
        let before = run(&mut memory, 375..1560, futile).unwrap();
        assert_eq!((before.most.get(), before.rest), (8, Duration::from_secs(15)));
        let due = limit(&mut memory, 1560, futile(1560)).unwrap();
        assert_eq!((due.most.get(), due.rest), (10, Duration::ZERO));
        assert_eq!(limit(&mut memory, 1575, futile(1575)), Some(due), "until it is made");
        let ten = |second| eight(second, |seen| seen.desired = Capacity::new(10));
        let again = limit(&mut memory, 1590, ten(1590)).unwrap();
        assert_eq!((again.most.get(), again.rest), (10, TURN * 10));
        let next = limit(&mut memory, 1605, ten(1605)).unwrap();
        assert_eq!(next.rest, TURN * 9 + TURN.saturating_sub(Duration::from_secs(15)));
        // What is desired by others is a try as well; what they take away is not.
        let less = limit(&mut memory, 1620, eight(1620, |seen| seen.desired = Capacity::new(3))).unwrap();
        assert_eq!((less.most.get(), less.rest), (3, TURN * 9 + TURN.saturating_sub(Duration::from_secs(30))));
    }

    #[test]
    fn a_try_is_a_fifth_and_an_instance_at_least() {
        let most = |desired| {
            let mut memory = held();
            let seen = |second| eight(second, |seen| seen.desired = Capacity::new(desired));
            run(&mut memory, 375..1575, |second| Seen { desired: Capacity::new(desired), ..futile(second) });
            run(&mut memory, 1575..2805, seen).unwrap().most.get()
        };
        assert_eq!([0, 1, 8, 20, 100].map(most), [1, 2, 10, 24, 120]);
    }

    #[test]
    fn it_lets_go_while_the_load_is_back_and_for_good_when_the_latency_is_better() {
        let mut memory = held();
        let loaded = |second| eight(second, |seen| seen.load = Some(0.65));
        assert_eq!(limit(&mut memory, 375, loaded(375)), None);
        assert!(memory.holds());
        assert!(limit(&mut memory, 390, futile(390)).is_some());
        assert_eq!(limit(&mut memory, 405, Seen { load: None, ..futile(405) }), None);
        assert!(limit(&mut memory, 420, futile(420)).is_some());
        let better = |second| eight(second, |seen| seen.ratio = 1.1);
        assert_eq!(run(&mut memory, 435..480, better), None);
        assert!(!memory.holds());
        let mut memory = held();
        assert_eq!(limit(&mut memory, 375, eight(375, |seen| seen.ratio = 0.9)), None);
        assert_eq!(memory, BrakeMemory::default());
    }

    #[test]
    fn a_turn_is_a_boot_and_a_warm_up_and_long_enough_to_be_measured() {
        let seconds = |boot, warm_up, interval| {
            let [boot, warm_up, interval] = [boot, warm_up, interval].map(Duration::from_secs);
            turn(boot, warm_up, interval).as_secs()
        };
        assert_eq!(seconds(120, 60, 15), 180);
        assert_eq!(seconds(10, 0, 15), 120);
        assert_eq!(seconds(120, 60, 300), 600);
    }
}
