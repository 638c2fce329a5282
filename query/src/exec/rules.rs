//! What must hold for the rows of a table, compiled once per plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stratos_types::{Datum, Error, FormatOptions, Result};

use super::violations;
use crate::binder::{BindContext, ScalarUse, bind_scalar};
use crate::catalog::{Constraint, ForeignKey, Index, IndexState, ReferentialAction, Snapshot, Table};
use crate::eval::{Known, Layout, Program};
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
    /// What of it has to succeed before a row is looked at.
    known: Known,
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
    /// Tables whose descriptors an insert relies on, by OID: this one and those that it refers to.
    pub relies_on: Vec<Arc<Table>>,
    /// The same for a change or a deletion, which foreign keys may carry on to rows of other tables.
    pub reaches: Vec<Arc<Table>>,
    /// OIDs of those of which such a change writes rows.
    pub writes: BTreeSet<u32>,
}

/// Tables whose descriptors a change of rows of `table` relies on, by OID: those that refer to it; where foreign keys change
/// rows along, those that refer to these in turn; and all that any table of which rows are changed refers to. With the OIDs of
/// the tables of which rows are changed.
fn reach(table: &Arc<Table>, catalog: &Snapshot) -> (Vec<Arc<Table>>, BTreeSet<u32>) {
    let mut found = BTreeMap::new();
    let mut written = BTreeSet::from([table.oid]);
    let mut next = vec![table.clone()];
    while let Some(table) = next.pop() {
        found.extend(parents_of(&table, catalog).map(|parent| (parent.oid, parent.clone())));
        for child in catalog.tables.values() {
            for (_, key) in child.foreign_keys().filter(|(_, key)| key.table == table.oid) {
                found.insert(child.oid, child.clone());
                let keeps = |action| matches!(action, ReferentialAction::NoAction | ReferentialAction::Restrict);
                if !(keeps(key.on_delete) && keeps(key.on_update)) && written.insert(child.oid) {
                    next.push(child.clone());
                }
            }
        }
        found.insert(table.oid, table);
    }
    (found.into_values().collect(), written)
}

/// The tables that a table refers to, itself excepted.
fn parents_of<'a>(table: &'a Table, catalog: &'a Snapshot) -> impl Iterator<Item = &'a Arc<Table>> {
    table.foreign_keys().filter(|(_, key)| key.table != table.oid).filter_map(|(_, key)| catalog.tables.get(&key.table))
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
            checks.push(Check {
                name: constraint.name.clone(),
                known: Known::of_condition(&condition)?,
                condition: Program::compile(&condition, &layout)?,
            });
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
        let mut relies_on: BTreeMap<u32, Arc<Table>> =
            parents_of(table, catalog).map(|parent| (parent.oid, parent.clone())).collect();
        relies_on.insert(table.oid, table.clone());
        let relies_on = relies_on.into_values().collect();
        let (reaches, writes) = reach(table, catalog);
        Ok(TableRules { table: table.clone(), checks, outgoing, incoming, relies_on, reaches, writes })
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

    /// Whether a row passes one of the CHECK constraints, by name.
    ///
    /// # Errors
    /// What evaluating the condition gives.
    pub fn passes(&self, check: &str, row: &[Datum], context: &EvalContext) -> Result<bool> {
        let Some(check) = self.checks.iter().find(|c| c.name == check) else { return Ok(true) };
        Ok(check.condition.run(row, &[], context)? != Datum::Bool(false))
    }

    /// Computes what is known of conditions without a row, which fails also where there are no rows.
    ///
    /// # Errors
    /// What fails.
    pub fn check_known(&self, context: &EvalContext) -> Result<()> {
        self.checks.iter().try_for_each(|check| check.known.check(&[], context))
    }

    /// Whether a foreign key of the table refers to the table itself.
    pub fn refers_to_itself(&self) -> bool {
        self.outgoing.iter().any(|o| o.key.table == self.table.oid)
    }

    /// Whether an update from `old` to `new` changes columns that refer to the table itself.
    pub fn changes_own_reference(&self, old: &[Datum], new: &[Datum]) -> bool {
        let own = self.outgoing.iter().filter(|o| o.key.table == self.table.oid);
        own.flat_map(|o| &o.key.columns).any(|a| self.table.column_index(*a).is_some_and(|at| old[at] != new[at]))
    }

    /// Indexes of constraints that wait for the statement's end, or longer.
    pub fn deferrable_keys(&self) -> impl Iterator<Item = &Index> {
        self.maintained_indexes().filter(|index| index.deferrable.is_some())
    }

    /// Whether an insert never looks for what it wrote: neither foreign keys nor deferrable keys are checked at its end.
    pub fn loads(&self) -> bool {
        self.outgoing.is_empty() && self.deferrable_keys().next().is_none()
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
