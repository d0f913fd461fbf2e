//! The lines of a configuration that are to be changed, as TOML.

use std::fmt::{self, Display};
use std::time::Duration;

use crate::config::duration;
use crate::policy::{Controller, Gains, PerDirection, Policy, Risk, StepLimit};
use crate::tuning::{Change, Knob};

/// Those of `policy` that `changes` are in. A key is stated whole, also what does not change of it.
pub(super) struct Lines<'a> {
    pub policy: &'a Policy,
    pub changes: &'a [Change],
}

impl Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Policy { controller, tolerance, stabilization, cooldown, step, .. } = self.policy;
        let turned = |knobs: &[Knob]| self.changes.iter().any(|change| knobs.contains(&change.knob));
        if turned(&[Knob::Kp, Knob::Ki, Knob::Kd, Knob::Risk]) {
            writeln!(f, "controller = {}", Law(controller))?;
        }
        if turned(&[Knob::ToleranceOut, Knob::ToleranceIn]) {
            writeln!(f, "tolerance = {}", both(tolerance, f64::to_string))?;
        }
        if turned(&[Knob::StabilizationIn]) {
            writeln!(f, "stabilization = {}", both(stabilization, quoted))?;
        }
        if turned(&[Knob::CooldownOut, Knob::CooldownIn]) {
            writeln!(f, "cooldown = {}", both(cooldown, quoted))?;
        }
        if turned(&[Knob::StepOutCount, Knob::StepOutPercent, Knob::StepInPercent]) {
            writeln!(f, "step = {}", both(step, limit))?;
        }
        for Change { knob, to, .. } in self.changes {
            if let Knob::Target(place) = knob
                && let Some(metric) = self.policy.metrics.get(*place)
            {
                writeln!(f, "# and of its [[policy.metric]] {}:\ntarget = {to}", metric.name)?;
            }
        }
        Ok(())
    }
}

fn both<T>(directions: &PerDirection<T>, text: impl Fn(&T) -> String) -> String {
    format!("{{ out = {}, in = {} }}", text(&directions.out), text(&directions.inward))
}

fn quoted(duration: &Duration) -> String {
    format!("\"{}\"", duration::text(*duration))
}

#[expect(clippy::ref_option, reason = "`both` hands over references to the fields")]
fn limit(limit: &Option<StepLimit>) -> String {
    let Some(StepLimit { percent, count, per }) = limit else { return "\"unlimited\"".into() };
    let percent = percent.map(|percent| format!("percent = {percent}"));
    let count = count.map(|count| format!("count = {count}"));
    let parts: Vec<String> = [percent, count, Some(format!("per = {}", quoted(per)))].into_iter().flatten().collect();
    format!("{{ {} }}", parts.join(", "))
}

/// A controller with a knob.
struct Law<'a>(&'a Controller);

impl Display for Law<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Controller::Pid(Gains { kp, ki, kd }) => {
                write!(f, "{{ kind = \"pid\", kp = {kp}, ki = {ki}")?;
                if let Some(kd) = kd.and_then(|kd| Duration::try_from_secs_f64(kd).ok()) {
                    write!(f, ", kd = {}", quoted(&kd))?;
                }
                f.write_str(" }")
            }
            Controller::Risk(Risk { share }) => write!(f, "{{ kind = \"risk\", risk = {share} }}"),
            // Its bands are no knobs, so it is never among the changes.
            Controller::Step(_) => f.write_str("{ kind = \"step\" }"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::tuning::knobs;

    const HEAD: &str =
        "[prometheus]\nurl = \"http://127.0.0.1\"\n[[policy]]\nname = \"web\"\nasg = \"web\"\nmin = 2\nmax = 30\n";
    const METRIC: &str = "[[policy.metric]]\nname = \"cpu\"\nkind = \"utilization\"\nquery = \"cpu\"\n";

    #[test]
    fn every_line_is_read_as_what_it_says() {
        for controller in ["pid", "risk"] {
            let text = format!("{HEAD}controller = {{ kind = \"{controller}\" }}\n{METRIC}target = 0.7\n");
            let mut policy = config::parse("t.toml", &text, []).unwrap().policies.remove(0);
            let ranges = knobs(&policy);
            let turn = |range: &crate::tuning::Range| {
                let (from, to) = (range.knob.of(&policy), range.at(0.618));
                range.knob.set(&mut policy, to);
                Change { knob: range.knob, from, to }
            };
            let changes: Vec<Change> = ranges.iter().map(turn).collect();
            let lines = Lines { policy: &policy, changes: &changes }.to_string();
            let (own, metric) = lines
                .split_once("# ")
                .map_or((&*lines, "target = 0.7\n"), |(own, metric)| (own, metric.split_once('\n').unwrap().1));
            let pasted = format!("{HEAD}{own}{METRIC}{metric}");
            let read = config::parse("t.toml", &pasted, []).unwrap_or_else(|findings| panic!("{findings}\n{pasted}"));
            assert_eq!(read.policies[0], policy, "{pasted}");
        }
    }
}
