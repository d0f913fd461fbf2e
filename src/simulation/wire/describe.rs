//! The `Describe…` calls of Auto Scaling: the groups of the world, written as the service writes them.

use jiff::Timestamp;

use super::autoscaling::{Refusal, Request};
use super::xml::Xml;
use crate::simulation::activity::{Activity, ActivityStatus, ScalingPolicy, activity_id};
use crate::simulation::group::{AutoScalingGroup, GroupError};
use crate::simulation::instance::Instance;
use crate::simulation::world::World;

/// The most names of a call whose pages are not set to 100.
const MAX_NAMES: usize = 50;

const ACCOUNT: &str = "arn:aws:autoscaling:us-east-1:111122223333";

/// A list, cut into pages, and the token of the next page after it.
fn paged<T>(name: &str, (items, token): (Vec<T>, Option<String>), content: impl FnMut(&mut Xml, T)) -> Xml {
    let mut xml = Xml::default();
    xml.list(name, items, content);
    xml.optional("NextToken", token);
    xml
}

fn group<'a>(world: &'a World, name: &str) -> Result<&'a AutoScalingGroup, Refusal> {
    world.fleet(name).map(|fleet| &fleet.group).ok_or_else(|| GroupError::not_found(name).into())
}

fn all(world: &World) -> impl Iterator<Item = &AutoScalingGroup> {
    world.fleets().map(|fleet| &fleet.group)
}

/// The group that is named, or every group; unknown names find nothing.
fn named<'a>(world: &'a World, request: &Request) -> impl Iterator<Item = &'a AutoScalingGroup> {
    let name = request.get("AutoScalingGroupName").map(str::to_owned);
    all(world).filter(move |group| name.as_ref().is_none_or(|name| group.name() == name))
}

pub(super) fn groups(world: &World, request: &Request) -> Result<Xml, Refusal> {
    let names = request.list("AutoScalingGroupNames");
    let most = if request.get("MaxRecords") == Some("100") { 100 } else { MAX_NAMES };
    if names.len() > most {
        let message = format!("The number of group names that may be passed in is limited to {most}");
        return Err(Refusal::validation(message));
    }
    let filters = filters(request)?;
    let chosen = |group: &&AutoScalingGroup| {
        (names.is_empty() || names.contains(&group.name())) && filters.iter().all(|filter| filter.chooses(group))
    };
    let with_instances = request.flag("IncludeInstances").unwrap_or(true);
    let page = request.short_page(all(world).filter(chosen).collect())?;
    Ok(paged("AutoScalingGroups", page, |xml, group| describe_group(xml, group, with_instances, world.start())))
}

/// A filter: groups with one of these values.
struct Filter<'a> {
    by: By<'a>,
    values: Vec<&'a str>,
}

enum By<'a> {
    /// Of the tag with this key.
    Tag(&'a str),
    /// Of any tag's key.
    TagKey,
    /// Of any tag's value.
    TagValue,
}

impl Filter<'_> {
    fn chooses(&self, group: &AutoScalingGroup) -> bool {
        let listed = |text: &String| self.values.contains(&text.as_str());
        match self.by {
            By::Tag(key) => group.tags.get(key).is_some_and(listed),
            By::TagKey => group.tags.keys().any(listed),
            By::TagValue => group.tags.values().any(listed),
        }
    }
}

fn filters(request: &Request) -> Result<Vec<Filter<'_>>, Refusal> {
    let names = (1..).map_while(|n: u32| Some((n, request.get(&format!("Filters.member.{n}.Name"))?)));
    let filter = |(n, name): (u32, _)| {
        let by = match name {
            "tag-key" => By::TagKey,
            "tag-value" => By::TagValue,
            _ => By::Tag(tag_of(name)?),
        };
        Ok(Filter { by, values: request.list(&format!("Filters.member.{n}.Values")) })
    };
    names.map(filter).collect()
}

fn tag_of(name: &str) -> Result<&str, Refusal> {
    let wrong = || Refusal::validation(format!("Filter type {name} is not correct"));
    name.strip_prefix("tag:").ok_or_else(wrong)
}

fn describe_group(xml: &mut Xml, group: &AutoScalingGroup, with_instances: bool, created: Timestamp) {
    let name = group.name();
    xml.text("AutoScalingGroupName", name);
    xml.text("AutoScalingGroupARN", format!("{ACCOUNT}:autoScalingGroup:0:autoScalingGroupName/{name}"));
    xml.text("MinSize", group.min());
    xml.text("MaxSize", group.max());
    xml.text("DesiredCapacity", group.desired());
    xml.text("DefaultCooldown", group.default_cooldown.as_secs());
    xml.optional("DefaultInstanceWarmup", group.default_instance_warmup.map(|warm_up| warm_up.as_secs()));
    xml.element("AvailabilityZones", |xml| xml.text("member", "us-east-1a"));
    xml.text("HealthCheckType", "EC2");
    xml.text("CreatedTime", created);
    xml.list("SuspendedProcesses", &group.suspended, |xml, process| {
        xml.text("ProcessName", process);
        xml.text("SuspensionReason", "User suspended");
    });
    xml.list("Tags", &group.tags, |xml, (key, value)| {
        xml.text("ResourceId", name);
        xml.text("ResourceType", "auto-scaling-group");
        xml.text("Key", key);
        xml.text("Value", value);
        xml.text("PropagateAtLaunch", false);
    });
    if let Some(principal) = &group.operator {
        xml.element("Operator", |xml| xml.text("Principal", principal));
    }
    if with_instances {
        xml.list("Instances", &group.instances, describe_instance);
    }
}

fn describe_instance(xml: &mut Xml, instance: &Instance) {
    xml.text("InstanceId", &instance.id);
    xml.text("InstanceType", "c7g.xlarge");
    xml.text("AvailabilityZone", "us-east-1a");
    xml.text("LifecycleState", instance.state.name());
    xml.text("HealthStatus", if instance.healthy { "Healthy" } else { "Unhealthy" });
    xml.text("ProtectedFromScaleIn", false);
}

fn of_group(group: &AutoScalingGroup) -> impl Iterator<Item = (&str, &Activity)> {
    group.activities().map(|activity| (group.name(), activity))
}

pub(super) fn activities(world: &World, request: &Request) -> Result<Xml, Refusal> {
    let mut found: Vec<(&str, &Activity)> = match request.get("AutoScalingGroupName") {
        Some(name) => of_group(group(world, name)?).collect(),
        None => all(world).flat_map(of_group).collect(),
    };
    let ids = request.list("ActivityIds");
    found.retain(|(_, activity)| ids.is_empty() || ids.contains(&activity_id(activity.number).as_str()));
    found.sort_by_key(|(_, activity)| std::cmp::Reverse((activity.start, activity.number)));
    Ok(paged("Activities", request.long_page(found)?, |xml, (group, activity)| {
        describe_activity(xml, group, activity);
    }))
}

fn describe_activity(xml: &mut Xml, group: &str, activity: &Activity) {
    xml.text("ActivityId", activity_id(activity.number));
    xml.text("AutoScalingGroupName", group);
    xml.text("Description", &activity.description);
    xml.text("Cause", &activity.cause);
    xml.text("StartTime", activity.start);
    xml.optional("EndTime", activity.end);
    xml.text("StatusCode", activity.status.code());
    if let ActivityStatus::Failed(message) = activity.status {
        xml.text("StatusMessage", message);
    }
    xml.text("Progress", if activity.end.is_some() { 100 } else { 50 });
    xml.text("Details", r#"{"Subnet ID":"subnet-00000000","Availability Zone":"us-east-1a"}"#);
}

pub(super) fn policies(world: &World, request: &Request) -> Result<Xml, Refusal> {
    let found = named(world, request).flat_map(|group| group.policies.iter().map(|policy| (group.name(), policy)));
    let page = request.short_page(found.collect())?;
    Ok(paged("ScalingPolicies", page, |xml, (group, policy)| describe_policy(xml, group, policy)))
}

fn describe_policy(xml: &mut Xml, group: &str, policy: &ScalingPolicy) {
    xml.text("AutoScalingGroupName", group);
    xml.text("PolicyName", &policy.name);
    xml.text("PolicyARN", format!("{ACCOUNT}:scalingPolicy:0:autoScalingGroupName/{group}:policyName/{}", policy.name));
    xml.text("PolicyType", &policy.kind);
    xml.text("Enabled", policy.enabled);
    if let Some(mode) = &policy.predictive_mode {
        xml.element("PredictiveScalingConfiguration", |xml| {
            xml.element("MetricSpecifications", |_| ());
            xml.text("Mode", mode);
        });
    }
}

pub(super) fn scheduled_actions(world: &World, request: &Request) -> Result<Xml, Refusal> {
    let found = named(world, request).flat_map(|g| g.scheduled_actions.iter().map(|action| (g.name(), action)));
    let page = request.short_page(found.collect())?;
    Ok(paged("ScheduledUpdateGroupActions", page, |xml, (group, action)| {
        xml.text("AutoScalingGroupName", group);
        xml.text("ScheduledActionName", action);
        xml.text("Recurrence", "0 8 * * *");
        xml.text("MinSize", 4);
    }))
}

pub(super) fn instance_refreshes(world: &World, request: &Request) -> Result<Xml, Refusal> {
    let group = group(world, request.group()?)?;
    let page = request.short_page(group.refreshes.iter().collect())?;
    Ok(paged("InstanceRefreshes", page, |xml, refresh| {
        xml.text("InstanceRefreshId", &refresh.id);
        xml.text("AutoScalingGroupName", group.name());
        xml.text("Status", &refresh.status);
    }))
}

pub(super) fn warm_pool(world: &World, request: &Request) -> Result<Xml, Refusal> {
    let group = group(world, request.group()?)?;
    let mut xml = Xml::default();
    if let Some(size) = group.warm_pool {
        xml.element("WarmPoolConfiguration", |xml| {
            xml.text("MinSize", size);
            xml.text("PoolState", "Stopped");
        });
    }
    xml.element("Instances", |_| ());
    Ok(xml)
}
