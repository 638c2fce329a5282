//! Making rows by column name.

use std::sync::Arc;

use stratos_types::{ArrayDatum, Datum, PgType};

use super::definitions::Definition;

/// The rows of one table, in the making.
pub(super) struct Rows<'a> {
    pub table: &'a Definition,
    rows: Vec<Vec<Datum>>,
}

impl<'a> Rows<'a> {
    pub fn new(table: &'a Definition) -> Rows<'a> {
        Rows { table, rows: Vec::new() }
    }

    pub fn finish(self) -> Vec<Vec<Datum>> {
        self.rows
    }

    /// A row with these columns. Others are NULL, or a zero of their type where the column is NOT NULL.
    pub fn push<'n>(&mut self, values: impl IntoIterator<Item = (&'n str, Datum)>) {
        let mut row: Vec<Datum> = self
            .table
            .columns
            .iter()
            .zip(&self.table.not_null)
            .map(|((_, ty), not_null)| if *not_null { zero(ty.ty) } else { Datum::Null })
            .collect();
        for (name, value) in values {
            let position = self.table.columns.iter().position(|(n, _)| *n == name);
            debug_assert!(position.is_some(), "{}.{name}", self.table.name);
            if let Some(position) = position {
                row[position] = value;
            }
        }
        self.rows.push(row);
    }

    /// Rows that are complete already.
    pub fn extend(&mut self, rows: impl IntoIterator<Item = Vec<Datum>>) {
        self.rows.extend(rows);
    }
}

fn zero(ty: PgType) -> Datum {
    match ty {
        PgType::Bool => Datum::Bool(false),
        PgType::Int2 => Datum::Int2(0),
        PgType::Int4 => Datum::Int4(0),
        PgType::Int8 => Datum::Int8(0),
        PgType::Float4 => Datum::Float4(0.0),
        PgType::Float8 => Datum::Float8(0.0),
        ty if ty.is_oid_like() => Datum::Oid(0),
        ty if ty.element().is_some() => array(ty.element().unwrap_or(PgType::Text), []),
        PgType::TimestampTz => Datum::TimestampTz(0),
        _ => Datum::text(""),
    }
}

pub(super) fn oid(value: u32) -> Datum {
    Datum::Oid(value)
}

pub(super) fn text(value: &str) -> Datum {
    Datum::text(value)
}

pub(super) fn optional_text(value: Option<&str>) -> Datum {
    value.map_or(Datum::Null, Datum::text)
}

pub(super) fn boolean(value: bool) -> Datum {
    Datum::Bool(value)
}

/// `YES` or `NO`, as information_schema has it.
pub(super) fn yes(value: bool) -> Datum {
    Datum::text(if value { "YES" } else { "NO" })
}

pub(super) fn int2(value: usize) -> Datum {
    Datum::Int2(i16::try_from(value).unwrap_or(i16::MAX))
}

pub(super) fn int4(value: usize) -> Datum {
    Datum::Int4(i32::try_from(value).unwrap_or(i32::MAX))
}

pub(super) fn int8(value: u64) -> Datum {
    Datum::Int8(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(super) fn array(element: PgType, values: impl IntoIterator<Item = Datum>) -> Datum {
    Datum::Array(Arc::new(ArrayDatum { element, values: values.into_iter().collect() }))
}

pub(super) fn int2_array(values: impl IntoIterator<Item = i16>) -> Datum {
    array(PgType::Int2, values.into_iter().map(Datum::Int2))
}

pub(super) fn text_array<'a>(values: impl IntoIterator<Item = &'a str>) -> Datum {
    array(PgType::Text, values.into_iter().map(Datum::text))
}

pub(super) fn oid_array(values: impl IntoIterator<Item = u32>) -> Datum {
    array(PgType::Oid, values.into_iter().map(Datum::Oid))
}
