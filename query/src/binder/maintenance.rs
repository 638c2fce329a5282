//! VACUUM and ANALYZE: what they name is looked at, although there is nothing for them to do.

use sqlparser::ast::{Ident, ObjectName};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use stratos_types::{Error, ErrorKind, Result};

use super::parse::{near, parser_error};
use super::scope::fold_ident;
use super::source::SourceText;
use crate::dialect::StratosDialect;

/// `VACUUM` or `ANALYZE`.
#[derive(Debug, Clone)]
pub struct Maintenance {
    /// `VACUUM`, else `ANALYZE`.
    pub vacuums: bool,
    /// The tables that it names, with the columns of each.
    pub tables: Vec<(ObjectName, Vec<Ident>)>,
}

const VACUUM_OPTIONS: &[&str] = &[
    "analyze",
    "disable_page_skipping",
    "freeze",
    "full",
    "index_cleanup",
    "parallel",
    "process_toast",
    "skip_locked",
    "truncate",
    "verbose",
];
const ANALYZE_OPTIONS: &[&str] = &["skip_locked", "verbose"];

/// Reads `VACUUM [(options) | FULL FREEZE VERBOSE ANALYZE] [table [(columns)], …]` or `ANALYZE [(options) | VERBOSE] …`.
///
/// # Errors
/// 42601, with its place in `text`.
pub(super) fn parse(text: &str, vacuums: bool) -> Result<Maintenance> {
    let dialect = StratosDialect::default();
    let source = SourceText::new(text);
    let broken = |e: ParserError| Error::new(ErrorKind::SyntaxError, e.to_string());
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(broken)?;
    parser.next_token();
    let mut analyzes = !vacuums;
    if parser.consume_token(&Token::LParen) {
        loop {
            let option = identifier(&mut parser, &source)?;
            let name = fold_ident(&option);
            let name = if name == "analyse" { "analyze" } else { name.as_str() };
            let (known, statement) = if vacuums { (VACUUM_OPTIONS, "VACUUM") } else { (ANALYZE_OPTIONS, "ANALYZE") };
            if !known.contains(&name) {
                let message = format!("unrecognized {statement} option \"{name}\"");
                let error = Error::new(ErrorKind::SyntaxError, message);
                return Err(match source.position(option.span) {
                    Some(position) => error.at(position),
                    None => error,
                });
            }
            let value = match parser.peek_token().token {
                Token::Comma | Token::RParen => None,
                _ => Some(parser.next_token().token.to_string().to_lowercase()),
            };
            analyzes |=
                name == "analyze" && !value.is_some_and(|v| matches!(v.trim_matches('\''), "false" | "off" | "0"));
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        let next = parser.peek_token();
        if !parser.consume_token(&Token::RParen) {
            return Err(near(&source, &next));
        }
    } else {
        let words: &[&str] = if vacuums { &["full", "freeze", "verbose", "analyze", "analyse"] } else { &["verbose"] };
        while let Token::Word(word) = parser.peek_token().token {
            let word = word.value.to_ascii_lowercase();
            if !words.contains(&word.as_str()) {
                break;
            }
            analyzes |= matches!(word.as_str(), "analyze" | "analyse");
            parser.next_token();
        }
    }
    let mut tables = Vec::new();
    while parser.peek_token().token != Token::EOF {
        let name = parser.parse_object_name(false).map_err(|e| parser_error(&source, &e, &parser))?;
        let mut columns = Vec::new();
        if parser.consume_token(&Token::LParen) {
            loop {
                columns.push(identifier(&mut parser, &source)?);
                if !parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            let next = parser.peek_token();
            if !parser.consume_token(&Token::RParen) {
                return Err(near(&source, &next));
            }
        }
        if !columns.is_empty() && !analyzes {
            return Err(Error::new(
                ErrorKind::FeatureNotSupported,
                "ANALYZE option must be specified when a column list is provided",
            ));
        }
        tables.push((name, columns));
        let next = parser.peek_token();
        let more = parser.consume_token(&Token::Comma);
        let ends = parser.peek_token().token == Token::EOF;
        if more && ends || !more && !ends {
            return Err(near(&source, if more { parser.peek_token_ref() } else { &next }));
        }
    }
    Ok(Maintenance { vacuums, tables })
}

fn identifier(parser: &mut Parser<'_>, source: &SourceText) -> Result<Ident> {
    parser.parse_identifier().map_err(|e| parser_error(source, &e, parser))
}
