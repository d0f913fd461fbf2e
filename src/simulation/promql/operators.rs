//! The operators that the embedded world knows: arithmetic, comparisons and sets, one to one.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality, token};

use super::{Element, QueryError, Value, grouped, unnamed, unsupported};
use crate::simulation::history::Labels;

pub(super) fn negate(value: Value, now: i64) -> Result<Value, QueryError> {
    match value {
        Value::Scalar(value) => Ok(Value::Scalar(-value)),
        Value::Vector(elements) => {
            let negated = |e: Element| Element { labels: unnamed(e.labels), value: -e.value, at: now };
            Ok(Value::Vector(elements.into_iter().map(negated).collect()))
        }
        Value::Text(_) | Value::Matrix(_) => Err(unsupported("the negative of anything but a number or a vector")),
    }
}

/// What an operator makes of two numbers.
#[derive(Clone, Copy)]
enum Operator {
    Arithmetic(fn(f64, f64) -> f64),
    /// Keeps the left number where it holds.
    Filter(fn(f64, f64) -> bool),
    /// 1 where it holds, else 0.
    Holds(fn(f64, f64) -> bool),
}

impl Operator {
    fn of(expression: &BinaryExpr) -> Result<Self, QueryError> {
        let arithmetic: fn(f64, f64) -> f64 = match expression.op.id() {
            token::T_ADD => |a, b| a + b,
            token::T_SUB => |a, b| a - b,
            token::T_MUL => |a, b| a * b,
            token::T_DIV => |a, b| a / b,
            token::T_MOD => |a, b| a % b,
            token::T_POW => f64::powf,
            _ => return Self::comparison(expression),
        };
        Ok(Self::Arithmetic(arithmetic))
    }

    #[expect(clippy::float_cmp, reason = "this is what == means in PromQL")]
    fn comparison(expression: &BinaryExpr) -> Result<Self, QueryError> {
        let holds: fn(f64, f64) -> bool = match expression.op.id() {
            token::T_EQLC => |a, b| a == b,
            token::T_NEQ => |a, b| a != b,
            token::T_LSS => |a, b| a < b,
            token::T_LTE => |a, b| a <= b,
            token::T_GTR => |a, b| a > b,
            token::T_GTE => |a, b| a >= b,
            _ => return Err(unsupported(format!("the operator {}", expression.op))),
        };
        Ok(if expression.return_bool() { Self::Holds(holds) } else { Self::Filter(holds) })
    }

    /// The number of `left` and `right`; `None` where it is filtered away. A filter keeps `kept`.
    fn apply(self, left: f64, right: f64, kept: f64) -> Option<f64> {
        match self {
            Self::Arithmetic(of) => Some(of(left, right)),
            Self::Filter(holds) => holds(left, right).then_some(kept),
            Self::Holds(holds) => Some(f64::from(u8::from(holds(left, right)))),
        }
    }

    fn labels(self, labels: &Labels) -> Labels {
        if let Self::Filter(_) = self { labels.clone() } else { unnamed(labels.clone()) }
    }
}

pub(super) fn binary(expression: &BinaryExpr, left: Value, right: Value, now: i64) -> Result<Value, QueryError> {
    let modifier = expression.modifier.as_ref();
    if let (true, Value::Vector(left), Value::Vector(right)) = (expression.op.is_set_operator(), &left, &right) {
        return Ok(Value::Vector(sets(expression.op.id(), modifier, left, right)));
    }
    let operator = Operator::of(expression)?;
    let of_each = |elements: Vec<Element>, of: &dyn Fn(f64) -> Option<f64>| {
        let computed =
            |e: &Element| of(e.value).map(|value| Element { labels: operator.labels(&e.labels), value, at: now });
        Value::Vector(elements.iter().filter_map(computed).collect())
    };
    match (left, right) {
        (Value::Scalar(a), Value::Scalar(b)) => Ok(Value::Scalar(operator.apply(a, b, a).unwrap_or(f64::NAN))),
        (Value::Vector(elements), Value::Scalar(b)) => Ok(of_each(elements, &|a| operator.apply(a, b, a))),
        (Value::Scalar(a), Value::Vector(elements)) => Ok(of_each(elements, &|b| operator.apply(a, b, b))),
        (Value::Vector(left), Value::Vector(right)) => pairs(operator, modifier, &left, &right, now).map(Value::Vector),
        _ => Err(unsupported("operators between texts or windows")),
    }
}

/// The labels by which elements of two vectors are the same.
fn signature(labels: &Labels, modifier: Option<&BinModifier>) -> Labels {
    match modifier.and_then(|modifier| modifier.matching.as_ref()) {
        None => unnamed(labels.clone()),
        Some(on @ LabelModifier::Include(_)) => grouped(labels, Some(on)),
        Some(ignoring @ LabelModifier::Exclude(_)) => grouped(labels, Some(ignoring)),
    }
}

fn sets(operator: token::TokenId, modifier: Option<&BinModifier>, left: &[Element], right: &[Element]) -> Vec<Element> {
    let of = |elements: &[Element]| -> BTreeSet<Labels> {
        elements.iter().map(|element| signature(&element.labels, modifier)).collect()
    };
    let (lefts, rights) = (of(left), of(right));
    let chosen = |elements: &[Element], choose: &dyn Fn(&Labels) -> bool| -> Vec<Element> {
        elements.iter().filter(|element| choose(&signature(&element.labels, modifier))).cloned().collect()
    };
    match operator {
        token::T_LAND => chosen(left, &|labels| rights.contains(labels)),
        token::T_LUNLESS => chosen(left, &|labels| !rights.contains(labels)),
        _ => [left.to_vec(), chosen(right, &|labels| !lefts.contains(labels))].concat(),
    }
}

fn pairs(
    operator: Operator,
    modifier: Option<&BinModifier>,
    left: &[Element],
    right: &[Element],
    now: i64,
) -> Result<Vec<Element>, QueryError> {
    if modifier.is_some_and(|modifier| modifier.card != VectorMatchCardinality::OneToOne) {
        return Err(unsupported("group_left and group_right"));
    }
    let by_signature = |elements: &[Element]| -> Result<BTreeMap<Labels, Element>, QueryError> {
        let mut found = BTreeMap::new();
        for element in elements {
            if found.insert(signature(&element.labels, modifier), element.clone()).is_some() {
                return Err(QueryError::Execution(
                    "found duplicate series for the match group; many-to-many matching not allowed: matching labels \
                     must be unique on one side"
                        .to_owned(),
                ));
            }
        }
        Ok(found)
    };
    let rights = by_signature(right)?;
    let mut result = vec![];
    for (labels, one) in by_signature(left)? {
        let Some(other) = rights.get(&labels) else { continue };
        let labels = if let Operator::Filter(_) = operator { one.labels.clone() } else { labels };
        let value = operator.apply(one.value, other.value, one.value);
        result.extend(value.map(|value| Element { labels, value, at: now }));
    }
    Ok(result)
}
