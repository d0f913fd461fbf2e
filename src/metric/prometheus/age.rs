//! How old the samples behind a query are.
//!
//! An aggregate carries the time of its evaluation, not of its samples. So a second query is derived from the first
//! one: the time of the newest sample of each selector, and of these the oldest. A selector is asked for as it is now,
//! without its offset: what counts is whether the series is still being written.

use std::time::Duration;

use jiff::Timestamp;
use promql_parser::parser::{self, Expr, VectorSelector};

use super::reply::Number;
use crate::metric::{self, Answer};
use crate::observation::{Failure, Measurement};

/// The query for the time of the newest samples behind `query`; `None` when it selects no series.
pub(super) fn query(query: &str) -> Result<Option<String>, Answer> {
    let rejected = |why| Answer::failed(Failure::QueryRejected, format!("the query does not parse: {why}"));
    let mut selectors = Vec::new();
    collect(&parser::parse(query).map_err(rejected)?, &mut selectors);
    let newest = |selector: &String| format!("max(timestamp({selector}))");
    Ok(match selectors.as_slice() {
        [] => None,
        [only] => Some(newest(only)),
        // Without a label of its own, `or` would take each for the same series and keep the first.
        many => {
            let marked = many.iter().enumerate();
            let marked = marked.map(|(i, one)| format!(r#"label_replace({},"selector","{i}","","")"#, newest(one)));
            Some(format!("min({})", marked.collect::<Vec<_>>().join(" or ")))
        }
    })
}

/// The age that the answer to an age query tells. Both times in it are of the server's clock.
pub(super) fn of(newest: Result<Number, Answer>) -> Result<Duration, Answer> {
    let newest = newest.map_err(|answer| match answer.measurement {
        Measurement::NoData => Answer::no_data("the query gives a number although none of its series has a sample"),
        _ => Answer {
            measurement: answer.measurement,
            detail: answer.detail.map(|detail| metric::sentence(&format!("the age of the samples: {detail}"))),
        },
    })?;
    let malformed = || Answer::failed(Failure::Malformed, "the time of the newest sample is not a time");
    let (sampled, now) = timestamp(newest.value).zip(timestamp(newest.at)).ok_or_else(malformed)?;
    metric::age(sampled, now)
}

fn timestamp(seconds: f64) -> Option<Timestamp> {
    let since_epoch = Duration::try_from_secs_f64(seconds).ok()?;
    Timestamp::UNIX_EPOCH.checked_add(since_epoch).ok()
}

/// Adds the distinct selectors of `expr` to `found`, in their order.
fn collect(expr: &Expr, found: &mut Vec<String>) {
    match expr {
        Expr::VectorSelector(selector) => add(selector, found),
        Expr::MatrixSelector(matrix) => add(&matrix.vs, found),
        Expr::Subquery(subquery) => collect(&subquery.expr, found),
        Expr::Paren(paren) => collect(&paren.expr, found),
        Expr::Unary(unary) => collect(&unary.expr, found),
        Expr::Binary(binary) => {
            collect(&binary.lhs, found);
            collect(&binary.rhs, found);
        }
        Expr::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| collect(param, found));
            collect(&aggregate.expr, found);
        }
        // The second argument of `info` looks like a selector and only names labels.
        Expr::Call(call) if call.func.name == "info" => call.args.args.iter().take(1).for_each(|arg| collect(arg, found)),
        Expr::Call(call) => call.args.args.iter().for_each(|arg| collect(arg, found)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn add(selector: &VectorSelector, found: &mut Vec<String>) {
    let now = VectorSelector { offset: None, at: None, ..selector.clone() }.to_string();
    if !found.contains(&now) {
        found.push(now);
    }
}
