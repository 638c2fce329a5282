//! The transaction block of a session.
//!
//! A statement outside BEGIN runs in an *implicit* transaction that ends with the simple query string, or with the Sync of the
//! extended protocol. BEGIN makes it explicit. An error fails the whole block: an implicit one is rolled back at its end, an
//! explicit one waits for ROLLBACK, or ROLLBACK TO a savepoint from before the error.

use std::sync::Arc;

use stratos_replication::{Isolation, SavepointId, Transaction};

use super::settings::Settings;
use crate::catalog::Snapshot;
use crate::ddl::Job;
use crate::exec::deferred::{self, Deferred};

/// Most savepoints that one transaction may have open.
pub const SAVEPOINTS_MAX: usize = 10_000;

/// A savepoint with what a return to it restores.
pub struct NamedSavepoint {
    pub name: String,
    pub id: SavepointId,
    pub settings: Settings,
    pub catalog: Option<Arc<Snapshot>>,
    pub jobs: usize,
    pub deferred: deferred::Mark,
    /// Cursors and portals with higher numbers are younger.
    pub last_portal: u64,
    /// Advisory locks that the transaction had asked for.
    pub advisory: usize,
}

/// See the module.
pub struct Block {
    /// The store's transaction.
    pub store: Transaction,
    /// BEGIN was said.
    pub explicit: bool,
    /// An error happened: nothing but ROLLBACK (TO) is heard.
    pub failed: bool,
    /// `now()`.
    pub started_micros: i64,
    /// READ ONLY.
    pub read_only: bool,
    /// A statement other than transaction control has run: the isolation level is fixed.
    pub used: bool,
    /// Settings to return to on rollback.
    pub settings_before: Settings,
    /// Cursors and portals with higher numbers were opened in it.
    pub last_portal: u64,
    /// The catalog as changed by this transaction, once it changed it.
    pub catalog: Option<Arc<Snapshot>>,
    /// Above READ COMMITTED, once the one snapshot is taken: the catalog as of it.
    pub catalog_then: Option<Arc<Snapshot>>,
    /// Open savepoints, oldest first.
    pub savepoints: Vec<NamedSavepoint>,
    /// Jobs of DDL for after the commit.
    pub jobs: Vec<Job>,
    /// Constraints that wait for the end, and which ones do.
    pub deferred: Deferred,
    /// Storage of sequences that are gone once this commits, unless a savepoint brought them back.
    pub retired_sequences: Vec<u32>,
}

/// What shares a statement's implicit transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// Nothing, or what comes later in its pipeline.
    None,
    /// The other statements of its simple query string.
    String,
    /// Statements of its pipeline that ran before it.
    Pipeline,
}

/// The name by which SQL knows a level.
pub fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

/// The level by its name in SQL; READ UNCOMMITTED is READ COMMITTED, as in Postgres.
pub fn isolation_from_name(name: &str) -> Isolation {
    match name {
        "repeatable read" => Isolation::RepeatableRead,
        "serializable" => Isolation::Serializable,
        _ => Isolation::ReadCommitted,
    }
}

impl Block {
    /// The catalog that its statements see, where that is not the one committed last.
    pub fn own_catalog(&self) -> Option<&Arc<Snapshot>> {
        self.catalog.as_ref().or(self.catalog_then.as_ref())
    }

    /// Whether its statements see the catalog of a snapshot that is not taken yet.
    pub fn lacks_catalog(&self) -> bool {
        self.store.isolation() != Isolation::ReadCommitted && self.own_catalog().is_none()
    }
}
