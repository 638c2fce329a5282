//! ON CONFLICT DO UPDATE: what becomes of the row that stands in the way.

use std::sync::Arc;

use stratos_replication::ReadView;
use stratos_types::{Datum, Error, Result};

use super::change::HOISTED_FIRST;
use super::dml::{Assignments, SOURCE_CHUNK_ROWS, columns_as, is_true};
use super::{StatementContext, row_locks};
use crate::catalog::Table;
use crate::eval::{Layout, Program};
use crate::ir::{ColumnId, Expr, OnConflict, OutputColumn, Rel};

/// `SET` and `WHERE` of DO UPDATE, compiled.
#[derive(Debug)]
pub(super) enum ConflictUpdate {
    /// Row by row.
    Rows { assignments: Assignments, filter: Option<Program> },
    /// With subqueries: a query for each row.
    Query {
        /// The old row and EXCLUDED.
        both: Vec<OutputColumn>,
        /// The columns that are set, as positions.
        set: Vec<usize>,
        /// What they are set to.
        values: Vec<(OutputColumn, Expr)>,
        /// WHERE.
        filter: Option<Expr>,
    },
}

impl ConflictUpdate {
    /// None for DO NOTHING. `target`: the identities of the old row's columns.
    pub(super) fn compile(
        table: &Table,
        target: &[ColumnId],
        on_conflict: &OnConflict,
    ) -> Result<Option<ConflictUpdate>> {
        let Some(assignments) = &on_conflict.update else { return Ok(None) };
        let mut exprs = assignments.iter().map(|a| &a.value).chain(&on_conflict.filter);
        if !exprs.any(Expr::has_subquery) {
            let layout = Layout::new(target.iter().chain(&on_conflict.excluded).copied());
            return Ok(Some(ConflictUpdate::Rows {
                assignments: Assignments::compile(assignments, &layout)?,
                filter: on_conflict.filter.as_ref().map(|f| Program::compile(f, &layout)).transpose()?,
            }));
        }
        let mut both = columns_as(table, target);
        both.extend(columns_as(table, &on_conflict.excluded));
        let values = (HOISTED_FIRST..).zip(assignments).map(|(id, assignment)| {
            let column = OutputColumn {
                id: ColumnId(id),
                name: String::new(),
                ty: table.columns[assignment.column].ty,
                origin: None,
            };
            (column, assignment.value.clone())
        });
        let update = ConflictUpdate::Query {
            both,
            set: assignments.iter().map(|a| a.column).collect(),
            values: values.collect(),
            filter: on_conflict.filter.clone(),
        };
        if update.query(Vec::new()).is_some_and(|rel| !row_locks::locked_tables(&rel).is_empty()) {
            return Err(Error::unsupported("FOR UPDATE in ON CONFLICT DO UPDATE"));
        }
        Ok(Some(update))
    }

    /// The statement's snapshot, where it will be needed: subqueries do not see what the statement did.
    pub(super) fn snapshot(&self, context: &StatementContext<'_>) -> Option<Arc<ReadView>> {
        matches!(self, ConflictUpdate::Query { .. }).then(|| Arc::new(context.transaction.view()))
    }

    /// The query over old rows with their EXCLUDED.
    fn query(&self, rows: Vec<Vec<Expr>>) -> Option<Rel> {
        let ConflictUpdate::Query { both, values, filter, .. } = self else { return None };
        let mut input = Box::new(Rel::Values { columns: both.clone(), rows });
        if let Some(predicate) = filter {
            input = Box::new(Rel::Filter { input, predicate: predicate.clone() });
        }
        Some(Rel::Project { input, columns: values.clone() })
    }

    /// The new row; none where WHERE does not hold. `view`: see [`ConflictUpdate::snapshot`].
    ///
    /// # Errors
    /// Those of the expressions and subqueries.
    pub(super) async fn new_row(
        &self,
        context: &StatementContext<'_>,
        view: &Option<Arc<ReadView>>,
        old: &[Datum],
        excluded: &[Datum],
    ) -> Result<Option<Vec<Datum>>> {
        let both = old.iter().chain(excluded);
        match (self, view) {
            (ConflictUpdate::Rows { assignments, filter }, _) => {
                let both: Vec<Datum> = both.cloned().collect();
                if !is_true(filter, &both, context)? {
                    return Ok(None);
                }
                assignments.apply(old, &both, context).map(Some)
            }
            (ConflictUpdate::Query { both: columns, set, .. }, Some(view)) => {
                let row = both.zip(columns).map(|(value, column)| Expr::literal(value.clone(), column.ty)).collect();
                let rel = self.query(vec![row]).ok_or_else(|| Error::internal("no query of DO UPDATE"))?;
                let runtime = context.engine.runtime();
                let run = crate::lower::execute(&rel, context.params, view.clone(), context.eval, runtime);
                let mut result = Box::pin(run).await?;
                let mut found = None;
                while let Some(rows) = result.next_rows(SOURCE_CHUNK_ROWS).await? {
                    found = rows.into_iter().next().or(found);
                }
                Ok(found.map(|values| {
                    let mut new = old.to_vec();
                    for (at, value) in set.iter().zip(values) {
                        new[*at] = value;
                    }
                    new
                }))
            }
            (ConflictUpdate::Query { .. }, None) => Err(Error::internal("DO UPDATE without a snapshot")),
        }
    }
}
