//! One line a policy: measured against target, desired, in service, pending, last reason.

use std::fmt::Write as _;

use crate::observation::Measurement;
use crate::policy::{MetricKind, full_scale};
use crate::status::{MetricStatus, PolicyStatus};

/// The line for one policy, without a line end.
pub(super) fn line(policy: &PolicyStatus) -> String {
    let mut line = format!("{:<10}", policy.name);
    for metric in &policy.metrics {
        let _ = write!(line, " {} {:>6}/{:<5}", metric.name, measured(metric), target(metric));
    }
    match &policy.group {
        Some(group) => {
            let (desired, in_service, pending) = (group.desired, group.in_service, group.pending);
            let _ = write!(line, " desired {desired:>2}  in service {in_service:>2}  pending {pending:>2}");
        }
        None => line.push_str(" group unknown"),
    }
    if let Some(because) = &policy.because {
        let _ = write!(line, "  {because}");
    }
    line
}

/// What was read last, in the metric's unit, or a word for what there was instead.
fn measured(metric: &MetricStatus) -> String {
    match metric.measurement {
        Some(Measurement::Value { value, .. }) => number(metric, value),
        Some(other) => other.label().into(),
        None => "-".into(),
    }
}

fn target(metric: &MetricStatus) -> String {
    number(metric, metric.target)
}

fn number(metric: &MetricStatus, value: f64) -> String {
    match metric.kind {
        MetricKind::Utilization => format!("{:.0}%", value * 100.0 / full_scale(metric.target)),
        MetricKind::Total => format!("{value:.0}"),
        MetricKind::Latency => format!("{:.0}ms", value * 1000.0),
    }
}
