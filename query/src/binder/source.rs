//! The text of a statement and places in it: errors carry positions in characters, the parser speaks in lines and columns.

use sqlparser::tokenizer::{Location, Span};

/// Characters between two places whose byte offset is kept.
const STRIDE_CHARS: usize = 64;

/// A query string with its line starts. A string may hold several statements; positions count from its beginning, as
/// Postgres's do. The binder asks for a place with every operator and cast, so no question may cost the length of the text.
#[derive(Debug, Clone, Default)]
pub struct SourceText {
    text: String,
    /// Byte offset of each line.
    lines: Vec<usize>,
    /// Byte offset of every [`STRIDE_CHARS`]th character; empty where every character is one byte.
    marks: Vec<usize>,
}

impl SourceText {
    /// Indexes a text.
    pub fn new(text: &str) -> SourceText {
        let mut lines = vec![0];
        lines.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1));
        let marks = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(byte, _)| byte).step_by(STRIDE_CHARS).collect()
        };
        SourceText { text: text.to_owned(), lines, marks }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Byte offset of a place; `None` for the empty location that synthetic nodes carry.
    pub fn byte_at(&self, at: Location) -> Option<usize> {
        if at.line == 0 || at.column == 0 {
            return None;
        }
        let start = *self.lines.get(usize::try_from(at.line).ok()? - 1)?;
        let skip = usize::try_from(at.column).ok()? - 1;
        Some(self.byte_of_char(self.chars_before(start)?.checked_add(skip)?))
    }

    /// Characters before a byte offset that is the start of one.
    fn chars_before(&self, byte: usize) -> Option<usize> {
        let head = self.text.get(..byte)?;
        if self.marks.is_empty() {
            return Some(byte);
        }
        let mark = self.marks.partition_point(|mark| *mark <= byte).checked_sub(1)?;
        Some(mark * STRIDE_CHARS + head.get(self.marks[mark]..)?.chars().count())
    }

    /// Byte offset of a character, the end of the text for those behind it.
    fn byte_of_char(&self, number: usize) -> usize {
        if self.marks.is_empty() {
            return number.min(self.text.len());
        }
        let Some(mark) = self.marks.get(number / STRIDE_CHARS) else { return self.text.len() };
        let found = self.text.get(*mark..).and_then(|rest| rest.char_indices().nth(number % STRIDE_CHARS));
        found.map_or(self.text.len(), |(offset, _)| mark + offset)
    }

    /// Position of a byte offset, in characters from 1.
    pub fn position_of_byte(&self, byte: usize) -> Option<usize> {
        Some(self.chars_before(byte)? + 1)
    }

    /// Position of the start of a span, in characters from 1.
    pub fn position(&self, span: Span) -> Option<usize> {
        self.position_of_byte(self.byte_at(span.start)?)
    }

    /// Position of the last `symbol` before a place: the parser does not keep where operators stand.
    pub fn symbol_before(&self, at: Span, symbol: &str) -> Option<usize> {
        self.one_of_before(at, &[symbol])
    }

    /// As [`SourceText::symbol_before`], for the last of several ASCII spellings.
    pub fn one_of_before(&self, at: Span, symbols: &[&str]) -> Option<usize> {
        let head = self.text.get(..self.byte_at(at.start)?)?.as_bytes();
        let found = (0..head.len()).rev().find(|start| {
            symbols.iter().any(|symbol| {
                head.get(*start..*start + symbol.len()).is_some_and(|b| b.eq_ignore_ascii_case(symbol.as_bytes()))
            })
        })?;
        self.position_of_byte(found)
    }

    /// Position of the first `symbol` after a place.
    pub fn symbol_after(&self, at: Span, symbol: &str) -> Option<usize> {
        let start = self.byte_at(at.start)?;
        let found = start + self.text.get(start..)?.find(symbol)?;
        self.position_of_byte(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definitions, without an index.
    fn byte_at(text: &str, line: usize, column: usize) -> usize {
        let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        text[start..].char_indices().nth(column - 1).map_or(text.len(), |(offset, _)| start + offset)
    }

    #[test]
    fn places_are_those_of_a_count() {
        let wide = "sélect 'ünïcödé' + 1 -- ☃\n, CAST(x AS text)\n".repeat(20);
        for text in [wide.as_str(), "", "a", "SELECT 1\n  + 2", "é"] {
            let source = SourceText::new(text);
            for (byte, _) in text.char_indices() {
                assert_eq!(source.position_of_byte(byte), Some(text[..byte].chars().count() + 1));
            }
            let lines = text.split_inclusive('\n').count().max(1);
            for line in 1..=lines {
                for column in 1..60 {
                    let at = Location { line: line as u64, column: column as u64 };
                    assert_eq!(source.byte_at(at), Some(byte_at(text, line, column)), "{text:?} {line}:{column}");
                }
            }
        }
    }

    #[test]
    fn symbols_are_found_before_and_after() {
        let source = SourceText::new("é <> b AND Cast(c AS text) != 'x'::text");
        let at = |column| Span::new(Location { line: 1, column }, Location { line: 1, column });
        assert_eq!(source.one_of_before(at(6), &["<>", "!="]), Some(3));
        assert_eq!(source.one_of_before(at(31), &["<>", "!="]), Some(28));
        assert_eq!(source.symbol_before(at(17), "cast"), Some(12));
        assert_eq!(source.symbol_after(at(31), "::"), Some(34));
        assert_eq!(source.symbol_before(at(1), "cast"), None);
    }
}
