//! What happened, newest first, in pages.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::View;
use super::policies::{named, nobody};
use super::problem::Problem;
use crate::journal::{self, ReadError};

/// Entries of a page where nothing is said.
const ENTRIES: usize = 100;

/// Which part of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    from: Option<Timestamp>,
    before: Option<Timestamp>,
    limit: Option<usize>,
}

type Asked = Result<Query<Part>, QueryRejection>;

/// Decisions of one policy, with the orders that concern it.
pub(super) async fn of_policy(
    State(view): State<View>,
    name: Result<Path<String>, PathRejection>,
    part: Asked,
) -> Response {
    match named(&view, name) {
        Some(policy) => page(&view, Some(policy.name.to_string()), part).await,
        None => nobody(),
    }
}

/// Decisions and orders of all policies.
pub(super) async fn of_all(State(view): State<View>, part: Asked) -> Response {
    page(&view, None, part).await
}

async fn page(view: &View, policy: Option<String>, part: Asked) -> Response {
    let Part { from, before, limit } = match part {
        Ok(Query(part)) if part.limit.is_none_or(|limit| (1..=journal::MOST_ENTRIES).contains(&limit)) => part,
        _ => {
            let detail = format!(
                "expected from and before as times such as 2026-01-31T08:00:00Z, and limit from 1 to {}",
                journal::MOST_ENTRIES
            );
            return Problem::new(StatusCode::BAD_REQUEST, detail).into_response();
        }
    };
    let query = journal::Query { policy, from, before, limit: limit.unwrap_or(ENTRIES) };
    match view.history.page(query).await {
        Ok(page) => Json(json!({ "decisions": page.entries, "next": page.next })).into_response(),
        Err(error @ ReadError::Off) => Problem::new(StatusCode::NOT_FOUND, error.to_string()).into_response(),
        Err(error) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
