//! The text of a statement and places in it: errors carry positions in characters, the parser speaks in lines and columns.

use sqlparser::tokenizer::{Location, Span};

/// A query string with its line starts. A string may hold several statements; positions count from its beginning, as
/// Postgres's do.
#[derive(Debug, Clone, Default)]
pub struct SourceText {
    text: String,
    /// Byte offset of each line.
    lines: Vec<usize>,
}

impl SourceText {
    /// Indexes a text.
    pub fn new(text: &str) -> SourceText {
        let mut lines = vec![0];
        lines.extend(memchr_lines(text));
        SourceText { text: text.to_owned(), lines }
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
        let rest = self.text.get(start..)?;
        match rest.char_indices().nth(skip) {
            Some((offset, _)) => Some(start + offset),
            None => Some(self.text.len()),
        }
    }

    /// Position of a byte offset, in characters from 1.
    pub fn position_of_byte(&self, byte: usize) -> Option<usize> {
        Some(self.text.get(..byte)?.chars().count() + 1)
    }

    /// Position of the start of a span, in characters from 1.
    pub fn position(&self, span: Span) -> Option<usize> {
        self.position_of_byte(self.byte_at(span.start)?)
    }

    /// Position of the last `symbol` before a place: the parser does not keep where operators stand.
    pub fn symbol_before(&self, at: Span, symbol: &str) -> Option<usize> {
        let end = self.byte_at(at.start)?;
        let head = self.text.get(..end)?;
        let found = if symbol.as_bytes().iter().any(u8::is_ascii_alphabetic) {
            head.to_ascii_lowercase().rfind(&symbol.to_ascii_lowercase())
        } else {
            head.rfind(symbol)
        }?;
        self.position_of_byte(found)
    }

    /// Position of the first `symbol` after a place.
    pub fn symbol_after(&self, at: Span, symbol: &str) -> Option<usize> {
        let start = self.byte_at(at.start)?;
        let found = start + self.text.get(start..)?.find(symbol)?;
        self.position_of_byte(found)
    }
}

fn memchr_lines(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1)
}
