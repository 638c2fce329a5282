//! Casts, with those that need the catalog: names for the OIDs of the reg* types and back.

use std::borrow::Cow;
use std::sync::Arc;

use stratos_types::{ArrayDatum, ColumnType, Datum, PgType, Result, Scalar};

use crate::functions::catalog_info;
use crate::session::EvalContext;

fn needs_catalog(ty: PgType) -> bool {
    matches!(ty, PgType::Regclass | PgType::Regtype | PgType::Regproc | PgType::Regnamespace | PgType::Regrole)
}

/// Reads a value's text input; the reg* types read names.
///
/// # Errors
/// 22P02 and its kin, 42P01 and its kin for names of nothing.
pub fn from_text(ctx: &EvalContext, ty: ColumnType, text: &str) -> Result<Datum> {
    if needs_catalog(ty.ty) {
        return catalog_info::reg_from_text(ctx, ty.ty, text);
    }
    let Some(element) = ty.ty.element().filter(|element| needs_catalog(*element)) else {
        return Datum::from_text(ty, text, &ctx.format);
    };
    let Datum::Array(names) = Datum::from_text(PgType::Array(Scalar::Text).into(), text, &ctx.format)? else {
        return Ok(Datum::Null);
    };
    let values = names.values.iter().map(|name| cast(ctx, name, PgType::Text, element.into(), true));
    Ok(Datum::Array(Arc::new(ArrayDatum { element, values: values.collect::<Result<_>>()? })))
}

/// Whether the text output of a type's values has names in it that the catalog knows.
pub fn prints_names(ty: PgType) -> bool {
    needs_catalog(ty) || ty.element().is_some_and(needs_catalog) || ty == PgType::Record
}

/// The type of what [`with_names`] makes of a type's values.
fn with_names_type(ty: PgType) -> PgType {
    match ty.element() {
        _ if needs_catalog(ty) => PgType::Text,
        Some(element) if needs_catalog(element) => PgType::Array(Scalar::Text),
        _ => ty,
    }
}

/// A value that prints as it should without the catalog, and its type.
pub fn named<'a>(ctx: &EvalContext, value: &'a Datum, ty: PgType) -> (Cow<'a, Datum>, PgType) {
    if !prints_names(ty) {
        return (Cow::Borrowed(value), ty);
    }
    (Cow::Owned(with_names(ctx, value.clone(), ty)), with_names_type(ty))
}

/// A value with the names in the place of the OIDs of its reg* types: its text output is the value's.
pub fn with_names(ctx: &EvalContext, value: Datum, ty: PgType) -> Datum {
    match value {
        Datum::Oid(oid) if needs_catalog(ty) => Datum::text(catalog_info::reg_text(ctx, ty, oid)),
        Datum::Array(array) if needs_catalog(array.element) => {
            let values = array.values.iter().map(|v| with_names(ctx, v.clone(), array.element)).collect();
            Datum::Array(Arc::new(ArrayDatum { element: PgType::Text, values }))
        }
        Datum::Record(fields) => {
            let named = |(ty, value): &(PgType, Datum)| (with_names_type(*ty), with_names(ctx, value.clone(), *ty));
            Datum::record(fields.iter().map(named).collect(), fields.names.clone())
        }
        other => other,
    }
}

/// Appends a value's text output; NULL appends nothing. The reg* types print names.
///
/// # Errors
/// None today; the types' own output does not fail.
pub fn write_text(ctx: &EvalContext, value: &Datum, ty: PgType, out: &mut String) -> Result<()> {
    match value {
        Datum::Oid(oid) if needs_catalog(ty) => {
            out.push_str(&catalog_info::reg_text(ctx, ty, *oid));
        }
        Datum::Text(s) => out.push_str(s),
        Datum::Array(_) | Datum::Record(_) if prints_names(ty) => {
            with_names(ctx, value.clone(), ty).write_text(ty, &ctx.format, out);
        }
        other => other.write_text(ty, &ctx.format, out),
    }
    Ok(())
}

/// A value's text output.
///
/// # Errors
/// As [`write_text`].
pub fn to_text<'a>(ctx: &EvalContext, value: &'a Datum, ty: PgType) -> Result<Cow<'a, str>> {
    if let Datum::Text(s) = value {
        return Ok(Cow::Borrowed(s));
    }
    let mut out = String::new();
    write_text(ctx, value, ty, &mut out)?;
    Ok(Cow::Owned(out))
}

/// A value cast to text, which is its output except for booleans.
///
/// # Errors
/// As [`write_text`].
pub fn cast_text<'a>(ctx: &EvalContext, value: &'a Datum, ty: PgType) -> Result<Cow<'a, str>> {
    match value {
        Datum::Bool(true) => Ok(Cow::Borrowed("true")),
        Datum::Bool(false) => Ok(Cow::Borrowed("false")),
        other => to_text(ctx, other, ty),
    }
}

/// Converts a value; NULL stays NULL.
///
/// # Errors
/// What the conversion may raise: 22P02, 22003, 22001, 42P01 for regclass …
pub fn cast(ctx: &EvalContext, value: &Datum, from: PgType, to: ColumnType, explicit: bool) -> Result<Datum> {
    if value.is_null() || (from == to.ty && to.typmod < 0) {
        return Ok(value.clone());
    }
    match value {
        Datum::Text(s) if needs_catalog(to.ty) => catalog_info::reg_from_text(ctx, to.ty, s),
        value if prints_names(from) && (to.ty.is_string() || to.ty.element().is_some_and(PgType::is_string)) => {
            let (value, from) = named(ctx, value, from);
            stratos_types::cast(&value, from, to, explicit, &ctx.format)
        }
        Datum::Array(names) if from.element().is_some_and(PgType::is_string) && prints_names(to.ty) => {
            let Some(element) = to.ty.element() else { return Ok(value.clone()) };
            let values = names.values.iter().map(|name| cast(ctx, name, names.element, element.into(), explicit));
            Ok(Datum::Array(Arc::new(ArrayDatum { element, values: values.collect::<Result<_>>()? })))
        }
        Datum::Text(s) if from.is_string() && is_date_or_time(to.ty) => {
            Datum::from_text_at(to, s, &ctx.format, ctx.transaction_micros)
        }
        _ => stratos_types::cast(value, from, to, explicit, &ctx.format),
    }
}

fn is_date_or_time(ty: PgType) -> bool {
    matches!(ty, PgType::Date | PgType::Time | PgType::TimeTz | PgType::Timestamp | PgType::TimestampTz)
}
