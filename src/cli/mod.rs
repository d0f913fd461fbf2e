//! The command line: one file per command, each thin.

mod backtest;
pub mod check;
mod client;
mod comparison;
mod demo;
pub mod drive;
mod explain;
mod history;
mod iam_policy;
mod import;
mod notify;
mod order;
mod pages;
mod remembered;
mod report;
mod run;
mod schema;
mod simulate;
mod stage;
mod status;
mod table;
mod tune;
mod view;
mod watch;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use self::client::Connection;
use self::order::Order;
use crate::telemetry::{self, LogFormat};

/// Keeps Auto Scaling groups at the targets that you set, and explains every decision.
///
/// Start with `setpoint demo`, which needs nothing. Then write a configuration, `setpoint check` it, and `setpoint run`
/// it: a policy observes until its mode is set to active.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch Setpoint work: a ticket sale against an embedded world, 15 times as fast as life.
    ///
    /// The world serves the real protocols of Prometheus and Auto Scaling on loopback; nothing leaves this machine.
    Demo {
        /// Exit when the sale is over, instead of waiting for Ctrl-C.
        #[arg(long)]
        once: bool,
        /// The port of the status page; any free one when it is taken.
        #[arg(long, default_value_t = 9480)]
        port: u16,
        /// Seed of the world's noise.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Check a configuration and report everything that is wrong with it.
    ///
    /// Exits with 0, or with 78 when there are findings. With --tests it also runs policy tests, in which series of
    /// measurements go in and decisions are expected, and exits with 1 when any fails.
    #[command(after_help = CHECK_EXAMPLE)]
    Check {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = "/etc/setpoint/setpoint.toml")]
        file: PathBuf,
        /// A file of policy tests to run; may be given several times.
        #[arg(long, value_name = "FILE")]
        tests: Vec<PathBuf>,
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Run the daemon.
    ///
    /// SIGHUP reloads the configuration, all or nothing; SIGTERM finishes the running cycles and stops. Settings outside
    /// the policies can be overridden by the environment: `SETPOINT__PROMETHEUS__URL` for `url` in `[prometheus]`.
    Run {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE", default_value = "/etc/setpoint/setpoint.toml")]
        config: PathBuf,
        /// How log lines look. `SETPOINT_LOG=debug` shows more of them.
        #[arg(long, value_enum, default_value_t)]
        log_format: LogFormat,
    },
    /// Show the fleet at a glance: a line for each policy of the running daemon.
    #[command(after_help = client::EXIT_CODES)]
    Status(Asking),
    /// Show the fleet live, until Ctrl-C.
    #[command(after_help = client::EXIT_CODES)]
    Watch(Asking),
    /// Ask the running daemon why it decided as it did.
    ///
    /// From top to bottom: what was measured, what each metric recommends, what each stage made of it, the decision, and
    /// the rule that had the last word.
    #[command(after_help = format!("{EXPLAIN_EXAMPLE}\n\n{}", client::EXIT_CODES))]
    Explain {
        /// The policy.
        name: String,
        #[command(flatten)]
        connection: Connection,
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show what was decided and ordered, from the journal.
    ///
    /// The newest is last. A decision is there when it differs from the one before.
    #[command(after_help = format!("{HISTORY_EXAMPLE}\n\n{}", client::EXIT_CODES))]
    History {
        /// The policy; all of them when left out.
        policy: Option<String>,
        /// How far back to go.
        #[arg(long, value_name = "SPAN", value_parser = history::span)]
        from: Option<jiff::SignedDuration>,
        /// The most entries, up to 1000.
        #[arg(long, default_value_t = 50, value_parser = history::limit)]
        limit: usize,
        #[command(flatten)]
        connection: Connection,
        /// Read the journal in this state directory, while no daemon runs.
        #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "socket"])]
        state: Option<PathBuf>,
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show what policies came to in instance-hours and money, beside what they would have come to otherwise.
    ///
    /// Beside the policy's most capacity all the time, its own peak all the time and, with --previous, the policy as it was
    /// before; with the minutes over the target. It is an estimate at the price of an instance.
    #[command(after_help = format!("{}\n\n{}", report::EXAMPLE, client::EXIT_CODES))]
    Report(report::Options),
    /// Stop scaling a policy for a while.
    ///
    /// It takes effect at once, stands in the journal, and ends by itself. Another pause replaces it.
    #[command(after_help = format!("{PAUSE_EXAMPLE}\n\n{}", client::EXIT_CODES))]
    Pause {
        /// The policy.
        name: String,
        #[command(flatten)]
        pause: order::Pause,
        #[command(flatten)]
        asking: Asking,
    },
    /// End the pause of a policy.
    #[command(after_help = client::EXIT_CODES)]
    Resume {
        /// The policy.
        name: String,
        #[command(flatten)]
        signature: order::Signature,
        #[command(flatten)]
        asking: Asking,
    },
    /// Set other bounds for a policy for a while, within its own.
    ///
    /// It takes effect at once, stands in the journal, and ends by itself. Another override replaces it; `release` ends it.
    /// Its bounds must lie within the policy's own: a floor above its maximum is refused.
    #[command(after_help = format!("{OVERRIDE_EXAMPLE}\n\n{}", client::EXIT_CODES))]
    Override {
        /// The policy.
        name: String,
        #[command(flatten)]
        bounds: order::Override,
        #[command(flatten)]
        asking: Asking,
    },
    /// End the override of a policy.
    #[command(after_help = client::EXIT_CODES)]
    Release {
        /// The policy.
        name: String,
        #[command(flatten)]
        signature: order::Signature,
        #[command(flatten)]
        asking: Asking,
    },
    /// Stop scaling every policy for a while, those of later configurations as well.
    #[command(after_help = format!("{FREEZE_EXAMPLE}\n\n{}", client::EXIT_CODES))]
    Freeze {
        #[command(flatten)]
        pause: order::Pause,
        #[command(flatten)]
        asking: Asking,
    },
    /// End the freeze. Pauses of single policies stay.
    #[command(after_help = client::EXIT_CODES)]
    Unfreeze {
        #[command(flatten)]
        signature: order::Signature,
        #[command(flatten)]
        asking: Asking,
    },
    /// Put a changed configuration in force, all or nothing, and wait for the outcome.
    ///
    /// Who asked and why stands in the log, not in the history: nothing is left of it that could end.
    #[command(after_help = client::EXIT_CODES)]
    Reload {
        #[command(flatten)]
        signature: order::Signature,
        #[command(flatten)]
        asking: Asking,
    },
    /// Compare a policy with other autoscalers in a simulated fleet.
    ///
    /// The code that decides live decides here, in virtual time: two weeks take a second. Prints how long and how often
    /// the response time was over its objective, at what cost, and with how much ado; --report writes charts and every
    /// decision with its reason into one HTML file. What the simulation takes for granted is said with the figures.
    #[command(after_help = simulate::EXAMPLE)]
    Simulate(simulate::Options),
    /// Replay a policy on its owner's own history, as Prometheus remembers it.
    ///
    /// What was measured tells the load that was; the policy steers a simulated fleet through it, with the code that runs
    /// live. The table shows what it would have cost and missed beside what really happened, beside others, and with half
    /// the boot time. What can't be known, such as the load behind a saturated fleet, is said. Nothing is changed anywhere.
    #[command(after_help = backtest::EXAMPLE)]
    Backtest(backtest::Options),
    /// Find the cheapest setting of a policy that keeps an objective, on a workload or on its owner's own history.
    ///
    /// Turns the policy's own knobs - gains, risk, tolerance, windows, steps, cooldowns, and a target that is an operating
    /// point - in a simulated fleet, searches on the first 70 % of the workload, and shows what the best would do on the
    /// rest, which it has not seen. Prints the lines to change and never edits the file. Ctrl-C stops with the best so far.
    /// Exits with 1 where nothing that was tried keeps the objective.
    #[command(after_help = tune::EXAMPLE)]
    Tune(tune::Options),
    /// Close a loop around the decision code: one JSON object a line in, one out.
    ///
    /// Each line of the standard input says what a simulator measured and how its group stands; each is answered on the
    /// standard output with what the policy decides, which counts as applied at once. Time is what the lines say, so an
    /// hour takes milliseconds. Nothing is connected to and nothing is touched; therefore a policy that observes, as a
    /// new one does, decides here as though it were active. One that is paused or may only scale out holds as it does
    /// live.
    #[command(after_help = DRIVE_EXAMPLE)]
    Drive {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE", default_value = "/etc/setpoint/setpoint.toml")]
        config: PathBuf,
        /// The policy to decide with.
        #[arg(long, short, value_name = "NAME")]
        policy: String,
    },
    /// Tell every [[notification]] of a configuration that this is a test.
    ///
    /// Says of each whether the message arrived, and if not, why. Fails if any did not.
    #[command(after_help = NOTIFY_EXAMPLE)]
    Notify {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE", default_value = "/etc/setpoint/setpoint.toml")]
        config: PathBuf,
    },
    /// Print what scales a service elsewhere as a configuration that only observes.
    ///
    /// What has no equal and what had to be assumed stands in comments. Queries are conventions: verify them. Nothing is
    /// called and nothing is changed.
    #[command(after_help = import::EXAMPLE)]
    Import {
        /// What to import from.
        #[command(subcommand)]
        from: import::From,
    },
    /// Print what can be configured, as JSON Schema for editors or as the reference.
    ///
    /// An editor with the schema completes keys, explains them, and marks most mistakes while they are made. What needs
    /// more than one value, a calendar or a query's grammar is left to `setpoint check`.
    #[command(after_help = SCHEMA_EXAMPLE)]
    Schema {
        /// What to print.
        #[arg(long, value_enum, default_value_t)]
        format: schema::Format,
    },
    /// Print the IAM policy that a configuration needs, and no more.
    ///
    /// The document goes to the standard output; what to know about it goes to the standard error. It allows to read what
    /// AWS can't limit to some groups, and to set the desired capacity of the groups whose policies act. AWS is not called.
    #[command(after_help = IAM_EXAMPLE)]
    IamPolicy {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE", default_value = "/etc/setpoint/setpoint.toml")]
        config: PathBuf,
        /// The account that the groups are in.
        #[arg(long, value_name = "ID", value_parser = iam_policy::account)]
        account: Option<String>,
        /// Allow the groups that bear this tag, in place of those with the configured names.
        #[arg(long, value_name = "KEY=VALUE", value_parser = iam_policy::tag)]
        tag: Option<(String, String)>,
        /// Also allow what policies that only observe will need once they act.
        #[arg(long)]
        as_active: bool,
    },
    /// Print the manual page, or write those of all commands.
    #[command(after_help = MAN_EXAMPLE)]
    Man {
        /// Where to write a page for each command.
        #[arg(long, value_name = "FOLDER")]
        directory: Option<PathBuf>,
    },
    /// Print what completes commands and options in a shell.
    #[command(after_help = COMPLETIONS_EXAMPLE)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

const CHECK_EXAMPLE: &str = r#"Example:
  $ setpoint check setpoint.toml --tests web.tests.toml

  with web.tests.toml:
    [[test]]
    name = "a doubled load doubles the fleet"
    policy = "web"
    group = { desired = 4, boot_time = "2m" }
    [test.load]           # busy instances; or [test.series], the measurements themselves
    cpu = "2.8x40 5.6x120" # one sample each interval, as in promtool
    [[test.expect]]
    at = "20m"
    desired = { min = 8, max = 9 }"#;

const DRIVE_EXAMPLE: &str = r#"Example:
  $ echo '{"at": 0, "metrics": {"cpu": 0.92}, "group": {"desired": 4, "in_service": 4, "pending": 0, "min": 2, "max": 10}}' |
      setpoint drive --config setpoint.toml --policy web"#;

const HISTORY_EXAMPLE: &str = "Example:
  $ setpoint history web --from 24h
  $ setpoint history --output json | jq -r '.decisions[] | select(.event == \"order\") | .given.by'
  $ setpoint history --state /var/lib/setpoint";

const EXPLAIN_EXAMPLE: &str = "Example:
  $ setpoint explain web
  $ setpoint explain web --output json | jq -r '.reasons[].text'";

const PAUSE_EXAMPLE: &str = "Example:
  $ setpoint pause web --for 3h --reason 'database migration'
  $ setpoint pause web --scope scale-in --until 2026-11-30T06:00:00Z --reason 'sale weekend'";

const OVERRIDE_EXAMPLE: &str = "Example:
  $ setpoint override web --floor 40 --for 3h --reason 'tickets go on sale at noon'";

const FREEZE_EXAMPLE: &str = "Example:
  $ setpoint freeze --for 1h --reason 'incident 4711'
  $ setpoint unfreeze --reason 'incident 4711 is over'";

const COMPLETIONS_EXAMPLE: &str = "Example:
  $ setpoint completions bash > /etc/bash_completion.d/setpoint";

const MAN_EXAMPLE: &str = "Example:
  $ setpoint man | man -l -
  $ setpoint man --directory /usr/local/share/man/man1";

const NOTIFY_EXAMPLE: &str = "Example:
  $ setpoint notify --config setpoint.toml
  chat: arrived
  pager: refused with 401 Unauthorized";

const SCHEMA_EXAMPLE: &str = "Example:
  $ setpoint schema > setpoint.schema.json
  and as the first line of setpoint.toml, for Even Better TOML (VS Code), Taplo and Tombi:
    #:schema ./setpoint.schema.json";

const IAM_EXAMPLE: &str = "Example:
  $ setpoint iam-policy --config setpoint.toml --account 123456789012 > policy.json
  $ aws iam create-policy --policy-name setpoint --policy-document file://policy.json";

/// Whom a command asks, and what it prints.
#[derive(Debug, clap::Args)]
struct Asking {
    #[command(flatten)]
    connection: Connection,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What a command prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What the command line may say.
pub fn definition() -> clap::Command {
    Arguments::command()
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { config, log_format } => {
            runtime().and_then(|runtime| runtime.block_on(run::run(config, log_format)))
        }
        Command::Check { file, tests, output } => return check::run(&file, &tests, output == Output::Json),
        Command::Explain { name, connection, output } => {
            runtime().and_then(|runtime| runtime.block_on(explain::run(&name, &connection, output == Output::Json)))
        }
        Command::Status(Asking { connection, output }) => {
            runtime().and_then(|runtime| runtime.block_on(status::run(&connection, output == Output::Json)))
        }
        Command::Watch(Asking { connection, output }) => {
            runtime().and_then(|runtime| runtime.block_on(watch::run(&connection, output == Output::Json)))
        }
        Command::Pause { name, pause, asking } => give(Order::Pause(name, pause), &asking),
        Command::Resume { name, signature, asking } => give(Order::Resume(name, signature), &asking),
        Command::Override { name, bounds, asking } => give(Order::Override(name, bounds), &asking),
        Command::Release { name, signature, asking } => give(Order::Release(name, signature), &asking),
        Command::Freeze { pause, asking } => give(Order::Freeze(pause), &asking),
        Command::Unfreeze { signature, asking } => give(Order::Unfreeze(signature), &asking),
        Command::Reload { signature, asking } => give(Order::Reload(signature), &asking),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { directory } => pages::manual(directory.as_deref()),
        Command::History { policy, from, limit, connection, state, output } => {
            let policy = policy.as_deref();
            let question = history::Question { policy, from, limit, json: output == Output::Json };
            match state {
                Some(directory) => history::read(&question, &directory),
                None => runtime().and_then(|runtime| runtime.block_on(history::ask(&question, &connection))),
            }
        }
        Command::Report(options) => runtime().and_then(|runtime| runtime.block_on(report::run(options))),
        Command::Drive { config, policy } => drive::command(&config, &policy),
        Command::Backtest(options) => runtime().and_then(|runtime| runtime.block_on(backtest::run(options))),
        Command::Simulate(options) => simulate::run(&options),
        Command::Tune(options) => tune::run(&options),
        Command::Import { from } => import::run(&from),
        Command::Notify { config } => runtime().and_then(|runtime| runtime.block_on(notify::run(&config))),
        Command::Schema { format } => schema::run(format),
        Command::IamPolicy { config, account, tag, as_active } => {
            return iam_policy::run(&config, &iam_policy::Limits { account, tag, as_active });
        }
        Command::Demo { once, port, seed } => {
            runtime().and_then(|runtime| runtime.block_on(demo::run(demo::Options { once, port, seed })))
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("setpoint: {}", telemetry::chain(error.as_ref()));
            client::exit_code(&error)
        }
    }
}

fn give(order: Order, Asking { connection, output }: &Asking) -> anyhow::Result<ExitCode> {
    runtime().and_then(|runtime| runtime.block_on(order::run(order, connection, *output == Output::Json)))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
