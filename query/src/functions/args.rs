//! Taking arguments out of their [`Datum`]s. The binder has cast them already, so a mismatch is a broken invariant.

use stratos_types::{ArrayDatum, Datum, Error, Interval, Numeric, PgType, Result};

fn mismatch<T>(wanted: &str, got: &Datum) -> Result<T> {
    Err(Error::internal(format_args!("argument should be {wanted}, is {got:?}")))
}

/// text and its kin, json, jsonb.
pub fn text(d: &Datum) -> Result<&str> {
    match d {
        Datum::Text(s) | Datum::Jsonb(s) => Ok(s),
        other => mismatch("text", other),
    }
}

/// Any integer type, widened.
pub fn int(d: &Datum) -> Result<i64> {
    match d {
        Datum::Int2(v) => Ok(i64::from(*v)),
        Datum::Int4(v) => Ok(i64::from(*v)),
        Datum::Int8(v) => Ok(*v),
        Datum::Oid(v) => Ok(i64::from(*v)),
        other => mismatch("an integer", other),
    }
}

/// integer or smallint.
pub fn int4(d: &Datum) -> Result<i32> {
    match d {
        Datum::Int2(v) => Ok(i32::from(*v)),
        Datum::Int4(v) => Ok(*v),
        other => mismatch("integer", other),
    }
}

/// Either float type, widened.
pub fn float(d: &Datum) -> Result<f64> {
    match d {
        Datum::Float4(v) => Ok(f64::from(*v)),
        Datum::Float8(v) => Ok(*v),
        other => mismatch("double precision", other),
    }
}

/// boolean
pub fn boolean(d: &Datum) -> Result<bool> {
    match d {
        Datum::Bool(v) => Ok(*v),
        other => mismatch("boolean", other),
    }
}

/// numeric
pub fn numeric(d: &Datum) -> Result<&Numeric> {
    match d {
        Datum::Numeric(v) => Ok(v),
        other => mismatch("numeric", other),
    }
}

/// bytea
pub fn bytes(d: &Datum) -> Result<&[u8]> {
    match d {
        Datum::Bytea(v) => Ok(v),
        other => mismatch("bytea", other),
    }
}

/// interval
pub fn interval(d: &Datum) -> Result<Interval> {
    match d {
        Datum::Interval(v) => Ok(*v),
        other => mismatch("interval", other),
    }
}

/// oid and the reg* types
pub fn oid(d: &Datum) -> Result<u32> {
    match d {
        Datum::Oid(v) => Ok(*v),
        Datum::Int4(v) => Ok(*v as u32),
        other => mismatch("oid", other),
    }
}

/// An array.
pub fn array(d: &Datum) -> Result<&ArrayDatum> {
    match d {
        Datum::Array(v) => Ok(v),
        other => mismatch("an array", other),
    }
}

/// The type of argument `i`, `unknown` when it was left out.
pub fn type_of(types: &[PgType], i: usize) -> PgType {
    types.get(i).copied().unwrap_or(PgType::Unknown)
}
