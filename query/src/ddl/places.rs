//! Places in a statement that the syntax tree does not keep: where a clause begins that has no name of its own.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Location, Token};
use stratos_types::{Error, ErrorKind};

use super::Ddl;
use crate::binder::{SourceText, written_tokens};

/// The words and marks of a statement with their places.
struct Words(Vec<(String, Location)>);

impl Words {
    fn of(text: &str) -> Words {
        let tokens = written_tokens(&SourceText::new(text)).unwrap_or_default();
        let kept = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).map(|token| {
            let text = match &token.token {
                Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_lowercase(),
                other => other.to_string(),
            };
            (text, token.span.start)
        });
        Words(kept.collect())
    }

    /// The number of the first word at or behind a place.
    fn number(&self, at: Location) -> usize {
        self.0.partition_point(|(_, place)| (place.line, place.column) < (at.line, at.column))
    }

    fn is(&self, at: usize, phrase: &[&str]) -> bool {
        phrase.iter().enumerate().all(|(n, word)| self.0.get(at + n).is_some_and(|(found, _)| found == word))
    }

    /// Where the `nth` (from 0) of a column's phrases stands behind its name, before the next column.
    fn in_column(&self, name: usize, phrase: &[&str], nth: usize) -> Option<Location> {
        let mut depth = 0usize;
        let mut seen = 0;
        for at in name + 1..self.0.len() {
            match self.0[at].0.as_str() {
                "(" => depth += 1,
                ")" | "," if depth == 0 => return None,
                ")" => depth -= 1,
                _ if depth == 0 && self.is(at, phrase) => {
                    if seen == nth {
                        return Some(self.0[at].1);
                    }
                    seen += 1;
                }
                _ => {}
            }
        }
        None
    }

    /// Where the list begins that a name stands in, with the phrase before its bracket.
    fn list_around(&self, name: usize, phrase: &[&str]) -> Option<usize> {
        let mut depth = 0usize;
        for at in (0..name).rev() {
            match self.0[at].0.as_str() {
                ")" => depth += 1,
                "(" if depth > 0 => depth -= 1,
                "(" => return at.checked_sub(phrase.len()).filter(|start| self.is(*start, phrase)),
                _ => {}
            }
        }
        None
    }
}

impl Ddl<'_, '_> {
    fn placed(&self, error: Error, place: Option<Location>) -> Error {
        match place.map(|place| self.position(place)) {
            Some(position) if position > 0 => error.at(position),
            _ => error,
        }
    }

    /// The error, with the position of a clause of a column's definition: the `nth` of this phrase, from 0.
    pub fn at_clause(&self, error: Error, column: &Ident, phrase: &[&str], nth: usize) -> Error {
        let words = Words::of(self.context.text);
        let place = words.in_column(words.number(column.span.start), phrase, nth);
        self.placed(error, place)
    }

    /// The error, with the position of the key that a column stands in, or that is asked for behind the column's own name.
    /// A key that has a name begins with CONSTRAINT.
    pub fn at_key(&self, error: Error, column: &Ident, phrase: &[&str]) -> Error {
        let words = Words::of(self.context.text);
        let number = words.number(column.span.start);
        if let Some(start) = words.list_around(number, phrase) {
            let named = start.checked_sub(2).filter(|at| words.is(*at, &["constraint"]));
            return self.placed(error, words.0.get(named.unwrap_or(start)).map(|(_, place)| *place));
        }
        let place = words.in_column(number, phrase, 0);
        self.placed(error, place)
    }

    /// The position of the first bracket behind a name.
    pub fn bracket_behind(&self, name: &Ident) -> Option<usize> {
        let words = Words::of(self.context.text);
        let from = words.number(name.span.start);
        let bracket = words.0.get(from..)?.iter().find(|(word, _)| word == "(")?;
        Some(self.position(bracket.1)).filter(|position| *position > 0)
    }

    /// The syntax error of a statement that ends with this name.
    pub fn nothing_behind(&self, name: &Ident) -> Error {
        let words = Words::of(self.context.text);
        match words.0.get(words.number(name.span.start) + 1) {
            Some((word, place)) => {
                let error = Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{word}\""));
                self.placed(error, Some(*place))
            }
            None => {
                let end = self.context.text.chars().count() + 1;
                Error::new(ErrorKind::SyntaxError, "syntax error at end of input").at(end)
            }
        }
    }

    /// Whether a bracket follows the name.
    pub fn is_bracket_behind(&self, name: &Ident) -> bool {
        let words = Words::of(self.context.text);
        words.is(words.number(name.span.start) + 1, &["("])
    }
}

#[cfg(test)]
mod tests {
    use super::Words;

    #[test]
    fn clauses_are_found_behind_their_column() {
        let words = Words::of("create table x (a int default (1, null) default 2, b int null, primary key (a, b))");
        let column = |place: Option<sqlparser::tokenizer::Location>| place.map(|place| place.column);
        assert_eq!(column(words.in_column(4, &["default"], 1)), Some(41));
        assert_eq!(column(words.in_column(4, &["null"], 0)), None);
        let last = words.0.iter().rposition(|(word, _)| word == "b").unwrap_or_default();
        let start = words.list_around(last, &["primary", "key"]);
        assert_eq!(start.map(|at| words.0[at].1.column), Some(64));
        assert_eq!(words.list_around(last, &["unique"]), None);
        assert_eq!(words.list_around(4, &["primary", "key"]), None);
        let behind = Words::of(r"select E'\xC3\xA9'; create table t ()");
        assert!(behind.is(3, &["create", "table", "t", "("]));
    }
}
