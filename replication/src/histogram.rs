//! How often something took how long: counted without locks, for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper ends of the buckets, in microseconds; beyond the last one comes a bucket without an end.
pub const BUCKETS_MICROS: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Counts durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

/// What a [`Histogram`] has counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// How many durations fell into each bucket, the one without an end last.
    pub buckets: [u64; BUCKETS_MICROS.len() + 1],
    /// All of them together, in microseconds.
    pub sum_micros: u64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_MICROS.partition_point(|end| *end < micros);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let buckets = std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed));
        HistogramSnapshot { buckets, sum_micros: self.sum_micros.load(Relaxed) }
    }
}

impl HistogramSnapshot {
    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_bucket_that_ends_with_it() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 60_000_000, 60_000_001] {
            histogram.record(Duration::from_micros(micros));
        }
        let seen = histogram.snapshot();
        assert_eq!((seen.buckets[0], seen.buckets[1], seen.buckets[17], seen.buckets[18]), (2, 1, 1, 1));
        assert_eq!((seen.count(), seen.sum_micros), (5, 120_000_202));
    }
}
