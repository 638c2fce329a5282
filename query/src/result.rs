//! What a statement gives back.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::MemoryReservation;
use stratos_types::{Datum, Error, PgType, Result};

use crate::ir::OutputColumn;
use crate::lower::{QueryRuntime, RowStream, error_from, kept_rows};

/// What a statement gives back.
pub enum StatementResult {
    /// Rows, taken with [`crate::session::Session::fetch`].
    Rows(ResultSet),
    /// Nothing but its command tag: `CREATE TABLE`, `INSERT 0 3`.
    Done(String),
    /// There was no statement.
    Empty,
    /// The client has to send rows.
    CopyIn(Box<crate::copy::CopyIn>),
    /// Rows in COPY's format, taken with [`crate::session::Session::copy_out`].
    CopyOut(crate::copy::CopyOut),
}

/// Where the rows of a result come from.
enum Source {
    Rows(VecDeque<Vec<Datum>>),
    Stream(Box<RowStream>),
    Failed(Box<Error>),
}

/// Rows of a result, some of them not computed yet.
pub struct ResultSet {
    /// The columns.
    pub columns: Arc<[OutputColumn]>,
    /// First words of the command tag: the number of rows follows.
    pub tag: &'static str,
    source: Source,
    /// Taken from the stream but not asked for yet.
    pending: Option<RecordBatch>,
    given: u64,
    /// For rows that wait in memory, where somebody counts them.
    charge: Option<MemoryReservation>,
}

/// Says what a statement with rows has done.
#[derive(Debug, Clone, Copy)]
pub struct CommandTag {
    words: &'static str,
    given: u64,
}

impl std::fmt::Display for CommandTag {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.words)?;
        match self.words {
            "" | "SHOW" | "EXPLAIN" => Ok(()),
            _ => write!(formatter, " {}", self.given),
        }
    }
}

/// Some rows of a result.
pub enum RowBlock {
    /// Row by row.
    Rows(Vec<Vec<Datum>>),
    /// Column by column.
    Batch(RecordBatch),
}

impl RowBlock {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            RowBlock::Rows(rows) => rows.len(),
            RowBlock::Batch(batch) => batch.num_rows(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A value.
    ///
    /// # Errors
    /// An array of a type that the column's is not kept in.
    pub fn datum(&self, row: usize, column: usize, ty: PgType) -> Result<Datum> {
        match self {
            RowBlock::Rows(rows) => Ok(rows[row][column].clone()),
            RowBlock::Batch(batch) => crate::arrow::datum_at(batch.column(column).as_ref(), row, ty),
        }
    }
}

/// Bytes of rows that a statement may keep without counting them.
const UNCOUNTED_BYTES_MAX: usize = 64 << 10;

/// Rows that a statement keeps until it has ended. What is more than a few of them is charged to the memory of queries.
#[derive(Debug, Default)]
pub struct KeptRows {
    rows: Vec<Vec<Datum>>,
    /// Bytes of rows since something was charged.
    uncounted: usize,
    charge: Option<MemoryReservation>,
}

impl KeptRows {
    /// Adds a row.
    ///
    /// # Errors
    /// 53200: the rows take more memory than there is for them.
    pub(crate) fn push(&mut self, row: Vec<Datum>, runtime: &QueryRuntime) -> Result<()> {
        self.uncounted += size_of::<Vec<Datum>>() + row.iter().map(Datum::size_bytes).sum::<usize>();
        self.rows.push(row);
        if self.uncounted < UNCOUNTED_BYTES_MAX {
            return Ok(());
        }
        let charge = self.charge.get_or_insert_with(|| kept_rows(runtime.memory_pool()));
        charge.try_grow(std::mem::take(&mut self.uncounted)).map_err(error_from)
    }

    /// How many rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Without the first `skipped` rows, and with the first `width` values of each.
    pub(crate) fn trimmed(mut self, skipped: usize, width: usize) -> KeptRows {
        self.rows.drain(..skipped.min(self.rows.len()));
        self.rows.iter_mut().for_each(|row| row.truncate(width));
        self
    }

    /// The rows, and what has to be held on to as long as they are there.
    pub(crate) fn into_parts(self) -> (Vec<Vec<Datum>>, Option<MemoryReservation>) {
        (self.rows, self.charge)
    }

    /// The rows as what a statement gives back.
    pub(crate) fn into_result(self, columns: Arc<[OutputColumn]>, tag: &'static str) -> ResultSet {
        ResultSet::from_rows(columns, tag, self.rows).charged(self.charge)
    }
}

impl ResultSet {
    /// Rows that are there already.
    pub fn from_rows(columns: Arc<[OutputColumn]>, tag: &'static str, rows: Vec<Vec<Datum>>) -> ResultSet {
        ResultSet { columns, tag, source: Source::Rows(rows.into()), pending: None, given: 0, charge: None }
    }

    /// Rows that a query computes while they are taken.
    pub fn from_stream(columns: Arc<[OutputColumn]>, tag: &'static str, stream: RowStream) -> ResultSet {
        ResultSet { columns, tag, source: Source::Stream(Box::new(stream)), pending: None, given: 0, charge: None }
    }

    /// Rows of which not even the first could be computed.
    pub(crate) fn from_error(columns: Arc<[OutputColumn]>, tag: &'static str, error: Error) -> ResultSet {
        let source = Source::Failed(Box::new(error));
        ResultSet { columns, tag, source, pending: None, given: 0, charge: None }
    }

    /// The rows that are left, as a result of its own.
    pub(crate) fn take_rest(&mut self, tag: &'static str) -> ResultSet {
        let source = std::mem::replace(&mut self.source, Source::Rows(VecDeque::new()));
        let (columns, pending) = (self.columns.clone(), self.pending.take());
        ResultSet { columns, tag, source, pending, given: 0, charge: None }
    }

    /// Holds on to the memory that its rows are charged for.
    pub(crate) fn charged(mut self, charge: Option<MemoryReservation>) -> ResultSet {
        self.charge = charge;
        self
    }

    /// Rows given out so far.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// The command tag when `given` rows were taken.
    pub fn command_tag(&self, given: u64) -> CommandTag {
        CommandTag { words: self.tag, given }
    }

    /// As [`ResultSet::next`] where the rows are there already; `None` where they have to be waited for.
    pub(crate) fn next_ready(&mut self, rows_max: usize) -> Option<Option<RowBlock>> {
        let Source::Rows(rows) = &mut self.source else { return None };
        let count = rows_max.min(rows.len());
        let block = (count > 0).then(|| RowBlock::Rows(rows.drain(..count).collect()));
        self.given += count as u64;
        Some(block)
    }

    /// At most `rows_max` further rows; `None` at the end.
    pub(crate) async fn next(&mut self, rows_max: usize) -> Result<Option<RowBlock>> {
        if let Some(ready) = self.next_ready(rows_max) {
            return Ok(ready);
        }
        let block = match &mut self.source {
            Source::Rows(_) => None,
            Source::Failed(error) => return Err(error.as_ref().clone()),
            Source::Stream(stream) => {
                let batch = loop {
                    match self.pending.take() {
                        Some(batch) if batch.num_rows() > 0 => break Some(batch),
                        _ => match stream.next_batch().await? {
                            Some(batch) => self.pending = Some(batch),
                            None => break None,
                        },
                    }
                };
                batch.map(|batch| {
                    if batch.num_rows() <= rows_max {
                        return RowBlock::Batch(batch);
                    }
                    self.pending = Some(batch.slice(rows_max, batch.num_rows() - rows_max));
                    RowBlock::Batch(batch.slice(0, rows_max))
                })
            }
        };
        self.given += block.as_ref().map_or(0, |b| b.len() as u64);
        Ok(block)
    }

    /// Gives up the rows that are left, and what computes them.
    pub fn stop(&mut self) {
        self.source = Source::Rows(VecDeque::new());
        self.pending = None;
        self.charge = None;
    }

    /// Whether it is known that no row is left.
    pub fn is_exhausted(&self) -> bool {
        match &self.source {
            Source::Rows(rows) => rows.is_empty(),
            Source::Stream(_) | Source::Failed(_) => false,
        }
    }
}
