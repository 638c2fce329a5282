//! The store as its users see it: [`Store`] opens it, begins transactions and manages shards; [`Transaction`] and [`ReadView`]
//! write and read.
//!
//! * [`transaction`], [`view`]: the session's side: buffered writes, savepoints, row locks, snapshots.
//! * `commit`: drives the protocol cores over the logs. `ending`: what follows when a commit has happened.
//! * `oracle`, `routing`, `pins`, `read_set`: timestamps, ranges, snapshots in use, what serializable transactions read.
//! * `loading`: what goes into the store before the commit.
//! * `shards`, `background`: splits, new ranges, dropped ranges; garbage collection and the like.
//! * [`data`]: what is needed from below.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::api::{Isolation, Key, PrefixStatistics, ShardId, ShardInfo, Span, StoreOptions, Timestamp, TxnId, Value};
use crate::command::{Command, CommandResult};
use crate::engine::RowCacheUse;
use crate::error::{Error, Result};
use crate::locks::{LockTable, LockWait};

mod background;
mod commit;
pub mod data;
mod ending;
mod loading;
mod machine;
mod open;
mod oracle;
mod owner;
mod partition;
mod pins;
mod read_set;
mod routing;
mod settle;
mod shards;
mod transaction;
mod view;

#[cfg(test)]
mod tests;

use data::{Data, Proposer};
use oracle::Oracle;
use pins::Pins;
use routing::Routing;

pub use owner::LockOwner;
pub use transaction::Transaction;
pub use view::{ReadView, ScanCursor};

/// The shard that exists from the start: catalog, series of numbers, the map of shards.
pub const SYSTEM_SHARD: ShardId = ShardId(1);

/// Numbers for the metrics page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreMetrics {
    /// Transactions committed since the start.
    pub commits: u64,
    /// Commits refused because of a conflict since the start.
    pub conflicts: u64,
    /// Commits on their way.
    pub open_commits: u64,
    /// Row locks held.
    pub row_locks: u64,
    /// Requests for row locks that had to wait since the start.
    pub row_lock_waits: u64,
    /// Deadlocks that were broken since the start.
    pub deadlocks: u64,
    /// Shards of this node.
    pub shards: u64,
    /// Age of the oldest snapshot in use, in microseconds of the oracle's time.
    pub oldest_snapshot_age_micros: u64,
}

/// What those who watch a key are told. As long as nothing is under way and the count stays the same, every snapshot shows the
/// same value of the key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyChanges {
    /// Grows with every change: before the first snapshot has it, and again when every later one has it.
    pub count: u64,
    /// Changes between the two: some snapshots have them, others have not.
    pub under_way: u32,
}

/// Everything behind the handles.
pub(crate) struct Inner {
    options: StoreOptions,
    data: Arc<dyn Data>,
    proposer: Arc<dyn Proposer>,
    routing: Routing,
    /// One change of the shards' ranges at a time.
    reshaping: tokio::sync::Mutex<()>,
    reserving: tokio::sync::Mutex<()>,
    /// Held while the shards' ranges are looked at and taken over.
    rerouting: Mutex<()>,
    oracle: Oracle,
    locks: LockTable,
    pins: Arc<Pins>,
    /// Commits over several shards that this process drives: their locks will go away without help.
    coordinating: Mutex<HashSet<TxnId>>,
    watchers: Mutex<HashMap<Key, watch::Sender<KeyChanges>>>,
    watched: AtomicUsize,
    /// Upper half of all transaction ids of this process: its first timestamp, which no other process had.
    incarnation: u64,
    next_txn: AtomicU64,
    closing: AtomicBool,
    stop: watch::Sender<bool>,
    commits: AtomicU64,
    conflicts: AtomicU64,
}

impl Inner {
    fn check_open(&self) -> Result<()> {
        if self.closing.load(Ordering::Relaxed) { Err(Error::ShuttingDown) } else { Ok(()) }
    }

    fn next_txn_id(&self) -> TxnId {
        let number = self.next_txn.fetch_add(1, Ordering::Relaxed);
        TxnId(u128::from(self.incarnation) << 64 | u128::from(number))
    }

    fn is_coordinating(&self, txn: TxnId) -> bool {
        self.coordinating.lock().contains(&txn)
    }

    fn count_conflict(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    /// A timestamp above everything before.
    async fn now(&self) -> Result<Timestamp> {
        loop {
            match self.oracle.now() {
                Ok(now) => return Ok(now),
                Err(_) => self.reserve_timestamps().await?,
            }
        }
    }

    /// Reserves the next window of timestamps in the system shard's log.
    async fn reserve_timestamps(&self) -> Result<()> {
        let _one_at_a_time = self.reserving.lock().await;
        let until = self.oracle.reservation();
        let shard = self.routing.by_id(SYSTEM_SHARD)?;
        let command = Command::ReserveTimestamps { until }.encode(shard.descriptor.epoch);
        match settle::submit(self, SYSTEM_SHARD, command).await? {
            CommandResult::Moment { ts } => {
                self.oracle.reserved(ts);
                Ok(())
            }
            other => Err(unexpected("reserving timestamps", &other)),
        }
    }

    /// Takes over the shards' ranges as the engine has them now.
    async fn refresh_routing(&self) -> Result<()> {
        let now = self.now().await?;
        // An older list must not come after a newer one: it would not have the newest shards.
        let _in_order = self.rerouting.lock();
        self.routing.replace(self.data.descriptors(), now);
        Ok(())
    }

    /// The newest committed version of a key: its timestamp and value. A prewrite in the way is dealt with first.
    async fn latest_committed(&self, key: &[u8], own: TxnId) -> Result<Option<(Timestamp, Option<Value>)>> {
        while self.data.any_locks() {
            let Some(lock) = self.data.lock_on(key)?.filter(|lock| lock.txn != own) else { break };
            let within = Span::key(&lock.key);
            if settle::clear_locks(self, &lock.into(), &within).await? == crate::protocol::resolution::Remedy::Wait {
                return Err(Error::LockTimeout);
            }
        }
        self.data.latest(key)
    }

    /// Tells those who watch one of the `chosen` keys.
    fn tell_watchers(&self, chosen: impl Fn(&Key) -> bool, change: impl Fn(&mut KeyChanges)) {
        for (_, watcher) in self.watchers.lock().iter().filter(|(key, _)| chosen(key)) {
            watcher.send_modify(|changes| {
                changes.count += 1;
                change(changes);
            });
        }
    }
}

fn unexpected(context: &'static str, result: &CommandResult) -> Error {
    Error::Io { context, message: format!("unexpected answer {result:?}") }
}

/// The store. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("data_dir", &self.inner.options.data_dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Puts a store on top of an engine and its logs, which hold at least the system shard.
    ///
    /// # Errors
    /// The first window of timestamps cannot be reserved.
    pub async fn assemble(options: StoreOptions, data: Arc<dyn Data>, proposer: Arc<dyn Proposer>) -> Result<Store> {
        let reserved_until = data.reserved_timestamps()?;
        let oracle = Oracle::new(reserved_until);
        let routing = Routing::default();
        // Whoever reads below the first timestamp of this process has read in another life.
        routing.replace(data.descriptors(), reserved_until);
        let inner = Inner {
            options,
            data,
            proposer,
            routing,
            reshaping: tokio::sync::Mutex::default(),
            reserving: tokio::sync::Mutex::default(),
            rerouting: Mutex::default(),
            oracle,
            locks: LockTable::default(),
            pins: Arc::default(),
            coordinating: Mutex::default(),
            watchers: Mutex::default(),
            watched: AtomicUsize::new(0),
            incarnation: reserved_until.0,
            next_txn: AtomicU64::new(1),
            closing: AtomicBool::new(false),
            stop: watch::Sender::new(false),
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
        };
        inner.reserve_timestamps().await?;
        let inner = Arc::new(inner);
        background::start(&inner);
        Ok(Store { inner })
    }

    /// Begins a transaction. Its snapshot is taken by the first statement (at every statement under read committed).
    pub fn begin(&self, isolation: Isolation, read_only: bool) -> Transaction {
        Transaction::new(self.inner.clone(), self.inner.next_txn_id(), isolation, read_only)
    }

    /// Everybody who waits for a row lock or a name now.
    pub fn lock_waits(&self) -> Vec<LockWait> {
        self.inner.locks.waits()
    }

    /// An id that no transaction has or will have, greater than those before.
    pub fn next_transaction_id(&self) -> TxnId {
        self.inner.next_txn_id()
    }

    /// A moment that every acknowledged commit is at or below.
    pub async fn snapshot(&self) -> Timestamp {
        self.inner.oracle.watermark()
    }

    /// Reads as of now: everything acknowledged is in it.
    pub fn latest_view(&self) -> ReadView {
        self.view_at(self.inner.oracle.watermark())
    }

    /// Reads as of a moment. The view keeps that moment readable from now on; it may be too old already.
    pub fn view_at(&self, at: Timestamp) -> ReadView {
        let pin = self.inner.pins.pin(at, at.0);
        ReadView::new(self.inner.clone(), at, Default::default(), None, pin)
    }

    /// Takes `count` numbers of a named series, durably: nobody will ever get them again. Series start at 1.
    ///
    /// # Errors
    /// The log cannot take it.
    pub async fn allocate_ids(&self, name: &str, count: u64) -> Result<Range<u64>> {
        self.inner.check_open()?;
        self.inner.allocate_ids(name, count).await
    }

    /// What is known of the commits that write a key.
    pub fn watch_key(&self, key: Key) -> watch::Receiver<KeyChanges> {
        let mut watchers = self.inner.watchers.lock();
        let receiver = watchers.entry(key).or_insert_with(|| watch::Sender::new(KeyChanges::default())).subscribe();
        self.inner.watched.store(watchers.len(), Ordering::Release);
        receiver
    }

    /// All shards of this node, in key order.
    pub fn shards(&self) -> Vec<ShardInfo> {
        let inner = &self.inner;
        let describe = |shard: Arc<routing::Shard>| {
            let descriptor = shard.descriptor.clone();
            let size = inner.data.shard_size(descriptor.shard).unwrap_or_default();
            ShardInfo {
                shard: descriptor.shard,
                span: descriptor.span,
                epoch: descriptor.epoch,
                rows: size.rows,
                bytes: size.bytes,
                leader: inner.proposer.leader(descriptor.shard),
                applied_index: inner.data.applied_index(descriptor.shard).unwrap_or_default(),
            }
        };
        inner.routing.all().into_iter().map(describe).collect()
    }

    /// What single records are kept in memory.
    pub fn row_cache(&self) -> RowCacheUse {
        self.inner.data.row_cache()
    }

    /// Live rows and bytes of all keys with a prefix.
    pub fn statistics(&self, prefix: &[u8]) -> PrefixStatistics {
        self.inner.data.statistics(prefix).unwrap_or_default()
    }

    /// Bytes of keys and values with a prefix, before compression: those of live rows, and those that large transactions have
    /// written and that are not yet part of the statistics.
    pub fn size_bytes(&self, prefix: &[u8]) -> u64 {
        self.statistics(prefix).bytes + self.inner.data.pending_bytes(prefix)
    }

    /// Walks the whole store and verifies its invariants.
    ///
    /// # Errors
    /// The engine cannot read. Damaged records are findings, not errors.
    pub fn check(&self) -> Result<crate::check::CheckReport> {
        self.inner.data.check()
    }

    /// Ends the background work and the logs, and flushes. Transactions that are still open fail from now on.
    ///
    /// # Errors
    /// Flushing fails; nothing is lost then, the next start takes longer.
    pub async fn shutdown(&self) -> Result<()> {
        self.inner.closing.store(true, Ordering::Relaxed);
        self.inner.stop.send_replace(true);
        self.inner.proposer.shutdown().await
    }

    /// Counters of the log that the shards share; none where there is no log.
    pub fn log_metrics(&self) -> Option<crate::log::LogMetrics> {
        self.inner.proposer.log_metrics()
    }

    /// Counters and gauges.
    pub fn metrics_snapshot(&self) -> StoreMetrics {
        let inner = &self.inner;
        let locks = inner.locks.statistics();
        let watermark = inner.oracle.watermark();
        let age = inner.pins.oldest().map_or(0, |oldest| watermark.micros().saturating_sub(oldest.micros()));
        StoreMetrics {
            commits: inner.commits.load(Ordering::Relaxed),
            conflicts: inner.conflicts.load(Ordering::Relaxed),
            open_commits: inner.oracle.open_tickets() as u64,
            row_locks: locks.held,
            row_lock_waits: locks.waits,
            deadlocks: locks.deadlocks,
            shards: inner.routing.all().len() as u64,
            oldest_snapshot_age_micros: age,
        }
    }
}
