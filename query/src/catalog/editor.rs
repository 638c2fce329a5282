//! Changes of the catalog: the picture that a transaction with DDL sees, and the writes that make it last.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use stratos_types::Result;

use super::bootstrap::{json, public_comment, public_schema};
use super::keys;
use super::{Database, Role, Schema, Sequence, Snapshot, Table};

/// A write to the system keyspace; no value deletes the key.
pub type Change = (Bytes, Option<Bytes>);

/// A private copy of a [`Snapshot`] that is being changed by one statement.
///
/// A transaction keeps the snapshot that [`SnapshotEditor::finish`] gives and starts its next DDL statement from it; to
/// roll back to a savepoint it goes back to the snapshot that it had then. The writes go into the transaction beside it.
/// Before its first DDL statement a transaction locks [`keys::version`] and takes a fresh view, so that it edits the
/// latest catalog.
#[derive(Debug)]
pub struct SnapshotEditor {
    snapshot: Snapshot,
    base_version: u64,
    changes: BTreeMap<Bytes, Option<Bytes>>,
}

impl SnapshotEditor {
    /// Starts from what the transaction sees.
    pub fn new(snapshot: &Arc<Snapshot>) -> SnapshotEditor {
        SnapshotEditor { base_version: snapshot.version, snapshot: Snapshot::clone(snapshot), changes: BTreeMap::new() }
    }

    /// The picture with the changes so far.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether nothing was changed.
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changed picture, and the writes to make in the transaction, in key order. Without a change the picture is the
    /// one that the editor started from and there are no writes.
    pub fn finish(mut self) -> (Arc<Snapshot>, Vec<Change>) {
        if !self.changes.is_empty() {
            self.snapshot.private = true;
            let next = self.base_version.saturating_add(1);
            self.changes.insert(keys::version(), Some(Bytes::copy_from_slice(&next.to_be_bytes())));
        }
        (Arc::new(self.snapshot), self.changes.into_iter().collect())
    }

    fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        self.changes.insert(key, value);
    }

    /// Adds or replaces a table, with its names and those of its indexes.
    ///
    /// # Errors
    /// None that input could cause.
    pub fn put_table(&mut self, mut table: Table) -> Result<Arc<Table>> {
        self.forget_names(table.oid);
        table.version += 1;
        self.write(keys::table(table.database, table.oid), Some(json(&table)?));
        table.schema_name = self.snapshot.schema_name(table.schema).unwrap_or_default().to_owned();
        let table = Arc::new(table);
        add_table(&mut self.snapshot, Arc::clone(&table));
        Ok(table)
    }

    /// Removes a table with its indexes; its sequences and the constraints of others are the caller's.
    pub fn remove_table(&mut self, oid: u32) {
        self.forget_names(oid);
        if let Some(table) = self.snapshot.tables.remove(&oid) {
            self.write(keys::table(table.database, oid), None);
        }
    }

    fn forget_names(&mut self, table: u32) {
        let Some(old) = self.snapshot.tables.get(&table).cloned() else {
            return;
        };
        self.snapshot.relations.remove(&(old.schema, old.name.clone()));
        for index in old.indexes.iter().filter(|i| i.oid != 0) {
            self.snapshot.relations.remove(&(old.schema, index.name.clone()));
            self.snapshot.index_tables.remove(&index.oid);
        }
    }

    /// Adds or replaces a sequence.
    ///
    /// # Errors
    /// None that input could cause.
    pub fn put_sequence(&mut self, sequence: Sequence) -> Result<Arc<Sequence>> {
        if let Some(old) = self.snapshot.sequences.get(&sequence.oid) {
            self.snapshot.relations.remove(&(old.schema, old.name.clone()));
        }
        let database = self.snapshot.database;
        self.write(keys::sequence(database, sequence.oid), Some(json(&sequence)?));
        let sequence = Arc::new(sequence);
        add_sequence(&mut self.snapshot, Arc::clone(&sequence));
        Ok(sequence)
    }

    /// Removes a sequence. Its value goes after the commit, because values are written by others meanwhile.
    pub fn remove_sequence(&mut self, oid: u32) {
        if let Some(old) = self.snapshot.sequences.remove(&oid) {
            self.snapshot.relations.remove(&(old.schema, old.name.clone()));
            let database = self.snapshot.database;
            self.write(keys::sequence(database, oid), None);
            self.set_comment(super::system::PG_CLASS, oid, None);
        }
    }

    /// Adds or replaces a schema. A new name is filled into the schema's tables.
    ///
    /// # Errors
    /// None that input could cause.
    pub fn put_schema(&mut self, schema: Schema) -> Result<()> {
        let database = self.snapshot.database;
        self.write(keys::schema(database, schema.oid), Some(json(&schema)?));
        for table in self.snapshot.tables.values_mut() {
            if table.schema == schema.oid {
                Arc::make_mut(table).schema_name.clone_from(&schema.name);
            }
        }
        self.snapshot.schemas.insert(schema.oid, Arc::new(schema));
        Ok(())
    }

    /// Removes a schema; what is in it is the caller's.
    pub fn remove_schema(&mut self, oid: u32) {
        if self.snapshot.schemas.remove(&oid).is_some() {
            let database = self.snapshot.database;
            self.write(keys::schema(database, oid), None);
            self.set_comment(super::system::PG_NAMESPACE, oid, None);
        }
    }

    /// Adds or replaces a database.
    ///
    /// # Errors
    /// None that input could cause.
    pub fn put_database(&mut self, database: Database) -> Result<()> {
        if !self.snapshot.databases.contains_key(&database.oid) {
            let schema = public_schema(database.owner);
            self.write(keys::schema(database.oid, schema.oid), Some(json(&schema)?));
            let (key, comment) = public_comment(database.oid);
            self.write(key, Some(comment));
        }
        self.write(keys::database(database.oid), Some(json(&database)?));
        self.snapshot.databases.insert(database.oid, Arc::new(database));
        Ok(())
    }

    /// Removes a database's own descriptor. Its contents' descriptors (`keys` of `contents`, from the store) go with it.
    pub fn remove_database(&mut self, oid: u32, contents: Vec<Bytes>) {
        if self.snapshot.databases.remove(&oid).is_some() {
            self.write(keys::database(oid), None);
            for key in contents {
                self.write(key, None);
            }
            self.set_comment(super::system::PG_DATABASE, oid, None);
        }
    }

    /// Adds or replaces a role.
    ///
    /// # Errors
    /// None that input could cause.
    pub fn put_role(&mut self, role: Role) -> Result<()> {
        self.write(keys::role(role.oid), Some(json(&role)?));
        self.snapshot.roles.insert(role.oid, Arc::new(role));
        Ok(())
    }

    /// Removes a role.
    pub fn remove_role(&mut self, oid: u32) {
        if self.snapshot.roles.remove(&oid).is_some() {
            self.write(keys::role(oid), None);
            self.set_comment(super::system::PG_AUTHID, oid, None);
        }
    }

    /// Sets or removes a comment of an object whose descriptor has no place for one (everything but tables, columns and
    /// indexes), by the OID of its class (`pg_constraint`'s for a constraint, and so on).
    pub fn set_comment(&mut self, class: u32, object: u32, comment: Option<&str>) {
        let shared = class == super::system::PG_DATABASE || class == super::system::PG_AUTHID;
        let database = if shared { 0 } else { self.snapshot.database };
        let key = keys::comment(database, class, object);
        match comment {
            Some(text) => {
                self.write(key, Some(Bytes::copy_from_slice(text.as_bytes())));
                self.snapshot.comments.insert((class, object), text.into());
            }
            None => {
                if self.snapshot.comments.remove(&(class, object)).is_some() {
                    self.write(key, None);
                }
            }
        }
    }
}

/// Puts a table into a picture, with its names.
pub(super) fn add_table(snapshot: &mut Snapshot, table: Arc<Table>) {
    snapshot.relations.insert((table.schema, table.name.clone()), table.oid);
    for index in table.indexes.iter().filter(|i| i.oid != 0) {
        snapshot.relations.insert((table.schema, index.name.clone()), index.oid);
        snapshot.index_tables.insert(index.oid, table.oid);
    }
    snapshot.tables.insert(table.oid, table);
}

/// Puts a sequence into a picture, with its name.
pub(super) fn add_sequence(snapshot: &mut Snapshot, sequence: Arc<Sequence>) {
    snapshot.relations.insert((sequence.schema, sequence.name.clone()), sequence.oid);
    snapshot.sequences.insert(sequence.oid, sequence);
}
