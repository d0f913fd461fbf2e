//! Orders over HTTP: what a body may hold, what is refused and how, live updates, and the description of it all.

mod fixture;
mod site;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use setpoint::api::Settings;
use site::{Answer, Site, fleet, send};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

/// A site with a socket, where one is an operator.
struct Desk {
    site: Site,
    socket: PathBuf,
    _folder: TempDir,
}

impl Desk {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let settings = Settings { socket: Some(socket.clone()), ..Settings::loopback(0) };
        Self { site: Site::with(&settings, fleet()).await, socket, _folder: folder }
    }

    async fn send(&self, head: &str, body: &str) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        send(stream, head, body).await.unwrap_or_else(|| panic!("no answer to {head:?}"))
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
        self.send(&head, body).await
    }

    async fn policy(&self, name: &str) -> Value {
        self.site.get(&format!("/api/v1/policies/{name}")).await.json()
    }
}

fn condition<'a>(policy: &'a Value, kind: &str) -> (&'a str, &'a str, &'a str) {
    let conditions = policy["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
    let text = |key: &str| found[key].as_str().unwrap();
    (text("status"), text("reason"), text("message"))
}

#[tokio::test]
async fn a_pause_is_shown_until_it_is_resumed() {
    let desk = Desk::open().await;
    let body = r#"{"scope": "scale-in", "expires": "3h", "reason": "a migration", "author": "alice"}"#;
    let answer = desk.post("/api/v1/policies/web/pause", body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.json()["until"].is_string() && answer.json()["not_kept_because"].is_null());
    let web = desk.policy("web").await;
    assert_eq!((&web["pause"]["scope"], &web["pause"]["reason"]), (&"scale-in".into(), &"a migration".into()));
    let (status, reason, message) = condition(&web, "ScaleInAllowed");
    assert_eq!((status, reason), ("False", "Paused"));
    assert!(message.contains("for scale-in until") && message.contains("by alice (uid "), "{message}");
    assert_eq!(condition(&web, "AbleToScale").0, "True", "scale-out is not paused");
    assert_eq!(desk.post("/api/v1/policies/web/resume", r#"{"reason": "done"}"#).await.status, 200);
    let web = desk.policy("web").await;
    assert_eq!((&web["pause"], condition(&web, "AbleToScale").0), (&Value::Null, "True"));
}

#[tokio::test]
async fn a_freeze_is_seen_on_every_policy() {
    let desk = Desk::open().await;
    assert_eq!(desk.post("/api/v1/freeze", r#"{"expires": "7d", "reason": "an incident"}"#).await.status, 200);
    let (status, reason, message) = condition_of(&desk, "web").await;
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Paused"));
    assert!(message.starts_with("all policies are frozen until") && message.ends_with(": an incident"), "{message}");
    assert_eq!(desk.site.get("/api/v1/status").await.json()["orders"]["freeze"]["reason"], "an incident");
    assert_eq!(desk.post("/api/v1/unfreeze", r#"{"reason": "it is over"}"#).await.status, 200);
    assert_eq!(condition_of(&desk, "web").await.0, "True");
}

async fn condition_of(desk: &Desk, name: &str) -> (String, String, String) {
    let policy = desk.policy(name).await;
    let (status, reason, message) = condition(&policy, "AbleToScale");
    (status.into(), reason.into(), message.into())
}

#[tokio::test]
async fn an_override_is_a_floor_a_cap_both_or_exact() {
    let desk = Desk::open().await;
    let check = async |bounds: &str, expected: Result<(Option<u32>, Option<u32>), &str>| {
        let body = format!(r#"{{{bounds}"expires": "1h", "reason": "a sale"}}"#);
        let answer = desk.post("/api/v1/policies/web/override", &body).await;
        match expected {
            Ok((floor, cap)) => {
                assert_eq!(answer.status, 200, "{}", answer.body);
                let shown = &desk.policy("web").await["override"];
                assert_eq!((&shown["floor"], &shown["cap"]), (&Value::from(floor), &Value::from(cap)), "{bounds}");
            }
            Err(detail) => {
                answer.is_problem(422);
                assert!(answer.json()["detail"].as_str().unwrap().contains(detail), "{bounds}: {}", answer.body);
            }
        }
    };
    check(r#""floor": 4,"#, Ok((Some(4), None))).await;
    check(r#""cap": 6,"#, Ok((None, Some(6)))).await;
    check(r#""floor": 4, "cap": 6,"#, Ok((Some(4), Some(6)))).await;
    check(r#""exact": 5,"#, Ok((Some(5), Some(5)))).await;
    check("", Err("expected a floor, a cap or both")).await;
    check(r#""floor": 7, "cap": 6,"#, Err("the floor of 7 is above the cap of 6")).await;
    check(r#""exact": 5, "cap": 6,"#, Err("exact is both floor and cap")).await;
    check(r#""floor": -1,"#, Err("floor")).await;
    check(r#""floor": 1.5,"#, Err("floor")).await;
    check(r#""flor": 4,"#, Err("unknown field `flor`")).await;
    assert_eq!(desk.post("/api/v1/policies/web/release", r#"{"reason": "sold out"}"#).await.status, 200);
    assert_eq!(desk.policy("web").await["override"], Value::Null);
}

#[tokio::test]
async fn a_body_that_makes_no_sense_is_a_problem_that_says_why() {
    let desk = Desk::open().await;
    let path = "/api/v1/policies/web/pause";
    let json = "Content-Type: application/json\r\n";
    let check = async |lines: &str, body: &str, expected: u16, detail: &str| {
        let answer = desk.send(&format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{lines}"), body).await;
        assert_eq!(answer.status, expected, "{lines:?} {body:.80}: {}", answer.body);
        answer.is_problem(expected);
        assert!(answer.body.contains(detail), "{}", answer.body);
    };
    let good = r#"{"expires": "3h", "reason": "x"}"#;
    check("", good, 415, "application/json").await;
    check("Content-Type: text/plain\r\n", good, 415, "application/json").await;
    check("Content-Type: application/x-www-form-urlencoded\r\n", "expires=3h", 415, "application/json").await;
    check(json, "{", 400, "").await;
    check(json, "", 400, "").await;
    check(json, "\u{0}", 400, "").await;
    check(json, "[]", 422, "").await;
    check(json, "{}", 422, "missing field").await;
    check(json, r#"{"expires": "3h"}"#, 422, "missing field `reason`").await;
    check(json, r#"{"reason": "x"}"#, 422, "missing field `expires`").await;
    check(json, r#"{"expires": "3h", "reason": ""}"#, 422, "why is not said").await;
    check(json, r#"{"expires": "31d", "reason": "x"}"#, 422, "expires").await;
    check(json, r#"{"expires": "yesterday", "reason": "x"}"#, 422, "can't be read; expected a moment").await;
    check(json, r#"{"expires": "3h", "reason": "x", "scope": "up"}"#, 422, "scale-out").await;
    check(json, r#"{"expires": "3h", "reason": "a\nb"}"#, 422, "control characters").await;
    check(json, &format!(r#"{{"expires": "3h", "reason": "{}"}}"#, "x".repeat(501)), 422, "500").await;
    check(json, &format!(r#"{{"expires": "3h", "reason": "{}"}}"#, "x".repeat(70_000)), 413, "").await;
    let deep = "[".repeat(30_000);
    check(json, &deep, 400, "").await;
    check(&format!("{json}Transfer-Encoding: chunked\r\n"), &chunked(&"x".repeat(70_000)), 413, "").await;
    assert!(desk.policy("web").await["pause"].is_null(), "nothing of this was done");
    let answer = desk.post("/api/v1/reload", r#"{"reason": "x"}"#).await;
    assert_eq!((answer.status, &answer.json()["detail"]), (422, &"setpoint.toml:3:1: it is wrong".into()));
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let site = Site::open(fleet()).await;
    for path in ["/api/v1/status", "/api/v1/policies", "/api/v1/policies/web", "/api/v1/policies/web/explain"] {
        let tag = site.get(path).await.header("etag").to_owned();
        assert!(tag.len() > 2, "{path}");
        let again = async |known: &str| {
            site.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {known}\r\n")).await
        };
        for known in [&tag, &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
            let answer = again(known).await;
            assert_eq!((answer.status, answer.body.as_str(), answer.header("etag")), (304, "", tag.as_str()), "{path}");
            answer.is_guarded(path);
        }
        assert_eq!(again("\"x\"").await.status, 200, "{path}");
        site.board.publish(|snapshot| {
            snapshot.configuration.reloads_refused += 1;
            let web = std::sync::Arc::make_mut(snapshot.policies.get_mut("web").unwrap());
            (web.group_detail, web.because) = (Some(path.into()), Some(path.into()));
        });
        assert_eq!(again(&tag).await.status, 200, "{path} after a change");
    }
}

/// A client that listens to events.
struct Listener(tokio::io::Lines<BufReader<TcpStream>>);

impl Listener {
    async fn open(site: &Site) -> Self {
        let mut stream = site.connect().await;
        let head = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "HTTP/1.1 200 OK");
        Self(lines)
    }

    /// The next event with its data; `None` when the stream has ended.
    async fn next(&mut self) -> Option<(String, Value)> {
        let mut event = None;
        while let Ok(Some(line)) = self.0.next_line().await {
            if let Some(name) = line.strip_prefix("event: ") {
                event = Some(name.to_owned());
            } else if let (Some(data), Some(event)) = (line.strip_prefix("data: "), event.take()) {
                return Some((event, serde_json::from_str(data).unwrap()));
            }
        }
        None
    }
}

#[tokio::test]
async fn every_policy_is_told_at_the_start_and_whenever_it_changes() {
    let desk = Desk::open().await;
    let site = &desk.site;
    let mut listener = Listener::open(site).await;
    let list = site.get("/api/v1/policies").await.json()["policies"].as_array().unwrap().clone();
    for expected in &list {
        let (event, policy) = listener.next().await.unwrap();
        assert_eq!((event.as_str(), &policy["name"]), ("policy", &expected["name"]));
        assert_eq!(policy.as_object().unwrap().len(), expected.as_object().unwrap().len());
    }
    site.board.publish(|snapshot| {
        let web = std::sync::Arc::make_mut(snapshot.policies.get_mut("web").unwrap());
        web.because = Some("news".into());
    });
    let (event, policy) = listener.next().await.unwrap();
    assert_eq!((event.as_str(), &policy["name"], &policy["because"]), ("policy", &"web".into(), &"news".into()));
    site.board.publish(|snapshot| drop(snapshot.policies.remove("lost")));
    let (event, data) = listener.next().await.unwrap();
    assert_eq!((event.as_str(), &data["name"]), ("removed", &"lost".into()));
    desk.post("/api/v1/policies/web/pause", r#"{"expires": "1h", "reason": "x"}"#).await;
    loop {
        let (_, policy) = listener.next().await.unwrap();
        if policy["name"] == "web" {
            assert_eq!(policy["pause"]["reason"], "x");
            break;
        }
    }
}

#[tokio::test]
async fn a_listener_that_lags_is_told_the_newest_only() {
    let site = Site::open(fleet()).await;
    let mut listener = Listener::open(&site).await;
    for count in 0..1000 {
        site.board.publish(|snapshot| {
            let web = std::sync::Arc::make_mut(snapshot.policies.get_mut("web").unwrap());
            web.because = Some(format!("{count}"));
        });
        tokio::task::yield_now().await;
    }
    let mut told = 0;
    loop {
        let (_, policy) = listener.next().await.unwrap();
        told += 1;
        if policy["because"] == "999" {
            break;
        }
    }
    assert!(told < 100, "{told} events for 1,000 changes");
}

#[tokio::test(start_paused = true)]
async fn streams_leave_places_to_others_and_end_by_themselves() {
    let site = Site::open(fleet()).await;
    let started = Instant::now();
    let mut listeners = Vec::new();
    for _ in 0..64 {
        listeners.push(Listener::open(&site).await);
    }
    site.get("/api/v1/events").await.is_problem(503);
    assert_eq!(site.get("/api/v1/status").await.status, 200);
    let last = &mut listeners[63];
    while last.next().await.is_some() {}
    assert!((30..90).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    drop(listeners);
    // The places are free once the server has noticed.
    timeout(Duration::from_mins(1), async {
        loop {
            let mut stream = site.connect().await;
            stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            let mut lines = BufReader::new(stream).lines();
            if lines.next_line().await.unwrap().unwrap() == "HTTP/1.1 200 OK" {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_listener_does_not_hold_up_the_end() {
    let mut site = Site::open(fleet()).await;
    let mut listener = Listener::open(&site).await;
    assert!(listener.next().await.is_some());
    assert!(site.end().await < Duration::from_secs(1));
    while listener.next().await.is_some() {}
}

#[tokio::test]
async fn the_description_has_every_route_and_every_method() {
    let desk = Desk::open().await;
    let document = desk.site.get("/openapi.json").await.json();
    assert_eq!(document["info"]["title"], "Setpoint");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 23, "{:?}", paths.keys().collect::<Vec<_>>());
    for (path, item) in paths {
        let at = path.replace("{name}", "web");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if at == "/api/v1/events" && method == "GET" {
                continue;
            }
            let head = format!("{method} {at} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
            let answer = desk.send(&head, "{}").await;
            let described = &item[method.to_lowercase()];
            assert_eq!(answer.status == 405, described.is_null(), "{method} {path}: {}", answer.status);
            if !described.is_null() {
                let statuses = described["responses"].as_object().unwrap();
                assert!(statuses.contains_key(&answer.status.to_string()), "{method} {path}: {}", answer.status);
            }
        }
    }
}
