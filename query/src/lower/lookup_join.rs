//! Joins that look the rows of one side up by the keys that the other side has.
//!
//! The operator takes rows of its outer side, collects their keys, and runs the hash join that it stands for over these rows
//! and over the inner side narrowed to the rows with these keys. So every kind of join, its filter and its treatment of NULLs
//! are the hash join's; only what the inner scan reads is less. Where there turn out to be too many keys or too many rows, the
//! rest is joined with the whole inner side.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{JoinType, Result as DfResult, Statistics, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, reset_plan_states};
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    Partitioning, PlanProperties, execute_stream,
};
use futures::StreamExt;
use parking_lot::Mutex;
use stratos_types::{Datum, PgType, Result};

use super::context::{StatementContext, statement_of};
use super::error::to_datafusion;
use super::narrow::{Keyed, replace};
use super::operators::{shown_by_name, without_inputs};
use crate::arrow::{arrow_type, datum_at};

/// Rows of the outer side that are looked up at first; small, so that the first rows are early.
const CHUNK_ROWS_MIN: usize = 128;
/// Rows of the outer side that are looked up at a time.
const CHUNK_ROWS_MAX: usize = 8192;

/// A key: what it is on the outer side, and the place of the scan's column among the inner side's.
#[derive(Debug, Clone)]
pub(super) struct JoinKey {
    pub outer: Arc<dyn PhysicalExpr>,
    pub inner: usize,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct LookupJoinExec {
    outer: Arc<dyn ExecutionPlan>,
    inner: Arc<dyn ExecutionPlan>,
    /// The join; its own inputs do not count.
    join: Arc<HashJoinExec>,
    outer_is_left: bool,
    keys: Vec<JoinKey>,
    /// Outer rows, and rows of the inner side for them, up to which looking up is better than reading everything.
    rows_max: u64,
    /// Rows that are expected.
    rows: u64,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LookupJoinExec {
    /// In place of a hash join.
    ///
    /// # Errors
    /// DataFusion's.
    pub fn try_new(
        join: &HashJoinExec,
        outer_is_left: bool,
        keys: Vec<JoinKey>,
        rows_max: u64,
        rows: u64,
    ) -> DfResult<Self> {
        let (left, right) = (join.left().clone(), join.right().clone());
        let (outer, inner) = if outer_is_left { (left, right) } else { (right, left) };
        let join = join.builder().with_partition_mode(PartitionMode::CollectLeft).reset_state().build()?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(join.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(LookupJoinExec {
            outer,
            inner,
            join: Arc::new(join),
            outer_is_left,
            keys,
            rows_max,
            rows,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// Whether each outer row is answered for itself, so that they can come in pieces. The others give rows of the inner side,
    /// each once.
    fn by_outer_row(&self) -> bool {
        match self.join.join_type() {
            JoinType::Inner => true,
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => self.outer_is_left,
            _ => !self.outer_is_left,
        }
    }

    /// Kind of the join, as the outer side sees it.
    pub fn kind(&self) -> JoinType {
        match self.join.join_type() {
            JoinType::Right => JoinType::Left,
            kind => *kind,
        }
    }

    /// The side that is looked up by.
    pub fn outer(&self) -> &Arc<dyn ExecutionPlan> {
        &self.outer
    }

    /// The sides as EXPLAIN shows them: the inner one with what its lookups compare, in the words of `shown`.
    pub fn shown(&self, shown: &dyn Fn(&Arc<dyn PhysicalExpr>) -> String) -> Vec<Arc<dyn ExecutionPlan>> {
        let mut inner = self.inner.clone();
        for keyed in Keyed::find_all(&self.inner, &self.places()) {
            let text = |at: usize| keyed.kept.get(at).and_then(|at| self.keys.get(*at)).map(|key| shown(&key.outer));
            let scan = Arc::new(keyed.scan.shown_with_keys(&keyed.path, &text));
            if let Ok(narrowed) = replace(&inner, &keyed.way, scan) {
                inner = narrowed;
            }
        }
        vec![self.outer.clone(), inner]
    }

    /// Rows that are expected.
    pub fn expected_rows(&self) -> u64 {
        self.rows
    }

    /// The join that it stands for.
    pub fn join(&self) -> &HashJoinExec {
        &self.join
    }

    /// Whether the outer side is the join's left one.
    pub fn outer_is_left(&self) -> bool {
        self.outer_is_left
    }

    fn places(&self) -> Vec<usize> {
        self.keys.iter().map(|key| key.inner).collect()
    }

    /// The join of these outer rows with this inner side.
    fn joined(&self, outer: Arc<dyn ExecutionPlan>, inner: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let inner = reset_plan_states(inner)?;
        let single = |plan: Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
            if plan.output_partitioning().partition_count() == 1 {
                return plan;
            }
            Arc::new(CoalescePartitionsExec::new(plan))
        };
        let children = if self.outer_is_left { vec![outer, inner] } else { vec![single(inner), outer] };
        let join = self.join.builder().with_new_children(children)?.reset_state().build_exec()?;
        Ok(single(join))
    }

    /// The inner side narrowed to the keys of these outer rows; none when there would be too many rows.
    fn narrowed(
        &self,
        statement: &StatementContext,
        outer: &[RecordBatch],
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let mut narrowed = None;
        for keyed in Keyed::find_all(&self.inner, &self.places()) {
            let scan = match self.tuples(&keyed, outer)? {
                Some(tuples) => {
                    let scan = keyed.scan.with_keys(statement.source.as_ref(), &keyed.path, &tuples, self.rows_max);
                    scan.map_err(to_datafusion)?
                }
                None => None,
            };
            match (scan, &narrowed) {
                (Some(scan), plan) => {
                    let plan = plan.as_ref().unwrap_or(&self.inner);
                    narrowed = Some(replace(plan, &keyed.way, Arc::new(scan))?);
                }
                // The others are read as a whole.
                (None, Some(_)) => {}
                (None, None) => return Ok(None),
            }
        }
        Ok(narrowed)
    }

    /// The keys of outer rows, as a scan looks them up; none where they are of other types.
    fn tuples(&self, keyed: &Keyed, outer: &[RecordBatch]) -> DfResult<Option<Vec<Vec<Datum>>>> {
        let keys: Vec<(&JoinKey, PgType)> =
            keyed.kept.iter().filter_map(|at| self.keys.get(*at)).zip(keyed.types.iter().copied()).collect();
        let mut tuples = Vec::new();
        for batch in outer {
            let arrays = keys
                .iter()
                .map(|(key, _)| key.outer.evaluate(batch)?.into_array(batch.num_rows()))
                .collect::<DfResult<Vec<_>>>()?;
            if !arrays.iter().zip(&keys).all(|(array, (_, ty))| fits(array, *ty)) {
                return Ok(None);
            }
            for row in 0..batch.num_rows() {
                let values = arrays.iter().zip(&keys).map(|(array, (_, ty))| value_at(array, row, *ty));
                // A key that is NULL, or none that the column can have, equals nothing.
                if let Some(tuple) = values.collect::<Result<Option<Vec<Datum>>>>().map_err(to_datafusion)? {
                    tuples.push(tuple);
                }
            }
        }
        Ok(Some(tuples))
    }
}

/// Whether values of an Arrow type can be brought to the type of a column that they are compared with.
fn fits(array: &ArrayRef, ty: PgType) -> bool {
    *array.data_type() == arrow_type(ty) || integer_type(array).is_some() && is_integer(ty)
}

fn is_integer(ty: PgType) -> bool {
    matches!(ty, PgType::Int2 | PgType::Int4 | PgType::Int8)
}

fn integer_type(array: &ArrayRef) -> Option<PgType> {
    [PgType::Int2, PgType::Int4, PgType::Int8].into_iter().find(|ty| arrow_type(*ty) == *array.data_type())
}

/// A key's value in the type of the column that it is compared with; none when it equals no value of the column.
fn value_at(array: &ArrayRef, row: usize, ty: PgType) -> Result<Option<Datum>> {
    if array.is_null(row) {
        return Ok(None);
    }
    let Some(from) = integer_type(array).filter(|_| is_integer(ty)) else {
        return datum_at(array, row, ty).map(Some);
    };
    // Integers are compared in the wider type.
    let number = match datum_at(array, row, from)? {
        Datum::Int2(n) => i64::from(n),
        Datum::Int4(n) => i64::from(n),
        Datum::Int8(n) => n,
        _ => return Ok(None),
    };
    Ok(match ty {
        PgType::Int2 => i16::try_from(number).ok().map(Datum::Int2),
        PgType::Int4 => i32::try_from(number).ok().map(Datum::Int4),
        _ => Some(Datum::Int8(number)),
    })
}

impl DisplayAs for LookupJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LookupJoinExec: join_type={:?}", self.join.join_type())?;
        if let Some(filter) = self.join.filter() {
            write!(f, ", filter={}", filter.expression())?;
        }
        Ok(())
    }
}

impl ExecutionPlan for LookupJoinExec {
    fn name(&self) -> &str {
        "LookupJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.outer, &self.inner]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition, Distribution::UnspecifiedDistribution])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        for key in &self.keys {
            if f(&key.outer)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (Some(inner), Some(outer)) = (children.pop(), children.pop()) else {
            return internal_err!("a lookup join has two inputs");
        };
        Ok(Arc::new(LookupJoinExec { outer, inner, metrics: ExecutionPlanMetricsSet::new(), ..(*self).clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let statement = statement_of(context.session_config().options())?.clone();
        let run = Run {
            outer: Some(self.outer.execute(partition, context.clone())?),
            held: MemoryConsumer::new("LookupJoin").register(context.memory_pool()),
            metrics: BaselineMetrics::new(&self.metrics, partition),
            fallbacks: MetricBuilder::new(&self.metrics).counter("fallbacks", partition),
            plan: Arc::new(self.clone()),
            statement,
            context,
            seen: 0,
            chunk_rows: CHUNK_ROWS_MIN,
            current: None,
        };
        let stream = futures::stream::try_unfold(run, |mut run| async move {
            let next = run.next().await?;
            Ok(next.map(|batch| (batch, run)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, _: Option<usize>) -> DfResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Inexact(self.rows as usize);
        Ok(Arc::new(statistics))
    }
}

/// A lookup join under way.
struct Run {
    plan: Arc<LookupJoinExec>,
    statement: Arc<StatementContext>,
    context: Arc<TaskContext>,
    /// None at its end.
    outer: Option<SendableRecordBatchStream>,
    /// Outer rows so far.
    seen: u64,
    /// How many to take next.
    chunk_rows: usize,
    /// The join of the rows taken last.
    current: Option<SendableRecordBatchStream>,
    /// Memory of the rows taken last.
    held: MemoryReservation,
    metrics: BaselineMetrics,
    fallbacks: Count,
}

impl Run {
    async fn next(&mut self) -> DfResult<Option<RecordBatch>> {
        loop {
            if let Some(current) = &mut self.current {
                match current.next().await {
                    Some(batch) => {
                        let batch = batch?;
                        self.metrics.record_output(batch.num_rows());
                        return Ok(Some(batch));
                    }
                    None => self.current = None,
                }
            }
            if self.outer.is_none() {
                return Ok(None);
            }
            self.statement.eval.check_canceled().map_err(to_datafusion)?;
            self.start_next().await?;
        }
    }

    /// Takes the next outer rows and starts their join.
    async fn start_next(&mut self) -> DfResult<()> {
        self.held.free();
        let most = self.plan.rows_max.saturating_add(1);
        let wanted = if self.plan.by_outer_row() { self.chunk_rows as u64 } else { most };
        self.chunk_rows = (self.chunk_rows * 4).min(CHUNK_ROWS_MAX);
        let mut taken: Vec<RecordBatch> = Vec::new();
        let mut rows = 0;
        while rows < wanted {
            let Some(outer) = &mut self.outer else { break };
            match outer.next().await {
                Some(batch) => {
                    let batch = batch?;
                    self.held.try_grow(batch.get_array_memory_size())?;
                    rows += batch.num_rows() as u64;
                    taken.push(batch);
                }
                None => self.outer = None,
            }
        }
        if rows == 0 {
            return Ok(());
        }
        self.seen += rows;
        let narrowed = if self.seen < most { self.plan.narrowed(&self.statement, &taken)? } else { None };
        let plan = self.plan.clone();
        let taken = futures::stream::iter(taken.into_iter().map(Ok));
        let schema = plan.outer.schema();
        let (inner, outer): (_, SendableRecordBatchStream) = match narrowed {
            Some(inner) => (inner, Box::pin(RecordBatchStreamAdapter::new(schema, taken))),
            None => {
                self.fallbacks.add(1);
                let rest = self.outer.take();
                let rest = futures::stream::iter(rest).flatten();
                (plan.inner.clone(), Box::pin(RecordBatchStreamAdapter::new(schema, taken.chain(rest))))
            }
        };
        let join = plan.joined(Arc::new(Given::new(outer)), inner)?;
        self.current = Some(execute_stream(join, self.context.clone())?);
        Ok(())
    }
}

/// Rows that are there already, or come from somewhere else; once.
struct Given {
    stream: Mutex<Option<SendableRecordBatchStream>>,
    properties: Arc<PlanProperties>,
}

impl Given {
    fn new(stream: SendableRecordBatchStream) -> Self {
        let schema: SchemaRef = stream.schema();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Given { stream: Mutex::new(Some(stream)), properties: Arc::new(properties) }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

shown_by_name!(Given);

impl ExecutionPlan for Given {
    without_inputs!("Given");

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        match self.stream.lock().take() {
            Some(stream) => Ok(stream),
            None => internal_err!("rows that come once were asked for again"),
        }
    }
}
