//! The COPY statement, read from its tokens: sqlparser wants rows behind it and knows only some forms of its options.

use sqlparser::ast::{Ident, ObjectName, Query};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use stratos_types::{Error, ErrorKind, Result};

use super::options::CopyOption;
use crate::dialect::StratosDialect;

/// What is copied.
#[derive(Debug, Clone)]
pub enum CopySource {
    /// A table, or some of its columns.
    Table {
        /// Which.
        name: ObjectName,
        /// All when empty.
        columns: Vec<Ident>,
    },
    /// A query, out only.
    Query(Box<Query>),
}

/// A COPY statement.
#[derive(Debug, Clone)]
pub struct CopyStatement {
    /// What is copied.
    pub source: CopySource,
    /// `TO` rather than `FROM`.
    pub to: bool,
    /// STDIN or STDOUT, rather than a file or program of the server.
    pub standard: bool,
    /// Its options.
    pub options: Vec<CopyOption>,
}

fn syntax(error: &ParserError) -> Error {
    Error::new(ErrorKind::SyntaxError, error.to_string())
}

fn near(parser: &mut Parser<'_>) -> Error {
    let token = parser.peek_token().token;
    let message = match token {
        Token::EOF => "syntax error at end of input".to_owned(),
        other => format!("syntax error at or near \"{other}\""),
    };
    Error::new(ErrorKind::SyntaxError, message)
}

/// The next token as a word in lower case, taken if `wanted`.
fn take_word(parser: &mut Parser<'_>, wanted: &[&str]) -> Option<String> {
    let Token::Word(word) = parser.peek_token().token else { return None };
    let lower = word.value.to_ascii_lowercase();
    (word.quote_style.is_none() && wanted.contains(&lower.as_str())).then(|| {
        parser.next_token();
        lower
    })
}

fn columns(parser: &mut Parser<'_>) -> Result<Vec<Ident>> {
    if parser.peek_token().token != Token::LParen {
        return Ok(Vec::new());
    }
    parser.next_token();
    let list = parser.parse_comma_separated(Parser::parse_identifier).map_err(|e| syntax(&e))?;
    parser.expect_token(&Token::RParen).map_err(|e| syntax(&e))?;
    Ok(list)
}

/// Parses the text of one statement that begins with COPY.
///
/// # Errors
/// 42601.
pub fn parse(text: &str) -> Result<CopyStatement> {
    let dialect = StratosDialect::for_text(text);
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(|e| syntax(&e))?;
    let parser = &mut parser;
    parser.next_token();
    take_word(parser, &["binary"]);
    let source = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query();
        if dialect.is_exhausted() {
            return Err(crate::binder::too_complex());
        }
        let query = query.map_err(|e| syntax(&e))?;
        parser.expect_token(&Token::RParen).map_err(|e| syntax(&e))?;
        CopySource::Query(query)
    } else {
        let name = parser.parse_object_name(false).map_err(|e| syntax(&e))?;
        CopySource::Table { name, columns: columns(parser)? }
    };
    let to = match take_word(parser, &["from", "to"]) {
        Some(word) => word == "to",
        None => return Err(near(parser)),
    };
    let standard = match take_word(parser, &["stdin", "stdout"]) {
        Some(_) => true,
        None => {
            take_word(parser, &["program"]);
            match parser.next_token().token {
                Token::SingleQuotedString(_) => false,
                _ => {
                    parser.prev_token();
                    return Err(near(parser));
                }
            }
        }
    };
    let with = take_word(parser, &["with"]).is_some();
    let options = if parser.consume_token(&Token::LParen) {
        let options = listed(parser)?;
        parser.expect_token(&Token::RParen).map_err(|e| syntax(&e))?;
        options
    } else {
        let options = legacy(parser)?;
        if with && options.is_empty() {
            return Err(near(parser));
        }
        options
    };
    if take_word(parser, &["where"]).is_some() {
        return Err(Error::unsupported("COPY FROM with WHERE"));
    }
    match parser.peek_token().token {
        Token::EOF => Ok(CopyStatement { source, to, standard, options }),
        _ => Err(near(parser)),
    }
}

/// `name [value], …`
fn listed(parser: &mut Parser<'_>) -> Result<Vec<CopyOption>> {
    let mut options = Vec::new();
    loop {
        let name = parser.parse_identifier().map_err(|e| syntax(&e))?.value.to_ascii_lowercase();
        let mut columns = Vec::new();
        let mut value = None;
        match parser.peek_token().token {
            Token::Comma | Token::RParen => {}
            Token::LParen => columns = self::columns(parser)?,
            Token::Mul => {
                parser.next_token();
                columns = vec![Ident::new("*")];
            }
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
                parser.next_token();
                value = Some(text);
            }
            Token::Word(word) => {
                parser.next_token();
                value = Some(word.value);
            }
            Token::Number(text, _) => {
                parser.next_token();
                value = Some(text);
            }
            _ => return Err(near(parser)),
        }
        options.push(CopyOption { name, value, columns });
        if !parser.consume_token(&Token::Comma) {
            return Ok(options);
        }
    }
}

/// The form of before Postgres 9.0: words without commas.
fn legacy(parser: &mut Parser<'_>) -> Result<Vec<CopyOption>> {
    let mut options = Vec::new();
    let option =
        |name: &str, value: Option<String>, columns: Vec<Ident>| CopyOption { name: name.to_owned(), value, columns };
    while let Some(word) = take_word(
        parser,
        &[
            "binary",
            "csv",
            "freeze",
            "header",
            "delimiter",
            "delimiters",
            "null",
            "quote",
            "escape",
            "encoding",
            "force",
        ],
    ) {
        match word.as_str() {
            "binary" | "csv" => options.push(option("format", Some(word), Vec::new())),
            "freeze" | "header" => options.push(option(&word, None, Vec::new())),
            "force" => {
                let kind = match take_word(parser, &["quote", "not", "null"]) {
                    Some(kind) if kind == "not" => {
                        take_word(parser, &["null"]).ok_or_else(|| near(parser))?;
                        "force_not_null"
                    }
                    Some(kind) if kind == "null" => "force_null",
                    Some(_) => "force_quote",
                    None => return Err(near(parser)),
                };
                let columns = if parser.consume_token(&Token::Mul) {
                    vec![Ident::new("*")]
                } else {
                    parser.parse_comma_separated(Parser::parse_identifier).map_err(|e| syntax(&e))?
                };
                options.push(option(kind, None, columns));
            }
            _ => {
                take_word(parser, &["as"]);
                let name = if word == "delimiters" { "delimiter" } else { &word };
                match parser.next_token().token {
                    Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
                        options.push(option(name, Some(text), Vec::new()));
                    }
                    _ => {
                        parser.prev_token();
                        return Err(near(parser));
                    }
                }
            }
        }
    }
    Ok(options)
}
