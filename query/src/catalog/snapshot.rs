//! An immutable picture of the catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Database, Index, Role, Schema, Sequence, Table};

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
    /// OID of an index → OID of its table.
    pub index_tables: BTreeMap<u32, u32>,
    /// Comments on objects whose descriptor has no place for one, by (class OID, object OID).
    pub comments: BTreeMap<(u32, u32), Arc<str>>,
}

/// A relation of the database, found by OID.
#[derive(Debug, Clone)]
pub enum Relation {
    /// A base table.
    Table(Arc<Table>),
    /// An index: its table, and its position in [`Table::indexes`].
    Index(Arc<Table>, usize),
    /// A sequence.
    Sequence(Arc<Sequence>),
}

impl Relation {
    /// `pg_class.oid`.
    pub fn oid(&self) -> u32 {
        match self {
            Relation::Table(table) => table.oid,
            Relation::Index(table, position) => table.indexes[*position].oid,
            Relation::Sequence(sequence) => sequence.oid,
        }
    }

    /// Its name without the schema.
    pub fn name(&self) -> &str {
        match self {
            Relation::Table(table) => &table.name,
            Relation::Index(table, position) => &table.indexes[*position].name,
            Relation::Sequence(sequence) => &sequence.name,
        }
    }

    /// OID of its schema; an index is in its table's.
    pub fn schema(&self) -> u32 {
        match self {
            Relation::Table(table) | Relation::Index(table, _) => table.schema,
            Relation::Sequence(sequence) => sequence.schema,
        }
    }

    /// OID of the role that owns it.
    pub fn owner(&self) -> u32 {
        match self {
            Relation::Table(table) | Relation::Index(table, _) => table.owner,
            Relation::Sequence(sequence) => sequence.owner,
        }
    }

    /// `table`, `index` or `sequence`.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Relation::Table(_) => "table",
            Relation::Index(..) => "index",
            Relation::Sequence(_) => "sequence",
        }
    }
}

impl Snapshot {
    /// A table, index or sequence by OID.
    pub fn relation(&self, oid: u32) -> Option<Relation> {
        if let Some(table) = self.tables.get(&oid) {
            return Some(Relation::Table(Arc::clone(table)));
        }
        if let Some(sequence) = self.sequences.get(&oid) {
            return Some(Relation::Sequence(Arc::clone(sequence)));
        }
        let table = self.tables.get(self.index_tables.get(&oid)?)?;
        let position = table.indexes.iter().position(|i| i.oid == oid)?;
        Some(Relation::Index(Arc::clone(table), position))
    }

    /// An index with its table, by the index's OID.
    pub fn index(&self, oid: u32) -> Option<(&Arc<Table>, &Index)> {
        let table = self.tables.get(self.index_tables.get(&oid)?)?;
        let index = table.indexes.iter().find(|i| i.oid == oid)?;
        Some((table, index))
    }

    /// A user's relation by schema OID and name.
    pub fn relation_in(&self, schema: u32, name: &str) -> Option<Relation> {
        let oid = self.relations.get(&(schema, name.to_owned()))?;
        self.relation(*oid)
    }

    /// OID of a schema, built-in ones included.
    pub fn schema_oid(&self, name: &str) -> Option<u32> {
        super::built_in_schema(name).or_else(|| self.schemas.values().find(|s| s.name == name).map(|s| s.oid))
    }

    /// Name of a schema, built-in ones included.
    pub fn schema_name(&self, oid: u32) -> Option<&str> {
        super::built_in_schema_name(oid).or_else(|| self.schemas.get(&oid).map(|s| s.name.as_str()))
    }

    /// A role by name.
    pub fn role_named(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.values().find(|r| r.name == name)
    }

    /// A database by name.
    pub fn database_named(&self, name: &str) -> Option<&Arc<Database>> {
        self.databases.values().find(|d| d.name == name)
    }

    /// The user's relation that a name stands for: in `schema` if one is given, else the first found in `path`
    /// (existing schemas in order; built-in ones hold no users' relations and are skipped).
    pub fn find_relation(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<Relation> {
        match schema {
            Some(schema) => self.relation_in(self.schema_oid(super::resolve_temporary(schema, path))?, name),
            None => path
                .iter()
                .filter_map(|schema| self.schema_oid(schema))
                .find_map(|schema| self.relation_in(schema, name)),
        }
    }

    /// Whether a relation is found under its bare name, so that printing it needs no schema.
    pub fn is_visible(&self, relation: &Relation, path: &[String]) -> bool {
        self.find_relation(None, relation.name(), path).is_some_and(|found| found.oid() == relation.oid())
    }

    /// Foreign keys of any table that refer to the table: (referencing table, position of the constraint).
    pub fn referencing(&self, table: u32) -> Vec<(Arc<Table>, usize)> {
        let mut found = Vec::new();
        for other in self.tables.values() {
            for (position, constraint) in other.constraints.iter().enumerate() {
                if let super::ConstraintKind::ForeignKey(key) = &constraint.kind
                    && key.table == table
                {
                    found.push((Arc::clone(other), position));
                }
            }
        }
        found
    }

    /// Where the values of its sequences are stored.
    pub fn sequence_storages(&self) -> BTreeSet<u32> {
        self.sequences.values().map(|sequence| sequence.storage).collect()
    }

    /// Sequences that a column owns (serial, identity, `OWNED BY`).
    pub fn sequences_of(&self, table: u32, attnum: Option<i16>) -> Vec<Arc<Sequence>> {
        self.sequences
            .values()
            .filter(|s| s.owned_by.is_some_and(|(t, a)| t == table && attnum.is_none_or(|n| n == a)))
            .cloned()
            .collect()
    }
}
