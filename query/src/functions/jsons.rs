//! json and jsonb functions and operators.

use stratos_types::{Datum, Error, ErrorKind, PgType, Result, json};

use super::args::{array, boolean, int4, text, type_of};
use crate::eval::named;
use crate::session::EvalContext;

/// A member as a value of the type it was taken from.
fn member(of: &Datum, found: Option<&str>) -> Datum {
    match (of, found) {
        (_, None) => Datum::Null,
        (Datum::Jsonb(_), Some(s)) => Datum::Jsonb(s.into()),
        (_, Some(s)) => Datum::text(s),
    }
}

fn member_text(found: Option<&str>) -> Result<Datum> {
    let Some(found) = found else {
        return Ok(Datum::Null);
    };
    Ok(json::as_text(found)?.map_or(Datum::Null, Datum::text))
}

fn jsonb(s: String) -> Result<Datum> {
    Ok(Datum::Jsonb(s.into()))
}

/// The elements of a text array that has no NULLs.
fn strings(d: &Datum) -> Result<Option<Vec<&str>>> {
    let values = &array(d)?.values;
    if values.iter().any(Datum::is_null) {
        return Ok(None);
    }
    values.iter().map(text).collect::<Result<Vec<_>>>().map(Some)
}

/// `-> text`
pub fn field(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(member(&a[0], json::get_field(text(&a[0])?, text(&a[1])?)?))
}

/// `->> text`
pub fn field_text(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    member_text(json::get_field(text(&a[0])?, text(&a[1])?)?)
}

/// The element at an index. A `jsonb` that is neither array nor object counts as an array of itself, a `json` does not.
fn at_index(a: &[Datum]) -> Result<Option<&str>> {
    let (whole, index) = (text(&a[0])?, int4(&a[1])?);
    if matches!(a[0], Datum::Jsonb(_)) && !matches!(json::type_of(whole)?, "array" | "object") {
        return Ok(matches!(index, 0 | -1).then_some(whole));
    }
    json::get_index(whole, index)
}

/// `-> integer`
pub fn element(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(member(&a[0], at_index(a)?))
}

/// `->> integer`
pub fn element_text(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    member_text(at_index(a)?)
}

/// The path of `#>` (an array) or of `json_extract_path` (arguments); `None` where part of it is NULL.
fn path(a: &[Datum]) -> Result<Option<Vec<&str>>> {
    match a.get(1) {
        Some(Datum::Array(_)) => strings(&a[1]),
        _ => a[1..].iter().map(text).collect::<Result<Vec<_>>>().map(Some),
    }
}

/// `#>`, `json_extract_path`
pub fn extract_path(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let Some(path) = path(a)? else {
        return Ok(Datum::Null);
    };
    Ok(member(&a[0], json::get_path(text(&a[0])?, &path)?))
}

/// `#>>`, `json_extract_path_text`
pub fn extract_path_text(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let Some(path) = path(a)? else {
        return Ok(Datum::Null);
    };
    member_text(json::get_path(text(&a[0])?, &path)?)
}

/// `@>`
pub fn contains(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    json::contains(text(&a[0])?, text(&a[1])?).map(Datum::Bool)
}

/// `<@`
pub fn contained(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    json::contains(text(&a[1])?, text(&a[0])?).map(Datum::Bool)
}

/// `?`
pub fn exists(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    json::exists(text(&a[0])?, text(&a[1])?).map(Datum::Bool)
}

/// `?|`
pub fn exists_any(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    for key in array(&a[1])?.values.iter().filter(|k| !k.is_null()) {
        if json::exists(text(&a[0])?, text(key)?)? {
            return Ok(Datum::Bool(true));
        }
    }
    Ok(Datum::Bool(false))
}

/// `?&`
pub fn exists_all(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    for key in array(&a[1])?.values.iter().filter(|k| !k.is_null()) {
        if !json::exists(text(&a[0])?, text(key)?)? {
            return Ok(Datum::Bool(false));
        }
    }
    Ok(Datum::Bool(true))
}

/// `||`
pub fn concat(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    jsonb(json::concat(text(&a[0])?, text(&a[1])?)?)
}

/// `-` by key, keys, or index
pub fn delete(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let value = text(&a[0])?;
    jsonb(match &a[1] {
        Datum::Int4(index) => json::delete_index(value, *index)?,
        Datum::Array(keys) => {
            let keys = keys.values.iter().filter(|k| !k.is_null());
            json::delete_keys(value, &keys.map(text).collect::<Result<Vec<_>>>()?)?
        }
        key => json::delete_key(value, text(key)?)?,
    })
}

fn whole_path(d: &Datum) -> Result<Vec<&str>> {
    let values = &array(d)?.values;
    if let Some(i) = values.iter().position(Datum::is_null) {
        return Err(Error::new(ErrorKind::NullValueNotAllowed, format!("path element at position {} is null", i + 1)));
    }
    values.iter().map(text).collect()
}

/// `#-`
pub fn delete_path(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    jsonb(json::delete_path(text(&a[0])?, &whole_path(&a[1])?)?)
}

/// Name of the function that gives a jsonb with another part: jsonb, part, path, and whether its first step is an integer. No
/// identifier that anybody writes.
pub const JSONB_SET_PART: &str = "jsonb part set";

/// `SET target[step]… = value`
pub fn set_part(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let path = strings(&a[2])?
        .ok_or_else(|| Error::new(ErrorKind::NullValueNotAllowed, "jsonb subscript in assignment must not be null"))?;
    let target = match &a[0] {
        // What is made of nothing can take the first step.
        Datum::Null => {
            if boolean(&a[3])? {
                "[]"
            } else {
                "{}"
            }
        }
        target => text(target)?,
    };
    let value = if a[1].is_null() { "null" } else { text(&a[1])? };
    jsonb(json::assign(target, &path, value)?)
}

/// `jsonb_set(target, path, value[, create])`
pub fn set(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let create = a.get(3).map_or(Ok(true), boolean)?;
    let path = whole_path(&a[1])?;
    jsonb(json::set(text(&a[0])?, &path, text(&a[2])?, create)?)
}

/// `jsonb_insert(target, path, value[, after])`
pub fn insert(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let after = a.get(3).map_or(Ok(false), boolean)?;
    let path = whole_path(&a[1])?;
    jsonb(json::insert(text(&a[0])?, &path, text(&a[2])?, after)?)
}

/// `json_typeof`
pub fn type_name(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    json::type_of(text(&a[0])?).map(Datum::text)
}

/// `json_array_length`
pub fn array_length(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    json::array_length(text(&a[0])?).map(Datum::Int4)
}

/// `jsonb_pretty`
pub fn pretty(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    json::pretty(text(&a[0])?).map(Datum::text)
}

/// `json_strip_nulls`
pub fn strip_nulls(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    match &a[0] {
        Datum::Jsonb(s) => jsonb(json::strip_nulls(s, true)?),
        other => json::strip_nulls(text(other)?, false).map(Datum::text),
    }
}

/// `to_json`, `array_to_json`, `row_to_json`
pub fn to_json(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (value, ty) = named(ctx, &a[0], type_of(types, 0));
    json::to_json(&value, ty, &ctx.format).map(Datum::text)
}

/// `row_to_json(row, pretty)`, `array_to_json(array, pretty)`: a line for every field or element of the outermost level.
pub fn to_json_lines(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (value, ty) = named(ctx, &a[0], type_of(types, 0));
    json::to_json_lines(&value, ty, boolean(&a[1])?, &ctx.format).map(Datum::text)
}

/// `to_jsonb`
pub fn to_jsonb(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (value, ty) = named(ctx, &a[0], type_of(types, 0));
    jsonb(json::to_jsonb(&value, ty, &ctx.format)?)
}

fn pairs(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Vec<(PgType, Datum)> {
    let pair = |(ty, value): (&PgType, &Datum)| {
        let (value, ty) = named(ctx, value, *ty);
        (ty, value.into_owned())
    };
    types.iter().zip(a).map(pair).collect()
}

fn check_object(a: &[Datum], name: &str) -> Result<()> {
    if !a.len().is_multiple_of(2) {
        return Err(Error::new(ErrorKind::InvalidParameterValue, "argument list must have even number of elements")
            .with_hint(format!("The arguments of {name}() must consist of alternating keys and values.")));
    }
    Ok(())
}

/// `json_build_object`
pub fn build_object(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    check_object(a, "json_build_object")?;
    json::build_object(&pairs(ctx, types, a), false, &ctx.format).map(Datum::text)
}

/// `jsonb_build_object`
pub fn build_objectb(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    check_object(a, "jsonb_build_object")?;
    jsonb(json::build_object(&pairs(ctx, types, a), true, &ctx.format)?)
}

/// `json_build_array`
pub fn build_array(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    json::build_array(&pairs(ctx, types, a), false, &ctx.format).map(Datum::text)
}

/// `jsonb_build_array`
pub fn build_arrayb(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    jsonb(json::build_array(&pairs(ctx, types, a), true, &ctx.format)?)
}

/// `json_object(text[])` of alternating keys and values, and `json_object(keys, values)`
pub fn object(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    object_text(a).map(Datum::text)
}

/// `jsonb_object`
pub fn objectb(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    jsonb(json::canonicalize(&object_text(a)?)?)
}

fn object_text(a: &[Datum]) -> Result<String> {
    let first = &array(&a[0])?.values;
    let pairs: Vec<(&Datum, &Datum)> = match a.get(1) {
        Some(values) => {
            let values = &array(values)?.values;
            if values.len() != first.len() {
                return Err(Error::new(ErrorKind::ArraySubscriptError, "mismatched array dimensions"));
            }
            first.iter().zip(values).collect()
        }
        None => {
            if !first.len().is_multiple_of(2) {
                return Err(Error::new(ErrorKind::ArraySubscriptError, "array must have even number of elements"));
            }
            first.chunks_exact(2).map(|p| (&p[0], &p[1])).collect()
        }
    };
    let mut out = String::from("{");
    for (i, (key, value)) in pairs.into_iter().enumerate() {
        if key.is_null() {
            return Err(Error::new(ErrorKind::NullValueNotAllowed, "null value not allowed for object key"));
        }
        if i > 0 {
            out.push_str(", ");
        }
        json::write_string(&mut out, text(key)?);
        out.push_str(" : ");
        match value {
            Datum::Null => out.push_str("null"),
            value => json::write_string(&mut out, text(value)?),
        }
    }
    out.push('}');
    Ok(out)
}
