//! Window functions' memory.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as DfResult, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use futures::StreamExt;

/// How often the rows are in memory at once: as they came, and as the one batch that is made of them.
const COPIES: usize = 2;

/// Charges the rows that window functions over whole partitions keep to the memory of queries, which DataFusion does not do
/// itself.
#[derive(Debug)]
pub(super) struct ChargeWindows;

impl PhysicalOptimizerRule for ChargeWindows {
    fn name(&self) -> &str {
        "charge_windows"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            if plan.downcast_ref::<WindowAggExec>().is_none() {
                return Ok(Transformed::no(plan));
            }
            Ok(Transformed::yes(Arc::new(ChargedExec { input: plan, role: Role::Window })))
        })
        .map(|transformed| transformed.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// An operator on the way of rows that are charged: gives the rows of its input.
#[derive(Debug)]
struct ChargedExec {
    input: Arc<dyn ExecutionPlan>,
    role: Role,
}

/// On which side of a window operator one stands.
#[derive(Debug, Clone)]
enum Role {
    /// Above it, which is its input: what it keeps is charged from the first row to the end of the stream.
    Window,
    /// Below it, in one execution: its rows are charged.
    Rows(Arc<MemoryReservation>),
}

impl DisplayAs for ChargedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for ChargedExec {
    fn name(&self) -> &str {
        "ChargedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(ChargedExec { input, role: self.role.clone() })),
            _ => internal_err!("a charged operator has one input"),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        match &self.role {
            Role::Window => self.run_window(partition, context),
            Role::Rows(reservation) => {
                let rows = self.input.execute(partition, context)?;
                Ok(charged(rows, reservation.clone()))
            }
        }
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.input.metrics()
    }
}

impl ChargedExec {
    fn run_window(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let [input] = self.input.children()[..] else { return internal_err!("a window operator has one input") };
        let reservation = MemoryConsumer::new(format!("window functions {partition}")).register(context.memory_pool());
        let reservation = Arc::new(reservation);
        let rows = ChargedExec { input: input.clone(), role: Role::Rows(reservation.clone()) };
        let window = replace_children_if_necessary(self.input.clone(), vec![Arc::new(rows)])?;
        let output = window.execute(partition, context)?;
        let schema = output.schema();
        // What is charged is held until the output is gone.
        let output = output.inspect(move |_| {
            let _ = &reservation;
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, output)))
    }
}

/// Rows that are charged as they come.
fn charged(rows: SendableRecordBatchStream, reservation: Arc<MemoryReservation>) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let rows = rows.map(move |batch| {
        let batch = batch?;
        for column in batch.columns() {
            // Of slices their part: what they are slices of is counted where it is kept.
            reservation.try_grow(COPIES * column.to_data().get_slice_memory_size()?)?;
        }
        Ok(batch)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, rows))
}
