//! Looks for what else would scale the groups of a lane. It changes nothing there.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::observation::Rivals;
use crate::target::{AutoScaling, TargetError};

/// How often a lane looks again for what else would scale its groups.
const INSPECTION: Duration = Duration::from_mins(15);

/// Looks at the start, and now and then, for what else would scale the groups; after a failure again a minute later.
/// Says when it has looked for the `first` time.
pub(super) async fn inspect(target: Arc<AutoScaling>, names: Vec<Arc<str>>, clock: Clock, first: oneshot::Sender<()>) {
    let mut first = Some(first);
    loop {
        let found = target.preflight(&names, clock.now()).await;
        // Whoever waited may have gone on.
        let _ = first.take().map(|first| first.send(()));
        found.iter().for_each(log_inspection);
        let pause = if found.values().any(Result::is_err) { Duration::from_mins(1) } else { INSPECTION };
        clock.sleep_until(clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX)).await;
    }
}

fn log_inspection((group, result): (&Arc<str>, &Result<Rivals, TargetError>)) {
    match result {
        Ok(Rivals::None) => tracing::debug!(event = "inspected", %group, "nothing else scales the group"),
        Ok(rivals) => tracing::warn!(event = "contested", %group, %rivals, "something else scales the group"),
        Err(error) => {
            let error = crate::telemetry::chain(error);
            tracing::warn!(event = "inspection-failed", %group, error, "can't tell what else scales the group");
        }
    }
}
