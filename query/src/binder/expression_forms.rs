//! Parts of expressions and window frames in words that the parser does not know.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;
use stratos_types::Result;

use super::rewrite::{Ahead, Rewriting, is_word, keyword};

/// Says it in the parser's language: how many tokens that took, if it is one of these.
pub(super) fn expression_form(at: &mut Rewriting<'_>, ahead: Ahead<'_>) -> Result<Option<usize>> {
    let token = ahead.token();
    let span = token.span;
    let previous = at.previous();
    let ends_frame = matches!(previous, Keyword::ROW | Keyword::PRECEDING | Keyword::FOLLOWING);
    let next_is = |word: &str| ahead.get(1).is_some_and(|t| is_word(t, word));
    Ok(match keyword(token) {
        // `interval(3) '1.2345'`
        Keyword::INTERVAL
            if let Some([open, precision, close, value]) = ahead.from(1).get(..4)
                && open.token == Token::LParen
                && matches!(precision.token, Token::Number(..))
                && close.token == Token::RParen
                && matches!(value.token, Token::SingleQuotedString(_)) =>
        {
            at.say(&[Keyword::CAST], span);
            at.put(Token::LParen, span);
            at.out.push(value.clone());
            at.say(&[Keyword::AS], span);
            at.out.extend_from_slice(ahead.to(4));
            at.put(Token::RParen, span);
            Some(5)
        }
        // The SQL standard's way to call what `substring(text FROM pattern FOR escape)` calls, too.
        Keyword::SIMILAR if ahead.keyword(1) != Keyword::TO && at.level().substring => {
            at.level().similar = true;
            at.say(&[Keyword::FROM], span);
            Some(1)
        }
        Keyword::ESCAPE if at.level().similar => {
            at.level().escaped = true;
            if let Some(end) = ahead.get(1).filter(|t| t.token == Token::RParen) {
                return Err(super::parse::near(at.source, end));
            }
            at.say(&[Keyword::FOR], span);
            Some(1)
        }
        // The parser wants the word that says from where next to what is trimmed.
        Keyword::FROM
            if matches!(previous, Keyword::BOTH | Keyword::LEADING | Keyword::TRAILING)
                && matches!(at.out.as_slice(), [.., opens, _] if opens.token == Token::LParen) =>
        {
            Some(1)
        }
        Keyword::VARIADIC if at.is_behind(&[Token::LParen, Token::Comma]) => {
            return Err(at.refuse("VARIADIC argument", token));
        }
        // What a frame does that says nothing of it.
        Keyword::EXCLUDE if ends_frame && next_is("no") && ahead.get(2).is_some_and(|t| is_word(t, "others")) => {
            Some(3)
        }
        Keyword::EXCLUDE if ends_frame && (next_is("ties") || next_is("group") || next_is("current")) => {
            return Err(at.refuse("EXCLUDE in a window frame", token));
        }
        _ if is_word(token, "isnull")
            && previous != Keyword::AS
            && !at.out.is_empty()
            && !at.is_behind(&[Token::Period, Token::LParen, Token::Comma]) =>
        {
            at.say(&[Keyword::IS, Keyword::NULL], span);
            Some(1)
        }
        _ => None,
    })
}
