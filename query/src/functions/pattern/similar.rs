//! `SIMILAR TO`: SQL's own regular expressions, turned into Postgres's.

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::super::args::text;
use super::regexp::substring_regex;
use crate::session::EvalContext;

/// `similar_to_escape(pattern[, escape])`: an anchored expression for `~`. `escape"` twice marks what `substring` extracts.
pub fn similar_to_escape(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let escape = a.get(1).map_or(Ok("\\"), text)?;
    translate(text(&a[0])?, escape).map(Datum::text)
}

/// `substring(s from pattern for escape)`, `substring(s similar pattern escape e)`
pub fn substring_similar(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let pattern = translate(text(&a[1])?, text(&a[2])?)?;
    substring_regex(ctx, &[], &[a[0].clone(), Datum::text(pattern)])
}

fn translate(pattern: &str, escape: &str) -> Result<String> {
    let mut escape_chars = escape.chars();
    let escape = escape_chars.next();
    if escape_chars.next().is_some() {
        return Err(Error::new(ErrorKind::InvalidEscapeSequence, "invalid escape string")
            .with_hint("Escape string must be empty or one character."));
    }
    let mut out = String::from("^(?:");
    let mut after_escape = false;
    let mut in_bracket = false;
    let mut quotes = 0;
    for c in pattern.chars() {
        if after_escape {
            if c == '"' && !in_bracket {
                match quotes {
                    0 => out.push_str("){1,1}?("),
                    1 => out.push_str("){1,1}(?:"),
                    _ => {
                        return Err(Error::new(
                            ErrorKind::InvalidEscapeSequence,
                            "SQL regular expression may not contain more than two escape-double-quote separators",
                        ));
                    }
                }
                quotes += 1;
            } else {
                out.push('\\');
                out.push(c);
            }
            after_escape = false;
        } else if Some(c) == escape {
            after_escape = true;
        } else if in_bracket {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
            in_bracket = c != ']';
        } else {
            match c {
                '[' => {
                    out.push('[');
                    in_bracket = true;
                }
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                '(' => out.push_str("(?:"),
                '\\' | '.' | '^' | '$' => {
                    out.push('\\');
                    out.push(c);
                }
                c => out.push(c),
            }
        }
    }
    out.push_str(")$");
    Ok(out)
}
