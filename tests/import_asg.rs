//! `setpoint import asg` against a moto that holds policies of each type: what it prints passes `setpoint check`, only
//! observes, and leaves no policy and no scheduled action unnamed.

mod support;

use std::process::{Command, Output};

use setpoint::config;
use setpoint::policy::{Capacity, MetricKind, Mode};
use support::servers::Moto;

/// Puts a policy there, with its further parameters.
fn put(moto: &Moto, name: &str, kind: &str, parameters: &[(&str, &str)]) {
    let form = [
        ("Action", "PutScalingPolicy"),
        ("AutoScalingGroupName", "web-prod"),
        ("PolicyName", name),
        ("PolicyType", kind),
    ];
    moto.call("autoscaling", &[&form, parameters].concat());
}

/// Keeps a metric of AWS's own at a target.
fn track(moto: &Moto, name: &str, metric: &str, target: &str, more: &[(&str, &str)]) {
    let parameters = [
        ("TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType", metric),
        ("TargetTrackingConfiguration.TargetValue", target),
    ];
    put(moto, name, "TargetTrackingScaling", &[&parameters, more].concat());
}

fn policies(moto: &Moto) {
    let warm_up = ("EstimatedInstanceWarmup", "90");
    let never_in = ("TargetTrackingConfiguration.DisableScaleIn", "true");
    track(moto, "cpu-55", "ASGAverageCPUUtilization", "55.0", &[warm_up]);
    track(moto, "requests", "ALBRequestCountPerTarget", "1200.0", &[never_in]);
    track(moto, "inbound", "ASGAverageNetworkIn", "6000000.0", &[]);
    let custom = |key: &'static str| format!("TargetTrackingConfiguration.CustomizedMetricSpecification.{key}");
    let keys = ["MetricName", "Namespace", "Statistic"].map(custom);
    let values = ["BacklogPerInstance", "Shop/Orders", "Average"];
    let mut parameters: Vec<(&str, &str)> = keys.iter().map(String::as_str).zip(values).collect();
    parameters.push(("TargetTrackingConfiguration.TargetValue", "10.5"));
    put(moto, "backlog", "TargetTrackingScaling", &parameters);
    put(
        moto,
        "steps",
        "StepScaling",
        &[
            ("AdjustmentType", "PercentChangeInCapacity"),
            ("StepAdjustments.member.1.MetricIntervalLowerBound", "0"),
            ("StepAdjustments.member.1.MetricIntervalUpperBound", "15"),
            ("StepAdjustments.member.1.ScalingAdjustment", "10"),
            ("StepAdjustments.member.2.MetricIntervalLowerBound", "15"),
            ("StepAdjustments.member.2.ScalingAdjustment", "30"),
        ],
    );
    put(moto, "simple", "SimpleScaling", &[("AdjustmentType", "ChangeInCapacity"), ("ScalingAdjustment", "-1")]);
    moto.call(
        "autoscaling",
        &[
            ("Action", "PutScheduledUpdateGroupAction"),
            ("AutoScalingGroupName", "web-prod"),
            ("ScheduledActionName", "morning"),
            ("Recurrence", "0 8 * * 1-5"),
            ("MinSize", "6"),
        ],
    );
}

fn import(moto: &Moto, group: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setpoint"));
    command.args(["import", "asg", group, "--region", Moto::REGION, "--endpoint-url", &moto.url()]);
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").output().expect("the binary")
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn every_policy_of_a_group_is_imported_or_named_with_what_to_do() {
    let Some(moto) = Moto::start() else { return };
    moto.create_group("web-prod", 2, 3, 20);
    policies(&moto);
    let text = printed(&import(&moto, "web-prod"));
    println!("{text}");
    let config = config::parse("t.toml", &text, []).unwrap_or_else(|findings| panic!("{findings}\n{text}"));
    let policy = &config.policies[0];
    assert_eq!((policy.mode, policy.min.get(), policy.max.get()), (Mode::Observe, 2, 20));
    assert_eq!(policy.warm_up.map(|time| time.as_secs()), Some(90));
    let mut metrics: Vec<(&str, MetricKind, f64)> =
        policy.metrics.iter().map(|metric| (&*metric.name, metric.kind, metric.target)).collect();
    let total = MetricKind::Total;
    let expected = [
        ("BacklogPerInstance", MetricKind::Utilization, 0.01),
        ("cpu", MetricKind::Utilization, 0.55),
        ("network-receive", total, 100_000.0),
        ("requests", total, 20.0),
    ];
    metrics.sort_by_key(|(name, ..)| *name);
    assert_eq!(metrics, expected, "{text}");
    for says in [
        "/ 10.5",
        "The policy requests never scales in.",
        "No equal here: the step policy steps, PercentChangeInCapacity +10 from +0 to +15, +30 from +15 to … beyond",
        "No equal here: the policy simple (SimpleScaling, -1)",
        "No equal here: the scheduled action morning sets MinSize 6 at \"0 8 * * 1-5\" (UTC).",
        "--policy-name cpu-55",
        "--scheduled-action-name morning",
    ] {
        assert!(text.contains(says), "{says} in\n{text}");
    }
}

#[test]
fn a_pair_of_scheduled_actions_is_a_window() {
    let Some(moto) = Moto::start() else { return };
    moto.create_group("shop", 2, 3, 20);
    for (name, cron, size) in [("evening", "30 20 * * 1-5", "2"), ("morning", "0 8 * * 1-5", "6")] {
        moto.call(
            "autoscaling",
            &[
                ("Action", "PutScheduledUpdateGroupAction"),
                ("AutoScalingGroupName", "shop"),
                ("ScheduledActionName", name),
                ("Recurrence", cron),
                ("TimeZone", "Europe/Vienna"),
                ("MinSize", size),
            ],
        );
    }
    let text = printed(&import(&moto, "shop"));
    let config = config::parse("t.toml", &text, []).unwrap_or_else(|findings| panic!("{findings}\n{text}"));
    let policy = &config.policies[0];
    let [window] = &policy.schedules[..] else { panic!("{text}") };
    assert_eq!((policy.min.get(), window.min.map(Capacity::get)), (2, Some(6)));
    assert_eq!(&**window.cron(), "0 8 * * 1-5");
    assert!(text.contains("duration = \"750m\"") || text.contains("12h30m"), "{text}");
    assert!(
        text.contains("until evening: MinSize 6, and 2 at other times") && text.contains("Europe/Vienna"),
        "{text}"
    );
}

#[test]
fn a_group_without_policies_gets_a_first_one_and_a_missing_group_is_named() {
    let Some(moto) = Moto::start() else { return };
    moto.create_group("alone", 0, 1, 4);
    let text = printed(&import(&moto, "alone"));
    assert!(text.contains("Assumed: 70 % of the processors") && !text.contains("Before it acts"), "{text}");
    let config = config::parse("t.toml", &text, []).expect("a configuration that is valid");
    assert_eq!(config.policies[0].min.get(), 1);
    assert!(text.contains("Raised: MinSize is 0"), "{text}");
    let output = import(&moto, "nobody");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody"), "{output:?}");
}
