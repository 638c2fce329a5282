//! Work that may take long, away from the threads that serve the node's clients.

use std::sync::Arc;

use stratos_types::{Error, Result};
use tokio::sync::Semaphore;

/// Statements up to this length, in bytes, are parsed and bound on the spot: that is quicker than handing them over.
pub(super) const INLINE_BYTES_MAX: usize = 8 << 10;

/// Runs `work` on another thread when a slot is free. When the future is dropped, work that has begun goes on without
/// anybody waiting for it, and keeps its slot.
///
/// # Errors
/// Those of `work`.
pub(super) async fn away<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let slot = slots.clone().acquire_owned().await.map_err(|_| Error::internal("the planner is closed"))?;
    let task = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        work()
    });
    task.await.map_err(|_| Error::internal("the planner failed"))?
}
