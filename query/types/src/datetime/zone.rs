//! Time zones: names, abbreviations, POSIX forms, and offsets at an instant.

use std::str::FromStr;

use chrono::{DateTime, Offset, TimeZone as _};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use super::abbreviations::abbreviation;
use super::decode::decode_offset;
use super::{MICROS_PER_DAY, MICROS_PER_SECOND, civil_from_days, days_from_civil, is_leap, weekday};
use crate::{Error, ErrorKind, Result, TimeZone};

/// Years from here on take the rules of an equal year before, because the tables of the tz database end.
const LAST_TABLE_YEAR: i64 = 2037;

/// What the offset of a POSIX zone begins with.
const STARTS_OFFSET: [char; 12] = ['+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

/// Largest offset of a POSIX zone, hours.
const MAX_POSIX_HOURS: i32 = 167;

/// The instant whose rules apply: itself, or the same day of an equal year within the tables.
fn table_instant(utc_micros: i64) -> i64 {
    let days = utc_micros.div_euclid(MICROS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    if year <= LAST_TABLE_YEAR {
        return utc_micros;
    }
    let first = weekday(days_from_civil(year, 1, 1));
    let equal = (LAST_TABLE_YEAR - 27..=LAST_TABLE_YEAR)
        .find(|y| is_leap(*y) == is_leap(year) && weekday(days_from_civil(*y, 1, 1)) == first)
        .unwrap_or(LAST_TABLE_YEAR);
    days_from_civil(equal, month, day) * MICROS_PER_DAY + utc_micros.rem_euclid(MICROS_PER_DAY)
}

/// Seconds east at an instant.
pub fn offset_seconds(utc_micros: i64, zone: &TimeZone) -> i32 {
    match zone {
        TimeZone::Named(Tz::UTC) => 0,
        TimeZone::Named(tz) => match DateTime::from_timestamp_micros(table_instant(utc_micros)) {
            Some(at) => tz.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc(),
            None => 0,
        },
        TimeZone::Fixed { seconds_east, .. } => *seconds_east,
    }
}

/// Seconds east at a UTC instant, and the zone's abbreviation then.
pub fn offset_at(utc_micros: i64, zone: &TimeZone) -> (i32, String) {
    match zone {
        TimeZone::Named(tz) => match DateTime::from_timestamp_micros(table_instant(utc_micros)) {
            Some(at) => {
                let offset = tz.offset_from_utc_datetime(&at.naive_utc());
                (offset.fix().local_minus_utc(), offset.abbreviation().unwrap_or_default().to_owned())
            }
            None => (0, "UTC".to_owned()),
        },
        TimeZone::Fixed { seconds_east, name } => {
            let shown = name.strip_prefix('<').and_then(|n| n.split_once('>')).map_or(name.as_str(), |(n, _)| n);
            (*seconds_east, shown.to_owned())
        }
    }
}

/// Seconds east that a local time has: in a gap the offset before it, in an overlap the one after.
pub(super) fn local_offset(local_micros: i64, zone: &TimeZone) -> i32 {
    let before = offset_seconds(local_micros.saturating_sub(MICROS_PER_DAY), zone);
    let after = offset_seconds(local_micros.saturating_add(MICROS_PER_DAY), zone);
    let holds = |offset: i32| {
        let utc = local_micros.saturating_sub(i64::from(offset) * MICROS_PER_SECOND);
        offset_seconds(utc, zone) == offset
    };
    if before == after || !holds(after) { before } else { after }
}

/// A zone of the tz database, by its name in any case; or a POSIX form (`UTC+3`: three hours west).
pub(super) fn zone_by_name(name: &str) -> Option<TimeZone> {
    if let Ok(tz) = Tz::from_str(name) {
        return Some(TimeZone::Named(tz));
    }
    if let Some(tz) = TZ_VARIANTS.iter().find(|tz| tz.name().eq_ignore_ascii_case(name)) {
        return Some(TimeZone::Named(*tz));
    }
    // What a moment is written with has letters for a name.
    let lettered = name.starts_with('<') || name.starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    posix(name).filter(|_| lettered && (name.starts_with('<') || plain.starts_with(STARTS_OFFSET)))
}

/// `[±]h[:mm[:ss]]` of a POSIX zone, seconds.
fn posix_offset(text: &str) -> Option<i32> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0;
    let mut parts = body.split(':');
    for (limit, unit) in [(MAX_POSIX_HOURS, 3600), (59, 60), (60, 1)] {
        let Some(part) = parts.next() else { break };
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let n: i32 = part.parse().ok().filter(|n| digits && *n <= limit)?;
        seconds += n * unit;
    }
    parts.next().is_none().then_some(if negative { -seconds } else { seconds })
}

/// `ABC+3`, `<+02>-2`, `+10:00`: a name, which Postgres lets be anything or nothing, and hours WEST.
pub fn posix(text: &str) -> Option<TimeZone> {
    let split = match text.strip_prefix('<') {
        Some(rest) => rest.find('>')? + 2,
        None => text.find(STARTS_OFFSET)?,
    };
    let (_, offset) = text.split_at(split);
    let west = posix_offset(offset)?;
    Some(TimeZone::Fixed { seconds_east: -west, name: text.to_ascii_uppercase() })
}

/// A zone as `AT TIME ZONE` takes it: abbreviation, name, or POSIX form, which a bare offset is too: `+10:00` counts west.
///
/// # Errors
/// 22023 when there is no such zone.
pub fn parse_zone(text: &str) -> Result<TimeZone> {
    let trimmed = text.trim();
    // An abbreviation means one offset all year, even where a zone has the same name (CET).
    if let Some(seconds_east) = abbreviation(&trimmed.to_ascii_lowercase()) {
        return Ok(TimeZone::Fixed { seconds_east, name: trimmed.to_ascii_uppercase() });
    }
    zone_by_name(trimmed)
        .or_else(|| posix(trimmed))
        .ok_or_else(|| Error::new(ErrorKind::InvalidParameterValue, format!("time zone \"{text}\" not recognized")))
}

/// A zone as `make_timestamptz` takes it: an offset, which counts east, abbreviation, name, or POSIX form.
///
/// # Errors
/// 22023 when there is no such zone, and for an offset without a sign.
pub fn parse_zone_of_moment(text: &str) -> Result<TimeZone> {
    let trimmed = text.trim();
    if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("invalid input syntax for type numeric time zone: \"{text}\"");
        return Err(Error::new(ErrorKind::InvalidParameterValue, message)
            .with_hint("Numeric time zones must have \"-\" or \"+\" as first character."));
    }
    match decode_offset(trimmed) {
        Ok(seconds_east) => zone_from_seconds_east(seconds_east),
        Err(_) => parse_zone(text),
    }
}

/// `SET TIME ZONE INTERVAL …`, seconds east.
///
/// # Errors
/// 22023 out of range.
pub fn zone_from_seconds_east(seconds_east: i32) -> Result<TimeZone> {
    if seconds_east.unsigned_abs() > 168 * 3600 {
        return Err(Error::new(ErrorKind::InvalidParameterValue, "UTC timezone offset is out of range."));
    }
    let shown = |seconds: i32| {
        let sign = if seconds < 0 { '-' } else { '+' };
        let s = seconds.unsigned_abs();
        let mut text = format!("{sign}{:02}", s / 3600);
        if !s.is_multiple_of(3600) {
            text.push_str(&format!(":{:02}", s / 60 % 60));
        }
        if !s.is_multiple_of(60) {
            text.push_str(&format!(":{:02}", s % 60));
        }
        text
    };
    Ok(TimeZone::Fixed { seconds_east, name: format!("<{}>{}", shown(seconds_east), shown(-seconds_east)) })
}

/// As `SHOW TimeZone` prints it.
pub fn zone_name(zone: &TimeZone) -> String {
    match zone {
        TimeZone::Named(tz) => tz.name().to_owned(),
        TimeZone::Fixed { name, .. } => name.clone(),
    }
}
