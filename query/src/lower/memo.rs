//! What parts of a statement gave for values of outer columns, remembered within a bound of bytes.

use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool};

use crate::cache::Cache;

/// The part of the queries' memory that one memo may fill, and the most that it does.
const POOL_DIVISOR: usize = 64;
const BYTES_MAX: usize = 8 << 20;
/// What an entry costs beside its key and its value.
const ENTRY_BYTES: usize = 128;

/// Results by what they were computed from. Each holds the memory that is set aside for it: what falls out gives it back.
#[derive(Debug)]
pub(crate) struct Memo<V> {
    entries: Cache<String, (Arc<V>, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl<V> Memo<V> {
    /// For up to so many results, and its part of a pool's bytes.
    pub fn new(entries_max: usize, pool: &Arc<dyn MemoryPool>) -> Self {
        let bytes_max = match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => (bytes / POOL_DIVISOR).min(BYTES_MAX),
            MemoryLimit::Infinite | MemoryLimit::Unknown => BYTES_MAX,
        };
        Memo { entries: Cache::new(entries_max), bytes: 0, bytes_max }
    }

    /// The result for a key, if it is remembered.
    pub fn get(&mut self, key: &str) -> Option<Arc<V>> {
        self.entries.get(key).map(|(value, _)| value.clone())
    }

    /// Remembers a result of so many bytes in place of others, unless it is too large for that.
    pub fn insert(&mut self, key: String, value: Arc<V>, bytes: usize) {
        let bytes = bytes + key.len() + ENTRY_BYTES;
        if bytes > self.bytes_max {
            return;
        }
        while self.bytes + bytes > self.bytes_max
            && let Some((_, gone)) = self.entries.pop()
        {
            self.bytes = self.bytes.saturating_sub(gone);
        }
        if let Some((_, gone)) = self.entries.insert(key, (value, bytes)) {
            self.bytes = self.bytes.saturating_sub(gone);
        }
        self.bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn bytes_are_bounded_whatever_their_number() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(POOL_DIVISOR * 10_000));
        let mut memo = Memo::new(1000, &pool);
        for n in 0..100 {
            memo.insert(format!("{n:02}"), Arc::new(n), 1000 - ENTRY_BYTES - 2);
            assert!(memo.bytes <= 10_000, "{} bytes after {n}", memo.bytes);
            assert_eq!(memo.get(&format!("{n:02}")), Some(Arc::new(n)));
        }
        assert_eq!((0..100).filter(|n| memo.get(&format!("{n:02}")).is_some()).count(), 10);
        // One that leaves no room for the others is not remembered.
        memo.insert("large".to_owned(), Arc::new(0), 10_000);
        assert_eq!(memo.get("large"), None);
        // In the place of itself it is counted once.
        for _ in 0..50 {
            memo.insert("99".to_owned(), Arc::new(7), 1000 - ENTRY_BYTES - 2);
        }
        assert_eq!(memo.get("99"), Some(Arc::new(7)));
        let left = (0..100).filter(|n| memo.get(&format!("{n:02}")).is_some()).count();
        assert_eq!(memo.bytes, 1000 * left);
    }

    #[test]
    fn numbers_are_bounded_too() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 30));
        let mut memo = Memo::new(4, &pool);
        for n in 0..100 {
            memo.insert(n.to_string(), Arc::new(n), 1);
        }
        assert_eq!((0..100).filter(|n| memo.get(&n.to_string()).is_some()).count(), 4);
        assert!(memo.bytes <= 4 * (ENTRY_BYTES + 3));
    }
}
