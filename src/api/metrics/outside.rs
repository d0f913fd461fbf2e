//! What the daemon asks of others, and what others have ordered of it.

use std::fmt;

use jiff::Timestamp;

use super::{Label, Page, seconds};
use crate::observation::Tally;
use crate::status::Snapshot;

/// Metric sources and AWS.
pub(super) fn calls(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let answers = || snapshot.answers.iter().map(|(outcome, tally)| ([("outcome", *outcome)], *tally));
    pair(page, "source_reads", "Metric sources read, by what came of it", answers)?;
    // A status is a number; its text must live as long as the page is written.
    let calls: Vec<(&str, &str, String, Tally)> = snapshot
        .calls
        .iter()
        .flat_map(|(region, calls)| {
            calls.iter().map(|((operation, status), tally)| {
                let code = if *status == 0 { "none".to_owned() } else { status.to_string() };
                (&**region, &**operation, code, *tally)
            })
        })
        .collect();
    let calls = || {
        calls.iter().map(|(region, operation, code, tally)| {
            ([("region", *region), ("operation", *operation), ("code", &**code)], *tally)
        })
    };
    pair(page, "aws_requests", "Requests to AWS, each attempt by its HTTP status", calls)
}

/// A count, and the time that it took in all: one over the other is the mean.
fn pair<'a, const N: usize, I: Iterator<Item = ([Label<'a>; N], Tally)>>(
    page: &mut Page,
    name: &str,
    help: &str,
    samples: impl Fn() -> I,
) -> fmt::Result {
    let counts = samples().map(|(labels, tally)| (labels, tally.count));
    page.counter(&format!("{name}_total"), &format!("{help}."), counts)?;
    let times = samples().map(|(labels, tally)| (labels, tally.time.as_secs_f64()));
    page.counter(&format!("{name}_seconds_total"), &format!("{help}: the time that they took."), times)
}

/// Pauses, overrides and the freeze: until when.
pub(super) fn orders(page: &mut Page, snapshot: &Snapshot, now: Timestamp) -> fmt::Result {
    let orders = &snapshot.orders;
    let until = |until: Timestamp| (until > now).then(|| seconds(until));
    let freeze = orders.freeze.iter().filter_map(|freeze| Some(([], until(freeze.until)?)));
    page.gauge::<0>(
        "freeze_expiry_timestamp_seconds",
        "When the freeze of every policy ends; none without one.",
        freeze,
    )?;
    let pauses =
        orders.pauses.iter().filter_map(|(policy, pause)| Some(([("policy", &**policy)], until(pause.until)?)));
    page.gauge("pause_expiry_timestamp_seconds", "When the pause of the policy ends; none without one.", pauses)?;
    let overrides = orders.overrides.iter();
    let overrides = overrides.filter_map(|(policy, bounds)| Some(([("policy", &**policy)], until(bounds.until)?)));
    page.gauge(
        "override_expiry_timestamp_seconds",
        "When the override of the policy ends; none without one.",
        overrides,
    )
}
