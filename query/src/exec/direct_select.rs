//! Queries without a query planner and without Arrow: `SELECT expressions [FROM tables [WHERE …]] [ORDER BY columns] [LIMIT …]`
//! whose rows an [`Access`] finds, or a chain of them, or that need none, and the simplest aggregates over them.
//!
//! Planning and starting a query costs DataFusion a multiple of what such a query does. It is for those that look at few rows:
//! one that turns out to look at many gives up in favour of the general form.

use std::sync::Arc;

use stratos_replication::ReadView;
use stratos_types::key::encode_column;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::direct::{Access, COMPARED_MAX, OrderColumn, Wanted, column_index_of, row_layout};
use super::direct_aggregate::Totals;
use super::direct_join::{JoinOrder, JoinTable, Joined};
use super::direct_system::FromSystem;
use super::direct_values::{FromValues, WrittenRows};
use super::{beside_others, stored};
use crate::catalog::SystemTable;
use crate::ddl::must_be_indexable;
use crate::eval::{Layout, Program};
use crate::functions::Volatility;
use crate::ir::{AggregateCall, ColumnId, Expr, ExprKind, JoinKind, OutputColumn, Rel, SortKey};
use crate::lower::QueryRuntime;
use crate::rows::{decode_columns, storage_prefix};
use crate::session::EvalContext;

/// Rows that a query looks at, and bytes of them, before it gives up.
pub(super) const ROWS_MAX: usize = 4096;
pub(super) const BYTES_MAX: usize = 8 << 20;
/// Rows of a table that is read as a whole.
const TABLE_ROWS_MAX: u64 = 1000;

/// A query that runs row by row.
#[derive(Debug)]
pub struct DirectSelect {
    source: Source,
    /// What is computed of each row.
    output: Vec<Program>,
    /// What one row is made of all of them.
    totals: Option<Totals>,
    /// Columns to sort by, where the rows are not found in order.
    sort: Vec<SortColumn>,
    /// Whether the rows are in order as they are found, so that those behind the limit need not be looked at. Of an aggregate, that
    /// the first row has it.
    stops: bool,
    limit: Option<Program>,
    offset: Option<Program>,
    /// The columns of the output that are shown, where not all are.
    shown: Option<Vec<usize>>,
    /// Whether all of it is known before it runs: PostgreSQL finds its errors while it plans.
    known: bool,
    /// Whether it makes values of any length, which may take long.
    heavy: bool,
}

/// Where the rows come from.
#[derive(Debug)]
enum Source {
    /// No FROM: one row without columns.
    Nothing,
    Table(Box<FromTable>),
    Joined(Joined),
    System(FromSystem),
    Values(FromValues),
}

#[derive(Debug)]
struct FromTable {
    access: Access,
    filter: Option<Program>,
    /// Where the output is just these columns of the row.
    plain: Option<Vec<usize>>,
    /// For each column of the table, whether the filter or the output looks at it.
    wanted: Vec<bool>,
}

/// A column of the output to sort by.
#[derive(Debug)]
struct SortColumn {
    at: usize,
    ty: PgType,
    descending: bool,
    nulls_first: bool,
}

/// A query taken apart.
struct Parts<'a> {
    shown: Option<Vec<ColumnId>>,
    limit: Option<&'a Expr>,
    offset: Option<&'a Expr>,
    keys: &'a [SortKey],
    output: &'a [(OutputColumn, Expr)],
    aggregates: Option<&'a [(OutputColumn, AggregateCall)]>,
    from: Vec<JoinTable<'a>>,
    /// A system table, and its columns, in place of tables.
    system: Option<(&'a Arc<dyn SystemTable>, &'a [OutputColumn])>,
    /// Rows that are written in the query, in place of tables.
    written: Option<WrittenRows>,
    predicate: Option<&'a Expr>,
}

/// The tables of a FROM clause: one, or joins of them, each joined to what is left of it.
fn tables<'a>(rel: &'a Rel, out: &mut Vec<JoinTable<'a>>) -> Option<()> {
    match rel {
        Rel::Scan { table, columns, lock: None, .. } => {
            let columns = columns.iter().map(|c| (c.id, c.index)).collect();
            out.push(JoinTable { table, columns, outer: false, on: Vec::new() });
        }
        Rel::Join { left, right, kind, on, lateral: false } => {
            tables(left, out)?;
            let Rel::Scan { lock: None, .. } = right.as_ref() else { return None };
            tables(right, out)?;
            let last = out.last_mut()?;
            last.outer = match kind {
                JoinKind::Inner => false,
                JoinKind::Left => true,
                JoinKind::Right | JoinKind::Full => return None,
            };
            last.on = on.as_ref().map(Expr::conjuncts).unwrap_or_default();
        }
        _ => return None,
    }
    Some(())
}

impl Parts<'_> {
    /// The parts of a query that consists of nothing else.
    fn of(rel: &Rel) -> Option<Parts<'_>> {
        let (shown, rel) = match rel {
            Rel::Alias { input, columns } => (Some(columns.iter().map(|(_, id)| *id).collect()), input.as_ref()),
            other => (None, other),
        };
        let (limit, offset, rel) = match rel {
            Rel::Limit { input, limit, offset } => (limit.as_ref(), offset.as_ref(), input.as_ref()),
            other => (None, None, other),
        };
        let (keys, rel) = match rel {
            Rel::Sort { input, keys } => (keys.as_slice(), input.as_ref()),
            other => (&[] as &[SortKey], other),
        };
        let Rel::Project { input, columns: output } = rel else { return None };
        let (aggregates, rel) = match input.as_ref() {
            Rel::Aggregate { input, group_by, grouping_sets: None, aggregates, groupings }
                if group_by.is_empty() && groupings.is_empty() =>
            {
                (Some(aggregates.as_slice()), input.as_ref())
            }
            other => (None, other),
        };
        let (predicate, rel) = match rel {
            Rel::Filter { input, predicate } => (Some(predicate), input.as_ref()),
            other => (None, other),
        };
        let (mut from, mut system, mut written) = (Vec::new(), None, None);
        match rel {
            Rel::SystemScan { table, columns } => system = Some((table, columns.as_slice())),
            Rel::Scan { .. } | Rel::Join { .. } => tables(rel, &mut from)?,
            _ => written = Some(WrittenRows::of(rel)?),
        }
        Some(Parts { shown, limit, offset, keys, output, aggregates, from, system, written, predicate })
    }

    fn has_subquery(&self) -> bool {
        let on = self.from.iter().flat_map(|table| table.on.iter().copied());
        let exprs = self.output.iter().map(|(_, expr)| expr).chain(self.predicate).chain(self.limit).chain(self.offset);
        let exprs = exprs.chain(on);
        let calls = self.aggregates.into_iter().flatten();
        let args = calls.flat_map(|(_, call)| call.args.iter().chain(&call.filter));
        let written = self.written.iter().flat_map(WrittenRows::exprs);
        exprs.into_iter().chain(args).chain(written).any(Expr::has_subquery)
    }

    /// What the rows are sorted by: columns of the output. None when it is not of that form.
    fn sort(&self) -> Option<Vec<SortColumn>> {
        let column = |key: &SortKey| {
            let ExprKind::Column(id) = key.expr.kind else { return None };
            let at = self.output.iter().position(|(column, _)| column.id == id)?;
            let ty = self.output[at].1.ty.ty;
            let (descending, nulls_first) = (key.descending, key.nulls_first);
            // A constant may stand for the position of a column in another text with the same parameters.
            let comparable = must_be_indexable(ty).is_ok() && !self.output[at].1.is_constant();
            comparable.then_some(SortColumn { at, ty, descending, nulls_first })
        };
        self.keys.iter().map(column).collect()
    }
}

/// What is written in the query, as the input of a select list, where it is the whole of a query.
fn select_of(rel: &Rel) -> Option<Rel> {
    let source = match rel {
        Rel::Alias { input, .. } => input,
        other => other,
    };
    if !matches!(source, Rel::Values { .. } | Rel::SetOp { .. }) {
        return None;
    }
    WrittenRows::of(source)?;
    let output = rel.output().into_iter().map(|c| (c.clone(), Expr::column(c.id, c.ty))).collect();
    Some(Rel::Project { input: Box::new(rel.clone()), columns: output })
}

/// What is asked of the order in which the rows of a table are found; none when no index can have it.
fn wanted_order(parts: &Parts<'_>, from: &JoinTable<'_>, sort: &[SortColumn]) -> Option<Vec<OrderColumn>> {
    let column = |sort: &SortColumn| {
        let column = column_index_of(&parts.output[sort.at].1, &from.columns)?;
        // The hidden row id is no column of the table.
        let is_own = column < from.table.columns.len();
        is_own.then_some(OrderColumn { column, descending: sort.descending, nulls_first: sort.nulls_first })
    };
    sort.iter().map(column).collect()
}

impl DirectSelect {
    /// Compiles the query, if it has the shape.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub fn compile(rel: &Rel) -> Result<Option<DirectSelect>> {
        if let Some(selected) = select_of(rel) {
            return DirectSelect::compile(&selected);
        }
        let Some(parts) = Parts::of(rel) else { return Ok(None) };
        let Some(sort) = parts.sort() else { return Ok(None) };
        if parts.has_subquery() {
            return Ok(None);
        }
        let no_columns = Layout::new(std::iter::empty());
        let constant = |expr: Option<&Expr>| expr.map(|expr| Program::compile(expr, &no_columns)).transpose();
        let shown = match &parts.shown {
            None => None,
            Some(ids) => {
                let at = |id: &ColumnId| parts.output.iter().position(|(column, _)| column.id == *id);
                let Some(shown) = ids.iter().map(at).collect() else { return Ok(None) };
                Some(shown)
            }
        };
        let volatile = crate::lower::is_volatile(rel);
        if let Some((table, columns)) = parts.system {
            // The general form would call a volatile function a second time.
            if volatile {
                return Ok(None);
            }
            return DirectSelect::of_rows(&parts, sort, shown, |output, sort| {
                let in_order = sort.is_empty() && parts.aggregates.is_none();
                let system = FromSystem::compile(table, columns, parts.predicate, output)?;
                Ok(system.map(|(system, layout)| (Source::System(system), layout, in_order)))
            });
        }
        // What waits must not do so here.
        if volatile && parts.from.is_empty() {
            return Ok(None);
        }
        if let Some(written) = parts
            .written
            .as_ref()
            .filter(|written| !written.is_nothing() || parts.aggregates.is_some() || parts.predicate.is_some())
        {
            let in_order = sort.is_empty() && parts.aggregates.is_none();
            let heavy = written.exprs().chain(parts.output.iter().map(|(_, e)| e)).any(is_heavy);
            let program = DirectSelect::of_rows(&parts, sort, shown, |_, _| {
                let (values, layout) = FromValues::compile(written, parts.predicate)?;
                Ok(Some((Source::Values(values), layout, in_order)))
            })?;
            return Ok(program.map(|program| DirectSelect { heavy, ..program }));
        }
        let Some(from) = parts.from.first() else {
            let output = parts.output.iter().map(|(_, e)| Program::compile(e, &no_columns)).collect::<Result<_>>()?;
            let (limit, offset) = (constant(parts.limit)?, constant(parts.offset)?);
            let known = limit.is_none() && offset.is_none() && parts.output.iter().all(|(_, expr)| is_immutable(expr));
            let heavy = parts.output.iter().any(|(_, expr)| is_heavy(expr));
            let (source, sort, totals, stops) = (Source::Nothing, Vec::new(), None, true);
            return Ok(Some(DirectSelect { source, output, totals, sort, stops, limit, offset, shown, known, heavy }));
        };
        if parts.from.len() > 1 {
            if volatile {
                return Ok(None);
            }
            return DirectSelect::of_rows(&parts, sort, shown, |output, sort| {
                let of = |table: &JoinTable<'_>| wanted_order(&parts, table, sort);
                let order = JoinOrder { of: &of, limited: parts.limit.is_some() && parts.aggregates.is_none() };
                let joined = Joined::compile(&parts.from, parts.predicate, &order, output)?;
                let in_order = |ordered| ordered && parts.aggregates.is_none();
                Ok(joined.map(|(joined, layout, ordered)| (Source::Joined(joined), layout, in_order(ordered))))
            });
        }
        let (order, limited) = match parts.aggregates {
            None => (wanted_order(&parts, from, &sort), parts.limit.is_some()),
            Some(calls) => (Totals::first_in(calls, from.table, &from.columns).map(|first| vec![first]), true),
        };
        let ordered = order.is_some();
        let wanted = Wanted { limited: limited && ordered, order: order.unwrap_or_default() };
        let conditions = parts.predicate.map(Expr::conjuncts).unwrap_or_default();
        let access = Access::choose(from.table, &from.columns, &conditions, &wanted, &no_columns)?;
        let in_order = access.is_single() || (ordered && access.is_ordered());
        // What finds many rows may have to begin anew in the general form, which a volatile function would notice.
        if !access.is_single() && volatile {
            return Ok(None);
        }
        DirectSelect::of_rows(&parts, sort, shown, |output, _| {
            let layout = row_layout(from.table, &from.columns);
            let plain = output.iter().map(|expr| column_index_of(expr, &from.columns)).collect();
            let asked = parts.predicate.filter(|_| !access.tells_all());
            let mut wanted = vec![false; from.table.columns.len()];
            for expr in output.iter().copied().chain(asked) {
                expr.walk(&mut |e| {
                    if let Some(slot) = column_index_of(e, &from.columns).and_then(|at| wanted.get_mut(at)) {
                        *slot = true;
                    }
                });
            }
            let filter = asked.map(|predicate| Program::compile(predicate, &layout)).transpose()?;
            let source = Source::Table(Box::new(FromTable { access, filter, plain, wanted }));
            Ok(Some((source, layout, in_order)))
        })
    }

    /// What computes the output, or the aggregates, of the rows that `find` finds. It is given the expressions that are computed of
    /// each row and the order of the output, and answers where the columns of its rows are, and whether they come in that order.
    fn of_rows(
        parts: &Parts<'_>,
        sort: Vec<SortColumn>,
        shown: Option<Vec<usize>>,
        find: impl FnOnce(&[&Expr], &[SortColumn]) -> Result<Option<(Source, Layout, bool)>>,
    ) -> Result<Option<DirectSelect>> {
        let totals = match parts.aggregates.map(|calls| Totals::compile(calls, parts.output)).transpose()? {
            Some(None) => return Ok(None),
            Some(totals) => totals,
            None => None,
        };
        let inputs = parts.aggregates.map(Totals::inputs);
        let output: Vec<&Expr> = match &inputs {
            Some(inputs) => inputs.iter().collect(),
            None => parts.output.iter().map(|(_, expr)| expr).collect(),
        };
        let Some((source, layout, in_order)) = find(&output, &sort)? else { return Ok(None) };
        let no_columns = Layout::default();
        let constant = |expr: Option<&Expr>| expr.map(|expr| Program::compile(expr, &no_columns)).transpose();
        Ok(Some(DirectSelect {
            output: output.into_iter().map(|expr| Program::compile(expr, &layout)).collect::<Result<_>>()?,
            source,
            stops: in_order,
            sort: if in_order || totals.is_some() { Vec::new() } else { sort },
            totals,
            limit: constant(parts.limit)?,
            offset: constant(parts.offset)?,
            shown,
            known: false,
            heavy: false,
        }))
    }

    /// How it finds its first rows, where it looks for any.
    pub fn access(&self) -> Option<&Access> {
        match &self.source {
            Source::Nothing | Source::System(_) | Source::Values(_) => None,
            Source::Table(from) => Some(&from.access),
            Source::Joined(joined) => joined.first(),
        }
    }

    /// Whether it looks at one row at most.
    pub fn is_single(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Table(from) => from.access.is_single(),
            Source::Joined(_) | Source::System(_) | Source::Values(_) => false,
        }
    }

    /// Whether its rows come from elsewhere than the query itself.
    pub fn reads(&self) -> bool {
        !matches!(self.source, Source::Nothing | Source::Values(_))
    }

    /// Whether it joins tables, row by row.
    pub fn is_join(&self) -> bool {
        matches!(self.source, Source::Joined(_))
    }

    /// Whether it finds its row by a whole key, and so needs no other form.
    pub fn is_by_key(&self) -> bool {
        matches!(&self.source, Source::Table(from) if from.access.is_single())
    }

    /// The prefix of the table's keys, and the most rows that it may have, where all of them are read.
    pub fn whole_table(&self) -> Option<([u8; 9], u64)> {
        let access = self.access().filter(|access| access.is_of_all())?;
        let table = access.table();
        Some((storage_prefix(table.database, table.storage), TABLE_ROWS_MAX))
    }

    /// Whether an error comes before the columns are told.
    pub fn fails_early(&self) -> bool {
        self.known
    }

    /// What EXPLAIN says, in lines.
    pub fn describe(&self) -> Vec<String> {
        let (mut text, below) = match &self.source {
            Source::Nothing => ("Result".to_owned(), Vec::new()),
            Source::Joined(joined) => joined.describe(),
            Source::System(system) => (format!("Scan on {}", system.name()), Vec::new()),
            Source::Values(_) => ("Values Scan".to_owned(), Vec::new()),
            Source::Table(from) => (from.access.describe(), Vec::new()),
        };
        for (holds, what) in [(!self.sort.is_empty(), ", sorted"), (self.limit.is_some(), ", limited")] {
            if holds {
                text.push_str(what);
            }
        }
        text += if self.access().is_some() { " (by key, no query plan)" } else { " (no query plan)" };
        std::iter::once(text).chain(below).collect()
    }

    /// Runs it. `None` when there is more than should be held at once: the general form gives its rows bit by bit.
    ///
    /// # Errors
    /// Evaluation errors, the store's errors, cancellation.
    pub fn run(
        &self,
        view: &ReadView,
        runtime: &QueryRuntime,
        params: &[Datum],
        context: &EvalContext,
    ) -> Result<Option<Vec<Vec<Datum>>>> {
        let offset = count(self.offset.as_ref(), params, context, ErrorKind::InvalidRowCountInOffset, "OFFSET")?;
        let limit = count(self.limit.as_ref(), params, context, ErrorKind::InvalidRowCountInLimit, "LIMIT")?;
        let offset = offset.unwrap_or(0);
        let enough = limit.map_or(usize::MAX, |limit| limit.saturating_add(offset));
        let mut rows = match &self.source {
            _ if enough == 0 => Vec::new(),
            Source::Nothing => {
                let row = || self.output.iter().map(|p| p.run(&[], params, context)).collect::<Result<_>>();
                vec![if self.heavy { beside_others(row) } else { row() }?]
            }
            source => {
                let stop = match (self.stops, &self.totals) {
                    (true, None) => enough,
                    (true, Some(_)) => 1,
                    (false, _) => usize::MAX,
                };
                let rows = match source {
                    Source::Table(from) => from.rows(&self.output, stop, view, params, context)?,
                    Source::Joined(joined) => joined.rows(&self.output, stop, view, params, context)?,
                    Source::System(system) => system.rows(&self.output, stop, runtime, params, context)?,
                    Source::Values(values) => {
                        let rows = || values.rows(&self.output, stop, params, context).map(Some);
                        if self.heavy { beside_others(rows) } else { rows() }?
                    }
                    Source::Nothing => None,
                };
                let Some(rows) = rows else { return Ok(None) };
                match &self.totals {
                    Some(totals) => vec![totals.row(&rows, params, context)?],
                    None => rows,
                }
            }
        };
        if !self.sort.is_empty() {
            self.sort(&mut rows);
        }
        if offset > 0 {
            rows.drain(..offset.min(rows.len()));
        }
        rows.truncate(limit.unwrap_or(usize::MAX));
        if let Some(shown) = &self.shown {
            for row in &mut rows {
                *row = shown.iter().map(|at| row[*at].clone()).collect();
            }
        }
        Ok(Some(rows))
    }

    fn sort(&self, rows: &mut [Vec<Datum>]) {
        rows.sort_by_cached_key(|row| {
            let mut key = Vec::new();
            for column in &self.sort {
                encode_column(&mut key, column.ty, &row[column.at], column.descending, column.nulls_first);
            }
            key
        });
    }
}

impl FromTable {
    /// The rows of the output, `enough` of them at most; none when too much had to be looked at.
    fn rows(
        &self,
        output: &[Program],
        enough: usize,
        view: &ReadView,
        params: &[Datum],
        context: &EvalContext,
    ) -> Result<Option<Vec<Vec<Datum>>>> {
        let spans = self.access.spans(&[], params, context)?;
        if spans.len() > ROWS_MAX || spans.len() > COMPARED_MAX && self.filter.is_some() {
            return Ok(None);
        }
        let mut rows = Vec::new();
        let (mut looked_at, mut bytes, mut too_many) = (0, 0, false);
        self.access.visit(view, spans, context, enough, |key, value| {
            looked_at += 1;
            let mut take = |value: &[u8]| {
                bytes += value.len();
                self.take(key, value, output, params, context, &mut rows)
            };
            match value {
                Some(value) => take(value)?,
                None => stored(view.get_with(key, |value| match value {
                    Some(value) => take(value),
                    None if !self.access.is_by_index() => Ok(()),
                    None => Err(without_row(&self.access)),
                }))??,
            }
            too_many = !self.access.is_single() && (looked_at > ROWS_MAX || bytes > BYTES_MAX);
            Ok(rows.len() < enough && !too_many)
        })?;
        Ok((!too_many || rows.len() >= enough).then_some(rows))
    }

    fn take(
        &self,
        key: &[u8],
        value: &[u8],
        output: &[Program],
        params: &[Datum],
        context: &EvalContext,
        rows: &mut Vec<Vec<Datum>>,
    ) -> Result<()> {
        let row = decode_columns(self.access.table(), key, value, |at| self.wanted[at])?;
        if let Some(filter) = &self.filter
            && filter.run(&row, params, context)? != Datum::Bool(true)
        {
            return Ok(());
        }
        rows.push(match &self.plain {
            Some(positions) => positions.iter().map(|at| row[*at].clone()).collect(),
            None => output.iter().map(|p| p.run(&row, params, context)).collect::<Result<_>>()?,
        });
        Ok(())
    }
}

/// An index names a row that is not there.
pub(super) fn without_row(access: &Access) -> Error {
    let (index, table) = (access.index_name(), &access.table().name);
    let message = format!("index \"{index}\" of table \"{table}\" names a row that is not there");
    Error::new(ErrorKind::DataCorrupted, message)
}

fn is_immutable(expr: &Expr) -> bool {
    let mut immutable = true;
    expr.walk(&mut |e| {
        if let ExprKind::Call { function, .. } = &e.kind {
            immutable &= function.volatility == Volatility::Immutable;
        }
    });
    immutable
}

/// Whether it computes values that have no bound to their length from others.
fn is_heavy(expr: &Expr) -> bool {
    let mut heavy = false;
    expr.walk(&mut |e| {
        if let ExprKind::Call { args, .. } = &e.kind {
            let unbounded = matches!(e.ty.ty, PgType::Text | PgType::Bytea | PgType::Json | PgType::Jsonb);
            heavy |= !args.is_empty() && (unbounded || e.ty.ty.element().is_some());
        }
    });
    heavy
}

/// A number of rows; none for NULL.
fn count(
    program: Option<&Program>,
    params: &[Datum],
    context: &EvalContext,
    kind: ErrorKind,
    clause: &str,
) -> Result<Option<usize>> {
    let Some(program) = program else { return Ok(None) };
    let n = match program.run(&[], params, context)? {
        Datum::Null => return Ok(None),
        Datum::Int8(n) => n,
        Datum::Int4(n) => i64::from(n),
        other => return Err(Error::internal(format!("{clause} of an unexpected type: {other:?}"))),
    };
    if n < 0 {
        return Err(Error::new(kind, format!("{clause} must not be negative")));
    }
    Ok(Some(usize::try_from(n).unwrap_or(usize::MAX)))
}
