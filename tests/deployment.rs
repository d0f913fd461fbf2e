//! What brings Setpoint into an account and a cluster: the files can be read, and allow and run what the binary says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const SIDECAR: &str = include_str!("../config/kubernetes/sidecar.yaml");

#[test]
fn every_file_of_the_terraform_module_can_be_read() {
    let files = fs::read_dir(module()).expect("the module").flatten().map(|entry| entry.path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "tf")).collect();
    for file in &files {
        parse(&fs::read_to_string(file).expect("a file"), file);
    }
    assert_eq!(files.len(), 4);
}

#[test]
fn the_terraform_module_allows_what_iam_policy_prints_and_no_more() {
    let file = module().join("main.tf");
    let text = fs::read_to_string(&file).expect("a file");
    let document = &parse(&text, &file)["data"]["aws_iam_policy_document"]["setpoint"]["statement"];
    let module = actions(document, "sid", "actions");

    let arguments =
        ["iam-policy", "--as-active", "--tag", "managed-by=setpoint", "--config", "config/examples/cpu.toml"];
    let printed: Value = serde_json::from_str(&setpoint(&arguments)).expect("JSON");
    assert_eq!(module, actions(&printed["Statement"], "Sid", "Action"));
    assert_eq!(module.len(), 2);
    let condition = &document[1]["condition"];
    assert_eq!(
        printed["Statement"][1]["Condition"].as_object().map(|all| all.contains_key("StringEquals")),
        Some(true)
    );
    assert_eq!(condition["test"], "StringEquals");
    assert_eq!(condition["variable"], "autoscaling:ResourceTag/${var.tag.key}");
}

#[test]
fn the_configuration_in_the_sidecars_manifest_has_no_findings() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("setpoint.toml");
    let block =
        SIDECAR.split("  setpoint.toml: |\n").nth(1).and_then(|rest| rest.split("---\n").next()).expect("a block");
    let lines: Vec<&str> = block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    fs::write(&file, lines.join("\n")).expect("a file");
    setpoint(&["check", file.to_str().expect("a name in UTF-8")]);
}

fn module() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/terraform")
}

fn parse(text: &str, file: &Path) -> Value {
    hcl::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The actions of each statement, by the statement's name. One action may stand without a list.
fn actions(statements: &Value, name: &str, actions: &str) -> BTreeMap<String, BTreeSet<String>> {
    let texts = |value: &Value| match value {
        Value::Array(many) => many.iter().map(text).collect(),
        one => BTreeSet::from([text(one)]),
    };
    statements.as_array().expect("statements").iter().map(|one| (text(&one[name]), texts(&one[actions]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// What the binary prints; it must succeed.
fn setpoint(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setpoint"));
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().expect("setpoint runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
