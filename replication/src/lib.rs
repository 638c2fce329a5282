//! The store: opaque keys and values, replicated, transactional, versioned by timestamp.
//!
//! From the bottom up:
//! - [`api`], [`error`]: the plain types of the interface and what can go wrong.
//! - [`command`]: what a shard's log holds, with its binary form.
//! - [`target`]: the trait by which the consensus layer drives a state machine of opaque bytes.
//! - [`directory`]: the data directory, which belongs to one process at a time.
//! - [`log`]: the physical log that all groups of a node share.
//! - [`raft`]: the groups: consensus over that log, applied to a target.

pub mod api;
pub mod command;
pub mod directory;
pub mod error;
pub mod log;
pub mod raft;
pub mod target;

pub use api::*;
pub use command::{Check, Command, CommandResult, ConflictReason, Op, TxnStatus, Write};
pub use error::{Error, Result};
pub use target::{ApplyTarget, LogPosition};
