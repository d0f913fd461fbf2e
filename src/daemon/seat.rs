//! One policy's place in its lane: its state, and its turn in a cycle.

use std::sync::Arc;

use arrayvec::ArrayVec;
use futures_util::future::join_all;
use jiff::Timestamp;

use super::lane::Gathering;
use crate::control::{self, ControllerState, Decision, Evaluation, Outcome, Reason, Rejection};
use crate::metric::Answer;
use crate::observation::{Group, Measurement, Observation, Override};
use crate::order::Standing;
use crate::policy::{Capacity, PerDirection, Policy};
use crate::status::{Action, Board, PolicyStatus};
use crate::target::{AutoScaling, ErrorKind, TargetError};

pub(super) struct Seat {
    policy: Arc<Policy>,
    state: ControllerState,
    status: PolicyStatus,
}

impl Seat {
    pub(super) fn new(policy: Policy) -> Self {
        let status = PolicyStatus::new(&policy);
        Self { policy: Arc::new(policy), state: ControllerState::default(), status }
    }

    /// The same seat under a changed policy.
    pub(super) fn with_policy(self, policy: Policy) -> Self {
        let state = self.state.under_changed_policy(&self.policy, &policy);
        let last_action = self.status.last_action;
        let status = PolicyStatus { last_action, counters: self.status.counters, ..PolicyStatus::new(&policy) };
        Self { policy: Arc::new(policy), state, status }
    }

    /// A seat whose turn was lost to a fault of ours.
    pub(super) fn after_a_fault(policy: Arc<Policy>, board: &Board) -> Self {
        let mut status = PolicyStatus::new(&policy);
        board.publish(|snapshot| {
            if let Some(shown) = snapshot.policies.get_mut(&policy.name) {
                status.counters = shown.counters.clone();
                status.last_action.clone_from(&shown.last_action);
                status.counters.failures += 1;
                status.because = Some("the last evaluation failed from a fault of Setpoint's own; see the log".into());
                *shown = Arc::new(status.clone());
            }
        });
        Self { policy, state: ControllerState::default(), status }
    }

    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    pub(super) fn status(&self) -> Arc<PolicyStatus> {
        Arc::new(self.status.clone())
    }

    /// Sees, decides, acts, and publishes what came of it.
    pub(super) async fn turn(mut self, gathering: Gathering, board: Board) -> Self {
        let reads = self.policy.metrics.iter().map(|metric| gathering.answer(&metric.source));
        let (answers, group) = tokio::join!(join_all(reads), gathering.group(&self.policy.asg));
        let now = gathering.at;
        let mut observation = self.observe(answers, group, now);
        self.take_orders(&gathering.orders.borrow(), &mut observation, now);
        let (evaluation, state) = control::evaluate(&self.policy, std::mem::take(&mut self.state), &observation, now);
        let (outcome, error) = apply(&gathering, &self.policy, evaluation.decision).await;
        self.state = control::settle(state, &evaluation.decision, &outcome, now);
        self.record(evaluation, outcome, error);
        let (name, shown) = (self.policy.name.clone(), self.status());
        board.publish(|snapshot| drop(snapshot.policies.insert(name, shown)));
        self
    }

    fn observe(
        &mut self,
        answers: Vec<Option<Answer>>,
        group: Option<Result<Group, TargetError>>,
        now: Timestamp,
    ) -> Observation {
        let mut measurements = ArrayVec::new();
        let shown = self.policy.metrics.iter().zip(&mut self.status.metrics);
        for ((metric, status), answer) in shown.zip(answers) {
            let (measurement, detail) = answer.map_or((Measurement::NoData, None), |a| (a.measurement, a.detail));
            let measurement = measurement.within(metric.max_age);
            if !measurement.has_number() {
                let count = (metric.name.clone(), measurement.label());
                *self.status.counters.invalid.entry(count).or_default() += 1;
            }
            (status.measurement, status.detail) = (Some(measurement), detail);
            measurements.push(measurement);
        }
        let (group, detail) = match group {
            Some(Ok(group)) => (Some(group.status(self.policy.warm_up, now)), None),
            Some(Err(error)) => (None, Some(crate::telemetry::chain(&error))),
            None => (None, Some("the group was not described".into())),
        };
        if group.is_none() {
            self.status.counters.describe_failures += 1;
        }
        (self.status.group, self.status.group_detail) = (group, detail);
        Observation { measurements, group, ..Observation::default() }
    }

    /// Adds what operators have ordered, as it stands now that all else has been gathered.
    fn take_orders(&self, standing: &Standing, seen: &mut Observation, now: Timestamp) {
        let override_of =
            |bounds: &crate::order::Override| Override { floor: bounds.floor, cap: bounds.cap, until: bounds.until };
        seen.ordered = standing.bounds(&self.policy.name, now).map(override_of);
        seen.paused = standing.stops(&self.policy.name, now);
    }

    fn record(&mut self, evaluation: Evaluation, outcome: Outcome, error: Option<String>) {
        let because = evaluation.because();
        if let Decision::Scale { from, to } = evaluation.decision {
            let action = Action { at: evaluation.at, from, to, because: because.clone(), outcome, error };
            let direction = if to > from { "out" } else { "in" };
            *self.status.counters.actions.entry((direction, outcome.label())).or_default() += 1;
            log_action(&self.policy, &action);
            self.status.last_action = Some(action);
        } else if self.has_news(&evaluation) {
            let details = self.details();
            tracing::info!(event = "hold", policy = %self.policy.name, asg = %self.policy.asg, because, details, "hold");
        }
        self.status.counters.evaluations += 1;
        self.status.because = Some(because);
        self.status.evaluation = Some(evaluation);
    }

    /// The evaluation holds for another reason than the one before, or other metrics are invalid.
    fn has_news(&self, evaluation: &Evaluation) -> bool {
        let Some(last) = &self.status.evaluation else { return true };
        let word = |evaluation: &Evaluation| evaluation.last_word().map(Reason::kind);
        let label = |measurement: &Measurement| measurement.label();
        let labels =
            |evaluation: &Evaluation| -> Vec<_> { evaluation.observation.measurements.iter().map(label).collect() };
        last.decision != evaluation.decision || word(last) != word(evaluation) || labels(last) != labels(evaluation)
    }

    /// What the sources and AWS had to say, for the log.
    fn details(&self) -> String {
        let metrics = self.status.metrics.iter();
        let metrics = metrics.filter_map(|m| m.detail.as_ref().map(|detail| format!("{}: {detail}", m.name)));
        metrics.chain(self.status.group_detail.clone()).collect::<Vec<_>>().join("; ")
    }
}

async fn apply(gathering: &Gathering, policy: &Policy, decision: Decision) -> (Outcome, Option<String>) {
    let Decision::Scale { from, to } = decision else { return (Outcome::NoOp, None) };
    let target = &gathering.target;
    if let Some(objection) = objection(target, policy, from, to).await {
        return (Outcome::Rejected(Rejection::Contention), Some(objection));
    }
    // An order may have come since the decision, and whoever gave it has been told that it is in effect.
    let PerDirection { out, inward } = gathering.orders.borrow().stops(&policy.name, gathering.at);
    if if to > from { out } else { inward } {
        return (Outcome::Rejected(Rejection::Contention), Some("an operator has paused the policy meanwhile".into()));
    }
    match target.set_desired_capacity(&policy.asg, to).await {
        Ok(()) => (Outcome::Applied, None),
        Err(error) => (outcome_of(&error), Some(crate::telemetry::chain(&error))),
    }
}

/// What has changed since the group was described. The call to come sets an absolute number and compares nothing, so it
/// would undo whatever somebody else has set meanwhile.
async fn objection(target: &AutoScaling, policy: &Policy, from: Capacity, to: Capacity) -> Option<String> {
    if to < from
        && let Some(objection) = refresh(target, &policy.asg).await
    {
        return Some(objection);
    }
    match target.desired_capacity(&policy.asg).await {
        Ok(now) if now == from => None,
        Ok(now) => Some(format!("somebody else has set the desired capacity from {from} to {now}")),
        Err(error) => Some(crate::telemetry::chain(&error)),
    }
}

/// A description may not know of an instance refresh that began lately, so a scale-in asks once more just before.
async fn refresh(target: &AutoScaling, asg: &str) -> Option<String> {
    match target.refreshing(asg).await {
        Ok(false) => None,
        Ok(true) => Some("an instance refresh has begun".into()),
        Err(error) => Some(format!("an instance refresh can't be ruled out: {}", crate::telemetry::chain(&error))),
    }
}

fn outcome_of(error: &TargetError) -> Outcome {
    if error.outcome_unknown() {
        return Outcome::Unknown;
    }
    Outcome::Rejected(match error.kind() {
        ErrorKind::Validation => Rejection::Validation,
        ErrorKind::Contention | ErrorKind::ActivityInProgress => Rejection::Contention,
        ErrorKind::Throttled => Rejection::Throttled,
        ErrorKind::AccessDenied | ErrorKind::Credentials => Rejection::AccessDenied,
        ErrorKind::NotFound => Rejection::NotFound,
        _ => Rejection::Other,
    })
}

fn log_action(policy: &Policy, action: &Action) {
    let Action { from, to, because, outcome, error, .. } = action;
    let (name, asg) = (&policy.name, &policy.asg);
    match error {
        None => tracing::info!(event = "scaled", policy = %name, %asg, %from, %to, because, "desired capacity set"),
        Some(error) => tracing::warn!(event = "scale-failed", policy = %name, %asg, %from, %to, because, error,
            outcome = outcome.label(), "desired capacity not set"),
    }
}
