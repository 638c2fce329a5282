//! ALTER TABLE … ALTER COLUMN, where it is about the identity of a column.

use sqlparser::ast::{ObjectName, SequenceOptions};
use stratos_types::{Error, ErrorKind, PgType, Result};

use super::sequences::conflicting_options;
use super::{Ddl, IdentityChange, column_missing};
use crate::catalog::{Identity, Sequence, Table, choose_relation_name};

impl Ddl<'_, '_> {
    fn add_identity(
        &mut self,
        table: &mut Table,
        position: usize,
        always: bool,
        sequence: Option<&ObjectName>,
        options: &[SequenceOptions],
    ) -> Result<()> {
        let column = &table.columns[position];
        let refuse = |what: &str| {
            Error::new(
                ErrorKind::ObjectNotInPrerequisiteState,
                format!("column \"{}\" of relation \"{}\" {what}", column.name, table.name),
            )
        };
        if !matches!(column.ty.ty, PgType::Int2 | PgType::Int4 | PgType::Int8) {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                "identity column type must be smallint, integer, or bigint",
            ));
        }
        if !column.not_null {
            return Err(refuse("must be declared NOT NULL before identity can be added"));
        }
        if column.identity.is_some() {
            return Err(refuse("is already an identity column"));
        }
        if column.default.is_some() {
            return Err(refuse("already has a default value"));
        }
        let (schema, name) = match sequence {
            Some(name) => {
                let (schema, name) = self.creation_schema(name, false)?;
                self.must_be_free(schema, &name)?;
                (schema, name)
            }
            None => {
                let column = Some(column.name.as_str());
                (table.schema, choose_relation_name(self.snapshot(), table.schema, &table.name, column, "seq", &[]))
            }
        };
        let sequence = self.new_sequence(schema, name, column.ty, options)?;
        let oid = sequence.oid;
        self.editor.put_sequence(Sequence {
            owned_by: Some((table.oid, column.attnum)),
            owner: table.owner,
            ..sequence
        })?;
        table.columns[position].identity = Some(Identity { always, sequence: oid });
        Ok(())
    }

    /// Adds, changes or drops the identity of a column of a table that is being altered.
    pub(super) fn change_identity(&mut self, table: &mut Table, name: &str, change: &IdentityChange) -> Result<()> {
        let position = table.column_named(name).ok_or_else(|| column_missing(name, &table.name))?;
        let missing = format!("column \"{name}\" of relation \"{}\" is not an identity column", table.name);
        let identity = table.columns[position].identity.clone();
        match (change, identity) {
            (IdentityChange::Add { always, sequence, options }, _) => {
                self.add_identity(table, position, *always, sequence.as_ref(), options)
            }
            (IdentityChange::Drop { if_exists: true }, None) => {
                self.notice(format!("{missing}, skipping"));
                Ok(())
            }
            (_, None) => Err(Error::new(ErrorKind::ObjectNotInPrerequisiteState, missing)),
            (IdentityChange::Drop { .. }, Some(identity)) => {
                self.editor.remove_sequence(identity.sequence);
                table.columns[position].identity = None;
                Ok(())
            }
            (IdentityChange::Set { always, changes }, Some(identity)) => {
                if always.len() > 1 {
                    return Err(conflicting_options());
                }
                let sequence = self.snapshot().sequences.get(&identity.sequence).cloned();
                let mut sequence = Sequence::clone(&*sequence.ok_or_else(|| Error::internal("a sequence is gone"))?);
                if !changes.is_empty() {
                    self.change_sequence(&mut sequence, changes)?;
                    self.editor.put_sequence(sequence)?;
                }
                if let Some(always) = always.first() {
                    table.columns[position].identity = Some(Identity { always: *always, ..identity });
                }
                Ok(())
            }
        }
    }
}
