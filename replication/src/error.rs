//! What can go wrong in the store.

use std::path::PathBuf;

use crate::api::{Key, ShardId};
use crate::locks::Party;

/// Result of the store's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the store.
///
/// Errors that a client sees as a retry (`WriteConflict`, `SerializationFailure`, `Deadlock`) leave the store
/// untouched. `Corruption` and `Io` while applying a log entry stop the shard: a replica that cannot apply
/// must not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another transaction committed a write to the key after this one looked at it.
    #[error("the key was changed by a concurrent transaction")]
    WriteConflict {
        /// The key.
        key: Key,
    },
    /// What a serializable transaction read has changed.
    #[error("could not serialize access due to read/write dependencies among transactions")]
    SerializationFailure,
    /// Waiting for the lock would never end.
    #[error("deadlock detected")]
    Deadlock {
        /// The transactions of the circle, each waiting for the next and the last for the first, which is the one refused.
        circle: Vec<Party>,
    },
    /// The row is locked, and the caller did not want to wait.
    #[error("could not obtain lock on row")]
    LockNotAvailable,
    /// The row stayed locked for as long as the caller wanted to wait.
    #[error("canceling statement due to lock timeout")]
    LockTimeout,
    /// The transaction writes more than one transaction may.
    #[error("the transaction writes more than {limit_bytes} bytes")]
    TransactionTooLarge {
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// A key is longer than `KEY_BYTES_MAX`.
    #[error("a key of {bytes} bytes exceeds the limit of {limit_bytes} bytes")]
    KeyTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit_bytes: usize,
    },
    /// The versions that the snapshot needs may be gone already.
    #[error("the snapshot is older than the garbage collection window")]
    SnapshotTooOld,
    /// The disk is full.
    #[error("no space left on the device")]
    DiskFull,
    /// A write in a read-only transaction.
    #[error("cannot write in a read-only transaction")]
    ReadOnlyTransaction,
    /// Stored bytes are not what the store wrote.
    #[error("the stored data is damaged: {what}")]
    Corruption {
        /// Where, and what was found.
        what: String,
    },
    /// Another process uses the data directory.
    #[error("the data directory {} is in use by {}", dir.display(), holder(*pid))]
    AlreadyRunning {
        /// The directory.
        dir: PathBuf,
        /// The process, if it left its number.
        pid: Option<u32>,
    },
    /// The data was written by a newer version of the program.
    #[error("the data directory has format {found}, but this version supports formats up to {supported}")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format that this program knows.
        supported: u32,
    },
    /// The store is going down.
    #[error("the store is shutting down")]
    ShuttingDown,
    /// This node does not lead the shard.
    #[error("this node does not lead shard {shard}")]
    NotLeader {
        /// The shard.
        shard: ShardId,
        /// The node that does, if known.
        leader: Option<u64>,
    },
    /// The group stopped or lost its leadership with the proposal under way: the command is applied or not.
    /// Proposing it again is safe for commands that are applied once.
    #[error("the outcome of the proposal to shard {shard} is unknown")]
    OutcomeUnknown {
        /// The shard.
        shard: ShardId,
    },
    /// More is under way already than the node can take.
    #[error("too many proposals are under way")]
    Overloaded,
    /// No shard of this node has that id.
    #[error("there is no shard {shard} on this node")]
    UnknownShard {
        /// The id asked for.
        shard: ShardId,
    },
    /// No shard of this node holds the key.
    #[error("no shard of this node holds the key")]
    NoShardForKey {
        /// The key.
        key: Key,
    },
    /// A range that cannot be used this way (it overlaps a shard, lies outside one, is empty).
    #[error("unusable key range: {reason}")]
    InvalidSpan {
        /// Why.
        reason: String,
    },
    /// The operating system or RocksDB reports a failure.
    #[error("{context}: {message}")]
    Io {
        /// What was being done.
        context: &'static str,
        /// The report.
        message: String,
    },
}

/// Names the process that holds a data directory.
fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Error {
    /// A `Corruption` with a description.
    pub fn corruption(what: impl Into<String>) -> Error {
        Error::Corruption { what: what.into() }
    }

    /// A failure of the operating system. A full disk is recognised.
    pub fn io(context: &'static str, error: &std::io::Error) -> Error {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Error::DiskFull;
        }
        Error::Io { context, message: error.to_string() }
    }
}
