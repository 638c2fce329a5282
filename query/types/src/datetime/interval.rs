//! Interval arithmetic (`timestamp.c`).

use super::interval_out_of_range;
pub use super::interval_parse::parse_interval;
use super::parse::round_time;
use super::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::{Error, Interval, Result};

/// Bits of the fields in an interval's modifier (`INTERVAL_MASK`).
const YEAR: i32 = 1 << 2;
const MONTH: i32 = 1 << 1;
const DAY: i32 = 1 << 3;
const HOUR: i32 = 1 << 10;
const MINUTE: i32 = 1 << 11;
const SECOND: i32 = 1 << 12;
const FULL_RANGE: i32 = 0x7fff;
const FULL_PRECISION: i32 = 0xffff;

/// The modifier of `interval fields (precision)`: `fields` as in `year to month` in lower case, or empty.
///
/// `None` when the fields are none of the standard's.
pub fn interval_fields_typmod(fields: &str, precision: Option<u32>) -> Option<i32> {
    let range = match fields {
        "" => FULL_RANGE,
        "year" => YEAR,
        "month" => MONTH,
        "day" => DAY,
        "hour" => HOUR,
        "minute" => MINUTE,
        "second" => SECOND,
        "year to month" => YEAR | MONTH,
        "day to hour" => DAY | HOUR,
        "day to minute" => DAY | HOUR | MINUTE,
        "day to second" => DAY | HOUR | MINUTE | SECOND,
        "hour to minute" => HOUR | MINUTE,
        "hour to second" => HOUR | MINUTE | SECOND,
        "minute to second" => MINUTE | SECOND,
        _ => return None,
    };
    let precision = precision.map_or(FULL_PRECISION, |p| p.min(6) as i32);
    Some(range << 16 | precision)
}

/// Field bits of a modifier; all when none are set.
pub(super) fn range_of(typmod: i32) -> i32 {
    if typmod < 0 {
        FULL_RANGE
    } else {
        match typmod >> 16 & FULL_RANGE {
            0 => FULL_RANGE,
            range => range,
        }
    }
}

/// What a bare number counts in an interval of that modifier: the least field.
pub(super) fn default_unit(typmod: i32) -> &'static str {
    let range = range_of(typmod);
    if range == FULL_RANGE || range & SECOND != 0 {
        "second"
    } else if range & MINUTE != 0 {
        "minute"
    } else if range & HOUR != 0 {
        "hour"
    } else if range & DAY != 0 {
        "day"
    } else if range & MONTH != 0 {
        "month"
    } else {
        "year"
    }
}

/// Whether `hh:mm` means minutes and seconds.
pub(super) fn is_minute_to_second(typmod: i32) -> bool {
    range_of(typmod) == MINUTE | SECOND
}

/// Applies an interval's modifier: cuts fields below the least one, rounds seconds.
///
/// # Errors
/// 22008 out of range.
pub fn interval_typmod(v: Interval, typmod: i32) -> Result<Interval> {
    if typmod < 0 {
        return Ok(v);
    }
    let range = range_of(typmod);
    let mut v = v;
    if range != FULL_RANGE {
        if range & SECOND != 0 {
            // nothing below seconds to cut
        } else if range & MINUTE != 0 {
            v.micros = v.micros / MICROS_PER_MINUTE * MICROS_PER_MINUTE;
        } else if range & HOUR != 0 {
            v.micros = v.micros / MICROS_PER_HOUR * MICROS_PER_HOUR;
        } else if range & DAY != 0 {
            v.micros = 0;
        } else if range & MONTH != 0 {
            v.micros = 0;
            v.days = 0;
        } else {
            v.micros = 0;
            v.days = 0;
            v.months = v.months / 12 * 12;
        }
    }
    let precision = typmod & FULL_PRECISION;
    if precision <= 6 {
        v.micros = round_time(v.micros, Some(precision as u32));
    }
    Ok(v)
}

/// a + b
///
/// # Errors
/// 22008 out of range.
pub fn interval_add(a: Interval, b: Interval) -> Result<Interval> {
    match (a.months.checked_add(b.months), a.days.checked_add(b.days), a.micros.checked_add(b.micros)) {
        (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
        _ => Err(interval_out_of_range()),
    }
}

/// a - b
///
/// # Errors
/// 22008 out of range.
pub fn interval_sub(a: Interval, b: Interval) -> Result<Interval> {
    interval_add(a, interval_neg(b)?)
}

/// -a
///
/// # Errors
/// 22008 out of range.
pub fn interval_neg(a: Interval) -> Result<Interval> {
    match (a.months.checked_neg(), a.days.checked_neg(), a.micros.checked_neg()) {
        (Some(months), Some(days), Some(micros)) => Ok(Interval { months, days, micros }),
        _ => Err(interval_out_of_range()),
    }
}

fn to_i32(value: f64) -> Result<i32> {
    if value.is_nan() || value < f64::from(i32::MIN) || value > f64::from(i32::MAX) {
        return Err(interval_out_of_range());
    }
    Ok(value as i32)
}

/// Rounds to microseconds of a second, as `TSROUND`.
fn round_seconds(seconds: f64) -> f64 {
    (seconds * 1e6).round_ties_even() / 1e6
}

/// Scales; fractions of months become days (30), fractions of days time.
fn scale(a: Interval, apply: impl Fn(f64) -> f64) -> Result<Interval> {
    let months_exact = apply(f64::from(a.months));
    let days_exact = apply(f64::from(a.days));
    let months = to_i32(months_exact)?;
    let days = to_i32(days_exact)?;
    let month_days = round_seconds((months_exact - f64::from(months)) * 30.0);
    let whole_month_days = to_i32(month_days)?;
    let mut seconds =
        round_seconds((days_exact - f64::from(days) + month_days - f64::from(whole_month_days)) * 86_400.0);
    let mut days = i64::from(days);
    if seconds.abs() >= 86_400.0 {
        let carry = to_i32(seconds / 86_400.0)?;
        days += i64::from(carry);
        seconds -= f64::from(carry) * 86_400.0;
    }
    days += i64::from(whole_month_days);
    let micros = (apply(a.micros as f64) + seconds * 1e6).round_ties_even();
    if micros.is_nan() || micros < i64::MIN as f64 || micros >= i64::MAX as f64 {
        return Err(interval_out_of_range());
    }
    Ok(Interval { months, days: i32::try_from(days).map_err(|_| interval_out_of_range())?, micros: micros as i64 })
}

/// interval × number
///
/// # Errors
/// 22008 out of range.
pub fn interval_mul(a: Interval, by: f64) -> Result<Interval> {
    scale(a, |x| x * by)
}

/// interval / number
///
/// # Errors
/// 22012 by zero, 22008 out of range.
pub fn interval_div(a: Interval, by: f64) -> Result<Interval> {
    if by == 0.0 {
        return Err(Error::division_by_zero());
    }
    scale(a, |x| x / by)
}

/// Moves what is left of a smaller unit by one larger unit, so that both have one sign. `lesser` breaks the tie of a smaller
/// unit that is zero.
fn one_sign(large: &mut i64, small: &mut i64, lesser: i64, unit: i64) {
    if *large > 0 && (*small < 0 || *small == 0 && lesser < 0) {
        *small += unit;
        *large -= 1;
    } else if *large < 0 && (*small > 0 || *small == 0 && lesser > 0) {
        *small -= unit;
        *large += 1;
    }
}

fn interval_of(months: i64, days: i64, micros: i64) -> Result<Interval> {
    let narrow = |field| i32::try_from(field).map_err(|_| interval_out_of_range());
    Ok(Interval { months: narrow(months)?, days: narrow(days)?, micros })
}

/// Moves whole days of time into the days.
///
/// # Errors
/// 22008 out of range.
pub fn justify_hours(a: Interval) -> Result<Interval> {
    let mut days = i64::from(a.days) + a.micros / MICROS_PER_DAY;
    let mut micros = a.micros % MICROS_PER_DAY;
    one_sign(&mut days, &mut micros, 0, MICROS_PER_DAY);
    interval_of(a.months.into(), days, micros)
}

/// Moves 30 days into a month.
///
/// # Errors
/// 22008 out of range.
pub fn justify_days(a: Interval) -> Result<Interval> {
    let mut months = i64::from(a.months) + i64::from(a.days / 30);
    let mut days = i64::from(a.days % 30);
    one_sign(&mut months, &mut days, 0, 30);
    interval_of(months, days, a.micros)
}

/// Both, and one sign for all.
///
/// # Errors
/// 22008 out of range.
pub fn justify_interval(a: Interval) -> Result<Interval> {
    let mut days = i64::from(a.days) + a.micros / MICROS_PER_DAY;
    let mut micros = a.micros % MICROS_PER_DAY;
    let mut months = i64::from(a.months) + days / 30;
    days %= 30;
    one_sign(&mut months, &mut days, micros, 30);
    one_sign(&mut days, &mut micros, 0, MICROS_PER_DAY);
    interval_of(months, days, micros)
}

/// Microseconds of a second's fraction.
pub(super) fn seconds_to_micros(seconds: f64) -> Option<i64> {
    let micros = (seconds * MICROS_PER_SECOND as f64).round_ties_even();
    (micros.abs() < i64::MAX as f64).then_some(micros as i64)
}
