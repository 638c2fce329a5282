//! Tables that are computed when they are read: pg_catalog, information_schema, stratos_internal.

use std::fmt;
use std::sync::Arc;

use stratos_types::{ColumnType, Datum, Result};

use super::Snapshot;

/// What a system table may look at.
#[derive(Clone)]
pub struct SystemContext {
    /// The catalog of the session's database, as of the statement.
    pub catalog: Arc<Snapshot>,
    /// The store, for statistics and shards.
    pub store: Arc<dyn StoreFacts>,
    /// Sessions of the node, for `pg_stat_activity`.
    pub sessions: Arc<Vec<SessionFacts>>,
    /// Role of the session, for privileges and `current_user`.
    pub role: String,
    /// Name/value/description of the session's settings, for `pg_settings`.
    pub settings: Arc<Vec<(String, String, String)>>,
}

/// What system tables may ask of the store.
pub trait StoreFacts: Send + Sync {
    /// Live rows and their bytes under a prefix of keys (at most 13 bytes long).
    fn statistics(&self, prefix: &[u8]) -> stratos_replication::PrefixStatistics;
    /// The shards.
    fn shards(&self) -> Vec<stratos_replication::ShardInfo>;
}

/// A row of `pg_stat_activity`.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// Backend number.
    pub pid: i32,
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// `application_name`.
    pub application_name: String,
    /// Client's address.
    pub client: String,
    /// Unix microseconds.
    pub backend_start_micros: i64,
    /// Unix microseconds.
    pub transaction_start_micros: Option<i64>,
    /// Unix microseconds.
    pub query_start_micros: i64,
    /// `active`, `idle`, …
    pub state: &'static str,
    /// Text of the statement.
    pub query: String,
}

/// A table of pg_catalog and the like.
pub trait SystemTable: Send + Sync + fmt::Debug {
    /// Schema that it lives in.
    fn schema(&self) -> &'static str;
    /// Its name.
    fn name(&self) -> &'static str;
    /// `pg_class.oid`; Postgres's own where Postgres has the table.
    fn oid(&self) -> u32;
    /// Columns in order, with types.
    fn columns(&self) -> &[(&'static str, ColumnType)];
    /// All rows.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn rows(&self, context: &SystemContext) -> Result<Vec<Vec<Datum>>>;
}
