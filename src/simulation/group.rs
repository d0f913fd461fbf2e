//! An Auto Scaling group as the service behaves: bounds, launches that take their time, activities, terminations.
//!
//! Pure: time is an argument. It never knows what its instances serve.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::activity::{Activity, ActivityStatus, InstanceRefresh, ScalingPolicy, activity_id};
use super::faults::Faults;
use super::instance::{Instance, State};
use super::noise::scramble;
use crate::observation::elapsed;
use crate::policy::Capacity;

/// Activities that are kept; the service keeps six weeks.
pub const MAX_ACTIVITIES: usize = 1000;

/// Changes of the desired capacity that are kept.
pub const MAX_DESIRED_HISTORY: usize = 10_000;

/// How long an instance is `Terminating`.
pub const TERMINATING: Duration = Duration::from_secs(20);

/// How long after a failed launch the group tries again.
pub const LAUNCH_RETRY: Duration = Duration::from_secs(30);

/// The least time that an instance is billed for.
pub const LEAST_BILLED: Duration = Duration::from_mins(1);

/// How a group starts out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// The name of the group.
    pub name: String,
    /// `MinSize`.
    pub min: Capacity,
    /// `MaxSize`.
    pub max: Capacity,
    /// `DesiredCapacity`, between the two; as many instances are in service, and warm, at the start.
    pub desired: Capacity,
    /// Launch to in service.
    pub boot: Duration,
}

/// Why the service refused a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// `ValidationError`, in the words of the service.
    #[error("{0}")]
    Validation(String),
    /// `ScalingActivityInProgress`: the call honours the cooldown, and this activity blocks it.
    #[error("Scaling activity {} is in progress and blocks this action", activity_id(*.0))]
    ActivityInProgress(u64),
}

impl GroupError {
    /// No group has this name.
    pub fn not_found(name: &str) -> Self {
        Self::Validation(format!("AutoScalingGroup name not found - AutoScalingGroup {name} not found"))
    }
}

/// What `UpdateAutoScalingGroup` changes; what is left out stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// New `MinSize`.
    pub min: Option<Capacity>,
    /// New `MaxSize`.
    pub max: Option<Capacity>,
    /// New `DesiredCapacity`.
    pub desired: Option<Capacity>,
}

/// An Auto Scaling group. Facts that the world does not act on are public, for tests to set.
#[derive(Clone, Debug)]
pub struct AutoScalingGroup {
    name: String,
    min: Capacity,
    max: Capacity,
    desired: Capacity,
    /// Launch to in service.
    pub boot: Duration,
    /// `DefaultInstanceWarmup`.
    pub default_instance_warmup: Option<Duration>,
    /// `DefaultCooldown`, honoured by calls with `HonorCooldown=true`.
    pub default_cooldown: Duration,
    /// Names of suspended processes; `Launch` and `Terminate` have their effect.
    pub suspended: BTreeSet<String>,
    /// `Operator`: the service that alone may change the group.
    pub operator: Option<String>,
    /// Tags of the group.
    pub tags: BTreeMap<String, String>,
    /// Scaling policies.
    pub policies: Vec<ScalingPolicy>,
    /// Names of scheduled actions.
    pub scheduled_actions: Vec<String>,
    /// Instance refreshes, newest first.
    pub refreshes: Vec<InstanceRefresh>,
    /// The group has a warm pool of this least size.
    pub warm_pool: Option<Capacity>,
    /// Oldest first.
    pub instances: Vec<Instance>,
    activities: VecDeque<Activity>,
    next_activity: u64,
    next_instance: u64,
    request: Option<String>,
    retry_at: Timestamp,
    billed_seconds: f64,
    desired_history: VecDeque<(Timestamp, Capacity)>,
}

impl AutoScalingGroup {
    /// A group at `now`, with its desired capacity in service long ago. `seed` makes the ids of its instances.
    pub fn new(settings: GroupSettings, seed: u64, now: Timestamp) -> Self {
        let mut group = Self {
            name: settings.name,
            min: settings.min,
            max: settings.max,
            desired: settings.desired,
            boot: settings.boot,
            default_instance_warmup: None,
            default_cooldown: Duration::from_mins(5),
            suspended: BTreeSet::new(),
            operator: None,
            tags: BTreeMap::new(),
            policies: vec![],
            scheduled_actions: vec![],
            refreshes: vec![],
            warm_pool: None,
            instances: vec![],
            activities: VecDeque::new(),
            // Ids of different groups differ, as they do in the service.
            next_activity: seed >> 20,
            next_instance: seed,
            request: None,
            retry_at: now,
            billed_seconds: 0.0,
            desired_history: VecDeque::from([(now, settings.desired)]),
        };
        for _ in 0..settings.desired.get() {
            let id = group.instance_id();
            let since = now.saturating_sub(LONG_AGO).unwrap_or(now);
            let state = State::InService { since };
            group.instances.push(Instance { id, state, launched: since, healthy: true, activity: 0 });
        }
        group
    }

    /// The name of the group.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `MinSize`.
    pub fn min(&self) -> Capacity {
        self.min
    }

    /// `MaxSize`.
    pub fn max(&self) -> Capacity {
        self.max
    }

    /// `DesiredCapacity`.
    pub fn desired(&self) -> Capacity {
        self.desired
    }

    /// How many instances count towards the desired capacity.
    pub fn live(&self) -> Capacity {
        self.count(Instance::is_live)
    }

    /// How many instances serve.
    pub fn in_service(&self) -> Capacity {
        self.count(|instance| matches!(instance.state, State::InService { .. }))
    }

    /// How many instances boot.
    pub fn pending(&self) -> Capacity {
        self.count(|instance| matches!(instance.state, State::Pending { .. }))
    }

    fn count(&self, of: impl Fn(&Instance) -> bool) -> Capacity {
        self.instances.iter().filter(|instance| of(instance)).fold(Capacity::ZERO, |sum, _| sum.plus(ONE))
    }

    /// The activities, newest first; at most [`MAX_ACTIVITIES`].
    pub fn activities(&self) -> impl Iterator<Item = &Activity> {
        self.activities.iter()
    }

    /// Every change of the desired capacity, oldest first, beginning with what it was at the start; at most the last
    /// [`MAX_DESIRED_HISTORY`].
    pub fn desired_history(&self) -> impl Iterator<Item = (Timestamp, Capacity)> {
        self.desired_history.iter().copied()
    }

    /// Instance-seconds billed so far: from launch to termination, at least [`LEAST_BILLED`] each.
    pub fn billed_seconds(&self) -> f64 {
        self.billed_seconds
    }

    /// `SetDesiredCapacity`.
    pub fn set_desired(&mut self, desired: Capacity, honor_cooldown: bool, now: Timestamp) -> Result<(), GroupError> {
        if desired > self.max {
            return Err(out_of_bounds(desired, "above max", self.max));
        }
        if desired < self.min {
            return Err(out_of_bounds(desired, "below min", self.min));
        }
        if honor_cooldown && let Some(blocking) = self.blocking(now) {
            return Err(GroupError::ActivityInProgress(blocking));
        }
        self.request(desired, now);
        Ok(())
    }

    /// The activity that still runs or whose cooldown still does.
    fn blocking(&self, now: Timestamp) -> Option<u64> {
        let blocks = |a: &&Activity| a.end.is_none_or(|end| elapsed(end, now) < self.default_cooldown);
        self.activities.iter().find(blocks).map(|activity| activity.number)
    }

    /// `UpdateAutoScalingGroup`. New bounds move the desired capacity along without a word, as the service does.
    pub fn update(&mut self, update: Update, now: Timestamp) -> Result<(), GroupError> {
        let (min, max) = (update.min.unwrap_or(self.min), update.max.unwrap_or(self.max));
        if min > max {
            let message = format!("Max bound, {max}, must be greater than or equal to min bound, {min}");
            return Err(GroupError::Validation(message));
        }
        if let Some(desired) = update.desired.filter(|desired| !(min..=max).contains(desired)) {
            return Err(GroupError::Validation(format!(
                "Desired capacity:{desired} must be between the specified min size:{min} and max size:{max}"
            )));
        }
        (self.min, self.max) = (min, max);
        self.request(update.desired.unwrap_or(self.desired).clamp(min, max), now);
        Ok(())
    }

    fn request(&mut self, desired: Capacity, now: Timestamp) {
        if desired == self.desired {
            return;
        }
        self.request = Some(format!(
            "At {} a user request explicitly set group desired capacity changing the desired capacity from {} to {desired}.  ",
            prose(now),
            self.desired
        ));
        self.desired = desired;
        self.retry_at = now;
        push_bounded(&mut self.desired_history, (now, desired), MAX_DESIRED_HISTORY);
    }

    /// Lets `step` pass, which ends at `now`: boots end, terminations end, and the group moves towards its desired
    /// capacity.
    pub fn advance(&mut self, now: Timestamp, step: Duration, faults: &Faults) {
        self.billed_seconds += self.live().as_f64() * step.as_secs_f64();
        self.settle(now);
        self.launch(now, faults);
        self.terminate(now);
    }

    fn settle(&mut self, now: Timestamp) {
        let mut done = vec![];
        for instance in &mut self.instances {
            if let State::Pending { until } = instance.state
                && until <= now
            {
                instance.state = State::InService { since: now };
                done.push(instance.activity);
            }
        }
        self.instances.retain(|instance| match instance.state {
            State::Terminating { until } if until <= now => {
                done.push(instance.activity);
                false
            }
            _ => true,
        });
        for activity in self.activities.iter_mut().filter(|activity| done.contains(&activity.number)) {
            activity.status = ActivityStatus::Successful;
            activity.end = Some(now);
        }
    }

    fn launch(&mut self, now: Timestamp, faults: &Faults) {
        while self.live() < self.desired && now >= self.retry_at && !self.suspended.contains("Launch") {
            let live = self.live();
            let cause = format!(
                "{}At {} an instance was started in response to a difference between desired and actual capacity, \
                 increasing the capacity from {live} to {}.",
                self.request.as_deref().unwrap_or_default(),
                prose(now),
                live.plus(ONE)
            );
            if let Some(fault) = faults.launches.filter(|fault| fault.bars(live)) {
                let message = fault.status_message();
                let description = format!("Launching a new EC2 instance.  Status Reason: {message}");
                self.record(description, cause, now, ActivityStatus::Failed(message));
                self.retry_at = now.saturating_add(LAUNCH_RETRY).unwrap_or(Timestamp::MAX);
                return;
            }
            let id = self.instance_id();
            let description = format!("Launching a new EC2 instance: {id}");
            let activity = self.record(description, cause, now, ActivityStatus::PreInService);
            let until = now.saturating_add(self.boot + faults.slower_boot).unwrap_or(Timestamp::MAX);
            let state = State::Pending { until };
            self.instances.push(Instance { id, state, launched: now, healthy: true, activity });
        }
    }

    /// Takes the oldest instances out of service.
    fn terminate(&mut self, now: Timestamp) {
        while self.live() > self.desired && !self.suspended.contains("Terminate") {
            let Some(oldest) = self.instances.iter().position(Instance::is_live) else { return };
            let (live, id) = (self.live(), self.instances[oldest].id.clone());
            let cause = format!(
                "{}At {at} an instance was taken out of service in response to a difference between desired and actual \
                 capacity, shrinking the capacity from {live} to {}.  At {at} instance {id} was selected for termination.",
                self.request.as_deref().unwrap_or_default(),
                live.minus(ONE),
                at = prose(now),
            );
            let activity =
                self.record(format!("Terminating EC2 instance: {id}"), cause, now, ActivityStatus::InProgress);
            let instance = &mut self.instances[oldest];
            let unbilled = LEAST_BILLED.saturating_sub(elapsed(instance.launched, now));
            self.billed_seconds += unbilled.as_secs_f64();
            instance.activity = activity;
            instance.state = State::Terminating { until: now.saturating_add(TERMINATING).unwrap_or(Timestamp::MAX) };
        }
    }

    fn record(&mut self, description: String, cause: String, start: Timestamp, status: ActivityStatus) -> u64 {
        self.next_activity += 1;
        let end = matches!(status, ActivityStatus::Failed(_)).then_some(start);
        let number = self.next_activity;
        self.activities.push_front(Activity { number, description, cause, start, end, status });
        self.activities.truncate(MAX_ACTIVITIES);
        number
    }

    fn instance_id(&mut self) -> String {
        self.next_instance = self.next_instance.wrapping_add(1);
        format!("i-0{:016x}", scramble(self.next_instance))
    }
}

const ONE: Capacity = Capacity::new(1);

/// Age of the instances that are there at the start: long past any warm-up.
const LONG_AGO: Duration = Duration::from_hours(24);

fn out_of_bounds(desired: Capacity, side: &str, bound: Capacity) -> GroupError {
    GroupError::Validation(format!(
        "New SetDesiredCapacity value {desired} is {side} value {bound} for the AutoScalingGroup."
    ))
}

/// Appends to a queue that keeps its newest `most`.
pub(super) fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// A time as the prose of the service has it: whole seconds.
fn prose(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::faults::LaunchFault;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn capacity(count: u32) -> Capacity {
        Capacity::new(count)
    }

    fn group() -> AutoScalingGroup {
        let settings = GroupSettings {
            name: "web".into(),
            min: capacity(2),
            max: capacity(10),
            desired: capacity(4),
            boot: Duration::from_mins(1),
        };
        AutoScalingGroup::new(settings, 1, at(0))
    }

    fn run(group: &mut AutoScalingGroup, seconds: std::ops::RangeInclusive<i64>, faults: &Faults) {
        seconds.for_each(|second| group.advance(at(second), SECOND, faults));
    }

    fn check_refused(desired: u32, message: &str) {
        let refused = group().set_desired(capacity(desired), false, at(1)).unwrap_err();
        assert_eq!(refused.to_string(), message);
    }

    #[test]
    fn bounds_are_refused_in_the_words_of_the_service() {
        check_refused(11, "New SetDesiredCapacity value 11 is above max value 10 for the AutoScalingGroup.");
        check_refused(1, "New SetDesiredCapacity value 1 is below min value 2 for the AutoScalingGroup.");
    }

    #[test]
    fn an_instance_is_pending_until_it_has_booted() {
        let mut group = group();
        group.set_desired(capacity(6), false, at(0)).unwrap();
        run(&mut group, 1..=60, &Faults::default());
        assert_eq!((group.in_service(), group.pending()), (capacity(4), capacity(2)));
        let newest = group.activities().next().unwrap();
        assert_eq!((newest.status, newest.end), (ActivityStatus::PreInService, None));
        run(&mut group, 61..=61, &Faults::default());
        assert_eq!((group.in_service(), group.pending()), (capacity(6), capacity(0)));
        assert!(group.activities().all(|a| a.status == ActivityStatus::Successful && a.end == Some(at(61))));
    }

    #[test]
    fn a_scale_in_takes_the_oldest_and_they_linger() {
        let mut group = group();
        let oldest = group.instances[0].id.clone();
        group.set_desired(capacity(3), false, at(0)).unwrap();
        run(&mut group, 1..=20, &Faults::default());
        assert_eq!((group.live(), group.instances.len()), (capacity(3), 4));
        assert_eq!(group.instances[0].id, oldest);
        assert_eq!(group.instances[0].state.name(), "Terminating");
        run(&mut group, 21..=21, &Faults::default());
        assert_eq!(group.instances.len(), 3);
        assert!(group.activities().next().unwrap().cause.contains("shrinking the capacity from 4 to 3"));
    }

    #[test]
    fn a_failed_launch_is_an_activity_and_is_tried_again() {
        let mut group = group();
        let faults =
            Faults { launches: Some(LaunchFault::InsufficientCapacity { at_most: capacity(5) }), ..Faults::default() };
        group.set_desired(capacity(7), false, at(0)).unwrap();
        run(&mut group, 1..=31, &faults);
        assert_eq!((group.desired(), group.live()), (capacity(7), capacity(5)));
        let failed: Vec<_> = group.activities().filter(|a| a.status.code() == "Failed").map(|a| a.start).collect();
        assert_eq!(failed, [at(31), at(1)]);
        run(&mut group, 32..=61, &Faults::default());
        assert_eq!(group.live(), capacity(7));
    }

    #[test]
    fn suspended_processes_change_the_desired_capacity_only() {
        let mut group = group();
        group.suspended = ["Launch".into(), "Terminate".into()].into();
        group.set_desired(capacity(6), false, at(0)).unwrap();
        run(&mut group, 1..=5, &Faults::default());
        assert_eq!(group.live(), capacity(4));
        group.set_desired(capacity(2), false, at(5)).unwrap();
        run(&mut group, 6..=9, &Faults::default());
        assert_eq!((group.desired(), group.live()), (capacity(2), capacity(4)));
    }

    #[test]
    fn a_call_that_honours_the_cooldown_waits_for_it() {
        let mut group = group();
        group.set_desired(capacity(5), true, at(0)).unwrap();
        run(&mut group, 1..=70, &Faults::default());
        let refused = group.set_desired(capacity(6), true, at(70)).unwrap_err();
        assert_eq!(refused, GroupError::ActivityInProgress(1));
        assert!(refused.to_string().ends_with("is in progress and blocks this action"));
        assert_eq!(group.set_desired(capacity(6), false, at(70)), Ok(()));
        let mut rested = group.clone();
        run(&mut rested, 71..=140, &Faults::default());
        assert_eq!(rested.set_desired(capacity(7), true, at(140 + 300)), Ok(()));
    }

    #[test]
    fn new_bounds_move_the_desired_capacity() {
        let mut group = group();
        let raise = Update { min: Some(capacity(5)), ..Update::default() };
        group.update(raise, at(1)).unwrap();
        assert_eq!(group.desired(), capacity(5));
        let crossed = Update { max: Some(capacity(3)), ..Update::default() };
        let refused = group.update(crossed, at(2)).unwrap_err();
        assert_eq!(refused.to_string(), "Max bound, 3, must be greater than or equal to min bound, 5");
        let beyond = Update { desired: Some(capacity(11)), ..Update::default() };
        assert!(group.update(beyond, at(2)).unwrap_err().to_string().starts_with("Desired capacity:11 must be"));
    }

    #[test]
    fn an_instance_is_billed_from_launch_and_for_a_minute_at_least() {
        let mut group = group();
        group.set_desired(capacity(5), false, at(0)).unwrap();
        run(&mut group, 1..=11, &Faults::default());
        assert!((group.billed_seconds() - (4.0 * 11.0 + 10.0)).abs() < 1e-9);
        // Pending, it is the youngest; the four others go first.
        group.update(Update { min: Some(Capacity::ZERO), desired: Some(Capacity::ZERO), max: None }, at(11)).unwrap();
        run(&mut group, 12..=12, &Faults::default());
        assert!((group.billed_seconds() - (4.0 * 11.0 + 10.0 + 5.0 + 49.0)).abs() < 1e-9);
    }

    #[test]
    fn every_change_of_the_desired_capacity_is_remembered() {
        let mut group = group();
        group.set_desired(capacity(6), false, at(5)).unwrap();
        group.set_desired(capacity(6), false, at(6)).unwrap();
        let history: Vec<_> = group.desired_history().collect();
        assert_eq!(history, [(at(0), capacity(4)), (at(5), capacity(6))]);
    }
}
