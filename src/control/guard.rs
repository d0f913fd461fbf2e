//! The named vetoes, with the data behind each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::number::Number;
use crate::observation::seconds;
use crate::policy::{Capacity, PERCENT_ABOVE, Threshold};

/// A named veto.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "guard", rename_all = "kebab-case")]
pub enum Guard {
    /// Not a full stabilization window of live observations since the start.
    NotWarm {
        /// Time left.
        #[serde(serialize_with = "seconds")]
        #[schema(value_type = f64)]
        remaining: Duration,
    },
    /// Capacity is still on its way into service, or warming up.
    CapacityPending {
        /// How much.
        pending: Capacity,
    },
    /// The journal can't be written, so a restart would forget the cooldown that the change begins.
    JournalUnavailable,
    /// An instance refresh is running.
    Refreshing,
    /// The group's `Terminate` process is suspended.
    TerminateSuspended,
    /// The group's `Launch` process is suspended.
    LaunchSuspended,
    /// Launches fail, so asking for more would only ratchet the desired capacity up.
    LaunchesFailing {
        /// AWS has no capacity of that type.
        insufficient_capacity: bool,
    },
    /// Instances in service are unhealthy.
    Unhealthy {
        /// Healthy ones.
        healthy: Capacity,
        /// All in service.
        in_service: Capacity,
    },
    /// A metric is above its target.
    MetricAboveTarget {
        /// The metric.
        metric: Arc<str>,
        /// Its value.
        value: f64,
        /// The value to keep.
        target: f64,
    },
    /// A utilization with a target in percent was never seen to be one.
    UnitUnproven {
        /// The metric.
        metric: Arc<str>,
        /// Its value.
        value: f64,
        /// The value to keep.
        target: f64,
    },
    /// A metric is not valid.
    MetricNotValid {
        /// The metric.
        metric: Arc<str>,
    },
    /// Too few of the instances that serve have reported.
    CoverageLow {
        /// The metric.
        metric: Arc<str>,
        /// How many have.
        reporting: Capacity,
        /// How many serve.
        serving: Capacity,
    },
    /// Demand fell so much that an outage upstream is likelier than a quiet hour.
    DemandCollapsed {
        /// The metric.
        metric: Arc<str>,
        /// Highest demand of the window, in instances' worth.
        highest: f64,
        /// Demand now.
        now: f64,
    },
    /// A signal burns.
    SignalBurning {
        /// The signal.
        signal: Arc<str>,
        /// Its value.
        value: f64,
        /// Where it begins to burn.
        threshold: Threshold,
    },
    /// A signal that may burn has no value.
    SignalUnknown {
        /// The signal.
        signal: Arc<str>,
    },
}

impl Guard {
    /// Its name, as in JSON.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotWarm { .. } => "not-warm",
            Self::CapacityPending { .. } => "capacity-pending",
            Self::JournalUnavailable => "journal-unavailable",
            Self::Refreshing => "refreshing",
            Self::TerminateSuspended => "terminate-suspended",
            Self::LaunchSuspended => "launch-suspended",
            Self::LaunchesFailing { .. } => "launches-failing",
            Self::Unhealthy { .. } => "unhealthy",
            Self::MetricAboveTarget { .. } => "metric-above-target",
            Self::UnitUnproven { .. } => "unit-unproven",
            Self::MetricNotValid { .. } => "metric-not-valid",
            Self::CoverageLow { .. } => "coverage-low",
            Self::DemandCollapsed { .. } => "demand-collapsed",
            Self::SignalBurning { .. } => "signal-burning",
            Self::SignalUnknown { .. } => "signal-unknown",
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWarm { remaining } => {
                write!(
                    f,
                    "no scale-in for another {:.0} s, until a full window has been seen without a gap",
                    remaining.as_secs_f64()
                )
            }
            Self::CapacityPending { pending } => write!(f, "no scale-in while {pending} are on their way into service"),
            Self::JournalUnavailable => f.write_str("no scale-in while the journal can't be written"),
            Self::Refreshing => f.write_str("no scale-in while an instance refresh is running or can't be ruled out"),
            Self::TerminateSuspended => f.write_str("no scale-in while the group's Terminate process is suspended"),
            Self::LaunchSuspended => f.write_str("no scale-out while the group's Launch process is suspended"),
            Self::LaunchesFailing { insufficient_capacity: true } => {
                f.write_str("no further scale-out while AWS has insufficient capacity")
            }
            Self::LaunchesFailing { insufficient_capacity: false } => {
                f.write_str("no further scale-out while launches fail")
            }
            Self::Unhealthy { healthy, in_service } => {
                write!(f, "no scale-in while only {healthy} of {in_service} in service are healthy")
            }
            Self::MetricAboveTarget { metric, value, target } => {
                write!(f, "no scale-in while {metric} is {} against {}", Number(*value), Number(*target))
            }
            Self::UnitUnproven { metric, value, target } => write!(
                f,
                "no scale-in while {metric} is {} against {} and was never above {PERCENT_ABOVE}, as a share would be; if \
                 it is one, its target is {}",
                Number(*value),
                Number(*target),
                Number(*target / 100.0)
            ),
            Self::MetricNotValid { metric } => write!(f, "no scale-in while {metric} is not valid"),
            Self::CoverageLow { metric, reporting, serving } => {
                write!(f, "no scale-in while only {reporting} of {serving} instances report {metric}")
            }
            Self::DemandCollapsed { metric, highest, now } => {
                write!(f, "no scale-in: demand of {metric} collapsed from {highest:.1} to {now:.1} instances' worth")
            }
            Self::SignalBurning { signal, value, threshold } => {
                write!(f, "no scale-in while {signal} is {}, {threshold}", Number(*value))
            }
            Self::SignalUnknown { signal } => write!(f, "no scale-in while {signal} has no valid value"),
        }
    }
}
