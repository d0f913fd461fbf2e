//! Reads `[[policy.metric]]`: one signal with its target.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::controller;
use super::promql;
use super::settings;
use super::table::{Field, Table, Taken};
use crate::policy::{Aggregation, Metric, MetricKind, Reading, Scrape, Source};

pub(super) const KINDS: [(&str, MetricKind); 3] =
    [("utilization", MetricKind::Utilization), ("total", MetricKind::Total), ("latency", MetricKind::Latency)];
pub(super) const AGGREGATIONS: [(&str, Aggregation); 3] =
    [("avg", Aggregation::Avg), ("sum", Aggregation::Sum), ("max", Aggregation::Max)];
pub(super) const LATENCIES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
pub(super) const AGES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// A minute between two scrapes, and half of one for the way.
const MAX_AGE: Duration = Duration::from_secs(90);
/// One of four may be missing, not two.
const MIN_COVERAGE: f64 = 0.75;
const WINDOW: Duration = Duration::from_mins(1);
pub(super) const LONGEST_WINDOW: Duration = crate::metric::MAX_WINDOW;

/// What a scrape makes of the selected series; which keys go with it depends on this.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Read {
    Gauge,
    Rate,
    Quantile,
}

pub(super) const READS: [(&str, Read); 3] =
    [("gauge", Read::Gauge), ("rate", Read::Rate), ("quantile", Read::Quantile)];

/// Reads one `[[policy.metric]]` of a policy that is evaluated every `interval`.
pub(super) fn metric(
    table: &Table,
    interval: Duration,
    names: &mut Taken,
    has_prometheus: &mut bool,
) -> Option<Metric> {
    let name = table.need("name", "a name that logs and the API use").and_then(|f| {
        let name = f.name()?;
        names.take(name.to_owned(), &f, "this name");
        Some(name)
    });
    let kind = table.need("kind", "\"utilization\", \"total\" or \"latency\"").and_then(|f| f.word(&KINDS));
    // What a good target is depends on the kind, so an unknown kind leaves it unread.
    let target = table.need("target", "the value to keep").and_then(|f| target(&f, kind?));
    let max_age = max_age(table);
    let controller = table.get("controller").and_then(|f| f.table(controller::controller));
    let per_instance = table.get("per_instance").map(|f| per_instance(&f, kind));
    let min_coverage = table.get("min_coverage").and_then(|f| {
        if per_instance.is_none() {
            return f.wrong("has no effect without per_instance, expected that beside it");
        }
        f.number("a share of the instances from 0 to 1", |share| (0.0..=1.0).contains(&share))
    });
    if let (None, Some(_), Some(field)) = (table.get("query"), table.get("scrape"), table.get("per_instance")) {
        field.wrong::<()>("has no effect with scrape, expected it beside query only");
    }
    let source = source(table, interval, per_instance.flatten(), has_prometheus);
    Some(Metric {
        name: name?.into(),
        kind: kind?,
        target: target?,
        max_age,
        controller,
        min_coverage: min_coverage.unwrap_or(MIN_COVERAGE),
        source: source?,
    })
}

/// Reads `max_age`.
pub(super) fn max_age(table: &Table) -> Duration {
    table.get("max_age").and_then(|f| f.duration(AGES)).unwrap_or(MAX_AGE)
}

fn target(field: &Field, kind: MetricKind) -> Option<f64> {
    match kind {
        MetricKind::Utilization if field.is_text() => {
            field.percentage(UTILIZATION, |share| share.is_normal() && share > 0.0 && share < 1.0)
        }
        MetricKind::Utilization => field.number(UTILIZATION, is_utilization),
        MetricKind::Total => {
            field.number("what one instance should carry, a number above 0", |n| n.is_normal() && n > 0.0)
        }
        MetricKind::Latency => field.duration(LATENCIES).map(|latency| latency.as_secs_f64()),
    }
}

const UTILIZATION: &str = "a share below 1 such as 0.7, or below 100 such as 70 where the query gives percent (an amount \
                           per instance is of kind \"total\")";

/// From 1 to 1.5 it can't be told whether a share or percent is meant, and neither makes sense.
fn is_utilization(number: f64) -> bool {
    number.is_normal() && (number > 0.0 && number < 1.0 || number > 1.5 && number < 100.0)
}

/// Reads the label that tells the instances apart.
fn per_instance(field: &Field, kind: Option<MetricKind>) -> Option<Arc<str>> {
    let label = field.text_such("the name of a label such as \"instance\"", is_label)?;
    if kind == Some(MetricKind::Latency) {
        return field.wrong(
            "is not for a latency, since the mean of quantiles is no quantile; expected a query over the whole fleet",
        );
    }
    Some(label.into())
}

fn is_label(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars().all(is_plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Reads where a number comes from: `query` or `scrape`.
pub(super) fn source(
    table: &Table,
    interval: Duration,
    per_instance: Option<Arc<str>>,
    has_prometheus: &mut bool,
) -> Option<Source> {
    match (table.get("query"), table.get("scrape")) {
        (Some(query), None) => prometheus(&query, per_instance, has_prometheus),
        (None, Some(page)) => page.table(|t| scrape(t, interval)).map(Source::Exposition),
        (Some(_), Some(page)) => page.wrong("excludes query, expected one of the two"),
        (None, None) => {
            table.wrong("has no source, expected query (PromQL) or scrape (a /metrics page)");
            None
        }
    }
}

fn prometheus(field: &Field, per_instance: Option<Arc<str>>, has_prometheus: &mut bool) -> Option<Source> {
    let query = field.text()?;
    if !std::mem::replace(has_prometheus, true) {
        field.wrong::<()>("has no server to go to, expected a section [prometheus] with its url");
    }
    match promql::query_problem(query, per_instance.is_some()) {
        Some(problem) => field.wrong(problem),
        None => Some(Source::Prometheus { query: query.into(), per_instance }),
    }
}

fn scrape(table: &Table, interval: Duration) -> Option<Scrape> {
    let url = table.need("url", "the URL of a /metrics page").and_then(|f| settings::url(&f));
    let read = table.need("read", "\"gauge\", \"rate\" or \"quantile\"").and_then(|f| f.word(&READS));
    let selector = table.need("selector", "a selector such as requests_total{code=\"200\"}").and_then(|f| {
        let suffix = if read == Some(Read::Quantile) { "_bucket" } else { "" };
        let selector = f.text()?;
        promql::selector_problem(selector, suffix).map_or(Some(selector), |problem| f.wrong(problem))
    });
    let reading = reading(table, read, interval);
    Some(Scrape { url: url?.as_str().into(), selector: selector?.into(), reading: reading? })
}

fn reading(table: &Table, read: Option<Read>, interval: Duration) -> Option<Reading> {
    // A key that does not go with what is read would be silently without effect.
    let applicable = |key, wanted: &[Read]| {
        let field = table.get(key)?;
        let read = read?;
        if wanted.contains(&read) { Some(field) } else { field.wrong("has no effect with this read, expected none") }
    };
    let aggregate = applicable("aggregate", &[Read::Gauge]).and_then(|f| f.word(&AGGREGATIONS));
    let quantile = applicable("quantile", &[Read::Quantile]).map_or(Some(990), |f| per_mille(&f));
    let window = applicable("window", &[Read::Rate, Read::Quantile]).and_then(|f| {
        // Two scrapes make an increase; the first of them is up to an interval old.
        f.duration(interval * 2..=LONGEST_WINDOW)
    });
    let window = window.unwrap_or(WINDOW.max(interval * 4));
    Some(match read? {
        Read::Gauge => Reading::Gauge(aggregate.unwrap_or(Aggregation::Avg)),
        Read::Rate => Reading::Rate { window },
        Read::Quantile => Reading::Quantile { per_mille: quantile?, window },
    })
}

fn per_mille(field: &Field) -> Option<u16> {
    let thousandths = |number: f64| (1..=999_u16).find(|n| (f64::from(*n) / 1000.0 - number).abs() < 1e-9);
    let number = field
        .number("a quantile from 0.001 to 0.999, of at most three decimals", |number| thousandths(number).is_some());
    number.and_then(thousandths)
}
