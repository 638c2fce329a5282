//! Which key ranges a filter leaves to look at.
//!
//! Ranges are always a superset of what the filter accepts: the filter itself still runs above the scan, so that a mistake
//! here could only cost time, never rows — as long as nothing wanted is left out.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::DataType;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, Volatility};
use stratos_replication::{Span, prefix_end};
use stratos_types::{Datum, PgType, Result, key};

use crate::arrow::datum_of_scalar;
use crate::catalog::{Index, IndexState, Table};
use crate::fit::{self, fit_number};
use crate::ir::ScanColumn;
use crate::lower::{TupleSet, membership};
use crate::rows::index_prefix;

/// Ranges that IN lists may multiply to.
const SPANS_MAX: usize = 4096;
/// Ranges that one list may be, where the columns before it have one value each.
const LIST_MAX: usize = 1 << 17;

/// What a filter says about one column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    /// Index into [`Table::columns`], or one past the last for the row id.
    pub column: usize,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// One of these values.
    In(Vec<Datum>),
    /// From here on; `bool`: included.
    From(Datum, bool),
    /// Up to here; `bool`: included.
    To(Datum, bool),
    /// Together with other columns, one of these rows.
    Among(Among),
}

/// Columns that are a row of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Among {
    /// As [`Condition::column`].
    pub columns: Vec<usize>,
    /// The list.
    pub set: Arc<TupleSet>,
}

impl Among {
    /// The different beginnings of keys that the rows give the first of these columns of an index, and how many of the columns
    /// there are in each.
    fn keys(&self, columns: &[KeyColumn]) -> (Vec<Vec<u8>>, usize) {
        let place = |column: &KeyColumn| self.columns.iter().position(|other| *other == column.position);
        let fixed: Vec<(usize, &KeyColumn)> =
            columns.iter().map_while(|column| place(column).map(|at| (at, column))).collect();
        let key = |row: &Vec<Datum>| {
            let mut key = Vec::new();
            fixed.iter().for_each(|(at, column)| column.encode(&mut key, &row[*at]));
            key
        };
        let mut keys: Vec<Vec<u8>> = self.set.tuples().iter().map(key).collect();
        keys.sort();
        keys.dedup();
        (keys, fixed.len())
    }
}

/// How a table is read.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// Position in [`Table::indexes`].
    pub index: usize,
    /// In ascending order, disjoint.
    pub spans: Vec<Span>,
    /// Conditions that the ranges express, for EXPLAIN.
    pub conditions: Vec<Condition>,
    /// Every column of a unique index has one value, so that there is at most one row per range.
    pub lookup: bool,
}

/// Reads conditions out of a filter's conjuncts.
pub(super) fn conditions(
    session: &dyn Session,
    filters: &[Expr],
    table: &Table,
    columns: &[ScanColumn],
) -> Vec<Condition> {
    let reader = Reader { session, table, columns };
    let mut out = Vec::new();
    for filter in filters {
        reader.read(filter, &mut out);
    }
    out
}

struct Reader<'a> {
    session: &'a dyn Session,
    table: &'a Table,
    columns: &'a [ScanColumn],
}

impl Reader<'_> {
    fn read(&self, expr: &Expr, out: &mut Vec<Condition>) {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => {
                    self.read(left, out);
                    self.read(right, out);
                }
                Operator::Or => self.any_of(expr, out),
                _ => {
                    if let Some(condition) =
                        self.comparison(left, *op, right).or_else(|| self.comparison(right, op.swap()?, left))
                    {
                        out.push(condition);
                    }
                }
            },
            Expr::InList(list) if !list.negated => {
                let Some((column, ty, seen)) = self.column(&list.expr) else {
                    return;
                };
                let values: Option<Vec<Datum>> = list.list.iter().map(|e| self.constant(e, seen)).collect();
                if let Some(values) = values {
                    let values = values.into_iter().filter_map(|v| fit_number(v, ty).equal()).collect();
                    out.push(Condition { column, test: Test::In(values) });
                }
            }
            Expr::IsNull(inner) => {
                if let Some((column, ..)) = self.column(inner) {
                    out.push(Condition { column, test: Test::In(vec![Datum::Null]) });
                }
            }
            Expr::Between(between) if !between.negated => {
                for (op, bound) in [(Operator::GtEq, &between.low), (Operator::LtEq, &between.high)] {
                    out.extend(self.comparison(&between.expr, op, bound));
                }
            }
            other => {
                // Keys are made of the rows as they are: a column that is compared as a wider type has other ones.
                let own = |arg| self.column(arg).filter(|(_, ty, seen)| ty == seen).map(|(column, ..)| column);
                if let Some((args, set)) = membership(other)
                    && let Some(columns) = args.iter().map(own).collect::<Option<Vec<_>>>()
                    && let Some(column) = columns.first().copied()
                {
                    out.push(Condition { column, test: Test::Among(Among { columns, set: set.clone() }) });
                }
            }
        }
    }

    /// `a = 1 OR a = 2`, which is how the optimizer writes short IN lists, or `a = 1 AND b = 1 OR a = 2 AND b = 2`: the columns
    /// that every branch fixes.
    fn any_of(&self, expr: &Expr, out: &mut Vec<Condition>) {
        let mut branches = Vec::new();
        alternatives(expr, &mut branches);
        let mut lists: Option<Vec<(usize, Vec<Datum>)>> = None;
        for branch in branches {
            let mut found = Vec::new();
            self.read(branch, &mut found);
            let mut fixed: Vec<(usize, Vec<Datum>)> = Vec::new();
            for condition in found {
                if let Test::In(values) = condition.test
                    && fixed.iter().all(|(column, _)| *column != condition.column)
                {
                    fixed.push((condition.column, values));
                }
            }
            let all = match lists {
                None => fixed,
                Some(mut lists) => {
                    lists.retain_mut(|(column, values)| {
                        let of_column = fixed.iter_mut().find(|(other, _)| other == column);
                        let found = of_column.map(|(_, more)| values.append(more));
                        found.is_some()
                    });
                    lists
                }
            };
            if all.is_empty() {
                return;
            }
            lists = Some(all);
        }
        let lists = lists.unwrap_or_default().into_iter();
        out.extend(lists.map(|(column, values)| Condition { column, test: Test::In(values) }));
    }

    fn comparison(&self, left: &Expr, op: Operator, right: &Expr) -> Option<Condition> {
        let (column, ty, seen) = self.column(left)?;
        let value = self.constant(right, seen)?;
        if op == Operator::IsNotDistinctFrom && value.is_null() {
            return Some(Condition { column, test: Test::In(vec![value]) });
        }
        let fit = fit_number(value, ty);
        let (end, test): (_, fn(Datum, bool) -> Test) = match op {
            Operator::Eq | Operator::IsNotDistinctFrom => {
                return Some(Condition { column, test: Test::In(fit.equal().into_iter().collect()) });
            }
            Operator::Lt => (fit.high(false), Test::To),
            Operator::LtEq => (fit.high(true), Test::To),
            Operator::Gt => (fit.low(false), Test::From),
            Operator::GtEq => (fit.low(true), Test::From),
            _ => return None,
        };
        let test = match end {
            fit::End::At(value, inclusive) => test(value, inclusive),
            fit::End::Empty => Test::In(Vec::new()),
        };
        Some(Condition { column, test })
    }

    /// The column that an expression is, its type, and the type that it has there: bare, as its equality key, or brought to
    /// a wider number, whose order is the same.
    fn column(&self, expr: &Expr) -> Option<(usize, PgType, PgType)> {
        let name = match expr {
            Expr::Column(column) => column.name.as_str(),
            Expr::Alias(alias) => return self.column(&alias.expr),
            Expr::ScalarFunction(call) if call.func.name().starts_with(EQUALITY_KEY) => {
                return self.column(call.args.first()?);
            }
            Expr::Cast(cast) => {
                let (column, ty, seen) = self.column(&cast.expr)?;
                let wider = match (seen, cast.field.data_type()) {
                    (PgType::Int2, DataType::Int32) => PgType::Int4,
                    (PgType::Int2 | PgType::Int4, DataType::Int64) => PgType::Int8,
                    (PgType::Float4, DataType::Float64) => PgType::Float8,
                    _ => return None,
                };
                return Some((column, ty, wider));
            }
            _ => return None,
        };
        let id: u32 = name.strip_prefix('c')?.parse().ok()?;
        let column = self.columns.iter().find(|c| c.id.0 == id)?;
        let ty = self.table.columns.get(column.index).map_or(PgType::Int8, |c| c.ty.ty);
        Some((column.index, ty, ty))
    }

    /// The value of an expression that has the same value for all rows.
    fn constant(&self, expr: &Expr, ty: PgType) -> Option<Datum> {
        let scalar = match expr {
            Expr::Literal(value, _) => value.clone(),
            // A key of a constant is as good as the constant, and is a whole value.
            Expr::ScalarFunction(call) if call.func.name().starts_with(EQUALITY_KEY) => {
                return self.constant(call.args.first()?, ty);
            }
            other => self.evaluate(other)?,
        };
        datum_of_scalar(&scalar, ty).ok()
    }

    fn evaluate(&self, expr: &Expr) -> Option<ScalarValue> {
        use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
        if expr.any_column_refs() {
            return None;
        }
        let mut volatile = false;
        expr.apply(|e| {
            if let Expr::ScalarFunction(call) = e {
                volatile |= call.func.signature().volatility == Volatility::Volatile;
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .ok()?;
        if volatile {
            return None;
        }
        let physical = self.session.create_physical_expr(expr.clone(), &DFSchema::empty()).ok()?;
        let batch = RecordBatch::try_new_with_options(
            Arc::new(arrow::datatypes::Schema::empty()),
            Vec::new(),
            &RecordBatchOptions::new().with_row_count(Some(1)),
        )
        .ok()?;
        let array = physical.evaluate(&batch).ok()?.into_array(1).ok()?;
        ScalarValue::try_from_array(&array, 0).ok()
    }
}

/// The branches of an OR that can be true.
fn alternatives<'a>(expr: &'a Expr, out: &mut Vec<&'a Expr>) {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            alternatives(left, out);
            alternatives(right, out);
        }
        Expr::Literal(ScalarValue::Null | ScalarValue::Boolean(None | Some(false)), _) => {}
        _ => out.push(expr),
    }
}

/// What names of equality-key functions begin with (`lower::udf`).
const EQUALITY_KEY: &str = "equality_key_";

/// The best index for the conditions, and its ranges; the whole table if none helps. `covers` tells whether an index
/// holds all that is wanted.
pub(super) fn choose(table: &Table, conditions: &[Condition], covers: &dyn Fn(&Index) -> bool) -> Result<Access> {
    let mut best: Option<(u32, Access)> = None;
    for (position, index) in table.indexes.iter().enumerate() {
        if index.state != IndexState::Public {
            continue;
        }
        let access = access(table, position, conditions)?;
        let mut score = 0;
        for condition in &access.conditions {
            score += match condition.test {
                Test::In(_) => 8,
                // Two columns at least.
                Test::Among(_) => 12,
                Test::From(..) | Test::To(..) => 3,
            };
        }
        if access.lookup {
            score += 1000;
        }
        if score > 0 && (position == 0 || covers(index)) {
            score += 2;
        }
        if position > 0 && score == 0 {
            continue;
        }
        if best.as_ref().is_none_or(|(s, _)| score > *s) {
            best = Some((score, access));
        }
    }
    match best {
        Some((_, access)) => Ok(access),
        None => access(table, 0, &[]),
    }
}

/// An end of a range, and whether the range includes it; none is open.
type End = Option<(Datum, bool)>;

/// The ranges of one index.
pub(super) fn access(table: &Table, position: usize, conditions: &[Condition]) -> Result<Access> {
    let index = &table.indexes[position];
    let mut prefixes = vec![index_prefix(table, index).to_vec()];
    let mut used = Vec::new();
    let mut ranges: Option<(End, End, KeyColumn)> = None;
    let columns = key_columns(table, index);
    let mut equal = 0;
    while let Some(column) = columns.get(equal) {
        let rows = conditions.iter().find_map(|condition| match &condition.test {
            Test::Among(among) if among.columns.contains(&column.position) => Some((among, condition)),
            _ => None,
        });
        if let Some((among, condition)) = rows {
            let (keys, fixed) = among.keys(&columns[equal..]);
            let most = if prefixes.len() == 1 { LIST_MAX } else { SPANS_MAX };
            if prefixes.len() * keys.len() <= most {
                prefixes =
                    prefixes.iter().flat_map(|prefix| keys.iter().map(|key| [&prefix[..], key].concat())).collect();
                used.push(condition.clone());
                equal += fixed;
                continue;
            }
        }
        let of_column: Vec<&Condition> = conditions.iter().filter(|c| c.column == column.position).collect();
        // Of several lists the shortest; the filter above sees to the others.
        let list = of_column
            .iter()
            .filter_map(|c| match &c.test {
                Test::In(values) => Some((values, *c)),
                _ => None,
            })
            .min_by_key(|(values, _)| values.len());
        if let Some((values, condition)) = list {
            let mut keys: Vec<Vec<u8>> = values.iter().map(|value| column.key(value)).collect();
            keys.sort();
            keys.dedup();
            let most = if prefixes.len() == 1 { LIST_MAX } else { SPANS_MAX };
            if prefixes.len() * keys.len() <= most {
                prefixes =
                    prefixes.iter().flat_map(|prefix| keys.iter().map(|key| [&prefix[..], key].concat())).collect();
                used.push(condition.clone());
                equal += 1;
                continue;
            }
        }
        let (mut low, mut high) = (None, None);
        for condition in of_column {
            match &condition.test {
                Test::From(value, included) => {
                    if tighter(column.ty, low.as_ref(), value, std::cmp::Ordering::Greater) {
                        low = Some((value.clone(), *included));
                    }
                    used.push(condition.clone());
                }
                Test::To(value, included) => {
                    if tighter(column.ty, high.as_ref(), value, std::cmp::Ordering::Less) {
                        high = Some((value.clone(), *included));
                    }
                    used.push(condition.clone());
                }
                Test::In(_) | Test::Among(_) => {}
            }
        }
        if low.is_some() || high.is_some() {
            ranges = Some((low, high, column.clone()));
        }
        break;
    }
    prefixes.sort();
    prefixes.dedup();
    let spans = prefixes
        .into_iter()
        .map(|prefix| match &ranges {
            None => Span::prefix(&prefix),
            Some((low, high, column)) => column.range(&prefix, low.as_ref(), high.as_ref()),
        })
        .filter(|span| !span.is_empty())
        .collect();
    Ok(Access {
        index: position,
        spans,
        conditions: used,
        lookup: equal == columns.len() && (index.unique || position == 0),
    })
}

/// The ranges of an index that is read for its order, without the NULLs of a column if they are not wanted.
pub(super) fn ordered(
    table: &Table,
    position: usize,
    conditions: &[Condition],
    not_null: Option<usize>,
) -> Result<Access> {
    let mut access = access(table, position, conditions)?;
    let columns = key_columns(table, &table.indexes[position]);
    let equal = |column: &KeyColumn| {
        let one = |c: &&Condition| c.column == column.position && matches!(&c.test, Test::In(v) if v.len() == 1);
        access.conditions.iter().find(one)
    };
    // The column must come after columns with one value each.
    let Some(at) = columns.iter().position(|column| Some(column.position) == not_null) else { return Ok(access) };
    let mut prefix = index_prefix(table, &table.indexes[position]).to_vec();
    for column in &columns[..at] {
        match equal(column) {
            Some(Condition { test: Test::In(values), .. }) => column.encode(&mut prefix, &values[0]),
            _ => return Ok(access),
        }
    }
    let wanted = columns[at].not_null(&prefix);
    for span in &mut access.spans {
        *span = span.intersection(&wanted);
    }
    access.spans.retain(|span| !span.is_empty());
    Ok(access)
}

fn tighter(ty: PgType, current: Option<&(Datum, bool)>, value: &Datum, wanted: std::cmp::Ordering) -> bool {
    match current {
        None => true,
        Some((bound, included)) => {
            let order = key::compare(ty, value, bound);
            order == wanted || (order.is_eq() && *included)
        }
    }
}

/// A column of an index, as ranges need it.
#[derive(Debug, Clone)]
pub(super) struct KeyColumn {
    /// Index into [`Table::columns`], or one past the last for the row id.
    pub position: usize,
    pub ty: PgType,
    pub descending: bool,
    pub nulls_first: bool,
}

impl KeyColumn {
    fn encode(&self, out: &mut Vec<u8>, value: &Datum) {
        key::encode_column(out, self.ty, value, self.descending, self.nulls_first);
    }

    fn key(&self, value: &Datum) -> Vec<u8> {
        let mut key = Vec::new();
        self.encode(&mut key, value);
        key
    }

    /// The values after a prefix that are not NULL.
    fn not_null(&self, prefix: &[u8]) -> Span {
        let mut null = prefix.to_vec();
        self.encode(&mut null, &Datum::Null);
        let whole = Span::prefix(prefix);
        match self.nulls_first {
            true => Span { start: prefix_end(&null), end: whole.end },
            false => Span { start: whole.start, end: null.into() },
        }
    }

    fn range(&self, prefix: &[u8], low: Option<&(Datum, bool)>, high: Option<&(Datum, bool)>) -> Span {
        let (first, last) = if self.descending { (high, low) } else { (low, high) };
        let encoded = |value: &Datum| {
            let mut key = prefix.to_vec();
            self.encode(&mut key, value);
            key
        };
        let whole = Span::prefix(prefix);
        let start = match first {
            Some((value, true)) => encoded(value).into(),
            Some((value, false)) => prefix_end(&encoded(value)),
            None => whole.start,
        };
        let end = match last {
            Some((value, true)) => prefix_end(&encoded(value)),
            Some((value, false)) => encoded(value).into(),
            None => whole.end,
        };
        Span { start, end }
    }
}

/// The columns of an index's key; a table without a primary key has its row id.
pub(super) fn key_columns(table: &Table, index: &Index) -> Vec<KeyColumn> {
    if std::ptr::eq(index, table.primary_index()) && !table.has_primary_key() {
        return vec![KeyColumn {
            position: table.columns.len(),
            ty: PgType::Int8,
            descending: false,
            nulls_first: false,
        }];
    }
    index
        .columns
        .iter()
        .filter_map(|c| {
            let position = table.column_index(c.attnum)?;
            Some(KeyColumn {
                position,
                ty: table.columns[position].ty.ty,
                descending: c.descending,
                nulls_first: c.nulls_first,
            })
        })
        .collect()
}

/// Cuts a range into about `parts` of equal width, by the bytes after what its ends have in common. Where the data does
/// not fill the range evenly, the caller narrows it first.
pub(super) fn split(span: &Span, parts: usize) -> Vec<Span> {
    let common = span.start.iter().zip(span.end.iter()).take_while(|(a, b)| a == b).count();
    let number = |bytes: &[u8]| {
        let mut eight = [0; 8];
        let tail = &bytes[common.min(bytes.len())..];
        let n = tail.len().min(8);
        eight[..n].copy_from_slice(&tail[..n]);
        u64::from_be_bytes(eight)
    };
    let (low, high) = (number(&span.start), number(&span.end));
    let step = (high.saturating_sub(low)) / parts.max(1) as u64;
    if step == 0 || parts < 2 {
        return vec![span.clone()];
    }
    let mut out = Vec::with_capacity(parts);
    let mut start = span.start.clone();
    for part in 1..parts as u64 {
        let mut cut = span.start[..common].to_vec();
        cut.extend_from_slice(&(low + step * part).to_be_bytes());
        let piece = Span::new(start.clone(), cut.clone());
        start = cut.into();
        out.push(piece);
    }
    out.push(Span::new(start, span.end.clone()));
    out.retain(|s| !s.is_empty());
    out
}
