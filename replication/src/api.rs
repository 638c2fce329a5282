//! The plain types of the store's interface: keys, timestamps, spans, identifiers, options and what the
//! store tells about itself. No behaviour beyond small conversions lives here.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

/// A key: opaque bytes in the order of the data. No key is a proper prefix of another one; the layer that
/// encodes keys guarantees it, and the order of stored versions relies on it.
pub type Key = Bytes;

/// A value: opaque bytes.
pub type Value = Bytes;

/// Longest key in bytes. Longer ones are refused before they reach a log.
pub const KEY_BYTES_MAX: usize = 64 * 1024;

/// Statistics are kept per this many leading bytes of a key (kind, database, table and index).
pub const STATISTICS_PREFIX_BYTES: usize = 13;

/// A moment of the oracle: microseconds since 1970 in the upper 52 bits, a counter in the lower 12.
///
/// Only the oracle makes timestamps; no decision ever reads an operator's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Bits of the counter below the microseconds.
    pub const LOGICAL_BITS: u32 = 12;
    /// Before every commit.
    pub const ZERO: Timestamp = Timestamp(0);
    /// After every commit.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// The timestamp of a moment given in microseconds since 1970, with counter 0.
    pub const fn from_micros(micros: u64) -> Timestamp {
        Timestamp(micros << Self::LOGICAL_BITS)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> u64 {
        self.0 >> Self::LOGICAL_BITS
    }

    /// The next timestamp.
    pub const fn next(self) -> Timestamp {
        Timestamp(self.0.saturating_add(1))
    }

    /// The timestamp `duration` earlier, not below zero.
    pub fn saturating_sub(self, duration: Duration) -> Timestamp {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Timestamp::from_micros(self.micros().saturating_sub(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// The keys from `start` (included) to `end` (excluded). An empty `end` has no meaning of its own: it is an
/// empty span.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// First key.
    pub start: Key,
    /// First key after the span.
    pub end: Key,
}

impl Span {
    /// The span `[start, end)`.
    pub fn new(start: impl Into<Key>, end: impl Into<Key>) -> Span {
        Span { start: start.into(), end: end.into() }
    }

    /// The span that holds exactly `key`.
    pub fn key(key: &[u8]) -> Span {
        let mut end = Vec::with_capacity(key.len() + 1);
        end.extend_from_slice(key);
        end.push(0);
        Span { start: Bytes::copy_from_slice(key), end: end.into() }
    }

    /// The span of all keys that start with `prefix`. A prefix of only 0xFF bytes (or an empty one) has no
    /// end among the finite keys; its span ends after `KEY_BYTES_MAX` 0xFF bytes would, which no key reaches
    /// because the first byte of a key is small.
    pub fn prefix(prefix: &[u8]) -> Span {
        Span { start: Bytes::copy_from_slice(prefix), end: prefix_end(prefix) }
    }

    /// Whether `key` lies in the span.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_ref() <= key && key < self.end.as_ref()
    }

    /// Whether all of `other` lies in the span. An empty span lies in every span.
    pub fn covers(&self, other: &Span) -> bool {
        other.is_empty() || (self.start <= other.start && other.end <= self.end)
    }

    /// Whether the spans share a key.
    pub fn overlaps(&self, other: &Span) -> bool {
        !self.is_empty() && !other.is_empty() && self.start < other.end && other.start < self.end
    }

    /// The keys that lie in both spans.
    pub fn intersection(&self, other: &Span) -> Span {
        Span { start: self.start.clone().max(other.start.clone()), end: self.end.clone().min(other.end.clone()) }
    }

    /// Whether no key can lie in the span.
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// The first key after all keys that start with `prefix`.
pub fn prefix_end(prefix: &[u8]) -> Key {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xFF {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(&[0xFF; 16])
}

/// The part of `key` that statistics are kept for.
pub fn statistics_prefix(key: &[u8]) -> &[u8] {
    &key[..key.len().min(STATISTICS_PREFIX_BYTES)]
}

/// A transaction. Unique for ever: made from a timestamp and a random part by the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId(pub u128);

impl TxnId {
    /// A positive number for people to see. The halves are a moment and a count since then, so that the sum is unique and rises.
    pub fn number(self) -> i64 {
        let sum = ((self.0 >> 64) as u64).wrapping_add(self.0 as u64);
        // The sign bit is free until the year 2041, and stays so.
        (sum & i64::MAX as u64) as i64
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// A shard: one contiguous key range with one Raft group. Ids are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u64);

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// The range of a shard and how often its range has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardDescriptor {
    /// Which shard.
    pub shard: ShardId,
    /// Its keys.
    pub span: Span,
    /// Grows by one with every change of the range; starts at 1. Requests carry it.
    pub epoch: u64,
    /// The shard that this one was split from.
    pub parent: Option<ShardId>,
}

/// How much a transaction sees of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Every statement has a new snapshot.
    #[default]
    ReadCommitted,
    /// One snapshot; writing a key that changed since fails.
    RepeatableRead,
    /// As repeatable read, and what was read must be unchanged at the commit.
    Serializable,
}

/// Modes of locks on a table, in PostgreSQL's order and with its conflicts (documentation, table 13.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "PostgreSQL's names")]
pub enum TableLockMode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

impl TableLockMode {
    /// All of them, in order.
    pub const ALL: [TableLockMode; 8] = [
        TableLockMode::AccessShare,
        TableLockMode::RowShare,
        TableLockMode::RowExclusive,
        TableLockMode::ShareUpdateExclusive,
        TableLockMode::Share,
        TableLockMode::ShareRowExclusive,
        TableLockMode::Exclusive,
        TableLockMode::AccessExclusive,
    ];

    /// The modes that others may not hold together with it: a bit for each, by its place in the order.
    fn conflicts(self) -> u8 {
        match self {
            TableLockMode::AccessShare => 0b1000_0000,
            TableLockMode::RowShare => 0b1100_0000,
            TableLockMode::RowExclusive => 0b1111_0000,
            TableLockMode::ShareUpdateExclusive => 0b1111_1000,
            TableLockMode::Share => 0b1110_1100,
            TableLockMode::ShareRowExclusive => 0b1111_1100,
            TableLockMode::Exclusive => 0b1111_1110,
            TableLockMode::AccessExclusive => 0b1111_1111,
        }
    }
}

/// What a lock keeps others from. Rows have four modes, weakest first, with the conflicts of PostgreSQL's row-level locks
/// (documentation, table 13.3); tables have theirs. A key is one or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// `FOR KEY SHARE`: the key must not change or go away.
    KeyShare,
    /// `FOR SHARE`: the row must not change.
    Share,
    /// `FOR NO KEY UPDATE`: what an `UPDATE` of other columns takes.
    NoKeyUpdate,
    /// `FOR UPDATE`: what a `DELETE` or an `UPDATE` of key columns takes.
    Update,
    /// Of a table.
    Table(TableLockMode),
}

impl LockMode {
    /// Whether two different transactions may not hold these modes on one row together.
    pub fn conflicts_with(self, other: LockMode) -> bool {
        use LockMode::{KeyShare, NoKeyUpdate, Share, Table, Update};
        match (self, other) {
            (Table(one), Table(other)) => one.conflicts() & (1 << other as u8) != 0,
            (Table(_), _) | (_, Table(_)) => true,
            (KeyShare, Update) | (Update, KeyShare) => true,
            (KeyShare, _) | (_, KeyShare) => false,
            (Share, Share) => false,
            (Share | NoKeyUpdate | Update, Share | NoKeyUpdate | Update) => true,
        }
    }

    /// Place among the modes of rows, the weakest first.
    fn strength(self) -> u8 {
        match self {
            LockMode::KeyShare => 0,
            LockMode::Share => 1,
            LockMode::NoKeyUpdate => 2,
            LockMode::Update => 3,
            LockMode::Table(_) => u8::MAX,
        }
    }

    /// Whether it keeps others from all that `other` keeps them from.
    pub fn covers(self, other: LockMode) -> bool {
        match (self, other) {
            (LockMode::Table(one), LockMode::Table(other)) => other.conflicts() & !one.conflicts() == 0,
            (one, other) => one.strength() >= other.strength(),
        }
    }

    /// The weakest mode that covers both. It conflicts with nothing that neither of them conflicts with.
    #[must_use]
    pub fn join(self, other: LockMode) -> LockMode {
        if self.covers(other) {
            return self;
        }
        let modes = TableLockMode::ALL.into_iter().map(LockMode::Table);
        match other {
            _ if other.covers(self) => other,
            _ => modes.into_iter().find(|mode| mode.covers(self) && mode.covers(other)).unwrap_or(other),
        }
    }
}

/// What to do when a row lock is held by someone else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitPolicy {
    /// Wait, at most this long when a limit is given.
    Wait {
        /// Limit of the wait.
        timeout: Option<Duration>,
    },
    /// Fail at once with `LockNotAvailable`.
    NoWait,
    /// Leave the row out.
    SkipLocked,
}

/// What came of asking for a row lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockOutcome {
    /// The lock is held.
    Granted {
        /// The value now that the lock is held: the transaction's own write, else the latest committed one.
        current: Option<Value>,
        /// Whether that differs from what the statement's snapshot saw.
        changed: bool,
        /// When that was committed; zero for the transaction's own write and for what never had a value.
        version: Timestamp,
    },
    /// Somebody else holds it, and the policy was `SkipLocked`.
    Skipped,
}

/// Direction of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Ascending keys.
    #[default]
    Forward,
    /// Descending keys.
    Backward,
}

/// A savepoint of a transaction, counted from 1 at the outermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SavepointId(pub u32);

/// What an acknowledgement of a commit means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The log is on the disk (fsync) before the acknowledgement.
    #[default]
    Fsync,
    /// The log is with the operating system; a crash of the machine may lose the last moments.
    Relaxed,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The directory of the node's data. Created when missing.
    pub data_dir: PathBuf,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Memory for cached blocks of data, in bytes.
    pub cache_bytes: usize,
    /// Memory for rows and index entries that were read by key, in bytes; 0 keeps none.
    pub row_cache_bytes: usize,
    /// Memory of one table of recent writes before it goes to disk, in bytes.
    pub memtable_bytes: usize,
    /// How long old versions stay readable.
    pub gc_window: Duration,
    /// A shard that grows beyond this many bytes is split.
    pub split_bytes: u64,
    /// Largest total of keys and values that one transaction may write, in bytes.
    pub max_transaction_bytes: usize,
    /// Whether the store does by itself what is not asked of it: collects old versions, splits, finishes dead transactions.
    pub housekeeping: bool,
}

impl StoreOptions {
    /// Options with defaults that suit a small machine.
    pub fn new(data_dir: impl Into<PathBuf>) -> StoreOptions {
        StoreOptions {
            data_dir: data_dir.into(),
            durability: Durability::Fsync,
            cache_bytes: 192 * 1024 * 1024,
            row_cache_bytes: 192 * 1024 * 1024,
            memtable_bytes: 64 * 1024 * 1024,
            gc_window: Duration::from_secs(600),
            split_bytes: 8 * 1024 * 1024 * 1024,
            max_transaction_bytes: 1024 * 1024 * 1024,
            housekeeping: true,
        }
    }
}

/// What the store tells about one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// Which shard.
    pub shard: ShardId,
    /// Its keys.
    pub span: Span,
    /// How often the range changed.
    pub epoch: u64,
    /// Live rows.
    pub rows: u64,
    /// Bytes of live keys and values.
    pub bytes: u64,
    /// The node that leads the group, if one is known.
    pub leader: Option<u64>,
    /// Last log entry that was applied here.
    pub applied_index: u64,
}

/// Live rows of a span or prefix, and the bytes of their keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixStatistics {
    /// Number of live keys.
    pub rows: u64,
    /// Sum of the lengths of their keys and values, before compression.
    pub bytes: u64,
}

impl PrefixStatistics {
    /// The sum of both.
    pub fn plus(self, other: PrefixStatistics) -> PrefixStatistics {
        PrefixStatistics { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }
}

/// What a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// The moment at which the writes became visible, or the read timestamp when nothing was written.
    pub timestamp: Timestamp,
    /// Number of shards that took part.
    pub shards: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_keeps_out_whom_either_keeps_out() {
        let rows = [LockMode::KeyShare, LockMode::Share, LockMode::NoKeyUpdate, LockMode::Update];
        let tables = TableLockMode::ALL.map(LockMode::Table);
        for modes in [&rows[..], &tables[..]] {
            for one in modes {
                for other in modes {
                    assert_eq!(one.conflicts_with(*other), other.conflicts_with(*one), "{one:?} {other:?}");
                    let join = one.join(*other);
                    assert!(join.covers(*one) && join.covers(*other), "{one:?} {other:?}");
                    assert_eq!(one.covers(*other), join == *one, "{one:?} {other:?}");
                    for third in modes {
                        let either = one.conflicts_with(*third) || other.conflicts_with(*third);
                        assert_eq!(join.conflicts_with(*third), either, "{one:?} {other:?} {third:?}");
                    }
                }
            }
        }
    }
}
