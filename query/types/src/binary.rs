//! Binary form of every type: exactly what Postgres's `…send` and `…recv` functions exchange. All numbers are big-endian.

use std::sync::Arc;

use bytes::BufMut;

use crate::datetime::{MICROS_PER_DAY, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS, in_range};
use crate::{ArrayDatum, Datum, Error, ErrorKind, Interval, Numeric, PgType, Result, TimeTz, json, utf8};

/// Version byte in front of a jsonb.
const JSONB_VERSION: u8 = 1;
/// Most dimensions that Postgres allows; more than one we refuse.
const MAX_DIMENSIONS: i32 = 6;
/// Nesting of records and arrays that decoding follows.
const MAX_DEPTH: u32 = 16;
/// Said of a value with more bytes than its type has.
const TOO_LONG: &str = "incorrect binary data format";
/// Largest displacement of a timetz, seconds.
const MAX_ZONE_SECONDS: u32 = 15 * 3600 + 59 * 60 + 59;

fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidBinaryRepresentation, message)
}

/// What ends too early is a broken message to Postgres; what goes on too long is a value in a wrong format.
pub(crate) fn insufficient() -> Error {
    Error::new(ErrorKind::ProtocolViolation, "insufficient data left in message")
}

fn fixed<const N: usize>(mut bytes: &[u8]) -> Result<[u8; N]> {
    let value = take(&mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(malformed(TOO_LONG)) }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or_else(insufficient)?;
    *bytes = rest;
    Ok(*head)
}

fn take_i32(bytes: &mut &[u8]) -> Result<i32> {
    take(bytes).map(i32::from_be_bytes)
}

/// A length-prefixed part; `None` for NULL.
fn take_part<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    let length = take_i32(bytes)?;
    if length == -1 {
        return Ok(None);
    }
    let (part, rest) = usize::try_from(length).ok().and_then(|n| bytes.split_at_checked(n)).ok_or_else(insufficient)?;
    *bytes = rest;
    Ok(Some(part))
}

fn overflow(message: &str) -> Error {
    Error::new(ErrorKind::DatetimeFieldOverflow, message)
}

fn timestamp(bytes: &[u8]) -> Result<i64> {
    let value = i64::from_be_bytes(fixed(bytes)?);
    if value == i64::MAX || value == i64::MIN {
        return Ok(value);
    }
    value.checked_add(POSTGRES_EPOCH_MICROS).filter(|t| in_range(*t)).ok_or_else(|| overflow("timestamp out of range"))
}

fn time(micros: i64) -> Result<i64> {
    if (0..=MICROS_PER_DAY).contains(&micros) { Ok(micros) } else { Err(overflow("time out of range")) }
}

fn array(ty: PgType, mut bytes: &[u8], depth: u32) -> Result<Datum> {
    let element = ty.element().unwrap_or(PgType::Unknown);
    let dimensions = take_i32(&mut bytes)?;
    let flags = take_i32(&mut bytes)?;
    let oid = u32::from_be_bytes(take(&mut bytes)?);
    if dimensions < 0 {
        return Err(malformed(format!("invalid number of dimensions: {dimensions}")));
    }
    if dimensions > MAX_DIMENSIONS {
        return Err(Error::new(
            ErrorKind::ProgramLimitExceeded,
            format!("number of array dimensions ({dimensions}) exceeds the maximum allowed ({MAX_DIMENSIONS})"),
        ));
    }
    if !(0..=1).contains(&flags) {
        return Err(malformed("invalid array flags"));
    }
    if oid != element.oid() {
        return Err(malformed(format!(
            "binary data has array element type {oid} instead of expected {}",
            element.oid()
        )));
    }
    if dimensions > 1 {
        return Err(Error::unsupported("an array of several dimensions"));
    }
    let mut values = Vec::new();
    if dimensions == 1 {
        let count = take_i32(&mut bytes)?;
        let lower = take_i32(&mut bytes)?;
        let vector = matches!(ty, PgType::Int2Vector | PgType::OidVector);
        if count > 0 && lower != 1 && !(vector && lower == 0) {
            return Err(Error::unsupported("an array with a lower bound other than 1"));
        }
        if count < 0 {
            return Err(malformed("invalid array size"));
        }
        for _ in 0..count {
            values.push(match take_part(&mut bytes)? {
                Some(part) => decode(element, part, depth + 1)?,
                None => Datum::Null,
            });
        }
    }
    if !bytes.is_empty() {
        return Err(malformed(TOO_LONG));
    }
    Ok(Datum::Array(Arc::new(ArrayDatum { element, values })))
}

fn record(mut bytes: &[u8], depth: u32) -> Result<Datum> {
    let count = take_i32(&mut bytes)?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let oid = u32::from_be_bytes(take(&mut bytes)?);
        let ty = PgType::from_oid(oid).ok_or_else(|| malformed(format!("unknown type {oid}")))?;
        let value = match take_part(&mut bytes)? {
            Some(part) => decode(ty, part, depth + 1)?,
            None => Datum::Null,
        };
        fields.push((ty, value));
    }
    if !bytes.is_empty() {
        return Err(malformed(TOO_LONG));
    }
    Ok(Datum::record(fields, None))
}

fn decode(ty: PgType, mut bytes: &[u8], depth: u32) -> Result<Datum> {
    if depth > MAX_DEPTH {
        return Err(malformed("values are nested too deeply"));
    }
    Ok(match ty {
        PgType::Bool if bytes.is_empty() => {
            return Err(Error::new(ErrorKind::ProtocolViolation, "no data left in message"));
        }
        PgType::Bool => Datum::Bool(fixed::<1>(bytes)?[0] != 0),
        PgType::Int2 => Datum::Int2(i16::from_be_bytes(fixed(bytes)?)),
        PgType::Int4 => Datum::Int4(i32::from_be_bytes(fixed(bytes)?)),
        PgType::Int8 => Datum::Int8(i64::from_be_bytes(fixed(bytes)?)),
        PgType::Float4 => Datum::Float4(f32::from_be_bytes(fixed(bytes)?)),
        PgType::Float8 => Datum::Float8(f64::from_be_bytes(fixed(bytes)?)),
        PgType::Numeric => Datum::Numeric(Numeric::from_binary(bytes)?),
        PgType::Bytea => Datum::Bytea(Arc::from(bytes)),
        PgType::Uuid => Datum::Uuid(fixed(bytes)?),
        PgType::Date => match i32::from_be_bytes(fixed(bytes)?) {
            special @ (i32::MAX | i32::MIN) => Datum::Date(special),
            days => Datum::Date(
                crate::datetime::date_in_range(i64::from(days) + i64::from(POSTGRES_EPOCH_DAYS))
                    .ok_or_else(|| overflow("date out of range"))?,
            ),
        },
        PgType::Time => Datum::Time(time(i64::from_be_bytes(fixed(bytes)?))?),
        PgType::TimeTz => {
            let micros = time(i64::from_be_bytes(take(&mut bytes)?))?;
            let zone_seconds_west = i32::from_be_bytes(fixed(bytes)?);
            if zone_seconds_west.unsigned_abs() > MAX_ZONE_SECONDS {
                return Err(Error::new(ErrorKind::InvalidTimeZoneDisplacement, "time zone displacement out of range"));
            }
            Datum::TimeTz(TimeTz { micros, zone_seconds_west })
        }
        PgType::Timestamp => Datum::Timestamp(timestamp(bytes)?),
        PgType::TimestampTz => Datum::TimestampTz(timestamp(bytes)?),
        PgType::Interval => {
            let micros = i64::from_be_bytes(take(&mut bytes)?);
            let days = take_i32(&mut bytes)?;
            let months = i32::from_be_bytes(fixed(bytes)?);
            Datum::Interval(Interval { months, days, micros })
        }
        PgType::Json => {
            let text = utf8(bytes)?;
            json::validate(text)?;
            Datum::text(text)
        }
        PgType::Jsonb => match bytes.split_first() {
            Some((&JSONB_VERSION, rest)) => Datum::Jsonb(Arc::from(json::canonicalize(utf8(rest)?)?)),
            Some((version, _)) => {
                return Err(malformed(format!("unsupported jsonb version number {version}")));
            }
            None => return Err(insufficient()),
        },
        PgType::Record => record(bytes, depth)?,
        PgType::Void => Datum::text(""),
        ty if ty.is_oid_like() => Datum::Oid(u32::from_be_bytes(fixed(bytes)?)),
        ty if ty.element().is_some() => array(ty, bytes, depth)?,
        PgType::Char => Datum::text(utf8(bytes)?.chars().take(1).collect::<String>()),
        _ => Datum::text(utf8(bytes)?),
    })
}

impl Datum {
    /// Binary input.
    ///
    /// # Errors
    /// 22P03 when malformed, 08P01 when too short, the type's own errors for values out of range.
    pub fn from_binary(ty: PgType, bytes: &[u8]) -> Result<Datum> {
        decode(ty, bytes, 0)
    }

    /// As [`Datum::from_binary`], of the parameter with this number, which starts with 1.
    ///
    /// # Errors
    /// As there; the number is in the message where Postgres has it.
    pub fn from_binary_parameter(ty: PgType, bytes: &[u8], number: usize) -> Result<Datum> {
        Datum::from_binary(ty, bytes).map_err(|error| match error.message() {
            TOO_LONG => malformed(format!("{TOO_LONG} in bind parameter {number}")),
            _ => error,
        })
    }

    /// Appends the binary output to a `Vec<u8>` or a `BytesMut`; NULL appends nothing.
    ///
    /// # Errors
    /// 54000 for a part of 2 GiB or more.
    pub fn write_binary<B>(&self, ty: PgType, out: &mut B) -> Result<()>
    where
        B: BufMut + AsMut<[u8]>,
    {
        match self {
            Datum::Null => {}
            Datum::Bool(v) => out.put_u8(u8::from(*v)),
            Datum::Int2(v) => out.put_slice(&v.to_be_bytes()),
            Datum::Int4(v) => out.put_slice(&v.to_be_bytes()),
            Datum::Int8(v) | Datum::Time(v) => out.put_slice(&v.to_be_bytes()),
            Datum::Oid(v) => out.put_slice(&v.to_be_bytes()),
            Datum::Float4(v) => out.put_slice(&v.to_be_bytes()),
            Datum::Float8(v) => out.put_slice(&v.to_be_bytes()),
            Datum::Numeric(v) => v.write_binary(out),
            Datum::Text(v) if ty == PgType::Char => {
                out.put_u8(v.as_bytes().first().copied().unwrap_or(0));
            }
            Datum::Text(v) => out.put_slice(v.as_bytes()),
            Datum::Jsonb(v) => {
                out.put_u8(JSONB_VERSION);
                out.put_slice(v.as_bytes());
            }
            Datum::Bytea(v) => out.put_slice(v),
            Datum::Uuid(v) => out.put_slice(v),
            Datum::Date(v) => {
                let days = match *v {
                    i32::MAX | i32::MIN => *v,
                    days => days.saturating_sub(POSTGRES_EPOCH_DAYS),
                };
                out.put_slice(&days.to_be_bytes());
            }
            Datum::Timestamp(v) | Datum::TimestampTz(v) => {
                let micros = match *v {
                    i64::MAX | i64::MIN => *v,
                    micros => micros.saturating_sub(POSTGRES_EPOCH_MICROS),
                };
                out.put_slice(&micros.to_be_bytes());
            }
            Datum::TimeTz(v) => {
                out.put_slice(&v.micros.to_be_bytes());
                out.put_slice(&v.zone_seconds_west.to_be_bytes());
            }
            Datum::Interval(v) => {
                out.put_slice(&v.micros.to_be_bytes());
                out.put_slice(&v.days.to_be_bytes());
                out.put_slice(&v.months.to_be_bytes());
            }
            Datum::Array(array) => {
                let vector = matches!(ty, PgType::Int2Vector | PgType::OidVector);
                let empty = array.values.is_empty() && !vector;
                let nulls = array.values.iter().any(Datum::is_null);
                out.put_slice(&i32::from(!empty).to_be_bytes());
                out.put_slice(&i32::from(nulls).to_be_bytes());
                out.put_slice(&array.element.oid().to_be_bytes());
                if !empty {
                    out.put_slice(&length(array.values.len())?.to_be_bytes());
                    out.put_slice(&i32::from(!vector).to_be_bytes());
                }
                for value in &array.values {
                    write_part(value, array.element, out)?;
                }
            }
            Datum::Record(fields) => {
                out.put_slice(&length(fields.len())?.to_be_bytes());
                for (ty, value) in fields.iter() {
                    out.put_slice(&ty.oid().to_be_bytes());
                    write_part(value, *ty, out)?;
                }
            }
        }
        Ok(())
    }
}

fn length(n: usize) -> Result<i32> {
    i32::try_from(n).map_err(|_| Error::new(ErrorKind::ProgramLimitExceeded, "value is too large"))
}

fn write_part<B>(value: &Datum, ty: PgType, out: &mut B) -> Result<()>
where
    B: BufMut + AsMut<[u8]>,
{
    let at = out.as_mut().len();
    out.put_slice(&(-1i32).to_be_bytes());
    if !value.is_null() {
        value.write_binary(ty, out)?;
        let n = length(out.as_mut().len() - at - 4)?;
        out.as_mut()[at..at + 4].copy_from_slice(&n.to_be_bytes());
    }
    Ok(())
}
