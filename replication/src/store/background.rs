//! What goes on by itself: timestamps reserved ahead, garbage collection, leftovers of dead coordinators, splits by size.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::settle::{clear_locks, submit};
use super::{Inner, Store};
use crate::api::{Span, Timestamp};
use crate::command::{Command, CommandResult};
use crate::error::Result;

/// Pause between looks at the oracle's window, well below its length.
const RESERVE_EVERY: Duration = Duration::from_millis(500);
/// Shortest and longest pause between rounds of housekeeping.
const HOUSEKEEPING_EVERY_MIN: Duration = Duration::from_millis(200);
const HOUSEKEEPING_EVERY_MAX: Duration = Duration::from_secs(30);
/// Leftover locks that one round looks at.
const LEFTOVERS_PER_ROUND_MAX: usize = 1000;

/// Starts the tasks. They end when the store is shut down or dropped.
pub(super) fn start(inner: &Arc<Inner>) {
    tokio::spawn(reserve(Arc::downgrade(inner), inner.stop.subscribe()));
    if inner.options.housekeeping {
        tokio::spawn(housekeeping(Arc::downgrade(inner), inner.stop.subscribe()));
    }
}

async fn pause(stop: &mut tokio::sync::watch::Receiver<bool>, duration: Duration) -> bool {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => false,
        () = tokio::time::sleep(duration) => true,
    }
}

async fn reserve(inner: Weak<Inner>, mut stop: tokio::sync::watch::Receiver<bool>) {
    let mut draws = 0;
    while pause(&mut stop, RESERVE_EVERY).await {
        let Some(inner) = inner.upgrade() else { return };
        if inner.oracle.runs_low(&mut draws)
            && let Err(error) = inner.reserve_timestamps().await
        {
            tracing::warn!(%error, "timestamps cannot be reserved ahead");
        }
    }
}

async fn housekeeping(inner: Weak<Inner>, mut stop: tokio::sync::watch::Receiver<bool>) {
    let mut quiet = Quiet::default();
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let every = (strong.options.gc_window / 10).clamp(HOUSEKEEPING_EVERY_MIN, HOUSEKEEPING_EVERY_MAX);
        drop(strong);
        if !pause(&mut stop, every).await {
            return;
        }
        let Some(inner) = inner.upgrade() else { return };
        for (what, result) in [
            ("starting groups", inner.start_missing().await),
            ("resolving leftover locks", inner.resolve_leftovers().await),
            ("advancing garbage collection", inner.advance_gc(&mut quiet).await),
            ("dropping what was loaded for nothing", inner.abandon_loads().await),
            ("dropping ranges", inner.drop_due_spans().await),
            ("splitting large shards", inner.split_large().await),
        ] {
            if let Err(error) = result {
                tracing::warn!(%error, "{what} failed; it will be tried again");
            }
        }
    }
}

/// Whether garbage collection has caught up with a node that does nothing any more.
#[derive(Default)]
struct Quiet {
    commits: u64,
    /// The watermark when the number of commits was last seen to change.
    since: Timestamp,
    caught_up: bool,
}

impl Inner {
    /// Finishes the work of coordinators that died with an earlier process.
    async fn resolve_leftovers(&self) -> Result<()> {
        if !self.data.any_locks() {
            return Ok(());
        }
        for shard in self.routing.all() {
            let abandoned = |txn| !self.is_coordinating(txn);
            for lock in self.data.locks_of(&shard.descriptor.span, &abandoned, LEFTOVERS_PER_ROUND_MAX) {
                let within = Span::key(&lock.key);
                clear_locks(self, &lock.into(), &within).await?;
            }
        }
        Ok(())
    }

    /// Moves the threshold of garbage collection: the window behind the present, below every snapshot in use and every lock.
    async fn advance_gc(&self, quiet: &mut Quiet) -> Result<()> {
        let commits = self.commits.load(std::sync::atomic::Ordering::Relaxed);
        if commits != quiet.commits {
            *quiet = Quiet { commits, since: self.oracle.watermark(), caught_up: false };
        }
        if quiet.caught_up {
            return Ok(());
        }
        let now = self.now().await?;
        let mut threshold = now.saturating_sub(self.options.gc_window).min(self.oracle.watermark());
        threshold = threshold.min(self.pins.oldest().unwrap_or(Timestamp::MAX));
        threshold = threshold.min(self.data.oldest_lock_start().unwrap_or(Timestamp::MAX));
        let mut reached = true;
        for shard in self.routing.all() {
            let descriptor = &shard.descriptor;
            if self.data.gc_threshold(descriptor.shard)? >= threshold {
                continue;
            }
            let command = Command::AdvanceGc { threshold }.encode(descriptor.epoch);
            match submit(self, descriptor.shard, command).await? {
                CommandResult::Moment { ts } => reached &= ts >= threshold,
                other => {
                    reached = false;
                    tracing::debug!(?other, shard = %descriptor.shard, "the threshold was not advanced");
                }
            }
        }
        // The last commits before a quiet time must become collectable too: go on until the threshold has passed them.
        quiet.caught_up = reached && threshold > quiet.since;
        Ok(())
    }

    /// Splits shards that have outgrown the limit.
    async fn split_large(self: &Arc<Self>) -> Result<()> {
        for shard in self.routing.all() {
            let id = shard.descriptor.shard;
            if self.data.shard_size(id)?.bytes <= self.options.split_bytes {
                continue;
            }
            let data = self.data.clone();
            let middle = tokio::task::spawn_blocking(move || data.middle(id)).await;
            let Ok(middle) = middle else { return Ok(()) };
            if let Some(key) = middle?
                && shard.descriptor.span.start != key
            {
                let new = Store { inner: self.clone() }.split_at(key).await?;
                tracing::info!(%id, %new, "split a shard by its size");
            }
        }
        Ok(())
    }
}
