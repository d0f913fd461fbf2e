//! One recommendation for each valid metric; the highest wins.

use super::validity::{Signal, Signals};
use super::{Say, View};
use crate::control::curve::Curve;
use crate::control::evaluation::Recommendation;
use crate::control::latency::{self, Surroundings};
use crate::control::pid::{self, Law, Limits};
use crate::control::reason::{Direction, Reason};
use crate::control::risk::{self, Load, Terms};
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
    let Ask { instances: asked, scatter, ceiling } = ask(view, state, signals, signal);
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

/// What one metric asks for.
struct Ask {
    /// Before rounding.
    instances: f64,
    /// How much of it may be noise, as a share.
    scatter: f64,
    /// Of a latency: the learned load at which it meets its target.
    ceiling: Option<f64>,
}

fn ask(view: &View, state: &mut ControllerState, signals: &Signals, signal: &Signal) -> Ask {
    let plain = |instances| Ask { instances, scatter: 0.0, ceiling: None };
    let Some(memory) = state.metrics.get_mut(signal.index) else { return plain(view.group.desired.as_f64()) };
    match signal.metric.controller.as_ref().unwrap_or(&view.policy.controller) {
        // A band of the owner's is meant as it stands.
        Controller::Step(bands) => plain(step::ask(bands, signal.ratio, view.group)),
        Controller::Pid(gains) if let Some(demand) = signal.demand => {
            let scatter = memory.scatter.see(demand, view.now);
            Ask { scatter, ..plain(by_gains(view, memory, *gains, demand)) }
        }
        Controller::Risk(risk) if let Some(demand) = signal.demand => by_risk(view, memory, *risk, demand, signal),
        Controller::Pid(_) => by_latency(view, memory, signals, signal, Risk::default()),
        Controller::Risk(risk) => by_latency(view, memory, signals, signal, *risk),
    }
}

fn by_gains(view: &View, memory: &mut MetricState, gains: Gains, demand: f64) -> f64 {
    let kd = gains.kd.unwrap_or(view.boot_time.as_secs_f64() / 2.0);
    let limits = Limits { min: view.bounds.min, max: view.bounds.max };
    let law = Law { kp: gains.kp, ki: gains.ki, kd };
    pid::ask(law, limits, &mut memory.pid, demand, view.group.desired, view.now)
}

/// Keeps the share of time in which `demand` exceeds what serves it.
fn by_risk(view: &View, memory: &mut MetricState, risk: Risk, demand: f64, signal: &Signal) -> Ask {
    let desired = view.group.desired;
    let warm_up = view.policy.warm_up.unwrap_or(DEFAULT_WARM_UP);
    let terms = Terms { share: risk.share, boot_time: view.boot_time, warm_up, interval: view.policy.interval };
    let need = risk::need(&terms, &mut memory.risk, Load { demand, over: signal.ratio > 1.0, desired }, view.now);
    // More only where noise does not explain it; less as it comes, since tolerance judges that.
    let short = Capacity::ceil(need.loose).is_none_or(|least| least > desired);
    let instances = if short { need.strict } else { need.strict.min(desired.as_f64()) };
    // The margin covers noise already, up to its own rarest half.
    Ask { instances, scatter: memory.scatter.see(demand, view.now) / 2.0, ceiling: None }
}

/// Keeps the load that a latency was seen to bear, where a metric tells the load; that load is a ceiling, so `risk` is the
/// law, whatever rules the other metrics.
fn by_latency(view: &View, memory: &mut MetricState, signals: &Signals, signal: &Signal, risk: Risk) -> Ask {
    let by_load = invert(view, memory, signals, signal)
        .map(|(demand, ceiling)| Ask { ceiling: Some(ceiling), ..by_risk(view, memory, risk, demand, signal) });
    let by_demand = by_load.as_ref().map(|ask| ask.instances);
    let around = Surroundings { desired: view.group.desired, warm: view.group.warm, by_demand };
    let instances = latency::ask(signal.value, signal.metric.target, around);
    match by_load {
        Some(by_load) => Ask { instances, ..by_load },
        None => Ask { instances, scatter: 0.0, ceiling: None },
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
