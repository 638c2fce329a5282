//! The interface by which the consensus layer drives a state machine: opaque bytes in, opaque bytes out.
//!
//! The consensus layer knows entries, positions and memberships; it knows nothing of keys, versions or
//! transactions. The state machine knows nothing of terms, votes or peers.
//!
//! Durability: what `apply` writes is *not* on the disk when it returns. After a crash the state machine is
//! at some earlier applied position, the same for everything it stores, and the consensus layer applies its
//! log again from there. Therefore a log entry may only be thrown away when `flushed` has reached it.

use std::io::{Read, Write};

use bytes::Bytes;

use crate::api::ShardId;
use crate::error::Result;

/// Position of an entry in a shard's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Term of the leader that made the entry.
    pub term: u64,
    /// Node id of that leader; 0 where the consensus layer does not distinguish leaders of a term.
    pub leader: u64,
    /// Index in the log. Applied indexes of a shard grow; they need not start at 1 nor be without gaps.
    pub index: u64,
}

/// A state machine for the logs of many shards. All functions block; call them where blocking is allowed.
/// Calls for different shards may run at the same time; calls of `apply` and `import` for one shard may not.
pub trait ApplyTarget: Send + Sync + 'static {
    /// Applies consecutive committed entries of one shard and answers one `Bytes` per entry (an encoded
    /// `CommandResult`). Each entry is applied wholly or not at all, together with its position. An entry with no bytes changes nothing except the position (blank
    /// entries, membership changes) and has an empty answer. `membership`, when given, replaces the stored
    /// membership together with the entries.
    ///
    /// A command that cannot be decoded, is outside the shard or fails its checks is *answered*, not an error.
    ///
    /// # Errors
    /// The store cannot write or finds itself damaged. The shard must not go on; entries after `applied` are not
    /// applied.
    fn apply(&self, shard: ShardId, entries: &[(LogPosition, Bytes)], membership: Option<Bytes>) -> Result<Vec<Bytes>>;

    /// Whether applying the command may take long although it has few bytes.
    fn takes_long(&self, _command: &Bytes) -> bool {
        false
    }

    /// Position of the last applied entry; `None` before the first.
    ///
    /// # Errors
    /// `UnknownShard`; the store cannot read.
    fn applied(&self, shard: ShardId) -> Result<Option<LogPosition>>;

    /// Position up to which a crash loses nothing of the applied state.
    ///
    /// # Errors
    /// `UnknownShard`; the store cannot read.
    fn flushed(&self, shard: ShardId) -> Result<Option<LogPosition>>;

    /// Brings everything applied so far to the disk; afterwards `flushed` is at least what `applied` was.
    ///
    /// # Errors
    /// The store cannot write.
    fn flush(&self) -> Result<()>;

    /// The membership stored last.
    ///
    /// # Errors
    /// `UnknownShard`; the store cannot read.
    fn membership(&self, shard: ShardId) -> Result<Option<Bytes>>;

    /// The shards that exist here, in ascending order. Applying an entry may add shards.
    fn shard_ids(&self) -> Vec<ShardId>;

    /// Writes all of the shard's state, as of one moment, to `sink`, and returns the position that it stands
    /// for. Entries may be applied meanwhile. The bytes carry their own check sums.
    ///
    /// # Errors
    /// `UnknownShard`; reading or writing fails.
    fn export(&self, shard: ShardId, sink: &mut dyn Write) -> Result<Option<LogPosition>>;

    /// Replaces all of the shard's state by an export of another replica, and returns its position. The shard
    /// is created when it does not exist. A crash in the middle leaves the shard empty with no position. The
    /// state is flushed when the call returns.
    ///
    /// # Errors
    /// The bytes are damaged (the shard is then empty); writing fails.
    fn import(&self, shard: ShardId, source: &mut dyn Read) -> Result<Option<LogPosition>>;
}
