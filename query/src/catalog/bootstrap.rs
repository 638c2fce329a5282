//! What a new data directory holds.

use bytes::Bytes;
use stratos_types::{Error, Result};

use super::system::{PG_DATABASE, PG_NAMESPACE};
use super::{Database, Role, Schema, Snapshot, keys};

/// No database: a catalog of it holds what all databases share.
pub const NO_DATABASE: u32 = 0;
/// OID of the first database.
pub const DEFAULT_DATABASE: u32 = 5;
/// OID of the database that clients connect to by default when they have nothing particular in mind.
pub const MAINTENANCE_DATABASE: u32 = 6;
/// OID of the first role, as Postgres's bootstrap superuser.
pub const BOOTSTRAP_ROLE: u32 = 10;
/// OID of `public`, in every database, as in Postgres.
pub const PUBLIC_SCHEMA: u32 = 2200;
/// The role that PostgreSQL has for whoever owns the database, and its OID: nobody logs in by it.
pub const DATABASE_OWNER: (u32, &str) = (6171, "pg_database_owner");
/// OIDs of users' objects start here, as in Postgres.
pub const FIRST_USER_OID: u32 = 16384;
/// Name of the first database and of the first role.
const DEFAULT_NAME: &str = "stratos";

/// What new databases begin as, by OID, name and description: nothing is in them, and nobody can connect to them.
pub const TEMPLATES: &[(u32, &str, &str)] =
    &[(1, "template1", "default template for new databases"), (4, "template0", "unmodifiable empty database")];
/// What Postgres says of the schema that a new database has, and of the database for maintenance.
pub const PUBLIC_COMMENT: &str = "standard public schema";
const MAINTENANCE_COMMENT: &str = "default administrative connection database";

/// The owner of a schema: a database's own `public` belongs to whoever owns the database.
pub fn schema_owner(catalog: &Snapshot, schema: &Schema) -> u32 {
    let of_database = catalog.databases.get(&catalog.database).map(|database| database.owner);
    match schema.oid == PUBLIC_SCHEMA && of_database == Some(schema.owner) {
        true => DATABASE_OWNER.0,
        false => schema.owner,
    }
}

/// Name of a role, those that are always there among them.
pub fn role_name(catalog: &Snapshot, oid: u32) -> Option<&str> {
    let (owner, name) = DATABASE_OWNER;
    catalog.roles.get(&oid).map(|role| role.name.as_str()).or((oid == owner).then_some(name))
}

/// Whether a database is one of [`TEMPLATES`].
pub fn is_template(catalog: &Snapshot, name: &str) -> bool {
    TEMPLATES.iter().any(|(_, template, _)| *template == name) && catalog.database_named(name).is_none()
}

/// Whether there is a database of that name, a template or another one.
pub fn is_database(catalog: &Snapshot, name: &str) -> bool {
    is_template(catalog, name) || catalog.database_named(name).is_some()
}

/// As [`is_database`], by its OID.
pub fn is_database_oid(catalog: &Snapshot, oid: u32) -> bool {
    catalog.databases.contains_key(&oid)
        || TEMPLATES.iter().any(|(number, name, _)| *number == oid && is_template(catalog, name))
}

/// Name of the other database, as such clients expect it.
const MAINTENANCE_NAME: &str = "postgres";

/// The first descriptors: a database and a superuser, both `stratos`, the database `postgres`, and their schemas `public`.
///
/// # Errors
/// None that input could cause: a descriptor that cannot be written as JSON.
pub fn bootstrap_writes() -> Result<Vec<(Bytes, Bytes)>> {
    let database = Database { oid: DEFAULT_DATABASE, name: DEFAULT_NAME.into(), owner: BOOTSTRAP_ROLE };
    let other = Database { oid: MAINTENANCE_DATABASE, name: MAINTENANCE_NAME.into(), owner: BOOTSTRAP_ROLE };
    let role = Role {
        oid: BOOTSTRAP_ROLE,
        name: DEFAULT_NAME.into(),
        verifier: None,
        login: true,
        superuser: true,
        create_db: true,
        create_role: true,
        connection_limit: None,
    };
    Ok(vec![
        (keys::maintenance_made(), Bytes::from_static(&[1])),
        (keys::version(), Bytes::copy_from_slice(&1u64.to_be_bytes())),
        (keys::database(database.oid), json(&database)?),
        (keys::database(other.oid), json(&other)?),
        (keys::role(role.oid), json(&role)?),
        (keys::schema(DEFAULT_DATABASE, PUBLIC_SCHEMA), json(&public_schema(BOOTSTRAP_ROLE))?),
        (keys::schema(MAINTENANCE_DATABASE, PUBLIC_SCHEMA), json(&public_schema(BOOTSTRAP_ROLE))?),
        public_comment(DEFAULT_DATABASE),
        public_comment(MAINTENANCE_DATABASE),
        maintenance_comment(),
    ])
}

/// The comment on the schema `public` of a new database.
pub(super) fn public_comment(database: u32) -> (Bytes, Bytes) {
    (keys::comment(database, PG_NAMESPACE, PUBLIC_SCHEMA), Bytes::from_static(PUBLIC_COMMENT.as_bytes()))
}

fn maintenance_comment() -> (Bytes, Bytes) {
    let key = keys::comment(NO_DATABASE, PG_DATABASE, MAINTENANCE_DATABASE);
    (key, Bytes::from_static(MAINTENANCE_COMMENT.as_bytes()))
}

/// What a catalog without the database for maintenance lacks; nothing where its name or number is taken.
///
/// # Errors
/// As [`bootstrap_writes`].
pub fn maintenance_writes(catalog: &Snapshot) -> Result<Vec<(Bytes, Bytes)>> {
    if catalog.databases.contains_key(&MAINTENANCE_DATABASE) || catalog.database_named(MAINTENANCE_NAME).is_some() {
        return Ok(Vec::new());
    }
    let database = Database { oid: MAINTENANCE_DATABASE, name: MAINTENANCE_NAME.into(), owner: BOOTSTRAP_ROLE };
    Ok(vec![
        (keys::database(database.oid), json(&database)?),
        (keys::schema(MAINTENANCE_DATABASE, PUBLIC_SCHEMA), json(&public_schema(BOOTSTRAP_ROLE))?),
        public_comment(MAINTENANCE_DATABASE),
        maintenance_comment(),
    ])
}

/// The schema that a new database starts with.
pub(super) fn public_schema(owner: u32) -> Schema {
    Schema { oid: PUBLIC_SCHEMA, name: "public".into(), owner }
}

/// A descriptor as it is stored.
pub(super) fn json(value: &impl serde::Serialize) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Error::internal(format!("a descriptor cannot be written: {error}")))
}
