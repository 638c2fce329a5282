//! `to_char` of timestamps and intervals.

pub use super::from_char::{to_date, to_timestamp};

use super::arith::timestamptz_to_timestamp;
use super::template::{Field, Key, Letters, Node, Ordinal, parse};
use super::zone::offset_at;
use super::{Civil, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, MONTHS, WEEKDAYS};
use crate::template::ordinal_suffix;
use crate::{Error, ErrorKind, Interval, Result, TimeZone};

/// Months as Roman numerals, December first.
pub(super) const ROMAN_MONTHS: [&str; 12] = ["xii", "xi", "x", "ix", "viii", "vii", "vi", "v", "iv", "iii", "ii", "i"];

/// Julian day number; also of the dates that intervals make up (`date2j`).
pub(super) fn julian(year: i64, month: i64, day: i64) -> i64 {
    let (m, y) = if month > 2 { (month + 1, year + 4800) } else { (month + 13, year + 4799) };
    let century = y / 100;
    y * 365 - 32_167 + y / 4 - century + century / 4 + 7834 * m / 256 + day
}

/// Monday of an ISO week (`isoweek2j`).
pub(super) fn iso_week_start(year: i64, week: i64) -> i64 {
    let fourth = julian(year, 1, 4);
    (week - 1) * 7 + fourth - fourth.rem_euclid(7)
}

/// What is printed: a moment, or an interval whose fields have signs.
struct Value {
    civil: Civil,
    /// Day of the week, Sunday = 0.
    weekday: i64,
    day_of_year: i64,
    /// Seconds east and abbreviation.
    zone: Option<(i32, String)>,
    is_interval: bool,
}

impl Value {
    fn moment(local: i64, zone: Option<(i32, String)>) -> Value {
        let civil = Civil::from_micros(local);
        let days = local.div_euclid(MICROS_PER_DAY);
        Value {
            civil,
            weekday: super::weekday(days),
            day_of_year: days - super::days_from_civil(civil.year, 1, 1) + 1,
            zone,
            is_interval: false,
        }
    }

    /// Years before Christ count from 1.
    fn shown_year(&self, year: i64) -> i64 {
        if self.is_interval || year > 0 { year } else { 1 - year }
    }

    fn iso_year_and_week(&self) -> (i64, i64) {
        let c = &self.civil;
        let day = julian(c.year, c.month, c.day);
        let mut year = c.year;
        if day < iso_week_start(year, 1) {
            year -= 1;
        }
        let week = (day - iso_week_start(year, 1)) / 7 + 1;
        if week >= 52 && day >= iso_week_start(c.year + 1, 1) {
            return (c.year + 1, (day - iso_week_start(c.year + 1, 1)) / 7 + 1);
        }
        (year, week)
    }

    fn field_year(&self, key: Key) -> i64 {
        self.shown_year(match key {
            Key::IsoYear(_) => self.iso_year_and_week().0,
            _ => self.civil.year,
        })
    }

    fn century(&self) -> i64 {
        let year = self.civil.year;
        if self.is_interval {
            year / 100
        } else if year > 0 {
            (year - 1) / 100 + 1
        } else {
            year / 100 - 1
        }
    }

    /// A number of `width` digits; a minus sign takes a place more.
    fn number(out: &mut String, field: &Field<'_>, n: i64, width: usize) {
        let width = match (field.fill, n < 0) {
            (true, _) => 0,
            (false, true) => width + 1,
            (false, false) => width,
        };
        Value::ordinal(out, field, format!("{n:0width$}"));
    }

    fn ordinal(out: &mut String, field: &Field<'_>, digits: String) {
        out.push_str(&digits);
        if let Some(ordinal) = field.ordinal {
            out.push_str(ordinal_suffix(&digits, ordinal == Ordinal::Upper));
        }
    }

    fn name(out: &mut String, field: &Field<'_>, name: &str, width: usize) {
        let width = if field.fill { 0 } else { width };
        let name = match field.letters {
            Letters::Upper => name.to_ascii_uppercase(),
            Letters::Capital => name.to_owned(),
            Letters::Lower => name.to_ascii_lowercase(),
        };
        out.push_str(&format!("{name:width$}"));
    }

    fn no_interval(&self) -> Result<()> {
        if !self.is_interval {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidDatetimeFormat, "invalid format specification for an interval value")
            .with_hint("Intervals are not tied to specific calendar dates."))
    }

    fn write(&self, out: &mut String, f: &Field<'_>) -> Result<()> {
        let c = &self.civil;
        let plain = |out: &mut String, n: i64| Value::ordinal(out, f, n.to_string());
        match f.key {
            Key::Half | Key::HalfDotted => {
                let afternoon = c.hour % 24 >= 12;
                let name = match (f.key, afternoon) {
                    (Key::Half, false) => "am",
                    (Key::Half, true) => "pm",
                    (_, false) => "a.m.",
                    (_, true) => "p.m.",
                };
                Value::name(out, f, name, 0);
            }
            Key::Hour12 => {
                let hour = if c.hour % 12 == 0 { 12 } else { c.hour % 12 };
                let width = match (f.fill, c.hour < 0) {
                    (true, _) => 0,
                    (false, true) => 3,
                    (false, false) => 2,
                };
                Value::ordinal(out, f, format!("{hour:0width$}"));
            }
            Key::Hour24 => Value::number(out, f, c.hour, 2),
            Key::Minute => Value::number(out, f, c.minute, 2),
            Key::Second => Value::number(out, f, c.second, 2),
            Key::Fraction(_) | Key::Millisecond | Key::Microsecond => {
                let digits = match f.key {
                    Key::Fraction(n) => usize::from(n),
                    Key::Millisecond => 3,
                    _ => 6,
                };
                let n = c.micros / 10i64.pow(6 - digits as u32);
                Value::ordinal(out, f, format!("{n:0digits$}"));
            }
            Key::SecondOfDay => plain(out, (c.hour * 60 + c.minute) * 60 + c.second),
            Key::ZoneName => {
                self.no_interval()?;
                if let Some((_, name)) = &self.zone {
                    out.push_str(&match f.letters {
                        Letters::Lower => name.to_ascii_lowercase(),
                        _ => name.clone(),
                    });
                }
            }
            Key::ZoneHours | Key::ZoneMinutes | Key::Offset => {
                self.no_interval()?;
                let east = self.zone.as_ref().map_or(0, |(east, _)| *east);
                let sign = if east < 0 { '-' } else { '+' };
                let s = east.unsigned_abs();
                let (hours, minutes) = (s / 3600, s / 60 % 60);
                match f.key {
                    Key::ZoneHours => out.push_str(&format!("{sign}{hours:02}")),
                    Key::ZoneMinutes => out.push_str(&format!("{minutes:02}")),
                    _ => {
                        let width = if f.fill { 0 } else { 2 };
                        out.push_str(&format!("{sign}{hours:0width$}"));
                        if !s.is_multiple_of(3600) {
                            out.push_str(&format!(":{minutes:02}"));
                        }
                    }
                }
            }
            Key::Era | Key::EraDotted => {
                self.no_interval()?;
                let name = match (f.key, c.year > 0) {
                    (Key::Era, true) => "ad",
                    (Key::Era, false) => "bc",
                    (_, true) => "a.d.",
                    (_, false) => "b.c.",
                };
                Value::name(out, f, name, 0);
            }
            Key::MonthName | Key::MonthShort => {
                self.no_interval()?;
                let name = MONTHS[(c.month - 1).clamp(0, 11) as usize];
                match f.key {
                    Key::MonthName => Value::name(out, f, name, 9),
                    _ => Value::name(out, f, &name[..3], 0),
                }
            }
            Key::DayName | Key::DayShort => {
                self.no_interval()?;
                let name = WEEKDAYS[self.weekday as usize];
                match f.key {
                    Key::DayName => Value::name(out, f, name, 9),
                    _ => Value::name(out, f, &name[..3], 0),
                }
            }
            Key::Month => Value::number(out, f, c.month, 2),
            Key::MonthRoman => {
                let index = match c.month {
                    0 if c.year == 0 => return Ok(()),
                    0 if c.year > 0 => 0,
                    0 => 11,
                    negative @ ..0 => -(negative + 1),
                    month => 12 - month,
                };
                let name = ROMAN_MONTHS[index.clamp(0, 11) as usize];
                Value::name(out, f, name, 4);
            }
            Key::DayOfYear | Key::IsoDayOfYear => {
                let width = if f.fill { 0 } else { 3 };
                let n = if f.key == Key::DayOfYear {
                    self.day_of_year
                } else {
                    let first = iso_week_start(self.iso_year_and_week().0, 1);
                    julian(c.year, c.month, c.day) - first + 1
                };
                Value::ordinal(out, f, format!("{n:0width$}"));
            }
            Key::Day | Key::WeekOfYear | Key::IsoWeek => {
                let width = if f.fill { 0 } else { 2 };
                let n = match f.key {
                    Key::Day => c.day,
                    Key::WeekOfYear => (self.day_of_year - 1) / 7 + 1,
                    _ => self.iso_year_and_week().1,
                };
                Value::ordinal(out, f, format!("{n:0width$}"));
            }
            Key::DayOfWeek => {
                self.no_interval()?;
                plain(out, self.weekday + 1);
            }
            Key::IsoDayOfWeek => {
                self.no_interval()?;
                plain(out, (self.weekday + 6) % 7 + 1);
            }
            Key::Quarter if c.month == 0 => {}
            Key::Quarter => plain(out, (c.month - 1) / 3 + 1),
            Key::Century => {
                let century = self.century();
                if (-99..=99).contains(&century) {
                    Value::number(out, f, century, 2);
                } else {
                    plain(out, century);
                }
            }
            Key::YearWithComma => {
                let year = self.field_year(f.key);
                let thousands = year / 1000;
                let digits = format!("{thousands},{:03}", year - thousands * 1000);
                Value::ordinal(out, f, digits);
            }
            Key::Year(digits) | Key::IsoYear(digits) => {
                let year = self.field_year(f.key);
                let shown = if digits == 4 { year } else { year % 10i64.pow(digits.into()) };
                // The sign of the calendar year decides about the width, of ISO years too.
                let width = match (f.fill || digits == 1, self.shown_year(c.year) < 0) {
                    (true, _) => 0,
                    (false, true) => usize::from(digits) + 1,
                    (false, false) => usize::from(digits),
                };
                Value::ordinal(out, f, format!("{shown:0width$}"));
            }
            Key::WeekOfMonth => plain(out, (c.day - 1) / 7 + 1),
            Key::Julian => plain(out, julian(c.year, c.month, c.day)),
            Key::Fixed => {}
        }
        Ok(())
    }

    fn print(&self, template: &str) -> Result<String> {
        let mut out = String::new();
        for node in parse(template) {
            match node {
                Node::Field(field) => self.write(&mut out, &field)?,
                Node::Separator(c) | Node::Space(c) | Node::Char(c) => out.push(c),
            }
        }
        Ok(out)
    }
}

fn is_infinite(t: i64) -> bool {
    t == i64::MAX || t == i64::MIN
}

/// `to_char(timestamp, template)`, also of dates; `None` is NULL: an empty template, or an infinite value.
///
/// # Errors
/// None in practice.
pub fn timestamp_to_char(t: i64, template: &str) -> Result<Option<String>> {
    if template.is_empty() || is_infinite(t) {
        return Ok(None);
    }
    Value::moment(t, None).print(template).map(Some)
}

/// `to_char(timestamptz, template)` in the session's zone; `None` as for [`timestamp_to_char`].
///
/// # Errors
/// 22008 when the local time is out of range.
pub fn timestamptz_to_char(t: i64, template: &str, zone: &TimeZone) -> Result<Option<String>> {
    if template.is_empty() || is_infinite(t) {
        return Ok(None);
    }
    let local = timestamptz_to_timestamp(t, zone)?;
    Value::moment(local, Some(offset_at(t, zone))).print(template).map(Some)
}

/// `to_char(interval, template)`; `None` for an empty template.
///
/// # Errors
/// 22007 for patterns that need a calendar.
pub fn interval_to_char(i: Interval, template: &str) -> Result<Option<String>> {
    if template.is_empty() {
        return Ok(None);
    }
    let civil = Civil {
        year: i64::from(i.months / 12),
        month: i64::from(i.months % 12),
        day: i64::from(i.days),
        hour: i.micros / MICROS_PER_HOUR,
        minute: i.micros / MICROS_PER_MINUTE % 60,
        second: i.micros / MICROS_PER_SECOND % 60,
        micros: i.micros % MICROS_PER_SECOND,
    };
    let value = Value {
        civil,
        weekday: 0,
        day_of_year: i64::from(i.months) * 30 + i64::from(i.days),
        zone: None,
        is_interval: true,
    };
    value.print(template).map(Some)
}
