//! Values of settings: reading what SET gives, and the form in which they print.

use stratos_types::datetime::zone;
use stratos_types::{DateOrder, DateStyle, Datum, Error, ErrorKind, FormatOptions, Interval, PgType, Result, TimeZone};

use super::setting_table::{Setting, Takes, Unit};

pub(super) fn invalid(name: &str, value: &str) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

fn one_of(name: &str, value: &str, allowed: &[&str]) -> Result<String> {
    let lower = value.to_ascii_lowercase();
    if allowed.contains(&lower.as_str()) {
        return Ok(lower);
    }
    let error = invalid(name, value);
    Err(if allowed.len() > 1 { error.with_hint(format!("Available values: {}.", allowed.join(", "))) } else { error })
}

fn cannot_be_changed(setting: &Setting) -> Error {
    let how = match setting.context {
        "postmaster" => "cannot be changed without restarting the server",
        "sighup" => "cannot be changed now",
        "backend" | "superuser-backend" => "cannot be set after connection start",
        _ => "cannot be changed",
    };
    Error::new(ErrorKind::CantChangeRuntimeParam, format!("parameter \"{}\" {how}", setting.name))
}

/// The form in which a value prints.
pub(super) fn canonical(setting: &Setting, value: &str) -> Result<String> {
    let name = setting.name;
    match &setting.takes {
        Takes::Text => Ok(value.to_owned()),
        // A name; byte by byte, as Postgres's `pg_clean_ascii`.
        Takes::Ascii => {
            let clean = |byte: u8| if (32..127).contains(&byte) { char::from(byte) } else { '?' };
            Ok(crate::binder::cut_name(value).bytes().map(clean).collect())
        }
        Takes::Fixed => Err(cannot_be_changed(setting)),
        Takes::Default => {
            let same = match setting.kind {
                "bool" => parse_bool(value) == parse_bool(&setting.default),
                "integer" | "real" => number(setting, value)? == number(setting, &setting.default)?,
                _ => value.eq_ignore_ascii_case(&setting.default),
            };
            if same {
                return Ok(setting.default.clone());
            }
            if setting.kind == "enum" && !setting.words.iter().any(|word| word.eq_ignore_ascii_case(value)) {
                return one_of(name, value, &setting.words);
            }
            if setting.kind == "bool" && parse_bool(value).is_none() {
                return Err(not_boolean(name));
            }
            Err(Error::unsupported(format!("a value of \"{name}\" other than \"{}\"", setting.default)))
        }
        Takes::Bool => match parse_bool(value) {
            Some(true) => Ok("on".to_owned()),
            Some(false) => Ok("off".to_owned()),
            None => Err(not_boolean(name)),
        },
        Takes::Word => match setting.kind {
            // Enumerations of yes and no with more words take every spelling of the two.
            "enum" if setting.words.contains(&"on") => match parse_bool(value) {
                Some(on) => Ok(if on { "on" } else { "off" }.to_owned()),
                None => one_of(name, value, &setting.words),
            },
            _ => one_of(name, value, &setting.words),
        },
        Takes::OneOf(allowed) => {
            let word = one_of(name, value, allowed)?;
            Ok(if name.starts_with("lc_") { value.to_owned() } else { word })
        }
        // As in Postgres only letters and digits count: asyncpg says 'utf-8', with the quotes.
        Takes::Encoding => match crate::encodings::plain(value).as_str() {
            "utf8" | "unicode" => Ok("UTF8".to_owned()),
            "sqlascii" => Ok("SQL_ASCII".to_owned()),
            known if crate::encodings::is_known(known) => {
                Err(Error::unsupported(format_args!("client_encoding {value}")))
            }
            _ => Err(invalid(name, value)),
        },
        Takes::Integer => Ok(print_number(number(setting, value)?.round_ties_even(), setting.unit, setting.unit_name)),
        Takes::Real => Ok(print_number(number(setting, value)?, setting.unit, setting.unit_name)),
        Takes::DateStyle => date_style(value, DateStyle::Iso, DateOrder::Mdy),
        Takes::TimeZone => match parse_time_zone(value) {
            Some(TimeZone::Named(zone)) => Ok(zone.name().to_owned()),
            Some(TimeZone::Fixed { name, .. }) => Ok(name),
            None => Err(invalid(name, value)),
        },
        Takes::SearchPath => {
            let quoted: Vec<String> = split_path(value).iter().map(|s| quote_if_needed(s)).collect();
            Ok(quoted.join(", "))
        }
    }
}

/// How a date style prints; what the value leaves open is as given.
pub(super) fn date_style(value: &str, style: DateStyle, order: DateOrder) -> Result<String> {
    let (style, order) = parse_date_style(value, style, order)?;
    let style = match style {
        DateStyle::Iso => "ISO",
        DateStyle::Sql => "SQL",
        DateStyle::Postgres => "Postgres",
        DateStyle::German => "German",
    };
    let order = match order {
        DateOrder::Mdy => "MDY",
        DateOrder::Dmy => "DMY",
        DateOrder::Ymd => "YMD",
    };
    Ok(format!("{style}, {order}"))
}

fn not_boolean(name: &str) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, format!("parameter \"{name}\" requires a Boolean value"))
}

/// Units by their names, the largest first, in milliseconds and bytes.
const TIME_UNITS: [(&str, f64); 6] =
    [("d", 86_400_000.0), ("h", 3_600_000.0), ("min", 60_000.0), ("s", 1_000.0), ("ms", 1.0), ("us", 0.001)];
const MEMORY_UNITS: [(&str, f64); 5] =
    [("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1_024.0), ("B", 1.0)];

/// A number in the setting's own unit.
fn number(setting: &Setting, value: &str) -> Result<f64> {
    let refused = || invalid(setting.name, value);
    let text = value.trim();
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let mut end = text.find(|c| !plain(c)).unwrap_or(text.len());
    // An exponent belongs to the number.
    if let Some(rest) = text[end..].strip_prefix(['e', 'E'])
        && rest.starts_with(plain)
    {
        end += 1 + rest.find(|c| !plain(c)).unwrap_or(rest.len());
    }
    let (number, suffix) = (&text[..end], text[end..].trim());
    let number: f64 = number.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(refused)?;
    let scaled = |units: &[(&str, f64)], base: f64, hint: &str| {
        if suffix.is_empty() {
            return Ok(number);
        }
        let unit = units.iter().find(|(name, _)| *name == suffix);
        unit.map(|(_, factor)| number * factor / base).ok_or_else(|| refused().with_hint(hint))
    };
    let number = match setting.unit {
        Unit::None if suffix.is_empty() => number,
        Unit::None => return Err(refused()),
        Unit::Time(base) => scaled(
            &TIME_UNITS,
            base,
            "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".",
        )?,
        Unit::Memory(base) => scaled(
            &MEMORY_UNITS,
            base,
            "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".",
        )?,
    };
    let number = if setting.kind == "integer" { number.round_ties_even() } else { number };
    let bound = |text: &str| text.parse::<f64>().ok();
    if bound(setting.min).is_some_and(|min| number < min) || bound(setting.max).is_some_and(|max| number > max) {
        let space = if setting.unit_name.is_empty() { "" } else { " " };
        return Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!(
                "{number}{space}{} is outside the valid range for parameter \"{}\" ({} .. {})",
                setting.unit_name, setting.name, setting.min, setting.max
            ),
        ));
    }
    Ok(number)
}

/// A number in a unit, as SHOW prints it: in the largest unit in which it is whole.
pub(super) fn print_number(number: f64, unit: Unit, unit_name: &str) -> String {
    let (units, base): (&[(&str, f64)], f64) = match unit {
        Unit::Time(base) => (&TIME_UNITS, base),
        Unit::Memory(base) => (&MEMORY_UNITS, base),
        Unit::None => return number.to_string(),
    };
    if number <= 0.0 {
        return number.to_string();
    }
    let whole = |factor: f64| number * base % factor == 0.0;
    match units.iter().find(|(_, factor)| whole(*factor)) {
        Some((name, factor)) => format!("{}{name}", number * base / factor),
        None => format!("{number}{unit_name}"),
    }
}

/// The value as `pg_settings` shows it: a number in the setting's unit.
pub(super) fn plain(setting: &Setting, shown: &str) -> String {
    match setting.unit {
        Unit::None => shown.to_owned(),
        _ => number(setting, shown).map_or_else(|_| shown.to_owned(), |n| n.to_string()),
    }
}

/// The whole number that a setting holds, in its own unit.
pub(super) fn whole(setting: &Setting, shown: &str) -> u64 {
    number(setting, shown).map_or(0, |n| n.max(0.0) as u64)
}

/// Postgres's booleans: any unique prefix of true/false/yes/no, on, off, 1, 0.
pub fn parse_bool(value: &str) -> Option<bool> {
    let value = value.trim().to_ascii_lowercase();
    match value.as_str() {
        "" | "o" => None,
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        v if "true".starts_with(v) || "yes".starts_with(v) => Some(true),
        v if "false".starts_with(v) || "no".starts_with(v) => Some(false),
        _ => None,
    }
}

pub(super) fn parse_date_style(value: &str, style: DateStyle, order: DateOrder) -> Result<(DateStyle, DateOrder)> {
    let (mut style, mut order) = (style, order);
    for word in value.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "iso" => style = DateStyle::Iso,
            "sql" => style = DateStyle::Sql,
            "postgres" => style = DateStyle::Postgres,
            "german" => (style, order) = (DateStyle::German, DateOrder::Dmy),
            "ymd" => order = DateOrder::Ymd,
            "dmy" | "euro" | "european" => order = DateOrder::Dmy,
            "mdy" | "us" | "noneuro" | "noneuropean" => order = DateOrder::Mdy,
            "default" => (style, order) = (DateStyle::Iso, DateOrder::Mdy),
            unknown => {
                let detail = format!("Unrecognized key word: \"{unknown}\".");
                return Err(invalid("DateStyle", value).with_detail(detail));
            }
        }
    }
    Ok((style, order))
}

/// A zone by name in any case, or an offset in hours east (`-7`, `+5.5`) or in POSIX form without a name (`<+02>-02`).
pub(crate) fn parse_time_zone(value: &str) -> Option<TimeZone> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("local") || value.eq_ignore_ascii_case("default") {
        return Some(TimeZone::Named(chrono_tz::Tz::UTC));
    }
    if value.starts_with('<') {
        return zone::posix(value);
    }
    if let Some(seconds) = seconds_of(value) {
        // With minutes it is a time zone as POSIX has them, whose sign is the other one.
        return match value.contains(':') {
            true => in_range(-seconds).map(|seconds_east| TimeZone::Fixed { seconds_east, name: value.to_owned() }),
            false => in_range(seconds).and_then(|seconds_east| zone::zone_from_seconds_east(seconds_east).ok()),
        };
    }
    let named = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(value));
    named.copied().map(TimeZone::Named).or_else(|| zone::posix(value))
}

/// An offset in seconds: hours, perhaps with a fraction, or hours and minutes.
fn seconds_of(offset: &str) -> Option<f64> {
    if let Ok(hours) = offset.parse::<f64>() {
        return Some((hours * 3600.0).round());
    }
    let (hours, minutes) = offset.split_once(':')?;
    let hour_count: i32 = hours.parse().ok()?;
    let minute_count: i32 = minutes.parse().ok().filter(|m| (0..60).contains(m))?;
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    Some(f64::from(hour_count.checked_mul(3600)? + sign * minute_count * 60))
}

fn in_range(seconds: f64) -> Option<i32> {
    const MAX_SECONDS: f64 = 168.0 * 3600.0;
    (seconds.abs() <= MAX_SECONDS).then_some(seconds as i32)
}

/// The time zone that `SET TIME ZONE INTERVAL …` means: so far east.
///
/// # Errors
/// 22023 for months, days and more than a week.
pub(super) fn zone_of_interval(interval: &Interval, format: &FormatOptions) -> Result<String> {
    let wrong = |detail: &str| {
        let text = Datum::Interval(*interval).to_text(PgType::Interval, format);
        Err(invalid("TimeZone", &format!("INTERVAL '{text}'")).with_detail(detail))
    };
    if interval.months != 0 {
        return wrong("Cannot specify months in time zone interval.");
    }
    if interval.days != 0 {
        return wrong("Cannot specify days in time zone interval.");
    }
    let zone = i32::try_from(interval.micros / 1_000_000).ok().and_then(|s| zone::zone_from_seconds_east(s).ok());
    zone.map_or_else(|| wrong("UTC timezone offset is out of range."), |zone| Ok(zone::zone_name(&zone)))
}

/// Splits a list of identifiers, quoted or folded to lower case.
pub(super) fn split_path(value: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices().peekable();
            let mut end = quoted.len();
            while let Some((at, c)) = chars.next() {
                if c != '"' {
                    name.push(c);
                } else if chars.next_if(|(_, next)| *next == '"').is_some() {
                    name.push('"');
                } else {
                    end = at + 1;
                    break;
                }
            }
            names.push(name);
            rest = quoted[end.min(quoted.len())..].trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        } else {
            let (name, after) = rest.split_once(',').unwrap_or((rest, ""));
            let name = name.trim().to_lowercase();
            if !name.is_empty() {
                names.push(name);
            }
            rest = after.trim_start();
        }
    }
    names
}

/// An identifier as SQL needs it written.
pub(crate) fn quote_if_needed(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
