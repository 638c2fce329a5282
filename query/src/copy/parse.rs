//! The COPY statement, read from its tokens: sqlparser wants rows behind it and knows only some forms of its options.

use std::sync::Arc;

use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use stratos_types::{Error, ErrorKind, Result};

use super::options::CopyOption;
use crate::binder::{SourceText, near_token, parser_error, rewritten_tokens};
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
    /// In: which rows are taken.
    pub condition: Option<CopyCondition>,
}

/// The WHERE of a COPY.
#[derive(Debug, Clone)]
pub struct CopyCondition {
    /// The condition.
    pub expr: Expr,
    /// Its text.
    pub source: Arc<SourceText>,
    /// Characters of the query string before it.
    pub before: usize,
}

fn near(parser: &mut Parser<'_>, source: &SourceText) -> Error {
    near_token(source, &parser.peek_token())
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

fn columns(parser: &mut Parser<'_>, source: &SourceText) -> Result<Vec<Ident>> {
    if parser.peek_token().token != Token::LParen {
        return Ok(Vec::new());
    }
    parser.next_token();
    let list = parser.parse_comma_separated(Parser::parse_identifier).map_err(|e| parser_error(source, &e, parser))?;
    parser.expect_token(&Token::RParen).map_err(|e| parser_error(source, &e, parser))?;
    Ok(list)
}

/// Parses the text of one statement that begins with COPY, before which `base` characters stand.
///
/// # Errors
/// 42601.
pub fn parse(text: &str, base: usize) -> Result<CopyStatement> {
    let dialect = StratosDialect::for_text(text);
    let source = &SourceText::new(text);
    let mut parser =
        Parser::new(&dialect).try_with_sql(text).map_err(|e| Error::new(ErrorKind::SyntaxError, e.to_string()))?;
    let parser = &mut parser;
    parser.next_token();
    let binary = take_word(parser, &["binary"]).is_some();
    if parser.peek_token_ref().token == Token::LParen {
        if binary {
            return Err(near(parser, source));
        }
        // A query is written as queries are.
        *parser = Parser::new(&dialect).with_tokens_with_locations(rewritten_tokens(source)?);
        parser.next_token();
    }
    let source_of = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query();
        if dialect.is_exhausted() {
            return Err(crate::binder::too_complex());
        }
        let query = query.map_err(|e| parser_error(source, &e, parser))?;
        parser.expect_token(&Token::RParen).map_err(|e| parser_error(source, &e, parser))?;
        CopySource::Query(query)
    } else {
        let name = parser.parse_object_name(false).map_err(|e| parser_error(source, &e, parser))?;
        CopySource::Table { name, columns: columns(parser, source)? }
    };
    let direction = parser.peek_token();
    let to = match take_word(parser, &["from", "to"]) {
        Some(word) if word == "from" && matches!(source_of, CopySource::Query(_)) => {
            return Err(near_token(source, &direction));
        }
        Some(word) => word == "to",
        None => return Err(near(parser, source)),
    };
    let standard = match take_word(parser, &["stdin", "stdout"]) {
        Some(_) => true,
        None => {
            take_word(parser, &["program"]);
            match parser.next_token().token {
                Token::SingleQuotedString(_) => false,
                _ => {
                    parser.prev_token();
                    return Err(near(parser, source));
                }
            }
        }
    };
    // Both of before Postgres 9.0, and for tables only.
    let mut options: Vec<CopyOption> = binary.then(|| CopyOption::plain("format", "binary")).into_iter().collect();
    let of_table = matches!(source_of, CopySource::Table { .. });
    let using = of_table && take_word(parser, &["using"]).is_some();
    if of_table && take_word(parser, &["delimiters"]).is_some() {
        options.push(CopyOption::plain("delimiter", &string(parser, source)?));
    } else if using {
        return Err(near(parser, source));
    }
    let with = take_word(parser, &["with"]).is_some();
    let further = if parser.consume_token(&Token::LParen) {
        let options = listed(parser, source, base)?;
        parser.expect_token(&Token::RParen).map_err(|e| parser_error(source, &e, parser))?;
        options
    } else {
        let options = legacy(parser, source)?;
        if with && options.is_empty() {
            return Err(near(parser, source));
        }
        options
    };
    options.extend(further);
    let behind = parser.peek_token();
    if take_word(parser, &["where"]).is_some() {
        if to {
            let error = Error::new(ErrorKind::SyntaxError, "WHERE clause not allowed with COPY TO");
            return Err(source.position(behind.span).map_or(error.clone(), |position| error.at(position)));
        }
        let condition = Some(condition(parser, source, base)?);
        return Ok(CopyStatement { source: source_of, to, standard, options, condition });
    }
    match parser.peek_token().token {
        Token::EOF => Ok(CopyStatement { source: source_of, to, standard, options, condition: None }),
        _ => Err(near(parser, source)),
    }
}

/// The rest of the statement, before which `base` characters stand, is a condition.
fn condition(parser: &mut Parser<'_>, text: &SourceText, base: usize) -> Result<CopyCondition> {
    let first = parser.peek_token();
    let start = match first.token {
        Token::EOF => None,
        _ => text.byte_at(first.span.start),
    };
    let Some(start) = start else { return Err(near(parser, text)) };
    let inside = text.position_of_byte(start).map_or(0, |position| position - 1);
    match crate::binder::parse_expr(text.text().get(start..).unwrap_or("")) {
        Ok((expr, source)) => Ok(CopyCondition { expr, source, before: base + inside }),
        Err(error) => Err(error.behind(inside)),
    }
}

/// `name [value], …`
fn listed(parser: &mut Parser<'_>, source: &SourceText, base: usize) -> Result<Vec<CopyOption>> {
    let mut options = Vec::new();
    loop {
        let ident = parser.parse_identifier().map_err(|e| parser_error(source, &e, parser))?;
        let place = source.position(ident.span).map(|position| base + position);
        let name = ident.value.to_ascii_lowercase();
        let mut columns = Vec::new();
        let mut value = None;
        match parser.peek_token().token {
            Token::Comma | Token::RParen => {}
            Token::LParen => columns = self::columns(parser, source)?,
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
            _ => return Err(near(parser, source)),
        }
        options.push(CopyOption { name, value, columns, place });
        if !parser.consume_token(&Token::Comma) {
            return Ok(options);
        }
    }
}

/// The next token, which must be a string.
fn string(parser: &mut Parser<'_>, source: &SourceText) -> Result<String> {
    match parser.next_token().token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Ok(text),
        _ => {
            parser.prev_token();
            Err(near(parser, source))
        }
    }
}

/// The form of before Postgres 9.0: words without commas.
fn legacy(parser: &mut Parser<'_>, source: &SourceText) -> Result<Vec<CopyOption>> {
    let mut options = Vec::new();
    let option = |name: &str, value: Option<String>, columns: Vec<Ident>| CopyOption {
        name: name.to_owned(),
        value,
        columns,
        place: None,
    };
    while let Some(word) = take_word(
        parser,
        &["binary", "csv", "freeze", "header", "delimiter", "null", "quote", "escape", "encoding", "force"],
    ) {
        match word.as_str() {
            "binary" | "csv" => options.push(option("format", Some(word), Vec::new())),
            "freeze" | "header" => options.push(option(&word, None, Vec::new())),
            "force" => {
                let kind = match take_word(parser, &["quote", "not", "null"]) {
                    Some(kind) if kind == "not" => {
                        take_word(parser, &["null"]).ok_or_else(|| near(parser, source))?;
                        "force_not_null"
                    }
                    Some(kind) if kind == "null" => "force_null",
                    Some(_) => "force_quote",
                    None => return Err(near(parser, source)),
                };
                let columns = if parser.consume_token(&Token::Mul) {
                    vec![Ident::new("*")]
                } else {
                    parser
                        .parse_comma_separated(Parser::parse_identifier)
                        .map_err(|e| parser_error(source, &e, parser))?
                };
                options.push(option(kind, None, columns));
            }
            _ => {
                take_word(parser, &["as"]);
                options.push(CopyOption::plain(&word, &string(parser, source)?));
            }
        }
    }
    Ok(options)
}
