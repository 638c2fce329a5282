//! Throwing away log entries that the state machine has brought to the disk, and keeping an eye on the disk's free space.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use openraft::async_runtime::watch::WatchReceiver as _;

use super::group::Group;
use super::groups::Inner;
use super::types;
use crate::error::{Error, Result};

/// How long a purge waits for openraft to take note of a snapshot.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the free space of the disk is looked at.
const SPACE_INTERVAL: Duration = Duration::from_millis(500);

/// Purges from time to time, until the groups are gone.
pub(super) async fn run(groups: Weak<Inner>) {
    loop {
        let Some(inner) = groups.upgrade() else { return };
        let interval = inner.config.maintenance_interval;
        drop(inner);
        tokio::time::sleep(interval).await;
        let Some(inner) = groups.upgrade() else { return };
        if inner.closing.load(Relaxed) {
            return;
        }
        if let Err(error) = round(&inner).await {
            tracing::warn!(%error, "cannot purge the log");
        }
    }
}

/// Looks how much of the disk is free from time to time, until the groups are gone.
pub(super) async fn watch_space(groups: Weak<Inner>) {
    while let Some(inner) = groups.upgrade() {
        if inner.closing.load(Relaxed) {
            return;
        }
        inner.log.look_at_space();
        drop(inner);
        tokio::time::sleep(SPACE_INTERVAL).await;
    }
}

async fn round(inner: &Arc<Inner>) -> Result<()> {
    if inner.log.metrics().segments > inner.config.log_segments_max {
        let target = Arc::clone(&inner.target);
        let flushed = tokio::task::spawn_blocking(move || target.flush()).await;
        flushed.map_err(|error| Error::Io { context: "flush", message: error.to_string() })??;
    }
    purge_flushed(inner).await
}

/// Purges every group up to what the target has flushed. A group that is alone keeps nothing, because
/// nobody but its own restart would read it; others keep some for followers that lag.
pub(super) async fn purge_flushed(inner: &Arc<Inner>) -> Result<()> {
    let groups: Vec<_> = inner.groups.read().values().cloned().collect();
    let mut purges = Vec::new();
    for group in groups {
        let Some(flushed) = inner.target.flushed(group.shard)? else { continue };
        let kept = match group.alone.load(Relaxed) {
            true => 0,
            false => inner.config.entries_kept_for_followers,
        };
        let purged = group.log.state().purged.map_or(0, |purged| purged.index + 1);
        if let Some(upto) = flushed.index.checked_sub(kept).filter(|upto| *upto >= purged) {
            purges.push(async move { purge(&group, upto).await });
        }
    }
    for result in join_all(purges).await {
        if let Err(error) = result {
            tracing::debug!(%error, "a group was not purged");
        }
    }
    Ok(())
}

/// openraft purges only what a snapshot covers: it is told of one first.
async fn purge(group: &Group, upto: u64) -> Result<()> {
    let stopped = |error: &dyn std::error::Error| Error::Io { context: "purge", message: error.to_string() };
    let covered = |snapshot: &Option<types::LogId>| snapshot.as_ref().is_some_and(|id| id.index >= upto);
    let metrics = group.raft.metrics();
    let known = covered(&metrics.borrow_watched().snapshot);
    if !known {
        group.raft.trigger().snapshot().await.map_err(|error| stopped(&error))?;
        group
            .raft
            .wait(Some(SNAPSHOT_TIMEOUT))
            .metrics(|metrics| covered(&metrics.snapshot), "snapshot before purge")
            .await
            .map_err(|error| stopped(&error))?;
    }
    group.raft.trigger().purge_log(upto).await.map_err(|error| stopped(&error))
}
