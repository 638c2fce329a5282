//! What the catalog's names and OIDs mean: the reg* types.

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::by_oid;
use crate::catalog::{DATABASE_OWNER, resolve_temporary, role_name};
use crate::session::EvalContext;

/// A name as it has to be written in SQL: quoted unless it is plain lower case and no keyword.
pub fn quote_ident(name: &str) -> String {
    let plain = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && super::keywords::needs_no_quotes(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The parts of a possibly qualified, possibly quoted name; unquoted parts, which end at a space or a point, in lower case.
///
/// # Errors
/// 42602 for anything else.
pub fn split_name(input: &str) -> Result<Vec<String>> {
    let invalid = || Error::new(ErrorKind::InvalidName, "invalid name syntax");
    let mut parts = Vec::new();
    let mut rest = input.trim();
    loop {
        let part = if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices().peekable();
            let mut end = None;
            while let Some((i, c)) = chars.next() {
                if c != '"' {
                    name.push(c);
                } else if chars.peek().is_some_and(|(_, c)| *c == '"') {
                    chars.next();
                    name.push('"');
                } else {
                    end = Some(i + 1);
                    break;
                }
            }
            rest = &quoted[end.ok_or_else(invalid)?..];
            name
        } else {
            let end = rest.find(|c: char| c == '.' || c.is_ascii_whitespace()).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.is_empty() {
                return Err(invalid());
            }
            rest = after;
            name.to_ascii_lowercase()
        };
        parts.push(part);
        rest = rest.trim_start();
        match rest.strip_prefix('.') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => return Ok(parts),
            None => return Err(invalid()),
        }
    }
}

/// Name of a schema by OID.
pub fn schema_name(ctx: &EvalContext, oid: u32) -> Option<String> {
    ctx.catalog.schema_name(oid).map(str::to_owned)
}

/// The relation (table, index, sequence, system table) of a possibly qualified name, as the search path finds it.
pub fn find_relation(ctx: &EvalContext, parts: &[String]) -> Option<u32> {
    let lookup = |schema: &str, name: &str| -> Option<u32> {
        let oid = ctx.catalog.schema_oid(schema)?;
        let own = ctx.catalog.relations.get(&(oid, name.to_owned())).copied();
        own.or_else(|| system_relation_oid(schema, name))
    };
    match parts {
        [name] => ctx.host.search_path(true).iter().find_map(|schema| lookup(schema, name)),
        [schema, name] => lookup(resolve_temporary(schema, &ctx.host.search_path(false)), name),
        [database, schema, name] if *database == ctx.host.current_database() => {
            lookup(resolve_temporary(schema, &ctx.host.search_path(false)), name)
        }
        _ => None,
    }
}

/// OID of a system table, by schema and name.
pub fn system_relation_oid(schema: &str, name: &str) -> Option<u32> {
    crate::system::find(schema, name).map(|table| table.oid())
}

/// A relation's schema OID and name.
pub fn relation_name(ctx: &EvalContext, oid: u32) -> Option<(u32, String)> {
    if let Some(table) = ctx.catalog.tables.get(&oid) {
        return Some((table.schema, table.name.clone()));
    }
    if let Some(sequence) = ctx.catalog.sequences.get(&oid) {
        return Some((sequence.schema, sequence.name.clone()));
    }
    let mut own = ctx.catalog.relations.iter();
    own.find(|(_, o)| **o == oid).map(|((schema, name), _)| (*schema, name.clone())).or_else(|| {
        let table = crate::system::find_by_oid(oid)?;
        Some((ctx.catalog.schema_oid(table.schema())?, table.name().to_owned()))
    })
}

/// Whether an unqualified name finds this relation.
pub fn relation_is_visible(ctx: &EvalContext, oid: u32) -> Option<bool> {
    let (_, name) = relation_name(ctx, oid)?;
    Some(find_relation(ctx, &[name]) == Some(oid))
}

/// `42P01` for a relation.
pub fn undefined_relation(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

/// What a reg* value prints: a name, qualified where the search path would not find it, or the number.
pub fn reg_text(ctx: &EvalContext, ty: PgType, oid: u32) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let name = match ty {
        PgType::Regclass => relation_name(ctx, oid).map(|(schema, name)| {
            let quoted = quote_ident(&name);
            if find_relation(ctx, &[name]) == Some(oid) {
                quoted
            } else {
                let schema = schema_name(ctx, schema).unwrap_or_default();
                format!("{}.{quoted}", quote_ident(&schema))
            }
        }),
        PgType::Regtype => match PgType::from_oid(oid) {
            Some(ty) => Some(ty.sql_name()),
            // The type of a table's rows has the table's number and name.
            None if ctx.catalog.tables.contains_key(&oid) => Some(reg_text(ctx, PgType::Regclass, oid)),
            None => None,
        },
        PgType::Regproc => by_oid(oid).map(|f| f.name).or_else(|| crate::system::function_name(oid)).map(|name| {
            // One of several is not found by its name.
            let alone = match super::by_name(name).len() {
                0 => crate::system::function_oid(name).is_some(),
                own => own == 1,
            };
            if alone { name.to_owned() } else { format!("pg_catalog.{name}") }
        }),
        PgType::Regnamespace => schema_name(ctx, oid).map(|n| quote_ident(&n)),
        PgType::Regrole => role_name(&ctx.catalog, oid).map(quote_ident),
        _ => None,
    };
    name.unwrap_or_else(|| oid.to_string())
}

/// OID of the object that a reg* type's input names; `None` when there is no such object.
///
/// # Errors
/// A malformed name.
pub fn reg_lookup(ctx: &EvalContext, ty: PgType, input: &str) -> Result<Option<u32>> {
    Ok(match ty {
        PgType::Regclass => find_relation(ctx, &split_name(input)?),
        PgType::Regtype => match type_by_name(input) {
            Some(ty) => Some(ty.oid()),
            None => {
                let relation = split_name(input).ok().and_then(|name| find_relation(ctx, &name));
                relation.filter(|oid| ctx.catalog.tables.contains_key(oid))
            }
        },
        PgType::Regproc => {
            let parts = split_name(input)?;
            let name = parts.last().map_or("", String::as_str);
            super::by_name(name).first().map(|f| f.oid).or_else(|| crate::system::function_oid(name))
        }
        PgType::Regnamespace => match split_name(input)?.as_slice() {
            [name] => ctx.catalog.schema_oid(name),
            _ => None,
        },
        PgType::Regrole => match split_name(input)?.as_slice() {
            [name] => {
                let mut roles = ctx.catalog.roles.values();
                let (owner, owners) = DATABASE_OWNER;
                roles.find(|r| r.name == *name).map(|r| r.oid).or((name == owners).then_some(owner))
            }
            _ => None,
        },
        _ => None,
    })
}

/// A type by what SQL calls it, its modifier ignored.
pub fn type_by_name(input: &str) -> Option<PgType> {
    let input = input.trim();
    let schema = |quoted: &str| {
        let (schema, name) = input.split_at_checked(quoted.len())?;
        schema.eq_ignore_ascii_case(quoted).then_some(name)
    };
    let name = schema("pg_catalog.").or_else(|| schema("\"pg_catalog\".")).unwrap_or(input);
    if let Some((quoted, behind)) = name.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
        // `char` is another type in quotes.
        return match (quoted, behind.trim()) {
            ("char", "") => Some(PgType::Char),
            (quoted, behind) => PgType::from_name(&format!("{quoted}{behind}")),
        };
    }
    let mut plain = String::new();
    let mut depth = 0;
    for c in name.to_lowercase().chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    PgType::from_name(&plain)
}

/// Text input of a reg* type: a number, `-`, or a name.
///
/// # Errors
/// 42P01, 42704, 42883, 3F000 when nothing is called so.
pub fn reg_from_text(ctx: &EvalContext, ty: PgType, input: &str) -> Result<Datum> {
    let trimmed = input.trim();
    if trimmed == "-" {
        return Ok(Datum::Oid(0));
    }
    if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        let oid = trimmed.parse().map_err(|_| {
            Error::new(ErrorKind::NumericValueOutOfRange, format!("value \"{trimmed}\" is out of range for type oid"))
        })?;
        return Ok(Datum::Oid(oid));
    }
    if let Some(oid) = reg_lookup(ctx, ty, trimmed)? {
        return Ok(Datum::Oid(oid));
    }
    Err(match ty {
        PgType::Regclass => undefined_relation(&split_name(trimmed)?.join(".")),
        PgType::Regtype => Error::new(ErrorKind::UndefinedObject, format!("type \"{trimmed}\" does not exist")),
        PgType::Regproc => Error::new(ErrorKind::UndefinedFunction, format!("function \"{trimmed}\" does not exist")),
        PgType::Regnamespace => {
            Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{trimmed}\" does not exist"))
        }
        _ => Error::new(ErrorKind::UndefinedObject, format!("role \"{trimmed}\" does not exist")),
    })
}
