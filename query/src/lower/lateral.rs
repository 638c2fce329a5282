//! Lateral joins: the right side is evaluated for each row of the left.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;
use stratos_types::{Datum, Error, PgType, Result};

use super::context::{StatementContext, statement_of};
use super::error::{error_from, to_datafusion};
use super::expr::column_name;
use super::extension::{Operator, operator_plan};
use super::memo::Memo;
use super::operators::{shown_by_name, with_an_input};
use super::rel::Lowerer;
use super::repeated::Repeated;
use super::runtime::BATCH_ROWS;
use super::walk::Facts;
use crate::arrow::{ColumnBuilder, arrow_type, datum_at};
use crate::eval::{Layout, Program};
use crate::ir::{ColumnId, Expr, ExprKind, JoinKind, OutputColumn, Rel};
use crate::scan::FunctionRows;

/// Right sides remembered per partition.
const MEMO_ENTRIES_MAX: usize = 1024;

/// What a lateral join does.
pub(super) struct LateralJoin {
    right: Rel,
    columns: Vec<OutputColumn>,
    repeated: Repeated,
    /// What a function on the right is given, of the outer columns, where that needs no plan.
    args: Option<Vec<Program>>,
    /// Rows of the left without a match stay.
    keep_left: bool,
    volatile: bool,
}

impl Lowerer<'_> {
    pub(super) fn lateral(
        &self,
        left: &Rel,
        right: &Rel,
        kind: JoinKind,
        on: Option<&Expr>,
        _outer: Vec<(ColumnId, PgType)>,
    ) -> Result<LogicalPlan> {
        self.tie_to_execution();
        if matches!(kind, JoinKind::Right | JoinKind::Full) {
            // Postgres refuses these when the right side refers to the left.
            return Err(Error::new(
                stratos_types::ErrorKind::InvalidColumnReference,
                "the combining JOIN type must be INNER or LEFT for a LATERAL reference",
            ));
        }
        let columns = right.output();
        let always = |on: &&Expr| matches!(on.kind, ExprKind::Literal(Datum::Bool(true)));
        let right = match on.filter(|on| !always(on)) {
            Some(on) => Rel::Filter { input: Box::new(right.clone()), predicate: on.clone() },
            None => right.clone(),
        };
        let input = self.query(left)?;
        let mut fields: Vec<Arc<Field>> = input.schema().fields().iter().cloned().collect();
        fields.extend(columns.iter().map(|c| Arc::new(Field::new(column_name(c.id), arrow_type(c.ty.ty), true))));
        let needed = self.needed_from(&right, left);
        let args = match &right {
            Rel::TableFunction { args, .. } if !args.iter().any(Expr::has_subquery) => {
                let layout = Layout::new(needed.iter().map(|(id, _)| *id));
                args.iter().map(|e| Program::compile(e, &layout)).collect::<Result<_>>().ok()
            }
            _ => None,
        };
        let spec = LateralJoin {
            args,
            repeated: Repeated::new(self.env.clone(), needed),
            volatile: Facts::of(&right).volatile,
            right,
            columns,
            keep_left: kind == JoinKind::Left,
        };
        operator_plan(spec, input, fields)
    }
}

impl Operator for LateralJoin {
    const NAME: &'static str = "Lateral";

    fn own_columns(&self, _: &DFSchema) -> HashSet<String> {
        self.columns.iter().map(|c| column_name(c.id)).collect()
    }

    fn execution(self: Arc<Self>, input: Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Arc<dyn ExecutionPlan> {
        Arc::new(LateralExec::new(input, self, schema))
    }
}

/// Runs the right side for each row of its input.
#[derive(Clone)]
pub(super) struct LateralExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<LateralJoin>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LateralExec {
    fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<LateralJoin>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        LateralExec { input, spec, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl fmt::Debug for LateralExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LateralExec")
    }
}

shown_by_name!(LateralExec);

impl ExecutionPlan for LateralExec {
    with_an_input!("LateralExec", |this, input| LateralExec::new(input, this.spec.clone(), this.schema()));

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let statement = statement_of(context.session_config().options())?.clone();
        let names: HashMap<String, usize> =
            self.input.schema().fields().iter().enumerate().map(|(i, f)| (f.name().clone(), i)).collect();
        let schema = self.schema();
        let run = Run {
            input: self.input.execute(partition, context.clone())?,
            joiner: Joiner::new(self.spec.clone(), schema.clone()),
            spec: self.spec.clone(),
            statement,
            names,
            memo: Memo::new(MEMO_ENTRIES_MAX, context.memory_pool()),
            held: MemoryConsumer::new("LateralJoin").register(context.memory_pool()),
            current: None,
            ready: VecDeque::new(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let stream = futures::stream::try_unfold(run, |mut run| async move {
            let next = run.next().await?;
            Ok(next.map(|batch| (batch, run)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One partition under way.
struct Run {
    input: SendableRecordBatchStream,
    joiner: Joiner,
    spec: Arc<LateralJoin>,
    statement: Arc<StatementContext>,
    names: HashMap<String, usize>,
    memo: Memo<RightSide>,
    /// Reserves nothing itself: what is held of right sides and results is reserved beside it.
    held: MemoryReservation,
    /// The left batch in work, and its next row.
    current: Option<(RecordBatch, usize)>,
    /// Results that were not asked for yet, with their memory.
    ready: VecDeque<(RecordBatch, MemoryReservation)>,
    metrics: BaselineMetrics,
}

impl Run {
    async fn next(&mut self) -> DfResult<Option<RecordBatch>> {
        loop {
            if let Some((batch, _)) = self.ready.pop_front() {
                self.metrics.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
            let Some((batch, row)) = self.current.take() else {
                match self.input.next().await {
                    Some(batch) => self.current = Some((batch?, 0)),
                    None => return Ok(None),
                }
                continue;
            };
            if row == batch.num_rows() {
                // Rows kept so far refer to this batch: they go out before the next one comes.
                let rest = self.joiner.flush(&batch).map_err(to_datafusion)?;
                self.put_ready(rest)?;
                continue;
            }
            let out = self.step(&batch, row).await.map_err(to_datafusion)?;
            self.put_ready(out)?;
            self.current = Some((batch, row + 1));
        }
    }

    async fn step(&mut self, batch: &RecordBatch, row: usize) -> Result<Vec<RecordBatch>> {
        let outer = outer_values(&self.spec, &self.names, batch, row)?;
        let right = right_side(&self.statement, &self.spec, outer, &mut self.memo, &self.held).await?;
        self.joiner.add(batch, row, &right.rows)
    }

    fn put_ready(&mut self, batches: impl IntoIterator<Item = RecordBatch>) -> DfResult<()> {
        for batch in batches {
            let memory = self.held.new_empty();
            reserve(&memory, &batch)?;
            self.ready.push_back((batch, memory));
        }
        Ok(())
    }
}

fn outer_values(
    spec: &LateralJoin,
    names: &HashMap<String, usize>,
    batch: &RecordBatch,
    row: usize,
) -> Result<Vec<Datum>> {
    spec.repeated
        .outer()
        .iter()
        .map(|(id, ty)| {
            let at = names
                .get(&column_name(*id))
                .ok_or_else(|| Error::internal("an outer column that the left side lacks"))?;
            datum_at(batch.column(*at).as_ref(), row, *ty)
        })
        .collect()
}

/// The rows that belong to a row of the left, with the memory that is set aside for them.
struct RightSide {
    rows: Rows,
    memory: MemoryReservation,
}

enum Rows {
    /// Of a plan or a function.
    Batches(Vec<RecordBatch>),
    /// Few, by key or computed.
    Few(Vec<Vec<Datum>>),
}

/// Sets memory aside for what is of a batch: buffers may be others' too.
fn reserve(memory: &MemoryReservation, batch: &RecordBatch) -> DfResult<()> {
    for column in batch.columns() {
        memory.try_grow(column.to_data().get_slice_memory_size()?)?;
    }
    Ok(())
}

async fn right_side(
    statement: &Arc<StatementContext>,
    spec: &LateralJoin,
    outer: Vec<Datum>,
    memo: &mut Memo<RightSide>,
    held: &MemoryReservation,
) -> Result<Arc<RightSide>> {
    // What is as soon done as looked up is not remembered.
    let key = (!spec.volatile && !spec.repeated.only_computes()).then(|| format!("{outer:?}"));
    if let Some(found) = key.as_ref().and_then(|key| memo.get(key)) {
        return Ok(found);
    }
    statement.eval.check_canceled()?;
    let memory = held.new_empty();
    let mut batches = Vec::new();
    let mut few = None;
    if let Rel::TableFunction { function, args, columns, ordinality } = &spec.right {
        // No plan is needed to call a function.
        let args = match &spec.args {
            Some(programs) => {
                let value =
                    |program: &Program| Ok((program.ty().ty, program.run(&outer, &statement.params, &statement.eval)?));
                programs.iter().map(value).collect::<Result<Vec<_>>>()?
            }
            None => {
                let lowerer = Lowerer::new(statement, spec.repeated.bound(&outer));
                args.iter().map(|e| Ok((e.ty.ty, lowerer.constant(e)?))).collect::<Result<Vec<_>>>()?
            }
        };
        let mut rows = FunctionRows::new(&statement.eval, *function, &args, columns, *ordinality)?;
        while let Some(batch) = rows.next_batch(BATCH_ROWS)? {
            statement.eval.check_canceled()?;
            reserve(&memory, &batch).map_err(error_from)?;
            batches.push(batch);
        }
    } else if let Some(rows) = spec.repeated.rows_by_key(statement, &spec.right, &outer)? {
        let bytes: usize = rows.iter().flatten().map(Datum::size_bytes).sum();
        memory.try_grow(bytes).map_err(error_from)?;
        few = Some(rows);
    } else {
        let mut stream = spec.repeated.start(statement, &spec.right, &outer).await?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(error_from)?;
            reserve(&memory, &batch).map_err(error_from)?;
            batches.push(batch);
        }
    }
    let rows = few.map_or(Rows::Batches(batches), Rows::Few);
    let right = Arc::new(RightSide { rows, memory });
    if let Some(key) = key {
        memo.insert(key, right.clone(), right.memory.size());
    }
    Ok(right)
}

/// Puts rows of the left beside their right sides, in batches of a good size.
struct Joiner {
    spec: Arc<LateralJoin>,
    schema: SchemaRef,
    left_rows: Vec<u32>,
    right: Vec<RecordBatch>,
    /// Single rows behind those, and how many.
    open: Vec<ColumnBuilder>,
    open_rows: usize,
}

impl Joiner {
    fn new(spec: Arc<LateralJoin>, schema: SchemaRef) -> Self {
        let open = spec.columns.iter().map(|c| ColumnBuilder::new(c.ty.ty, 0)).collect();
        Joiner { spec, schema, left_rows: Vec::new(), right: Vec::new(), open, open_rows: 0 }
    }

    fn add(&mut self, left: &RecordBatch, row: usize, right: &Rows) -> Result<Vec<RecordBatch>> {
        let row = u32::try_from(row).map_err(|_| Error::internal("a batch is too long"))?;
        let mut out = Vec::new();
        let mut matched = false;
        match right {
            Rows::Batches(batches) => {
                self.close()?;
                for batch in batches {
                    matched |= batch.num_rows() > 0;
                    self.left_rows.extend(std::iter::repeat_n(row, batch.num_rows()));
                    self.right.push(batch.clone());
                    if self.left_rows.len() >= BATCH_ROWS {
                        out.extend(self.flush(left)?);
                    }
                }
            }
            Rows::Few(rows) => {
                for values in rows {
                    matched = true;
                    for (column, value) in self.open.iter_mut().zip(values) {
                        column.push(value)?;
                    }
                    self.left_rows.push(row);
                    self.open_rows += 1;
                    if self.left_rows.len() >= BATCH_ROWS {
                        out.extend(self.flush(left)?);
                    }
                }
            }
        }
        if !matched && self.spec.keep_left {
            self.open.iter_mut().for_each(ColumnBuilder::push_null);
            self.left_rows.push(row);
            self.open_rows += 1;
        }
        Ok(out)
    }

    /// Makes a batch of the single rows.
    fn close(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.open_rows);
        if rows == 0 {
            return Ok(());
        }
        let columns = self.open.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(crate::scan::schema_of(&self.spec.columns), columns, &options);
        self.right.push(batch.map_err(|e| Error::internal(format!("lateral join: {e}")))?);
        Ok(())
    }

    fn flush(&mut self, left: &RecordBatch) -> Result<Option<RecordBatch>> {
        self.close()?;
        if self.left_rows.is_empty() {
            self.right.clear();
            return Ok(None);
        }
        let failed = |e: arrow::error::ArrowError| Error::internal(format!("lateral join: {e}"));
        let rows = self.left_rows.len();
        let indices = UInt32Array::from(std::mem::take(&mut self.left_rows));
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for column in left.columns() {
            columns.push(take(column.as_ref(), &indices, None).map_err(failed)?);
        }
        for at in 0..self.spec.columns.len() {
            let parts: Vec<&dyn arrow::array::Array> =
                self.right.iter().map(|batch| batch.column(at).as_ref()).collect();
            columns.push(arrow::compute::concat(&parts).map_err(failed)?);
        }
        self.right.clear();
        RecordBatch::try_new_with_options(
            self.schema.clone(),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )
        .map(Some)
        .map_err(failed)
    }
}
