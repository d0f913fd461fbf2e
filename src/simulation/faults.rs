//! What can be made to go wrong in the world, switched on and off while it runs.

use std::time::Duration;

use crate::policy::Capacity;

/// Everything that goes wrong at the moment. The default is that nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Of the Prometheus HTTP API.
    pub prometheus: Option<Fault<PrometheusFault>>,
    /// The scraper has stopped: what was recorded grows old.
    pub frozen_samples: bool,
    /// Of the Auto Scaling API.
    pub auto_scaling: Option<Fault<AutoScalingFault>>,
    /// Instances do not launch.
    pub launches: Option<LaunchFault>,
    /// Added to the boot time of instances that launch from now on.
    pub slower_boot: Duration,
}

/// A fault, and whom it hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault<K> {
    /// What happens.
    pub kind: K,
    /// Only requests that mention this text: a part of the query, the name of an action, the name of a group.
    pub only: Option<String>,
}

impl<K> Fault<K> {
    /// A fault of every request.
    pub fn everywhere(kind: K) -> Self {
        Self { kind, only: None }
    }

    /// A fault of the requests that mention `text`.
    pub fn only(kind: K, text: impl Into<String>) -> Self {
        Self { kind, only: Some(text.into()) }
    }

    /// What happens to a request that mentions all these.
    pub fn hits(&self, mentioned: &[&str]) -> Option<&K> {
        let hit = self.only.as_ref().is_none_or(|only| mentioned.iter().any(|text| text.contains(only.as_str())));
        hit.then_some(&self.kind)
    }
}

/// A fault of the Prometheus HTTP API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrometheusFault {
    /// 503 with a plain text, as a proxy in front of a dead Prometheus says it.
    Unavailable,
    /// The connection is closed in the middle of the answer.
    Disconnected,
    /// Every selector finds nothing.
    Empty,
    /// Every sample is NaN.
    NotANumber,
    /// A result of one series becomes two.
    TwoSeries,
    /// 200 with a body that is not JSON.
    Malformed,
    /// The answer comes this much later, in wall-clock time.
    Slow(Duration),
}

/// A fault of the Auto Scaling API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoScalingFault {
    /// 400 `Throttling`, as the service throttles in the wild.
    Throttling,
    /// 400 `RateExceeded`, as its documentation says that it throttles.
    RateExceeded,
    /// 500 `ResourceContention`.
    ResourceContention,
    /// 403 `AccessDenied`.
    AccessDenied,
    /// 500 with a body that names no error code.
    NoCode,
    /// The request is carried out and the connection closed in the middle of the answer.
    AnswerLost,
    /// The answer comes this much later, in wall-clock time.
    Slow(Duration),
}

/// Why instances do not launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchFault {
    /// `InsufficientInstanceCapacity` for every instance beyond these.
    InsufficientCapacity {
        /// How many the group can have.
        at_most: Capacity,
    },
    /// The launch template is wrong.
    Misconfigured,
}

impl LaunchFault {
    /// Whether a group that has `live` instances can launch no other.
    pub(super) fn bars(self, live: Capacity) -> bool {
        match self {
            Self::InsufficientCapacity { at_most } => live >= at_most,
            Self::Misconfigured => true,
        }
    }

    /// What the service says in the failed activity.
    pub(super) fn status_message(self) -> &'static str {
        match self {
            Self::InsufficientCapacity { .. } => {
                "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have \
                 sufficient c7g.xlarge capacity in the Availability Zone you requested (us-east-1a). Our system will \
                 be working on provisioning additional capacity. You can currently get c7g.xlarge capacity by not \
                 specifying an Availability Zone in your request or choosing us-east-1b, us-east-1c. Launching EC2 \
                 instance failed."
            }
            Self::Misconfigured => {
                "The security group 'sg-00000000000000000' does not exist. Launching EC2 instance failed."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_hits_only_whom_it_names() {
        let fault = Fault::only(AutoScalingFault::Throttling, "SetDesiredCapacity");
        assert_eq!(fault.hits(&["SetDesiredCapacity", "web"]), Some(&AutoScalingFault::Throttling));
        assert_eq!(fault.hits(&["DescribeAutoScalingGroups", "web"]), None);
        assert!(Fault::everywhere(PrometheusFault::Empty).hits(&[]).is_some());
    }
}
