//! Assignment to parts of arrays and jsonb values: `SET a[1] = 5`, `SET a[2:3] = '{7,8}'`, `SET j['k'][0] = '1'`, `INSERT INTO t (a[1])`.
//!
//! The parser knows only names as targets. So a target with subscripts is made a synthetic name before it reads the tokens, which
//! holds the target's text. What is assigned to the column is then the whole value: what it was, with the part replaced.

use std::sync::Arc;

use sqlparser::ast::{self, AccessExpr, ObjectName, Subscript};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};
use stratos_types::{CastContext, ColumnType, Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::composite::text_array;
use super::parse::parse_expr_at;
use super::query::is_default;
use super::rewrite::{keyword, name_length, word};
use super::scope::{name_parts, name_span};
use super::source::SourceText;
use crate::catalog::Table;
use crate::functions::{ARRAY_SET_ELEMENT, ARRAY_SET_SLICE, JSONB_SET_PART};
use crate::ir::{Expr, ExprKind};

/// Beginning of the synthetic name that carries the text of a target with subscripts.
const ELEMENT_MARKER: &str = "\u{1}element ";

/// A list of targets that is being read.
struct Targets {
    /// How many brackets are open around its commas.
    depth: usize,
    /// It is in parentheses of its own, and does not end before them.
    enclosed: bool,
}

/// How many tokens the subscripts are that stand there; none where they do not end.
fn subscripts(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut open = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LBracket => open += 1,
            Token::RBracket => open = open.checked_sub(1)?,
            Token::SemiColon | Token::EOF => return None,
            _ => {}
        }
        if open == 0 && tokens.get(at + 1).is_none_or(|next| next.token != Token::LBracket) {
            return Some(at + 1);
        }
    }
    None
}

/// Where the list of columns of an INSERT opens whose INTO is the first of these tokens.
fn column_list(tokens: &[TokenWithSpan]) -> Option<usize> {
    let name = 1 + name_length(tokens.get(1..)?);
    let list = if keyword(tokens.get(name)?) == Keyword::AS { name + 2 } else { name };
    let begins_query = |token: &TokenWithSpan| {
        token.token == Token::LParen
            || matches!(keyword(token), Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::TABLE)
    };
    (tokens.get(list)?.token == Token::LParen && !begins_query(tokens.get(list + 1)?)).then_some(list)
}

/// Whether assignments begin with these tokens: SET is a name, too.
fn assigns(tokens: &[TokenWithSpan]) -> bool {
    let second = tokens.get(1).map(|token| &token.token);
    match tokens.first().map(|token| &token.token) {
        Some(Token::Word(_)) => matches!(second, Some(Token::Eq | Token::LBracket | Token::Period)),
        Some(Token::LParen) => true,
        _ => false,
    }
}

/// Makes names of targets with subscripts.
pub(super) fn name_elements(tokens: Vec<TokenWithSpan>, source: &SourceText) -> Vec<TokenWithSpan> {
    if tokens.iter().all(|token| token.token != Token::LBracket) {
        return tokens;
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut lists: Vec<Targets> = Vec::new();
    let mut columns = None;
    let mut depth = 0usize;
    // A target may begin here.
    let mut begins = false;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let first = std::mem::take(&mut begins);
        if first
            && let Token::Word(_) = token.token
            && tokens.get(at + 1).is_some_and(|next| next.token == Token::LBracket)
            && let Some(length) = subscripts(tokens.get(at + 1..).unwrap_or_default())
            && let Some(last) = tokens.get(at + length)
            && let (Some(start), Some(end)) = (source.byte_at(token.span.start), source.byte_at(last.span.end))
            && let Some(text) = source.text().get(start..end)
        {
            out.push(word(&format!("{ELEMENT_MARKER}{text}"), Keyword::NoKeyword, true, token.span));
            at += 1 + length;
            continue;
        }
        match token.token {
            Token::LParen | Token::LBracket => {
                depth += 1;
                if columns == Some(at) || first && token.token == Token::LParen {
                    lists.push(Targets { depth, enclosed: true });
                    begins = true;
                }
            }
            Token::RParen | Token::RBracket => {
                depth = depth.saturating_sub(1);
                lists.retain(|list| list.depth <= depth);
            }
            Token::Comma => begins = lists.last().is_some_and(|list| list.depth == depth),
            Token::SemiColon => {
                lists.clear();
                depth = 0;
            }
            Token::Word(_) => match keyword(token) {
                Keyword::SET if assigns(tokens.get(at + 1..).unwrap_or_default()) => {
                    lists.push(Targets { depth, enclosed: false });
                    begins = true;
                }
                // `IS DISTINCT FROM`
                Keyword::FROM if out.last().is_some_and(|t| keyword(t) == Keyword::DISTINCT) => {}
                Keyword::FROM | Keyword::WHERE | Keyword::RETURNING => {
                    lists.retain(|list| list.enclosed || list.depth < depth);
                }
                Keyword::INTO if out.last().is_some_and(|t| keyword(t) == Keyword::INSERT) => {
                    columns = column_list(tokens.get(at..).unwrap_or_default()).map(|list| at + list);
                }
                _ => {}
            },
            _ => {}
        }
        out.push(token.clone());
        at += 1;
    }
    out
}

/// A column that is assigned to, and the subscripts behind it.
pub(crate) struct Target {
    pub column: String,
    pub subscripts: Vec<AccessExpr>,
    pub place: Span,
}

impl Target {
    /// The type of the part of such a column that it names.
    pub(crate) fn part_of(&self, column: PgType) -> PgType {
        match self.subscripts.as_slice() {
            [AccessExpr::Subscript(Subscript::Index { .. })] => column.element().unwrap_or(column),
            _ => column,
        }
    }

    /// What a target names.
    ///
    /// # Errors
    /// 0A000 for fields of composite columns, syntax errors of subscripts.
    pub(crate) fn of(name: &ObjectName) -> Result<Option<Target>> {
        let place = name_span(name);
        let parts = name_parts(name)?;
        let [column] = parts.as_slice() else { return Ok(None) };
        let Some(text) = column.strip_prefix(ELEMENT_MARKER) else {
            return Ok(Some(Target { column: column.clone(), subscripts: Vec::new(), place }));
        };
        let (target, _) = parse_expr_at(text, place)?;
        match target {
            ast::Expr::CompoundFieldAccess { root, access_chain } => match *root {
                ast::Expr::Identifier(ident) => {
                    Ok(Some(Target { column: super::scope::fold_ident(&ident), subscripts: access_chain, place }))
                }
                _ => Err(Error::unsupported("this target of an assignment")),
            },
            _ => Err(Error::unsupported("this target of an assignment")),
        }
    }
}

impl Binder<'_> {
    /// `value`, which is that of the target's column, with the part of it that the target names replaced by what is given.
    pub(crate) fn assign_element(
        &mut self,
        table: &Arc<Table>,
        i: usize,
        value: Expr,
        target: &Target,
        (given, given_place): (Expr, Span),
    ) -> Result<Expr> {
        let column = &table.columns[i];
        if column.ty.ty == PgType::Jsonb {
            return self.assign_json_part(&column.name, value, target, (given, given_place));
        }
        let Some(element) = column.ty.ty.element() else {
            return Err(self.not_subscriptable(column.ty.ty, target.place));
        };
        let [AccessExpr::Subscript(subscript)] = target.subscripts.as_slice() else {
            return Err(self.at(Error::unsupported("array of more than one dimension"), target.place));
        };
        let part = match subscript {
            Subscript::Index { .. } => ColumnType { ty: element, typmod: column.ty.typmod },
            Subscript::Slice { .. } => column.ty,
        };
        let (name, args) = match subscript {
            Subscript::Index { index } => (ARRAY_SET_ELEMENT, vec![self.subscript(index)?]),
            Subscript::Slice { stride: Some(_), .. } => {
                return Err(self.at(Error::unsupported("array slice with a stride"), target.place));
            }
            Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                let mut args = Vec::with_capacity(4);
                for bound in [lower_bound, upper_bound] {
                    args.push(match bound {
                        Some(bound) => self.subscript(bound)?,
                        None => Expr::literal(Datum::Int4(0), PgType::Int4),
                    });
                }
                for bound in [lower_bound, upper_bound] {
                    args.push(Expr::literal(Datum::Bool(bound.is_some()), PgType::Bool));
                }
                (ARRAY_SET_SLICE, args)
            }
        };
        let given = self.assigned_part(&column.name, part, target, (given, given_place))?;
        self.call_of_parts(name, [value, given].into_iter().chain(args).collect(), column.ty)
    }

    /// The same of a jsonb value.
    fn assign_json_part(&mut self, column: &str, value: Expr, target: &Target, given: (Expr, Span)) -> Result<Expr> {
        let mut path = Vec::with_capacity(target.subscripts.len());
        let mut first_is_integer = false;
        for access in &target.subscripts {
            match access {
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let (step, is_integer) = self.json_subscript(index)?;
                    first_is_integer |= path.is_empty() && is_integer;
                    path.push(step);
                }
                AccessExpr::Subscript(Subscript::Slice { .. }) => return Err(self.json_slice(target.place)),
                AccessExpr::Dot(_) => {
                    return Err(self.at(Error::unsupported("this target of an assignment"), target.place));
                }
            }
        }
        let given = self.assigned_part(column, PgType::Jsonb.into(), target, given)?;
        let array = Expr::literal(Datum::Bool(first_is_integer), PgType::Bool);
        self.call_of_parts(JSONB_SET_PART, vec![value, given, text_array(path), array], PgType::Jsonb.into())
    }

    /// What a part is given, as the type that it has.
    fn assigned_part(
        &mut self,
        column: &str,
        part: ColumnType,
        target: &Target,
        (given, place): (Expr, Span),
    ) -> Result<Expr> {
        let from = given.ty.ty;
        self.coerce(given, part, CastContext::Assignment, false, place)?.ok_or_else(|| {
            let to = part.ty;
            let message =
                format!("subscripted assignment to \"{column}\" requires type {to} but expression is of type {from}");
            let error = Error::new(ErrorKind::DatatypeMismatch, message);
            self.at(error.with_hint("You will need to rewrite or cast the expression."), target.place)
        })
    }

    fn call_of_parts(&self, name: &str, args: Vec<Expr>, ty: ColumnType) -> Result<Expr> {
        let function = self.cx.registry.functions(name).into_iter().next();
        let function = function.ok_or_else(|| Error::internal("no function that sets parts"))?;
        Ok(Expr { kind: ExprKind::Call { function, args }, ty })
    }

    /// 0A000 for `SET a[1] = DEFAULT`.
    pub(crate) fn refuse_default(&self, target: &Target, given: &ast::Expr) -> Result<()> {
        if target.subscripts.is_empty() || !is_default(given) {
            return Ok(());
        }
        let message = "cannot set an array element to DEFAULT";
        Err(self.at(Error::new(ErrorKind::FeatureNotSupported, message), target.place))
    }
}
