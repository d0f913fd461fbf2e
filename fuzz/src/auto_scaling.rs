//! The XML of Auto Scaling, as the SDK hands it over.
//!
//! The first byte chooses the status. What follows, with a NUL between two, are the answers to the description of the
//! groups, to that of the scaling activities, and to that of the instance refreshes. `GROUP` stands for the group's name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_credential_types::Credentials;
use setpoint::observation::Group;
use setpoint::target::{AutoScaling, ErrorKind, Settings, TargetError};

use super::wire::{Wire, http};

/// What the input does not say, and what is said of a group that is gone.
const NOTHING: &[u8] = b"<DescribeAutoScalingGroupsResponse><DescribeAutoScalingGroupsResult><AutoScalingGroups/>\
</DescribeAutoScalingGroupsResult></DescribeAutoScalingGroupsResponse>";

thread_local! {
    static REGION: (Wire, AutoScaling) = region();
}

/// Whatever comes, every name is answered: with sizes that were in the answer and are in order, or with an error.
pub fn check(input: &[u8]) {
    static CHECKED: AtomicU64 = AtomicU64::new(0);
    // Of its own, since a client remembers its groups.
    let name: Arc<str> = format!("group-{}", CHECKED.fetch_add(1, Ordering::Relaxed)).into();
    let (choice, answers) = super::choice(input);
    let status = if choice & 1 == 0 { 200 } else { [400, 403, 429, 503][usize::from(choice >> 4) % 4] };
    let answers: Vec<Vec<u8>> = answers.split(|byte| *byte == 0).take(3).map(|answer| named(answer, &name)).collect();
    let whole: String = answers.iter().map(|answer| String::from_utf8_lossy(answer)).collect();
    let answer = move |request: &str| {
        let asked = ["DescribeAutoScalingGroups", "DescribeScalingActivities", "DescribeInstanceRefreshes"];
        let asked = asked.iter().position(|action| request.contains(&format!("Action={action}&")));
        let body = asked.and_then(|place| answers.get(place)).map_or(NOTHING, Vec::as_slice);
        http(status, "text/xml", body)
    };
    REGION.with(|(wire, region)| {
        let names = [name.clone()];
        let mut described = wire.while_answering(answer, region.describe(&names, super::now()));
        let described = described.remove(&name).expect("every name is answered");
        assert!(described.is_err() || status == 200, "a group from an answer with status {status}");
        check_group(described, &whole);
        let gone = wire.while_answering(|_| http(200, "text/xml", NOTHING), region.describe(&names, super::now()));
        assert!(matches!(&gone[&name], Err(error) if error.kind() == ErrorKind::NotFound), "{gone:?}");
    });
}

fn region() -> (Wire, AutoScaling) {
    let wire = Wire::new();
    let settings = Settings {
        region: Some("us-east-1".into()),
        endpoint_url: Some(wire.url.clone()),
        profile: None,
        assume_role: None,
        timeout: Duration::from_secs(3),
    };
    let credentials = Credentials::new("nobody", "nothing", None, None, "a check");
    let region = wire.while_answering(|_| Vec::new(), AutoScaling::connect(&settings, None, Some(credentials)));
    (wire, region.expect("a client"))
}

/// Bytes that are no text stay what they are.
fn named(answer: &[u8], name: &str) -> Vec<u8> {
    str::from_utf8(answer).map_or_else(|_| answer.to_vec(), |text| text.replace("GROUP", name).into_bytes())
}

fn check_group(described: Result<Group, TargetError>, answer: &str) {
    match described {
        Ok(group) => {
            assert!((group.min..=group.max).contains(&group.desired), "{group:?}");
            for size in ["MinSize", "MaxSize", "DesiredCapacity"] {
                assert!(answer.contains(size), "no {size}: {group:?}");
            }
            let listed = answer.matches("InstanceId").count();
            assert!(group.instances.len() <= listed, "more instances than listed: {group:?}");
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
}
