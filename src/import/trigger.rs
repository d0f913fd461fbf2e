//! The triggers of a `ScaledObject`: queries, resources of the instances, and windows of time.

use super::draft::{Draft, DraftMetric};
use super::metric;
use super::quantity;
use super::source::Node;
use super::window::Window;

/// What the triggers say, before it is known which of them a formula replaces.
#[derive(Default)]
pub(super) struct Triggers {
    pub(super) queries: Vec<Query>,
    pub(super) resources: Vec<Resource>,
    pub(super) windows: Vec<Window>,
}

/// A trigger of the type `prometheus`.
pub(super) struct Query {
    /// As formulas call it.
    pub(super) name: String,
    pub(super) promql: String,
    pub(super) threshold: String,
    /// The threshold is for the whole and not for each pod.
    whole: bool,
    origin: String,
}

/// A trigger of the type `cpu` or `memory`.
pub(super) struct Resource {
    name: String,
    value: String,
    percent: bool,
    origin: String,
}

/// Adds one of `spec.triggers`, or a remark on why it can't be.
pub(super) fn read(node: &Node, triggers: &mut Triggers, draft: &mut Draft) {
    let text = |keys: &[&str]| node.at(keys).and_then(|node| node.text());
    let kind = text(&["type"]).unwrap_or_default();
    let origin = format!("{} ({kind})", node.path());
    if let Some(auth) = text(&["authenticationRef", "name"]) {
        draft.remarks.push(format!(
            "{origin}: authenticationRef = {auth}: give [prometheus] its credentials: bearer_token_file, basic_auth, ca_file or \
             sigv4."
        ));
    }
    match &*kind {
        "prometheus" => triggers.queries.extend(query(node, origin, draft)),
        "cpu" | "memory" => triggers.resources.extend(resource(node, kind, origin, draft)),
        "cron" => triggers.windows.extend(Window::read(node, &origin, draft)),
        _ => draft.remarks.push(format!(
            "Not imported: {origin}: no query is known. Where an exporter says the same to Prometheus, write a metric of kind \
             \"total\" with the share of one instance as the target."
        )),
    }
}

fn query(node: &Node, origin: String, draft: &mut Draft) -> Option<Query> {
    let of = |key| node.at(&["metadata", key]).and_then(|node| node.text());
    let (Some(query), Some(threshold)) = (of("query"), of("threshold")) else {
        draft
            .remarks
            .push(format!("Not imported: {origin}, whose metadata lacks query or threshold, which KEDA needs."));
        return None;
    };
    if let Some(url) = of("serverAddress") {
        let taken = draft.prometheus.get_or_insert_with(|| url.clone());
        if *taken != url {
            let remark =
                format!("{origin} asks another server, {url}. Here all metrics come from one, [prometheus] url.");
            draft.remarks.push(remark);
        }
    }
    if let Some(activation) = of("activationThreshold") {
        draft.remarks.push(format!(
            "{origin}: activationThreshold = {activation}: up to that a load counted as none, for leaving 0 only. With min = 0, \
             write (query) * ((query) > bool {activation}); with a higher min it has no effect."
        ));
    }
    let nothing = match of("ignoreNullValues").as_deref() {
        Some("false") => "ignoreNullValues = false: as here, an empty answer was none and removed nothing.",
        _ => {
            "KEDA took an empty answer for 0 (ignoreNullValues). Here it is no answer, and bars scale-in. Where empty means \
             that there is no work, add `or vector(0)` to that part of the query, beside one that is always there."
        }
    };
    draft.remarks.push(format!("{origin}: {nothing}"));
    let name = node.get("name").and_then(|node| node.text()).unwrap_or_default();
    // A comment at its end would swallow what is put around it.
    let end = if query.contains('#') { "\n" } else { "" };
    Some(Query {
        name,
        promql: format!("{}{end}", query.trim()),
        threshold,
        whole: whole(node, &origin, draft),
        origin,
    })
}

/// Whether the threshold of a trigger is for the whole and not for each pod.
fn whole(node: &Node, origin: &str, draft: &mut Draft) -> bool {
    let kind = node.get("metricType").and_then(|node| node.text()).unwrap_or_else(|| "AverageValue".into());
    if !matches!(&*kind, "AverageValue" | "Value") {
        draft.refused(&format!("{origin}.metricType"), &format!("{kind:?}"), "\"AverageValue\" or \"Value\"");
    }
    kind == "Value"
}

fn resource(node: &Node, name: String, origin: String, draft: &mut Draft) -> Option<Resource> {
    let of = |key| node.at(&["metadata", key]).and_then(|node| node.text());
    if let Some(container) = of("containerName") {
        let remark =
            format!("{origin}: containerName = {container}: the whole instance is measured, not one container.");
        draft.remarks.push(remark);
    }
    // The older place is within metadata.
    let kind = node.get("metricType").and_then(|node| node.text()).or(of("type")).unwrap_or_default();
    let value = of("value").unwrap_or_default();
    if !matches!(&*kind, "Utilization" | "AverageValue") || value.is_empty() {
        draft.remarks.push(format!(
            "Not imported: {origin} with the value {value:?} and the metricType {kind:?}, expected both, the type \"Utilization\" or \
             \"AverageValue\"; KEDA would refuse it."
        ));
        return None;
    }
    Some(Resource { name, value, percent: kind == "Utilization", origin })
}

impl Query {
    pub(super) fn write(&self, draft: &mut Draft) {
        let name = if self.name.is_empty() { "prometheus" } else { &self.name };
        if self.whole {
            return metric::ratio(name, &self.threshold, &format!("({})", self.promql), &self.origin, draft);
        }
        total(name, &self.threshold, self.promql.clone(), &self.origin, draft);
    }
}

/// Adds a sum over the fleet, of which each pod was to carry `threshold`.
pub(super) fn total(name: &str, threshold: &str, query: String, origin: &str, draft: &mut Draft) {
    let Some(target) = quantity::parse(threshold).filter(|each| each.is_normal() && *each > 0.0) else {
        draft.remarks.push(format!("Not imported: {origin}: the threshold {threshold} is no number above 0."));
        return;
    };
    let remark = format!("From {origin}: {threshold} for each pod; here for each instance. Verify the query.");
    draft.add(DraftMetric { name: name.into(), kind: "total", target, query, remark });
}

impl Resource {
    pub(super) fn write(&self, draft: &mut Draft) {
        let (percent, each) = if self.percent { (Some(&*self.value), None) } else { (None, Some(&*self.value)) };
        metric::of_instances(&self.name, percent, each, &self.origin, draft);
    }
}
