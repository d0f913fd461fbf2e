//! `setpoint check FILE`: says everything that is wrong with a configuration. It connects to nothing.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::{self, Config};
use crate::policy::{Metric, MetricKind, Policy};

/// `EX_CONFIG` of `sysexits.h`: something is wrong with the configuration.
pub const EX_CONFIG: u8 = 78;

/// Checks `file` with the process's environment over it. Findings go to the standard error and end with
/// [`EX_CONFIG`]; without any, a line for each policy goes to the standard output. With `json`, one object with
/// `findings` and `policies` goes to the standard output in either case.
pub fn run(file: &Path, json: bool) -> ExitCode {
    let checked = config::load(file, config::environment());
    // Whoever reads may stop reading; the exit code says the rest.
    let _ = match &checked {
        _ if json => writeln!(io::stdout(), "{:#}", report(&checked)),
        Ok(config) => config.policies.iter().try_for_each(|policy| writeln!(io::stdout(), "{}", Summary(policy))),
        Err(findings) => writeln!(io::stderr(), "{findings}"),
    };
    if checked.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EX_CONFIG) }
}

fn report(checked: &Result<Config, config::Findings>) -> Value {
    match checked {
        Ok(config) => json!({ "findings": [], "policies": config.policies.iter().map(policy).collect::<Vec<_>>() }),
        Err(findings) => json!({ "findings": findings, "policies": [] }),
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
    })
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
    fn the_report_has_findings_or_policies() {
        let good = report(&config::parse("t.toml", POLICY, []));
        assert_eq!((&good["findings"], &good["policies"][0]["max"]), (&json!([]), &json!(10)));
        let bad = report(&config::parse("t.toml", "intervall = \"5s\"", []));
        let finding = &bad["findings"][1];
        assert_eq!((&finding["line"], &finding["column"], &finding["key"]), (&json!(1), &json!(1), &json!("policy")));
        assert_eq!(bad["findings"][0]["suggestion"], json!("interval"));
    }
}
