//! What must hold whatever happens, checked from outside: from the policy, what was seen and what was decided alone.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use setpoint::control::{Decision, Outcome};
use setpoint::observation::{GroupStatus, Measurement, Observation, Rivals};
use setpoint::policy::{Capacity, HoldSignal, Metric, MetricKind, Mode, PerDirection, Policy, StepLimit, Threshold};

use crate::drawn::{bounds, number};

/// The first rule that was broken, in words.
pub type Verdict = Result<(), String>;

fn unless(broken: bool, rule: &str) -> Verdict {
    if broken { Err(rule.to_owned()) } else { Ok(()) }
}

struct Event {
    at: Timestamp,
    from: u32,
    to: u32,
}

/// Longer than any policy looks back.
const A_DAY: Duration = Duration::from_hours(24);

/// Its own memory of what was done and seen.
#[derive(Default)]
pub struct Checker {
    /// Those of the last day.
    events: VecDeque<Event>,
    /// How many of them, the oldest, no policy since has looked back to. A core may remember them or not: what one
    /// memory allows is allowed.
    over: usize,
    /// Since when the group has been described without a gap, and when it was last.
    since: Option<Timestamp>,
    seen: Option<Timestamp>,
    /// What was launched or in service at each look of the last day at a policy with a price.
    sizes: VecDeque<(Timestamp, f64)>,
}

/// One evaluation's question and answer.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub policy: &'a Policy,
    pub seen: &'a Observation,
    pub decision: Decision,
    pub now: Timestamp,
}

/// A change of capacity, with the bounds that held.
struct Change<'a> {
    policy: &'a Policy,
    seen: &'a Observation,
    group: &'a GroupStatus,
    now: Timestamp,
    from: u32,
    to: u32,
    min: u32,
    max: u32,
}

fn age(of: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(of)).unwrap_or_default()
}

impl Checker {
    /// The core's memory is lost, and so what it can be held to.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// The core is back with its memory, and may have read the window that it missed from elsewhere.
    pub fn resume(&mut self, now: Timestamp) {
        self.set_back(now);
        self.since = self.since.map(|_| now.saturating_sub(A_DAY).expect("a moment"));
        self.seen = Some(now);
    }

    pub fn settled(&mut self, decision: Decision, outcome: Outcome, now: Timestamp) {
        if let (Decision::Scale { from, to }, Outcome::Applied | Outcome::Unknown) = (decision, outcome) {
            self.events.push_back(Event { at: now, from: from.get(), to: to.get() });
        }
    }

    pub fn check(&mut self, case: Case) -> Verdict {
        let Case { policy, seen, decision, now } = case;
        let Some(group) = &seen.group else {
            return unless(decision != Decision::Hold, "a group that nobody could describe is left alone");
        };
        self.look(policy, group, now);
        let (min, max) = bounds(policy, seen.ordered, group, now);
        let from = group.desired.get();
        let to = match decision {
            Decision::Hold => from,
            Decision::Scale { from: seen, to } => {
                unless(
                    seen != group.desired || to == seen,
                    "a decision starts from what was seen and leads elsewhere",
                )?;
                to.get()
            }
        };
        let change = Change { policy, seen, group, now, from, to, min, max };
        if may_act(&change, to < from) {
            change.stays_within_bounds()?;
        } else {
            unless(to != from, "a policy that may not act does not")?;
        }
        match to.cmp(&from) {
            std::cmp::Ordering::Less => self.scale_in(&change),
            std::cmp::Ordering::Greater => self.scale_out(&change),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }

    fn look(&mut self, policy: &Policy, group: &GroupStatus, now: Timestamp) {
        let patience = Duration::from_mins(1).max(3 * policy.interval);
        let back = self.seen.is_some_and(|seen| now < seen);
        if back || self.seen.is_none_or(|seen| age(seen, now) > patience) {
            self.since = Some(now);
        }
        self.set_back(now);
        if policy.instance_price.is_some() {
            self.sizes.push_back((now, group.in_service.plus(group.pending).as_f64()));
        }
        while self.sizes.get(1).is_some_and(|(at, _)| age(*at, now) > A_DAY) {
            self.sizes.pop_front();
        }
        self.seen = Some(now);
        // A rest that is over stays so, though the clock be set back or the policy changed to a longer one.
        let steps = [policy.step.out, policy.step.inward].into_iter().flatten().map(|limit| limit.per);
        let memory = steps.chain([policy.cooldown.out, policy.cooldown.inward]).max().unwrap_or_default();
        while self.events.get(self.over).is_some_and(|event| age(event.at, now) > memory) {
            self.over += 1;
        }
        while self.events.front().is_some_and(|event| age(event.at, now) > A_DAY) {
            self.events.pop_front();
            self.over = self.over.saturating_sub(1);
        }
    }

    /// Where the clock was set back, what was done and seen stays as old as it was.
    fn set_back(&mut self, now: Timestamp) {
        let by = self.seen.map_or(Duration::ZERO, |seen| age(now, seen));
        if by.is_zero() {
            return;
        }
        self.events.iter_mut().for_each(|event| event.at = event.at.saturating_sub(by).expect("a moment"));
        self.sizes.iter_mut().for_each(|(at, _)| *at = at.saturating_sub(by).expect("a moment"));
    }

    fn scale_in(&self, change: &Change) -> Verdict {
        let Change { policy, group, now, from, to, max, .. } = *change;
        change.has_only_good_input()?;
        unless(
            group.pending > Capacity::ZERO || group.warm < group.desired,
            "no scale-in while capacity is on its way",
        )?;
        unless(change.burns(), "no scale-in while a signal burns or is unknown")?;
        unless(change.seen.unrecorded, "no scale-in while the journal can't be written")?;
        unless(group.refreshing, "no scale-in during an instance refresh")?;
        unless(group.suspended.terminate, "no scale-in while Terminate is suspended")?;
        unless(group.healthy < group.in_service, "no scale-in while an instance is unhealthy")?;
        if let Some(limit) = policy.step.inward {
            let beyond = |base: u32| to < from.min(base.saturating_sub(most(limit, base)));
            unless(self.before(from, limit, now).into_iter().all(beyond), "a scale-in stays within its step")?;
        }
        if to >= from.min(max) {
            return Ok(());
        }
        let last = self.remembered().next().map(|event| age(event.at, now));
        unless(last.is_some_and(|age| age < policy.cooldown.inward), "no scale-in during its cooldown")?;
        let watched = self.since.map_or(Duration::ZERO, |since| age(since, now));
        unless(watched < policy.stabilization.inward, "no scale-in before a whole window was seen")?;
        unless(change.above_target(), "no scale-in while a metric is above its target")
    }

    fn scale_out(&self, change: &Change) -> Verdict {
        let Change { policy, group, now, from, to, min, .. } = *change;
        if to <= from.max(min) {
            return Ok(());
        }
        self.is_affordable(change)?;
        unless(group.suspended.launch, "no scale-out while Launch is suspended")?;
        unless(group.launch_failure.is_some(), "no scale-out while launches fail")?;
        let last = self.remembered().find(|event| event.to > event.from).map(|event| age(event.at, now));
        unless(last.is_some_and(|age| age < policy.cooldown.out), "no scale-out during its cooldown")?;
        let Some(limit) = policy.step.out else { return Ok(()) };
        let beyond = |base: u32| to > base + most(limit, base);
        unless(self.before(from, limit, now).into_iter().all(beyond), "a scale-out stays within its step")
    }

    /// What a scale-out leads to stays within what may be spent.
    fn is_affordable(&self, change: &Change) -> Verdict {
        let Some(price) = change.policy.instance_price else { return Ok(()) };
        let (per_hour, per_day) = (change.policy.max_spend.per_hour, change.policy.max_spend.per_day);
        let to = f64::from(change.to) * price;
        let over = |ceiling: Option<f64>, cost: f64| ceiling.is_some_and(|ceiling| cost > ceiling * (1.0 + 1e-6));
        unless(over(per_hour, to), "no scale-out costs more than an hour may")?;
        // A core may count by stretches of up to two hours, and is not held to how it divides the oldest.
        let spent = self.instance_hours(Duration::from_hours(16), change.now) * price;
        unless(over(per_day, spent + 6.0 * to), "no scale-out costs more than a day may")
    }

    /// The instance-hours of the last `span`, each time between two looks at the larger of both sizes.
    fn instance_hours(&self, span: Duration, now: Timestamp) -> f64 {
        let looks = self.sizes.iter().zip(self.sizes.iter().skip(1));
        let hours = looks.map(|((from, before), (to, after))| {
            let seconds = age(*from, now).min(span).saturating_sub(age(*to, now).min(span)).as_secs_f64();
            before.max(*after) * seconds / 3600.0
        });
        hours.sum()
    }

    /// The capacity at the start of the period, as far as what we did ourselves tells: by what must be remembered, and by
    /// all that can be.
    fn before(&self, desired: u32, limit: StepLimit, now: Timestamp) -> [u32; 2] {
        let before = |skipped: usize| {
            let net = self.events.iter().skip(skipped).filter(|event| age(event.at, now) < limit.per);
            let net: i64 = net.map(|event| i64::from(event.to) - i64::from(event.from)).sum();
            u32::try_from((i64::from(desired) - net).max(0)).expect("a small fleet")
        };
        [before(self.over), before(0)]
    }

    /// What must be remembered, the newest first.
    fn remembered(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().skip(self.over).rev()
    }
}

/// The most that may change in the period of `limit`: an instance at least, where a percentage is given.
fn most(limit: StepLimit, base: u32) -> u32 {
    let percent = limit.percent.map_or(0.0, |percent| (f64::from(base) * percent / 100.0).ceil().max(1.0));
    let count = limit.count.map_or(0.0, Capacity::as_f64);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small fleet")]
    let most = percent.max(count) as u32;
    most
}

fn may_act(change: &Change, inward: bool) -> bool {
    let mode = match change.policy.mode {
        Mode::Active => true,
        Mode::ScaleOutOnly => !inward,
        Mode::Observe | Mode::Paused => false,
    };
    let free = match change.group.rivals {
        Rivals::None => true,
        Rivals::Operator => false,
        Rivals::Unknown | Rivals::ScalingPolicy | Rivals::ScheduledAction => change.policy.takeover,
    };
    let PerDirection { out, inward: inwards } = change.seen.paused;
    mode && free && !(if inward { inwards } else { out })
}

impl Change<'_> {
    fn stays_within_bounds(&self) -> Verdict {
        // A minimum that can be restored is, at once.
        unless(self.to < self.min, "the capacity is never left below the least that holds")?;
        unless(self.to > self.max && self.to > self.from, "the capacity never grows beyond the most that holds")?;
        let (least, most) = (self.group.min.get(), self.group.max.get());
        unless(self.to < least || self.to > most, "the group's own bounds hold")
    }

    fn numbers(&self) -> impl Iterator<Item = (&Metric, Option<f64>)> {
        let seen = self.policy.metrics.iter().zip(&self.seen.measurements);
        seen.map(|(metric, measurement)| (metric, number(metric, measurement)))
    }

    fn has_only_good_input(&self) -> Verdict {
        unless(self.numbers().any(|(_, number)| number.is_none()), "bad input never lowers the capacity")?;
        let serving = self.group.in_service.as_f64();
        let blind = self.policy.metrics.iter().zip(&self.seen.measurements).any(|(metric, measurement)| {
            matches!(measurement, Measurement::Instances { reporting, .. }
                if f64::from(*reporting) < metric.min_coverage * serving)
        });
        unless(blind, "no scale-in while too few instances report")
    }

    /// What the signals read, none missing, each against its threshold.
    fn burns(&self) -> bool {
        let holds = &self.policy.hold_scale_in_while;
        let burns = |(hold, read): (&HoldSignal, &Measurement)| {
            let Measurement::Value { value, .. } = *read else { return true };
            match hold.threshold {
                Threshold::Above(edge) => value > edge,
                Threshold::Below(edge) => value < edge,
            }
        };
        self.seen.signals.len() != holds.len() || holds.iter().zip(&self.seen.signals).any(burns)
    }

    fn above_target(&self) -> bool {
        let serving = self.group.serving().as_f64().max(1.0);
        self.numbers().any(|(metric, number)| {
            let instances = if metric.kind == MetricKind::Total { serving } else { 1.0 };
            number.is_some_and(|number| number / metric.target / instances > 1.0 + self.policy.tolerance.out + 1e-9)
        })
    }
}
