//! The Auto Scaling target against moto, somebody else's reading of the protocol.
//!
//! moto checks no bounds, has no activities and brings instances into service at once, so this proves what goes over
//! the wire and back, and nothing about how AWS behaves.

mod support;

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use jiff::Timestamp;
use setpoint::observation::{Group, Rivals};
use setpoint::policy::Capacity;
use setpoint::target::{AutoScaling, ErrorKind, Settings};
use support::Moto;

async fn target(moto: &Moto) -> AutoScaling {
    let settings = Settings {
        region: Some(Moto::REGION.to_owned()),
        endpoint_url: Some(moto.url()),
        profile: None,
        assume_role: None,
        timeout: Duration::from_secs(20),
    };
    AutoScaling::connect(&settings, None, Some(Credentials::from_keys("test", "test", None))).await.unwrap()
}

async fn describe(target: &AutoScaling, name: &str) -> Group {
    target.describe(&[name.into()], Timestamp::now()).await.remove(name).unwrap().unwrap()
}

#[tokio::test]
async fn a_group_is_described_and_scaled() {
    let Some(moto) = Moto::start() else { return };
    moto.create_group("web", 2, 4, 10);
    let target = target(&moto).await;
    let status = describe(&target, "web").await.status(None, Timestamp::now());
    let counts = [status.min, status.desired, status.max, status.in_service, status.warm, status.healthy];
    assert_eq!(counts.map(Capacity::get), [2, 4, 10, 4, 4, 4]);

    target.set_desired_capacity("web", Capacity::new(6)).await.unwrap();
    assert_eq!(moto.desired("web"), 6);
    let group = describe(&target, "web").await;
    assert_eq!(group.desired.get(), 6);
    assert_eq!(group.instances.iter().filter(|instance| instance.in_service_since.is_some()).count(), 2);
    assert_eq!(group.launch_failure, None);
}

#[tokio::test]
async fn a_server_without_instance_refreshes_leaves_the_group_usable_for_scale_out() {
    let Some(moto) = Moto::start() else { return };
    moto.create_group("web", 2, 4, 10);
    let target = target(&moto).await;
    assert!(describe(&target, "web").await.refreshing);
    assert_eq!(target.refreshing("web").await.unwrap_err().kind(), ErrorKind::NoCode);
}

#[tokio::test]
async fn rivals_are_found() {
    let Some(moto) = Moto::start() else { return };
    for name in ["free", "tracked", "scheduled", "suspended"] {
        moto.create_group(name, 1, 1, 2);
    }
    for (group, policy) in [("tracked", "p1"), ("suspended", "p2")] {
        moto.call(
            "autoscaling",
            &[
                ("Action", "PutScalingPolicy"),
                ("AutoScalingGroupName", group),
                ("PolicyName", policy),
                ("PolicyType", "TargetTrackingScaling"),
                (
                    "TargetTrackingConfiguration.PredefinedMetricSpecification.PredefinedMetricType",
                    "ASGAverageCPUUtilization",
                ),
                ("TargetTrackingConfiguration.TargetValue", "70"),
            ],
        );
    }
    moto.call(
        "autoscaling",
        &[
            ("Action", "PutScheduledUpdateGroupAction"),
            ("AutoScalingGroupName", "scheduled"),
            ("ScheduledActionName", "morning"),
            ("Recurrence", "0 8 * * *"),
            ("MinSize", "2"),
        ],
    );
    moto.call(
        "autoscaling",
        &[
            ("Action", "SuspendProcesses"),
            ("AutoScalingGroupName", "suspended"),
            ("ScalingProcesses.member.1", "AlarmNotification"),
        ],
    );
    let target = target(&moto).await;
    let names: Vec<Arc<str>> = ["free", "tracked", "scheduled", "suspended", "gone"].map(Arc::from).to_vec();
    let found = target.preflight(&names, Timestamp::now()).await;
    let rivals = |name: &str| found[name].as_ref().map(|rivals| *rivals).map_err(setpoint::target::TargetError::kind);
    assert_eq!(rivals("free"), Ok(Rivals::None));
    assert_eq!(rivals("tracked"), Ok(Rivals::ScalingPolicy));
    assert_eq!(rivals("scheduled"), Ok(Rivals::ScheduledAction));
    assert_eq!(rivals("suspended"), Ok(Rivals::None));
    assert_eq!(rivals("gone"), Err(ErrorKind::NotFound));
    assert_eq!(describe(&target, "tracked").await.rivals, Rivals::ScalingPolicy);
}

#[tokio::test]
async fn an_unknown_group_is_an_error_of_its_own() {
    let Some(moto) = Moto::start() else { return };
    moto.create_group("web", 1, 1, 2);
    let target = target(&moto).await;
    let described = target.describe(&["web".into(), "gone".into()], Timestamp::now()).await;
    assert!(described["web"].is_ok());
    let missing = described["gone"].as_ref().unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(missing.to_string(), "DescribeAutoScalingGroups: no such group (gone in us-east-1)");
    // AWS would answer with a ValidationError; moto fails with a page for people.
    let error = target.set_desired_capacity("gone", Capacity::new(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoCode);
    assert_eq!(moto.desired("web"), 1);
}

#[tokio::test]
async fn more_groups_than_a_page_holds_are_all_described() {
    let Some(moto) = Moto::start() else { return };
    let names: Vec<Arc<str>> = (0..120).map(|n| format!("fleet-{n}").into()).collect();
    for name in &names {
        moto.create_group(name, 0, 1, 2);
    }
    let target = target(&moto).await;
    let described = target.describe(&names, Timestamp::now()).await;
    assert_eq!(described.len(), 120);
    assert!(described.values().all(|group| group.as_ref().is_ok_and(|group| group.desired.get() == 1)));
    let found = target.preflight(&names, Timestamp::now()).await;
    assert!(found.values().all(|rivals| rivals.as_ref().is_ok_and(|rivals| *rivals == Rivals::None)));
}
