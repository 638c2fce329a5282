//! The deterministic state machine: applies the commands of the shards' logs to the engine.
//!
//! The path of a group of entries: each is decoded, validated against the engine and an overlay of what the
//! group changed before it, and answered; its writes go into one batch, which is written with the statistics
//! and the position of the last entry. Only then does the state in memory (locks, statistics, thresholds)
//! follow. Commands that change the ranges of shards are written on their own, between two groups.
//!
//! Every replica answers an entry the same. Therefore nothing here looks at a clock, and nothing depends on
//! what a compaction has dropped already: versions at or below the garbage collection threshold count as gone,
//! whether they are or not.

mod locks;
mod meta;
mod pending;
mod pieces;
mod recent;
mod snapshot;
mod structure;
#[cfg(test)]
mod tests;
mod transaction;
mod voids;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::api::{Direction, Key, PrefixStatistics, ShardDescriptor, ShardId, Span, Timestamp, TxnId, prefix_end};
use crate::command::{Command, CommandResult, TxnStatus};
use crate::engine::{Batch, Engine, Family, GcRange};
use crate::error::{Error, Result};
use crate::mvcc::{self, VersionScan, record};
use crate::target::{ApplyTarget, LogPosition};
use crate::watch::{SpanWatch, Watches};

pub use locks::LockTable;
pub use meta::FORMAT_VERSION;
pub(crate) use meta::{FORMAT_KEY, PrefixRecord, ShardState, kind, shard_key};
use pending::Pending;
use recent::Recent;
use transaction::Attempt;
#[cfg(test)]
pub(crate) use transaction::PIECE_WRITES_MIN;
pub(crate) use transaction::piece_ends;
use voids::{KnownVoids, VoidsOf};

/// One shard of the node.
#[derive(Debug)]
struct Shard {
    /// Held while entries are applied or the shard is replaced.
    turn: Mutex<()>,
    state: RwLock<ShardState>,
}

impl Shard {
    fn new(state: ShardState) -> Arc<Shard> {
        Arc::new(Shard { turn: Mutex::new(()), state: RwLock::new(state) })
    }
}

/// The shards of a node in the order of their keys.
#[derive(Clone, Debug, Default)]
pub struct ShardMap {
    shards: Vec<ShardDescriptor>,
}

impl ShardMap {
    /// A map of shards in the order of their keys.
    pub(crate) fn new(shards: Vec<ShardDescriptor>) -> ShardMap {
        ShardMap { shards }
    }

    /// The shard that holds `key`.
    pub fn find(&self, key: &[u8]) -> Option<&ShardDescriptor> {
        let after = self.shards.partition_point(|shard| shard.span.start.as_ref() <= key);
        self.shards.get(after.checked_sub(1)?).filter(|shard| shard.span.contains(key))
    }

    /// The shards that hold keys of `span`, in order. Keys between shards are passed over.
    pub fn overlapping<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = &'a ShardDescriptor> {
        self.shards.iter().filter(move |shard| shard.span.overlaps(span))
    }

    /// All shards in order.
    pub fn all(&self) -> &[ShardDescriptor] {
        &self.shards
    }
}

/// The state machine of all shards of a node.
pub struct StateMachine {
    engine: Arc<dyn Engine>,
    shards: RwLock<BTreeMap<ShardId, Arc<Shard>>>,
    map: RwLock<Arc<ShardMap>>,
    /// Held while the set of shards or their ranges change.
    structure: Mutex<()>,
    locks: LockTable,
    /// No snapshot below this can be read.
    read_floor: AtomicU64,
    watches: Arc<Watches>,
    voids: KnownVoids,
    recent: Recent,
}

impl std::fmt::Debug for StateMachine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StateMachine").field("map", &self.map).finish_non_exhaustive()
    }
}

impl StateMachine {
    /// Opens the state in an engine. A new engine is marked with the format version.
    ///
    /// # Errors
    /// `NewerFormat`; the engine cannot read or holds damaged records.
    pub fn open(engine: Arc<dyn Engine>) -> Result<StateMachine> {
        match engine.get_copy(Family::Meta, FORMAT_KEY)? {
            None => {
                let mut batch = Batch::new();
                batch.put(Family::Meta, FORMAT_KEY, &FORMAT_VERSION.to_be_bytes());
                engine.write(&batch)?;
                engine.flush()?;
            }
            Some(bytes) => {
                let bytes = bytes.try_into().map_err(|_| Error::corruption("the format version has no 4 bytes"))?;
                let found = u32::from_be_bytes(bytes);
                if found > FORMAT_VERSION {
                    return Err(Error::NewerFormat { found, supported: FORMAT_VERSION });
                }
            }
        }
        let machine = StateMachine {
            engine,
            shards: RwLock::default(),
            map: RwLock::default(),
            structure: Mutex::new(()),
            locks: LockTable::default(),
            read_floor: AtomicU64::new(0),
            watches: Arc::default(),
            voids: KnownVoids::default(),
            recent: Recent::default(),
        };
        machine.remove_unfinished_imports()?;
        machine.load()?;
        Ok(machine)
    }

    fn load(&self) -> Result<()> {
        let mut shards = BTreeMap::new();
        for shard in self.stored_shards()? {
            let state = ShardState::load(self.engine.as_ref(), shard)?;
            shards.extend(state.map(|state| (shard, Shard::new(state))));
        }
        for shard in shards.values() {
            let state = shard.state.read();
            self.load_locks(&state.descriptor.span)?;
            self.recent.forget_until(state.last_written());
        }
        *self.shards.write() = shards;
        let _structure = self.structure.lock();
        self.rebuild_map();
        self.engine.gc().publish(self.gc_ranges());
        Ok(())
    }

    /// Ids of the shards with a descriptor.
    fn stored_shards(&self) -> Result<Vec<ShardId>> {
        let start = [kind::DESCRIPTOR];
        let mut cursor = self.engine.cursor(Family::Meta, &start, Some(&prefix_end(&start)))?;
        let mut found = Vec::new();
        cursor.seek_first()?;
        while let Some((key, _)) = cursor.item() {
            let id = key.get(1..).and_then(meta::decode_u64);
            found.push(ShardId(id.ok_or_else(|| Error::corruption("the key of a descriptor has no 9 bytes"))?));
            cursor.next()?;
        }
        Ok(found)
    }

    /// Mirrors the stored locks of a span.
    fn load_locks(&self, span: &Span) -> Result<()> {
        let mut cursor = self.engine.cursor(Family::Locks, &span.start, Some(&span.end))?;
        let (mut keys, mut pieces) = (Vec::new(), Vec::new());
        cursor.seek_first()?;
        while let Some((key, value)) = cursor.item() {
            match record::StoredLock::decode(&Bytes::copy_from_slice(value)) {
                Some(record::StoredLock::Key(lock)) => keys.push((Bytes::copy_from_slice(key), lock)),
                Some(record::StoredLock::Piece(piece)) => pieces.push(piece),
                None => return Err(Error::corruption("the record of a lock cannot be decoded")),
            }
            cursor.next()?;
        }
        self.locks.replace_span(span, keys, pieces);
        Ok(())
    }

    fn shard(&self, shard: ShardId) -> Result<Arc<Shard>> {
        self.shards.read().get(&shard).cloned().ok_or(Error::UnknownShard { shard })
    }

    /// Follows a change of the shards. The caller holds `structure`.
    fn rebuild_map(&self) {
        let mut shards: Vec<ShardDescriptor> =
            self.shards.read().values().map(|shard| shard.state.read().descriptor.clone()).collect();
        shards.sort_by(|a, b| a.span.start.cmp(&b.span.start));
        *self.map.write() = Arc::new(ShardMap::new(shards));
        self.raise_read_floor();
    }

    fn raise_read_floor(&self) {
        let shards = self.shards.read();
        let highest = shards.values().map(|shard| shard.state.read().gc_threshold).max().unwrap_or_default();
        self.read_floor.fetch_max(highest.0, Ordering::AcqRel);
    }

    /// The thresholds of all shards. The caller holds `structure`.
    fn gc_ranges(&self) -> Vec<GcRange> {
        let shards = self.shards.read();
        let mut ranges: Vec<GcRange> = shards
            .values()
            .map(|shard| {
                let state = shard.state.read();
                let span = &state.descriptor.span;
                GcRange { start: span.start.clone(), end: span.end.clone(), threshold: state.gc_threshold }
            })
            .collect();
        ranges.sort_by(|a, b| a.start.cmp(&b.start));
        ranges
    }

    /// Applies a command that does not change the ranges of shards.
    fn apply_one(pending: &mut Pending<'_>, epoch: u64, command: Command) -> Result<CommandResult> {
        match command {
            Command::Commit { txn, start_ts, commit_ts, writes, checks } => {
                pending.commit(Attempt { epoch, txn, start_ts }, commit_ts, &writes, &checks)
            }
            Command::Prewrite { txn, start_ts, primary, writes, checks } => {
                pending.prewrite(Attempt { epoch, txn, start_ts }, &primary, writes, &checks)
            }
            Command::CommitPrimary { txn, commit_ts, primary } => pending.commit_primary(txn, commit_ts, &primary),
            Command::Resolve { txn, status, keys } => pending.resolve(txn, status, &keys),
            Command::Abort { txn, now, primary } => pending.abort(txn, now, &primary),
            Command::ReserveTimestamps { until } => {
                let until = until.max(pending.reserved_until());
                pending.set_reserved_until(until);
                Ok(CommandResult::Moment { ts: until })
            }
            Command::ReserveIds { name, count } => {
                let first = pending.series_next(&name);
                let Some(next) = first.checked_add(count) else {
                    return Ok(CommandResult::refused("the series has no numbers left"));
                };
                pending.set_series_next(name, next);
                Ok(CommandResult::Ids { first })
            }
            Command::AdvanceGc { threshold } => {
                // A lock that is not resolved may still need what its transaction saw.
                let limit =
                    pending.oldest_lock_start().map_or(Timestamp::MAX, |start| Timestamp(start.0.saturating_sub(1)));
                let threshold = threshold.min(limit).max(pending.gc_threshold());
                pending.set_gc_threshold(threshold);
                Ok(CommandResult::Moment { ts: threshold })
            }
            Command::DeleteRange { .. } | Command::Split { .. } | Command::CreateShard { .. } => {
                Ok(CommandResult::refused("the command is not for a group of entries"))
            }
        }
    }

    /// Whether a command turns a piece into versions: it names one key of thousands. A piece that is prewritten in the same
    /// group of entries need not be looked for, its bytes tell.
    fn ends_a_piece(&self, command: &Bytes) -> bool {
        if self.locks.is_empty() || !crate::command::finishes_work(command) {
            return false;
        }
        let on_piece = |key: &Key| self.locks.piece_on(key, |_| true).is_some();
        match Command::decode(command) {
            Ok((_, Command::Resolve { keys, status: TxnStatus::Committed(_), .. })) => keys.iter().any(on_piece),
            Ok((_, Command::CommitPrimary { primary, .. })) => on_piece(&primary),
            _ => false,
        }
    }

    /// Writes what a group changed, then lets the state in memory follow.
    fn finish(
        &self,
        shard: &Shard,
        pending: Pending<'_>,
        applied: Option<LogPosition>,
        membership: Option<&Bytes>,
    ) -> Result<()> {
        let mut written = pending.write(applied, membership.map(Bytes::as_ref))?;
        {
            let mut state = shard.state.write();
            written.publish(&mut state, &self.locks);
            state.applied = applied.or(state.applied);
            if let Some(membership) = membership {
                state.membership = Some(membership.clone());
            }
            self.read_floor.fetch_max(state.gc_threshold.0, Ordering::AcqRel);
        }
        Ok(())
    }
}

impl ApplyTarget for StateMachine {
    fn apply(&self, id: ShardId, entries: &[(LogPosition, Bytes)], membership: Option<Bytes>) -> Result<Vec<Bytes>> {
        let shard = self.shard(id)?;
        let _turn = shard.turn.lock();
        let mut answers = Vec::with_capacity(entries.len());
        let mut pending = Pending::new(self, shard.state.read());
        let mut applied = pending.state.applied;
        for (at, (position, bytes)) in entries.iter().enumerate() {
            if applied.is_some_and(|applied| applied.index >= position.index) {
                return Err(Error::corruption(format!("entry {} of shard {id} comes twice", position.index)));
            }
            if bytes.is_empty() {
                answers.push(Bytes::new());
                applied = Some(*position);
                continue;
            }
            let answer = match Command::decode(bytes) {
                Err(error) => CommandResult::refused(error.to_string()),
                Ok((epoch, command)) if structure::is_structural(&command) => {
                    // With the membership: a split in this group of entries hands it to the child.
                    self.finish(&shard, pending, applied, membership.as_ref())?;
                    let answer = self.apply_structural(&shard, *position, epoch, command)?;
                    pending = Pending::new(self, shard.state.read());
                    answer
                }
                Ok((epoch, command)) => {
                    pending.tracked = at + 1 < entries.len();
                    Self::apply_one(&mut pending, epoch, command)?
                }
            };
            answers.push(answer.encode());
            applied = Some(*position);
        }
        self.finish(&shard, pending, applied, membership.as_ref())?;
        Ok(answers)
    }

    fn takes_long(&self, command: &Bytes) -> bool {
        crate::command::walks_ranges(command) || self.ends_a_piece(command)
    }

    fn applied(&self, shard: ShardId) -> Result<Option<LogPosition>> {
        Ok(self.shard(shard)?.state.read().applied)
    }

    fn flushed(&self, shard: ShardId) -> Result<Option<LogPosition>> {
        self.shard(shard)?;
        let Some(bytes) = self.engine.get_flushed(Family::Meta, &shard_key(kind::APPLIED, shard))? else {
            return Ok(None);
        };
        meta::decode_position(&bytes).map(Some).ok_or_else(|| meta::damaged(shard, "applied position"))
    }

    fn flush(&self) -> Result<()> {
        // What compactions may use must be durable before they do.
        let ranges = {
            let _structure = self.structure.lock();
            self.gc_ranges()
        };
        self.engine.flush()?;
        self.engine.gc().publish(ranges);
        Ok(())
    }

    fn membership(&self, shard: ShardId) -> Result<Option<Bytes>> {
        Ok(self.shard(shard)?.state.read().membership.clone())
    }

    fn shard_ids(&self) -> Vec<ShardId> {
        self.shards.read().keys().copied().collect()
    }

    fn export(&self, shard: ShardId, sink: &mut dyn std::io::Write) -> Result<Option<LogPosition>> {
        self.export_shard(shard, sink)
    }

    fn import(&self, shard: ShardId, source: &mut dyn std::io::Read) -> Result<Option<LogPosition>> {
        self.import_shard(shard, source)
    }
}

/// Reading.
impl StateMachine {
    /// The engine.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Begins to notice changes of a span; see [`crate::watch`]. `None` when a part of it is watched already.
    pub fn watch(&self, span: &Span) -> Option<SpanWatch> {
        self.watches.watch(span)
    }

    /// The locks of prewritten transactions. Ask before reading a key.
    pub fn locks(&self) -> &LockTable {
        &self.locks
    }

    /// The shards and their ranges, as of now.
    pub fn shard_map(&self) -> Arc<ShardMap> {
        Arc::clone(&self.map.read())
    }

    /// No snapshot below this can be read on this node.
    pub fn read_floor(&self) -> Timestamp {
        Timestamp(self.read_floor.load(Ordering::Acquire))
    }

    /// Calls `visit` once with what the snapshot at `ts` sees of `key`, without a copy. Locks are not looked at.
    ///
    /// # Errors
    /// `SnapshotTooOld`; the engine cannot read or holds damaged records.
    pub fn read<R>(&self, key: &[u8], ts: Timestamp, visit: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        self.check_readable(ts)?;
        mvcc::read_at(self.engine.as_ref(), key, ts, visit)
    }

    /// Calls `visit` once with the newest version of `key`. Locks are not looked at.
    ///
    /// # Errors
    /// The engine cannot read or holds damaged records.
    pub fn read_latest<R>(&self, key: &[u8], visit: impl FnOnce(Option<mvcc::Latest<'_>>) -> R) -> Result<R> {
        mvcc::read_latest(self.engine.as_ref(), key, visit)
    }

    /// A scan of what the snapshot at `ts` sees. Locks are not looked at.
    ///
    /// # Errors
    /// `SnapshotTooOld`.
    pub fn scan(&self, span: Span, direction: Direction, ts: Timestamp) -> Result<VersionScan> {
        self.check_readable(ts)?;
        Ok(VersionScan::new(span, direction, ts))
    }

    /// Goes on with a scan; see [`VersionScan::next_chunk`].
    ///
    /// # Errors
    /// The engine cannot read or holds damaged records.
    pub fn scan_on(
        &self,
        scan: &mut VersionScan,
        rows_max: usize,
        bytes_max: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool> {
        let engine = self.engine.as_ref();
        let voids = VoidsOf { voids: &self.voids, engine };
        scan.next_chunk(engine, &voids, rows_max, bytes_max, visit)
    }

    /// The keys of a span went away or were replaced wholesale.
    fn replaced(&self, span: &Span) {
        self.watches.note_span(span);
        self.voids.watches().note_span(span);
    }

    fn check_readable(&self, ts: Timestamp) -> Result<()> {
        if ts < self.read_floor() { Err(Error::SnapshotTooOld) } else { Ok(()) }
    }

    /// The newest version in a span that is after `base`, if any: its key. For the validation of reads.
    ///
    /// # Errors
    /// `NoShardForKey`; the engine cannot read or holds damaged records.
    pub fn newer_in(&self, span: &Span, base: Timestamp) -> Result<Option<Key>> {
        for descriptor in self.shard_map().overlapping(span) {
            let shard = self.shard(descriptor.shard)?;
            let pending = Pending::new(self, shard.state.read());
            if let Some(key) = pending.newer_in(&span.intersection(&descriptor.span), base)? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// How a transaction ended, as far as the record at its primary key is still kept.
    ///
    /// # Errors
    /// The engine cannot read or holds damaged records.
    pub fn status(&self, primary: &[u8], txn: TxnId) -> Result<Option<TxnStatus>> {
        let threshold = match self.shard_map().find(primary) {
            Some(descriptor) => self.shard(descriptor.shard)?.state.read().gc_threshold,
            None => {
                return Err(Error::NoShardForKey { key: Bytes::copy_from_slice(primary) });
            }
        };
        let status = pending::read_status(self.engine.as_ref(), &record::txn_key(primary, txn))?;
        Ok(status.filter(|status| record::status_ts(*status) > threshold))
    }

    /// Live rows whose keys start with `prefix`, and their bytes. Exact down to prefixes of
    /// `STATISTICS_PREFIX_BYTES`; a longer prefix is answered for its first bytes.
    pub fn statistics(&self, prefix: &[u8]) -> PrefixStatistics {
        let prefix = crate::api::statistics_prefix(prefix);
        let shards = self.shards.read();
        let mut sum = PrefixStatistics::default();
        for shard in shards.values() {
            let state = shard.state.read();
            let records = state.statistics.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
            sum = records.fold(sum, |sum, (_, record)| sum.plus(record.statistics()));
        }
        sum
    }

    /// Live rows of a shard and their bytes.
    ///
    /// # Errors
    /// `UnknownShard`.
    pub fn shard_statistics(&self, shard: ShardId) -> Result<PrefixStatistics> {
        let shard = self.shard(shard)?;
        let state = shard.state.read();
        Ok(state.statistics.values().fold(PrefixStatistics::default(), |sum, record| sum.plus(record.statistics())))
    }

    /// The limit below which all timestamps given out are.
    ///
    /// # Errors
    /// `UnknownShard`.
    pub fn reserved_until(&self, shard: ShardId) -> Result<Timestamp> {
        Ok(self.shard(shard)?.state.read().reserved_until)
    }

    /// The garbage collection threshold of a shard.
    ///
    /// # Errors
    /// `UnknownShard`.
    pub fn gc_threshold(&self, shard: ShardId) -> Result<Timestamp> {
        Ok(self.shard(shard)?.state.read().gc_threshold)
    }

    /// A key near the middle of a shard's data, at which it can be split. `None`: too little data to tell.
    ///
    /// # Errors
    /// `UnknownShard`; the engine cannot read.
    pub fn middle_key(&self, shard: ShardId) -> Result<Option<Key>> {
        let (span, total) = {
            let shard = self.shard(shard)?;
            let state = shard.state.read();
            (state.descriptor.span.clone(), state.statistics.values().map(|record| record.bytes).sum::<u64>())
        };
        self.find_middle(&span, total)
    }
}
