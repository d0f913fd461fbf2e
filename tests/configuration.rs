//! What a configuration means, and what is said about a wrong one.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use proptest::prelude::*;
use setpoint::api::{Role, Tls, Token};
use setpoint::config::{self, Config, Finding, Findings, Position};
use setpoint::metric::prometheus::{ClientCertificate, Credentials};
use setpoint::notification::{Address, Channel, Kind, Topic};
use setpoint::policy::{
    Adjustment, Aggregation, Band, Bands, Brake, Capacity, Controller, Fallback, Gains, MaxDrop, MaxSpend, MetricKind,
    Mode, PerDirection, Policy, Reading, Risk, Schedule, Scrape, Source, StepLimit, Threshold,
};

const REFERENCE: &str = include_str!("../config/setpoint.toml");

const EXAMPLES: [(&str, &str); 7] = [
    ("cpu", include_str!("../config/examples/cpu.toml")),
    ("latency", include_str!("../config/examples/latency.toml")),
    ("requests", include_str!("../config/examples/requests.toml")),
    ("queue", include_str!("../config/examples/queue.toml")),
    ("orders", include_str!("../config/examples/orders.toml")),
    ("sidecar", include_str!("../config/examples/sidecar.toml")),
    ("business-hours", include_str!("../config/examples/business-hours.toml")),
];

const BASE: &str = r#"interval = "15s"

[prometheus]
url = "http://127.0.0.1:9090"
timeout = "3s"

[aws]
region = "us-east-1"

[http]
listen = "127.0.0.1:9480"

[[policy]]
name = "web"
asg = "web-prod"
min = 2
max = 10
mode = "observe"

[[policy.metric]]
name = "cpu"
kind = "utilization"
target = 0.70
query = 'avg(cpu)'
"#;

const SCRAPE: &str = r#"scrape = { url = "http://[::1]:8080/metrics", selector = "cpu", read = "gauge" }"#;

fn parse(text: &str) -> Result<Config, Findings> {
    config::parse("t.toml", text, [])
}

fn with(old: &str, new: &str) -> String {
    assert_eq!(BASE.matches(old).count(), 1, "{old:?} stands once in the base");
    BASE.replace(old, new)
}

fn parse_with(old: &str, new: &str) -> Config {
    parse(&with(old, new)).unwrap_or_else(|findings| panic!("{findings}"))
}

fn findings_of(text: &str) -> Vec<Finding> {
    parse(text).expect_err(text).0
}

/// `▸` in `marked` is where a finding on `key` must be that says `fragment`.
fn check_text(marked: &str, key: &str, fragment: &str) {
    let before = marked.split('▸').next().unwrap();
    let text = marked.replace('▸', "");
    assert_ne!(text, marked, "no mark in {marked}");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    let findings = findings_of(&text);
    let expected = |finding: &Finding| {
        finding.location.position == Some(Position { line, column })
            && finding.key == key
            && finding.to_string().contains(fragment)
    };
    let all = Findings(findings.clone());
    println!("{all}");
    assert!(findings.iter().any(expected), "expected t.toml:{line}:{column}: {key}: …{fragment}… in\n{all}");
}

/// The same with `old` in the base replaced by the marked `new`.
fn check(old: &str, new: &str, key: &str, fragment: &str) {
    check_text(&with(old, new), key, fragment);
}

#[test]
fn the_examples_pass() {
    for (name, text) in EXAMPLES {
        let config = parse(text).unwrap_or_else(|findings| panic!("{name}: {findings}"));
        assert!(config.policies.iter().all(|policy| policy.mode == Mode::Observe), "{name} would act at once");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let policies = files.filter(|file| !file.to_string_lossy().ends_with(".tests.toml"));
    assert_eq!(policies.count(), EXAMPLES.len(), "every file of the folder is an example here");
}

#[test]
fn the_reference_states_the_defaults() {
    let minimal = r#"
        [prometheus]
        url = "http://127.0.0.1:9090"
        [[policy]]
        name = "web"
        asg = "web-prod"
        min = 2
        max = 10
        [[policy.metric]]
        name = "cpu"
        kind = "utilization"
        target = 0.70
        query = 'avg(1 - rate(node_cpu_seconds_total{mode="idle",asg="web-prod"}[1m]))'
    "#;
    assert_eq!(parse(REFERENCE), parse(minimal));
}

#[test]
fn what_the_reference_comments_out_passes_also() {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with([' ', '#']) => rest.to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<_> = REFERENCE.lines().map(uncommented).collect();
    let config = parse(&text.join("\n")).unwrap_or_else(|findings| panic!("{findings}"));
    let policy = &config.policies[0];
    assert_eq!(policy.metrics.len(), 3);
    assert!(policy.warm_up.is_some() && policy.max_drop.is_some() && policy.region.is_some());
    assert!(
        policy.instance_price.is_some() && policy.max_spend.per_hour.is_some() && policy.max_spend.per_day.is_some()
    );
    assert_eq!(policy.hold_scale_in_while.len(), 1);
    assert!(policy.boot_time.is_some() && policy.fallback.is_some() && policy.schedules.len() == 1);
    assert!(config.aws.assume_role.is_some_and(|role| role.external_id.is_some()));
    assert!(config.prometheus.is_some_and(|settings| settings.client_certificate.is_some()));
}

#[test]
fn what_takes_the_place_of_another_line_in_the_reference_passes_also() {
    let alternatives: Vec<_> = REFERENCE.lines().filter_map(|line| line.strip_prefix("##")).collect();
    assert!(alternatives.len() > 4);
    for alternative in alternatives {
        let (key, _) = alternative.split_once(" = ").unwrap();
        let in_its_place = |line: &str| {
            let other = line.starts_with(&format!("{key} = "));
            if line.strip_prefix("##") == Some(alternative) {
                Some(alternative.to_owned())
            } else {
                (!other).then(|| line.to_owned())
            }
        };
        let text: Vec<_> = REFERENCE.lines().filter_map(in_its_place).collect();
        parse(&text.join("\n")).unwrap_or_else(|findings| panic!("{alternative}: {findings}"));
    }
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let config = parse(
        r#"
        interval = "20s"
        [prometheus]
        url = "https://prometheus.example:9090/base/"
        timeout = "1500ms"
        headers = { X-Scope-OrgID = "team-a", accept-language = "en" }
        basic_auth = { username = "u", password_file = "/p" }
        ca_file = "/ca"
        client_certificate = { certificate_file = "/c", key_file = "/k" }
        [aws]
        region = "eu-central-1"
        endpoint_url = "http://127.0.0.1:5000/"
        profile = "p"
        assume_role_arn = "arn:aws-cn:iam::123456789012:role/path/r"
        external_id = "x"
        timeout = "4s"
        [http]
        listen = "[::1]:80"
        [[policy]]
        name = "a"
        mode = "scale-out-only"
        asg = "a group"
        region = "us-gov-west-1"
        interval = "1m"
        takeover = true
        min = 0
        max = 1_000
        boot_time = "1m30s"
        warm_up = "0s"
        controller = { kind = "pid", kp = 0.5, ki = 0.5 }
        stabilization = { out = "1s" }
        cooldown = { in = "2m" }
        step = { out = "unlimited", in = { count = 3, per = "5m" } }
        tolerance = { out = 0.1 }
        max_drop = { ratio = 0.4, per = "2m" }
        [[policy.metric]]
        name = "rps"
        kind = "total"
        target = 5000000000
        max_age = "30s"
        query = "1"
        [[policy.metric]]
        name = "p99"
        kind = "latency"
        target = "250ms"
        scrape = { url = "http://[::1]/m?x=1", selector = 'a_bucket{b=~"c|d"}', read = "quantile", quantile = 0.999, window = "2m" }
        "#,
    )
    .unwrap_or_else(|findings| panic!("{findings}"));

    let prometheus = config.prometheus.unwrap();
    assert_eq!(prometheus.url, "https://prometheus.example:9090/base");
    assert_eq!(prometheus.timeout, Duration::from_millis(1500));
    let headers = [("X-Scope-OrgID", "team-a"), ("accept-language", "en")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(prometheus.headers, headers);
    assert_eq!(prometheus.credentials, Some(Credentials::Basic { username: "u".into(), password_file: "/p".into() }));
    assert_eq!(prometheus.ca_file, Some("/ca".into()));
    let certificate = ClientCertificate { certificate_file: "/c".into(), key_file: "/k".into() };
    assert_eq!(prometheus.client_certificate, Some(certificate));

    assert_eq!(config.aws.endpoint_url.as_deref(), Some("http://127.0.0.1:5000"));
    assert_eq!(config.aws.timeout, Duration::from_secs(4));
    let role = config.aws.assume_role.unwrap();
    assert_eq!(
        (role.arn.as_str(), role.external_id.as_deref()),
        ("arn:aws-cn:iam::123456789012:role/path/r", Some("x"))
    );
    assert_eq!(config.http.listen, "[::1]:80".parse().unwrap());

    let policy = &config.policies[0];
    assert_eq!((&*policy.name, &*policy.asg, policy.region.as_deref()), ("a", "a group", Some("us-gov-west-1")));
    assert_eq!((policy.mode, policy.takeover, policy.interval), (Mode::ScaleOutOnly, true, Duration::from_mins(1)));
    assert_eq!((policy.min, policy.max), (Capacity::ZERO, Capacity::new(1000)));
    assert_eq!((policy.boot_time, policy.warm_up), (Some(Duration::from_secs(90)), Some(Duration::ZERO)));
    assert_eq!(policy.controller, Controller::Pid(Gains { kp: 0.5, ki: 0.5, kd: None }), "kd follows the boot time");
    assert_eq!(policy.stabilization, PerDirection { out: Duration::from_secs(1), inward: Duration::from_mins(5) });
    assert_eq!(policy.cooldown, PerDirection { out: Duration::from_secs(30), inward: Duration::from_mins(2) });
    let step = StepLimit { percent: None, count: Some(Capacity::new(3)), per: Duration::from_mins(5) };
    assert_eq!(policy.step, PerDirection { out: None, inward: Some(step) });
    assert_eq!(policy.tolerance, PerDirection { out: 0.1, inward: 0.08 });
    assert_eq!(policy.max_drop, Some(MaxDrop { ratio: 0.4, per: Duration::from_mins(2) }));

    let [rps, p99] = &policy.metrics[..] else { panic!("two metrics") };
    assert_eq!((rps.kind, rps.target, rps.max_age), (MetricKind::Total, 5e9, Duration::from_secs(30)));
    assert_eq!(rps.source, Source::Prometheus { query: "1".into(), per_instance: None });
    assert_eq!((p99.kind, p99.target, p99.max_age), (MetricKind::Latency, 0.25, Duration::from_secs(90)));
    let scrape = Scrape {
        url: "http://[::1]/m?x=1".into(),
        selector: r#"a_bucket{b=~"c|d"}"#.into(),
        reading: Reading::Quantile { per_mille: 999, window: Duration::from_mins(2) },
    };
    assert_eq!(p99.source, Source::Exposition(scrape));
}

fn policy_with(keys: &str) -> Policy {
    parse_with("mode = \"observe\"", keys).policies.remove(0)
}

#[test]
fn every_kind_of_controller_is_read() {
    let of = |keys: &str| policy_with(&format!("controller = {{ {keys} }}")).controller;
    assert_eq!(of(""), Controller::Pid(Gains { kp: 0.0, ki: 1.0, kd: None }));
    assert_eq!(of("ki = 0.5, kd = \"0s\""), Controller::Pid(Gains { kp: 0.0, ki: 0.5, kd: Some(0.0) }));
    assert_eq!(of("kind = \"risk\""), Controller::Risk(Risk { share: 0.01 }));
    for (text, share) in [("0.2", 0.2), ("\"1%\"", 0.01), ("\"20 %\"", 0.2), ("0.0001", 0.0001)] {
        assert_eq!(of(&format!("kind = \"risk\", risk = {text}")), Controller::Risk(Risk { share }), "{text}");
    }
    let band = |from, change| Band { from, change };
    let (percent, count) = (Adjustment::Percent, |count| Adjustment::Count(Capacity::new(count)));
    assert_eq!(
        of(
            "kind = \"step\", above = [{ from = 1.2, percent = 20 }, { from = 2, count = 4 }], below = [{ from = 0.6, percent = 100 }, { from = 0.3, count = 1 }]"
        ),
        Controller::Step(Bands {
            above: vec![band(1.2, percent(20.0)), band(2.0, count(4))],
            below: vec![band(0.6, percent(100.0)), band(0.3, count(1))],
        })
    );
    let one_side = Bands { above: vec![band(1.1, count(1))], below: Vec::new() };
    assert_eq!(of("kind = \"step\", above = [{ from = 1.1, count = 1 }]"), Controller::Step(one_side));
    let headers = "[policy.controller]\nkind = \"step\"\n[[policy.controller.below]]\nfrom = 0.5\ncount = 1\n";
    let other_side = Bands { above: Vec::new(), below: vec![band(0.5, count(1))] };
    assert_eq!(policy_with(headers).controller, Controller::Step(other_side));
}

#[test]
fn a_metric_may_have_a_controller_of_its_own() {
    let keys = "query = 'avg(cpu)'\ncontroller = { kind = \"risk\", risk = 0.05 }";
    let policy = parse_with("query = 'avg(cpu)'", keys).policies.remove(0);
    assert_eq!(policy.controller, Controller::Pid(Gains { kp: 0.0, ki: 1.0, kd: None }));
    assert_eq!(policy.metrics[0].controller, Some(Controller::Risk(Risk { share: 0.05 })));
    assert_eq!(parse(BASE).unwrap().policies[0].metrics[0].controller, None);
}

#[test]
fn schedules_and_a_fallback_are_read() {
    let policy = policy_with(
        "[[policy.schedule]]\ncron = \"0 8 * * MON-FRI\"\ntimezone = \"Europe/Berlin\"\nduration = \"10h\"\nmin = 6\n\
         [[policy.schedule]]\ncron = \"0 0 28 * *\"\nduration = \"2d\"\nmin = 20\nmax = 40\n\
         [[policy.schedule]]\ncron = \"0 0 1 1 *\"\nduration = \"7d\"\nmax = 2\n\
         [policy.fallback]\nafter = \"5m\"\ncapacity = 10\n",
    );
    let schedule = |cron, timezone, hours, min: Option<u32>, max: Option<u32>| {
        let mut schedule = Schedule::new(cron, timezone, Duration::from_hours(hours)).unwrap();
        (schedule.min, schedule.max) = (min.map(Capacity::new), max.map(Capacity::new));
        schedule
    };
    let expected = [
        schedule("0 8 * * MON-FRI", "Europe/Berlin", 10, Some(6), None),
        schedule("0 0 28 * *", "UTC", 48, Some(20), Some(40)),
        schedule("0 0 1 1 *", "UTC", 168, None, Some(2)),
    ];
    assert_eq!(policy.schedules, expected);
    assert_eq!(policy.fallback, Some(Fallback { after: Duration::from_mins(5), capacity: Capacity::new(10) }));
    let plain = policy_with("");
    assert_eq!((plain.schedules.len(), plain.fallback, plain.boot_time), (0, None, None));
}

#[test]
fn a_query_may_give_one_series_an_instance() {
    let metric = |keys: &str| {
        let query = format!("query = 'cpu'\n{keys}");
        parse_with("query = 'avg(cpu)'", &query).policies.remove(0).metrics.remove(0)
    };
    let source = |per_instance: Option<&str>| Source::Prometheus {
        query: "cpu".into(),
        per_instance: per_instance.map(Into::into),
    };
    let plain = metric("");
    assert_eq!((plain.source, plain.min_coverage), (source(None), 0.75));
    let each = metric("per_instance = \"instance\"");
    assert_eq!((each.source, each.min_coverage), (source(Some("instance")), 0.75));
    for (text, share) in [("0", 0.0), ("0.9", 0.9), ("1", 1.0)] {
        let each = metric(&format!("per_instance = \"pod_2\"\nmin_coverage = {text}"));
        assert_eq!((each.source, each.min_coverage), (source(Some("pod_2")), share));
    }
}

#[test]
fn a_utilization_is_a_share_or_percent() {
    let target = |text: &str| parse_with("target = 0.70", &format!("target = {text}")).policies[0].metrics[0].target;
    let as_written = [("0.7", 0.7), ("70", 70.0), ("\"70%\"", 0.7), ("\"62.5 %\"", 0.625), ("99.9", 99.9), ("2", 2.0)];
    for (text, expected) in as_written {
        assert!((target(text) - expected).abs() < 1e-12, "{text}");
    }
}

#[test]
fn what_is_scraped_depends_on_read() {
    let reading = |keys: &str| {
        let scrape = SCRAPE.replace("read = \"gauge\"", keys);
        match parse_with("query = 'avg(cpu)'", &scrape).policies[0].metrics[0].source.clone() {
            Source::Exposition(scrape) => scrape.reading,
            other @ Source::Prometheus { .. } => panic!("{other:?}"),
        }
    };
    assert_eq!(reading("read = \"gauge\""), Reading::Gauge(Aggregation::Avg));
    assert_eq!(reading("read = \"gauge\", aggregate = \"max\""), Reading::Gauge(Aggregation::Max));
    assert_eq!(reading("read = \"rate\""), Reading::Rate { window: Duration::from_mins(1) });
    assert_eq!(reading("read = \"rate\", window = \"30s\""), Reading::Rate { window: Duration::from_secs(30) });
}

#[test]
fn deadlines_fit_into_a_short_interval_unasked() {
    let text = BASE.replace("interval = \"15s\"", "interval = \"4s\"").replace("timeout = \"3s\"\n", "");
    let config = parse(&text).unwrap();
    assert_eq!(config.prometheus.unwrap().timeout, Duration::from_secs(2));
    assert_eq!(config.aws.timeout, Duration::from_secs(2));
}

#[test]
fn one_group_name_in_two_regions_is_two_groups() {
    let second = BASE[BASE.find("[[policy]]").unwrap()..].replace("\"web\"", "\"web2\"");
    let elsewhere = second.replace("asg = ", "region = \"eu-west-1\"\nasg = ");
    assert_eq!(parse(&format!("{BASE}{elsewhere}")).unwrap().policies.len(), 2);
    assert_eq!(findings_of(&format!("{BASE}{second}")).len(), 1);
    let said_twice = second.replace("asg = ", "region = \"us-east-1\"\nasg = ");
    assert_eq!(findings_of(&format!("{BASE}{said_twice}")).len(), 1);
}

#[test]
fn all_findings_come_at_once_and_in_order() {
    let text = "intervall = \"15s\"\n\n[[policy]]\nname = \"web\"\nasg = \"web-prod\"\nmin = 5\nmax = 2\n\n\
        [[policy.metric]]\nname = \"cpu\"\nkind = \"utilisation\"\nquery = \"x[5m]\"\n";
    assert_eq!(
        parse(text).unwrap_err().to_string(),
        "t.toml:1:1: intervall: unknown key; did you mean \"interval\"?\n\
         t.toml:6:1: policy[web].min: 5 is more than max, 2; expected at most that\n\
         t.toml:9:1: policy[web].metric[cpu].target: is missing, expected the value to keep\n\
         t.toml:11:1: policy[web].metric[cpu].kind: expected one of \"utilization\", \"total\", \"latency\", \
         found \"utilisation\"; did you mean \"utilization\"?\n\
         t.toml:12:1: policy[web].metric[cpu].query: has no server to go to, expected a section [prometheus] with its url\n\
         t.toml:12:1: policy[web].metric[cpu].query: is a range of samples, expected an instant vector or a scalar, \
         for example rate(…[1m])"
    );
}

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_environment_overrides_settings_of_the_daemon() {
    let variables = [
        ("SETPOINT__INTERVAL", "30s"),
        ("SETPOINT__PROMETHEUS__URL", "http://Other:9090/"),
        ("SETPOINT__PROMETHEUS__BASIC_AUTH__USERNAME", "u"),
        ("SETPOINT__PROMETHEUS__BASIC_AUTH__PASSWORD_FILE", "/P"),
        ("SETPOINT__AWS__REGION", ""),
        ("SETPOINT__AWS__ASSUME_ROLE_ARN", "arn:aws:iam::123456789012:role/R"),
        ("SETPOINT__HTTP__LISTEN", "127.0.0.2:1"),
        ("SETPOINT_LOG", "debug"),
        ("PATH", "/bin"),
    ];
    let config = config::parse("t.toml", BASE, environment(&variables)).unwrap();
    assert_eq!((config.interval, config.policies[0].interval), (Duration::from_secs(30), Duration::from_secs(30)));
    let prometheus = config.prometheus.unwrap();
    assert_eq!((prometheus.url.as_str(), prometheus.timeout), ("http://other:9090", Duration::from_secs(3)));
    assert_eq!(prometheus.credentials, Some(Credentials::Basic { username: "u".into(), password_file: "/P".into() }));
    assert_eq!(config.aws.region.as_deref(), Some("us-east-1"), "an empty variable is no variable");
    assert_eq!(config.aws.assume_role.unwrap().arn, "arn:aws:iam::123456789012:role/R");
    assert_eq!(config.http.listen, "127.0.0.2:1".parse().unwrap());
}

#[test]
fn a_section_may_come_from_the_environment_alone() {
    let text = BASE.replace("[prometheus]\nurl = \"http://127.0.0.1:9090\"\ntimeout = \"3s\"\n", "");
    let variables = environment(&[("SETPOINT__PROMETHEUS__URL", "http://p")]);
    assert_eq!(config::parse("t.toml", &text, variables).unwrap().prometheus.unwrap().url, "http://p");
    let findings = config::parse("t.toml", &text, environment(&[("SETPOINT__PROMETHEUS__TIMEOUT", "1s")])).unwrap_err();
    assert!(findings.to_string().starts_with("t.toml:1:1: prometheus.url: is missing"), "{findings}");
}

#[test]
fn a_wrong_variable_is_named() {
    let cases = [
        ("SETPOINT__INTERVAL", "30", "SETPOINT__INTERVAL: interval: expected a duration such as"),
        ("SETPOINT__AWS__REGION", "Frankfurt", "SETPOINT__AWS__REGION: aws.region: expected an AWS region"),
        ("SETPOINT__HTTP__LISTEN", "0.0.0.0:9480", "SETPOINT__HTTP__LISTEN: http.listen: 0.0.0.0:9480 is reached from"),
        ("SETPOINT__PROMETHUS__URL", "http://p", "unknown setting; did you mean \"SETPOINT__PROMETHEUS__URL\"?"),
        ("SETPOINT__POLICY__WEB__MAX", "9", "policies can't be set by the environment"),
        ("SETPOINT__PROMETHEUS__HEADERS__X", "9", "headers can't be set by the environment"),
        ("SETPOINT__PROMETHEUS", "x", "SETPOINT__PROMETHEUS: unknown setting"),
        ("SETPOINT__", "x", "SETPOINT__: unknown setting"),
        ("SETPOINT__AWS__REGION__", "x", "SETPOINT__AWS__REGION__: unknown setting"),
        ("SETPOINT__A[9999999999]", "x", "SETPOINT__A[9999999999]: unknown setting"),
    ];
    for (name, value, fragment) in cases {
        let findings = config::parse("t.toml", BASE, environment(&[(name, value)])).expect_err(name);
        assert_eq!(findings.0.len(), 1, "{findings}");
        assert_eq!((&*findings.0[0].location.source, findings.0[0].location.position), (name, None));
        assert!(findings.to_string().contains(fragment), "{findings}");
    }
}

#[test]
fn a_secret_is_not_repeated() {
    let secrets = [
        with("http://127.0.0.1:9090", "http://u:hunter2@127.0.0.1:9090"),
        with("http://127.0.0.1:9090", "gopher://u:hunter2@127.0.0.1:9090"),
        with("timeout = \"3s\"", "headers = { Authorization = \"hunter2\" }"),
        with("timeout = \"3s\"", "headers = { x = \"Bearer hunter2\" }"),
    ];
    for text in secrets {
        let findings = parse(&text).expect_err(&text).to_string();
        assert!(!findings.contains("hunter2"), "{findings}");
    }
}

#[test]
fn a_file_that_can_not_be_read_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, content: Option<&[u8]>, fragment: &str| {
        let path = folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let findings = config::load(&path, []).expect_err(name).to_string();
        assert!(findings.starts_with(&format!("{}: can't be read: ", path.display())), "{findings}");
        assert!(findings.contains(fragment), "{findings}");
    };
    check("missing.toml", None, "No such file");
    check("latin1.toml", Some(b"# caf\xe9"), "valid UTF-8");
    check("large.toml", Some(&vec![b'#'; (4 << 20) + 1]), "larger than 4194304 bytes");
    check("", None, "directory");
}

#[test]
fn check_ends_with_78_on_findings() {
    let code = |path: &str, json| format!("{:?}", setpoint::cli::check::run(Path::new(path), &[], json));
    let of = |code: ExitCode| format!("{code:?}");
    for json in [false, true] {
        assert_eq!(code("config/setpoint.toml", json), of(ExitCode::SUCCESS));
        assert_eq!(code("config/missing.toml", json), of(ExitCode::from(78)));
    }
}

#[test]
fn queries_of_every_day_parse() {
    let queries = [
        "up",
        "42",
        "scalar(sum(x))",
        "sum(rate(x[1m])) / scalar(count(up == 1))",
        "100 - avg(rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100",
        "histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))",
        "histogram_quantile(0.99, sum(rate(x[5m])))",
        "max_over_time(sum(rate(x[1m]))[10m:1m])",
        "sum without (instance) (x) or vector(0)",
        "avg(x offset 1w) > 0",
        "quantile(0.9, x)",
        "avg(x @ end())",
        "sum(x) and on() (hour() > 8)",
        "predict_linear(x[1h], 600)",
        "sum(label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\"))",
        "job:x:rate5m",
        "topk(1, x)",
        "-sum(x)",
        "sum(x{a!~\"b.*\", c=~\"d|e\"}) # with a comment",
    ];
    for query in queries {
        parse_with("query = 'avg(cpu)'", &format!("query = '''{query}'''"));
    }
}

#[test]
fn text_that_is_not_toml_is_found_where_it_breaks() {
    for marked in [
        "interval = ▸\n",
        "interval = ▸15s\n",
        "interval =▸= \"15s\"\n",
        "interval: ▸15s\n",
        "name▸\n",
        "[policy▸\n",
        "[[policy]▸\n",
        "[policy]▸]\n",
        "a = 1\n▸a = 2\n",
        "a = { b = 1, ▸b = 2 }\n",
        "[aws]\n[http]\n[▸aws]\n",
        "a = 1\n▸a.b = 2\n",
        "a = \"unclosed▸\n",
        "a = 'unclosed▸\n",
        "a = \"\"\"\nx\n▸",
        "a = [1, 2▸\n",
        "a = { b = 1▸\n",
        "a = \"\\▸q\"\n",
        "a = ▸0777\n",
        "a = ▸2026-13-01\n",
        "▸ä = 1\n",
        "▸= 1\n",
        "▸{ \"interval\": \"15s\" }\n",
        "a = 1 b ▸= 2\n",
    ] {
        check_text(marked, "", "is not TOML: ");
    }
}

#[test]
fn who_may_reach_the_http_interface_arrives_where_it_belongs() {
    let text = BASE.replace(
        "[http]\nlisten = \"127.0.0.1:9480\"",
        r#"
        [http]
        listen = "[::]:80"
        socket = "/run/s"
        tls = { certificate_file = "/c", key_file = "/k" }
        hosts = ["Setpoint.Example", "10.0.0.5"]
        [[http.token]]
        name = "grafana"
        role = "viewer"
        file = "/v"
        [[http.token]]
        name = "alice"
        role = "operator"
        file = "/o"
        "#,
    );
    let config = parse(&text).unwrap_or_else(|findings| panic!("{findings}"));
    let http = config.http;
    assert_eq!((http.listen, http.socket), ("[::]:80".parse().unwrap(), Some("/run/s".into())));
    assert_eq!(http.tls, Some(Tls { certificate_file: "/c".into(), key_file: "/k".into() }));
    assert_eq!(http.hosts, ["setpoint.example", "10.0.0.5"]);
    let token = |name: &str, role, file: &str| Token { name: name.into(), role, file: file.into() };
    assert_eq!(http.tokens, [token("grafana", Role::Viewer, "/v"), token("alice", Role::Operator, "/o")]);
}

#[test]
fn an_interface_that_others_reach_needs_tls_and_a_token() {
    for (new, key, fragment) in [
        ("▸listen = \"0.0.0.0:9480\"", "http.listen", "expected [http.tls] and at least one [[http.token]] beside it"),
        ("▸listen = \"[::]:9480\"", "http.listen", "or a loopback address such as"),
        (
            "▸listen = \"10.0.0.5:1\"\ntls = { certificate_file = \"/c\", key_file = \"/k\" }",
            "http.listen",
            "[[http.token]]",
        ),
        (
            "▸listen = \"10.0.0.5:1\"\n[[http.token]]\nname = \"a\"\nrole = \"viewer\"\nfile = \"/a\"",
            "http.listen",
            "[http.tls]",
        ),
        ("tls = { ▸key_file = 1, certificate_file = \"/c\" }", "http.tls.key_file", "expected a text in quotes"),
        ("▸tls = { certificate_file = \"/c\" }", "http.tls.key_file", "is missing, expected the path of a PEM file"),
        (
            "[[http.token]]\n▸name = \"a b\"\nrole = \"viewer\"\nfile = \"/a\"",
            "http.token[1].name",
            "at most 64 letters",
        ),
        (
            "[[http.token]]\nname = \"a\"\n▸role = \"admin\"\nfile = \"/a\"",
            "http.token[a].role",
            "expected one of \"viewer\"",
        ),
        (
            "[[http.token]]\nname = \"a\"\nrole = \"viewer\"\nfile = \"/a\"\n\
             [[http.token]]\n▸name = \"a\"\nrole = \"viewer\"\nfile = \"/a\"",
            "http.token[a].name",
            "the name is taken at",
        ),
        ("▸token = []", "http.token", "is empty"),
        ("▸hosts = \"setpoint.example\"", "http.hosts", "expected a list of host names"),
        ("▸hosts = [\"setpoint.example:443\"]", "http.hosts", "expected a list of host names"),
        ("▸listen = \"localhost:9480\"", "http.listen", "expected an IP address and a port"),
        ("▸listen = \"127.0.0.1\"", "http.listen", "expected an IP address and a port"),
        ("▸listen = \"127.0.0.1:99999\"", "http.listen", "expected an IP address and a port"),
        ("▸listen = 9480", "http.listen", "expected a text in quotes"),
        ("▸socket = \"run/s\"", "http.socket", "expected an absolute path of at most 100 bytes"),
    ] {
        check("listen = \"127.0.0.1:9480\"", new, key, fragment);
    }
}

#[test]
fn notifications_are_checked() {
    const CHAT: &str = "name = \"chat\"\nkind = \"slack\"\nurl = \"https://chat.example/x\"\n";
    let check = |keys: &str, key: &str, fragment: &str| {
        let table = if keys.contains('▸') { keys.to_owned() } else { format!("▸{keys}") };
        check_text(&format!("{BASE}[[notification]]\n{table}\n"), key, fragment);
    };
    check(&format!("{CHAT}▸per_minute = 0"), "notification[chat].per_minute", "expected a whole number from 1 to 60");
    check(&format!("{CHAT}▸on = [\"all\"]"), "notification[chat].on", "\"order\", found \"all\" in it");
    check(
        &format!("{CHAT}▸policies = [\"a b\"]"),
        "notification[chat].policies",
        "expected a list of names of policies",
    );
    check(&format!("{CHAT}▸policies = [\"web\", \"wob\"]"), "notification[chat].policies", "names \"wob\"");
    check(&format!("{CHAT}▸url_file = \"/u\""), "notification[chat].url_file", "excludes url");
    check(&format!("{CHAT}▸secret_file = \"/s\""), "notification[chat].secret_file", "is for webhooks alone");
    check(&format!("{CHAT}[[notification]]\n▸{CHAT}"), "notification[chat].name", "the name is taken at");
    check(&CHAT.replace("kind = \"slack\"", "▸kind = \"mail\""), "notification[chat].kind", "expected one of");
    check(
        &CHAT.replace("url = ", "▸url = ").replace("https", "ftp"),
        "notification[chat].url",
        "neither http nor https",
    );
    let webhook = "name = \"pager\"\nkind = \"webhook\"\nurl = \"https://h\"\n";
    check_text(&format!("{BASE}▸[[notification]]\n{webhook}"), "notification[pager].secret_file", "is missing");

    let whole =
        format!("{BASE}[[notification]]\n{webhook}secret_file = \"/s\"\non = [\"limit\"]\npolicies = [\"web-*\"]\n");
    let channel = Channel {
        name: "pager".into(),
        kind: Kind::Webhook { secret_file: "/s".into() },
        url: Address::Url("https://h/".into()),
        topics: vec![Topic::Limit],
        policies: vec!["web-*".into()],
        per_minute: 6,
    };
    assert_eq!(parse(&whole).unwrap_or_else(|findings| panic!("{findings}")).notifications, [channel]);
}

#[test]
fn settings_of_the_daemon_are_checked() {
    for (new, fragment) in [
        ("▸interval = 15", "15 has no unit, expected for example \"15s\" or \"15ms\""),
        ("▸interval = 15.5", "expected a duration such as"),
        ("▸interval = \"15\"", "expected a duration such as"),
        ("▸interval = \"15 s\"", "expected a duration such as"),
        ("▸interval = \"15sec\"", "expected a duration such as"),
        ("▸interval = \"-15s\"", "expected a duration such as"),
        ("▸interval = \"\"", "expected a duration such as"),
        ("▸interval = true", "expected a duration such as"),
        ("▸interval = [\"15s\"]", "expected a duration such as \"500ms\", \"90s\", \"5m\" or \"1h30m\", found a list"),
        ("▸interval = \"500ms\"", "expected a duration from 1s to 1h, found \"500ms\""),
        ("▸interval = \"2h\"", "expected a duration from 1s to 1h"),
        ("▸interval = 2026-01-01", "is a date"),
        ("▸interval = 99999999999999999999", "does not fit into 64 bits"),
        ("▸interval = inf", "is not a finite number"),
        ("▸interval = nan", "is not a finite number"),
    ] {
        check("interval = \"15s\"", new, "interval", fragment);
    }
    let url = "url = \"http://127.0.0.1:9090\"";
    for (new, fragment) in [
        ("▸url = \"127.0.0.1:9090\"", "is not a URL"),
        ("▸url = \"localhost:9090\"", "is neither http nor https"),
        ("▸url = \"ftp://a\"", "is neither http nor https"),
        ("▸url = \"http://\"", "is not a URL"),
        ("▸url = \"http://u:p@a\"", "without user info"),
        ("▸url = \"http://u@a\"", "without user info"),
        ("▸url = \"http://a/?q=1\"", "has a query"),
        ("▸url = \"http://a/#f\"", "has a fragment"),
        ("▸url = \"http://a/prometheus/graph\"", "ends in /graph, expected the server's URL without"),
        ("▸url = \"http://a/api/v1/query\"", "ends in /api/v1/query"),
        ("▸url = 9090", "expected a text in quotes, found 9090"),
        ("▸url = \"\"", "expected a text in quotes"),
    ] {
        check(url, new, "prometheus.url", fragment);
    }
    check("[prometheus]\nurl = \"http://127.0.0.1:9090\"\n", "[▸prometheus]\n", "prometheus.url", "is missing");
    check(
        "[prometheus]\nurl = \"http://127.0.0.1:9090\"\ntimeout = \"3s\"",
        "▸prometheus = 1",
        "prometheus",
        "expected a table",
    );
    let timeout = "timeout = \"3s\"";
    for (new, key, fragment) in [
        ("▸timeout = 3", "timeout", "3 has no unit"),
        ("▸timeout = \"15s\"", "timeout", "is too long, expected less than the interval, 15s"),
        ("▸timeout = \"0s\"", "timeout", "expected a duration from 10ms"),
        ("▸timout = \"3s\"", "timout", "unknown key; did you mean \"timeout\"?"),
        ("▸sigv4 = {}", "sigv4", "is not in this version of Setpoint"),
        ("▸headers = \"x\"", "headers", "expected a table, found \"x\""),
        ("headers = { ▸a = 1 }", "headers.a", "expected a text in quotes"),
        ("headers = { ▸\"a b\" = \"1\" }", "headers.a b", "is no name of an HTTP header"),
        ("headers = { ▸a = \"1\\n2\" }", "headers.a", "expected printable ASCII"),
        ("headers = { ▸AUTHORIZATION = \"x\" }", "headers.AUTHORIZATION", "expected bearer_token_file or basic_auth"),
        ("headers = { ▸x = \"Basic dTpw\" }", "headers.x", "is a credential"),
        ("bearer_token_file = \"/t\"\n▸basic_auth = {}", "basic_auth", "excludes bearer_token_file"),
        ("▸basic_auth = { username = \"u\" }", "basic_auth.password_file", "is missing"),
        ("basic_auth = { ▸username = \"u:v\", password_file = \"/p\" }", "basic_auth.username", "without a colon"),
        (
            "basic_auth = { username = \"u\", ▸password = \"p\" }",
            "basic_auth.password",
            "did you mean \"password_file\"?",
        ),
        ("▸ca_file = 1", "ca_file", "expected a text in quotes"),
        ("▸client_certificate = { key_file = \"/k\" }", "client_certificate.certificate_file", "is missing"),
        ("▸bearer_token = \"x\"", "bearer_token", "did you mean \"bearer_token_file\"?"),
    ] {
        check(timeout, new, &format!("prometheus.{key}"), fragment);
    }
    for (new, key, fragment) in [
        ("▸region = \"Frankfurt\"", "region", "expected an AWS region such as \"us-east-1\", found \"Frankfurt\""),
        ("▸region = 1", "region", "expected a text in quotes"),
        ("▸regoin = \"us-east-1\"", "regoin", "did you mean \"region\"?"),
        ("▸endpoint_url = \"a\"", "endpoint_url", "is not a URL"),
        ("▸assume_role_arn = \"setpoint\"", "assume_role_arn", "expected a role's ARN"),
        ("▸assume_role_arn = \"arn:aws:iam::1:role/x\"", "assume_role_arn", "expected a role's ARN"),
        ("▸assume_role_arn = \"arn:aws:iam::123456789012:user/x\"", "assume_role_arn", "expected a role's ARN"),
        ("▸external_id = \"x\"", "external_id", "expected assume_role_arn beside it"),
        ("▸timeout = \"1h\"", "timeout", "expected a duration from 10ms to 10m"),
        ("▸timeout = \"20s\"", "timeout", "is too long"),
        ("▸profile = false", "profile", "expected a text in quotes"),
    ] {
        check("region = \"us-east-1\"", new, &format!("aws.{key}"), fragment);
    }
    for (new, key, fragment) in [
        ("[state]\n▸path = \"state\"", "state.path", "expected the absolute path of a directory"),
        ("[state]\n▸retention = \"1m\"", "state.retention", "expected a duration from 1h to 87840h"),
        ("[state]\n▸max_size = \"1MB\"", "state.max_size", "expected a size from 16MB to 1TB, such as \"256MB\""),
        ("[state]\n▸max_size = 256", "state.max_size", "expected a size from 16MB to 1TB"),
        ("[▸polcy]", "polcy", "unknown key; did you mean \"policy\"?"),
        ("[▸\"a[9999999999].b\"]", "a[9999999999].b", "unknown key"),
    ] {
        check("listen = \"127.0.0.1:9480\"", new, key, fragment);
    }
}

/// The same with the marked `new` among the keys of the policy, and a `key` in it.
fn check_policy(new: &str, key: &str, fragment: &str) {
    check("mode = \"observe\"", &format!("mode = \"observe\"\n{new}"), &format!("policy[web].{key}"), fragment);
}

#[test]
fn policies_are_checked() {
    for (old, new, key, fragment) in [
        ("[[policy]]\nname = \"web\"", "▸[[policy]]", "policy[1].name", "is missing"),
        ("[[policy]]\nname = \"web\"", "▸[[policy]]\nnme = \"web\"", "policy[1].name", "is missing"),
        ("name = \"web\"", "▸nme = \"web\"", "policy[1].nme", "did you mean \"name\"?"),
        ("name = \"web\"", "▸name = \"my web\"", "policy[1].name", "expected at most 64 letters, digits, - and _"),
        ("name = \"web\"", "▸name = \"\"", "policy[1].name", "expected a text in quotes"),
        ("name = \"web\"", "▸name = 7", "policy[1].name", "expected a text in quotes, found 7"),
        (
            "[[policy]]\nname = \"web\"\nasg = \"web-prod\"",
            "▸[[policy]]\nname = \"web\"",
            "policy[web].asg",
            "is missing",
        ),
        ("asg = \"web-prod\"", "▸asg = \"a:b\"", "policy[web].asg", "without a colon"),
        ("asg = \"web-prod\"", "▸asg = \" a\"", "policy[web].asg", "or outer spaces"),
        ("asg = \"web-prod\"", "▸asg = [\"a\", \"b\"]", "policy[web].asg", "found a list"),
        (
            "[[policy]]\nname = \"web\"\nasg = \"web-prod\"\nmin = 2",
            "▸[[policy]]\nname = \"web\"\nasg = \"a\"",
            "policy[web].min",
            "is missing",
        ),
        ("min = 2", "▸min = 11", "policy[web].min", "11 is more than max, 10; expected at most that"),
        ("min = 2", "▸min = 0", "policy[web].min", "would never come back; expected at least 1"),
        ("min = 2", "▸min = -1", "policy[web].min", "expected a whole number from 0 to 1000000, found -1"),
        ("min = 2", "▸min = 2.0", "policy[web].min", "expected a whole number"),
        ("min = 2", "▸min = \"2\"", "policy[web].min", "expected a whole number"),
        ("min = 2", "▸mni = 2", "policy[web].mni", "did you mean \"min\"?"),
        ("max = 10", "▸max = 1000001", "policy[web].max", "expected a whole number from 1 to 1000000"),
        ("max = 10", "▸max = 0", "policy[web].max", "expected a whole number from 1"),
        ("mode = \"observe\"", "▸mode = \"dry-run\"", "policy[web].mode", "expected one of \"active\", \"observe\""),
        ("mode = \"observe\"", "▸mode = \"scale_out_only\"", "policy[web].mode", "did you mean \"scale-out-only\"?"),
        ("mode = \"observe\"", "▸mode = true", "policy[web].mode", "expected one of"),
    ] {
        check(old, new, key, fragment);
    }
    for (new, key, fragment) in [
        ("▸region = \"US East\"", "region", "expected an AWS region"),
        ("▸region = \"us-east1\"", "region", "expected an AWS region"),
        ("▸interval = \"2s\"", "interval", "is too short, expected more than prometheus.timeout, 3s"),
        ("▸interval = \"5s\"", "interval", "is too short, expected more than aws.timeout, 5s"),
        ("▸interval = 60", "interval", "60 has no unit"),
        ("▸takeover = \"yes\"", "takeover", "expected true or false, found \"yes\""),
        ("▸boot_time = 120", "boot_time", "120 has no unit"),
        ("▸boot_time = \"2h\"", "boot_time", "expected a duration from 0s to 1h"),
        ("▸boot = \"2m\"", "boot", "did you mean \"boot_time\"?"),
        ("▸warm_up = \"1x\"", "warm_up", "expected a duration such as"),
        ("▸controller = \"pid\"", "controller", "expected a table, found \"pid\""),
        (
            "controller = { ▸kind = \"pdi\" }",
            "controller.kind",
            "expected one of \"pid\", \"step\", \"risk\", found \"pdi\"; did you mean \"pid\"?",
        ),
        ("controller = { ▸kp = -1 }", "controller.kp", "expected a gain from 0 to 10, found -1"),
        ("controller = { ▸kp = 1 }", "controller.kp", "the controller is unstable, expected 2·kp + ki of at most 2"),
        ("controller = { ▸kp = \"1\" }", "controller.kp", "expected a gain"),
        ("controller = { ▸ki = 0 }", "controller.ki", "expected a gain above 0, at most 1"),
        ("controller = { ▸ki = 1.5 }", "controller.ki", "expected a gain above 0, at most 1"),
        ("controller = { ▸kd = 60 }", "controller.kd", "60 has no unit"),
        ("controller = { ▸kI = 1 }", "controller.kI", "did you mean \"ki\"?"),
        ("stabilization = { ▸up = \"5m\" }", "stabilization.up", "unknown key, expected one of out, in"),
        ("stabilization = { ▸in = \"2h\" }", "stabilization.in", "expected a duration from 0s to 1h"),
        ("▸stabilization = \"5m\"", "stabilization", "expected a table"),
        ("▸stabilisation = { in = \"5m\" }", "stabilisation", "did you mean \"stabilization\"?"),
        ("cooldown = { ▸out = \"25h\" }", "cooldown.out", "expected a duration from 0s to 24h"),
        ("▸cool_down = {}", "cool_down", "did you mean \"cooldown\"?"),
        ("▸step = \"unlimited\"", "step", "expected a table"),
        ("step = { ▸out = \"none\" }", "step.out", "expected one of \"unlimited\""),
        ("step = { ▸in = { per = \"1m\" } }", "step.in", "expected percent or count"),
        ("step = { in = { ▸percent = 0 } }", "step.in.percent", "expected a percentage above 0"),
        ("step = { in = { ▸count = 0 } }", "step.in.count", "expected a whole number from 1"),
        ("step = { in = { ▸count = 1.5 } }", "step.in.count", "expected a whole number from 1"),
        ("step = { in = { count = 1, ▸per = \"0s\" } }", "step.in.per", "expected a duration from 1s"),
        ("tolerance = { ▸in = 8 }", "tolerance.in", "expected a share of the capacity"),
        ("tolerance = { ▸out = -0.1 }", "tolerance.out", "expected a share of the capacity"),
        ("▸max_drop = { ratio = 0.5 }", "max_drop.per", "is missing"),
        ("max_drop = { ▸ratio = 1, per = \"5m\" }", "max_drop.ratio", "expected a share above 0 and below 1"),
        ("max_drop = { ratio = 0.5, ▸per = 5 }", "max_drop.per", "5 has no unit"),
        ("▸for_each = { tag = \"a=b\" }", "for_each", "is not in this version of Setpoint"),
    ] {
        check_policy(new, key, fragment);
    }
    let policy = &BASE[BASE.find("[[policy]]").unwrap()..];
    let other_group = policy.replace("web-prod", "web-test").replace("name = \"web\"", "▸name = \"web\"");
    check_text(&format!("{BASE}{other_group}"), "policy[web].name", "this name is taken at t.toml:14:1");
    let other_name = policy.replace("\"web\"", "\"web2\"").replace("asg", "▸asg");
    check_text(&format!("{BASE}{other_name}"), "policy[web2].asg", "this group is taken at t.toml:15:1");
    // Whatever region the environment names, it may be that one.
    let elsewhere = other_name.replace("asg = \"web-prod\"", "asg = \"web-prod\"\nregion = \"us-east-1\"");
    let nowhere = BASE.replace("region = \"us-east-1\"\n", "");
    assert_ne!(nowhere, BASE);
    check_text(&format!("{nowhere}{elsewhere}"), "policy[web2].asg", "may be the group at t.toml:14:1");
    check_text("▸", "policy", "is missing, expected at least one [[policy]]");
    check_text("▸policy = []", "policy", "is empty");
    check_text("▸policy = 1", "policy", "expected a list of tables");
    check_text("policy = [▸1]", "policy[1]", "expected a table, found 1");
    check_text("[▸policy]\nname = \"web\"", "policy", "each with its header in double brackets, found a table");
}

#[test]
fn every_key_of_a_guard_arrives_where_it_belongs() {
    let policy = policy_with(
        r#"
        brake = { factor = 3 }
        instance_price = 0.25
        max_spend_per_hour = 20
        max_spend_per_day = 300.5
        [[policy.hold_scale_in_while]]
        name = "errors"
        above = 0
        max_age = "45s"
        query = "e"
        [[policy.hold_scale_in_while]]
        name = "ready"
        below = -0.5
        scrape = { url = "http://[::1]/m", selector = 'ready', read = "gauge" }
        "#,
    );
    assert_eq!((policy.brake, policy.instance_price), (Some(Brake { factor: 3.0 }), Some(0.25)));
    assert_eq!(policy.max_spend, MaxSpend { per_hour: Some(20.0), per_day: Some(300.5) });
    let [errors, ready] = &policy.hold_scale_in_while[..] else { panic!("two signals") };
    assert_eq!((&*errors.name, errors.threshold), ("errors", Threshold::Above(0.0)));
    assert_eq!(errors.max_age, Duration::from_secs(45));
    assert_eq!(errors.source, Source::Prometheus { query: "e".into(), per_instance: None });
    assert_eq!((&*ready.name, ready.threshold), ("ready", Threshold::Below(-0.5)));
    assert_eq!(ready.max_age, Duration::from_secs(90));
    assert!(matches!(ready.source, Source::Exposition(_)));
}

#[test]
fn a_type_of_instance_has_its_list_price() {
    let policy = policy_with("region = \"us-east-1\"\ninstance_type = \"m7g.large\"");
    assert_eq!(policy.instance_price, Some(0.0816));
    let nowhere = with("region = \"us-east-1\"\n", "").replace("mode =", "▸instance_type = \"m7g.large\"\nmode =");
    check_text(&nowhere, "policy[web].instance_type", "has no price here without a region, expected region beside it");
}

#[test]
fn guards_are_checked() {
    const ERRORS: &str = "name = \"errors\"\nquery = \"e\"\nabove = 1\n";
    assert_eq!(policy_with("").brake, Some(Brake { factor: 2.0 }));
    assert_eq!(policy_with("brake = {}").brake, Some(Brake { factor: 2.0 }));
    assert_eq!(policy_with("brake = \"off\"").brake, None);
    for (new, key, fragment) in [
        ("▸brake = true", "brake", "expected a table, found true"),
        ("▸brake = \"of\"", "brake", "expected one of \"off\", found \"of\"; did you mean \"off\"?"),
        ("brake = { ▸factor = 1.49 }", "brake.factor", "from 1.5 to 10, found 1.49"),
        ("brake = { ▸factor = 11 }", "brake.factor", "from 1.5 to 10, found 11"),
        ("brake = { ▸factr = 2 }", "brake.factr", "did you mean \"factor\"?"),
        ("▸instance_price = 0", "instance_price", "a number above 0, found 0"),
        ("▸instance_price = -0.1", "instance_price", "a number above 0"),
        ("▸instance_price = \"0.1 USD\"", "instance_price", "what an instance costs an hour, a number above 0"),
        ("▸max_spend_per_hour = 1", "max_spend_per_hour", "has no effect without instance_price"),
        ("▸max_spend_per_day = 1", "max_spend_per_day", "has no effect without instance_price"),
        ("instance_price = 1\n▸max_spend_per_hour = 0", "max_spend_per_hour", "a number above 0, found 0"),
        ("instance_price = 1\n▸max_spend_per_day = -1", "max_spend_per_day", "a number above 0"),
        ("▸instance_type = 7", "instance_type", "expected a text in quotes, found 7"),
        ("▸instance_type = \"large\"", "instance_type", "an instance type such as \"m7g.large\", found \"large\""),
        ("instance_price = 1\n▸instance_type = \"m7g.large\"", "instance_type", "excludes instance_price"),
        (
            "region = \"eu-west-1\"\n▸instance_type = \"m7g.large\"",
            "instance_type",
            "has no price here in eu-west-1, expected instance_price in its place",
        ),
        (
            "region = \"us-east-1\"\ninstance_type = \"m7g.large\"\n▸max_spend_per_hour = 1",
            "max_spend_per_hour",
            "has no effect without instance_price",
        ),
        ("instance_price = 1\n▸max_spend = 3", "max_spend", "unknown key"),
        ("▸hold_scale_in_while = []", "hold_scale_in_while", "is empty"),
        ("▸hold_scale_in_while = \"errors\"", "hold_scale_in_while", "expected a list of tables"),
    ] {
        check_policy(new, key, fragment);
    }
    let check = |keys: &str, key: &str, fragment: &str| {
        let table =
            if keys.contains('▸') { format!("[[policy.hold_scale_in_while]]\n{keys}") } else { keys.to_owned() };
        check_policy(&table, &format!("hold_scale_in_while[{key}"), fragment);
    };
    check(&ERRORS.replace("name", "▸name").replace("errors", "e r"), "1].name", "expected at most 64 letters");
    check(&ERRORS.replace("query", "▸query").replace("\"e\"", "\"e(\""), "errors].query", "does not parse as PromQL");
    check(&ERRORS.replace("above = 1", "▸above = \"1\""), "errors].above", "expected a finite number, found");
    check(&ERRORS.replace("above = 1", "above = 1\n▸below = 0"), "errors].below", "excludes above");
    check(&format!("{ERRORS}▸kind = \"total\""), "errors].kind", "unknown key");
    check(&format!("{ERRORS}▸max_age = 5"), "errors].max_age", "5 has no unit");
    check(&format!("{ERRORS}[[policy.hold_scale_in_while]]\n▸{ERRORS}"), "errors].name", "this name is taken at");
    let whole = |keys: &str| format!("▸[[policy.hold_scale_in_while]]\n{keys}");
    check_policy(
        &whole("name = \"e\"\nquery = \"e\""),
        "hold_scale_in_while[e]",
        "never burns, expected above or below",
    );
    check_policy(&whole("name = \"e\"\nabove = 1"), "hold_scale_in_while[e]", "has no source");
    check_policy(&whole("query = \"e\"\nabove = 1"), "hold_scale_in_while[1].name", "is missing");
    let signal = |n: u32| format!("[[policy.hold_scale_in_while]]\nname = \"e{n}\"\nquery = \"e\"\nabove = 1\n");
    let five: String = (1..=5).map(signal).collect::<String>();
    let last = five.rfind("[[").unwrap();
    let five = format!("{}▸{}", &five[..last], &five[last..]);
    check_policy(&five, "hold_scale_in_while[e5]", "is one too many, expected at most 4 signals");
}

#[test]
fn controllers_are_checked() {
    for (new, key, fragment) in [
        (
            "▸risk = 0.01",
            ".risk",
            "belongs to a controller of kind \"risk\", and this one is of kind \"pid\"; expected",
        ),
        ("kind = \"pid\", ▸above = []", ".above", "belongs to a controller of kind \"step\""),
        (
            "kind = \"risk\", ▸kp = 0.5",
            ".kp",
            "belongs to a controller of kind \"pid\", and this one is of kind \"risk\"",
        ),
        ("kind = \"risk\", ▸ki = 0.5", ".ki", "belongs to a controller of kind \"pid\""),
        ("kind = \"risk\", ▸kd = \"1s\"", ".kd", "belongs to a controller of kind \"pid\""),
        ("kind = \"risk\", ▸below = []", ".below", "belongs to a controller of kind \"step\""),
        ("kind = \"risk\", ▸risks = 1", ".risks", "unknown key; did you mean \"risk\"?"),
        ("kind = \"risk\", ▸risk = 0", ".risk", "above 0 and at most 0.2, such as 0.01 or \"1%\", found 0"),
        ("kind = \"risk\", ▸risk = 1", ".risk", "above 0 and at most 0.2"),
        ("kind = \"risk\", ▸risk = 0.21", ".risk", "above 0 and at most 0.2"),
        ("kind = \"risk\", ▸risk = \"0%\"", ".risk", "above 0 and at most 0.2"),
        ("kind = \"risk\", ▸risk = \"21%\"", ".risk", "above 0 and at most 0.2"),
        ("kind = \"risk\", ▸risk = \"nan%\"", ".risk", "above 0 and at most 0.2"),
        ("kind = \"risk\", ▸risk = \"0.01\"", ".risk", "above 0 and at most 0.2"),
        ("kind = \"risk\", ▸risk = true", ".risk", "above 0 and at most 0.2"),
        ("kind = \"step\", ▸risk = 0.01", ".risk", "belongs to a controller of kind \"risk\""),
        ("kind = \"step\", ▸above = []", ".above", "is empty"),
        ("kind = \"step\", ▸above = { from = 2 }", ".above", "expected a list of tables"),
        ("kind = \"step\", above = [▸1.2]", ".above[1]", "expected a table, found 1.2"),
        ("kind = \"step\", above = [▸{ count = 1 }]", ".above[1].from", "is missing, expected where the band begins"),
        ("kind = \"step\", above = [▸{ from = 2 }]", ".above[1]", "changes nothing, expected percent or count"),
        (
            "kind = \"step\", above = [{ from = 2, percent = 1, ▸count = 1 }]",
            ".above[1].count",
            "excludes percent, expected one of the two",
        ),
        ("kind = \"step\", above = [{ from = 2, ▸add = 1 }]", ".above[1].add", "unknown key"),
        ("kind = \"step\", above = [{ ▸from = 1, count = 1 }]", ".above[1].from", "above 1, and at most 100, found 1"),
        (
            "kind = \"step\", above = [{ ▸from = 120, count = 1 }]",
            ".above[1].from",
            "above 1, and at most 100, found 120",
        ),
        ("kind = \"step\", above = [{ ▸from = \"2\", count = 1 }]", ".above[1].from", "a share of the target above 1"),
        (
            "kind = \"step\", above = [{ from = 2, count = 1 }, { ▸from = 2, count = 2 }]",
            ".above[2].from",
            "above 2, where the band before it begins, and at most 100, found 2",
        ),
        (
            "kind = \"step\", above = [{ from = 3, count = 1 }, { from = 4, count = 1 }, { ▸from = 3.5, count = 2 }]",
            ".above[3].from",
            "above 4, where the band before it begins",
        ),
        ("kind = \"step\", above = [{ from = 2, ▸percent = 1001 }]", ".above[1].percent", "at most 1000"),
        ("kind = \"step\", above = [{ from = 2, ▸percent = 0 }]", ".above[1].percent", "a percentage above 0"),
        ("kind = \"step\", above = [{ from = 2, ▸count = 0 }]", ".above[1].count", "a whole number from 1"),
        ("kind = \"step\", below = [{ ▸from = 1, count = 1 }]", ".below[1].from", "above 0 and below 1, found 1"),
        ("kind = \"step\", below = [{ ▸from = 0, count = 1 }]", ".below[1].from", "above 0 and below 1, found 0"),
        (
            "kind = \"step\", below = [{ from = 0.5, count = 1 }, { ▸from = 0.6, count = 1 }]",
            ".below[2].from",
            "above 0 and below 0.5, where the band before it begins, found 0.6",
        ),
        (
            "kind = \"step\", below = [{ from = 0.5, ▸percent = 101 }]",
            ".below[1].percent",
            "above 0, at most 100, found 101",
        ),
    ] {
        check_policy(&format!("controller = {{ {new} }}"), &format!("controller{key}"), fragment);
        let metric = format!("query = 'avg(cpu)'\ncontroller = {{ {new} }}");
        check("query = 'avg(cpu)'", &metric, &format!("policy[web].metric[cpu].controller{key}"), fragment);
    }
    check_policy("▸controller = { kind = \"step\" }", "controller", "has no bands, expected above, below or both");
    let band = |n: u32| format!("{{ from = {}, count = 1 }}", n + 1);
    let nine: Vec<_> = (1..=9).map(band).collect();
    let nine = nine.join(", ").replace("{ from = 10,", "▸{ from = 10,");
    let bands = format!("controller = {{ kind = \"step\", above = [{nine}] }}");
    check_policy(&bands, "controller.above[9]", "is one too many, expected at most 8 bands");
}

#[test]
fn schedules_and_the_fallback_are_checked() {
    let header = "[[policy.schedule]]\n";
    for (new, key, fragment) in [
        ("▸HEADcron = \"0 8 * * *\"\nmin = 3", "schedule[1].duration", "is missing, expected how long it lasts"),
        ("▸HEADduration = \"1h\"\nmin = 3", "schedule[1].cron", "is missing, expected when it begins"),
        ("▸HEADcron = \"0 8 * * *\"\nduration = \"1h\"", "schedule[1]", "changes nothing, expected min, max or both"),
        ("HEAD▸cron = \"0 25 * * *\"", "schedule[1].cron", "is no cron expression ("),
        ("HEAD▸cron = \"0 8 * *\"", "schedule[1].cron", "(five fields are needed), expected five fields such as"),
        ("HEAD▸cron = \"@daily\"", "schedule[1].cron", "five fields are needed"),
        ("HEAD▸cron = 8", "schedule[1].cron", "expected a text in quotes, found 8"),
        ("HEAD▸timezone = \"Mars/Olympus\"", "schedule[1].timezone", "is no time zone that this host knows"),
        ("HEADcron = \"x\"\n▸timezone = \"CEST+1\"", "schedule[1].timezone", "is no time zone that this host knows"),
        ("HEAD▸timezone = 1", "schedule[1].timezone", "expected a text in quotes"),
        ("HEAD▸time_zone = \"UTC\"", "schedule[1].time_zone", "did you mean \"timezone\"?"),
        ("HEAD▸duration = \"59s\"", "schedule[1].duration", "expected a duration from 1m to 168h, found \"59s\""),
        ("HEAD▸duration = \"7d1s\"", "schedule[1].duration", "expected a duration from 1m to 168h"),
        ("HEAD▸duration = 60", "schedule[1].duration", "60 has no unit"),
        ("HEAD▸min = 6\nmax = 5", "schedule[1].min", "6 is more than max, 5; expected at most that"),
        (
            "HEAD▸min = 11",
            "schedule[1].min",
            "11 is more than the policy's max, 10; expected at most that, or a max here",
        ),
        (
            "HEAD▸max = 1",
            "schedule[1].max",
            "1 is less than the policy's min, 2; expected at least that, or a min here",
        ),
        ("HEAD▸max = 0", "schedule[1].max", "expected a whole number from 1"),
        ("HEAD▸min = 0", "schedule[1].min", "is 0, and without instances no metric of this policy has a value"),
        ("HEAD▸min = -1", "schedule[1].min", "expected a whole number from 0"),
        ("▸schedule = []", "schedule", "is empty"),
        ("[policy.▸schedule]", "schedule", "each with its header in double brackets"),
        ("[policy.▸fallback]", "fallback.after", "is missing, expected how long every metric is gone"),
        ("[policy.▸fallback]\nafter = \"5m\"", "fallback.capacity", "is missing, expected the instances to run on"),
        ("[policy.fallback]\n▸after = 5", "fallback.after", "5 has no unit"),
        ("[policy.fallback]\n▸after = \"500ms\"", "fallback.after", "expected a duration from 1s to 24h"),
        ("[policy.fallback]\n▸after = \"25h\"", "fallback.after", "expected a duration from 1s to 24h"),
        ("[policy.fallback]\n▸capacity = 0", "fallback.capacity", "expected a whole number from 1"),
        ("[policy.fallback]\n▸capacity = 11", "fallback.capacity", "11 is more than max, 10; expected at most that"),
        ("[policy.fallback]\n▸min = 6", "fallback.min", "unknown key"),
    ] {
        check_policy(&new.replace("HEAD", header), key, fragment);
    }
    let one = "[[policy.schedule]]\ncron = \"0 8 * * *\"\nduration = \"1h\"\nmin = 3\n";
    assert_eq!(policy_with(&one.repeat(32)).schedules.len(), 32);
    let many = format!("{}▸{one}", one.repeat(32));
    check_policy(&many, "schedule[33]", "is one too many, expected at most 32 schedules");
}

#[test]
fn series_of_instances_are_checked() {
    let cpu = "policy[web].metric[cpu]";
    for (new, key, fragment) in [
        ("▸per_instance = true", "per_instance", "expected a text in quotes, found true"),
        ("▸per_instance = \"\"", "per_instance", "expected a text in quotes"),
        ("▸per_instance = \"instance id\"", "per_instance", "expected the name of a label such as \"instance\""),
        ("▸per_instance = \"1st\"", "per_instance", "expected the name of a label"),
        ("▸per_instances = \"instance\"", "per_instances", "did you mean \"per_instance\"?"),
        ("▸min_coverage = 0.9", "min_coverage", "has no effect without per_instance, expected that beside it"),
        (
            "per_instance = \"i\"\n▸min_coverage = 1.1",
            "min_coverage",
            "a share of the instances from 0 to 1, found 1.1",
        ),
        ("per_instance = \"i\"\n▸min_coverage = -0.1", "min_coverage", "a share of the instances from 0 to 1"),
        ("per_instance = \"i\"\n▸min_coverage = 75", "min_coverage", "a share of the instances from 0 to 1"),
    ] {
        check("query = 'avg(cpu)'", &format!("query = 'avg(cpu)'\n{new}"), &format!("{cpu}.{key}"), fragment);
    }
    let scraped = format!("{SCRAPE}\n▸per_instance = \"i\"");
    check("query = 'avg(cpu)'", &scraped, &format!("{cpu}.per_instance"), "has no effect with scrape");
    let scalar = "▸query = 'scalar(avg(cpu))'\nper_instance = \"i\"";
    check("query = 'avg(cpu)'", scalar, &format!("{cpu}.query"), "is a scalar, which has no label per_instance");
    let latency = "kind = \"latency\"\n▸per_instance = \"i\"\ntarget = \"1s\"";
    let kind = "kind = \"utilization\"\ntarget = 0.70";
    check(kind, latency, &format!("{cpu}.per_instance"), "is not for a latency, since the mean of quantiles");
}

#[test]
fn metrics_are_checked() {
    let metric = &BASE[BASE.find("[[policy.metric]]").unwrap()..];
    let cpu = "policy[web].metric[cpu]";
    for (old, new, key, fragment) in [
        (metric, "", "metric", "is missing, expected at least one [[policy.metric]]"),
        ("[[policy.metric]]\nname = \"cpu\"", "▸[[policy.metric]]", "metric[1].name", "is missing"),
        ("name = \"cpu\"", "▸name = \"cpu %\"", "metric[1].name", "expected at most 64 letters"),
        ("[[policy.metric]]", "[policy.▸metric]", "metric", "each with its header in double brackets"),
    ] {
        let base = if new.is_empty() { BASE.replace("[[policy]]", "▸[[policy]]") } else { BASE.to_owned() };
        check_text(&base.replace(old, new), &format!("policy[web].{key}"), fragment);
    }
    check(
        "[[policy.metric]]\nname = \"cpu\"\nkind = \"utilization\"",
        "▸[[policy.metric]]\nname = \"cpu\"",
        &format!("{cpu}.kind"),
        "is missing",
    );
    check("kind = \"utilization\"", "▸kind = \"utilisation\"", &format!("{cpu}.kind"), "did you mean \"utilization\"?");
    check("kind = \"utilization\"", "▸kind = 1", &format!("{cpu}.kind"), "expected one of");
    for new in ["0", "-0.7", "1", "1.2", "100", "170", "\"0.7\"", "\"100%\"", "\"nan%\"", "\"%\"", "true", "5e-324"] {
        check("target = 0.70", &format!("▸target = {new}"), &format!("{cpu}.target"), "expected a share below 1");
    }
    let kind = "kind = \"utilization\"\ntarget = 0.70";
    for (new, fragment) in [
        ("kind = \"total\"\n▸target = 0", "expected what one instance should carry"),
        ("kind = \"total\"\n▸target = \"150\"", "expected what one instance should carry"),
        ("kind = \"latency\"\n▸target = 500", "500 has no unit, expected for example \"500s\" or \"500ms\""),
        ("kind = \"latency\"\n▸target = 0.5", "expected a duration such as \"500ms\""),
        ("kind = \"latency\"\n▸target = \"0ms\"", "expected a duration from 1ms"),
    ] {
        check(kind, new, &format!("{cpu}.target"), fragment);
    }
    let query = "query = 'avg(cpu)'";
    for (new, fragment) in [
        ("▸query = 'avg(cpu'", "does not parse as PromQL: "),
        ("▸query = 'avg(cpu))'", "does not parse as PromQL: "),
        ("▸query = 'rate(cpu)'", "does not parse as PromQL: expected type matrix"),
        ("▸query = 'averge(cpu)'", "does not parse as PromQL: unknown function"),
        ("▸query = 'cpu[5m]'", "is a range of samples"),
        ("▸query = '\"text\"'", "is a string"),
        ("▸query = 'cpu{asg=web}'", "does not parse as PromQL: "),
        ("▸query = 'cpu{a=~\"(\"}'", "does not parse as PromQL: "),
        ("▸query = ' '", "is empty"),
        ("▸query = ''", "expected a text in quotes"),
        ("▸query = 1", "expected a text in quotes, found 1"),
    ] {
        check(query, new, &format!("{cpu}.query"), fragment);
    }
    let long = format!("▸query = 'sum({})'", "x".repeat(4096));
    check(query, &long, &format!("{cpu}.query"), "is 4101 bytes long, expected at most 4096");
    check(
        "[[policy.metric]]\nname = \"cpu\"\nkind = \"utilization\"\ntarget = 0.70\nquery = 'avg(cpu)'",
        "▸[[policy.metric]]\nname = \"cpu\"\nkind = \"utilization\"\ntarget = 0.70\n",
        cpu,
        "has no source, expected query (PromQL) or scrape",
    );
    check(query, &format!("{query}\n▸max_age = 90"), &format!("{cpu}.max_age"), "90 has no unit");
    check(query, &format!("{query}\n▸max_age = \"0s\""), &format!("{cpu}.max_age"), "expected a duration from 1s");
    check(query, &format!("{query}\n▸scale = 1"), &format!("{cpu}.scale"), "unknown key");
    check(query, &format!("{query}\n▸{SCRAPE}"), &format!("{cpu}.scrape"), "excludes query");
    check(
        query,
        &format!("{query}\n{}", metric.replace("name", "▸name")),
        &format!("{cpu}.name"),
        "this name is taken at t.toml:21:1",
    );
    let sixteen: String = (1..=16).map(|n| metric.replace("cpu\"", &format!("cpu{n}\""))).collect();
    let many = sixteen.replace("[[policy.metric]]\nname = \"cpu16", "▸[[policy.metric]]\nname = \"cpu16");
    check_text(&format!("{BASE}{many}"), "policy[web].metric[cpu16]", "is one too many, expected at most 16");
    let headless = BASE.replace("[prometheus]\nurl = \"http://127.0.0.1:9090\"\ntimeout = \"3s\"\n", "");
    check_text(&headless.replace("query", "▸query"), &format!("{cpu}.query"), "expected a section [prometheus]");
}

#[test]
fn scrapes_are_checked() {
    let gauge = "scrape = { url = \"http://[::1]/\", selector = 'cpu', read = \"gauge\" }";
    for (old, new, key, fragment) in [
        ("scrape = { url = \"http://[::1]/\", ", "▸scrape = { ", ".url", "is missing"),
        ("url = \"http://[::1]/\"", "▸url = \"/metrics\"", ".url", "is not a URL"),
        ("url = \"http://[::1]/\"", "▸url = \"http://u:p@a/\"", ".url", "without user info"),
        (
            "scrape = { url = \"http://[::1]/\", selector = 'cpu'",
            "▸scrape = { url = \"http://a/\"",
            ".selector",
            "is missing",
        ),
        ("selector = 'cpu'", "▸selector = 'sum(cpu)'", ".selector", "is a calculation; expected a plain selector"),
        ("selector = 'cpu'", "▸selector = '(cpu)'", ".selector", "is a calculation"),
        ("selector = 'cpu'", "▸selector = 'cpu[5m]'", ".selector", "is a calculation"),
        ("selector = 'cpu'", "▸selector = 'cpu offset 5m'", ".selector", "a page has no past"),
        ("selector = 'cpu'", "▸selector = 'cpu @ 0'", ".selector", "a page has no past"),
        ("selector = 'cpu'", "▸selector = '{a=\"b\"}'", ".selector", "names no metric"),
        ("selector = 'cpu'", "▸selector = 'cpu{a=\"b\" or c=\"d\"}'", ".selector", "has alternatives"),
        ("selector = 'cpu'", "▸selector = 'cpu{'", ".selector", "does not parse as PromQL"),
        ("selector = 'cpu'", "▸selector = 1", ".selector", "expected a text in quotes"),
        (
            "selector = 'cpu', read = \"gauge\"",
            "▸selector = 'cpu', read = \"quantile\"",
            ".selector",
            "cpu does not end in _bucket",
        ),
        (
            "scrape = { url = \"http://[::1]/\", selector = 'cpu', read = \"gauge\"",
            "▸scrape = { url = \"http://a/\", selector = 'cpu'",
            ".read",
            "is missing",
        ),
        ("read = \"gauge\"", "▸read = \"gage\"", ".read", "did you mean \"gauge\"?"),
        (
            "read = \"gauge\"",
            "read = \"gauge\", ▸aggregate = \"min\"",
            ".aggregate",
            "expected one of \"avg\", \"sum\", \"max\"",
        ),
        ("read = \"gauge\"", "read = \"gauge\", ▸window = \"1m\"", ".window", "has no effect"),
        ("read = \"gauge\"", "read = \"gauge\", ▸quantile = 0.5", ".quantile", "has no effect"),
        ("read = \"gauge\"", "read = \"rate\", ▸aggregate = \"sum\"", ".aggregate", "has no effect"),
        ("read = \"gauge\"", "read = \"rate\", ▸window = \"29s\"", ".window", "expected a duration from 30s"),
        (
            "cpu', read = \"gauge\"",
            "c_bucket', read = \"quantile\", ▸quantile = 99",
            ".quantile",
            "expected a quantile",
        ),
        (
            "cpu', read = \"gauge\"",
            "c_bucket', read = \"quantile\", ▸quantile = 0.9999",
            ".quantile",
            "at most three decimals",
        ),
        ("read = \"gauge\"", "read = \"gauge\", ▸interval = \"5s\"", ".interval", "unknown key"),
        (gauge, "▸scrape = \"http://a/metrics\"", "", "expected a table"),
    ] {
        assert_eq!(gauge.matches(old).count(), 1, "{old:?} stands once");
        check(
            "query = 'avg(cpu)'",
            &gauge.replace(old, new),
            &format!("policy[web].metric[cpu].scrape{key}"),
            fragment,
        );
    }
}

/// A reference or example with some of its text cut, doubled, or replaced by text that means something to a parser.
fn mutated() -> impl Strategy<Value = String> {
    const TEXTS: [&str; 24] = [
        "",
        "\"",
        "'",
        "[",
        "]",
        "[[",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "\\",
        "-1",
        "0",
        "1e999",
        "nan",
        "\"5m\"",
        "true",
        "{}",
        "[]",
        "(",
        "é\u{0}",
        "99999999999999999999",
    ];
    let texts: Vec<_> = EXAMPLES.iter().map(|(_, text)| *text).chain([REFERENCE, BASE]).collect();
    let edit = (any::<prop::sample::Index>(), 0..40_usize, prop::sample::select(TEXTS.to_vec()), any::<bool>());
    (prop::sample::select(texts), prop::collection::vec(edit, 1..6)).prop_map(|(text, edits)| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, cut, with, double) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + cut).min(text.len());
            let tail = if double { text[start..end].to_vec() } else { Vec::new() };
            text.splice(start..end, with.chars().chain(tail));
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_makes_it_panic_and_every_finding_has_a_place(text in mutated()) {
        if let Err(Findings(findings)) = parse(&text) {
            prop_assert!(!findings.is_empty());
            let lines: Vec<_> = text.split('\n').collect();
            for finding in &findings {
                let Position { line, column } = finding.location.position.expect("a position");
                prop_assert!((1..=lines.len()).contains(&line), "{finding}");
                prop_assert!((1..=lines[line - 1].chars().count() + 1).contains(&column), "{finding}");
            }
            prop_assert!(findings.is_sorted_by_key(|finding| finding.location.position));
        }
    }
}

#[test]
fn depth_and_length_do_not_make_it_panic() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
        with("avg(cpu)", &"(".repeat(100_000)),
        with("avg(cpu)", &format!("{}x{}", "(".repeat(2_000), ")".repeat(2_000))),
        with("avg(cpu)", &format!("{}x", "-".repeat(4_000))),
        with("avg(cpu)", &format!("x{{a=~\"{}\"}}", "((a{1000}){1000}){1000}")),
        with("mode = \"observe\"", &format!("[[policy.schedule]]\ncron = \"{} * * * *\"", "1,".repeat(100_000))),
        with("mode = \"observe\"", &format!("[[policy.schedule]]\ntimezone = \"{}\"", "../".repeat(100_000))),
    ] {
        let _ = parse(&text);
    }
}
