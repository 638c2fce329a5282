//! `~`, and the `regexp_…` functions.

use std::cell::RefCell;
use std::sync::Arc;

use regex::{Captures, Regex, RegexBuilder};
use stratos_types::{ArrayDatum, Datum, Error, ErrorKind, PgType, Result};

use super::super::args::{int4, text};
use super::super::limit::{COLLECTED_MAX, too_long, value_bytes_max};
use super::translate::{Flags, invalid, translate};
use crate::cache::Cache;
use crate::session::EvalContext;

/// How many compiled expressions a thread keeps.
const MAX_CACHED: usize = 64;
/// Bytes that a compiled expression may take.
const MAX_COMPILED_BYTES: usize = 4 << 20;

type Key = (String, Flags);

thread_local! {
    static CACHE: RefCell<Cache<Key, Arc<Regex>>> = RefCell::new(Cache::new(MAX_CACHED));
}

fn compile(pattern: &str, flags: Flags) -> Result<Arc<Regex>> {
    let key = (pattern.to_owned(), flags);
    if let Some(found) = CACHE.with_borrow_mut(|cache| cache.get(&key).cloned()) {
        return Ok(found);
    }
    let (translated, flags) = translate(pattern, flags)?;
    let regex = RegexBuilder::new(&translated)
        .case_insensitive(flags.ignore_case)
        .dot_matches_new_line(!flags.newline_stops_dot)
        .multi_line(flags.line_anchors)
        .ignore_whitespace(flags.expanded)
        .size_limit(MAX_COMPILED_BYTES)
        .build()
        .map_err(|error| compile_error(&error))?;
    let regex = Arc::new(regex);
    CACHE.with_borrow_mut(|cache| cache.insert(key, regex.clone()));
    Ok(regex)
}

/// Postgres's words for what the `regex` crate found.
fn compile_error(error: &regex::Error) -> Error {
    let text = match error {
        regex::Error::Syntax(text) => text.as_str(),
        regex::Error::CompiledTooBig(_) => return invalid("regular expression is too complex"),
        _ => "",
    };
    let reasons = [
        ("unclosed group", "parentheses () not balanced"),
        ("unopened group", "parentheses () not balanced"),
        ("unclosed character class", "brackets [] not balanced"),
        ("repetition operator missing", "quantifier operand invalid"),
        ("invalid character class range", "invalid character range"),
        ("repetition quantifier", "invalid repetition count(s)"),
        ("decimal literal", "invalid repetition count(s)"),
        ("unclosed counted repetition", "braces {} not balanced"),
        ("escape", "invalid escape \\ sequence"),
        ("POSIX", "invalid character class"),
        ("nested", "regular expression is too complex"),
    ];
    let reason = reasons.iter().find(|(sign, _)| text.contains(sign));
    invalid(reason.map_or("unknown regex error", |(_, reason)| reason))
}

fn is_match(a: &[Datum], ignore_case: bool) -> Result<bool> {
    let flags = Flags { ignore_case, ..Flags::default() };
    Ok(compile(text(&a[1])?, flags)?.is_match(text(&a[0])?))
}

/// `~`
pub fn matches(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    is_match(a, false).map(Datum::Bool)
}

/// `!~`
pub fn not_matches(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    is_match(a, false).map(|b| Datum::Bool(!b))
}

/// `~*`
pub fn icase(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    is_match(a, true).map(Datum::Bool)
}

/// `!~*`
pub fn not_icase(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    is_match(a, true).map(|b| Datum::Bool(!b))
}

/// Matches between two looks at whether anybody waits for them.
const MATCHES_PER_CANCEL_CHECK: usize = 1024;

/// Matches from a byte offset on, one after the other, as Postgres steps: past an empty match by one character. With `split`,
/// empty matches at the ends and right after another match do not count.
struct Matches<'c, 'r, 's> {
    ctx: &'c EvalContext,
    re: &'r Regex,
    s: &'s str,
    at: usize,
    previous_end: usize,
    split: bool,
    steps: usize,
}

impl<'c, 'r, 's> Matches<'c, 'r, 's> {
    fn new(ctx: &'c EvalContext, re: &'r Regex, s: &'s str, start: usize) -> Self {
        Matches { ctx, re, s, at: start, previous_end: 0, split: false, steps: 0 }
    }

    /// The match with this number, which starts with 1.
    fn number(mut self, n: usize) -> Result<Option<Captures<'s>>> {
        self.nth(n - 1).transpose()
    }
}

impl<'s> Iterator for Matches<'_, '_, 's> {
    type Item = Result<Captures<'s>>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at <= self.s.len() {
            self.steps += 1;
            if self.steps.is_multiple_of(MATCHES_PER_CANCEL_CHECK)
                && let Err(error) = self.ctx.check_canceled()
            {
                self.at = self.s.len() + 1;
                return Some(Err(error));
            }
            let captures = self.re.captures_at(self.s, self.at)?;
            let whole = captures.get(0)?;
            let (from, to) = (whole.start(), whole.end());
            let counts = !self.split || (from < self.s.len() && to > self.previous_end);
            self.previous_end = to;
            self.at = if from == to { to + self.s[to..].chars().next().map_or(1, char::len_utf8) } else { to };
            if counts {
                return Some(Ok(captures));
            }
        }
        None
    }
}

fn groups(captures: &Captures<'_>) -> Datum {
    let group = |i: usize| captures.get(i).map_or(Datum::Null, |m| Datum::text(m.as_str()));
    let values = if captures.len() == 1 { vec![group(0)] } else { (1..captures.len()).map(group).collect() };
    Datum::Array(Arc::new(ArrayDatum { element: PgType::Text, values }))
}

fn flags_at(a: &[Datum], i: usize) -> Result<Flags> {
    a.get(i).map_or(Ok(Flags::default()), |d| Flags::default().parse(text(d)?))
}

fn refuse_global(flags: Flags, function: &str) -> Result<()> {
    if flags.global {
        return Err(Error::new(
            ErrorKind::InvalidParameterValue,
            format!("{function}() does not support the \"global\" option"),
        ));
    }
    Ok(())
}

/// The rows of `regexp_matches(s, pattern[, flags])`, arrays of text.
///
/// # Errors
/// As compiling the pattern.
pub fn all_matches(ctx: &EvalContext, a: &[Datum]) -> Result<Vec<Datum>> {
    let flags = flags_at(a, 2)?;
    let re = compile(text(&a[1])?, without_global(flags))?;
    let mut found = Vec::new();
    for captures in Matches::new(ctx, &re, text(&a[0])?, 0).take(if flags.global { usize::MAX } else { 1 }) {
        found.push(groups(&captures?));
        if found.len() > COLLECTED_MAX {
            return Err(too_long());
        }
    }
    Ok(found)
}

/// The parts of `regexp_split_to_table(s, pattern[, flags])`.
///
/// # Errors
/// As compiling the pattern.
pub fn split(ctx: &EvalContext, a: &[Datum], function: &str) -> Result<Vec<Datum>> {
    let flags = flags_at(a, 2)?;
    refuse_global(flags, function)?;
    let s = text(&a[0])?;
    let re = compile(text(&a[1])?, flags)?;
    let mut parts = Vec::new();
    let mut from = 0;
    for captures in (Matches { split: true, ..Matches::new(ctx, &re, s, 0) }) {
        let captures = captures?;
        let whole = captures.get_match();
        parts.push(Datum::text(&s[from..whole.start()]));
        from = whole.end();
        if parts.len() > COLLECTED_MAX {
            return Err(too_long());
        }
    }
    parts.push(Datum::text(&s[from..]));
    Ok(parts)
}

/// `regexp_split_to_array`
pub fn regexp_split_to_array(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Array(Arc::new(ArrayDatum { element: PgType::Text, values: split(ctx, a, "regexp_split_to_array")? })))
}

fn without_global(flags: Flags) -> Flags {
    Flags { global: false, ..flags }
}

/// `regexp_match`
pub fn regexp_match(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let flags = flags_at(a, 2)?;
    refuse_global(flags, "regexp_match").map_err(|e| e.with_hint("Use the regexp_matches function instead."))?;
    let re = compile(text(&a[1])?, flags)?;
    let captures = re.captures(text(&a[0])?);
    Ok(captures.map_or(Datum::Null, |c| groups(&c)))
}

/// `regexp_like`
pub fn regexp_like(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let flags = flags_at(a, 2)?;
    refuse_global(flags, "regexp_like")?;
    Ok(Datum::Bool(compile(text(&a[1])?, flags)?.is_match(text(&a[0])?)))
}

/// `substring(s from pattern)`: the first group, or all of the match.
pub fn substring_regex(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let re = compile(text(&a[1])?, Flags::default())?;
    let Some(captures) = re.captures(text(&a[0])?) else {
        return Ok(Datum::Null);
    };
    let group = captures.get(usize::from(captures.len() > 1));
    Ok(group.map_or(Datum::Null, |m| Datum::text(m.as_str())))
}

/// A `start` argument, in characters from 1, as a byte offset; `None` when it is beyond the end.
fn start_offset(a: &[Datum], i: usize, s: &str) -> Result<Option<usize>> {
    let start = a.get(i).map_or(Ok(1), int4)?;
    if start <= 0 {
        return Err(bad_parameter("start", start));
    }
    let skipped = start as usize - 1;
    let mut offsets = s.char_indices().map(|(o, _)| o).chain([s.len()]);
    Ok(offsets.nth(skipped))
}

fn bad_parameter(name: &str, value: i32) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, format!("invalid value for parameter \"{name}\": {value}"))
}

fn positive(a: &[Datum], i: usize, name: &str) -> Result<usize> {
    let value = a.get(i).map_or(Ok(1), int4)?;
    if value <= 0 {
        return Err(bad_parameter(name, value));
    }
    Ok(value as usize)
}

fn not_negative(a: &[Datum], i: usize, name: &str) -> Result<usize> {
    let value = a.get(i).map_or(Ok(0), int4)?;
    usize::try_from(value).map_err(|_| bad_parameter(name, value))
}

/// `regexp_count(s, pattern[, start[, flags]])`
pub fn regexp_count(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let s = text(&a[0])?;
    let flags = flags_at(a, 3)?;
    refuse_global(flags, "regexp_count")?;
    let re = compile(text(&a[1])?, flags)?;
    let mut found = 0_i32;
    if let Some(offset) = start_offset(a, 2, s)? {
        for captures in Matches::new(ctx, &re, s, offset) {
            captures?;
            found = found.saturating_add(1);
        }
    }
    Ok(Datum::Int4(found))
}

/// `regexp_instr(s, pattern[, start[, n[, end_option[, flags[, group]]]]])`
pub fn regexp_instr(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let s = text(&a[0])?;
    let start = start_offset(a, 2, s)?;
    let n = positive(a, 3, "n")?;
    let at_end = a.get(4).map_or(Ok(0), int4)?;
    if !(0..=1).contains(&at_end) {
        return Err(bad_parameter("endoption", at_end));
    }
    let flags = flags_at(a, 5)?;
    refuse_global(flags, "regexp_instr")?;
    let group = not_negative(a, 6, "subexpr")?;
    let re = compile(text(&a[1])?, flags)?;
    let Some(start) = start else {
        return Ok(Datum::Int4(0));
    };
    let found = Matches::new(ctx, &re, s, start).number(n)?;
    let part = found.as_ref().and_then(|c| c.get(group));
    Ok(Datum::Int4(part.map_or(0, |m| {
        let offset = if at_end == 1 { m.end() } else { m.start() };
        s[..offset].chars().count() as i32 + 1
    })))
}

/// `regexp_substr(s, pattern[, start[, n[, flags[, group]]]])`
pub fn regexp_substr(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let s = text(&a[0])?;
    let start = start_offset(a, 2, s)?;
    let n = positive(a, 3, "n")?;
    let flags = flags_at(a, 4)?;
    refuse_global(flags, "regexp_substr")?;
    let group = not_negative(a, 5, "subexpr")?;
    let re = compile(text(&a[1])?, flags)?;
    let Some(start) = start else {
        return Ok(Datum::Null);
    };
    let found = Matches::new(ctx, &re, s, start).number(n)?;
    let part = found.as_ref().and_then(|c| c.get(group));
    Ok(part.map_or(Datum::Null, |m| Datum::text(m.as_str())))
}

/// `regexp_replace(s, pattern, new[, flags])` and `regexp_replace(s, pattern, new, start[, n[, flags]])`
pub fn regexp_replace(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (s, new) = (text(&a[0])?, text(&a[2])?);
    let (start, n, flags) = match a.get(3) {
        Some(Datum::Text(letters)) => {
            if let Some(digit) = letters.chars().next().filter(char::is_ascii_digit) {
                return Err(Error::new(
                    ErrorKind::InvalidParameterValue,
                    format!("invalid regular expression option: \"{digit}\""),
                )
                .with_hint("If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly."));
            }
            (Some(0), None, Flags::default().parse(letters)?)
        }
        _ => {
            let start = start_offset(a, 3, s)?;
            let n = a.get(4).map(|_| not_negative(a, 4, "n")).transpose()?;
            let flags = flags_at(a, 5)?;
            (start, n, flags)
        }
    };
    let re = compile(text(&a[1])?, without_global(flags))?;
    let Some(start) = start else {
        return Ok(a[0].clone());
    };
    // n = 0 replaces all; without n, the g flag decides.
    let (all, nth) = match n {
        Some(0) => (true, 1),
        Some(n) => (false, n),
        None => (flags.global, 1),
    };
    let mut out = String::with_capacity(s.len());
    let mut from = 0;
    let plain = !new.contains('\\');
    for (i, captures) in Matches::new(ctx, &re, s, start).enumerate() {
        let captures = captures?;
        if all || i + 1 == nth {
            let whole = captures.get_match();
            out.push_str(&s[from..whole.start()]);
            if out.len().saturating_add(new.len()) > value_bytes_max() {
                return Err(too_long());
            }
            if plain {
                out.push_str(new)
            } else {
                expand(new, &captures, &mut out)
            }
            if out.len() > value_bytes_max() {
                return Err(too_long());
            }
            from = whole.end();
        }
        if !all && i + 1 == nth {
            break;
        }
    }
    out.push_str(&s[from..]);
    Ok(Datum::text(out))
}

/// Appends a replacement: `\1` to `\9`, `\&`, `\\`.
fn expand(new: &str, captures: &Captures<'_>, out: &mut String) {
    let mut chars = new.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(d @ '1'..='9') => {
                let group = captures.get(d as usize - '0' as usize);
                out.push_str(group.map_or("", |m| m.as_str()));
            }
            Some('&') => out.push_str(&captures[0]),
            Some('\\') | None => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(pattern: &str, s: &str) -> bool {
        compile(pattern, Flags::default()).unwrap().is_match(s)
    }

    /// As PostgreSQL answers where the characters' type is C.UTF-8; the files of answers are made with C, which knows ASCII.
    #[test]
    fn classes_know_all_languages() {
        for (pattern, inside, outside) in [
            ("[[:alpha:]]", "aéÉ中٣Ⅷª", "1²½_´- \u{300}"),
            ("[[:alnum:]]", "aé中٣1", "²½_´- "),
            ("[[:upper:]]", "AÉǅ", "aé中1"),
            ("[[:lower:]]", "aéßǆǅ", "AÉ中1"),
            ("[[:punct:]]", "!-_´½²¡×\u{a0}", "aé1 "),
            ("[[:graph:]]", "aé!½\u{300}", " \t\u{2028}"),
            ("[[:print:]]", "aé!½ \u{2003}", "\t\u{85}"),
            ("[[:space:]]", " \t\n\u{b}\u{2003}\u{2028}", "a\u{a0}\u{85}\u{202f}"),
            ("\\w", "aé中٣1_", "-´ \u{300}"),
            ("\\W", "-´ \u{300}", "aé中٣1_"),
            ("\\d", "09", "٣²a"),
            ("[^\\D]", "09", "٣²a"),
            ("\\S", "aé\u{a0}", " \t\u{2028}"),
        ] {
            for c in inside.chars() {
                assert!(finds(pattern, &c.to_string()), "{pattern} has {c:?}");
            }
            for c in outside.chars() {
                assert!(!finds(pattern, &c.to_string()), "{pattern} has not {c:?}");
            }
        }
    }
}
