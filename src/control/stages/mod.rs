//! The stages of a decision, in their fixed order. Each may change the number once and must say why.

mod controller;
mod floors;
mod guards;
mod limits;
mod mode;
mod spend;
mod validity;

use std::time::Duration;

use arrayvec::ArrayVec;
use jiff::Timestamp;

use self::floors::Bounds;
use self::spend::Affordable;
use super::evaluation::{Decision, Evaluation, MAX_REASONS, STAGES, SignalReading, Stage, StageName, StatedReason};
use super::reason::Reason;
use super::state::ControllerState;
use crate::observation::{GroupStatus, Measurement, Observation, elapsed};
use crate::policy::{Capacity, MAX_SIGNALS, Policy};

/// The least gap between two views of a group after which the controller counts as newly started.
const LEAST_PATIENCE: Duration = Duration::from_mins(1);

/// Decides what to do with the group of `policy`, given what was `seen` at `now`.
///
/// `seen.measurements` are in the order of `policy.metrics`; a measurement that is missing there counts as no data.
/// The state is moved through, so that an evaluation copies no memory; hand the returned one to the next evaluation,
/// by way of [`settle`](super::settle).
pub fn evaluate(
    policy: &Policy,
    mut state: ControllerState,
    seen: &Observation,
    now: Timestamp,
) -> (Evaluation, ControllerState) {
    let mut evaluation = Evaluation {
        policy: policy.name.clone(),
        at: now,
        observation: seen.clone(),
        boot_time: None,
        signals: signals(policy, seen).collect(),
        recommendations: ArrayVec::new(),
        stages: ArrayVec::new(),
        decision: Decision::Hold,
        reasons: ArrayVec::new(),
    };
    let Some(group) = &seen.group else {
        evaluation.reasons.push(StatedReason { stage: StageName::Validity, reason: Reason::GroupUnknown });
        // What the metrics say does not depend on the group.
        if seen.measurements.iter().filter_map(Measurement::number).any(f64::is_finite) {
            state.blind = None;
        } else {
            state.blind_for(patience(policy), now);
        }
        return (evaluation, state);
    };
    let arrived = state.see(policy, group, now, patience(policy));
    let bounds = Bounds::at(policy, group, seen.ordered, &mut state, now);
    let boot_time = state.boot_time(policy);
    evaluation.boot_time = Some(boot_time);
    let affordable = Affordable::at(policy, &state.spending, now);
    let view = View { policy, group, arrived, seen, now, bounds, affordable, boot_time };
    let mut ladder = Ladder { evaluation: &mut evaluation, capacity: group.desired };
    view.descend(&mut ladder, &mut state);
    let to = ladder.capacity;
    if to != group.desired {
        evaluation.decision = Decision::Scale { from: group.desired, to };
    }
    (evaluation, state)
}

/// The signals of `policy` as they were `seen`; one that is missing there counts as no data.
fn signals(policy: &Policy, seen: &Observation) -> impl Iterator<Item = SignalReading> {
    let read = seen.signals.iter().copied().chain(std::iter::repeat(Measurement::NoData));
    policy.hold_scale_in_while.iter().take(MAX_SIGNALS).zip(read).map(|(hold, measurement)| SignalReading {
        signal: hold.name.clone(),
        threshold: hold.threshold,
        measurement,
    })
}

/// How long nobody may look before the watch begins anew.
fn patience(policy: &Policy) -> Duration {
    LEAST_PATIENCE.max(policy.interval * 3)
}

impl ControllerState {
    /// Whether so much time has passed since the group was last seen that the watch begins anew.
    pub fn is_out_of_touch(&self, policy: &Policy, now: Timestamp) -> bool {
        self.seen_at.is_none_or(|seen| elapsed(seen, now) > patience(policy))
    }

    /// The same with what was to be `seen` at a moment of the past, when nobody looked and nothing was done. What it has
    /// seen itself stays as it is.
    #[must_use]
    pub fn having_seen(self, policy: &Policy, seen: &Observation, at: Timestamp) -> Self {
        if self.seen_at.is_some_and(|last| at <= last) {
            return self;
        }
        evaluate(policy, self, seen, at).1
    }
}

/// What every stage may look at.
struct View<'a> {
    policy: &'a Policy,
    group: &'a GroupStatus,
    /// What has come into service since the last look.
    arrived: Capacity,
    seen: &'a Observation,
    now: Timestamp,
    bounds: Bounds,
    /// `None`: any capacity is.
    affordable: Option<Affordable>,
    /// Given, learned or assumed.
    boot_time: Duration,
}

impl View<'_> {
    fn descend(&self, ladder: &mut Ladder, state: &mut ControllerState) {
        let signals = ladder.stage(StageName::Validity, |say, here| (here, validity::judge(self, say)));
        let asked =
            ladder.stage(StageName::Controller, |say, here| controller::recommend(self, state, &signals, say, here));
        ladder.stage(StageName::Floors, |say, wanted| (floors::hold(self, state, &signals, say, wanted), ()));
        ladder.stage(StageName::Tolerance, |say, wanted| (limits::tolerance(self, asked, say, wanted), ()));
        ladder.stage(StageName::Stabilization, |say, wanted| {
            (limits::stabilization(self, state, signals.all_valid, say, wanted), ())
        });
        ladder.stage(StageName::Step, |say, wanted| (limits::step(self, state, say, wanted), ()));
        ladder.stage(StageName::Bounds, |say, wanted| (limits::bounds(self, state, say, wanted), ()));
        ladder.stage(StageName::Cooldown, |say, wanted| (limits::cooldown(self, state, say, wanted), ()));
        ladder.stage(StageName::Guards, |say, wanted| {
            let wanted = spend::limit(self, say, wanted);
            (guards::veto(self, state, &signals, say, wanted), ())
        });
        ladder.stage(StageName::Mode, |say, wanted| (mode::allow(self, say, wanted), ()));
    }

    /// What is left of `wanted` where the change is refused but the bounds must hold: the desired capacity, or as far
    /// towards the bounds as `wanted` goes.
    fn kept(&self, wanted: Capacity) -> Capacity {
        let Bounds { min, max, .. } = self.bounds;
        let desired = self.group.desired;
        if wanted > desired { desired.max(min).min(wanted) } else { desired.min(max).max(wanted) }
    }

    /// Capacity, requested or beyond that in service, that does not carry a full share yet.
    fn in_flight(&self) -> Capacity {
        self.group.desired.max(self.group.in_service).minus(self.group.warm)
    }
}

/// The evaluation as it is being written down, and the number as it stands.
struct Ladder<'a> {
    evaluation: &'a mut Evaluation,
    capacity: Capacity,
}

impl Ladder<'_> {
    fn stage<T>(&mut self, stage: StageName, step: impl FnOnce(&mut Say, Capacity) -> (Capacity, T)) -> T {
        let before = self.capacity;
        let (after, result) = step(&mut Say { stage, evaluation: self.evaluation }, before);
        self.evaluation.stages.push(Stage { stage, before, after });
        self.capacity = after;
        result
    }
}

/// Where a stage puts what it has to say.
struct Say<'a> {
    stage: StageName,
    evaluation: &'a mut Evaluation,
}

impl Say<'_> {
    fn that(&mut self, reason: Reason) {
        debug_assert!(self.evaluation.reasons.len() < MAX_REASONS, "MAX_REASONS is too small");
        // A reason too many would be a fault of ours; a lost sentence is better than a lost evaluation.
        let _ = self.evaluation.reasons.try_push(StatedReason { stage: self.stage, reason });
    }
}

const _: () = assert!(STAGES == 10, "one for each call of `stage` in `descend`");
