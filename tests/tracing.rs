//! The trace of a cycle, as a collector receives it.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use axum::Json;
use axum::routing::post;
use jiff::Timestamp;
use serde_json::Value;
use setpoint::clock::Clock;
use setpoint::policy::Capacity;
use setpoint::simulation::{GroupSettings, Workload, World, WorldServer};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

const CONFIGURATION: &str = r#"
interval = "1s"
[prometheus]
url = "http://127.0.0.1"
[aws]
region = "us-east-1"
[http]
listen = "127.0.0.2:0"
[[policy]]
name = "web"
asg = "web"
mode = "active"
min = 2
max = 10
[[policy.metric]]
name = "load"
kind = "total"
target = 100
query = 'sum(http_requests_per_second{asg="web"})'
"#;

/// A span: its id, its parent's, its name, and what else it says.
#[derive(Clone, Debug)]
struct Span {
    id: String,
    parent: String,
    name: String,
    attributes: BTreeMap<String, Value>,
}

/// A collector on loopback, and what it is sent.
async fn collector() -> (String, mpsc::UnboundedReceiver<Vec<Span>>) {
    let (sender, received) = mpsc::unbounded_channel();
    let take = async move |Json(body): Json<Value>| {
        // The test may have seen enough.
        let _ = sender.send(spans(&body));
        Json(serde_json::json!({}))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, axum::Router::new().route("/v1/traces", post(take))).into_future());
    (url, received)
}

fn spans(body: &Value) -> Vec<Span> {
    let lists = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let scopes = lists(body, "resourceSpans").into_iter().flat_map(move |of| lists(&of, "scopeSpans"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let span = |span: Value| Span {
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        name: text(&span["name"]),
        attributes: lists(&span, "attributes").iter().map(|a| (text(&a["key"]), a["value"].clone())).collect(),
    };
    scopes.flat_map(|scope| lists(&scope, "spans")).map(span).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_is_a_tree_from_the_queries_to_the_call() {
    let start = Timestamp::now();
    let [min, max, desired] = [0, 100, 2].map(Capacity::new);
    let group = GroupSettings { name: "web".into(), min, max, desired, boot: Duration::from_secs(60) };
    let world = World::new(1, start).with_fleet(group, Workload::constant(900.0));
    let world = WorldServer::start(world, Clock::accelerated(start, 1.0)).await.expect("loopback");
    let (collector, mut received) = collector().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("setpoint.toml");
    std::fs::write(&file, CONFIGURATION).expect("a file");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_setpoint"))
        .args(["run", "--config"])
        .arg(&file)
        .env("SETPOINT__PROMETHEUS__URL", &world.prometheus_url)
        .env("SETPOINT__AWS__ENDPOINT_URL", &world.auto_scaling_url)
        .env("AWS_ACCESS_KEY_ID", "trial")
        .env("AWS_SECRET_ACCESS_KEY", "trial")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .env("OTEL_BSP_SCHEDULE_DELAY", "500")
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the daemon");

    let mut seen: Vec<Span> = Vec::new();
    let whole = async {
        while !seen.iter().any(|span| span.name == "apply" && has_cycle(&seen, span)) {
            seen.extend(received.recv().await.expect("a collector"));
        }
    };
    tokio::time::timeout(Duration::from_mins(1), whole).await.unwrap_or_else(|_| panic!("no whole cycle in {seen:#?}"));
    daemon.kill().await.expect("it runs");

    let apply = seen.iter().find(|span| span.name == "apply").expect("it was seen");
    let policy = seen.iter().find(|span| span.id == apply.parent).expect("its policy");
    let cycle = seen.iter().find(|span| span.id == policy.parent).expect("its cycle");
    assert_eq!((&*policy.name, &*cycle.name, &*cycle.parent), ("policy", "cycle", ""));
    assert_eq!(apply.attributes["from"]["stringValue"], "2");
    assert_eq!(policy.attributes["policy"]["stringValue"], "web");
    let because = policy.attributes["because"]["stringValue"].as_str().expect("a reason");
    assert!(because.contains("load at"), "{because}");
    let children = |of: &Span| {
        let mut names: Vec<&str> = seen.iter().filter(|span| span.parent == of.id).map(|span| &*span.name).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(children(cycle), ["describe", "policy", "query"]);
    assert_eq!(children(policy), ["apply", "evaluate"]);
    let query = seen.iter().find(|span| span.parent == cycle.id && span.name == "query").expect("a query");
    assert_eq!(query.attributes["source"]["stringValue"], "sum(http_requests_per_second{asg=\"web\"})");
}

/// Whether the cycle that `apply` belongs to has arrived also.
fn has_cycle(seen: &[Span], apply: &Span) -> bool {
    let policy = seen.iter().find(|span| span.id == apply.parent);
    policy.is_some_and(|policy| seen.iter().any(|span| span.id == policy.parent))
}
