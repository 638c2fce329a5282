//! Casts, with those that need the catalog: names for the OIDs of the reg* types and back.

use std::borrow::Cow;

use stratos_types::{ColumnType, Datum, PgType, Result};

use crate::functions::catalog_info;
use crate::session::EvalContext;

fn needs_catalog(ty: PgType) -> bool {
    matches!(ty, PgType::Regclass | PgType::Regtype | PgType::Regproc | PgType::Regnamespace | PgType::Regrole)
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
        Datum::Oid(oid) if needs_catalog(from) && (to.ty.is_string()) => {
            let name = catalog_info::reg_text(ctx, from, *oid);
            stratos_types::cast(&Datum::text(name), PgType::Text, to, explicit, &ctx.format)
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
