//! `make_date` and its kin.

use super::zone::local_offset;
use super::{
    MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, date_in_range, date_out_of_range,
    days_in_month, interval::seconds_to_micros, interval_out_of_range, timestamp_out_of_range,
};
use crate::{Error, ErrorKind, Interval, Result, TimeZone};

/// `make_date`; a negative year is BC.
///
/// # Errors
/// 22008 out of range.
pub fn make_date(year: i32, month: i32, day: i32) -> Result<i32> {
    let bad = || {
        Error::new(
            ErrorKind::DatetimeFieldOverflow,
            format!("date field value out of range: {year}-{month:02}-{day:02}"),
        )
    };
    if year == 0 || !(1..=12).contains(&month) {
        return Err(bad());
    }
    let astronomical = i64::from(if year < 0 { year + 1 } else { year });
    if day < 1 || i64::from(day) > days_in_month(astronomical, month.into()) {
        return Err(bad());
    }
    date_in_range(super::days_from_civil(astronomical, month.into(), day.into())).ok_or_else(date_out_of_range)
}

/// `make_time`
///
/// # Errors
/// 22008 out of range.
pub fn make_time(hour: i32, minute: i32, second: f64) -> Result<i64> {
    let bad = || {
        Error::new(
            ErrorKind::DatetimeFieldOverflow,
            format!("time field value out of range: {hour}:{minute:02}:{second:02}"),
        )
    };
    if hour < 0 || !(0..60).contains(&minute) || !(0.0..=60.0).contains(&second) {
        return Err(bad());
    }
    let total = i64::from(hour) * MICROS_PER_HOUR
        + i64::from(minute) * MICROS_PER_MINUTE
        + (second * MICROS_PER_SECOND as f64).round_ties_even() as i64;
    if total > MICROS_PER_DAY {
        return Err(bad());
    }
    Ok(total)
}

/// `make_timestamp`
///
/// # Errors
/// 22008 out of range.
pub fn make_timestamp(y: i32, mo: i32, d: i32, h: i32, mi: i32, s: f64) -> Result<i64> {
    let date = i64::from(make_date(y, mo, d)?);
    let time = make_time(h, mi, s)?;
    date.checked_mul(MICROS_PER_DAY)
        .and_then(|d| d.checked_add(time))
        .filter(|t| super::in_range(*t))
        .ok_or_else(timestamp_out_of_range)
}

/// `make_timestamptz`: local time of the zone.
///
/// # Errors
/// 22008 out of range.
pub fn make_timestamptz(y: i32, mo: i32, d: i32, h: i32, mi: i32, s: f64, zone: &TimeZone) -> Result<i64> {
    let local = make_timestamp(y, mo, d, h, mi, s)?;
    Ok(local - i64::from(local_offset(local, zone)) * MICROS_PER_SECOND)
}

/// `make_interval`
///
/// # Errors
/// 22008 out of range.
pub fn make_interval(
    years: i32,
    months: i32,
    weeks: i32,
    days: i32,
    hours: i32,
    mins: i32,
    secs: f64,
) -> Result<Interval> {
    let months = i64::from(years) * 12 + i64::from(months);
    let days = i64::from(weeks) * 7 + i64::from(days);
    let time = i64::from(hours) * MICROS_PER_HOUR + i64::from(mins) * MICROS_PER_MINUTE;
    Ok(Interval {
        months: i32::try_from(months).map_err(|_| interval_out_of_range())?,
        days: i32::try_from(days).map_err(|_| interval_out_of_range())?,
        micros: seconds_to_micros(secs).and_then(|s| time.checked_add(s)).ok_or_else(interval_out_of_range)?,
    })
}

/// `to_timestamp(double precision)`: seconds since the Unix epoch.
///
/// # Errors
/// 22008 out of range.
pub fn timestamptz_from_epoch(seconds: f64) -> Result<i64> {
    if seconds.is_nan() {
        return Err(Error::new(ErrorKind::DatetimeFieldOverflow, "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(if seconds > 0.0 { i64::MAX } else { i64::MIN });
    }
    let micros = (seconds * MICROS_PER_SECOND as f64).round_ties_even();
    let in_range = micros >= super::MIN_TIMESTAMP as f64 && micros < i64::MAX as f64;
    if !in_range {
        return Err(Error::new(ErrorKind::DatetimeFieldOverflow, format!("timestamp out of range: \"{seconds}\"")));
    }
    Ok(micros as i64)
}
