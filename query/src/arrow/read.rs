//! Columns to Datums.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, UInt32Type,
};
use datafusion::common::ScalarValue;
use stratos_types::{ArrayDatum, Datum, Error, Interval, Numeric, PgType, Result, TimeTz};

use super::arrow_type;

/// The value in row `row` of a column of type `ty`.
///
/// # Errors
/// Internal, when the column's Arrow type does not stand for `ty`.
pub fn datum_at(array: &dyn Array, row: usize, ty: PgType) -> Result<Datum> {
    if array.is_null(row) {
        return Ok(Datum::Null);
    }
    let wrong = || Error::internal(format!("column of Arrow type {} read as {ty}", array.data_type()));
    if let Some(element) = ty.element() {
        let items = array.as_list_opt::<i32>().ok_or_else(wrong)?.value(row);
        let values = (0..items.len()).map(|i| datum_at(items.as_ref(), i, element)).collect::<Result<_>>()?;
        return Ok(Datum::Array(Arc::new(ArrayDatum { element, values })));
    }
    macro_rules! primitive {
        ($arrow:ty) => {
            array.as_primitive_opt::<$arrow>().ok_or_else(wrong)?.value(row)
        };
    }
    Ok(match ty {
        PgType::Bool => Datum::Bool(array.as_boolean_opt().ok_or_else(wrong)?.value(row)),
        PgType::Int2 => Datum::Int2(primitive!(Int16Type)),
        PgType::Int4 => Datum::Int4(primitive!(Int32Type)),
        PgType::Int8 => Datum::Int8(primitive!(Int64Type)),
        PgType::Float4 => Datum::Float4(primitive!(Float32Type)),
        PgType::Float8 => Datum::Float8(primitive!(Float64Type)),
        PgType::Date => Datum::Date(primitive!(Date32Type)),
        PgType::Time => Datum::Time(primitive!(Time64MicrosecondType)),
        PgType::Timestamp => Datum::Timestamp(primitive!(TimestampMicrosecondType)),
        PgType::TimestampTz => Datum::TimestampTz(primitive!(TimestampMicrosecondType)),
        PgType::Uuid => {
            let bytes = array.as_fixed_size_binary_opt().ok_or_else(wrong)?;
            Datum::Uuid(bytes.value(row).try_into().map_err(|_| wrong())?)
        }
        PgType::Bytea => Datum::Bytea(binary(array, row).ok_or_else(wrong)?.into()),
        PgType::Numeric => Datum::Numeric(Numeric::from_sortable(binary(array, row).ok_or_else(wrong)?)?),
        PgType::Interval => Datum::Interval(Interval::from_sortable(binary(array, row).ok_or_else(wrong)?)?),
        PgType::TimeTz => Datum::TimeTz(TimeTz::from_sortable(binary(array, row).ok_or_else(wrong)?)?),
        PgType::Record => super::record::decode(binary(array, row).ok_or_else(wrong)?)?,
        other if other.is_oid_like() => Datum::Oid(primitive!(UInt32Type)),
        PgType::Jsonb => Datum::Jsonb(string(array, row).ok_or_else(wrong)?.into()),
        _ => Datum::Text(string(array, row).ok_or_else(wrong)?.into()),
    })
}

fn binary(array: &dyn Array, row: usize) -> Option<&[u8]> {
    array.as_binary_opt::<i32>().map(|a| a.value(row))
}

fn string(array: &dyn Array, row: usize) -> Option<&str> {
    array.as_string_opt::<i32>().map(|a| a.value(row))
}

/// A constant of a plan as a Datum.
///
/// # Errors
/// Internal, when the constant's Arrow type does not stand for `ty`.
pub fn datum_of_scalar(value: &ScalarValue, ty: PgType) -> Result<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    let array = value.to_array().map_err(|e| Error::internal(format!("constant: {e}")))?;
    datum_at(array.as_ref(), 0, ty)
}

/// A column with the Postgres type that it stands for.
pub struct ColumnReader {
    array: ArrayRef,
    ty: PgType,
}

impl ColumnReader {
    /// Checks the column's type once, so that rows need not fail for it.
    ///
    /// # Errors
    /// Internal, when the column's Arrow type does not stand for `ty`.
    pub fn new(array: ArrayRef, ty: PgType) -> Result<Self> {
        if *array.data_type() != arrow_type(ty) {
            return Err(Error::internal(format!("column of Arrow type {} read as {ty}", array.data_type())));
        }
        Ok(ColumnReader { array, ty })
    }

    /// The value in a row.
    ///
    /// # Errors
    /// Internal, for bytes that are no value of the type.
    pub fn get(&self, row: usize) -> Result<Datum> {
        datum_at(self.array.as_ref(), row, self.ty)
    }
}

/// The rows of a batch whose columns have these types.
///
/// # Errors
/// Internal, when they do not.
pub fn rows_of(batch: &RecordBatch, types: &[PgType]) -> Result<Vec<Vec<Datum>>> {
    let columns = batch
        .columns()
        .iter()
        .zip(types)
        .map(|(array, ty)| ColumnReader::new(array.clone(), *ty))
        .collect::<Result<Vec<_>>>()?;
    (0..batch.num_rows()).map(|row| columns.iter().map(|c| c.get(row)).collect()).collect()
}
