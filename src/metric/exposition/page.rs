//! A `/metrics` page as samples: every one, or an error that names the line.
//!
//! `prometheus-parse` reads the numbers. It is not shown names and labels, because it drops a line whose name holds
//! `:` or whose label value holds `}` or `=`, cuts values at `,`, and leaves escapes as they are, all in silence.

use std::io;

use jiff::Timestamp;
use prometheus_parse::{Scrape, Value};

use super::line::{self, Line};
use crate::metric::Answer;
use crate::metric::fetch::Reply;
use crate::observation::Failure;

/// One sample of a page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub series: Series,
    pub value: f64,
    /// When it was taken, where the page says so.
    pub at: Option<Timestamp>,
    /// Its line, from one.
    pub line: usize,
}

/// The identity of a series. The labels are sorted and not empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Series {
    pub name: String,
    pub labels: Vec<(String, String)>,
}

impl Series {
    /// The value of a label; empty where there is none, as in `PromQL`.
    pub fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map_or("", |(_, value)| value)
    }
}

/// The formats differ in the unit of a timestamp and in how a page ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Format {
    /// The text format of Prometheus: milliseconds.
    Text,
    /// `OpenMetrics`: seconds, and a last line that proves that nothing was cut off.
    OpenMetrics,
}

/// All samples of the page in `reply`.
pub(super) fn read(reply: &Reply) -> Result<Vec<Sample>, Answer> {
    if let Some(failure) = reply.failure() {
        return Err(Answer::failed(failure, format!("the page answered with status {}", reply.status.as_u16())));
    }
    let text = std::str::from_utf8(&reply.body).map_err(|_| malformed("the page is not text"))?;
    if !reply.framed && !text.ends_with('\n') {
        return Err(malformed("the page breaks off in its last line"));
    }
    let open_metrics = reply.content_type.starts_with("application/openmetrics-text");
    parse(text, if open_metrics { Format::OpenMetrics } else { Format::Text })
}

/// All samples of `text`.
pub(super) fn parse(text: &str, format: Format) -> Result<Vec<Sample>, Answer> {
    let mut lines = Vec::new();
    let mut ended = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_matches([' ', '\t', '\r']);
        ended |= line == "# EOF";
        if !line.is_empty() && !line.starts_with('#') {
            lines.push((number, line::parse(line).map_err(|expected| broken(number, expected))?));
        }
    }
    if format == Format::OpenMetrics && !ended {
        return Err(malformed("the page breaks off before # EOF"));
    }
    let values = values(&lines)?;
    lines.into_iter().zip(values).map(|((number, line), value)| sample(number, line, value, format)).collect()
}

fn sample(number: usize, line: Line, value: Option<f64>, format: Format) -> Result<Sample, Answer> {
    let value = value.ok_or_else(|| broken(number, "expected a number as the value"))?;
    let at = line.timestamp.map(|text| timestamp(text, format).ok_or_else(|| broken(number, "expected a timestamp")));
    let series = Series { name: line.name.to_owned(), labels: line.labels };
    Ok(Sample { series, value, at: at.transpose()?, line: number })
}

/// The value of each line, `None` where it is not a number. A line goes in under its index and comes out under it.
fn values(lines: &[(usize, Line)]) -> Result<Vec<Option<f64>>, Answer> {
    let rewritten = lines.iter().enumerate().map(|(i, (_, line))| Ok(format!("s{{i=\"{i}\"}} {}", line.value)));
    // The crate stamps a sample without a timestamp with the time of its own clock. Nobody looks at that.
    let scrape = Scrape::parse(rewritten).map_err(|error: io::Error| malformed(&error.to_string()))?;
    let mut values = vec![None; lines.len()];
    for sample in scrape.samples {
        let slot = sample.labels.get("i").and_then(|i| i.parse::<usize>().ok()).and_then(|i| values.get_mut(i));
        if let (Some(slot), Value::Untyped(value)) = (slot, sample.value) {
            *slot = Some(value);
        }
    }
    Ok(values)
}

fn timestamp(text: &str, format: Format) -> Option<Timestamp> {
    match format {
        Format::Text => Timestamp::from_millisecond(text.parse().ok()?).ok(),
        Format::OpenMetrics => {
            let since_epoch = std::time::Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
            Timestamp::UNIX_EPOCH.checked_add(since_epoch).ok()
        }
    }
}

/// The failure of a page with something on `line` that is not the format.
pub(super) fn broken(line: usize, expected: &str) -> Answer {
    malformed(&format!("line {line} of the page: {expected}"))
}

fn malformed(detail: &str) -> Answer {
    Answer::failed(Failure::Malformed, detail)
}
