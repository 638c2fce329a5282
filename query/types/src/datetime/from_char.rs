//! `to_timestamp` and `to_date` with a template (`DCH_from_char`, `do_to_timestamp`).

use super::arith::{timestamp_round, timestamp_to_timestamptz};
use super::template::{Calendar, Field, Key, Node, is_separator, parse};
use super::to_char::{ROMAN_MONTHS, iso_week_start};
use super::{
    Civil, MICROS_PER_SECOND, MONTHS, UNIX_EPOCH_JULIAN, WEEKDAYS, civil_from_days, date_in_range, days_in_month,
    timestamp_out_of_range,
};
use crate::numeric::is_space;
use crate::{Error, ErrorKind, Result, TimeZone};

/// Largest hour of a zone's displacement.
const MAX_ZONE_HOURS: i64 = 15;
const FILL_HINT: &str = "If your source string is not fixed-width, try using the \"FM\" modifier.";

fn format_error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidDatetimeFormat, message)
}

/// What the fields said; 0 where they said nothing, as in Postgres.
#[derive(Default)]
struct Fields {
    calendar: Option<Calendar>,
    hour: i64,
    pm: i64,
    minute: i64,
    second: i64,
    second_of_day: i64,
    /// Sunday = 1
    day_of_week: i64,
    day: i64,
    day_of_year: i64,
    month: i64,
    millisecond: i64,
    microsecond: i64,
    year: i64,
    year_digits: u8,
    bc: i64,
    week: i64,
    week_of_month: i64,
    century: i64,
    julian: i64,
    half_day_clock: bool,
    zone_sign: i64,
    zone_hours: i64,
    zone_minutes: i64,
    /// Digits of FF1 to FF6.
    precision: Option<u32>,
}

fn set(target: &mut i64, value: i64, field: &Field<'_>) -> Result<()> {
    if *target != 0 && *target != value {
        return Err(format_error(format!("conflicting values for \"{}\" field in formatting string", field.name))
            .with_detail("This value contradicts a previous setting for the same field type."));
    }
    *target = value;
    Ok(())
}

/// C's `strtol`: blanks, sign, digits. The value (saturated) and the bytes used, 0 without digits.
fn leading_integer(text: &str) -> (i64, usize) {
    let body = text.trim_start_matches(is_space);
    let blanks = text.len() - body.len();
    let unsigned = body.strip_prefix(['+', '-']).unwrap_or(body);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return (0, 0);
    }
    let used = blanks + body.len() - unsigned.len() + digits;
    let negative = body.starts_with('-');
    let value = text[blanks..used].parse().unwrap_or(if negative { i64::MIN } else { i64::MAX });
    (value, used)
}

/// The first characters, at most `bytes` bytes of them.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

struct Reader<'a> {
    input: &'a str,
    at: usize,
    fixed: bool,
    /// Characters skipped beyond those of the template.
    extra: i64,
    fields: Fields,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.input[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_char(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
            self.extra += 1;
        }
    }

    /// An integer and the bytes that it took. It has exactly `width` characters unless it may run on.
    fn integer(&mut self, field: &Field<'_>, width: usize, runs_on: bool) -> Result<(i64, usize)> {
        let start = self.at;
        let init = self.rest();
        let body = init.trim_start_matches(is_space);
        let copy = cut(body, width);
        let value;
        if field.fill || runs_on {
            let (number, used) = leading_integer(init);
            value = number;
            self.at += used;
        } else {
            if body.len() < width {
                return Err(format_error(format!("source string too short for \"{}\" formatting field", field.name))
                    .with_detail(format!("Field requires {width} characters, but only {} remain.", body.len()))
                    .with_hint(FILL_HINT));
            }
            let (number, used) = leading_integer(copy);
            if used > 0 && used < width {
                return Err(format_error(format!("invalid value \"{copy}\" for \"{}\"", field.name))
                    .with_detail(format!("Field requires {width} characters, but only {used} could be parsed."))
                    .with_hint(FILL_HINT));
            }
            value = number;
            self.at += init.len() - body.len() + used;
        }
        if self.at == start {
            return Err(format_error(format!("invalid value \"{copy}\" for \"{}\"", field.name))
                .with_detail("Value must be an integer."));
        }
        if i32::try_from(value).is_err() {
            return Err(Error::new(
                ErrorKind::DatetimeFieldOverflow,
                format!("value for \"{}\" in source string is out of range", field.name),
            )
            .with_detail("Value must be in the range -2147483648 to 2147483647."));
        }
        Ok((value, self.at - start))
    }

    /// Index of the first name that the input starts with, in any case.
    fn name(&mut self, field: &Field<'_>, names: &[&str]) -> Result<i64> {
        let rest = self.rest();
        for (i, name) in names.iter().enumerate() {
            if rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
                self.at += name.len();
                return Ok(i as i64);
            }
        }
        let word = rest.split(is_space).next().unwrap_or("");
        Err(format_error(format!("invalid value \"{word}\" for \"{}\"", field.name))
            .with_detail("The given value did not match any of the allowed values for this field."))
    }

    fn year_with_comma(&mut self) -> Result<i64> {
        let bad = || format_error("invalid input string for \"Y,YYY\"");
        let (thousands, used) = leading_integer(self.rest());
        let after = self.rest()[used..].strip_prefix(',').ok_or_else(bad)?;
        let (years, digits) = leading_integer(cut(after, 3));
        if used == 0 || digits == 0 {
            return Err(bad());
        }
        self.at += used + 1 + digits;
        let year = thousands.saturating_mul(1000).saturating_add(years);
        if i32::try_from(year).is_err() {
            return Err(bad());
        }
        Ok(year)
    }

    fn field(&mut self, f: &Field<'_>, runs_on: bool) -> Result<()> {
        if let Some(calendar) = f.key.calendar() {
            if self.fields.calendar.is_some_and(|c| c != calendar) {
                return Err(format_error("invalid combination of date conventions")
                    .with_hint("Do not mix Gregorian and ISO week date conventions in a formatting template."));
            }
            self.fields.calendar = Some(calendar);
        }
        let width = match f.key {
            Key::Hour12 | Key::Hour24 | Key::ZoneHours | Key::ZoneMinutes => 2,
            Key::Millisecond | Key::IsoDayOfYear => 3,
            Key::Microsecond => 6,
            Key::Fraction(digits) => usize::from(digits),
            Key::IsoDayOfWeek => 1,
            _ => f.name.len(),
        };
        match f.key {
            Key::Fixed => {
                self.fixed = true;
                return Ok(());
            }
            Key::ZoneName | Key::Offset => {
                return Err(Error::new(
                    ErrorKind::FeatureNotSupported,
                    format!("formatting field \"{}\" is only supported in to_char", f.name),
                ));
            }
            Key::Half | Key::HalfDotted => {
                let names = if f.key == Key::Half { ["am", "pm"] } else { ["a.m.", "p.m."] };
                let value = self.name(f, &names)?;
                self.fields.half_day_clock = true;
                return set(&mut self.fields.pm, value, f);
            }
            Key::Era | Key::EraDotted => {
                let names = if f.key == Key::Era { ["ad", "bc"] } else { ["a.d.", "b.c."] };
                let value = self.name(f, &names)?;
                return set(&mut self.fields.bc, value, f);
            }
            Key::MonthName => {
                let value = self.name(f, &MONTHS)?;
                return set(&mut self.fields.month, value + 1, f);
            }
            Key::MonthShort => {
                let value = self.name(f, &MONTHS.map(|m| &m[..3]))?;
                return set(&mut self.fields.month, value + 1, f);
            }
            Key::MonthRoman => {
                let value = self.name(f, &ROMAN_MONTHS)?;
                return set(&mut self.fields.month, 12 - value, f);
            }
            Key::DayName | Key::DayShort => {
                let value = if f.key == Key::DayName {
                    self.name(f, &WEEKDAYS)?
                } else {
                    self.name(f, &WEEKDAYS.map(|d| &d[..3]))?
                };
                set(&mut self.fields.day_of_week, value, f)?;
                self.fields.day_of_week += 1;
                return Ok(());
            }
            Key::ZoneHours => {
                match self.peek() {
                    Some(c @ ('+' | '-' | ' ')) => {
                        self.fields.zone_sign = if c == '-' { -1 } else { 1 };
                        self.at += 1;
                    }
                    // The sign may have been skipped as a separator.
                    _ => {
                        let skipped = self.extra > 0 && self.input[..self.at].ends_with('-');
                        self.fields.zone_sign = if skipped { -1 } else { 1 };
                    }
                }
                let (value, _) = self.integer(f, width, runs_on)?;
                return set(&mut self.fields.zone_hours, value, f);
            }
            _ => {}
        }
        let (value, used) =
            if f.key == Key::YearWithComma { (self.year_with_comma()?, 5) } else { self.integer(f, width, runs_on)? };
        let missing = |digits: usize| 10i64.pow(digits.saturating_sub(used) as u32);
        let fields = &mut self.fields;
        match f.key {
            Key::Hour12 => {
                fields.half_day_clock = true;
                set(&mut fields.hour, value, f)?;
            }
            Key::Hour24 => set(&mut fields.hour, value, f)?,
            Key::Minute => set(&mut fields.minute, value, f)?,
            Key::Second => set(&mut fields.second, value, f)?,
            Key::Millisecond => {
                // 25 is 0.25 as 250 is
                set(&mut fields.millisecond, value, f)?;
                fields.millisecond *= missing(3);
            }
            Key::Microsecond | Key::Fraction(_) => {
                if let Key::Fraction(digits) = f.key {
                    fields.precision = Some(u32::from(digits));
                }
                set(&mut fields.microsecond, value, f)?;
                fields.microsecond *= missing(6);
            }
            Key::SecondOfDay => set(&mut fields.second_of_day, value, f)?,
            Key::ZoneMinutes => {
                if fields.zone_sign == 0 {
                    fields.zone_sign = 1;
                }
                set(&mut fields.zone_minutes, value, f)?;
            }
            Key::Month => set(&mut fields.month, value, f)?,
            Key::DayOfYear | Key::IsoDayOfYear => set(&mut fields.day_of_year, value, f)?,
            Key::Day => set(&mut fields.day, value, f)?,
            Key::DayOfWeek => set(&mut fields.day_of_week, value, f)?,
            Key::IsoDayOfWeek => {
                set(&mut fields.day_of_week, value, f)?;
                fields.day_of_week += 1;
                if fields.day_of_week > 7 {
                    fields.day_of_week = 1;
                }
            }
            Key::WeekOfYear | Key::IsoWeek => set(&mut fields.week, value, f)?,
            Key::Century => set(&mut fields.century, value, f)?,
            Key::YearWithComma => {
                set(&mut fields.year, value, f)?;
                fields.year_digits = 4;
            }
            Key::Year(digits) | Key::IsoYear(digits) => {
                set(&mut fields.year, value, f)?;
                if digits < 4 && used < 4 {
                    fields.year = full_year(value);
                }
                fields.year_digits = digits;
            }
            Key::WeekOfMonth => set(&mut fields.week_of_month, value, f)?,
            Key::Julian => set(&mut fields.julian, value, f)?,
            // The quarter is read and says nothing.
            _ => {}
        }
        if f.ordinal.is_some() && !matches!(f.key, Key::ZoneMinutes) {
            self.skip_char();
            self.skip_char();
        }
        Ok(())
    }

    fn run(&mut self, nodes: &[Node<'_>]) -> Result<()> {
        for (i, node) in nodes.iter().enumerate() {
            if self.rest().is_empty() {
                break;
            }
            let is_field = matches!(node, Node::Field(_));
            let fixes = matches!(node, Node::Field(Field { key: Key::Fixed, .. }));
            if !self.fixed && !fixes && (is_field || i == 0) {
                self.skip_spaces();
            }
            match node {
                Node::Separator(_) | Node::Space(_) if self.fixed => self.skip_char(),
                Node::Separator(_) | Node::Space(_) => {
                    self.extra -= 1;
                    if self.peek().is_some_and(|c| is_space(c) || is_separator(c)) {
                        self.at += 1;
                        self.extra += 1;
                    }
                }
                Node::Char(_) if !self.fixed && self.extra > 0 => self.extra -= 1,
                Node::Char(_) => self.skip_char(),
                Node::Field(field) => {
                    let runs_on = field.ordinal.is_some()
                        || match nodes.get(i + 1) {
                            None => true,
                            Some(Node::Field(next)) => !next.key.is_digit(),
                            Some(Node::Char(c)) => !c.is_ascii_digit(),
                            Some(_) => true,
                        };
                    self.field(field, runs_on)?;
                    if !self.fixed {
                        self.extra = 0;
                        self.skip_spaces();
                    }
                }
            }
        }
        Ok(())
    }
}

/// The year nearest to 2020 that ends in those digits.
fn full_year(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

/// A moment read, the zone's seconds east, and the precision of FF1 to FF6.
struct Parsed {
    civil: Civil,
    seconds_east: Option<i64>,
    precision: Option<u32>,
}

fn set_julian(civil: &mut Civil, julian: i64) {
    (civil.year, civil.month, civil.day) = civil_from_days(julian - UNIX_EPOCH_JULIAN);
}

fn set_time(civil: &mut Civil, f: &Fields) -> Result<()> {
    if f.second_of_day != 0 {
        civil.hour = f.second_of_day / 3600;
        civil.minute = f.second_of_day % 3600 / 60;
        civil.second = f.second_of_day % 60;
    }
    for (target, value) in [(&mut civil.second, f.second), (&mut civil.minute, f.minute), (&mut civil.hour, f.hour)] {
        if value != 0 {
            *target = value;
        }
    }
    if f.half_day_clock {
        if !(1..=12).contains(&civil.hour) {
            return Err(format_error(format!("hour \"{}\" is invalid for the 12-hour clock", civil.hour))
                .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
        }
        if f.pm != 0 && civil.hour < 12 {
            civil.hour += 12;
        } else if f.pm == 0 && civil.hour == 12 {
            civil.hour = 0;
        }
    }
    civil.micros = f.millisecond * 1000 + f.microsecond;
    Ok(())
}

/// The year that the fields give, 0 being 1 BC.
fn year_of(f: &Fields) -> Option<i64> {
    let century = if f.bc != 0 { -f.century } else { f.century };
    if f.year != 0 && f.century != 0 && f.year_digits <= 2 {
        let year = f.year % 100;
        return Some(match (year, century >= 0) {
            (0, true) => century * 100,
            (0, false) => century * 100 + 1,
            (year, true) => year + (century - 1) * 100,
            (year, false) => (century + 1) * 100 - year + 1,
        });
    }
    if f.year != 0 {
        let year = if f.bc != 0 { -f.year } else { f.year };
        return Some(if year < 0 { year + 1 } else { year });
    }
    if f.century == 0 {
        None
    } else if century >= 0 {
        Some((century - 1) * 100 + 1)
    } else {
        Some(century * 100 + 1)
    }
}

/// Sets the date from the fields; `None` where a field is out of range.
fn set_date(civil: &mut Civil, f: &Fields) -> Result<Option<()>> {
    let (mut year_known, mut month_known, mut day_known) = (false, false, false);
    if let Some(year) = year_of(f) {
        civil.year = year;
        year_known = true;
    }
    if f.julian != 0 {
        set_julian(civil, f.julian);
        (year_known, month_known, day_known) = (true, true, true);
    }
    let mut day_of_year = f.day_of_year;
    if f.week != 0 {
        if f.calendar == Some(Calendar::IsoWeek) {
            let monday = iso_week_start(civil.year, f.week);
            let shift = match f.day_of_week {
                0 => 0,
                1 => 6,
                day => day - 2,
            };
            set_julian(civil, monday + shift);
            (year_known, month_known, day_known) = (true, true, true);
        } else {
            day_of_year = (f.week - 1) * 7 + 1;
        }
    }
    let day = if f.week_of_month != 0 { (f.week_of_month - 1) * 7 + 1 } else { f.day };
    if day != 0 {
        civil.day = day;
        day_known = true;
    }
    if f.month != 0 {
        civil.month = f.month;
        month_known = true;
    }
    if day_of_year != 0 && (civil.month <= 1 || civil.day <= 1) {
        if civil.year == 0 && f.bc == 0 {
            return Err(format_error("cannot calculate day of year without year information"));
        }
        if f.calendar == Some(Calendar::IsoWeek) {
            set_julian(civil, iso_week_start(civil.year, 1) - 1 + day_of_year);
            year_known = true;
        } else {
            // The month of that day and the days before the month; past the year's end month 13.
            let mut before = 0;
            let mut month = 1;
            while month <= 12 && day_of_year > before + days_in_month(civil.year, month) {
                before += days_in_month(civil.year, month);
                month += 1;
            }
            if civil.month <= 1 {
                civil.month = month;
            }
            if civil.day <= 1 {
                civil.day = day_of_year - before;
            }
        }
        (month_known, day_known) = (true, true);
    }
    let ok = (!month_known || (1..=12).contains(&civil.month))
        && (!day_known || (1..=31).contains(&civil.day))
        && (!(year_known && month_known && day_known) || civil.day <= days_in_month(civil.year, civil.month));
    Ok(ok.then_some(()))
}

fn read(input: &str, template: &str) -> Result<Parsed> {
    let mut reader = Reader { input, at: 0, fixed: false, extra: 0, fields: Fields::default() };
    reader.run(&parse(template))?;
    let f = reader.fields;
    let mut civil = Civil { month: 1, day: 1, ..Civil::default() };
    let out_of_range =
        || Error::new(ErrorKind::DatetimeFieldOverflow, format!("date/time field value out of range: \"{input}\""));
    set_time(&mut civil, &f)?;
    set_date(&mut civil, &f)?.ok_or_else(out_of_range)?;
    if !(0..24).contains(&civil.hour)
        || !(0..60).contains(&civil.minute)
        || !(0..60).contains(&civil.second)
        || !(0..MICROS_PER_SECOND).contains(&civil.micros)
    {
        return Err(out_of_range());
    }
    let seconds_east = if f.zone_sign == 0 {
        None
    } else {
        if !(0..=MAX_ZONE_HOURS).contains(&f.zone_hours) || !(0..60).contains(&f.zone_minutes) {
            return Err(Error::new(
                ErrorKind::InvalidTimeZoneDisplacement,
                format!("time zone displacement out of range: \"{input}\""),
            ));
        }
        Some(f.zone_sign * (f.zone_hours * 60 + f.zone_minutes) * 60)
    };
    Ok(Parsed { civil, seconds_east, precision: f.precision })
}

/// `to_timestamp(text, template)`: a timestamptz, local to `zone` unless the text has an offset.
///
/// # Errors
/// 22007 when text and template do not match, 22008 out of range, 0A000 for TZ and OF.
pub fn to_timestamp(text: &str, template: &str, zone: &TimeZone) -> Result<i64> {
    let parsed = read(text, template)?;
    let local = parsed.civil.to_micros().ok_or_else(timestamp_out_of_range)?;
    let micros = match parsed.seconds_east {
        Some(east) => local
            .checked_sub(east * MICROS_PER_SECOND)
            .filter(|t| super::in_range(*t))
            .ok_or_else(timestamp_out_of_range)?,
        None => timestamp_to_timestamptz(local, zone)?,
    };
    timestamp_round(micros, parsed.precision)
}

/// `to_date(text, template)`: days since 1970-01-01.
///
/// # Errors
/// As [`to_timestamp`].
pub fn to_date(text: &str, template: &str) -> Result<i32> {
    let parsed = read(text, template)?;
    date_in_range(parsed.civil.days())
        .ok_or_else(|| Error::new(ErrorKind::DatetimeFieldOverflow, format!("date out of range: \"{text}\"")))
}
