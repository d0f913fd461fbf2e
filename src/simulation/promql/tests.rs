use super::*;
use crate::simulation::history::labels;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Scraped every 5 s from 1000 s until 1300 s; instance `b` is gone from 1290 s on, and restarted at 1200 s.
fn history() -> History {
    let mut history = History::default();
    for second in (1000..=1300).step_by(5) {
        let since = seconds((second - 1000) * 1000);
        let restarted = if second < 1200 { 5.0 * since } else { 5.0 * (since - 200.0) };
        let mut scraped = vec![
            (labels("cpu", &[("asg", "web"), ("instance", "a")]), 0.6),
            (labels("requests_total", &[("asg", "web"), ("instance", "a")]), 10.0 * since),
            (labels("p99", &[("asg", "web")]), 0.25),
        ];
        if second < 1290 {
            scraped.push((labels("cpu", &[("asg", "web"), ("instance", "b")]), 0.8));
            scraped.push((labels("requests_total", &[("asg", "web"), ("instance", "b")]), restarted));
        }
        for (le, share) in [("0.1", 0.5), ("0.2", 0.9), ("0.4", 0.99), ("+Inf", 1.0)] {
            scraped.push((labels("seconds_bucket", &[("asg", "web"), ("le", le)]), share * 100.0 * since));
        }
        history.record(at(second), scraped);
    }
    history
}

fn shown(value: &Value) -> String {
    let number = |value: f64| serde_json::to_string(&written((value * 1e6).round() / 1e6)).unwrap().replace('"', "");
    let element = |e: &Element| {
        let labels: Vec<_> = e.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        format!("{{{}}} {}", labels.join(","), number(e.value))
    };
    match value {
        Value::Scalar(value) => number(*value),
        Value::Text(text) => text.clone(),
        Value::Vector(elements) => elements.iter().map(element).collect::<Vec<_>>().join("; "),
        Value::Matrix(matrix) => format!("{} series", matrix.series.len()),
    }
}

fn evaluated(query: &str, second: i64) -> Result<Value, QueryError> {
    Query::parse(query)?.at(at(second), &history(), None)
}

fn check(query: &str, second: i64, expected: &str) {
    assert_eq!(shown(&evaluated(query, second).unwrap()), expected, "{query} at {second}");
}

#[test]
fn selectors_find_the_newest_sample_within_five_minutes() {
    check("p99", 1302, "{__name__=p99,asg=web} 0.25");
    check("p99", 1599, "{__name__=p99,asg=web} 0.25");
    check("p99", 1600, "");
    check("p99", 999, "");
    check(r#"{__name__=~"p9.", asg!="api"}"#, 1302, "{__name__=p99,asg=web} 0.25");
    check(r#"cpu{instance=~"b|c"}"#, 1280, "{__name__=cpu,asg=web,instance=b} 0.8");
    check(r#"cpu{nothing="", instance!~"a"}"#, 1280, "{__name__=cpu,asg=web,instance=b} 0.8");
    check(r#"cpu{instance="b"} offset 1m"#, 1320, "{__name__=cpu,asg=web,instance=b} 0.8");
    check("requests_total[1m]", 1280, "2 series");
}

#[test]
fn a_series_that_is_gone_vanishes_at_once() {
    check("count(cpu)", 1289, "{} 2");
    check("count(cpu)", 1290, "{} 1");
}

#[test]
fn aggregations_group_by_labels() {
    check("avg(cpu)", 1280, "{} 0.7");
    check("sum by (asg) (cpu)", 1280, "{asg=web} 1.4");
    check("min without (instance) (cpu)", 1280, "{asg=web} 0.6");
    check("max(cpu)", 1280, "{} 0.8");
    check("sum(nothing)", 1280, "");
}

#[test]
fn rates_are_extrapolated_and_survive_a_restart() {
    check("sum(rate(requests_total[1m]))", 1150, "{} 15");
    check(r#"increase(requests_total{instance="a"}[1m])"#, 1150, "{asg=web,instance=a} 600");
    // The counter fell from 975 to 0 at 1200: what it counted after the last scrape before that is lost.
    check(r#"increase(requests_total{instance="b"}[40s])"#, 1210, "{asg=web,instance=b} 171.428571");
    check("rate(requests_total[4s])", 1150, "");
    check("avg_over_time(p99[1m])", 1150, "{asg=web} 0.25");
    check(r#"max_over_time(cpu{instance="a"}[1m]) - 0.5"#, 1150, "{asg=web,instance=a} 0.1");
}

#[test]
fn quantiles_are_linear_within_a_bucket() {
    let quantile = |q: &str| format!("histogram_quantile({q}, sum by (le) (rate(seconds_bucket[1m])))");
    check(&quantile("0.5"), 1150, "{} 0.1");
    check(&quantile("0.7"), 1150, "{} 0.15");
    check(&quantile("0.95"), 1150, "{} 0.311111");
    check(&quantile("0.999"), 1150, "{} 0.4");
    check(&quantile("7"), 1150, "{} NaN");
}

#[test]
fn operators_work_between_scalars_and_vectors() {
    check("1 + 2 * 3 - 4 / 8", 1150, "6.5");
    check("cpu * 100", 1295, "{asg=web,instance=a} 60");
    check("1 - cpu", 1295, "{asg=web,instance=a} 0.4");
    check("-p99", 1295, "{asg=web} -0.25");
    check("cpu > 0.7", 1280, "{__name__=cpu,asg=web,instance=b} 0.8");
    check("0.7 > cpu", 1280, "{__name__=cpu,asg=web,instance=a} 0.6");
    check("cpu > bool 0.7", 1280, "{asg=web,instance=a} 0; {asg=web,instance=b} 1");
    check("cpu / cpu", 1295, "{asg=web,instance=a} 1");
    check("cpu / on (asg) p99", 1295, "{asg=web} 2.4");
    check("p99 / 0", 1295, "{asg=web} +Inf");
    check("sum(cpu) / count(cpu)", 1280, "{} 0.7");
}

#[test]
fn sets_keep_the_labels_of_their_elements() {
    check(
        r#"cpu{instance="a"} or cpu"#,
        1280,
        "{__name__=cpu,asg=web,instance=a} 0.6; {__name__=cpu,asg=web,instance=b} 0.8",
    );
    check(r#"cpu and cpu{instance="a"}"#, 1280, "{__name__=cpu,asg=web,instance=a} 0.6");
    check(r#"cpu unless cpu{instance="a"}"#, 1280, "{__name__=cpu,asg=web,instance=b} 0.8");
    check("nothing or vector(0)", 1280, "{} 0");
}

#[test]
fn the_age_of_samples_can_be_asked_for() {
    check("max(timestamp(cpu))", 1289, "{} 1285");
    check("timestamp((p99))", 1500, "{asg=web} 1300");
    check("timestamp(p99 + 0)", 1500, "{asg=web} 1500");
    check("time() - 1000", 1289, "289");
    let of_two = r#"min(label_replace(max(timestamp(cpu)), "selector", "0", "", "")
                     or label_replace(max(timestamp(p99)), "selector", "1", "", ""))"#;
    check(of_two, 1600 - 1, "{} 1300");
    let labelled = r#"label_replace(max(timestamp(cpu)), "selector", "0", "", "")"#;
    check(labelled, 1289, "{selector=0} 1285");
}

#[test]
fn scalars_and_vectors_become_each_other() {
    check("vector(7)", 1280, "{} 7");
    check("scalar(p99)", 1280, "0.25");
    check("scalar(cpu)", 1280, "NaN");
    check("absent(nothing)", 1280, "{} 1");
    check("absent(p99)", 1280, "");
    check(r#""text""#, 1280, "text");
}

#[test]
fn what_is_wrong_or_not_known_is_refused() {
    let bad = evaluated("sum(", 1280).unwrap_err();
    assert!(matches!(&bad, QueryError::BadData(text) if text.starts_with("invalid parameter \"query\":")), "{bad}");
    for unknown in
        ["topk(1, cpu)", "deriv(cpu[1m])", "cpu @ 5", "max_over_time(cpu[5m:1m])", "cpu * on (asg) group_left p99"]
    {
        assert!(matches!(evaluated(unknown, 1280), Err(QueryError::Execution(_))), "{unknown}");
    }
    assert!(matches!(evaluated("p99 / on (asg) cpu", 1280), Err(QueryError::Execution(_))));
}

#[test]
fn faults_of_the_data_are_seen_by_every_selector() {
    let under =
        |query: &str, fault| shown(&Query::parse(query).unwrap().at(at(1280), &history(), Some(&fault)).unwrap());
    assert_eq!(under("avg(cpu)", PrometheusFault::Empty), "");
    assert_eq!(under("avg(cpu)", PrometheusFault::NotANumber), "{} NaN");
    assert_eq!(under("max(timestamp(cpu))", PrometheusFault::NotANumber), "{} 1280");
    assert_eq!(under("nothing or vector(3)", PrometheusFault::Empty), "{} 3");
}

#[test]
fn a_range_query_is_many_instant_queries() {
    let series = Query::parse("cpu").unwrap();
    let series = series.over((at(1280), at(1300)), Duration::from_secs(10), &history(), None).unwrap();
    let lengths: Vec<_> = series.iter().map(|series| series.points.len()).collect();
    assert_eq!(lengths, [3, 1]);
    let text = Query::parse(r#""text""#).unwrap();
    assert!(text.over((at(0), at(9)), Duration::from_secs(1), &history(), None).is_err());
}
