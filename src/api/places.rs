//! The places of connections: a bound, and who gives way when all are taken.
//!
//! Whoever has asked least lately gives way: a client that never finishes its request, one that idles, one that does not
//! read. So those who hold connections without using them keep out nobody but each other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// Connections that are served at once.
pub(super) const MAX_CONNECTIONS: usize = 256;

/// The connections of one listener.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: HashMap<Id, (AbortHandle, Turn)>,
    tasks: JoinSet<()>,
    asked: Arc<AtomicU64>,
}

/// When a connection has asked last, by the number of requests before it.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    asked: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
}

impl Turn {
    /// Notes that the connection asks now.
    pub fn ask(&self) {
        self.last.store(self.asked.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Places {
    /// Serves a connection, in the place of another one if there is no place left. That it has come counts as asking.
    pub fn seat<C: Future<Output = ()> + Send + 'static>(&mut self, converse: impl FnOnce(Turn) -> C) {
        if self.taken.len() >= MAX_CONNECTIONS {
            self.make_room();
        }
        let turn = Turn { asked: self.asked.clone(), last: Arc::default() };
        turn.ask();
        let task = self.tasks.spawn(converse(turn.clone()));
        self.taken.insert(task.id(), (task, turn));
    }

    /// Ends the connection that has asked least lately.
    fn make_room(&mut self) {
        let least = self.taken.iter().min_by_key(|(_, (_, turn))| turn.last.load(Ordering::Relaxed));
        if let Some(id) = least.map(|(id, _)| *id)
            && let Some((task, _)) = self.taken.remove(&id)
        {
            task.abort();
        }
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
