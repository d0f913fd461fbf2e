//! Reads what happened, newest first, while the journal is written or when nobody has it open.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use redb::{Database, ReadableDatabase};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::file_in;
use super::open::{self, OpenError};
use super::record::{EVERY_POLICY, Entry};
use super::store::{self, AGES, ENTRIES, StoreError};
use super::writer::Shared;

/// Most entries of one page.
pub const MOST_ENTRIES: usize = 1000;

/// Most readers at a time, so that a disk that hangs takes no more threads than these.
const READERS: usize = 4;

/// The longest that a reader waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which entries.
#[derive(Clone, Debug)]
pub struct Query {
    /// Of one policy, with those that concern all of them; `None`: of any.
    pub policy: Option<String>,
    /// Not older than this.
    pub from: Option<Timestamp>,
    /// Older than this.
    pub before: Option<Timestamp>,
    /// At most so many, and at most [`MOST_ENTRIES`].
    pub limit: usize,
}

/// Some entries, newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The `before` that gives the next page; `None`: there is no more.
    pub next: Option<Timestamp>,
}

/// Why nothing can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is no journal.
    #[error("this daemon keeps no journal; set [state] path, and it remembers what it decides")]
    Off,
    /// It is not open, or the disk does not answer.
    #[error("the journal can't be read now: {0}")]
    Unavailable(String),
}

/// Reads the journal of a running daemon.
#[derive(Clone)]
pub struct Reader {
    /// `None` where there is no journal.
    shared: Option<Shared>,
    turns: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(shared: Option<Shared>) -> Self {
        Self { shared, turns: Arc::new(Semaphore::new(READERS)) }
    }

    /// A reader of no journal.
    pub fn off() -> Self {
        Self::new(None)
    }

    /// Reads a page.
    ///
    /// # Errors
    /// There is no journal, or it can't be read at the moment.
    pub async fn page(&self, query: Query) -> Result<Page, ReadError> {
        let shared = self.shared.clone().ok_or(ReadError::Off)?;
        let unavailable = |why: &str| ReadError::Unavailable(why.into());
        let turns = self.turns.clone();
        let reading = async move {
            let turn = turns.acquire_owned().await;
            let work = move || {
                // Held until the thread is done, however long ago its reader has left.
                let _turn = turn;
                match &*shared.read() {
                    Some(database) => page(database, &query).map_err(|error| ReadError::Unavailable(error.to_string())),
                    None => Err(ReadError::Unavailable("it is not open; see the log".into())),
                }
            };
            tokio::task::spawn_blocking(work).await
        };
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(page)) => page,
            Ok(Err(_)) => Err(unavailable("the database can't make sense of it")),
            Err(_) => Err(unavailable("the disk does not answer")),
        }
    }

    /// Reads a page from the journal in `directory`, while no daemon has it open.
    ///
    /// # Errors
    /// Why the file can't be used.
    pub fn page_in(directory: &Path, query: &Query) -> Result<Page, OpenError> {
        let path = file_in(directory);
        if !path.exists() {
            return Err(OpenError::Failed { path, why: "there is no such file".into() });
        }
        let said = |error| match error {
            StoreError::Database(error) => open::of(&path, error),
            StoreError::Record(error) => OpenError::Failed { path: path.clone(), why: error.to_string() },
        };
        match open::open_to_read(directory) {
            Ok(database) => open::guarded(&path, || page(&database, query).map_err(said)),
            // After a crash it must be repaired before it can be read.
            Err(OpenError::Unrepaired { .. }) => {
                let database: Database = open::open(directory)?;
                open::guarded(&path, || page(&database, query).map_err(said))
            }
            Err(error) => Err(error),
        }
    }
}

fn page(database: &impl ReadableDatabase, query: &Query) -> Result<Page, StoreError> {
    let limit = query.limit.clamp(1, MOST_ENTRIES);
    let from = query.from.map_or(i64::MIN, Timestamp::as_microsecond);
    let before = query.before.map_or(i64::MAX, Timestamp::as_microsecond);
    let mut keys = match &query.policy {
        Some(policy) => of_policies(database, &[policy, EVERY_POLICY], from, before, limit + 1)?,
        None => of_any(database, from, before, limit + 1)?,
    };
    let more = keys.len() > limit;
    keys.truncate(limit);
    let next = keys.last().filter(|_| more).and_then(|(at, _)| Timestamp::from_microsecond(*at).ok());
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    let entry = |(at, policy): &(i64, String)| {
        entries.get((policy.as_str(), *at)).map_err(StoreError::from)?.map(|row| store::read(row.value())).transpose()
    };
    Ok(Page { entries: keys.iter().filter_map(|key| entry(key).transpose()).collect::<Result<_, _>>()?, next })
}

/// The newest keys of `policies` together.
fn of_policies(
    database: &impl ReadableDatabase,
    policies: &[&str],
    from: i64,
    before: i64,
    limit: usize,
) -> Result<Vec<(i64, String)>, StoreError> {
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    let mut keys = Vec::new();
    for &policy in policies {
        if from < before {
            for row in entries.range((policy, from)..(policy, before))?.rev().take(limit) {
                let at = row?.0.value().1;
                keys.push((at, policy.to_owned()));
            }
        }
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    keys.truncate(limit);
    Ok(keys)
}

/// The newest keys of all policies.
fn of_any(
    database: &impl ReadableDatabase,
    from: i64,
    before: i64,
    limit: usize,
) -> Result<Vec<(i64, String)>, StoreError> {
    if from >= before {
        return Ok(Vec::new());
    }
    let ages = database.begin_read()?.open_table(AGES)?;
    let range = (Bound::Included((from, "")), Bound::Excluded((before, "")));
    let mut keys = Vec::new();
    for row in ages.range::<(i64, &str)>(range)?.rev().take(limit) {
        let (key, _) = row?;
        let (at, policy) = key.value();
        keys.push((at, policy.to_owned()));
    }
    Ok(keys)
}
