//! What DDL asks the executor to do to rows.

use std::sync::Arc;

use sqlparser::ast;
use stratos_replication::Span;

use crate::catalog::Table;
use crate::rows::{database_prefix, storage_prefix};

/// Work on rows that belongs to a DDL statement. Descriptors named here are in the editor's snapshot unless said otherwise.
#[derive(Debug)]
pub enum Job {
    /// Now, in the transaction: every existing row must satisfy this, else the statement fails with the violation's error.
    /// The executor also records `check_unchanged` over the table's rows (and the keys of the referenced table for a foreign
    /// key), so that a row written meanwhile by a transaction that does not know the constraint makes the commit fail (40001).
    /// The descriptors of both tables are among the statement's changes, which keeps such transactions out.
    Validate {
        /// OID of the table.
        table: u32,
        /// What to check.
        what: Validation,
    },
    /// Fill an index with the entries of existing rows; duplicates in a unique one are 23505 `could not create unique index`.
    /// When `online` the index is in state `DeleteOnly`, and is built after the commit beside writers
    /// (see [`exec::online_index`](crate::exec::online_index)).
    /// Otherwise it is `Public` already, and the executor writes the entries in the transaction with `check_unchanged` over
    /// the table's rows.
    BuildIndex {
        /// OID of the table.
        table: u32,
        /// OID of the index.
        index: u32,
        /// Step by step, with writers going on.
        online: bool,
    },
    /// Now: copy every row of `from` (read in the transaction) into `to`'s storage; all of `to`'s indexes are filled, primary key and unique ones checked (23505
    /// `could not create unique index "…"`), NOT NULL checked (23502). `check_unchanged` over `from`'s rows. The old storage
    /// is freed by a `DropStorage` that follows.
    Rewrite {
        /// As the rows are stored now.
        from: Arc<Table>,
        /// As they have to be stored.
        to: Arc<Table>,
        /// Columns that are not copied as they are.
        columns: Vec<RewriteColumn>,
    },
    /// Now: `INSERT INTO table query` (CREATE TABLE AS); the number of rows goes into the tag `SELECT n`.
    Populate {
        /// OID of the new table.
        table: u32,
        /// Its rows.
        query: Box<ast::Query>,
    },
    /// Now, taking effect with the commit: nothing refers to these rows and index entries any more. Old snapshots may still
    /// read them, so the store frees them when its window has passed.
    DropStorage {
        /// Database.
        database: u32,
        /// [`Table::storage`] as it was.
        storage: u32,
    },
    /// The same for one index.
    DropIndexStorage {
        /// Database.
        database: u32,
        /// Storage of the table.
        storage: u32,
        /// [`Index::id`](crate::catalog::Index::id) as it was.
        index: u32,
    },
    /// Now: a shard for the rows of a new database. One that is left over when the commit fails is empty, and harmless.
    CreateDatabase {
        /// Its OID.
        database: u32,
    },
    /// As `DropStorage`, for all rows of a dropped database.
    DropDatabase {
        /// Its OID.
        database: u32,
    },
    /// Now: split the shard at the key of these primary key values (constant expressions, one per leading key column).
    Split {
        /// OID of the table.
        table: u32,
        /// A row of expressions per split point.
        values: Vec<Vec<ast::Expr>>,
    },
}

impl Job {
    /// The keys that nobody refers to once the job's transaction has committed, if the job is about such keys.
    pub fn freed_span(&self) -> Option<Span> {
        match self {
            Job::DropStorage { database, storage } => Some(Span::prefix(&storage_prefix(*database, *storage))),
            Job::DropIndexStorage { database, storage, index } => {
                let prefix = [&storage_prefix(*database, *storage)[..], &index.to_be_bytes()].concat();
                Some(Span::prefix(&prefix))
            }
            Job::DropDatabase { database } => Some(Span::prefix(&database_prefix(*database))),
            _ => None,
        }
    }
}

/// What existing rows are checked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validation {
    /// 23502 `column "…" of relation "…" contains null values`.
    NotNull {
        /// Attribute number.
        attnum: i16,
    },
    /// 23514 `check constraint "…" of relation "…" is violated by some row`.
    Check {
        /// OID of the constraint.
        constraint: u32,
    },
    /// 23503 `insert or update on table "…" violates foreign key constraint "…"`.
    ForeignKey {
        /// OID of the constraint.
        constraint: u32,
    },
}

/// How a rewrite makes a column of the new table.
#[derive(Debug)]
pub struct RewriteColumn {
    /// Attribute number in the new table.
    pub attnum: i16,
    /// What it is in each row.
    pub value: RewriteValue,
}

/// The values of a column of a new table.
#[derive(Debug)]
pub enum RewriteValue {
    /// SQL text over the old table's columns, cast to the new type by assignment.
    Expression(String),
    /// The new column's default (identity: its sequence), evaluated for every row.
    Default,
    /// One for all rows, in the stored form of a row's field.
    Constant(Vec<u8>),
}
