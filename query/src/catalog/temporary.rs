//! Temporary relations: they live in a schema of their session's, `pg_temp_N`, which goes with the session.
//!
//! The schema is an ordinary one to everything below the names. What makes its relations temporary is that only its own
//! session finds them, by the search path or as `pg_temp`, and that they are dropped when the session ends. What a node left
//! behind that was killed is dropped when it starts.

use super::{Change, Snapshot, SnapshotEditor};
use crate::ddl::Job;

/// How the schemas of temporary relations begin; no other schema's name can.
const PREFIX: &str = "pg_temp_";
/// What every session calls its own.
const ALIAS: &str = "pg_temp";

/// The name of a session's schema.
pub fn temporary_schema_name(pid: i32) -> String {
    format!("{PREFIX}{pid}")
}

/// Whether a schema is some session's.
pub fn is_temporary_name(schema: &str) -> bool {
    schema.starts_with(PREFIX)
}

/// The schema that a name stands for, `pg_temp` being the session's own. A search path has no other session's.
pub fn resolve_temporary<'a>(schema: &'a str, path: &'a [String]) -> &'a str {
    let own = || path.iter().find(|schema| is_temporary_name(schema));
    if schema == ALIAS { own().map_or(schema, String::as_str) } else { schema }
}

/// Puts a session's schema where the search path has it: first, unless the path says otherwise.
pub fn temporary_in_path(path: &mut Vec<String>, own: &str, exists: bool) {
    path.retain(|schema| !is_temporary_name(schema));
    match path.iter().position(|schema| schema == ALIAS) {
        Some(place) if exists => path[place] = own.to_owned(),
        Some(place) => {
            path.remove(place);
        }
        None if exists => path.insert(0, own.to_owned()),
        None => {}
    }
}

impl Snapshot {
    /// Whether a schema is for temporary relations.
    pub fn is_temporary(&self, schema: u32) -> bool {
        self.schemas.get(&schema).is_some_and(|schema| is_temporary_name(&schema.name))
    }

    /// `pg_class.relpersistence`
    pub fn persistence(&self, schema: u32) -> &'static str {
        if self.is_temporary(schema) { "t" } else { "p" }
    }
}

/// What drops temporary schemas with all that is in them.
#[derive(Debug)]
pub struct Removal {
    /// Writes of the catalog.
    pub changes: Vec<Change>,
    /// What frees the tables' storage.
    pub jobs: Vec<Job>,
    /// Sequences' storages, whose values go after the commit.
    pub sequences: Vec<u32>,
}

/// How to drop the temporary schemas whose names are wanted; none when there are none.
pub fn removal_of_temporary(snapshot: &std::sync::Arc<Snapshot>, wanted: impl Fn(&str) -> bool) -> Option<Removal> {
    let is_wanted = |name: &str| is_temporary_name(name) && wanted(name);
    let schemas: Vec<u32> = snapshot.schemas.values().filter(|s| is_wanted(&s.name)).map(|s| s.oid).collect();
    if schemas.is_empty() {
        return None;
    }
    let mut editor = SnapshotEditor::new(snapshot);
    let (mut jobs, mut sequences) = (Vec::new(), Vec::new());
    for table in snapshot.tables.values().filter(|table| schemas.contains(&table.schema)) {
        for constraint in &table.constraints {
            editor.set_comment(super::system::PG_CONSTRAINT, constraint.oid, None);
        }
        editor.remove_table(table.oid);
        jobs.push(Job::DropStorage { database: table.database, storage: table.storage });
    }
    for sequence in snapshot.sequences.values().filter(|sequence| schemas.contains(&sequence.schema)) {
        sequences.push(sequence.storage);
        editor.remove_sequence(sequence.oid);
    }
    for schema in schemas {
        editor.remove_schema(schema);
    }
    let (_, changes) = editor.finish();
    Some(Removal { changes, jobs, sequences })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_schema_is_first_unless_the_path_places_it() {
        let path = |schemas: &[&str], exists| {
            let mut path: Vec<String> = schemas.iter().map(|s| (*s).to_owned()).collect();
            temporary_in_path(&mut path, "pg_temp_7", exists);
            path.join(",")
        };
        assert_eq!(path(&["public"], true), "pg_temp_7,public");
        assert_eq!(path(&["public"], false), "public");
        assert_eq!(path(&["public", "pg_temp"], true), "public,pg_temp_7");
        assert_eq!(path(&["pg_temp", "public"], false), "public");
        assert_eq!(path(&["pg_temp_8", "public"], true), "pg_temp_7,public");
    }

    #[test]
    fn the_alias_is_the_sessions_own() {
        let path = ["pg_temp_7".to_owned(), "public".to_owned()];
        assert_eq!(resolve_temporary("pg_temp", &path), "pg_temp_7");
        assert_eq!(resolve_temporary("pg_temp", &path[1..]), "pg_temp");
        assert_eq!(resolve_temporary("public", &path), "public");
    }
}
