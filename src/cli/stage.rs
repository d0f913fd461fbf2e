//! What a policy is simulated in, as the command line of `simulate` and of `tune` says it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{self, Config};
use crate::policy::Policy;
use crate::simulation::scenario::{Level, Terms};

/// The policy and its plant.
#[derive(Debug, clap::Args)]
pub(super) struct Stage {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/setpoint/setpoint.toml")]
    config: PathBuf,
    /// The policy to simulate.
    #[arg(long, short, value_name = "NAME")]
    policy: String,
    /// Launch to in service. Without it, what the policy says, else 2m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub boot: Option<Duration>,
    /// Requests per second that one instance bears at full load, which also makes `total` metrics count requests per
    /// second. Without it, 200 for an objective of 500 ms, and a `total` is at its target when instances are 70 % busy.
    #[arg(long, value_name = "RATE", value_parser = positive)]
    instance_rate: Option<f64>,
    /// Scale the workload so that its mean needs so many instances, and raise the policy's maximum to twice the peak.
    /// Without it, the workload is scaled so that its peak needs four fifths of the maximum.
    #[arg(long, value_name = "N", value_parser = positive)]
    mean_instances: Option<f64>,
    /// Take the rates of the CSV file as they are.
    #[arg(long, conflicts_with = "mean_instances")]
    as_recorded: bool,
    /// Seed of everything that is drawn. The same seed gives the same figures.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Stage {
    /// The policy of the configuration, or what is wrong.
    pub fn policy(&self) -> Result<Policy, String> {
        self.load().map(|(_, policy)| policy)
    }

    /// The configuration and the policy, or what is wrong.
    pub fn load(&self) -> Result<(Config, Policy), String> {
        let Self { config: file, policy: name, .. } = self;
        let config = config::load(file, config::environment()).map_err(|findings| findings.to_string())?;
        let policy = named(config.policies.clone(), file, name)?;
        Ok((config, policy))
    }

    /// What the policy does not tell, watched for `duration`.
    pub fn terms(&self, duration: Option<Duration>) -> Terms {
        let level = match self.mean_instances {
            Some(instances) => Level::Mean(instances),
            None if self.as_recorded => Level::AsRecorded,
            None => Level::OfPolicy,
        };
        Terms { boot: self.boot, instance_rate: self.instance_rate, level, duration, seed: self.seed }
    }
}

/// The policy `name` among the `policies` of `file`, or what is wrong.
pub(super) fn named(policies: Vec<Policy>, file: &Path, name: &str) -> Result<Policy, String> {
    let names = policies.iter().map(|policy| &*policy.name).collect::<Vec<_>>().join(", ");
    let found = policies.into_iter().find(|policy| *policy.name == *name);
    found.ok_or_else(|| format!("setpoint: {} has no policy {name:?}, it has: {names}", file.display()))
}

/// A time, as a configuration has it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = config::duration::parse(text).filter(|duration| *duration <= Duration::from_hours(366 * 24));
    duration.ok_or_else(|| "expected a time of at most a year, such as 90s, 2m or 14d".into())
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= 1e6);
    number.ok_or_else(|| "expected a number above 0 and at most 1000000".into())
}
