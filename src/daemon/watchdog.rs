//! Tells the service manager that the daemon is ready, and that it is alive.
//!
//! Fed by finished cycles only, never by a timer: a daemon that is up but decides nothing is not alive.

use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::status::Snapshot;

/// Sends `READY=1` once every lane has finished its first cycle, and `WATCHDOG=1` with every cycle after which all
/// lanes are in time. Outside a service manager this does nothing.
pub(super) async fn feed(mut board: watch::Receiver<Snapshot>, clock: Clock) {
    let (mut ready, mut fed) = (false, 0);
    while board.changed().await.is_ok() {
        let (in_time, cycles) = {
            let snapshot = board.borrow_and_update();
            (snapshot.readiness(clock.now()).is_ok(), snapshot.lanes.values().map(|lane| lane.cycles).sum::<u64>())
        };
        if !in_time || cycles == fed {
            continue;
        }
        fed = cycles;
        if !ready {
            ready = true;
            notify(&[NotifyState::Ready]);
        }
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(event = "notify-failed", %error, "can't tell the service manager");
    }
}
