//! DROP of what cannot exist here: nothing is there to be dropped, whatever the name.

use sqlparser::ast::{self, ObjectName};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use stratos_types::{Error, ErrorKind, PgType, Result};

use super::parse::{accept, accept_words, expect_words};
use super::{Ddl, display_name};

/// Kinds of objects of which there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbsentKind {
    /// With arguments: functions, procedures, aggregates.
    Routine(&'static str),
    /// Of a table: triggers, rules, policies.
    OfTable(&'static str),
    /// Others; what Postgres calls them in its messages, and the command's tag.
    Named(&'static str, &'static str),
}

/// DROP of objects of such a kind.
#[derive(Debug, Clone)]
pub struct DropAbsent {
    /// What.
    pub kind: AbsentKind,
    /// `IF EXISTS`
    pub if_exists: bool,
    /// Their names; arguments of a routine behind its name, as far as they are given.
    pub names: Vec<(ObjectName, Option<String>)>,
    /// `ON …`
    pub table: Option<ObjectName>,
}

/// The words behind DROP, and what they drop.
const KINDS: &[(&[&str], AbsentKind)] = &[
    (&["function"], AbsentKind::Routine("function")),
    (&["procedure"], AbsentKind::Routine("procedure")),
    (&["routine"], AbsentKind::Routine("routine")),
    (&["aggregate"], AbsentKind::Routine("aggregate")),
    (&["trigger"], AbsentKind::OfTable("trigger")),
    (&["rule"], AbsentKind::OfTable("rule")),
    (&["policy"], AbsentKind::OfTable("policy")),
    (&["type"], AbsentKind::Named("type", "DROP TYPE")),
    (&["domain"], AbsentKind::Named("type", "DROP DOMAIN")),
    (&["extension"], AbsentKind::Named("extension", "DROP EXTENSION")),
    (&["event", "trigger"], AbsentKind::Named("event trigger", "DROP EVENT TRIGGER")),
    (&["foreign", "table"], AbsentKind::Named("foreign table", "DROP FOREIGN TABLE")),
    (&["publication"], AbsentKind::Named("publication", "DROP PUBLICATION")),
    (&["server"], AbsentKind::Named("server", "DROP SERVER")),
    (&["statistics"], AbsentKind::Named("statistics object", "DROP STATISTICS")),
];

/// Reads what follows DROP; none for another kind.
pub(super) fn parse(parser: &mut Parser<'_>) -> Option<Result<DropAbsent, ParserError>> {
    let (_, kind) = KINDS.iter().find(|(words, _)| accept_words(parser, words))?;
    Some(rest(parser, *kind))
}

fn rest(parser: &mut Parser<'_>, kind: AbsentKind) -> Result<DropAbsent, ParserError> {
    let if_exists = accept_words(parser, &["if", "exists"]);
    let mut names = Vec::new();
    let mut table = None;
    loop {
        let name = parser.parse_object_name(false)?;
        let mut arguments = None;
        if matches!(kind, AbsentKind::Routine(_)) && accept(parser, &Token::LParen) {
            arguments = Some(argument_list(parser)?);
        }
        names.push((name, arguments));
        if matches!(kind, AbsentKind::OfTable(_)) {
            expect_words(parser, &["on"])?;
            table = Some(parser.parse_object_name(false)?);
            break;
        }
        if !accept(parser, &Token::Comma) {
            break;
        }
    }
    let _ = accept_words(parser, &["cascade"]) || accept_words(parser, &["restrict"]);
    Ok(DropAbsent { kind, if_exists, names, table })
}

/// Types in Postgres's words up to the closing bracket.
fn argument_list(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let mut types = Vec::new();
    if accept(parser, &Token::RParen) {
        return Ok(String::new());
    }
    loop {
        if accept(parser, &Token::Mul) {
            types.push("*".to_owned());
        } else {
            let ty = argument_type(parser)?;
            types.push(super::column_type(&ty).map_or_else(|_| ty.to_string().to_lowercase(), |ty| ty.ty.to_string()));
        }
        if accept(parser, &Token::RParen) {
            return Ok(types.join(", "));
        }
        parser.expect_token(&Token::Comma)?;
    }
}

/// `[IN | OUT | INOUT | VARIADIC] [name] type`
fn argument_type(parser: &mut Parser<'_>) -> Result<ast::DataType, ParserError> {
    let _ = ["in", "out", "inout", "variadic"].iter().any(|mode| accept_words(parser, &[mode]));
    // A type may have several words, of which the first could be a name.
    let alone = parser.maybe_parse(|parser| {
        let ty = parser.parse_data_type()?;
        match parser.peek_token_ref().token {
            Token::Comma | Token::RParen => Ok(ty),
            _ => parser.expected_ref("a type", parser.peek_token_ref()),
        }
    })?;
    match alone {
        Some(ty) => Ok(ty),
        None => {
            parser.parse_identifier()?;
            parser.parse_data_type()
        }
    }
}

impl Ddl<'_, '_> {
    /// Carries it out: an error, or notices.
    pub(super) fn drop_absent(&mut self, drop: &DropAbsent) -> Result<&'static str> {
        let tag = match drop.kind {
            AbsentKind::Routine("function") => "DROP FUNCTION",
            AbsentKind::Routine("procedure") => "DROP PROCEDURE",
            AbsentKind::Routine("aggregate") => "DROP AGGREGATE",
            AbsentKind::Routine(_) => "DROP ROUTINE",
            AbsentKind::OfTable("trigger") => "DROP TRIGGER",
            AbsentKind::OfTable("rule") => "DROP RULE",
            AbsentKind::OfTable(_) => "DROP POLICY",
            AbsentKind::Named(_, tag) => tag,
        };
        if let Some(table) = &drop.table
            && (!drop.if_exists || self.find(table)?.is_some())
        {
            self.table(table)?;
        } else if let Some(table) = &drop.table {
            self.notice(format!("relation \"{}\" does not exist, skipping", display_name(table)));
            return Ok(tag);
        }
        for (name, arguments) in &drop.names {
            let shown = display_name(name);
            self.refuse_built_in(drop.kind, name, tag)?;
            let (missing, kind) = match drop.kind {
                AbsentKind::Routine(kind) => match arguments {
                    Some(arguments) => {
                        (format!("{kind} {shown}({arguments}) does not exist"), ErrorKind::UndefinedFunction)
                    }
                    // PostgreSQL says this only of the name.
                    None if drop.if_exists => {
                        (format!("{kind} {shown}() does not exist"), ErrorKind::UndefinedFunction)
                    }
                    None => (format!("could not find a {kind} named \"{shown}\""), ErrorKind::UndefinedFunction),
                },
                AbsentKind::OfTable(kind) => {
                    let table = drop.table.as_ref().map(display_name).unwrap_or_default();
                    let owner = if kind == "rule" || drop.if_exists { "relation" } else { "table" };
                    (format!("{kind} \"{shown}\" for {owner} \"{table}\" does not exist"), ErrorKind::UndefinedObject)
                }
                AbsentKind::Named(kind, _) => {
                    (format!("{kind} \"{shown}\" does not exist"), ErrorKind::UndefinedObject)
                }
            };
            if !drop.if_exists {
                return Err(Error::new(kind, missing));
            }
            self.notice(format!("{missing}, skipping"));
        }
        Ok(tag)
    }

    /// 0A000 for what is there after all: the types and functions that are built in.
    fn refuse_built_in(&self, kind: AbsentKind, name: &ObjectName, tag: &str) -> Result<()> {
        let parts = super::name_parts(name)?;
        let Some((base, _)) = parts.last() else { return Ok(()) };
        let there = match kind {
            AbsentKind::Routine(_) => {
                !crate::functions::by_name(base).is_empty() || crate::functions::absent::has_name(base)
            }
            AbsentKind::Named("type", _) => PgType::from_name(base).is_some() || self.find(name)?.is_some(),
            _ => false,
        };
        if there { Err(Error::unsupported(tag)) } else { Ok(()) }
    }
}
