//! Row locks: what makes a writer wait for another, as clients of Postgres expect.
//!
//! The locks live in the memory of the shard's leader and are only a courtesy: correctness never depends on them, because
//! every write is validated again when it is applied. Losing them (a restart) costs a retry, never an anomaly.
//!
//! * [`stripe`]: the sans-IO core of one stripe of the table: holders, FIFO queues, grants.
//! * [`deadlock`]: the search for a cycle in the waits-for graph, over whatever can name a transaction's blockers.
//! * [`table`]: the thin asynchronous wrapper with one mutex per stripe and a wake-up per waiter.

pub mod deadlock;
pub mod stripe;
pub mod table;

pub use table::{LockTable, LockTableStatistics, LockWait, Party};
