//! Window functions.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::{Column, ScalarValue};
use datafusion::functions_window::{cume_dist, lead_lag, nth_value, ntile, rank, row_number};
use datafusion::logical_expr::expr::{WindowFunction as DfWindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr as DfExpr, LogicalPlan, LogicalPlanBuilder, WindowFrame as DfFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, WindowUDF, cast as native_cast, ident, lit,
};
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::error::error_from;
use super::expr::{column, column_name, comparable, sortable};
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
            let mut key = sortable(self.expr(&k.expr)?, k.expr.ty.ty, true);
            // Offsets may be of a wider type.
            if let (true, Some(wide)) = (moves_keys(call.frame.as_ref()), moved_as(k.expr.ty.ty)) {
                key = native_cast(key, arrow_type(wide));
            }
            order_by.push(key.sort(!k.descending, k.nulls_first));
        }
        order_by.iter_mut().for_each(|key| computed.take(self, &mut key.expr));
        let frame = match &call.frame {
            Some(frame) => self.frame(frame, call)?,
            None => Some(DfFrame::new((!order_by.is_empty()).then_some(false))),
        };
        let (fun, mut args, mut filter, distinct, cast) = match &call.function {
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
        // No row is in a frame that ends before it begins.
        let frame = match frame {
            Some(frame) => frame,
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
                let n = self.constant_i64(&args[1], "nth_value")?;
                if n <= 0 {
                    return Err(Error::new(
                        ErrorKind::InvalidArgumentForNthValue,
                        "argument of nth_value must be greater than zero",
                    ));
                }
                (nth_value::nth_value_udwf(), vec![lowered[0].clone(), int8(n)])
            }
            other => return Err(Error::unsupported(format!("window function {other}"))),
        })
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

    /// The frame; none for one of rows or groups that ends before it begins.
    fn frame(&self, frame: &WindowFrame, call: &WindowCall) -> Result<Option<DfFrame>> {
        let units = match frame.units {
            FrameUnits::Rows => WindowFrameUnits::Rows,
            FrameUnits::Range => WindowFrameUnits::Range,
            FrameUnits::Groups => WindowFrameUnits::Groups,
        };
        let key = call.order_by.first().map(|k| k.expr.ty.ty);
        let null = match frame.units {
            FrameUnits::Range => ScalarValue::Null,
            _ => ScalarValue::UInt64(None),
        };
        let bound = |bound: &FrameBound, name: &str| -> Result<WindowFrameBound> {
            Ok(match bound {
                FrameBound::UnboundedPreceding => WindowFrameBound::Preceding(null.clone()),
                FrameBound::UnboundedFollowing => WindowFrameBound::Following(null.clone()),
                FrameBound::CurrentRow => WindowFrameBound::CurrentRow,
                FrameBound::Preceding(e) => {
                    WindowFrameBound::Preceding(self.frame_offset(e, frame.units, key, name)?)
                }
                FrameBound::Following(e) => {
                    WindowFrameBound::Following(self.frame_offset(e, frame.units, key, name)?)
                }
            })
        };
        let (start, end) = (bound(&frame.start, "starting")?, bound(&frame.end, "ending")?);
        use WindowFrameBound::{Following, Preceding};
        let ends_first = match (&start, &end) {
            (Preceding(ScalarValue::UInt64(Some(from))), Preceding(ScalarValue::UInt64(Some(to)))) => from < to,
            (Following(ScalarValue::UInt64(Some(from))), Following(ScalarValue::UInt64(Some(to)))) => from > to,
            _ => false,
        };
        let range_ends_first = match (&start, &end) {
            (Preceding(from), Preceding(to)) => from < to,
            (Following(from), Following(to)) => from > to,
            _ => false,
        };
        if units == WindowFrameUnits::Range && range_ends_first {
            // Rows with NULL as their key have a frame nevertheless: each other.
            return Err(Error::unsupported("RANGE between offsets of which the second comes before the first"));
        }
        Ok((!ends_first).then(|| DfFrame::new_bounds(units, start, end)))
    }

    fn frame_offset(&self, expr: &Expr, units: FrameUnits, key: Option<PgType>, which: &str) -> Result<ScalarValue> {
        let value = self.constant(expr)?;
        let negative = || {
            let message = match units {
                FrameUnits::Range => "invalid preceding or following size in window function".to_owned(),
                _ => format!("frame {which} offset must not be negative"),
            };
            Error::new(ErrorKind::InvalidPrecedingOrFollowingSize, message)
        };
        let number = match &value {
            Datum::Null => {
                return Err(Error::new(
                    ErrorKind::NullValueNotAllowed,
                    format!("frame {which} offset must not be null"),
                ));
            }
            Datum::Int2(n) => Some(i64::from(*n)),
            Datum::Int4(n) => Some(i64::from(*n)),
            Datum::Int8(n) => Some(*n),
            _ => None,
        };
        if units != FrameUnits::Range {
            let number = number.ok_or_else(|| Error::internal("frame offset is no integer"))?;
            return Ok(ScalarValue::UInt64(Some(u64::try_from(number).map_err(|_| negative())?)));
        }
        let below_zero = match &value {
            Datum::Float8(v) => v.is_nan() || *v < 0.0,
            Datum::Interval(i) => {
                (i128::from(i.months) * 30 + i128::from(i.days)) * MICROS_PER_DAY + i128::from(i.micros) < 0
            }
            _ => number.is_some_and(|n| n < 0),
        };
        if below_zero {
            return Err(negative());
        }
        match (key, &value, number) {
            // No two keys are further apart.
            (Some(PgType::Int2 | PgType::Int4), _, Some(n)) => Ok(ScalarValue::Int64(Some(n.min(1 << 32)))),
            (Some(PgType::Int8), _, Some(n)) => Ok(ScalarValue::Int64(Some(n))),
            (Some(PgType::Float4 | PgType::Float8), Datum::Float8(v), _) => Ok(ScalarValue::Float64(Some(*v))),
            (Some(PgType::Timestamp | PgType::TimestampTz | PgType::Date), Datum::Interval(i), _) => {
                Ok(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(
                    i.months,
                    i.days,
                    i.micros.checked_mul(NANOS_PER_MICRO).ok_or_else(|| Error::out_of_range("interval"))?,
                ))))
            }
            _ => Err(Error::unsupported("RANGE with an offset for this type")),
        }
    }
}

/// Whether the frame's ends are computed from the key that rows are ordered by.
fn moves_keys(frame: Option<&WindowFrame>) -> bool {
    frame.is_some_and(|frame| {
        let offset = |bound: &FrameBound| matches!(bound, FrameBound::Preceding(_) | FrameBound::Following(_));
        frame.units == FrameUnits::Range && (offset(&frame.start) || offset(&frame.end))
    })
}

/// The type that keys of another one are moved as.
fn moved_as(key: PgType) -> Option<PgType> {
    match key {
        PgType::Int2 | PgType::Int4 => Some(PgType::Int8),
        PgType::Float4 => Some(PgType::Float8),
        _ => None,
    }
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

const NANOS_PER_MICRO: i64 = 1000;
const MICROS_PER_DAY: i128 = 86_400_000_000;

fn int8(n: i64) -> DfExpr {
    DfExpr::Literal(ScalarValue::Int64(Some(n)), None)
}
