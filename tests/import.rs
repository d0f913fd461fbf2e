//! What is imported passes `setpoint check`, only observes, and drops nothing in silence.

use serde_json::Value;
use setpoint::config;
use setpoint::import;
use setpoint::policy::Mode;

const WEB: &str = include_str!("manifests/web.yaml");
const OLD: &str = include_str!("manifests/old.yaml");
const FROZEN: &str = include_str!("manifests/frozen.yaml");

fn imported(manifest: &str) -> String {
    import::hpa(manifest, "web-prod").expect("an autoscaler that can be imported")
}

#[test]
fn what_is_imported_passes_the_check_and_only_observes() {
    for (manifest, bounds, metrics) in [(WEB, (3, 40), 6), (OLD, (1, 12), 1), (FROZEN, (1, 5), 1)] {
        let text = imported(manifest);
        let config = config::parse("t.toml", &text, []).unwrap_or_else(|findings| panic!("{findings}\n{text}"));
        let policy = &config.policies[0];
        assert_eq!(policy.mode, Mode::Observe);
        assert_eq!((policy.min.get(), policy.max.get()), bounds, "{text}");
        assert_eq!(policy.metrics.len(), metrics, "{text}");
        assert_eq!(&*policy.asg, "web-prod");
    }
}

/// Kubernetes' own words, which the configuration says in its own.
const SAID_OTHERWISE: [(&str, &str); 16] = [
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
    ("50m", "0.05"),
    ("In", "=~"),
    ("DoesNotExist", "canary=\"\""),
    ("app.kubernetes.io/name", "app_kubernetes_io_name"),
];

#[test]
fn no_field_is_dropped_in_silence() {
    for manifest in [WEB, OLD, FROZEN] {
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
    ] {
        let text = imported(manifest);
        assert!(text == snapshot, "{text}");
    }
}
