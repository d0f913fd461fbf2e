//! `scalingModifiers` of KEDA: one number made of several triggers. Plain arithmetic on queries is PromQL as well.

use super::draft::Draft;
use super::source::Node;
use super::trigger::{self, Query};

/// Adds the one metric that the formula in `modifiers` makes of the `queries`; `false`, with a remark, where it can't.
pub(super) fn compose(modifiers: &Node, queries: &[Query], draft: &mut Draft) -> bool {
    let text = |key| modifiers.get(key).and_then(|node| node.text());
    let Some(formula) = text("formula") else { return false };
    let target = text("target").unwrap_or_default();
    let origin = format!("{}.formula ({formula})", modifiers.path());
    let whole = text("metricType").is_some_and(|kind| kind == "Value");
    if let Some(activation) = text("activationTarget") {
        draft.remarks.push(format!("{}.activationTarget = {activation}: for leaving 0 only.", modifiers.path()));
    }
    match promql(&formula, queries) {
        Some(query) if whole => super::metric::ratio("formula", &target, &format!("({query})"), &origin, draft),
        Some(query) => trigger::total("formula", &target, query, &origin, draft),
        None => {
            draft.remarks.push(format!(
                "No equal here: {origin} at {target}: it is more than arithmetic on queries. Each of them stands for itself, and \
                 the highest counts; their thresholds may never have been meant for that."
            ));
            return false;
        }
    }
    for query in queries {
        draft
            .remarks
            .push(format!("The threshold {} of {} had no effect beside the formula.", query.threshold, query.name));
    }
    true
}

/// `formula` with each name of a query replaced by it; `None` where it holds anything but those, numbers and arithmetic.
fn promql(formula: &str, queries: &[Query]) -> Option<String> {
    let mut made = String::new();
    let mut rest = formula.trim();
    while let Some(first) = rest.chars().next() {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let end = rest.find(|c| !part_of_word(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, after) = rest.split_at(end);
        if let Some(query) = queries.iter().find(|query| query.name == word) {
            // One series each, or KEDA refuses it: the sum only takes the labels away, which would not match.
            made.extend(["sum(", &query.promql, ")"]);
        } else if word.parse::<f64>().is_ok_and(f64::is_finite)
            || matches!(word, "+" | "-" | "*" | "/" | "(" | ")" | " ")
        {
            made.push_str(word);
        } else {
            return None;
        }
        rest = after;
    }
    // `**` is a power in KEDA and an error in PromQL.
    (!made.contains("**")).then_some(made)
}
