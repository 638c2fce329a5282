//! What INSERT, UPDATE and DELETE share in their general form: rows come from a query, one by one, and go through a
//! [`TableWriter`](super::write::TableWriter).
//!
//! READ COMMITTED as Postgres means it: a row that somebody else is changing is waited for; when it did change, the WHERE
//! clause is asked again with the row as it is now, and the new values are computed from that. Where that is not possible,
//! the statement takes back what it did and begins again with a new snapshot, holding on to the rows that it has locked: when
//! the row has gone, because it may be there under another key, and when the statement has subqueries.

use std::sync::Arc;

use stratos_types::{Datum, Result};

use super::StatementContext;
use crate::catalog::Table;
use crate::eval::{Layout, Program};
use crate::ir::{Assignment, ColumnId, Expr, OutputColumn, Rel};

/// Rows that a statement takes from its source at once.
pub(super) const SOURCE_CHUNK_ROWS: usize = 1024;

/// Programs of expressions over one layout.
pub(super) fn compile_all(exprs: &[Expr], layout: &Layout) -> Result<Vec<Program>> {
    exprs.iter().map(|e| Program::compile(e, layout)).collect()
}

/// A table's columns under the identities that a statement gave them.
pub(super) fn columns_as(table: &Table, ids: &[ColumnId]) -> Vec<OutputColumn> {
    let column = |(column, id): (&crate::catalog::Column, &ColumnId)| OutputColumn {
        id: *id,
        name: column.name.clone(),
        ty: column.ty,
        origin: None,
    };
    table.columns.iter().zip(ids).map(column).collect()
}

/// The values of programs for a row.
pub(super) fn run_all(programs: &[Program], row: &[Datum], context: &StatementContext<'_>) -> Result<Vec<Datum>> {
    programs.iter().map(|p| p.run(row, context.params, context.eval)).collect()
}

/// Whether a condition holds for a row; none always does.
pub(super) fn is_true(program: &Option<Program>, row: &[Datum], context: &StatementContext<'_>) -> Result<bool> {
    match program {
        None => Ok(true),
        Some(program) => Ok(program.run(row, context.params, context.eval)? == Datum::Bool(true)),
    }
}

/// `SET` assignments compiled against a layout.
#[derive(Debug)]
pub(super) struct Assignments {
    columns: Vec<usize>,
    values: Vec<Program>,
}

impl Assignments {
    pub(super) fn compile(assignments: &[Assignment], layout: &Layout) -> Result<Assignments> {
        Ok(Assignments {
            columns: assignments.iter().map(|a| a.column).collect(),
            values: assignments.iter().map(|a| Program::compile(&a.value, layout)).collect::<Result<_>>()?,
        })
    }

    pub(super) fn apply(&self, old: &[Datum], row: &[Datum], context: &StatementContext<'_>) -> Result<Vec<Datum>> {
        let mut new = old.to_vec();
        for (column, value) in self.columns.iter().zip(&self.values) {
            new[*column] = value.run(row, context.params, context.eval)?;
        }
        Ok(new)
    }
}

/// Runs the query that feeds a data-changing statement.
pub(super) async fn source_rows(context: &mut StatementContext<'_>, rel: &Rel) -> Result<crate::lower::RowStream> {
    let view = Arc::new(context.transaction.view());
    // On the heap, so that statements without a query are small to move about.
    Box::pin(crate::lower::execute(rel, context.params, view, context.eval, context.engine.runtime())).await
}

/// The rows of such a query where they need no plan and are not many.
///
/// # Errors
/// The query's.
pub(super) fn rows_by_key(context: &mut StatementContext<'_>, rel: &Rel) -> Result<Option<Vec<Vec<Datum>>>> {
    let view = Arc::new(context.transaction.view());
    crate::lower::rows_by_key(rel, context.params, view, context.eval, context.engine.runtime())
}

/// Tables by OID, with some more.
pub(super) fn with_tables(tables: &[Arc<Table>], more: Vec<Arc<Table>>) -> Vec<Arc<Table>> {
    let mut all: Vec<Arc<Table>> = tables.iter().cloned().chain(more).collect();
    all.sort_by_key(|table| table.oid);
    all.dedup_by_key(|table| table.oid);
    all
}
