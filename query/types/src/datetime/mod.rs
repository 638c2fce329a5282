//! Dates, times, intervals and time zones with Postgres's rules.
//!
//! The calendar is proleptic Gregorian; year 0 is 1 BC. Dates count days, timestamps microseconds, both from 1970-01-01;
//! timestamps reach from 4713 BC to the end of 64 bits (year 294247; Postgres, counting from 2000, gets to 294276).

mod abbreviations;
pub mod arith;
mod decode;
pub mod fields;
mod from_char;
pub mod interval;
mod interval_parse;
pub mod make;
pub mod parse;
pub mod print;
mod template;
pub mod to_char;
mod tokens;
pub mod zone;

use crate::{Error, ErrorKind};

pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(crate) const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
pub(crate) const MICROS_PER_HOUR: i64 = 3600 * MICROS_PER_SECOND;
pub(crate) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
pub(crate) const SECONDS_PER_DAY: i64 = 86_400;
/// Julian day of 1970-01-01.
pub(crate) const UNIX_EPOCH_JULIAN: i64 = 2_440_588;
/// Days from 1970-01-01 to 2000-01-01, where Postgres's binary formats count from.
pub(crate) const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// Microseconds between the two epochs.
pub(crate) const POSTGRES_EPOCH_MICROS: i64 = POSTGRES_EPOCH_DAYS as i64 * MICROS_PER_DAY;
/// 4714-11-24 BC, Julian day 0: the least date and timestamp.
pub(crate) const MIN_DAYS: i64 = -UNIX_EPOCH_JULIAN;
/// The day after 5874897-12-31.
const END_DAYS: i64 = 2_147_483_494 - UNIX_EPOCH_JULIAN;
/// Least timestamp, microseconds.
pub(crate) const MIN_TIMESTAMP: i64 = MIN_DAYS * MICROS_PER_DAY;

/// Days since 1970-01-01 of a date; months beyond 1 to 12 carry into the year.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = (year + (month - 1).div_euclid(12), (month - 1).rem_euclid(12) + 1);
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year (0 is 1 BC), month and day of a day number.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Whether the year has a 29th of February.
pub fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// Days of a month from 1 to 12.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Day of the week, Sunday = 0.
pub(crate) fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// A moment taken apart, without zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Civil {
    /// 0 is 1 BC.
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub micros: i64,
}

impl Civil {
    pub fn from_micros(micros: i64) -> Civil {
        let (year, month, day) = civil_from_days(micros.div_euclid(MICROS_PER_DAY));
        let time = micros.rem_euclid(MICROS_PER_DAY);
        Civil { year, month, day, ..Civil::from_time(time) }
    }

    /// Of microseconds since midnight; the date stays zero.
    pub fn from_time(time: i64) -> Civil {
        Civil {
            hour: time / MICROS_PER_HOUR,
            minute: time / MICROS_PER_MINUTE % 60,
            second: time / MICROS_PER_SECOND % 60,
            micros: time % MICROS_PER_SECOND,
            ..Civil::default()
        }
    }

    /// Microseconds since midnight.
    pub fn time(&self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * MICROS_PER_SECOND + self.micros
    }

    pub fn days(&self) -> i64 {
        days_from_civil(self.year, self.month, self.day)
    }

    /// Microseconds since 1970, if in the range of timestamps.
    pub fn to_micros(self) -> Option<i64> {
        let total = i128::from(self.days()) * i128::from(MICROS_PER_DAY) + i128::from(self.time());
        i64::try_from(total).ok().filter(|t| in_range(*t))
    }
}

/// Whether a finite timestamp is one.
pub(crate) fn in_range(micros: i64) -> bool {
    (MIN_TIMESTAMP..i64::MAX).contains(&micros)
}

/// A day number as a date, if in the range of dates.
pub(crate) fn date_in_range(days: i64) -> Option<i32> {
    (MIN_DAYS..END_DAYS).contains(&days).then(|| i32::try_from(days).ok()).flatten()
}

pub(crate) fn timestamp_out_of_range() -> Error {
    Error::new(ErrorKind::DatetimeFieldOverflow, "timestamp out of range")
}

pub(crate) fn date_out_of_range() -> Error {
    Error::new(ErrorKind::DatetimeFieldOverflow, "date out of range")
}

pub(crate) fn interval_out_of_range() -> Error {
    Error::new(ErrorKind::DatetimeFieldOverflow, "interval out of range")
}

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(crate) const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
