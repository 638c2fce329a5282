//! A table of pg_catalog read without a query planner, for a [`super::direct_select::DirectSelect`]: what drivers and other
//! tools ask for when they connect.

use std::sync::Arc;

use stratos_types::{Datum, Result};

use super::beside_others;
use crate::catalog::SystemTable;
use crate::eval::{Layout, Program};
use crate::ir::{Expr, ExprKind, OutputColumn};
use crate::lower::QueryRuntime;
use crate::session::EvalContext;

/// Rows of a system table that are looked at one by one; the general form is quicker for more.
const SYSTEM_ROWS_MAX: usize = 20_000;
/// Rows after which a cancelled statement is noticed.
const ROWS_PER_CANCEL_CHECK: usize = 256;

/// The rows of one system table.
#[derive(Debug)]
pub(super) struct FromSystem {
    table: Arc<dyn SystemTable>,
    filter: Option<Program>,
    /// Whether it looks at columns that tell more than the catalog.
    live: bool,
}

impl FromSystem {
    /// With the layout of its rows; none for tables that tell of sessions and the like, whose statements have to begin as
    /// others do.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub fn compile(
        table: &Arc<dyn SystemTable>,
        columns: &[OutputColumn],
        predicate: Option<&Expr>,
        output: &[&Expr],
    ) -> Result<Option<(FromSystem, Layout)>> {
        let Some(live_columns) = table.live_columns() else { return Ok(None) };
        let layout = Layout::new(columns.iter().map(|column| column.id));
        let mut live = false;
        for expr in output.iter().copied().chain(predicate) {
            expr.walk(&mut |e| {
                if let ExprKind::Column(id) = e.kind {
                    let at = columns.iter().position(|column| column.id == id);
                    live |= at.is_some_and(|at| live_columns.contains(&at));
                }
            });
        }
        let filter = predicate.map(|predicate| Program::compile(predicate, &layout)).transpose()?;
        Ok(Some((FromSystem { table: table.clone(), filter, live }, layout)))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.table.name()
    }

    /// The rows of the output, `enough` of them at most; none when too much would have to be looked at.
    ///
    /// # Errors
    /// Evaluation errors, cancellation.
    pub fn rows(
        &self,
        output: &[Program],
        enough: usize,
        runtime: &QueryRuntime,
        params: &[Datum],
        context: &EvalContext,
    ) -> Result<Option<Vec<Vec<Datum>>>> {
        let found = runtime.system_rows(&*self.table, self.live, context)?;
        if found.len() > SYSTEM_ROWS_MAX {
            return Ok(None);
        }
        beside_others(|| {
            let mut rows = Vec::new();
            for (at, row) in found.iter().enumerate() {
                if at % ROWS_PER_CANCEL_CHECK == ROWS_PER_CANCEL_CHECK - 1 {
                    context.check_canceled()?;
                }
                if let Some(filter) = &self.filter
                    && filter.run(row, params, context)? != Datum::Bool(true)
                {
                    continue;
                }
                rows.push(output.iter().map(|program| program.run(row, params, context)).collect::<Result<_>>()?);
                if rows.len() >= enough {
                    break;
                }
            }
            Ok(Some(rows))
        })
    }
}
