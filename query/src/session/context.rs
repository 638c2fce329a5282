//! What evaluating an expression may look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stratos_types::{Error, ErrorKind, FormatOptions, Result};

use crate::catalog::Snapshot;

/// The surroundings of an expression: the session's settings and the statement's clock. Cheap to clone.
#[derive(Clone)]
pub struct EvalContext {
    /// DateStyle, IntervalStyle, TimeZone, extra_float_digits, bytea_output: how values read and print.
    pub format: Arc<FormatOptions>,
    /// `now()`: microseconds since the Unix epoch at the transaction's start.
    pub transaction_micros: i64,
    /// `statement_timestamp()`.
    pub statement_micros: i64,
    /// The catalog that the statement was planned with.
    pub catalog: Arc<Snapshot>,
    /// The session.
    pub host: Arc<dyn Host>,
    /// Nobody waits for the result any more. The session may be busy with its next statement by now.
    pub given_up: Arc<AtomicBool>,
}

impl EvalContext {
    /// For another statement of the same session at the same time.
    pub fn of_statement(&self) -> EvalContext {
        EvalContext { given_up: Arc::default(), ..self.clone() }
    }

    /// 57014 if the statement was cancelled, ran out of its time or was given up; long row-by-row loops ask now and then.
    ///
    /// # Errors
    /// The cancellation itself.
    pub fn check_canceled(&self) -> Result<()> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request"));
        }
        self.host.check_canceled()
    }
}

/// What a table or index takes, in bytes before compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationSize {
    /// The rows of a table, the entries of an index.
    pub own_bytes: u64,
    /// The entries of the indexes of a table.
    pub index_bytes: u64,
}

/// What functions may ask of the session. Called from inside query execution, so nothing here is async; an implementation
/// that must wait (a sequence whose cached values ran out) blocks in place.
pub trait Host: Send + Sync {
    /// `current_user`.
    fn current_user(&self) -> String;
    /// `session_user`.
    fn session_user(&self) -> String;
    /// `current_database()`.
    fn current_database(&self) -> String;
    /// Schemas in order of search, existing ones only, `pg_catalog` included where Postgres puts it when `implicit`.
    fn search_path(&self, implicit: bool) -> Vec<String>;
    /// Whether the schema in which relations are made that are given none is that of the session's temporary ones.
    fn creates_temporary(&self) -> bool {
        false
    }
    /// `pg_backend_pid()`.
    fn backend_pid(&self) -> i32;
    /// `current_query()`: the text that the client sent.
    fn current_query(&self) -> String {
        String::new()
    }
    /// `current_setting(name)`; `None` when there is no such setting.
    fn setting(&self, name: &str) -> Option<String>;
    /// `set_config(name, value, is_local)`; gives the value as it prints.
    ///
    /// # Errors
    /// Unknown setting or a value that it does not take.
    fn set_config(&self, name: &str, value: &str, is_local: bool) -> Result<String>;
    /// The node's sessions, for `pg_stat_activity`.
    fn sessions(&self) -> Vec<crate::catalog::SessionFacts> {
        Vec::new()
    }
    /// The session's prepared statements, for `pg_prepared_statements`.
    fn prepared_statements(&self) -> Vec<crate::catalog::PreparedFacts> {
        Vec::new()
    }
    /// The session's cursors and named portals, for `pg_cursors`.
    fn cursors(&self) -> Vec<crate::catalog::CursorFacts> {
        Vec::new()
    }
    /// All settings, for `pg_settings`.
    fn all_settings(&self) -> Vec<crate::catalog::SettingFacts> {
        Vec::new()
    }
    /// `nextval`, by the sequence's OID.
    ///
    /// # Errors
    /// End of the sequence (2200H), read-only transaction, storage.
    fn nextval(&self, sequence: u32) -> Result<i64>;
    /// `currval`.
    ///
    /// # Errors
    /// Not yet used in this session (55000).
    fn currval(&self, sequence: u32) -> Result<i64>;
    /// `lastval`.
    ///
    /// # Errors
    /// Not yet used in this session (55000).
    fn lastval(&self) -> Result<i64>;
    /// `setval`.
    ///
    /// # Errors
    /// Out of the sequence's bounds (22003).
    fn setval(&self, sequence: u32, value: i64, is_called: bool) -> Result<i64>;
    /// Bytes of a relation, for `pg_relation_size` and its kin; none where there is no such table or index.
    fn relation_size(&self, oid: u32) -> Option<RelationSize>;
    /// `pg_sleep` begins or ends, for `pg_stat_activity`.
    fn note_sleep(&self, _sleeps: bool) {}
    /// Bytes of everything in a database.
    fn database_bytes(&self, oid: u32) -> u64;
    /// 57014 if the session's statement was cancelled or ran out of its time; see [`EvalContext::check_canceled`].
    ///
    /// # Errors
    /// The cancellation itself.
    fn check_canceled(&self) -> Result<()>;
    /// The next of the numbers that `setseed` made repeatable, if the session used it.
    fn seeded_random(&self) -> Option<f64> {
        None
    }
    /// `setseed`, from -1 to 1.
    fn seed_random(&self, _seed: f64) {}
    /// The running transaction's number for `txid_current()`; positive.
    ///
    /// # Errors
    /// The node is stopping.
    fn transaction_id(&self) -> Result<i64>;
    /// That number if the transaction has written or was asked for it.
    fn assigned_transaction_id(&self) -> Option<i64>;
    /// `pg_advisory_…`, `pg_cancel_backend` and others that act on the node go by name.
    ///
    /// # Errors
    /// As the action's.
    fn node_function(&self, name: &str, args: &[stratos_types::Datum]) -> Result<stratos_types::Datum>;
}
