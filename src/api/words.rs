//! What a policy's status means, in words for people and units that they read. The page and the API say the same.

use std::fmt::{self, Display};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::{Outcome, Reason};
use crate::observation::{Measurement, elapsed};
use crate::policy::MetricKind;
use crate::status::{MetricStatus, PolicyStatus};

/// A policy that was not evaluated for this many intervals is overdue.
const PATIENCE: u32 = 3;

/// Something that keeps a policy from doing its work.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Trouble {
    /// A bounded word or two.
    pub kind: &'static str,
    /// A sentence.
    pub says: String,
}

/// Everything that keeps the policy from doing its work; empty when nothing does.
pub(super) fn troubles(policy: &PolicyStatus, now: Timestamp) -> Vec<Trouble> {
    let mut found = Vec::new();
    let mut add = |kind, says| found.push(Trouble { kind, says });
    let Some(evaluation) = &policy.evaluation else {
        // A policy that has just been started is in no trouble; a fault of ours leaves a sentence.
        policy.because.iter().for_each(|because| add("failed", because.clone()));
        return found;
    };
    // A time that has not come yet means that the clock was set back.
    if elapsed(evaluation.at, now).max(elapsed(now, evaluation.at)) > policy.interval * PATIENCE {
        add("overdue", format!("not evaluated since {}", Moment(evaluation.at)));
    }
    for stated in &evaluation.reasons {
        match &stated.reason {
            Reason::GroupUnknown => add("group unknown", policy.group_detail.clone().unwrap_or_default()),
            reason @ (Reason::MetricInvalid { .. } | Reason::MetricNegative { .. } | Reason::NothingServes { .. }) => {
                add("not valid", reason.to_string());
            }
            reason @ Reason::Contested { .. } => add("contested", reason.to_string()),
            _ => {}
        }
    }
    if let Some(failure) = policy.group.and_then(|group| group.launch_failure) {
        let why =
            if failure.insufficient_capacity { "AWS has insufficient capacity" } else { "the newest launch failed" };
        add("launches fail", format!("{why}, {} ago", Span(elapsed(failure.at, now))));
    }
    if let Some(action) = policy.last_action.as_ref().filter(|action| action.at == evaluation.at) {
        match action.outcome {
            Outcome::Rejected(_) => add("refused", action.error.clone().unwrap_or_default()),
            Outcome::Unknown => add("outcome unknown", action.error.clone().unwrap_or_default()),
            Outcome::Applied | Outcome::NoOp => {}
        }
    }
    found
}

/// What is compared with the target, over the target; above 1 the target is missed. `None` where that is unknown.
pub(super) fn ratio(policy: &PolicyStatus, metric: &MetricStatus) -> Option<f64> {
    policy.against_target(metric).map(|value| value / metric.target)
}

/// What was read of a metric: a number with its unit, or why there is none.
pub(super) struct Reading<'a>(pub &'a PolicyStatus, pub &'a MetricStatus);

impl Display for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(policy, metric) = self;
        match (metric.measurement, policy.serving()) {
            (None, _) => f.write_str("not read yet"),
            (Some(Measurement::Value { value, .. }), Some(serving)) if metric.kind == MetricKind::Total => {
                write!(f, "{} an instance ({} in all)", Quantity(metric, value / serving), Quantity(metric, value))
            }
            (Some(Measurement::Value { value, .. }), None) if metric.kind == MetricKind::Total => {
                write!(f, "{} in all", Quantity(metric, value))
            }
            (Some(Measurement::Value { value, .. }), _) => Quantity(metric, value).fmt(f),
            (Some(Measurement::Instances { mean, reporting, .. }), _) => {
                write!(f, "{} on average over {reporting} instances", Quantity(metric, mean))
            }
            (Some(other), _) => other.fmt(f),
        }
    }
}

/// A value in the metric's unit, with the digits that a reader needs.
pub(super) struct Quantity<'a>(pub &'a MetricStatus, pub f64);

impl Display for Quantity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(metric, value) = self;
        let full_scale = crate::policy::full_scale(metric.target);
        match metric.kind {
            MetricKind::Utilization => write!(f, "{} %", Digits(value * 100.0 / full_scale)),
            MetricKind::Total => Digits(*value).fmt(f),
            MetricKind::Latency if *value < 10.0 => write!(f, "{} ms", Digits(value * 1000.0)),
            MetricKind::Latency => write!(f, "{} s", Digits(*value)),
        }
    }
}

/// A number with about three digits, and no zeros behind them.
struct Digits(f64);

impl Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = match self.0.abs() {
            size if size >= 99.95 => 0,
            size if size >= 9.995 => 1,
            size if size >= 0.9995 => 2,
            _ => 3,
        };
        let number = format!("{:.decimals$}", self.0);
        let shown = if decimals == 0 { &number } else { number.trim_end_matches('0').trim_end_matches('.') };
        f.write_str(if shown == "-0" { "0" } else { shown })
    }
}

/// A moment to the second, in UTC.
pub(super) struct Moment(pub Timestamp);

impl Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%d %H:%M:%S UTC"))
    }
}

/// A duration in its largest unit.
pub(super) struct Span(pub Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7200 => write!(f, "{} min", seconds / 60),
            seconds @ 7200..172_800 => write!(f, "{} h", seconds / 3600),
            seconds => write!(f, "{} d", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_has_its_unit_and_the_digits_that_matter() {
        let check = |kind, target, value, expected: &str| {
            let metric = MetricStatus { name: "m".into(), kind, target, measurement: None, detail: None };
            assert_eq!(Quantity(&metric, value).to_string(), expected, "{kind:?} {value}");
        };
        check(MetricKind::Utilization, 0.7, 0.9, "90 %");
        check(MetricKind::Utilization, 70.0, 90.0, "90 %");
        check(MetricKind::Utilization, 0.7, 0.123_45, "12.3 %");
        check(MetricKind::Latency, 0.5, 0.41, "410 ms");
        check(MetricKind::Latency, 0.5, 0.000_42, "0.42 ms");
        check(MetricKind::Latency, 0.5, 12.0, "12 s");
        check(MetricKind::Total, 0.5, 0.25, "0.25");
        check(MetricKind::Total, 200.0, 123_456.0, "123456");
        check(MetricKind::Total, 200.0, 100.0, "100");
        check(MetricKind::Total, 200.0, -0.000_01, "0");
        check(MetricKind::Total, 200.0, 0.0, "0");
    }

    #[test]
    fn a_span_is_told_in_its_largest_unit() {
        for (seconds, expected) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), expected);
        }
    }
}
