//! What the binder makes of a statement: a tree in which every name is resolved and every expression has a Postgres type.
//!
//! The same tree feeds the direct programs (no Arrow), the row evaluator of DML and constraints, and the lowering to
//! DataFusion, so that one place decides what a statement means. Columns are referred to by [`ColumnId`], unique in the
//! statement: there are no scopes, qualifiers or positions left to resolve, and a column that no relation below produces
//! is an outer reference of a correlated subquery.

mod expr;
mod rel;
mod same;
mod statement;
mod summary;
mod walk;

pub use expr::{
    AggregateCall, CaseBranch, ColumnId, Expr, ExprKind, FrameBound, FrameUnits, Quantifier, SortKey, SubqueryKind,
    WindowCall, WindowFrame, WindowFunction,
};
pub use rel::{Cte, JoinKind, OutputColumn, ROW_ID_NAME, Rel, RowLock, ScanColumn, SetOpKind, TableFunctionKind};
pub use statement::{
    Assignment, BoundStatement, Delete, Insert, InsertSource, OnConflict, Query, Returning, StatementKind, Update,
};
pub use walk::Walk;
