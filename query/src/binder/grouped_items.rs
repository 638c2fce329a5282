//! Items of ROLLUP, CUBE and GROUPING SETS that begin with a parenthesis but go on behind it, as `(a)::text` does: the parser takes
//! the first one for a list.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::rewrite::{keyword, plain};

/// Where items begin and end that need parentheses of their own, in the list that opens at `list`.
fn unclear_items(tokens: &[TokenWithSpan], list: usize, found: &mut Vec<(usize, Token)>) {
    let mut depth = 0usize;
    let mut begin = list + 1;
    // Where the first parenthesis of the item was closed.
    let mut closed = None;
    for (at, token) in tokens.iter().enumerate().skip(list + 1) {
        let ends = match token.token {
            Token::LParen => {
                depth += 1;
                false
            }
            Token::RParen if depth == 0 => true,
            Token::RParen => {
                depth -= 1;
                if depth == 0 {
                    closed = closed.or(Some(at));
                }
                false
            }
            Token::Comma => depth == 0,
            _ => false,
        };
        if !ends {
            continue;
        }
        if tokens[begin].token == Token::LParen && closed.is_some_and(|closed| closed + 1 < at) {
            found.push((begin, Token::LParen));
            found.push((at, Token::RParen));
        }
        if token.token == Token::RParen {
            return;
        }
        (begin, closed) = (at + 1, None);
    }
}

/// Puts such items into parentheses of their own.
pub(super) fn grouped(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut parentheses = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let [before, open] = pair else { continue };
        let list = matches!(keyword(before), Keyword::ROLLUP | Keyword::CUBE | Keyword::SETS);
        if list && open.token == Token::LParen {
            unclear_items(&tokens, at + 1, &mut parentheses);
        }
    }
    if parentheses.is_empty() {
        return tokens;
    }
    parentheses.sort_by_key(|(at, _)| *at);
    let mut parentheses = parentheses.into_iter().peekable();
    let mut out = Vec::with_capacity(tokens.len() + parentheses.len());
    for (at, token) in tokens.into_iter().enumerate() {
        while let Some((_, parenthesis)) = parentheses.next_if(|(before, _)| *before == at) {
            out.push(plain(parenthesis, Span::empty()));
        }
        out.push(token);
    }
    out
}
