//! The thread that writes, and the handle by which it is asked to.
//!
//! A disk may hang for minutes. So every request has its patience, after which the journal counts as failing, and whoever
//! asked goes on without it. What failed is tried again by itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;
use redb::Database;
use serde::Serialize;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use super::disk::Disk;
use super::open::{self, OpenError};
use super::record::{Recalled, Record};
use super::store::{self, StoreError};
use super::{Reader, Settings, file_in, retention};
use crate::clock::Clock;

/// Between two attempts to open or to write a journal that failed.
const REST: Duration = Duration::from_secs(5);

/// Between two looks at the age of what is kept.
const TIDY: Duration = Duration::from_mins(1);

/// Between two compactions of a file that does not become small enough.
const COMPACT: Duration = Duration::from_hours(1);

/// Requests that may wait, and most that go into one transaction.
const REQUESTS: usize = 256;

/// Whether what happens is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Health {
    /// There is no journal, as configured.
    #[default]
    Off,
    /// It is.
    Writable,
    /// It is not, and should be.
    Failing {
        /// Since when.
        since: Timestamp,
        /// Why, and what to do about it.
        why: String,
    },
}

/// How the journal does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
// The daemon's is described under the plain name.
#[schema(as = JournalStatus)]
pub struct Status {
    /// Whether what happens is written down.
    #[serde(flatten)]
    pub health: Health,
    /// The file's size in bytes.
    pub size: u64,
    /// Transactions that were written since the start.
    pub commits: u64,
    /// Attempts to open or write that failed since the start.
    pub failures: u64,
    /// Actions in it that this version can't read, and so knows nothing of.
    pub unreadable: usize,
}

/// Why something is not in the journal. It may get there late.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unwritten(pub String);

/// What each opening of the file brings back: the first attempt's failure, and every success.
pub type Openings = mpsc::UnboundedReceiver<Result<Recalled, OpenError>>;

/// The database while it is open, for the thread that writes and for those that read.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<RwLock<Option<Database>>>);

/// A handle to the journal.
#[derive(Clone)]
pub struct Journal {
    /// `None` where there is no journal.
    messages: Option<mpsc::Sender<Message>>,
    status: watch::Sender<Status>,
    shared: Shared,
    clock: Clock,
}

enum Message {
    Write(Request),
    Close(oneshot::Sender<()>),
}

struct Request {
    records: Vec<Record>,
    done: oneshot::Sender<Result<(), Unwritten>>,
}

impl Shared {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Option<Database>) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal {
    /// Starts the thread that writes, which begins by opening the file. Where the settings name no directory there is no
    /// thread, and nothing is ever opened.
    pub fn start(settings: &Settings, clock: Clock) -> (Self, Openings) {
        let Some(directory) = &settings.directory else {
            let (status, shared) = (watch::Sender::default(), Shared::default());
            return (Self { messages: None, status, shared, clock }, mpsc::unbounded_channel().1);
        };
        let (journal, openings, writer, messages) = Self::with(settings, directory, None, clock);
        let thread = std::thread::Builder::new().name("journal".into());
        if let Err(error) = thread.spawn(move || writer.run_alone(messages)) {
            journal.fail(&format!("the journal has no thread: {error}"));
        }
        (journal, openings)
    }

    /// The same on a disk that a trial makes, and in the trial's time: without a thread of its own.
    pub fn start_on(disk: Arc<dyn Disk>, clock: Clock) -> (Self, Openings) {
        let (journal, openings, writer, messages) = Self::with(&Settings::default(), Path::new(""), Some(disk), clock);
        tokio::spawn(writer.run(messages));
        (journal, openings)
    }

    fn with(
        settings: &Settings,
        directory: &Path,
        disk: Option<Arc<dyn Disk>>,
        clock: Clock,
    ) -> (Self, Openings, Writer, mpsc::Receiver<Message>) {
        let (sender, openings) = mpsc::unbounded_channel();
        let (messages, received) = mpsc::channel(REQUESTS);
        let (status, shared) = (watch::Sender::default(), Shared::default());
        let journal = Self { messages: Some(messages), status, shared, clock };
        // Nothing has failed yet, but nothing can be written either.
        let health = Health::Failing { since: clock.now(), why: "the journal is not open yet".into() };
        journal.status.send_modify(|status| status.health = health);
        let writer = Writer {
            settings: settings.clone(),
            directory: directory.to_owned(),
            disk,
            clock,
            shared: journal.shared.clone(),
            status: journal.status.clone(),
            openings: sender,
            bytes: 0,
            rested: None,
            tidied: None,
            compacted: None,
        };
        (journal, openings, writer, received)
    }

    /// How it does, now and later.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Whether there should be a journal and it can't be written.
    pub fn is_failing(&self) -> bool {
        matches!(self.status.borrow().health, Health::Failing { .. })
    }

    /// Whether there is none, as configured.
    pub fn is_off(&self) -> bool {
        self.messages.is_none()
    }

    /// Whoever reads while this writes.
    pub fn reader(&self) -> Reader {
        Reader::new(self.messages.as_ref().map(|_| self.shared.clone()))
    }

    /// Hands `records` over to be written in one transaction, before this returns. They are durable when the future is done
    /// without an error; it is done within `patience`, and at once while the journal is failing.
    ///
    /// # Errors
    /// What is wrong with the journal. The records may still be written, in order, when it recovers.
    pub fn record(
        &self,
        records: Vec<Record>,
        patience: Duration,
    ) -> impl Future<Output = Result<(), Unwritten>> + Send + use<> {
        let (journal, handed) = (self.clone(), self.hand_over(records));
        async move {
            match timeout(patience, handed?).await {
                Ok(Ok(written)) => written,
                Ok(Err(_)) => Err(journal.fail("the journal's thread has ended")),
                Err(_) => Err(journal.fail(&format!("the disk has not answered within {patience:?}"))),
            }
        }
    }

    /// Hands over; gives where the answer will come, unless it is in doubt that one will.
    fn hand_over(&self, records: Vec<Record>) -> Result<oneshot::Receiver<Result<(), Unwritten>>, Unwritten> {
        let Some(messages) = &self.messages else { return Err(Unwritten("this daemon keeps no journal".into())) };
        let (done, answer) = oneshot::channel();
        match messages.try_send(Message::Write(Request { records, done })) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(self.fail("the disk does not answer")),
            Err(TrySendError::Closed(_)) => return Err(self.fail("the journal's thread has ended")),
        }
        if let Health::Failing { why, .. } = &self.status.borrow().health {
            return Err(Unwritten(why.clone()));
        }
        Ok(answer)
    }

    /// Writes what waits, and closes the file. Gives up after `patience`.
    pub async fn close(&self, patience: Duration) {
        let (done, closed) = oneshot::channel();
        let asked = self.messages.as_ref().is_some_and(|messages| messages.try_send(Message::Close(done)).is_ok());
        if asked && timeout(patience, closed).await.is_err() {
            tracing::error!(event = "journal-not-closed", "the journal did not close in time; a restart repairs it");
        }
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn fail(&self, why: &str) -> Unwritten {
        fail(&self.status, why, self.clock.now());
        Unwritten(why.into())
    }
}

/// Notes that the journal is failing; since when stays as it was.
fn fail(status: &watch::Sender<Status>, why: &str, now: Timestamp) {
    status.send_modify(|status| {
        let since = if let Health::Failing { since, .. } = status.health { since } else { now };
        status.health = Health::Failing { since, why: why.into() };
        status.failures += 1;
    });
}

/// The thread's own.
struct Writer {
    settings: Settings,
    directory: PathBuf,
    /// Other than that of the directory.
    disk: Option<Arc<dyn Disk>>,
    clock: Clock,
    shared: Shared,
    status: watch::Sender<Status>,
    openings: mpsc::UnboundedSender<Result<Recalled, OpenError>>,
    /// What all entries take.
    bytes: u64,
    /// When it was last tried to recover.
    rested: Option<Instant>,
    tidied: Option<Instant>,
    compacted: Option<Instant>,
}

impl Writer {
    /// Runs on this thread, which a disk may keep as long as it likes.
    fn run_alone(self, messages: mpsc::Receiver<Message>) {
        let status = self.status.clone();
        let now = self.clock.now();
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.run(messages)),
            Err(error) => fail(&status, &format!("the journal has no timer: {error}"), now),
        }
    }

    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        self.ready().await;
        if let Err(error) = self.open() {
            self.failed(&error);
            // Nobody may be listening.
            let _ = self.openings.send(Err(error));
        }
        loop {
            let mut requests = Vec::new();
            let closing = match timeout(REST, messages.recv()).await {
                Ok(Some(first)) => gather(first, &mut messages, &mut requests),
                Ok(None) => return self.close(),
                Err(_) => None,
            };
            if !requests.is_empty() {
                self.ready().await;
            }
            self.recover();
            if !requests.is_empty() {
                self.write(requests);
            }
            self.tidy();
            if let Some(done) = closing {
                self.close();
                let _ = done.send(());
                return;
            }
        }
    }

    async fn ready(&self) {
        if let Some(disk) = &self.disk {
            disk.ready().await;
        }
    }

    fn size(&self) -> u64 {
        let file = || retention::size(&file_in(&self.directory));
        self.disk.as_ref().map_or_else(file, |disk| disk.storage().len().unwrap_or_default())
    }

    fn open(&mut self) -> Result<(), OpenError> {
        let mut database = match &self.disk {
            None => open::open(&self.directory)?,
            Some(disk) => open::open_on(&file_in(&self.directory), &**disk)?,
        };
        let now = self.clock.now();
        let (recalled, bytes) = self.guarded(|| {
            store::prepare(&database)?;
            Ok((store::recall(&database, now)?, retention::bytes(&database)?))
        })?;
        if self.size() > self.settings.max_size {
            self.compacted = Some(Instant::now());
            // It is no smaller then, and nothing else is wrong.
            let _ = database.compact();
        }
        self.bytes = bytes;
        self.shared.change(|shared| *shared = Some(database));
        self.written();
        self.tell_unreadable(recalled.unreadable);
        let _ = self.openings.send(Ok(recalled));
        Ok(())
    }

    /// Tries again what failed, now and then.
    fn recover(&mut self) {
        let failing = matches!(self.status.borrow().health, Health::Failing { .. });
        if !failing || self.rested.is_some_and(|rested| rested.elapsed() < REST) {
            return;
        }
        self.rested = Some(Instant::now());
        let closed = self.shared.read().is_none();
        let outcome = if closed { self.open() } else { self.with(|database| Ok(open::stamp(database)?)) };
        match outcome {
            Ok(()) => self.written(),
            Err(error) => self.failed(&error),
        }
    }

    /// Everything that waits goes into one transaction.
    fn write(&mut self, requests: Vec<Request>) {
        let records = || requests.iter().flat_map(|request| &request.records);
        let outcome = self.with(|database| store::write(database, records()));
        let answer = match &outcome {
            Ok(grown) => {
                self.bytes = self.bytes.saturating_add(*grown);
                self.written();
                Ok(())
            }
            Err(error) => {
                self.failed(error);
                Err(Unwritten(error.to_string()))
            }
        };
        for request in requests {
            // Whoever asked may have lost patience.
            let _ = request.done.send(answer.clone());
        }
    }

    fn tidy(&mut self) {
        let crowded = self.bytes > retention::most(&self.settings);
        if !crowded && self.tidied.is_some_and(|tidied| tidied.elapsed() < TIDY) {
            return;
        }
        self.tidied = Some(Instant::now());
        let (now, bytes) = (self.clock.now(), self.bytes);
        let pruned = self.with(|database| {
            let due = retention::due(database, &self.settings, bytes, now)?;
            if due { retention::prune(database, &self.settings, bytes, now) } else { Ok(bytes) }
        });
        match pruned {
            Ok(bytes) => self.bytes = bytes,
            Err(error) if self.shared.read().is_some() => return self.failed(&error),
            Err(_) => {}
        }
        let size = self.size();
        let rested = self.compacted.is_none_or(|compacted| compacted.elapsed() > COMPACT);
        if size > self.settings.max_size && rested {
            self.compacted = Some(Instant::now());
            self.shared.change(|database| database.as_mut().map(Database::compact));
        }
        let size = self.size();
        self.status.send_if_modified(|status| std::mem::replace(&mut status.size, size) != size);
    }

    fn close(&self) {
        self.shared.change(|shared| drop(shared.take()));
    }

    /// Works on the database, if it is open.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, OpenError> {
        let shared = self.shared.read();
        let Some(database) = &*shared else {
            let health = self.status.borrow().health.clone();
            let why = if let Health::Failing { why, .. } = health { why } else { "it is closed".into() };
            return Err(OpenError::Closed { why });
        };
        self.guarded(|| work(database))
    }

    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, OpenError> {
        let path = file_in(&self.directory);
        open::guarded(&path, || {
            work().map_err(|error| match error {
                StoreError::Database(error) => open::of(&path, error),
                StoreError::Record(error) => OpenError::Failed { path: path.clone(), why: error.to_string() },
            })
        })
    }

    fn written(&self) {
        self.status.send_modify(|status| {
            status.health = Health::Writable;
            status.commits += 1;
        });
    }

    fn tell_unreadable(&self, unreadable: usize) {
        if unreadable > 0 {
            tracing::error!(
                event = "records-unreadable",
                unreadable,
                "the journal has actions that this version can't read; their cooldowns are not kept"
            );
        }
        self.status.send_modify(|status| status.unreadable = unreadable);
    }

    /// After an error the database refuses everything until it is opened anew.
    fn failed(&mut self, error: &OpenError) {
        self.close();
        self.rested = Some(Instant::now());
        fail(&self.status, &error.to_string(), self.clock.now());
    }
}

/// Everything that waits with `first`, up to a wish to close.
fn gather(
    first: Message,
    messages: &mut mpsc::Receiver<Message>,
    requests: &mut Vec<Request>,
) -> Option<oneshot::Sender<()>> {
    let mut next = Some(first);
    while let Some(message) = next {
        match message {
            Message::Write(request) => requests.push(request),
            Message::Close(done) => return Some(done),
        }
        next = (requests.len() < REQUESTS).then(|| messages.try_recv().ok()).flatten();
    }
    None
}
