//! Joins whose conditions come later than the parser expects them: `a JOIN b JOIN c ON … ON …`.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::{keyword, plain};
use super::words::{begins_clause, is_kind_of_join};

/// A join that waits for its condition.
pub(super) struct Joined {
    /// Where its right side begins in what was written.
    right: usize,
    /// A parenthesis was put before the right side.
    opened: bool,
}

/// Whether a join that waits for its condition cannot get it any more.
pub(super) fn ends_joins(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::RParen | Token::Comma | Token::SemiColon | Token::EOF) || begins_clause(keyword(token))
}

/// `a JOIN b JOIN c ON … ON …` as `a JOIN (b JOIN c ON …) ON …`: the parser puts joins together from the left only.
pub(super) fn nest_joins(token: &TokenWithSpan, joins: &mut Vec<Joined>, out: &mut Vec<TokenWithSpan>) {
    let is_label = matches!(out.last().map(|t| &t.token), Some(Token::Period))
        || out.last().is_some_and(|t| keyword(t) == Keyword::AS);
    match keyword(token) {
        Keyword::JOIN if !is_label => {
            // The words before it belong to it.
            let mut kind = out.iter().rev().map(keyword).take_while(|word| is_kind_of_join(*word));
            let has_condition = !kind.any(|word| matches!(word, Keyword::CROSS | Keyword::NATURAL));
            let mut right = out.len() + 1;
            if let Some(waiting) = joins.last_mut()
                && !waiting.opened
            {
                waiting.opened = true;
                out.insert(waiting.right, plain(Token::LParen, token.span));
                right += 1;
            }
            if has_condition {
                joins.push(Joined { right, opened: false });
            }
        }
        Keyword::ON | Keyword::USING => {
            let joined = joins.pop();
            if joined.is_some_and(|join| join.opened) {
                out.push(plain(Token::RParen, token.span));
            }
        }
        _ => {}
    }
}
