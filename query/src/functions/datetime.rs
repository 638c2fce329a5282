//! Date and time functions and operators. What they compute is in `stratos_types::datetime`; here are the clocks and the zone.

use std::time::{SystemTime, UNIX_EPOCH};

use stratos_types::datetime::{arith, fields, interval as span, make, to_char as template, zone};
use stratos_types::numeric::to_char as number_template;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result, TimeZone};

use super::args::{float, int, int4, interval, text, type_of};
use crate::session::EvalContext;

fn no_operator(a: &[Datum]) -> Error {
    Error::internal(format_args!("no such date arithmetic on {a:?}"))
}

fn clock_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

/// `now()`, `transaction_timestamp()`
pub fn now(ctx: &EvalContext, _: &[PgType], _: &[Datum]) -> Result<Datum> {
    Ok(Datum::TimestampTz(ctx.transaction_micros))
}

/// `statement_timestamp()`
pub fn statement_timestamp(ctx: &EvalContext, _: &[PgType], _: &[Datum]) -> Result<Datum> {
    Ok(Datum::TimestampTz(ctx.statement_micros))
}

/// `clock_timestamp()`
pub fn clock_timestamp(_: &EvalContext, _: &[PgType], _: &[Datum]) -> Result<Datum> {
    Ok(Datum::TimestampTz(clock_micros()))
}

/// `timeofday()`: `Wed Feb 26 11:53:03.123456 2025 UTC`
pub fn timeofday(ctx: &EvalContext, _: &[PgType], _: &[Datum]) -> Result<Datum> {
    let tz = &ctx.format.time_zone;
    let shown = template::timestamptz_to_char(clock_micros(), "Dy Mon DD HH24:MI:SS.US YYYY TZ", tz)?;
    Ok(shown.map_or(Datum::Null, Datum::text))
}

/// `+` of dates, times and intervals.
pub fn add(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    use Datum as D;
    Ok(match (&a[0], &a[1]) {
        (D::Date(d), D::Int4(n)) | (D::Int4(n), D::Date(d)) => D::Date(arith::date_plus(*d, *n)?),
        (D::Date(d), D::Interval(i)) | (D::Interval(i), D::Date(d)) => {
            D::Timestamp(arith::timestamp_plus(arith::date_to_timestamp(*d)?, *i)?)
        }
        (D::Date(d), D::Time(t)) | (D::Time(t), D::Date(d)) => D::Timestamp(arith::date_time(*d, *t)?),
        (D::Date(d), D::TimeTz(t)) | (D::TimeTz(t), D::Date(d)) => D::TimestampTz(arith::date_timetz(*d, *t)?),
        (D::Timestamp(t), D::Interval(i)) | (D::Interval(i), D::Timestamp(t)) => {
            D::Timestamp(arith::timestamp_plus(*t, *i)?)
        }
        (D::TimestampTz(t), D::Interval(i)) | (D::Interval(i), D::TimestampTz(t)) => {
            D::TimestampTz(arith::timestamptz_plus(*t, *i, &ctx.format.time_zone)?)
        }
        (D::Time(t), D::Interval(i)) | (D::Interval(i), D::Time(t)) => D::Time(arith::time_plus(*t, *i)?),
        (D::TimeTz(t), D::Interval(i)) | (D::Interval(i), D::TimeTz(t)) => D::TimeTz(arith::timetz_plus(*t, *i)?),
        (D::Interval(x), D::Interval(y)) => D::Interval(span::interval_add(*x, *y)?),
        _ => return Err(no_operator(a)),
    })
}

/// `-` of dates, times and intervals.
pub fn subtract(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    use Datum as D;
    Ok(match a {
        [D::Interval(x)] => D::Interval(span::interval_neg(*x)?),
        [D::Date(d), D::Int4(n)] => {
            // No date is that far from another, so that one day less than asked for fails just as well.
            D::Date(arith::date_plus(*d, n.checked_neg().unwrap_or(i32::MAX))?)
        }
        [D::Date(x), D::Date(y)] => D::Int4(arith::date_diff(*x, *y)?),
        [D::Date(d), D::Interval(i)] => D::Timestamp(arith::timestamp_minus(arith::date_to_timestamp(*d)?, *i)?),
        [D::Timestamp(t), D::Interval(i)] => D::Timestamp(arith::timestamp_minus(*t, *i)?),
        [D::TimestampTz(t), D::Interval(i)] => D::TimestampTz(arith::timestamptz_minus(*t, *i, &ctx.format.time_zone)?),
        [D::Timestamp(x), D::Timestamp(y)] | [D::TimestampTz(x), D::TimestampTz(y)] => {
            D::Interval(arith::timestamp_diff(*x, *y)?)
        }
        [D::Time(t), D::Interval(i)] => D::Time(arith::time_minus(*t, *i)?),
        [D::TimeTz(t), D::Interval(i)] => D::TimeTz(arith::timetz_minus(*t, *i)?),
        [D::Time(x), D::Time(y)] => D::Interval(arith::time_diff(*x, *y)?),
        [D::Interval(x), D::Interval(y)] => D::Interval(span::interval_sub(*x, *y)?),
        _ => return Err(no_operator(a)),
    })
}

/// `interval * float8` and the reverse
pub fn multiply(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (i, by) = match (&a[0], &a[1]) {
        (Datum::Interval(i), by) | (by, Datum::Interval(i)) => (*i, float(by)?),
        _ => return Err(no_operator(a)),
    };
    span::interval_mul(i, by).map(Datum::Interval)
}

/// `interval / float8`
pub fn divide(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let by = float(&a[1])?;
    if by == 0.0 {
        return Err(Error::division_by_zero());
    }
    span::interval_div(interval(&a[0])?, by).map(Datum::Interval)
}

/// `age(a, b)`, and `age(a)` from today's midnight
pub fn age(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let tz = &ctx.format.time_zone;
    let today = || arith::timestamptz_to_date(ctx.transaction_micros, tz);
    let age = match a {
        [Datum::Timestamp(x), Datum::Timestamp(y)] => arith::timestamp_age(*x, *y)?,
        [Datum::TimestampTz(x), Datum::TimestampTz(y)] => arith::timestamptz_age(*x, *y, tz)?,
        [Datum::Timestamp(x)] => arith::timestamp_age(arith::date_to_timestamp(today()?)?, *x)?,
        [Datum::TimestampTz(x)] => arith::timestamptz_age(arith::date_to_timestamptz(today()?, tz)?, *x, tz)?,
        _ => return Err(no_operator(a)),
    };
    Ok(Datum::Interval(age))
}

/// `extract(field from x)`, numeric
pub fn extract(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let tz = &ctx.format.time_zone;
    let value = fields::extract(text(&a[0])?, type_of(types, 1), &a[1], tz)?;
    Ok(value.map_or(Datum::Null, Datum::Numeric))
}

/// `date_part(field, x)`, double precision
pub fn date_part(ctx: &EvalContext, types: &[PgType], a: &[Datum]) -> Result<Datum> {
    let tz = &ctx.format.time_zone;
    let field = text(&a[0])?;
    // date_part of a date is that of its midnight (extract of a date refuses the fields of a time).
    let value = match &a[1] {
        Datum::Date(d) => {
            let midnight = Datum::Timestamp(arith::date_to_timestamp(*d)?);
            fields::date_part(field, PgType::Timestamp, &midnight, tz)?
        }
        other => fields::date_part(field, type_of(types, 1), other, tz)?,
    };
    Ok(value.map_or(Datum::Null, Datum::Float8))
}

/// `date_trunc(field, x[, zone])`
pub fn date_trunc(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let field = text(&a[0])?;
    Ok(match &a[1] {
        Datum::Timestamp(t) => Datum::Timestamp(fields::trunc_timestamp(field, *t)?),
        Datum::TimestampTz(t) => {
            let given = a.get(2).map(|z| zone::parse_zone(text(z)?)).transpose()?;
            let tz = given.as_ref().unwrap_or(&ctx.format.time_zone);
            Datum::TimestampTz(fields::trunc_timestamptz(field, *t, tz)?)
        }
        other => Datum::Interval(fields::trunc_interval(field, interval(other)?)?),
    })
}

/// `date_bin(stride, source, origin)`
pub fn date_bin(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let stride = interval(&a[0])?;
    match (&a[1], &a[2]) {
        (Datum::Timestamp(t), Datum::Timestamp(o)) => fields::date_bin(stride, *t, *o).map(Datum::Timestamp),
        (Datum::TimestampTz(t), Datum::TimestampTz(o)) => fields::date_bin(stride, *t, *o).map(Datum::TimestampTz),
        _ => Err(no_operator(a)),
    }
}

fn zone_of(d: &Datum) -> Result<TimeZone> {
    match d {
        Datum::Interval(i) => {
            if i.months != 0 || i.days != 0 {
                return Err(Error::new(
                    ErrorKind::InvalidParameterValue,
                    "interval time zone must not include months or days",
                ));
            }
            let seconds = i32::try_from(i.micros / 1_000_000).map_err(|_| Error::out_of_range("interval"))?;
            zone::zone_from_seconds_east(seconds)
        }
        other => zone::parse_zone(text(other)?),
    }
}

/// `timezone(zone, x)`: `x AT TIME ZONE zone`
pub fn timezone(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    match &a[1] {
        Datum::Timestamp(t @ (i64::MIN | i64::MAX)) => return Ok(Datum::TimestampTz(*t)),
        Datum::TimestampTz(t @ (i64::MIN | i64::MAX)) => return Ok(Datum::Timestamp(*t)),
        _ => {}
    }
    let tz = zone_of(&a[0])?;
    Ok(match &a[1] {
        Datum::Timestamp(t) => Datum::TimestampTz(arith::timestamp_to_timestamptz(*t, &tz)?),
        Datum::TimestampTz(t) => Datum::Timestamp(arith::timestamptz_to_timestamp(*t, &tz)?),
        Datum::TimeTz(t) => {
            const DAY: i64 = 86_400_000_000;
            let (east, _) = zone::offset_at(ctx.transaction_micros, &tz);
            let utc = t.micros + i64::from(t.zone_seconds_west) * 1_000_000;
            Datum::TimeTz(stratos_types::TimeTz {
                micros: (utc + i64::from(east) * 1_000_000).rem_euclid(DAY),
                zone_seconds_west: -east,
            })
        }
        _ => return Err(no_operator(a)),
    })
}

/// `to_char(x, template)`
pub fn to_char(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let format = text(&a[1])?;
    let shown = match &a[0] {
        Datum::Timestamp(t) => template::timestamp_to_char(*t, format)?,
        Datum::TimestampTz(t) => template::timestamptz_to_char(*t, format, &ctx.format.time_zone)?,
        Datum::Interval(i) => template::interval_to_char(*i, format)?,
        Datum::Numeric(n) => Some(number_template::numeric_to_char(n, format)?),
        Datum::Float8(v) => Some(number_template::float8_to_char(*v, format)?),
        Datum::Float4(v) => Some(number_template::float4_to_char(*v, format)?),
        other => Some(number_template::int_to_char(int(other)?, format)?),
    };
    Ok(shown.map_or(Datum::Null, Datum::text))
}

/// `to_number(s, template)`
pub fn to_number(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let value = number_template::to_number(text(&a[0])?, text(&a[1])?)?;
    Ok(value.map_or(Datum::Null, Datum::Numeric))
}

/// `to_timestamp(s, template)`
pub fn to_timestamp(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let tz = &ctx.format.time_zone;
    template::to_timestamp(text(&a[0])?, text(&a[1])?, tz).map(Datum::TimestampTz)
}

/// `to_timestamp(seconds)`
pub fn to_timestamp_seconds(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    make::timestamptz_from_epoch(float(&a[0])?).map(Datum::TimestampTz)
}

/// `to_date(s, template)`
pub fn to_date(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    template::to_date(text(&a[0])?, text(&a[1])?).map(Datum::Date)
}

/// `make_date`
pub fn make_date(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    make::make_date(int4(&a[0])?, int4(&a[1])?, int4(&a[2])?).map(Datum::Date)
}

/// `make_time`
pub fn make_time(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    make::make_time(int4(&a[0])?, int4(&a[1])?, float(&a[2])?).map(Datum::Time)
}

/// `make_timestamp`
pub fn make_timestamp(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let part = |i: usize| int4(&a[i]);
    let seconds = float(&a[5])?;
    make::make_timestamp(part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, seconds).map(Datum::Timestamp)
}

/// `make_timestamptz(…[, zone])`
pub fn make_timestamptz(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let part = |i: usize| int4(&a[i]);
    let seconds = float(&a[5])?;
    let given = a.get(6).map(|zone| zone::parse_zone_of_moment(text(zone)?)).transpose()?;
    let tz = given.as_ref().unwrap_or(&ctx.format.time_zone);
    make::make_timestamptz(part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, seconds, tz).map(Datum::TimestampTz)
}

/// `make_interval`; arguments left out are 0.
pub fn make_interval(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let part = |i: usize| a.get(i).map_or(Ok(0), int4);
    let seconds = a.get(6).map_or(Ok(0.0), float)?;
    make::make_interval(part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, part(5)?, seconds).map(Datum::Interval)
}

macro_rules! spans {
    ($($name:ident)*) => {$(
        /// The function of this name.
        pub fn $name(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            span::$name(interval(&a[0])?).map(Datum::Interval)
        }
    )*};
}

spans! { justify_hours justify_days justify_interval }

/// `isfinite`
pub fn isfinite(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(match &a[0] {
        Datum::Date(d) => *d != i32::MIN && *d != i32::MAX,
        Datum::Timestamp(t) | Datum::TimestampTz(t) => *t != i64::MIN && *t != i64::MAX,
        _ => true,
    }))
}

/// An end of a period on one scale; intervals count from the period's start.
fn overlaps_point(start: &Datum, end: &Datum, tz: &TimeZone) -> Result<Option<i64>> {
    Ok(match (start, end) {
        (_, Datum::Null) => None,
        (_, Datum::Timestamp(t) | Datum::TimestampTz(t) | Datum::Time(t)) => Some(*t),
        (_, Datum::TimeTz(t)) => Some(t.micros + i64::from(t.zone_seconds_west) * 1_000_000),
        (Datum::Null, Datum::Interval(_)) => None,
        (Datum::Timestamp(t), Datum::Interval(i)) => Some(arith::timestamp_plus(*t, *i)?),
        (Datum::TimestampTz(t), Datum::Interval(i)) => Some(arith::timestamptz_plus(*t, *i, tz)?),
        (Datum::Time(t), Datum::Interval(i)) => Some(arith::time_plus(*t, *i)?),
        (_, other) => return Err(no_operator(std::slice::from_ref(other))),
    })
}

/// `(a, b) OVERLAPS (c, d)`
pub fn overlaps(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let tz = &ctx.format.time_zone;
    let start = overlaps_point(&a[0], &a[0], tz)?;
    let end = overlaps_point(&a[0], &a[1], tz)?;
    let other_start = overlaps_point(&a[2], &a[2], tz)?;
    let other_end = overlaps_point(&a[2], &a[3], tz)?;
    let result = arith::overlaps(start, end, other_start, other_end)?;
    Ok(result.map_or(Datum::Null, Datum::Bool))
}
