//! One row in, changed or out: its key and value, its index entries, its constraints.

use bytes::Bytes;
use stratos_replication::{LockMode, LockOutcome};
use stratos_types::{Datum, Error, Result};

use super::rules::TableRules;
use super::{StatementContext, foreign_keys, stored};
use crate::catalog::{Index, IndexState, Table};
use crate::rows::{StoredRow, decode_row, encode_row, index_entry, primary_key, row_id_key, row_key_of_entry};

/// From this many row locks on, a transaction that inserts takes no more of them: it relies on the check at its commit.
/// A bulk load would otherwise hold a lock in memory for every row.
const INSERT_LOCKS_MAX: usize = 20_000;

/// A row that stands in the way of an insert.
#[derive(Debug)]
pub struct Conflict {
    /// Position of the violated index in the table's indexes.
    pub index: usize,
    /// The key of the existing row.
    pub row_key: Bytes,
}

/// What came of an insert.
#[derive(Debug)]
pub enum Inserted {
    /// The row is in.
    Yes,
    /// It is not: a row with the same unique key exists, and the caller wants to know rather than fail.
    Conflict(Conflict),
}

/// Whether a unique key is free, and if not, the value stored under it. Without a lock, which only those may do who fail when it
/// is not free, that is as of the snapshot; the commit makes sure (see [`super::violations::at_commit`]).
async fn occupant(
    context: &mut StatementContext<'_>,
    key: &[u8],
    locks_taken: &mut usize,
    must_lock: bool,
) -> Result<Option<Bytes>> {
    if *locks_taken >= INSERT_LOCKS_MAX && !must_lock {
        return stored(context.transaction.get(key));
    }
    *locks_taken += 1;
    match stored(context.transaction.lock(key, LockMode::Update, context.wait).await)? {
        LockOutcome::Granted { current, .. } => Ok(current),
        LockOutcome::Skipped => Err(Error::internal("a waiting lock was skipped")),
    }
}

/// Writes rows of one table within one statement.
pub struct TableWriter<'a> {
    /// What must hold.
    pub rules: &'a TableRules,
    locks_taken: usize,
    row_ids: std::ops::Range<u64>,
    /// Rows that refer to rows of their own table, which may come later in the statement.
    self_referring: Vec<Vec<Datum>>,
}

/// What a [`TableWriter`] remembers between the pieces of one statement.
#[derive(Debug, Default)]
pub struct WriterState {
    locks_taken: usize,
    row_ids: std::ops::Range<u64>,
    self_referring: Vec<Vec<Datum>>,
}

/// How many row ids a statement takes from the store at once.
const ROW_ID_BLOCK: u64 = 64;

impl<'a> TableWriter<'a> {
    /// A writer for the rows that `rules` are about.
    pub fn new(rules: &'a TableRules) -> Self {
        TableWriter { rules, locks_taken: 0, row_ids: 0..0, self_referring: Vec::new() }
    }

    /// Goes on where another writer of the same statement stopped.
    pub fn resume(rules: &'a TableRules, state: WriterState) -> Self {
        TableWriter {
            rules,
            locks_taken: state.locks_taken,
            row_ids: state.row_ids,
            self_referring: state.self_referring,
        }
    }

    /// What the next writer of the statement has to know.
    pub fn suspend(self) -> WriterState {
        WriterState { locks_taken: self.locks_taken, row_ids: self.row_ids, self_referring: self.self_referring }
    }

    /// The statement's rows are all written: checks what could not be checked row by row.
    ///
    /// # Errors
    /// 23503.
    pub async fn finish(&mut self, context: &mut StatementContext<'_>) -> Result<()> {
        for row in std::mem::take(&mut self.self_referring) {
            foreign_keys::require_own_parents(context, self.rules, &row).await?;
        }
        Ok(())
    }

    fn table(&self) -> &'a Table {
        &self.rules.table
    }

    async fn new_key(&mut self, context: &StatementContext<'_>, row: &[Datum]) -> Result<Vec<u8>> {
        let table = self.table();
        if table.has_primary_key() {
            return primary_key(table, row);
        }
        if self.row_ids.is_empty() {
            self.row_ids = context.engine.row_ids().take(ROW_ID_BLOCK).await?;
        }
        let id = self.row_ids.next().ok_or_else(|| Error::internal("no row id"))?;
        Ok(row_id_key(table, i64::try_from(id).map_err(|_| Error::out_of_range("row id"))?))
    }

    /// Adds a row. With `on_conflict`, says which row stands in the way instead of failing, for the indexes at these
    /// positions (all when empty).
    ///
    /// # Errors
    /// Constraint violations and the store's errors.
    pub async fn insert(
        &mut self,
        context: &mut StatementContext<'_>,
        row: &[Datum],
        on_conflict: Option<&[usize]>,
    ) -> Result<Inserted> {
        self.rules.check_row(row, context.eval)?;
        let table = self.table();
        let key = self.new_key(context, row).await?;
        let tolerates =
            |index: usize| on_conflict.is_some_and(|arbiters| arbiters.is_empty() || arbiters.contains(&index));

        // All unique keys are looked at before anything is written, so that a tolerated conflict leaves nothing behind.
        if table.has_primary_key()
            && occupant(context, &key, &mut self.locks_taken, on_conflict.is_some()).await?.is_some()
        {
            if tolerates(0) {
                return Ok(Inserted::Conflict(Conflict { index: 0, row_key: key.into() }));
            }
            return Err(self.rules.unique_violation(table.primary_index(), row, &context.eval.format));
        }
        let mut entries = Vec::with_capacity(table.indexes.len() - 1);
        for (position, index) in table.indexes.iter().enumerate().skip(1) {
            if index.state == IndexState::DeleteOnly {
                continue;
            }
            let entry = index_entry(table, index, &key, row)?;
            if entry.unique
                && let Some(value) = occupant(context, &entry.key, &mut self.locks_taken, on_conflict.is_some()).await?
            {
                if tolerates(position) {
                    let row_key = row_key_of_entry(table, index, &entry.key, &value)?;
                    return Ok(Inserted::Conflict(Conflict { index: position, row_key: row_key.into() }));
                }
                return Err(self.rules.unique_violation(index, row, &context.eval.format));
            }
            entries.push(entry);
        }
        foreign_keys::require_parents(context, self.rules, None, row).await?;
        let value = encode_row(table, row)?;
        for entry in entries {
            let value = Some(entry.value.into());
            stored(context.transaction.write_guarded(&key, entry.key.into(), value))?;
        }
        stored(context.transaction.put(key.into(), value.into()))?;
        if self.rules.refers_to_itself() {
            self.self_referring.push(row.to_vec());
        }
        Ok(Inserted::Yes)
    }

    /// Locks a row for a change and gives it as it is now; `None` when it is gone or (`SKIP LOCKED`) somebody's.
    ///
    /// The second part says whether it changed since the statement's snapshot, in which case the caller looks again
    /// whether it still wants to change it.
    ///
    /// # Errors
    /// Deadlock, timeout, 40001 above READ COMMITTED.
    pub async fn lock(
        &self,
        context: &mut StatementContext<'_>,
        key: &[u8],
        mode: LockMode,
    ) -> Result<Option<(Vec<Datum>, bool)>> {
        match stored(context.transaction.lock(key, mode, context.wait).await)? {
            LockOutcome::Granted { current: Some(value), changed } => {
                Ok(Some((decode_row(self.table(), key, &value)?, changed)))
            }
            LockOutcome::Granted { current: None, .. } | LockOutcome::Skipped => Ok(None),
        }
    }

    /// Changes a locked row from `old` to `new`, checking NOT NULL, CHECK, unique and foreign keys.
    ///
    /// # Errors
    /// Constraint violations and the store's errors.
    pub async fn update(&mut self, context: &mut StatementContext<'_>, old: &StoredRow, new: &[Datum]) -> Result<()> {
        self.rules.check_row(new, context.eval)?;
        let table = self.table();
        let new_key = if table.has_primary_key() { Bytes::from(primary_key(table, new)?) } else { old.key.clone() };
        let moved = new_key != old.key;
        if self.rules.changes_key(&old.values, new) {
            // Those who only hold on to the key must be kept out now.
            stored(context.transaction.lock(&old.key, LockMode::Update, context.wait).await)?;
        }
        if moved && occupant(context, &new_key, &mut self.locks_taken, false).await?.is_some() {
            return Err(self.rules.unique_violation(table.primary_index(), new, &context.eval.format));
        }
        for index in self.rules.maintained_indexes() {
            self.update_entry(context, index, old, &new_key, new).await?;
        }
        if moved {
            stored(context.transaction.delete(old.key.clone()))?;
        }
        let value = encode_row(table, new)?;
        stored(context.transaction.put(new_key, value.into()))?;
        if self.rules.refers_to_itself() {
            self.self_referring.push(new.to_vec());
        }
        foreign_keys::require_parents(context, self.rules, Some(&old.values), new).await
    }

    async fn update_entry(
        &mut self,
        context: &mut StatementContext<'_>,
        index: &Index,
        old: &StoredRow,
        new_key: &[u8],
        new: &[Datum],
    ) -> Result<()> {
        let table = self.table();
        let before = index_entry(table, index, &old.key, &old.values)?;
        let after = index_entry(table, index, new_key, new)?;
        if before == after && index.state == IndexState::Public {
            return Ok(());
        }
        if before.key != after.key {
            if after.unique
                && index.state != IndexState::DeleteOnly
                && occupant(context, &after.key, &mut self.locks_taken, false).await?.is_some()
            {
                return Err(self.rules.unique_violation(index, new, &context.eval.format));
            }
            stored(context.transaction.write_guarded(&old.key, before.key.into(), None))?;
        }
        if index.state != IndexState::DeleteOnly {
            let value = Some(after.value.into());
            stored(context.transaction.write_guarded(&old.key, after.key.into(), value))?;
        }
        Ok(())
    }

    /// Takes a locked row out, with its index entries. Foreign keys that refer to it are the caller's business, after the
    /// statement's own rows are all out.
    ///
    /// # Errors
    /// The store's errors.
    pub fn delete(&mut self, context: &mut StatementContext<'_>, old: &StoredRow) -> Result<()> {
        let table = self.table();
        for index in self.rules.maintained_indexes() {
            let entry = index_entry(table, index, &old.key, &old.values)?;
            stored(context.transaction.write_guarded(&old.key, entry.key.into(), None))?;
        }
        stored(context.transaction.delete(old.key.clone()))
    }
}
