//! Queries over the history of the world: as much of `PromQL` as the daemon and its examples use, and an error for
//! the rest. It never guesses: what it does not know is refused.

mod functions;
mod operators;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use promql_parser::label::{Labels as LabelNames, Matchers};
use promql_parser::parser::{AggregateExpr, Expr, LabelModifier, MatrixSelector, Offset, VectorSelector, parse, token};
use serde::Serialize;

use super::faults::PrometheusFault;
use super::history::{History, Labels, NAME, Sample};

/// How far back an instant selector looks for a sample.
pub const LOOKBACK: Duration = Duration::from_mins(5);

/// The most points a series that a range query may ask for.
pub const MAX_POINTS: u32 = 11_000;

/// Why a query has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The query, or a parameter beside it, is wrong: HTTP 400, `bad_data`.
    #[error("{0}")]
    BadData(String),
    /// The query is right and can't be run: HTTP 422, `execution`.
    #[error("{0}")]
    Execution(String),
}

fn unsupported(what: impl std::fmt::Display) -> QueryError {
    QueryError::Execution(format!("the embedded world does not know {what}"))
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
    /// When it was sampled, or evaluated where it was computed, in milliseconds.
    at: i64,
}

/// Samples of one series in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Milliseconds and value, oldest first.
    pub points: Vec<(i64, f64)>,
}

/// Series in a window of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// The beginning of the window in milliseconds, not part of it.
    from: i64,
    /// The end of the window in milliseconds.
    to: i64,
    /// The series with at least one sample in it.
    pub series: Vec<Series>,
}

/// What a query evaluates to.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// At most one value a series.
    Vector(Vec<Element>),
    /// Values of a window.
    Matrix(Matrix),
}

impl Value {
    /// The name of the type in the HTTP API.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Scalar(_) => "scalar",
            Self::Text(_) => "string",
            Self::Vector(_) => "vector",
            Self::Matrix(_) => "matrix",
        }
    }
}

/// A parsed query.
#[derive(Clone, Debug)]
pub struct Query(Expr);

impl Query {
    /// Parses a query; the error is the one of the real server up to the words of the parser.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let wrong = |error| QueryError::BadData(format!("invalid parameter \"query\": 1:1: parse error: {error}"));
        parse(query).map(Self).map_err(wrong)
    }

    /// The value at one moment. A `fault` of the data is seen by every selector.
    pub fn at(&self, at: Timestamp, history: &History, fault: Option<&PrometheusFault>) -> Result<Value, QueryError> {
        Evaluation { history, now: at.as_millisecond(), fault: fault.copied() }.value(&self.0)
    }

    /// The value at every `step` from `start` until `end`.
    pub fn over(
        &self,
        (start, end): (Timestamp, Timestamp),
        step: Duration,
        history: &History,
        fault: Option<&PrometheusFault>,
    ) -> Result<Vec<Series>, QueryError> {
        let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
        let ends = (0..MAX_POINTS).map_while(|n| start.checked_add(step.saturating_mul(n)).ok());
        for at in ends.take_while(|at| *at <= end) {
            let now = at.as_millisecond();
            let elements = match self.at(at, history, fault)? {
                Value::Scalar(value) => vec![Element { labels: Labels::new(), value, at: now }],
                Value::Vector(elements) => elements,
                Value::Text(_) | Value::Matrix(_) => {
                    return Err(QueryError::BadData(
                        "invalid parameter \"query\": invalid expression type for range query, must be Scalar or \
                         instant Vector"
                            .to_owned(),
                    ));
                }
            };
            for element in elements {
                series.entry(element.labels).or_default().push((now, element.value));
            }
        }
        Ok(series.into_iter().map(|(labels, points)| Series { labels, points }).collect())
    }
}

#[derive(Clone, Copy, Debug)]
struct Evaluation<'a> {
    history: &'a History,
    now: i64,
    fault: Option<PrometheusFault>,
}

impl Evaluation<'_> {
    fn value(&self, expression: &Expr) -> Result<Value, QueryError> {
        match expression {
            Expr::Paren(inner) => self.value(&inner.expr),
            Expr::NumberLiteral(number) => Ok(Value::Scalar(number.val)),
            Expr::StringLiteral(text) => Ok(Value::Text(text.val.clone())),
            Expr::VectorSelector(selector) => self.select(selector).map(Value::Vector),
            Expr::MatrixSelector(selector) => self.select_window(selector).map(Value::Matrix),
            Expr::Aggregate(aggregation) => self.aggregate(aggregation),
            Expr::Unary(unary) => operators::negate(self.value(&unary.expr)?, self.now),
            Expr::Binary(binary) => {
                operators::binary(binary, self.value(&binary.lhs)?, self.value(&binary.rhs)?, self.now)
            }
            Expr::Call(call) => {
                let arguments: Result<Vec<_>, _> = call.args.args.iter().map(|arg| self.value(arg)).collect();
                functions::call(call.func.name, &arguments?, self.now)
            }
            Expr::Subquery(_) => Err(unsupported("subqueries")),
            Expr::Extension(_) => Err(unsupported("extensions")),
        }
    }

    /// Each matching series' newest sample within the lookback, unless its target says that it is gone.
    fn select(&self, selector: &VectorSelector) -> Result<Vec<Element>, QueryError> {
        let to = self.end(selector)?;
        let from = to.saturating_sub(milliseconds(LOOKBACK));
        let newest = |(labels, samples): (&Labels, Vec<Sample>)| {
            let newest = samples.last()?;
            Some(Element { labels: labels.clone(), value: self.seen(newest.value?), at: newest.at })
        };
        Ok(self.samples(selector, from, to).filter_map(newest).collect())
    }

    fn select_window(&self, selector: &MatrixSelector) -> Result<Matrix, QueryError> {
        let to = self.end(&selector.vs)?;
        let from = to.saturating_sub(milliseconds(selector.range));
        let points = |samples: Vec<Sample>| -> Vec<_> {
            samples.iter().filter_map(|s| s.value.map(|value| (s.at, self.seen(value)))).collect()
        };
        let series = self
            .samples(&selector.vs, from, to)
            .map(|(labels, samples)| Series { labels: labels.clone(), points: points(samples) })
            .filter(|series| !series.points.is_empty())
            .collect();
        Ok(Matrix { from, to, series })
    }

    fn seen(&self, value: f64) -> f64 {
        if self.fault == Some(PrometheusFault::NotANumber) { f64::NAN } else { value }
    }

    fn end(&self, selector: &VectorSelector) -> Result<i64, QueryError> {
        if selector.at.is_some() {
            return Err(unsupported("the @ modifier"));
        }
        Ok(match selector.offset {
            None => self.now,
            Some(Offset::Pos(back)) => self.now.saturating_sub(milliseconds(back)),
            Some(Offset::Neg(ahead)) => self.now.saturating_add(milliseconds(ahead)),
        })
    }

    /// The samples of the matching series after `from` and until `to`, oldest first.
    fn samples(&self, selector: &VectorSelector, from: i64, to: i64) -> impl Iterator<Item = (&Labels, Vec<Sample>)> {
        let blind = self.fault == Some(PrometheusFault::Empty);
        self.history.series().filter(move |(labels, _)| !blind && matches(selector, labels)).map(
            move |(labels, samples)| (labels, samples.iter().filter(|s| s.at > from && s.at <= to).copied().collect()),
        )
    }

    fn aggregate(&self, aggregation: &AggregateExpr) -> Result<Value, QueryError> {
        let Value::Vector(elements) = self.value(&aggregation.expr)? else {
            return Err(unsupported("an aggregation of anything but a vector"));
        };
        let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
        for element in elements {
            let labels = grouped(&element.labels, aggregation.modifier.as_ref());
            groups.entry(labels).or_default().push(element.value);
        }
        let mut result = vec![];
        for (labels, values) in groups {
            result.push(Element { labels, value: summary(aggregation.op.id(), &values)?, at: self.now });
        }
        Ok(Value::Vector(result))
    }
}

fn matches(selector: &VectorSelector, labels: &Labels) -> bool {
    let Matchers { matchers, or_matchers } = &selector.matchers;
    let value = |label: &str| labels.get(label).map_or("", String::as_str);
    let all = |matchers: &[promql_parser::label::Matcher]| matchers.iter().all(|m| m.is_match(value(&m.name)));
    let named = selector.name.as_ref().is_none_or(|name| value(NAME) == name);
    named && all(matchers) && (or_matchers.is_empty() || or_matchers.iter().any(|matchers| all(matchers)))
}

/// The labels that are left of `labels` in the group that they belong to.
fn grouped(labels: &Labels, modifier: Option<&LabelModifier>) -> Labels {
    let listed = |names: &LabelNames, label: &String| names.labels.contains(label);
    let kept = |label: &String| match modifier {
        None => false,
        Some(LabelModifier::Include(names)) => listed(names, label),
        Some(LabelModifier::Exclude(names)) => label != NAME && !listed(names, label),
    };
    labels.iter().filter(|(label, _)| kept(label)).map(|(label, value)| (label.clone(), value.clone())).collect()
}

/// One number for the values of a group, of which there is at least one.
fn summary(operation: token::TokenId, values: &[f64]) -> Result<f64, QueryError> {
    let sum = || values.iter().sum::<f64>();
    let count = || values.iter().map(|_| 1.0).sum::<f64>();
    match operation {
        token::T_SUM => Ok(sum()),
        token::T_AVG => Ok(sum() / count()),
        token::T_COUNT => Ok(count()),
        token::T_GROUP => Ok(1.0),
        token::T_MIN => Ok(values.iter().copied().fold(f64::NAN, f64::min)),
        token::T_MAX => Ok(values.iter().copied().fold(f64::NAN, f64::max)),
        other => Err(unsupported(format!("the aggregation {}", token::TokenType::new(other)))),
    }
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn seconds(milliseconds: i64) -> f64 {
    SignedDuration::from_millis(milliseconds).as_secs_f64()
}

/// The labels of a computed value: it has the name of its series no longer.
fn unnamed(mut labels: Labels) -> Labels {
    labels.remove(NAME);
    labels
}

/// A value as the HTTP API writes it: a text, with the infinities and NaN in the words of Go.
pub fn written(value: f64) -> impl Serialize {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests;
