//! Lookups and writes by key, without a query planner and without Arrow.
//!
//! A statement over one table whose WHERE clause fixes the first columns of an index (and perhaps bounds the next one)
//! compiles to an [`Access`]: a span of keys, computed from constants and parameters. What else the WHERE clause says is
//! asked of each row. What is done with the rows of a query, see [`super::direct_select`]. Anything else goes through
//! DataFusion; the tests compare the two for every shape.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use stratos_replication::{Direction, ReadView, Span};
use stratos_types::key::encode_column;
use stratos_types::{Datum, PgType, Result};

use super::change::{ChangePlan, Target};
use super::foreign_keys::after_departure;
use super::write::TableWriter;
use super::{BREATHE_ROWS, Changes, StatementContext, breathe, scan_towards};
use crate::catalog::{Index, IndexState, Table};
use crate::eval::{Layout, Program};
use crate::fit::{End, Fit, fit, fits, is_near};
use crate::functions::{Kernel, Volatility};
use crate::ir::{ColumnId, Expr, ExprKind, Quantifier, Rel};
use crate::rows::{INDEX_PREFIX_BYTES, PRIMARY_INDEX_ID, index_prefix, row_key_of_entry};
use crate::session::EvalContext;

/// Keys that are looked up between two looks at whether the statement is canceled.
const CANCEL_KEYS: usize = 256;

/// A bound of the range on the column after the fixed ones.
#[derive(Debug)]
struct Bound {
    value: Program,
    inclusive: bool,
}

/// What a column of an index is equal to.
#[derive(Debug)]
enum Fixed {
    One(Program),
    /// `IN (…)`. One column of an access at most.
    Among(Vec<Program>),
    /// `= ANY (array)`; as `Among`.
    Array(Program),
}

/// Members of a list that each row is compared with, where the access does not tell all; a set does that better for more.
pub(super) const COMPARED_MAX: usize = 256;

/// How the rows of one table are found.
#[derive(Debug)]
pub struct Access {
    table: Arc<Table>,
    /// Position in the table's indexes; 0 is the rows themselves.
    index: usize,
    /// What the index's first columns are equal to.
    fixed: Vec<Fixed>,
    low: Option<Bound>,
    high: Option<Bound>,
    /// Whether `fixed` gives each column of a unique index one value, so that there is at most one row.
    single: bool,
    /// Whether the predicate asks for nothing else than what `fixed` says.
    tells_all: bool,
    /// The direction in which the index has the wanted order, if it has.
    order: Option<Direction>,
    /// Whether these are all rows of the table, whose number is not known to be bounded.
    all: bool,
}

/// The order of rows, and whether only the first are wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The columns that the order is by; empty when any order will do.
    pub(super) order: Vec<OrderColumn>,
    /// Whether there is a LIMIT.
    pub(super) limited: bool,
}

/// A column of the table that an order is by.
#[derive(Debug)]
pub(super) struct OrderColumn {
    /// Position in the table.
    pub(super) column: usize,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

impl Wanted {
    /// The direction in which an index of which the first `fixed` columns have one value each gives the order.
    fn direction(&self, table: &Table, index: &Index, fixed: usize) -> Option<Direction> {
        let at = |attnum| table.column_index(attnum);
        let (known, rest) = index.columns.split_at(fixed.min(index.columns.len()));
        let mut rest = rest.iter();
        let mut direction = None;
        for key in &self.order {
            if known.iter().any(|column| at(column.attnum) == Some(key.column)) {
                continue;
            }
            let Some(column) = rest.next() else {
                // No two rows are equal in all columns of a primary key.
                return if index.id == PRIMARY_INDEX_ID && table.has_primary_key() { direction } else { None };
            };
            if at(column.attnum) != Some(key.column) {
                return None;
            }
            let no_nulls = table.columns[key.column].not_null;
            let same = column.descending == key.descending;
            if !no_nulls && same != (column.nulls_first == key.nulls_first) {
                return None;
            }
            let this = if same { Direction::Forward } else { Direction::Backward };
            if direction.is_some_and(|other| other != this) {
                return None;
            }
            direction = Some(this);
        }
        Some(direction.unwrap_or(Direction::Forward))
    }
}

/// Whether an expression has its value before the table is read: of constants, and of columns that are known by then.
fn is_given(expr: &Expr, known: &Layout) -> bool {
    match &expr.kind {
        ExprKind::Column(id) => known.slot(*id).is_some(),
        ExprKind::Cast { arg, .. } => is_given(arg, known),
        ExprKind::Call { function, args } if function.volatility != Volatility::Volatile => {
            args.iter().all(|arg| is_given(arg, known))
        }
        _ => expr.is_constant(),
    }
}

/// A comparison of a column with something that does not depend on the row.
struct Comparison<'a> {
    column: usize,
    kernel: Kernel,
    value: &'a Expr,
}

/// A list in which a column must be.
struct Membership<'a> {
    column: usize,
    of: Members<'a>,
}

enum Members<'a> {
    List(&'a [Expr]),
    Array(&'a Expr),
}

impl Membership<'_> {
    fn compile(&self, known: &Layout) -> Result<Fixed> {
        Ok(match self.of {
            Members::List(list) => {
                Fixed::Among(list.iter().map(|item| Program::compile(item, known)).collect::<Result<_>>()?)
            }
            Members::Array(array) => Fixed::Array(Program::compile(array, known)?),
        })
    }
}

fn membership<'a>(
    expr: &'a Expr,
    table: &Table,
    columns: &[(ColumnId, usize)],
    known: &Layout,
) -> Option<Membership<'a>> {
    let (equals, left, of) = match &expr.kind {
        ExprKind::InList { equals, arg, list } => (equals, arg, Members::List(list)),
        ExprKind::Quantified { quantifier: Quantifier::Any, operator, left, array } => {
            (operator, left, Members::Array(array))
        }
        _ => return None,
    };
    let column = column_position(left, columns)?;
    let ty = table.columns.get(column)?.ty.ty;
    let fixes = |value: PgType| fits(value, ty) && !is_near(value, ty);
    let fixed = match of {
        Members::List(list) => list.iter().all(|item| is_given(item, known) && fixes(item.ty.ty)),
        Members::Array(array) => is_given_array(array, known) && array.ty.ty.element().is_some_and(fixes),
    };
    (fixed && equals.kernel == Some(Kernel::Eq)).then_some(Membership { column, of })
}

fn is_given_array(array: &Expr, known: &Layout) -> bool {
    match &array.kind {
        ExprKind::Array(items) => items.iter().all(|item| is_given(item, known)),
        ExprKind::Cast { arg, .. } => is_given_array(arg, known),
        _ => is_given(array, known),
    }
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

fn comparison<'a>(
    expr: &'a Expr,
    table: &Table,
    columns: &[(ColumnId, usize)],
    known: &Layout,
) -> Option<Comparison<'a>> {
    let ExprKind::Call { function, args } = &expr.kind else { return None };
    let [left, right] = args.as_slice() else { return None };
    let kernel = function.kernel?;
    let (column, kernel, value) = match (column_position(left, columns), column_position(right, columns)) {
        (Some(at), None) if is_given(right, known) => (at, kernel, right),
        (None, Some(at)) if is_given(left, known) => {
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
    /// The best access that conditions allow, joined by AND, where the columns of `known` have values already: a unique index fixed
    /// wholly, else the most fixed columns. Rows in an order of
    /// which only the first are wanted may also be found by an index that has it. None of these: all rows of the table.
    pub(super) fn choose(
        table: &Arc<Table>,
        columns: &[(ColumnId, usize)],
        parts: &[&Expr],
        wanted: &Wanted,
        known: &Layout,
    ) -> Result<Access> {
        let comparisons: Vec<Comparison<'_>> =
            parts.iter().filter_map(|p| comparison(p, table, columns, known)).collect();
        let lists: Vec<Membership<'_>> = parts.iter().filter_map(|p| membership(p, table, columns, known)).collect();
        let mut best: Option<(usize, Access)> = None;
        for (position, index) in table.indexes.iter().enumerate() {
            if index.state != IndexState::Public || (index.columns.is_empty() && position > 0) {
                continue;
            }
            let mut fixed = Vec::new();
            let mut among = None;
            let (mut low, mut high) = (None, None);
            for key_column in &index.columns {
                let Some(at) = table.column_index(key_column.attnum) else { break };
                let ty = table.columns[at].ty.ty;
                let of_column = || comparisons.iter().filter(|c| c.column == at);
                let is_one_value = |c: &&Comparison<'_>| c.kernel == Kernel::Eq && !is_near(c.value.ty.ty, ty);
                if let Some(equal) = of_column().find(is_one_value) {
                    fixed.push(Fixed::One(Program::compile(equal.value, known)?));
                    continue;
                }
                if among.is_none()
                    && let Some(list) = lists.iter().find(|list| list.column == at)
                {
                    among = Some(fixed.len());
                    fixed.push(list.compile(known)?);
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
                            *slot = Some(Bound { value: Program::compile(bound.value, known)?, inclusive });
                        }
                    }
                }
                break;
            }
            let whole = index.unique && !index.columns.is_empty() && fixed.len() == index.columns.len();
            let single = whole && among.is_none();
            let known = among.unwrap_or(fixed.len());
            let order = if single { Some(Direction::Forward) } else { wanted.direction(table, index, known) };
            let bounded = !fixed.is_empty() || (low.is_some() && high.is_some());
            let stops = wanted.limited && order.is_some();
            if !bounded && !stops {
                continue;
            }
            let score = usize::from(single) * 1000
                + usize::from(whole) * 100
                + fixed.len() * 10
                + usize::from(stops && !wanted.order.is_empty()) * 5
                + usize::from(low.is_some())
                + usize::from(high.is_some())
                + usize::from(position == 0);
            if best.as_ref().is_none_or(|(other, _)| score > *other) {
                // A column that stands twice in an index takes but one part.
                let told: BTreeSet<i16> = index.columns.iter().take(fixed.len()).map(|c| c.attnum).collect();
                let tells_all = parts.len() == told.len();
                let table = table.clone();
                let access = Access { table, index: position, fixed, low, high, single, tells_all, order, all: false };
                best = Some((score, access));
            }
        }
        Ok(best.map_or_else(|| Access::all(table, wanted), |(_, access)| access))
    }

    fn all(table: &Arc<Table>, wanted: &Wanted) -> Access {
        let order = wanted.direction(table, table.primary_index(), 0);
        Access {
            table: table.clone(),
            index: 0,
            fixed: Vec::new(),
            low: None,
            high: None,
            single: false,
            tells_all: false,
            order,
            all: true,
        }
    }

    /// What comparing one of the index's columns with a value means.
    fn fit(&self, value: Datum, column: usize, context: &EvalContext) -> Result<Fit> {
        let target = self.table.indexes[self.index].columns[column].attnum;
        let Some(at) = self.table.column_index(target) else { return Ok(Fit::Nothing) };
        fit(value, self.table.columns[at].ty.ty, &context.format.time_zone)
    }

    /// The keys to look at, in the order of the index, for a row of what was known; none when there can be no row.
    pub(super) fn spans(&self, row: &[Datum], params: &[Datum], context: &EvalContext) -> Result<Vec<Span>> {
        let index = &self.table.indexes[self.index];
        let mut prefix = Vec::with_capacity(INDEX_PREFIX_BYTES + 24);
        prefix.extend_from_slice(&index_prefix(&self.table, index));
        let mut prefixes = vec![prefix];
        for (position, fixed) in self.fixed.iter().enumerate() {
            let run = |program: &Program| program.run(row, params, context);
            let values = match fixed {
                Fixed::One(program) => vec![run(program)?],
                Fixed::Among(programs) => programs.iter().map(run).collect::<Result<_>>()?,
                Fixed::Array(program) => match run(program)? {
                    Datum::Array(array) => array.values.clone(),
                    _ => Vec::new(),
                },
            };
            let mut columns = BTreeSet::new();
            for value in values {
                if let Some(value) = self.fit(value, position, context)?.equal() {
                    let mut column = Vec::new();
                    self.encode(&mut column, position, &value);
                    columns.insert(column);
                }
            }
            prefixes = prefixes.iter().flat_map(|prefix| columns.iter().map(|c| [&prefix[..], c].concat())).collect();
        }
        let spans = prefixes.into_iter().map(|prefix| self.span(prefix, row, params, context));
        spans.filter_map(Result::transpose).collect()
    }

    /// The keys that begin so and are within the bounds of the column behind; none when there can be no row.
    fn span(&self, prefix: Vec<u8>, row: &[Datum], params: &[Datum], context: &EvalContext) -> Result<Option<Span>> {
        let index = &self.table.indexes[self.index];
        let whole = Span::prefix(&prefix);
        let next = self.fixed.len();
        let (mut start, mut end) = (whole.start, whole.end);
        for (bound, is_low) in [(&self.low, true), (&self.high, false)] {
            let Some(bound) = bound else { continue };
            let fit = self.fit(bound.value.run(row, params, context)?, next, context)?;
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
        Ok(self.spans(&[], params, context)?.into_iter().next().map(|span| span.start))
    }

    /// Whether it makes keys of rows of what the statement says, and looks for none.
    fn is_by_whole_key(&self) -> bool {
        let columns = self.table.indexes[self.index].columns.len();
        self.index == 0 && columns > 0 && self.fixed.len() == columns
    }

    /// Whether it finds one row at most.
    pub fn is_single(&self) -> bool {
        self.single
    }

    /// Name of the index, for EXPLAIN.
    pub fn index_name(&self) -> &str {
        &self.table.indexes[self.index].name
    }

    /// For EXPLAIN.
    pub(super) fn describe(&self) -> String {
        match self.all {
            true => format!("Scan on {}", self.table.name),
            false => format!("Lookup on {} using {}", self.table.name, self.index_name()),
        }
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Whether it looks only for rows with given values in the first columns of an index.
    pub(super) fn is_keyed(&self) -> bool {
        !self.fixed.is_empty()
    }

    /// How few rows it is likely to find, the greater the fewer.
    pub(super) fn rank(&self) -> usize {
        match () {
            () if self.single => 4,
            () if self.is_keyed() => 3,
            () if self.low.is_some() && self.high.is_some() => 2,
            () if !self.all => 1,
            () => 0,
        }
    }

    /// Whether it is of all rows of the table.
    pub(super) fn is_of_all(&self) -> bool {
        self.all
    }

    /// Whether the predicate is true of the rows that it finds, and need not be asked.
    pub(super) fn tells_all(&self) -> bool {
        self.tells_all
    }

    /// Whether it looks for the members of a long list, or of an array, of which nobody knows yet how many they are.
    fn is_of_many(&self) -> bool {
        self.fixed.iter().any(|fixed| match fixed {
            Fixed::One(_) => false,
            Fixed::Among(list) => list.len() > COMPARED_MAX,
            Fixed::Array(_) => true,
        })
    }

    /// Whether it finds the rows in the wanted order.
    pub(super) fn is_ordered(&self) -> bool {
        self.order.is_some()
    }

    /// Whether it reads an index beside the rows.
    pub(super) fn is_by_index(&self) -> bool {
        self.index > 0
    }

    /// Gives `visit` the keys of the rows in these spans, before the rest of the predicate, and their values where they
    /// are at hand, as long as it says so; and tells whether that was all of them. About `few` will be wanted.
    pub(super) fn visit(
        &self,
        view: &ReadView,
        mut spans: Vec<Span>,
        context: &EvalContext,
        few: usize,
        mut visit: impl FnMut(&[u8], Option<&[u8]>) -> Result<bool>,
    ) -> Result<bool> {
        let index = &self.table.indexes[self.index];
        let direction = self.order.unwrap_or(Direction::Forward);
        if direction == Direction::Backward {
            spans.reverse();
        }
        let whole_keys = self.is_by_whole_key();
        for (at, span) in spans.into_iter().enumerate() {
            let goes_on = if whole_keys {
                if at % CANCEL_KEYS == CANCEL_KEYS - 1 {
                    context.check_canceled()?;
                }
                visit(&span.start, None)?
            } else {
                scan_towards(view, span, direction, few, context, |key, value| match self.index {
                    0 => visit(key, Some(value)),
                    _ => visit(&row_key_of_entry(&self.table, index, key, value)?, None),
                })?
            };
            if !goes_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keys of the rows that the access finds, before the rest of the predicate.
    fn row_keys(&self, view: &ReadView, params: &[Datum], context: &EvalContext) -> Result<Vec<Bytes>> {
        let mut keys = Vec::new();
        let spans = self.spans(&[], params, context)?;
        self.visit(view, spans, context, usize::MAX, |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            Ok(true)
        })?;
        Ok(keys)
    }
}

/// Columns of a statement, with their positions in the table.
pub(super) type Positions = Vec<(ColumnId, usize)>;

/// The table, columns and predicate of `Filter(Scan)`, where nothing else is asked.
fn filtered_scan(rel: &Rel) -> Option<(&Arc<Table>, Positions, &Expr)> {
    let Rel::Filter { input, predicate } = rel else { return None };
    let Rel::Scan { table, columns, lock: None, .. } = input.as_ref() else { return None };
    Some((table, columns.iter().map(|c| (c.id, c.index)).collect(), predicate))
}

/// The layout of a stored row: its columns in the table's order.
pub(super) fn row_layout(table: &Table, columns: &[(ColumnId, usize)]) -> Layout {
    let by_position = (0..table.columns.len()).map(|at| {
        let known = columns.iter().find(|(_, index)| *index == at).map(|(id, _)| *id);
        known.unwrap_or(ColumnId(u32::MAX))
    });
    Layout::new(by_position)
}

pub(super) fn column_index_of(expr: &Expr, columns: &[(ColumnId, usize)]) -> Option<usize> {
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
        let access = Access::choose(table, &columns, &predicate.conjuncts(), &Wanted::default(), &Layout::default())?;
        // Comparing each row with each member of a long list is worse than planning.
        let compares = !access.tells_all && access.is_of_many();
        Ok((!access.all && !compares).then(|| DirectChange { access, plan: plan.clone() }))
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
            self.access.row_keys(&context.transaction.view(), context.params, context.eval)?
        };
        // What has changed since is asked in any case.
        let verify = !self.access.tells_all;
        let seen = !self.access.is_by_whole_key();
        for (at, key) in keys.into_iter().enumerate() {
            if at % BREATHE_ROWS == BREATHE_ROWS - 1 {
                breathe(context.eval).await?;
            }
            let target = Target { key, others: Vec::new(), seen, verify, fixed };
            self.plan.change(context, &mut writer, target, &mut changes, &mut departed).await?;
        }
        if !rules.incoming.is_empty() {
            after_departure(context, &rules, departed).await?;
        }
        writer.finish(context).await?;
        Ok(changes)
    }
}
