//! What a policy's group came to, and what it would have come to otherwise.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::View;
use super::policies::Named;
use super::problem::Problem;
use crate::account::{self, Bill, Stretch};
use crate::journal::ReadError;
use crate::status::PolicyStatus;

/// Since when, where nothing is said.
const USUAL: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Of which time.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Since when; 30 days ago by default.
    from: Option<Timestamp>,
}

/// What a policy's group came to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cost {
    policy: Arc<str>,
    #[serde(flatten)]
    bill: Bill,
}

/// What the policy's group came to in instance-hours and money, beside what it would have come to at a constant size, with
/// the time over the target. An estimate at one price for an instance-hour: no volumes, no traffic, no discounts. Without
/// a journal it begins at the start of the daemon.
#[utoipa::path(get, path = "/api/v1/policies/{name}/cost", tag = "read",
    params(("name" = String, Path, description = "The policy."), Part),
    responses(
        (status = OK, body = Cost),
        (status = BAD_REQUEST, body = Problem, content_type = "application/problem+json", description = "No such part."),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "No such policy."),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
            description = "The journal can't be read now."),
    )
)]
pub(super) async fn of_policy(
    State(view): State<View>,
    Named(policy): Named,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Json<Cost>, Problem> {
    let now = view.clock.now();
    let part = part.ok().map(|Query(part)| part.from.or(now.checked_sub(USUAL).ok()));
    let Some(Some(from)) = part.map(|from| from.filter(|from| *from < now)) else {
        let detail = "expected from as a time in the past such as 2026-01-31T08:00:00Z";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    let stretches = match view.history.stretches(account::name(&policy.asg, policy.region.as_deref())).await {
        Ok(kept) => with_today(kept, &policy),
        Err(ReadError::Off) => policy.ledger.all().into_iter().collect(),
        Err(error) => return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    };
    let bill = Bill::of(&stretches, from, now, policy.price);
    Ok(Json(Cost { policy: policy.name.clone(), bill }))
}

/// What is `kept`, with the stretch that has not ended in the place of what was written down of it.
fn with_today(mut kept: Vec<Stretch>, policy: &PolicyStatus) -> Vec<Stretch> {
    if let Some(today) = policy.ledger.today() {
        kept.retain(|stretch| stretch.from != today.from);
        kept.push(today);
    }
    kept
}
