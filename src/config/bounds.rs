//! Reads what bounds a policy's capacity: `min` and `max`, the schedules that replace them for a while, and the fallback.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::table::{Field, Table};
use crate::policy::{Capacity, Fallback, Metric, MetricKind, Schedule, ScheduleError, Source};

/// Most schedules that one policy may have, so that an evaluation has a bound.
pub(super) const MAX_SCHEDULES: usize = 32;
pub(super) const MOST: u32 = Capacity::MAX.get();
pub(super) const DURATIONS: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(7 * 24);
pub(super) const AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
const TIMEZONE: &str = "UTC";
const EVERY_MINUTE: &str = "* * * * *";

/// The bounds of a policy, as far as they could be read.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) min: Option<Capacity>,
    pub(super) max: Option<Capacity>,
    /// From a capacity of 0 the group would never come back.
    zero_is_final: bool,
}

/// Reads `min` and `max` of a policy with these metrics.
pub(super) fn bounds(table: &Table, metrics: Option<&[Metric]>) -> Bounds {
    let max = table.need("max", "the most instances").and_then(|f| capacity(&f, 1));
    // With one series an instance, there is none without instances.
    let speaks = |metric: &Metric| {
        let per_instance = matches!(metric.source, Source::Prometheus { per_instance: Some(_), .. });
        metric.kind == MetricKind::Total && !per_instance
    };
    let zero_is_final = metrics.is_some_and(|metrics| !metrics.iter().any(speaks));
    let min = table.need("min", "the least instances").and_then(|f| min(&f, max, zero_is_final));
    Bounds { min, max, zero_is_final }
}

fn capacity(field: &Field, least: u32) -> Option<Capacity> {
    field.integer(least..=MOST).map(Capacity::new)
}

fn min(field: &Field, max: Option<Capacity>, zero_is_final: bool) -> Option<Capacity> {
    let min = capacity(field, 0)?;
    if let Some(max) = max.filter(|max| min > *max) {
        field.wrong::<()>(format!("{min} is more than max, {max}; expected at most that"));
    }
    if min == Capacity::ZERO && zero_is_final {
        field.wrong::<()>(
            "is 0, and without instances no metric of this policy has a value, so the group would never come back; \
             expected at least 1, or a metric of kind \"total\" without per_instance",
        );
    }
    Some(min)
}

/// Reads every `[[policy.schedule]]` of a policy with the bounds `own`.
pub(super) fn schedules(table: &Table, own: Bounds) -> Option<Vec<Schedule>> {
    let Some(field) = table.get("schedule") else { return Some(Vec::new()) };
    let mut count = 0;
    field.tables(|t| {
        count += 1;
        if count == MAX_SCHEDULES + 1 {
            t.wrong(format!("is one too many, expected at most {MAX_SCHEDULES} schedules in a policy"));
        }
        schedule(t, own)
    })
}

fn schedule(table: &Table, own: Bounds) -> Option<Schedule> {
    // Each is tried beside a good other one, so that both are found at once.
    let cron = table
        .need("cron", "when it begins, such as \"0 8 * * MON-FRI\"")
        .and_then(|f| valid(&f, |cron| Schedule::new(cron, TIMEZONE, *DURATIONS.start())));
    let timezone = table
        .get("timezone")
        .map_or(Some(TIMEZONE), |f| valid(&f, |timezone| Schedule::new(EVERY_MINUTE, timezone, *DURATIONS.start())));
    let duration = table.need("duration", "how long it lasts, such as \"10h\"").and_then(|f| f.duration(DURATIONS));
    let (min, max) = window_bounds(table, own);
    let mut schedule = Schedule::new(cron?, timezone?, duration?).ok()?;
    (schedule.min, schedule.max) = (min, max);
    Some(schedule)
}

fn valid<'a>(field: &Field<'a>, schedule: impl Fn(&str) -> Result<Schedule, ScheduleError>) -> Option<&'a str> {
    let text = field.text()?;
    match schedule(text) {
        Ok(_) => Some(text),
        Err(error) => field.wrong(format!("{:?} {error}", text.chars().take(40).collect::<String>())),
    }
}

/// Reads the bounds of a schedule; the policy's own hold where it has none.
fn window_bounds(table: &Table, own: Bounds) -> (Option<Capacity>, Option<Capacity>) {
    let (min_field, max_field) = (table.get("min"), table.get("max"));
    let highest = max_field.as_ref().and_then(|f| capacity(f, 1));
    let lowest = min_field.as_ref().and_then(|f| min(f, highest, own.zero_is_final));
    match (min_field, max_field) {
        (None, None) => table.wrong("changes nothing, expected min, max or both"),
        (Some(_), Some(_)) => {}
        (Some(field), None) => {
            if let Some((min, max)) = lowest.zip(own.max).filter(|(min, max)| min > max) {
                let problem =
                    format!("{min} is more than the policy's max, {max}; expected at most that, or a max here");
                field.wrong::<()>(problem);
            }
        }
        (None, Some(field)) => {
            if let Some((min, max)) = own.min.zip(highest).filter(|(min, max)| min > max) {
                let problem =
                    format!("{max} is less than the policy's min, {min}; expected at least that, or a min here");
                field.wrong::<()>(problem);
            }
        }
    }
    (lowest, highest)
}

/// Reads `[policy.fallback]` of a policy with the bounds `own`.
pub(super) fn fallback(table: &Table, own: Bounds) -> Option<Fallback> {
    let after = table.need("after", "how long every metric is gone, such as \"5m\"").and_then(|f| f.duration(AFTER));
    let capacity = table.need("capacity", "the instances to run on").and_then(|f| {
        let capacity = capacity(&f, 1)?;
        match own.max.filter(|max| capacity > *max) {
            Some(max) => f.wrong(format!("{capacity} is more than max, {max}; expected at most that")),
            None => Some(capacity),
        }
    });
    Some(Fallback { after: after?, capacity: capacity? })
}
