//! The locks of prewritten transactions, mirrored in memory: almost always there are none, and knowing that
//! must cost next to nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::api::{Key, Span, Timestamp};
use crate::mvcc::record::LockRecord;

/// All locks of a node's shards.
///
/// A reader asks here *before* it reads a key: a lock leaves this table only after the version that it became
/// can be read.
#[derive(Debug, Default)]
pub struct LockTable {
    count: AtomicUsize,
    locks: RwLock<BTreeMap<Key, Arc<LockRecord>>>,
}

impl LockTable {
    /// Whether nothing is locked. Costs one load.
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Number of locked keys.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// The lock on `key`.
    pub fn get(&self, key: &[u8]) -> Option<Arc<LockRecord>> {
        if self.is_empty() {
            return None;
        }
        self.locks.read().get(key).cloned()
    }

    /// The first `limit` locks of a span, in the order of the keys.
    pub fn in_span(&self, span: &Span, limit: usize) -> Vec<(Key, Arc<LockRecord>)> {
        if self.is_empty() || span.is_empty() {
            return Vec::new();
        }
        let locks = self.locks.read();
        let range = (Bound::Included(span.start.as_ref()), Bound::Excluded(span.end.as_ref()));
        locks.range::<[u8], _>(range).take(limit).map(|(key, lock)| (key.clone(), Arc::clone(lock))).collect()
    }

    /// The first lock of a span that `matches`.
    pub fn find_in_span(
        &self,
        span: &Span,
        matches: impl Fn(&[u8], &LockRecord) -> bool,
    ) -> Option<(Key, Arc<LockRecord>)> {
        if self.is_empty() || span.is_empty() {
            return None;
        }
        let locks = self.locks.read();
        let range = (Bound::Included(span.start.as_ref()), Bound::Excluded(span.end.as_ref()));
        let found = locks.range::<[u8], _>(range).find(|(key, lock)| matches(key, lock));
        found.map(|(key, lock)| (key.clone(), Arc::clone(lock)))
    }

    /// The earliest start of a transaction that holds a lock anywhere on this node.
    pub fn oldest_start(&self) -> Option<Timestamp> {
        self.oldest_start_where(|_| true)
    }

    /// The earliest start of a transaction that holds a lock on a key that `counts`.
    pub(crate) fn oldest_start_where(&self, counts: impl Fn(&[u8]) -> bool) -> Option<Timestamp> {
        if self.is_empty() {
            return None;
        }
        self.locks.read().iter().filter(|(key, _)| counts(key)).map(|(_, lock)| lock.start_ts).min()
    }

    /// Sets and removes locks.
    pub(crate) fn change(&self, changes: BTreeMap<Key, Option<Arc<LockRecord>>>) {
        if changes.is_empty() {
            return;
        }
        let mut locks = self.locks.write();
        for (key, lock) in changes {
            match lock {
                Some(lock) => locks.insert(key, lock),
                None => locks.remove(&key),
            };
        }
        self.count.store(locks.len(), Ordering::Release);
    }

    /// Replaces all locks of a span.
    pub(crate) fn replace_span(&self, span: &Span, new: Vec<(Key, LockRecord)>) {
        let mut locks = self.locks.write();
        locks.retain(|key, _| !span.contains(key));
        locks.extend(new.into_iter().map(|(key, lock)| (key, Arc::new(lock))));
        self.count.store(locks.len(), Ordering::Release);
    }
}
