//! What is written down, as JSON: it is read by later versions, and by people.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::account::Stretch;
use crate::control::{ControllerState, Decision, Outcome, Outline};
use crate::order::{Order, Standing};
use crate::policy::{Capacity, Policy};

/// Stands for the policy in entries that concern all of them.
pub const EVERY_POLICY: &str = "*";

/// One thing to be written down.
#[derive(Clone, Debug)]
pub enum Record {
    /// A change of a desired capacity that is about to be asked for, or one whose outcome is known now. The second
    /// replaces the first, which has the same policy and time.
    Action(Action),
    /// Something to remember for whoever asks what happened.
    Entry(Entry),
    /// What the controller of a policy remembers; replaces what it remembered before.
    State(Arc<str>, Box<Remembered>),
    /// What the group with this [`account`](crate::account::name) came to over a stretch of time; replaces what was written
    /// of the one with this beginning.
    Stretch(Arc<str>, Stretch),
    /// Every order that stands; replaces those that stood before.
    Orders(Standing),
}

/// A change of a group's desired capacity: an intent while it has no outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The policy.
    pub policy: Arc<str>,
    /// Its group.
    pub asg: Arc<str>,
    /// The group's region, if the configuration names one.
    pub region: Option<Arc<str>>,
    /// When it was decided.
    pub at: Timestamp,
    /// The desired capacity before.
    pub from: Capacity,
    /// The desired capacity that is asked for.
    pub to: Capacity,
    /// Why, as a sentence.
    pub because: String,
    /// What became of it; `None` while nobody knows.
    pub outcome: Option<Outcome>,
    /// What AWS said, if it refused.
    pub error: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Of which policy, or [`EVERY_POLICY`].
    pub policy: Arc<str>,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Another decision than the one before, or another reason for it.
    Decision(Made),
    /// An operator's order.
    Order {
        /// Which; apart from the entry, since both name the policy.
        given: Order,
    },
}

/// A decision as it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Made {
    /// What was decided.
    pub decision: Decision,
    /// Why, as a sentence.
    pub because: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What AWS said, if it refused.
    pub error: Option<String>,
    /// The evaluation from top to bottom, as the API shows it; null where Setpoint ended before it was written down.
    pub evaluation: Value,
}

/// What the controller of a policy remembers, with what it was learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// When it was written down.
    pub at: Timestamp,
    version: String,
    asg: Arc<str>,
    region: Option<Arc<str>>,
    outline: Outline,
    state: ControllerState,
}

/// What is known of one policy after a restart.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What its controller remembered, if this version can read it.
    pub remembered: Option<Remembered>,
    /// The changes of the last day, oldest first. All have an outcome.
    pub actions: Vec<Action>,
}

/// What is known after a restart.
#[derive(Clone, Debug, Default)]
pub struct Recalled {
    /// The orders that stood.
    pub orders: Standing,
    /// By policy.
    pub policies: HashMap<Arc<str>, Memory>,
    /// Actions that this version can't read.
    pub unreadable: usize,
}

impl Entry {
    /// The decision that led to `action`, as far as an action tells of it.
    pub(super) fn of(action: &Action) -> Self {
        let Action { policy, at, from, to, because, outcome, error, .. } = action.clone();
        let (decision, outcome) = (Decision::Scale { from, to }, outcome.unwrap_or(Outcome::Unknown));
        let made = Made { decision, because, outcome, error, evaluation: Value::Null };
        Self { at, policy, event: Event::Decision(made) }
    }
}

impl Remembered {
    /// What `state`, the controller's of `policy`, is at `at`.
    pub fn new(policy: &Policy, state: &ControllerState, at: Timestamp) -> Self {
        Self {
            at,
            version: env!("CARGO_PKG_VERSION").into(),
            asg: policy.asg.clone(),
            region: policy.region.clone(),
            outline: Outline::of(policy),
            state: state.clone(),
        }
    }

    /// The state as it serves `policy`; `None` where it is of another group or another version of Setpoint.
    pub fn serving(self, policy: &Policy) -> Option<ControllerState> {
        let ours = self.version == env!("CARGO_PKG_VERSION");
        let same_group = self.asg == policy.asg && self.region == policy.region;
        (ours && same_group).then(|| self.state.carried_over(&self.outline, policy))
    }
}
