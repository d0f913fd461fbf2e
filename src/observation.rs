//! What was seen at one moment: the measurements of a policy's metrics and the state of its group.
//!
//! A missing number is a variant of its own, never zero. Nothing here reads a clock or a network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::policy::{Capacity, MAX_METRICS, MAX_SIGNALS, MetricKind, PerDirection};

/// Assumed when neither the policy nor the group says how long an instance warms up.
pub const DEFAULT_WARM_UP: Duration = Duration::from_mins(1);

/// How often something was asked for, and for how long in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// From asking to the end of the answer.
    pub time: Duration,
}

/// The attempts at calls by operation and HTTP status; without an answer the status is 0.
pub type Tallies = BTreeMap<(Arc<str>, u16), Tally>;

impl Tally {
    /// Once more, which took `time`.
    pub fn add(&mut self, time: Duration) {
        self.count += 1;
        self.time += time;
    }
}

/// Time from `since` to `now`; zero when the clock was set back.
pub fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    // Asked first, since the error of a failed conversion would take memory from the heap.
    if now <= since { Duration::ZERO } else { Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO) }
}

/// One reading of a metric. Only [`Measurement::Value`] and [`Measurement::Instances`] carry a number to decide with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Measurement {
    /// A finite, fresh, single number.
    Value {
        /// In the metric's unit.
        value: f64,
        /// Age of the newest sample behind it, where the source can tell.
        #[serde(serialize_with = "optional_seconds")]
        #[schema(value_type = Option<f64>)]
        age: Option<Duration>,
    },
    /// A finite, fresh number from each of several instances.
    Instances {
        /// Their mean, in the metric's unit.
        mean: f64,
        /// How many instances reported, at least one.
        reporting: u32,
        /// Age of the newest sample of the instance that reported last, where the source can tell.
        #[serde(serialize_with = "optional_seconds")]
        #[schema(value_type = Option<f64>)]
        age: Option<Duration>,
    },
    /// The source answered, with no sample.
    NoData,
    /// The newest sample is older than the metric's `max_age`.
    Stale {
        /// Its age.
        #[serde(serialize_with = "seconds")]
        #[schema(value_type = f64)]
        age: Duration,
    },
    /// The source answered with NaN or an infinity.
    NotFinite,
    /// The source answered with several series where one was asked for.
    ManySeries {
        /// How many.
        count: usize,
    },
    /// The source did not answer, or with something else.
    Failed {
        /// What went wrong.
        failure: Failure,
    },
}

impl Measurement {
    /// A [`Measurement::Value`] with this number, or [`Measurement::NotFinite`].
    pub fn of(value: f64, age: Option<Duration>) -> Self {
        if value.is_finite() { Self::Value { value, age } } else { Self::NotFinite }
    }

    /// The same, or [`Measurement::Stale`] when its newest sample is older than `max_age`.
    #[must_use]
    pub fn within(self, max_age: Duration) -> Self {
        match self {
            Self::Value { age: Some(age), .. } | Self::Instances { age: Some(age), .. } if age > max_age => {
                Self::Stale { age }
            }
            other => other,
        }
    }

    /// The number to decide with, where it carries one; of several instances their mean.
    pub fn number(&self) -> Option<f64> {
        match *self {
            Self::Value { value, .. } | Self::Instances { mean: value, .. } => Some(value),
            _ => None,
        }
    }

    /// True where it carries a number to decide with.
    pub fn has_number(&self) -> bool {
        self.number().is_some()
    }

    /// A bounded word for logs and metric labels.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Value { .. } | Self::Instances { .. } => "value",
            Self::NoData => "no-data",
            Self::Stale { .. } => "stale",
            Self::NotFinite => "not-finite",
            Self::ManySeries { .. } => "many-series",
            Self::Failed { failure } => failure.label(),
        }
    }
}

/// Why a source gave no measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Failure {
    /// No answer within the deadline.
    Timeout,
    /// No connection: refused, reset, name not found, TLS failed.
    Unreachable,
    /// The server redirected; redirects are not followed.
    Redirected,
    /// The server refused our credentials (401 or 403).
    Denied,
    /// Another HTTP error.
    Status {
        /// The HTTP status code.
        code: u16,
    },
    /// The server could not run the query.
    QueryRejected,
    /// The body was not what the protocol says.
    Malformed,
    /// The body was larger than the cap.
    TooLarge,
    /// The answer was of another type than asked for (a string, a range).
    WrongType,
}

impl Failure {
    /// A bounded word for logs and metric labels.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Redirected => "redirected",
            Self::Denied => "denied",
            Self::Status { .. } => "http-status",
            Self::QueryRejected => "query-rejected",
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::WrongType => "wrong-type",
        }
    }
}

/// An Auto Scaling group as it was described, with its instances.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Desired capacity.
    pub desired: Capacity,
    /// The group's own `MinSize`.
    pub min: Capacity,
    /// The group's own `MaxSize`.
    pub max: Capacity,
    /// The group's own default instance warm-up.
    pub default_warm_up: Option<Duration>,
    /// Every instance that the group lists.
    pub instances: Vec<Instance>,
    /// Suspended processes that matter here.
    pub suspended: Suspended,
    /// An instance refresh is running, or nobody could rule it out.
    pub refreshing: bool,
    /// Launches fail: the newest launch activity failed and the group is short of its desired capacity.
    pub launch_failure: Option<LaunchFailure>,
    /// Who else would scale the group.
    pub rivals: Rivals,
}

/// One instance of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`
    pub id: Arc<str>,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// The group's health check passes.
    pub healthy: bool,
    /// When it went into service; `None` where that was before anybody looked.
    pub in_service_since: Option<Timestamp>,
    /// Capacity units that it counts for; 1 unless the group weighs its instances.
    pub weight: Capacity,
}

/// The lifecycle states of Auto Scaling, by what they mean for capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// `Pending`, `Pending:Wait`, `Pending:Proceed`: launched, counts towards desired.
    Pending,
    /// `InService`.
    InService,
    /// `Terminating…`, `Terminated`.
    Terminating,
    /// Standby, detached, warm pool and states not known today: not capacity of the group.
    Other,
}

/// Suspended processes that change what a scale action does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Suspended {
    /// `Launch`: a scale-out would launch nothing.
    pub launch: bool,
    /// `Terminate`: a scale-in would terminate nothing.
    pub terminate: bool,
}

/// The newest failed launch of a group that is short of capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LaunchFailure {
    /// When the activity failed.
    pub at: Timestamp,
    /// AWS had no capacity of that type (`InsufficientInstanceCapacity` and its like), rather than another fault.
    pub insufficient_capacity: bool,
}

/// What else is set up to change the group's desired capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rivals {
    /// Nobody has looked yet, or the look failed.
    #[default]
    Unknown,
    /// Nothing.
    None,
    /// An enabled target-tracking, step, simple or predictive scaling policy.
    ScalingPolicy,
    /// A scheduled action.
    ScheduledAction,
    /// The group's `Operator`: only that service may change it.
    Operator,
}

/// The counts of a group that a decision is made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct GroupStatus {
    /// Desired capacity.
    pub desired: Capacity,
    /// The group's own `MinSize`.
    pub min: Capacity,
    /// The group's own `MaxSize`.
    pub max: Capacity,
    /// In service.
    pub in_service: Capacity,
    /// In service and past warm-up.
    pub warm: Capacity,
    /// Launched, not yet in service.
    pub pending: Capacity,
    /// In service and healthy.
    pub healthy: Capacity,
    /// Suspended processes.
    pub suspended: Suspended,
    /// An instance refresh is running, or nobody could rule it out.
    pub refreshing: bool,
    /// Launches fail.
    pub launch_failure: Option<LaunchFailure>,
    /// Who else would scale the group.
    pub rivals: Rivals,
}

impl GroupStatus {
    /// The instances that a measurement is related to: those past warm-up or, while there are none, those in service.
    pub fn serving(&self) -> Capacity {
        if self.warm > Capacity::ZERO { self.warm } else { self.in_service }
    }
}

impl Group {
    /// `measurement` of a metric of this `kind`, with its instances in capacity units, as all counts of a group are: where
    /// the group weighs them, each that reported stands for the mean weight of those in service. What they come to in all
    /// stays the same.
    #[must_use]
    pub fn in_units(&self, kind: MetricKind, measurement: Measurement) -> Measurement {
        let Measurement::Instances { mean, reporting, age } = measurement else { return measurement };
        let in_service = self.instances.iter().filter(|i| i.lifecycle == Lifecycle::InService);
        let (count, units) =
            in_service.fold((0, 0), |(count, units), i| (count + 1, units + u64::from(i.weight.get())));
        if count == 0 || units == count || reporting == 0 {
            return measurement;
        }
        let weighed = u32::try_from(u64::from(reporting) * units / count).unwrap_or(u32::MAX);
        let mean =
            if kind == MetricKind::Total { mean * f64::from(reporting) / f64::from(weighed.max(1)) } else { mean };
        Measurement::Instances { mean, reporting: weighed, age }
    }

    /// The counts at `now`. `warm_up` is the policy's own, if it has one.
    pub fn status(&self, warm_up: Option<Duration>, now: Timestamp) -> GroupStatus {
        let warm_up = warm_up.or(self.default_warm_up).unwrap_or(DEFAULT_WARM_UP);
        let sum = |count: &dyn Fn(&Instance) -> bool| {
            self.instances.iter().filter(|i| count(i)).fold(Capacity::ZERO, |sum, i| sum.plus(i.weight))
        };
        let in_service = |i: &Instance| i.lifecycle == Lifecycle::InService;
        let warm =
            |i: &Instance| in_service(i) && i.in_service_since.is_none_or(|since| elapsed(since, now) >= warm_up);
        GroupStatus {
            desired: self.desired,
            min: self.min,
            max: self.max,
            in_service: sum(&in_service),
            warm: sum(&warm),
            pending: sum(&|i| i.lifecycle == Lifecycle::Pending),
            healthy: sum(&|i| in_service(i) && i.healthy),
            suspended: self.suspended,
            refreshing: self.refreshing,
            launch_failure: self.launch_failure,
            rivals: self.rivals,
        }
    }
}

/// What an operator has ordered for a while, within the bounds that hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Ordered)]
pub struct Override {
    /// The least capacity; `None`: the bounds' own.
    pub floor: Option<Capacity>,
    /// The most capacity; `None`: the bounds' own. With a higher floor, the floor holds.
    pub cap: Option<Capacity>,
    /// When it ends.
    pub until: Timestamp,
}

/// Everything that one evaluation sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Observation {
    /// One for each metric of the policy, in its order.
    #[schema(value_type = Vec<Measurement>)]
    pub measurements: ArrayVec<Measurement, MAX_METRICS>,
    /// One for each signal that may hold the policy's scale-in, in its order.
    #[schema(value_type = Vec<Measurement>)]
    pub signals: ArrayVec<Measurement, MAX_SIGNALS>,
    /// The group; `None` when it could not be described.
    pub group: Option<GroupStatus>,
    /// An operator's order, if there is one.
    #[serde(rename = "override")]
    pub ordered: Option<Override>,
    /// In which directions an operator has stopped scaling.
    pub paused: PerDirection<bool>,
    /// What is done now can't be written to the journal, so that a restart would not know of it.
    pub unrecorded: bool,
}

pub(crate) fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(crate) fn optional_seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration.map(|d| d.as_secs_f64()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(lifecycle: Lifecycle, in_service_since: Option<Timestamp>) -> Instance {
        Instance { id: "i-1".into(), lifecycle, healthy: true, in_service_since, weight: Capacity::new(1) }
    }

    #[test]
    fn instances_that_report_count_for_what_they_weigh() {
        let of_weight = |weight| Instance { weight: Capacity::new(weight), ..instance(Lifecycle::InService, None) };
        let check = |weights: &[u32], kind, (mean, reporting), expected| {
            let mut instances: Vec<_> = weights.iter().copied().map(of_weight).collect();
            instances.push(Instance { lifecycle: Lifecycle::Pending, ..of_weight(100) });
            let group = Group { instances, ..empty() };
            let age = Some(Duration::from_secs(3));
            let (mean, reporting): (f64, u32) = (mean, reporting);
            let weighed = group.in_units(kind, Measurement::Instances { mean, reporting, age });
            let (mean, reporting) = expected;
            assert_eq!(weighed, Measurement::Instances { mean, reporting, age }, "{weights:?}");
            let one = Measurement::Value { value: mean, age };
            assert_eq!(group.in_units(kind, one), one);
        };
        check(&[1, 1, 1], MetricKind::Total, (60.0, 2), (60.0, 2));
        check(&[4; 10], MetricKind::Utilization, (0.91, 10), (0.91, 40));
        check(&[4; 10], MetricKind::Total, (100.0, 10), (25.0, 40));
        check(&[4; 10], MetricKind::Total, (100.0, 0), (100.0, 0));
        check(&[1, 2], MetricKind::Utilization, (0.5, 1), (0.5, 1));
        check(&[1, 2], MetricKind::Total, (60.0, 2), (40.0, 3));
        check(&[], MetricKind::Total, (60.0, 2), (60.0, 2));
    }

    fn empty() -> Group {
        Group {
            desired: Capacity::new(3),
            min: Capacity::new(1),
            max: Capacity::new(9),
            default_warm_up: None,
            instances: Vec::new(),
            suspended: Suspended::default(),
            refreshing: false,
            launch_failure: None,
            rivals: Rivals::None,
        }
    }

    #[test]
    fn an_instance_is_warm_once_it_has_been_in_service_for_the_warm_up() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let group = Group {
            instances: vec![
                instance(Lifecycle::InService, None),
                instance(Lifecycle::InService, Some(at(100))),
                instance(Lifecycle::Pending, None),
                instance(Lifecycle::Other, None),
            ],
            ..empty()
        };
        let warm = |own, now| group.status(own, at(now)).warm.get();
        assert_eq!(warm(None, 159), 1);
        assert_eq!(warm(None, 160), 2);
        assert_eq!(warm(Some(Duration::from_secs(10)), 110), 2);
        assert_eq!(group.status(None, at(160)).in_service.get(), 2);
        assert_eq!(group.status(None, at(160)).pending.get(), 1);
    }
}
