//! `/metrics` pages, read directly.
//!
//! The first byte chooses the format and what is made of the page, the first line is the selector. What follows are the
//! pages of successive scrapes, with a NUL between two.

use std::time::Duration;

use setpoint::metric::{Answer, Sources};
use setpoint::observation::Measurement;
use setpoint::policy::{Aggregation, Reading, Scrape, Source};

use super::wire::{Wire, http};

const WINDOW: Duration = Duration::from_mins(1);

/// Between two scrapes.
const INTERVAL: Duration = Duration::from_secs(15);

/// Most scrapes of one input.
const SCRAPES: usize = 4;

thread_local! {
    static WIRE: Wire = Wire::new();
}

/// Only finite numbers are taken for numbers; a rate or a quantile of a counter is never below zero.
pub fn check(input: &[u8]) {
    let (choice, input) = super::choice(input);
    let (selector, pages) = input.split_at(input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len()));
    let Ok(selector) = str::from_utf8(selector) else { return };
    let reading = match choice % 5 {
        0 => Reading::Gauge(Aggregation::Sum),
        1 => Reading::Gauge(Aggregation::Avg),
        2 => Reading::Gauge(Aggregation::Max),
        3 => Reading::Rate { window: WINDOW },
        _ => Reading::Quantile { per_mille: 990, window: WINDOW },
    };
    let content_type = if choice & 128 == 0 { "text/plain" } else { "application/openmetrics-text; version=1.0.0" };
    let gauge = matches!(reading, Reading::Gauge(_));
    WIRE.with(|wire| {
        let sources = Sources::new(None).expect("a client");
        let scrape = Scrape { url: wire.url.as_str().into(), selector: selector.into(), reading };
        let source = Source::Exposition(scrape);
        let mut at = super::now();
        for page in pages.split(|byte| *byte == 0).take(SCRAPES) {
            let page = http(200, content_type, page);
            check_answer(&wire.while_answering(move |_| page.clone(), sources.read(&source, at)), gauge);
            at += INTERVAL;
        }
    });
}

fn check_answer(answer: &Answer, gauge: bool) {
    let number = match answer.measurement {
        Measurement::Value { value, age } => {
            assert!(age.is_some(), "a page is of some age: {answer:?}");
            Some(value)
        }
        Measurement::Instances { .. } => panic!("a page has one number: {answer:?}"),
        _ => None,
    };
    assert!(number.is_none_or(|number| number.is_finite() && (gauge || number >= 0.0)), "{answer:?}");
    let one_line = |detail: &String| !detail.chars().any(char::is_control);
    assert!(answer.detail.as_ref().is_none_or(one_line), "{answer:?}");
}
