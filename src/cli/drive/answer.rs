//! What a line is answered with.

use serde::{Serialize, Serializer};

use super::object::Fault;
use crate::control::{Decision, Evaluation, Recommendation, Stage, StatedReason};
use crate::policy::Capacity;

/// An evaluation, as a simulator needs it.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    desired: Capacity,
    decision: &'static str,
    because: String,
    #[serde(serialize_with = "told")]
    reasons: &'a [StatedReason],
    #[serde(serialize_with = "by_metric")]
    recommendations: &'a [Recommendation],
    stages: &'a [Stage],
}

impl<'a> Answer<'a> {
    /// Of an evaluation of a group whose desired capacity was `desired`.
    pub fn new(evaluation: &'a Evaluation, desired: Capacity) -> Self {
        let (decision, desired) = match evaluation.decision {
            Decision::Hold => ("hold", desired),
            Decision::Scale { from, to } if to > from => ("scale_out", to),
            Decision::Scale { to, .. } => ("scale_in", to),
        };
        Self {
            desired,
            decision,
            because: evaluation.because(),
            reasons: &evaluation.reasons,
            recommendations: &evaluation.recommendations,
            stages: &evaluation.stages,
        }
    }
}

/// A reason with its sentence.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    stated: &'a StatedReason,
    text: String,
}

fn told<S: Serializer>(reasons: &[StatedReason], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reasons.iter().map(|stated| Told { stated, text: stated.reason.to_string() }))
}

fn by_metric<S: Serializer>(recommendations: &[Recommendation], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(recommendations.iter().map(|recommendation| (&*recommendation.metric, recommendation)))
}

/// Why a line has no evaluation.
#[derive(Serialize)]
pub(super) struct Refusal {
    error: Located,
}

#[derive(Serialize)]
struct Located {
    line: u64,
    #[serde(flatten)]
    fault: Fault,
}

impl Refusal {
    /// Of the line with this number, counted from 1.
    pub fn new(line: u64, fault: Fault) -> Self {
        Self { error: Located { line, fault } }
    }
}
