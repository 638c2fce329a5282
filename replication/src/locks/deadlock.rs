//! Finding a cycle in the waits-for graph.
//!
//! Edges are not stored: the caller computes "whom does this transaction wait for" from the queues as they are now, so the
//! graph can never disagree with the table. A cycle can only be closed by a transaction that starts to wait (a transaction
//! that is granted something is running and waits for nobody), so searching once, from the new waiter, finds every deadlock.

use std::collections::BTreeMap;

use crate::api::TxnId;

/// How many transactions one search visits before it gives up and reports no deadlock: a bound on the time that the
/// search holds the wait registry. A cycle longer than this is broken by lock timeouts.
pub const SEARCH_TRANSACTIONS_MAX: usize = 100_000;

/// Searches for a cycle through `start` and returns its members after `start` in waits-for order (the last one waits for
/// `start`), or `None`. `blockers` names the transactions for which its argument waits; nobody for a running one.
pub fn find_cycle(start: TxnId, mut blockers: impl FnMut(TxnId) -> Vec<TxnId>) -> Option<Vec<TxnId>> {
    // `came_from` doubles as the set of visited transactions; a BTreeMap keeps the search deterministic for the simulator.
    let mut came_from: BTreeMap<TxnId, TxnId> = BTreeMap::new();
    let mut stack: Vec<TxnId> = vec![start];
    while let Some(transaction) = stack.pop() {
        for blocker in blockers(transaction) {
            if blocker == start {
                let mut members = Vec::new();
                let mut at = transaction;
                while at != start {
                    members.push(at);
                    match came_from.get(&at) {
                        Some(previous) => at = *previous,
                        None => break,
                    }
                }
                members.reverse();
                return Some(members);
            }
            if came_from.len() < SEARCH_TRANSACTIONS_MAX && !came_from.contains_key(&blocker) {
                came_from.insert(blocker, transaction);
                stack.push(blocker);
            }
        }
    }
    None
}
