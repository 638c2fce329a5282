//! Names with numbered characters, and strings that say how those begin: `U&"d\0061ta"`, `U&'d!0061ta' UESCAPE '!'`. The
//! tokenizer knows strings without it.

use sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use stratos_types::{Error, ErrorKind, Result};

use super::source::SourceText;

/// Hexadecimal digits behind an escape character, and behind one with a plus.
const DIGITS: usize = 4;
const LONG_DIGITS: usize = 6;

/// The text that numbered characters stand for; none where a number is wrong.
fn decoded(text: &str, escape: char) -> Option<String> {
    let mut result = String::with_capacity(text.len());
    let mut high: Option<u32> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != escape || chars.next_if_eq(&escape).is_some() {
            result.push(c);
            continue;
        }
        let digits = if chars.next_if_eq(&'+').is_some() { LONG_DIGITS } else { DIGITS };
        let mut number = 0;
        for _ in 0..digits {
            number = number * 16 + chars.next()?.to_digit(16)?;
        }
        match (high.take(), number) {
            (None, 0xD800..=0xDBFF) => high = Some(number),
            (Some(high), 0xDC00..=0xDFFF) => {
                result.push(char::from_u32(0x10000 + ((high - 0xD800) << 10) + (number - 0xDC00))?);
            }
            (None, 1..) => result.push(char::from_u32(number)?),
            _ => return None,
        }
    }
    high.is_none().then_some(result)
}

fn invalid(source: &SourceText, token: &TokenWithSpan) -> Error {
    let error = Error::new(ErrorKind::SyntaxError, "invalid Unicode escape")
        .with_hint("Unicode escapes must be \\XXXX or \\+XXXXXX.");
    match source.position(token.span) {
        Some(position) => error.at(position),
        None => error,
    }
}

/// Makes one name of `U`, `&` and a quoted name without space between them, which end what was read.
///
/// # Errors
/// 42601 where a number is wrong.
pub(super) fn join_name(out: &mut Vec<TokenWithSpan>, source: &SourceText) -> Result<()> {
    let [.., u, and, name] = out.as_slice() else { return Ok(()) };
    let is_prefix = and.token == Token::Ampersand
        && matches!(&u.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("u"))
        && u.span.end == and.span.start
        && and.span.end == name.span.start;
    let Token::Word(Word { value, quote_style: quote_style @ Some('"'), keyword }) = &name.token else { return Ok(()) };
    if !is_prefix {
        return Ok(());
    }
    let value = decoded(value, '\\').ok_or_else(|| invalid(source, u))?;
    let token = Token::Word(Word { value, quote_style: *quote_style, keyword: *keyword });
    let span = sqlparser::tokenizer::Span::new(u.span.start, name.span.end);
    out.truncate(out.len() - 3);
    out.push(TokenWithSpan { token, span });
    Ok(())
}

/// The string before `UESCAPE`, read again with another escape character.
///
/// # Errors
/// 42601 where a number or the character is wrong.
pub(super) fn escape_string(string: &mut TokenWithSpan, escape: &TokenWithSpan, source: &SourceText) -> Result<()> {
    let wrong = || super::parse::near(source, escape);
    let Token::SingleQuotedString(character) = &escape.token else { return Err(wrong()) };
    let mut characters = character.chars();
    let (Some(character), None) = (characters.next(), characters.next()) else { return Err(wrong()) };
    if character.is_ascii_hexdigit() || matches!(character, '+' | '\'' | '"') || character.is_whitespace() {
        return Err(wrong());
    }
    let place = source.byte_at(string.span.start).zip(source.byte_at(string.span.end));
    let written = place.and_then(|(start, end)| source.text().get(start..end)).unwrap_or("");
    let inner = written.get(3..written.len().saturating_sub(1)).unwrap_or("").replace("''", "'");
    let text = decoded(&inner, character).ok_or_else(|| invalid(source, string))?;
    string.token = Token::SingleQuotedString(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::parse::{parse, parse_expr};
    use super::*;

    #[test]
    fn numbers_stand_for_characters() {
        assert_eq!(decoded("d\\0061t\\+000061", '\\').as_deref(), Some("data"));
        assert_eq!(decoded("\\D83D\\DE00!!", '\\').as_deref(), Some("\u{1F600}!!"));
        assert_eq!(decoded("!!!0041", '!').as_deref(), Some("!A"));
        for wrong in ["\\zz", "\\00", "\\D83D", "\\DE00", "\\0000", "\\+110000"] {
            assert_eq!(decoded(wrong, '\\'), None, "{wrong}");
        }
    }

    #[test]
    fn names_and_strings_are_read() {
        for (sql, expected) in
            [("U&\"\\0061\"", "\"a\""), ("U&'!0041''' UESCAPE '!'", "'A'''"), ("u & \"b\"", "u & \"b\"")]
        {
            assert_eq!(parse_expr(sql).unwrap().0.to_string(), expected, "{sql}");
        }
        assert!(parse("SELECT U&'a' UESCAPE '+'").is_err());
        assert!(parse("SELECT U&\"\\zz\"").is_err());
    }
}
