//! The promises of the core, as properties over random policies, inputs and groups.
//!
//! `PROPTEST_CASES` sets the number of cases; a failing seed is printed and kept in `proptest-regressions`.

mod fixture;

use std::time::Duration;

use fixture::{Fleet, group, metric, pid};
use jiff::Timestamp;
use proptest::prelude::*;
use setpoint::control::{ControllerState, Decision, Evaluation, Outcome, Rejection, evaluate, settle};
use setpoint::observation::{Failure, GroupStatus, LaunchFailure, Measurement, Observation, Rivals, Suspended};
use setpoint::policy::{Capacity, MetricKind, Mode, PerDirection, Policy, StepLimit};

/// One evaluation's inputs.
#[derive(Clone, Debug)]
struct Moment {
    after: u32,
    measurements: Vec<Measurement>,
    group: Option<GroupStatus>,
    outcome: Outcome,
}

fn bad() -> impl Strategy<Value = Measurement> {
    prop_oneof![
        Just(Measurement::NoData),
        Just(Measurement::NotFinite),
        Just(Measurement::ManySeries { count: 2 }),
        Just(Measurement::Stale { age: Duration::from_mins(10) }),
        Just(Measurement::Failed { failure: Failure::Timeout }),
        Just(Measurement::Value { value: f64::NAN, age: None }),
        Just(Measurement::Value { value: f64::NEG_INFINITY, age: None }),
        (-1e300..-1e-300).prop_map(|value| Measurement::Value { value, age: None }),
    ]
}

fn good() -> impl Strategy<Value = Measurement> {
    prop_oneof![
        8 => 0.0..2.0,
        1 => Just(0.0),
        1 => Just(f64::MAX),
        1 => Just(f64::MIN_POSITIVE),
        2 => 0.0..1e6,
    ]
    .prop_map(|value| Measurement::Value { value, age: None })
}

fn any_measurement() -> impl Strategy<Value = Measurement> {
    prop_oneof![4 => good(), 1 => bad()]
}

fn any_group() -> impl Strategy<Value = GroupStatus> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (0u32..60, 0u32..60, 0u32..60, 0u32..40, 0u32..60, flags).prop_map(
        |(desired, in_service, warm, min, more, flags)| {
            let capacity = Capacity::new;
            let in_service = in_service.min(desired + 2);
            let (launch, terminate, failing, rival) = flags;
            GroupStatus {
                desired: capacity(desired),
                min: capacity(min.min(desired)),
                max: capacity(desired.max(min + more)),
                in_service: capacity(in_service),
                warm: capacity(warm.min(in_service)),
                pending: capacity(desired.saturating_sub(in_service)),
                healthy: capacity(in_service),
                suspended: Suspended { launch: launch && terminate, terminate: terminate && failing },
                refreshing: launch && failing,
                launch_failure: (failing && rival)
                    .then_some(LaunchFailure { at: Fleet::moment(0), insufficient_capacity: launch }),
                rivals: if rival && launch { Rivals::ScalingPolicy } else { Rivals::None },
            }
        },
    )
}

/// A healthy group, all warm, that nothing stands in the way of.
fn open_group() -> impl Strategy<Value = GroupStatus> {
    (1u32..60).prop_map(group)
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let kinds = prop::collection::vec(
        prop_oneof![Just(MetricKind::Utilization), Just(MetricKind::Total), Just(MetricKind::Latency)],
        1..4,
    );
    let times = (0u64..600, 0u64..120, 0u64..600, 0u64..120);
    let steps = (prop::option::of(1.0..200.0), prop::option::of(1u32..10), 1u64..300);
    (kinds, times, steps, 0u32..20, 1u32..60, 0.05..=1.0, 0.0..120.0, 0.0..0.3).prop_map(
        |(kinds, times, (percent, count, per), min, more, ki, kd, tolerance)| {
            let seconds = Duration::from_secs;
            let limit = (percent.is_some() || count.is_some()).then(|| StepLimit {
                percent,
                count: count.map(Capacity::new),
                per: seconds(per),
            });
            let metrics = kinds.iter().enumerate();
            Policy {
                min: Capacity::new(min),
                max: Capacity::new(min + more),
                controller: pid(ki, kd),
                stabilization: PerDirection { inward: seconds(times.0), out: seconds(times.1) },
                cooldown: PerDirection { inward: seconds(times.2), out: seconds(times.3) },
                step: PerDirection { out: limit, inward: limit },
                tolerance: PerDirection { out: tolerance, inward: tolerance },
                metrics: metrics.map(|(i, kind)| metric(&format!("m{i}"), *kind, 0.7)).collect(),
                ..fixture::policy()
            }
        },
    )
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Applied),
        1 => Just(Outcome::Unknown),
        1 => Just(Outcome::Rejected(Rejection::Contention)),
    ]
}

fn moments(
    measurement: impl Strategy<Value = Measurement> + 'static,
    group: impl Strategy<Value = GroupStatus> + 'static,
) -> impl Strategy<Value = Vec<Moment>> {
    let moment = (0u32..90, prop::collection::vec(measurement, 4), prop::option::weighted(0.9, group), any_outcome());
    let moment =
        moment.prop_map(|(after, measurements, group, outcome)| Moment { after, measurements, group, outcome });
    prop::collection::vec(moment, 1..40)
}

/// Runs the moments, and calls `check` with each evaluation and the time.
fn run(policy: &Policy, moments: &[Moment], mut check: impl FnMut(&Evaluation, &Moment, Timestamp)) {
    let (mut state, mut second) = (ControllerState::default(), 0);
    for moment in moments {
        second += i64::from(moment.after);
        let now = Fleet::moment(second);
        let seen = observation(policy, moment);
        let (evaluation, next) = evaluate(policy, state, &seen, now);
        check(&evaluation, moment, now);
        state = settle(next, &evaluation.decision, &moment.outcome, now);
    }
}

fn observation(policy: &Policy, moment: &Moment) -> Observation {
    let measurements = moment.measurements.iter().take(policy.metrics.len()).copied().collect();
    Observation { measurements, group: moment.group, ordered: None }
}

fn scales(evaluation: &Evaluation) -> Option<(Capacity, Capacity)> {
    match evaluation.decision {
        Decision::Scale { from, to } => Some((from, to)),
        Decision::Hold => None,
    }
}

fn scales_in(evaluation: &Evaluation) -> Option<(Capacity, Capacity)> {
    scales(evaluation).filter(|(from, to)| to < from)
}

proptest! {
    #[test]
    fn bad_input_never_removes_capacity(policy in any_policy(), moments in moments(bad(), any_group())) {
        run(&policy, &moments, |evaluation, _, _| assert_eq!(scales_in(evaluation), None));
    }

    #[test]
    fn one_bad_metric_is_enough_to_bar_scale_in(
        policy in any_policy(), moments in moments(any_measurement(), open_group()), bad in bad(),
    ) {
        let mut moments = moments;
        for moment in &mut moments {
            moment.measurements[0] = bad;
        }
        run(&policy, &moments, |evaluation, _, _| assert_eq!(scales_in(evaluation), None));
    }

    #[test]
    fn a_decision_stays_within_bounds_or_moves_towards_them(
        policy in any_policy(), moments in moments(any_measurement(), any_group()),
    ) {
        run(&policy, &moments, |evaluation, moment, _| {
            let (Some((from, to)), Some(group)) = (scales(evaluation), moment.group) else { return };
            assert!(to >= group.min && to <= group.max, "{to} outside the group's bounds");
            let max = policy.max.max(group.min);
            let min = policy.min.min(group.max);
            assert!(to >= min || to > from, "{to} below {min}");
            assert!(to <= max || to < from, "{to} above {max}");
        });
    }

    #[test]
    fn steps_stay_within_their_limits_over_every_window(
        policy in any_policy(), moments in moments(good(), Just(group(20))),
    ) {
        let Some(limit) = policy.step.out else { return Ok(()) };
        let (mut desired, mut events) = (group(20).desired, Vec::new());
        let mut state = ControllerState::default();
        let mut second = 0;
        for moment in &moments {
            second += i64::from(moment.after);
            let now = Fleet::moment(second);
            let seen = Observation { group: Some(group(desired.get())), ..observation(&policy, moment) };
            let (evaluation, next) = evaluate(&policy, state, &seen, now);
            if let Some((from, to)) = scales(&evaluation) {
                let start = events.iter().rev().take_while(|(at, _, _)| *at > second - i64::try_from(limit.per.as_secs()).unwrap());
                let (added, removed) = start.fold((0, 0), |(added, removed), (_, from, to): &(i64, u32, u32)| {
                    (added + to.saturating_sub(*from), removed + from.saturating_sub(*to))
                });
                let base = f64::from((from.get() + removed).saturating_sub(added));
                let most = (limit.percent.unwrap_or(0.0) * base / 100.0).ceil().max(limit.count.map_or(0.0, Capacity::as_f64));
                let changed = (to.as_f64() - base).abs();
                let restores = from < policy.min || from > policy.max;
                let turns = (to > from) != (to.as_f64() > base);
                assert!(restores || turns || changed <= most + 1e-9, "{from} to {to}, base {base}, most {most}");
                events.push((second, from.get(), to.get()));
                desired = to;
            }
            state = settle(next, &evaluation.decision, &Outcome::Applied, now);
        }
    }

    #[test]
    fn nothing_is_removed_during_a_cooldown(
        policy in any_policy(), moments in moments(good(), open_group()),
    ) {
        let mut last = None;
        run(&policy, &moments, |evaluation, moment, now| {
            if let (Some((from, _)), Some(at)) = (scales_in(evaluation), last) {
                let since = Duration::try_from(now.duration_since(at)).unwrap();
                assert!(from > policy.max || since >= policy.cooldown.inward, "{since:?}");
            }
            let counts = matches!(moment.outcome, Outcome::Applied | Outcome::Unknown);
            if scales(evaluation).is_some() && counts {
                last = Some(now);
            }
        });
    }

    #[test]
    fn nothing_is_removed_while_capacity_is_on_its_way(
        policy in any_policy(), moments in moments(good(), any_group()),
    ) {
        run(&policy, &moments, |evaluation, moment, _| {
            let Some(group) = moment.group else { return };
            if scales_in(evaluation).is_some() {
                assert!(group.warm >= group.desired && group.pending == Capacity::ZERO);
                assert!(!group.refreshing && !group.suspended.terminate && group.rivals == Rivals::None);
            }
        });
    }

    #[test]
    fn a_metric_above_its_target_never_yields_a_scale_in(
        policy in any_policy(), moments in moments(good(), open_group()),
    ) {
        run(&policy, &moments, |evaluation, moment, _| {
            let Some((from, _)) = scales_in(evaluation).filter(|(from, _)| *from <= policy.max) else { return };
            for (metric, measurement) in policy.metrics.iter().zip(&moment.measurements) {
                let Measurement::Value { value, .. } = *measurement else { panic!("invalid") };
                let share = if metric.kind == MetricKind::Total { from.as_f64() } else { 1.0 };
                assert!(value / metric.target / share <= 1.0 + policy.tolerance.out + 1e-9);
            }
        });
    }

    #[test]
    fn another_metric_never_yields_less(
        policy in any_policy(), moments in moments(any_measurement(), open_group()),
    ) {
        let mut more = policy.clone();
        more.metrics.push(metric("another", MetricKind::Utilization, 0.7));
        // A latency alone gives back little, because it can't tell how much is enough. A metric that can is the one
        // kind that may make room for less beside it.
        prop_assume!(policy.metrics.iter().any(|metric| metric.kind != MetricKind::Latency));
        // One evaluation from the same state: over several, the fleets would differ.
        let moment = &moments[0];
        let wants = |policy: &Policy| {
            let seen = observation(policy, moment);
            evaluate(policy, ControllerState::default(), &seen, Fleet::moment(0)).0
        };
        let capacity = |e: &Evaluation| scales(e).map_or(moment.group.map_or(Capacity::ZERO, |g| g.desired), |(_, to)| to);
        prop_assert!(capacity(&wants(&more)) >= capacity(&wants(&policy)));
    }

    #[test]
    fn the_same_inputs_give_the_same_evaluation(
        policy in any_policy(), moments in moments(any_measurement(), any_group()),
    ) {
        let all = || {
            let mut evaluations = Vec::new();
            run(&policy, &moments, |evaluation, _, _| evaluations.push(format!("{evaluation:?}")));
            evaluations
        };
        prop_assert_eq!(all(), all());
    }

    #[test]
    fn a_policy_that_may_not_act_never_does(
        policy in any_policy(), moments in moments(any_measurement(), any_group()),
    ) {
        for mode in [Mode::Observe, Mode::Paused] {
            let policy = Policy { mode, ..policy.clone() };
            run(&policy, &moments, |evaluation, _, _| assert_eq!(scales(evaluation), None));
        }
        let policy = Policy { mode: Mode::ScaleOutOnly, ..policy };
        run(&policy, &moments, |evaluation, _, _| assert_eq!(scales_in(evaluation), None));
    }

    #[test]
    fn the_stages_tell_the_whole_way(
        policy in any_policy(), moments in moments(any_measurement(), any_group()),
    ) {
        run(&policy, &moments, |evaluation, moment, _| {
            let Some(group) = moment.group else { return };
            let steps = &evaluation.stages;
            assert_eq!(steps.first().map(|s| s.before), Some(group.desired));
            assert!(steps.windows(2).all(|pair| pair[0].after == pair[1].before));
            let end = steps.last().map(|s| s.after);
            assert_eq!(end, scales(evaluation).map_or(Some(group.desired), |(_, to)| Some(to)));
            for step in steps.iter().filter(|s| s.before != s.after) {
                assert!(evaluation.reasons.iter().any(|r| r.stage == step.stage), "{:?} says nothing", step.stage);
            }
        });
    }
}
