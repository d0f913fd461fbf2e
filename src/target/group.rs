//! From the SDK's description of a group to [`Group`].
//!
//! It never guesses a number: a group without its sizes is an error.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_autoscaling::types;

use crate::observation::{Group, Instance, Lifecycle, Rivals, Suspended};
use crate::policy::Capacity;

/// What the SDK gives for a word that is missing.
const UNSET: &str = "no value was set";

/// A group as it was described, and what the description says about its rivals.
#[derive(Clone)]
pub(super) struct Described {
    /// Without what only [`super::memory`] knows.
    pub group: Group,
    /// Only an AWS service may change the group.
    pub operator: bool,
    /// Alarms change nothing while `AlarmNotification` is suspended.
    pub alarms_suspended: bool,
    /// Scheduled actions do not run while `ScheduledActions` is suspended.
    pub schedules_suspended: bool,
}

/// Reads a description; the error says what was expected.
pub(super) fn read(group: &types::AutoScalingGroup) -> Result<Described, &'static str> {
    let suspended = |process| group.suspended_processes().iter().any(|s| s.process_name() == Some(process));
    let desired = size(group.desired_capacity()).ok_or("DesiredCapacity: expected a number of instances")?;
    let min = size(group.min_size()).ok_or("MinSize: expected a number of instances")?;
    let max = size(group.max_size()).ok_or("MaxSize: expected a number of instances")?;
    // The SDK reads a size that is missing as zero. A MaxSize of zero would look like an order to end the fleet.
    if !(min..=max).contains(&desired) {
        return Err("DesiredCapacity: expected one between MinSize and MaxSize");
    }
    Ok(Described {
        group: Group {
            desired,
            min,
            max,
            default_warm_up: group.default_instance_warmup().and_then(seconds),
            instances: group.instances().iter().map(instance).collect::<Result<_, _>>()?,
            suspended: Suspended { launch: suspended("Launch"), terminate: suspended("Terminate") },
            refreshing: true,
            launch_failure: None,
            rivals: Rivals::Unknown,
        },
        operator: group.operator().is_some(),
        alarms_suspended: suspended("AlarmNotification"),
        schedules_suspended: suspended("ScheduledActions"),
    })
}

fn size(count: Option<i32>) -> Option<Capacity> {
    count.and_then(|count| u32::try_from(count).ok()).map(Capacity::new)
}

/// AWS writes -1 for a warm-up that was removed.
fn seconds(count: i32) -> Option<Duration> {
    u64::try_from(count).ok().map(Duration::from_secs)
}

fn instance(instance: &types::Instance) -> Result<Instance, &'static str> {
    let weight = match instance.weighted_capacity() {
        None => Some(Capacity::new(1)),
        Some(weight) => weight.parse().ok().map(Capacity::new),
    };
    // The SDK makes up a text for either where it is missing. An instance whose state was lost must not pass for one that serves
    // nobody: what is left would seem to carry all of the load.
    let id = instance.instance_id().filter(|id| !id.is_empty());
    let state = instance.lifecycle_state().map(types::LifecycleState::as_str).filter(|state| *state != UNSET);
    Ok(Instance {
        id: Arc::from(id.ok_or("InstanceId: expected one for each instance")?),
        lifecycle: lifecycle(state.ok_or("LifecycleState: expected one for each instance")?),
        healthy: instance.health_status().is_some_and(|status| status.eq_ignore_ascii_case("Healthy")),
        in_service_since: None,
        weight: weight.ok_or("WeightedCapacity: expected a number of capacity units")?,
    })
}

fn lifecycle(state: &str) -> Lifecycle {
    match state.split(':').next() {
        Some("InService") => Lifecycle::InService,
        Some("Pending") => Lifecycle::Pending,
        Some("Terminating" | "Terminated") => Lifecycle::Terminating,
        _ => Lifecycle::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lifecycle_state_has_a_meaning_for_capacity() {
        let known = types::LifecycleState::values().iter().map(|state| (*state, lifecycle(state)));
        for (state, meaning) in known.chain([("Rebooting:Wait", lifecycle("Rebooting:Wait"))]) {
            let expected = match state {
                "InService" => Lifecycle::InService,
                "Pending" | "Pending:Wait" | "Pending:Proceed" => Lifecycle::Pending,
                _ if state.starts_with("Terminat") => Lifecycle::Terminating,
                _ => Lifecycle::Other,
            };
            assert_eq!(meaning, expected, "{state}");
        }
    }

    #[test]
    fn a_group_without_its_sizes_is_no_group() {
        let whole = || {
            let sizes = types::AutoScalingGroup::builder().desired_capacity(2).min_size(1).max_size(4);
            sizes.default_instance_warmup(-1)
        };
        let described = read(&whole().build()).ok().unwrap();
        assert_eq!((described.group.desired.get(), described.group.default_warm_up), (2, None));
        for broken in [whole().set_desired_capacity(None), whole().set_min_size(None), whole().max_size(-1)] {
            assert!(read(&broken.build()).is_err());
        }
        let weight = |weight: &str| {
            types::Instance::builder()
                .instance_id("i-1")
                .lifecycle_state("InService".into())
                .weighted_capacity(weight)
                .build()
        };
        assert_eq!(instance(&weight("4")).unwrap().weight, Capacity::new(4));
        assert!(instance(&weight("heavy")).is_err());
    }
}
