//! Nineteen incidents of other autoscalers, each as a test of the guard that it taught.

#[path = "lifetimes/checker.rs"]
mod checker;
#[path = "faults/disk.rs"]
mod disk;
mod drawn;
mod fixture;
#[path = "faults/proxy.rs"]
mod proxy;
#[path = "faults/spoiled.rs"]
mod spoiled;
#[path = "faults/trial.rs"]
mod trial;

use std::time::Duration;

use fixture::{Fleet, metric, policy, value};
use proxy::Wire;
use serde_json::json;
use setpoint::control::Outcome;
use setpoint::observation::{Failure, Measurement};
use setpoint::policy::{Capacity, MetricKind};
use setpoint::simulation::{LaunchFault, Workload};
use trial::{Step, Trial};

const INTERVAL: Duration = Duration::from_mins(1);
/// What a policy has that is watched for hours, and its interval.
const SELDOM: &str = "interval = \"5m\"";
const LONG: Duration = Duration::from_mins(5);
const HALF_AN_HOUR: Duration = Duration::from_mins(30);

/// Between two cycles, when a window has been seen in full.
const WARM: Duration = Duration::from_secs(10 * 60 + 30);

const LOAD: &str = r#"
[[policy.metric]]
name = "load"
kind = "total"
query = 'sum(http_requests_per_second{asg="web"})'
target = 100
"#;

const EACH: &str = r#"
[[policy.metric]]
name = "cpu"
kind = "utilization"
query = 'instance_cpu_ratio{asg="web"}'
per_instance = "instance"
target = 0.5
"#;

fn configuration(more: &str, metrics: &str) -> String {
    format!(
        r#"
interval = "1m"
[prometheus]
url = "http://127.0.0.1:9090"
timeout = "2s"
[aws]
region = "us-east-1"
timeout = "3s"
[[policy]]
name = "web"
asg = "web"
mode = "active"
min = 2
max = 20
boot_time = "1m"
warm_up = "15s"
stabilization = {{ in = "5m", out = "0s" }}
cooldown = {{ in = "1m", out = "30s" }}
step = {{ out = {{ count = 4, per = "1m" }}, in = {{ count = 4, per = "1m" }} }}
{more}
{metrics}
"#
    )
}

/// A daemon that has kept `desired` instances under their fitting load for a while.
async fn settled(desired: u32, more: &str, metrics: &str) -> Trial {
    let fitting = Workload::constant(f64::from(desired) * 93.0);
    let world = trial::world(1).with_fleet(trial::group("web", desired, INTERVAL), fitting);
    let trial = Trial::start(world, &configuration(more, metrics)).await;
    trial.until(WARM).await;
    assert_eq!(trial.desired("web"), Some(desired), "{:?}", trial.policy("web").because);
    trial
}

fn set_rate(trial: &Trial, rate: f64) {
    trial.world.with(|world| world.fleet_mut("web").expect("the fleet").workload = Workload::constant(rate));
}

async fn wait(trial: &Trial, span: Duration) {
    trial.until(trial.since_start() + span).await;
}

/// Ends the trial and returns what was done; every rule that holds at all times was kept.
async fn done(trial: Trial) -> Vec<Step> {
    let steps = trial.stop().await;
    assert_eq!(trial::check(&steps), Vec::<String>::new());
    steps
}

fn lowered(steps: &[Step]) -> bool {
    steps.iter().filter_map(Step::change).any(|(from, to)| to < from)
}

/// The daemon keeps its ten instances while `wire` spoils what it reads and the load seems to fall, and follows the load
/// within one interval of the end.
fn holds_ten(metrics: &'static str, more: &'static str, spoil: fn(&Trial, bool)) {
    trial::runtime().block_on(async {
        let trial = settled(10, more, metrics).await;
        spoil(&trial, true);
        set_rate(&trial, 300.0);
        wait(&trial, HALF_AN_HOUR).await;
        assert_eq!(trial.desired("web"), Some(10), "{:?}", trial.policy("web").because);
        spoil(&trial, false);
        set_rate(&trial, 1800.0);
        wait(&trial, INTERVAL).await;
        wait(&trial, INTERVAL).await;
        assert!(trial.desired("web") > Some(10), "{:?}", trial.policy("web").because);
        assert!(!lowered(&done(trial).await));
    });
}

fn prometheus(trial: &Trial, wire: Wire, on: bool) {
    trial.prometheus.set(if on { vec![(wire, "")] } else { Vec::new() });
}

fn auto_scaling(trial: &Trial, wire: Wire, on: bool) {
    trial.auto_scaling.set(if on { vec![(wire, "")] } else { Vec::new() });
}

/// Reddit, August 2016: an autoscaler read partial data while its inventory was being moved, and ended the fleet within
/// 16 seconds. (That a package had switched it on again belongs to the journal, which keeps pauses.)
#[test]
fn an_inventory_that_loses_most_instances_between_two_polls_ends_none() {
    holds_ten(LOAD, "", |trial, on| {
        auto_scaling(trial, Wire::Edit(|answer| spoiled::instances(&answer, |n| n % 5 < 2)), on);
    });
}

/// Slack, May 2020: an evening's scale-in removed the only hosts that the load balancers still knew as healthy.
#[test]
fn instances_that_are_not_all_healthy_bar_scale_in() {
    holds_ten(LOAD, "", |trial, on| {
        trial.world.with(|world| {
            let group = &mut world.fleet_mut("web").expect("the fleet").group;
            group.instances.iter_mut().skip(5).for_each(|instance| instance.healthy = !on);
        });
    });
}

/// Slack, January 2021: waiting for the network lowered the CPU, the web tier was scaled in while requests failed, and
/// then 1,200 servers were asked for at once.
#[test]
fn an_idle_cpu_beside_a_burning_latency_removes_nothing_and_a_surge_adds_step_by_step() {
    let mut both = policy();
    both.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    let mut fleet = Fleet::new(both).warmed_up();
    assert!(fleet.at(600).sees_all(&[value(0.1), value(2.0)]) >= 4, "{}", fleet.because());
    assert!(fleet.at(615).sees_all(&[value(300.0), value(60.0)]) <= 8, "{}", fleet.because());
}

/// Netflix, on Scryer, 2013: an outage upstream looks like a quiet hour; the fleet shrinks, and the returning traffic,
/// retries and all, finds too little.
#[test]
fn a_collapse_of_demand_holds_the_fleet_for_its_return() {
    trial::runtime().block_on(async {
        let trial = settled(8, "max_drop = { ratio = 0.5, per = \"30m\" }", LOAD).await;
        set_rate(&trial, 80.0);
        wait(&trial, Duration::from_mins(20)).await;
        assert_eq!(trial.desired("web"), Some(8), "{:?}", trial.policy("web").because);
        set_rate(&trial, 1600.0);
        wait(&trial, Duration::from_mins(4)).await;
        assert!(trial.desired("web") >= Some(16), "{:?}", trial.policy("web").because);
        assert!(!lowered(&done(trial).await));
    });
}

/// KEDA 3065: nulls of Prometheus were read as zero, and everything went to its minimum at the peak.
#[test]
fn no_data_at_the_peak_is_not_zero() {
    holds_ten(LOAD, "", |trial, on| prometheus(trial, Wire::Edit(spoiled::no_series), on));
}

/// KEDA 6659: in a real outage, the fallback scaled in.
#[test]
fn a_fallback_never_removes() {
    let fallback = "fallback = { after = \"1m\", capacity = 3 }";
    holds_ten(LOAD, fallback, |trial, on| prometheus(trial, Wire::Refused, on));
}

/// KEDA 7576 and nomad-autoscaler 87: NaN became a number.
#[test]
fn no_class_of_floating_point_numbers_that_is_not_finite_removes_capacity() {
    let (quiet, signalling) = (0x7ff8_0000_0000_0000_u64, 0x7ff0_0000_0000_0001_u64);
    let sign = 1_u64 << 63;
    let none = [quiet, signalling, quiet | sign, signalling | sign, u64::MAX, 0x7ff0 << 48, 0xfff0 << 48];
    for bits in none {
        let read = Measurement::of(f64::from_bits(bits), None);
        assert_eq!(read, Measurement::NotFinite, "{bits:#x}");
        assert_eq!(Fleet::new(policy()).warmed_up().at(600).sees(read), 4, "{bits:#x}");
    }
    // Below zero, smaller than any normal number, or larger than any fleet.
    for number in [-1.0, f64::MIN, f64::MAX, 1e300] {
        assert!(Fleet::new(policy()).warmed_up().at(600).sees(value(number)) >= 4, "{number}");
    }
}

/// Kubernetes 126892: at the peak a 32-bit number overflowed, and the autoscaler's maximum became 1.
#[test]
fn a_recommendation_beyond_every_integer_is_a_scale_out() {
    for number in [2_147_483_648.0, 4_294_967_296.0, 9.3e18, 1.9e19, 1e300] {
        for kind in [MetricKind::Utilization, MetricKind::Total, MetricKind::Latency] {
            let mut one = policy();
            one.metrics[0].kind = kind;
            let mut fleet = Fleet::new(one).warmed_up();
            let to = fleet.at(600).sees(value(number));
            assert!((5..=10).contains(&to), "{number} as {kind:?}: {to}, {}", fleet.because());
        }
    }
}

/// `PaaSTA` 3034: a missed scrape became NaN and then zero.
#[test]
fn too_few_reporting_instances_bar_scale_in() {
    let drop = |answer| {
        spoiled::edited(answer, |body| {
            let series = body["data"]["result"].as_array().cloned().unwrap_or_default();
            let kept: Vec<_> = series.into_iter().enumerate().filter(|(n, _)| n % 10 < 6).map(|(_, one)| one).collect();
            body["data"]["result"] = json!(kept);
        })
    };
    trial::runtime().block_on(async {
        let trial = settled(10, "", EACH).await;
        prometheus(&trial, Wire::Edit(drop), true);
        set_rate(&trial, 300.0);
        wait(&trial, HALF_AN_HOUR).await;
        assert_eq!(trial.desired("web"), Some(10), "{:?}", trial.policy("web").because);
        prometheus(&trial, Wire::Edit(drop), false);
        wait(&trial, HALF_AN_HOUR).await;
        assert!(trial.desired("web") < Some(5), "it was the coverage: {:?}", trial.policy("web").because);
        done(trial).await;
    });
}

/// The Horizontal Pod Autoscaler from Kubernetes 1.16 to 1.21: a metric that could not be read no longer barred scale-in.
#[test]
fn one_metric_that_is_not_valid_bars_scale_in_whatever_the_others_say() {
    let failures = [Failure::Timeout, Failure::Unreachable, Failure::Status { code: 500 }, Failure::WrongType];
    let failed = failures.map(|failure| Measurement::Failed { failure });
    let stale = Measurement::Stale { age: Duration::from_mins(5) };
    let others = [Measurement::NoData, Measurement::NotFinite, Measurement::ManySeries { count: 2 }, stale];
    for invalid in failed.into_iter().chain(others) {
        let mut two = policy();
        two.metrics.push(metric("memory", MetricKind::Utilization, 0.7));
        let mut fleet = Fleet::new(two).warmed_up();
        assert_eq!(fleet.at(600).sees_all(&[value(0.1), invalid]), 4, "{invalid}");
        assert_eq!(fleet.at(615).sees_all(&[invalid, value(0.1)]), 4, "{invalid}");
        let after = (630..=945).step_by(15).map(|second| fleet.at(second).sees_all(&[value(0.1), value(0.1)])).last();
        assert!(after < Some(4), "{}", fleet.because());
    }
}

/// cluster-autoscaler 446: with a cold cache every node looked empty, and they were deleted in bulk.
#[test]
fn a_restart_at_every_step_removes_nothing() {
    trial::runtime().block_on(async {
        let world = trial::world(1).with_fleet(trial::group("web", 10, INTERVAL), Workload::constant(100.0));
        let trial = Trial::start(world, &configuration("", LOAD)).await;
        trial.until(Duration::from_secs(4 * 60 + 30)).await;
        assert_eq!(trial.desired("web"), Some(10), "a whole window is not seen yet");
        done(trial).await;
    });
    for second in (0..3600).step_by(15) {
        assert_eq!(Fleet::new(policy()).at(second).sees(value(0.01)), 4);
    }
}

/// cluster-autoscaler 9182, 2026: desired went from 76 by way of 94 to 62 within 21 seconds, and AWS ended 32 instances.
#[test]
fn nothing_is_removed_while_capacity_is_on_its_way() {
    trial::runtime().block_on(async {
        let trial = settled(8, "", LOAD).await;
        trial.world.with(|world| world.fleet_mut("web").expect("the fleet").group.boot = Duration::from_mins(15));
        set_rate(&trial, 1100.0);
        wait(&trial, 2 * INTERVAL).await;
        assert!(trial.desired("web") > Some(8));
        set_rate(&trial, 200.0);
        wait(&trial, Duration::from_mins(12)).await;
        assert!(trial.desired("web") > Some(8), "{:?}", trial.policy("web").because);
        wait(&trial, HALF_AN_HOUR).await;
        assert!(trial.desired("web") < Some(5), "{:?}", trial.policy("web").because);
        let steps = done(trial).await;
        let inward = steps.iter().filter(|step| step.change().is_some_and(|(from, to)| to < from));
        let pending = inward.map(|step| step.evaluation.observation.group.expect("described").pending);
        assert!(pending.into_iter().all(|pending| pending == Capacity::ZERO));
    });
}

/// Judoscale: data that nobody had expected stopped all scaling out for 12 hours, and nobody noticed.
#[test]
fn poisoned_timestamps_are_shown_and_the_first_right_sample_is_acted_on() {
    holds_ten(LOAD, "", |trial, on| {
        prometheus(trial, Wire::Edit(spoiled::samples_from_the_future), on);
        if !on {
            let status = trial.policy("web");
            assert!(status.counters.invalid.values().sum::<u64>() >= 29, "{:?}", status.counters);
            assert!(status.because.as_ref().is_some_and(|because| because.contains("no valid value")), "{status:?}");
            assert!(status.metrics[0].detail.as_ref().is_some_and(|detail| detail.contains("ahead")), "{status:?}");
        }
    });
}

/// Kimono, 2020: a scaler crashed again and again, up just long enough to report itself alive.
#[test]
fn only_a_finished_cycle_is_a_sign_of_life() {
    trial::runtime().block_on(async {
        let world = trial::world(1).with_fleet(trial::group("web", 4, INTERVAL), Workload::constant(400.0));
        let trial = Trial::start(world, &configuration("", LOAD)).await;
        let ready = || trial.board.reader().borrow().readiness(trial.world.with(|world| world.now()));
        prometheus(&trial, Wire::Hang, true);
        auto_scaling(&trial, Wire::Hang, true);
        assert!(ready().is_err_and(|why| why.contains("not finished a cycle yet")));
        wait(&trial, Duration::from_millis(500)).await;
        assert!(ready().is_err(), "nothing is decided yet");
        wait(&trial, 2 * INTERVAL).await;
        assert_eq!(ready(), Ok(()), "to hold is a decision");
        done(trial).await;
    });
}

/// Kinesis, November 2020: adding servers crossed a limit of threads, so that each made it worse.
#[test]
fn capacity_that_makes_it_worse_is_noticed_and_hardly_added() {
    let mut both = policy();
    both.max = Capacity::new(100);
    both.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    let mut fleet = Fleet::new(both);
    let mut sizes = Vec::new();
    for cycle in 0..180 {
        // Each has less to do with every server, and yet is slower.
        let size = fleet.group.in_service.as_f64();
        let to = fleet.at(cycle * 60).sees_all(&[value(2.0 / size), value(0.4 + 0.05 * size)]);
        fleet.applied(Outcome::Applied);
        fleet.settle_in();
        sizes.push(to);
    }
    assert!(sizes.is_sorted(), "nothing is removed: {sizes:?}");
    assert!(fleet.says("p99 has not got better"), "{}", fleet.because());
    // By when it would be at its maximum of 100, and two hours and a half later.
    assert!(sizes[30] <= 24 && sizes[179] <= 60, "{sizes:?}");
}

/// The same, where nothing but the load of each server is known: a crowd looks like that too, and steps and the maximum
/// bound the damage.
#[test]
fn capacity_that_makes_it_worse_is_added_step_by_step_and_never_beyond_the_maximum() {
    let mut fleet = Fleet::new(policy()).warmed_up();
    let mut before = 4;
    for cycle in 0..40_u32 {
        let worse = value(0.8 + f64::from(cycle) * 0.2);
        let to = fleet.at(600 + i64::from(cycle) * 60).sees(worse);
        assert!(to <= (before * 2).max(before + 4).min(10), "{}", fleet.because());
        fleet.applied(Outcome::Applied);
        fleet.settle_in();
        before = to;
    }
}

/// AWS, December 2021: a surge of automated scaling met clients that did not back off.
#[test]
fn a_throttling_storm_meets_few_retries() {
    trial::runtime().block_on(async {
        let trial = settled(6, "", LOAD).await;
        let before = trial.auto_scaling.requests();
        auto_scaling(&trial, Wire::Edit(spoiled::throttled), true);
        wait(&trial, HALF_AN_HOUR).await;
        let storm = trial.auto_scaling.requests() - before;
        // A description a cycle and an inspection of three calls now and then, each tried three times at most.
        assert!((30..=30 * 3 * 4).contains(&storm), "{storm} requests");
        auto_scaling(&trial, Wire::Hang, false);
        set_rate(&trial, 1200.0);
        wait(&trial, 2 * INTERVAL).await;
        assert!(trial.desired("web") > Some(6));
        assert!(!lowered(&done(trial).await));
    });
}

/// AWS, October 2025: in a region launches failed for about eight hours.
#[test]
fn eight_hours_of_failing_launches_neither_ratchet_nor_lower() {
    trial::runtime().block_on(async {
        let trial = settled(6, SELDOM, LOAD).await;
        let fault = LaunchFault::InsufficientCapacity { at_most: Capacity::new(6) };
        trial.world.with(|world| world.faults.launches = Some(fault));
        set_rate(&trial, 1500.0);
        wait(&trial, Duration::from_hours(4)).await;
        assert_eq!(trial.desired("web"), Some(10), "one step and no further: {:?}", trial.policy("web").because);
        set_rate(&trial, 300.0);
        wait(&trial, Duration::from_hours(2)).await;
        assert_eq!(trial.desired("web"), Some(10), "{:?}", trial.policy("web").because);
        set_rate(&trial, 1500.0);
        wait(&trial, Duration::from_hours(2)).await;
        trial.world.with(|world| world.faults.launches = None);
        wait(&trial, 5 * LONG).await;
        assert!(trial.desired("web") >= Some(15), "{:?}", trial.policy("web").because);
        assert!(!lowered(&done(trial).await));
    });
}

/// Datadog, March 2023: the vendor was dark for hours.
#[test]
fn a_day_without_prometheus_changes_nothing_and_ends_within_one_interval() {
    trial::runtime().block_on(async {
        let trial = settled(10, SELDOM, LOAD).await;
        prometheus(&trial, Wire::Refused, true);
        set_rate(&trial, 300.0);
        wait(&trial, Duration::from_hours(24)).await;
        set_rate(&trial, 1800.0);
        wait(&trial, LONG).await;
        assert_eq!(trial.desired("web"), Some(10));
        let over = trial.since_start();
        prometheus(&trial, Wire::Refused, false);
        wait(&trial, LONG).await;
        let steps = done(trial).await;
        let first = steps.iter().find(|step| step.at > over).expect("a decision");
        assert!(first.change().is_some_and(|(from, to)| from == 10 && to > 10), "{}", first.evaluation.because());
        assert!(!lowered(&steps));
    });
}

/// Milkie Way, 2020: $72,000 within hours.
#[test]
fn a_metric_gone_wild_never_leads_beyond_the_maximum_and_gets_there_step_by_step() {
    trial::runtime().block_on(async {
        let trial = settled(6, "", LOAD).await;
        prometheus(&trial, Wire::Edit(spoiled::huge), true);
        wait(&trial, HALF_AN_HOUR).await;
        assert_eq!(trial.desired("web"), Some(20));
        let changes: Vec<_> = done(trial).await.iter().filter_map(Step::change).collect();
        assert!(changes.iter().all(|(from, to)| to - from <= 4), "{changes:?}");
    });
}

/// The same with a ceiling: what may be spent is never exceeded, and then nothing is removed for it.
#[test]
fn a_metric_gone_wild_never_leads_beyond_what_may_be_spent() {
    trial::runtime().block_on(async {
        let trial = settled(6, "instance_price = 0.5\nmax_spend_per_hour = 5.0\nmax_spend_per_day = 1000", LOAD).await;
        prometheus(&trial, Wire::Edit(spoiled::huge), true);
        wait(&trial, HALF_AN_HOUR).await;
        assert_eq!(trial.desired("web"), Some(10), "{:?}", trial.policy("web").because);
        assert!(!lowered(&done(trial).await));
    });
}

/// As in several of these incidents, a signal beside the metrics knows better: what the daemon reads of it holds the fleet.
#[test]
fn a_signal_that_burns_holds_the_fleet() {
    const SIGNAL: &str = r#"
[[policy.hold_scale_in_while]]
name = "requests"
query = 'sum(http_requests_per_second{asg="web"})'
below = 400
[[policy.hold_scale_in_while]]
name = "load"
query = 'avg(instance_cpu_ratio{asg="web"})'
above = 0.99
"#;
    trial::runtime().block_on(async {
        let trial = settled(10, SIGNAL, LOAD).await;
        set_rate(&trial, 300.0);
        wait(&trial, HALF_AN_HOUR).await;
        let because = trial.policy("web").because.unwrap_or_default();
        assert_eq!(trial.desired("web"), Some(10), "{because}");
        assert!(because.contains("no scale-in while requests is 300"), "{because}");
        set_rate(&trial, 450.0);
        wait(&trial, HALF_AN_HOUR).await;
        assert_eq!(trial.desired("web"), Some(5), "{:?}", trial.policy("web").because);
        done(trial).await;
    });
}

/// Eight hours in which Auto Scaling answers nobody, as in several of these incidents.
#[test]
fn eight_hours_without_auto_scaling_change_nothing_and_end_within_one_interval() {
    trial::runtime().block_on(async {
        let trial = settled(10, SELDOM, LOAD).await;
        auto_scaling(&trial, Wire::Hang, true);
        set_rate(&trial, 1800.0);
        wait(&trial, Duration::from_hours(8)).await;
        assert_eq!(trial.desired("web"), Some(10));
        let over = trial.since_start();
        auto_scaling(&trial, Wire::Hang, false);
        wait(&trial, LONG).await;
        let steps = done(trial).await;
        let first = steps.iter().find(|step| step.at > over).expect("a decision");
        assert!(first.sees() && first.at <= over + LONG, "{}", first.evaluation.because());
        assert!(first.change().is_some_and(|(from, to)| from == 10 && to > 10), "{}", first.evaluation.because());
        assert!(!lowered(&steps));
    });
}
