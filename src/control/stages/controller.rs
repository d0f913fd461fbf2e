//! One recommendation for each valid metric; the highest wins.

use super::validity::{Signal, Signals};
use super::{Say, View};
use crate::control::curve::Curve;
use crate::control::evaluation::Recommendation;
use crate::control::latency::{self, Surroundings};
use crate::control::pid::{self, Law, Limits};
use crate::control::reason::{Direction, Reason};
use crate::control::risk::{self, Terms};
use crate::control::state::{ControllerState, MetricState, PROBE_REST};
use crate::control::step;
use crate::observation::{DEFAULT_WARM_UP, elapsed};
use crate::policy::{Capacity, Controller, Gains, MetricKind, Risk};

/// Above this share of full utilization, demand can't be seen any more.
const SATURATION: f64 = 0.95;
/// What is tried then, relative to what is requested.
const PROBE: f64 = 1.5;
/// The load that the target of a total metric is taken for, since nobody knows what an instance could carry at most.
const LOAD_AT_TOTAL: f64 = 0.6;

/// What the metric that asks for most asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Instances, before rounding.
    pub capacity: f64,
    /// How much of it may be noise, as a share.
    pub scatter: f64,
}

/// The capacity that the metrics ask for, and the same before rounding; `here` when none is valid.
pub(super) fn recommend(
    view: &View,
    state: &mut ControllerState,
    signals: &Signals,
    say: &mut Say,
    here: Capacity,
) -> (Capacity, Asked) {
    let mut winner: Option<(Capacity, Asked, Reason)> = None;
    for signal in &signals.valid {
        let (recommendation, scatter, reason) = recommend_one(view, state, signals, signal);
        let (rounded, asked) = (recommendation.rounded, Asked { capacity: recommendation.capacity, scatter });
        let exceeds = |most: &Capacity, other: &Asked| (rounded, asked.capacity) > (*most, other.capacity);
        if winner.as_ref().is_none_or(|(most, other, _)| exceeds(most, other)) {
            winner = Some((rounded, asked, reason));
        }
        say.evaluation.recommendations.push(recommendation);
    }
    let kept = Asked { capacity: here.as_f64(), scatter: 0.0 };
    let (rounded, asked, reason) = winner.unwrap_or((here, kept, Reason::NoValidMetric));
    say.that(reason);
    (rounded, asked)
}

fn recommend_one(
    view: &View,
    state: &mut ControllerState,
    signals: &Signals,
    signal: &Signal,
) -> (Recommendation, f64, Reason) {
    let probe = probe(view, state, signal);
    let scatter = scatter(view, state, signal);
    let (asked, ceiling) = ask(view, state, signals, signal);
    // Rounded before the larger is taken: `max` would hide a number that is none.
    let rounded = Capacity::ceil(asked).unwrap_or(view.group.desired).max(probe.unwrap_or_default());
    let capacity = asked.max(probe.map_or(0.0, Capacity::as_f64));
    let metric = signal.metric.name.clone();
    let (value, target) = (signal.value, signal.metric.target);
    let reason = match probe {
        Some(probe) if probe.as_f64() >= asked => {
            Reason::Saturated { metric: metric.clone(), value, capacity: rounded }
        }
        _ => Reason::Recommended { metric: metric.clone(), value, target, capacity: rounded },
    };
    (Recommendation { metric, value, target, demand: signal.demand, ceiling, capacity, rounded }, scatter, reason)
}

fn controller_of<'a>(view: &View<'a>, signal: &Signal<'a>) -> &'a Controller {
    signal.metric.controller.as_ref().unwrap_or(&view.policy.controller)
}

/// How much of what a metric asks for may be noise. A band of the owner's is meant as it stands, and the margin of `risk`
/// covers noise already, up to its own rarest half.
fn scatter(view: &View, state: &mut ControllerState, signal: &Signal) -> f64 {
    let (Some(demand), Some(memory)) = (signal.demand, state.metrics.get_mut(signal.index)) else { return 0.0 };
    let scatter = memory.scatter.see(demand, view.now);
    match controller_of(view, signal) {
        Controller::Pid(_) => scatter,
        Controller::Risk(_) => scatter / 2.0,
        Controller::Step(_) => 0.0,
    }
}

/// The capacity that one metric asks for, before rounding, and the learned load at which a latency meets its target.
fn ask(view: &View, state: &mut ControllerState, signals: &Signals, signal: &Signal) -> (f64, Option<f64>) {
    let desired = view.group.desired;
    let controller = controller_of(view, signal);
    let Some(memory) = state.metrics.get_mut(signal.index) else { return (desired.as_f64(), None) };
    if let Controller::Step(bands) = controller {
        return (step::ask(bands, signal.ratio, view.group), None);
    }
    if let Some(demand) = signal.demand {
        return (by_demand(view, memory, controller, demand, signal.ratio), None);
    }
    let inverted = invert(view, memory, signals, signal);
    let by_demand = inverted.map(|(demand, _)| by_demand(view, memory, controller, demand, signal.ratio));
    let around = Surroundings { desired, warm: view.group.warm, by_demand };
    let asked = latency::ask(signal.value, signal.metric.target, around);
    (asked, inverted.map(|(_, ceiling)| ceiling))
}

fn by_demand(view: &View, memory: &mut MetricState, controller: &Controller, demand: f64, ratio: f64) -> f64 {
    let desired = view.group.desired;
    match controller {
        Controller::Pid(Gains { kp, ki, kd }) => {
            let kd = kd.unwrap_or(view.boot_time.as_secs_f64() / 2.0);
            let limits = Limits { min: view.bounds.min, max: view.bounds.max };
            pid::ask(Law { kp: *kp, ki: *ki, kd }, limits, &mut memory.pid, demand, desired, view.now)
        }
        Controller::Risk(Risk { share }) => {
            let warm_up = view.policy.warm_up.unwrap_or(DEFAULT_WARM_UP);
            let terms = Terms { share: *share, boot_time: view.boot_time, warm_up, interval: view.policy.interval };
            let need = risk::need(&terms, &mut memory.risk, demand, ratio > 1.0, view.now);
            // More only where noise does not explain it; less as it comes, since tolerance judges that.
            let short = Capacity::ceil(need.loose).is_none_or(|least| least > desired);
            if short { need.strict } else { need.strict.min(desired.as_f64()) }
        }
        Controller::Step(_) => demand,
    }
}

/// The demand that would put the latency of `signal` at its target, and the load at which that is.
fn invert(view: &View, memory: &mut MetricState, signals: &Signals, signal: &Signal) -> Option<(f64, f64)> {
    let of_load = signals.of_load()?;
    let full = of_load.metric.full_scale();
    let (load, at_target) = match of_load.metric.kind {
        MetricKind::Total => (of_load.ratio * LOAD_AT_TOTAL, LOAD_AT_TOTAL),
        _ => (of_load.value / full, of_load.metric.target / full),
    };
    let load = load.min(1.0);
    let target = signal.metric.target;
    let curve = memory.curve.get_or_insert_with(|| Box::new(Curve::new(load, signal.value, target, view.now)));
    let ceiling = curve.ceiling(load, signal.value, target, view.now);
    Some((of_load.demand? * at_target / ceiling, ceiling))
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
