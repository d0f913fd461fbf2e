//! `setpoint backtest`: a policy replayed on what its own Prometheus remembers. It changes nothing anywhere but its cache.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::check::EX_CONFIG;
use super::comparison::{Against, Output, deliver, peers};
use super::remembered::Remembered;
use super::stage::{duration, named, positive};
use crate::backtest::{self, Question};
use crate::config;

pub(super) const EXAMPLE: &str = "Examples:
  The last two weeks, beside every other autoscaler:
  $ setpoint backtest -c setpoint.toml -p web --from 14d --capacity-query 'count(up{asg=\"web-prod\"})'

  In money, with charts and reasons; AWS tells how many instances there were:
  $ setpoint backtest -c setpoint.toml -p web --from 14d --activities --instance-price 0.0725 --report web.html";

/// Since when, where nothing is said.
const A_FORTNIGHT: Duration = Duration::from_hours(14 * 24);

/// What the command line says.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/setpoint/setpoint.toml")]
    config: PathBuf,
    /// The policy to replay.
    #[arg(long, short, value_name = "NAME")]
    policy: String,
    #[command(flatten)]
    memory: Remembered,
    /// Whom to compare with, each at the policy's own target utilization.
    #[arg(long, value_name = "WHOM", value_enum, value_delimiter = ',', default_value = "all")]
    against: Vec<Against>,
    /// Launch to in service. Without it, what the policy says, else what --activities tell, else 2m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    boot: Option<Duration>,
    /// What an instance costs an hour, in any currency.
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    instance_price: Option<f64>,
    /// Write an HTML file with charts, decisions and reasons.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Reads the past, replays, and prints.
pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let config = match config::load(&options.config, config::environment()) {
        Ok(config) => config,
        Err(findings) => {
            eprintln!("{findings}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    let policy = match named(config.policies.clone(), &options.config, &options.policy) {
        Ok(policy) => policy,
        Err(problem) => {
            eprintln!("{problem}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    let history = options.memory.history(&config, &policy, A_FORTNIGHT).await?;
    let question = Question {
        peers: peers(&options.against),
        boot: options.boot,
        price: options.instance_price,
        drawn: options.report.is_some(),
    };
    let report = backtest::replay(&policy, &history, &question)?;
    deliver(&report, options.output, options.report.as_deref())?;
    Ok(ExitCode::SUCCESS)
}
