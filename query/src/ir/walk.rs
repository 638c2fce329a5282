//! Walking trees: children of expressions and relations, structural equality of expressions.

use std::sync::Arc;

use stratos_types::Result;

use super::expr::{AggregateCall, ColumnId, Expr, ExprKind, FrameBound, SubqueryKind, WindowCall, WindowFunction};
use super::rel::Rel;

/// What a visitor wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// Go on with the children.
    Into,
    /// Leave the children alone.
    Skip,
}

// The shapes below are written down once each; what differs between looking and changing is passed in: the iterator's name
// and `mut`.

/// Direct operands of an expression.
macro_rules! operands {
    ($expr:ident, $iter:ident, $as_deref:ident $(, $mut:tt)?) => {
        match &$($mut)? $expr.kind {
            ExprKind::Literal(_) | ExprKind::Column(_) | ExprKind::Param(_) => Vec::new(),
            ExprKind::Call { args, .. }
            | ExprKind::And(args)
            | ExprKind::Or(args)
            | ExprKind::Coalesce(args)
            | ExprKind::Extremum { args, .. }
            | ExprKind::Array(args)
            | ExprKind::Row(args, _) => args.$iter().collect(),
            ExprKind::Cast { arg, .. } | ExprKind::Not(arg) | ExprKind::IsNull(arg) => vec![arg],
            ExprKind::NotDistinct { left, right, .. } => vec![left, right],
            ExprKind::Case { branches, otherwise } => branches
                .$iter()
                .flat_map(|b| [&$($mut)? b.when, &$($mut)? b.then])
                .chain(otherwise.$as_deref())
                .collect(),
            ExprKind::InList { arg, list, .. } => std::iter::once(&$($mut)? **arg).chain(list.$iter()).collect(),
            ExprKind::Quantified { left, array, .. } => vec![left, array],
            ExprKind::Subscript { array, index } => vec![array, index],
            ExprKind::Subquery { kind, .. } => match kind {
                SubqueryKind::Quantified { left, .. } => vec![left],
                SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array => Vec::new(),
            },
        }
    };
}

/// What an aggregate's call evaluates per row.
macro_rules! aggregate_operands {
    ($call:expr, $iter:ident, $as_ref:ident $(, $mut:tt)?) => {
        $call.args.$iter().chain($call.filter.$as_ref()).chain($call.order_by.$iter().map(|k| &$($mut)? k.expr))
    };
}

/// What a window function's call evaluates per row.
macro_rules! window_operands {
    ($call:ident, $iter:ident, $exprs:ident $(, $mut:tt)?) => {{
        let mut all: Vec<&$($mut)? Expr> = match &$($mut)? $call.function {
            WindowFunction::Aggregate(call) => call.$exprs().collect(),
            WindowFunction::Builtin { args, .. } => args.$iter().collect(),
        };
        all.extend(&$($mut)? $call.partition_by);
        all.extend($call.order_by.$iter().map(|k| &$($mut)? k.expr));
        if let Some(frame) = &$($mut)? $call.frame {
            for bound in [&$($mut)? frame.start, &$($mut)? frame.end] {
                if let FrameBound::Preceding(e) | FrameBound::Following(e) = bound {
                    all.push(e);
                }
            }
        }
        all
    }};
}

/// Relations directly below a relation. `$unshare` is how to get at a CTE's definition.
macro_rules! inputs {
    ($rel:ident, $iter:ident, $as_ref:ident, $unshare:expr $(, $mut:tt)?) => {
        match $rel {
            Rel::Scan { .. }
            | Rel::SystemScan { .. }
            | Rel::Values { .. }
            | Rel::TableFunction { .. }
            | Rel::CteScan { .. } => Vec::new(),
            Rel::Filter { input, .. }
            | Rel::Project { input, .. }
            | Rel::Aggregate { input, .. }
            | Rel::Window { input, .. }
            | Rel::Sort { input, .. }
            | Rel::Limit { input, .. }
            | Rel::Distinct { input }
            | Rel::DistinctOn { input, .. }
            | Rel::Alias { input, .. } => vec![input],
            Rel::Join { left, right, .. } | Rel::SetOp { left, right, .. } => vec![left, right],
            Rel::With { ctes, body } => {
                let mut all = Vec::with_capacity(ctes.len() + 1);
                for cte in ctes.$iter() {
                    all.push($unshare(&$($mut)? cte.query));
                    all.extend(cte.recursive.$as_ref().map(|(term, _)| $unshare(term)));
                }
                all.push(body);
                all
            }
        }
    };
}

/// Expressions of a relation itself.
macro_rules! rel_operands {
    ($rel:ident, $iter:ident, $exprs:ident, $as_ref:ident $(, $mut:tt)?) => {
        match $rel {
            Rel::Scan { .. }
            | Rel::SystemScan { .. }
            | Rel::CteScan { .. }
            | Rel::Distinct { .. }
            | Rel::SetOp { .. }
            | Rel::With { .. }
            | Rel::Alias { .. } => Vec::new(),
            Rel::Values { rows, .. } => rows.$iter().flatten().collect(),
            Rel::TableFunction { args, .. } => args.$iter().collect(),
            Rel::Filter { predicate, .. } => vec![predicate],
            Rel::Project { columns, .. } => columns.$iter().map(|(_, e)| e).collect(),
            Rel::Join { on, .. } => on.$iter().collect(),
            Rel::Aggregate { group_by, aggregates, .. } => group_by
                .$iter()
                .map(|(_, e)| e)
                .chain(aggregates.$iter().flat_map(|(_, call)| call.$exprs()))
                .collect(),
            Rel::Window { calls, .. } => calls.$iter().flat_map(|(_, call)| call.$exprs()).collect(),
            Rel::Sort { keys, .. } => keys.$iter().map(|k| &$($mut)? k.expr).collect(),
            Rel::Limit { limit, offset, .. } => limit.$as_ref().into_iter().chain(offset).collect(),
            Rel::DistinctOn { on, keys, .. } => on.$iter().chain(keys.$iter().map(|k| &$($mut)? k.expr)).collect(),
        }
    };
}

impl Expr {
    /// Direct operands, without what is inside a subquery's relation.
    pub fn children(&self) -> Vec<&Expr> {
        operands!(self, iter, as_deref)
    }

    /// As [`Expr::children`].
    pub fn children_mut(&mut self) -> Vec<&mut Expr> {
        operands!(self, iter_mut, as_deref_mut, mut)
    }

    /// Whether the row evaluator cannot run the expression because a query is inside.
    pub fn has_subquery(&self) -> bool {
        let mut found = false;
        self.walk(&mut |e| found |= matches!(e.kind, ExprKind::Subquery { .. }));
        found
    }

    /// Shows the expression and every expression inside it, parents first. Queries inside are not entered.
    pub fn walk(&self, show: &mut dyn FnMut(&Expr)) {
        show(self);
        for child in self.children() {
            child.walk(show);
        }
    }

    /// Visits this expression and everything below, subqueries included, parents first.
    pub fn visit(&self, f: &mut dyn FnMut(&Expr) -> Walk) {
        if f(self) == Walk::Skip {
            return;
        }
        for child in self.children() {
            child.visit(f);
        }
        if let ExprKind::Subquery { query, .. } = &self.kind {
            query.visit_exprs(f);
        }
    }

    /// Rewrites this expression and everything below, subqueries included, parents first.
    ///
    /// # Errors
    /// The first error that `f` gives.
    pub fn try_rewrite(&mut self, f: &mut dyn FnMut(&mut Expr) -> Result<Walk>) -> Result<()> {
        if f(self)? == Walk::Skip {
            return Ok(());
        }
        for child in self.children_mut() {
            child.try_rewrite(f)?;
        }
        if let ExprKind::Subquery { query, .. } = &mut self.kind {
            Arc::make_mut(query).try_rewrite_exprs(f)?;
        }
        Ok(())
    }

    /// Columns that the expression mentions, subqueries included.
    pub fn columns(&self) -> Vec<ColumnId> {
        let mut found = Vec::new();
        self.visit(&mut |e| {
            if let ExprKind::Column(id) = e.kind {
                found.push(id);
            }
            Walk::Into
        });
        found
    }
}

impl AggregateCall {
    /// Everything that the call evaluates per row.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        aggregate_operands!(self, iter, as_ref)
    }

    /// As [`AggregateCall::exprs`].
    pub fn exprs_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        aggregate_operands!(self, iter_mut, as_mut, mut)
    }
}

impl WindowCall {
    /// Everything that the call evaluates per row.
    pub fn exprs(&self) -> Vec<&Expr> {
        window_operands!(self, iter, exprs)
    }

    /// As [`WindowCall::exprs`].
    pub fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        window_operands!(self, iter_mut, exprs_mut, mut)
    }
}

impl Rel {
    /// Relations directly below.
    pub fn inputs(&self) -> Vec<&Rel> {
        inputs!(self, iter, as_ref, Arc::as_ref)
    }

    /// As [`Rel::inputs`]; shared CTE definitions are made unique.
    pub fn inputs_mut(&mut self) -> Vec<&mut Rel> {
        inputs!(self, iter_mut, as_mut, Arc::make_mut, mut)
    }

    /// Expressions of this relation itself.
    pub fn exprs(&self) -> Vec<&Expr> {
        rel_operands!(self, iter, exprs, as_ref)
    }

    /// As [`Rel::exprs`].
    pub fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        rel_operands!(self, iter_mut, exprs_mut, as_mut, mut)
    }

    /// Visits every expression of this relation and of all below, subqueries included.
    pub fn visit_exprs(&self, f: &mut dyn FnMut(&Expr) -> Walk) {
        for e in self.exprs() {
            e.visit(f);
        }
        for input in self.inputs() {
            input.visit_exprs(f);
        }
    }

    /// Rewrites every expression of this relation and of all below, subqueries included.
    ///
    /// # Errors
    /// The first error that `f` gives.
    pub fn try_rewrite_exprs(&mut self, f: &mut dyn FnMut(&mut Expr) -> Result<Walk>) -> Result<()> {
        for e in self.exprs_mut() {
            e.try_rewrite(f)?;
        }
        for input in self.inputs_mut() {
            input.try_rewrite_exprs(f)?;
        }
        Ok(())
    }
}
