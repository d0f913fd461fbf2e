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
        }
        let load = seen.load.filter(|_| seen.ratio > 1.0)?;
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
