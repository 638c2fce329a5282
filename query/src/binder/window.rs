//! Window functions and their windows.

use sqlparser::ast::{self, NamedWindowExpr, Spanned, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType};
use stratos_types::{ColumnType, Error, ErrorKind, PgType, Result};

use super::aggregate::{CallShape, only_where};
use super::call::window_name;
use super::hypothetical::is_hypothetical;
use super::resolve::{Choice, choose};
use super::scope::Place;
use super::{Binder, Clause};
use crate::functions::{Aggregate, ArgType, window};
use crate::ir::{Expr, FrameBound, FrameUnits, SortKey, WindowCall, WindowFrame, WindowFunction};
use sqlparser::tokenizer::Span;
use stratos_types::{CastContext, cast_kind};

pub(crate) fn is_window_function(name: &str) -> bool {
    !window::by_name(name).is_empty()
}

/// Whether it takes so many arguments.
pub(crate) fn takes(name: &str, count: usize) -> bool {
    window::by_name(name).iter().any(|s| s.args.len() == count)
}

impl Binder<'_> {
    /// A call with OVER: a column of the window step below.
    pub(crate) fn window_call(
        &mut self,
        shape: &CallShape<'_>,
        aggregates: &[&'static Aggregate],
        over: &WindowType,
    ) -> Result<Expr> {
        let span = shape.span;
        let clause = self.clause();
        let Some(level) = self.levels.last() else {
            return Err(Error::unsupported("window function here"));
        };
        let windowing = |b: &Self, message: String| Err(b.at(Error::new(ErrorKind::WindowingError, message), span));
        if level.in_aggregate {
            return Err(self.at(
                Error::new(ErrorKind::GroupingError, "aggregate function calls cannot contain window function calls"),
                span,
            ));
        }
        if !clause.is_some_and(Clause::allows_windows) {
            let place = clause.map_or("this clause", Clause::place);
            return windowing(self, format!("window functions are not allowed in {place}"));
        }
        if level.in_window {
            return windowing(self, "window function calls cannot be nested".into());
        }
        if shape.distinct {
            return Err(self.at(
                Error::new(ErrorKind::FeatureNotSupported, "DISTINCT is not implemented for window functions"),
                span,
            ));
        }
        if !shape.order_by.is_empty() {
            return Err(self.at(
                Error::new(
                    ErrorKind::FeatureNotSupported,
                    "aggregate ORDER BY is not implemented for window functions",
                ),
                span,
            ));
        }
        if !shape.within_group.is_empty() {
            return Err(self.at(
                Error::new(
                    ErrorKind::FeatureNotSupported,
                    format!("OVER is not supported for ordered-set aggregate {}", shape.name),
                ),
                span,
            ));
        }
        if let Some(level) = self.levels.last_mut() {
            level.in_window = true;
        }
        let bound = self.window_parts(shape, aggregates, over);
        if let Some(level) = self.levels.last_mut() {
            level.in_window = false;
        }
        let call = bound?;
        let ty = call.ty;
        let column = self.output(shape.name, ty);
        let expr = Expr::column(column.id, ty);
        if let Some(level) = self.levels.last_mut() {
            level.windows.push((column, call));
        }
        Ok(expr)
    }

    fn window_parts(
        &mut self,
        shape: &CallShape<'_>,
        aggregates: &[&'static Aggregate],
        over: &WindowType,
    ) -> Result<WindowCall> {
        let (function, ty) = if aggregates.is_empty() {
            self.builtin(shape)?
        } else {
            // Arguments may hold aggregates of the grouping below, so they are not bound as inside an aggregate.
            let call = self.aggregate_over(shape, aggregates)?;
            let ty = call.ty;
            (WindowFunction::Aggregate(call), ty)
        };
        let (spec, defined) = match over {
            WindowType::WindowSpec(spec) => (self.full_spec(spec, 0, shape.span)?, shape.span),
            WindowType::NamedWindow(name) => {
                let (found, defined) = self.named(&window_name(name), name)?;
                (self.full_spec(&found, 0, defined)?, defined)
            }
        };
        let WindowSpec { window_name: _, partition_by, order_by, window_frame } = &spec;
        self.in_clause(Clause::Window, |b| {
            let mut partition = Vec::with_capacity(partition_by.len());
            for e in partition_by {
                let expr = b.expr(e)?;
                partition.push(b.known(expr)?);
            }
            let mut keys = Vec::with_capacity(order_by.len());
            for key in order_by {
                let expr = b.expr(super::query::order_key(key)?)?;
                let expr = b.known(expr)?;
                let (descending, nulls_first) = super::query::order_options(key)?;
                keys.push(SortKey { expr, descending, nulls_first });
            }
            let frame = window_frame.as_ref().map(|f| b.frame(f, &keys, defined)).transpose()?;
            Ok(WindowCall { function, partition_by: partition, order_by: keys, frame, ty })
        })
    }

    fn aggregate_over(
        &mut self,
        shape: &CallShape<'_>,
        aggregates: &[&'static Aggregate],
    ) -> Result<crate::ir::AggregateCall> {
        if shape.star {
            return self.aggregate_call(shape, aggregates);
        }
        if shape.args.is_empty() && aggregates.iter().any(|a| a.kind == crate::functions::AggregateKind::CountStar) {
            return Err(self.parameterless(shape));
        }
        let mut args = Vec::with_capacity(shape.args.len());
        for arg in shape.args {
            args.push(self.plain_arg(arg)?);
        }
        let actual: Vec<PgType> = args.iter().map(|e| e.ty.ty).collect();
        let fitting: Vec<&'static Aggregate> = aggregates
            .iter()
            .copied()
            .filter(|a| a.args.len() == args.len() && a.kind != crate::functions::AggregateKind::CountStar)
            .collect();
        let candidates: Vec<Vec<ArgType>> = fitting.iter().map(|a| a.args.to_vec()).collect();
        let aggregate = match choose(&actual, &candidates) {
            Choice::One(i) => fitting[i],
            Choice::None => return Err(self.undefined_function(shape.name, &actual, shape.span)),
            Choice::Ambiguous => {
                return Err(self.ambiguous_function(shape.name, &actual, shape.span));
            }
        };
        if aggregate.kind.is_ordered_set() {
            return Err(self.without_group(shape));
        }
        let (mut args, ret) = self.settle_args(aggregate.args, aggregate.ret, args, shape.span)?;
        let filter = match shape.filter {
            None => None,
            Some(filter) => Some(self.in_clause(Clause::Filter, |b| {
                let expr = b.expr(filter)?;
                b.boolean(expr, "FILTER", filter.place())
            })?),
        };
        if let Some(filter) = &filter {
            args.iter_mut().for_each(|arg| only_where(filter, arg));
        }
        Ok(crate::ir::AggregateCall { aggregate, args, distinct: false, filter, order_by: Vec::new(), ty: ret.into() })
    }

    fn builtin(&mut self, shape: &CallShape<'_>) -> Result<(WindowFunction, ColumnType)> {
        if shape.filter.is_some() {
            return Err(self.at(
                Error::new(
                    ErrorKind::FeatureNotSupported,
                    "FILTER is not implemented for non-aggregate window functions",
                ),
                shape.span,
            ));
        }
        let args: Vec<Expr> = shape.args.iter().map(|a| self.plain_arg(a)).collect::<Result<_>>()?;
        let actual: Vec<PgType> = args.iter().map(|e| e.ty.ty).collect();
        let mut fitting = window::by_name(shape.name);
        fitting.retain(|s| s.args.len() == args.len());
        let candidates: Vec<Vec<ArgType>> = fitting.iter().map(|s| s.args.to_vec()).collect();
        let Choice::One(chosen) = choose(&actual, &candidates) else {
            return Err(match is_hypothetical(shape.name) && !args.is_empty() {
                true => self.without_group(shape),
                false => self.undefined_function(shape.name, &actual, shape.span),
            });
        };
        let signature = fitting[chosen];
        let places: Vec<Span> = shape.args.iter().map(Spanned::span).collect();
        let (args, ret) = self.settle_args_at(signature.args, signature.ret, args, &places)?;
        Ok((WindowFunction::Builtin { name: signature.name, args }, ret.into()))
    }

    /// The window of that name in the WINDOW clause, and where it is defined.
    fn named(&self, name: &str, ident: &ast::Ident) -> Result<(WindowSpec, Span)> {
        self.levels
            .last()
            .and_then(|l| l.named_windows.iter().find(|(n, ..)| n == name))
            .map(|(_, spec, defined)| (spec.clone(), *defined))
            .ok_or_else(|| {
                self.at(Error::new(ErrorKind::UndefinedObject, format!("window \"{name}\" does not exist")), ident.span)
            })
    }

    /// A window definition with what it takes over from the one that it names.
    fn full_spec(&self, spec: &WindowSpec, depth: usize, defined: Span) -> Result<WindowSpec> {
        let Some(ident) = &spec.window_name else {
            return Ok(spec.clone());
        };
        if depth > 16 {
            return Err(Error::new(ErrorKind::WindowingError, "window definitions refer to each other too deeply"));
        }
        let name = window_name(ident);
        let (base, base_defined) = self.named(&name, ident)?;
        let base = self.full_spec(&base, depth + 1, base_defined)?;
        let refuse =
            |what: &str| Err(self.at(Error::new(ErrorKind::WindowingError, what.replace("{}", &name)), ident.span));
        if !spec.partition_by.is_empty() {
            return refuse("cannot override PARTITION BY clause of window \"{}\"");
        }
        if !spec.order_by.is_empty() && !base.order_by.is_empty() {
            return refuse("cannot override ORDER BY clause of window \"{}\"");
        }
        if base.window_frame.is_some() {
            let message = format!("cannot copy window \"{name}\" because it has a frame clause");
            return Err(placed(Error::new(ErrorKind::WindowingError, message), self.cx.source.window_at(defined)));
        }
        Ok(WindowSpec {
            window_name: None,
            partition_by: base.partition_by,
            order_by: if spec.order_by.is_empty() { base.order_by } else { spec.order_by.clone() },
            window_frame: spec.window_frame.clone(),
        })
    }

    /// `WINDOW w AS (…)`.
    pub(crate) fn define_windows(&mut self, definitions: &[ast::NamedWindowDefinition]) -> Result<()> {
        for ast::NamedWindowDefinition(ident, definition) in definitions {
            let name = window_name(ident);
            let spec = match definition {
                NamedWindowExpr::WindowSpec(spec) => spec.clone(),
                NamedWindowExpr::NamedWindow(other) => self.named(&window_name(other), other)?.0,
            };
            let Some(level) = self.levels.last_mut() else {
                return Err(Error::internal("no query level"));
            };
            if level.named_windows.iter().any(|(n, ..)| *n == name) {
                return Err(self.at(
                    Error::new(ErrorKind::WindowingError, format!("window \"{name}\" is already defined")),
                    ident.span,
                ));
            }
            level.named_windows.push((name, spec, ident.span));
        }
        Ok(())
    }

    /// `defined`: where the definition begins, behind which its parenthesis comes.
    fn frame(&mut self, frame: &ast::WindowFrame, order_by: &[SortKey], defined: Span) -> Result<WindowFrame> {
        let ast::WindowFrame { units, start_bound, end_bound } = frame;
        let (units, word) = match units {
            WindowFrameUnits::Rows => (FrameUnits::Rows, "rows"),
            WindowFrameUnits::Range => (FrameUnits::Range, "range"),
            WindowFrameUnits::Groups => (FrameUnits::Groups, "groups"),
        };
        let bad = |m: &str, at: Option<usize>| Err(placed(Error::new(ErrorKind::WindowingError, m), at));
        // Looked for in the text only where something is wrong.
        let at_start = || self.cx.source.frame_at(defined, word).0;
        let at_end = || self.cx.source.frame_at(defined, word).1;
        use WindowFrameBound::{CurrentRow, Following, Preceding};
        match start_bound {
            Following(None) => return bad("frame start cannot be UNBOUNDED FOLLOWING", at_start()),
            Following(Some(_)) if end_bound.is_none() => {
                return bad("frame starting from following row cannot end with current row", at_start());
            }
            _ => {}
        }
        match (start_bound, end_bound) {
            (_, Some(Preceding(None))) => return bad("frame end cannot be UNBOUNDED PRECEDING", at_end()),
            (CurrentRow, Some(Preceding(_))) => {
                return bad("frame starting from current row cannot have preceding rows", at_end());
            }
            (Following(_), Some(Preceding(_) | CurrentRow)) => {
                return bad("frame starting from following row cannot have preceding rows", at_end());
            }
            _ => {}
        }
        if units == FrameUnits::Groups && order_by.is_empty() {
            return bad("GROUPS mode requires an ORDER BY clause", self.cx.source.window_at(defined));
        }
        let start = self.bound(start_bound, units, order_by, defined)?;
        let end = match end_bound {
            Some(bound) => self.bound(bound, units, order_by, defined)?,
            None => FrameBound::CurrentRow,
        };
        Ok(WindowFrame { units, start, end })
    }

    /// 0A000 unless values of the key's type can be moved by values of the offset's.
    fn must_have_range(&self, key: PgType, offset: PgType, moved_by: PgType, span: Span) -> Result<()> {
        use PgType::{Date, Float4, Float8, Int2, Int4, Int8, Interval, Numeric, Time, TimeTz, Timestamp, TimestampTz};
        let known = matches!(
            key,
            Int2 | Int4 | Int8 | Float4 | Float8 | Numeric | Date | Time | TimeTz | Timestamp | TimestampTz | Interval
        );
        let refuse = |rest: String| {
            let message = format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {key}{rest}");
            Error::new(ErrorKind::FeatureNotSupported, message)
        };
        if !known {
            return Err(self.at(refuse(String::new()), span));
        }
        let implicit = offset == moved_by
            || offset == PgType::Unknown
            || cast_kind(offset, moved_by) == Some(CastContext::Implicit);
        if implicit {
            return Ok(());
        }
        Err(self.at(
            refuse(format!(" and offset type {offset}")).with_hint("Cast the offset value to an appropriate type."),
            span,
        ))
    }

    fn bound(
        &mut self,
        bound: &WindowFrameBound,
        units: FrameUnits,
        order_by: &[SortKey],
        defined: Span,
    ) -> Result<FrameBound> {
        let (offset, preceding) = match bound {
            WindowFrameBound::CurrentRow => return Ok(FrameBound::CurrentRow),
            WindowFrameBound::Preceding(None) => return Ok(FrameBound::UnboundedPreceding),
            WindowFrameBound::Following(None) => return Ok(FrameBound::UnboundedFollowing),
            WindowFrameBound::Preceding(Some(offset)) => (offset, true),
            WindowFrameBound::Following(Some(offset)) => (offset, false),
        };
        let span = offset.span();
        let expr = self.expr(offset)?;
        let (to, what) = match units {
            FrameUnits::Rows => (PgType::Int8, "ROWS"),
            FrameUnits::Groups => (PgType::Int8, "GROUPS"),
            FrameUnits::Range => {
                let [key] = order_by else {
                    let error = Error::new(
                        ErrorKind::WindowingError,
                        "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
                    );
                    return Err(placed(error, self.cx.source.window_at(defined)));
                };
                let ty = match key.expr.ty.ty {
                    PgType::Date | PgType::Time | PgType::TimeTz | PgType::Timestamp | PgType::TimestampTz => {
                        PgType::Interval
                    }
                    PgType::Int2 | PgType::Int4 if expr.ty.ty != PgType::Unknown => PgType::Int8,
                    PgType::Float4 => PgType::Float8,
                    ty => ty,
                };
                (ty, "RANGE")
            }
        };
        let from = expr.ty.ty;
        if units == FrameUnits::Range
            && let [key] = order_by
        {
            self.must_have_range(key.expr.ty.ty, from, to, span)?;
        }
        // A number of rows is rounded.
        let context = if units == FrameUnits::Range { CastContext::Implicit } else { CastContext::Assignment };
        let expr = self.coerce(expr, to.into(), context, false, span)?.ok_or_else(|| {
            self.at(
                Error::new(
                    ErrorKind::DatatypeMismatch,
                    format!("argument of {what} must be type {to}, not type {from}"),
                ),
                span,
            )
        })?;
        if !expr.columns().is_empty() {
            return Err(self.at(
                Error::new(ErrorKind::InvalidColumnReference, format!("argument of {what} must not contain variables")),
                span,
            ));
        }
        Ok(if preceding { FrameBound::Preceding(expr) } else { FrameBound::Following(expr) })
    }
}

fn placed(error: Error, position: Option<usize>) -> Error {
    match position {
        Some(position) => error.at(position),
        None => error,
    }
}
