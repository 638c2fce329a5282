//! Judges a run: the versions that the engines hold in the end are what happened, and every transaction's own account must
//! fit them.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Outcome, Transaction, decode};
use super::world::{World, keys, shard_of};
use crate::api::{Isolation, Key, Timestamp, TxnId};
use crate::engine::Family;
use crate::mvcc::record;

/// What happened in some runs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Report {
    pub(super) transactions: u64,
    pub(super) committed: u64,
    pub(super) over_several_shards: u64,
    pub(super) with_pieces: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
}

impl Report {
    pub(super) fn add(&mut self, other: &Report) {
        self.transactions += other.transactions;
        self.committed += other.committed;
        self.over_several_shards += other.over_several_shards;
        self.with_pieces += other.with_pieces;
        self.refused += other.refused;
        self.unknown += other.unknown;
    }
}

/// All versions of a key, oldest first: when, and by whom.
type Chains = BTreeMap<Key, Vec<(Timestamp, TxnId)>>;

fn chains(world: &World) -> Chains {
    let chain = |key: &Key| {
        let engine = world.shards[shard_of(key)].machine.engine();
        let mut versions = Vec::new();
        let mut cursor = engine.cursor(Family::History, key, Some(&crate::prefix_end(key))).expect("memory");
        cursor.seek_first().expect("memory");
        while let Some((stored, value)) = cursor.item() {
            let (_, at) = record::decode_history_key(stored).expect("a key of the history");
            let (_, value) = record::decode_superseded(value).expect("a version");
            versions.push((at, decode(value.expect("nothing is deleted"))));
            cursor.next().expect("memory");
        }
        versions.reverse();
        if let Some(stored) = engine.get_copy(Family::Latest, key).expect("memory") {
            let version = record::decode_version(&stored).expect("a version");
            versions.push((version.ts, decode(version.value.expect("nothing is deleted"))));
        }
        versions
    };
    keys().into_iter().map(|key| (key.clone(), chain(&key))).collect()
}

/// Judges a finished run. The error says which promise was broken.
pub(super) fn check(world: &World) -> Result<Report, String> {
    let chains = chains(world);
    let mut report = Report::default();
    let mut committed: BTreeMap<TxnId, Timestamp> = BTreeMap::new();
    for transaction in &world.history {
        report.transactions += 1;
        report.unknown += u64::from(transaction.outcome == Outcome::Unknown);
        report.refused += u64::from(transaction.outcome == Outcome::Aborted);
        if let Some(at) = check_atomic(transaction, &chains)? {
            committed.insert(transaction.id, at);
            report.committed += 1;
            report.over_several_shards += u64::from(transaction.shards > 1);
            report.with_pieces += u64::from(transaction.pieces > 0);
        }
        check_reads(transaction, &chains)?;
    }
    for (key, chain) in &chains {
        for pair in chain.windows(2) {
            if pair[0].0 >= pair[1].0 {
                return Err(format!("versions of {key:?} out of order: {pair:?}"));
            }
        }
    }
    for transaction in world.history.iter().filter(|transaction| committed.contains_key(&transaction.id)) {
        check_updates(transaction, &chains)?;
    }
    check_real_time(world)?;
    if world.isolation == Isolation::Serializable {
        check_serializable(world, &chains, &committed)?;
    }
    Ok(report)
}

/// All writes of a transaction are there, once and at one moment, or none is; and that is what its client was told.
fn check_atomic(transaction: &Transaction, chains: &Chains) -> Result<Option<Timestamp>, String> {
    let mut moments = BTreeSet::new();
    let mut found = 0;
    for chain in chains.values() {
        for (at, _) in chain.iter().filter(|(_, writer)| *writer == transaction.id) {
            moments.insert(*at);
            found += 1;
        }
    }
    let at = moments.first().copied();
    if moments.len() > 1 || (found != 0 && found != transaction.writes.len()) {
        return Err(format!("half or twice applied: {found} versions at {moments:?} of {transaction:?}"));
    }
    match transaction.outcome {
        Outcome::Committed { at: told, .. } if at != Some(told) => {
            Err(format!("an acknowledged commit is lost, or at {at:?} instead: {transaction:?}"))
        }
        Outcome::Aborted | Outcome::ReadOnly { .. } if at.is_some() => {
            Err(format!("a refused transaction was committed at {at:?}: {transaction:?}"))
        }
        _ => Ok(at),
    }
}

/// A read at a snapshot returns the newest version at or below it: nothing dirty, nothing by half.
fn check_reads(transaction: &Transaction, chains: &Chains) -> Result<(), String> {
    for (key, writer, at) in &transaction.reads {
        let expected = chains[key].iter().rev().find(|(version, _)| version <= at).map(|(_, writer)| *writer);
        if expected != *writer {
            return Err(format!("a read of {key:?} at {at} saw {writer:?} instead of {expected:?}: {transaction:?}"));
        }
    }
    Ok(())
}

/// Nobody committed a version between the one that a write is based on and its own.
fn check_updates(transaction: &Transaction, chains: &Chains) -> Result<(), String> {
    for (key, base) in &transaction.writes {
        let chain = &chains[key];
        let own = chain.iter().position(|(_, writer)| *writer == transaction.id);
        let before = own.and_then(|own| own.checked_sub(1)).map(|before| chain[before]);
        if let Some((at, writer)) = before.filter(|(at, _)| at > base) {
            return Err(format!("lost update of {key:?}: {writer} committed at {at}: {transaction:?}"));
        }
    }
    Ok(())
}

/// A snapshot that is asked for after a commit was acknowledged contains it.
fn check_real_time(world: &World) -> Result<(), String> {
    let mut acknowledged: Vec<(u64, Timestamp)> = world
        .history
        .iter()
        .filter_map(|transaction| match transaction.outcome {
            Outcome::Committed { at, acknowledged } => Some((acknowledged, at)),
            _ => None,
        })
        .collect();
    acknowledged.sort_unstable();
    for transaction in &world.history {
        for (asked, snapshot) in &transaction.snapshots {
            let before = acknowledged.iter().take_while(|(time, _)| time < asked).map(|(_, at)| *at).max();
            if let Some(at) = before.filter(|at| at > snapshot) {
                return Err(format!("a commit acknowledged at {at} is not in a later snapshot: {transaction:?}"));
            }
        }
    }
    Ok(())
}

/// The dependencies between committed transactions have no cycle: wr (reads from), ww (overwrites), rw (read what another
/// overwrote).
fn check_serializable(world: &World, chains: &Chains, committed: &BTreeMap<TxnId, Timestamp>) -> Result<(), String> {
    let mut after: BTreeMap<TxnId, BTreeSet<TxnId>> = BTreeMap::new();
    let mut edge = |from: TxnId, to: TxnId| {
        if from != to {
            after.entry(from).or_default().insert(to);
        }
    };
    for chain in chains.values() {
        for pair in chain.windows(2) {
            edge(pair[0].1, pair[1].1);
        }
    }
    for transaction in &world.history {
        let read_only = matches!(transaction.outcome, Outcome::ReadOnly { .. });
        if !read_only && !committed.contains_key(&transaction.id) {
            continue;
        }
        for (key, writer, _) in &transaction.reads {
            let chain = &chains[key];
            let next = match writer {
                Some(writer) => {
                    edge(*writer, transaction.id);
                    chain.iter().position(|(_, other)| other == writer).map_or(0, |at| at + 1)
                }
                None => 0,
            };
            if let Some((_, overwriter)) = chain.get(next) {
                edge(transaction.id, *overwriter);
            }
        }
    }
    // Take away whoever nobody precedes until nobody is left, or a cycle is.
    let mut before: BTreeMap<TxnId, usize> = after.keys().map(|id| (*id, 0)).collect();
    for id in after.values().flatten() {
        *before.entry(*id).or_default() += 1;
    }
    let mut free: Vec<TxnId> = before.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id).collect();
    let mut taken = 0;
    while let Some(id) = free.pop() {
        taken += 1;
        for next in after.get(&id).into_iter().flatten() {
            if let Some(count) = before.get_mut(next) {
                *count -= 1;
                if *count == 0 {
                    free.push(*next);
                }
            }
        }
    }
    if taken < before.len() {
        let cycle: Vec<TxnId> = before.iter().filter(|(_, count)| **count > 0).map(|(id, _)| *id).collect();
        let members: Vec<&Transaction> = world.history.iter().filter(|one| cycle.contains(&one.id)).collect();
        return Err(format!("not serializable: a cycle among {members:#?}"));
    }
    Ok(())
}
