//! Tables whose rows are computed: one table, one operator, and a trait for where the batches come from.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Result as DfResult, Statistics, internal_err};
use datafusion::datasource::TableType;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use stratos_types::{Error, Result};

use crate::arrow::arrow_type;
use crate::ir::OutputColumn;
use crate::lower::operators::without_inputs;
use crate::lower::{StatementContext, statement_of, to_datafusion};

/// Where computed rows come from.
pub(crate) trait BatchSource: fmt::Debug + Send + Sync {
    /// What EXPLAIN says.
    fn describe(&self) -> String;
    /// Starts over at each call. Columns by position.
    fn stream(&self, statement: Arc<StatementContext>) -> BoxStream<'static, Result<RecordBatch>>;
    /// A guess of how many rows there are.
    fn rows(&self) -> Option<usize> {
        None
    }
}

/// A table of computed rows.
#[derive(Debug)]
pub(crate) struct SourceTable {
    schema: SchemaRef,
    source: Arc<dyn BatchSource>,
}

impl SourceTable {
    /// Fields are named after the columns' identities.
    pub fn new(columns: &[OutputColumn], source: Arc<dyn BatchSource>) -> Self {
        SourceTable { schema: schema_of(columns), source }
    }
}

/// The schema of columns in plans.
pub(crate) fn schema_of(columns: &[OutputColumn]) -> SchemaRef {
    Arc::new(Schema::new(
        columns.iter().map(|c| Field::new(format!("c{}", c.id.0), arrow_type(c.ty.ty), true)).collect::<Vec<_>>(),
    ))
}

/// The same columns under the names of another schema.
///
/// # Errors
/// Internal, when types differ.
pub(crate) fn rename(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    RecordBatch::try_new_with_options(
        schema.clone(),
        batch.columns().to_vec(),
        &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
    .map_err(|e| Error::internal(format!("columns of a computed table: {e}")))
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let projection: Vec<usize> = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let schema = Arc::new(self.schema.project(&projection)?);
        Ok(Arc::new(SourceExec {
            source: self.source.clone(),
            full: self.schema.clone(),
            projection,
            limit,
            properties: Arc::new(PlanProperties::new(
                EquivalenceProperties::new(schema),
                Partitioning::UnknownPartitioning(1),
                EmissionType::Incremental,
                Boundedness::Bounded,
            )),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }
}

/// Reads a [`SourceTable`].
#[derive(Debug)]
struct SourceExec {
    source: Arc<dyn BatchSource>,
    full: SchemaRef,
    projection: Vec<usize>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.describe())
    }
}

impl ExecutionPlan for SourceExec {
    without_inputs!("SourceExec");

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("computed tables have one partition");
        }
        let statement = statement_of(context.session_config().options())?.clone();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (full, projection) = (self.full.clone(), self.projection.clone());
        let mut left = self.limit.unwrap_or(usize::MAX);
        let rows_max = context.session_config().batch_size().max(1);
        let source = self.source.stream(statement).map(move |batch| {
            // In parts, where a batch shall be smaller than most are.
            let parts = batch.map(|batch| {
                let rows = batch.num_rows();
                let part = move |at: usize| batch.slice(at, rows_max.min(rows - at));
                stream::iter((0..rows).step_by(rows_max).map(part).map(Ok))
            });
            match parts {
                Ok(parts) => parts.left_stream(),
                Err(error) => stream::once(std::future::ready(Err(error))).right_stream(),
            }
        });
        let stream = source.flatten().map(move |batch| {
            let batch = rename(&batch.map_err(to_datafusion)?, &full).map_err(to_datafusion)?;
            let rows = batch.num_rows().min(left);
            left -= rows;
            let batch = batch.slice(0, rows).project(&projection)?;
            metrics.record_output(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, _: Option<usize>) -> DfResult<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if let Some(rows) = self.source.rows() {
            statistics.num_rows = Precision::Inexact(rows);
        }
        Ok(Arc::new(statistics))
    }
}
