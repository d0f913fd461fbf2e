//! Reads `controller = { … }`, of a policy or of one metric.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::table::{Field, Table};
use crate::policy::{Adjustment, Band, Bands, Capacity, Controller, Gains, Risk};

pub(super) const LEADS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);
/// Most bands on one side of the target.
pub(super) const MAX_BANDS: usize = 8;
/// A band that begins further out is a percentage that was meant for a share.
pub(super) const FARTHEST_BAND: f64 = 100.0;

/// Which keys a controller has depends on this.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Pid,
    Step,
    Risk,
}

pub(super) const KINDS: [(&str, Kind); 3] = [("pid", Kind::Pid), ("step", Kind::Step), ("risk", Kind::Risk)];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pid => "pid",
            Self::Step => "step",
            Self::Risk => "risk",
        })
    }
}

/// Reads a controller; of kind `pid` where nothing else is said.
pub(super) fn controller(table: &Table) -> Option<Controller> {
    // Without a known kind no key can be told to belong to another.
    let kind = table.get("kind").map_or(Some(Kind::Pid), |f| f.word(&KINDS));
    let own = |key, owner| {
        let field = table.get(key)?;
        let kind = kind?;
        if kind == owner { Some(field) } else { field.wrong(belongs(owner, kind)) }
    };
    let [kp, ki, kd] = ["kp", "ki", "kd"].map(|key| own(key, Kind::Pid));
    let share = own("risk", Kind::Risk);
    let [above, below] = ["above", "below"].map(|key| own(key, Kind::Step));
    match kind? {
        Kind::Pid => Some(Controller::Pid(gains(kp.as_ref(), ki.as_ref(), kd.as_ref()))),
        Kind::Risk => {
            share.map_or(Some(Risk::default().share), |f| risk(&f)).map(|share| Controller::Risk(Risk { share }))
        }
        Kind::Step if above.is_none() && below.is_none() => {
            table.wrong("has no bands, expected above, below or both");
            None
        }
        Kind::Step => {
            let above = above.map_or(Some(Vec::new()), |f| bands(&f, Side::Above));
            let below = below.map_or(Some(Vec::new()), |f| bands(&f, Side::Below));
            Some(Controller::Step(Bands { above: above?, below: below? }))
        }
    }
}

fn belongs(owner: Kind, kind: Kind) -> String {
    format!(
        "belongs to a controller of kind \"{owner}\", and this one is of kind \"{kind}\"; expected that kind, or not this \
         key"
    )
}

fn gains(kp: Option<&Field>, ki: Option<&Field>, kd: Option<&Field>) -> Gains {
    let gain = |field: Option<&Field>, default, expected, holds: fn(f64) -> bool| {
        field.and_then(|f| f.number(expected, holds)).unwrap_or(default)
    };
    let p = gain(kp, 0.0, "a gain from 0 to 10", |gain| (0.0..=10.0).contains(&gain));
    let i = gain(ki, 1.0, "a gain above 0, at most 1", |gain| gain > 0.0 && gain <= 1.0);
    // Beyond this the loop is unstable even at constant demand: r² − (1 − kp − ki)·r − kp has a root outside the circle.
    if 2.0 * p + i > 2.0
        && let Some(kp) = kp
    {
        kp.wrong::<()>("with this gain the controller is unstable, expected 2·kp + ki of at most 2");
    }
    let kd = kd.and_then(|f| f.duration(LEADS));
    Gains { kp: p, ki: i, kd: kd.map(|kd| kd.as_secs_f64()) }
}

fn risk(field: &Field) -> Option<f64> {
    const EXPECTED: &str =
        "the share of time that may be over the target, above 0 and at most 0.2, such as 0.01 or \"1%\"";
    let is_risk = |share: f64| share > 0.0 && share <= 0.2;
    if field.is_text() { field.percentage(EXPECTED, is_risk) } else { field.number(EXPECTED, is_risk) }
}

/// Of the target.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Above,
    Below,
}

fn bands(field: &Field, side: Side) -> Option<Vec<Band>> {
    let mut count = 0;
    let mut before = None;
    field.tables(|t| {
        count += 1;
        if count == MAX_BANDS + 1 {
            t.wrong(format!("is one too many, expected at most {MAX_BANDS} bands"));
        }
        let from =
            t.need("from", "where the band begins, as a share of the target").and_then(|f| from(&f, side, before));
        before = from.or(before);
        let change = change(t, side);
        Some(Band { from: from?, change: change? })
    })
}

/// Reads where a band begins, further out than the band `before` it.
fn from(field: &Field, side: Side, before: Option<f64>) -> Option<f64> {
    let nearest = before.unwrap_or(1.0);
    let order = if before.is_some() { ", where the band before it begins" } else { "" };
    match side {
        Side::Above => field
            .number(&format!("a share of the target above {nearest}{order}, and at most {FARTHEST_BAND}"), |from| {
                from > nearest && from <= FARTHEST_BAND
            }),
        Side::Below => field.number(&format!("a share of the target above 0 and below {nearest}{order}"), |from| {
            from > 0.0 && from < nearest
        }),
    }
}

fn change(table: &Table, side: Side) -> Option<Adjustment> {
    let most = if side == Side::Above { 1000.0 } else { 100.0 };
    match (table.get("percent"), table.get("count")) {
        (Some(percent), None) => percent
            .number(&format!("a percentage above 0, at most {most}"), |p| p > 0.0 && p <= most)
            .map(Adjustment::Percent),
        (None, Some(count)) => count.integer(1..=Capacity::MAX.get()).map(|n| Adjustment::Count(Capacity::new(n))),
        (Some(_), Some(count)) => count.wrong("excludes percent, expected one of the two"),
        (None, None) => {
            table.wrong("changes nothing, expected percent or count");
            None
        }
    }
}
