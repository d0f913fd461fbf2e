//! What a policy's turns have come to since it was started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::{Decision, Evaluation, Outcome};
use crate::observation::{GroupStatus, elapsed, optional_seconds};
use crate::policy::Capacity;

/// Counts since a policy was started.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Counters {
    /// Evaluations.
    pub evaluations: u64,
    /// Evaluations that failed from a fault of our own.
    pub failures: u64,
    /// Changes of the desired capacity in the other direction than the one before.
    pub direction_changes: u64,
    /// From the last scale-out that has been finished until all that it asked for was healthy, in seconds, to within an
    /// interval.
    #[serde(serialize_with = "optional_seconds")]
    #[schema(value_type = Option<f64>)]
    pub time_to_healthy: Option<Duration>,
    /// Attempts to change the desired capacity, by direction and outcome.
    #[serde(skip)]
    pub actions: BTreeMap<(&'static str, &'static str), u64>,
    /// Evaluations in which something kept a change from being made as the metrics asked for it, by what it was.
    #[serde(skip)]
    pub blocked: BTreeMap<&'static str, u64>,
    /// Measurements that were no value, by metric and kind.
    #[serde(skip)]
    pub invalid: BTreeMap<(Arc<str>, &'static str), u64>,
    /// Group descriptions that failed.
    pub describe_failures: u64,
    /// Where the last change went.
    #[serde(skip)]
    headed: Option<&'static str>,
    /// The scale-out that is not finished yet.
    #[serde(skip)]
    growing: Option<Growing>,
}

/// When a capacity was asked for that is not there yet.
#[derive(Clone, Copy, Debug)]
struct Growing {
    since: Timestamp,
    to: Capacity,
}

impl Counters {
    /// Counts of a policy that has just been started. What may be applied is counted from 0: of a series that begins with
    /// its first change, Prometheus would not see that change.
    pub fn new() -> Self {
        let none = ["out", "in"].map(|direction| ((direction, Outcome::Applied.label()), 0));
        Self { actions: none.into(), ..Self::default() }
    }

    /// An evaluation, and what became of its decision.
    pub fn evaluated(&mut self, evaluation: &Evaluation, outcome: Outcome) {
        self.evaluations += 1;
        let mut blocked: Vec<&str> = evaluation.reasons.iter().filter_map(|said| said.reason.held_back_by()).collect();
        // One that says so twice is still one.
        blocked.sort_unstable();
        blocked.dedup();
        for word in blocked {
            *self.blocked.entry(word).or_default() += 1;
        }
        if let Decision::Scale { from, to } = evaluation.decision {
            self.acted(evaluation.at, from, to, outcome);
        }
    }

    fn acted(&mut self, at: Timestamp, from: Capacity, to: Capacity, outcome: Outcome) {
        let direction = if to > from { "out" } else { "in" };
        *self.actions.entry((direction, outcome.label())).or_default() += 1;
        if !matches!(outcome, Outcome::Applied | Outcome::Unknown) {
            return;
        }
        self.direction_changes += u64::from(self.headed.replace(direction).is_some_and(|before| before != direction));
        self.growing = (to > from).then_some(Growing { since: at, to });
    }

    /// The group as it is before an evaluation at `now`.
    pub fn saw(&mut self, group: &GroupStatus, now: Timestamp) {
        if let Some(Growing { since, .. }) = self.growing.take_if(|growing| group.healthy >= growing.to) {
            self.time_to_healthy = Some(elapsed(since, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use arrayvec::ArrayVec;

    use super::*;
    use crate::control::{Guard, Reason, StageName, StatedReason};
    use crate::observation::Observation;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn acted(counters: &mut Counters, second: i64, from: u32, to: u32, outcome: Outcome) {
        counters.acted(at(second), Capacity::new(from), Capacity::new(to), outcome);
    }

    #[test]
    fn a_change_of_direction_is_one_that_may_have_been_made() {
        let mut counters = Counters::default();
        for (from, to, outcome) in [
            (2, 4, Outcome::Applied),
            (4, 6, Outcome::Applied),
            (6, 5, Outcome::Rejected(crate::control::Rejection::Throttled)),
            (6, 5, Outcome::Unknown),
            (5, 8, Outcome::Applied),
        ] {
            acted(&mut counters, 0, from, to, outcome);
        }
        assert_eq!(counters.direction_changes, 2);
        assert_eq!(counters.actions[&("in", "rejected")], 1);
    }

    #[test]
    fn what_holds_back_is_counted_once_an_evaluation_however_often_it_is_said() {
        let stage = StageName::Guards;
        let veto = |metric: &str| Reason::Vetoed { guard: Guard::MetricNotValid { metric: metric.into() } };
        let reasons = [veto("cpu"), veto("p99"), Reason::GroupUnknown, Reason::Observing { would: Capacity::ZERO }];
        let evaluation = Evaluation {
            policy: "web".into(),
            at: at(0),
            observation: Observation::default(),
            boot_time: None,
            signals: ArrayVec::new(),
            recommendations: ArrayVec::new(),
            stages: ArrayVec::new(),
            decision: Decision::Hold,
            reasons: reasons.map(|reason| StatedReason { stage, reason }).into_iter().collect(),
        };
        let mut counters = Counters::new();
        counters.evaluated(&evaluation, Outcome::NoOp);
        counters.evaluated(&evaluation, Outcome::NoOp);
        assert_eq!(counters.blocked, [("metric-not-valid", 2), ("observe", 2)].into());
    }

    #[test]
    fn the_first_change_is_seen_to_be_one_more() {
        let mut counters = Counters::new();
        let before = counters.actions.clone();
        acted(&mut counters, 0, 2, 4, Outcome::Applied);
        acted(&mut counters, 60, 4, 3, Outcome::Applied);
        let seen = counters.actions.iter().map(|(labels, count)| count - before[labels]);
        assert_eq!(seen.collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn a_scale_out_is_finished_when_all_of_it_is_healthy() {
        let mut counters = Counters::default();
        let group = |healthy| GroupStatus { healthy: Capacity::new(healthy), ..GroupStatus::default() };
        acted(&mut counters, 0, 2, 4, Outcome::Applied);
        counters.saw(&group(3), at(60));
        assert_eq!(counters.time_to_healthy, None);
        acted(&mut counters, 60, 4, 5, Outcome::Applied);
        counters.saw(&group(5), at(150));
        counters.saw(&group(5), at(165));
        assert_eq!(counters.time_to_healthy, Some(Duration::from_secs(90)), "of the last call");
        acted(&mut counters, 200, 5, 8, Outcome::Applied);
        acted(&mut counters, 230, 8, 4, Outcome::Applied);
        counters.saw(&group(8), at(300));
        assert_eq!(counters.time_to_healthy, Some(Duration::from_secs(90)), "it was called off");
    }
}
