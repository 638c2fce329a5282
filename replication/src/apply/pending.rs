//! What a group of log entries has changed and not yet written: one batch, and an overlay through which later
//! entries of the group see the earlier ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLockReadGuard;

use super::StateMachine;
use super::locks::{LockChanges, LockTable, first_in};
use super::meta::{self, PrefixRecord, ShardState, kind};
use super::recent::Recent;
use crate::api::{Key, Span, Timestamp, TxnId, Value, statistics_prefix};
use crate::command::{Op, TxnStatus};
use crate::engine::{Batch, BatchOp, Engine, Family};
use crate::error::{Error, Result};
use crate::mvcc::record::{self, LockRecord, PieceRecord};
use crate::target::LogPosition;
use crate::watch::Watches;

/// The newest version of a key before a write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prior {
    pub(crate) ts: Timestamp,
    /// Bytes of the value; `None` for a tombstone.
    pub(crate) value_bytes: Option<usize>,
}

/// Change of a prefix's statistics.
#[derive(Clone, Copy, Debug, Default)]
struct Delta {
    rows: i64,
    bytes: i64,
    last_ts: Timestamp,
}

/// Changes of a shard that are not written yet.
pub(crate) struct Pending<'a> {
    pub(crate) engine: &'a dyn Engine,
    pub(crate) locks: &'a LockTable,
    pub(crate) state: RwLockReadGuard<'a, ShardState>,
    pub(crate) batch: Batch,
    /// Whether a later entry may look at the overlay. The last entry of a group need not fill it.
    pub(crate) tracked: bool,
    latest: BTreeMap<Key, (Timestamp, Option<Value>)>,
    lock_changes: LockChanges,
    statuses: BTreeMap<Vec<u8>, TxnStatus>,
    deltas: BTreeMap<Vec<u8>, Delta>,
    series: BTreeMap<String, u64>,
    reserved_until: Option<Timestamp>,
    gc_threshold: Option<Timestamp>,
    /// Who is to be told of new versions.
    watches: [&'a Watches; 2],
    recent: &'a Recent,
}

/// Keys of a span that are looked at before it is asked which ones were written lately.
const PROBES_MAX: usize = if cfg!(test) { 1 } else { 64 };

/// Operations of a batch whose keys are noted as written lately. A batch with more would displace all others, and takes longer
/// to write as it is.
const NOTED_MAX: usize = if cfg!(test) { 8 } else { 2_048 };

/// What remains to be done in memory once the batch is written.
pub(crate) struct Written {
    lock_changes: LockChanges,
    statistics: Vec<(Vec<u8>, PrefixRecord)>,
    series: BTreeMap<String, u64>,
    reserved_until: Option<Timestamp>,
    gc_threshold: Option<Timestamp>,
}

impl<'a> Pending<'a> {
    pub(crate) fn new(machine: &'a StateMachine, state: RwLockReadGuard<'a, ShardState>) -> Pending<'a> {
        Pending {
            engine: machine.engine.as_ref(),
            locks: &machine.locks,
            state,
            batch: Batch::new(),
            tracked: true,
            latest: BTreeMap::new(),
            lock_changes: LockChanges::default(),
            statuses: BTreeMap::new(),
            deltas: BTreeMap::new(),
            series: BTreeMap::new(),
            reserved_until: None,
            gc_threshold: None,
            watches: [&machine.watches, machine.voids.watches()],
            recent: &machine.recent,
        }
    }

    pub(crate) fn gc_threshold(&self) -> Timestamp {
        self.gc_threshold.unwrap_or(self.state.gc_threshold)
    }

    pub(crate) fn set_gc_threshold(&mut self, threshold: Timestamp) {
        self.gc_threshold = Some(threshold);
    }

    pub(crate) fn reserved_until(&self) -> Timestamp {
        self.reserved_until.unwrap_or(self.state.reserved_until)
    }

    pub(crate) fn set_reserved_until(&mut self, until: Timestamp) {
        self.reserved_until = Some(until);
    }

    /// The next number of a series.
    pub(crate) fn series_next(&self, name: &str) -> u64 {
        self.series.get(name).or_else(|| self.state.series.get(name)).copied().unwrap_or(1)
    }

    pub(crate) fn set_series_next(&mut self, name: String, next: u64) {
        self.series.insert(name, next);
    }

    /// Finds the newest version of `key` and adds to the batch its move to the history, superseded at `ts`.
    /// A caller that then refuses its command rolls the batch back.
    pub(crate) fn supersede(&mut self, key: &[u8], ts: Timestamp) -> Result<Option<Prior>> {
        let threshold = self.gc_threshold();
        let batch = &mut self.batch;
        if let Some((old_ts, value)) = self.latest.get(key) {
            move_to_history(batch, key, *old_ts, value.as_deref(), ts, threshold);
            return Ok(Some(Prior { ts: *old_ts, value_bytes: value.as_ref().map(Value::len) }));
        }
        let mut prior = Ok(None);
        self.engine.get(Family::Latest, key, &mut |stored| {
            let Some(stored) = stored else { return };
            prior = match record::decode_version(stored) {
                Some(old) => {
                    move_to_history(batch, key, old.ts, old.value, ts, threshold);
                    Ok(Some(Prior { ts: old.ts, value_bytes: old.value.map(<[u8]>::len) }))
                }
                None => Err(crate::mvcc::damaged(key)),
            };
        })?;
        prior
    }

    /// The newest version of `key`, without its value.
    pub(crate) fn prior(&self, key: &[u8]) -> Result<Option<Prior>> {
        if let Some((ts, value)) = self.latest.get(key) {
            return Ok(Some(Prior { ts: *ts, value_bytes: value.as_ref().map(Value::len) }));
        }
        crate::mvcc::read_latest(self.engine, key, |version| {
            version.map(|version| Prior { ts: version.ts, value_bytes: version.value.map(<[u8]>::len) })
        })
    }

    /// Adds the new version of a key whose former newest version was `prior`.
    pub(crate) fn set_latest(&mut self, key: &Key, op: &Op, ts: Timestamp, prior: Option<Prior>) {
        let value = match op {
            Op::Put(value) => Some(value),
            Op::Delete => None,
        };
        let header = record::version_header(ts, value.is_some());
        let bytes = value.map_or(&[][..], |value| value.as_ref());
        self.batch.put_parts(Family::Latest, &[key], &[&header, bytes]);

        let prefix = statistics_prefix(key);
        let delta = match self.deltas.get_mut(prefix) {
            Some(delta) => delta,
            None => self.deltas.entry(prefix.to_vec()).or_default(),
        };
        delta.last_ts = delta.last_ts.max(ts);
        if let Some(old) = prior.and_then(|prior| prior.value_bytes) {
            delta.rows -= 1;
            delta.bytes -= (key.len() + old) as i64;
        }
        if let Some(new) = value {
            delta.rows += 1;
            delta.bytes += (key.len() + new.len()) as i64;
        }

        if self.tracked {
            self.latest.insert(key.clone(), (ts, value.cloned()));
        }
    }

    /// The lock on `key`.
    pub(crate) fn lock(&self, key: &[u8]) -> Option<Arc<LockRecord>> {
        match self.lock_changes.keys.get(key) {
            Some(Some(lock)) => return Some(lock.clone()),
            // The key's own lock is gone; a piece that came after it may hold the key. The table's pieces cannot, for it had
            // a lock on the key alone.
            Some(None) => {
                let piece = self.lock_changes.piece_on(key)?;
                return piece.op_on(key).map(|op| Arc::new(piece.lock(op)));
            }
            None => {}
        }
        if self.lock_changes.pieces.is_empty() {
            return self.locks.get(key);
        }
        match self.piece_on(key) {
            Some(piece) => piece.op_on(key).map(|op| Arc::new(piece.lock(op))),
            // A lock on the key alone, for the table's pieces have been looked at.
            None => self.locks.get(key).filter(|_| self.locks.piece_on(key, |_| true).is_none()),
        }
    }

    /// The piece that holds `key`.
    pub(crate) fn piece_on(&self, key: &[u8]) -> Option<Arc<PieceRecord>> {
        let new = self.lock_changes.piece_on(key).cloned();
        new.or_else(|| self.locks.piece_on(key, |first| !self.lock_changes.pieces.contains_key(first)))
    }

    /// The first lock of the span that is not `txn`'s.
    pub(crate) fn foreign_lock_in(&self, span: &Span, txn: TxnId) -> Option<(Key, Arc<LockRecord>)> {
        let old = self.locks.foreign_in(span, txn, &self.lock_changes);
        let from = (Bound::Included(span.start.as_ref()), Bound::Unbounded);
        let new = self.lock_changes.keys.range::<[u8], _>(from);
        let new = new
            .take_while(|(key, _)| span.contains(key))
            .filter_map(|(key, lock)| lock.as_ref().map(|lock| (key, lock)))
            .find(|(_, lock)| lock.txn != txn)
            .map(|(key, lock)| (key.clone(), Arc::clone(lock)));
        let pieces = self.lock_changes.pieces.values().flatten().filter(|piece| piece.txn != txn);
        let pieces = pieces.filter_map(|piece| first_in(piece, span));
        old.into_iter().chain(new).chain(pieces).min_by(|(one, _), (other, _)| one.cmp(other))
    }

    /// The earliest start of a transaction that holds a lock in the shard.
    pub(crate) fn oldest_lock_start(&self) -> Option<Timestamp> {
        let span = &self.state.descriptor.span;
        let old = self.locks.oldest_start_where(|key| span.contains(key), &self.lock_changes);
        let keys = self.lock_changes.keys.values().flatten().map(|lock| lock.start_ts);
        let pieces = self.lock_changes.pieces.values().flatten().map(|piece| piece.start_ts);
        old.into_iter().chain(keys).chain(pieces).min()
    }

    pub(crate) fn set_lock(&mut self, key: &Key, lock: LockRecord) {
        self.batch.put(Family::Locks, key, &lock.encode());
        self.lock_changes.keys.insert(key.clone(), Some(Arc::new(lock)));
    }

    pub(crate) fn remove_lock(&mut self, key: &Key) {
        self.batch.delete(Family::Locks, key);
        self.lock_changes.keys.insert(key.clone(), None);
    }

    pub(crate) fn set_piece(&mut self, piece: PieceRecord) {
        let bytes = piece.encoded_bytes_estimate();
        self.batch.put_with(Family::Locks, piece.first(), bytes, |out| piece.encode_to(out));
        self.lock_changes.pieces.insert(piece.first().clone(), Some(Arc::new(piece)));
    }

    pub(crate) fn remove_piece(&mut self, piece: &PieceRecord) {
        self.batch.delete(Family::Locks, piece.first());
        self.lock_changes.pieces.insert(piece.first().clone(), None);
    }

    /// Whether it is known without a look at the keys that none from `first` to `last` has a version newer than `base`.
    pub(crate) fn untouched(&self, first: &[u8], last: &[u8], base: Timestamp) -> bool {
        let overlay = (Bound::Included(first), Bound::Included(last));
        base >= self.gc_threshold()
            && self.latest.range::<[u8], _>(overlay).all(|(_, (ts, _))| *ts <= base)
            && self.prefixes_unchanged(&Span::new(first.to_vec(), Span::key(last).end), base)
    }

    /// How a transaction ended, as far as that is still kept.
    pub(crate) fn status(&self, primary: &[u8], txn: TxnId) -> Result<Option<TxnStatus>> {
        let key = record::txn_key(primary, txn);
        let status = match self.statuses.get(&key) {
            Some(status) => Some(*status),
            None => read_status(self.engine, &key)?,
        };
        // A record at or below the threshold may be gone on another replica.
        Ok(status.filter(|status| record::status_ts(*status) > self.gc_threshold()))
    }

    pub(crate) fn set_status(&mut self, primary: &[u8], txn: TxnId, status: TxnStatus) {
        let key = record::txn_key(primary, txn);
        self.batch.put(Family::Txns, &key, &record::encode_status(status));
        if self.tracked {
            self.statuses.insert(key, status);
        }
    }

    /// A key of the span that has a version newer than `base`, or one so old that a tombstone may be gone.
    pub(crate) fn newer_in(&self, span: &Span, base: Timestamp) -> Result<Option<Key>> {
        if span.is_empty() {
            return Ok(None);
        }
        if base < self.gc_threshold() {
            return Ok(Some(span.start.clone()));
        }
        let overlay = (Bound::Included(span.start.as_ref()), Bound::Excluded(span.end.as_ref()));
        let changed = self.latest.range::<[u8], _>(overlay).find(|(_, (ts, _))| *ts > base).map(|(key, _)| key);
        if self.prefixes_unchanged(span, base) {
            return Ok(changed.cloned());
        }
        // The first key is answered, however the entries were grouped.
        let end = changed.unwrap_or(&span.end);
        let mut cursor = self.engine.cursor(Family::Latest, &span.start, Some(end))?;
        cursor.seek_first()?;
        let mut probes = 0;
        while let Some((key, stored)) = cursor.item() {
            let version = record::decode_version(stored).ok_or_else(|| crate::mvcc::damaged(key))?;
            if version.ts > base {
                return Ok(Some(Key::copy_from_slice(key)));
            }
            probes += 1;
            if probes == PROBES_MAX
                && let Some(written) = self.recent.written_in(&Span::new(key.to_vec(), end.clone()), base)
            {
                return Ok(self.first_newer(written, base)?.or_else(|| changed.cloned()));
            }
            cursor.next()?;
        }
        Ok(changed.cloned())
    }

    /// The first of the keys whose written version is newer than `base`.
    fn first_newer(&self, keys: BTreeSet<Key>, base: Timestamp) -> Result<Option<Key>> {
        for key in keys {
            let ts = crate::mvcc::read_latest(self.engine, &key, |version| version.map(|version| version.ts))?;
            if ts.is_some_and(|ts| ts > base) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Whether no key from `first` to `last` (both included) has a version.
    pub(crate) fn is_empty_between(&self, first: &[u8], last: &[u8]) -> Result<bool> {
        let overlay = (Bound::Included(first), Bound::Included(last));
        if self.latest.range::<[u8], _>(overlay).next().is_some() {
            return Ok(false);
        }
        let mut cursor = self.engine.cursor(Family::Latest, first, Some(&Span::key(last).end))?;
        cursor.seek_first()?;
        Ok(cursor.item().is_none())
    }

    /// Whether no prefix that the span touches has a written version newer than `base`: then none of its keys
    /// needs a look.
    fn prefixes_unchanged(&self, span: &Span, base: Timestamp) -> bool {
        let from = (Bound::Included(statistics_prefix(&span.start)), Bound::Excluded(span.end.as_ref()));
        self.state.statistics.range::<[u8], _>(from).all(|(_, record)| record.last_ts <= base)
    }

    /// The versions of the batch, which are the newest of their keys.
    fn versions(&self) -> impl Iterator<Item = (&[u8], Timestamp)> {
        self.batch.operations().filter_map(|(family, operation)| match (family, operation) {
            (Family::Latest, BatchOp::Put(key, stored)) => {
                record::decode_version(stored).map(|version| (key, version.ts))
            }
            _ => None,
        })
    }

    /// After the write, so that whoever begins to watch meanwhile finds the versions.
    fn tell_watches(&self) {
        for watches in self.watches.into_iter().filter(|watches| !watches.is_empty()) {
            self.versions().for_each(|(key, ts)| watches.note(key, ts));
        }
    }

    /// Writes everything, with the position of the last entry of the group.
    pub(crate) fn write(mut self, applied: Option<LogPosition>, membership: Option<&[u8]>) -> Result<Written> {
        let shard = self.state.descriptor.shard;
        let mut statistics = Vec::with_capacity(self.deltas.len());
        for (prefix, delta) in std::mem::take(&mut self.deltas) {
            let old = self.state.statistics.get(&prefix).copied().unwrap_or_default();
            let new = old.rows.checked_add_signed(delta.rows).zip(old.bytes.checked_add_signed(delta.bytes));
            let (rows, bytes) =
                new.ok_or_else(|| Error::corruption(format!("fewer rows counted in shard {shard} than were deleted")))?;
            let new = PrefixRecord { rows, bytes, last_ts: old.last_ts.max(delta.last_ts) };
            let key = meta::shard_key_with(kind::STATISTICS, shard, &prefix);
            self.batch.put(Family::Meta, &key, &new.encode());
            statistics.push((prefix, new));
        }
        for (name, next) in &self.series {
            let key = meta::shard_key_with(kind::SERIES, shard, name.as_bytes());
            self.batch.put(Family::Meta, &key, &next.to_be_bytes());
        }
        if let Some(until) = self.reserved_until {
            self.batch.put(Family::Meta, &meta::shard_key(kind::RESERVED_UNTIL, shard), &until.0.to_be_bytes());
        }
        if let Some(threshold) = self.gc_threshold {
            self.batch.put(Family::Meta, &meta::shard_key(kind::GC_THRESHOLD, shard), &threshold.0.to_be_bytes());
        }
        if let Some(membership) = membership {
            self.batch.put(Family::Meta, &meta::shard_key(kind::MEMBERSHIP, shard), membership);
        }
        if let Some(applied) = applied {
            let key = meta::shard_key(kind::APPLIED, shard);
            self.batch.put(Family::Meta, &key, &meta::encode_position(applied));
        }
        if self.batch.len() > NOTED_MAX {
            self.recent.forget_until(self.versions().map(|(_, ts)| ts).max().unwrap_or_default());
        } else {
            self.recent.note(self.versions());
        }
        self.engine.write(&self.batch)?;
        self.tell_watches();
        Ok(Written {
            lock_changes: self.lock_changes,
            statistics,
            series: self.series,
            reserved_until: self.reserved_until,
            gc_threshold: self.gc_threshold,
        })
    }
}

impl Written {
    /// Brings the state in memory to what is written.
    pub(crate) fn publish(&mut self, state: &mut ShardState, locks: &LockTable) {
        locks.change(std::mem::take(&mut self.lock_changes));
        state.statistics.extend(std::mem::take(&mut self.statistics));
        state.series.append(&mut self.series);
        state.reserved_until = self.reserved_until.unwrap_or(state.reserved_until);
        state.gc_threshold = self.gc_threshold.unwrap_or(state.gc_threshold);
    }
}

/// Adds the move of a version to the history, unless no snapshot can read it there: a tombstone at or below the
/// threshold may be gone on another replica, and is as good as absent.
fn move_to_history(
    batch: &mut Batch,
    key: &[u8],
    old_ts: Timestamp,
    old: Option<&[u8]>,
    superseded: Timestamp,
    threshold: Timestamp,
) {
    if old.is_none() && old_ts <= threshold {
        return;
    }
    let header = record::version_header(superseded, old.is_some());
    let suffix = record::history_suffix(old_ts);
    batch.put_parts(Family::History, &[key, &suffix], &[&header, old.unwrap_or_default()]);
}

/// The stored status of a transaction, by the key of its record.
pub(crate) fn read_status(engine: &dyn Engine, key: &[u8]) -> Result<Option<TxnStatus>> {
    let mut status = Ok(None);
    engine.get(Family::Txns, key, &mut |stored| {
        if let Some(bytes) = stored {
            status = match record::decode_status(bytes) {
                Some(status) => Ok(Some(status)),
                None => Err(Error::corruption("the status of a transaction cannot be decoded")),
            };
        }
    })?;
    status
}
