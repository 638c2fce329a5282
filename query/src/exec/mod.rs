//! Carrying out bound statements: rows written with their constraints, lookups by key without a query planner, jobs of DDL.
//!
//! - [`rules`]: what must hold for a table's rows, compiled once per plan
//! - [`mod@write`]: one row in, changed or out, with its index entries, constraints and foreign keys
//! - [`insert`], [`on_conflict`], [`change`], [`returning`]: INSERT, UPDATE and DELETE, RETURNING; [`dml`]: what they share
//! - [`direct`]: statement shapes that are gets and writes by key
//! - [`jobs`], [`online_index`]: what DDL does to rows
//! - [`foreign_keys`], [`deferred`]: what refers to what, now and at the end of the transaction
//! - [`violations`]: the errors of constraints

pub mod change;
pub mod deferred;
pub mod deferred_keys;
pub mod direct;
mod direct_aggregate;
mod direct_join;
pub mod direct_select;
mod direct_system;
mod direct_values;
mod dml;
pub mod foreign_keys;
pub mod insert;
pub mod jobs;
mod on_conflict;
pub mod online_index;
mod returning;
pub mod row_locks;
pub mod rules;
pub mod violations;
pub mod write;

use std::sync::Arc;

use stratos_replication::{Direction, ReadView, Span, Transaction, WaitPolicy};
use stratos_types::{Datum, Error, ErrorKind, Result};

use self::deferred::Deferred;
use crate::engine::Engine;
use crate::result::KeptRows;
use crate::session::EvalContext;

/// What a running statement has at hand.
pub struct StatementContext<'a> {
    /// The node.
    pub engine: &'a Arc<Engine>,
    /// The transaction, inside a statement of it.
    pub transaction: &'a mut Transaction,
    /// Checks that wait for the end of the transaction.
    pub deferred: &'a mut Deferred,
    /// The session's surroundings, among them the catalog that the statement was planned with.
    pub eval: &'a EvalContext,
    /// Values of `$1…`.
    pub params: &'a [Datum],
    /// How long to wait for a row that somebody else has locked.
    pub wait: WaitPolicy,
    /// The statement failed because it has to look again: with a new snapshot it may succeed.
    pub looks_again: bool,
}

impl<'a> StatementContext<'a> {
    /// All of it.
    pub fn new(
        engine: &'a Arc<Engine>,
        transaction: &'a mut Transaction,
        deferred: &'a mut Deferred,
        eval: &'a EvalContext,
        params: &'a [Datum],
        wait: WaitPolicy,
    ) -> Self {
        StatementContext { engine, transaction, deferred, eval, params, wait, looks_again: false }
    }

    /// Something changed under the statement that it cannot take into account on its way. What it did has to be taken back,
    /// and all of it done again with a new snapshot; those who cannot do that have this error for their client.
    pub fn look_again(&mut self) -> Error {
        self.looks_again = true;
        Error::new(ErrorKind::SerializationFailure, "could not serialize access due to concurrent update")
    }
}

/// Rows that a scan hands over between two looks at the cancel switch.
const SCAN_CHUNK_ROWS: usize = 1024;
const SCAN_CHUNK_BYTES: usize = 1 << 20;

/// Gives `visit` the keys and values of a span, in order, as long as it says so; and tells whether that was all of them.
///
/// # Errors
/// Those of `visit`, the store's, cancellation.
fn scan(
    view: &ReadView,
    span: Span,
    context: &EvalContext,
    visit: impl FnMut(&[u8], &[u8]) -> Result<bool>,
) -> Result<bool> {
    scan_towards(view, span, Direction::Forward, usize::MAX, context, visit)
}

/// As [`scan`], in a direction; about `few` items will be wanted.
fn scan_towards(
    view: &ReadView,
    span: Span,
    direction: Direction,
    few: usize,
    context: &EvalContext,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool>,
) -> Result<bool> {
    let mut cursor = view.scan(span, direction);
    let mut rows = few.clamp(1, SCAN_CHUNK_ROWS);
    // Whether more follows, as long as the visitor wants it.
    let mut step = || {
        context.check_canceled()?;
        let mut outcome = Ok(true);
        let more = stored(cursor.next_chunk(rows, SCAN_CHUNK_BYTES, &mut |key, value| {
            if matches!(outcome, Ok(true)) {
                outcome = visit(key, value);
            }
        }))?;
        rows = (rows * 2).min(SCAN_CHUNK_ROWS);
        Ok::<_, Error>(outcome?.then_some(more))
    };
    match step()? {
        // What does not end with the first step may be the whole of a large table.
        Some(true) => beside_others(|| {
            loop {
                match step()? {
                    Some(true) => {}
                    ended => return Ok(ended.is_some()),
                }
            }
        }),
        ended => Ok(ended.is_some()),
    }
}

/// Runs what may take long, on a thread that has other tasks too: they go elsewhere meanwhile.
pub(crate) fn beside_others<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread) {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}

/// Rows that a loop goes through between two calls of [`breathe`].
const BREATHE_ROWS: usize = 256;

/// Lets cancel requests, timeouts and other tasks in between long row loops.
///
/// # Errors
/// 57014, 57P01.
pub(crate) async fn breathe(context: &EvalContext) -> Result<()> {
    context.check_canceled()?;
    tokio::task::yield_now().await;
    Ok(())
}

/// What a data-changing statement did.
#[derive(Debug, Default)]
pub struct Changes {
    /// Rows inserted, updated or deleted.
    pub count: u64,
    /// Rows of RETURNING.
    pub returned: KeptRows,
}

/// Turns the store's errors into the statement's.
pub fn store_error(error: stratos_replication::Error) -> stratos_types::Error {
    use stratos_replication::Error as Store;
    let message = error.to_string();
    match error {
        Store::WriteConflict { .. } => {
            Error::new(ErrorKind::SerializationFailure, "could not serialize access due to concurrent update")
        }
        Store::SerializationFailure => Error::new(
            ErrorKind::SerializationFailure,
            "could not serialize access due to read/write dependencies among transactions",
        )
        .with_detail("Reason code: Canceled because another transaction changed what this one has read.")
        .with_hint("The transaction might succeed if retried."),
        Store::Deadlock { circle } => {
            let next = circle.iter().cycle().skip(1);
            let lines: Vec<String> = circle
                .iter()
                .zip(next)
                .map(|(waiter, blocker)| {
                    let number = blocker.transaction.number();
                    let (waiter, blocker) = (waiter.label, blocker.label);
                    format!(
                        "Process {waiter} waits for ShareLock on transaction {number}; blocked by process {blocker}."
                    )
                })
                .collect();
            Error::new(ErrorKind::DeadlockDetected, "deadlock detected").with_detail(lines.join("\n"))
        }
        Store::LockNotAvailable => Error::new(ErrorKind::LockNotAvailable, "could not obtain lock on row"),
        Store::LockTimeout => Error::new(ErrorKind::LockNotAvailable, "canceling statement due to lock timeout"),
        Store::TransactionTooLarge { .. } => {
            Error::new(ErrorKind::ProgramLimitExceeded, message).with_hint("Split the work over several transactions.")
        }
        Store::KeyTooLong { .. } => Error::new(ErrorKind::ProgramLimitExceeded, message),
        Store::SnapshotTooOld => Error::new(ErrorKind::SnapshotTooOld, "snapshot too old"),
        Store::DiskFull => Error::new(ErrorKind::DiskFull, "could not write: no space left on device"),
        Store::ReadOnlyTransaction => {
            Error::new(ErrorKind::ReadOnlySqlTransaction, "cannot execute the statement in a read-only transaction")
        }
        Store::Corruption { .. } => Error::new(ErrorKind::DataCorrupted, message),
        Store::ShuttingDown => crate::session::cancel::terminated(),
        Store::Io { .. } => Error::new(ErrorKind::IoError, message),
        _ => Error::internal(message),
    }
}

/// The store's result as the statement's.
///
/// # Errors
/// The store's.
pub fn stored<T>(result: stratos_replication::Result<T>) -> Result<T> {
    result.map_err(store_error)
}
