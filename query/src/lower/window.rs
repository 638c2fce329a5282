//! Window functions.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::functions_window::{cume_dist, lead_lag, nth_value, ntile, rank, row_number};
use datafusion::logical_expr::expr::{WindowFunction as DfWindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr as DfExpr, LogicalPlan, LogicalPlanBuilder, WindowFrame as DfFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, WindowUDF, cast as native_cast, ident, lit,
};
use stratos_types::{Datum, Error, ErrorKind, Result};

use super::error::error_from;
use super::expr::{column, column_name, comparable, sortable};
use super::ranges::{End, Evaluated, RangeFunction};
use super::rel::{Lowerer, project};
use crate::arrow::{arrow_type, scalar_of};
use crate::ir::{Expr, ExprKind, FrameBound, FrameUnits, OutputColumn, Rel, WindowCall, WindowFrame, WindowFunction};

impl Lowerer<'_> {
    pub(super) fn window(&self, input: &Rel, calls: &[(OutputColumn, WindowCall)]) -> Result<LogicalPlan> {
        let plan = self.rel(input)?;
        let mut computed = KeyColumns::default();
        let mut back: Vec<DfExpr> = input.output().iter().map(|c| column(c.id)).collect();
        let mut exprs = Vec::new();
        let mut names = BTreeSet::new();
        for (c, call) in calls {
            let (expr, cast) = self.window_call(call, &mut computed)?;
            // DataFusion names the column after the call; equal calls share it.
            let name = expr.schema_name().to_string();
            let mut result = DfExpr::Column(Column::new_unqualified(name.clone()));
            if let Some(ty) = cast {
                result = native_cast(result, ty);
            }
            back.push(result.alias(column_name(c.id)));
            if names.insert(name) {
                exprs.push(expr);
            }
        }
        let plan = LogicalPlanBuilder::window_plan(computed.below(plan)?, exprs).map_err(error_from)?;
        project(plan, back)
    }

    fn window_call(&self, call: &WindowCall, computed: &mut KeyColumns) -> Result<(DfExpr, Option<DataType>)> {
        let mut partition_by =
            call.partition_by.iter().map(|e| Ok(comparable(self.expr(e)?, e.ty.ty))).collect::<Result<Vec<_>>>()?;
        partition_by.iter_mut().for_each(|key| computed.take(self, key));
        let mut order_by = Vec::new();
        for k in &call.order_by {
            // Peers are equal values, so the order too must go by what equality looks at.
            let key = sortable(self.expr(&k.expr)?, k.expr.ty.ty, true);
            order_by.push(key.sort(!k.descending, k.nulls_first));
        }
        order_by.iter_mut().for_each(|key| computed.take(self, &mut key.expr));
        let (mut fun, mut args, mut filter, distinct, cast) = match &call.function {
            WindowFunction::Aggregate(aggregate) => {
                if aggregate.distinct {
                    return Err(Error::unsupported("DISTINCT in a window function"));
                }
                let slides =
                    call.frame.as_ref().is_some_and(|frame| !matches!(frame.start, FrameBound::UnboundedPreceding));
                let lowered = match slides {
                    true => self.sliding_aggregate_call(aggregate)?,
                    false => self.aggregate_call(aggregate)?,
                };
                (
                    WindowFunctionDefinition::AggregateUDF(lowered.udf),
                    lowered.args,
                    lowered.filter,
                    lowered.distinct,
                    lowered.cast,
                )
            }
            WindowFunction::Builtin { name, args } => {
                let (udf, args) = self.builtin(name, args)?;
                let native = match *name {
                    "row_number" | "rank" | "dense_rank" | "ntile" => Some(arrow_type(call.ty.ty)),
                    _ => None,
                };
                (WindowFunctionDefinition::WindowUDF(udf), args, None, false, native)
            }
        };
        let by_order = DfFrame::new((!order_by.is_empty()).then_some(false));
        let frame = match &call.frame {
            None => by_order,
            Some(frame) if moves_keys(frame) => {
                self.over_range(frame, call, (&mut fun, &mut args, &mut filter))?;
                by_order
            }
            Some(frame) => match self.frame(frame)? {
                Some(frame) => frame,
                // No row is in a frame that ends before it begins.
                None => {
                    match &call.function {
                        WindowFunction::Aggregate(_) => filter = Some(Box::new(lit(false))),
                        WindowFunction::Builtin { name: "first_value" | "last_value" | "nth_value", .. } => {
                            if let Some(value) = args.first_mut() {
                                *value = DfExpr::Literal(scalar_of(call.ty.ty, &Datum::Null)?, None);
                            }
                        }
                        WindowFunction::Builtin { .. } => {}
                    }
                    DfFrame::new(None)
                }
            },
        };
        let expr = DfExpr::WindowFunction(Box::new(DfWindowFunction {
            fun,
            params: WindowFunctionParams {
                args,
                partition_by,
                order_by,
                window_frame: frame,
                filter,
                null_treatment: None,
                distinct,
            },
        }));
        Ok((expr, cast))
    }

    fn builtin(&self, name: &str, args: &[Expr]) -> Result<(Arc<WindowUDF>, Vec<DfExpr>)> {
        let lowered = args.iter().map(|e| self.expr(e)).collect::<Result<Vec<_>>>()?;
        Ok(match name {
            "row_number" => (row_number::row_number_udwf(), lowered),
            "rank" => (rank::rank_udwf(), lowered),
            "dense_rank" => (rank::dense_rank_udwf(), lowered),
            "percent_rank" => (rank::percent_rank_udwf(), lowered),
            "cume_dist" => (cume_dist::cume_dist_udwf(), lowered),
            "ntile" => {
                let n = self.constant_i64(&args[0], "ntile")?;
                if n <= 0 {
                    return Err(Error::new(
                        ErrorKind::InvalidArgumentForNtile,
                        "argument of ntile must be greater than zero",
                    ));
                }
                (ntile::ntile_udwf(), vec![int8(n)])
            }
            "lag" | "lead" => {
                let udf = if name == "lag" { lead_lag::lag_udwf() } else { lead_lag::lead_udwf() };
                let mut out = vec![lowered[0].clone()];
                out.push(int8(match args.get(1) {
                    Some(e) => self.constant_i64(e, name)?,
                    None => 1,
                }));
                if let Some(default) = args.get(2) {
                    let value = self.constant(default)?;
                    out.push(DfExpr::Literal(scalar_of(default.ty.ty, &value)?, None));
                }
                (udf, out)
            }
            "first_value" => (nth_value::first_value_udwf(), lowered),
            "last_value" => (nth_value::last_value_udwf(), lowered),
            "nth_value" => {
                let n = i64::try_from(self.nth(args)?).unwrap_or(i64::MAX);
                (nth_value::nth_value_udwf(), vec![lowered[0].clone(), int8(n)])
            }
            other => return Err(Error::unsupported(format!("window function {other}"))),
        })
    }

    /// Which row of the frame `nth_value` asks for.
    fn nth(&self, args: &[Expr]) -> Result<u64> {
        let n = args.get(1).ok_or_else(|| Error::internal("nth_value without a number"))?;
        match u64::try_from(self.constant_i64(n, "nth_value")?) {
            Ok(n) if n > 0 => Ok(n),
            _ => Err(Error::new(
                ErrorKind::InvalidArgumentForNthValue,
                "argument of nth_value must be greater than zero",
            )),
        }
    }

    fn constant_i64(&self, expr: &Expr, function: &str) -> Result<i64> {
        let mut plain = true;
        expr.walk(&mut |e| plain &= !matches!(e.kind, ExprKind::Column(_) | ExprKind::Subquery { .. }));
        if !plain {
            return Err(Error::unsupported(format!("an argument of {function} that differs by row")));
        }
        match self.constant(expr)? {
            Datum::Int2(n) => Ok(i64::from(n)),
            Datum::Int4(n) => Ok(i64::from(n)),
            Datum::Int8(n) => Ok(n),
            _ => Err(Error::unsupported(format!("a NULL argument of {function}"))),
        }
    }

    /// Puts a function that finds the RANGE frames itself in the place of one that looks at them.
    fn over_range(
        &self,
        frame: &WindowFrame,
        call: &WindowCall,
        (fun, args, filter): (&mut WindowFunctionDefinition, &mut Vec<DfExpr>, &mut Option<Box<DfExpr>>),
    ) -> Result<()> {
        let end = |bound: &FrameBound, which: &str| {
            Ok(match bound {
                FrameBound::UnboundedPreceding | FrameBound::UnboundedFollowing => End::Unbounded,
                FrameBound::CurrentRow => End::CurrentRow,
                FrameBound::Preceding(e) => End::Preceding(self.frame_offset(e, which)?),
                FrameBound::Following(e) => End::Following(self.frame_offset(e, which)?),
            })
        };
        let (start, end) = (end(&frame.start, "starting")?, end(&frame.end, "ending")?);
        let evaluated = match (&call.function, &*fun) {
            (WindowFunction::Aggregate(_), WindowFunctionDefinition::AggregateUDF(udf)) => {
                Evaluated::Aggregate(udf.clone())
            }
            (WindowFunction::Builtin { name: "first_value", .. }, _) => Evaluated::First,
            (WindowFunction::Builtin { name: "last_value", .. }, _) => Evaluated::Last,
            (WindowFunction::Builtin { name: "nth_value", args: given }, _) => {
                args.truncate(1);
                Evaluated::Nth(self.nth(given)?)
            }
            _ => return Ok(()),
        };
        let [key] = call.order_by.as_slice() else {
            return Err(Error::internal("a RANGE frame with an offset and not one key"));
        };
        args.push(self.expr(&key.expr)?);
        let filtered = filter.take().map(|condition| args.push(*condition)).is_some();
        self.tie_to_execution();
        let name = format!("{}_range_{start:?}_{end:?}", fun.name());
        *fun = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(RangeFunction {
            statement: self.statement.clone(),
            evaluated,
            key: key.expr.ty.ty,
            descending: key.descending,
            nulls_first: key.nulls_first,
            start,
            end,
            filtered,
            name,
            signature: RangeFunction::any_arguments(),
        })));
        Ok(())
    }

    /// The frame; none for one that ends before it begins.
    fn frame(&self, frame: &WindowFrame) -> Result<Option<DfFrame>> {
        let (units, null) = match frame.units {
            FrameUnits::Rows => (WindowFrameUnits::Rows, ScalarValue::UInt64(None)),
            FrameUnits::Groups => (WindowFrameUnits::Groups, ScalarValue::UInt64(None)),
            FrameUnits::Range => (WindowFrameUnits::Range, ScalarValue::Null),
        };
        let bound = |bound: &FrameBound, which: &str| -> Result<WindowFrameBound> {
            Ok(match bound {
                FrameBound::UnboundedPreceding => WindowFrameBound::Preceding(null.clone()),
                FrameBound::UnboundedFollowing => WindowFrameBound::Following(null.clone()),
                FrameBound::CurrentRow => WindowFrameBound::CurrentRow,
                FrameBound::Preceding(e) => WindowFrameBound::Preceding(self.row_offset(e, which)?),
                FrameBound::Following(e) => WindowFrameBound::Following(self.row_offset(e, which)?),
            })
        };
        let (start, end) = (bound(&frame.start, "starting")?, bound(&frame.end, "ending")?);
        use WindowFrameBound::{Following, Preceding};
        let ends_first = match (&start, &end) {
            (Preceding(ScalarValue::UInt64(Some(from))), Preceding(ScalarValue::UInt64(Some(to)))) => from < to,
            (Following(ScalarValue::UInt64(Some(from))), Following(ScalarValue::UInt64(Some(to)))) => from > to,
            _ => false,
        };
        Ok((!ends_first).then(|| DfFrame::new_bounds(units, start, end)))
    }

    /// A number of rows or groups.
    fn row_offset(&self, expr: &Expr, which: &str) -> Result<ScalarValue> {
        let Datum::Int8(number) = self.frame_offset(expr, which)? else {
            return Err(Error::internal("frame offset is no integer"));
        };
        let number = u64::try_from(number).map_err(|_| {
            let message = format!("frame {which} offset must not be negative");
            Error::new(ErrorKind::InvalidPrecedingOrFollowingSize, message)
        })?;
        Ok(ScalarValue::UInt64(Some(number)))
    }

    fn frame_offset(&self, expr: &Expr, which: &str) -> Result<Datum> {
        match self.constant(expr)? {
            Datum::Null => {
                let message = format!("frame {which} offset must not be null");
                Err(Error::new(ErrorKind::NullValueNotAllowed, message))
            }
            value => Ok(value),
        }
    }
}

/// Whether the frame's ends are computed from the key that rows are ordered by.
fn moves_keys(frame: &WindowFrame) -> bool {
    let offset = |bound: &FrameBound| matches!(bound, FrameBound::Preceding(_) | FrameBound::Following(_));
    frame.units == FrameUnits::Range && (offset(&frame.start) || offset(&frame.end))
}

/// What windows are divided and sorted by, as columns that are computed below them. Where a condition makes such a key a
/// constant, DataFusion leaves it out of the sort, and does not find it constant any more under the window's name for it.
#[derive(Default)]
pub(super) struct KeyColumns(Vec<(DfExpr, String)>);

impl KeyColumns {
    /// Puts a column in the place of a key.
    pub fn take(&mut self, lowerer: &Lowerer<'_>, key: &mut DfExpr) {
        if matches!(key, DfExpr::Column(_) | DfExpr::Literal(..)) {
            return;
        }
        let known = self.0.iter().find(|(e, _)| e == key).map(|(_, name)| name.clone());
        let name = known.unwrap_or_else(|| {
            let name = lowerer.fresh("k");
            self.0.push((key.clone(), name.clone()));
            name
        });
        *key = ident(name);
    }

    /// The plan with the columns.
    pub fn below(self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if self.0.is_empty() {
            return Ok(plan);
        }
        let mut exprs: Vec<DfExpr> = plan.schema().columns().into_iter().map(DfExpr::Column).collect();
        exprs.extend(self.0.into_iter().map(|(e, name)| e.alias(name)));
        project(plan, exprs)
    }
}

fn int8(n: i64) -> DfExpr {
    DfExpr::Literal(ScalarValue::Int64(Some(n)), None)
}
