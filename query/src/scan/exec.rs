//! The scan that runs.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::stats::Precision;
use datafusion::common::{Result as DfResult, Statistics};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SortOrderPushdownResult,
};
use futures::Stream;
use stratos_replication::{Direction, PrefixStatistics, ReadView, Span};
use stratos_types::{ArrayDatum, Datum, Error, FormatOptions, PgType, Result};

use super::decode::RowDecoder;
use super::segments::{ColumnKey, Draft, Next, Segment, SegmentCache};
use super::source::{Progress, RowCursor, RowSource};
use super::spans::{Access, Condition, Test, key_columns};
use crate::arrow::{ColumnBuilder, needs_equality_key};
use crate::catalog::{Index, Table, quote_literal};
use crate::ir::ScanColumn;
use crate::lower::operators::without_inputs;
use crate::lower::{StatementContext, statement_of, to_datafusion};
use crate::rows::{INDEX_PREFIX_BYTES, index_prefix, row_key_of_entry};

/// Rows of the first batch: small, so that the first rows are early.
const FIRST_BATCH_ROWS: usize = 1024;
/// Rows of the first batch where few are wanted.
const FIRST_BATCH_ROWS_MIN: usize = 16;
/// How much larger each batch is than the one before, up to the usual size.
const BATCH_GROWTH: usize = 8;
/// Bytes of keys and values after which a batch ends early.
const BATCH_BYTES: usize = 4 << 20;

/// Reads rows of one table through one of its indexes, in the index's order.
#[derive(Debug, Clone)]
pub struct ScanExec {
    pub(super) table: Arc<Table>,
    pub(super) wanted: Vec<ScanColumn>,
    pub(super) schema: SchemaRef,
    pub(super) access: Access,
    /// All that the filters above say, whether the ranges express it or not.
    pub(super) conditions: Vec<Condition>,
    pub(super) partitions: Vec<Vec<Span>>,
    /// Each range is the place of one entry at most, where it starts.
    pub(super) points: bool,
    /// What EXPLAIN says of lookups in it: the index, and what its columns are compared with.
    pub(super) lookups: Option<(usize, Vec<String>)>,
    pub(super) direction: Direction,
    pub(super) limit: Option<usize>,
    /// Rows of the first batch.
    pub(super) first_rows: usize,
    pub(super) rows: u64,
    pub(super) total: PrefixStatistics,
    pub(super) ordering: Option<LexOrdering>,
    pub(super) properties: Arc<PlanProperties>,
    pub(super) metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    #[allow(clippy::too_many_arguments, reason = "the fields of the scan")]
    pub(super) fn try_new(
        table: Arc<Table>,
        wanted: Vec<ScanColumn>,
        schema: SchemaRef,
        access: Access,
        conditions: Vec<Condition>,
        mut partitions: Vec<Vec<Span>>,
        limit: Option<usize>,
        rows: u64,
        total: PrefixStatistics,
    ) -> Result<Self> {
        if partitions.is_empty() {
            partitions.push(Vec::new());
        }
        let ordering = ordering(&table, &wanted, &schema, &access, false);
        let mut scan = ScanExec {
            properties: properties(&schema, ordering.clone(), partitions.len()),
            table,
            wanted,
            schema,
            // NULLs make the entries of a unique index distinct by what comes after.
            points: access.lookup
                && access.conditions.iter().all(|c| match &c.test {
                    Test::In(values) => !values.iter().any(Datum::is_null),
                    Test::Among(_) => true,
                    Test::From(..) | Test::To(..) => false,
                }),
            access,
            conditions,
            lookups: None,
            partitions,
            direction: Direction::Forward,
            limit,
            first_rows: FIRST_BATCH_ROWS,
            rows,
            total,
            ordering,
            metrics: ExecutionPlanMetricsSet::new(),
        };
        scan.rows = scan.rows.min(limit.map_or(u64::MAX, |n| n as u64));
        Ok(scan)
    }

    /// So many rows are likely to be enough.
    pub(super) fn begin_with(&mut self, rows: usize) {
        self.first_rows = rows.clamp(FIRST_BATCH_ROWS_MIN, FIRST_BATCH_ROWS);
        self.rows = self.rows.min(rows as u64);
    }

    /// Name of the index that is read, if it is not the table itself.
    pub fn index_name(&self) -> Option<&str> {
        if let Some((index, _)) = self.lookups {
            return self.table.indexes.get(index).map(|index| index.name.as_str());
        }
        let restricted = !self.access.conditions.is_empty();
        let shown = self.access.index > 0 || (restricted && self.table.has_primary_key());
        shown.then(|| self.table.indexes[self.access.index].name.as_str())
    }

    /// The table's name.
    pub fn table_name(&self) -> &str {
        &self.table.name
    }

    /// Whether it reads from the end.
    pub fn is_backward(&self) -> bool {
        self.direction == Direction::Backward
    }

    /// Whether it reads the index alone.
    pub fn is_index_only(&self) -> bool {
        let index = self.lookups.as_ref().map_or(self.access.index, |(index, _)| *index);
        index > 0 && self.covered_by(&self.table.indexes[index])
    }

    /// Whether the entries of an index hold all that is wanted.
    pub(super) fn covered_by(&self, index: &Index) -> bool {
        RowDecoder::covering(&self.table, index, &self.wanted).is_ok_and(|d| d.is_some())
    }

    /// Whether it reads less than all rows.
    pub(crate) fn is_restricted(&self) -> bool {
        !self.access.conditions.is_empty()
    }

    /// Columns that the key ranges restrict, as EXPLAIN shows them.
    pub fn conditions(&self) -> Vec<String> {
        if let Some((_, compared)) = &self.lookups {
            return compared.clone();
        }
        self.access.conditions.iter().map(|c| condition_text(&self.table, c)).collect()
    }

    /// Rows that are expected.
    pub fn expected_rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn backward(&self) -> ScanExec {
        let ordering = ordering(&self.table, &self.wanted, &self.schema, &self.access, true);
        ScanExec {
            properties: properties(&self.schema, ordering.clone(), self.partitions.len()),
            direction: Direction::Backward,
            ordering,
            metrics: ExecutionPlanMetricsSet::new(),
            ..self.clone()
        }
    }
}

pub(super) fn condition_text(table: &Table, condition: &Condition) -> String {
    let described = |column: usize| {
        table.columns.get(column).map_or((crate::ir::ROW_ID_NAME, PgType::Int8), |c| (c.name.as_str(), c.ty.ty))
    };
    let (name, ty) = described(condition.column);
    let shown = |value: &Datum| {
        if value.is_null() {
            return "NULL".to_owned();
        }
        let text = value.to_text(ty, &FormatOptions::default());
        if matches!(ty.category(), stratos_types::TypeCategory::Numeric) { text } else { format!("'{text}'::{ty}") }
    };
    match &condition.test {
        Test::In(values) => match values.as_slice() {
            [value] if value.is_null() => format!("({name} IS NULL)"),
            [value] => format!("({name} = {})", shown(value)),
            values => {
                let list = Datum::Array(Arc::new(ArrayDatum { element: ty, values: values.to_vec() }));
                let ty = ty.array().unwrap_or(PgType::Text);
                format!("({name} = ANY ({}::{ty}))", quote_literal(&list.to_text(ty, &FormatOptions::default())))
            }
        },
        Test::From(value, included) => {
            format!("({name} {} {})", if *included { ">=" } else { ">" }, shown(value))
        }
        Test::To(value, included) => {
            format!("({name} {} {})", if *included { "<=" } else { "<" }, shown(value))
        }
        Test::Among(among) => {
            let names: Vec<&str> = among.columns.iter().map(|column| described(*column).0).collect();
            format!("(({}) IN ({} rows))", names.join(", "), among.set.tuples().len())
        }
    }
}

/// The order in which rows come, as far as it can be told by the columns that are read.
fn ordering(
    table: &Table,
    wanted: &[ScanColumn],
    schema: &SchemaRef,
    access: &Access,
    backward: bool,
) -> Option<LexOrdering> {
    let mut keys = Vec::new();
    for column in key_columns(table, &table.indexes[access.index]) {
        // The order of these types' columns is finer than the key's, or differs for values that are equal.
        if needs_equality_key(column.ty) || column.ty.element().is_some() {
            break;
        }
        let one_value = access.spans.len() == 1
            && access
                .conditions
                .iter()
                .any(|c| c.column == column.position && matches!(&c.test, Test::In(v) if v.len() == 1));
        let Some(at) = wanted.iter().position(|c| c.index == column.position) else {
            if one_value {
                continue;
            }
            break;
        };
        keys.push(PhysicalSortExpr::new(
            Arc::new(Column::new(schema.field(at).name(), at)),
            SortOptions { descending: column.descending != backward, nulls_first: column.nulls_first != backward },
        ));
    }
    LexOrdering::new(keys)
}

pub(super) fn properties(schema: &SchemaRef, ordering: Option<LexOrdering>, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new_with_orderings(schema.clone(), ordering),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanExec: {}", self.table.name)?;
        if let Some(index) = self.index_name() {
            write!(f, " using {index}")?;
        }
        write!(f, " ({} partitions)", self.partitions.len())
    }
}

impl ExecutionPlan for ScanExec {
    without_inputs!("ScanExec");

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(ScanExec { limit, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> DfResult<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        let satisfies = |have: &Option<LexOrdering>| {
            have.as_ref().is_some_and(|have| order.len() <= have.len() && have.iter().zip(order).all(|(a, b)| a == b))
        };
        if satisfies(&self.ordering) {
            return Ok(SortOrderPushdownResult::Exact { inner: Arc::new(self.clone()) });
        }
        if self.direction == Direction::Forward {
            let backward = self.backward();
            if satisfies(&backward.ordering) {
                return Ok(SortOrderPushdownResult::Exact { inner: Arc::new(backward) });
            }
        }
        Ok(SortOrderPushdownResult::Unsupported)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let statement = statement_of(context.session_config().options())?.clone();
        let index = &self.table.indexes[self.access.index];
        let (decoder, lookup) = if self.access.index == 0 {
            (RowDecoder::rows(&self.table, &self.wanted).map_err(to_datafusion)?, false)
        } else {
            match RowDecoder::covering(&self.table, index, &self.wanted).map_err(to_datafusion)? {
                Some(decoder) => (decoder, false),
                None => (RowDecoder::rows(&self.table, &self.wanted).map_err(to_datafusion)?, true),
            }
        };
        let mut spans: VecDeque<Span> = self.partitions.get(partition).into_iter().flatten().cloned().collect();
        if self.direction == Direction::Backward {
            spans = spans.into_iter().rev().collect();
        }
        let plain_rows =
            self.access.index == 0 && !self.points && self.direction == Direction::Forward && self.limit.is_none();
        let keeps = plain_rows && statement.source.view().is_some() && {
            let widths = self.schema.fields().iter().map(|field| field.data_type().primitive_width());
            // Kept batches have the usual size, which a statement short of memory cannot afford.
            let row_bytes = self.total.bytes.checked_div(self.total.rows).unwrap_or(0);
            !statement.frugal && statement.runtime.segments().admits(self.rows, row_bytes, widths)
        };
        let segments = keeps.then(|| Segments {
            table: index_prefix(&self.table, self.table.primary_index()),
            columns: self.wanted.iter().map(|column| column_key(&self.table, column)).collect(),
            draft: None,
            playing: None,
        });
        Ok(Box::pin(ScanStream {
            segments,
            source: statement.source.clone(),
            statement,
            table: self.table.clone(),
            index: self.access.index,
            lookup,
            decoder,
            spans,
            points: self.points,
            direction: self.direction,
            cursor: None,
            ended: None,
            schema: self.schema.clone(),
            batch_rows: self.first_rows.min(context.session_config().batch_size()),
            batch_rows_max: context.session_config().batch_size(),
            left: self.limit.unwrap_or(usize::MAX),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> DfResult<Arc<Statistics>> {
        let share = if partition.is_some() { self.partitions.len() as u64 } else { 1 };
        let rows = self.rows / share;
        let width = self.total.bytes.checked_div(self.total.rows).unwrap_or(0);
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Inexact(rows as usize);
        statistics.total_byte_size = Precision::Inexact((rows * width) as usize);
        Ok(Arc::new(statistics))
    }
}

/// What a column of the table is called among the segments.
fn column_key(table: &Table, column: &ScanColumn) -> ColumnKey {
    table.columns.get(column.index).map_or(ColumnKey { attnum: 0, ty: PgType::Int8, missing: None }, |descriptor| {
        ColumnKey { attnum: descriptor.attnum, ty: descriptor.ty.ty, missing: descriptor.missing.clone() }
    })
}

/// A scan's part in the segments.
struct Segments {
    table: [u8; INDEX_PREFIX_BYTES],
    columns: Vec<ColumnKey>,
    /// What the present cursor reads is to be kept.
    draft: Option<Draft>,
    /// The segment that is being given, and its next batch.
    playing: Option<(Arc<Segment>, usize)>,
}

/// One partition's rows. Each poll decodes one batch, which bounds how long it keeps its thread.
struct ScanStream {
    /// Only for scans of many rows that go by the table itself.
    segments: Option<Segments>,
    statement: Arc<StatementContext>,
    source: Arc<dyn RowSource>,
    table: Arc<Table>,
    index: usize,
    /// Entries of a secondary index lead to rows that must be fetched.
    lookup: bool,
    decoder: RowDecoder,
    spans: VecDeque<Span>,
    /// See [`ScanExec`].
    points: bool,
    direction: Direction,
    cursor: Option<Box<dyn RowCursor>>,
    /// How far the last cursor had come when it ended.
    ended: Option<Progress>,
    schema: SchemaRef,
    batch_rows: usize,
    batch_rows_max: usize,
    left: usize,
    metrics: BaselineMetrics,
}

impl ScanStream {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        self.statement.eval.check_canceled()?;
        match self.segments.take() {
            None => self.read_batch(),
            Some(mut segments) => {
                let batch = self.next_with(&mut segments);
                self.segments = Some(segments);
                batch
            }
        }
    }

    /// A batch of a segment, or of the store.
    fn next_with(&mut self, segments: &mut Segments) -> Result<Option<RecordBatch>> {
        let cache = self.statement.clone();
        let cache = cache.runtime.segments();
        let source = self.source.clone();
        let Some(view) = source.view() else { return self.read_batch() };
        loop {
            if let Some((segment, at)) = &mut segments.playing {
                if let Some(rows) = segment.batches.get(*at).copied() {
                    let columns = segment.batch(&segments.columns, *at);
                    *at += 1;
                    return self.batch_of(rows, columns).map(Some);
                }
                segments.playing = None;
            }
            if self.cursor.is_none() {
                let Some(span) = self.spans.front_mut() else { return Ok(None) };
                if span.is_empty() {
                    self.spans.pop_front();
                    continue;
                }
                match cache.next(&segments.table, span, &segments.columns, view)? {
                    Next::Segment(segment) => {
                        view.record_read(segment.span());
                        span.start = segment.span().end.clone();
                        segments.playing = Some((segment, 0));
                        continue;
                    }
                    Next::Scan { end, draft } => {
                        let part = Span { start: span.start.clone(), end: end.clone() };
                        span.start = end;
                        segments.draft = draft;
                        self.cursor = Some(source.scan(part, Direction::Forward));
                    }
                }
            }
            let usual = self.batch_rows;
            if let Some(draft) = &segments.draft {
                self.batch_rows = draft.batch_rows(usual);
            }
            // A cursor that ends makes the next one begin here, so that segments and parts of the store alternate.
            let rest = std::mem::take(&mut self.spans);
            let batch = self.read_batch();
            self.spans = rest;
            let batch = batch?;
            if let (Some(draft), Some(batch)) = (&mut segments.draft, &batch) {
                draft.push(batch.num_rows(), batch.columns());
            }
            self.settle(segments, cache, view);
            if batch.is_some() {
                return Ok(batch);
            }
        }
    }

    /// Ends a segment that is complete, and gives what is left of its part back to be looked at anew.
    fn settle(&mut self, segments: &mut Segments, cache: &SegmentCache, view: &ReadView) {
        let full = segments.draft.as_ref().is_some_and(Draft::is_full);
        if self.cursor.is_some() && !full {
            return;
        }
        let Some(draft) = segments.draft.take() else { return };
        let progress = self.cursor.as_ref().map_or(self.ended.take(), |cursor| cursor.progress());
        let Some(Progress { next, newest }) = progress else { return };
        cache.keep(draft, next.clone(), newest, view);
        if self.cursor.take().is_some()
            && let Some(span) = self.spans.front_mut()
        {
            span.start = next;
        }
    }

    fn batch_of(&self, rows: usize, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )
        .map_err(|e| Error::internal(format!("scan of {}: {e}", self.table.name)))
    }

    /// Appends what is at a key, if anything is.
    fn read_point(&mut self, key: &[u8], builders: &mut [ColumnBuilder]) -> Result<bool> {
        let Some(value) = self.source.get(key)? else { return Ok(false) };
        if self.lookup {
            let index = &self.table.indexes[self.index];
            push_row_of(self.source.as_ref(), &self.table, index, (key, &value), &mut self.decoder, builders)?;
        } else {
            self.decoder.push(key, &value, builders)?;
        }
        Ok(true)
    }

    fn read_batch(&mut self) -> Result<Option<RecordBatch>> {
        let target = self.batch_rows.min(self.left);
        self.batch_rows = (self.batch_rows * BATCH_GROWTH).min(self.batch_rows_max);
        let mut builders = self.decoder.builders(target);
        let mut rows = 0;
        while rows < target {
            let Some(cursor) = &mut self.cursor else {
                let Some(span) = self.spans.pop_front() else {
                    break;
                };
                if self.points {
                    rows += usize::from(self.read_point(&span.start, &mut builders)?);
                    continue;
                }
                self.cursor = Some(self.source.scan(span, self.direction));
                continue;
            };
            let before = rows;
            let more = if self.lookup {
                let mut entries: Vec<(Bytes, Bytes)> = Vec::new();
                let more = cursor.next_chunk(target - rows, BATCH_BYTES, &mut |key, value| {
                    entries.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                })?;
                let index = &self.table.indexes[self.index];
                for (key, value) in entries {
                    let (source, decoder) = (self.source.as_ref(), &mut self.decoder);
                    push_row_of(source, &self.table, index, (&key, &value), decoder, &mut builders)?;
                    rows += 1;
                }
                more
            } else {
                let mut failed = None;
                let decoder = &mut self.decoder;
                let more = cursor.next_chunk(target - rows, BATCH_BYTES, &mut |key, value| {
                    rows += 1;
                    if failed.is_none()
                        && let Err(error) = decoder.push(key, value, &mut builders)
                    {
                        failed = Some(error);
                    }
                })?;
                if let Some(error) = failed {
                    return Err(error);
                }
                more
            };
            if !more {
                self.ended = cursor.progress();
                self.cursor = None;
            } else if rows == before {
                // Nothing but deleted rows: they too take time.
                self.statement.eval.check_canceled()?;
            } else if rows < target {
                // A chunk that ended by its bytes: large rows make a batch of their own.
                break;
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        self.left -= rows.min(self.left);
        let columns = builders.iter_mut().map(ColumnBuilder::finish).collect();
        self.batch_of(rows, columns).map(Some)
    }
}

/// Appends the row that an entry of a secondary index leads to.
fn push_row_of(
    source: &dyn RowSource,
    table: &Table,
    index: &Index,
    (key, value): (&[u8], &[u8]),
    decoder: &mut RowDecoder,
    builders: &mut [ColumnBuilder],
) -> Result<()> {
    let row_key = row_key_of_entry(table, index, key, value)?;
    let row = source.get(&row_key)?.ok_or_else(|| {
        Error::new(
            stratos_types::ErrorKind::DataCorrupted,
            format!("index \"{}\" has an entry without a row", index.name),
        )
    })?;
    decoder.push(&row_key, &row, builders)
}

impl Stream for ScanStream {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let compute = self.metrics.elapsed_compute().clone();
        let timer = compute.timer();
        let next = self.next_batch().map_err(to_datafusion).transpose();
        timer.done();
        self.metrics.record_poll(Poll::Ready(next))
    }
}

impl RecordBatchStream for ScanStream {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
