//! What system tables exist, with their columns.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use stratos_types::{ColumnType, Datum, PgType, Result};

use super::rows::Rows;
use super::{functions, information_schema, internal, objects, relations, shared, statics, statistics};
use crate::catalog::{SystemContext, SystemTable};

/// Makes the rows of a table.
pub(super) type Producer = fn(&mut Rows<'_>, &SystemContext) -> Result<()>;

/// A system table.
#[derive(Debug)]
pub(super) struct Definition {
    pub schema: &'static str,
    pub name: &'static str,
    pub oid: u32,
    /// `r` for a table, `v` for a view.
    pub kind: &'static str,
    pub columns: Vec<(&'static str, ColumnType)>,
    pub not_null: Vec<bool>,
    producer: Option<Producer>,
    /// See [`SystemTable::live_columns`].
    live_columns: Option<Vec<usize>>,
}

impl SystemTable for Definition {
    fn schema(&self) -> &str {
        self.schema
    }
    fn name(&self) -> &str {
        self.name
    }
    fn oid(&self) -> u32 {
        self.oid
    }
    fn columns(&self) -> &[(&'static str, ColumnType)] {
        &self.columns
    }
    fn rows(&self, context: &SystemContext) -> Result<Vec<Vec<Datum>>> {
        let mut rows = Rows::new(self);
        if let Some(producer) = self.producer {
            producer(&mut rows, context)?;
        }
        Ok(rows.finish())
    }
    fn live_columns(&self) -> Option<&[usize]> {
        self.live_columns.as_deref()
    }
}

static POSTGRES: &str = include_str!("data/relations.tsv");
static OURS: &str = include_str!("data/internal.tsv");

/// The files are part of the program and checked by a test, so that a line that does not read is skipped.
fn parse(text: &'static str, into: &mut Vec<Definition>) {
    for line in text.lines() {
        let fields: Vec<&'static str> = line.split('\t').collect();
        match fields[..] {
            ["R", schema, name, oid, kind, ..] => into.push(Definition {
                schema,
                name,
                oid: oid.parse().unwrap_or(0),
                kind,
                columns: Vec::new(),
                not_null: Vec::new(),
                producer: producer(schema, name),
                live_columns: if tells_the_catalog(schema, name) { Some(Vec::new()) } else { None },
            }),
            ["C", name, ty, typmod, not_null] => {
                if let Some(table) = into.last_mut() {
                    let ty = match ty {
                        "char" => PgType::Char,
                        "_char" => PgType::Array(stratos_types::Scalar::Char),
                        other => PgType::from_name(other).unwrap_or(PgType::Text),
                    };
                    let typmod = typmod.parse().unwrap_or(-1);
                    if let Some(live) = &mut table.live_columns
                        && table.name == "pg_class"
                        && matches!(name, "relpages" | "reltuples")
                    {
                        live.push(table.columns.len());
                    }
                    table.columns.push((name, ColumnType { ty, typmod }));
                    table.not_null.push(not_null == "true");
                }
            }
            _ => {}
        }
    }
}

static ALL: LazyLock<Vec<Arc<Definition>>> = LazyLock::new(|| {
    let mut found = Vec::new();
    parse(POSTGRES, &mut found);
    parse(OURS, &mut found);
    found.into_iter().map(Arc::new).collect()
});

static BY_NAME: LazyLock<BTreeMap<(&'static str, &'static str), Arc<Definition>>> =
    LazyLock::new(|| ALL.iter().map(|table| ((table.schema, table.name), Arc::clone(table))).collect());

pub(super) fn all() -> &'static [Arc<Definition>] {
    &ALL
}

pub(super) fn find(schema: &str, name: &str) -> Option<Arc<Definition>> {
    BY_NAME.get(&(schema, name)).cloned()
}

fn producer(schema: &str, name: &str) -> Option<Producer> {
    match schema {
        "pg_catalog" => pg_catalog(name),
        "information_schema" => information_schema::producer(name),
        _ => internal::producer(name),
    }
}

/// Whether the rows of a table are the same for all sessions with the same search path, as long as the catalog does not change;
/// see [`SystemTable::live_columns`].
fn tells_the_catalog(schema: &str, name: &str) -> bool {
    schema == "pg_catalog"
        && matches!(
            name,
            "pg_am"
                | "pg_amop"
                | "pg_attrdef"
                | "pg_attribute"
                | "pg_cast"
                | "pg_class"
                | "pg_collation"
                | "pg_constraint"
                | "pg_database"
                | "pg_depend"
                | "pg_description"
                | "pg_index"
                | "pg_indexes"
                | "pg_language"
                | "pg_namespace"
                | "pg_opclass"
                | "pg_operator"
                | "pg_opfamily"
                | "pg_proc"
                | "pg_roles"
                | "pg_sequence"
                | "pg_shdescription"
                | "pg_tables"
                | "pg_tablespace"
                | "pg_type"
                | "pg_views"
        )
}

fn pg_catalog(name: &str) -> Option<Producer> {
    Some(match name {
        "pg_am" | "pg_amop" | "pg_cast" | "pg_collation" | "pg_language" | "pg_opclass" | "pg_operator"
        | "pg_opfamily" | "pg_tablespace" => statics::copy,
        "pg_proc" => functions::pg_proc,
        "pg_type" => objects::pg_type,
        "pg_class" => relations::pg_class,
        "pg_attribute" => relations::pg_attribute,
        "pg_index" => relations::pg_index,
        "pg_sequence" => relations::pg_sequence,
        "pg_tables" => relations::pg_tables,
        "pg_views" => relations::pg_views,
        "pg_indexes" => relations::pg_indexes,
        "pg_sequences" => relations::pg_sequences,
        "pg_attrdef" => objects::pg_attrdef,
        "pg_constraint" => objects::pg_constraint,
        "pg_depend" => objects::pg_depend,
        "pg_description" => objects::pg_description,
        "pg_shdescription" => objects::pg_shdescription,
        "pg_namespace" => shared::pg_namespace,
        "pg_database" => shared::pg_database,
        "pg_roles" => shared::pg_roles,
        "pg_authid" => shared::pg_authid,
        "pg_user" => shared::pg_user,
        "pg_shadow" => shared::pg_shadow,
        "pg_settings" => shared::pg_settings,
        "pg_stat_activity" => statistics::pg_stat_activity,
        "pg_stat_ssl" => statistics::pg_stat_ssl,
        "pg_cursors" => statistics::pg_cursors,
        "pg_prepared_statements" => statistics::pg_prepared_statements,
        "pg_locks" => statistics::pg_locks,
        "pg_stat_user_tables" | "pg_stat_all_tables" => statistics::pg_stat_user_tables,
        "pg_stat_user_indexes" | "pg_stat_all_indexes" => statistics::pg_stat_user_indexes,
        "pg_stat_database" => statistics::pg_stat_database,
        _ => return None,
    })
}
