//! What a controller remembers is the same after it was written down and read again.

mod fixture;

use std::time::Duration;

use fixture::Fleet;
use jiff::Timestamp;
use setpoint::control::{ControllerState, Decision, Guard, Outcome, Reason, evaluate, settle};
use setpoint::journal::Remembered;
use setpoint::observation::{GroupStatus, Measurement, Observation};
use setpoint::policy::{Capacity, Controller, MetricKind, Policy, Risk};

/// Every kind of controller and of metric, so that everything there is to remember is.
fn policy() -> Policy {
    let mut policy = fixture::policy();
    policy.max = Capacity::new(200);
    policy.max_drop = Some(setpoint::policy::MaxDrop { ratio: 0.9, per: Duration::from_mins(5) });
    policy.instance_price = Some(0.1);
    policy.max_spend.per_day = Some(40.0);
    policy.metrics = vec![
        fixture::metric("cpu", MetricKind::Utilization, 0.7),
        fixture::metric("requests", MetricKind::Total, 100.0),
        // Over its target at times.
        fixture::metric("p99", MetricKind::Latency, 0.15),
    ];
    policy.metrics[0].controller = Some(fixture::pid(0.5, 60.0));
    policy.metrics[1].controller = Some(Controller::Risk(Risk::default()));
    policy
}

fn seen(second: i64, size: u32) -> Observation {
    let hour = f64::from(i32::try_from(second % 3600).expect("an hour")) / 3600.0;
    let busy = 12.0 + 5.0 * (hour * std::f64::consts::TAU).sin();
    let load = busy / f64::from(size);
    let measurements = [load, busy * 70.0, 0.1 + 0.02 / (1.0 - load.min(0.9))];
    let measured = |value| Measurement::Value { value, age: None };
    let group = GroupStatus { warm: Capacity::new(size), ..fixture::group(size) };
    let measurements = measurements.into_iter().map(measured).collect();
    Observation { measurements, group: Some(group), ..Observation::default() }
}

/// Moves `state` on by one evaluation; gives what was decided in words.
fn step(policy: &Policy, state: ControllerState, second: i64, size: &mut u32) -> (String, ControllerState) {
    let now = Fleet::moment(second);
    let (evaluation, state) = evaluate(policy, state, &seen(second, *size), now);
    let state = settle(state, &evaluation.decision, &Outcome::Applied, now);
    if let Decision::Scale { to, .. } = evaluation.decision {
        *size = to.get();
    }
    (format!("{evaluation:?}"), state)
}

fn written_and_read(policy: &Policy, state: &ControllerState, at: Timestamp) -> Remembered {
    let text = serde_json::to_string(&Remembered::new(policy, state, at)).expect("JSON");
    println!("{} bytes of memory", text.len());
    serde_json::from_str(&text).expect("what was written")
}

#[test]
fn what_was_learned_is_the_same_after_a_restart() {
    let (policy, mut size, mut state) = (policy(), 20, ControllerState::default());
    let night = 30 * 3600;
    let mut actions = Vec::new();
    for second in (0..night).step_by(15) {
        let before = size;
        (_, state) = step(&policy, state, second, &mut size);
        if size != before {
            let decision = Decision::Scale { from: Capacity::new(before), to: Capacity::new(size) };
            actions.push((Fleet::moment(second), decision));
        }
    }
    assert!(actions.len() > 10);
    let now = Fleet::moment(night);
    let restored = written_and_read(&policy, &state, now).serving(&policy).expect("the same policy");
    let recent = actions.iter().filter(|(at, _)| now.duration_since(*at).as_hours() < 24);
    let mut restored = recent.fold(restored, |state, (at, decision)| settle(state, decision, &Outcome::Applied, *at));
    let mut other = size;
    for second in (night..night + 2 * 3600).step_by(15) {
        let (expected, found);
        (expected, state) = step(&policy, state, second, &mut size);
        (found, restored) = step(&policy, restored, second, &mut other);
        assert_eq!(found, expected, "at {second}");
    }
}

/// How long a full window still takes after a pause of `gap` seconds, as the guard says it.
fn not_warm_for(gap: i64, changed: impl Fn(&mut Policy)) -> Option<u64> {
    let (mut policy, mut state) = (policy(), ControllerState::default());
    for second in (0..=120).step_by(15) {
        state = evaluate(&policy, state, &seen(second, 60), Fleet::moment(second)).1;
    }
    let remembered = written_and_read(&policy, &state, Fleet::moment(120));
    changed(&mut policy);
    let now = Fleet::moment(120 + gap);
    let state = remembered.serving(&policy).unwrap_or_default();
    let (evaluation, _) = evaluate(&policy, state, &seen(120 + gap, 60), now);
    evaluation.reasons.iter().find_map(|stated| match stated.reason {
        Reason::Vetoed { guard: Guard::NotWarm { remaining } } => Some(remaining.as_secs()),
        _ => None,
    })
}

#[test]
fn only_a_long_gap_or_another_metric_begins_the_watch_anew() {
    let same = |_: &mut Policy| {};
    let other = |policy: &mut Policy| policy.metrics[0].target = 0.6;
    let elsewhere = |policy: &mut Policy| policy.asg = "another".into();
    let whole = Some(300);
    assert_eq!(not_warm_for(30, same), Some(150));
    assert_eq!(not_warm_for(61, same), whole);
    assert_eq!(not_warm_for(30, other), whole);
    assert_eq!(not_warm_for(30, elsewhere), whole);
    assert_eq!(not_warm_for(-30, same), whole, "from a time that has not come yet");
}

#[test]
fn what_was_missed_counts_as_if_it_was_seen_and_never_twice() {
    let (policy, moments) = (policy(), (0..=300).step_by(15));
    let watched = moments.clone().fold(ControllerState::default(), |state, second| {
        evaluate(&policy, state, &seen(second, 60), Fleet::moment(second)).1
    });
    let missed = moments.fold(ControllerState::default(), |state, second| {
        state.having_seen(&policy, &seen(second, 60), Fleet::moment(second))
    });
    assert_eq!(missed, watched);
    assert_eq!(missed.clone().having_seen(&policy, &seen(0, 60), Fleet::moment(150)), missed);
    let out_of_touch = |second| missed.is_out_of_touch(&policy, Fleet::moment(second));
    assert_eq!((out_of_touch(360), out_of_touch(361)), (false, true));
}
