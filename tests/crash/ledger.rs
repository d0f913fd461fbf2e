//! What the daemon has acknowledged, and what it must therefore still know after any kill.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::drawn::Rng;
use crate::process::Process;

/// What an order stands in place of: `freeze`, or `pauses` or `overrides` of a policy.
type Slot = (&'static str, &'static str);

/// An order as it is sent.
pub struct Order {
    pub path: String,
    pub body: String,
    slot: Slot,
    /// Its reason, which is unlike any other.
    reason: String,
    /// It ends what stood.
    ends: bool,
}

#[derive(Default)]
pub struct Ledger {
    given: u32,
    /// The reasons of what may stand in each slot: one, unless the daemon was killed before it answered.
    standing: BTreeMap<Slot, Vec<Option<String>>>,
    /// The reasons of orders that must be in the history.
    acknowledged: BTreeSet<String>,
    /// Whatever the history has told once, by its time.
    told: BTreeSet<(Timestamp, String)>,
    pub broken: Vec<String>,
    pub checks: u32,
}

impl Order {
    pub fn draw(rng: &mut Rng, ledger: &mut Ledger, policies: &[&'static str], name: &str) -> Self {
        ledger.given += 1;
        let (policy, reason) = (rng.pick(policies), format!("{name} {}", ledger.given));
        let (slot, path, ends, more): (Slot, _, _, _) = match rng.below(12) {
            0 | 1 => (("pauses", policy), "pause", false, r#""expires": "24h", "#),
            2..=4 => (("pauses", policy), "resume", true, ""),
            5 | 6 => (("overrides", policy), "override", false, r#""expires": "24h", "cap": 900, "#),
            7 | 8 => (("overrides", policy), "release", true, ""),
            9 => (("freeze", ""), "freeze", false, r#""expires": "24h", "scope": "scale-in", "#),
            _ => (("freeze", ""), "unfreeze", true, ""),
        };
        let path =
            if slot.1.is_empty() { format!("/api/v1/{path}") } else { format!("/api/v1/policies/{policy}/{path}") };
        let body = format!(r#"{{{more}"reason": "{reason}"}}"#);
        Self { path, body, slot, reason, ends }
    }
}

impl Order {
    /// The policy whose pause it ends.
    pub fn resumes(&self) -> Option<&'static str> {
        (self.ends && self.slot.0 == "pauses").then_some(self.slot.1)
    }
}

impl Ledger {
    /// From now on the order may stand.
    pub fn sent(&mut self, order: &Order) {
        let standing = self.standing.entry(order.slot).or_insert_with(|| vec![None]);
        standing.push((!order.ends).then(|| order.reason.clone()));
    }

    /// The order stands if the daemon said so.
    pub fn answered(&mut self, order: &Order, answer: Option<&(u16, String)>) {
        let Some((status, body)) = answer else { return };
        let receipt: Value = serde_json::from_str(body).unwrap_or_default();
        if *status != 200 || !receipt["not_kept_because"].is_null() {
            self.broken.push(format!("{}: {status} {body}", order.path));
            return;
        }
        let standing = self.standing.entry(order.slot).or_default();
        standing.drain(..standing.len() - 1);
        self.acknowledged.insert(order.reason.clone());
    }

    /// The policies that are paused for certain.
    pub fn paused(&self) -> BTreeSet<&'static str> {
        let certain = self.standing.iter().filter(|(slot, may)| slot.0 == "pauses" && may.iter().all(Option::is_some));
        certain.map(|((_, policy), _)| *policy).collect()
    }

    /// Asks the daemon for all that it has acknowledged, as far back as `from`.
    pub async fn check(&mut self, daemon: &Process, from: Timestamp) {
        let Some(status) = json(daemon, "/api/v1/status").await else { return };
        if status["journal"]["state"] != "writable" {
            self.broken.push(format!("the journal: {}", status["journal"]));
        }
        let orders = &status["orders"];
        for (slot @ (kind, policy), may) in &mut self.standing {
            let order = if policy.is_empty() { &orders[kind] } else { &orders[kind][policy] };
            let stands = order["reason"].as_str().map(ToOwned::to_owned);
            if !may.contains(&stands) {
                self.broken.push(format!("{slot:?} is {stands:?}, expected one of {may:?}"));
            }
            *may = vec![stands];
        }
        let Some(history) = history(daemon, from).await else { return };
        let tells: BTreeSet<_> = history.iter().map(|entry| (at(entry), entry.to_string())).collect();
        let lost = self.told.range((from, String::new())..).filter(|told| !tells.contains(told));
        self.broken.extend(lost.map(|(_, text)| format!("the history has lost {text}")));
        self.told.extend(tells);
        self.checks += 1;
    }

    /// Orders that were acknowledged and that the whole `history` does not have.
    pub fn orders_lost(&self, history: &[Value]) -> Vec<String> {
        let reason = |entry: &Value| entry["given"]["reason"].as_str().map(ToOwned::to_owned);
        let told: BTreeSet<String> = history.iter().filter_map(reason).collect();
        let lost = self.acknowledged.iter().filter(|reason| !told.contains(*reason));
        lost.map(|reason| format!("the history has lost the order \"{reason}\"")).collect()
    }

    pub fn figures(&self) -> (usize, usize) {
        (self.acknowledged.len(), self.told.len())
    }
}

pub fn at(entry: &Value) -> Timestamp {
    entry["at"].as_str().expect("a time").parse().expect("a time")
}

async fn json(daemon: &Process, path: &str) -> Option<Value> {
    let (status, body) = daemon.get(path).await?;
    assert_eq!(status, 200, "{path}: {body}");
    Some(serde_json::from_str(&body).expect("JSON"))
}

/// Everything since `from`, newest first.
pub async fn history(daemon: &Process, from: Timestamp) -> Option<Vec<Value>> {
    let (mut entries, mut before) = (Vec::new(), String::new());
    loop {
        let page = json(daemon, &format!("/api/v1/decisions?limit=1000&from={from}{before}")).await?;
        entries.extend(page["decisions"].as_array().expect("decisions").iter().cloned());
        let Some(next) = page["next"].as_str() else { return Some(entries) };
        before = format!("&before={next}");
    }
}
