//! Rows of system tables that tell nothing but the catalog, kept from one query to the next: clients ask for them again and
//! again, and the catalog seldom changes.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use stratos_types::{Datum, Result};

use crate::catalog::{Snapshot, SystemTable};

/// Rows of a system table, shared by those who read them.
pub(crate) type SharedRows = Arc<Vec<Vec<Datum>>>;

/// Memory that the kept rows of a node may take.
const BYTES_MAX: usize = 32 << 20;
/// Tables whose rows are kept, of all databases together.
const ENTRIES_MAX: usize = 128;

/// What the rows depend on. The version is that of the whole cluster's catalog.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    version: u64,
    database: u32,
    table: u32,
    /// Expressions print with the schemas of names that it does not lead to.
    search_path: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    rows: SharedRows,
    bytes: usize,
}

/// The rows that are kept.
#[derive(Debug, Default)]
pub(crate) struct SystemCache {
    /// The oldest come first, and go first.
    entries: Mutex<VecDeque<Entry>>,
}

/// Memory of a value, roughly.
fn bytes_of(value: &Datum) -> usize {
    let beside = match value {
        Datum::Array(array) => array.values.iter().map(bytes_of).sum(),
        other => other.as_str().map_or(0, str::len),
    };
    size_of::<Datum>() + beside
}

impl SystemCache {
    /// The rows of a table whose rows depend on the catalog and the search path alone, made when they are not at hand.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn rows(
        &self,
        table: &dyn SystemTable,
        catalog: &Snapshot,
        search_path: Vec<String>,
        make: impl FnOnce() -> Result<Vec<Vec<Datum>>>,
    ) -> Result<SharedRows> {
        // Two transactions that change the catalog begin with the same version.
        if catalog.private {
            return make().map(Arc::new);
        }
        let key = Key { version: catalog.version, database: catalog.database, table: table.oid(), search_path };
        if let Some(found) = self.entries.lock().iter().find(|entry| entry.key == key) {
            return Ok(found.rows.clone());
        }
        // Made outside the lock: two sessions may make the same rows, which is harmless.
        let rows = Arc::new(make()?);
        let bytes = rows.iter().map(|row| size_of::<Vec<Datum>>() + row.iter().map(bytes_of).sum::<usize>()).sum();
        if bytes <= BYTES_MAX {
            let mut entries = self.entries.lock();
            entries.retain(|entry| entry.key.version >= key.version && entry.key != key);
            entries.push_back(Entry { key, rows: rows.clone(), bytes });
            let mut kept: usize = entries.iter().map(|entry| entry.bytes).sum();
            while kept > BYTES_MAX || entries.len() > ENTRIES_MAX {
                kept -= entries.pop_front().map_or(kept, |entry| entry.bytes);
            }
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(cache: &SystemCache, catalog: &Snapshot, path: &str, made: &str) -> String {
        let table = crate::system::find("pg_catalog", "pg_namespace").unwrap();
        let rows = cache.rows(&*table, catalog, vec![path.to_owned()], || Ok(vec![vec![Datum::text(made)]])).unwrap();
        rows[0][0].as_str().unwrap().to_owned()
    }

    #[test]
    fn rows_are_kept_per_version_database_and_search_path() {
        let cache = SystemCache::default();
        let old = Snapshot { version: 3, database: 1, ..Snapshot::default() };
        assert_eq!(ask(&cache, &old, "public", "a"), "a");
        assert_eq!(ask(&cache, &old, "public", "b"), "a");
        assert_eq!(ask(&cache, &old, "other", "c"), "c");
        assert_eq!(ask(&cache, &Snapshot { database: 2, ..old.clone() }, "public", "d"), "d");
        assert_eq!(ask(&cache, &Snapshot { version: 4, ..old.clone() }, "public", "e"), "e");
        assert_eq!(ask(&cache, &Snapshot { version: 4, ..old.clone() }, "public", "f"), "e");
        // What newer versions have replaced is not kept, so that a schema that changes often does not fill it.
        assert_eq!(cache.entries.lock().len(), 1);
    }

    #[test]
    fn what_a_transaction_has_changed_is_its_own() {
        let cache = SystemCache::default();
        let mine = Snapshot { version: 3, private: true, ..Snapshot::default() };
        assert_eq!(ask(&cache, &mine, "public", "a"), "a");
        assert_eq!(ask(&cache, &mine, "public", "b"), "b");
        assert_eq!(ask(&cache, &Snapshot { private: false, ..mine }, "public", "c"), "c");
    }

    #[test]
    fn memory_is_bounded() {
        let cache = SystemCache::default();
        let table = crate::system::find("pg_catalog", "pg_namespace").unwrap();
        let catalog = Snapshot::default();
        for number in 0..20 {
            let make = || Ok(vec![vec![Datum::text("x".repeat(BYTES_MAX / 8))]]);
            cache.rows(&*table, &catalog, vec![number.to_string()], make).unwrap();
        }
        let entries = cache.entries.lock();
        assert!(entries.iter().map(|entry| entry.bytes).sum::<usize>() <= BYTES_MAX);
        assert_eq!(entries.back().unwrap().key.search_path, ["19"]);
    }
}
