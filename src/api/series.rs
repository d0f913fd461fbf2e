//! A policy's recent past in numbers, for charts.

use std::sync::Arc;

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::policies::Named;
use super::problem::Problem;
use crate::observation::seconds;
use crate::policy::MetricKind;
use crate::status::{Columns, Counts, MetricStatus};

/// The recent past in columns of the same length, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Chart {
    policy: Arc<str>,
    /// Least seconds between two points.
    #[serde(serialize_with = "seconds")]
    #[schema(value_type = f64)]
    spacing: std::time::Duration,
    /// Seconds since 1970, ever more.
    at: Vec<u32>,
    /// What the controller asked for; null where that is unknown, as everywhere below.
    recommended: Vec<Option<u32>>,
    /// Of a controller that foretells: the same without what it keeps in hand in case it is wrong.
    foretold: Vec<Option<u32>>,
    desired: Vec<Option<u32>>,
    in_service: Vec<Option<u32>>,
    /// The least capacity of policy and group.
    min: Vec<Option<u32>>,
    /// The most capacity of policy and group.
    max: Vec<Option<u32>>,
    /// Each metric of the policy.
    metrics: Vec<Line>,
}

/// A metric's recent past.
#[derive(Debug, Serialize, ToSchema)]
struct Line {
    name: Arc<str>,
    kind: MetricKind,
    target: f64,
    /// What is compared with the target: of a total the share of one instance. Null where there was no valid value.
    values: Vec<Option<f32>>,
}

/// A policy's recent past in numbers: 256 points at most, one an evaluation until they span some hours, and then one a
/// minute or so. They are kept in memory, so they begin at the start of the daemon.
#[utoipa::path(get, path = "/api/v1/policies/{name}/series", tag = "read",
    params(("name" = String, Path, description = "The policy.")),
    responses(
        (status = OK, body = Chart),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "No such policy."),
    )
)]
pub(super) async fn of_policy(Named(policy): Named) -> Json<Chart> {
    let Columns { spacing, at, counts, metrics } = policy.series.columns();
    let Counts { recommended, foretold, desired, in_service, min, max } = counts;
    let line = |(MetricStatus { name, kind, target, .. }, values): (&MetricStatus, _)| Line {
        name: name.clone(),
        kind: *kind,
        target: *target,
        values,
    };
    let metrics = policy.metrics.iter().zip(metrics).map(line).collect();
    let policy = policy.name.clone();
    Json(Chart { policy, spacing, at, recommended, foretold, desired, in_service, min, max, metrics })
}
