//! Types in words that the parser does not know: `int ARRAY[4]`, `NATIONAL CHARACTER(3)`, `NCHAR VARYING`.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::query_forms::opening;
use super::rewrite::{Ahead, Rewriting, is_word, keyword};
use crate::functions::keywords::is_reserved;

/// Words that are not reserved and stand before an expression.
const BEFORE_EXPRESSIONS: &[&str] = &["between", "by", "escape", "ilike", "like", "values", "zone"];

/// Says a type in the parser's language: how many tokens that took, if it is one of these.
pub(super) fn type_form(at: &mut Rewriting<'_>, ahead: Ahead<'_>) -> Option<usize> {
    let span = ahead.token().span;
    let is_char = |word: Keyword| matches!(word, Keyword::CHAR | Keyword::CHARACTER);
    match keyword(ahead.token()) {
        // `[4]` stays behind it; an array otherwise begins with a bracket or, of a query, a parenthesis.
        Keyword::ARRAY if ahead.is(1, &Token::LBracket) => {
            let is_bound = matches!(ahead.get(2).map(|t| &t.token), Some(Token::Number(..)));
            (is_bound && ahead.is(3, &Token::RBracket) && ends_type(&at.out)).then_some(1)
        }
        Keyword::ARRAY if !ahead.is(1, &Token::LParen) && ends_type(&at.out) => {
            at.put(Token::LBracket, span);
            at.put(Token::RBracket, span);
            Some(1)
        }
        _ if is_word(ahead.token(), "national") && is_char(ahead.keyword(1)) && begins_type(&at.out) => Some(1),
        _ if is_word(ahead.token(), "nchar") && ahead.keyword(1) == Keyword::VARYING => {
            at.say(&[Keyword::CHARACTER], span);
            Some(1)
        }
        _ => None,
    }
}

/// Whether what was written last may be the end of a type: a name, or its length in parentheses.
fn ends_type(out: &[TokenWithSpan]) -> bool {
    let end = match out.last().map(|t| &t.token) {
        Some(Token::RParen) => opening(out).and_then(|at| at.checked_sub(1)),
        _ => out.len().checked_sub(1),
    };
    match end.and_then(|at| out.get(at)).map(|t| &t.token) {
        Some(Token::Word(Word { value, quote_style: None, .. })) => {
            let word = value.to_ascii_lowercase();
            !is_reserved(&word) && !BEFORE_EXPRESSIONS.contains(&word.as_str())
        }
        Some(Token::Word(_)) => true,
        _ => false,
    }
}

/// Whether a type may begin behind what was written last: a column's name, `::`, or the AS of a cast.
fn begins_type(out: &[TokenWithSpan]) -> bool {
    match out.last().map(|t| &t.token) {
        Some(Token::DoubleColon) => true,
        Some(Token::Word(Word { value, quote_style: None, keyword })) => {
            let name = !matches!(keyword, Keyword::ADD | Keyword::COLUMN | Keyword::EXISTS | Keyword::TABLE);
            name && (!is_reserved(&value.to_ascii_lowercase()) || *keyword == Keyword::AS)
        }
        Some(Token::Word(_)) => true,
        _ => false,
    }
}
