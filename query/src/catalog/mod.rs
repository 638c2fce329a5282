//! What exists: databases, schemas, tables, indexes, constraints, sequences, roles.
//!
//! Descriptors are rows of the system keyspace ([`keys`]); a [`Snapshot`] is an immutable picture of one database's catalog
//! at one version, shared by every session that is at that version. A transaction that changes the catalog works on its own
//! copy, so that DDL is seen by the transaction itself, rolls back with it, and becomes visible to others by its commit.

mod descriptor;
mod snapshot;
mod system;

pub use descriptor::{
    CheckConstraint, Column, ColumnDefault, Constraint, ConstraintKind, Database, ForeignKey,
    Identity, Index, IndexColumn, IndexState, ReferentialAction, Role, Schema, Sequence, Table,
};
pub use snapshot::Snapshot;
pub use system::{SessionFacts, StoreFacts, SystemContext, SystemTable};
