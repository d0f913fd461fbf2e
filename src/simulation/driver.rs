//! A policy in charge of the reference plant: what it would observe there, through the code that runs live.

use super::reference::Seen;
use crate::control::{ControllerState, Decision, Evaluation, Outcome, evaluate, settle};
use crate::observation::{GroupStatus, Measurement, Observation, Rivals, Suspended};
use crate::policy::{Capacity, Metric, MetricKind, Policy};

/// A policy and what its controller remembers.
#[derive(Clone, Debug)]
pub struct Driver<'a> {
    policy: &'a Policy,
    state: ControllerState,
    totals_at: Option<f64>,
}

impl<'a> Driver<'a> {
    /// Begins with an empty memory.
    pub fn new(policy: &'a Policy) -> Self {
        Self { policy, state: ControllerState::default(), totals_at: None }
    }

    /// The same with totals as in [`Settings::totals_at`](super::settings::Settings::totals_at).
    #[must_use]
    pub fn with_totals_at(self, totals_at: Option<f64>) -> Self {
        Self { totals_at, ..self }
    }

    /// What the policy decides; it is taken for applied.
    pub fn evaluate(&mut self, seen: &Seen) -> Evaluation {
        let measurements =
            self.policy.metrics.iter().map(|metric| seen.measurement_of(metric, self.totals_at)).collect();
        let observation = Observation { measurements, group: Some(seen.group()), ..Observation::default() };
        let (evaluation, next) = evaluate(self.policy, std::mem::take(&mut self.state), &observation, seen.at);
        self.state = settle(next, &evaluation.decision, &Outcome::Applied, seen.at);
        evaluation
    }

    /// The desired capacity that it decides on.
    pub fn decide(&mut self, seen: &Seen) -> Capacity {
        match self.evaluate(seen).decision {
            Decision::Scale { to, .. } => to,
            Decision::Hold => seen.desired,
        }
    }
}

impl Seen {
    fn measurement_of(&self, metric: &Metric, totals_at: Option<f64>) -> Measurement {
        let value = match metric.kind {
            MetricKind::Utilization => self.measured.utilization * metric.full_scale(),
            MetricKind::Total => self.measured.arrival_rate * totals_at.map_or(1.0, |rate| metric.target / rate),
            MetricKind::Latency => self.measured.p99,
        };
        Measurement::of(value, Some(self.age)).within(metric.max_age)
    }

    fn group(&self) -> GroupStatus {
        GroupStatus {
            desired: self.desired,
            min: self.min,
            max: self.max,
            in_service: self.in_service,
            warm: self.warm,
            pending: self.pending,
            healthy: self.in_service,
            suspended: Suspended::default(),
            refreshing: false,
            launch_failure: None,
            rivals: Rivals::None,
        }
    }
}
