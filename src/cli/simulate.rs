//! `setpoint simulate`: a policy beside other autoscalers in a simulated fleet. It connects to nothing.

mod workload;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use self::workload::Workload;
use super::check::EX_CONFIG;
use crate::config;
use crate::policy::{MetricKind, Policy};
use crate::report::{self, Report, Run, Targets};
use crate::simulation::contest::{Arena, Contestant, Course};
use crate::simulation::peers::Peer;
use crate::simulation::scenario::{Bout, Level, Scenario, Terms};

pub(super) const EXAMPLE: &str = "Examples:
  A ticket sale, beside every other autoscaler:
  $ setpoint simulate --config setpoint.toml --policy web --workload ticket-sale

  A recorded day, with charts and reasons; what an hour of it took is in seconds,requests_per_second:
  $ setpoint simulate -c setpoint.toml -p web -w monday.csv --report monday.html

  What would half the boot time do?
  $ setpoint simulate -c setpoint.toml -p web -w monday.csv --boot 1m --against none

  One table over a folder of traces, for a README:
  $ setpoint simulate -c setpoint.toml -p web -w traces/ --mean-instances 20 --output markdown";

/// Seconds of an hour.
const HOUR: f64 = 3600.0;

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/setpoint/setpoint.toml")]
    config: PathBuf,
    /// The policy to simulate.
    #[arg(long, short, value_name = "NAME")]
    policy: String,
    /// A workload by name (ticket-sale, diurnal, …), a CSV file with the header `seconds,requests_per_second`, or a folder
    /// of such files. May be given several times.
    #[arg(long, short, value_name = "NAME|FILE.csv|FOLDER", required = true)]
    workload: Vec<String>,
    /// Whom to compare with, each at the policy's own target utilization.
    #[arg(long, value_name = "WHOM", value_enum, value_delimiter = ',', default_value = "all")]
    against: Vec<Against>,
    /// Launch to in service. Without it, what the policy says, else 2m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    boot: Option<Duration>,
    /// Requests per second that one instance bears at full load, which also makes `total` metrics count requests per
    /// second. Without it, 200, and a `total` is at its target when instances are 70 % busy.
    #[arg(long, value_name = "RATE", value_parser = positive)]
    instance_rate: Option<f64>,
    /// Scale the workload so that its mean needs so many instances, and raise the policy's maximum to twice the peak.
    /// Without it, the workload is scaled so that its peak needs four fifths of the maximum.
    #[arg(long, value_name = "N", value_parser = positive)]
    mean_instances: Option<f64>,
    /// Take the rates of the CSV file as they are.
    #[arg(long, conflicts_with = "mean_instances")]
    as_recorded: bool,
    /// How much of the workload. Without it, all of a file; one day of a generated workload, two weeks of `weekly`, and
    /// 22.5 minutes of `ticket-sale`.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// Seed of everything that is drawn. The same seed gives the same figures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write an HTML file with charts, decisions and reasons.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What `simulate` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// The table alone, for a README.
    Markdown,
}

/// Whom a policy is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Against {
    /// Everybody.
    All,
    /// Nobody.
    None,
    /// The Horizontal Pod Autoscaler of Kubernetes.
    Hpa,
    /// The Knative Pod Autoscaler.
    Kpa,
    /// Target tracking of AWS on metrics of a minute.
    Aws,
    /// Target tracking of AWS on metrics of ten seconds.
    AwsHighResolution,
    /// The Nomad Autoscaler.
    Nomad,
    /// As many instances as the peak needs, at all times.
    Static,
    /// One who knows what comes, as far ahead as an instance takes to serve.
    Clairvoyant,
}

impl Against {
    fn peers(self) -> Vec<Peer> {
        match self {
            Self::All => Peer::ALL.to_vec(),
            Self::None => Vec::new(),
            Self::Hpa => vec![Peer::Hpa],
            Self::Kpa => vec![Peer::Kpa],
            Self::Aws => vec![Peer::AwsTargetTracking],
            Self::AwsHighResolution => vec![Peer::AwsTargetTrackingHighResolution],
            Self::Nomad => vec![Peer::Nomad],
            Self::Static => vec![Peer::Static],
            Self::Clairvoyant => vec![Peer::Clairvoyant],
        }
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = config::duration::parse(text).filter(|duration| *duration <= Duration::from_hours(366 * 24));
    duration.ok_or_else(|| "expected a time of at most a year, such as 90s, 2m or 14d".into())
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= 1e6);
    number.ok_or_else(|| "expected a number above 0 and at most 1000000".into())
}

/// Compares, prints the table, and writes the report.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let policy = match policy(&options.config, &options.policy) {
        Ok(policy) => policy,
        Err(problem) => {
            eprintln!("{problem}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    deliver(&compare(&policy, options)?, options.output, options.report.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page to `file`, if there is one, and prints.
pub(super) fn deliver(report: &Report, output: Output, file: Option<&Path>) -> anyhow::Result<()> {
    if let Some(file) = file {
        let cant = || format!("{} can't be written", file.display());
        fs::write(file, report::page(report)).with_context(cant)?;
    }
    // Whoever reads may stop reading.
    let _ = match output {
        Output::Text => write!(io::stdout(), "{}", report::text(report)),
        Output::Json => writeln!(io::stdout(), "{:#}", report::json(report)),
        Output::Markdown => write!(io::stdout(), "{}", report::markdown(report)),
    };
    Ok(())
}

/// The policy `name` of the configuration in `file`, or what is wrong.
fn policy(file: &Path, name: &str) -> Result<Policy, String> {
    let policies = config::load(file, config::environment()).map_err(|findings| findings.to_string())?.policies;
    policy_of(policies, file, name)
}

/// The policy `name` among the `policies` of `file`, or what is wrong.
pub(super) fn policy_of(policies: Vec<Policy>, file: &Path, name: &str) -> Result<Policy, String> {
    let names = policies.iter().map(|policy| &*policy.name).collect::<Vec<_>>().join(", ");
    let found = policies.into_iter().find(|policy| *policy.name == *name);
    found.ok_or_else(|| format!("setpoint: {} has no policy {name:?}, it has: {names}", file.display()))
}

fn compare(policy: &Policy, options: &Options) -> anyhow::Result<Report> {
    let scenario = Scenario::new(policy, options.terms())?;
    let workloads = workload::all(&options.workload)?;
    let peers = peers(&options.against);
    let alone = workloads.len() == 1;
    let bar = bar(workloads.len() * (1 + peers.len()));
    let mut runs = Vec::new();
    for Workload { name, origin } in workloads {
        bar.set_message(name.clone());
        let bout = scenario.bout(&origin, &peers).with_context(|| format!("{name} can't be simulated"))?;
        runs.push(settle(name, &scenario, bout, &bar, options.report.is_some().then_some(alone)));
    }
    bar.finish_and_clear();
    let target = format!("The others keep a utilization of {:.0} %.", 100.0 * scenario.peer_target);
    let notes = scenario.notes.into_iter().chain((!peers.is_empty()).then_some(target)).collect();
    let name = &policy.name;
    let title =
        if peers.is_empty() { format!("{name}, simulated") } else { format!("{name} beside others, simulated") };
    Ok(Report { title, notes, runs })
}

/// Each of them once.
pub(super) fn peers(against: &[Against]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for peer in against.iter().flat_map(|whom| whom.peers()) {
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    peers
}

/// Everybody's course. `drawn`: whether there are charts of everybody, or of the policy alone.
fn settle(workload: String, scenario: &Scenario, bout: Bout, bar: &ProgressBar, drawn: Option<bool>) -> Run {
    let Bout { arena, contestants, notes } = bout;
    let course = |contestant: &Contestant| {
        let ours = matches!(contestant, Contestant::Policy(_));
        let course = if ours || drawn == Some(true) { arena.watch(contestant) } else { counted(&arena, contestant) };
        bar.inc(1);
        // A fortnight of moments is megabytes.
        if drawn.is_none() { Course { moments: Vec::new(), ..course } } else { course }
    };
    let courses = contestants.iter().map(course).collect();
    let targets = Targets { utilization: utilization(&scenario.policy), p99: scenario.settings.service.objective };
    let (start, optimum_hours) = (scenario.settings.start, arena.optimum() / HOUR);
    Run { workload, notes, start, optimum_hours, targets, courses, doubts: Vec::new() }
}

fn counted(arena: &Arena, contestant: &Contestant) -> Course {
    let score = arena.tally(contestant).score(arena.optimum());
    Course { name: contestant.name().to_owned(), score, moments: Vec::new(), actions: Vec::new() }
}

fn utilization(policy: &Policy) -> Option<f64> {
    let metric = policy.metrics.iter().find(|metric| metric.kind == MetricKind::Utilization)?;
    Some(metric.target / metric.full_scale())
}

impl Options {
    fn terms(&self) -> Terms {
        let level = match self.mean_instances {
            Some(instances) => Level::Mean(instances),
            None if self.as_recorded => Level::AsRecorded,
            None => Level::OfPolicy,
        };
        Terms { boot: self.boot, instance_rate: self.instance_rate, level, duration: self.duration, seed: self.seed }
    }
}

/// Drawn on the standard error, and only where that is a terminal.
pub(super) fn bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {msg}");
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
