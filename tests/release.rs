//! What goes with a release, and what the public sees pass.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::Value;
use support::servers::or_leave_out;

const CHECKLIST: &str = include_str!("../docs/releasing.md");

const WORKFLOW: &str = include_str!("../.github/workflows/ci.yml");

const MANIFEST: &str = include_str!("../Cargo.toml");

/// What the command of the checklist writes; where there is no such tool, the test is left out.
fn list() -> Option<Value> {
    let command = CHECKLIST.split('`').find(|code| code.starts_with("cargo cyclonedx ")).expect("a command");
    let path = env::var_os("PATH").unwrap_or_default();
    let tool = env::split_paths(&path).any(|folder| folder.join("cargo-cyclonedx").is_file());
    or_leave_out(tool.then_some(()).ok_or_else(|| "cargo install cargo-cyclonedx".to_owned()))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words: Vec<_> = command.split_whitespace().skip(1).collect();
    let output = Command::new("cargo").args(words).current_dir(root).output().expect("cargo");
    assert!(output.status.success(), "{output:?}");
    let file = root.join("setpoint.cdx.json");
    let text = fs::read_to_string(&file).expect("a list");
    fs::remove_file(file).expect("our own file");
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// Those that the shipped binary is linked with; `otlp` is left to those who build it themselves.
fn direct_dependencies() -> BTreeSet<String> {
    let manifest: toml::Table = toml::from_str(MANIFEST).expect("a manifest");
    let daemon = manifest["features"]["daemon"].as_array().expect("features").iter().filter_map(toml::Value::as_str);
    let switched_on: BTreeSet<_> = daemon.filter_map(|feature| feature.strip_prefix("dep:")).collect();
    let all = manifest["dependencies"].as_table().expect("dependencies").iter();
    let is_optional =
        |dependency: &toml::Value| dependency.get("optional").is_some_and(|it| it.as_bool() == Some(true));
    let linked = all.filter(|(name, dependency)| switched_on.contains(name.as_str()) || !is_optional(dependency));
    linked.map(|(name, _)| name.clone()).collect()
}

#[test]
fn the_list_of_a_release_names_every_direct_dependency() {
    let Some(list) = list() else { return };
    assert_eq!((&list["bomFormat"], &list["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(list["metadata"]["component"]["name"], "setpoint");
    let components = list["components"].as_array().expect("components");
    let names: BTreeSet<_> = components.iter().filter_map(|component| component["name"].as_str()).collect();
    for name in direct_dependencies() {
        assert!(names.contains(name.as_str()), "{name} is not in the list");
    }
    assert!(!names.contains("proptest"), "what only the tests need is not shipped");
    for component in components {
        let package = component["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:cargo/"));
        let pinned = component["version"].is_string() && component["hashes"][0]["alg"] == "SHA-256";
        assert!(package && pinned && component["licenses"].is_array(), "{component:#}");
    }
    let described: BTreeSet<_> =
        components.iter().map(|component| &component["bom-ref"]).map(Value::to_string).collect();
    let edges =
        list["dependencies"].as_array().expect("a graph").iter().filter_map(|node| node["dependsOn"].as_array());
    let missing: Vec<_> = edges.flatten().filter(|edge| !described.contains(&edge.to_string())).collect();
    assert!(missing.is_empty(), "without a description: {missing:?}");
    println!("{} components, {} of them direct", components.len(), direct_dependencies().len());
}

#[test]
fn the_public_workflow_runs_what_every_change_must_pass() {
    let workflow: Value = serde_saphyr::from_str(WORKFLOW).expect("YAML");
    let jobs = workflow["jobs"].as_object().expect("jobs").values();
    let steps: Vec<_> = jobs.flat_map(|job| job["steps"].as_array().expect("steps")).collect();
    for run in [".ci/run", "cargo deny --locked check"] {
        assert!(steps.iter().any(|step| step["run"] == run), "{run} is a step");
    }
    assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "nothing may be written");
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run").is_file());
}
