//! Sums and averages of floats. DataFusion's are infinite where finite numbers add up to more than there is; ours are 22003 then.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array};
use arrow::datatypes::Float64Type;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use stratos_types::{PgType, Result};

use super::accumulate::passes;
use super::error::to_datafusion;
use crate::functions::aggregates::{FloatMoments, float4_sum, float8_sum};

/// What is kept of each group. Values come as float8, whatever they were.
#[derive(Debug)]
pub(super) struct Floats {
    average: bool,
    ret: PgType,
    groups: Vec<FloatMoments>,
}

impl Floats {
    /// No groups yet.
    pub fn new(average: bool, ret: PgType) -> Floats {
        Floats { average, ret, groups: Vec::new() }
    }

    fn grow(&mut self, groups: usize) {
        self.groups.resize(groups, FloatMoments::default());
    }

    /// Adds what is known of other rows to a group: one value, or the state of another accumulator.
    fn merge(&mut self, group: usize, other: &FloatMoments) -> Result<()> {
        let held = &mut self.groups[group];
        if self.average {
            return held.merge(other);
        }
        held.sum = match (held.n == 0.0, self.ret) {
            (true, _) => other.sum,
            (false, PgType::Float4) => f64::from(float4_sum(held.sum as f32, other.sum as f32)?),
            (false, _) => float8_sum(held.sum, other.sum)?,
        };
        held.n += other.n;
        Ok(())
    }

    fn add(&mut self, group: usize, value: f64) -> Result<()> {
        match self.average {
            true => self.groups[group].add(value),
            false => self.merge(group, &FloatMoments { n: 1.0, sum: value, squares: 0.0 }),
        }
    }

    fn result(&self, group: &FloatMoments) -> Option<f64> {
        (group.n > 0.0).then(|| if self.average { group.sum / group.n } else { group.sum })
    }
}

impl GroupsAccumulator for Floats {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> DfResult<()> {
        self.grow(total_num_groups);
        let values = values[0].as_primitive::<Float64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            if values.is_valid(row) && passes(opt_filter, row) {
                self.add(*group, values.value(row)).map_err(to_datafusion)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DfResult<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        let results = groups.iter().map(|group| self.result(group));
        Ok(match self.ret {
            PgType::Float4 => Arc::new(results.map(|value| value.map(|v| v as f32)).collect::<Float32Array>()),
            _ => Arc::new(results.collect::<Float64Array>()),
        })
    }

    fn state(&mut self, emit_to: EmitTo) -> DfResult<Vec<ArrayRef>> {
        let groups = emit_to.take_needed(&mut self.groups);
        let column = |part: fn(&FloatMoments) -> f64| -> ArrayRef {
            Arc::new(groups.iter().map(|group| Some(part(group))).collect::<Float64Array>())
        };
        Ok(vec![column(|g| g.n), column(|g| g.sum), column(|g| g.squares)])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> DfResult<()> {
        self.grow(total_num_groups);
        let column = |at: usize| values[at].as_primitive::<Float64Type>();
        let (counts, sums, squares) = (column(0), column(1), column(2));
        for (row, group) in group_indices.iter().enumerate() {
            if counts.is_valid(row) && counts.value(row) > 0.0 {
                let other = FloatMoments { n: counts.value(row), sum: sums.value(row), squares: squares.value(row) };
                self.merge(*group, &other).map_err(to_datafusion)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> DfResult<Vec<ArrayRef>> {
        let rows = values[0].len();
        let mut each = Floats::new(self.average, self.ret);
        let groups: Vec<usize> = (0..rows).collect();
        each.update_batch(values, &groups, opt_filter, rows)?;
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<FloatMoments>()
    }
}

/// [`Floats`] of one group.
#[derive(Debug)]
pub(super) struct SingleFloats(Floats);

impl SingleFloats {
    /// No rows yet.
    pub fn new(mut floats: Floats) -> SingleFloats {
        floats.grow(1);
        SingleFloats(floats)
    }
}

impl Accumulator for SingleFloats {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        for value in values[0].as_primitive::<Float64Type>().iter().flatten() {
            self.0.add(0, value).map_err(to_datafusion)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let value = self.0.result(&self.0.groups[0]);
        Ok(match self.0.ret {
            PgType::Float4 => ScalarValue::Float32(value.map(|v| v as f32)),
            _ => ScalarValue::Float64(value),
        })
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.0.size()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let FloatMoments { n, sum, squares } = self.0.groups[0];
        Ok([n, sum, squares].map(|part| ScalarValue::Float64(Some(part))).into())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let zeros = vec![0; states[0].len()];
        self.0.merge_batch(states, &zeros, 1)
    }
}
