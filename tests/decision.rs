//! The rules of a decision, one by one: what is seen goes in, the capacity and its reason come out.

mod fixture;

use std::time::Duration;

use fixture::{Fleet, group, metric, pid, policy, value};
use setpoint::control::{ControllerState, Decision, Guard, Outcome, Reason, ScaleEvent, evaluate};
use setpoint::observation::{Failure, GroupStatus, LaunchFailure, Measurement, Observation, Rivals, Suspended};
use setpoint::policy::{
    Capacity, Controller, Gains, MAX_METRICS, MaxDrop, MetricKind, Mode, PerDirection, Policy, Risk, StepLimit,
};

#[test]
fn cpu_at_90_against_70_on_four_makes_six() {
    let mut fleet = Fleet::new(policy());
    assert_eq!(fleet.at(0).sees(value(0.9)), 6);
    assert!(fleet.because().contains("cpu at 0.900 against 0.700 asks for 6"), "{}", fleet.because());
}

#[test]
fn bad_input_holds_and_says_what_it_was() {
    let bad = [
        (Measurement::NoData, "no data"),
        (Measurement::NotFinite, "not a finite number"),
        (Measurement::ManySeries { count: 2 }, "2 series"),
        (Measurement::Stale { age: Duration::from_mins(10) }, "600 s old"),
        (Measurement::Failed { failure: Failure::Timeout }, "timeout"),
        (Measurement::Value { value: f64::NAN, age: None }, "not a finite number"),
        (Measurement::Value { value: -1.0, age: None }, "below zero"),
    ];
    for (measurement, sentence) in bad {
        let mut fleet = Fleet::new(policy()).warmed_up();
        assert_eq!(fleet.at(600).sees(measurement), 4, "{measurement:?}");
        assert!(fleet.says(sentence), "{measurement:?}: {:?}", fleet.reasons());
    }
}

#[test]
fn one_invalid_metric_bars_scale_in_but_not_scale_out() {
    let mut rules = policy();
    rules.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    let mut fleet = Fleet::new(rules.clone()).warmed_up_with(&[value(0.1), value(0.1)]);
    assert_eq!(fleet.at(600).sees_all(&[value(0.1), Measurement::NoData]), 4);
    assert!(fleet.says("p99 has no valid value: no data"), "{:?}", fleet.reasons());
    assert_eq!(fleet.at(615).sees_all(&[value(0.9), Measurement::NoData]), 6);
}

#[test]
fn of_metrics_that_ask_for_the_same_the_first_has_the_word() {
    let mut rules = policy();
    rules.metrics.push(metric("memory", MetricKind::Utilization, 0.7));
    let mut fleet = Fleet::new(rules);
    assert_eq!(fleet.at(0).sees_all(&[value(0.9), value(0.89)]), 6);
    assert!(fleet.because().starts_with("cpu at 0.900"), "{}", fleet.because());
}

#[test]
fn after_an_outage_scale_in_waits_for_a_full_window_of_good_data() {
    let mut fleet = Fleet::new(policy()).warmed_up();
    for second in (600..900).step_by(15) {
        assert_eq!(fleet.at(second).sees(Measurement::NoData), 4);
    }
    for second in (900..1185).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(0.1)), 4, "at {second}");
    }
    assert_eq!(fleet.at(1200).sees(value(0.1)), 3);
}

#[test]
fn scale_in_waits_for_the_highest_recommendation_of_the_window() {
    let mut fleet = Fleet::new(policy()).warmed_up_with(&[value(0.7)]);
    for second in (600..885).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(0.2)), 4, "at {second}");
    }
    assert_eq!(fleet.at(900).sees(value(0.2)), 3, "one instance is 20 % of four, rounded up");
}

#[test]
fn nothing_is_removed_before_a_full_window_was_seen() {
    let mut fleet = Fleet::new(policy());
    for second in (0..300).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(0.1)), 4, "at {second}");
    }
    assert_eq!(fleet.at(300).sees(value(0.1)), 3);
}

#[test]
fn scale_out_is_limited_to_the_step_of_its_period() {
    let mut rules = policy();
    rules.step.out = Some(StepLimit { percent: None, count: Some(Capacity::new(2)), per: Duration::from_mins(1) });
    rules.metrics = vec![metric("requests", MetricKind::Total, 140.0)];
    let mut fleet = Fleet::new(rules);
    assert_eq!(fleet.at(0).sees(value(1400.0)), 6);
    fleet.applied(Outcome::Applied);
    assert_eq!(fleet.at(45).sees(value(1400.0)), 6);
    assert!(fleet.says("step limit"), "{:?}", fleet.reasons());
    assert_eq!(fleet.at(60).sees(value(1400.0)), 8);
}

#[test]
fn what_was_added_and_has_not_lasted_is_no_reason_to_remove_more() {
    let mut rules = policy();
    rules.step.inward = Some(StepLimit { percent: Some(20.0), count: None, per: Duration::from_mins(5) });
    rules.cooldown.inward = Duration::from_mins(1);
    rules.stabilization.inward = Duration::from_mins(1);
    rules.max = Capacity::new(100);
    let mut fleet = Fleet::new(rules);
    fleet.group = group(20);
    fleet = fleet.warmed_up_with(&[value(0.7)]);
    assert_eq!(fleet.at(600).sees(value(0.94)), 27);
    fleet.applied(Outcome::Unknown);
    // AWS has not got it, or somebody else has taken it back.
    fleet.group = group(20);
    let least = (615..720).step_by(15).map(|second| fleet.at(second).sees(value(0.1))).min();
    assert_eq!(least, Some(16));
}

#[test]
fn only_what_was_or_may_have_been_applied_starts_a_cooldown() {
    let check = |outcome, rests: bool| {
        let mut fleet = Fleet::new(policy());
        fleet.at(0).sees(value(0.8));
        fleet.applied(outcome);
        fleet.group.desired = Capacity::new(4);
        let next = fleet.at(15).sees(value(0.8));
        assert_eq!(next, if rests { 4 } else { 5 }, "{outcome:?}");
    };
    check(Outcome::Applied, true);
    check(Outcome::Unknown, true);
    check(Outcome::Rejected(setpoint::control::Rejection::Throttled), false);
    check(Outcome::NoOp, false);
}

#[test]
fn a_long_cooldown_is_not_forgotten() {
    let mut rules = policy();
    rules.cooldown.inward = Duration::from_hours(6);
    let mut fleet = Fleet::new(rules);
    fleet.at(0).sees(value(0.9));
    fleet.applied(Outcome::Applied);
    fleet.settle_in();
    for second in (15..6 * 3600).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(0.1)), 6, "at {second}");
    }
    assert!(fleet.at(6 * 3600).sees(value(0.1)) < 6);
}

#[test]
fn capacity_on_its_way_is_neither_repeated_nor_cancelled() {
    let mut fleet = Fleet::new(policy());
    assert_eq!(fleet.at(0).sees(value(0.9)), 6);
    fleet.applied(Outcome::Applied);
    for second in (15..120).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(0.9)), 6, "at {second}");
    }
    assert_eq!(fleet.at(120).sees(value(0.3)), 6, "no scale-in while two are booting");
}

#[test]
fn a_saturated_utilization_is_probed_once_a_minute() {
    let mut rules = policy();
    rules.cooldown.out = Duration::ZERO;
    let mut fleet = Fleet::new(rules);
    assert_eq!(fleet.at(0).sees(value(1.0)), 6);
    fleet.applied(Outcome::Applied);
    assert_eq!(fleet.at(45).sees(value(1.0)), 6);
    assert_eq!(fleet.at(60).sees(value(1.0)), 9);
}

#[test]
fn small_orders_do_not_postpone_the_probe() {
    let mut rules = policy();
    rules.max = Capacity::new(100);
    rules.cooldown.out = Duration::ZERO;
    rules.controller = Controller::Risk(Risk { share: 0.01 });
    rules.metrics[0].target = 0.93;
    let mut fleet = Fleet::new(rules);
    fleet.group = group(20);
    for second in (0..900).step_by(15) {
        fleet.at(second).sees(value(0.85));
    }
    // One more each half a minute, for whatever reason; what serves stays saturated.
    for second in (900..1005).step_by(15) {
        fleet.at(second).sees(value(1.0));
        if second % 30 == 0 && fleet.group.desired < Capacity::new(24) {
            let one_more =
                Decision::Scale { from: fleet.group.desired, to: fleet.group.desired.plus(Capacity::new(1)) };
            fleet.decides(one_more, Outcome::Applied);
        }
    }
    assert_eq!(fleet.at(1005).sees(value(1.0)), 30, "half as much again as before the small ones");
}

#[test]
fn what_has_just_come_is_seen_before_more_is_tried() {
    let mut rules = policy();
    rules.max = Capacity::new(100);
    rules.metrics[0].target = 0.94;
    let mut fleet = Fleet::new(rules);
    for second in (0..120).step_by(15) {
        fleet.at(second).sees(value(0.9));
    }
    fleet.group = group(6);
    assert_eq!(fleet.at(120).sees(value(1.0)), 7, "what it is seen to need");
    assert_eq!(fleet.at(135).sees(value(1.0)), 9);
}

#[test]
fn insufficient_capacity_holds_both_ways() {
    let mut fleet = Fleet::new(policy()).warmed_up();
    fleet.group.in_service = Capacity::new(3);
    fleet.group.warm = Capacity::new(3);
    fleet.group.healthy = Capacity::new(3);
    let failure = LaunchFailure { at: Fleet::moment(590), insufficient_capacity: true };
    fleet.group.launch_failure = Some(failure);
    assert_eq!(fleet.at(600).sees(value(1.0)), 4, "never ratchet up");
    assert!(fleet.says("insufficient capacity"), "{:?}", fleet.reasons());
    for second in (615..1500).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(0.1)), 4, "never lower to clean up, at {second}");
    }
}

#[test]
fn every_guard_bars_scale_in_by_its_name() {
    let check = |change: fn(&mut Fleet), expected: &str| {
        let mut fleet = Fleet::new(policy()).warmed_up();
        change(&mut fleet);
        assert_eq!(fleet.at(600).sees(value(0.1)), 4);
        let held = fleet.reasons();
        assert!(held.iter().any(|reason| reason.held_back_by() == Some(expected)), "{expected}: {held:?}");
    };
    let free = Fleet::new(policy()).warmed_up().at(600).sees(value(0.1));
    assert_eq!(free, 3, "without a guard it would scale in");
    check(|f| f.group.pending = Capacity::new(1), "capacity-pending");
    check(|f| f.group.warm = Capacity::new(3), "capacity-pending");
    check(|f| f.group.in_service = Capacity::new(6), "capacity-pending");
    check(|f| f.group.healthy = Capacity::new(3), "unhealthy");
    check(|f| f.group.suspended = Suspended { terminate: true, launch: false }, "terminate-suspended");
    check(|f| f.group.refreshing = true, "refreshing");
    check(|f| f.unrecorded = true, "journal-unavailable");
}

#[test]
fn no_guard_speaks_where_nothing_is_wanted() {
    let mut fleet = Fleet::new(policy()).warmed_up_with(&[value(0.7)]);
    fleet.group.healthy = Capacity::new(3);
    assert_eq!(fleet.at(600).sees(value(0.7)), 4);
    let vetoed = |reason: &Reason| matches!(reason, Reason::Vetoed { .. });
    assert!(!fleet.reasons().iter().any(vetoed), "{:?}", fleet.reasons());
}

#[test]
fn there_is_room_for_every_reason() {
    let mut rules = policy();
    rules.metrics = (0..MAX_METRICS).map(|n| metric(&format!("m{n}"), MetricKind::Utilization, 0.7)).collect();
    let mut fleet = Fleet::new(rules).warmed_up_with(&[value(0.7); MAX_METRICS]);
    let mut seen = [Measurement::NoData; MAX_METRICS];
    seen[0] = value(0.1);
    // A lowered maximum is no reason either to go on bad data.
    fleet.group.max = Capacity::new(2);
    assert_eq!(fleet.at(600).sees_all(&seen), 4);
    let reasons = fleet.reasons();
    let invalid = reasons.iter().filter(|reason| matches!(reason, Reason::MetricInvalid { .. })).count();
    let guard = |reason: &&Reason| matches!(reason, Reason::Vetoed { guard: Guard::MetricNotValid { .. } });
    assert_eq!((invalid, reasons.iter().filter(guard).count()), (MAX_METRICS - 1, MAX_METRICS - 1), "{reasons:?}");
}

#[test]
fn a_journal_that_fails_bars_no_scale_out() {
    let mut fleet = Fleet::new(policy()).warmed_up();
    fleet.unrecorded = true;
    assert_eq!(fleet.at(600).sees(value(0.9)), 6);
}

#[test]
fn an_operators_pause_stops_its_directions_only() {
    let check = |out, inward, seen: f64, expected: u32, sentence: &str| {
        let mut fleet = Fleet::new(policy()).warmed_up();
        fleet.paused = PerDirection { out, inward };
        assert_eq!(fleet.at(600).sees(value(seen)), expected, "{sentence}");
        assert!(fleet.because().contains(sentence), "{}", fleet.because());
    };
    check(true, true, 0.9, 4, "the policy is paused; it would set 6");
    check(true, false, 0.9, 4, "the policy is paused; it would set 6");
    check(true, false, 0.1, 3, "asks for 1");
    check(false, true, 0.1, 4, "the policy is paused; it would set 3");
    check(false, true, 0.9, 6, "asks for 6");
}

#[test]
fn a_metric_above_its_target_bars_scale_in() {
    let mut rules = policy();
    rules.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    let mut fleet = Fleet::new(rules).warmed_up_with(&[value(0.1), value(0.1)]);
    // A latency this close to its target asks for no whole instance, and still nothing may be removed.
    assert!(fleet.at(600).sees_all(&[value(0.1), value(0.501)]) >= 4);
}

#[test]
fn a_total_above_its_target_bars_scale_in_by_name() {
    let mut rules = policy();
    rules.metrics = vec![metric("requests", MetricKind::Total, 140.0)];
    let mut fleet = Fleet::new(rules);
    fleet.group = group(8);
    let mut fleet = fleet.warmed_up_with(&[value(140.0)]);
    // Five of eight are left to serve what takes six.
    fleet.group.in_service = Capacity::new(5);
    fleet.group.warm = Capacity::new(5);
    fleet.group.healthy = Capacity::new(5);
    assert_eq!(fleet.at(600).sees(value(6.0 * 140.0)), 8);
    let above = |reason: &Reason| matches!(reason, Reason::Vetoed { guard: Guard::MetricAboveTarget { .. } });
    assert!(fleet.reasons().iter().any(above), "{:?}", fleet.reasons());
    assert_eq!(fleet.at(615).sees(value(4.0 * 140.0)), 8);
    assert!(!fleet.reasons().iter().any(above), "{:?}", fleet.reasons());
}

#[test]
fn one_of_two_metrics_gone_begins_the_window_of_a_scale_in_anew() {
    let mut rules = policy();
    rules.metrics.push(metric("queue", MetricKind::Total, 10.0));
    let idle = [value(0.1), value(10.0)];
    let mut fleet = Fleet::new(rules).warmed_up_with(&idle);
    fleet.at(600).sees_all(&[value(0.1), Measurement::NoData]);
    for second in (615..900).step_by(15) {
        assert_eq!(fleet.at(second).sees_all(&idle), 4, "at {second}");
    }
    assert_eq!(fleet.at(915).sees_all(&idle), 3);
}

#[test]
fn a_utilization_says_nothing_where_nothing_serves() {
    let mut fleet = Fleet::new(policy());
    fleet.group.in_service = Capacity::ZERO;
    fleet.group.warm = Capacity::ZERO;
    fleet.group.healthy = Capacity::ZERO;
    assert_eq!(fleet.at(0).sees(value(0.9)), 4);
    assert!(fleet.says("cpu says nothing while no instance serves"), "{:?}", fleet.reasons());
}

#[test]
fn a_latency_beyond_every_number_is_none() {
    let mut rules = policy();
    rules.metrics = vec![metric("p99", MetricKind::Latency, 0.5)];
    let mut fleet = Fleet::new(rules);
    assert_eq!(fleet.at(0).sees(value(f64::MAX)), 4);
    assert!(fleet.says("not a finite number"), "{:?}", fleet.reasons());
}

#[test]
fn a_collapse_of_demand_is_taken_for_an_outage_upstream() {
    let mut rules = policy();
    rules.max_drop = Some(MaxDrop { ratio: 0.5, per: Duration::from_mins(30) });
    let mut fleet = Fleet::new(rules).warmed_up_with(&[value(0.7)]);
    for second in (600..1800).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(0.05)), 4, "at {second}");
    }
    assert!(fleet.says("collapsed"), "{:?}", fleet.reasons());
}

#[test]
fn modes_decide_but_do_not_act() {
    let check = |mode, seen: f64, expected: u32, sentence: &str| {
        let mut rules = policy();
        rules.mode = mode;
        let mut fleet = Fleet::new(rules).warmed_up();
        assert_eq!(fleet.at(600).sees(value(seen)), expected, "{mode}");
        assert!(fleet.because().contains(sentence), "{mode}: {}", fleet.because());
    };
    check(Mode::Observe, 0.9, 4, "the policy only observes; it would set 6");
    check(Mode::Paused, 0.9, 4, "the policy is paused; it would set 6");
    check(Mode::ScaleOutOnly, 0.9, 6, "asks for 6");
    check(Mode::ScaleOutOnly, 0.1, 4, "the policy may only scale out; it would set 3");
}

#[test]
fn a_contested_group_is_only_observed_unless_the_policy_takes_over() {
    let check = |rivals, takeover, expected| {
        let mut rules = policy();
        rules.takeover = takeover;
        let mut fleet = Fleet::new(rules);
        fleet.group.rivals = rivals;
        assert_eq!(fleet.at(0).sees(value(0.9)), expected, "{rivals:?}, takeover {takeover}");
    };
    check(Rivals::None, false, 6);
    check(Rivals::Unknown, false, 4);
    check(Rivals::ScalingPolicy, false, 4);
    check(Rivals::ScalingPolicy, true, 6);
    check(Rivals::ScheduledAction, true, 6);
    check(Rivals::Operator, true, 4);
}

#[test]
fn bounds_are_restored_in_spite_of_cooldown() {
    let mut fleet = Fleet::new(policy());
    fleet.at(0).sees(value(0.9));
    fleet.applied(Outcome::Applied);
    fleet.group = group(1);
    assert_eq!(fleet.at(15).sees(value(0.1)), 2, "raised to min at once");
}

#[test]
fn a_lowered_maximum_is_approached_in_steps() {
    let mut fleet = Fleet::new(policy());
    fleet.group = group(20);
    fleet.group.max = Capacity::new(100);
    assert_eq!(fleet.at(0).sees(value(0.7)), 16, "20 % of twenty, although max is ten");
    fleet.applied(Outcome::Applied);
    fleet.settle_in();
    assert_eq!(fleet.at(60).sees(value(0.9)), 12);
    assert_eq!(fleet.at(75).sees(Measurement::NoData), 16, "but not on bad data");
}

#[test]
fn the_groups_own_bounds_hold_as_well() {
    let mut fleet = Fleet::new(policy());
    fleet.group.max = Capacity::new(5);
    assert_eq!(fleet.at(0).sees(value(0.9)), 5);
    assert!(fleet.because().contains("the group's maximum of 5"), "{}", fleet.because());
}

#[test]
fn a_total_is_demand_whatever_the_fleet_serves() {
    let mut rules = policy();
    rules.metrics = vec![metric("requests", MetricKind::Total, 140.0)];
    rules.max = Capacity::new(100);
    rules.step.out = None;
    let mut fleet = Fleet::new(rules);
    assert_eq!(fleet.at(0).sees(value(1740.0)), 13);
}

#[test]
fn percent_metrics_know_their_full_scale() {
    let mut rules = policy();
    rules.metrics = vec![metric("cpu", MetricKind::Utilization, 70.0)];
    let mut fleet = Fleet::new(rules);
    assert_eq!(fleet.at(0).sees(value(90.0)), 6);
    assert_eq!(Fleet::new(fleet.policy.clone()).at(0).sees(value(97.0)), 6);
}

#[test]
fn an_unknown_group_is_left_alone() {
    let mut fleet = Fleet::new(policy());
    assert_eq!(fleet.at(0).sees_no_group(value(0.9)), None);
    assert!(fleet.says("could not be described"));
}

#[test]
fn tolerance_keeps_a_dead_band_each_way() {
    let mut rules = policy();
    rules.max = Capacity::new(100);
    rules.tolerance = PerDirection { out: 0.1, inward: 0.08 };
    rules.step = PerDirection::default();
    let check = |seen: f64, expected: u32| {
        let mut fleet = Fleet::new(rules.clone());
        fleet.group = group(50);
        fleet = fleet.warmed_up_with(&[value(seen)]);
        assert_eq!(fleet.at(600).sees(value(seen)), expected, "{seen}");
        assert_eq!(fleet.says("tolerance"), expected == 50, "{:?}", fleet.reasons());
    };
    check(0.75, 50);
    check(0.77, 50);
    check(0.80, 58);
    check(0.66, 50);
    check(0.644, 50);
    check(0.60, 43);
}

#[test]
fn noise_beyond_the_dead_band_buys_nothing() {
    let mut rules = policy();
    rules.max = Capacity::new(100);
    rules.tolerance = PerDirection { out: 0.1, inward: 0.08 };
    let after = |swing: f64| {
        let mut fleet = Fleet::new(rules.clone());
        fleet.group = group(50);
        for second in (0..3600).step_by(15) {
            fleet.at(second).sees(value(0.7 + if second % 30 == 0 { swing } else { -swing }));
        }
        (fleet.at(3600).sees(value(0.79)), fleet)
    };
    assert_eq!(after(0.0).0, 57);
    let (noisy, fleet) = after(0.02);
    assert_eq!(noisy, 50, "what is left of it without its noise is within the band");
    assert!(fleet.says("noise"), "{:?}", fleet.reasons());
}

#[test]
fn a_latency_means_the_same_beside_a_percentage_and_a_share() {
    let asked = |target: f64, full: f64| {
        let mut rules = policy();
        rules.metrics = vec![metric("cpu", MetricKind::Utilization, target), metric("p99", MetricKind::Latency, 0.5)];
        let mut fleet = Fleet::new(rules);
        for second in (0..7200).step_by(15) {
            let load = [0.4, 0.5, 0.65][usize::try_from(second / 15 % 3).unwrap()];
            fleet.at(second).sees_all(&[value(load * full), value(0.1 + 0.05 / (1.0 - load))]);
        }
        (fleet.ceiling().unwrap(), fleet.recommended())
    };
    let ((share, of_share), (percent, of_percent)) = (asked(0.7, 1.0), asked(70.0, 100.0));
    assert!((share - percent).abs() < 1e-9, "{share} and {percent}");
    assert!((0.6..0.93).contains(&share), "{share}");
    assert_eq!(of_share, of_percent);
    assert!((2..=4).contains(&of_share), "{of_share} for four at 65 %");
}

#[test]
fn a_change_that_no_rule_looks_at_any_more_is_forgotten() {
    let mut rules = policy();
    rules.cooldown.inward = Duration::from_secs(500);
    let seen =
        Observation { measurements: [value(0.7)].into_iter().collect(), group: Some(group(4)), ..Default::default() };
    let left = |changed: &[i64]| {
        let change = |second: &i64| {
            let (from, to) = (Capacity::new(2), Capacity::new(4));
            ScaleEvent { at: Fleet::moment(*second), from, to }
        };
        let state = ControllerState::default().reminded(changed.iter().map(change));
        evaluate(&rules, state, &seen, Fleet::moment(1000)).1
    };
    assert_eq!(left(&[0, 499, 500, 900]), left(&[500, 900]));
    assert_ne!(left(&[500, 900]), left(&[900]));
}

#[test]
fn a_look_into_the_past_is_a_look() {
    let at = Fleet::moment;
    let rules = policy();
    let seen =
        Observation { measurements: [value(0.1)].into_iter().collect(), group: Some(group(4)), ..Default::default() };
    let mut state = ControllerState::default();
    assert!(state.is_out_of_touch(&rules, at(0)), "nobody has looked yet");
    for second in (0..600).step_by(15) {
        state = state.having_seen(&rules, &seen, at(second));
    }
    assert!(!state.is_out_of_touch(&rules, at(585 + 60)));
    assert!(state.is_out_of_touch(&rules, at(585 + 61)));
    let again = state.clone().having_seen(&rules, &Observation { group: Some(group(9)), ..seen.clone() }, at(585));
    assert_eq!(again, state, "what it has seen itself stays as it is");
    let (evaluation, _) = evaluate(&rules, state, &seen, at(600));
    let (from, to) = (Capacity::new(4), Capacity::new(3));
    assert_eq!(evaluation.decision, Decision::Scale { from, to }, "a whole window stands behind it");
}

#[test]
fn a_clock_set_back_freezes_nothing() {
    let mut fleet = Fleet::new(policy()).warmed_up_with(&[value(0.7)]);
    assert_eq!(fleet.at(3600).sees(value(0.9)), 6);
    fleet.applied(Outcome::Applied);
    fleet.settle_in();
    assert_eq!(fleet.at(0).sees(value(0.9)), 6, "the cooldown starts anew");
    assert_eq!(fleet.at(30).sees(value(0.9)), 8, "and ends");
    fleet.group = group(4);
    for second in (45..330).step_by(15) {
        assert!(fleet.at(second).sees(value(0.1)) >= 4, "no scale-in without a full window, at {second}");
    }
}

#[test]
fn a_clock_set_back_just_after_the_policy_was_changed_freezes_nothing() {
    let mut fleet = Fleet::new(policy()).warmed_up_with(&[value(0.7)]);
    assert_eq!(fleet.at(3600).sees(value(0.9)), 6);
    fleet.applied(Outcome::Applied);
    fleet.settle_in();
    let mut rules = policy();
    rules.metrics[0].target = 0.6;
    fleet.changes_to(rules);
    assert_eq!(fleet.at(0).sees(value(0.9)), 6, "the cooldown starts anew");
    assert_eq!(fleet.at(30).sees(value(0.9)), 8, "and ends");
}

#[test]
fn one_absurd_sample_spoils_nothing() {
    let mut rules = policy();
    rules.controller = pid(1.0, 60.0);
    let mut fleet = Fleet::new(rules).warmed_up_with(&[value(0.7)]);
    for absurd in [f64::MAX, 1e300, f64::MIN_POSITIVE] {
        fleet.at(600).sees(value(absurd));
        for second in (615..1200).step_by(15) {
            assert!(fleet.at(second).sees(value(0.71)) >= 4, "{absurd} still speaks at {second}");
        }
        assert_eq!(fleet.at(1500).sees(value(0.94)), 6, "{absurd} has ended scale-out");
    }
}

#[test]
fn those_that_warm_up_count_for_most_of_what_is_needed_and_half_of_what_may_go() {
    let mut rules = policy();
    rules.max = Capacity::new(100);
    let mut fleet = Fleet::new(rules);
    fleet.group = group(20);
    fleet.group.warm = Capacity::new(10);
    assert_eq!(fleet.at(0).sees(value(0.94)), 25, "eighteen instances' worth at 0.94");
    fleet.at(15).sees(value(0.35));
    assert_eq!(fleet.recommended(), 8, "fifteen at 0.35");
    fleet.group.warm = Capacity::ZERO;
    assert_eq!(fleet.at(60).sees(value(0.94)), 27, "where all of them warm up, nobody is there to compare them with");
}

#[test]
fn those_that_report_carry_what_they_say_whoever_warms_up() {
    let check = |rules: Policy, (warm, in_service), (mean, reporting), expected: u32| {
        let mut fleet = Fleet::new(rules);
        fleet.group = GroupStatus { warm: Capacity::new(warm), ..group(in_service) };
        for second in (0..300).step_by(15) {
            fleet.at(second).sees(Measurement::Instances { mean, reporting, age: None });
            assert!(fleet.recommended() >= expected, "{} and not {expected} at {second}", fleet.recommended());
        }
    };
    let mut rules = policy();
    rules.max = Capacity::new(1000);
    check(rules.clone(), (10, 40), (6.0 * 0.7, 10), 60);
    check(rules.clone(), (4, 12), (4.0 * 0.7, 4), 16);
    rules.controller = Controller::Risk(Risk { share: 0.01 });
    check(rules.clone(), (1, 20), (8.0 * 0.7, 1), 20);
}

#[test]
fn a_restart_does_not_repeat_the_probe() {
    let mut rules = policy();
    rules.metrics[0].target = 0.96;
    for _ in 0..5 {
        assert_eq!(Fleet::new(rules.clone()).at(0).sees(value(0.955)), 4);
    }
}

#[test]
fn one_dip_inside_the_dead_band_removes_nothing() {
    let mut rules = policy();
    rules.max = Capacity::new(200);
    let mut fleet = Fleet::new(rules);
    fleet.group = group(100);
    let mut fleet = fleet.warmed_up_with(&[value(0.69)]);
    assert_eq!(fleet.at(600).sees(value(0.5)), 100);
    for second in (615..1200).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(0.69)), 100, "at {second}");
    }
}

#[test]
fn missing_data_does_not_freeze_scale_out() {
    let mut rules = policy();
    rules.stabilization.out = Duration::from_mins(1);
    rules.metrics.push(metric("p99", MetricKind::Latency, 0.5));
    let mut fleet = Fleet::new(rules);
    let seen = |second: i64| if second % 45 == 0 { Measurement::NoData } else { value(0.1) };
    let reached = (0..300).step_by(15).any(|second| fleet.at(second).sees_all(&[value(0.9), seen(second)]) == 6);
    assert!(reached, "{:?}", fleet.reasons());
}

#[test]
fn a_percent_step_can_leave_zero() {
    let mut rules = policy();
    rules.min = Capacity::ZERO;
    rules.metrics = vec![metric("queue", MetricKind::Total, 10.0)];
    rules.step.out = Some(StepLimit { percent: Some(100.0), count: None, per: Duration::from_mins(1) });
    let mut fleet = Fleet::new(rules);
    fleet.group = group(0);
    assert_eq!(fleet.at(0).sees(value(80.0)), 1);
}

#[test]
fn a_latency_above_target_adds_one_however_small_the_fleet() {
    let mut rules = policy();
    rules.metrics = vec![metric("p99", MetricKind::Latency, 0.5)];
    for size in [2, 4] {
        let mut fleet = Fleet::new(rules.clone());
        fleet.group = group(size);
        assert_eq!(fleet.at(0).sees(value(0.515)), size + 1);
    }
}

#[test]
fn below_the_minimum_a_refused_scale_out_still_restores_it() {
    let mut fleet = Fleet::new(policy());
    fleet.group = group(1);
    fleet.group.launch_failure = Some(LaunchFailure { at: Fleet::moment(0), insufficient_capacity: false });
    assert_eq!(fleet.at(0).sees(value(1.0)), 2, "the minimum, and not more");
}

#[test]
fn reports_of_each_instance_add_up_to_a_total() {
    let mut rules = policy();
    rules.metrics = vec![metric("queue", MetricKind::Total, 10.0)];
    let mut fleet = Fleet::new(rules);
    assert_eq!(fleet.at(0).sees(Measurement::Instances { mean: 15.0, reporting: 4, age: None }), 6);
}

#[test]
fn a_little_below_zero_is_zero_and_more_is_no_measurement() {
    let mut rules = policy();
    rules.metrics = vec![metric("requests", MetricKind::Total, 100.0)];
    let mut fleet = Fleet::new(rules);
    fleet.at(0).sees(value(-0.05));
    assert_eq!(fleet.recommended(), 0);
    assert!(!fleet.reasons().iter().any(|reason| matches!(reason, Reason::MetricNegative { .. })));
    fleet.at(15).sees(value(-0.2));
    assert!(fleet.reasons().iter().any(|reason| matches!(reason, Reason::MetricNegative { .. })));
}

#[test]
fn what_has_just_come_had_no_part_in_what_was_measured() {
    let mut rules = policy();
    rules.max = Capacity::new(100);
    rules.step.out = None;
    let joined = |measurement| {
        let mut fleet = Fleet::new(rules.clone());
        fleet.group = GroupStatus { desired: Capacity::new(20), pending: Capacity::new(10), ..group(10) };
        fleet.at(0).sees(value(0.9));
        fleet.group = GroupStatus { warm: Capacity::new(10), ..group(20) };
        fleet.at(15).sees(measurement);
        let at_once = fleet.recommended();
        fleet.at(30).sees(measurement);
        (at_once, fleet.recommended())
    };
    assert_eq!(joined(value(0.9)), (13, 24), "ten at 0.9, and only then eighteen instances' worth");
    let reports = Measurement::Instances { mean: 0.9, reporting: 20, age: None };
    assert_eq!(joined(reports), (24, 24), "a report of its own says that it is there");
}

#[test]
fn a_gain_does_not_learn_to_want_less_from_the_first_sight_of_what_has_come() {
    let mut rules = policy();
    rules.max = Capacity::new(200);
    rules.controller = pid(0.3, 0.0);
    let mut fleet = Fleet::new(rules);
    fleet.group = GroupStatus { desired: Capacity::new(100), pending: Capacity::new(10), ..group(90) };
    fleet.at(0).sees(value(0.7 * 100.0 / 90.0));
    fleet.group = group(100);
    fleet.at(15).sees(value(0.7 * 80.0 / 90.0));
    let at_once = fleet.recommended();
    fleet.at(30).sees(value(0.7 * 80.0 / 100.0));
    assert_eq!(at_once, 97, "three tenths of the way to 88.9");
    assert_eq!(fleet.recommended(), 94, "three tenths of the way from a hundred to eighty");
}

#[test]
fn risk_waits_for_what_it_tried_before_it_tries_more() {
    let mut rules = policy();
    rules.controller = Controller::Risk(Risk { share: 0.01 });
    rules.metrics[0].target = 0.93;
    rules.max = Capacity::new(100);
    let mut fleet = Fleet::new(rules);
    for second in (0..135).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(0.2)), 4);
    }
    let asked = fleet.at(135).sees(value(1.0));
    assert!(asked >= 6, "{asked}");
    fleet.applied(Outcome::Applied);
    for second in (150..255).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(1.0)), asked, "at {second}");
    }
    assert!(fleet.at(255).sees(value(1.0)) > asked, "nothing has come in two minutes");
}

#[test]
fn a_probe_has_the_word_only_where_it_asks_for_most() {
    let mut rules = policy();
    rules.metrics[0].target = 0.4;
    let mut fleet = Fleet::new(rules.clone()).warmed_up();
    fleet.at(600).sees(value(1.0));
    assert_eq!(fleet.recommended(), 10);
    assert!(!fleet.says("probe") && !fleet.says("saturated"), "{:?}", fleet.reasons());
    rules.metrics[0].target = 0.9;
    let mut fleet = Fleet::new(rules).warmed_up();
    fleet.at(600).sees(value(1.0));
    assert_eq!(fleet.recommended(), 6);
    assert!(fleet.reasons().iter().any(|reason| matches!(reason, Reason::Saturated { .. })), "{:?}", fleet.reasons());
}

#[test]
fn a_drop_within_its_limit_is_none_that_matters() {
    let mut rules = policy();
    rules.max_drop = Some(MaxDrop { ratio: 0.5, per: Duration::from_mins(30) });
    let mut fleet = Fleet::new(rules).warmed_up_with(&[value(0.7)]);
    let lowest = (600..1800).step_by(15).map(|second| fleet.at(second).sees(value(0.4))).min();
    assert_eq!(lowest, Some(3));
}

#[test]
fn a_proportional_gain_removes_nothing_above_the_target() {
    let mut rules = policy();
    rules.controller = Controller::Pid(Gains { kp: 0.8, ki: 0.1, kd: Some(0.0) });
    rules.metrics = vec![metric("requests", MetricKind::Total, 1.0)];
    rules.stabilization.inward = Duration::ZERO;
    rules.max = Capacity::new(4);
    let mut fleet = Fleet::new(rules);
    fleet.at(0).sees(value(20.0));
    assert_eq!(fleet.at(15).sees(value(5.0)), 4, "although demand fell to a quarter");
    assert_eq!(fleet.recommended(), 4, "its swing stops at what demand needs");
    let terms = fleet.terms().expect("a controller of gains has terms");
    assert!(terms.p < 0.0, "{terms:?}");
}

#[test]
fn a_proportional_gain_comes_to_rest_above_a_whole_number() {
    // 21.036 instances' worth, in the life that found it: the swing took one to 21.01, and demand bought it back.
    let mut rules = policy();
    rules.controller = Controller::Pid(Gains { kp: 0.295, ki: 1.0, kd: Some(167.0) });
    rules.max = Capacity::new(48);
    rules.stabilization.inward = Duration::ZERO;
    rules.tolerance = PerDirection { out: 0.0, inward: 0.0 };
    let mut fleet = Fleet::new(rules);
    fleet.group = group(22);
    for step in 0..60 {
        // The last of them has just been launched.
        let (in_service, warm) = [(21, 21), (22, 21)].get(step).copied().unwrap_or((22, 22));
        fleet.group.in_service = Capacity::new(in_service);
        (fleet.group.warm, fleet.group.healthy) = (Capacity::new(warm), fleet.group.in_service);
        let sees = value(0.7 * 21.036 / f64::from(in_service));
        let desired = fleet.at(300 * i64::try_from(step).unwrap()).sees(sees);
        assert_eq!(desired, 22, "step {step}: {}", fleet.because());
    }
}

#[test]
fn a_changed_policy_keeps_what_its_unchanged_metrics_remember() {
    let mut rules = policy();
    rules.max_drop = Some(MaxDrop { ratio: 0.5, per: Duration::from_mins(30) });
    let collapsed = |change: fn(&mut Policy)| {
        let mut fleet = Fleet::new(rules.clone()).warmed_up_with(&[value(0.7)]);
        let mut changed = rules.clone();
        change(&mut changed);
        fleet.changes_to(changed);
        for second in (600..1300).step_by(15) {
            fleet.at(second).sees(value(0.05));
        }
        fleet.says("collapsed")
    };
    assert!(collapsed(|policy| policy.max = Capacity::new(20)));
    assert!(!collapsed(|policy| policy.metrics[0].target = 0.6), "of another metric nothing is known");
}

#[test]
fn a_changed_policy_watches_anew_where_more_must_stand_before_a_scale_in() {
    let after = |minutes: u64| {
        let mut fleet = Fleet::new(policy()).warmed_up();
        fleet.changes_to(Policy {
            stabilization: PerDirection { out: Duration::ZERO, inward: Duration::from_mins(minutes) },
            ..policy()
        });
        fleet.at(600).sees(value(0.1))
    };
    assert_eq!(after(4), 3);
    assert_eq!(after(5), 3);
    assert_eq!(after(6), 4);
}

#[test]
fn the_sentence_says_what_was_asked_for_and_who_had_the_last_word() {
    let mut fleet = Fleet::new(policy());
    fleet.at(0).sees(value(0.9));
    let asked = fleet.because();
    assert!(!asked.is_empty() && !asked.contains(", but "), "{asked}");
    fleet.policy.mode = Mode::Observe;
    fleet.at(15).sees(value(0.9));
    assert!(fleet.because().starts_with(&format!("{asked}, but ")), "{}", fleet.because());
    fleet.at(30).sees(Measurement::NoData);
    assert!(!fleet.because().contains(", but ") && fleet.because().contains("cpu"), "{}", fleet.because());
    fleet.sees_no_group(value(0.9));
    assert!(!fleet.because().is_empty());
}

#[test]
fn a_veto_has_the_last_word_after_a_spend_limit() {
    let mut rules = policy();
    rules.instance_price = Some(1.0);
    rules.max_spend.per_hour = Some(5.0);
    let mut fleet = Fleet::new(rules);
    assert_eq!(fleet.at(0).sees(value(0.94)), 5);
    assert!(fleet.because().contains("would cost more"), "{}", fleet.because());
    fleet.group.suspended.launch = true;
    assert_eq!(fleet.at(15).sees(value(0.94)), 4);
    assert!(fleet.because().contains("Launch"), "{}", fleet.because());
}

/// A fleet of `size` under `pid`, at a hundred requests an instance.
fn by_requests(ki: f64, kd: f64, size: u32) -> Fleet {
    let mut rules = policy();
    rules.controller = pid(ki, kd);
    rules.max = Capacity::new(200);
    rules.metrics = vec![metric("requests", MetricKind::Total, 100.0)];
    let mut fleet = Fleet::new(rules);
    fleet.group = group(size);
    fleet
}

/// Seconds after `minutes` of a steady rise of demand, from `from` to `to` instances' worth, until as many are desired.
fn after_a_ramp(kd: f64, from: f64, to: f64, minutes: i32) -> i64 {
    let mut fleet = by_requests(1.0, kd, 4);
    let end = i64::from(minutes) * 60;
    for (sample, second) in (0..).zip((0..end + 7200).step_by(15)) {
        let share = (f64::from(sample) / (4.0 * f64::from(minutes))).min(1.0);
        fleet.at(second).sees(value(100.0 * (from + share * (to - from))));
        fleet.applied(Outcome::Applied);
        fleet.settle_in();
        if fleet.group.desired.as_f64() >= to {
            return second - end;
        }
    }
    panic!("{} for {to}: {}", fleet.group.desired, fleet.because());
}

#[test]
fn a_steady_rise_is_no_noise() {
    for (kd, from, to, minutes) in
        [(60.0, 3.0, 10.3, 30), (60.0, 3.0, 10.5, 60), (0.0, 3.0, 10.7, 20), (0.0, 3.0, 10.7, 30)]
    {
        let late = after_a_ramp(kd, from, to, minutes);
        assert!(late <= 300, "{late} s late at {to} after {minutes} min, kd {kd}");
    }
}

#[test]
fn what_was_refused_is_not_asked_for_once_demand_says_otherwise() {
    let mut fleet = by_requests(0.1, 0.0, 10);
    fleet.group.suspended.launch = true;
    for second in (0..3600).step_by(15) {
        assert_eq!(fleet.at(second).sees(value(10_000.0)), 10);
    }
    fleet.group.suspended.launch = false;
    for second in (3600..4200).step_by(15) {
        assert!(fleet.at(second).sees(value(500.0)) <= 10, "{}", fleet.because());
    }
}

#[test]
fn what_was_asked_for_hours_ago_is_forgotten() {
    let mut fleet = by_requests(0.1, 0.0, 10).warmed_up_with(&[value(10_000.0)]);
    fleet.at(36_600).sees(value(1_100.0));
    assert_eq!(fleet.recommended(), 11);
}
