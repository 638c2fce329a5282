//! The text of a statement and places in it: errors carry positions in characters, the parser speaks in lines and columns.

use std::sync::OnceLock;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};

use super::scope::{MAX_IDENT_BYTES, cut_name, folded};

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
    /// See [`SourceText::long_names`].
    long_names: OnceLock<Vec<String>>,
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
        SourceText { text: text.to_owned(), lines, marks, long_names: OnceLock::new() }
    }

    /// The identifiers in it that are cut_name, once it was parsed: as they fold, and what is left of them.
    pub fn long_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.long_names.get().into_iter().flatten().map(|name| (name.as_str(), cut_name(name)))
    }

    /// What the tokens say of [`SourceText::long_names`].
    pub(super) fn note_long_names(&self, tokens: &[TokenWithSpan]) {
        let long = |token: &TokenWithSpan| match &token.token {
            Token::Word(word) if word.value.len() > MAX_IDENT_BYTES => Some(folded(&word.value, word.quote_style)),
            _ => None,
        };
        let names: Vec<String> = tokens.iter().filter_map(long).collect();
        if !names.is_empty() {
            // A text has the same names whenever it is read.
            self.long_names.get_or_init(|| names);
        }
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

    /// Position of the `nth` (from 0) `symbol` after a place.
    pub fn nth_symbol_after(&self, at: Span, symbol: &str, nth: usize) -> Option<usize> {
        let start = self.byte_at(at.start)?;
        let (found, _) = self.text.get(start..)?.match_indices(symbol).nth(nth)?;
        self.position_of_byte(start + found)
    }

    /// The place of a prefix operator before its operand; the operand's own where it is not on the same line.
    pub fn prefix_before(&self, operand: Span, symbol: &str) -> Span {
        let place = || {
            let head = self.text.get(..self.byte_at(operand.start)?)?;
            let line = head.rsplit('\n').next()?;
            let before = line.rfind(symbol)?;
            line.get(before + symbol.len()..)?.trim_start_matches('(').trim().is_empty().then_some(())?;
            let column = u64::try_from(line.get(..before)?.chars().count()).ok()? + 1;
            Some(Location { line: operand.start.line, column })
        };
        place().map_or(operand, |start| Span::new(start, operand.end))
    }

    /// Position of the first such word after a place, in whatever case, and the word as it is written.
    pub fn word_after(&self, at: Span, word: &str) -> Option<(usize, &str)> {
        let found = self.word_from(self.byte_at(at.start)?, word)?;
        Some((self.position_of_byte(found)?, self.text.get(found..found + word.len())?))
    }

    /// Byte offset of the first such word from one on.
    fn word_from(&self, start: usize, word: &str) -> Option<usize> {
        (start..self.text.len()).find(|at| self.is_word_at(*at, word))
    }

    /// Whether such a word stands there, in whatever case.
    fn is_word_at(&self, at: usize, word: &str) -> bool {
        let bytes = self.text.as_bytes();
        let is_part = |at: Option<&u8>| at.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80);
        bytes.get(at..at + word.len()).is_some_and(|b| b.eq_ignore_ascii_case(word.as_bytes()))
            && !is_part(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !is_part(bytes.get(at + word.len()))
    }

    /// Byte offset of the parenthesis of the window whose call, or name in the WINDOW clause, stands there.
    fn window_byte(&self, defined: Span) -> Option<usize> {
        let end = self.byte_at(defined.end)?;
        let rest = self.text.get(end..)?.trim_start();
        let next = self.text.len() - rest.len();
        let word = match self.is_word_at(next, "as") {
            true => next,
            false => self.word_from(self.byte_at(defined.start)?, "over")?,
        };
        Some(word + self.text.get(word..)?.find('(')?)
    }

    /// Position of the parenthesis of the window whose call, or name in the WINDOW clause, stands there.
    pub fn window_at(&self, defined: Span) -> Option<usize> {
        self.position_of_byte(self.window_byte(defined)?)
    }

    /// Positions of the first and the second end of that window's frame, which is in such units.
    pub fn frame_at(&self, defined: Span, units: &str) -> (Option<usize>, Option<usize>) {
        let behind = |word: usize, length: usize| {
            let rest = self.text.get(word + length..)?;
            Some(self.text.len() - rest.trim_start().len())
        };
        let start = || {
            let start = behind(self.word_from(self.window_byte(defined)?, units)?, units.len())?;
            match self.is_word_at(start, "between") {
                true => behind(start, "between".len()),
                false => Some(start),
            }
        };
        let Some(start) = start() else { return (None, None) };
        let end = self.word_from(start, "and").and_then(|word| behind(word, "and".len()));
        (self.position_of_byte(start), end.and_then(|end| self.position_of_byte(end)))
    }

    /// The place of the last of several words before a place, in whatever case.
    pub fn word_before(&self, at: Span, words: &[&str]) -> Option<Span> {
        let end = self.byte_at(at.start)?;
        let found = (0..end).rev().find(|byte| words.iter().any(|word| self.is_word_at(*byte, word)))?;
        let line = self.lines.partition_point(|start| *start <= found);
        let column = self.chars_before(found)? - self.chars_before(*self.lines.get(line.checked_sub(1)?)?)? + 1;
        let place = Location { line: u64::try_from(line).ok()?, column: u64::try_from(column).ok()? };
        Some(Span::new(place, place))
    }

    /// Position of what stands behind the first `symbol` after a place, spaces left out.
    pub fn behind_symbol(&self, at: Span, symbol: &str) -> Option<usize> {
        let start = self.byte_at(at.start)?;
        let found = start + self.text.get(start..)?.find(symbol)? + symbol.len();
        let rest = self.text.get(found..)?.trim_start();
        self.position_of_byte(self.text.len() - rest.len())
    }

    /// Position of the first `ARRAY[]` that no cast follows.
    pub fn empty_array(&self) -> Option<usize> {
        let found = (0..self.text.len()).find(|at| {
            let behind = || {
                let rest = self.text.get(at + "array".len()..)?.trim_start().strip_prefix('[')?;
                let rest = rest.trim_start().strip_prefix(']')?;
                Some(!rest.trim_start().starts_with("::"))
            };
            self.is_word_at(*at, "array") && behind() == Some(true)
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
        assert_eq!(source.word_after(at(1), "cast"), Some((12, "Cast")));
        assert_eq!(source.word_after(at(1), "as"), Some((19, "AS")));
        assert_eq!(source.word_before(at(31), &["as", "cast"]), Some(at(19)));
        assert_eq!(source.word_before(at(18), &["CAST"]), Some(at(12)));
        assert_eq!(source.word_before(at(18), &["as"]), None);
        assert_eq!(source.behind_symbol(at(1), "<>"), Some(6));
    }
}
