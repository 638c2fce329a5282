//! Window functions' memory.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result as DfResult, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{ExecutionPlan, PlanProperties, replace_children_if_necessary};
use futures::StreamExt;

use super::operators::{EachOperator, shown_by_name, with_an_input};

/// How often the rows are in memory at once: as they came, and as the one batch that is made of them.
const COPIES: usize = 2;

/// Charges the rows that window functions over whole partitions keep to the memory of queries, which DataFusion does not do
/// itself.
pub(super) const CHARGE_WINDOWS: EachOperator = EachOperator { name: "charge_windows", rewrite: charge_window };

fn charge_window(plan: Arc<dyn ExecutionPlan>) -> DfResult<Transformed<Arc<dyn ExecutionPlan>>> {
    if plan.downcast_ref::<WindowAggExec>().is_none() {
        return Ok(Transformed::no(plan));
    }
    Ok(Transformed::yes(Arc::new(ChargedExec { input: plan, role: Role::Window })))
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

shown_by_name!(ChargedExec);

impl ExecutionPlan for ChargedExec {
    with_an_input!("ChargedExec", |this, input| ChargedExec { input, role: this.role.clone() });

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
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
