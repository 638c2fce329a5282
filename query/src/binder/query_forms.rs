//! Parts of queries in words that the parser does not know, or not in that order.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};
use stratos_types::{Error, ErrorKind, Result};

use super::lock_clauses::lock_clause;
use super::rewrite::{
    Ahead, DISTINCT_MARKER, JOIN_ALIAS_MARKER, Rewriting, TIES_MARKER, VALUES_NAME, is_end, is_word, keyword, list_end,
    name_length, plain, word,
};

/// Says it in the parser's language: how many tokens that took, if it is one of these.
pub(super) fn query_form(at: &mut Rewriting<'_>, ahead: Ahead<'_>) -> Result<Option<usize>> {
    let token = ahead.token();
    let span = token.span;
    let (previous, next) = (at.previous(), ahead.keyword(1));
    Ok(match keyword(token) {
        Keyword::SELECT if is_end(ahead.get(1)) || next == Keyword::WHERE || ahead.is(1, &Token::RParen) => {
            // One row without columns.
            at.out.push(token.clone());
            at.say(&[Keyword::FROM], span);
            at.put(Token::LParen, span);
            at.say(&[Keyword::VALUES], span);
            at.put(Token::LParen, span);
            at.put(Token::Number("1".to_owned(), false), span);
            at.put(Token::RParen, span);
            at.put(Token::RParen, span);
            at.say(&[Keyword::AS], span);
            at.out.push(word(VALUES_NAME, Keyword::NoKeyword, true, span));
            Some(1)
        }
        Keyword::TABLE if table_is_query(at, ahead) => {
            at.select_star_from(span);
            Some(1)
        }
        // ORDER BY x USING >
        Keyword::USING if ahead.is(1, &Token::Gt) => {
            at.say(&[Keyword::DESC], span);
            Some(2)
        }
        Keyword::USING if ahead.is(1, &Token::Lt) => {
            at.say(&[Keyword::ASC], span);
            Some(2)
        }
        Keyword::USING => aliased_using(ahead.from(0)).map(|(list, used)| {
            at.out.extend(list);
            used
        }),
        Keyword::ONLY
            if matches!(ahead.get(1).map(|t| &t.token), Some(Token::Word(_)))
                && (matches!(previous, Keyword::FROM | Keyword::JOIN | Keyword::UPDATE | Keyword::USING)
                    || at.is_behind(&[Token::Comma])) =>
        {
            Some(1)
        }
        // `FROM ONLY (t)`
        Keyword::ONLY if ahead.is(1, &Token::LParen) && previous == Keyword::FROM => {
            let close = 2 + name_length(ahead.from(2));
            (close > 2 && ahead.is(close, &Token::RParen)).then(|| {
                at.out.extend_from_slice(&ahead.to(close)[2..]);
                close + 1
            })
        }
        Keyword::ALL if groups(&at.out) => Some(1),
        Keyword::DISTINCT if groups(&at.out) => {
            at.out.push(word(DISTINCT_MARKER, Keyword::NoKeyword, true, span));
            at.put(Token::Comma, span);
            Some(1)
        }
        // `FETCH FIRST (1 + 1) ROWS ONLY`
        Keyword::FETCH if matches!(next, Keyword::FIRST | Keyword::NEXT) && ahead.is(2, &Token::LParen) => {
            at.say(&[Keyword::LIMIT], span);
            Some(2)
        }
        Keyword::ROW | Keyword::ROWS
            if next == Keyword::WITH
                && ahead.get(2).is_some_and(|t| is_word(t, "ties"))
                && at.is_behind(&[Token::RParen]) =>
        {
            // The count was made one of LIMIT: what stands before its parenthesis says that there may be more rows.
            let Some(opens) = opening(&at.out) else { return Err(super::parse::near(at.source, token)) };
            let call = [word(TIES_MARKER, Keyword::NoKeyword, true, span), plain(Token::LParen, span)];
            at.out.splice(opens..opens, call);
            at.put(Token::RParen, span);
            Some(3)
        }
        Keyword::ROW | Keyword::ROWS if next == Keyword::ONLY && at.is_behind(&[Token::RParen]) => Some(2),
        Keyword::ROWS
            if next == Keyword::FROM
                && ahead.is(2, &Token::LParen)
                && (matches!(previous, Keyword::FROM | Keyword::JOIN | Keyword::LATERAL)
                    || at.is_behind(&[Token::Comma])) =>
        {
            return Err(at.refuse("ROWS FROM", token));
        }
        Keyword::FOR => locks(at, ahead)?,
        _ => None,
    })
}

/// Whether `TABLE` begins a query.
fn table_is_query(at: &Rewriting<'_>, ahead: Ahead<'_>) -> bool {
    if at.starts {
        return true;
    }
    if at.is_behind(&[Token::LParen]) {
        return !ahead.is(1, &Token::RParen) && !ahead.is(1, &Token::Comma);
    }
    let previous = at.previous();
    let may_begin = at.is_behind(&[Token::RParen])
        || matches!(
            previous,
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::ALL | Keyword::DISTINCT | Keyword::AS
        )
        || at.insert_at.is_some() && previous != Keyword::ON
        || at.first == Keyword::EXPLAIN && matches!(previous, Keyword::EXPLAIN | Keyword::ANALYZE | Keyword::VERBOSE)
        || at.first == Keyword::DECLARE && previous == Keyword::FOR;
    may_begin && matches!(ahead.get(1).map(|t| &t.token), Some(Token::Word(_)))
}

/// Locking clauses, of which the parser wants one behind LIMIT.
fn locks(at: &mut Rewriting<'_>, ahead: Ahead<'_>) -> Result<Option<usize>> {
    let mut locks = Vec::new();
    let mut end = 0;
    while let Some(used) = lock_clause(ahead.from(end), &mut locks) {
        end += used;
    }
    if end == 0 {
        return Ok(None);
    }
    let named = locks.iter().any(|t| keyword(t) == Keyword::OF);
    let level = at.level();
    if level.select && !level.from && level.set_operation {
        return Err(Error::new(
            ErrorKind::FeatureNotSupported,
            "FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT",
        ));
    } else if level.select && !level.from && !named {
        // There is no row to lock.
    } else if !level.limited && matches!(ahead.keyword(end), Keyword::LIMIT | Keyword::OFFSET | Keyword::FETCH) {
        level.locks = locks;
    } else {
        at.out.append(&mut locks);
    }
    Ok(Some(end))
}

/// Whether GROUP BY was written last.
fn groups(out: &[TokenWithSpan]) -> bool {
    matches!(out, [.., group, by] if keyword(group) == Keyword::GROUP && keyword(by) == Keyword::BY)
}

/// Where the parenthesis was opened that was closed last.
pub(super) fn opening(out: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in out.iter().enumerate().rev() {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 1 => return Some(at),
            Token::LParen => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// `USING (columns) AS name`: the name goes into the list of columns. How many tokens it took.
fn aliased_using(tokens: &[TokenWithSpan]) -> Option<(Vec<TokenWithSpan>, usize)> {
    if tokens.get(1)?.token != Token::LParen {
        return None;
    }
    let close = 2 + list_end(tokens.get(2..)?)?;
    let alias = match (keyword(tokens.get(close + 1)?), &tokens.get(close + 2)?.token) {
        (Keyword::AS, Token::Word(alias)) => alias,
        _ => return None,
    };
    let name = if alias.quote_style.is_some() { alias.value.clone() } else { alias.value.to_ascii_lowercase() };
    let span = tokens[close + 2].span;
    let mut list = tokens[..close].to_vec();
    list.push(plain(Token::Comma, span));
    list.push(word(&format!("{JOIN_ALIAS_MARKER}{name}"), Keyword::NoKeyword, true, span));
    list.push(tokens[close].clone());
    Some((list, close + 3))
}
