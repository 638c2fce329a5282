//! `TABLESPACE pg_default` behind a table or an index: where everything lies anyway. No other tablespace exists.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};
use stratos_types::{Error, ErrorKind, Result};

use super::rewrite::{is_word, keyword};

/// Leaves out what names the only tablespace that a table can lie in.
///
/// # Errors
/// 42704 for one that does not exist, 22023 for `pg_global`.
pub(super) fn settle_tablespaces(mut tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    if !tokens.iter().any(|token| is_word(token, "tablespace")) {
        return Ok(tokens);
    }
    let mut creates = false;
    let mut depth = 0usize;
    let mut start = true;
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let first = std::mem::replace(&mut start, token.token == Token::SemiColon);
        if first {
            let kind = |token: &&TokenWithSpan| {
                matches!(keyword(token), Keyword::UNIQUE | Keyword::TEMP | Keyword::TEMPORARY | Keyword::LOCAL)
            };
            let kinds = tokens.iter().skip(at + 1).take_while(kind).count();
            let object = tokens.get(at + 1 + kinds).map_or(Keyword::NoKeyword, keyword);
            creates = keyword(token) == Keyword::CREATE && matches!(object, Keyword::TABLE | Keyword::INDEX);
            depth = 0;
        }
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            // The query of CREATE TABLE AS comes behind everything that is said of the table.
            Token::Word(_) if depth == 0 && keyword(token) == Keyword::AS => creates = false,
            Token::Word(_)
                if creates
                    && depth == 0
                    && is_word(token, "tablespace")
                    && at > 0
                    && tokens[at - 1].token == Token::RParen =>
            {
                let Some(Token::Word(name)) = tokens.get(at + 1).map(|next| &next.token) else {
                    return Ok(tokens);
                };
                let folded = if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() };
                match folded.as_str() {
                    "pg_default" => {
                        tokens.drain(at..at + 2);
                        continue;
                    }
                    "pg_global" => {
                        return Err(Error::new(
                            ErrorKind::InvalidParameterValue,
                            "only shared relations can be placed in pg_global tablespace",
                        ));
                    }
                    name => {
                        return Err(Error::new(
                            ErrorKind::UndefinedObject,
                            format!("tablespace \"{name}\" does not exist"),
                        ));
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    Ok(tokens)
}
