//! A `/metrics` page as samples: every one, or an error that names the line.
//!
//! `prometheus-parse` reads the numbers. It is not shown names and labels, because it drops a line whose name holds
//! `:` or whose label value holds `}` or `=`, cuts values at `,`, and leaves escapes as they are, all in silence.

use std::io;

use jiff::Timestamp;
use prometheus_parse::{Scrape, Value};

use super::line::{self, Line};
use crate::metric::fetch::Reply;
use crate::metric::{self, Answer};
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
        Format::OpenMetrics => metric::timestamp(text.parse().ok()?),
    }
}

/// The failure of a page with something on `line` that is not the format.
pub(super) fn broken(line: usize, expected: &str) -> Answer {
    malformed(&format!("line {line} of the page: {expected}"))
}

fn malformed(detail: &str) -> Answer {
    Answer::failed(Failure::Malformed, detail)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::observation::Measurement;

    fn sample(name: &str, labels: &[(&str, &str)], value: f64, at: Option<i64>) -> Sample {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let at = at.map(|milliseconds| Timestamp::from_millisecond(milliseconds).unwrap());
        Sample { series: Series { name: name.to_owned(), labels }, value, at, line: 1 }
    }

    fn check(line: &str, expected: Sample) {
        assert_eq!(parse(line, Format::Text).unwrap(), [expected], "{line}");
    }

    #[test]
    fn every_sample_is_read_as_it_is_written() {
        check("up 1", sample("up", &[], 1.0, None));
        check("up 1\n", sample("up", &[], 1.0, None));
        check("up 1\r\n\r\n", sample("up", &[], 1.0, None));
        check("\tup \t 1  ", sample("up", &[], 1.0, None));
        check("up{} 1", sample("up", &[], 1.0, None));
        check("up{}1", sample("up", &[], 1.0, None));
        check("up { b = \"2\" , a = \"1\" , } 1", sample("up", &[("a", "1"), ("b", "2")], 1.0, None));
        check("job:up:sum 1", sample("job:up:sum", &[], 1.0, None));
        check("up 1 1700000000123", sample("up", &[], 1.0, Some(1_700_000_000_123)));
        check("up -1.5e-3 -1", sample("up", &[], -0.0015, Some(-1)));
        check("up +Inf", sample("up", &[], f64::INFINITY, None));
        check("up -Inf", sample("up", &[], f64::NEG_INFINITY, None));
        check("up{a=\"\"} 1", sample("up", &[], 1.0, None));
        check(r#"up{a="}"} 1"#, sample("up", &[("a", "}")], 1.0, None));
        check(r#"up{a="b=c,d=\"e\""} 1"#, sample("up", &[("a", "b=c,d=\"e\"")], 1.0, None));
        check(r#"up{a="C:\\dir\n\d\"} 2 #"} 1"#, sample("up", &[("a", "C:\\dir\n\\d\"} 2 #")], 1.0, None));
        check("up{a=\"ü\u{a0}\"} 1", sample("up", &[("a", "ü\u{a0}")], 1.0, None));
        check(r#"up 1 # {trace="x"} 0.5 17"#, sample("up", &[], 1.0, None));
        check(r#"up{le="1"} 1 2 # {trace="}"} 0.5"#, sample("up", &[("le", "1")], 1.0, Some(2)));
    }

    #[test]
    fn a_number_that_is_none_stays_one() {
        for line in ["up NaN", "up nan"] {
            assert!(parse(line, Format::Text).unwrap()[0].value.is_nan(), "{line}");
        }
    }

    #[test]
    fn types_help_and_comments_change_nothing() {
        let page = "# HELP x_seconds It is {odd=\"}\\\n# TYPE x_seconds histogram\n#comment\n\n\
                    x_seconds_bucket{a=\"}\",le=\"1\"} 1\nx_seconds_bucket{a=\"}\",le=\"+Inf\"} 2\nx_seconds_sum 3\n# EOF\n";
        let lines = parse(page, Format::Text).unwrap().iter().map(|sample| sample.line).collect::<Vec<_>>();
        assert_eq!(lines, [5, 6, 7]);
    }

    #[test]
    fn a_line_that_is_not_of_the_format_is_named() {
        let broken = [
            "up",
            "up ",
            "up{",
            "up{a",
            "up{a=",
            "up{a=1} 1",
            "up{a=\"1} 1",
            "up{a=\"1\\",
            "up{a=\"1\"",
            "up{a=\"1\"}",
            "up{a=\"1\"b=\"2\"} 1",
            "up{,} 1",
            "up{a=\"1\",a=\"2\"} 1",
            "up{a:b=\"1\"} 1",
            "1up 1",
            "üp 1",
            "=1",
            "{} 1",
            "up one",
            "up 0x10",
            "up 1_000",
            "up 1,5",
            "up 1 now",
            "up 1 1.5",
            "up 1 2 3",
            "up 1\u{a0}2",
            "up # 1",
            "up 1 99999999999999999999",
            "up 1 9999999999999999",
            "<html>",
            "{\"status\":\"success\"}",
        ];
        for line in broken {
            let answer = parse(&format!("fine 1\n{line}\nfine 2\n"), Format::Text).unwrap_err();
            assert_eq!(answer.measurement, Measurement::Failed { failure: Failure::Malformed }, "{line}");
            assert!(answer.detail.unwrap().starts_with("line 2 of the page: expected "), "{line}");
        }
    }

    #[test]
    fn open_metrics_has_seconds_and_an_end() {
        let read = |page| parse(page, Format::OpenMetrics);
        let at = read("up 1 1700000000.5\n# EOF\n").unwrap()[0].at.unwrap();
        assert_eq!(at.as_millisecond(), 1_700_000_000_500);
        assert!(read("up 1\n").is_err(), "a page without its end may have been cut");
    }

    fn values() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), Just(f64::INFINITY), Just(0.0), -1e6..1e6]
    }

    fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
        let nasty = prop_oneof![r#"[a-z{}=,"\\\n\r\t #]{1,12}"#, "\\PC{1,8}"];
        prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,6}", nasty, 0..4).prop_map(|all| all.into_iter().collect())
    }

    fn written(series: &[(Series, f64, Option<i64>)]) -> String {
        let escaped = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let mut page = String::from("# HELP a {\n# TYPE a histogram\n");
        for (Series { name, labels }, value, at) in series {
            let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
            let at = at.map(|at| format!(" {at}")).unwrap_or_default();
            writeln!(page, "{name}{{{}}} {value:e}{at}", labels.collect::<Vec<_>>().join(",")).unwrap();
        }
        page
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            series in prop::collection::vec(
                ("[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", labels(), values(), prop::option::of(0..4_102_444_800_000_i64)), 0..20)
        ) {
            let series = series.into_iter()
                .map(|(name, labels, value, at)| (Series { name, labels }, value, at)).collect::<Vec<_>>();
            let read = parse(&written(&series), Format::Text).unwrap();
            prop_assert_eq!(read.len(), series.len());
            for (sample, (series, value, at)) in read.iter().zip(&series) {
                prop_assert_eq!(&sample.series, series);
                prop_assert!(sample.value.to_bits() == value.to_bits() || sample.value.is_nan() && value.is_nan());
                prop_assert_eq!(sample.at.map(Timestamp::as_millisecond), *at);
            }
        }

        #[test]
        fn every_line_of_any_page_is_read_or_reported(page in r#"([a-z0-9{}=,"\\#: .\t\r\n-]|\PC){0,80}"#) {
            if let Ok(samples) = parse(&page, Format::Text) {
                let lines = page.lines().map(|line| line.trim_matches([' ', '\t', '\r']));
                let expected = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).count();
                prop_assert_eq!(samples.len(), expected);
            }
        }
    }
}
