//! The snapshot that `daemon` publishes and `api` reads. It holds no handle to anything that acts.

mod counters;
mod series;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::account::{Ledger, Look, Stretch};
use crate::control::{Decision, Evaluation, Outcome};
use crate::journal::{Health, Status as JournalStatus};
use crate::observation::{GroupStatus, Measurement, Tallies, Tally, elapsed, seconds};
use crate::order::Standing;
use crate::policy::{Capacity, HoldSignal, MetricKind, Mode, Policy, Threshold};

pub use counters::Counters;
pub use series::{Columns, Counts, Series};

/// A lane that has finished no cycle for this many intervals is not ready.
const PATIENCE: u32 = 3;

/// Everything that the daemon tells about itself at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the daemon started.
    pub started: Timestamp,
    /// The configuration in force.
    pub configuration: Configuration,
    /// The lanes, by name.
    pub lanes: BTreeMap<Arc<str>, LaneStatus>,
    /// What was read from metric sources since the last change of the configuration, by what came of it.
    pub answers: BTreeMap<&'static str, Tally>,
    /// The calls to AWS of each region, by operation and HTTP status; 0 without an answer.
    pub calls: BTreeMap<Arc<str>, Tallies>,
    /// How the journal does.
    pub journal: JournalStatus,
    /// What operators have ordered.
    pub orders: Arc<Standing>,
    /// What became of the messages of each `[[notification]]`, by name.
    pub notifications: BTreeMap<Arc<str>, Delivery>,
    /// The policies, by name.
    pub policies: BTreeMap<Arc<str>, Arc<PolicyStatus>>,
}

/// What became of the messages of one `[[notification]]` since the start or its last change.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Delivery {
    /// Messages that arrived.
    pub sent: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// Notices that gave way to newer ones, because too many waited.
    pub dropped: u64,
    /// What is wrong, while the last attempt failed.
    pub error: Option<String>,
}

/// The configuration in force, and what became of the last attempt to replace it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Configuration {
    /// Where it was read.
    pub file: String,
    /// When it came into force.
    pub loaded: Timestamp,
    /// Why the last reload was refused; `None` when it was not.
    pub reload_error: Option<String>,
    /// Reloads that were refused since the start.
    pub reloads_refused: u64,
}

/// One lane: the policies that are evaluated together.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LaneStatus {
    /// The AWS region, if the configuration names one.
    pub region: Option<Arc<str>>,
    /// Time between two cycles.
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = f64)]
    pub interval: Duration,
    /// Number of policies.
    pub policies: usize,
    /// When the lane was started.
    pub started: Timestamp,
    /// When the last cycle was finished.
    pub finished: Option<Timestamp>,
    /// How long the last cycle took.
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = f64)]
    pub took: Duration,
    /// Cycles finished since the lane was started.
    pub cycles: u64,
}

/// What is known of one policy.
#[derive(Clone, Debug)]
pub struct PolicyStatus {
    /// The policy's name.
    pub name: Arc<str>,
    /// Its group.
    pub asg: Arc<str>,
    /// The group's region, if the configuration names one.
    pub region: Option<Arc<str>>,
    /// What Setpoint may do.
    pub mode: Mode,
    /// The policy's least capacity.
    pub min: Capacity,
    /// The policy's most capacity.
    pub max: Capacity,
    /// Time between two evaluations.
    pub interval: Duration,
    /// The metrics, in the order of the configuration.
    pub metrics: Vec<MetricStatus>,
    /// The signals that may hold its scale-in, in the order of the configuration.
    pub signals: Vec<SignalStatus>,
    /// The group's counts, if it could be described.
    pub group: Option<GroupStatus>,
    /// Why the group could not be described.
    pub group_detail: Option<String>,
    /// The last evaluation.
    pub evaluation: Option<Evaluation>,
    /// The reason that had the last word, as a sentence.
    pub because: Option<String>,
    /// The last attempt to change the desired capacity.
    pub last_action: Option<Action>,
    /// Counts since the policy was started.
    pub counters: Counters,
    /// Its recent past.
    pub series: Series,
    /// The price of an instance-hour, where it is known.
    pub price: Option<f64>,
    /// What its group has come to.
    pub ledger: Ledger,
}

/// One metric of a policy.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MetricStatus {
    /// Its name.
    pub name: Arc<str>,
    /// What the number means.
    pub kind: MetricKind,
    /// The value to keep.
    pub target: f64,
    /// What was read last.
    pub measurement: Option<Measurement>,
    /// What the source had to say.
    pub detail: Option<String>,
}

/// One signal that may hold the scale-in of a policy.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SignalStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Where it begins to burn.
    pub threshold: Threshold,
    /// What was read last.
    pub measurement: Option<Measurement>,
    /// What the source had to say.
    pub detail: Option<String>,
}

/// An attempt to change the desired capacity.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Action {
    /// When it was made.
    pub at: Timestamp,
    /// The desired capacity before.
    pub from: Capacity,
    /// The desired capacity that was asked for.
    pub to: Capacity,
    /// Why, as a sentence.
    pub because: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What AWS said, if it refused.
    pub error: Option<String>,
}

impl PolicyStatus {
    /// The status of a policy that has not been evaluated yet.
    pub fn new(policy: &Policy) -> Self {
        let metric = |metric: &crate::policy::Metric| MetricStatus {
            name: metric.name.clone(),
            kind: metric.kind,
            target: metric.target,
            measurement: None,
            detail: None,
        };
        let signal = |signal: &HoldSignal| SignalStatus {
            name: signal.name.clone(),
            threshold: signal.threshold,
            measurement: None,
            detail: None,
        };
        Self {
            name: policy.name.clone(),
            asg: policy.asg.clone(),
            region: policy.region.clone(),
            mode: policy.mode,
            min: policy.min,
            max: policy.max,
            interval: policy.interval,
            metrics: policy.metrics.iter().map(metric).collect(),
            signals: policy.hold_scale_in_while.iter().map(signal).collect(),
            group: None,
            group_detail: None,
            evaluation: None,
            because: None,
            last_action: None,
            counters: Counters::new(),
            series: Series::new(policy.interval, policy.metrics.len()),
            price: policy.instance_price,
            ledger: Ledger::default(),
        }
    }

    /// What is compared with the metric's target: its valid value, of a total the share of one instance. `None` where
    /// that is unknown.
    pub fn against_target(&self, metric: &MetricStatus) -> Option<f64> {
        match metric.measurement? {
            Measurement::Value { value, .. } if metric.kind == MetricKind::Total => Some(value / self.serving()?),
            Measurement::Value { value, .. } | Measurement::Instances { mean: value, .. } => Some(value),
            _ => None,
        }
    }

    /// The instances that a measurement is related to; `None` where there are none, or nobody knows.
    pub fn serving(&self) -> Option<f64> {
        self.group.map(|group| group.serving()).filter(|serving| *serving > Capacity::ZERO).map(Capacity::as_f64)
    }

    /// Enters what was seen at `at` into the ledger. Gives the stretch that has ended with it.
    pub fn account(&mut self, at: Timestamp) -> Option<Stretch> {
        let size = self.group.map(|group| group.in_service.plus(group.pending));
        let look = Look { at, size, max: self.max, over: self.is_over() };
        self.ledger.look(look, PATIENCE * self.interval)
    }

    /// Whether a latency is over its target or, where the policy has none, another metric by more than a tenth, which is
    /// what a controller that keeps it at its target leaves to noise. `None` where that is unknown.
    fn is_over(&self) -> Option<bool> {
        const LEEWAY: f64 = 1.1;
        let promised = |metric: &&MetricStatus| metric.kind == MetricKind::Latency;
        let any = self.metrics.iter().any(|metric| promised(&metric));
        let counted = self.metrics.iter().filter(|metric| !any || promised(metric));
        let mut known = Some(false);
        for metric in counted {
            let most = if any { metric.target } else { LEEWAY * metric.target };
            match self.against_target(metric) {
                Some(value) if value > most => return Some(true),
                Some(_) => {}
                None => known = None,
            }
        }
        known
    }

    /// What the last evaluation decided.
    pub fn decision(&self) -> Option<Decision> {
        self.evaluation.as_ref().map(|evaluation| evaluation.decision)
    }
}

impl Snapshot {
    /// A daemon that has just started.
    pub fn new(file: String, now: Timestamp) -> Self {
        let configuration = Configuration { file, loaded: now, reload_error: None, reloads_refused: 0 };
        Self {
            started: now,
            configuration,
            lanes: BTreeMap::new(),
            answers: BTreeMap::new(),
            calls: BTreeMap::new(),
            journal: JournalStatus::default(),
            orders: Arc::default(),
            notifications: BTreeMap::new(),
            policies: BTreeMap::new(),
        }
    }

    /// Whether every lane has finished a cycle lately, and the journal can be written if there should be one.
    ///
    /// # Errors
    /// A sentence that names the first lane that has not, or says what is wrong with the journal.
    pub fn readiness(&self, now: Timestamp) -> Result<(), String> {
        self.liveness(now)?;
        match &self.journal.health {
            Health::Failing { why, .. } => Err(format!("nothing is removed while the journal can't be written: {why}")),
            Health::Off | Health::Writable => Ok(()),
        }
    }

    /// Whether every lane has finished a cycle lately.
    ///
    /// # Errors
    /// A sentence that names the first lane that has not.
    pub fn liveness(&self, now: Timestamp) -> Result<(), String> {
        if self.lanes.is_empty() {
            return Err("no lane has been started yet".into());
        }
        self.lanes.iter().try_for_each(|(name, lane)| match lane.finished {
            None => Err(format!("lane {name} has not finished a cycle yet")),
            // A time that has not come yet means that the clock was set back while the lane may be hanging.
            Some(finished) if elapsed(finished, now).max(elapsed(now, finished)) > lane.interval * PATIENCE => {
                Err(format!("lane {name} has finished no cycle since {finished}"))
            }
            Some(_) => Ok(()),
        })
    }
}

/// Where the daemon publishes.
#[derive(Clone, Debug)]
pub struct Board(Arc<watch::Sender<Snapshot>>);

impl Board {
    /// A board that shows `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(watch::Sender::new(snapshot)))
    }

    /// Changes what is shown, in one step.
    pub fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.0.send_modify(change);
    }

    /// A reader of this board.
    pub fn reader(&self) -> watch::Receiver<Snapshot> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_ready_while_every_lane_finishes_cycles() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut snapshot = Snapshot::new("setpoint.toml".into(), at(0));
        assert!(snapshot.readiness(at(0)).is_err());
        let lane = LaneStatus {
            region: None,
            interval: Duration::from_secs(15),
            policies: 1,
            started: at(0),
            finished: None,
            took: Duration::ZERO,
            cycles: 0,
        };
        snapshot.lanes.insert("a".into(), LaneStatus { finished: Some(at(100)), ..lane.clone() });
        assert_eq!(snapshot.readiness(at(145)), Ok(()));
        assert!(snapshot.readiness(at(146)).is_err());
        snapshot.lanes.insert("b".into(), lane);
        assert!(snapshot.readiness(at(110)).unwrap_err().contains("lane b"));
    }
}
