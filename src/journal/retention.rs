//! Keeps the journal within its age and its size.

use std::path::Path;

use jiff::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable};

use super::Settings;
use super::store::{AGES, ENTRIES, StoreError};

/// Most entries that one transaction takes out, so that it is short.
const AT_ONCE: usize = 2000;

/// The bytes that all entries take.
pub(super) fn bytes(database: &Database) -> Result<u64, StoreError> {
    let ages = database.begin_read()?.open_table(AGES)?;
    ages.iter()?.try_fold(0, |sum: u64, row| Ok(sum.saturating_add(row?.1.value())))
}

/// The most that entries may take: the file holds other things too, a copy of what a transaction changes, and half-empty
/// pages, and it grows in large steps.
pub(super) fn most(settings: &Settings) -> u64 {
    settings.max_size / 4
}

/// Takes out the oldest entries that are too old or too many, a bounded number of them. Gives what `bytes` are left.
pub(super) fn prune(
    database: &Database,
    settings: &Settings,
    mut bytes: u64,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let oldest = now.saturating_sub(settings.retention).unwrap_or(Timestamp::MIN).as_microsecond();
    let writing = database.begin_write()?;
    {
        let (mut entries, mut ages) = (writing.open_table(ENTRIES)?, writing.open_table(AGES)?);
        for _ in 0..AT_ONCE {
            let first = ages.first()?.map(|(key, size)| {
                let (at, policy) = key.value();
                (at, policy.to_owned(), size.value())
            });
            let Some((at, policy, size)) = first.filter(|(at, ..)| *at < oldest || bytes > most(settings)) else {
                break;
            };
            ages.remove((at, &*policy))?;
            entries.remove((&*policy, at))?;
            bytes = bytes.saturating_sub(size);
        }
    }
    writing.commit()?;
    Ok(bytes)
}

/// Whether there is anything for [`prune`] to do.
pub(super) fn due(database: &Database, settings: &Settings, bytes: u64, now: Timestamp) -> Result<bool, StoreError> {
    let oldest = now.saturating_sub(settings.retention).unwrap_or(Timestamp::MIN).as_microsecond();
    let ages = database.begin_read()?.open_table(AGES)?;
    let too_old = ages.first()?.is_some_and(|(key, _)| key.value().0 < oldest);
    Ok(too_old || bytes > most(settings))
}

/// The file's size in bytes.
pub(super) fn size(file: &Path) -> u64 {
    file.metadata().map_or(0, |file| file.len())
}
