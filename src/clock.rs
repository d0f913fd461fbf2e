//! The one place that reads the time. Everything else is told what time it is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that runs with the wall clock or, for the embedded world, at a multiple of its speed.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Option<Accelerated>);

#[derive(Clone, Copy, Debug)]
struct Accelerated {
    started: Instant,
    origin: Timestamp,
    speed: f64,
    ahead: Option<&'static AtomicI64>,
}

impl Clock {
    /// The wall clock.
    pub const WALL: Clock = Clock(None);

    /// A clock that shows `origin` now and runs `speed` times as fast as the wall clock; `speed` is finite and positive.
    pub fn accelerated(origin: Timestamp, speed: f64) -> Self {
        Self(Some(Accelerated { started: Instant::now(), origin, speed, ahead: None }))
    }

    /// The same accelerated clock, set wrong: ahead by as many milliseconds as `ahead` holds at the moment. The wall
    /// clock stays as it is.
    #[must_use]
    pub fn ahead_by(self, ahead: &'static AtomicI64) -> Self {
        Self(self.0.map(|clock| Accelerated { ahead: Some(ahead), ..clock }))
    }

    /// The time that this clock shows.
    pub fn now(&self) -> Timestamp {
        match self.0 {
            None => Timestamp::now(),
            Some(Accelerated { started, origin, speed, ahead }) => {
                let right = origin.saturating_add(started.elapsed().mul_f64(speed)).unwrap_or(Timestamp::MAX);
                let ahead = ahead.map_or(0, |ahead| ahead.load(Ordering::Relaxed));
                right.saturating_add(SignedDuration::from_millis(ahead)).unwrap_or(right)
            }
        }
    }

    /// How long `span` on this clock takes on the wall.
    pub fn on_the_wall(&self, span: Duration) -> Duration {
        self.0.map_or(span, |clock| span.div_f64(clock.speed))
    }

    /// Waits until this clock shows `deadline`.
    pub async fn sleep_until(&self, deadline: Timestamp) {
        let left = Duration::try_from(deadline.duration_since(self.now())).unwrap_or(Duration::ZERO);
        tokio::time::sleep(self.on_the_wall(left)).await;
    }
}
