//! CREATE TABLE in the forms that the parser does not know, said in its own language: `LIKE` among the columns, `AS` behind
//! names of columns, of a prepared statement, `WITH NO DATA`.

use sqlparser::ast;
use sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};
use stratos_types::{Error, Result};

use super::rewrite::{is_end, is_word, keyword, list_end, name_length, plain, word};

/// Beginning of the synthetic column name that stands for a LIKE clause, whose table is the column's type. The options follow.
pub(crate) const LIKE_MARKER: &str = "\u{1}like";
/// Synthetic type of a column of CREATE TABLE AS that has only a name.
pub(crate) const NAME_ONLY: &str = "\u{1}name";
/// Synthetic alias of the query that `WITH NO DATA` follows.
const NO_DATA_MARKER: &str = "\u{1}no data";
/// Beginning of the synthetic table name that stands for EXECUTE.
const EXECUTE_MARKER: &str = "\u{1}execute ";

/// What LIKE may include.
const LIKE_OPTIONS: &[&str] = &[
    "all",
    "comments",
    "compression",
    "constraints",
    "defaults",
    "generated",
    "identity",
    "indexes",
    "statistics",
    "storage",
];

/// How far a CREATE TABLE was read.
#[derive(Default)]
pub(super) struct Creation {
    table: bool,
    /// What may be the list of its columns was read.
    listed: bool,
    /// Where its query begins in what was written.
    query_at: Option<usize>,
}

impl Creation {
    /// Says what comes next in the parser's language, if it is of these forms: how many tokens it took. `first` is the
    /// statement's first word, `depth` the number of open parentheses.
    pub(super) fn step(
        &mut self,
        tokens: &[TokenWithSpan],
        first: Keyword,
        depth: usize,
        out: &mut Vec<TokenWithSpan>,
    ) -> Option<usize> {
        let token = tokens.first()?;
        if first != Keyword::CREATE || token.token == Token::SemiColon {
            *self = Creation::default();
            return None;
        }
        let span = token.span;
        let before_query = self.table && self.query_at.is_none();
        match keyword(token) {
            Keyword::TABLE if depth == 0 => {
                self.table = true;
                None
            }
            Keyword::AS if before_query && depth == 0 => {
                self.query_at = Some(out.len() + 1);
                let next = tokens.get(1)?;
                let (name, used) = match (keyword(next), tokens.get(2).map(|t| &t.token)) {
                    (Keyword::TABLE, _) => (None, 2),
                    (Keyword::EXECUTE, Some(Token::Word(name))) => {
                        let folded = match name.quote_style {
                            Some(_) => name.value.clone(),
                            None => name.value.to_lowercase(),
                        };
                        (Some(word(&format!("{EXECUTE_MARKER}{folded}"), Keyword::NoKeyword, true, next.span)), 3)
                    }
                    _ => return None,
                };
                out.push(token.clone());
                out.push(word("SELECT", Keyword::SELECT, false, next.span));
                out.push(plain(Token::Mul, next.span));
                out.push(word("FROM", Keyword::FROM, false, next.span));
                out.extend(name);
                Some(used)
            }
            Keyword::LIKE if before_query && depth == 1 => {
                matches!(out.last().map(|t| &t.token), Some(Token::LParen | Token::Comma)).then_some(())?;
                like(tokens, out)
            }
            Keyword::WITH if depth == 0 => {
                let at = self.query_at?;
                let empty = tokens.get(1).is_some_and(|t| keyword(t) == Keyword::NO);
                let data = 1 + usize::from(empty);
                if !tokens.get(data).is_some_and(|t| is_word(t, "data")) || !is_end(tokens.get(data + 1)) {
                    return None;
                }
                if empty {
                    let opening = [
                        word("SELECT", Keyword::SELECT, false, span),
                        plain(Token::Mul, span),
                        word("FROM", Keyword::FROM, false, span),
                        plain(Token::LParen, span),
                    ];
                    out.splice(at..at, opening);
                    out.push(plain(Token::RParen, span));
                    out.push(word("AS", Keyword::AS, false, span));
                    out.push(word(NO_DATA_MARKER, Keyword::NoKeyword, true, span));
                }
                Some(data + 1)
            }
            _ if token.token == Token::LParen && before_query && depth == 0 => {
                // Looking for AS behind every parenthesis would take time that grows with the square of their number.
                let first = !std::mem::replace(&mut self.listed, true);
                if first { names_only(tokens, out) } else { None }
            }
            _ => None,
        }
    }
}

/// `LIKE table {INCLUDING | EXCLUDING} option …` as a column.
fn like(tokens: &[TokenWithSpan], out: &mut Vec<TokenWithSpan>) -> Option<usize> {
    let span = tokens.first()?.span;
    let name = tokens.get(1..1 + name_length(tokens.get(1..)?))?;
    if name.is_empty() {
        return None;
    }
    let mut marker = LIKE_MARKER.to_owned();
    let mut used = 1 + name.len();
    while let (Some(verb), Some(Token::Word(option))) = (tokens.get(used), tokens.get(used + 1).map(|t| &t.token)) {
        let option = option.value.to_ascii_lowercase();
        let sign = match keyword(verb) {
            Keyword::INCLUDING => '+',
            Keyword::EXCLUDING => '-',
            _ => break,
        };
        if !LIKE_OPTIONS.contains(&option.as_str()) {
            // The option is what the parser is to find fault with.
            used += 1;
            break;
        }
        marker.push(sign);
        marker.push_str(&option);
        used += 2;
    }
    out.push(word(&marker, Keyword::NoKeyword, true, span));
    for part in name {
        let mut part = part.clone();
        if let Token::Word(word) = &mut part.token {
            // Whatever its name, it is a name here.
            word.keyword = Keyword::NoKeyword;
        }
        out.push(part);
    }
    Some(used)
}

/// `(a, b)` before AS: names of columns without types.
fn names_only(tokens: &[TokenWithSpan], out: &mut Vec<TokenWithSpan>) -> Option<usize> {
    let close = list_end(tokens.get(1..)?)? + 1;
    let names = tokens.get(1..close)?;
    let is_list = names.len() % 2 == 1
        && names.iter().enumerate().all(|(at, t)| match t.token {
            Token::Word(_) => at % 2 == 0,
            Token::Comma => at % 2 == 1,
            _ => false,
        });
    let behind = tokens.get(close + 1..)?.iter().take_while(|t| !is_end(Some(t)));
    if !is_list || !behind.into_iter().any(|t| keyword(t) == Keyword::AS) {
        return None;
    }
    for token in &tokens[..=close] {
        out.push(token.clone());
        if matches!(token.token, Token::Word(_)) {
            out.push(word(NAME_ONLY, Keyword::NoKeyword, true, token.span));
        }
    }
    Some(close + 1)
}

/// The relation that a query reads, where it is a `SELECT * FROM` of these forms.
fn only_relation(query: &ast::Query) -> Option<&ast::TableFactor> {
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.from.as_slice() {
        [ast::TableWithJoins { relation, joins }] if joins.is_empty() => Some(relation),
        _ => None,
    }
}

/// The query of CREATE TABLE AS, and whether its rows are wanted.
pub(crate) fn data_wanted(query: &ast::Query) -> (&ast::Query, bool) {
    match only_relation(query) {
        Some(ast::TableFactor::Derived { subquery, alias: Some(alias), .. }) if alias.name.value == NO_DATA_MARKER => {
            (subquery, false)
        }
        _ => (query, true),
    }
}

/// Puts another query in the place of that of CREATE TABLE AS; whether its rows are wanted stays.
pub(crate) fn replace_query(query: &mut ast::Query, other: ast::Query) {
    if let ast::SetExpr::Select(select) = query.body.as_mut()
        && let [ast::TableWithJoins { relation, .. }] = select.from.as_mut_slice()
        && let ast::TableFactor::Derived { subquery, alias: Some(alias), .. } = relation
        && alias.name.value == NO_DATA_MARKER
    {
        **subquery = other;
        return;
    }
    *query = other;
}

/// The prepared statement that CREATE TABLE AS executes, with its arguments.
pub(crate) fn executed(query: &ast::Query) -> Option<(String, Vec<ast::Expr>)> {
    let ast::TableFactor::Table { name, args, .. } = only_relation(query)? else { return None };
    let name = name.0.first()?.as_ident()?.value.strip_prefix(EXECUTE_MARKER)?.to_owned();
    let mut arguments = Vec::new();
    for arg in args.iter().flat_map(|args| &args.args) {
        match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => arguments.push(expr.clone()),
            _ => return None,
        }
    }
    Some((name, arguments))
}

/// `SELECT … INTO table …` as the CREATE TABLE AS that it means; none for another statement.
///
/// # Errors
/// 0A000 for an unlogged table.
pub(super) fn select_into(statement: &mut ast::Statement) -> Result<Option<ast::CreateTable>> {
    fn first_select(body: &mut ast::SetExpr) -> Option<&mut ast::Select> {
        match body {
            ast::SetExpr::Select(select) => Some(select),
            ast::SetExpr::SetOperation { left, .. } => first_select(left),
            ast::SetExpr::Query(query) => first_select(&mut query.body),
            _ => None,
        }
    }
    let ast::Statement::Query(query) = statement else { return Ok(None) };
    let Some(into) = first_select(&mut query.body).and_then(|select| select.into.take()) else { return Ok(None) };
    if into.unlogged {
        return Err(Error::unsupported("UNLOGGED"));
    }
    let create = CreateTableBuilder::new(into.name).temporary(into.temporary).query(Some(query.clone()));
    Ok(Some(create.build()))
}
