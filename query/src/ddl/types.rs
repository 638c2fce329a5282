//! From a type as written to a [`ColumnType`].

use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, IntervalFields, TimezoneInfo};
use stratos_types::datetime::interval::interval_fields_typmod;
use stratos_types::{ColumnType, Error, ErrorKind, PgType, Result};

use crate::binder::{is_nchar, missing_type as missing};

/// Longest `varchar(n)` and `char(n)` (Postgres's MaxAttrSize).
const CHARACTERS_MAX: u64 = 10_485_760;
/// Most digits of `numeric(p,s)`.
const NUMERIC_PRECISION_MAX: u64 = 1000;
/// Digits after the point of seconds.
const TIME_PRECISION_MAX: u64 = 6;

/// A serial pseudo-type: the integer type that it stands for.
pub fn serial_type(data_type: &DataType) -> Option<PgType> {
    let DataType::Custom(name, arguments) = data_type else {
        return None;
    };
    if !arguments.is_empty() || name.0.len() != 1 {
        return None;
    }
    match name.to_string().to_lowercase().as_str() {
        "serial" | "serial4" => Some(PgType::Int4),
        "bigserial" | "serial8" => Some(PgType::Int8),
        "smallserial" | "serial2" => Some(PgType::Int2),
        _ => None,
    }
}

fn characters(ty: PgType, length: Option<&CharacterLength>, default: i32) -> Result<ColumnType> {
    let typmod = match length {
        None => default,
        Some(CharacterLength::IntegerLength { length, unit: _ }) => {
            let name = if ty == PgType::Bpchar { "char" } else { "varchar" };
            if *length < 1 {
                return Err(Error::new(
                    ErrorKind::InvalidParameterValue,
                    format!("length for type {name} must be at least 1"),
                ));
            }
            if *length > CHARACTERS_MAX {
                return Err(Error::new(
                    ErrorKind::InvalidParameterValue,
                    format!("length for type {name} cannot exceed {CHARACTERS_MAX}"),
                ));
            }
            i32::try_from(*length + 4).unwrap_or(-1)
        }
        Some(CharacterLength::Max) => return Err(missing("max")),
    };
    Ok(ColumnType { ty, typmod })
}

fn numeric(info: &ExactNumberInfo) -> Result<ColumnType> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(PgType::Numeric.into()),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if !(1..=NUMERIC_PRECISION_MAX).contains(&precision) {
        return Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("NUMERIC precision {precision} must be between 1 and {NUMERIC_PRECISION_MAX}"),
        ));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("NUMERIC scale {scale} must be between -1000 and 1000"),
        ));
    }
    let (precision, scale) = (u32::try_from(precision).unwrap_or(1), i32::try_from(scale).unwrap_or(0));
    Ok(ColumnType { ty: PgType::Numeric, typmod: ColumnType::numeric_typmod(precision, scale) })
}

/// A precision above 6 is cut to 6, with Postgres's warning left out.
fn timed(ty: PgType, precision: Option<u64>) -> ColumnType {
    ColumnType { ty, typmod: precision.map_or(-1, |p| i32::try_from(p.min(TIME_PRECISION_MAX)).unwrap_or(6)) }
}

fn float(info: &ExactNumberInfo) -> Result<PgType> {
    match *info {
        ExactNumberInfo::None => Ok(PgType::Float8),
        ExactNumberInfo::Precision(0) => {
            Err(Error::new(ErrorKind::InvalidParameterValue, "precision for type float must be at least 1 bit"))
        }
        ExactNumberInfo::Precision(1..=24) => Ok(PgType::Float4),
        ExactNumberInfo::Precision(25..=53) => Ok(PgType::Float8),
        _ => Err(Error::new(ErrorKind::InvalidParameterValue, "precision for type float must be less than 54 bits")),
    }
}

/// The type that a column, cast or sequence definition names.
///
/// # Errors
/// 42704 for a type that does not exist, 22023 for a modifier out of range, 0A000 for a type of Postgres's that is not here.
pub fn column_type(data_type: &DataType) -> Result<ColumnType> {
    let ty = match data_type {
        DataType::Bool | DataType::Boolean => PgType::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => PgType::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => PgType::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => PgType::Int8,
        DataType::Real | DataType::Float4 => PgType::Float4,
        DataType::DoublePrecision | DataType::Float8 => PgType::Float8,
        DataType::Float(info) => float(info)?,
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => {
            return numeric(info);
        }
        DataType::Text => PgType::Text,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            return characters(PgType::Varchar, length.as_ref(), -1);
        }
        DataType::Char(length) | DataType::Character(length) => {
            return characters(PgType::Bpchar, length.as_ref(), 5);
        }
        DataType::Bytea => PgType::Bytea,
        DataType::Date => PgType::Date,
        DataType::Time(precision, zone) => {
            let ty = match zone {
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => PgType::TimeTz,
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => PgType::Time,
            };
            return Ok(timed(ty, *precision));
        }
        DataType::Timestamp(precision, zone) => {
            let ty = match zone {
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => PgType::TimestampTz,
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => PgType::Timestamp,
            };
            return Ok(timed(ty, *precision));
        }
        DataType::Interval { fields, precision } => {
            return Ok(ColumnType {
                ty: PgType::Interval,
                typmod: interval_typmod(fields.as_ref(), *precision).unwrap_or(-1),
            });
        }
        DataType::Uuid => PgType::Uuid,
        DataType::JSON => PgType::Json,
        DataType::JSONB => PgType::Jsonb,
        DataType::Regclass => PgType::Regclass,
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            let element = column_type(element)?;
            // Postgres ignores declared dimensions: int[][] is int[].
            if matches!(element.ty, PgType::Array(_)) {
                return Ok(element);
            }
            let ty = element.ty.array().ok_or_else(|| missing(&format!("{}[]", element.ty.sql_name())))?;
            return Ok(ColumnType { ty, typmod: element.typmod });
        }
        DataType::Custom(name, arguments) => return custom(name, arguments),
        other => {
            return Err(missing(&other.to_string().to_lowercase()));
        }
    };
    Ok(ty.into())
}

/// `interval`'s modifier.
fn interval_typmod(fields: Option<&IntervalFields>, precision: Option<u64>) -> Option<i32> {
    if fields.is_none() && precision.is_none() {
        return None;
    }
    let fields = fields.map_or_else(String::new, |fields| fields.to_string().to_lowercase());
    let precision = precision.map(|p| u32::try_from(p).unwrap_or(u32::MAX));
    interval_fields_typmod(&fields, precision)
}

fn custom(name: &sqlparser::ast::ObjectName, arguments: &[String]) -> Result<ColumnType> {
    let mut parts = super::name_parts(name)?;
    let (type_name, _) = parts.pop().ok_or_else(|| Error::internal("a type without a name"))?;
    if parts.iter().any(|(schema, _)| schema != "pg_catalog") {
        return Err(missing(&super::display_name(name)));
    }
    let quoted_char = name
        .0
        .last()
        .and_then(|part| part.as_ident())
        .is_some_and(|ident| ident.quote_style.is_some() && ident.value == "char");
    if quoted_char {
        return Ok(PgType::Char.into());
    }
    let ty = match is_nchar(name) {
        true => PgType::Bpchar,
        false => PgType::from_name(&type_name).ok_or_else(|| missing(&type_name))?,
    };
    if matches!(ty, PgType::Unknown | PgType::Record | PgType::Void) {
        return Err(missing(&type_name));
    }
    let modifiers =
        arguments.iter().map(|a| a.trim().parse::<i64>()).collect::<Result<Vec<i64>, _>>().map_err(|_| {
            Error::new(ErrorKind::SyntaxError, "type modifiers must be simple constants or identifiers")
        })?;
    let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
    match (ty, modifiers.as_slice()) {
        (PgType::Bpchar, []) if is_nchar(name) => characters(ty, None, 5),
        (PgType::Bpchar, []) => Ok(ColumnType { ty, typmod: -1 }),
        (_, []) => Ok(ty.into()),
        (PgType::Varchar | PgType::Bpchar, [n]) => {
            characters(ty, Some(&CharacterLength::IntegerLength { length: unsigned(*n), unit: None }), -1)
        }
        (PgType::Numeric, [p]) => numeric(&ExactNumberInfo::Precision(unsigned(*p))),
        (PgType::Numeric, [p, s]) => numeric(&ExactNumberInfo::PrecisionAndScale(unsigned(*p), *s)),
        (PgType::Time | PgType::TimeTz | PgType::Timestamp | PgType::TimestampTz, [p]) => {
            Ok(timed(ty, Some(unsigned(*p))))
        }
        _ => Err(Error::new(ErrorKind::SyntaxError, format!("type modifier is not allowed for type \"{type_name}\""))),
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::parser::Parser;
    use stratos_types::ErrorKind;

    use crate::dialect::StratosDialect;

    #[test]
    fn types_that_are_not_here_are_refused_by_name() {
        let dialect = StratosDialect::default();
        let types = [
            ("bit(3)", ErrorKind::FeatureNotSupported, "type bit(3) is not supported"),
            ("bit varying(3)", ErrorKind::FeatureNotSupported, "type bit varying(3) is not supported"),
            ("tsvector", ErrorKind::FeatureNotSupported, "type tsvector is not supported"),
            ("nummultirange", ErrorKind::FeatureNotSupported, "type nummultirange is not supported"),
            ("inet", ErrorKind::FeatureNotSupported, "type inet is not supported"),
            ("hstore", ErrorKind::FeatureNotSupported, "type hstore is not supported"),
            ("nothing", ErrorKind::UndefinedObject, "type \"nothing\" does not exist"),
        ];
        for (text, kind, message) in types {
            let parsed = Parser::new(&dialect).try_with_sql(text).and_then(|mut parser| parser.parse_data_type());
            let error = super::column_type(&parsed.unwrap()).unwrap_err();
            assert_eq!((error.kind(), error.message()), (kind, message));
        }
    }
}
