//! The knobs of a policy that may be turned, and how far.
//!
//! Only the policy's own: how it decides. Never what its owner promises: bounds, schedules, the target of a latency, and
//! the target of `risk`, which is the ceiling, stay as they are.

use std::time::Duration;

use crate::policy::{Capacity, Controller, DEFAULT_BOOT_TIME, Gains, MetricKind, Policy, Risk, StepLimit};

/// One number of a policy. Durations are in seconds, shares and percentages as the policy has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// `target` of the metric at this place.
    Target(usize),
    /// Gain of the `pid` controller on the change of the error.
    Kp,
    /// Gain of the `pid` controller on the error.
    Ki,
    /// Lead of the `pid` controller.
    Kd,
    /// Share of time over the target of the `risk` controller.
    Risk,
    /// Dead band of scale-out.
    ToleranceOut,
    /// Dead band of scale-in.
    ToleranceIn,
    /// How long a recommendation to scale in must have stood.
    StabilizationIn,
    /// Rest after a scale event, of scale-out.
    CooldownOut,
    /// The same of scale-in.
    CooldownIn,
    /// Most instances that may be added in a period.
    StepOutCount,
    /// The same in percent.
    StepOutPercent,
    /// The same of scale-in.
    StepInPercent,
}

/// A knob and what it may be set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Which.
    pub knob: Knob,
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
    /// What it is a multiple of, so that it reads well.
    grain: f64,
    /// A step from 1 to 2 is as far as one from 10 to 20.
    logarithmic: bool,
}

/// How far a utilization may be turned, as a share of full.
const UTILIZATIONS: (f64, f64) = (0.30, 0.95);
/// How far a total may be turned, as a share of what it is now.
const TOTALS: (f64, f64) = (0.5, 2.0);

impl Range {
    const fn even(knob: Knob, low: f64, high: f64, grain: f64) -> Self {
        Self { knob, low, high, grain, logarithmic: false }
    }

    const fn by_factors(knob: Knob, low: f64, high: f64, grain: f64) -> Self {
        Self { knob, low, high, grain, logarithmic: true }
    }

    /// What lies at `place`, from 0 for the least to 1 for the most.
    pub fn at(&self, place: f64) -> f64 {
        let place = place.clamp(0.0, 1.0);
        let value = if self.logarithmic {
            self.low * (self.high / self.low).powf(place)
        } else {
            self.low + (self.high - self.low) * place
        };
        // Divided, not multiplied, where the grain has no exact binary fraction: 0.07 rather than 0.07000000000000001.
        let grains = (value / self.grain).round();
        let fine = (1.0 / self.grain).round();
        let value = if fine > 1.0 { grains / fine } else { grains * self.grain };
        value.clamp(self.low, self.high)
    }

    /// Where `value` lies, from 0 to 1.
    pub fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }
}

/// The knobs that `policy` has, each with its range.
pub fn knobs(policy: &Policy) -> Vec<Range> {
    let mut knobs = controller(policy);
    knobs.extend([
        Range::even(Knob::ToleranceOut, 0.0, 0.2, 0.01),
        Range::even(Knob::ToleranceIn, 0.0, 0.3, 0.01),
        Range::even(Knob::StabilizationIn, 0.0, 1800.0, 15.0),
        Range::even(Knob::CooldownOut, 0.0, 300.0, 15.0),
        Range::even(Knob::CooldownIn, 0.0, 1800.0, 15.0),
    ]);
    let has = |limit: Option<StepLimit>| {
        (limit.is_some_and(|l| l.count.is_some()), limit.is_some_and(|l| l.percent.is_some()))
    };
    let ((out_count, out_percent), (_, in_percent)) = (has(policy.step.out), has(policy.step.inward));
    let limits = [
        (out_count, Range::by_factors(Knob::StepOutCount, 1.0, 20.0, 1.0)),
        (out_percent, Range::by_factors(Knob::StepOutPercent, 20.0, 800.0, 10.0)),
        (in_percent, Range::by_factors(Knob::StepInPercent, 5.0, 100.0, 5.0)),
    ];
    knobs.extend(limits.into_iter().filter(|(has, _)| *has).map(|(_, range)| range));
    knobs
}

/// Those of the controller. Without `risk` a target is an operating point, and so a knob.
fn controller(policy: &Policy) -> Vec<Range> {
    if let Controller::Risk(_) = policy.controller {
        return vec![Range::by_factors(Knob::Risk, 0.0005, 0.2, 0.0005)];
    }
    let target = |(place, metric): (usize, &crate::policy::Metric)| match metric.kind {
        // The target of its own `risk` is a ceiling.
        _ if matches!(metric.controller, Some(Controller::Risk(_))) => None,
        MetricKind::Utilization => {
            let full = metric.full_scale();
            let (low, high) = (UTILIZATIONS.0 * full, UTILIZATIONS.1 * full);
            Some(Range::even(Knob::Target(place), low, high, 0.01 * full))
        }
        MetricKind::Total => {
            let grain = 10_f64.powf((metric.target / 100.0).log10().floor());
            Some(Range::even(Knob::Target(place), TOTALS.0 * metric.target, TOTALS.1 * metric.target, grain))
        }
        MetricKind::Latency => None,
    };
    let mut knobs: Vec<Range> = policy.metrics.iter().enumerate().filter_map(target).collect();
    if let Controller::Pid(_) = policy.controller {
        knobs.extend([
            Range::even(Knob::Kp, 0.0, 0.5, 0.05),
            Range::even(Knob::Ki, 0.05, 1.0, 0.05),
            Range::even(Knob::Kd, 0.0, 2.0 * boot_time(policy).as_secs_f64(), 5.0),
        ]);
    }
    knobs.retain(|range| range.low < range.high);
    knobs
}

fn boot_time(policy: &Policy) -> Duration {
    policy.boot_time.unwrap_or(DEFAULT_BOOT_TIME)
}

impl Knob {
    /// What `policy` has it set to. Zero where it has no such knob.
    pub fn of(self, policy: &Policy) -> f64 {
        let seconds = |duration: Duration| duration.as_secs_f64();
        match (self, &policy.controller) {
            (Self::Target(place), _) => policy.metrics.get(place).map_or(0.0, |metric| metric.target),
            (Self::Kp, Controller::Pid(gains)) => gains.kp,
            (Self::Ki, Controller::Pid(gains)) => gains.ki,
            (Self::Kd, Controller::Pid(gains)) => gains.kd.unwrap_or(seconds(boot_time(policy)) / 2.0),
            (Self::Risk, Controller::Risk(risk)) => risk.share,
            (Self::Kp | Self::Ki | Self::Kd | Self::Risk, _) => 0.0,
            (Self::ToleranceOut, _) => policy.tolerance.out,
            (Self::ToleranceIn, _) => policy.tolerance.inward,
            (Self::StabilizationIn, _) => seconds(policy.stabilization.inward),
            (Self::CooldownOut, _) => seconds(policy.cooldown.out),
            (Self::CooldownIn, _) => seconds(policy.cooldown.inward),
            (Self::StepOutCount, _) => policy.step.out.and_then(|limit| limit.count).map_or(0.0, Capacity::as_f64),
            (Self::StepOutPercent, _) => policy.step.out.and_then(|limit| limit.percent).unwrap_or(0.0),
            (Self::StepInPercent, _) => policy.step.inward.and_then(|limit| limit.percent).unwrap_or(0.0),
        }
    }

    /// Sets it in `policy`. Nothing happens where there is no such knob.
    pub fn set(self, policy: &mut Policy, value: f64) {
        let duration = Duration::try_from_secs_f64(value).unwrap_or_default();
        let Policy { controller, tolerance, stabilization, cooldown, step, metrics, .. } = policy;
        match (self, controller) {
            (Self::Target(place), _) => metrics.iter_mut().skip(place).take(1).for_each(|metric| metric.target = value),
            (Self::Kp, Controller::Pid(Gains { kp, .. })) => *kp = value,
            (Self::Ki, Controller::Pid(Gains { ki, .. })) => *ki = value,
            (Self::Kd, Controller::Pid(Gains { kd, .. })) => *kd = Some(value),
            (Self::Risk, Controller::Risk(Risk { share })) => *share = value,
            (Self::Kp | Self::Ki | Self::Kd | Self::Risk, _) => {}
            (Self::ToleranceOut, _) => tolerance.out = value,
            (Self::ToleranceIn, _) => tolerance.inward = value,
            (Self::StabilizationIn, _) => stabilization.inward = duration,
            (Self::CooldownOut, _) => cooldown.out = duration,
            (Self::CooldownIn, _) => cooldown.inward = duration,
            (Self::StepOutCount, _) => step.out.iter_mut().for_each(|limit| limit.count = Capacity::ceil(value)),
            (Self::StepOutPercent, _) => step.out.iter_mut().for_each(|limit| limit.percent = Some(value)),
            (Self::StepInPercent, _) => step.inward.iter_mut().for_each(|limit| limit.percent = Some(value)),
        }
    }
}
