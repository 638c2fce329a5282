//! What the fields of a date or time mean (`DecodeDateTime` and `DecodeTimeOnly` of datetime.c).

use super::abbreviations::abbreviation;
use super::tokens::{Kind, Token, Word, keyword, tokenize};
use super::zone::zone_by_name;
use super::{Civil, MICROS_PER_DAY, civil_from_days, days_from_civil, days_in_month};
use super::{MICROS_PER_SECOND, UNIX_EPOCH_JULIAN};
use crate::{DateOrder, Error, ErrorKind, TimeZone};

/// Why a text is not a date or time.
#[derive(Debug)]
pub(super) enum Fault {
    Format,
    Overflow,
    /// Month or day out of range: another DateStyle might help.
    MonthDayOverflow,
    ZoneOverflow,
    Other(Error),
}

impl Fault {
    /// The error, for a value of the named type.
    pub fn into_error(self, input: &str, type_name: &str) -> Error {
        let range =
            || Error::new(ErrorKind::DatetimeFieldOverflow, format!("date/time field value out of range: \"{input}\""));
        match self {
            Fault::Format => Error::new(
                ErrorKind::InvalidDatetimeFormat,
                format!("invalid input syntax for type {type_name}: \"{input}\""),
            ),
            Fault::Overflow => range(),
            Fault::MonthDayOverflow => range().with_hint("Perhaps you need a different \"datestyle\" setting."),
            Fault::ZoneOverflow => Error::new(
                ErrorKind::InvalidTimeZoneDisplacement,
                format!("time zone displacement out of range: \"{input}\""),
            ),
            Fault::Other(error) => error,
        }
    }
}

type Decoded<T> = Result<T, Fault>;

/// Zone written in the value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Zone {
    /// Seconds east.
    Offset(i32),
    Named(TimeZone),
}

/// What a text says.
#[derive(Debug)]
pub(super) enum Moment {
    At { civil: Civil, zone: Option<Zone>, has_date: bool },
    Epoch,
    Infinity,
    MinusInfinity,
}

const YEAR: u16 = 1;
const MONTH: u16 = 2;
const DAY: u16 = 4;
const TIME: u16 = 8;
const ZONE: u16 = 16;
const DAY_OF_YEAR: u16 = 32;
const WEEKDAY: u16 = 64;
const HALF: u16 = 128;
const ERA: u16 = 256;
const DAYLIGHT: u16 = 512;
const DATE: u16 = YEAR | MONTH | DAY;

/// Largest hour of a zone's displacement (`MAX_TZDISP_HOUR`).
const MAX_ZONE_HOURS: i64 = 15;

struct Decoder {
    order: DateOrder,
    seen: u16,
    civil: Civil,
    day_of_year: i64,
    two_digit_year: bool,
    text_month: bool,
    julian: bool,
}

fn int(text: &str) -> Decoded<i64> {
    match text.parse::<i32>() {
        Ok(n) => Ok(i64::from(n)),
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => Err(Fault::Overflow),
        Err(_) => Err(Fault::Format),
    }
}

/// Microseconds of the digits after a point, rounded.
pub(super) fn fraction_micros(digits: &str) -> Decoded<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::Format);
    }
    if digits.is_empty() {
        return Ok(0);
    }
    let fraction: f64 = format!("0.{digits}").parse().map_err(|_| Fault::Format)?;
    Ok((fraction * MICROS_PER_SECOND as f64).round_ties_even() as i64)
}

/// `+02`, `-0330`, `+05:30:15`: seconds east.
pub(super) fn decode_offset(text: &str) -> Decoded<i32> {
    let (sign, body) = match text.as_bytes().first() {
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        _ => return Err(Fault::Format),
    };
    let mut parts = body.split(':');
    let first = parts.next().unwrap_or("");
    let number = |t: &str| {
        int(t).map_err(|f| match f {
            Fault::Overflow => Fault::ZoneOverflow,
            other => other,
        })
    };
    let mut hours = number(first)?;
    let (mut minutes, mut seconds) = (0, 0);
    if let Some(m) = parts.next() {
        minutes = number(m)?;
        if let Some(s) = parts.next() {
            seconds = number(s)?;
        }
        if parts.next().is_some() {
            return Err(Fault::Format);
        }
    } else if body.len() > 2 {
        minutes = hours % 100;
        hours /= 100;
    }
    if hours > MAX_ZONE_HOURS || minutes >= 60 || seconds >= 60 {
        return Err(Fault::ZoneOverflow);
    }
    Ok((sign * ((hours * 60 + minutes) * 60 + seconds)) as i32)
}

impl Decoder {
    fn mark(&mut self, bits: u16) -> Decoded<()> {
        if self.seen & bits != 0 {
            return Err(Fault::Format);
        }
        self.seen |= bits;
        Ok(())
    }

    fn set_month_name(&mut self, month: i64) -> Decoded<()> {
        // A number taken for the month was the day.
        if self.seen & MONTH != 0 && !self.text_month && self.seen & DAY == 0 {
            if !(1..=31).contains(&self.civil.month) {
                return Err(Fault::Format);
            }
            self.civil.day = self.civil.month;
            self.seen |= DAY;
        } else {
            self.mark(MONTH)?;
        }
        self.text_month = true;
        self.civil.month = month;
        Ok(())
    }

    fn time(&mut self, text: &str) -> Decoded<()> {
        self.mark(TIME)?;
        let (hour, rest) = text.split_once(':').ok_or(Fault::Format)?;
        let mut civil = self.civil;
        civil.hour = int(hour)?;
        civil.second = 0;
        civil.micros = 0;
        match rest.split_once(':') {
            Some((minute, seconds)) => {
                civil.minute = int(minute)?;
                let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
                civil.second = int(second)?;
                civil.micros = fraction_micros(fraction)?;
            }
            None => match rest.split_once('.') {
                // minutes and seconds with a fraction
                Some((seconds, fraction)) => {
                    civil.minute = civil.hour;
                    civil.hour = 0;
                    civil.second = int(seconds)?;
                    civil.micros = fraction_micros(fraction)?;
                }
                None => civil.minute = int(rest)?,
            },
        }
        self.civil = civil;
        self.check_time()
    }

    fn check_time(&self) -> Decoded<()> {
        let c = &self.civil;
        if c.minute > 59 || c.second > 60 || c.hour > 24 || c.time() > MICROS_PER_DAY {
            return Err(Fault::Overflow);
        }
        Ok(())
    }

    /// Run-together digits: `20011223`, `040506.789`, `0405`.
    fn digits(&mut self, text: &str, seen: u16) -> Decoded<()> {
        let (body, fraction) = match text.split_once('.') {
            Some((body, fraction)) => (body, Some(fraction)),
            None => (text, None),
        };
        if !body.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Fault::Format);
        }
        let len = body.len();
        if let Some(fraction) = fraction {
            self.civil.micros = fraction_micros(fraction)?;
        } else if seen & DATE != DATE && len >= 6 {
            self.mark(DATE)?;
            self.civil.year = int(&body[..len - 4])?;
            self.civil.month = int(&body[len - 4..len - 2])?;
            self.civil.day = int(&body[len - 2..])?;
            self.two_digit_year = len == 6;
            return Ok(());
        }
        if seen & TIME == 0 && (len == 6 || len == 4) {
            self.mark(TIME)?;
            self.civil.hour = int(&body[..2])?;
            self.civil.minute = int(&body[2..4])?;
            self.civil.second = if len == 6 { int(&body[4..])? } else { 0 };
            return self.check_time();
        }
        Err(Fault::Format)
    }

    fn number(&mut self, text: &str, seen: u16) -> Decoded<()> {
        let (body, fraction) = match text.split_once('.') {
            Some((body, fraction)) => (body, Some(fraction)),
            None => (text, None),
        };
        let value = int(body)?;
        if let Some(fraction) = fraction {
            if body.len() > 2 {
                return self.digits(text, seen | DATE);
            }
            self.civil.micros = fraction_micros(fraction)?;
        }
        let len = body.len();
        if len == 3 && seen & DATE == YEAR && (1..=366).contains(&value) {
            self.mark(DAY_OF_YEAR | MONTH | DAY)?;
            self.day_of_year = value;
            return Ok(());
        }
        let year_first = len >= 3 || self.order == DateOrder::Ymd;
        let bit = match seen & DATE {
            0 if year_first => YEAR,
            0 if self.order == DateOrder::Dmy => DAY,
            0 | YEAR | DAY => MONTH,
            MONTH if self.text_month && year_first => YEAR,
            MONTH => DAY,
            bits if bits == YEAR | MONTH => {
                if self.text_month && len >= 3 && self.two_digit_year {
                    // The number taken for a year was the day.
                    self.seen |= DAY;
                    self.civil.day = self.civil.year;
                    self.civil.year = value;
                    self.two_digit_year = false;
                    return Ok(());
                }
                DAY
            }
            bits if bits == MONTH | DAY => YEAR,
            DATE => return self.digits(text, seen),
            _ => return Err(Fault::Format),
        };
        self.mark(bit)?;
        match bit {
            YEAR => {
                self.civil.year = value;
                self.two_digit_year = len <= 2;
            }
            MONTH => self.civil.month = value,
            _ => self.civil.day = value,
        }
        Ok(())
    }

    /// `2001-02-03`, `3.2.2001`, `3-feb-2001`.
    fn date(&mut self, text: &str) -> Decoded<()> {
        let mut parts: Vec<&str> = Vec::new();
        let mut rest = text.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        while let Some(first) = rest.chars().next() {
            let digit = first.is_ascii_digit();
            let end = rest
                .find(|c: char| if digit { !c.is_ascii_digit() } else { !c.is_ascii_alphabetic() })
                .unwrap_or(rest.len());
            if end == 0 {
                return Err(Fault::Format);
            }
            parts.push(&rest[..end]);
            rest = &rest[end..];
            let next = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            if next.is_empty() && !rest.is_empty() && rest.len() > 1 {
                return Err(Fault::Format);
            }
            rest = next;
        }
        for part in parts.iter().filter(|p| p.as_bytes()[0].is_ascii_alphabetic()) {
            match keyword(part) {
                Some(Word::Ignore) => {}
                Some(Word::Month(month)) => {
                    self.mark(MONTH)?;
                    self.text_month = true;
                    self.civil.month = month;
                }
                _ => return Err(Fault::Format),
            }
        }
        for part in parts.iter().filter(|p| p.as_bytes()[0].is_ascii_digit()) {
            self.number(part, self.seen)?;
        }
        if self.seen & DATE != DATE {
            return Err(Fault::Format);
        }
        Ok(())
    }

    /// Adjusts the year and checks the fields (`ValidateDate`).
    fn validate(&mut self, bc: bool) -> Decoded<()> {
        let c = &mut self.civil;
        if self.seen & YEAR != 0 && !self.julian {
            if bc {
                if c.year <= 0 {
                    return Err(Fault::Overflow);
                }
                c.year = 1 - c.year;
            } else if self.two_digit_year {
                if c.year < 70 {
                    c.year += 2000;
                } else if c.year < 100 {
                    c.year += 1900;
                }
            } else if c.year <= 0 {
                return Err(Fault::Overflow);
            }
        }
        if self.seen & DAY_OF_YEAR != 0 {
            let days = days_from_civil(c.year, 1, 1) + self.day_of_year - 1;
            (c.year, c.month, c.day) = civil_from_days(days);
        }
        if self.seen & MONTH != 0 && !(1..=12).contains(&c.month) || self.seen & DAY != 0 && !(1..=31).contains(&c.day)
        {
            return Err(Fault::MonthDayOverflow);
        }
        if self.seen & DATE == DATE && c.day > days_in_month(c.year, c.month) {
            return Err(Fault::Overflow);
        }
        Ok(())
    }
}

/// Decodes a date, a time or both. `local_now` is the current moment in the session's zone, for `now` and `today`.
pub(super) fn decode(input: &str, order: DateOrder, time_only: bool, local_now: &dyn Fn() -> Civil) -> Decoded<Moment> {
    let tokens = tokenize(input).ok_or(Fault::Format)?;
    let mut d = Decoder {
        order,
        seen: 0,
        civil: Civil::default(),
        day_of_year: 0,
        two_digit_year: false,
        text_month: false,
        julian: false,
    };
    let mut zone: Option<Zone> = None;
    let mut daylight = false;
    let mut bc = false;
    let mut half = None;
    let mut prefix: Option<Word> = None;
    for (i, Token { kind, text }) in tokens.iter().enumerate() {
        let starts_digit = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
        match kind {
            Kind::Date if prefix == Some(Word::Julian) => {
                prefix = None;
                let end = text.find(|c: char| !c.is_ascii_digit()).ok_or(Fault::Format)?;
                set_julian(&mut d, int(&text[..end])?)?;
                zone = Some(Zone::Offset(decode_offset(&text[end..])?));
                d.mark(TIME | ZONE)?;
            }
            Kind::Date
                if prefix.is_some()
                    || d.seen & (MONTH | DAY) == MONTH | DAY
                    || time_only
                        && !(i == 0
                            && tokens.len() >= 2
                            && (tokens[tokens.len() - 1].kind == Kind::Date || tokens[1].kind == Kind::Time)) =>
            {
                if starts_digit || prefix.is_some() {
                    if prefix.take().is_some_and(|p| p != Word::IsoTime) || d.seen & TIME != 0 {
                        return Err(Fault::Format);
                    }
                    let at = text.find('-').ok_or(Fault::Format)?;
                    zone = Some(Zone::Offset(decode_offset(&text[at..])?));
                    let seen = if time_only { d.seen | DATE } else { d.seen };
                    d.digits(&text[..at], seen)?;
                    d.mark(ZONE)?;
                } else {
                    zone = Some(Zone::Named(named_zone(text)?));
                    d.mark(ZONE)?;
                }
            }
            Kind::Date => d.date(text)?,
            Kind::Time => {
                if prefix.take().is_some_and(|p| p != Word::IsoTime) {
                    return Err(Fault::Format);
                }
                d.time(text)?;
            }
            Kind::Zone => {
                let offset = decode_offset(text)?;
                // After an abbreviation it completes a POSIX zone; there the sign counts west.
                if let (Some(Zone::Offset(base)), true) = (&zone, d.seen & ZONE != 0) {
                    zone = Some(Zone::Offset(base - offset));
                } else {
                    d.mark(ZONE)?;
                    zone = Some(Zone::Offset(offset));
                }
            }
            Kind::Number => match prefix.take() {
                Some(Word::Julian) => {
                    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                    set_julian(&mut d, int(whole)?)?;
                    if text.contains('.') {
                        let day: f64 = format!("0.{fraction}0").parse().map_err(|_| Fault::Format)?;
                        d.mark(TIME)?;
                        let time = (day * MICROS_PER_DAY as f64) as i64;
                        d.civil = Civil {
                            year: d.civil.year,
                            month: d.civil.month,
                            day: d.civil.day,
                            ..Civil::from_time(time)
                        };
                    }
                }
                Some(Word::IsoTime) => d.digits(text, d.seen | DATE)?,
                Some(_) => return Err(Fault::Format),
                None => {
                    let point = text.find('.');
                    let seen = if time_only { d.seen | DATE } else { d.seen };
                    let dated = time_only && i == 0 && tokens.len() >= 2 && tokens[tokens.len() - 1].kind == Kind::Date;
                    if point.is_some() && (dated || seen & DATE == 0) {
                        d.date(text)?;
                    } else if point.is_some_and(|p| p > 2) {
                        d.digits(text, seen | if time_only { DATE } else { 0 })?;
                    } else if if time_only {
                        text.len() > 4
                    } else {
                        text.len() >= 6 && (d.seen & DATE == 0 || d.seen & TIME == 0)
                    } {
                        d.digits(text, seen)?;
                    } else {
                        d.number(text, seen)?;
                    }
                }
            },
            Kind::Text | Kind::Special => {
                if let Some(offset) = abbreviation(text).filter(|_| *kind == Kind::Text) {
                    d.mark(ZONE)?;
                    zone = Some(Zone::Offset(offset));
                    continue;
                }
                match keyword(text) {
                    Some(Word::Ignore) => {}
                    Some(Word::Now) => {
                        d.mark(DATE | TIME | ZONE)?;
                        d.civil = local_now();
                        d.two_digit_year = false;
                        d.julian = true;
                    }
                    Some(word @ (Word::Today | Word::Tomorrow | Word::Yesterday)) => {
                        d.mark(DATE)?;
                        let shift = match word {
                            Word::Tomorrow => 1,
                            Word::Yesterday => -1,
                            _ => 0,
                        };
                        let (year, month, day) = civil_from_days(local_now().days() + shift);
                        d.civil = Civil { year, month, day, ..d.civil };
                        d.julian = true;
                    }
                    Some(Word::AllBalls) => {
                        d.mark(TIME | ZONE)?;
                        d.civil = Civil { hour: 0, minute: 0, second: 0, micros: 0, ..d.civil };
                        zone = Some(Zone::Offset(0));
                    }
                    Some(special @ (Word::Epoch | Word::Infinity | Word::MinusInfinity)) => {
                        if tokens.len() != 1 || time_only {
                            return Err(Fault::Format);
                        }
                        return Ok(match special {
                            Word::Epoch => Moment::Epoch,
                            Word::Infinity => Moment::Infinity,
                            _ => Moment::MinusInfinity,
                        });
                    }
                    Some(Word::Month(month)) => d.set_month_name(month)?,
                    Some(Word::Weekday(_)) => d.mark(WEEKDAY)?,
                    Some(word @ (Word::Am | Word::Pm)) => {
                        d.mark(HALF)?;
                        half = Some(word);
                    }
                    Some(word @ (Word::Ad | Word::Bc)) => {
                        d.mark(ERA)?;
                        bc = word == Word::Bc;
                    }
                    Some(Word::DaylightModifier) => {
                        d.mark(DAYLIGHT)?;
                        daylight = true;
                    }
                    Some(Word::Julian) => prefix = Some(Word::Julian),
                    Some(Word::IsoTime) => {
                        let next = tokens.get(i + 1).map(|t| t.kind);
                        let timed = matches!(next, Some(Kind::Number | Kind::Time | Kind::Date));
                        if !timed || !time_only && d.seen & DATE != DATE {
                            return Err(Fault::Format);
                        }
                        prefix = Some(Word::IsoTime);
                    }
                    Some(Word::Unit) => return Err(Fault::Format),
                    None if *kind == Kind::Special => return Err(Fault::Format),
                    None => {
                        let named = zone_by_name(text).ok_or(Fault::Format)?;
                        d.mark(ZONE)?;
                        zone = Some(Zone::Named(named));
                    }
                }
            }
        }
    }
    if prefix.is_some() {
        return Err(Fault::Format);
    }
    d.validate(bc)?;
    if half.is_some() && d.civil.hour > 12 {
        return Err(Fault::Overflow);
    }
    match half {
        Some(Word::Am) if d.civil.hour == 12 => d.civil.hour = 0,
        Some(Word::Pm) if d.civil.hour != 12 => d.civil.hour += 12,
        _ => {}
    }
    let has_date = d.seen & DATE == DATE;
    if !time_only && !has_date || time_only && d.seen & TIME == 0 {
        return Err(Fault::Format);
    }
    if time_only && matches!(zone, Some(Zone::Named(_))) && !has_date {
        return Err(Fault::Format);
    }
    if let (true, Some(Zone::Offset(offset))) = (daylight, &mut zone) {
        *offset += 3600;
    }
    Ok(Moment::At { civil: d.civil, zone, has_date })
}

fn set_julian(d: &mut Decoder, julian: i64) -> Decoded<()> {
    d.mark(DATE)?;
    d.julian = true;
    (d.civil.year, d.civil.month, d.civil.day) = civil_from_days(julian - UNIX_EPOCH_JULIAN);
    Ok(())
}

fn named_zone(text: &str) -> Decoded<TimeZone> {
    zone_by_name(text).ok_or_else(|| {
        Fault::Other(Error::new(ErrorKind::InvalidParameterValue, format!("time zone \"{text}\" not recognized")))
    })
}
