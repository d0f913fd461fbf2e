//! The read-only API, version 1.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{View, problem};
use crate::control::Evaluation;
use crate::status::PolicyStatus;

/// The daemon: version, configuration, lanes.
pub(super) async fn status(State(view): State<View>) -> Json<Value> {
    let now = view.clock.now();
    let snapshot = view.reader.borrow();
    let readiness = snapshot.readiness(now);
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "at": now,
        "ready": readiness.is_ok(),
        "not_ready_because": readiness.err(),
        "started": snapshot.started,
        "configuration": snapshot.configuration,
        "lanes": snapshot.lanes,
        "policies": snapshot.policies.len(),
    }))
}

/// Every policy in short.
pub(super) async fn list(State(view): State<View>) -> Json<Value> {
    let snapshot = view.reader.borrow();
    Json(json!({ "policies": snapshot.policies.values().map(|policy| summary(policy)).collect::<Vec<_>>() }))
}

/// One policy with its last evaluation, from top to bottom.
pub(super) async fn one(State(view): State<View>, Path(name): Path<String>) -> Response {
    let policy = view.reader.borrow().policies.get(name.as_str()).cloned();
    match policy {
        Some(policy) => Json(full(&policy)).into_response(),
        None => problem::response(StatusCode::NOT_FOUND, "no policy has this name; /api/v1/policies lists them"),
    }
}

fn summary(policy: &PolicyStatus) -> Value {
    let group = policy.group.as_ref();
    json!({
        "name": policy.name,
        "asg": policy.asg,
        "mode": policy.mode,
        "min": policy.min,
        "max": policy.max,
        "desired": group.map(|group| group.desired),
        "in_service": group.map(|group| group.in_service),
        "pending": group.map(|group| group.pending),
        "recommended": policy.evaluation.as_ref().and_then(Evaluation::recommended),
        "evaluated": policy.evaluation.as_ref().map(|evaluation| evaluation.at),
        "decision": policy.decision(),
        "because": policy.because,
    })
}

fn full(policy: &PolicyStatus) -> Value {
    let sentences = policy.evaluation.as_ref().map(|evaluation| {
        let reasons = evaluation.reasons.iter();
        reasons.map(|stated| json!({ "stage": stated.stage, "says": stated.reason.to_string() })).collect::<Vec<_>>()
    });
    let mut value = json!(policy);
    value["decision"] = json!(policy.decision());
    value["says"] = json!(sentences);
    value
}
