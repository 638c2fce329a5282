//! The errors that constraints give, in Postgres's words and with the fields that frameworks read.

use stratos_replication::{Error as StoreError, ReadView};
use stratos_types::{Datum, Error, ErrorKind, FormatOptions, Result};

use super::{StatementContext, stored};
use crate::catalog::{Column, Constraint, ForeignKey, Index, IndexState, Snapshot, Table};
use crate::rows::{decode_row, index_prefix, row_key_of_entry};

/// Postgres cuts each value of a shown row to this many bytes.
const SHOWN_VALUE_BYTES_MAX: usize = 64;

fn shown(column: &Column, value: &Datum, format: &FormatOptions) -> String {
    if value.is_null() {
        return "null".to_owned();
    }
    let mut text = String::new();
    value.write_text(column.ty.ty, format, &mut text);
    if text.len() > SHOWN_VALUE_BYTES_MAX {
        let mut end = SHOWN_VALUE_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn failing_row(table: &Table, row: &[Datum], format: &FormatOptions) -> String {
    let values: Vec<String> =
        table.columns.iter().zip(row).map(|(column, value)| shown(column, value, format)).collect();
    format!("Failing row contains ({}).", values.join(", "))
}

/// `(a, b)=(1, 2)` for the columns with these attribute numbers.
fn key_text(table: &Table, attnums: &[i16], row: &[Datum], format: &FormatOptions) -> String {
    let mut names = Vec::with_capacity(attnums.len());
    let mut values = Vec::with_capacity(attnums.len());
    for attnum in attnums {
        if let Some(position) = table.column_index(*attnum) {
            let column = &table.columns[position];
            names.push(crate::session::quote_if_needed(&column.name));
            values.push(shown(column, &row[position], format));
        }
    }
    format!("({})=({})", names.join(", "), values.join(", "))
}

fn of_table(error: Error, table: &Table) -> Error {
    error.with_schema(table.schema_name.clone()).with_table(table.name.clone())
}

/// 23502
pub fn not_null(table: &Table, column: usize, row: &[Datum], format: &FormatOptions) -> Error {
    let name = &table.columns[column].name;
    let error = Error::new(
        ErrorKind::NotNullViolation,
        format!("null value in column \"{name}\" of relation \"{}\" violates not-null constraint", table.name),
    );
    of_table(error, table).with_column(name.clone()).with_detail(failing_row(table, row, format))
}

/// 23514
pub fn check(table: &Table, constraint: &str, row: &[Datum], format: &FormatOptions) -> Error {
    let error = Error::new(
        ErrorKind::CheckViolation,
        format!("new row for relation \"{}\" violates check constraint \"{constraint}\"", table.name),
    );
    of_table(error, table).with_constraint(constraint).with_detail(failing_row(table, row, format))
}

/// 23505
pub fn unique(table: &Table, index: &Index, row: &[Datum], format: &FormatOptions) -> Error {
    let attnums: Vec<i16> = index.columns.iter().map(|c| c.attnum).collect();
    let error = Error::new(
        ErrorKind::UniqueViolation,
        format!("duplicate key value violates unique constraint \"{}\"", index.name),
    );
    of_table(error, table)
        .with_constraint(index.name.clone())
        .with_detail(format!("Key {} already exists.", key_text(table, &attnums, row, format)))
}

/// The 23505 that a conflict at the commit stands for, if it does: a key that an insert relied on as absent, without a lock,
/// has been committed by somebody else. Rows that a transaction changes are locked, and no other conflict finds a unique key.
///
/// # Errors
/// The store's, and damaged rows.
pub fn at_commit(catalog: &Snapshot, view: &ReadView, key: &[u8], format: &FormatOptions) -> Result<Option<Error>> {
    let tables = catalog.tables.values().map(AsRef::as_ref);
    let found = occupant(tables, view, key)?;
    Ok(found.map(|(table, index, row)| unique(table, index, &row, format)))
}

/// What came of loading a part of what a statement inserts ([`stratos_replication::Transaction::load`]).
///
/// # Errors
/// 23505 for a key that was there already, and the store's.
pub fn loaded(result: std::result::Result<(), StoreError>, context: &mut StatementContext<'_>) -> Result<()> {
    let Err(StoreError::WriteConflict { key }) = &result else { return stored(result) };
    let view = context.transaction.newest_view();
    match at_commit(&context.eval.catalog, &view, key, &context.eval.format)? {
        Some(duplicate) => Err(duplicate),
        None => stored(result),
    }
}

/// The row that has a unique key in one of the tables; none when the key is no such key, or is free.
///
/// # Errors
/// The store's, and damaged rows.
pub fn occupant<'a>(
    mut tables: impl Iterator<Item = &'a Table>,
    view: &ReadView,
    key: &[u8],
) -> Result<Option<(&'a Table, &'a Index, Vec<Datum>)>> {
    let owner = tables.find_map(|table| {
        let index = table.indexes.iter().find(|index| key.starts_with(&index_prefix(table, index)))?;
        Some((table, index, std::ptr::eq(index, table.primary_index())))
    });
    let Some((table, index, is_row)) = owner else { return Ok(None) };
    if !index.unique || index.state != IndexState::Public || (is_row && !table.has_primary_key()) {
        return Ok(None);
    }
    let Some(value) = stored(view.get(key))? else { return Ok(None) };
    let row = if is_row {
        decode_row(table, key, &value)?
    } else {
        let row_key = row_key_of_entry(table, index, key, &value)?;
        let Some(value) = stored(view.get(&row_key))? else { return Ok(None) };
        decode_row(table, &row_key, &value)?
    };
    Ok(Some((table, index, row)))
}

/// 23503 at the referencing side.
pub fn missing_parent(
    table: &Table,
    constraint: &Constraint,
    key: &ForeignKey,
    parent: &str,
    row: &[Datum],
    format: &FormatOptions,
) -> Error {
    let error = Error::new(
        ErrorKind::ForeignKeyViolation,
        format!("insert or update on table \"{}\" violates foreign key constraint \"{}\"", table.name, constraint.name),
    );
    let shown = key_text(table, &key.columns, row, format);
    of_table(error, table)
        .with_constraint(constraint.name.clone())
        .with_detail(format!("Key {shown} is not present in table \"{parent}\"."))
}

/// 23503 of MATCH FULL.
pub fn mixed_nulls(table: &Table, constraint: &Constraint) -> Error {
    let message =
        format!("insert or update on table \"{}\" violates foreign key constraint \"{}\"", table.name, constraint.name);
    of_table(Error::new(ErrorKind::ForeignKeyViolation, message), table)
        .with_constraint(constraint.name.clone())
        .with_detail("MATCH FULL does not allow mixing of null and nonnull key values.")
}

/// 23503 at the referenced side (Postgres 15 gives it for RESTRICT too).
pub fn still_referenced(
    parent: &Table,
    child: &Table,
    constraint: &Constraint,
    key: &ForeignKey,
    parent_row: &[Datum],
    format: &FormatOptions,
) -> Error {
    let error = Error::new(
        ErrorKind::ForeignKeyViolation,
        format!(
            "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
            parent.name, constraint.name, child.name
        ),
    );
    let shown = key_text(parent, &key.referenced, parent_row, format);
    of_table(error, child)
        .with_constraint(constraint.name.clone())
        .with_detail(format!("Key {shown} is still referenced from table \"{}\".", child.name))
}

/// 55000 of ON CONFLICT over a key that may hold duplicates for a while.
pub fn no_arbiter(table: &Table, index: &Index) -> Error {
    let message = "ON CONFLICT does not support deferrable unique constraints/exclusion constraints as arbiters";
    let error = Error::new(ErrorKind::ObjectNotInPrerequisiteState, message);
    of_table(error, table).with_constraint(index.name.clone())
}
