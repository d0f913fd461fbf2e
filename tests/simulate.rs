//! `setpoint simulate` through the real binary: what it prints, what it writes, and what it says of mistakes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

const CONFIGURATION: &str = r#"
[prometheus]
url = "http://127.0.0.1:9090"

[[policy]]
name = "web"
asg = "web-prod"
min = 2
max = 10
[[policy.metric]]
name = "cpu"
kind = "utilization"
query = "avg(1 - rate(node_cpu_seconds_total{mode=\"idle\"}[1m]))"
target = 0.70

[[policy]]
name = "queue"
asg = "queue-prod"
mode = "active"
min = 1
max = 40
boot_time = "1m"
[[policy.metric]]
name = "waiting"
kind = "total"
query = "sum(waiting)"
target = 30
[[policy.metric]]
name = "p99"
kind = "latency"
query = "p99"
target = "200ms"
"#;

const PEERS: [&str; 7] = [
    "Kubernetes HPA",
    "Knative KPA",
    "AWS target tracking",
    "AWS target tracking, high resolution",
    "Nomad target-value",
    "static fleet",
    "clairvoyant",
];

/// A folder with the configuration.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("setpoint.toml"), CONFIGURATION).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn simulate(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setpoint"));
        command.current_dir(self.0.path()).args(["simulate", "--config", "setpoint.toml"]).args(arguments);
        command.output().unwrap()
    }

    /// What is printed where nothing goes wrong.
    fn printed(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.simulate(arguments);
        assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
        assert!(stderr.is_empty(), "no progress where nobody watches: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.printed(&[arguments, &["--output", "json"]].concat())).unwrap()
    }

    /// The report that is written.
    fn page(&self, arguments: &[&str]) -> String {
        self.printed(&[arguments, &["--report", "report.html"]].concat());
        fs::read_to_string(self.file("report.html")).unwrap()
    }

    /// What goes to the standard error where something is wrong.
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.simulate(arguments);
        assert_eq!((status.code(), stdout.is_empty()), (Some(code), true), "{arguments:?}");
        String::from_utf8(stderr).unwrap()
    }
}

fn trace(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces").join(name).to_str().unwrap().to_owned()
}

/// `page` as XML, which is stricter than HTML: only two kinds of elements are open in the one and closed in the other.
fn closed(page: &str) -> String {
    let mut xml = String::new();
    for (index, part) in page.split("<meta ").enumerate() {
        match part.split_once('>') {
            Some((attributes, rest)) if index > 0 => xml.extend(["<meta ", attributes, "/>", rest]),
            _ => xml.push_str(part),
        }
    }
    xml
}

fn parsed(xml: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(xml, options).unwrap_or_else(|error| panic!("{error}"))
}

fn elements<'a>(document: &'a Document, name: &str) -> Vec<Node<'a, 'a>> {
    document.descendants().filter(|node| node.has_tag_name(name)).collect()
}

fn text_of(node: Node) -> String {
    node.descendants().filter_map(|node| node.text().filter(|_| node.is_text())).collect()
}

#[test]
fn one_workload_gives_a_row_for_each_contestant() {
    let text = Desk::new().printed(&["--policy", "web", "--workload", "ticket-sale"]);
    let head = "time over %  requests over %  cost ×  instance-hours  mean size  actions/day  reversals/day";
    let rows: Vec<&str> = text.lines().skip_while(|line| !line.ends_with(head)).skip(1).take(8).collect();
    let names = ["web"].into_iter().chain(PEERS);
    for (row, name) in rows.iter().zip(names) {
        let figures = row.strip_prefix(name).unwrap_or_else(|| panic!("{row} is not of {name}"));
        assert!(figures.split_whitespace().all(|figure| figure.parse::<f64>().is_ok()), "{row}");
        assert_eq!(figures.split_whitespace().count(), 7, "{row}");
        assert_eq!(row.chars().count(), rows[0].chars().count(), "figures stand below each other");
    }
    for said in
        ["web observes; here it acts.", "its peak needs four fifths of the maximum of 10 instances", "One plant"]
    {
        assert!(text.contains(said), "{said:?} is not said in\n{text}");
    }
}

#[test]
fn several_workloads_give_one_table_of_all() {
    let (taxi, sale) = (trace("nyc_taxi.csv"), trace("tweets_aapl.csv"));
    let arguments = ["-p", "web", "-w", &taxi, "-w", &sale, "-w", "step", "--duration", "6h", "--output", "markdown"];
    let markdown = Desk::new().printed(&[&arguments[..], &["--against", "hpa,static"]].concat());
    let lines: Vec<&str> = markdown.lines().collect();
    assert_eq!(lines[0], "| time over % / cost × | web | Kubernetes HPA | static fleet |");
    for (line, name) in lines[2..6].iter().zip(["nyc_taxi", "tweets_aapl", "step", "mean"]) {
        assert!(line.starts_with(&format!("| {name} | ")), "{line}");
        assert_eq!(line.matches(" / ").count(), 3, "{line}");
    }
}

#[test]
fn a_folder_is_all_its_traces() {
    let desk = Desk::new();
    fs::create_dir(desk.file("traces")).unwrap();
    for name in ["b.csv", "a.csv"] {
        desk.write(&format!("traces/{name}"), "seconds,requests_per_second\n0,100\n300,200\n600,60\n");
    }
    desk.write("traces/README.md", "no trace");
    let found = desk.json(&["-p", "web", "-w", "traces", "--against", "none"]);
    let names: Vec<&Value> = found["runs"].as_array().unwrap().iter().map(|run| &run["workload"]).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn the_json_has_every_figure_and_every_reason() {
    let found = Desk::new().json(&["-p", "web", "-w", "ticket-sale", "--against", "nomad"]);
    let run = &found["runs"][0];
    assert_eq!(
        (&run["workload"], &run["target"]),
        (&json!("ticket-sale"), &json!({"utilization": 0.7, "p99_seconds": 0.5}))
    );
    let [web, nomad] = &run["contestants"].as_array().unwrap()[..] else { panic!("{run}") };
    assert_eq!((&web["name"], &nomad["name"]), (&json!("web"), &json!("Nomad target-value")));
    let keys: Vec<&str> = web["score"].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "actions_a_day instability instance_hours mean_response_ms mean_size over_accuracy \
        over_ceiling over_objective over_timeshare relative_cost requests_dropped requests_over_objective reversals_a_day \
        under_accuracy under_timeshare";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
    let first = &web["actions"][0];
    assert_eq!((&first["from"], &first["to"]), (&json!(2), &json!(3)), "{first}");
    assert!(first["because"].as_str().unwrap().starts_with("cpu at 0."), "{first}");
    assert!(first["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let desk = Desk::new();
    let of = |seed| {
        let arguments = ["-p", "queue", "-w", "spikes", "--duration", "3h", "--seed", seed, "--against", "hpa,kpa"];
        (desk.printed(&[&arguments[..], &["--output", "json"]].concat()), desk.page(&arguments))
    };
    assert!(of("7") == of("7"), "the same seed differs");
    assert!(of("7") != of("8"), "another seed is the same");
}

#[test]
fn the_report_is_one_well_formed_file_that_needs_no_network() {
    let page = Desk::new().page(&["-p", "web", "-w", "ticket-sale"]);
    assert!(page.starts_with("<!DOCTYPE html>"));
    for barred in ["http:", "https:", "<script", "@import", "url(", "<link", "<img"] {
        assert!(!page.contains(barred), "it has {barred:?}");
    }
    let xml = closed(&page);
    let document = parsed(&xml);
    let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    for svg in elements(&document, "svg") {
        assert_eq!(svg.attribute("role"), Some("img"));
        let labels: Vec<&str> = svg.attribute("aria-labelledby").unwrap().split(' ').collect();
        assert!(labels.iter().all(|label| ids.iter().filter(|id| *id == label).count() == 1), "{labels:?}");
        let named = svg.children().filter(Node::is_element).take(2).map(text_of).collect::<Vec<_>>();
        assert!(named.iter().all(|text| !text.is_empty()), "{named:?}");
    }
    assert_eq!(elements(&document, "svg").len(), 3 * (1 + PEERS.len()));
    for head in elements(&document, "th") {
        assert!(matches!(head.attribute("scope"), Some("col" | "row")), "{}", text_of(head));
    }
    assert!(elements(&document, "table").iter().all(|table| table.children().any(|node| node.has_tag_name("caption"))));
}

#[test]
fn the_report_has_the_table_the_reasons_and_the_caveats() {
    let desk = Desk::new();
    let arguments = ["-p", "web", "-w", "ticket-sale", "--against", "hpa"];
    let (page, found) = (closed(&desk.page(&arguments)), desk.json(&arguments));
    let document = parsed(&page);
    let said = text_of(document.root_element());
    let actions = found["runs"][0]["contestants"][0]["actions"].as_array().unwrap();
    assert!(!actions.is_empty());
    for because in
        actions.iter().map(|action| action["because"].as_str().unwrap()).chain(["A real service has slow starts"])
    {
        assert!(said.contains(because), "{because:?} is not in the report");
    }
    let cost = found["runs"][0]["contestants"][1]["score"]["relative_cost"].as_f64().unwrap();
    let row = elements(&document, "tr").into_iter().map(text_of).find(|row| row.starts_with("Kubernetes HPA")).unwrap();
    assert!(row.contains(&format!("{cost:.2}")), "{row}");
}

#[test]
fn a_name_can_not_become_markup() {
    let desk = Desk::new();
    let name = "<b>&\"quoted\".csv";
    desk.write(name, "seconds,requests_per_second\n0,100\n300,200\n600,60\n");
    let page = closed(&desk.page(&["-p", "web", "-w", name, "--against", "none"]));
    let document = parsed(&page);
    assert!(elements(&document, "b").is_empty());
    assert!(elements(&document, "h2").into_iter().any(|head| text_of(head) == "<b>&\"quoted\""));
}

#[test]
fn a_total_is_fed_so_that_its_target_is_met_or_as_requests_per_second() {
    let desk = Desk::new();
    let notes = |more: &[&str]| {
        let found =
            desk.json(&[&["-p", "queue", "-w", "constant", "--duration", "1h", "--against", "none"], more].concat());
        (
            found["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap().to_owned()).collect::<Vec<_>>(),
            found,
        )
    };
    let (scaled, found) = notes(&[]);
    let expected =
        "waiting is requests per second, scaled so that it is at its target of 30 an instance that is 70 % busy";
    assert!(scaled.iter().any(|note| note.contains(expected)), "{scaled:?}");
    assert_eq!(found["runs"][0]["target"]["p99_seconds"], json!(0.2));
    let (plain, found) = notes(&["--instance-rate", "100"]);
    assert!(plain.iter().any(|note| note.contains("waiting is the requests per second that arrive")), "{plain:?}");
    // 30 of 100 requests per second an instance: three times what the objective needs.
    let cost = found["runs"][0]["contestants"][0]["score"]["relative_cost"].as_f64().unwrap();
    assert!(cost > 1.2, "{cost}");
}

#[test]
fn a_longer_boot_keeps_the_objective_for_less_of_the_time() {
    let desk = Desk::new();
    let over = |boot: &str| {
        let found = desk.json(&["-p", "web", "-w", "ticket-sale", "--against", "none", "--boot", boot]);
        found["runs"][0]["contestants"][0]["score"]["over_objective"].as_f64().unwrap()
    };
    assert!(over("30s") < over("2m") && over("2m") < over("5m"), "{} {} {}", over("30s"), over("2m"), over("5m"));
}

#[test]
fn more_room_is_made_for_a_mean_and_said() {
    let desk = Desk::new();
    let taxi = trace("nyc_taxi.csv");
    let found =
        desk.json(&["-p", "web", "-w", &taxi, "--duration", "1d", "--mean-instances", "20", "--against", "none"]);
    let notes = found["runs"][0]["notes"].to_string();
    assert!(notes.contains("20 instances are needed on average") && notes.contains("instead of 10"), "{notes}");
    let size = found["runs"][0]["contestants"][0]["score"]["mean_size"].as_f64().unwrap();
    assert!(size > 20.0, "{size}");
}

#[test]
fn what_was_recorded_can_be_too_much_for_the_policy_and_that_is_said() {
    let desk = Desk::new();
    let rows: Vec<String> = (0..20).map(|bin| format!("{},4000\n", bin * 60)).collect();
    desk.write("busy.csv", &format!("seconds,requests_per_second\n{}", rows.concat()));
    let text = desk.printed(&["-p", "web", "-w", "busy.csv", "--as-recorded", "--against", "none"]);
    assert!(text.contains("The peak needs more than the maximum of 10, so nobody can keep the objective"), "{text}");
}

#[test]
fn mistakes_are_answered_with_what_to_do() {
    let desk = Desk::new();
    desk.write("bad.csv", "seconds,requests_per_second\n0,100\n60,many\n");
    desk.write("short.csv", "seconds,requests_per_second\n0,100\n60,100\n");
    fs::create_dir(desk.file("empty")).unwrap();
    let check = |code, arguments: &[&str], expected: &[&str]| {
        let said = desk.refused(code, arguments);
        assert!(expected.iter().all(|part| said.contains(part)), "{arguments:?}: {said}");
    };
    check(1, &["-p", "web", "-w", "tiket-sale"], &["no workload \"tiket-sale\"", "ticket-sale, diurnal", "constant"]);
    check(
        1,
        &["-p", "web", "-w", "bad.csv"],
        &["bad.csv is no workload", "line 3 is \"60,many\", expected two numbers"],
    );
    check(1, &["-p", "web", "-w", "short.csv"], &["short can't be simulated", "lasts 120 s, expected at least 300 s"]);
    check(1, &["-p", "web", "-w", "empty"], &["the folder empty has no file whose name ends with .csv"]);
    check(1, &["-p", "web", "-w", "step", "--as-recorded"], &["step is generated", "say how many instances"]);
    check(1, &["-p", "queue", "-w", "step", "--instance-rate", "2"], &["2 requests per second", "30 of waiting"]);
    check(78, &["-p", "wbe", "-w", "step"], &["has no policy \"wbe\", it has: web, queue"]);
    check(2, &["-p", "web"], &["--workload"]);
    check(2, &["-p", "web", "-w", "step", "--boot", "2"], &["such as 90s, 2m or 14d"]);
    check(2, &["-p", "web", "-w", "step", "--against", "hap"], &["hpa"]);
}
