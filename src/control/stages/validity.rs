//! Which metrics have a number to decide with, and what it says about demand.

use arrayvec::ArrayVec;

use super::{Say, View};
use crate::control::reason::Reason;
use crate::observation::Measurement;
use crate::policy::{Capacity, MAX_METRICS, Metric, MetricKind};

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

/// The metrics of one evaluation.
pub(super) struct Signals<'a> {
    pub valid: ArrayVec<Signal<'a>, MAX_METRICS>,
    pub all_valid: bool,
}

impl<'a> Signals<'a> {
    /// The signal that tells the load best: a utilization, else a total.
    pub(super) fn of_load(&self) -> Option<&Signal<'a>> {
        let of = |kind| self.valid.iter().find(move |signal| signal.metric.kind == kind);
        of(MetricKind::Utilization).or_else(|| of(MetricKind::Total))
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
    if value < 0.0 {
        return Err(Reason::MetricNegative { metric: name.clone(), value });
    }
    let relative = value / metric.target;
    let serving = view.group.serving().as_f64();
    let in_service = view.group.in_service;
    let reports = reporting.unwrap_or(in_service).min(in_service);
    let (demand, ratio) = match metric.kind {
        MetricKind::Latency => (None, relative),
        MetricKind::Utilization if in_service == Capacity::ZERO => {
            return Err(Reason::NothingServes { metric: name.clone() });
        }
        MetricKind::Utilization => {
            // The average is over all in service, but those that warm up carry from nothing to a full share: half of one.
            let warming = in_service.minus(view.group.warm).min(reports);
            let carried = relative * (reports.as_f64() - warming.as_f64() / 2.0);
            (Some(completed(carried, in_service.minus(reports), in_service)), relative)
        }
        MetricKind::Total => {
            (Some(completed(relative, in_service.minus(reports), in_service)), relative / serving.max(1.0))
        }
    };
    if !ratio.is_finite() || !demand.is_none_or(f64::is_finite) {
        return Err(invalid(Measurement::NotFinite));
    }
    Ok(Signal { metric, index, value, demand, ratio, reporting })
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
