//! White space and comments: what they separate and what they join, and where operators end.

use std::iter::Peekable;

use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Whitespace, Word};
use stratos_types::Result;

use super::rewrite::{is_word, plain};
use super::source::SourceText;
use super::unicode;
use crate::dialect::operators;

/// Drops white space and comments. String constants with a line break between them are one; without one they may not follow
/// each other.
pub(super) fn without_space(tokens: Vec<TokenWithSpan>, source: &SourceText) -> Result<Vec<TokenWithSpan>> {
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
                let mut token = token;
                newline = skip_space(&mut tokens);
                // A string goes on in the next line.
                while let (true, Token::SingleQuotedString(text)) = (newline, &mut token.token)
                    && let Some(more) = tokens.next_if(|next| matches!(next.token, Token::SingleQuotedString(_)))
                {
                    if let Token::SingleQuotedString(more) = more.token {
                        text.push_str(&more);
                    }
                    newline = skip_space(&mut tokens);
                }
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
