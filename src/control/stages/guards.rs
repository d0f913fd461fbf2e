//! Named vetoes. All that apply are stated, not only the first.

use super::validity::{Signal, Signals};
use super::{Say, View};
use crate::control::reason::{Guard, Reason};
use crate::control::state::ControllerState;
use crate::policy::Capacity;

/// Keeps the desired capacity where a guard speaks against the change.
pub(super) fn veto(
    view: &View,
    state: &mut ControllerState,
    signals: &Signals,
    say: &mut Say,
    wanted: Capacity,
) -> Capacity {
    let collapses = collapses(view, state, signals);
    let desired = view.group.desired;
    let kept = view.kept(wanted);
    let mut vetoes = 0;
    let mut object = |guard: Guard| {
        say.that(Reason::Vetoed { guard });
        vetoes += 1;
    };
    if wanted < desired {
        guard_group(view, &mut object);
        guard_validity(view, signals, &mut object);
    }
    if vetoes > 0 {
        return desired;
    }
    // An owner who set the bounds has judged the demand already: as far as they reach, these do not object.
    let mut object = |guard: Guard| {
        say.that(Reason::Vetoed { guard });
        vetoes += 1;
    };
    if wanted > kept {
        guard_launches(view, &mut object);
    } else if wanted < kept {
        guard_warmth(view, state, &mut object);
        signals.valid.iter().filter_map(|signal| above_target(view, signal)).for_each(&mut object);
        collapses.into_iter().for_each(&mut object);
    }
    if vetoes > 0 { kept } else { wanted }
}

fn guard_launches(view: &View, object: &mut impl FnMut(Guard)) {
    if view.group.suspended.launch {
        object(Guard::LaunchSuspended);
    }
    if let Some(failure) = view.group.launch_failure {
        object(Guard::LaunchesFailing { insufficient_capacity: failure.insufficient_capacity });
    }
}

fn guard_group(view: &View, object: &mut impl FnMut(Guard)) {
    let group = view.group;
    let pending = view.in_flight().max(group.pending);
    if pending > Capacity::ZERO {
        object(Guard::CapacityPending { pending });
    }
    if group.refreshing {
        object(Guard::Refreshing);
    }
    if group.suspended.terminate {
        object(Guard::TerminateSuspended);
    }
    if group.healthy < group.in_service {
        object(Guard::Unhealthy { healthy: group.healthy, in_service: group.in_service });
    }
}

fn guard_validity(view: &View, signals: &Signals, object: &mut impl FnMut(Guard)) {
    let valid = |index| signals.valid.iter().any(|signal: &Signal| signal.index == index);
    for (index, metric) in view.policy.metrics.iter().enumerate() {
        if !valid(index) {
            object(Guard::MetricNotValid { metric: metric.name.clone() });
        }
    }
}

fn guard_warmth(view: &View, state: &ControllerState, object: &mut impl FnMut(Guard)) {
    let window = view.policy.stabilization.inward;
    if let Some(remaining) = window.checked_sub(state.live_for(view.now)).filter(|left| !left.is_zero()) {
        object(Guard::NotWarm { remaining });
    }
}

fn above_target(view: &View, signal: &Signal) -> Option<Guard> {
    (signal.ratio > 1.0 + view.policy.tolerance.out).then(|| Guard::MetricAboveTarget {
        metric: signal.metric.name.clone(),
        value: signal.value,
        target: signal.metric.target,
    })
}

/// Notes the demand of every metric, and returns a veto for each that collapsed.
fn collapses(
    view: &View,
    state: &mut ControllerState,
    signals: &Signals,
) -> arrayvec::ArrayVec<Guard, { crate::policy::MAX_METRICS }> {
    let Some(limit) = view.policy.max_drop else { return arrayvec::ArrayVec::new() };
    let mut collapsed = arrayvec::ArrayVec::new();
    for signal in &signals.valid {
        let (Some(now), Some(memory)) = (signal.demand, state.metrics.get_mut(signal.index)) else { continue };
        let highest = memory.peak.push(view.now, now, limit.per);
        if now < highest * (1.0 - limit.ratio) {
            collapsed.push(Guard::DemandCollapsed { metric: signal.metric.name.clone(), highest, now });
        }
    }
    collapsed
}
