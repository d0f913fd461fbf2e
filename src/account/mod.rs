//! What a group came to over time: instance-hours, what it would have come to otherwise, and the time over its targets.
//!
//! It counts what it is shown and never fills a gap: time that nobody saw is unknown, not free. It is pure, and knows no
//! bills: an estimate at a list price, without volumes, traffic and discounts.

mod bill;
mod ledger;

pub use bill::{Baseline, Bill, Named};
pub use ledger::{Ledger, Look};

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The name of the account of a group: whichever policy keeps it, and none other's.
pub fn name(asg: &str, region: Option<&str>) -> Arc<str> {
    // No group and no region has a colon in its name.
    format!("{}:{asg}", region.unwrap_or_default()).into()
}

/// What a group came to from one moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// When it began.
    pub from: Timestamp,
    /// When it ended, or was looked at last.
    pub to: Timestamp,
    /// What was counted.
    #[serde(flatten)]
    pub sums: Sums,
}

/// What was counted. Times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// In which the size of the group is known.
    pub known: f64,
    /// Instance-seconds in that time, launched or in service.
    pub instances: f64,
    /// Instance-seconds in that time, had the group been at the policy's most capacity.
    pub at_max: f64,
    /// The most instances at a time.
    pub peak: u32,
    /// In which it is known whether the metrics were over their targets.
    pub judged: f64,
    /// In which one of them was.
    pub over: f64,
}

impl Sums {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            known: self.known + other.known,
            instances: self.instances + other.instances,
            at_max: self.at_max + other.at_max,
            peak: self.peak.max(other.peak),
            judged: self.judged + other.judged,
            over: self.over + other.over,
        }
    }
}
