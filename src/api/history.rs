//! What happened, newest first, in pages.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::View;
use super::policies::Named;
use super::problem::Problem;
use crate::journal::{self, Cursor, Entry, ReadError};

/// Entries of a page where nothing is said.
const ENTRIES: usize = 100;

/// Which part of it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Not older than this.
    from: Option<Timestamp>,
    /// Older than this: a time, or the `next` of one page for the page after it.
    #[param(value_type = Option<String>)]
    before: Option<Cursor>,
    /// Most entries; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A page of what happened, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    decisions: Vec<Entry>,
    /// Entries between these that this version of Setpoint can't read, and that are left out.
    unreadable: usize,
    /// The `before` of the next page; null where there is no more.
    #[schema(value_type = Option<String>)]
    next: Option<Cursor>,
}

type Asked = Result<Query<Part>, QueryRejection>;

/// What was decided for one policy, with the orders that concern it.
#[utoipa::path(get, path = "/api/v1/policies/{name}/decisions", tag = "read",
    params(("name" = String, Path, description = "The policy."), Part),
    responses(
        (status = OK, body = History),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "No such part."),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json",
            description = "No such policy, or no journal."),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
            description = "The journal can't be read now."),
    )
)]
pub(super) async fn of_policy(
    State(view): State<View>,
    Named(policy): Named,
    part: Asked,
) -> Result<Json<History>, Problem> {
    page(&view, Some(policy.name.to_string()), part).await
}

/// What was decided and ordered for all policies.
#[utoipa::path(get, path = "/api/v1/decisions", tag = "read", params(Part), responses(
    (status = OK, body = History),
    (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "No such part."),
    (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "No journal."),
    (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
        description = "The journal can't be read now."),
))]
pub(super) async fn of_all(State(view): State<View>, part: Asked) -> Result<Json<History>, Problem> {
    page(&view, None, part).await
}

async fn page(view: &View, policy: Option<String>, part: Asked) -> Result<Json<History>, Problem> {
    let Part { from, before, limit } = match part {
        Ok(Query(part)) if part.limit.is_none_or(|limit| (1..=journal::MOST_ENTRIES).contains(&limit)) => part,
        _ => {
            let detail = format!(
                "expected from and before as times such as 2026-01-31T08:00:00Z, and limit from 1 to {}",
                journal::MOST_ENTRIES
            );
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    let query = journal::Query { policy, from, before, limit: limit.unwrap_or(ENTRIES) };
    match view.history.page(query).await {
        Ok(page) => Ok(Json(History { decisions: page.entries, unreadable: page.unreadable, next: page.next })),
        Err(error @ ReadError::Off) => Err(Problem::new(StatusCode::NOT_FOUND, error.to_string())),
        Err(error) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}
