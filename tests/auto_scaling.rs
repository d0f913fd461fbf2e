//! The Auto Scaling target against a server that misbehaves in every way that AWS and what stands before it may.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::future::{Future, pending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Form, Router};
use futures_util::future::join_all;
use jiff::Timestamp;
use setpoint::observation::{Group, LaunchFailure, Rivals, Suspended};
use setpoint::policy::Capacity;
use setpoint::target::{AssumeRole, AutoScaling, ErrorClass, ErrorKind, Settings, TargetError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Command;

/// The parameters of a request, and its signature as `Authorization`.
type Request = BTreeMap<String, String>;

#[derive(Clone, Debug)]
enum Reply {
    /// HTTP status and body.
    Now(u16, String),
    Never,
}

#[derive(Clone)]
struct Fake {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    reply: Arc<dyn Fn(&Request) -> Reply + Send + Sync>,
}

impl Fake {
    async fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { url, requests: Arc::default(), reply: Arc::new(reply) };
        let router = Router::new().route("/", post(answer)).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    async fn target(&self) -> AutoScaling {
        target(&self.url, Duration::from_secs(20)).await
    }

    fn requests(&self, action: &str) -> Vec<Request> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|request| request["Action"] == action).cloned().collect()
    }
}

async fn answer(
    State(fake): State<Fake>,
    headers: HeaderMap,
    Form(mut request): Form<Request>,
) -> (StatusCode, String) {
    let signature = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
    request.insert("Authorization".to_owned(), signature.to_owned());
    fake.requests.lock().unwrap().push(request.clone());
    match (fake.reply)(&request) {
        Reply::Now(status, body) => (StatusCode::from_u16(status).unwrap(), body),
        Reply::Never => pending().await,
    }
}

fn settings(url: &str, timeout: Duration) -> Settings {
    Settings {
        region: Some("eu-central-1".to_owned()),
        endpoint_url: Some(url.to_owned()),
        profile: None,
        assume_role: None,
        timeout,
    }
}

async fn target(url: &str, timeout: Duration) -> AutoScaling {
    let credentials = Credentials::from_keys("AKIDEXAMPLE", "secret", None);
    AutoScaling::connect(&settings(url, timeout), None, Some(credentials)).await.unwrap()
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = format!(
        r#"<ErrorResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><Error><Type>Sender</Type>
        <Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"#
    );
    Reply::Now(status, body)
}

fn result(action: &str, content: &str) -> Reply {
    let body = format!(
        r#"<{action}Response xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><{action}Result>{content}</{action}Result>
        <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"#
    );
    Reply::Now(200, body)
}

/// An answer with nothing in it, whatever was asked.
fn nothing(request: &Request) -> Reply {
    result(&request["Action"], "")
}

fn group(name: &str, desired: u32, more: &str) -> String {
    format!(
        "<member><AutoScalingGroupName>{name}</AutoScalingGroupName><MinSize>0</MinSize><MaxSize>999</MaxSize>
        <DesiredCapacity>{desired}</DesiredCapacity>{more}</member>"
    )
}

fn instance(id: &str, state: &str) -> String {
    format!(
        "<member><InstanceId>{id}</InstanceId><LifecycleState>{state}</LifecycleState>
        <HealthStatus>Healthy</HealthStatus><AvailabilityZone>a</AvailabilityZone></member>"
    )
}

fn groups(content: &str, next: Option<&str>) -> Reply {
    let next = next.map(|token| format!("<NextToken>{token}</NextToken>")).unwrap_or_default();
    result("DescribeAutoScalingGroups", &format!("<AutoScalingGroups>{content}</AutoScalingGroups>{next}"))
}

fn names(request: &Request) -> Vec<String> {
    let member = |n| request.get(&format!("AutoScalingGroupNames.member.{n}")).cloned();
    (1..).map_while(member).collect()
}

/// Describes every group that was asked for as two instances, in service.
fn all_groups(request: &Request) -> Reply {
    let two = format!("<Instances>{}{}</Instances>", instance("i-1", "InService"), instance("i-2", "InService"));
    groups(&names(request).iter().map(|name| group(name, 2, &two)).collect::<String>(), None)
}

fn arcs(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

async fn describe_one(target: &AutoScaling, now: i64) -> Result<Group, TargetError> {
    target.describe(&arcs(&["web"]), at(now)).await.remove("web").unwrap()
}

const MISSING: &str = "AutoScalingGroup name not found - null";

#[tokio::test]
async fn every_error_has_its_kind_and_its_number_of_attempts() {
    use ErrorClass::{Permanent, Throttled, Transient};
    use ErrorKind as Kind;
    let html = |status| Reply::Now(status, "<!doctype html><h1>oh</h1>".to_owned());
    let above = "New SetDesiredCapacity value 11 is above max value 10 for the AutoScalingGroup.";
    let rows = [
        (error(400, "Throttling", "Rate exceeded"), 3, Kind::Throttled, Throttled, false),
        (error(400, "ThrottlingException", "Rate exceeded"), 3, Kind::Throttled, Throttled, false),
        (error(503, "RequestLimitExceeded", "Slow"), 3, Kind::Throttled, Throttled, false),
        (error(400, "RateExceeded", "Rate exceeded"), 3, Kind::Throttled, Throttled, false),
        (html(429), 1, Kind::Throttled, Throttled, false),
        (error(500, "ResourceContention", "pending update"), 3, Kind::Contention, Transient, false),
        (error(400, "ScalingActivityInProgress", "wait"), 1, Kind::ActivityInProgress, Transient, false),
        (error(400, "ValidationError", above), 1, Kind::Validation, Permanent, false),
        (error(400, "ValidationError", MISSING), 1, Kind::NotFound, Permanent, false),
        (error(403, "AccessDenied", "not authorized to perform"), 1, Kind::AccessDenied, Permanent, false),
        (html(403), 1, Kind::AccessDenied, Permanent, false),
        (error(403, "ExpiredToken", "expired"), 1, Kind::Credentials, Permanent, false),
        (error(403, "InvalidClientTokenId", "unknown"), 1, Kind::Credentials, Permanent, false),
        (error(403, "SignatureDoesNotMatch", "wrong"), 1, Kind::Credentials, Permanent, false),
        (html(500), 3, Kind::NoCode, Transient, true),
        (html(404), 1, Kind::NoCode, Transient, false),
        (error(500, "InternalFailure", "sorry"), 3, Kind::Other, Transient, true),
        (error(400, "Unheard", "of"), 1, Kind::Other, Permanent, false),
    ];
    let rows = rows.map(|(reply, attempts, kind, class, unknown)| async move {
        let said = reply.clone();
        let fake = Fake::start(move |_| reply.clone()).await;
        let error = fake.target().await.set_desired_capacity("web", Capacity::new(3)).await.unwrap_err();
        let seen = (fake.requests("SetDesiredCapacity").len(), error.kind(), error.class(), error.outcome_unknown());
        assert_eq!(seen, (attempts, kind, class, unknown), "{said:?}: {error}");
    });
    for row in join_all(rows.map(tokio::spawn)).await {
        row.unwrap();
    }
}

#[tokio::test]
async fn an_error_says_which_call_failed_and_what_aws_said() {
    let above = "New SetDesiredCapacity value 11 is above max value 10 for the AutoScalingGroup.";
    let fake = Fake::start(move |_| error(400, "ValidationError", above)).await;
    let error = fake.target().await.set_desired_capacity("web", Capacity::new(11)).await.unwrap_err();
    let expected = format!("SetDesiredCapacity: the request is not valid (ValidationError: {above})");
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_call_that_gets_no_answer_ends_at_its_deadline_and_may_have_taken_effect() {
    let fake = Fake::start(|_| Reply::Never).await;
    let target = target(&fake.url, Duration::from_millis(300)).await;
    let error = target.set_desired_capacity("web", Capacity::new(3)).await.unwrap_err();
    assert_eq!((error.kind(), error.class()), (ErrorKind::Timeout, ErrorClass::Transient));
    assert!(error.outcome_unknown());
}

#[tokio::test]
async fn an_attempt_that_hangs_is_given_up_for_another() {
    let hung = AtomicBool::new(false);
    let fake =
        Fake::start(move |request| if hung.swap(true, Ordering::Relaxed) { nothing(request) } else { Reply::Never })
            .await;
    fake.target().await.set_desired_capacity("web", Capacity::new(3)).await.unwrap();
    assert_eq!(fake.requests("SetDesiredCapacity").len(), 2);
}

#[tokio::test]
async fn a_refused_connection_is_known_to_have_had_no_effect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for url in [url.as_str(), "http://nowhere.invalid"] {
        let target = target(url, Duration::from_secs(5)).await;
        let error = target.set_desired_capacity("web", Capacity::new(3)).await.unwrap_err();
        let seen = (error.kind(), error.class(), error.outcome_unknown());
        assert_eq!(seen, (ErrorKind::Unreachable, ErrorClass::Transient, false), "{url}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_may_have_taken_effect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_ne!(stream.read(&mut [0; 16_384]).await.unwrap(), 0);
        }
    });
    let target = target(&url, Duration::from_secs(5)).await;
    let error = target.set_desired_capacity("web", Capacity::new(3)).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Unreachable, true));
}

#[tokio::test]
async fn garbage_is_no_group() {
    let asked = Request::from([("AutoScalingGroupNames.member.1".to_owned(), "web".to_owned())]);
    let Reply::Now(_, cut) = all_groups(&asked) else { panic!("always answers") };
    let bodies = [
        "",
        "<html>hello</html>",
        "not even <xml",
        &cut[..cut.len() / 2],
        &cut.replace("<DesiredCapacity>2", "<DesiredCapacity>two"),
        &cut.replace("<DesiredCapacity>2", "<DesiredCapacity>-2"),
        // The SDK takes what lost its end for what it began with, and gives an empty text for what is missing.
        &cut.replacen("<InstanceId>i-1</InstanceId>", "<Instance>", 1),
        &cut.replacen("<LifecycleState>InService</LifecycleState>", "", 1),
    ]
    .map(str::to_owned);
    for body in bodies {
        let said = body.clone();
        let fake = Fake::start(move |_| Reply::Now(200, body.clone())).await;
        let error = describe_one(&fake.target().await, 0).await.unwrap_err();
        assert_eq!((error.kind(), error.class()), (ErrorKind::NoCode, ErrorClass::Transient), "{said}: {error}");
    }
}

#[tokio::test]
async fn a_group_is_read_in_full() {
    let fake = Fake::start(|request| match &*request["Action"] {
        "DescribeAutoScalingGroups" => {
            let weighted = |id: &str, state, weight: u32, health| {
                let weight = format!("</AvailabilityZone><WeightedCapacity>{weight}</WeightedCapacity>");
                instance(id, state).replace("</AvailabilityZone>", &weight).replace("Healthy", health)
            };
            let mut more = "<DefaultInstanceWarmup>90</DefaultInstanceWarmup><SuspendedProcesses><member><ProcessName>
                Terminate</ProcessName></member></SuspendedProcesses><Instances>"
                .replace("\n                ", "");
            let states = ["InService", "Pending:Wait", "Terminating:Wait", "Standby", "Warmed:Stopped", "Levitating"];
            for (n, state) in states.iter().enumerate() {
                let health = if n == 0 { "Unhealthy" } else { "Healthy" };
                more += &weighted(&format!("i-{n}"), state, 2, health);
            }
            groups(&group("web", 4, &(more + "</Instances>")), None)
        }
        _ => nothing(request),
    })
    .await;
    let group = describe_one(&fake.target().await, 0).await.unwrap();
    assert_eq!((group.min.get(), group.max.get()), (0, 999));
    assert_eq!(group.default_warm_up, Some(Duration::from_secs(90)));
    assert_eq!(group.suspended, Suspended { launch: false, terminate: true });
    let status = group.status(None, at(0));
    let counts = [status.desired, status.in_service, status.pending, status.healthy].map(Capacity::get);
    assert_eq!(counts, [4, 2, 2, 0]);
    assert_eq!(group.instances.len(), 6);
}

#[tokio::test]
async fn a_hundred_names_make_one_call_and_every_name_is_answered() {
    let fake = Fake::start(|request| match &*request["Action"] {
        "DescribeAutoScalingGroups" => {
            let found: String = names(request).iter().filter(|n| *n != "g7").map(|n| group(n, 0, "")).collect();
            groups(&(found + &group("not-asked-for", 1, "")), None)
        }
        _ => nothing(request),
    })
    .await;
    let asked: Vec<Arc<str>> = (0..250).map(|n| format!("g{n}").into()).collect();
    let described = fake.target().await.describe(&asked, at(0)).await;
    assert_eq!(described.len(), 250);
    let failed: Vec<_> = described.iter().filter_map(|(name, group)| Some((&**name, group.as_ref().err()?))).collect();
    assert_eq!(
        failed.iter().map(|(name, error)| (*name, error.kind())).collect::<Vec<_>>(),
        [("g7", ErrorKind::NotFound)]
    );
    let calls = fake.requests("DescribeAutoScalingGroups");
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| names(call).len() <= 100 && call["MaxRecords"] == "100"));
}

#[tokio::test]
async fn a_failed_call_concerns_only_its_own_names() {
    let fake = Fake::start(|request| {
        let asked = names(request);
        match &*request["Action"] {
            "DescribeAutoScalingGroups" if asked.contains(&"g0".to_owned()) => error(403, "AccessDenied", "no"),
            "DescribeAutoScalingGroups" => all_groups(request),
            _ => nothing(request),
        }
    })
    .await;
    let asked: Vec<Arc<str>> = (0..150).map(|n| format!("g{n}").into()).collect();
    let described = fake.target().await.describe(&asked, at(0)).await;
    assert_eq!(described.values().filter(|group| group.is_ok()).count(), 50);
    assert!(described["g15"].is_err());
    assert!(described["g120"].is_ok());
}

#[tokio::test]
async fn short_pages_are_followed_and_pages_without_end_are_not() {
    let fake = Fake::start(|request| match request.get("NextToken").map(String::as_str) {
        None => groups(&group("a", 1, ""), Some("1")),
        Some("1") => groups("", Some("2")),
        Some(_) => groups(&group("b", 2, ""), None),
    })
    .await;
    let described = fake.target().await.describe(&arcs(&["a", "b"]), at(0)).await;
    assert_eq!(described["a"].as_ref().unwrap().desired.get(), 1);
    assert_eq!(described["b"].as_ref().unwrap().desired.get(), 2);

    let fake = Fake::start(|request| {
        let page: u32 = request.get("NextToken").map_or(0, |token| token.parse().unwrap());
        groups(&group("web", 1, ""), Some(&(page + 1).to_string()))
    })
    .await;
    let described = fake.target().await.describe(&arcs(&["web", "gone"]), at(0)).await;
    assert!(described["web"].is_ok());
    assert_eq!(described["gone"].as_ref().unwrap_err().kind(), ErrorKind::NoCode);
    assert_eq!(fake.requests("DescribeAutoScalingGroups").len(), 300);
}

/// A group whose description, activities and refreshes the test changes as it goes.
#[derive(Clone, Default)]
struct Scene(Arc<Mutex<(u32, String, String, String)>>);

impl Scene {
    async fn start() -> (Self, Fake) {
        let scene = Self::default();
        let told = scene.clone();
        let fake = Fake::start(move |request| {
            let (desired, instances, activities, refreshes) = told.0.lock().unwrap().clone();
            match &*request["Action"] {
                "DescribeAutoScalingGroups" => {
                    groups(&group("web", desired, &format!("<Instances>{instances}</Instances>")), None)
                }
                action @ "DescribeScalingActivities" if !activities.starts_with('!') => {
                    result(action, &format!("<Activities>{activities}</Activities>"))
                }
                action @ "DescribeInstanceRefreshes" if !refreshes.starts_with('!') => {
                    result(action, &format!("<InstanceRefreshes>{refreshes}</InstanceRefreshes>"))
                }
                _ => Reply::Now(500, "<!doctype html>".to_owned()),
            }
        })
        .await;
        (scene, fake)
    }

    fn group(&self, desired: u32, instances: &[(&str, &str)]) {
        let mut scene = self.0.lock().unwrap();
        scene.0 = desired;
        scene.1 = instances.iter().map(|(id, state)| instance(id, state)).collect();
    }

    /// `None` fails.
    fn activities(&self, activities: Option<&[(&str, &str, i64)]>) {
        let mut text = if activities.is_none() { "!".to_owned() } else { String::new() };
        for (description, status, end) in activities.unwrap_or_default() {
            let end = at(*end);
            let _ = write!(
                text,
                "<member><ActivityId>a</ActivityId><AutoScalingGroupName>web</AutoScalingGroupName><Cause>c</Cause>
                <Description>{description}</Description><StatusCode>{status}</StatusCode>
                <StatusMessage>We currently do not have sufficient m5.large capacity</StatusMessage>
                <StartTime>{end}</StartTime><EndTime>{end}</EndTime></member>"
            );
        }
        self.0.lock().unwrap().2 = text;
    }

    /// `None` fails.
    fn refreshes(&self, states: Option<&[&str]>) {
        let member = |state: &&str| format!("<member><Status>{state}</Status></member>");
        self.0.lock().unwrap().3 = states.map_or("!".to_owned(), |states| states.iter().map(member).collect());
    }
}

fn since(group: &Group) -> HashMap<&str, Option<i64>> {
    group.instances.iter().map(|i| (&*i.id, i.in_service_since.map(Timestamp::as_second))).collect()
}

#[tokio::test]
async fn the_age_of_an_instance_is_from_its_activity_or_from_when_it_was_first_seen() {
    let (scene, fake) = Scene::start().await;
    let target = fake.target().await;
    scene.group(2, &[("i-old", "InService"), ("i-told", "InService")]);
    scene.activities(Some(&[("Launching a new EC2 instance: i-told", "Successful", 950)]));
    let expected = HashMap::from([("i-old", None), ("i-told", Some(950))]);
    assert_eq!(since(&describe_one(&target, 1000).await.unwrap()), expected);

    scene.activities(None);
    scene.group(3, &[("i-old", "InService"), ("i-new", "Pending"), ("i-seen", "InService")]);
    let expected = HashMap::from([("i-old", None), ("i-new", None), ("i-seen", Some(1015))]);
    assert_eq!(since(&describe_one(&target, 1015).await.unwrap()), expected);

    scene.group(3, &[("i-new", "InService"), ("i-seen", "InService"), ("i-told", "InService")]);
    let expected = HashMap::from([("i-new", Some(1030)), ("i-seen", Some(1015)), ("i-told", Some(1030))]);
    assert_eq!(since(&describe_one(&target, 1030).await.unwrap()), expected);
}

#[tokio::test]
async fn activities_are_read_only_of_a_group_that_is_new_or_launching() {
    let (scene, fake) = Scene::start().await;
    let target = fake.target().await;
    let calls = async |now, expected| {
        describe_one(&target, now).await.unwrap();
        assert_eq!(fake.requests("DescribeScalingActivities").len(), expected, "at {now}");
    };
    scene.group(1, &[("i-1", "InService")]);
    calls(0, 1).await;
    calls(15, 1).await;
    scene.group(2, &[("i-1", "InService")]);
    calls(30, 2).await;
    scene.group(2, &[("i-1", "InService"), ("i-2", "Pending")]);
    calls(45, 3).await;
    scene.group(2, &[("i-1", "InService"), ("i-2", "InService")]);
    calls(60, 3).await;
    scene.activities(None);
    scene.group(3, &[("i-1", "InService")]);
    calls(75, 4).await;
    calls(90, 4).await;
    calls(135, 5).await;
}

#[tokio::test]
async fn launches_fail_while_the_newest_failed_and_the_group_is_short() {
    let (scene, fake) = Scene::start().await;
    let target = fake.target().await;
    let failure = async |now| describe_one(&target, now).await.unwrap().launch_failure;
    let failed = Some(LaunchFailure { at: at(1000), insufficient_capacity: true });
    scene.group(2, &[("i-1", "InService")]);
    scene.activities(Some(&[("Launching a new EC2 instance.  Status Reason: none left", "Failed", 1000)]));
    assert_eq!(failure(1010).await, failed);
    scene.activities(None);
    assert_eq!(failure(1025).await, failed, "a failed look leaves what was known");
    scene.group(2, &[("i-1", "InService"), ("i-2", "Pending")]);
    assert_eq!(failure(1040).await, None, "the group is not short");
    scene.group(3, &[("i-1", "InService"), ("i-2", "InService")]);
    scene.activities(Some(&[
        ("Launching a new EC2 instance: i-2", "Successful", 1050),
        ("Launching a new EC2 instance", "Failed", 1000),
    ]));
    assert_eq!(failure(1100).await, None, "a later launch succeeded");
}

#[tokio::test]
async fn a_refresh_that_cannot_be_ruled_out_counts_as_running() {
    let (scene, fake) = Scene::start().await;
    let target = fake.target().await;
    scene.group(1, &[("i-1", "InService")]);
    let refreshing = async |now| describe_one(&target, now).await.unwrap().refreshing;
    scene.refreshes(None);
    assert!(refreshing(0).await);
    scene.refreshes(Some(&["Successful", "Cancelled", "Failed", "RollbackSuccessful", "RollbackFailed"]));
    assert!(refreshing(15).await, "a failed look rests for a minute");
    assert_eq!(fake.requests("DescribeInstanceRefreshes").len(), 1);
    assert!(!refreshing(60).await);
    scene.refreshes(None);
    assert!(!refreshing(120).await, "an idle group is asked again after ten minutes");
    assert_eq!(target.refreshing("web").await.unwrap_err().kind(), ErrorKind::NoCode);
    assert!(refreshing(121).await, "later descriptions remember the answer");
    for state in ["Pending", "InProgress", "Cancelling", "RollbackInProgress", "Baking", "Somersaulting"] {
        scene.refreshes(Some(&["Successful", state]));
        assert!(target.refreshing("web").await.unwrap(), "{state}");
    }
    scene.refreshes(Some(&[]));
    assert!(!target.refreshing("web").await.unwrap());
    assert!(!refreshing(122).await);
}

#[tokio::test]
async fn a_group_that_was_made_anew_is_new() {
    let there = Arc::new(Mutex::new(true));
    let exists = Arc::clone(&there);
    let fake = Fake::start(move |request| match &*request["Action"] {
        "DescribeAutoScalingGroups" if *exists.lock().unwrap() => all_groups(request),
        "DescribeAutoScalingGroups" => groups("", None),
        _ => nothing(request),
    })
    .await;
    let target = fake.target().await;
    target.preflight(&arcs(&["web"]), at(0)).await;
    assert_eq!(describe_one(&target, 0).await.unwrap().rivals, Rivals::None);
    *there.lock().unwrap() = false;
    assert_eq!(describe_one(&target, 15).await.unwrap_err().kind(), ErrorKind::NotFound);
    *there.lock().unwrap() = true;
    assert_eq!(describe_one(&target, 30).await.unwrap().rivals, Rivals::Unknown);
    assert_eq!(fake.requests("DescribeScalingActivities").len(), 2);
}

fn policy(group: &str, kind: &str, more: &str) -> String {
    format!(
        "<member><AutoScalingGroupName>{group}</AutoScalingGroupName><PolicyName>p</PolicyName>
        <PolicyType>{kind}</PolicyType>{more}</member>"
    )
}

fn forecast(mode: &str) -> String {
    format!(
        "<PredictiveScalingConfiguration><MetricSpecifications/><Mode>{mode}</Mode></PredictiveScalingConfiguration>"
    )
}

async fn check_rivals(policies: String, schedules: String, more: &'static str, expected: Rivals) {
    let said = format!("{policies} {schedules} {more}");
    let fake = Fake::start(move |request| match &*request["Action"] {
        "DescribeAutoScalingGroups" => groups(&group("web", 0, more), None),
        action @ "DescribePolicies" => result(action, &format!("<ScalingPolicies>{policies}</ScalingPolicies>")),
        action @ "DescribeScheduledActions" => {
            result(action, &format!("<ScheduledUpdateGroupActions>{schedules}</ScheduledUpdateGroupActions>"))
        }
        _ => nothing(request),
    })
    .await;
    let target = fake.target().await;
    let before = describe_one(&target, 0).await.unwrap().rivals;
    assert_eq!(before, if expected == Rivals::Operator { expected } else { Rivals::Unknown }, "{said}");
    let found = target.preflight(&arcs(&["web"]), at(1_000_000)).await;
    assert_eq!(*found["web"].as_ref().unwrap(), expected, "{said}");
    assert_eq!(describe_one(&target, 0).await.unwrap().rivals, expected, "{said}");
}

#[tokio::test]
async fn everything_that_would_fight_with_us_is_found() {
    let none = String::new;
    let of = |kind| policy("web", kind, "");
    let switched_off = |kind| policy("web", kind, "<Enabled>false</Enabled>");
    let action = |more: &str| {
        format!(
            "<member><AutoScalingGroupName>web</AutoScalingGroupName><ScheduledActionName>s</ScheduledActionName>{more}</member>"
        )
    };
    let no_alarms =
        "<SuspendedProcesses><member><ProcessName>AlarmNotification</ProcessName></member></SuspendedProcesses>";
    let no_schedules =
        "<SuspendedProcesses><member><ProcessName>ScheduledActions</ProcessName></member></SuspendedProcesses>";
    let operator = "<Operator><Principal>eks.amazonaws.com</Principal></Operator>";
    let over = "<EndTime>1970-01-02T00:00:00Z</EndTime>";
    for kind in ["TargetTrackingScaling", "StepScaling", "SimpleScaling", "SomethingNew"] {
        check_rivals(of(kind), none(), "", Rivals::ScalingPolicy).await;
        check_rivals(switched_off(kind), none(), "", Rivals::None).await;
        check_rivals(of(kind), none(), no_alarms, Rivals::None).await;
    }
    let predictive = |mode| policy("web", "PredictiveScaling", &forecast(mode));
    check_rivals(predictive("ForecastAndScale"), none(), no_alarms, Rivals::ScalingPolicy).await;
    check_rivals(predictive("ForecastOnly"), none(), "", Rivals::None).await;
    check_rivals(none(), action(""), "", Rivals::ScheduledAction).await;
    check_rivals(none(), action(""), no_schedules, Rivals::None).await;
    check_rivals(none(), action(over), "", Rivals::None).await;
    check_rivals(of("StepScaling"), action(""), operator, Rivals::Operator).await;
    check_rivals(policy("other", "StepScaling", ""), none(), "", Rivals::None).await;
}

#[tokio::test]
async fn a_failed_preflight_leaves_what_was_known() {
    let denied = Arc::new(Mutex::new(true));
    let gate = Arc::clone(&denied);
    let fake = Fake::start(move |request| match &*request["Action"] {
        "DescribeAutoScalingGroups" => groups(&group("web", 0, ""), None),
        "DescribePolicies" if *gate.lock().unwrap() => error(403, "AccessDenied", "no"),
        _ => nothing(request),
    })
    .await;
    let target = fake.target().await;
    let preflight =
        async || target.preflight(&arcs(&["web"]), at(0)).await.remove("web").unwrap().map_err(|e| e.kind());
    assert_eq!(preflight().await, Err(ErrorKind::AccessDenied));
    assert_eq!(describe_one(&target, 0).await.unwrap().rivals, Rivals::Unknown);
    *denied.lock().unwrap() = false;
    assert_eq!(preflight().await, Ok(Rivals::None));
    *denied.lock().unwrap() = true;
    assert_eq!(preflight().await, Err(ErrorKind::AccessDenied));
    assert_eq!(describe_one(&target, 0).await.unwrap().rivals, Rivals::None);
}

#[tokio::test]
async fn a_preflight_of_many_groups_lists_the_region() {
    let fake = Fake::start(|request| match (&*request["Action"], request.get("NextToken")) {
        ("DescribeAutoScalingGroups", _) => all_groups(request),
        (action @ "DescribePolicies", None) => {
            let page = policy("g3", "StepScaling", "");
            result(action, &format!("<ScalingPolicies>{page}</ScalingPolicies><NextToken>2</NextToken>"))
        }
        (action @ "DescribePolicies", _) => {
            let page = policy("g4", "StepScaling", "");
            result(action, &format!("<ScalingPolicies>{page}</ScalingPolicies>"))
        }
        _ => nothing(request),
    })
    .await;
    let asked: Vec<Arc<str>> = (0..200).map(|n| format!("g{n}").into()).collect();
    let found = fake.target().await.preflight(&asked, at(0)).await;
    let rivals = |name| found.iter().filter(|(_, r)| r.as_ref().is_ok_and(|r| *r == name)).count();
    assert_eq!((rivals(Rivals::ScalingPolicy), rivals(Rivals::None)), (2, 198));
    assert_eq!(fake.requests("DescribePolicies").len(), 2);
    assert_eq!(fake.requests("DescribeScheduledActions").len(), 1);
}

#[tokio::test]
async fn the_capacity_is_set_whatever_the_cooldown_of_the_group() {
    let fake = Fake::start(nothing).await;
    fake.target().await.set_desired_capacity("web", Capacity::new(7)).await.unwrap();
    let request = fake.requests("SetDesiredCapacity").remove(0);
    let sent = ["AutoScalingGroupName", "DesiredCapacity", "HonorCooldown"].map(|key| &*request[key]);
    assert_eq!(sent, ["web", "7", "false"]);
    assert!(request["Authorization"].contains("/eu-central-1/autoscaling/"));
}

#[test]
fn a_call_may_be_spawned() {
    fn check(_: impl Future + Send) {}
    let settings = settings("http://127.0.0.1:9", Duration::from_secs(1));
    check(async move {
        let target = AutoScaling::connect(&settings, None, None).await?;
        target.describe(&[], Timestamp::MIN).await;
        target.preflight(&[], Timestamp::MIN).await;
        target.refreshing("web").await
    });
}

/// Runs the test again in a process with only these variables, and says whether this is that process.
async fn apart(test: &str, variables: &[(&str, &str)]) -> bool {
    const APART: &str = "SETPOINT_TEST_APART";
    if std::env::var_os(APART).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env_clear().env(APART, "1").envs(variables.iter().copied());
    assert!(command.status().await.unwrap().success());
    false
}

#[tokio::test]
async fn without_a_region_there_is_no_target() {
    let test = "without_a_region_there_is_no_target";
    if apart(test, &[("HOME", "/nonexistent")]).await {
        let settings = Settings { region: None, ..settings("http://127.0.0.1:9", Duration::from_secs(1)) };
        let error = AutoScaling::connect(&settings, None, None).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Validation);
        assert!(error.to_string().contains("aws.region"), "{error}");
        assert!(AutoScaling::connect(&settings, Some("eu-west-1"), None).await.is_ok());
    }
}

#[tokio::test]
async fn without_credentials_every_call_says_so() {
    let test = "without_credentials_every_call_says_so";
    if apart(test, &[("HOME", "/nonexistent"), ("AWS_EC2_METADATA_DISABLED", "true")]).await {
        let settings = settings("http://127.0.0.1:9", Duration::from_secs(5));
        let profile = Settings { profile: Some("nobody".to_owned()), ..settings.clone() };
        for settings in [settings, profile] {
            let target = AutoScaling::connect(&settings, None, None).await.unwrap();
            let error = target.set_desired_capacity("web", Capacity::new(1)).await.unwrap_err();
            assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Credentials, false), "{error:?}");
        }
    }
}

/// The server that a process apart talks to.
const SERVER: &str = "AWS_ENDPOINT_URL_STS";

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id() {
    let fake = Fake::start(|request| match &*request["Action"] {
        "AssumeRole" if request.get("ExternalId").is_some_and(|id| id == "stranger") => {
            error(403, "AccessDenied", "no")
        }
        action @ "AssumeRole" => result(
            action,
            "<Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
            <SessionToken>t</SessionToken><Expiration>2100-01-01T00:00:00Z</Expiration></Credentials>",
        ),
        _ => nothing(request),
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config");
    std::fs::write(
        &config,
        "[profile ops]\nregion = eu-north-1\naws_access_key_id = AKIAOPS\naws_secret_access_key = s\n",
    )
    .unwrap();
    let variables = [(SERVER, &*fake.url), ("AWS_CONFIG_FILE", config.to_str().unwrap())];
    if !apart("a_role_is_assumed_with_its_external_id", &variables).await {
        let assumed = fake.requests("AssumeRole").remove(0);
        let sent = ["RoleArn", "RoleSessionName", "ExternalId"].map(|key| &*assumed[key]);
        assert_eq!(sent, ["arn:aws:iam::1:role/scaler", "setpoint", "x-1"]);
        assert!(assumed["Authorization"].contains("AKIAOPS/"));
        let signature = &fake.requests("SetDesiredCapacity")[0]["Authorization"];
        assert!(signature.contains("ASIAROLE/") && signature.contains("/eu-north-1/"), "{signature}");
        return;
    }
    let server = std::env::var(SERVER).unwrap();
    let arn = "arn:aws:iam::1:role/scaler".to_owned();
    let settings = |id: &str| Settings {
        region: None,
        profile: Some("ops".to_owned()),
        assume_role: Some(AssumeRole { arn: arn.clone(), external_id: Some(id.to_owned()) }),
        ..settings(&server, Duration::from_secs(5))
    };
    let target = AutoScaling::connect(&settings("x-1"), None, None).await.unwrap();
    target.set_desired_capacity("web", Capacity::new(1)).await.unwrap();
    let stranger = AutoScaling::connect(&settings("stranger"), None, None).await.unwrap();
    let error = stranger.set_desired_capacity("web", Capacity::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Credentials, false), "{error:?}");
}
