//! Opens the file, or says why it can't be used. What is not a journal of ours, or one of a newer version, stays as it is.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, StorageBackend, StorageError,
    TableDefinition, TableError,
};

use super::disk::Disk;

/// What this version writes. A change of the records that older versions can't read makes it one more.
const SCHEMA: u64 = 1;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const SCHEMA_KEY: &str = "schema";

/// Pages that are kept in memory.
const CACHE: usize = 8 << 20;

/// No database that was just created is larger, in bytes.
const FRESH: usize = 1 << 20;
/// The length of what a database begins with, and of its first page.
const MAGIC: usize = 9;
const PAGE: usize = 4096;

/// Why the journal can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "{} is in use by another Setpoint; stop that one, or give this one a state directory of its own ([state] path)",
        path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error(
        "{} was written by a newer version of Setpoint (schema {found}, this version knows {SCHEMA}); run that version, or \
         move the file away to begin a new journal. It is left as it is",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
    },
    /// It is not what was written.
    #[error(
        "{} is damaged ({why}); move it away to begin a new journal, or put a copy of it back. It is left as it is",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It is not ours to read and write.
    #[error("{} can't be read and written: permission denied; give it to the user that Setpoint runs as", path.display())]
    Denied {
        /// The file or its directory.
        path: PathBuf,
    },
    /// The file system is mounted read-only.
    #[error("{} is on a read-only file system; mount it for writing, or choose another [state] path", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// No space is left.
    #[error("{}: the disk is full; make room, and Setpoint goes on writing by itself", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It was not closed, and a reader does not repair it.
    #[error("{} was not closed by its last daemon and must be repaired first", path.display())]
    Unrepaired {
        /// The file.
        path: PathBuf,
    },
    /// It failed before and has not been opened again yet.
    #[error("{why}")]
    Closed {
        /// How it failed.
        why: String,
    },
    /// Anything else.
    #[error("{} can't be used: {why}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
}

/// Opens the journal in `directory`, or begins one. Every page is checked, and what a crash left half-done is undone.
pub(super) fn open(directory: &Path) -> Result<Database, OpenError> {
    std::fs::create_dir_all(directory).map_err(|error| of_io(directory, &error))?;
    let path = super::file_in(directory);
    guarded(&path, || {
        let exists = is_begun(&path)?;
        if exists {
            refuse_newer(&path)?;
        }
        let database = builder(exists).create(&path).map_err(|error| of_database(&path, error))?;
        ours(&path, database)
    })
}

/// The same on a disk of a trial's own.
pub(super) fn open_on(path: &Path, disk: &dyn Disk) -> Result<Database, OpenError> {
    guarded(path, || {
        let exists = is_begun_on(&*disk.storage()).map_err(|error| of_io(path, &error))?;
        let database = disk.open(&builder(exists)).map_err(|error| of_database(path, error))?;
        ours(path, database)
    })
}

/// Whether there is a journal in this file.
fn is_begun(path: &Path) -> Result<bool, OpenError> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(of_io(path, &error)),
    };
    // Another that begins one at this moment has it locked.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse { path: path.into() },
        TryLockError::Error(error) => of_io(path, &error),
    })?;
    let storage = FileBackend::new(file).map_err(|error| of_database(path, error))?;
    is_begun_on(&storage).map_err(|error| of_io(path, &error))
}

/// Whether there is one in this storage, which is empty otherwise afterwards. The database begins with a file of zeros, then
/// writes its first page, and the [`MAGIC`] at the start of that last of all. So where there is nothing else, its creation
/// was cut short, and nothing was ever in it.
fn is_begun_on(storage: &dyn StorageBackend) -> Result<bool, io::Error> {
    let len = storage.len()?;
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= FRESH) else { return Ok(true) };
    let mut bytes = vec![0; len];
    storage.read(0, &mut bytes)?;
    let zeros = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let begun = !zeros(&bytes[..len.min(MAGIC)]) || !zeros(bytes.get(PAGE..).unwrap_or_default());
    if !begun && len > 0 {
        storage.set_len(0)?;
    }
    Ok(begun)
}

fn builder(exists: bool) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(exists);
    builder
}

/// `database`, unless a newer version wrote it.
fn ours(path: &Path, database: Database) -> Result<Database, OpenError> {
    check_schema(path, &database)?;
    stamp(&database).map_err(|error| of(path, error))?;
    Ok(database)
}

/// Opens the journal in `directory` beside nobody, for reading only.
pub(super) fn open_to_read(directory: &Path) -> Result<ReadOnlyDatabase, OpenError> {
    let path = super::file_in(directory);
    guarded(&path, || {
        let database = ReadOnlyDatabase::open(&path).map_err(|error| of_database(&path, error))?;
        check_schema(&path, &database)?;
        Ok(database)
    })
}

/// A file that was altered by others may make the database panic, which must not end the thread.
pub(super) fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    let damaged = |_| OpenError::Damaged { path: path.into(), why: "the database can't make sense of it".into() };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(damaged(panic)))
}

/// Looks before anything is opened for writing. A file that needs repair can't be looked at, but is then of this version
/// or an older one as likely as not; it is looked at again once it is repaired.
fn refuse_newer(path: &Path) -> Result<(), OpenError> {
    match ReadOnlyDatabase::open(path).map_err(|error| of_database(path, error)) {
        Ok(database) => check_schema(path, &database),
        Err(OpenError::Unrepaired { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn check_schema(path: &Path, database: &impl ReadableDatabase) -> Result<(), OpenError> {
    match schema(database).map_err(|error| of(path, error))? {
        Some(found) if found > SCHEMA => Err(OpenError::Newer { path: path.into(), found }),
        _ => Ok(()),
    }
}

fn schema(database: &impl ReadableDatabase) -> Result<Option<u64>, redb::Error> {
    let reading = database.begin_read()?;
    match reading.open_table(META) {
        Ok(meta) => Ok(meta.get(SCHEMA_KEY)?.map(|schema| schema.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says in the file which version wrote it, which also shows that it can be written.
pub(super) fn stamp(database: &Database) -> Result<(), redb::Error> {
    let writing = database.begin_write()?;
    writing.open_table(META)?.insert(SCHEMA_KEY, SCHEMA)?;
    writing.commit()?;
    Ok(())
}

/// In words what the database says.
pub(super) fn of(path: &Path, error: redb::Error) -> OpenError {
    match error {
        redb::Error::Io(error) => of_io(path, &error),
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path: path.into() },
        redb::Error::Corrupted(why) => OpenError::Damaged { path: path.into(), why },
        other => OpenError::Failed { path: path.into(), why: other.to_string() },
    }
}

fn of_database(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::UpgradeRequired(format) => {
            let why = format!("it has the database format {format}, which this version does not read");
            OpenError::Failed { path: path.into(), why }
        }
        DatabaseError::RepairAborted => OpenError::Unrepaired { path: path.into() },
        DatabaseError::Storage(StorageError::Io(error)) => of_io(path, &error),
        other => of(path, other.into()),
    }
}

fn of_io(path: &Path, error: &std::io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::PermissionDenied => OpenError::Denied { path },
        ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::Full { path },
        // What the database says of a file that is none of its own.
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => OpenError::Damaged { path, why: error.to_string() },
        _ => OpenError::Failed { path, why: error.to_string() },
    }
}
