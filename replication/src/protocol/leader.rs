//! What the leader of a shard keeps in memory about reads and commits.
//!
//! Invariants
//! * A commit never takes a timestamp at or below one at which somebody has read the shard (`reads`): the reader would have
//!   missed it.
//! * One-shard commits are proposed in timestamp order, so that the order of the log is the order of time.
//! * A validation at a moment first raises `reads` to it, and then waits for the commits at or below it that are proposed but
//!   not applied: afterwards what it sees at that moment is final.
//!
//! A new leader knows nothing: it starts with `reads` at a fresh timestamp of the oracle, after it has applied its whole log.

use std::collections::BTreeSet;

use super::Mutations;
use crate::api::Timestamp;

/// Whether a commit may be proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Propose it, and report [`Leader::applied`] when its fate is known.
    Propose,
    /// The timestamp is too low; draw one above.
    Redraw,
}

/// The volatile state of one shard's leader. `V` names a validation that waits.
#[derive(Debug)]
pub struct Leader<V> {
    reads: Timestamp,
    last_proposed: Timestamp,
    in_flight: BTreeSet<Timestamp>,
    waiting: Vec<(Timestamp, V)>,
    mutations: Mutations,
}

impl<V> Leader<V> {
    /// A leader that took over at `now`, a fresh timestamp drawn after everything in the log was applied.
    pub fn new(now: Timestamp, mutations: Mutations) -> Self {
        Leader { reads: now, last_proposed: now, in_flight: BTreeSet::new(), waiting: Vec::new(), mutations }
    }

    /// Somebody reads, or asks for the status of a transaction, as of `at`.
    pub fn read(&mut self, at: Timestamp) {
        self.reads = self.reads.max(at);
    }

    /// A one-shard commit wants to take `timestamp`.
    pub fn admit_commit(&mut self, timestamp: Timestamp) -> Admission {
        let read = timestamp <= self.reads && !self.mutations.ignore_reads;
        if timestamp <= self.last_proposed || read {
            return Admission::Redraw;
        }
        self.last_proposed = timestamp;
        self.in_flight.insert(timestamp);
        Admission::Propose
    }

    /// The primary of a commit over several shards wants to take `timestamp`. Its locks keep others out, so it need not be
    /// in the order of the log.
    pub fn admit_primary(&mut self, timestamp: Timestamp) -> Admission {
        // Asked again while the first proposal is on its way: it must not be told that it came too late.
        if self.in_flight.contains(&timestamp) {
            return Admission::Propose;
        }
        // Its own validation has read at exactly this moment; nobody else can have, because a snapshot stays below a commit
        // that is not finished, and no two commits draw the same timestamp.
        if timestamp < self.reads && !self.mutations.ignore_reads {
            return Admission::Redraw;
        }
        self.in_flight.insert(timestamp);
        Admission::Propose
    }

    /// The proposal at `timestamp` is applied, or is known never to be. Returns the validations that may go on.
    pub fn applied(&mut self, timestamp: Timestamp) -> Vec<V> {
        self.in_flight.remove(&timestamp);
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let oldest = self.in_flight.first().copied();
        let mut ready = Vec::new();
        let mut at = 0;
        while at < self.waiting.len() {
            if oldest.is_none_or(|oldest| oldest > self.waiting[at].0) {
                ready.push(self.waiting.swap_remove(at).1);
            } else {
                at += 1;
            }
        }
        ready
    }

    /// Somebody validates reads as of `at`. Returns the name when it may look at once; otherwise it is kept until the commits
    /// in flight are applied.
    pub fn validate(&mut self, at: Timestamp, name: V) -> Option<V> {
        self.read(at);
        if self.in_flight.first().is_some_and(|oldest| *oldest <= at) {
            self.waiting.push((at, name));
            None
        } else {
            Some(name)
        }
    }

    /// Commits that are proposed and not applied.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader() -> Leader<u32> {
        Leader::new(Timestamp(10), Mutations::default())
    }

    #[test]
    fn nothing_commits_at_or_below_a_read() {
        let mut leader = leader();
        leader.read(Timestamp(20));
        assert_eq!(leader.admit_commit(Timestamp(20)), Admission::Redraw);
        assert_eq!(leader.admit_primary(Timestamp(15)), Admission::Redraw);
        assert_eq!(leader.admit_primary(Timestamp(20)), Admission::Propose);
        assert_eq!(leader.admit_commit(Timestamp(21)), Admission::Propose);
    }

    #[test]
    fn one_shard_commits_are_proposed_in_order() {
        let mut leader = leader();
        assert_eq!(leader.admit_commit(Timestamp(30)), Admission::Propose);
        assert_eq!(leader.admit_commit(Timestamp(29)), Admission::Redraw);
        assert_eq!(leader.admit_primary(Timestamp(29)), Admission::Propose);
    }

    #[test]
    fn a_validation_waits_for_earlier_commits_only() {
        let mut leader = leader();
        assert_eq!(leader.admit_commit(Timestamp(11)), Admission::Propose);
        assert_eq!(leader.admit_commit(Timestamp(12)), Admission::Propose);
        assert_eq!(leader.admit_commit(Timestamp(14)), Admission::Propose);
        assert_eq!(leader.validate(Timestamp(13), 1), None);
        assert!(leader.applied(Timestamp(12)).is_empty());
        assert_eq!(leader.applied(Timestamp(11)), vec![1]);
        assert_eq!(leader.validate(Timestamp(13), 2), Some(2));
    }
}
