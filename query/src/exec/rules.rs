//! What must hold for the rows of a table, compiled once per plan.

use std::sync::Arc;

use stratos_types::{Datum, Error, FormatOptions, Result};

use super::violations;
use crate::binder::{BindContext, ScalarUse, bind_scalar};
use crate::catalog::{Constraint, ForeignKey, Index, IndexState, Snapshot, Table};
use crate::eval::{Layout, Program};
use crate::ir::ColumnId;
use crate::session::EvalContext;

/// A foreign key of this table, with the table that it refers to.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The constraint.
    pub constraint: Constraint,
    /// Its definition.
    pub key: ForeignKey,
    /// The referenced table.
    pub parent: Arc<Table>,
    /// The referenced index, as a position in the parent's indexes.
    pub parent_index: usize,
}

/// A foreign key of another table that refers to this one.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The constraint.
    pub constraint: Constraint,
    /// Its definition.
    pub key: ForeignKey,
    /// The referencing table.
    pub child: Arc<Table>,
    /// An index of the child that starts with the referencing columns, if it has one.
    pub child_index: Option<usize>,
}

/// A compiled CHECK constraint.
#[derive(Debug)]
struct Check {
    name: String,
    condition: Program,
}

/// See the module.
#[derive(Debug)]
pub struct TableRules {
    /// The table.
    pub table: Arc<Table>,
    checks: Vec<Check>,
    /// Foreign keys of this table.
    pub outgoing: Vec<Outgoing>,
    /// Foreign keys that refer to this table.
    pub incoming: Vec<Incoming>,
}

/// An index of `child` whose first columns are `attnums`, in any order among themselves.
fn index_over(child: &Table, attnums: &[i16]) -> Option<usize> {
    child.indexes.iter().position(|index| {
        index.oid != 0
            && index.state == IndexState::Public
            && index.columns.len() >= attnums.len()
            && index.columns[..attnums.len()].iter().all(|c| attnums.contains(&c.attnum))
    })
}

impl TableRules {
    /// Collects and compiles the rules of a table.
    ///
    /// # Errors
    /// A stored expression that no longer binds.
    pub fn new(table: &Arc<Table>, catalog: &Snapshot, context: &BindContext) -> Result<TableRules> {
        let ids: Vec<ColumnId> =
            (0..table.columns.len()).map(|i| ColumnId(u32::try_from(i).unwrap_or(u32::MAX))).collect();
        let layout = Layout::new(ids.iter().copied());
        let mut checks = Vec::new();
        for (constraint, check) in table.checks() {
            let condition = bind_scalar(&check.sql, context, Some(table), None, ScalarUse::Check)?;
            checks.push(Check { name: constraint.name.clone(), condition: Program::compile(&condition, &layout)? });
        }
        // Postgres checks them in the order of their names.
        checks.sort_by(|a, b| a.name.cmp(&b.name));

        let mut outgoing = Vec::new();
        for (constraint, key) in table.foreign_keys() {
            let parent = if key.table == table.oid {
                table.clone()
            } else {
                catalog.tables.get(&key.table).cloned().ok_or_else(|| Error::internal("referenced table is gone"))?
            };
            let parent_index = parent
                .indexes
                .iter()
                .position(|index| index.oid == key.index)
                .ok_or_else(|| Error::internal("referenced index is gone"))?;
            outgoing.push(Outgoing { constraint: constraint.clone(), key: key.clone(), parent, parent_index });
        }

        let mut incoming = Vec::new();
        for child in catalog.tables.values() {
            for (constraint, key) in child.foreign_keys().filter(|(_, key)| key.table == table.oid) {
                incoming.push(Incoming {
                    constraint: constraint.clone(),
                    key: key.clone(),
                    child: child.clone(),
                    child_index: index_over(child, &key.columns),
                });
            }
        }
        Ok(TableRules { table: table.clone(), checks, outgoing, incoming })
    }

    /// Checks NOT NULL and CHECK.
    ///
    /// # Errors
    /// 23502, 23514, and what evaluating a condition gives.
    pub fn check_row(&self, row: &[Datum], context: &EvalContext) -> Result<()> {
        for (position, column) in self.table.columns.iter().enumerate() {
            if column.not_null && row[position].is_null() {
                return Err(violations::not_null(&self.table, position, row, &context.format));
            }
        }
        for check in &self.checks {
            if check.condition.run(row, &[], context)? == Datum::Bool(false) {
                return Err(violations::check(&self.table, &check.name, row, &context.format));
            }
        }
        Ok(())
    }

    /// Whether a foreign key of the table refers to the table itself.
    pub fn refers_to_itself(&self) -> bool {
        self.outgoing.iter().any(|o| o.key.table == self.table.oid)
    }

    /// Secondary indexes that writes must keep, complete or not yet.
    pub fn maintained_indexes(&self) -> impl Iterator<Item = &Index> {
        self.table.indexes[1..].iter()
    }

    /// Whether an update from `old` to `new` changes a column that another table refers to, or that is in a unique index:
    /// such an update must keep out even those who only hold on to the key.
    pub fn changes_key(&self, old: &[Datum], new: &[Datum]) -> bool {
        let differs = |attnum: i16| self.table.column_index(attnum).is_some_and(|at| old[at] != new[at]);
        self.table
            .indexes
            .iter()
            .filter(|index| index.unique)
            .any(|index| index.columns.iter().any(|c| differs(c.attnum)))
    }

    /// The 23505 of an index.
    pub fn unique_violation(&self, index: &Index, row: &[Datum], format: &FormatOptions) -> Error {
        violations::unique(&self.table, index, row, format)
    }
}
