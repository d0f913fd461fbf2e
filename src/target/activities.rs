//! What the scaling activities of a group tell: when instances went into service, and whether launches fail.
//!
//! The texts are AWS's own prose, so nothing here decides on capacity; an unknown text tells nothing.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode};
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use crate::observation::{LaunchFailure, elapsed};
use crate::policy::Capacity;

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

/// What comes before the numbers of a change.
const CHANGING: &str = "changing the desired capacity from ";

/// A change of the desired capacity, by whomever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// The desired capacity before.
    pub from: Capacity,
    /// The desired capacity after.
    pub to: Capacity,
}

/// What a page of activities tells.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    /// When instances went into service.
    pub in_service: Vec<(Arc<str>, Timestamp)>,
    /// The newest finished launch, if it failed.
    pub failure: Option<LaunchFailure>,
    /// The changes of the desired capacity that are named as a cause, oldest first.
    pub changes: Vec<Change>,
}

/// Reads activities, newest first.
pub(super) fn read(activities: &[Activity]) -> Told {
    let launches = || activities.iter().filter(|activity| launch(activity).is_some());
    Told {
        in_service: launches().filter_map(in_service).collect(),
        failure: launches().find(|activity| finished(activity)).and_then(failure),
        changes: changes(activities),
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

/// Every instance that a change launched or terminated names it.
fn changes(activities: &[Activity]) -> Vec<Change> {
    let causes = activities.iter().filter_map(|activity| activity.cause());
    let mut changes: Vec<_> = causes.flat_map(|cause| cause.split("At ").filter_map(change)).collect();
    changes.sort_unstable_by_key(|change| (change.at, change.from, change.to));
    changes.dedup();
    changes
}

/// What a sentence such as "2026-01-01T08:00:00Z a user request explicitly set group desired capacity changing the desired
/// capacity from 2 to 4." tells.
fn change(sentence: &str) -> Option<Change> {
    let at = sentence.split(' ').next()?.parse().ok()?;
    let (from, rest) = sentence.split_once(CHANGING)?.1.split_once(" to ")?;
    let to = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let capacity = |text: &str| text.parse().ok().map(Capacity::new);
    Some(Change { at, from: capacity(from)?, to: capacity(to)? }).filter(|change| change.from != change.to)
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
    fn a_change_of_the_desired_capacity_is_told_once_however_many_instances_name_it() {
        let caused = |cause: &str| {
            let activity = Activity::builder().activity_id("a").auto_scaling_group_name("g").cause(cause);
            activity.status_code(ScalingActivityStatusCode::Successful).start_time(DateTime::from_secs(0)).build()
        };
        let set = "At 1970-01-01T00:01:00Z a user request explicitly set group desired capacity changing the desired \
            capacity from 2 to 4.  At 1970-01-01T00:01:05Z an instance was started in response to a difference between \
            desired and actual capacity, increasing the capacity from 2 to 4.";
        let update = "At 1970-01-01T00:00:30Z a user request update of AutoScalingGroup constraints to min: 1, max: 9, \
            desired: 2 changing the desired capacity from 1 to 2.";
        let replaced = "At 1970-01-01T00:02:00Z an instance was taken out of service in response to a health check.";
        let change = |second, from, to| Change { at: at(second), from: Capacity::new(from), to: Capacity::new(to) };
        let told = read(&[caused(replaced), caused(set), caused(set), caused(update)]).changes;
        assert_eq!(told, [change(30, 1, 2), change(60, 2, 4)]);
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
