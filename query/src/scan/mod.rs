//! Rows out of the store, and every other source of rows that plans read from.
//!
//! - [`RowSource`]: the store as scans see it · `spans`: which key ranges a filter leaves
//! - `segments`: columns of earlier scans, kept while their rows do not change
//! - [`StoredTable`]: a base table as DataFusion sees it · `exec`: the scan that runs · `keyed`: the same, narrowed while it runs · `decode`: rows to columns
//! - `system_table`, `function_table`: computed rows · `batches`: what they have in common

mod batches;
mod decode;
mod exec;
mod functions;
mod keyed;
mod segments;
mod source;
mod spans;
mod stored;
mod system;

pub(crate) use batches::{BatchSource, SourceTable, rename, schema_of};
pub use exec::ScanExec;
pub(crate) use functions::{FunctionRows, function_table};
pub(crate) use keyed::{KeyPath, ROWS_PER_KEY};
pub(crate) use segments::SegmentCache;
pub use source::{MemorySource, RowCursor, RowSource};
pub(crate) use stored::ScanOrder;
pub use stored::StoredTable;
pub(crate) use system::system_table;
