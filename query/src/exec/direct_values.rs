//! Rows that are written in a query, read without a query planner, for a [`super::direct_select::DirectSelect`]: `VALUES`, and
//! selects without a table that `UNION ALL` joins. In a lateral join they are what makes rows of columns.

use std::collections::HashMap;

use stratos_types::{Datum, Result};

use crate::eval::{Layout, Program};
use crate::ir::{ColumnId, Expr, ExprKind, OutputColumn, Rel, SetOpKind, Walk};
use crate::session::EvalContext;

/// Most values in all rows.
const VALUES_MAX: usize = 4096;
/// Rows after which a cancelled statement is noticed.
const ROWS_PER_CANCEL_CHECK: usize = 256;

/// Rows of a query, each computed without any other.
pub(super) struct WrittenRows {
    /// Identities of the columns.
    pub columns: Vec<ColumnId>,
    rows: Vec<Vec<Expr>>,
}

impl WrittenRows {
    /// The rows that a relation consists of, if it has no other source of rows.
    pub fn of(rel: &Rel) -> Option<WrittenRows> {
        let ids = |columns: &[OutputColumn]| columns.iter().map(|column| column.id).collect();
        let found = match rel {
            Rel::Values { columns, rows } if rows.len().saturating_mul(columns.len()) > VALUES_MAX => return None,
            Rel::Values { columns, rows } => WrittenRows { columns: ids(columns), rows: rows.clone() },
            Rel::Alias { input, columns } => {
                let below = WrittenRows::of(input)?;
                let at = |id: &ColumnId| below.columns.iter().position(|column| column == id);
                let places: Vec<usize> = columns.iter().map(|(_, id)| at(id)).collect::<Option<_>>()?;
                let row = |row: &Vec<Expr>| places.iter().map(|at| row[*at].clone()).collect();
                let rows = below.rows.iter().map(row).collect();
                WrittenRows { columns: columns.iter().map(|(column, _)| column.id).collect(), rows }
            }
            Rel::Project { input, columns } => {
                let below = WrittenRows::of(input)?;
                let mut rows = Vec::with_capacity(below.rows.len());
                for row in &below.rows {
                    rows.push(columns.iter().map(|(_, e)| over(e, &below.columns, row)).collect::<Option<_>>()?);
                }
                WrittenRows { columns: columns.iter().map(|(column, _)| column.id).collect(), rows }
            }
            Rel::SetOp { op: SetOpKind::Union, all: true, left, right, columns } => {
                let (left, right) = (WrittenRows::of(left)?, WrittenRows::of(right)?);
                WrittenRows { columns: ids(columns), rows: left.rows.into_iter().chain(right.rows).collect() }
            }
            _ => return None,
        };
        let values: usize = found.rows.iter().map(|row| row.len().max(1)).sum();
        (values <= VALUES_MAX).then_some(found)
    }

    /// Whether they are just one row without columns: no FROM.
    pub fn is_nothing(&self) -> bool {
        self.columns.is_empty() && self.rows.len() == 1
    }

    /// All values.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.rows.iter().flatten()
    }
}

/// An expression over the columns of a row, with what these are computed by: each of them once, so that nothing grows.
fn over(e: &Expr, columns: &[ColumnId], row: &[Expr]) -> Option<Expr> {
    let values: HashMap<ColumnId, &Expr> = columns.iter().copied().zip(row).collect();
    let mut used: Vec<ColumnId> = Vec::new();
    let mut twice = false;
    let mut e = e.clone();
    e.try_rewrite(&mut |e| {
        let ExprKind::Column(id) = e.kind else { return Ok(Walk::Into) };
        let Some(value) = values.get(&id) else { return Ok(Walk::Skip) };
        twice |= used.contains(&id) && !value.is_given();
        used.push(id);
        *e = (*value).clone();
        Ok(Walk::Skip)
    })
    .ok()?;
    (!twice).then_some(e)
}

/// Rows of a query and the condition on them, compiled.
#[derive(Debug)]
pub(super) struct FromValues {
    rows: Vec<Vec<Program>>,
    filter: Option<Program>,
}

impl FromValues {
    /// With the layout of its rows.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub fn compile(written: &WrittenRows, predicate: Option<&Expr>) -> Result<(FromValues, Layout)> {
        let (none, layout) = (Layout::default(), Layout::new(written.columns.iter().copied()));
        let row = |row: &Vec<Expr>| row.iter().map(|e| Program::compile(e, &none)).collect::<Result<_>>();
        let rows = written.rows.iter().map(row).collect::<Result<_>>()?;
        let filter = predicate.map(|predicate| Program::compile(predicate, &layout)).transpose()?;
        Ok((FromValues { rows, filter }, layout))
    }

    /// The rows of the output, `enough` of them at most.
    ///
    /// # Errors
    /// Evaluation errors, cancellation.
    pub fn rows(
        &self,
        output: &[Program],
        enough: usize,
        params: &[Datum],
        context: &EvalContext,
    ) -> Result<Vec<Vec<Datum>>> {
        let mut rows = Vec::with_capacity(self.rows.len().min(enough));
        for (at, row) in self.rows.iter().enumerate() {
            if at % ROWS_PER_CANCEL_CHECK == ROWS_PER_CANCEL_CHECK - 1 {
                context.check_canceled()?;
            }
            let row: Vec<Datum> = row.iter().map(|value| value.run(&[], params, context)).collect::<Result<_>>()?;
            if let Some(filter) = &self.filter
                && filter.run(&row, params, context)? != Datum::Bool(true)
            {
                continue;
            }
            rows.push(output.iter().map(|program| program.run(&row, params, context)).collect::<Result<_>>()?);
            if rows.len() >= enough {
                break;
            }
        }
        Ok(rows)
    }
}
