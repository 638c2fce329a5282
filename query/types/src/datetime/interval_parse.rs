//! Interval input: Postgres's words, SQL's `1-2 3 4:05:06`, ISO 8601's `P1Y2M3DT4H5M6S`.

use super::interval::{default_unit, interval_typmod, is_minute_to_second};
use super::interval_out_of_range;
use super::tokens::{Kind, Token, tokenize};
use super::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND};
use crate::{Error, ErrorKind, FormatOptions, Interval, IntervalStyle, Result};

/// Canonical name of a unit of time, from any of Postgres's spellings in lower case; words count to ten letters.
pub(super) fn unit(word: &str) -> Option<&'static str> {
    let word = word.get(..10).unwrap_or(word);
    Some(match word {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => "microsecond",
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" => "millisecond",
        "s" | "sec" | "secs" | "second" | "seconds" => "second",
        "m" | "min" | "mins" | "minute" | "minutes" => "minute",
        "h" | "hr" | "hrs" | "hour" | "hours" => "hour",
        "d" | "day" | "days" => "day",
        "w" | "week" | "weeks" => "week",
        "mon" | "mons" | "month" | "months" => "month",
        "qtr" | "quarter" => "quarter",
        "y" | "yr" | "yrs" | "year" | "years" => "year",
        "dec" | "decs" | "decade" | "decades" => "decade",
        "c" | "cent" | "century" | "centuries" => "century",
        "mil" | "mils" | "millennium" | "millennia" => "millennium",
        _ => return None,
    })
}

/// Sum under construction, wide enough to find overflow at the end.
#[derive(Default)]
struct Sum {
    years: i128,
    months: i128,
    days: i128,
    micros: i128,
}

impl Sum {
    /// A fraction of a number of days.
    fn add_day_fraction(&mut self, days: f64) {
        let whole = days.trunc();
        self.days += whole as i128;
        self.micros += ((days - whole) * MICROS_PER_DAY as f64).round_ties_even() as i128;
    }

    fn add(&mut self, value: i128, fraction: f64, unit: &str) -> Option<()> {
        let mut time = |micros: i64| {
            self.micros += value * i128::from(micros);
            self.micros += (fraction * micros as f64).round_ties_even() as i128;
        };
        let years = match unit {
            "microsecond" => {
                time(1);
                return Some(());
            }
            "millisecond" => {
                time(1000);
                return Some(());
            }
            "second" => {
                time(MICROS_PER_SECOND);
                return Some(());
            }
            "minute" => {
                time(MICROS_PER_MINUTE);
                return Some(());
            }
            "hour" => {
                time(MICROS_PER_HOUR);
                return Some(());
            }
            "day" => {
                self.days += value;
                self.add_day_fraction(fraction);
                return Some(());
            }
            "week" => {
                self.days += value * 7;
                self.add_day_fraction(fraction * 7.0);
                return Some(());
            }
            "month" => {
                self.months += value;
                self.add_day_fraction(fraction * 30.0);
                return Some(());
            }
            "year" => 1,
            "decade" => 10,
            "century" => 100,
            "millennium" => 1000,
            _ => return None,
        };
        self.years += value * years;
        self.months += (fraction * (years * 12) as f64).round_ties_even() as i128;
        Some(())
    }

    /// Years and months must each fit before their sum does, which is another error.
    fn finish(self) -> Result<Interval, Fault> {
        let years = i32::try_from(self.years).map_err(|_| Fault::Overflow)?;
        let months = i32::try_from(self.months).map_err(|_| Fault::Overflow)?;
        Ok(Interval {
            months: i32::try_from(i64::from(years) * 12 + i64::from(months)).map_err(|_| Fault::Range)?,
            days: i32::try_from(self.days).map_err(|_| Fault::Overflow)?,
            micros: i64::try_from(self.micros).map_err(|_| Fault::Overflow)?,
        })
    }
}

enum Fault {
    Format,
    Overflow,
    /// The parts are in range, the whole is not.
    Range,
}

/// `[-]digits[.digits]`: whole and signed fraction.
fn number(text: &str) -> Result<(i128, f64), Fault> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(Fault::Format);
    }
    let value: i128 =
        if whole.is_empty() { 0 } else { whole.parse::<i64>().map(i128::from).map_err(|_| Fault::Overflow)? };
    let fraction: f64 =
        if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().map_err(|_| Fault::Format)? };
    Ok(if negative { (-value, -fraction) } else { (value, fraction) })
}

/// `h:mm[:ss[.f]]` as microseconds.
fn clock(text: &str, minute_to_second: bool) -> Result<i128, Fault> {
    let parts: Vec<&str> = text.split(':').collect();
    let digits = |t: &str| -> Result<i128, Fault> {
        if t.is_empty() || !t.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Fault::Format);
        }
        t.parse::<i64>().map(i128::from).map_err(|_| Fault::Overflow)
    };
    let (hours, minutes, seconds) = match parts.as_slice() {
        [h, m] if minute_to_second || m.contains('.') => (0, digits(h)?, *m),
        [h, m] => (digits(h)?, digits(m)?, "0"),
        [h, m, s] => (digits(h)?, digits(m)?, *s),
        _ => return Err(Fault::Format),
    };
    let (whole, fraction) = number(seconds)?;
    if minutes > 59 || whole > 60 {
        return Err(Fault::Overflow);
    }
    Ok((hours * 60 + minutes) * i128::from(MICROS_PER_MINUTE)
        + whole * i128::from(MICROS_PER_SECOND)
        + (fraction * 1e6).round_ties_even() as i128)
}

/// Units that a clock time takes.
const CLOCK_UNITS: [&str; 5] = ["hour", "minute", "second", "millisecond", "microsecond"];

/// Reads the fields from right to left, because a unit stands after its number (`DecodeInterval`).
struct Words {
    sum: Sum,
    seen: Vec<&'static str>,
    /// What a number counts.
    unit: Option<&'static str>,
    minute_to_second: bool,
    default_unit: &'static str,
    force_negative: bool,
}

impl Words {
    /// A unit may be given once.
    fn mark(&mut self, units: &[&'static str]) -> Result<(), Fault> {
        if units.iter().any(|u| self.seen.contains(u)) {
            return Err(Fault::Format);
        }
        self.seen.extend_from_slice(units);
        Ok(())
    }

    fn clock(&mut self, micros: i128) -> Result<(), Fault> {
        let negative = self.force_negative && micros > 0;
        self.sum.micros += if negative { -micros } else { micros };
        // A number to the left of a clock time counts days.
        self.unit = Some("day");
        self.mark(&CLOCK_UNITS)
    }

    fn number(&mut self, text: &str) -> Result<(), Fault> {
        let unit = self.unit.unwrap_or(self.default_unit);
        let negative = text.starts_with('-');
        let body = text.trim_start_matches(['+', '-']);
        let (unit, mut value, mut fraction) = if let Some((years, months)) = body.split_once('-') {
            let (years, _) = number(years)?;
            let digits = months.bytes().take_while(u8::is_ascii_digit).count();
            let (leading, rest) = months.split_at(digits);
            let (months, _) = number(leading)?;
            if months > 11 {
                return Err(Fault::Overflow);
            }
            if !rest.is_empty() {
                return Err(Fault::Format);
            }
            let total = years * 12 + months;
            ("month", if negative { -total } else { total }, 0.0)
        } else {
            let (value, fraction) = number(text)?;
            (unit, value, fraction)
        };
        // A number to the left of hours counts days.
        self.unit = Some(if unit == "hour" { "day" } else { unit });
        if self.force_negative {
            value = -value.abs();
            fraction = -f64::abs(fraction);
        }
        self.sum.add(value, fraction, unit).ok_or(Fault::Format)?;
        if unit == "second" && fraction != 0.0 {
            self.mark(&["second", "millisecond", "microsecond"])
        } else {
            self.mark(&[unit])
        }
    }
}

fn words(input: &str, typmod: i32, sql_style: bool) -> Result<Sum, Fault> {
    let tokens = tokenize(input).ok_or(Fault::Format)?;
    let signed = |t: &Token| t.text.starts_with(['+', '-']);
    let mut words = Words {
        sum: Sum::default(),
        seen: Vec::new(),
        unit: None,
        minute_to_second: is_minute_to_second(typmod),
        default_unit: default_unit(typmod),
        // In the SQL style one leading minus holds for all fields.
        force_negative: sql_style
            && tokens.first().is_some_and(|t| t.text.starts_with('-'))
            && !tokens.iter().skip(1).any(signed),
    };
    let mut ago = false;
    for Token { kind, text } in tokens.iter().rev() {
        match kind {
            Kind::Text | Kind::Special => match unit(text) {
                Some(unit) => words.unit = Some(unit),
                None if text == "ago" => {
                    ago = true;
                    words.unit = Some("ago");
                }
                None => return Err(Fault::Format),
            },
            Kind::Time => {
                let micros = clock(text, words.minute_to_second)?;
                words.clock(micros)?;
            }
            Kind::Zone if text.contains(':') => {
                // A clock out of range is read as a number, which it is not.
                let micros = clock(&text[1..], words.minute_to_second).map_err(|_| Fault::Format)?;
                words.clock(if text.starts_with('-') { -micros } else { micros })?;
            }
            _ => words.number(text)?,
        }
    }
    if words.seen.is_empty() {
        return Err(Fault::Format);
    }
    let sum = words.sum;
    Ok(if ago { Sum { years: -sum.years, months: -sum.months, days: -sum.days, micros: -sum.micros } } else { sum })
}

/// Takes a number of an ISO 8601 interval off the front (`ParseISO8601Number`): whole and signed fraction.
fn iso_number(rest: &mut &str) -> Result<(i128, f64), Fault> {
    let b = rest.as_bytes();
    let digits = |mut i: usize| {
        while b.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let start = usize::from(b.first() == Some(&b'-'));
    let mut end = digits(start);
    let mut count = end - start;
    if b.get(end) == Some(&b'.') {
        let after = digits(end + 1);
        count += after - end - 1;
        end = after;
    }
    if count == 0 {
        return Err(Fault::Format);
    }
    if matches!(b.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(b.get(end + 1), Some(b'+' | b'-')));
        let after = digits(end + 1 + sign);
        if after > end + 1 + sign {
            end = after;
        }
    }
    let value: f64 = rest[..end].parse().map_err(|_| Fault::Format)?;
    *rest = &rest[end..];
    if !(-MAX_ISO_NUMBER..=MAX_ISO_NUMBER).contains(&value) {
        return Err(Fault::Overflow);
    }
    Ok((value.trunc() as i128, value - value.trunc()))
}

/// Largest number in an ISO 8601 interval.
const MAX_ISO_NUMBER: f64 = 1e15;

/// Digits that a field starts with, its sign apart.
fn integer_width(field: &str) -> usize {
    let body = field.strip_prefix('-').unwrap_or(field);
    body.bytes().take_while(u8::is_ascii_digit).count()
}

/// `P1Y2M3DT4H5M6S`, `P0001-02-03T04:05:06`, `P00010203T040506` (`DecodeISO8601Interval`).
fn iso8601(input: &str) -> Result<Sum, Fault> {
    let mut rest = input.strip_prefix('P').ok_or(Fault::Format)?;
    if rest.is_empty() {
        return Err(Fault::Format);
    }
    let mut sum = Sum::default();
    let mut in_time = false;
    let mut have_field = false;
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            in_time = true;
            have_field = false;
            rest = time;
            continue;
        }
        let field = rest;
        let (value, fraction) = iso_number(&mut rest)?;
        let mut add = |value: i128, fraction: f64, unit: &str| sum.add(value, fraction, unit).ok_or(Fault::Format);
        let letter = rest.chars().next();
        let unit = match (letter, in_time) {
            (Some('Y'), false) => "year",
            (Some('M'), false) => "month",
            (Some('W'), false) => "week",
            (Some('D'), false) => "day",
            (Some('H'), true) => "hour",
            (Some('M'), true) => "minute",
            (Some('S'), true) => "second",
            (None | Some('T'), false) if integer_width(field) == 8 && !have_field => {
                add(value / 10_000, 0.0, "year")?;
                add(value / 100 % 100, 0.0, "month")?;
                add(value % 100, fraction, "day")?;
                continue;
            }
            (None, true) if integer_width(field) == 6 && !have_field => {
                add(value / 10_000, 0.0, "hour")?;
                add(value / 100 % 100, 0.0, "minute")?;
                add(value % 100, fraction, "second")?;
                continue;
            }
            (None | Some('T' | '-'), false) | (None | Some(':'), true) if !have_field => {
                let (separator, units) =
                    if in_time { (':', ["hour", "minute", "second"]) } else { ('-', ["year", "month", "day"]) };
                add(value, fraction, units[0])?;
                for unit in &units[1..] {
                    let Some(next) = rest.strip_prefix(separator) else {
                        break;
                    };
                    rest = next;
                    let (value, fraction) = iso_number(&mut rest)?;
                    add(value, fraction, unit)?;
                }
                if !(rest.is_empty() || !in_time && rest.starts_with('T')) {
                    return Err(Fault::Format);
                }
                continue;
            }
            _ => return Err(Fault::Format),
        };
        add(value, fraction, unit)?;
        have_field = true;
        rest = &rest[1..];
    }
    Ok(sum)
}

/// `interval` input; `typmod` carries fields and precision as in Postgres (`atttypmod`), -1 for none.
///
/// # Errors
/// 22007 for the syntax, 22015 and 22008 out of range.
pub fn parse_interval(input: &str, typmod: i32, options: &FormatOptions) -> Result<Interval> {
    let sql_style = options.interval_style == IntervalStyle::SqlStandard;
    let sum = words(input, typmod, sql_style).or_else(|fault| match fault {
        Fault::Format => iso8601(input),
        overflow => Err(overflow),
    });
    let interval = sum.and_then(Sum::finish).map_err(|fault| match fault {
        Fault::Format => {
            Error::new(ErrorKind::InvalidDatetimeFormat, format!("invalid input syntax for type interval: \"{input}\""))
        }
        Fault::Overflow => {
            Error::new(ErrorKind::IntervalFieldOverflow, format!("interval field value out of range: \"{input}\""))
        }
        Fault::Range => interval_out_of_range(),
    })?;
    interval_typmod(interval, typmod)
}
