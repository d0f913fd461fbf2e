//! What the Prometheus source makes of every kind of answer, and of no answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use setpoint::metric::prometheus::{ClientCertificate, Credentials, Settings};
use setpoint::metric::{Answer, SourceError, Sources};
use setpoint::observation::{Failure, Measurement};
use setpoint::policy::Source;
use tempfile::TempDir;
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;

use self::server::{Act, Server, http};

mod server;

/// A query without a selector, which is asked without its age.
const CONSTANT: &str = "vector(1)";
/// The largest body that is read.
const CAP: usize = 4 * 1024 * 1024;

/// When the servers here answer, by their clocks.
fn now() -> Timestamp {
    Timestamp::from_second(1000).unwrap()
}

fn settings(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        timeout: Duration::from_mins(1),
        headers: Vec::new(),
        credentials: None,
        ca_file: None,
        client_certificate: None,
    }
}

async fn ask(settings: &Settings, query: &str) -> Answer {
    ask_each(settings, query, None).await
}

async fn ask_each(settings: &Settings, query: &str, per_instance: Option<&str>) -> Answer {
    let sources = Sources::new(Some(settings)).unwrap();
    let source = Source::Prometheus { query: query.into(), per_instance: per_instance.map(Into::into) };
    sources.read(&source, now()).await
}

/// What a constant query reads from a server that does this.
async fn read(act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Answer {
    let server = Server::start(act).await;
    ask(&settings(&server.url), CONSTANT).await
}

fn success(data: &str) -> String {
    format!(r#"{{"status":"success","data":{data}}}"#)
}

fn vector(value: &str) -> String {
    success(&format!(r#"{{"resultType":"vector","result":[{{"metric":{{}},"value":[1000.5,"{value}"]}}]}}"#))
}

fn send(status: u16, body: &str) -> Act {
    Act::Send(http(status, "content-type: application/json\r\n", body))
}

fn value(value: f64) -> Measurement {
    Measurement::Value { value, age: None }
}

fn failed(failure: Failure) -> Measurement {
    Measurement::Failed { failure }
}

async fn check(status: u16, body: &str, expected: Measurement) -> String {
    let body = body.to_owned();
    let sent = body.clone();
    let answer = read(move |_| send(status, &sent)).await;
    assert_eq!(answer.measurement, expected, "{status} {body}: {:?}", answer.detail);
    let is_value = matches!(expected, Measurement::Value { .. } | Measurement::NotFinite);
    assert_eq!(answer.detail.is_none(), is_value, "{status} {body}: {:?}", answer.detail);
    answer.detail.unwrap_or_default()
}

#[tokio::test]
async fn a_scalar_and_a_single_series_are_values() {
    check(200, &vector("1.5"), value(1.5)).await;
    check(200, &vector("-1e+06"), value(-1e6)).await;
    check(200, &vector("0"), value(0.0)).await;
    check(200, &success(r#"{"resultType":"scalar","result":[1000,"0.25"]}"#), value(0.25)).await;
    check(200, &success(r#"{"result":[1000,"0.25"],"resultType":"scalar","stats":{}}"#), value(0.25)).await;
    check(
        200,
        &vector("1").replace("\"data\"", "\"isPartial\":false,\"warnings\":[],\"infos\":[\"i\"],\"data\""),
        value(1.0),
    )
    .await;
    let warning = r#""warnings":["PromQL warning: quantile value should be between 0 and 1, got NaN"],"data""#;
    check(200, &vector("1").replace("\"data\"", warning), value(1.0)).await;
}

#[tokio::test]
async fn what_is_not_one_number_is_none() {
    check(200, &success(r#"{"resultType":"vector","result":[]}"#), Measurement::NoData).await;
    for word in ["NaN", "+Inf", "-Inf"] {
        check(200, &vector(word), Measurement::NotFinite).await;
    }
    let two =
        r#"{"resultType":"vector","result":[{"metric":{"a":"1"},"value":[1,"1"]},{"metric":{},"value":[1,"2"]}]}"#;
    check(200, &success(two), Measurement::ManySeries { count: 2 }).await;
    let matrix = r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"]]}]}"#;
    check(200, &success(matrix), failed(Failure::WrongType)).await;
    check(200, &success(r#"{"resultType":"string","result":[1,"1"]}"#), failed(Failure::WrongType)).await;
    let native = r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1","sum":"2"}]}]}"#;
    check(200, &success(native), failed(Failure::WrongType)).await;
}

#[tokio::test]
async fn many_series_say_how_to_ask_for_each_instance() {
    let two = fleet(&[("a", "1"), ("b", "2")]);
    let detail = check(200, &two, Measurement::ManySeries { count: 2 }).await;
    assert!(detail.contains("2 series, not one") && detail.contains("per_instance names the label"), "{detail}");
}

/// The answer with a series of each of these instances.
fn fleet(instances: &[(&str, &str)]) -> String {
    let series = instances.iter().map(|(instance, value)| {
        format!(r#"{{"metric":{{"job":"web","instance":"{instance}"}},"value":[1000.5,"{value}"]}}"#)
    });
    let series = series.collect::<Vec<_>>().join(",");
    success(&format!(r#"{{"resultType":"vector","result":[{series}]}}"#))
}

/// What a constant query for one series of each `instance` reads from this answer.
async fn check_each(status: u16, body: &str, expected: Measurement) -> String {
    let sent = body.to_owned();
    let server = Server::start(move |_| send(status, &sent)).await;
    let answer = ask_each(&settings(&server.url), CONSTANT, Some("instance")).await;
    assert_eq!(answer.measurement, expected, "{body:.300}: {:?}", answer.detail);
    assert_eq!(answer.detail.is_none(), expected.has_number(), "{body:.300}: {:?}", answer.detail);
    answer.detail.unwrap_or_default()
}

fn instances(mean: f64, reporting: u32) -> Measurement {
    Measurement::Instances { mean, reporting, age: None }
}

#[tokio::test]
async fn the_mean_of_the_instances_is_taken_and_they_are_counted() {
    check_each(200, &fleet(&[("a", "0.5")]), instances(0.5, 1)).await;
    check_each(200, &fleet(&[("a", "1"), ("b", "2"), ("c", "6")]), instances(3.0, 3)).await;
    check_each(200, &fleet(&[("a", "-1"), ("A", "0")]), instances(-0.5, 2)).await;
}

#[tokio::test]
async fn an_instance_without_a_finite_number_has_not_reported() {
    check_each(200, &fleet(&[("a", "NaN"), ("b", "2"), ("c", "+Inf"), ("d", "4")]), instances(3.0, 2)).await;
    check_each(200, &fleet(&[("a", "NaN"), ("b", "-Inf")]), Measurement::NotFinite).await;
    check_each(200, &fleet(&[("a", "1.7e308"), ("b", "1.7e308")]), Measurement::NotFinite).await;
    check_each(200, &fleet(&[]), Measurement::NoData).await;
}

#[tokio::test]
async fn instances_that_can_not_be_told_apart_are_no_measurement() {
    let twice = [("a", "1"), ("b", "2"), ("a", "NaN"), ("a", "1")];
    let detail = check_each(200, &fleet(&twice), Measurement::ManySeries { count: 3 }).await;
    assert_eq!(detail, "the query gives 3 series with instance=\"a\", not one");
    let without = fleet(&[("a", "1"), ("b", "2")]).replacen("\"instance\"", "\"pod\"", 1);
    for unnamed in [without, fleet(&[("a", "1"), ("", "2")]), vector("1"), vector("1").replace("\"metric\":{},", "")] {
        let detail = check_each(200, &unnamed, failed(Failure::Malformed)).await;
        assert_eq!(detail, "a series has no label \"instance\"");
    }
}

#[tokio::test]
async fn what_is_not_one_number_of_each_instance_is_none() {
    let scalar = success(r#"{"resultType":"scalar","result":[1000,"0.25"]}"#);
    let detail = check_each(200, &scalar, failed(Failure::WrongType)).await;
    assert_eq!(detail, "the query gives a scalar, not one series for each instance");
    check_each(200, &success(r#"{"resultType":"matrix","result":[]}"#), failed(Failure::WrongType)).await;
    let histogram = fleet(&[("a", "1"), ("b", "2")]).replacen("\"value\"", "\"histogram\"", 1);
    check_each(200, &histogram, failed(Failure::WrongType)).await;
    check_each(200, &fleet(&[("a", "1"), ("b", "one")]), failed(Failure::Malformed)).await;
    check_each(200, &fleet(&[("a", "1")]).replace("value", "values"), failed(Failure::Malformed)).await;
    let partial = fleet(&[("a", "1")]).replace("\"data\"", "\"isPartial\":true,\"data\"");
    check_each(200, &partial, failed(Failure::QueryRejected)).await;
    check_each(503, &fleet(&[("a", "1")]), failed(Failure::Status { code: 503 })).await;
}

#[tokio::test]
async fn ten_thousand_instances_are_read_and_more_are_not() {
    let names: Vec<_> = (0..=10_000).map(|n| n.to_string()).collect();
    let series: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    check_each(200, &fleet(&series[..10_000]), instances(1.0, 10_000)).await;
    let detail = check_each(200, &fleet(&series), failed(Failure::TooLarge)).await;
    assert_eq!(detail, "the query gives 10001 series, more than 10000 instances");
}

#[tokio::test]
async fn a_partial_answer_is_not_a_number() {
    let partial = vector("1").replace("\"data\"", "\"isPartial\":true,\"data\"");
    let detail = check(200, &partial, failed(Failure::QueryRejected)).await;
    assert_eq!(detail, "the answer is partial");
    for warning in
        ["No StoreAPIs matched for this query", "fetch series for {}: rpc error: partial response", "remote_read: EOF"]
    {
        let partial =
            vector("1").replace("\"data\"", &format!(r#""warnings":["PromQL warning: odd","{warning}"],"data""#));
        let detail = check(200, &partial, failed(Failure::QueryRejected)).await;
        assert_eq!(detail, format!("the answer is partial: {warning}"));
    }
}

#[tokio::test]
async fn an_error_of_the_query_is_told_in_the_words_of_the_server() {
    let error = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5:\nparse error"}"#;
    for status in [200, 400, 422] {
        let detail = check(status, error, failed(Failure::QueryRejected)).await;
        assert_eq!(detail, "invalid parameter \"query\": 1:5: parse error", "{status}");
    }
    let timeout = r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
    let detail = check(503, timeout, failed(Failure::Status { code: 503 })).await;
    assert_eq!(detail, "query timed out in expression evaluation");
    let long = check(400, &error.replace("parse error", &"x".repeat(10_000)), failed(Failure::QueryRejected)).await;
    assert_eq!(long.chars().count(), 301);
}

#[tokio::test]
async fn another_status_is_a_failure_of_its_own() {
    check(400, "Bad Request", failed(Failure::Status { code: 400 })).await;
    check(401, "who?", failed(Failure::Denied)).await;
    check(403, "<html>", failed(Failure::Denied)).await;
    check(404, "", failed(Failure::Status { code: 404 })).await;
    check(500, &vector("1"), failed(Failure::Status { code: 500 })).await;
    check(304, "", failed(Failure::Redirected)).await;
}

#[tokio::test]
async fn what_is_not_the_protocol_is_malformed() {
    let whole = vector("1");
    let bodies = [
        "",
        "null",
        "[]",
        "{}",
        "<html>It works!</html>",
        &whole[..whole.len() - 1],
        &format!("{whole}{whole}"),
        r#"{"status":"success"}"#,
        r#"{"status":"error"}"#,
        r#"{"status":"perhaps","data":{}}"#,
        r#"{"status":"success","data":{}}"#,
        r#"{"status":"success","data":{"resultType":"vector"}}"#,
        r#"{"status":"success","data":{"resultType":"tensor","result":[]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1]}]}}"#,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,2]}]}}"#,
        r#"{"status":"success","data":{"resultType":"scalar","result":["1","2"]}}"#,
        &vector(""),
        &vector("one"),
        &vector("1,5"),
        "\u{0}",
    ];
    for body in bodies {
        check(200, body, failed(Failure::Malformed)).await;
    }
}

/// A server that gives `number` for a query and `age` for the query of its age.
async fn read_both(number: (u16, String), age: (u16, String)) -> Answer {
    read_both_each(number, age, None).await
}

async fn read_both_each(number: (u16, String), age: (u16, String), per_instance: Option<&str>) -> Answer {
    let act = move |request: &str| {
        let (status, body) = if request.contains("query=max%28timestamp") { &age } else { &number };
        send(*status, body)
    };
    let server = Server::start(act).await;
    let answer = ask_each(&settings(&server.url), "sum(up)", per_instance).await;
    assert!(server.requests().iter().all(|request| request.starts_with("POST /api/v1/query HTTP/1.1\r\n")));
    answer
}

#[tokio::test]
async fn the_age_is_the_time_of_the_servers_evaluation_less_that_of_the_newest_sample() {
    let answer = read_both((200, vector("7")), (200, vector("990.25"))).await;
    let age = Some(Duration::from_millis(10_250));
    assert_eq!(answer, Answer { measurement: Measurement::Value { value: 7.0, age }, detail: None });
}

#[tokio::test]
async fn the_age_of_instances_is_that_of_the_newest_sample() {
    let two = fleet(&[("a", "1"), ("b", "2")]);
    let answer = read_both_each((200, two.clone()), (200, vector("990.25")), Some("instance")).await;
    let age = Some(Duration::from_millis(10_250));
    let expected = Measurement::Instances { mean: 1.5, reporting: 2, age };
    assert_eq!(answer, Answer { measurement: expected, detail: None });
    let answer = read_both_each((200, two), (500, String::new()), Some("instance")).await;
    assert_eq!(answer.measurement, failed(Failure::Status { code: 500 }));
    let answer = read_both_each((200, fleet(&[])), (500, String::new()), Some("instance")).await;
    assert_eq!(answer.measurement, Measurement::NoData);
}

#[tokio::test]
async fn without_an_age_there_is_no_value() {
    let check = async |number: &str, age: (u16, String), expected: Measurement, words: &str| {
        let answer = read_both((200, number.to_owned()), age).await;
        assert_eq!(answer.measurement, expected, "{answer:?}");
        assert!(answer.detail.as_ref().unwrap().contains(words), "{answer:?}");
    };
    let nothing = success(r#"{"resultType":"vector","result":[]}"#);
    let one = vector("1");
    check(&one, (200, nothing.clone()), Measurement::NoData, "none of its series has a sample").await;
    check(&nothing, (200, nothing.clone()), Measurement::NoData, "the query gives no series").await;
    check(&one, (500, String::new()), failed(Failure::Status { code: 500 }), "the age of the samples: ").await;
    check(&one, (200, "x".to_owned()), failed(Failure::Malformed), "the age of the samples: ").await;
    check(&one, (200, vector("1061")), failed(Failure::Malformed), "60 s ahead of the clock").await;
    check(&one, (200, vector("NaN")), failed(Failure::Malformed), "not a time").await;
    check("x", (500, String::new()), failed(Failure::Malformed), "not an answer to a query").await;
}

#[tokio::test]
async fn both_queries_are_asked_at_once() {
    let both = Arc::new(Barrier::new(2));
    let act = move |_: &str| Act::Meet(Arc::clone(&both), http(200, "", &vector("1000")));
    let server = Server::start(act).await;
    let age = Some(Duration::from_millis(500));
    assert_eq!(ask(&settings(&server.url), "up").await.measurement, Measurement::Value { value: 1000.0, age });
}

#[tokio::test]
async fn a_body_up_to_the_cap_is_read_and_a_larger_one_is_not() {
    let padded = |length: usize| {
        let body = vector("1");
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    check(200, &padded(CAP), value(1.0)).await;
    check(200, &padded(CAP + 1), failed(Failure::TooLarge)).await;
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_waited_for() {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", CAP + 1);
    assert_eq!(read(move |_| Act::Hang(head.clone().into())).await.measurement, failed(Failure::TooLarge));
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_off_at_the_cap() {
    let chunk = format!("{:x}\r\n{}\r\n", CAP / 4, " ".repeat(CAP / 4));
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}1\r\n \r\n", chunk.repeat(4));
    assert_eq!(read(move |_| Act::Hang(chunked.clone().into())).await.measurement, failed(Failure::TooLarge));
    let until_closed = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(CAP + 1));
    assert_eq!(read(move |_| Act::Hang(until_closed.clone().into())).await.measurement, failed(Failure::TooLarge));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Server::start(|_| send(200, &vector("1"))).await;
        let location = format!("location: {}/api/v1/query\r\n", elsewhere.url);
        let answer = read(move |_| Act::Send(http(status, &location, ""))).await;
        assert_eq!(answer.measurement, failed(Failure::Redirected));
        assert_eq!(answer.detail.as_deref(), Some(&*format!("the server answered with status {status}")));
        assert!(elsewhere.requests().is_empty());
    }
}

#[tokio::test]
async fn one_timeout_covers_the_wait_the_head_and_the_body() {
    let acts: [fn(&str) -> Act; 4] = [
        |_| Act::Hang(Vec::new()),
        |_| Act::Drip(b"HTTP/1.1 200 OK\r\nx: ".to_vec()),
        |_| Act::Hang(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{".to_vec()),
        |_| Act::Drip(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n".to_vec()),
    ];
    for act in acts {
        let server = Server::start(act).await;
        for query in [CONSTANT, "up"] {
            let patience = Settings { timeout: Duration::from_millis(200), ..settings(&server.url) };
            let answer = ask(&patience, query).await;
            assert_eq!(answer.measurement, failed(Failure::Timeout));
            assert_eq!(answer.detail.as_deref(), Some("no answer within 0.2 s"));
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let urls = [
        server::nobody().await,
        server::reset().await,
        "http://host.invalid:9090".to_owned(),
        server::nobody().await.replace("http:", "https:"),
        server::nobody().await.replace("http://", "http://user:hunter2@"),
    ];
    for url in urls {
        let answer = ask(&settings(&url), "up").await;
        assert_eq!(answer.measurement, failed(Failure::Unreachable), "{url}");
        let detail = answer.detail.unwrap();
        let host = url.rsplit(['/', '@']).next().unwrap();
        assert!(detail.starts_with(&format!("no answer from {host}: ")) && !detail.contains("hunter2"), "{detail}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_a_value() {
    let whole = http(200, "", &vector("123"));
    for length in [0, 1, 20, whole.len() - 1] {
        let part = whole[..length].to_vec();
        assert_eq!(read(move |_| Act::Send(part.clone())).await.measurement, failed(Failure::Unreachable), "{length}");
    }
    for garbage in ["\0\0\0\0", "SSH-2.0-OpenSSH_9.9\r\n", "HTTP/1.1 999999 OK\r\n\r\n"] {
        let answer = read(move |_| Act::Send(garbage.into())).await;
        assert_eq!(answer.measurement, failed(Failure::Unreachable), "{garbage:?}");
    }
}

#[tokio::test]
async fn a_query_that_does_not_parse_is_not_asked() {
    let server = Server::start(|_| send(200, &vector("1"))).await;
    let answer = ask(&settings(&server.url), "sum(").await;
    assert_eq!(answer.measurement, failed(Failure::QueryRejected));
    assert!(server.requests().is_empty());
}

#[test]
fn no_proxy_of_the_environment_is_used() {
    let itself = std::env::current_exe().unwrap();
    let mut again = std::process::Command::new(itself);
    again.args(["--exact", "a_scalar_and_a_single_series_are_values"]);
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        again.env(variable, "http://127.0.0.1:1");
    }
    assert!(again.env_remove("NO_PROXY").env_remove("no_proxy").status().unwrap().success());
}

/// The one header of that name in a request; empty where there is none.
fn header(request: &str, name: &str) -> String {
    let lines = request.lines().filter_map(|line| line.split_once(": "));
    let values = lines.filter(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    values.collect::<Vec<_>>().join("|")
}

#[tokio::test]
async fn a_bearer_token_is_read_anew_for_every_request() {
    let server = Server::start(|_| send(200, &vector("1"))).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token");
    let credentials = Some(Credentials::BearerTokenFile(file.clone()));
    let sources = Sources::new(Some(&Settings { credentials, ..settings(&server.url) })).unwrap();
    let source = Source::Prometheus { query: CONSTANT.into(), per_instance: None };
    for token in ["first", " second\n"] {
        fs::write(&file, token).unwrap();
        let answer = sources.read(&source, now()).await;
        assert_eq!(answer.measurement, value(1.0));
    }
    let sent = server.requests().iter().map(|request| header(request, "authorization")).collect::<Vec<_>>();
    assert_eq!(sent, ["Bearer first", "Bearer second"]);
}

#[tokio::test]
async fn basic_authentication_and_headers_are_sent() {
    let server = Server::start(|_| send(200, &vector("1"))).await;
    let folder = TempDir::new().unwrap();
    let password_file = folder.path().join("password");
    fs::write(&password_file, "open sesame\n").unwrap();
    let settings = Settings {
        headers: vec![("X-Scope-OrgID".into(), "tenant 1".into()), ("X-Two".into(), "2".into())],
        credentials: Some(Credentials::Basic { username: "Aladdin".into(), password_file }),
        url: format!("{}/prefix", server.url),
        ..settings("")
    };
    assert_eq!(ask(&settings, "sum(a + b) > bool 1").await.measurement.label(), "value");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert!(request.starts_with("POST /prefix/api/v1/query HTTP/1.1\r\n"), "{request}");
        assert_eq!(header(&request, "authorization"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(header(&request, "x-scope-orgid"), "tenant 1");
        assert_eq!(header(&request, "x-two"), "2");
        assert_eq!(header(&request, "content-type"), "application/x-www-form-urlencoded");
    }
}

#[tokio::test]
async fn without_its_secret_no_request_is_sent() {
    let server = Server::start(|_| send(200, &vector("1"))).await;
    let folder = TempDir::new().unwrap();
    let (missing, empty, odd) = (folder.path().join("missing"), folder.path().join("empty"), folder.path().join("odd"));
    fs::write(&empty, "\n").unwrap();
    fs::write(&odd, "hunter2\r\nX-Evil: 1").unwrap();
    for file in [missing, empty, odd, folder.path().to_owned()] {
        let basic = Credentials::Basic { username: "user".into(), password_file: file.clone() };
        for credentials in [Credentials::BearerTokenFile(file.clone()), basic] {
            let answer = ask(&Settings { credentials: Some(credentials), ..settings(&server.url) }, CONSTANT).await;
            assert_eq!(answer.measurement, failed(Failure::Denied));
            let detail = answer.detail.unwrap();
            assert!(detail.contains(file.to_str().unwrap()) && !detail.contains("hunter2"), "{detail}");
        }
    }
    assert!(server.requests().is_empty());
}

/// Certificates of one authority, as files.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn client_certificate(&self) -> ClientCertificate {
        let (certificate, key) = self.issue("setpoint");
        let files = ClientCertificate { certificate_file: self.file("client.pem"), key_file: self.file("client.key") };
        fs::write(&files.certificate_file, certificate.pem().trim_end()).unwrap();
        fs::write(&files.key_file, key.serialize_pem()).unwrap();
        files
    }

    /// A server that shows a certificate for `name`, and asks for one where `clients` says of whom.
    async fn serve(&self, name: &str, clients: Option<&Authority>) -> Server {
        let (certificate, key) = self.issue(name);
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&ring)).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.issuer.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), ring).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        Server::start_tls(TlsAcceptor::from(Arc::new(config)), |_| send(200, &vector("1"))).await
    }
}

async fn ask_tls(server: &Server, ca_file: Option<PathBuf>, certificate: Option<ClientCertificate>) -> Answer {
    ask(&Settings { ca_file, client_certificate: certificate, ..settings(&server.url) }, CONSTANT).await
}

#[tokio::test]
async fn only_the_named_authority_is_trusted() {
    let (ours, other) = (Authority::new(), Authority::new());
    let server = ours.serve("127.0.0.1", None).await;
    assert_eq!(ask_tls(&server, Some(ours.file("ca.pem")), None).await.measurement, value(1.0));
    for ca_file in [Some(other.file("ca.pem")), None] {
        let answer = ask_tls(&server, ca_file, None).await;
        assert_eq!(answer.measurement, failed(Failure::Unreachable));
        assert!(answer.detail.unwrap().contains("invalid peer certificate"));
    }
    let misnamed = ours.serve("prometheus.example", None).await;
    let answer = ask_tls(&misnamed, Some(ours.file("ca.pem")), None).await;
    assert_eq!(answer.measurement, failed(Failure::Unreachable));
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks_for_it() {
    let (ours, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let server = ours.serve("127.0.0.1", Some(&clients)).await;
    let ca_file = Some(ours.file("ca.pem"));
    let answer = ask_tls(&server, ca_file.clone(), Some(clients.client_certificate())).await;
    assert_eq!(answer.measurement, value(1.0), "{:?}", answer.detail);
    for certificate in [None, Some(other.client_certificate())] {
        let answer = ask_tls(&server, ca_file.clone(), certificate).await;
        assert_eq!(answer.measurement, failed(Failure::Unreachable), "{:?}", answer.detail);
    }
    assert_eq!(server.requests().len(), 1);
}

fn refused(settings: &Settings) -> String {
    Sources::new(Some(settings)).map_or_else(|error: SourceError| error.to_string(), |_| "accepted".to_owned())
}

#[test]
fn files_and_headers_that_cannot_be_used_are_named_at_the_start() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "not a certificate").unwrap();
    let base = settings("https://127.0.0.1");
    let check = |settings: &Settings, expected: &str| assert_eq!(refused(settings), expected);
    let quoted = |file: &Path| format!("\"{}\"", file.display());
    let missing = folder.path().join("missing");

    let ca = |file: &Path| Settings { ca_file: Some(file.to_owned()), ..base.clone() };
    let expected = "expected PEM certificates of the trusted authorities";
    check(&ca(&missing), &format!("prometheus.ca_file = {}: cannot be read, {expected}", quoted(&missing)));
    check(&ca(&text), &format!("prometheus.ca_file = {}: {expected}", quoted(&text)));

    let certificate = |certificate_file: &Path, key_file: &Path| Settings {
        client_certificate: Some(ClientCertificate {
            certificate_file: certificate_file.to_owned(),
            key_file: key_file.to_owned(),
        }),
        ..base.clone()
    };
    let key = "prometheus.client_certificate";
    let expected = "expected a PEM certificate, and its PEM key in key_file";
    check(&certificate(&text, &text), &format!("{key}.certificate_file = {}: {expected}", quoted(&text)));
    check(&certificate(&text, &missing), &{
        format!("{key}.key_file = {}: cannot be read, expected a PEM private key", quoted(&missing))
    });

    for (name, value) in [("X Y", "1"), ("X-Token", "secret\r\nX-Evil: 1")] {
        let settings = Settings { headers: vec![(name.into(), value.into())], ..base.clone() };
        assert!(refused(&settings).starts_with(&format!("prometheus.headers: \"{name}\" cannot be sent")));
    }
    for url in ["", "127.0.0.1:9090", "ftp://user:hunter2@host"] {
        check(&settings(url), "prometheus.url: expected an absolute http or https URL");
    }
}

#[tokio::test]
async fn without_a_prometheus_a_query_fails() {
    let source = Source::Prometheus { query: "up".into(), per_instance: None };
    let answer = Sources::new(None).unwrap().read(&source, now()).await;
    assert_eq!(answer.measurement, failed(Failure::Unreachable));
}
