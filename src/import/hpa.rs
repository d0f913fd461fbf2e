//! A Kubernetes `HorizontalPodAutoscaler`, `autoscaling/v1` and `v2`.

use super::Error;
use super::behavior;
use super::draft::{self, Draft};
use super::manifest;
use super::metric;
use super::source::Node;

/// The configuration that keeps the Auto Scaling group `asg` as the autoscaler in the manifest `text` keeps its pods.
///
/// # Errors
/// When the manifest does not hold exactly one autoscaler that can be read.
pub fn hpa(text: &str, asg: &str) -> Result<String, Error> {
    let (source, others) = manifest::only(text, "HorizontalPodAutoscaler")?;
    let root = source.root();
    let mut draft = begun(&root, asg, others, &["autoscaling/v1", "autoscaling/v2"])?;
    bounds(&root, &mut draft)?;
    let spec = root.get("spec").ok_or_else(|| Error::Field("spec".into(), "a table"))?;
    behavior::behavior(spec.get("behavior").as_ref(), &mut draft);
    metrics(&spec, &mut draft);
    for (path, value) in source.unread() {
        draft.remarks.push(format!("No equal here: {path} = {value}."));
    }
    Ok(draft.text())
}

/// A draft for the object at `root`, whose version must be among `versions`.
pub(super) fn begun(root: &Node, asg: &str, others: Vec<String>, versions: &[&str]) -> Result<Draft, Error> {
    let version = root.get("apiVersion").and_then(|node| node.text()).unwrap_or_default();
    if !versions.contains(&&*version) {
        let expected: Vec<String> = versions.iter().map(|known| format!("{known:?}")).collect();
        return Err(Error::Version(version, expected.join(" or ")));
    }
    let kind = root.get("kind").and_then(|node| node.text()).unwrap_or_default();
    let name = root.at(&["metadata", "name"]).and_then(|node| node.text()).unwrap_or_default();
    if name.is_empty() {
        return Err(Error::Field("metadata.name".into(), "the name of the object"));
    }
    let mut draft =
        Draft { name: draft::name(&name, "imported"), asg: asg.into(), remarks: others, ..Draft::default() };
    draft.origin = format!("the {kind} {name} ({version})");
    set_aside(root, &mut draft);
    Ok(draft)
}

/// What is read in order to say that it is not.
fn set_aside(root: &Node, draft: &mut Draft) {
    if let Some(status) = root.get("status") {
        status.mark();
        draft.remarks.push("Left out: status, which is what the cluster saw.".into());
    }
    let owner = root.at(&["spec", "scaleTargetRef"]);
    let part = |key| owner.as_ref().and_then(|owner| owner.get(key)).and_then(|node| node.text()).unwrap_or_default();
    let (kind, name) = (part("kind"), part("name"));
    let kind = if kind.is_empty() { "workload".into() } else { kind };
    if name.is_empty() {
        draft.refused("spec.scaleTargetRef.name", "\"\"", "the name of what is scaled");
    }
    draft
        .remarks
        .push(format!("spec.scaleTargetRef: it scaled the {kind} {name}; here the instances of {} are.", draft.asg));
}

fn bounds(root: &Node, draft: &mut Draft) -> Result<(), Error> {
    let bound = |key| root.at(&["spec", key]);
    let max = bound("maxReplicas").and_then(|node| node.whole());
    draft.max = max.ok_or_else(|| Error::Field("spec.maxReplicas".into(), "a whole number"))?;
    let pods =
        "Assumed: one pod on an instance. minReplicas and maxReplicas counted pods; min and max count instances.";
    draft.remarks.push(pods.into());
    let left_out = "Assumed: spec.minReplicas is left out, which is 1.";
    let zero = "Assumed: min is 1, since spec.minReplicas = 0 needs metrics that are there without instances.";
    match bound("minReplicas").map(|node| (node.whole(), node)) {
        None => draft.remarks.push(left_out.into()),
        Some((Some(0), _)) => draft.remarks.push(zero.into()),
        Some((Some(min), _)) => draft.min = min,
        Some((None, node)) => return Err(Error::Field(node.path().into(), "a whole number")),
    }
    draft.min = draft.min.max(1);
    Ok(())
}

fn metrics(spec: &Node, draft: &mut Draft) {
    let listed = spec.get("metrics").map(|metrics| metrics.items()).unwrap_or_default();
    for one in &listed {
        metric::metric(one, draft);
    }
    if let Some(share) = spec.get("targetCPUUtilizationPercentage").and_then(|node| node.text()) {
        metric::cpu(&share, "spec.targetCPUUtilizationPercentage", draft);
    }
    if draft.metrics.is_empty() {
        metric::cpu("80", "the default of Kubernetes, assumed since no metric could be imported", draft);
    }
}
