//! GROUP BY: keys, grouping sets, GROUPING(), and what may be mentioned above a grouping.

use std::collections::BTreeSet;

use sqlparser::ast::{self};
use sqlparser::tokenizer::Span;
use stratos_types::{Error, ErrorKind, PgType, Result};

use super::rewrite::DISTINCT_MARKER;
use super::scope::{Place, Scope, fold_ident};
use super::targets::Target;
use super::{Binder, Clause, Reference};
use crate::catalog::ConstraintKind;
use crate::ir::{ColumnId, Expr, ExprKind, OutputColumn, Rel, Walk};

/// Most grouping sets of a query (`max_groupingsets` of Postgres).
const MAX_GROUPING_SETS: usize = 4_096;
/// Most elements of CUBE.
const MAX_CUBE: usize = 12;

/// A bound GROUP BY.
pub(crate) struct Group {
    pub keys: Vec<(OutputColumn, Expr)>,
    pub sets: Option<Vec<Vec<usize>>>,
}

impl Group {
    /// Whether there are grouping sets without some of the keys that an expression mentions.
    pub fn leaves_out(&self, expr: &Expr) -> bool {
        let mut mentioned = Vec::new();
        expr.visit(&mut |e| {
            let key = self.keys.iter().position(|(_, key)| key.same(e));
            mentioned.extend(key);
            if key.is_some() { Walk::Skip } else { Walk::Into }
        });
        let sets = self.sets.iter().flatten();
        sets.into_iter().any(|set| mentioned.iter().any(|key| !set.contains(key)))
    }
}

impl Binder<'_> {
    pub(crate) fn group_clause(&mut self, items: &[ast::Expr], targets: &mut [Target]) -> Result<Group> {
        let mut group = Group { keys: Vec::new(), sets: None };
        let (items, distinct) = match items {
            [ast::Expr::Identifier(marker), items @ ..] if marker.value == DISTINCT_MARKER => (items, true),
            items => (items, false),
        };
        let special = items.iter().any(|e| {
            matches!(e, ast::Expr::GroupingSets(_) | ast::Expr::Rollup(_) | ast::Expr::Cube(_))
                || matches!(e, ast::Expr::Tuple(t) if t.is_empty())
        });
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        for item in items {
            let alternatives = self.group_item(item, targets, &mut group)?;
            let mut product = Vec::with_capacity(sets.len() * alternatives.len());
            for set in &sets {
                for other in &alternatives {
                    let mut joined = set.clone();
                    for key in other {
                        if !joined.contains(key) {
                            joined.push(*key);
                        }
                    }
                    product.push(joined);
                }
            }
            if product.len() > MAX_GROUPING_SETS {
                return Err(Error::new(
                    ErrorKind::StatementTooComplex,
                    format!("too many grouping sets present (maximum {MAX_GROUPING_SETS})"),
                ));
            }
            sets = product;
        }
        if distinct {
            let mut seen = BTreeSet::new();
            sets.retain(|set| seen.insert(set.iter().copied().collect::<BTreeSet<usize>>()));
        }
        if special {
            group.sets = Some(sets);
        }
        Ok(group)
    }

    /// The sets of keys that one item of GROUP BY stands for.
    fn group_item(&mut self, item: &ast::Expr, targets: &mut [Target], group: &mut Group) -> Result<Vec<Vec<usize>>> {
        match item {
            ast::Expr::GroupingSets(sets) => {
                let mut all = Vec::new();
                for set in sets {
                    match set.as_slice() {
                        [inner @ (ast::Expr::Rollup(_) | ast::Expr::Cube(_) | ast::Expr::GroupingSets(_))] => {
                            all.extend(self.group_item(inner, targets, group)?);
                        }
                        [ast::Expr::Function(call)] if let Some(inner) = as_sets(call) => {
                            all.extend(self.group_item(&inner, targets, group)?);
                        }
                        set => all.push(self.group_keys(set, targets, group)?),
                    }
                }
                Ok(all)
            }
            ast::Expr::Rollup(parts) => {
                let mut keys = Vec::with_capacity(parts.len());
                for part in parts {
                    keys.push(self.group_keys(part, targets, group)?);
                }
                Ok((0..=keys.len()).rev().map(|n| keys[..n].concat()).collect())
            }
            ast::Expr::Cube(parts) => {
                if parts.len() > MAX_CUBE {
                    return Err(Error::new(
                        ErrorKind::TooManyColumns,
                        format!("CUBE is limited to {MAX_CUBE} elements"),
                    ));
                }
                let mut keys = Vec::with_capacity(parts.len());
                for part in parts {
                    keys.push(self.group_keys(part, targets, group)?);
                }
                let n = keys.len();
                Ok((0..1usize << n)
                    .rev()
                    .map(|mask| {
                        (0..n).filter(|i| mask & (1 << (n - 1 - i)) != 0).flat_map(|i| keys[i].clone()).collect()
                    })
                    .collect())
            }
            ast::Expr::Tuple(parts) => Ok(vec![self.group_keys(parts, targets, group)?]),
            other => Ok(vec![self.group_keys(std::slice::from_ref(other), targets, group)?]),
        }
    }

    fn group_keys(&mut self, parts: &[ast::Expr], targets: &mut [Target], group: &mut Group) -> Result<Vec<usize>> {
        let mut keys = Vec::with_capacity(parts.len());
        for part in parts {
            let expr = self.group_expr(part, targets)?;
            self.check_hashable(&expr, part.place())?;
            let i = match group.keys.iter().position(|(_, e)| e.same(&expr)) {
                Some(i) => i,
                None => {
                    let output = self.output("group", expr.ty);
                    group.keys.push((output, expr));
                    group.keys.len() - 1
                }
            };
            if !keys.contains(&i) {
                keys.push(i);
            }
        }
        Ok(keys)
    }

    /// A column of the input before an output name, then positions, then expressions.
    fn group_expr(&mut self, e: &ast::Expr, targets: &mut [Target]) -> Result<Expr> {
        let outputs: Vec<OutputColumn> = targets
            .iter()
            .map(|t| OutputColumn { id: ColumnId(0), name: String::new(), ty: t.expr.ty, origin: None })
            .collect();
        let mut chosen = self.output_position(e, &outputs, "GROUP BY")?;
        if let (None, ast::Expr::Identifier(ident)) = (chosen, e) {
            let name = fold_ident(ident);
            let in_from = self.levels.last().is_some_and(|l| l.scope.star.iter().any(|c| c.name == name));
            if !in_from {
                chosen = self.target_named(ident, targets, Clause::GroupBy)?;
            }
        }
        if let Some(i) = chosen {
            let taken = targets[i].expr.clone();
            targets[i].expr = self.known(taken)?;
            let expr = targets[i].expr.clone();
            let (aggregate, window) = self.levels.last().map_or((false, false), |l| {
                let ids = expr.columns();
                (
                    l.aggregates.iter().any(|(c, _)| ids.contains(&c.id)),
                    l.windows.iter().any(|(c, _)| ids.contains(&c.id)),
                )
            });
            if aggregate {
                return Err(self.at(
                    Error::new(ErrorKind::GroupingError, "aggregate functions are not allowed in GROUP BY"),
                    targets[i].span,
                ));
            }
            if window {
                return Err(self.at(
                    Error::new(ErrorKind::WindowingError, "window functions are not allowed in GROUP BY"),
                    targets[i].span,
                ));
            }
            return Ok(expr);
        }
        let references = self.levels.last().map_or(0, |l| l.references.len());
        let expr = self.in_clause(Clause::GroupBy, |b| {
            let expr = b.expr(e)?;
            b.known(expr)
        })?;
        if let Some(level) = self.levels.last_mut() {
            level.references.truncate(references);
        }
        Ok(expr)
    }

    /// `GROUPING(a, b)`.
    pub(crate) fn grouping_call(&mut self, args: &[ast::FunctionArg], span: Span) -> Result<Expr> {
        if args.len() > 31 {
            return Err(
                self.at(Error::new(ErrorKind::TooManyArguments, "GROUPING must have fewer than 32 arguments"), span)
            );
        }
        if !self.clause().is_some_and(Clause::allows_aggregates) {
            let place = self.clause().map_or("this clause", Clause::place);
            return Err(self.at(
                Error::new(ErrorKind::GroupingError, format!("grouping operations are not allowed in {place}")),
                span,
            ));
        }
        let references = self.levels.last().map_or(0, |l| l.references.len());
        let mut bound = Vec::with_capacity(args.len());
        for arg in args {
            bound.push(self.plain_arg(arg)?);
        }
        let column = self.output("grouping", PgType::Int4.into());
        let expr = Expr::column(column.id, column.ty);
        if let Some(level) = self.levels.last_mut() {
            level.references.truncate(references);
            let place = args.first().map_or(span, sqlparser::ast::Spanned::span);
            level.groupings.push((column, bound, place));
        }
        Ok(expr)
    }

    /// Arguments of GROUPING as indexes of keys.
    pub(crate) fn place_groupings(
        &self,
        group: &Group,
        groupings: Vec<(OutputColumn, Vec<Expr>, Span)>,
    ) -> Result<Vec<(OutputColumn, Vec<usize>)>> {
        let mut placed = Vec::with_capacity(groupings.len());
        for (column, args, span) in groupings {
            let mut indexes = Vec::with_capacity(args.len());
            for arg in args {
                let found = group.keys.iter().position(|(_, e)| e.same(&arg));
                indexes.push(found.ok_or_else(|| {
                    self.at(
                        Error::new(
                            ErrorKind::GroupingError,
                            "arguments to GROUPING must be grouping expressions of the associated query level",
                        ),
                        span,
                    )
                })?);
            }
            placed.push((column, indexes));
        }
        Ok(placed)
    }

    /// Says everything above the grouping in terms of its keys; what cannot be said so is an error (42803).
    pub(crate) fn regroup(
        &mut self,
        group: &mut Group,
        exprs: Vec<&mut Expr>,
        input: &Rel,
        scope: &Scope,
        references: &[Reference],
    ) -> Result<()> {
        let from: BTreeSet<ColumnId> = input.output().into_iter().map(|c| c.id).collect();
        let dependent = dependent_columns(group, scope);
        let mut missing: Vec<(OutputColumn, Expr)> = Vec::new();
        let mut next = self.next_column;
        for expr in exprs {
            let mut ungrouped = None;
            let rewritten = expr.try_rewrite(&mut |e| {
                if let Some((key, _)) = group.keys.iter().chain(&missing).find(|(_, k)| k.same(e)) {
                    *e = Expr::column(key.id, e.ty);
                    return Ok(Walk::Skip);
                }
                let ExprKind::Column(id) = e.kind else {
                    return Ok(Walk::Into);
                };
                if !from.contains(&id) {
                    return Ok(Walk::Into);
                }
                if dependent.contains(&id) {
                    let key = OutputColumn { id: ColumnId(next), name: "group".into(), ty: e.ty, origin: None };
                    next += 1;
                    missing.push((key.clone(), e.clone()));
                    *e = Expr::column(key.id, e.ty);
                    return Ok(Walk::Skip);
                }
                ungrouped = Some(id);
                Err(Error::internal("a column that is not grouped"))
            });
            if let Err(error) = rewritten {
                let Some(id) = ungrouped else { return Err(error) };
                return Err(not_grouped(id, !mentions_itself(expr, id), scope, references));
            }
        }
        self.next_column = next;
        for key in missing {
            group.keys.push(key);
            let i = group.keys.len() - 1;
            for set in group.sets.iter_mut().flatten() {
                set.push(i);
            }
        }
        Ok(())
    }
}

/// ROLLUP and CUBE among grouping sets, where the parser takes them for calls.
fn as_sets(call: &ast::Function) -> Option<ast::Expr> {
    let [ast::ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else { return None };
    let ast::FunctionArguments::List(list) = &call.args else { return None };
    let part = |arg: &ast::FunctionArg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Tuple(parts))) => Some(parts.clone()),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Nested(part))) => Some(vec![(**part).clone()]),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(part)) => Some(vec![part.clone()]),
        _ => None,
    };
    let parts = || list.args.iter().map(part).collect::<Option<Vec<_>>>();
    match (name.quote_style, name.value.to_ascii_lowercase().as_str()) {
        (None, "rollup") => parts().map(ast::Expr::Rollup),
        (None, "cube") => parts().map(ast::Expr::Cube),
        _ => None,
    }
}

/// Whether it names the column outside of subqueries.
fn mentions_itself(expr: &Expr, id: ColumnId) -> bool {
    let mut found = false;
    expr.walk(&mut |e| found |= matches!(e.kind, ExprKind::Column(other) if other == id));
    found
}

fn not_grouped(id: ColumnId, in_subquery: bool, scope: &Scope, references: &[Reference]) -> Error {
    let name = scope
        .tables
        .iter()
        .find_map(|t| {
            t.columns
                .iter()
                .find(|c| matches!(c.expr.kind, ExprKind::Column(other) if other == id))
                .map(|c| format!("{}.{}", t.name, c.name))
        })
        .unwrap_or_else(|| "?column?".into());
    let message = match in_subquery {
        true => format!("subquery uses ungrouped column \"{name}\" from outer query"),
        false => format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"),
    };
    let e = Error::new(ErrorKind::GroupingError, message);
    match references.iter().find(|r| r.column == id && r.in_subquery == in_subquery) {
        Some(reference) => e.at(reference.position),
        None => e,
    }
}

/// Columns that the keys determine: those of tables whose whole primary key is grouped by, in every grouping set.
fn dependent_columns(group: &Group, scope: &Scope) -> BTreeSet<ColumnId> {
    let always: Vec<ColumnId> = group
        .keys
        .iter()
        .enumerate()
        .filter(|(i, _)| group.sets.as_ref().is_none_or(|sets| sets.iter().all(|s| s.contains(i))))
        .filter_map(|(_, (_, e))| match e.kind {
            ExprKind::Column(id) => Some(id),
            _ => None,
        })
        .collect();
    let mut dependent = BTreeSet::new();
    for t in &scope.tables {
        let Some(table) = &t.table else { continue };
        if !table.has_primary_key() {
            continue;
        }
        let declared = table.constraints.iter().any(|c| matches!(c.kind, ConstraintKind::Unique { primary: true, .. }))
            || table.primary_index().primary;
        let ids: Vec<Option<ColumnId>> = t
            .columns
            .iter()
            .map(|c| match c.expr.kind {
                ExprKind::Column(id) => Some(id),
                _ => None,
            })
            .collect();
        let all = table.primary_index().columns.iter().all(|key| {
            table
                .column_index(key.attnum)
                .and_then(|i| ids.get(i).copied().flatten())
                .is_some_and(|id| always.contains(&id))
        });
        if declared && all {
            dependent.extend(ids.into_iter().flatten());
        }
    }
    dependent
}
