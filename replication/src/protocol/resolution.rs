//! What to make of somebody else's lock.
//!
//! Readers never wait. A lock says only that a transaction may have written here; whether it has, and since when, is decided at
//! its primary key. Asking there raises what the primary's leader has read, so a transaction that is undecided at the time of
//! the question can only commit later than the reader's snapshot, and the reader may pass over its lock.
//!
//! Writers need the lock out of their way. They wait for a living coordinator, and finish the work of a dead one: whatever is
//! recorded at the primary is carried out, and when nothing is recorded the transaction is aborted there first, so that a
//! coordinator which was only slow finds itself aborted and cannot commit any more.

use super::Mutations;
use crate::api::Timestamp;
use crate::command::TxnStatus;

/// What a reader does with the write that a lock holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// The write is part of the snapshot.
    Visible,
    /// It is not: look at the versions below.
    Hidden,
}

/// Whether a lock can matter at all to a snapshot at `at`: a commit is always later than its own beginning.
pub fn may_matter(lock_start: Timestamp, at: Timestamp) -> bool {
    lock_start <= at
}

/// What a reader at `at` makes of a lock, given what the primary answered (`None`: undecided).
pub fn visibility(status: Option<TxnStatus>, at: Timestamp, mutations: Mutations) -> Visibility {
    match status {
        Some(TxnStatus::Committed(_)) if mutations.ignore_committed_locks => Visibility::Hidden,
        Some(TxnStatus::Committed(commit_ts)) if commit_ts <= at => Visibility::Visible,
        None if mutations.read_pending_locks => Visibility::Visible,
        _ => Visibility::Hidden,
    }
}

/// What a writer, or the one who cleans up, does about a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The fate is known: carry it out on the locked keys.
    Resolve(TxnStatus),
    /// The coordinator is dead: abort at the primary, then carry out what that answers.
    AbortAtPrimary,
    /// The coordinator may be alive: try again later.
    Wait,
}

/// Judges a lock: `status` as recorded at the primary, `coordinator_alive` as far as the one who asks can know (its own process,
/// or a lease that has not expired).
pub fn remedy(status: Option<TxnStatus>, coordinator_alive: bool) -> Remedy {
    match status {
        Some(status) => Remedy::Resolve(status),
        None if coordinator_alive => Remedy::Wait,
        None => Remedy::AbortAtPrimary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_was_committed_by_then_and_nothing_else() {
        let none = Mutations::default();
        let at = Timestamp(10);
        assert_eq!(visibility(Some(TxnStatus::Committed(Timestamp(10))), at, none), Visibility::Visible);
        assert_eq!(visibility(Some(TxnStatus::Committed(Timestamp(11))), at, none), Visibility::Hidden);
        assert_eq!(visibility(Some(TxnStatus::Aborted(Timestamp(5))), at, none), Visibility::Hidden);
        assert_eq!(visibility(None, at, none), Visibility::Hidden);
        assert!(may_matter(at, at) && !may_matter(Timestamp(11), at));
    }

    #[test]
    fn only_a_dead_coordinator_is_aborted() {
        assert_eq!(remedy(None, true), Remedy::Wait);
        assert_eq!(remedy(None, false), Remedy::AbortAtPrimary);
        let committed = TxnStatus::Committed(Timestamp(3));
        assert_eq!(remedy(Some(committed), true), Remedy::Resolve(committed));
    }
}
