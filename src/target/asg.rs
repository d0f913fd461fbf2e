//! The Auto Scaling groups of one account and region.
//!
//! A failing call concerns only the groups it was about. Nothing here retries beyond what the client does, and nothing
//! is done in the background.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::retry::RetryConfig;
use aws_sdk_autoscaling::config::{self, Config};
use aws_sdk_autoscaling::operation::describe_instance_refreshes::DescribeInstanceRefreshesOutput;
use aws_sdk_autoscaling::types::{InstanceRefresh, InstanceRefreshStatus};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::activities::{self, Change, Told};
use super::calls::Calls;
use super::client;
use super::group::{self, Described};
use super::memory::{Answer, Look, Memory};
use super::{ErrorKind, Settings, TargetError};
use crate::observation::{Group, Tallies};
use crate::policy::Capacity;

/// The most names that `DescribeAutoScalingGroups` takes, given that `MaxRecords` is as many.
const NAMES_A_CALL: usize = 100;

/// The largest page of every call that is used here.
pub(super) const PAGE: i32 = 100;

/// The most pages of one answer that are read; at the quotas of an account there are fewer.
pub(super) const MAX_PAGES: usize = 300;

/// The most calls that are under way at once. All callers of an account and region share one allowance.
pub(super) const CALLS_AT_ONCE: usize = 4;

/// The most calls about single groups that follow one [`Survey`]; the rest waits for the next.
const MAX_LOOKS: usize = 32;

/// The longest that a look may take, its wait for others included. What is late is not known, and the next survey's turn.
const LOOKING: Duration = Duration::from_secs(2);

pub(super) const DESCRIBE: &str = "DescribeAutoScalingGroups";
pub(super) const ACTIVITIES: &str = "DescribeScalingActivities";
const REFRESHES: &str = "DescribeInstanceRefreshes";
const SET: &str = "SetDesiredCapacity";

/// The Auto Scaling groups of one account and region.
pub struct AutoScaling {
    pub(super) client: Client,
    memory: Mutex<Memory>,
    calls: Calls,
}

/// What one round of calls said of many groups, before anybody looked at a single one.
pub struct Survey {
    described: HashMap<Arc<str>, Result<Described, TargetError>>,
    looks_left: AtomicUsize,
    at_once: Semaphore,
}

impl Survey {
    /// Takes one of the looks that are left.
    fn may_look(&self) -> bool {
        self.looks_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl AutoScaling {
    /// Prepares to call Auto Scaling in `region`, or else in that of the settings, the environment or the profile.
    ///
    /// Without `credentials` they come from the environment, the profile, web identity, the container or the instance,
    /// in this order, and are fetched by the first call. This makes no call itself.
    ///
    /// # Errors
    /// [`ErrorKind::Validation`] when no region is set anywhere.
    pub async fn connect(
        settings: &Settings,
        region: Option<&str>,
        credentials: Option<Credentials>,
    ) -> Result<Self, TargetError> {
        let calls = Calls::default();
        let client = client::connect(settings, region, credentials, calls.clone()).await?;
        Ok(Self { client, memory: Mutex::default(), calls })
    }

    /// How many calls were made so far, and how long they took.
    pub fn calls(&self) -> Tallies {
        self.calls.tallies()
    }

    /// Describes groups; answers every name. A call that fails concerns only the names that it was to answer.
    ///
    /// [`Group::refreshing`] is also true where nobody could find out. The launches and the refresh of a group are
    /// looked at sparsely and without a retry; a look that fails leaves what was known.
    pub async fn describe(&self, names: &[Arc<str>], now: Timestamp) -> HashMap<Arc<str>, Result<Group, TargetError>> {
        let survey = self.survey(names).await;
        let complete = async |name: &Arc<str>| (Arc::clone(name), self.complete(&survey, name, now).await);
        join_all(names.iter().map(complete)).await.into_iter().collect()
    }

    /// The first half of [`AutoScaling::describe`]: what one round of calls says of all groups.
    pub async fn survey(&self, names: &[Arc<str>]) -> Survey {
        Survey {
            described: self.list(names).await,
            looks_left: AtomicUsize::new(MAX_LOOKS),
            at_once: Semaphore::new(CALLS_AT_ONCE),
        }
    }

    /// The second half, of one group: what calls about it alone add. They hold up no other group.
    pub async fn complete(&self, survey: &Survey, name: &Arc<str>, now: Timestamp) -> Result<Group, TargetError> {
        let described = match survey.described.get(name) {
            Some(Ok(described)) => described.clone(),
            Some(Err(error)) => {
                if error.kind() == ErrorKind::NotFound {
                    self.memory().forget(name);
                }
                return Err(error.clone());
            }
            None => return Err(self.missing(name)),
        };
        let due = self.memory().see(name, &described.group, now);
        let looks = due.into_iter().filter(|_| survey.may_look()).map(|look| {
            tokio::time::timeout(LOOKING, async {
                let _turn = survey.at_once.acquire().await;
                self.look(look).await
            })
        });
        let answers = join_all(looks).await;
        let mut memory = self.memory();
        answers.into_iter().flatten().for_each(|answer| memory.take(answer, now));
        Ok(memory.complete(name, described, now))
    }

    /// Whether an instance refresh is running in the group, asked anew. Ask before a scale-in; later descriptions
    /// remember the answer.
    pub async fn refreshing(&self, name: &str) -> Result<bool, TargetError> {
        let running = self.ask_for_refresh(name, Config::builder()).await;
        self.memory().refresh(name, &running);
        running
    }

    /// The changes of the desired capacity of a group that has been described, as far as its activities tell, oldest
    /// first; `None` until they could be read.
    pub fn changes(&self, name: &str) -> Option<Vec<Change>> {
        self.memory().changes(name)
    }

    /// The desired capacity as it is now. There is no compare-and-set, so ask just before a change.
    pub async fn desired_capacity(&self, name: &Arc<str>) -> Result<Capacity, TargetError> {
        let described = self.list(std::slice::from_ref(name)).await.remove(name);
        let described = described.unwrap_or_else(|| Err(self.missing(name)));
        described.map(|described| described.group.desired)
    }

    /// Sets the desired capacity, whatever cooldown the group itself may have.
    pub async fn set_desired_capacity(&self, name: &str, desired: Capacity) -> Result<(), TargetError> {
        let call = self.client.set_desired_capacity().auto_scaling_group_name(name).honor_cooldown(false);
        // Capacity::MAX is far below i32::MAX.
        call.desired_capacity(desired.get().cast_signed()).send().await.map(drop).map_err(TargetError::of(SET))
    }

    /// Describes groups, as far as the description goes; answers every name.
    pub(super) async fn list(&self, names: &[Arc<str>]) -> HashMap<Arc<str>, Result<Described, TargetError>> {
        let batches: Vec<_> = names.chunks(NAMES_A_CALL).map(|batch| self.list_batch(batch)).collect();
        iter(batches).buffer_unordered(CALLS_AT_ONCE).flat_map(iter).collect().await
    }

    async fn list_batch(&self, names: &[Arc<str>]) -> HashMap<Arc<str>, Result<Described, TargetError>> {
        let mut found = HashMap::with_capacity(names.len());
        let failure = self.list_pages(names, &mut found).await.err();
        for name in names {
            let why = || failure.clone().unwrap_or_else(|| self.missing(name));
            found.entry(Arc::clone(name)).or_insert_with(|| Err(why()));
        }
        found
    }

    /// That there is no group `name`, and where: it may well be in another region.
    pub(super) fn missing(&self, name: &str) -> TargetError {
        let region = self.client.config().region().map_or("an unknown region", |region| region.as_ref());
        TargetError::new(DESCRIBE, ErrorKind::NotFound, &format!("{name} in {region}"))
    }

    async fn list_pages(
        &self,
        names: &[Arc<str>],
        found: &mut HashMap<Arc<str>, Result<Described, TargetError>>,
    ) -> Result<(), TargetError> {
        let asked = names.iter().map(ToString::to_string).collect();
        let call = self.client.describe_auto_scaling_groups().set_auto_scaling_group_names(Some(asked));
        let mut pages = call.max_records(PAGE).into_paginator().send();
        for _ in 0..MAX_PAGES {
            let Some(page) = pages.try_next().await.map_err(TargetError::of(DESCRIBE))? else { return Ok(()) };
            for group in page.auto_scaling_groups() {
                let name = names.iter().find(|name| Some(&***name) == group.auto_scaling_group_name());
                if let Some(name) = name {
                    let described = group::read(group).map_err(|what| TargetError::malformed(DESCRIBE, what));
                    found.insert(Arc::clone(name), described);
                }
            }
        }
        Err(TargetError::malformed(DESCRIBE, "pages without end"))
    }

    async fn look(&self, look: Look) -> Answer {
        match look {
            Look::Activities(name, records) => {
                let told = self.look_at_activities(&name, records).await;
                if let Err(error) = &told {
                    tracing::warn!(event = "activities-unknown", asg = &*name, error = %error, "scaling activities are not known");
                }
                Answer::Activities(name, told)
            }
            Look::Refresh(name) => {
                let running = self.ask_for_refresh(&name, once()).await;
                if let Err(error) = &running {
                    tracing::warn!(event = "refreshes-unknown", asg = &*name, error = %error, "an instance refresh cannot be ruled out");
                }
                Answer::Refresh(name, running)
            }
        }
    }

    async fn look_at_activities(&self, name: &str, records: i32) -> Result<Told, TargetError> {
        let call = self.client.describe_scaling_activities().auto_scaling_group_name(name).max_records(records);
        let answer = call.customize().config_override(once()).send().await.map_err(TargetError::of(ACTIVITIES))?;
        Ok(activities::read(answer.activities()))
    }

    async fn ask_for_refresh(&self, name: &str, patience: config::Builder) -> Result<bool, TargetError> {
        let call = self.client.describe_instance_refreshes().auto_scaling_group_name(name).max_records(PAGE);
        let answer = call.customize().config_override(patience).send().await.map_err(TargetError::of(REFRESHES))?;
        Ok(any_running(&answer))
    }

    /// A panic elsewhere leaves nothing half-done in the memory.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look is not retried: the next description is its retry.
fn once() -> config::Builder {
    Config::builder().retry_config(RetryConfig::disabled())
}

/// A state that is not known to be final counts as running.
fn any_running(answer: &DescribeInstanceRefreshesOutput) -> bool {
    use InstanceRefreshStatus::{Cancelled, Failed, RollbackFailed, RollbackSuccessful, Successful};
    let over = |refresh: &InstanceRefresh| {
        matches!(refresh.status(), Some(Cancelled | Failed | RollbackFailed | RollbackSuccessful | Successful))
    };
    !answer.instance_refreshes().iter().all(over)
}
