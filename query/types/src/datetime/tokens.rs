//! Splitting of date and time text into fields, and the words that mean something in it.

/// Kind of a field, by its look alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
    Date,
    Time,
    /// Sign and digits.
    Zone,
    /// Sign and letters.
    Special,
}

/// Most fields of one value (`MAXDATEFIELDS`).
const MAX_FIELDS: usize = 25;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    /// In lower case.
    pub text: String,
}

/// Splits as `ParseDateTime` of datetime.c; `None` where the text cannot be a date or time.
pub(super) fn tokenize(input: &str) -> Option<Vec<Token>> {
    let b = input.as_bytes();
    let at = |i: usize| b.get(i).copied().unwrap_or(0);
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < b.len() {
        let c = b[i];
        if c.is_ascii_whitespace() || c == 0x0b {
            i += 1;
            continue;
        }
        let start = i;
        let digits = |mut i: usize| {
            while at(i).is_ascii_digit() {
                i += 1;
            }
            i
        };
        let kind;
        if c.is_ascii_digit() {
            i = digits(i);
            if at(i) == b':' {
                kind = Kind::Time;
                while at(i).is_ascii_digit() || matches!(at(i), b':' | b'.') {
                    i += 1;
                }
            } else if matches!(at(i), b'-' | b'/' | b'.') {
                let delimiter = at(i);
                i += 1;
                if at(i).is_ascii_digit() {
                    i = digits(i);
                    if at(i) == delimiter {
                        kind = Kind::Date;
                        while at(i).is_ascii_digit() || at(i) == delimiter {
                            i += 1;
                        }
                    } else if delimiter == b'.' {
                        kind = Kind::Number;
                    } else {
                        kind = Kind::Date;
                    }
                } else {
                    kind = Kind::Date;
                    while at(i).is_ascii_alphanumeric() || at(i) == delimiter {
                        i += 1;
                    }
                }
            } else {
                kind = Kind::Number;
            }
        } else if c == b'.' {
            i = digits(i + 1);
            kind = Kind::Number;
        } else if c.is_ascii_alphabetic() {
            while at(i).is_ascii_alphabetic() {
                i += 1;
            }
            let is_date = match at(i) {
                b'-' | b'/' | b'.' => true,
                d if d == b'+' || d.is_ascii_digit() => keyword(&input[start..i].to_ascii_lowercase()).is_none(),
                _ => false,
            };
            kind = if is_date {
                while at(i).is_ascii_alphanumeric() || matches!(at(i), b'+' | b'-' | b'/' | b'_' | b'.' | b':') {
                    i += 1;
                }
                Kind::Date
            } else {
                Kind::Text
            };
        } else if matches!(c, b'+' | b'-') {
            i += 1;
            while at(i).is_ascii_whitespace() {
                i += 1;
            }
            let body = i;
            if at(i).is_ascii_digit() {
                while at(i).is_ascii_digit() || matches!(at(i), b':' | b'.' | b'-') {
                    i += 1;
                }
                kind = Kind::Zone;
            } else if at(i).is_ascii_alphabetic() {
                while at(i).is_ascii_alphabetic() {
                    i += 1;
                }
                kind = Kind::Special;
            } else {
                return None;
            }
            let text = format!("{}{}", char::from(c), &input[body..i]).to_ascii_lowercase();
            tokens.push(Token { kind, text });
            if tokens.len() > MAX_FIELDS {
                return None;
            }
            continue;
        } else if c.is_ascii_punctuation() {
            i += 1;
            continue;
        } else {
            return None;
        }
        let text = input[start..i].to_ascii_lowercase();
        tokens.push(Token { kind, text });
        if tokens.len() > MAX_FIELDS {
            return None;
        }
    }
    (!tokens.is_empty()).then_some(tokens)
}

/// What a word means in a date or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Month(i64),
    Weekday(i64),
    Am,
    Pm,
    Ad,
    Bc,
    Epoch,
    Infinity,
    MinusInfinity,
    Now,
    Today,
    Tomorrow,
    Yesterday,
    AllBalls,
    DaylightModifier,
    /// `j`, `jd`, `julian`
    Julian,
    /// `t`
    IsoTime,
    /// `y`, `m`, `d`, `h`, `mm`, `s`: labels that Postgres knows, not taken in dates here.
    Unit,
    Ignore,
}

/// Words are significant in their first ten letters (`TOKMAXLEN`).
const SIGNIFICANT_LETTERS: usize = 10;

pub(super) fn keyword(word: &str) -> Option<Word> {
    let word = word.get(..SIGNIFICANT_LETTERS).unwrap_or(word);
    Some(match word {
        "jan" | "january" => Word::Month(1),
        "feb" | "february" => Word::Month(2),
        "mar" | "march" => Word::Month(3),
        "apr" | "april" => Word::Month(4),
        "may" => Word::Month(5),
        "jun" | "june" => Word::Month(6),
        "jul" | "july" => Word::Month(7),
        "aug" | "august" => Word::Month(8),
        "sep" | "sept" | "september" => Word::Month(9),
        "oct" | "october" => Word::Month(10),
        "nov" | "november" => Word::Month(11),
        "dec" | "december" => Word::Month(12),
        "sun" | "sunday" => Word::Weekday(0),
        "mon" | "monday" => Word::Weekday(1),
        "tue" | "tues" | "tuesday" => Word::Weekday(2),
        "wed" | "weds" | "wednesday" => Word::Weekday(3),
        "thu" | "thur" | "thurs" | "thursday" => Word::Weekday(4),
        "fri" | "friday" => Word::Weekday(5),
        "sat" | "saturday" => Word::Weekday(6),
        "am" => Word::Am,
        "pm" => Word::Pm,
        "ad" => Word::Ad,
        "bc" => Word::Bc,
        "epoch" => Word::Epoch,
        "infinity" => Word::Infinity,
        "-infinity" => Word::MinusInfinity,
        "now" => Word::Now,
        "today" => Word::Today,
        "tomorrow" => Word::Tomorrow,
        "yesterday" => Word::Yesterday,
        "allballs" => Word::AllBalls,
        "dst" => Word::DaylightModifier,
        "j" | "jd" | "julian" => Word::Julian,
        "t" => Word::IsoTime,
        "d" | "h" | "m" | "mm" | "s" | "y" => Word::Unit,
        "at" | "on" => Word::Ignore,
        _ => return None,
    })
}
