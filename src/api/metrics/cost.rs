//! What groups came to since the start. Money is for whoever asks: the seconds times the price, over 3,600.

use std::fmt;

use super::{Page, policies};
use crate::account::Sums;
use crate::status::{PolicyStatus, Snapshot};

pub(super) fn cost(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let price = policies(snapshot).filter_map(|(labels, policy)| Some((labels, policy.price?)));
    page.gauge("instance_price", "What an instance costs an hour, where it is known.", price)?;
    let mut counter = |name: &str, help: &str, read: fn(&Sums) -> f64| {
        let sums = |policy: &PolicyStatus| policy.ledger.all().map_or(0.0, |all| read(&all.sums));
        page.counter(name, help, policies(snapshot).map(|(labels, policy)| (labels, sums(policy))))
    };
    counter("instance_seconds_total", "Instance-seconds, launched or in service.", |sums| sums.instances)?;
    counter(
        "instance_seconds_at_max_total",
        "Instance-seconds that the policy's most capacity would have come to in the same time.",
        |sums| sums.at_max,
    )?;
    counter("size_known_seconds_total", "Time in which the size of the group is known.", |sums| sums.known)?;
    counter(
        "over_target_seconds_total",
        "Time in which a latency was over its target or, without one, another metric by more than a tenth.",
        |sums| sums.over,
    )?;
    counter("target_known_seconds_total", "Time in which it is known whether the metrics were over.", |sums| {
        sums.judged
    })
}
