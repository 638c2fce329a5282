//! Functions, operators and aggregates: their signatures, and what they do to rows.
//!
//! An operator is a function with a symbol. Every function has a row implementation over [`Datum`]s, which is the meaning;
//! the lowering may use an Arrow kernel instead where the two agree.
//!
//! [`by_name`], [`operators::by_symbol`], [`aggregates::by_name`] and [`window::by_name`] find
//! candidates; the binder chooses among them. Signatures are the tables in `table`, one row a function, with the numbers of
//! `pg_proc.dat` and `pg_operator.dat` of PostgreSQL 15.

pub(crate) mod absent;
pub mod aggregates;
mod args;
mod arithmetic;
mod arrays;
pub mod catalog_info;
mod compare;
#[cfg(test)]
pub(crate) mod conformance;
mod datetime;
mod deparse;
mod encoding;
mod hashing;
mod jsons;
pub mod keywords;
mod limit;
mod math;
mod normal_forms;
pub mod operators;
pub mod pattern;
mod privileges;
pub mod ranges;
mod registry;
mod system;
mod table;
mod text;
pub mod window;

pub use arrays::{ARRAY_SET_ELEMENT, ARRAY_SET_SLICE, ARRAY_SLICE, RECORD_FIELD};
pub use compare::compare;
pub use jsons::JSONB_SET_PART;
pub use limit::{LIMIT_COUNT, OFFSET_COUNT};
pub(crate) use limit::{of_fair_length, while_planning};
pub use registry::{BuiltIn, all, by_name, by_oid};
pub use system::CURRENT_SETTING_NOW;

use std::fmt;

use stratos_types::{Datum, PgType, Result};

use crate::session::EvalContext;

/// When a function gives the same answer again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

/// Result type of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnType {
    /// Always this.
    Is(PgType),
    /// The type of the (first) `anyelement` argument, or the element of the `anyarray` one.
    AnyElement,
    /// The array of that type.
    AnyArray,
    /// The type on which the `anycompatible` arguments and the elements of `anycompatiblearray` ones agree.
    Compatible,
    /// The array of that type.
    CompatibleArray,
}

/// An argument's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ArgType {
    Is(PgType),
    /// `anyelement`: all of a call are of one type.
    AnyElement,
    AnyArray,
    /// As `AnyElement`, and not an array (`text || x`).
    AnyNonArray,
    /// `anycompatible`: all of a call become the type that suits them all.
    Compatible,
    CompatibleArray,
    /// Any type at all, each argument its own (`concat`, `format`).
    Any,
}

/// A function or operator with one signature.
pub struct Function {
    /// Postgres's OID for it (`pg_proc`), or one of ours from 9000 on.
    pub oid: u32,
    /// Name in lower case.
    pub name: &'static str,
    /// Arguments. The last repeats when `variadic`.
    pub args: &'static [ArgType],
    /// Whether the last argument may come once or more.
    pub variadic: bool,
    /// How many of the last arguments may be left out (the implementation sees fewer).
    pub optional: usize,
    /// Result.
    pub ret: ReturnType,
    /// NULL in, NULL out, without a call.
    pub strict: bool,
    /// When it gives the same answer again.
    pub volatility: Volatility,
    /// The meaning. Types of the actual arguments come along for the polymorphic ones.
    pub eval: fn(&EvalContext, &[PgType], &[Datum]) -> Result<Datum>,
    /// How the lowering may compute it on Arrow columns; `None` calls `eval` row by row.
    pub kernel: Option<Kernel>,
}

/// Arrow implementations that the lowering knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kernel {
    /// Comparison by a btree operator family's order, also across its types.
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    /// Checked arithmetic of two columns of the same integer or float type.
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Neg,
}

/// An aggregate with one signature.
#[derive(Debug)]
pub struct Aggregate {
    /// Postgres's OID for it.
    pub oid: u32,
    /// Name in lower case.
    pub name: &'static str,
    /// Arguments.
    pub args: &'static [ArgType],
    /// Result.
    pub ret: ReturnType,
    /// What it computes.
    pub kind: AggregateKind,
}

/// Aggregates that exist; the lowering gives each an accumulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum AggregateKind {
    CountStar,
    Count,
    Sum,
    Avg,
    Min,
    Max,
    BoolAnd,
    BoolOr,
    BitAnd,
    BitOr,
    BitXor,
    StringAgg,
    ArrayAgg,
    JsonAgg,
    JsonObjectAgg,
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
    Corr,
    CovarPop,
    CovarSamp,
    PercentileCont,
    PercentileDisc,
    Mode,
    RegrCount,
    RegrAvgX,
    RegrAvgY,
    RegrSxx,
    RegrSyy,
    RegrSxy,
    RegrR2,
    RegrSlope,
    RegrIntercept,
}

impl AggregateKind {
    /// Whether it is called with WITHIN GROUP.
    pub fn is_ordered_set(self) -> bool {
        matches!(self, AggregateKind::PercentileCont | AggregateKind::PercentileDisc | AggregateKind::Mode)
    }
}

/// A binary or prefix operator.
#[derive(Debug)]
pub struct Operator {
    /// Postgres's OID for it (`pg_operator`).
    pub oid: u32,
    /// `+`, `<=`, `->>`.
    pub symbol: &'static str,
    /// Left operand; none for a prefix operator.
    pub left: Option<ArgType>,
    /// Right operand.
    pub right: ArgType,
    /// What it does.
    pub function: &'static Function,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.args.len())
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}
