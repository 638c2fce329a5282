//! An index built while others write its table, in steps: delete-only, write-only, public.
//!
//! Each step is a transaction that waits for everybody who writes the table by the step before: they hold on to the table's
//! descriptor. Between write-only and public the backfill goes through the table in small transactions, each of which holds on
//! to the descriptor too, so that other schema changes come between two of them and never into one. A few of them are being
//! committed while the next one is made.
//!
//! Nobody is told of the index before it is public. What ends the build earlier takes the index away again: an error or a
//! cancel request at once, the end of the process at the next start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stratos_replication::{Direction, Isolation, LockMode, LockOutcome, Span, TableLockMode, Transaction, WaitPolicy};
use stratos_types::{Error, ErrorKind, FormatOptions, Result};
use tokio::task::JoinHandle;

use super::jobs::{could_not_create, index_of, next_rows};
use super::{store_error, stored};
use crate::catalog::{Index, IndexState, SnapshotEditor, Table, keys};
use crate::ddl::{self, Job};
use crate::engine::Engine;
use crate::rows::{decode_row, index_entry, index_span};
use crate::session::Host;

/// Most attempts at a chunk of the backfill that keeps colliding with writers.
const ATTEMPTS_MAX: usize = 1_000;
/// Rows of a chunk of the backfill, but for the last one: each costs a sync of the log, and keeps the writers of its rows
/// waiting.
const CHUNK_ROWS_MIN: usize = 1_500;
/// Chunks of the backfill that are being committed at a time.
const COMMITS_MAX: usize = 2;
/// How a step holds the table's descriptor, and how the backfill does.
const ALONE: LockMode = LockMode::Table(TableLockMode::AccessExclusive);
const AS_WRITER: LockMode = LockMode::Table(TableLockMode::RowExclusive);
const WAIT: WaitPolicy = WaitPolicy::Wait { timeout: None };
/// How often a build that waits for writers looks whether it is cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(20);
/// How long a failed build waits for the end of those who keep its index from being taken away; it goes on beyond that, unseen.
const ABANDON_WAIT: Duration = Duration::from_secs(2);

/// Which index is meant.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// OID of the database.
    pub database: u32,
    /// OID of the table.
    pub table: u32,
    /// OID of the index.
    pub index: u32,
}

/// Builds an index that is in state `DeleteOnly`; it is `Public` when this ends, or gone after an error.
///
/// # Errors
/// 23505 for duplicates in a unique index, 42704 when somebody drops it meanwhile, 57014, and the store's errors.
pub async fn build(engine: &Arc<Engine>, target: Target, host: &Arc<dyn Host>) -> Result<()> {
    let built = async {
        unless_canceled(host, advance(engine, target)).await?;
        backfill(engine, target, host).await?;
        unless_canceled(host, advance(engine, target)).await
    };
    let result = built.await;
    if result.is_err() {
        let engine = engine.clone();
        let gone = tokio::spawn(async move {
            if let Err(error) = abandon(&engine, target).await {
                tracing::warn!(%error, index = target.index, "an unfinished index stays until it is dropped or the node restarts");
            }
        });
        // It goes on by itself if it takes longer, and has then told what there was to tell.
        let _ = tokio::time::timeout(ABANDON_WAIT, gone).await;
    }
    result
}

/// Takes away the indexes of a database that an earlier process did not finish: nobody was told of them.
///
/// # Errors
/// The store's.
pub async fn abandon_unfinished(engine: &Arc<Engine>, database: u32) -> Result<()> {
    let catalog = engine.latest_catalog(database)?;
    for table in catalog.tables.values() {
        for index in table.indexes.iter().filter(|index| index.state != IndexState::Public) {
            tracing::warn!(
                index = index.name,
                table = table.qualified_name(),
                "the node ended while this index was being built: it is taken away, create it again"
            );
            abandon(engine, Target { database, table: table.oid, index: index.oid }).await?;
        }
    }
    Ok(())
}

/// Runs `work` unless the statement is cancelled; `work` is dropped then.
async fn unless_canceled<T>(host: &Arc<dyn Host>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let canceled = async {
        loop {
            if let Err(error) = host.check_canceled() {
                return error;
            }
            tokio::time::sleep(CANCEL_POLL).await;
        }
    };
    tokio::select! {
        biased;
        result = work => result,
        error = canceled => Err(error),
    }
}

async fn advance(engine: &Arc<Engine>, target: Target) -> Result<()> {
    step(engine, target, |editor| match ddl::advance_index(editor, target.index)? {
        Some(_) => Ok(None),
        None => Err(gone()),
    })
    .await
}

async fn abandon(engine: &Arc<Engine>, target: Target) -> Result<()> {
    step(engine, target, |editor| ddl::abandon_index(editor, target.index)).await
}

fn gone() -> Error {
    Error::new(ErrorKind::UndefinedObject, "the index was dropped while it was being built")
}

/// A transaction that holds the table's descriptor and the catalog's version. It waits for either without holding the other:
/// writers may take their time, and other schema changes must not wait for them.
async fn alone(engine: &Arc<Engine>, target: Target) -> Result<Transaction> {
    loop {
        let mut transaction = engine.store().begin(Isolation::ReadCommitted, false);
        stored(transaction.begin_statement())?;
        stored(transaction.lock_object(&keys::table(target.database, target.table), ALONE, WAIT).await)?;
        match stored(transaction.lock(&keys::version(), LockMode::Update, WaitPolicy::NoWait).await) {
            Ok(_) => return Ok(transaction),
            Err(error) if error.kind() == ErrorKind::LockNotAvailable => transaction.rollback().await,
            Err(error) => return Err(error),
        }
        let mut transaction = engine.store().begin(Isolation::ReadCommitted, false);
        stored(transaction.begin_statement())?;
        stored(transaction.lock(&keys::version(), LockMode::Update, WAIT).await)?;
        transaction.rollback().await;
    }
}

/// One change of the index's descriptor, behind everybody who writes the table by the one before.
async fn step(
    engine: &Arc<Engine>,
    target: Target,
    change: impl Fn(&mut SnapshotEditor) -> Result<Option<Job>>,
) -> Result<()> {
    let mut transaction = alone(engine, target).await?;
    stored(transaction.begin_statement())?;
    let snapshot = engine.catalog_at(target.database, &transaction.view())?;
    let mut editor = SnapshotEditor::new(&snapshot);
    let rest = change(&mut editor)?;
    if editor.is_unchanged() {
        return Ok(());
    }
    let (_, changes) = editor.finish();
    for (key, value) in changes {
        stored(match value {
            Some(value) => transaction.put(key, value),
            None => transaction.delete(key),
        })?;
    }
    if let Some(span) = rest.as_ref().and_then(Job::freed_span) {
        stored(transaction.drop_span(&span))?;
    }
    stored(transaction.commit().await)?;
    Ok(())
}

/// Where the backfill is: a storage of the table, and the key in it at which it goes on; none at the beginning.
type Place = Option<(u32, Bytes)>;

/// Puts an entry for every row. Writers keep up the entries of what they write.
async fn backfill(engine: &Arc<Engine>, target: Target, host: &Arc<dyn Host>) -> Result<()> {
    let mut at: Place = None;
    let mut attempts = 0;
    let mut commits: VecDeque<(Place, JoinHandle<Result<()>>)> = VecDeque::new();
    let mut last = false;
    loop {
        while commits.len() >= COMMITS_MAX || last && !commits.is_empty() {
            let Some((place, commit)) = commits.pop_front() else { break };
            let ended = unless_canceled(host, async { commit.await.map_err(Error::internal)? }).await;
            match ended {
                Ok(()) => attempts = 0,
                Err(error) => {
                    attempts += 1;
                    passes(error, attempts)?;
                    // From there again: entries that are there already are put once more.
                    at = first(at, place);
                    last = false;
                }
            }
        }
        if last {
            return Ok(());
        }
        let table = engine.latest_catalog(target.database)?.tables.get(&target.table).cloned().ok_or_else(gone)?;
        // A table that was written anew, or emptied, has got its entries in the new storage with that.
        if at.as_ref().is_some_and(|(storage, _)| *storage != table.storage) {
            last = true;
            continue;
        }
        let start = match &at {
            Some((_, start)) => start.clone(),
            None => index_span(&table, table.primary_index()).start,
        };
        let build = Build { engine: engine.clone(), target, table: table.clone() };
        match unless_canceled(host, build.chunk(start)).await {
            Ok(Some(Chunk { transaction, held, next })) => {
                let place = at.clone();
                match next {
                    Some(next) => at = Some((table.storage, next)),
                    None => last = true,
                }
                commits.push_back((place, tokio::spawn(build.finish(transaction, held))));
            }
            Ok(None) => {}
            Err(error) => {
                attempts += 1;
                passes(error, attempts)?;
            }
        }
    }
}

/// Lets an error pass that another attempt may not meet.
fn passes(error: Error, attempts: usize) -> Result<()> {
    let passing = matches!(error.kind(), ErrorKind::SerializationFailure | ErrorKind::DeadlockDetected);
    if passing && attempts < ATTEMPTS_MAX { Ok(()) } else { Err(error) }
}

/// Which of two places comes first. In a storage that is gone there is nothing to do.
fn first(one: Place, other: Place) -> Place {
    match (one, other) {
        (Some(one), Some(other)) if one.0 == other.0 => Some(one.min(other)),
        (Some(one), Some(_)) => Some(one),
        _ => None,
    }
}

/// A part of the backfill, ready to be committed.
struct Chunk {
    transaction: Transaction,
    /// Rows that somebody holds.
    held: Vec<Bytes>,
    /// The key at which the next one starts.
    next: Option<Bytes>,
}

/// A backfill as of one descriptor of the table.
struct Build {
    engine: Arc<Engine>,
    target: Target,
    table: Arc<Table>,
}

impl Build {
    /// Begins a transaction that holds on to the table's descriptor; none if it is another one by now.
    async fn begin(&self) -> Result<Option<Transaction>> {
        let mut transaction = self.engine.store().begin(Isolation::ReadCommitted, false);
        let descriptor = keys::table(self.target.database, self.target.table);
        stored(transaction.lock_object(&descriptor, AS_WRITER, WAIT).await)?;
        let current = self.engine.latest_catalog(self.target.database)?;
        if current.tables.get(&self.target.table).is_none_or(|now| now.version != self.table.version) {
            return Ok(None);
        }
        stored(transaction.begin_statement())?;
        Ok(Some(transaction))
    }

    fn index(&self) -> Result<&Index> {
        index_of(&self.table, self.target.index).map_err(|_| gone())
    }

    /// The next part; none when the table's descriptor has changed before it could be held on to.
    async fn chunk(&self, start: Bytes) -> Result<Option<Chunk>> {
        let Some(mut transaction) = self.begin().await? else { return Ok(None) };
        let index = self.index()?;
        let end = index_span(&self.table, self.table.primary_index()).end;
        let mut cursor = transaction.view().scan(Span { start, end }, Direction::Forward);
        let (mut rows, mut more) = next_rows(&mut cursor, &self.table)?;
        // A step among many deleted rows can be without any, and that is not the end.
        while rows.len() < CHUNK_ROWS_MIN && more {
            tokio::task::yield_now().await;
            let next;
            (next, more) = next_rows(&mut cursor, &self.table)?;
            rows.extend(next);
        }
        drop(cursor);
        let Some(last) = rows.last() else { return Ok(Some(Chunk { transaction, held: Vec::new(), next: None })) };
        // The first key behind the chunk: keys are prefix-free, so nothing lies between a key and the key with a zero behind.
        let mut next = last.key.to_vec();
        next.push(0);
        // Rows that somebody holds come afterwards, one by one: whoever waits with many locks held invites deadlocks.
        let mut held = Vec::new();
        for row in rows {
            if !self.put_entry(&mut transaction, index, &row.key, WaitPolicy::SkipLocked).await? {
                held.push(row.key);
            }
        }
        Ok(Some(Chunk { transaction, held, next: more.then(|| next.into()) }))
    }

    /// Commits a part, and the rows that were held one by one.
    async fn finish(self, transaction: Transaction, held: Vec<Bytes>) -> Result<()> {
        transaction.commit().await.map_err(store_error)?;
        let index = self.index()?;
        for key in held {
            let Some(mut transaction) = self.begin().await? else {
                // By the new descriptor, from where this part began.
                return Err(Error::new(ErrorKind::SerializationFailure, "the table has changed"));
            };
            self.put_entry(&mut transaction, index, &key, WAIT).await?;
            transaction.commit().await.map_err(store_error)?;
        }
        Ok(())
    }

    /// Puts the entry of a row as it is now, and keeps writers off the row meanwhile: an entry that a writer is about to remove
    /// must not be put. False when somebody holds the row, or the entry's key, and `wait` says not to wait.
    async fn put_entry(
        &self,
        transaction: &mut Transaction,
        index: &Index,
        row_key: &[u8],
        wait: WaitPolicy,
    ) -> Result<bool> {
        let LockOutcome::Granted { current, .. } = stored(transaction.lock(row_key, LockMode::Share, wait).await)?
        else {
            return Ok(false);
        };
        let Some(value) = current else { return Ok(true) };
        let row = decode_row(&self.table, row_key, &value)?;
        let entry = index_entry(&self.table, index, row_key, &row)?;
        if entry.unique {
            match stored(transaction.lock(&entry.key, LockMode::Update, wait).await)? {
                LockOutcome::Skipped => return Ok(false),
                LockOutcome::Granted { current: Some(other), .. } if other != entry.value => {
                    return Err(could_not_create(&self.table, index, &row, &FormatOptions::default()));
                }
                LockOutcome::Granted { .. } => {}
            }
        }
        stored(transaction.write_guarded(row_key, entry.key.into(), Some(entry.value.into())))?;
        Ok(true)
    }
}
