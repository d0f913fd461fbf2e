//! `setpoint status`: the fleet at a glance. It changes nothing.

use std::process::ExitCode;

use anstyle::Style;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, Connection};
use super::table::{self, BAD, Cell, GOOD, HEADING, PLAIN, WATCHFUL, say};

/// What the daemon says of itself.
#[derive(Deserialize)]
struct Daemon {
    version: String,
    not_ready_because: Option<String>,
    configuration: Configuration,
    orders: Orders,
    policies: usize,
}

#[derive(Deserialize)]
struct Configuration {
    file: String,
    reload_error: Option<String>,
}

#[derive(Deserialize)]
struct Orders {
    freeze: Option<Order>,
}

#[derive(Deserialize)]
struct Order {
    by: String,
    reason: String,
    until: jiff::Timestamp,
}

/// What the daemon says of a policy.
#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    pub name: String,
    mode: String,
    min: u32,
    max: u32,
    desired: Option<u32>,
    in_service: Option<u32>,
    pending: Option<u32>,
    recommended: Option<u32>,
    metrics: Vec<Metric>,
    because: Option<String>,
    standing: Vec<String>,
    conditions: Vec<Condition>,
    troubles: Vec<Trouble>,
}

#[derive(Debug, Deserialize)]
struct Metric {
    name: String,
    says: String,
}

#[derive(Debug, Deserialize)]
struct Condition {
    r#type: String,
    status: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Trouble {
    kind: String,
}

/// Prints the daemon's state and a line for each policy.
pub(super) async fn run(connection: &Connection, json: bool) -> anyhow::Result<ExitCode> {
    let client = Client::new(connection)?;
    let daemon: Value = client.read_json(&["api", "v1", "status"]).await?;
    if json {
        let policies: Vec<Value> = client.policies().await?;
        say(&format!("{:#}", json!({ "daemon": daemon, "policies": policies })));
        return Ok(ExitCode::SUCCESS);
    }
    let daemon: Daemon = client.parse(&daemon.to_string())?;
    let policies: Vec<Policy> = client.policies().await?;
    say(&format!("{}\n{}", head(&daemon), fleet(policies.iter(), table::width()).trim_end()));
    Ok(ExitCode::SUCCESS)
}

fn head(daemon: &Daemon) -> String {
    let Daemon { version, configuration: Configuration { file, reload_error }, orders, policies, .. } = daemon;
    let count = if *policies == 1 { "1 policy".to_owned() } else { format!("{policies} policies") };
    let mut rows = vec![vec![Cell::new(format!("Setpoint {version}, {count} from {file}"), PLAIN)]];
    let mut warn = |text: String| rows.push(vec![Cell::new(text, BAD)]);
    if let Some(why) = &daemon.not_ready_because {
        warn(format!("Not ready: {why}"));
    }
    if let Some(Order { by, reason, until }) = &orders.freeze {
        warn(format!("Frozen until {} by {by}: {reason}", until.strftime("%Y-%m-%d %H:%M:%S UTC")));
    }
    if let Some(error) = reload_error {
        warn(format!("The last reload was refused: {error}"));
    }
    table::lines(&rows, table::width())
}

/// A heading, and a line for each policy.
pub(super) fn fleet<'a>(policies: impl Iterator<Item = &'a Policy>, width: Option<usize>) -> String {
    let heading = ["POLICY", "STATE", "DESIRED", "READY", "WANTED", "BOUNDS", "METRICS", "WHY"];
    let mut rows = vec![heading.map(|text| Cell::new(text, HEADING)).to_vec()];
    rows.extend(policies.map(row));
    table::lines(&rows, width)
}

fn row(policy: &Policy) -> Vec<Cell> {
    let number = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
    let ready = match (policy.in_service, policy.pending) {
        (Some(in_service), Some(pending)) if pending > 0 => format!("{in_service} (+{pending})"),
        (in_service, _) => number(in_service),
    };
    let metrics: Vec<String> = policy.metrics.iter().map(|metric| format!("{} {}", metric.name, metric.says)).collect();
    let (state, style) = state(policy);
    // What somebody has ordered comes first: a narrow terminal may cut off the rest.
    let because = policy.because.as_deref().unwrap_or("not evaluated yet");
    let why = policy.standing.iter().map(String::as_str).chain([because]).collect::<Vec<_>>().join("; ");
    vec![
        Cell::new(&policy.name, PLAIN),
        Cell::new(state, style),
        Cell::new(number(policy.desired), PLAIN),
        Cell::new(ready, PLAIN),
        Cell::new(number(policy.recommended), PLAIN),
        Cell::new(format!("{}-{}", policy.min, policy.max), PLAIN),
        Cell::new(metrics.join(", "), PLAIN),
        Cell::new(why, PLAIN),
    ]
}

/// The worst that is to be said of a policy, in a word or two; a pause is always said.
fn state(policy: &Policy) -> (String, Style) {
    let condition = |kind: &str| policy.conditions.iter().find(|condition| condition.r#type == kind);
    let why_not = |kind| condition(kind).filter(|condition| condition.status != "True").map(|c| c.reason.as_str());
    let (unable, limited) = (why_not("AbleToScale"), condition("ScalingLimited").filter(|c| c.status == "True"));
    let word = match (policy.troubles.first(), unable) {
        (Some(trouble), Some("Paused")) => return (format!("paused, {}", trouble.kind), BAD),
        (Some(trouble), _) => return (trouble.kind.clone(), BAD),
        (None, Some("Paused")) => "paused",
        (None, Some("Observing")) => return ("observing".into(), PLAIN),
        (None, Some("NotEvaluated")) => return ("starting".into(), PLAIN),
        _ if policy.mode == "scale-out-only" => "out only",
        _ if limited.is_some_and(|limited| limited.reason == "AtMaximum") => "at maximum",
        _ if policy.recommended > policy.desired => "short",
        _ => return ("good".into(), GOOD),
    };
    (word.into(), WATCHFUL)
}
