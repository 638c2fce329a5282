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
    pub store: stratos_replication::Store,
    /// Role of the session, for privileges and `current_user`.
    pub role: String,
    /// Name/value/description of the session's settings, for `pg_settings`.
    pub settings: Arc<Vec<(String, String, String)>>,
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
