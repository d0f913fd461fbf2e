//! `setpoint simulate`: a policy beside other autoscalers in a simulated fleet. It connects to nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;

use super::check::EX_CONFIG;
use super::comparison::{self, Against, Output};
use super::stage::{self, Stage};
use super::workload::{self, Workload};
use crate::policy::{MetricKind, Policy};
use crate::report::{Report, Run, Targets};
use crate::simulation::contest::{Arena, Contestant, Course};
use crate::simulation::scenario::{Bout, Scenario};

pub(super) const EXAMPLE: &str = "Examples:
  A ticket sale, beside every other autoscaler:
  $ setpoint simulate --config setpoint.toml --policy web --workload ticket-sale

  A recorded day, with charts and reasons:
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
    #[command(flatten)]
    stage: Stage,
    /// A workload by name, a CSV file with the header `seconds,requests_per_second`, or a folder of such files; may be given
    /// several times. The names: ticket-sale, diurnal, weekly, step, ramp, spikes, drift, outage-and-return, retry-storm,
    /// constant.
    #[arg(long, short, value_name = "NAME|FILE.csv|FOLDER", required = true)]
    workload: Vec<String>,
    /// Whom to compare with, each at the policy's own target utilization.
    #[arg(long, value_name = "WHOM", value_enum, value_delimiter = ',', default_value = "all")]
    against: Vec<Against>,
    /// How much of the workload. Without it, all of a file; one day of a generated workload, two weeks of `weekly`, and
    /// 22.5 minutes of `ticket-sale`.
    #[arg(long, value_name = "TIME", value_parser = stage::duration)]
    duration: Option<Duration>,
    /// Write an HTML file with charts, decisions and reasons.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Compares, prints the table, and writes the report.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let policy = match options.stage.policy() {
        Ok(policy) => policy,
        Err(problem) => {
            eprintln!("{problem}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    comparison::deliver(&compare(&policy, options)?, options.output, options.report.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

fn compare(policy: &Policy, options: &Options) -> anyhow::Result<Report> {
    let scenario = Scenario::new(policy, options.stage.terms(options.duration))?;
    let workloads = workload::all(&options.workload)?;
    let peers = comparison::peers(&options.against);
    let alone = workloads.len() == 1;
    let bar = comparison::bar(workloads.len() * (1 + peers.len()));
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
