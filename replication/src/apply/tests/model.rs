//! A naive model of the state machine: keeps every version of every key, and looks at all of them.

use std::collections::BTreeMap;

use crate::api::{Key, PrefixStatistics, ShardId, Span, Timestamp, TxnId, Value};
use crate::command::{Check, CommandResult, ConflictReason, Op, TxnStatus, Write};

type Versions = Vec<(Timestamp, Option<Value>)>;

#[derive(Clone, Debug)]
pub(super) struct ModelShard {
    pub(super) id: ShardId,
    pub(super) span: Span,
    pub(super) epoch: u64,
    pub(super) threshold: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct ModelLock {
    pub(super) txn: TxnId,
    pub(super) start_ts: Timestamp,
    pub(super) primary: Key,
    pub(super) op: Op,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) versions: BTreeMap<Key, Versions>,
    pub(super) locks: BTreeMap<Key, ModelLock>,
    pub(super) shards: Vec<ModelShard>,
}

impl Model {
    pub(super) fn shard(&self, key: &Key) -> &ModelShard {
        self.shards.iter().find(|shard| shard.span.contains(key)).unwrap()
    }

    /// The newest version, unless it is a tombstone that may be collected: its moment, and whether it is live.
    fn newest(&self, key: &Key) -> (Timestamp, bool) {
        let threshold = self.shard(key).threshold;
        match self.versions.get(key).and_then(|versions| versions.last()) {
            Some((ts, Some(_))) => (*ts, true),
            Some((ts, None)) if *ts > threshold => (*ts, false),
            _ => (threshold, false),
        }
    }

    fn locked(&self, key: &Key, txn: TxnId) -> Option<CommandResult> {
        let lock = self.locks.get(key).filter(|lock| lock.txn != txn)?;
        Some(CommandResult::Locked {
            key: key.clone(),
            txn: lock.txn,
            start_ts: lock.start_ts,
            primary: lock.primary.clone(),
        })
    }

    fn failed(&self, txn: TxnId, writes: &[Write], checks: &[Check]) -> Option<CommandResult> {
        let conflict = |key: &Key, reason| CommandResult::Conflict { key: key.clone(), reason };
        for check in checks {
            let failed = match check {
                Check::SpanUnchanged { span, base } => {
                    let lock = self.locks.keys().filter(|key| span.contains(key)).find_map(|key| self.locked(key, txn));
                    let changed = || {
                        if self.shard(&span.start).threshold > *base {
                            return Some(conflict(&span.start, ConflictReason::Changed));
                        }
                        let newer = |versions: &Versions| versions.last().is_some_and(|(ts, _)| ts > base);
                        let mut inside = self.versions.iter().filter(|(key, _)| span.contains(key));
                        let found = inside.find(|(_, versions)| newer(versions));
                        found.map(|(key, _)| conflict(key, ConflictReason::Changed))
                    };
                    lock.or_else(changed)
                }
                Check::KeyExists { key } => {
                    let own = writes.iter().find(|write| write.key == *key);
                    let missing = Some(conflict(key, ConflictReason::Missing));
                    match own.map(|write| &write.op) {
                        Some(Op::Put(_)) => None,
                        Some(Op::Delete) => missing,
                        None => match self.locks.get(key).is_some_and(|lock| lock.op == Op::Delete) {
                            true => self.locked(key, txn),
                            false if self.newest(key).1 => None,
                            false => missing,
                        },
                    }
                }
            };
            if failed.is_some() {
                return failed;
            }
        }
        None
    }

    fn refusal(&self, txn: TxnId, writes: &[Write], checks: &[Check]) -> Option<CommandResult> {
        self.failed(txn, writes, checks).or_else(|| {
            writes.iter().find_map(|write| {
                let outdated = || {
                    (self.newest(&write.key).0 > write.base).then(|| CommandResult::Conflict {
                        key: write.key.clone(),
                        reason: ConflictReason::NewerVersion,
                    })
                };
                self.locked(&write.key, txn).or_else(outdated)
            })
        })
    }

    fn set(&mut self, key: &Key, op: &Op, ts: Timestamp) {
        let value = if let Op::Put(value) = op { Some(value.clone()) } else { None };
        self.versions.entry(key.clone()).or_default().push((ts, value));
    }

    pub(super) fn commit(&mut self, txn: TxnId, at: Timestamp, writes: &[Write], checks: &[Check]) -> CommandResult {
        if let Some(refusal) = self.refusal(txn, writes, checks) {
            return refusal;
        }
        for write in writes {
            self.set(&write.key, &write.op, at);
        }
        CommandResult::Committed { commit_ts: at }
    }

    pub(super) fn prewrite(
        &mut self,
        txn: TxnId,
        start_ts: Timestamp,
        primary: &Key,
        writes: &[Write],
    ) -> CommandResult {
        if let Some(refusal) = self.refusal(txn, writes, &[]) {
            return refusal;
        }
        for write in writes {
            let lock = ModelLock { txn, start_ts, primary: primary.clone(), op: write.op.clone() };
            self.locks.insert(write.key.clone(), lock);
        }
        CommandResult::Done
    }

    pub(super) fn resolve(&mut self, txn: TxnId, status: TxnStatus, keys: &[Key]) {
        for key in keys {
            if self.locks.get(key).is_some_and(|lock| lock.txn == txn) {
                let lock = self.locks.remove(key).unwrap();
                if let TxnStatus::Committed(ts) = status {
                    self.set(key, &lock.op, ts);
                }
            }
        }
    }

    pub(super) fn drop_span(&mut self, span: &Span) {
        self.versions.retain(|key, _| !span.contains(key));
        self.locks.retain(|key, _| !span.contains(key));
    }

    pub(super) fn advance_gc(&mut self, id: ShardId, threshold: Timestamp) -> Timestamp {
        let shard = self.shards.iter_mut().find(|shard| shard.id == id).unwrap();
        let oldest = self.locks.iter().filter(|(key, _)| shard.span.contains(key)).map(|(_, lock)| lock.start_ts).min();
        let limit = oldest.map_or(Timestamp::MAX, |oldest| Timestamp(oldest.0 - 1));
        shard.threshold = shard.threshold.max(threshold.min(limit));
        shard.threshold
    }

    pub(super) fn read(&self, key: &Key, at: Timestamp) -> Option<Value> {
        let versions = self.versions.get(key)?;
        versions.iter().rev().find(|(ts, _)| *ts <= at)?.1.clone()
    }

    pub(super) fn scan(&self, span: &Span, at: Timestamp) -> Vec<(Key, Value)> {
        let inside = self.versions.keys().filter(|key| span.contains(key));
        inside.filter_map(|key| self.read(key, at).map(|value| (key.clone(), value))).collect()
    }

    pub(super) fn statistics(&self, prefix: &[u8]) -> PrefixStatistics {
        let mut sum = PrefixStatistics::default();
        for (key, value) in self.scan(&Span::prefix(prefix), Timestamp::MAX) {
            sum = sum.plus(PrefixStatistics { rows: 1, bytes: (key.len() + value.len()) as u64 });
        }
        sum
    }
}
