//! Workloads by name: what a service has to live through, each from a base rate, a duration and a seed.

use std::time::Duration;

use super::trace::{Demand, NOISE};
use super::workload::{QUIET_RATE, Workload};

/// Requests that clients send again of those that failed, in a retry storm.
const RETRIED: f64 = 0.8;

/// A named workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// Quiet, then six times as much within minutes, as tickets go on sale; sold out, and quiet again.
    TicketSale,
    /// Day and night.
    Diurnal,
    /// Day and night, and weekends.
    Weekly,
    /// Three times as much from one moment to the next, and back.
    Step,
    /// Four times as much, bit by bit.
    Ramp,
    /// Flash crowds at random.
    Spikes,
    /// Growth, to three times as much in the end.
    Drift,
    /// Nothing comes through for a while; then everybody comes back at once.
    OutageAndReturn,
    /// Bursts of clients that send again what fails: a closed loop.
    RetryStorm,
    /// Always the same.
    Constant,
}

impl Generator {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::TicketSale,
        Self::Diurnal,
        Self::Weekly,
        Self::Step,
        Self::Ramp,
        Self::Spikes,
        Self::Drift,
        Self::OutageAndReturn,
        Self::RetryStorm,
        Self::Constant,
    ];

    /// What it is called on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::TicketSale => "ticket-sale",
            Self::Diurnal => "diurnal",
            Self::Weekly => "weekly",
            Self::Step => "step",
            Self::Ramp => "ramp",
            Self::Spikes => "spikes",
            Self::Drift => "drift",
            Self::OutageAndReturn => "outage-and-return",
            Self::RetryStorm => "retry-storm",
            Self::Constant => "constant",
        }
    }

    /// The demand around `base` requests per second.
    pub fn demand(self, base: f64, duration: Duration, seed: u64) -> Demand {
        let sale = Workload::ticket_sale();
        let rate = |second: f64| match self {
            Self::TicketSale => sale.rate(Duration::from_secs_f64(second)) * base / QUIET_RATE,
            _ => base,
        };
        let retried = if self == Self::RetryStorm { RETRIED } else { 0.0 };
        Demand { retried, ..Demand::draw(duration.as_secs_f64(), NOISE, seed, rate) }
    }
}
