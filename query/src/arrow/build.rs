//! Datums to columns.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, GenericListArray,
    NullBufferBuilder, PrimitiveBuilder, StringBuilder, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, UInt32Type,
};
use datafusion::common::ScalarValue;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::{UUID_BYTES, arrow_type, list_field};

/// Most bytes of a column of texts or byte strings when another value is added: Arrow counts them in 31 bits.
const COLUMN_BYTES_MAX: usize = 1 << 30;
/// What is said of it.
const COLUMN_TOO_LARGE: &str = "the values of a batch of rows exceed 1 GB";

/// 54000: more values than a column of one batch takes.
pub fn column_too_large() -> Error {
    Error::new(ErrorKind::ProgramLimitExceeded, COLUMN_TOO_LARGE)
}

/// Whether fewer rows in a batch would do.
pub fn is_column_too_large(error: &Error) -> bool {
    error.kind() == ErrorKind::ProgramLimitExceeded && error.message() == COLUMN_TOO_LARGE
}

/// Builds one column of a Postgres type from [`Datum`]s, or from plain values where the type allows.
pub struct ColumnBuilder {
    ty: PgType,
    inner: Inner,
}

enum Inner {
    Bool(BooleanBuilder),
    Int2(PrimitiveBuilder<Int16Type>),
    Int4(PrimitiveBuilder<Int32Type>),
    Int8(PrimitiveBuilder<Int64Type>),
    Float4(PrimitiveBuilder<Float32Type>),
    Float8(PrimitiveBuilder<Float64Type>),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Oid(PrimitiveBuilder<UInt32Type>),
    Uuid(FixedSizeBinaryBuilder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
    List { element: PgType, items: Box<ColumnBuilder>, lengths: Vec<usize>, nulls: NullBufferBuilder },
}

impl ColumnBuilder {
    /// An empty column with room for `capacity` rows.
    pub fn new(ty: PgType, capacity: usize) -> Self {
        let inner = if let Some(element) = ty.element() {
            Inner::List {
                element,
                items: Box::new(ColumnBuilder::new(element, capacity)),
                lengths: Vec::with_capacity(capacity),
                nulls: NullBufferBuilder::new(capacity),
            }
        } else {
            match ty {
                PgType::Bool => Inner::Bool(BooleanBuilder::with_capacity(capacity)),
                PgType::Int2 => Inner::Int2(PrimitiveBuilder::with_capacity(capacity)),
                PgType::Int4 => Inner::Int4(PrimitiveBuilder::with_capacity(capacity)),
                PgType::Int8 => Inner::Int8(PrimitiveBuilder::with_capacity(capacity)),
                PgType::Float4 => Inner::Float4(PrimitiveBuilder::with_capacity(capacity)),
                PgType::Float8 => Inner::Float8(PrimitiveBuilder::with_capacity(capacity)),
                PgType::Date => Inner::Date(PrimitiveBuilder::with_capacity(capacity)),
                PgType::Time => Inner::Time(PrimitiveBuilder::with_capacity(capacity)),
                PgType::Timestamp | PgType::TimestampTz => Inner::Timestamp(PrimitiveBuilder::with_capacity(capacity)),
                PgType::Uuid => Inner::Uuid(FixedSizeBinaryBuilder::with_capacity(capacity, UUID_BYTES)),
                PgType::Bytea | PgType::Numeric | PgType::Interval | PgType::TimeTz | PgType::Record => {
                    Inner::Binary(BinaryBuilder::with_capacity(capacity, capacity * 16))
                }
                other if other.is_oid_like() => Inner::Oid(PrimitiveBuilder::with_capacity(capacity)),
                _ => Inner::Text(StringBuilder::with_capacity(capacity, capacity * 16)),
            }
        };
        ColumnBuilder { ty, inner }
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        match &self.inner {
            Inner::Bool(b) => b.len(),
            Inner::Int2(b) => b.len(),
            Inner::Int4(b) => b.len(),
            Inner::Int8(b) => b.len(),
            Inner::Float4(b) => b.len(),
            Inner::Float8(b) => b.len(),
            Inner::Date(b) => b.len(),
            Inner::Time(b) => b.len(),
            Inner::Timestamp(b) => b.len(),
            Inner::Oid(b) => b.len(),
            Inner::Uuid(b) => b.len(),
            Inner::Text(b) => b.len(),
            Inner::Binary(b) => b.len(),
            Inner::List { lengths, .. } => lengths.len(),
        }
    }

    /// Whether there are no rows yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends NULL.
    pub fn push_null(&mut self) {
        match &mut self.inner {
            Inner::Bool(b) => b.append_null(),
            Inner::Int2(b) => b.append_null(),
            Inner::Int4(b) => b.append_null(),
            Inner::Int8(b) => b.append_null(),
            Inner::Float4(b) => b.append_null(),
            Inner::Float8(b) => b.append_null(),
            Inner::Date(b) => b.append_null(),
            Inner::Time(b) => b.append_null(),
            Inner::Timestamp(b) => b.append_null(),
            Inner::Oid(b) => b.append_null(),
            Inner::Uuid(b) => b.append_null(),
            Inner::Text(b) => b.append_null(),
            Inner::Binary(b) => b.append_null(),
            Inner::List { lengths, nulls, .. } => {
                lengths.push(0);
                nulls.append_null();
            }
        }
    }

    /// Appends a fixed-width value from its raw bits, sign-extended to 64 (floats by their IEEE bits). Gives false,
    /// and appends nothing, for types that are not fixed-width numbers.
    pub fn push_bits(&mut self, bits: i64) -> bool {
        match &mut self.inner {
            Inner::Bool(b) => b.append_value(bits != 0),
            Inner::Int2(b) => b.append_value(bits as i16),
            Inner::Int4(b) => b.append_value(bits as i32),
            Inner::Int8(b) => b.append_value(bits),
            Inner::Float4(b) => b.append_value(f32::from_bits(bits as u32)),
            Inner::Float8(b) => b.append_value(f64::from_bits(bits as u64)),
            Inner::Date(b) => b.append_value(bits as i32),
            Inner::Time(b) => b.append_value(bits),
            Inner::Timestamp(b) => b.append_value(bits),
            Inner::Oid(b) => b.append_value(bits as u32),
            _ => return false,
        }
        true
    }

    /// Appends a string to a text column. Gives false, and appends nothing, for others.
    pub fn push_str(&mut self, value: &str) -> bool {
        match &mut self.inner {
            Inner::Text(b) => {
                b.append_value(value);
                true
            }
            _ => false,
        }
    }

    /// Appends bytes (bytea, or a sortable form) to a binary column. Gives false, and appends nothing, for others.
    pub fn push_bytes(&mut self, value: &[u8]) -> bool {
        match &mut self.inner {
            Inner::Binary(b) => {
                b.append_value(value);
                true
            }
            _ => false,
        }
    }

    /// # Errors
    /// 54000 when no further value can be counted.
    fn check_room(&self) -> Result<()> {
        let held = match &self.inner {
            Inner::Text(b) => b.values_slice().len(),
            Inner::Binary(b) => b.values_slice().len(),
            Inner::List { items, .. } => items.len(),
            _ => 0,
        };
        if held > COLUMN_BYTES_MAX {
            return Err(column_too_large());
        }
        Ok(())
    }

    /// Appends a further part of a text, of bytes or of an array to a value that [`ColumnBuilder::close`] ends: no other copy of
    /// the whole value is needed.
    ///
    /// # Errors
    /// As [`ColumnBuilder::push`]'s.
    pub fn push_part(&mut self, part: &Datum) -> Result<()> {
        self.check_room()?;
        let written = match (&mut self.inner, part) {
            (Inner::List { items, .. }, item) => return items.push(item),
            (Inner::Text(b), Datum::Text(v)) => b.write_str(v).is_ok(),
            (Inner::Binary(b), Datum::Bytea(v)) => b.write_all(v).is_ok(),
            _ => false,
        };
        if written { Ok(()) } else { Err(Error::internal(format!("{part:?} as a part of a {}", self.ty))) }
    }

    /// Ends a value of so many parts.
    pub fn close(&mut self, parts: usize) {
        match &mut self.inner {
            Inner::Text(b) => b.append_value(""),
            Inner::Binary(b) => b.append_value(b""),
            Inner::List { lengths, nulls, .. } => {
                lengths.push(parts);
                nulls.append_non_null();
            }
            _ => {}
        }
    }

    /// Appends a value of the column's type, or NULL.
    ///
    /// # Errors
    /// Internal, when the value is not of the column's type; 54000 when the column gets too large.
    pub fn push(&mut self, value: &Datum) -> Result<()> {
        self.check_room()?;
        match (&mut self.inner, value) {
            (_, Datum::Null) => self.push_null(),
            (Inner::Bool(b), Datum::Bool(v)) => b.append_value(*v),
            (Inner::Int2(b), Datum::Int2(v)) => b.append_value(*v),
            (Inner::Int4(b), Datum::Int4(v)) => b.append_value(*v),
            (Inner::Int8(b), Datum::Int8(v)) => b.append_value(*v),
            (Inner::Float4(b), Datum::Float4(v)) => b.append_value(*v),
            (Inner::Float8(b), Datum::Float8(v)) => b.append_value(*v),
            (Inner::Date(b), Datum::Date(v)) => b.append_value(*v),
            (Inner::Time(b), Datum::Time(v)) => b.append_value(*v),
            (Inner::Timestamp(b), Datum::Timestamp(v) | Datum::TimestampTz(v)) => {
                b.append_value(*v);
            }
            (Inner::Oid(b), Datum::Oid(v)) => b.append_value(*v),
            (Inner::Oid(b), Datum::Int4(v)) => b.append_value(*v as u32),
            (Inner::Uuid(b), Datum::Uuid(v)) => {
                b.append_value(v).map_err(|e| Error::internal(format!("uuid column: {e}")))?
            }
            (Inner::Text(b), Datum::Text(v) | Datum::Jsonb(v)) => b.append_value(v),
            (Inner::Binary(b), Datum::Record(v)) => b.append_value(super::record::encode(v)?),
            (Inner::Binary(b), Datum::Bytea(v)) => b.append_value(v),
            (Inner::Binary(b), Datum::Numeric(v)) => b.append_value(v.to_sortable()),
            (Inner::Binary(b), Datum::Interval(v)) => b.append_value(v.to_sortable()),
            (Inner::Binary(b), Datum::TimeTz(v)) => b.append_value(v.to_sortable()),
            (Inner::List { items, lengths, nulls, .. }, Datum::Array(array)) => {
                for item in &array.values {
                    items.push(item)?;
                }
                lengths.push(array.values.len());
                nulls.append_non_null();
            }
            (_, other) => {
                return Err(Error::internal(format!("{other:?} in a column of type {}", self.ty)));
            }
        }
        Ok(())
    }

    /// The column; the builder starts over.
    pub fn finish(&mut self) -> ArrayRef {
        match &mut self.inner {
            Inner::Bool(b) => ArrayBuilder::finish(b),
            Inner::Int2(b) => ArrayBuilder::finish(b),
            Inner::Int4(b) => ArrayBuilder::finish(b),
            Inner::Int8(b) => ArrayBuilder::finish(b),
            Inner::Float4(b) => ArrayBuilder::finish(b),
            Inner::Float8(b) => ArrayBuilder::finish(b),
            Inner::Date(b) => ArrayBuilder::finish(b),
            Inner::Time(b) => ArrayBuilder::finish(b),
            Inner::Timestamp(b) => ArrayBuilder::finish(b),
            Inner::Oid(b) => ArrayBuilder::finish(b),
            Inner::Uuid(b) => ArrayBuilder::finish(b),
            Inner::Text(b) => ArrayBuilder::finish(b),
            Inner::Binary(b) => ArrayBuilder::finish(b),
            Inner::List { element, items, lengths, nulls } => {
                let offsets = OffsetBuffer::from_lengths(lengths.drain(..));
                Arc::new(GenericListArray::<i32>::new(list_field(*element), offsets, items.finish(), nulls.finish()))
            }
        }
    }
}

/// A column of Datums.
///
/// # Errors
/// Internal, when a value is not of type `ty`.
pub fn array_of<'a>(ty: PgType, values: impl IntoIterator<Item = &'a Datum>) -> Result<ArrayRef> {
    let values = values.into_iter();
    let mut builder = ColumnBuilder::new(ty, values.size_hint().0);
    for value in values {
        builder.push(value)?;
    }
    Ok(builder.finish())
}

/// A constant of a plan.
///
/// # Errors
/// Internal, when the value is not of type `ty`.
pub fn scalar_of(ty: PgType, value: &Datum) -> Result<ScalarValue> {
    let array = if value.is_null() { new_null_array(&arrow_type(ty), 1) } else { array_of(ty, [value])? };
    ScalarValue::try_from_array(&array as &dyn Array, 0)
        .map_err(|e| Error::internal(format!("constant of type {ty}: {e}")))
}
