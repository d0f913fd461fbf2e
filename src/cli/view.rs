//! One line a policy: measured against target, desired, in service, pending, last reason.

use std::fmt::Write as _;

use crate::observation::Measurement;
use crate::policy::{MetricKind, full_scale};
use crate::status::{MetricStatus, PolicyStatus};

/// The line for one policy, without a line end.
pub(super) fn line(policy: &PolicyStatus) -> String {
    let mut line = format!("{:<10}", policy.name);
    for metric in &policy.metrics {
        let _ = write!(line, " {} {:>6}/{:<5}", metric.name, measured(policy, metric), number(metric, metric.target));
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

/// What is compared with the target, in the metric's unit, or a word for what there was instead.
fn measured(policy: &PolicyStatus, metric: &MetricStatus) -> String {
    match (policy.against_target(metric), metric.measurement) {
        (Some(value), _) => number(metric, value),
        (None, None | Some(Measurement::Value { .. })) => "-".into(),
        (None, Some(other)) => other.label().into(),
    }
}

fn number(metric: &MetricStatus, value: f64) -> String {
    match metric.kind {
        MetricKind::Utilization => format!("{:.0}%", value * 100.0 / full_scale(metric.target)),
        MetricKind::Total => format!("{value:.0}"),
        MetricKind::Latency => format!("{:.0}ms", value * 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::observation::GroupStatus;
    use crate::policy::Capacity;

    const POLICY: &str = r#"
        prometheus = { url = "http://127.0.0.1:9090" }
        [[policy]]
        name = "web"
        asg = "web"
        min = 1
        max = 9
        [[policy.metric]]
        name = "requests"
        kind = "total"
        query = "requests"
        target = 150
    "#;

    #[test]
    fn a_total_stands_beside_its_target_as_what_an_instance_has_of_it() {
        let policy = config::parse("web.toml", POLICY, []).expect("a policy").policies.remove(0);
        let mut status = PolicyStatus::new(&policy);
        status.metrics[0].measurement =
            Some(Measurement::Value { value: 270.0, age: Some(std::time::Duration::from_secs(1)) });
        assert!(line(&status).contains("requests      -/150 "), "{}", line(&status));
        let [in_service, warm] = [Capacity::new(2); 2];
        status.group = Some(GroupStatus { in_service, warm, ..GroupStatus::default() });
        assert!(line(&status).contains("requests    135/150 "), "{}", line(&status));
    }
}
