//! `FOR UPDATE` and its kin: the parser knows two strengths, and one table behind OF.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::rewrite::{keyword, plain, word};

/// First part of the synthetic name in `FOR UPDATE OF` that carries a lock strength or a list, which the AST has no place for.
pub(crate) const LOCK_MARKER: &str = "\u{1}lock";

/// `FOR NO KEY UPDATE | KEY SHARE | UPDATE | SHARE [OF a, b.c] [NOWAIT | SKIP LOCKED]`, in the parser's language: how many
/// tokens it took.
pub(super) fn lock_clause(tokens: &[TokenWithSpan], out: &mut Vec<TokenWithSpan>) -> Option<usize> {
    let span = tokens.first()?.span;
    let at = |i: usize| tokens.get(i).map_or(Keyword::NoKeyword, keyword);
    if at(0) != Keyword::FOR {
        return None;
    }
    let (strength, mut i) = match (at(1), at(2), at(3)) {
        (Keyword::NO, Keyword::KEY, Keyword::UPDATE) => ("no key update", 4),
        (Keyword::KEY, Keyword::SHARE, _) => ("key share", 3),
        (Keyword::UPDATE, _, _) => ("update", 2),
        (Keyword::SHARE, _, _) => ("share", 2),
        _ => return None,
    };
    let words = i;
    let mut names: Vec<&TokenWithSpan> = Vec::new();
    if at(i) == Keyword::OF {
        i += 1;
        loop {
            let name = tokens.get(i)?;
            if !matches!(name.token, Token::Word(_)) {
                return None;
            }
            names.push(name);
            i += 1;
            if matches!(tokens.get(i).map(|t| &t.token), Some(Token::Comma)) {
                i += 1;
            } else if matches!(tokens.get(i).map(|t| &t.token), Some(Token::Period)) {
                return None;
            } else {
                break;
            }
        }
    }
    let waits = match (at(i), at(i + 1)) {
        (Keyword::NOWAIT, _) => 1,
        (Keyword::SKIP, Keyword::LOCKED) => 2,
        _ => 0,
    };
    if names.len() < 2 && matches!(strength, "update" | "share") {
        out.extend_from_slice(tokens.get(..words)?);
        if let Some(name) = names.first() {
            out.push(word("OF", Keyword::OF, false, span));
            out.push((*name).clone());
        }
    } else {
        out.push(tokens.first()?.clone());
        out.push(word("UPDATE", Keyword::UPDATE, false, span));
        out.push(word("OF", Keyword::OF, false, span));
        out.push(word(LOCK_MARKER, Keyword::NoKeyword, true, span));
        out.push(plain(Token::Period, span));
        out.push(word(strength, Keyword::NoKeyword, true, span));
        for name in names {
            out.push(plain(Token::Period, span));
            out.push(name.clone());
        }
    }
    out.extend_from_slice(tokens.get(i..i + waits)?);
    Some(i + waits)
}
