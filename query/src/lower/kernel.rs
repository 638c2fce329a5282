//! Whole-column implementations, for the operations where Arrow and Postgres agree.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, Datum as ArrowDatum, PrimitiveArray, StringBuilder,
};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, Operator};
use stratos_types::{Datum, Error, PgType, Result, key, sortable_key};

use crate::arrow::{arrow_type, datum_at, record_order_key};
use crate::functions::{Function, Kernel};

/// Checked arithmetic. `None` when the kernel fails, or gives a float that is not finite: the row implementation then
/// finds out what Postgres would say.
pub(crate) fn arithmetic(kernel: Kernel, args: &[ColumnarValue]) -> Option<ColumnarValue> {
    let constant = args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    let operands = args.iter().map(operand).collect::<Option<Vec<_>>>()?;
    let result = match (kernel, operands.as_slice()) {
        (Kernel::Neg, [a]) => numeric::neg(a.get().0).ok()?,
        (_, [a, b]) => {
            let (a, b) = (a.as_ref(), b.as_ref());
            match kernel {
                Kernel::Add => numeric::add(a, b),
                Kernel::Sub => numeric::sub(a, b),
                Kernel::Mul => numeric::mul(a, b),
                Kernel::Div => numeric::div(a, b),
                Kernel::Rem => numeric::rem(a, b),
                _ => return None,
            }
            .ok()?
        }
        _ => return None,
    };
    let finite = match result.data_type() {
        DataType::Float32 => result.as_primitive::<Float32Type>().iter().flatten().all(f32::is_finite),
        DataType::Float64 => result.as_primitive::<Float64Type>().iter().flatten().all(f64::is_finite),
        _ => true,
    };
    if !finite {
        return None;
    }
    if constant {
        return ScalarValue::try_from_array(&result, 0).ok().map(ColumnarValue::Scalar);
    }
    Some(ColumnarValue::Array(result))
}

fn operand(value: &ColumnarValue) -> Option<Box<dyn ArrowDatum>> {
    Some(match value {
        ColumnarValue::Array(array) => Box::new(array.clone()),
        ColumnarValue::Scalar(scalar) => Box::new(scalar.to_scalar().ok()?),
    })
}

/// The comparison that a function is, if it is one that columns can do once equality keys are taken.
pub(crate) fn comparison(function: &Function) -> Option<Operator> {
    Some(match function.kernel? {
        Kernel::Eq => Operator::Eq,
        Kernel::NotEq => Operator::NotEq,
        Kernel::Lt => Operator::Lt,
        Kernel::LtEq => Operator::LtEq,
        Kernel::Gt => Operator::Gt,
        Kernel::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// Arrow type of a type's equality key.
pub(crate) fn equality_key_type(ty: PgType) -> DataType {
    if keyed_by_bytes(ty) { DataType::Binary } else { arrow_type(ty) }
}

/// Whether the equality key of a type is its column of a key (`stratos_types::key`): types of which no Arrow value has the
/// SQL order. (Within arrays NULL is the greatest, which Arrow's order is not everywhere.)
pub(crate) fn keyed_by_bytes(ty: PgType) -> bool {
    ty == PgType::Jsonb || ty.element().is_some()
}

/// What equality looks at in a column: values that SQL holds equal become identical, and their order stays.
pub(crate) fn equality_key(value: &ColumnarValue, ty: PgType) -> Result<ColumnarValue> {
    mapped(value, |array| key_array(array, ty))
}

/// Floats of which NaN has one form.
pub(crate) fn one_nan(value: &ColumnarValue) -> Result<ColumnarValue> {
    mapped(value, |array| {
        Ok(match array.data_type() {
            DataType::Float32 => Arc::new(normalised::<Float32Type>(array, one_nan_of_4)),
            DataType::Float64 => Arc::new(normalised::<Float64Type>(array, one_nan_of_8)),
            _ => array.clone(),
        })
    })
}

/// What a function of arrays makes of a column or a constant.
fn mapped(value: &ColumnarValue, f: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Array(array) => f(array).map(ColumnarValue::Array),
        ColumnarValue::Scalar(scalar) => {
            let array = scalar.to_array().map_err(|e| Error::internal(format!("constant: {e}")))?;
            ScalarValue::try_from_array(&f(&array)?, 0)
                .map(ColumnarValue::Scalar)
                .map_err(|e| Error::internal(format!("constant: {e}")))
        }
    }
}

fn key_array(array: &ArrayRef, ty: PgType) -> Result<ArrayRef> {
    Ok(match ty {
        ty if keyed_by_bytes(ty) => {
            let mut out = BinaryBuilder::new();
            let mut key = Vec::new();
            for row in 0..array.len() {
                if array.is_null(row) {
                    out.append_null();
                    continue;
                }
                key.clear();
                key::encode_column(&mut key, ty, &datum_at(array.as_ref(), row, ty)?, false, false);
                out.append_value(&key);
            }
            Arc::new(out.finish())
        }
        PgType::Float4 => Arc::new(normalised::<Float32Type>(array, float4_key)),
        PgType::Float8 => Arc::new(normalised::<Float64Type>(array, float8_key)),
        PgType::Bpchar => {
            let strings = array.as_string_opt::<i32>().ok_or_else(|| Error::internal("char(n) column is not Utf8"))?;
            let mut out = StringBuilder::with_capacity(strings.len(), strings.value_data().len());
            for value in strings {
                out.append_option(value.map(|v| v.trim_end_matches(' ')));
            }
            Arc::new(out.finish())
        }
        PgType::Numeric | PgType::Interval | PgType::TimeTz => {
            let bytes = array.as_binary_opt::<i32>().ok_or_else(|| Error::internal("sortable column is not Binary"))?;
            let mut out = BinaryBuilder::with_capacity(bytes.len(), bytes.value_data().len());
            for value in bytes {
                out.append_option(value.map(sortable_key));
            }
            Arc::new(out.finish())
        }
        PgType::Record => {
            let bytes = array.as_binary_opt::<i32>().ok_or_else(|| Error::internal("record column is not Binary"))?;
            let mut out = BinaryBuilder::with_capacity(bytes.len(), bytes.value_data().len());
            for value in bytes {
                out.append_option(value.map(record_order_key));
            }
            Arc::new(out.finish())
        }
        _ => array.clone(),
    })
}

/// `Infinity - Infinity` gives a NaN with a sign, which Arrow holds for the least number.
fn one_nan_of_4(v: f32) -> f32 {
    if v.is_nan() { f32::NAN } else { v }
}

fn one_nan_of_8(v: f64) -> f64 {
    if v.is_nan() { f64::NAN } else { v }
}

/// Zeros have one form, and so have NaNs.
fn float4_key(v: f32) -> f32 {
    one_nan_of_4(v) + 0.0
}

fn float8_key(v: f64) -> f64 {
    one_nan_of_8(v) + 0.0
}

fn normalised<T: ArrowPrimitiveType>(array: &ArrayRef, f: impl Fn(T::Native) -> T::Native) -> PrimitiveArray<T> {
    array.as_primitive::<T>().unary(f)
}

/// [`one_nan`] of one value.
pub(crate) fn one_nan_datum(value: &Datum) -> Datum {
    match value {
        Datum::Float4(v) => Datum::Float4(one_nan_of_4(*v)),
        Datum::Float8(v) => Datum::Float8(one_nan_of_8(*v)),
        other => other.clone(),
    }
}

/// [`equality_key`] of one value where a Datum can express it.
pub(crate) fn equality_key_datum(value: &Datum, ty: PgType) -> Datum {
    match value {
        Datum::Float4(v) => Datum::Float4(float4_key(*v)),
        Datum::Float8(v) => Datum::Float8(float8_key(*v)),
        value @ (Datum::Jsonb(_) | Datum::Array(_)) => {
            let mut key = Vec::new();
            key::encode_column(&mut key, ty, value, false, false);
            Datum::Bytea(key.into())
        }
        other => other.clone(),
    }
}
