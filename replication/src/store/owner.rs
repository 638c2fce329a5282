//! Locks that belong to a session rather than to one of its transactions.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::{Inner, Store};
use crate::api::{Key, LockMode, TxnId, WaitPolicy};
use crate::error::Result;
use crate::locks::table::{Acquired, Party};

/// Holds locks on names until it lets go of them. Dropping it releases them all.
pub struct LockOwner {
    inner: Arc<Inner>,
    id: TxnId,
    label: u32,
    held: Mutex<HashMap<Key, LockMode, RandomState>>,
}

impl std::fmt::Debug for LockOwner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LockOwner").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Store {
    /// An owner that holds nothing yet; `label` is what those who see it waiting call it.
    pub fn lock_owner(&self, label: u32) -> LockOwner {
        LockOwner { inner: self.inner.clone(), id: self.inner.next_txn_id(), label, held: Mutex::default() }
    }
}

impl LockOwner {
    /// Its name in the lock table.
    pub fn id(&self) -> TxnId {
        self.id
    }

    /// Whose transaction waits for whatever this owner waits for, so that a deadlock over both kinds of locks is found.
    pub fn accompany(&self, transaction: Option<TxnId>) {
        self.inner.locks.part(self.id);
        if let Some(transaction) = transaction {
            self.inner.locks.join(self.id, transaction);
        }
    }

    /// Takes a lock, or makes one that is held stronger; false when the policy is to skip what others hold.
    ///
    /// # Errors
    /// `Deadlock`, `LockTimeout`, `LockNotAvailable`.
    pub async fn acquire(&self, key: &[u8], mode: LockMode, wait: WaitPolicy) -> Result<bool> {
        let party = Party { transaction: self.id, label: self.label };
        match self.inner.locks.acquire(party, key, mode, wait).await? {
            Acquired::Skipped => Ok(false),
            Acquired::Held { .. } => {
                let mut held = self.held.lock();
                let mode = held.get(key).map_or(mode, |before| mode.join(*before));
                held.insert(Key::copy_from_slice(key), mode);
                Ok(true)
            }
        }
    }

    /// Makes a lock that is held weaker; none releases it.
    pub fn weaken(&self, key: &[u8], to: Option<LockMode>) {
        let mut held = self.held.lock();
        let Some(before) = held.get_mut(key) else { return };
        match to {
            Some(mode) if mode.covers(*before) => return,
            Some(mode) => *before = mode,
            None => {
                held.remove(key);
            }
        }
        drop(held);
        self.inner.locks.restore(self.id, key, to);
    }
}

impl Drop for LockOwner {
    fn drop(&mut self) {
        self.inner.locks.part(self.id);
        for key in self.held.get_mut().keys() {
            self.inner.locks.restore(self.id, key, None);
        }
    }
}
