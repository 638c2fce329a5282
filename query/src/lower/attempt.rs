//! The memory of one attempt at a statement: that of all queries, and who of them holds some.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::common::Result as DfResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// How long to wait for an attempt's parts to give back what they hold: between two looks, and how often.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const LOOKS_MAX: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct AttemptPool {
    shared: Arc<dyn MemoryPool>,
    /// Operators that are registered.
    parties: AtomicUsize,
}

impl AttemptPool {
    /// Of the memory that all attempts share.
    pub fn new(shared: Arc<dyn MemoryPool>) -> AttemptPool {
        AttemptPool { shared, parties: AtomicUsize::new(0) }
    }

    /// Waits until no part of the attempt holds memory any more, or long enough: tasks that are aborted go on to their next
    /// pause.
    pub async fn released(&self) {
        for _ in 0..LOOKS_MAX {
            if self.parties.load(Ordering::Acquire) == 0 {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        tracing::debug!("parts of a query that has run out of memory still hold some");
    }
}

impl fmt::Display for AttemptPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} parties", self.shared, self.parties.load(Ordering::Relaxed))
    }
}

impl MemoryPool for AttemptPool {
    fn name(&self) -> &'static str {
        "attempt"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.parties.fetch_add(1, Ordering::AcqRel);
        self.shared.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.shared.unregister(consumer);
        self.parties.fetch_sub(1, Ordering::AcqRel);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        self.shared.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.shared.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.shared.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[tokio::test]
    async fn waits_for_what_is_held() {
        let shared: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let attempt = Arc::new(AttemptPool::new(shared.clone()));
        attempt.released().await;
        let pool: Arc<dyn MemoryPool> = attempt.clone();
        let held = MemoryConsumer::new("join").register(&pool);
        held.try_grow(60).unwrap();
        held.try_grow(60).unwrap_err();
        assert_eq!(shared.reserved(), 60);
        let waiting = tokio::spawn(async move { attempt.released().await });
        tokio::time::sleep(10 * LOOK_EVERY).await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap();
        assert_eq!(shared.reserved(), 0);
    }
}
