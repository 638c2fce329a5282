//! Rows as the store keeps them.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | format version, 1 |
//! | 1 | flags: bit 0 set when offsets take four bytes |
//! | 2 | number of fields n, little-endian |
//! | ⌈n/4⌉ | two bits a field from the least significant: 0 value, 1 NULL, 2 absent |
//! | n × 2 or 4 | END of each field, counted from the start of the field bytes, little-endian |
//! | … | field bytes in order of attribute numbers |
//!
//! | type | field bytes |
//! |---|---|
//! | bool | 1 byte |
//! | int2, int4, int8, float4, float8, date, time, timestamp(tz), oid and its kin | fixed width, little-endian |
//! | numeric, interval, timetz | sortable form |
//! | text and its kin, json, jsonb, bytea, uuid | as they are |
//! | arrays | OID of the element type u32, then per element: length u32 (0xFFFFFFFF for NULL) and its field bytes |
//! | record | per field: OID of its type u32, length u32, field bytes |

use std::sync::Arc;

use crate::{ArrayDatum, Datum, Error, ErrorKind, Interval, Numeric, PgType, Result, TimeTz};

/// Version of the row format.
pub const VERSION: u8 = 1;
const WIDE: u8 = 1;
const HEADER_LEN: usize = 4;
const NULL_LENGTH: u32 = u32::MAX;
const STATE_NULL: u8 = 1;
const STATE_ABSENT: u8 = 2;
/// Nesting of arrays and records that decoding follows.
const MAX_DEPTH: u32 = 16;

fn corrupt() -> Error {
    Error::new(ErrorKind::DataCorrupted, "malformed row")
}

/// Reads single fields of a row without decoding the others.
#[derive(Debug, Clone, Copy)]
pub struct RowReader<'a> {
    states: &'a [u8],
    ends: &'a [u8],
    fields: &'a [u8],
    columns: usize,
    wide: bool,
}

impl<'a> RowReader<'a> {
    /// Checks the header and the lengths.
    ///
    /// # Errors
    /// Data corrupted.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let Some((&[version, flags, low, high], rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(corrupt());
        };
        if version != VERSION || flags > WIDE {
            return Err(corrupt());
        }
        let columns = usize::from(u16::from_le_bytes([low, high]));
        let wide = flags & WIDE != 0;
        let width = if wide { 4 } else { 2 };
        let (states, rest) = rest.split_at_checked(columns.div_ceil(4)).ok_or_else(corrupt)?;
        let (ends, fields) = rest.split_at_checked(columns * width).ok_or_else(corrupt)?;
        let reader = RowReader { states, ends, fields, columns, wide };
        if columns > 0 && reader.end(columns - 1) != fields.len() {
            return Err(corrupt());
        }
        Ok(reader)
    }

    /// Number of fields that the row was written with.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn end(&self, position: usize) -> usize {
        if self.wide {
            self.ends[4 * position..].first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b) as usize)
        } else {
            self.ends[2 * position..].first_chunk::<2>().map_or(0, |b| usize::from(u16::from_le_bytes(*b)))
        }
    }

    /// Field by position (attnum - 1): `None` when the row does not have it (added later, or kept in the key),
    /// `Some(None)` when NULL.
    pub fn field(&self, position: usize) -> Option<Option<&'a [u8]>> {
        if position >= self.columns {
            return None;
        }
        match self.states[position / 4] >> (position % 4 * 2) & 3 {
            STATE_NULL => Some(None),
            0 => {
                let start = if position == 0 { 0 } else { self.end(position - 1) };
                // Ends out of order cannot come from the writer: they read as empty.
                Some(Some(self.fields.get(start..self.end(position)).unwrap_or(&[])))
            }
            _ => None,
        }
    }
}

/// Writes rows, fields in order of attribute numbers. Reusable: [`RowWriter::finish`] starts over.
#[derive(Debug, Default)]
pub struct RowWriter {
    states: Vec<u8>,
    ends: Vec<u32>,
    fields: Vec<u8>,
}

impl RowWriter {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    fn close(&mut self, state: u8) {
        self.states.push(state);
        self.ends.push(u32::try_from(self.fields.len()).unwrap_or(u32::MAX));
    }

    /// The next field.
    ///
    /// # Errors
    /// 54000 when the row grows beyond 2 GiB; internal for a value that is not of the type.
    pub fn push(&mut self, ty: PgType, value: &Datum) -> Result<()> {
        if value.is_null() {
            self.close(STATE_NULL);
            return Ok(());
        }
        encode_field(ty, value, &mut self.fields)?;
        if self.fields.len() > i32::MAX as usize {
            return Err(Error::new(ErrorKind::ProgramLimitExceeded, "row is too big"));
        }
        self.close(0);
        Ok(())
    }

    /// The next field as bytes that [`encode_field`] or another row made.
    pub fn push_raw(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.fields.extend_from_slice(bytes);
                self.close(0);
            }
            None => self.close(STATE_NULL),
        }
    }

    /// The next field is not in the row (dropped column, or kept in the key): it reads as `None`.
    pub fn push_absent(&mut self) {
        self.close(STATE_ABSENT);
    }

    /// The row's bytes; the writer starts over.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.finish_into(&mut out);
        out
    }

    /// Appends the row's bytes to `out`; the writer starts over and keeps its memory.
    pub fn finish_into(&mut self, out: &mut Vec<u8>) {
        let wide = self.fields.len() > usize::from(u16::MAX);
        let columns = self.states.len();
        out.reserve(HEADER_LEN + columns * 5 + self.fields.len());
        out.push(VERSION);
        out.push(if wide { WIDE } else { 0 });
        out.extend_from_slice(&(columns as u16).to_le_bytes());
        for group in self.states.chunks(4) {
            out.push(group.iter().rev().fold(0, |byte, state| byte << 2 | state));
        }
        for end in &self.ends {
            if wide {
                out.extend_from_slice(&end.to_le_bytes());
            } else {
                out.extend_from_slice(&(*end as u16).to_le_bytes());
            }
        }
        out.extend_from_slice(&self.fields);
        self.fields.clear();
        self.states.clear();
        self.ends.clear();
    }
}

/// Appends the field bytes of a value that is not NULL.
///
/// # Errors
/// Internal when the value is NULL.
pub fn encode_field(ty: PgType, value: &Datum, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Null => return Err(Error::internal(format!("NULL as field bytes of {ty}"))),
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Int4(v) | Datum::Date(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::TimestampTz(v) => {
            out.extend_from_slice(&v.to_le_bytes());
        }
        Datum::Float4(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Float8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Oid(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Numeric(v) => {
            v.write_sortable(out);
            if let Some(scale) = v.scale() {
                out.extend_from_slice(&scale.to_be_bytes());
            }
        }
        Datum::Interval(v) => out.extend_from_slice(&v.to_sortable()),
        Datum::TimeTz(v) => v.write_sortable(out),
        Datum::Text(v) | Datum::Jsonb(v) => out.extend_from_slice(v.as_bytes()),
        Datum::Bytea(v) => out.extend_from_slice(v),
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Array(array) => {
            out.extend_from_slice(&array.element.oid().to_le_bytes());
            for element in &array.values {
                encode_part(array.element, element, out)?;
            }
        }
        Datum::Record(fields) => {
            for (ty, field) in fields.iter() {
                out.extend_from_slice(&ty.oid().to_le_bytes());
                encode_part(*ty, field, out)?;
            }
        }
    }
    Ok(())
}

fn encode_part(ty: PgType, value: &Datum, out: &mut Vec<u8>) -> Result<()> {
    let at = out.len();
    out.extend_from_slice(&NULL_LENGTH.to_le_bytes());
    if !value.is_null() {
        encode_field(ty, value, out)?;
        let length = u32::try_from(out.len() - at - 4).map_err(|_| corrupt())?;
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// A value from its field bytes.
///
/// # Errors
/// Data corrupted.
pub fn decode_field(ty: PgType, bytes: &[u8]) -> Result<Datum> {
    decode_nested(ty, bytes, 0)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| corrupt())
}

/// Text of a field of a string-like type, json or jsonb, without a copy.
///
/// # Errors
/// Data corrupted.
pub fn field_str(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| corrupt())
}

/// int2 of a field.
///
/// # Errors
/// Data corrupted.
pub fn field_i16(bytes: &[u8]) -> Result<i16> {
    fixed(bytes).map(i16::from_le_bytes)
}

/// int4, date of a field.
///
/// # Errors
/// Data corrupted.
pub fn field_i32(bytes: &[u8]) -> Result<i32> {
    fixed(bytes).map(i32::from_le_bytes)
}

/// int8, time, timestamp, timestamptz of a field.
///
/// # Errors
/// Data corrupted.
pub fn field_i64(bytes: &[u8]) -> Result<i64> {
    fixed(bytes).map(i64::from_le_bytes)
}

/// oid and its kin of a field.
///
/// # Errors
/// Data corrupted.
pub fn field_u32(bytes: &[u8]) -> Result<u32> {
    fixed(bytes).map(u32::from_le_bytes)
}

/// float4 of a field.
///
/// # Errors
/// Data corrupted.
pub fn field_f32(bytes: &[u8]) -> Result<f32> {
    fixed(bytes).map(f32::from_le_bytes)
}

/// float8 of a field.
///
/// # Errors
/// Data corrupted.
pub fn field_f64(bytes: &[u8]) -> Result<f64> {
    fixed(bytes).map(f64::from_le_bytes)
}

/// bool of a field.
///
/// # Errors
/// Data corrupted.
pub fn field_bool(bytes: &[u8]) -> Result<bool> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(corrupt()),
    }
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(corrupt)?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*head))
}

fn take_part(ty: PgType, bytes: &mut &[u8], depth: u32) -> Result<Datum> {
    let length = take_u32(bytes)?;
    if length == NULL_LENGTH {
        return Ok(Datum::Null);
    }
    let (part, rest) = bytes.split_at_checked(length as usize).ok_or_else(corrupt)?;
    *bytes = rest;
    decode_nested(ty, part, depth + 1)
}

fn decode_nested(ty: PgType, mut bytes: &[u8], depth: u32) -> Result<Datum> {
    if depth > MAX_DEPTH {
        return Err(corrupt());
    }
    Ok(match ty {
        PgType::Bool => Datum::Bool(field_bool(bytes)?),
        PgType::Int2 => Datum::Int2(field_i16(bytes)?),
        PgType::Int4 => Datum::Int4(field_i32(bytes)?),
        PgType::Int8 => Datum::Int8(field_i64(bytes)?),
        PgType::Float4 => Datum::Float4(field_f32(bytes)?),
        PgType::Float8 => Datum::Float8(field_f64(bytes)?),
        PgType::Date => Datum::Date(field_i32(bytes)?),
        PgType::Time => Datum::Time(field_i64(bytes)?),
        PgType::Timestamp => Datum::Timestamp(field_i64(bytes)?),
        PgType::TimestampTz => Datum::TimestampTz(field_i64(bytes)?),
        PgType::Numeric => Datum::Numeric(Numeric::from_sortable(bytes)?),
        PgType::Interval => Datum::Interval(Interval::from_sortable(bytes)?),
        PgType::TimeTz => Datum::TimeTz(TimeTz::from_sortable(bytes)?),
        PgType::Jsonb => Datum::Jsonb(Arc::from(field_str(bytes)?)),
        PgType::Bytea => Datum::Bytea(Arc::from(bytes)),
        PgType::Uuid => Datum::Uuid(fixed(bytes)?),
        PgType::Record => {
            let mut fields = Vec::new();
            while !bytes.is_empty() {
                let ty = PgType::from_oid(take_u32(&mut bytes)?).ok_or_else(corrupt)?;
                fields.push((ty, take_part(ty, &mut bytes, depth)?));
            }
            Datum::record(fields, None)
        }
        // Only in records, such as ROW(pg_sleep(1)).
        PgType::Void => Datum::text(field_str(bytes)?),
        ty if ty.is_oid_like() => Datum::Oid(field_u32(bytes)?),
        ty if ty.element().is_some() => {
            let element = PgType::from_oid(take_u32(&mut bytes)?).ok_or_else(corrupt)?;
            let mut values = Vec::new();
            while !bytes.is_empty() {
                values.push(take_part(element, &mut bytes, depth)?);
            }
            Datum::Array(Arc::new(ArrayDatum { element, values }))
        }
        _ => Datum::Text(Arc::from(field_str(bytes)?)),
    })
}

#[cfg(test)]
mod tests;
