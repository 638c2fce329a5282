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
    /// The level, as it was named.
    pub level: Level,
    /// READ ONLY.
    pub read_only: bool,
    /// DEFERRABLE.
    pub deferrable: bool,
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

/// An isolation level as SQL names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Carried out as READ COMMITTED, as in Postgres, and shown by its own name.
    ReadUncommitted,
    /// The default.
    #[default]
    ReadCommitted,
    /// One snapshot.
    RepeatableRead,
    /// As if one after the other.
    Serializable,
}

impl Level {
    /// Its name, as settings show it.
    pub fn name(self) -> &'static str {
        match self {
            Level::ReadUncommitted => "read uncommitted",
            Level::ReadCommitted => "read committed",
            Level::RepeatableRead => "repeatable read",
            Level::Serializable => "serializable",
        }
    }

    /// The level of that name; READ COMMITTED where there is none.
    pub fn named(name: &str) -> Level {
        let levels = [Level::ReadUncommitted, Level::RepeatableRead, Level::Serializable];
        levels.into_iter().find(|level| level.name() == name).unwrap_or(Level::ReadCommitted)
    }

    /// What the store makes of it.
    pub fn isolation(self) -> Isolation {
        match self {
            Level::ReadUncommitted | Level::ReadCommitted => Isolation::ReadCommitted,
            Level::RepeatableRead => Isolation::RepeatableRead,
            Level::Serializable => Isolation::Serializable,
        }
    }
}

/// What `BEGIN` and `SET TRANSACTION` say of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Characteristics {
    /// Isolation level.
    pub level: Level,
    /// READ ONLY.
    pub read_only: bool,
    /// DEFERRABLE, which is only shown: a read-only transaction waits for nothing at its start, and never fails to serialize.
    pub deferrable: bool,
}

impl Characteristics {
    /// A setting that shows one of them, by its name in lower case.
    pub fn shown(&self, setting: &str) -> Option<&'static str> {
        let on_off = |on: bool| if on { "on" } else { "off" };
        match setting {
            "transaction_isolation" => Some(self.level.name()),
            "transaction_read_only" => Some(on_off(self.read_only)),
            "transaction_deferrable" => Some(on_off(self.deferrable)),
            _ => None,
        }
    }
}

impl Block {
    /// What was said of it.
    pub fn characteristics(&self) -> Characteristics {
        Characteristics { level: self.level, read_only: self.read_only, deferrable: self.deferrable }
    }

    /// The catalog that its statements see, where that is not the one committed last.
    pub fn own_catalog(&self) -> Option<&Arc<Snapshot>> {
        self.catalog.as_ref().or(self.catalog_then.as_ref())
    }

    /// Whether its statements see the catalog of a snapshot that is not taken yet.
    pub fn lacks_catalog(&self) -> bool {
        self.store.isolation() != Isolation::ReadCommitted && self.own_catalog().is_none()
    }
}
