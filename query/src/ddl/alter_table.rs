//! ALTER TABLE.

use std::sync::Arc;

use sqlparser::ast::{AlterTable, AlterTableOperation, ColumnDef, DropBehavior, Expr, Ident, ObjectName};
use stratos_types::{Error, ErrorKind, Result};

use super::alter_drop::constraint_missing;
use super::constraints::{Wanted, wanted_of, wanted_order};
use super::create_table::column_wishes;
use super::expressions::{DefaultValue, parse_expression};
use super::{Ddl, Job, RewriteColumn, RewriteValue, TableAction, Validation, display_name, fold};
use crate::catalog::{Relation, Sequence, Table};

/// A table while the operations of one ALTER TABLE go over it.
pub(super) struct Altering {
    /// As it was.
    pub from: Arc<Table>,
    /// As it is becoming.
    pub table: Table,
    /// Whether stored rows have to be written anew.
    pub rewrite: bool,
    pub columns: Vec<RewriteColumn>,
}

impl Ddl<'_, '_> {
    pub(super) fn alter_table(&mut self, alter: &AlterTable) -> Result<&'static str> {
        const TAG: &str = "ALTER TABLE";
        if alter.location.is_some() || alter.on_cluster.is_some() || alter.table_type.is_some() {
            return Err(Error::unsupported("this form of ALTER TABLE"));
        }
        if alter.if_exists && self.find(&alter.name)?.is_none() {
            self.notice(format!("relation \"{}\" does not exist, skipping", display_name(&alter.name)));
            return Ok(TAG);
        }
        if let [only] = alter.operations.as_slice()
            && self.rename_operation(&alter.name, only)?
        {
            return Ok(TAG);
        }
        let relation = self.relation(&alter.name)?;
        // OWNER TO is the one operation that Postgres takes for sequences too.
        if let (Relation::Sequence(sequence), [AlterTableOperation::OwnerTo { new_owner }]) =
            (&relation, alter.operations.as_slice())
        {
            self.must_own(sequence.owner, "sequence", &sequence.name)?;
            let owner = self.owner(new_owner)?;
            self.editor.put_sequence(Sequence { owner, ..Sequence::clone(sequence) })?;
            return Ok(TAG);
        }
        let mut altering = self.altering(&relation)?;
        if !matches!(alter.operations.as_slice(), [AlterTableOperation::OwnerTo { .. }]) {
            self.must_be_settled(TAG, &altering.from)?;
        }
        let jobs_before = self.jobs.len();
        for operation in &alter.operations {
            (self.context.check_canceled)()?;
            self.operation(&mut altering, operation)?;
        }
        self.finish_altering(altering, jobs_before)?;
        Ok(TAG)
    }

    fn altering(&self, relation: &Relation) -> Result<Altering> {
        let Relation::Table(from) = relation else {
            return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a table", relation.name())));
        };
        self.must_be_reachable("alter", from)?;
        self.must_own(from.owner, "table", &from.name)?;
        let (table, from) = (Table::clone(from), Arc::clone(from));
        Ok(Altering { table, from, rewrite: false, columns: Vec::new() })
    }

    /// ALTER TABLE with changes of identity columns among others.
    pub(super) fn alter_table_by(
        &mut self,
        name: &ObjectName,
        if_exists: bool,
        actions: &[TableAction],
    ) -> Result<&'static str> {
        const TAG: &str = "ALTER TABLE";
        if if_exists && self.find(name)?.is_none() {
            self.notice(format!("relation \"{}\" does not exist, skipping", display_name(name)));
            return Ok(TAG);
        }
        let mut altering = self.altering(&self.relation(name)?)?;
        self.must_be_settled(TAG, &altering.from)?;
        let jobs_before = self.jobs.len();
        for action in actions {
            match action {
                TableAction::Sql(operation) => self.operation(&mut altering, operation)?,
                TableAction::Identity { column, change } => {
                    self.change_identity(&mut altering.table, &fold(column), change)?;
                }
            }
        }
        self.finish_altering(altering, jobs_before)?;
        Ok(TAG)
    }

    fn finish_altering(&mut self, altering: Altering, jobs_before: usize) -> Result<()> {
        let Altering { from, mut table, rewrite, mut columns } = altering;
        if !rewrite {
            self.editor.put_table(table)?;
            return Ok(());
        }
        table.storage = self.oid()?;
        for column in &mut table.columns {
            let missing = column.missing.take();
            let is_new = from.column_index(column.attnum).is_none();
            if let (Some(bytes), true) = (missing, is_new) {
                columns.push(RewriteColumn { attnum: column.attnum, value: RewriteValue::Constant(bytes) });
            }
        }
        let to = self.editor.put_table(table)?;
        let mut rest = self.jobs.split_off(jobs_before);
        // The rewrite fills every index of the new storage, and the old storage goes as a whole.
        rest.retain(|job| {
            !matches!(job, Job::BuildIndex { table, .. } if *table == to.oid)
                && !matches!(job, Job::DropIndexStorage { storage, .. } if *storage == from.storage)
        });
        self.jobs.push(Job::Rewrite { from: Arc::clone(&from), to, columns });
        self.jobs.append(&mut rest);
        self.jobs.push(Job::DropStorage { database: from.database, storage: from.storage });
        Ok(())
    }

    pub(super) fn operation(&mut self, altering: &mut Altering, operation: &AlterTableOperation) -> Result<()> {
        match operation {
            AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
                self.alter_add_column(altering, column_def, *if_not_exists)
            }
            AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
                let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
                for name in column_names {
                    self.drop_column(altering, &fold(name), *if_exists, cascade)?;
                }
                Ok(())
            }
            AlterTableOperation::AddConstraint { constraint, not_valid } => {
                if *not_valid {
                    return Err(Error::unsupported("NOT VALID"));
                }
                let (name, wanted) = wanted_of(constraint)?;
                self.alter_add_constraint(altering, name, &wanted)
            }
            AlterTableOperation::DropConstraint { if_exists, name, drop_behavior } => {
                let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
                self.drop_constraint(altering, &fold(name), *if_exists, cascade)
            }
            AlterTableOperation::AlterColumn { column_name, op } => self.alter_column(altering, &fold(column_name), op),
            AlterTableOperation::OwnerTo { new_owner } => {
                altering.table.owner = self.owner(new_owner)?;
                // The sequences of a table's columns have its owner.
                for sequence in self.snapshot().sequences_of(altering.table.oid, None) {
                    self.editor.put_sequence(Sequence { owner: altering.table.owner, ..Sequence::clone(&sequence) })?;
                }
                Ok(())
            }
            AlterTableOperation::ValidateConstraint { name } => {
                let name = fold(name);
                if altering.table.constraints.iter().any(|c| c.name == name) {
                    return Ok(());
                }
                Err(constraint_missing(&name, &altering.table.name))
            }
            AlterTableOperation::SetOptionsParens { options } => {
                for option in options {
                    self.storage_option(option)?;
                }
                Ok(())
            }
            AlterTableOperation::RenameTable { .. }
            | AlterTableOperation::RenameColumn { .. }
            | AlterTableOperation::RenameConstraint { .. } => {
                Err(Error::new(ErrorKind::SyntaxError, "RENAME cannot be combined with other changes"))
            }
            other => Err(Error::unsupported(format!("ALTER TABLE {other}"))),
        }
    }

    fn alter_add_column(&mut self, altering: &mut Altering, definition: &ColumnDef, if_not_exists: bool) -> Result<()> {
        let name = fold(&definition.name);
        if altering.table.column_named(&name).is_some() {
            if if_not_exists {
                self.notice_of(
                    ErrorKind::DuplicateColumn,
                    format!("column \"{name}\" of relation \"{}\" already exists, skipping", altering.table.name),
                );
                return Ok(());
            }
            return Err(duplicate_column(&name, &altering.table.name));
        }
        let mut wishes = column_wishes(self, definition, &altering.table.name)?;
        let position = self.add_column(&mut altering.table, definition, &wishes)?;
        let column = &altering.table.columns[position];
        let (attnum, ty, not_null) = (column.attnum, column.ty, column.not_null);
        let per_row = if column.identity.is_some() {
            true
        } else if let Some(default) = &column.default {
            let expression = parse_expression(&default.sql)?;
            match self.context.binder.evaluate_default(self.snapshot(), ty, &expression)? {
                DefaultValue::Constant(missing) => {
                    altering.table.columns[position].missing = missing;
                    false
                }
                DefaultValue::PerRow => true,
            }
        } else {
            false
        };
        if per_row {
            altering.rewrite = true;
            altering.columns.push(RewriteColumn { attnum, value: RewriteValue::Default });
        } else if not_null && altering.table.columns[position].missing.is_none() {
            self.jobs.push(Job::Validate { table: altering.table.oid, what: Validation::NotNull { attnum } });
        }
        wishes.constraints.sort_by_key(|(_, wanted)| wanted_order(wanted));
        for (name, wanted) in &wishes.constraints {
            self.alter_add_constraint(altering, *name, wanted)?;
        }
        Ok(())
    }

    fn alter_add_constraint(
        &mut self,
        altering: &mut Altering,
        name: Option<&Ident>,
        wanted: &Wanted<'_>,
    ) -> Result<()> {
        self.add_constraint(&mut altering.table, name, wanted, true)?;
        if matches!(wanted, Wanted::Key { primary: true, .. }) {
            // Rows are kept in the order of the primary key.
            altering.rewrite = true;
        }
        Ok(())
    }

    pub(super) fn split_at(&mut self, name: &ObjectName, values: &[Vec<Expr>]) -> Result<&'static str> {
        self.must_be_alone("ALTER TABLE SPLIT AT")?;
        let table = self.table_to("alter", name)?;
        self.must_own(table.owner, "table", &table.name)?;
        let key_columns = table.primary_index().columns.len().max(1);
        if let Some(point) = values.iter().find(|v| v.len() > key_columns) {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                format!(
                    "SPLIT AT has {} values, but the primary key of \"{}\" has {key_columns}",
                    point.len(),
                    table.name
                ),
            ));
        }
        self.jobs.push(Job::Split { table: table.oid, values: values.to_vec() });
        Ok("ALTER TABLE")
    }
}

pub(super) fn duplicate_column(column: &str, table: &str) -> Error {
    Error::new(ErrorKind::DuplicateColumn, format!("column \"{column}\" of relation \"{table}\" already exists"))
}
