//! Stored rows to columns, only the columns that are wanted.

use stratos_types::row::{RowReader, decode_field};
use stratos_types::{Datum, Error, PgType, Result, key};

use crate::arrow::ColumnBuilder;
use crate::catalog::{Index, IndexColumn, Table};
use crate::ir::ScanColumn;
use crate::rows::{INDEX_PREFIX_BYTES, lives_in_key};

/// Where a column's value is.
enum Place {
    /// In the row's value, by attribute number - 1.
    Field { position: usize, missing: Datum },
    /// In the key, by position among the key's columns.
    Key(usize),
}

/// Turns keys and values of one index of a table into columns.
pub(super) struct RowDecoder {
    columns: Vec<(PgType, Place)>,
    /// Types of the key's columns, as far as any is wanted.
    key: Vec<(PgType, bool, bool)>,
    values: Vec<Datum>,
}

impl RowDecoder {
    /// For the rows themselves.
    pub fn rows(table: &Table, wanted: &[ScanColumn]) -> Result<Self> {
        let index = table.primary_index();
        let mut columns = Vec::with_capacity(wanted.len());
        let mut key_columns = 0;
        for column in wanted {
            let Some(descriptor) = table.columns.get(column.index) else {
                key_columns = key_columns.max(1);
                columns.push((PgType::Int8, Place::Key(0)));
                continue;
            };
            let ty = descriptor.ty.ty;
            if lives_in_key(table, descriptor.attnum) {
                let position = position_in(&index.columns, descriptor.attnum)?;
                key_columns = key_columns.max(position + 1);
                columns.push((ty, Place::Key(position)));
                continue;
            }
            let missing = match &descriptor.missing {
                Some(bytes) => decode_field(ty, bytes)?,
                None => Datum::Null,
            };
            let position =
                usize::try_from(descriptor.attnum - 1).map_err(|_| Error::internal("attribute number below 1"))?;
            columns.push((ty, Place::Field { position, missing }));
        }
        let key = if table.has_primary_key() {
            key_types(table, &index.columns, key_columns)?
        } else {
            vec![(PgType::Int8, false, false)]
        };
        Ok(RowDecoder { columns, key: key.into_iter().take(key_columns).collect(), values: Vec::new() })
    }

    /// For the entries of a secondary index, if they hold everything wanted.
    pub fn covering(table: &Table, index: &Index, wanted: &[ScanColumn]) -> Result<Option<Self>> {
        // A unique entry keeps the primary key in its value, so only its own columns count.
        let mut all: Vec<IndexColumn> = index.columns.clone();
        if !index.unique && table.has_primary_key() {
            all.extend(table.primary_index().columns.iter().cloned());
        }
        let mut columns = Vec::with_capacity(wanted.len());
        for column in wanted {
            let Some(descriptor) = table.columns.get(column.index) else {
                return Ok(None);
            };
            let Some(position) = all.iter().position(|c| c.attnum == descriptor.attnum) else {
                return Ok(None);
            };
            if !key::is_lossless(descriptor.ty.ty) {
                return Ok(None);
            }
            columns.push((descriptor.ty.ty, Place::Key(position)));
        }
        let needed = columns
            .iter()
            .map(|(_, place)| match place {
                Place::Key(position) => position + 1,
                Place::Field { .. } => 0,
            })
            .max()
            .unwrap_or(0);
        Ok(Some(RowDecoder { columns, key: key_types(table, &all, needed)?, values: Vec::new() }))
    }

    /// Builders for the wanted columns.
    pub fn builders(&self, capacity: usize) -> Vec<ColumnBuilder> {
        self.columns.iter().map(|(ty, _)| ColumnBuilder::new(*ty, capacity)).collect()
    }

    /// Appends one row.
    ///
    /// # Errors
    /// Damaged bytes.
    pub fn push(&mut self, key: &[u8], value: &[u8], out: &mut [ColumnBuilder]) -> Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        if !self.key.is_empty() {
            let mut rest = key.get(INDEX_PREFIX_BYTES..).ok_or_else(|| Error::internal("row key is too short"))?;
            self.values.clear();
            for (ty, descending, nulls_first) in &self.key {
                self.values.push(key::decode_column(&mut rest, *ty, *descending, *nulls_first)?);
            }
        }
        let mut reader = None;
        for ((ty, place), builder) in self.columns.iter().zip(out) {
            match place {
                Place::Key(position) => builder.push(&self.values[*position])?,
                Place::Field { position, missing } => {
                    let reader = match &reader {
                        Some(reader) => reader,
                        None => reader.insert(RowReader::new(value)?),
                    };
                    match reader.field(*position) {
                        Some(Some(bytes)) => push_field(builder, *ty, bytes)?,
                        Some(None) => builder.push_null(),
                        None => builder.push(missing)?,
                    }
                }
            }
        }
        Ok(())
    }
}

/// The forms of `stratos_types::row` that a column can take over as they are; the others go through a Datum.
fn push_field(builder: &mut ColumnBuilder, ty: PgType, bytes: &[u8]) -> Result<()> {
    let done = match (ty, bytes.len()) {
        (PgType::Numeric | PgType::Interval | PgType::TimeTz | PgType::Bytea, _) => builder.push_bytes(bytes),
        (PgType::Bool, 1) => builder.push_bits(i64::from(bytes[0])),
        (PgType::Int2, _) => fixed(bytes).is_some_and(|b| builder.push_bits(i64::from(i16::from_le_bytes(b)))),
        (PgType::Int8 | PgType::Float8 | PgType::Time | PgType::Timestamp | PgType::TimestampTz, _) => {
            fixed(bytes).is_some_and(|b| builder.push_bits(i64::from_le_bytes(b)))
        }
        (PgType::Int4 | PgType::Float4 | PgType::Date, _) => {
            fixed(bytes).is_some_and(|b| builder.push_bits(i64::from(i32::from_le_bytes(b))))
        }
        (ty, _) if ty.is_string() || matches!(ty, PgType::Json | PgType::Jsonb) => {
            std::str::from_utf8(bytes).is_ok_and(|s| builder.push_str(s))
        }
        _ => false,
    };
    if done {
        return Ok(());
    }
    builder.push(&decode_field(ty, bytes)?)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn position_in(columns: &[IndexColumn], attnum: i16) -> Result<usize> {
    columns
        .iter()
        .position(|c| c.attnum == attnum)
        .ok_or_else(|| Error::internal("a key column that is not in the key"))
}

fn key_types(table: &Table, columns: &[IndexColumn], count: usize) -> Result<Vec<(PgType, bool, bool)>> {
    columns
        .iter()
        .take(count)
        .map(|c| {
            let at =
                table.column_index(c.attnum).ok_or_else(|| Error::internal("an index names a column that is gone"))?;
            Ok((table.columns[at].ty.ty, c.descending, c.nulls_first))
        })
        .collect()
}
