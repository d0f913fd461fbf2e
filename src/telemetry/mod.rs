//! Logs: structured, to standard error, readable on a terminal and JSON elsewhere on request. With the feature `otlp` also
//! traces of each cycle, to an OpenTelemetry collector where the environment names one.

#[cfg(feature = "otlp")]
mod otlp;

use std::error::Error;
use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What must live for as long as anything is logged or traced. What waits to be sent goes with its end.
#[derive(Debug, Default)]
#[must_use = "traces end with it"]
pub struct Telemetry {
    #[cfg(feature = "otlp")]
    _traces: Option<otlp::Traces>,
}

/// Starts logging to standard error. `SETPOINT_LOG` filters as `tracing` directives do (`debug`, `setpoint=trace`).
/// With the feature `otlp` it must be called within a tokio runtime.
pub fn start(format: LogFormat) -> Telemetry {
    let filter = EnvFilter::try_from_env("SETPOINT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Spans are for traces alone: without them, none is made.
    let lines = lines.with_filter(filter.and(filter_fn(|about: &tracing::Metadata| about.is_event())));
    #[cfg(feature = "otlp")]
    let (layer, traces) = otlp::start();
    #[cfg(not(feature = "otlp"))]
    let layer = tracing_subscriber::layer::Identity::new();
    // A second start, as in tests, keeps the first.
    let _ = tracing_subscriber::registry().with(lines).with(layer).try_init();
    Telemetry {
        #[cfg(feature = "otlp")]
        _traces: traces,
    }
}

/// An error with all its sources, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
