//! DDL statements of Postgres that sqlparser does not know, read from its tokens.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, ObjectName, Owner, Query, Statement, Value, visit_expressions};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::constraints::{Deferral, deferral};
use super::parse_alter::{self, SequenceChange, TableAction};
use crate::binder::{SourceText, near_token, parser_error};
use crate::dialect::StratosDialect;

/// A DDL statement, parsed.
#[derive(Debug, Clone)]
pub enum DdlStatement {
    /// By sqlparser.
    Sql(Box<Statement>),
    /// By [`parse_extra`].
    Extra(Extra),
}

impl DdlStatement {
    /// The query of CREATE TABLE AS.
    fn query(&self) -> Option<&Query> {
        match self {
            DdlStatement::Sql(sql) => match sql.as_ref() {
                Statement::CreateTable(create) => create.query.as_deref(),
                _ => None,
            },
            DdlStatement::Extra(_) => None,
        }
    }

    /// Whether it is CREATE TABLE AS.
    pub fn is_create_as(&self) -> bool {
        self.query().is_some()
    }

    /// The query of CREATE TABLE AS, if it has parameters.
    pub fn query_with_parameters(&self) -> Option<&Query> {
        let is_parameter = |e: &Expr| matches!(e, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)));
        self.query().filter(|query| {
            let found = visit_expressions(*query, |e| match is_parameter(e) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            });
            found.is_break()
        })
    }

    /// The same with values for the parameters of the query.
    pub fn with_values(&self, types: &[PgType], values: &[Datum]) -> DdlStatement {
        let mut filled = self.clone();
        if let DdlStatement::Sql(sql) = &mut filled
            && let Statement::CreateTable(create) = sql.as_mut()
            && let Some(query) = &mut create.query
        {
            super::put_values(query, types, values);
        }
        filled
    }
}

/// Statements that sqlparser does not know.
#[derive(Debug, Clone)]
pub enum Extra {
    /// `ALTER SEQUENCE`
    AlterSequence {
        /// `IF EXISTS`
        if_exists: bool,
        /// Which.
        name: ObjectName,
        /// What.
        changes: Vec<SequenceChange>,
    },
    /// `ALTER INDEX IF EXISTS … RENAME TO …`
    RenameIndex {
        /// Which.
        name: ObjectName,
        /// Its new name.
        to: ObjectName,
    },
    /// `ALTER TABLE … SPLIT AT VALUES (…), (…)`
    SplitAt {
        /// Which.
        table: ObjectName,
        /// Split points.
        values: Vec<Vec<Expr>>,
    },
    /// `ALTER TABLE … SET SCHEMA …`
    SetSchema {
        /// `IF EXISTS`
        if_exists: bool,
        /// Which.
        name: ObjectName,
        /// Where.
        schema: Ident,
    },
    /// `ALTER TABLE` where at least one change is one of an identity column, which sqlparser does not know.
    AlterTable {
        /// `IF EXISTS`
        if_exists: bool,
        /// Which.
        name: ObjectName,
        /// In the order in which they are written.
        actions: Vec<TableAction>,
    },
    /// `ALTER TABLE … ALTER CONSTRAINT … [NOT] DEFERRABLE [INITIALLY …]`
    AlterConstraint {
        /// `IF EXISTS`
        if_exists: bool,
        /// Which table.
        table: ObjectName,
        /// Which constraint.
        constraint: Ident,
        /// When it is to be checked from now on.
        deferral: Deferral,
    },
    /// `ALTER DATABASE … RENAME TO / OWNER TO`
    AlterDatabase {
        /// Which.
        name: ObjectName,
        /// `RENAME TO`
        rename: Option<Ident>,
        /// `OWNER TO`
        owner: Option<Owner>,
    },
    /// `CREATE DATABASE` with options.
    CreateDatabase {
        /// Which.
        name: ObjectName,
        /// `OWNER`
        owner: Option<Owner>,
        /// Other options, by name in lower case with their value.
        options: Vec<(String, String)>,
    },
    /// `CREATE SCHEMA` with what is to be in it.
    CreateSchema {
        /// The schema.
        schema: Box<Statement>,
        /// CREATE TABLE, INDEX, SEQUENCE, in the order in which Postgres makes them.
        elements: Vec<Statement>,
    },
    /// DROP of what there is none of.
    DropAbsent(super::DropAbsent),
    /// `DROP DATABASE … WITH (FORCE)` is refused by name.
    DropDatabaseForce,
    /// `CREATE USER`, as CREATE ROLE with LOGIN.
    CreateUser(Box<Statement>),
    /// `CREATE`, `ALTER`, `DROP GROUP` and `ALTER USER`, as of a ROLE.
    Role(Box<Statement>),
    /// `COMMENT ON CONSTRAINT … ON …`
    CommentOnConstraint {
        /// Which constraint.
        constraint: Ident,
        /// Of which table.
        table: ObjectName,
        /// The comment; none removes it.
        comment: Option<String>,
    },
}

/// Reads one statement (without a semicolon, or with one at its end) if it is of a form listed in [`Extra`]. To be tried
/// before sqlparser; `None` means that it is not one of these.
///
/// # Errors
/// 42601 when it starts like one of these and does not go on like it.
pub fn parse_extra(sql: &str) -> Option<Result<Extra>> {
    let dialect = StratosDialect::for_text(sql);
    let mut parser = Parser::new(&dialect).try_with_sql(sql).ok()?;
    let source = || SourceText::new(sql);
    // Words are compared as text, because some of them are no keywords of sqlparser's.
    let first = word(&mut parser)?;
    if first == "drop"
        && let Some(read) = super::absent::parse(&mut parser)
    {
        return Some(finish(read.map(Extra::DropAbsent), &mut parser, &source));
    }
    let second = word(&mut parser)?;
    let parsed = match (first.as_str(), second.as_str()) {
        ("alter", "index") if accept_words(&mut parser, &["if", "exists"]) => rename_index(&mut parser),
        ("alter", "sequence") => parse_alter::alter_sequence(&mut parser),
        ("alter", "database") => alter_database(&mut parser),
        ("alter", "table") => return alter_table(&mut parser, &source),
        ("create", "database") => create_database(&mut parser),
        ("create", "schema") => return schema_with_elements(sql),
        ("create", "user") if accept_words(&mut parser, &["mapping"]) => return None,
        ("create", "user") => return as_role(sql, &second).map(|read| read.map(|s| Extra::CreateUser(Box::new(s)))),
        // GROUP and USER are older words for ROLE; the parser has a USER of another system.
        ("create" | "alter" | "drop", "group") | ("alter", "user") => {
            if accept_words(&mut parser, &["mapping"]) {
                return None;
            }
            return as_role(sql, &second).map(|read| read.map(|s| Extra::Role(Box::new(s))));
        }
        ("drop", "database") => return drop_database(&mut parser),
        ("comment", "on") => {
            if word(&mut parser)? != "constraint" {
                return None;
            }
            comment_on_constraint(&mut parser)
        }
        _ => return None,
    };
    Some(finish(parsed, &mut parser, &source))
}

fn rename_index(parser: &mut Parser<'_>) -> Result<Extra, ParserError> {
    let name = parser.parse_object_name(false)?;
    if !accept_words(parser, &["rename", "to"]) {
        return Err(parse_alter::unexpected(parser));
    }
    Ok(Extra::RenameIndex { name, to: parser.parse_object_name(false)? })
}

/// The statement, unless something else follows it. `source` gives its text, for the places of errors.
fn finish(
    parsed: Result<Extra, ParserError>,
    parser: &mut Parser<'_>,
    source: &dyn Fn() -> SourceText,
) -> Result<Extra> {
    let statement = parsed.map_err(|error| parser_error(&source(), &error, parser))?;
    accept(parser, &Token::SemiColon);
    let next = parser.peek_token();
    match next.token {
        Token::EOF => Ok(statement),
        _ => Err(near_token(&source(), &next)),
    }
}

fn near(token: &Token) -> Error {
    match token {
        Token::EOF => Error::new(ErrorKind::SyntaxError, "syntax error at end of input"),
        other => Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{other}\"")),
    }
}

fn syntax_error(error: ParserError) -> Error {
    Error::new(ErrorKind::SyntaxError, format!("syntax error: {error}"))
}

/// The next token as a lower-case word, if it is one; not consumed otherwise.
pub(super) fn word(parser: &mut Parser<'_>) -> Option<String> {
    let Token::Word(word) = parser.peek_token().token else {
        return None;
    };
    if word.quote_style.is_some() {
        return None;
    }
    parser.next_token();
    Some(word.value.to_lowercase())
}

pub(super) fn accept(parser: &mut Parser<'_>, token: &Token) -> bool {
    let found = parser.peek_token().token == *token;
    if found {
        parser.next_token();
    }
    found
}

/// Consumes these words if they come next, all or none.
pub(super) fn accept_words(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let all = words.iter().enumerate().all(|(n, expected)| {
        matches!(parser.peek_nth_token(n).token, Token::Word(w)
            if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(expected))
    });
    if all {
        for _ in words {
            parser.next_token();
        }
    }
    all
}

pub(super) fn expect_words(parser: &mut Parser<'_>, words: &[&str]) -> Result<(), ParserError> {
    if accept_words(parser, words) {
        return Ok(());
    }
    let next = parser.peek_token();
    Err(ParserError::ParserError(format!("expected {}{}", words.join(" ").to_uppercase(), next.span.start)))
}

pub(super) fn owner(parser: &mut Parser<'_>) -> Result<Owner, ParserError> {
    if accept_words(parser, &["current_user"]) {
        return Ok(Owner::CurrentUser);
    }
    if accept_words(parser, &["current_role"]) {
        return Ok(Owner::CurrentRole);
    }
    if accept_words(parser, &["session_user"]) {
        return Ok(Owner::SessionUser);
    }
    Ok(Owner::Ident(parser.parse_identifier()?))
}

fn alter_database(parser: &mut Parser<'_>) -> Result<Extra, ParserError> {
    let name = parser.parse_object_name(false)?;
    let (mut rename, mut new_owner) = (None, None);
    if accept_words(parser, &["rename", "to"]) {
        rename = Some(parser.parse_identifier()?);
    } else {
        expect_words(parser, &["owner", "to"])?;
        new_owner = Some(owner(parser)?);
    }
    Ok(Extra::AlterDatabase { name, rename, owner: new_owner })
}

fn create_database(parser: &mut Parser<'_>) -> Result<Extra, ParserError> {
    let name = parser.parse_object_name(false)?;
    accept_words(parser, &["with"]);
    let mut database_owner = None;
    let mut options = Vec::new();
    while !matches!(parser.peek_token().token, Token::EOF | Token::SemiColon) {
        let mut option = parser.parse_identifier()?.value.to_lowercase();
        if option == "connection" {
            expect_words(parser, &["limit"])?;
            option = "connection limit".into();
        }
        accept(parser, &Token::Eq);
        if option == "owner" {
            database_owner = Some(owner(parser)?);
        } else {
            let value = match parser.next_token().token {
                Token::SingleQuotedString(text) => text,
                Token::Word(word) => word.value,
                Token::Number(number, _) => number,
                Token::Minus => format!("-{}", parser.next_token().token),
                _ => {
                    return Err(ParserError::ParserError(format!(
                        "unexpected{}",
                        parser.get_current_token().span.start
                    )));
                }
            };
            options.push((option, value));
        }
    }
    Ok(Extra::CreateDatabase { name, owner: database_owner, options })
}

/// `CREATE SCHEMA … CREATE TABLE … CREATE INDEX …`; none without elements, which the parser knows.
fn schema_with_elements(sql: &str) -> Option<Result<Extra>> {
    let tokens = sqlparser::tokenizer::Tokenizer::new(&StratosDialect::default(), sql).tokenize_with_location().ok()?;
    let dialect = StratosDialect::for_tokens(tokens.len());
    let mut depth = 0usize;
    let mut pieces = vec![Vec::new()];
    for token in tokens {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(w) if depth == 0 && w.keyword == Keyword::CREATE && w.quote_style.is_none() => {
                pieces.push(Vec::new());
            }
            _ => {}
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(token);
        }
    }
    // What stands before the first CREATE is nothing.
    if pieces.len() < 3 {
        return None;
    }
    let mut statements = Vec::with_capacity(pieces.len());
    for piece in pieces.drain(1..) {
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(piece);
        let statement = match parser.parse_statement() {
            Ok(statement) => statement,
            Err(error) => return Some(Err(syntax_error(error))),
        };
        match parser.peek_token().token {
            Token::EOF | Token::SemiColon => statements.push(statement),
            other => return Some(Err(near(&other))),
        }
    }
    let schema = Box::new(statements.remove(0));
    // Postgres makes sequences first and indexes last, whatever the order in which they are written.
    let order = |statement: &Statement| match statement {
        Statement::CreateSequence { .. } => Some(0),
        Statement::CreateTable(_) => Some(1),
        Statement::CreateIndex(_) => Some(2),
        _ => None,
    };
    if let Some(other) = statements.iter().find(|statement| order(statement).is_none()) {
        let name = crate::binder::command_name(&other.to_string());
        return Some(Err(Error::unsupported(format_args!("{name} as an element of CREATE SCHEMA"))));
    }
    statements.sort_by_key(order);
    Some(Ok(Extra::CreateSchema { schema, elements: statements }))
}

fn drop_database(parser: &mut Parser<'_>) -> Option<Result<Extra>> {
    accept_words(parser, &["if", "exists"]);
    parser.parse_object_name(false).ok()?;
    accept_words(parser, &["with"]);
    accept(parser, &Token::LParen)
        .then(|| accept_words(parser, &["force"]))
        .filter(|force| *force)
        .map(|_| Ok(Extra::DropDatabaseForce))
}

fn comment_on_constraint(parser: &mut Parser<'_>) -> Result<Extra, ParserError> {
    let constraint = parser.parse_identifier()?;
    expect_words(parser, &["on"])?;
    let table = parser.parse_object_name(false)?;
    expect_words(parser, &["is"])?;
    let comment = if accept_words(parser, &["null"]) { None } else { Some(parser.parse_literal_string()?) };
    Ok(Extra::CommentOnConstraint { constraint, table, comment })
}

/// A statement on a USER or GROUP, as one on a ROLE.
fn as_role(sql: &str, written: &str) -> Option<Result<Statement>> {
    let dialect = StratosDialect::for_text(sql);
    let mut tokens = sqlparser::tokenizer::Tokenizer::new(&dialect, sql).tokenize().ok()?;
    let word = tokens
        .iter_mut()
        .find(|t| matches!(t, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(written)))?;
    *word = Token::make_keyword("ROLE");
    let mut parser = Parser::new(&dialect).with_tokens(tokens);
    let statement = match parser.parse_statement() {
        Ok(statement) => statement,
        Err(error) => return Some(Err(syntax_error(error))),
    };
    accept(&mut parser, &Token::SemiColon);
    Some(match parser.peek_token().token {
        Token::EOF => Ok(statement),
        other => Err(near(&other)),
    })
}

fn alter_table(parser: &mut Parser<'_>, source: &dyn Fn() -> SourceText) -> Option<Result<Extra>> {
    let if_exists = accept_words(parser, &["if", "exists"]);
    accept_words(parser, &["only"]);
    let table = parser.parse_object_name(false).ok()?;
    let parsed = if accept_words(parser, &["split", "at", "values"]) {
        split_points(parser).map(|values| Extra::SplitAt { table, values })
    } else if accept_words(parser, &["set", "schema"]) {
        parser.parse_identifier().map(|schema| Extra::SetSchema { if_exists, name: table, schema })
    } else if accept_words(parser, &["alter", "constraint"]) {
        return Some(alter_constraint(parser, if_exists, table, source));
    } else {
        match parse_alter::table_actions(parser)? {
            Ok(actions) => Ok(Extra::AlterTable { if_exists, name: table, actions }),
            Err(error) => Err(error),
        }
    };
    Some(finish(parsed, parser, source))
}

fn alter_constraint(
    parser: &mut Parser<'_>,
    if_exists: bool,
    table: ObjectName,
    source: &dyn Fn() -> SourceText,
) -> Result<Extra> {
    let constraint = parser.parse_identifier().map_err(|error| parser_error(&source(), &error, parser))?;
    let wanted = parser.parse_constraint_characteristics().map_err(|error| parser_error(&source(), &error, parser))?;
    if parser.peek_token().token == Token::Comma {
        return Err(Error::unsupported("ALTER TABLE … ALTER CONSTRAINT together with other changes"));
    }
    let deferral = deferral(wanted.as_ref())?;
    finish(Ok(Extra::AlterConstraint { if_exists, table, constraint, deferral }), parser, source)
}

fn split_points(parser: &mut Parser<'_>) -> Result<Vec<Vec<Expr>>, ParserError> {
    parser.parse_comma_separated(|parser| {
        parser.expect_token(&Token::LParen)?;
        let values = parser.parse_comma_separated(Parser::parse_expr)?;
        parser.expect_token(&Token::RParen)?;
        Ok(values)
    })
}
