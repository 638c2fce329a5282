//! Type names of the AST to our types.

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, IntervalFields, ObjectName, ObjectNamePart,
    TimezoneInfo,
};
use stratos_types::{ColumnType, Error, ErrorKind, PgType, Result};

use super::scope::fold_ident;

/// Longest `varchar(n)` and `char(n)`, characters (`MaxAttrSize` of Postgres).
const MAX_CHAR_LENGTH: u64 = 10_485_760;
/// Most digits of `numeric(p,s)`.
const MAX_NUMERIC_PRECISION: u64 = 1000;
/// Digits after the second's point.
const MAX_TIME_PRECISION: u64 = 6;

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

/// `text`, `varchar(10)`, `int[]`, `pg_catalog.regclass`, … as a type with modifier.
///
/// # Errors
/// 42704 for a type that does not exist, 22023 for a bad modifier, 0A000 for one that is not supported.
pub fn column_type(ty: &DataType) -> Result<ColumnType> {
    let is = |t: PgType| Ok(ColumnType::from(t));
    match ty {
        DataType::Boolean | DataType::Bool => is(PgType::Bool),
        DataType::SmallInt(None) | DataType::Int2(None) => is(PgType::Int2),
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => is(PgType::Int4),
        DataType::BigInt(None) | DataType::Int8(None) => is(PgType::Int8),
        DataType::Real | DataType::Float4 => is(PgType::Float4),
        DataType::DoublePrecision | DataType::Float8 => is(PgType::Float8),
        DataType::Float(ExactNumberInfo::None) => is(PgType::Float8),
        DataType::Float(ExactNumberInfo::Precision(p)) => match p {
            0 => Err(invalid("precision for type float must be at least 1 bit".into())),
            1..=24 => is(PgType::Float4),
            25..=53 => is(PgType::Float8),
            _ => Err(invalid("precision for type float must be less than 54 bits".into())),
        },
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(*info),
        DataType::Text => is(PgType::Text),
        DataType::Varchar(n) | DataType::CharacterVarying(n) | DataType::CharVarying(n) => {
            character(PgType::Varchar, *n, None)
        }
        DataType::Char(n) | DataType::Character(n) => character(PgType::Bpchar, *n, Some(1)),
        DataType::Uuid => is(PgType::Uuid),
        DataType::Bytea => is(PgType::Bytea),
        DataType::JSON => is(PgType::Json),
        DataType::JSONB => is(PgType::Jsonb),
        DataType::Regclass => is(PgType::Regclass),
        DataType::Date => is(PgType::Date),
        DataType::Time(p, zone) => time(
            match zone {
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => PgType::TimeTz,
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => PgType::Time,
            },
            *p,
        ),
        DataType::Timestamp(p, zone) => time(
            match zone {
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => PgType::TimestampTz,
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => PgType::Timestamp,
            },
            *p,
        ),
        DataType::Interval { fields, precision } => interval(fields.as_ref(), *precision),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            let element = column_type(element)?;
            // `int[][]` is the same type as `int[]`.
            if element.ty.element().is_some() {
                return Ok(element);
            }
            let ty = element.ty.array().ok_or_else(|| Error::unsupported(format!("array of {}", element.ty)))?;
            Ok(ColumnType { ty, typmod: element.typmod })
        }
        DataType::Custom(name, modifiers) => custom(name, modifiers),
        other => Err(missing(&other.to_string().to_lowercase())),
    }
}

/// Types of Postgres that are not here.
const NOT_HERE: &[&str] = &[
    "hstore",
    "bit",
    "varbit",
    "money",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "xml",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
    "tsvector",
    "tsquery",
    "jsonpath",
    "pg_lsn",
    "pg_snapshot",
    "txid_snapshot",
    "refcursor",
    "tid",
    "cid",
    "xid8",
    "regoper",
    "regoperator",
    "regprocedure",
    "regconfig",
    "regdictionary",
    "regcollation",
];

/// That there is no type with a name, which may have modifiers behind it: 0A000 for one of Postgres's, else 42704.
pub(crate) fn missing(name: &str) -> Error {
    let base = name.split(['(', ' ']).next().unwrap_or(name);
    if NOT_HERE.contains(&base) {
        return Error::unsupported(format!("type {name}"));
    }
    Error::new(ErrorKind::UndefinedObject, format!("type \"{name}\" does not exist"))
}

fn numeric(info: ExactNumberInfo) -> Result<ColumnType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(PgType::Numeric.into()),
        ExactNumberInfo::Precision(p) => (p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (p, s),
    };
    if !(1..=MAX_NUMERIC_PRECISION).contains(&precision) {
        return Err(invalid(format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(invalid(format!("NUMERIC scale {scale} must be between -1000 and 1000")));
    }
    let (Ok(precision), Ok(scale)) = (u32::try_from(precision), i32::try_from(scale)) else {
        return Err(Error::internal("numeric modifier out of bounds"));
    };
    Ok(ColumnType { ty: PgType::Numeric, typmod: ColumnType::numeric_typmod(precision, scale) })
}

fn character(ty: PgType, length: Option<CharacterLength>, default: Option<u64>) -> Result<ColumnType> {
    let n = match length {
        None => default,
        Some(CharacterLength::IntegerLength { length, unit: None }) => Some(length),
        Some(CharacterLength::IntegerLength { .. } | CharacterLength::Max) => {
            return Err(Error::unsupported("length unit of a character type"));
        }
    };
    let Some(n) = n else { return Ok(ty.into()) };
    let name = if ty == PgType::Varchar { "varchar" } else { "char" };
    if n == 0 {
        return Err(invalid(format!("length for type {name} must be at least 1")));
    }
    if n > MAX_CHAR_LENGTH {
        return Err(invalid(format!("length for type {name} cannot exceed {MAX_CHAR_LENGTH}")));
    }
    Ok(ColumnType { ty, typmod: i32::try_from(n).unwrap_or(i32::MAX - 4) + 4 })
}

fn time(ty: PgType, precision: Option<u64>) -> Result<ColumnType> {
    // Postgres clamps with a warning.
    let typmod = precision.map_or(-1, |p| i32::try_from(p.min(MAX_TIME_PRECISION)).unwrap_or(-1));
    Ok(ColumnType { ty, typmod })
}

/// `INTERVAL_MASK` bits of `timestamp.h`.
fn interval(fields: Option<&IntervalFields>, precision: Option<u64>) -> Result<ColumnType> {
    let (year, month, day, hour, minute, second): (i32, i32, i32, i32, i32, i32) =
        (1 << 2, 1 << 1, 1 << 3, 1 << 10, 1 << 11, 1 << 12);
    let range = match fields {
        None => 0x7fff,
        Some(f) => match f {
            IntervalFields::Year => year,
            IntervalFields::Month => month,
            IntervalFields::Day => day,
            IntervalFields::Hour => hour,
            IntervalFields::Minute => minute,
            IntervalFields::Second => second,
            IntervalFields::YearToMonth => year | month,
            IntervalFields::DayToHour => day | hour,
            IntervalFields::DayToMinute => day | hour | minute,
            IntervalFields::DayToSecond => day | hour | minute | second,
            IntervalFields::HourToMinute => hour | minute,
            IntervalFields::HourToSecond => hour | minute | second,
            IntervalFields::MinuteToSecond => minute | second,
        },
    };
    if fields.is_none() && precision.is_none() {
        return Ok(PgType::Interval.into());
    }
    let precision = precision.map_or(0xffff, |p| i32::try_from(p.min(MAX_TIME_PRECISION)).unwrap_or(0xffff));
    Ok(ColumnType { ty: PgType::Interval, typmod: (range << 16) | precision })
}

/// Whether it is the grammar's other word for `character`.
pub(crate) fn is_nchar(name: &ObjectName) -> bool {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(word)] => word.quote_style.is_none() && word.value.eq_ignore_ascii_case("nchar"),
        _ => false,
    }
}

fn custom(name: &ObjectName, modifiers: &[String]) -> Result<ColumnType> {
    let mut parts = Vec::new();
    for part in &name.0 {
        match part {
            ObjectNamePart::Identifier(ident) => parts.push(ident),
            ObjectNamePart::Function(_) => return Err(Error::unsupported("computed type name")),
        }
    }
    let (schema, last) = match parts.as_slice() {
        [last] => (None, *last),
        [schema, last] => (Some(fold_ident(schema)), *last),
        _ => {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                format!("improper type name (too many dotted names): {name}"),
            ));
        }
    };
    let own = fold_ident(last);
    if schema.as_deref().is_some_and(|s| s != "pg_catalog") {
        return Err(missing(&format!("{}.{own}", schema.unwrap_or_default())));
    }
    let ty = if last.quote_style.is_some() && own == "char" {
        PgType::Char
    } else if is_nchar(name) {
        PgType::Bpchar
    } else {
        PgType::from_name(&own).ok_or_else(|| missing(&own))?
    };
    let numbers: Vec<u64> = modifiers
        .iter()
        .map(|m| m.parse().map_err(|_| invalid(format!("invalid type modifier: {m}"))))
        .collect::<Result<_>>()?;
    match (ty, numbers.as_slice()) {
        (PgType::Bpchar, []) if schema.is_none() && matches!(own.as_str(), "char" | "nchar") => {
            character(PgType::Bpchar, None, Some(1))
        }
        (ty, []) => Ok(ty.into()),
        (PgType::Varchar | PgType::Bpchar, [n]) => {
            character(ty, Some(CharacterLength::IntegerLength { length: *n, unit: None }), None)
        }
        (PgType::Numeric, [p]) => numeric(ExactNumberInfo::Precision(*p)),
        (PgType::Numeric, [p, s]) => {
            numeric(ExactNumberInfo::PrecisionAndScale(*p, i64::try_from(*s).unwrap_or(i64::MAX)))
        }
        (PgType::Time | PgType::TimeTz | PgType::Timestamp | PgType::TimestampTz, [p]) => time(ty, Some(*p)),
        _ => Err(Error::new(ErrorKind::SyntaxError, format!("type modifier is not allowed for type \"{own}\""))),
    }
}
