//! Reads policy tests: `[[test]]`, with what goes in and what is expected.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::duration;
use super::finding::{Findings, Location, Report};
use super::policy::UP_TO_AN_HOUR;
use super::table::{Field, Table, Taken};
use super::{document, read_text, unreadable};
use crate::policy::{Capacity, DEFAULT_BOOT_TIME, HoldSignal, Metric, MetricKind, Policy};
use crate::rehearsal::{Because, Expectation, Feed, Group, MAX_SAMPLES, Sample, Test, Verdict, expand};

const UP_TO_A_YEAR: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(366 * 24);
const MOST: RangeInclusive<u32> = 0..=Capacity::MAX.get();
const VERDICTS: [Verdict; 3] = [Verdict::ScaleOut, Verdict::ScaleIn, Verdict::Hold];

/// A policy test, and where it is written.
#[derive(Clone, Debug)]
pub struct WrittenTest {
    /// What is tested.
    pub test: Test,
    /// Where each of its expectations stands, in their order.
    pub locations: Vec<Location>,
}

/// Reads the policy tests in the file `path`, of policies that are among `policies`.
///
/// # Errors
/// Every finding in the file, or one that says why it can't be read.
pub fn load_tests(path: &Path, policies: &[Policy]) -> Result<Vec<WrittenTest>, Findings> {
    let source = path.display().to_string();
    match read_text(path) {
        Ok(text) => parse_tests(&source, &text, policies),
        Err(error) => Err(unreadable(source, &error)),
    }
}

/// The same from a text; `source_name` stands for the file's name in findings.
///
/// # Errors
/// Every finding in the text.
pub fn parse_tests(source_name: &str, text: &str, policies: &[Policy]) -> Result<Vec<WrittenTest>, Findings> {
    let report = Report::new(source_name);
    let root = document::layered(text, [], &report);
    let tests = root.and_then(|root| Table::root(&root, &report, |t| tests(t, policies)));
    report.conclude(tests)
}

fn tests(root: &Table, policies: &[Policy]) -> Option<Vec<WrittenTest>> {
    let mut names = Taken::default();
    root.need("test", "at least one [[test]]")?.tables(|t| test(t, policies, &mut names))
}

fn test(table: &Table, policies: &[Policy], names: &mut Taken) -> Option<WrittenTest> {
    let name = table.need("name", "what the test shows, in words").and_then(|f| {
        let name = f.text()?;
        names.take(name.to_owned(), &f, "this name");
        Some(name)
    });
    let known: Vec<_> = policies.iter().map(|policy| (&*policy.name, policy)).collect();
    let policy = table.need("policy", "the name of a policy").and_then(|f| f.word(&known));
    let stated = table.get("start").map(|f| moment(&f));
    let group = table.need("group", "the group at the start, such as { desired = 4 }");
    let (series, load, expect) =
        (table.get("series"), table.get("load"), table.need("expect", "at least one [[test.expect]]"));
    // What the rest means depends on the policy.
    let policy = policy?;
    if stated.is_none() && !policy.schedules.is_empty() {
        table.wrong(format!(
            "has no start, and {} has schedules; expected start = \"2026-03-02T08:00:00Z\" or another moment",
            policy.name
        ));
    }
    let group = group.and_then(|f| f.table(|t| group_at_start(t, policy)));
    let feeds = feeds(table, series, load, &policy.metrics);
    let signals = signals(table, &policy.hold_scale_in_while);
    let lengths = feeds.iter().flatten().map(|feed| feed.samples().len());
    let lengths = lengths.chain(signals.iter().flatten().flatten().map(Vec::len));
    let shortest = lengths.min().unwrap_or(MAX_SAMPLES);
    let expected = expect.and_then(|f| f.tables(|t| expectation(t, policy.interval, shortest)))?;
    let (expectations, locations) = expected.into_iter().unzip();
    let start = stated.unwrap_or(Some(Timestamp::UNIX_EPOCH));
    let test = Test {
        name: name?.into(),
        policy: policy.clone(),
        start: start?,
        group: group?,
        feeds: feeds?,
        signals: signals?,
        expectations,
    };
    Some(WrittenTest { test, locations })
}

fn moment(field: &Field) -> Option<Timestamp> {
    match field.text()?.parse::<Timestamp>() {
        Ok(moment) if moment.checked_add(*UP_TO_A_YEAR.end()).is_ok() => Some(moment),
        _ => field.wrong("is no moment with its offset from UTC, expected one such as \"2026-03-02T08:00:00Z\""),
    }
}

fn group_at_start(table: &Table, policy: &Policy) -> Option<Group> {
    let count = |f: Field| f.integer(MOST).map(Capacity::new);
    let desired = table.need("desired", "the desired capacity at the start").and_then(count);
    let min = table.get("min").map_or(Some(Capacity::ZERO), count);
    let max = table.get("max").map_or(Some(Capacity::MAX), count);
    let own = policy.boot_time.unwrap_or(DEFAULT_BOOT_TIME);
    let boot_time = table.get("boot_time").map_or(Some(own), |f| f.duration(UP_TO_AN_HOUR));
    let group = Group { desired: desired?, min: min?, max: max?, boot_time: boot_time? };
    if group.min > group.max {
        table.wrong(format!("has a min of {} above its max of {}, expected at most that", group.min, group.max));
    }
    Some(group)
}

/// Reads a series or a load for each metric, in their order.
fn feeds(table: &Table, series: Option<Field>, load: Option<Field>, metrics: &[Metric]) -> Option<Vec<Feed>> {
    let mut feeds: Vec<Option<Option<Feed>>> = vec![None; metrics.len()];
    for (field, is_load) in [(series, false), (load, true)].into_iter().filter_map(|(f, is_load)| Some((f?, is_load))) {
        field.table(|t| {
            for (name, field) in t.entries() {
                match metrics.iter().position(|metric| *metric.name == *name) {
                    None => field.unknown(name, metrics.iter().map(|metric| &*metric.name)),
                    Some(place) if feeds[place].is_some() => {
                        field.wrong::<()>("has a series also, expected one of the two");
                    }
                    Some(place) => feeds[place] = Some(feed(&field, &metrics[place], is_load)),
                }
            }
            Some(())
        });
    }
    for (metric, _) in metrics.iter().zip(&feeds).filter(|(_, feed)| feed.is_none()) {
        let name = &metric.name;
        table.wrong(format!(
            "lacks the metric {name}, expected a series of it under [test.series], such as {name} = \"_x20\""
        ));
    }
    feeds.into_iter().map(Option::flatten).collect()
}

/// Reads the series of those signals that have one, in their order.
fn signals(table: &Table, holds: &[HoldSignal]) -> Option<Vec<Option<Vec<Sample>>>> {
    let mut signals: Vec<Option<Option<Vec<Sample>>>> = vec![None; holds.len()];
    if let Some(field) = table.get("signals") {
        field.table(|t| {
            for (name, field) in t.entries() {
                match holds.iter().position(|signal| *signal.name == *name) {
                    None => field.unknown(name, holds.iter().map(|signal| &*signal.name)),
                    Some(place) => signals[place] = Some(samples(&field)),
                }
            }
            Some(())
        });
    }
    signals.into_iter().map(|read| read.map_or(Some(None), |samples| samples.map(Some))).collect()
}

fn samples(field: &Field) -> Option<Vec<Sample>> {
    match expand(field.text()?) {
        Ok(samples) => Some(samples),
        Err(error) => field.wrong(error.to_string()),
    }
}

fn feed(field: &Field, metric: &Metric, is_load: bool) -> Option<Feed> {
    if is_load && metric.kind != MetricKind::Utilization {
        return field
            .wrong("is no utilization, so its series does not depend on the fleet; expected it under [test.series]");
    }
    let samples = samples(field)?;
    Some(if is_load { Feed::Load(samples) } else { Feed::Series(samples) })
}

/// Reads one expectation of a policy that is evaluated every `interval`, while each series has a sample for the first
/// `evaluations`.
fn expectation(table: &Table, interval: Duration, evaluations: usize) -> Option<(Expectation, Location)> {
    let at = table.need("at", "the time since the start, such as \"5m\"").and_then(|f| at(&f, interval, evaluations));
    let desired = table.get("desired").map(|f| desired(&f));
    let decision = table.get("decision").map(|f| f.word(&VERDICTS.map(|verdict| (verdict.word(), verdict))));
    let because = table.get("because").map(|f| f.word(&Because::ALL.map(|because| (because.word(), because))));
    if desired.is_none() && decision.is_none() && because.is_none() {
        table.wrong("expects nothing, expected desired, decision or because");
    }
    let expectation =
        Expectation { at: at?, desired: desired.flatten(), decision: decision.flatten(), because: because.flatten() };
    Some((expectation, table.location().clone()))
}

fn at(field: &Field, interval: Duration, evaluations: usize) -> Option<Duration> {
    let at = field.duration(UP_TO_A_YEAR)?;
    let every = duration::text(interval);
    if !at.as_nanos().is_multiple_of(interval.as_nanos()) {
        return field
            .wrong(format!("is between two evaluations, expected a multiple of the policy's interval, {every}"));
    }
    if usize::try_from(at.as_nanos() / interval.as_nanos()).is_ok_and(|index| index < evaluations) {
        return Some(at);
    }
    let last = u32::try_from(evaluations).unwrap_or(u32::MAX).saturating_sub(1);
    let end = duration::text(interval * last);
    field.wrong(format!(
        "is after the shortest series, whose {evaluations} samples, one each {every}, end at {end}; expected longer series, \
         with \"_\" where nothing is measured"
    ))
}

fn desired(field: &Field) -> Option<RangeInclusive<Capacity>> {
    if !field.is_table() {
        return field.integer(MOST).map(Capacity::new).map(|desired| desired..=desired);
    }
    field.table(|t| {
        let bound = |key, default| t.get(key).map_or(Some(default), |f: Field| f.integer(MOST).map(Capacity::new));
        let (min, max) = (bound("min", Capacity::ZERO)?, bound("max", Capacity::MAX)?);
        if min > max {
            t.wrong(format!("has a min of {min} above its max of {max}, expected at most that"));
        }
        Some(min..=max)
    })
}
