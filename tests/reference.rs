//! The reference of the configuration and its JSON Schema say what the readers do.
//!
//! They are data that stands apart from the readers, so each key is tried in every way: with every kind of value, left
//! out, and misspelt. Whatever `check` says of such a file the schema must say too, save what no schema can.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use setpoint::config::{self, Config, Findings};

const WRITTEN: &str = include_str!("../config/setpoint.toml");

/// What the reference file does not show.
const REST: &str = r#"
    [prometheus]
    url = "http://127.0.0.1:9090"
    bearer_token_file = "/t"
    headers = { X-Scope-OrgID = "team-a" }
    [aws]
    region = "us-east-1"
    [http]
    listen = "0.0.0.0:9480"
    hosts = ["setpoint.example"]
    tls = { certificate_file = "/c", key_file = "/k" }
    token = [{ name = "alice", role = "operator", file = "/a" }]
    [[notification]]
    name = "chat"
    kind = "slack"
    url = "https://hooks.example/"
    [[policy]]
    name = "web"
    asg = "web-prod"
    min = 2
    max = 10
    instance_type = "m7g.large"
    schedule = [{ cron = "0 8 * * *", duration = "1h", max = 6 }]
    step = { out = "unlimited", in = { count = 3 } }
    controller = { kind = "step", below = [{ from = 0.5, percent = 10 }, { from = 0.2, count = 1 }] }
    [[policy.metric]]
    name = "rps"
    kind = "total"
    target = 100
    query = "1"
    controller = { kp = 0.2, ki = 0.5, kd = "1m" }
    [[policy.metric]]
    name = "cpu"
    kind = "total"
    target = 70
    controller = { kind = "step", below = [{ from = 0.5, percent = 10 }, { from = 0.2, count = 1 }] }
    scrape = { url = "http://[::1]:8080/metrics", selector = "cpu", read = "gauge", aggregate = "max" }
    [[policy.metric]]
    name = "p99"
    kind = "latency"
    target = "500ms"
    query = "1"
    controller = { kind = "risk", risk = "1%" }
    [[policy.hold_scale_in_while]]
    name = "idle"
    below = 1
    scrape = { url = "http://127.0.0.1/metrics", selector = "q", read = "gauge", aggregate = "max" }
    [[policy.hold_scale_in_while]]
    name = "slow"
    above = 1
    scrape = { url = "http://127.0.0.1/metrics", selector = "h_bucket", read = "quantile", quantile = 0.9, window = "2m" }
"#;

/// What `check` says where a schema has no say: of the range of a text with a unit, of two values together, of grammars.
const BEYOND: [&str; 25] = [
    "has no price here",
    "expected a duration from ",
    "expected a size from ",
    "is too long, expected less than the interval",
    "is too short, expected more than",
    "is more than",
    "is less than",
    "is taken at",
    "is reached from other hosts",
    "the controller is unstable",
    "where the band before it begins",
    "has no server to go to",
    "would never come back",
    "of at most three decimals",
    "is a credential",
    "is not a URL",
    "does not parse as PromQL",
    "is a calculation",
    "is a scalar",
    "does not end in _bucket",
    "cron",
    "is no time zone",
    "0%\"",
    "and no policy is called so",
    "without, to which the calls are added",
];

/// What is put in the place of a value with this schema: all kinds of values, and many of its own kind.
fn probes(schema: &Value) -> Vec<Value> {
    const FEW: usize = 3;
    let forms = schema["anyOf"].as_array().into_iter().flatten().chain([schema]);
    let kinds: Vec<_> = forms.filter_map(|form| form["type"].as_str()).collect();
    let is_number = kinds.iter().any(|kind| ["integer", "number"].contains(kind));
    let numbers = NUMBERS.map(Value::from).into_iter().chain(INTEGERS.map(Value::from));
    let numbers = numbers.take(if is_number { usize::MAX } else { FEW });
    let texts = TEXTS.map(Value::from).into_iter();
    let texts = texts.take(if kinds.contains(&"string") { usize::MAX } else { FEW });
    let others = [
        json!(true),
        json!(7),
        json!([]),
        json!({}),
        json!(["x"]),
        json!([7]),
        json!([""]),
        json!([{}]),
        json!({ "x": "y" }),
        json!({ "cookie": "x" }),
    ];
    numbers.chain(texts).chain(others).collect()
}

const NUMBERS: [f64; 16] =
    [0.5, -0.5, 1000.5, 0.000_1, 0.000_9, 0.123_4, 0.2, 0.21, 0.999, 0.999_1, 1.01, 1.2, 1.6, 10.1, 99.9, 100.1];

const INTEGERS: [i64; 17] = [-1, 0, 1, 2, 3, 6, 10, 11, 60, 61, 70, 100, 101, 1000, 1001, 100_000, 1 << 40];

const TEXTS: [&str; 42] = [
    "",
    "x",
    "5m",
    "unlimited",
    "x y",
    "x:y",
    "-",
    "a-b",
    "/x",
    "http://a/graph",
    "5",
    "0s",
    "2s",
    "500ms",
    "3h",
    "9d",
    "30m1h",
    "5x",
    "70%",
    "0.1%",
    "170%",
    "%",
    "x%",
    "64MB",
    "64 GB",
    "1MB",
    "http://",
    "http://x",
    "http://x/?y",
    "http://x/#y",
    "ftp://x",
    "127.0.0.1:80",
    "127.0.0.1",
    "0.0.0.0:80",
    "[::1]:80",
    "web-*",
    "*",
    "é",
    "Europe/Berlin",
    "x{y=\"z\"}",
    "arn:aws:iam::123456789012:role/r",
    "arn:aws:iam::1:role/r",
];

/// Files that pass and, together, have every key.
fn documents() -> Vec<Value> {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with([' ', '#']) => rest.to_owned(),
        _ => line.to_owned(),
    };
    let mut texts = vec![REST.into(), WRITTEN.lines().map(uncommented).collect::<Vec<_>>().join("\n"), WRITTEN.into()];
    for alternative in WRITTEN.lines().filter_map(|line| line.strip_prefix("##")) {
        let key = alternative.split('=').next().unwrap();
        let in_its_place = |line: &str| match line.strip_prefix("##") {
            Some(text) if text == alternative => text.to_owned(),
            _ if line.starts_with(key) => String::new(),
            _ => line.to_owned(),
        };
        texts.push(WRITTEN.lines().map(in_its_place).collect::<Vec<_>>().join("\n"));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let examples = fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let files = examples.filter(|file| !file.to_string_lossy().ends_with(".tests.toml"));
    texts.extend(files.chain([root.join("demo.toml")]).map(|file| fs::read_to_string(file).unwrap()));
    let parsed = texts.iter().map(|text| toml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")));
    parsed.flat_map(|document: Value| one_for_each_metric(&document)).collect()
}

/// Parsing queries is most of the work, so each document has one metric.
fn one_for_each_metric(document: &Value) -> Vec<Value> {
    let metrics = document["policy"][0]["metric"].as_array().unwrap();
    let with = |metric: &Value| {
        let mut document = document.clone();
        document["policy"].as_array_mut().unwrap().truncate(1);
        document["policy"][0]["metric"] = json!([metric]);
        document
    };
    metrics.iter().map(with).collect()
}

/// A value in a document, with the schema of it.
struct Place<'s> {
    /// The JSON pointer.
    pointer: String,
    /// The keys alone.
    key: String,
    schema: &'s Value,
}

/// Every place in `value`, from the root.
fn places<'s>(value: &Value, schema: &'s Value, pointer: &str, key: &str, found: &mut Vec<Place<'s>>) {
    let schema = branch(schema, value);
    found.push(Place { pointer: pointer.into(), key: key.into(), schema });
    match value {
        Value::Object(entries) => {
            for (name, value) in entries.iter().filter(|(name, _)| schema["properties"].get(name).is_some()) {
                let key = format!("{key}.{name}");
                places(value, &schema["properties"][name], &format!("{pointer}/{name}"), &key, found);
            }
        }
        Value::Array(elements) => {
            for (index, value) in elements.iter().enumerate() {
                places(value, &schema["items"], &format!("{pointer}/{index}"), &format!("{key}[]"), found);
            }
        }
        _ => {}
    }
}

/// Of a schema with several forms the one that a table has.
fn branch<'s>(schema: &'s Value, value: &Value) -> &'s Value {
    let forms = schema["anyOf"].as_array().filter(|_| value.is_object() && schema.get("properties").is_none());
    forms.and_then(|forms| forms.iter().find(|form| form["type"] == "object")).unwrap_or(schema)
}

fn all_places<'s>(document: &Value, schema: &'s Value) -> Vec<Place<'s>> {
    let mut found = Vec::new();
    places(document, schema, "", "", &mut found);
    found
}

/// The keys of every value that `schema` describes.
fn described(schema: &Value, key: &str, found: &mut BTreeSet<String>) {
    found.insert(key.into());
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        described(schema, &format!("{key}.{name}"), found);
    }
    if schema.get("items").is_some() {
        described(&schema["items"], &format!("{key}[]"), found);
    }
    for form in schema["anyOf"].as_array().into_iter().flatten() {
        described(form, key, found);
    }
}

fn toml_of(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{} = {}", json!(key), toml_of(value));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Array(elements) => format!("[{}]", elements.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        plain => plain.to_string(),
    }
}

fn check(document: &Value) -> Result<Config, Findings> {
    let entries = document.as_object().unwrap().iter();
    let text: Vec<_> = entries.map(|(key, value)| format!("{} = {}", json!(key), toml_of(value))).collect();
    config::parse("t.toml", &text.join("\n"), [])
}

/// What a validator says of each document: the first error, if there is one. Left out where there is no validator. As
/// draft 7, which is all that some editors know, the schema means the same.
fn judged(schema: &Value, documents: &[Value]) -> Option<Vec<Option<String>>> {
    const JUDGE: &str = "import json, sys, jsonschema_rs
schema = json.loads(sys.stdin.readline())
jsonschema_rs.meta.validate(schema)
validator, older = jsonschema_rs.validator_for(schema), jsonschema_rs.Draft7Validator(schema)
for line in sys.stdin:
    document = json.loads(line)
    error = next(validator.iter_errors(document), None)
    assert older.is_valid(document) == (error is None), document
    print(json.dumps(error and f'{error.instance_path}: {error.message[:300]}'))";
    // Schemathesis brings one.
    let python = support::servers::schemathesis()?;
    let mut input = tempfile::NamedTempFile::new().unwrap();
    for line in [schema].into_iter().chain(documents) {
        writeln!(input, "{line}").unwrap();
    }
    let said = Command::new(python).args(["-c", JUDGE]).stdin(File::open(input.path()).unwrap()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let verdicts: Vec<_> =
        String::from_utf8(said.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.len(), documents.len());
    Some(verdicts)
}

#[test]
fn the_page_in_the_docs_is_what_the_code_says() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")).unwrap_or_default();
    assert!(page == config::page(), "run: cargo run -- schema --format markdown > docs/configuration.md");
}

#[test]
fn the_command_prints_the_schema() {
    let said = Command::new(env!("CARGO_BIN_EXE_setpoint")).arg("schema").output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&said.stdout).unwrap(), config::schema());
}

#[test]
fn every_file_of_the_project_passes_and_together_they_have_every_key() {
    let schema = config::schema();
    let documents = documents();
    let mut shown = BTreeSet::new();
    for document in &documents {
        check(document).unwrap_or_else(|findings| panic!("{findings} in {document}"));
        shown.extend(all_places(document, &schema).into_iter().map(|place| place.key));
    }
    let mut all = BTreeSet::new();
    described(&schema, "", &mut all);
    assert_eq!(all.difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new(), "no file shows these");
    let Some(verdicts) = judged(&schema, &documents) else { return };
    assert_eq!(verdicts.iter().flatten().collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn every_table_has_the_keys_that_its_reader_asks_for() {
    const NO_KEY: &str = "qqqq";
    let schema = config::schema();
    let mut tables = BTreeSet::new();
    for document in documents() {
        for place in all_places(&document, &schema) {
            let mut other = document.clone();
            let table = if place.pointer.is_empty() { Some(&mut other) } else { other.pointer_mut(&place.pointer) };
            let (Some(table), Some(known)) = (table.unwrap().as_object_mut(), place.schema["properties"].as_object())
            else {
                continue;
            };
            table.insert(NO_KEY.into(), true.into());
            let findings = check(&other).expect_err("an unknown key is refused").0;
            let finding = findings.iter().find(|finding| finding.key.ends_with(NO_KEY)).expect("a finding on it");
            let asked = finding.problem.strip_prefix("unknown key, expected one of ").expect(&finding.problem);
            let asked: BTreeSet<_> = asked.split(", ").collect();
            assert_eq!(asked, known.keys().map(String::as_str).collect(), "{}", place.key);
            tables.insert(place.key);
        }
    }
    assert!(tables.len() > 20, "{tables:?}");
}

#[test]
fn a_stated_default_is_what_holds_where_the_key_is_left_out() {
    let schema = config::schema();
    // Under another controller and another interval other defaults hold, as the descriptions say.
    let plain = |config: &Config| {
        let is_risk =
            |policy: &setpoint::policy::Policy| matches!(policy.controller, setpoint::policy::Controller::Risk(_));
        config.interval.as_secs() == 15 && !config.policies.iter().any(is_risk)
    };
    let mut tried = BTreeSet::new();
    for document in documents() {
        for place in all_places(&document, &schema) {
            let Some(properties) = place.schema["properties"].as_object() else { continue };
            for (name, default) in properties.iter().filter_map(|(name, schema)| Some((name, schema.get("default")?))) {
                let mut without = document.clone();
                let table = |document: &mut Value, value: Option<&Value>| {
                    let table = document.pointer_mut(&place.pointer).and_then(Value::as_object_mut).unwrap();
                    match value {
                        Some(value) => table.insert(name.clone(), value.clone()),
                        None => table.remove(name),
                    };
                };
                table(&mut without, None);
                let mut with = without.clone();
                table(&mut with, Some(default));
                if let (Ok(without), Ok(with)) = (check(&without), check(&with))
                    && plain(&without)
                {
                    assert_eq!(with, without, "{}.{name}", place.key);
                    tried.insert(format!("{}.{name}", place.key));
                }
            }
        }
    }
    let mut all = BTreeSet::new();
    defaults(&schema, "", &mut all);
    assert_eq!(all.difference(&tried).collect::<Vec<_>>(), Vec::<&String>::new(), "these were not tried");
}

fn defaults(schema: &Value, key: &str, found: &mut BTreeSet<String>) {
    if schema.get("default").is_some() {
        found.insert(key.into());
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        defaults(schema, &format!("{key}.{name}"), found);
    }
    for (form, mark) in schema["anyOf"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|form| (form, ""))
        .chain(schema.get("items").map(|items| (items, "[]")))
    {
        defaults(form, &format!("{key}{mark}"), found);
    }
}

/// The kinds of the tables around a place, on which it depends what may stand there.
fn kinds(document: &Value, pointer: &str) -> Vec<String> {
    let ends = pointer.match_indices('/').map(|(end, _)| &pointer[..end]).chain([pointer]);
    let tables = ends.filter_map(|end| document.pointer(end));
    tables.flat_map(|table| [&table["kind"], &table["read"]]).filter_map(Value::as_str).map(String::from).collect()
}

/// Each document with one change: a value replaced, left out or added.
fn changed(schema: &Value) -> Vec<Value> {
    let documents = documents();
    let mut good: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for document in &documents {
        for place in all_places(document, schema) {
            let values = good.entry(place.key).or_default();
            let value = document.pointer(&place.pointer).unwrap();
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
    }
    let mut done = BTreeSet::new();
    let mut changed = Vec::new();
    for document in &documents {
        let mut change = |pointer: &str, by: &dyn Fn(&mut Value)| {
            let mut other = document.clone();
            by(other.pointer_mut(pointer).unwrap());
            changed.push(other);
        };
        let places = all_places(document, schema);
        let new = |place: &&Place| done.insert((place.key.clone(), kinds(document, &place.pointer)));
        for place in places.iter().filter(new) {
            let words = place.schema["enum"].as_array().cloned().unwrap_or_default();
            if !place.pointer.is_empty() {
                for value in probes(place.schema).iter().chain(&words).chain(&good[&place.key]) {
                    change(&place.pointer, &|place| *place = value.clone());
                }
            }
            for (name, _) in place.schema["properties"].as_object().into_iter().flatten() {
                change(&place.pointer, &|table| {
                    table.as_object_mut().unwrap().remove(name);
                });
                for value in good.get(&format!("{}.{name}", place.key)).into_iter().flatten() {
                    change(&place.pointer, &|table| table[name] = value.clone());
                }
            }
            if place.schema["type"] == "array" {
                change(&place.pointer, &|list| {
                    let first = list[0].clone();
                    list.as_array_mut().unwrap().resize(40, first);
                });
            }
        }
    }
    changed
}

#[test]
fn the_schema_refuses_what_check_refuses_and_nothing_else() {
    let schema = config::schema();
    let documents = changed(&schema);
    let Some(verdicts) = judged(&schema, &documents) else { return };
    let mut used = BTreeSet::new();
    let mut wrong = BTreeSet::new();
    let mut refused = 0;
    for (document, verdict) in documents.iter().zip(verdicts) {
        match (check(document), verdict) {
            (Ok(_), None) => {}
            (Ok(_), Some(error)) => wrong.extend([format!("the schema alone refuses: {error}")]),
            (Err(_), Some(_)) => refused += 1,
            (Err(findings), None) => {
                for finding in findings.0 {
                    match BEYOND.iter().find(|beyond| finding.problem.contains(**beyond)) {
                        Some(beyond) => used.extend([*beyond]),
                        None => wrong.extend([format!("check alone refuses: {}: {}", finding.key, finding.problem)]),
                    }
                }
            }
        }
    }
    println!("{} files, {refused} refused by both", documents.len());
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    assert_eq!(used, BEYOND.into_iter().collect(), "what no schema can say is said in some file");
    assert!(refused > 1000, "{refused}");
}
