//! Joins without a query planner: the rows of one table, for each of them those of the next that an index finds by the values
//! at hand, and so on. Anything that an index does not lead to is the planner's.

use std::sync::Arc;

use stratos_replication::ReadView;
use stratos_types::{Datum, Result};

use super::direct::{Access, COMPARED_MAX, OrderColumn, Positions, Wanted, column_index_of, row_layout};
use super::direct_select::{BYTES_MAX, ROWS_MAX, without_row};
use super::stored;
use crate::catalog::Table;
use crate::eval::{Layout, Program};
use crate::ir::{ColumnId, Expr, ExprKind};
use crate::rows::decode_columns;
use crate::session::EvalContext;

/// Tables of a join. The planner orders more of them better.
const TABLES_MAX: usize = 8;

/// A table of a join as it is written.
pub(super) struct JoinTable<'a> {
    pub(super) table: &'a Arc<Table>,
    pub(super) columns: Positions,
    /// Whether it is on the right of a LEFT JOIN.
    pub(super) outer: bool,
    /// The conditions of ON.
    pub(super) on: Vec<&'a Expr>,
}

/// A join that runs row by row. Its rows are those of the tables one after another, in the order of the steps.
#[derive(Debug)]
pub(super) struct Joined {
    steps: Vec<Step>,
}

/// What is done for each row that the steps before have found.
#[derive(Debug)]
struct Step {
    /// How the rows are found, by values of the row so far.
    access: Access,
    /// What must hold for a row to belong to it.
    matches: Option<Program>,
    /// Whether the row so far stands alone, with NULLs, when there is none.
    outer: bool,
    /// What must hold then of the whole.
    after: Option<Program>,
    /// For each column of the table, whether anything looks at it.
    wanted: Vec<bool>,
}

/// How the rows are wanted.
pub(super) struct JoinOrder<'a> {
    /// The columns that the order is by, where they are all of the table with these columns.
    pub(super) of: &'a dyn Fn(&JoinTable<'_>) -> Option<Vec<OrderColumn>>,
    /// Whether there is a LIMIT.
    pub(super) limited: bool,
}

/// The steps as far as they are chosen.
struct Chosen<'a> {
    steps: Vec<Step>,
    layout: Layout,
    /// Conditions that are not asked yet.
    open: Vec<&'a Expr>,
    ordered: bool,
}

impl Joined {
    /// Finds the steps for tables and the condition of WHERE; none when an index does not lead from table to table. Answers too
    /// where the columns are, and whether the rows come in order. `outputs` is what will be computed of the rows.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub(super) fn compile<'a>(
        tables: &[JoinTable<'a>],
        predicate: Option<&'a Expr>,
        order: &JoinOrder<'_>,
        outputs: &[&Expr],
    ) -> Result<Option<(Joined, Layout, bool)>> {
        // The hidden row id is no column of the row.
        let hidden = |table: &JoinTable<'_>| table.columns.iter().any(|(_, at)| *at >= table.table.columns.len());
        if tables.len() > TABLES_MAX || tables.iter().any(hidden) {
            return Ok(None);
        }
        let mut conditions = predicate.map(Expr::conjuncts).unwrap_or_default();
        let looked_at = |table: &JoinTable<'_>| {
            let mut wanted = vec![false; table.table.columns.len()];
            let on = tables.iter().flat_map(|table| table.on.iter().copied());
            for expr in outputs.iter().copied().chain(predicate).chain(on) {
                expr.walk(&mut |e| {
                    if let Some(slot) = column_index_of(e, &table.columns).and_then(|at| wanted.get_mut(at)) {
                        *slot = true;
                    }
                });
            }
            wanted
        };
        if tables.iter().any(|table| table.outer) {
            let Some((first, rest)) = tables.split_first() else { return Ok(None) };
            let mut chosen = Chosen::begin(first, conditions, order, looked_at(first))?;
            for table in rest {
                let access = chosen.access(table, &chosen.conditions_of(table))?;
                if !access.is_keyed() {
                    return Ok(None);
                }
                chosen.add(table, access, looked_at(table))?;
            }
            return Ok(chosen.end());
        }
        // What ON and WHERE say is the same then, and so is where it begins.
        conditions.extend(tables.iter().flat_map(|table| table.on.iter().copied()));
        let plain = |table: &JoinTable<'a>| JoinTable { columns: table.columns.clone(), on: Vec::new(), ..*table };
        let tables: Vec<JoinTable<'a>> = tables.iter().map(plain).collect();
        let mut starts = Vec::new();
        for (at, table) in tables.iter().enumerate() {
            let chosen = Chosen::begin(table, conditions.clone(), order, looked_at(table))?;
            starts.push((chosen.rank(), at, chosen));
        }
        starts.sort_by_key(|(rank, at, _)| (std::cmp::Reverse(*rank), *at));
        'starts: for (_, start, mut chosen) in starts {
            let mut rest: Vec<&JoinTable<'a>> =
                tables.iter().enumerate().filter(|(at, _)| *at != start).map(|(_, table)| table).collect();
            while !rest.is_empty() {
                let mut best: Option<(usize, usize, Access)> = None;
                for (at, table) in rest.iter().enumerate() {
                    let access = chosen.access(table, &chosen.conditions_of(table))?;
                    let rank = access.rank();
                    if access.is_keyed() && best.as_ref().is_none_or(|(other, ..)| rank > *other) {
                        best = Some((rank, at, access));
                    }
                }
                let Some((_, at, access)) = best else { continue 'starts };
                let table = rest.remove(at);
                chosen.add(table, access, looked_at(table))?;
            }
            return Ok(chosen.end());
        }
        Ok(None)
    }

    /// How the first rows are found.
    pub(super) fn first(&self) -> Option<&Access> {
        self.steps.first().map(|step| &step.access)
    }

    /// For EXPLAIN: the join, and the steps below it.
    pub(super) fn describe(&self) -> (String, Vec<String>) {
        let kind = if self.steps.iter().any(|step| step.outer) { "Nested Loop Left Join" } else { "Nested Loop" };
        (kind.to_owned(), self.steps.iter().map(|step| format!("  ->  {}", step.access.describe())).collect())
    }

    /// The rows of the output, `enough` of them at most; none when too much had to be looked at.
    ///
    /// # Errors
    /// Evaluation errors, the store's errors, cancellation.
    pub(super) fn rows(
        &self,
        output: &[Program],
        enough: usize,
        view: &ReadView,
        params: &[Datum],
        context: &EvalContext,
    ) -> Result<Option<Vec<Vec<Datum>>>> {
        let mut run =
            Run { view, params, context, output, enough, rows: Vec::new(), looked_at: 0, bytes: 0, too_many: false };
        self.step(0, &mut Vec::new(), &mut run)?;
        Ok((!run.too_many || run.rows.len() >= enough).then_some(run.rows))
    }

    /// Carries a row through the steps from one on, and tells whether more rows are wanted.
    fn step(&self, at: usize, row: &mut Vec<Datum>, run: &mut Run<'_>) -> Result<bool> {
        let Some(step) = self.steps.get(at) else {
            let (params, context) = (run.params, run.context);
            run.rows.push(run.output.iter().map(|p| p.run(row, params, context)).collect::<Result<_>>()?);
            return Ok(run.rows.len() < run.enough);
        };
        let (view, params, context) = (run.view, run.params, run.context);
        let spans = step.access.spans(row, params, context)?;
        run.looked_at += spans.len();
        run.too_many |= run.looked_at > ROWS_MAX || spans.len() > COMPARED_MAX && step.matches.is_some();
        if run.too_many {
            return Ok(false);
        }
        let width = row.len();
        let few = if at == 0 { run.enough } else { usize::MAX };
        let mut matched = false;
        let goes_on = step.access.visit(view, spans, context, few, |key, value| {
            let decode = |value: &[u8]| {
                decode_columns(step.access.table(), key, value, |at| step.wanted[at]).map(|row| (row, value.len()))
            };
            let found = match value {
                Some(value) => Some(decode(value)?),
                None => stored(view.get_with(key, |value| value.map(decode)))?.transpose()?,
            };
            let Some((columns, bytes)) = found else {
                return if step.access.is_by_index() { Err(without_row(&step.access)) } else { Ok(true) };
            };
            run.looked_at += 1;
            run.bytes += bytes;
            run.too_many |= run.looked_at > ROWS_MAX || run.bytes > BYTES_MAX;
            if run.too_many {
                return Ok(false);
            }
            row.extend(columns);
            let holds = |condition: &Option<Program>, row: &[Datum]| match condition {
                Some(condition) => condition.holds(row, params, context),
                None => Ok(true),
            };
            let mut goes_on = true;
            if holds(&step.matches, row)? {
                matched = true;
                if holds(&step.after, row)? {
                    goes_on = self.step(at + 1, row, run)?;
                }
            }
            row.truncate(width);
            Ok(goes_on)
        })?;
        if !goes_on || matched || !step.outer {
            return Ok(goes_on);
        }
        row.resize(width + step.wanted.len(), Datum::Null);
        let stands = match &step.after {
            Some(condition) => condition.holds(row, params, context)?,
            None => true,
        };
        let goes_on = !stands || self.step(at + 1, row, run)?;
        row.truncate(width);
        Ok(goes_on)
    }
}

/// What a run looks at, and what it has found.
struct Run<'a> {
    view: &'a ReadView,
    params: &'a [Datum],
    context: &'a EvalContext,
    output: &'a [Program],
    enough: usize,
    rows: Vec<Vec<Datum>>,
    looked_at: usize,
    bytes: usize,
    too_many: bool,
}

impl<'a> Chosen<'a> {
    /// Begins with a table.
    fn begin(
        table: &JoinTable<'a>,
        open: Vec<&'a Expr>,
        order: &JoinOrder<'_>,
        wanted: Vec<bool>,
    ) -> Result<Chosen<'a>> {
        let mut chosen = Chosen { steps: Vec::new(), layout: Layout::default(), open, ordered: false };
        let columns = (order.of)(table);
        let ordered = columns.is_some();
        let asked = Wanted { limited: order.limited && ordered, order: columns.unwrap_or_default() };
        let parts = chosen.decided_with(table);
        let access = Access::choose(table.table, &table.columns, &parts, &asked, &chosen.layout)?;
        chosen.ordered = ordered && access.is_ordered();
        chosen.push(table, access, parts, Vec::new(), wanted)?;
        Ok(chosen)
    }

    /// How good the beginning is.
    fn rank(&self) -> usize {
        self.steps.first().map_or(0, |step| step.access.rank())
    }

    /// The open conditions that can be asked once the table's columns are there.
    fn decided_with(&self, table: &JoinTable<'a>) -> Vec<&'a Expr> {
        let is_known = |id: ColumnId| self.layout.slot(id).is_some() || table.columns.iter().any(|(c, _)| *c == id);
        let decided = |expr: &&&Expr| {
            let mut all = true;
            expr.walk(&mut |e| {
                if let ExprKind::Column(id) = e.kind {
                    all &= is_known(id);
                }
            });
            all
        };
        self.open.iter().filter(decided).copied().collect()
    }

    /// The conditions by which rows of the table belong to what there is.
    fn conditions_of(&self, table: &JoinTable<'a>) -> Vec<&'a Expr> {
        match table.outer {
            true => table.on.clone(),
            false => table.on.iter().copied().chain(self.decided_with(table)).collect(),
        }
    }

    fn access(&self, table: &JoinTable<'a>, parts: &[&Expr]) -> Result<Access> {
        Access::choose(table.table, &table.columns, parts, &Wanted::default(), &self.layout)
    }

    fn add(&mut self, table: &JoinTable<'a>, access: Access, wanted: Vec<bool>) -> Result<()> {
        let matches = self.conditions_of(table);
        let after = if table.outer { self.decided_with(table) } else { Vec::new() };
        self.push(table, access, matches, after, wanted)
    }

    fn push(
        &mut self,
        table: &JoinTable<'a>,
        access: Access,
        matches: Vec<&Expr>,
        after: Vec<&Expr>,
        wanted: Vec<bool>,
    ) -> Result<()> {
        let decided = self.decided_with(table);
        self.open.retain(|condition| !decided.iter().any(|other| std::ptr::eq(*condition, *other)));
        self.layout.append(&row_layout(table.table, &table.columns));
        let program = |parts: Vec<&Expr>| {
            let all = match parts.as_slice() {
                [] => return Ok(None),
                [one] => (*one).clone(),
                [one, ..] => Expr { kind: ExprKind::And(parts.iter().map(|&e| e.clone()).collect()), ..(*one).clone() },
            };
            Program::compile(&all, &self.layout).map(Some)
        };
        let matches = if access.tells_all() { None } else { program(matches)? };
        let after = program(after)?;
        self.steps.push(Step { access, matches, outer: table.outer, after, wanted });
        Ok(())
    }

    /// The whole, if every condition is asked somewhere.
    fn end(self) -> Option<(Joined, Layout, bool)> {
        self.open.is_empty().then(|| (Joined { steps: self.steps }, self.layout, self.ordered))
    }
}
