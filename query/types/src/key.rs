//! Columns as parts of keys: the order of the bytes is the order of the values, and every column ends by itself, so that
//! no key is the prefix of another with the same columns.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | 0x01 NULL that sorts first, 0x02 a value follows, 0x03 NULL that sorts last |
//! | n | the value, by type; every byte complemented when descending |
//!
//! | type | value |
//! |---|---|
//! | bool | 1 byte, 0 or 1 |
//! | int2, int4, int8, date, time, timestamp, timestamptz | big-endian with the sign bit flipped |
//! | oid and its kin | 4 bytes big-endian |
//! | float4, float8 | IEEE bits: all flipped when negative, else the sign alone; -0 as 0, one NaN above all |
//! | numeric, interval, timetz | value part of the sortable form |
//! | text, varchar, name, "char", json | UTF-8; 0x00 as 0x00 0xFF; ends in 0x00 0x01 |
//! | bpchar | the same, without trailing blanks |
//! | bytea | as text |
//! | uuid | 16 bytes |
//! | arrays | per element 0x01 and the element (NULLs last), then 0x00 |
//! | record | fields as columns |
//! | jsonb | `json::write_key`: Postgres's order, numbers by value |

use std::cmp::Ordering;
use std::sync::Arc;

use crate::{ArrayDatum, Datum, Error, ErrorKind, Interval, Numeric, PgType, Result, TimeTz};

/// Tag of a NULL that sorts before all values.
pub const NULL_FIRST: u8 = 0x01;
/// Tag of a value.
pub const VALUE: u8 = 0x02;
/// Tag of a NULL that sorts after all values.
pub const NULL_LAST: u8 = 0x03;

const ELEMENT: u8 = 0x01;
const END: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const TERMINATOR: u8 = 0x01;

fn corrupt() -> Error {
    Error::new(ErrorKind::DataCorrupted, "malformed key")
}

/// Appends one column of a key. `value` is of type `ty` or NULL.
pub fn encode_column(out: &mut Vec<u8>, ty: PgType, value: &Datum, descending: bool, nulls_first: bool) {
    if value.is_null() {
        out.push(if nulls_first { NULL_FIRST } else { NULL_LAST });
        return;
    }
    out.push(VALUE);
    let start = out.len();
    encode_value(out, ty, value);
    if descending {
        for b in &mut out[start..] {
            *b = !*b;
        }
    }
}

fn float8_bits(v: f64) -> u64 {
    let bits = if v.is_nan() {
        f64::NAN.to_bits() & (u64::MAX >> 1)
    } else if v == 0.0 {
        0
    } else {
        v.to_bits()
    };
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn float4_bits(v: f32) -> u32 {
    let bits = if v.is_nan() {
        f32::NAN.to_bits() & (u32::MAX >> 1)
    } else if v == 0.0 {
        0
    } else {
        v.to_bits()
    };
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Appends bytes that end by themselves: 0x00 as 0x00 0xFF, and 0x00 0x01 at the end.
pub(crate) fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    for b in bytes {
        out.push(*b);
        if *b == 0 {
            out.push(ESCAPED_ZERO);
        }
    }
    out.extend_from_slice(&[0, TERMINATOR]);
}

fn encode_value(out: &mut Vec<u8>, ty: PgType, value: &Datum) {
    match value {
        Datum::Null => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => out.extend_from_slice(&(v ^ i16::MIN).to_be_bytes()),
        Datum::Int4(v) | Datum::Date(v) => out.extend_from_slice(&(v ^ i32::MIN).to_be_bytes()),
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::TimestampTz(v) => {
            out.extend_from_slice(&(v ^ i64::MIN).to_be_bytes());
        }
        Datum::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Float4(v) => out.extend_from_slice(&float4_bits(*v).to_be_bytes()),
        Datum::Float8(v) => out.extend_from_slice(&float8_bits(*v).to_be_bytes()),
        Datum::Numeric(v) => v.write_sortable(out),
        Datum::Interval(v) => v.write_sortable(out),
        Datum::TimeTz(v) => v.write_sortable(out),
        Datum::Text(v) if ty == PgType::Bpchar => escape(out, v.trim_end_matches(' ').as_bytes()),
        Datum::Text(v) => escape(out, v.as_bytes()),
        Datum::Jsonb(v) => crate::json::write_key(v, out),
        Datum::Bytea(v) => escape(out, v),
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Array(array) => {
            for element in &array.values {
                out.push(ELEMENT);
                encode_column(out, array.element, element, false, false);
            }
            out.push(END);
        }
        Datum::Record(fields) => {
            for (ty, field) in fields.iter() {
                out.push(ELEMENT);
                encode_column(out, *ty, field, false, false);
            }
            out.push(END);
        }
    }
}

/// Whether [`decode_column`] gives back exactly what was encoded. Other types' columns are kept in the row as well.
pub fn is_lossless(ty: PgType) -> bool {
    match ty {
        PgType::Numeric | PgType::Interval | PgType::Float4 | PgType::Float8 => false,
        PgType::Bpchar | PgType::Record | PgType::Jsonb => false,
        PgType::Array(element) => is_lossless(element.into()),
        _ => true,
    }
}

/// Bytes of a key, complemented on the way when descending.
struct Reader<'a, 'b> {
    bytes: &'a mut &'b [u8],
    flip: u8,
}

impl Reader<'_, '_> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.bytes.split_first().ok_or_else(corrupt)?;
        *self.bytes = rest;
        Ok(first ^ self.flip)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(corrupt)?;
        *self.bytes = rest;
        Ok(head.map(|b| b ^ self.flip))
    }

    fn escaped(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            match self.byte()? {
                0 => match self.byte()? {
                    ESCAPED_ZERO => out.push(0),
                    TERMINATOR => return Ok(out),
                    _ => return Err(corrupt()),
                },
                b => out.push(b),
            }
        }
    }

    /// Takes an escaped string that needs no change: ascending and without a zero byte.
    fn plain(&mut self) -> Option<&[u8]> {
        if self.flip != 0 {
            return None;
        }
        let end = self.bytes.iter().position(|b| *b == 0)?;
        if self.bytes.get(end + 1) != Some(&TERMINATOR) {
            return None;
        }
        let (value, rest) = self.bytes.split_at(end);
        *self.bytes = &rest[2..];
        Some(value)
    }

    fn bytea(&mut self) -> Result<Arc<[u8]>> {
        if let Some(value) = self.plain() {
            return Ok(Arc::from(value));
        }
        self.escaped().map(Arc::from)
    }

    fn text(&mut self) -> Result<Arc<str>> {
        if let Some(value) = self.plain() {
            return std::str::from_utf8(value).map(Arc::from).map_err(|_| corrupt());
        }
        String::from_utf8(self.escaped()?).map(Arc::from).map_err(|_| corrupt())
    }

    fn column(&mut self, ty: PgType) -> Result<Datum> {
        match self.byte()? {
            VALUE => self.value(ty),
            NULL_FIRST | NULL_LAST => Ok(Datum::Null),
            _ => Err(corrupt()),
        }
    }

    fn value(&mut self, ty: PgType) -> Result<Datum> {
        let int4 = |b: [u8; 4]| i32::from_be_bytes(b) ^ i32::MIN;
        let int8 = |b: [u8; 8]| i64::from_be_bytes(b) ^ i64::MIN;
        Ok(match ty {
            PgType::Bool => match self.byte()? {
                0 => Datum::Bool(false),
                1 => Datum::Bool(true),
                _ => return Err(corrupt()),
            },
            PgType::Int2 => Datum::Int2(i16::from_be_bytes(self.fixed()?) ^ i16::MIN),
            PgType::Int4 => Datum::Int4(int4(self.fixed()?)),
            PgType::Date => Datum::Date(int4(self.fixed()?)),
            PgType::Int8 => Datum::Int8(int8(self.fixed()?)),
            PgType::Time => Datum::Time(int8(self.fixed()?)),
            PgType::Timestamp => Datum::Timestamp(int8(self.fixed()?)),
            PgType::TimestampTz => Datum::TimestampTz(int8(self.fixed()?)),
            ty if ty.is_oid_like() => Datum::Oid(u32::from_be_bytes(self.fixed()?)),
            PgType::Float4 => {
                let bits = u32::from_be_bytes(self.fixed()?);
                let bits = if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits };
                Datum::Float4(f32::from_bits(bits))
            }
            PgType::Float8 => {
                let bits = u64::from_be_bytes(self.fixed()?);
                let bits = if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits };
                Datum::Float8(f64::from_bits(bits))
            }
            PgType::Numeric => {
                let mut value = vec![self.byte()?];
                if matches!(value[0], 1 | 3) {
                    value.extend_from_slice(&self.fixed::<3>()?);
                    let end = if value[0] == 1 { 0xff } else { 0 };
                    loop {
                        let b = self.byte()?;
                        value.push(b);
                        if b == end {
                            break;
                        }
                    }
                }
                Datum::Numeric(Numeric::from_sortable(&value)?)
            }
            PgType::Interval => Datum::Interval(Interval::from_sortable(&self.fixed::<11>()?)?),
            PgType::TimeTz => Datum::TimeTz(TimeTz::from_sortable(&self.fixed::<13>()?)?),
            PgType::Bytea => Datum::Bytea(self.bytea()?),
            PgType::Uuid => Datum::Uuid(self.fixed()?),
            ty if ty.element().is_some() => {
                let element = ty.element().unwrap_or(PgType::Unknown);
                let mut values = Vec::new();
                loop {
                    match self.byte()? {
                        END => break,
                        ELEMENT => values.push(self.column(element)?),
                        _ => return Err(corrupt()),
                    }
                }
                Datum::Array(Arc::new(ArrayDatum { element, values }))
            }
            PgType::Record | PgType::Jsonb | PgType::Void => return Err(corrupt()),
            _ => Datum::Text(self.text()?),
        })
    }
}

/// Takes one column off the front of a key.
///
/// # Errors
/// Data corrupted.
pub fn decode_column(bytes: &mut &[u8], ty: PgType, descending: bool, nulls_first: bool) -> Result<Datum> {
    let (tag, rest) = bytes.split_first().ok_or_else(corrupt)?;
    *bytes = rest;
    match *tag {
        VALUE => {}
        NULL_FIRST if nulls_first => return Ok(Datum::Null),
        NULL_LAST if !nulls_first => return Ok(Datum::Null),
        _ => return Err(corrupt()),
    }
    let flip = if descending { 0xff } else { 0 };
    Reader { bytes, flip }.value(ty)
}

/// SQL order of two values of a type; NULLs are equal to each other and last.
///
/// Floats: NaN is greatest and equal to itself, -0 = 0. bpchar ignores trailing blanks. jsonb has Postgres's own order.
pub fn compare(ty: PgType, a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::Null, Datum::Null) => Ordering::Equal,
        (Datum::Null, _) => Ordering::Greater,
        (_, Datum::Null) => Ordering::Less,
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Int2(a), Datum::Int2(b)) => a.cmp(b),
        (Datum::Int4(a), Datum::Int4(b)) | (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
        (Datum::Int8(a), Datum::Int8(b))
        | (Datum::Time(a), Datum::Time(b))
        | (Datum::Timestamp(a), Datum::Timestamp(b))
        | (Datum::TimestampTz(a), Datum::TimestampTz(b)) => a.cmp(b),
        (Datum::Oid(a), Datum::Oid(b)) => a.cmp(b),
        (Datum::Float4(a), Datum::Float4(b)) => float4_bits(*a).cmp(&float4_bits(*b)),
        (Datum::Float8(a), Datum::Float8(b)) => float8_bits(*a).cmp(&float8_bits(*b)),
        (Datum::Numeric(a), Datum::Numeric(b)) => a.cmp(b),
        (Datum::Interval(a), Datum::Interval(b)) => a.span_micros().cmp(&b.span_micros()),
        (Datum::TimeTz(a), Datum::TimeTz(b)) => {
            (a.utc_micros(), a.zone_seconds_west).cmp(&(b.utc_micros(), b.zone_seconds_west))
        }
        (Datum::Text(a), Datum::Text(b)) if ty == PgType::Bpchar => {
            a.trim_end_matches(' ').cmp(b.trim_end_matches(' '))
        }
        (Datum::Text(a), Datum::Text(b)) => a.cmp(b),
        (Datum::Jsonb(a), Datum::Jsonb(b)) => crate::json::compare(a, b).unwrap_or_else(|_| a.cmp(b)),
        (Datum::Bytea(a), Datum::Bytea(b)) => a.cmp(b),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Array(a), Datum::Array(b)) => a
            .values
            .iter()
            .zip(&b.values)
            .map(|(x, y)| compare(a.element, x, y))
            .find(|o| o.is_ne())
            .unwrap_or_else(|| a.values.len().cmp(&b.values.len())),
        (Datum::Record(a), Datum::Record(b)) => a
            .iter()
            .zip(b.iter())
            .map(|((ty, x), (_, y))| compare(*ty, x, y))
            .find(|o| o.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        // Values of two representations never meet in one column; any fixed order will do.
        _ => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests;
