//! Arithmetic of dates, times and timestamps (`timestamp.c`, `date.c`). Infinite values stay what they are.

use super::parse::round_time;
use super::zone::{local_offset, offset_seconds};
use super::{
    Civil, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, civil_from_days, date_in_range, date_out_of_range,
    days_from_civil, days_in_month, in_range, interval_out_of_range, timestamp_out_of_range,
};
use crate::{Error, ErrorKind, Interval, Result, TimeTz, TimeZone};

fn is_infinite(t: i64) -> bool {
    t == i64::MAX || t == i64::MIN
}

fn checked(t: Option<i64>) -> Result<i64> {
    t.filter(|t| in_range(*t)).ok_or_else(timestamp_out_of_range)
}

/// Moves a local moment by months; the day is cut to the month's length.
fn add_months(t: i64, months: i32) -> Result<i64> {
    if months == 0 {
        return Ok(t);
    }
    let (year, month, day) = civil_from_days(t.div_euclid(MICROS_PER_DAY));
    let total = year * 12 + month - 1 + i64::from(months);
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    let days = days_from_civil(year, month, day.min(days_in_month(year, month)));
    checked(days.checked_mul(MICROS_PER_DAY).and_then(|d| d.checked_add(t.rem_euclid(MICROS_PER_DAY))))
}

fn add_days(t: i64, days: i32) -> Result<i64> {
    if days == 0 {
        return Ok(t);
    }
    checked(i64::from(days).checked_mul(MICROS_PER_DAY).and_then(|d| t.checked_add(d)))
}

/// timestamp + interval: months, then days, then time.
///
/// # Errors
/// 22008 out of range.
pub fn timestamp_plus(t: i64, i: Interval) -> Result<i64> {
    if is_infinite(t) {
        return Ok(t);
    }
    let t = add_days(add_months(t, i.months)?, i.days)?;
    checked(t.checked_add(i.micros))
}

fn negated(i: Interval) -> Interval {
    Interval { months: i.months.wrapping_neg(), days: i.days.wrapping_neg(), micros: i.micros.wrapping_neg() }
}

/// timestamp - interval
///
/// # Errors
/// 22008 out of range.
pub fn timestamp_minus(t: i64, i: Interval) -> Result<i64> {
    timestamp_plus(t, negated(i))
}

/// timestamptz + interval: months and days move the local time of the zone.
///
/// # Errors
/// 22008 out of range.
pub fn timestamptz_plus(t: i64, i: Interval, zone: &TimeZone) -> Result<i64> {
    if is_infinite(t) {
        return Ok(t);
    }
    let mut t = t;
    if i.months != 0 {
        let local = add_months(timestamptz_to_timestamp(t, zone)?, i.months)?;
        t = timestamp_to_timestamptz(local, zone)?;
    }
    if i.days != 0 {
        let local = add_days(timestamptz_to_timestamp(t, zone)?, i.days)?;
        t = timestamp_to_timestamptz(local, zone)?;
    }
    checked(t.checked_add(i.micros))
}

/// timestamptz - interval
///
/// # Errors
/// 22008 out of range.
pub fn timestamptz_minus(t: i64, i: Interval, zone: &TimeZone) -> Result<i64> {
    timestamptz_plus(t, negated(i), zone)
}

/// timestamp - timestamp, and timestamptz - timestamptz: days and time.
///
/// # Errors
/// 22008 for infinite operands.
pub fn timestamp_diff(a: i64, b: i64) -> Result<Interval> {
    if is_infinite(a) || is_infinite(b) {
        return Err(Error::new(ErrorKind::DatetimeFieldOverflow, "cannot subtract infinite timestamps"));
    }
    let micros = a.checked_sub(b).ok_or_else(interval_out_of_range)?;
    super::interval::justify_hours(Interval { micros, ..Interval::default() })
}

fn age(a: Civil, b: Civil, negative: bool) -> Interval {
    // Fields of later - earlier, borrowing; the borrowed month is the earlier one's.
    let (later, earlier) = if negative { (b, a) } else { (a, b) };
    let mut micros = later.time() - earlier.time();
    let mut days = later.day - earlier.day;
    let mut months = (later.year - earlier.year) * 12 + later.month - earlier.month;
    if micros < 0 {
        micros += MICROS_PER_DAY;
        days -= 1;
    }
    while days < 0 {
        days += days_in_month(earlier.year, earlier.month);
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    Interval { months: (sign * months) as i32, days: (sign * days) as i32, micros: sign * micros }
}

/// `age(a, b)` of timestamps: years, months and days by the calendar.
///
/// # Errors
/// 22008 for -infinity.
pub fn timestamp_age(a: i64, b: i64) -> Result<Interval> {
    Ok(age(age_operand(a)?, age_operand(b)?, a < b))
}

/// Postgres takes infinity for the last moment of its 64 bits here, which count from 2000.
fn age_operand(t: i64) -> Result<Civil> {
    match t {
        i64::MIN => Err(timestamp_out_of_range()),
        i64::MAX => {
            let days = i64::MAX / MICROS_PER_DAY + i64::from(super::POSTGRES_EPOCH_DAYS);
            let (year, month, day) = civil_from_days(days);
            Ok(Civil { year, month, day, ..Civil::from_time(i64::MAX % MICROS_PER_DAY) })
        }
        t => Ok(Civil::from_micros(t)),
    }
}

/// `age(a, b)` of timestamptz, in the zone.
///
/// # Errors
/// 22008 for -infinity.
pub fn timestamptz_age(a: i64, b: i64, zone: &TimeZone) -> Result<Interval> {
    timestamp_age(timestamptz_to_timestamp(a, zone)?, timestamptz_to_timestamp(b, zone)?)
}

/// date + integer
///
/// # Errors
/// 22008 out of range.
pub fn date_plus(date: i32, days: i32) -> Result<i32> {
    if matches!(date, i32::MAX | i32::MIN) {
        return Ok(date);
    }
    date_in_range(i64::from(date) + i64::from(days)).ok_or_else(date_out_of_range)
}

/// date - date
///
/// # Errors
/// 22008 for infinite operands.
pub fn date_diff(a: i32, b: i32) -> Result<i32> {
    if [a, b].iter().any(|d| matches!(*d, i32::MAX | i32::MIN)) {
        return Err(Error::new(ErrorKind::DatetimeFieldOverflow, "cannot subtract infinite dates"));
    }
    a.checked_sub(b).ok_or_else(date_out_of_range)
}

/// time + interval, round the clock
///
/// # Errors
/// None in practice.
pub fn time_plus(t: i64, i: Interval) -> Result<i64> {
    Ok((t + i.micros.rem_euclid(MICROS_PER_DAY)).rem_euclid(MICROS_PER_DAY))
}

/// time - interval, round the clock
///
/// # Errors
/// None in practice.
pub fn time_minus(t: i64, i: Interval) -> Result<i64> {
    Ok((t - i.micros.rem_euclid(MICROS_PER_DAY)).rem_euclid(MICROS_PER_DAY))
}

/// timetz + interval
///
/// # Errors
/// None in practice.
pub fn timetz_plus(t: TimeTz, i: Interval) -> Result<TimeTz> {
    Ok(TimeTz { micros: time_plus(t.micros, i)?, ..t })
}

/// timetz - interval
///
/// # Errors
/// None in practice.
pub fn timetz_minus(t: TimeTz, i: Interval) -> Result<TimeTz> {
    Ok(TimeTz { micros: time_minus(t.micros, i)?, ..t })
}

/// time - time
///
/// # Errors
/// None in practice.
pub fn time_diff(a: i64, b: i64) -> Result<Interval> {
    Ok(Interval { micros: a - b, ..Interval::default() })
}

/// date + time: a timestamp
///
/// # Errors
/// 22008 out of range.
pub fn date_time(date: i32, time: i64) -> Result<i64> {
    let day = date_to_timestamp(date)?;
    if is_infinite(day) {
        return Ok(day);
    }
    checked(day.checked_add(time))
}

/// date + timetz: a timestamptz
///
/// # Errors
/// 22008 out of range.
pub fn date_timetz(date: i32, time: TimeTz) -> Result<i64> {
    let day = date_to_timestamp(date)?;
    if is_infinite(day) {
        return Ok(day);
    }
    checked(day.checked_add(time.utc_micros()))
}

/// `OVERLAPS` of (a, b) and (c, d); `None` is NULL.
///
/// # Errors
/// None in practice.
pub fn overlaps(a: Option<i64>, b: Option<i64>, c: Option<i64>, d: Option<i64>) -> Result<Option<bool>> {
    // A period with one NULL end starts at the other; both NULL is unknown.
    let period = |x: Option<i64>, y: Option<i64>| match (x, y) {
        (None, None) => None,
        (Some(x), None) | (None, Some(x)) => Some((x, None)),
        (Some(x), Some(y)) => Some((x.min(y), Some(x.max(y)))),
    };
    let (Some((s1, e1)), Some((s2, e2))) = (period(a, b), period(c, d)) else {
        return Ok(None);
    };
    let (first_end, second_start, second_end) = match s1.cmp(&s2) {
        std::cmp::Ordering::Less => (e1, s2, e2),
        std::cmp::Ordering::Greater => (e2, s1, e1),
        std::cmp::Ordering::Equal => return Ok(e1.and(e2).map(|_| true)),
    };
    Ok(match (first_end, second_end) {
        (Some(end), _) if second_start < end => Some(true),
        (Some(_), Some(_)) => Some(false),
        // Whether it is the end or the start that is not known, the periods may overlap.
        _ => None,
    })
}

/// date → timestamp at midnight
///
/// # Errors
/// 22008 beyond the range of timestamps.
pub fn date_to_timestamp(date: i32) -> Result<i64> {
    match date {
        i32::MAX => Ok(i64::MAX),
        i32::MIN => Ok(i64::MIN),
        days => i64::from(days)
            .checked_mul(MICROS_PER_DAY)
            .ok_or_else(|| Error::new(ErrorKind::DatetimeFieldOverflow, "date out of range for timestamp")),
    }
}

/// date → timestamptz at midnight of the zone
///
/// # Errors
/// 22008 beyond the range of timestamps.
pub fn date_to_timestamptz(date: i32, zone: &TimeZone) -> Result<i64> {
    timestamp_to_timestamptz(date_to_timestamp(date)?, zone)
}

/// timestamp → date
///
/// # Errors
/// None in practice.
pub fn timestamp_to_date(t: i64) -> Result<i32> {
    match t {
        i64::MAX => Ok(i32::MAX),
        i64::MIN => Ok(i32::MIN),
        t => i32::try_from(t.div_euclid(MICROS_PER_DAY)).map_err(|_| date_out_of_range()),
    }
}

/// timestamptz → date in the zone
///
/// # Errors
/// None in practice.
pub fn timestamptz_to_date(t: i64, zone: &TimeZone) -> Result<i32> {
    timestamp_to_date(timestamptz_to_timestamp(t, zone)?)
}

/// Local time of the zone → instant (`timestamp AT TIME ZONE`).
///
/// # Errors
/// 22008 out of range.
pub fn timestamp_to_timestamptz(t: i64, zone: &TimeZone) -> Result<i64> {
    if is_infinite(t) {
        return Ok(t);
    }
    checked(t.checked_sub(i64::from(local_offset(t, zone)) * MICROS_PER_SECOND))
}

/// Instant → local time of the zone (`timestamptz AT TIME ZONE`).
///
/// # Errors
/// 22008 out of range.
pub fn timestamptz_to_timestamp(t: i64, zone: &TimeZone) -> Result<i64> {
    if is_infinite(t) {
        return Ok(t);
    }
    t.checked_add(i64::from(offset_seconds(t, zone)) * MICROS_PER_SECOND).ok_or_else(timestamp_out_of_range)
}

/// `timetz AT TIME ZONE`: the same moment with another offset, which is the zone's at `now_micros`.
pub fn timetz_at_zone(t: TimeTz, zone: &TimeZone, now_micros: i64) -> TimeTz {
    let west = -offset_seconds(now_micros, zone);
    let micros = t.utc_micros() - i64::from(west) * MICROS_PER_SECOND;
    TimeTz { micros: micros.rem_euclid(24 * MICROS_PER_HOUR), zone_seconds_west: west }
}

/// Rounds to a precision of 0 to 6 digits of the second.
///
/// # Errors
/// 22008 out of range.
pub fn timestamp_round(t: i64, precision: Option<u32>) -> Result<i64> {
    if is_infinite(t) {
        return Ok(t);
    }
    // Postgres rounds half away from 2000-01-01, where its timestamps count from.
    let base = super::POSTGRES_EPOCH_MICROS;
    match precision {
        Some(p) if p < 6 => {
            let shifted = t.checked_sub(base).ok_or_else(timestamp_out_of_range)?;
            checked(round_time(shifted, precision).checked_add(base))
        }
        _ => Ok(t),
    }
}

/// -1, 0 or 1: which way an interval goes.
///
/// # Errors
/// None.
pub fn interval_sign(i: Interval) -> Result<i32> {
    Ok(i.span_micros().signum() as i32)
}
