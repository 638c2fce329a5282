//! How a commit ends: the one order in which its timestamp is given back, others are told, and its row locks go.
//!
//! 1. Those who watch its keys are told: whoever finds the commit in a snapshot finds that he was told of it, too.
//! 2. The timestamp is finished. Once that of every earlier commit is, snapshots have the commit.
//! 3. They are told again: who looked between the first time and now, looked at a snapshot without it.
//! 4. The row locks are released: whoever has waited for one finds what the commit wrote.
//!
//! Then the client may be told. None of it is lost when nobody waits for the end any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Inner;
use super::routing::Shard;
use super::transaction::HeldLocks;
use crate::api::{Key, Timestamp};

/// The command at `timestamp` is applied, or never will be: gives the timestamp back.
pub(super) fn close(inner: &Inner, shard: &Shard, timestamp: Timestamp) {
    for ready in shard.leader.lock().applied(timestamp) {
        // The validation may have been given up.
        let _gone = ready.send(());
    }
    inner.oracle.finish(timestamp);
}

/// A commit that has happened and is not ended yet. When it is dropped, it ends behind.
pub(super) struct Ending {
    inner: Arc<Inner>,
    committed: Timestamp,
    /// Those of its keys that are watched.
    watched: Vec<Key>,
    /// How many keys were watched in all when it began.
    watchers: usize,
    held: Option<HeldLocks>,
    ended: bool,
}

impl Ending {
    /// Begins to end a commit at `committed`, proposed at `ticket` to `shard`. `wrote` tells whether a key is among those
    /// that it wrote.
    pub(super) fn begin(
        inner: &Arc<Inner>,
        shard: &Shard,
        ticket: Timestamp,
        committed: Timestamp,
        wrote: impl Fn(&Key) -> bool,
        held: Option<HeldLocks>,
    ) -> Ending {
        inner.commits.fetch_add(1, Ordering::Relaxed);
        let watchers = inner.watched.load(Ordering::Acquire);
        let mut watched = Vec::new();
        if watchers > 0 {
            watched.extend(inner.watchers.lock().keys().filter(|key| wrote(key)).cloned());
            inner.tell_watchers(|key| watched.contains(key), |changes| changes.under_way += 1);
        }
        close(inner, shard, ticket);
        Ending { inner: inner.clone(), committed, watched, watchers, held, ended: false }
    }

    /// Returns when snapshots have the commit and everybody was told.
    pub(super) async fn end(mut self) {
        self.inner.oracle.acknowledged(self.committed).await;
        self.conclude();
    }

    fn conclude(&mut self) {
        self.ended = true;
        if !self.watched.is_empty() {
            self.inner.tell_watchers(|key| self.watched.contains(key), |changes| changes.under_way -= 1);
        }
        if self.inner.watched.load(Ordering::Acquire) != self.watchers {
            // Who began to watch meanwhile may have looked too early, too.
            self.inner.tell_watchers(|key| !self.watched.contains(key), |_| ());
        }
        self.held = None;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut rest = Ending {
            inner: self.inner.clone(),
            committed: self.committed,
            watched: std::mem::take(&mut self.watched),
            watchers: self.watchers,
            held: self.held.take(),
            ended: false,
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(rest.end())),
            // The process ends, and nobody is left to be told.
            Err(_) => rest.ended = true,
        }
    }
}
