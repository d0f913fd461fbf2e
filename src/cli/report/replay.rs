//! The policy and the one before it, replayed on what Prometheus remembers: what either would have come to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, ensure};
use serde::{Deserialize, Serialize};

use crate::backtest::{self, History, Question};
use crate::cli::remembered::Remembered;
use crate::cli::stage::named;
use crate::config::{self, Config};
use crate::policy::Policy;

/// What the command line says of replays.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// The configuration with the policy as it was before. Both are replayed on what Prometheus remembers, in a model of
    /// the fleet: compare the two replays with each other.
    #[arg(long, value_name = "FILE", requires = "policy")]
    previous: Option<PathBuf>,
    /// The configuration with the policy as it is.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/setpoint/setpoint.toml")]
    config: PathBuf,
    /// A query for the number of instances in service at each moment, for the replays. Without it and without
    /// --activities, the series of a metric with `per_instance` are counted.
    #[arg(long, value_name = "PROMQL", requires = "previous")]
    capacity_query: Option<String>,
    /// Ask AWS for the scaling activities of the group, for the replays.
    #[arg(long, requires = "previous")]
    activities: bool,
}

/// What a policy came to in a replay.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Replayed {
    /// Which one.
    pub name: String,
    /// Instance-hours that would have been billed.
    pub instance_hours: f64,
    /// Minutes in which the 99th percentile of the response time would have been over the objective.
    pub over_minutes: f64,
}

impl Asked {
    /// The replays of the policy `name` over the last `span`; none where none are asked for.
    ///
    /// # Errors
    /// A configuration is wrong or lacks the policy, or the past can't be read.
    pub async fn replays(&self, name: &str, span: Duration) -> anyhow::Result<Vec<Replayed>> {
        let Some(previous) = &self.previous else { return Ok(Vec::new()) };
        let (config, now) = read(&self.config, name)?;
        let (_, before) = read(previous, name)?;
        ensure!(now != before, "{} has the same policy {name}, so there is nothing to compare", previous.display());
        let memory = Remembered::of(self.capacity_query.clone(), self.activities);
        let mut replays = Vec::new();
        for (name, policy) in [("this policy, replayed", now), ("previous policy, replayed", before)] {
            let history = memory.history(&config, &policy, span).await?;
            replays.push(replayed(name, &policy, &history)?);
        }
        Ok(replays)
    }
}

fn read(file: &Path, name: &str) -> anyhow::Result<(Config, Policy)> {
    let config = config::load(file, config::environment()).map_err(|findings| anyhow!("{findings}"))?;
    let policy = named(config.policies.clone(), file, name).map_err(|problem| anyhow!(problem))?;
    Ok((config, policy))
}

fn replayed(name: &str, policy: &Policy, history: &History) -> anyhow::Result<Replayed> {
    let question = Question { peers: Vec::new(), boot: None, price: None, drawn: false };
    let report = backtest::replay(policy, history, &question)?;
    let score = report.runs.first().and_then(|run| Some(run.courses.first()?.score));
    let score = score.ok_or_else(|| anyhow!("the replay of {name} gave no figures"))?;
    let moments = history.metrics.first().map_or(0, Vec::len);
    let minutes = history.moment(moments).duration_since(history.from).as_secs_f64() / 60.0;
    let over_minutes = score.over_objective / 100.0 * minutes;
    Ok(Replayed { name: name.to_owned(), instance_hours: score.instance_hours, over_minutes })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn half_the_target_comes_to_twice_the_instances() {
        let came_to = |target: f64| {
            let text = format!(
                "[prometheus]\nurl = \"http://127.0.0.1:1\"\n[[policy]]\nname = \"web\"\nasg = \"web\"\nmode = \"active\"\n\
                 min = 1\nmax = 100\n[[policy.metric]]\nname = \"rps\"\nkind = \"total\"\nquery = \"rps\"\ntarget = {target}"
            );
            let config = config::parse("setpoint.toml", &text, []).unwrap_or_else(|findings| panic!("{findings}"));
            let (from, step) = (Timestamp::UNIX_EPOCH, Duration::from_secs(15));
            let metrics = vec![vec![Some(1000.0); 4 * 60 * 24]];
            let history = History { from, step, metrics, capacity: None, launches: None };
            replayed("web", &config.policies[0], &history).expect("a replay")
        };
        let (now, before) = (came_to(100.0), came_to(50.0));
        assert!((now.instance_hours / 240.0 - 1.0).abs() < 0.1, "{now:?}");
        assert!((before.instance_hours / now.instance_hours - 2.0).abs() < 0.1, "{before:?} and {now:?}");
        assert!(now.over_minutes < 60.0, "{now:?}");
    }
}
