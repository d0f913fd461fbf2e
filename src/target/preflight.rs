//! What else would change a group's desired capacity.
//!
//! It never switches anything off: the owner decides.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_autoscaling::types::{PredictiveScalingMode, ScalingPolicy, ScheduledUpdateGroupAction};
use futures_util::StreamExt;
use futures_util::stream::iter;
use jiff::Timestamp;

use super::asg::{AutoScaling, CALLS_AT_ONCE, MAX_PAGES, PAGE};
use super::group::Described;
use super::{ErrorKind, TargetError};
use crate::observation::Rivals;

/// Up to this many groups are asked about one by one. For more, all policies of the region are listed: a page holds
/// those of a hundred groups.
const ONE_BY_ONE: usize = 10;

pub(super) const POLICIES: &str = "DescribePolicies";
pub(super) const SCHEDULES: &str = "DescribeScheduledActions";

/// What is set up to change a group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Actors {
    /// An enabled scaling policy that alarms drive: target tracking, step, simple, or one of a type not known today.
    alarms: bool,
    /// An enabled predictive scaling policy that acts on its forecast.
    predictive: bool,
    /// A scheduled action that is still to come.
    schedules: bool,
}

type Found = HashMap<String, Actors>;

impl AutoScaling {
    /// Finds out who else would scale the groups; answers every name. Later descriptions remember the answer as
    /// [`Group::rivals`](crate::observation::Group::rivals), until then that is [`Rivals::Unknown`].
    pub async fn preflight(
        &self,
        names: &[Arc<str>],
        now: Timestamp,
    ) -> HashMap<Arc<str>, Result<Rivals, TargetError>> {
        let described = self.list(names).await;
        let there = described.iter().filter(|(_, described)| described.is_ok()).map(|(name, _)| Arc::clone(name));
        let actors = self.actors(&there.collect::<Vec<_>>(), now).await;
        let mut memory = self.memory();
        let answer = |(name, described): (Arc<str>, Result<Described, TargetError>)| {
            let rivals = described.and_then(|described| {
                let missing = || Err(TargetError::new(POLICIES, ErrorKind::NotFound, &name));
                let actors = actors.get(&name).cloned().unwrap_or_else(missing)?;
                memory.preflight(&name, actors);
                Ok(rivals(Some(actors), &described))
            });
            (name, rivals)
        };
        described.into_iter().map(answer).collect()
    }

    async fn actors(&self, names: &[Arc<str>], now: Timestamp) -> HashMap<Arc<str>, Result<Actors, TargetError>> {
        let scopes: Vec<&[Arc<str>]> = if names.len() > ONE_BY_ONE { vec![names] } else { names.chunks(1).collect() };
        let scopes: Vec<_> = scopes.into_iter().map(|scope| self.actors_of(scope, now)).collect();
        iter(scopes).buffer_unordered(CALLS_AT_ONCE).flat_map(iter).collect().await
    }

    /// Asks about one group, or lists the region to find several.
    async fn actors_of(&self, scope: &[Arc<str>], now: Timestamp) -> Vec<(Arc<str>, Result<Actors, TargetError>)> {
        let single = if let [name] = scope { Some(&**name) } else { None };
        let found = self.find(single, now).await;
        let of = |name: &Arc<str>| found.as_ref().map(|found| found.get(&**name).copied().unwrap_or_default());
        scope.iter().map(|name| (Arc::clone(name), of(name).map_err(Clone::clone))).collect()
    }

    async fn find(&self, name: Option<&str>, now: Timestamp) -> Result<Found, TargetError> {
        let mut found = Found::new();
        self.find_policies(name, &mut found).await?;
        self.find_schedules(name, now, &mut found).await?;
        Ok(found)
    }

    async fn find_policies(&self, name: Option<&str>, found: &mut Found) -> Result<(), TargetError> {
        let call = self.client.describe_policies().set_auto_scaling_group_name(name.map(str::to_owned));
        let mut pages = call.max_records(PAGE).into_paginator().send();
        for _ in 0..MAX_PAGES {
            let Some(page) = pages.try_next().await.map_err(TargetError::of(POLICIES))? else { return Ok(()) };
            for policy in page.scaling_policies().iter().filter(|policy| policy.enabled() != Some(false)) {
                let actors = found.entry(policy.auto_scaling_group_name().unwrap_or_default().to_owned()).or_default();
                if policy.policy_type() == Some("PredictiveScaling") {
                    actors.predictive |= acts_on_forecast(policy);
                } else {
                    actors.alarms = true;
                }
            }
        }
        Err(TargetError::malformed(POLICIES, "pages without end"))
    }

    async fn find_schedules(&self, name: Option<&str>, now: Timestamp, found: &mut Found) -> Result<(), TargetError> {
        let call = self.client.describe_scheduled_actions().set_auto_scaling_group_name(name.map(str::to_owned));
        let mut pages = call.max_records(PAGE).into_paginator().send();
        for _ in 0..MAX_PAGES {
            let Some(page) = pages.try_next().await.map_err(TargetError::of(SCHEDULES))? else { return Ok(()) };
            for action in page.scheduled_update_group_actions().iter().filter(|action| still_to_come(action, now)) {
                let name = action.auto_scaling_group_name().unwrap_or_default().to_owned();
                found.entry(name).or_default().schedules = true;
            }
        }
        Err(TargetError::malformed(SCHEDULES, "pages without end"))
    }
}

/// Who would change the group, the one that the owner can least ignore first.
pub(super) fn rivals(actors: Option<Actors>, described: &Described) -> Rivals {
    let Some(actors) = actors else {
        return if described.operator { Rivals::Operator } else { Rivals::Unknown };
    };
    if described.operator {
        Rivals::Operator
    } else if actors.predictive || (actors.alarms && !described.alarms_suspended) {
        Rivals::ScalingPolicy
    } else if actors.schedules && !described.schedules_suspended {
        Rivals::ScheduledAction
    } else {
        Rivals::None
    }
}

fn acts_on_forecast(policy: &ScalingPolicy) -> bool {
    let mode = policy.predictive_scaling_configuration().and_then(|configuration| configuration.mode());
    mode == Some(&PredictiveScalingMode::ForecastAndScale)
}

fn still_to_come(action: &ScheduledUpdateGroupAction, now: Timestamp) -> bool {
    action.end_time().is_none_or(|end| end.secs() > now.as_second())
}
