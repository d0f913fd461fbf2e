//! Tells people what they would want to be told: a scaling, a failure, a limit, an operator's order.
//!
//! What there is to tell follows from two snapshots, by pure code; how it is sent, again if need be, is a task of its own.
//! It never acts on a group, and no cycle ever waits for it.

mod delivery;
mod message;
mod outlook;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

pub use self::delivery::Failure;
use self::delivery::Outlet;
pub use self::outlook::Outlook;
use crate::clock::Clock;
use crate::status::Board;

/// Somewhere that notices go: one `[[notification]]` of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Its name.
    pub name: Arc<str>,
    /// How it is spoken to.
    pub kind: Kind,
    /// Where that is.
    pub url: Address,
    /// What is told there.
    pub topics: Vec<Topic>,
    /// Of which policies: names, or beginnings of names that end in `*`. Empty: of every policy.
    pub policies: Vec<String>,
    /// The most messages a minute. What comes in between goes with the next.
    pub per_minute: u32,
}

/// How a channel is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// JSON, signed as <https://www.standardwebhooks.com> has it.
    Webhook {
        /// The file with the secret that it is signed with, which is read for every message.
        secret_file: PathBuf,
    },
    /// What Slack's incoming webhooks take, and those of others after their model.
    Slack,
}

/// Where a channel is.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    /// There.
    Url(String),
    /// A file holds it, since whoever knows it may post. It is read for every message.
    File(PathBuf),
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// The desired capacity was set.
    Scale,
    /// Something does not work: a policy that can't see, a call that was refused, the journal, a reload, a lane.
    Failure,
    /// A policy is held at its maximum and wants more.
    Limit,
    /// An operator ordered something, or an order has ended.
    Order,
}

/// Whether something has only happened, or lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It has happened.
    Happened,
    /// It lasts. Its end is told also.
    Began,
    /// It is over.
    Ended,
}

/// One thing that is told.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Notice {
    /// When it was noticed.
    pub at: Timestamp,
    /// What it is about.
    pub topic: Topic,
    /// Whether it lasts.
    pub state: State,
    /// The policy that it concerns; none where it concerns the daemon.
    pub policy: Option<Arc<str>>,
    /// A sentence.
    pub text: String,
}

impl Channel {
    /// Whether this is told there.
    pub fn wants(&self, notice: &Notice) -> bool {
        let is_named = |policy: &str| {
            self.policies.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => policy.starts_with(start),
                None => policy == pattern,
            })
        };
        let concerns = self.policies.is_empty() || notice.policy.as_deref().is_none_or(is_named);
        concerns && self.topics.contains(&notice.topic)
    }
}

/// The running notifications of a configuration. They end when this is dropped.
#[derive(Debug, Default)]
pub struct Notifier(#[expect(dead_code, reason = "what is dropped with it ends")] JoinSet<()>);

impl Notifier {
    /// Starts to watch `board` and to tell each of `channels`; without any it does nothing at all.
    pub fn start(channels: &[Channel], board: &Board, clock: Clock) -> Self {
        let mut tasks = JoinSet::new();
        let outlets: Vec<Arc<Outlet>> =
            channels.iter().map(|channel| Arc::new(Outlet::new(channel.clone(), board.clone(), clock))).collect();
        board.publish(|snapshot| snapshot.notifications = outlets.iter().map(|outlet| outlet.begun()).collect());
        for outlet in &outlets {
            tasks.spawn(outlet.clone().run());
        }
        if !outlets.is_empty() {
            tasks.spawn(delivery::look_out(board.reader(), clock, outlets));
        }
        Self(tasks)
    }
}

/// Sends one notice to `channel` and says what came of it; nothing is tried again.
///
/// # Errors
/// Why it did not arrive.
pub async fn tell(channel: &Channel, notice: Notice, clock: Clock) -> Result<(), Failure> {
    delivery::tell(channel, &[notice], clock).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_told_its_topics_of_its_policies_and_of_the_daemon() {
        let channel = |policies: &[&str]| Channel {
            name: "chat".into(),
            kind: Kind::Slack,
            url: Address::Url("http://127.0.0.1".into()),
            topics: vec![Topic::Failure],
            policies: policies.iter().map(|&policy| policy.to_owned()).collect(),
            per_minute: 6,
        };
        let notice = |topic, policy: Option<&str>| Notice {
            at: Timestamp::UNIX_EPOCH,
            topic,
            state: State::Happened,
            policy: policy.map(Arc::from),
            text: String::new(),
        };
        let check = |policies: &[&str], topic, policy, expected| {
            assert_eq!(channel(policies).wants(&notice(topic, policy)), expected, "{policies:?} {topic:?} {policy:?}");
        };
        check(&[], Topic::Failure, Some("web"), true);
        check(&[], Topic::Scale, Some("web"), false);
        check(&["web"], Topic::Failure, Some("web-2"), false);
        check(&["web*"], Topic::Failure, Some("web-2"), true);
        check(&["shop", "web"], Topic::Failure, Some("web"), true);
        check(&["web"], Topic::Failure, None, true);
    }
}
