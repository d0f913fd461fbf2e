//! What a policy's own Prometheus remembers of it, and what AWS does: for `backtest` and `tune`.

mod past;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use jiff::Timestamp;

use self::past::{Cache, Memory, Span};
use super::comparison::bar;
use super::stage::duration;
use crate::backtest::{History, Launches, Samples};
use crate::config::Config;
use crate::metric::prometheus::{Past, Settings};
use crate::policy::{Metric, MetricKind, Policy, Source};
use crate::target::{AutoScaling, Past as Activities, Settings as Aws};

/// The widest step between two moments; more would hide what a controller reacts to.
const WIDEST: Duration = Duration::from_mins(5);

/// The longest that one chunk may take. No decision waits for it, so the configured timeout of a read does not count.
const PATIENCE: Duration = Duration::from_mins(2);

/// Which past, and how it is read.
#[derive(Debug, clap::Args)]
pub(super) struct Remembered {
    /// The past, since when: a time ago such as 14d, which is usual, or a moment such as 2026-03-02T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Moment>,
    /// The past, until when.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = moment)]
    to: Moment,
    /// A query for the number of instances in service at each moment. Without it and without --activities, the series of
    /// a metric with `per_instance` are counted.
    #[arg(long, value_name = "PROMQL")]
    capacity_query: Option<String>,
    /// Ask AWS for the scaling activities of the group, which it keeps for six weeks: how long instances took to boot, and
    /// without a query how many there were.
    #[arg(long)]
    activities: bool,
    /// Where answers about the past are kept, so that the next replay need not ask again. Without it, `setpoint` in the
    /// user's cache folder.
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Keep and use no answers.
    #[arg(long, conflicts_with = "cache")]
    no_cache: bool,
}

/// A moment as it is given.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Ago(Duration),
    At(Timestamp),
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Moment::At(at));
    }
    duration(text).map(Moment::Ago).map_err(|_| {
        "expected a time of at most a year ago such as 14d, or a moment such as 2026-03-02T00:00:00Z".to_owned()
    })
}

impl Moment {
    fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now.saturating_sub(span).unwrap_or(Timestamp::MIN),
        }
    }
}

impl Remembered {
    /// What there is up to now, with the capacity by this query or by the activities, and with the usual cache.
    pub fn of(capacity_query: Option<String>, activities: bool) -> Self {
        let to = Moment::Ago(Duration::ZERO);
        Self { from: None, to, capacity_query, activities, cache: None, no_cache: false }
    }

    /// Reads what there is of `policy`, for the `usual` time where none is said.
    pub async fn history(&self, config: &Config, policy: &Policy, usual: Duration) -> anyhow::Result<History> {
        let settings = config.prometheus.clone();
        let settings = settings.context("the configuration names no Prometheus, which remembers the past")?;
        let settings = Settings { timeout: PATIENCE, ..settings };
        let now = Timestamp::now();
        let from = self.from.unwrap_or(Moment::Ago(usual)).before(now);
        let to = self.to.before(now).min(now);
        anyhow::ensure!(from < to, "--from is not before --to, expected an earlier and a later time");
        let Some(span) = Span::between(from, to, step(policy)) else {
            bail!("--from and --to are too close, expected more than an hour between them")
        };
        let cache = if self.no_cache { None } else { self.cache.clone().or_else(past::usual_cache) };
        let memory = Memory::new(Past::new(&settings)?, settings.url, cache.map(Cache::new), now);
        let activities = if self.activities { Some(activities(policy, &config.aws, span, now).await?) } else { None };
        history(policy, &memory, span, self.capacity_query.as_deref(), activities).await
    }
}

/// The policy's interval in whole seconds.
fn step(policy: &Policy) -> Duration {
    Duration::from_secs(policy.interval.as_secs().clamp(1, WIDEST.as_secs()))
}

async fn activities(policy: &Policy, aws: &Aws, span: Span, now: Timestamp) -> anyhow::Result<Activities> {
    let target = AutoScaling::connect(aws, policy.region.as_deref(), None).await?;
    let past = target.past(&policy.asg, span.from(), now).await;
    past.with_context(|| format!("the activities of {} can't be read", policy.asg))
}

async fn history(
    policy: &Policy,
    memory: &Memory,
    span: Span,
    capacity_query: Option<&str>,
    activities: Option<Activities>,
) -> anyhow::Result<History> {
    let queries = policy.metrics.iter().map(query).collect::<anyhow::Result<Vec<_>>>()?;
    let counted = || policy.metrics.iter().find_map(counted).filter(|_| activities.is_none());
    let capacity = capacity_query.map(str::to_owned).or_else(counted);
    let progress = bar((queries.len() + usize::from(capacity.is_some())) * span.chunks().count());
    let mut metrics = Vec::new();
    for (metric, query) in policy.metrics.iter().zip(&queries) {
        metrics.push(read(memory, &metric.name, query, span, &progress).await?);
    }
    let capacity = match &capacity {
        Some(query) => Some(read(memory, "the number of instances", query, span, &progress).await?),
        None => activities.as_ref().map(|activities| span.moments().map(|at| in_service(activities, at)).collect()),
    };
    progress.finish_and_clear();
    let launches = activities.and_then(|past| Some(Launches { boot: past.boot()?, count: past.launches() }));
    Ok(History { from: span.from(), step: span.step, metrics, capacity, launches })
}

fn in_service(activities: &Activities, at: Timestamp) -> Option<f64> {
    activities.in_service(at).map(f64::from)
}

async fn read(memory: &Memory, what: &str, query: &str, span: Span, bar: &ProgressBar) -> anyhow::Result<Samples> {
    bar.set_message(what.to_owned());
    let mut samples = Samples::new();
    for chunk in span.chunks() {
        let read = memory.read(query, chunk).await;
        samples.extend(read.with_context(|| format!("{what} can't be read from {} on: {query}", chunk.from))?);
        bar.inc(1);
    }
    Ok(span.within(samples))
}

/// What is asked of the past for `metric`: of one with a series for each instance their mean.
fn query(metric: &Metric) -> anyhow::Result<String> {
    match &metric.source {
        Source::Prometheus { query, per_instance: None } => Ok(query.to_string()),
        Source::Prometheus { query, per_instance: Some(_) } => Ok(format!("avg({query})")),
        Source::Exposition(_) => bail!(
            "{} is scraped directly, which leaves no past behind; only metrics with a query can be replayed",
            metric.name
        ),
    }
}

/// The number of instances that report a utilization.
fn counted(metric: &Metric) -> Option<String> {
    match &metric.source {
        Source::Prometheus { query, per_instance: Some(_) } if metric.kind == MetricKind::Utilization => {
            Some(format!("count({query})"))
        }
        _ => None,
    }
}
