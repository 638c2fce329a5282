//! Comparison: one total order over all values that have one.

use std::cmp::Ordering;

use stratos_types::{Datum, Error, Interval, PgType, Result, datetime};

use crate::session::EvalContext;

/// The SQL order of two values that are not NULL, as the types' btree operators have it; also across the integer types, the
/// float types, and date/timestamp/timestamptz. Strings compare by bytes; a caller with `char(n)` values strips them first.
///
/// # Errors
/// Types without an order (json), and internal ones for pairs that no operator has.
pub fn compare(ctx: &EvalContext, a: &Datum, b: &Datum) -> Result<Ordering> {
    use Datum as D;
    Ok(match (a, b) {
        (D::Int4(a), D::Int4(b)) => a.cmp(b),
        (D::Int8(a), D::Int8(b)) => a.cmp(b),
        (D::Int2(a), D::Int2(b)) => a.cmp(b),
        (D::Text(a), D::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (D::Bool(a), D::Bool(b)) => a.cmp(b),
        (D::Uuid(a), D::Uuid(b)) => a.cmp(b),
        (D::Bytea(a), D::Bytea(b)) => a.cmp(b),
        (D::Date(a), D::Date(b)) => a.cmp(b),
        (D::Time(a), D::Time(b)) | (D::Timestamp(a), D::Timestamp(b)) | (D::TimestampTz(a), D::TimestampTz(b)) => {
            a.cmp(b)
        }
        (D::Oid(a), D::Oid(b)) => a.cmp(b),
        (D::Numeric(a), D::Numeric(b)) => a.cmp(b),
        (D::Float4(a), D::Float4(b)) => float(f64::from(*a), f64::from(*b)),
        (D::Float8(a), D::Float8(b)) => float(*a, *b),
        (D::Float4(a), D::Float8(b)) => float(f64::from(*a), *b),
        (D::Float8(a), D::Float4(b)) => float(*a, f64::from(*b)),
        (D::Interval(a), D::Interval(b)) => interval_micros(*a).cmp(&interval_micros(*b)),
        (D::TimeTz(a), D::TimeTz(b)) => {
            let utc = |t: &stratos_types::TimeTz| t.micros + i64::from(t.zone_seconds_west) * MICROS_PER_SECOND;
            // Equal instants differ by their zone, as in Postgres (timetz_cmp_internal).
            utc(a).cmp(&utc(b)).then(a.zone_seconds_west.cmp(&b.zone_seconds_west))
        }
        (D::Int2(_) | D::Int4(_) | D::Int8(_), D::Int2(_) | D::Int4(_) | D::Int8(_)) => {
            super::args::int(a)?.cmp(&super::args::int(b)?)
        }
        (D::Oid(a), D::Int4(b)) => a.cmp(&(*b as u32)),
        (D::Date(d), D::Timestamp(t)) => date_order(*d, datetime::arith::date_to_timestamp(*d), *t),
        (D::Timestamp(t), D::Date(d)) => date_order(*d, datetime::arith::date_to_timestamp(*d), *t).reverse(),
        (D::Date(d), D::TimestampTz(t)) => {
            let zone = &ctx.format.time_zone;
            date_order(*d, datetime::arith::date_to_timestamptz(*d, zone), *t)
        }
        (D::TimestampTz(t), D::Date(d)) => {
            let zone = &ctx.format.time_zone;
            date_order(*d, datetime::arith::date_to_timestamptz(*d, zone), *t).reverse()
        }
        (D::Timestamp(a), D::TimestampTz(b)) => {
            datetime::arith::timestamp_to_timestamptz(*a, &ctx.format.time_zone)?.cmp(b)
        }
        (D::TimestampTz(a), D::Timestamp(b)) => {
            a.cmp(&datetime::arith::timestamp_to_timestamptz(*b, &ctx.format.time_zone)?)
        }
        (D::Jsonb(a), D::Jsonb(b)) => stratos_types::json::compare(a, b)?,
        (D::Array(a), D::Array(b)) => {
            for (x, y) in a.values.iter().zip(&b.values) {
                let order = compare_nullable(ctx, x, y)?;
                if order.is_ne() {
                    return Ok(order);
                }
            }
            a.values.len().cmp(&b.values.len())
        }
        (D::Record(a), D::Record(b)) => {
            if a.len() != b.len() {
                return Err(Error::new(
                    stratos_types::ErrorKind::DatatypeMismatch,
                    "cannot compare record types with different numbers of columns",
                ));
            }
            for ((ta, x), (tb, y)) in a.iter().zip(b.iter()) {
                let order = match (x, y) {
                    (D::Text(x), D::Text(y)) if *ta == PgType::Bpchar && *tb == PgType::Bpchar => {
                        strip(x).cmp(strip(y))
                    }
                    _ => compare_nullable(ctx, x, y)?,
                };
                if order.is_ne() {
                    return Ok(order);
                }
            }
            Ordering::Equal
        }
        _ => {
            return Err(Error::internal(format_args!("no comparison of {a:?} and {b:?}")));
        }
    })
}

/// As [`compare`], where NULL is greater than everything and equal to itself: elements of arrays and rows, sorting.
pub fn compare_nullable(ctx: &EvalContext, a: &Datum, b: &Datum) -> Result<Ordering> {
    match (a.is_null(), b.is_null()) {
        (false, false) => compare(ctx, a, b),
        (a, b) => Ok(a.cmp(&b)),
    }
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i128 = 86_400 * MICROS_PER_SECOND as i128;
/// Postgres compares intervals as if every month had this many days.
const DAYS_PER_MONTH: i128 = 30;

/// What an interval is worth where intervals are compared.
pub fn interval_micros(i: Interval) -> i128 {
    (i128::from(i.months) * DAYS_PER_MONTH + i128::from(i.days)) * MICROS_PER_DAY + i128::from(i.micros)
}

/// Order of a date, converted, to a timestamp. A date that no timestamp can hold is beyond all of them.
fn date_order(date: i32, converted: Result<i64>, timestamp: i64) -> Ordering {
    match converted {
        Ok(t) => t.cmp(&timestamp),
        Err(_) if timestamp == i64::MAX => Ordering::Less,
        Err(_) => date.cmp(&0),
    }
}

fn float(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn strip(s: &str) -> &str {
    s.trim_end_matches(' ')
}

macro_rules! comparison {
    ($($name:ident, $bpchar:ident: $test:ident;)*) => {$(
        pub fn $name(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            Ok(Datum::Bool(compare(ctx, &a[0], &a[1])?.$test()))
        }

        pub fn $bpchar(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            let order = strip(super::args::text(&a[0])?).cmp(strip(super::args::text(&a[1])?));
            Ok(Datum::Bool(order.$test()))
        }
    )*};
}

comparison! {
    eq, bpchar_eq: is_eq;
    ne, bpchar_ne: is_ne;
    lt, bpchar_lt: is_lt;
    le, bpchar_le: is_le;
    gt, bpchar_gt: is_gt;
    ge, bpchar_ge: is_ge;
}

/// `btint4cmp` and its kin: -1, 0, 1.
pub fn cmp(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int4(compare(ctx, &a[0], &a[1])? as i32))
}

/// `text_larger` and its kin.
pub fn larger(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let order = compare(ctx, &a[0], &a[1])?;
    Ok(a[usize::from(order.is_lt())].clone())
}

/// `text_smaller` and its kin.
pub fn smaller(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let order = compare(ctx, &a[0], &a[1])?;
    Ok(a[usize::from(order.is_gt())].clone())
}
