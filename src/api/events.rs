//! Live updates as server-sent events: one event for each policy that has changed.
//!
//! Nothing is kept for a client that reads slowly. What it is sent next is made when it has room for it, from the newest
//! snapshot; what was between is skipped.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

use super::View;
use super::answers::Summary;
use super::problem::Problem;
use crate::order::Standing;
use crate::status::PolicyStatus;

/// Streams at once, so that they leave most connections to others.
pub(super) const MAX_STREAMS: usize = 64;

/// Between two looks for what has changed.
const PACE: Duration = Duration::from_millis(250);

/// Its sender is gone once the connection is to end.
#[derive(Clone, Debug)]
pub(super) struct Leave(pub watch::Receiver<()>);

/// Live updates: an event `policy` for each policy at the start and whenever it changes, with the same as the list has of
/// it, and an event `removed` with the name of one that is gone. The id of each is the time on the daemon's clock.
///
/// A stream ends after a minute at most; whoever wants more asks again, as every `EventSource` does.
#[utoipa::path(get, path = "/api/v1/events", tag = "read", responses(
    (status = OK, body = String, content_type = "text/event-stream"),
    (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json",
        description = "Too many streams are open."),
))]
pub(super) async fn events(
    State(view): State<View>,
    Extension(leave): Extension<Leave>,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, Problem> {
    let Ok(place) = view.streams.clone().try_acquire_owned() else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many streams are open, expected some patience"));
    };
    let mut feed = Feed { view, leave, sent: HashMap::new(), orders: Arc::default(), queue: VecDeque::new(), place };
    feed.look();
    let events = unfold(feed, async |mut feed| Some((feed.next().await?, feed)));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// What one client has seen.
struct Feed {
    view: View,
    leave: Leave,
    sent: HashMap<Arc<str>, Arc<PolicyStatus>>,
    orders: Arc<Standing>,
    /// Policies that were not what was sent, when last looked.
    queue: VecDeque<Arc<str>>,
    #[expect(dead_code, reason = "held for as long as the stream lasts")]
    place: OwnedSemaphorePermit,
}

impl Feed {
    /// The next event; `None` when the connection or the daemon ends.
    async fn next(&mut self) -> Option<Result<Event, axum::Error>> {
        loop {
            while let Some(name) = self.queue.pop_front() {
                if let Some(event) = self.event(&name) {
                    return Some(event);
                }
            }
            tokio::select! {
                _ = self.leave.0.changed() => return None,
                changed = self.view.reader.changed() => changed.ok()?,
            }
            tokio::select! {
                _ = self.leave.0.changed() => return None,
                () = sleep(PACE) => self.look(),
            }
        }
    }

    /// Queues what differs from what was sent.
    fn look(&mut self) {
        let snapshot = self.view.reader.borrow_and_update();
        if Arc::ptr_eq(&self.orders, &snapshot.orders) {
            let changed = |name: &Arc<str>, policy| self.sent.get(name).is_none_or(|sent| !Arc::ptr_eq(sent, policy));
            let changed = snapshot.policies.iter().filter(|(name, policy)| changed(name, policy));
            self.queue = changed.map(|(name, _)| name.clone()).collect();
        } else {
            self.orders = snapshot.orders.clone();
            // Which of them an order changes is not worth finding out; orders are few.
            self.queue = snapshot.policies.keys().cloned().collect();
        }
        self.queue.extend(self.sent.keys().filter(|name| !snapshot.policies.contains_key(*name)).cloned());
    }

    /// What is to be told of a policy now; `None` if nothing.
    fn event(&mut self, name: &Arc<str>) -> Option<Result<Event, axum::Error>> {
        let (policy, orders) = {
            let snapshot = self.view.reader.borrow();
            (snapshot.policies.get(name).cloned(), snapshot.orders.clone())
        };
        let now = self.view.clock.now();
        let event = Event::default().id(now.to_string());
        let Some(policy) = policy else {
            self.sent.remove(name)?;
            return Some(event.event("removed").json_data(json!({ "name": name })));
        };
        let summary = Summary::new(&policy, &orders, now);
        self.sent.insert(name.clone(), policy);
        Some(event.event("policy").json_data(summary))
    }
}
