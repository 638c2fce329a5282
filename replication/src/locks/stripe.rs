//! The sans-IO core of the row lock table: who holds a key, who waits for it, who is next.
//!
//! # Rules
//! * A request is granted when it conflicts with no other holder and with nobody who waits before it: FIFO, so a stream of
//!   readers cannot starve a writer.
//! * A transaction that already holds the key and asks for a stronger mode (an upgrade) waits only for the other holders and
//!   stands before everybody who holds nothing: they wait for it anyway, so standing behind them would be a deadlock.
//! * Any two modes have a join, which conflicts with exactly what either conflicts with ([`LockMode::join`]): the stronger
//!   one, but for SHARE and the lesser EXCLUSIVE modes of tables. So one mode per holder, and one for all those ahead, say
//!   everything.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::api::{Key, LockMode, TxnId};

/// How many requests may wait for one key. Beyond it a request is refused rather than queued.
pub const WAITERS_PER_KEY_MAX: usize = 10_000;

/// Names one waiting request; unique within a table.
pub type Ticket = u64;

#[derive(Debug, Clone, Copy)]
struct Holder {
    transaction: TxnId,
    mode: LockMode,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    ticket: Ticket,
    transaction: TxnId,
    mode: LockMode,
    /// What the transaction held when it queued; restored if the wait is given up after the grant.
    held_before: Option<LockMode>,
}

/// One holder is the common case and costs no allocation of its own.
#[derive(Debug, Default)]
struct Holders {
    first: Option<Holder>,
    others: Vec<Holder>,
}

impl Holders {
    fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.first.iter().chain(self.others.iter())
    }

    fn mode_of(&self, transaction: TxnId) -> Option<LockMode> {
        self.iter().find(|holder| holder.transaction == transaction).map(|holder| holder.mode)
    }

    fn set(&mut self, transaction: TxnId, mode: LockMode) {
        match &mut self.first {
            None => self.first = Some(Holder { transaction, mode }),
            Some(first) if first.transaction == transaction => first.mode = mode,
            Some(_) => match self.others.iter_mut().find(|holder| holder.transaction == transaction) {
                Some(holder) => holder.mode = mode,
                None => self.others.push(Holder { transaction, mode }),
            },
        }
    }

    fn remove(&mut self, transaction: TxnId) -> bool {
        if self.first.is_some_and(|holder| holder.transaction == transaction) {
            self.first = self.others.pop();
            return true;
        }
        match self.others.iter().position(|holder| holder.transaction == transaction) {
            Some(at) => {
                self.others.swap_remove(at);
                true
            }
            None => false,
        }
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

#[derive(Debug, Default)]
struct Entry {
    holders: Holders,
    #[allow(clippy::box_collection, reason = "hardly any key has waiters, and the table is large")]
    waiters: Option<Box<VecDeque<Waiter>>>,
}

impl Entry {
    fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.waiters.iter().flat_map(|queue| queue.iter())
    }

    /// Whether `transaction` could hold `mode` next to the present holders.
    fn fits(&self, transaction: TxnId, mode: LockMode) -> bool {
        !self.holders.iter().any(|holder| holder.transaction != transaction && holder.mode.conflicts_with(mode))
    }

    /// Grants whatever can be granted, in queue order.
    fn advance(&mut self) -> Vec<Grant> {
        let mut grants = Vec::new();
        let Some(mut queue) = self.waiters.take() else { return grants };
        let mut kept = VecDeque::new();
        let mut ahead: Option<LockMode> = None;
        for waiter in queue.drain(..) {
            let overtaken =
                waiter.held_before.is_none() && ahead.is_some_and(|ahead| ahead.conflicts_with(waiter.mode));
            if !overtaken && self.fits(waiter.transaction, waiter.mode) {
                let mode = match self.holders.mode_of(waiter.transaction) {
                    Some(held) => held.join(waiter.mode),
                    None => waiter.mode,
                };
                self.holders.set(waiter.transaction, mode);
                grants.push(Grant { ticket: waiter.ticket, transaction: waiter.transaction });
            } else {
                ahead = Some(ahead.map_or(waiter.mode, |ahead| ahead.join(waiter.mode)));
                kept.push_back(waiter);
            }
        }
        if !kept.is_empty() {
            *queue = kept;
            self.waiters = Some(queue);
        }
        grants
    }

    fn is_unused(&self) -> bool {
        self.holders.is_empty() && self.waiters.is_none()
    }
}

/// A waiting request that now holds its lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The request, as it was queued.
    pub ticket: Ticket,
    /// Whose request it is.
    pub transaction: TxnId,
}

/// The answer to a request that does not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The lock is held now; `previous` is what the transaction held on the key before.
    Granted {
        /// The mode to go back to when a savepoint is rolled back; `None` releases.
        previous: Option<LockMode>,
    },
    /// Somebody else is in the way.
    Blocked,
}

/// A request was refused because too many wait for the key already ([`WAITERS_PER_KEY_MAX`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

/// One stripe of the lock table. Pure: no clock, no wake-ups, no randomness.
#[derive(Debug, Default)]
pub struct Stripe {
    entries: HashMap<Key, Entry, RandomState>,
}

impl Stripe {
    /// Takes the lock if nobody is in the way.
    pub fn attempt(&mut self, transaction: TxnId, key: &[u8], mode: LockMode) -> Attempt {
        let Some(entry) = self.entries.get_mut(key) else {
            let mut entry = Entry::default();
            entry.holders.set(transaction, mode);
            self.entries.insert(Key::copy_from_slice(key), entry);
            return Attempt::Granted { previous: None };
        };
        let held = entry.holders.mode_of(transaction);
        if let Some(held) = held
            && held.covers(mode)
        {
            return Attempt::Granted { previous: Some(held) };
        }
        let mode = held.map_or(mode, |held| held.join(mode));
        let overtakes = held.is_none() && entry.waiters().any(|waiter| waiter.mode.conflicts_with(mode));
        if overtakes || !entry.fits(transaction, mode) {
            return Attempt::Blocked;
        }
        entry.holders.set(transaction, mode);
        Attempt::Granted { previous: held }
    }

    /// Queues a request that [`Stripe::attempt`] just refused.
    pub fn enqueue(&mut self, ticket: Ticket, transaction: TxnId, key: &[u8], mode: LockMode) -> Result<(), QueueFull> {
        let entry = self.entries.entry(Key::copy_from_slice(key)).or_default();
        let held_before = entry.holders.mode_of(transaction);
        let mode = held_before.map_or(mode, |held| held.join(mode));
        let queue = entry.waiters.get_or_insert_default();
        if queue.len() >= WAITERS_PER_KEY_MAX {
            return Err(QueueFull);
        }
        let waiter = Waiter { ticket, transaction, mode, held_before };
        if held_before.is_some() {
            let behind_upgrades = queue.iter().take_while(|waiter| waiter.held_before.is_some()).count();
            queue.insert(behind_upgrades, waiter);
        } else {
            queue.push_back(waiter);
        }
        Ok(())
    }

    /// What the transaction holds on the key.
    pub fn held(&self, transaction: TxnId, key: &[u8]) -> Option<LockMode> {
        self.entries.get(key)?.holders.mode_of(transaction)
    }

    /// Sets what the transaction holds on the key to `mode` (`None` releases it): the end of a transaction, or a rollback
    /// to a savepoint. Must not be stronger than what is held now.
    pub fn restore(&mut self, transaction: TxnId, key: &[u8], mode: Option<LockMode>) -> Vec<Grant> {
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        match mode {
            Some(mode) => {
                debug_assert!(entry.holders.mode_of(transaction).is_none_or(|held| held.covers(mode)));
                if entry.holders.mode_of(transaction).is_some() {
                    entry.holders.set(transaction, mode);
                }
            }
            None => {
                entry.holders.remove(transaction);
            }
        }
        let grants = entry.advance();
        if entry.is_unused() {
            self.entries.remove(key);
        }
        grants
    }

    /// Gives up a queued request. If it was granted meanwhile, the grant is undone, so nothing of it remains either way.
    /// `held_before` is what the transaction held when it queued.
    pub fn cancel(
        &mut self,
        ticket: Ticket,
        transaction: TxnId,
        key: &[u8],
        held_before: Option<LockMode>,
    ) -> Vec<Grant> {
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        let queued = entry.waiters.as_mut().and_then(|queue| {
            let at = queue.iter().position(|waiter| waiter.ticket == ticket)?;
            queue.remove(at)
        });
        if queued.is_none() {
            return self.restore(transaction, key, held_before);
        }
        let grants = entry.advance();
        if entry.waiters.as_ref().is_some_and(|queue| queue.is_empty()) {
            entry.waiters = None;
        }
        if entry.is_unused() {
            self.entries.remove(key);
        }
        grants
    }

    /// Whom a waiting transaction waits for on this key: the conflicting holders, and those ahead of it in the queue that
    /// conflict. Nobody when it does not wait here.
    pub fn blockers(&self, transaction: TxnId, key: &[u8]) -> Vec<TxnId> {
        let Some(entry) = self.entries.get(key) else { return Vec::new() };
        let Some(own) = entry.waiters().find(|waiter| waiter.transaction == transaction) else { return Vec::new() };
        let mut blockers: Vec<TxnId> = entry
            .holders
            .iter()
            .filter(|holder| holder.transaction != transaction && holder.mode.conflicts_with(own.mode))
            .map(|holder| holder.transaction)
            .collect();
        blockers.extend(
            entry
                .waiters()
                .take_while(|waiter| waiter.ticket != own.ticket)
                .filter(|waiter| waiter.transaction != transaction && waiter.mode.conflicts_with(own.mode))
                .map(|waiter| waiter.transaction),
        );
        blockers.sort_unstable();
        blockers.dedup();
        blockers
    }

    /// Who must come to an end before a waiting transaction can have this key, for the search for deadlocks: the holders that
    /// are in the way of the transaction or of anybody whom it waits for in the queue, and `sought` if that is one of the
    /// latter. Those ahead in the queue wait for nothing but the key, so what lies behind them is all here, and a long queue is
    /// looked through once and not for each of its members.
    pub fn obstacles(&self, transaction: TxnId, key: &[u8], sought: TxnId) -> Vec<TxnId> {
        let Some(entry) = self.entries.get(key) else { return Vec::new() };
        let ahead: Vec<&Waiter> = entry.waiters().take_while(|waiter| waiter.transaction != transaction).collect();
        let Some(own) = entry.waiters().nth(ahead.len()) else { return Vec::new() };
        let mut obstacles = Vec::new();
        let mut mode = own.mode;
        for waiter in ahead.into_iter().rev().filter(|waiter| waiter.transaction != transaction) {
            if waiter.mode.conflicts_with(mode) {
                mode = mode.join(waiter.mode);
                // Who waits for a stronger lock is a holder besides.
                if waiter.transaction == sought || waiter.held_before.is_some() {
                    obstacles.push(waiter.transaction);
                }
            }
        }
        let holders = entry.holders.iter().filter(|holder| holder.transaction != transaction);
        obstacles.extend(holders.filter(|holder| holder.mode.conflicts_with(mode)).map(|holder| holder.transaction));
        obstacles.sort_unstable();
        obstacles.dedup();
        obstacles
    }

    /// How many keys are locked in this stripe.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is locked and nobody waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
