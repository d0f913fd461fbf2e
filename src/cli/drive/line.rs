//! One line: what a simulator has measured, and its group.

use std::borrow::Cow;

use arrayvec::ArrayVec;
use jiff::Timestamp;

use super::object::{COUNT, FLAG, Fault, MEASURED, Object, READING, SECONDS, object};
use crate::observation::{GroupStatus, Measurement, Override, Rivals, Suspended};
use crate::policy::{Capacity, HoldSignal, MAX_METRICS, MAX_SIGNALS, Metric, Policy};

/// What a line says.
pub(super) struct Line {
    pub at: Timestamp,
    /// In the order of the policy's metrics.
    pub measurements: ArrayVec<Measurement, MAX_METRICS>,
    /// In the order of the policy's signals.
    pub signals: ArrayVec<Measurement, MAX_SIGNALS>,
    /// What is in service counts as warm here.
    pub group: GroupStatus,
    /// How much is warm, where the line says so.
    pub warm: Option<Capacity>,
    pub ordered: Option<Override>,
}

impl Line {
    /// Reads a line that names every metric and every signal of `policy`, and nothing that is not known.
    pub fn parse(text: &str, policy: &Policy) -> Result<Self, Fault> {
        object(text, |line| {
            let at = line.need("at", &SECONDS)?;
            let measurements = line.object("metrics", |metrics| measurements(metrics, &policy.metrics))?;
            let holds = &policy.hold_scale_in_while;
            let signals = match holds[..] {
                [] => ArrayVec::new(),
                _ => line.object("signals", |given| signals(given, holds))?,
            };
            let (group, warm) = line.object("group", group)?;
            let ordered = line.may_object("override", ordered)?;
            Ok(Self { at, measurements, signals, group, warm, ordered })
        })
    }
}

fn measurements<'a>(
    given: &mut Object<'a>,
    metrics: &'a [Metric],
) -> Result<ArrayVec<Measurement, MAX_METRICS>, Fault> {
    metrics.iter().take(MAX_METRICS).map(|metric| measured(given, &metric.name)).collect()
}

fn signals<'a>(given: &mut Object<'a>, signals: &'a [HoldSignal]) -> Result<ArrayVec<Measurement, MAX_SIGNALS>, Fault> {
    signals.iter().take(MAX_SIGNALS).map(|signal| measured(given, &signal.name)).collect()
}

fn measured<'a>(given: &mut Object<'a>, name: &'a str) -> Result<Measurement, Fault> {
    let text = given.value(name, MEASURED.expected)?;
    measurement(text).map_err(|fault| fault.within(name))
}

fn measurement(text: &str) -> Result<Measurement, Fault> {
    if !text.starts_with('{') {
        return Ok(MEASURED.of(text)?.map_or(Measurement::NoData, |value| Measurement::of(value, None)));
    }
    object(text, |instances| average(instances.drain()))
}

/// One value an instance; those without one do not count.
fn average<'a>(instances: impl Iterator<Item = (Cow<'a, str>, &'a str)>) -> Result<Measurement, Fault> {
    let (mut sum, mut reporting) = (0.0, 0_u32);
    for (name, text) in instances {
        if let Some(value) = READING.of(text).map_err(|fault| fault.within(&name))? {
            sum += value;
            reporting += 1;
        }
    }
    let mean = sum / f64::from(reporting);
    Ok(match reporting {
        0 => Measurement::NoData,
        _ if !mean.is_finite() => Measurement::NotFinite,
        _ => Measurement::Instances { mean, reporting, age: None },
    })
}

fn group(group: &mut Object) -> Result<(GroupStatus, Option<Capacity>), Fault> {
    let in_service = group.need("in_service", &COUNT)?;
    let status = GroupStatus {
        desired: group.need("desired", &COUNT)?,
        min: group.need("min", &COUNT)?,
        max: group.need("max", &COUNT)?,
        in_service,
        warm: in_service,
        pending: group.need("pending", &COUNT)?,
        healthy: group.may("healthy", &COUNT)?.unwrap_or(in_service),
        suspended: Suspended::default(),
        refreshing: group.may("refreshing", &FLAG)?.unwrap_or(false),
        launch_failure: None,
        rivals: Rivals::None,
    };
    Ok((status, group.may("warm", &COUNT)?))
}

fn ordered(order: &mut Object) -> Result<Override, Fault> {
    Ok(Override {
        floor: order.may("floor", &COUNT)?,
        cap: order.may("cap", &COUNT)?,
        until: order.need("until", &SECONDS)?,
    })
}
