//! Statements in words that the parser does not know, or not in that order.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Whitespace};
use stratos_types::Result;

use super::query_forms::opening;
use super::rewrite::{
    Ahead, INDEXED_MARKER, OVERRIDING_MARKER, PREDICATE_MARKER, Rewriting, is_end, is_word, keyword, name_length,
    plain, word,
};
use super::sequence_options::sequence_options;
use super::source::SourceText;

/// Says it in the parser's language: how many tokens that took, if it is one of these.
pub(super) fn statement_form(at: &mut Rewriting<'_>, ahead: Ahead<'_>) -> Result<Option<usize>> {
    let token = ahead.token();
    let span = token.span;
    let (previous, next) = (at.previous(), ahead.keyword(1));
    Ok(match keyword(token) {
        _ if at.starts && is_word(token, "abort") => {
            at.say(&[Keyword::ROLLBACK], span);
            Some(1)
        }
        // A read-only transaction never fails to serialize here, and waits for nothing at its start: it is what
        // DEFERRABLE asks for.
        Keyword::DEFERRABLE if matches!(at.first, Keyword::BEGIN | Keyword::START | Keyword::SET) => {
            if previous == Keyword::NOT {
                at.out.pop();
            }
            if at.is_behind(&[Token::Comma]) {
                at.out.pop();
                return Ok(Some(1));
            }
            Some(if ahead.is(1, &Token::Comma) { 2 } else { 1 })
        }
        // SET SCHEMA 'x'
        Keyword::SCHEMA
            if at.first == Keyword::SET
                && matches!(previous, Keyword::SET | Keyword::LOCAL | Keyword::SESSION)
                && matches!(
                    ahead.get(1).map(|t| &t.token),
                    Some(Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_))
                ) =>
        {
            at.out.push(word("search_path", Keyword::NoKeyword, false, span));
            at.say(&[Keyword::TO], span);
            Some(1)
        }
        // A key's WITH: the parser knows that of tables and of CREATE INDEX.
        Keyword::WITH
            if matches!(at.first, Keyword::CREATE | Keyword::ALTER)
                && ahead.is(1, &Token::LParen)
                && is_behind_key(&at.out) =>
        {
            fill_factor(at, ahead)?
        }
        // Dropping an index holds up nobody who reads.
        Keyword::CONCURRENTLY if at.first == Keyword::DROP && previous == Keyword::INDEX => Some(1),
        // ALTER ROLE … CONNECTION LIMIT -1: the parser knows only numbers without a sign there.
        Keyword::LIMIT
            if at.first == Keyword::ALTER
                && previous == Keyword::CONNECTION
                && ahead.is(1, &Token::Minus)
                && let Some(Token::Number(digits, _)) = ahead.get(2).map(|t| &t.token) =>
        {
            at.out.push(token.clone());
            at.put(Token::Number(format!("-{digits}"), false), span);
            Some(3)
        }
        // A query in parentheses, which the parser would take for options: options stand before it that change nothing.
        Keyword::EXPLAIN
            if at.starts
                && ahead.is(1, &Token::LParen)
                && (ahead.is(2, &Token::LParen)
                    || matches!(
                        ahead.keyword(2),
                        Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE
                    )) =>
        {
            at.out.push(token.clone());
            at.put(Token::LParen, span);
            at.say(&[Keyword::VERBOSE, Keyword::FALSE], span);
            at.put(Token::RParen, span);
            Some(1)
        }
        Keyword::INSERT => {
            at.insert_at = Some(at.out.len() + 1);
            None
        }
        _ if is_word(token, "overriding") => overriding(at, ahead),
        Keyword::CONFLICT if previous == Keyword::ON && ahead.is(1, &Token::LParen) => {
            conflict_target(ahead.from(0), at.source).map(|(target, used)| {
                at.out.extend(target);
                used
            })
        }
        Keyword::SEQUENCE
            if matches!(previous, Keyword::CREATE | Keyword::TEMP | Keyword::TEMPORARY | Keyword::UNLOGGED) =>
        {
            let exists = [Keyword::IF, Keyword::NOT, Keyword::EXISTS];
            let has_exists = exists.iter().enumerate().all(|(n, word)| ahead.keyword(1 + n) == *word);
            let name = 1 + if has_exists { exists.len() } else { 0 };
            let options = name + name_length(ahead.from(name));
            let length = ahead.from(options).iter().position(|t| is_end(Some(t)));
            let length = length.unwrap_or(ahead.from(options).len());
            at.out.extend_from_slice(ahead.to(options));
            at.out.extend(sequence_options(&ahead.from(options)[..length]));
            Some(options + length)
        }
        Keyword::IDENTITY if previous == Keyword::AS && ahead.is(1, &Token::LParen) => {
            let length = ahead.from(2).iter().position(|t| t.token == Token::RParen);
            let length = length.unwrap_or(ahead.from(2).len());
            at.out.extend_from_slice(ahead.to(2));
            at.out.extend(sequence_options(&ahead.from(2)[..length]));
            at.open();
            Some(2 + length)
        }
        Keyword::SESSION if matches!(previous, Keyword::RESET | Keyword::SHOW) && next == Keyword::AUTHORIZATION => {
            at.out.push(word("session_authorization", Keyword::NoKeyword, false, span));
            Some(2)
        }
        _ => None,
    })
}

/// Whether `PRIMARY KEY` or `UNIQUE` was written last, with its columns where it has a list of them.
fn is_behind_key(out: &[TokenWithSpan]) -> bool {
    let key = match out.last().map(|t| &t.token) {
        Some(Token::RParen) => opening(out).and_then(|at| at.checked_sub(1)),
        _ => out.len().checked_sub(1),
    };
    key.and_then(|at| out.get(at)).is_some_and(|t| matches!(keyword(t), Keyword::KEY | Keyword::UNIQUE))
}

/// `WITH (fillfactor = 70)` of a key, which means nothing, as that of CREATE INDEX.
fn fill_factor(at: &Rewriting<'_>, ahead: Ahead<'_>) -> Result<Option<usize>> {
    let Some(name) = ahead.get(2) else { return Ok(None) };
    let written = match ahead.get(4).map(|t| &t.token) {
        Some(Token::Number(text, _) | Token::SingleQuotedString(text)) if is_word(name, "fillfactor") => text,
        Some(Token::Word(value)) if is_word(name, "fillfactor") => &value.value,
        _ => return Err(at.refuse("a storage parameter of a key", name)),
    };
    if !ahead.is(3, &Token::Eq) || !ahead.is(5, &Token::RParen) {
        return Err(at.refuse("a storage parameter of a key", name));
    }
    crate::ddl::check_fill_factor(written)?;
    Ok(Some(6))
}

/// `OVERRIDING … VALUE`: a hint behind INSERT.
fn overriding(at: &mut Rewriting<'_>, ahead: Ahead<'_>) -> Option<usize> {
    let (insert_at, kind) = (at.insert_at?, ahead.get(1)?);
    if !ahead.get(2).is_some_and(|t| is_word(t, "value")) {
        return None;
    }
    let kind = if is_word(kind, "system") { "system" } else { "user" };
    let hint = Token::Whitespace(Whitespace::MultiLineComment(format!("+{OVERRIDING_MARKER}{kind}")));
    at.out.insert(insert_at, plain(hint, Span::empty()));
    Some(3)
}

/// `ON CONFLICT (columns) WHERE predicate`: the predicate goes into the list of columns, as one more whose name is the text
/// of the predicate, at its place in the source. So do expressions in the list. How many tokens it took.
fn conflict_target(tokens: &[TokenWithSpan], source: &SourceText) -> Option<(Vec<TokenWithSpan>, usize)> {
    let text_of = |from: Span, to: Span| source.text().get(source.byte_at(from.start)?..source.byte_at(to.start)?);
    let (items, close) = list_items(tokens.get(2..)?)?;
    let (items, close) = (items.iter().map(|item| item.start + 2..item.end + 2), close + 2);
    let mut target = tokens.get(..2)?.to_vec();
    let mut changed = false;
    for item in items {
        let item_tokens = tokens.get(item.clone())?;
        let end = tokens.get(item.end)?;
        if item_tokens.iter().any(|t| t.token == Token::LParen) {
            let span = item_tokens.first()?.span;
            let text = text_of(span, end.span)?;
            target.push(word(&format!("{INDEXED_MARKER}{text}"), Keyword::NoKeyword, true, span));
            changed = true;
        } else {
            target.extend_from_slice(item_tokens);
        }
        target.push(end.clone());
    }
    if tokens.get(close + 1).map(keyword) != Some(Keyword::WHERE) {
        return changed.then_some((target, close + 1));
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
    let start = tokens.get(close + 2)?.span;
    let text = text_of(start, tokens.get(end)?.span)?;
    let bracket = target.pop()?;
    target.push(plain(Token::Comma, start));
    target.push(word(&format!("{PREDICATE_MARKER}{text}"), Keyword::NoKeyword, true, start));
    target.push(bracket);
    Some((target, end))
}

/// The items of a list that has been opened, and where it is closed.
fn list_items(tokens: &[TokenWithSpan]) -> Option<(Vec<Range<usize>>, usize)> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => {
                items.push(start..at);
                return Some((items, at));
            }
            Token::RParen => depth -= 1,
            Token::Comma if depth == 0 => {
                items.push(start..at);
                start = at + 1;
            }
            Token::SemiColon | Token::EOF => return None,
            _ => {}
        }
    }
    None
}
