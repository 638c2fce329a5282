//! Tables, indexes, sequences and their columns.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use stratos_types::{ColumnType, Datum, PgType, Result};

use super::classes::default_class;
use super::definitions;
use super::deparse;
use super::rows::{Rows, boolean, int2, int2_array, int8, oid, oid_array, optional_text, text};
use super::statics::{BTREE, type_facts};
use crate::catalog::{BOOTSTRAP_ROLE, Index, IndexState, Snapshot, SystemContext, Table, built_in_schema, keys};

/// `heap`, `pg_am`
const HEAP: u32 = 2;
/// Bytes of a page, for `relpages`.
const PAGE_BYTES: u64 = 8192;

struct Relation<'a> {
    number: u32,
    row_type: u32,
    name: &'a str,
    schema: u32,
    owner: u32,
    kind: &'a str,
    method: u32,
    storage: u32,
    columns: usize,
    checks: usize,
    has_index: bool,
    statistics: (u64, u64),
    triggers: bool,
    persistence: &'a str,
}

fn class(rows: &mut Rows<'_>, relation: &Relation<'_>) {
    let (live, bytes) = relation.statistics;
    let system = relation.number < crate::catalog::FIRST_USER_OID;
    rows.push([
        ("oid", oid(relation.number)),
        ("relname", text(relation.name)),
        ("relnamespace", oid(relation.schema)),
        ("reltype", oid(relation.row_type)),
        ("relowner", oid(relation.owner)),
        ("relam", oid(relation.method)),
        ("relfilenode", oid(relation.storage)),
        ("relpages", Datum::Int4(i32::try_from(bytes.div_ceil(PAGE_BYTES)).unwrap_or(i32::MAX))),
        ("reltuples", Datum::Float4(live as f32)),
        ("relhasindex", boolean(relation.has_index)),
        ("relpersistence", text(relation.persistence)),
        ("relkind", text(relation.kind)),
        ("relnatts", int2(relation.columns)),
        ("relchecks", int2(relation.checks)),
        ("relhastriggers", boolean(relation.triggers)),
        ("relispopulated", boolean(true)),
        ("relreplident", text(if relation.kind == "r" && !system { "d" } else { "n" })),
    ]);
}

fn statistics(context: &SystemContext, table: &Table, index: &Index) -> (u64, u64) {
    let prefix = keys::index_data(table.database, table.storage, index.id);
    let found = context.store.statistics(&prefix);
    (found.rows, found.bytes)
}

/// Tables that a foreign key leads from or to. In Postgres they have triggers, and clients look for foreign keys only
/// where `relhastriggers` says so.
fn with_foreign_keys(catalog: &Snapshot) -> BTreeSet<u32> {
    catalog
        .tables
        .values()
        .flat_map(|table| table.foreign_keys().map(|(_, key)| [table.oid, key.table]))
        .flatten()
        .collect()
}

pub(super) fn pg_class(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let keyed = with_foreign_keys(&context.catalog);
    for table in definitions::all() {
        class(
            rows,
            &Relation {
                number: table.oid,
                row_type: 0,
                name: table.name,
                schema: built_in_schema(table.schema).unwrap_or(0),
                owner: BOOTSTRAP_ROLE,
                kind: table.kind,
                method: if table.kind == "r" { HEAP } else { 0 },
                storage: 0,
                columns: table.columns.len(),
                checks: 0,
                has_index: false,
                statistics: (0, 0),
                triggers: false,
                persistence: "p",
            },
        );
    }
    for table in context.catalog.tables.values() {
        class(
            rows,
            &Relation {
                number: table.oid,
                row_type: table.oid,
                name: &table.name,
                schema: table.schema,
                owner: table.owner,
                kind: "r",
                method: HEAP,
                storage: table.storage,
                columns: usize::try_from(table.next_attnum - 1).unwrap_or(0),
                checks: table.checks().count(),
                has_index: table.indexes.iter().any(|i| i.oid != 0),
                statistics: statistics(context, table, table.primary_index()),
                triggers: keyed.contains(&table.oid),
                persistence: context.catalog.persistence(table.schema),
            },
        );
        for index in table.indexes.iter().filter(|i| i.oid != 0) {
            class(
                rows,
                &Relation {
                    number: index.oid,
                    row_type: 0,
                    name: &index.name,
                    schema: table.schema,
                    owner: table.owner,
                    kind: "i",
                    method: BTREE,
                    storage: index.oid,
                    columns: index.columns.len(),
                    checks: 0,
                    has_index: false,
                    statistics: statistics(context, table, index),
                    triggers: false,
                    persistence: context.catalog.persistence(table.schema),
                },
            );
        }
    }
    for sequence in context.catalog.sequences.values() {
        class(
            rows,
            &Relation {
                number: sequence.oid,
                row_type: 0,
                name: &sequence.name,
                schema: sequence.schema,
                owner: sequence.owner,
                kind: "S",
                method: 0,
                storage: sequence.storage,
                columns: SEQUENCE_COLUMNS.len(),
                checks: 0,
                has_index: false,
                statistics: (1, PAGE_BYTES),
                triggers: false,
                persistence: context.catalog.persistence(sequence.schema),
            },
        );
    }
    Ok(())
}

/// Columns of every sequence when it is read as a table.
pub(super) const SEQUENCE_COLUMNS: [(&str, PgType); 3] =
    [("last_value", PgType::Int8), ("log_cnt", PgType::Int8), ("is_called", PgType::Bool)];

struct Attribute<'a> {
    relation: u32,
    number: i16,
    name: &'a str,
    ty: ColumnType,
    not_null: bool,
    has_default: bool,
    has_missing: bool,
    identity: &'a str,
    /// Where it is not the type's.
    collation: Option<u32>,
}

fn attribute(rows: &mut Rows<'_>, column: &Attribute<'_>) {
    let ty = column.ty.ty;
    let facts = type_facts(ty);
    let fact = |get: fn(&super::statics::TypeFacts) -> &Datum, otherwise: Datum| {
        facts.map_or(otherwise, |facts| get(facts).clone())
    };
    rows.push([
        ("attrelid", oid(column.relation)),
        ("attname", text(column.name)),
        ("atttypid", oid(ty.oid())),
        ("attstattarget", Datum::Int4(-1)),
        ("attlen", fact(|f| &f.len, Datum::Int2(ty.len()))),
        ("attnum", Datum::Int2(column.number)),
        ("attndims", Datum::Int4(i32::from(matches!(ty, PgType::Array(_))))),
        ("attcacheoff", Datum::Int4(-1)),
        ("atttypmod", Datum::Int4(column.ty.typmod)),
        ("attbyval", fact(|f| &f.by_value, boolean(false))),
        ("attalign", fact(|f| &f.align, text("i"))),
        ("attstorage", fact(|f| &f.storage, text("x"))),
        ("attnotnull", boolean(column.not_null)),
        ("atthasdef", boolean(column.has_default)),
        ("atthasmissing", boolean(column.has_missing)),
        ("attidentity", text(column.identity)),
        ("attislocal", boolean(true)),
        ("attcollation", oid(column.collation.unwrap_or_else(|| facts.map_or(0, |facts| facts.collation)))),
    ]);
}

/// The column that a table had by that number: clients that number columns themselves, such as pg_dump, look for no gaps.
fn dropped_attribute(rows: &mut Rows<'_>, relation: u32, number: i16) {
    rows.push([
        ("attrelid", oid(relation)),
        ("attname", text(&format!("........pg.dropped.{number}........"))),
        ("atttypid", oid(0)),
        ("attstattarget", Datum::Int4(0)),
        ("attlen", Datum::Int2(-1)),
        ("attnum", Datum::Int2(number)),
        ("attcacheoff", Datum::Int4(-1)),
        ("atttypmod", Datum::Int4(-1)),
        ("attalign", text("i")),
        ("attstorage", text("x")),
        ("attidentity", text("")),
        ("attisdropped", boolean(true)),
        ("attislocal", boolean(true)),
    ]);
}

/// Columns of the system tables do not change; there are some thousands of them.
static SYSTEM_ATTRIBUTES: LazyLock<Vec<Vec<Datum>>> = LazyLock::new(|| {
    let Some(definition) = definitions::find("pg_catalog", "pg_attribute") else {
        return Vec::new();
    };
    let mut rows = Rows::new(&definition);
    for table in definitions::all() {
        for (position, ((name, ty), not_null)) in table.columns.iter().zip(&table.not_null).enumerate() {
            attribute(
                &mut rows,
                &Attribute {
                    relation: table.oid,
                    number: i16::try_from(position + 1).unwrap_or(i16::MAX),
                    name,
                    ty: *ty,
                    not_null: *not_null,
                    has_default: false,
                    has_missing: false,
                    identity: "",
                    collation: None,
                },
            );
        }
    }
    rows.finish()
});

pub(super) fn pg_attribute(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    rows.extend(SYSTEM_ATTRIBUTES.iter().cloned());
    for table in context.catalog.tables.values() {
        for number in (1..table.next_attnum).filter(|number| table.column_index(*number).is_none()) {
            dropped_attribute(rows, table.oid, number);
        }
        for column in &table.columns {
            attribute(
                rows,
                &Attribute {
                    relation: table.oid,
                    number: column.attnum,
                    name: &column.name,
                    ty: column.ty,
                    not_null: column.not_null,
                    has_default: column.default.is_some(),
                    has_missing: column.missing.is_some(),
                    identity: match &column.identity {
                        Some(identity) if identity.always => "a",
                        Some(_) => "d",
                        None => "",
                    },
                    collation: column.collation,
                },
            );
        }
        for index in table.indexes.iter().filter(|i| i.oid != 0) {
            for (position, key) in index.columns.iter().enumerate() {
                let Some(column) = table.column_index(key.attnum) else {
                    continue;
                };
                attribute(
                    rows,
                    &Attribute {
                        relation: index.oid,
                        number: i16::try_from(position + 1).unwrap_or(i16::MAX),
                        name: &table.columns[column].name,
                        ty: table.columns[column].ty,
                        not_null: false,
                        has_default: false,
                        has_missing: false,
                        identity: "",
                        collation: table.columns[column].collation,
                    },
                );
            }
        }
    }
    for sequence in context.catalog.sequences.values() {
        for (position, (name, ty)) in SEQUENCE_COLUMNS.iter().enumerate() {
            attribute(
                rows,
                &Attribute {
                    relation: sequence.oid,
                    number: i16::try_from(position + 1).unwrap_or(i16::MAX),
                    name,
                    ty: (*ty).into(),
                    not_null: true,
                    has_default: false,
                    has_missing: false,
                    identity: "",
                    collation: None,
                },
            );
        }
    }
    Ok(())
}

pub(super) fn pg_index(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in context.catalog.tables.values() {
        for index in table.indexes.iter().filter(|i| i.oid != 0) {
            let type_of = |attnum: i16| table.column_index(attnum).map_or(PgType::Unknown, |i| table.columns[i].ty.ty);
            let public = index.state == IndexState::Public;
            rows.push([
                ("indexrelid", oid(index.oid)),
                ("indrelid", oid(table.oid)),
                ("indnatts", int2(index.columns.len())),
                ("indnkeyatts", int2(index.columns.len())),
                ("indisunique", boolean(index.is_key())),
                ("indisprimary", boolean(index.primary)),
                ("indimmediate", boolean(index.deferrable.is_none())),
                ("indisvalid", boolean(public)),
                ("indisready", boolean(index.state != IndexState::DeleteOnly)),
                ("indislive", boolean(true)),
                ("indkey", int2_array(index.columns.iter().map(|c| c.attnum))),
                (
                    "indcollation",
                    oid_array(index.columns.iter().map(|c| {
                        let own = table.column_index(c.attnum).and_then(|i| table.columns[i].collation);
                        own.unwrap_or_else(|| type_facts(type_of(c.attnum)).map_or(0, |f| f.collation))
                    })),
                ),
                (
                    "indclass",
                    oid_array(
                        index.columns.iter().map(|c| c.class.unwrap_or_else(|| default_class(type_of(c.attnum)))),
                    ),
                ),
                (
                    "indoption",
                    int2_array(index.columns.iter().map(|c| i16::from(c.descending) | (i16::from(c.nulls_first) << 1))),
                ),
            ]);
        }
    }
    Ok(())
}

pub(super) fn pg_sequence(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for sequence in context.catalog.sequences.values() {
        rows.push([
            ("seqrelid", oid(sequence.oid)),
            ("seqtypid", oid(sequence.ty.ty.oid())),
            ("seqstart", Datum::Int8(sequence.start)),
            ("seqincrement", Datum::Int8(sequence.increment)),
            ("seqmax", Datum::Int8(sequence.max_value)),
            ("seqmin", Datum::Int8(sequence.min_value)),
            ("seqcache", Datum::Int8(sequence.cache)),
            ("seqcycle", boolean(sequence.cycle)),
        ]);
    }
    Ok(())
}

/// A role's name, as the views show owners.
pub(super) fn role_name(catalog: &Snapshot, role: u32) -> Datum {
    let name = crate::catalog::role_name(catalog, role);
    name.map_or_else(|| Datum::text(format!("unknown (OID={role})")), text)
}

pub(super) fn pg_tables(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in definitions::all().iter().filter(|t| t.kind == "r") {
        rows.push([
            ("schemaname", text(table.schema)),
            ("tablename", text(table.name)),
            ("tableowner", role_name(&context.catalog, BOOTSTRAP_ROLE)),
            ("hasindexes", boolean(false)),
            ("hasrules", boolean(false)),
            ("hastriggers", boolean(false)),
            ("rowsecurity", boolean(false)),
        ]);
    }
    let keyed = with_foreign_keys(&context.catalog);
    for table in context.catalog.tables.values() {
        rows.push([
            ("schemaname", text(&table.schema_name)),
            ("tablename", text(&table.name)),
            ("tableowner", role_name(&context.catalog, table.owner)),
            ("hasindexes", boolean(table.indexes.iter().any(|i| i.oid != 0))),
            ("hasrules", boolean(false)),
            ("hastriggers", boolean(keyed.contains(&table.oid))),
            ("rowsecurity", boolean(false)),
        ]);
    }
    Ok(())
}

pub(super) fn pg_views(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for view in definitions::all().iter().filter(|t| t.kind == "v") {
        rows.push([
            ("schemaname", text(view.schema)),
            ("viewname", text(view.name)),
            ("viewowner", role_name(&context.catalog, BOOTSTRAP_ROLE)),
        ]);
    }
    Ok(())
}

pub(super) fn pg_indexes(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in context.catalog.tables.values() {
        for index in table.indexes.iter().filter(|i| i.oid != 0) {
            rows.push([
                ("schemaname", text(&table.schema_name)),
                ("tablename", text(&table.name)),
                ("indexname", text(&index.name)),
                ("indexdef", Datum::text(deparse::index_definition(table, index))),
            ]);
        }
    }
    Ok(())
}

pub(super) fn pg_sequences(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let catalog = &context.catalog;
    for sequence in catalog.sequences.values() {
        let value = context.store.sequence_value(catalog.database, sequence.storage)?;
        rows.push([
            ("schemaname", optional_text(catalog.schema_name(sequence.schema))),
            ("sequencename", text(&sequence.name)),
            ("sequenceowner", role_name(catalog, sequence.owner)),
            ("data_type", oid(sequence.ty.ty.oid())),
            ("start_value", Datum::Int8(sequence.start)),
            ("min_value", Datum::Int8(sequence.min_value)),
            ("max_value", Datum::Int8(sequence.max_value)),
            ("increment_by", Datum::Int8(sequence.increment)),
            ("cycle", boolean(sequence.cycle)),
            ("cache_size", Datum::Int8(sequence.cache)),
            ("last_value", value.filter(|v| v.called).map_or(Datum::Null, |v| Datum::Int8(v.last))),
        ]);
    }
    Ok(())
}

/// Rows and bytes of a table with its indexes, for statistics views.
pub(super) fn table_statistics(context: &SystemContext, table: &Table) -> (Datum, Datum) {
    let (live, _) = statistics(context, table, table.primary_index());
    let all = context.store.statistics(&keys::storage_data(table.database, table.storage));
    (int8(live), int8(all.bytes))
}
