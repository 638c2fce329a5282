//! Grouping by sorting, for aggregates that need all of their rows at once or in an order: the rows of one group follow each
//! other, and those of one aggregate within it. It is how PostgreSQL does it. What does not fit into memory goes to disk.
//!
//! Hashing is faster as long as there is memory for it, so this is for the second attempt at a statement (`frugal`), and for
//! who turns hashing off (`enable_hashagg`).

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::{Result as DfResult, internal_err};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, PlanProperties};
use futures::StreamExt;
use stratos_types::{Datum, Error, PgType, Result, key};

use super::accumulate::SortOrder;
use super::aggregate::{gathers, keep_order, shows_order};
use super::context::{StatementContext, statement_of};
use super::error::{error_from, to_datafusion};
use super::expr::column_name;
use super::extension::{Operator, operator_plan};
use super::fold::{Call, Charge, Running, column_bytes};
use super::operators::{shown_by_name, with_an_input};
use super::records::RowCodec;
use super::rel::{Lowerer, project};
use super::sorter::Sorter;
use crate::arrow::{ColumnBuilder, ColumnReader, arrow_type};
use crate::ir::{AggregateCall, Expr, ExprKind, OutputColumn, Rel, SubqueryKind};

/// Bytes of values after which a batch of the output is handed on.
const OUTPUT_BYTES: usize = 1 << 20;
/// Rows of the output in a batch.
const OUTPUT_ROWS: usize = 1024;
/// Rows between two moments in which others may use the thread.
const ROWS_PER_TURN: usize = 8192;

/// What a grouping computes of its input's columns.
pub(super) struct SortedGroups {
    /// The input's columns. The first ones are the keys.
    names: Vec<String>,
    types: Vec<PgType>,
    keys: usize,
    sets: Vec<Vec<usize>>,
    calls: Vec<Arc<Call>>,
    /// Keys of each `GROUPING(…)`.
    groupings: Vec<Vec<usize>>,
}

/// Whether a relation has aggregates of the kind that this is for, or other values that are kept in memory unless there is little.
pub(super) fn keeps_rows(rel: &Rel) -> bool {
    let here = match rel {
        Rel::Aggregate { aggregates, .. } => aggregates.iter().any(|(_, call)| gathers(call)),
        _ => false,
    };
    let below = |e: &Expr| {
        let mut found = false;
        e.walk(&mut |e| {
            if let ExprKind::Subquery { kind, query } = &e.kind {
                found = found || matches!(kind, SubqueryKind::Quantified { .. }) || keeps_rows(query);
            }
        });
        found
    };
    here || rel.inputs().into_iter().any(keeps_rows) || rel.exprs().into_iter().any(below)
}

impl Lowerer<'_> {
    /// A grouping by sorting; its columns are those of the relation.
    pub(super) fn sorted_groups(
        &self,
        input: &Rel,
        group_by: &[(OutputColumn, Expr)],
        grouping_sets: Option<&[Vec<usize>]>,
        aggregates: &[(OutputColumn, AggregateCall)],
        groupings: &[(OutputColumn, Vec<usize>)],
    ) -> Result<LogicalPlan> {
        let mut plan = self.rel(input)?;
        if aggregates.iter().any(|(_, call)| shows_order(call)) {
            plan = keep_order(plan);
        }
        let (mut names, mut types, mut exprs) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |e: &Expr| -> Result<usize> {
            let name = self.fresh("g");
            exprs.push(self.expr(e)?.alias(name.clone()));
            names.push(name);
            types.push(e.ty.ty);
            Ok(types.len() - 1)
        };
        for (_, e) in group_by {
            add(e)?;
        }
        let mut calls = Vec::with_capacity(aggregates.len());
        for (_, call) in aggregates {
            let mut args = call.args.iter().map(&mut add).collect::<Result<Vec<_>>>()?;
            let mut arg_types: Vec<PgType> = call.args.iter().map(|e| e.ty.ty).collect();
            let mut order = Vec::with_capacity(call.order_by.len());
            for sort in &call.order_by {
                let (column, ty) = (add(&sort.expr)?, sort.expr.ty.ty);
                order.push((column, ty, SortOrder { descending: sort.descending, nulls_first: sort.nulls_first }));
                if call.aggregate.kind.is_ordered_set() {
                    // The ordered values are arguments too, after the direct ones.
                    args.push(column);
                    arg_types.push(ty);
                }
            }
            calls.push(Arc::new(Call {
                aggregate: call.aggregate,
                types: arg_types,
                args,
                order,
                distinct: call.distinct,
                filter: call.filter.as_ref().map(&mut add).transpose()?,
                ret: call.ty.ty,
            }));
        }
        let output = group_by.iter().map(|(c, e)| (c, e.ty.ty));
        let output = output.chain(aggregates.iter().map(|(c, call)| (c, call.ty.ty)));
        let output = output.chain(groupings.iter().map(|(c, _)| (c, PgType::Int4)));
        let fields = output.map(|(c, ty)| Arc::new(Field::new(column_name(c.id), arrow_type(ty), true))).collect();
        let spec = SortedGroups {
            names,
            types,
            keys: group_by.len(),
            sets: grouping_sets.map_or_else(|| vec![(0..group_by.len()).collect()], <[_]>::to_vec),
            calls,
            groupings: groupings.iter().map(|(_, keys)| keys.clone()).collect(),
        };
        operator_plan(spec, project(plan, exprs)?, fields)
    }
}

impl Operator for SortedGroups {
    const NAME: &'static str = "SortedGroups";

    fn execution(self: Arc<Self>, input: Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Arc<dyn ExecutionPlan> {
        Arc::new(SortedGroupsExec::new(input, self, schema))
    }
}

/// Groups by sorting.
pub(super) struct SortedGroupsExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<SortedGroups>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SortedGroupsExec {
    fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<SortedGroups>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        SortedGroupsExec { input, spec, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// Where a column of the grouping is in the input.
    fn position(&self, column: usize) -> DfResult<usize> {
        match self.spec.names.get(column) {
            Some(name) => Ok(self.input.schema().index_of(name)?),
            None => internal_err!("a grouping has no column {column}"),
        }
    }

    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// What it groups by, of its input, in each grouping set.
    pub fn keys(&self) -> DfResult<Vec<Vec<Arc<dyn PhysicalExpr>>>> {
        let key = |column: &usize| -> DfResult<Arc<dyn PhysicalExpr>> {
            Ok(Arc::new(Column::new(&self.spec.names[*column], self.position(*column)?)))
        };
        self.spec.sets.iter().map(|set| set.iter().map(key).collect()).collect()
    }
}

impl fmt::Debug for SortedGroupsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SortedGroupsExec")
    }
}

shown_by_name!(SortedGroupsExec);

impl ExecutionPlan for SortedGroupsExec {
    with_an_input!("SortedGroupsExec", |this, input| SortedGroupsExec::new(input, this.spec.clone(), this.schema()));

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("a grouping by sorting has one partition");
        }
        let statement = statement_of(context.session_config().options())?.clone();
        let schema = self.schema();
        let columns = (0..self.spec.names.len()).map(|column| self.position(column)).collect::<DfResult<Vec<_>>>()?;
        let input = self.input.execute(0, context)?;
        let spills = SpillMetrics::new(&self.metrics, partition);
        let grouping = Grouping::new(self.spec.clone(), statement, schema.clone(), spills).map_err(to_datafusion)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let stages = Stages { input: Some((input, columns)), grouping, metrics };
        let stream = futures::stream::try_unfold(stages, |mut stages| async move {
            let next = stages.next().await.map_err(to_datafusion)?;
            Ok(next.map(|batch| (batch, stages)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// All rows in, then all groups out.
struct Stages {
    /// What is read, and where in it the columns are.
    input: Option<(SendableRecordBatchStream, Vec<usize>)>,
    grouping: Grouping,
    metrics: BaselineMetrics,
}

impl Stages {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some((input, columns)) = &mut self.input {
            while let Some(batch) = input.next().await {
                let batch = batch.map_err(error_from)?;
                let _computing = self.metrics.elapsed_compute().timer();
                self.grouping.statement.eval.check_canceled()?;
                self.grouping.take(&batch, columns)?;
            }
            // What is below gives back its memory.
            self.input = None;
            let _computing = self.metrics.elapsed_compute().timer();
            self.grouping.sort()?;
        }
        loop {
            {
                let _computing = self.metrics.elapsed_compute().timer();
                if self.grouping.turn()? {
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        let batch = self.grouping.output()?;
        self.metrics.record_output(batch.as_ref().map_or(0, RecordBatch::num_rows));
        Ok(batch)
    }
}

/// A grouping under way.
struct Grouping {
    spec: Arc<SortedGroups>,
    statement: Arc<StatementContext>,
    schema: SchemaRef,
    /// Rows by group; none where all of them are one group.
    sorter: Option<Sorter>,
    codec: RowCodec,
    running: Vec<Running>,
    values: Vec<ColumnBuilder>,
    keys: Vec<ColumnBuilder>,
    groupings: Vec<ColumnBuilder>,
    /// Charged for the values of the keys in the output.
    charge: Charge,
    held: Option<MemoryReservation>,
    /// The group that is being read: its set, and its key behind the number of the set.
    group: Option<Vec<u8>>,
    /// The first row of the group behind it, which waits until there is room in the output.
    waiting: Option<(Vec<u8>, Vec<u8>)>,
    /// Sets before this one are done, or have a group.
    set: usize,
    row: Vec<Datum>,
    /// Groups in the output.
    rows: usize,
    ended: bool,
}

/// Bytes of the number of a grouping set before a key.
const SET_BYTES: usize = 4;

fn set_of(key: &[u8]) -> usize {
    key.first_chunk::<SET_BYTES>().map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize)
}

impl Grouping {
    fn new(
        spec: Arc<SortedGroups>,
        statement: Arc<StatementContext>,
        schema: SchemaRef,
        spills: SpillMetrics,
    ) -> Result<Grouping> {
        let charge = Charge::new(statement.runtime.memory_pool());
        // Without keys there is one group, whatever comes.
        let one_group = matches!(spec.sets.as_slice(), [set] if set.is_empty());
        let running =
            spec.calls.iter().map(|call| Running::new(call.clone(), &statement, charge.clone(), spills.clone()));
        Ok(Grouping {
            running: running.collect::<Result<_>>()?,
            sorter: (!one_group).then(|| Sorter::new(&statement, "sorted groups", spills)),
            codec: RowCodec::new(spec.types.clone()),
            values: spec.calls.iter().map(|call| ColumnBuilder::new(call.ret, 0)).collect(),
            keys: spec.types[..spec.keys].iter().map(|ty| ColumnBuilder::new(*ty, 0)).collect(),
            groupings: spec.groupings.iter().map(|_| ColumnBuilder::new(PgType::Int4, 0)).collect(),
            charge,
            held: None,
            group: None,
            waiting: None,
            set: 0,
            row: Vec::new(),
            rows: 0,
            ended: false,
            spec,
            statement,
            schema,
        })
    }

    fn take(&mut self, batch: &RecordBatch, columns: &[usize]) -> Result<()> {
        let readers = columns.iter().zip(&self.spec.types);
        let readers = readers.map(|(column, ty)| ColumnReader::new(batch.column(*column).clone(), *ty));
        let readers = readers.collect::<Result<Vec<_>>>()?;
        let mut key = Vec::new();
        for at in 0..batch.num_rows() {
            self.row.clear();
            for reader in &readers {
                self.row.push(reader.get(at)?);
            }
            let Some(sorter) = &mut self.sorter else {
                feed(&mut self.running, &mut self.values, &self.row)?;
                continue;
            };
            let payload = self.codec.encode(&self.row)?;
            for (number, set) in self.spec.sets.iter().enumerate() {
                key.clear();
                key.extend_from_slice(&(number as u32).to_be_bytes());
                for column in set {
                    key::encode_column(&mut key, self.spec.types[*column], &self.row[*column], false, false);
                }
                sorter.push(&key, payload)?;
            }
        }
        Ok(())
    }

    fn sort(&mut self) -> Result<()> {
        self.sorter.as_mut().map_or(Ok(()), Sorter::finish)
    }

    /// Goes on for a while. True once there is a batch of the output, or nothing more to do.
    fn turn(&mut self) -> Result<bool> {
        self.statement.eval.check_canceled()?;
        for _ in 0..ROWS_PER_TURN {
            if self.ended {
                return Ok(true);
            }
            let (key, payload) = match self.waiting.take() {
                Some(first) => first,
                None => match self.next_row()? {
                    Some(first) if self.is_full() => {
                        self.waiting = Some(first);
                        return Ok(true);
                    }
                    Some(first) => first,
                    None => continue,
                },
            };
            let set = set_of(&key);
            self.end_sets(set)?;
            self.set = self.set.max(set + 1);
            self.codec.decode(&payload, &mut self.row)?;
            self.begin_group(set)?;
            self.group = Some(key);
            feed(&mut self.running, &mut self.values, &self.row)?;
        }
        Ok(false)
    }

    /// Adds the next row to its group. One that begins another group is given back, once the group before it has ended.
    fn next_row(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        let first = match &mut self.sorter {
            None => None,
            Some(sorter) => match sorter.next()? {
                Some(record) if self.group.as_deref() == Some(record.key) => {
                    self.codec.decode(record.payload, &mut self.row)?;
                    feed(&mut self.running, &mut self.values, &self.row)?;
                    return Ok(None);
                }
                other => other.map(|record| (record.key.to_vec(), record.payload.to_vec())),
            },
        };
        if self.group.take().is_some() {
            self.end_group()?;
        }
        if first.is_none() {
            self.end_sets(self.spec.sets.len())?;
            self.ended = true;
        }
        Ok(first)
    }

    /// Gives the groups of sets without keys that no row has come for, up to a set.
    fn end_sets(&mut self, next: usize) -> Result<()> {
        for number in self.set..next {
            if self.spec.sets[number].is_empty() {
                self.begin_group(number)?;
                self.end_group()?;
            }
        }
        self.set = self.set.max(next);
        Ok(())
    }

    /// Gives the keys of a group, of the row that is at hand.
    fn begin_group(&mut self, number: usize) -> Result<()> {
        let set = &self.spec.sets[number];
        for (column, out) in self.keys.iter_mut().enumerate() {
            let value = if set.contains(&column) { &self.row[column] } else { &Datum::Null };
            self.charge.grow(&mut self.held, column_bytes(value))?;
            out.push(value)?;
        }
        for (keys, out) in self.spec.groupings.iter().zip(&mut self.groupings) {
            let mut bits = 0_i32;
            for key in keys {
                bits = bits.checked_mul(2).ok_or_else(|| Error::unsupported("GROUPING of more than 31 arguments"))?;
                bits += i32::from(!set.contains(key));
            }
            out.push(&Datum::Int4(bits))?;
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<()> {
        for (running, out) in self.running.iter_mut().zip(&mut self.values) {
            running.end(out)?;
        }
        self.rows += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        let bytes = self.held.as_ref().map_or(0, MemoryReservation::size)
            + self.running.iter().map(Running::output_bytes).sum::<usize>();
        self.rows >= OUTPUT_ROWS || bytes >= OUTPUT_BYTES
    }

    /// The groups that are ready; none at the end.
    fn output(&mut self) -> Result<Option<RecordBatch>> {
        let rows = std::mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(None);
        }
        let builders = self.keys.iter_mut().chain(&mut self.values).chain(&mut self.groupings);
        let columns = builders.map(ColumnBuilder::finish).collect();
        self.running.iter_mut().for_each(Running::forget_output);
        self.held = None;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map(Some)
            .map_err(|e| Error::internal(format!("columns of groups: {e}")))
    }
}

/// Adds a row to each aggregate.
fn feed(running: &mut [Running], values: &mut [ColumnBuilder], row: &[Datum]) -> Result<()> {
    running.iter_mut().zip(values).try_for_each(|(running, out)| running.take(row, out))
}
