//! The record of one evaluation: what the log line, the API, the web page and `explain` all show.

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::guard::Guard;
use super::reason::Reason;
use crate::observation::{Measurement, Observation, optional_seconds};
use crate::policy::{Capacity, MAX_METRICS, MAX_SIGNALS, Threshold};

/// Stages of a decision.
pub const STAGES: usize = 10;

/// Most reasons of one evaluation: three a metric, one a signal, and every stage and guard once, with room to spare.
pub const MAX_REASONS: usize = 4 * MAX_METRICS + MAX_SIGNALS;

/// What to do with the desired capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Decision {
    /// Set it.
    Scale {
        /// The desired capacity that was seen.
        from: Capacity,
        /// The desired capacity to set.
        to: Capacity,
    },
    /// Leave it.
    Hold,
}

/// The capacity that one metric asks for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Recommendation {
    /// The metric's name.
    pub metric: Arc<str>,
    /// The measured value, in the metric's unit.
    pub value: f64,
    /// The value to keep.
    pub target: f64,
    /// The load in instances' worth of work at target; `None` for latency, which says nothing about load.
    pub demand: Option<f64>,
    /// Of a latency beside a metric that tells the load: the load (0..1) at which it is thought to meet its target.
    pub ceiling: Option<f64>,
    /// Of `risk`: the share that is kept in hand beyond what is foretold, learned from what that was wrong by.
    pub margin: Option<f64>,
    /// Of `pid`: what it is made of.
    pub terms: Option<Terms>,
    /// Instances, before rounding.
    pub capacity: f64,
    /// Instances.
    pub rounded: Capacity,
}

/// What each part of a PID controller did to the capacity asked for: the logarithm of the factor. 0.1 is 10.5 % more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Terms {
    /// The proportional part.
    pub p: f64,
    /// The integral part.
    pub i: f64,
    /// The derivative part.
    pub d: f64,
}

/// What was seen of one signal that may hold the scale-in.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SignalReading {
    /// The signal's name.
    pub signal: Arc<str>,
    /// Where it begins to burn.
    pub threshold: Threshold,
    /// What was read.
    pub measurement: Measurement,
}

impl SignalReading {
    /// The veto that comes of it, if any.
    pub fn guard(&self) -> Option<Guard> {
        let (signal, threshold) = (self.signal.clone(), self.threshold);
        match self.measurement.number().filter(|value| value.is_finite()) {
            None => Some(Guard::SignalUnknown { signal }),
            Some(value) if threshold.burns(value) => Some(Guard::SignalBurning { signal, value, threshold }),
            Some(_) => None,
        }
    }
}

/// One step of the decision, in the order in which the steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StageName {
    /// Is every metric a finite, fresh, single number?
    Validity,
    /// One recommendation a metric; the highest wins.
    Controller,
    /// Floors and caps of schedules and overrides, and the fallback.
    Floors,
    /// Inside the dead band, keep.
    Tolerance,
    /// Act on what has stood for a while.
    Stabilization,
    /// Absolute and percent limits per period.
    Step,
    /// The policy's and the group's own bounds.
    Bounds,
    /// Rest after a scale event.
    Cooldown,
    /// Named vetoes.
    Guards,
    /// What the owner allows.
    Mode,
}

/// The number that went into a stage and the one that came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Stage {
    /// The step.
    pub stage: StageName,
    /// Capacity before it.
    #[serde(rename = "in")]
    pub before: Capacity,
    /// Capacity after it.
    #[serde(rename = "out")]
    pub after: Capacity,
}

/// A reason, with the stage that gave it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct StatedReason {
    /// Who says so.
    pub stage: StageName,
    /// What it says.
    #[serde(flatten)]
    pub reason: Reason,
}

/// One evaluation of one policy, from top to bottom.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Evaluation {
    /// The policy's name.
    pub policy: Arc<str>,
    /// When.
    pub at: Timestamp,
    /// What was seen.
    pub observation: Observation,
    /// Launch to serving, as it was taken for: given, learned or assumed. `None` when the group is unknown.
    #[serde(serialize_with = "optional_seconds")]
    #[schema(value_type = Option<f64>)]
    pub boot_time: Option<Duration>,
    /// What was seen of each signal that may hold the scale-in.
    #[schema(value_type = Vec<SignalReading>)]
    pub signals: ArrayVec<SignalReading, MAX_SIGNALS>,
    /// What each valid metric asks for.
    #[schema(value_type = Vec<Recommendation>)]
    pub recommendations: ArrayVec<Recommendation, MAX_METRICS>,
    /// Each stage's numbers; empty when the group is unknown.
    #[schema(value_type = Vec<Stage>)]
    pub stages: ArrayVec<Stage, STAGES>,
    /// What to do.
    pub decision: Decision,
    /// Why, in the order of the stages.
    #[schema(value_type = Vec<StatedReason>)]
    pub reasons: ArrayVec<StatedReason, MAX_REASONS>,
}

impl Evaluation {
    /// The capacity that the controller asked for, before any stage after it.
    pub fn recommended(&self) -> Option<Capacity> {
        self.recommendations.iter().map(|r| r.rounded).max()
    }

    /// The reason that had the last word: of the last stage that changed the number, a veto before all else, else of the
    /// controller, else the first one given.
    pub fn last_word(&self) -> Option<&Reason> {
        let decisive = self.stages.iter().rev().find(|s| s.before != s.after).map(|s| s.stage);
        let stated = |stage| {
            let mut of_stage = self.reasons.iter().filter(move |r| r.stage == stage);
            let first = of_stage.clone().next();
            of_stage.find(|r| matches!(r.reason, Reason::Vetoed { .. })).or(first)
        };
        let word = decisive.and_then(stated).or_else(|| stated(StageName::Controller)).or(self.reasons.first());
        word.map(|r| &r.reason)
    }

    /// Why, in a sentence: what the controller asked for and, where another stage had the last word, that.
    pub fn because(&self) -> String {
        let asked = self.reasons.iter().find(|r| r.stage == StageName::Controller).map(|r| &r.reason);
        // Where no metric is valid, what is wrong with the first of them says more than that.
        let asked =
            asked.filter(|reason| **reason != Reason::NoValidMetric).or(self.reasons.first().map(|r| &r.reason));
        match (asked, self.last_word()) {
            (Some(asked), Some(Reason::NoValidMetric)) => asked.to_string(),
            (Some(asked), Some(last)) if asked != last => format!("{asked}, but {last}"),
            (_, last) => last.map(ToString::to_string).unwrap_or_default(),
        }
    }
}
