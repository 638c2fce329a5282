//! ALTER TABLE … RENAME and SET SCHEMA.

use sqlparser::ast::{AlterTableOperation, Ident, ObjectName, RenameTableNameKind};
use stratos_types::{Error, ErrorKind, Result};

use super::alter_table::duplicate_column;
use super::expressions::rename_columns_in;
use super::{Ddl, display_name, fold};
use crate::catalog::{ConstraintKind, Relation, Sequence, Table, is_temporary_name, resolve_temporary};

impl Ddl<'_, '_> {
    /// RENAME in its forms, which stand alone. Tells whether it was one.
    pub(super) fn rename_operation(&mut self, name: &ObjectName, operation: &AlterTableOperation) -> Result<bool> {
        match operation {
            AlterTableOperation::RenameTable { table_name } => {
                let (RenameTableNameKind::To(new_name) | RenameTableNameKind::As(new_name)) = table_name;
                let new_name = super::single_name(new_name)?;
                match self.relation(name)? {
                    Relation::Table(table) => self.rename_table(&table, &new_name)?,
                    Relation::Index(table, position) => {
                        self.must_own(table.owner, "index", &table.indexes[position].name)?;
                        self.rename_index(&table, position, &new_name)?;
                    }
                    Relation::Sequence(sequence) => {
                        self.rename_sequence(sequence.oid, &new_name)?;
                    }
                }
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                self.rename_column(name, &fold(old_column_name), fold(new_column_name))?
            }
            AlterTableOperation::RenameConstraint { old_name, new_name } => {
                self.rename_constraint(name, &fold(old_name), fold(new_name))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn rename_table(&mut self, table: &Table, new_name: &str) -> Result<()> {
        self.must_own(table.owner, "table", &table.name)?;
        self.must_be_free(table.schema, new_name)?;
        let mut table = table.clone();
        table.name = new_name.to_owned();
        self.editor.put_table(table)?;
        Ok(())
    }

    fn rename_column(&mut self, name: &ObjectName, old: &str, new: String) -> Result<()> {
        let table = self.table_to("alter", name)?;
        self.must_own(table.owner, "table", &table.name)?;
        let mut table = Table::clone(&table);
        let position = table
            .column_named(old)
            .ok_or_else(|| Error::new(ErrorKind::UndefinedColumn, format!("column \"{old}\" does not exist")))?;
        if table.column_named(&new).is_some() {
            return Err(duplicate_column(&new, &table.name));
        }
        let attnum = table.columns[position].attnum;
        for constraint in &mut table.constraints {
            if let ConstraintKind::Check(check) = &mut constraint.kind
                && check.columns.contains(&attnum)
            {
                check.sql = rename_columns_in(&check.sql, old, &new)?;
            }
        }
        table.columns[position].name = new;
        self.editor.put_table(table)?;
        Ok(())
    }

    fn rename_constraint(&mut self, name: &ObjectName, old: &str, new: String) -> Result<()> {
        let table = self.table_to("alter", name)?;
        self.must_own(table.owner, "table", &table.name)?;
        let Some(position) = table.constraints.iter().position(|c| c.name == old) else {
            return Err(Error::new(
                ErrorKind::UndefinedObject,
                format!("constraint \"{old}\" for table \"{}\" does not exist", table.name),
            ));
        };
        if let ConstraintKind::Unique { index, .. } = table.constraints[position].kind {
            let Some(index) = table.indexes.iter().position(|i| i.oid == index) else {
                return Err(Error::internal("a constraint's index is gone"));
            };
            return self.rename_index(&table, index, &new);
        }
        if table.constraints.iter().any(|c| c.name == new) {
            return Err(Error::new(
                ErrorKind::DuplicateObject,
                format!("constraint \"{new}\" for relation \"{}\" already exists", table.name),
            ));
        }
        let mut table = Table::clone(&table);
        table.constraints[position].name = new;
        self.editor.put_table(table)?;
        Ok(())
    }

    /// 0A000 for what would move from one schema to the other, and one of them is for temporary relations.
    pub(super) fn must_stay(&self, from: u32, to: &str) -> Result<()> {
        let target = resolve_temporary(to, self.context.search_path);
        if !self.snapshot().is_temporary(from) && target != self.context.temporary_schema && !is_temporary_name(target)
        {
            return Ok(());
        }
        let message = "cannot move objects into or out of temporary schemas";
        Err(Error::new(ErrorKind::FeatureNotSupported, message))
    }

    pub(super) fn set_schema(&mut self, name: &ObjectName, if_exists: bool, schema: &Ident) -> Result<&'static str> {
        const TAG: &str = "ALTER TABLE";
        if if_exists && self.find(name)?.is_none() {
            self.notice(format!("relation \"{}\" does not exist, skipping", display_name(name)));
            return Ok(TAG);
        }
        let table = self.table_to("alter", name)?;
        self.must_own(table.owner, "table", &table.name)?;
        let schema_name = fold(schema);
        self.must_stay(table.schema, &schema_name)?;
        let target =
            self.snapshot().schemas.values().find(|s| s.name == schema_name).map(|s| s.oid).ok_or_else(|| {
                Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{schema_name}\" does not exist"))
            })?;
        if target == table.schema {
            return Ok(TAG);
        }
        let sequences = self.snapshot().sequences_of(table.oid, None);
        for moved in [table.name.as_str()]
            .into_iter()
            .chain(table.indexes.iter().filter(|i| i.oid != 0).map(|i| i.name.as_str()))
            .chain(sequences.iter().map(|s| s.name.as_str()))
        {
            if self.snapshot().relations.contains_key(&(target, moved.to_owned())) {
                return Err(Error::new(
                    ErrorKind::DuplicateTable,
                    format!("relation \"{moved}\" already exists in schema \"{schema_name}\""),
                ));
            }
        }
        for sequence in sequences {
            let oid = sequence.oid;
            let text = format!(
                "{}.{}",
                crate::catalog::quote_identifier(&schema_name),
                crate::catalog::quote_identifier(&sequence.name)
            );
            self.rewrite_defaults(&mut |relation| (relation.oid() == oid).then(|| text.clone()))?;
            self.editor.put_sequence(Sequence { schema: target, ..Sequence::clone(&sequence) })?;
        }
        let mut table = Table::clone(&*self.table_by_oid(table.oid)?);
        table.schema = target;
        self.editor.put_table(table)?;
        Ok(TAG)
    }
}
