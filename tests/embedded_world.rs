//! The embedded world answers the unmodified clients: reqwest for Prometheus, the AWS SDK for Auto Scaling.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::retry::RetryConfig;
use aws_sdk_autoscaling::config::timeout::TimeoutConfig;
use aws_sdk_autoscaling::config::{BehaviorVersion, Region};
use aws_sdk_autoscaling::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_autoscaling::operation::set_desired_capacity::SetDesiredCapacityError;
use aws_sdk_autoscaling::types::{Filter, LifecycleState, ScalingActivityStatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use setpoint::clock::Clock;
use setpoint::policy::Capacity;
use setpoint::simulation::activity::{InstanceRefresh, ScalingPolicy};
use setpoint::simulation::group::{GroupSettings, TERMINATING};
use setpoint::simulation::world::TICKET_SALE_GROUP;
use setpoint::simulation::{AutoScalingFault, Fault, LaunchFault, PrometheusFault, Workload, World, WorldServer};
use setpoint::target::{AutoScaling, Settings};

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// A world whose clock hardly moves by itself: tests move it with [`pass`].
async fn served(world: World) -> WorldServer {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seconds_later = world.now();
    WorldServer::start(world, Clock::accelerated(seconds_later, 1e-6)).await.unwrap()
}

/// One group on four instances under a load of 0.9.
fn web() -> World {
    World::new(1, start()).with_fleet(settings("web"), Workload::constant(720.0))
}

fn settings(name: &str) -> GroupSettings {
    GroupSettings {
        name: name.to_owned(),
        min: Capacity::new(2),
        max: Capacity::new(10),
        desired: Capacity::new(4),
        boot: Duration::from_mins(1),
    }
}

fn pass(server: &WorldServer, seconds: u64) {
    server.with(|world| world.advance(world.now().checked_add(Duration::from_secs(seconds)).unwrap()));
}

async fn get(server: &WorldServer, path: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}{path}", server.prometheus_url);
    let answer = reqwest::Client::new().get(url).query(parameters).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn post(server: &WorldServer, query: &str) -> (u16, Value) {
    let url = format!("{}/api/v1/query", server.prometheus_url);
    let answer = reqwest::Client::new().post(url).form(&[("query", query)]).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn number(answer: &Value) -> f64 {
    answer["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap()
}

fn client(server: &WorldServer) -> Client {
    let config = aws_sdk_autoscaling::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(&server.auto_scaling_url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("embedded", "world", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(Duration::from_secs(5)).build());
    Client::from_conf(config.build())
}

async fn set(server: &WorldServer, group: &str, desired: i32) -> Result<(), SdkError<SetDesiredCapacityError>> {
    let call = client(server).set_desired_capacity().auto_scaling_group_name(group).desired_capacity(desired);
    call.honor_cooldown(false).send().await.map(drop)
}

async fn check_refused(server: &WorldServer, group: &str, desired: i32, code: &str, message: &str) {
    let error = set(server, group, desired).await.unwrap_err();
    assert_eq!(error.code(), Some(code), "{error:?}");
    assert!(error.message().unwrap().starts_with(message), "{error:?}");
}

#[tokio::test]
async fn the_activities_tell_how_many_instances_there_were() {
    let server = served(web()).await;
    let mut seen = Vec::new();
    for desired in [4, 7, 9, 3, 6] {
        set(&server, "web", desired).await.unwrap();
        for _ in 0..20 {
            pass(&server, 13);
            let now = server.with(|world| world.now());
            seen.push((now, client_in_service(&server).await));
        }
    }
    let aws = Settings {
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(server.auto_scaling_url.clone()),
        profile: None,
        assume_role: None,
        timeout: Duration::from_secs(20),
    };
    let target = AutoScaling::connect(&aws, None, Some(Credentials::from_keys("a", "b", None))).await.unwrap();
    let past = target.past(&"web".into(), start(), server.with(|world| world.now())).await.unwrap();
    for (at, count) in seen {
        assert_eq!(past.in_service(at), Some(count), "{at}");
    }
    assert_eq!((past.in_service(start()), past.launches()), (Some(4), 8));
    assert_eq!(past.boot(), Some(Duration::from_mins(1)));
}

async fn client_in_service(server: &WorldServer) -> u32 {
    let call = client(server).describe_auto_scaling_groups().auto_scaling_group_names("web");
    let answer = call.send().await.unwrap();
    let instances = answer.auto_scaling_groups()[0].instances();
    let serving = instances.iter().filter(|one| one.lifecycle_state() == Some(&LifecycleState::InService));
    u32::try_from(serving.count()).unwrap()
}

#[tokio::test]
async fn an_instant_query_has_the_shape_of_prometheus() {
    let server = served(web()).await;
    pass(&server, 60);
    let (status, answer) = get(&server, "/api/v1/query", &[("query", "avg(instance_cpu_ratio{asg=\"web\"})")]).await;
    assert_eq!((status, &answer["status"], &answer["data"]["resultType"]), (200, &json!("success"), &json!("vector")));
    assert_eq!(answer["data"]["result"][0]["metric"], json!({}));
    assert!((number(&answer) - 0.9).abs() < 0.02, "{answer}");
    let at = answer["data"]["result"][0]["value"][0].as_f64().unwrap();
    assert!((at - 1_800_000_060.0).abs() < 1.0, "{at}");
    assert_eq!(post(&server, "avg(instance_cpu_ratio{asg=\"web\"})").await.1["status"], "success");
}

#[tokio::test]
async fn every_metric_of_the_world_can_be_queried() {
    let server = served(web()).await;
    pass(&server, 120);
    for (query, expected, tolerance) in [
        ("sum(http_requests_per_second{asg=\"web\"})", 720.0, 30.0),
        ("sum(rate(http_requests_total{asg=\"web\"}[1m]))", 720.0, 20.0),
        ("count(instance_cpu_ratio)", 4.0, 0.0),
        ("http_request_p99_seconds", 0.45, 0.15),
        ("histogram_quantile(0.5, sum by (le) (rate(http_request_duration_seconds_bucket[1m])))", 0.06, 0.03),
    ] {
        let (_, answer) = post(&server, query).await;
        assert!((number(&answer) - expected).abs() <= tolerance, "{query}: {answer}");
    }
}

#[tokio::test]
async fn other_types_and_errors_have_the_shapes_of_prometheus() {
    let server = served(web()).await;
    pass(&server, 60);
    let (_, scalar) = get(&server, "/api/v1/query", &[("query", "1 / 0"), ("time", "1800000030.5")]).await;
    assert_eq!(scalar["data"], json!({ "resultType": "scalar", "result": [1_800_000_030.5, "+Inf"] }));
    let range =
        [("query", "count(instance_cpu_ratio)"), ("start", "1800000010"), ("end", "1800000060"), ("step", "10s")];
    let (_, matrix) = get(&server, "/api/v1/query_range", &range).await;
    assert_eq!(matrix["data"]["result"][0]["values"].as_array().unwrap().len(), 6, "{matrix}");
    let (status, wrong) = get(&server, "/api/v1/query", &[("query", "sum(")]).await;
    assert_eq!((status, &wrong["status"], &wrong["errorType"]), (400, &json!("error"), &json!("bad_data")));
    let (status, missing) = get(&server, "/api/v1/query", &[]).await;
    assert_eq!((status, &missing["errorType"]), (400, &json!("bad_data")));
    let (status, unknown) = get(&server, "/api/v1/query", &[("query", "deriv(x[5m])")]).await;
    assert_eq!((status, &unknown["errorType"]), (422, &json!("execution")));
    let too_fine = [("query", "1"), ("start", "0"), ("end", "1800000060"), ("step", "1")];
    assert_eq!(get(&server, "/api/v1/query_range", &too_fine).await.0, 400);
    let (status, built) = get(&server, "/api/v1/status/buildinfo", &[]).await;
    assert_eq!((status, &built["data"]["version"]), (200, &json!("2.42.0")));
    let ready = reqwest::get(format!("{}/-/ready", server.prometheus_url)).await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
}

#[tokio::test]
async fn faults_of_prometheus_are_switched_while_it_runs() {
    let server = served(web()).await;
    pass(&server, 60);
    let switch = |kind| server.with(|world| world.faults.prometheus = Some(Fault::everywhere(kind)));
    let url = format!("{}/api/v1/query?query=avg(instance_cpu_ratio)", server.prometheus_url);
    switch(PrometheusFault::Unavailable);
    assert_eq!(reqwest::get(&url).await.unwrap().status().as_u16(), 503);
    switch(PrometheusFault::Disconnected);
    let broken = async { reqwest::get(&url).await?.bytes().await };
    assert!(broken.await.is_err());
    switch(PrometheusFault::Malformed);
    assert!(reqwest::get(&url).await.unwrap().json::<Value>().await.is_err());
    switch(PrometheusFault::Empty);
    assert_eq!(post(&server, "avg(instance_cpu_ratio)").await.1["data"]["result"], json!([]));
    switch(PrometheusFault::NotANumber);
    assert!(number(&post(&server, "avg(instance_cpu_ratio)").await.1).is_nan());
    switch(PrometheusFault::TwoSeries);
    assert_eq!(post(&server, "avg(instance_cpu_ratio)").await.1["data"]["result"].as_array().unwrap().len(), 2);
    switch(PrometheusFault::Slow(Duration::from_millis(300)));
    let impatient = reqwest::Client::builder().timeout(Duration::from_millis(50)).build().unwrap();
    assert!(impatient.get(&url).send().await.unwrap_err().is_timeout());
    server.with(|world| world.faults.prometheus = Some(Fault::only(PrometheusFault::Empty, "p99")));
    assert_eq!(post(&server, "avg(http_request_p99_seconds)").await.1["data"]["result"], json!([]));
    assert!(number(&post(&server, "avg(instance_cpu_ratio)").await.1) > 0.8);
}

#[tokio::test]
async fn frozen_samples_show_their_age() {
    let server = served(web()).await;
    pass(&server, 56);
    server.with(|world| world.faults.frozen_samples = true);
    pass(&server, 100);
    let age = "time() - max(timestamp(instance_cpu_ratio))";
    assert!((number(&post(&server, age).await.1) - 100.0).abs() < 1.0);
    pass(&server, 250);
    assert_eq!(post(&server, age).await.1["data"]["result"], json!([]));
}

#[tokio::test]
async fn a_group_scales_out_and_in_before_the_sdk() {
    let server = served(web()).await;
    set(&server, "web", 6).await.unwrap();
    pass(&server, 2);
    assert_eq!(lifecycle(&server).await, (6, 4, 2, 0));
    let activities = client(&server).describe_scaling_activities().auto_scaling_group_name("web").send().await.unwrap();
    let newest = &activities.activities()[0];
    assert_eq!(newest.status_code(), Some(&ScalingActivityStatusCode::PreInService));
    assert!(newest.cause().unwrap().contains("changing the desired capacity from 4 to 6"));
    pass(&server, 60);
    assert_eq!(lifecycle(&server).await, (6, 6, 0, 0));
    set(&server, "web", 3).await.unwrap();
    pass(&server, 1);
    assert_eq!(lifecycle(&server).await, (3, 3, 0, 3));
    pass(&server, TERMINATING.as_secs());
    assert_eq!(lifecycle(&server).await, (3, 3, 0, 0));
    let asked: Vec<_> = server.with(|world| world.calls().map(|call| call.desired.get()).collect());
    assert_eq!(asked, [6, 3]);
}

/// Desired, in service, pending, terminating.
async fn lifecycle(server: &WorldServer) -> (i32, usize, usize, usize) {
    let described = client(server).describe_auto_scaling_groups().auto_scaling_group_names("web").send().await.unwrap();
    let [group] = described.auto_scaling_groups() else { panic!("one group was asked for") };
    let count = |state| group.instances().iter().filter(|i| i.lifecycle_state() == Some(&state)).count();
    let counts = [LifecycleState::InService, LifecycleState::Pending, LifecycleState::Terminating].map(count);
    (group.desired_capacity().unwrap(), counts[0], counts[1], counts[2])
}

#[tokio::test]
async fn refusals_have_the_codes_and_the_words_of_the_service() {
    let server = served(web()).await;
    let above = "New SetDesiredCapacity value 11 is above max value 10 for the AutoScalingGroup.";
    check_refused(&server, "web", 11, "ValidationError", above).await;
    let below = "New SetDesiredCapacity value 1 is below min value 2 for the AutoScalingGroup.";
    check_refused(&server, "web", 1, "ValidationError", below).await;
    check_refused(&server, "web", -1, "ValidationError", "1 validation error detected: Value '-1'").await;
    check_refused(&server, "nobody", 4, "ValidationError", "AutoScalingGroup name not found").await;
    set(&server, "web", 5).await.unwrap();
    pass(&server, 1);
    let honouring = client(&server).set_desired_capacity().auto_scaling_group_name("web").desired_capacity(6);
    let error = honouring.honor_cooldown(true).send().await.unwrap_err().into_service_error();
    assert!(error.is_scaling_activity_in_progress_fault(), "{error:?}");
    let unknown = client(&server).describe_scaling_activities().auto_scaling_group_name("nobody").send().await;
    assert_eq!(unknown.unwrap_err().code(), Some("ValidationError"));
}

#[tokio::test]
async fn faults_of_auto_scaling_are_switched_while_it_runs() {
    let server = served(web()).await;
    for (kind, status, code) in [
        (AutoScalingFault::Throttling, 400, Some("Throttling")),
        (AutoScalingFault::RateExceeded, 400, Some("RateExceeded")),
        (AutoScalingFault::ResourceContention, 500, Some("ResourceContention")),
        (AutoScalingFault::AccessDenied, 403, Some("AccessDenied")),
        (AutoScalingFault::NoCode, 500, None),
    ] {
        server.with(|world| world.faults.auto_scaling = Some(Fault::only(kind, "SetDesiredCapacity")));
        let error = set(&server, "web", 5).await.unwrap_err();
        assert_eq!(error.raw_response().unwrap().status().as_u16(), status, "{kind:?}");
        assert_eq!(error.code(), code, "{kind:?}: {error:?}");
        assert_eq!(lifecycle(&server).await.0, 4, "{kind:?}");
    }
    let lost = Fault::only(AutoScalingFault::AnswerLost, "SetDesiredCapacity");
    server.with(|world| world.faults.auto_scaling = Some(lost));
    set(&server, "web", 5).await.unwrap_err();
    assert_eq!(lifecycle(&server).await.0, 5);
}

#[tokio::test]
async fn failed_launches_are_activities_with_their_reason() {
    let server = served(web()).await;
    let scarce = LaunchFault::InsufficientCapacity { at_most: Capacity::new(5) };
    server.with(|world| world.faults.launches = Some(scarce));
    set(&server, "web", 8).await.unwrap();
    pass(&server, 3);
    assert_eq!(lifecycle(&server).await, (8, 4, 1, 0));
    let activities = client(&server).describe_scaling_activities().auto_scaling_group_name("web").send().await.unwrap();
    let newest = &activities.activities()[0];
    assert_eq!(newest.status_code(), Some(&ScalingActivityStatusCode::Failed));
    assert!(newest.status_message().unwrap().contains("InsufficientInstanceCapacity"));
    assert!(newest.end_time().is_some());
}

#[tokio::test]
async fn what_a_preflight_asks_for_can_be_set() {
    let server = served(web()).await;
    server.with(|world| {
        let group = &mut world.fleet_mut("web").unwrap().group;
        group.policies.push(ScalingPolicy {
            name: "forecast".into(),
            kind: "PredictiveScaling".into(),
            enabled: true,
            predictive_mode: Some("ForecastAndScale".into()),
        });
        group.scheduled_actions.push("morning".into());
        group.refreshes.push(InstanceRefresh { id: "r-1".into(), status: "InProgress".into() });
        group.operator = Some("batch.amazonaws.com".into());
        group.warm_pool = Some(Capacity::new(3));
        group.default_instance_warmup = Some(Duration::from_secs(90));
        group.suspended.insert("Terminate".into());
        group.tags.insert("setpoint".into(), "web".into());
    });
    let client = client(&server);
    let policies = client.describe_policies().auto_scaling_group_name("web").send().await.unwrap();
    let policy = &policies.scaling_policies()[0];
    assert_eq!((policy.policy_type(), policy.enabled()), (Some("PredictiveScaling"), Some(true)));
    assert_eq!(policy.predictive_scaling_configuration().unwrap().mode().unwrap().as_str(), "ForecastAndScale");
    let scheduled = client.describe_scheduled_actions().auto_scaling_group_name("web").send().await.unwrap();
    assert_eq!(scheduled.scheduled_update_group_actions()[0].scheduled_action_name(), Some("morning"));
    let refreshes = client.describe_instance_refreshes().auto_scaling_group_name("web").send().await.unwrap();
    assert_eq!(refreshes.instance_refreshes()[0].status().unwrap().as_str(), "InProgress");
    let pool = client.describe_warm_pool().auto_scaling_group_name("web").send().await.unwrap();
    assert_eq!(pool.warm_pool_configuration().unwrap().min_size(), Some(3));
    let filter = Filter::builder().name("tag:setpoint").values("web").build();
    let described = client.describe_auto_scaling_groups().filters(filter).send().await.unwrap();
    let group = &described.auto_scaling_groups()[0];
    assert_eq!(group.default_instance_warmup(), Some(90));
    assert_eq!(group.suspended_processes()[0].process_name(), Some("Terminate"));
    assert_eq!(group.operator().unwrap().principal(), Some("batch.amazonaws.com"));
    let update = client.update_auto_scaling_group().auto_scaling_group_name("web").min_size(5);
    update.send().await.unwrap();
    assert_eq!(lifecycle(&server).await.0, 5);
}

#[tokio::test]
async fn groups_come_in_pages_and_names_are_limited() {
    let names: Vec<String> = (0..120).map(|n| format!("group-{n:03}")).collect();
    let world = names
        .iter()
        .fold(World::new(1, start()), |world, name| world.with_fleet(settings(name), Workload::constant(100.0)));
    let server = served(world).await;
    let client = client(&server);
    let pages = client.describe_auto_scaling_groups().into_paginator().send();
    let pages: Vec<usize> =
        pages.collect::<Result<Vec<_>, _>>().await.unwrap().iter().map(|p| p.auto_scaling_groups().len()).collect();
    assert_eq!(pages, [50, 50, 20]);
    let hundred = || client.describe_auto_scaling_groups().set_auto_scaling_group_names(Some(names[..100].to_vec()));
    let refused = hundred().send().await.unwrap_err();
    assert_eq!(refused.message(), Some("The number of group names that may be passed in is limited to 50"));
    assert_eq!(hundred().max_records(100).send().await.unwrap().auto_scaling_groups().len(), 100);
    let too_many = client.describe_auto_scaling_groups().max_records(101).send().await.unwrap_err();
    assert_eq!(too_many.code(), Some("ValidationError"));
    let nonsense = client.describe_auto_scaling_groups().next_token("nonsense").send().await.unwrap_err();
    assert_eq!(nonsense.code(), Some("InvalidNextToken"));
}

#[tokio::test]
async fn the_world_moves_with_its_clock_and_stops_with_its_server() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Clock::accelerated(start(), 1000.0);
    let server = WorldServer::start(World::ticket_sale(1, start()), clock).await.unwrap();
    clock.sleep_until(start().checked_add(Duration::from_secs(30)).unwrap()).await;
    assert!(server.with(|world| world.since_start()) >= Duration::from_secs(30));
    assert!(server.with(|world| world.fleet(TICKET_SALE_GROUP).unwrap().counts().requests) > 7000.0);
    let url = format!("{}/-/ready", server.prometheus_url);
    assert!(reqwest::get(&url).await.is_ok());
    drop(server);
    while reqwest::get(&url).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
