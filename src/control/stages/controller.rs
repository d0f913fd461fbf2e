//! One recommendation for each valid metric; the highest wins.

use super::validity::{Signal, Signals};
use super::{Say, View};
use crate::control::brake::{self, Limit};
use crate::control::curve::Curve;
use crate::control::evaluation::{Recommendation, Terms};
use crate::control::latency::{self, Surroundings};
use crate::control::pid::{self, Law, Limits};
use crate::control::reason::Reason;
use crate::control::risk::{self, Load};
use crate::control::state::{ControllerState, MetricState, PROBE_REST};
use crate::control::step;
use crate::observation::DEFAULT_WARM_UP;
use crate::policy::{Capacity, Controller, Gains, MetricKind, Mode, Risk};

/// Above this share of full utilization, demand can't be seen any more.
const SATURATION: f64 = 0.95;
/// What is tried then, relative to what is requested.
const PROBE: f64 = 1.5;
/// Noise of a metric, in standard deviations, that buys no instance.
const NOISE_OUT: f64 = 2.0;
/// What must stay in hand after a scale-in, in standard deviations of the noise, so that noise does not buy it back.
const NOISE_IN: f64 = 3.0;
/// Share of the noise that the margin of `risk` does not cover already.
const NOISE_BESIDE_MARGIN: f64 = 0.5;
/// The load that the target of a total metric is taken for, since nobody knows what an instance could carry at most.
const LOAD_AT_TOTAL: f64 = 0.6;

/// What all metrics together ask for, in instances before rounding.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// The most that one asks for.
    pub capacity: f64,
    /// The most that one asks for beyond its own noise; less than this is not noise.
    pub firm: f64,
    /// The most that one asks for with its own noise in hand; with less than this, noise would buy it back.
    pub held: f64,
}

impl Asked {
    /// A number that is no measurement, and so has no noise.
    fn exactly(capacity: f64) -> Self {
        Self { capacity, firm: capacity, held: capacity }
    }

    fn and(self, other: Self) -> Self {
        let Self { capacity, firm, held } = self;
        Self { capacity: capacity.max(other.capacity), firm: firm.max(other.firm), held: held.max(other.held) }
    }
}

/// The capacity that the metrics ask for, and the same before rounding; `here` when none is valid.
pub(super) fn recommend(
    view: &View,
    state: &mut ControllerState,
    signals: &Signals,
    say: &mut Say,
    here: Capacity,
) -> (Capacity, Asked) {
    let mut winner: Option<(Capacity, Reason)> = None;
    let mut all: Option<Asked> = None;
    for signal in &signals.valid {
        let (recommendation, asked, reason) = recommend_one(view, state, signals, signal);
        all = Some(all.map_or(asked, |all| all.and(asked)));
        if winner.as_ref().is_none_or(|(most, _)| recommendation.rounded > *most) {
            winner = Some((recommendation.rounded, reason));
        }
        say.evaluation.recommendations.push(recommendation);
    }
    let (rounded, reason) = winner.unwrap_or((here, Reason::NoValidMetric));
    say.that(reason);
    (rounded, all.unwrap_or(Asked::exactly(here.as_f64())))
}

fn recommend_one(
    view: &View,
    state: &mut ControllerState,
    signals: &Signals,
    signal: &Signal,
) -> (Recommendation, Asked, Reason) {
    let probe = probe(view, state, signal);
    let limit = brake(view, state, signals, signal);
    let Ask { instances, scatter, ceiling, margin, terms } = ask(view, state, signals, signal);
    let braked = limit.filter(|limit| Capacity::ceil(instances).is_none_or(|asked| asked > limit.most));
    let asked = braked.map_or(instances, |limit| limit.most.as_f64());
    // Rounded before the larger is taken: `max` would hide a number that is none.
    let rounded = Capacity::ceil(asked).unwrap_or(view.group.desired).max(probe.unwrap_or_default());
    let capacity = asked.max(probe.map_or(0.0, Capacity::as_f64));
    let metric = signal.metric.name.clone();
    let (value, target) = (signal.value, signal.metric.target);
    let reason = match (probe, braked) {
        (Some(probe), _) if probe.as_f64() >= asked => {
            Reason::Saturated { metric: metric.clone(), value, capacity: rounded }
        }
        (_, Some(Limit { most, since, from, rest })) => {
            let to = view.group.serving();
            Reason::ScaleOutNotHelping { metric: metric.clone(), since, from, to, allowed: most, rest }
        }
        _ => Reason::Recommended { metric: metric.clone(), value, target, capacity: rounded },
    };
    let probed = Asked::exactly(probe.map_or(0.0, Capacity::as_f64));
    let noisy =
        Asked { capacity: asked, firm: asked / (1.0 + NOISE_OUT * scatter), held: asked * (1.0 + NOISE_IN * scatter) };
    let recommendation =
        Recommendation { metric, value, target, demand: signal.demand, ceiling, margin, terms, capacity, rounded };
    (recommendation, noisy.and(probed), reason)
}

/// What one metric asks for.
struct Ask {
    /// Before rounding.
    instances: f64,
    /// How much of it may be noise, as a share.
    scatter: f64,
    /// Of a latency: the learned load at which it meets its target.
    ceiling: Option<f64>,
    /// Of `risk`: what is kept in hand.
    margin: Option<f64>,
    /// Of `pid`: its parts.
    terms: Option<Terms>,
}

fn ask(view: &View, state: &mut ControllerState, signals: &Signals, signal: &Signal) -> Ask {
    let Some(memory) = state.metrics.get_mut(signal.index) else { return plain(view.group.desired.as_f64()) };
    let controller = signal.law(view.policy);
    match (controller, signal.demand) {
        (Controller::Pid(_) | Controller::Risk(_), None) => by_latency(view, memory, signals, signal, controller),
        // Bands look at the ratio alone.
        (controller, demand) => by_law(view, memory, controller, demand.unwrap_or_default(), signal),
    }
}

fn by_law(view: &View, memory: &mut MetricState, controller: &Controller, demand: f64, signal: &Signal) -> Ask {
    match controller {
        // A band of the owner's is meant as it stands.
        Controller::Step(bands) => plain(step::ask(bands, signal.ratio, view.group)),
        Controller::Pid(gains) => by_gains(view, memory, *gains, demand),
        Controller::Risk(risk) => by_risk(view, memory, *risk, demand, signal),
    }
}

/// So many instances, and nothing else to say.
fn plain(instances: f64) -> Ask {
    Ask { instances, scatter: 0.0, ceiling: None, margin: None, terms: None }
}

fn by_gains(view: &View, memory: &mut MetricState, gains: Gains, demand: f64) -> Ask {
    let scatter = memory.scatter.see(demand, view.now);
    let kd = gains.kd.unwrap_or(view.boot_time.as_secs_f64() / 2.0);
    let limits = Limits { min: view.bounds.min, max: view.bounds.max };
    let law = Law { kp: gains.kp, ki: gains.ki, kd };
    let warming = view.group.warm < view.group.in_service || view.arrived > Capacity::ZERO;
    let group = pid::Group { desired: view.group.desired, warming };
    let (instances, terms) = pid::ask(law, limits, &mut memory.pid, demand, group, view.now);
    // A swing of the gains takes nothing that demand needs, or the next evaluation buys it back, for ever.
    let needed = demand.min(view.group.desired.as_f64());
    Ask { scatter, terms: Some(terms), ..plain(instances.max(needed)) }
}

/// Keeps the share of time in which `demand` exceeds what serves it.
fn by_risk(view: &View, memory: &mut MetricState, risk: Risk, demand: f64, signal: &Signal) -> Ask {
    let desired = view.group.desired;
    let warm_up = view.policy.warm_up.unwrap_or(DEFAULT_WARM_UP);
    let terms = risk::Terms { share: risk.share, boot_time: view.boot_time, warm_up, interval: view.policy.interval };
    // What was missed while Setpoint was not free to act says nothing about its margin.
    let most = view.affordable.map_or(view.bounds.max, |affordable| affordable.most.min(view.bounds.max));
    let acts = view.policy.mode != Mode::Observe && view.policy.mode != Mode::Paused;
    let braked = memory.brake.as_ref().is_some_and(|brake| brake.holds());
    let free = acts && desired < most && !braked;
    let load = Load { demand, over: signal.ratio > 1.0, free, desired };
    let need = risk::need(&terms, &mut memory.risk, load, view.now);
    // More only where noise does not explain it; less as it comes, since tolerance judges that.
    let short = Capacity::ceil(need.loose).is_none_or(|least| least > desired);
    let instances = if short { need.strict } else { need.strict.min(desired.as_f64()) };
    let scatter = NOISE_BESIDE_MARGIN * memory.scatter.see(demand, view.now);
    Ask { scatter, margin: Some(need.margin), ..plain(instances) }
}

/// Keeps the load that a latency was seen to bear, where a metric tells the load: `pid` as its target, `risk` as its
/// ceiling.
fn by_latency(
    view: &View,
    memory: &mut MetricState,
    signals: &Signals,
    signal: &Signal,
    controller: &Controller,
) -> Ask {
    let by_load = invert(view, memory, signals, signal)
        .map(|(demand, ceiling)| Ask { ceiling: Some(ceiling), ..by_law(view, memory, controller, demand, signal) });
    let by_demand = by_load.as_ref().map(|ask| ask.instances);
    let around = Surroundings { desired: view.group.desired, warm: view.group.serving(), by_demand };
    let instances = latency::ask(signal.value, signal.metric.target, around);
    Ask { instances, ..by_load.unwrap_or(plain(instances)) }
}

/// The demand that would put the latency of `signal` at its target, and the load at which that is.
fn invert(view: &View, memory: &mut MetricState, signals: &Signals, signal: &Signal) -> Option<(f64, f64)> {
    let of_load = signals.of_load(view.policy)?;
    let full = of_load.metric.full_scale();
    let (load, at_target) = match of_load.metric.kind {
        MetricKind::Total => (of_load.ratio * LOAD_AT_TOTAL, LOAD_AT_TOTAL),
        _ => (of_load.value / full, of_load.metric.target / full),
    };
    let load = load.min(1.0);
    let target = signal.metric.target;
    let curve =
        memory.curve.get_or_insert_with(|| Box::new(Curve::new(load.max(at_target), signal.value, target, view.now)));
    if memory.brake.as_ref().is_some_and(|brake| brake.holds()) {
        curve.disown(target);
    } else {
        curve.learn(load, signal.value, target);
    }
    let ceiling = curve.ceiling(target, view.now);
    Some((of_load.demand? * at_target / ceiling, ceiling))
}

/// The most that a latency may ask for, where more was shown not to help it.
fn brake(view: &View, state: &mut ControllerState, signals: &Signals, signal: &Signal) -> Option<Limit> {
    let rules = view.policy.brake.filter(|_| signal.metric.kind == MetricKind::Latency)?;
    let memory = state.metrics.get_mut(signal.index)?;
    let load = signals.of_load(view.policy).map(|load| load.ratio);
    let (serving, desired) = (view.group.serving(), view.group.desired);
    let warm_up = view.policy.warm_up.unwrap_or(DEFAULT_WARM_UP);
    let turn = brake::turn(view.boot_time, warm_up, view.policy.interval);
    let memory = memory.brake.get_or_insert_default();
    memory.limit(rules.factor, turn, brake::Seen { ratio: signal.ratio, load, serving, desired }, view.now)
}

/// What to try while a utilization is saturated: more than is requested, unless the last try is still fresh.
fn probe(view: &View, state: &ControllerState, signal: &Signal) -> Option<Capacity> {
    let saturated =
        signal.metric.kind == MetricKind::Utilization && signal.value >= SATURATION * signal.metric.full_scale();
    if !saturated {
        return None;
    }
    let rest = match signal.law(view.policy) {
        // Its margin is a try already, and until that has come nobody can tell whether it was enough.
        Controller::Risk(_) => view.boot_time.max(PROBE_REST),
        Controller::Pid(_) | Controller::Step(_) => PROBE_REST,
    };
    let desired = view.group.desired;
    // Small orders are no try of their own, and postpone none: together they are one where they come to as much.
    let before = state.capacity_before(desired, rest, view.now).min(desired);
    let tried = Capacity::ceil(before.as_f64() * PROBE)?.max(desired);
    // Just started, nobody knows what was tried last; a daemon that restarts again and again must not ratchet up. And what
    // has just come had no part in what was measured.
    let waits = state.live_for(view.now) < rest || view.arrived > Capacity::ZERO;
    Some(if waits { desired } else { tried })
}
