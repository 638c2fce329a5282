//! What a statement computes of constants and parameters alone. PostgreSQL does so while it plans, so that what fails there fails
//! the statement even when no row asks for it: `SELECT x FROM empty WHERE 1 / 0 = 1`.

use stratos_types::{Datum, PgType, Result, TypeCategory};

use super::{Layout, Program};
use crate::functions::{Function, Kernel, Volatility};
use crate::ir::{Expr, ExprKind, Rel};
use crate::session::EvalContext;

/// Functions that are defined for some values only, apart from those that divide.
const PARTIAL: &[&str] = &["sqrt", "ln", "log", "log10", "power", "pow", "exp", "dsqrt", "dlog1", "dpow"];

/// Computations that have to succeed before a statement begins.
#[derive(Debug, Default)]
pub struct Known(Vec<Program>);

impl Known {
    /// Those of a query's own expressions. What is below its FROM list is not looked at: PostgreSQL computes nothing of a
    /// subquery that nobody asks for.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub fn of(rel: &Rel) -> Result<Known> {
        let mut found = Vec::new();
        in_query(rel, &mut found);
        Known::compile(found)
    }

    /// Those of a change: its values, and the condition of its source.
    ///
    /// # Errors
    /// As [`Known::of`].
    pub fn of_change<'a>(source: &'a Rel, values: impl Iterator<Item = &'a Expr>) -> Result<Known> {
        let mut found = Vec::new();
        values.for_each(|value| in_expr(value, &mut found));
        below_select(source, &mut found);
        Known::compile(found)
    }

    /// Those of a condition on the rows of a table.
    ///
    /// # Errors
    /// As [`Known::of`].
    pub fn of_condition(condition: &Expr) -> Result<Known> {
        let mut found = Vec::new();
        in_expr(condition, &mut found);
        Known::compile(found)
    }

    fn compile(found: Vec<&Expr>) -> Result<Known> {
        found.into_iter().map(|e| Program::compile(e, &Layout::default())).collect::<Result<_>>().map(Known)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Computes them.
    ///
    /// # Errors
    /// What fails.
    pub fn check(&self, params: &[Datum], context: &EvalContext) -> Result<()> {
        self.0.iter().try_for_each(|program| program.run(&[], params, context).map(drop))
    }
}

/// A query, from the outside to its select list.
fn in_query<'a>(rel: &'a Rel, found: &mut Vec<&'a Expr>) {
    match rel {
        Rel::Project { input, columns } => {
            columns.iter().for_each(|(_, e)| in_expr(e, found));
            below_select(input, found);
        }
        Rel::Alias { input, .. }
        | Rel::Sort { input, .. }
        | Rel::Limit { input, .. }
        | Rel::Distinct { input }
        | Rel::DistinctOn { input, .. } => in_query(input, found),
        Rel::SetOp { left, right, .. } => {
            in_query(left, found);
            in_query(right, found);
        }
        Rel::With { body, .. } => in_query(body, found),
        _ => {}
    }
}

/// What a select list is computed of, without the subqueries of its FROM list.
fn below_select<'a>(rel: &'a Rel, found: &mut Vec<&'a Expr>) {
    match rel {
        Rel::Filter { .. } | Rel::Aggregate { .. } | Rel::Window { .. } | Rel::Join { lateral: false, .. } => {
            // What is asked of rows comes before what is asked of groups.
            rel.inputs().into_iter().for_each(|input| below_select(input, found));
            rel.exprs().into_iter().for_each(|e| in_expr(e, found));
        }
        _ => {}
    }
}

/// Whether it is computed without a row, by what gives the same each time.
fn is_known(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::Literal(_) | ExprKind::Param(_) => true,
        ExprKind::Call { function, args } => {
            function.volatility == Volatility::Immutable && !is_long(e.ty.ty) && args.iter().all(is_known)
        }
        ExprKind::Cast { arg, .. } => is_number(arg.ty.ty) && is_number(e.ty.ty) && is_known(arg),
        _ => false,
    }
}

fn is_number(ty: PgType) -> bool {
    ty.category() == TypeCategory::Numeric && !ty.is_oid_like()
}

/// Whether values of the type may be so long that nobody wants to compute them twice.
fn is_long(ty: PgType) -> bool {
    ty.is_string() || matches!(ty, PgType::Bytea | PgType::Json | PgType::Jsonb) || ty.element().is_some()
}

fn is_partial(function: &Function) -> bool {
    use Kernel::{Add, Div, Mul, Neg, Rem, Sub};
    matches!(function.kernel, Some(Add | Sub | Mul | Div | Rem | Neg))
        || ["div", "mod"].iter().any(|part| function.name.contains(part))
        || PARTIAL.contains(&function.name)
}

/// Whether computing it may fail.
fn fails(e: &Expr) -> bool {
    let mut found = false;
    e.walk(&mut |part| {
        found |= match &part.kind {
            ExprKind::Call { function, .. } => is_partial(function),
            ExprKind::Cast { .. } => true,
            _ => false,
        };
    });
    found
}

/// Alternatives, of which one that is known may keep the rest from being looked at.
fn in_turn<'a>(terms: impl Iterator<Item = &'a Expr>, found: &mut Vec<&'a Expr>) {
    for term in terms {
        in_expr(term, found);
        if term.columns().is_empty() {
            return;
        }
    }
}

fn in_expr<'a>(e: &'a Expr, found: &mut Vec<&'a Expr>) {
    match &e.kind {
        ExprKind::Call { .. } | ExprKind::Cast { .. } if is_known(e) => {
            if fails(e) {
                found.push(e);
            }
        }
        ExprKind::And(terms) | ExprKind::Or(terms) | ExprKind::Coalesce(terms) => in_turn(terms.iter(), found),
        // A condition that is known decides what is looked at behind it.
        ExprKind::Case { branches, otherwise } => {
            for branch in branches {
                in_expr(&branch.when, found);
                if branch.when.columns().is_empty() {
                    return;
                }
                in_expr(&branch.then, found);
            }
            otherwise.iter().for_each(|e| in_expr(e, found));
        }
        ExprKind::Subquery { .. } => {}
        _ => e.children().into_iter().for_each(|child| in_expr(child, found)),
    }
}
