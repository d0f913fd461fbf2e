//! `setpoint check FILE`: says everything that is wrong with a configuration, and runs policy tests. It connects to
//! nothing.

mod tried;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use self::tried::Tried;
use crate::config::{self, Config, Findings};
use crate::metric::prometheus::doubts;
use crate::policy::{MaxSpend, Metric, MetricKind, Policy, Source};

/// `EX_CONFIG` of `sysexits.h`: something is wrong with the configuration.
pub const EX_CONFIG: u8 = 78;

/// Checks `file` with the process's environment over it, and runs the policy tests in the files `tests`. Findings go to
/// the standard error and end with [`EX_CONFIG`]; without any, a line for each policy and each test goes to the standard
/// output, and a test that fails ends with 1. With `json`, one object with `findings`, `policies` and `tests` goes to the
/// standard output in any case.
pub fn run(file: &Path, tests: &[PathBuf], json: bool) -> ExitCode {
    let checked = check(file, tests);
    // Whoever reads may stop reading; the exit code says the rest.
    let _ = match &checked {
        _ if json => writeln!(io::stdout(), "{:#}", report(&checked)),
        Ok(checked) => write!(io::stdout(), "{checked}"),
        Err(findings) => writeln!(io::stderr(), "{findings}"),
    };
    match checked {
        Err(_) => ExitCode::from(EX_CONFIG),
        Ok(Checked { tests, .. }) if tests.iter().any(Tried::failed) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
    }
}

/// What a file without findings holds, and how its tests went.
struct Checked {
    config: Config,
    tests: Vec<Tried>,
}

/// All files of tests are read before any test runs, so that every finding is reported at once.
fn check(file: &Path, tests: &[PathBuf]) -> Result<Checked, Findings> {
    let config = config::load(file, config::environment())?;
    let mut written = Vec::new();
    let mut findings = Vec::new();
    for tests in tests {
        match config::load_tests(tests, &config.policies) {
            Ok(tests) => written.extend(tests),
            Err(Findings(found)) => findings.extend(found),
        }
    }
    if findings.is_empty() {
        Ok(Checked { config, tests: written.into_iter().map(Tried::new).collect() })
    } else {
        Err(Findings(findings))
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for policy in &self.config.policies {
            writeln!(f, "{}", Summary(policy))?;
            warnings(policy).iter().try_for_each(|warning| writeln!(f, "  warning: {warning}"))?;
        }
        self.tests.iter().try_for_each(|test| write!(f, "{test}"))?;
        match self.tests.iter().filter(|test| test.failed()).count() {
            _ if self.tests.is_empty() => Ok(()),
            0 => writeln!(f, "{} tests passed", self.tests.len()),
            failed => writeln!(f, "{failed} of {} tests failed", self.tests.len()),
        }
    }
}

fn report(checked: &Result<Checked, Findings>) -> Value {
    match checked {
        Ok(Checked { config, tests }) => {
            let policies: Vec<Value> = config.policies.iter().map(policy).collect();
            json!({ "findings": [], "policies": policies, "tests": tests.iter().map(Tried::json).collect::<Vec<_>>() })
        }
        Err(findings) => json!({ "findings": findings, "policies": [], "tests": [] }),
    }
}

fn policy(policy: &Policy) -> Value {
    let metric = |m: &Metric| json!({ "name": *m.name, "kind": m.kind, "target": m.target });
    json!({
        "name": *policy.name,
        "asg": *policy.asg,
        "region": policy.region.as_deref(),
        "mode": policy.mode,
        "min": policy.min,
        "max": policy.max,
        "metrics": policy.metrics.iter().map(metric).collect::<Vec<_>>(),
        "warnings": warnings(policy),
    })
}

/// What is valid and hardly meant.
fn warnings(policy: &Policy) -> Vec<String> {
    let mut warnings = low_ceilings(policy);
    for Metric { name, kind, source, .. } in &policy.metrics {
        // With one series for each instance, their sum or their mean is taken by Setpoint.
        if let Source::Prometheus { query, per_instance: None } = source {
            let doubts = doubts(query, *kind).into_iter();
            warnings.extend(doubts.map(|doubt| format!("the query of {name} {doubt}")));
        }
    }
    warnings
}

/// Ceilings that the highest minimum exceeds by itself.
fn low_ceilings(policy: &Policy) -> Vec<String> {
    let Some(price) = policy.instance_price else { return Vec::new() };
    let min = policy.schedules.iter().filter_map(|schedule| schedule.min).fold(policy.min, Ord::max);
    let MaxSpend { per_hour, per_day } = policy.max_spend;
    let ceilings = [("max_spend_per_hour", per_hour, 1.0), ("max_spend_per_day", per_day, 24.0)];
    let warning = |(key, ceiling, hours): (&str, Option<f64>, f64)| {
        let (ceiling, cost) = (ceiling?, price * hours * min.as_f64());
        let text = || {
            format!(
                "{key}, {ceiling:.2}, is less than what the minimum of {min} costs, {cost:.2}: nothing more is added"
            )
        };
        // Two decimal numbers may differ by as little.
        (ceiling * (1.0 + 1e-9) < cost).then(text)
    };
    ceilings.into_iter().filter_map(warning).collect()
}

/// One line on a policy.
struct Summary<'a>(&'a Policy);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Policy { name, asg, mode, min, max, metrics, .. } = self.0;
        write!(f, "{name}: group {asg}, {mode}, {min} to {max} instances;")?;
        for (index, Metric { name, kind, target, .. }) in metrics.iter().enumerate() {
            let separator = if index == 0 { " " } else { ", " };
            match kind {
                MetricKind::Utilization => write!(f, "{separator}{name} at {target}")?,
                MetricKind::Total => write!(f, "{separator}{name} at {target} an instance")?,
                MetricKind::Latency => write!(f, "{separator}{name} under {target} s")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "[[policy]]\nname = \"web\"\nasg = \"web-prod\"\nmin = 2\nmax = 10\n[[policy.metric]]\n\
        name = \"cpu\"\nkind = \"utilization\"\ntarget = 0.7\nscrape = { url = \"http://[::1]:1\", selector = \"cpu\", read = \"gauge\" }\n\
        [[policy.metric]]\nname = \"p99\"\nkind = \"latency\"\ntarget = \"500ms\"\n\
        scrape = { url = \"http://[::1]:1\", selector = \"p99\", read = \"gauge\", aggregate = \"max\" }\n";

    #[test]
    fn a_policy_is_summed_up_in_a_line() {
        let config = config::parse("t.toml", POLICY, []).unwrap();
        let line = Summary(&config.policies[0]).to_string();
        assert_eq!(line, "web: group web-prod, observe, 2 to 10 instances; cpu at 0.7, p99 under 0.5 s");
    }

    #[test]
    fn a_ceiling_below_what_the_minimum_costs_is_warned_of() {
        let check = |keys: &str, expected: &[&str]| {
            let text = POLICY.replace("min = 2\n", &format!("min = 2\n{keys}\n"));
            let config = config::parse("t.toml", &text, []).unwrap();
            let found = warnings(&config.policies[0]);
            assert_eq!(found, expected, "{keys}");
            let printed = Checked { config, tests: Vec::new() }.to_string();
            assert_eq!(printed.matches("\n  warning: max_spend").count(), expected.len(), "{printed}");
        };
        check("instance_price = 0.1\nmax_spend_per_hour = 0.2\nmax_spend_per_day = 4.8", &[]);
        let of = |key, ceiling, cost| {
            format!("{key}, {ceiling}, is less than what the minimum of 2 costs, {cost}: nothing more is added")
        };
        check("instance_price = 0.1\nmax_spend_per_hour = 0.19", &[&of("max_spend_per_hour", "0.19", "0.20")]);
        check("instance_price = 0.1\nmax_spend_per_day = 4.7", &[&of("max_spend_per_day", "4.70", "4.80")]);
        check(
            "instance_price = 0.1\nmax_spend_per_hour = 0.5\nschedule = [{ cron = \"0 8 * * *\", duration = \"1h\", min = 6 }]",
            &[&of("max_spend_per_hour", "0.50", "0.60").replace("of 2", "of 6")],
        );
    }

    #[test]
    fn the_report_has_findings_or_policies() {
        let parse = |text| config::parse("t.toml", text, []).map(|config| Checked { config, tests: Vec::new() });
        let good = report(&parse(POLICY));
        assert_eq!((&good["findings"], &good["policies"][0]["max"]), (&json!([]), &json!(10)));
        let bad = report(&parse("intervall = \"5s\""));
        let finding = &bad["findings"][1];
        assert_eq!((&finding["line"], &finding["column"], &finding["key"]), (&json!(1), &json!(1), &json!("policy")));
        assert_eq!(bad["findings"][0]["suggestion"], json!("interval"));
    }
}
