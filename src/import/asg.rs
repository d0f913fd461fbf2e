//! The scaling policies and scheduled actions of an Auto Scaling group, as AWS describes them.
//!
//! Metrics of `CloudWatch` become queries on what usual exporters say of the same, each marked to be verified.

use std::time::Duration;

use aws_sdk_autoscaling::types::{
    AutoScalingGroup, CustomizedMetricSpecification, MetricType, PredictiveScalingMode, ScalingPolicy,
    ScheduledUpdateGroupAction, TargetTrackingConfiguration,
};

use super::draft::{self, Draft, DraftMetric, DraftSchedule};
use super::metric::label;
use super::{Error, window};
use crate::policy::Schedule;

/// Seconds of the minute that AWS counts by.
const MINUTE: f64 = 60.0;

/// The highest utilization that is taken over: at 100 % nothing would be left to see an overload by.
const HIGHEST: f64 = 90.0;

/// The configuration that keeps `group`, which is in `region` unless that goes without saying, as its scaling `policies` do.
///
/// # Errors
/// When AWS did not say how large the group may be.
pub fn asg(
    group: &AutoScalingGroup,
    policies: &[ScalingPolicy],
    actions: &[ScheduledUpdateGroupAction],
    region: Option<&str>,
) -> Result<String, Error> {
    let name = group.auto_scaling_group_name().unwrap_or_default();
    let size = |size: Option<i32>, key: &str| {
        size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| Error::Field(key.into(), "a number of instances"))
    };
    let (min, max) = (size(group.min_size(), "MinSize")?, size(group.max_size(), "MaxSize")?.max(1));
    let mut draft = Draft { name: draft::name(name, "imported"), asg: name.into(), min, max, ..Draft::default() };
    draft.region = region.map(str::to_owned);
    draft.origin = format!("the scaling policies and scheduled actions of the Auto Scaling group {name}");
    for policy in policies {
        read(policy, &mut draft);
    }
    if day_and_night(actions, &mut draft).is_none() {
        for action in actions {
            schedule(action, &mut draft);
        }
    }
    if draft.min == 0 {
        draft.min = 1;
        draft.remarks.push(
            "Raised: MinSize is 0, and min here is 1. Without an instance there is no utilization to come back by; a metric \
             of kind \"total\" would allow min = 0."
                .into(),
        );
    }
    warm_up(group, policies, &mut draft);
    if draft.metrics.is_empty() {
        let remark = "Assumed: 70 % of the processors, since no policy tracks a target that could be imported. Verify the query.";
        processors(70.0, remark.into(), &mut draft);
    }
    hand_over(policies, actions, &mut draft);
    Ok(draft.text())
}

fn read(policy: &ScalingPolicy, draft: &mut Draft) {
    let name = policy.policy_name().unwrap_or_default();
    if policy.enabled() == Some(false) {
        draft.remarks.push(format!("Left out: the policy {name}, which is disabled."));
        return;
    }
    match (policy.policy_type().unwrap_or("SimpleScaling"), policy.target_tracking_configuration()) {
        ("TargetTrackingScaling", Some(tracking)) => track(name, tracking, draft),
        ("StepScaling", _) => draft.remarks.push(format!(
            "No equal here: the step policy {name}, {}. Its threshold is in the alarm{}; the same number as the target of a \
             metric keeps it from both sides, and controller = {{ kind = \"step\" }} has bands on the ratio to the target.",
            steps(policy),
            alarms(policy)
        )),
        ("PredictiveScaling", _) => draft.remarks.push(format!(
            "No equal here: the predictive policy {name}{}. controller = {{ kind = \"risk\" }} learns what comes every day by \
             itself, from what it sees.",
            forecasts(policy)
        )),
        (kind, _) => draft.remarks.push(format!(
            "No equal here: the policy {name} ({kind}{}), which adds or removes once an alarm{} says so. Give its threshold \
             as the target of a metric.",
            policy.scaling_adjustment().map_or_else(String::new, |change| format!(", {change:+}")),
            alarms(policy)
        )),
    }
}

/// ` CPU high, CPU low`, as far as AWS says.
fn alarms(policy: &ScalingPolicy) -> String {
    let names = policy.alarms().iter().filter_map(|alarm| alarm.alarm_name());
    names.map(|name| format!(" {name}")).collect::<Vec<_>>().join(",")
}

/// How a step policy answers how large a breach.
fn steps(policy: &ScalingPolicy) -> String {
    let bound = |bound: Option<f64>| bound.map_or_else(|| "…".into(), |bound| format!("{bound:+}"));
    let step = policy.step_adjustments().iter().map(|step| {
        let (from, to) = (bound(step.metric_interval_lower_bound()), bound(step.metric_interval_upper_bound()));
        format!("{:+} from {from} to {to}", step.scaling_adjustment().unwrap_or_default())
    });
    let steps = step.collect::<Vec<_>>().join(", ");
    format!("{} {steps} beyond the threshold", policy.adjustment_type().unwrap_or("ChangeInCapacity"))
}

fn forecasts(policy: &ScalingPolicy) -> &'static str {
    let mode = policy.predictive_scaling_configuration().and_then(|configuration| configuration.mode());
    if mode == Some(&PredictiveScalingMode::ForecastAndScale) { "" } else { ", which only forecasts" }
}

fn track(name: &str, tracking: &TargetTrackingConfiguration, draft: &mut Draft) {
    if tracking.disable_scale_in() == Some(true) {
        draft.remarks.push(format!(
            "The policy {name} never scales in. Where none of them does, write mode = \"scale-out-only\" once it may act."
        ));
    }
    let Some(target) = tracking.target_value().filter(|target| target.is_finite() && *target > 0.0) else {
        draft.remarks.push(format!("Not imported: the policy {name}, which has no target above 0."));
        return;
    };
    let from = format!("From the target tracking policy {name}");
    match (tracking.predefined_metric_specification(), tracking.customized_metric_specification()) {
        (Some(predefined), _) => {
            let kind = predefined.predefined_metric_type().map(MetricType::as_str).unwrap_or_default();
            known(kind, target, &from, predefined.resource_label(), draft);
        }
        (None, Some(custom)) => customized(custom, target, &from, draft),
        (None, None) => draft.remarks.push(format!("Not imported: the policy {name}, which names no metric.")),
    }
}

/// A metric of which AWS says what it means.
fn known(kind: &str, target: f64, from: &str, resource: Option<&str>, draft: &mut Draft) {
    let asg = label(&draft.asg);
    let remark = format!("{from}: {kind} at {target}.");
    match kind {
        "ASGAverageCPUUtilization" => {
            processors(
                target,
                format!("{remark} Verify the query: it assumes node_exporter and the label asg."),
                draft,
            );
        }
        "ASGAverageNetworkIn" | "ASGAverageNetworkOut" => {
            let way = if kind.ends_with("In") { "receive" } else { "transmit" };
            let query = format!("sum(rate(node_network_{way}_bytes_total{{asg={asg},device!=\"lo\"}}[2m]))");
            let remark = format!(
                "{remark} Bytes of a minute became bytes per second. Verify the query: it assumes node_exporter and the \
                 label asg."
            );
            total(&format!("network-{way}"), target / MINUTE, query, remark, draft);
        }
        "ALBRequestCountPerTarget" => {
            let of = resource.map_or_else(String::new, |resource| format!(" of {resource}"));
            let query = format!("sum(rate(http_requests_total{{asg={asg}}}[1m]))");
            let remark = format!(
                "{remark} Requests of a minute{of} became requests per second. Verify the query: it assumes that the \
                 instances, or better the load balancer, count them as http_requests_total."
            );
            total("requests", target / MINUTE, query, remark, draft);
        }
        _ => draft.remarks.push(format!("Not imported: {remark} What it means is not known here.")),
    }
}

fn processors(percent: f64, mut remark: String, draft: &mut Draft) {
    if percent > HIGHEST {
        remark.push_str(" Assumed: 90 %, since above that an overload can't be seen.");
    }
    let query = format!("avg(1 - rate(node_cpu_seconds_total{{mode=\"idle\",asg={}}}[1m]))", label(&draft.asg));
    let target = percent.clamp(1.0, HIGHEST) / 100.0;
    draft.add(DraftMetric { name: "cpu".into(), kind: "utilization", target, query, remark });
}

/// A metric of the owner's, by the name that exporters of `CloudWatch` give it.
fn customized(custom: &CustomizedMetricSpecification, target: f64, from: &str, draft: &mut Draft) {
    let (Some(metric), Some(namespace)) = (custom.metric_name(), custom.namespace()) else {
        let parts = custom.metrics().iter().filter_map(|part| part.expression().or(part.label()));
        let parts = parts.collect::<Vec<_>>().join("; ");
        draft.remarks.push(format!(
            "Not imported: {from} at {target}: metric math ({parts}). Write it as a query that gives the load of the whole \
             fleet, kind = \"total\", with the share of one instance as the target."
        ));
        return;
    };
    let statistic = custom.statistic().map_or("average", |statistic| statistic.as_str()).to_lowercase();
    let series = draft::name(&format!("{namespace}_{metric}_{statistic}").replace('/', "_").to_lowercase(), "metric");
    let dimensions = custom.dimensions().iter().filter_map(|d| Some(format!("{} {}", d.name()?, d.value()?)));
    let of = match dimensions.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => none,
        some => format!(" of {some}"),
    };
    // AWS scales by the ratio of the value to its target, whatever the value is of; as a total, a mean would shrink the fleet.
    let query = format!("avg({series})").replace('-', "_");
    let origin = format!("{from}: {namespace} {metric} ({statistic}{of})");
    super::metric::ratio(metric, &target.to_string(), &query, &origin, draft);
}

fn total(name: &str, target: f64, query: String, remark: String, draft: &mut Draft) {
    draft.add(DraftMetric { name: name.into(), kind: "total", target, query, remark });
}

/// Two actions of which one raises `MinSize` and the other lowers it again, always after as long: the window between them.
fn day_and_night(actions: &[ScheduledUpdateGroupAction], draft: &mut Draft) -> Option<()> {
    let [one, other] = actions else { return None };
    let size = |action: &ScheduledUpdateGroupAction| u64::try_from(action.min_size()?).ok();
    let (raises, lowers) = if size(one)? > size(other)? { (one, other) } else { (other, one) };
    let (high, low) = (size(raises)?, size(lowers)?);
    let zone = |action: &ScheduledUpdateGroupAction| action.time_zone().unwrap_or("UTC").to_owned();
    let lasts = |action: &ScheduledUpdateGroupAction| action.max_size().is_none() && action.end_time().is_none();
    let (cron, timezone) = (raises.recurrence()?.to_owned(), zone(raises));
    let minutes = window::minutes(&cron, lowers.recurrence()?)?;
    Schedule::new(&cron, &timezone, Duration::ZERO).ok()?;
    if low == high || timezone != zone(lowers) || !lasts(raises) || !lasts(lowers) {
        return None;
    }
    let [start, end] = [raises, lowers].map(|action| action.scheduled_action_name().unwrap_or_default());
    let remark = format!("From the scheduled action {start}, until {end}: MinSize {high}, and {low} at other times.");
    draft.min = low;
    draft.schedules.push(DraftSchedule { cron, timezone, minutes, min: high.min(draft.max), remark });
    if raises.desired_capacity().or(lowers.desired_capacity()).is_some() {
        draft
            .remarks
            .push("Left out: DesiredCapacity of the scheduled actions; the metrics decide within min and max.".into());
    }
    Some(())
}

fn schedule(action: &ScheduledUpdateGroupAction, draft: &mut Draft) {
    let name = action.scheduled_action_name().unwrap_or_default();
    let when = match (action.recurrence(), action.start_time()) {
        (Some(cron), _) => format!("at {cron:?}"),
        (None, Some(start)) => format!("once, at {start}"),
        (None, None) => "at a time that is not said".into(),
    };
    let sizes = [
        ("MinSize", action.min_size()),
        ("MaxSize", action.max_size()),
        ("DesiredCapacity", action.desired_capacity()),
    ];
    let sizes = sizes.iter().filter_map(|(key, size)| Some(format!("{key} {}", (*size)?)));
    let sizes = sizes.collect::<Vec<_>>().join(", ");
    draft.remarks.push(format!(
        "No equal here: the scheduled action {name} sets {sizes} {when} ({}). Here a window has its bounds for as long as it is \
         open: [[policy.schedule]] with the start, the duration until the action that undoes this one, min and max.",
        action.time_zone().unwrap_or("UTC")
    ));
}

/// What a policy or the group says of the time until an instance carries its share.
fn warm_up(group: &AutoScalingGroup, policies: &[ScalingPolicy], draft: &mut Draft) {
    let longest = policies.iter().filter_map(ScalingPolicy::estimated_instance_warmup).max();
    let seconds = longest.or(group.default_instance_warmup()).filter(|seconds| *seconds >= 0);
    if let Some(seconds) = seconds {
        let remark = "What AWS calls the instance warmup: from in service to a full share of the work.";
        draft.keys.push(("warm_up", draft::quoted(&format!("{seconds}s")), remark.into()));
    }
}

/// What must be gone before somebody else scales the group.
fn hand_over(policies: &[ScalingPolicy], actions: &[ScheduledUpdateGroupAction], draft: &mut Draft) {
    let group = &draft.asg;
    let mut steps = Vec::new();
    for name in policies.iter().filter_map(|policy| policy.policy_name()) {
        steps.push(format!("aws autoscaling delete-policy --auto-scaling-group-name {group} --policy-name {name}"));
    }
    for name in actions.iter().filter_map(|action| action.scheduled_action_name()) {
        steps.push(format!(
            "aws autoscaling delete-scheduled-action --auto-scaling-group-name {group} --scheduled-action-name {name}"
        ));
    }
    if !steps.is_empty() {
        let text = "Before it acts, what scales the group now must go; until then Setpoint calls the group contested and leaves it \
                    alone. Keep a copy of what `aws autoscaling describe-policies` says:";
        draft.remarks.push(text.into());
        draft.remarks.extend(steps);
    }
}
