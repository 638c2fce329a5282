//! The store: opaque keys and values, replicated, transactional, versioned by timestamp.
//!
//! From the bottom up:
//! - [`api`], [`error`]: the plain types of the interface and what can go wrong.
//! - [`command`]: what a shard's log holds, with its binary form.
//! - [`target`]: the trait by which the consensus layer drives a state machine of opaque bytes.

pub mod api;
pub mod command;
pub mod error;
pub mod target;

pub use api::*;
pub use command::{Check, Command, CommandResult, ConflictReason, Op, TxnStatus, Write};
pub use error::{Error, Result};
pub use target::{ApplyTarget, LogPosition};
