//! RANGE frames with offsets. DataFusion finds their ends by adding an offset to a key in Arrow's types, where a day has no hours,
//! infinity is a number like others and sums wrap around; it also takes for granted that a frame begins before it ends. So these
//! frames are found here, by Postgres's rules, and functions evaluated over them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array, new_empty_array};
use arrow::compute::{filter, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{Result as DfResult, ScalarValue, internal_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, PartitionEvaluator, Signature, Volatility, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Column;
use stratos_types::{Datum, PgType, Result};

use super::context::StatementContext;
use super::error::to_datafusion;
use crate::arrow::datum_at;
use crate::functions::compare;
use crate::functions::ranges::{Reach, in_range};

/// What is evaluated over a frame. Its arguments are the window function's first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Evaluated {
    Aggregate(Arc<AggregateUDF>),
    First,
    Last,
    Nth(u64),
}

/// An end of a frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    Unbounded,
    CurrentRow,
    Preceding(Datum),
    Following(Datum),
}

/// A function over a RANGE frame as DataFusion sees it: one that takes whole partitions. Behind the arguments of what it evaluates
/// come the key that rows are ordered by and, if it has one, its FILTER.
pub(super) struct RangeFunction {
    pub statement: Arc<StatementContext>,
    pub evaluated: Evaluated,
    pub key: PgType,
    pub descending: bool,
    pub nulls_first: bool,
    pub start: End,
    pub end: End,
    pub filtered: bool,
    pub name: String,
    pub signature: Signature,
}

impl RangeFunction {
    /// Takes any arguments.
    pub fn any_arguments() -> Signature {
        Signature::variadic_any(Volatility::Immutable)
    }

    /// How many of so many arguments are those of what is evaluated.
    fn own(&self, arguments: usize) -> usize {
        arguments.saturating_sub(1 + usize::from(self.filtered))
    }
}

impl fmt::Debug for RangeFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for RangeFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.evaluated == other.evaluated
            && (self.key, self.descending, self.nulls_first, self.filtered)
                == (other.key, other.descending, other.nulls_first, other.filtered)
            && self.start == other.start
            && self.end == other.end
    }
}

impl Eq for RangeFunction {}

impl Hash for RangeFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.evaluated.hash(state);
    }
}

impl WindowUDFImpl for RangeFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> DfResult<FieldRef> {
        let own = &args.input_fields()[..self.own(args.input_fields().len())];
        let ty = match &self.evaluated {
            Evaluated::Aggregate(udf) => udf.return_field(own)?.data_type().clone(),
            _ => own.first().map_or(DataType::Null, |field| field.data_type().clone()),
        };
        Ok(Arc::new(Field::new(args.name(), ty, true)))
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs<'_>) -> DfResult<Box<dyn PartitionEvaluator>> {
        let fields = &args.input_fields()[..self.own(args.input_fields().len())];
        let over = match &self.evaluated {
            Evaluated::Aggregate(udf) => {
                let named = fields.iter().enumerate().map(|(at, f)| f.as_ref().clone().with_name(format!("a{at}")));
                let schema = Arc::new(Schema::new(named.collect::<Vec<_>>()));
                let columns = schema.fields().iter().enumerate();
                let columns = columns.map(|(at, f)| Arc::new(Column::new(f.name(), at)) as Arc<dyn PhysicalExpr>);
                let built = AggregateExprBuilder::new(udf.clone(), columns.collect()).schema(schema.clone());
                Over::Aggregate(Arc::new(built.alias(&self.name).build()?))
            }
            Evaluated::First => Over::Row(|frame, _| frame.start, 0),
            Evaluated::Last => Over::Row(|frame, _| frame.end.saturating_sub(1), 0),
            Evaluated::Nth(n) => {
                Over::Row(|frame, n| frame.start.saturating_add(n), usize::try_from(*n - 1).unwrap_or(usize::MAX))
            }
        };
        Ok(Box::new(Frames {
            statement: self.statement.clone(),
            over,
            key: self.key,
            descending: self.descending,
            nulls_first: self.nulls_first,
            ends: (self.start.clone(), self.end.clone()),
            filtered: self.filtered,
        }))
    }
}

/// What is evaluated over each frame.
#[derive(Debug)]
enum Over {
    Aggregate(Arc<AggregateFunctionExpr>),
    /// The value of one row, if the frame has it.
    Row(fn(&Range<usize>, usize) -> usize, usize),
}

/// The frames of a partition.
struct Frames {
    statement: Arc<StatementContext>,
    over: Over,
    key: PgType,
    descending: bool,
    nulls_first: bool,
    ends: (End, End),
    filtered: bool,
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} over RANGE frames", self.over)
    }
}

/// Rows between two looks at whether the statement was canceled.
const ROWS_BETWEEN_LOOKS: usize = 1024;

impl PartitionEvaluator for Frames {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DfResult<ArrayRef> {
        let own = values.len().saturating_sub(1 + usize::from(self.filtered));
        let (Some(keys), filter) = (values.get(own), values.get(own + 1)) else {
            return internal_err!("a RANGE frame without its key");
        };
        let keys = (0..rows).map(|row| datum_at(keys.as_ref(), row, self.key)).collect::<Result<Vec<_>>>();
        let frames = keys.and_then(|keys| self.frames(&keys)).map_err(to_datafusion)?;
        match &self.over {
            Over::Aggregate(aggregate) => {
                self.aggregates(aggregate, &values[..own], filter.and_then(|f| f.as_boolean_opt()), &frames)
            }
            Over::Row(row, n) => {
                let Some(value) = values.first() else { return internal_err!("a value of no column") };
                let rows = frames.iter().map(|frame| {
                    let at = row(frame, *n);
                    frame.contains(&at).then_some(at as u64)
                });
                Ok(take(value, &UInt64Array::from_iter(rows), None)?)
            }
        }
    }
}

impl Frames {
    /// The frame of each row. Neither end ever goes back from one row to the next.
    fn frames(&self, keys: &[Datum]) -> Result<Vec<Range<usize>>> {
        let mut frames = Vec::with_capacity(keys.len());
        let (mut start, mut end, mut peers) = (0, 0, 0..0);
        for (row, key) in keys.iter().enumerate() {
            if row % ROWS_BETWEEN_LOOKS == 0 {
                self.statement.eval.check_canceled()?;
            }
            if row == peers.end {
                peers = row..row + 1;
                while peers.end < keys.len() && self.are_peers(key, &keys[peers.end])? {
                    peers.end += 1;
                }
            }
            match &self.ends.0 {
                End::Unbounded => {}
                End::CurrentRow => start = peers.start,
                End::Preceding(offset) => self.advance(&mut start, keys, key, offset, true, false)?,
                End::Following(offset) => self.advance(&mut start, keys, key, offset, false, false)?,
            }
            match &self.ends.1 {
                End::Unbounded => end = keys.len(),
                End::CurrentRow => end = peers.end,
                End::Preceding(offset) => self.advance(&mut end, keys, key, offset, true, true)?,
                End::Following(offset) => self.advance(&mut end, keys, key, offset, false, true)?,
            }
            frames.push(start..end.max(start));
        }
        Ok(frames)
    }

    fn are_peers(&self, a: &Datum, b: &Datum) -> Result<bool> {
        match (a.is_null(), b.is_null()) {
            (false, false) => Ok(compare(&self.statement.eval, a, b)? == Ordering::Equal),
            (a, b) => Ok(a == b),
        }
    }

    /// Moves an end of the frame to where it is for the row with that key: the frame's first row, or, with `past`, the row behind
    /// its last.
    fn advance(
        &self,
        at: &mut usize,
        keys: &[Datum],
        key: &Datum,
        offset: &Datum,
        preceding: bool,
        past: bool,
    ) -> Result<()> {
        let reach = Reach { down: preceding != self.descending, below: past != self.descending };
        while let Some(other) = keys.get(*at) {
            let goes_on = match (other.is_null(), key.is_null()) {
                (false, false) => in_range(&self.statement.eval, other, key, offset, reach)? == past,
                // NULLs are at no distance from one another, and at any from the others.
                (true, true) => past,
                (other_is_null, _) => other_is_null == self.nulls_first,
            };
            if !goes_on {
                break;
            }
            *at += 1;
        }
        Ok(())
    }

    /// An aggregate over each frame.
    fn aggregates(
        &self,
        aggregate: &AggregateFunctionExpr,
        args: &[ArrayRef],
        passing: Option<&BooleanArray>,
        frames: &[Range<usize>],
    ) -> DfResult<ArrayRef> {
        let filtered: Vec<ArrayRef>;
        let (args, passed) = match passing {
            None => (args, None),
            Some(passing) => {
                filtered = args.iter().map(|arg| filter(arg, passing)).collect::<std::result::Result<_, _>>()?;
                // How many of the rows before each one there are.
                let mut passed = Vec::with_capacity(passing.len() + 1);
                passed.push(0);
                for row in 0..passing.len() {
                    let passes = passing.is_valid(row) && passing.value(row);
                    passed.push(passed[row] + usize::from(passes));
                }
                (filtered.as_slice(), Some(passed))
            }
        };
        let rows = |range: Range<usize>| -> Vec<ArrayRef> {
            args.iter().map(|arg| arg.slice(range.start, range.len())).collect()
        };
        let fresh = || -> DfResult<Box<dyn Accumulator>> {
            match self.ends.0 {
                End::Unbounded => aggregate.create_accumulator(),
                _ => aggregate.create_sliding_accumulator(),
            }
        };
        let of_none = fresh()?.evaluate()?;
        let mut results = Vec::with_capacity(frames.len());
        let (mut accumulator, mut held, mut last) = (fresh()?, 0..0, of_none.clone());
        for (row, frame) in frames.iter().enumerate() {
            if row % ROWS_BETWEEN_LOOKS == 0 {
                self.statement.eval.check_canceled().map_err(to_datafusion)?;
            }
            let frame = match &passed {
                None => frame.clone(),
                Some(passed) => passed[frame.start]..passed[frame.end],
            };
            if frame.is_empty() {
                results.push(of_none.clone());
                continue;
            }
            // Peers have the same frame.
            if frame == held {
                results.push(last.clone());
                continue;
            }
            if frame.start >= held.end || frame.start < held.start || frame.end < held.end {
                accumulator = fresh()?;
                accumulator.update_batch(&rows(frame.clone()))?;
            } else {
                if frame.end > held.end {
                    accumulator.update_batch(&rows(held.end..frame.end))?;
                }
                if frame.start > held.start {
                    accumulator.retract_batch(&rows(held.start..frame.start))?;
                }
            }
            held = frame;
            last = accumulator.evaluate()?;
            results.push(last.clone());
        }
        match results.is_empty() {
            true => Ok(new_empty_array(aggregate.field().data_type())),
            false => ScalarValue::iter_to_array(results),
        }
    }
}
