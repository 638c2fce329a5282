//! Names and strings with numbered characters: `U&"d\0061ta"`, `U&'d\0061ta'`, `U&'d!0061ta' UESCAPE '!'`.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};
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
            if high.is_some() {
                return None;
            }
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

fn invalid(source: &SourceText, start: Location) -> Error {
    let error = Error::new(ErrorKind::SyntaxError, "invalid Unicode escape")
        .with_hint("Unicode escapes must be \\XXXX or \\+XXXXXX.");
    match source.position(Span::new(start, start)) {
        Some(position) => error.at(position),
        None => error,
    }
}

/// Whether what was read ends with `U` and `&`, and a string or quoted name stands directly behind them.
pub(super) fn is_prefix(out: &[TokenWithSpan], text: &TokenWithSpan) -> bool {
    let [.., u, and] = out else { return false };
    and.token == Token::Ampersand
        && matches!(&u.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("u"))
        && u.span.end == and.span.start
        && and.span.end == text.span.start
}

/// Makes one token of that prefix and the string or name, which UESCAPE and `escape` may follow.
///
/// # Errors
/// 42601 where a number or the character is wrong.
pub(super) fn join(
    out: &mut Vec<TokenWithSpan>,
    text: TokenWithSpan,
    escape: Option<&TokenWithSpan>,
    source: &SourceText,
) -> Result<()> {
    let escape = match escape {
        Some(escape) => escape_character(escape).ok_or_else(|| super::parse::near(source, escape))?,
        None => '\\',
    };
    let start = out.len().checked_sub(2).and_then(|at| out.get(at)).map_or(text.span.start, |u| u.span.start);
    let whole = |text: &str| decoded(text, escape).ok_or_else(|| invalid(source, start));
    let token = match &text.token {
        Token::SingleQuotedString(written) => Token::SingleQuotedString(whole(written)?),
        Token::Word(Word { value, quote_style, keyword }) => {
            Token::Word(Word { value: whole(value)?, quote_style: *quote_style, keyword: *keyword })
        }
        _ => return Err(super::parse::near(source, &text)),
    };
    out.truncate(out.len().saturating_sub(2));
    out.push(TokenWithSpan { token, span: Span::new(start, text.span.end) });
    Ok(())
}

/// The character that UESCAPE names, if it may.
fn escape_character(escape: &TokenWithSpan) -> Option<char> {
    let Token::SingleQuotedString(text) = &escape.token else { return None };
    let mut characters = text.chars();
    let (Some(character), None) = (characters.next(), characters.next()) else { return None };
    let wrong = character.is_ascii_hexdigit() || matches!(character, '+' | '\'' | '"') || character.is_whitespace();
    (!wrong).then_some(character)
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
        for wrong in ["\\zz", "\\00", "\\D83D", "\\D83Dx\\DE00", "\\DE00", "\\0000", "\\+110000"] {
            assert_eq!(decoded(wrong, '\\'), None, "{wrong}");
        }
    }

    #[test]
    fn names_and_strings_are_read() {
        for (sql, expected) in [
            ("U&\"\\0061\"", "\"a\""),
            ("U&\"!0061\" UESCAPE '!'", "\"a\""),
            ("u&'\\D83D\\DE00'", "'\u{1F600}'"),
            ("U&'!0041''' UESCAPE '!'", "'A'''"),
            ("u & \"b\"", "u & \"b\""),
        ] {
            assert_eq!(parse_expr(sql).unwrap().0.to_string(), expected, "{sql}");
        }
        assert!(parse("SELECT U&'a' UESCAPE '+'").is_err());
        assert!(parse("SELECT U&\"\\zz\"").is_err());
    }
}
