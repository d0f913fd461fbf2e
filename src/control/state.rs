//! What the controller remembers from one evaluation to the next.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use arrayvec::ArrayVec;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::boot::BootTimes;
use super::brake::BrakeMemory;
use super::curve::Curve;
use super::evaluation::Decision;
use super::noise::Scatter;
use super::pid::PidMemory;
use super::reason::Direction;
use super::risk::RiskMemory;
use super::spending::Spending;
use super::window::Highest;
use crate::observation::{GroupStatus, elapsed};
use crate::policy::{Capacity, DEFAULT_BOOT_TIME, MAX_METRICS, Metric, Policy};

/// How long a scale-out gets to show in a saturated measurement before the next try, at least.
pub(super) const PROBE_REST: Duration = Duration::from_mins(1);

/// A measurement is the mean of about this long, at most.
const LONGEST_MEAN: Duration = Duration::from_mins(1);

/// Two accounts of one change tell it less than this apart: AWS refuses a caller whose clock is further off.
const ONE_CHANGE: Duration = Duration::from_mins(5);

/// A change of desired capacity that was made, or may have been.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaleEvent {
    /// When.
    pub at: Timestamp,
    /// The desired capacity before.
    pub from: Capacity,
    /// The desired capacity after.
    pub to: Capacity,
}

impl ScaleEvent {
    pub(super) fn direction(&self) -> Direction {
        if self.to > self.from { Direction::Out } else { Direction::In }
    }
}

/// What one metric's controller remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct MetricState {
    pub pid: PidMemory,
    pub scatter: Scatter,
    pub risk: Option<RiskMemory>,
    /// Of a latency: how it grows with load.
    pub curve: Option<Box<Curve>>,
    /// Highest demand of the `max_drop` window.
    pub peak: Highest<f64>,
    /// Of a latency: whether more capacity helps it.
    pub brake: Option<Box<BrakeMemory>>,
    /// Of a utilization in percent: whether it was ever more than a share can be.
    #[serde(default)]
    pub shown_percent: bool,
}

/// As much of a policy as tells whether what its controller remembers still means the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// For each metric with its controller, a hash of all that is said about it.
    metrics: ArrayVec<u64, MAX_METRICS>,
    /// How long a recommendation must have stood before a scale-in.
    window: Duration,
}

impl Outline {
    /// The outline of `policy`.
    pub fn of(policy: &Policy) -> Self {
        let hash = |metric: &Metric| {
            let mut hasher = DefaultHasher::new();
            let controller = metric.controller.as_ref().unwrap_or(&policy.controller);
            format!("{metric:?} {controller:?}").hash(&mut hasher);
            hasher.finish()
        };
        let metrics = policy.metrics.iter().take(MAX_METRICS).map(hash).collect();
        Self { metrics, window: policy.stabilization.inward }
    }
}

/// The memory of one policy's controller. Starts empty, and a restart with an empty one changes no capacity by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ControllerState {
    /// Since when the group has been seen without a gap.
    pub(super) live_since: Option<Timestamp>,
    /// When the group was last seen.
    pub(super) seen_at: Option<Timestamp>,
    /// In the policy's order. On the heap, once, so that the state is moved at little cost.
    pub(super) metrics: Vec<MetricState>,
    /// Highest recommendation of the scale-in window.
    pub(super) highest: Highest<Capacity>,
    /// Lowest recommendation of the scale-out window.
    pub(super) lowest: Highest<std::cmp::Reverse<Capacity>>,
    /// The scale events that a step limit or a cooldown of the policy still looks at, oldest first; at most one an
    /// evaluation.
    /// Written down by themselves, as they are made, so not with the rest.
    #[serde(skip)]
    pub(super) events: VecDeque<ScaleEvent>,
    pub(super) boots: BootTimes,
    pub(super) spending: Spending,
    /// The schedules that are open, and until when.
    #[serde(skip)]
    pub(super) scheduled: Option<Scheduled>,
    /// Not `None` while no metric is valid.
    #[serde(default)]
    pub(super) blind: Option<Blind>,
}

/// A time without any valid metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Blind {
    since: Timestamp,
    /// When somebody looked last.
    at: Timestamp,
}

/// The bounds of the schedules that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Scheduled {
    pub from: Timestamp,
    pub until: Timestamp,
    pub min: Option<Capacity>,
    pub max: Option<Capacity>,
}

impl Scheduled {
    /// The bounds of all schedules of `policy` that are open at `now`: of several the highest minimum and the lowest
    /// maximum.
    fn at(policy: &Policy, now: Timestamp) -> Self {
        let mut scheduled = Self { from: now, until: Timestamp::MAX, min: None, max: None };
        for schedule in &policy.schedules {
            let window = schedule.window(now);
            scheduled.until = scheduled.until.min(window.until);
            if window.open {
                scheduled.min = scheduled.min.max(schedule.min);
                let lowest = [scheduled.max, schedule.max].into_iter().flatten().min();
                scheduled.max = lowest;
            }
        }
        scheduled
    }
}

impl ControllerState {
    /// The same for a policy that was changed from `before` to `after`. Scale events are kept, and what the controller of a
    /// metric remembers while metric and controller are the same. Where any is not, or more must have stood before a
    /// scale-in, the watch begins anew.
    #[must_use]
    pub fn under_changed_policy(self, before: &Policy, after: &Policy) -> Self {
        self.carried_over(&Outline::of(before), after)
    }

    /// The same, where of the policy from `before` only the outline is left.
    #[must_use]
    pub fn carried_over(mut self, before: &Outline, after: &Policy) -> Self {
        let outline = Outline::of(after);
        let mut known: ArrayVec<_, MAX_METRICS> =
            before.metrics.iter().zip(std::mem::take(&mut self.metrics)).collect();
        let mut keep = |new: &u64| {
            let place = known.iter().position(|(old, _)| *old == new);
            place.map(|place| known.swap_remove(place).1)
        };
        let kept: ArrayVec<Option<MetricState>, MAX_METRICS> = outline.metrics.iter().map(&mut keep).collect();
        if kept.iter().any(Option::is_none) || outline.window > before.window {
            // When the group was last seen stays known, or a clock that is set back next would not be noticed.
            self.live_since = None;
            self.highest.clear();
            self.lowest.clear();
        }
        Self { metrics: kept.into_iter().map(Option::unwrap_or_default).collect(), scheduled: None, ..self }
    }

    /// The same with those of the scale events that others tell of, each by their own clock, which it does not know.
    #[must_use]
    pub fn reminded(mut self, told: impl IntoIterator<Item = ScaleEvent>) -> Self {
        let mut known: Vec<_> = self.events.iter().copied().collect();
        for event in told {
            let same = |known: &ScaleEvent| {
                let apart = elapsed(known.at, event.at).max(elapsed(event.at, known.at));
                (known.from, known.to) == (event.from, event.to) && apart < ONE_CHANGE
            };
            match known.iter().position(same) {
                Some(place) => drop(known.swap_remove(place)),
                None => self.events.push_back(event),
            }
        }
        self.events.make_contiguous().sort_by_key(|event| event.at);
        self
    }

    /// The bounds of the schedules that are open now, looked at anew only when one opens or closes.
    pub(super) fn scheduled(&mut self, policy: &Policy, now: Timestamp) -> Scheduled {
        match self.scheduled {
            Some(known) if known.from <= now && now < known.until => known,
            _ => *self.scheduled.insert(Scheduled::at(policy, now)),
        }
    }

    /// Notes that `group` of `policy` is seen now, and returns how much has come into service since the last look, if a
    /// measurement may not know of it yet. After a gap of more than `patience`, the watch begins anew.
    pub(super) fn see(&mut self, policy: &Policy, group: &GroupStatus, now: Timestamp, patience: Duration) -> Capacity {
        if let Some(seen) = self.seen_at.filter(|seen| now < *seen) {
            self.set_back(elapsed(now, seen));
        }
        let since = self.seen_at.map(|seen| elapsed(seen, now));
        let unbroken = since.is_some_and(|since| since <= patience);
        if !unbroken || self.live_since.is_none() {
            self.live_since = Some(now);
            self.boots.look_away();
        }
        let arrived = self.boots.see(group, now);
        if policy.instance_price.is_some() {
            self.spending.see(group, now);
        }
        self.seen_at = Some(now);
        while self.metrics.len() < policy.metrics.len().min(MAX_METRICS) {
            self.metrics.push(MetricState::default());
        }
        let memory = longest_pace(policy).max(self.boot_time(policy));
        while self.events.front().is_some_and(|event| elapsed(event.at, now) > memory) {
            self.events.pop_front();
        }
        // After longer, most of the time that a measurement is the mean of has known them.
        if since.is_some_and(|since| since <= LONGEST_MEAN) { arrived } else { Capacity::ZERO }
    }

    /// How long a launch takes: given, learned or assumed.
    pub(super) fn boot_time(&self, policy: &Policy) -> Duration {
        policy.boot_time.or(self.boots.typical()).unwrap_or(DEFAULT_BOOT_TIME)
    }

    /// The clock was set back by as much: what was noted at times that have not come yet would never grow old. The watch
    /// begins anew, and scale events stay as old as they were.
    pub fn set_back(&mut self, by: Duration) {
        self.seen_at = None;
        self.metrics.clear();
        self.highest.clear();
        self.lowest.clear();
        self.blind = None;
        self.spending.set_back(by);
        for event in &mut self.events {
            event.at = event.at.saturating_sub(by).unwrap_or(Timestamp::MIN);
        }
    }

    /// For how long no metric has been valid, which none is `now`. A time in which nobody looked for more than `patience`
    /// counts for nothing.
    pub(super) fn blind_for(&mut self, patience: Duration, now: Timestamp) -> Duration {
        let known = self.blind.filter(|blind| elapsed(blind.at, now) <= patience);
        let since = known.map_or(now, |blind| blind.since);
        self.blind = Some(Blind { since, at: now });
        elapsed(since, now)
    }

    /// How long the group has been seen without a gap.
    pub(super) fn live_for(&self, now: Timestamp) -> Duration {
        self.live_since.map_or(Duration::ZERO, |since| elapsed(since, now))
    }

    /// The newest scale event in `direction`, or in any.
    pub(super) fn last_event(&self, direction: Option<Direction>) -> Option<&ScaleEvent> {
        self.events.iter().rev().find(|event| direction.is_none_or(|d| event.direction() == d))
    }

    /// What the desired capacity was `per` ago, as far as our own events tell.
    pub(super) fn capacity_before(&self, desired: Capacity, per: Duration, now: Timestamp) -> Capacity {
        let recent = self.events.iter().rev().take_while(|event| elapsed(event.at, now) < per);
        let (added, removed) = recent.fold((Capacity::ZERO, Capacity::ZERO), |(added, removed), event| {
            (added.plus(event.to.minus(event.from)), removed.plus(event.from.minus(event.to)))
        });
        desired.plus(removed).minus(added)
    }
}

/// The longest that a step limit or a cooldown looks back.
fn longest_pace(policy: &Policy) -> Duration {
    let steps = [policy.step.out, policy.step.inward].into_iter().flatten().map(|limit| limit.per);
    steps.chain([policy.cooldown.out, policy.cooldown.inward, PROBE_REST]).max().unwrap_or_default()
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", content = "rejection", rename_all = "kebab-case")]
pub enum Outcome {
    /// AWS accepted it.
    Applied,
    /// There was nothing to do.
    NoOp,
    /// AWS refused it, so nothing changed.
    Rejected(Rejection),
    /// No answer came; it may have been applied.
    Unknown,
}

impl Outcome {
    /// A bounded word for logs and metric labels.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::NoOp => "no-op",
            Self::Rejected(_) => "rejected",
            Self::Unknown => "unknown",
        }
    }
}

/// Why AWS refused a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rejection {
    /// The capacity is outside the group's bounds, or the request is malformed.
    Validation,
    /// Another change of the group is in progress.
    Contention,
    /// Too many calls.
    Throttled,
    /// Our role may not do this.
    AccessDenied,
    /// There is no such group.
    NotFound,
    /// Anything else.
    Other,
}

/// Takes the outcome of `decision` into the state. Only [`Outcome::Applied`] and [`Outcome::Unknown`] count as a scale
/// event, and so start a cooldown.
#[must_use]
pub fn settle(mut state: ControllerState, decision: &Decision, outcome: &Outcome, now: Timestamp) -> ControllerState {
    if let (Decision::Scale { from, to }, Outcome::Applied | Outcome::Unknown) = (decision, outcome) {
        state.events.push_back(ScaleEvent { at: now, from: *from, to: *to });
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_was_forgotten_is_remembered_once() {
        let event = |at, from, to| {
            let (from, to) = (Capacity::new(from), Capacity::new(to));
            ScaleEvent { at: Timestamp::from_second(at).unwrap(), from, to }
        };
        let known = ControllerState { events: [event(0, 2, 4), event(60, 4, 2)].into(), ..ControllerState::default() };
        // By a clock that is a second ahead; the first is there twice, and the second lasted for so long.
        let told = [event(1, 2, 4), event(30, 2, 4), event(61, 4, 2), event(361, 4, 2), event(120, 2, 4)];
        let all = [event(0, 2, 4), event(30, 2, 4), event(60, 4, 2), event(120, 2, 4), event(361, 4, 2)];
        assert_eq!(known.reminded(told).events, all);
        // Its opposite shortly after is not the same.
        let known = ControllerState { events: [event(0, 2, 4)].into(), ..ControllerState::default() };
        assert_eq!(known.reminded([event(10, 4, 2)]).events, [event(0, 2, 4), event(10, 4, 2)]);
    }

    #[test]
    fn every_outcome_has_a_word_of_its_own() {
        let words = [Outcome::Applied, Outcome::NoOp, Outcome::Rejected(Rejection::Other), Outcome::Unknown];
        assert_eq!(words.map(|outcome| outcome.label()), ["applied", "no-op", "rejected", "unknown"]);
    }
}
