//! The locks of prewritten transactions, mirrored in memory: almost always there are none, and knowing that
//! must cost next to nothing.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::pieces::Pieces;
use crate::api::{Key, Span, Timestamp, TxnId};
use crate::mvcc::record::{LockRecord, PieceRecord};

/// Locks by key, and pieces.
#[derive(Debug, Default)]
struct Locks {
    keys: BTreeMap<Key, Arc<LockRecord>>,
    pieces: Pieces,
}

impl Locks {
    fn len(&self) -> usize {
        self.keys.len() + self.pieces.keys()
    }
}

/// Changes of locks, by key.
#[derive(Debug, Default)]
pub(crate) struct LockChanges {
    /// Locks on single keys.
    pub(crate) keys: BTreeMap<Key, Option<Arc<LockRecord>>>,
    /// Pieces, by their first keys.
    pub(crate) pieces: BTreeMap<Key, Option<Arc<PieceRecord>>>,
}

impl LockChanges {
    /// The new piece that holds `key`.
    pub(crate) fn piece_on(&self, key: &[u8]) -> Option<&Arc<PieceRecord>> {
        let before = (Bound::Unbounded, Bound::Included(key));
        let mut pieces = self.pieces.range::<[u8], _>(before).filter_map(|(_, piece)| piece.as_ref());
        pieces.rfind(|piece| piece.op_on(key).is_some())
    }
}

/// All locks of a node's shards.
///
/// A reader asks here *before* it reads a key: a lock leaves this table only after the version that it became
/// can be read.
#[derive(Debug, Default)]
pub struct LockTable {
    count: AtomicUsize,
    locks: RwLock<Locks>,
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
        if let Some(lock) = self.locks.read().keys.get(key) {
            return Some(lock.clone());
        }
        let piece = self.piece_on(key, |_| true)?;
        piece.op_on(key).map(|op| Arc::new(piece.lock(op)))
    }

    /// The piece that holds `key`, among those of which the first key `counts`.
    pub(crate) fn piece_on(&self, key: &[u8], counts: impl Fn(&[u8]) -> bool) -> Option<Arc<PieceRecord>> {
        if self.is_empty() {
            return None;
        }
        self.locks.read().pieces.on(key, counts).cloned()
    }

    /// The pieces that hold keys inside the span or whose keys lie on both sides of it.
    pub(crate) fn pieces_over(&self, span: &Span) -> Vec<Arc<PieceRecord>> {
        if self.is_empty() || span.is_empty() {
            return Vec::new();
        }
        self.locks.read().pieces.over(span).cloned().collect()
    }

    /// The locks of a span, in the order of the keys.
    pub fn in_span(&self, span: &Span) -> Vec<(Key, Arc<LockRecord>)> {
        if self.is_empty() || span.is_empty() {
            return Vec::new();
        }
        let mut found: Vec<(Key, Arc<LockRecord>)> = {
            let locks = self.locks.read();
            let range = (Bound::Included(span.start.as_ref()), Bound::Excluded(span.end.as_ref()));
            locks.keys.range::<[u8], _>(range).map(|(key, lock)| (key.clone(), Arc::clone(lock))).collect()
        };
        let pieces = self.pieces_over(span);
        if !pieces.is_empty() {
            for piece in pieces {
                let writes = piece.writes_in(&span.start, &span.end);
                found.extend(writes.iter().map(|(key, op)| (key.clone(), Arc::new(piece.lock(op)))));
            }
            found.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        found
    }

    /// The first `limit` locks of a span whose transactions are `wanted`. Of a piece only the first lock counts: all of it is
    /// resolved together.
    pub fn of_transactions(
        &self,
        span: &Span,
        wanted: &dyn Fn(TxnId) -> bool,
        limit: usize,
    ) -> Vec<(Key, Arc<LockRecord>)> {
        if self.is_empty() || span.is_empty() {
            return Vec::new();
        }
        let locks = self.locks.read();
        let range = (Bound::Included(span.start.as_ref()), Bound::Excluded(span.end.as_ref()));
        let keys = locks.keys.range::<[u8], _>(range).filter(|(_, lock)| wanted(lock.txn));
        let pieces = locks.pieces.over(span).filter(|piece| wanted(piece.txn) && span.contains(piece.first()));
        let first = |piece: &PieceRecord| Arc::new(piece.lock(&piece.writes[0].1));
        keys.map(|(key, lock)| (key.clone(), Arc::clone(lock)))
            .chain(pieces.map(|piece| (piece.first().clone(), first(piece))))
            .take(limit)
            .collect()
    }

    /// The first `limit` keys of a span on which the transaction has locks of their own.
    pub fn single_of(&self, span: &Span, txn: TxnId, limit: usize) -> Vec<Key> {
        if self.is_empty() || span.is_empty() {
            return Vec::new();
        }
        let locks = self.locks.read();
        let range = (Bound::Included(span.start.as_ref()), Bound::Excluded(span.end.as_ref()));
        let own = locks.keys.range::<[u8], _>(range).filter(|(_, lock)| lock.txn == txn);
        own.map(|(key, _)| key.clone()).take(limit).collect()
    }

    /// The first lock of a span that is not `txn`'s and not hidden by one of the `changes`.
    pub(crate) fn foreign_in(&self, span: &Span, txn: TxnId, changes: &LockChanges) -> Option<(Key, Arc<LockRecord>)> {
        if self.is_empty() || span.is_empty() {
            return None;
        }
        let locks = self.locks.read();
        let range = (Bound::Included(span.start.as_ref()), Bound::Excluded(span.end.as_ref()));
        let mut keys = locks.keys.range::<[u8], _>(range);
        let found = keys.find(|(key, lock)| lock.txn != txn && !changes.keys.contains_key(*key));
        let found = found.map(|(key, lock)| (key.clone(), Arc::clone(lock)));
        let pieces = locks.pieces.foreign_over(span, txn).filter_map(|pieces| {
            let mut unchanged = pieces.filter(|piece| !changes.pieces.contains_key(piece.first()));
            unchanged.find_map(|piece| first_in(piece, span))
        });
        pieces.chain(found).min_by(|(one, _), (other, _)| one.cmp(other))
    }

    /// The first lock of a span that is not `txn`'s.
    pub fn foreign_lock_in(&self, span: &Span, txn: TxnId) -> Option<(Key, Arc<LockRecord>)> {
        self.foreign_in(span, txn, &LockChanges::default())
    }

    /// The earliest start of a transaction that holds a lock anywhere on this node.
    pub fn oldest_start(&self) -> Option<Timestamp> {
        self.oldest_start_where(|_| true, &LockChanges::default())
    }

    /// The earliest start of a transaction that holds a lock on a key that `counts`, unless one of the `changes` hides it.
    pub(crate) fn oldest_start_where(
        &self,
        counts: impl Fn(&[u8]) -> bool,
        changes: &LockChanges,
    ) -> Option<Timestamp> {
        if self.is_empty() {
            return None;
        }
        let locks = self.locks.read();
        let keys = locks.keys.iter().filter(|(key, _)| counts(key) && !changes.keys.contains_key(*key));
        let pieces = locks.pieces.all();
        let pieces = pieces.filter(|piece| counts(piece.first()) && !changes.pieces.contains_key(piece.first()));
        keys.map(|(_, lock)| lock.start_ts).chain(pieces.map(|piece| piece.start_ts)).min()
    }

    /// Sets and removes locks.
    pub(crate) fn change(&self, changes: LockChanges) {
        if changes.keys.is_empty() && changes.pieces.is_empty() {
            return;
        }
        let mut locks = self.locks.write();
        for (key, lock) in changes.keys {
            match lock {
                Some(lock) => locks.keys.insert(key, lock),
                None => locks.keys.remove(&key),
            };
        }
        for (first, piece) in changes.pieces {
            match piece {
                Some(piece) => locks.pieces.insert(piece),
                None => locks.pieces.remove(&first),
            }
        }
        self.count.store(locks.len(), Ordering::Release);
    }

    /// Replaces all locks of a span. Pieces must not lie across its ends.
    pub(crate) fn replace_span(&self, span: &Span, keys: Vec<(Key, LockRecord)>, pieces: Vec<PieceRecord>) {
        let mut locks = self.locks.write();
        locks.keys.retain(|key, _| !span.contains(key));
        locks.pieces.remove_in(span);
        locks.keys.extend(keys.into_iter().map(|(key, lock)| (key, Arc::new(lock))));
        for piece in pieces {
            locks.pieces.insert(Arc::new(piece));
        }
        self.count.store(locks.len(), Ordering::Release);
    }
}

/// The first lock of a piece inside a span.
pub(crate) fn first_in(piece: &PieceRecord, span: &Span) -> Option<(Key, Arc<LockRecord>)> {
    let (key, op) = piece.writes_in(&span.start, &span.end).first()?;
    Some((key.clone(), Arc::new(piece.lock(op))))
}
