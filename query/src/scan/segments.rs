//! Columns of tables that were scanned before, kept in memory as long as their rows do not change.
//!
//! A table's rows are cut into segments: runs of neighbouring keys, each with the columns that scans have asked for. A scan
//! takes the segments that are good for its snapshot, and reads the store in between, leaving new segments behind. A segment
//! answers exactly what a scan would find (`stratos_replication::watch` says when); it never holds results, only rows. So
//! tables that are read more often than written are read at the speed of memory, and of those that grow at their end, all but the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::Bytes;
use parking_lot::Mutex;
use stratos_replication::{ReadView, Span, SpanWatch, Timestamp};
use stratos_types::{PgType, Result};

use crate::exec::store_error;
use crate::rows::INDEX_PREFIX_BYTES;

/// Rows after which a segment ends: a change of one of them costs reading as many again.
pub(super) const SEGMENT_ROWS: usize = 64 * 1024;
/// Tables with fewer rows are read from the store each time.
pub(super) const TABLE_ROWS_MIN: u64 = 10_000;
/// The part of the cache that one scan may fill, and one of columns of varying length: these are long, and seldom added up.
const SHARE_DIVISOR: u64 = 2;
const VARIABLE_SHARE_DIVISOR: u64 = 16;

/// The prefix of a table's row keys.
pub(super) type TablePrefix = [u8; INDEX_PREFIX_BYTES];

/// What a column of a segment is. An attribute number alone would not do: a rolled back ALTER TABLE gives its numbers to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnKey {
    /// The attribute number; 0 is the id of rows without a primary key.
    pub attnum: i16,
    pub ty: PgType,
    /// What rows from before the column have in it.
    pub missing: Option<Vec<u8>>,
}

/// The columns of one segment.
pub(super) struct Segment {
    span: Span,
    watch: Arc<SpanWatch>,
    /// No version in the span is newer, as of the scan.
    newest: Timestamp,
    /// Rows of each batch.
    pub batches: Vec<usize>,
    columns: Vec<(ColumnKey, Vec<ArrayRef>)>,
    bytes: usize,
}

impl Segment {
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The wanted columns of one batch.
    pub fn batch(&self, columns: &[ColumnKey], batch: usize) -> Vec<ArrayRef> {
        columns.iter().filter_map(|key| self.column(key)?.get(batch).cloned()).collect()
    }

    fn has(&self, columns: &[ColumnKey]) -> bool {
        columns.iter().all(|key| self.column(key).is_some())
    }

    fn column(&self, key: &ColumnKey) -> Option<&Vec<ArrayRef>> {
        self.columns.iter().find(|(held, _)| held == key).map(|(_, arrays)| arrays)
    }

    /// Whether it shows what the view would. Asks for what lies over the rows before it asks the watch.
    fn is_good_for(&self, view: &ReadView) -> Result<bool> {
        Ok(view.is_bare(&self.span).map_err(store_error)?
            && self.newest <= view.timestamp()
            && view.timestamp() < self.watch.changed())
    }
}

struct Kept {
    segment: Arc<Segment>,
    used: u64,
}

#[derive(Default)]
struct Inner {
    tables: HashMap<TablePrefix, BTreeMap<Bytes, Kept>>,
    bytes: usize,
    clock: u64,
}

impl Inner {
    fn remove(&mut self, table: &TablePrefix, start: &Bytes) {
        if let Some(segments) = self.tables.get_mut(table) {
            if let Some(kept) = segments.remove(start) {
                self.bytes -= kept.segment.bytes;
            }
            if segments.is_empty() {
                self.tables.remove(table);
            }
        }
    }

    /// The segment that was used longest ago.
    fn oldest(&self) -> Option<(TablePrefix, Bytes)> {
        let all = self.tables.iter().flat_map(|(table, segments)| segments.iter().map(move |s| (table, s)));
        all.min_by_key(|(_, (_, kept))| kept.used).map(|(table, (start, _))| (*table, start.clone()))
    }
}

/// The segments of all tables of a node, bounded in bytes; those that were not used for longest go first.
pub(crate) struct SegmentCache {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

/// How a scan goes on at a position.
pub(super) enum Next {
    /// With a segment.
    Segment(Arc<Segment>),
    /// By reading the store up to a key; with leave to keep what is found.
    Scan { end: Bytes, draft: Option<Draft> },
}

impl SegmentCache {
    /// A cache of at most so many bytes; of none, nothing is kept.
    pub fn new(bytes_max: usize) -> Self {
        SegmentCache { bytes_max, inner: Mutex::default() }
    }

    /// Whether a scan of so many rows fits in well enough to be kept: of columns with these widths, where a column of varying
    /// length has none and counts as a whole row.
    pub(super) fn admits(&self, rows: u64, row_bytes: u64, widths: impl Iterator<Item = Option<usize>>) -> bool {
        let (mut width, mut divisor) = (0, SHARE_DIVISOR);
        for column in widths {
            if column.is_none() {
                divisor = VARIABLE_SHARE_DIVISOR;
            }
            width += column.map_or(row_bytes, |bytes| bytes as u64);
        }
        rows >= TABLE_ROWS_MIN && rows.saturating_mul(width.max(1)) <= self.bytes_max as u64 / divisor
    }

    /// How a scan of `span` for the columns begins.
    pub(super) fn next(
        &self,
        table: &TablePrefix,
        span: &Span,
        columns: &[ColumnKey],
        view: &ReadView,
    ) -> Result<Next> {
        let (candidate, follower) = self.neighbours(table, span);
        let mut end = follower.unwrap_or_else(|| span.end.clone()).min(span.end.clone());
        let mut extended = None;
        if let Some(segment) = candidate {
            let good = segment.is_good_for(view)?;
            let whole = segment.span.start == span.start && segment.span.end <= span.end;
            if good && whole && segment.has(columns) {
                metrics::counter!("stratos_column_cache_hits_total").increment(1);
                return Ok(Next::Segment(segment));
            }
            if segment.watch.changed() != Timestamp::MAX {
                // Stale for every snapshot to come. The watch ends with it, so that a new one can begin.
                self.inner.lock().remove(table, &segment.span.start);
            } else {
                end = segment.span.end.clone().min(span.end.clone());
                if !(good && whole) {
                    return Ok(Next::Scan { end, draft: None });
                }
                extended = Some(segment);
            }
        }
        metrics::counter!("stratos_column_cache_misses_total").increment(1);
        let scanned = Span { start: span.start.clone(), end: end.clone() };
        let watch = match &extended {
            Some(segment) => Some(segment.watch.clone()),
            None => view.watch(&scanned).map(Arc::new),
        };
        let draft = watch.map(|watch| Draft {
            table: *table,
            start: scanned.start,
            watch,
            extended,
            ids: columns.to_vec(),
            batches: Vec::new(),
            columns: vec![Vec::new(); columns.len()],
            rows: 0,
        });
        Ok(Next::Scan { end, draft })
    }

    /// The segment that holds the span's start, and the start of the next one.
    fn neighbours(&self, table: &TablePrefix, span: &Span) -> (Option<Arc<Segment>>, Option<Bytes>) {
        let mut inner = self.inner.lock();
        inner.clock += 1;
        let clock = inner.clock;
        let Some(segments) = inner.tables.get_mut(table) else { return (None, None) };
        let candidate = segments.range_mut(..=span.start.clone()).next_back().map(|(_, kept)| kept);
        let candidate = candidate.filter(|kept| kept.segment.span.end > span.start).map(|kept| {
            kept.used = clock;
            kept.segment.clone()
        });
        let after = (std::ops::Bound::Excluded(span.start.clone()), std::ops::Bound::Unbounded);
        (candidate, segments.range(after).next().map(|(start, _)| start.clone()))
    }

    /// Keeps what a scan has found from the draft's start up to `end`, if it is still good.
    pub(super) fn keep(&self, draft: Draft, end: Bytes, newest: Timestamp, view: &ReadView) {
        if draft.extended.is_none() {
            // The watch of a segment that is extended is also the older one's, and readers of that one rely on all of it.
            draft.watch.end_at(&end);
        }
        let at = view.timestamp();
        if draft.rows == 0 || newest > at || draft.watch.changed() <= at {
            return;
        }
        let mut segment = Segment {
            span: Span { start: draft.start, end },
            watch: draft.watch,
            newest,
            batches: draft.batches,
            columns: draft.ids.into_iter().zip(draft.columns).collect(),
            bytes: 0,
        };
        // Both show the same rows at `at`, so their columns belong together; unless their batches were cut differently.
        if let Some(old) = draft.extended
            && old.span == segment.span
            && old.batches == segment.batches
        {
            for (key, arrays) in &old.columns {
                if segment.column(key).is_none() {
                    segment.columns.push((key.clone(), arrays.clone()));
                }
            }
            segment.newest = segment.newest.max(old.newest);
        }
        let arrays = segment.columns.iter().flat_map(|(_, arrays)| arrays);
        segment.bytes = arrays.map(|array| array.get_array_memory_size()).sum::<usize>() + size_of::<Segment>();
        let mut inner = self.inner.lock();
        inner.remove(&draft.table, &segment.span.start);
        while inner.bytes + segment.bytes > self.bytes_max {
            let Some((table, start)) = inner.oldest() else { return };
            inner.remove(&table, &start);
        }
        inner.clock += 1;
        let used = inner.clock;
        inner.bytes += segment.bytes;
        let start = segment.span.start.clone();
        inner.tables.entry(draft.table).or_default().insert(start, Kept { segment: Arc::new(segment), used });
        metrics::gauge!("stratos_column_cache_bytes").set(inner.bytes as f64);
    }

    /// Moves a cut between two parts of a table to where a segment begins, so that no part begins inside one.
    pub(super) fn align(&self, table: &TablePrefix, cut: Bytes) -> Bytes {
        let inner = self.inner.lock();
        let Some(segments) = inner.tables.get(table) else { return cut };
        match segments.range(..=cut.clone()).next_back() {
            Some((start, kept)) if kept.segment.span.end > cut => start.clone(),
            _ => cut,
        }
    }
}

/// A segment that a scan is about to leave behind.
pub(super) struct Draft {
    table: TablePrefix,
    start: Bytes,
    watch: Arc<SpanWatch>,
    /// A segment with the same rows and other columns.
    extended: Option<Arc<Segment>>,
    ids: Vec<ColumnKey>,
    batches: Vec<usize>,
    columns: Vec<Vec<ArrayRef>>,
    rows: usize,
}

impl Draft {
    /// Rows that the next batch should have.
    pub fn batch_rows(&self, usual: usize) -> usize {
        let same = self.extended.as_ref().and_then(|old| old.batches.get(self.batches.len()).copied());
        same.unwrap_or(usual).min(SEGMENT_ROWS - self.rows).max(1)
    }

    /// Adds a batch.
    pub fn push(&mut self, rows: usize, columns: &[ArrayRef]) {
        self.batches.push(rows);
        self.rows += rows;
        for (kept, new) in self.columns.iter_mut().zip(columns) {
            kept.push(new.clone());
        }
    }

    /// Whether the segment should end here.
    pub fn is_full(&self) -> bool {
        self.rows >= SEGMENT_ROWS
    }
}
