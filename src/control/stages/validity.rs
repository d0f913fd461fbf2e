//! Which metrics have a number to decide with.

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
}

/// The metrics of one evaluation.
pub(super) struct Signals<'a> {
    pub valid: ArrayVec<Signal<'a>, MAX_METRICS>,
    pub all_valid: bool,
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
    let value = match measurement {
        Measurement::Value { value, .. } if value.is_finite() => value,
        Measurement::Value { .. } => {
            return Err(Reason::MetricInvalid { metric: metric.name.clone(), measurement: Measurement::NotFinite });
        }
        _ => return Err(Reason::MetricInvalid { metric: metric.name.clone(), measurement }),
    };
    if value < 0.0 {
        return Err(Reason::MetricNegative { metric: metric.name.clone(), value });
    }
    let relative = value / metric.target;
    let serving = view.group.serving();
    let (demand, ratio) = match metric.kind {
        MetricKind::Latency => (None, relative),
        MetricKind::Utilization if serving == Capacity::ZERO => {
            return Err(Reason::NothingServes { metric: metric.name.clone() });
        }
        // The average is over all in service. Towards more, those that still warm up count in full, since they serve;
        // towards less they do not, until they have shown what they carry.
        MetricKind::Utilization if relative > 1.0 => (Some(relative * view.group.in_service.as_f64()), relative),
        MetricKind::Utilization => (Some(relative * serving.as_f64()), relative),
        MetricKind::Total => (Some(relative), relative / serving.as_f64().max(1.0)),
    };
    if !ratio.is_finite() || !demand.is_none_or(f64::is_finite) {
        return Err(Reason::MetricInvalid { metric: metric.name.clone(), measurement: Measurement::NotFinite });
    }
    Ok(Signal { metric, index, value, demand, ratio })
}
