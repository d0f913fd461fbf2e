//! HTTP: the status page, health, own metrics and the API.
//!
//! It reads the snapshot that the daemon publishes and holds nothing that acts.

mod access;
mod history;
mod metrics;
mod page;
mod policies;
mod problem;
mod server;
mod settings;
mod socket;
mod tls;
mod tokens;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::journal::Reader;
use crate::status::Snapshot;

pub use server::{BindError, Server};
pub use settings::{Role, Settings, Tls, Token};

/// What every handler may look at.
#[derive(Clone)]
pub struct View {
    /// What the daemon publishes.
    pub reader: watch::Receiver<Snapshot>,
    /// What happened, as far as the journal has kept it.
    pub history: Reader,
    /// The daemon's clock.
    pub clock: Clock,
}

impl View {
    /// A copy, since whoever publishes waits while the original is looked at. The policies are shared, not copied.
    fn snapshot(&self) -> Snapshot {
        self.reader.borrow().clone()
    }
}

/// All routes, with the checks that every request passes first.
fn router(view: View, settings: Arc<Settings>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/style.css", get(page::style))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::expose))
        .route("/api/v1/status", get(policies::status))
        .route("/api/v1/policies", get(policies::list))
        .route("/api/v1/policies/{name}", get(policies::one))
        .route("/api/v1/policies/{name}/explain", get(policies::explain))
        .route("/api/v1/policies/{name}/decisions", get(history::of_policy))
        .route("/api/v1/decisions", get(history::of_all))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(settings, access::check))
        .with_state(view)
}

/// Alive: this process answers.
async fn healthz() -> Response {
    text(StatusCode::OK, "alive\n".into())
}

/// Ready: every lane has finished a cycle lately.
async fn readyz(State(view): State<View>) -> Response {
    let readiness = view.reader.borrow().readiness(view.clock.now());
    match readiness {
        Ok(()) => text(StatusCode::OK, "ready\n".into()),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}
