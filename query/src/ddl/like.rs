//! `CREATE TABLE … (LIKE table INCLUDING …)`.

use std::sync::Arc;

use sqlparser::ast::{ColumnDef, DataType, ObjectName};
use stratos_types::{Error, ErrorKind, Result};

use super::Ddl;
use super::constraints::{NewKey, multiple_primary_keys, must_be_new};
use super::create_table::push_column;
use crate::binder::LIKE_MARKER;
use crate::catalog::system::PG_CONSTRAINT;
use crate::catalog::{
    CheckConstraint, ColumnDefault, Constraint, ConstraintKind, Identity, Index, IndexState, Sequence, Table,
    choose_index_name, choose_relation_name,
};

/// What a LIKE clause copies beside names, types and NOT NULL. Storage, compression, statistics and generated columns are not
/// listed, because no column has any of its own.
#[derive(Debug, Default, Clone, Copy)]
struct Including {
    comments: bool,
    constraints: bool,
    defaults: bool,
    identity: bool,
    indexes: bool,
}

/// A LIKE clause of a table being made, whose columns are there; the rest follows when those of the table itself are.
pub(super) struct Like {
    source: Arc<Table>,
    including: Including,
}

/// The options behind the marker, in the order in which they are written.
fn including(options: &str) -> Including {
    let mut including = Including::default();
    let mut rest = options;
    while let Some(sign) = rest.chars().next() {
        let end = rest.get(1..).and_then(|behind| behind.find(['+', '-'])).map_or(rest.len(), |at| at + 1);
        let word = rest.get(1..end).unwrap_or_default();
        rest = rest.get(end..).unwrap_or_default();
        let wanted = sign == '+';
        let all = word == "all";
        for (name, slot) in [
            ("comments", &mut including.comments),
            ("constraints", &mut including.constraints),
            ("defaults", &mut including.defaults),
            ("identity", &mut including.identity),
            ("indexes", &mut including.indexes),
        ] {
            if all || word == name {
                *slot = wanted;
            }
        }
    }
    including
}

/// A LIKE clause, as the rewriting of the statement left it: the table's name and the options.
pub(super) fn like_clause(definition: &ColumnDef) -> Option<(&ObjectName, &str)> {
    match &definition.data_type {
        DataType::Custom(name, _) => Some((name, definition.name.value.strip_prefix(LIKE_MARKER)?)),
        _ => None,
    }
}

impl Ddl<'_, '_> {
    /// Adds the columns of another table, and what belongs to them alone.
    pub(super) fn like_columns(&mut self, table: &mut Table, name: &ObjectName, options: &str) -> Result<Like> {
        let including = including(options);
        let at_name = |error: Error| match name.0.first().and_then(|part| part.as_ident()) {
            Some(ident) => self.at(error, ident),
            None => error,
        };
        let found = self.find(name)?.ok_or_else(|| {
            let message = format!("relation \"{}\" does not exist", super::display_name(name));
            at_name(Error::new(ErrorKind::UndefinedTable, message))
        })?;
        let crate::catalog::Relation::Table(source) = found else {
            let error = Error::new(
                ErrorKind::WrongObjectType,
                format!("relation \"{}\" is invalid in LIKE clause", found.name()),
            );
            let kind = match found {
                crate::catalog::Relation::Index(..) => "indexes",
                _ => "sequences",
            };
            return Err(at_name(error.with_detail(format!("This operation is not supported for {kind}."))));
        };
        for column in &source.columns {
            let position = push_column(table, column.name.clone(), column.ty)?;
            table.columns[position].not_null = column.not_null;
            table.columns[position].collation = column.collation;
            if including.defaults
                && let Some(default) = &column.default
            {
                let default = ColumnDefault { oid: self.oid()?, sql: default.sql.clone(), owned_sequence: None };
                table.columns[position].default = Some(default);
            }
            if including.comments {
                table.columns[position].comment.clone_from(&column.comment);
            }
            if including.identity
                && let Some(identity) = &column.identity
            {
                self.like_identity(table, position, identity)?;
            }
        }
        Ok(Like { source, including })
    }

    fn like_identity(&mut self, table: &mut Table, position: usize, identity: &Identity) -> Result<()> {
        let model = self.snapshot().sequences.get(&identity.sequence).cloned();
        let model = model.ok_or_else(|| Error::internal("a sequence is gone"))?;
        let column = &table.columns[position];
        let names: Vec<String> = table.indexes.iter().map(|i| i.name.clone()).chain([table.name.clone()]).collect();
        let name = choose_relation_name(self.snapshot(), table.schema, &table.name, Some(&column.name), "seq", &names);
        let oid = self.oid()?;
        let sequence = Sequence {
            oid,
            schema: table.schema,
            name,
            owner: table.owner,
            owned_by: Some((table.oid, column.attnum)),
            storage: oid,
            begin: Some(model.start),
            ..Sequence::clone(&model)
        };
        self.editor.put_sequence(sequence)?;
        table.columns[position].identity = Some(Identity { always: identity.always, sequence: oid });
        Ok(())
    }

    /// Adds the checks and indexes of another table, whose columns are there by now.
    pub(super) fn like_rest(&mut self, table: &mut Table, like: &Like) -> Result<()> {
        let Like { source, including } = like;
        let attnum = |table: &Table, old: i16| {
            let column = source.column_index(old).map(|at| source.columns[at].name.as_str());
            let position = column.and_then(|name| table.column_named(name));
            position.map(|at| table.columns[at].attnum).ok_or_else(|| Error::internal("a copied column is gone"))
        };
        if including.constraints {
            for (constraint, check) in source.checks() {
                must_be_new(table, &constraint.name)?;
                let oid = self.oid()?;
                let columns = check.columns.iter().map(|old| attnum(table, *old)).collect::<Result<_>>()?;
                let kind = ConstraintKind::Check(CheckConstraint { sql: check.sql.clone(), columns });
                table.constraints.push(Constraint { oid, name: constraint.name.clone(), kind });
                self.copy_comment(including, constraint.oid, oid);
            }
        }
        if !including.indexes {
            return Ok(());
        }
        let mut indexes: Vec<&Index> = source.indexes.iter().filter(|i| i.oid != 0).collect();
        indexes.sort_by_key(|index| index.oid);
        for index in indexes {
            let mut columns = index.columns.clone();
            for column in &mut columns {
                column.attnum = attnum(table, column.attnum)?;
            }
            let constraint = source.constraints.iter().find(
                |c| matches!(c.kind, ConstraintKind::Unique { index: enforced_by, .. } if enforced_by == index.oid),
            );
            let names: Vec<String> = columns
                .iter()
                .filter_map(|c| table.column_index(c.attnum))
                .map(|i| table.columns[i].name.clone())
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let copy = match constraint {
                Some(constraint) => {
                    if index.primary && table.declared_primary_key().is_some() {
                        return Err(multiple_primary_keys(table));
                    }
                    let key = NewKey { name: None, primary: index.primary, deferrable: index.deferrable };
                    self.push_key(table, key, columns, &names, false)?;
                    if let Some(added) = table.constraints.last() {
                        self.copy_comment(including, constraint.oid, added.oid);
                    }
                    match index.primary && index.deferrable.is_none() {
                        true => table.indexes.first_mut(),
                        false => table.indexes.last_mut(),
                    }
                }
                None => {
                    let oid = self.oid()?;
                    let name = choose_index_name(self.snapshot(), table, &names, false, false);
                    table.indexes.push(Index::plain(oid, name, columns, index.unique, IndexState::Public));
                    table.indexes.last_mut()
                }
            };
            if let Some(copy) = copy
                && including.comments
            {
                copy.comment.clone_from(&index.comment);
            }
        }
        Ok(())
    }

    fn copy_comment(&mut self, including: &Including, from: u32, to: u32) {
        if !including.comments {
            return;
        }
        if let Some(comment) = self.snapshot().comments.get(&(PG_CONSTRAINT, from)).cloned() {
            self.editor.set_comment(PG_CONSTRAINT, to, Some(&comment));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::including;

    #[test]
    fn the_last_word_about_an_option_counts() {
        let all = including("+all-indexes");
        assert!(all.comments && all.constraints && all.defaults && all.identity && !all.indexes);
        let some = including("+defaults-all+identity");
        assert!(!some.defaults && some.identity && !some.indexes);
        let none = including("");
        assert!(!none.defaults && !none.comments);
    }
}
