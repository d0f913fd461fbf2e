//! Checks of `PromQL` before it is ever sent. It never runs a query.

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{Expr, parse};

/// Longest query in bytes. The parser's time grows with the square of it and its stack with the nesting.
const MAX_QUERY: usize = 4096;

/// Why `text` can't be an instant query for one number, or for one series an instance where it is `per_instance`.
pub(super) fn query_problem(text: &str, per_instance: bool) -> Option<String> {
    match expression(text) {
        Err(problem) => Some(problem),
        Ok(expression) => match expression.value_type() {
            ValueType::Scalar if per_instance => {
                Some("is a scalar, which has no label per_instance; expected an instant vector".into())
            }
            ValueType::Vector | ValueType::Scalar => None,
            ValueType::Matrix => {
                Some("is a range of samples, expected an instant vector or a scalar, for example rate(…[1m])".into())
            }
            ValueType::String => Some("is a string, expected an instant vector or a scalar".into()),
        },
    }
}

/// Why `text` can't select series of a `/metrics` page; `suffix` is what the metric's name must end in.
pub(super) fn selector_problem(text: &str, suffix: &str) -> Option<String> {
    const EXPECTED: &str = "expected a plain selector such as requests_total{code=\"200\"}";
    match expression(text) {
        Err(problem) => Some(problem),
        Ok(Expr::VectorSelector(selector)) => {
            if selector.offset.is_some() || selector.at.is_some() {
                return Some(format!("a page has no past, so offset and @ mean nothing; {EXPECTED}"));
            }
            if !selector.matchers.or_matchers.is_empty() {
                return Some(format!("has alternatives with or; {EXPECTED}"));
            }
            match selector.name {
                None => Some(format!("names no metric; {EXPECTED}")),
                Some(name) if !name.ends_with(suffix) => {
                    Some(format!("{name} does not end in {suffix}, expected the buckets of a classic histogram"))
                }
                Some(_) => None,
            }
        }
        Ok(_) => Some(format!("is a calculation; {EXPECTED}")),
    }
}

fn expression(text: &str) -> Result<Expr, String> {
    if text.trim().is_empty() {
        return Err("is empty, expected PromQL".into());
    }
    if text.len() > MAX_QUERY {
        return Err(format!("is {} bytes long, expected at most {MAX_QUERY}", text.len()));
    }
    parse(text).map_err(|message| format!("does not parse as PromQL: {message}"))
}
