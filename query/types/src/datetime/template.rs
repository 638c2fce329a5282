//! Template patterns of `to_char`, `to_timestamp` and `to_date` (`formatting.c`).

use crate::template;

/// A field of a template. The patterns that differ only in case have one key, and [`Letters`] tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// AD, BC
    Era,
    /// A.D., B.C.
    EraDotted,
    /// AM, PM
    Half,
    /// A.M., P.M.
    HalfDotted,
    Century,
    /// DAY
    DayName,
    /// DY
    DayShort,
    DayOfYear,
    Day,
    /// D, Sunday = 1
    DayOfWeek,
    /// FF1 to FF6: so many digits of the second's fraction.
    Fraction(u8),
    /// FX
    Fixed,
    Hour24,
    Hour12,
    IsoDayOfYear,
    IsoDayOfWeek,
    IsoWeek,
    /// IYYY, IYY, IY, I: so many digits.
    IsoYear(u8),
    Julian,
    Minute,
    Month,
    /// MONTH
    MonthName,
    /// MON
    MonthShort,
    Millisecond,
    Microsecond,
    /// OF
    Offset,
    Quarter,
    /// RM
    MonthRoman,
    SecondOfDay,
    Second,
    ZoneHours,
    ZoneMinutes,
    /// TZ
    ZoneName,
    WeekOfYear,
    WeekOfMonth,
    /// Y,YYY
    YearWithComma,
    /// YYYY, YYY, YY, Y: so many digits.
    Year(u8),
}

/// How a name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    Upper,
    Capital,
    Lower,
}

/// Which calendar a field belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calendar {
    Gregorian,
    IsoWeek,
}

impl Key {
    /// Whether it reads digits: then a number before it cannot run on.
    pub fn is_digit(self) -> bool {
        !matches!(
            self,
            Key::Era
                | Key::EraDotted
                | Key::Half
                | Key::HalfDotted
                | Key::DayName
                | Key::DayShort
                | Key::Fraction(_)
                | Key::Fixed
                | Key::MonthName
                | Key::MonthShort
                | Key::Offset
                | Key::MonthRoman
                | Key::ZoneHours
                | Key::ZoneName
        )
    }

    /// The calendar that it commits a template to.
    pub fn calendar(self) -> Option<Calendar> {
        match self {
            Key::DayOfYear
            | Key::Day
            | Key::DayOfWeek
            | Key::Month
            | Key::MonthName
            | Key::MonthShort
            | Key::MonthRoman
            | Key::WeekOfYear
            | Key::WeekOfMonth
            | Key::YearWithComma
            | Key::Year(_) => Some(Calendar::Gregorian),
            Key::IsoDayOfYear | Key::IsoDayOfWeek | Key::IsoWeek | Key::IsoYear(_) => Some(Calendar::IsoWeek),
            _ => None,
        }
    }
}

/// Patterns in capitals, the longer before its prefix; but first the capitalised ones, which only names have.
const PATTERNS: [(&str, Key); 58] = [
    ("Day", Key::DayName),
    ("Dy", Key::DayShort),
    ("Month", Key::MonthName),
    ("Mon", Key::MonthShort),
    ("A.D.", Key::EraDotted),
    ("A.M.", Key::HalfDotted),
    ("AD", Key::Era),
    ("AM", Key::Half),
    ("B.C.", Key::EraDotted),
    ("BC", Key::Era),
    ("CC", Key::Century),
    ("DAY", Key::DayName),
    ("DDD", Key::DayOfYear),
    ("DD", Key::Day),
    ("DY", Key::DayShort),
    ("D", Key::DayOfWeek),
    ("FF1", Key::Fraction(1)),
    ("FF2", Key::Fraction(2)),
    ("FF3", Key::Fraction(3)),
    ("FF4", Key::Fraction(4)),
    ("FF5", Key::Fraction(5)),
    ("FF6", Key::Fraction(6)),
    ("FX", Key::Fixed),
    ("HH24", Key::Hour24),
    ("HH12", Key::Hour12),
    ("HH", Key::Hour12),
    ("IDDD", Key::IsoDayOfYear),
    ("ID", Key::IsoDayOfWeek),
    ("IW", Key::IsoWeek),
    ("IYYY", Key::IsoYear(4)),
    ("IYY", Key::IsoYear(3)),
    ("IY", Key::IsoYear(2)),
    ("I", Key::IsoYear(1)),
    ("J", Key::Julian),
    ("MI", Key::Minute),
    ("MM", Key::Month),
    ("MONTH", Key::MonthName),
    ("MON", Key::MonthShort),
    ("MS", Key::Millisecond),
    ("OF", Key::Offset),
    ("P.M.", Key::HalfDotted),
    ("PM", Key::Half),
    ("Q", Key::Quarter),
    ("RM", Key::MonthRoman),
    ("SSSSS", Key::SecondOfDay),
    ("SSSS", Key::SecondOfDay),
    ("SS", Key::Second),
    ("TZH", Key::ZoneHours),
    ("TZM", Key::ZoneMinutes),
    ("TZ", Key::ZoneName),
    ("US", Key::Microsecond),
    ("WW", Key::WeekOfYear),
    ("W", Key::WeekOfMonth),
    ("Y,YYY", Key::YearWithComma),
    ("YYYY", Key::Year(4)),
    ("YYY", Key::Year(3)),
    ("YY", Key::Year(2)),
    ("Y", Key::Year(1)),
];

/// Ordinal suffix after a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ordinal {
    Upper,
    Lower,
}

/// A field with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub key: Key,
    /// As written, for messages.
    pub name: &'a str,
    pub letters: Letters,
    /// FM
    pub fill: bool,
    /// TH, th
    pub ordinal: Option<Ordinal>,
}

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node<'a> {
    Field(Field<'a>),
    Separator(char),
    Space(char),
    Char(char),
}

/// Punctuation, which matches other punctuation.
pub(super) fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation()
}

fn pattern(text: &str) -> Option<(Key, &str, Letters)> {
    let (key, written, as_listed) = template::pattern(&PATTERNS, text)?;
    let letters = match as_listed {
        false => Letters::Lower,
        true if written.bytes().any(|b| b.is_ascii_lowercase()) => Letters::Capital,
        true => Letters::Upper,
    };
    Some((key, written, letters))
}

/// Takes a template apart.
pub(super) fn parse(text: &str) -> Vec<Node<'_>> {
    let mut nodes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut fill = false;
        if let Some(prefix) = rest.get(..2) {
            if matches!(prefix, "FM" | "fm") {
                fill = true;
                rest = &rest[2..];
            } else if matches!(prefix, "TM" | "tm") {
                // Translated names are the English ones in the C locale, without padding.
                rest = &rest[2..];
                if let Some((Key::DayName | Key::MonthName, ..)) = pattern(rest) {
                    fill = true;
                }
            }
        }
        if let Some((key, name, letters)) = pattern(rest) {
            rest = &rest[name.len()..];
            let ordinal = match rest.get(..2) {
                Some("TH") => Some(Ordinal::Upper),
                Some("th") => Some(Ordinal::Lower),
                _ => None,
            };
            if ordinal.is_some() || rest.starts_with("SP") {
                rest = &rest[2..];
            }
            nodes.push(Node::Field(Field { key, name, letters, fill, ordinal }));
            continue;
        }
        let mut chars = rest.chars();
        match chars.next() {
            Some('"') => template::quoted(&mut chars, |c| nodes.push(Node::Char(c))),
            Some(c) => {
                let c = if c == '\\' && chars.as_str().starts_with('"') { chars.next().unwrap_or(c) } else { c };
                nodes.push(if is_separator(c) {
                    Node::Separator(c)
                } else if crate::numeric::is_space(c) {
                    Node::Space(c)
                } else {
                    Node::Char(c)
                });
            }
            None => {}
        }
        rest = chars.as_str();
    }
    nodes
}
