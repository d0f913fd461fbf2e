//! The JSON of an instant query, as one number or why there is none.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::metric::Answer;
use crate::metric::fetch::Reply;
use crate::observation::{Failure, Measurement};

/// One sample: the value, and the server's time of evaluation in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number {
    pub at: f64,
    pub value: f64,
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Body {
    Success {
        data: Data,
        #[serde(default)]
        warnings: Vec<String>,
        /// `VictoriaMetrics`: some storage nodes did not answer.
        #[serde(default, rename = "isPartial")]
        is_partial: bool,
    },
    Error {
        error: String,
    },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar(Point),
    Vector(Vec<Series>),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    value: Option<Point>,
    /// A native histogram stands in the place of the value.
    histogram: Option<IgnoredAny>,
}

/// A time in seconds and a number that Go printed.
#[derive(Clone, Deserialize)]
struct Point(f64, String);

/// The one number that `reply` holds.
pub(super) fn read(reply: &Reply) -> Result<Number, Answer> {
    let body = serde_json::from_slice::<Body>(&reply.body);
    if let Some(failure) = reply.failure() {
        return Err(refused(failure, reply.status.as_u16(), body.ok()));
    }
    match body {
        Ok(Body::Success { data, warnings, is_partial }) => {
            whole(&warnings, is_partial)?;
            number(data)
        }
        Ok(Body::Error { error }) => Err(Answer::failed(Failure::QueryRejected, error)),
        Err(error) => Err(Answer::failed(Failure::Malformed, format!("not an answer to a query: {error}"))),
    }
}

/// An HTTP error. Prometheus says 400 or 422 of a query that it cannot run; so does a proxy, but of other things.
fn refused(failure: Failure, code: u16, body: Option<Body>) -> Answer {
    let Some(Body::Error { error }) = body else {
        return Answer::failed(failure, format!("the server answered with status {code}"));
    };
    let failure = if matches!(code, 400 | 422) { Failure::QueryRejected } else { failure };
    Answer::failed(failure, error)
}

/// Warnings of the query language are about the query; every other one says that a part of the data was not reached.
fn whole(warnings: &[String], is_partial: bool) -> Result<(), Answer> {
    let missing = warnings.iter().find(|warning| !warning.starts_with("PromQL "));
    match missing {
        Some(warning) => Err(Answer::failed(Failure::QueryRejected, format!("the answer is partial: {warning}"))),
        None if is_partial => Err(Answer::failed(Failure::QueryRejected, "the answer is partial")),
        None => Ok(()),
    }
}

fn number(data: Data) -> Result<Number, Answer> {
    let wrong_type = |what| Answer::failed(Failure::WrongType, format!("the query gives {what}, not one number"));
    let mut series = match data {
        Data::Scalar(point) => return parse(&point),
        Data::Matrix(_) => return Err(wrong_type("a range of samples")),
        Data::String(_) => return Err(wrong_type("a string")),
        Data::Vector(series) => series,
    };
    let (count, last) = (series.len(), series.pop());
    match last {
        None => Err(Answer::no_data("the query gives no series")),
        Some(_) if count > 1 => {
            let detail = format!("the query gives {count} series, not one");
            Err(Answer::without_number(Measurement::ManySeries { count }, detail))
        }
        Some(Series { value: Some(point), .. }) => parse(&point),
        Some(Series { histogram: Some(_), .. }) => Err(wrong_type("a native histogram")),
        Some(_) => Err(Answer::failed(Failure::Malformed, "the series has no value")),
    }
}

fn parse(Point(at, value): &Point) -> Result<Number, Answer> {
    let malformed = |_| Answer::failed(Failure::Malformed, format!("\"{value}\" is not a number"));
    Ok(Number { at: *at, value: value.parse().map_err(malformed)? })
}
