//! What the daemon does with its journal at the start, and how it says that the journal fails.

use std::time::Duration;

use tokio::sync::watch;

use super::StartError;
use crate::journal::{Health, Journal, OpenError, Openings, Recalled, Status};
use crate::status::Board;

/// How long the start waits for the journal, which a crash may have left in need of repair.
const OPENING: Duration = Duration::from_secs(10);

/// What the journal has kept, if there is one and it opens in time.
pub(super) async fn recall(journal: &Journal, openings: &mut Openings) -> Result<Option<Recalled>, StartError> {
    if journal.is_off() {
        let text = "nothing survives a restart of Setpoint: no journal is kept, since neither [state] path nor the \
                    environment's STATE_DIRECTORY says where";
        tracing::warn!(event = "journal-off", "{text}");
        return Ok(None);
    }
    match tokio::time::timeout(OPENING, openings.recv()).await {
        Ok(Some(Ok(recalled))) => Ok(Some(recalled)),
        Ok(Some(Err(error @ OpenError::InUse { .. }))) => Err(StartError::Journal(error)),
        // It is tried again, and its status says so.
        Ok(Some(Err(_)) | None) | Err(_) => Ok(None),
    }
}

/// Shows and logs how the journal does, until the daemon is gone.
pub(super) async fn watch_over(mut status: watch::Receiver<Status>, board: Board) {
    let mut known = Health::Off;
    loop {
        let status_now = status.borrow_and_update().clone();
        match (&known, &status_now.health) {
            (Health::Failing { why: before, .. }, Health::Failing { why, .. }) if before == why => {}
            (_, Health::Failing { why, .. }) => {
                tracing::error!(event = "journal-failed", why, "the journal can't be written, so nothing is removed");
            }
            (Health::Failing { .. }, Health::Writable) => {
                tracing::info!(event = "journal-recovered", "the journal is written again");
            }
            _ => {}
        }
        known = status_now.health.clone();
        board.publish(|snapshot| snapshot.journal = status_now);
        if status.changed().await.is_err() {
            return;
        }
    }
}
