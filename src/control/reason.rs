//! Why: the closed list of things that an evaluation can say, with the data behind each.

use std::fmt;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::guard::Guard;
use super::number::Number;
use crate::observation::{Measurement, Rivals, seconds};
use crate::policy::Capacity;

/// A direction of scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Adding instances.
    Out,
    /// Removing instances.
    In,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "scale-out",
            Self::In => "scale-in",
        })
    }
}

/// Whose bound it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// `min` or `max` of the policy.
    Policy,
    /// `min` or `max` of a schedule whose window is open.
    Schedule,
    /// An operator's override.
    Override,
    /// `MinSize` or `MaxSize` of the group.
    Group,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "policy",
            Self::Schedule => "schedule",
            Self::Override => "override",
            Self::Group => "group",
        })
    }
}

/// Of which time the price has a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpendPeriod {
    /// `max_spend_per_hour`.
    Hour,
    /// `max_spend_per_day`.
    Day,
}

/// One thing that an evaluation says. `Display` gives a sentence.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum Reason {
    /// The group could not be described, so nothing is changed.
    GroupUnknown,
    /// A metric has no number to decide with; it bars scale-in.
    MetricInvalid {
        /// The metric.
        metric: Arc<str>,
        /// What was read instead.
        measurement: Measurement,
    },
    /// A metric is below zero, which no utilization, total or latency can be; it bars scale-in.
    MetricNegative {
        /// The metric.
        metric: Arc<str>,
        /// The number.
        value: f64,
    },
    /// A utilization says nothing while no instance serves; it bars scale-in.
    NothingServes {
        /// The metric.
        metric: Arc<str>,
    },
    /// No metric is valid, so the capacity is kept.
    NoValidMetric,
    /// The metric that asks for most.
    Recommended {
        /// The metric.
        metric: Arc<str>,
        /// Its value.
        value: f64,
        /// The value to keep.
        target: f64,
        /// What it asks for.
        capacity: Capacity,
    },
    /// A utilization this high can't show how much is missing, so half as much again is tried.
    Saturated {
        /// The metric.
        metric: Arc<str>,
        /// Its value.
        value: f64,
        /// What is tried.
        capacity: Capacity,
    },
    /// Every metric has been gone for so long that the fallback holds.
    FellBack {
        /// For how long they have been gone.
        #[serde(serialize_with = "seconds")]
        #[schema(value_type = f64)]
        blind: Duration,
        /// What is kept at least.
        capacity: Capacity,
    },
    /// The recommendation lies inside the dead band.
    WithinTolerance {
        /// The recommendation.
        wanted: Capacity,
    },
    /// Part or all of the change may be noise of the metrics.
    WithinNoise {
        /// The recommendation.
        wanted: Capacity,
        /// What is left of it.
        allowed: Capacity,
    },
    /// The recommendation has not stood for the whole window.
    Stabilized {
        /// Where it would go.
        direction: Direction,
        /// The recommendation.
        wanted: Capacity,
        /// The most cautious recommendation of the window.
        allowed: Capacity,
        /// The window.
        #[serde(serialize_with = "seconds")]
        #[schema(value_type = f64)]
        window: Duration,
    },
    /// More than may change within the period.
    StepLimited {
        /// Where it goes.
        direction: Direction,
        /// The capacity asked for.
        wanted: Capacity,
        /// The capacity that the limit leaves.
        allowed: Capacity,
        /// The period.
        #[serde(serialize_with = "seconds")]
        #[schema(value_type = f64)]
        per: Duration,
    },
    /// Below the least capacity.
    RaisedToMin {
        /// The bound.
        min: Capacity,
        /// Whose it is.
        bound: Bound,
    },
    /// Above the most capacity.
    LoweredToMax {
        /// The bound.
        max: Capacity,
        /// Whose it is.
        bound: Bound,
    },
    /// Too soon after the last scale event.
    CoolingDown {
        /// The direction that rests.
        direction: Direction,
        /// Time left.
        #[serde(serialize_with = "seconds")]
        #[schema(value_type = f64)]
        remaining: Duration,
    },
    /// A latency has been over its target for long, and more capacity was shown not to help.
    ScaleOutNotHelping {
        /// The metric.
        metric: Arc<str>,
        /// Since when it has not got better.
        since: Timestamp,
        /// What served then.
        from: Capacity,
        /// What serves now.
        to: Capacity,
        /// The most that it may ask for.
        allowed: Capacity,
        /// Time until a step is tried; zero when that is now.
        #[serde(serialize_with = "seconds")]
        #[schema(value_type = f64)]
        rest: Duration,
    },
    /// More would cost too much.
    SpendLimited {
        /// The capacity asked for.
        wanted: Capacity,
        /// The capacity that the ceiling leaves.
        allowed: Capacity,
        /// Of which time the price has a ceiling.
        per: SpendPeriod,
        /// The ceiling.
        ceiling: f64,
        /// Of a day: what its first 18 hours, which have passed, have cost.
        spent: Option<f64>,
    },
    /// A guard's veto.
    Vetoed {
        /// The guard.
        #[serde(flatten)]
        guard: Guard,
    },
    /// The policy only observes.
    Observing {
        /// What it would have set.
        would: Capacity,
    },
    /// The policy is paused.
    Paused {
        /// What it would have set.
        would: Capacity,
    },
    /// The policy may only add.
    ScaleOutOnly {
        /// What it would have set.
        would: Capacity,
    },
    /// Something else is set up to scale this group, and the policy does not take over.
    Contested {
        /// What it would have set.
        would: Capacity,
        /// Who else.
        rival: Rivals,
    },
}

impl Reason {
    /// What kind of reason it is, whatever its data; of a veto, whose.
    pub fn kind(&self) -> (Discriminant<Reason>, Option<Discriminant<Guard>>) {
        let guard = if let Self::Vetoed { guard } = self { Some(discriminant(guard)) } else { None };
        (discriminant(self), guard)
    }
}

impl Reason {
    /// A bounded word for what kept a change from being made as the metrics asked for it, where this tells of such.
    pub fn held_back_by(&self) -> Option<&'static str> {
        match self {
            Self::Stabilized { .. } => Some("stabilization"),
            Self::StepLimited { .. } => Some("step-limit"),
            Self::LoweredToMax { .. } => Some("max"),
            Self::CoolingDown { .. } => Some("cooldown"),
            Self::ScaleOutNotHelping { .. } => Some("not-helping"),
            Self::SpendLimited { .. } => Some("max-spend"),
            Self::Vetoed { guard } => Some(guard.label()),
            Self::Observing { .. } => Some("observe"),
            Self::Paused { .. } => Some("paused"),
            Self::ScaleOutOnly { .. } => Some("scale-out-only"),
            Self::Contested { .. } => Some("contested"),
            Self::GroupUnknown
            | Self::MetricInvalid { .. }
            | Self::MetricNegative { .. }
            | Self::NothingServes { .. }
            | Self::NoValidMetric
            | Self::Recommended { .. }
            | Self::Saturated { .. }
            | Self::FellBack { .. }
            | Self::WithinTolerance { .. }
            | Self::WithinNoise { .. }
            | Self::RaisedToMin { .. } => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GroupUnknown => f.write_str("the group could not be described, so nothing is changed"),
            Self::MetricInvalid { metric, measurement } => write!(f, "{metric} has no valid value: {measurement}"),
            Self::MetricNegative { metric, value } => write!(f, "{metric} is {value:.3}, below zero"),
            Self::NothingServes { metric } => write!(f, "{metric} says nothing while no instance serves"),
            Self::NoValidMetric => f.write_str("no metric is valid, so the capacity is kept"),
            Self::Recommended { metric, value, target, capacity } => {
                write!(f, "{metric} at {} against {} asks for {capacity}", Number(*value), Number(*target))
            }
            Self::Saturated { metric, value, capacity } => {
                write!(f, "{metric} at {} is saturated, so {capacity} is tried", Number(*value))
            }
            Self::FellBack { blind, capacity } => {
                write!(f, "every metric has been gone for {:.0} s, so {capacity} is the least", blind.as_secs_f64())
            }
            Self::WithinTolerance { wanted } => write!(f, "{wanted} is within tolerance"),
            Self::WithinNoise { wanted, allowed } => {
                write!(f, "the way to {wanted} is within the noise of the metrics, which leaves {allowed}")
            }
            Self::Stabilized { direction, wanted, allowed, window } => {
                write!(f, "{direction} to {wanted} has not stood for {window:?}; the window allows {allowed}")
            }
            Self::StepLimited { direction, wanted, allowed, per } => {
                write!(f, "{direction} to {wanted} exceeds the step limit per {per:?}, which allows {allowed}")
            }
            Self::RaisedToMin { min, bound } => write!(f, "raised to the {bound}'s minimum of {min}"),
            Self::LoweredToMax { max, bound } => write!(f, "limited by the {bound}'s maximum of {max}"),
            Self::CoolingDown { direction, remaining } => {
                write!(f, "{direction} rests for another {:.0} s", remaining.as_secs_f64())
            }
            Self::ScaleOutNotHelping { metric, since, from, to, allowed, rest } => {
                write!(
                    f,
                    "{metric} has not got better since {}, though {from} instances became {to} and each has less to do, so \
                     it asks for no more than {allowed}",
                    since.strftime("%Y-%m-%d %H:%M:%S UTC")
                )?;
                if rest.is_zero() { Ok(()) } else { write!(f, "; a step is tried in {:.0} s", rest.as_secs_f64()) }
            }
            Self::SpendLimited { wanted, allowed, ceiling, spent, .. } => {
                write!(f, "scale-out to {wanted} would cost more than ")?;
                match spent {
                    None => write!(f, "max_spend_per_hour, {ceiling:.2}, which allows {allowed}"),
                    Some(spent) => write!(
                        f,
                        "max_spend_per_day, {ceiling:.2}, in six hours, as the 18 hours before have cost {spent:.2}; it \
                         allows {allowed}"
                    ),
                }
            }
            Self::Vetoed { guard } => guard.fmt(f),
            Self::Observing { would } => write!(f, "the policy only observes; it would set {would}"),
            Self::Paused { would } => write!(f, "the policy is paused; it would set {would}"),
            Self::ScaleOutOnly { would } => write!(f, "the policy may only scale out; it would set {would}"),
            Self::Contested { would, rival } => write!(f, "{rival}; it would set {would}"),
        }
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { value, .. } => Number(*value).fmt(f),
            Self::Instances { mean, reporting, .. } => {
                write!(f, "{} on average over {reporting} instances", Number(*mean))
            }
            Self::NoData => f.write_str("no data"),
            Self::Stale { age } => write!(f, "the newest sample is {:.0} s old", age.as_secs_f64()),
            Self::NotFinite => f.write_str("not a finite number"),
            Self::ManySeries { count } => write!(f, "{count} series where one was asked for"),
            Self::Failed { failure } => write!(f, "the source failed ({})", failure.label()),
        }
    }
}

impl fmt::Display for Rivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "whether anything else scales the group could not be found out yet",
            Self::None => "nothing else scales the group",
            Self::ScalingPolicy => "an AWS scaling policy is enabled on the group (set takeover = true to act anyway)",
            Self::ScheduledAction => "a scheduled action is set on the group (set takeover = true to act anyway)",
            Self::Operator => "only the group's operator may change it",
        })
    }
}
