//! HTTP: the status page, health, own metrics and the API.
//!
//! It reads the snapshot that the daemon publishes, passes orders on through a bounded channel, and holds nothing that
//! acts.

mod access;
mod answers;
mod conditions;
mod cost;
mod events;
mod history;
mod metrics;
mod openapi;
mod orders;
mod page;
mod places;
mod plain;
mod policies;
mod problem;
mod series;
mod server;
mod settings;
mod socket;
mod standing;
mod tagged;
mod tls;
mod tokens;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::clock::Clock;
use crate::journal::Reader;
use crate::order::Command;
use crate::status::Snapshot;

pub use server::{BindError, Server};
pub use settings::{Role, Settings, Tls, Token};

/// Most bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;

/// What every handler may use.
#[derive(Clone)]
pub struct View {
    reader: watch::Receiver<Snapshot>,
    history: Reader,
    commands: mpsc::Sender<Command>,
    clock: Clock,
    streams: Arc<Semaphore>,
}

impl View {
    /// A view of what the daemon publishes and of what its journal has kept, with the way in which it is told what to do,
    /// and its clock.
    pub fn new(
        reader: watch::Receiver<Snapshot>,
        history: Reader,
        commands: mpsc::Sender<Command>,
        clock: Clock,
    ) -> Self {
        Self { reader, history, commands, clock, streams: Arc::new(Semaphore::new(events::MAX_STREAMS)) }
    }

    /// A copy, since whoever publishes waits while the original is looked at. The policies are shared, not copied.
    fn snapshot(&self) -> Snapshot {
        self.reader.borrow().clone()
    }
}

/// All routes, with the checks that every request passes first.
fn router(view: View, settings: Arc<Settings>) -> Router {
    openapi::routes()
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(settings, access::check))
        .with_state(view)
}

/// Alive: this process answers.
#[utoipa::path(get, path = "/healthz", tag = "own", responses((status = OK, body = String)))]
async fn healthz() -> Response {
    text(StatusCode::OK, "alive\n".into())
}

/// Ready: every lane has finished a cycle lately.
#[utoipa::path(get, path = "/readyz", tag = "own", responses(
    (status = OK, body = String),
    (status = SERVICE_UNAVAILABLE, body = String, description = "Some lane has not, which is named."),
))]
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
