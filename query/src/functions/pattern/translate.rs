//! Postgres's regular expressions (AREs) in the syntax of the `regex` crate.
//!
//! What a finite automaton cannot do — back references, lookaround — is refused. One difference stays: alternatives are tried
//! in order, where POSIX takes the longest match; it shows in what is extracted, never in whether there is a match.

use stratos_types::{Error, ErrorKind, Result};

/// How an expression is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    /// `g`
    pub global: bool,
    /// `i`
    pub ignore_case: bool,
    /// `n`, `m`, `p`: `.` and brackets do not match a newline.
    pub newline_stops_dot: bool,
    /// `n`, `m`, `w`: `^` and `$` match at newlines.
    pub line_anchors: bool,
    /// `x`
    pub expanded: bool,
    /// `q`
    pub literal: bool,
}

impl Flags {
    /// Adds options by their letters.
    ///
    /// # Errors
    /// 22023 for a letter that is none.
    pub fn parse(mut self, letters: &str) -> Result<Flags> {
        for c in letters.chars() {
            match c {
                'g' => self.global = true,
                'i' => self.ignore_case = true,
                'c' => self.ignore_case = false,
                'n' | 'm' => (self.newline_stops_dot, self.line_anchors) = (true, true),
                's' => (self.newline_stops_dot, self.line_anchors) = (false, false),
                'p' => (self.newline_stops_dot, self.line_anchors) = (true, false),
                'w' => (self.newline_stops_dot, self.line_anchors) = (false, true),
                'x' => self.expanded = true,
                't' => self.expanded = false,
                'q' => self.literal = true,
                'b' | 'e' => {}
                other => {
                    return Err(Error::new(
                        ErrorKind::InvalidParameterValue,
                        format!("invalid regular expression option: \"{other}\""),
                    ));
                }
            }
        }
        Ok(self)
    }
}

/// 2201B with Postgres's text for the reason.
pub fn invalid(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidRegularExpression, format!("invalid regular expression: {reason}"))
}

/// The expression for the `regex` crate, and the flags with those that the expression itself carries.
///
/// # Errors
/// 0A000 for back references and lookaround, 2201B for what no dialect reads.
pub fn translate(pattern: &str, mut flags: Flags) -> Result<(String, Flags)> {
    let mut rest = pattern;
    if let Some(literal) = rest.strip_prefix("***=") {
        return Ok((regex::escape(literal), flags));
    }
    rest = rest.strip_prefix("***:").unwrap_or(rest);
    if flags.literal {
        return Ok((regex::escape(rest), flags));
    }
    if let Some(options) = rest.strip_prefix("(?")
        && let Some(end) = options.find(')')
        && !options[..end].is_empty()
        && options[..end].bytes().all(|b| b.is_ascii_lowercase())
    {
        flags = flags.parse(&options[..end])?;
        rest = &options[end + 1..];
        if flags.literal {
            return Ok((regex::escape(rest), flags));
        }
    }
    let chars: Vec<char> = rest.chars().collect();
    let mut out = String::with_capacity(rest.len() + 8);
    let mut i = 0;
    while let Some(&c) = chars.get(i) {
        i += 1;
        match c {
            '\\' => i = escape(&chars, i, false, &mut out)?,
            '[' => i = bracket(&chars, i, flags, &mut out)?,
            '(' if chars.get(i) == Some(&'?') => match (chars.get(i + 1), chars.get(i + 2)) {
                (Some(':'), _) => {
                    out.push_str("(?:");
                    i += 2;
                }
                (Some('='), _) | (Some('!'), _) | (Some('<'), Some('=' | '!')) => {
                    return Err(Error::unsupported("lookaround in a regular expression"));
                }
                (Some('#'), _) => {
                    let end = chars[i..].iter().position(|c| *c == ')');
                    i += end.ok_or_else(|| invalid("parentheses () not balanced"))? + 1;
                }
                _ => return Err(invalid("quantifier operand invalid")),
            },
            '{' if !chars.get(i).is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            '{' => {
                check_bound(&chars[i..])?;
                out.push('{');
            }
            '}' if !inside_bound(&chars, i - 1) => out.push_str("\\}"),
            other => out.push(other),
        }
    }
    Ok((out, flags))
}

/// Most repetitions that a bound may ask for.
const REPETITIONS_MAX: u32 = 255;

/// 2201B unless these characters begin with the rest of `{m}`, `{m,}` or `{m,n}`, of which `m` is not more than `n`.
fn check_bound(chars: &[char]) -> Result<()> {
    let bad = || invalid("invalid repetition count(s)");
    let number = |from: usize| -> Result<(Option<u32>, usize)> {
        let digits: String = chars[from..].iter().take_while(|c| c.is_ascii_digit()).collect();
        if digits.is_empty() {
            return Ok((None, from));
        }
        let value = digits.parse().ok().filter(|n| *n <= REPETITIONS_MAX).ok_or_else(bad)?;
        Ok((Some(value), from + digits.len()))
    };
    let (low, mut at) = number(0)?;
    if chars.get(at) == Some(&',') {
        let (high, end) = number(at + 1)?;
        if high.is_some_and(|high| low.is_some_and(|low| low > high)) {
            return Err(bad());
        }
        at = end;
    }
    match chars.get(at) {
        Some('}') => Ok(()),
        Some(_) => Err(bad()),
        None => Err(invalid("braces {} not balanced")),
    }
}

/// Whether the `}` at `end` closes `{m}`, `{m,}` or `{m,n}`.
fn inside_bound(chars: &[char], end: usize) -> bool {
    let mut i = end;
    while i > 0 && (chars[i - 1].is_ascii_digit() || chars[i - 1] == ',') {
        i -= 1;
    }
    i < end && i > 0 && chars[i - 1] == '{' && chars[i].is_ascii_digit()
}

/// The characters of a class, as they stand in brackets. Postgres asks the C library, whose digits are the ASCII ones; those
/// of other scripts count as letters, and spaces that do not break as punctuation.
fn class(name: &str) -> Result<&'static str> {
    Ok(match name {
        "alpha" => r"\p{Alphabetic}[\p{Nd}--0-9]",
        "alnum" => r"\p{Alphabetic}\p{Nd}",
        "word" | "w" => r"\p{Alphabetic}\p{Nd}_",
        "digit" | "d" => "0-9",
        "xdigit" => "0-9A-Fa-f",
        "upper" => r"\p{Uppercase}\p{Lt}",
        "lower" => r"\p{Lowercase}\p{Lt}",
        "space" | "s" => r"\t-\r\x20\x{1680}\x{2000}-\x{2006}\x{2008}-\x{200A}\x{2028}\x{2029}\x{205F}\x{3000}",
        "blank" => r"\t\x20",
        "cntrl" => r"\p{Cc}\x{2028}\x{2029}",
        "punct" => r"[\p{P}\p{S}\p{Mn}\p{Cf}\p{No}\xA0\x{2007}\x{202F}--\p{Alphabetic}]",
        "graph" => r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}]\xA0\x{2007}\x{202F}",
        "print" => r"[\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}\p{Zs}]",
        "ascii" => r"\x00-\x7F",
        _ => return Err(invalid("invalid character class")),
    })
}

/// A class where it stands by itself, or among others in brackets.
fn in_place(class: &str, negated: bool, in_bracket: bool) -> String {
    match (negated, in_bracket) {
        (true, _) => format!("[^{class}]"),
        (false, false) => format!("[{class}]"),
        (false, true) => class.to_owned(),
    }
}

/// Translates what follows a backslash; gives the index after it.
fn escape(chars: &[char], at: usize, in_bracket: bool, out: &mut String) -> Result<usize> {
    let Some(&c) = chars.get(at) else {
        return Err(invalid("invalid escape \\ sequence"));
    };
    match c {
        'y' if !in_bracket => out.push_str("\\b"),
        'Y' if !in_bracket => out.push_str("\\B"),
        'm' if !in_bracket => out.push_str("\\b{start}"),
        'M' if !in_bracket => out.push_str("\\b{end}"),
        'A' if !in_bracket => out.push_str("\\A"),
        'Z' if !in_bracket => out.push_str("\\z"),
        'B' => out.push_str("\\\\"),
        'b' => out.push_str("\\x08"),
        'e' => out.push_str("\\x1B"),
        '0' => out.push_str("\\x00"),
        '1'..='9' => {
            return Err(Error::unsupported("back reference in a regular expression"));
        }
        'c' => {
            let Some(&control) = chars.get(at + 1) else {
                return Err(invalid("invalid escape \\ sequence"));
            };
            out.push_str(&format!("\\x{:02X}", control as u32 & 0x1f));
            return Ok(at + 2);
        }
        'x' | 'u' | 'U' => {
            let most = match c {
                'u' => 4,
                'U' => 8,
                _ => usize::MAX,
            };
            let digits: String = chars[at + 1..].iter().take_while(|c| c.is_ascii_hexdigit()).take(most).collect();
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            let Some(code) = code else {
                return Err(invalid("invalid escape \\ sequence"));
            };
            out.push_str(&regex::escape(&code.to_string()));
            return Ok(at + 1 + digits.len());
        }
        'd' | 's' | 'w' => out.push_str(&in_place(class(&c.to_string())?, false, in_bracket)),
        'D' | 'S' | 'W' => out.push_str(&in_place(class(&c.to_ascii_lowercase().to_string())?, true, in_bracket)),
        'a' | 'f' | 'n' | 'r' | 't' | 'v' => {
            out.push('\\');
            out.push(c);
        }
        c if c.is_ascii_alphanumeric() => return Err(invalid("invalid escape \\ sequence")),
        // White space is written as its code: the x flag would leave it out, even behind a backslash.
        c if c.is_whitespace() => out.push_str(&format!("\\x{{{:X}}}", c as u32)),
        c if c.is_ascii_punctuation() => {
            out.push('\\');
            out.push(c);
        }
        c => out.push(c),
    }
    Ok(at + 1)
}

/// Translates a bracket expression whose `[` is before `at`; gives the index after its `]`.
fn bracket(chars: &[char], at: usize, flags: Flags, out: &mut String) -> Result<usize> {
    let unbalanced = || invalid("brackets [] not balanced");
    let rest: String = chars[at..].iter().take(7).collect();
    for (boundary, translated) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
        if rest.starts_with(boundary) {
            out.push_str(translated);
            return Ok(at + boundary.len());
        }
    }
    let mut i = at;
    out.push('[');
    if chars.get(i) == Some(&'^') {
        out.push('^');
        i += 1;
        if flags.newline_stops_dot {
            out.push_str("\\n");
        }
    }
    let first = i;
    loop {
        let c = *chars.get(i).ok_or_else(unbalanced)?;
        i += 1;
        match c {
            ']' if i - 1 > first => {
                out.push(']');
                return Ok(i);
            }
            '[' if matches!(chars.get(i), Some(':' | '.' | '=')) => {
                let kind = chars[i];
                let end = (i + 1..chars.len().saturating_sub(1))
                    .find(|j| chars[*j] == kind && chars[*j + 1] == ']')
                    .ok_or_else(unbalanced)?;
                let name: String = chars[i + 1..end].iter().collect();
                if kind == ':' {
                    out.push_str(class(&name)?);
                } else if name.chars().count() == 1 {
                    out.push_str(&regex::escape(&name));
                } else {
                    return Err(invalid("invalid collating element"));
                }
                i = end + 2;
            }
            '\\' => i = escape(chars, i, true, out)?,
            '-' if i - 1 > first && chars.get(i).is_some_and(|next| *next != ']') => out.push('-'),
            ']' | '[' | '-' | '&' | '~' | '^' => {
                out.push('\\');
                out.push(c);
            }
            // With the x flag, white space in brackets is still literal in Postgres.
            c if flags.expanded && (c.is_whitespace() || c == '#') => {
                out.push_str(&format!("\\x{{{:X}}}", c as u32));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translations() {
        for (from, to) in [
            ("a.b", "a.b"),
            ("\\yfoo\\M", "\\bfoo\\b{end}"),
            ("[]a]", "[\\]a]"),
            ("[a&&b]", "[a\\&\\&b]"),
            ("x{2,3}", "x{2,3}"),
            ("x{a}", "x\\{a\\}"),
            ("[[:digit:]-]", "[0-9\\-]"),
            ("\\d[\\D]", "[0-9][[^0-9]]"),
            ("(?i)abc", "abc"),
            ("***=a.b", "a\\.b"),
        ] {
            assert_eq!(translate(from, Flags::default()).unwrap().0, to, "{from}");
        }
        assert!(translate("(a)\\1", Flags::default()).is_err());
        assert!(translate("(?=a)", Flags::default()).is_err());
    }
}
