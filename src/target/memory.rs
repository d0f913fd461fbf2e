//! What is remembered of a group between two descriptions, because a description does not say it.
//!
//! It holds one entry for each group that was ever asked for and exists, and in it only instances of the last
//! description. It never calls anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::TargetError;
use super::activities::{self, Change, Told};
use super::group::Described;
use super::preflight::{self, Actors};
use crate::observation::{Group, LaunchFailure, Lifecycle};
use crate::policy::Capacity;

/// Most activities asked for when a group is new: as many as one call gives.
const ACTIVITIES_OF_A_NEW_GROUP: i32 = 100;

/// Most activities asked for while a group is short of capacity: the newest launches are enough.
const ACTIVITIES_WHILE_SHORT: i32 = 20;

/// Rest after a look that failed, or that found a refresh running.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// Rest after a look that found no refresh running. Whoever scales in asks once more just before.
const LOOK_FOR_REFRESH: Duration = Duration::from_mins(10);

/// What is remembered of every group.
#[derive(Default)]
pub(super) struct Memory(HashMap<Arc<str>, Known>);

struct Known {
    /// The instances in service and since when; `None` until the first description.
    in_service: Option<HashMap<Arc<str>, Option<Timestamp>>>,
    /// Activities were read at least once.
    told: bool,
    activities_due: Timestamp,
    failure: Option<LaunchFailure>,
    changes: Option<Vec<Change>>,
    /// The last look found no refresh running. Otherwise one runs or may be running.
    idle: bool,
    refresh_due: Timestamp,
    actors: Option<Actors>,
}

/// A call for one group that completes its description.
pub(super) enum Look {
    /// Read this many activities.
    Activities(Arc<str>, i32),
    /// Find out whether an instance refresh is running.
    Refresh(Arc<str>),
}

/// What a [`Look`] came back with.
pub(super) enum Answer {
    /// To [`Look::Activities`].
    Activities(Arc<str>, Result<Told, TargetError>),
    /// To [`Look::Refresh`].
    Refresh(Arc<str>, Result<bool, TargetError>),
}

impl Default for Known {
    fn default() -> Self {
        Self {
            in_service: None,
            told: false,
            activities_due: Timestamp::MIN,
            failure: None,
            changes: None,
            idle: false,
            refresh_due: Timestamp::MIN,
            actors: None,
        }
    }
}

impl Memory {
    /// Takes note of a description and says which looks are due.
    pub fn see(&mut self, name: &Arc<str>, group: &Group, now: Timestamp) -> Vec<Look> {
        let known = self.0.entry(Arc::clone(name)).or_default();
        known.see(group, now);
        let records = if known.told { ACTIVITIES_WHILE_SHORT } else { ACTIVITIES_OF_A_NEW_GROUP };
        let activities = (!known.told || launching(group)) && is_due(known.activities_due, now);
        let refresh = is_due(known.refresh_due, now);
        let activities = activities.then(|| Look::Activities(Arc::clone(name), records));
        activities.into_iter().chain(refresh.then(|| Look::Refresh(Arc::clone(name)))).collect()
    }

    /// Takes note of what a look came back with.
    pub fn take(&mut self, answer: Answer, now: Timestamp) {
        match answer {
            Answer::Activities(name, told) => self.0.entry(name).or_default().take_activities(told, now),
            Answer::Refresh(name, running) => {
                let known = self.0.entry(name).or_default();
                known.idle = matches!(running, Ok(false));
                known.refresh_due = after(now, if known.idle { LOOK_FOR_REFRESH } else { LOOK_AGAIN });
            }
        }
    }

    /// Takes note of whether a refresh is running, as far as somebody could find out.
    pub fn refresh(&mut self, name: &str, running: &Result<bool, TargetError>) {
        if let Some(known) = self.0.get_mut(name) {
            known.idle = matches!(running, Ok(false));
            if !known.idle {
                known.refresh_due = Timestamp::MIN;
            }
        }
    }

    /// Takes note of what is set up to change the group.
    pub fn preflight(&mut self, name: &Arc<str>, actors: Actors) {
        self.0.entry(Arc::clone(name)).or_default().actors = Some(actors);
    }

    /// Completes a description.
    pub fn complete(&mut self, name: &Arc<str>, described: Described, now: Timestamp) -> Group {
        let known = self.0.entry(Arc::clone(name)).or_default();
        if !short(&described.group) {
            known.failure = None;
        }
        let rivals = preflight::rivals(known.actors, &described);
        let mut group = described.group;
        group.refreshing = !known.idle;
        group.launch_failure = activities::recent(known.failure, now);
        group.rivals = rivals;
        for instance in &mut group.instances {
            instance.in_service_since = known.in_service.as_ref().and_then(|seen| *seen.get(&instance.id)?);
        }
        group
    }

    /// The changes of the desired capacity that the group's activities told when they were read last; `None` before.
    pub fn changes(&self, name: &str) -> Option<Vec<Change>> {
        self.0.get(name)?.changes.clone()
    }

    /// Forgets a group that is no more, so that a new one of that name starts afresh.
    pub fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

impl Known {
    /// An instance that was in service before anybody looked has no time; one that came since, now at the latest, even if
    /// a clock that was ahead then had it come later: it would be warming up for as long.
    fn see(&mut self, group: &Group, now: Timestamp) {
        let before = self.in_service.take();
        let since = |id: &Arc<str>| match &before {
            None => None,
            Some(before) => before.get(id).copied().unwrap_or(Some(now)).map(|since| since.min(now)),
        };
        let in_service = group.instances.iter().filter(|instance| instance.lifecycle == Lifecycle::InService);
        self.in_service = Some(in_service.map(|i| (Arc::clone(&i.id), since(&i.id))).collect());
    }

    fn take_activities(&mut self, told: Result<Told, TargetError>, now: Timestamp) {
        let Ok(told) = told else {
            self.activities_due = after(now, LOOK_AGAIN);
            return;
        };
        self.told = true;
        self.failure = told.failure;
        self.changes = Some(told.changes);
        let seen = self.in_service.get_or_insert_default();
        for (id, since) in told.in_service {
            if let Some(known) = seen.get_mut(&id) {
                *known = Some(since.min(now));
            }
        }
    }
}

/// Fewer instances than desired are there or on their way.
fn short(group: &Group) -> bool {
    capacity(group, |state| matches!(state, Lifecycle::InService | Lifecycle::Pending)) < group.desired
}

fn launching(group: &Group) -> bool {
    short(group) || group.instances.iter().any(|instance| instance.lifecycle == Lifecycle::Pending)
}

fn capacity(group: &Group, counts: impl Fn(Lifecycle) -> bool) -> Capacity {
    let counted = group.instances.iter().filter(|instance| counts(instance.lifecycle));
    counted.fold(Capacity::ZERO, |sum, instance| sum.plus(instance.weight))
}

/// What lies further ahead than any rest was set by a clock that was ahead.
fn is_due(due: Timestamp, now: Timestamp) -> bool {
    due <= now || due > after(now, LOOK_FOR_REFRESH)
}

fn after(now: Timestamp, rest: Duration) -> Timestamp {
    now.saturating_add(rest).unwrap_or(Timestamp::MAX)
}
