//! `extract`, `date_part`, `date_trunc`, `date_bin`.

use super::arith::{timestamp_to_timestamptz, timestamptz_to_timestamp};
use super::interval_parse::unit;
use super::zone::offset_seconds;
use super::{
    Civil, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, SECONDS_PER_DAY, UNIX_EPOCH_JULIAN,
    days_from_civil, interval_out_of_range, timestamp_out_of_range, weekday,
};
use crate::{Datum, Error, ErrorKind, Interval, Numeric, PgType, Result, TimeZone};

/// ISO week: year and week of a day.
pub(super) fn iso_week(days: i64, year: i64) -> (i64, i64) {
    // Day of Monday of week 1 of a year.
    let first = |year: i64| {
        let fourth = days_from_civil(year, 1, 4);
        fourth - (weekday(fourth) + 6) % 7
    };
    let year = if days < first(year) {
        year - 1
    } else if days >= first(year + 1) {
        year + 1
    } else {
        year
    };
    (year, (days - first(year)) / 7 + 1)
}

/// Canonical name of a unit of time (`DecodeUnits`).
fn unit_name(field: &str) -> Option<&'static str> {
    let lower = field.to_ascii_lowercase();
    unit(&lower).or(match lower.get(..10).unwrap_or(&lower) {
        "timezone" => Some("timezone"),
        "timezone_h" => Some("timezone_hour"),
        "timezone_m" => Some("timezone_minute"),
        _ => None,
    })
}

/// The same, with the words that only `extract` takes.
fn field_name(field: &str) -> Option<&'static str> {
    unit_name(field).or(match field.to_ascii_lowercase().as_str() {
        "epoch" => Some("epoch"),
        "dow" => Some("dow"),
        "isodow" => Some("isodow"),
        "doy" => Some("doy"),
        "isoyear" => Some("isoyear"),
        "julian" | "jd" | "j" => Some("julian"),
        _ => None,
    })
}

fn unrecognized(field: &str, ty: PgType) -> Error {
    Error::new(
        ErrorKind::InvalidParameterValue,
        format!("unit \"{}\" not recognized for type {ty}", field.to_ascii_lowercase()),
    )
}

fn unsupported(field: &str, ty: PgType) -> Error {
    Error::new(
        ErrorKind::FeatureNotSupported,
        format!("unit \"{}\" not supported for type {ty}", field.to_ascii_lowercase()),
    )
}

fn int(n: i64) -> Numeric {
    Numeric::from(n)
}

fn scaled(n: i64, scale: u16) -> Numeric {
    Numeric::from_scaled(i128::from(n), scale)
}

/// Years as shown: there is no year 0.
fn shown_year(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

fn decade(year: i64) -> i64 {
    if year >= 0 { year / 10 } else { -((8 - (year - 1)) / 10) }
}

fn century(year: i64) -> i64 {
    if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) }
}

fn millennium(year: i64) -> i64 {
    if year > 0 { (year + 999) / 1000 } else { -((999 - (year - 1)) / 1000) }
}

fn time_field(name: &str, time: i64) -> Option<Numeric> {
    Some(match name {
        "microsecond" => int(time % MICROS_PER_MINUTE),
        "millisecond" => scaled(time % MICROS_PER_MINUTE, 3),
        "second" => scaled(time % MICROS_PER_MINUTE, 6),
        "minute" => int(time / MICROS_PER_MINUTE % 60),
        "hour" => int(time / MICROS_PER_HOUR),
        _ => return None,
    })
}

fn date_field(name: &str, days: i64) -> Option<Numeric> {
    let (year, month, day) = super::civil_from_days(days);
    Some(int(match name {
        "day" => day,
        "month" => month,
        "quarter" => (month - 1) / 3 + 1,
        "week" => iso_week(days, year).1,
        "year" => shown_year(year),
        "decade" => decade(year),
        "century" => century(year),
        "millennium" => millennium(year),
        "isoyear" => shown_year(iso_week(days, year).0),
        "dow" => weekday(days),
        "isodow" => (weekday(days) + 6) % 7 + 1,
        "doy" => days - days_from_civil(year, 1, 1) + 1,
        _ => return None,
    }))
}

fn zone_field(name: &str, east: i64) -> Option<Numeric> {
    Some(int(match name {
        "timezone" => east,
        "timezone_hour" => east / 3600,
        "timezone_minute" => east / 60 % 60,
        _ => return None,
    }))
}

/// Infinite values: fields that only grow are infinite, the others NULL.
fn infinite(name: &str, positive: bool) -> Option<Numeric> {
    let grows = matches!(name, "year" | "decade" | "century" | "millennium" | "julian" | "isoyear" | "epoch");
    grows.then_some(if positive { Numeric::INFINITY } else { Numeric::NEG_INFINITY })
}

fn timestamp_field(name: &str, local: i64) -> Result<Option<Numeric>> {
    let days = local.div_euclid(MICROS_PER_DAY);
    let time = local.rem_euclid(MICROS_PER_DAY);
    if name == "julian" {
        let fraction = int(time).div(&int(MICROS_PER_DAY))?;
        return Ok(Some(int(days + UNIX_EPOCH_JULIAN).add(&fraction)?));
    }
    Ok(time_field(name, time).or_else(|| date_field(name, days)))
}

fn interval_field(name: &str, i: Interval) -> Option<Numeric> {
    let years = i64::from(i.months / 12);
    Some(match name {
        "day" => int(i64::from(i.days)),
        "month" => int(i64::from(i.months % 12)),
        "quarter" => int(i64::from(i.months % 12 / 3 + 1)),
        "year" => int(years),
        "decade" => int(years / 10),
        "century" => int(years / 100),
        "millennium" => int(years / 1000),
        "epoch" => {
            // A year has 365.25 days here, a month of the rest 30.
            let days4 = 1461 * i128::from(years) + 4 * (30 * i128::from(i.months % 12) + i128::from(i.days));
            let seconds = days4 * i128::from(SECONDS_PER_DAY / 4);
            Numeric::from_scaled(seconds * i128::from(MICROS_PER_SECOND) + i128::from(i.micros), 6)
        }
        _ => return time_field(name, i.micros),
    })
}

/// `extract(field FROM value)`; `None` is NULL (cyclic fields of infinite values). `ty` is date, time, timetz, timestamp,
/// timestamptz or interval.
///
/// # Errors
/// 22023 for an unknown field, 0A000 for one that the type does not have.
pub fn extract(field: &str, ty: PgType, value: &Datum, zone: &TimeZone) -> Result<Option<Numeric>> {
    let name = field_name(field).ok_or_else(|| unrecognized(field, ty))?;
    let found = match value {
        Datum::Null => return Ok(None),
        Datum::Date(i32::MAX | i32::MIN)
        | Datum::Timestamp(i64::MAX | i64::MIN)
        | Datum::TimestampTz(i64::MAX | i64::MIN) => {
            let positive =
                matches!(value, Datum::Date(i32::MAX) | Datum::Timestamp(i64::MAX) | Datum::TimestampTz(i64::MAX));
            // The field must exist for the type even so; zones count as fields of a timestamp here.
            let zero = match value {
                Datum::Date(_) => Datum::Date(0),
                _ => Datum::TimestampTz(0),
            };
            extract(field, ty, &zero, zone)?;
            return Ok(infinite(name, positive));
        }
        Datum::Date(days) => {
            let days = i64::from(*days);
            match name {
                "epoch" => Some(int(days * SECONDS_PER_DAY)),
                "julian" => Some(int(days + UNIX_EPOCH_JULIAN)),
                _ => date_field(name, days),
            }
        }
        Datum::Time(t) if name == "epoch" => Some(scaled(*t, 6)),
        Datum::Time(t) => time_field(name, *t),
        Datum::TimeTz(t) if name == "epoch" => Some(scaled(t.utc_micros(), 6)),
        Datum::TimeTz(t) => time_field(name, t.micros).or_else(|| zone_field(name, -i64::from(t.zone_seconds_west))),
        Datum::Timestamp(t) | Datum::TimestampTz(t) if name == "epoch" => Some(scaled(*t, 6)),
        Datum::Timestamp(t) => timestamp_field(name, *t)?,
        Datum::TimestampTz(t) => match zone_field(name, i64::from(offset_seconds(*t, zone))) {
            None => timestamp_field(name, timestamptz_to_timestamp(*t, zone)?)?,
            found => found,
        },
        Datum::Interval(i) => interval_field(name, *i),
        _ => {
            return Err(Error::internal("extract from a value that is no date or time"));
        }
    };
    found.map(Some).ok_or_else(|| unsupported(field, ty))
}

/// `date_part(field, value)`: the same as double precision.
///
/// # Errors
/// As [`extract`].
pub fn date_part(field: &str, ty: PgType, value: &Datum, zone: &TimeZone) -> Result<Option<f64>> {
    Ok(extract(field, ty, value, zone)?.map(|n| n.to_f64_lossy()))
}

/// A local moment cut to a unit; `None` when the unit is none of `date_trunc`'s.
fn truncate(name: &str, local: i64) -> Option<Option<i64>> {
    let time = match name {
        "microsecond" => 1,
        "millisecond" => 1000,
        "second" => MICROS_PER_SECOND,
        "minute" => MICROS_PER_MINUTE,
        "hour" => MICROS_PER_HOUR,
        "day" => MICROS_PER_DAY,
        _ => 0,
    };
    if time > 0 {
        return Some(local.div_euclid(time).checked_mul(time));
    }
    let days = local.div_euclid(MICROS_PER_DAY);
    let c = Civil::from_micros(local);
    let first = |year: i64, month: i64| days_from_civil(year, month, 1);
    let start = match name {
        "week" => days - (weekday(days) + 6) % 7,
        "month" => first(c.year, c.month),
        "quarter" => first(c.year, (c.month - 1) / 3 * 3 + 1),
        "year" => first(c.year, 1),
        "decade" if c.year > 0 => first(c.year / 10 * 10, 1),
        "decade" => first(-((8 - (c.year - 1)) / 10) * 10, 1),
        "century" if c.year > 0 => first((c.year + 99) / 100 * 100 - 99, 1),
        "century" => first(-((99 - (c.year - 1)) / 100) * 100 + 1, 1),
        "millennium" if c.year > 0 => first((c.year + 999) / 1000 * 1000 - 999, 1),
        "millennium" => first(-((999 - (c.year - 1)) / 1000) * 1000 + 1, 1),
        _ => return None,
    };
    Some(start.checked_mul(MICROS_PER_DAY).filter(|t| super::in_range(*t)))
}

/// `date_trunc(field, timestamp)`.
///
/// # Errors
/// 22023 for an unknown field, 0A000 for one that cannot be cut to.
pub fn trunc_timestamp(field: &str, t: i64) -> Result<i64> {
    trunc_named(field, t, PgType::Timestamp)
}

fn trunc_named(field: &str, t: i64, ty: PgType) -> Result<i64> {
    if t == i64::MAX || t == i64::MIN {
        return Ok(t);
    }
    let name = unit_name(field).ok_or_else(|| unrecognized(field, ty))?;
    truncate(name, t).ok_or_else(|| unsupported(field, ty))?.ok_or_else(timestamp_out_of_range)
}

/// `date_trunc(field, timestamptz[, zone])`.
///
/// # Errors
/// As [`trunc_timestamp`].
pub fn trunc_timestamptz(field: &str, t: i64, zone: &TimeZone) -> Result<i64> {
    let local = timestamptz_to_timestamp(t, zone)?;
    let cut = trunc_named(field, local, PgType::TimestampTz)?;
    if t == i64::MAX || t == i64::MIN {
        return Ok(t);
    }
    let short = matches!(unit_name(field), Some("microsecond" | "millisecond" | "second" | "minute" | "hour"));
    if short {
        // Within an hour the offset is that of the value, also in the repeated hour of autumn.
        return Ok(cut - i64::from(offset_seconds(t, zone)) * MICROS_PER_SECOND);
    }
    timestamp_to_timestamptz(cut, zone)
}

/// `date_trunc(field, interval)`.
///
/// # Errors
/// As [`trunc_timestamp`].
pub fn trunc_interval(field: &str, i: Interval) -> Result<Interval> {
    let ty = PgType::Interval;
    let name = unit_name(field).ok_or_else(|| unrecognized(field, ty))?;
    let months = |unit: i32| Interval { months: i.months / unit * unit, days: 0, micros: 0 };
    let time = |unit: i64| Interval { micros: i.micros / unit * unit, ..i };
    Ok(match name {
        "microsecond" => i,
        "millisecond" => time(1000),
        "second" => time(MICROS_PER_SECOND),
        "minute" => time(MICROS_PER_MINUTE),
        "hour" => time(MICROS_PER_HOUR),
        "day" => Interval { micros: 0, ..i },
        "month" => months(1),
        "quarter" => months(3),
        "year" => months(12),
        "decade" => months(120),
        "century" => months(1200),
        "millennium" => months(12_000),
        "week" => {
            return Err(unsupported(field, ty).with_detail("Months usually have fractional weeks."));
        }
        _ => return Err(unsupported(field, ty)),
    })
}

/// `date_bin(stride, source, origin)` of timestamps and timestamptz alike.
///
/// # Errors
/// 0A000 for strides of months, 22008 for strides not above zero and overflow.
pub fn date_bin(stride: Interval, source: i64, origin: i64) -> Result<i64> {
    if source == i64::MAX || source == i64::MIN {
        return Ok(source);
    }
    if origin == i64::MAX || origin == i64::MIN {
        return Err(Error::new(ErrorKind::DatetimeFieldOverflow, "origin out of range"));
    }
    if stride.months != 0 {
        return Err(Error::new(
            ErrorKind::FeatureNotSupported,
            "timestamps cannot be binned into intervals containing months or years",
        ));
    }
    let micros = i64::from(stride.days)
        .checked_mul(MICROS_PER_DAY)
        .and_then(|d| d.checked_add(stride.micros))
        .ok_or_else(interval_out_of_range)?;
    if micros <= 0 {
        return Err(Error::new(ErrorKind::DatetimeFieldOverflow, "stride must be greater than zero"));
    }
    let distance = source.checked_sub(origin).ok_or_else(interval_out_of_range)?;
    source.checked_sub(distance.rem_euclid(micros)).ok_or_else(timestamp_out_of_range)
}
