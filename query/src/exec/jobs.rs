//! What DDL does to stored rows: checking them, indexing them, writing them anew.

use std::sync::Arc;

use bytes::Bytes;
use stratos_replication::{Direction, Error as StoreError, ScanCursor, Span};
use stratos_types::row::decode_field;
use stratos_types::{Datum, Error, ErrorKind, FormatOptions, Result};

use super::rules::TableRules;
use super::{StatementContext, breathe, foreign_keys, stored, violations};
use crate::binder::{BindContext, ScalarBinder};
use crate::catalog::{Index, Table};
use crate::ddl::{RewriteColumn, RewriteValue, Validation};
use crate::eval::{Layout, Program};
use crate::ir::ColumnId;
use crate::rows::{
    INDEX_PREFIX_BYTES, IndexEntry, RowEncoder, StoredRow, decode_row, index_columns_prefix, index_entry, index_prefix,
    index_span, primary_key, row_id_key, row_key_of_entry, storage_prefix,
};

/// 23502 of a table whose rows cannot bear a new NOT NULL.
fn contains_nulls(table: &Table, column: &str) -> Error {
    let message = format!("column \"{column}\" of relation \"{}\" contains null values", table.name);
    Error::new(ErrorKind::NotNullViolation, message)
        .with_schema(table.schema_name.clone())
        .with_table(table.name.clone())
        .with_column(column)
}

/// Rows handled between two looks at the cancel switch.
const CHUNK_ROWS: usize = 500;
const CHUNK_BYTES: usize = 4 << 20;

fn table_of(context: &StatementContext<'_>, oid: u32) -> Result<Arc<Table>> {
    context.eval.catalog.tables.get(&oid).cloned().ok_or_else(|| Error::internal("the job's table is gone"))
}

/// The next rows of a scan; empty at the end.
pub(super) fn next_rows(cursor: &mut ScanCursor, table: &Table) -> Result<(Vec<StoredRow>, bool)> {
    let mut rows = Vec::new();
    let mut failure = None;
    let more =
        stored(cursor.next_chunk(CHUNK_ROWS, CHUNK_BYTES, &mut |key, value| match decode_row(table, key, value) {
            Ok(values) => rows.push(StoredRow { key: Bytes::copy_from_slice(key), values }),
            Err(error) => failure = Some(error),
        }))?;
    match failure {
        Some(error) => Err(error),
        None => Ok((rows, more)),
    }
}

/// Checks every row of a table, in the transaction.
///
/// # Errors
/// The violation.
pub async fn validate(context: &mut StatementContext<'_>, table: u32, what: &Validation) -> Result<()> {
    let table = table_of(context, table)?;
    let rules = context.engine.table_rules(&table, &context.eval.catalog)?;
    let span = index_span(&table, table.primary_index());
    context.transaction.check_unchanged(span.clone());
    if let Validation::ForeignKey { constraint } = what {
        for outgoing in rules.outgoing.iter().filter(|o| o.constraint.oid == *constraint) {
            let parents = index_span(&outgoing.parent, &outgoing.parent.indexes[outgoing.parent_index]);
            context.transaction.check_unchanged(parents);
        }
    }
    if matches!(what, Validation::Check { .. }) {
        rules.check_known(context.eval)?;
    }
    let mut cursor = context.transaction.current_view().scan(span, Direction::Forward);
    loop {
        breathe(context.eval).await?;
        let (rows, more) = next_rows(&mut cursor, &table)?;
        for row in rows {
            match what {
                Validation::NotNull { attnum } => {
                    let at = table.column_index(*attnum).ok_or_else(|| Error::internal("the column is gone"))?;
                    if row.values[at].is_null() {
                        return Err(contains_nulls(&table, &table.columns[at].name));
                    }
                }
                Validation::Check { constraint } => {
                    let name = table.constraints.iter().find(|c| c.oid == *constraint).map(|c| &c.name);
                    let name = name.ok_or_else(|| Error::internal("the constraint is gone"))?;
                    if !rules.passes(name, &row.values, context.eval)? {
                        return Err(Error::new(
                            ErrorKind::CheckViolation,
                            format!(
                                "check constraint \"{name}\" of relation \"{}\" is violated by some row",
                                table.name
                            ),
                        )
                        .with_schema(table.schema_name.clone())
                        .with_table(table.name.clone())
                        .with_constraint(name.clone()));
                    }
                }
                Validation::ForeignKey { constraint } => {
                    foreign_keys::validate_row(context, &rules, *constraint, &row.values)?;
                }
            }
        }
        if !more {
            return Ok(());
        }
    }
}

pub(super) fn could_not_create(table: &Table, index: &Index, row: &[Datum], format: &FormatOptions) -> Error {
    let duplicate = violations::unique(table, index, row, format);
    let detail = duplicate.detail().unwrap_or_default().replace(" already exists.", " is duplicated.");
    Error::new(ErrorKind::UniqueViolation, format!("could not create unique index \"{}\"", index.name))
        .with_detail(detail)
        .with_schema(table.schema_name.clone())
        .with_table(table.name.clone())
        .with_constraint(index.name.clone())
}

pub(super) fn index_of(table: &Table, oid: u32) -> Result<&Index> {
    table.indexes.iter().find(|i| i.oid == oid).ok_or_else(|| Error::internal("the index to build is gone"))
}

/// Writes an index entry; tells whether it is unique and its key was taken. `vacant` says that the snapshot has nothing there.
fn put_entry(context: &mut StatementContext<'_>, entry: IndexEntry, vacant: bool) -> Result<bool> {
    let unique = entry.unique;
    if unique && !vacant && stored(context.transaction.get(&entry.key))?.is_some() {
        return Ok(true);
    }
    Ok(stored(context.transaction.put_new(entry.key.into(), entry.value.into()))? && unique)
}

/// Fills an index in the transaction that makes it. Nobody else writes the table meanwhile.
///
/// # Errors
/// 23505 for duplicates in a unique index, and the store's errors.
pub async fn build_index(context: &mut StatementContext<'_>, table: u32, index: u32) -> Result<()> {
    let table = table_of(context, table)?;
    let index = index_of(&table, index)?;
    let span = index_span(&table, table.primary_index());
    context.transaction.check_unchanged(span.clone());
    let mut cursor = context.transaction.current_view().scan(span, Direction::Forward);
    let vacant = stored(context.transaction.is_vacant(index_span(&table, index)))?;
    loop {
        breathe(context.eval).await?;
        loaded(context.transaction.load().await, context, &table)?;
        let (rows, more) = next_rows(&mut cursor, &table)?;
        for row in &rows {
            let entry = index_entry(&table, index, &row.key, &row.values)?;
            if put_entry(context, entry, vacant)? {
                return Err(could_not_create(&table, index, &row.values, &context.eval.format));
            }
        }
        if !more {
            loaded(context.transaction.finish_load().await, context, &table)?;
            return no_equals(context, &table, index);
        }
    }
}

/// What came of loading a part of what is written: a key that was there already is a duplicate.
fn loaded(
    result: std::result::Result<(), StoreError>,
    context: &mut StatementContext<'_>,
    table: &Table,
) -> Result<()> {
    let Err(StoreError::WriteConflict { key }) = &result else { return stored(result) };
    let view = context.transaction.newest_view();
    match violations::occupant(std::iter::once(table), &view, key)? {
        Some((_, index, row)) => Err(could_not_create(table, index, &row, &context.eval.format)),
        None => stored(result),
    }
}

/// 23505 when rows that were written to a deferrable key, whose entries may be equal, are.
fn no_equals(context: &mut StatementContext<'_>, table: &Table, index: &Index) -> Result<()> {
    if index.deferrable.is_none() {
        return Ok(());
    }
    let view = context.transaction.newest_view();
    let mut before: Vec<u8> = Vec::new();
    let mut equal = None;
    super::scan(&view, index_span(table, index), context.eval, |key, value| {
        let row_key = row_key_of_entry(table, index, key, value)?;
        let columns = &key[..(key.len() + INDEX_PREFIX_BYTES).saturating_sub(row_key.len())];
        if columns == before.as_slice() {
            let row = stored(view.get(&row_key))?.ok_or_else(|| Error::internal("an index entry without its row"))?;
            let row = decode_row(table, &row_key, &row)?;
            // Rows with a NULL are equal to no other.
            if index_columns_prefix(table, index, &row)?.is_some() {
                equal = Some(row);
                return Ok(false);
            }
        }
        before.clear();
        before.extend_from_slice(columns);
        Ok(true)
    })?;
    match equal {
        Some(row) => Err(could_not_create(table, index, &row, &context.eval.format)),
        None => Ok(()),
    }
}

/// Copies a table's rows into a new storage, changed as DDL asks.
///
/// # Errors
/// 23502, 23505, what computing a value gives, and the store's errors.
pub async fn rewrite(
    context: &mut StatementContext<'_>,
    from: &Arc<Table>,
    to: &Arc<Table>,
    columns: &[RewriteColumn],
) -> Result<()> {
    let ids: Vec<ColumnId> =
        (0..from.columns.len()).map(|at| ColumnId(u32::try_from(at).unwrap_or(u32::MAX))).collect();
    let layout = Layout::new(ids.iter().copied());
    let binder = ScalarBinder::new(BindContext::for_rules(&context.eval.catalog), context.eval.clone());
    // For each new column: computed, or copied from a position of the old row.
    let mut sources = Vec::with_capacity(to.columns.len());
    for column in &to.columns {
        let computed = columns.iter().find(|c| c.attnum == column.attnum);
        sources.push(match computed {
            Some(RewriteColumn { value: RewriteValue::Constant(bytes), .. }) => {
                Source::Constant(decode_field(column.ty.ty, bytes)?)
            }
            Some(RewriteColumn { value: RewriteValue::Expression(sql), .. }) => {
                let expr = binder.over_columns(sql, from, Some((&column.name, column.ty)))?;
                Source::Computed(Program::compile(&expr, &layout)?)
            }
            Some(RewriteColumn { value: RewriteValue::Default, .. }) => match binder.column_default(to, column)? {
                Some(expr) => Source::Computed(Program::compile(&expr, &layout)?),
                None => Source::Constant(Datum::Null),
            },
            None => match from.column_index(column.attnum) {
                Some(at) => Source::Copied(at),
                None => Source::Constant(Datum::Null),
            },
        });
    }
    let span = index_span(from, from.primary_index());
    context.transaction.check_unchanged(span.clone());
    let rules = TableRules::new(to, &context.eval.catalog, &BindContext::for_rules(&context.eval.catalog))?;
    let mut cursor = context.transaction.current_view().scan(span, Direction::Forward);
    let vacant = stored(context.transaction.is_vacant(Span::prefix(&storage_prefix(to.database, to.storage))))?;
    let mut encoder = RowEncoder::new(to);
    loop {
        breathe(context.eval).await?;
        loaded(context.transaction.load().await, context, to)?;
        let (rows, more) = next_rows(&mut cursor, from)?;
        for row in rows {
            let mut values = Vec::with_capacity(sources.len());
            for source in &sources {
                values.push(match source {
                    Source::Constant(value) => value.clone(),
                    Source::Copied(at) => row.values[*at].clone(),
                    Source::Computed(program) => program.run(&row.values, &[], context.eval)?,
                });
            }
            if let Some(at) = to.columns.iter().zip(&values).position(|(c, value)| c.not_null && value.is_null()) {
                return Err(contains_nulls(to, &to.columns[at].name));
            }
            rules.check_row(&values, context.eval)?;
            let key = new_key(context, from, to, &row.key, &values).await?;
            for index in rules.maintained_indexes() {
                let entry = index_entry(to, index, &key, &values)?;
                if put_entry(context, entry, vacant)? {
                    return Err(could_not_create(to, index, &values, &context.eval.format));
                }
            }
            let mut value = Vec::new();
            encoder.encode(to, &values, &mut value)?;
            let row = IndexEntry { key, value, unique: to.has_primary_key() };
            if put_entry(context, row, vacant)? {
                return Err(could_not_create(to, to.primary_index(), &values, &context.eval.format));
            }
        }
        if !more {
            break;
        }
    }
    loaded(context.transaction.finish_load().await, context, to)?;
    for index in rules.deferrable_keys() {
        no_equals(context, to, index)?;
    }
    Ok(())
}

enum Source {
    Constant(Datum),
    Copied(usize),
    Computed(Program),
}

async fn new_key(
    context: &StatementContext<'_>,
    from: &Table,
    to: &Table,
    old_key: &[u8],
    values: &[Datum],
) -> Result<Vec<u8>> {
    if to.has_primary_key() {
        return primary_key(to, values);
    }
    if !from.has_primary_key() {
        // The row keeps its id.
        let mut key = index_prefix(to, to.primary_index()).to_vec();
        key.extend_from_slice(&old_key[INDEX_PREFIX_BYTES..]);
        return Ok(key);
    }
    let id = context.engine.row_ids().take(1).await?.start;
    Ok(row_id_key(to, i64::try_from(id).map_err(|_| Error::out_of_range("row id"))?))
}

/// Splits the table's shard at the keys of these primary key values.
///
/// # Errors
/// More values than the key has columns, and the store's errors.
pub async fn split(context: &mut StatementContext<'_>, table: u32, values: &[Vec<sqlparser::ast::Expr>]) -> Result<()> {
    let table = table_of(context, table)?;
    if !table.has_primary_key() {
        return Err(Error::new(
            ErrorKind::WrongObjectType,
            format!("table \"{}\" has no primary key to split at", table.name),
        ));
    }
    let index = table.primary_index();
    let bind = BindContext::for_rules(&context.eval.catalog);
    for row in values {
        if row.is_empty() || row.len() > index.columns.len() {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                format!("SPLIT AT needs 1 to {} values, the primary key's first columns", index.columns.len()),
            ));
        }
        let mut key = index_prefix(&table, index).to_vec();
        for (column, value) in index.columns.iter().zip(row) {
            let at = table.column_index(column.attnum).ok_or_else(|| Error::internal("the column is gone"))?;
            let ty = table.columns[at].ty;
            let value = crate::binder::eval_constant(value, ty, &bind, context.eval)?;
            stratos_types::key::encode_column(&mut key, ty.ty, &value, column.descending, column.nulls_first);
        }
        stored(context.engine.store().split_at(key.into()).await)?;
    }
    Ok(())
}
