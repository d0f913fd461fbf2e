//! The rules, the alerts and the dashboard that ship with Setpoint: they are sound, and speak only of what the daemon exports.

mod support;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use promql_parser::parser::{self, Expr};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use support::http;
use support::servers::{or_leave_out, prometheus};

const RULES: &str = include_str!("../config/prometheus/rules.yml");
const ALERTS: &str = include_str!("../config/prometheus/alerts.yml");
const RUNBOOKS: &str = include_str!("../docs/runbooks.md");
const METRICS: &str = include_str!("../docs/metrics.md");
const DASHBOARD: &str = include_str!("../config/grafana/setpoint.json");

/// Nothing listens on port 1, and the metrics are there all the same.
const CONFIGURATION: &str = r#"
[prometheus]
url = "http://127.0.0.1:1"

[[notification]]
name = "chat"
kind = "slack"
url = "http://127.0.0.1:1"

[aws]
region = "us-east-1"
endpoint_url = "http://127.0.0.1:1"

[http]
listen = "127.0.0.1:0"

[[policy]]
name = "web"
asg = "web"
min = 2
max = 10

[[policy.metric]]
name = "cpu"
kind = "utilization"
query = "cpu"
target = 0.7
"#;

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    let Some(prometheus) = or_leave_out(prometheus()) else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus");
    let promtool = |arguments: &[&str], file: &str| {
        let mut command = Command::new(prometheus.with_file_name("promtool"));
        let output = command.args(arguments).arg(folder.join(file)).output().expect("promtool runs");
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert!(output.status.success(), "{file}: {said}");
        said
    };
    for (file, text) in [("rules.yml", RULES), ("alerts.yml", ALERTS)] {
        let said = promtool(&["check", "rules", "--lint=all", "--lint-fatal"], file);
        // What these tests read of the files without a YAML parser is all that there is.
        assert!(said.contains(&format!("SUCCESS: {} rules found", rules(text).len())), "{said}");
    }
    promtool(&["test", "rules"], "alerts.test.yml");
}

#[test]
fn promtool_finds_nothing_amiss_with_the_metrics() {
    let Some(prometheus) = or_leave_out(prometheus()) else { return };
    let page = page();
    let mut command = Command::new(prometheus.with_file_name("promtool"));
    let mut promtool =
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool");
    promtool.stdin.take().expect("its input").write_all(page.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_metric_that_is_named_is_exported_or_recorded() {
    let mut known = exported();
    known.extend(rules(RULES).iter().map(|rule| rule.name.to_owned()));
    // Prometheus makes it itself.
    known.insert("ALERTS".to_owned());
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let (rules, alerts) = (rules(RULES), rules(ALERTS));
    let of_rules = rules.iter().chain(&alerts).map(|rule| rule.expression.to_owned());
    for expression in of_rules.chain(expressions(&dashboard)) {
        let unknown: Vec<_> = metrics(&expression).into_iter().filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "the daemon exports no {unknown:?}, which {expression:?} needs");
    }
}

#[test]
fn the_list_of_metrics_is_what_is_exported() {
    let page = page();
    let exported: Vec<Family> = page.split("# HELP ").skip(1).map(Family::of_page).collect();
    let listed: Vec<Family> = METRICS
        .split("\n## ")
        .last()
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(Family::of_list)
        .collect();
    let rows: String = exported.iter().map(|family| family.row(&listed)).collect();
    assert!(exported.len() > 40, "the page is read: {page}");
    assert!(METRICS.contains(&rows) && exported.len() == listed.len(), "docs/metrics.md should list\n{rows}");
}

#[test]
fn the_list_of_guards_is_what_a_policy_can_be_held_back_by() {
    const REASON: &str = include_str!("../src/control/reason.rs");
    const GUARD: &str = include_str!("../src/control/guard.rs");
    let words = |text: &'static str, before: &str| -> Vec<&str> {
        text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    };
    let counted = [words(REASON, "=> Some(\""), words(GUARD, "=> \"")].concat();
    let (_, table) = METRICS.split_once("| guard |").expect("a table");
    let rows = table.split("\n## ").next().unwrap_or_default().lines().filter(|line| line.starts_with("| `"));
    let listed = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    assert_eq!(listed.collect::<BTreeSet<_>>(), counted.into_iter().collect());
}

#[test]
fn every_metric_that_the_docs_name_is_exported_or_recorded() {
    let exported = exported();
    let mut seen = 0;
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).expect("the docs") {
        let path = file.expect("a file").path();
        let text = String::from_utf8(fs::read(&path).expect("a page")).expect("text");
        let metrics =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("setpoint_"));
        for name in metrics.filter(|name| !FILES.contains(name)) {
            assert!(exported.contains(name), "{}: the daemon exports no {name}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    for alert in rules(ALERTS) {
        let name = alert.name;
        assert!(["critical", "warning"].contains(&alert.field("severity")), "{name}");
        assert!(alert.field("summary").ends_with(['.', '"']), "{name} has no summary");
        assert_eq!(alert.field("description"), ">-", "{name} has no description");
        assert_eq!(alert.field("runbook_url"), format!("docs/runbooks.md#{}", name.to_lowercase()));
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let sections: Vec<&str> = RUNBOOKS.split("\n## ").skip(1).collect();
    let alerts: Vec<&str> = rules(ALERTS).iter().map(|alert| alert.name).collect();
    assert_eq!(sections.iter().filter_map(|section| section.lines().next()).collect::<Vec<_>>(), alerts);
    for section in sections {
        for part in ["**Means.**", "**Look", "o.**", "**Don't**"] {
            assert!(section.contains(part), "no {part} in {section}");
        }
    }
}

#[test]
fn every_panel_has_a_title_and_asks_the_chosen_data_source() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        assert!(ids.insert(panel["id"].as_u64()), "two panels of one id: {panel}");
        let queries = panel["targets"].as_array().map_or(0, Vec::len);
        assert_eq!(queries == 0, panel["type"] == "row", "{panel}");
    }
    for source in all(&dashboard, "datasource") {
        assert!(["${datasource}", "-- Grafana --"].map(Value::from).contains(&source["uid"]), "{source}");
    }
}

/// The words that begin like a metric and are none: packages.
const FILES: [&str; 1] = ["setpoint_0"];

/// A family of metrics as a row of the list tells of it.
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    /// Separated by commas; `None` where there is no sample to tell.
    labels: Option<String>,
    help: &'a str,
}

impl<'a> Family<'a> {
    /// From what follows `# HELP ` in a page of metrics.
    fn of_page(text: &'a str) -> Self {
        let mut lines = text.lines();
        let (name, help) = lines.next().and_then(|line| line.split_once(' ')).expect("a name and a help");
        let kind = lines.next().and_then(|line| line.rsplit(' ').next()).expect("a type");
        let sample = lines.find(|line| line.starts_with(name));
        let labels = sample.map(|sample| {
            let inside =
                sample.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
            inside.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0)).collect::<Vec<_>>().join(", ")
        });
        Self { name, kind, labels, help }
    }

    /// From what follows the beginning of a row.
    fn of_list(row: &'a str) -> Self {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [name, kind, labels, help] = cells[..] else { panic!("{row} has not four cells") };
        Self { name: name.trim_end_matches('`'), kind, labels: Some(labels.into()), help }
    }

    /// The row that it should have; the labels are those of the list where the page has no sample.
    fn row(&self, listed: &[Self]) -> String {
        let listed = listed.iter().find(|family| family.name == self.name).and_then(|family| family.labels.as_deref());
        let labels = self.labels.as_deref().or(listed).unwrap_or("?");
        format!("| `{}` | {} | {labels} | {} |\n", self.name, self.kind, self.help)
    }
}

/// A rule, as these files write it: each field begins a line, and an expression is one line.
struct Rule<'a> {
    name: &'a str,
    expression: &'a str,
    body: &'a str,
}

impl<'a> Rule<'a> {
    fn new(body: &'a str) -> Self {
        let name = field(body, "alert").or_else(|| field(body, "record")).expect("a name");
        Self { name, expression: field(body, "expr").expect("an expression"), body }
    }

    fn field(&self, key: &str) -> &'a str {
        field(self.body, key).unwrap_or_else(|| panic!("{} has no {key}", self.name))
    }
}

fn field<'a>(body: &'a str, key: &str) -> Option<&'a str> {
    body.lines().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(": "))
}

fn rules(text: &str) -> Vec<Rule<'_>> {
    text.split("\n      - ").skip(1).map(Rule::new).collect()
}

/// Every PromQL expression of a dashboard, with numbers in place of Grafana's own variables.
fn expressions(dashboard: &Value) -> Vec<String> {
    let asked = all(dashboard, "expr").into_iter().map(|text| text.as_str().expect("text").to_owned());
    let listed = all(dashboard, "definition").into_iter().map(|text| {
        let inside = text.as_str().and_then(|text| text.strip_prefix("label_values(")?.split(',').next());
        inside.expect("label_values of a metric").to_owned()
    });
    asked.chain(listed).map(|text| text.replace("$__rate_interval", "1m")).collect()
}

/// The values of `key` wherever it stands.
fn all<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(key).into_iter().chain(fields.values().flat_map(|v| all(v, key))).collect(),
        Value::Array(items) => items.iter().flat_map(|item| all(item, key)).collect(),
        _ => Vec::new(),
    }
}

/// The metrics that an expression selects.
fn metrics(expression: &str) -> BTreeSet<String> {
    let parsed = parser::parse(expression).unwrap_or_else(|error| panic!("{expression:?}: {error}"));
    let mut names = Names(BTreeSet::new());
    let Ok(_) = walk_expr(&mut names, &parsed);
    assert!(!names.0.is_empty(), "{expression:?} selects nothing");
    names.0
}

struct Names(BTreeSet<String>);

impl ExprVisitor for Names {
    type Error = Infallible;

    fn pre_visit(&mut self, part: &Expr) -> Result<bool, Infallible> {
        let selector = match part {
            Expr::VectorSelector(selector) => selector,
            Expr::MatrixSelector(matrix) => &matrix.vs,
            _ => return Ok(true),
        };
        self.0.insert(selector.name.clone().expect("a selector with a name"));
        Ok(true)
    }
}

/// The names of all metrics that the daemon exports.
fn exported() -> BTreeSet<String> {
    let page = page();
    let named = |line: &str| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned());
    page.lines().filter_map(named).collect()
}

/// The metrics of a daemon that has just started.
fn page() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(&folder.path().join("setpoint.toml"));
    let (status, page) = http::get(daemon.address, "/metrics").expect("an answer");
    assert_eq!(status, 200);
    page
}

/// The daemon, as it is installed; killed when dropped.
struct Daemon {
    process: Child,
    address: SocketAddr,
}

impl Daemon {
    fn start(configuration: &Path) -> Self {
        fs::write(configuration, CONFIGURATION).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_setpoint"));
        command.args(["run", "--log-format", "json", "--config"]).arg(configuration);
        command.envs([("AWS_ACCESS_KEY_ID", "none"), ("AWS_SECRET_ACCESS_KEY", "none")]);
        command.env("STATE_DIRECTORY", configuration.parent().expect("a folder"));
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the daemon starts");
        let log = BufReader::new(process.stderr.as_mut().expect("its log"));
        let mut lines = log.lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| serde_json::from_str::<Value>(&line).ok()?["listen"].as_str()?.parse().ok());
        Self { process, address: address.expect("the log says where it listens") }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
