//! Array functions. Arrays have one dimension here, and count from 1.

use std::sync::Arc;

use stratos_types::{ArrayDatum, Datum, Error, ErrorKind, PgType, Result};

use super::args::{array, int4, type_of};
use super::compare::{compare, compare_nullable};
use crate::session::EvalContext;

/// Name of the function that `a[2:3]` calls; Postgres has no such function, so the name is no identifier that anybody writes.
pub const ARRAY_SLICE: &str = "array slice";

/// Name of the function that gives an array with another element: array, element, subscript. See [`ARRAY_SLICE`].
pub const ARRAY_SET_ELEMENT: &str = "array element set";

/// Name of the function that gives an array with another slice: array, elements, both bounds, and whether each was given. See
/// [`ARRAY_SLICE`].
pub const ARRAY_SET_SLICE: &str = "array slice set";

/// Name of the function that `(composite).field` calls where the composite is computed below. See [`ARRAY_SLICE`].
pub const RECORD_FIELD: &str = "record field";

fn build(element: PgType, values: Vec<Datum>) -> Result<Datum> {
    Ok(Datum::Array(Arc::new(ArrayDatum { element, values })))
}

fn count(n: usize) -> Result<Datum> {
    i32::try_from(n).map(Datum::Int4).map_err(|_| Error::out_of_range("integer"))
}

/// The catalogs' vectors count from 0.
fn lower_bound(types: &[PgType]) -> i32 {
    match type_of(types, 0) {
        PgType::Int2Vector | PgType::OidVector => 0,
        _ => 1,
    }
}

/// `array_length(a, dimension)`
pub fn array_length(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let values = &array(&a[0])?.values;
    if int4(&a[1])? != 1 || values.is_empty() {
        return Ok(Datum::Null);
    }
    count(values.len())
}

/// `cardinality`
pub fn cardinality(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    count(array(&a[0])?.values.len())
}

/// `array_ndims`
pub fn array_ndims(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let empty = array(&a[0])?.values.is_empty();
    Ok(if empty { Datum::Null } else { Datum::Int4(1) })
}

/// `array_dims`
pub fn array_dims(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let n = array(&a[0])?.values.len() as i32;
    let low = lower_bound(types);
    Ok(if n == 0 { Datum::Null } else { Datum::text(format!("[{low}:{}]", n - 1 + low)) })
}

/// `array_lower(a, dimension)`
pub fn array_lower(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let empty = array(&a[0])?.values.is_empty() || int4(&a[1])? != 1;
    Ok(if empty { Datum::Null } else { Datum::Int4(lower_bound(types)) })
}

/// `(composite).field`, by the field's position from 0.
pub fn record_field(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (Datum::Record(record), Datum::Int4(at)) = (&a[0], &a[1]) else {
        return Err(Error::internal("a field of what is no composite value"));
    };
    let field = usize::try_from(*at).ok().and_then(|at| record.fields.get(at));
    field.map(|(_, value)| value.clone()).ok_or_else(|| Error::internal("a composite value without the field"))
}

/// `a[low:high]`: what there is of it, counted from 1 again.
pub fn slice(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let source = array(&a[0])?;
    let first = i64::from(lower_bound(types));
    let length = i64::try_from(source.values.len()).unwrap_or(i64::MAX);
    let from = (i64::from(int4(&a[1])?) - first).clamp(0, length);
    let to = (i64::from(int4(&a[2])?) - first + 1).clamp(from, length);
    let values = source.values.get(from as usize..to as usize).unwrap_or_default();
    build(source.element, values.to_vec())
}

/// Most elements of an array that gets as long as a subscript says; the rest of them are NULL.
const MAX_EXTENDED: usize = MAX_FILL as usize;

fn subscript(d: &Datum) -> Result<i64> {
    if d.is_null() {
        let message = "array subscript in assignment must not be null";
        return Err(Error::new(ErrorKind::NullValueNotAllowed, message));
    }
    int4(d).map(i64::from)
}

/// Where the elements from one subscript to another are, the array made as long as that takes.
fn place_of(values: &mut Vec<Datum>, first: i64, from: i64, to: i64) -> Result<std::ops::Range<usize>> {
    // An empty array begins where the first element is put.
    if from < first || values.is_empty() && from > first {
        return Err(Error::unsupported("array that begins with another subscript than 1"));
    }
    let place = |at: i64| usize::try_from(at - first).unwrap_or(usize::MAX);
    let (from, end) = (place(from), place(to).saturating_add(1));
    if end > values.len() {
        if end > MAX_EXTENDED {
            return Err(Error::new(ErrorKind::ProgramLimitExceeded, "array size exceeds the maximum allowed"));
        }
        values.resize(end, Datum::Null);
    }
    Ok(from..end)
}

/// `SET a[index] = x`
pub fn set_element(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let mut values = elements(&a[0])?.to_vec();
    let at = subscript(&a[2])?;
    let place = place_of(&mut values, lower_bound(types).into(), at, at)?;
    values.splice(place, [a[1].clone()]);
    build(element_type(types, 0), values)
}

/// `SET a[low:high] = source`: the first elements of the source; all of them are NULL, nothing changes.
pub fn set_slice(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let refuse = |message: &str| Err(Error::new(ErrorKind::ArraySubscriptError, message));
    let mut values = elements(&a[0])?.to_vec();
    let first = i64::from(lower_bound(types));
    let (mut low, mut high) = (subscript(&a[2])?, subscript(&a[3])?);
    let given = |flag: &Datum| matches!(flag, Datum::Bool(true));
    let (has_low, has_high) = (given(&a[4]), given(&a[5]));
    if a[1].is_null() {
        return build(element_type(types, 0), values);
    }
    let source = elements(&a[1])?;
    if values.is_empty() {
        if !has_low || !has_high {
            return Err(Error::new(
                ErrorKind::ArraySubscriptError,
                "array slice subscript must provide both boundaries",
            )
            .with_detail(
                "When assigning to a slice of an empty array value, slice boundaries must be fully specified.",
            ));
        }
    } else {
        let last = first + i64::try_from(values.len()).unwrap_or(i64::MAX) - 1;
        low = if has_low { low } else { first };
        high = if has_high { high } else { last };
    }
    if low > high {
        return refuse("upper bound cannot be less than lower bound");
    }
    if high - low >= i64::try_from(source.len()).unwrap_or(i64::MAX) {
        return refuse("source array too small");
    }
    let place = place_of(&mut values, first, low, high)?;
    let count = place.len();
    values.splice(place, source.iter().take(count).cloned());
    build(element_type(types, 0), values)
}

/// `array_upper(a, dimension)`
pub fn array_upper(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let n = array(&a[0])?.values.len();
    if n == 0 || int4(&a[1])? != 1 {
        return Ok(Datum::Null);
    }
    Ok(Datum::Int4(n as i32 - 1 + lower_bound(types)))
}

/// The elements of an array argument that may be NULL, which counts as empty.
fn elements(d: &Datum) -> Result<&[Datum]> {
    match d {
        Datum::Null => Ok(&[]),
        other => Ok(&array(other)?.values),
    }
}

/// Type of the elements of argument `i`.
fn element_type(types: &[PgType], i: usize) -> PgType {
    type_of(types, i).element().unwrap_or(PgType::Unknown)
}

/// `array_append(a, x)`, `a || x`
pub fn array_append(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let mut values = elements(&a[0])?.to_vec();
    values.push(a[1].clone());
    build(element_type(types, 0), values)
}

/// `array_prepend(x, a)`, `x || a`
pub fn array_prepend(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let mut values = vec![a[0].clone()];
    values.extend_from_slice(elements(&a[1])?);
    build(element_type(types, 1), values)
}

/// `array_cat(a, b)`, `a || b`
pub fn array_cat(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() || a[1].is_null() {
        return Ok(if a[0].is_null() { a[1].clone() } else { a[0].clone() });
    }
    let values = [elements(&a[0])?, elements(&a[1])?].concat();
    build(element_type(types, 0), values)
}

/// `array_position(a, x[, start])`
pub fn array_position(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    if elements(&a[0])?.is_empty() {
        return Ok(Datum::Null);
    }
    let start = match a.get(2) {
        Some(Datum::Null) => {
            return Err(Error::new(ErrorKind::NullValueNotAllowed, "initial position must not be null"));
        }
        Some(start) => int4(start)?.max(1) as usize - 1,
        None => 0,
    };
    for (i, value) in elements(&a[0])?.iter().enumerate().skip(start) {
        if compare_nullable(ctx, value, &a[1])?.is_eq() {
            return count(i + 1);
        }
    }
    Ok(Datum::Null)
}

/// `array_positions(a, x)`
pub fn array_positions(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let mut found = Vec::new();
    for (i, value) in elements(&a[0])?.iter().enumerate() {
        if compare_nullable(ctx, value, &a[1])?.is_eq() {
            found.push(count(i + 1)?);
        }
    }
    build(PgType::Int4, found)
}

/// `array_remove(a, x)`
pub fn array_remove(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let mut kept = Vec::new();
    for value in elements(&a[0])? {
        if compare_nullable(ctx, value, &a[1])?.is_ne() {
            kept.push(value.clone());
        }
    }
    build(element_type(types, 0), kept)
}

/// `array_replace(a, from, to)`
pub fn array_replace(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let mut values = Vec::new();
    for value in elements(&a[0])? {
        let hit = compare_nullable(ctx, value, &a[1])?.is_eq();
        values.push(if hit { a[2].clone() } else { value.clone() });
    }
    build(element_type(types, 0), values)
}

/// `trim_array(a, n)`
pub fn trim_array(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let values = elements(&a[0])?;
    let n = usize::try_from(int4(&a[1])?).ok().filter(|n| *n <= values.len());
    let Some(n) = n else {
        return Err(Error::new(
            ErrorKind::ArraySubscriptError,
            format!("number of elements to trim must be between 0 and {}", values.len()),
        ));
    };
    build(element_type(types, 0), values[..values.len() - n].to_vec())
}

/// Most elements that `array_fill` makes.
const MAX_FILL: i32 = 1 << 24;

/// `array_fill(x, array[n])`
pub fn array_fill(_: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    match elements(&a[1])? {
        [] => build(type_of(types, 0), Vec::new()),
        [n] => {
            let n = int4(n)?;
            if !(0..=MAX_FILL).contains(&n) {
                return Err(Error::new(ErrorKind::ProgramLimitExceeded, "array size exceeds the maximum allowed"));
            }
            build(type_of(types, 0), vec![a[0].clone(); n as usize])
        }
        _ => Err(Error::unsupported("multidimensional array")),
    }
}

/// Whether every element of `inner` equals one of `outer`; NULLs equal nothing.
fn contains_all(ctx: &EvalContext, outer: &[Datum], inner: &[Datum]) -> Result<bool> {
    for wanted in inner {
        if !contains_one(ctx, outer, wanted)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains_one(ctx: &EvalContext, values: &[Datum], wanted: &Datum) -> Result<bool> {
    if wanted.is_null() {
        return Ok(false);
    }
    for value in values {
        if !value.is_null() && compare(ctx, value, wanted)?.is_eq() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `@>`
pub fn contains(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    contains_all(ctx, elements(&a[0])?, elements(&a[1])?).map(Datum::Bool)
}

/// `<@`
pub fn contained(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    contains_all(ctx, elements(&a[1])?, elements(&a[0])?).map(Datum::Bool)
}

/// `&&`
pub fn overlap(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let right = elements(&a[1])?;
    for value in elements(&a[0])? {
        if contains_one(ctx, right, value)? {
            return Ok(Datum::Bool(true));
        }
    }
    Ok(Datum::Bool(false))
}
