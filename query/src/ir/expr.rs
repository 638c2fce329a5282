//! Typed scalar expressions.

use std::sync::Arc;

use stratos_types::{ColumnType, Datum, FieldNames};

use super::rel::Rel;
use crate::functions::{Aggregate, Function, Volatility};

/// A column of some relation of the statement; unique in the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ColumnId(pub u32);

/// An expression with its type. All implicit casts are explicit here.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type, with modifier where one is known.
    pub ty: ColumnType,
}

/// See [`Expr`].
#[derive(Debug, Clone)]
pub enum ExprKind {
    /// A constant.
    Literal(Datum),
    /// A column of a relation below, or an outer reference.
    Column(ColumnId),
    /// `$n`, counted from 0.
    Param(usize),
    /// A function or operator; arguments already have the function's argument types.
    Call {
        /// Which.
        function: &'static Function,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// A cast to the expression's type; `explicit` as in `CAST` (truncates varchar silently) against assignment.
    Cast {
        /// What is cast.
        arg: Box<Expr>,
        /// Written by the user.
        explicit: bool,
    },
    /// Conjunction, three-valued; at least one.
    And(Vec<Expr>),
    /// Disjunction, three-valued; at least one.
    Or(Vec<Expr>),
    /// Negation.
    Not(Box<Expr>),
    /// `IS NULL`.
    IsNull(Box<Expr>),
    /// `left IS NOT DISTINCT FROM right`; `equals` is the type's equality.
    NotDistinct {
        /// Equality of the operands' type.
        equals: &'static Function,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// Searched `CASE`; `CASE x WHEN` is rewritten to equalities by the binder.
    Case {
        /// The branches in order.
        branches: Vec<CaseBranch>,
        /// `ELSE`.
        otherwise: Option<Box<Expr>>,
    },
    /// First argument that is not NULL.
    Coalesce(Vec<Expr>),
    /// `GREATEST`/`LEAST`; `less` is the type's `<`.
    Extremum {
        /// `GREATEST`.
        greatest: bool,
        /// `<` of the operands' type.
        less: &'static Function,
        /// At least one.
        args: Vec<Expr>,
    },
    /// `arg [NOT] IN (a, b, c)`: NULL semantics of a chain of ORs of `equals`.
    InList {
        /// Equality of the operands' type.
        equals: &'static Function,
        /// Left side.
        arg: Box<Expr>,
        /// Right side.
        list: Vec<Expr>,
    },
    /// `left op ANY (array)` and `left op ALL (array)`.
    Quantified {
        /// ANY or ALL.
        quantifier: Quantifier,
        /// The operator, over (type of left, element type).
        operator: &'static Function,
        /// Left side.
        left: Box<Expr>,
        /// The array.
        array: Box<Expr>,
    },
    /// `ARRAY[…]`.
    Array(Vec<Expr>),
    /// `array[index]`, one-dimensional, from 1.
    Subscript {
        /// The array.
        array: Box<Expr>,
        /// int4.
        index: Box<Expr>,
    },
    /// `ROW(…)`, or a row of a relation with the names of its columns.
    Row(Vec<Expr>, Option<FieldNames>),
    /// A subquery in an expression.
    Subquery {
        /// How it is used.
        kind: SubqueryKind,
        /// The query; may refer to outer columns.
        query: Arc<Rel>,
    },
}

/// One `WHEN … THEN …`.
#[derive(Debug, Clone)]
pub struct CaseBranch {
    /// boolean
    pub when: Expr,
    /// of the CASE's type
    pub then: Expr,
}

/// ANY/SOME or ALL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Quantifier {
    Any,
    All,
}

/// How an expression uses a subquery.
#[derive(Debug, Clone)]
pub enum SubqueryKind {
    /// `(SELECT one column)`: at most one row, else 21000; none is NULL.
    Scalar,
    /// `EXISTS (SELECT …)`.
    Exists,
    /// `left op ANY/ALL (SELECT one column)`; `IN` is `= ANY`.
    Quantified {
        /// ANY or ALL.
        quantifier: Quantifier,
        /// The operator.
        operator: &'static Function,
        /// Left side, cast to the operator's left type; the query's column has its right type.
        left: Box<Expr>,
    },
    /// `ARRAY(SELECT one column)`.
    Array,
}

/// An aggregate call of an [`Rel::Aggregate`] or a window.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// Which.
    pub aggregate: &'static Aggregate,
    /// Arguments, cast to the aggregate's types; empty for `count(*)`.
    pub args: Vec<Expr>,
    /// `DISTINCT`.
    pub distinct: bool,
    /// `FILTER (WHERE …)`.
    pub filter: Option<Expr>,
    /// `ORDER BY` inside the call, or `WITHIN GROUP`.
    pub order_by: Vec<SortKey>,
    /// Result type.
    pub ty: ColumnType,
}

/// An ordering key.
#[derive(Debug, Clone)]
pub struct SortKey {
    /// What is compared.
    pub expr: Expr,
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST`; Postgres's default is true exactly for `DESC`.
    pub nulls_first: bool,
}

/// A window function with its window.
#[derive(Debug, Clone)]
pub struct WindowCall {
    /// The function.
    pub function: WindowFunction,
    /// `PARTITION BY`.
    pub partition_by: Vec<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<SortKey>,
    /// The frame; `None` is Postgres's default.
    pub frame: Option<WindowFrame>,
    /// Result type.
    pub ty: ColumnType,
}

/// What is computed over a window.
#[derive(Debug, Clone)]
pub enum WindowFunction {
    /// An aggregate used as a window function.
    Aggregate(AggregateCall),
    /// row_number, rank, dense_rank, percent_rank, cume_dist, ntile, lag, lead, first_value, last_value, nth_value.
    Builtin {
        /// Name in lower case.
        name: &'static str,
        /// Arguments.
        args: Vec<Expr>,
    },
}

/// `ROWS/RANGE/GROUPS BETWEEN start AND end`.
#[derive(Debug, Clone)]
pub struct WindowFrame {
    /// The unit.
    pub units: FrameUnits,
    /// First row.
    pub start: FrameBound,
    /// Last row.
    pub end: FrameBound,
}

/// Unit of a window frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FrameUnits {
    Rows,
    Range,
    Groups,
}

/// An end of a window frame; offsets are constant expressions.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FrameBound {
    UnboundedPreceding,
    Preceding(Expr),
    CurrentRow,
    Following(Expr),
    UnboundedFollowing,
}

impl Expr {
    /// A constant.
    pub fn literal(value: Datum, ty: impl Into<ColumnType>) -> Expr {
        Expr { kind: ExprKind::Literal(value), ty: ty.into() }
    }

    /// A column.
    pub fn column(id: ColumnId, ty: ColumnType) -> Expr {
        Expr { kind: ExprKind::Column(id), ty }
    }

    /// A literal or a parameter.
    pub fn is_given(&self) -> bool {
        matches!(self.kind, ExprKind::Literal(_) | ExprKind::Param(_))
    }

    /// Whether it has one value for all rows of a statement, which the row evaluator can compute.
    pub fn is_constant(&self) -> bool {
        match &self.kind {
            ExprKind::Cast { arg, .. } => arg.is_constant(),
            ExprKind::Call { function, args } => {
                function.volatility != Volatility::Volatile && args.iter().all(Expr::is_constant)
            }
            _ => self.is_given(),
        }
    }

    /// Whether it may give another value, or leave other traces, each time.
    pub fn is_volatile(&self) -> bool {
        let mut volatile = false;
        self.walk(&mut |e| {
            if let ExprKind::Call { function, .. } = &e.kind {
                volatile |= function.volatility == Volatility::Volatile;
            }
        });
        volatile
    }

    /// The conditions that AND joins in it, in their order.
    pub fn conjuncts(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::And(parts) => parts.iter().flat_map(Expr::conjuncts).collect(),
            _ => vec![self],
        }
    }
}
