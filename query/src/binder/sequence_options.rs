//! Options of sequences: the parser takes them in one order only.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::TokenWithSpan;

use super::rewrite::keyword;

/// Where an option of a sequence stands in the only order that the parser knows; `None` for what begins no option.
fn sequence_option(token: &TokenWithSpan, next: Option<&TokenWithSpan>) -> Option<u8> {
    let by_name = |token: &TokenWithSpan| match keyword(token) {
        Keyword::AS => Some(0),
        Keyword::INCREMENT => Some(1),
        Keyword::MINVALUE => Some(2),
        Keyword::MAXVALUE => Some(3),
        Keyword::START => Some(4),
        Keyword::CACHE => Some(5),
        Keyword::CYCLE => Some(6),
        Keyword::OWNED => Some(7),
        _ => None,
    };
    if keyword(token) == Keyword::NO { next.and_then(by_name) } else { by_name(token) }
}

/// Options of a sequence, which Postgres takes in any order, in the parser's.
pub(super) fn sequence_options(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut options: Vec<(u8, Vec<TokenWithSpan>)> = Vec::new();
    let mut after_no = false;
    for (i, token) in tokens.iter().enumerate() {
        let begins = if after_no { None } else { sequence_option(token, tokens.get(i + 1)) };
        after_no = begins.is_some() && keyword(token) == Keyword::NO;
        match (begins, options.last_mut()) {
            (Some(order), _) => options.push((order, vec![token.clone()])),
            (None, Some((_, option))) => option.push(token.clone()),
            // Nothing that we know: the parser says what is wrong with it.
            (None, None) => return tokens.to_vec(),
        }
    }
    options.sort_by_key(|(order, _)| *order);
    options.into_iter().flat_map(|(_, option)| option).collect()
}
