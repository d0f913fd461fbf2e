//! A KEDA `ScaledObject`, `keda.sh/v1alpha1`. KEDA makes an autoscaler of Kubernetes of it, so `behavior` is read as there.

use super::draft::Draft;
use super::source::Node;
use super::trigger::{self, Triggers};
use super::{Error, behavior, formula, hpa, manifest, metric};

/// What KEDA takes where nothing is said.
const MAX: u64 = 100;
const POLLING: u64 = 30;
const FAILURES: u64 = 3;

/// How long metrics may be gone before a fallback, in seconds, as the configuration takes it.
const AFTER: (u64, u64) = (1, 24 * 3600);

/// The configuration that keeps the Auto Scaling group `asg` as the `ScaledObject` in the manifest `text` keeps its pods.
///
/// # Errors
/// When the manifest does not hold exactly one `ScaledObject` that can be read.
pub fn keda(text: &str, asg: &str) -> Result<String, Error> {
    let (source, others) = manifest::only(text, "ScaledObject")?;
    let root = source.root();
    let mut draft = hpa::begun(&root, asg, others, &["keda.sh/v1alpha1"])?;
    let spec = root.get("spec").ok_or_else(|| Error::Field("spec".into(), "a table"))?;
    draft.min = bound(&spec, "minReplicaCount", 0)?;
    draft.max = bound(&spec, "maxReplicaCount", MAX)?;
    annotations(&root, &mut draft);
    behavior::behavior(spec.at(&["advanced", "horizontalPodAutoscalerConfig", "behavior"]).as_ref(), &mut draft);
    metrics(&spec, &mut draft);
    rests(&spec, &mut draft)?;
    fallback(&spec, &mut draft)?;
    for (path, value) in source.unread() {
        draft.remarks.push(format!("No equal here: {path} = {value}."));
    }
    Ok(draft.text())
}

/// The whole number at `key`, or what KEDA takes `otherwise`.
fn bound(node: &Node, key: &str, otherwise: u64) -> Result<u64, Error> {
    let Some(found) = node.get(key) else { return Ok(otherwise) };
    found.whole().ok_or_else(|| Error::Field(found.path().into(), "a whole number"))
}

/// The orders that KEDA takes as annotations.
fn annotations(root: &Node, draft: &mut Draft) {
    const ORDERS: [(&str, &str); 5] = [
        (
            "paused",
            "it was paused. Here it observes; keep mode = \"observe\" or \"paused\" for as long as that is wanted",
        ),
        (
            "paused-replicas",
            "it was held at that number; here min and max with the same number hold it, and `setpoint override` for a while",
        ),
        ("paused-scale-in", "it never removed pods. When this policy is to act, set mode = \"scale-out-only\""),
        ("paused-scale-out", "it never added pods; Setpoint can't be barred from scaling out but by max"),
        ("force-activation", "it never went to 0; with min = 1 neither does this"),
    ];
    let Some(annotations) = root.at(&["metadata", "annotations"]) else { return };
    for (order, meaning) in ORDERS {
        let key = format!("autoscaling.keda.sh/{order}");
        if let Some(value) = annotations.get(&key).and_then(|node| node.text()) {
            draft.remarks.push(format!("{key} = {value:?}: where that holds, {meaning}."));
        }
    }
}

/// The metrics, in whose place a formula of them may stand, and the floor below which none of them has a value.
fn metrics(spec: &Node, draft: &mut Draft) {
    let mut triggers = Triggers::default();
    for one in spec.get("triggers").map(|triggers| triggers.items()).unwrap_or_default() {
        trigger::read(&one, &mut triggers, draft);
    }
    let composed = spec
        .at(&["advanced", "scalingModifiers"])
        .is_some_and(|modifiers| formula::compose(&modifiers, &triggers.queries, draft));
    if !composed {
        triggers.queries.iter().for_each(|query| query.write(draft));
    }
    let from_nothing = draft.metrics.iter().any(|metric| metric.kind == "total");
    triggers.resources.iter().for_each(|resource| resource.write(draft));
    if draft.metrics.is_empty() {
        metric::cpu("80", "the default of Kubernetes, assumed since no metric could be imported", draft);
    }
    if draft.min == 0 && !from_nothing {
        draft.min = 1;
        draft.remarks.push("Assumed: min is 1, since no metric here has a value without instances.".into());
    }
    triggers.windows.into_iter().for_each(|window| window.write(draft));
}

/// How it goes to nothing, and how often it looks.
fn rests(spec: &Node, draft: &mut Draft) -> Result<(), Error> {
    draft.remarks.push(format!(
        "Assumed: one pod on an instance. minReplicaCount and maxReplicaCount (0 and {MAX} where left out) counted pods; min and \
         max count instances."
    ));
    let said = |key: &str, meaning: &str, draft: &mut Draft| {
        if let Some(value) = spec.get(key).and_then(|node| node.text()) {
            draft.remarks.push(format!("spec.{key} = {value}: {meaning}."));
        }
    };
    said(
        "cooldownPeriod",
        "how long the last pods stayed without work, and only they; here stabilization.in holds at every size",
        draft,
    );
    said(
        "initialCooldownPeriod",
        "how long a new one stayed; here nothing is removed before everything is warm",
        draft,
    );
    said("idleReplicaCount", "what ran while no trigger was active; here min is the least, always", draft);
    let polling = bound(spec, "pollingInterval", POLLING)?;
    draft.remarks.push(format!(
        "spec.pollingInterval = {polling}: how often KEDA looked whether to leave 0; Kubernetes looked every 15 s, as interval does."
    ));
    Ok(())
}

/// What ran while a trigger could not be read.
fn fallback(spec: &Node, draft: &mut Draft) -> Result<(), Error> {
    let Some(fallback) = spec.get("fallback") else { return Ok(()) };
    let behavior = fallback.get("behavior").and_then(|node| node.text()).unwrap_or_else(|| "static".into());
    let failures = bound(&fallback, "failureThreshold", FAILURES)?;
    let replicas = bound(&fallback, "replicas", 0)?;
    match &*behavior {
        "static" | "currentReplicasIfHigher" if replicas > 0 => {
            let after = failures.saturating_mul(bound(spec, "pollingInterval", POLLING)?).clamp(AFTER.0, AFTER.1);
            let remark = format!(
                "From spec.fallback ({behavior}, after {failures} failures of a trigger): here once every metric is gone for that \
                 long, and it never removes what runs. While only some are gone the others may add."
            );
            draft.fallback = Some((after, replicas.min(draft.max), remark));
        }
        "static" | "currentReplicas" | "currentReplicasIfHigher" => draft.remarks.push(format!(
            "spec.fallback ({behavior}, {replicas} after {failures} failures): without a fallback here, what runs stays."
        )),
        _ => draft.remarks.push(format!(
            "No equal here: spec.fallback ({behavior}, {replicas} after {failures} failures). What runs stays while metrics are \
             gone; nothing is removed."
        )),
    }
    Ok(())
}
