//! A base table as DataFusion sees it.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use stratos_replication::{Direction, Span};
use stratos_types::{PgType, Result};

use super::decode::RowDecoder;
use super::exec::ScanExec;
use super::source::RowSource;
use super::spans;
use crate::arrow::arrow_type;
use crate::catalog::Table;
use crate::ir::ScanColumn;
use crate::lower::{statement_of, to_datafusion};
use crate::rows::index_prefix;

/// Rows below which a scan is not cut into parts.
const SPLIT_ROWS_MIN: u64 = 50_000;

/// Rows that are counted to estimate how many a condition leaves, and bytes of them.
const DIVE_ROWS_MAX: u64 = 256;
const DIVE_BYTES_MAX: usize = 256 << 10;
/// Ranges that are looked into for it.
const DIVE_SPANS_MAX: usize = 16;

/// A table with the columns that a statement may refer to.
#[derive(Debug)]
pub struct StoredTable {
    table: Arc<Table>,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
    order: Option<ScanOrder>,
}

/// A wish for the first rows in the order of an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanOrder {
    /// Position in [`Table::indexes`].
    pub index: usize,
    /// From its end.
    pub backward: bool,
    /// Rows that have NULL in this column, by its position in the table, are not wanted.
    pub not_null: Option<usize>,
    /// How many are wanted.
    pub rows: u64,
    /// How many rows could be read instead in the time that it takes.
    pub cost: u64,
}

impl StoredTable {
    /// Fields are named after the columns' identities.
    pub(crate) fn new(table: Arc<Table>, columns: Vec<ScanColumn>, order: Option<ScanOrder>) -> Self {
        let fields: Vec<Field> = columns
            .iter()
            .map(|c| {
                let (ty, nullable) =
                    table.columns.get(c.index).map_or((PgType::Int8, false), |d| (d.ty.ty, !d.not_null));
                Field::new(format!("c{}", c.id.0), arrow_type(ty), nullable)
            })
            .collect();
        StoredTable { schema: Arc::new(Schema::new(fields)), table, columns, order }
    }
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let statement = statement_of(session.config_options())?;
        let wanted: Vec<ScanColumn> = match projection {
            Some(columns) => columns.iter().map(|i| self.columns[*i].clone()).collect(),
            None => self.columns.clone(),
        };
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => self.schema.clone(),
        };
        let conditions = spans::conditions(session, filters, &self.table, &self.columns);
        let covers =
            |index: &crate::catalog::Index| RowDecoder::covering(&self.table, index, &wanted).ok().flatten().is_some();
        let mut access = spans::choose(&self.table, &conditions, &covers).map_err(to_datafusion)?;
        let total = statement.statistics(&self.table);
        let mut first_rows = None;
        if let Some(order) = self.order.filter(|order| !access.lookup && order.cost <= total.rows) {
            let ordered =
                spans::ordered(&self.table, order.index, &conditions, order.not_null).map_err(to_datafusion)?;
            // Conditions that another index knows are worth more than the order.
            if ordered.conditions.len() >= access.conditions.len() && ordered.spans.len() <= 1 {
                access = ordered;
                first_rows = usize::try_from(order.rows).ok().map(|rows| (rows, order.backward));
            }
        }
        let share = if access.lookup {
            None
        } else {
            // Rules of thumb, as nothing is known about values: a tenth per equality, a third per bound.
            Some(access.conditions.iter().fold(1.0, |share, c| match c.test {
                spans::Test::In(_) | spans::Test::Among(_) => share * 0.1,
                _ => share * 0.33,
            }))
        };
        let rows = match share {
            None => access.spans.len() as u64,
            Some(share) => {
                let guess = (total.rows as f64 * share) as u64;
                match access.conditions.is_empty() || guess <= DIVE_ROWS_MAX {
                    true => guess,
                    false => dive(statement.source.as_ref(), &access.spans).map_err(to_datafusion)?.unwrap_or(guess),
                }
            }
        };
        let parts = session.config().target_partitions();
        let partitions = if parts > 1 && rows >= SPLIT_ROWS_MIN && limit.is_none() && first_rows.is_none() {
            let prefix = index_prefix(&self.table, self.table.primary_index());
            let align = |cut| statement.runtime.segments().align(&prefix, cut);
            partition(statement.source.as_ref(), access.spans.clone(), parts, &align).map_err(to_datafusion)?
        } else {
            vec![access.spans.clone()]
        };
        let mut scan =
            ScanExec::try_new(self.table.clone(), wanted, schema, access, conditions, partitions, limit, rows, total)
                .map_err(to_datafusion)?;
        if let Some((rows, backward)) = first_rows {
            if backward {
                scan = scan.backward();
            }
            scan.begin_with(rows);
        }
        Ok(Arc::new(scan))
    }
}

/// Counts what is in the ranges, as long as it is little: how to do a join depends on it.
fn dive(source: &dyn RowSource, spans: &[Span]) -> Result<Option<u64>> {
    if spans.len() > DIVE_SPANS_MAX {
        return Ok(None);
    }
    let mut rows = 0;
    for span in spans {
        let most = usize::try_from(DIVE_ROWS_MAX - rows).unwrap_or(usize::MAX);
        let more =
            source.scan(span.clone(), Direction::Forward).next_chunk(most, DIVE_BYTES_MAX, &mut |_, _| rows += 1)?;
        if more || rows >= DIVE_ROWS_MAX {
            return Ok(None);
        }
    }
    Ok(Some(rows))
}

/// Deals ranges out to partitions: many by number, one by cutting the part of it that has keys.
fn partition(
    source: &dyn RowSource,
    spans: Vec<Span>,
    parts: usize,
    align: &dyn Fn(Bytes) -> Bytes,
) -> Result<Vec<Vec<Span>>> {
    let spans = match <[Span; 1]>::try_from(spans) {
        Ok([span]) => {
            let first = edge(source, &span, Direction::Forward)?;
            let last = edge(source, &span, Direction::Backward)?;
            match (first, last) {
                (Some(first), Some(last)) => {
                    let mut pieces = spans::split(&Span::new(first, Span::key(&last).end), parts);
                    for at in 1..pieces.len() {
                        let cut = align(pieces[at].start.clone()).max(pieces[at - 1].start.clone());
                        pieces[at - 1].end = cut.clone();
                        pieces[at].start = cut;
                    }
                    // The ends stay those that were asked for.
                    if let Some(piece) = pieces.first_mut() {
                        piece.start = span.start.clone();
                    }
                    if let Some(piece) = pieces.last_mut() {
                        piece.end = span.end;
                    }
                    pieces
                }
                _ => vec![span],
            }
        }
        Err(spans) => spans,
    };
    let each = spans.len().div_ceil(parts).max(1);
    Ok(spans.chunks(each).map(<[Span]>::to_vec).collect())
}

fn edge(source: &dyn RowSource, span: &Span, direction: Direction) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    source.scan(span.clone(), direction).next_chunk(1, usize::MAX, &mut |key, _| {
        found.get_or_insert_with(|| key.to_vec());
    })?;
    Ok(found)
}
