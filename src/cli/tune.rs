//! `setpoint tune`: the cheapest setting of a policy's own knobs that keeps an objective. It prints advice and never edits
//! a file.

mod lines;

use std::fmt::{self, Display};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use self::lines::Lines;
use super::check::EX_CONFIG;
use super::remembered::Remembered;
use super::stage::{self, Stage};
use super::workload::{self, Workload};
use crate::backtest::{History, Reconstruction, reconstruct};
use crate::policy::Policy;
use crate::report::{self, Report, Run, Targets};
use crate::simulation::contest::{Arena, Contestant, Course};
use crate::simulation::generator::Generator;
use crate::simulation::reference::Settings;
use crate::simulation::scenario::{Origin, Scenario};
use crate::simulation::score::Score;
use crate::simulation::trace::Demand;
use crate::tuning::{self, Advice, Judgement, Progress, TRAINING, Task, Verdict, tune};

pub(super) const EXAMPLE: &str = "Examples:
  The cheapest setting for two weeks of days and nights:
  $ setpoint tune --config setpoint.toml --policy web --workload diurnal --slo 1%

  On what was recorded, thoroughly, with charts of before and after:
  $ setpoint tune -c setpoint.toml -p web -w march.csv --candidates 1000 --report tuned.html

  On what Prometheus remembers of the policy:
  $ setpoint tune -c setpoint.toml -p web --from 28d --capacity-query 'count(up{asg=\"web-prod\"})'";

/// How much of a generated workload, where nothing else is said.
const FORTNIGHT: Duration = Duration::from_hours(14 * 24);

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    stage: Stage,
    /// A workload by name (diurnal, spikes, …), or a CSV file with the header `seconds,requests_per_second`; or --from, for
    /// what Prometheus remembers.
    #[arg(long, short, value_name = "NAME|FILE.csv", required_unless_present = "from", conflicts_with = "from")]
    workload: Option<String>,
    #[command(flatten)]
    memory: Remembered,
    /// How much of the workload. Without it, all of a file, two weeks of a generated workload, and 22.5 minutes of
    /// `ticket-sale`.
    #[arg(long, value_name = "TIME", value_parser = stage::duration, conflicts_with = "from")]
    duration: Option<Duration>,
    /// The share of time that the 99th percentile of the response time may be over its objective.
    #[arg(long, value_name = "PERCENT", default_value = "1%", value_parser = percent)]
    slo: f64,
    /// How many settings to try.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    candidates: u32,
    /// Write an HTML file with charts of the present and the best setting.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    output: super::Output,
}

/// `1%` or `0.5 %`, from above 0 to 50.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let number = number.filter(|percent| *percent > 0.0 && *percent <= 50.0);
    number.ok_or_else(|| "expected a percentage above 0 and at most 50, such as 1% or 0.1%".into())
}

/// Searches, and prints what it found. Ends with 1 where nothing that was tried keeps the objective.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (config, policy) = match options.stage.load() {
        Ok(loaded) => loaded,
        Err(problem) => {
            eprintln!("{problem}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = super::runtime()?;
    let subject = match &options.workload {
        Some(workload) => on_workload(&policy, workload, options)?,
        None => on_history(&policy, &runtime.block_on(options.memory.history(&config, &policy, FORTNIGHT))?, options)?,
    };
    let interrupted = stop.clone();
    // Without a handler Ctrl-C ends the process, which loses nothing but the advice.
    runtime.spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.store(true, Ordering::Relaxed);
        }
    });
    let bar = bar();
    let advice = tune(&subject.policy, &subject.task, &stop, &|progress| show(&bar, progress));
    bar.finish_and_clear();
    if let Some(file) = &options.report {
        let page = report::page(&comparison(&subject, &advice));
        fs::write(file, page).with_context(|| format!("{} can't be written", file.display()))?;
    }
    let found = Found { subject: &subject, advice: &advice };
    // Whoever reads may stop reading.
    let _ = match options.output {
        super::Output::Text => write!(io::stdout(), "{found}"),
        super::Output::Json => writeln!(io::stdout(), "{:#}", found.json()),
    };
    Ok(match advice.verdict {
        Verdict::Change | Verdict::Keep => ExitCode::SUCCESS,
        Verdict::Unproven | Verdict::OutOfReach => ExitCode::FAILURE,
    })
}

/// What is simulated: the task, the policy as it decides there, and what was taken for granted.
struct Subject {
    workload: String,
    policy: Policy,
    task: Task,
    notes: Vec<String>,
}

/// The policy on what was measured.
fn on_history(policy: &Policy, history: &History, options: &Options) -> anyhow::Result<Subject> {
    let Reconstruction { scenario, arena, notes: told, .. } = reconstruct(policy, history, options.stage.boot)?;
    let notes = scenario.notes.into_iter().chain(told).collect();
    let (settings, demand) = (arena.settings().clone(), arena.demand().clone());
    let workload = "its own history".to_owned();
    Ok(Subject { workload, policy: scenario.policy, task: options.task(settings, demand)?, notes })
}

fn on_workload(policy: &Policy, workload: &str, options: &Options) -> anyhow::Result<Subject> {
    let mut workloads = workload::all(&[workload.to_owned()])?;
    let Some(Workload { name, origin }) = workloads.pop().filter(|_| workloads.is_empty()) else {
        bail!("{workload} holds several workloads, expected one; a setting is tuned on one at a time");
    };
    let usual = match origin {
        Origin::Recorded(_) | Origin::Generated(Generator::TicketSale) => None,
        Origin::Generated(_) => Some(FORTNIGHT),
    };
    let scenario = Scenario::new(policy, options.stage.terms(options.duration.or(usual)))?;
    let bout = scenario.bout(&origin, &[]).with_context(|| format!("{name} can't be simulated"))?;
    let (settings, demand) = (bout.arena.settings().clone(), bout.arena.demand().clone());
    let task = options.task(settings, demand)?;
    // The maximum may have been raised with the load.
    let policy = Policy { max: task.settings.max.max(scenario.policy.max), ..scenario.policy };
    let notes = scenario.notes.into_iter().chain(bout.notes).collect();
    Ok(Subject { workload: name, policy, task, notes })
}

impl Options {
    fn task(&self, settings: Settings, demand: Demand) -> anyhow::Result<Task> {
        let candidates = usize::try_from(self.candidates)?;
        Ok(Task { settings, demand, slo: self.slo, candidates, seed: self.stage.seed })
    }
}

/// Drawn on the standard error, and only where that is a terminal.
fn bar() -> ProgressBar {
    const THOUSANDTHS: u64 = 1000;
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {eta} left  {msg}");
    ProgressBar::new(THOUSANDTHS).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a thousand")]
fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_position((progress.done * 1000.0) as u64);
    if let Some(best) = progress.best {
        bar.set_message(format!("best {best:.1} instance-hours"));
    }
}

/// The present and the best setting side by side, on both parts.
fn comparison(subject: &Subject, advice: &Advice) -> Report {
    let run = |name: &str, arena: &Arena| {
        let course = |name: &str, policy: &Policy| {
            let course = arena.watch(&Contestant::Policy(Box::new(policy.clone())));
            Course { name: name.to_owned(), ..course }
        };
        Run {
            workload: format!("{}, {name}", subject.workload),
            notes: Vec::new(),
            start: arena.settings().start,
            optimum_hours: arena.optimum() / 3600.0,
            targets: Targets { utilization: None, p99: arena.settings().service.objective },
            courses: vec![course("best found", &advice.policy), course("present", &subject.policy)],
            doubts: Vec::new(),
        }
    };
    let (training, held_out) = tuning::parts(&subject.task);
    let runs = vec![run("training part", &training), run("held-out part", &held_out)];
    Report { title: format!("{}, tuned", subject.policy.name), notes: subject.notes.clone(), runs }
}

/// What was found, and of what.
struct Found<'a> {
    subject: &'a Subject,
    advice: &'a Advice,
}

impl Found<'_> {
    fn days(&self) -> [f64; 2] {
        let days = self.subject.task.demand.seconds() / 86_400.0;
        [days * TRAINING, days * (1.0 - TRAINING)]
    }

    fn json(&self) -> Value {
        let Advice { verdict, present, best, changes, saving, tried, stopped, policy } = self.advice;
        let [training, held_out] = self.days();
        let verdict = match verdict {
            Verdict::Change => "change",
            Verdict::Keep => "keep",
            Verdict::Unproven => "unproven",
            Verdict::OutOfReach => "out-of-reach",
        };
        json!({
            "policy": *self.subject.policy.name,
            "workload": self.subject.workload,
            "notes": self.subject.notes,
            "slo_percent": self.subject.task.slo,
            "training_days": training,
            "held_out_days": held_out,
            "tried": tried,
            "stopped": stopped,
            "verdict": verdict,
            "present": judgement(present),
            "best": judgement(best),
            "saving": { "share": saving.mean, "standard_error": saving.error },
            "toml": Lines { policy, changes }.to_string(),
        })
    }
}

fn judgement(judgement: &Judgement) -> Value {
    let score = |score: &Score| {
        json!({
            "over_objective_percent": score.over_objective,
            "requests_over_objective_percent": score.requests_over_objective,
            "instance_hours": score.instance_hours,
            "relative_cost": score.relative_cost,
            "actions_a_day": score.actions_a_day,
        })
    };
    json!({ "training": score(&judgement.training), "held_out": score(&judgement.held_out) })
}

impl Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject: Subject { workload, policy, task, .. }, advice } = self;
        let ([training, held_out], objective) = (self.days(), task.settings.service.objective * 1000.0);
        writeln!(f, "Policy {} on {workload}: at most {} % of the time over {objective} ms.", policy.name, task.slo)?;
        let stopped = if advice.stopped { ", stopped early" } else { "" };
        writeln!(f, "{} settings tried on {training:.1} days{stopped}; {held_out:.1} days held out.\n", advice.tried)?;
        writeln!(f, "{:32} {:>12} {:>12}", "", "present", "best found")?;
        part(f, "training", &advice.present.training, &advice.best.training)?;
        part(f, "held out", &advice.present.held_out, &advice.best.held_out)?;
        writeln!(f)?;
        self.write_verdict(f)
    }
}

fn part(f: &mut fmt::Formatter<'_>, name: &str, present: &Score, best: &Score) -> fmt::Result {
    let row = |f: &mut fmt::Formatter<'_>, what, of: fn(&Score) -> f64, digits: usize| {
        writeln!(f, "{name}  {what:22} {:>12.digits$} {:>12.digits$}", of(present), of(best))
    };
    row(f, "% of time over", |score| score.over_objective, 2)?;
    row(f, "instance-hours", |score| score.instance_hours, 1)?;
    row(f, "times the optimum", |score| score.relative_cost, 3)?;
    row(f, "actions a day", |score| score.actions_a_day, 1)
}

impl Found<'_> {
    fn write_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Advice { verdict, present, best, policy, changes, saving, .. } = self.advice;
        let slo = self.subject.task.slo;
        let percent = 100.0 * saving.mean;
        match verdict {
            Verdict::Keep if changes.is_empty() => return writeln!(f, "Leave it: nothing that was tried is better."),
            Verdict::Keep => {
                let error = 200.0 * saving.error;
                return writeln!(
                    f,
                    "Leave it: the best that was found saves {percent:.1} % (±{error:.1} %), which may be chance."
                );
            }
            Verdict::OutOfReach => {
                writeln!(
                    f,
                    "Nothing that was tried keeps {slo} %; the nearest is {:.2} %.",
                    best.training.over_objective
                )?;
                writeln!(f, "A shorter boot, a higher minimum or maximum, or a milder objective would help.")?;
                if changes.is_empty() {
                    return writeln!(f, "That is the present setting.");
                }
                write!(f, "It is had with")?;
            }
            Verdict::Unproven => {
                writeln!(
                    f,
                    "Nothing is proven: the best that was found does not keep {slo} % on the held-out part. Tune on more days, or \
                     with a stricter --slo."
                )?;
                write!(f, "Not before, change")?;
            }
            Verdict::Change if present.training.over_objective > slo => {
                write!(f, "The present setting does not keep {slo} %. Change")?;
            }
            Verdict::Change => write!(f, "{percent:.1} % less for the same objective. Change")?,
        }
        writeln!(f, " these lines, of [[policy]] {}:\n\n{}", self.subject.policy.name, Lines { policy, changes })?;
        writeln!(f, "No file was changed.")
    }
}
