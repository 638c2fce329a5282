//! What the catalog's names and OIDs mean: the reg* types.

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::by_oid;
use crate::session::EvalContext;

/// A name as it has to be written in SQL: quoted unless it is plain lower case and no keyword.
pub fn quote_ident(name: &str) -> String {
    let plain = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && super::keywords::needs_no_quotes(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The parts of a possibly qualified, possibly quoted name; unquoted parts in lower case.
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
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            rest = after;
            name.to_lowercase()
        };
        if part.is_empty() {
            return Err(invalid());
        }
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
        [schema, name] => lookup(schema, name),
        [database, schema, name] if *database == ctx.host.current_database() => lookup(schema, name),
        _ => None,
    }
}

/// OID of one of Postgres's own tables, by schema and name.
pub fn system_relation_oid(schema: &str, name: &str) -> Option<u32> {
    let rows = SYSTEM_RELATIONS.iter();
    (schema == "pg_catalog").then_some(())?;
    rows.into_iter().find(|(_, n)| *n == name).map(|(o, _)| *o)
}

fn system_relation_name(oid: u32) -> Option<&'static str> {
    let mut rows = SYSTEM_RELATIONS.iter();
    rows.find(|(o, _)| *o == oid).map(|(_, name)| *name)
}

/// `pg_class.oid` of Postgres's own tables.
static SYSTEM_RELATIONS: &[(u32, &str)] = &[
    (1247, "pg_type"),
    (1249, "pg_attribute"),
    (1255, "pg_proc"),
    (1259, "pg_class"),
    (1213, "pg_tablespace"),
    (1260, "pg_authid"),
    (1261, "pg_auth_members"),
    (1262, "pg_database"),
    (1417, "pg_foreign_server"),
    (2328, "pg_foreign_data_wrapper"),
    (2396, "pg_shdescription"),
    (2600, "pg_aggregate"),
    (2601, "pg_am"),
    (2602, "pg_amop"),
    (2603, "pg_amproc"),
    (2604, "pg_attrdef"),
    (2605, "pg_cast"),
    (2606, "pg_constraint"),
    (2607, "pg_conversion"),
    (2608, "pg_depend"),
    (2609, "pg_description"),
    (2610, "pg_index"),
    (2611, "pg_inherits"),
    (2612, "pg_language"),
    (2613, "pg_largeobject"),
    (2615, "pg_namespace"),
    (2616, "pg_opclass"),
    (2617, "pg_operator"),
    (2618, "pg_rewrite"),
    (2619, "pg_statistic"),
    (2620, "pg_trigger"),
    (2753, "pg_opfamily"),
    (3079, "pg_extension"),
    (3118, "pg_foreign_table"),
    (3256, "pg_policy"),
    (3350, "pg_partitioned_table"),
    (3381, "pg_statistic_ext"),
    (3456, "pg_collation"),
    (3466, "pg_event_trigger"),
    (3501, "pg_enum"),
    (3541, "pg_range"),
    (6104, "pg_publication"),
];

/// A relation's schema OID and name.
pub fn relation_name(ctx: &EvalContext, oid: u32) -> Option<(u32, String)> {
    if let Some(table) = ctx.catalog.tables.get(&oid) {
        return Some((table.schema, table.name.clone()));
    }
    if let Some(sequence) = ctx.catalog.sequences.get(&oid) {
        return Some((sequence.schema, sequence.name.clone()));
    }
    let mut own = ctx.catalog.relations.iter();
    own.find(|(_, o)| **o == oid)
        .map(|((schema, name), _)| (*schema, name.clone()))
        .or_else(|| system_relation_name(oid).map(|name| (11, name.to_owned())))
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
        PgType::Regtype => PgType::from_oid(oid).map(PgType::sql_name),
        PgType::Regproc => by_oid(oid).map(|f| f.name.to_owned()),
        PgType::Regnamespace => schema_name(ctx, oid).map(|n| quote_ident(&n)),
        PgType::Regrole => ctx.catalog.roles.get(&oid).map(|r| quote_ident(&r.name)),
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
        PgType::Regtype => type_by_name(input).map(PgType::oid),
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
                roles.find(|r| r.name == *name).map(|r| r.oid)
            }
            _ => None,
        },
        _ => None,
    })
}

/// A type by what SQL calls it, its modifier ignored.
pub fn type_by_name(input: &str) -> Option<PgType> {
    let name = input.trim().to_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    let mut plain = String::new();
    let mut depth = 0;
    for c in name.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => {}
            c if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    if name == "\"char\"" {
        return Some(PgType::Char);
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
