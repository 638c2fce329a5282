//! ALTER TABLE … DROP: columns and constraints, and what depends on them.

use std::collections::BTreeSet;
use std::sync::Arc;

use stratos_types::{Error, ErrorKind, Result};

use super::alter_table::Altering;
use super::constraints::hidden_index;
use super::{Ddl, Job, column_missing};
use crate::catalog::{ConstraintKind, Relation};

/// Takes an index out. Without a primary key rows are kept by hidden row id, so that losing it means a rewrite.
fn remove_index(altering: &mut Altering, oid: u32, jobs: &mut Vec<Job>) {
    let Some(position) = altering.table.indexes.iter().position(|i| i.oid == oid) else {
        return;
    };
    if position == 0 {
        altering.table.indexes[position] = hidden_index();
        altering.rewrite = true;
        return;
    }
    let removed = altering.table.indexes.remove(position);
    jobs.push(Job::DropIndexStorage {
        database: altering.table.database,
        storage: altering.table.storage,
        index: removed.id,
    });
}

pub(super) fn constraint_missing(constraint: &str, table: &str) -> Error {
    Error::new(
        ErrorKind::UndefinedObject,
        format!("constraint \"{constraint}\" of relation \"{table}\" does not exist"),
    )
}

impl Ddl<'_, '_> {
    pub(super) fn drop_column(
        &mut self,
        altering: &mut Altering,
        name: &str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<()> {
        let Some(position) = altering.table.column_named(name) else {
            return self.skipped(if_exists, column_missing(name, &altering.table.name));
        };
        let attnum = altering.table.columns[position].attnum;
        let table_oid = altering.table.oid;
        let shown = self.shown(&Relation::Table(Arc::clone(&altering.from)));
        let what = format!("column {name} of table {shown}");

        // References to the column, and defaults from its sequences, stand in the way; a key that the column itself is part
        // of goes with it.
        let mut blocking = Vec::new();
        let mut lost_keys = Vec::new();
        for constraint in &altering.table.constraints {
            if let ConstraintKind::ForeignKey(key) = &constraint.kind
                && key.table == table_oid
                && key.referenced.contains(&attnum)
                && !key.columns.contains(&attnum)
            {
                let dependent = format!("constraint {} on table {shown}", constraint.name);
                let line = format!("{dependent} depends on {what}");
                blocking.push((dependent, Some(line)));
            }
        }
        for (other, position) in self.snapshot().referencing(table_oid) {
            let constraint = &other.constraints[position];
            if other.oid == table_oid {
                continue;
            }
            if let ConstraintKind::ForeignKey(key) = &constraint.kind
                && key.referenced.contains(&attnum)
            {
                let dependent = format!(
                    "constraint {} on table {}",
                    constraint.name,
                    self.shown(&Relation::Table(Arc::clone(&other)))
                );
                let line = format!("{dependent} depends on {what}");
                blocking.push((dependent, Some(line)));
                lost_keys.push((other.oid, constraint.oid));
            }
        }
        let sequences = self.snapshot().sequences_of(table_oid, Some(attnum));
        let mut lost_defaults = self.defaults_using(&sequences, &BTreeSet::new());
        lost_defaults.retain(|(table, lost, _)| (table.oid, *lost) != (table_oid, attnum));
        blocking.extend(self.default_blockers(&lost_defaults));
        self.settle(&what, &blocking, cascade)?;
        for (table, constraint) in lost_keys {
            self.remove_constraint(table, constraint)?;
        }
        for (table, attnum, _) in lost_defaults {
            if table.oid != table_oid {
                self.remove_default(table.oid, attnum)?;
            } else if let Some(column) = altering.table.columns.iter_mut().find(|c| c.attnum == attnum) {
                column.default = None;
            }
        }
        for sequence in sequences {
            self.editor.remove_sequence(sequence.oid);
        }

        let gone: Vec<u32> = altering
            .table
            .indexes
            .iter()
            .filter(|i| i.columns.iter().any(|c| c.attnum == attnum))
            .map(|i| i.oid)
            .collect();
        altering.table.constraints.retain(|c| match &c.kind {
            ConstraintKind::Unique { index, .. } => !gone.contains(index),
            ConstraintKind::Check(check) => !check.columns.contains(&attnum),
            ConstraintKind::ForeignKey(key) => {
                !(key.columns.contains(&attnum) || key.table == table_oid && key.referenced.contains(&attnum))
            }
        });
        for oid in gone {
            remove_index(altering, oid, &mut self.jobs);
        }
        altering.table.columns.remove(position);
        altering.columns.retain(|c| c.attnum != attnum);
        Ok(())
    }

    pub(super) fn drop_constraint(
        &mut self,
        altering: &mut Altering,
        name: &str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<()> {
        let Some(position) = altering.table.constraints.iter().position(|c| c.name == name) else {
            return self.skipped(if_exists, constraint_missing(name, &altering.table.name));
        };
        let constraint = altering.table.constraints[position].clone();
        if let ConstraintKind::Unique { index, .. } = constraint.kind {
            let shown = self.shown(&Relation::Table(Arc::clone(&altering.from)));
            let mut blocking = Vec::new();
            let mut keys = Vec::new();
            let mut own_keys = Vec::new();
            for table in self.snapshot().tables.values() {
                for (other, key) in table.foreign_keys() {
                    if key.index != index {
                        continue;
                    }
                    let dependent = format!(
                        "constraint {} on table {}",
                        other.name,
                        self.shown(&Relation::Table(Arc::clone(table)))
                    );
                    let line = format!("{dependent} depends on index {name}");
                    blocking.push((dependent, Some(line)));
                    if table.oid == altering.table.oid {
                        own_keys.push(other.oid);
                    } else {
                        keys.push((table.oid, other.oid));
                    }
                }
            }
            self.settle(&format!("constraint {name} on table {shown}"), &blocking, cascade)?;
            for (table, key) in keys {
                self.remove_constraint(table, key)?;
            }
            altering.table.constraints.retain(|c| !own_keys.contains(&c.oid));
            remove_index(altering, index, &mut self.jobs);
        }
        altering.table.constraints.retain(|c| c.oid != constraint.oid);
        self.editor.set_comment(crate::catalog::system::PG_CONSTRAINT, constraint.oid, None);
        Ok(())
    }
}
