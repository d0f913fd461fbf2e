//! A policy as it will be written: figures, and remarks beside them. The only place that writes TOML.

use std::fmt::Write as _;

/// One policy in `observe` mode.
#[derive(Default)]
pub(super) struct Draft {
    /// What it was made from, for the first line.
    pub(super) origin: String,
    pub(super) name: String,
    pub(super) asg: String,
    pub(super) region: Option<String>,
    pub(super) min: u64,
    pub(super) max: u64,
    /// Further keys of the policy, with their values in TOML and a remark.
    pub(super) keys: Vec<(&'static str, String, String)>,
    pub(super) metrics: Vec<DraftMetric>,
    pub(super) schedules: Vec<DraftSchedule>,
    /// After how many seconds which capacity holds, and a remark.
    pub(super) fallback: Option<(u64, u64, String)>,
    /// The address of Prometheus, where it is known.
    pub(super) prometheus: Option<String>,
    /// What has no equal, and what to know before the policy acts.
    pub(super) remarks: Vec<String>,
}

/// One metric.
pub(super) struct DraftMetric {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) target: f64,
    pub(super) query: String,
    pub(super) remark: String,
}

/// A window of time with a floor of its own.
pub(super) struct DraftSchedule {
    pub(super) cron: String,
    pub(super) timezone: String,
    pub(super) minutes: u64,
    pub(super) min: u64,
    pub(super) remark: String,
}

impl Draft {
    /// The configuration.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        comment(&mut text, &format!("Imported from {}.", self.origin));
        comment(&mut text, "It only observes. Compare what it would do with what happens before it may act.");
        for remark in &self.remarks {
            comment(&mut text, &format!("- {remark}"));
        }
        text.push_str("\ninterval = \"15s\"\n\n[prometheus]\n");
        if self.prometheus.is_none() {
            comment(&mut text, "Assumed: a Prometheus on this host.");
        }
        entry(&mut text, "url", &quoted(self.prometheus.as_deref().unwrap_or("http://127.0.0.1:9090")));
        if let Some(region) = &self.region {
            text.push_str("\n[aws]\n");
            entry(&mut text, "region", &quoted(region));
        }
        text.push_str("\n[[policy]]\n");
        entry(&mut text, "name", &quoted(&self.name));
        entry(&mut text, "asg", &quoted(&self.asg));
        entry(&mut text, "mode", &quoted("observe"));
        entry(&mut text, "min", &self.min.to_string());
        entry(&mut text, "max", &self.max.to_string());
        for (key, value, remark) in &self.keys {
            comment(&mut text, remark);
            entry(&mut text, key, value);
        }
        for metric in &self.metrics {
            metric.write(&mut text);
        }
        for schedule in &self.schedules {
            schedule.write(&mut text);
        }
        if let Some((after, capacity, remark)) = &self.fallback {
            text.push_str("\n[policy.fallback]\n");
            comment(&mut text, remark);
            entry(&mut text, "after", &quoted(&format!("{after}s")));
            entry(&mut text, "capacity", &capacity.to_string());
        }
        text
    }

    /// Remarks that Kubernetes would take the `value` at `path` for an error.
    pub(super) fn refused(&mut self, path: &str, value: &str, expected: &str) {
        self.remarks.push(format!("Kubernetes would refuse {path} = {value}, expected {expected}. Correct it first."));
    }

    /// Adds `metric` under a name that no other metric has.
    pub(super) fn add(&mut self, mut metric: DraftMetric) {
        let wanted = name(&metric.name, "metric");
        let taken = |name: &str| self.metrics.iter().any(|metric| metric.name == name);
        let others = (2..).map(|number| format!("{wanted}-{number}"));
        metric.name = std::iter::once(wanted.clone()).chain(others).find(|name| !taken(name)).unwrap_or(wanted);
        self.metrics.push(metric);
    }
}

impl DraftMetric {
    fn write(&self, text: &mut String) {
        text.push_str("\n[[policy.metric]]\n");
        comment(text, &self.remark);
        entry(text, "name", &quoted(&self.name));
        entry(text, "kind", &quoted(self.kind));
        // `{:?}` writes a float as TOML reads it: with a point or an exponent.
        entry(text, "target", &format!("{:?}", self.target));
        entry(text, "query", &quoted(&self.query));
    }
}

impl DraftSchedule {
    fn write(&self, text: &mut String) {
        text.push_str("\n[[policy.schedule]]\n");
        comment(text, &self.remark);
        entry(text, "cron", &quoted(&self.cron));
        entry(text, "timezone", &quoted(&self.timezone));
        let (hours, minutes) = (self.minutes / 60, self.minutes % 60);
        let duration = if minutes == 0 { format!("{hours}h") } else { format!("{}m", self.minutes) };
        entry(text, "duration", &quoted(&duration));
        entry(text, "min", &self.min.to_string());
    }
}

fn entry(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {value}");
}

/// Writes `remark`, of however many lines, so that none of it can be anything but a comment.
fn comment(text: &mut String, remark: &str) {
    for line in remark.split(['\n', '\r']).filter(|line| !line.trim().is_empty()) {
        let printable: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "# {printable}");
    }
}

/// `value` as a text of TOML: in single quotes where it can be, since queries hold double ones.
pub(super) fn quoted(value: &str) -> String {
    if value.contains('"') && !value.contains(|c: char| c == '\'' || c.is_control()) {
        return format!("'{value}'");
    }
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", value.chars().map(escape).collect::<String>())
}

/// `wanted` as a name that Setpoint takes: letters, digits, `-` and `_`, at most 63 of them.
pub(super) fn name(wanted: &str, otherwise: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = wanted.chars().map(plain).take(60).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { otherwise.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_text_it_comes_back_from_toml() {
        for value in ["", "a\"b", "a'b", "a\"'b\\", "line\nbreak\t\u{7f}\u{0}", "\"\"\"", "'''", "grün\u{85}"] {
            let table: toml::Table = toml::from_str(&format!("key = {}", quoted(value))).expect(value);
            assert_eq!(table["key"].as_str(), Some(value));
        }
    }

    #[test]
    fn no_remark_leaves_its_comment() {
        let mut text = String::new();
        comment(&mut text, "a\nmin = 9\r[x]\u{0}\u{7f}\u{2028}y");
        let table: toml::Table = toml::from_str(&text).expect("comments only");
        assert!(table.is_empty(), "{text}");
    }
}
