//! COMMENT ON.

use sqlparser::ast::{CommentObject, ObjectName, Statement};
use stratos_types::{Error, ErrorKind, Result};

use super::{Ddl, column_missing, display_name, name_parts, single_name};
use crate::catalog::system::{PG_AUTHID, PG_CLASS, PG_CONSTRAINT, PG_DATABASE, PG_NAMESPACE};
use crate::catalog::{Relation, Table};

impl Ddl<'_, '_> {
    pub(super) fn comment(&mut self, statement: &Statement) -> Result<&'static str> {
        let Statement::Comment { object_type, object_name, comment, if_exists, .. } = statement else {
            return Err(Error::internal("not COMMENT"));
        };
        if *if_exists {
            return Err(Error::unsupported("COMMENT IF EXISTS"));
        }
        // An empty comment is none, as in Postgres.
        let comment = comment.as_deref().filter(|text| !text.is_empty());
        match object_type {
            CommentObject::Table => {
                let table = self.table(object_name)?;
                self.must_own(table.owner, "table", &table.name)?;
                let mut table = Table::clone(&table);
                table.comment = comment.map(str::to_owned);
                self.editor.put_table(table)?;
            }
            CommentObject::Column => self.comment_on_column(object_name, comment)?,
            CommentObject::Index => {
                let Relation::Index(table, position) = self.relation(object_name)? else {
                    return Err(Error::new(
                        ErrorKind::WrongObjectType,
                        format!("\"{}\" is not an index", display_name(object_name)),
                    ));
                };
                self.must_own(table.owner, "index", &table.indexes[position].name)?;
                let mut table = Table::clone(&table);
                table.indexes[position].comment = comment.map(str::to_owned);
                self.editor.put_table(table)?;
            }
            CommentObject::Sequence => {
                let Relation::Sequence(sequence) = self.relation(object_name)? else {
                    return Err(Error::new(
                        ErrorKind::WrongObjectType,
                        format!("\"{}\" is not a sequence", display_name(object_name)),
                    ));
                };
                self.must_own(sequence.owner, "sequence", &sequence.name)?;
                self.editor.set_comment(PG_CLASS, sequence.oid, comment);
            }
            CommentObject::Schema => {
                let name = single_name(object_name)?;
                let schema =
                    self.snapshot().schema_oid(&name).and_then(|oid| self.snapshot().schemas.get(&oid)).ok_or_else(
                        || Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{name}\" does not exist")),
                    )?;
                let (oid, owner) = (schema.oid, schema.owner);
                self.must_own(owner, "schema", &name)?;
                self.editor.set_comment(PG_NAMESPACE, oid, comment);
            }
            CommentObject::Database => {
                let name = single_name(object_name)?;
                let Some((oid, owner)) = self.snapshot().database_named(&name).map(|d| (d.oid, d.owner)) else {
                    return Err(Error::new(
                        ErrorKind::InvalidCatalogName,
                        format!("database \"{name}\" does not exist"),
                    ));
                };
                self.must_own(owner, "database", &name)?;
                self.editor.set_comment(PG_DATABASE, oid, comment);
            }
            CommentObject::Role | CommentObject::User => {
                let oid = self.role_oid(&single_name(object_name)?)?;
                self.editor.set_comment(PG_AUTHID, oid, comment);
            }
            other => return Err(Error::unsupported(format!("COMMENT ON {other}"))),
        }
        Ok("COMMENT")
    }

    fn comment_on_column(&mut self, name: &ObjectName, comment: Option<&str>) -> Result<()> {
        let parts = name_parts(name)?;
        let Some(((column, _), table_parts)) = parts.split_last() else {
            return Err(Error::internal("a column without a name"));
        };
        if table_parts.is_empty() {
            return Err(Error::new(ErrorKind::SyntaxError, "column name must be qualified"));
        }
        let table = self.table(&ObjectName(name.0[..table_parts.len()].to_vec()))?;
        self.must_own(table.owner, "table", &table.name)?;
        let mut table = Table::clone(&table);
        let position = table.column_named(column).ok_or_else(|| column_missing(column, &table.name))?;
        table.columns[position].comment = comment.map(str::to_owned);
        self.editor.put_table(table)?;
        Ok(())
    }

    pub(super) fn comment_on_constraint(
        &mut self,
        constraint: &str,
        table: &ObjectName,
        comment: Option<&str>,
    ) -> Result<&'static str> {
        let table = self.table(table)?;
        self.must_own(table.owner, "table", &table.name)?;
        let oid = table.constraints.iter().find(|c| c.name == constraint).map(|c| c.oid).ok_or_else(|| {
            Error::new(
                ErrorKind::UndefinedObject,
                format!("constraint \"{constraint}\" for table \"{}\" does not exist", table.name),
            )
        })?;
        self.editor.set_comment(PG_CONSTRAINT, oid, comment.filter(|text| !text.is_empty()));
        Ok("COMMENT")
    }
}
