//! The store: opaque keys and values, replicated, transactional, versioned by timestamp.
//!
//! From the bottom up:
//! - [`api`], [`error`]: the plain types of the interface and what can go wrong.
//! - [`directory`]: the data directory, which belongs to one process at a time.
//! - [`engine`]: ordered keys on disk or in memory, batches, flushes.
//! - [`mvcc`]: versions of keys, reading at a timestamp.
//! - [`command`]: what a shard's log holds, with its binary form.
//! - [`apply`]: the deterministic state machine that applies commands; [`target`] is the trait by which the
//!   consensus layer drives it.
//! - [`log`]: the physical log that all groups of a node share; [`raft`]: the groups, consensus over that log.
//! - [`protocol`]: how transactions commit and read over several shards, free of I/O and clock; [`locks`]: row locks.
//! - [`store`]: what users of the crate see: [`Store`], [`Transaction`], [`ReadView`]. [`overlay`] holds what a transaction
//!   has written and not committed.
//! - [`check`]: verifies a whole store.
//!
//! The path of a write: [`Transaction::put`] buffers it; [`Transaction::commit`] divides the writes by shard, draws a timestamp
//! and proposes a command; the shard's group makes it durable in the log; the state machine validates and applies it; the
//! answer comes back, and is told once every earlier commit is readable too. A read goes straight to the engine, at a snapshot.

pub mod api;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod apply;
pub mod check;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod command;
pub mod directory;
pub mod engine;
pub mod error;
pub mod histogram;
pub mod locks;
pub mod log;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod mvcc;
pub mod overlay;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod protocol;
pub mod raft;
#[cfg(test)]
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
mod sim;
pub mod store;
pub mod target;
pub mod watch;

pub use api::*;
pub use apply::{LockTable, ShardMap, StateMachine};
pub use check::{CheckReport, Finding, check_store};
pub use command::{Check, Command, CommandResult, ConflictReason, Op, TxnStatus, Write};
pub use engine::RowCacheUse;
pub use error::{Error, Result};
pub use histogram::{Histogram, HistogramSnapshot};
pub use locks::{LockWait, Party};
pub use log::LogMetrics;
pub use store::{KeyChanges, LockOwner, ReadView, SYSTEM_SHARD, ScanCursor, Store, StoreMetrics, Transaction};
pub use target::{ApplyTarget, LogPosition};
pub use watch::SpanWatch;
