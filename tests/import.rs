//! What is imported passes `setpoint check`, only observes, and drops nothing in silence.

use serde_json::Value;
use setpoint::config;
use setpoint::import;
use setpoint::policy::Mode;

const WEB: &str = include_str!("manifests/web.yaml");
const OLD: &str = include_str!("manifests/old.yaml");
const FROZEN: &str = include_str!("manifests/frozen.yaml");
const ORDERS: &str = include_str!("manifests/orders.yaml");
const COMPOSED: &str = include_str!("manifests/composed.yaml");
const NIGHTLY: &str = include_str!("manifests/nightly.yaml");

/// Every manifest with its bounds, metrics and windows.
const ALL: [(&str, (u32, u32), usize, usize); 6] = [
    (WEB, (3, 40), 6, 0),
    (OLD, (1, 12), 1, 0),
    (FROZEN, (1, 5), 1, 0),
    (ORDERS, (2, 30), 4, 2),
    (COMPOSED, (0, 100), 1, 0),
    (NIGHTLY, (1, 8), 1, 1),
];

fn imported(manifest: &str) -> String {
    let read = if manifest.contains("ScaledObject") { import::keda } else { import::hpa };
    read(manifest, "web-prod").expect("an autoscaler that can be imported")
}

#[test]
fn what_is_imported_passes_the_check_and_only_observes() {
    for (manifest, bounds, metrics, windows) in ALL {
        let text = imported(manifest);
        let config = config::parse("t.toml", &text, []).unwrap_or_else(|findings| panic!("{findings}\n{text}"));
        let policy = &config.policies[0];
        assert_eq!(policy.mode, Mode::Observe);
        assert_eq!((policy.min.get(), policy.max.get()), bounds, "{text}");
        assert_eq!((policy.metrics.len(), policy.schedules.len()), (metrics, windows), "{text}");
        assert_eq!(&*policy.asg, "web-prod");
    }
}

/// Kubernetes' own words, which the configuration says in its own.
const SAID_OTHERWISE: [(&str, &str); 17] = [
    ("orders.slow", r"orders\\.slow"),
    ("Percent", "percent = "),
    ("Utilization", "utilization"),
    ("AverageValue", "total"),
    ("Value", "as a whole"),
    ("Resource", "spec.metrics[0].resource"),
    ("ContainerResource", "spec.metrics[2].containerResource"),
    ("Pods", "spec.metrics[3].pods"),
    ("Object", "spec.metrics[4].object"),
    ("External", "spec.metrics[5].external"),
    ("Max", "percent = 100, count = 5"),
    ("65", "0.65"),
    ("70", "target = 0.7"),
    ("50m", "0.05"),
    ("In", "=~"),
    ("DoesNotExist", "canary=\"\""),
    ("app.kubernetes.io/name", "app_kubernetes_io_name"),
];

#[test]
fn no_field_is_dropped_in_silence() {
    for (manifest, ..) in ALL {
        let text = imported(manifest);
        let documents: Vec<Value> = serde_saphyr::from_multiple(manifest).expect("YAML");
        for (path, value) in documents.iter().flat_map(|document| leaves("", document)) {
            let words = SAID_OTHERWISE.iter().filter(|(word, _)| *word == value).map(|(_, own)| *own);
            let said = words.chain([value.as_str(), path.as_str()]).any(|word| text.contains(word.trim()));
            let set_aside = path.starts_with("status.") && text.contains("Left out: status");
            // Another document is named by its kind.
            let elsewhere = value == "v1" || value == "web";
            let escaped = |line: &str| line.replace('\\', "\\\\").replace('"', "\\\"");
            let lines = value.lines().all(|line| text.contains(&escaped(line)));
            assert!(
                said || set_aside || elsewhere || lines,
                "{path} = {value} is neither used nor mentioned in\n{text}"
            );
        }
    }
}

fn leaves(path: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(key, value)| leaves(&format!("{path}.{key}"), value)).collect()
        }
        Value::Array(items) => items.iter().flat_map(|value| leaves(path, value)).collect(),
        Value::String(text) => vec![(path.trim_start_matches('.').into(), text.clone())],
        other => vec![(path.trim_start_matches('.').into(), other.to_string())],
    }
}

#[test]
fn a_field_that_nobody_knows_is_named() {
    let text = imported(&OLD.replace("  minReplicas: 0", "  minReplicas: 2\n  novelty: { depth: [1, deep] }"));
    assert!(text.contains("# - No equal here: spec.novelty.depth[0] = 1.\n"), "{text}");
    assert!(text.contains("# - No equal here: spec.novelty.depth[1] = \"deep\".\n"), "{text}");
}

#[test]
fn a_manifest_without_exactly_one_autoscaler_says_what_it_holds() {
    let check = |manifest: &str, expected: &str| {
        let error = import::hpa(manifest, "web").expect_err(manifest).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("kind: Service\n---\nkind: Deployment\n", "document 1 is Service, document 2 is Deployment");
    check("a: 1\n", "document 1 is without a kind");
    check("", "holds no HorizontalPodAutoscaler: nothing");
    check(&format!("{OLD}---\n{FROZEN}"), "holds 2 objects");
    check("a: [", "is no YAML");
    check(&OLD.replace("/v1", "/v3"), "apiVersion is \"autoscaling/v3\"");
    check(&OLD.replace("maxReplicas: 12", "maxReplicas: many"), "spec.maxReplicas is missing or wrong");
    check(&OLD.replace("minReplicas: 0", "minReplicas: -1"), "spec.minReplicas is missing or wrong");
}

#[test]
fn a_list_as_kubectl_prints_it_is_read() {
    let items: Vec<Value> = serde_saphyr::from_multiple(OLD).expect("YAML");
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
    assert_eq!(imported(&list), imported(OLD));
}

/// The whole text: whoever changes what is printed sees it here.
#[test]
fn the_text_is_as_in_the_snapshots() {
    for (manifest, snapshot) in [
        (WEB, include_str!("manifests/web.toml")),
        (OLD, include_str!("manifests/old.toml")),
        (FROZEN, include_str!("manifests/frozen.toml")),
        (ORDERS, include_str!("manifests/orders.toml")),
        (COMPOSED, include_str!("manifests/composed.toml")),
        (NIGHTLY, include_str!("manifests/nightly.toml")),
    ] {
        let text = imported(manifest);
        assert!(text == snapshot, "{text}");
    }
}

#[test]
fn a_scaled_object_that_cannot_be_read_says_what_is_wrong() {
    let check = |manifest: &str, expected: &str| {
        let error = import::keda(manifest, "web").expect_err(manifest).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(OLD, "holds no ScaledObject: document 1 is HorizontalPodAutoscaler");
    check(&NIGHTLY.replace("v1alpha1", "v2"), "apiVersion is \"keda.sh/v2\", expected \"keda.sh/v1alpha1\"");
    check(&NIGHTLY.replace("Count: 8", "Count: many"), "spec.maxReplicaCount is missing or wrong");
    check(&ORDERS.replace("replicas: 6", "replicas: few"), "spec.fallback.replicas is missing or wrong");
    check(&ORDERS.replace("pollingInterval: 20", "pollingInterval: -1"), "spec.pollingInterval is missing or wrong");
}

#[test]
fn arithmetic_on_triggers_becomes_one_query_and_anything_else_leaves_them_apart() {
    let check = |formula: &str, metrics: usize, expected: &str| {
        let text = imported(&COMPOSED.replace("(ready + 2 * failed) / 3", formula));
        let config = config::parse("t.toml", &text, []).unwrap_or_else(|findings| panic!("{findings}\n{text}"));
        assert_eq!(config.policies[0].metrics.len(), metrics, "{text}");
        assert!(text.contains(expected), "{expected} in\n{text}");
    };
    check("ready - failed", 1, "query = \"sum(sum(ready_jobs)) - sum(sum(failed_jobs))\"");
    check("'max([ready, failed])'", 2, "No equal here: spec.advanced.scalingModifiers.formula");
    check("ready + unknown", 2, "more than arithmetic");
    check("ready ** 2", 2, "more than arithmetic");
}

#[test]
fn without_a_query_there_is_no_way_back_from_nothing() {
    let policy = |manifest: &str| config::parse("t.toml", &imported(manifest), []).expect("valid").policies.remove(0);
    assert_eq!(policy(COMPOSED).min.get(), 0);
    assert_eq!(policy(NIGHTLY).min.get(), 1);
    let fallback = policy(ORDERS).fallback.expect("a fallback");
    assert_eq!((fallback.after.as_secs(), fallback.capacity.get()), (80, 6));
    let windows: Vec<u32> = policy(ORDERS).schedules.iter().filter_map(|window| Some(window.min?.get())).collect();
    assert_eq!(windows, [10, 4]);
}

/// What Kubernetes would not take may have been meant otherwise.
#[test]
fn what_kubernetes_would_refuse_is_remarked_upon() {
    let check = |from: &str, to: &str, expected: &str| {
        let changed = WEB.replacen(from, to, 1);
        assert_ne!(changed, WEB, "{from}");
        let text = imported(&changed);
        assert!(text.contains(&format!("# - Kubernetes would refuse {expected}")), "{expected} in\n{text}");
        config::parse("t.toml", &text, []).unwrap_or_else(|findings| panic!("{findings}\n{text}"));
    };
    let up = "spec.behavior.scaleUp";
    check(
        "WindowSeconds: 30",
        "WindowSeconds: 4000",
        &format!("{up}.stabilizationWindowSeconds = 4000, expected a whole"),
    );
    check("WindowSeconds: 30", "WindowSeconds: soon", &format!("{up}.stabilizationWindowSeconds = \"soon\""));
    check("selectPolicy: Max", "selectPolicy: Most", &format!("{up}.selectPolicy = \"Most\", expected Max, Min"));
    check("periodSeconds: 60", "periodSeconds: 0", &format!("{up}.policies[0].periodSeconds = 0"));
    check("value: 5,", "value: -5,", &format!("{up}.policies[1].value = -5"));
    let first = "spec.metrics[0].resource.target.type";
    check("type: Utilization", "type: AverageValue", &format!("{first} = AverageValue with averageUtilization"));
    check("type: Utilization,", "", &format!("{first} =  with averageUtilization"));
    check("type: Utilization", "averageValue: 1, type: Utilization", &format!("{first} = Utilization with average"));
    check("name: web }", "nome: web }", "spec.scaleTargetRef.name");
    let nameless = WEB.replace("name: web.shop", "nome: web.shop");
    let error = import::hpa(&nameless, "web-prod").expect_err("no name").to_string();
    assert!(error.contains("metadata.name is missing"), "{error}");
}

#[test]
fn a_comment_at_the_end_of_a_query_swallows_nothing() {
    let manifest = COMPOSED.replace("query: sum(ready_jobs)", "query: 'sum(ready_jobs) # those that wait'");
    assert_ne!(manifest, COMPOSED);
    let text = imported(&manifest);
    let config = config::parse("t.toml", &text, []).unwrap_or_else(|findings| panic!("{findings}\n{text}"));
    let setpoint::policy::Source::Prometheus { query, .. } = &config.policies[0].metrics[0].source else {
        panic!("{text}")
    };
    let parsed = promql_parser::parser::parse(query).unwrap_or_else(|why| panic!("{why}: {query}"));
    assert!(parsed.to_string().contains("failed_jobs"), "{parsed}");
}
