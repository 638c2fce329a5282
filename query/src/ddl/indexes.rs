//! CREATE INDEX, and the steps of an index that is built while writers go on.

use sqlparser::ast::{AlterIndexOperation, BinaryOperator, CreateIndex, Expr, IndexType, ObjectName, SqlOption};
use stratos_types::{Error, ErrorKind, Result};

use super::constraints::{INDEX_COLUMNS_MAX, must_be_indexable, too_many_index_columns};
use super::{Ddl, Job, display_name, duplicate_relation, fold};
use crate::catalog::{Index, IndexColumn, IndexState, Relation, SnapshotEditor, Table, choose_index_name};
use crate::system::classes::named_class;

impl Ddl<'_, '_> {
    pub(super) fn create_index(&mut self, create: &CreateIndex) -> Result<&'static str> {
        const TAG: &str = "CREATE INDEX";
        if create.concurrently {
            self.must_be_alone("CREATE INDEX CONCURRENTLY")?;
        }
        refuse_clauses(create)?;
        for parameter in &create.with {
            match parameter {
                Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match left.as_ref() {
                    Expr::Identifier(key) => {
                        self.storage_option(&SqlOption::KeyValue { key: key.clone(), value: right.as_ref().clone() })?
                    }
                    other => return Err(Error::unsupported(format!("storage parameter {other}"))),
                },
                other => return Err(Error::unsupported(format!("storage parameter {other}"))),
            }
        }
        let table = self.table_to("create indexes on", &create.table_name)?;
        self.must_own(table.owner, "table", &table.name)?;
        self.must_be_settled("CREATE INDEX", &table)?;
        let mut table = Table::clone(&table);
        let columns = self.index_columns(&table, create)?;
        let names: Vec<&str> = columns
            .iter()
            .filter_map(|c| table.column_index(c.attnum))
            .map(|i| table.columns[i].name.as_str())
            .collect();
        let name = match &create.name {
            Some(name) => {
                let name = super::single_name(name)?;
                if self.snapshot().relations.contains_key(&(table.schema, name.clone())) {
                    if create.if_not_exists {
                        self.notice_of(
                            ErrorKind::DuplicateTable,
                            format!("relation \"{name}\" already exists, skipping"),
                        );
                        return Ok(TAG);
                    }
                    return Err(duplicate_relation(&name));
                }
                name
            }
            None => choose_index_name(self.snapshot(), &table, &names, false, false),
        };
        // A transaction block sees its own index at once; alone, the statement can go step by step beside writers.
        // Nobody but the session writes a temporary table.
        let online = !self.context.in_transaction_block && !self.snapshot().is_temporary(table.schema);
        let oid = self.oid()?;
        let table_oid = table.oid;
        let state = if online { IndexState::DeleteOnly } else { IndexState::Public };
        table.indexes.push(Index::plain(oid, name, columns, create.unique, state));
        self.editor.put_table(table)?;
        self.jobs.push(Job::BuildIndex { table: table_oid, index: oid, online });
        Ok(TAG)
    }

    fn index_columns(&self, table: &Table, create: &CreateIndex) -> Result<Vec<IndexColumn>> {
        if create.columns.len() > INDEX_COLUMNS_MAX {
            return Err(too_many_index_columns());
        }
        let mut columns = Vec::with_capacity(create.columns.len());
        for column in &create.columns {
            let Expr::Identifier(ident) = &column.column.expr else {
                return Err(Error::unsupported("an index on an expression"));
            };
            let name = fold(ident);
            let position = table
                .column_named(&name)
                .ok_or_else(|| Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist")))?;
            let ty = table.columns[position].ty.ty;
            must_be_indexable(ty)?;
            let class = match &column.operator_class {
                Some(class) => named_class(&super::single_name(class)?, ty)?,
                None => None,
            };
            let descending = column.column.options.asc == Some(false);
            columns.push(IndexColumn {
                attnum: table.columns[position].attnum,
                descending,
                nulls_first: column.column.options.nulls_first.unwrap_or(descending),
                class,
            });
        }
        Ok(columns)
    }

    pub(super) fn alter_index(&mut self, name: &ObjectName, operation: &AlterIndexOperation) -> Result<&'static str> {
        let AlterIndexOperation::RenameIndex { index_name } = operation;
        self.rename_index_named(name, index_name)
    }

    /// `ALTER INDEX IF EXISTS … RENAME TO …`
    pub(super) fn rename_index_if_exists(&mut self, name: &ObjectName, to: &ObjectName) -> Result<&'static str> {
        match self.rename_index_named(name, to) {
            Err(error) if error.kind() == ErrorKind::UndefinedTable => {
                self.notice(format!("relation \"{}\" does not exist, skipping", display_name(name)));
                Ok("ALTER INDEX")
            }
            other => other,
        }
    }

    /// `ALTER INDEX … RENAME TO …`
    pub(super) fn rename_index_named(&mut self, name: &ObjectName, to: &ObjectName) -> Result<&'static str> {
        let relation = self.relation(name)?;
        let Relation::Index(table, position) = relation else {
            return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not an index", display_name(name))));
        };
        self.must_own(table.owner, "index", &table.indexes[position].name)?;
        let new_name = super::single_name(to)?;
        self.rename_index(&table, position, &new_name)?;
        Ok("ALTER INDEX")
    }

    /// Renames an index, and the constraint that it enforces.
    pub fn rename_index(&mut self, table: &Table, position: usize, new_name: &str) -> Result<()> {
        self.must_be_free(table.schema, new_name)?;
        let mut table = table.clone();
        let oid = table.indexes[position].oid;
        table.indexes[position].name = new_name.to_owned();
        for constraint in &mut table.constraints {
            if matches!(constraint.kind, crate::catalog::ConstraintKind::Unique { index, .. } if index == oid) {
                constraint.name = new_name.to_owned();
            }
        }
        self.editor.put_table(table)?;
        Ok(())
    }
}

fn refuse_clauses(create: &CreateIndex) -> Result<()> {
    if let Some(using) = &create.using
        && *using != IndexType::BTree
    {
        return Err(Error::unsupported(format!("index method {using}")));
    }
    if create.predicate.is_some() {
        return Err(Error::unsupported("a partial index"));
    }
    if !create.include.is_empty() {
        return Err(Error::unsupported("INCLUDE"));
    }
    if create.nulls_distinct == Some(false) {
        return Err(Error::unsupported("NULLS NOT DISTINCT"));
    }
    if !create.index_options.is_empty() || !create.alter_options.is_empty() {
        return Err(Error::unsupported("this index option"));
    }
    Ok(())
}

/// Takes an index that is being built one step further; gives the state that it has now, none when it is gone.
///
/// A step must not follow the one before until every transaction that planned before that one has ended: then writers at
/// most one step apart run together, which is safe (nobody leaves an entry behind for a row that is gone, and from
/// `WriteOnly` on nobody leaves one out).
///
/// # Errors
/// None that input could cause.
pub fn advance_index(editor: &mut SnapshotEditor, index: u32) -> Result<Option<IndexState>> {
    let Some(Relation::Index(table, position)) = editor.snapshot().relation(index) else {
        return Ok(None);
    };
    let next = match table.indexes[position].state {
        IndexState::DeleteOnly => IndexState::WriteOnly,
        IndexState::WriteOnly => IndexState::Public,
        IndexState::Public => return Ok(Some(IndexState::Public)),
    };
    let mut table = Table::clone(&table);
    table.indexes[position].state = next;
    editor.put_table(table)?;
    Ok(Some(next))
}

/// Removes an index whose building failed; gives what remains to be freed after the commit.
///
/// # Errors
/// None that input could cause.
pub fn abandon_index(editor: &mut SnapshotEditor, index: u32) -> Result<Option<Job>> {
    let Some(Relation::Index(table, position)) = editor.snapshot().relation(index) else {
        return Ok(None);
    };
    let mut table = Table::clone(&table);
    let removed = table.indexes.remove(position);
    let job = Job::DropIndexStorage { database: table.database, storage: table.storage, index: removed.id };
    editor.put_table(table)?;
    Ok(Some(job))
}
