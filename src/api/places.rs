//! The places of connections: a bound, and who gives way when all are taken.
//!
//! Whoever has asked least lately gives way: a client that never finishes its request, one that idles, one that does not
//! read. So those who hold connections without using them keep out nobody but each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

/// Connections of one listener that are served at once.
const MAX_CONNECTIONS: usize = 384;

/// How long nobody gives way after having come or asked: an honest client's first request is here by then, however many
/// came after it.
const GRACE: Duration = Duration::from_millis(25);

/// The connections of one listener.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: HashMap<Id, (AbortHandle, Turn)>,
    tasks: JoinSet<()>,
}

/// When a connection has asked last. That it has come counts as asking.
#[derive(Clone, Debug)]
pub(super) struct Turn(Arc<Mutex<Instant>>);

impl Turn {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Notes that the connection asks now.
    pub fn ask(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Waits until there is a place, or somebody who may give way; done at once where there is one already.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        let full = self.taken.len() >= MAX_CONNECTIONS;
        let from = self.least().filter(|_| full).map(|(_, last)| last + GRACE);
        async move {
            if let Some(from) = from {
                tokio::time::sleep_until(from).await;
            }
        }
    }

    /// Serves a connection, in the place of another one if there is no place left.
    pub fn seat<C: Future<Output = ()> + Send + 'static>(&mut self, converse: impl FnOnce(Turn) -> C) {
        let full = self.taken.len() >= MAX_CONNECTIONS;
        if let Some((id, _)) = self.least().filter(|_| full)
            && let Some((task, _)) = self.taken.remove(&id)
        {
            task.abort();
        }
        let turn = Turn::new();
        let task = self.tasks.spawn(converse(turn.clone()));
        self.taken.insert(task.id(), (task, turn));
    }

    /// Who has asked least lately, and when.
    fn least(&self) -> Option<(Id, Instant)> {
        self.taken.iter().map(|(id, (_, turn))| (*id, turn.last())).min_by_key(|(_, last)| *last)
    }

    /// Waits until a connection has ended; `None` where there is none.
    pub async fn end(&mut self) -> Option<()> {
        let id = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => id,
            Err(error) => JoinError::id(&error),
        };
        self.taken.remove(&id);
        Some(())
    }
}
