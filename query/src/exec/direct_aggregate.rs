//! `count`, `sum`, `min` and `max` over the rows of a [`super::direct_select::DirectSelect`], without groups.

use stratos_types::key::encode_column;
use stratos_types::{Datum, Error, PgType, Result};

use super::direct::{OrderColumn, column_index_of};
use crate::catalog::Table;
use crate::ddl::must_be_indexable;
use crate::eval::{Layout, Program};
use crate::functions::AggregateKind;
use crate::ir::{AggregateCall, ColumnId, Expr, OutputColumn};
use crate::session::EvalContext;

/// The aggregates of a query, and what it makes of them.
#[derive(Debug)]
pub(super) struct Totals {
    calls: Vec<Total>,
    output: Vec<Program>,
}

/// One aggregate over a row's values of [`Totals::inputs`].
#[derive(Debug)]
struct Total {
    kind: Kind,
    /// Whether `FILTER (WHERE …)` follows the argument.
    filtered: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Of rows where the argument is not NULL.
    Count,
    /// Of `int2` and `int4`, which is an `int8`.
    Sum,
    Min(PgType),
    Max(PgType),
}

impl Kind {
    fn of(call: &AggregateCall) -> Option<Kind> {
        if call.distinct || !call.order_by.is_empty() {
            return None;
        }
        let ty = call.args.first().map_or(PgType::Bool, |arg| arg.ty.ty);
        match call.aggregate.kind {
            AggregateKind::CountStar | AggregateKind::Count => Some(Kind::Count),
            AggregateKind::Sum if matches!(ty, PgType::Int2 | PgType::Int4) => Some(Kind::Sum),
            AggregateKind::Min if must_be_indexable(ty).is_ok() => Some(Kind::Min(ty)),
            AggregateKind::Max if must_be_indexable(ty).is_ok() => Some(Kind::Max(ty)),
            _ => None,
        }
    }
}

impl Totals {
    /// The aggregates of a query, if all of them are of these kinds.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub(super) fn compile(
        aggregates: &[(OutputColumn, AggregateCall)],
        output: &[(OutputColumn, Expr)],
    ) -> Result<Option<Totals>> {
        let call = |call: &AggregateCall| Some(Total { kind: Kind::of(call)?, filtered: call.filter.is_some() });
        let Some(calls) = aggregates.iter().map(|(_, aggregate)| call(aggregate)).collect() else { return Ok(None) };
        let layout = Layout::new(aggregates.iter().map(|(column, _)| column.id));
        let output = output.iter().map(|(_, expr)| Program::compile(expr, &layout)).collect::<Result<_>>()?;
        Ok(Some(Totals { calls, output }))
    }

    /// What is computed of each row: for each aggregate its argument, and its filter if it has one.
    pub(super) fn inputs(aggregates: &[(OutputColumn, AggregateCall)]) -> Vec<Expr> {
        let always = || Expr::literal(Datum::Bool(true), PgType::Bool);
        let inputs = aggregates.iter().flat_map(|(_, call)| {
            let arg = call.args.first().cloned().unwrap_or_else(always);
            std::iter::once(arg).chain(call.filter.clone())
        });
        inputs.collect()
    }

    /// The order in which the first row has the one aggregate that there is: a `min` or `max` of a column without NULLs.
    pub(super) fn first_in(
        aggregates: &[(OutputColumn, AggregateCall)],
        table: &Table,
        columns: &[(ColumnId, usize)],
    ) -> Option<OrderColumn> {
        let [(_, call)] = aggregates else { return None };
        let descending = match Kind::of(call)? {
            Kind::Min(_) => false,
            Kind::Max(_) => true,
            _ => return None,
        };
        let column = column_index_of(call.args.first()?, columns)?;
        let suits = call.filter.is_none() && table.columns.get(column).is_some_and(|column| column.not_null);
        suits.then_some(OrderColumn { column, descending, nulls_first: descending })
    }

    /// The row of the result.
    ///
    /// # Errors
    /// Evaluation errors.
    pub(super) fn row(&self, rows: &[Vec<Datum>], params: &[Datum], context: &EvalContext) -> Result<Vec<Datum>> {
        let mut totals = Vec::with_capacity(self.calls.len());
        let mut at = 0;
        for call in &self.calls {
            let counts = |row: &&Vec<Datum>| !call.filtered || row[at + 1] == Datum::Bool(true);
            totals.push(call.kind.total(rows.iter().filter(counts).map(|row| &row[at]).filter(|v| !v.is_null()))?);
            at += 1 + usize::from(call.filtered);
        }
        self.output.iter().map(|program| program.run(&totals, params, context)).collect()
    }
}

impl Kind {
    fn total<'a>(self, values: impl Iterator<Item = &'a Datum>) -> Result<Datum> {
        let (ty, wants_less) = match self {
            Kind::Count => return Ok(Datum::Int8(i64::try_from(values.count()).unwrap_or(i64::MAX))),
            Kind::Sum => return sum(values),
            Kind::Min(ty) => (ty, true),
            Kind::Max(ty) => (ty, false),
        };
        let mut best: Option<(Vec<u8>, &Datum)> = None;
        for value in values {
            let mut key = Vec::new();
            encode_column(&mut key, ty, value, false, false);
            // Of equal ones the last, as Postgres has it.
            let is_better =
                best.as_ref().is_none_or(|(other, _)| if wants_less { key <= *other } else { key >= *other });
            if is_better {
                best = Some((key, value));
            }
        }
        Ok(best.map_or(Datum::Null, |(_, value)| value.clone()))
    }
}

fn sum<'a>(values: impl Iterator<Item = &'a Datum>) -> Result<Datum> {
    let mut sum: Option<i64> = None;
    for value in values {
        let value = match value {
            Datum::Int2(value) => i64::from(*value),
            Datum::Int4(value) => i64::from(*value),
            other => return Err(Error::internal(format!("a sum of integers over {other:?}"))),
        };
        sum = Some(sum.unwrap_or(0).checked_add(value).ok_or_else(|| Error::out_of_range("bigint"))?);
    }
    Ok(sum.map_or(Datum::Null, Datum::Int8))
}
