//! Text form of every type, in and out.

mod array;
mod float;
mod int;
mod scalar;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};

use crate::cast::fit_string;
use crate::datetime::{interval, parse, print};
use crate::{ByteaOutput, ColumnType, Datum, Error, FormatOptions, Numeric, PgType, Result, json};

use int::Decimal;

pub use float::{float4_text, float8_text};

impl Datum {
    /// Text input of a type, with its modifier applied as on assignment of a literal. `now` in dates is the machine's clock:
    /// sessions give their transaction's through [`Datum::from_text_at`].
    ///
    /// # Errors
    /// As Postgres's input function of the type.
    pub fn from_text(ty: ColumnType, input: &str, options: &FormatOptions) -> Result<Datum> {
        // Reading the clock costs more than parsing a number.
        let now = match ty.ty {
            PgType::Date
            | PgType::Time
            | PgType::TimeTz
            | PgType::Timestamp
            | PgType::TimestampTz
            | PgType::Array(_) => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)),
            _ => 0,
        };
        Datum::from_text_at(ty, input, options, now)
    }

    /// The same, with the instant that `now` and `today` mean: microseconds since the Unix epoch.
    ///
    /// # Errors
    /// As Postgres's input function of the type.
    pub fn from_text_at(ty: ColumnType, input: &str, options: &FormatOptions, now_micros: i64) -> Result<Datum> {
        let typmod = ty.typmod;
        Ok(match ty.ty {
            PgType::Bool => Datum::Bool(scalar::parse_bool(input)?),
            PgType::Int2 => Datum::Int2(scalar::parse_int(input, "smallint")?),
            PgType::Int4 => Datum::Int4(scalar::parse_int(input, "integer")?),
            PgType::Int8 => Datum::Int8(scalar::parse_int(input, "bigint")?),
            PgType::Float4 => Datum::Float4(float::parse_float4(input)?),
            PgType::Float8 => Datum::Float8(float::parse_float8(input)?),
            PgType::Numeric => {
                let value = Numeric::parse(input)?;
                Datum::Numeric(match ty.numeric_precision_scale() {
                    Some((precision, scale)) => value.with_precision(precision, scale)?,
                    None => value,
                })
            }
            PgType::Bytea => Datum::Bytea(Arc::from(scalar::parse_bytea(input)?)),
            PgType::Date => Datum::Date(parse::parse_date(input, options, now_micros)?),
            PgType::Time => Datum::Time(parse::parse_time(input, typmod, options, now_micros)?),
            PgType::TimeTz => Datum::TimeTz(parse::parse_timetz(input, typmod, options, now_micros)?),
            PgType::Timestamp => Datum::Timestamp(parse::parse_timestamp(input, typmod, options, now_micros)?),
            PgType::TimestampTz => Datum::TimestampTz(parse::parse_timestamptz(input, typmod, options, now_micros)?),
            PgType::Interval => Datum::Interval(interval::parse_interval(input, typmod, options)?),
            PgType::Uuid => Datum::Uuid(scalar::parse_uuid(input)?),
            PgType::Json => {
                json::validate(input)?;
                Datum::text(input)
            }
            PgType::Jsonb => Datum::Jsonb(Arc::from(json::canonicalize(input)?)),
            PgType::Record => {
                return Err(Error::new(
                    crate::ErrorKind::FeatureNotSupported,
                    "input of anonymous composite types is not implemented",
                ));
            }
            PgType::Void => Datum::text(""),
            PgType::Oid => Datum::Oid(scalar::parse_oid(input, "oid")?),
            PgType::Xid => Datum::Oid(scalar::parse_oid(input, "xid")?),
            reg if reg.is_oid_like() => match input.trim() {
                "-" => Datum::Oid(0),
                number => Datum::Oid(
                    number.parse().map_err(|_| Error::internal(format!("a name as {reg} needs the catalog")))?,
                ),
            },
            vector @ (PgType::Int2Vector | PgType::OidVector) => {
                let element = vector.element().unwrap_or(PgType::Int2);
                let values = input
                    .split_ascii_whitespace()
                    .map(|part| Datum::from_text_at(element.into(), part, options, now_micros))
                    .collect::<Result<Vec<_>>>()?;
                Datum::Array(Arc::new(crate::ArrayDatum { element, values }))
            }
            PgType::Array(element) => {
                let element = PgType::from(element);
                let column = ColumnType { ty: element, typmod };
                let values = array::split(input)?
                    .into_iter()
                    .map(|part| match part {
                        Some(text) => Datum::from_text_at(column, &text, options, now_micros),
                        None => Ok(Datum::Null),
                    })
                    .collect::<Result<Vec<_>>>()?;
                Datum::Array(Arc::new(crate::ArrayDatum { element, values }))
            }
            _ => return fit_string(Arc::from(input), ty, false),
        })
    }

    /// The text output; empty for NULL.
    pub fn to_text(&self, ty: PgType, options: &FormatOptions) -> String {
        let mut out = String::new();
        self.write_text(ty, options, &mut out);
        out
    }

    /// Appends the text output; NULL appends nothing.
    pub fn write_text(&self, ty: PgType, options: &FormatOptions, out: &mut String) {
        use std::fmt::Write;
        match self {
            Datum::Null => {}
            Datum::Bool(v) => out.push(if *v { 't' } else { 'f' }),
            Datum::Int2(v) => Decimal::new(i64::from(*v)).push_to(out),
            Datum::Int4(v) => Decimal::new(i64::from(*v)).push_to(out),
            Datum::Int8(v) => Decimal::new(*v).push_to(out),
            Datum::Oid(v) => Decimal::new(i64::from(*v)).push_to(out),
            // Writing into a String cannot fail.
            Datum::Numeric(v) => write!(out, "{v}").unwrap_or_default(),
            Datum::Float4(v) => out.push_str(&float4_text(*v, options.extra_float_digits)),
            Datum::Float8(v) => out.push_str(&float8_text(*v, options.extra_float_digits)),
            Datum::Text(v) | Datum::Jsonb(v) => out.push_str(v),
            Datum::Bytea(v) => scalar::write_bytea(out, v, options.bytea_output),
            Datum::Date(v) => print::write_date(out, *v, options),
            Datum::Time(v) => print::write_time(out, *v),
            Datum::TimeTz(v) => print::write_timetz(out, *v),
            Datum::Timestamp(v) => print::write_timestamp(out, *v, options),
            Datum::TimestampTz(v) => print::write_timestamptz(out, *v, options),
            Datum::Interval(v) => print::write_interval(out, *v, options),
            Datum::Uuid(v) => {
                write!(out, "{}", uuid::Uuid::from_bytes(*v)).unwrap_or_default();
            }
            Datum::Array(v) if matches!(ty, PgType::Int2Vector | PgType::OidVector) => {
                for (i, element) in v.values.iter().enumerate() {
                    if i > 0 {
                        out.push(' ');
                    }
                    element.write_text(v.element, options, out);
                }
            }
            Datum::Array(v) => array::write(out, v, options),
            Datum::Record(fields) => array::write_record(out, fields, options),
        }
    }
}

impl Datum {
    /// Appends the text output as UTF-8; NULL appends nothing.
    pub fn write_text_bytes(&self, ty: PgType, options: &FormatOptions, out: &mut BytesMut) {
        use std::fmt::Write;
        match self {
            Datum::Null => {}
            Datum::Bool(v) => out.put_u8(if *v { b't' } else { b'f' }),
            Datum::Int2(v) => out.put_slice(Decimal::new(i64::from(*v)).bytes()),
            Datum::Int4(v) => out.put_slice(Decimal::new(i64::from(*v)).bytes()),
            Datum::Int8(v) => out.put_slice(Decimal::new(*v).bytes()),
            Datum::Oid(v) => out.put_slice(Decimal::new(i64::from(*v)).bytes()),
            Datum::Text(v) | Datum::Jsonb(v) => out.put_slice(v.as_bytes()),
            // A BytesMut grows as it is written to.
            Datum::Numeric(v) => write!(out, "{v}").unwrap_or_default(),
            other => out.put_slice(other.to_text(ty, options).as_bytes()),
        }
    }
}

// Also useful without a datum: `encode` and COPY.
impl ByteaOutput {
    /// The text form of `bytes`.
    pub fn format(self, bytes: &[u8]) -> String {
        let mut out = String::new();
        scalar::write_bytea(&mut out, bytes, self);
        out
    }
}
