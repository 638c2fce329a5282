//! Schemas, databases, roles, settings.

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::rows::{Rows, array, boolean, oid, optional_text, text, text_array};
use crate::catalog::{
    BOOTSTRAP_ROLE, DATABASE_OWNER, INFORMATION_SCHEMA, PG_CATALOG, PG_STRATOS, Role, Schema, SystemContext, TEMPLATES,
    is_template, role_name, schema_owner,
};

pub(super) fn pg_namespace(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for (number, name) in
        [(PG_CATALOG, "pg_catalog"), (INFORMATION_SCHEMA, "information_schema"), (PG_STRATOS, "pg_stratos")]
    {
        rows.push([("oid", oid(number)), ("nspname", text(name)), ("nspowner", oid(BOOTSTRAP_ROLE))]);
    }
    for schema in context.catalog.schemas.values() {
        rows.push([
            ("oid", oid(schema.oid)),
            ("nspname", text(&schema.name)),
            ("nspowner", oid(schema_owner(&context.catalog, schema))),
            ("nspacl", schema_privileges(context, schema)),
        ]);
    }
    Ok(())
}

/// What a new database of PostgreSQL grants on its schema `public`, and thus what dumps need not say. Other schemas have the
/// privileges that nobody granted.
fn schema_privileges(context: &SystemContext, schema: &Schema) -> Datum {
    let owner = role_name(&context.catalog, schema_owner(&context.catalog, schema));
    let Some(owner) = owner.filter(|_| schema.name == "public") else { return Datum::Null };
    let owner = crate::catalog::quote_identifier(owner);
    let granted = [format!("{owner}=UC/{owner}"), format!("=U/{owner}")];
    array(PgType::AclItem, granted.into_iter().map(Datum::text))
}

/// `pg_encoding_to_char(6)` is UTF8.
const UTF8: i32 = 6;
/// `pg_default`
const DEFAULT_TABLESPACE: u32 = 1663;

pub(super) fn pg_database(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for (number, name, _) in TEMPLATES.iter().filter(|(_, name, _)| is_template(&context.catalog, name)) {
        rows.push([
            ("oid", oid(*number)),
            ("datname", text(name)),
            ("datdba", oid(BOOTSTRAP_ROLE)),
            ("encoding", Datum::Int4(UTF8)),
            ("datlocprovider", text("c")),
            ("datistemplate", boolean(true)),
            ("datallowconn", boolean(false)),
            ("datconnlimit", Datum::Int4(-1)),
            ("dattablespace", oid(DEFAULT_TABLESPACE)),
            ("datcollate", text("C")),
            ("datctype", text("C")),
        ]);
    }
    for database in context.catalog.databases.values() {
        rows.push([
            ("oid", oid(database.oid)),
            ("datname", text(&database.name)),
            ("datdba", oid(database.owner)),
            ("encoding", Datum::Int4(UTF8)),
            ("datlocprovider", text("c")),
            ("datallowconn", boolean(true)),
            ("datconnlimit", Datum::Int4(-1)),
            ("dattablespace", oid(DEFAULT_TABLESPACE)),
            ("datcollate", text("C")),
            ("datctype", text("C")),
        ]);
    }
    Ok(())
}

fn sorted_roles(context: &SystemContext) -> impl Iterator<Item = &Role> {
    context.catalog.roles.values().map(AsRef::as_ref)
}

/// Whether the session may see verifiers, as only superusers may.
fn sees_secrets(context: &SystemContext) -> bool {
    context.catalog.role_named(&context.role).is_some_and(|role| role.superuser)
}

/// 42501 for others than superusers.
fn only_for_superusers(context: &SystemContext, what: &str) -> Result<()> {
    if sees_secrets(context) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InsufficientPrivilege, format!("permission denied for {what}")))
}

/// What views show in place of a verifier.
const HIDDEN: &str = "********";

fn push_roles(rows: &mut Rows<'_>, context: &SystemContext, password: impl Fn(&Role) -> Datum) {
    for role in sorted_roles(context) {
        rows.push([
            ("oid", oid(role.oid)),
            ("rolname", text(&role.name)),
            ("rolsuper", boolean(role.superuser)),
            ("rolinherit", boolean(true)),
            ("rolcreaterole", boolean(role.create_role)),
            ("rolcreatedb", boolean(role.create_db)),
            ("rolcanlogin", boolean(role.login)),
            ("rolreplication", boolean(false)),
            ("rolbypassrls", boolean(role.superuser)),
            ("rolconnlimit", Datum::Int4(role.connection_limit.map_or(-1, |limit| i32::try_from(limit).unwrap_or(-1)))),
            ("rolpassword", password(role)),
        ]);
    }
    let (number, name) = DATABASE_OWNER;
    rows.push([
        ("oid", oid(number)),
        ("rolname", text(name)),
        ("rolsuper", boolean(false)),
        ("rolinherit", boolean(true)),
        ("rolcreaterole", boolean(false)),
        ("rolcreatedb", boolean(false)),
        ("rolcanlogin", boolean(false)),
        ("rolreplication", boolean(false)),
        ("rolbypassrls", boolean(false)),
        ("rolconnlimit", Datum::Int4(-1)),
    ]);
}

pub(super) fn pg_authid(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    only_for_superusers(context, "table pg_authid")?;
    push_roles(rows, context, |role| optional_text(role.verifier.as_deref()));
    Ok(())
}

pub(super) fn pg_roles(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    push_roles(rows, context, |_| text(HIDDEN));
    Ok(())
}

fn push_users(rows: &mut Rows<'_>, context: &SystemContext, password: impl Fn(&Role) -> Datum) {
    for role in sorted_roles(context).filter(|r| r.login) {
        rows.push([
            ("usename", text(&role.name)),
            ("usesysid", oid(role.oid)),
            ("usecreatedb", boolean(role.create_db)),
            ("usesuper", boolean(role.superuser)),
            ("userepl", boolean(false)),
            ("usebypassrls", boolean(role.superuser)),
            ("passwd", password(role)),
        ]);
    }
}

pub(super) fn pg_shadow(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    only_for_superusers(context, "view pg_shadow")?;
    push_users(rows, context, |role| optional_text(role.verifier.as_deref()));
    Ok(())
}

pub(super) fn pg_user(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    push_users(rows, context, |_| text(HIDDEN));
    Ok(())
}

pub(super) fn pg_settings(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let given = |value: &str| if value.is_empty() { Datum::Null } else { text(value) };
    for setting in context.settings.iter() {
        rows.push([
            ("name", text(&setting.name)),
            ("setting", text(&setting.value)),
            ("unit", given(setting.unit)),
            ("category", text(setting.category)),
            ("short_desc", text(setting.about)),
            ("context", text(setting.context)),
            ("vartype", text(setting.kind)),
            ("source", text(setting.source)),
            ("min_val", given(setting.min)),
            ("max_val", given(setting.max)),
            (
                "enumvals",
                if setting.words.is_empty() { Datum::Null } else { text_array(setting.words.iter().copied()) },
            ),
            ("boot_val", text(&setting.boot)),
            ("reset_val", text(&setting.reset)),
            ("pending_restart", boolean(false)),
        ]);
    }
    Ok(())
}
