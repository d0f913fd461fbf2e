//! TOML and environment to a validated [`Config`]; reports every finding with its line and column.
//!
//! The file holds everything; `SETPOINT__SECTION__KEY` in the environment overrides settings of the daemon, never a
//! policy. Nothing here connects to anything or opens a file that the configuration names, so a finding is about the
//! text alone.

mod bounds;
mod controller;
mod document;
pub mod duration;
mod finding;
mod guard;
mod metric;
mod notification;
mod policy;
mod policy_test;
mod price;
mod promql;
mod reference;
mod settings;
mod size;
mod table;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

pub use finding::{Finding, Findings, Location, Position};
pub use policy_test::{WrittenTest, load_tests, parse_tests};
pub use reference::{page, schema};

use self::finding::Report;
use self::table::{Table, Taken};
use crate::api::Settings as Http;
use crate::journal::Settings as State;
use crate::metric::prometheus;
use crate::notification::Channel;
use crate::policy::Policy;
use crate::target::Settings as Aws;

/// Largest configuration file in bytes; thousands of policies fit.
const MAX_FILE: u64 = 4 << 20;

const INTERVAL: Duration = Duration::from_secs(15);

/// Everything that the daemon is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Time between two evaluations of a policy that states none; 1 s to 1 h.
    pub interval: Duration,
    /// The Prometheus that queries go to. There is one wherever a policy has a query.
    pub prometheus: Option<prometheus::Settings>,
    /// How AWS is reached.
    pub aws: Aws,
    /// Where the HTTP interface listens.
    pub http: Http,
    /// Where the journal is, and how much it keeps.
    pub state: State,
    /// Whom to tell what. No two share a name.
    pub notifications: Vec<Channel>,
    /// At least one policy. No two share a name, or a group in one region.
    pub policies: Vec<Policy>,
}

/// Reads and validates the configuration in the file `path`; [`environment`] is what is usually laid over it.
///
/// # Errors
/// Every finding in the file and in the environment, or one that says why the file can't be read.
pub fn load(path: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<Config, Findings> {
    let source = path.display().to_string();
    match read_text(path) {
        Ok(text) => parse(&source, &text, environment),
        Err(error) => Err(unreadable(source, &error)),
    }
}

fn unreadable(source: String, error: &io::Error) -> Findings {
    let location = Location { source: source.into(), position: None };
    let problem = format!("can't be read: {error}");
    Findings(vec![Finding { location, key: String::new(), problem, suggestion: None }])
}

/// The same from a text; `source_name` stands for the file's name in findings.
///
/// # Errors
/// Every finding in the text and in the environment.
pub fn parse(
    source_name: &str,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Findings> {
    let report = Report::new(source_name);
    let layered = document::layered(text, environment, &report);
    let config = layered.and_then(|root| Table::root(&root, &report, config));
    report.conclude(config)
}

/// The variables of this process. What is not Unicode is kept as far as it can be read, so that it is not overlooked.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into(), value.to_string_lossy().into()))
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= MAX_FILE) {
        return Ok(text);
    }
    Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {MAX_FILE} bytes")))
}

fn config(root: &Table) -> Option<Config> {
    let interval = root.get("interval").and_then(|f| f.duration(policy::INTERVALS)).unwrap_or(INTERVAL);
    let prometheus = root.get("prometheus").map(|f| f.table(|t| settings::prometheus(t, interval)));
    let aws = root.section("aws", |t| Some(settings::aws(t, interval)));
    let http = root.section("http", settings::http);
    let state = root.section("state", |t| Some(settings::state(t)));

    let prometheus_deadline = prometheus.iter().flatten().map(|settings| ("prometheus.timeout", settings.timeout));
    let aws_deadline = aws.iter().map(|settings| ("aws.timeout", settings.timeout));
    let mut around = policy::Surroundings {
        interval,
        region: aws.as_ref().and_then(|settings| settings.region.clone()),
        deadlines: prometheus_deadline.chain(aws_deadline).collect(),
        has_prometheus: prometheus.is_some(),
        names: Taken::default(),
        groups: HashMap::new(),
    };
    let policies = root.need("policy", "at least one [[policy]]")?.tables(|t| policy::policy(t, &mut around));
    let mut taken = Taken::default();
    let notifications = root
        .get("notification")
        .map_or(Some(Vec::new()), |f| f.tables(|t| notification::channel(t, &mut taken, &around.names)));
    let prometheus = match prometheus {
        Some(settings) => Some(settings?),
        None => None,
    };
    let (aws, http, state, notifications) = (aws?, http?, state?, notifications?);
    Some(Config { interval, prometheus, aws, http, state, notifications, policies: policies? })
}

/// What names of policies and metrics are made of, so that they fit into URLs and metric labels.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&text.chars().count()) && text.chars().all(is_plain)
}
