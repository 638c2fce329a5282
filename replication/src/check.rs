//! Walks a whole store and verifies what must always hold.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::api::{ShardDescriptor, Timestamp, statistics_prefix};
use crate::apply::{FORMAT_KEY, FORMAT_VERSION, PrefixRecord, ShardMap, ShardState, StateMachine, kind};
use crate::command::TxnStatus;
use crate::engine::{Family, Reads};
use crate::error::Result;
use crate::mvcc::{hex, record};
use crate::target::ApplyTarget;

/// Findings after which the walk stops reporting: a badly damaged store would fill the memory.
pub const FINDINGS_MAX: usize = 1000;

/// Something in the store that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The family or part of the store.
    pub place: &'static str,
    /// What is wrong, with the key in hexadecimal digits.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.place, self.what)
    }
}

/// What a check has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Live rows.
    pub rows: u64,
    /// Older versions.
    pub versions: u64,
    /// Locks of undecided transactions.
    pub locks: u64,
    /// Records of decided transactions.
    pub statuses: u64,
    /// What is wrong; at most `FINDINGS_MAX`.
    pub findings: Vec<Finding>,
}

/// Verifies, at one moment of the store:
/// - the format and all records can be decoded;
/// - shards do not overlap, and every key lies in one;
/// - every older version was superseded no later than the next newer version was committed, and exactly then
///   unless garbage collection may have removed a tombstone between them; the newest version is newer still;
/// - locks have no decided transaction whose decision they should have followed long ago (its start is not
///   below the garbage collection threshold), and no lock of a committed primary key is left;
/// - the statistics are those of a recount.
///
/// # Errors
/// The engine cannot read. Damaged records are findings, not errors.
pub fn check_store(machine: &StateMachine) -> Result<CheckReport> {
    let view = machine.engine().view();
    let mut check =
        Check { reads: view.as_ref(), map: ShardMap::default(), states: Vec::new(), report: CheckReport::default() };
    check.format()?;
    check.shards(machine)?;
    check.latest()?;
    check.history()?;
    check.locks()?;
    check.statuses()?;
    Ok(check.report)
}

struct Check<'a> {
    reads: &'a dyn Reads,
    map: ShardMap,
    states: Vec<ShardState>,
    report: CheckReport,
}

impl Check<'_> {
    fn found(&mut self, place: &'static str, what: String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { place, what });
        }
    }

    fn format(&mut self) -> Result<()> {
        if self.reads.get_copy(Family::Meta, FORMAT_KEY)?.as_deref() != Some(&FORMAT_VERSION.to_be_bytes()) {
            self.found("meta", "the format version is missing or wrong".to_owned());
        }
        Ok(())
    }

    fn shards(&mut self, machine: &StateMachine) -> Result<()> {
        let mut descriptors: Vec<ShardDescriptor> = Vec::new();
        for shard in machine.shard_ids() {
            if self.reads.get_copy(Family::Meta, &crate::apply::shard_key(kind::IMPORTING, shard))?.is_some() {
                self.found("meta", format!("shard {shard} has an import under way"));
            }
            // Shards that are younger than the view are not in it.
            if let Some(state) = ShardState::load(self.reads, shard)? {
                descriptors.push(state.descriptor.clone());
                self.states.push(state);
            }
        }
        descriptors.sort_by(|a, b| a.span.start.cmp(&b.span.start));
        for descriptor in &descriptors {
            if descriptor.span.is_empty() {
                self.found("meta", format!("shard {} has an empty range", descriptor.shard));
            }
        }
        for pair in descriptors.windows(2) {
            if pair[0].span.end > pair[1].span.start {
                self.found("meta", format!("shards {} and {} overlap", pair[0].shard, pair[1].shard));
            }
        }
        self.map = ShardMap::new(descriptors);
        Ok(())
    }

    fn state_of(&self, key: &[u8]) -> Option<&ShardState> {
        let shard = self.map.find(key)?.shard;
        self.states.iter().find(|state| state.descriptor.shard == shard)
    }

    fn threshold_of(&self, key: &[u8]) -> Timestamp {
        self.state_of(key).map_or(Timestamp::ZERO, |state| state.gc_threshold)
    }

    fn latest(&mut self) -> Result<()> {
        let mut counted: BTreeMap<(u64, Vec<u8>), PrefixRecord> = BTreeMap::new();
        let mut previous: Vec<u8> = Vec::new();
        let mut cursor = self.reads.cursor(Family::Latest, &[], None)?;
        cursor.seek_first()?;
        while let Some((key, stored)) = cursor.item() {
            if !previous.is_empty() && key.starts_with(&previous) {
                self.found("latest", format!("key {} begins with another key, {}", hex(key), hex(&previous)));
            }
            previous.clear();
            previous.extend_from_slice(key);
            match (self.map.find(key).map(|shard| shard.shard.0), record::decode_version(stored)) {
                (None, _) => self.found("latest", format!("key {} is in no shard", hex(key))),
                (_, None) => self.found("latest", format!("the record of key {} is not a version", hex(key))),
                (Some(shard), Some(version)) => {
                    let record = counted.entry((shard, statistics_prefix(key).to_vec())).or_default();
                    record.last_ts = record.last_ts.max(version.ts);
                    if let Some(value) = version.value {
                        self.report.rows += 1;
                        record.rows += 1;
                        record.bytes += (key.len() + value.len()) as u64;
                    }
                }
            }
            cursor.next()?;
        }
        self.statistics(counted);
        Ok(())
    }

    fn statistics(&mut self, mut counted: BTreeMap<(u64, Vec<u8>), PrefixRecord>) {
        let mut wrong = Vec::new();
        for state in &self.states {
            let shard = state.descriptor.shard;
            for (prefix, kept) in &state.statistics {
                let seen = counted.remove(&(shard.0, prefix.clone())).unwrap_or_default();
                if (seen.rows, seen.bytes) != (kept.rows, kept.bytes) || seen.last_ts > kept.last_ts {
                    wrong.push(format!(
                        "prefix {} of shard {shard}: kept {} rows, {} bytes, changed at {}; counted {} rows, {} bytes, changed at {}",
                        hex(prefix), kept.rows, kept.bytes, kept.last_ts, seen.rows, seen.bytes, seen.last_ts
                    ));
                }
            }
        }
        for ((shard, prefix), seen) in counted.iter().filter(|(_, seen)| seen.rows > 0) {
            wrong.push(format!("prefix {} of shard {shard}: kept nothing, counted {} rows", hex(prefix), seen.rows));
        }
        for what in wrong {
            self.found("statistics", what);
        }
    }

    fn history(&mut self) -> Result<()> {
        let mut cursor = self.reads.cursor(Family::History, &[], None)?;
        cursor.seek_first()?;
        // Versions of a key come newest first: what the version before this one was committed at.
        let mut current: Vec<u8> = Vec::new();
        let mut newer = None;
        while let Some((stored_key, stored)) = cursor.item() {
            self.report.versions += 1;
            match (record::decode_history_key(stored_key), record::decode_superseded(stored)) {
                (Some((key, ts)), Some((superseded, _))) => {
                    if key != current || newer.is_none() {
                        current.clear();
                        current.extend_from_slice(key);
                        newer = self.newest(key)?;
                    }
                    self.link(key, ts, superseded, newer);
                    newer = Some(ts);
                }
                _ => self.found("history", format!("the record {} is not a version", hex(stored_key))),
            }
            cursor.next()?;
        }
        Ok(())
    }

    /// The moment of the newest version of a key. Damaged ones were reported already.
    fn newest(&self, key: &[u8]) -> Result<Option<Timestamp>> {
        let stored = self.reads.get_copy(Family::Latest, key)?;
        Ok(stored.as_deref().and_then(record::decode_version).map(|version| version.ts))
    }

    fn link(&mut self, key: &[u8], ts: Timestamp, superseded: Timestamp, newer: Option<Timestamp>) {
        let threshold = self.threshold_of(key);
        if self.map.find(key).is_none() {
            self.found("history", format!("key {} is in no shard", hex(key)));
        }
        if superseded <= ts {
            self.found("history", format!("a version of {} at {ts} was superseded at {superseded}", hex(key)));
        }
        // At or below the threshold the superseding version may be a collected tombstone.
        let exact = superseded > threshold;
        let linked = match newer {
            Some(newer) if exact => newer == superseded,
            Some(newer) => newer >= superseded,
            None => !exact,
        };
        if !linked {
            let newer = newer.map_or("missing".to_owned(), |newer| format!("at {newer}"));
            self.found(
                "history",
                format!(
                    "a version of {} at {ts} was superseded at {superseded}, but the next one is {newer}",
                    hex(key)
                ),
            );
        }
    }

    fn locks(&mut self) -> Result<()> {
        let mut cursor = self.reads.cursor(Family::Locks, &[], None)?;
        cursor.seek_first()?;
        while let Some((key, stored)) = cursor.item() {
            match record::StoredLock::decode(&Bytes::copy_from_slice(stored)) {
                None => self.found("locks", format!("the record of key {} is not a lock", hex(key))),
                Some(record::StoredLock::Key(lock)) => self.lock(key, &lock)?,
                Some(record::StoredLock::Piece(piece)) => {
                    if key != piece.first().as_ref() {
                        self.found("locks", format!("a piece is not under its first key but under {}", hex(key)));
                    }
                    for (key, op) in &piece.writes {
                        self.lock(key, &piece.lock(op))?;
                    }
                }
            }
            cursor.next()?;
        }
        Ok(())
    }

    fn lock(&mut self, key: &[u8], lock: &record::LockRecord) -> Result<()> {
        self.report.locks += 1;
        if self.map.find(key).is_none() {
            self.found("locks", format!("key {} is in no shard", hex(key)));
        }
        let stored = self.reads.get_copy(Family::Txns, &record::txn_key(&lock.primary, lock.txn))?;
        let status = stored.as_deref().and_then(record::decode_status);
        if key == lock.primary.as_ref() && status.is_some() {
            self.found(
                "locks",
                format!("transaction {} is decided, but its primary key {} is locked", lock.txn, hex(key)),
            );
        }
        // A decided transaction's other locks are resolved behind, and readers know what became of them as long as
        // the decision is kept.
        if lock.start_ts < self.threshold_of(key) {
            self.found(
                "locks",
                format!("key {} is locked by {} from before the garbage collection threshold", hex(key), lock.txn),
            );
        }
        if let Some(TxnStatus::Committed(commit_ts)) = status
            && self.newest(key)?.is_some_and(|newest| newest >= commit_ts)
        {
            self.found(
                "locks",
                format!("key {} has a version newer than the commit of its lock by {}", hex(key), lock.txn),
            );
        }
        Ok(())
    }

    fn statuses(&mut self) -> Result<()> {
        let mut cursor = self.reads.cursor(Family::Txns, &[], None)?;
        cursor.seek_first()?;
        while let Some((key, stored)) = cursor.item() {
            self.report.statuses += 1;
            let primary = record::decode_txn_key(key).map(|(primary, _)| primary);
            if primary.is_none_or(|primary| self.map.find(primary).is_none()) {
                self.found("txns", format!("the record {} is in no shard", hex(key)));
            }
            if record::decode_status(stored).is_none() {
                self.found("txns", format!("the record {} is not a status", hex(key)));
            }
            cursor.next()?;
        }
        Ok(())
    }
}
