//! Values of sequences. They are not transactional, as in Postgres: what was given is not taken back by a rollback.
//!
//! The stored value runs ahead: a block of values is reserved durably, and then handed out from memory. A crash skips what was
//! left of a block; a clean shutdown writes back where the sequence really stands.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use stratos_replication::{Isolation, LockMode, LockOutcome, Store, WaitPolicy};
use stratos_types::{Error, ErrorKind, Result};

use crate::catalog::keys::{self, SequenceValue};
use crate::catalog::{Sequence, Snapshot};
use crate::exec::stored;

/// Values reserved at once, as Postgres logs them (`SEQ_LOG_VALS`).
const BLOCK_VALUES: u64 = 32;

/// What a sequence's next value depends on besides where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Course {
    increment: i64,
    min_value: i64,
    max_value: i64,
    cycle: bool,
}

impl Course {
    fn of(sequence: &Sequence) -> Course {
        let Sequence { increment, min_value, max_value, cycle, .. } = *sequence;
        Course { increment, min_value, max_value, cycle }
    }
}

/// Where a sequence stands in memory, and how far it may go without asking the store.
#[derive(Debug, Clone, Copy)]
struct Standing {
    value: SequenceValue,
    /// What is stored: the end of the reserved block.
    stored: SequenceValue,
    /// Values that may still be handed out, by steps of this course; ALTER SEQUENCE ends the block.
    reserved: u64,
    course: Course,
}

/// Where a sequence stands, locked while one session takes values; none before the store was asked.
type Place = Arc<Mutex<Option<Standing>>>;

/// See the module.
pub struct Sequences {
    store: Store,
    /// By database and storage.
    standing: Mutex<HashMap<(u32, u32), Place>>,
}

fn exhausted(sequence: &Sequence, maximum: bool) -> Error {
    let (what, value) = if maximum { ("maximum", sequence.max_value) } else { ("minimum", sequence.min_value) };
    Error::new(
        ErrorKind::SequenceGeneratorLimitExceeded,
        format!("nextval: reached {what} value of sequence \"{}\" ({value})", sequence.name),
    )
}

/// The value after `from`.
fn step(sequence: &Sequence, from: SequenceValue) -> Result<i64> {
    if !from.called {
        return Ok(from.last);
    }
    let next = from.last.checked_add(sequence.increment);
    match next {
        Some(next) if next >= sequence.min_value && next <= sequence.max_value => Ok(next),
        _ if sequence.cycle && sequence.increment > 0 => Ok(sequence.min_value),
        _ if sequence.cycle => Ok(sequence.max_value),
        _ => Err(exhausted(sequence, sequence.increment > 0)),
    }
}

impl Sequences {
    pub(crate) fn new(store: Store) -> Sequences {
        Sequences { store, standing: Mutex::default() }
    }

    fn slot(&self, database: u32, sequence: &Sequence) -> Arc<Mutex<Option<Standing>>> {
        self.standing.lock().entry((database, sequence.storage)).or_default().clone()
    }

    /// The next value. Blocks in place when a new block has to be reserved.
    ///
    /// # Errors
    /// 2200H at the end of the sequence, and the store's errors.
    pub fn next(&self, database: u32, sequence: &Sequence) -> Result<i64> {
        let slot = self.slot(database, sequence);
        if let Some(mut standing) = slot.try_lock()
            && let Some(value) = take(&mut standing, sequence)?
        {
            return Ok(value);
        }
        blocking(|| {
            let mut standing = slot.lock();
            if let Some(value) = take(&mut standing, sequence)? {
                return Ok(value);
            }
            let reserved = tokio::runtime::Handle::current().block_on(self.reserve(database, sequence, *standing))?;
            *standing = Some(reserved);
            take(&mut standing, sequence)?.ok_or_else(|| Error::internal("a fresh block of a sequence is empty"))
        })
    }

    /// Sets where the sequence stands.
    ///
    /// # Errors
    /// The store's errors.
    pub fn set(&self, database: u32, sequence: &Sequence, value: i64, called: bool) -> Result<()> {
        let slot = self.slot(database, sequence);
        blocking(|| {
            let mut standing = slot.lock();
            let value = SequenceValue { last: value, called };
            tokio::runtime::Handle::current().block_on(self.write(database, sequence, value))?;
            *standing = None;
            Ok(())
        })
    }

    /// Where the sequence with this storage stands, for `SELECT last_value, is_called FROM sequence`; none when nothing is
    /// stored yet.
    ///
    /// # Errors
    /// The store's errors.
    pub fn value(&self, database: u32, storage: u32) -> Result<Option<SequenceValue>> {
        let slot = self.standing.lock().get(&(database, storage)).cloned();
        if let Some(standing) = slot.and_then(|slot| *slot.lock()) {
            return Ok(Some(standing.value));
        }
        let view = self.store.latest_view();
        let value = stored(view.get(&keys::sequence_value(database, storage)))?;
        value.map(|bytes| SequenceValue::decode(&bytes)).transpose()
    }

    /// Forgets what is in memory of sequences that the committed catalog of a database no longer has, and of databases that
    /// are gone. One that a transaction is making loses the rest of its block by it.
    pub fn keep_only(&self, catalog: &Snapshot) {
        let live = catalog.sequence_storages();
        self.standing.lock().retain(|(database, storage), _| match *database == catalog.database {
            true => live.contains(storage),
            false => catalog.databases.contains_key(database),
        });
    }

    /// Removes the stored values of sequences that are gone.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn remove(&self, database: u32, storages: &[u32]) -> Result<()> {
        for storage in storages {
            let key = keys::sequence_value(database, *storage);
            let mut transaction = self.store.begin(Isolation::ReadCommitted, false);
            stored(transaction.begin_statement())?;
            let wait = WaitPolicy::Wait { timeout: None };
            if let LockOutcome::Granted { current: Some(_), .. } =
                stored(transaction.lock(&key, LockMode::Update, wait).await)?
            {
                stored(transaction.delete(key))?;
                stored(transaction.commit().await)?;
            }
        }
        Ok(())
    }

    /// Reserves a block: from where the sequence stands in memory, if nobody else has moved it since, else from the stored end
    /// of the block before.
    async fn reserve(&self, database: u32, sequence: &Sequence, standing: Option<Standing>) -> Result<Standing> {
        let key = keys::sequence_value(database, sequence.storage);
        let mut transaction = self.store.begin(Isolation::ReadCommitted, false);
        stored(transaction.begin_statement())?;
        let wait = WaitPolicy::Wait { timeout: None };
        let current = match stored(transaction.lock(&key, LockMode::Update, wait).await)? {
            LockOutcome::Granted { current: Some(bytes), .. } => SequenceValue::decode(&bytes)?,
            _ => start_of(sequence),
        };
        let value = standing.filter(|standing| standing.stored == current).map_or(current, |standing| standing.value);
        let mut ahead = value;
        let mut reserved = 0;
        while reserved < BLOCK_VALUES
            && let Ok(next) = step(sequence, ahead)
        {
            ahead = SequenceValue { last: next, called: true };
            reserved += 1;
        }
        if reserved == 0 {
            // Says why.
            step(sequence, value)?;
        }
        stored(transaction.put(key, ahead.encode()))?;
        stored(transaction.commit().await)?;
        Ok(Standing { value, stored: ahead, reserved, course: Course::of(sequence) })
    }

    async fn write(&self, database: u32, sequence: &Sequence, value: SequenceValue) -> Result<()> {
        let key = keys::sequence_value(database, sequence.storage);
        let mut transaction = self.store.begin(Isolation::ReadCommitted, false);
        stored(transaction.begin_statement())?;
        stored(transaction.lock(&key, LockMode::Update, WaitPolicy::Wait { timeout: None }).await)?;
        stored(transaction.put(key, value.encode()))?;
        stored(transaction.commit().await)?;
        Ok(())
    }

    /// Writes back where the sequences stand, so that a clean restart skips nothing. A block that is no longer the newest
    /// one of its sequence is left alone: its place in the store belongs to somebody else by now.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn flush(&self) -> Result<()> {
        let slots: Vec<_> = self.standing.lock().drain().collect();
        for ((database, storage), slot) in slots {
            let Some(standing) = slot.lock().take() else { continue };
            let mut transaction = self.store.begin(Isolation::ReadCommitted, false);
            stored(transaction.begin_statement())?;
            let key = keys::sequence_value(database, storage);
            let wait = WaitPolicy::Wait { timeout: None };
            // A sequence that was dropped meanwhile has no value any more.
            if let LockOutcome::Granted { current: Some(current), .. } =
                stored(transaction.lock(&key, LockMode::Update, wait).await)?
                && SequenceValue::decode(&current)? == standing.stored
            {
                stored(transaction.put(key, standing.value.encode()))?;
                stored(transaction.commit().await)?;
            }
        }
        Ok(())
    }
}

fn start_of(sequence: &Sequence) -> SequenceValue {
    SequenceValue { last: sequence.first_value(), called: false }
}

fn take(standing: &mut Option<Standing>, sequence: &Sequence) -> Result<Option<i64>> {
    let Some(current) = standing else { return Ok(None) };
    if current.reserved == 0 || current.course != Course::of(sequence) {
        return Ok(None);
    }
    let next = step(sequence, current.value)?;
    current.value = SequenceValue { last: next, called: true };
    current.reserved -= 1;
    Ok(Some(next))
}

/// Runs something that waits, from inside a task: the other tasks of this thread go elsewhere meanwhile.
fn blocking<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    tokio::task::block_in_place(work)
}

/// Numbers for rows of tables without a primary key: unique in the cluster, in blocks.
pub struct RowIds {
    store: Store,
    block: Mutex<std::ops::Range<u64>>,
}

/// Row ids taken from the store at once.
const ROW_ID_BLOCK: u64 = 1 << 16;

impl RowIds {
    pub(crate) fn new(store: Store) -> RowIds {
        RowIds { store, block: Mutex::new(0..0) }
    }

    /// `count` numbers that nobody else has, `count` at most [`ROW_ID_BLOCK`].
    ///
    /// # Errors
    /// The store's errors.
    pub async fn take(&self, count: u64) -> Result<std::ops::Range<u64>> {
        {
            let mut block = self.block.lock();
            if block.end - block.start >= count {
                let taken = block.start..block.start + count;
                block.start = taken.end;
                return Ok(taken);
            }
        }
        let fresh = stored(self.store.allocate_ids("row", ROW_ID_BLOCK).await)?;
        let taken = fresh.start..fresh.start + count;
        *self.block.lock() = taken.end..fresh.end;
        Ok(taken)
    }
}
