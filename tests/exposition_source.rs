//! What the exposition source makes of `/metrics` pages, good and bad, and of several scrapes of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use setpoint::metric::{Answer, MAX_WINDOW, Sources};
use setpoint::observation::{Failure, Measurement};
use setpoint::policy::{Aggregation, Reading, Scrape, Source};

use self::server::{Act, Server, http};

mod server;

const TEXT: &str = "content-type: text/plain; version=0.0.4\r\n";
const SUM: Reading = Reading::Gauge(Aggregation::Sum);
const RATE: Reading = Reading::Rate { window: Duration::from_mins(1) };
const MEDIAN: Reading = Reading::Quantile { per_mille: 500, window: Duration::from_mins(1) };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn scrape(server: &Server, selector: &str, reading: Reading) -> Source {
    Source::Exposition(Scrape { url: format!("{}/metrics", server.url).into(), selector: selector.into(), reading })
}

/// What is read of these pages, one every ten seconds.
async fn read_all(pages: &[&str], selector: &str, reading: Reading) -> Vec<Answer> {
    let left = pages.iter().map(|page| http(200, TEXT, page)).collect::<Vec<_>>();
    let next = AtomicUsize::new(0);
    let server = Server::start(move |_| Act::Send(left[next.fetch_add(1, Ordering::Relaxed)].clone())).await;
    let sources = Sources::new(None).unwrap();
    let source = scrape(&server, selector, reading);
    let mut answers = Vec::new();
    for second in (0..).step_by(10).take(pages.len()) {
        answers.push(sources.read(&source, at(second)).await);
    }
    answers
}

async fn read(page: &str, selector: &str, reading: Reading) -> Answer {
    read_all(&[page], selector, reading).await.remove(0)
}

async fn read_bytes(bytes: Vec<u8>) -> Answer {
    let server = Server::start(move |_| Act::Send(bytes.clone())).await;
    Sources::new(None).unwrap().read(&scrape(&server, "up", SUM), at(0)).await
}

fn value(value: f64) -> Measurement {
    Measurement::Value { value, age: Some(Duration::ZERO) }
}

fn failed(failure: Failure) -> Measurement {
    Measurement::Failed { failure }
}

const PAGE: &str = r#"# HELP queue_depth How many wait.
# TYPE queue_depth gauge
queue_depth{queue="a",zone="1"} 1
queue_depth{queue="b",zone="1"} 2.5
queue_depth{queue="b",zone="2"} 1e1
queue_depth 0.5
job:queue_depth:sum{shape="{}"} 42
odd{path="/x?a=1,b=2",text="say \"}\"\n"} 7
"#;

#[tokio::test]
async fn a_selector_means_what_it_means_in_promql() {
    let check = async |selector: &str, reading: Reading, expected: f64| {
        assert_eq!(read(PAGE, selector, reading).await.measurement, value(expected), "{selector}");
    };
    check("queue_depth", SUM, 14.0).await;
    check("queue_depth", Reading::Gauge(Aggregation::Avg), 3.5).await;
    check("queue_depth", Reading::Gauge(Aggregation::Max), 10.0).await;
    check(r#"queue_depth{queue="b"}"#, SUM, 12.5).await;
    check(r#"queue_depth{queue!="b"}"#, SUM, 1.5).await;
    check(r#"queue_depth{queue=~"a|c",zone=~".+"}"#, SUM, 1.0).await;
    check(r#"queue_depth{queue!~"a.*"}"#, SUM, 13.0).await;
    check(r#"queue_depth{queue=""}"#, SUM, 0.5).await;
    check(r#"queue_depth{queue="a" or zone="2"}"#, SUM, 11.0).await;
    check(r#"{__name__=~"queue.+",zone="1"}"#, SUM, 3.5).await;
    check("job:queue_depth:sum", SUM, 42.0).await;
    check(r#"job:queue_depth:sum{shape="{}"}"#, SUM, 42.0).await;
    check(r#"odd{path="/x?a=1,b=2",text="say \"}\"\n"}"#, SUM, 7.0).await;
}

#[tokio::test]
async fn what_is_not_a_number_on_the_page_is_none() {
    let check = async |page: &str, reading: Reading, expected: Measurement, words: &str| {
        let answer = read(page, "up", reading).await;
        assert_eq!(answer.measurement, expected, "{page}");
        assert!(answer.detail.as_ref().is_some_and(|detail| detail.contains(words)), "{page}: {answer:?}");
    };
    let malformed = failed(Failure::Malformed);
    check("", SUM, Measurement::NoData, "no series").await;
    check("down 1\n", SUM, Measurement::NoData, "no series").await;
    check("up{a=\"1\"} 1\nup{a=\"2\"} NaN\n", Reading::Gauge(Aggregation::Max), Measurement::NotFinite, "line 2").await;
    check("up +Inf\n", SUM, Measurement::NotFinite, "line 1").await;
    check("x 1\nup{a=\"1\",b=\"2\"} 1\nup{b=\"2\",a=\"1\"} 2\n", SUM, malformed, "line 3").await;
    check("up 1\ndown{a=\"1} 1\n", SUM, malformed, "line 2").await;
    check("<html>\n<p>up 1\n", SUM, malformed, "line 1").await;
    check("up -1\n", RATE, malformed, "line 1").await;
    check("up_bucket{le=\"1\"} 1\n", MEDIAN, malformed, "le=\"+Inf\"").await;
    check("up_bucket{le=\"+Inf\"} 1\n", MEDIAN, malformed, "and another one").await;
    check("up_bucket{le=\"one\"} 1\nup_bucket{le=\"+Inf\"} 1\n", MEDIAN, malformed, "line 1").await;
    check("up_bucket 1\n", MEDIAN, malformed, "line 1").await;
    let many = (0..=10_000).map(|i| format!("up{{i=\"{i}\"}} 1\n")).collect::<Vec<_>>().concat();
    check(&many, SUM, failed(Failure::TooLarge), "10000 series").await;
    let bounds = (0..=500).map(|i| format!("up_bucket{{le=\"{i}\"}} 1\n")).collect::<Vec<_>>().concat();
    check(&bounds, MEDIAN, failed(Failure::TooLarge), "500 bounds").await;
}

#[tokio::test]
async fn a_selector_or_a_window_that_cannot_be_served_is_rejected() {
    for selector in ["sum(up)", "up[1m]", "up offset 1m", "up{", "", "1"] {
        let answer = read("up 1\n", selector, SUM).await;
        assert_eq!(answer.measurement, failed(Failure::QueryRejected), "{selector}");
    }
    let window = MAX_WINDOW + Duration::from_secs(1);
    let answer = read("up 1\n", "up", Reading::Rate { window }).await;
    assert_eq!(answer.measurement, failed(Failure::QueryRejected));
}

#[tokio::test]
async fn the_age_is_that_of_the_newest_sample() {
    let check = async |page: &str, expected: Measurement| {
        assert_eq!(read(page, "up", Reading::Gauge(Aggregation::Max)).await.measurement, expected, "{page}");
    };
    let aged = |seconds| Measurement::Value { value: 1.0, age: Some(Duration::from_secs(seconds)) };
    check("up 1\n", aged(0)).await;
    check("up 1 1699999990000\n", aged(10)).await;
    check("up{a=\"1\"} 1 1699999990000\nup{a=\"2\"} 1 1699999995000\n", aged(5)).await;
    check("up{a=\"1\"} 1 1699999990000\nup{a=\"2\"} 1\n", aged(0)).await;
    check("up 1 1700000060000\n", aged(0)).await;
    check("up 1 1700000061000\n", failed(Failure::Malformed)).await;
}

#[tokio::test]
async fn a_rate_is_the_increase_per_second_over_all_series() {
    let pages = [
        "hits_total{a=\"1\"} 100\nhits_total{a=\"2\"} 7\n",
        "hits_total{a=\"1\"} 150\nhits_total{a=\"2\"} 7\n",
        "hits_total{a=\"1\"} 30\nhits_total{a=\"2\"} 27\n",
        "other 1\n",
        "hits_total{a=\"1\"} 30\nhits_total{a=\"2\"} 27\n",
    ];
    let answers = read_all(&pages, "hits_total", RATE).await;
    let measurements = answers.iter().map(|answer| answer.measurement).collect::<Vec<_>>();
    let expected = [Measurement::NoData, value(5.0), value(5.0), Measurement::NoData, value(2.5)];
    assert_eq!(measurements, expected);
    assert_eq!(answers[0].detail.as_deref(), Some("fewer than two scrapes within the window of 60 s"));
}

#[tokio::test]
async fn a_page_that_froze_is_no_rate_of_zero() {
    let pages = ["hits_total 100 1700000000000\n", "hits_total 150 1700000010000\n"];
    let frozen = [pages[0], pages[1], pages[1], pages[1]];
    let answers = read_all(&frozen, "hits_total", RATE).await;
    let aged = |seconds| Measurement::Value { value: 5.0, age: Some(Duration::from_secs(seconds)) };
    let measurements = answers.iter().map(|answer| answer.measurement).collect::<Vec<_>>();
    assert_eq!(measurements, [Measurement::NoData, aged(0), aged(10), aged(20)]);
}

#[tokio::test]
async fn a_quantile_is_of_what_was_observed_within_the_window() {
    let page = |fast: u32, all: u32| {
        let series = |path: &str, fast: u32, all: u32| {
            format!(
                "t_seconds_bucket{{path=\"{path}\",le=\"1.0\"}} {fast} # {{trace=\"x\"}} 0.5\n\
                 t_seconds_bucket{{path=\"{path}\",le=\"2\"}} {all}\nt_seconds_bucket{{path=\"{path}\",le=\"+Inf\"}} {all}\n\
                 t_seconds_sum{{path=\"{path}\"}} 3\nt_seconds_count{{path=\"{path}\"}} {all}\n"
            )
        };
        format!("# TYPE t_seconds histogram\n{}{}", series("}", fast, all), series("/", 0, 0))
    };
    let pages = [page(1000, 1000), page(1000, 1000), page(1000, 1010), page(1010, 1020)];
    let pages = pages.iter().map(String::as_str).collect::<Vec<_>>();
    for selector in ["t_seconds", "t_seconds_bucket", r#"t_seconds{path=~"}|/"}"#, r#"{__name__="t_seconds_bucket"}"#] {
        let answers = read_all(&pages, selector, MEDIAN).await;
        let measurements = answers.iter().map(|answer| answer.measurement).collect::<Vec<_>>();
        assert_eq!(measurements, [Measurement::NoData, Measurement::NoData, value(1.5), value(1.0)], "{selector}");
        assert_eq!(answers[1].detail.as_deref(), Some("nothing was observed within the window"));
    }
}

#[tokio::test]
async fn a_page_is_fetched_once_for_all_readers_of_a_moment() {
    let server = Server::start(|_| Act::Send(http(200, TEXT, PAGE))).await;
    let sources = Sources::new(None).unwrap();
    let (one, two, three) =
        (scrape(&server, "odd", SUM), scrape(&server, "queue_depth", SUM), scrape(&server, "odd", RATE));
    for round in 1..=3 {
        let now = at(i64::try_from(round).unwrap() * 15);
        let (one, two, _) = tokio::join!(sources.read(&one, now), sources.read(&two, now), sources.read(&three, now));
        assert_eq!((one.measurement, two.measurement), (value(7.0), value(14.0)));
        assert_eq!(sources.read(&three, now).await.measurement.label(), if round == 1 { "no-data" } else { "value" });
        assert_eq!(server.requests().len(), round);
    }
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /metrics HTTP/1.1\r\n"), "{request}");
}

#[tokio::test]
async fn a_page_that_was_cut_off_is_not_read() {
    let page = |headers: &str, body: &str| read_bytes(format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}").into());
    let chunked = "transfer-encoding: chunked\r\n";
    let open_metrics = "content-type: application/openmetrics-text; version=1.0.0\r\n";
    assert_eq!(page("", "up 12\n").await.measurement, value(12.0));
    assert_eq!(page("content-length: 5\r\n", "up 12").await.measurement, value(12.0));
    assert_eq!(page(chunked, "5\r\nup 12\r\n0\r\n\r\n").await.measurement, value(12.0));
    assert_eq!(page(open_metrics, "up 12\n# EOF\n").await.measurement, value(12.0));
    assert_eq!(page("", "up 1").await.measurement, failed(Failure::Malformed));
    assert_eq!(page("content-length: 5\r\n", "up 1").await.measurement, failed(Failure::Unreachable));
    assert_eq!(page(chunked, "5\r\nup 12\r\n").await.measurement, failed(Failure::Unreachable));
    assert_eq!(page(open_metrics, "up 12\n").await.measurement, failed(Failure::Malformed));
}

#[tokio::test]
async fn every_other_answer_is_a_failure() {
    let check = async |bytes: Vec<u8>, expected: Failure| {
        let answer = read_bytes(bytes).await;
        assert_eq!(answer.measurement, failed(expected), "{answer:?}");
        assert!(answer.detail.is_some());
    };
    check(http(302, "location: /elsewhere\r\n", ""), Failure::Redirected).await;
    check(http(401, "", "up 1\n"), Failure::Denied).await;
    check(http(403, "", "up 1\n"), Failure::Denied).await;
    check(http(404, "", "up 1\n"), Failure::Status { code: 404 }).await;
    check(http(503, "", "up 1\n"), Failure::Status { code: 503 }).await;
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nup \xff\n".to_vec(), Failure::Malformed).await;
    check(http(200, TEXT, &"#".repeat(4 * 1024 * 1024 + 1)), Failure::TooLarge).await;
    check(Vec::new(), Failure::Unreachable).await;
}

/// Time is paused: with nothing left to do, the runtime goes to the deadline at once.
#[tokio::test(start_paused = true)]
async fn a_page_that_does_not_come_times_out() {
    let server = Server::start(|_| Act::Hang(b"HTTP/1.1 200 OK\r\n\r\nup 1\n".to_vec())).await;
    let answer = Sources::new(None).unwrap().read(&scrape(&server, "up", SUM), at(0)).await;
    assert_eq!(answer.measurement, failed(Failure::Timeout));
}

#[tokio::test]
async fn a_page_that_nobody_serves_is_unreachable() {
    let nobody = server::nobody().await;
    let urls = [nobody.clone(), nobody.replace("http:", "https:"), server::reset().await, "http://host.invalid".into()];
    for url in urls {
        let source = Source::Exposition(Scrape { url: Arc::from(&*url), selector: "up".into(), reading: SUM });
        let answer = Sources::new(None).unwrap().read(&source, at(0)).await;
        assert_eq!(answer.measurement, failed(Failure::Unreachable), "{url}");
    }
}

#[test]
fn a_read_can_move_between_threads() {
    fn check<T: Send>(_: T) {}
    let sources = Sources::new(None).unwrap();
    let source = Source::Prometheus { query: "up".into(), per_instance: None };
    check(sources.read(&source, at(0)));
}
