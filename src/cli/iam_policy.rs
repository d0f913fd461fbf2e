//! `setpoint iam-policy`: the least that the identity of the daemon must be allowed, for a configuration. Calls nothing.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::check::EX_CONFIG;
use crate::config::{self, Config};
use crate::policy::{Mode, Policy};

/// What can't be limited to some groups: AWS has no resource-level permissions for these.
const READ: [&str; 5] = [
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeInstanceRefreshes",
    "autoscaling:DescribePolicies",
    "autoscaling:DescribeScalingActivities",
    "autoscaling:DescribeScheduledActions",
];

/// The most characters of a managed policy, white space apart.
const LONGEST: usize = 6144;

/// Where regions whose names begin so are.
const PARTITIONS: [(&str, &str); 7] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
    ("eusc-", "aws-eusc"),
];

/// What narrows the policy further than a configuration can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// The account of the groups.
    pub account: Option<String>,
    /// A tag, `key=value`, that a group must bear, in place of the groups' names.
    pub tag: Option<(String, String)>,
    /// Allows what policies that only observe will need once they act.
    pub as_active: bool,
}

/// Prints the document for the configuration `file`; findings end with [`EX_CONFIG`].
pub(super) fn run(file: &Path, limits: &Limits) -> ExitCode {
    let config = match config::load(file, config::environment()) {
        Ok(config) => config,
        Err(findings) => {
            eprintln!("{findings}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    let (document, notes) = document(&config, limits);
    for note in notes {
        eprintln!("Note: {note}.");
    }
    // Whoever reads may stop reading.
    let _ = writeln!(io::stdout(), "{document:#}");
    ExitCode::SUCCESS
}

/// The policy document, and what its reader should know.
pub(super) fn document(config: &Config, limits: &Limits) -> (Value, Vec<String>) {
    let acts = |policy: &&Policy| limits.as_active || !matches!(policy.mode, Mode::Observe);
    let acting: Vec<&Policy> = config.policies.iter().filter(acts).collect();
    let mut statements = vec![json!({ "Sid": "Read", "Effect": "Allow", "Action": READ, "Resource": "*" })];
    if !acting.is_empty() {
        statements.push(scale(config, &acting, limits));
    }
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    let notes = notes(config, &document, config.policies.len() - acting.len(), limits);
    (document, notes)
}

fn scale(config: &Config, acting: &[&Policy], limits: &Limits) -> Value {
    let account = limits.account.as_deref().unwrap_or("*");
    let resource = |policy: &&Policy| {
        let region = policy.region.as_deref().or(config.aws.region.as_deref());
        let group = if limits.tag.is_some() { "*".to_owned() } else { literal(&policy.asg) };
        let (partition, region) = (region.map_or("*", partition), region.unwrap_or("*"));
        format!("arn:{partition}:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/{group}")
    };
    let resources: BTreeSet<String> = acting.iter().map(resource).collect();
    let mut statement = json!({
        "Sid": "Scale",
        "Effect": "Allow",
        "Action": "autoscaling:SetDesiredCapacity",
        "Resource": resources,
    });
    if let Some((key, value)) = &limits.tag {
        let key = format!("autoscaling:ResourceTag/{key}");
        statement["Condition"] = json!({ "StringEquals": { key: literal(value) } });
    }
    statement
}

fn notes(config: &Config, document: &Value, observing: usize, limits: &Limits) -> Vec<String> {
    let mut notes = Vec::new();
    if observing > 0 {
        let only =
            if observing == 1 { "1 policy only observes" } else { &format!("{observing} policies only observe") };
        notes.push(format!("{only} and may set nothing; --as-active allows what they need once they act"));
    }
    let length = document.to_string().chars().filter(|character| !character.is_whitespace()).count();
    if length > LONGEST {
        notes.push(format!(
            "the policy has {length} characters, and a managed policy may have {LONGEST}: tag the groups, and use \
             --tag KEY=VALUE in place of their names"
        ));
    }
    if limits.account.is_none() {
        notes.push("any account's groups of these names are meant; --account limits that to one".to_owned());
    }
    if let Some((key, _)) = &limits.tag {
        notes.push(format!("whoever may tag a group can enrol it: limit autoscaling:CreateOrUpdateTags on {key:?}"));
    }
    if let Some(role) = &config.aws.assume_role {
        let arn = &role.arn;
        notes.push(format!("attach it to {arn}; the daemon's own identity needs sts:AssumeRole on that role only"));
    }
    notes
}

fn partition(region: &str) -> &'static str {
    PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

/// `text` as itself where IAM would take some characters for patterns and variables.
fn literal(text: &str) -> String {
    let mut literal = String::new();
    for character in text.chars() {
        match character {
            '*' | '?' | '$' => literal.extend(["${", character.encode_utf8(&mut [0; 4]), "}"]),
            other => literal.push(other),
        }
    }
    literal
}

/// `KEY=VALUE` of the command line.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected a tag as KEY=VALUE, such as managed-by=setpoint".to_owned()),
    }
}

/// An account's number of the command line.
pub(super) fn account(text: &str) -> Result<String, String> {
    let valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { Ok(text.to_owned()) } else { Err("expected the twelve digits of an AWS account".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn policy(name: &str, asg: &str, mode: &str, extra: &str) -> String {
        format!(
            "[[policy]]\nname = \"{name}\"\nasg = \"{asg}\"\nmode = \"{mode}\"\nmin = 1\nmax = 3\n{extra}\n\
             [[policy.metric]]\nname = \"cpu\"\nkind = \"utilization\"\nquery = \"cpu\"\ntarget = 0.7\n"
        )
    }

    fn configuration(policies: &[String]) -> Config {
        let head = "[prometheus]\nurl = \"http://127.0.0.1\"\n[aws]\nregion = \"eu-central-1\"\n";
        config::parse("t.toml", &format!("{head}{}", policies.concat()), []).unwrap()
    }

    fn resources(config: &Config, limits: &Limits) -> Value {
        document(config, limits).0["Statement"][1]["Resource"].clone()
    }

    #[test]
    fn only_the_groups_of_policies_that_act_may_be_set() {
        let config = configuration(&[
            policy("a", "web", "active", ""),
            policy("b", "jobs", "observe", ""),
            policy("c", "batch", "scale-out-only", "region = \"us-gov-west-1\""),
        ]);
        let arn = |place: &str, group: &str| format!("arn:{place}:*:autoScalingGroup:*:autoScalingGroupName/{group}");
        let [web, batch] =
            [arn("aws:autoscaling:eu-central-1", "web"), arn("aws-us-gov:autoscaling:us-gov-west-1", "batch")];
        assert_eq!(resources(&config, &Limits::default()), json!([batch, web]));
        let (_, notes) = document(&config, &Limits::default());
        assert!(notes[0].starts_with("1 policy only observes"), "{notes:?}");
        let everything = Limits { as_active: true, ..Limits::default() };
        assert_eq!(resources(&config, &everything).as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn where_nothing_acts_nothing_may_be_set() {
        let (document, _) = document(&configuration(&[policy("a", "web", "observe", "")]), &Limits::default());
        assert_eq!(document["Statement"].as_array().map(Vec::len), Some(1));
        assert_eq!(document["Statement"][0]["Action"], json!(READ));
    }

    #[test]
    fn a_tag_stands_for_the_names() {
        let config = configuration(&[policy("a", "web", "active", ""), policy("b", "jobs", "active", "")]);
        let limits = Limits {
            account: Some("123456789012".into()),
            tag: Some(("managed-by".into(), "set*".into())),
            as_active: false,
        };
        let group = "arn:aws:autoscaling:eu-central-1:123456789012:autoScalingGroup:*:autoScalingGroupName/*";
        assert_eq!(resources(&config, &limits), json!([group]));
        let condition = document(&config, &limits).0["Statement"][1]["Condition"].clone();
        assert_eq!(condition, json!({ "StringEquals": { "autoscaling:ResourceTag/managed-by": "set${*}" } }));
    }

    #[test]
    fn a_document_that_is_too_long_for_iam_is_said_to_be() {
        let many: Vec<_> = (0..80).map(|n| policy(&format!("p{n}"), &format!("group-{n}"), "active", "")).collect();
        let (_, notes) = document(&configuration(&many), &Limits::default());
        assert!(notes.iter().any(|note| note.contains("use --tag KEY=VALUE")), "{notes:?}");
    }

    #[test]
    fn characters_that_iam_would_read_as_patterns_are_meant_as_themselves() {
        assert_eq!(literal("a*b?c$d"), "a${*}b${?}c${$}d");
        assert!(tag("managed-by").is_err() && account("123").is_err());
    }
}
