//! Looking through `ir` trees: which columns a relation needs from outside, and whether it may be evaluated twice.

use std::collections::{BTreeMap, BTreeSet};

use stratos_types::PgType;

use crate::functions::Volatility;
use crate::ir::{ColumnId, Expr, ExprKind, Rel};

/// What [`Facts::of`] finds out about a relation.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    produced: BTreeSet<ColumnId>,
    referenced: BTreeMap<ColumnId, PgType>,
    /// Calls something volatile.
    pub volatile: bool,
    /// How often each CTE is scanned.
    pub cte_scans: BTreeMap<u32, usize>,
}

impl Facts {
    pub fn of(rel: &Rel) -> Facts {
        let mut facts = Facts::default();
        facts.rel(rel);
        facts
    }

    pub fn of_expr(expr: &Expr) -> Facts {
        let mut facts = Facts::default();
        facts.expr(expr);
        facts
    }

    /// Columns that something outside must supply.
    pub fn free(&self) -> Vec<(ColumnId, PgType)> {
        self.referenced.iter().filter(|(id, _)| !self.produced.contains(id)).map(|(id, ty)| (*id, *ty)).collect()
    }

    fn rel(&mut self, rel: &Rel) {
        self.produced.extend(rel.produced());
        if let Rel::CteScan { cte, .. } = rel {
            *self.cte_scans.entry(*cte).or_default() += 1;
        }
        rel.exprs().into_iter().for_each(|e| self.expr(e));
        rel.inputs().into_iter().for_each(|input| self.rel(input));
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Column(id) => {
                self.referenced.insert(*id, expr.ty.ty);
            }
            ExprKind::Call { function, .. } => self.volatile |= function.volatility == Volatility::Volatile,
            ExprKind::Subquery { query, .. } => self.rel(query),
            _ => {}
        }
        expr.children().into_iter().for_each(|e| self.expr(e));
    }
}
