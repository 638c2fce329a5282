//! Aggregates of ours: exact sums and averages, and a gathering one for everything that has no better form.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BooleanArray, Decimal128Array, Int64Array,
};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Int16Type, Int32Type, Int64Type,
};
use datafusion::common::{Result as DfResult, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use stratos_types::{Datum, Numeric, NumericSum, PgType, Result, key};

use super::aggregate::result_type;
use super::context::StatementContext;
use super::error::to_datafusion;
use super::floats::{Floats, SingleFloats};
use crate::arrow::{ColumnBuilder, array_of, datum_at, list_field, scalar_of};
use crate::functions::{Aggregate, AggregateKind};

/// How a [`PgAggregate`] keeps its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Strategy {
    /// Sum and count of int2, int4, int8 in 128 bits.
    Integers,
    /// Sum and count of numerics.
    Numerics,
    /// Sum, count and squares of floats, which come as float8.
    Floats,
    /// All input rows.
    Collect,
}

impl Strategy {
    /// The strategy for sum and avg of a type, if it has one of its own.
    pub fn fast(ty: PgType) -> Option<Strategy> {
        match ty {
            PgType::Int2 | PgType::Int4 | PgType::Int8 => Some(Strategy::Integers),
            PgType::Numeric => Some(Strategy::Numerics),
            PgType::Float4 | PgType::Float8 => Some(Strategy::Floats),
            _ => None,
        }
    }
}

/// One key of ORDER BY inside an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SortOrder {
    pub descending: bool,
    pub nulls_first: bool,
}

/// An aggregate as DataFusion sees it. The last `order.len()` arguments are sort keys.
pub(crate) struct PgAggregate {
    /// Only for those that compute at the end: a plan that is kept must not hold on to its first execution.
    statement: Option<Arc<StatementContext>>,
    aggregate: &'static Aggregate,
    strategy: Strategy,
    args: Vec<PgType>,
    ret: PgType,
    order: Vec<SortOrder>,
    distinct: bool,
    name: String,
    signature: Signature,
}

impl PgAggregate {
    pub fn new(
        statement: Option<Arc<StatementContext>>,
        aggregate: &'static Aggregate,
        strategy: Strategy,
        args: Vec<PgType>,
        ret: PgType,
        order: Vec<SortOrder>,
        distinct: bool,
    ) -> Self {
        let flags: String = order
            .iter()
            .map(|o| match (o.descending, o.nulls_first) {
                (false, false) => 'a',
                (false, true) => 'A',
                (true, false) => 'd',
                (true, true) => 'D',
            })
            .collect();
        let name = format!(
            "{}_{}{}{}",
            aggregate.name,
            aggregate.oid,
            if distinct { "_distinct" } else { "" },
            if flags.is_empty() { flags } else { format!("_by_{flags}") }
        );
        PgAggregate {
            statement,
            aggregate,
            strategy,
            args,
            ret,
            order,
            distinct,
            name,
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }

    fn is_average(&self) -> bool {
        self.aggregate.kind == AggregateKind::Avg
    }

    fn collector(&self) -> DfResult<Collector> {
        let Some(statement) = self.statement.clone() else {
            return internal_err!("{} computes without a statement", self.name);
        };
        Ok(Collector {
            statement,
            aggregate: self.aggregate,
            args: self.args.clone(),
            ret: self.ret,
            order: self.order.clone(),
            distinct: self.distinct,
            rows: Vec::new(),
            taken: 0,
            bytes: 0,
        })
    }
}

impl PartialEq for PgAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.args == other.args && self.ret == other.ret && self.strategy == other.strategy
    }
}

impl Eq for PgAggregate {}

impl Hash for PgAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.args.hash(state);
    }
}

impl fmt::Debug for PgAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn sum_type() -> DataType {
    DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0)
}

impl AggregateUDFImpl for PgAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(result_type(self.ret))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let field = |part: &str, ty: DataType| Arc::new(Field::new(format!("{}[{part}]", args.name), ty, true));
        Ok(match self.strategy {
            Strategy::Integers => vec![field("sum", sum_type()), field("count", DataType::Int64)],
            Strategy::Numerics => {
                vec![field("sum", DataType::Binary), field("count", DataType::Int64)]
            }
            Strategy::Floats => ["count", "sum", "squares"].map(|part| field(part, DataType::Float64)).into(),
            Strategy::Collect => self
                .args
                .iter()
                .enumerate()
                .map(|(i, ty)| field(&format!("rows{i}"), DataType::List(list_field(*ty))))
                .collect(),
        })
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(match self.strategy {
            Strategy::Collect => Box::new(self.collector()?),
            Strategy::Floats => Box::new(SingleFloats::new(self.floats())),
            Strategy::Integers | Strategy::Numerics => Box::new(Single { groups: self.groups(), scales: None }),
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        match self.strategy {
            Strategy::Numerics => Ok(Box::new(Single { groups: self.groups(), scales: Some(Vec::new()) })),
            _ => self.accumulator(args),
        }
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        self.strategy != Strategy::Collect
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        Ok(match self.strategy {
            Strategy::Floats => Box::new(self.floats()),
            _ => Box::new(self.groups()),
        })
    }
}

impl PgAggregate {
    fn floats(&self) -> Floats {
        Floats::new(self.is_average(), self.ret)
    }

    fn groups(&self) -> Sums {
        Sums {
            input: self.args.first().copied().unwrap_or(PgType::Int8),
            average: self.is_average(),
            ret: self.ret,
            integers: Vec::new(),
            numerics: Vec::new(),
            counts: Vec::new(),
            exact: self.strategy == Strategy::Numerics,
        }
    }
}

/// Sum and count per group.
#[derive(Debug)]
struct Sums {
    input: PgType,
    average: bool,
    ret: PgType,
    /// For integers.
    integers: Vec<i128>,
    /// For numerics.
    numerics: Vec<NumericSum>,
    exact: bool,
    counts: Vec<i64>,
}

impl Sums {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        if self.exact {
            self.numerics.resize_with(groups, NumericSum::default);
        } else {
            self.integers.resize(groups, 0);
        }
    }

    fn add_integers<T: ArrowPrimitiveType>(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        sign: i64,
    ) where
        T::Native: Into<i64>,
    {
        let values = values.as_primitive::<T>();
        if values.null_count() == 0 && filter.is_none() {
            for (value, group) in values.values().iter().zip(groups) {
                let value: i64 = (*value).into();
                self.integers[*group] += i128::from(value) * i128::from(sign);
                self.counts[*group] += sign;
            }
            return;
        }
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) && passes(filter, row) {
                let value: i64 = values.value(row).into();
                self.integers[*group] += i128::from(value) * i128::from(sign);
                self.counts[*group] += sign;
            }
        }
    }

    fn add(&mut self, values: &ArrayRef, groups: &[usize], filter: Option<&BooleanArray>, sign: i64) -> DfResult<()> {
        match self.input {
            PgType::Int2 => self.add_integers::<Int16Type>(values, groups, filter, sign),
            PgType::Int4 => self.add_integers::<Int32Type>(values, groups, filter, sign),
            PgType::Int8 => self.add_integers::<Int64Type>(values, groups, filter, sign),
            _ => {
                let values = values.as_binary::<i32>();
                for (row, group) in groups.iter().enumerate() {
                    if values.is_valid(row) && passes(filter, row) {
                        let value = Numeric::from_sortable(values.value(row)).map_err(to_datafusion)?;
                        if sign > 0 {
                            self.numerics[*group].add(&value).map_err(to_datafusion)?;
                        } else {
                            self.numerics[*group].subtract(&value).map_err(to_datafusion)?;
                        }
                        self.counts[*group] += sign;
                    }
                }
            }
        }
        Ok(())
    }

    fn state_arrays(&self, sums: Vec<i128>, exact: Vec<NumericSum>, counts: Vec<i64>) -> DfResult<Vec<ArrayRef>> {
        let sums: ArrayRef = if self.exact {
            let mut out = BinaryBuilder::new();
            for (sum, count) in exact.iter().zip(&counts) {
                if *count == 0 {
                    out.append_null();
                } else {
                    out.append_value(sum.finish().map_err(to_datafusion)?.to_sortable());
                }
            }
            Arc::new(out.finish())
        } else {
            Arc::new(Decimal128Array::from(sums).with_data_type(sum_type()))
        };
        Ok(vec![sums, Arc::new(Int64Array::from(counts))])
    }

    fn take(&mut self, emit_to: EmitTo) -> (Vec<i128>, Vec<NumericSum>, Vec<i64>) {
        let counts = emit_to.take_needed(&mut self.counts);
        if self.exact {
            (Vec::new(), emit_to.take_needed(&mut self.numerics), counts)
        } else {
            (emit_to.take_needed(&mut self.integers), Vec::new(), counts)
        }
    }

    /// The result of a group, whose values have so many digits after the point, if that is known.
    fn result(&self, group: usize, scale: Option<usize>) -> Result<Datum> {
        let count = self.counts[group];
        if count == 0 {
            return Ok(Datum::Null);
        }
        let sum = if self.exact { self.numerics[group].finish()? } else { Numeric::from(self.integers[group]) };
        let sum = match scale.and_then(|scale| i32::try_from(scale).ok()) {
            Some(scale) => sum.round(scale)?,
            None => sum,
        };
        finish(sum, count, self.average, self.ret)
    }
}

/// Whether the aggregate's `FILTER` lets a row through.
pub(super) fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|f| f.is_valid(row) && f.value(row))
}

fn finish(sum: Numeric, count: i64, average: bool, ret: PgType) -> Result<Datum> {
    let value = if average { sum.div(&Numeric::from(count))? } else { sum };
    debug_assert_eq!(ret, PgType::Numeric);
    Ok(Datum::Numeric(value))
}

impl GroupsAccumulator for Sums {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> DfResult<()> {
        self.grow(total_num_groups);
        self.add(&values[0], group_indices, opt_filter, 1)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DfResult<ArrayRef> {
        let (integers, numerics, counts) = self.take(emit_to);
        let mut out = ColumnBuilder::new(self.ret, counts.len());
        for (group, count) in counts.iter().enumerate() {
            if *count == 0 {
                out.push_null();
                continue;
            }
            let sum = if self.exact {
                numerics[group].finish().map_err(to_datafusion)?
            } else {
                Numeric::from(integers[group])
            };
            let value = finish(sum, *count, self.average, self.ret).map_err(to_datafusion)?;
            out.push(&value).map_err(to_datafusion)?;
        }
        Ok(out.finish())
    }

    fn state(&mut self, emit_to: EmitTo) -> DfResult<Vec<ArrayRef>> {
        let (integers, numerics, counts) = self.take(emit_to);
        self.state_arrays(integers, numerics, counts)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> DfResult<()> {
        self.grow(total_num_groups);
        let counts = values[1].as_primitive::<Int64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            if counts.is_null(row) || counts.value(row) == 0 {
                continue;
            }
            self.counts[*group] += counts.value(row);
            if self.exact {
                let sum = Numeric::from_sortable(values[0].as_binary::<i32>().value(row)).map_err(to_datafusion)?;
                self.numerics[*group].add(&sum).map_err(to_datafusion)?;
            } else {
                self.integers[*group] += values[0].as_primitive::<Decimal128Type>().value(row);
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> DfResult<Vec<ArrayRef>> {
        let rows = values[0].len();
        let mut each = Sums { integers: Vec::new(), numerics: Vec::new(), counts: Vec::new(), ..*self };
        each.grow(rows);
        let groups: Vec<usize> = (0..rows).collect();
        each.add(&values[0], &groups, opt_filter, 1)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.integers.capacity() * size_of::<i128>()
            + self.numerics.capacity() * size_of::<NumericSum>()
            + self.counts.capacity() * size_of::<i64>()
    }
}

/// [`Sums`] of one group, which can also take rows away (moving window frames).
#[derive(Debug)]
struct Single {
    groups: Sums,
    /// How many values in the frame have so many digits after the point: the sum has as many as the one with the most.
    scales: Option<Vec<i64>>,
}

impl Single {
    fn apply(&mut self, values: &[ArrayRef], sign: i64) -> DfResult<()> {
        self.groups.grow(1);
        let zeros = vec![0; values[0].len()];
        if let Some(scales) = &mut self.scales {
            for value in values[0].as_binary::<i32>().iter().flatten() {
                let value = Numeric::from_sortable(value).map_err(to_datafusion)?;
                if let Some(scale) = value.scale().map(usize::from) {
                    scales.resize(scales.len().max(scale + 1), 0);
                    scales[scale] += sign;
                }
            }
        }
        self.groups.add(&values[0], &zeros, None, sign)
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.apply(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.apply(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        self.groups.grow(1);
        let scale = self.scales.as_ref().and_then(|scales| scales.iter().rposition(|count| *count > 0));
        let value = self.groups.result(0, scale).map_err(to_datafusion)?;
        scalar_of(self.groups.ret, &value).map_err(to_datafusion)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.groups.size()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.groups.grow(1);
        self.groups.state(EmitTo::All)?.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let zeros = vec![0; states[0].len()];
        self.groups.merge_batch(states, &zeros, 1)
    }
}

/// Keeps its input rows and computes when asked.
struct Collector {
    statement: Arc<StatementContext>,
    aggregate: &'static Aggregate,
    args: Vec<PgType>,
    ret: PgType,
    order: Vec<SortOrder>,
    distinct: bool,
    rows: Vec<Vec<Datum>>,
    /// Rows at the front that a moving frame has left behind.
    taken: usize,
    bytes: usize,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} rows", self.aggregate.name, self.rows.len())
    }
}

impl Collector {
    fn push(&mut self, row: Vec<Datum>) {
        self.bytes += row.iter().map(Datum::size_bytes).sum::<usize>();
        self.rows.push(row);
    }

    fn compute(&self) -> Result<Datum> {
        let inputs = self.args.len() - self.order.len();
        let mut rows: Vec<&Vec<Datum>> = self.rows[self.taken..].iter().collect();
        if self.distinct {
            let encoded = |row: &Vec<Datum>| {
                let mut out = Vec::new();
                for (ty, value) in self.args[..inputs].iter().zip(row) {
                    key::encode_column(&mut out, *ty, value, false, false);
                }
                out
            };
            // Postgres finds duplicates by sorting, and users see that order.
            rows.sort_by_cached_key(|row| encoded(row));
            rows.dedup_by_key(|row| encoded(row));
        }
        if !self.order.is_empty() {
            rows.sort_by(|a, b| {
                for (i, order) in self.order.iter().enumerate() {
                    let at = inputs + i;
                    let result = match (a[at].is_null(), b[at].is_null()) {
                        (true, true) => std::cmp::Ordering::Equal,
                        (true, false) if order.nulls_first => std::cmp::Ordering::Less,
                        (true, false) => std::cmp::Ordering::Greater,
                        (false, true) if order.nulls_first => std::cmp::Ordering::Greater,
                        (false, true) => std::cmp::Ordering::Less,
                        (false, false) => {
                            let natural = key::compare(self.args[at], &a[at], &b[at]);
                            if order.descending { natural.reverse() } else { natural }
                        }
                    };
                    if result.is_ne() {
                        return result;
                    }
                }
                std::cmp::Ordering::Equal
            });
        }
        crate::functions::aggregates::over_rows(
            &self.statement.eval,
            self.aggregate,
            &self.args[..inputs],
            self.ret,
            rows.iter().map(|row| &row[..inputs]),
        )
    }
}

impl Accumulator for Collector {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let rows = values.first().map_or(0, |v| v.len());
        for row in 0..rows {
            let values = values
                .iter()
                .zip(&self.args)
                .map(|(array, ty)| datum_at(array.as_ref(), row, *ty))
                .collect::<Result<_>>()
                .map_err(to_datafusion)?;
            self.push(values);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        // Frames lose rows in the order in which they got them.
        self.taken += values.first().map_or(0, |v| v.len());
        if self.taken > self.rows.len() / 2 {
            self.rows.drain(..self.taken);
            self.taken = 0;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let value = self.compute().map_err(to_datafusion)?;
        scalar_of(self.ret, &value).map_err(to_datafusion)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes + self.rows.capacity() * size_of::<Vec<Datum>>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        (0..self.args.len())
            .map(|i| {
                let items = array_of(self.args[i], self.rows.iter().map(|row| &row[i])).map_err(to_datafusion)?;
                let list = arrow::array::ListArray::new(
                    list_field(self.args[i]),
                    arrow::buffer::OffsetBuffer::from_lengths([items.len()]),
                    items,
                    None,
                );
                Ok(ScalarValue::List(Arc::new(list)))
            })
            .collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let groups = states.first().map_or(0, |s| s.len());
        for group in 0..groups {
            let mut columns = Vec::with_capacity(states.len());
            for state in states {
                let Some(lists) = state.as_list_opt::<i32>() else {
                    return internal_err!("state of {} is no list", self.aggregate.name);
                };
                if lists.is_valid(group) {
                    columns.push(lists.value(group));
                }
            }
            if columns.len() == states.len() {
                self.update_batch(&columns)?;
            }
        }
        Ok(())
    }
}
