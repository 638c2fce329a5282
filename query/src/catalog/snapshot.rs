//! An immutable picture of the catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Database, Role, Schema, Sequence, Table};

/// The catalog of one database (and the shared databases and roles) at one version.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Version, + 1 with every committed DDL of the cluster. A transaction's private copy has the version it started from
    /// and `private` set.
    pub version: u64,
    /// Changed by the transaction that holds it: plans made from it are not shared.
    pub private: bool,
    /// The database that `schemas`, `tables` and `sequences` are of.
    pub database: u32,
    /// All databases, by OID.
    pub databases: BTreeMap<u32, Arc<Database>>,
    /// All roles, by OID.
    pub roles: BTreeMap<u32, Arc<Role>>,
    /// Schemas of the database, by OID, without the built-in ones.
    pub schemas: BTreeMap<u32, Arc<Schema>>,
    /// Tables, by OID.
    pub tables: BTreeMap<u32, Arc<Table>>,
    /// Sequences, by OID.
    pub sequences: BTreeMap<u32, Arc<Sequence>>,
    /// (schema OID, name) → OID of the table, index or sequence: they share a name space, as in Postgres.
    pub relations: BTreeMap<(u32, String), u32>,
}
