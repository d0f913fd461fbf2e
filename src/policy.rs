//! What one group must be kept at: metrics, bounds, limits and mode.
//!
//! These are the validated parts that the rest of the house works with. Nothing here reads a file, a clock or a
//! network; `config` builds policies and guarantees what the field docs say.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod guard;
mod schedule;

pub use guard::{Brake, HoldSignal, MAX_SIGNALS, MaxSpend, Threshold};
pub use schedule::{Schedule, ScheduleError, Window};

/// Most metrics that one policy may have, so that an evaluation has a fixed size.
pub const MAX_METRICS: usize = 16;

/// Assumed as boot time until the group's own launches tell better.
pub const DEFAULT_BOOT_TIME: Duration = Duration::from_mins(2);

/// Rounding slack in instances: noise of up to this much does not buy another instance.
pub const ROUNDING_SLACK: f64 = 0.02;

/// A number of instances (or of capacity units, where the group weighs its instances).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Capacity(u32);

impl Capacity {
    /// The largest capacity that Setpoint will ever ask for; far above any quota of Auto Scaling.
    pub const MAX: Capacity = Capacity(1_000_000);
    /// No instances.
    pub const ZERO: Capacity = Capacity(0);

    /// A capacity of `count` instances, at most [`Capacity::MAX`].
    pub const fn new(count: u32) -> Self {
        if count > Self::MAX.0 { Self::MAX } else { Self(count) }
    }

    /// The number of instances.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number of instances, for arithmetic.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0)
    }

    /// The smallest capacity that serves `instances`, less [`ROUNDING_SLACK`]; `None` when that is not a number.
    ///
    /// Values outside 0..=[`Capacity::MAX`] are clamped first and converted afterwards: a plain `NaN as u32` is 0,
    /// which would be a scale-in.
    pub fn ceil(instances: f64) -> Option<Self> {
        Self::convert((instances - ROUNDING_SLACK).ceil())
    }

    /// The largest whole capacity within `instances`; `None` when that is not a number.
    pub fn floor(instances: f64) -> Option<Self> {
        Self::convert(instances.floor())
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite and clamped just before")]
    fn convert(whole: f64) -> Option<Self> {
        (!whole.is_nan()).then(|| Self(whole.clamp(0.0, Self::MAX.as_f64()) as u32))
    }

    /// `self + other`, at most [`Capacity::MAX`].
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::new(self.0.saturating_add(other.0))
    }

    /// `self - other`, at least zero.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value for each direction of scaling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct PerDirection<T> {
    /// For scale-out: adding instances.
    pub out: T,
    /// For scale-in: removing instances.
    #[serde(rename = "in")]
    pub inward: T,
}

/// What Setpoint may do to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Decide and act.
    Active,
    /// Decide and say so, never act.
    Observe,
    /// Act on scale-out only.
    ScaleOutOnly,
    /// Never act; the owner has taken over.
    Paused,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Observe => "observe",
            Self::ScaleOutOnly => "scale-out-only",
            Self::Paused => "paused",
        })
    }
}

/// The validated rules for one Auto Scaling group.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Unique among the policies; `[a-zA-Z0-9_-]`, at most 64 characters.
    pub name: Arc<str>,
    /// The name of the Auto Scaling group. No two policies share one.
    pub asg: Arc<str>,
    /// The AWS region of the group, where it is not the one of `[aws]`.
    pub region: Option<Arc<str>>,
    /// Time between two evaluations; at least one second.
    pub interval: Duration,
    /// What Setpoint may do.
    pub mode: Mode,
    /// Act even though another scaling policy of AWS is enabled on the group.
    pub takeover: bool,
    /// Least capacity, `<= max`.
    pub min: Capacity,
    /// Most capacity.
    pub max: Capacity,
    /// Launch to serving: the dead time of the loop. `None`: learned from the group's own launches,
    /// [`DEFAULT_BOOT_TIME`] until then.
    pub boot_time: Option<Duration>,
    /// In service to carrying a full share. `None`: the group's own default instance warm-up, else 60 s.
    pub warm_up: Option<Duration>,
    /// How a recommendation is made from a measurement, for every metric that has no controller of its own.
    pub controller: Controller,
    /// Dead band, as a share of the desired capacity, that is kept.
    pub tolerance: PerDirection<f64>,
    /// How long a recommendation must have stood.
    pub stabilization: PerDirection<Duration>,
    /// How much may change in a period; `None`: any amount.
    pub step: PerDirection<Option<StepLimit>>,
    /// Rest after a scale event.
    pub cooldown: PerDirection<Duration>,
    /// A fall of demand that is taken for an outage upstream; `None`: every fall is believed.
    pub max_drop: Option<MaxDrop>,
    /// What an instance (or a unit of capacity, where the group weighs its instances) costs an hour, in any money; finite
    /// and above zero. `None`: nobody has said.
    pub instance_price: Option<f64>,
    /// What the group may cost; no ceiling without an [`instance_price`](Self::instance_price).
    pub max_spend: MaxSpend,
    /// Stops adding for a latency that more does not help; `None`: never.
    pub brake: Option<Brake>,
    /// At most [`MAX_SIGNALS`], with unique names.
    pub hold_scale_in_while: Vec<HoldSignal>,
    /// Windows in which other bounds hold.
    pub schedules: Vec<Schedule>,
    /// What to run on while every metric is gone; `None`: what runs.
    pub fallback: Option<Fallback>,
    /// One to [`MAX_METRICS`] metrics with unique names.
    pub metrics: Vec<Metric>,
}

impl Policy {
    /// Whether any of its controllers learns from what it has seen.
    pub fn learns(&self) -> bool {
        let of = |metric: &Metric| {
            metric.kind == MetricKind::Latency
                || matches!(metric.controller.as_ref().unwrap_or(&self.controller), Controller::Risk(_))
        };
        self.metrics.iter().any(of)
    }
}

/// How a recommendation is made from a measurement. A latency has a law of its own under `Pid` and `Risk`, since it is
/// not proportional to load.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Controller {
    /// Incremental PID in the log domain of demand.
    Pid(Gains),
    /// Bands around the target, each with an adjustment.
    Step(Bands),
    /// As cheap as an accepted share of time over the target allows. The target is the ceiling then.
    Risk(Risk),
}

/// Gains of the `pid` controller. All are finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gains {
    /// Proportional gain, on the change of the error.
    pub kp: f64,
    /// Integral gain of one evaluation (`Ki·Δt`), `0 < ki <= 1`. With 1 the controller is the ratio rule on demand.
    pub ki: f64,
    /// Derivative gain in seconds: how far ahead the trend of demand is followed. It only ever adds. `None`: half the
    /// boot time.
    pub kd: Option<f64>,
}

/// Bands of the `step` controller. Between the two lists, the capacity is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bands {
    /// For scale-out, by rising `from`, each above 1.
    pub above: Vec<Band>,
    /// For scale-in, by falling `from`, each below 1.
    pub below: Vec<Band>,
}

/// One band of a `step` controller, up to the next one of its list.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Band {
    /// Where it begins, as a share of the target.
    pub from: f64,
    /// What is added above, or taken away below.
    pub change: Adjustment,
}

/// By how much a [`Band`] changes the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adjustment {
    /// Percent of the capacity, `> 0`; at least one instance.
    Percent(f64),
    /// Instances.
    Count(Capacity),
}

/// What the owner of a `risk` policy accepts; one percent of the time where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Risk {
    /// Share of time that may be over the target, `0 < share <= 0.2`.
    pub share: f64,
}

impl Default for Risk {
    fn default() -> Self {
        Self { share: 0.01 }
    }
}

/// What to run on after every metric has been gone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// For how long.
    pub after: Duration,
    /// At least so much; what runs beyond that stays.
    pub capacity: Capacity,
}

/// The most that may change within a period. Of `percent` and `count`, whichever allows more counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepLimit {
    /// Percent of the capacity at the start of the period, `> 0`.
    pub percent: Option<f64>,
    /// Instances.
    pub count: Option<Capacity>,
    /// The period, at least one second.
    pub per: Duration,
}

/// A fall of demand by more than `ratio` of its highest value within `per` bars scale-in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MaxDrop {
    /// Share of the highest demand that may vanish, `0 < ratio < 1`.
    pub ratio: f64,
    /// The window that the highest demand is taken from.
    pub per: Duration,
}

/// One signal with its target.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Unique within the policy.
    pub name: Arc<str>,
    /// What the number means.
    pub kind: MetricKind,
    /// The value to keep: finite and greater than zero; latency in seconds.
    pub target: f64,
    /// The oldest sample that still counts as a measurement.
    pub max_age: Duration,
    /// Its own controller; `None`: the policy's.
    pub controller: Option<Controller>,
    /// Of a metric with one series an instance: the least share of the serving instances that must have reported before
    /// anything is removed, `0..=1`.
    pub min_coverage: f64,
    /// Where the number comes from.
    pub source: Source,
}

impl Metric {
    /// The reading at which every instance is fully busy: 1, or 100 where the target is in percent.
    /// Only meaningful for [`MetricKind::Utilization`].
    pub fn full_scale(&self) -> f64 {
        full_scale(self.target)
    }

    /// Whether it is a utilization whose target is in percent.
    pub fn is_percent(&self) -> bool {
        self.kind == MetricKind::Utilization && self.target > PERCENT_ABOVE
    }
}

/// Above this, a target or a reading of a utilization can only be in percent.
pub const PERCENT_ABOVE: f64 = 1.5;

/// As [`Metric::full_scale`], of a metric with this target.
pub fn full_scale(target: f64) -> f64 {
    if target > PERCENT_ABOVE { 100.0 } else { 1.0 }
}

/// What a metric measures, and so how it relates to capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MetricKind {
    /// Average over the instances, as a share (0..1) or in percent; inversely proportional to capacity.
    Utilization,
    /// Sum over the fleet; the target is what one instance should carry.
    Total,
    /// Seconds; not proportional to load.
    Latency,
}

/// Where a metric is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An instant query to the Prometheus of the configuration. Parses as `PromQL`.
    Prometheus {
        /// The `PromQL` expression.
        query: Arc<str>,
        /// The label that tells the instances apart, where the query gives one series an instance.
        per_instance: Option<Arc<str>>,
    },
    /// A direct scrape of a `/metrics` page, for a sidecar with no Prometheus.
    Exposition(Scrape),
}

/// What to read from a `/metrics` page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scrape {
    /// `http` or `https` URL of the page.
    pub url: Arc<str>,
    /// A `PromQL` vector selector without range, offset or `@`: `name{label="value", other=~"a|b"}`.
    pub selector: Arc<str>,
    /// What is made of the selected series.
    pub reading: Reading,
}

/// What is made of the series that a [`Scrape`] selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// The value of a gauge, over all selected series.
    Gauge(Aggregation),
    /// The increase per second of a counter over the window, summed over all selected series; resets are counted as such.
    Rate {
        /// Time that the rate is taken over; at least two scrapes.
        window: Duration,
    },
    /// A quantile of a classic histogram (`NAME_bucket` series) over the window.
    Quantile {
        /// In thousandths, 1..=999, so that the type has total equality.
        per_mille: u16,
        /// Time that the quantile is taken over; at least two scrapes.
        window: Duration,
    },
}

/// How several gauge series become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    /// Arithmetic mean.
    Avg,
    /// Sum.
    Sum,
    /// Largest.
    Max,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_never_comes_from_a_number_that_is_none() {
        assert_eq!(Capacity::ceil(f64::NAN), None);
        assert_eq!(Capacity::ceil(f64::INFINITY), Some(Capacity::MAX));
        assert_eq!(Capacity::ceil(f64::NEG_INFINITY), Some(Capacity::ZERO));
        assert_eq!(Capacity::floor(-0.5), Some(Capacity::ZERO));
    }

    #[test]
    fn noise_does_not_buy_an_instance() {
        assert_eq!(Capacity::ceil(4.02), Some(Capacity::new(4)));
        assert_eq!(Capacity::ceil(4.03), Some(Capacity::new(5)));
    }
}
