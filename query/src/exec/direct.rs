//! Lookups and writes by key, without a query planner and without Arrow.
//!
//! A statement over one table whose WHERE clause fixes the first columns of an index (and perhaps bounds the next one)
//! compiles to an [`Access`]: a span of keys, computed from constants and parameters. What else the WHERE clause says is
//! asked of each row. Anything else goes through DataFusion; the tests compare the two for every shape.

use std::sync::Arc;

use bytes::Bytes;
use stratos_replication::{ReadView, Span};
use stratos_types::key::encode_column;
use stratos_types::{Datum, PgType, Result};

use super::change::{ChangePlan, Target};
use super::foreign_keys::after_departure;
use super::write::TableWriter;
use super::{BREATHE_ROWS, Changes, StatementContext, breathe, scan, stored};
use crate::catalog::{IndexState, Table};
use crate::eval::{Layout, Program};
use crate::fit::{End, Fit, fit, fits, is_near};
use crate::functions::Kernel;
use crate::ir::{ColumnId, Expr, ExprKind, Rel};
use crate::rows::{INDEX_PREFIX_BYTES, decode_columns, index_prefix, row_key_of_entry};
use crate::session::EvalContext;

/// Rows that a direct program looks at, and bytes of them, before it gives up in favour of the general form.
const DIRECT_ROWS_MAX: usize = 4096;
const DIRECT_BYTES_MAX: usize = 8 << 20;

/// A bound of the range on the column after the fixed ones.
#[derive(Debug)]
struct Bound {
    value: Program,
    inclusive: bool,
}

/// How the rows of one table are found.
#[derive(Debug)]
pub struct Access {
    table: Arc<Table>,
    /// Position in the table's indexes; 0 is the rows themselves.
    index: usize,
    /// Values of the index's first columns.
    equals: Vec<Program>,
    low: Option<Bound>,
    high: Option<Bound>,
    /// Whether `equals` covers a unique index, so that there is at most one row.
    single: bool,
}

/// A comparison of a column with something that does not depend on the row.
struct Comparison<'a> {
    column: usize,
    kernel: Kernel,
    value: &'a Expr,
}

fn column_position(expr: &Expr, columns: &[(ColumnId, usize)]) -> Option<usize> {
    match &expr.kind {
        ExprKind::Column(id) => columns.iter().find(|(c, _)| c == id).map(|(_, at)| *at),
        // varchar compared as text.
        ExprKind::Cast { arg, .. } if expr.ty.ty == PgType::Text && arg.ty.ty == PgType::Varchar => {
            column_position(arg, columns)
        }
        _ => None,
    }
}

fn comparison<'a>(expr: &'a Expr, table: &Table, columns: &[(ColumnId, usize)]) -> Option<Comparison<'a>> {
    let ExprKind::Call { function, args } = &expr.kind else { return None };
    let [left, right] = args.as_slice() else { return None };
    let kernel = function.kernel?;
    let (column, kernel, value) = match (column_position(left, columns), column_position(right, columns)) {
        (Some(at), None) if right.is_constant() => (at, kernel, right),
        (None, Some(at)) if left.is_constant() => {
            let mirrored = match kernel {
                Kernel::Lt => Kernel::Gt,
                Kernel::LtEq => Kernel::GtEq,
                Kernel::Gt => Kernel::Lt,
                Kernel::GtEq => Kernel::LtEq,
                other => other,
            };
            (at, mirrored, left)
        }
        _ => return None,
    };
    let bounds = matches!(kernel, Kernel::Eq | Kernel::Lt | Kernel::LtEq | Kernel::Gt | Kernel::GtEq);
    (bounds && fits(value.ty.ty, table.columns.get(column)?.ty.ty)).then_some(Comparison { column, kernel, value })
}

impl Access {
    /// The best access that the predicate allows: a unique index fixed wholly, else the most fixed columns.
    fn choose(table: &Arc<Table>, columns: &[(ColumnId, usize)], predicate: &Expr) -> Result<Option<Access>> {
        let parts = predicate.conjuncts();
        let comparisons: Vec<Comparison<'_>> = parts.iter().filter_map(|p| comparison(p, table, columns)).collect();
        let no_columns = Layout::new(std::iter::empty());
        let mut best: Option<(usize, Access)> = None;
        for (position, index) in table.indexes.iter().enumerate() {
            if index.state != IndexState::Public || index.columns.is_empty() {
                continue;
            }
            let mut equals = Vec::new();
            let (mut low, mut high) = (None, None);
            for key_column in &index.columns {
                let Some(at) = table.column_index(key_column.attnum) else { break };
                let ty = table.columns[at].ty.ty;
                let of_column = || comparisons.iter().filter(|c| c.column == at);
                let is_one_value = |c: &&Comparison<'_>| c.kernel == Kernel::Eq && !is_near(c.value.ty.ty, ty);
                if let Some(equal) = of_column().find(is_one_value) {
                    equals.push(Program::compile(equal.value, &no_columns)?);
                    continue;
                }
                for bound in of_column() {
                    let inclusive = !matches!(bound.kernel, Kernel::Gt | Kernel::Lt);
                    let sides = [
                        (&mut low, matches!(bound.kernel, Kernel::Gt | Kernel::GtEq | Kernel::Eq)),
                        (&mut high, matches!(bound.kernel, Kernel::Lt | Kernel::LtEq | Kernel::Eq)),
                    ];
                    for (slot, bounded) in sides {
                        if bounded && slot.is_none() {
                            *slot = Some(Bound { value: Program::compile(bound.value, &no_columns)?, inclusive });
                        }
                    }
                }
                break;
            }
            let single = index.unique && equals.len() == index.columns.len();
            if equals.is_empty() && (low.is_none() || high.is_none()) {
                continue;
            }
            let score = usize::from(single) * 1000
                + equals.len() * 10
                + usize::from(low.is_some() && high.is_some())
                + usize::from(position == 0);
            if best.as_ref().is_none_or(|(other, _)| score > *other) {
                best = Some((score, Access { table: table.clone(), index: position, equals, low, high, single }));
            }
        }
        Ok(best.map(|(_, access)| access))
    }

    /// What comparing one of the index's columns with a value means.
    fn fit(&self, program: &Program, column: usize, params: &[Datum], context: &EvalContext) -> Result<Fit> {
        let value = program.run(&[], params, context)?;
        let target = self.table.indexes[self.index].columns[column].attnum;
        let Some(at) = self.table.column_index(target) else { return Ok(Fit::Nothing) };
        fit(value, self.table.columns[at].ty.ty, &context.format.time_zone)
    }

    /// The keys to look at; `None` when there can be no row.
    fn span(&self, params: &[Datum], context: &EvalContext) -> Result<Option<Span>> {
        let index = &self.table.indexes[self.index];
        let mut prefix = Vec::with_capacity(INDEX_PREFIX_BYTES + 24);
        prefix.extend_from_slice(&index_prefix(&self.table, index));
        for (position, program) in self.equals.iter().enumerate() {
            let Some(value) = self.fit(program, position, params, context)?.equal() else { return Ok(None) };
            self.encode(&mut prefix, position, &value);
        }
        let whole = Span::prefix(&prefix);
        let next = self.equals.len();
        let (mut start, mut end) = (whole.start, whole.end);
        for (bound, is_low) in [(&self.low, true), (&self.high, false)] {
            let Some(bound) = bound else { continue };
            let fit = self.fit(&bound.value, next, params, context)?;
            let (value, inclusive) = match if is_low { fit.low(bound.inclusive) } else { fit.high(bound.inclusive) } {
                End::At(value, inclusive) => (value, inclusive),
                End::Empty => return Ok(None),
            };
            let mut key = prefix.clone();
            self.encode(&mut key, next, &value);
            match (is_low != index.columns[next].descending, inclusive) {
                (true, true) => start = key.into(),
                (true, false) => start = Span::prefix(&key).end,
                (false, true) => end = Span::prefix(&key).end,
                (false, false) => end = key.into(),
            }
        }
        Ok(Some(Span { start, end }))
    }

    fn encode(&self, out: &mut Vec<u8>, position: usize, value: &Datum) {
        let column = &self.table.indexes[self.index].columns[position];
        if let Some(at) = self.table.column_index(column.attnum) {
            encode_column(out, self.table.columns[at].ty.ty, value, column.descending, column.nulls_first);
        }
    }

    /// The one key, where the access is by a whole unique key.
    fn single_key(&self, params: &[Datum], context: &EvalContext) -> Result<Option<Bytes>> {
        Ok(self.span(params, context)?.map(|span| span.start))
    }

    /// Whether it finds one row at most.
    pub fn is_single(&self) -> bool {
        self.single
    }

    /// Name of the index, for EXPLAIN.
    pub fn index_name(&self) -> &str {
        &self.table.indexes[self.index].name
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Keys of the rows that the access finds, before the rest of the predicate.
    /// None when there are more than `max`.
    fn row_keys(
        &self,
        view: &ReadView,
        params: &[Datum],
        context: &EvalContext,
        max: usize,
    ) -> Result<Option<Vec<Bytes>>> {
        let Some(span) = self.span(params, context)? else { return Ok(Some(Vec::new())) };
        let index = &self.table.indexes[self.index];
        if self.single && self.index == 0 {
            return Ok(Some(vec![span.start]));
        }
        let mut keys = Vec::new();
        let all = scan(view, span, context, |key, value| {
            keys.push(match self.index {
                0 => Bytes::copy_from_slice(key),
                _ => row_key_of_entry(&self.table, index, key, value)?.into(),
            });
            Ok(keys.len() <= max)
        })?;
        Ok(all.then_some(keys))
    }
}

/// `SELECT expressions FROM table WHERE …` by an [`Access`].
#[derive(Debug)]
pub struct DirectSelect {
    access: Access,
    filter: Program,
    output: Vec<Program>,
    /// Where the output is just these columns of the row.
    plain: Option<Vec<usize>>,
    /// For each column of the table, whether the filter or the output looks at it.
    wanted: Vec<bool>,
}

/// Columns of a statement, with their positions in the table.
type Positions = Vec<(ColumnId, usize)>;

/// The table, columns and predicate of `Filter(Scan)`, where nothing else is asked.
fn filtered_scan(rel: &Rel) -> Option<(&Arc<Table>, Positions, &Expr)> {
    let Rel::Filter { input, predicate } = rel else { return None };
    let Rel::Scan { table, columns, lock: None, .. } = input.as_ref() else { return None };
    Some((table, columns.iter().map(|c| (c.id, c.index)).collect(), predicate))
}

/// The layout of a stored row: its columns in the table's order.
fn row_layout(table: &Table, columns: &[(ColumnId, usize)]) -> Layout {
    let by_position = (0..table.columns.len()).map(|at| {
        let known = columns.iter().find(|(_, index)| *index == at).map(|(id, _)| *id);
        known.unwrap_or(ColumnId(u32::MAX))
    });
    Layout::new(by_position)
}

impl DirectSelect {
    /// Compiles the query, if it has the shape.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub fn compile(rel: &Rel) -> Result<Option<DirectSelect>> {
        let Rel::Project { input, columns: output } = rel else { return Ok(None) };
        let Some((table, columns, predicate)) = filtered_scan(input) else { return Ok(None) };
        if predicate.has_subquery() || output.iter().any(|(_, e)| e.has_subquery()) {
            return Ok(None);
        }
        let Some(access) = Access::choose(table, &columns, predicate)? else { return Ok(None) };
        // What finds many rows may have to begin anew in the general form, which a volatile function would notice.
        if !access.single && crate::lower::is_volatile(rel) {
            return Ok(None);
        }
        let layout = row_layout(table, &columns);
        let plain = output.iter().map(|(_, e)| column_index_of(e, &columns)).collect();
        let mut wanted = vec![false; table.columns.len()];
        for expr in output.iter().map(|(_, e)| e).chain([predicate]) {
            expr.walk(&mut |e| {
                if let Some(slot) = column_index_of(e, &columns).and_then(|at| wanted.get_mut(at)) {
                    *slot = true;
                }
            });
        }
        Ok(Some(DirectSelect {
            wanted,
            filter: Program::compile(predicate, &layout)?,
            output: output.iter().map(|(_, e)| Program::compile(e, &layout)).collect::<Result<_>>()?,
            plain,
            access,
        }))
    }

    /// How it finds its rows.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Runs it. `None` when there is more than should be held at once: the general form gives its rows bit by bit.
    ///
    /// # Errors
    /// Evaluation errors, the store's errors, cancellation.
    pub fn run(&self, view: &ReadView, params: &[Datum], context: &EvalContext) -> Result<Option<Vec<Vec<Datum>>>> {
        let mut rows = Vec::new();
        let table = &self.access.table;
        let mut bytes = 0;
        if self.access.index == 0 && !self.access.single {
            let Some(span) = self.access.span(params, context)? else { return Ok(Some(rows)) };
            let mut looked_at = 0;
            let all = scan(view, span, context, |key, value| {
                looked_at += 1;
                bytes += value.len();
                self.visit(key, value, params, context, &mut rows)?;
                Ok(looked_at <= DIRECT_ROWS_MAX && bytes <= DIRECT_BYTES_MAX)
            })?;
            return Ok(all.then_some(rows));
        }
        let Some(keys) = self.access.row_keys(view, params, context, DIRECT_ROWS_MAX)? else { return Ok(None) };
        for key in keys {
            let found = stored(view.get_with(&key, |value| match value {
                Some(value) => {
                    bytes += value.len();
                    self.visit(&key, value, params, context, &mut rows)
                }
                None if self.access.index == 0 => Ok(()),
                None => Err(stratos_types::Error::new(
                    stratos_types::ErrorKind::DataCorrupted,
                    format!(
                        "index \"{}\" of table \"{}\" names a row that is not there",
                        self.access.index_name(),
                        table.name
                    ),
                )),
            }))?;
            found?;
            if bytes > DIRECT_BYTES_MAX && !self.access.single {
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }

    fn visit(
        &self,
        key: &[u8],
        value: &[u8],
        params: &[Datum],
        context: &EvalContext,
        rows: &mut Vec<Vec<Datum>>,
    ) -> Result<()> {
        let row = decode_columns(&self.access.table, key, value, |at| self.wanted[at])?;
        if self.filter.run(&row, params, context)? != Datum::Bool(true) {
            return Ok(());
        }
        rows.push(match &self.plain {
            Some(positions) => positions.iter().map(|at| row[*at].clone()).collect(),
            None => self.output.iter().map(|p| p.run(&row, params, context)).collect::<Result<_>>()?,
        });
        Ok(())
    }
}

fn column_index_of(expr: &Expr, columns: &[(ColumnId, usize)]) -> Option<usize> {
    match &expr.kind {
        ExprKind::Column(id) => columns.iter().find(|(c, _)| c == id).map(|(_, at)| *at),
        _ => None,
    }
}

/// UPDATE or DELETE of the rows that an [`Access`] finds.
#[derive(Debug)]
pub struct DirectChange {
    access: Access,
    plan: Arc<ChangePlan>,
}

impl DirectChange {
    /// Compiles the change, if its source has the shape.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub fn compile(source: &Rel, plan: &Arc<ChangePlan>) -> Result<Option<DirectChange>> {
        let Some((table, columns, predicate)) = filtered_scan(source) else { return Ok(None) };
        if predicate.has_subquery() || plan.returns_query() {
            return Ok(None);
        }
        let access = Access::choose(table, &columns, predicate)?;
        Ok(access.map(|access| DirectChange { access, plan: plan.clone() }))
    }

    /// How it finds its rows.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Runs it.
    ///
    /// # Errors
    /// As [`ChangePlan::run`].
    pub async fn run(&self, context: &mut StatementContext<'_>) -> Result<Changes> {
        let rules = self.plan.rules().clone();
        let mut writer = TableWriter::new(&rules);
        let mut changes = Changes::default();
        let mut departed = Vec::new();
        let fixed = self.access.single && self.access.index == 0;
        let keys = if fixed {
            self.access.single_key(context.params, context.eval)?.into_iter().collect()
        } else {
            let keys = self.access.row_keys(&context.transaction.view(), context.params, context.eval, usize::MAX)?;
            keys.unwrap_or_default()
        };
        for (at, key) in keys.into_iter().enumerate() {
            if at % BREATHE_ROWS == BREATHE_ROWS - 1 {
                breathe(context.eval).await?;
            }
            let target = Target { key, others: Vec::new(), verify: true, fixed };
            self.plan.change(context, &mut writer, target, &mut changes, &mut departed).await?;
        }
        if !rules.incoming.is_empty() {
            after_departure(context, &rules, departed).await?;
        }
        writer.finish(context).await?;
        Ok(changes)
    }
}
