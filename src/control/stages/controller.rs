//! One recommendation for each valid metric; the highest wins.

use super::validity::{Signal, Signals};
use super::{Say, View};
use crate::control::evaluation::Recommendation;
use crate::control::latency::{self, Surroundings};
use crate::control::pid::{self, Limits};
use crate::control::reason::{Direction, Reason};
use crate::control::state::{ControllerState, PROBE_REST};
use crate::observation::elapsed;
use crate::policy::{Capacity, Controller, MetricKind};

/// Above this share of full utilization, demand can't be seen any more.
const SATURATION: f64 = 0.95;
/// What is tried then, relative to what is requested.
const PROBE: f64 = 1.5;

/// The capacity that the metrics ask for; `here` when none is valid.
pub(super) fn recommend(
    view: &View,
    state: &mut ControllerState,
    signals: &Signals,
    say: &mut Say,
    here: Capacity,
) -> (Capacity, ()) {
    let accompanied = signals.valid.iter().any(|signal| signal.demand.is_some());
    let mut winner: Option<(Capacity, Reason)> = None;
    for signal in &signals.valid {
        let (recommendation, reason) = recommend_one(view, state, signal, accompanied);
        if winner.as_ref().is_none_or(|(most, _)| recommendation.rounded > *most) {
            winner = Some((recommendation.rounded, reason));
        }
        say.evaluation.recommendations.push(recommendation);
    }
    let (capacity, reason) = winner.unwrap_or((here, Reason::NoValidMetric));
    say.that(reason);
    (capacity, ())
}

fn recommend_one(
    view: &View,
    state: &mut ControllerState,
    signal: &Signal,
    accompanied: bool,
) -> (Recommendation, Reason) {
    let probe = probe(view, state, signal);
    let asked = ask(view, state, signal, accompanied);
    // Rounded before the larger is taken: `max` would hide a number that is none.
    let rounded = Capacity::ceil(asked).unwrap_or(view.group.desired).max(probe.unwrap_or_default());
    let capacity = asked.max(probe.map_or(0.0, Capacity::as_f64));
    let metric = signal.metric.name.clone();
    let reason = match probe {
        Some(probe) if probe.as_f64() >= asked => {
            Reason::Saturated { metric: metric.clone(), value: signal.value, capacity: rounded }
        }
        _ => Reason::Recommended {
            metric: metric.clone(),
            value: signal.value,
            target: signal.metric.target,
            capacity: rounded,
        },
    };
    let target = signal.metric.target;
    (Recommendation { metric, value: signal.value, target, demand: signal.demand, capacity, rounded }, reason)
}

fn ask(view: &View, state: &mut ControllerState, signal: &Signal, accompanied: bool) -> f64 {
    let limits = Limits { min: view.policy.min, max: view.policy.max };
    let desired = view.group.desired;
    let Controller::Pid(gains) = view.policy.controller else { return desired.as_f64() };
    match (signal.demand, state.metrics.get_mut(signal.index)) {
        (Some(demand), Some(memory)) => pid::ask(gains, limits, &mut memory.pid, demand, desired, view.now),
        (Some(_), None) => desired.as_f64(),
        (None, _) => {
            let around = Surroundings { desired, warm: view.group.warm, accompanied };
            latency::ask(limits, signal.value, signal.metric.target, around)
        }
    }
}

/// What to try while a utilization is saturated: more than is requested, unless the last try is still fresh.
fn probe(view: &View, state: &ControllerState, signal: &Signal) -> Option<Capacity> {
    let saturated =
        signal.metric.kind == MetricKind::Utilization && signal.value >= SATURATION * signal.metric.full_scale();
    if !saturated {
        return None;
    }
    let last = state.last_event(Some(Direction::Out));
    let fresh = last.is_some_and(|event| elapsed(event.at, view.now) < PROBE_REST);
    // Just started, nobody knows what was tried last; a daemon that restarts again and again must not ratchet up.
    let fresh = fresh || state.live_for(view.now) < PROBE_REST;
    let desired = view.group.desired;
    if fresh { Some(desired) } else { Capacity::ceil(desired.as_f64() * PROBE) }
}
