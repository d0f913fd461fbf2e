//! Sends notices: one message at a time, again where it did not arrive, and never faster than is allowed. What comes in
//! meanwhile waits and goes with the next.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode, redirect};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, watch};

use super::{Address, Channel, Kind, Notice, Outlook, message};
use crate::clock::Clock;
use crate::status::{Board, Delivery, Snapshot};

/// Time between two looks at the snapshot, on its clock.
const LOOK: Duration = Duration::from_secs(1);
/// Notices that wait; the oldest give way.
const WAITING: usize = 1000;
/// Notices in one message.
const TOGETHER: usize = 100;
const DEADLINE: Duration = Duration::from_secs(10);
/// Attempts at one message, about an hour and a half in all.
const ATTEMPTS: u32 = 24;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
const LONGEST_FILE: u64 = 4096;

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file that is needed holds nothing of use.
    #[error("the file {file} {why}")]
    File {
        /// Which.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answered in time. The address is not shown: whoever knows it may post.
    #[error("no answer")]
    Unreachable(#[source] reqwest::Error),
    /// It was answered, but not taken.
    #[error("refused with {0}")]
    Refused(StatusCode, Option<Duration>),
}

impl Failure {
    /// Whether another attempt at the same may be more fortunate.
    fn is_passing(&self) -> bool {
        match self {
            // An operator may put the file right.
            Self::File { .. } | Self::Unreachable(_) => true,
            Self::Refused(status, _) => {
                status.is_server_error()
                    || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(status)
            }
        }
    }
}

/// A channel, and what waits for it.
#[derive(Debug)]
pub(super) struct Outlet {
    channel: Channel,
    board: Board,
    clock: Clock,
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    notices: VecDeque<Notice>,
    /// How many gave way since the last message.
    dropped: u64,
}

/// One message, which keeps its id through all attempts, so that a receiver knows it again.
struct Message {
    id: String,
    body: String,
}

impl Outlet {
    pub(super) fn new(channel: Channel, board: Board, clock: Clock) -> Self {
        Self { channel, board, clock, waiting: Mutex::default(), arrived: Notify::new() }
    }

    /// What the snapshot says before anything was sent.
    pub(super) fn begun(&self) -> (Arc<str>, Delivery) {
        (self.channel.name.clone(), Delivery::default())
    }

    fn take(&self, notices: &[Notice]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: Vec<&Notice> = notices.iter().filter(|notice| self.channel.wants(notice)).collect();
        if wanted.is_empty() {
            return;
        }
        waiting.notices.extend(wanted.into_iter().cloned());
        let over = waiting.notices.len().saturating_sub(WAITING);
        drop(waiting.notices.drain(..over));
        let over = u64::try_from(over).unwrap_or(u64::MAX);
        waiting.dropped += over;
        drop(waiting);
        if over > 0 {
            self.show(|delivery| delivery.dropped += over);
        }
        self.arrived.notify_one();
    }

    fn next(&self) -> Option<(Vec<Notice>, u64)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.notices.len().min(TOGETHER);
        let notices: Vec<Notice> = waiting.notices.drain(..count).collect();
        (count > 0).then(|| (notices, std::mem::take(&mut waiting.dropped)))
    }

    fn show(&self, change: impl FnOnce(&mut Delivery)) {
        self.board.publish(|snapshot| {
            if let Some(delivery) = snapshot.notifications.get_mut(&self.channel.name) {
                change(delivery);
            }
        });
    }

    pub(super) async fn run(self: Arc<Self>) {
        let between = Duration::from_mins(1) / self.channel.per_minute.max(1);
        loop {
            let Some((notices, dropped)) = self.next() else {
                self.arrived.notified().await;
                continue;
            };
            let message = Message::new(&self.channel, &notices, dropped, self.clock.now());
            let failure = self.insist(&message).await.err();
            let (name, count) = (&self.channel.name, notices.len());
            if let Some(why) = &failure {
                tracing::error!(event = "notification-lost", channel = %name, notices = count, why, "a notification is given up");
            }
            self.show(|delivery| {
                *(if failure.is_none() { &mut delivery.sent } else { &mut delivery.failed }) += 1;
                delivery.error = failure;
            });
            tokio::time::sleep(between).await;
        }
    }

    /// Sends until it has arrived, or there is no hope.
    async fn insist(&self, message: &Message) -> Result<(), String> {
        let mut attempt = 0;
        loop {
            let Err(failure) = message.send(&self.channel, self.clock).await else { return Ok(()) };
            attempt += 1;
            let why = crate::telemetry::chain(&failure);
            if !failure.is_passing() || attempt == ATTEMPTS {
                return Err(why);
            }
            if attempt == 1 {
                let name = &self.channel.name;
                tracing::warn!(event = "notification-delayed", channel = %name, why, "a notification is tried again");
            }
            self.show(|delivery| delivery.error = Some(why));
            let asked = if let Failure::Refused(_, after) = failure { after } else { None };
            tokio::time::sleep(pause(attempt, asked, fraction())).await;
        }
    }
}

/// How long to wait after so many attempts: doubled each time, less up to half of it by chance, and never less than asked.
fn pause(attempt: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST_PAUSE);
    doubled.mul_f64(1.0 - chance / 2.0).max(asked.unwrap_or_default())
}

/// Looks at the snapshot as often as it changes, but no more often than once a second, and at least every 15 s: what is
/// late changes nothing.
pub(super) async fn look_out(mut board: watch::Receiver<Snapshot>, clock: Clock, outlets: Vec<Arc<Outlet>>) {
    let mut outlook = Outlook::default();
    loop {
        let notices = outlook.look(&board.borrow_and_update(), clock.now());
        for outlet in &outlets {
            outlet.take(&notices);
        }
        tokio::time::sleep(clock.on_the_wall(LOOK)).await;
        if let Ok(Err(_)) = tokio::time::timeout(clock.on_the_wall(LOOK * 14), board.changed()).await {
            return;
        }
    }
}

/// Sends `notices` to `channel` once.
pub(super) async fn tell(channel: &Channel, notices: &[Notice], clock: Clock) -> Result<(), Failure> {
    Message::new(channel, notices, 0, clock.now()).send(channel, clock).await
}

impl Message {
    fn new(channel: &Channel, notices: &[Notice], dropped: u64, now: Timestamp) -> Self {
        let body = match channel.kind {
            Kind::Webhook { .. } => message::webhook(notices, dropped, now),
            Kind::Slack => message::slack(notices, dropped),
        };
        Self { id: format!("msg_{}", random().map(|byte| format!("{byte:02x}")).concat()), body }
    }

    async fn send(&self, channel: &Channel, clock: Clock) -> Result<(), Failure> {
        let url = match &channel.url {
            Address::Url(url) => url.clone(),
            Address::File(file) => read(file).await?,
        };
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(DEADLINE);
        let client = client.build().map_err(Failure::Unreachable)?;
        let mut request = client.post(&url).header(CONTENT_TYPE, "application/json").body(self.body.clone());
        if let Kind::Webhook { secret_file } = &channel.kind {
            let second = clock.now().as_second();
            let signature = message::signature(&read(secret_file).await?, &self.id, second, &self.body)
                .map_err(|why| Failure::File { file: secret_file.display().to_string(), why })?;
            request = request
                .header("webhook-id", &self.id)
                .header("webhook-timestamp", second)
                .header("webhook-signature", signature);
        }
        let answer = request.send().await.map_err(|error| Failure::Unreachable(error.without_url()))?;
        if answer.status().is_success() { Ok(()) } else { Err(refused(&answer)) }
    }
}

fn refused(answer: &Response) -> Failure {
    let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Failure::Refused(answer.status(), after.map(|seconds| Duration::from_secs(seconds).min(Duration::from_hours(1))))
}

/// The text of a small file, without the white space around it.
async fn read(file: &Path) -> Result<String, Failure> {
    let failure = |why: String| Failure::File { file: file.display().to_string(), why };
    let opened = File::open(file).await.map_err(|error| failure(format!("can't be opened: {error}")))?;
    let mut text = String::new();
    let read = opened.take(LONGEST_FILE).read_to_string(&mut text).await;
    read.map_err(|error| failure(format!("can't be read: {error}")))?;
    let text = text.trim();
    if text.is_empty() { Err(failure("is empty".into())) } else { Ok(text.to_owned()) }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // Where the system has no chance to give, nothing secret rests on it.
    let _ = SystemRandom::new().fill(&mut bytes);
    bytes
}

/// In 0..1.
fn fraction() -> f64 {
    f64::from(random()[0]) / 256.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_ever_later_and_never_before_they_may() {
        let seconds =
            |attempt, asked: Option<u64>, chance| pause(attempt, asked.map(Duration::from_secs), chance).as_secs_f64();
        let check = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-9, "{got} and not {expected}");
        check(seconds(1, None, 0.0), 1.0);
        check(seconds(3, None, 0.0), 4.0);
        check(seconds(3, None, 1.0), 2.0);
        check(seconds(30, None, 0.0), 300.0);
        check(seconds(1, Some(60), 0.5), 60.0);
    }
}
