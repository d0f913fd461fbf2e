//! Who may: every way in, with every role, on real sockets with real certificates.

mod fixture;
mod site;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::CertifiedKey;
use rustls::pki_types::ServerName;
use setpoint::api::{BindError, Role, Server, Settings, Tls, Token};
use site::{Answer, Site, fleet, send};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const VIEWER: &str = "viewer-0123456789abcdef0123456789";
const OPERATOR: &str = "operator-0123456789abcdef01234567";

/// A folder with two tokens, a certificate for `setpoint.example`, and place for a socket.
struct Files {
    folder: TempDir,
    certificate: CertifiedKey<rcgen::KeyPair>,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("viewer"), VIEWER).unwrap();
        std::fs::write(folder.path().join("operator"), format!("{OPERATOR}\n")).unwrap();
        let files = Self { folder, certificate: certificate() };
        files.install(&files.certificate);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn install(&self, certificate: &CertifiedKey<rcgen::KeyPair>) {
        std::fs::write(self.path("cert.pem"), certificate.cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
    }

    /// Everything on: a socket, tokens, and on `listen` TLS.
    fn settings(&self, listen: &str) -> Settings {
        let token = |name: &str, role| Token { name: name.into(), role, file: self.path(name) };
        Settings {
            listen: listen.parse().unwrap(),
            socket: Some(self.path("socket")),
            tls: Some(Tls { certificate_file: self.path("cert.pem"), key_file: self.path("key.pem") }),
            tokens: vec![token("viewer", Role::Viewer), token("operator", Role::Operator)],
            hosts: vec!["setpoint.example".into()],
        }
    }
}

fn certificate() -> CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(["setpoint.example".to_owned()]).unwrap()
}

/// Shakes hands with a server that has this certificate.
async fn shake(site: &Site, certificate: &CertifiedKey<rcgen::KeyPair>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", site.address.port())).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("setpoint.example").unwrap(), stream).await
}

/// Without a line where there is no token.
fn authorization(token: Option<&str>) -> String {
    token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default()
}

async fn over_tls(site: &Site, files: &Files, request: &str, token: Option<&str>) -> Answer {
    let stream = shake(site, &files.certificate).await.unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: setpoint.example\r\n{}", authorization(token));
    send(stream, &head, "").await.unwrap()
}

async fn over_socket(path: &Path, head: &str) -> Answer {
    send(UnixStream::connect(path).await.unwrap(), head, "").await.unwrap()
}

const READS: [&str; 12] = [
    "/plain",
    "/readyz",
    "/metrics",
    "/api/v1/status",
    "/api/v1/policies",
    "/api/v1/policies/web",
    "/api/v1/policies/web/explain",
    "/api/v1/policies/web/series",
    "/api/v1/policies/web/cost",
    "/api/v1/policies/nobody",
    "/openapi.json",
    "/nothing",
];

const PAUSE: &str = r#"{"expires": "3h", "reason": "a migration"}"#;
const FLOOR: &str = r#"{"floor": 4, "expires": "3h", "reason": "a migration"}"#;
const REASON: &str = r#"{"reason": "it is over", "author": "alice"}"#;

/// Every order, with a body that it takes, and what comes of it.
const WRITES: [(&str, &str, u16); 10] = [
    ("/api/v1/policies/web/pause", PAUSE, 200),
    ("/api/v1/policies/web/resume", REASON, 200),
    ("/api/v1/policies/web/override", FLOOR, 200),
    ("/api/v1/policies/web/release", REASON, 200),
    ("/api/v1/policies/nobody/pause", PAUSE, 404),
    ("/api/v1/freeze", PAUSE, 200),
    ("/api/v1/unfreeze", REASON, 200),
    // The daemon that answers here finds the configuration wrong.
    ("/api/v1/reload", REASON, 422),
    ("/api/v1/status", REASON, 405),
    ("/nothing", REASON, 404),
];

fn post(path: &str, host: &str, token: Option<&str>) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{}", authorization(token))
}

#[tokio::test]
async fn orders_are_taken_from_operators_only() {
    let files = Files::new();
    let remote = Site::with(&files.settings("0.0.0.0:0"), fleet()).await;
    let local = Settings { tls: None, socket: None, ..files.settings("127.0.0.1:0") };
    let local = Site::with(&local, fleet()).await;
    for (path, body, done) in WRITES {
        for (token, expected) in [(None, 401), (Some("wrong"), 401), (Some(VIEWER), 403), (Some(OPERATOR), done)] {
            let stream = shake(&remote, &files.certificate).await.unwrap();
            let far = send(stream, &post(path, "setpoint.example", token), body).await.unwrap();
            let near = send(local.connect().await, &post(path, "localhost", token), body).await.unwrap();
            for answer in [far, near] {
                assert_eq!(answer.status, expected, "{path} {token:?}: {}", answer.body);
                answer.is_guarded(path);
                if expected != 200 {
                    answer.is_problem(expected);
                }
            }
        }
        let socket = UnixStream::connect(files.path("socket")).await.unwrap();
        assert_eq!(send(socket, &post(path, "localhost", None), body).await.unwrap().status, done, "{path}");
    }
}

#[tokio::test]
async fn an_order_is_put_down_to_whoever_gave_it() {
    let files = Files::new();
    let site = Site::with(&Settings { tls: None, ..files.settings("127.0.0.1:0") }, fleet()).await;
    let path = "/api/v1/policies/web/pause";
    let answer = send(site.connect().await, &post(path, "localhost", Some(OPERATOR)), PAUSE).await.unwrap();
    assert_eq!(answer.json()["by"], "operator");
    let socket = UnixStream::connect(files.path("socket")).await.unwrap();
    let answer = send(socket, &post("/api/v1/policies/web/resume", "localhost", None), REASON).await.unwrap();
    let by = answer.json()["by"].as_str().unwrap().to_owned();
    assert!(by.starts_with("alice (uid "), "{by}");
}

#[tokio::test]
async fn an_order_from_a_foreign_page_is_refused_whoever_asks() {
    let files = Files::new();
    let site = Site::with(&Settings { tls: None, ..files.settings("127.0.0.1:0") }, fleet()).await;
    for (lines, expected) in [
        ("Host: localhost", 200),
        ("Host: localhost\r\nOrigin: http://localhost", 200),
        ("Host: localhost\r\nOrigin: http://evil.example", 403),
        ("Host: localhost\r\nOrigin: null", 403),
        ("Host: evil.example", 403),
        ("Host: localhost\r\nHost: evil.example", 403),
    ] {
        let head = format!(
            "POST /api/v1/policies/web/pause HTTP/1.1\r\n{lines}\r\nContent-Type: application/json\r\n{}",
            authorization(Some(OPERATOR))
        );
        assert_eq!(send(site.connect().await, &head, PAUSE).await.unwrap().status, expected, "{lines:?}");
        let socket = UnixStream::connect(files.path("socket")).await.unwrap();
        assert_eq!(send(socket, &head, PAUSE).await.map_or(0, |answer| answer.status) == 200, expected == 200);
    }
}

#[tokio::test]
async fn an_address_that_others_reach_answers_nobody_without_a_token() {
    let files = Files::new();
    let site = Site::with(&files.settings("0.0.0.0:0"), fleet()).await;
    for path in READS {
        let known = if path.starts_with("/no") || path.ends_with("/nobody") { 404 } else { 200 };
        for (token, expected) in [(None, 401), (Some("wrong"), 401), (Some(VIEWER), known), (Some(OPERATOR), known)] {
            let answer = over_tls(&site, &files, &format!("GET {path}"), token).await;
            assert_eq!(answer.status, expected, "{path} {token:?}");
            answer.is_guarded(path);
            if expected == 401 {
                answer.is_problem(401);
                assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"setpoint\"");
            }
        }
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n");
        assert_eq!(over_socket(&files.path("socket"), &head).await.status, known, "{path}");
    }
    for path in ["/", "/healthz", "/site/main.js"] {
        let answer = over_tls(&site, &files, &format!("GET {path}"), None).await;
        assert_eq!(answer.status, 200, "whether it is alive is no secret, nor is a page without anything in it");
        assert!(!answer.body.contains("web-prod") && !answer.body.contains("setpoint.toml"), "{path} tells something");
    }
}

#[tokio::test]
async fn reading_on_loopback_is_open_and_a_wrong_token_is_still_refused() {
    let files = Files::new();
    let site = Site::with(&Settings { tls: None, ..files.settings("127.0.0.1:0") }, fleet()).await;
    for (lines, expected) in [
        (String::new(), 200),
        (authorization(Some(VIEWER)), 200),
        (authorization(Some("wrong")), 401),
        (authorization(Some("")), 401),
        (format!("Authorization: {VIEWER}\r\n"), 401),
        (format!("Authorization: Basic {VIEWER}\r\n"), 401),
        (authorization(Some(VIEWER)).repeat(2), 401),
        (authorization(Some(VIEWER)).replace("Bearer", "bearer"), 200),
    ] {
        let head = format!("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n{lines}");
        assert_eq!(site.ask(&head).await.status, expected, "{lines:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_replaced_counts_at_once() {
    let files = Files::new();
    let site = Site::with(&files.settings("0.0.0.0:0"), fleet()).await;
    assert_eq!(over_tls(&site, &files, "GET /readyz", Some(VIEWER)).await.status, 200);
    let renewed = VIEWER.to_uppercase();
    std::fs::write(files.path("viewer"), &renewed).unwrap();
    assert_eq!(over_tls(&site, &files, "GET /readyz", Some(VIEWER)).await.status, 401);
    assert_eq!(over_tls(&site, &files, "GET /readyz", Some(&renewed)).await.status, 200);
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_to_the_next_client() {
    let files = Files::new();
    let site = Site::with(&files.settings("0.0.0.0:0"), fleet()).await;
    let renewed = certificate();
    assert!(shake(&site, &renewed).await.is_err());
    // Half of it is there: the one before still serves.
    std::fs::write(files.path("cert.pem"), renewed.cert.pem()).unwrap();
    assert!(shake(&site, &files.certificate).await.is_ok());
    files.install(&renewed);
    assert!(shake(&site, &renewed).await.is_ok());
    assert!(shake(&site, &files.certificate).await.is_err());
    std::fs::remove_file(files.path("key.pem")).unwrap();
    assert!(shake(&site, &renewed).await.is_ok());
}

#[tokio::test]
async fn where_tls_is_spoken_plain_http_is_not() {
    let files = Files::new();
    let site = Site::with(&files.settings("127.0.0.1:0"), fleet()).await;
    let answer = site.try_ask("GET / HTTP/1.1\r\nHost: localhost\r\n").await;
    assert_eq!(answer.map(|answer| answer.status), None);
    assert_eq!(over_tls(&site, &files, "GET /", None).await.status, 200, "loopback is open to read");
}

#[tokio::test]
async fn a_rebound_host_and_a_foreign_origin_are_refused_on_every_way_in() {
    let files = Files::new();
    let site = Site::with(&files.settings("0.0.0.0:0"), fleet()).await;
    for (lines, expected) in [
        ("Host: setpoint.example", 200),
        ("Host: SETPOINT.example:443", 200),
        ("Host: 127.0.0.1", 200),
        ("Host: 10.9.8.7", 403),
        ("Host: evil.example", 403),
        ("Host: setpoint.example.evil.com", 403),
        ("Host: setpoint.example\r\nOrigin: https://setpoint.example", 200),
        ("Host: setpoint.example\r\nOrigin: http://setpoint.example", 403),
        ("Host: setpoint.example\r\nOrigin: https://evil.example", 403),
    ] {
        let head = format!("GET /readyz HTTP/1.1\r\n{lines}\r\n{}", authorization(Some(OPERATOR)));
        let answer = send(shake(&site, &files.certificate).await.unwrap(), &head, "").await.unwrap();
        assert_eq!(answer.status, expected, "{lines:?}");
    }
    for (host, expected) in [("localhost", 200), ("setpoint.example", 200), ("evil.example", 403)] {
        let head = format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\n");
        assert_eq!(over_socket(&files.path("socket"), &head).await.status, expected, "{host}");
    }
}

// Time is paused: it jumps to the next timer whenever every task waits.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_shakes_hands_is_dropped() {
    let files = Files::new();
    let site = Site::with(&files.settings("127.0.0.1:0"), fleet()).await;
    let started = Instant::now();
    let mut silent = site.connect().await;
    silent.write_all(&[0x16]).await.unwrap();
    // Whether the end is a reset depends on what was not read.
    let _ = silent.read_to_end(&mut Vec::new()).await;
    assert!((Duration::from_secs(4)..Duration::from_secs(10)).contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_socket_goes_with_the_server() {
    let files = Files::new();
    let mut site = Site::with(&files.settings("127.0.0.1:0"), fleet()).await;
    assert!(matches!(Server::bind(&files.settings("127.0.0.1:0")).await, Err(BindError::Socket(..))));
    site.end().await;
    assert!(!files.path("socket").exists());
}

#[tokio::test]
async fn a_server_does_not_start_with_files_that_secure_nothing() {
    let check = async |name: &str, content: Option<&str>, expected: &str| {
        let files = Files::new();
        match content {
            Some(content) => std::fs::write(files.path(name), content).unwrap(),
            None => std::fs::remove_file(files.path(name)).unwrap(),
        }
        let error = Server::bind(&files.settings("127.0.0.1:0")).await.unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
        assert!(content.is_none_or(|content| content.is_empty() || !error.contains(content)), "{error}");
    };
    check("viewer", None, "can't be opened").await;
    check("operator", Some("hunter2"), "holds no token, expected at least 32").await;
    check("cert.pem", None, "can't be read").await;
    check("cert.pem", Some(""), "holds no certificate").await;
    check("key.pem", Some("hunter2"), "holds no private key").await;
    check("key.pem", Some(&certificate().signing_key.serialize_pem()), "can't be used together").await;
}
