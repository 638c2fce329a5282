//! Expressions whose columns are resolved to positions of a row once.

use std::collections::HashMap;

use stratos_types::{ColumnType, Datum, Error, Result};

use super::row::{eval, eval_condition};
use crate::ir::{ColumnId, Expr, ExprKind};
use crate::session::EvalContext;

/// Positions of columns in the rows that a program runs on.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    slots: HashMap<ColumnId, u32>,
    width: u32,
}

impl Layout {
    /// Columns in the order of the row's values.
    pub fn new(columns: impl IntoIterator<Item = ColumnId>) -> Layout {
        let mut layout = Layout::default();
        layout.extend(columns);
        layout
    }

    /// Further columns after those there are: a row that is the concatenation of two.
    pub fn extend(&mut self, columns: impl IntoIterator<Item = ColumnId>) {
        for id in columns {
            self.slots.insert(id, self.width);
            self.width += 1;
        }
    }

    /// The columns of another layout behind those there are.
    pub fn append(&mut self, other: &Layout) {
        let width = self.width;
        self.slots.extend(other.slots.iter().map(|(id, slot)| (*id, width + slot)));
        self.width += other.width;
    }

    /// The position of a column.
    pub fn slot(&self, id: ColumnId) -> Option<usize> {
        self.slots.get(&id).map(|slot| *slot as usize)
    }

    /// How many values a row has.
    pub fn width(&self) -> usize {
        self.width as usize
    }
}

/// An expression ready to run on rows of one layout.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its columns are positions.
    expr: Expr,
}

impl Program {
    /// Resolves the expression's columns.
    ///
    /// # Errors
    /// Internal: a column that the layout lacks; 0A000: a subquery.
    pub fn compile(expr: &Expr, layout: &Layout) -> Result<Program> {
        let mut expr = expr.clone();
        resolve(&mut expr, layout)?;
        Ok(Program { expr })
    }

    /// Type of the result.
    pub fn ty(&self) -> ColumnType {
        self.expr.ty
    }

    /// The value for one row.
    ///
    /// # Errors
    /// As the expression's functions and casts.
    pub fn run(&self, row: &[Datum], params: &[Datum], context: &EvalContext) -> Result<Datum> {
        match &self.expr.kind {
            ExprKind::Column(slot) => {
                row.get(slot.0 as usize).cloned().ok_or_else(|| Error::internal("the row is shorter than its layout"))
            }
            ExprKind::Literal(value) => Ok(value.clone()),
            _ => eval(&self.expr, row, params, context),
        }
    }

    /// Whether a condition holds for a row: NULL is no.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn holds(&self, row: &[Datum], params: &[Datum], context: &EvalContext) -> Result<bool> {
        eval_condition(&self.expr, row, params, context)
    }
}

fn resolve(expr: &mut Expr, layout: &Layout) -> Result<()> {
    match &mut expr.kind {
        ExprKind::Column(id) => {
            let slot = layout
                .slots
                .get(id)
                .ok_or_else(|| Error::internal(format_args!("column {} is not in the row", id.0)))?;
            *id = ColumnId(*slot);
            Ok(())
        }
        // Statements whose subqueries a query can compute do not come here with them.
        ExprKind::Subquery { .. } => Err(Error::unsupported("a subquery in this place")),
        _ => expr.children_mut().into_iter().try_for_each(|e| resolve(e, layout)),
    }
}
