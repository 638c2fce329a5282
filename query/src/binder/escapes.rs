//! Strings with escapes that the tokenizer gives up at: surrogate pairs, and bytes that only together are a character. And those
//! that go on in another line, where escapes are escapes too.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Whitespace};
use stratos_types::{Result, utf8};

use super::parse::token_error;
use super::source::SourceText;
use crate::dialect::StratosDialect;

/// How often the rest of a text is read anew because of what its strings go on with.
const REREADS_MAX: usize = 1000;

/// The tokens of a text.
///
/// # Errors
/// 42601 where no token can be read, 22021 of escapes whose bytes are no text.
pub(crate) fn tokens(source: &SourceText) -> Result<Vec<TokenWithSpan>> {
    let dialect = StratosDialect::default();
    let text = source.text();
    let mut tokens = Vec::new();
    // Where reading goes on.
    let (mut from, mut start) = (0, Location { line: 1, column: 1 });
    // Tokens before it are not looked at again.
    let mut seen = 0;
    let mut rereads = 0;
    loop {
        let rest = text.get(from..).unwrap_or("");
        let mut read = Vec::new();
        let ended = Tokenizer::new(&dialect, rest).tokenize_with_location_into_buf(&mut read);
        if from == 0 {
            tokens = read;
        } else {
            tokens.extend(read.into_iter().map(|token| TokenWithSpan {
                span: Span::new(behind(start, token.span.start), behind(start, token.span.end)),
                ..token
            }));
        }
        if let Some(next) = join_continued(&mut tokens, seen, source)? {
            rereads += 1;
            if rereads > REREADS_MAX {
                return Err(super::parse::too_complex());
            }
            (from, start, seen) = (next.0, next.1, tokens.len().saturating_sub(1));
            continue;
        }
        seen = tokens.len();
        let Err(error) = ended else { return Ok(tokens) };
        let at = behind(start, error.location);
        // The tokenizer finds no operator in `@-`: two parts of one, which are put together later.
        let halved = |byte: &usize| *byte > from && text.get(..*byte).is_some_and(|head| head.ends_with("@-"));
        if let Some(byte) = source.byte_at(at).filter(halved) {
            let before = |n: u64| Location { line: at.line, column: at.column.saturating_sub(n) };
            tokens.push(TokenWithSpan { token: Token::AtSign, span: Span::new(before(2), before(1)) });
            tokens.push(TokenWithSpan { token: Token::Minus, span: Span::new(before(1), at) });
            (from, start) = (byte, at);
            continue;
        }
        let string = source.byte_at(at).and_then(|byte| Some((byte, string(text.get(byte..)?)?)));
        let Some((byte, (value, length))) = string else { return Err(token_error(source, &error.message, at)) };
        if let Some(wrong) = super::parse::bad_escape(source, byte) {
            return Err(wrong);
        }
        let value = utf8(&value)?.to_owned();
        let end = end_of(text.get(byte..byte + length).unwrap_or(""), at);
        tokens.push(TokenWithSpan { token: Token::EscapedStringLiteral(value), span: Span::new(at, end) });
        (from, start) = (byte + length, end);
    }
}

/// Where a text ends that begins there.
fn end_of(text: &str, start: Location) -> Location {
    text.chars().fold(start, |place, c| match c {
        '\n' => Location { line: place.line + 1, column: 1 },
        _ => Location { line: place.line, column: place.column + 1 },
    })
}

/// Makes each `E'…'` that goes on in another line one token: the tokenizer takes what goes on for a string without escapes.
/// Where that was read to another end, the tokens from there on are dropped, and the place is given where reading goes on.
fn join_continued(
    tokens: &mut Vec<TokenWithSpan>,
    seen: usize,
    source: &SourceText,
) -> Result<Option<(usize, Location)>> {
    let mut begun = None;
    let mut newline = false;
    for at in seen..tokens.len() {
        match &tokens[at].token {
            Token::EscapedStringLiteral(_) => (begun, newline) = (Some(at), false),
            Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. }) => newline = true,
            Token::Whitespace(_) => {}
            Token::SingleQuotedString(_) => {
                let (place, end) = (tokens[at].span.start, tokens[at].span.end);
                match begun {
                    Some(first) if newline => match take_up(tokens, first, place, source)? {
                        None => return Err(super::parse::near(source, &tokens[at])),
                        Some((_, behind)) if behind == end => {
                            tokens[at].token = Token::Whitespace(Whitespace::Space);
                        }
                        next => {
                            tokens.truncate(first + 1);
                            return Ok(next);
                        }
                    },
                    _ => begun = None,
                }
                newline = false;
            }
            _ => begun = None,
        }
    }
    // What was read to no end is no token: it begins behind the last one.
    match (begun, tokens.last().map(|token| token.span.end)) {
        (Some(first), Some(place)) if newline => {
            let next = take_up(tokens, first, place, source)?;
            if next.is_some() {
                tokens.truncate(first + 1);
            }
            Ok(next)
        }
        _ => Ok(None),
    }
}

/// Puts what goes on at a place behind the string of a token, and tells where it ends; none where no string goes on there.
fn take_up(
    tokens: &mut [TokenWithSpan],
    first: usize,
    place: Location,
    source: &SourceText,
) -> Result<Option<(usize, Location)>> {
    let Some(byte) = source.byte_at(place) else { return Ok(None) };
    let rest = source.text().get(byte..).unwrap_or("");
    // One without an end is reported as any other.
    let Some((value, length)) = literal(rest) else { return Ok(None) };
    let value = utf8(&value)?.to_owned();
    if let Some(Token::EscapedStringLiteral(text)) = tokens.get_mut(first).map(|token| &mut token.token) {
        text.push_str(&value);
    }
    Ok(Some((byte + length, end_of(rest.get(..length).unwrap_or(""), place))))
}

/// A place of the text that begins at `start`, in the whole text.
fn behind(start: Location, at: Location) -> Location {
    match at.line {
        0 | 1 => Location { line: start.line, column: start.column + at.column.saturating_sub(1) },
        line => Location { line: start.line + line - 1, column: at.column },
    }
}

/// The bytes that the `E'…'` at the beginning stands for, and how many bytes it takes; none where it has no end, or an escape
/// in it is none.
fn string(text: &str) -> Option<(Vec<u8>, usize)> {
    let (value, length) = literal(text.strip_prefix(['e', 'E'])?)?;
    Some((value, length + 1))
}

/// The same of what stands behind the letter.
fn literal(text: &str) -> Option<(Vec<u8>, usize)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut bytes = Vec::new();
    let mut high: Option<u32> = None;
    loop {
        let c = rest.chars().next()?;
        rest = rest.get(c.len_utf8()..)?;
        if c == '\'' {
            let Some(behind) = rest.strip_prefix('\'') else { return Some((bytes, text.len() - rest.len())) };
            bytes.push(b'\'');
            rest = behind;
            continue;
        }
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let c = rest.chars().next()?;
        rest = rest.get(c.len_utf8()..)?;
        match c {
            'b' => bytes.push(0x08),
            'f' => bytes.push(0x0c),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'u' | 'U' => {
                let (number, behind) = number(rest, 16, if c == 'u' { 4 } else { 8 })?;
                rest = behind;
                let character = match (high.take(), number) {
                    (None, 0xD800..=0xDBFF) => {
                        high = Some(number);
                        continue;
                    }
                    (Some(high), 0xDC00..=0xDFFF) => 0x1_0000 + ((high - 0xD800) << 10) + (number - 0xDC00),
                    (Some(_), _) => return None,
                    (None, _) => number,
                };
                bytes.extend_from_slice(char::from_u32(character)?.encode_utf8(&mut [0; 4]).as_bytes());
            }
            'x' if rest.starts_with(|c: char| c.is_ascii_hexdigit()) => {
                let (number, behind) = number(rest, 16, 2)?;
                bytes.push(u8::try_from(number).ok()?);
                rest = behind;
            }
            '0'..='7' => {
                let (number, behind) = number(text.get(text.len() - rest.len() - 1..)?, 8, 3)?;
                // Of three digits only eight bits count.
                bytes.push(u8::try_from(number & 0xff).ok()?);
                rest = behind;
            }
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// The number that at most so many digits at the beginning are, and what stands behind them.
fn number(text: &str, radix: u32, digits_max: usize) -> Option<(u32, &str)> {
    let length = text.chars().take(digits_max).take_while(|c| c.is_digit(radix)).count();
    let number = u32::from_str_radix(text.get(..length)?, radix).ok()?;
    Some((number, text.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse_expr;
    use super::*;

    fn read(sql: &str) -> Vec<(Token, u64, u64)> {
        let tokens = tokens(&SourceText::new(sql)).unwrap();
        tokens.into_iter().map(|t| (t.token, t.span.start.line, t.span.start.column)).collect()
    }

    #[test]
    fn bytes_and_halves_become_characters() {
        for (written, meant) in [
            (r"E'\uD83D\uDE00'", "\u{1F600}"),
            (r"e'a\uD83D\U0000DE00b'", "a\u{1F600}b"),
            (r"E'\xC3\xA9'", "é"),
            (r"E'\303\251''\'\n\q'", "é''\nq"),
            (r"E'a\xF0\x9F\x98\x80b'", "a\u{1F600}b"),
        ] {
            assert_eq!(read(written), [(Token::EscapedStringLiteral(meant.into()), 1, 1)], "{written}");
        }
    }

    #[test]
    fn escapes_count_in_the_next_line_too() {
        for (written, meant) in [
            ("E'a'\n'b\\n'", "ab\n"),
            ("E'a' -- c\n  'b\\'c' \n'\\t''d'", "ab'c\t'd"),
            ("E'\\xC3\\xA9'\n'b'\n'\\x41'", "ébA"),
        ] {
            let (expr, _) = parse_expr(written).unwrap();
            let sqlparser::ast::Expr::Value(value) = expr else { panic!("{expr}") };
            assert_eq!(value.value, sqlparser::ast::Value::EscapedStringLiteral(meant.into()), "{written}");
        }
        assert_eq!(read("E'a'\n'\\'' b\n c").last(), Some(&(Token::make_word("c", None), 3, 2)));
    }

    #[test]
    fn what_follows_keeps_its_place() {
        let sql = "E'\\xC3\\xA9', E'é\n\\uD83D\\uDE00' || b\n+ c";
        let words: Vec<_> = read(sql).into_iter().filter(|(t, ..)| matches!(t, Token::Word(_))).collect();
        assert_eq!(words.iter().map(|(_, line, column)| (*line, *column)).collect::<Vec<_>>(), [(2, 18), (3, 3)]);
        assert_eq!(parse_expr(sql.split_once(", ").unwrap().1).unwrap().0.to_string().matches("||").count(), 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        for (sql, message) in [
            (r"E'\xC3'", "invalid byte sequence for encoding \"UTF8\": 0xc3"),
            (r"E'ab\xC3\u0041'", "invalid byte sequence for encoding \"UTF8\": 0xc3 0x41"),
            (r"E'\xFF a'", "invalid byte sequence for encoding \"UTF8\": 0xff"),
            (r"E'\000'", "invalid byte sequence for encoding \"UTF8\": 0x00"),
            (r"E'\400'", "invalid byte sequence for encoding \"UTF8\": 0x00"),
            (r"E'\xC3\xA9", "unterminated quoted string at or near \"E'\\xC3\\xA9\""),
            (r"E'\uD83D\uD83D'", "invalid Unicode surrogate pair at or near \"\\uD83D\""),
            (r"E'\xC3\xA9\uD83D'", "invalid Unicode surrogate pair at or near \"'\""),
        ] {
            assert_eq!(tokens(&SourceText::new(sql)).unwrap_err().message(), message, "{sql}");
        }
    }
}
