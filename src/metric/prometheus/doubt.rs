//! What is a valid query and hardly meant, for the kind of its metric.

use std::convert::Infallible;

use promql_parser::parser::{self, Expr, token};
use promql_parser::util::{ExprVisitor, walk_expr};

use crate::policy::MetricKind;

/// What to doubt about the `query` of a metric of this kind, each as the rest of a sentence on it.
pub fn doubts(query: &str, kind: MetricKind) -> Vec<&'static str> {
    let Ok(expr) = parser::parse(query) else { return Vec::new() };
    let of_kind = match (kind, outermost(&expr)) {
        (MetricKind::Total, Some(token::T_AVG | token::T_QUANTILE)) => {
            Some("is of one instance, and a total is of the fleet: expected a sum")
        }
        (MetricKind::Utilization, Some(token::T_SUM)) => {
            Some("is of the fleet, and a utilization is of one instance: expected an avg")
        }
        _ => None,
    };
    let mut zeros = Zeros(false);
    let Ok(_) = walk_expr(&mut zeros, &expr);
    let zeros =
        zeros.0.then_some("takes what is missing for no load: without \"or vector(0)\", nothing is removed then");
    of_kind.into_iter().chain(zeros).collect()
}

/// The aggregation that gives the number.
fn outermost(expr: &Expr) -> Option<token::TokenId> {
    match expr {
        Expr::Paren(paren) => outermost(&paren.expr),
        Expr::Aggregate(aggregate) => Some(aggregate.op.id()),
        _ => None,
    }
}

/// Whether there is an `or vector(…)`.
struct Zeros(bool);

impl ExprVisitor for Zeros {
    type Error = Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Infallible> {
        if let Expr::Binary(binary) = expr {
            let is_vector = matches!(&*binary.rhs, Expr::Call(call) if call.func.name == "vector");
            self.0 |= binary.op.id() == token::T_LOR && is_vector;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_its_kind_is_not_doubted() {
        let check = |query, kind, expected: &str| assert_eq!(doubts(query, kind).join("; "), expected, "{query}");
        check("sum(rate(requests_total[1m]))", MetricKind::Total, "");
        check("max(queue_depth)", MetricKind::Total, "");
        check("avg(cpu)", MetricKind::Utilization, "");
        check("sum(busy) / sum(cores)", MetricKind::Utilization, "");
        check("avg(p99)", MetricKind::Latency, "");
        let of_one = "is of one instance, and a total is of the fleet: expected a sum";
        check("(avg(rate(requests_total[1m])))", MetricKind::Total, of_one);
        check("quantile(0.9, requests)", MetricKind::Total, of_one);
        let of_all = "is of the fleet, and a utilization is of one instance: expected an avg";
        check("sum(cpu)", MetricKind::Utilization, of_all);
        let zeros = "takes what is missing for no load: without \"or vector(0)\", nothing is removed then";
        check("(sum(a) or vector(0)) + sum(b)", MetricKind::Total, zeros);
    }
}
