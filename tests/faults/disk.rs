//! A disk in memory that fails as it is told to, and that a loss of power leaves with what was synced and shreds of the rest.
#![allow(dead_code, reason = "each test crate uses its own part")]

use std::io::{Error, ErrorKind};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use redb::{Builder, Database, DatabaseError, StorageBackend, TableDefinition};
use setpoint::journal::Disk;

/// What ails a disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ill {
    /// Nothing can be written.
    Write(ErrorKind),
    Sync,
    /// Every second sync fails.
    SomeSyncs,
    Read,
    Slow(Duration),
    Hangs,
    /// The machine is dying: so many more writes go through before the next sync, and then nothing at all does.
    Dies(u32),
    /// Something else lies where the journal should be.
    Replaced(Instead),
}

/// What may lie there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// A journal that a version yet to come has written.
    Newer,
    /// What is no journal at all.
    Notes,
}

/// A change that a loss of power may undo.
enum Unsynced {
    Write { offset: usize, old: Vec<u8>, new: Vec<u8> },
    Length { old: Vec<u8>, len: usize },
}

#[derive(Default)]
struct State {
    journal: Vec<u8>,
    unsynced: Vec<Unsynced>,
    instead: Option<Vec<u8>>,
    ills: Vec<Ill>,
    writes: u32,
    syncs: u32,
    dead: bool,
    /// Whoever has opened it before this was counted up is gone.
    boots: u64,
}

/// A handle to it.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    pub fn set(&self, ills: Vec<Ill>) {
        let mut state = self.state();
        let image = ills.iter().rev().find_map(|ill| if let Ill::Replaced(image) = ill { Some(image) } else { None });
        if state.instead.is_some() != image.is_some() {
            state.boots += 1;
            state.instead = image.map(|image| match image {
                Instead::Newer => newer(),
                Instead::Notes => b"These are somebody's notes. ".repeat(400),
            });
        }
        if !ills.iter().any(|ill| matches!(ill, Ill::Dies(_))) {
            state.dead = false;
        }
        state.writes = 0;
        state.ills = ills;
    }

    /// Nothing that the daemon of before still does comes through.
    pub fn detach(&self) {
        self.state().boots += 1;
    }

    pub fn wipe(&self) {
        let mut state = self.state();
        state.boots += 1;
        (state.journal, state.unsynced) = (Vec::new(), Vec::new());
    }

    /// Of what was not synced, every second write is there, and the last of all in half.
    pub fn lose_power(&self) {
        let mut state = self.state();
        state.boots += 1;
        let lost = std::mem::take(&mut state.unsynced);
        let journal = &mut state.journal;
        for change in lost.iter().rev() {
            match change {
                Unsynced::Write { offset, old, .. } => journal[*offset..*offset + old.len()].copy_from_slice(old),
                Unsynced::Length { old, len } => {
                    journal.truncate(*len - old.len());
                    journal.extend(old);
                    journal.resize(*len, 0);
                }
            }
        }
        let count = lost.len();
        for (n, change) in lost.into_iter().enumerate() {
            let Unsynced::Write { offset, new, .. } = change else { continue };
            let kept = if n + 1 == count { new.len() / 2 } else { new.len() * (n % 2) };
            let kept = kept.min(journal.len().saturating_sub(offset));
            journal[offset..offset + kept].copy_from_slice(&new[..kept]);
        }
    }

    fn backend(&self) -> Handle {
        let boot = self.state().boots;
        Handle { disk: self.clone(), boot }
    }
}

impl State {
    fn bytes(&mut self) -> &mut Vec<u8> {
        self.instead.as_mut().unwrap_or(&mut self.journal)
    }

    fn changes(&mut self) -> Result<(), Error> {
        self.writes += 1;
        let dies = |ill: &Ill| matches!(ill, Ill::Dies(after) if self.writes > *after);
        self.dead |= self.ills.iter().any(dies);
        let ill = self.ills.iter().find_map(|ill| if let Ill::Write(kind) = ill { Some(*kind) } else { None });
        self.lives(ill)
    }

    fn lives(&self, ill: Option<ErrorKind>) -> Result<(), Error> {
        if self.dead { Err(Error::other("no power")) } else { ill.map_or(Ok(()), |kind| Err(kind.into())) }
    }

    fn has(&self, ill: Ill) -> Option<ErrorKind> {
        self.ills.contains(&ill).then_some(ErrorKind::Other)
    }
}

impl Disk for MemoryDisk {
    fn storage(&self) -> Box<dyn StorageBackend> {
        Box::new(self.backend())
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.backend())
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        async {
            loop {
                let ills = self.state().ills.clone();
                let slow = ills.iter().filter_map(|ill| if let Ill::Slow(by) = ill { Some(*by) } else { None }).max();
                if ills.contains(&Ill::Hangs) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                } else {
                    return tokio::time::sleep(slow.unwrap_or_default()).await;
                }
            }
        }
        .boxed()
    }
}

/// What a database has of the disk until it is detached.
struct Handle {
    disk: MemoryDisk,
    boot: u64,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a disk in memory")
    }
}

impl Handle {
    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.disk.state();
        if state.boots == self.boot { Ok(state) } else { Err(Error::other("another boot")) }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.state()?.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut state = self.state()?;
        state.lives(state.has(Ill::Read))?;
        let offset = usize::try_from(offset).expect("a small disk");
        let bytes = state.bytes().get(offset..offset + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut state = self.state()?;
        state.changes()?;
        let (len, before) = (usize::try_from(len).expect("a small disk"), state.bytes().len());
        let old = state.bytes().get(len..).unwrap_or_default().to_vec();
        state.bytes().resize(len, 0);
        if state.instead.is_none() {
            state.unsynced.push(Unsynced::Length { old, len: before });
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut state = self.state()?;
        state.syncs += 1;
        // A machine that is to die dies at the latest now.
        state.dead |= state.ills.iter().any(|ill| matches!(ill, Ill::Dies(_)));
        let some = state.has(Ill::SomeSyncs).filter(|_| state.syncs % 2 == 0);
        state.lives(state.has(Ill::Sync).or(some))?;
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut state = self.state()?;
        state.changes()?;
        let offset = usize::try_from(offset).expect("a small disk");
        let place = state.bytes().get_mut(offset..offset + data.len()).ok_or(ErrorKind::UnexpectedEof)?;
        let old = place.to_vec();
        place.copy_from_slice(data);
        if state.instead.is_none() {
            state.unsynced.push(Unsynced::Write { offset, old, new: data.to_vec() });
        }
        Ok(())
    }
}

fn newer() -> Vec<u8> {
    static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let disk = MemoryDisk::default();
        let database = disk.open(&Builder::new()).expect("a database");
        let writing = database.begin_write().expect("a transaction");
        let meta: TableDefinition<&str, u64> = TableDefinition::new("meta");
        writing.open_table(meta).expect("a table").insert("schema", 1_000_000).expect("a row");
        writing.commit().expect("a commit");
        drop(database);
        let state = disk.state();
        state.journal.clone()
    });
    IMAGE.clone()
}

#[test]
fn a_loss_of_power_keeps_what_was_synced_and_shreds_the_rest() {
    let disk = MemoryDisk::default();
    let handle = disk.backend();
    handle.set_len(8).expect("room");
    handle.write(0, b"synced..").expect("a write");
    handle.sync_data().expect("a sync");
    for (offset, data) in [(0, b"AA"), (2, b"BB"), (6, b"CC")] {
        handle.write(offset, data).expect("a write");
    }
    disk.lose_power();
    assert_eq!(disk.state().journal, b"syBBedC.");
    assert!(handle.len().is_err(), "whoever had it open is gone");
}
