//! What ALTER TABLE does to identity columns, and ALTER SEQUENCE: sqlparser knows neither.

use sqlparser::ast::{AlterTableOperation, DataType, Expr, Ident, ObjectName, Owner, SequenceOptions, UnaryOperator};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::parse::{Extra, accept, accept_words, expect_words, owner};

/// One change of ALTER TABLE.
#[derive(Debug, Clone)]
pub enum TableAction {
    /// By sqlparser.
    Sql(Box<AlterTableOperation>),
    /// `ALTER COLUMN`
    Identity {
        /// Which column.
        column: Ident,
        /// What.
        change: IdentityChange,
    },
}

/// A change of an identity column.
#[derive(Debug, Clone)]
pub enum IdentityChange {
    /// `DROP IDENTITY`
    Drop {
        /// `IF EXISTS`
        if_exists: bool,
    },
    /// `ADD GENERATED … AS IDENTITY (…)`
    Add {
        /// `ALWAYS`, else `BY DEFAULT`.
        always: bool,
        /// `SEQUENCE NAME`, as pg_dump writes it.
        sequence: Option<ObjectName>,
        /// Other options.
        options: Vec<SequenceOptions>,
    },
    /// `SET GENERATED …`, `SET INCREMENT …`, `RESTART …`, any number of them.
    Set {
        /// Each `GENERATED`: `ALWAYS`, else `BY DEFAULT`.
        always: Vec<bool>,
        /// Changes of the sequence.
        changes: Vec<SequenceChange>,
    },
}

/// A clause of `ALTER SEQUENCE`.
#[derive(Debug, Clone)]
pub enum SequenceChange {
    /// As in CREATE SEQUENCE.
    Option(Box<SequenceOptions>),
    /// `RESTART [WITH n]`
    Restart(Option<Box<Expr>>),
    /// `AS type`
    Type(DataType),
    /// `OWNED BY`
    OwnedBy(ObjectName),
    /// `OWNER TO`
    OwnerTo(Owner),
    /// `RENAME TO`
    Rename(Ident),
    /// `SET SCHEMA`
    SetSchema(Ident),
}

/// The next tokens as lower-case words; empty where one is none.
fn words_ahead<const N: usize>(parser: &Parser<'_>, from: usize) -> [String; N] {
    std::array::from_fn(|n| match parser.peek_nth_token(from + n).token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
        _ => String::new(),
    })
}

/// The error whose place is the next token.
pub(super) fn unexpected(parser: &Parser<'_>) -> ParserError {
    let next = parser.peek_token();
    ParserError::ParserError(format!("unexpected {}{}", next.token, next.span.start))
}

/// The changes of an ALTER TABLE, from behind the table's name. None when sqlparser knows all of them.
pub(super) fn table_actions(parser: &mut Parser<'_>) -> Option<Result<Vec<TableAction>, ParserError>> {
    let mut actions = Vec::new();
    let mut ours = false;
    loop {
        let action = match identity_action(parser) {
            Ok(None) => parser.parse_alter_table_operation().map(|operation| TableAction::Sql(Box::new(operation))),
            Ok(Some(action)) => {
                ours = true;
                Ok(action)
            }
            Err(error) => return Some(Err(error)),
        };
        match action {
            Ok(action) => actions.push(action),
            Err(error) => return ours.then_some(Err(error)),
        }
        if !accept(parser, &Token::Comma) {
            return ours.then_some(Ok(actions));
        }
    }
}

/// Whether these words begin a change of an identity column, behind its name.
fn begins_identity([first, second]: &[String; 2]) -> bool {
    match (first.as_str(), second.as_str()) {
        ("drop", "identity") | ("add", "generated") | ("restart", _) => true,
        ("set", option) => matches!(
            option,
            "as" | "cache"
                | "cycle"
                | "generated"
                | "increment"
                | "maxvalue"
                | "minvalue"
                | "no"
                | "owned"
                | "restart"
                | "sequence"
                | "start"
        ),
        _ => false,
    }
}

fn identity_action(parser: &mut Parser<'_>) -> Result<Option<TableAction>, ParserError> {
    let [alter, column] = words_ahead(parser, 0);
    if alter != "alter" || matches!(column.as_str(), "constraint") {
        return Ok(None);
    }
    let name_at = if column == "column" { 2 } else { 1 };
    if !begins_identity(&words_ahead(parser, name_at + 1)) {
        return Ok(None);
    }
    for _ in 0..name_at {
        parser.next_token();
    }
    let column = parser.parse_identifier()?;
    let change = if accept_words(parser, &["drop", "identity"]) {
        IdentityChange::Drop { if_exists: accept_words(parser, &["if", "exists"]) }
    } else if accept_words(parser, &["add", "generated"]) {
        added_identity(parser)?
    } else {
        set_identity(parser)?
    };
    Ok(Some(TableAction::Identity { column, change }))
}

/// `ALWAYS | BY DEFAULT`
fn generated_when(parser: &mut Parser<'_>) -> Result<bool, ParserError> {
    let always = accept_words(parser, &["always"]);
    if !always {
        expect_words(parser, &["by"])?;
        expect_words(parser, &["default"])?;
    }
    Ok(always)
}

fn added_identity(parser: &mut Parser<'_>) -> Result<IdentityChange, ParserError> {
    let always = generated_when(parser)?;
    expect_words(parser, &["as"])?;
    expect_words(parser, &["identity"])?;
    let (mut sequence, mut options) = (None, Vec::new());
    if accept(parser, &Token::LParen) {
        while !accept(parser, &Token::RParen) {
            if sequence.is_none() && accept_words(parser, &["sequence", "name"]) {
                sequence = Some(parser.parse_object_name(false)?);
            } else {
                let option = sequence_option(parser)?;
                options.push(option.ok_or_else(|| unexpected(parser))?);
            }
        }
    }
    Ok(IdentityChange::Add { always, sequence, options })
}

fn set_identity(parser: &mut Parser<'_>) -> Result<IdentityChange, ParserError> {
    let (mut always, mut changes) = (Vec::new(), Vec::new());
    loop {
        if let Some(restart) = restart(parser)? {
            changes.push(restart);
        } else if accept_words(parser, &["set", "generated"]) {
            always.push(generated_when(parser)?);
        } else if accept_words(parser, &["set"]) {
            let option = sequence_option(parser)?.ok_or_else(|| unexpected(parser))?;
            changes.push(SequenceChange::Option(Box::new(option)));
        } else {
            return Ok(IdentityChange::Set { always, changes });
        }
    }
}

/// A signed constant; options take no expressions.
fn signed(parser: &mut Parser<'_>) -> Result<Expr, ParserError> {
    let negative = accept(parser, &Token::Minus);
    if !negative {
        accept(parser, &Token::Plus);
    }
    if !matches!(parser.peek_token().token, Token::Number(..)) {
        return Err(unexpected(parser));
    }
    let value = Expr::Value(parser.parse_number_value()?);
    Ok(if negative { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(value) } } else { value })
}

/// `RESTART [[WITH] n]`, if it comes next.
fn restart(parser: &mut Parser<'_>) -> Result<Option<SequenceChange>, ParserError> {
    if !accept_words(parser, &["restart"]) {
        return Ok(None);
    }
    let with = accept_words(parser, &["with"]);
    let number = matches!(parser.peek_token().token, Token::Number(..) | Token::Minus | Token::Plus);
    Ok(Some(SequenceChange::Restart(if with || number { Some(Box::new(signed(parser)?)) } else { None })))
}

/// An option as of CREATE SEQUENCE, if one comes next.
fn sequence_option(parser: &mut Parser<'_>) -> Result<Option<SequenceOptions>, ParserError> {
    Ok(Some(if accept_words(parser, &["increment"]) {
        let by = accept_words(parser, &["by"]);
        SequenceOptions::IncrementBy(signed(parser)?, by)
    } else if accept_words(parser, &["no", "minvalue"]) {
        SequenceOptions::MinValue(None)
    } else if accept_words(parser, &["minvalue"]) {
        SequenceOptions::MinValue(Some(signed(parser)?))
    } else if accept_words(parser, &["no", "maxvalue"]) {
        SequenceOptions::MaxValue(None)
    } else if accept_words(parser, &["maxvalue"]) {
        SequenceOptions::MaxValue(Some(signed(parser)?))
    } else if accept_words(parser, &["start"]) {
        let with = accept_words(parser, &["with"]);
        SequenceOptions::StartWith(signed(parser)?, with)
    } else if accept_words(parser, &["cache"]) {
        SequenceOptions::Cache(signed(parser)?)
    } else if accept_words(parser, &["no", "cycle"]) {
        SequenceOptions::Cycle(true)
    } else if accept_words(parser, &["cycle"]) {
        SequenceOptions::Cycle(false)
    } else {
        return Ok(None);
    }))
}

/// `ALTER SEQUENCE`, from behind these words: one change of its place in the catalog, or any number of options.
pub(super) fn alter_sequence(parser: &mut Parser<'_>) -> Result<Extra, ParserError> {
    let if_exists = accept_words(parser, &["if", "exists"]);
    let name = parser.parse_object_name(false)?;
    let mut changes = Vec::new();
    if accept_words(parser, &["owner", "to"]) {
        changes.push(SequenceChange::OwnerTo(owner(parser)?));
    } else if accept_words(parser, &["rename", "to"]) {
        changes.push(SequenceChange::Rename(parser.parse_identifier()?));
    } else if accept_words(parser, &["set", "schema"]) {
        changes.push(SequenceChange::SetSchema(parser.parse_identifier()?));
    } else {
        loop {
            changes.push(if let Some(option) = sequence_option(parser)? {
                SequenceChange::Option(Box::new(option))
            } else if let Some(restart) = restart(parser)? {
                restart
            } else if accept_words(parser, &["as"]) {
                SequenceChange::Type(parser.parse_data_type()?)
            } else if accept_words(parser, &["owned", "by"]) {
                SequenceChange::OwnedBy(parser.parse_object_name(false)?)
            } else if changes.is_empty() {
                return Err(unexpected(parser));
            } else {
                break;
            });
        }
    }
    Ok(Extra::AlterSequence { if_exists, name, changes })
}
