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
use crate::observation::{Failure, Measurement, elapsed};

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

/// The age at `now` that the answer to an age query tells. Both times in it are of the server's clock, which need not
/// agree with ours to the second; but an answer that was given long ago, as a cache in between gives it, is as old.
pub(super) fn of(newest: Result<Number, Answer>, now: Timestamp) -> Result<Duration, Answer> {
    let newest = newest.map_err(|answer| match answer.measurement {
        Measurement::NoData => Answer::no_data("the query gives a number although none of its series has a sample"),
        _ => Answer {
            measurement: answer.measurement,
            detail: answer.detail.map(|detail| metric::sentence(&format!("the age of the samples: {detail}"))),
        },
    })?;
    let malformed = || Answer::failed(Failure::Malformed, "the time of the newest sample is not a time");
    let (sampled, at) = metric::timestamp(newest.value).zip(metric::timestamp(newest.at)).ok_or_else(malformed)?;
    let (age, ahead, behind) = (metric::age(sampled, at)?, elapsed(now, at), elapsed(at, now));
    if ahead > metric::MAX_AHEAD {
        let detail = format!("the server's clock is {} s ahead of Setpoint's, expected the same time", ahead.as_secs());
        return Err(Answer::failed(Failure::Malformed, detail));
    }
    Ok(if behind > metric::MAX_AHEAD { age + behind } else { age })
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
        Expr::Call(call) if call.func.name == "info" => {
            call.args.args.iter().take(1).for_each(|arg| collect(arg, found));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(of: &str, expected: &str) {
        assert_eq!(query(of).unwrap().as_deref(), Some(expected), "{of}");
    }

    #[test]
    fn the_age_is_asked_of_every_selector_as_it_is_now() {
        check("up", "max(timestamp(up))");
        check(r#"sum(rate(http_total{job="a b",path=~"/x\\..*"}[5m]))"#, {
            r#"max(timestamp(http_total{job="a b",path=~"/x\\..*"}))"#
        });
        check("foo offset 1h", "max(timestamp(foo))");
        check("foo @ 1700000000", "max(timestamp(foo))");
        check("foo @ end() offset -5m", "max(timestamp(foo))");
        check("rate(foo[5m] offset 1w)", "max(timestamp(foo))");
        check("max_over_time(rate(foo[1m])[1h:1m] @ start())", "max(timestamp(foo))");
        check("-(foo)", "max(timestamp(foo))");
        check("foo / foo", "max(timestamp(foo))");
        check("rate(foo[1m]) / rate(foo[5m])", "max(timestamp(foo))");
        check(r#"{__name__="foo"}"#, r#"max(timestamp({__name__="foo"}))"#);
        check(r#"foo{a="\"}\n\\"}"#, r#"max(timestamp(foo{a="\"}\n\\"}))"#);
        check("foo or vector(0)", "max(timestamp(foo))");
        check("histogram_quantile(0.9, sum by (le) (rate(x_bucket[1m])))", "max(timestamp(x_bucket))");
        check(r#"info(foo, {k8s="x"})"#, "max(timestamp(foo))");
        check("job:foo:rate5m", "max(timestamp(job:foo:rate5m))");
    }

    #[test]
    fn the_oldest_of_several_selectors_counts() {
        check("a / b", {
            r#"min(label_replace(max(timestamp(a)),"selector","0","","") or label_replace(max(timestamp(b)),"selector","1","",""))"#
        });
        check("quantile(scalar(a), b)", {
            r#"min(label_replace(max(timestamp(a)),"selector","0","","") or label_replace(max(timestamp(b)),"selector","1","",""))"#
        });
        check(r#"sum(a{x="1"}) + sum(a{x="2"}) + a{x="1"}"#, {
            r#"min(label_replace(max(timestamp(a{x="1"})),"selector","0","","") or label_replace(max(timestamp(a{x="2"})),"selector","1","",""))"#
        });
    }

    #[test]
    fn an_expression_without_a_selector_has_no_age() {
        for constant in ["1", "vector(1)", "time()", "scalar(vector(2)) * 3", "-1", "minute()"] {
            assert_eq!(query(constant), Ok(None), "{constant}");
        }
    }

    #[test]
    fn every_age_query_parses_and_has_the_selectors_of_its_query() {
        for of in ["a / b + c", "rate(a[5m]) or b offset 1d", r#"x{y=~"[{}\"]+",z!~"\\d"}"#, "topk(1, a) by (b)"] {
            let derived = query(of).unwrap().unwrap();
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            collect(&parser::parse(of).unwrap(), &mut expected);
            collect(&parser::parse(&derived).unwrap(), &mut found);
            assert_eq!(found, expected, "{derived}");
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_sample_far_in_the_future_has_no_age() {
        let age = |now, value| of(Ok(Number { at: now, value }), at(1000));
        assert_eq!(age(1000.5, 990.25), Ok(Duration::from_millis(10_250)));
        assert_eq!(age(1000.0, 1060.0), Ok(Duration::ZERO));
        let failure = |at, value| age(at, value).unwrap_err().measurement;
        let malformed = Measurement::Failed { failure: Failure::Malformed };
        for value in [1061.0, f64::NAN, f64::INFINITY, -1.0, 1e300] {
            assert_eq!(failure(1000.0, value), malformed, "{value}");
        }
    }

    #[test]
    fn an_answer_that_was_given_long_ago_is_as_old_and_one_of_the_future_is_none() {
        let age = |now| of(Ok(Number { at: 1000.0, value: 990.0 }), at(now));
        assert_eq!(age(1060), Ok(Duration::from_secs(10)));
        assert_eq!(age(1061), Ok(Duration::from_secs(71)));
        assert_eq!(age(940), Ok(Duration::from_secs(10)));
        assert!(age(939).unwrap_err().detail.is_some_and(|detail| detail.contains("61 s ahead of Setpoint's")));
    }
}
