//! Tables that are computed when they are read: pg_catalog, information_schema, pg_stratos.
//!
//! Names, column names, types, order and OIDs are those of PostgreSQL 15 (`data/relations.tsv`, taken from its catalogs:
//! `R` schema, name, OID, kind, comment; then a `C` line per column: name, type, modifier, NOT NULL). Catalogs that are the
//! same in every database (types, operators, access methods) are `data/pg_*.tsv`, in COPY's text form. The rest comes from
//! the [`Snapshot`](crate::catalog::Snapshot) and the node. A table of Postgres's that has nothing to tell here is empty.

pub(crate) mod cache;
pub(crate) mod classes;
mod definitions;
pub mod deparse;
mod expression_node;
mod expression_text;
mod expression_tree;
mod functions;
mod information_schema;
mod internal;
mod objects;
mod relations;
mod rows;
mod sequence;
mod shared;
mod statics;
mod statistics;

use std::sync::Arc;

use crate::catalog::{Sequence, SystemTable};

/// The system table of that name, if there is one.
pub fn find(schema: &str, name: &str) -> Option<Arc<dyn SystemTable>> {
    definitions::find(schema, name).map(|table| table as Arc<dyn SystemTable>)
}

/// A sequence as the table that SELECT reads.
pub fn sequence_table(sequence: &Arc<Sequence>, schema: &str) -> Arc<dyn SystemTable> {
    Arc::new(sequence::SequenceTable { sequence: Arc::clone(sequence), schema: schema.to_owned() })
}

/// The system table with that OID.
pub fn find_by_oid(oid: u32) -> Option<Arc<dyn SystemTable>> {
    definitions::all().iter().find(|table| table.oid() == oid).map(|table| Arc::clone(table) as Arc<dyn SystemTable>)
}

/// Whether the system table with that OID is a view in PostgreSQL.
pub fn is_view(oid: u32) -> bool {
    definitions::all().iter().any(|table| table.oid == oid && table.kind == "v")
}

/// The system table that a name in a statement means where no user's relation of that name comes first: in `schema`, or
/// without one in pg_catalog.
pub fn find_on_path(schema: Option<&str>, name: &str) -> Option<Arc<dyn SystemTable>> {
    find(schema.unwrap_or("pg_catalog"), name)
}

/// All system tables.
pub fn all() -> impl Iterator<Item = Arc<dyn SystemTable>> {
    definitions::all().iter().map(|table| Arc::clone(table) as Arc<dyn SystemTable>)
}

/// OID of a built-in function by name as regproc input takes it (`array_in`), where exactly one has the name.
pub fn function_oid(name: &str) -> Option<u32> {
    statics::function_oid(name)
}

/// Name of a built-in function, as regproc prints it.
pub fn function_name(oid: u32) -> Option<&'static str> {
    statics::function_name(oid)
}

#[cfg(test)]
mod tests;
