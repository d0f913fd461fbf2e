//! Answers of a Prometheus to instant queries and to range queries.
//!
//! The first byte chooses what is asked and with which status it is answered. The rest is the body; after a NUL, if there
//! is one, follows the body for the age of the value.

use std::time::Duration;

use setpoint::metric::prometheus::{Moments, Past, Settings};
use setpoint::metric::{Answer, Sources};
use setpoint::observation::Measurement;
use setpoint::policy::Source;

use super::wire::{Wire, http};

thread_local! {
    static WIRE: Wire = Wire::new();
}

/// Only finite numbers are taken for numbers, and only from an answer that says of itself that it is whole.
pub fn check(input: &[u8]) {
    let (choice, bodies) = super::choice(input);
    let mut bodies = bodies.splitn(2, |byte| *byte == 0).map(<[u8]>::to_vec);
    let (value, age) = (bodies.next().unwrap_or_default(), bodies.next());
    let status = if choice & 1 == 0 { 200 } else { [400, 401, 422, 503][usize::from(choice >> 4) % 4] };
    let answer = move |request: &str| {
        let body = age.as_ref().filter(|_| request.contains("timestamp")).unwrap_or(&value);
        http(status, "application/json", body)
    };
    WIRE.with(|wire| match choice & 2 {
        0 => check_instant(&wire.while_answering(answer, instant(&wire.url, choice & 4 != 0)), status),
        _ => check_range(wire.while_answering(answer, range(&wire.url)), status),
    });
}

fn settings(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        timeout: Duration::from_secs(3),
        headers: Vec::new(),
        credentials: None,
        ca_file: None,
        client_certificate: None,
    }
}

async fn instant(url: &str, per_instance: bool) -> Answer {
    let sources = Sources::new(Some(&settings(url))).expect("a client");
    let per_instance = per_instance.then(|| "instance".into());
    sources.read(&Source::Prometheus { query: "cpu".into(), per_instance }, super::now()).await
}

async fn range(url: &str) -> Result<Vec<Option<f64>>, Answer> {
    let past = Past::new(&settings(url)).expect("a client");
    past.read("cpu", moments()).await
}

fn moments() -> Moments {
    let (from, step) = (super::now(), Duration::from_secs(15));
    Moments { from, step, count: 8 }
}

fn check_instant(answer: &Answer, status: u16) {
    let number = match answer.measurement {
        Measurement::Value { value, .. } => Some(value),
        Measurement::Instances { mean, reporting, .. } => {
            assert!(reporting > 0, "a mean of nobody");
            Some(mean)
        }
        _ => None,
    };
    assert!(number.is_none_or(f64::is_finite), "{answer:?}");
    assert!(number.is_none() || status == 200, "a number from an answer with status {status}");
    let one_line = |detail: &String| !detail.chars().any(char::is_control);
    assert!(answer.detail.as_ref().is_none_or(one_line), "{answer:?}");
}

fn check_range(answer: Result<Vec<Option<f64>>, Answer>, status: u16) {
    match answer {
        Ok(values) => {
            assert!(status == 200 && values.len() == moments().count, "{values:?}");
            assert!(values.iter().flatten().all(|value| value.is_finite()), "{values:?}");
        }
        Err(answer) => check_instant(&answer, status),
    }
}
