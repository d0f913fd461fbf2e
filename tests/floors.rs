//! Schedules, overrides and the fallback: the third stage of a decision.

mod fixture;

use std::time::Duration;

use fixture::{Fleet, policy, value};
use setpoint::control::{Outcome, StageName};
use setpoint::observation::{Measurement, Override};
use setpoint::policy::{Capacity, Fallback, Policy, Schedule};

/// The first moment of [`Fleet`] is 08:00 on a Friday in UTC.
fn scheduled(cron: &str, hours: u64, min: Option<u32>, max: Option<u32>) -> Schedule {
    let mut schedule = Schedule::new(cron, "UTC", Duration::from_hours(hours)).unwrap();
    (schedule.min, schedule.max) = (min.map(Capacity::new), max.map(Capacity::new));
    schedule
}

fn fleet(schedules: Vec<Schedule>) -> Fleet {
    Fleet::new(Policy { schedules, ..policy() })
}

#[test]
fn a_schedules_minimum_is_there_at_once_whatever_the_step_limit() {
    let mut fleet = fleet(vec![scheduled("0 9 * * *", 1, Some(20), Some(30))]);
    assert_eq!(fleet.at(3599).sees(value(0.7)), 4);
    assert_eq!(fleet.at(3600).sees(value(0.7)), 20, "above the policy's own maximum of ten");
    assert!(fleet.because().contains("raised to the schedule's minimum of 20"), "{}", fleet.because());
}

#[test]
fn outside_every_window_the_policys_own_bounds_hold() {
    let mut fleet = fleet(vec![scheduled("0 9 * * *", 1, Some(1), None)]);
    fleet.group = fixture::group(2);
    let mut lowest = 2;
    for second in (3600 - 600..7200 + 600).step_by(15) {
        let decided = fleet.at(second).sees(value(0.05));
        fleet.applied(Outcome::Applied);
        fleet.settle_in();
        lowest = lowest.min(decided);
        assert!(decided >= if (3600..7200).contains(&second) { 1 } else { 2 }, "{decided} at {second}");
    }
    assert_eq!((lowest, fleet.group.desired.get()), (1, 2), "one within the window, two again after it");
}

#[test]
fn a_schedules_maximum_caps_what_the_metrics_ask_for() {
    let mut fleet = fleet(vec![scheduled("0 9 * * *", 1, None, Some(5))]);
    assert_eq!(fleet.at(3600).sees(value(0.95)), 5);
    assert!(fleet.because().contains("the schedule's maximum of 5"), "{}", fleet.because());
    assert!(fleet.at(7200).sees(value(0.95)) > 5, "and not after it");
}

#[test]
fn a_schedule_that_the_policy_lost_does_not_hold() {
    let mut fleet = fleet(vec![scheduled("0 9 * * *", 1, Some(8), None)]);
    assert_eq!(fleet.at(3600).sees(value(0.7)), 8);
    fleet.changes_to(policy());
    assert_eq!(fleet.at(3615).sees(value(0.7)), 4);
}

#[test]
fn the_bounds_of_a_schedule_speak_before_tolerance_and_the_policys_own_after_the_steps() {
    let nine = |min, max| vec![scheduled("0 9 * * *", 1, min, max)];
    let bounded = |schedules, seen| {
        let mut fleet = fleet(schedules);
        fleet.policy.step.out = None;
        fleet.at(3600).sees(value(seen));
        fleet.bounded_in()
    };
    assert_eq!(bounded(nine(Some(8), None), 0.7), [StageName::Floors]);
    assert_eq!(bounded(nine(None, Some(5)), 0.95), [StageName::Floors]);
    assert_eq!(bounded(nine(Some(4), Some(6)), 0.7), []);
    let mut fleet = fleet(Vec::new());
    fleet.policy.step.out = None;
    fleet.policy.max = Capacity::new(5);
    fleet.at(0).sees(value(0.95));
    assert_eq!(fleet.bounded_in(), [StageName::Bounds]);
}

#[test]
fn of_several_open_windows_the_narrowest_bounds_hold_and_a_floor_above_a_cap() {
    let nine = |min, max| scheduled("0 9 * * *", 1, min, max);
    let sees = |schedules| fleet(schedules).at(3600).sees(value(0.7));
    assert_eq!(sees(vec![nine(Some(5), None), nine(Some(7), None)]), 7);
    assert_eq!(sees(vec![nine(Some(7), None), nine(None, Some(6))]), 7);
}

#[test]
fn a_floor_never_lowers() {
    let mut fleet = fleet(vec![scheduled("0 9 * * *", 1, Some(3), None)]);
    assert_eq!(fleet.at(3600).sees(value(0.9)), 6);
}

#[test]
fn a_floor_or_a_cap_at_the_policys_maximum_leaves_it_the_policys() {
    let check = |schedules, ordered| {
        let mut fleet = fleet(schedules);
        fleet.group = fixture::group(8);
        fleet.ordered = ordered;
        assert_eq!(fleet.at(3600).sees(value(0.95)), 10);
        assert!(fleet.says("limited by the policy's maximum of 10"), "{:?}", fleet.reasons());
    };
    check(vec![scheduled("0 9 * * *", 1, Some(10), None)], None);
    check(vec![], Some(Override { until: Fleet::moment(7200), ..ordered(None, Some(10)) }));
}

fn ordered(floor: Option<u32>, cap: Option<u32>) -> Override {
    Override { floor: floor.map(Capacity::new), cap: cap.map(Capacity::new), until: Fleet::moment(1200) }
}

#[test]
fn an_override_holds_within_the_bounds_until_it_ends() {
    let sees = |ordered, second, utilization| {
        let mut fleet = Fleet::new(policy());
        fleet.ordered = Some(ordered);
        fleet.at(second).sees(value(utilization))
    };
    assert_eq!(sees(ordered(Some(8), None), 0, 0.7), 8);
    assert_eq!(sees(ordered(Some(50), None), 0, 0.7), 10, "the policy's maximum");
    assert_eq!(sees(ordered(Some(8), None), 1200, 0.7), 4, "it has ended");
    assert_eq!(sees(ordered(None, Some(5)), 0, 0.94), 5);
    assert_eq!(sees(ordered(Some(6), Some(6)), 0, 0.94), 6, "exactly six");
    assert_eq!(sees(ordered(Some(7), Some(5)), 0, 0.7), 7, "a floor has the last word");
}

#[test]
fn an_overrides_cap_is_approached_in_scale_in_steps() {
    let mut fleet = Fleet::new(policy());
    fleet.group = fixture::group(10);
    fleet.ordered = Some(ordered(None, Some(4)));
    assert_eq!(fleet.at(0).sees(value(0.7)), 8);
    assert!(fleet.says("limited by the override's maximum of 4"), "{}", fleet.because());
    assert_eq!(fleet.at(15).sees(Measurement::NoData), 10, "but not on bad data");
}

fn falling_back(capacity: u32) -> Fleet {
    let fallback = Some(Fallback { after: Duration::from_mins(5), capacity: Capacity::new(capacity) });
    Fleet::new(Policy { fallback, ..policy() })
}

#[test]
fn a_fallback_holds_once_every_metric_has_been_gone_for_as_long_as_it_says() {
    let mut fleet = falling_back(6);
    fleet.at(0).sees(value(0.7));
    for second in (15..315).step_by(15) {
        assert_eq!(fleet.at(second).sees(Measurement::NoData), 4);
    }
    assert_eq!(fleet.at(314).sees(Measurement::NotFinite), 4);
    assert_eq!(fleet.at(315).sees(Measurement::NoData), 6);
    assert!(fleet.because().contains("gone for 300 s, so 6 is the least"), "{}", fleet.because());
    assert_eq!(fleet.at(330).sees(value(0.7)), 4, "a value ends it");
    assert_eq!(fleet.at(345).sees(Measurement::NoData), 4, "and it begins anew");
}

#[test]
fn a_fallback_never_removes_and_is_silent_where_it_changes_nothing() {
    for capacity in [3, 4] {
        let mut fleet = falling_back(capacity);
        for second in (0..900).step_by(15) {
            assert_eq!(fleet.at(second).sees(Measurement::NoData), 4);
        }
        assert!(!fleet.says("is the least"), "{:?}", fleet.reasons());
    }
}

#[test]
fn a_fallback_counts_while_the_group_is_unknown_and_not_while_nobody_looks() {
    let blind = |mut fleet: Fleet, seconds: std::ops::Range<i64>| {
        for second in seconds.step_by(15) {
            if second % 240 == 0 {
                fleet.at(second).sees_no_group(Measurement::NoData);
            } else {
                fleet.at(second).sees(Measurement::NoData);
            }
        }
        fleet
    };
    let mut fleet = blind(falling_back(6), 0..600);
    assert_eq!(fleet.at(600).sees(Measurement::NoData), 6);

    let mut fleet = blind(falling_back(6), 0..240);
    assert_eq!(fleet.at(36_000).sees(Measurement::NoData), 4, "who knows what was there meanwhile");

    let mut fleet = blind(falling_back(6), 0..240);
    fleet.at(240).sees_no_group(value(0.7));
    assert_eq!(blind(fleet, 255..500).at(500).sees(Measurement::NoData), 4, "a value ends it");
}
