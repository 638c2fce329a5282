//! Casts between types: which exist, when Postgres applies them unasked, and what they do.

use std::sync::Arc;

use crate::datetime::arith::{
    date_to_timestamp, date_to_timestamptz, timestamp_round, timestamp_to_date, timestamp_to_timestamptz,
    timestamptz_to_date, timestamptz_to_timestamp,
};
use crate::datetime::interval::interval_typmod;
use crate::datetime::zone::offset_seconds;
use crate::datetime::{MICROS_PER_DAY, MICROS_PER_SECOND, parse::round_time};
use crate::{
    ArrayDatum, ColumnType, Datum, Error, ErrorKind, FormatOptions, Interval, Numeric, PgType, Result, TimeTz,
    TypeCategory, json,
};

/// When Postgres applies a cast by itself (`pg_cast.castcontext`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    /// Only where written.
    Explicit,
    /// Also on assignment to a column.
    Assignment,
    /// Anywhere.
    Implicit,
}

/// Longest `name`, bytes.
const NAME_MAX_BYTES: usize = 63;

/// Whether a cast exists, and when it applies: `pg_cast`, arrays by their elements, and text forms (to string types on
/// assignment, from string types when written). The same type is implicit; so is anything from `unknown`.
pub fn cast_kind(from: PgType, to: PgType) -> Option<CastContext> {
    use CastContext::{Assignment, Explicit, Implicit};
    use PgType as T;
    if from == to || from == T::Unknown {
        return Some(Implicit);
    }
    let reg = |t: T| t.is_oid_like() && !matches!(t, T::Oid | T::Xid);
    let listed = match (from, to) {
        (T::Bool, T::Int4) | (T::Int4, T::Bool | T::Char) | (T::Char, T::Int4) => Some(Explicit),
        (T::Bool, T::Text | T::Varchar | T::Bpchar) => Some(Assignment),
        (T::Char, T::Text) => Some(Implicit),
        (T::Char, T::Varchar | T::Bpchar) => Some(Assignment),
        (T::Name, T::Text) => Some(Implicit),
        (T::Name, T::Varchar | T::Bpchar) => Some(Assignment),
        (T::Text | T::Varchar | T::Bpchar, T::Char) => Some(Assignment),
        (T::Text | T::Varchar | T::Bpchar, T::Text | T::Varchar | T::Bpchar | T::Name) => Some(Implicit),
        (T::Text | T::Varchar, T::Regclass) => Some(Implicit),
        (T::PgNodeTree, T::Text) => Some(Implicit),
        (T::Int2, T::Int4 | T::Int8) | (T::Int4, T::Int8) => Some(Implicit),
        (T::Int2 | T::Int4 | T::Int8, T::Numeric | T::Float4 | T::Float8 | T::Oid) => Some(Implicit),
        (T::Int2 | T::Int4 | T::Int8, to) if reg(to) => Some(Implicit),
        (T::Int8, T::Int2 | T::Int4) | (T::Int4, T::Int2) => Some(Assignment),
        (T::Oid, T::Int4 | T::Int8) => Some(Assignment),
        (T::Oid, to) if reg(to) => Some(Implicit),
        (from, T::Oid) if reg(from) => Some(Implicit),
        (from, T::Int4 | T::Int8) if reg(from) => Some(Assignment),
        (T::Float4, T::Float8) => Some(Implicit),
        (T::Float4 | T::Float8, T::Int2 | T::Int4 | T::Int8 | T::Numeric) => Some(Assignment),
        (T::Float8, T::Float4) => Some(Assignment),
        (T::Numeric, T::Float4 | T::Float8) => Some(Implicit),
        (T::Numeric, T::Int2 | T::Int4 | T::Int8) => Some(Assignment),
        (T::Date, T::Timestamp | T::TimestampTz) => Some(Implicit),
        (T::Time, T::Interval | T::TimeTz) => Some(Implicit),
        (T::Timestamp, T::TimestampTz) => Some(Implicit),
        (T::Timestamp, T::Date | T::Time) => Some(Assignment),
        (T::TimestampTz, T::Date | T::Time | T::Timestamp | T::TimeTz) => Some(Assignment),
        (T::Interval, T::Time) | (T::TimeTz, T::Time) => Some(Assignment),
        (T::Json, T::Jsonb) | (T::Jsonb, T::Json) => Some(Assignment),
        (T::Jsonb, T::Bool | T::Int2 | T::Int4 | T::Int8 | T::Float4 | T::Float8 | T::Numeric) => Some(Explicit),
        _ => None,
    };
    if listed.is_some() {
        return listed;
    }
    if let (T::Array(a), T::Array(b)) = (from, to) {
        return cast_kind(a.into(), b.into());
    }
    if let (T::Int2Vector | T::OidVector, T::Array(to)) = (from, to)
        && let Some(element) = from.element()
    {
        return cast_kind(element, to.into());
    }
    if to.category() == TypeCategory::String {
        Some(Assignment)
    } else if from.category() == TypeCategory::String {
        Some(Explicit)
    } else {
        None
    }
}

/// Padding, appended in pieces: a character at a time would cost more than the rest of a load's row.
const SPACES: &str = "                                                                ";

/// A string as a value of a string type, its length checked: excess blanks are cut, other excess is an error (22001)
/// unless the cast is explicit. `char(n)` is padded.
pub(crate) fn fit_string(text: Arc<str>, ty: ColumnType, explicit: bool) -> Result<Datum> {
    match ty.ty {
        PgType::Name if text.len() > NAME_MAX_BYTES => {
            let mut end = NAME_MAX_BYTES;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            return Ok(Datum::text(&text[..end]));
        }
        PgType::Char => {
            return Ok(match text.as_bytes() {
                // A byte beyond ASCII, as it prints.
                [b'\\', b'0'..=b'3', b'0'..=b'7', b'0'..=b'7'] => Datum::Text(text),
                _ => Datum::text(text.chars().take(1).collect::<String>()),
            });
        }
        _ => {}
    }
    let Some(limit) = ty.char_length() else {
        return Ok(Datum::Text(text));
    };
    // No string has more characters than bytes.
    if ty.ty == PgType::Varchar && text.len() <= limit {
        return Ok(Datum::Text(text));
    }
    let mut chars = 0;
    let mut cut = None;
    for (i, (at, _)) in text.char_indices().enumerate() {
        if i == limit {
            cut = Some(at);
            break;
        }
        chars = i + 1;
    }
    if let Some(cut) = cut {
        if !explicit && text[cut..].bytes().any(|b| b != b' ') {
            return Err(Error::new(ErrorKind::StringDataRightTruncation, format!("value too long for type {ty}")));
        }
        return Ok(Datum::text(&text[..cut]));
    }
    if ty.ty == PgType::Bpchar && chars < limit {
        let mut padded = String::with_capacity(text.len() + limit - chars);
        padded.push_str(&text);
        for _ in 0..(limit - chars) / SPACES.len() {
            padded.push_str(SPACES);
        }
        padded.push_str(&SPACES[..(limit - chars) % SPACES.len()]);
        return Ok(Datum::text(padded));
    }
    Ok(Datum::Text(text))
}

/// Applies the modifier of a type to a value of it.
///
/// # Errors
/// 22001, 22003 as the type says.
pub fn apply_typmod(value: Datum, ty: ColumnType, explicit: bool) -> Result<Datum> {
    if ty.typmod < 0 {
        return match value {
            Datum::Text(text) if matches!(ty.ty, PgType::Name | PgType::Char) => fit_string(text, ty, explicit),
            other => Ok(other),
        };
    }
    Ok(match value {
        Datum::Text(text) => return fit_string(text, ty, explicit),
        Datum::Numeric(n) => Datum::Numeric(match ty.numeric_precision_scale() {
            Some((precision, scale)) => n.with_precision(precision, scale)?,
            None => n,
        }),
        Datum::Timestamp(t) => Datum::Timestamp(timestamp_round(t, ty.time_precision())?),
        Datum::TimestampTz(t) => Datum::TimestampTz(timestamp_round(t, ty.time_precision())?),
        Datum::Time(t) => Datum::Time(round_time(t, ty.time_precision())),
        Datum::TimeTz(t) => Datum::TimeTz(TimeTz { micros: round_time(t.micros, ty.time_precision()), ..t }),
        Datum::Interval(i) => Datum::Interval(interval_typmod(i, ty.typmod)?),
        Datum::Array(array) => {
            let column = ColumnType { ty: array.element, typmod: ty.typmod };
            let values =
                array.values.iter().map(|v| apply_typmod(v.clone(), column, explicit)).collect::<Result<Vec<_>>>()?;
            Datum::Array(Arc::new(ArrayDatum { element: array.element, values }))
        }
        other => other,
    })
}

fn float_to_int(value: f64, low: f64, high: f64, name: &str) -> Result<i64> {
    let rounded = value.round_ties_even();
    // high is exclusive: 2^63 itself is a float, i64::MAX is not
    if rounded.is_nan() || rounded < low || rounded >= high {
        return Err(Error::out_of_range(name));
    }
    Ok(rounded as i64)
}

fn to_int(value: &Datum, bits: u32, name: &str) -> Result<Option<i64>> {
    let half = 2f64.powi(bits as i32 - 1);
    let wide = match value {
        Datum::Int2(v) => i64::from(*v),
        Datum::Int4(v) => i64::from(*v),
        Datum::Int8(v) => *v,
        Datum::Float4(v) => float_to_int(f64::from(*v), -half, half, name)?,
        Datum::Float8(v) => float_to_int(*v, -half, half, name)?,
        Datum::Numeric(v) => match bits {
            16 => i64::from(v.to_i16()?),
            32 => i64::from(v.to_i32()?),
            _ => v.to_i64()?,
        },
        _ => return Ok(None),
    };
    let shift = 64 - bits;
    if wide << shift >> shift != wide {
        return Err(Error::out_of_range(name));
    }
    Ok(Some(wide))
}

fn to_float4(value: f64) -> Result<f32> {
    let narrow = value as f32;
    let range = |what: &str| Error::new(ErrorKind::NumericValueOutOfRange, format!("value out of range: {what}"));
    if narrow.is_infinite() && !value.is_infinite() {
        return Err(range("overflow"));
    }
    if narrow == 0.0 && value != 0.0 {
        return Err(range("underflow"));
    }
    Ok(narrow)
}

fn from_jsonb(text: &str, to: PgType) -> Result<Datum> {
    let kind = json::type_of(text)?;
    match (kind, to) {
        ("boolean", PgType::Bool) => Ok(Datum::Bool(text == "true")),
        ("number", to) if to != PgType::Bool => {
            let number = Datum::Numeric(Numeric::parse(text)?);
            cast(&number, PgType::Numeric, to.into(), true, &FormatOptions::default())
        }
        // "numeric" is what Postgres calls a number here.
        (kind, to) => Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("cannot cast jsonb {} to type {to}", if kind == "number" { "numeric" } else { kind }),
        )),
    }
}

/// Converts a value; NULL stays NULL. `explicit` as written by the user: too long strings are cut silently then.
///
/// # Errors
/// The conversion's own (22003, 22001, 22P02, …); 42846 when there is no such cast; internal for reg* names, which need the
/// catalog and are the caller's.
pub fn cast(value: &Datum, from: PgType, to: ColumnType, explicit: bool, options: &FormatOptions) -> Result<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    let plain = convert(value, from, to, explicit, options)?;
    apply_typmod(plain, to, explicit)
}

fn convert(value: &Datum, from: PgType, to: ColumnType, explicit: bool, options: &FormatOptions) -> Result<Datum> {
    let zone = &options.time_zone;
    let target = to.ty;
    if from == target {
        return Ok(value.clone());
    }
    if let PgType::Array(element) = target
        && let Datum::Array(array) = value
    {
        let column = ColumnType { ty: element.into(), typmod: to.typmod };
        let values = array
            .values
            .iter()
            .map(|v| cast(v, array.element, column, explicit, options))
            .collect::<Result<Vec<_>>>()?;
        return Ok(Datum::Array(Arc::new(ArrayDatum { element: element.into(), values })));
    }
    Ok(match (value, target) {
        (Datum::Text(text), _) if from.is_string() => {
            if target == PgType::Char && from != PgType::Unknown {
                return Ok(Datum::Text(text.clone()));
            }
            if from == PgType::Char && target == PgType::Int4 {
                let byte = text.as_bytes().first().copied().unwrap_or(0);
                return Ok(Datum::Int4(i32::from(byte as i8)));
            }
            if target.is_string() {
                if from == PgType::Bpchar && target != PgType::Bpchar {
                    return Ok(Datum::text(text.trim_end_matches(' ')));
                }
                return Ok(Datum::Text(text.clone()));
            }
            // The modifier of a literal is part of its input; other strings are read first and cut then.
            let ty = if from == PgType::Unknown { to } else { target.into() };
            return Datum::from_text(ty, text, options);
        }
        (Datum::Bool(v), PgType::Int4) => Datum::Int4(i32::from(*v)),
        (Datum::Bool(v), PgType::Text | PgType::Varchar | PgType::Bpchar) => {
            Datum::text(if *v { "true" } else { "false" })
        }
        (Datum::Int4(v), PgType::Bool) => Datum::Bool(*v != 0),
        (Datum::Int4(v), PgType::Char) => {
            let byte = i8::try_from(*v).map_err(|_| Error::out_of_range("\"char\""))? as u8;
            let text: String = match byte {
                0 => String::new(),
                b if b.is_ascii() => char::from(b).to_string(),
                b => format!("\\{b:03o}"),
            };
            Datum::text(text)
        }
        (Datum::Int2(v), t) if t.is_oid_like() => Datum::Oid(i32::from(*v) as u32),
        (Datum::Int4(v), t) if t.is_oid_like() => Datum::Oid(*v as u32),
        (Datum::Int8(v), t) if t.is_oid_like() => {
            Datum::Oid(u32::try_from(*v).map_err(|_| Error::out_of_range("OID"))?)
        }
        (Datum::Oid(v), PgType::Int8) => Datum::Int8(i64::from(*v)),
        (Datum::Oid(v), PgType::Int4) => Datum::Int4(*v as i32),
        (Datum::Oid(v), t) if t.is_oid_like() => Datum::Oid(*v),
        (Datum::Oid(_), t) if t.is_string() && !matches!(from, PgType::Oid | PgType::Xid) => {
            return Err(Error::internal(format!("{from} as {t} needs the catalog")));
        }
        (
            Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Float4(_) | Datum::Float8(_) | Datum::Numeric(_),
            PgType::Int2 | PgType::Int4 | PgType::Int8,
        ) => {
            let (bits, name) = match target {
                PgType::Int2 => (16, "smallint"),
                PgType::Int4 => (32, "integer"),
                _ => (64, "bigint"),
            };
            let n = to_int(value, bits, name)?.unwrap_or_default();
            match target {
                PgType::Int2 => Datum::Int2(n as i16),
                PgType::Int4 => Datum::Int4(n as i32),
                _ => Datum::Int8(n),
            }
        }
        (Datum::Int2(v), PgType::Float4) => Datum::Float4(f32::from(*v)),
        (Datum::Int4(v), PgType::Float4) => Datum::Float4(*v as f32),
        (Datum::Int8(v), PgType::Float4) => Datum::Float4(*v as f32),
        (Datum::Float8(v), PgType::Float4) => Datum::Float4(to_float4(*v)?),
        (Datum::Numeric(v), PgType::Float4) => Datum::Float4(v.to_f32()?),
        (Datum::Int2(v), PgType::Float8) => Datum::Float8(f64::from(*v)),
        (Datum::Int4(v), PgType::Float8) => Datum::Float8(f64::from(*v)),
        (Datum::Int8(v), PgType::Float8) => Datum::Float8(*v as f64),
        (Datum::Float4(v), PgType::Float8) => Datum::Float8(f64::from(*v)),
        (Datum::Numeric(v), PgType::Float8) => Datum::Float8(v.to_f64()?),
        (Datum::Int2(v), PgType::Numeric) => Datum::Numeric(Numeric::from(*v)),
        (Datum::Int4(v), PgType::Numeric) => Datum::Numeric(Numeric::from(*v)),
        (Datum::Int8(v), PgType::Numeric) => Datum::Numeric(Numeric::from(*v)),
        (Datum::Float4(v), PgType::Numeric) => Datum::Numeric(Numeric::from_f32(*v)),
        (Datum::Float8(v), PgType::Numeric) => Datum::Numeric(Numeric::from_f64(*v)),
        (Datum::Date(d), PgType::Timestamp) => Datum::Timestamp(date_to_timestamp(*d)?),
        (Datum::Date(d), PgType::TimestampTz) => Datum::TimestampTz(date_to_timestamptz(*d, zone)?),
        (Datum::Timestamp(t), PgType::Date) => Datum::Date(timestamp_to_date(*t)?),
        (Datum::Timestamp(t), PgType::TimestampTz) => Datum::TimestampTz(timestamp_to_timestamptz(*t, zone)?),
        (Datum::TimestampTz(t), PgType::Date) => Datum::Date(timestamptz_to_date(*t, zone)?),
        (Datum::TimestampTz(t), PgType::Timestamp) => Datum::Timestamp(timestamptz_to_timestamp(*t, zone)?),
        (Datum::Timestamp(i64::MIN | i64::MAX), PgType::Time)
        | (Datum::TimestampTz(i64::MIN | i64::MAX), PgType::Time | PgType::TimeTz) => Datum::Null,
        (Datum::Timestamp(t), PgType::Time) => Datum::Time(t.rem_euclid(MICROS_PER_DAY)),
        (Datum::TimestampTz(t), PgType::Time) => {
            Datum::Time(timestamptz_to_timestamp(*t, zone)?.rem_euclid(MICROS_PER_DAY))
        }
        (Datum::TimestampTz(t), PgType::TimeTz) => Datum::TimeTz(TimeTz {
            micros: timestamptz_to_timestamp(*t, zone)?.rem_euclid(MICROS_PER_DAY),
            zone_seconds_west: -offset_seconds(*t, zone),
        }),
        (Datum::Time(t), PgType::Interval) => Datum::Interval(Interval { micros: *t, ..Interval::default() }),
        (Datum::Time(t), PgType::TimeTz) => {
            // The zone's offset today; a day's start is near enough to find it.
            let now =
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
            Datum::TimeTz(TimeTz {
                micros: *t,
                zone_seconds_west: -offset_seconds(now.saturating_mul(MICROS_PER_SECOND), zone),
            })
        }
        (Datum::TimeTz(t), PgType::Time) => Datum::Time(t.micros),
        (Datum::Interval(i), PgType::Time) => Datum::Time(i.micros.rem_euclid(MICROS_PER_DAY)),
        (Datum::Text(text), PgType::Jsonb) if from == PgType::Json => {
            Datum::Jsonb(Arc::from(json::canonicalize(text)?))
        }
        (Datum::Jsonb(text), PgType::Json) => Datum::Text(text.clone()),
        (
            Datum::Jsonb(text),
            PgType::Bool
            | PgType::Int2
            | PgType::Int4
            | PgType::Int8
            | PgType::Float4
            | PgType::Float8
            | PgType::Numeric,
        ) => return from_jsonb(text, target),
        (_, t) if t.is_string() => Datum::text(value.to_text(from, options)),
        _ => {
            return Err(Error::new(ErrorKind::CannotCoerce, format!("cannot cast type {from} to {target}")));
        }
    })
}
