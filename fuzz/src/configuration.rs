//! The configuration: a whole file, and policy tests.
//!
//! The input is the file's text. Lines before a NUL, if there is one, are `KEY=VALUE` of the environment.

use setpoint::config::{self, Findings};

const FILE: &str = "setpoint.toml";

/// What is accepted is complete, what is refused is told with its place in the file, and both are so every time.
pub fn check(input: &[u8]) {
    let Ok(input) = str::from_utf8(input) else { return };
    let (environment, text) = input.split_once('\0').unwrap_or(("", input));
    let environment = || {
        let variables = environment.lines().filter_map(|line| line.split_once('='));
        variables.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let parsed = config::parse(FILE, text, environment());
    assert_eq!(parsed, config::parse(FILE, text, environment()), "read twice, two answers");
    match parsed {
        Ok(config) => {
            assert!(!config.policies.is_empty(), "nothing to do");
            for policy in &config.policies {
                assert!(policy.min <= policy.max, "{}: {} > {}", policy.name, policy.min, policy.max);
                let targets = policy.metrics.iter().map(|metric| metric.target);
                assert!(!policy.metrics.is_empty() && targets.clone().all(f64::is_finite), "{}", policy.name);
            }
            if let Err(findings) = config::parse_tests(FILE, text, &config.policies) {
                check_places(&findings, text);
            }
        }
        Err(findings) => check_places(&findings, text),
    }
}

fn check_places(findings: &Findings, text: &str) {
    assert!(!findings.0.is_empty(), "refused without a reason");
    let lines: Vec<&str> = text.split('\n').collect();
    for finding in &findings.0 {
        assert!(!finding.problem.is_empty() && !finding.to_string().contains('\n'), "{finding:?}");
        let Some(place) = finding.location.position else { continue };
        let line = place.line.checked_sub(1).and_then(|index| lines.get(index));
        let width = line.unwrap_or_else(|| panic!("no such line: {finding}")).chars().count();
        assert!((1..=width + 1).contains(&place.column), "no such column: {finding}");
    }
}
