//! The read-only API, version 1.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{View, problem, words};
use crate::control::Evaluation;
use crate::status::PolicyStatus;

/// The daemon: version, configuration, lanes.
pub(super) async fn status(State(view): State<View>) -> Json<Value> {
    let (snapshot, now) = (view.snapshot(), view.clock.now());
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
    let (snapshot, now) = (view.snapshot(), view.clock.now());
    Json(json!({ "policies": snapshot.policies.values().map(|policy| summary(policy, now)).collect::<Vec<_>>() }))
}

/// One policy with its last evaluation, from top to bottom. A name that is not even text is nobody's either.
pub(super) async fn one(State(view): State<View>, name: Result<Path<String>, PathRejection>) -> Response {
    let policy = name.ok().and_then(|Path(name)| view.reader.borrow().policies.get(name.as_str()).cloned());
    match policy {
        Some(policy) => Json(full(&policy, view.clock.now())).into_response(),
        None => problem::response(StatusCode::NOT_FOUND, "no policy has this name; /api/v1/policies lists them"),
    }
}

fn summary(policy: &PolicyStatus, now: Timestamp) -> Value {
    let group = policy.group.as_ref();
    json!({
        "name": policy.name,
        "asg": policy.asg,
        "region": policy.region,
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
        "troubles": words::troubles(policy, now),
    })
}

/// The whole status and, in words: each metric's reading, each reason, and what is wrong.
fn full(policy: &PolicyStatus, now: Timestamp) -> Value {
    let mut value = json!(policy);
    for (place, metric) in policy.metrics.iter().enumerate() {
        value["metrics"][place]["says"] = json!(words::Reading(policy, metric).to_string());
    }
    value["says"] = json!(policy.evaluation.as_ref().map(|evaluation| {
        let reasons = evaluation.reasons.iter();
        reasons.map(|stated| json!({ "stage": stated.stage, "says": stated.reason.to_string() })).collect::<Vec<_>>()
    }));
    value["decision"] = json!(policy.decision());
    value["troubles"] = json!(words::troubles(policy, now));
    value
}
