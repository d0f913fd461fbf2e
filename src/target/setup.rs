//! What somebody has set up to scale a group, whole, for whoever wants to take it over. It changes nothing.

use aws_sdk_autoscaling::types::{AutoScalingGroup, ScalingPolicy, ScheduledUpdateGroupAction};

use super::asg::{AutoScaling, DESCRIBE, MAX_PAGES, PAGE};
use super::preflight::{POLICIES, SCHEDULES};
use super::{ErrorKind, TargetError};

/// A group with its scaling policies and scheduled actions, as AWS describes them.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The group.
    pub group: AutoScalingGroup,
    /// Its scaling policies of every type.
    pub policies: Vec<ScalingPolicy>,
    /// Its scheduled actions.
    pub actions: Vec<ScheduledUpdateGroupAction>,
}

impl AutoScaling {
    /// What scales the group `name` now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such group; else what was wrong with a call.
    pub async fn setup(&self, name: &str) -> Result<Setup, TargetError> {
        let call = self.client.describe_auto_scaling_groups().auto_scaling_group_names(name);
        let found = call.send().await.map_err(TargetError::of(DESCRIBE))?;
        let group =
            found.auto_scaling_groups.into_iter().flatten().find(|group| group.auto_scaling_group_name() == Some(name));
        let group = group.ok_or_else(|| TargetError::new(DESCRIBE, ErrorKind::NotFound, name))?;
        Ok(Setup { group, policies: self.all_policies(name).await?, actions: self.all_actions(name).await? })
    }

    async fn all_policies(&self, name: &str) -> Result<Vec<ScalingPolicy>, TargetError> {
        let call = self.client.describe_policies().auto_scaling_group_name(name).max_records(PAGE);
        let (mut pages, mut all) = (call.into_paginator().send(), Vec::new());
        for _ in 0..MAX_PAGES {
            match pages.try_next().await.map_err(TargetError::of(POLICIES))? {
                Some(page) => all.extend(page.scaling_policies.into_iter().flatten()),
                None => return Ok(all),
            }
        }
        Err(TargetError::malformed(POLICIES, "pages without end"))
    }

    async fn all_actions(&self, name: &str) -> Result<Vec<ScheduledUpdateGroupAction>, TargetError> {
        let call = self.client.describe_scheduled_actions().auto_scaling_group_name(name).max_records(PAGE);
        let (mut pages, mut all) = (call.into_paginator().send(), Vec::new());
        for _ in 0..MAX_PAGES {
            match pages.try_next().await.map_err(TargetError::of(SCHEDULES))? {
                Some(page) => all.extend(page.scheduled_update_group_actions.into_iter().flatten()),
                None => return Ok(all),
            }
        }
        Err(TargetError::malformed(SCHEDULES, "pages without end"))
    }
}
