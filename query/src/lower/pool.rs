//! The memory that all running queries share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::{Result as DfResult, resources_datafusion_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// Operators that go to disk leave all but this part of the memory to the others, if there are any, which have it in equal
/// shares for certain.
const FOR_SPILLABLE_BESIDE_OTHERS_DIVISOR: usize = 3;
/// How much larger an operator's share that does not go to disk is, at least, than that of one that does: what merges the rows
/// of a sort keeps rows and keys of all of them, and the keys may be larger than the rows.
const SHARE_OF_OTHERS_MULTIPLE: usize = 2;
/// What operators that do not go to disk leave to the others.
const FOR_SPILLABLE_DIVISOR: usize = 4;

/// Rows that cursors and statements keep have at most this part of the memory. They stay for as long as a client likes: queries
/// share what they leave.
const FOR_KEPT_ROWS_DIVISOR: usize = 2;
/// The name of their consumers, which are no operators: an idle one takes no share.
const KEPT_ROWS: &str = "rows that are kept";

/// Memory for rows that are kept beside the running queries.
pub(crate) fn kept_rows(pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
    MemoryConsumer::new(KEPT_ROWS).register(pool)
}

fn is_kept(consumer: &MemoryConsumer) -> bool {
    consumer.name() == KEPT_ROWS
}

/// Memory of a fixed size for two kinds of operators.
///
/// Those that can go to disk have equal shares, and must never have everything: a sort that has filled its share can only shrink
/// by merging, and merging takes memory that cannot go to disk. Those that cannot go to disk take what comes first, but
/// must leave to each of their kind its share: a merge takes as many files at once as it finds memory for, and would starve the
/// one beside it. Nor may they have everything: whoever goes to disk needs room for a batch.
#[derive(Debug)]
pub(super) struct QueryPool {
    bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Operators that can go to disk, and what they hold together, in bytes.
    spillers: usize,
    spillable: usize,
    /// What each of the others holds, in bytes, by its number.
    others: HashMap<usize, usize>,
    /// Their sum.
    unspillable: usize,
    /// Bytes of kept rows.
    aside: usize,
}

impl State {
    fn add(&mut self, consumer: &MemoryConsumer, bytes: usize) {
        if is_kept(consumer) {
            self.aside += bytes;
        } else if consumer.can_spill() {
            self.spillable += bytes;
        } else {
            *self.others.entry(consumer.id()).or_default() += bytes;
            self.unspillable += bytes;
        }
    }

    fn subtract(&mut self, consumer: &MemoryConsumer, bytes: usize) {
        if is_kept(consumer) {
            self.aside = self.aside.saturating_sub(bytes);
        } else if consumer.can_spill() {
            self.spillable = self.spillable.saturating_sub(bytes);
        } else {
            let held = self.others.entry(consumer.id()).or_default();
            *held = held.saturating_sub(bytes);
            self.unspillable = self.unspillable.saturating_sub(bytes);
        }
    }

    /// What each operator that does not go to disk has for certain, if there are any.
    fn share_of_others(&self, bytes: usize) -> Option<usize> {
        for_others(bytes).checked_div(self.others.len())
    }

    /// How much a consumer may hold, of so many bytes for all, and how much it does.
    fn bound(&self, consumer: &MemoryConsumer, reserved: usize, bytes: usize) -> (usize, usize) {
        let (all, bytes) = (bytes, bytes.saturating_sub(self.aside));
        // Also within what is free: others may have grown while there were fewer to share with.
        let free = bytes.saturating_sub(self.spillable + self.unspillable);
        if is_kept(consumer) {
            return ((self.aside + free).min(all / FOR_KEPT_ROWS_DIVISOR), self.aside);
        }
        if consumer.can_spill() {
            let (kept, most) = match self.share_of_others(bytes) {
                Some(share) => (for_others(bytes), share / SHARE_OF_OTHERS_MULTIPLE),
                None => (0, bytes),
            };
            let share = bytes.saturating_sub(self.unspillable.max(kept)) / self.spillers.max(1);
            return (share.min(most).min(reserved + free), reserved);
        }
        let held = self.others.get(&consumer.id()).copied().unwrap_or_default();
        let share = self.share_of_others(bytes).unwrap_or_default();
        let kept: usize = self.others.values().map(|held| share.saturating_sub(*held)).sum();
        let kept_from_it = kept - share.saturating_sub(held);
        let all = bytes - bytes / FOR_SPILLABLE_DIVISOR;
        let left = all.saturating_sub(self.unspillable + kept_from_it);
        (held + left.min(free), held)
    }
}

/// What operators that go to disk leave to the others, of so many bytes.
fn for_others(bytes: usize) -> usize {
    bytes - bytes / FOR_SPILLABLE_BESIDE_OTHERS_DIVISOR
}

impl QueryPool {
    /// Of so many bytes.
    pub fn new(bytes: usize) -> QueryPool {
        QueryPool { bytes, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.reserved(), self.bytes)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &'static str {
        "queries"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        let mut state = self.state();
        if consumer.can_spill() {
            state.spillers += 1;
        } else if !is_kept(consumer) {
            state.others.insert(consumer.id(), 0);
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut state = self.state();
        if consumer.can_spill() {
            state.spillers = state.spillers.saturating_sub(1);
        } else {
            state.others.remove(&consumer.id());
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.state().add(reservation.consumer(), additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.state().subtract(reservation.consumer(), shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DfResult<()> {
        let mut state = self.state();
        let consumer = reservation.consumer();
        let (bound, held) = state.bound(consumer, reservation.size(), self.bytes);
        if held + additional > bound {
            return Err(resources_datafusion_err!(
                "{} asked for {additional} bytes more than its {held}, of at most {bound}; queries hold {} of {} bytes",
                consumer.name(),
                state.spillable + state.unspillable + state.aside,
                self.bytes
            ));
        }
        state.add(consumer, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        let state = self.state();
        state.spillable + state.unspillable + state.aside
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_rows_leave_half_and_take_no_share() {
        let pool: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(1200));
        let (one, other) = (kept_rows(&pool), kept_rows(&pool));
        let sort = MemoryConsumer::new("sort").with_can_spill(true).register(&pool);
        sort.try_grow(1200).unwrap();
        one.try_grow(1).unwrap_err();
        sort.free();
        one.try_grow(400).unwrap();
        other.try_grow(201).unwrap_err();
        other.try_grow(200).unwrap();
        assert_eq!(pool.reserved(), 600);
        sort.try_grow(601).unwrap_err();
        sort.try_grow(600).unwrap();
        drop(one);
        sort.try_grow(400).unwrap();
        drop((other, sort));
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn each_kind_leaves_room_for_the_other() {
        let pool: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(1200));
        let spilling = |name: &str| MemoryConsumer::new(name).with_can_spill(true).register(&pool);
        let (one, other) = (spilling("one"), spilling("other"));
        one.try_grow(600).unwrap();
        one.try_grow(1).unwrap_err();
        one.free();
        let merge = MemoryConsumer::new("merge").register(&pool);
        // Equal shares of a third.
        one.try_grow(200).unwrap();
        one.try_grow(1).unwrap_err();
        other.try_grow(200).unwrap();
        merge.try_grow(800).unwrap();
        merge.try_grow(1).unwrap_err();
        assert_eq!(pool.reserved(), 1200);
        // What the others give back is there for those that do not go to disk, up to three quarters.
        one.free();
        other.shrink(100);
        merge.try_grow(100).unwrap();
        merge.try_grow(1).unwrap_err();
        other.try_grow(50).unwrap();
        other.try_grow(1).unwrap_err();
        merge.free();
        drop(one);
        other.try_grow(250).unwrap();
        other.try_grow(1).unwrap_err();
        assert_eq!(pool.reserved(), 400);
        drop((other, merge));
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn each_merge_leaves_its_share_to_the_others() {
        let pool: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(1200));
        let greedy = MemoryConsumer::new("greedy").register(&pool);
        let patient = MemoryConsumer::new("patient").register(&pool);
        // Three quarters without the other's share, which is half of two thirds.
        greedy.try_grow(501).unwrap_err();
        greedy.try_grow(500).unwrap();
        // Several reservations of one operator are one.
        let split = patient.new_empty();
        patient.try_grow(300).unwrap();
        split.try_grow(101).unwrap_err();
        split.try_grow(100).unwrap();
        greedy.shrink(200);
        split.try_grow(100).unwrap();
        split.try_grow(1).unwrap_err();
        assert_eq!(pool.reserved(), 800);
        drop((patient, split));
        greedy.try_grow(600).unwrap();
        greedy.try_grow(1).unwrap_err();
    }
}
