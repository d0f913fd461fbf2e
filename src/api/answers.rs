//! What the API answers: the status as it is published, with what it means in words beside it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::conditions::{Condition, conditions};
use super::standing::standing;
use super::words::{Reading, Trouble, ratio, troubles};
use crate::control::{Decision, Evaluation, Reason, Recommendation, Stage, StageName};
use crate::journal;
use crate::observation::{GroupStatus, Observation, optional_seconds, seconds};
use crate::order::{Override, Pause, Standing};
use crate::policy::{Capacity, Mode};
use crate::status::{Action, Configuration, Counters, LaneStatus, MetricStatus, PolicyStatus, SignalStatus, Snapshot};

/// The daemon: version, configuration, lanes, orders.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    version: &'static str,
    /// Whether every lane has finished a cycle lately.
    ready: bool,
    not_ready_because: Option<String>,
    started: Timestamp,
    configuration: Configuration,
    lanes: BTreeMap<Arc<str>, LaneStatus>,
    /// How the journal does.
    journal: journal::Status,
    /// What operators have ordered.
    orders: Arc<Standing>,
    /// Number of policies.
    policies: usize,
}

/// A page of policies in short, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List {
    policies: Vec<Summary>,
    /// The `after` of the next page; null where there is no more.
    next: Option<Arc<str>>,
}

/// A policy in short.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Summary {
    name: Arc<str>,
    asg: Arc<str>,
    region: Option<Arc<str>>,
    mode: Mode,
    min: Capacity,
    max: Capacity,
    desired: Option<Capacity>,
    in_service: Option<Capacity>,
    pending: Option<Capacity>,
    /// What the controller asked for, before any stage after it.
    recommended: Option<Capacity>,
    /// Each metric, with its reading in words.
    metrics: Vec<Metric>,
    /// When it was evaluated last.
    evaluated: Option<Timestamp>,
    decision: Option<Decision>,
    /// The reason that had the last word, as a sentence.
    because: Option<String>,
    last_action: Option<Action>,
    conditions: Vec<Condition>,
    #[serde(flatten)]
    orders: Orders,
    /// What keeps the policy from doing its work.
    troubles: Vec<Trouble>,
}

/// One policy with its last evaluation, from top to bottom.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Policy {
    name: Arc<str>,
    asg: Arc<str>,
    region: Option<Arc<str>>,
    mode: Mode,
    min: Capacity,
    max: Capacity,
    /// Seconds between two evaluations.
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = f64)]
    interval: std::time::Duration,
    /// Each metric, with its reading in words.
    metrics: Vec<Metric>,
    /// The signals that may hold the scale-in.
    signals: Vec<SignalStatus>,
    group: Option<GroupStatus>,
    /// Why the group could not be described.
    group_detail: Option<String>,
    evaluation: Option<Evaluation>,
    decision: Option<Decision>,
    /// The reason that had the last word, as a sentence.
    because: Option<String>,
    /// Each reason as a sentence.
    says: Option<Vec<Said>>,
    last_action: Option<Action>,
    counters: Counters,
    conditions: Vec<Condition>,
    #[serde(flatten)]
    orders: Orders,
    /// What keeps the policy from doing its work.
    troubles: Vec<Trouble>,
}

/// What operators have ordered of one policy.
#[derive(Debug, Serialize, ToSchema)]
struct Orders {
    /// The policy's own pause; a freeze of all policies is in the daemon's status.
    pause: Option<Pause>,
    #[serde(rename = "override")]
    bounds: Option<Override>,
    /// All that is ordered of it, a freeze of all policies too, as sentences.
    standing: Vec<String>,
}

/// A metric, with its reading in words.
#[derive(Debug, Serialize, ToSchema)]
struct Metric {
    #[serde(flatten)]
    status: MetricStatus,
    /// What is compared with the target, over the target: above 1 it is missed. Null where that is unknown.
    ratio: Option<f64>,
    says: String,
}

/// A stage's reason as a sentence.
#[derive(Debug, Serialize, ToSchema)]
struct Said {
    stage: StageName,
    says: String,
}

/// The last evaluation of one policy, with the words that its text is made of.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explained {
    policy: Arc<str>,
    at: Timestamp,
    /// What operators have ordered of it until now, as sentences.
    standing: Vec<String>,
    observation: Observation,
    /// Seconds from launch to serving.
    #[serde(serialize_with = "optional_seconds")]
    #[schema(value_type = Option<f64>)]
    boot_time: Option<std::time::Duration>,
    recommendations: Vec<Recommendation>,
    stages: Vec<Stage>,
    decision: Decision,
    reasons: Vec<Told>,
    because: String,
    last_word: Option<String>,
    metrics: Vec<Metric>,
    /// The signals that may hold the scale-in.
    signals: Vec<SignalStatus>,
    group_detail: Option<String>,
}

/// A stage's reason, as data and as a sentence.
#[derive(Debug, Serialize, ToSchema)]
struct Told {
    stage: StageName,
    #[serde(flatten)]
    reason: Reason,
    text: String,
}

impl Status {
    /// It copies what is the daemon's, which is little, and none of the policies.
    pub fn new(snapshot: &Snapshot, now: Timestamp) -> Self {
        let readiness = snapshot.readiness(now);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            ready: readiness.is_ok(),
            not_ready_because: readiness.err(),
            started: snapshot.started,
            configuration: snapshot.configuration.clone(),
            lanes: snapshot.lanes.clone(),
            journal: snapshot.journal.clone(),
            orders: snapshot.orders.clone(),
            policies: snapshot.policies.len(),
        }
    }
}

impl List {
    /// At most `limit` policies, of those whose names come after `after`.
    pub fn new(snapshot: &Snapshot, after: Option<&str>, limit: usize, now: Timestamp) -> Self {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = snapshot.policies.range::<str, _>((begin, Bound::Unbounded)).map(|(_, policy)| policy);
        let shown = rest.by_ref().take(limit).map(|policy| Summary::new(policy, &snapshot.orders, now));
        let policies: Vec<Summary> = shown.collect();
        let more = rest.next().is_some();
        Self { next: policies.last().filter(|_| more).map(|last| last.name.clone()), policies }
    }
}

impl Summary {
    pub fn new(policy: &PolicyStatus, orders: &Standing, now: Timestamp) -> Self {
        let (group, evaluation) = (policy.group.as_ref(), policy.evaluation.as_ref());
        Self {
            name: policy.name.clone(),
            asg: policy.asg.clone(),
            region: policy.region.clone(),
            mode: policy.mode,
            min: policy.min,
            max: policy.max,
            desired: group.map(|group| group.desired),
            in_service: group.map(|group| group.in_service),
            pending: group.map(|group| group.pending),
            recommended: evaluation.and_then(Evaluation::recommended),
            metrics: metrics(policy),
            evaluated: evaluation.map(|evaluation| evaluation.at),
            decision: policy.decision(),
            because: policy.because.clone(),
            last_action: policy.last_action.clone(),
            conditions: conditions(policy, orders, now),
            orders: Orders::of(policy, orders, now),
            troubles: troubles(policy, now),
        }
    }
}

impl Policy {
    pub fn new(policy: &PolicyStatus, orders: &Standing, now: Timestamp) -> Self {
        let said = |evaluation: &Evaluation| {
            let reasons = evaluation.reasons.iter();
            reasons.map(|stated| Said { stage: stated.stage, says: stated.reason.to_string() }).collect()
        };
        Self {
            name: policy.name.clone(),
            asg: policy.asg.clone(),
            region: policy.region.clone(),
            mode: policy.mode,
            min: policy.min,
            max: policy.max,
            interval: policy.interval,
            metrics: metrics(policy),
            signals: policy.signals.clone(),
            group: policy.group,
            group_detail: policy.group_detail.clone(),
            decision: policy.decision(),
            because: policy.because.clone(),
            says: policy.evaluation.as_ref().map(said),
            evaluation: policy.evaluation.clone(),
            last_action: policy.last_action.clone(),
            counters: policy.counters.clone(),
            conditions: conditions(policy, orders, now),
            orders: Orders::of(policy, orders, now),
            troubles: troubles(policy, now),
        }
    }
}

impl Explained {
    pub fn new(policy: &PolicyStatus, evaluation: &Evaluation, standing: Vec<String>) -> Self {
        let reasons = evaluation.reasons.iter().map(|stated| Told {
            stage: stated.stage,
            reason: stated.reason.clone(),
            text: stated.reason.to_string(),
        });
        Self {
            policy: evaluation.policy.clone(),
            at: evaluation.at,
            standing,
            observation: evaluation.observation.clone(),
            boot_time: evaluation.boot_time,
            recommendations: evaluation.recommendations.to_vec(),
            stages: evaluation.stages.to_vec(),
            decision: evaluation.decision,
            reasons: reasons.collect(),
            because: evaluation.because(),
            last_word: evaluation.last_word().map(ToString::to_string),
            metrics: metrics(policy),
            signals: policy.signals.clone(),
            group_detail: policy.group_detail.clone(),
        }
    }
}

impl Orders {
    fn of(policy: &PolicyStatus, orders: &Standing, now: Timestamp) -> Self {
        let pause = orders.pauses.get(&policy.name).filter(|pause| now < pause.until);
        Self {
            pause: pause.cloned(),
            bounds: orders.bounds(&policy.name, now).cloned(),
            standing: standing(orders, &policy.name, now),
        }
    }
}

fn metrics(policy: &PolicyStatus) -> Vec<Metric> {
    let metric = |status: &MetricStatus| Metric {
        status: status.clone(),
        ratio: ratio(policy, status),
        says: Reading(policy, status).to_string(),
    };
    policy.metrics.iter().map(metric).collect()
}
