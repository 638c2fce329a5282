//! Defaults, constraints, dependencies and comments.

use stratos_types::{Datum, PgType, Result};

use super::deparse;
use super::rows::{Rows, array, boolean, int2_array, oid, optional_text, text};
use super::statics::{self, equality};
use crate::catalog::system::{PG_ATTRDEF, PG_AUTHID, PG_CLASS, PG_CONSTRAINT, PG_DATABASE, PG_NAMESPACE, PG_TYPE};
use crate::catalog::{
    Constraint, ConstraintKind, PG_CATALOG, ReferentialAction, SystemContext, TEMPLATES, Table, is_template,
};

/// The built-in types, and the row type of every table. A row type has its table's OID: pg_type and pg_class number their
/// rows apart.
pub(super) fn pg_type(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    statics::copy(rows, context)?;
    for table in context.catalog.tables.values() {
        rows.push([
            ("oid", oid(table.oid)),
            ("typname", text(&table.name)),
            ("typnamespace", oid(table.schema)),
            ("typowner", oid(table.owner)),
            ("typlen", Datum::Int2(-1)),
            ("typtype", text("c")),
            ("typcategory", text("C")),
            ("typisdefined", boolean(true)),
            ("typdelim", text(",")),
            ("typrelid", oid(table.oid)),
            ("typinput", oid(RECORD_IN)),
            ("typoutput", oid(RECORD_OUT)),
            ("typreceive", oid(RECORD_RECV)),
            ("typsend", oid(RECORD_SEND)),
            ("typalign", text("d")),
            ("typstorage", text("x")),
            ("typtypmod", Datum::Int4(-1)),
        ]);
    }
    Ok(())
}

/// OIDs of `record_in` and its kin in `pg_proc`.
const RECORD_IN: u32 = 2290;
const RECORD_OUT: u32 = 2291;
const RECORD_RECV: u32 = 2402;
const RECORD_SEND: u32 = 2403;

pub(super) fn pg_attrdef(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in context.catalog.tables.values() {
        for column in &table.columns {
            if let Some(default) = &column.default {
                rows.push([
                    ("oid", oid(default.oid)),
                    ("adrelid", oid(table.oid)),
                    ("adnum", Datum::Int2(column.attnum)),
                    (
                        "adbin",
                        Datum::text(deparse::default_text(
                            &context.catalog,
                            &context.search_path,
                            &default.sql,
                            column.ty,
                        )),
                    ),
                ]);
            }
        }
    }
    Ok(())
}

/// `pg_constraint.confupdtype`
fn action(action: ReferentialAction) -> Datum {
    text(match action {
        ReferentialAction::NoAction => "a",
        ReferentialAction::Restrict => "r",
        ReferentialAction::Cascade => "c",
        ReferentialAction::SetNull => "n",
        ReferentialAction::SetDefault => "d",
    })
}

pub(super) fn pg_constraint(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in context.catalog.tables.values() {
        for constraint in &table.constraints {
            push_constraint(rows, context, table, constraint);
        }
    }
    Ok(())
}

fn push_constraint(rows: &mut Rows<'_>, context: &SystemContext, table: &Table, constraint: &Constraint) {
    let none = || text(" ");
    let mut kind = "c";
    let mut index = 0;
    let mut referenced = 0;
    let (mut on_update, mut on_delete, mut match_kind) = (none(), none(), none());
    let (mut deferrable, mut deferred) = (false, false);
    let mut columns: Vec<i16> = Vec::new();
    let mut referenced_columns = Datum::Null;
    let mut equalities = Datum::Null;
    let mut condition = Datum::Null;
    match &constraint.kind {
        ConstraintKind::Unique { index: number, primary } => {
            kind = if *primary { "p" } else { "u" };
            index = *number;
            if let Some(found) = table.indexes.iter().find(|i| i.oid == *number) {
                (deferrable, deferred) = (found.deferrable.is_some(), found.deferrable == Some(true));
                columns = found.columns.iter().map(|c| c.attnum).collect();
            }
        }
        ConstraintKind::Check(check) => {
            columns.clone_from(&check.columns);
            condition = Datum::text(deparse::check_text(table, &check.sql, false));
        }
        ConstraintKind::ForeignKey(key) => {
            kind = "f";
            index = key.index;
            referenced = key.table;
            on_update = action(key.on_update);
            on_delete = action(key.on_delete);
            match_kind = text(if key.match_full { "f" } else { "s" });
            (deferrable, deferred) = (key.deferrable, key.initially_deferred);
            columns.clone_from(&key.columns);
            referenced_columns = int2_array(key.referenced.iter().copied());
            equalities = array(
                PgType::Oid,
                key.referenced.iter().map(|attnum| {
                    let ty = context
                        .catalog
                        .tables
                        .get(&key.table)
                        .and_then(|t| t.column_index(*attnum).map(|i| t.columns[i].ty.ty));
                    Datum::Oid(ty.map_or(0, equality))
                }),
            );
        }
    }
    rows.push([
        ("oid", oid(constraint.oid)),
        ("conname", text(&constraint.name)),
        ("connamespace", oid(table.schema)),
        ("contype", text(kind)),
        ("condeferrable", boolean(deferrable)),
        ("condeferred", boolean(deferred)),
        ("convalidated", boolean(true)),
        ("conrelid", oid(table.oid)),
        ("conindid", oid(index)),
        ("confrelid", oid(referenced)),
        ("confupdtype", on_update),
        ("confdeltype", on_delete),
        ("confmatchtype", match_kind),
        ("conislocal", boolean(true)),
        ("connoinherit", boolean(kind != "c")),
        ("conkey", if columns.is_empty() { Datum::Null } else { int2_array(columns) }),
        ("confkey", referenced_columns),
        ("conpfeqop", equalities.clone()),
        ("conppeqop", equalities.clone()),
        ("conffeqop", equalities),
        ("conbin", condition),
    ]);
}

struct Dependency {
    class: u32,
    object: u32,
    referenced_class: u32,
    referenced: u32,
    referenced_column: i16,
    kind: &'static str,
}

pub(super) fn pg_depend(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let mut push = |d: Dependency| {
        rows.push([
            ("classid", oid(d.class)),
            ("objid", oid(d.object)),
            ("objsubid", Datum::Int4(0)),
            ("refclassid", oid(d.referenced_class)),
            ("refobjid", oid(d.referenced)),
            ("refobjsubid", Datum::Int4(i32::from(d.referenced_column))),
            ("deptype", text(d.kind)),
        ]);
    };
    let catalog = &context.catalog;
    let in_schema = |object: u32, schema: u32| Dependency {
        class: PG_CLASS,
        object,
        referenced_class: PG_NAMESPACE,
        referenced: schema,
        referenced_column: 0,
        kind: "n",
    };
    for table in catalog.tables.values() {
        push(in_schema(table.oid, table.schema));
        for column in &table.columns {
            let Some(default) = &column.default else {
                continue;
            };
            push(Dependency {
                class: PG_ATTRDEF,
                object: default.oid,
                referenced_class: PG_CLASS,
                referenced: table.oid,
                referenced_column: column.attnum,
                kind: "a",
            });
            for sequence in deparse::sequences_in(&default.sql, catalog) {
                push(Dependency {
                    class: PG_ATTRDEF,
                    object: default.oid,
                    referenced_class: PG_CLASS,
                    referenced: sequence,
                    referenced_column: 0,
                    kind: "n",
                });
            }
        }
        let enforced = |index: u32| {
            table
                .constraints
                .iter()
                .find(|c| matches!(c.kind, ConstraintKind::Unique { index: number, .. } if number == index))
        };
        for index in table.indexes.iter().filter(|i| i.oid != 0) {
            if let Some(constraint) = enforced(index.oid) {
                push(Dependency {
                    class: PG_CLASS,
                    object: index.oid,
                    referenced_class: PG_CONSTRAINT,
                    referenced: constraint.oid,
                    referenced_column: 0,
                    kind: "i",
                });
                continue;
            }
            for column in &index.columns {
                push(Dependency {
                    class: PG_CLASS,
                    object: index.oid,
                    referenced_class: PG_CLASS,
                    referenced: table.oid,
                    referenced_column: column.attnum,
                    kind: "a",
                });
            }
        }
        for constraint in &table.constraints {
            let own = |attnum: i16, kind| Dependency {
                class: PG_CONSTRAINT,
                object: constraint.oid,
                referenced_class: PG_CLASS,
                referenced: table.oid,
                referenced_column: attnum,
                kind,
            };
            match &constraint.kind {
                ConstraintKind::Unique { index, .. } => {
                    if let Some(index) = table.indexes.iter().find(|i| i.oid == *index) {
                        for column in &index.columns {
                            push(own(column.attnum, "a"));
                        }
                    }
                }
                ConstraintKind::Check(check) => {
                    for attnum in &check.columns {
                        push(own(*attnum, "a"));
                        push(own(*attnum, "n"));
                    }
                }
                ConstraintKind::ForeignKey(key) => {
                    for attnum in &key.columns {
                        push(own(*attnum, "a"));
                    }
                    for attnum in &key.referenced {
                        push(Dependency { referenced: key.table, ..own(*attnum, "n") });
                    }
                    push(Dependency { referenced: key.index, ..own(0, "n") });
                }
            }
        }
    }
    for sequence in catalog.sequences.values() {
        push(in_schema(sequence.oid, sequence.schema));
        let Some((owner, attnum)) = sequence.owned_by else {
            continue;
        };
        let identity = catalog.tables.get(&owner).is_some_and(|table| {
            table.column_index(attnum).is_some_and(|i| {
                table.columns[i].identity.as_ref().is_some_and(|identity| identity.sequence == sequence.oid)
            })
        });
        push(Dependency {
            class: PG_CLASS,
            object: sequence.oid,
            referenced_class: PG_CLASS,
            referenced: owner,
            referenced_column: attnum,
            kind: if identity { "i" } else { "a" },
        });
    }
    Ok(())
}

/// What PostgreSQL says of its types: a type's OID and the comment.
static TYPE_COMMENTS: &str = include_str!("data/type_comments.tsv");

pub(super) fn pg_description(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let mut push = |class: u32, object: u32, column: i16, comment: Option<&str>| {
        if comment.is_some() {
            rows.push([
                ("objoid", oid(object)),
                ("classoid", oid(class)),
                ("objsubid", Datum::Int4(i32::from(column))),
                ("description", optional_text(comment)),
            ]);
        }
    };
    for table in context.catalog.tables.values() {
        push(PG_CLASS, table.oid, 0, table.comment.as_deref());
        for column in &table.columns {
            push(PG_CLASS, table.oid, column.attnum, column.comment.as_deref());
        }
        for index in &table.indexes {
            push(PG_CLASS, index.oid, 0, index.comment.as_deref());
        }
    }
    push(PG_NAMESPACE, PG_CATALOG, 0, Some("system catalog schema"));
    for (ty, comment) in TYPE_COMMENTS.lines().filter_map(|line| line.split_once('\t')) {
        push(PG_TYPE, ty.parse().unwrap_or_default(), 0, Some(comment));
    }
    for ((class, object), comment) in &context.catalog.comments {
        if *class != PG_DATABASE && *class != PG_AUTHID {
            push(*class, *object, 0, Some(comment));
        }
    }
    Ok(())
}

pub(super) fn pg_shdescription(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for (number, _, comment) in TEMPLATES.iter().filter(|(_, name, _)| is_template(&context.catalog, name)) {
        rows.push([("objoid", oid(*number)), ("classoid", oid(PG_DATABASE)), ("description", text(comment))]);
    }
    for ((class, object), comment) in &context.catalog.comments {
        if *class == PG_DATABASE || *class == PG_AUTHID {
            rows.push([("objoid", oid(*object)), ("classoid", oid(*class)), ("description", text(comment))]);
        }
    }
    Ok(())
}
