//! The tables, and what is written to them in one transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::record::{Action, Entry, Memory, Recalled, Record, Remembered};
use crate::account::Stretch;
use crate::control::Outcome;
use crate::order::Standing;

/// Microseconds since 1970.
type Moment = i64;

/// By policy and time.
pub(super) const ENTRIES: TableDefinition<(&str, Moment), &[u8]> = TableDefinition::new("entries");
/// The same by time, with the bytes that each takes, for retention and for the history of all policies.
pub(super) const AGES: TableDefinition<(Moment, &str), u64> = TableDefinition::new("ages");
const ACTIONS: TableDefinition<(&str, Moment), &[u8]> = TableDefinition::new("actions");
const STATES: TableDefinition<&str, &[u8]> = TableDefinition::new("states");
/// What groups came to, by policy and beginning.
const STRETCHES: TableDefinition<(&str, Moment), &[u8]> = TableDefinition::new("stretches");
const ORDERS: TableDefinition<&str, &[u8]> = TableDefinition::new("orders");
const STANDING: &str = "standing";

/// How long actions are kept: no cooldown and no step limit looks back further. The newest of each policy stays.
const ACTIONS_FOR: Duration = Duration::from_hours(25);

/// How long it is kept what groups came to: a quarter.
const STRETCHES_FOR: Duration = Duration::from_hours(92 * 24);

/// How long the state of a policy that is no more is kept.
const STATES_FOR: Duration = Duration::from_hours(7 * 24);

/// Room in the file that an entry takes beside its own bytes.
const OVERHEAD: usize = 128;

/// What can go wrong with a transaction.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error(transparent)]
    Database(redb::Error),
    #[error("a record can't be written or read as JSON")]
    Record(serde_json::Error),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

/// Makes sure that every table is there, so that a reader finds them.
pub(super) fn prepare(database: &Database) -> Result<(), StoreError> {
    let writing = database.begin_write()?;
    writing.open_table(ENTRIES)?;
    writing.open_table(AGES)?;
    writing.open_table(ACTIONS)?;
    writing.open_table(STATES)?;
    writing.open_table(STRETCHES)?;
    writing.open_table(ORDERS)?;
    Ok(writing.commit()?)
}

/// Writes `records` in one transaction, durable when this returns. Gives the bytes that entries have grown by.
pub(super) fn write<'a>(database: &Database, records: impl IntoIterator<Item = &'a Record>) -> Result<u64, StoreError> {
    let writing = database.begin_write()?;
    let mut grown = 0;
    for record in records {
        match record {
            Record::Action(action) => insert_action(&writing, action)?,
            Record::Entry(entry) => grown += insert_entry(&writing, entry)?,
            Record::State(policy, state) => put(&mut writing.open_table(STATES)?, policy, state)?,
            Record::Stretch(account, stretch) => insert_stretch(&writing, account, stretch)?,
            Record::Orders(standing) => put(&mut writing.open_table(ORDERS)?, STANDING, standing)?,
        }
    }
    writing.commit()?;
    Ok(grown)
}

fn put(table: &mut Table<&str, &[u8]>, key: &str, value: &impl Serialize) -> Result<(), StoreError> {
    table.insert(key, &*text(value)?)?;
    Ok(())
}

/// Puts the action in the place of its intent, and forgets those of the policy that nobody asks for any more.
fn insert_action(writing: &WriteTransaction, action: &Action) -> Result<(), StoreError> {
    let mut actions = writing.open_table(ACTIONS)?;
    let (policy, at) = (&*action.policy, action.at.as_microsecond());
    actions.insert((policy, at), &*text(action)?)?;
    let old = action.at.saturating_sub(ACTIONS_FOR).unwrap_or(Timestamp::MIN).as_microsecond();
    actions.retain_in((policy, Moment::MIN)..(policy, old), |_, _| false)?;
    Ok(())
}

fn insert_stretch(writing: &WriteTransaction, account: &str, stretch: &Stretch) -> Result<(), StoreError> {
    let mut stretches = writing.open_table(STRETCHES)?;
    stretches.insert((account, stretch.from.as_microsecond()), &*text(stretch)?)?;
    let old = stretch.to.saturating_sub(STRETCHES_FOR).unwrap_or(Timestamp::MIN).as_microsecond();
    stretches.retain_in((account, Moment::MIN)..(account, old), |_, _| false)?;
    Ok(())
}

/// What the group with this account came to, oldest first. What this version can't read is left out, as time that is unknown.
pub(super) fn stretches(database: &impl ReadableDatabase, account: &str) -> Result<Vec<Stretch>, StoreError> {
    let table = database.begin_read()?.open_table(STRETCHES)?;
    let mut stretches = Vec::new();
    for row in table.range((account, Moment::MIN)..=(account, Moment::MAX))? {
        stretches.extend(read::<Stretch>(row?.1.value()).ok());
    }
    Ok(stretches)
}

fn insert_entry(writing: &WriteTransaction, entry: &Entry) -> Result<u64, StoreError> {
    let (mut entries, mut ages) = (writing.open_table(ENTRIES)?, writing.open_table(AGES)?);
    let value = text(entry)?;
    let (policy, mut at) = (&*entry.policy, entry.at.as_microsecond());
    // Two things of one policy at one moment keep their order.
    while entries.get((policy, at))?.is_some() {
        at += 1;
    }
    // A page holds few of them and may be half empty.
    let bytes = u64::try_from(value.len() + OVERHEAD).unwrap_or(u64::MAX).next_power_of_two();
    entries.insert((policy, at), &*value)?;
    ages.insert((at, policy), bytes)?;
    Ok(bytes)
}

/// What stood and was known when the file was last written. Intents without an outcome are settled as unknown, in the
/// file as well: whoever was to say how they went is gone. Actions that this version can't read are left out.
pub(super) fn recall(database: &Database, now: Timestamp) -> Result<Recalled, StoreError> {
    let writing = database.begin_write()?;
    // Orders that can't be read are no reason to go on as though there were none, so this is an error.
    let orders = match writing.open_table(ORDERS)?.get(STANDING)? {
        Some(standing) => read(standing.value())?,
        None => Standing::default(),
    };
    let mut policies: HashMap<Arc<str>, Memory> = HashMap::new();
    let (actions, unreadable) = actions(&writing)?;
    for mut action in actions {
        if action.outcome.is_none() {
            action.outcome = Some(Outcome::Unknown);
            action.error = Some("Setpoint ended before it knew".into());
            insert_action(&writing, &action)?;
            // Whoever asks why the group has changed finds it in the history.
            insert_entry(&writing, &Entry::of(&action))?;
        }
        policies.entry(action.policy.clone()).or_default().actions.push(action);
    }
    // Those of a policy that is no more are as old one day.
    let old = now.saturating_sub(STRETCHES_FOR).unwrap_or(Timestamp::MIN).as_microsecond();
    writing.open_table(STRETCHES)?.retain(|(_, from), _| from >= old)?;
    for (policy, remembered) in states(&writing, now)? {
        policies.entry(policy).or_default().remembered = Some(remembered);
    }
    writing.commit()?;
    Ok(Recalled { orders, policies, unreadable })
}

/// The actions that this version can read, and how many it can't.
fn actions(writing: &WriteTransaction) -> Result<(Vec<Action>, usize), StoreError> {
    let table = writing.open_table(ACTIONS)?;
    let (mut actions, mut unreadable) = (Vec::new(), 0);
    for row in table.iter()? {
        match read(row?.1.value()) {
            Ok(action) => actions.push(action),
            Err(_) => unreadable += 1,
        }
    }
    Ok((actions, unreadable))
}

/// The states that this version can read. Those of policies that are long gone are forgotten.
fn states(writing: &WriteTransaction, now: Timestamp) -> Result<Vec<(Arc<str>, Remembered)>, StoreError> {
    let mut table = writing.open_table(STATES)?;
    let old = now.saturating_sub(STATES_FOR).unwrap_or(Timestamp::MIN);
    let mut states = Vec::new();
    table.retain(|policy, state| {
        // What another version wrote is replaced soon enough.
        let Ok(state) = read::<Remembered>(state) else { return true };
        let known = state.at >= old;
        if known {
            states.push((policy.into(), state));
        }
        known
    })?;
    Ok(states)
}

fn text(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(record).map_err(StoreError::Record)
}

/// One record.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(StoreError::Record)
}
