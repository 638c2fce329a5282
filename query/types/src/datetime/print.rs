//! Text output in all DateStyles and IntervalStyles (`EncodeDateTime`, `EncodeInterval` of datetime.c).

use std::fmt::Write;

use super::zone::{offset_at, offset_seconds};
use super::{
    Civil, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_MINUTE, MICROS_PER_SECOND, MONTHS, WEEKDAYS, civil_from_days,
    weekday,
};
use crate::{DateOrder, DateStyle, FormatOptions, Interval, IntervalStyle, TimeTz};

// Writing into a String cannot fail; this says so once.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => { write!($out, $($arg)*).unwrap_or_default() };
}

fn put_fraction(out: &mut String, micros: i64) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// Appends `hh:mm:ss[.ffffff]`.
pub fn write_time(out: &mut String, time: i64) {
    let c = Civil::from_time(time);
    put!(out, "{:02}:{:02}:{:02}", c.hour, c.minute, c.second);
    put_fraction(out, c.micros);
}

/// Appends `±hh[:mm[:ss]]`.
fn put_zone(out: &mut String, seconds_east: i32) {
    out.push(if seconds_east < 0 { '-' } else { '+' });
    let s = seconds_east.unsigned_abs();
    put!(out, "{:02}", s / 3600);
    if !s.is_multiple_of(3600) {
        put!(out, ":{:02}", s / 60 % 60);
    }
    if !s.is_multiple_of(60) {
        put!(out, ":{:02}", s % 60);
    }
}

/// Appends a `timetz`.
pub fn write_timetz(out: &mut String, value: TimeTz) {
    write_time(out, value.micros);
    put_zone(out, -value.zone_seconds_west);
}

fn put_date(out: &mut String, c: &Civil, options: &FormatOptions) {
    let year = if c.year > 0 { c.year } else { 1 - c.year };
    let (month, day) = (c.month, c.day);
    let day_first = options.date_order == DateOrder::Dmy;
    match options.date_style {
        DateStyle::Iso => put!(out, "{year:04}-{month:02}-{day:02}"),
        DateStyle::German => put!(out, "{day:02}.{month:02}.{year:04}"),
        DateStyle::Sql if day_first => put!(out, "{day:02}/{month:02}/{year:04}"),
        DateStyle::Sql => put!(out, "{month:02}/{day:02}/{year:04}"),
        DateStyle::Postgres if day_first => put!(out, "{day:02}-{month:02}-{year:04}"),
        DateStyle::Postgres => put!(out, "{month:02}-{day:02}-{year:04}"),
    }
}

/// Appends a `date`.
pub fn write_date(out: &mut String, date: i32, options: &FormatOptions) {
    match date {
        i32::MAX => out.push_str("infinity"),
        i32::MIN => out.push_str("-infinity"),
        days => {
            let (year, month, day) = civil_from_days(i64::from(days));
            let c = Civil { year, month, day, ..Civil::default() };
            put_date(out, &c, options);
            if year <= 0 {
                out.push_str(" BC");
            }
        }
    }
}

/// Appends a local moment; `zone` is the offset in seconds east and the abbreviation.
fn put_moment(out: &mut String, local: i64, zone: Option<(i32, String)>, options: &FormatOptions) {
    let c = Civil::from_micros(local);
    let time = local.rem_euclid(MICROS_PER_DAY);
    match options.date_style {
        DateStyle::Postgres => {
            let name = WEEKDAYS[weekday(local.div_euclid(MICROS_PER_DAY)) as usize];
            let month = &MONTHS[c.month as usize - 1][..3];
            let year = if c.year > 0 { c.year } else { 1 - c.year };
            if options.date_order == DateOrder::Dmy {
                put!(out, "{} {:02} {month} ", &name[..3], c.day);
            } else {
                put!(out, "{} {month} {:02} ", &name[..3], c.day);
            }
            write_time(out, time);
            put!(out, " {year:04}");
        }
        _ => {
            put_date(out, &c, options);
            out.push(' ');
            write_time(out, time);
        }
    }
    if let Some((east, abbreviation)) = zone {
        let named = abbreviation.starts_with(|c: char| c.is_ascii_alphabetic());
        match options.date_style {
            DateStyle::Iso => put_zone(out, east),
            _ if named => put!(out, " {abbreviation}"),
            // A zone without letters prints as its offset, in the Postgres style after a blank.
            DateStyle::Postgres => {
                out.push(' ');
                put_zone(out, east);
            }
            _ => {
                if !abbreviation.is_empty() {
                    out.push(' ');
                }
                put_zone(out, east);
            }
        }
    }
    if c.year <= 0 {
        out.push_str(" BC");
    }
}

fn put_infinity(out: &mut String, micros: i64) -> bool {
    match micros {
        i64::MAX => out.push_str("infinity"),
        i64::MIN => out.push_str("-infinity"),
        _ => return false,
    }
    true
}

/// Appends a `timestamp`.
pub fn write_timestamp(out: &mut String, micros: i64, options: &FormatOptions) {
    if !put_infinity(out, micros) {
        put_moment(out, micros, None, options);
    }
}

/// Appends a `timestamptz` in the session's zone.
pub fn write_timestamptz(out: &mut String, micros: i64, options: &FormatOptions) {
    if put_infinity(out, micros) {
        return;
    }
    let zone = if options.date_style == DateStyle::Iso {
        (offset_seconds(micros, &options.time_zone), String::new())
    } else {
        offset_at(micros, &options.time_zone)
    };
    let local = micros.saturating_add(i64::from(zone.0) * MICROS_PER_SECOND);
    put_moment(out, local, Some(zone), options);
}

/// Appends an `interval`.
pub fn write_interval(out: &mut String, value: Interval, options: &FormatOptions) {
    match options.interval_style {
        IntervalStyle::Postgres => postgres(out, value),
        IntervalStyle::PostgresVerbose => verbose(out, value),
        IntervalStyle::SqlStandard => sql_standard(out, value),
        IntervalStyle::Iso8601 => iso8601(out, value),
    }
}

/// Hours, minutes, seconds and microseconds, all with the sign of the whole.
fn split_time(micros: i64) -> (i64, i64, i64, i64) {
    (
        micros / MICROS_PER_HOUR,
        micros / MICROS_PER_MINUTE % 60,
        micros / MICROS_PER_SECOND % 60,
        micros % MICROS_PER_SECOND,
    )
}

fn put_clock(out: &mut String, micros: i64, hour_digits: usize) {
    let (h, m, s, f) = split_time(micros);
    put!(out, "{:0hour_digits$}:{:02}:{:02}", h.abs(), m.abs(), s.abs());
    put_fraction(out, f.abs());
}

fn postgres(out: &mut String, v: Interval) {
    let mut first = true;
    let mut before_negative = false;
    let mut part = |out: &mut String, n: i32, unit: &str| {
        if n == 0 {
            return;
        }
        if !first {
            out.push(' ');
        }
        let plus = if before_negative && n > 0 { "+" } else { "" };
        put!(out, "{plus}{n} {unit}{}", if n == 1 { "" } else { "s" });
        before_negative = n < 0;
        first = false;
    };
    part(out, v.months / 12, "year");
    part(out, v.months % 12, "mon");
    part(out, v.days, "day");
    if first || v.micros != 0 {
        if !first {
            out.push(' ');
        }
        if v.micros < 0 {
            out.push('-');
        } else if before_negative {
            out.push('+');
        }
        put_clock(out, v.micros, 2);
    }
}

fn verbose(out: &mut String, v: Interval) {
    out.push('@');
    let mut ago: Option<bool> = None;
    let mut part = |out: &mut String, n: i64, unit: &str| {
        if n == 0 {
            return;
        }
        let negative = *ago.get_or_insert(n < 0);
        let n = if negative { -n } else { n };
        put!(out, " {n} {unit}{}", if n == 1 { "" } else { "s" });
    };
    part(out, i64::from(v.months / 12), "year");
    part(out, i64::from(v.months % 12), "mon");
    part(out, i64::from(v.days), "day");
    let (h, m, s, f) = split_time(v.micros);
    part(out, h, "hour");
    part(out, m, "min");
    if s != 0 || f != 0 {
        let negative = s < 0 || f < 0;
        let ago = *ago.get_or_insert(negative);
        out.push(' ');
        if negative != ago {
            out.push('-');
        }
        put!(out, "{}", s.abs());
        put_fraction(out, f.abs());
        out.push_str(if s.abs() == 1 && f == 0 { " sec" } else { " secs" });
    }
    match ago {
        None => out.push_str(" 0"),
        Some(true) => out.push_str(" ago"),
        Some(false) => {}
    }
}

fn sql_standard(out: &mut String, v: Interval) {
    let (years, months) = (v.months / 12, v.months % 12);
    let parts = [i64::from(v.months), i64::from(v.days), v.micros];
    let negative = parts.iter().any(|p| *p < 0);
    let positive = parts.iter().any(|p| *p > 0);
    let has_months = v.months != 0;
    let has_day_time = v.days != 0 || v.micros != 0;
    let sign = |n: i64| if n < 0 { '-' } else { '+' };
    if !negative && !positive {
        out.push('0');
    } else if negative && positive || has_months && has_day_time {
        put!(
            out,
            "{}{}-{} {}{} {}",
            sign(v.months.into()),
            years.abs(),
            months.abs(),
            sign(v.days.into()),
            v.days.unsigned_abs(),
            sign(v.micros)
        );
        put_clock(out, v.micros, 1);
    } else {
        if negative {
            out.push('-');
        }
        if has_months {
            put!(out, "{}-{}", years.abs(), months.abs());
        } else {
            if v.days != 0 {
                put!(out, "{} ", v.days.unsigned_abs());
            }
            put_clock(out, v.micros, 1);
        }
    }
}

fn iso8601(out: &mut String, v: Interval) {
    if v == Interval::default() {
        out.push_str("PT0S");
        return;
    }
    out.push('P');
    let part = |out: &mut String, n: i64, unit: char| {
        if n != 0 {
            put!(out, "{n}{unit}");
        }
    };
    part(out, i64::from(v.months / 12), 'Y');
    part(out, i64::from(v.months % 12), 'M');
    part(out, i64::from(v.days), 'D');
    if v.micros != 0 {
        out.push('T');
    }
    let (h, m, s, f) = split_time(v.micros);
    part(out, h, 'H');
    part(out, m, 'M');
    if s != 0 || f != 0 {
        if s < 0 || f < 0 {
            out.push('-');
        }
        put!(out, "{}", s.abs());
        put_fraction(out, f.abs());
        out.push('S');
    }
}
