//! What exists: databases, schemas, tables, indexes, constraints, sequences, roles.
//!
//! Descriptors are rows of the system keyspace ([`keys`]); a [`Snapshot`] is an immutable picture of one database's catalog
//! at one version, shared by every session that is at that version. A transaction that changes the catalog works on its own
//! copy ([`SnapshotEditor`]), so that DDL is seen by the transaction itself, rolls back with it, and becomes visible to
//! others by its commit.

mod bootstrap;
mod descriptor;
mod editor;
pub mod keys;
mod loader;
mod names;
mod snapshot;
pub mod system;
mod temporary;

pub use bootstrap::{
    BOOTSTRAP_ROLE, DATABASE_OWNER, DEFAULT_DATABASE, FIRST_USER_OID, NO_DATABASE, PUBLIC_SCHEMA, TEMPLATES,
    bootstrap_writes, is_database, is_database_oid, is_template, maintenance_writes, role_name, schema_owner,
};
pub use descriptor::{
    COLLATIONS, CheckConstraint, Column, ColumnDefault, Constraint, ConstraintKind, DEFAULT_COLLATION, Database,
    ForeignKey, Identity, Index, IndexColumn, IndexState, OnCommit, ReferentialAction, Role, Schema, Sequence, Table,
    deferral_clause,
};
pub use editor::{Change, SnapshotEditor};
pub use loader::{CatalogReader, OidPool, SnapshotCache, Visit, load_snapshot, read_version};
pub use names::{
    NAME_BYTES_MAX, built_in_schema, built_in_schema_name, choose_constraint_name, choose_index_name,
    choose_relation_name, joined_columns, make_object_name, quote_identifier, quote_literal,
};
pub use snapshot::{Relation, Snapshot};
pub use system::{
    CursorFacts, Encryption, LockFacts, PreparedFacts, SessionFacts, SettingFacts, StoreFacts, SystemContext,
    SystemTable,
};
pub use temporary::{
    is_temporary_name, removal_of_temporary, resolve_temporary, temporary_in_path, temporary_schema_name,
};

/// OID of `pg_catalog`.
pub const PG_CATALOG: u32 = 11;
/// OID of `information_schema`.
pub const INFORMATION_SCHEMA: u32 = 13207;
/// OID of `pg_stratos`; Postgres has nothing there.
pub const PG_STRATOS: u32 = 12000;
