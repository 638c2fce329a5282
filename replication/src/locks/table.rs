//! The row lock table of a node: stripes of the sans-IO core under one mutex each, and wake-ups for those who wait.
//!
//! Order of mutexes: the wait registry before a stripe, never two stripes at once. A request that nobody blocks takes one
//! stripe's mutex and nothing else.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::deadlock::find_cycle;
use super::stripe::{Attempt, Grant, Stripe, Ticket};
use crate::api::{Key, LockMode, TxnId, WaitPolicy};
use crate::error::{Error, Result};

/// Stripes of the table; a power of two, well above the number of cores.
const STRIPES: usize = 256;

/// Memory that the row locks of a node may take; a transaction that would exceed it is refused as too large.
pub const ROW_LOCKS_BYTES_MAX: usize = 4 << 30;

/// Memory of one row lock, roughly: its key, its holder and its place in the table.
const ROW_LOCK_BYTES: usize = 128;

/// What a request that did not fail came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// Held now. `previous` is what the transaction held before: a savepoint's rollback goes back to it.
    Held {
        /// `None` when the transaction held nothing on the key.
        previous: Option<LockMode>,
        /// Whether the mode is new: it was weaker or nothing before.
        grown: bool,
    },
    /// Somebody holds it, and the policy was to skip.
    Skipped,
}

/// Counters for the metrics page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LockTableStatistics {
    /// Keys with at least one holder, summed over transactions holding them.
    pub held: u64,
    /// Requests that had to wait since the start.
    pub waits: u64,
    /// Deadlocks that were broken since the start.
    pub deadlocks: u64,
}

/// Who asks for a lock, and what those who see it waiting call it: the number of its session, 0 for nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// The transaction.
    pub transaction: TxnId,
    /// Its label.
    pub label: u32,
}

impl From<TxnId> for Party {
    fn from(transaction: TxnId) -> Self {
        Party { transaction, label: 0 }
    }
}

/// Somebody who waits for a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockWait {
    /// Who waits.
    pub waiter: Party,
    /// For which key.
    pub key: Key,
    /// For which mode.
    pub mode: LockMode,
    /// For whom: holders, and those before it in the queue.
    pub blockers: Vec<TxnId>,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    label: u32,
    mode: LockMode,
    key: Key,
    wake: Option<oneshot::Sender<()>>,
}

/// The row locks of a node.
#[derive(Debug)]
pub struct LockTable {
    stripes: Vec<Mutex<Stripe>>,
    hasher: RandomState,
    /// At most one wait per transaction.
    waiting: Mutex<HashMap<TxnId, Waiting>>,
    /// Pairs that are one party to the deadlock detector, both ways: what one of them waits for holds up the other.
    companions: Mutex<HashMap<TxnId, TxnId>>,
    next_ticket: AtomicU64,
    held: AtomicUsize,
    waits: AtomicU64,
    deadlocks: AtomicU64,
}

impl Default for LockTable {
    fn default() -> Self {
        let mut stripes = Vec::with_capacity(STRIPES);
        stripes.resize_with(STRIPES, Mutex::default);
        LockTable {
            stripes,
            hasher: RandomState::default(),
            waiting: Mutex::default(),
            companions: Mutex::default(),
            next_ticket: AtomicU64::new(1),
            held: AtomicUsize::new(0),
            waits: AtomicU64::new(0),
            deadlocks: AtomicU64::new(0),
        }
    }
}

/// Undoes a wait that ends in any other way than by its grant: a timeout, a deadlock, or a dropped future.
struct WaitGuard<'a> {
    table: &'a LockTable,
    transaction: TxnId,
    key: &'a [u8],
    ticket: Ticket,
    held_before: Option<LockMode>,
    armed: bool,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.table.forget_waiting(self.transaction, self.ticket);
        if self.armed {
            let grants =
                self.table.stripe(self.key).lock().cancel(self.ticket, self.transaction, self.key, self.held_before);
            self.table.wake(grants);
        }
    }
}

impl LockTable {
    fn stripe(&self, key: &[u8]) -> &Mutex<Stripe> {
        let hash = self.hasher.hash_one(key) as usize;
        &self.stripes[hash % STRIPES]
    }

    /// Takes the lock without waiting, or says that somebody is in the way (`None`).
    pub fn try_acquire(&self, transaction: TxnId, key: &[u8], mode: LockMode) -> Result<Option<Acquired>> {
        // The stripe is free again before anything is done about the answer: a lock that is too many is given back.
        let attempt = self.stripe(key).lock().attempt(transaction, key, mode);
        match attempt {
            Attempt::Granted { previous } => {
                let grown = previous.is_none_or(|held| !held.covers(mode));
                if previous.is_none()
                    && self.held.fetch_add(1, Ordering::Relaxed) >= ROW_LOCKS_BYTES_MAX / ROW_LOCK_BYTES
                {
                    self.restore(transaction, key, None);
                    return Err(Error::TransactionTooLarge { limit_bytes: ROW_LOCKS_BYTES_MAX });
                }
                Ok(Some(Acquired::Held { previous, grown }))
            }
            Attempt::Blocked => Ok(None),
        }
    }

    /// Takes the lock, waiting for it as `policy` says.
    ///
    /// # Errors
    /// `LockNotAvailable` under `NoWait` (and when the queue is full), `LockTimeout`, and `Deadlock` when this wait would
    /// close a cycle. A dropped future leaves nothing behind.
    pub async fn acquire(
        &self,
        party: impl Into<Party>,
        key: &[u8],
        mode: LockMode,
        policy: WaitPolicy,
    ) -> Result<Acquired> {
        let party = party.into();
        if let Some(acquired) = self.try_acquire(party.transaction, key, mode)? {
            return Ok(acquired);
        }
        match policy {
            WaitPolicy::NoWait => Err(Error::LockNotAvailable),
            WaitPolicy::SkipLocked => Ok(Acquired::Skipped),
            WaitPolicy::Wait { timeout } => self.wait(party, key, mode, timeout).await,
        }
    }

    async fn wait(&self, party: Party, key: &[u8], mode: LockMode, timeout: Option<Duration>) -> Result<Acquired> {
        let Party { transaction, label } = party;
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (wake, woken) = oneshot::channel();
        let mut guard;
        {
            let mut waiting = self.waiting.lock();
            let held_before;
            {
                let mut stripe = self.stripe(key).lock();
                if let Attempt::Granted { previous } = stripe.attempt(transaction, key, mode) {
                    drop(stripe);
                    if previous.is_none() {
                        self.held.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok(Acquired::Held { previous, grown: true });
                }
                held_before = stripe.held(transaction, key);
                if stripe.enqueue(ticket, transaction, key, mode).is_err() {
                    return Err(Error::LockNotAvailable);
                }
            }
            guard = WaitGuard { table: self, transaction, key, ticket, held_before, armed: true };
            waiting
                .insert(transaction, Waiting { ticket, label, mode, key: Key::copy_from_slice(key), wake: Some(wake) });
            self.waits.fetch_add(1, Ordering::Relaxed);
            let cycle = {
                let companions = self.companions.lock();
                let party = |member: TxnId| companions.get(&member).map_or(member, |other| member.min(*other));
                let sought = party(transaction);
                find_cycle(sought, |member| {
                    let both = [Some(member), companions.get(&member).copied()];
                    let waits = both.into_iter().flatten().filter_map(|id| Some((id, waiting.get(&id)?)));
                    waits
                        .flat_map(|(id, wait)| self.stripe(&wait.key).lock().obstacles(id, &wait.key, sought))
                        .map(party)
                        .collect()
                })
            };
            if let Some(others) = cycle {
                let companions = self.companions.lock().clone();
                let label = |member: &TxnId| {
                    let wait = waiting.get(member).or_else(|| waiting.get(companions.get(member)?));
                    Party { transaction: *member, label: wait.map_or(0, |wait| wait.label) }
                };
                let circle = std::iter::once(&transaction).chain(&others).map(label).collect();
                self.deadlocks.fetch_add(1, Ordering::Relaxed);
                // The guard's drop takes the registry's mutex.
                drop(waiting);
                drop(guard);
                return Err(Error::Deadlock { circle });
            }
        }
        let granted = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, woken).await.map_err(|_| Error::LockTimeout)?,
            None => woken.await,
        };
        if granted.is_err() {
            return Err(Error::ShuttingDown);
        }
        guard.armed = false;
        let previous = guard.held_before;
        drop(guard);
        if previous.is_none() {
            self.held.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Acquired::Held { previous, grown: true })
    }

    /// Goes back to what the transaction held before (`None` releases) and wakes whoever may go on.
    pub fn restore(&self, transaction: TxnId, key: &[u8], previous: Option<LockMode>) {
        let grants = self.stripe(key).lock().restore(transaction, key, previous);
        if previous.is_none() {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
        self.wake(grants);
    }

    /// Makes two transactions one party to the deadlock detector: a session's locks that outlive its transactions, and the
    /// transaction that it is running.
    pub fn join(&self, one: TxnId, other: TxnId) {
        let mut companions = self.companions.lock();
        companions.insert(one, other);
        companions.insert(other, one);
    }

    /// Undoes [`LockTable::join`].
    pub fn part(&self, one: TxnId) {
        let mut companions = self.companions.lock();
        if let Some(other) = companions.remove(&one) {
            companions.remove(&other);
        }
    }

    /// Everybody who waits now.
    pub fn waits(&self) -> Vec<LockWait> {
        let waiting = self.waiting.lock();
        waiting
            .iter()
            .map(|(transaction, wait)| LockWait {
                waiter: Party { transaction: *transaction, label: wait.label },
                key: wait.key.clone(),
                mode: wait.mode,
                blockers: self.stripe(&wait.key).lock().blockers(*transaction, &wait.key),
            })
            .collect()
    }

    /// What the transaction holds on the key.
    pub fn held(&self, transaction: TxnId, key: &[u8]) -> Option<LockMode> {
        self.stripe(key).lock().held(transaction, key)
    }

    /// Counters since the start.
    pub fn statistics(&self) -> LockTableStatistics {
        LockTableStatistics {
            held: self.held.load(Ordering::Relaxed) as u64,
            waits: self.waits.load(Ordering::Relaxed),
            deadlocks: self.deadlocks.load(Ordering::Relaxed),
        }
    }

    fn forget_waiting(&self, transaction: TxnId, ticket: Ticket) {
        let mut waiting = self.waiting.lock();
        if waiting.get(&transaction).is_some_and(|wait| wait.ticket == ticket) {
            waiting.remove(&transaction);
        }
    }

    fn wake(&self, grants: Vec<Grant>) {
        if grants.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for grant in grants {
            if let Some(wait) = waiting.get_mut(&grant.transaction)
                && wait.ticket == grant.ticket
                && let Some(wake) = wait.wake.take()
            {
                // A receiver that is gone is a dropped future: its guard undoes the grant.
                let _gone = wake.send(());
            }
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty() && self.stripes.iter().all(|stripe| stripe.lock().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn wait() -> WaitPolicy {
        WaitPolicy::Wait { timeout: None }
    }

    fn transaction(number: u64) -> TxnId {
        TxnId(number as u128)
    }

    #[test]
    fn the_matrix_is_that_of_postgres() {
        use LockMode::{KeyShare, NoKeyUpdate, Share, Update};
        let rows = [
            (KeyShare, [false, false, false, true]),
            (Share, [false, false, true, true]),
            (NoKeyUpdate, [false, true, true, true]),
            (Update, [true, true, true, true]),
        ];
        for (held, expected) in rows {
            for (asked, conflict) in [KeyShare, Share, NoKeyUpdate, Update].into_iter().zip(expected) {
                assert_eq!(held.conflicts_with(asked), conflict, "{held:?} against {asked:?}");
            }
        }
    }

    #[tokio::test]
    async fn waiters_are_served_in_order() {
        let table = Arc::new(LockTable::default());
        table.acquire(transaction(1), b"k", LockMode::Update, wait()).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 2..6 {
            let (table, order) = (table.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                table.acquire(transaction(number), b"k", LockMode::Update, wait()).await.unwrap();
                order.lock().push(number);
                table.restore(transaction(number), b"k", None);
            }));
            tokio::task::yield_now().await;
        }
        table.restore(transaction(1), b"k", None);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), vec![2, 3, 4, 5]);
        assert!(table.is_empty());
        assert_eq!(table.statistics().held, 0);
    }

    #[tokio::test]
    async fn a_reader_does_not_overtake_a_waiting_writer() {
        let table = LockTable::default();
        table.acquire(transaction(1), b"k", LockMode::Share, wait()).await.unwrap();
        let writer = table.acquire(transaction(2), b"k", LockMode::Update, wait());
        tokio::pin!(writer);
        assert!(futures::poll!(writer.as_mut()).is_pending());
        let reader = table.acquire(transaction(3), b"k", LockMode::Share, WaitPolicy::NoWait).await;
        assert!(matches!(reader, Err(Error::LockNotAvailable)));
        table.restore(transaction(1), b"k", None);
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn two_upgrades_are_a_deadlock_with_one_victim() {
        let table = LockTable::default();
        table.acquire(transaction(1), b"k", LockMode::Share, wait()).await.unwrap();
        table.acquire(transaction(2), b"k", LockMode::Share, wait()).await.unwrap();
        let first = table.acquire(transaction(1), b"k", LockMode::Update, wait());
        tokio::pin!(first);
        assert!(futures::poll!(first.as_mut()).is_pending());
        let second = table.acquire(transaction(2), b"k", LockMode::Update, wait()).await;
        let circle = vec![transaction(2).into(), transaction(1).into()];
        assert!(matches!(second, Err(Error::Deadlock { circle: found }) if found == circle));
        table.restore(transaction(2), b"k", None);
        first.await.unwrap();
        assert_eq!(table.held(transaction(1), b"k"), Some(LockMode::Update));
    }

    #[tokio::test]
    async fn a_cycle_over_three_keys_and_shared_holders_is_found() {
        let table = LockTable::default();
        for number in 1..=3_u64 {
            table.acquire(transaction(number), &[number as u8], LockMode::Share, wait()).await.unwrap();
        }
        // A bystander shares key 2, so the wait for it has two blockers, one of them running.
        table.acquire(transaction(9), &[2], LockMode::KeyShare, wait()).await.unwrap();
        let party = |number: u64| Party { transaction: transaction(number), label: number as u32 * 10 };
        let one = table.acquire(party(1), &[2], LockMode::Update, wait());
        let two = table.acquire(party(2), &[3], LockMode::Update, wait());
        tokio::pin!(one, two);
        assert!(futures::poll!(one.as_mut()).is_pending());
        assert!(futures::poll!(two.as_mut()).is_pending());
        let mut waits = table.waits();
        waits.sort_by_key(|wait| wait.waiter.label);
        assert_eq!(waits.iter().map(|wait| wait.waiter).collect::<Vec<_>>(), [party(1), party(2)]);
        assert_eq!(waits[0].blockers, [transaction(2), transaction(9)]);
        let three = table.acquire(party(3), &[1], LockMode::Update, wait()).await;
        let circle = vec![party(3), party(1), party(2)];
        assert!(matches!(three, Err(Error::Deadlock { circle: found }) if found == circle));
        table.restore(transaction(3), &[3], None);
        two.await.unwrap();
    }

    #[tokio::test]
    async fn a_cycle_through_the_queue_is_found() {
        let table = LockTable::default();
        table.acquire(transaction(1), b"a", LockMode::Share, wait()).await.unwrap();
        table.acquire(transaction(3), b"b", LockMode::Update, wait()).await.unwrap();
        let two = table.acquire(transaction(2), b"a", LockMode::Update, wait());
        // Only who waits before it keeps it from the key.
        let three = table.acquire(transaction(3), b"a", LockMode::Share, wait());
        tokio::pin!(two, three);
        assert!(futures::poll!(two.as_mut()).is_pending());
        assert!(futures::poll!(three.as_mut()).is_pending());
        let one = table.acquire(transaction(1), b"b", LockMode::Share, wait()).await;
        assert!(matches!(one, Err(Error::Deadlock { .. })));
        table.restore(transaction(1), b"a", None);
        two.await.unwrap();
        table.restore(transaction(2), b"a", None);
        three.await.unwrap();
    }

    #[tokio::test]
    async fn a_long_queue_is_joined_and_left_in_little_time() {
        const WAITERS: u64 = 3000;
        let begin = std::time::Instant::now();
        let table = LockTable::default();
        table.acquire(transaction(1), b"k", LockMode::Update, wait()).await.unwrap();
        let mut waiters = Vec::new();
        for number in 2..WAITERS {
            // Each holds something else, as those do who have done something before.
            table.acquire(transaction(number), &number.to_be_bytes(), LockMode::Update, wait()).await.unwrap();
            let mut waiter = Box::pin(table.acquire(transaction(number), b"k", LockMode::NoKeyUpdate, wait()));
            assert!(futures::poll!(waiter.as_mut()).is_pending());
            waiters.push(waiter);
        }
        // In any order.
        while let Some(waiter) = waiters.pop() {
            drop(waiter);
            if !waiters.is_empty() {
                drop(waiters.swap_remove(waiters.len() / 2));
            }
        }
        table.restore(transaction(1), b"k", None);
        table.acquire(transaction(2), b"k", LockMode::Update, wait()).await.unwrap();
        // The search for deadlocks looked through the whole queue for each of its members: minutes.
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn a_cycle_through_a_companion_is_found() {
        let table = LockTable::default();
        // Session A: transaction 1 and its long-lived locks 11. Session B: transaction 2 and 12.
        table.join(transaction(1), transaction(11));
        table.join(transaction(2), transaction(12));
        table.acquire(transaction(1), b"row", LockMode::Update, wait()).await.unwrap();
        table.acquire(transaction(12), b"name", LockMode::Update, wait()).await.unwrap();
        let one = table.acquire(transaction(11), b"name", LockMode::Update, wait());
        tokio::pin!(one);
        assert!(futures::poll!(one.as_mut()).is_pending());
        let two = table.acquire(transaction(2), b"row", LockMode::Update, wait()).await;
        assert!(matches!(two, Err(Error::Deadlock { .. })));
        table.part(transaction(12));
        table.restore(transaction(12), b"name", None);
        one.await.unwrap();
    }

    #[test]
    fn a_lock_that_is_too_many_is_refused_and_leaves_nothing() {
        let table = LockTable::default();
        table.held.store(ROW_LOCKS_BYTES_MAX / ROW_LOCK_BYTES, Ordering::Relaxed);
        let refused = table.try_acquire(transaction(1), b"k", LockMode::Update);
        assert!(matches!(refused, Err(Error::TransactionTooLarge { .. })));
        assert!(table.is_empty());
        assert_eq!(table.statistics().held as usize, ROW_LOCKS_BYTES_MAX / ROW_LOCK_BYTES);
    }

    #[tokio::test]
    async fn a_dropped_wait_leaves_nothing() {
        let table = LockTable::default();
        table.acquire(transaction(1), b"k", LockMode::Update, wait()).await.unwrap();
        {
            let waiting = table.acquire(transaction(2), b"k", LockMode::Update, wait());
            tokio::pin!(waiting);
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            // Granted, but never polled again: the grant must be undone.
            table.restore(transaction(1), b"k", None);
            assert_eq!(table.held(transaction(2), b"k"), Some(LockMode::Update));
        }
        assert!(table.is_empty());
        table.acquire(transaction(1), b"k", LockMode::Update, wait()).await.unwrap();
        {
            let waiting = table.acquire(transaction(2), b"k", LockMode::Update, wait());
            tokio::pin!(waiting);
            assert!(futures::poll!(waiting.as_mut()).is_pending());
        }
        table.restore(transaction(1), b"k", None);
        assert!(table.is_empty());
        assert_eq!(table.statistics().held, 0);
    }

    #[tokio::test]
    async fn a_timeout_is_reported_and_undone() {
        let table = LockTable::default();
        table.acquire(transaction(1), b"k", LockMode::Update, wait()).await.unwrap();
        let policy = WaitPolicy::Wait { timeout: Some(Duration::from_millis(5)) };
        let second = table.acquire(transaction(2), b"k", LockMode::Share, policy).await;
        assert!(matches!(second, Err(Error::LockTimeout)));
        table.restore(transaction(1), b"k", None);
        assert!(table.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn update_locks_exclude_each_other_under_load() {
        let table = Arc::new(LockTable::default());
        let inside: Arc<Vec<AtomicUsize>> = Arc::new((0..4).map(|_| AtomicUsize::new(0)).collect());
        let mut tasks = Vec::new();
        for number in 0..8_u64 {
            let (table, inside) = (table.clone(), inside.clone());
            tasks.push(tokio::spawn(async move {
                for turn in 0..500_u64 {
                    let key = (number * 7 + turn) % 4;
                    let id = transaction(number + 1);
                    table.acquire(id, &[key as u8], LockMode::Update, wait()).await.unwrap();
                    assert_eq!(inside[key as usize].fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside[key as usize].fetch_sub(1, Ordering::SeqCst);
                    table.restore(id, &[key as u8], None);
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert!(table.is_empty());
        assert_eq!(table.statistics().held, 0);
    }
}
