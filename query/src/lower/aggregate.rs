//! Grouping.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::functions_aggregate::{bit_and_or_xor, bool_and_or, count, first_last, min_max, sum};
use datafusion::logical_expr::expr::{AggregateFunction, Case};
use datafusion::logical_expr::{
    AggregateUDF, Expr as DfExpr, GroupingSet, LogicalPlan, LogicalPlanBuilder, cast as native_cast, ident, lit,
};
use stratos_types::{ColumnType, Datum, Error, PgType, Result};

use super::accumulate::{PgAggregate, SortOrder, Strategy};
use super::error::error_from;
use super::expr::{column, column_name, comparable};
use super::rel::{Lowerer, project};
use super::udf::literal;
use super::udf::{RowFunction, RowOp};
use crate::arrow::{arrow_type, needs_equality_key};
use crate::functions::AggregateKind;
use crate::ir::{AggregateCall, Expr, OutputColumn, Rel};

/// An aggregate as DataFusion calls it.
pub(super) struct LoweredAggregate {
    pub udf: Arc<AggregateUDF>,
    pub args: Vec<DfExpr>,
    pub distinct: bool,
    pub filter: Option<Box<DfExpr>>,
    /// The result must be brought to this type.
    pub cast: Option<DataType>,
}

/// Types whose groups must keep one of the original values, because the equality key is no value to show.
fn key_is_no_value(ty: PgType) -> bool {
    needs_equality_key(ty) && !matches!(ty, PgType::Float4 | PgType::Float8)
}

/// The aggregate that gives a group of equal values the one to show: the first, as in Postgres. Where all look the same
/// (numerics of one scale, characters of one length), any of them, for which there is a faster one.
pub(super) fn representative(ty: ColumnType) -> Arc<AggregateUDF> {
    let all_alike = matches!(ty.ty, PgType::Bpchar | PgType::Numeric) && ty.typmod >= 0;
    if !all_alike {
        return first_last::first_value_udaf();
    }
    min_max::min_udaf()
}

impl Lowerer<'_> {
    pub(super) fn aggregate(
        &self,
        input: &Rel,
        group_by: &[(OutputColumn, Expr)],
        grouping_sets: Option<&[Vec<usize>]>,
        aggregates: &[(OutputColumn, AggregateCall)],
        groupings: &[(OutputColumn, Vec<usize>)],
    ) -> Result<LogicalPlan> {
        if group_by.is_empty()
            && grouping_sets.is_none()
            && groupings.is_empty()
            && !aggregates.is_empty()
            && let Some(plan) = self.extremes(input, aggregates)?
        {
            return Ok(plan);
        }
        if aggregates.iter().any(|(_, call)| gathers(call)) && self.statement.groups_by_sorting() {
            return self.sorted_groups(input, group_by, grouping_sets, aggregates, groupings);
        }
        let mut plan = self.rel(input)?;
        if aggregates.iter().any(|(_, call)| shows_order(call)) {
            plan = keep_order(plan);
        }
        let mut keys = Vec::new();
        let mut values = Vec::new();
        let mut back = Vec::new();
        for (c, e) in group_by {
            let (ty, name) = (e.ty.ty, column_name(c.id));
            let base = self.expr(e)?;
            if key_is_no_value(ty) {
                let (key, any) = (self.fresh("k"), self.fresh("v"));
                values.push(representative(e.ty).call(vec![base.clone()]).alias(any.clone()));
                keys.push((key.clone(), comparable(base, ty)));
                // A grouping set without this key has it NULL, and its value with it.
                back.push(
                    DfExpr::Case(Case::new(
                        None,
                        vec![(Box::new(DfExpr::IsNotNull(Box::new(ident(key)))), Box::new(ident(any)))],
                        None,
                    ))
                    .alias(name),
                );
            } else {
                keys.push((name, comparable(base, ty)));
                back.push(column(c.id));
            }
        }
        for (c, call) in aggregates {
            let name = column_name(c.id);
            if let Some(extremum) = self.float_extremum(call, !group_by.is_empty())? {
                back.push(ident(name.clone()));
                values.push(extremum.alias(name));
                continue;
            }
            let lowered = self.aggregate_call(call)?;
            let result = match &lowered.cast {
                Some(ty) => native_cast(ident(name.clone()), ty.clone()).alias(name.clone()),
                None => ident(name.clone()),
            };
            back.push(result);
            values.push(
                DfExpr::AggregateFunction(AggregateFunction::new_udf(
                    lowered.udf,
                    lowered.args,
                    lowered.distinct,
                    lowered.filter,
                    Vec::new(),
                    None,
                ))
                .alias(name),
            );
        }
        let group_exprs = match grouping_sets {
            None => {
                for (c, _) in groupings {
                    back.push(lit(0_i32).alias(column_name(c.id)));
                }
                keys.into_iter().map(|(name, e)| e.alias(name)).collect()
            }
            Some(sets) => {
                // Keys become columns first, so that a set names them.
                let mut exprs: Vec<DfExpr> = plan.schema().columns().into_iter().map(DfExpr::Column).collect();
                let names: Vec<String> = keys.iter().map(|(name, _)| name.clone()).collect();
                exprs.extend(keys.into_iter().map(|(name, e)| e.alias(name)));
                plan = project(plan, exprs)?;
                let mut order: Vec<usize> = Vec::new();
                for key in sets.iter().flatten() {
                    if !order.contains(key) {
                        order.push(*key);
                    }
                }
                for (key, (c, e)) in group_by.iter().enumerate() {
                    if !order.contains(&key) {
                        back[key] = literal(e.ty.ty, &Datum::Null)?.alias(column_name(c.id));
                    }
                }
                for (c, args) in groupings {
                    back.push(grouping(args, &order)?.alias(column_name(c.id)));
                }
                let sets = sets.iter().map(|set| set.iter().map(|key| ident(names[*key].clone())).collect()).collect();
                vec![DfExpr::GroupingSet(GroupingSet::GroupingSets(sets))]
            }
        };
        if group_exprs.is_empty() && values.is_empty() {
            // `SELECT 1 FROM t HAVING true`: one row, whatever is below.
            values.push(count::count_udaf().call(vec![lit(1_i64)]).alias(self.fresh("n")));
        }
        let plan = LogicalPlanBuilder::new(plan)
            .aggregate(group_exprs, values)
            .and_then(LogicalPlanBuilder::build)
            .map_err(error_from)?;
        project(plan, back)
    }

    /// `min` and `max` of floats in groups. DataFusion's begin at the greatest and least finite number, which infinities
    /// and NaN never displace; the first value in order is right for all.
    fn float_extremum(&self, call: &AggregateCall, grouped: bool) -> Result<Option<DfExpr>> {
        let kind = call.aggregate.kind;
        let (true, AggregateKind::Min | AggregateKind::Max, [arg]) = (grouped, kind, call.args.as_slice()) else {
            return Ok(None);
        };
        if !matches!(arg.ty.ty, PgType::Float4 | PgType::Float8) {
            return Ok(None);
        }
        let value = self.expr(arg)?;
        let order = comparable(value.clone(), arg.ty.ty).sort(kind == AggregateKind::Min, false);
        let filter = call.filter.as_ref().map(|e| self.expr(e).map(Box::new)).transpose()?;
        Ok(Some(DfExpr::AggregateFunction(AggregateFunction::new_udf(
            first_last::first_value_udaf(),
            vec![value],
            false,
            filter,
            vec![order],
            None,
        ))))
    }

    /// An aggregate by DataFusion's implementation where the results agree, else by ours.
    pub(super) fn aggregate_call(&self, call: &AggregateCall) -> Result<LoweredAggregate> {
        let kind = call.aggregate.kind;
        let filter = call.filter.as_ref().map(|e| self.expr(e).map(Box::new)).transpose()?;
        let types: Vec<PgType> = call.args.iter().map(|e| e.ty.ty).collect();
        let first = types.first().copied();
        let ret = call.ty.ty;
        let arg = || -> Result<DfExpr> {
            self.expr(call.args.first().ok_or_else(|| Error::internal("an aggregate without arguments"))?)
        };
        let native = |udf, arg: DfExpr, distinct, cast| LoweredAggregate {
            udf,
            args: vec![arg],
            distinct,
            filter: filter.clone(),
            cast,
        };
        use AggregateKind as K;
        let lowered = match (kind, first) {
            (K::CountStar, _) => native(count::count_udaf(), lit(1_i64), false, None),
            (K::Count, Some(ty)) if types.len() == 1 => {
                let arg = if call.distinct { comparable(arg()?, ty) } else { arg()? };
                native(count::count_udaf(), arg, call.distinct, None)
            }
            (K::Sum, Some(PgType::Int2 | PgType::Int4)) => {
                native(sum::sum_udaf(), native_cast(arg()?, DataType::Int64), call.distinct, None)
            }
            (K::Min | K::Max, Some(ty)) if plain_order(ty) => {
                let udf = if kind == K::Min { min_max::min_udaf() } else { min_max::max_udaf() };
                // A NaN with a sign is no less than others; a zero keeps its own.
                let value = match ty {
                    PgType::Float4 | PgType::Float8 => RowFunction::call(RowOp::OneNan, vec![ty], ty, vec![arg()?]),
                    _ => arg()?,
                };
                native(udf, value, false, None)
            }
            (K::BoolAnd, _) => native(bool_and_or::bool_and_udaf(), arg()?, false, None),
            (K::BoolOr, _) => native(bool_and_or::bool_or_udaf(), arg()?, false, None),
            (K::BitAnd, _) => native(bit_and_or_xor::bit_and_udaf(), arg()?, false, None),
            (K::BitOr, _) => native(bit_and_or_xor::bit_or_udaf(), arg()?, false, None),
            (K::Sum | K::Avg, Some(ty)) if !call.distinct && Strategy::fast(ty).is_some() => {
                let strategy = Strategy::fast(ty).ok_or_else(|| Error::internal("no fast sum for this type"))?;
                let udf = PgAggregate::new(None, call.aggregate, strategy, types, ret, Vec::new(), false);
                let arg = match strategy {
                    Strategy::Floats => native_cast(arg()?, DataType::Float64),
                    _ => arg()?,
                };
                native(Arc::new(AggregateUDF::new_from_impl(udf)), arg, false, None)
            }
            _ => return self.collecting(call, types, filter),
        };
        Ok(lowered)
    }

    /// As [`Lowerer::aggregate_call`], for frames that lose rows: what was added to a sum of floats cannot be taken away again, nor
    /// what bits and truths were joined with.
    pub(super) fn sliding_aggregate_call(&self, call: &AggregateCall) -> Result<LoweredAggregate> {
        let types: Vec<PgType> = call.args.iter().map(|e| e.ty.ty).collect();
        match (call.aggregate.kind, types.first()) {
            (AggregateKind::Sum | AggregateKind::Avg, Some(PgType::Float4 | PgType::Float8))
            | (
                AggregateKind::BoolAnd
                | AggregateKind::BoolOr
                | AggregateKind::BitAnd
                | AggregateKind::BitOr
                | AggregateKind::BitXor,
                _,
            ) => {
                let filter = call.filter.as_ref().map(|e| self.expr(e).map(Box::new)).transpose()?;
                self.collecting(call, types, filter)
            }
            _ => self.aggregate_call(call),
        }
    }

    /// An aggregate that gathers its input and computes at the end.
    fn collecting(
        &self,
        call: &AggregateCall,
        mut types: Vec<PgType>,
        filter: Option<Box<DfExpr>>,
    ) -> Result<LoweredAggregate> {
        let mut args = call.args.iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
        if call.aggregate.kind.is_ordered_set() {
            // The ordered values are arguments too, after the direct ones.
            for key in &call.order_by {
                types.push(key.expr.ty.ty);
                args.push(self.expr(&key.expr)?);
            }
        }
        let mut order = Vec::new();
        for key in &call.order_by {
            order.push(SortOrder { descending: key.descending, nulls_first: key.nulls_first });
            types.push(key.expr.ty.ty);
            args.push(self.expr(&key.expr)?);
        }
        if args.is_empty() {
            return Err(Error::internal("an aggregate without arguments"));
        }
        self.tie_to_execution();
        let udf = PgAggregate::new(
            Some(self.statement.clone()),
            call.aggregate,
            Strategy::Collect,
            types,
            call.ty.ty,
            order,
            call.distinct,
        );
        Ok(LoweredAggregate {
            udf: Arc::new(AggregateUDF::new_from_impl(udf)),
            args,
            distinct: false,
            filter,
            cast: None,
        })
    }
}

/// Whether an aggregate keeps its rows, or what is different in them, as long as they are grouped by hashing.
pub(super) fn gathers(call: &AggregateCall) -> bool {
    use AggregateKind as K;
    let first = call.args.first().map(|e| e.ty.ty);
    call.distinct
        || match (call.aggregate.kind, first) {
            (K::CountStar | K::Count | K::BoolAnd | K::BoolOr | K::BitAnd | K::BitOr, _) => false,
            (K::Sum | K::Avg, Some(ty)) => Strategy::fast(ty).is_none(),
            (K::Min | K::Max, Some(ty)) => !plain_order(ty),
            _ => true,
        }
}

/// Whether the result depends on the order of the input, with no ORDER BY of its own.
pub(super) fn shows_order(call: &AggregateCall) -> bool {
    use AggregateKind as K;
    call.order_by.is_empty()
        && matches!(call.aggregate.kind, K::StringAgg | K::ArrayAgg | K::JsonAgg | K::JsonObjectAgg)
}

/// More rows than any sort has.
const SORT_ROWS_MAX: usize = 1 << 48;

/// Keeps the sorting of a subquery below an aggregate: the optimizer drops sorts that nothing asks for, except limited
/// ones, but `string_agg(x) FROM (… ORDER BY …)` is how many write their order.
pub(super) fn keep_order(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            sort.fetch = sort.fetch.or(Some(SORT_ROWS_MAX));
            LogicalPlan::Sort(sort)
        }
        LogicalPlan::Projection(mut projection) => {
            projection.input = Arc::new(keep_order(Arc::unwrap_or_clone(projection.input)));
            LogicalPlan::Projection(projection)
        }
        LogicalPlan::Filter(mut filter) => {
            filter.input = Arc::new(keep_order(Arc::unwrap_or_clone(filter.input)));
            LogicalPlan::Filter(filter)
        }
        other => other,
    }
}

/// Types whose Arrow order is the SQL order.
fn plain_order(ty: PgType) -> bool {
    ty.element().is_none() && !matches!(ty, PgType::Record | PgType::Jsonb | PgType::Uuid)
}

/// `GROUPING(args)` from DataFusion's number of the grouping set: a bit per key, the first key most significant, set
/// where the key is left out.
fn grouping(args: &[usize], order: &[usize]) -> Result<DfExpr> {
    let id = native_cast(
        DfExpr::Column(Column::new_unqualified(datafusion::logical_expr::Aggregate::INTERNAL_GROUPING_ID)),
        DataType::Int32,
    );
    let mut total = lit(0_i32);
    for (at, key) in args.iter().enumerate() {
        let weight = 1_i32
            .checked_shl((args.len() - 1 - at) as u32)
            .ok_or_else(|| Error::unsupported("GROUPING of more than 31 arguments"))?;
        let left_out = match order.iter().position(|k| k == key) {
            // In no set at all: always left out.
            None => lit(weight),
            Some(position) => {
                let bit = 1_i32
                    .checked_shl((order.len() - 1 - position) as u32)
                    .ok_or_else(|| Error::unsupported("more than 31 grouping keys"))?;
                let masked = datafusion::logical_expr::bitwise_and(id.clone(), lit(bit));
                datafusion::logical_expr::when(masked.not_eq(lit(0_i32)), lit(weight))
                    .otherwise(lit(0_i32))
                    .map_err(error_from)?
            }
        };
        total = datafusion::logical_expr::bitwise_or(total, left_out);
    }
    Ok(total)
}

/// Arrow type of an aggregate's result.
pub(super) fn result_type(ret: PgType) -> DataType {
    arrow_type(ret)
}
