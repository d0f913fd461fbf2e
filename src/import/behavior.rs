//! `behavior` of an autoscaler: windows, steps and tolerance, by direction.

use std::ops::RangeInclusive;

use super::draft::Draft;
use super::quantity;
use super::source::Node;

/// The most that a policy's step may be in percent.
const MOST_PERCENT: u64 = 1000;

/// What Kubernetes takes for a window and for a period in seconds, and for what a policy allows.
const WINDOW: RangeInclusive<u64> = 0..=3600;
const PERIOD: RangeInclusive<u64> = 1..=1800;
const VALUE: RangeInclusive<u64> = 1..=i32::MAX as u64;

/// One direction, with what Kubernetes assumes for it.
struct Direction {
    key: &'static str,
    word: &'static str,
    window: u64,
    step: &'static str,
}

const OUT: Direction =
    Direction { key: "scaleUp", word: "out", window: 0, step: r#"{ percent = 100, count = 4, per = "15s" }"# };
const IN: Direction =
    Direction { key: "scaleDown", word: "in", window: 300, step: r#"{ percent = 100, per = "15s" }"# };

/// Writes how fast the policy may go.
pub(super) fn behavior(behavior: Option<&Node>, draft: &mut Draft) {
    let [out, inward] = [OUT, IN].map(|direction| {
        let rules = behavior.and_then(|behavior| behavior.get(direction.key));
        let window = rules.as_ref().and_then(|rules| within(rules, "stabilizationWindowSeconds", WINDOW, draft));
        let tolerance = rules.as_ref().and_then(|rules| tolerance(rules, draft));
        let step = rules.as_ref().and_then(|rules| step(rules, &direction, draft));
        (window, tolerance, step)
    });
    let windows =
        format!("{{ out = \"{}s\", in = \"{}s\" }}", out.0.unwrap_or(OUT.window), inward.0.unwrap_or(IN.window));
    draft.keys.push(("stabilization", windows, assumed(behavior, out.0.is_some(), inward.0.is_some())));
    let steps = format!(
        "{{ out = {}, in = {} }}",
        out.2.as_deref().unwrap_or(OUT.step),
        inward.2.as_deref().unwrap_or(IN.step)
    );
    draft.keys.push(("step", steps, assumed(behavior, out.2.is_some(), inward.2.is_some())));
    let tolerances = format!("{{ out = {:?}, in = {:?} }}", out.1.unwrap_or(0.1), inward.1.unwrap_or(0.1));
    draft.keys.push(("tolerance", tolerances, assumed(behavior, out.1.is_some(), inward.1.is_some())));
    let none = "Kubernetes has no cooldown; its windows and steps alone limit it.";
    draft.keys.push(("cooldown", r#"{ out = "0s", in = "0s" }"#.into(), none.into()));
}

fn assumed(behavior: Option<&Node>, out: bool, inward: bool) -> String {
    let which = match (out, inward) {
        (true, true) => return format!("From {}.", behavior.map_or("spec.behavior", Node::path)),
        (true, false) => "in",
        (false, true) => "out",
        (false, false) => "out and in",
    };
    format!("Assumed: the default of Kubernetes for {which}, which the cluster's own flags may have changed.")
}

/// The whole number at `key`, or a remark where Kubernetes would not take it.
fn within(node: &Node, key: &str, range: RangeInclusive<u64>, draft: &mut Draft) -> Option<u64> {
    let found = node.get(key)?;
    let number = found.whole().filter(|number| range.contains(number));
    if number.is_none() {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        draft.refused(found.path(), &found.literal(), &expected);
    }
    number
}

fn tolerance(rules: &Node, draft: &mut Draft) -> Option<f64> {
    let text = rules.get("tolerance")?.text()?;
    let share = quantity::parse(&text).filter(|share| (0.0..1.0).contains(share));
    if share.is_none() {
        draft.remarks.push(format!("{}.tolerance = {text} is not a share below 1.", rules.path()));
    }
    share
}

/// The step of a direction, from its list of policies.
fn step(rules: &Node, direction: &Direction, draft: &mut Draft) -> Option<String> {
    let word = direction.word;
    let select = rules.get("selectPolicy").and_then(|node| node.text()).unwrap_or_else(|| "Max".into());
    if !matches!(&*select, "Max" | "Min" | "Disabled") {
        draft.refused(&format!("{}.selectPolicy", rules.path()), &format!("{select:?}"), "Max, Min or Disabled");
    }
    if select == "Disabled" {
        draft.remarks.push(match word {
            "in" => "scaleDown.selectPolicy = Disabled: it never removed pods. When this policy is to act, set \
                     mode = \"scale-out-only\"."
                .into(),
            _ => format!(
                "No equal here: {}.selectPolicy = Disabled; Setpoint can't be barred from scaling {word}.",
                direction.key
            ),
        });
    }
    let policies = rules.get("policies").map(|policies| policies.items()).unwrap_or_default();
    let mut limits: Vec<Limit> = policies.iter().filter_map(|policy| limit(policy, draft)).collect();
    if select == "Min" && limits.len() > 1 {
        draft.remarks.push(format!(
            "{}.selectPolicy = Min takes the least of several; here the greatest of them would count, so only the one that \
             is the least at {} stands in step.{word}.",
            direction.key, draft.max
        ));
        limits.sort_by(|a, b| a.rate(draft.max).total_cmp(&b.rate(draft.max)));
        limits.iter().skip(1).for_each(|limit| draft.remarks.push(format!("Not in step.{word}: {}.", limit.said)));
        limits.truncate(1);
    }
    merged(&limits, word, draft)
}

/// One of the policies.
struct Limit {
    key: &'static str,
    value: u64,
    per: u64,
    said: String,
}

impl Limit {
    /// Of a fleet of `size`, the instances a second.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    fn rate(&self, size: u64) -> f64 {
        let share = if self.key == "percent" { size as f64 / 100.0 } else { 1.0 };
        self.value as f64 * share / self.per as f64
    }
}

fn limit(policy: &Node, draft: &mut Draft) -> Option<Limit> {
    let said = |node: Option<Node>| node.and_then(|node| node.text()).unwrap_or_default();
    let kind = said(policy.get("type"));
    let (value, per) = (within(policy, "value", VALUE, draft), within(policy, "periodSeconds", PERIOD, draft));
    let (Some(value), Some(per)) = (value, per) else {
        draft.remarks.push(format!("Not read: {} ({kind}), without value and periodSeconds.", policy.path()));
        return None;
    };
    let said = format!("{} ({kind} {value} in {per}s)", policy.path());
    let (key, most) = match &*kind {
        "Percent" => ("percent", MOST_PERCENT),
        "Pods" => ("count", u64::from(crate::policy::Capacity::MAX.get())),
        _ => {
            draft.remarks.push(format!("No equal here: {said}."));
            return None;
        }
    };
    if value > most {
        draft.remarks.push(format!("{said} is more than can be stated; {most} stands for it."));
    }
    Some(Limit { key, value: value.min(most), per, said })
}

/// A step has one period: it holds the policies that share that of the first, one of each type.
fn merged(limits: &[Limit], word: &str, draft: &mut Draft) -> Option<String> {
    let per = limits.first()?.per;
    let mut parts: Vec<(&str, u64)> = Vec::new();
    for limit in limits {
        if limit.per != per || parts.iter().any(|(key, _)| *key == limit.key) {
            draft
                .remarks
                .push(format!("Not in step.{word}, which has one period and one limit of a type: {}.", limit.said));
        } else {
            parts.push((limit.key, limit.value));
        }
    }
    let parts: Vec<String> = parts.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    Some(format!("{{ {}, per = \"{per}s\" }}", parts.join(", ")))
}
