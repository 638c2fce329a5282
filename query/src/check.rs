//! Whether stored rows and index entries agree with the catalog and with each other: what `stratos check` verifies above
//! the key-value store.
//!
//! For every table: every row decodes and has what NOT NULL promises; every row has exactly its entry in every public
//! index; every entry of an index belongs to a row that has that entry (which, keys being unique, makes unique indexes
//! unique); every foreign key finds its row. An index that is being built may lack entries, but not have wrong ones.

use std::fmt;

use bytes::Bytes;
use stratos_types::key::encode_column;
use stratos_types::{Datum, PgType, Result};

use crate::catalog::{CatalogReader, ForeignKey, Index, IndexState, Snapshot, Table};
use crate::rows;

/// Something that does not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `schema.table`
    pub table: String,
    /// The index or constraint concerned.
    pub object: Option<String>,
    /// The key of the row or entry.
    pub key: Bytes,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table)?;
        if let Some(object) = &self.object {
            write!(f, " ({object})")?;
        }
        write!(f, ": {} at key ", self.what)?;
        self.key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Tables.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Entries of all secondary indexes.
    pub entries: u64,
    /// References of foreign keys that were followed.
    pub references: u64,
    /// Problems reported.
    pub problems: u64,
}

/// Goes over all tables of a database as of the reader's moment. Every problem is told to `report`, as it is found.
///
/// # Errors
/// Only when the store cannot be read; damage of values is a problem, not an error.
pub fn check_database(
    snapshot: &Snapshot,
    reader: &dyn CatalogReader,
    report: &mut dyn FnMut(Problem),
) -> Result<Checked> {
    let mut checker = Checker { snapshot, reader, report, checked: Checked::default() };
    for table in snapshot.tables.values() {
        checker.table(table)?;
    }
    Ok(checker.checked)
}

struct Checker<'a> {
    snapshot: &'a Snapshot,
    reader: &'a dyn CatalogReader,
    report: &'a mut dyn FnMut(Problem),
    checked: Checked,
}

impl Checker<'_> {
    fn problem(&mut self, table: &Table, object: Option<&str>, key: &[u8], what: impl fmt::Display) {
        self.checked.problems += 1;
        (self.report)(Problem {
            table: table.qualified_name(),
            object: object.map(str::to_owned),
            key: Bytes::copy_from_slice(key),
            what: what.to_string(),
        });
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        self.checked.tables += 1;
        let reader = self.reader;
        let prefix = rows::index_prefix(table, table.primary_index());
        reader.scan_prefix(&prefix, &mut |key, value| {
            self.checked.rows += 1;
            match rows::decode_row(table, key, value) {
                Ok(row) => self.row(table, key, &row)?,
                Err(error) => self.problem(table, None, key, format!("row does not decode: {error}")),
            }
            Ok(())
        })?;
        for index in &table.indexes[1..] {
            let prefix = rows::index_prefix(table, index);
            reader.scan_prefix(&prefix, &mut |key, value| {
                self.checked.entries += 1;
                self.entry(table, index, key, value)
            })?;
        }
        Ok(())
    }

    fn row(&mut self, table: &Table, key: &[u8], row: &[Datum]) -> Result<()> {
        for (column, value) in table.columns.iter().zip(row) {
            if column.not_null && value.is_null() {
                let what = format!("NULL in column \"{}\", which is NOT NULL", column.name);
                self.problem(table, None, key, what);
            }
        }
        if table.has_primary_key() {
            match rows::primary_key(table, row) {
                Ok(expected) if expected == key => {}
                Ok(_) => self.problem(table, None, key, "row is not under its own primary key"),
                Err(error) => self.problem(table, None, key, error),
            }
        }
        for index in &table.indexes[1..] {
            if index.state != IndexState::Public {
                continue;
            }
            match rows::index_entry(table, index, key, row) {
                Ok(entry) => {
                    let found = self.reader.get(&entry.key)?;
                    match found {
                        Some(value) if value.as_ref() == entry.value.as_slice() => {}
                        Some(_) => {
                            self.problem(table, Some(&index.name), key, "the row's index entry points at another row")
                        }
                        None => self.problem(table, Some(&index.name), key, "the row has no index entry"),
                    }
                }
                Err(error) => self.problem(table, Some(&index.name), key, error),
            }
        }
        for (constraint, foreign) in table.foreign_keys() {
            self.reference(table, &constraint.name, foreign, key, row)?;
        }
        Ok(())
    }

    fn entry(&mut self, table: &Table, index: &Index, key: &[u8], value: &[u8]) -> Result<()> {
        let name = Some(index.name.as_str());
        let row_key = match rows::row_key_of_entry(table, index, key, value) {
            Ok(row_key) => row_key,
            Err(error) => {
                self.problem(table, name, key, format!("entry does not decode: {error}"));
                return Ok(());
            }
        };
        let Some(row) = self.reader.get(&row_key)? else {
            self.problem(table, name, key, "entry of a row that does not exist");
            return Ok(());
        };
        // A row that does not decode was reported when it was met.
        let Ok(row) = rows::decode_row(table, &row_key, &row) else {
            return Ok(());
        };
        match rows::index_entry(table, index, &row_key, &row) {
            Ok(expected) if expected.key == key && expected.value == value => {}
            Ok(_) => self.problem(table, name, key, "entry does not match its row"),
            Err(error) => self.problem(table, name, key, error),
        }
        Ok(())
    }

    fn reference(
        &mut self,
        table: &Table,
        constraint: &str,
        foreign: &ForeignKey,
        key: &[u8],
        row: &[Datum],
    ) -> Result<()> {
        let Some((target, index)) = self.snapshot.index(foreign.index) else {
            self.problem(table, Some(constraint), key, "the referenced key is gone");
            return Ok(());
        };
        let mut target_key = rows::index_prefix(target, index).to_vec();
        for column in &index.columns {
            let own = foreign
                .referenced
                .iter()
                .position(|attnum| *attnum == column.attnum)
                .and_then(|place| foreign.columns.get(place))
                .and_then(|attnum| table.column_index(*attnum))
                .and_then(|position| row.get(position));
            let ty = target.column_index(column.attnum).map(|position| target.columns[position].ty.ty);
            let (Some(own), Some(ty)) = (own, ty) else {
                self.problem(table, Some(constraint), key, "the key's columns are gone");
                return Ok(());
            };
            // With a NULL anywhere nothing is referenced.
            if own.is_null() {
                let set = |attnum: &i16| table.column_index(*attnum).is_some_and(|at| !row[at].is_null());
                if foreign.match_full && foreign.columns.iter().any(set) {
                    self.problem(
                        table,
                        Some(constraint),
                        key,
                        "some columns of a MATCH FULL key are NULL, others are not",
                    );
                }
                return Ok(());
            }
            let Some(own) = as_type(own, ty) else {
                self.problem(table, Some(constraint), key, "the referenced row does not exist");
                return Ok(());
            };
            encode_column(&mut target_key, ty, &own, column.descending, column.nulls_first);
        }
        self.checked.references += 1;
        if self.reader.get(&target_key)?.is_none() {
            self.problem(table, Some(constraint), key, "the referenced row does not exist");
        }
        Ok(())
    }
}

/// An integer as another integer type, as foreign keys between them compare; none when it does not fit, other values as
/// they are.
fn as_type(value: &Datum, ty: PgType) -> Option<Datum> {
    let integer = match value {
        Datum::Int2(n) => i64::from(*n),
        Datum::Int4(n) => i64::from(*n),
        Datum::Int8(n) => *n,
        other => return Some(other.clone()),
    };
    match ty {
        PgType::Int2 => i16::try_from(integer).ok().map(Datum::Int2),
        PgType::Int4 => i32::try_from(integer).ok().map(Datum::Int4),
        _ => Some(Datum::Int8(integer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ddl::tests::{Db, Memory};

    /// Two tables with three rows, as the executor would store them.
    fn stored() -> (Snapshot, Memory) {
        let mut db = Db::new();
        db.ok("create table p(a int primary key, b text not null unique)");
        db.ok("create table c(id bigint primary key, p bigint references p, q text)");
        db.in_block = true;
        db.ok("create index on c(q)");
        let snapshot = db.snapshot();
        let mut store = Memory::default();
        let table = |name: &str| snapshot.tables.values().find(|t| t.name == name).unwrap();
        for (name, row) in [
            ("p", vec![Datum::Int4(1), Datum::text("x")]),
            ("c", vec![Datum::Int8(1), Datum::Int8(1), Datum::Null]),
            ("c", vec![Datum::Int8(2), Datum::Null, Datum::text("z")]),
        ] {
            let table = table(name);
            let key = rows::primary_key(table, &row).unwrap();
            for index in &table.indexes[1..] {
                let entry = rows::index_entry(table, index, &key, &row).unwrap();
                store.0.insert(entry.key.into(), entry.value.into());
            }
            let value = rows::encode_row(table, &row).unwrap();
            store.0.insert(key.into(), value.into());
        }
        (snapshot, store)
    }

    fn problems(snapshot: &Snapshot, store: &Memory) -> Vec<String> {
        let mut found = Vec::new();
        let checked = check_database(snapshot, store, &mut |problem| found.push(problem.what.clone())).unwrap();
        assert_eq!(checked.problems, found.len() as u64);
        found
    }

    #[test]
    fn agreement_is_silent() {
        let (snapshot, store) = stored();
        let checked = check_database(&snapshot, &store, &mut |p| panic!("{p}")).unwrap();
        assert_eq!(checked, Checked { tables: 2, rows: 3, entries: 3, references: 1, problems: 0 });
    }

    #[test]
    fn every_missing_key_is_noticed() {
        let (snapshot, store) = stored();
        for key in store.0.keys() {
            // The second row of c is referenced by nothing but its own index entry, so that every loss shows.
            let mut damaged = Memory(store.0.clone());
            damaged.0.remove(key);
            assert!(!problems(&snapshot, &damaged).is_empty(), "{key:?}");
        }
    }

    #[test]
    fn wrong_entries_are_noticed() {
        let (snapshot, mut store) = stored();
        let c = snapshot.tables.values().find(|t| t.name == "c").unwrap();
        let key = rows::primary_key(c, &[Datum::Int8(1), Datum::Null, Datum::Null]).unwrap();
        let other = [Datum::Int8(1), Datum::Null, Datum::text("other")];
        let entry = rows::index_entry(c, &c.indexes[1], &key, &other).unwrap();
        store.0.insert(entry.key.into(), entry.value.into());
        assert_eq!(problems(&snapshot, &store), ["entry does not match its row"]);
    }

    #[test]
    fn references_that_lead_nowhere_are_noticed() {
        let (snapshot, mut store) = stored();
        let c = snapshot.tables.values().find(|t| t.name == "c").unwrap();
        for (id, parent) in [(3, 9), (4, i64::MAX)] {
            let row = [Datum::Int8(id), Datum::Int8(parent), Datum::Null];
            let key = rows::primary_key(c, &row).unwrap();
            let entry = rows::index_entry(c, &c.indexes[1], &key, &row).unwrap();
            store.0.insert(entry.key.into(), entry.value.into());
            store.0.insert(key.into(), rows::encode_row(c, &row).unwrap().into());
        }
        assert_eq!(
            problems(&snapshot, &store),
            ["the referenced row does not exist", "the referenced row does not exist"]
        );
    }
}
