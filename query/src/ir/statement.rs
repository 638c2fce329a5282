//! Bound statements.

use std::sync::Arc;

use stratos_types::PgType;

use super::expr::{ColumnId, Expr};
use super::rel::{OutputColumn, Rel};
use crate::catalog::Table;

/// A statement whose names are resolved, with the types of its parameters and what it returns.
#[derive(Debug, Clone)]
pub struct BoundStatement {
    /// What it does.
    pub kind: StatementKind,
    /// Types of `$1…`, declared or inferred.
    pub params: Vec<PgType>,
    /// Columns of the result; empty when it returns no rows.
    pub output: Vec<OutputColumn>,
}

/// Statements that the binder handles. DDL and utility statements go from the AST to their executors.
#[derive(Debug, Clone)]
pub enum StatementKind {
    /// SELECT, VALUES, TABLE.
    Query(Query),
    /// INSERT.
    Insert(Box<Insert>),
    /// UPDATE.
    Update(Box<Update>),
    /// DELETE.
    Delete(Box<Delete>),
}

/// A query.
#[derive(Debug, Clone)]
pub struct Query {
    /// Its relation; the statement's output is this relation's output, in order.
    pub rel: Rel,
    /// Whether any base table of it is locked (`FOR UPDATE`).
    pub locks_rows: bool,
}

/// `INSERT`.
#[derive(Debug, Clone)]
pub struct Insert {
    /// Target.
    pub table: Arc<Table>,
    /// Where the rows come from.
    pub source: InsertSource,
    /// For every column of the table, in the table's order, the value to store: an expression over the source's columns
    /// (already cast for assignment), with defaults filled in.
    pub values: Vec<Expr>,
    /// `ON CONFLICT`.
    pub on_conflict: Option<OnConflict>,
    /// Identities of the target's columns for RETURNING and CHECK, in the table's order.
    pub target: Vec<ColumnId>,
    /// `RETURNING`.
    pub returning: Option<Returning>,
}

/// Source rows of an INSERT.
#[derive(Debug, Clone)]
pub enum InsertSource {
    /// `VALUES` lists and `DEFAULT VALUES`: per row, an expression per column of the table, in the table's order,
    /// ready to store (so `Insert::values` is not consulted).
    Rows(Vec<Vec<Expr>>),
    /// `INSERT … SELECT`: a query whose columns `Insert::values` refers to.
    Query(Box<Rel>),
}

/// `ON CONFLICT …`.
#[derive(Debug, Clone)]
pub struct OnConflict {
    /// OIDs of the arbiter indexes; empty means any (only for DO NOTHING).
    pub arbiters: Vec<u32>,
    /// `DO UPDATE SET`; none is DO NOTHING.
    pub update: Option<Vec<Assignment>>,
    /// Identities of `excluded`'s columns in the table's order; the existing row is [`Insert::target`].
    pub excluded: Vec<ColumnId>,
    /// `WHERE` of DO UPDATE, over target and excluded.
    pub filter: Option<Expr>,
}

/// `column = expression`.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Index into [`Table::columns`].
    pub column: usize,
    /// Cast for assignment.
    pub value: Expr,
}

/// `UPDATE`.
#[derive(Debug, Clone)]
pub struct Update {
    /// Target.
    pub table: Arc<Table>,
    /// Identities of the target's columns (the old row), in the table's order; then, where the table has no primary key,
    /// that of the hidden row id, which `source` yields too.
    pub target: Vec<ColumnId>,
    /// The target's scan, joined with `FROM` and filtered: yields all of `target` and the columns of FROM.
    pub source: Rel,
    /// The WHERE clause over target (and FROM) columns, to look again at a row that changed while its lock was awaited.
    pub filter: Option<Expr>,
    /// `SET`, over target and FROM columns.
    pub assignments: Vec<Assignment>,
    /// Identities of the new row's columns in the table's order; RETURNING refers to them.
    pub new_row: Vec<ColumnId>,
    /// `RETURNING`.
    pub returning: Option<Returning>,
}

/// `DELETE`.
#[derive(Debug, Clone)]
pub struct Delete {
    /// Target.
    pub table: Arc<Table>,
    /// As in [`Update::target`].
    pub target: Vec<ColumnId>,
    /// As in [`Update::source`], with `USING`.
    pub source: Rel,
    /// As in [`Update::filter`].
    pub filter: Option<Expr>,
    /// `RETURNING`, over `target` and the columns of USING.
    pub returning: Option<Returning>,
}

/// `RETURNING`.
#[derive(Debug, Clone)]
pub struct Returning {
    /// Output with expressions.
    pub columns: Vec<(OutputColumn, Expr)>,
}
