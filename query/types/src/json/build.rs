//! JSON from SQL values: `to_json`, `json_build_object`, `json_build_array`.

use super::{canonicalize, invalid, write_string};
use crate::{DateStyle, Datum, FormatOptions, PgType, RecordDatum, Result};

fn write_value(out: &mut String, value: &Datum, ty: PgType, options: &FormatOptions) {
    match value {
        Datum::Null => out.push_str("null"),
        Datum::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Numeric(_) | Datum::Float4(_) | Datum::Float8(_) => {
            let text = value.to_text(ty, options);
            // NaN and the infinities are no JSON numbers.
            if text.ends_with(|c: char| c.is_ascii_digit()) {
                out.push_str(&text);
            } else {
                write_string(out, &text);
            }
        }
        Datum::Jsonb(text) => out.push_str(text),
        Datum::Text(text) if ty == PgType::Json => out.push_str(text),
        Datum::Timestamp(_) | Datum::TimestampTz(_) | Datum::Date(_) => {
            let iso = FormatOptions { date_style: DateStyle::Iso, ..options.clone() };
            let text = value.to_text(ty, &iso);
            // ISO 8601: T instead of the blank, minutes always in the offset.
            let mut text = text.replacen(' ', "T", 1);
            if text.starts_with(|c: char| c.is_ascii_digit()) {
                if ty == PgType::TimestampTz {
                    let era = text.strip_suffix(" BC").map(str::len);
                    let end = era.unwrap_or(text.len());
                    if text.as_bytes()[..end].iter().rev().nth(2).is_some_and(|b| matches!(b, b'+' | b'-')) {
                        text.insert_str(end, ":00");
                    }
                }
            } else {
                text = text.replace('T', " ");
            }
            write_string(out, &text);
        }
        Datum::Array(array) if !matches!(ty, PgType::Int2Vector | PgType::OidVector) => {
            out.push('[');
            for (i, element) in array.values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, element, array.element, options);
            }
            out.push(']');
        }
        Datum::Record(fields) => {
            out.push('{');
            for (i, (ty, field)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_field_name(out, fields, i);
                write_value(out, field, *ty, options);
            }
            out.push('}');
        }
        other => write_string(out, &other.to_text(ty, options)),
    }
}

/// `to_json` of any value of type `ty`.
///
/// # Errors
/// None in practice.
pub fn to_json(value: &Datum, ty: PgType, options: &FormatOptions) -> Result<String> {
    let mut out = String::new();
    write_value(&mut out, value, ty, options);
    Ok(out)
}

/// `row_to_json(row, pretty)` and `array_to_json(array, pretty)`: when `pretty`, each field or element of the outermost level
/// begins a line.
///
/// # Errors
/// None in practice.
pub fn to_json_lines(value: &Datum, ty: PgType, pretty: bool, options: &FormatOptions) -> Result<String> {
    if !pretty {
        return to_json(value, ty, options);
    }
    let mut out = String::new();
    match value {
        Datum::Record(fields) => {
            out.push('{');
            for (i, (ty, field)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push_str(",\n ");
                }
                write_field_name(&mut out, fields, i);
                write_value(&mut out, field, *ty, options);
            }
            out.push('}');
        }
        Datum::Array(array) => {
            out.push('[');
            for (i, element) in array.values.iter().enumerate() {
                if i > 0 {
                    out.push_str(",\n ");
                }
                write_value(&mut out, element, array.element, options);
            }
            out.push(']');
        }
        other => write_value(&mut out, other, ty, options),
    }
    Ok(out)
}

fn write_field_name(out: &mut String, fields: &RecordDatum, i: usize) {
    match fields.names.as_ref().and_then(|names| names.get(i)) {
        Some(name) => write_string(out, name),
        None => write_string(out, &format!("f{}", i + 1)),
    }
    out.push(':');
}

/// `to_jsonb`: the canonical text.
///
/// # Errors
/// 22P05 for json text with `\u0000`.
pub fn to_jsonb(value: &Datum, ty: PgType, options: &FormatOptions) -> Result<String> {
    canonicalize(&to_json(value, ty, options)?)
}

/// `json_build_object`, `jsonb_build_object`: keys and values in turn.
///
/// # Errors
/// 22023 for an odd number of arguments, a NULL or composite key.
pub fn build_object(args: &[(PgType, Datum)], jsonb: bool, options: &FormatOptions) -> Result<String> {
    if args.len() % 2 == 1 {
        let name = if jsonb { "jsonb_build_object()" } else { "json_build_object()" };
        return Err(invalid("argument list must have even number of elements")
            .with_hint(format!("The arguments of {name} must consist of alternating keys and values.")));
    }
    let mut out = String::from("{");
    for (i, pair) in args.chunks_exact(2).enumerate() {
        let ((key_ty, key), (ty, value)) = (&pair[0], &pair[1]);
        if key.is_null() {
            let message = format!("argument {}: key must not be null", 2 * i + 1);
            return Err(if jsonb {
                invalid(&message)
            } else {
                crate::Error::new(
                    crate::ErrorKind::InvalidParameterValue,
                    format!("argument {} cannot be null", 2 * i + 1),
                )
                .with_hint("Object keys should be text.")
            });
        }
        let composite = matches!(key, Datum::Array(_) | Datum::Record(_) | Datum::Jsonb(_)) || *key_ty == PgType::Json;
        if composite {
            return Err(invalid("key value must be scalar, not array, composite, or json"));
        }
        if i > 0 {
            out.push_str(", ");
        }
        let name = match key {
            Datum::Bool(v) => v.to_string(),
            other => other.to_text(*key_ty, options),
        };
        write_string(&mut out, &name);
        out.push_str(" : ");
        write_value(&mut out, value, *ty, options);
    }
    out.push('}');
    if jsonb { canonicalize(&out) } else { Ok(out) }
}

/// `json_build_array`, `jsonb_build_array`.
///
/// # Errors
/// As [`to_jsonb`].
pub fn build_array(args: &[(PgType, Datum)], jsonb: bool, options: &FormatOptions) -> Result<String> {
    let mut out = String::from("[");
    for (i, (ty, value)) in args.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_value(&mut out, value, *ty, options);
    }
    out.push(']');
    if jsonb { canonicalize(&out) } else { Ok(out) }
}
