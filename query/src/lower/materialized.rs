//! Rows that are computed once and read several times: in memory while they are few, else on the disk.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SpillFile;
use datafusion::execution::memory_pool::{MemoryLimit, MemoryReservation};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use stratos_types::{Error, Result};

use super::context::StatementContext;
use super::error::error_from;
use super::pool::kept_rows;
use crate::scan::rename;

/// The part of the queries' memory that one such set of rows may have. They lie idle while what reads them needs memory.
const MEMORY_DIVISOR: usize = 8;
/// The same in a second attempt, after there was too little.
const FRUGAL_MEMORY_DIVISOR: usize = 64;

/// Rows, and where they are.
pub(super) struct Materialized(Place);

enum Place {
    /// With what is set aside for them.
    Memory {
        batches: Arc<Vec<RecordBatch>>,
        _reservation: MemoryReservation,
    },
    Disk(SpillManager, Arc<dyn SpillFile>),
}

impl Materialized {
    /// Takes all rows. Their columns get the names of the schema.
    ///
    /// # Errors
    /// Those of the rows and of the disk.
    pub async fn of(
        mut rows: BoxStream<'static, Result<RecordBatch>>,
        schema: SchemaRef,
        statement: &StatementContext,
    ) -> Result<Materialized> {
        let pool = statement.runtime.memory_pool();
        let divisor = if statement.frugal { FRUGAL_MEMORY_DIVISOR } else { MEMORY_DIVISOR };
        let bytes_max = match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / divisor,
            _ => usize::MAX,
        };
        let memory = kept_rows(pool);
        let mut held = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            let bytes = batch.get_array_memory_size();
            let fits = memory.size() + bytes <= bytes_max && memory.try_grow(bytes).is_ok();
            held.push(batch);
            if !fits {
                let place = to_disk(held, rows, schema, statement).await?;
                return Ok(Materialized(place));
            }
        }
        Ok(Materialized(Place::Memory { batches: Arc::new(held), _reservation: memory }))
    }

    /// All rows, from the first one.
    pub fn read(&self) -> BoxStream<'static, Result<RecordBatch>> {
        match &self.0 {
            Place::Memory { batches, .. } => replay(batches.clone()),
            Place::Disk(spills, file) => match spills.read_spill_as_stream(file.clone(), None) {
                Ok(rows) => rows.map_err(error_from).boxed(),
                Err(error) => stream::once(async { Err(error_from(error)) }).boxed(),
            },
        }
    }
}

/// Batches one after another.
pub(super) fn replay(batches: Arc<Vec<RecordBatch>>) -> BoxStream<'static, Result<RecordBatch>> {
    let count = batches.len();
    stream::iter((0..count).map(move |i| Ok(batches[i].clone()))).boxed()
}

/// Writes what was held, and what comes.
async fn to_disk(
    held: Vec<RecordBatch>,
    mut rows: BoxStream<'static, Result<RecordBatch>>,
    schema: SchemaRef,
    statement: &StatementContext,
) -> Result<Place> {
    let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    let spills = statement.runtime.spills(metrics, schema.clone());
    let mut file = spills.create_in_progress_file("rows that are read several times").map_err(error_from)?;
    for batch in held {
        file.append_batch(&rename(&batch, &schema)?).map_err(error_from)?;
    }
    while let Some(batch) = rows.try_next().await? {
        statement.eval.check_canceled()?;
        file.append_batch(&rename(&batch, &schema)?).map_err(error_from)?;
    }
    match file.finish().map_err(error_from)? {
        Some(file) => Ok(Place::Disk(spills, file)),
        None => Err(Error::internal("rows that were not written")),
    }
}
