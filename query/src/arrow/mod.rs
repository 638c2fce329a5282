//! Values in columns: which Arrow type stands for which Postgres type, and the way between the two.
//!
//! numeric, interval and timetz have no Arrow type that keeps all of their values, so they travel as bytes whose order is
//! the SQL order (`to_sortable`); so do composite values (`record`). Equality is on the value part of these bytes alone; see `lower::comparable`.

mod build;
mod read;
mod record;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use stratos_types::PgType;

pub use build::{ColumnBuilder, array_of, column_too_large, is_column_too_large, scalar_of};
pub use read::{ColumnReader, datum_at, datum_of_scalar, rows_of};
pub(crate) use record::{decode as decode_record, encode as encode_record, order_key as record_order_key};

/// The Arrow type that stands for a Postgres type inside a query.
pub fn arrow_type(ty: PgType) -> DataType {
    if let Some(element) = ty.element() {
        return DataType::List(list_field(element));
    }
    match ty {
        PgType::Bool => DataType::Boolean,
        PgType::Int2 => DataType::Int16,
        PgType::Int4 => DataType::Int32,
        PgType::Int8 => DataType::Int64,
        PgType::Float4 => DataType::Float32,
        PgType::Float8 => DataType::Float64,
        PgType::Date => DataType::Date32,
        PgType::Time => DataType::Time64(TimeUnit::Microsecond),
        // One type for both: constants of DataFusion are equal whatever their time zone, so that a plan with the same instant of
        // both would take one for the other, and then miss its type. What tells them apart is our type, as everywhere.
        PgType::Timestamp | PgType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, None),
        PgType::Uuid => DataType::FixedSizeBinary(UUID_BYTES),
        PgType::Bytea | PgType::Numeric | PgType::Interval | PgType::TimeTz | PgType::Record => DataType::Binary,
        other if other.is_oid_like() => DataType::UInt32,
        _ => DataType::Utf8,
    }
}

/// Bytes of a uuid.
pub(crate) const UUID_BYTES: i32 = 16;

/// Whether equal values of the type may have different Arrow values, so that comparing, grouping and joining must go
/// through a function that drops what equality ignores (a numeric's scale, an interval's form, -0.0, trailing blanks).
pub fn needs_equality_key(ty: PgType) -> bool {
    ty.element().is_some_and(needs_equality_key)
        || matches!(
            ty,
            PgType::Numeric
                | PgType::Interval
                | PgType::TimeTz
                | PgType::Float4
                | PgType::Float8
                | PgType::Bpchar
                | PgType::Record
                | PgType::Jsonb
        )
}

/// The item field of a list of `element`s.
pub(crate) fn list_field(element: PgType) -> FieldRef {
    Arc::new(Field::new_list_field(arrow_type(element), true))
}
