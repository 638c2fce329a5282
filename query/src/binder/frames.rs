//! Offsets of window frames that begin with a string: the parser takes such a string for an interval's.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::{keyword, plain};

/// Puts parentheses around offsets that begin with a string: `ROWS '1' PRECEDING`, `BETWEEN '1 day'::interval PRECEDING AND …`.
pub(super) fn bracket_offsets(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if matches!(token.token, Token::SingleQuotedString(_))
            && begins_offset(&tokens, at)
            && let Some(end) = offset_end(&tokens, at)
        {
            found.push((at, end));
        }
    }
    if found.is_empty() {
        return tokens;
    }
    let mut result = Vec::with_capacity(tokens.len() + 2 * found.len());
    let mut found = found.into_iter().peekable();
    for (at, token) in tokens.into_iter().enumerate() {
        let span = token.span;
        if found.peek().is_some_and(|(start, _)| *start == at) {
            result.push(plain(Token::LParen, span));
        }
        if found.next_if(|(_, end)| *end == at).is_some() {
            result.push(plain(Token::RParen, span));
        }
        result.push(token);
    }
    result
}

/// Whether the first or second offset of a frame may begin there.
fn begins_offset(tokens: &[TokenWithSpan], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|at| tokens.get(at)).map_or(Keyword::NoKeyword, keyword);
    let is_unit = |word| matches!(word, Keyword::ROWS | Keyword::RANGE | Keyword::GROUPS);
    match before(1) {
        Keyword::BETWEEN => is_unit(before(2)),
        Keyword::AND => {
            matches!(before(2), Keyword::PRECEDING | Keyword::FOLLOWING)
                || before(2) == Keyword::ROW && before(3) == Keyword::CURRENT
        }
        word => is_unit(word),
    }
}

/// Where PRECEDING or FOLLOWING ends the offset that begins there; none where something else ends it before.
fn offset_end(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match (&token.token, keyword(token)) {
            (Token::LParen, _) => depth += 1,
            (Token::RParen, _) => depth = depth.checked_sub(1)?,
            (Token::Comma, _) if depth == 0 => return None,
            (Token::SemiColon | Token::EOF, _) => return None,
            (_, Keyword::PRECEDING | Keyword::FOLLOWING) if depth == 0 => return Some(at),
            (_, Keyword::AND | Keyword::OR | Keyword::FROM) if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    #[test]
    fn strings_are_not_taken_for_intervals() {
        for (frame, read) in [
            ("ROWS '1' PRECEDING", "ROWS ('1') PRECEDING"),
            (
                "RANGE BETWEEN '1 day'::INTERVAL PRECEDING AND '2' FOLLOWING",
                "RANGE BETWEEN ('1 day'::INTERVAL) PRECEDING AND ('2') FOLLOWING",
            ),
            ("GROUPS BETWEEN CURRENT ROW AND '1' FOLLOWING", "GROUPS BETWEEN CURRENT ROW AND ('1') FOLLOWING"),
            ("RANGE BETWEEN 1 + 1 PRECEDING AND '1' FOLLOWING", "RANGE BETWEEN 1 + 1 PRECEDING AND ('1') FOLLOWING"),
            ("ROWS INTERVAL '1' PRECEDING", "ROWS INTERVAL '1' PRECEDING"),
        ] {
            let sql = format!("SELECT sum(a) OVER (ORDER BY a {frame}) FROM t");
            let statement = parse(&sql).unwrap().remove(0).sql().unwrap().to_string();
            assert_eq!(statement, format!("SELECT sum(a) OVER (ORDER BY a {read}) FROM t"));
        }
        let sql = "SELECT rows, 'a' AS preceding FROM t WHERE a BETWEEN 'a' AND 'b'";
        assert_eq!(parse(sql).unwrap().remove(0).sql().unwrap().to_string(), sql);
    }
}
