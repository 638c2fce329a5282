//! Constructs of Postgres that the parser does not know, said in its own language before it reads the tokens.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Whitespace, Word};
use stratos_types::{Error, Result};

use super::source::SourceText;

/// First part of the synthetic name in `FOR UPDATE OF` that carries a lock strength or a list, which the AST has no place for.
pub(crate) const LOCK_MARKER: &str = "\u{1}lock";
/// Text of the synthetic hint comment that carries `OVERRIDING … VALUE`.
pub(crate) const OVERRIDING_MARKER: &str = "\u{1}overriding ";
/// Field name that stands for the star of `(composite).*`.
pub(crate) const STAR_MARKER: &str = "\u{1}star";
/// Name of the relation that a parenthesised VALUES becomes; Postgres's own.
const VALUES_NAME: &str = "*VALUES*";

fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(w) if w.quote_style.is_none() => w.keyword,
        _ => Keyword::NoKeyword,
    }
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

fn word(value: &str, keyword: Keyword, quoted: bool, span: Span) -> TokenWithSpan {
    TokenWithSpan {
        token: Token::Word(Word { value: value.to_owned(), quote_style: quoted.then_some('"'), keyword }),
        span,
    }
}

fn plain(token: Token, span: Span) -> TokenWithSpan {
    TokenWithSpan { token, span }
}

/// Drops white space and comments. String constants with a line break between them are one; without one they may not follow
/// each other.
fn without_space(tokens: Vec<TokenWithSpan>, source: &SourceText) -> Result<Vec<TokenWithSpan>> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut newline = false;
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. }) => newline = true,
            Token::Whitespace(_) => {}
            Token::SingleQuotedString(more) => {
                let continued = match out.last_mut().map(|t| &mut t.token) {
                    Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => Some(text),
                    _ => None,
                };
                match continued {
                    Some(text) if newline => text.push_str(more),
                    Some(_) => return Err(super::parse::near(source, &token)),
                    None => out.push(token),
                }
                newline = false;
            }
            _ => {
                out.push(token);
                newline = false;
            }
        }
    }
    Ok(out)
}

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
fn sequence_options(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
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

/// How many tokens from the first one on are a dotted name.
fn name_length(tokens: &[TokenWithSpan]) -> usize {
    let mut length = 0;
    while matches!(tokens.get(length).map(|t| &t.token), Some(Token::Word(_))) {
        length += 1;
        if !matches!(tokens.get(length).map(|t| &t.token), Some(Token::Period)) {
            break;
        }
        length += 1;
    }
    length
}

fn is_end(token: Option<&TokenWithSpan>) -> bool {
    matches!(token.map(|t| &t.token), None | Some(Token::SemiColon | Token::EOF))
}

/// Whether `(VALUES …)` may stand as a relation after this token; elsewhere it is an expression, which the parser does not
/// know.
fn values_is_relation(previous: Option<&TokenWithSpan>, in_from: bool) -> bool {
    let Some(previous) = previous else { return true };
    match &previous.token {
        Token::Comma | Token::LParen => in_from,
        Token::SemiColon => true,
        _ => matches!(
            keyword(previous),
            Keyword::FROM
                | Keyword::JOIN
                | Keyword::LATERAL
                | Keyword::USING
                | Keyword::AS
                | Keyword::MATERIALIZED
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::ALL
                | Keyword::DISTINCT
                | Keyword::INTO
        ),
    }
}

/// What is open at one level of parentheses.
#[derive(Default)]
struct Open {
    /// A FROM list is being read.
    in_from: bool,
    /// The parenthesis closes a `(VALUES …)` that was made a relation.
    values: bool,
}

/// Says in the parser's language what it does not know: `TABLE t`, `FROM ONLY t`, `x ISNULL`, `FOR NO KEY UPDATE`,
/// `FOR UPDATE OF a, b`, `OVERRIDING … VALUE`, `(row).*`, `(VALUES …)` as an expression, a SELECT of nothing, options of
/// sequences in any order. Refuses by name what cannot be said.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>, source: &SourceText) -> Result<Vec<TokenWithSpan>> {
    let tokens = without_space(tokens, source)?;
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 8);
    let mut open = vec![Open::default()];
    let mut insert_at: Option<usize> = None;
    let mut statement_start = true;
    let mut first = Keyword::NoKeyword;
    let mut i = 0;
    let refuse = |what: &str, token: &TokenWithSpan| {
        let e = Error::unsupported(what);
        match source.position(token.span) {
            Some(p) => e.at(p),
            None => e,
        }
    };
    while let Some(token) = tokens.get(i) {
        let next = tokens.get(i + 1);
        let next_keyword = next.map_or(Keyword::NoKeyword, keyword);
        let previous = out.last().map_or(Keyword::NoKeyword, keyword);
        let span = token.span;
        match &token.token {
            Token::LParen if next_keyword == Keyword::VALUES => {
                let in_from = open.last().is_some_and(|o| o.in_from);
                let values = !statement_start && !values_is_relation(out.last(), in_from);
                if values {
                    out.push(token.clone());
                    out.push(word("SELECT", Keyword::SELECT, false, span));
                    out.push(plain(Token::Mul, span));
                    out.push(word("FROM", Keyword::FROM, false, span));
                }
                open.push(Open { in_from: false, values });
            }
            Token::LParen => open.push(Open::default()),
            Token::RParen => {
                if open.len() > 1 && open.pop().is_some_and(|o| o.values) {
                    out.push(token.clone());
                    out.push(word("AS", Keyword::AS, false, span));
                    out.push(word(VALUES_NAME, Keyword::NoKeyword, true, span));
                }
                if let (Some(Token::Period), Some(Token::Mul)) =
                    (next.map(|t| &t.token), tokens.get(i + 2).map(|t| &t.token))
                {
                    out.push(token.clone());
                    out.push(plain(Token::Period, span));
                    out.push(word(STAR_MARKER, Keyword::NoKeyword, true, span));
                    i += 3;
                    continue;
                }
            }
            Token::SemiColon => open = vec![Open::default()],
            _ => {}
        }
        if let Some(level) = open.last_mut() {
            match keyword(token) {
                Keyword::FROM => level.in_from = true,
                Keyword::SELECT
                | Keyword::WHERE
                | Keyword::ON
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::ORDER
                | Keyword::LIMIT
                | Keyword::OFFSET
                | Keyword::RETURNING
                | Keyword::SET => level.in_from = false,
                _ => {}
            }
        }
        if statement_start {
            first = keyword(token);
        }
        match keyword(token) {
            _ if statement_start && is_word(token, "abort") => {
                out.push(word("ROLLBACK", Keyword::ROLLBACK, false, span));
                i += 1;
                statement_start = false;
                continue;
            }
            // A read-only transaction never fails to serialize here, and waits for nothing at its start: it is what
            // DEFERRABLE asks for.
            Keyword::DEFERRABLE if matches!(first, Keyword::BEGIN | Keyword::START | Keyword::SET) => {
                if previous == Keyword::NOT {
                    out.pop();
                }
                if matches!(out.last().map(|t| &t.token), Some(Token::Comma)) {
                    out.pop();
                }
                i += 1;
                continue;
            }
            // Dropping an index holds up nobody who reads.
            Keyword::CONCURRENTLY if first == Keyword::DROP && previous == Keyword::INDEX => {
                i += 1;
                continue;
            }
            Keyword::INSERT => insert_at = Some(out.len() + 1),
            Keyword::SELECT if is_end(next) || matches!(next.map(|t| &t.token), Some(Token::RParen)) => {
                // One row without columns.
                for token in [
                    token.clone(),
                    word("FROM", Keyword::FROM, false, span),
                    plain(Token::LParen, span),
                    word("VALUES", Keyword::VALUES, false, span),
                    plain(Token::LParen, span),
                    plain(Token::Number("1".to_owned(), false), span),
                    plain(Token::RParen, span),
                    plain(Token::RParen, span),
                    word("AS", Keyword::AS, false, span),
                    word(VALUES_NAME, Keyword::NoKeyword, true, span),
                ] {
                    out.push(token);
                }
                i += 1;
                statement_start = false;
                continue;
            }
            Keyword::SEQUENCE
                if matches!(previous, Keyword::CREATE | Keyword::TEMP | Keyword::TEMPORARY | Keyword::UNLOGGED) =>
            {
                let exists = [Keyword::IF, Keyword::NOT, Keyword::EXISTS];
                let has_exists =
                    exists.iter().enumerate().all(|(n, word)| tokens.get(i + 1 + n).map(keyword) == Some(*word));
                let name = i + 1 + if has_exists { exists.len() } else { 0 };
                let options = (name + name_length(tokens.get(name..).unwrap_or_default())).min(tokens.len());
                let end = (options..tokens.len()).find(|at| is_end(tokens.get(*at))).unwrap_or(tokens.len());
                out.extend_from_slice(&tokens[i..options]);
                out.extend(sequence_options(&tokens[options..end]));
                i = end;
                statement_start = false;
                continue;
            }
            Keyword::IDENTITY if previous == Keyword::AS && matches!(next.map(|t| &t.token), Some(Token::LParen)) => {
                let end = (i..tokens.len()).find(|at| tokens[*at].token == Token::RParen).unwrap_or(tokens.len());
                out.extend_from_slice(&tokens[i..i + 2]);
                out.extend(sequence_options(&tokens[i + 2..end]));
                open.push(Open::default());
                i = end;
                statement_start = false;
                continue;
            }
            Keyword::TABLE
                if statement_start
                    || matches!(out.last().map(|t| &t.token), Some(Token::LParen))
                        && !matches!(next.map(|t| &t.token), Some(Token::RParen | Token::Comma)) =>
            {
                out.push(word("SELECT", Keyword::SELECT, false, span));
                out.push(plain(Token::Mul, span));
                out.push(word("FROM", Keyword::FROM, false, span));
                i += 1;
                statement_start = false;
                continue;
            }
            Keyword::ONLY
                if matches!(next.map(|t| &t.token), Some(Token::Word(_)))
                    && (matches!(previous, Keyword::FROM | Keyword::JOIN | Keyword::UPDATE | Keyword::USING)
                        || matches!(out.last().map(|t| &t.token), Some(Token::Comma))) =>
            {
                i += 1;
                continue;
            }
            Keyword::ROWS if previous != Keyword::NoKeyword && next_keyword == Keyword::FROM => {
                return Err(refuse("ROWS FROM", token));
            }
            Keyword::VARIADIC if matches!(out.last().map(|t| &t.token), Some(Token::LParen | Token::Comma)) => {
                return Err(refuse("VARIADIC argument", token));
            }
            Keyword::EXCLUDE
                if next.is_some_and(|t| is_word(t, "ties") || is_word(t, "group") || is_word(t, "current"))
                    && matches!(previous, Keyword::ROW | Keyword::PRECEDING | Keyword::FOLLOWING) =>
            {
                return Err(refuse("EXCLUDE in a window frame", token));
            }
            _ if is_word(token, "overriding") && insert_at.is_some() => {
                let kind = next.map(|t| if is_word(t, "system") { "system" } else { "user" });
                let value = tokens.get(i + 2).is_some_and(|t| is_word(t, "value"));
                if let (Some(kind), Some(at), true) = (kind, insert_at, value) {
                    let hint = Token::Whitespace(Whitespace::MultiLineComment(format!("+{OVERRIDING_MARKER}{kind}")));
                    out.insert(at, plain(hint, Span::empty()));
                    i += 3;
                    continue;
                }
            }
            Keyword::FOR => {
                if let Some(used) = lock_clause(&tokens[i..], &mut out) {
                    i += used;
                    continue;
                }
            }
            _ if is_word(token, "isnull")
                && !matches!(
                    out.last().map(|t| &t.token),
                    None | Some(Token::Period | Token::LParen | Token::Comma)
                ) =>
            {
                out.push(word("IS", Keyword::IS, false, span));
                out.push(word("NULL", Keyword::NULL, false, span));
                i += 1;
                continue;
            }
            _ if is_word(token, "symmetric") && previous == Keyword::BETWEEN => {
                // The parser has no place for it; a prefix operator that nobody else uses marks the lower bound.
                out.push(plain(Token::AtDashAt, span));
                i += 1;
                continue;
            }
            _ if is_word(token, "asymmetric") && previous == Keyword::BETWEEN => {
                i += 1;
                continue;
            }
            _ => {}
        }
        statement_start = matches!(token.token, Token::SemiColon) || (statement_start && token.token == Token::LParen);
        if token.token == Token::SemiColon {
            insert_at = None;
        }
        out.push(token.clone());
        i += 1;
    }
    Ok(out)
}

/// `FOR NO KEY UPDATE | KEY SHARE | UPDATE | SHARE [OF a, b.c]` where the parser would not do: how many tokens it took.
fn lock_clause(tokens: &[TokenWithSpan], out: &mut Vec<TokenWithSpan>) -> Option<usize> {
    let span = tokens.first()?.span;
    let at = |i: usize| tokens.get(i).map_or(Keyword::NoKeyword, keyword);
    let (strength, mut i) = match (at(1), at(2), at(3)) {
        (Keyword::NO, Keyword::KEY, Keyword::UPDATE) => ("no key update", 4),
        (Keyword::KEY, Keyword::SHARE, _) => ("key share", 3),
        (Keyword::UPDATE, _, _) => ("update", 2),
        (Keyword::SHARE, _, _) => ("share", 2),
        _ => return None,
    };
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
            } else {
                break;
            }
        }
    }
    if names.len() < 2 && matches!(strength, "update" | "share") {
        return None;
    }
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
    Some(i)
}
