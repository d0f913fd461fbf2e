//! What the scaling activities of a group tell: when instances went into service, and whether launches fail.
//!
//! The texts are AWS's own prose, so nothing here decides on capacity; an unknown text tells nothing.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode};
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use crate::observation::{LaunchFailure, elapsed};

/// How long a failed launch says something about the next one. Auto Scaling tries again well within this.
const FAILURE_COUNTS_FOR: Duration = Duration::from_hours(1);

/// How the description of every launch begins.
pub(super) const LAUNCHING: &str = "Launching a new EC2 instance";

/// How AWS says, in codes and in prose, that it has no capacity of that type. A quota of the account, such as
/// `VcpuLimitExceeded` or `MaxSpotInstanceCountExceeded`, is another matter: waiting does not lift it.
const NO_CAPACITY: [&str; 6] = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "UnfulfillableCapacity",
    "do not have sufficient",
    "no Spot capacity available",
];

/// What a page of activities tells.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    /// When instances went into service.
    pub in_service: Vec<(Arc<str>, Timestamp)>,
    /// The newest finished launch, if it failed.
    pub failure: Option<LaunchFailure>,
}

/// Reads activities, newest first.
pub(super) fn read(activities: &[Activity]) -> Told {
    let launches = || activities.iter().filter(|activity| launch(activity).is_some());
    Told {
        in_service: launches().filter_map(in_service).collect(),
        failure: launches().find(|activity| finished(activity)).and_then(failure),
    }
}

/// The failure, while it still says something.
pub(super) fn recent(failure: Option<LaunchFailure>, now: Timestamp) -> Option<LaunchFailure> {
    failure.filter(|failure| elapsed(failure.at, now) <= FAILURE_COUNTS_FOR)
}

/// What follows after "Launching a new EC2 instance". A launch into a warm pool adds no capacity.
fn launch(activity: &Activity) -> Option<&str> {
    activity.description()?.strip_prefix(LAUNCHING).filter(|rest| !rest.starts_with(" into warm pool"))
}

fn in_service(activity: &Activity) -> Option<(Arc<str>, Timestamp)> {
    let id = launch(activity)?.rsplit(' ').next().filter(|id| id.starts_with("i-"))?;
    let successful = activity.status_code() == Some(&ScalingActivityStatusCode::Successful);
    successful.then(|| Some((id.into(), timestamp(activity.end_time()?)?)))?
}

fn finished(activity: &Activity) -> bool {
    use ScalingActivityStatusCode::{Cancelled, Failed, Successful};
    matches!(activity.status_code(), Some(Successful | Failed | Cancelled))
}

fn failure(activity: &Activity) -> Option<LaunchFailure> {
    if activity.status_code() == Some(&ScalingActivityStatusCode::Successful) {
        return None;
    }
    let texts = [activity.status_message(), activity.description()];
    let insufficient_capacity =
        texts.into_iter().flatten().any(|text| NO_CAPACITY.iter().any(|say| text.contains(say)));
    let at = timestamp(activity.end_time().or(activity.start_time())?)?;
    Some(LaunchFailure { at, insufficient_capacity })
}

pub(super) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(description: &str, status: &str, message: &str, end: i64) -> Activity {
        let activity = Activity::builder().activity_id("a").auto_scaling_group_name("g").cause("c");
        let activity = activity.description(description).status_code(status.into()).status_message(message);
        activity.start_time(DateTime::from_secs(end - 60)).end_time(DateTime::from_secs(end)).build()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_successful_launch_tells_when_its_instance_went_into_service() {
        let told = |description, status| read(&[activity(description, status, "", 100)]).in_service;
        let one = vec![("i-0a".into(), at(100))];
        assert_eq!(told("Launching a new EC2 instance: i-0a", "Successful"), one);
        assert_eq!(told("Launching a new EC2 instance from warm pool: i-0a", "Successful"), one);
        assert_eq!(told("Launching a new EC2 instance into warm pool: i-0a", "Successful"), []);
        assert_eq!(told("Launching a new EC2 instance: i-0a", "MidLifecycleAction"), []);
        assert_eq!(told("Terminating EC2 instance: i-0a", "Successful"), []);
        assert_eq!(told("Launching a new EC2 instance.  Status Reason: no", "Successful"), []);
    }

    #[test]
    fn only_the_newest_finished_launch_says_whether_launches_fail() {
        let failed = activity("Launching a new EC2 instance", "Failed", "", 100);
        let others = |status| activity("Launching a new EC2 instance: i-0b", status, "", 200);
        let termination = activity("Terminating EC2 instance: i-0c", "Failed", "", 300);
        let seen = Some(LaunchFailure { at: at(100), insufficient_capacity: false });
        assert_eq!(read(&[termination, others("InProgress"), failed.clone()]).failure, seen);
        assert_eq!(read(&[others("Successful"), failed]).failure, None);
        assert_eq!(read(&[others("Cancelled")]).failure.unwrap().at, at(200));
        assert_eq!(recent(seen, at(3700)), seen);
        assert_eq!(recent(seen, at(3701)), None);
    }

    #[test]
    fn no_capacity_at_aws_is_told_from_a_quota() {
        let check = |message, expected| {
            let told = read(&[activity("Launching a new EC2 instance", "Failed", message, 100)]);
            assert_eq!(told.failure.unwrap().insufficient_capacity, expected, "{message}");
        };
        check("Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity", true);
        check("We currently do not have sufficient m5.large capacity in the Availability Zone you requested", true);
        check("InsufficientHostCapacity: no host", true);
        check("VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit", false);
        check("MaxSpotInstanceCountExceeded - Max spot instance count exceeded", false);
        check("The image id '[ami-1]' does not exist. Launching EC2 instance failed.", false);
    }
}
