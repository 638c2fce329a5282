//! From the store to a [`Snapshot`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use stratos_types::{Error, ErrorKind, Result};

use super::editor::{add_sequence, add_table};
use super::{Database, FIRST_USER_OID, NO_DATABASE, Role, Schema, Sequence, Snapshot, Table, keys};

/// What a scan hands keys and values to; an error ends the scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Reading at one moment: the store's view, or a map in tests.
pub trait CatalogReader {
    /// The value of a key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;
    /// Every key that starts with `prefix`, in order.
    ///
    /// # Errors
    /// When the store cannot be read, or what `visit` returns.
    fn scan_prefix(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<()>;
}

/// The committed catalog's version as of the reader's moment; none before the bootstrap.
///
/// # Errors
/// When the store cannot be read or holds something else there.
pub fn read_version(reader: &dyn CatalogReader) -> Result<Option<u64>> {
    reader
        .get(&keys::version())?
        .map(|bytes| {
            bytes
                .as_ref()
                .try_into()
                .map(u64::from_be_bytes)
                .map_err(|_| damaged("the catalog's version has a wrong length"))
        })
        .transpose()
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::DataCorrupted, format!("damaged catalog: {what}"))
}

fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(damaged)
}

/// The catalog of a database as of the reader's moment.
///
/// # Errors
/// 3D000 when there is no such database; a damaged or unreadable store.
pub fn load_snapshot(reader: &dyn CatalogReader, database: u32) -> Result<Snapshot> {
    let version = read_version(reader)?.ok_or_else(|| damaged("it was never set up"))?;
    let mut snapshot = Snapshot { version, database, ..Snapshot::default() };
    reader.scan_prefix(&keys::databases(), &mut |_, value| {
        let database: Database = parse(value)?;
        snapshot.databases.insert(database.oid, Arc::new(database));
        Ok(())
    })?;
    if database != NO_DATABASE && !snapshot.databases.contains_key(&database) {
        return Err(Error::new(ErrorKind::InvalidCatalogName, format!("database with OID {database} does not exist")));
    }
    reader.scan_prefix(&keys::roles(), &mut |_, value| {
        let role: Role = parse(value)?;
        snapshot.roles.insert(role.oid, Arc::new(role));
        Ok(())
    })?;
    reader.scan_prefix(&keys::schemas(database), &mut |_, value| {
        let schema: Schema = parse(value)?;
        snapshot.schemas.insert(schema.oid, Arc::new(schema));
        Ok(())
    })?;
    reader.scan_prefix(&keys::tables(database), &mut |_, value| {
        let mut table: Table = parse(value)?;
        let schema = snapshot
            .schema_name(table.schema)
            .ok_or_else(|| damaged(format!("table {} is in no schema", table.oid)))?;
        if table.indexes.is_empty() {
            return Err(damaged(format!("table {} has no place for rows", table.oid)));
        }
        table.schema_name = schema.to_owned();
        add_table(&mut snapshot, Arc::new(table));
        Ok(())
    })?;
    reader.scan_prefix(&keys::sequences(database), &mut |_, value| {
        let sequence: Sequence = parse(value)?;
        add_sequence(&mut snapshot, Arc::new(sequence));
        Ok(())
    })?;
    for scope in [0, database] {
        let prefix = keys::comments(scope);
        reader.scan_prefix(&prefix, &mut |key, value| {
            let numbers = keys::numbers_after(&prefix, key)?;
            let text = std::str::from_utf8(value).map_err(damaged)?;
            if let [class, object] = numbers[..] {
                snapshot.comments.insert((class, object), text.into());
            }
            Ok(())
        })?;
    }
    Ok(snapshot)
}

/// Snapshots that are in use or were lately, by (database, version).
#[derive(Debug, Default)]
pub struct SnapshotCache {
    entries: Mutex<BTreeMap<(u64, u32), Arc<Snapshot>>>,
}

/// How many snapshots are kept for reuse; those of the oldest versions go first. Sessions keep theirs alive by themselves.
const CACHED_SNAPSHOTS_MAX: usize = 32;

impl SnapshotCache {
    /// The catalog of a database as of the reader's moment: from the cache when that version was loaded before.
    ///
    /// # Errors
    /// As [`load_snapshot`].
    pub fn snapshot(&self, database: u32, reader: &dyn CatalogReader) -> Result<Arc<Snapshot>> {
        let version = read_version(reader)?.ok_or_else(|| damaged("it was never set up"))?;
        if let Some(found) = self.entries.lock().get(&(version, database)) {
            return Ok(Arc::clone(found));
        }
        // Loaded outside the lock: two sessions may load the same version once each, which is harmless.
        let loaded = Arc::new(load_snapshot(reader, database)?);
        let mut entries = self.entries.lock();
        entries.insert((version, database), Arc::clone(&loaded));
        while entries.len() > CACHED_SNAPSHOTS_MAX {
            entries.pop_first();
        }
        Ok(loaded)
    }
}

/// OIDs that the node has reserved in the store and not yet given out. OIDs are never given out twice; those that are
/// reserved when the node stops are lost.
#[derive(Debug, Default)]
pub struct OidPool {
    reserved: Mutex<Vec<Range<u32>>>,
}

impl OidPool {
    /// How many to reserve at a time, with `Store::allocate_ids("oid", …)`.
    pub const BLOCK: u64 = 4096;
    /// No single statement needs more (a table has at most 1600 columns, of few objects each); a statement that does is
    /// refused with 54000.
    pub const STATEMENT_MAX: usize = 8192;

    /// Whether a DDL statement should be preceded by [`OidPool::add`].
    pub fn is_low(&self) -> bool {
        self.reserved.lock().iter().map(|range| range.len()).sum::<usize>() < OidPool::STATEMENT_MAX
    }

    /// Adds a block that the store has allocated; its numbers count from 0 or 1.
    ///
    /// # Errors
    /// 54000 when the 32 bits of OIDs are used up.
    pub fn add(&self, block: Range<u64>) -> Result<()> {
        let oid = |id: u64| {
            u32::try_from(id)
                .ok()
                .and_then(|id| id.checked_add(FIRST_USER_OID))
                .ok_or_else(|| Error::new(ErrorKind::ProgramLimitExceeded, "all object identifiers are used up"))
        };
        let range = oid(block.start)?..oid(block.end)?;
        self.reserved.lock().push(range);
        Ok(())
    }

    /// An OID that nothing has had before.
    ///
    /// # Errors
    /// 54000 when the statement takes more than were reserved before it.
    pub fn next(&self) -> Result<u32> {
        let mut reserved = self.reserved.lock();
        loop {
            let first = reserved
                .first_mut()
                .ok_or_else(|| Error::new(ErrorKind::ProgramLimitExceeded, "a statement creates too many objects"))?;
            match first.next() {
                Some(oid) => return Ok(oid),
                None => {
                    reserved.remove(0);
                }
            }
        }
    }
}
