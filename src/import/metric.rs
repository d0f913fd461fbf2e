//! The metrics of an autoscaler, as queries. Which series hold them is a convention, so each is marked to be verified.

use super::draft::{Draft, DraftMetric, quoted};
use super::quantity;
use super::source::Node;

/// What stands for the target where a ratio becomes a utilization: so low that a hundredfold is still below 1, beyond which
/// no utilization says how much is missing.
const HUNDREDTH: f64 = 0.01;
/// The highest utilization that is taken over: at 100 % nothing would be left to see an overload by.
const HIGHEST: f64 = 90.0;

/// Adds one of `spec.metrics`, or a remark on why it can't be.
pub(super) fn metric(node: &Node, draft: &mut Draft) {
    let kind = node.get("type").and_then(|node| node.text()).unwrap_or_default();
    let part = match &*kind {
        "Resource" => node.get("resource"),
        "ContainerResource" => node.get("containerResource"),
        "Pods" => node.get("pods"),
        "Object" => node.get("object"),
        "External" => node.get("external"),
        _ => None,
    };
    match (&*kind, part) {
        (_, None) => draft.remarks.push(format!("Not imported: {}, of the unknown type {kind}.", node.path())),
        ("Resource" | "ContainerResource", Some(part)) => resource(&part, draft),
        (_, Some(part)) => custom(&part, draft),
    }
}

/// Adds processor utilization with a target in percent, which came from `origin`.
pub(super) fn cpu(percent: &str, origin: &str, draft: &mut Draft) {
    let query = format!("avg(1 - rate(node_cpu_seconds_total{{mode=\"idle\",asg={}}}[1m]))", label(&draft.asg));
    utilization("cpu", percent, query, origin, draft);
}

fn memory(percent: &str, origin: &str, draft: &mut Draft) {
    let asg = label(&draft.asg);
    let query =
        format!("avg(1 - node_memory_MemAvailable_bytes{{asg={asg}}} / node_memory_MemTotal_bytes{{asg={asg}}})");
    utilization("memory", percent, query, origin, draft);
}

fn utilization(name: &str, percent: &str, query: String, origin: &str, draft: &mut Draft) {
    let wanted = quantity::parse(percent).unwrap_or_default();
    let mut remark = format!(
        "From {origin}: {percent} % of what pods request; here of what an instance has. Verify the query: it assumes \
         node_exporter and the label asg."
    );
    if !(1.0..=HIGHEST).contains(&wanted) {
        remark.push_str(" Assumed: 90 %, since that target can't be kept by instances.");
    }
    let target = if (1.0..=HIGHEST).contains(&wanted) { wanted } else { HIGHEST } / 100.0;
    draft.add(DraftMetric { name: name.into(), kind: "utilization", target, query, remark });
}

/// A resource of pods, or of one of their containers.
fn resource(part: &Node, draft: &mut Draft) {
    let name = part.get("name").and_then(|node| node.text()).unwrap_or_default();
    let target = part.get("target");
    let field = |key| target.as_ref().and_then(|target| target.get(key)).and_then(|node| node.text());
    typed(target.as_ref(), &[("Utilization", "averageUtilization"), ("AverageValue", "averageValue")], draft);
    if let Some(container) = part.get("container").and_then(|node| node.text()) {
        let path = part.path();
        draft
            .remarks
            .push(format!("{path}.container = {container}: the whole instance is measured, not one container."));
    }
    let (percent, each) = (field("averageUtilization"), field("averageValue"));
    of_instances(&name, percent.as_deref(), each.as_deref(), part.path(), draft);
}

/// Adds the resource `name` with its target as a share in percent or as an amount for `each`.
pub(super) fn of_instances(name: &str, percent: Option<&str>, each: Option<&str>, origin: &str, draft: &mut Draft) {
    let asg = label(&draft.asg);
    match (name, percent, each) {
        ("cpu", Some(percent), _) => cpu(percent, origin, draft),
        ("memory", Some(percent), _) => memory(percent, origin, draft),
        ("cpu", None, Some(cores)) => {
            let query = format!("sum(rate(node_cpu_seconds_total{{mode!=\"idle\",asg={asg}}}[1m]))");
            total(name, cores, query, origin, draft);
        }
        ("memory", None, Some(bytes)) => {
            let query =
                format!("sum(node_memory_MemTotal_bytes{{asg={asg}}} - node_memory_MemAvailable_bytes{{asg={asg}}})");
            total(name, bytes, query, origin, draft);
        }
        (_, percent, value) => {
            let target = percent.or(value).unwrap_or_default();
            draft.remarks.push(format!("Not imported: {origin} {name} with the target {target}: no query is known."));
        }
    }
}

pub(super) fn total(name: &str, target: &str, query: String, origin: &str, draft: &mut Draft) {
    let Some(each) = quantity::parse(target).filter(|each| *each > 0.0) else {
        draft.remarks.push(format!("Not imported: {origin}: {target} is not a quantity above 0."));
        return;
    };
    let remark = format!("From {origin}: {target} for each pod; here for each instance. Verify the query.");
    draft.add(DraftMetric { name: name.into(), kind: "total", target: each, query, remark });
}

/// A metric of pods, of an object or of something outside.
fn custom(part: &Node, draft: &mut Draft) {
    let Some(name) = part.at(&["metric", "name"]).and_then(|node| node.text()) else {
        draft.remarks.push(format!("Not imported: {}, which has no metric.name.", part.path()));
        return;
    };
    let mut matchers = selector(part, draft);
    for key in ["kind", "name", "apiVersion"] {
        if let Some(said) = part.at(&["describedObject", key]).and_then(|node| node.text()) {
            let path = part.path();
            draft
                .remarks
                .push(format!("{path}.describedObject.{key} = {said}: narrow the query to it where its labels allow."));
        }
    }
    matchers.insert(0, format!("__name__={}", label(&name)));
    let query = format!("sum({{{}}})", matchers.join(","));
    let field = |key| part.at(&["target", key]).and_then(|node| node.text());
    typed(part.get("target").as_ref(), &[("Value", "value"), ("AverageValue", "averageValue")], draft);
    match (field("averageValue"), field("value")) {
        (Some(each), _) => total(&name, &each, query, part.path(), draft),
        (None, Some(value)) => ratio(&name, &value, &query, part.path(), draft),
        (None, None) => draft.remarks.push(format!("Not imported: {}, whose target has no value.", part.path())),
    }
}

/// A value that is kept whatever the number of pods: its ratio to the target scales the fleet, as a utilization does.
pub(super) fn ratio(name: &str, target: &str, query: &str, origin: &str, draft: &mut Draft) {
    let Some(value) = quantity::parse(target).filter(|value| *value > 0.0) else {
        draft.remarks.push(format!("Not imported: {origin}: {target} is not a quantity above 0."));
        return;
    };
    let remark = format!(
        "From {origin}: the value {target} as a whole, not for each instance. The query is scaled so that {HUNDREDTH} stands for it. \
         Verify the query: it must fall as instances are added, as a mean does. What belongs to the whole fleet (a queue, all \
         requests) would climb to max: for that use the query as it was, kind = \"total\", and one instance's share as the target."
    );
    let query = format!("{HUNDREDTH:?} * {query} / {value:?}");
    draft.add(DraftMetric { name: name.into(), kind: "utilization", target: HUNDREDTH, query, remark });
}

/// Holds the type of a `target`, which says what it means, against the one value that must be there.
fn typed(target: Option<&Node>, kinds: &[(&str, &str)], draft: &mut Draft) {
    let Some(target) = target else { return };
    let said = target.get("type").and_then(|node| node.text()).unwrap_or_default();
    let names = target.fields().into_iter().map(|(key, _)| key).filter(|key| *key != "type").collect::<Vec<_>>();
    if !kinds.iter().any(|(kind, value)| *kind == said && names == [*value]) {
        let expected = kinds.iter().map(|(kind, value)| format!("{kind} with {value} alone"));
        let found = format!("{said} with {}", names.join(", "));
        draft.refused(&format!("{}.type", target.path()), &found, &expected.collect::<Vec<_>>().join(" or "));
    }
}

/// The selector of a metric as matchers of PromQL.
fn selector(part: &Node, draft: &mut Draft) -> Vec<String> {
    let labels = part.at(&["metric", "selector", "matchLabels"]).map(|labels| labels.fields()).unwrap_or_default();
    let labels =
        labels.iter().filter_map(|(key, node)| Some(format!("{}={}", key_of(key, draft), label(&node.text()?))));
    let mut matchers: Vec<String> = labels.collect();
    let wanted = part.at(&["metric", "selector", "matchExpressions"]).map(|all| all.items()).unwrap_or_default();
    for expression in wanted {
        let said = |key| expression.get(key).and_then(|node| node.text()).unwrap_or_default();
        let (key, operator) = (key_of(&said("key"), draft), said("operator"));
        let values = expression.get("values").map(|values| values.items()).unwrap_or_default();
        let values: Vec<String> = values.iter().filter_map(Node::text).map(|value| escaped(&value)).collect();
        let values = label(&values.join("|"));
        match &*operator {
            "In" => matchers.push(format!("{key}=~{values}")),
            "NotIn" => matchers.push(format!("{key}!~{values}")),
            "Exists" => matchers.push(format!("{key}!=\"\"")),
            "DoesNotExist" => matchers.push(format!("{key}=\"\"")),
            _ => draft.remarks.push(format!("No equal here: {} {operator} {key} {values}.", expression.path())),
        }
    }
    matchers
}

/// `key` as the name of a label in Prometheus.
fn key_of(key: &str, draft: &mut Draft) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    let mut name: String = key.chars().map(plain).collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    if name != key {
        draft.remarks.push(format!("The label {} is taken to be {name} in Prometheus.", quoted(key)));
    }
    name
}

/// `value` so that a regular expression means it literally.
fn escaped(value: &str) -> String {
    value
        .chars()
        .flat_map(|c| (!c.is_alphanumeric() && c.is_ascii() && c != '_').then_some('\\').into_iter().chain([c]))
        .collect()
}

/// `value` as a text of PromQL.
pub(super) fn label(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
