//! `has_table_privilege` and its kin. Roles may do everything in their databases, so what is answered is whether the names
//! exist and the privileges are some that such an object has.

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::args::{oid, text};
use super::catalog_info as info;
use super::{ArgType, by_name, by_oid};
use crate::catalog::{is_database, is_database_oid};
use crate::session::EvalContext;

type Types<'a> = &'a [PgType];

const TABLE: &[&str] = &["select", "insert", "update", "delete", "truncate", "references", "trigger"];
const COLUMN: &[&str] = &["select", "insert", "update", "references"];
const SEQUENCE: &[&str] = &["usage", "select", "update"];
const SCHEMA: &[&str] = &["create", "usage"];
const DATABASE: &[&str] = &["create", "temporary", "temp", "connect"];
const USAGE: &[&str] = &["usage"];
const EXECUTE: &[&str] = &["execute"];
const CREATE: &[&str] = &["create"];
const PARAMETER: &[&str] = &["set", "alter system"];
const MEMBER: &[&str] = &["usage", "member"];
/// What may stand behind a privilege, and behind one of being a role.
const GRANT_OPTION: &[&str] = &["with grant option"];
const MEMBER_OPTIONS: &[&str] = &["with grant option", "with admin option"];

/// 22023 unless the list is of such privileges.
fn check_words(list: &Datum, known: &[&str], options: &[&str]) -> Result<()> {
    for word in text(list)?.split(',').map(str::trim) {
        let lower = word.to_ascii_lowercase();
        let bare = options.iter().find_map(|option| lower.strip_suffix(option)?.strip_suffix(' '));
        if !known.contains(&bare.unwrap_or(&lower)) {
            let message = format!("unrecognized privilege type: \"{word}\"");
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
    }
    Ok(())
}

/// A role by name or OID: whether it exists.
fn is_role(ctx: &EvalContext, role: &Datum) -> Result<bool> {
    match role {
        Datum::Oid(number) => Ok(ctx.catalog.roles.contains_key(number)),
        name => {
            let name = text(name)?;
            match ctx.catalog.roles.values().any(|role| role.name == name) {
                true => Ok(true),
                false => Err(undefined("role", name)),
            }
        }
    }
}

fn undefined(what: &str, name: &str) -> Error {
    Error::new(ErrorKind::UndefinedObject, format!("{what} \"{name}\" does not exist"))
}

/// `arguments`: of the object and the privileges, behind which a role may come first. `find` tells whether the object exists
/// and has such privileges; there is nothing to say of an OID of nothing.
fn answer(
    ctx: &EvalContext,
    a: &[Datum],
    arguments: usize,
    find: impl FnOnce(&[Datum]) -> Result<bool>,
) -> Result<Datum> {
    let first = a.len().saturating_sub(arguments);
    let (role, rest) = a.split_at(first);
    let allowed = match role.first() {
        // Whoever asks of everybody gets the answer that is true of each.
        Some(Datum::Text(name)) if name.as_ref() == "public" => true,
        Some(role) => is_role(ctx, role)?,
        None => true,
    };
    Ok(if find(rest)? { Datum::Bool(allowed) } else { Datum::Null })
}

/// A relation by name or OID: its OID.
fn relation(ctx: &EvalContext, object: &Datum) -> Result<u32> {
    let Datum::Text(name) = object else { return oid(object) };
    let parts = info::split_name(name)?;
    info::find_relation(ctx, &parts).ok_or_else(|| info::undefined_relation(&parts.join(".")))
}

fn of_relation(ctx: &EvalContext, a: &[Datum], known: &[&str]) -> Result<Datum> {
    answer(ctx, a, 2, |a| {
        let number = relation(ctx, &a[0])?;
        check_words(&a[1], known, GRANT_OPTION)?;
        Ok(info::relation_name(ctx, number).is_some())
    })
}

/// `has_table_privilege`
pub fn table(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    of_relation(ctx, a, TABLE)
}

/// `has_any_column_privilege`
pub fn any_column(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    of_relation(ctx, a, COLUMN)
}

/// `has_sequence_privilege`
pub fn sequence(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    answer(ctx, a, 2, |a| {
        let number = relation(ctx, &a[0])?;
        check_words(&a[1], SEQUENCE, GRANT_OPTION)?;
        match info::relation_name(ctx, number) {
            Some((_, name)) if !ctx.catalog.sequences.contains_key(&number) => {
                Err(Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is not a sequence")))
            }
            found => Ok(found.is_some()),
        }
    })
}

/// Columns that every table has besides those it was given.
const SYSTEM_COLUMNS: &[&str] = &["tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"];

/// `has_column_privilege`
pub fn column(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    answer(ctx, a, 3, |a| {
        let number = relation(ctx, &a[0])?;
        let table = ctx.catalog.tables.get(&number);
        let system = crate::system::find_by_oid(number);
        let known = match &a[1] {
            Datum::Text(column) => {
                let is_column = SYSTEM_COLUMNS.contains(&column.as_ref())
                    || table.is_some_and(|table| table.column_named(column).is_some())
                    || system.is_some_and(|system| system.columns().iter().any(|(name, _)| *name == column.as_ref()));
                match info::relation_name(ctx, number) {
                    Some((_, name)) if !is_column => {
                        let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
                        return Err(Error::new(ErrorKind::UndefinedColumn, message));
                    }
                    found => found.is_some(),
                }
            }
            Datum::Int2(attnum) => match (table, system) {
                (Some(table), _) => table.column_index(*attnum).is_some(),
                (None, Some(system)) => (1..=system.columns().len()).contains(&usize::try_from(*attnum).unwrap_or(0)),
                (None, None) => false,
            },
            other => return Err(Error::internal(format!("a column named by {other:?}"))),
        };
        check_words(&a[2], COLUMN, GRANT_OPTION)?;
        Ok(known)
    })
}

/// The privileges of what is found by a name of its own kind.
fn of_named(
    ctx: &EvalContext,
    a: &[Datum],
    known: &[&str],
    by_number: impl FnOnce(u32) -> bool,
    by_name: impl FnOnce(&str) -> Result<()>,
) -> Result<Datum> {
    answer(ctx, a, 2, |a| {
        let exists = match &a[0] {
            Datum::Text(name) => by_name(name).map(|()| true)?,
            number => by_number(oid(number)?),
        };
        check_words(&a[1], known, GRANT_OPTION)?;
        Ok(exists)
    })
}

fn must_exist(exists: bool, error: impl FnOnce() -> Error) -> Result<()> {
    if exists { Ok(()) } else { Err(error()) }
}

/// `has_schema_privilege`
pub fn schema(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let undefined = |name: &str| Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{name}\" does not exist"));
    let by_number = |number| info::schema_name(ctx, number).is_some();
    of_named(ctx, a, SCHEMA, by_number, |name| must_exist(ctx.catalog.schema_oid(name).is_some(), || undefined(name)))
}

/// `has_database_privilege`
pub fn database(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let undefined =
        |name: &str| Error::new(ErrorKind::InvalidCatalogName, format!("database \"{name}\" does not exist"));
    let by_number = |number| is_database_oid(&ctx.catalog, number);
    of_named(ctx, a, DATABASE, by_number, |name| must_exist(is_database(&ctx.catalog, name), || undefined(name)))
}

/// `has_function_privilege`: the text is a name with types, `abs(integer)`.
pub fn function(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let by_number = |number| by_oid(number).is_some() || crate::system::function_name(number).is_some();
    of_named(ctx, a, EXECUTE, by_number, must_be_function)
}

/// 42883 unless a function has that name and those types.
fn must_be_function(written: &str) -> Result<()> {
    let Some((name, arguments)) = written.split_once('(') else {
        return Err(Error::new(ErrorKind::InvalidTextRepresentation, "expected a left parenthesis"));
    };
    let Some(arguments) = arguments.trim_end().strip_suffix(')') else {
        return Err(Error::new(ErrorKind::InvalidTextRepresentation, "expected a right parenthesis"));
    };
    let mut types = Vec::new();
    for argument in arguments.split(',').map(str::trim).filter(|_| !arguments.trim().is_empty()) {
        types.push(ArgType::Is(info::type_by_name(argument).ok_or_else(|| undefined("type", argument))?));
    }
    let parts = info::split_name(name)?;
    let name = match parts.as_slice() {
        [name] => name,
        [schema, name] if schema == "pg_catalog" => name,
        _ => "",
    };
    let own = by_name(name);
    let known = own.iter().any(|f| f.args == types) || own.is_empty() && crate::system::function_oid(name).is_some();
    must_exist(known, || Error::new(ErrorKind::UndefinedFunction, format!("function \"{written}\" does not exist")))
}

/// `has_type_privilege`
pub fn type_(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let by_number = |number| PgType::from_oid(number).is_some();
    of_named(ctx, a, USAGE, by_number, |name| {
        must_exist(info::type_by_name(name).is_some(), || undefined("type", name))
    })
}

/// Languages of `pg_language`.
const LANGUAGES: &[(u32, &str)] = &[(12, "internal"), (14, "sql")];

/// `has_language_privilege`
pub fn language(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let by_number = |number| LANGUAGES.iter().any(|(oid, _)| *oid == number);
    of_named(ctx, a, USAGE, by_number, |name| {
        must_exist(LANGUAGES.iter().any(|(_, known)| *known == name), || undefined("language", name))
    })
}

/// Tablespaces of `pg_tablespace`.
const TABLESPACES: &[(u32, &str)] = &[(1663, "pg_default"), (1664, "pg_global")];

/// `has_tablespace_privilege`
pub fn tablespace(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let by_number = |number| TABLESPACES.iter().any(|(oid, _)| *oid == number);
    of_named(ctx, a, CREATE, by_number, |name| {
        must_exist(TABLESPACES.iter().any(|(_, known)| *known == name), || undefined("tablespace", name))
    })
}

/// `has_server_privilege`: there are none.
pub fn server(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    of_named(ctx, a, USAGE, |_| false, |name| Err(undefined("server", name)))
}

/// `has_foreign_data_wrapper_privilege`: there are none.
pub fn wrapper(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    of_named(ctx, a, USAGE, |_| false, |name| Err(undefined("foreign-data wrapper", name)))
}

/// `has_parameter_privilege`: of a setting, whether there is one or not.
pub fn parameter(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    answer(ctx, a, 2, |a| check_words(&a[1], PARAMETER, GRANT_OPTION).map(|()| true))
}

/// `pg_has_role`
pub fn role(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let of = a.len() - 2;
    for role in &a[..=of] {
        is_role(ctx, role)?;
    }
    check_words(&a[of + 1], MEMBER, MEMBER_OPTIONS)?;
    Ok(Datum::Bool(true))
}
