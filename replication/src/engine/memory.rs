//! The engine of the simulator: ordered maps in memory, with a flush that a simulated crash goes back to.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::gc::is_garbage;
use super::{Batch, BatchOp, Cursor, Engine, Family, GcThresholds, Reads};
use crate::error::Result;

type Items = BTreeMap<Bytes, Bytes>;

/// One map per family. Writes copy a map only while a cursor or view shares it.
#[derive(Clone, Debug, Default)]
struct State {
    families: [Arc<Items>; Family::ALL.len()],
}

impl State {
    fn items(&self, family: Family) -> &Arc<Items> {
        &self.families[family as usize]
    }

    fn items_mut(&mut self, family: Family) -> &mut Items {
        Arc::make_mut(&mut self.families[family as usize])
    }
}

/// An engine in memory.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    state: RwLock<State>,
    flushed: RwLock<State>,
    gc: GcThresholds,
}

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> MemoryEngine {
        MemoryEngine::default()
    }

    /// The engine that a crash right now would leave behind: the state of the last flush.
    pub fn after_crash(&self) -> MemoryEngine {
        let flushed = self.flushed.read().clone();
        MemoryEngine { state: RwLock::new(flushed.clone()), flushed: RwLock::new(flushed), gc: GcThresholds::default() }
    }
}

impl Reads for State {
    fn get(&self, family: Family, key: &[u8], visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        visit(self.items(family).get(key).map(Bytes::as_ref));
        Ok(())
    }

    fn cursor<'a>(&'a self, family: Family, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        Ok(Box::new(MemoryCursor::new(Arc::clone(self.items(family)), start, end)))
    }
}

impl Reads for MemoryEngine {
    fn get(&self, family: Family, key: &[u8], visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        let value = self.state.read().items(family).get(key).cloned();
        visit(value.as_deref());
        Ok(())
    }

    fn cursor<'a>(&'a self, family: Family, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        let items = Arc::clone(self.state.read().items(family));
        Ok(Box::new(MemoryCursor::new(items, start, end)))
    }
}

impl Engine for MemoryEngine {
    fn view<'a>(&'a self) -> Box<dyn Reads + 'a> {
        Box::new(self.state.read().clone())
    }

    fn write(&self, batch: &Batch) -> Result<()> {
        let mut state = self.state.write();
        for (family, operation) in batch.operations() {
            let items = state.items_mut(family);
            match operation {
                BatchOp::Put(key, value) => {
                    items.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                }
                BatchOp::Delete(key) => {
                    items.remove(key);
                }
                BatchOp::DeleteRange(start, end) => items.retain(|key, _| key.as_ref() < start || key.as_ref() >= end),
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        let state = self.state.read().clone();
        *self.flushed.write() = state;
        Ok(())
    }

    fn get_flushed(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.flushed.read().items(family).get(key).map(|value| value.to_vec()))
    }

    fn approximate_bytes(&self, family: Family, start: &[u8], end: &[u8]) -> u64 {
        if start >= end {
            return 0;
        }
        let items = Arc::clone(self.state.read().items(family));
        let span = (Bound::Included(start), Bound::Excluded(end));
        items.range::<[u8], _>(span).map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    /// Drops garbage in the present and in the flushed state, as a compaction of files would.
    fn compact(&self, family: Family, start: &[u8], end: &[u8]) {
        let ranges = self.gc.current();
        for state in [&self.state, &self.flushed] {
            let mut state = state.write();
            let items = state.items_mut(family);
            let before = items.len();
            items.retain(|key, value| {
                key.as_ref() < start || key.as_ref() >= end || !is_garbage(&ranges, family, key, value)
            });
            self.gc.count_dropped((before - items.len()) as u64);
        }
    }

    fn gc(&self) -> &GcThresholds {
        &self.gc
    }
}

/// A cursor that finds its neighbour in the map at every step.
struct MemoryCursor {
    items: Arc<Items>,
    start: Bytes,
    end: Option<Bytes>,
    item: Option<(Bytes, Bytes)>,
}

impl MemoryCursor {
    fn new(items: Arc<Items>, start: &[u8], end: Option<&[u8]>) -> MemoryCursor {
        MemoryCursor { items, start: Bytes::copy_from_slice(start), end: end.map(Bytes::copy_from_slice), item: None }
    }

    fn upper(&self) -> Bound<&[u8]> {
        self.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)
    }

    fn find(&self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, first: bool) -> Option<(Bytes, Bytes)> {
        let empty = match (lower, upper) {
            (Bound::Included(low), Bound::Excluded(high)) => low >= high,
            (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
            _ => false,
        };
        if empty {
            return None;
        }
        let mut range = self.items.range::<[u8], _>((lower, upper));
        let found = if first { range.next() } else { range.next_back() };
        found.map(|(key, value)| (key.clone(), value.clone()))
    }
}

impl Cursor for MemoryCursor {
    fn seek_first(&mut self) -> Result<()> {
        self.item = self.find(Bound::Included(&self.start), self.upper(), true);
        Ok(())
    }

    fn seek_last(&mut self) -> Result<()> {
        self.item = self.find(Bound::Included(&self.start), self.upper(), false);
        Ok(())
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        let from = key.max(self.start.as_ref());
        self.item = self.find(Bound::Included(from), self.upper(), true);
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        if let Some((key, _)) = &self.item {
            self.item = self.find(Bound::Excluded(key), self.upper(), true);
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        if let Some((key, _)) = &self.item {
            self.item = self.find(Bound::Included(&self.start), Bound::Excluded(key), false);
        }
        Ok(())
    }

    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.item.as_ref().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }
}
