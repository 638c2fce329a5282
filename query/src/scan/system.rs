//! Tables of pg_catalog and the like.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream::BoxStream;
use stratos_types::{Datum, Error, Result};

use super::batches::{BatchSource, SourceTable, schema_of};
use crate::arrow::ColumnBuilder;
use crate::catalog::SystemTable;
use crate::ir::OutputColumn;
use crate::lower::StatementContext;

/// A system table in a plan. `columns`: the table's columns in its order.
pub(crate) fn system_table(table: Arc<dyn SystemTable>, columns: Vec<OutputColumn>) -> SourceTable {
    let source = SystemRows { table, columns: columns.clone() };
    SourceTable::new(&columns, Arc::new(source))
}

#[derive(Debug)]
struct SystemRows {
    table: Arc<dyn SystemTable>,
    columns: Vec<OutputColumn>,
}

impl BatchSource for SystemRows {
    fn describe(&self) -> String {
        format!("Seq Scan on {}", self.table.name())
    }

    fn stream(&self, statement: Arc<StatementContext>) -> BoxStream<'static, Result<RecordBatch>> {
        let (table, columns) = (self.table.clone(), self.columns.clone());
        let rows = move || match table.live_columns() {
            Some([]) => batch_of(&columns, &statement.runtime.system_rows(&*table, false, &statement.eval)?),
            _ => batch_of(&columns, &table.rows(statement.system()?)?),
        };
        futures::stream::once(async move { rows() }).boxed()
    }
}

/// Rows as a batch with fields named after the columns.
pub(crate) fn batch_of(columns: &[OutputColumn], rows: &[Vec<Datum>]) -> Result<RecordBatch> {
    let mut builders: Vec<ColumnBuilder> = columns.iter().map(|c| ColumnBuilder::new(c.ty.ty, rows.len())).collect();
    for row in rows {
        for (builder, value) in builders.iter_mut().zip(row) {
            builder.push(value)?;
        }
    }
    let arrays = builders.iter_mut().map(ColumnBuilder::finish).collect();
    RecordBatch::try_new_with_options(
        schema_of(columns),
        arrays,
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len())),
    )
    .map_err(|e| Error::internal(format!("rows of a computed table: {e}")))
}
