//! One row in, changed or out: its key and value, its index entries, its constraints.

use bytes::{Bytes, BytesMut};
use stratos_replication::{Error as StoreError, LockMode, LockOutcome, Span, Timestamp, WaitPolicy};
use stratos_types::{Datum, Error, Result};

use super::rules::TableRules;
use super::violations::no_arbiter;
use super::{StatementContext, deferred_keys, foreign_keys, stored};
use crate::catalog::{Index, IndexState, Table};
use crate::rows::{
    IndexEntry, RowEncoder, StoredRow, append_primary_key, decode_row, encode_row, index_columns_prefix, index_entry,
    primary_key, row_id_key, row_key_of_entry,
};

/// From this many row locks on, a transaction that inserts takes no more of them: it relies on the check at its commit.
/// A bulk load would otherwise hold a lock in memory for every row.
const INSERT_LOCKS_MAX: usize = 20_000;

/// A row that stands in the way of an insert.
#[derive(Debug)]
pub struct Conflict {
    /// Position of the violated index in the table's indexes.
    pub index: usize,
    /// The key that is taken, in that index.
    pub taken: Bytes,
    /// The key of the existing row.
    pub row_key: Bytes,
}

/// What came of an insert.
#[derive(Debug)]
pub enum Inserted {
    /// The row is in, under this key.
    Yes(Bytes),
    /// It is not: a row with the same unique key exists, and the caller wants to know rather than fail.
    Conflict(Conflict),
}

/// A row that was locked, or was to be.
#[derive(Debug)]
pub struct Locked {
    /// The row as it is now; none when it is gone.
    pub row: Option<Vec<Datum>>,
    /// Whether it changed, or went, since the statement's snapshot.
    pub changed: bool,
    /// When that was committed.
    pub version: Timestamp,
}

/// A [`Locked`] row as it is stored.
#[derive(Debug)]
pub struct LockedValue {
    /// Its value now; none when it is gone.
    pub value: Option<Bytes>,
    /// Whether it changed, or went, since the statement's snapshot.
    pub changed: bool,
    /// When that was committed.
    pub version: Timestamp,
}

/// Whether a unique key is free, and if not, the value stored under it. A free key is locked, so that nobody else takes it; one
/// that somebody is about to take or to give up is waited for. Without a lock, which only those may do who fail when it
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
    match context.transaction.lock_if_free(key, LockMode::Update, context.wait).await {
        Ok(LockOutcome::Granted { current, .. }) => Ok(current),
        Ok(LockOutcome::Skipped) => Err(Error::internal("a waiting lock was skipped")),
        // A duplicate is one even if the one snapshot of the transaction does not show it.
        Err(conflict @ StoreError::WriteConflict { .. }) if !must_lock => {
            let now = stored(context.transaction.newest_view().get(key))?;
            if now.is_some() { Ok(now) } else { stored(Err(conflict)) }
        }
        Err(error) => stored(Err(error)),
    }
}

/// Writes rows of one table within one statement.
pub struct TableWriter<'a> {
    /// What must hold.
    pub rules: &'a TableRules,
    state: WriterState,
}

/// What a [`TableWriter`] remembers between the pieces of one statement.
#[derive(Debug, Default)]
pub struct WriterState {
    locks_taken: usize,
    row_ids: std::ops::Range<u64>,
    /// Keys of rows whose parents, or whose equals in deferrable keys, are looked for when the statement's rows are all written.
    unsettled: Vec<Bytes>,
    /// The rows are written on behalf of a foreign key: the parents that they get may be on their way themselves.
    cascades: bool,
    /// Some of the `unsettled` had not all of their parents when they were written.
    orphans: bool,
    bulk: Option<Bulk>,
}

/// What adding many rows uses again and again.
#[derive(Debug)]
struct Bulk {
    encoder: RowEncoder,
    scratch: Vec<u8>,
    /// Keys and values are cut from here: a piece of memory of their own for each would cost more than the rows.
    arena: BytesMut,
}

impl Bulk {
    /// The bytes of `scratch`, which starts over.
    fn cut(&mut self) -> Bytes {
        if self.arena.capacity() - self.arena.len() < self.scratch.len() {
            self.arena = BytesMut::with_capacity(ARENA_BYTES.max(self.scratch.len()));
        }
        self.arena.extend_from_slice(&self.scratch);
        self.scratch.clear();
        self.arena.split().freeze()
    }
}

/// A row of a run, ready to be written.
struct ReadyRow {
    key: Bytes,
    value: Bytes,
    /// Index entries with the positions of their indexes.
    entries: Vec<(usize, IndexEntry)>,
}

/// The rows of a run that hold by themselves, and what is wrong with the one after them.
struct Run {
    rows: Vec<ReadyRow>,
    fault: Option<Error>,
}

/// How many row ids a statement takes from the store at once, at least and at most.
const ROW_ID_BLOCK: u64 = 64;
const ROW_ID_BLOCK_MAX: u64 = 4096;
/// Bytes of memory from which keys and values of many rows are cut.
const ARENA_BYTES: usize = 64 << 10;

impl<'a> TableWriter<'a> {
    /// A writer for the rows that `rules` are about.
    pub fn new(rules: &'a TableRules) -> Self {
        TableWriter { rules, state: WriterState::default() }
    }

    /// Goes on where another writer of the same statement stopped.
    pub fn resume(rules: &'a TableRules, state: WriterState) -> Self {
        TableWriter { rules, state }
    }

    /// What the next writer of the statement has to know.
    pub fn suspend(self) -> WriterState {
        self.state
    }

    /// A writer for what foreign keys do to the rows of `rules`' table.
    pub fn cascading(rules: &'a TableRules) -> Self {
        TableWriter { rules, state: WriterState { cascades: true, ..WriterState::default() } }
    }

    /// The statement's rows are all written, and what foreign keys do to others is done: checks what could not be checked row
    /// by row, for rows that are still there, as they are now.
    ///
    /// # Errors
    /// 23503.
    pub async fn finish(&mut self, context: &mut StatementContext<'_>) -> Result<()> {
        let (rules, all) = (self.rules, self.state.cascades || self.state.orphans);
        let keys = std::mem::take(&mut self.state.unsettled);
        deferred_keys::require_unique_late(context, rules, &keys).await?;
        foreign_keys::require_late(context, rules, keys, all, self.state.cascades).await
    }

    /// Keys of rows whose parents have still to be looked for.
    pub fn into_unsettled(self) -> Vec<Bytes> {
        self.state.unsettled
    }

    fn table(&self) -> &'a Table {
        &self.rules.table
    }

    async fn new_key(&mut self, context: &StatementContext<'_>, row: &[Datum]) -> Result<Vec<u8>> {
        let table = self.table();
        if table.has_primary_key() {
            return primary_key(table, row);
        }
        Ok(row_id_key(table, self.new_row_id(context, 1).await?))
    }

    /// A row id, where about `wanted` will be needed.
    async fn new_row_id(&mut self, context: &StatementContext<'_>, wanted: usize) -> Result<i64> {
        if self.state.row_ids.is_empty() {
            let count = (wanted as u64).clamp(ROW_ID_BLOCK, ROW_ID_BLOCK_MAX);
            self.state.row_ids = context.engine.row_ids().take(count).await?;
        }
        let id = self.state.row_ids.next().ok_or_else(|| Error::internal("no row id"))?;
        i64::try_from(id).map_err(|_| Error::out_of_range("row id"))
    }

    /// Adds rows as [`TableWriter::insert`] does one by one. An error comes with the number of rows before the one that it is
    /// about.
    ///
    /// # Errors
    /// As [`TableWriter::insert`].
    pub async fn insert_many(
        &mut self,
        context: &mut StatementContext<'_>,
        rows: &[Vec<Datum>],
    ) -> std::result::Result<(), (usize, Error)> {
        let mut done = 0;
        // Row locks make others wait for this transaction, and parents are looked at one by one.
        let one_by_one = |writer: &Self| {
            let locks = writer.table().indexes.iter().any(|index| index.unique);
            !writer.rules.outgoing.is_empty()
                || writer.rules.deferrable_keys().next().is_some()
                || (locks && writer.state.locks_taken < INSERT_LOCKS_MAX)
        };
        while done < rows.len() && one_by_one(self) {
            self.insert(context, &rows[done], None).await.map_err(|error| (done, error))?;
            done += 1;
        }
        if done == rows.len() {
            return Ok(());
        }
        let run = self.prepare_run(context, &rows[done..]).await.map_err(|error| (done, error))?;
        let ready = run.rows.len();
        self.write_run(context, &rows[done..], run.rows).map_err(|(at, error)| (done + at, error))?;
        run.fault.map_or(Ok(()), |error| Err((done + ready, error)))
    }

    /// Checks rows by themselves and encodes them.
    async fn prepare_run(&mut self, context: &mut StatementContext<'_>, rows: &[Vec<Datum>]) -> Result<Run> {
        let table = self.table();
        let mut run = Run { rows: Vec::with_capacity(rows.len()), fault: None };
        for row in rows {
            let row_id = match table.has_primary_key() {
                true => None,
                false => Some(self.new_row_id(context, rows.len()).await?),
            };
            match self.prepare(context, row, row_id) {
                Ok(ready) => run.rows.push(ready),
                Err(error) => {
                    run.fault = Some(error);
                    break;
                }
            }
        }
        Ok(run)
    }

    fn prepare(&mut self, context: &StatementContext<'_>, row: &[Datum], row_id: Option<i64>) -> Result<ReadyRow> {
        self.rules.check_row(row, context.eval)?;
        let table = self.table();
        let bulk = self.state.bulk.get_or_insert_with(|| Bulk {
            encoder: RowEncoder::new(table),
            scratch: Vec::new(),
            arena: BytesMut::new(),
        });
        match row_id {
            Some(id) => bulk.scratch.extend_from_slice(&row_id_key(table, id)),
            None => append_primary_key(&mut bulk.scratch, table, row)?,
        }
        let key = bulk.cut();
        bulk.encoder.encode(table, row, &mut bulk.scratch)?;
        let value = bulk.cut();
        let mut entries = Vec::new();
        for (position, index) in table.indexes.iter().enumerate().skip(1) {
            if index.state != IndexState::DeleteOnly {
                entries.push((position, index_entry(table, index, &key, row)?));
            }
        }
        Ok(ReadyRow { key, value, entries })
    }

    /// Writes prepared rows, each unless one of its unique keys is taken.
    fn write_run(
        &mut self,
        context: &mut StatementContext<'_>,
        rows: &[Vec<Datum>],
        ready: Vec<ReadyRow>,
    ) -> std::result::Result<(), (usize, Error)> {
        let table = self.table();
        // One look at the range of an index tells of all its new keys where nothing is there yet, as when a table is filled.
        let mut vacant = vec![true; table.indexes.len()];
        for (position, vacant) in vacant.iter_mut().enumerate() {
            let keys = || {
                ready.iter().filter_map(move |row| match position {
                    0 => table.has_primary_key().then_some(row.key.as_ref()),
                    _ => row
                        .entries
                        .iter()
                        .find(|(at, entry)| *at == position && entry.unique)
                        .map(|(_, entry)| entry.key.as_slice()),
                })
            };
            if let (Some(first), Some(last)) = (keys().min(), keys().max()) {
                let span = Span::new(first.to_vec(), Span::key(last).end);
                *vacant = stored(context.transaction.is_vacant(span)).map_err(|error| (0, error))?;
            }
        }
        for (at, row) in ready.into_iter().enumerate() {
            let violation = |index: usize| {
                (at, self.rules.unique_violation(&table.indexes[index], &rows[at], &context.eval.format))
            };
            if !vacant[0] && stored(context.transaction.get(&row.key)).map_err(|error| (at, error))?.is_some() {
                return Err(violation(0));
            }
            if stored(context.transaction.put_new(row.key, row.value)).map_err(|error| (at, error))? {
                return Err(violation(0));
            }
            for (index, entry) in row.entries {
                let (key, value) = (Bytes::from(entry.key), Bytes::from(entry.value));
                if entry.unique
                    && !vacant[index]
                    && stored(context.transaction.get(&key)).map_err(|error| (at, error))?.is_some()
                {
                    return Err(violation(index));
                }
                if stored(context.transaction.put_new(key, value)).map_err(|error| (at, error))? && entry.unique {
                    return Err(violation(index));
                }
            }
        }
        Ok(())
    }

    /// Adds a row. With `on_conflict`, says which row stands in the way instead of failing, for the indexes at these
    /// positions (all when empty).
    ///
    /// # Errors
    /// Constraint violations and the store's errors; 55000 when the first deferrable key is come to before a conflict: Postgres
    /// looks at all keys in the order of their OIDs until one stands in the way, and does not look at deferrable ones.
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
        let any = on_conflict.is_some_and(<[usize]>::is_empty);
        let barrier = self.rules.deferrable_keys().filter(|_| any).min_by_key(|index| index.oid);
        let mut entries: Vec<Option<IndexEntry>> = Vec::with_capacity(table.indexes.len());
        entries.push(None);
        for index in &table.indexes[1..] {
            let kept = index.state != IndexState::DeleteOnly;
            entries.push(if kept { Some(index_entry(table, index, &key, row)?) } else { None });
        }

        // All unique keys are looked at before anything is written, so that a tolerated conflict leaves nothing behind; those
        // whose conflicts are tolerated first, because such a conflict is the answer whatever the others say.
        for tolerated in [true, false] {
            if tolerated && on_conflict.is_none() {
                continue;
            }
            let barrier = if tolerated { barrier } else { None };
            for (position, index) in table.indexes.iter().enumerate() {
                if tolerates(position) != tolerated || barrier.is_some_and(|barrier| index.oid >= barrier.oid) {
                    continue;
                }
                let unique = match &entries[position] {
                    None if position == 0 && table.has_primary_key() => &key,
                    Some(entry) if entry.unique => &entry.key,
                    _ => continue,
                };
                let locks_taken = &mut self.state.locks_taken;
                let Some(value) = occupant(context, unique, locks_taken, on_conflict.is_some()).await? else {
                    continue;
                };
                if !tolerated {
                    return Err(self.rules.unique_violation(index, row, &context.eval.format));
                }
                let row_key = match position {
                    0 => key.clone(),
                    _ => row_key_of_entry(table, index, unique, &value)?,
                };
                let taken = Bytes::copy_from_slice(unique);
                return Ok(Inserted::Conflict(Conflict { index: position, taken, row_key: row_key.into() }));
            }
            if let Some(barrier) = barrier {
                return Err(no_arbiter(table, barrier));
            }
        }
        let settled = foreign_keys::require_parents(context, self.rules, None, row, (&key, false)).await?;
        let value = encode_row(table, row)?;
        for entry in entries.into_iter().flatten() {
            let value = Some(entry.value.into());
            stored(context.transaction.write_guarded(&key, entry.key.into(), value))?;
        }
        let key = Bytes::from(key);
        stored(context.transaction.put(key.clone(), value.into()))?;
        self.state.orphans |= !settled;
        if self.rules.refers_to_itself() || !settled || self.rules.deferrable_keys().next().is_some() {
            self.state.unsettled.push(key.clone());
        }
        Ok(Inserted::Yes(key))
    }

    /// Locks a row for a change and gives it as it is now. Of one that changed since the statement's snapshot, the caller
    /// looks again whether it still wants to change it.
    ///
    /// # Errors
    /// Deadlock, timeout, 40001 above READ COMMITTED.
    pub async fn lock(&self, context: &mut StatementContext<'_>, key: &[u8], mode: LockMode) -> Result<Locked> {
        let LockedValue { value, changed, version } = self.lock_value(context, key, mode).await?;
        let row = value.map(|value| decode_row(self.table(), key, &value)).transpose()?;
        Ok(Locked { row, changed, version })
    }

    /// As [`TableWriter::lock`], with the row as it is stored.
    ///
    /// # Errors
    /// As [`TableWriter::lock`].
    pub async fn lock_value(
        &self,
        context: &mut StatementContext<'_>,
        key: &[u8],
        mode: LockMode,
    ) -> Result<LockedValue> {
        match stored(context.transaction.lock(key, mode, context.wait).await)? {
            LockOutcome::Granted { current: value, changed, version } => Ok(LockedValue { value, changed, version }),
            LockOutcome::Skipped => Err(Error::internal("a waiting lock was skipped")),
        }
    }

    /// As [`TableWriter::lock_value`], for who has yet to ask whether the row is wanted: one that the statement's snapshot does
    /// not have, or has otherwise than wanted, is not waited for, and gives nothing. One that is `likely` to be wanted is locked
    /// before it is looked at, if nobody else has it.
    ///
    /// # Errors
    /// As [`TableWriter::lock`], and those of `wanted`.
    pub async fn lock_wanted(
        &self,
        context: &mut StatementContext<'_>,
        key: &[u8],
        mode: LockMode,
        likely: bool,
        wanted: impl FnOnce(&StatementContext<'_>, &[u8]) -> Result<bool>,
    ) -> Result<Option<LockedValue>> {
        if likely {
            match context.transaction.lock(key, mode, WaitPolicy::SkipLocked).await {
                Ok(LockOutcome::Granted { current: value, changed, version }) => {
                    return Ok(Some(LockedValue { value, changed, version }));
                }
                // What others did to a row that is not wanted is nobody's concern, in the one snapshot of the transaction either.
                Ok(LockOutcome::Skipped) | Err(StoreError::WriteConflict { .. }) => {}
                Err(error) => return stored(Err(error)),
            }
        }
        match stored(context.transaction.get(key))? {
            Some(value) if wanted(context, &value)? => self.lock_value(context, key, mode).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Changes a locked row from `old` to `new`, checking NOT NULL, CHECK, unique and foreign keys. Gives the key that it has
    /// then.
    ///
    /// # Errors
    /// Constraint violations and the store's errors.
    pub async fn update(
        &mut self,
        context: &mut StatementContext<'_>,
        old: &StoredRow,
        new: &[Datum],
    ) -> Result<Bytes> {
        self.rules.check_row(new, context.eval)?;
        let table = self.table();
        let new_key = if table.has_primary_key() { Bytes::from(primary_key(table, new)?) } else { old.key.clone() };
        let moved = new_key != old.key;
        if self.rules.changes_key(&old.values, new) {
            // Those who only hold on to the key must be kept out now.
            stored(context.transaction.lock(&old.key, LockMode::Update, context.wait).await)?;
        }
        if moved && occupant(context, &new_key, &mut self.state.locks_taken, false).await?.is_some() {
            return Err(self.rules.unique_violation(table.primary_index(), new, &context.eval.format));
        }
        for index in self.rules.maintained_indexes() {
            self.update_entry(context, index, old, &new_key, new).await?;
        }
        if moved {
            stored(context.transaction.delete(old.key.clone()))?;
        }
        let value = encode_row(table, new)?;
        stored(context.transaction.put(new_key.clone(), value.into()))?;
        let late = self.state.cascades || (moved && self.rules.refers_to_itself());
        let rekeyed = deferred_keys::change(self.rules, &old.values, new)?;
        if late || rekeyed || self.rules.changes_own_reference(&old.values, new) {
            self.state.unsettled.push(new_key.clone());
        }
        if !self.state.cascades
            && !foreign_keys::require_parents(context, self.rules, Some(&old.values), new, (&new_key, moved)).await?
        {
            self.state.orphans = true;
            self.state.unsettled.push(new_key.clone());
        }
        Ok(new_key)
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
                && occupant(context, &after.key, &mut self.state.locks_taken, false).await?.is_some()
            {
                return Err(self.rules.unique_violation(index, new, &context.eval.format));
            }
            self.give_up(context, index, &before, &old.values).await?;
            stored(context.transaction.write_guarded(&old.key, before.key.into(), None))?;
        }
        if index.state != IndexState::DeleteOnly {
            let value = Some(after.value.into());
            stored(context.transaction.write_guarded(&old.key, after.key.into(), value))?;
        }
        Ok(())
    }

    /// Locks a unique key that is about to become free, so that those who want it wait for what becomes of that.
    async fn give_up(
        &mut self,
        context: &mut StatementContext<'_>,
        index: &Index,
        entry: &IndexEntry,
        row: &[Datum],
    ) -> Result<()> {
        if self.state.locks_taken >= INSERT_LOCKS_MAX {
            return Ok(());
        }
        let columns;
        let key = match index.deferrable {
            Some(_) => {
                columns = index_columns_prefix(self.table(), index, row)?;
                columns.as_deref()
            }
            None => entry.unique.then_some(entry.key.as_slice()),
        };
        if let Some(key) = key {
            self.state.locks_taken += 1;
            stored(context.transaction.lock_object(key, LockMode::Update, context.wait).await)?;
        }
        Ok(())
    }

    /// Takes a locked row out, with its index entries. Foreign keys that refer to it are the caller's business, after the
    /// statement's own rows are all out.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn delete(&mut self, context: &mut StatementContext<'_>, old: &StoredRow) -> Result<()> {
        let table = self.table();
        for index in self.rules.maintained_indexes() {
            let entry = index_entry(table, index, &old.key, &old.values)?;
            self.give_up(context, index, &entry, &old.values).await?;
            stored(context.transaction.write_guarded(&old.key, entry.key.into(), None))?;
        }
        stored(context.transaction.delete(old.key.clone()))
    }
}
