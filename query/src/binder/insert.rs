//! INSERT: column lists, defaults, identity columns, ON CONFLICT.

use std::sync::Arc;

use sqlparser::ast::{
    self, ConflictTarget, DoUpdate, OnConflictAction, OnInsert, SetExpr, Spanned, TableAliasWithoutColumns, TableObject,
};
use sqlparser::tokenizer::Span;
use stratos_types::{Error, ErrorKind, Result};

use super::elements::Target;
use super::parse::{parse_expr, parse_expr_at};
use super::query::is_default;
use super::rewrite::{INDEXED_MARKER, OVERRIDING_MARKER, PREDICATE_MARKER};
use super::scope::{Place, Scope, ScopeTable, fold_ident, name_parts, name_span};
use super::setop::column_span;
use super::{Binder, Clause, Level};
use crate::catalog::{ConstraintKind, Index, IndexState, Table};
use crate::exec::violations::no_arbiter;
use crate::ir::{ColumnId, Expr, Insert, InsertSource, OnConflict, OutputColumn, Rel, StatementKind};
use stratos_types::CastContext;

/// `OVERRIDING SYSTEM | USER VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overriding {
    None,
    System,
    User,
}

impl Binder<'_> {
    pub(crate) fn insert(&mut self, insert: &ast::Insert) -> Result<(StatementKind, Vec<OutputColumn>)> {
        let ast::Insert {
            insert_token: _,
            optimizer_hints,
            or,
            ignore,
            into: _,
            table,
            table_alias,
            columns,
            overwrite,
            source,
            assignments,
            partitioned,
            after_columns,
            has_table_keyword,
            on,
            returning,
            output,
            replace_into,
            priority,
            insert_alias,
            settings,
            format_clause,
            multi_table_insert_type,
            multi_table_into_clauses,
            multi_table_when_clauses,
            multi_table_else_clause,
        } = insert;
        if or.is_some()
            || *ignore
            || *overwrite
            || !assignments.is_empty()
            || partitioned.is_some()
            || !after_columns.is_empty()
            || *has_table_keyword
            || output.is_some()
            || *replace_into
            || priority.is_some()
            || insert_alias.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || multi_table_insert_type.is_some()
            || !multi_table_into_clauses.is_empty()
            || !multi_table_when_clauses.is_empty()
            || multi_table_else_clause.is_some()
        {
            return Err(Error::unsupported("this clause of INSERT"));
        }
        let overriding = optimizer_hints
            .iter()
            .find_map(|h| {
                h.text.strip_prefix(OVERRIDING_MARKER).map(|kind| match kind {
                    "system" => Overriding::System,
                    _ => Overriding::User,
                })
            })
            .unwrap_or(Overriding::None);
        let TableObject::TableName(name) = table else {
            return Err(Error::unsupported("INSERT into a function or query"));
        };
        let table = self.target_table(name)?;
        let alias = table_alias.as_ref().map(|TableAliasWithoutColumns { explicit: _, alias }| fold_ident(alias));
        let listed = self.insert_columns(&table, columns)?;
        let (source, values) =
            self.insert_source(&table, &listed, source.as_deref(), overriding, !columns.is_empty())?;
        let (target_scope, target) = self.table_scope(&table, alias.as_deref());
        let on_conflict = match on {
            None => None,
            Some(OnInsert::OnConflict(on)) => Some(self.on_conflict(&table, on, &target_scope)?),
            Some(_) => return Err(Error::unsupported("ON DUPLICATE KEY UPDATE")),
        };
        let returning = self.returning(returning.as_deref(), Scope::of(target_scope))?;
        let output = returning.as_ref().map_or_else(Vec::new, |r| r.columns.iter().map(|(c, _)| c.clone()).collect());
        Ok((StatementKind::Insert(Box::new(Insert { table, source, values, on_conflict, target, returning })), output))
    }

    fn insert_columns(&self, table: &Table, columns: &[ast::ObjectName]) -> Result<Vec<(usize, Target)>> {
        if columns.is_empty() {
            let whole = |i: usize| {
                let column = table.columns[i].name.clone();
                (i, Target { column, subscripts: Vec::new(), place: Span::empty() })
            };
            return Ok((0..table.columns.len()).map(whole).collect());
        }
        let mut listed: Vec<(usize, Target)> = Vec::with_capacity(columns.len());
        for column in columns {
            let span = name_span(column);
            let Some(target) = Target::of(column)? else {
                return Err(self.at(Error::unsupported("field of a column in INSERT"), span));
            };
            let name = &target.column;
            let i = self.column_of(table, name, span)?;
            // Parts of one column may be given, but not beside the whole.
            let clashes = |other: &Target| target.subscripts.is_empty() || other.subscripts.is_empty();
            if listed.iter().any(|(other, given)| *other == i && clashes(given)) {
                return Err(self.at(
                    Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once")),
                    span,
                ));
            }
            listed.push((i, target));
        }
        Ok(listed)
    }

    /// Index of a column of the target.
    pub(crate) fn column_of(&self, table: &Table, name: &str, span: Span) -> Result<usize> {
        table.column_named(name).ok_or_else(|| {
            self.at(
                Error::new(
                    ErrorKind::UndefinedColumn,
                    format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
                ),
                span,
            )
        })
    }

    fn insert_source(
        &mut self,
        table: &Arc<Table>,
        listed: &[(usize, Target)],
        source: Option<&ast::Query>,
        overriding: Overriding,
        explicit: bool,
    ) -> Result<(InsertSource, Vec<Expr>)> {
        let Some(query) = source else {
            let row = self.insert_row(table, listed, None, overriding)?;
            return Ok((InsertSource::Rows(vec![row]), Vec::new()));
        };
        if let SetExpr::Values(values) = &*query.body
            && query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
            && query.locks.is_empty()
        {
            let mut rows = Vec::with_capacity(values.rows.len());
            self.levels.push(Level { clause: Some(Clause::Values), ..Level::default() });
            let width = values.rows.first().map_or(0, |r| r.content.len());
            for row in &values.rows {
                let first = row.content.first().map_or(Span::empty(), Spanned::span);
                if row.content.len() != width {
                    return Err(
                        self.at(Error::new(ErrorKind::SyntaxError, "VALUES lists must all be the same length"), first)
                    );
                }
                self.check_width(listed, &row.content, width, explicit)?;
                rows.push(self.insert_row(table, listed, Some(&row.content), overriding)?);
            }
            self.levels.pop();
            if rows.iter().flatten().any(Expr::has_subquery) {
                // The row evaluator has no subqueries: a query computes the rows.
                let columns: Vec<_> = table.columns.iter().map(|c| self.output(c.name.clone(), c.ty)).collect();
                let values = columns.iter().map(|c| Expr::column(c.id, c.ty)).collect();
                return Ok((InsertSource::Query(Box::new(Rel::Values { columns, rows })), values));
            }
            return Ok((InsertSource::Rows(rows), Vec::new()));
        }
        let rel = self.query(query, false)?;
        let output = rel.output();
        if output.len() > listed.len() {
            let error = Error::new(ErrorKind::SyntaxError, "INSERT has more expressions than target columns");
            return Err(self.at(error, column_span(&query.body, listed.len())));
        }
        if output.len() < listed.len() && explicit {
            let span = listed.get(output.len()).map_or(Span::empty(), |(_, target)| target.place);
            return Err(
                self.at(Error::new(ErrorKind::SyntaxError, "INSERT has more target columns than expressions"), span)
            );
        }
        // Undecided literals of the select list take the columns' types.
        let types: Vec<_> = output
            .iter()
            .zip(listed)
            .map(|(c, (i, target))| {
                if c.ty.ty == stratos_types::PgType::Unknown {
                    target.part_of(table.columns[*i].ty.ty).into()
                } else {
                    c.ty
                }
            })
            .collect();
        let rel = self.cast_output_of(rel, &types, Some(&query.body))?;
        let output = rel.output();
        let mut values = Vec::with_capacity(table.columns.len());
        for i in 0..table.columns.len() {
            let place = |at: usize| column_span(&query.body, at);
            let given = listed.iter().zip(&output).enumerate().map(|(at, (listed, output))| (listed, output, at));
            let mut given = given.filter(|((c, _), ..)| *c == i).peekable();
            values.push(match given.peek() {
                Some(((_, target), ..)) if !target.subscripts.is_empty() => {
                    let mut value = Self::null(table.columns[i].ty);
                    for ((_, target), column, at) in given {
                        value = self.assign_element(
                            table,
                            i,
                            value,
                            target,
                            (Expr::column(column.id, column.ty), place(at)),
                        )?;
                    }
                    value
                }
                Some((_, column, at)) => {
                    self.check_identity(table, i, overriding, false, Span::empty())?;
                    if overriding == Overriding::User && table.columns[i].identity.is_some() {
                        self.default_value(table, i)?
                    } else {
                        let expr = Expr::column(column.id, column.ty);
                        self.assign(table, i, expr, place(*at))?
                    }
                }
                None => self.default_value(table, i)?,
            });
        }
        Ok((InsertSource::Query(Box::new(rel)), values))
    }

    fn check_width(&self, listed: &[(usize, Target)], row: &[ast::Expr], width: usize, explicit: bool) -> Result<()> {
        if width > listed.len() {
            let span = row.get(listed.len()).map_or(Span::empty(), Spanned::span);
            return Err(
                self.at(Error::new(ErrorKind::SyntaxError, "INSERT has more expressions than target columns"), span)
            );
        }
        if width < listed.len() && explicit {
            let span = listed.get(width).map_or(Span::empty(), |(_, target)| target.place);
            return Err(
                self.at(Error::new(ErrorKind::SyntaxError, "INSERT has more target columns than expressions"), span)
            );
        }
        Ok(())
    }

    /// A row in the table's order, with defaults filled in.
    fn insert_row(
        &mut self,
        table: &Arc<Table>,
        listed: &[(usize, Target)],
        row: Option<&[ast::Expr]>,
        overriding: Overriding,
    ) -> Result<Vec<Expr>> {
        let mut bound: Vec<Option<Expr>> = vec![None; table.columns.len()];
        // All of them before the first is cast for its column: a parameter that stands in two places has one type.
        let mut given: Vec<(usize, &Target, Expr, Span)> = Vec::with_capacity(listed.len());
        for ((i, target), e) in listed.iter().zip(row.unwrap_or(&[])) {
            self.refuse_default(target, e)?;
            if is_default(e) {
                continue;
            }
            let span = e.place();
            self.check_identity(table, *i, overriding, false, span)?;
            if overriding == Overriding::User && table.columns[*i].identity.is_some() {
                continue;
            }
            given.push((*i, target, self.expr(e)?, span));
        }
        for (i, target, expr, span) in given {
            bound[i] = Some(match target.subscripts.as_slice() {
                [] => self.assign(table, i, expr, span)?,
                _ => {
                    let before = bound[i].take().unwrap_or_else(|| Self::null(table.columns[i].ty));
                    self.assign_element(table, i, before, target, (expr, span))?
                }
            });
        }
        bound
            .into_iter()
            .enumerate()
            .map(|(i, e)| match e {
                Some(e) => Ok(e),
                None => self.default_value(table, i),
            })
            .collect()
    }

    /// A value given for a GENERATED ALWAYS column is an error (428C9).
    fn check_identity(&self, table: &Table, i: usize, overriding: Overriding, update: bool, _span: Span) -> Result<()> {
        let column = &table.columns[i];
        if !column.identity.as_ref().is_some_and(|id| id.always) || overriding != Overriding::None {
            return Ok(());
        }
        let detail = format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name);
        if update {
            return Err(Error::new(
                ErrorKind::GeneratedAlways,
                format!("column \"{}\" can only be updated to DEFAULT", column.name),
            )
            .with_detail(detail));
        }
        Err(Error::new(
            ErrorKind::GeneratedAlways,
            format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name),
        )
        .with_detail(detail)
        .with_hint("Use OVERRIDING SYSTEM VALUE to override."))
    }

    pub(crate) fn check_identity_update(&self, table: &Table, i: usize) -> Result<()> {
        self.check_identity(table, i, Overriding::None, true, Span::empty())
    }

    /// A value cast for a column.
    pub(crate) fn assign(&mut self, table: &Table, i: usize, expr: Expr, span: Span) -> Result<Expr> {
        let column = &table.columns[i];
        let from = expr.ty.ty;
        self.coerce(expr, column.ty, CastContext::Assignment, false, span)?.ok_or_else(|| {
            self.at(
                Error::new(
                    ErrorKind::DatatypeMismatch,
                    format!("column \"{}\" is of type {} but expression is of type {from}", column.name, column.ty.ty),
                )
                .with_hint("You will need to rewrite or cast the expression."),
                span,
            )
        })
    }

    /// What DEFAULT means for a column.
    pub(crate) fn default_value(&mut self, table: &Table, i: usize) -> Result<Expr> {
        let column = &table.columns[i];
        let expr = if let Some(identity) = &column.identity {
            self.nextval(identity.sequence)?
        } else if let Some(default) = &column.default {
            let (ast, source) = parse_expr(&default.sql)?;
            // Spans of the default's own text must not become positions in the statement.
            let cx = super::BindContext { source: Arc::new(super::SourceText::default()), ..self.cx.clone() };
            drop(source);
            let mut inner = Binder::new(&cx);
            inner.next_column = self.next_column;
            inner.next_cte = self.next_cte;
            inner.levels.push(Level { clause: Some(Clause::Default), ..Level::default() });
            let expr = inner.expr(&ast)?;
            let expr = inner.known_or_null(expr, column.ty)?;
            self.next_column = inner.next_column;
            self.next_cte = inner.next_cte;
            expr
        } else {
            return Ok(Self::null(column.ty));
        };
        self.assign(table, i, expr, Span::empty())
    }

    /// A default's literal is read as the column's type.
    fn known_or_null(&mut self, expr: Expr, ty: stratos_types::ColumnType) -> Result<Expr> {
        if expr.ty.ty == stratos_types::PgType::Unknown {
            return self.implicit(expr, ty.ty, Span::empty());
        }
        Ok(expr)
    }

    fn on_conflict(&mut self, table: &Arc<Table>, on: &ast::OnConflict, target: &ScopeTable) -> Result<OnConflict> {
        let ast::OnConflict { conflict_target, action } = on;
        // What is wrong with the assignments is said before what no index serves.
        let arbiters: Result<Vec<u32>> = match conflict_target {
            None => {
                if let OnConflictAction::DoUpdate(update) = action {
                    let error = Error::new(
                        ErrorKind::SyntaxError,
                        "ON CONFLICT DO UPDATE requires inference specification or constraint name",
                    )
                    .with_hint("For example, ON CONFLICT (column_name).");
                    let conflict =
                        update.assignments.first().and_then(|a| self.cx.source.word_before(a.span(), &["conflict"]));
                    let place = conflict.and_then(|conflict| self.cx.source.word_before(conflict, &["on"]));
                    return Err(self.at(error, place.unwrap_or_else(Span::empty)));
                }
                Ok(Vec::new())
            }
            Some(ConflictTarget::OnConstraint(name)) => {
                let parts = name_parts(name)?;
                let wanted = parts.last().map_or("", String::as_str);
                let found = table.constraints.iter().find(|c| c.name == wanted);
                match found.map(|c| &c.kind) {
                    Some(ConstraintKind::Unique { index, primary: _ }) => {
                        let deferrable = |i: &&Index| i.oid == *index && i.deferrable.is_some();
                        if let Some(index) = table.indexes.iter().find(deferrable) {
                            Err(no_arbiter(table, index))
                        } else {
                            Ok(vec![*index])
                        }
                    }
                    Some(_) => {
                        return Err(Error::new(
                            ErrorKind::WrongObjectType,
                            "constraint in ON CONFLICT clause has no associated index",
                        ));
                    }
                    None => {
                        return Err(Error::new(
                            ErrorKind::UndefinedObject,
                            format!("constraint \"{wanted}\" for table \"{}\" does not exist", table.name),
                        ));
                    }
                }
            }
            Some(ConflictTarget::Columns(columns)) => {
                let mut wanted: Vec<i16> = Vec::with_capacity(columns.len());
                // No index is on an expression.
                let mut of_expression = false;
                for ident in columns {
                    if let Some(predicate) = ident.value.strip_prefix(PREDICATE_MARKER) {
                        self.conflict_predicate(predicate, ident.span, target)?;
                        continue;
                    }
                    let name = match ident.value.strip_prefix(INDEXED_MARKER) {
                        None => fold_ident(ident),
                        Some(expression) => match self.conflict_expression(expression, ident.span, target)? {
                            Some(column) => column,
                            None => {
                                of_expression = true;
                                continue;
                            }
                        },
                    };
                    let i = table.column_named(&name).ok_or_else(|| {
                        let error = Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"));
                        // Postgres points to the beginning of the list.
                        match self.cx.source.symbol_before(ident.span, "(") {
                            Some(position) => error.at(position),
                            None => error,
                        }
                    })?;
                    wanted.push(table.columns[i].attnum);
                }
                wanted.sort_unstable();
                wanted.dedup();
                let found: Vec<&Index> = table
                    .indexes
                    .iter()
                    .filter(|index| {
                        let mut own: Vec<i16> = index.columns.iter().map(|c| c.attnum).collect();
                        own.sort_unstable();
                        own.dedup();
                        index.is_key() && index.oid != 0 && index.state == IndexState::Public && own == wanted
                    })
                    .collect();
                if let Some(index) = found.iter().find(|index| index.deferrable.is_some() && !of_expression) {
                    Err(no_arbiter(table, index))
                } else if found.is_empty() || of_expression {
                    Err(Error::new(
                        ErrorKind::InvalidColumnReference,
                        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                    ))
                } else {
                    Ok(found.into_iter().map(|index| index.oid).collect())
                }
            }
        };
        let (mut excluded_scope, excluded): (ScopeTable, Vec<ColumnId>) = self.table_scope(table, Some("excluded"));
        excluded_scope.table = None;
        let DoUpdate { assignments, selection } = match action {
            OnConflictAction::DoNothing => {
                return Ok(OnConflict { arbiters: arbiters?, update: None, excluded, filter: None });
            }
            OnConflictAction::DoUpdate(update) => update,
        };
        let mut scope = Scope::of(target.clone());
        scope.append(Scope::of(excluded_scope));
        self.levels.push(Level { scope, clause: Some(Clause::UpdateSet), ..Level::default() });
        let update = self.assignments(table, assignments)?;
        let filter = match selection {
            None => None,
            Some(e) => Some(self.in_clause(Clause::Where, |b| {
                let bound = b.expr(e)?;
                b.boolean(bound, "WHERE", e.place())
            })?),
        };
        self.levels.pop();
        Ok(OnConflict { arbiters: arbiters?, update: Some(update), excluded, filter })
    }

    /// The predicate of ON CONFLICT's target says which partial indexes serve. All indexes here hold all rows, and serve
    /// whatever it says; but it must mean something.
    fn conflict_predicate(&mut self, text: &str, place: Span, target: &ScopeTable) -> Result<()> {
        let (predicate, _) = parse_expr_at(text, place)?;
        self.conflict_operand(&predicate, target)
    }

    /// The column that an expression in ON CONFLICT's target is; none where it is something else that means something.
    fn conflict_expression(&mut self, text: &str, place: Span, target: &ScopeTable) -> Result<Option<String>> {
        let (expression, _) = parse_expr_at(text, place)?;
        let mut inner = &expression;
        while let ast::Expr::Nested(next) = inner {
            inner = next;
        }
        self.conflict_operand(inner, target)?;
        Ok(match inner {
            ast::Expr::Identifier(ident) => Some(fold_ident(ident)),
            _ => None,
        })
    }

    fn conflict_operand(&mut self, expression: &ast::Expr, target: &ScopeTable) -> Result<()> {
        let level = Level { scope: Scope::of(target.clone()), clause: Some(Clause::Where), ..Level::default() };
        self.levels.push(level);
        let bound = self.expr(expression);
        self.levels.pop();
        bound.map(|_| ())
    }

    /// A scan of a whole table, for UPDATE and DELETE.
    pub(crate) fn scan(table: &Arc<Table>, alias: &str, ids: &[ColumnId]) -> Rel {
        Rel::Scan {
            table: Arc::clone(table),
            alias: alias.to_owned(),
            columns: ids.iter().enumerate().map(|(index, id)| crate::ir::ScanColumn { index, id: *id }).collect(),
            lock: None,
        }
    }
}
