//! What the Prometheus source makes of every kind of answer, and of no answer.

use std::time::Duration;

use jiff::Timestamp;
use setpoint::metric::prometheus::{ClientCertificate, Credentials, Settings};
use setpoint::metric::{Answer, SourceError, Sources};
use setpoint::observation::{Failure, Measurement};
use setpoint::policy::Source;

use self::server::{Act, Server, http};

mod server;

/// A query without a selector, which is asked without its age.
const CONSTANT: &str = "vector(1)";
/// The largest body that is read.
const CAP: usize = 4 * 1024 * 1024;

fn settings(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        timeout: Duration::from_secs(60),
        headers: Vec::new(),
        credentials: None,
        ca_file: None,
        client_certificate: None,
    }
}

async fn ask(settings: &Settings, query: &str) -> Answer {
    let sources = Sources::new(Some(settings)).unwrap();
    sources.read(&Source::Prometheus { query: query.into() }, Timestamp::UNIX_EPOCH).await
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
