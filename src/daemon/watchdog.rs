//! Tells the service manager that the daemon is ready, and that it is alive.
//!
//! Fed by finished cycles only, never by a timer: a daemon that is up but decides nothing is not alive.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::status::Snapshot;

/// Intervals without a finished cycle before the service manager may take the daemon for hung.
const PATIENCE: u32 = 4;

/// Sends `READY=1` once every lane has finished its first cycle, and `WATCHDOG=1` with every cycle after which all
/// lanes are in time. Outside a service manager this does nothing.
pub(super) async fn feed(mut board: watch::Receiver<Snapshot>, clock: Clock) {
    let mut patience = sd_notify::watchdog_enabled();
    let (mut ready, mut fed) = (false, 0);
    while board.changed().await.is_ok() {
        let (in_time, cycles, longest) = {
            let snapshot = board.borrow_and_update();
            let lanes = snapshot.lanes.values();
            let (cycles, longest) = lanes.fold((0, Duration::ZERO), |(cycles, longest), lane| {
                (cycles + lane.cycles, longest.max(lane.interval))
            });
            (snapshot.liveness(clock.now()).is_ok(), cycles, longest)
        };
        if !in_time || cycles == fed {
            continue;
        }
        fed = cycles;
        if !ready {
            ready = true;
            notify(&[NotifyState::Ready]);
        }
        let needed = longest * PATIENCE;
        if patience.is_some_and(|patience| patience < needed) {
            patience = Some(needed);
            // The variant for this counts to 71 minutes only.
            notify(&[NotifyState::Custom(&format!("WATCHDOG_USEC={}", needed.as_micros()))]);
        }
        notify(&[NotifyState::Watchdog]);
    }
}

/// Tells that the daemon ends because it was told to.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(event = "notify-failed", %error, "can't tell the service manager");
    }
}
