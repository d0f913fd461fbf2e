//! Facts about a group that its API lists: activities, scaling policies, instance refreshes. Data only.

use jiff::Timestamp;

use super::noise::scramble;

/// How an activity goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityStatus {
    /// An instance is launched and boots.
    PreInService,
    /// An instance is being terminated.
    InProgress,
    /// Done.
    Successful,
    /// Failed, with what the service says about it.
    Failed(&'static str),
}

impl ActivityStatus {
    /// The status code of the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::PreInService => "PreInService",
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
            Self::Failed(_) => "Failed",
        }
    }
}

/// One scaling activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// In the order of start.
    pub number: u64,
    /// What is done.
    pub description: String,
    /// Why, in the prose of the service.
    pub cause: String,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Option<Timestamp>,
    /// How it goes.
    pub status: ActivityStatus,
}

/// A scaling policy that is set up in AWS; the world never executes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalingPolicy {
    /// Its name.
    pub name: String,
    /// `TargetTrackingScaling`, `StepScaling`, `SimpleScaling` or `PredictiveScaling`.
    pub kind: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Of a predictive policy: `ForecastOnly` or `ForecastAndScale`.
    pub predictive_mode: Option<String>,
}

/// An instance refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRefresh {
    /// Its id.
    pub id: String,
    /// `InProgress`, `Successful`, `Cancelled`, …
    pub status: String,
}

/// The id of an activity in the form of the service.
pub fn activity_id(number: u64) -> String {
    let bits = scramble(number);
    format!("{:08x}-{:04x}-{:04x}-0000-{number:012x}", bits >> 32, (bits >> 16) & 0xffff, bits & 0xffff)
}
