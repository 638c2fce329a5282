//! WITH: common table expressions, also recursive ones.

use std::sync::Arc;

use sqlparser::ast::{self, CteAsMaterialized, SetExpr, SetOperator, SetQuantifier, Spanned};
use sqlparser::tokenizer::Span;
use stratos_types::{ColumnType, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::query::Tail;
use super::recursion::mentions;
use super::scope::fold_ident;
use crate::ir::{ColumnId, Cte, Expr, OutputColumn, Rel, StatementKind};

/// A CTE in sight.
#[derive(Debug, Clone)]
pub(crate) struct CteBinding {
    pub name: String,
    pub id: u32,
    /// Name and type, and the column of the definition.
    pub columns: Vec<(String, ColumnType, ColumnId)>,
    /// Set while its non-recursive term is bound: it cannot be referred to yet.
    pub forbidden: bool,
    /// Set while its recursive term is bound.
    pub recursing: bool,
}

impl Binder<'_> {
    /// A reference to a CTE, if the name is one's.
    pub(crate) fn cte_scan(&mut self, name: &str, span: Span) -> Result<Option<(Rel, String)>> {
        let Some(found) = self.ctes.iter().rev().find(|c| c.name == name).cloned() else {
            return Ok(None);
        };
        if found.forbidden {
            return Err(self.at(
                Error::unsupported(format!("recursive reference to query \"{name}\" outside its recursive term")),
                span,
            ));
        }
        if found.recursing
            && let Some(level) = self.levels.last_mut()
        {
            level.recurses = true;
        }
        let mut columns: Vec<OutputColumn> = Vec::with_capacity(found.columns.len());
        for (name, ty, defined) in found.columns {
            let column = self.output(name, ty);
            self.note_composite(column.id, &Expr::column(defined, ty));
            columns.push(column);
        }
        Ok(Some((Rel::CteScan { cte: found.id, columns }, found.name)))
    }

    /// Binds the definitions and brings them into sight.
    pub(crate) fn with_clause(&mut self, with: &ast::With) -> Result<Vec<Cte>> {
        let ast::With { with_token: _, recursive, cte_tables } = with;
        let order = self.binding_order(with)?;
        self.check_recursion(with)?;
        let mut ctes: Vec<Cte> = Vec::with_capacity(cte_tables.len());
        for cte in order.into_iter().filter_map(|at| cte_tables.get(at)) {
            let name = fold_ident(&cte.alias.name);
            if ctes.iter().any(|c| c.name == name) {
                return Err(self.at(
                    Error::new(
                        ErrorKind::DuplicateAlias,
                        format!("WITH query name \"{name}\" specified more than once"),
                    ),
                    cte.alias.name.span,
                ));
            }
            let bound = self.cte(cte, *recursive)?;
            self.ctes.push(CteBinding {
                name: bound.name.clone(),
                id: bound.id,
                columns: bound.columns.iter().map(|c| (c.name.clone(), c.ty, c.id)).collect(),
                forbidden: false,
                recursing: false,
            });
            ctes.push(bound);
        }
        Ok(ctes)
    }

    fn cte(&mut self, cte: &ast::Cte, recursive: bool) -> Result<Cte> {
        let ast::Cte { alias, query, from, materialized, closing_paren_token: _ } = cte;
        if from.is_some() {
            return Err(Error::unsupported("FROM in WITH"));
        }
        let name = fold_ident(&alias.name);
        let span = alias.name.span;
        let names: Vec<String> = alias.columns.iter().map(|c| fold_ident(&c.name)).collect();
        if alias.columns.iter().any(|c| c.data_type.is_some()) {
            return Err(Error::unsupported("types of columns in WITH"));
        }
        let id = self.fresh_cte();
        let materialized = materialized.as_ref().map(|m| matches!(m, CteAsMaterialized::Materialized));
        if recursive
            && let SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } = &*query.body
            && mentions(right, &name)
        {
            refuse_tail(self, query, span)?;
            let all = match set_quantifier {
                SetQuantifier::All => true,
                SetQuantifier::None | SetQuantifier::Distinct => false,
                _ => return Err(Error::unsupported("UNION BY NAME")),
            };
            let visible = self.ctes.len();
            let inner = match &query.with {
                Some(with) => self.with_clause(with)?,
                None => Vec::new(),
            };
            if !inner.is_empty() {
                return Err(self.at(Error::unsupported("WITH inside a recursive query"), span));
            }
            let tail = Tail { order_by: Vec::new(), limit: None, offset: None, ties: false, locks: &[] };
            self.ctes.push(CteBinding {
                name: name.clone(),
                id,
                columns: Vec::new(),
                forbidden: true,
                recursing: false,
            });
            let first = self.body(left, &tail, false)?;
            // What nothing decides is text; only for the type of both terms it is still undecided.
            let given: Vec<ColumnType> = first.output().iter().map(|column| column.ty).collect();
            let decided = |ty: &ColumnType| if ty.ty == PgType::Unknown { PgType::Text.into() } else { *ty };
            let first = self.cast_output(first, &given.iter().map(decided).collect::<Vec<_>>())?;
            let columns = self.cte_columns(&first, &names, &name, span)?;
            if let Some(own) = self.ctes.last_mut() {
                (own.forbidden, own.recursing) = (false, true);
                own.columns = columns.iter().map(|c| (c.name.clone(), c.ty, c.id)).collect();
            }
            let second = self.body(right, &tail, false)?;
            self.ctes.truncate(visible);
            let outputs = second.output();
            if outputs.len() != columns.len() {
                let error = Error::new(ErrorKind::SyntaxError, "each UNION query must have the same number of columns");
                return Err(self.at(error, super::setop::column_span(right, 0)));
            }
            for (i, ((a, given), b)) in columns.iter().zip(&given).zip(&outputs).enumerate() {
                let common = super::resolve::common_type(&[given.ty, b.ty.ty], "UNION")
                    .map_err(|error| self.at(error, super::setop::column_span(right, i)))?;
                let typmod = if *given == b.ty { given.typmod } else { -1 };
                let common = ColumnType { ty: common, typmod };
                if common != a.ty {
                    let place = match &**left {
                        SetExpr::Values(_) => Span::empty(),
                        left => super::setop::column_span(left, i),
                    };
                    return Err(self.at(
                        Error::new(
                            ErrorKind::DatatypeMismatch,
                            format!(
                                "recursive query \"{name}\" column {} has type {} in non-recursive term but type {common} overall",
                                i + 1,
                                a.ty
                            ),
                        )
                        .with_hint("Cast the output of the non-recursive term to the correct type."),
                        place,
                    ));
                }
            }
            let types: Vec<ColumnType> = columns.iter().map(|c| c.ty).collect();
            let second = self.cast_output_of(second, &types, Some(right))?;
            return Ok(Cte {
                id,
                name,
                query: Arc::new(first),
                recursive: Some((Arc::new(second), all)),
                columns,
                materialized,
            });
        }
        let rel = self.query(query, true)?;
        let columns = self.cte_columns(&rel, &names, &name, span)?;
        Ok(Cte { id, name, query: Arc::new(rel), recursive: None, columns, materialized })
    }

    fn cte_columns(&self, rel: &Rel, names: &[String], name: &str, span: Span) -> Result<Vec<OutputColumn>> {
        let mut columns = rel.output();
        if names.len() > columns.len() {
            return Err(self.at(
                Error::new(
                    ErrorKind::InvalidColumnReference,
                    format!(
                        "WITH query \"{name}\" has {} columns available but {} columns specified",
                        columns.len(),
                        names.len()
                    ),
                ),
                span,
            ));
        }
        for (column, name) in columns.iter_mut().zip(names) {
            column.name.clone_from(name);
        }
        Ok(columns)
    }

    /// `WITH … INSERT | UPDATE | DELETE`, which the parser gives as a query.
    pub(crate) fn with_dml(&mut self, query: &ast::Query) -> Result<Option<(StatementKind, Vec<OutputColumn>)>> {
        let statement = match &*query.body {
            SetExpr::Insert(s) | SetExpr::Update(s) | SetExpr::Delete(s) => s,
            SetExpr::Merge(_) => return Err(Error::unsupported("MERGE")),
            _ => return Ok(None),
        };
        let ctes = match &query.with {
            Some(with) => self.with_clause(with)?,
            None => Vec::new(),
        };
        let (mut kind, output) = self.statement(statement)?;
        if !ctes.is_empty() {
            super::dml::wrap_with(&mut kind, &ctes);
        }
        Ok(Some((kind, output)))
    }
}

/// 0A000 for what Postgres does not take behind a recursive UNION either.
fn refuse_tail(binder: &Binder<'_>, query: &ast::Query, span: Span) -> Result<()> {
    let refuse = |what: &str, place: Span| {
        let place = if place == Span::empty() { span } else { place };
        Err(binder.at(
            Error::new(ErrorKind::FeatureNotSupported, format!("{what} in a recursive query is not implemented")),
            place,
        ))
    };
    if let Some(order_by) = &query.order_by {
        return refuse("ORDER BY", order_by.span());
    }
    match &query.limit_clause {
        Some(ast::LimitClause::LimitOffset { offset: Some(offset), .. }) => {
            return refuse("OFFSET", offset.value.span());
        }
        Some(ast::LimitClause::LimitOffset { limit: Some(limit), .. }) => return refuse("LIMIT", limit.span()),
        Some(_) => return refuse("LIMIT", span),
        None if query.fetch.is_some() => return refuse("LIMIT", span),
        None => {}
    }
    if !query.locks.is_empty() {
        let message = "FOR UPDATE/SHARE in a recursive query is not implemented";
        return Err(Error::new(ErrorKind::FeatureNotSupported, message));
    }
    Ok(())
}
