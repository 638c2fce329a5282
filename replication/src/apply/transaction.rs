//! The commands of transactions: validate, then write.

use std::sync::Arc;

use super::pending::{Pending, Prior};
use crate::api::{Key, Span, Timestamp, TxnId};
use crate::command::{Check, CommandResult, ConflictReason, Op, TxnStatus, Write};
use crate::error::Result;
use crate::mvcc::record::{LockRecord, PieceRecord, VERSION_HEADER_BYTES};

/// A prewrite of at least this many keys locks them as one piece. In tests it is small, so that they meet pieces.
pub(crate) const PIECE_WRITES_MIN: usize = if cfg!(test) { 3 } else { 64 };

/// Keys of a prewrite of `count` writes by which all of its locks are resolved. A piece goes as one, but a split may have cut
/// it in two.
pub(crate) fn piece_ends(first: &Key, last: &Key, count: usize, all: impl FnOnce() -> Vec<Key>) -> Vec<Key> {
    match count >= PIECE_WRITES_MIN {
        true => vec![first.clone(), last.clone()],
        false => all(),
    }
}

/// The names of a transaction's commit that both kinds of commit share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) epoch: u64,
    pub(crate) txn: TxnId,
    pub(crate) start_ts: Timestamp,
}

impl Pending<'_> {
    /// A commit whose keys are all here.
    pub(crate) fn commit(
        &mut self,
        attempt: Attempt,
        commit_ts: Timestamp,
        writes: &[Write],
        checks: &[Check],
    ) -> Result<CommandResult> {
        if let Some(first) = writes.first() {
            // Before the epoch is looked at: a repeated commit may find that the shard was split meanwhile.
            if let Some(answer) = self.decided(&first.key, attempt.txn)? {
                return Ok(answer);
            }
        }
        if let Some(refusal) = self.misplaced(attempt, writes, checks) {
            return Ok(refusal);
        }
        if commit_ts <= self.gc_threshold() {
            return Ok(CommandResult::Expired { threshold: self.gc_threshold() });
        }
        if commit_ts <= attempt.start_ts {
            return Ok(CommandResult::refused("the commit timestamp is not after the start of the commit"));
        }
        if let Some(refusal) = self.failed_check(attempt.txn, writes, checks)? {
            return Ok(refusal);
        }
        let mark = self.batch.mark();
        let mut priors = Vec::with_capacity(writes.len());
        let free = self.is_free_for(attempt.txn, writes)?;
        for write in writes {
            let foreign = if free { None } else { self.foreign_lock(&write.key, attempt.txn) };
            let refusal = match foreign {
                Some(refusal) => Some(refusal),
                None => {
                    let prior = if free { None } else { self.supersede(&write.key, commit_ts)? };
                    priors.push(prior);
                    self.outdated(write, prior, commit_ts)
                }
            };
            if let Some(refusal) = refusal {
                self.batch.rollback(mark);
                return Ok(refusal);
            }
        }
        for (write, prior) in writes.iter().zip(priors) {
            self.set_latest(&write.key, &write.op, commit_ts, prior);
        }
        if let Some(first) = writes.first() {
            self.set_status(&first.key, attempt.txn, TxnStatus::Committed(commit_ts));
        }
        Ok(CommandResult::Committed { commit_ts })
    }

    /// Whether a look at once tells of many writes that none of their keys has a version or somebody else's lock. So it is with
    /// rows that come in the order of their keys, behind all others.
    fn is_free_for(&self, txn: TxnId, writes: &[Write]) -> Result<bool> {
        let [first, .., last] = writes else { return Ok(false) };
        if writes.len() < PIECE_WRITES_MIN || !writes.is_sorted_by(|a, b| a.key < b.key) {
            return Ok(false);
        }
        let span = Span::new(first.key.clone(), Span::key(&last.key).end);
        Ok(self.foreign_lock_in(&span, txn).is_none() && self.is_empty_between(&first.key, &last.key)?)
    }

    /// The first phase of a commit over several shards.
    pub(crate) fn prewrite(
        &mut self,
        attempt: Attempt,
        primary: &Key,
        writes: Vec<Write>,
        checks: &[Check],
    ) -> Result<CommandResult> {
        if self.state.descriptor.span.contains(primary) {
            match self.decided(primary, attempt.txn)? {
                // Its locks are turned into versions already, or are about to be.
                Some(CommandResult::Committed { .. }) => return Ok(CommandResult::Done),
                Some(answer) => return Ok(answer),
                None => {}
            }
        }
        if let Some(refusal) = self.misplaced(attempt, &writes, checks) {
            return Ok(refusal);
        }
        if let Some(refusal) = self.failed_check(attempt.txn, &writes, checks)? {
            return Ok(refusal);
        }
        if writes.len() >= PIECE_WRITES_MIN {
            return self.prewrite_piece(attempt, primary, writes);
        }
        let mut fresh = Vec::with_capacity(writes.len());
        for write in &writes {
            match self.lock(&write.key) {
                Some(lock) if lock.txn == attempt.txn => continue,
                Some(lock) => return Ok(locked(&write.key, &lock)),
                None => {}
            }
            let prior = self.prior(&write.key)?;
            if let Some(refusal) = self.outdated(write, prior, Timestamp::MAX) {
                return Ok(refusal);
            }
            fresh.push(write);
        }
        for write in fresh {
            let lock = LockRecord {
                txn: attempt.txn,
                start_ts: attempt.start_ts,
                primary: primary.clone(),
                op: write.op.clone(),
            };
            self.set_lock(&write.key, lock);
        }
        Ok(CommandResult::Done)
    }

    /// Locks many keys as one.
    fn prewrite_piece(&mut self, attempt: Attempt, primary: &Key, writes: Vec<Write>) -> Result<CommandResult> {
        let [first, .., last] = writes.as_slice() else { return Ok(CommandResult::refused("a piece has two ends")) };
        if self.lock(&first.key).is_some_and(|lock| lock.txn == attempt.txn) {
            // The same prewrite came before.
            return Ok(CommandResult::Done);
        }
        let span = Span::new(first.key.clone(), Span::key(&last.key).end);
        let foreign = self.foreign_lock_in(&span, attempt.txn).is_some();
        let oldest_base = writes.iter().map(|write| write.base).min().unwrap_or_default();
        if foreign || !self.untouched(&first.key, &last.key, oldest_base) {
            for write in &writes {
                if foreign && let Some(refusal) = self.foreign_lock(&write.key, attempt.txn) {
                    return Ok(refusal);
                }
                let prior = self.prior(&write.key)?;
                if let Some(refusal) = self.outdated(write, prior, Timestamp::MAX) {
                    return Ok(refusal);
                }
            }
        }
        self.set_piece(PieceRecord {
            txn: attempt.txn,
            start_ts: attempt.start_ts,
            primary: primary.clone(),
            writes: writes.into_iter().map(|write| (write.key, write.op)).collect(),
        });
        Ok(CommandResult::Done)
    }

    /// The decision of a commit over several shards.
    pub(crate) fn commit_primary(&mut self, txn: TxnId, commit_ts: Timestamp, primary: &Key) -> Result<CommandResult> {
        if let Some(answer) = self.decided(primary, txn)? {
            return Ok(answer);
        }
        if !self.state.descriptor.span.contains(primary) {
            return Ok(self.wrong_shard());
        }
        if commit_ts <= self.gc_threshold() {
            return Ok(CommandResult::Expired { threshold: self.gc_threshold() });
        }
        let Some(lock) = self.lock(primary).filter(|lock| lock.txn == txn) else {
            return Ok(CommandResult::Aborted);
        };
        if let Some(refusal) = self.turn_into_version(primary, &lock, commit_ts)? {
            return Ok(refusal);
        }
        self.set_status(primary, txn, TxnStatus::Committed(commit_ts));
        Ok(CommandResult::Committed { commit_ts })
    }

    /// What follows from the decision for other keys.
    pub(crate) fn resolve(&mut self, txn: TxnId, status: TxnStatus, keys: &[Key]) -> Result<CommandResult> {
        if !keys.iter().all(|key| self.state.descriptor.span.contains(key)) {
            return Ok(self.wrong_shard());
        }
        for key in keys {
            let Some(lock) = self.lock(key).filter(|lock| lock.txn == txn) else {
                continue;
            };
            match status {
                TxnStatus::Aborted(_) => self.drop_lock(key),
                TxnStatus::Committed(commit_ts) => {
                    if let Some(refusal) = self.turn_into_version(key, &lock, commit_ts)? {
                        return Ok(refusal);
                    }
                }
            }
        }
        Ok(CommandResult::Done)
    }

    /// The decision against a transaction.
    pub(crate) fn abort(&mut self, txn: TxnId, now: Timestamp, primary: &Key) -> Result<CommandResult> {
        if let Some(answer) = self.decided(primary, txn)? {
            return Ok(answer);
        }
        if !self.state.descriptor.span.contains(primary) {
            return Ok(self.wrong_shard());
        }
        if self.lock(primary).is_some_and(|lock| lock.txn == txn) {
            self.drop_lock(primary);
        }
        self.set_status(primary, txn, TxnStatus::Aborted(now));
        Ok(CommandResult::Aborted)
    }

    /// The answer for a transaction that is decided already.
    fn decided(&self, primary: &[u8], txn: TxnId) -> Result<Option<CommandResult>> {
        Ok(self.status(primary, txn)?.map(|status| match status {
            TxnStatus::Committed(commit_ts) => CommandResult::Committed { commit_ts },
            TxnStatus::Aborted(_) => CommandResult::Aborted,
        }))
    }

    fn wrong_shard(&self) -> CommandResult {
        CommandResult::WrongShard { epoch: self.state.descriptor.epoch }
    }

    /// Refuses a commit that does not belong here, is too old, or is badly formed.
    fn misplaced(&self, attempt: Attempt, writes: &[Write], checks: &[Check]) -> Option<CommandResult> {
        let descriptor = &self.state.descriptor;
        if attempt.epoch != descriptor.epoch {
            return Some(CommandResult::StaleEpoch { epoch: descriptor.epoch });
        }
        let span = &descriptor.span;
        let writes_inside = writes.iter().all(|write| span.contains(&write.key));
        let checks_inside = checks.iter().all(|check| match check {
            Check::KeyExists { key } => span.contains(key),
            Check::SpanUnchanged { span: checked, .. } => span.covers(checked),
        });
        if !writes_inside || !checks_inside {
            return Some(self.wrong_shard());
        }
        if !writes.is_sorted_by(|a, b| a.key < b.key) {
            return Some(CommandResult::refused("the writes are not in ascending order of their keys"));
        }
        let threshold = self.gc_threshold();
        (attempt.start_ts < threshold).then_some(CommandResult::Expired { threshold })
    }

    fn foreign_lock(&self, key: &Key, txn: TxnId) -> Option<CommandResult> {
        self.lock(key).filter(|lock| lock.txn != txn).map(|lock| locked(key, &lock))
    }

    /// Refuses a write whose key has changed since its base.
    fn outdated(&self, write: &Write, prior: Option<Prior>, commit_ts: Timestamp) -> Option<CommandResult> {
        if self.is_newer(prior, write.base) {
            return Some(CommandResult::Conflict { key: write.key.clone(), reason: ConflictReason::NewerVersion });
        }
        if prior.is_some_and(|prior| prior.ts >= commit_ts) {
            return Some(CommandResult::refused("the commit timestamp is not after the version that it supersedes"));
        }
        None
    }

    /// Whether the newest version is after `base`. An absent key is taken as deleted at the threshold, since a
    /// tombstone at or below it may be gone on one replica and still be there on another.
    fn is_newer(&self, prior: Option<Prior>, base: Timestamp) -> bool {
        let threshold = self.gc_threshold();
        match prior {
            Some(prior) if prior.value_bytes.is_some() || prior.ts > threshold => prior.ts > base,
            _ => threshold > base,
        }
    }

    /// Refuses a commit of which a check fails.
    fn failed_check(&self, txn: TxnId, writes: &[Write], checks: &[Check]) -> Result<Option<CommandResult>> {
        for check in checks {
            let refusal = match check {
                Check::SpanUnchanged { span, base } => match self.foreign_lock_in(span, txn) {
                    Some((key, lock)) => Some(locked(&key, &lock)),
                    None => self.newer_in(span, *base)?.map(|key| conflict(&key, ConflictReason::Changed)),
                },
                Check::KeyExists { key } => self.missing(key, txn, writes)?,
            };
            if refusal.is_some() {
                return Ok(refusal);
            }
        }
        Ok(None)
    }

    fn missing(&self, key: &Key, txn: TxnId, writes: &[Write]) -> Result<Option<CommandResult>> {
        if let Ok(own) = writes.binary_search_by(|write| write.key.cmp(key)) {
            let gone = matches!(writes[own].op, Op::Delete);
            return Ok(gone.then(|| conflict(key, ConflictReason::Missing)));
        }
        let lock = self.lock(key).filter(|lock| lock.txn != txn && matches!(lock.op, Op::Delete));
        if let Some(lock) = lock {
            return Ok(Some(locked(key, &lock)));
        }
        let exists = self.prior(key)?.is_some_and(|prior| prior.value_bytes.is_some());
        Ok((!exists).then(|| conflict(key, ConflictReason::Missing)))
    }

    /// Forgets the lock on `key`, and with it the piece that it belongs to.
    fn drop_lock(&mut self, key: &Key) {
        match self.piece_on(key) {
            Some(piece) => self.remove_piece(&piece),
            None => self.remove_lock(key),
        }
    }

    /// Makes the locked write a version, and with it the whole piece that it belongs to. Refuses when that would not be the newest one, which no order of
    /// commands leads to while commit timestamps are drawn after the prewrites.
    fn turn_into_version(
        &mut self,
        key: &Key,
        lock: &Arc<LockRecord>,
        commit_ts: Timestamp,
    ) -> Result<Option<CommandResult>> {
        let newer = || CommandResult::refused("a locked key has a version that is newer than the commit");
        let mark = self.batch.mark();
        let Some(piece) = self.piece_on(key) else {
            let prior = self.supersede(key, commit_ts)?;
            if prior.is_some_and(|prior| prior.ts >= commit_ts) {
                self.batch.rollback(mark);
                return Ok(Some(newer()));
            }
            self.set_latest(key, &lock.op, commit_ts, prior);
            self.remove_lock(key);
            return Ok(None);
        };
        let mut priors = vec![None; piece.writes.len()];
        if !self.is_empty_between(piece.first(), piece.last())? {
            for ((key, _), prior) in piece.writes.iter().zip(&mut priors) {
                *prior = self.supersede(key, commit_ts)?;
                if prior.is_some_and(|prior| prior.ts >= commit_ts) {
                    self.batch.rollback(mark);
                    return Ok(Some(newer()));
                }
            }
        }
        let bytes = |(key, op): &(Key, Op)| {
            key.len() + VERSION_HEADER_BYTES + if let Op::Put(value) = op { value.len() } else { 0 }
        };
        self.batch.reserve(piece.writes.len(), piece.writes.iter().map(bytes).sum());
        for ((key, op), prior) in piece.writes.iter().zip(priors) {
            self.set_latest(key, op, commit_ts, prior);
        }
        self.remove_piece(&piece);
        Ok(None)
    }
}

fn conflict(key: &Key, reason: ConflictReason) -> CommandResult {
    CommandResult::Conflict { key: key.clone(), reason }
}

fn locked(key: &Key, lock: &LockRecord) -> CommandResult {
    CommandResult::Locked { key: key.clone(), txn: lock.txn, start_ts: lock.start_ts, primary: lock.primary.clone() }
}
