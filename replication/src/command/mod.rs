//! The commands in a shard's log and their answers, with their binary form.
//!
//! Commands carry effects (keys and values), never SQL, so that every replica does the same with them.
//!
//! # Bytes
//! `uv` is an unsigned LEB128 number of at most 10 bytes, `blob` a `uv` length and that many bytes, `list<T>` a
//! `uv` count and that many `T`. Other numbers are big-endian. `ts` is a u64, `txn` a u128.
//!
//! A command is `[version u8 = 1][tag u8][epoch uv]` and then, by tag:
//!
//! | tag | command            | fields                                                                |
//! |-----|--------------------|-----------------------------------------------------------------------|
//! | 1   | Commit             | txn, start ts, commit ts, list\<write\>, list\<check\>                |
//! | 2   | Prewrite           | txn, start ts, primary blob, list\<write\>, list\<check\>             |
//! | 3   | CommitPrimary      | txn, commit ts, primary blob                                          |
//! | 4   | Resolve            | txn, status, list\<key blob\>                                         |
//! | 5   | Abort              | txn, now ts, primary blob                                             |
//! | 6   |                    | not used                                                              |
//! | 7   | DeleteRange        | start blob, end blob, dropped at ts, force u8 (0 or 1)                |
//! | 8   | Split              | at blob, new shard uv                                                 |
//! | 9   | CreateShard        | shard uv, start blob, end blob                                        |
//! | 10  | ReserveTimestamps  | until ts                                                              |
//! | 11  | ReserveIds         | name blob (UTF-8), count uv                                           |
//! | 12  | AdvanceGc          | threshold ts                                                          |
//!
//! | part   | bytes                                                                                        |
//! |--------|----------------------------------------------------------------------------------------------|
//! | write  | key blob, base ts, kind u8 (0 delete, 1 put), with a put: value blob                         |
//! | check  | kind u8 (1 span unchanged, 2 key exists); 1: start blob, end blob, base ts; 2: key blob |
//! | status | kind u8 (0 aborted, 1 committed), ts                                                         |
//!
//! A result is `[version u8 = 1][tag u8]` and then, by tag:
//!
//! | tag | result      | fields                                                                             |
//! |-----|-------------|------------------------------------------------------------------------------------|
//! | 0   | Done        |                                                                                    |
//! | 1   | Committed   | ts                                                                                 |
//! | 2   | Aborted     |                                                                                    |
//! | 3   | Conflict    | key blob, reason u8 (0 newer version, 1 changed, 2 missing)                        |
//! | 4   | Locked      | key blob, txn, start ts, primary blob                                              |
//! | 5   | StaleEpoch  | epoch uv                                                                           |
//! | 6   | WrongShard  | epoch uv                                                                           |
//! | 7   | Expired     | threshold ts                                                                       |
//! | 8   | Ids         | first uv                                                                           |
//! | 9   | Moment      | ts                                                                                 |
//! | 10  | Refused     | reason blob (UTF-8)                                                                |
//!
//! Decoding accepts no bytes after the last field, and never panics: damaged bytes are a [`DecodeError`].

mod codec;
mod decode;
mod encode;
mod result;
#[cfg(test)]
mod tests;

use crate::api::{Key, ShardId, Span, Timestamp, TxnId, Value};

pub use codec::DecodeError;
pub(crate) use codec::{Reader, put_blob, put_uv};
pub(crate) use encode::encode_prewrite;
pub use encode::{finishes_work, walks_ranges};
pub use result::{CommandResult, ConflictReason};

/// Version of the binary form.
pub const COMMAND_VERSION: u8 = 1;

/// What a write does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Set the value.
    Put(Value),
    /// Remove the key.
    Delete,
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Key,
    /// What happens to it.
    pub op: Op,
    /// The write is valid only if the key has no version newer than this.
    pub base: Timestamp,
}

/// Something that must hold at the commit for it to be valid. Locks of other transactions in the way count as
/// a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// No key of the span has a version newer than `base`.
    SpanUnchanged {
        /// The span.
        span: Span,
        /// When the transaction looked.
        base: Timestamp,
    },
    /// The key has a value now, and nobody is about to delete it.
    KeyExists {
        /// The key.
        key: Key,
    },
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnStatus {
    /// Its writes are visible from this moment.
    Committed(Timestamp),
    /// It has no effect. The timestamp says when that was decided; garbage collection uses it.
    Aborted(Timestamp),
}

/// An entry of a shard's log.
///
/// Timestamps named `start_ts` are drawn once, when the commit begins and before the first proposal, and stay
/// the same in every retry: a retry that arrives after the record of its first attempt may have been collected
/// is thereby recognised and answered `Expired`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Commits a transaction whose keys are all in this shard. Repeating it answers as the first time.
    /// The record of the outcome is kept at the key of the first write.
    Commit {
        /// The transaction.
        txn: TxnId,
        /// When its commit began.
        start_ts: Timestamp,
        /// When its writes become visible: later than that of every earlier command of the log.
        commit_ts: Timestamp,
        /// The writes, one per key.
        writes: Vec<Write>,
        /// What must hold.
        checks: Vec<Check>,
    },
    /// First phase of a commit over several shards: validates and locks the writes of this shard.
    Prewrite {
        /// The transaction.
        txn: TxnId,
        /// When its commit began.
        start_ts: Timestamp,
        /// The key, perhaps of another shard, at which the outcome is decided.
        primary: Key,
        /// The writes, one per key.
        writes: Vec<Write>,
        /// What must hold.
        checks: Vec<Check>,
    },
    /// Decides that a transaction is committed. Needs the lock on the primary key.
    CommitPrimary {
        /// The transaction.
        txn: TxnId,
        /// When its writes become visible.
        commit_ts: Timestamp,
        /// The primary key.
        primary: Key,
    },
    /// Turns the locks that the transaction holds on `keys` into versions, or drops them.
    Resolve {
        /// The transaction.
        txn: TxnId,
        /// How it ended.
        status: TxnStatus,
        /// Keys of this shard. Those that the transaction does not lock are left alone.
        keys: Vec<Key>,
    },
    /// Decides that a transaction is aborted, unless it is committed already: the answer tells.
    Abort {
        /// The transaction.
        txn: TxnId,
        /// The moment of the decision.
        now: Timestamp,
        /// The primary key.
        primary: Key,
    },
    /// Removes all versions and locks of a span for good. Refused while snapshots may still need it, which is
    /// until the garbage collection threshold has passed `dropped_at`, unless `force` is set.
    DeleteRange {
        /// The span.
        span: Span,
        /// The moment from which nobody reads the span any more.
        dropped_at: Timestamp,
        /// Whether nobody can read the span at any moment (it was never published).
        force: bool,
    },
    /// Gives the keys from `at` on to a new shard. Both epochs become the old epoch plus one.
    Split {
        /// First key of the new shard.
        at: Key,
        /// Id of the new shard.
        new_shard: ShardId,
    },
    /// Creates a shard over keys that no shard holds.
    CreateShard {
        /// Id of the new shard.
        shard: ShardId,
        /// Its keys.
        span: Span,
    },
    /// Makes the oracle's promise durable that no timestamp above `until` has been given out.
    ReserveTimestamps {
        /// The new limit. A lower one than before changes nothing.
        until: Timestamp,
    },
    /// Takes `count` numbers of a named series, for ever.
    ReserveIds {
        /// The series.
        name: String,
        /// How many.
        count: u64,
    },
    /// Says that no snapshot below `threshold` will be read any more in this shard. The proposer keeps it below
    /// every open snapshot of the node and below the start of every lock that any shard holds.
    AdvanceGc {
        /// The oldest snapshot that stays readable. A lower one than before changes nothing.
        threshold: Timestamp,
    },
}
