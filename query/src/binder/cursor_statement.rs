//! FETCH and MOVE: the parser knows only some of their forms.

use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use stratos_types::{Error, ErrorKind, Result};

use super::scope::fold_ident;
use super::source::SourceText;
use crate::dialect::StratosDialect;

/// Where FETCH and MOVE go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// So many rows forwards; `None` is all.
    Forward(Option<u64>),
    /// So many rows backwards; `None` is all.
    Backward(Option<u64>),
    /// To the row with this number, from the end when negative.
    Absolute(i64),
    /// So many rows from here.
    Relative(i64),
}

/// `FETCH` or `MOVE` of a cursor.
#[derive(Debug, Clone)]
pub struct CursorMove {
    /// The cursor.
    pub name: String,
    /// Where to.
    pub movement: Movement,
    /// FETCH: the rows passed are the result.
    pub fetches: bool,
}

/// Positive counts go forwards, negative ones backwards.
fn signed(count: i64) -> Movement {
    if count >= 0 {
        Movement::Forward(Some(count.unsigned_abs()))
    } else {
        Movement::Backward(Some(count.unsigned_abs()))
    }
}

struct Reader<'a> {
    tokens: Vec<TokenWithSpan>,
    at: usize,
    source: &'a SourceText,
    start: usize,
    text: &'a str,
}

impl Reader<'_> {
    fn word(&self, ahead: usize) -> Option<String> {
        match &self.tokens.get(self.at + ahead)?.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// Whether the statement ends after so many further tokens.
    fn ends_after(&self, count: usize) -> bool {
        matches!(self.tokens.get(self.at + count).map(|t| &t.token), None | Some(Token::EOF | Token::SemiColon))
    }

    fn syntax(&self) -> Error {
        let local = SourceText::new(self.text);
        let near =
            self.tokens.get(self.at).and_then(|t| Some((local.byte_at(t.span.start)?, local.byte_at(t.span.end)?)));
        match near.filter(|(from, to)| from < to) {
            Some((from, to)) => {
                let shown = self.text.get(from..to).unwrap_or("");
                let e = Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{shown}\""));
                match self.source.position_of_byte(self.start + from) {
                    Some(position) => e.at(position),
                    None => e,
                }
            }
            None => Error::new(ErrorKind::SyntaxError, "syntax error at end of input").at(self
                .source
                .text()
                .chars()
                .count()
                + 1),
        }
    }

    /// A signed number, if one comes next.
    fn number(&mut self) -> Result<Option<i64>> {
        let sign = match self.tokens.get(self.at).map(|t| &t.token) {
            Some(Token::Minus) => Some("-"),
            Some(Token::Plus) => Some(""),
            _ => None,
        };
        let digits = self.at + usize::from(sign.is_some());
        let Some(Token::Number(text, _)) = self.tokens.get(digits).map(|t| &t.token) else { return Ok(None) };
        let value = format!("{}{text}", sign.unwrap_or("")).parse();
        self.at = digits;
        let value: i64 = value.map_err(|_| self.syntax())?;
        self.at += 1;
        Ok(Some(value))
    }

    fn expect_number(&mut self) -> Result<i64> {
        self.number()?.ok_or_else(|| self.syntax())
    }

    fn direction(&mut self) -> Result<Movement> {
        if let Some(count) = self.number()? {
            return Ok(signed(count));
        }
        // A direction's word alone is the name of a cursor.
        let word = self.word(0).filter(|_| !self.ends_after(1)).unwrap_or_default();
        let movement = match word.as_str() {
            "next" => Movement::Forward(Some(1)),
            "prior" => Movement::Backward(Some(1)),
            "first" => Movement::Absolute(1),
            "last" => Movement::Absolute(-1),
            "all" => Movement::Forward(None),
            "absolute" => {
                self.at += 1;
                return self.expect_number().map(Movement::Absolute);
            }
            "relative" => {
                self.at += 1;
                return self.expect_number().map(Movement::Relative);
            }
            "forward" | "backward" => {
                self.at += 1;
                let forward = word == "forward";
                if self.word(0).as_deref() == Some("all") && !self.ends_after(1) {
                    self.at += 1;
                    return Ok(if forward { Movement::Forward(None) } else { Movement::Backward(None) });
                }
                let count = self.number()?.unwrap_or(1);
                return Ok(signed(if forward { count } else { count.saturating_neg() }));
            }
            _ => return Ok(Movement::Forward(Some(1))),
        };
        self.at += 1;
        Ok(movement)
    }
}

/// Reads a statement that begins with FETCH or MOVE. `start` is the byte of `source` at which `text` stands.
///
/// # Errors
/// 42601.
pub(super) fn parse(text: &str, source: &SourceText, start: usize) -> Result<CursorMove> {
    let tokens = Tokenizer::new(&StratosDialect::default(), text)
        .tokenize_with_location()
        .map_err(|e| Error::new(ErrorKind::SyntaxError, e.to_string()))?;
    let tokens = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut reader = Reader { tokens, at: 0, source, start, text };
    let fetches = reader.word(0).as_deref() == Some("fetch");
    reader.at = 1;
    let movement = reader.direction()?;
    if matches!(reader.word(0).as_deref(), Some("from" | "in")) {
        reader.at += 1;
    }
    let name = match reader.tokens.get(reader.at).map(|t| &t.token) {
        Some(Token::Word(word)) => fold_ident(&sqlparser::ast::Ident {
            value: word.value.clone(),
            quote_style: word.quote_style,
            span: sqlparser::tokenizer::Span::empty(),
        }),
        _ => return Err(reader.syntax()),
    };
    reader.at += 1;
    if !reader.ends_after(0) {
        return Err(reader.syntax());
    }
    Ok(CursorMove { name, movement, fetches })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panics")]
mod tests {
    use super::*;

    #[test]
    fn every_direction_is_read_with_and_without_from() {
        use Movement::{Absolute, Backward, Forward, Relative};
        for (text, movement) in [
            ("FETCH c", Forward(Some(1))),
            ("FETCH NEXT c", Forward(Some(1))),
            ("FETCH PRIOR FROM c", Backward(Some(1))),
            ("FETCH FIRST IN c", Absolute(1)),
            ("FETCH LAST c", Absolute(-1)),
            ("FETCH ALL c", Forward(None)),
            ("FETCH 5 c", Forward(Some(5))),
            ("FETCH -5 FROM c", Backward(Some(5))),
            ("FETCH ABSOLUTE -2 c", Absolute(-2)),
            ("FETCH RELATIVE -1 FROM c", Relative(-1)),
            ("MOVE FORWARD c", Forward(Some(1))),
            ("MOVE FORWARD 3 IN c", Forward(Some(3))),
            ("MOVE BACKWARD c", Backward(Some(1))),
            ("MOVE BACKWARD ALL FROM \"c\"", Backward(None)),
            ("MOVE BACKWARD -2 C", Forward(Some(2))),
        ] {
            let read = parse(text, &SourceText::new(text), 0).unwrap();
            assert_eq!((read.name.as_str(), read.movement), ("c", movement), "{text}");
            assert_eq!(read.fetches, text.starts_with("FETCH"), "{text}");
        }
        assert_eq!(parse("FETCH next", &SourceText::new("FETCH next"), 0).unwrap().name, "next");
    }

    #[test]
    fn what_is_left_over_is_a_syntax_error() {
        for (text, position) in [("FETCH", 6), ("FETCH ABSOLUTE c", 16), ("FETCH c d", 9), ("MOVE 5 FROM", 12)] {
            let error = parse(text, &SourceText::new(text), 0).unwrap_err();
            assert_eq!((error.kind(), error.position()), (ErrorKind::SyntaxError, Some(position)), "{text}");
        }
    }
}
