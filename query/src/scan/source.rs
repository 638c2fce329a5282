//! The store as scans see it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;
use stratos_replication::{Direction, PrefixStatistics, ReadView, ScanCursor, Span, Timestamp};
use stratos_types::Result;

use crate::catalog::Table;
use crate::exec::store_error;
use crate::rows::index_span;

/// One consistent picture of the data, for the length of a statement.
pub trait RowSource: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Keys and values of a range, in order.
    fn scan(&self, span: Span, direction: Direction) -> Box<dyn RowCursor>;

    /// The view behind the source, if there is one: what is read through it may be kept for others.
    fn view(&self) -> Option<&ReadView> {
        None
    }

    /// Live rows of a table and their bytes, roughly, if the source knows better than the store.
    fn statistics(&self, _table: &Table) -> Option<PrefixStatistics> {
        None
    }
}

impl RowSource for ReadView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        ReadView::get(self, key).map_err(store_error)
    }

    fn scan(&self, span: Span, direction: Direction) -> Box<dyn RowCursor> {
        Box::new(ReadView::scan(self, span, direction))
    }

    fn view(&self) -> Option<&ReadView> {
        Some(self)
    }
}

impl RowCursor for ScanCursor {
    fn next_chunk(&mut self, max_rows: usize, max_bytes: usize, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<bool> {
        ScanCursor::next_chunk(self, max_rows, max_bytes, visit).map_err(store_error)
    }

    fn progress(&self) -> Option<Progress> {
        self.rest().map(|rest| Progress { next: rest.start.clone(), newest: self.newest() })
    }
}

/// How far a forward scan over nothing but versions has come.
pub struct Progress {
    /// The first key that it has not looked at.
    pub next: Bytes,
    /// The newest version that it has met.
    pub newest: Timestamp,
}

/// A scan that is under way.
pub trait RowCursor: Send {
    /// Visits at most `max_rows` further pairs, or about `max_bytes` of them; gives whether there may be more.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn next_chunk(&mut self, max_rows: usize, max_bytes: usize, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<bool>;

    /// How far it has come; `None` where more than committed versions is read.
    fn progress(&self) -> Option<Progress> {
        None
    }
}

/// Rows in memory: tests, and temporary results.
#[derive(Debug, Default)]
pub struct MemorySource {
    pairs: std::sync::Arc<RwLock<BTreeMap<Bytes, Bytes>>>,
}

impl MemorySource {
    /// Adds or replaces a pair.
    pub fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.pairs.write().insert(key.into(), value.into());
    }
}

impl RowSource for MemorySource {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.pairs.read().get(key).cloned())
    }

    fn scan(&self, span: Span, direction: Direction) -> Box<dyn RowCursor> {
        Box::new(MemoryCursor { pairs: self.pairs.clone(), span, direction })
    }

    fn statistics(&self, table: &Table) -> Option<PrefixStatistics> {
        let span = index_span(table, table.primary_index());
        let pairs = self.pairs.read();
        let mut total = PrefixStatistics::default();
        for (key, value) in pairs.range(span.start..span.end) {
            total.rows += 1;
            total.bytes += (key.len() + value.len()) as u64;
        }
        Some(total)
    }
}

struct MemoryCursor {
    pairs: std::sync::Arc<RwLock<BTreeMap<Bytes, Bytes>>>,
    /// What is left.
    span: Span,
    direction: Direction,
}

impl RowCursor for MemoryCursor {
    fn next_chunk(&mut self, max_rows: usize, max_bytes: usize, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<bool> {
        if self.span.is_empty() {
            return Ok(false);
        }
        let pairs = self.pairs.read();
        let range = (Bound::Included(self.span.start.clone()), Bound::Excluded(self.span.end.clone()));
        let (mut rows, mut bytes) = (0, 0);
        let mut last = None;
        let mut step = |(key, value): (&Bytes, &Bytes)| {
            visit(key, value);
            rows += 1;
            bytes += key.len() + value.len();
            last = Some(key.clone());
            rows >= max_rows || bytes >= max_bytes
        };
        let more = match self.direction {
            Direction::Forward => pairs.range(range).any(&mut step),
            Direction::Backward => pairs.range(range).rev().any(&mut step),
        };
        if let (Some(last), true) = (last, more) {
            match self.direction {
                Direction::Forward => self.span.start = Span::key(&last).end,
                Direction::Backward => self.span.end = last,
            }
        }
        Ok(more)
    }
}
