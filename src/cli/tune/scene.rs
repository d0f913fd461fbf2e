//! The plant and the workload that a policy is tuned on.

use std::fs;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;

use super::Options;
use crate::observation::DEFAULT_WARM_UP;
use crate::policy::{DEFAULT_BOOT_TIME, MetricKind, Policy};
use crate::simulation::generator::Generator;
use crate::simulation::queue::{INSTANCE_RATE, OBJECTIVE, Service, WORKERS};
use crate::simulation::reference::{Boot, STEP, Settings};
use crate::simulation::trace::{Demand, Trace};
use crate::tuning::Task;

/// Load of an instance whose `total` is at its target, as a share of full.
const USUAL_LOAD: f64 = 0.7;

/// The share of the policy's maximum that the peak needs, where nothing else is said: busy, and not beyond reach.
const USUAL_PEAK: f64 = 0.8;

/// A Monday, so that schedules have a week to work in.
const MONDAY: &str = "2026-03-02T00:00:00Z";

/// What to search, as the command line says.
pub(super) fn task(policy: &Policy, options: &Options) -> anyhow::Result<Task> {
    let settings = settings(policy)?;
    let peak = options.peak.map_or(USUAL_PEAK * settings.max.as_f64(), f64::from);
    let demand = demand(options, peak * settings.bearable())?;
    let candidates = usize::try_from(options.candidates)?;
    Ok(Task { settings, demand, slo: options.slo, candidates, seed: options.seed })
}

/// The plant that the policy would steer, as far as it tells.
fn settings(policy: &Policy) -> anyhow::Result<Settings> {
    let of = |kind| policy.metrics.iter().find(move |metric| metric.kind == kind);
    let rate = of(MetricKind::Total).map_or(INSTANCE_RATE, |metric| metric.target / USUAL_LOAD);
    let objective = of(MetricKind::Latency).map_or(OBJECTIVE, |metric| metric.target);
    let Some(service) = Service::new(rate, WORKERS, objective) else {
        bail!("no instance that bears {rate} requests per second could keep {objective} s, expected a longer target");
    };
    let max = policy.schedules.iter().filter_map(|schedule| schedule.max).max().unwrap_or_default().max(policy.max);
    let boot = Boot::Constant(policy.boot_time.unwrap_or(DEFAULT_BOOT_TIME));
    let warm_up = policy.warm_up.unwrap_or(DEFAULT_WARM_UP);
    // The plant goes in steps.
    let steps = policy.interval.as_millis().div_ceil(STEP.as_millis()).max(1);
    let interval = STEP * u32::try_from(steps)?;
    let start: Timestamp = MONDAY.parse()?;
    Ok(Settings {
        start,
        boot,
        warm_up,
        interval,
        resolution: interval,
        service,
        ..Settings::reference(policy.min, max)
    })
}

/// The workload with a peak of `rate` requests per second.
fn demand(options: &Options, rate: f64) -> anyhow::Result<Demand> {
    let Options { workload, seed, days, .. } = options;
    if let Some(generator) = Generator::ALL.into_iter().find(|generator| generator.name() == workload) {
        let duration = Duration::from_hours(24) * *days;
        return Ok(scaled(rate, |base| generator.demand(base, duration, *seed)));
    }
    let names = Generator::ALL.map(Generator::name).join(", ");
    let text = fs::read_to_string(workload)
        .with_context(|| format!("{workload} is neither a file that can be read nor one of: {names}"))?;
    let trace = Trace::read(&text).with_context(|| format!("{workload} is no workload"))?;
    // The mean that keeps an instance at its ceiling; what that is here does not matter.
    Ok(scaled(rate, |mean| trace.clone().scaled_to(mean).demand(*seed)))
}

/// What `draw` gives for the base at which its highest rate is `peak`.
fn scaled(peak: f64, draw: impl Fn(f64) -> Demand) -> Demand {
    // Large, so that the noise of single arrivals does not count.
    const BASE: f64 = 1000.0;
    let highest = draw(BASE).expected.into_iter().fold(0.0, f64::max);
    draw(BASE * peak / highest.max(f64::MIN_POSITIVE))
}
