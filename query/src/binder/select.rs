//! SELECT: from FROM to the select list, in the order of evaluation.

use std::collections::HashSet;

use sqlparser::ast::{self, Distinct, GroupByExpr, SelectFlavor};
use sqlparser::tokenizer::Span;
use stratos_types::{Error, ErrorKind, PgType, Result};

use super::query::{Tail, order_key, order_options};
use super::scope::{Place, fold_ident};
use super::table_function::SetReturning;
use super::targets::Target;
use super::{Binder, Clause, Level};
use crate::ir::{ColumnId, Expr, OutputColumn, Rel, SortKey};

/// An ordering by a select-list column (an index into the targets).
pub(crate) struct TargetKey {
    pub target: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// The select list with what is done to its rows.
struct SelectList {
    targets: Vec<Target>,
    /// How many targets are shown; the others are there to be ordered by.
    visible: usize,
    order: Vec<TargetKey>,
    is_distinct: bool,
    /// The targets of DISTINCT ON with their places.
    on: Option<(Vec<usize>, Vec<Span>)>,
    /// The set-returning calls of the targets.
    sets: Vec<SetReturning>,
}

/// What is computed only when the rows are in their order.
struct Late {
    /// The set-returning calls.
    sets: bool,
    /// For each target, whether it is.
    targets: Vec<bool>,
}

impl SelectList {
    /// What is volatile, and set-returning calls where no key of the order has one: as Postgres's `make_sort_input_target`.
    fn late(&self, ties: bool) -> Late {
        let possible = !self.order.is_empty() && !self.is_distinct && !ties;
        let on = self.on.iter().flat_map(|(on, _)| on);
        let keys: HashSet<usize> = self.order.iter().map(|key| key.target).chain(on.copied()).collect();
        let of_sets: HashSet<ColumnId> = self.sets.iter().flat_map(|set| &set.columns).map(|c| c.id).collect();
        let has_set =
            |target: &Target| !of_sets.is_empty() && target.expr.columns().iter().any(|c| of_sets.contains(c));
        let keyed = keys.iter().any(|at| has_set(&self.targets[*at]));
        let sets = possible && !keyed && self.targets.iter().any(has_set);
        let is_late = |at: usize, target: &Target| {
            possible && !keys.contains(&at) && (target.expr.is_volatile() || (sets && has_set(target)))
        };
        Late { sets, targets: self.targets.iter().enumerate().map(|(at, target)| is_late(at, target)).collect() }
    }
}

impl Late {
    /// Takes what is late out of the columns, and puts what it needs of `input` in its place. Gives all of the columns as they
    /// are computed then; nothing where none is late.
    fn split(
        &self,
        columns: &mut Vec<(OutputColumn, Expr)>,
        sets: &[SetReturning],
        input: &Rel,
    ) -> Option<Vec<(OutputColumn, Expr)>> {
        if !self.targets.contains(&true) {
            return None;
        }
        let mut needed: HashSet<ColumnId> = sets.iter().flat_map(|set| &set.args).flat_map(Expr::columns).collect();
        let mut all = Vec::with_capacity(columns.len());
        let mut early = Vec::with_capacity(columns.len());
        for ((column, expr), late) in columns.drain(..).zip(&self.targets) {
            if *late {
                needed.extend(expr.columns());
                all.push((column, expr));
            } else {
                all.push((column.clone(), Expr::column(column.id, column.ty)));
                early.push((column, expr));
            }
        }
        let passed = input.output().into_iter().filter(|column| needed.contains(&column.id));
        early.extend(passed.map(|column| (column.clone(), Expr::column(column.id, column.ty))));
        *columns = early;
        Some(all)
    }
}

impl Binder<'_> {
    pub(crate) fn select(&mut self, select: &ast::Select, tail: &Tail<'_>, known: bool) -> Result<Rel> {
        self.levels.push(Level::default());
        let result = self.select_inner(select, tail, known);
        self.levels.pop();
        result
    }

    fn select_inner(&mut self, select: &ast::Select, tail: &Tail<'_>, known: bool) -> Result<Rel> {
        let ast::Select {
            select_token: _,
            // Comments: they say nothing to Postgres either.
            optimizer_hints: _,
            distinct,
            select_modifiers,
            top,
            top_before_distinct: _,
            projection,
            exclude,
            into,
            from,
            lateral_views,
            prewhere,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        if let Some(into) = into {
            let error = Error::new(ErrorKind::SyntaxError, "SELECT ... INTO is not allowed here");
            let ident = into.name.0.first().and_then(|part| part.as_ident());
            return Err(match ident {
                Some(ident) => self.at(error, ident.span),
                None => error,
            });
        }
        if qualify.is_some() {
            return Err(Error::unsupported("QUALIFY"));
        }
        if select_modifiers.is_some()
            || top.is_some()
            || exclude.is_some()
            || !lateral_views.is_empty()
            || prewhere.is_some()
            || !connect_by.is_empty()
            || !cluster_by.is_empty()
            || !distribute_by.is_empty()
            || !sort_by.is_empty()
            || value_table_mode.is_some()
            || *flavor != SelectFlavor::Standard
        {
            return Err(Error::unsupported("this clause of SELECT"));
        }
        let mut rel = match self.bind_from(from, None)? {
            Some(item) => {
                if let Some(level) = self.levels.last_mut() {
                    level.scope = item.scope;
                }
                item.rel
            }
            None => Rel::Values { columns: Vec::new(), rows: vec![Vec::new()] },
        };
        self.define_windows(named_window)?;
        let mut targets = self.in_clause(Clause::SelectList, |b| b.targets(projection))?;
        let visible = targets.len();
        if let Some(condition) = selection {
            let predicate = self.in_clause(Clause::Where, |b| {
                let e = b.expr(condition)?;
                b.boolean(e, "WHERE", condition.place())
            })?;
            rel = Rel::Filter { input: Box::new(rel), predicate };
        }
        let having = match having {
            Some(condition) => Some(self.in_clause(Clause::Having, |b| {
                let e = b.expr(condition)?;
                b.boolean(e, "HAVING", condition.place())
            })?),
            None => None,
        };
        let order = self.select_order(&mut targets, visible, &tail.order_by)?;
        let group_items: &[ast::Expr] = match group_by {
            GroupByExpr::Expressions(items, modifiers) => {
                if !modifiers.is_empty() {
                    return Err(Error::unsupported("GROUP BY … WITH"));
                }
                items
            }
            GroupByExpr::All(_) => return Err(Error::unsupported("GROUP BY ALL")),
        };
        let mut group = self.group_clause(group_items, &mut targets)?;
        let on = match distinct {
            Some(Distinct::On(items)) => Some(self.distinct_on(items, &mut targets, visible)?),
            Some(Distinct::All | Distinct::Distinct) | None => None,
        };
        let is_distinct = matches!(distinct, Some(Distinct::Distinct));
        // What rows are ordered or told apart by has a type in any case.
        let on_targets = on.iter().flat_map(|(on, _)| on.iter().copied());
        let keys: HashSet<usize> = order.iter().map(|key| key.target).chain(on_targets).collect();
        for (at, target) in targets.iter_mut().enumerate() {
            if known || is_distinct || keys.contains(&at) {
                let taken = target.expr.clone();
                target.expr = self.known_at(taken, target.span)?;
            }
        }
        if is_distinct {
            for target in targets.iter().take(visible) {
                self.check_hashable(&target.expr, target.span)?;
            }
        }
        if is_distinct && targets.len() > visible {
            let span = targets.get(visible).map(|t| t.span);
            let e = Error::new(
                ErrorKind::InvalidColumnReference,
                "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
            );
            return Err(match span {
                Some(span) => self.at(e, span),
                None => e,
            });
        }
        let level = match self.levels.last_mut() {
            Some(level) => std::mem::take(level),
            None => return Err(Error::internal("no query level")),
        };
        let Level {
            scope,
            clause,
            aggregates,
            groupings,
            mut windows,
            mut sets,
            named_windows: _,
            references,
            direct_args,
            in_aggregate: _,
            in_window: _,
            recurses: _,
            conditional: _,
        } = level;
        if let Some(restored) = self.levels.last_mut() {
            restored.scope = scope.clone();
            restored.clause = clause;
        }
        let grouped = !group_items.is_empty() || !aggregates.is_empty() || having.is_some();
        if !tail.locks.is_empty() {
            self.may_lock(
                is_distinct || on.is_some(),
                !group_items.is_empty(),
                having.is_some(),
                !aggregates.is_empty(),
                !windows.is_empty(),
            )?;
            if !sets.is_empty() {
                let message = "FOR UPDATE is not allowed with set-returning functions in the target list";
                return Err(Error::new(ErrorKind::FeatureNotSupported, message));
            }
            self.lock(&mut rel, tail.locks)?;
        }
        if grouped {
            let late: Vec<_> = aggregates.iter().map(|(c, _)| c.id).chain(windows.iter().map(|(c, _)| c.id)).collect();
            let below = self.sets_of_keys(&mut sets, group.keys.iter().map(|(_, key)| key), &late)?;
            rel = self.join_sets(rel, below)?;
            let mut having = having;
            let mut exprs: Vec<&mut Expr> = targets.iter_mut().map(|t| &mut t.expr).collect();
            exprs.extend(having.as_mut());
            for (_, call) in &mut windows {
                exprs.extend(call.exprs_mut());
            }
            for set in &mut sets {
                exprs.extend(&mut set.args);
            }
            let groupings = self.place_groupings(&group, groupings)?;
            self.regroup(&mut group, exprs, &rel, &scope, &references)?;
            for mut arg in direct_args {
                if group.leaves_out(&arg) {
                    let what = "direct argument of an ordered-set aggregate that not all grouping sets have";
                    return Err(Error::unsupported(what));
                }
                let checked = self.regroup(&mut group, vec![&mut arg], &rel, &scope, &references);
                checked.map_err(|error| {
                    error.with_detail("Direct arguments of an ordered-set aggregate must use only grouped columns.")
                })?;
            }
            rel = Rel::Aggregate {
                input: Box::new(rel),
                group_by: group.keys,
                grouping_sets: group.sets,
                aggregates,
                groupings,
            };
            if let Some(predicate) = having {
                rel = Rel::Filter { input: Box::new(rel), predicate };
            }
        } else if let Some((_, _, span)) = groupings.first() {
            return Err(self.at(
                Error::new(
                    ErrorKind::GroupingError,
                    "arguments to GROUPING must be grouping expressions of the associated query level",
                ),
                *span,
            ));
        }
        if !windows.is_empty() {
            rel = Rel::Window { input: Box::new(rel), calls: windows };
        }
        self.finish_select(rel, SelectList { targets, visible, order, is_distinct, on, sets }, tail)
    }

    fn finish_select(&mut self, mut rel: Rel, list: SelectList, tail: &Tail<'_>) -> Result<Rel> {
        let late = list.late(tail.ties);
        let SelectList { targets, visible, order, is_distinct, on, sets } = list;
        let (late_sets, sets) = if late.sets { (sets, Vec::new()) } else { (Vec::new(), sets) };
        rel = self.join_sets(rel, sets)?;
        let mut columns: Vec<(OutputColumn, Expr)> = Vec::with_capacity(targets.len());
        for target in targets {
            let mut output = self.output(target.name, target.expr.ty);
            output.origin = target.origin;
            self.note_composite(output.id, &target.expr);
            columns.push((output, target.expr));
        }
        let outputs: Vec<OutputColumn> = columns.iter().map(|(c, _)| c.clone()).collect();
        let column = |i: usize| Expr::column(outputs[i].id, outputs[i].ty);
        let late_columns = late.split(&mut columns, &late_sets, &rel);
        let mut rel = Rel::Project { input: Box::new(rel), columns };
        let keys: Vec<SortKey> = order
            .iter()
            .map(|k| SortKey { expr: column(k.target), descending: k.descending, nulls_first: k.nulls_first })
            .collect();
        // Which rows are equal to the last one is said by the keys as they are written.
        let written = keys.clone();
        if let Some((on, places)) = on {
            // The ORDER BY must begin with the ON expressions, in any order of theirs.
            let mut keys = keys;
            let leading = order.iter().take_while(|k| on.contains(&k.target)).map(|k| k.target).collect::<Vec<_>>();
            let complete = on.iter().all(|t| leading.contains(t));
            if !complete && leading.len() < order.len() {
                let error = Error::new(
                    ErrorKind::InvalidColumnReference,
                    "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                );
                let late = order.iter().skip(leading.len()).find_map(|k| on.iter().position(|t| *t == k.target));
                let odd = late.or_else(|| on.iter().position(|t| !leading.contains(t)));
                return Err(match odd.and_then(|n| places.get(n)) {
                    Some(place) => self.at(error, *place),
                    None => error,
                });
            }
            for target in &on {
                if !leading.contains(target) {
                    keys.push(SortKey { expr: column(*target), descending: false, nulls_first: false });
                }
            }
            rel = Rel::DistinctOn { input: Box::new(rel), on: on.iter().map(|t| column(*t)).collect(), keys };
            if tail.ties {
                rel = Rel::Sort { input: Box::new(rel), keys: written.clone() };
            }
        } else {
            if is_distinct {
                rel = Rel::Distinct { input: Box::new(rel) };
            }
            if !keys.is_empty() && late_sets.is_empty() {
                rel = Rel::Sort { input: Box::new(rel), keys };
            }
        }
        if let Some(columns) = late_columns {
            if !late_sets.is_empty() {
                // What a join gives is in no order.
                let (joined, numbers) = self.join_numbered_sets(rel, late_sets, true)?;
                let numbers = numbers.into_iter().map(|expr| SortKey { expr, descending: false, nulls_first: false });
                rel = Rel::Sort { input: Box::new(joined), keys: written.into_iter().chain(numbers).collect() };
            }
            rel = Rel::Project { input: Box::new(rel), columns };
        }
        rel = self.limited(rel, tail)?;
        if outputs.len() > visible {
            let mut shown = Vec::with_capacity(visible);
            for output in outputs.into_iter().take(visible) {
                let mut own = self.output(output.name, output.ty);
                own.origin = output.origin;
                self.note_composite(own.id, &Expr::column(output.id, output.ty));
                shown.push((own, output.id));
            }
            rel = Rel::Alias { input: Box::new(rel), columns: shown };
        }
        Ok(rel)
    }

    fn may_lock(&self, distinct: bool, grouped: bool, having: bool, aggregates: bool, windows: bool) -> Result<()> {
        let what = match (distinct, grouped, having, aggregates, windows) {
            (true, ..) => "DISTINCT clause",
            (_, true, ..) => "GROUP BY clause",
            (_, _, true, ..) => "HAVING clause",
            (_, _, _, true, _) => "aggregate functions",
            (_, _, _, _, true) => "window functions",
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::FeatureNotSupported, format!("FOR UPDATE is not allowed with {what}")))
    }

    /// ORDER BY: output names first, then positions, then expressions of the input.
    fn select_order(
        &mut self,
        targets: &mut Vec<Target>,
        visible: usize,
        keys: &[&ast::OrderByExpr],
    ) -> Result<Vec<TargetKey>> {
        let mut order: Vec<TargetKey> = Vec::with_capacity(keys.len());
        for key in keys {
            let e = order_key(key)?;
            let (descending, nulls_first) = order_options(key)?;
            let target = self.target_of(e, targets, visible, Clause::OrderBy)?;
            self.check_sortable(&targets[target].expr, e.place())?;
            if order.iter().any(|k| k.target == target) {
                continue;
            }
            order.push(TargetKey { target, descending, nulls_first });
        }
        Ok(order)
    }

    /// The targets of DISTINCT ON, and where they are written there.
    fn distinct_on(
        &mut self,
        items: &[ast::Expr],
        targets: &mut Vec<Target>,
        visible: usize,
    ) -> Result<(Vec<usize>, Vec<Span>)> {
        let (mut on, mut places) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for item in items {
            let target = self.target_of(item, targets, visible, Clause::DistinctOn)?;
            if !on.contains(&target) {
                on.push(target);
                places.push(item.place());
            }
        }
        Ok((on, places))
    }

    /// The target of a name; several of a name must be the same.
    pub(crate) fn target_named(&self, ident: &ast::Ident, targets: &[Target], clause: Clause) -> Result<Option<usize>> {
        let name = fold_ident(ident);
        let mut of_name = targets.iter().enumerate().filter(|(_, target)| target.name == name);
        let Some((found, first)) = of_name.next() else { return Ok(None) };
        if of_name.all(|(_, other)| first.expr.same(&other.expr)) {
            return Ok(Some(found));
        }
        let ambiguous = format!("{} \"{name}\" is ambiguous", clause.place());
        Err(self.at(Error::new(ErrorKind::AmbiguousColumn, ambiguous), ident.span))
    }

    /// The target that an ORDER BY or DISTINCT ON item means; a new hidden one where there is none.
    fn target_of(&mut self, e: &ast::Expr, targets: &mut Vec<Target>, visible: usize, clause: Clause) -> Result<usize> {
        if let ast::Expr::Identifier(ident) = e
            && let Some(i) = self.target_named(ident, &targets[..visible], clause)?
        {
            return Ok(i);
        }
        let outputs: Vec<OutputColumn> = targets
            .iter()
            .take(visible)
            .map(|t| OutputColumn { id: crate::ir::ColumnId(0), name: String::new(), ty: t.expr.ty, origin: None })
            .collect();
        if let Some(i) = self.output_position(e, &outputs, clause.place())? {
            return Ok(i);
        }
        let expr = self.in_clause(clause, |b| {
            let e = b.expr(e)?;
            b.known(e)
        })?;
        if let Some(i) = targets.iter().position(|t| t.expr.same(&expr)) {
            return Ok(i);
        }
        let span = match e {
            ast::Expr::UnaryOp { op, expr } => self.cx.source.prefix_before(expr.place(), &op.to_string()),
            other => other.place(),
        };
        targets.push(Target { name: "?column?".into(), expr, origin: None, span });
        Ok(targets.len() - 1)
    }

    /// Whether a type has an equality, for DISTINCT and GROUP BY.
    pub(crate) fn check_hashable(&self, expr: &Expr, span: sqlparser::tokenizer::Span) -> Result<()> {
        if matches!(expr.ty.ty, PgType::Json) {
            return Err(self.at(
                Error::new(
                    ErrorKind::UndefinedFunction,
                    format!("could not identify an equality operator for type {}", expr.ty.ty),
                ),
                span,
            ));
        }
        Ok(())
    }
}
