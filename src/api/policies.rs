//! What can be read of the daemon and its policies.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, HeaderMap};
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::answers::{Explained, List, Policy, Status};
use super::problem::Problem;
use super::standing::standing;
use super::{View, tagged};
use crate::control::Subject;
use crate::status::{MetricStatus, PolicyStatus};

/// Most policies of a page.
const MOST_POLICIES: usize = 1000;

/// The daemon: version, configuration, lanes, what operators have ordered.
#[utoipa::path(get, path = "/api/v1/status", tag = "read", responses(
    (status = OK, body = Status, headers(("ETag", description = "Changes with the answer."))),
    (status = NOT_MODIFIED, description = "It is what If-None-Match says."),
))]
pub(super) async fn status(State(view): State<View>, headers: HeaderMap) -> Response {
    let status = Status::new(&view.reader.borrow(), view.clock.now());
    tagged::json(&headers, &status)
}

/// Which of the policies. They are paged so that no fleet is too large to be told of without keeping others waiting.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Those whose names come after this one: the `next` of one page for the page after it.
    after: Option<String>,
    /// Most policies; 1,000 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The policies in short, by name, in pages.
#[utoipa::path(get, path = "/api/v1/policies", tag = "read", params(Part), responses(
    (status = OK, body = List, headers(("ETag", description = "Changes with the answer."))),
    (status = NOT_MODIFIED, description = "It is what If-None-Match says."),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "No such part."),
))]
pub(super) async fn list(
    State(view): State<View>,
    part: Result<Query<Part>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(Query(Part { after, limit })) = part else { return Err(no_such_part()) };
    let limit = limit.unwrap_or(MOST_POLICIES);
    if !(1..=MOST_POLICIES).contains(&limit) {
        return Err(no_such_part());
    }
    Ok(tagged::json(&headers, &List::new(&view.snapshot(), after.as_deref(), limit, view.clock.now())))
}

fn no_such_part() -> Problem {
    let detail = format!("expected after as the name of a policy, and limit from 1 to {MOST_POLICIES}");
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

/// One policy with its last evaluation, from top to bottom.
#[utoipa::path(get, path = "/api/v1/policies/{name}", tag = "read", params(("name" = String, Path, description = "The policy.")),
    responses(
        (status = OK, body = Policy, headers(("ETag", description = "Changes with the answer."))),
        (status = NOT_MODIFIED, description = "It is what If-None-Match says."),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "No such policy."),
    )
)]
pub(super) async fn one(State(view): State<View>, Named(policy): Named, headers: HeaderMap) -> Response {
    let orders = view.reader.borrow().orders.clone();
    tagged::json(&headers, &Policy::new(&policy, &orders, view.clock.now()))
}

/// Why the policy decided as it did last: as text where the request names text/plain before JSON.
#[utoipa::path(get, path = "/api/v1/policies/{name}/explain", tag = "read",
    params(("name" = String, Path, description = "The policy.")),
    responses(
        (status = OK, content((Explained = "application/json"), (String = "text/plain")),
            headers(("ETag", description = "Of JSON only: changes with the answer."))),
        (status = NOT_MODIFIED, description = "It is what If-None-Match says."),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "No such policy."),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
            description = "It has not been evaluated yet."),
    )
)]
pub(super) async fn explain(
    State(view): State<View>,
    Named(policy): Named,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(evaluation) = &policy.evaluation else {
        let why = policy.because.as_deref().unwrap_or("this policy has not been evaluated yet");
        let detail = format!("{why}; it is every {} s", policy.interval.as_secs_f64());
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let standing = standing(&view.reader.borrow().orders, &policy.name, view.clock.now());
    if wants_text(&headers) {
        let ordered = standing.iter().flat_map(|order| ["Ordered: ", order, "\n"]).collect::<String>();
        let explanation = evaluation.explanation(policy.metrics.iter().map(subject), policy.group_detail.as_deref());
        return Ok(super::text(StatusCode::OK, format!("{ordered}{explanation}")));
    }
    Ok(tagged::json(&headers, &Explained::new(&policy, evaluation, standing)))
}

/// The policy that the path names.
pub(super) struct Named(pub Arc<PolicyStatus>);

impl FromRequestParts<View> for Named {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Parts, view: &View) -> Result<Self, Problem> {
        // A name that is not even text is nobody's either.
        let name: Result<Path<String>, PathRejection> = Path::from_request_parts(head, view).await;
        let known = name.ok().and_then(|Path(name)| view.reader.borrow().policies.get(name.as_str()).cloned());
        let nobody = || Problem::new(StatusCode::NOT_FOUND, "no policy has this name; /api/v1/policies lists them");
        known.map(Self).ok_or_else(nobody)
    }
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
