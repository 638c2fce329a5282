//! RETURNING: what a statement remembers of the rows that it has changed, and what becomes of it.

use std::sync::Arc;

use stratos_replication::ReadView;
use stratos_types::{Datum, Error, Result};

use super::dml::{SOURCE_CHUNK_ROWS, run_all};
use super::{Changes, StatementContext, row_locks};
use crate::eval::{Layout, Program};
use crate::ir::{Expr, OutputColumn, Rel, Returning};

/// RETURNING, compiled.
#[derive(Debug)]
pub(super) enum Returns {
    /// Row by row.
    Rows(Vec<Program>),
    /// With subqueries: the rows are kept as they are, and a query over them gives the result at the end.
    Query { kept: Vec<OutputColumn>, columns: Vec<(OutputColumn, Expr)> },
}

impl Returns {
    /// `kept`: the columns that a row has.
    pub(super) fn compile(returning: &Option<Returning>, kept: Vec<OutputColumn>) -> Result<Option<Returns>> {
        let Some(returning) = returning else { return Ok(None) };
        if returning.columns.iter().any(|(_, e)| e.has_subquery()) {
            let rows = Rel::Values { columns: Vec::new(), rows: Vec::new() };
            let rel = Rel::Project { input: Box::new(rows), columns: returning.columns.clone() };
            if !row_locks::locked_tables(&rel).is_empty() {
                return Err(Error::unsupported("FOR UPDATE in RETURNING"));
            }
            return Ok(Some(Returns::Query { kept, columns: returning.columns.clone() }));
        }
        let layout = Layout::new(kept.iter().map(|c| c.id));
        let programs = returning.columns.iter().map(|(_, e)| Program::compile(e, &layout)).collect::<Result<_>>()?;
        Ok(Some(Returns::Rows(programs)))
    }

    /// What is to be remembered of a row.
    pub(super) fn row(&self, row: &[Datum], context: &StatementContext<'_>) -> Result<Vec<Datum>> {
        match self {
            Returns::Rows(programs) => run_all(programs, row, context),
            Returns::Query { .. } => Ok(row.to_vec()),
        }
    }

    /// The statement's snapshot, where the end will need it: subqueries of RETURNING do not see what the statement did.
    pub(super) fn snapshot(returning: &Option<Returns>, context: &StatementContext<'_>) -> Option<Arc<ReadView>> {
        matches!(returning, Some(Returns::Query { .. })).then(|| Arc::new(context.transaction.view()))
    }

    /// Turns what was remembered into the result.
    pub(super) async fn finish(
        returning: &Option<Returns>,
        view: Option<Arc<ReadView>>,
        context: &mut StatementContext<'_>,
        changes: &mut Changes,
    ) -> Result<()> {
        let (Some(Returns::Query { kept, columns }), Some(view)) = (returning, view) else { return Ok(()) };
        let literals = |row: Vec<Datum>| row.into_iter().zip(kept).map(|(v, c)| Expr::literal(v, c.ty)).collect();
        let (rows, _charge) = std::mem::take(&mut changes.returned).into_parts();
        let rows: Vec<Vec<Expr>> = rows.into_iter().map(literals).collect();
        let input = Box::new(Rel::Values { columns: kept.clone(), rows });
        let rel = Rel::Project { input, columns: columns.clone() };
        let runtime = context.engine.runtime();
        let mut result = crate::lower::execute(&rel, context.params, view, context.eval, runtime).await?;
        while let Some(rows) = result.next_rows(SOURCE_CHUNK_ROWS).await? {
            for row in rows {
                changes.returned.push(row, runtime)?;
            }
        }
        Ok(())
    }
}
