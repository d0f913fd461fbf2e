//! `setpoint drive`: lines of measurements in, lines of decisions out.
//!
//! The first byte chooses the policy, the rest are the lines.

use std::sync::LazyLock;

use serde_json::Value;
use setpoint::cli::drive;
use setpoint::config;
use setpoint::policy::Policy;

static POLICIES: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    config::parse("drive.toml", include_str!("drive.toml"), []).expect("a valid configuration").policies
});

/// As many answers as lines, each a JSON object with a decision or an error.
pub fn check(input: &[u8]) {
    let (choice, lines) = super::choice(input);
    let policy = POLICIES[usize::from(choice) % POLICIES.len()].clone();
    let mut answers = Vec::new();
    drive::run(lines, &mut answers, policy).expect("memory can be written");
    let answers = String::from_utf8(answers).expect("answers are text");
    let asked = lines.split_inclusive(|byte| *byte == b'\n').count();
    assert_eq!(answers.lines().count(), asked, "{answers}");
    for answer in answers.lines() {
        let answer: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        match answer["error"] {
            Value::Null => assert!(answer["desired"].is_u64() && answer["decision"].is_string(), "{answer}"),
            _ => assert!(answer["error"].is_object(), "{answer}"),
        }
    }
}
