//! Setpoint's own metrics, written from the snapshot at every scrape, so that this room counts nothing.

mod cost;
mod outside;
mod process;

use std::fmt;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use self::process::Process;
use super::conditions::{Truth, conditions};
use super::problem::Problem;
use super::{View, words};
use crate::control::{Direction, Reason, Terms};
use crate::journal::{Health, Status};
use crate::observation::{GroupStatus, Measurement};
use crate::policy::{Capacity, Mode};
use crate::status::{PolicyStatus, Snapshot};

/// The text format that every Prometheus, every agent and `promtool check metrics` reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The daemon's own metrics, for Prometheus to scrape.
#[utoipa::path(get, path = "/metrics", tag = "own", responses((status = OK, body = String)))]
pub(super) async fn expose(State(view): State<View>) -> Response {
    let scrape = Scrape(view.snapshot(), view.clock.now());
    // The page of ten thousand policies takes most of a second, for which no cycle is to wait.
    match tokio::task::spawn_blocking(|| written(scrape)).await {
        Ok(Ok(page)) => ([(CONTENT_TYPE, TEXT)], page).into_response(),
        _ => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written").into_response(),
    }
}

fn written(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("setpoint");
    registry.register_collector(Box::new(scrape));
    let mut own = Registry::default();
    own.register_collector(Box::new(Process));
    let mut page = String::new();
    encode_registry(&mut page, &registry)?;
    encode_registry(&mut page, &own)?;
    Ok(page)
}

#[derive(Debug)]
struct Scrape(Snapshot, Timestamp);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let (mut page, Self(snapshot, now)) = (Page(encoder), self);
        daemon(&mut page, snapshot)?;
        lanes(&mut page, snapshot)?;
        capacities(&mut page, snapshot)?;
        signals(&mut page, snapshot)?;
        decisions(&mut page, snapshot)?;
        cost::cost(&mut page, snapshot)?;
        controllers(&mut page, snapshot)?;
        conditions_of(&mut page, snapshot, *now)?;
        outside::calls(&mut page, snapshot)?;
        outside::orders(&mut page, snapshot, *now)?;
        errors(&mut page, snapshot)?;
        notifications(&mut page, snapshot)
    }
}

type Label<'a> = (&'static str, &'a str);

/// The page as it is written, one family after the other.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// A number of the daemon as a whole.
    fn number(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauge<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], f64)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Gauge, samples)
    }

    /// A counter whose `name` ends in `_total`.
    fn counter<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'a>; N], impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        self.family(name, help, MetricType::Counter, samples)
    }

    /// Counters are written as gauges are: the encoder for counters would add a `_total` to the samples only, as
    /// OpenMetrics has it, and leave the `TYPE` line of another name.
    fn family<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = ([Label<'a>; N], impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        samples.into_iter().try_for_each(|(labels, value)| {
            // Empty braces are more than some readers know.
            if N == 0 { family.encode_gauge(&value) } else { family.encode_family(&labels)?.encode_gauge(&value) }
        })
    }
}

fn daemon(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.gauge("build_info", "The version that runs, with the value 1.", [(version, 1.0)])?;
    let configuration = &snapshot.configuration;
    page.number(
        "config_last_reload_successful",
        "Whether the last attempt to load the configuration worked.",
        f64::from(configuration.reload_error.is_none()),
    )?;
    page.number(
        "config_last_reload_success_timestamp_seconds",
        "When the configuration in force was loaded.",
        seconds(configuration.loaded),
    )?;
    journal(page, &snapshot.journal)
}

/// Nothing where there is no journal.
#[expect(clippy::cast_precision_loss, reason = "no journal has 53 bits of bytes")]
fn journal(page: &mut Page, journal: &Status) -> fmt::Result {
    if journal.health == Health::Off {
        return Ok(());
    }
    let writable = f64::from(journal.health == Health::Writable);
    page.number("journal_writable", "Whether the journal can be written; while not, nothing is removed.", writable)?;
    page.number("journal_size_bytes", "Size of the journal's file.", journal.size as f64)?;
    let count = |value| [([], value)];
    page.counter::<0>("journal_commits_total", "Transactions that were written.", count(journal.commits))?;
    page.counter::<0>("journal_failures_total", "Attempts to open or write it that failed.", count(journal.failures))?;
    let unreadable = "Records that could not be read at the start and are left out.";
    page.number("journal_unreadable_records", unreadable, journal.unreadable as f64)
}

fn lanes(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let lanes = || snapshot.lanes.iter().map(|(name, lane)| ([("lane", &**name)], lane));
    page.counter("decision_cycles_total", "Cycles finished.", lanes().map(|(labels, lane)| (labels, lane.cycles)))?;
    page.gauge(
        "decision_duration_seconds",
        "How long the last cycle took.",
        lanes().map(|(labels, lane)| (labels, lane.took.as_secs_f64())),
    )?;
    page.gauge(
        "last_cycle_timestamp_seconds",
        "When the last cycle was finished.",
        lanes().filter_map(|(labels, lane)| Some((labels, seconds(lane.finished?)))),
    )
}

fn capacities(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let mut capacity = |name: &str, help: &str, read: &dyn Fn(&PolicyStatus) -> Option<Capacity>| {
        let known = policies(snapshot).filter_map(|(labels, policy)| Some((labels, read(policy)?.as_f64())));
        page.gauge(name, help, known)
    };
    capacity("capacity_min", "The policy's least capacity.", &|policy| Some(policy.min))?;
    capacity("capacity_max", "The policy's most capacity.", &|policy| Some(policy.max))?;
    capacity("capacity_recommended", "What the controller asks for, before any limit.", &|policy| {
        policy.evaluation.as_ref()?.recommended()
    })?;
    let mut count = |name: &str, help: &str, read: fn(GroupStatus) -> Capacity| {
        capacity(name, help, &|policy| policy.group.map(read))
    };
    count("capacity_desired", "The group's desired capacity.", |group| group.desired)?;
    count("capacity_in_service", "Instances in service.", |group| group.in_service)?;
    count("capacity_warm", "Instances in service and past warm-up.", |group| group.warm)?;
    count("capacity_healthy", "Instances in service and healthy.", |group| group.healthy)?;
    count("capacity_pending", "Instances on their way into service.", |group| group.pending)
}

fn signals(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let metrics = || {
        policies(snapshot).flat_map(|([name, asg], policy)| {
            policy.metrics.iter().map(move |metric| ([name, asg, ("metric", &*metric.name)], policy, metric))
        })
    };
    let ratio = metrics().filter_map(|(labels, policy, metric)| Some((labels, words::ratio(policy, metric)?)));
    page.gauge("signal_target_ratio", "The measurement over its target, each for one instance.", ratio)?;
    let age = metrics().filter_map(|(labels, _, metric)| match metric.measurement? {
        Measurement::Value { age, .. } => Some((labels, age?.as_secs_f64())),
        Measurement::Stale { age } => Some((labels, age.as_secs_f64())),
        _ => None,
    });
    page.gauge("signal_age_seconds", "The age of the newest sample behind the measurement.", age)?;
    let coverage = metrics().filter_map(|(labels, policy, metric)| match metric.measurement? {
        Measurement::Instances { reporting, .. } => {
            let serving = policy.group?.in_service.as_f64();
            (serving > 0.0).then(|| (labels, f64::from(reporting) / serving))
        }
        _ => None,
    });
    let help = "The share of the instances in service that reported, where a query gives one series for each.";
    page.gauge("signal_coverage_ratio", help, coverage)?;
    let valid = metrics().map(|(labels, _, metric)| {
        (
            labels,
            f64::from(matches!(metric.measurement, Some(Measurement::Value { .. } | Measurement::Instances { .. }))),
        )
    });
    page.gauge("signal_valid", "Whether the last measurement is a number to decide with.", valid)
}

fn decisions(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let at = policies(snapshot).filter_map(|(labels, policy)| Some((labels, seconds(policy.evaluation.as_ref()?.at))));
    page.gauge("last_decision_timestamp_seconds", "When the policy was last evaluated.", at)?;
    let interval = policies(snapshot).map(|(labels, policy)| (labels, policy.interval.as_secs_f64()));
    page.gauge("policy_interval_seconds", "Time between two evaluations of the policy.", interval)?;
    let boot = policies(snapshot)
        .filter_map(|(labels, policy)| Some((labels, policy.evaluation.as_ref()?.boot_time?.as_secs_f64())));
    page.gauge("boot_time_seconds", "From launch to serving: as configured, or as learned from the group.", boot)?;
    let cooldowns = policies(snapshot).flat_map(|([name, asg], policy)| {
        let reasons = policy.evaluation.iter().flat_map(|evaluation| &evaluation.reasons);
        reasons.filter_map(move |stated| match stated.reason {
            Reason::CoolingDown { direction, remaining } => {
                let direction = if direction == Direction::Out { "out" } else { "in" };
                Some(([name, asg, ("direction", direction)], remaining.as_secs_f64()))
            }
            _ => None,
        })
    });
    page.gauge("cooldown_remaining_seconds", "What is left of a cooldown that holds a change back.", cooldowns)?;
    let modes = [Mode::Active, Mode::Observe, Mode::ScaleOutOnly, Mode::Paused].map(|mode| (mode, mode.to_string()));
    let states = policies(snapshot).flat_map(|([name, asg], policy)| {
        modes.iter().map(move |(mode, word)| ([name, asg, ("mode", word)], f64::from(*mode == policy.mode)))
    });
    page.gauge("policy_mode", "1 for the mode that the policy is in, 0 for the others.", states)?;
    let actions = policies(snapshot).flat_map(|([name, asg], policy)| {
        policy.counters.actions.iter().map(move |((direction, result), count)| {
            ([name, asg, ("direction", *direction), ("result", *result)], *count)
        })
    });
    page.counter("scale_actions_total", "Attempts to change the desired capacity.", actions)?;
    let blocked = policies(snapshot).flat_map(|([name, asg], policy)| {
        let blocked = policy.counters.blocked.iter();
        blocked.map(move |(guard, count)| ([name, asg, ("guard", *guard)], *count))
    });
    let help = "Evaluations in which this kept a change from being made as the metrics asked for it.";
    page.counter("scale_blocked_total", help, blocked)?;
    let changes = policies(snapshot).map(|(labels, policy)| (labels, policy.counters.direction_changes));
    let help = "Changes of the desired capacity in the other direction than the one before.";
    page.counter("direction_changes_total", help, changes)?;
    let grown = policies(snapshot)
        .filter_map(|(labels, policy)| Some((labels, policy.counters.time_to_healthy?.as_secs_f64())));
    let help = "From the last finished scale-out until all that it asked for was healthy, to within an interval.";
    page.gauge("time_to_healthy_seconds", help, grown)
}

/// What the parts of PID controllers did in the last evaluation.
fn controllers(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let recommendations = policies(snapshot).flat_map(|([name, asg], policy)| {
        let recommendations = policy.evaluation.iter().flat_map(|evaluation| &evaluation.recommendations);
        recommendations.map(move |recommendation| ([name, asg], recommendation))
    });
    let terms = recommendations.filter_map(|([name, asg], recommendation)| {
        let Terms { p, i, d } = recommendation.terms?;
        let metric = ("metric", &*recommendation.metric);
        Some([("p", p), ("i", i), ("d", d)].map(|(term, value)| ([name, asg, metric, ("term", term)], value)))
    });
    let help = "Logarithm of the factor by which each part of a PID controller changed the capacity asked for.";
    page.gauge("controller_term", help, terms.flatten())
}

/// In the words of Kubernetes, as the API says them.
fn conditions_of(page: &mut Page, snapshot: &Snapshot, now: Timestamp) -> fmt::Result {
    let found = policies(snapshot).flat_map(|([name, asg], policy)| {
        conditions(policy, &snapshot.orders, now).into_iter().map(move |condition| {
            let holds = f64::from(condition.status == Truth::True);
            ([name, asg, ("type", condition.kind.label())], holds)
        })
    });
    page.gauge("condition", "1 where the condition holds, 0 where it does not or nobody knows.", found)
}

fn errors(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let invalid = policies(snapshot).flat_map(|([name, asg], policy)| {
        policy
            .counters
            .invalid
            .iter()
            .map(move |((metric, reason), count)| ([name, asg, ("metric", &**metric), ("reason", *reason)], *count))
    });
    page.counter("query_errors_total", "Measurements that were no number to decide with.", invalid)?;
    let mut counter = |name: &str, help: &str, read: fn(&PolicyStatus) -> u64| {
        page.counter(name, help, policies(snapshot).map(|(labels, policy)| (labels, read(policy))))
    };
    counter("evaluations_total", "Evaluations.", |policy| policy.counters.evaluations)?;
    counter("evaluation_failures_total", "Evaluations that failed from a fault of Setpoint's own.", |policy| {
        policy.counters.failures
    })?;
    counter("describe_errors_total", "Times that the group could not be described.", |policy| {
        policy.counters.describe_failures
    })
}

fn notifications(page: &mut Page, snapshot: &Snapshot) -> fmt::Result {
    let outcomes = snapshot.notifications.iter().flat_map(|(name, delivery)| {
        let labels = |outcome| [("notification", &**name), ("outcome", outcome)];
        [(labels("sent"), delivery.sent), (labels("failed"), delivery.failed)]
    });
    page.counter("notifications_total", "Messages that arrived, or were given up.", outcomes)?;
    let dropped = snapshot.notifications.iter().map(|(name, delivery)| ([("notification", &**name)], delivery.dropped));
    page.counter("notices_dropped_total", "Notices that gave way to newer ones, because too many waited.", dropped)
}

fn policies(snapshot: &Snapshot) -> impl Iterator<Item = ([Label<'_>; 2], &PolicyStatus)> {
    snapshot.policies.values().map(|policy| ([("policy", &*policy.name), ("asg", &*policy.asg)], &**policy))
}

fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}
