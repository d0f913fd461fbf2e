//! What an operator may order. Each order says who and why, and passes through the channel to the daemon, which answers
//! once it is in effect.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, FromRequest, Request, State};
use axum::http::StatusCode;
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::View;
use super::policies::Named;
use super::problem::Problem;
use super::tokens::Caller;
use crate::order::{Author, Command, LONGEST_REASON, Order, Override, Pause, Receipt, Refusal, Scope};
use crate::policy::Capacity;

/// A pause or an override that is needed for longer belongs into the configuration.
const LONGEST: Duration = Duration::from_hours(30 * 24);

/// Most characters of the name that a request gives for its author. The journal's bound holds for the whole.
const LONGEST_NAME: usize = 60;

/// Pauses one policy, or all of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseRequest {
    /// What stops; both directions by default.
    #[serde(default)]
    scope: Scope,
    /// When it ends by itself: a moment (RFC 3339), or a time from now such as 90m or 3h; within 30 days.
    #[schema(example = "3h")]
    expires: String,
    /// Why, which the journal keeps: one line.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// On whose behalf, beside whoever the token or the socket says.
    #[schema(max_length = 60)]
    author: Option<String>,
}

/// Sets other bounds for a policy, within its own. One of floor, cap and exact at least.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OverrideRequest {
    /// The least capacity.
    floor: Option<u32>,
    /// The most capacity.
    cap: Option<u32>,
    /// Both at once.
    exact: Option<u32>,
    /// When it ends by itself: a moment (RFC 3339), or a time from now such as 90m or 3h; within 30 days.
    #[schema(example = "3h")]
    expires: String,
    /// Why, which the journal keeps: one line.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// On whose behalf, beside whoever the token or the socket says.
    #[schema(max_length = 60)]
    author: Option<String>,
}

/// Says why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonRequest {
    /// Why, which the journal keeps: one line.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// On whose behalf, beside whoever the token or the socket says.
    #[schema(max_length = 60)]
    author: Option<String>,
}

/// It is in effect.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Who is answerable for it.
    by: String,
    /// When it ends by itself.
    until: Option<Timestamp>,
    #[serde(flatten)]
    receipt: Receipt,
}

/// The new configuration is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reloaded {
    /// Who is answerable for it.
    by: String,
}

/// Pauses a policy until it is resumed or the pause expires.
#[utoipa::path(post, path = "/api/v1/policies/{name}/pause", tag = "operate", request_body = PauseRequest,
    params(("name" = String, Path, description = "The policy.")), responses((status = OK, body = Accepted)))]
pub(super) async fn pause(
    State(view): State<View>,
    Extension(caller): Extension<Caller>,
    Named(policy): Named,
    Body(request): Body<PauseRequest>,
) -> Result<Json<Accepted>, Problem> {
    let pause = pausing(&view, &caller, request)?;
    give(&view, Some(pause.until), Order::Pause { policy: policy.name.clone(), pause }).await
}

/// Ends the pause of a policy. There need be none.
#[utoipa::path(post, path = "/api/v1/policies/{name}/resume", tag = "operate", request_body = ReasonRequest,
    params(("name" = String, Path, description = "The policy.")), responses((status = OK, body = Accepted)))]
pub(super) async fn resume(
    State(view): State<View>,
    Extension(caller): Extension<Caller>,
    Named(policy): Named,
    Body(ReasonRequest { reason, author }): Body<ReasonRequest>,
) -> Result<Json<Accepted>, Problem> {
    let author = sign(&caller, author.as_deref(), reason)?;
    give(&view, None, Order::Resume { policy: policy.name.clone(), author }).await
}

/// Sets a floor, a cap or both for a policy until it is released or the override expires.
#[utoipa::path(post, path = "/api/v1/policies/{name}/override", tag = "operate", request_body = OverrideRequest,
    params(("name" = String, Path, description = "The policy.")), responses((status = OK, body = Accepted)))]
pub(super) async fn overrule(
    State(view): State<View>,
    Extension(caller): Extension<Caller>,
    Named(policy): Named,
    Body(request): Body<OverrideRequest>,
) -> Result<Json<Accepted>, Problem> {
    let OverrideRequest { floor, cap, exact, expires, reason, author } = request;
    let (floor, cap) = match (floor, cap, exact) {
        (None, None, Some(exact)) => (Some(exact), Some(exact)),
        (floor, cap, None) => (floor, cap),
        _ => return Err(unprocessable("exact is both floor and cap, expected it alone")),
    };
    let [floor, cap] = [floor, cap].map(|capacity| capacity.map(Capacity::new));
    let since = view.clock.now();
    let until = end(&expires, since)?;
    let bounds = Override { floor, cap, author: sign(&caller, author.as_deref(), reason)?, since, until };
    give(&view, Some(until), Order::Override { policy: policy.name.clone(), bounds }).await
}

/// Ends the override of a policy. There need be none.
#[utoipa::path(post, path = "/api/v1/policies/{name}/release", tag = "operate", request_body = ReasonRequest,
    params(("name" = String, Path, description = "The policy.")), responses((status = OK, body = Accepted)))]
pub(super) async fn release(
    State(view): State<View>,
    Extension(caller): Extension<Caller>,
    Named(policy): Named,
    Body(ReasonRequest { reason, author }): Body<ReasonRequest>,
) -> Result<Json<Accepted>, Problem> {
    let author = sign(&caller, author.as_deref(), reason)?;
    give(&view, None, Order::Release { policy: policy.name.clone(), author }).await
}

/// Pauses every policy, those of later configurations as well.
#[utoipa::path(post, path = "/api/v1/freeze", tag = "operate", request_body = PauseRequest, responses((status = OK, body = Accepted)))]
pub(super) async fn freeze(
    State(view): State<View>,
    Extension(caller): Extension<Caller>,
    Body(request): Body<PauseRequest>,
) -> Result<Json<Accepted>, Problem> {
    let pause = pausing(&view, &caller, request)?;
    give(&view, Some(pause.until), Order::Freeze(pause)).await
}

/// Ends the freeze. Pauses of single policies stay.
#[utoipa::path(post, path = "/api/v1/unfreeze", tag = "operate", request_body = ReasonRequest, responses((status = OK, body = Accepted)))]
pub(super) async fn unfreeze(
    State(view): State<View>,
    Extension(caller): Extension<Caller>,
    Body(ReasonRequest { reason, author }): Body<ReasonRequest>,
) -> Result<Json<Accepted>, Problem> {
    let author = sign(&caller, author.as_deref(), reason)?;
    give(&view, None, Order::Unfreeze(author)).await
}

/// Reads the configuration again and puts it in force, all or nothing.
#[utoipa::path(post, path = "/api/v1/reload", tag = "operate", request_body = ReasonRequest, responses((status = OK, body = Reloaded)))]
pub(super) async fn reload(
    State(view): State<View>,
    Extension(caller): Extension<Caller>,
    Body(ReasonRequest { reason, author }): Body<ReasonRequest>,
) -> Result<Json<Reloaded>, Problem> {
    let Author { by, reason } = sign(&caller, author.as_deref(), reason)?;
    tracing::warn!(event = "ordered", order = "reload", by, reason, "an operator has given an order");
    let (answer, outcome) = oneshot::channel();
    tell(&view, Command::Reload(answer))?;
    outcome.await.map_err(|_| stopping())?.map_err(unprocessable)?;
    Ok(Json(Reloaded { by }))
}

fn pausing(view: &View, caller: &Caller, request: PauseRequest) -> Result<Pause, Problem> {
    let PauseRequest { scope, expires, reason, author } = request;
    let since = view.clock.now();
    Ok(Pause { scope, author: sign(caller, author.as_deref(), reason)?, since, until: end(&expires, since)? })
}

async fn give(view: &View, until: Option<Timestamp>, order: Order) -> Result<Json<Accepted>, Problem> {
    let by = order.author().by.clone();
    let (answer, outcome) = oneshot::channel();
    tell(view, Command::Order(order, answer))?;
    match outcome.await.map_err(|_| stopping())? {
        Ok(receipt) => Ok(Json(Accepted { by, until, receipt })),
        Err(refusal @ Refusal::UnknownPolicy(_)) => Err(Problem::new(StatusCode::NOT_FOUND, refusal.to_string())),
        Err(refusal) => Err(unprocessable(refusal.to_string())),
    }
}

fn tell(view: &View, command: Command) -> Result<(), Problem> {
    view.commands.try_send(command).map_err(|error| match error {
        TrySendError::Full(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many orders wait already, expected some patience")
        }
        TrySendError::Closed(_) => stopping(),
    })
}

fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping, so it is not known whether this took effect")
}

fn unprocessable(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// Whoever the token or the socket says, who may name somebody on whose behalf.
fn sign(caller: &Caller, author: Option<&str>, reason: String) -> Result<Author, Problem> {
    // Both go to logs and terminals.
    if reason.chars().chain(author.unwrap_or_default().chars()).any(char::is_control) {
        return Err(unprocessable("reason and author are one line each, expected no control characters"));
    }
    if reason.trim().is_empty() || reason.chars().count() > LONGEST_REASON {
        return Err(unprocessable(Refusal::Unexplained.to_string()));
    }
    let by = match author.map(str::trim).filter(|author| !author.is_empty()) {
        Some(author) if author.chars().count() > LONGEST_NAME => {
            return Err(unprocessable(format!("author is too long, expected at most {LONGEST_NAME} characters")));
        }
        Some(author) if author != &*caller.name => format!("{author} ({})", caller.name),
        _ => caller.name.to_string(),
    };
    Ok(Author { by, reason })
}

/// The moment that `expires` stands for.
fn end(expires: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    let days = SpanRelativeTo::days_are_24_hours();
    let span = expires.parse::<Span>().and_then(|span| now.checked_add(span.to_duration(days)?)).ok();
    let Some(end) = span.or_else(|| expires.parse().ok()) else {
        return Err(unprocessable(format!(
            "expires, {expires:?}, can't be read; expected a moment such as 2026-11-23T18:00:00Z, or a time such as 3h or 7d"
        )));
    };
    let latest = now.saturating_add(LONGEST).unwrap_or(Timestamp::MAX);
    if end <= now || end > latest {
        return Err(unprocessable(format!(
            "expires, {expires:?}, is out of bounds; expected a moment after now and within 30 days"
        )));
    }
    Ok(end)
}

/// A body of JSON; whatever is wrong with it is a problem.
pub(super) struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<View> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, view: &View) -> Result<Self, Problem> {
        let read = Json::from_request(request, view).await;
        let wrong = |rejection: JsonRejection| Problem::new(rejection.status(), rejection.body_text());
        read.map(|Json(body)| Self(body)).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::settings::Role;

    #[test]
    fn an_order_ends_at_a_moment_or_after_a_time() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-23T12:00:00Z");
        let check = |expires: &str, expected: Option<&str>| {
            assert_eq!(end(expires, now).ok(), expected.map(at), "{expires:?}");
        };
        check("3h", Some("2026-11-23T15:00:00Z"));
        check("90m", Some("2026-11-23T13:30:00Z"));
        check("1h30m", Some("2026-11-23T13:30:00Z"));
        check("2026-11-24T00:00:00Z", Some("2026-11-24T00:00:00Z"));
        check("2026-11-24T00:00:00+01:00", Some("2026-11-23T23:00:00Z"));
        check("720h", Some("2026-12-23T12:00:00Z"));
        for refused in ["", "soon", "3", "-3h", "0s", "721h", "2026-11-23T12:00:00Z", "9999999999999999h"] {
            check(refused, None);
        }
    }

    #[test]
    fn who_orders_is_whoever_is_known_whatever_the_request_says() {
        let caller = Caller { role: Role::Operator, name: "ci".into() };
        let check = |author: Option<&str>, expected: Option<&str>| {
            let signed = sign(&caller, author, "a reason".into());
            assert_eq!(signed.ok().map(|author| author.by), expected.map(ToOwned::to_owned), "{author:?}");
        };
        check(None, Some("ci"));
        check(Some("ci"), Some("ci"));
        check(Some(" "), Some("ci"));
        check(Some("alice"), Some("alice (ci)"));
        check(Some("alice\nbob"), None);
        check(Some(&"a".repeat(61)), None);
        for reason in ["", " ", "a\u{1b}[31m", &"a".repeat(501)] {
            assert!(sign(&caller, None, reason.into()).is_err(), "{reason:?}");
        }
    }
}
