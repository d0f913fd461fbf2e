//! Reads what keeps a policy from running away: the brake, the ceilings on what it may spend, and the signals that hold
//! its scale-in.

use std::time::Duration;

use super::metric;
use super::price;
use super::table::{Field, Table, Taken};
use crate::policy::{Brake, HoldSignal, MAX_SIGNALS, MaxSpend, Threshold};

/// Reads `brake`; `None` where it is off, or wrong.
pub(super) fn brake(table: &Table) -> Option<Brake> {
    let Some(field) = table.get("brake") else { return Some(Brake::default()) };
    if field.is_text() {
        return field.word(&[("off", None)]).flatten();
    }
    field.table(|t| {
        let factor = t.get("factor").and_then(|f| {
            f.number("how many times what served at the beginning, from 1.5 to 10", |n| (1.5..=10.0).contains(&n))
        });
        Some(factor.map_or_else(Brake::default, |factor| Brake { factor }))
    })
}

/// Reads `instance_price`, or `instance_type` for the price that it has in `region`, and the ceilings that go with the
/// first: one that bars capacity does not rest on a table that grows old.
pub(super) fn spend(table: &Table, region: Option<&str>) -> (Option<f64>, MaxSpend) {
    let priced = table.get("instance_price");
    let is_priced = priced.is_some();
    let listed = table.get("instance_type").and_then(|f| {
        if is_priced { f.wrong("excludes instance_price, expected one of the two") } else { list_price(&f, region) }
    });
    let price = priced.and_then(|f| money(&f, "what an instance costs an hour, a number above 0")).or(listed);
    let ceiling = |key| {
        let field = table.get(key)?;
        if !is_priced {
            return field.wrong("has no effect without instance_price, expected that beside it");
        }
        money(&field, "the most that the group may cost, a number above 0")
    };
    (price, MaxSpend { per_hour: ceiling("max_spend_per_hour"), per_day: ceiling("max_spend_per_day") })
}

fn list_price(field: &Field, region: Option<&str>) -> Option<f64> {
    let is_type = |text: &str| {
        let plain = |part: &str| part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        text.split_once('.').is_some_and(|(family, size)| [family, size].iter().all(|p| !p.is_empty() && plain(p)))
    };
    let instance_type = field.text_such("an instance type such as \"m7g.large\"", is_type)?;
    let Some(region) = region else {
        return field.wrong("has no price here without a region, expected region beside it, or in [aws]");
    };
    let unpriced =
        format!("has no price here in {region}, expected instance_price in its place, what it costs an hour");
    price::of(instance_type, region).or_else(|| field.wrong(unpriced))
}

fn money(field: &Field, expected: &str) -> Option<f64> {
    field.number(expected, |amount| amount.is_normal() && amount > 0.0)
}

/// Reads every `[[policy.hold_scale_in_while]]` of a policy that is evaluated every `interval`.
pub(super) fn hold_signals(table: &Table, interval: Duration, has_prometheus: &mut bool) -> Option<Vec<HoldSignal>> {
    let Some(field) = table.get("hold_scale_in_while") else { return Some(Vec::new()) };
    let mut names = Taken::default();
    let mut count = 0;
    field.tables(|t| {
        count += 1;
        if count == MAX_SIGNALS + 1 {
            t.wrong(format!("is one too many, expected at most {MAX_SIGNALS} signals in a policy"));
        }
        hold_signal(t, interval, &mut names, has_prometheus)
    })
}

fn hold_signal(table: &Table, interval: Duration, names: &mut Taken, has_prometheus: &mut bool) -> Option<HoldSignal> {
    let name = table.need("name", "a name that logs and the API use").and_then(|f| {
        let name = f.name()?;
        names.take(name.to_owned(), &f, "this name");
        Some(name)
    });
    let threshold = threshold(table);
    let max_age = metric::max_age(table);
    let source = metric::source(table, interval, None, has_prometheus);
    Some(HoldSignal { name: name?.into(), threshold: threshold?, max_age, source: source? })
}

fn threshold(table: &Table) -> Option<Threshold> {
    let number = |field: Field| field.number("a finite number", f64::is_finite);
    match (table.get("above"), table.get("below")) {
        (Some(above), None) => number(above).map(Threshold::Above),
        (None, Some(below)) => number(below).map(Threshold::Below),
        (Some(_), Some(below)) => below.wrong("excludes above, expected one of the two"),
        (None, None) => {
            table.wrong("never burns, expected above or below, the number beyond which it does");
            None
        }
    }
}
