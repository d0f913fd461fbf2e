//! Traces to an OpenTelemetry collector, if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` names one.
//! Spans wait in a bounded queue and are dropped where that is full: no cycle ever waits for a collector.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::registry::LookupSpan;

/// The standard's own names.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// How long the end waits for what has not been sent yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// What sends the traces. What waits is sent when it is dropped.
#[derive(Debug)]
pub(super) struct Traces(SdkTracerProvider);

impl Drop for Traces {
    fn drop(&mut self) {
        // Whoever waits for it to end has waited long enough.
        let _ = self.0.shutdown_with_timeout(PATIENCE);
    }
}

/// A layer that traces, where the environment names a collector, and what must outlive it.
pub(super) fn start<S: Subscriber + for<'a> LookupSpan<'a>>() -> (Option<impl Layer<S>>, Option<Traces>) {
    if ENDPOINTS.iter().all(|name| std::env::var_os(name).is_none_or(|value| value.is_empty())) {
        return (None, None);
    }
    let provider = match provider() {
        Ok(provider) => provider,
        Err(error) => {
            eprintln!("setpoint: no traces are sent: {}", super::chain(&*error));
            return (None, None);
        }
    };
    let ours = filter_fn(|about| about.is_span() && about.target().starts_with("setpoint"));
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("setpoint"));
    (
        Some(layer.with_location(false).with_threads(false).with_filter(LevelFilter::INFO).with_filter(ours)),
        Some(Traces(provider)),
    )
}

fn provider() -> Result<SdkTracerProvider, Box<dyn std::error::Error>> {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let client = Client { http: reqwest::Client::builder().no_proxy().build()?, runtime: Handle::try_current()? };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build()?;
    let resource = Resource::builder().with_service_name("setpoint").build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build())
}

/// Sends in the daemon's own runtime, whatever thread the exporter waits in.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let request = self.http.request(head.method, head.uri.to_string()).headers(head.headers).body(body);
        let sending = self.runtime.spawn(async move {
            let answer = request.send().await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        });
        let (status, body) = sending.await??;
        Ok(Response::builder().status(status).body(body)?)
    }
}
