//! Reads what happened, newest first, while the journal is written or when nobody has it open.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use redb::{Database, ReadableDatabase};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::cursor::Cursor;
use super::file_in;
use super::open::{self, OpenError};
use super::record::{EVERY_POLICY, Entry};
use super::store::{self, AGES, ENTRIES, StoreError};
use super::writer::Shared;
use crate::account::Stretch;

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
    /// After this one, on the way from the newest to the oldest.
    pub before: Option<Cursor>,
    /// At most so many, and at most [`MOST_ENTRIES`].
    pub limit: usize,
}

/// Some entries, newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Entries between these that this version can't read, and that are left out.
    pub unreadable: usize,
    /// The `before` that gives the next page; `None`: there is no more.
    pub next: Option<Cursor>,
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
        self.read(move |database| page(database, &query)).await
    }

    /// What the group with this [`account`](crate::account::name) came to, oldest first, as far back as it is kept.
    ///
    /// # Errors
    /// There is no journal, or it can't be read at the moment.
    pub async fn stretches(&self, account: Arc<str>) -> Result<Vec<Stretch>, ReadError> {
        self.read(move |database| store::stretches(database, &account)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let shared = self.shared.clone().ok_or(ReadError::Off)?;
        let unavailable = |why: &str| ReadError::Unavailable(why.into());
        let turns = self.turns.clone();
        let reading = async move {
            let turn = turns.acquire_owned().await;
            let work = move || {
                // Held until the thread is done, however long ago its reader has left.
                let _turn = turn;
                match &*shared.read() {
                    Some(database) => read(database).map_err(|error| ReadError::Unavailable(error.to_string())),
                    None => Err(ReadError::Unavailable("it is not open; see the log".into())),
                }
            };
            tokio::task::spawn_blocking(work).await
        };
        match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(read)) => read,
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

/// Which keys are asked for.
struct Range<'a> {
    from: i64,
    before: &'a Cursor,
    most: usize,
}

fn page(database: &impl ReadableDatabase, query: &Query) -> Result<Page, StoreError> {
    let limit = query.limit.clamp(1, MOST_ENTRIES);
    let from = query.from.map_or(i64::MIN, Timestamp::as_microsecond);
    let newest = Cursor { at: i64::MAX, policy: String::new() };
    let range = Range { from, before: query.before.as_ref().unwrap_or(&newest), most: limit + 1 };
    let mut keys = match &query.policy {
        Some(policy) => of_policies(database, &[policy, EVERY_POLICY], &range)?,
        None => of_any(database, &range)?,
    };
    let more = keys.len() > limit;
    keys.truncate(limit);
    let table = database.begin_read()?.open_table(ENTRIES)?;
    let (mut entries, mut unreadable) = (Vec::new(), 0);
    for Cursor { at, policy } in &keys {
        let Some(row) = table.get((policy.as_str(), *at))? else { continue };
        match store::read(row.value()) {
            Ok(entry) => entries.push(entry),
            Err(_) => unreadable += 1,
        }
    }
    if unreadable > 0 {
        tracing::warn!(
            event = "records-unreadable",
            unreadable,
            "the history has records that this version can't read"
        );
    }
    Ok(Page { entries, unreadable, next: keys.pop().filter(|_| more) })
}

/// The newest keys of `policies` together.
fn of_policies(
    database: &impl ReadableDatabase,
    policies: &[&str],
    range: &Range<'_>,
) -> Result<Vec<Cursor>, StoreError> {
    let entries = database.begin_read()?.open_table(ENTRIES)?;
    let mut keys = Vec::new();
    for &policy in policies {
        // Of the entries at the moment of the cursor, those of the policies before its own are still to come.
        let end = range.before.at.saturating_add(i64::from(policy < range.before.policy.as_str()));
        if range.from < end {
            for row in entries.range((policy, range.from)..(policy, end))?.rev().take(range.most) {
                keys.push(Cursor { at: row?.0.value().1, policy: policy.to_owned() });
            }
        }
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    keys.truncate(range.most);
    Ok(keys)
}

/// The newest keys of all policies.
fn of_any(database: &impl ReadableDatabase, range: &Range<'_>) -> Result<Vec<Cursor>, StoreError> {
    let (from, before) = ((range.from, ""), (range.before.at, range.before.policy.as_str()));
    if from >= before {
        return Ok(Vec::new());
    }
    let ages = database.begin_read()?.open_table(AGES)?;
    let mut keys = Vec::new();
    for row in ages.range::<(i64, &str)>((Bound::Included(from), Bound::Excluded(before)))?.rev().take(range.most) {
        let (key, _) = row?;
        let (at, policy) = key.value();
        keys.push(Cursor { at, policy: policy.to_owned() });
    }
    Ok(keys)
}
