//! Constructs of Postgres that the parser does not know, said in its own language before it reads the tokens.

use std::iter::Peekable;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Whitespace, Word};
use stratos_types::{Error, ErrorKind, Result};

use super::creation::Creation;
use super::grouped_items::grouped;
use super::nested_joins::{Joined, ends_joins, nest_joins};
use super::source::SourceText;
use super::unicode;
use super::words::settle_words;
use crate::dialect::operators;

/// First part of the synthetic name in `FOR UPDATE OF` that carries a lock strength or a list, which the AST has no place for.
pub(crate) const LOCK_MARKER: &str = "\u{1}lock";
/// Text of the synthetic hint comment that carries `OVERRIDING … VALUE`.
pub(crate) const OVERRIDING_MARKER: &str = "\u{1}overriding ";
/// Field name that stands for the star of `(composite).*`.
pub(crate) const STAR_MARKER: &str = "\u{1}star";
/// Beginning of the synthetic column name that carries the predicate of `ON CONFLICT (…) WHERE`.
pub(crate) const PREDICATE_MARKER: &str = "\u{1}where ";
/// Beginning of the synthetic name in a USING list that carries the list's alias.
pub(crate) const JOIN_ALIAS_MARKER: &str = "\u{1}as ";
/// Synthetic first item of GROUP BY that stands for DISTINCT.
pub(crate) const DISTINCT_MARKER: &str = "\u{1}distinct";
/// Name of the relation that a parenthesised VALUES becomes; Postgres's own.
const VALUES_NAME: &str = "*VALUES*";

pub(super) fn keyword(token: &TokenWithSpan) -> Keyword {
    match &token.token {
        Token::Word(w) if w.quote_style.is_none() => w.keyword,
        _ => Keyword::NoKeyword,
    }
}

pub(super) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

pub(super) fn word(value: &str, keyword: Keyword, quoted: bool, span: Span) -> TokenWithSpan {
    TokenWithSpan {
        token: Token::Word(Word { value: value.to_owned(), quote_style: quoted.then_some('"'), keyword }),
        span,
    }
}

pub(super) fn plain(token: Token, span: Span) -> TokenWithSpan {
    TokenWithSpan { token, span }
}

/// Drops white space and comments. String constants with a line break between them are one; without one they may not follow
/// each other.
fn without_space(tokens: Vec<TokenWithSpan>, source: &SourceText) -> Result<Vec<TokenWithSpan>> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut newline = false;
    let follows = |next: Option<&TokenWithSpan>| next.is_some_and(|next| operators::is_operator(&next.token));
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token.token {
            Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. }) => newline = true,
            Token::Whitespace(_) => {}
            Token::SingleQuotedString(_) | Token::Word(Word { quote_style: Some(_), .. })
                if unicode::is_prefix(&out, &token) =>
            {
                newline = skip_space(&mut tokens);
                let escape = match tokens.next_if(|next| is_word(next, "uescape")) {
                    Some(_) => {
                        skip_space(&mut tokens);
                        newline = false;
                        tokens.next()
                    }
                    None => None,
                };
                unicode::join(&mut out, token, escape.as_ref(), source)?;
            }
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
            // The tokenizer ends operators elsewhere than Postgres does.
            first if operators::is_operator(first) && follows(tokens.peek()) => {
                let mut span = token.span;
                while let Some(next) = tokens.next_if(|next| operators::is_operator(&next.token)) {
                    span = Span::new(span.start, next.span.end);
                }
                let run = source.byte_at(span.start).zip(source.byte_at(span.end));
                push_operators(
                    run.and_then(|(start, end)| source.text().get(start..end)).unwrap_or(""),
                    span,
                    &mut out,
                );
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

/// Passes over white space and comments; whether a line has ended there.
fn skip_space(tokens: &mut Peekable<impl Iterator<Item = TokenWithSpan>>) -> bool {
    let mut newline = false;
    while let Some(space) = tokens.next_if(|next| matches!(next.token, Token::Whitespace(_))) {
        newline |= matches!(space.token, Token::Whitespace(Whitespace::Newline | Whitespace::SingleLineComment { .. }));
    }
    newline
}

/// The operators that a text without white space holds, each a token of its own.
fn push_operators(run: &str, span: Span, out: &mut Vec<TokenWithSpan>) {
    let mut at = span.start;
    for (symbol, token) in operators::split(run) {
        let start = at;
        at.column += symbol.len() as u64;
        out.push(plain(token, Span::new(start, at)));
    }
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
pub(super) fn name_length(tokens: &[TokenWithSpan]) -> usize {
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

/// Whether GROUP BY was written last.
fn groups(out: &[TokenWithSpan]) -> bool {
    matches!(out, [.., group, by] if keyword(group) == Keyword::GROUP && keyword(by) == Keyword::BY)
}

pub(super) fn is_end(token: Option<&TokenWithSpan>) -> bool {
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
    /// A SELECT was read, and its FROM.
    select: bool,
    from: bool,
    /// A set operation was read.
    set_operation: bool,
    /// LIMIT, OFFSET or FETCH was read.
    limited: bool,
    /// Locking clauses that stood before LIMIT: the parser wants them behind it.
    locks: Vec<TokenWithSpan>,
    /// Joins whose ON or USING has not come yet.
    joins: Vec<Joined>,
}

/// Says in the parser's language what it does not know: `TABLE t`, `FROM ONLY t`, `x ISNULL`, `ORDER BY x USING >`, `FOR NO KEY UPDATE`,
/// `FOR UPDATE OF a, b`, `FOR UPDATE` before LIMIT, `USING (…) AS x`, joins whose
/// conditions come at the end, `GROUP BY DISTINCT`, `OVERRIDING … VALUE`, `ON CONFLICT (…) WHERE`, `(row).*`, `(VALUES …)` as
/// an expression, a SELECT of nothing, options of sequences in any order, forms of CREATE TABLE, `interval(3) '…'`. Refuses by
/// name what cannot be said.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>, source: &SourceText) -> Result<Vec<TokenWithSpan>> {
    let mut tokens = grouped(settle_words(without_space(tokens, source)?, source)?);
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 8);
    let mut open = vec![Open::default()];
    let mut insert_at: Option<usize> = None;
    let mut creation = Creation::default();
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
        if let Some(used) = creation.step(tokens.get(i..).unwrap_or_default(), first, open.len() - 1, &mut out) {
            i += used;
            continue;
        }
        let next = tokens.get(i + 1);
        let next_keyword = next.map_or(Keyword::NoKeyword, keyword);
        let previous = out.last().map_or(Keyword::NoKeyword, keyword);
        let span = token.span;
        let ends_query = matches!(token.token, Token::RParen | Token::SemiColon | Token::EOF)
            || matches!(keyword(token), Keyword::ON | Keyword::RETURNING);
        if ends_query && let Some(level) = open.last_mut() {
            out.append(&mut level.locks);
        }
        if open.last().is_some_and(|level| !level.joins.is_empty()) && ends_joins(token) {
            return Err(super::parse::near(source, token));
        }
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
                open.push(Open { values, ..Open::default() });
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
                Keyword::FROM => (level.in_from, level.from) = (true, true),
                Keyword::SELECT => {
                    (level.in_from, level.from, level.limited) = (false, false, false);
                    level.select = true;
                }
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => level.set_operation = true,
                Keyword::LIMIT | Keyword::OFFSET | Keyword::FETCH => (level.in_from, level.limited) = (false, true),
                Keyword::WHERE
                | Keyword::ON
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::ORDER
                | Keyword::RETURNING
                | Keyword::SET => level.in_from = false,
                _ => {}
            }
        }
        if let Some(level) = open.last_mut() {
            nest_joins(token, &mut level.joins, &mut out);
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
            // ORDER BY x USING >
            Keyword::USING if matches!(next.map(|t| &t.token), Some(Token::Lt | Token::Gt)) => {
                let descending = matches!(next.map(|t| &t.token), Some(Token::Gt));
                let (order, keyword) = if descending { ("DESC", Keyword::DESC) } else { ("ASC", Keyword::ASC) };
                out.push(word(order, keyword, false, span));
                i += 2;
                continue;
            }
            Keyword::USING if let Some((list, used)) = aliased_using(tokens.get(i..).unwrap_or_default()) => {
                out.extend(list);
                i += used;
                continue;
            }
            // Dropping an index holds up nobody who reads.
            Keyword::CONCURRENTLY if first == Keyword::DROP && previous == Keyword::INDEX => {
                i += 1;
                continue;
            }
            Keyword::INSERT => insert_at = Some(out.len() + 1),
            Keyword::SELECT
                if is_end(next)
                    || next_keyword == Keyword::WHERE
                    || matches!(next.map(|t| &t.token), Some(Token::RParen)) =>
            {
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
                        && !matches!(next.map(|t| &t.token), Some(Token::RParen | Token::Comma))
                    || (matches!(out.last().map(|t| &t.token), Some(Token::RParen))
                        || matches!(
                            previous,
                            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::ALL | Keyword::DISTINCT
                        ))
                        && matches!(next.map(|t| &t.token), Some(Token::Word(_))) =>
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
            // `FROM ONLY (t)`
            Keyword::ONLY if matches!(next.map(|t| &t.token), Some(Token::LParen)) && previous == Keyword::FROM => {
                let close = i + 2 + name_length(tokens.get(i + 2..).unwrap_or_default());
                if close > i + 2 && tokens.get(close).is_some_and(|t| t.token == Token::RParen) {
                    out.extend_from_slice(&tokens[i + 2..close]);
                    i = close + 1;
                    continue;
                }
            }
            Keyword::ALL if groups(&out) => {
                i += 1;
                continue;
            }
            Keyword::DISTINCT if groups(&out) => {
                out.push(word(DISTINCT_MARKER, Keyword::NoKeyword, true, span));
                out.push(plain(Token::Comma, span));
                i += 1;
                continue;
            }
            // `FETCH FIRST (1 + 1) ROWS ONLY`
            Keyword::FETCH
                if matches!(next_keyword, Keyword::FIRST | Keyword::NEXT)
                    && tokens.get(i + 2).is_some_and(|t| t.token == Token::LParen) =>
            {
                out.push(word("LIMIT", Keyword::LIMIT, false, span));
                i += 2;
                continue;
            }
            Keyword::ROW | Keyword::ROWS
                if next_keyword == Keyword::WITH
                    && tokens.get(i + 2).is_some_and(|t| is_word(t, "ties"))
                    && matches!(out.last().map(|t| &t.token), Some(Token::RParen)) =>
            {
                return Err(refuse("WITH TIES behind an expression", token));
            }
            Keyword::ROW | Keyword::ROWS
                if next_keyword == Keyword::ONLY && matches!(out.last().map(|t| &t.token), Some(Token::RParen)) =>
            {
                i += 2;
                continue;
            }
            Keyword::ROWS
                if next_keyword == Keyword::FROM
                    && matches!(tokens.get(i + 2).map(|t| &t.token), Some(Token::LParen))
                    && (matches!(previous, Keyword::FROM | Keyword::JOIN | Keyword::LATERAL)
                        || matches!(out.last().map(|t| &t.token), Some(Token::Comma))) =>
            {
                return Err(refuse("ROWS FROM", token));
            }
            // `interval(3) '1.2345'`
            Keyword::INTERVAL
                if let Some([open, precision, close, value]) = tokens.get(i + 1..i + 5)
                    && open.token == Token::LParen
                    && matches!(precision.token, Token::Number(..))
                    && close.token == Token::RParen
                    && matches!(value.token, Token::SingleQuotedString(_)) =>
            {
                out.push(word("CAST", Keyword::CAST, false, span));
                out.push(plain(Token::LParen, span));
                out.push(value.clone());
                out.push(word("AS", Keyword::AS, false, span));
                out.extend_from_slice(&tokens[i..i + 4]);
                out.push(plain(Token::RParen, span));
                i += 5;
                statement_start = false;
                continue;
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
                let mut locks = Vec::new();
                let mut end = i;
                while let Some(used) = lock_clause(tokens.get(end..).unwrap_or_default(), &mut locks) {
                    end += used;
                }
                if end > i
                    && let Some(level) = open.last_mut()
                {
                    let named = locks.iter().any(|t| keyword(t) == Keyword::OF);
                    let after = tokens.get(end).map_or(Keyword::NoKeyword, keyword);
                    if level.select && !level.from && level.set_operation {
                        return Err(Error::new(
                            ErrorKind::FeatureNotSupported,
                            "FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT",
                        ));
                    } else if level.select && !level.from && !named {
                        // There is no row to lock.
                    } else if !level.limited && matches!(after, Keyword::LIMIT | Keyword::OFFSET | Keyword::FETCH) {
                        level.locks = locks;
                    } else {
                        out.append(&mut locks);
                    }
                    i = end;
                    statement_start = false;
                    continue;
                }
            }
            // The parser wants the word that says from where next to what is trimmed.
            Keyword::FROM
                if matches!(previous, Keyword::BOTH | Keyword::LEADING | Keyword::TRAILING)
                    && out.len() > 1
                    && matches!(out[out.len() - 2].token, Token::LParen) =>
            {
                i += 1;
                continue;
            }
            Keyword::SESSION if previous == Keyword::RESET && next_keyword == Keyword::AUTHORIZATION => {
                out.push(word("session_authorization", Keyword::NoKeyword, false, span));
                i += 2;
                continue;
            }
            Keyword::CONFLICT if matches!(next.map(|t| &t.token), Some(Token::LParen)) => {
                if let Some((target, used)) = conflict_target(&tokens[i..], source) {
                    out.extend(target);
                    i += used;
                    continue;
                }
            }
            _ if is_word(token, "isnull")
                && previous != Keyword::AS
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
            _ => {}
        }
        statement_start = matches!(token.token, Token::SemiColon) || (statement_start && token.token == Token::LParen);
        if token.token == Token::SemiColon {
            insert_at = None;
        }
        out.push(std::mem::replace(&mut tokens[i], plain(Token::EOF, span)));
        i += 1;
    }
    if open.iter().any(|level| !level.joins.is_empty()) {
        return Err(super::parse::at_end(source));
    }
    if let Some(level) = open.last_mut() {
        out.append(&mut level.locks);
    }
    Ok(out)
}

/// `USING (columns) AS name`: the name goes into the list of columns. How many tokens it took.
fn aliased_using(tokens: &[TokenWithSpan]) -> Option<(Vec<TokenWithSpan>, usize)> {
    let close = tokens.iter().position(|t| t.token == Token::RParen)?;
    let columns = tokens.get(2..close)?;
    let names = columns.iter().all(|t| matches!(t.token, Token::Word(_) | Token::Comma));
    let alias = match (&tokens.get(1)?.token, keyword(tokens.get(close + 1)?), tokens.get(close + 2)?) {
        (Token::LParen, Keyword::AS, TokenWithSpan { token: Token::Word(alias), span: _ }) if names => alias,
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

/// `ON CONFLICT (columns) WHERE predicate`: the predicate goes into the list of columns, as one more whose name is the text
/// of the predicate, at its place in the source. How many tokens it took.
fn conflict_target(tokens: &[TokenWithSpan], source: &SourceText) -> Option<(Vec<TokenWithSpan>, usize)> {
    let close = tokens.iter().position(|t| t.token == Token::RParen)?;
    if tokens.get(close + 1).map(keyword) != Some(Keyword::WHERE) {
        return None;
    }
    let mut depth = 0usize;
    let end = (close + 2..tokens.len()).find(|at| {
        match tokens[*at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && keyword(&tokens[*at]) == Keyword::DO
    })?;
    let (start, stop) = (tokens.get(close + 2)?.span, tokens.get(end)?.span.start);
    let text = source.text().get(source.byte_at(start.start)?..source.byte_at(stop)?)?;
    let mut target = tokens.get(..close)?.to_vec();
    target.push(plain(Token::Comma, start));
    target.push(word(&format!("{PREDICATE_MARKER}{text}"), Keyword::NoKeyword, true, start));
    target.push(tokens.get(close)?.clone());
    Some((target, end))
}

/// `FOR NO KEY UPDATE | KEY SHARE | UPDATE | SHARE [OF a, b.c] [NOWAIT | SKIP LOCKED]`, in the parser's language: how many
/// tokens it took.
fn lock_clause(tokens: &[TokenWithSpan], out: &mut Vec<TokenWithSpan>) -> Option<usize> {
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
