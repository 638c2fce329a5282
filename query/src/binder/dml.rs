//! UPDATE, DELETE, RETURNING.

use std::sync::Arc;

use sqlparser::ast::{
    self, AssignmentTarget, FromTable, SelectItem, Spanned, TableFactor, TableWithJoins, UpdateTableFromKind,
};
use sqlparser::tokenizer::Span;
use stratos_types::{Error, ErrorKind, Result};

use super::elements::Target as Assigned;
use super::from::FromItem;
use super::query::is_default;
use super::scope::{Place, Scope, ScopeTable, fold_ident, name_parts, name_span};
use super::{Binder, Clause, Level};
use crate::catalog::Table;
use crate::ir::{
    Assignment, ColumnId, Cte, Delete, Expr, ExprKind, InsertSource, OutputColumn, Rel, Returning, StatementKind,
    SubqueryKind, Update, Walk,
};

/// The target of an UPDATE or DELETE.
struct Target {
    table: Arc<Table>,
    scope: ScopeTable,
    ids: Vec<ColumnId>,
    /// `ids`, and the hidden row id where the table has no primary key.
    row_ids: Vec<ColumnId>,
}

impl Binder<'_> {
    fn dml_target(&mut self, item: &TableWithJoins) -> Result<Target> {
        let TableWithJoins { relation, joins } = item;
        if !joins.is_empty() {
            return Err(Error::new(ErrorKind::SyntaxError, "a join cannot be the target of a change"));
        }
        let TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_hints,
        } = relation
        else {
            return Err(Error::unsupported("this target of a change"));
        };
        if !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() {
            return Err(Error::unsupported("this target of a change"));
        }
        let table = self.target_table(name)?;
        let alias = match alias {
            None => None,
            Some(alias) => {
                if !alias.columns.is_empty() || alias.at.is_some() {
                    return Err(Error::unsupported("column aliases of a target"));
                }
                Some(fold_ident(&alias.name))
            }
        };
        let (scope, ids) = self.table_scope(&table, alias.as_deref());
        let mut row_ids = ids.clone();
        if !table.has_primary_key() {
            row_ids.push(self.fresh());
        }
        Ok(Target { table, scope, ids, row_ids })
    }

    /// The target joined with FROM or USING; leaves a level with that name space on the stack.
    fn dml_source(&mut self, target: &Target, from: &[TableWithJoins]) -> Result<Rel> {
        self.levels.push(Level::default());
        let base = FromItem {
            rel: Self::scan(&target.table, &target.scope.name, &target.row_ids),
            scope: Scope::of(target.scope.clone()),
        };
        // FROM items do not see the target.
        let (rel, scope) = match self.bind_from(from, None)? {
            None => (base.rel, base.scope),
            Some(item) => {
                if item.scope.tables.iter().any(|t| t.name == target.scope.name) {
                    return Err(Error::new(
                        ErrorKind::DuplicateAlias,
                        format!("table name \"{}\" specified more than once", target.scope.name),
                    ));
                }
                let mut scope = base.scope;
                scope.append(item.scope);
                (
                    Rel::Join {
                        left: Box::new(base.rel),
                        right: Box::new(item.rel),
                        kind: crate::ir::JoinKind::Inner,
                        on: None,
                        lateral: false,
                    },
                    scope,
                )
            }
        };
        if let Some(level) = self.levels.last_mut() {
            level.scope = scope;
        }
        Ok(rel)
    }

    fn dml_filter(&mut self, selection: Option<&ast::Expr>) -> Result<Option<Expr>> {
        let Some(condition) = selection else {
            return Ok(None);
        };
        self.in_clause(Clause::Where, |b| {
            let e = b.expr(condition)?;
            b.boolean(e, "WHERE", condition.place())
        })
        .map(Some)
    }

    pub(crate) fn update(&mut self, update: &ast::Update) -> Result<(StatementKind, Vec<OutputColumn>)> {
        let ast::Update {
            update_token: _,
            optimizer_hints: _,
            table,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
        } = update;
        if output.is_some() || or.is_some() || !order_by.is_empty() || limit.is_some() {
            return Err(Error::unsupported("this clause of UPDATE"));
        }
        let from: &[TableWithJoins] = match from {
            None => &[],
            Some(UpdateTableFromKind::AfterSet(items)) => items,
            Some(UpdateTableFromKind::BeforeSet(_)) => {
                return Err(Error::unsupported("FROM before SET"));
            }
        };
        let target = self.dml_target(table)?;
        let source = self.dml_source(&target, from)?;
        let assignments = self.in_clause(Clause::UpdateSet, |b| b.assignments(&target.table, assignments))?;
        let filter = self.dml_filter(selection.as_ref())?;
        let mut scope = self.levels.pop().map(|l| l.scope).unwrap_or_default();
        // RETURNING sees the new row in place of the old one.
        let alias = target.scope.name.clone();
        let (mut new_scope, new_row) = self.table_scope(&target.table, Some(&alias));
        new_scope.schema.clone_from(&target.scope.schema);
        let width = target.ids.len();
        scope.star.splice(..width, new_scope.columns.clone());
        if let Some(first) = scope.tables.first_mut() {
            *first = new_scope;
        }
        let returning = self.returning(returning.as_deref(), scope)?;
        let output = returned(returning.as_ref());
        Ok((
            StatementKind::Update(Box::new(Update {
                table: target.table,
                target: target.row_ids,
                source: filtered(source, filter.as_ref()),
                filter,
                assignments,
                new_row,
                returning,
            })),
            output,
        ))
    }

    pub(crate) fn delete(&mut self, delete: &ast::Delete) -> Result<(StatementKind, Vec<OutputColumn>)> {
        let ast::Delete {
            delete_token: _,
            optimizer_hints: _,
            tables,
            from,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
        } = delete;
        if !tables.is_empty() || output.is_some() || !order_by.is_empty() || limit.is_some() {
            return Err(Error::unsupported("this clause of DELETE"));
        }
        let FromTable::WithFromKeyword(from) = from else {
            return Err(Error::new(ErrorKind::SyntaxError, "DELETE without FROM"));
        };
        let [item] = from.as_slice() else {
            return Err(Error::unsupported("DELETE from several tables"));
        };
        let target = self.dml_target(item)?;
        let source = self.dml_source(&target, using.as_deref().unwrap_or(&[]))?;
        let filter = self.dml_filter(selection.as_ref())?;
        let scope = self.levels.pop().map(|l| l.scope).unwrap_or_default();
        let returning = self.returning(returning.as_deref(), scope)?;
        let output = returned(returning.as_ref());
        Ok((
            StatementKind::Delete(Box::new(Delete {
                table: target.table,
                target: target.row_ids,
                source: filtered(source, filter.as_ref()),
                filter,
                returning,
            })),
            output,
        ))
    }

    /// The assignments of SET, over the innermost name space.
    pub(crate) fn assignments(
        &mut self,
        table: &Arc<Table>,
        assignments: &[ast::Assignment],
    ) -> Result<Vec<Assignment>> {
        let mut bound: Vec<Assignment> = Vec::with_capacity(assignments.len());
        let mut in_parts: Vec<usize> = Vec::new();
        let mut add = |b: &mut Self, name: &ast::ObjectName, value: Value<'_>| -> Result<()> {
            let span = name_span(name);
            let Some(target) = Assigned::of(name)? else {
                let parts = name_parts(name)?;
                let first = parts.first().map_or("", String::as_str);
                return Err(b.at(
                    Error::new(
                        ErrorKind::UndefinedColumn,
                        format!("column \"{first}\" of relation \"{}\" does not exist", table.name),
                    ),
                    span,
                ));
            };
            let i = b.column_of(table, &target.column, span)?;
            let before = bound.iter().position(|a| a.column == i);
            let is_part = !target.subscripts.is_empty();
            if before.is_some() && !(is_part && in_parts.contains(&i)) {
                let message = format!("multiple assignments to same column \"{}\"", target.column);
                return Err(Error::new(ErrorKind::SyntaxError, message));
            }
            if is_part {
                let given = match value {
                    Value::Ast(e) => {
                        b.refuse_default(&target, e)?;
                        (b.expr(e)?, e.place())
                    }
                    Value::Bound(expr) => (expr, span),
                };
                // Several parts of an array are replaced one after another.
                let before = before.map(|at| bound.remove(at).value);
                let own = || b.levels.last()?.scope.tables.first()?.columns.get(i).map(|c| c.expr.clone());
                let value = before.or_else(own).ok_or_else(|| Error::internal("no target of an assignment"))?;
                let value = b.assign_element(table, i, value, &target, given)?;
                in_parts.push(i);
                bound.push(Assignment { column: i, value });
                return Ok(());
            }
            let value = match value {
                Value::Ast(e) if is_default(e) => b.default_value(table, i)?,
                Value::Ast(e) => {
                    b.check_identity_update(table, i)?;
                    let expr = b.expr(e)?;
                    b.assign(table, i, expr, e.place())?
                }
                Value::Bound(expr) => {
                    b.check_identity_update(table, i)?;
                    b.assign(table, i, expr, span)?
                }
            };
            bound.push(Assignment { column: i, value });
            Ok(())
        };
        for ast::Assignment { target, value } in assignments {
            match target {
                AssignmentTarget::ColumnName(name) => add(self, name, Value::Ast(value))?,
                AssignmentTarget::Tuple(names) => {
                    let behind = names.last().map_or(Span::empty(), name_span);
                    let mismatch = |b: &Self| match b.cx.source.behind_symbol(behind, "=") {
                        Some(position) => columns_mismatch().at(position),
                        None => columns_mismatch(),
                    };
                    let mut inner = value;
                    while let ast::Expr::Nested(e) = inner {
                        inner = e;
                    }
                    match inner {
                        ast::Expr::Subquery(query) => {
                            // Each column is a subquery of its own: the plan has no multi-column scalar subquery.
                            for (n, name) in names.iter().enumerate() {
                                let (rel, columns) = self.subquery(query)?;
                                if columns.len() != names.len() {
                                    return Err(mismatch(self));
                                }
                                let expr = self.one_of_subquery(rel, columns, n)?;
                                add(self, name, Value::Bound(expr))?;
                            }
                        }
                        ast::Expr::Tuple(items) => {
                            if items.len() != names.len() {
                                return Err(mismatch(self));
                            }
                            for (name, item) in names.iter().zip(items) {
                                add(self, name, Value::Ast(item))?;
                            }
                        }
                        ast::Expr::Function(function) if super::call::is_row_constructor(function) => {
                            let items = super::call::row_items(function)?;
                            if items.len() != names.len() {
                                return Err(mismatch(self));
                            }
                            for (name, item) in names.iter().zip(items) {
                                add(self, name, Value::Ast(item))?;
                            }
                        }
                        other => {
                            let [name] = names.as_slice() else {
                                return Err(self.at(
                                    Error::new(
                                        ErrorKind::FeatureNotSupported,
                                        "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression",
                                    ),
                                    other.span(),
                                ));
                            };
                            add(self, name, Value::Ast(other))?;
                        }
                    }
                }
            }
        }
        Ok(bound)
    }

    /// A column of a subquery that a row is compared with.
    pub(crate) fn column_of_row_subquery(&mut self, query: &ast::Query, n: usize, width: usize) -> Result<Expr> {
        let (rel, columns) = self.subquery(query)?;
        if columns.len() != width {
            let what = if columns.len() < width { "few" } else { "many" };
            return Err(Error::new(ErrorKind::SyntaxError, format!("subquery has too {what} columns")));
        }
        self.one_of_subquery(rel, columns, n)
    }

    fn one_of_subquery(&mut self, rel: Rel, columns: Vec<OutputColumn>, n: usize) -> Result<Expr> {
        let Some(column) = columns.into_iter().nth(n) else {
            return Err(columns_mismatch());
        };
        let output = self.output(column.name, column.ty);
        let ty = column.ty;
        Ok(Expr {
            kind: ExprKind::Subquery {
                kind: SubqueryKind::Scalar,
                query: Arc::new(Rel::Alias { input: Box::new(rel), columns: vec![(output, column.id)] }),
            },
            ty,
        })
    }

    pub(crate) fn returning(&mut self, items: Option<&[SelectItem]>, scope: Scope) -> Result<Option<Returning>> {
        let Some(items) = items else { return Ok(None) };
        self.levels.push(Level { scope, clause: Some(Clause::Returning), ..Level::default() });
        let targets = self.targets(items)?;
        let mut columns = Vec::with_capacity(targets.len());
        for target in targets {
            let expr = self.known_at(target.expr, target.span)?;
            let mut output = self.output(target.name, expr.ty);
            output.origin = target.origin;
            columns.push((output, expr));
        }
        self.levels.pop();
        Ok(Some(Returning { columns }))
    }
}

enum Value<'e> {
    Ast(&'e ast::Expr),
    Bound(Expr),
}

fn columns_mismatch() -> Error {
    Error::new(ErrorKind::SyntaxError, "number of columns does not match number of values")
}

fn filtered(source: Rel, filter: Option<&Expr>) -> Rel {
    match filter {
        None => source,
        Some(predicate) => Rel::Filter { input: Box::new(source), predicate: predicate.clone() },
    }
}

fn returned(returning: Option<&Returning>) -> Vec<OutputColumn> {
    returning.map_or_else(Vec::new, |r| r.columns.iter().map(|(c, _)| c.clone()).collect())
}

/// Puts the CTEs of `WITH … INSERT | UPDATE | DELETE` over the source and over every subquery of the statement.
pub(crate) fn wrap_with(kind: &mut StatementKind, ctes: &[Cte]) {
    let wrap = |rel: &mut Rel| {
        let body = std::mem::replace(rel, Rel::Values { columns: Vec::new(), rows: Vec::new() });
        *rel = Rel::With { ctes: ctes.to_vec(), body: Box::new(body) };
    };
    let mut in_expr = |e: &mut Expr| -> Result<Walk> {
        if let ExprKind::Subquery { query, .. } = &mut e.kind {
            wrap(Arc::make_mut(query));
            return Ok(Walk::Skip);
        }
        Ok(Walk::Into)
    };
    let mut exprs: Vec<&mut Expr> = Vec::new();
    match kind {
        StatementKind::Query(query) => wrap(&mut query.rel),
        StatementKind::Insert(insert) => {
            match &mut insert.source {
                InsertSource::Rows(rows) => exprs.extend(rows.iter_mut().flatten()),
                InsertSource::Query(rel) => wrap(rel),
            }
            exprs.extend(&mut insert.values);
            if let Some(on) = &mut insert.on_conflict {
                exprs.extend(on.update.iter_mut().flatten().map(|a| &mut a.value));
                exprs.extend(&mut on.filter);
            }
            if let Some(r) = &mut insert.returning {
                exprs.extend(r.columns.iter_mut().map(|(_, e)| e));
            }
        }
        StatementKind::Update(update) => {
            wrap(&mut update.source);
            exprs.extend(&mut update.filter);
            exprs.extend(update.assignments.iter_mut().map(|a| &mut a.value));
            if let Some(r) = &mut update.returning {
                exprs.extend(r.columns.iter_mut().map(|(_, e)| e));
            }
        }
        StatementKind::Delete(delete) => {
            wrap(&mut delete.source);
            exprs.extend(&mut delete.filter);
            if let Some(r) = &mut delete.returning {
                exprs.extend(r.columns.iter_mut().map(|(_, e)| e));
            }
        }
    }
    for e in exprs {
        // The rewriting cannot fail.
        let _ = e.try_rewrite(&mut in_expr);
    }
}
