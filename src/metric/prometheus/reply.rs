//! The JSON of an instant query, as one number or one of each instance, or why there is none.

use std::collections::{HashMap, HashSet};

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

/// Several instances: the mean of their numbers, and how many gave one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Instances {
    pub mean: f64,
    /// At least one.
    pub reporting: u32,
}

/// Most series that are taken for instances; no group is larger by far.
const MAX_INSTANCES: usize = 10_000;

/// What is asked of a query, as its details say.
const ONE: &str = "one number";
const EACH: &str = "one series for each instance";

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
    #[serde(default, rename = "metric")]
    labels: HashMap<String, String>,
    value: Option<Point>,
    /// A native histogram stands in the place of the value.
    histogram: Option<IgnoredAny>,
}

/// A time in seconds and a number that Go printed.
#[derive(Clone, Deserialize)]
pub(super) struct Point(f64, String);

/// The one number that `reply` holds.
pub(super) fn number(reply: &Reply) -> Result<Number, Answer> {
    let series = match data(reply)? {
        Data::Scalar(point) => return parse(&point),
        other => vector(other, ONE)?,
    };
    match series.as_slice() {
        [] => Err(Answer::no_data("the query gives no series")),
        [one] => point(one, ONE),
        many => {
            let count = many.len();
            let detail = format!(
                "the query gives {count} series, not one; where each is of an instance, per_instance names the label that \
                 tells them apart"
            );
            Err(Answer::without_number(Measurement::ManySeries { count }, detail))
        }
    }
}

/// The numbers of the instances that `label` tells apart. One that gives no finite number has not reported.
pub(super) fn instances(reply: &Reply, label: &str) -> Result<Instances, Answer> {
    let series = vector(data(reply)?, EACH)?;
    if series.is_empty() {
        return Err(Answer::no_data("the query gives no series"));
    }
    if series.len() > MAX_INSTANCES {
        let detail = format!("the query gives {} series, more than {MAX_INSTANCES} instances", series.len());
        return Err(Answer::failed(Failure::TooLarge, detail));
    }
    apart(&series, label)?;
    let mut finite = Vec::with_capacity(series.len());
    for one in &series {
        let Number { value, .. } = point(one, EACH)?;
        finite.extend(Some(value).filter(|value| value.is_finite()));
    }
    mean(&finite).ok_or_else(|| Answer::without_number(Measurement::NotFinite, "no instance gives a finite number"))
}

fn mean(values: &[f64]) -> Option<Instances> {
    let reporting = u32::try_from(values.len()).ok()?;
    let mean = values.iter().sum::<f64>() / f64::from(reporting);
    mean.is_finite().then_some(Instances { mean, reporting })
}

/// Every series is of an instance of its own.
fn apart(series: &[Series], label: &str) -> Result<(), Answer> {
    let mut names = HashSet::new();
    for one in series {
        // A label that is empty is the same as none.
        let Some(name) = one.labels.get(label).filter(|name| !name.is_empty()) else {
            return Err(Answer::failed(Failure::Malformed, format!("a series has no label \"{label}\"")));
        };
        if !names.insert(name) {
            let count = series.iter().filter(|other| other.labels.get(label) == Some(name)).count();
            let detail = format!("the query gives {count} series with {label}=\"{name}\", not one");
            return Err(Answer::without_number(Measurement::ManySeries { count }, detail));
        }
    }
    Ok(())
}

/// What a whole and successful answer holds.
fn data(reply: &Reply) -> Result<Data, Answer> {
    let body = serde_json::from_slice::<Body>(&reply.body);
    if let Some(failure) = reply.failure() {
        let error = body.ok().and_then(|body| if let Body::Error { error } = body { Some(error) } else { None });
        return Err(refused(failure, reply.status.as_u16(), error));
    }
    match body {
        Ok(Body::Success { data, warnings, is_partial }) => {
            whole(&warnings, is_partial)?;
            Ok(data)
        }
        Ok(Body::Error { error }) => Err(Answer::failed(Failure::QueryRejected, error)),
        Err(error) => Err(Answer::failed(Failure::Malformed, format!("not an answer to a query: {error}"))),
    }
}

/// An HTTP error with what the server said. Prometheus says 400 or 422 of a query that it cannot run; so does a proxy, but of other things.
pub(super) fn refused(failure: Failure, code: u16, error: Option<String>) -> Answer {
    let Some(error) = error else {
        return Answer::failed(failure, format!("the server answered with status {code}"));
    };
    let failure = if matches!(code, 400 | 422) { Failure::QueryRejected } else { failure };
    Answer::failed(failure, error)
}

/// Warnings of the query language are about the query; every other one says that a part of the data was not reached.
pub(super) fn whole(warnings: &[String], is_partial: bool) -> Result<(), Answer> {
    let missing = warnings.iter().find(|warning| !warning.starts_with("PromQL "));
    match missing {
        Some(warning) => Err(Answer::failed(Failure::QueryRejected, format!("the answer is partial: {warning}"))),
        None if is_partial => Err(Answer::failed(Failure::QueryRejected, "the answer is partial")),
        None => Ok(()),
    }
}

fn vector(data: Data, asked: &str) -> Result<Vec<Series>, Answer> {
    match data {
        Data::Vector(series) => Ok(series),
        Data::Scalar(_) => Err(wrong_type("a scalar", asked)),
        Data::Matrix(_) => Err(wrong_type("a range of samples", asked)),
        Data::String(_) => Err(wrong_type("a string", asked)),
    }
}

fn point(series: &Series, asked: &str) -> Result<Number, Answer> {
    match series {
        Series { value: Some(point), .. } => parse(point),
        Series { histogram: Some(_), .. } => Err(wrong_type("a native histogram", asked)),
        _ => Err(Answer::failed(Failure::Malformed, "the series has no value")),
    }
}

fn wrong_type(given: &str, asked: &str) -> Answer {
    Answer::failed(Failure::WrongType, format!("the query gives {given}, not {asked}"))
}

pub(super) fn parse(Point(at, value): &Point) -> Result<Number, Answer> {
    let malformed = |_| Answer::failed(Failure::Malformed, format!("\"{value}\" is not a number"));
    Ok(Number { at: *at, value: value.parse().map_err(malformed)? })
}
