//! Constructs of Postgres that the parser does not know, said in its own language before it reads the tokens.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Whitespace, Word};
use stratos_types::{Error, ErrorKind, Result};

use super::creation::Creation;
use super::elements::name_elements;
use super::frames::bracket_offsets;
use super::grouped_items::grouped;
use super::lock_clauses::lock_clause;
use super::nested_joins::{Joined, ends_joins, nest_joins};
use super::relations::{EXPRESSION_MARKER, Relations};
use super::sequence_options::sequence_options;
use super::source::SourceText;
use super::spaces::without_space;
use super::tablespace::settle_tablespaces;
use super::words::settle_words;

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
/// Name of the synthetic function that `FETCH FIRST (…) ROWS WITH TIES` makes of its count.
pub(crate) const TIES_MARKER: &str = "\u{1}ties";
/// Reserved words that are values without parentheses, and never with.
const NEVER_CALLED: &[&str] = &["current_catalog", "current_date", "current_role", "current_user", "session_user"];
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

/// Where a list of names, behind the parenthesis that opens it, is closed; none if something else stands in it.
pub(super) fn list_end(tokens: &[TokenWithSpan]) -> Option<usize> {
    let close = tokens.iter().position(|t| !matches!(t.token, Token::Word(_) | Token::Comma))?;
    (tokens[close].token == Token::RParen).then_some(close)
}

/// Whether GROUP BY was written last.
fn groups(out: &[TokenWithSpan]) -> bool {
    matches!(out, [.., group, by] if keyword(group) == Keyword::GROUP && keyword(by) == Keyword::BY)
}

/// Where the parenthesis was opened that was closed last.
fn opening(out: &[TokenWithSpan]) -> Option<usize> {
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

/// Whether an expression goes on with this token.
fn goes_on(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::DoubleColon)
        || crate::dialect::operators::is_operator(&token.token)
        || matches!(
            keyword(token),
            Keyword::IS | Keyword::NOTNULL | Keyword::NOT | Keyword::IN | Keyword::BETWEEN | Keyword::AND | Keyword::OR
        )
        || is_word(token, "isnull")
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
    /// The FROM list.
    relations: Relations,
    /// The parenthesis closes an expression that was made a relation.
    expression: bool,
    /// These are the arguments of SUBSTRING; SIMILAR and ESCAPE were read.
    substring: bool,
    similar: bool,
    escaped: bool,
}

/// Says in the parser's language what it does not know: `TABLE t`, `FROM ONLY t`, `x ISNULL`, `ORDER BY x USING >`, `FOR NO KEY UPDATE`,
/// `FOR UPDATE OF a, b`, `FOR UPDATE` before LIMIT, `USING (…) AS x`, joins whose
/// conditions come at the end, `GROUP BY DISTINCT`, `OVERRIDING … VALUE`, `ON CONFLICT (…) WHERE`, `(row).*`, `(VALUES …)` as
/// an expression, a SELECT of nothing, options of sequences in any order, forms of CREATE TABLE, `interval(3) '…'`. Refuses by
/// name what cannot be said.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>, source: &SourceText) -> Result<Vec<TokenWithSpan>> {
    let tokens = settle_tablespaces(settle_words(without_space(tokens, source)?, source)?)?;
    let mut tokens = bracket_offsets(grouped(name_elements(tokens, source)));
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 8);
    let mut open = vec![Open::default()];
    let mut insert_at: Option<usize> = None;
    let mut creation = Creation::default();
    let mut statement_start = true;
    let mut expression = false;
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
            // `t.*` as a value: something is done with it.
            Token::Mul if matches!(out.last().map(|t| &t.token), Some(Token::Period)) && next.is_some_and(goes_on) => {
                out.push(word(STAR_MARKER, Keyword::NoKeyword, true, span));
                i += 1;
                continue;
            }
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
            Token::LParen => {
                let (expression, substring) = (std::mem::take(&mut expression), previous == Keyword::SUBSTRING);
                open.push(Open { expression, substring, ..Open::default() });
            }
            Token::RParen => {
                let closed = if open.len() > 1 { open.pop() } else { None };
                match closed {
                    Some(Open { values: true, .. }) => {
                        out.push(token.clone());
                        out.push(word("AS", Keyword::AS, false, span));
                        out.push(word(VALUES_NAME, Keyword::NoKeyword, true, span));
                    }
                    Some(Open { expression: true, .. }) => out.push(token.clone()),
                    Some(Open { similar: true, escaped: false, .. }) => {
                        return Err(super::parse::near(source, token));
                    }
                    _ => {}
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
        // In parentheses without a SELECT it is EXTRACT's and its kin's.
        let changes = first == Keyword::UPDATE && open.len() == 1;
        let lists = changes || open.last().is_some_and(|level| level.select);
        if let Some(level) = open.last_mut() {
            level.relations.step(token, &out, lists);
            nest_joins(token, &mut level.joins, &mut out);
        }
        if statement_start {
            first = keyword(token);
        }
        if let Some(called) = open.last().and_then(|level| level.relations.expression(token, next, &out)) {
            out.push(word(EXPRESSION_MARKER, Keyword::NoKeyword, true, span));
            out.push(plain(Token::LParen, span));
            out.push(token.clone());
            if !called {
                out.push(plain(Token::RParen, span));
            }
            (expression, statement_start) = (called, false);
            i += 1;
            continue;
        }
        if NEVER_CALLED.iter().any(|word| is_word(token, word))
            && !matches!(out.last().map(|t| &t.token), Some(Token::Period))
            && let Some(bracket) = next.filter(|t| t.token == Token::LParen)
        {
            return Err(super::parse::near(source, bracket));
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
                let comma = |token: Option<&TokenWithSpan>| matches!(token.map(|t| &t.token), Some(Token::Comma));
                if comma(out.last()) {
                    out.pop();
                } else if comma(next) {
                    i += 1;
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
            // ALTER ROLE … CONNECTION LIMIT -1: the parser knows only numbers without a sign there.
            Keyword::LIMIT
                if first == Keyword::ALTER
                    && previous == Keyword::CONNECTION
                    && matches!(next.map(|t| &t.token), Some(Token::Minus)) =>
            {
                if let Some(Token::Number(digits, _)) = tokens.get(i + 2).map(|t| &t.token) {
                    out.push(token.clone());
                    out.push(plain(Token::Number(format!("-{digits}"), false), span));
                    i += 3;
                    continue;
                }
            }
            // A query in parentheses, which the parser would take for options: options stand before it that change nothing.
            Keyword::EXPLAIN
                if statement_start
                    && next.is_some_and(|t| t.token == Token::LParen)
                    && tokens.get(i + 2).is_some_and(|t| {
                        t.token == Token::LParen
                            || matches!(keyword(t), Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE)
                    }) =>
            {
                out.push(token.clone());
                out.push(plain(Token::LParen, span));
                out.push(word("verbose", Keyword::VERBOSE, false, span));
                out.push(word("false", Keyword::FALSE, false, span));
                out.push(plain(Token::RParen, span));
                i += 1;
                statement_start = false;
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
                            Keyword::UNION
                                | Keyword::EXCEPT
                                | Keyword::INTERSECT
                                | Keyword::ALL
                                | Keyword::DISTINCT
                                | Keyword::AS
                        )
                        || insert_at.is_some() && previous != Keyword::ON
                        || first == Keyword::EXPLAIN
                            && matches!(previous, Keyword::EXPLAIN | Keyword::ANALYZE | Keyword::VERBOSE)
                        || first == Keyword::DECLARE && previous == Keyword::FOR)
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
                // The count was made one of LIMIT: what stands before its parenthesis says that there may be more rows.
                let Some(at) = opening(&out) else { return Err(super::parse::near(source, token)) };
                out.splice(at..at, [word(TIES_MARKER, Keyword::NoKeyword, true, span), plain(Token::LParen, span)]);
                out.push(plain(Token::RParen, span));
                i += 3;
                continue;
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
            // The SQL standard's way to call what `substring(text FROM pattern FOR escape)` calls, too.
            Keyword::SIMILAR if next_keyword != Keyword::TO && open.last().is_some_and(|o| o.substring) => {
                if let Some(level) = open.last_mut() {
                    level.similar = true;
                }
                out.push(word("FROM", Keyword::FROM, false, span));
                i += 1;
                continue;
            }
            Keyword::ESCAPE if open.last().is_some_and(|o| o.similar) => {
                if let Some(level) = open.last_mut() {
                    level.escaped = true;
                }
                if let Some(end) = next.filter(|t| t.token == Token::RParen) {
                    return Err(super::parse::near(source, end));
                }
                out.push(word("FOR", Keyword::FOR, false, span));
                i += 1;
                continue;
            }
            Keyword::VARIADIC if matches!(out.last().map(|t| &t.token), Some(Token::LParen | Token::Comma)) => {
                return Err(refuse("VARIADIC argument", token));
            }
            // What a frame does that says nothing of it.
            Keyword::EXCLUDE
                if next.is_some_and(|t| is_word(t, "no"))
                    && tokens.get(i + 2).is_some_and(|t| is_word(t, "others"))
                    && matches!(previous, Keyword::ROW | Keyword::PRECEDING | Keyword::FOLLOWING) =>
            {
                i += 3;
                continue;
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
            Keyword::CONFLICT if previous == Keyword::ON && matches!(next.map(|t| &t.token), Some(Token::LParen)) => {
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

/// `ON CONFLICT (columns) WHERE predicate`: the predicate goes into the list of columns, as one more whose name is the text
/// of the predicate, at its place in the source. How many tokens it took.
fn conflict_target(tokens: &[TokenWithSpan], source: &SourceText) -> Option<(Vec<TokenWithSpan>, usize)> {
    let close = tokens.iter().position(|t| t.token == Token::RParen)?;
    if tokens.get(close + 1).map(keyword) != Some(Keyword::WHERE) {
        return None;
    }
    let mut depth = 0usize;
    let mut end = close + 2;
    loop {
        let token = tokens.get(end)?;
        match (&token.token, keyword(token)) {
            (Token::LParen, _) => depth += 1,
            (Token::RParen, _) => depth = depth.saturating_sub(1),
            (_, Keyword::DO) if depth == 0 => break,
            // Another one begins: this one has no end.
            (Token::SemiColon, _) => return None,
            (_, Keyword::ON) if tokens.get(end + 1).map(keyword) == Some(Keyword::CONFLICT) => return None,
            _ => {}
        }
        end += 1;
    }
    let (start, stop) = (tokens.get(close + 2)?.span, tokens.get(end)?.span.start);
    let text = source.text().get(source.byte_at(start.start)?..source.byte_at(stop)?)?;
    let mut target = tokens.get(..close)?.to_vec();
    target.push(plain(Token::Comma, start));
    target.push(word(&format!("{PREDICATE_MARKER}{text}"), Keyword::NoKeyword, true, start));
    target.push(tokens.get(close)?.clone());
    Some((target, end))
}
