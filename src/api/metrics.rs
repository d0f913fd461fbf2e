//! Setpoint's own metrics, computed from the snapshot at every scrape, so that nothing is counted twice.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{View, problem};
use crate::observation::Measurement;
use crate::policy::{Capacity, Mode};
use crate::status::{PolicyStatus, Snapshot};

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter>;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn expose(State(view): State<View>) -> Response {
    let registry = registry(&view.reader.borrow());
    let mut page = String::new();
    match encode(&mut page, &registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(_) => problem::response(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written"),
    }
}

/// The metrics by name, as they are filled.
struct Board(Registry);

impl Board {
    fn gauge(&mut self, name: &str, help: &str) -> Gauges {
        let family = Gauges::default();
        self.0.register(name, help, family.clone());
        family
    }

    fn counter(&mut self, name: &str, help: &str) -> Counters {
        let family = Counters::default();
        self.0.register(name, help, family.clone());
        family
    }
}

fn registry(snapshot: &Snapshot) -> Registry {
    let mut board = Board(Registry::with_prefix("setpoint"));
    daemon(&mut board, snapshot);
    capacities(&mut board, snapshot);
    signals(&mut board, snapshot);
    decisions(&mut board, snapshot);
    board.0
}

fn daemon(board: &mut Board, snapshot: &Snapshot) {
    let build = board.gauge("build_info", "The version that runs, with the value 1");
    set(&build, &vec![("version", env!("CARGO_PKG_VERSION").into())], 1.0);
    let configuration = &snapshot.configuration;
    let loaded =
        board.gauge("config_last_reload_successful", "Whether the last attempt to load the configuration worked");
    set(&loaded, &vec![], if configuration.reload_error.is_none() { 1.0 } else { 0.0 });
    let at = board.gauge("config_last_reload_success_timestamp_seconds", "When the configuration in force was loaded");
    set(&at, &vec![], seconds(configuration.loaded));
    let cycles = board.counter("decision_cycles", "Cycles finished");
    let took = board.gauge("decision_cycle_duration_seconds", "How long the last cycle took");
    let finished = board.gauge("last_cycle_timestamp_seconds", "When the last cycle was finished");
    for (name, lane) in &snapshot.lanes {
        let labels = || vec![("lane", name.to_string())];
        cycles.get_or_create(&labels()).inc_by(lane.cycles);
        set(&took, &labels(), lane.took.as_secs_f64());
        if let Some(at) = lane.finished {
            set(&finished, &labels(), seconds(at));
        }
    }
}

fn capacities(board: &mut Board, snapshot: &Snapshot) {
    let mut gauge = |name: &str, help: &str, read: &dyn Fn(&PolicyStatus) -> Option<Capacity>| {
        let family = board.gauge(name, help);
        for policy in snapshot.policies.values() {
            if let Some(capacity) = read(policy) {
                set(&family, &labels(policy), capacity.as_f64());
            }
        }
    };
    gauge("capacity_min", "The policy's least capacity", &|policy| Some(policy.min));
    gauge("capacity_max", "The policy's most capacity", &|policy| Some(policy.max));
    gauge("capacity_desired", "The group's desired capacity", &|p| p.group.map(|group| group.desired));
    gauge("capacity_in_service", "Instances in service", &|p| p.group.map(|group| group.in_service));
    gauge("capacity_warm", "Instances in service and past warm-up", &|p| p.group.map(|group| group.warm));
    gauge("capacity_healthy", "Instances in service and healthy", &|p| p.group.map(|group| group.healthy));
    gauge("capacity_pending", "Instances on their way into service", &|p| p.group.map(|group| group.pending));
    gauge("capacity_recommended", "What the controller asks for, before any limit", &|p| {
        p.evaluation.as_ref()?.recommended()
    });
}

fn signals(board: &mut Board, snapshot: &Snapshot) {
    let ratio = board.gauge("signal_target_ratio", "The measurement over its target");
    let age = board.gauge("signal_age_seconds", "The age of the newest sample behind the measurement");
    let valid = board.gauge("signal_valid", "Whether the last measurement is a number to decide with");
    for policy in snapshot.policies.values() {
        for metric in &policy.metrics {
            let labels = || [labels(policy), vec![("metric", metric.name.to_string())]].concat();
            if let Some(Measurement::Value { value, age: measured }) = metric.measurement {
                set(&ratio, &labels(), value / metric.target);
                if let Some(measured) = measured {
                    set(&age, &labels(), measured.as_secs_f64());
                }
            }
            let is_valid = matches!(metric.measurement, Some(Measurement::Value { .. }));
            set(&valid, &labels(), if is_valid { 1.0 } else { 0.0 });
        }
    }
}

fn decisions(board: &mut Board, snapshot: &Snapshot) {
    let last = board.gauge("last_decision_timestamp_seconds", "When the policy was last evaluated");
    let mode = board.gauge("policy_mode", "1 for the mode that the policy is in");
    let evaluations = board.counter("evaluations", "Evaluations");
    let failures = board.counter("evaluation_failures", "Evaluations that failed from a fault of Setpoint's own");
    let actions = board.counter("scale_actions", "Attempts to change the desired capacity");
    let invalid = board.counter("query_errors", "Measurements that were no number to decide with");
    let describes = board.counter("describe_errors", "Times that the group could not be described");
    for policy in snapshot.policies.values() {
        let with = |more: &[(&'static str, &str)]| -> Labels {
            let added = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
            labels(policy).into_iter().chain(added).collect()
        };
        policy.evaluation.iter().for_each(|evaluation| set(&last, &with(&[]), seconds(evaluation.at)));
        for known in [Mode::Active, Mode::Observe, Mode::ScaleOutOnly, Mode::Paused] {
            set(&mode, &with(&[("mode", &known.to_string())]), if known == policy.mode { 1.0 } else { 0.0 });
        }
        let counters = &policy.counters;
        evaluations.get_or_create(&with(&[])).inc_by(counters.evaluations);
        failures.get_or_create(&with(&[])).inc_by(counters.failures);
        describes.get_or_create(&with(&[])).inc_by(counters.describe_failures);
        for ((direction, result), count) in &counters.actions {
            actions.get_or_create(&with(&[("direction", direction), ("result", result)])).inc_by(*count);
        }
        for ((metric, reason), count) in &counters.invalid {
            let metric: &Arc<str> = metric;
            invalid.get_or_create(&with(&[("metric", metric), ("reason", reason)])).inc_by(*count);
        }
    }
}

fn labels(policy: &PolicyStatus) -> Labels {
    vec![("policy", policy.name.to_string()), ("asg", policy.asg.to_string())]
}

fn set(family: &Gauges, labels: &Labels, value: f64) {
    family.get_or_create(labels).set(value);
}

fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}
