//! A table's rows and index entries as keys and values of the store.
//!
//! ```text
//! row             02 | database u32 | storage u32 | primary index id u32 | primary key columns…  →  row value
//! row, no key     02 | database u32 | storage u32 | primary index id u32 | row id int8           →  row value
//! unique entry    02 | database u32 | storage u32 | index id u32 | index columns…                →  primary key columns…
//!   with a NULL   02 | database u32 | storage u32 | index id u32 | index columns… | primary key… →  (empty)
//! plain entry     02 | database u32 | storage u32 | index id u32 | index columns… | primary key… →  (empty)
//! ```
//! Numbers are big-endian. Columns are encoded by [`stratos_types::key`], the row value by [`stratos_types::row`] with one
//! field per attribute number; a primary key column whose key form gives the value back exactly is absent from the value.
//! NULLs make the key of a unique index distinct by appending the primary key, as SQL wants it.

use bytes::Bytes;
use stratos_replication::Span;
use stratos_types::key::{decode_column, encode_column, is_lossless};
use stratos_types::row::{RowReader, RowWriter, decode_field};
use stratos_types::{Datum, Error, PgType, Result};

use crate::catalog::{Index, Table};

/// First byte of every key of the system keyspace (catalog, sequences).
pub const SYSTEM_KEYSPACE: u8 = 0x01;
/// First byte of every key that holds users' data.
pub const DATA_KEYSPACE: u8 = 0x02;
/// Length of the part of a key that names database, table storage and index.
pub const INDEX_PREFIX_BYTES: usize = 13;
/// The index id of the rows themselves.
pub const PRIMARY_INDEX_ID: u32 = 1;

/// A row with its key.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// The key in the primary index.
    pub key: Bytes,
    /// A datum for each of [`Table::columns`].
    pub values: Vec<Datum>,
}

/// The prefix of everything in a database.
pub fn database_prefix(database: u32) -> [u8; 5] {
    let mut prefix = [DATA_KEYSPACE; 5];
    prefix[1..].copy_from_slice(&database.to_be_bytes());
    prefix
}

/// The prefix of everything under one storage number of a table: its rows and all its index entries.
pub fn storage_prefix(database: u32, storage: u32) -> [u8; 9] {
    let mut prefix = [0; 9];
    prefix[..5].copy_from_slice(&database_prefix(database));
    prefix[5..].copy_from_slice(&storage.to_be_bytes());
    prefix
}

/// The database and the storage number in a key of a row or an index entry.
pub fn storage_of(key: &[u8]) -> Option<(u32, u32)> {
    let (&DATA_KEYSPACE, rest) = key.split_first()? else { return None };
    let word = |at: usize| rest.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    Some((word(0)?, word(4)?))
}

/// The prefix of one index of a table; the rows are the primary one.
pub fn index_prefix(table: &Table, index: &Index) -> [u8; INDEX_PREFIX_BYTES] {
    let mut prefix = [0; INDEX_PREFIX_BYTES];
    prefix[..9].copy_from_slice(&storage_prefix(table.database, table.storage));
    prefix[9..].copy_from_slice(&index.id.to_be_bytes());
    prefix
}

/// All keys of one index.
pub fn index_span(table: &Table, index: &Index) -> Span {
    Span::prefix(&index_prefix(table, index))
}

fn type_of(table: &Table, attnum: i16) -> Result<(usize, PgType)> {
    let position = table
        .column_index(attnum)
        .ok_or_else(|| Error::internal(format!("index of {} names column {attnum}, which is gone", table.name)))?;
    Ok((position, table.columns[position].ty.ty))
}

/// Appends the columns of an index to a key.
///
/// # Errors
/// Only if the descriptor contradicts itself.
pub fn append_index_columns(out: &mut Vec<u8>, table: &Table, index: &Index, row: &[Datum]) -> Result<()> {
    for column in &index.columns {
        let (position, ty) = type_of(table, column.attnum)?;
        encode_column(out, ty, &row[position], column.descending, column.nulls_first);
    }
    Ok(())
}

/// The key of a row in a table with a primary key.
///
/// # Errors
/// Only if the descriptor contradicts itself.
pub fn primary_key(table: &Table, row: &[Datum]) -> Result<Vec<u8>> {
    let mut key = Vec::with_capacity(INDEX_PREFIX_BYTES + 16);
    append_primary_key(&mut key, table, row)?;
    Ok(key)
}

/// As [`primary_key`], appended to `out`.
///
/// # Errors
/// Only if the descriptor contradicts itself.
pub fn append_primary_key(out: &mut Vec<u8>, table: &Table, row: &[Datum]) -> Result<()> {
    out.extend_from_slice(&index_prefix(table, table.primary_index()));
    append_index_columns(out, table, table.primary_index(), row)
}

/// The key of a row in a table without a primary key.
pub fn row_id_key(table: &Table, row_id: i64) -> Vec<u8> {
    let mut key = Vec::with_capacity(INDEX_PREFIX_BYTES + 9);
    key.extend_from_slice(&index_prefix(table, table.primary_index()));
    encode_column(&mut key, PgType::Int8, &Datum::Int8(row_id), false, false);
    key
}

/// Whether the column's value is found in the row's key and therefore not in its value.
pub fn lives_in_key(table: &Table, attnum: i16) -> bool {
    table.has_primary_key()
        && table.primary_index().columns.iter().any(|c| c.attnum == attnum)
        && table.column_index(attnum).is_some_and(|at| is_lossless(table.columns[at].ty.ty))
}

/// The value of a row.
///
/// # Errors
/// A datum that does not fit its column's type.
pub fn encode_row(table: &Table, row: &[Datum]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    RowEncoder::new(table).encode(table, row, &mut out)?;
    Ok(out)
}

/// Encodes many rows of one table.
#[derive(Debug, Default)]
pub struct RowEncoder {
    writer: RowWriter,
    /// For each column, whether its value is left to the key.
    in_key: Vec<bool>,
}

impl RowEncoder {
    /// An encoder for the rows of `table`.
    pub fn new(table: &Table) -> RowEncoder {
        let in_key = table.columns.iter().map(|column| lives_in_key(table, column.attnum)).collect();
        RowEncoder { writer: RowWriter::new(), in_key }
    }

    /// Appends the value of a row of the encoder's table to `out`.
    ///
    /// # Errors
    /// A datum that does not fit its column's type.
    pub fn encode(&mut self, table: &Table, row: &[Datum], out: &mut Vec<u8>) -> Result<()> {
        let mut next = 1;
        for ((column, value), in_key) in table.columns.iter().zip(row).zip(&self.in_key) {
            while next < column.attnum {
                self.writer.push_absent();
                next += 1;
            }
            if *in_key {
                self.writer.push_absent();
            } else {
                self.writer.push(column.ty.ty, value)?;
            }
            next += 1;
        }
        self.writer.finish_into(out);
        Ok(())
    }
}

/// The columns of a row from its key and value.
///
/// # Errors
/// Damaged bytes.
pub fn decode_row(table: &Table, key: &[u8], value: &[u8]) -> Result<Vec<Datum>> {
    decode_columns(table, key, value, |_| true)
}

/// Those columns of a row that are wanted, by their positions; the others are NULL.
///
/// # Errors
/// Damaged bytes.
pub fn decode_columns(table: &Table, key: &[u8], value: &[u8], wanted: impl Fn(usize) -> bool) -> Result<Vec<Datum>> {
    let reader = RowReader::new(value)?;
    let mut row = Vec::with_capacity(table.columns.len());
    for (at, column) in table.columns.iter().enumerate() {
        if !wanted(at) {
            row.push(Datum::Null);
            continue;
        }
        let position = usize::try_from(column.attnum - 1).unwrap_or(0);
        row.push(match reader.field(position) {
            Some(Some(bytes)) => decode_field(column.ty.ty, bytes)?,
            Some(None) => Datum::Null,
            None => match &column.missing {
                Some(bytes) => decode_field(column.ty.ty, bytes)?,
                None => Datum::Null,
            },
        });
    }
    if table.has_primary_key() {
        let mut rest = key.get(INDEX_PREFIX_BYTES..).ok_or_else(|| Error::internal("row key is too short"))?;
        for column in &table.primary_index().columns {
            let (position, ty) = type_of(table, column.attnum)?;
            let value = decode_column(&mut rest, ty, column.descending, column.nulls_first)?;
            if is_lossless(ty) {
                row[position] = value;
            }
        }
    }
    Ok(row)
}

/// The key of a row in its primary index: by primary key, or the row's own key where a row id was given to it.
fn primary_suffix(row_key: &[u8]) -> &[u8] {
    &row_key[INDEX_PREFIX_BYTES..]
}

/// An entry of a secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value: the primary key's columns in a unique entry without NULLs, else nothing.
    pub value: Vec<u8>,
    /// Whether the key must not exist already.
    pub unique: bool,
}

/// The entry that an index has for a row.
///
/// # Errors
/// Only if the descriptor contradicts itself.
pub fn index_entry(table: &Table, index: &Index, row_key: &[u8], row: &[Datum]) -> Result<IndexEntry> {
    let mut key = Vec::with_capacity(INDEX_PREFIX_BYTES + 32);
    key.extend_from_slice(&index_prefix(table, index));
    append_index_columns(&mut key, table, index, row)?;
    let mut has_null = false;
    for column in &index.columns {
        let (position, _) = type_of(table, column.attnum)?;
        has_null |= row[position].is_null();
    }
    if index.unique && !has_null {
        return Ok(IndexEntry { key, value: primary_suffix(row_key).to_vec(), unique: true });
    }
    key.extend_from_slice(primary_suffix(row_key));
    Ok(IndexEntry { key, value: Vec::new(), unique: false })
}

/// The beginning of the keys that an index has for rows which are equal in its columns; none where one of them is NULL, as such
/// a row is equal to no other.
///
/// # Errors
/// Only if the descriptor contradicts itself.
pub fn index_columns_prefix(table: &Table, index: &Index, row: &[Datum]) -> Result<Option<Vec<u8>>> {
    for column in &index.columns {
        if row[type_of(table, column.attnum)?.0].is_null() {
            return Ok(None);
        }
    }
    let mut key = index_prefix(table, index).to_vec();
    append_index_columns(&mut key, table, index, row)?;
    Ok(Some(key))
}

/// The key of the row that an index entry points at.
///
/// # Errors
/// Damaged bytes.
pub fn row_key_of_entry(table: &Table, index: &Index, key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    let mut row_key = Vec::with_capacity(INDEX_PREFIX_BYTES + 16);
    row_key.extend_from_slice(&index_prefix(table, table.primary_index()));
    if index.unique && !value.is_empty() {
        row_key.extend_from_slice(value);
        return Ok(row_key);
    }
    let mut rest = key.get(INDEX_PREFIX_BYTES..).ok_or_else(|| Error::internal("index key is too short"))?;
    for column in &index.columns {
        let (_, ty) = type_of(table, column.attnum)?;
        decode_column(&mut rest, ty, column.descending, column.nulls_first)?;
    }
    row_key.extend_from_slice(rest);
    Ok(row_key)
}
