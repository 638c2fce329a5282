//! The engine's state machine as the store reads it.

use super::SYSTEM_SHARD;
use super::data::{Data, KeyLock, Verdict};
use crate::api::{Key, PrefixStatistics, ShardDescriptor, ShardId, Span, Timestamp, TxnId, Value};
use crate::apply::StateMachine;
use crate::command::{Check, Op, TxnStatus};
use crate::engine::RowCacheUse;
use crate::error::{Error, Result};
use crate::mvcc::VersionScan;
use crate::mvcc::record::LockRecord;
use crate::target::ApplyTarget;
use crate::watch::SpanWatch;

fn key_lock(key: Key, lock: &LockRecord) -> KeyLock {
    let value = match &lock.op {
        Op::Put(value) => Some(value.clone()),
        Op::Delete => None,
    };
    KeyLock { key, txn: lock.txn, start_ts: lock.start_ts, primary: lock.primary.clone(), value }
}

impl Data for StateMachine {
    fn read(&self, key: &[u8], at: Timestamp, found: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        StateMachine::read(self, key, at, found)
    }

    fn watch(&self, span: &Span) -> Option<SpanWatch> {
        StateMachine::watch(self, span)
    }

    fn check(&self) -> Result<crate::check::CheckReport> {
        crate::check::check_store(self)
    }

    fn latest(&self, key: &[u8]) -> Result<Option<(Timestamp, Option<Value>)>> {
        self.read_latest(key, |version| version.map(|version| (version.ts, version.value.map(Value::copy_from_slice))))
    }

    fn scan(
        &self,
        at: Timestamp,
        scan: &mut VersionScan,
        rows_max: usize,
        bytes_max: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool> {
        if at < self.read_floor() {
            return Err(Error::SnapshotTooOld);
        }
        self.scan_on(scan, rows_max, bytes_max, visit)
    }

    fn any_locks(&self) -> bool {
        !self.locks().is_empty()
    }

    fn lock_on(&self, key: &[u8]) -> Result<Option<KeyLock>> {
        Ok(self.locks().get(key).map(|lock| key_lock(Key::copy_from_slice(key), &lock)))
    }

    fn locks_in(&self, span: &Span) -> Result<Vec<KeyLock>> {
        let locks = self.locks().in_span(span);
        Ok(locks.into_iter().map(|(key, lock)| key_lock(key, &lock)).collect())
    }

    fn locks_of(&self, span: &Span, wanted: &dyn Fn(TxnId) -> bool, limit: usize) -> Vec<KeyLock> {
        let locks = self.locks().of_transactions(span, wanted, limit);
        locks.into_iter().map(|(key, lock)| key_lock(key, &lock)).collect()
    }

    fn single_locks_of(&self, span: &Span, txn: TxnId, limit: usize) -> Vec<Key> {
        self.locks().single_of(span, txn, limit)
    }

    fn oldest_lock_start(&self) -> Option<Timestamp> {
        self.locks().oldest_start()
    }

    fn status(&self, primary: &[u8], txn: TxnId) -> Result<Option<TxnStatus>> {
        StateMachine::status(self, primary, txn)
    }

    fn judge(&self, check: &Check, txn: TxnId) -> Result<Verdict> {
        // Locks before versions: one that is resolved between the two looks is seen as a version.
        let foreign = |span: &Span| self.locks().foreign_lock_in(span, txn);
        let holds = match check {
            Check::SpanUnchanged { span, base } => match foreign(span) {
                Some((key, lock)) => return Ok(Verdict::Locked(key_lock(key, &lock))),
                None => self.newer_in(span, *base)?.is_none(),
            },
            Check::KeyExists { key } => match foreign(&Span::key(key)) {
                Some((key, lock)) if lock.op == Op::Delete => return Ok(Verdict::Locked(key_lock(key, &lock))),
                _ => self.read_latest(key, |version| version.is_some_and(|version| version.value.is_some()))?,
            },
        };
        Ok(if holds { Verdict::Holds } else { Verdict::Changed })
    }

    fn descriptors(&self) -> Vec<ShardDescriptor> {
        self.shard_map().all().to_vec()
    }

    fn statistics(&self, prefix: &[u8]) -> Result<PrefixStatistics> {
        Ok(StateMachine::statistics(self, prefix))
    }

    fn pending_bytes(&self, prefix: &[u8]) -> u64 {
        let span = Span::prefix(prefix);
        let pieces = self.locks().pieces_over(&span);
        let writes = pieces.iter().flat_map(|piece| piece.writes_in(&span.start, &span.end));
        let bytes = writes.map(|(key, op)| match op {
            Op::Put(value) => key.len() + value.len(),
            _ => 0,
        });
        bytes.sum::<usize>() as u64
    }

    fn shard_size(&self, shard: ShardId) -> Result<PrefixStatistics> {
        self.shard_statistics(shard)
    }

    fn row_cache(&self) -> RowCacheUse {
        self.engine().row_cache()
    }

    fn middle(&self, shard: ShardId) -> Result<Option<Key>> {
        self.middle_key(shard)
    }

    fn reserved_timestamps(&self) -> Result<Timestamp> {
        self.reserved_until(SYSTEM_SHARD)
    }

    fn gc_threshold(&self, shard: ShardId) -> Result<Timestamp> {
        StateMachine::gc_threshold(self, shard)
    }

    fn applied_index(&self, shard: ShardId) -> Result<u64> {
        Ok(self.applied(shard)?.map_or(0, |position| position.index))
    }
}
