//! Which metrics have a number to decide with, and what it says about demand.

use arrayvec::ArrayVec;

use super::{Say, View};
use crate::control::reason::Reason;
use crate::observation::Measurement;
use crate::policy::{Capacity, Controller, MAX_METRICS, Metric, MetricKind, Policy};

/// Below zero by no more than this share of the target counts as zero; more is no rounding.
const ROUNDED_BELOW_ZERO: f64 = 0.001;

/// Share of its work that an instance carries while it warms up, as the reference plant's do on average.
const WARMING_ABOVE: f64 = 0.8;
/// The same below target, where what they are not seen to carry yet should not keep others.
const WARMING_BELOW: f64 = 0.5;

/// A valid measurement of one metric.
pub(super) struct Signal<'a> {
    pub metric: &'a Metric,
    /// Its place in the policy.
    pub index: usize,
    /// Finite and not negative.
    pub value: f64,
    /// Load in instances' worth of work at target; `None` for latency.
    pub demand: Option<f64>,
    /// The value over the target, each for one instance; above 1 the target is missed.
    pub ratio: f64,
    /// How many instances reported, where each of them does.
    pub reporting: Option<Capacity>,
}

impl<'a> Signal<'a> {
    /// The controller that goes by it: its metric's own, else that of `policy`.
    pub(super) fn law(&self, policy: &'a Policy) -> &'a Controller {
        self.metric.controller.as_ref().unwrap_or(&policy.controller)
    }
}

/// The metrics of one evaluation.
pub(super) struct Signals<'a> {
    pub valid: ArrayVec<Signal<'a>, MAX_METRICS>,
    pub all_valid: bool,
}

impl<'a> Signals<'a> {
    /// The signal that tells the load of `policy`: of its first utilization, else of its first total, and always of the
    /// same one, so that what is learned from it is of one kind. `None` while that is not valid.
    pub(super) fn of_load(&self, policy: &Policy) -> Option<&Signal<'a>> {
        let first = |kind| policy.metrics.iter().position(|metric| metric.kind == kind);
        let index = first(MetricKind::Utilization).or_else(|| first(MetricKind::Total))?;
        self.valid.iter().find(|signal| signal.index == index)
    }
}

/// Sorts the measurements; every invalid one is stated.
pub(super) fn judge<'a>(view: &View<'a>, say: &mut Say) -> Signals<'a> {
    let mut valid = ArrayVec::new();
    for (index, metric) in view.policy.metrics.iter().enumerate().take(MAX_METRICS) {
        let measurement = view.seen.measurements.get(index).copied().unwrap_or(Measurement::NoData);
        match signal(view, metric, index, measurement) {
            Ok(signal) => valid.push(signal),
            Err(reason) => say.that(reason),
        }
    }
    let all_valid = !valid.is_empty() && valid.len() == view.policy.metrics.len();
    Signals { valid, all_valid }
}

fn signal<'a>(
    view: &View<'a>,
    metric: &'a Metric,
    index: usize,
    measurement: Measurement,
) -> Result<Signal<'a>, Reason> {
    let name = &metric.name;
    let invalid = |measurement| Reason::MetricInvalid { metric: name.clone(), measurement };
    let (value, reporting) = match measurement {
        Measurement::Value { value, .. } => (value, None),
        Measurement::Instances { mean, reporting, .. } if metric.kind == MetricKind::Total => {
            (mean * f64::from(reporting), Some(Capacity::new(reporting)))
        }
        Measurement::Instances { mean, reporting, .. } => (mean, Some(Capacity::new(reporting))),
        _ => return Err(invalid(measurement)),
    };
    if !value.is_finite() {
        return Err(invalid(Measurement::NotFinite));
    }
    // A rate that is extrapolated over a whole interval may exceed it by a little, and one minus that is below zero.
    if value < -ROUNDED_BELOW_ZERO * metric.target {
        return Err(Reason::MetricNegative { metric: name.clone(), value });
    }
    let value = value.max(0.0);
    let relative = value / metric.target;
    let in_service = view.group.in_service;
    let missing = reporting.map_or(Capacity::ZERO, |reporting| in_service.minus(reporting));
    let (demand, ratio) = match metric.kind {
        MetricKind::Latency => (None, relative),
        MetricKind::Utilization if in_service == Capacity::ZERO => {
            return Err(Reason::NothingServes { metric: name.clone() });
        }
        MetricKind::Utilization => {
            // As many as are averaged over, be they of the group or not: their sum is the work.
            let averaged = reporting.unwrap_or(in_service);
            // An average over the group was measured before these had come; a report of their own was not.
            let unseen = if reporting.is_some() { Capacity::ZERO } else { view.arrived };
            let carried = relative * (averaged.as_f64() - lacking(view, relative, averaged, unseen));
            (Some(completed(carried, missing, in_service)), relative)
        }
        MetricKind::Total => {
            // What is missing may be as busy as what reported: the load of one is that of one of those.
            let serving = view.group.serving().min(reporting.unwrap_or(Capacity::MAX)).as_f64();
            (Some(completed(relative, missing, in_service)), relative / serving.max(1.0))
        }
    };
    if !ratio.is_finite() || !demand.is_none_or(f64::is_finite) {
        return Err(invalid(Measurement::NotFinite));
    }
    Ok(Signal { metric, index, value, demand, ratio, reporting })
}

/// What those that warm up lack of a full share, in instances. They count for less where that is the careful guess: what
/// the fleet may lose is judged by half of what they are, what it needs by most of it; those of them that are `unseen` in
/// what was measured are no part of it at all. Of fewer instances than serve, those that are `averaged` over are taken for
/// the warm ones, so that they are never worth less than they were seen to carry.
fn lacking(view: &View, relative: f64, averaged: Capacity, unseen: Capacity) -> f64 {
    let warming = view.group.in_service.min(averaged).minus(view.group.serving());
    let seen = warming.minus(unseen);
    let carry = if relative > 1.0 { WARMING_ABOVE } else { WARMING_BELOW };
    warming.as_f64() - seen.as_f64() * carry
}

/// The demand of a fleet of which `missing` instances have not reported: towards more they carry nothing, towards less
/// they are at target, and they never turn the one into the other.
fn completed(reported: f64, missing: Capacity, in_service: Capacity) -> f64 {
    if missing == Capacity::ZERO || reported >= in_service.as_f64() {
        reported
    } else {
        (reported + missing.as_f64()).min(in_service.as_f64())
    }
}
