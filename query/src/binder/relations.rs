//! What may stand in FROM and the parser knows only in expressions: `FROM coalesce(1, 2)`, `FROM current_date d`. They are made
//! calls of a synthetic function, whose one argument they are.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::{is_word, keyword};
use super::words::begins_clause;

/// Name of the synthetic function.
pub(crate) const EXPRESSION_MARKER: &str = "\u{1}expression";

/// Calls with a syntax, or a meaning, of their own.
const CALLS: &[&str] = &[
    "cast",
    "coalesce",
    "extract",
    "greatest",
    "least",
    "normalize",
    "nullif",
    "overlay",
    "position",
    "substring",
    "trim",
];
/// Those with an optional precision.
const MOMENTS: &[&str] = &["current_time", "current_timestamp", "localtime", "localtimestamp"];
/// Calls without parentheses.
const WORDS: &[&str] =
    &["current_catalog", "current_date", "current_role", "current_schema", "current_user", "session_user", "user"];

/// A FROM list, as far as it was read at a level of parentheses.
#[derive(Default)]
pub(super) struct Relations(bool);

impl Relations {
    /// Looks at the next token; `out` ends with the one before it. `lists` says whether a FROM may begin a list here.
    pub(super) fn step(&mut self, token: &TokenWithSpan, out: &[TokenWithSpan], lists: bool) {
        match keyword(token) {
            // `IS DISTINCT FROM`
            Keyword::FROM => self.0 |= lists && out.last().is_none_or(|t| keyword(t) != Keyword::DISTINCT),
            Keyword::SELECT | Keyword::FOR | Keyword::SET => self.0 = false,
            word if begins_clause(word) => self.0 = false,
            _ => {}
        }
    }

    /// Whether a relation may begin behind these tokens.
    fn begins_item(&self, out: &[TokenWithSpan]) -> bool {
        let [.., before, last] = out else { return false };
        self.0
            && (last.token == Token::Comma
                || matches!(keyword(last), Keyword::JOIN | Keyword::LATERAL)
                || keyword(last) == Keyword::FROM && keyword(before) != Keyword::DISTINCT)
    }

    /// Whether an expression stands there as a relation, and then whether in parentheses.
    pub(super) fn expression(
        &self,
        token: &TokenWithSpan,
        next: Option<&TokenWithSpan>,
        out: &[TokenWithSpan],
    ) -> Option<bool> {
        if !matches!(&token.token, Token::Word(w) if w.quote_style.is_none()) || !self.begins_item(out) {
            return None;
        }
        let one_of = |words: &[&str]| words.iter().any(|word| is_word(token, word));
        let called = next.is_some_and(|next| next.token == Token::LParen);
        let dotted = next.is_some_and(|next| next.token == Token::Period);
        match called {
            true => one_of(CALLS) || one_of(MOMENTS),
            false => !dotted && (one_of(WORDS) || one_of(MOMENTS)),
        }
        .then_some(called)
    }
}
