//! The journal: what must survive a restart. Orders of operators, intents and what became of them, decisions, and what
//! the controllers have learned.
//!
//! It is one file of an embedded database in the state directory, written by one thread. It never decides anything, and
//! never keeps a decision waiting for longer than the caller's patience. A file that it can't read stays as it is.

mod cursor;
mod disk;
mod open;
mod reader;
mod record;
mod retention;
mod store;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cursor::{Cursor, NoCursor};
pub use disk::Disk;
pub use open::OpenError;
pub use reader::{MOST_ENTRIES, Page, Query, ReadError, Reader};
pub use record::{Action, EVERY_POLICY, Entry, Event, Made, Memory, Recalled, Record, Remembered};
pub use writer::{Health, Journal, Openings, Status, Unwritten};

/// The journal's file in the state directory.
const FILE: &str = "journal.redb";

/// Where the journal is and how much it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The state directory. `None`: there is no journal, and a restart forgets everything.
    pub directory: Option<PathBuf>,
    /// How long decisions are kept.
    pub retention: Duration,
    /// The largest that the file should become, in bytes. The oldest decisions make room.
    pub max_size: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { directory: None, retention: Duration::from_hours(30 * 24), max_size: 256_000_000 }
    }
}

/// The journal's file in `directory`.
fn file_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}
