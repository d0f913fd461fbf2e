//! How many instances a group had in service in the past, and how long they took to get there, by its activities.
//!
//! It walks back from the instances that there are now: who came and who left stands in the activities, which Auto Scaling
//! keeps for six weeks. The texts are AWS's own prose; an unknown one tells nothing, and none decides on capacity.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode};
use jiff::Timestamp;

use super::TargetError;
use super::activities::{LAUNCHING, timestamp};
use super::asg::{ACTIVITIES, AutoScaling, MAX_PAGES, PAGE};
use crate::observation::{Lifecycle, elapsed};

/// How long Auto Scaling keeps activities.
const KEPT: Duration = Duration::from_hours(6 * 7 * 24);

/// What began longer than this before a moment is over by then: lifecycle hooks end after two days at the latest.
const LONGEST: Duration = Duration::from_hours(48);

/// Where a launch leads that adds no capacity.
const INTO_WARM_POOL: &str = " into warm pool";

/// How the descriptions of activities begin that bring an instance into service, launches aside.
const COMING: [&str; 2] = ["Attaching an existing EC2 instance", "Moving EC2 instance out of Standby"];

/// How those begin that take one out of it. What is terminated "from warm pool" was not in it.
const LEAVING: [&str; 3] = ["Terminating EC2 instance:", "Detaching EC2 instance", "Moving EC2 instance to Standby"];

/// What the activities of a group tell of its past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Since when how many were in service, in order of time.
    sizes: Vec<(Timestamp, u32)>,
    /// Launch to in service, the shortest first.
    boots: Vec<Duration>,
}

impl Past {
    /// Instances in service at this moment; `None` before anything is known.
    pub fn in_service(&self, at: Timestamp) -> Option<u32> {
        let place = self.sizes.partition_point(|(since, _)| *since <= at);
        self.sizes.get(place.checked_sub(1)?).map(|(_, count)| *count)
    }

    /// The median time from launch to in service; `None` where nothing was launched.
    pub fn boot(&self) -> Option<Duration> {
        self.boots.get(self.boots.len() / 2).copied()
    }

    /// How many launches that is the median of.
    pub fn launches(&self) -> usize {
        self.boots.len()
    }
}

impl AutoScaling {
    /// What the activities of the group `name` tell of its past from `since` to `now`, or of the last six weeks of that.
    ///
    /// # Errors
    /// A call that fails, a group that is not there, or activities that contradict the instances that there are.
    pub async fn past(&self, name: &Arc<str>, since: Timestamp, now: Timestamp) -> Result<Past, TargetError> {
        let described = self.list(std::slice::from_ref(name)).await.remove(name);
        let described = described.unwrap_or_else(|| Err(self.missing(name)))?;
        let serving = described.group.instances.iter().filter(|one| one.lifecycle == Lifecycle::InService).count();
        let since = since.max(now.saturating_sub(KEPT).unwrap_or(since));
        let activities = self.activities(name, since).await?;
        read(&activities, serving, since, now).ok_or_else(|| {
            let what = "more instances left than had come, expected activities that lead to the instances there are";
            TargetError::malformed(ACTIVITIES, what)
        })
    }

    /// The activities of a group that may have been under way after `since`, and perhaps some before.
    async fn activities(&self, name: &str, since: Timestamp) -> Result<Vec<Activity>, TargetError> {
        let call = self.client.describe_scaling_activities().auto_scaling_group_name(name).max_records(PAGE);
        let mut pages = call.into_paginator().send();
        let mut activities = Vec::new();
        for _ in 0..MAX_PAGES {
            let Some(page) = pages.try_next().await.map_err(TargetError::of(ACTIVITIES))? else {
                return Ok(activities);
            };
            activities.extend_from_slice(page.activities());
            // The newest come first.
            let oldest = activities.last().and_then(|activity| timestamp(activity.start_time()?));
            if oldest.is_some_and(|oldest| elapsed(oldest, since) > LONGEST) {
                return Ok(activities);
            }
        }
        Err(TargetError::malformed(ACTIVITIES, "pages without end"))
    }
}

/// What becomes of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Its launch begins, so it is not in service.
    Begins,
    Comes,
    Leaves,
}

/// What `activities` tell from `since` to `now`, when so many serve; `None` where the two contradict each other.
fn read(activities: &[Activity], serving: usize, since: Timestamp, now: Timestamp) -> Option<Past> {
    let mut turns: Vec<_> = activities.iter().flat_map(turns).filter(|(at, ..)| *at <= now).collect();
    turns.sort_unstable();
    let mut there = HashMap::new();
    let mut sum = 0;
    let changes: Vec<(Timestamp, i64)> = turns
        .into_iter()
        .map(|(at, turn, id)| {
            let before = there.insert(id, turn == Turn::Comes);
            sum += match turn {
                Turn::Comes => i64::from(before != Some(true)),
                // Of an instance that is not known from before its end, its launch is older than the activities.
                Turn::Leaves => -i64::from(before != Some(false)),
                Turn::Begins => -i64::from(before == Some(true)),
            };
            (at, sum)
        })
        .collect();
    let first = i64::try_from(serving).ok()? - sum;
    let count = |sum: i64| u32::try_from(first + sum).ok();
    let before = changes.partition_point(|(at, _)| *at <= since);
    let at_since = before.checked_sub(1).map_or(0, |place| changes[place].1);
    let later = changes[before..].iter().map(|(at, sum)| Some((*at, count(*sum)?)));
    let sizes = std::iter::once(count(at_since).map(|count| (since, count))).chain(later).collect::<Option<_>>()?;
    let mut boots: Vec<_> = activities.iter().filter_map(boot).collect();
    boots.sort_unstable();
    Some(Past { sizes, boots })
}

/// What an activity says of its instance, and when.
fn turns(activity: &Activity) -> impl Iterator<Item = (Timestamp, Turn, &str)> {
    let description = activity.description().unwrap_or_default();
    let id = description.rsplit(' ').next().filter(|id| id.starts_with("i-"));
    let launches = description.starts_with(LAUNCHING);
    let comes =
        boot(activity).is_some() || COMING.iter().any(|text| description.starts_with(text)) && succeeded(activity);
    let leaves = LEAVING.iter().any(|text| description.starts_with(text));
    let start = activity.start_time().and_then(timestamp);
    let end = activity.end_time().and_then(timestamp);
    let of = |holds: bool, at: Option<Timestamp>, turn| Some((at.filter(|_| holds)?, turn, id?));
    [of(launches, start, Turn::Begins), of(comes, end, Turn::Comes), of(leaves, start, Turn::Leaves)]
        .into_iter()
        .flatten()
}

/// Launch to in service, of a launch that ended there.
fn boot(activity: &Activity) -> Option<Duration> {
    let rest = activity.description()?.strip_prefix(LAUNCHING)?;
    let serves = !rest.starts_with(INTO_WARM_POOL) && succeeded(activity);
    let (start, end) = (timestamp(activity.start_time()?)?, timestamp(activity.end_time()?)?);
    serves.then(|| elapsed(start, end))
}

fn succeeded(activity: &Activity) -> bool {
    activity.status_code() == Some(&ScalingActivityStatusCode::Successful)
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::DateTime;

    use super::*;

    fn activity(description: &str, status: &str, start: i64, end: i64) -> Activity {
        let activity = Activity::builder().activity_id("a").auto_scaling_group_name("g").cause("c");
        let activity = activity.description(description).status_code(status.into());
        activity.start_time(DateTime::from_secs(start)).end_time(DateTime::from_secs(end)).build()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sizes(activities: &[Activity], serving: usize) -> Option<Vec<(i64, u32)>> {
        let past = read(activities, serving, at(0), at(10_000))?;
        let mut sizes: Vec<_> = past.sizes.iter().map(|(since, count)| (since.as_second(), *count)).collect();
        sizes.dedup_by_key(|(_, count)| *count);
        Some(sizes)
    }

    #[test]
    fn the_past_is_told_backwards_from_the_instances_there_are() {
        let activities = [
            activity("Terminating EC2 instance: i-a", "Successful", 500, 560),
            activity("Launching a new EC2 instance: i-c", "Successful", 200, 320),
            activity("Launching a new EC2 instance: i-b", "Successful", 100, 190),
        ];
        let past = read(&activities, 4, at(150), at(10_000)).unwrap();
        let seen = [149, 150, 190, 320, 499, 500, 9999].map(|second| past.in_service(at(second)));
        assert_eq!(seen, [None, Some(3), Some(4), Some(5), Some(5), Some(4), Some(4)]);
        assert_eq!((past.boot(), past.launches()), (Some(Duration::from_mins(2)), 2));
        assert_eq!(sizes(&[], 4), Some(vec![(0, 4)]));
    }

    #[test]
    fn only_what_serves_is_counted() {
        let check = |texts: &[(&str, &str)], expected: &[(i64, u32)]| {
            let place = |index: usize| 100 * i64::try_from(index + 1).unwrap();
            let told = texts.iter().enumerate();
            let told = told.map(|(index, (text, status))| activity(text, status, place(index), place(index) + 10));
            let mut told: Vec<_> = told.collect();
            told.reverse();
            assert_eq!(sizes(&told, 3).as_deref(), Some(expected), "{texts:?}");
        };
        let (done, terminating) = ("Successful", "Terminating EC2 instance: i-a");
        let launching = "Launching a new EC2 instance: i-a";
        check(&[(launching, "Failed"), (terminating, done)], &[(0, 3)]);
        check(&[("Launching a new EC2 instance into warm pool: i-a", done), (terminating, done)], &[(0, 3)]);
        check(&[("Terminating EC2 instance from warm pool: i-a", done)], &[(0, 3)]);
        let warm = "Launching a new EC2 instance from warm pool: i-a";
        check(&[(warm, done), (terminating, done)], &[(0, 3), (110, 4), (200, 3)]);
        let (stands_by, returns) = ("Moving EC2 instance to Standby: i-a", "Moving EC2 instance out of Standby: i-a");
        check(&[(stands_by, done), (returns, done)], &[(0, 3), (100, 2), (210, 3)]);
        check(&[(stands_by, done), (terminating, done)], &[(0, 4), (100, 3)]);
        check(&[("Attaching an existing EC2 instance: i-a", done)], &[(0, 2), (110, 3)]);
        check(&[("Something new: i-a", done)], &[(0, 3)]);
    }

    #[test]
    fn activities_that_contradict_the_group_tell_nothing() {
        let launch = |id| activity(&format!("Launching a new EC2 instance: {id}"), "Successful", 100, 200);
        assert_eq!(sizes(&[launch("i-a"), launch("i-b")], 1), None);
    }
}
