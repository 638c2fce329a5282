//! The store: opaque keys and values, replicated, transactional, versioned by timestamp.
//!
//! From the bottom up:
//! - [`api`], [`error`]: the plain types of the interface and what can go wrong.
//! - [`engine`]: ordered keys on disk or in memory, batches, flushes.
//! - [`mvcc`]: versions of keys, reading at a timestamp.
//! - [`command`]: what a shard's log holds, with its binary form.
//! - [`apply`]: the deterministic state machine that applies commands; [`target`] is the trait by which the
//!   consensus layer drives it.
//! - [`protocol`]: how transactions commit and read over several shards, free of I/O and clock; [`locks`]: row locks.
//! - [`store`]: what users of the crate see: [`Store`], [`Transaction`], [`ReadView`]. [`overlay`] holds what a transaction
//!   has written and not committed.
//! - [`check`]: verifies a whole store.

pub mod api;
pub mod apply;
pub mod check;
pub mod command;
pub mod engine;
pub mod error;
pub mod locks;
pub mod mvcc;
pub mod overlay;
pub mod protocol;
#[cfg(test)]
mod sim;
pub mod store;
pub mod target;

pub use api::*;
pub use apply::{ApplyObserver, LockTable, ShardMap, StateMachine};
pub use check::{CheckReport, Finding, check_store};
pub use command::{Check, Command, CommandResult, ConflictReason, Op, TxnStatus, Write};
pub use error::{Error, Result};
pub use store::{ReadView, SYSTEM_SHARD, ScanCursor, Store, StoreMetrics, Transaction};
pub use target::{ApplyTarget, LogPosition};
