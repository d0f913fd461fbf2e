//! What the controllers ask for, next to what Kubernetes' HPA would.

mod fixture;

use fixture::{Fleet, group, metric, pid, policy, value};
use setpoint::control::Outcome;
use setpoint::observation::{GroupStatus, Measurement};
use setpoint::policy::{Adjustment, Band, Bands, Capacity, Controller, MetricKind, Mode, PerDirection, Policy, Risk};

/// A policy that only its controller and tolerance hold back, as an HPA with its `behavior` opened up.
fn open(kind: MetricKind, target: f64) -> Policy {
    Policy {
        min: Capacity::new(1),
        max: Capacity::new(1000),
        tolerance: PerDirection { out: 0.1, inward: 0.1 },
        stabilization: PerDirection::default(),
        step: PerDirection::default(),
        cooldown: PerDirection::default(),
        controller: pid(1.0, 0.0),
        metrics: vec![metric("m", kind, target)],
        ..policy()
    }
}

fn instances(mean: f64, reporting: u32) -> Measurement {
    Measurement::Instances { mean, reporting, age: None }
}

/// What the policy makes of `replicas`, of which the newest few still boot.
fn decided(policy: &Policy, replicas: u32, booting: u32, measurement: Measurement) -> u32 {
    let mut fleet = Fleet::new(policy.clone());
    let ready = Capacity::new(replicas - booting);
    let pending = Capacity::new(booting);
    fleet.group = GroupStatus { in_service: ready, warm: ready, healthy: ready, pending, ..group(replicas) };
    fleet.at(0).sees(measurement)
}

#[test]
fn the_ratio_rule_gives_the_answer_of_kubernetes_hpa() {
    let cpu = open(MetricKind::Utilization, 0.5);
    let check = |replicas, utilization, hpa| {
        assert_eq!(decided(&cpu, replicas, 0, value(utilization)), hpa, "{utilization} on {replicas}");
    };
    // Resource metrics: ceil(ratio × ready), and the same number where the ratio is within 0.9..=1.1.
    check(3, 1.0, 6);
    check(3, 0.9, 6);
    check(10, 0.45, 10);
    check(10, 0.54, 10);
    check(10, 0.55, 10);
    check(10, 0.6, 12);
    check(10, 0.4, 8);
    check(10, 0.25, 5);
    check(4, 0.3, 3);
    check(4, 0.0, 1);
    check(100, 0.75, 150);
    check(1, 0.9, 2);

    // AverageValue metrics: ceil(sum / target), whatever the number of replicas.
    let total = open(MetricKind::Total, 100.0);
    let check = |replicas, sum, hpa| assert_eq!(decided(&total, replicas, 0, value(sum)), hpa, "{sum} on {replicas}");
    check(3, 1000.0, 10);
    check(3, 310.0, 3);
    check(10, 950.0, 10);
    check(10, 440.0, 5);
    check(7, 1403.0, 15);
}

#[test]
fn missing_instances_count_as_in_kubernetes_hpa() {
    let cpu = open(MetricKind::Utilization, 0.5);
    let check = |replicas, mean, reporting, hpa| {
        let found = decided(&cpu, replicas, 0, instances(mean, reporting));
        assert_eq!(found, hpa, "{mean} on {reporting} of {replicas}");
    };
    check(10, 0.8, 10, 16);
    // Above target, the missing carry nothing: 8 × 1.6 = 12.8.
    check(10, 0.8, 8, 13);
    // Below target, the missing are at target: 8 × 0.5 + 2.
    check(10, 0.25, 8, 6);
    // The missing never turn more into less, nor less into more: 0.6 on 5 of 10 is 6 at most and 10 is asked.
    check(10, 0.6, 5, 10);
    check(10, 0.45, 9, 10);
    // What is reported is work to be done, whoever does it: 12 × 1.6.
    check(10, 0.8, 12, 20);
    // And what boots and reports idleness takes none away from those that work: 13 × 0.77 ÷ 0.5 is that of ten at 1.0.
    check(10, 10.0 / 13.0, 13, 20);
}

#[test]
fn unready_instances_take_no_part_as_in_kubernetes_hpa() {
    let cpu = open(MetricKind::Utilization, 0.5);
    // 1.0 on the three that are ready of five: ceil(2 × 3); the two that boot are part of the answer, not of the sum.
    assert_eq!(decided(&cpu, 5, 2, value(1.0)), 6);
    // Two of the answer boot already: the scale-out is neither repeated nor cancelled.
    assert_eq!(decided(&cpu, 6, 3, value(1.0)), 6);
    assert_eq!(decided(&cpu, 6, 3, value(0.4)), 6);
}

#[test]
fn scale_in_waits_until_enough_instances_report() {
    let mut cpu = open(MetricKind::Utilization, 0.5);
    cpu.metrics[0].min_coverage = 0.75;
    assert_eq!(decided(&cpu, 8, 0, instances(0.1, 6)), 4, "6 × 0.2 + 2");
    assert_eq!(decided(&cpu, 8, 0, instances(0.1, 5)), 8);
    let mut fleet = Fleet::new(cpu);
    fleet.group = group(8);
    fleet.at(0).sees(instances(0.1, 5));
    assert!(fleet.says("no scale-in while only 5 of 8 instances report m"), "{}", fleet.because());
    assert_eq!(fleet.at(15).sees(instances(1.0, 5)), 10, "scale-out does not wait");
}

#[test]
fn a_step_policy_adds_and_removes_by_bands() {
    let band = |from, change| Band { from, change };
    let bands = Bands {
        above: vec![band(1.2, Adjustment::Percent(20.0)), band(1.5, Adjustment::Count(Capacity::new(6)))],
        below: vec![band(0.5, Adjustment::Percent(10.0))],
    };
    let steps = Policy {
        controller: Controller::Step(bands),
        tolerance: PerDirection::default(),
        ..open(MetricKind::Latency, 0.5)
    };
    assert_eq!(decided(&steps, 10, 0, value(0.55)), 10);
    assert_eq!(decided(&steps, 10, 0, value(0.61)), 12);
    assert_eq!(decided(&steps, 10, 0, value(9.0)), 16);
    assert_eq!(decided(&steps, 10, 0, value(0.2)), 9);
    assert_eq!(decided(&steps, 12, 2, value(0.61)), 12, "what boots is not added again");
}

#[test]
fn a_band_is_that_of_the_instances_that_report() {
    let below = vec![Band { from: 0.85, change: Adjustment::Percent(20.0) }];
    let steps = Policy {
        controller: Controller::Step(Bands { above: vec![], below }),
        tolerance: PerDirection::default(),
        ..open(MetricKind::Total, 100.0)
    };
    assert_eq!(decided(&steps, 20, 0, instances(100.0, 16)), 20, "each of them at its target");
    assert_eq!(decided(&steps, 20, 0, instances(110.0, 15)), 20);
    assert_eq!(decided(&steps, 20, 0, instances(80.0, 16)), 16);
}

#[test]
fn a_metric_may_have_a_controller_of_its_own() {
    let mut both = open(MetricKind::Utilization, 0.5);
    let doubled = Bands { above: vec![Band { from: 1.0, change: Adjustment::Percent(100.0) }], below: vec![] };
    let own = metric("queue", MetricKind::Total, 10.0);
    both.metrics.push(setpoint::policy::Metric { controller: Some(Controller::Step(doubled)), ..own });
    let mut fleet = Fleet::new(both);
    assert_eq!(fleet.at(0).sees_all(&[value(0.5), value(41.0)]), 8);
    assert_eq!(fleet.at(15).sees_all(&[value(0.5), value(39.0)]), 4);
}

/// Six hours of `demand` (busy instances at a second) under `policy`, where capacity is there at once; returns every
/// desired capacity.
fn followed(policy: Policy, demand: impl Fn(i64) -> f64) -> Vec<u32> {
    follow(policy, 18, demand)
}

/// The same from a fleet of `size`.
fn follow(policy: Policy, size: u32, demand: impl Fn(i64) -> f64) -> Vec<u32> {
    let mut fleet = Fleet::new(policy);
    fleet.group = group(size);
    let mut capacities = Vec::new();
    for second in (0..6 * 3600).step_by(15) {
        let busy = demand(second) / fleet.group.desired.as_f64();
        capacities.push(fleet.at(second).sees(value(busy.min(1.0))));
        fleet.applied(Outcome::Applied);
        fleet.settle_in();
    }
    capacities
}

fn risk(share: f64) -> Policy {
    Policy {
        controller: Controller::Risk(Risk { share }),
        tolerance: PerDirection { out: 0.0, inward: 0.08 },
        ..open(MetricKind::Utilization, 0.9)
    }
}

#[test]
fn risk_starts_with_a_common_margin_and_learns_that_a_constant_load_needs_less() {
    let capacities = followed(risk(0.01), |_| 18.0);
    assert_eq!(capacities[0], 28, "18 busy at a target of about 65 %");
    assert_eq!(follow(risk(0.01), 24, |_| 18.0)[0], 24, "but a fleet that runs well is left alone");
    assert_eq!(*capacities.last().unwrap(), 22, "18 / (0.97 × 0.9) and 2 %, within the 8 % that scale-in must save");
    assert!(capacities.is_sorted_by(|a, b| a >= b), "{capacities:?}");
}

#[test]
fn risk_keeps_more_in_hand_the_less_is_accepted() {
    let bursts = |second: i64| if second % 900 < 45 { 20.0 } else { 10.0 };
    let mean = |share| followed(risk(share), bursts)[960..].iter().sum::<u32>();
    assert!(mean(0.001) > mean(0.2), "{} and {}", mean(0.001), mean(0.2));
}

#[test]
fn one_absurd_sample_does_not_spoil_the_choice_of_a_day() {
    let absurd = |second: i64| if second == 3600 { 1e300 } else { 18.0 };
    let mut fleet = Fleet::new(Policy { metrics: vec![metric("m", MetricKind::Total, 1.0)], ..risk(0.01) });
    fleet.group = group(25);
    for second in (0..12 * 3600).step_by(15) {
        fleet.at(second).sees(value(absurd(second)));
        fleet.applied(Outcome::Applied);
        fleet.settle_in();
    }
    assert!((19..=21).contains(&fleet.group.desired.get()), "{}", fleet.group.desired);
}

#[test]
fn risk_never_asks_for_less_than_is_needed_now() {
    let ramp = |second: i64| 5.0 + f64::from(i32::try_from(second).unwrap()) / 300.0;
    for (at, capacity) in (0..).zip(followed(risk(0.2), ramp)) {
        let needed = ramp(at * 15) / 0.9;
        assert!(f64::from(capacity) >= needed - 0.1, "{capacity} at {at}, where {needed} are needed");
    }
}

#[test]
fn latency_is_kept_by_the_load_that_it_was_seen_to_bear() {
    let mut both = open(MetricKind::Utilization, 0.9);
    both.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    both.tolerance = PerDirection { out: 0.0, inward: 0.0 };
    let latency = |load: f64| 0.1 + 0.07 / (1.0 - load.min(0.99));
    let mut fleet = Fleet::new(both);
    fleet.group = group(100);
    for second in (0..24 * 3600).step_by(15) {
        // Demand is uneven, so that there is a curve to be seen.
        let busy = 45.0 + 10.0 * f64::from(i32::try_from(second / 15 * 7919 % 101).unwrap()) / 100.0;
        let load = busy / fleet.group.desired.as_f64();
        fleet.at(second).sees_all(&[value(load), value(latency(load))]);
        fleet.applied(Outcome::Applied);
        fleet.settle_in();
    }
    // 0.9 × 500 ms is met at a load of 0.8.
    let ceiling = fleet.ceiling().unwrap();
    assert!((0.72..0.82).contains(&ceiling), "{ceiling}");
}

#[test]
fn a_latency_that_comes_to_a_running_policy_changes_nothing_where_all_is_well() {
    let mut both = open(MetricKind::Utilization, 0.8);
    both.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    let mut fleet = Fleet::new(both);
    fleet.group = group(20);
    assert_eq!(fleet.at(0).sees_all(&[value(0.8), value(0.2)]), 20);
}

#[test]
fn the_lead_is_learned_from_the_groups_own_launches() {
    let untold = Policy {
        boot_time: None,
        controller: Controller::Pid(setpoint::policy::Gains { kp: 0.0, ki: 1.0, kd: None }),
        mode: Mode::Observe,
        ..open(MetricKind::Total, 1.0)
    };
    let asked_after_boots_of = |boot: i64| {
        let mut fleet = Fleet::new(untold.clone());
        fleet.group = group(50);
        for launch in 0..5 {
            let begin = launch * 1000;
            for second in (begin..begin + 1000).step_by(5) {
                fleet.group.desired = Capacity::new(51 + u32::try_from(launch).unwrap());
                let arrived = u32::from(second - begin >= boot);
                fleet.group.in_service = Capacity::new(50 + u32::try_from(launch).unwrap() + arrived);
                fleet.at(second).sees(value(40.0));
            }
        }
        let mut most = 0;
        for second in (5000..5600).step_by(15) {
            let ramp = 40.0 * (f64::from(i32::try_from(second - 5000).unwrap()) * 0.001).exp();
            fleet.at(second).sees(value(ramp));
            most = most.max(fleet.recommended());
        }
        most
    };
    // A ramp of 0.1 % a second ends at 72; the lead is half the boot time.
    assert!(asked_after_boots_of(20) < 75);
    assert!(asked_after_boots_of(300) > 80);
}

#[test]
fn constant_load_moves_nothing() {
    for size in [2, 5, 10, 20, 50, 100, 200] {
        for target in [0.7, 0.8] {
            let constant = Policy {
                max: Capacity::new(1000),
                controller: policy().controller,
                metrics: vec![metric("cpu", MetricKind::Utilization, target)],
                ..policy()
            };
            let mut fleet = Fleet::new(constant);
            fleet.group = group(size);
            let demand = f64::from(size) * target * 0.99;
            let moved = (0..6 * 3600).step_by(15).filter(|second| {
                // A sampling error of half a percent, deterministic.
                let noise = 1.0 + 0.005 * (f64::from(u32::try_from(*second).unwrap()) * 1.7).sin();
                let busy = demand * noise / fleet.group.desired.as_f64();
                let before = fleet.group.desired;
                fleet.at(*second).sees(value(busy));
                fleet.applied(Outcome::Applied);
                fleet.settle_in();
                fleet.group.desired != before
            });
            assert_eq!(moved.count(), 0, "{size} at {target}");
        }
    }
}

#[test]
fn a_latency_beside_a_total_alone_takes_the_totals_target_for_a_common_load() {
    let mut both = open(MetricKind::Total, 10.0);
    both.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    let mut fleet = Fleet::new(both);
    fleet.group = group(10);
    fleet.at(0).sees_all(&[value(50.0), value(0.1)]);
    assert!((fleet.ceiling().unwrap() - 0.6).abs() < 1e-9, "{:?}", fleet.ceiling());
    assert_eq!(fleet.recommended(), 5, "latency asks for as much as the total");
    // Well loaded and well within its latency, it learns that an instance could carry more.
    for second in (15..24 * 3600).step_by(15) {
        let load = [80.0, 90.0, 100.0][usize::try_from(second / 15 % 3).unwrap()];
        fleet.at(second).sees_all(&[value(load), value(0.1 + 0.02 / (1.0 - load * 0.006))]);
    }
    let ceiling = fleet.ceiling().unwrap();
    assert!((ceiling - 0.68).abs() < 0.011, "{ceiling}: the highest load seen is 0.6, and 0.08 beyond is trusted");
}

#[test]
fn what_is_missed_while_only_observing_says_nothing_about_the_margin() {
    let margin = |mode, size| {
        let total = vec![metric("m", MetricKind::Total, 1.0)];
        let mut fleet = Fleet::new(Policy { mode, metrics: total, ..risk(0.01) });
        fleet.group = group(size);
        for second in (0..12 * 3600).step_by(15) {
            let noise = f64::from(i32::try_from(second / 15 * 7919 % 101).unwrap()) / 101.0;
            fleet.at(second).sees(value(20.0 + 30.0 * noise.powi(4)));
        }
        fleet.margin().unwrap()
    };
    let unhurt = margin(Mode::Observe, 60);
    for mode in [Mode::Observe, Mode::Paused] {
        assert!((margin(mode, 25) - unhurt).abs() < 1e-9, "{mode:?}: {} and {unhurt}", margin(mode, 25));
    }
    assert!(margin(Mode::ScaleOutOnly, 25) > unhurt, "{}", margin(Mode::ScaleOutOnly, 25));
}
