//! The state of a policy in the words of Kubernetes' Horizontal Pod Autoscaler, each with why.
//!
//! Derived from the last evaluation and from what operators have ordered. It decides nothing.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::standing::{paused, pauses};
use crate::control::{Bound, Direction, Evaluation, Guard, Outcome, Reason, SignalReading};
use crate::observation::{GroupStatus, Rivals};
use crate::order::{Pause, Standing};
use crate::policy::{Capacity, Mode, PerDirection};
use crate::status::PolicyStatus;

/// One thing that is so, or is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Condition {
    /// What is asked.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether it is so.
    pub status: Truth,
    /// Why, as one word of a bounded list.
    pub reason: &'static str,
    /// Why, as a sentence.
    pub message: String,
}

/// What is asked about a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) enum Kind {
    /// Can the desired capacity be set now?
    AbleToScale,
    /// Is there a metric to decide by?
    ScalingActive,
    /// Was the recommendation held back by a bound or a step limit?
    ScalingLimited,
    /// Has every metric a valid value?
    SignalsValid,
    /// Would an instance be removed if the metrics asked for it?
    ScaleInAllowed,
}

impl Kind {
    /// Its name.
    pub fn label(self) -> &'static str {
        match self {
            Self::AbleToScale => "AbleToScale",
            Self::ScalingActive => "ScalingActive",
            Self::ScalingLimited => "ScalingLimited",
            Self::SignalsValid => "SignalsValid",
            Self::ScaleInAllowed => "ScaleInAllowed",
        }
    }
}

/// Kubernetes' three answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

/// A bounded word and a sentence.
type Why = (&'static str, String);

/// One condition of each kind, always in the same order.
pub(super) fn conditions(policy: &PolicyStatus, orders: &Standing, now: Timestamp) -> Vec<Condition> {
    let Some(evaluation) = &policy.evaluation else {
        let message = policy.because.clone().unwrap_or_else(|| "the policy has not been evaluated yet".into());
        let unknown =
            |kind| Condition { kind, status: Truth::Unknown, reason: "NotEvaluated", message: message.clone() };
        return [
            Kind::AbleToScale,
            Kind::ScalingActive,
            Kind::ScalingLimited,
            Kind::SignalsValid,
            Kind::ScaleInAllowed,
        ]
        .map(unknown)
        .into();
    };
    let seen = Seen { policy, evaluation, orders, now };
    vec![
        unless(Kind::AbleToScale, &seen.hindrances(), ("Ready", "the desired capacity can be set")),
        seen.active(),
        match seen.limits().next() {
            Some((reason, message)) => Condition { kind: Kind::ScalingLimited, status: Truth::True, reason, message },
            None => Condition {
                kind: Kind::ScalingLimited,
                status: Truth::False,
                reason: "WithinLimits",
                message: "no bound and no step limit holds the recommendation back".into(),
            },
        },
        unless(Kind::SignalsValid, &seen.invalid(), ("AllMetricsValid", "every metric has a valid value")),
        unless(Kind::ScaleInAllowed, &seen.vetoes(), ("NothingObjects", "nothing speaks against a scale-in")),
    ]
}

/// True with `otherwise`, unless something speaks against it: the first word, and every sentence.
fn unless(kind: Kind, against: &[Why], otherwise: (&'static str, &str)) -> Condition {
    let Some((reason, _)) = against.first() else {
        let (reason, message) = otherwise;
        return Condition { kind, status: Truth::True, reason, message: message.into() };
    };
    let mut messages: Vec<&str> = against.iter().map(|(_, message)| message.as_str()).collect();
    messages.dedup();
    Condition { kind, status: Truth::False, reason, message: messages.join("; ") }
}

/// What a policy's conditions are made of.
struct Seen<'a> {
    policy: &'a PolicyStatus,
    evaluation: &'a Evaluation,
    orders: &'a Standing,
    now: Timestamp,
}

impl Seen<'_> {
    fn reasons(&self) -> impl Iterator<Item = &Reason> {
        self.evaluation.reasons.iter().map(|stated| &stated.reason)
    }

    /// What keeps the desired capacity from being set in either direction.
    fn hindrances(&self) -> Vec<Why> {
        let mut found: Vec<Why> = Vec::new();
        let PerDirection { out, inward } = self.orders.stops(&self.policy.name, self.now);
        if out && inward {
            found.extend(self.pauses().map(|pause| ("Paused", paused(pause))));
        }
        let Some(group) = &self.policy.group else {
            found.push(self.group_unknown());
            return found;
        };
        match self.policy.mode {
            Mode::Paused => found.push(("Paused", "the configuration pauses the policy".into())),
            Mode::Observe => found.push(("Observing", "the policy only observes".into())),
            Mode::Active | Mode::ScaleOutOnly => {}
        }
        if group.rivals == Rivals::Operator || self.reasons().any(|reason| matches!(reason, Reason::Contested { .. })) {
            found.push(("Contested", group.rivals.to_string()));
        }
        found.extend(self.refused());
        found.extend(launches(group));
        found.extend(self.cooldowns(None));
        found
    }

    /// What the last action came to, where that belongs to this evaluation.
    fn refused(&self) -> Option<Why> {
        let action = self.policy.last_action.as_ref().filter(|action| action.at == self.evaluation.at)?;
        let error = action.error.clone().unwrap_or_default();
        match action.outcome {
            Outcome::Rejected(_) => Some(("Refused", error)),
            Outcome::Unknown => Some(("OutcomeUnknown", error)),
            Outcome::Applied | Outcome::NoOp => None,
        }
    }

    fn active(&self) -> Condition {
        let kind = Kind::ScalingActive;
        let asked = |reason: &&Reason| {
            use Reason::{Recommended, Saturated, ScaleOutNotHelping};
            matches!(reason, Recommended { .. } | Saturated { .. } | ScaleOutNotHelping { .. })
        };
        match self.reasons().find(asked) {
            Some(reason) => {
                Condition { kind, status: Truth::True, reason: "ValidMetricFound", message: reason.to_string() }
            }
            None if self.policy.group.is_none() => {
                let (reason, message) = self.group_unknown();
                Condition { kind, status: Truth::Unknown, reason, message }
            }
            None => {
                let message = self.evaluation.because();
                Condition { kind, status: Truth::False, reason: "NoValidMetric", message }
            }
        }
    }

    fn limits(&self) -> impl Iterator<Item = Why> {
        self.reasons().filter_map(|reason| {
            let word = match reason {
                Reason::LoweredToMax { bound: Bound::Override, .. } => "AtOverrideMaximum",
                Reason::RaisedToMin { bound: Bound::Override, .. } => "AtOverrideMinimum",
                Reason::LoweredToMax { .. } => "AtMaximum",
                Reason::RaisedToMin { .. } => "AtMinimum",
                Reason::StepLimited { .. } => "StepLimited",
                Reason::ScaleOutNotHelping { .. } => "ScaleOutNotHelping",
                Reason::SpendLimited { .. } => "SpendLimited",
                _ => return None,
            };
            Some((word, reason.to_string()))
        })
    }

    fn invalid(&self) -> Vec<Why> {
        let invalid = self.reasons().filter_map(|reason| match reason {
            Reason::MetricInvalid { .. } => Some(("MetricInvalid", reason.to_string())),
            Reason::MetricNegative { .. } => Some(("MetricNegative", reason.to_string())),
            Reason::NothingServes { .. } => Some(("NothingServes", reason.to_string())),
            _ => None,
        });
        let mut found: Vec<Why> = invalid.collect();
        // Without a group nothing is judged, and what was measured has to speak for itself.
        let unread = self.policy.metrics.iter().filter(|metric| !metric.measurement.is_some_and(|m| m.has_number()));
        if found.is_empty() {
            found.extend(unread.map(|metric| {
                let says = metric.measurement.map_or("not read yet".to_owned(), |measurement| measurement.to_string());
                ("MetricInvalid", format!("{} has no valid value: {says}", metric.name))
            }));
        }
        found
    }

    /// What would keep an instance from being removed. A guard is only stated when there is something to veto, so what can
    /// be seen of the group is told as well.
    fn vetoes(&self) -> Vec<Why> {
        let Some(group) = &self.policy.group else { return vec![self.group_unknown()] };
        let mut found: Vec<Why> = Vec::new();
        if self.orders.stops(&self.policy.name, self.now).inward {
            let stopping = self.pauses().filter(|(_, pause)| pause.scope.stops().inward);
            found.extend(stopping.map(|pause| ("Paused", paused(pause))));
        }
        match self.policy.mode {
            Mode::Paused => found.push(("Paused", "the configuration pauses the policy".into())),
            Mode::Observe => found.push(("Observing", "the policy only observes".into())),
            Mode::ScaleOutOnly => found.push(("ScaleOutOnly", "the policy may only scale out".into())),
            Mode::Active => {}
        }
        found.extend(self.invalid().into_iter().map(|(_, message)| ("SignalsInvalid", message)));
        let stated = self.reasons().filter_map(|reason| match reason {
            Reason::Vetoed { guard } => scale_in_guard(guard).map(|word| (word, guard.to_string())),
            _ => None,
        });
        let signals = self.evaluation.signals.iter().filter_map(SignalReading::guard);
        let standing = standing_guards(group).chain(signals);
        let standing = standing.map(|guard| (scale_in_guard(&guard).unwrap_or_default(), guard.to_string()));
        let guards: Vec<Why> = stated.collect();
        let unstated = standing.filter(|(word, _)| !guards.iter().any(|(known, _)| known == word));
        found.extend(unstated.collect::<Vec<_>>());
        found.extend(guards);
        found.extend(self.cooldowns(Some(Direction::In)));
        found
    }

    fn cooldowns(&self, only: Option<Direction>) -> impl Iterator<Item = Why> {
        self.reasons().filter_map(move |reason| match reason {
            Reason::CoolingDown { direction, .. } if only.is_none_or(|only| only == *direction) => {
                Some(("CoolingDown", reason.to_string()))
            }
            _ => None,
        })
    }

    fn group_unknown(&self) -> Why {
        let why = self.policy.group_detail.clone();
        ("GroupUnknown", why.unwrap_or_else(|| Reason::GroupUnknown.to_string()))
    }

    /// Those that hold now, with the name of the policy unless all are paused.
    fn pauses(&self) -> impl Iterator<Item = (bool, &Pause)> {
        pauses(self.orders, &self.policy.name, self.now)
    }
}

fn launches(group: &GroupStatus) -> impl Iterator<Item = Why> {
    let suspended = group.suspended.launch.then_some(Guard::LaunchSuspended);
    let failing = group
        .launch_failure
        .map(|failure| Guard::LaunchesFailing { insufficient_capacity: failure.insufficient_capacity });
    let suspended = suspended.map(|guard| ("LaunchSuspended", guard.to_string()));
    suspended.into_iter().chain(failing.map(|guard| ("LaunchesFailing", guard.to_string())))
}

/// The guards against a scale-in that stand whatever the metrics ask for.
fn standing_guards(group: &GroupStatus) -> impl Iterator<Item = Guard> {
    let pending = (group.pending > Capacity::ZERO).then_some(Guard::CapacityPending { pending: group.pending });
    let refreshing = group.refreshing.then_some(Guard::Refreshing);
    let suspended = group.suspended.terminate.then_some(Guard::TerminateSuspended);
    let (healthy, in_service) = (group.healthy, group.in_service);
    let unhealthy = (healthy < in_service).then_some(Guard::Unhealthy { healthy, in_service });
    [pending, refreshing, suspended, unhealthy].into_iter().flatten()
}

/// The word for a guard; `None` for one that bars scale-out.
fn scale_in_guard(guard: &Guard) -> Option<&'static str> {
    Some(match guard {
        Guard::NotWarm { .. } => "NotWarm",
        Guard::CapacityPending { .. } => "CapacityPending",
        Guard::JournalUnavailable => "JournalUnavailable",
        Guard::Refreshing => "Refreshing",
        Guard::TerminateSuspended => "TerminateSuspended",
        Guard::Unhealthy { .. } => "Unhealthy",
        Guard::MetricAboveTarget { .. } => "MetricAboveTarget",
        Guard::UnitUnproven { .. } => "UnitUnproven",
        Guard::MetricNotValid { .. } => "SignalsInvalid",
        Guard::CoverageLow { .. } => "CoverageLow",
        Guard::DemandCollapsed { .. } => "DemandCollapsed",
        Guard::SignalBurning { .. } => "SignalBurning",
        Guard::SignalUnknown { .. } => "SignalUnknown",
        Guard::LaunchSuspended | Guard::LaunchesFailing { .. } => return None,
    })
}
