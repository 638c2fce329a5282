//! Expressions that DataFusion had better not see: its passes take time that grows faster than the depth and the length of
//! an expression, and stack with the depth. They become one function, evaluated row by row.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use datafusion::logical_expr::{Expr as DfExpr, Operator};
use stratos_types::{ColumnType, Result};

use super::Lowerer;
use super::expr::may_fail;
use super::kernel;
use super::tuples::{Equality, equality, is_constant};
use super::udf::{RowFunction, RowOp, RowProgram};
use super::walk::Facts;
use crate::eval::{Layout, Program};
use crate::functions::{Function, Volatility};
use crate::ir::{ColumnId, Expr, ExprKind, Quantifier, Walk};

/// Deepest expression that is lowered node by node.
const DEPTH_MAX: usize = 64;
/// Longest AND, OR, COALESCE, CASE, or IN list of other than constants, that is.
pub(super) const WIDTH_MAX: usize = 200;
/// An OR of more terms than this is searched for equalities with one column.
pub(super) const MERGED_ABOVE: usize = 8;

/// Whether it calls something volatile with nothing but constants (`nextval('s')`). To DataFusion a call of constants is a constant,
/// whatever is called, and rows are in the order of constants without a sort. One without arguments is none.
fn is_volatile_of_constants(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Call { function, args } => {
            function.volatility == Volatility::Volatile && !args.is_empty() && args.iter().all(Expr::is_constant)
        }
        _ => false,
    }
}

impl Lowerer<'_> {
    /// The expression as one function, if it is too deep, too long, or something volatile whose arguments are constants. One with a
    /// subquery is lowered in any case.
    pub(super) fn by_row(&self, expr: &Expr) -> Result<Option<DfExpr>> {
        if !(too_long(expr) || deeper_than(expr, DEPTH_MAX) || is_volatile_of_constants(expr)) || has_subquery(expr) {
            return Ok(None);
        }
        // It runs with the parameters of its statement, but what is constant in it would be computed for good.
        self.tie_to_execution();
        let facts = Facts::of_expr(expr);
        let columns = facts.free();
        let layout = Layout::new(columns.iter().map(|(id, _)| *id));
        let program = RowProgram {
            program: Program::compile(expr, &layout)?,
            volatile: facts.volatile,
            may_fail: may_fail(expr),
        };
        let args = columns.iter().map(|(id, ty)| self.expr(&Expr::column(*id, (*ty).into()))).collect::<Result<_>>()?;
        let types = columns.into_iter().map(|(_, ty)| ty).collect();
        Ok(Some(RowFunction::call(RowOp::Program(Arc::new(program)), types, expr.ty.ty, args)))
    }
}

impl Lowerer<'_> {
    /// An IN list with its constant members computed: drivers send numbers as the shortest type that holds them, so that a
    /// list has casts in it, and only a list of constants is a set.
    pub(super) fn constant_members(&self, expr: &Expr) -> Option<Expr> {
        let ExprKind::InList { equals, arg, list } = &expr.kind else { return None };
        let folds = |e: &Expr| match &e.kind {
            ExprKind::Cast { arg, .. } => is_constant(arg),
            _ => false,
        };
        if list.len() > WIDTH_MAX {
            // A plan with so many open parameters is no gain.
            self.tie_to_execution();
        }
        if !list.iter().any(folds) {
            return None;
        }
        self.tie_to_execution();
        let member = |e: &Expr| {
            if !folds(e) {
                return e.clone();
            }
            // What fails is left to fail when it is needed.
            match crate::eval::eval(e, &(), &self.statement.params, &self.statement.eval) {
                Ok(value) => Expr::literal(value, e.ty),
                Err(_) => e.clone(),
            }
        };
        let list = list.iter().map(member).collect();
        Some(Expr { kind: ExprKind::InList { equals, arg: arg.clone(), list }, ty: expr.ty })
    }
}

fn too_long(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::And(list) | ExprKind::Or(list) | ExprKind::Coalesce(list) => list.len() > WIDTH_MAX,
        ExprKind::Case { branches, .. } => branches.len() > WIDTH_MAX,
        ExprKind::InList { equals, arg, list } => {
            let set = kernel::comparison(equals) == Some(Operator::Eq)
                && list.iter().all(|e| e.ty.ty == arg.ty.ty && e.is_given());
            list.len() > WIDTH_MAX && !set
        }
        _ => false,
    }
}

fn deeper_than(expr: &Expr, levels: usize) -> bool {
    levels == 0 || expr.children().into_iter().any(|child| deeper_than(child, levels - 1))
}

fn has_subquery(expr: &Expr) -> bool {
    let mut found = false;
    expr.visit(&mut |e| {
        found |= matches!(e.kind, ExprKind::Subquery { .. });
        if found { Walk::Skip } else { Walk::Into }
    });
    found
}

/// Equalities of one column with constants, as one condition.
struct Listed<'e> {
    id: ColumnId,
    function: &'static Function,
    column: &'e Expr,
    list: Vec<Expr>,
}

impl<'e> Listed<'e> {
    fn of(equality: &Equality<'e>) -> Self {
        let Equality { column, id, function, value } = equality;
        Listed { id: *id, function, column, list: vec![(*value).clone()] }
    }

    fn is_of(&self, equality: &Equality<'_>) -> bool {
        self.id == equality.id && self.function.oid == equality.function.oid
    }

    /// An IN list, or where the constants have another type `= ANY`, which goes across types.
    fn condition(self, ty: ColumnType) -> Expr {
        let of = self.list.first().map_or(self.column.ty.ty, |value| value.ty.ty);
        let kind = match of.array().filter(|_| of != self.column.ty.ty) {
            None => ExprKind::InList { equals: self.function, arg: Box::new(self.column.clone()), list: self.list },
            Some(array) => ExprKind::Quantified {
                quantifier: Quantifier::Any,
                operator: self.function,
                left: Box::new(self.column.clone()),
                array: Box::new(Expr { kind: ExprKind::Array(self.list), ty: array.into() }),
            },
        };
        Expr { kind, ty }
    }
}

/// The terms of a long OR, those that compare one column with constants as one IN list, which is a search in a set and which
/// a scan can make keys of.
pub(super) fn merge_equalities(expr: &Expr) -> Option<Expr> {
    let ExprKind::Or(terms) = &expr.kind else { return None };
    if terms.len() <= MERGED_ABOVE {
        return None;
    }
    let mut lists: Vec<Listed<'_>> = Vec::new();
    let mut by_column: HashMap<(ColumnId, u32), usize> = HashMap::new();
    let mut others: Vec<Expr> = Vec::new();
    for term in terms {
        let Some(found) = equality(term) else {
            others.push(term.clone());
            continue;
        };
        match by_column.entry((found.id, found.function.oid)) {
            Entry::Occupied(at) => lists[*at.get()].list.push(found.value.clone()),
            Entry::Vacant(at) => {
                at.insert(lists.len());
                lists.push(Listed::of(&found));
            }
        }
    }
    let mut merged: Vec<Expr> = lists.into_iter().map(|listed| listed.condition(expr.ty)).collect();
    merged.append(&mut others);
    match merged.len() {
        1 => merged.pop(),
        count if count < terms.len() => Some(Expr { kind: ExprKind::Or(merged), ty: expr.ty }),
        _ => None,
    }
}

/// Of an OR each of whose branches fixes a column: that the column is one of those values. Where that is false or unknown
/// for a row, the OR is too, so that to ask for both is to ask for the OR.
pub(super) fn pinned(expr: &Expr) -> Vec<Expr> {
    let ExprKind::Or(terms) = &expr.kind else { return Vec::new() };
    let mut lists: Vec<Listed<'_>> = Vec::new();
    for (at, term) in terms.iter().enumerate() {
        let equalities: Vec<Equality<'_>> = term.conjuncts().into_iter().filter_map(equality).collect();
        if at == 0 {
            lists.extend(equalities.iter().map(Listed::of));
        } else {
            lists.retain_mut(|listed| {
                let found = equalities.iter().find(|equality| listed.is_of(equality));
                listed.list.extend(found.map(|equality| equality.value.clone()));
                found.is_some()
            });
        }
        if lists.is_empty() {
            break;
        }
    }
    lists.into_iter().map(|listed| listed.condition(expr.ty)).collect()
}
