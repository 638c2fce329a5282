//! Interval input: Postgres's words, SQL's `1-2 3 4:05:06`, ISO 8601's `P1Y2M3DT4H5M6S`.

use super::interval::{default_unit, interval_typmod, is_minute_to_second};
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
        let months = match unit {
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
            "year" => 12,
            "decade" => 120,
            "century" => 1200,
            "millennium" => 12_000,
            _ => return None,
        };
        self.months += value * months;
        self.months += (fraction * months as f64).round_ties_even() as i128;
        Some(())
    }

    fn finish(self) -> Option<Interval> {
        Some(Interval {
            months: i32::try_from(self.months).ok()?,
            days: i32::try_from(self.days).ok()?,
            micros: i64::try_from(self.micros).ok()?,
        })
    }
}

enum Fault {
    Format,
    Overflow,
}

/// `[-]digits[.digits]`: whole and signed fraction.
fn number(text: &str) -> Result<(i128, f64), Fault> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    if whole.len() + fraction.len() == 0
        || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
    {
        return Err(Fault::Format);
    }
    let value: i128 = if whole.is_empty() {
        0
    } else {
        whole
            .parse::<i64>()
            .map(i128::from)
            .map_err(|_| Fault::Overflow)?
    };
    let fraction: f64 = if fraction.is_empty() {
        0.0
    } else {
        format!("0.{fraction}").parse().map_err(|_| Fault::Format)?
    };
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
    if minutes > 59 || whole > 60 || hours > i128::from(i32::MAX) {
        return Err(Fault::Overflow);
    }
    Ok((hours * 60 + minutes) * i128::from(MICROS_PER_MINUTE)
        + whole * i128::from(MICROS_PER_SECOND)
        + (fraction * 1e6).round_ties_even() as i128)
}

fn words(input: &str, typmod: i32, sql_style: bool) -> Result<Sum, Fault> {
    let tokens = tokenize(input).ok_or(Fault::Format)?;
    let mut sum = Sum::default();
    let mut current: Option<&'static str> = None;
    let mut ago = false;
    let mut fields = 0;
    let mut seen: Vec<&str> = Vec::new();
    let signed = |t: &Token| t.text.starts_with(['+', '-']);
    // In the SQL style one leading minus holds for all fields.
    let force_negative = sql_style
        && tokens.first().is_some_and(|t| t.text.starts_with('-'))
        && !tokens.iter().skip(1).any(signed);
    for Token { kind, text } in tokens.iter().rev() {
        match kind {
            Kind::Text | Kind::Special => {
                if text == "ago" && !ago && fields == 0 && current.is_none() {
                    ago = true;
                } else if let Some(unit) = unit(text) {
                    if current.is_some() {
                        return Err(Fault::Format);
                    }
                    current = Some(unit);
                } else {
                    return Err(Fault::Format);
                }
            }
            Kind::Time | Kind::Zone if text.contains(':') => {
                let (negative, body) = match text.strip_prefix('-') {
                    Some(rest) => (true, rest),
                    None => (false, text.strip_prefix('+').unwrap_or(text)),
                };
                if current.is_some_and(|u| u != "day") || seen.contains(&"clock") {
                    return Err(Fault::Format);
                }
                let micros = clock(body, is_minute_to_second(typmod))?;
                let negative = negative || force_negative;
                sum.micros += if negative { -micros } else { micros };
                seen.push("clock");
                fields += 1;
                current = Some("day");
            }
            _ => {
                let unit = current.unwrap_or_else(|| default_unit(typmod));
                let body = text.trim_start_matches(['+', '-']);
                let (unit, value, fraction) = if let Some((years, months)) = body.split_once('-') {
                    let (years, _) = number(years)?;
                    let (months, fraction) = number(months)?;
                    if fraction != 0.0 {
                        return Err(Fault::Format);
                    }
                    if months > 11 {
                        return Err(Fault::Overflow);
                    }
                    let total = years * 12 + months;
                    ("month", if text.starts_with('-') { -total } else { total }, 0.0)
                } else {
                    let (value, fraction) = number(text)?;
                    (unit, value, fraction)
                };
                if seen.contains(&unit) {
                    return Err(Fault::Format);
                }
                seen.push(unit);
                let (value, fraction) = if force_negative && value > 0 || force_negative && fraction > 0.0 {
                    (-value, -fraction)
                } else {
                    (value, fraction)
                };
                sum.add(value, fraction, unit).ok_or(Fault::Format)?;
                fields += 1;
                // The next number to the left needs its own unit.
                current = None;
            }
        }
    }
    if fields == 0 || current.is_some_and(|u| u != "day" || !seen.contains(&"clock")) {
        return Err(Fault::Format);
    }
    if ago {
        sum = Sum {
            months: -sum.months,
            days: -sum.days,
            micros: -sum.micros,
        };
    }
    Ok(sum)
}

fn iso8601(input: &str) -> Result<Sum, Fault> {
    let body = input.trim().strip_prefix('P').ok_or(Fault::Format)?;
    let mut sum = Sum::default();
    let mut rest = body;
    let mut in_time = false;
    if rest.is_empty() {
        return Err(Fault::Format);
    }
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            if in_time || time.is_empty() {
                return Err(Fault::Format);
            }
            in_time = true;
            rest = time;
            continue;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+'))
            .unwrap_or(rest.len());
        let (digits, tail) = rest.split_at(end);
        // The alternative form: P0001-02-03T04:05:06.
        if !in_time && (tail.is_empty() || tail.starts_with('T')) && digits.contains('-') {
            let parts: Vec<&str> = digits.split('-').collect();
            for (part, unit) in parts.iter().zip(["year", "month", "day"]) {
                let (value, fraction) = number(part)?;
                sum.add(value, fraction, unit).ok_or(Fault::Format)?;
            }
            rest = tail;
            continue;
        }
        if in_time && tail.starts_with(':') {
            sum.micros += clock(rest, false)?;
            return Ok(sum);
        }
        let (value, fraction) = number(digits)?;
        let letter = tail.chars().next().ok_or(Fault::Format)?;
        let unit = match (letter, in_time) {
            ('Y', false) => "year",
            ('M', false) => "month",
            ('W', false) => "week",
            ('D', false) => "day",
            ('H', true) => "hour",
            ('M', true) => "minute",
            ('S', true) => "second",
            _ => return Err(Fault::Format),
        };
        sum.add(value, fraction, unit).ok_or(Fault::Format)?;
        rest = &tail[1..];
    }
    Ok(sum)
}

/// `interval` input; `typmod` carries fields and precision as in Postgres (`atttypmod`), -1 for none.
///
/// # Errors
/// 22007 for the syntax, 22015 and 22008 out of range.
pub fn parse_interval(input: &str, typmod: i32, options: &FormatOptions) -> Result<Interval> {
    let sql_style = options.interval_style == IntervalStyle::SqlStandard;
    let overflow = || {
        Error::new(
            ErrorKind::IntervalFieldOverflow,
            format!("interval field value out of range: \"{input}\""),
        )
    };
    let sum = words(input, typmod, sql_style).or_else(|fault| match fault {
        Fault::Format => iso8601(input),
        overflow => Err(overflow),
    });
    let sum = sum.map_err(|fault| match fault {
        Fault::Format => Error::new(
            ErrorKind::InvalidDatetimeFormat,
            format!("invalid input syntax for type interval: \"{input}\""),
        ),
        Fault::Overflow => overflow(),
    })?;
    interval_typmod(sum.finish().ok_or_else(overflow)?, typmod)
}
