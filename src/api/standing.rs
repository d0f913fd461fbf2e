//! What operators have ordered of one policy, as sentences.

use jiff::Timestamp;

use super::words::Moment;
use crate::order::{Override, Pause, Scope, Standing};

/// The pauses that hold for `policy` at `now`, with whether each is the policy's own: else all policies are frozen.
pub(super) fn pauses<'a>(
    orders: &'a Standing,
    policy: &str,
    now: Timestamp,
) -> impl Iterator<Item = (bool, &'a Pause)> + use<'a> {
    let freeze = orders.freeze.iter().map(|pause| (false, pause));
    let own = orders.pauses.get(policy).map(|pause| (true, pause));
    freeze.chain(own).filter(move |(_, pause)| now < pause.until)
}

/// What a pause stops, until when, by whom and why.
pub(super) fn paused((own, pause): (bool, &Pause)) -> String {
    let what = if own { "the policy is paused" } else { "all policies are frozen" };
    let directions = match pause.scope {
        Scope::Both => "",
        Scope::ScaleIn => " for scale-in",
        Scope::ScaleOut => " for scale-out",
    };
    let (by, reason) = (&pause.author.by, &pause.author.reason);
    format!("{what}{directions} until {} by {by}: {reason}", Moment(pause.until))
}

fn overridden(bounds: &Override) -> String {
    let limits = match (bounds.floor, bounds.cap) {
        (Some(floor), Some(cap)) if floor == cap => format!("exactly {floor}"),
        (Some(floor), Some(cap)) => format!("{floor} to {cap}"),
        (Some(floor), None) => format!("at least {floor}"),
        (None, Some(cap)) => format!("at most {cap}"),
        (None, None) => "nothing".into(),
    };
    let (by, reason) = (&bounds.author.by, &bounds.author.reason);
    format!("the policy is overridden to {limits} until {} by {by}: {reason}", Moment(bounds.until))
}

/// Everything that is ordered of `policy` at `now`.
pub(super) fn standing(orders: &Standing, policy: &str, now: Timestamp) -> Vec<String> {
    let bounds = orders.bounds(policy, now).map(overridden);
    pauses(orders, policy, now).map(paused).chain(bounds).collect()
}
