//! What there is to tell, from one look at the snapshot to the next. Pure: it is told what time it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Notice, State, Topic};
use crate::control::{Outcome, Reason};
use crate::journal::Health;
use crate::observation::elapsed;
use crate::order::{Override, Pause, Scope, Standing};
use crate::status::{Action, PolicyStatus, Snapshot};

/// A policy is blind, or a lane late, for this long before anybody is told.
const PATIENCE: Duration = Duration::from_mins(2);
/// What lasts is over when it was not seen for this long, so that what comes and goes is told once.
const CALM: Duration = Duration::from_mins(5);

/// What was seen at the last look, and what lasts since when.
#[derive(Debug, Default)]
pub struct Outlook {
    looked: Option<Look>,
    lasting: BTreeMap<Matter, Episode>,
}

#[derive(Debug)]
struct Look {
    orders: Arc<Standing>,
    refused: u64,
    /// When each policy acted last.
    acted: BTreeMap<Arc<str>, Timestamp>,
}

/// What may last, and whose it is.
type Matter = (&'static str, Option<Arc<str>>);

#[derive(Debug)]
struct Episode {
    since: Timestamp,
    last: Timestamp,
    told: bool,
}

impl Outlook {
    /// What is new in `snapshot` at `now`. The first look tells only what lasts: what happened before is history.
    pub fn look(&mut self, snapshot: &Snapshot, now: Timestamp) -> Vec<Notice> {
        let mut teller = Teller { now, notices: Vec::new() };
        if let Some(before) = &self.looked {
            teller.happened(before, snapshot);
        }
        let mut lasting = Vec::new();
        of_the_daemon(snapshot, now, &mut lasting);
        snapshot.policies.values().for_each(|policy| of_the_policy(policy, &mut lasting));
        self.follow(lasting, &mut teller);
        let acted = snapshot
            .policies
            .values()
            .filter_map(|policy| Some((policy.name.clone(), policy.last_action.as_ref()?.at)));
        let refused = snapshot.configuration.reloads_refused;
        self.looked = Some(Look { orders: snapshot.orders.clone(), refused, acted: acted.collect() });
        teller.notices
    }

    /// Tells what has begun to last, and what is over.
    fn follow(&mut self, lasting: Vec<Lasting>, teller: &mut Teller) {
        let now = teller.now;
        for Lasting { matter, topic, patience, text } in lasting {
            let policy = matter.1.clone();
            let new = Episode { since: now, last: now, told: false };
            let episode = self.lasting.entry(matter).or_insert(new);
            episode.last = now;
            if !episode.told && elapsed(episode.since, now) >= patience {
                episode.told = true;
                teller.tell(topic, State::Began, policy, text);
            }
        }
        self.lasting.retain(|(what, policy), episode| {
            let over = elapsed(episode.last, now) >= if episode.told { CALM } else { Duration::ZERO };
            let over = over && episode.last < now;
            if over && episode.told {
                let (topic, text) = ended(what);
                teller.tell(topic, State::Ended, policy.clone(), text.to_owned());
            }
            !over
        });
    }
}

/// Something that is so at this look.
struct Lasting {
    matter: Matter,
    topic: Topic,
    patience: Duration,
    text: String,
}

const BLIND: &str = "blind";
const REFUSED: &str = "refused";
const AT_MAXIMUM: &str = "at-maximum";
const HELD_BACK: &str = "held-back";
const JOURNAL: &str = "journal";
const LATE: &str = "late";

/// The sentence for the end of what lasted.
fn ended(what: &str) -> (Topic, &'static str) {
    match what {
        BLIND => (Topic::Failure, "sees its metrics and its group again"),
        REFUSED => (Topic::Failure, "no call has been refused for five minutes"),
        AT_MAXIMUM => (Topic::Limit, "no longer wants more than its maximum"),
        HELD_BACK => (Topic::Limit, "is no longer held back from adding"),
        JOURNAL => (Topic::Failure, "the journal is written again"),
        _ => (Topic::Failure, "every lane finishes its cycles again"),
    }
}

fn of_the_daemon(snapshot: &Snapshot, now: Timestamp, lasting: &mut Vec<Lasting>) {
    let mut add = |what, patience, text| {
        lasting.push(Lasting { matter: (what, None), topic: Topic::Failure, patience, text });
    };
    if let Health::Failing { why, .. } = &snapshot.journal.health {
        add(JOURNAL, Duration::ZERO, format!("nothing is removed while the journal can't be written: {why}"));
    }
    if let Err(late) = snapshot.liveness(now) {
        add(LATE, PATIENCE, late);
    }
}

fn of_the_policy(policy: &PolicyStatus, lasting: &mut Vec<Lasting>) {
    let mut add = |what, topic, patience, text| {
        lasting.push(Lasting { matter: (what, Some(policy.name.clone())), topic, patience, text });
    };
    if let Some(why) = blindness(policy) {
        add(BLIND, Topic::Failure, PATIENCE, format!("can't see: {why}"));
    }
    let Some(evaluation) = &policy.evaluation else { return };
    if let Some(Action { from, to, outcome: Outcome::Rejected(_) | Outcome::Unknown, error, .. }) =
        policy.last_action.as_ref().filter(|action| action.at == evaluation.at)
    {
        let error = error.as_deref().unwrap_or("no answer");
        add(REFUSED, Topic::Failure, Duration::ZERO, format!("could not be set from {from} to {to}: {error}"));
    }
    let stated =
        |is: fn(&Reason) -> bool| evaluation.reasons.iter().map(|stated| &stated.reason).find(|&reason| is(reason));
    if let Some(reason) = stated(held_back) {
        add(HELD_BACK, Topic::Limit, Duration::ZERO, reason.to_string());
    }
    if let Some(reason) = stated(held_at_maximum) {
        let wanted = evaluation.recommended().map_or_else(String::new, |wanted| format!(", {wanted} are wanted"));
        add(AT_MAXIMUM, Topic::Limit, Duration::ZERO, format!("{reason}{wanted}"));
    }
}

/// Why the policy can decide nothing.
fn blindness(policy: &PolicyStatus) -> Option<String> {
    let Some(evaluation) = &policy.evaluation else { return policy.because.clone() };
    let is_blind =
        |reason: &Reason| matches!(reason, Reason::GroupUnknown | Reason::NoValidMetric | Reason::FellBack { .. });
    let stated = evaluation.reasons.iter().find(|stated| is_blind(&stated.reason))?;
    let details =
        policy.metrics.iter().filter_map(|metric| Some(format!("{}: {}", metric.name, metric.detail.as_ref()?)));
    let details: Vec<String> = details.chain(policy.group_detail.clone()).collect();
    Some(if details.is_empty() {
        stated.reason.to_string()
    } else {
        format!("{} ({})", stated.reason, details.join("; "))
    })
}

fn held_at_maximum(reason: &Reason) -> bool {
    matches!(reason, Reason::LoweredToMax { .. })
}

fn held_back(reason: &Reason) -> bool {
    matches!(reason, Reason::SpendLimited { .. } | Reason::ScaleOutNotHelping { .. })
}

/// Collects what is told at one look.
struct Teller {
    now: Timestamp,
    notices: Vec<Notice>,
}

impl Teller {
    fn tell(&mut self, topic: Topic, state: State, policy: Option<Arc<str>>, text: String) {
        self.notices.push(Notice { at: self.now, topic, state, policy, text });
    }

    fn happened(&mut self, before: &Look, snapshot: &Snapshot) {
        for policy in snapshot.policies.values() {
            let known = before.acted.get(&policy.name);
            let new = policy.last_action.as_ref().filter(|action| known.is_none_or(|known| *known < action.at));
            if let Some(Action { from, to, because, outcome: Outcome::Applied, .. }) = new {
                let text = format!("desired capacity {from} \u{2192} {to}: {because}");
                self.tell(Topic::Scale, State::Happened, Some(policy.name.clone()), text);
            }
        }
        if snapshot.configuration.reloads_refused > before.refused {
            let error = snapshot.configuration.reload_error.as_deref().unwrap_or("it was put right since");
            let text = format!("a reload was refused, the configuration stays as it was: {error}");
            self.tell(Topic::Failure, State::Happened, None, text);
        }
        self.orders(&before.orders, &snapshot.orders);
    }

    fn orders(&mut self, before: &Standing, now: &Standing) {
        self.order(None, before.freeze.as_ref(), now.freeze.as_ref(), "the freeze");
        let pauses: Vec<&Arc<str>> = before.pauses.keys().chain(now.pauses.keys()).collect();
        for policy in distinct(pauses) {
            self.order(Some(policy), before.pauses.get(policy), now.pauses.get(policy), "the pause");
        }
        let overrides: Vec<&Arc<str>> = before.overrides.keys().chain(now.overrides.keys()).collect();
        for policy in distinct(overrides) {
            self.order(Some(policy), before.overrides.get(policy), now.overrides.get(policy), "the override");
        }
    }

    fn order<T: Stands>(&mut self, policy: Option<&Arc<str>>, before: Option<&T>, after: Option<&T>, name: &str) {
        let (state, text) = match (before, after) {
            (Some(before), None) if before.until() <= self.now => (State::Ended, format!("{name} has ended by itself")),
            (Some(_), None) => (State::Ended, format!("{name} was ended by an operator")),
            (before, Some(after)) if before != Some(after) => (State::Began, after.says()),
            _ => return,
        };
        self.tell(Topic::Order, state, policy.cloned(), text);
    }
}

fn distinct(mut names: Vec<&Arc<str>>) -> Vec<&Arc<str>> {
    names.sort_unstable();
    names.dedup();
    names
}

/// An order that stands for a while.
trait Stands: PartialEq {
    fn until(&self) -> Timestamp;
    fn says(&self) -> String;
}

impl Stands for Pause {
    fn until(&self) -> Timestamp {
        self.until
    }

    fn says(&self) -> String {
        let what = match self.scope {
            Scope::Both => "scaling",
            Scope::ScaleIn => "scale-in",
            Scope::ScaleOut => "scale-out",
        };
        let (by, reason) = (&self.author.by, &self.author.reason);
        format!("{what} is paused until {} by {by}: {reason}", minute(self.until))
    }
}

impl Stands for Override {
    fn until(&self) -> Timestamp {
        self.until
    }

    fn says(&self) -> String {
        let bound =
            |name: &str, bound: Option<_>| bound.map(|bound: crate::policy::Capacity| format!("{name} {bound}"));
        let bounds: Vec<String> = [bound("floor", self.floor), bound("cap", self.cap)].into_iter().flatten().collect();
        let (by, reason) = (&self.author.by, &self.author.reason);
        format!("{} until {} by {by}: {reason}", bounds.join(", "), minute(self.until))
    }
}

fn minute(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%d %H:%M UTC")
}
