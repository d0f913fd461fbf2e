//! HTTP on real sockets: every route, who may ask, what a page says of bad data, and clients that take their time.

mod fixture;
mod site;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fixture::{group, metric, value};
use jiff::Timestamp;
use serde_json::Value;
use setpoint::observation::{GroupStatus, Measurement, Suspended};
use setpoint::policy::{Capacity, MetricKind, Mode, Policy};
use setpoint::status::{PolicyStatus, Snapshot};
use site::{Answer, HOSTILE, Site, fleet, large, named, seen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn every_route_answers_with_its_type_and_the_security_headers() {
    let site = Site::open(fleet()).await;
    let routes = [
        ("/", 200, "text/html; charset=utf-8"),
        ("/plain", 200, "text/html; charset=utf-8"),
        ("/site/style.css", 200, "text/css; charset=utf-8"),
        ("/site/main.js", 200, "text/javascript; charset=utf-8"),
        ("/site/icon.svg", 200, "image/svg+xml"),
        ("/site/nothing.js", 404, "application/problem+json"),
        ("/site/%FF", 404, "application/problem+json"),
        ("/healthz", 200, "text/plain; charset=utf-8"),
        ("/readyz", 200, "text/plain; charset=utf-8"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/api/v1/status", 200, "application/json"),
        ("/api/v1/policies", 200, "application/json"),
        ("/api/v1/policies/web", 200, "application/json"),
        ("/api/v1/policies/web/explain", 200, "application/json"),
        ("/api/v1/policies/web/series", 200, "application/json"),
        ("/api/v1/policies/web/cost", 200, "application/json"),
        ("/api/v1/policies/web/cost?from=2026-01-31T08:00:00Z", 200, "application/json"),
        ("/api/v1/policies/web/cost?from=yesterday", 400, "application/problem+json"),
        ("/api/v1/policies/web/cost?from=2999-01-01T00:00:00Z", 400, "application/problem+json"),
        ("/api/v1/policies/web/cost?to=2026-01-31T08:00:00Z", 400, "application/problem+json"),
        ("/api/v1/policies/nobody/cost", 404, "application/problem+json"),
        ("/api/v1/policies/fresh/explain", 503, "application/problem+json"),
        ("/api/v1/policies/nobody/explain", 404, "application/problem+json"),
        ("/api/v1/policies/nobody", 404, "application/problem+json"),
        ("/api/v1/policies/%FF", 404, "application/problem+json"),
        ("/api/v1/policies/web/", 404, "application/problem+json"),
        ("/../etc/passwd", 404, "application/problem+json"),
        ("/nothing", 404, "application/problem+json"),
    ];
    for (path, status, content_type) in routes {
        let answer = site.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, content_type), "{path}");
        answer.is_guarded(path);
    }
}

#[tokio::test]
async fn a_reader_can_get_and_head_and_nothing_else() {
    let site = Site::open(fleet()).await;
    for path in ["/", "/api/v1/policies/web", "/metrics"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let answer = site.ask(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n")).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer realm=\"setpoint\""));
            answer.is_problem(401);
        }
        let head = site.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n")).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        head.is_guarded(path);
    }
}

/// A policy at these measurements: two minutes with four instances, in looks 15 s apart.
fn accounted(rules: &Policy, measurements: &[Measurement], now: Timestamp) -> PolicyStatus {
    let mut status = seen(rules, measurements, Some(group(4)), now);
    for look in (0..=8).rev() {
        assert_eq!(status.account(now - Duration::from_secs(15 * look)), None);
    }
    status
}

#[tokio::test]
async fn a_policy_tells_what_its_group_came_to() {
    // Within the day, however late it is.
    let now = "2026-03-02T12:00:00Z".parse().unwrap();
    let mut snapshot = fleet();
    let rules = Policy { instance_price: Some(0.6), ..named("web") };
    snapshot.policies.insert("web".into(), Arc::new(accounted(&rules, &[value(0.9)], now)));
    let site = Site::open(snapshot).await;
    let told = site.get("/api/v1/policies/web/cost?from=2026-03-02T11:00:00Z").await.json();
    for (place, expected) in [
        ("/known_hours", 1.0 / 30.0),
        ("/instance_hours", 4.0 / 30.0),
        ("/price", 0.6),
        ("/cost", 0.08),
        ("/judged_minutes", 2.0),
        ("/over_minutes", 2.0),
        ("/baselines/0/instance_hours", 10.0 / 30.0),
        ("/baselines/0/saved_cost", 0.12),
        ("/baselines/1/saved_hours", 0.0),
    ] {
        let found = told.pointer(place).and_then(Value::as_f64).unwrap_or_else(|| panic!("{place} in {told}"));
        assert!((found - expected).abs() < 1e-9, "{place}: {found}");
    }
    let samples = samples(&site.get("/metrics").await.body);
    let of = |name: &str| samples[&format!("setpoint_{name}{{policy=\"web\",asg=\"web-prod\"}}")];
    let names =
        ["instance_price", "instance_seconds_total", "instance_seconds_at_max_total", "over_target_seconds_total"];
    assert_eq!(names.map(|name| of(name).to_string()), ["0.6", "480", "1200", "120"]);
}

#[test]
fn a_latency_is_over_at_its_target_and_all_else_a_tenth_beyond_it() {
    let check = |second: Option<(MetricKind, f64)>, measured: &[Measurement], expected: (f64, f64)| {
        let mut rules = named("web");
        rules.metrics.extend(second.map(|(kind, target)| metric("second", kind, target)));
        let sums = accounted(&rules, measured, "2026-03-02T12:00:00Z".parse().unwrap()).ledger.all().unwrap().sums;
        assert_eq!((sums.judged, sums.over), expected, "{second:?}: {measured:?}");
    };
    let (known, over, unknown) = ((120.0, 0.0), (120.0, 120.0), (0.0, 0.0));
    check(None, &[value(0.70)], known);
    check(None, &[value(0.76)], known);
    check(None, &[value(0.78)], over);
    check(None, &[Measurement::NoData], unknown);
    let (latency, total) = (Some((MetricKind::Latency, 0.5)), Some((MetricKind::Total, 100.0)));
    check(latency, &[value(0.99), value(0.49)], known);
    check(latency, &[value(0.10), value(0.51)], over);
    check(latency, &[value(0.10), Measurement::NoData], unknown);
    check(total, &[value(0.10), value(430.0)], known);
    check(total, &[value(0.10), value(450.0)], over);
    check(total, &[Measurement::NoData, value(450.0)], over);
    check(total, &[Measurement::NoData, value(430.0)], unknown);
}

#[tokio::test]
async fn a_host_that_is_not_loopback_is_refused_on_every_route() {
    let site = Site::open(fleet()).await;
    let check = async |head: &str, expected: u16| {
        let answer = site.ask(head).await;
        assert_eq!(answer.status, expected, "{head:?}");
        if expected == 403 {
            answer.is_problem(403);
        }
    };
    for path in ["/", "/healthz", "/metrics", "/api/v1/policies/web", "/nothing"] {
        check(&format!("GET {path} HTTP/1.1\r\nHost: setpoint.example\r\n"), 403).await;
    }
    let hosts =
        ["127.evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "10.0.0.1", "0.0.0.0", "127.1", "", "[::1"];
    for host in hosts {
        check(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n"), 403).await;
    }
    for host in ["localhost", "LocalHost:9480", "127.0.0.1", "127.8.8.8:80", "[::1]:9480"] {
        check(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n"), 200).await;
    }
    check("GET / HTTP/1.1\r\n", 403).await;
    check("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.com\r\n", 403).await;
    check("GET http://evil.com/ HTTP/1.1\r\nHost: localhost\r\n", 403).await;
    check("GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n", 200).await;
}

#[tokio::test]
async fn a_foreign_origin_is_refused() {
    let site = Site::open(fleet()).await;
    for (origins, status) in [
        ("Origin: http://localhost:9480\r\n", 200),
        ("Origin: http://evil.com\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: https://localhost:9480\r\n", 403),
        ("Origin: http://localhost:9480\r\nOrigin: http://evil.com\r\n", 403),
    ] {
        let head = format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost:9480\r\n{origins}");
        assert_eq!(site.ask(&head).await.status, status, "{origins:?}");
    }
}

#[tokio::test]
async fn readiness_names_the_lane_that_has_not_finished() {
    let site = Site::open(fleet()).await;
    assert_eq!(site.get("/readyz").await.body, "ready\n");
    site.board.publish(|snapshot| snapshot.lanes.values_mut().for_each(|lane| lane.finished = None));
    let answer = site.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("lane main has not finished a cycle yet"), "{}", answer.body);
    let status = site.get("/api/v1/status").await.json();
    assert_eq!(status["ready"], false);
    assert_eq!(status["not_ready_because"], "lane main has not finished a cycle yet");
    assert!(site.get("/plain").await.body.contains("lane main has not finished a cycle yet"));
    assert_eq!(site.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_policy_says_in_words_what_was_read_and_why_it_holds() {
    let site = Site::open(fleet()).await;
    for (name, says) in [
        ("empty", "no data"),
        ("nan", "not a finite number"),
        ("twins", "2 series where one was asked for"),
        ("old", "the newest sample is 600 s old"),
    ] {
        let policy = site.get(&format!("/api/v1/policies/{name}")).await.json();
        assert_eq!(policy["metrics"][0]["says"], says, "{name}");
        assert_eq!(policy["troubles"][0]["kind"], "not valid", "{name}");
        assert_eq!(policy["decision"]["action"], "hold", "{name}");
        let reasons = policy["says"].to_string();
        assert!(reasons.contains(&format!("cpu has no valid value: {says}")), "{name}: {reasons}");
    }
    let lost = site.get("/api/v1/policies/lost").await.json();
    assert_eq!(lost["metrics"][0]["says"], "the source failed (timeout)");
    assert_eq!(lost["troubles"][0]["kind"], "group unknown");
    assert_eq!(lost["group_detail"], format!("AccessDenied: {HOSTILE}"), "JSON needs no escapes for markup");
    assert_eq!(lost["decision"]["action"], "hold");
    let contested = site.get("/api/v1/policies/contested").await.json();
    assert_eq!(
        (&contested["troubles"][0]["kind"], &contested["decision"]["action"]),
        (&"contested".into(), &"hold".into())
    );
    assert!(contested["says"].to_string().contains("an AWS scaling policy is enabled"), "{contested}");
    let web = site.get("/api/v1/policies/web").await.json();
    assert_eq!((&web["decision"]["to"], &web["troubles"]), (&6.into(), &Value::Array(Vec::new())));
    assert_eq!(web["metrics"][0]["says"], "90 %");
}

#[tokio::test]
async fn an_explanation_is_text_where_text_is_asked_for_first() {
    let site = Site::open(fleet()).await;
    for (accept, content_type) in [
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/plain; charset=utf-8, */*", "text/plain; charset=utf-8"),
        ("text/plain, application/json", "text/plain; charset=utf-8"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/html, */*", "application/json"),
    ] {
        let head = format!("GET /api/v1/policies/web/explain HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n");
        let answer = site.ask(&head).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, content_type), "{accept}");
    }
    let web = site.get("/api/v1/policies/web/explain").await.json();
    assert_eq!(web["reasons"][0]["text"], "cpu at 0.900 against 0.700 asks for 6");
    assert_eq!((&web["last_word"], &web["because"]), (&web["reasons"][0]["text"], &web["reasons"][0]["text"]));
    assert_eq!((&web["metrics"][1]["name"], &web["metrics"][1]["says"]), (&"p99".into(), &"410 ms".into()));
    assert_eq!(web["stages"][1]["out"], 6);
    let fresh = site.get("/api/v1/policies/fresh/explain").await.json();
    assert_eq!(fresh["detail"], "this policy has not been evaluated yet; it is every 15 s");
}

#[tokio::test]
async fn an_explanation_fits_80_columns_and_holds_nothing_but_text() {
    let mut snapshot = fleet();
    let mut rules = named("long");
    rules.metrics = (0..16).map(|place| metric(&format!("{place:0>64}"), MetricKind::Total, 1e-9)).collect();
    let measured: Vec<Measurement> = (0..16).map(|place| value(10_f64.powi(place * 20))).collect();
    let mut status = seen(&rules, &measured, Some(group(4)), Timestamp::now());
    status.metrics[3].detail = Some(format!("\u{1b}[31m{}\n{}", "red ".repeat(60), "x".repeat(200)));
    snapshot.policies.insert("long".into(), Arc::new(status));
    let site = Site::open(snapshot).await;
    for name in ["web", "empty", "lost", "contested", "old", "long"] {
        let head = format!("GET /api/v1/policies/{name}/explain HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n");
        let text = site.ask(&head).await.body;
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.ends_with(".\n"), "{text}");
    }
}

#[tokio::test]
async fn the_list_has_every_policy_in_short() {
    let site = Site::open(fleet()).await;
    let list = site.get("/api/v1/policies").await.json();
    let of = |name: &str| {
        let found = list["policies"].as_array().unwrap().iter().find(|policy| policy["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {list}")).clone()
    };
    assert_eq!(of("web")["desired"], 4);
    assert_eq!(of("lost")["desired"], Value::Null);
    for (name, trouble) in [
        ("contested", "contested"),
        ("refused", "refused"),
        ("overdue", "overdue"),
        ("nan", "not valid"),
        ("faulty", "failed"),
    ] {
        assert_eq!(of(name)["troubles"][0]["kind"], trouble, "{name}");
    }
    assert_eq!((&of("fresh")["decision"], &of("fresh")["troubles"]), (&Value::Null, &Value::Array(Vec::new())));
}

#[tokio::test]
async fn each_policy_has_its_conditions_in_the_words_of_kubernetes() {
    let site = Site::open(fleet()).await;
    let kinds = ["AbleToScale", "ScalingActive", "ScalingLimited", "SignalsValid", "ScaleInAllowed"];
    let check = async |name: &str, expected: [(&str, &str); 5]| {
        let policy = site.get(&format!("/api/v1/policies/{name}")).await.json();
        let conditions = policy["conditions"].as_array().unwrap();
        let found: Vec<_> =
            conditions.iter().map(|c| ["type", "status", "reason"].map(|k| c[k].as_str().unwrap())).collect();
        let expected: Vec<_> =
            kinds.iter().zip(expected).map(|(kind, (status, reason))| [kind, status, reason]).collect();
        assert_eq!(found, expected, "{name}: {}", policy["conditions"]);
        assert!(conditions.iter().all(|condition| condition["message"].as_str().unwrap().len() > 5), "{name}");
    };
    let (ready, active) = (("True", "Ready"), ("True", "ValidMetricFound"));
    let (free, valid) = (("False", "WithinLimits"), ("True", "AllMetricsValid"));
    check("web", [ready, active, free, valid, ("True", "NothingObjects")]).await;
    let blind = [ready, ("False", "NoValidMetric"), free, ("False", "MetricInvalid"), ("False", "SignalsInvalid")];
    for name in ["empty", "nan", "twins", "old"] {
        check(name, blind).await;
    }
    let lost = ("False", "GroupUnknown");
    check("lost", [lost, ("Unknown", "GroupUnknown"), free, ("False", "MetricInvalid"), lost]).await;
    check("contested", [("False", "Contested"), active, free, valid, ("True", "NothingObjects")]).await;
    check("refused", [("False", "Refused"), active, free, valid, ("True", "NothingObjects")]).await;
    check("fresh", [("Unknown", "NotEvaluated"); 5]).await;
    check("faulty", [("Unknown", "NotEvaluated"); 5]).await;
}

#[tokio::test]
async fn what_objects_to_a_scale_in_is_told_before_there_is_one() {
    let limits = |name: &str, observe| {
        let mode = if observe { Mode::Observe } else { Mode::ScaleOutOnly };
        Policy { mode, max: Capacity::new(5), ..named(name) }
    };
    let troubled = GroupStatus {
        pending: Capacity::new(2),
        healthy: Capacity::new(3),
        refreshing: true,
        suspended: Suspended { launch: true, terminate: true },
        ..group(4)
    };
    let mut snapshot = fleet();
    for status in [
        Arc::new(seen(&limits("troubled", false), &[value(0.9)], Some(troubled), snapshot.started)),
        Arc::new(seen(&limits("observing", true), &[value(0.9)], Some(group(4)), snapshot.started)),
    ] {
        snapshot.policies.insert(status.name.clone(), status);
    }
    let site = Site::open(snapshot).await;
    let said = async |name: &str, place: usize| {
        let condition = site.get(&format!("/api/v1/policies/{name}")).await.json()["conditions"][place].clone();
        (condition["reason"].as_str().unwrap().to_owned(), condition["message"].as_str().unwrap().to_owned())
    };
    let (reason, message) = said("troubled", 4).await;
    assert_eq!(reason, "ScaleOutOnly");
    for part in ["may only scale out", "2 are on their way", "instance refresh", "Terminate process", "3 of 4"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(said("troubled", 0).await.0, "LaunchSuspended");
    assert_eq!(said("observing", 0).await.0, "Observing");
    assert_eq!(said("observing", 2).await.0, "AtMaximum");
}

#[tokio::test]
async fn the_plain_page_says_each_state_in_words() {
    let site = Site::open(fleet()).await;
    let page = site.get("/plain").await.body;
    for says in [
        "90 %</span>, above its target of 70 %",
        "410 ms</span>, target 500 ms",
        "0.125 an instance (0.5 in all)</span>, target 0.25",
        "3 warm",
        "no data",
        "not a finite number",
        "2 series where one was asked for",
        "not valid",
        "group unknown",
        "contested",
        "an AWS scaling policy is enabled",
        "refused",
        "overdue",
        "not evaluated yet",
        "failed",
        "scale 4 to 6",
        "2026-11-23 02:58:50 UTC, since cpu asks for 4",
        "<caption>",
        "<title>Setpoint: 9 in trouble</title>",
        "the group could not be described",
    ] {
        assert!(page.contains(says), "{says}");
    }
    let web = site.get("/api/v1/policies/web").await.json();
    for stage in web["evaluation"]["stages"].as_array().unwrap() {
        let name = stage["stage"].as_str().unwrap();
        assert!(page.contains(&format!("<td>{name}</td>")), "the word of the API for {name}");
    }
    assert!(!page.contains("<script"), "a page without scripts");
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"), "what a server said is text");
}

#[tokio::test]
async fn every_link_of_the_plain_page_leads_somewhere() {
    let site = Site::open(fleet()).await;
    let page = site.get("/plain").await.body;
    let links: Vec<&str> = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for path in ["/metrics", "/api/v1/status", "/api/v1/policies", "/api/v1/policies/web", "/api/v1/policies/fresh"] {
        assert!(links.contains(&path), "{path} in {links:?}");
    }
    for link in links {
        match link.strip_prefix('#') {
            Some(id) => assert!(page.contains(&format!("id=\"{id}\"")), "{link}"),
            None => assert_eq!(site.get(link).await.status, 200, "{link}"),
        }
    }
}

#[tokio::test]
async fn a_large_fleet_shows_those_in_trouble_and_says_that_there_are_more() {
    let mut snapshot = fleet();
    for number in 0..300 {
        let name = format!("calm-{number:03}");
        let calm = seen(&named(&name), &[value(0.7)], Some(group(4)), snapshot.started);
        snapshot.policies.insert(calm.name.clone(), Arc::new(calm));
    }
    let site = Site::open(snapshot).await;
    let page = site.get("/plain").await.body;
    assert_eq!(page.matches("<section").count(), 200);
    assert!(page.contains("311 policies. ") && page.contains("This page shows 200 of them."));
    let place = |name: &str| page.find(&format!("id=\"policy-{name}\"")).unwrap_or_else(|| panic!("{name} is shown"));
    assert!(place("twins") < place("calm-000"), "trouble comes first");
    let list = site.get("/api/v1/policies").await.json();
    assert_eq!(list["policies"].as_array().unwrap().len(), 311);
}

#[tokio::test]
async fn an_ordinary_client_is_served_by_address_and_by_name() {
    // Another test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let site = Site::open(fleet()).await;
    let port = site.address.port();
    let client = reqwest::Client::builder().no_proxy().resolve("rebound.example", site.address).build().unwrap();
    for (host, status) in [("127.0.0.1", 200), ("localhost", 200), ("rebound.example", 403)] {
        for path in ["", "metrics", "api/v1/policies/web"] {
            let answer = client.get(format!("http://{host}:{port}/{path}")).send().await.unwrap();
            assert_eq!(answer.status(), status, "{host} {path}");
            assert_eq!(answer.content_length(), Some(answer.bytes().await.unwrap().len() as u64), "{host} {path}");
        }
    }
}

#[tokio::test]
async fn the_metrics_are_prometheus_text_and_a_missing_number_is_no_sample() {
    let site = Site::open(fleet()).await;
    let samples = samples(&site.get("/metrics").await.body);
    for (series, expected) in [
        ("setpoint_config_last_reload_successful", 1.0),
        (r#"setpoint_decision_cycles_total{lane="main"}"#, 12.0),
        (r#"setpoint_decision_duration_seconds{lane="main"}"#, 0.25),
        (r#"setpoint_capacity_desired{policy="web",asg="web-prod"}"#, 4.0),
        (r#"setpoint_capacity_recommended{policy="web",asg="web-prod"}"#, 6.0),
        (r#"setpoint_capacity_max{policy="lost",asg="web-prod"}"#, 10.0),
        (r#"setpoint_signal_age_seconds{policy="old",asg="web-prod",metric="cpu"}"#, 600.0),
        (r#"setpoint_signal_target_ratio{policy="web",asg="web-prod",metric="p99"}"#, 0.82),
        // A total is related to its target per instance that serves: 0.5 of 4 × 0.25.
        (r#"setpoint_signal_target_ratio{policy="web",asg="web-prod",metric="rare"}"#, 0.5),
        (r#"setpoint_policy_mode{policy="web",asg="web-prod",mode="active"}"#, 1.0),
        (r#"setpoint_policy_mode{policy="web",asg="web-prod",mode="paused"}"#, 0.0),
        (r#"setpoint_scale_actions_total{policy="web",asg="web-prod",direction="out",result="applied"}"#, 3.0),
        (r#"setpoint_query_errors_total{policy="nan",asg="web-prod",metric="cpu",reason="not-finite"}"#, 7.0),
    ] {
        let found = samples.get(series).unwrap_or_else(|| panic!("{series} in {samples:#?}"));
        assert!((found - expected).abs() < 1e-9, "{series}: {found}");
    }
    assert!(samples.keys().any(|series| series.starts_with("setpoint_build_info{version=")));
    for name in ["empty", "nan", "twins", "old", "lost"] {
        let ratio = format!("setpoint_signal_target_ratio{{policy=\"{name}\"");
        assert!(!samples.keys().any(|series| series.starts_with(&ratio)), "{name}");
    }
    assert!(!samples.keys().any(|series| series.starts_with("setpoint_capacity_desired{policy=\"lost\"")));
}

#[tokio::test]
async fn a_reload_that_was_refused_is_everywhere() {
    let site = Site::open(fleet()).await;
    site.board.publish(|snapshot| snapshot.configuration.reload_error = Some(format!("line 3: {HOSTILE}")));
    let metrics = samples(&site.get("/metrics").await.body);
    assert!(metrics["setpoint_config_last_reload_successful"] < 0.5);
    assert!(site.get("/plain").await.body.contains("line 3: &lt;script&gt;"));
    let status = site.get("/api/v1/status").await.json();
    assert_eq!(status["configuration"]["reload_error"], format!("line 3: {HOSTILE}"));
}

// Time is paused below: it jumps to the next timer whenever every task waits, so these take no time and depend on none.

#[tokio::test(start_paused = true)]
async fn a_client_that_never_finishes_its_headers_is_dropped() {
    let site = Site::open(fleet()).await;
    // Of the clock that is paused; hyper's own limit, which would hold otherwise, is 30 s.
    let limits = Duration::from_secs(5)..Duration::from_secs(10);
    let started = Instant::now();
    let mut silent = site.connect().await;
    silent.read_to_end(&mut Vec::new()).await.unwrap();
    assert!(limits.contains(&started.elapsed()), "{:?}", started.elapsed());
    let started = Instant::now();
    let mut dribbling = site.connect().await;
    while dribbling.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: a\r\n").await.is_ok() {
        sleep(Duration::from_secs(1)).await;
        assert!(started.elapsed() < limits.end, "it is still listened to");
    }
    assert!(started.elapsed() >= limits.start);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_slow_clients_keep_nobody_out() {
    let site = Site::open(fleet()).await;
    let mut slow = Vec::new();
    for _ in 0..1000 {
        let mut stream = site.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        slow.push(stream);
    }
    let asked = Instant::now();
    assert_eq!(site.get("/healthz").await.status, 200);
    // Those in the last places have as long for their headers.
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_beyond_the_bound_takes_the_place_of_whoever_has_asked_least_lately() {
    let site = Site::open(fleet()).await;
    let mut places = Vec::new();
    for _ in 0..384 {
        let mut stream = site.connect().await;
        assert!(exchange(&mut stream).await);
        places.push(stream);
        sleep(Duration::from_millis(1)).await;
    }
    assert!(exchange(&mut places[0]).await);
    assert!(exchange(&mut site.connect().await).await);
    assert!(!exchange(&mut places[1]).await, "it had asked least lately");
    assert!(exchange(&mut places[0]).await && exchange(&mut places[2]).await, "the others are served");
}

#[tokio::test(start_paused = true)]
async fn no_connection_lives_for_ever() {
    let site = Site::open(fleet()).await;
    let mut stream = site.connect().await;
    let started = Instant::now();
    while exchange(&mut stream).await {
        sleep(Duration::from_secs(4)).await;
        assert!(started.elapsed() < Duration::from_mins(5), "it is still served");
    }
    assert!(started.elapsed() > Duration::from_secs(30), "a scrape interval is not cut");
}

#[tokio::test(start_paused = true)]
async fn headers_that_are_too_large_are_refused() {
    let site = Site::open(fleet()).await;
    let cookie = "a".repeat(64 * 1024);
    // A connection that is reset with its answer on the way is as good a refusal.
    let answer = site.try_ask(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n")).await;
    assert_ne!(answer.map(|answer| answer.status), Some(200));
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_does_not_hold_up_the_end() {
    let mut site = Site::open(fleet()).await;
    let mut idle = site.connect().await;
    assert!(exchange(&mut idle).await);
    assert!(site.end().await < Duration::from_secs(1));
    assert!(TcpStream::connect(site.address).await.is_err(), "nobody listens any more");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_lingers_holds_up_the_end_for_a_moment_only() {
    let mut site = Site::open(large_status()).await;
    let mut half = site.connect().await;
    half.write_all(b"GET / HTT").await.unwrap();
    // Its answer is larger than what the sockets keep.
    let mut deaf = site.connect().await;
    deaf.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    deaf.readable().await.unwrap();
    assert!(site.end().await < Duration::from_secs(10));
}

#[tokio::test]
async fn an_answer_that_has_begun_is_finished_before_the_end() {
    let mut site = Site::open(large_status()).await;
    let mut stream = site.connect().await;
    stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    stream.readable().await.unwrap();
    let mut bytes = Vec::new();
    let (read, _) = tokio::join!(stream.read_to_end(&mut bytes), site.end());
    read.unwrap();
    let answer = Answer::parse(std::str::from_utf8(&bytes).unwrap()).unwrap();
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
}

/// An answer of 32 MiB.
fn large_status() -> Snapshot {
    let mut snapshot = fleet();
    snapshot.configuration.reload_error = Some("x".repeat(32 * 1024 * 1024));
    snapshot
}

/// One request on a connection that is kept alive; false when the server has closed it.
async fn exchange(stream: &mut TcpStream) -> bool {
    if stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.is_err() {
        return false;
    }
    let mut answer = [0; 4096];
    stream.read(&mut answer).await.is_ok_and(|read| read > 0)
}

/// The samples of a page in the Prometheus text format, read strictly: every sample follows the `TYPE` of its name and that
/// its `HELP`, no family and no series comes twice, every counter ends in `_total`, and every number is finite.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lenient = prometheus_parse::Scrape::parse(page.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let mut families: Vec<(&str, &str)> = Vec::new();
    let mut help = "";
    let mut samples = BTreeMap::new();
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(families.iter().all(|(known, _)| *known != name), "{name} comes twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert!(help.starts_with(&format!("# HELP {name} ")) && help.ends_with('.'), "{help:?} before {line:?}");
            families.push((name, kind));
        } else if line.starts_with("# HELP ") {
            help = line;
        } else {
            let (series, number) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert_eq!(families.last().unwrap().0, name, "{line}");
            assert!(number.parse::<f64>().unwrap().is_finite(), "{line}");
            assert!(samples.insert(series.to_owned(), number.parse().unwrap()).is_none(), "{series} comes twice");
        }
    }
    assert_eq!(lenient.samples.len(), samples.len(), "another reader finds as many");
    samples
}

#[tokio::test]
async fn a_large_fleet_is_told_in_pages() {
    let site = Site::open(large(2_345)).await;
    let (mut path, mut sizes, mut names) = ("/api/v1/policies".to_owned(), Vec::new(), Vec::new());
    loop {
        let page = site.get(&path).await.json();
        let policies = page["policies"].as_array().unwrap();
        sizes.push(policies.len());
        names.extend(policies.iter().map(|policy| policy["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/policies?after={next}");
    }
    assert_eq!(sizes, [1000, 1000, 345 + fleet().policies.len()]);
    assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]), "each of them once");
    let page = site.get("/api/v1/policies?limit=1&after=zzz").await.json();
    assert_eq!((page["policies"].as_array().unwrap().len(), page["next"].is_null()), (0, true));
    for part in ["limit=0", "limit=1001", "limit=x", "before=web"] {
        site.get(&format!("/api/v1/policies?{part}")).await.is_problem(400);
    }
}
