//! What the journal lies on where that is not the file system: a disk that fails as a trial wants it to, in the trial's
//! own time. It never keeps a thread waiting.

use futures_util::future::BoxFuture;
use redb::{Builder, Database, DatabaseError};

/// A disk with room for one journal.
pub trait Disk: Send + Sync + 'static {
    /// The size of what is on it in bytes; 0 where there is no journal yet.
    fn size(&self) -> u64;

    /// Opens what is on it, or begins anew.
    ///
    /// # Errors
    /// The disk does not let it.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// Done when the disk takes the next piece of work: how a slow one is slow.
    fn ready(&self) -> BoxFuture<'_, ()>;
}
