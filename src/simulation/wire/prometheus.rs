//! The HTTP API of Prometheus, as much as is asked of it: instant and range queries, readiness, build information.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Form, Router};
use jiff::{SignedDuration, Timestamp};
use promql_parser::util::parse_duration;
use serde::Deserialize;
use serde_json::{Value as Body, json};

use super::{Shared, broken_off};
use crate::simulation::faults::PrometheusFault;
use crate::simulation::promql::{Element, MAX_POINTS, Query, QueryError, Series, Value, written};
use crate::simulation::world::World;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/api/v1/query", get(query).post(query))
        .route("/api/v1/query_range", get(query_range).post(query_range))
        .route("/-/ready", get(ready))
        .route("/-/healthy", get(ready))
        .route("/api/v1/status/buildinfo", get(build_information))
        .with_state(shared)
}

/// The parameters of an instant query, in the URL or in the body of a form.
#[derive(Debug, Deserialize)]
struct Instant {
    #[serde(default)]
    query: String,
    time: Option<String>,
}

/// The parameters of a range query, in the URL or in the body of a form.
#[derive(Debug, Deserialize)]
struct Range {
    query: String,
    start: String,
    end: String,
    step: String,
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let Err(interruption) = uninterrupted(&shared, "").await else {
        return "Prometheus Server is Ready.\n".into_response();
    };
    interruption
}

async fn build_information(State(shared): State<Arc<Shared>>) -> Response {
    let Err(interruption) = uninterrupted(&shared, "").await else {
        return success(&json!({ "version": "2.42.0", "revision": "embedded-world", "goVersion": "" }));
    };
    interruption
}

async fn query(State(shared): State<Arc<Shared>>, Form(asked): Form<Instant>) -> Response {
    if let Err(interruption) = uninterrupted(&shared, &asked.query).await {
        return interruption;
    }
    instant(&shared.now(), &asked).map_or_else(|error| failure(&error), |body| success(&body))
}

fn instant(world: &World, asked: &Instant) -> Result<Body, QueryError> {
    let at = asked.time.as_deref().map_or(Ok(world.now()), |time| moment("time", time))?;
    let fault = fault(world, &asked.query);
    let value = Query::parse(&asked.query)?.at(at, world.history(), fault.as_ref())?;
    Ok(instant_body(doubled(value, fault), at))
}

async fn query_range(State(shared): State<Arc<Shared>>, Form(asked): Form<Range>) -> Response {
    if let Err(interruption) = uninterrupted(&shared, &asked.query).await {
        return interruption;
    }
    range(&shared.now(), &asked).map_or_else(|error| failure(&error), |body| success(&body))
}

fn range(world: &World, asked: &Range) -> Result<Body, QueryError> {
    let (start, end) = (moment("start", &asked.start)?, moment("end", &asked.end)?);
    let step = step(&asked.step)?;
    if end < start {
        return Err(parameter("end", "end timestamp must not be before start time"));
    }
    if start.saturating_add(step.saturating_mul(MAX_POINTS)).is_ok_and(|last| last < end) {
        return Err(QueryError::BadData(format!(
            "exceeded maximum resolution of {MAX_POINTS} points per timeseries. Try decreasing the query resolution \
             (?step=XX)"
        )));
    }
    let fault = fault(world, &asked.query);
    let series = Query::parse(&asked.query)?.over((start, end), step, world.history(), fault.as_ref())?;
    Ok(json!({ "resultType": "matrix", "result": series.iter().map(series_body).collect::<Vec<_>>() }))
}

fn fault(world: &World, query: &str) -> Option<PrometheusFault> {
    world.faults.prometheus.as_ref().and_then(|fault| fault.hits(&[query]).copied())
}

/// The answer that a fault gives in place of the real one, after the time that it takes.
async fn uninterrupted(shared: &Shared, query: &str) -> Result<(), Response> {
    let fault = fault(&shared.now(), query);
    match fault {
        Some(PrometheusFault::Unavailable) => {
            Err((StatusCode::SERVICE_UNAVAILABLE, "upstream connect error or disconnect/reset before headers")
                .into_response())
        }
        Some(PrometheusFault::Disconnected) => Err(broken_off()),
        Some(PrometheusFault::Malformed) => Err("<html><body>Login</body></html>".into_response()),
        Some(PrometheusFault::Slow(late)) => {
            tokio::time::sleep(late).await;
            Ok(())
        }
        // These are faults of the data, not of the server.
        Some(PrometheusFault::Empty | PrometheusFault::NotANumber | PrometheusFault::TwoSeries) | None => Ok(()),
    }
}

/// The result, with a second series beside a single one where the fault says so.
fn doubled(value: Value, fault: Option<PrometheusFault>) -> Value {
    match (value, fault) {
        (Value::Vector(mut elements), Some(PrometheusFault::TwoSeries)) if elements.len() == 1 => {
            let mut second = elements[0].clone();
            second.labels.insert("replica".to_owned(), "b".to_owned());
            elements.push(second);
            Value::Vector(elements)
        }
        (value, _) => value,
    }
}

fn success(data: &Body) -> Response {
    Json(json!({ "status": "success", "data": data })).into_response()
}

fn failure(error: &QueryError) -> Response {
    let (status, kind) = match error {
        QueryError::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data"),
        QueryError::Execution(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
    };
    (status, Json(json!({ "status": "error", "errorType": kind, "error": error.to_string() }))).into_response()
}

fn instant_body(value: Value, at: Timestamp) -> Body {
    let now = at.as_duration().as_secs_f64();
    let kind = value.type_name();
    let result = match value {
        Value::Scalar(number) => json!([now, written(number)]),
        Value::Text(text) => json!([now, text]),
        Value::Vector(elements) => {
            let element = |e: Element| json!({ "metric": e.labels, "value": [now, written(e.value)] });
            elements.into_iter().map(element).collect()
        }
        Value::Matrix(matrix) => matrix.series.iter().map(series_body).collect(),
    };
    json!({ "resultType": kind, "result": result })
}

fn series_body(series: &Series) -> Body {
    let point = |(at, value): &(i64, f64)| json!([SignedDuration::from_millis(*at).as_secs_f64(), written(*value)]);
    json!({ "metric": series.labels, "values": series.points.iter().map(point).collect::<Vec<_>>() })
}

fn parameter(name: &str, problem: impl std::fmt::Display) -> QueryError {
    QueryError::BadData(format!("invalid parameter \"{name}\": {problem}"))
}

/// A time in seconds since 1970 or in RFC 3339.
fn moment(name: &str, text: &str) -> Result<Timestamp, QueryError> {
    let wrong = || parameter(name, format!("cannot parse \"{text}\" to a valid timestamp"));
    match text.parse::<f64>() {
        Ok(seconds) => {
            SignedDuration::try_from_secs_f64(seconds).and_then(Timestamp::from_duration).map_err(|_| wrong())
        }
        Err(_) => text.parse().map_err(|_| wrong()),
    }
}

/// A positive duration in seconds or in the notation of Prometheus.
fn step(text: &str) -> Result<Duration, QueryError> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => parse_duration(text).ok(),
    };
    let wrong = || parameter("step", format!("cannot parse \"{text}\" to a valid duration above zero"));
    parsed.filter(|step| !step.is_zero()).ok_or_else(wrong)
}
