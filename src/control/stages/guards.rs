//! Named vetoes. All that apply are stated, not only the first.

use arrayvec::ArrayVec;

use super::validity::{Signal, Signals};
use super::{Say, View};
use crate::control::evaluation::SignalReading;
use crate::control::guard::Guard;
use crate::control::reason::Reason;
use crate::control::state::ControllerState;
use crate::policy::{Capacity, MAX_METRICS, MAX_SIGNALS, PERCENT_ABOVE};

/// Keeps the desired capacity where a guard speaks against the change.
pub(super) fn veto(
    view: &View,
    state: &mut ControllerState,
    signals: &Signals,
    say: &mut Say,
    wanted: Capacity,
) -> Capacity {
    let collapses = collapses(view, state, signals);
    let unproven = unproven(state, signals);
    let desired = view.group.desired;
    let kept = view.kept(wanted);
    let mut objections = Objections { say, raised: 0 };
    if wanted > kept {
        guard_launches(view, &mut objections);
    }
    if wanted < desired {
        guard_group(view, &mut objections);
        guard_validity(view, signals, &mut objections);
        signals.valid.iter().filter_map(|signal| coverage(view, signal)).for_each(|guard| objections.raise(guard));
        guard_signals(&mut objections);
    }
    let not_at_all = wanted < desired && objections.raised > 0;
    // An owner who set the bounds has judged the demand already: as far as they reach, these do not object.
    if wanted < kept {
        guard_warmth(view, state, &mut objections);
        signals.valid.iter().filter_map(|signal| above_target(view, signal)).for_each(|guard| objections.raise(guard));
        unproven.into_iter().chain(collapses).for_each(|guard| objections.raise(guard));
    }
    match objections.raised {
        0 => wanted,
        _ if not_at_all => desired,
        _ => kept,
    }
}

/// The vetoes as they are stated, and their number.
struct Objections<'a, 'b> {
    say: &'a mut Say<'b>,
    raised: usize,
}

impl Objections<'_, '_> {
    fn raise(&mut self, guard: Guard) {
        self.say.that(Reason::Vetoed { guard });
        self.raised += 1;
    }
}

fn guard_launches(view: &View, objections: &mut Objections) {
    if view.group.suspended.launch {
        objections.raise(Guard::LaunchSuspended);
    }
    if let Some(failure) = view.group.launch_failure {
        objections.raise(Guard::LaunchesFailing { insufficient_capacity: failure.insufficient_capacity });
    }
}

fn guard_group(view: &View, objections: &mut Objections) {
    let group = view.group;
    let pending = view.in_flight().max(group.pending);
    if pending > Capacity::ZERO {
        objections.raise(Guard::CapacityPending { pending });
    }
    if view.seen.unrecorded {
        objections.raise(Guard::JournalUnavailable);
    }
    if group.refreshing {
        objections.raise(Guard::Refreshing);
    }
    if group.suspended.terminate {
        objections.raise(Guard::TerminateSuspended);
    }
    if group.healthy < group.in_service {
        objections.raise(Guard::Unhealthy { healthy: group.healthy, in_service: group.in_service });
    }
}

fn guard_validity(view: &View, signals: &Signals, objections: &mut Objections) {
    let valid = |index| signals.valid.iter().any(|signal: &Signal| signal.index == index);
    for (index, metric) in view.policy.metrics.iter().enumerate() {
        if !valid(index) {
            objections.raise(Guard::MetricNotValid { metric: metric.name.clone() });
        }
    }
}

/// An instance that does not report may be the one that is overloaded, or gone.
fn coverage(view: &View, signal: &Signal) -> Option<Guard> {
    let (metric, serving) = (signal.metric, view.group.in_service);
    let reporting = signal.reporting?;
    (reporting.as_f64() < metric.min_coverage * serving.as_f64()).then(|| Guard::CoverageLow {
        metric: metric.name.clone(),
        reporting,
        serving,
    })
}

fn guard_signals(objections: &mut Objections) {
    let signals = &objections.say.evaluation.signals;
    let burning: ArrayVec<Guard, MAX_SIGNALS> = signals.iter().filter_map(SignalReading::guard).collect();
    burning.into_iter().for_each(|guard| objections.raise(guard));
}

fn guard_warmth(view: &View, state: &ControllerState, objections: &mut Objections) {
    let window = view.policy.stabilization.inward;
    if let Some(remaining) = window.checked_sub(state.live_for(view.now)).filter(|left| !left.is_zero()) {
        objections.raise(Guard::NotWarm { remaining });
    }
}

fn above_target(view: &View, signal: &Signal) -> Option<Guard> {
    (signal.ratio > 1.0 + view.policy.tolerance.out).then(|| Guard::MetricAboveTarget {
        metric: signal.metric.name.clone(),
        value: signal.value,
        target: signal.metric.target,
    })
}

/// Notes which percentages were seen to be ones, and returns a veto for each that never was: 0.92 against 70 may be a
/// fleet at 92 %. Nothing at all is nothing in either unit.
fn unproven(state: &mut ControllerState, signals: &Signals) -> ArrayVec<Guard, MAX_METRICS> {
    let mut unproven = ArrayVec::new();
    for Signal { metric, value, index, .. } in signals.valid.iter().filter(|signal| signal.metric.is_percent()) {
        let Some(memory) = state.metrics.get_mut(*index) else { continue };
        memory.shown_percent |= *value > PERCENT_ABOVE;
        if !memory.shown_percent && *value > 0.0 {
            let (metric, value, target) = (metric.name.clone(), *value, metric.target);
            unproven.push(Guard::UnitUnproven { metric, value, target });
        }
    }
    unproven
}

/// Notes the demand of every metric, and returns a veto for each that collapsed.
fn collapses(view: &View, state: &mut ControllerState, signals: &Signals) -> ArrayVec<Guard, MAX_METRICS> {
    let Some(limit) = view.policy.max_drop else { return ArrayVec::new() };
    let mut collapsed = ArrayVec::new();
    for signal in &signals.valid {
        let (Some(now), Some(memory)) = (signal.demand, state.metrics.get_mut(signal.index)) else { continue };
        let highest = memory.peak.push(view.now, now, limit.per);
        if now < highest * (1.0 - limit.ratio) {
            collapsed.push(Guard::DemandCollapsed { metric: signal.metric.name.clone(), highest, now });
        }
    }
    collapsed
}
