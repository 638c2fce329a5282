//! What compactions may drop.
//!
//! A threshold becomes known here only after the flush that made it durable. Otherwise a compaction could drop
//! a version by a threshold that a crash then forgets, and the log entries applied again after the restart
//! would be judged against less than the first time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::Family;
use crate::api::{Key, Timestamp};
use crate::mvcc::record;

/// A threshold that holds for a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcRange {
    /// First key.
    pub start: Key,
    /// First key after the range.
    pub end: Key,
    /// No snapshot below this is read any more.
    pub threshold: Timestamp,
}

/// Thresholds of all ranges. Keys outside all ranges are kept.
#[derive(Debug, Default)]
pub struct GcThresholds {
    ranges: RwLock<Arc<Vec<GcRange>>>,
    dropped: AtomicU64,
}

impl GcThresholds {
    /// Replaces the thresholds: ranges in ascending order without overlap.
    pub fn publish(&self, ranges: Vec<GcRange>) {
        debug_assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
        *self.ranges.write() = Arc::new(ranges);
    }

    /// The thresholds as of now.
    pub fn current(&self) -> Arc<Vec<GcRange>> {
        Arc::clone(&self.ranges.read())
    }

    /// Items dropped since the store was opened.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts dropped items.
    pub fn count_dropped(&self, items: u64) {
        self.dropped.fetch_add(items, Ordering::Relaxed);
    }
}

/// Whether an item of a family may be dropped: an old version that no readable snapshot sees, a tombstone that
/// all readable snapshots see, a status that nobody asks for any more.
pub fn is_garbage(ranges: &[GcRange], family: Family, key: &[u8], value: &[u8]) -> bool {
    let until = match family {
        Family::Latest => match record::decode_version(value) {
            Some(version) if version.value.is_none() => version.ts,
            _ => return false,
        },
        Family::History => match record::decode_superseded(value) {
            Some((superseded, _)) => superseded,
            None => return false,
        },
        Family::Txns => match record::decode_status(value) {
            Some(status) => record::status_ts(status),
            None => return false,
        },
        Family::Locks | Family::Meta => return false,
    };
    // Keys of `History` and `Txns` have a suffix. Boundaries of shards are keys or prefixes of keys, so the
    // suffix does not move a key across one.
    let after = ranges.partition_point(|range| range.start.as_ref() <= key);
    match after.checked_sub(1).and_then(|at| ranges.get(at)) {
        Some(range) => key < range.end.as_ref() && until <= range.threshold,
        None => false,
    }
}
