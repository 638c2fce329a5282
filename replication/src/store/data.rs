//! What the store needs from the engine below it and from the logs in front of it. Two small traits, so that the transactions
//! can be tested without a disk and without consensus.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::api::{Key, PrefixStatistics, ShardDescriptor, ShardId, Span, Timestamp, TxnId, Value};
use crate::command::{Check, TxnStatus};
use crate::engine::RowCacheUse;
use crate::error::{Error, Result};
use crate::log::LogMetrics;
use crate::mvcc::VersionScan;
use crate::target::{ApplyTarget, LogPosition};
use crate::watch::SpanWatch;

/// Another transaction's prewrite of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLock {
    /// The locked key.
    pub key: Key,
    /// Whose lock it is.
    pub txn: TxnId,
    /// When that transaction's commit began.
    pub start_ts: Timestamp,
    /// Where that transaction is decided.
    pub primary: Key,
    /// What it writes; `None` deletes.
    pub value: Option<Value>,
}

/// What a look at something that a transaction relies on has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as the transaction has seen it.
    Holds,
    /// It has changed.
    Changed,
    /// Another transaction's lock is in the way; what it means is decided elsewhere.
    Locked(KeyLock),
}

/// Reading the engine. Every function may block on the disk.
pub trait Data: Send + Sync + 'static {
    /// Calls `found` with the value as of `at`, locks left aside.
    ///
    /// # Errors
    /// `SnapshotTooOld`; the engine cannot read.
    fn read(&self, key: &[u8], at: Timestamp, found: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

    /// The newest version of the key: its timestamp and value (`None`: deleted). `None` when there never was one, or it was
    /// deleted so long ago that nothing is kept of it.
    ///
    /// # Errors
    /// The engine cannot read.
    fn latest(&self, key: &[u8]) -> Result<Option<(Timestamp, Option<Value>)>>;

    /// Visits the next rows of a scan as of `at`, locks left aside; see [`VersionScan::next_chunk`].
    ///
    /// # Errors
    /// `SnapshotTooOld`; the engine cannot read.
    fn scan(
        &self,
        at: Timestamp,
        scan: &mut VersionScan,
        rows_max: usize,
        bytes_max: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool>;

    /// Begins to notice changes of a span; see [`crate::watch`].
    fn watch(&self, span: &Span) -> Option<SpanWatch>;

    /// Verifies the store's invariants.
    ///
    /// # Errors
    /// The engine cannot read.
    fn check(&self) -> Result<crate::check::CheckReport>;

    /// Whether any key is locked at all: cheap enough for every read.
    fn any_locks(&self) -> bool;

    /// The lock on a key.
    ///
    /// # Errors
    /// The engine cannot read.
    fn lock_on(&self, key: &[u8]) -> Result<Option<KeyLock>>;

    /// The locks in a span, in key order.
    ///
    /// # Errors
    /// The engine cannot read.
    fn locks_in(&self, span: &Span) -> Result<Vec<KeyLock>>;

    /// Up to `limit` locks in a span that belong to `wanted` transactions. Of locks that are resolved together one is enough.
    fn locks_of(&self, span: &Span, wanted: &dyn Fn(TxnId) -> bool, limit: usize) -> Vec<KeyLock>;

    /// Up to `limit` keys of a span on which a transaction has locks of their own, not as part of a piece.
    fn single_locks_of(&self, span: &Span, txn: TxnId, limit: usize) -> Vec<Key>;

    /// When the commit of the oldest transaction began that holds a lock.
    fn oldest_lock_start(&self) -> Option<Timestamp>;

    /// What is recorded of a transaction at its primary key; `None`: nothing yet.
    ///
    /// # Errors
    /// The engine cannot read.
    fn status(&self, primary: &[u8], txn: TxnId) -> Result<Option<TxnStatus>>;

    /// Whether a check holds for `txn`: nothing newer than its base, and no lock of another transaction in the way.
    ///
    /// # Errors
    /// The engine cannot read.
    fn judge(&self, check: &Check, txn: TxnId) -> Result<Verdict>;

    /// All shards of this node.
    fn descriptors(&self) -> Vec<ShardDescriptor>;

    /// Live rows and bytes of all keys with the prefix.
    ///
    /// # Errors
    /// The engine cannot read.
    fn statistics(&self, prefix: &[u8]) -> Result<PrefixStatistics>;

    /// Bytes under the prefix that transactions have written in large pieces, which are no versions yet: their outcome is not
    /// known, or they are still being made versions of.
    fn pending_bytes(&self, _prefix: &[u8]) -> u64 {
        0
    }

    /// Live rows and bytes of a shard.
    ///
    /// # Errors
    /// The engine cannot read.
    fn shard_size(&self, shard: ShardId) -> Result<PrefixStatistics>;

    /// What single records are kept in memory.
    fn row_cache(&self) -> RowCacheUse;

    /// A key that halves the shard, more or less; `None` when it has too few keys.
    ///
    /// # Errors
    /// The engine cannot read.
    fn middle(&self, shard: ShardId) -> Result<Option<Key>>;

    /// The limit below which all timestamps were given out.
    ///
    /// # Errors
    /// The engine cannot read.
    fn reserved_timestamps(&self) -> Result<Timestamp>;

    /// The oldest snapshot that the shard still answers.
    ///
    /// # Errors
    /// The engine cannot read.
    fn gc_threshold(&self, shard: ShardId) -> Result<Timestamp>;

    /// Index of the last entry that the shard applied here.
    ///
    /// # Errors
    /// The engine cannot read.
    fn applied_index(&self, shard: ShardId) -> Result<u64>;
}

/// The logs of the shards.
pub trait Proposer: Send + Sync + 'static {
    /// Hands a command to the shard's log and answers with its result once it is applied. Commands of one shard enter the log
    /// in the order of the calls. An error means that it is not known whether the command will be applied,
    /// except for those of [`was_not_proposed`].
    fn submit(&self, shard: ShardId, command: Bytes) -> BoxFuture<'static, Result<Bytes>>;

    /// Starts the log of a shard that a split of `parent`, or a creation, has just added to the engine.
    fn start(&self, shard: ShardId, parent: Option<ShardId>) -> BoxFuture<'static, Result<()>>;

    /// Whether the shard's log was started.
    fn has_group(&self, _shard: ShardId) -> bool {
        true
    }

    /// The node that leads the shard, if known.
    fn leader(&self, shard: ShardId) -> Option<u64>;

    /// Why the shard takes no commands until the process is started again; `None` as long as it does.
    fn stopped(&self, _shard: ShardId) -> Option<Error> {
        None
    }

    /// Counters of the log that the shards share; none where there is no log.
    fn log_metrics(&self) -> Option<LogMetrics> {
        None
    }

    /// Stops all logs; what is applied is flushed.
    fn shutdown(&self) -> BoxFuture<'static, Result<()>>;
}

/// Whether an error of [`Proposer::submit`] says that the command never entered the log.
pub fn was_not_proposed(error: &Error) -> bool {
    matches!(error, Error::NotLeader { .. } | Error::DiskFull | Error::Overloaded | Error::UnknownShard { .. })
}

/// Applies every command at once, with no log: for tests of what is above the logs.
pub struct DirectProposer {
    target: Arc<dyn ApplyTarget>,
    next_index: Mutex<HashMap<ShardId, u64>>,
}

impl DirectProposer {
    /// Applies to `target`.
    pub fn new(target: Arc<dyn ApplyTarget>) -> Self {
        DirectProposer { target, next_index: Mutex::default() }
    }

    fn apply(&self, shard: ShardId, command: Bytes) -> Result<Bytes> {
        let mut next_index = self.next_index.lock();
        let index = match next_index.get(&shard) {
            Some(index) => *index,
            None => self.target.applied(shard)?.map_or(1, |position| position.index + 1),
        };
        let position = LogPosition { term: 1, leader: 1, index };
        let answers = self.target.apply(shard, &[(position, command)], None)?;
        next_index.insert(shard, index + 1);
        Ok(answers.into_iter().next().unwrap_or_default())
    }
}

impl Proposer for DirectProposer {
    fn submit(&self, shard: ShardId, command: Bytes) -> BoxFuture<'static, Result<Bytes>> {
        let answer = self.apply(shard, command);
        Box::pin(async move {
            // Consensus takes time: let others run between the proposal and its answer.
            tokio::task::yield_now().await;
            answer
        })
    }

    fn start(&self, _shard: ShardId, _parent: Option<ShardId>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn leader(&self, _shard: ShardId) -> Option<u64> {
        Some(1)
    }

    fn shutdown(&self) -> BoxFuture<'static, Result<()>> {
        let target = self.target.clone();
        Box::pin(async move { target.flush() })
    }
}
