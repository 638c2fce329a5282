//! The transaction protocol, sans-IO: no clock, no randomness, no runtime. The store drives these cores over real logs, the
//! simulator drives the same cores over delayed, repeated and lost messages.
//!
//! * [`watermark`]: what the oracle hands out, and up to where a snapshot may look.
//! * [`leader`]: what the leader of a shard keeps in memory so that nothing commits below what somebody has read.
//! * [`two_phase`]: the coordinator of a commit over several shards.
//! * [`resolution`]: what a reader or a writer makes of somebody else's lock, and of a coordinator that died.
//!
//! A commit within one shard is one command: the leader draws its timestamp ([`leader::Leader::admit_commit`]) and proposes it;
//! applying it validates and writes.

pub mod leader;
pub mod resolution;
pub mod two_phase;
pub mod watermark;

/// Rules that a test switches off to see that the checkers notice. Empty in every real run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mutations {
    /// Commit without validating what was read.
    pub skip_validation: bool,
    /// Let commits take a timestamp at which somebody has read already.
    pub ignore_reads: bool,
    /// Let a reader take a lock of an undecided transaction for a committed write.
    pub read_pending_locks: bool,
    /// Let a reader ignore the lock of a transaction that is committed already.
    pub ignore_committed_locks: bool,
    /// Take snapshots at the newest timestamp instead of the watermark.
    pub snapshot_beyond_watermark: bool,
}
