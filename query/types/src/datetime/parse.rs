//! Text input of date, time, timetz, timestamp and timestamptz.
//!
//! `now_micros` is what `now` and `today` mean: microseconds since the Unix epoch.

use super::arith::{timestamp_round, timestamp_to_timestamptz};
use super::decode::{Moment, Zone, decode};
use super::zone::{local_offset, offset_seconds};
use super::{Civil, MICROS_PER_DAY, MICROS_PER_SECOND, date_in_range};
use crate::{Error, ErrorKind, FormatOptions, Result, TimeTz, TimeZone};

fn local(now_micros: i64, zone: &TimeZone) -> Civil {
    let offset = i64::from(offset_seconds(now_micros, zone));
    Civil::from_micros(now_micros + offset * MICROS_PER_SECOND)
}

fn read(input: &str, type_name: &str, options: &FormatOptions, time_only: bool, now_micros: i64) -> Result<Moment> {
    let now = || local(now_micros, &options.time_zone);
    decode(input, options.date_order, time_only, &now).map_err(|fault| fault.into_error(input, type_name))
}

fn out_of_range(what: &str, input: &str) -> Error {
    Error::new(ErrorKind::DatetimeFieldOverflow, format!("{what} out of range: \"{input}\""))
}

/// Precision of a modifier, digits.
fn precision(typmod: i32) -> Option<u32> {
    u32::try_from(typmod).ok()
}

/// Rounds microseconds half away from zero to a number of digits after the second's point.
pub(crate) fn round_time(micros: i64, precision: Option<u32>) -> i64 {
    match precision {
        Some(p) if p < 6 => {
            let unit = 10i64.pow(6 - p);
            let half = if micros >= 0 { unit / 2 } else { -(unit / 2) };
            micros.saturating_add(half) / unit * unit
        }
        _ => micros,
    }
}

/// `date` input: days since 1970-01-01.
///
/// # Errors
/// 22007 for the syntax, 22008 out of range.
pub fn parse_date(input: &str, options: &FormatOptions, now_micros: i64) -> Result<i32> {
    match read(input, "date", options, false, now_micros)? {
        Moment::Epoch => Ok(0),
        Moment::Infinity => Ok(i32::MAX),
        Moment::MinusInfinity => Ok(i32::MIN),
        Moment::At { civil, .. } => date_in_range(civil.days()).ok_or_else(|| out_of_range("date", input)),
    }
}

/// `time` input: microseconds since midnight.
///
/// # Errors
/// 22007 for the syntax, 22008 out of range.
pub fn parse_time(input: &str, typmod: i32, options: &FormatOptions, now_micros: i64) -> Result<i64> {
    match read(input, "time", options, true, now_micros)? {
        Moment::At { civil, .. } => Ok(round_time(civil.time(), precision(typmod))),
        _ => Err(Error::internal("a time is never special")),
    }
}

/// `timetz` input.
///
/// # Errors
/// 22007 for the syntax, 22008 out of range.
pub fn parse_timetz(input: &str, typmod: i32, options: &FormatOptions, now_micros: i64) -> Result<TimeTz> {
    let Moment::At { civil, zone, has_date } = read(input, "time with time zone", options, true, now_micros)? else {
        return Err(Error::internal("a time is never special"));
    };
    // Without a date the zone's offset is today's.
    let dated = if has_date {
        civil
    } else {
        let today = local(now_micros, &options.time_zone);
        Civil { year: today.year, month: today.month, day: today.day, ..civil }
    };
    let at = || dated.to_micros().ok_or_else(|| out_of_range("time", input));
    let east = match zone {
        Some(Zone::Offset(east)) => east,
        Some(Zone::Named(zone)) => local_offset(at()?, &zone),
        None => local_offset(at()?, &options.time_zone),
    };
    Ok(TimeTz { micros: round_time(civil.time(), precision(typmod)), zone_seconds_west: -east })
}

/// `timestamp` input: microseconds since 1970-01-01 00:00. A zone in the text is checked and ignored, as in Postgres.
///
/// # Errors
/// 22007 for the syntax, 22008 out of range.
pub fn parse_timestamp(input: &str, typmod: i32, options: &FormatOptions, now_micros: i64) -> Result<i64> {
    match read(input, "timestamp", options, false, now_micros)? {
        Moment::Epoch => Ok(0),
        Moment::Infinity => Ok(i64::MAX),
        Moment::MinusInfinity => Ok(i64::MIN),
        Moment::At { civil, .. } => {
            let micros = civil.to_micros().ok_or_else(|| out_of_range("timestamp", input))?;
            timestamp_round(micros, precision(typmod))
        }
    }
}

/// `timestamptz` input: microseconds since the Unix epoch.
///
/// # Errors
/// 22007 for the syntax, 22008 out of range.
pub fn parse_timestamptz(input: &str, typmod: i32, options: &FormatOptions, now_micros: i64) -> Result<i64> {
    match read(input, "timestamp with time zone", options, false, now_micros)? {
        Moment::Epoch => Ok(0),
        Moment::Infinity => Ok(i64::MAX),
        Moment::MinusInfinity => Ok(i64::MIN),
        Moment::At { civil, zone, .. } => {
            // The extremes may be in range only with their offset: work a day inside is not needed, i128 is.
            let range = || out_of_range("timestamp", input);
            let wall = i128::from(civil.days()) * i128::from(MICROS_PER_DAY) + i128::from(civil.time());
            let wall = i64::try_from(wall).map_err(|_| range())?;
            let utc = match zone {
                Some(Zone::Offset(east)) => wall
                    .checked_sub(i64::from(east) * MICROS_PER_SECOND)
                    .filter(|t| super::in_range(*t))
                    .ok_or_else(range)?,
                Some(Zone::Named(zone)) => timestamp_to_timestamptz(wall, &zone).map_err(|_| range())?,
                None => timestamp_to_timestamptz(wall, &options.time_zone).map_err(|_| range())?,
            };
            timestamp_round(utc, precision(typmod))
        }
    }
}
