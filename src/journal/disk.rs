//! What the journal lies on where that is not the file system: a disk that fails as a trial wants it to, in the trial's
//! own time. It never keeps a thread waiting.

use futures_util::future::BoxFuture;
use redb::{Builder, Database, DatabaseError, StorageBackend};

/// A disk with room for one journal.
pub trait Disk: Send + Sync + 'static {
    /// What is on it; empty where there is no journal yet.
    fn storage(&self) -> Box<dyn StorageBackend>;

    /// Opens what is on it, or begins anew.
    ///
    /// # Errors
    /// The disk does not let it.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// Done when the disk takes the next piece of work: how a slow one is slow.
    fn ready(&self) -> BoxFuture<'_, ()>;
}
