//! The read-only API, version 1.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, HeaderMap};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{View, words};
use crate::control::{Evaluation, Subject};
use crate::status::{MetricStatus, PolicyStatus};

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
        "journal": snapshot.journal,
        "orders": *snapshot.orders,
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
    match named(&view, name) {
        Some(policy) => Json(full(&policy, view.clock.now())).into_response(),
        None => nobody(),
    }
}

/// The last evaluation of one policy in words, as text or within its JSON.
pub(super) async fn explain(
    State(view): State<View>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let Some(policy) = named(&view, name) else { return nobody() };
    let Some(evaluation) = &policy.evaluation else {
        let why = policy.because.as_deref().unwrap_or("this policy has not been evaluated yet");
        let detail = format!("{why}; it is every {} s", policy.interval.as_secs_f64());
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    };
    if wants_text(&headers) {
        let explanation = evaluation.explanation(policy.metrics.iter().map(subject), policy.group_detail.as_deref());
        return super::text(StatusCode::OK, explanation.to_string());
    }
    Json(explained(&policy, evaluation)).into_response()
}

pub(super) fn named(view: &View, name: Result<Path<String>, PathRejection>) -> Option<Arc<PolicyStatus>> {
    name.ok().and_then(|Path(name)| view.reader.borrow().policies.get(name.as_str()).cloned())
}

pub(super) fn nobody() -> Response {
    Problem::new(StatusCode::NOT_FOUND, "no policy has this name; /api/v1/policies lists them").into_response()
}

/// Whether plain text is named before JSON.
fn wants_text(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types = accepted.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
    let first = types.map(str::trim).find(|name| ["text/plain", "application/json"].contains(name));
    first == Some("text/plain")
}

fn subject(metric: &MetricStatus) -> Subject<'_> {
    let MetricStatus { name, kind, target, detail, .. } = metric;
    Subject { name, kind: *kind, target: *target, detail: detail.as_deref() }
}

/// The evaluation with what the words of the text are made of.
fn explained(policy: &PolicyStatus, evaluation: &Evaluation) -> Value {
    let mut value = json!(evaluation);
    for (place, stated) in evaluation.reasons.iter().enumerate() {
        value["reasons"][place]["text"] = json!(stated.reason.to_string());
    }
    value["because"] = json!(evaluation.because());
    value["last_word"] = json!(evaluation.last_word().map(ToString::to_string));
    value["metrics"] = metrics(policy);
    value["group_detail"] = json!(policy.group_detail);
    value
}

/// The metrics, each with its reading in words.
fn metrics(policy: &PolicyStatus) -> Value {
    let mut value = json!(policy.metrics);
    for (place, metric) in policy.metrics.iter().enumerate() {
        value[place]["says"] = json!(words::Reading(policy, metric).to_string());
    }
    value
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
    value["metrics"] = metrics(policy);
    value["says"] = json!(policy.evaluation.as_ref().map(|evaluation| {
        let reasons = evaluation.reasons.iter();
        reasons.map(|stated| json!({ "stage": stated.stage, "says": stated.reason.to_string() })).collect::<Vec<_>>()
    }));
    value["decision"] = json!(policy.decision());
    value["troubles"] = json!(words::troubles(policy, now));
    value
}
