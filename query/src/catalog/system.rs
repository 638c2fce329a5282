//! Tables that are computed when they are read: pg_catalog, information_schema, pg_stratos.

use std::fmt;
use std::sync::Arc;

use stratos_types::{ColumnType, Datum, Result};

use super::Snapshot;
use crate::counters::DatabaseActivity;

/// OID of `pg_class` itself: the class of tables, indexes and sequences in pg_description and pg_depend.
pub const PG_CLASS: u32 = 1259;
/// OID of `pg_namespace` itself.
pub const PG_NAMESPACE: u32 = 2615;
/// OID of `pg_database` itself.
pub const PG_DATABASE: u32 = 1262;
/// OID of `pg_authid` itself.
pub const PG_AUTHID: u32 = 1260;
/// OID of `pg_constraint` itself.
pub const PG_CONSTRAINT: u32 = 2606;
/// OID of `pg_attrdef` itself.
pub const PG_ATTRDEF: u32 = 2604;
/// OID of `pg_type` itself.
pub const PG_TYPE: u32 = 1247;

/// What a system table may look at.
#[derive(Clone)]
pub struct SystemContext {
    /// The catalog of the session's database, as of the statement.
    pub catalog: Arc<Snapshot>,
    /// The store, for statistics and shards.
    pub store: Arc<dyn StoreFacts>,
    /// Sessions of the node, for `pg_stat_activity`.
    pub sessions: Arc<Vec<SessionFacts>>,
    /// Prepared statements of the session, for `pg_prepared_statements`.
    pub prepared: Arc<Vec<PreparedFacts>>,
    /// Its cursors and named portals, for `pg_cursors`.
    pub cursors: Arc<Vec<CursorFacts>>,
    /// Role of the session, for privileges and `current_user`.
    pub role: String,
    /// Schemas in order of search, without the implicit ones: whether names need a schema when they print.
    pub search_path: Arc<Vec<String>>,
    /// The session's settings, for `pg_settings`.
    pub settings: Arc<Vec<SettingFacts>>,
}

/// What system tables may ask of the store.
pub trait StoreFacts: Send + Sync {
    /// Live rows and their bytes under a prefix of keys (at most 13 bytes long).
    fn statistics(&self, prefix: &[u8]) -> stratos_replication::PrefixStatistics;
    /// The shards.
    fn shards(&self) -> Vec<stratos_replication::ShardInfo>;
    /// Where a sequence stands, by its storage number; none before the first `nextval`, or where it is not known.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn sequence_value(&self, _database: u32, _storage: u32) -> Result<Option<super::keys::SequenceValue>> {
        Ok(None)
    }
    /// What happened in a database since the node started, for `pg_stat_database`; none where nobody counts.
    fn activity(&self, _database: u32) -> DatabaseActivity {
        DatabaseActivity::default()
    }
    /// Locks held and awaited, for `pg_locks`.
    fn locks(&self) -> Vec<LockFacts> {
        Vec::new()
    }
}

/// A row of `pg_locks`: a lock, or the wait for one.
#[derive(Debug, Clone, Default)]
pub struct LockFacts {
    /// `locktype`: `transactionid`, `tuple`, `advisory`, `relation`.
    pub kind: &'static str,
    /// OID of the database; 0 where it is nobody's.
    pub database: u32,
    /// Storage number of the table, if it is a row's.
    pub storage: Option<u32>,
    /// OID of the table, if it is a table's.
    pub relation: Option<u32>,
    /// Number of the transaction that holds it, or whose end is awaited.
    pub transaction: Option<i64>,
    /// For an advisory lock: `classid`, `objid`, `objsubid`.
    pub object: Option<(u32, u32, i16)>,
    /// Backend number of the holder or waiter.
    pub pid: i32,
    /// Postgres's name of the mode.
    pub mode: &'static str,
    /// Held; else awaited.
    pub granted: bool,
}

/// How a connection is encrypted, in the words of OpenSSL, which clients know from Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Bits of the cipher's key.
    pub bits: i32,
}

/// A row of `pg_stat_activity`, and of `pg_stat_ssl`.
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
    /// How its connection is encrypted, if it is.
    pub encryption: Option<Encryption>,
    /// Unix microseconds.
    pub backend_start_micros: i64,
    /// Unix microseconds.
    pub transaction_start_micros: Option<i64>,
    /// Unix microseconds.
    pub query_start_micros: i64,
    /// `active`, `idle`, …
    pub state: &'static str,
    /// Its statement is in `pg_sleep`.
    pub is_sleeping: bool,
    /// Text of the statement.
    pub query: String,
    /// Whether the reader may know what the session does: it is one of its own role, or the reader a superuser.
    pub is_visible: bool,
}

/// A row of `pg_prepared_statements`.
#[derive(Debug, Clone)]
pub struct PreparedFacts {
    /// Name.
    pub name: String,
    /// Text of the statement.
    pub statement: String,
    /// Unix microseconds.
    pub prepared_micros: i64,
    /// Types of its parameters.
    pub params: Vec<stratos_types::PgType>,
    /// Made by `PREPARE` rather than by the protocol.
    pub from_sql: bool,
}

/// A row of `pg_cursors`.
#[derive(Debug, Clone)]
pub struct CursorFacts {
    /// Name.
    pub name: String,
    /// Text of the statement that opened it.
    pub statement: String,
    /// `WITH HOLD`.
    pub is_holdable: bool,
    /// Whether it goes back.
    pub is_scrollable: bool,
    /// Unix microseconds.
    pub created_micros: i64,
}

/// A row of `pg_settings`.
#[derive(Debug, Clone, Default)]
pub struct SettingFacts {
    /// Its name.
    pub name: String,
    /// Its value, numbers in its unit.
    pub value: String,
    /// `ms`, `kB`, …; empty for none.
    pub unit: &'static str,
    /// Group in Postgres's manual.
    pub category: &'static str,
    /// Short description.
    pub about: &'static str,
    /// When it can be changed: `user`, `postmaster`, ….
    pub context: &'static str,
    /// `bool`, `integer`, `real`, `enum`, `string`.
    pub kind: &'static str,
    /// Where the value comes from: `default`, `client`, `session`.
    pub source: &'static str,
    /// Least value; empty for none.
    pub min: &'static str,
    /// Greatest value; empty for none.
    pub max: &'static str,
    /// Values of an enumeration.
    pub words: Vec<&'static str>,
    /// Value before anybody sets it.
    pub boot: String,
    /// Value that RESET goes back to.
    pub reset: String,
}

/// A table of pg_catalog and the like.
pub trait SystemTable: Send + Sync + fmt::Debug {
    /// Schema that it lives in.
    fn schema(&self) -> &str;
    /// Its name.
    fn name(&self) -> &str;
    /// `pg_class.oid`; Postgres's own where Postgres has the table.
    fn oid(&self) -> u32;
    /// Columns in order, with types.
    fn columns(&self) -> &[(&'static str, ColumnType)];
    /// All rows.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn rows(&self, context: &SystemContext) -> Result<Vec<Vec<Datum>>>;
    /// Of a table whose rows depend on nothing but the catalog and the search path: the positions of those columns that do
    /// depend on more. `None` where all may.
    fn live_columns(&self) -> Option<&[usize]> {
        None
    }
}
