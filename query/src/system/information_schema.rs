//! information_schema, of the users' objects and the system tables.

use std::sync::Arc;

use stratos_types::{ColumnType, Datum, PgType, Result};

use super::definitions::{self, Producer};
use super::deparse;
use super::relations::role_name;
use super::rows::{Rows, int4, optional_text, text, yes};
use super::statics::type_facts;
use crate::catalog::{
    BOOTSTRAP_ROLE, COLLATIONS, Column, ConstraintKind, DEFAULT_COLLATION, Index, ReferentialAction, SystemContext,
    Table, is_temporary_name, schema_owner,
};

pub(super) fn producer(name: &str) -> Option<Producer> {
    Some(match name {
        "information_schema_catalog_name" => catalog_name,
        "schemata" => schemata,
        "tables" => tables,
        "columns" => columns,
        "views" => views,
        "sequences" => sequences,
        "table_constraints" => table_constraints,
        "key_column_usage" => key_column_usage,
        "constraint_column_usage" => constraint_column_usage,
        "constraint_table_usage" => constraint_table_usage,
        "referential_constraints" => referential_constraints,
        "check_constraints" => check_constraints,
        "character_sets" => character_sets,
        "collations" => collations,
        "table_privileges" | "role_table_grants" => table_privileges,
        "enabled_roles" | "applicable_roles" => enabled_roles,
        _ => return None,
    })
}

/// Name of the session's database, which every view calls the catalog.
fn database(context: &SystemContext) -> Datum {
    optional_text(context.catalog.databases.get(&context.catalog.database).map(|d| d.name.as_str()))
}

fn catalog_name(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    rows.push([("catalog_name", database(context))]);
    Ok(())
}

fn enabled_roles(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    if rows.table.name == "enabled_roles" {
        rows.push([("role_name", text(&context.role))]);
    }
    Ok(())
}

fn schemata(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let built_in = ["pg_catalog", "information_schema", "pg_stratos"].map(|name| (name, BOOTSTRAP_ROLE));
    let own = context.catalog.schemas.values().map(|s| (s.name.as_str(), schema_owner(&context.catalog, s)));
    for (name, owner) in built_in.into_iter().chain(own) {
        rows.push([
            ("catalog_name", database(context)),
            ("schema_name", text(name)),
            ("schema_owner", role_name(&context.catalog, owner)),
        ]);
    }
    Ok(())
}

/// Whether relations of a schema are shown: not those of other sessions' temporary schemas.
fn is_shown(schema: &str, context: &SystemContext) -> bool {
    !is_temporary_name(schema) || context.search_path.iter().any(|own| own == schema)
}

/// The tables of the database without those.
fn shown_tables(context: &SystemContext) -> impl Iterator<Item = &Arc<Table>> {
    context.catalog.tables.values().filter(|table| is_shown(&table.schema_name, context))
}

fn tables(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let system = definitions::all().iter().map(|t| {
        let kind = if t.kind == "v" { "VIEW" } else { "BASE TABLE" };
        (t.schema, t.name, kind, false)
    });
    let own = shown_tables(context).map(|t| {
        let kind = if is_temporary_name(&t.schema_name) { "LOCAL TEMPORARY" } else { "BASE TABLE" };
        (t.schema_name.as_str(), t.name.as_str(), kind, true)
    });
    for (schema, name, kind, insertable) in system.chain(own) {
        rows.push([
            ("table_catalog", database(context)),
            ("table_schema", text(schema)),
            ("table_name", text(name)),
            ("table_type", text(kind)),
            ("is_insertable_into", yes(insertable)),
            ("is_typed", yes(false)),
        ]);
    }
    Ok(())
}

/// What an owner may do with a table, and whether the privilege reaches tables that inherit from it, as Postgres has it.
const OWNERS_PRIVILEGES: [(&str, bool); 7] = [
    ("INSERT", false),
    ("SELECT", true),
    ("UPDATE", false),
    ("DELETE", false),
    ("TRUNCATE", false),
    ("REFERENCES", false),
    ("TRIGGER", false),
];

/// The owners' own: there are no others.
fn table_privileges(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in shown_tables(context) {
        let owner = context.catalog.roles.get(&table.owner).map(|role| role.name.as_str());
        for (privilege, reaches_heirs) in OWNERS_PRIVILEGES {
            rows.push([
                ("grantor", optional_text(owner)),
                ("grantee", optional_text(owner)),
                ("table_catalog", database(context)),
                ("table_schema", text(&table.schema_name)),
                ("table_name", text(&table.name)),
                ("privilege_type", text(privilege)),
                ("is_grantable", yes(true)),
                ("with_hierarchy", yes(reaches_heirs)),
            ]);
        }
    }
    Ok(())
}

fn views(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for view in definitions::all().iter().filter(|t| t.kind == "v") {
        rows.push([
            ("table_catalog", database(context)),
            ("table_schema", text(view.schema)),
            ("table_name", text(view.name)),
            ("check_option", text("NONE")),
            ("is_updatable", yes(false)),
            ("is_insertable_into", yes(false)),
            ("is_trigger_updatable", yes(false)),
            ("is_trigger_deletable", yes(false)),
            ("is_trigger_insertable_into", yes(false)),
        ]);
    }
    Ok(())
}

/// Bytes of a string column without a limit, as Postgres computes it from a text of 2³⁰ bytes.
const UNLIMITED_OCTETS: i32 = 1 << 30;
/// Bytes that a character can take in UTF-8.
const CHARACTER_OCTETS: i32 = 4;

/// The columns of information_schema.columns that follow from the type.
struct TypeColumns {
    data_type: String,
    character_length: Datum,
    octet_length: Datum,
    precision: Datum,
    radix: Datum,
    scale: Datum,
    datetime_precision: Datum,
    interval_type: Datum,
}

fn type_columns(ty: ColumnType) -> TypeColumns {
    let mut found = TypeColumns {
        data_type: match ty.ty {
            PgType::Array(_) => "ARRAY".into(),
            other => other.sql_name(),
        },
        character_length: Datum::Null,
        octet_length: Datum::Null,
        precision: Datum::Null,
        radix: Datum::Null,
        scale: Datum::Null,
        datetime_precision: Datum::Null,
        interval_type: Datum::Null,
    };
    let integer = |bits: i32| (Datum::Int4(bits), Datum::Int4(2), Datum::Int4(0));
    match ty.ty {
        PgType::Text | PgType::Varchar | PgType::Bpchar => match ty.char_length() {
            Some(length) => {
                let length = i32::try_from(length).unwrap_or(i32::MAX);
                found.character_length = Datum::Int4(length);
                found.octet_length = Datum::Int4(length.saturating_mul(CHARACTER_OCTETS));
            }
            None => found.octet_length = Datum::Int4(UNLIMITED_OCTETS),
        },
        PgType::Int2 => (found.precision, found.radix, found.scale) = integer(16),
        PgType::Int4 => (found.precision, found.radix, found.scale) = integer(32),
        PgType::Int8 => (found.precision, found.radix, found.scale) = integer(64),
        PgType::Float4 | PgType::Float8 => {
            found.precision = Datum::Int4(if ty.ty == PgType::Float4 { 24 } else { 53 });
            found.radix = Datum::Int4(2);
        }
        PgType::Numeric => {
            found.radix = Datum::Int4(10);
            if let Some((precision, scale)) = ty.numeric_precision_scale() {
                found.precision = Datum::Int4(i32::try_from(precision).unwrap_or(i32::MAX));
                found.scale = Datum::Int4(scale);
            }
        }
        PgType::Date => found.datetime_precision = Datum::Int4(0),
        PgType::Time | PgType::TimeTz | PgType::Timestamp | PgType::TimestampTz | PgType::Interval => {
            let digits = ty.time_precision().unwrap_or(6);
            found.datetime_precision = Datum::Int4(i32::try_from(digits).unwrap_or(6));
        }
        _ => {}
    }
    found
}

struct ColumnFacts<'a> {
    schema: &'a str,
    table: &'a str,
    name: &'a str,
    position: i16,
    ty: ColumnType,
    not_null: bool,
    updatable: bool,
    column: Option<&'a Column>,
}

fn push_column(rows: &mut Rows<'_>, context: &SystemContext, facts: &ColumnFacts<'_>) {
    let types = type_columns(facts.ty);
    let catalog = &context.catalog;
    let default =
        facts.column.and_then(|c| c.default.as_ref().map(|d| (c, d))).map_or(Datum::Null, |(column, default)| {
            Datum::text(deparse::default_text(catalog, &context.search_path, &default.sql, column.ty))
        });
    let identity = facts.column.and_then(|c| c.identity.as_ref());
    let sequence = identity.and_then(|i| catalog.sequences.get(&i.sequence));
    let number =
        |get: fn(&crate::catalog::Sequence) -> i64| sequence.map_or(Datum::Null, |s| Datum::text(get(s).to_string()));
    let own = facts.column.and_then(|column| column.collation);
    let collation = own.or_else(|| type_facts(facts.ty.ty).map(|facts| facts.collation));
    let collation = collation.filter(|collation| *collation != DEFAULT_COLLATION);
    let collation = COLLATIONS.iter().find(|(_, oid)| Some(*oid) == collation).map(|(name, _)| *name);
    let of_collation = |value: Datum| if collation.is_some() { value } else { Datum::Null };
    rows.push([
        ("collation_catalog", of_collation(database(context))),
        ("collation_schema", of_collation(text("pg_catalog"))),
        ("collation_name", collation.map_or(Datum::Null, text)),
        ("table_catalog", database(context)),
        ("table_schema", text(facts.schema)),
        ("table_name", text(facts.table)),
        ("column_name", text(facts.name)),
        ("ordinal_position", Datum::Int4(i32::from(facts.position))),
        ("column_default", default),
        ("is_nullable", yes(!facts.not_null)),
        ("data_type", Datum::text(types.data_type)),
        ("character_maximum_length", types.character_length),
        ("character_octet_length", types.octet_length),
        ("numeric_precision", types.precision),
        ("numeric_precision_radix", types.radix),
        ("numeric_scale", types.scale),
        ("datetime_precision", types.datetime_precision),
        ("interval_type", types.interval_type),
        ("udt_catalog", database(context)),
        ("udt_schema", text("pg_catalog")),
        ("udt_name", Datum::text(facts.ty.ty.name())),
        ("dtd_identifier", Datum::text(facts.position.to_string())),
        ("is_self_referencing", yes(false)),
        ("is_identity", yes(identity.is_some())),
        ("identity_generation", identity.map_or(Datum::Null, |i| text(if i.always { "ALWAYS" } else { "BY DEFAULT" }))),
        ("identity_start", number(|s| s.start)),
        ("identity_increment", number(|s| s.increment)),
        ("identity_maximum", number(|s| s.max_value)),
        ("identity_minimum", number(|s| s.min_value)),
        ("identity_cycle", yes(sequence.is_some_and(|s| s.cycle))),
        ("is_generated", text("NEVER")),
        ("is_updatable", yes(facts.updatable)),
    ]);
}

fn columns(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in definitions::all() {
        for (position, ((name, ty), not_null)) in table.columns.iter().zip(&table.not_null).enumerate() {
            push_column(
                rows,
                context,
                &ColumnFacts {
                    schema: table.schema,
                    table: table.name,
                    name,
                    position: i16::try_from(position + 1).unwrap_or(i16::MAX),
                    ty: *ty,
                    not_null: *not_null,
                    updatable: false,
                    column: None,
                },
            );
        }
    }
    for table in shown_tables(context) {
        for column in &table.columns {
            push_column(
                rows,
                context,
                &ColumnFacts {
                    schema: &table.schema_name,
                    table: &table.name,
                    name: &column.name,
                    position: column.attnum,
                    ty: column.ty,
                    not_null: column.not_null,
                    updatable: true,
                    column: Some(column),
                },
            );
        }
    }
    Ok(())
}

fn sequences(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let catalog = &context.catalog;
    for sequence in catalog.sequences.values() {
        // As in Postgres, sequences of identity columns are not shown.
        let identity = sequence.owned_by.is_some_and(|(table, attnum)| {
            catalog
                .tables
                .get(&table)
                .is_some_and(|t| t.column_index(attnum).is_some_and(|i| t.columns[i].identity.is_some()))
        });
        if identity {
            continue;
        }
        let types = type_columns(sequence.ty);
        rows.push([
            ("sequence_catalog", database(context)),
            ("sequence_schema", optional_text(catalog.schema_name(sequence.schema))),
            ("sequence_name", text(&sequence.name)),
            ("data_type", Datum::text(types.data_type)),
            ("numeric_precision", types.precision),
            ("numeric_precision_radix", types.radix),
            ("numeric_scale", types.scale),
            ("start_value", Datum::text(sequence.start.to_string())),
            ("minimum_value", Datum::text(sequence.min_value.to_string())),
            ("maximum_value", Datum::text(sequence.max_value.to_string())),
            ("increment", Datum::text(sequence.increment.to_string())),
            ("cycle_option", yes(sequence.cycle)),
        ]);
    }
    Ok(())
}

fn table_constraints(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let mut push = |table: &Table, name: &str, kind: &str, (deferrable, deferred): (bool, bool)| {
        rows.push([
            ("constraint_catalog", database(context)),
            ("constraint_schema", text(&table.schema_name)),
            ("constraint_name", text(name)),
            ("table_catalog", database(context)),
            ("table_schema", text(&table.schema_name)),
            ("table_name", text(&table.name)),
            ("constraint_type", text(kind)),
            ("is_deferrable", yes(deferrable)),
            ("initially_deferred", yes(deferred)),
            ("enforced", yes(true)),
            ("nulls_distinct", if kind == "UNIQUE" { yes(true) } else { Datum::Null }),
        ]);
    };
    for table in shown_tables(context) {
        for constraint in &table.constraints {
            let (kind, deferral) = match &constraint.kind {
                ConstraintKind::Unique { primary, .. } => {
                    let deferred = table.deferrable_key(constraint.oid).map(|(_, deferred)| deferred);
                    (if *primary { "PRIMARY KEY" } else { "UNIQUE" }, (deferred.is_some(), deferred == Some(true)))
                }
                ConstraintKind::Check(_) => ("CHECK", (false, false)),
                ConstraintKind::ForeignKey(key) => ("FOREIGN KEY", (key.deferrable, key.initially_deferred)),
            };
            push(table, &constraint.name, kind, deferral);
        }
        for column in table.columns.iter().filter(|c| c.not_null) {
            push(table, &not_null_name(table, column), "CHECK", (false, false));
        }
    }
    Ok(())
}

/// The name that Postgres 15 shows for a NOT NULL, which has none of its own.
fn not_null_name(table: &Table, column: &Column) -> String {
    format!("{}_{}_{}_not_null", table.schema, table.oid, column.attnum)
}

fn index_of(table: &Table, oid: u32) -> Option<&Index> {
    table.indexes.iter().find(|i| i.oid == oid)
}

fn column_name(table: &Table, attnum: i16) -> Datum {
    optional_text(table.column_index(attnum).map(|i| table.columns[i].name.as_str()))
}

fn key_column_usage(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in shown_tables(context) {
        for constraint in &table.constraints {
            let (columns, positions): (Vec<i16>, Option<Vec<usize>>) = match &constraint.kind {
                ConstraintKind::Unique { index, .. } => (
                    index_of(table, *index).map(|i| i.columns.iter().map(|c| c.attnum).collect()).unwrap_or_default(),
                    None,
                ),
                ConstraintKind::Check(_) => continue,
                ConstraintKind::ForeignKey(key) => {
                    (key.columns.clone(), Some(positions_in_key(context, key.table, key.index, &key.referenced)))
                }
            };
            for (place, attnum) in columns.iter().enumerate() {
                rows.push([
                    ("constraint_catalog", database(context)),
                    ("constraint_schema", text(&table.schema_name)),
                    ("constraint_name", text(&constraint.name)),
                    ("table_catalog", database(context)),
                    ("table_schema", text(&table.schema_name)),
                    ("table_name", text(&table.name)),
                    ("column_name", column_name(table, *attnum)),
                    ("ordinal_position", int4(place + 1)),
                    (
                        "position_in_unique_constraint",
                        positions.as_ref().and_then(|p| p.get(place)).map_or(Datum::Null, |p| int4(*p)),
                    ),
                ]);
            }
        }
    }
    Ok(())
}

/// For each referenced column its place, from 1, in the unique key that it belongs to.
fn positions_in_key(context: &SystemContext, table: u32, index: u32, referenced: &[i16]) -> Vec<usize> {
    let index = context.catalog.tables.get(&table).and_then(|t| index_of(t, index));
    referenced
        .iter()
        .map(|attnum| index.and_then(|i| i.columns.iter().position(|c| c.attnum == *attnum)).map_or(0, |p| p + 1))
        .collect()
}

fn constraint_column_usage(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in shown_tables(context) {
        for constraint in &table.constraints {
            let (owner, columns): (Option<&Arc<Table>>, Vec<i16>) = match &constraint.kind {
                ConstraintKind::Unique { index, .. } => (
                    Some(table),
                    index_of(table, *index).map(|i| i.columns.iter().map(|c| c.attnum).collect()).unwrap_or_default(),
                ),
                ConstraintKind::Check(check) => (Some(table), check.columns.clone()),
                ConstraintKind::ForeignKey(key) => (context.catalog.tables.get(&key.table), key.referenced.clone()),
            };
            let Some(owner) = owner else {
                continue;
            };
            for attnum in columns {
                rows.push([
                    ("table_catalog", database(context)),
                    ("table_schema", text(&owner.schema_name)),
                    ("table_name", text(&owner.name)),
                    ("column_name", column_name(owner, attnum)),
                    ("constraint_catalog", database(context)),
                    ("constraint_schema", text(&table.schema_name)),
                    ("constraint_name", text(&constraint.name)),
                ]);
            }
        }
    }
    Ok(())
}

fn constraint_table_usage(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in shown_tables(context) {
        for constraint in &table.constraints {
            let owner = match &constraint.kind {
                ConstraintKind::Unique { .. } => Some(table),
                ConstraintKind::Check(_) => None,
                ConstraintKind::ForeignKey(key) => context.catalog.tables.get(&key.table),
            };
            if let Some(owner) = owner {
                rows.push([
                    ("table_catalog", database(context)),
                    ("table_schema", text(&owner.schema_name)),
                    ("table_name", text(&owner.name)),
                    ("constraint_catalog", database(context)),
                    ("constraint_schema", text(&table.schema_name)),
                    ("constraint_name", text(&constraint.name)),
                ]);
            }
        }
    }
    Ok(())
}

fn rule(action: ReferentialAction) -> Datum {
    text(match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    })
}

fn referential_constraints(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in shown_tables(context) {
        for (constraint, key) in table.foreign_keys() {
            let target = context.catalog.tables.get(&key.table);
            // The referenced key is a constraint only if its index enforces one.
            let unique = target.and_then(|t| {
                t.constraints
                    .iter()
                    .find(|c| matches!(c.kind, ConstraintKind::Unique { index, .. } if index == key.index))
            });
            rows.push([
                ("constraint_catalog", database(context)),
                ("constraint_schema", text(&table.schema_name)),
                ("constraint_name", text(&constraint.name)),
                ("unique_constraint_catalog", if unique.is_some() { database(context) } else { Datum::Null }),
                ("unique_constraint_schema", optional_text(unique.and(target).map(|t| t.schema_name.as_str()))),
                ("unique_constraint_name", optional_text(unique.map(|c| c.name.as_str()))),
                ("match_option", text(if key.match_full { "FULL" } else { "NONE" })),
                ("update_rule", rule(key.on_update)),
                ("delete_rule", rule(key.on_delete)),
            ]);
        }
    }
    Ok(())
}

fn check_constraints(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in shown_tables(context) {
        let mut push = |name: &str, clause: String| {
            rows.push([
                ("constraint_catalog", database(context)),
                ("constraint_schema", text(&table.schema_name)),
                ("constraint_name", text(name)),
                ("check_clause", Datum::text(clause)),
            ]);
        };
        for (constraint, check) in table.checks() {
            // The view shows the condition between the outer parentheses of CHECK ((…)).
            push(&constraint.name, format!("({})", deparse::check_text(table, &check.sql, false)));
        }
        for column in table.columns.iter().filter(|c| c.not_null) {
            push(&not_null_name(table, column), format!("{} IS NOT NULL", column.name));
        }
    }
    Ok(())
}

fn character_sets(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    rows.push([
        ("character_set_name", text("UTF8")),
        ("character_repertoire", text("UCS")),
        ("form_of_use", text("UTF8")),
        ("default_collate_catalog", database(context)),
        ("default_collate_schema", text("pg_catalog")),
        ("default_collate_name", text("C")),
    ]);
    Ok(())
}

fn collations(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for (name, _) in COLLATIONS {
        rows.push([
            ("collation_catalog", database(context)),
            ("collation_schema", text("pg_catalog")),
            ("collation_name", text(name)),
            ("pad_attribute", text("NO PAD")),
        ]);
    }
    Ok(())
}
