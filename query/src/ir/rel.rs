//! Relations: what a SELECT is made of.

use std::sync::Arc;

use stratos_types::{ColumnType, PgType};

use super::expr::{AggregateCall, ColumnId, Expr, SortKey, WindowCall};
use crate::catalog::{SystemTable, Table};

/// A column that a relation produces.
#[derive(Debug, Clone)]
pub struct OutputColumn {
    /// Its identity in the statement.
    pub id: ColumnId,
    /// The name that a client sees.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
    /// Table OID and attribute number, where it is a plain column of a table (RowDescription carries them).
    pub origin: Option<(u32, i16)>,
}

/// How plans name the hidden row id.
pub const ROW_ID_NAME: &str = "(row id)";

/// A column of a base table that a scan yields.
#[derive(Debug, Clone)]
pub struct ScanColumn {
    /// Index into [`Table::columns`] (not the attribute number); one past the last is the hidden row id (int8) of a table
    /// without a primary key, which UPDATE and DELETE ask for.
    pub index: usize,
    /// Its identity in the statement.
    pub id: ColumnId,
}

/// `FOR UPDATE` and its kin on one base table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowLock {
    /// The strength.
    pub mode: stratos_replication::LockMode,
    /// `NOWAIT`.
    pub nowait: bool,
    /// `SKIP LOCKED`.
    pub skip_locked: bool,
}

/// A relation. Columns are identified by [`ColumnId`]s, unique in the statement.
#[derive(Debug, Clone)]
pub enum Rel {
    /// A base table.
    Scan {
        /// Descriptor as of the statement's catalog snapshot.
        table: Arc<Table>,
        /// Alias, for EXPLAIN.
        alias: String,
        /// Every column that can be referred to (the lowering prunes).
        columns: Vec<ScanColumn>,
        /// Row lock that the query asks for.
        lock: Option<RowLock>,
    },
    /// A table of pg_catalog, information_schema or pg_stratos, computed when read.
    SystemScan {
        /// Which.
        table: Arc<dyn SystemTable>,
        /// Its columns, in the table's order.
        columns: Vec<OutputColumn>,
    },
    /// `VALUES`, or a FROM-less SELECT when there is one row of no columns.
    Values {
        /// Output.
        columns: Vec<OutputColumn>,
        /// Each of the columns' length and types.
        rows: Vec<Vec<Expr>>,
    },
    /// A set-returning function in FROM.
    TableFunction {
        /// Which.
        function: TableFunctionKind,
        /// Arguments; may refer to columns of the left side of a lateral join.
        args: Vec<Expr>,
        /// Output, ordinality last if asked for.
        columns: Vec<OutputColumn>,
        /// `WITH ORDINALITY`.
        ordinality: bool,
    },
    /// `WHERE`, `HAVING`.
    Filter {
        /// Input.
        input: Box<Rel>,
        /// boolean
        predicate: Expr,
    },
    /// A select list.
    Project {
        /// Input.
        input: Box<Rel>,
        /// Output with expressions. Set-returning calls do not occur here: the binder moves them to lateral joins.
        columns: Vec<(OutputColumn, Expr)>,
    },
    /// A join; USING and NATURAL are resolved.
    Join {
        /// Left.
        left: Box<Rel>,
        /// Right; may refer to the left's columns when `lateral`.
        right: Box<Rel>,
        /// Which.
        kind: JoinKind,
        /// `ON`; none is a cross join.
        on: Option<Expr>,
        /// `LATERAL`.
        lateral: bool,
    },
    /// Grouping.
    Aggregate {
        /// Input.
        input: Box<Rel>,
        /// Group keys.
        group_by: Vec<(OutputColumn, Expr)>,
        /// Sets of indexes into `group_by`; none is one set of all.
        grouping_sets: Option<Vec<Vec<usize>>>,
        /// Aggregates.
        aggregates: Vec<(OutputColumn, AggregateCall)>,
        /// `GROUPING(…)` calls: output and indexes into `group_by`, most significant first.
        groupings: Vec<(OutputColumn, Vec<usize>)>,
    },
    /// Window functions; passes the input's columns on.
    Window {
        /// Input.
        input: Box<Rel>,
        /// The calls.
        calls: Vec<(OutputColumn, WindowCall)>,
    },
    /// `ORDER BY`.
    Sort {
        /// Input.
        input: Box<Rel>,
        /// Keys.
        keys: Vec<SortKey>,
    },
    /// `LIMIT`/`OFFSET`: int8 expressions of constants and parameters.
    Limit {
        /// Input.
        input: Box<Rel>,
        /// Most rows; NULL is no limit; negative is 2201W.
        limit: Option<Expr>,
        /// Rows skipped; negative is 2201X.
        offset: Option<Expr>,
    },
    /// `DISTINCT`.
    Distinct {
        /// Input.
        input: Box<Rel>,
    },
    /// `DISTINCT ON (…)`: the first row of each group in the order of `keys` (which start with `on`).
    DistinctOn {
        /// Input.
        input: Box<Rel>,
        /// What distinguishes.
        on: Vec<Expr>,
        /// Order.
        keys: Vec<SortKey>,
    },
    /// `UNION`, `INTERSECT`, `EXCEPT`.
    SetOp {
        /// Which.
        op: SetOpKind,
        /// `ALL`.
        all: bool,
        /// Left; its output columns correspond by position.
        left: Box<Rel>,
        /// Right, cast to the left's types.
        right: Box<Rel>,
        /// Output.
        columns: Vec<OutputColumn>,
    },
    /// `WITH`: the CTEs that the body may name by [`Rel::CteScan`].
    With {
        /// In order of definition.
        ctes: Vec<Cte>,
        /// The query.
        body: Box<Rel>,
    },
    /// A reference to a CTE of an enclosing [`Rel::With`], or to the working table of the recursion being defined.
    CteScan {
        /// [`Cte::id`].
        cte: u32,
        /// Fresh identities for the CTE's columns, in order.
        columns: Vec<OutputColumn>,
    },
    /// No column is dropped or computed; a subset in order (what a subquery in FROM exposes).
    Alias {
        /// Input.
        input: Box<Rel>,
        /// Output identity, and the input's column it stands for.
        columns: Vec<(OutputColumn, ColumnId)>,
    },
}

/// A common table expression.
#[derive(Debug, Clone)]
pub struct Cte {
    /// Unique in the statement.
    pub id: u32,
    /// Name, for EXPLAIN.
    pub name: String,
    /// The definition, or the non-recursive term.
    pub query: Arc<Rel>,
    /// The recursive term of `WITH RECURSIVE`, and whether it is `UNION ALL`.
    pub recursive: Option<(Arc<Rel>, bool)>,
    /// Output columns of `query`, in order.
    pub columns: Vec<OutputColumn>,
    /// `MATERIALIZED` / `NOT MATERIALIZED`, if said.
    pub materialized: Option<bool>,
}

/// The kind of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

/// Set operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum SetOpKind {
    Union,
    Intersect,
    Except,
}

/// Set-returning functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum TableFunctionKind {
    GenerateSeries,
    Unnest,
    RegexpMatches,
    RegexpSplitToTable,
    StringToTable,
    JsonEach,
    JsonEachText,
    JsonArrayElements,
    JsonArrayElementsText,
    JsonObjectKeys,
    GenerateSubscripts,
    PgGetKeywords,
    /// `pg_options_to_table`: the parts of `name=value`.
    PgOptionsToTable,
    /// `pg_partition_ancestors`: no table is a partition.
    PgPartitionAncestors,
    /// `information_schema._pg_expandarray`
    ExpandArray,
    ScalarCall,
}

impl Rel {
    /// Output columns in order. Scans give every column that they list.
    pub fn output(&self) -> Vec<OutputColumn> {
        match self {
            Rel::Scan { table, columns, .. } => columns
                .iter()
                .map(|c| match table.columns.get(c.index) {
                    Some(column) => OutputColumn {
                        id: c.id,
                        name: column.name.clone(),
                        ty: column.ty,
                        origin: Some((table.oid, column.attnum)),
                    },
                    None => {
                        OutputColumn { id: c.id, name: ROW_ID_NAME.to_owned(), ty: PgType::Int8.into(), origin: None }
                    }
                })
                .collect(),
            Rel::SystemScan { columns, .. }
            | Rel::Values { columns, .. }
            | Rel::TableFunction { columns, .. }
            | Rel::SetOp { columns, .. }
            | Rel::CteScan { columns, .. } => columns.clone(),
            Rel::Project { columns, .. } => columns.iter().map(|(c, _)| c.clone()).collect(),
            Rel::Alias { columns, .. } => columns.iter().map(|(c, _)| c.clone()).collect(),
            Rel::Filter { input, .. }
            | Rel::Sort { input, .. }
            | Rel::Limit { input, .. }
            | Rel::Distinct { input }
            | Rel::DistinctOn { input, .. } => input.output(),
            Rel::With { body, .. } => body.output(),
            Rel::Join { left, right, .. } => {
                let mut columns = left.output();
                columns.extend(right.output());
                columns
            }
            Rel::Aggregate { group_by, aggregates, groupings, .. } => group_by
                .iter()
                .map(|(c, _)| c.clone())
                .chain(aggregates.iter().map(|(c, _)| c.clone()))
                .chain(groupings.iter().map(|(c, _)| c.clone()))
                .collect(),
            Rel::Window { input, calls } => {
                let mut columns = input.output();
                columns.extend(calls.iter().map(|(c, _)| c.clone()));
                columns
            }
        }
    }

    /// Identities of the columns that the relation makes itself, rather than passes on.
    pub fn produced(&self) -> Vec<ColumnId> {
        match self {
            Rel::Scan { columns, .. } => columns.iter().map(|c| c.id).collect(),
            Rel::SystemScan { columns, .. }
            | Rel::Values { columns, .. }
            | Rel::TableFunction { columns, .. }
            | Rel::SetOp { columns, .. }
            | Rel::CteScan { columns, .. } => columns.iter().map(|c| c.id).collect(),
            Rel::Project { columns, .. } => columns.iter().map(|(c, _)| c.id).collect(),
            Rel::Alias { columns, .. } => columns.iter().map(|(c, _)| c.id).collect(),
            Rel::Aggregate { group_by, aggregates, groupings, .. } => group_by
                .iter()
                .map(|(c, _)| c.id)
                .chain(aggregates.iter().map(|(c, _)| c.id))
                .chain(groupings.iter().map(|(c, _)| c.id))
                .collect(),
            Rel::Window { calls, .. } => calls.iter().map(|(c, _)| c.id).collect(),
            Rel::With { ctes, .. } => ctes.iter().flat_map(|cte| &cte.columns).map(|c| c.id).collect(),
            Rel::Filter { .. }
            | Rel::Join { .. }
            | Rel::Sort { .. }
            | Rel::Limit { .. }
            | Rel::Distinct { .. }
            | Rel::DistinctOn { .. } => Vec::new(),
        }
    }
}
