//! The session, the server and the catalog as functions show them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stratos_types::{ArrayDatum, ColumnType, Datum, Error, ErrorKind, Numeric, PgType, Result};

use super::args::{boolean, int, int4, oid, text, type_of};
use super::catalog_info as info;
use super::{ArgType, ReturnType};
use crate::catalog::{Table, is_database_oid, is_template, is_temporary_name, role_name, temporary_schema_name};
use crate::session::{EvalContext, RelationSize};

type Types<'a> = &'a [PgType];

/// PostgreSQL version whose behaviour this server has.
const POSTGRES_VERSION: &str = "15.0";

fn name(s: impl Into<Arc<str>>) -> Result<Datum> {
    Ok(Datum::Text(s.into()))
}

/// `version()`
pub fn version(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    let postgres = ctx.host.setting("server_version");
    name(format!(
        "PostgreSQL {} (Stratos {})",
        postgres.as_deref().unwrap_or(POSTGRES_VERSION),
        env!("CARGO_PKG_VERSION")
    ))
}

/// `current_user`
pub fn current_user(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    name(ctx.host.current_user())
}

/// `session_user`
pub fn session_user(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    name(ctx.host.session_user())
}

/// `current_database()`
pub fn current_database(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    name(ctx.host.current_database())
}

/// `current_schema()`
pub fn current_schema(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    if ctx.host.creates_temporary() {
        return name(temporary_schema_name(ctx.host.backend_pid()));
    }
    let path = ctx.host.search_path(false);
    let first = path.iter().find(|schema| !is_temporary_name(schema));
    Ok(first.map_or(Datum::Null, |s| Datum::text(s.as_str())))
}

/// `current_schemas(implicit)`
pub fn current_schemas(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let implicit = boolean(&a[0])?;
    let mut path = ctx.host.search_path(implicit);
    path.retain(|schema| implicit || ctx.host.creates_temporary() || !is_temporary_name(schema));
    Ok(Datum::Array(Arc::new(ArrayDatum {
        element: PgType::Name,
        values: path.into_iter().map(Datum::text).collect(),
    })))
}

/// `current_setting(name[, missing_ok])`
pub fn current_setting(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let setting = text(&a[0])?;
    let missing_ok = a.get(1).map_or(Ok(false), boolean)?;
    match ctx.host.setting(setting) {
        Some(value) => name(value),
        None if missing_ok => Ok(Datum::Null),
        None => {
            Err(Error::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{setting}\"")))
        }
    }
}

/// Name of `current_setting` where the statement itself may have changed the setting before: it cannot be evaluated early
/// then. Postgres has no such function, so the name is no identifier that anybody writes.
pub const CURRENT_SETTING_NOW: &str = "current setting now";

/// `set_config(name, value, is_local)`
pub fn set_config(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() {
        return Err(Error::new(ErrorKind::NullValueNotAllowed, "SET requires parameter name"));
    }
    let value = if a[1].is_null() { "" } else { text(&a[1])? };
    let is_local = !a[2].is_null() && boolean(&a[2])?;
    ctx.host.set_config(text(&a[0])?, value, is_local).map(Datum::text)
}

/// `pg_backend_pid()`
pub fn backend_pid(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int4(ctx.host.backend_pid()))
}

/// `pg_typeof(any)`
pub fn typeof_(_: &EvalContext, types: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Oid(type_of(types, 0).oid()))
}

/// `format_type(oid, typmod)`
pub fn format_type(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    if a[0].is_null() {
        return Ok(Datum::Null);
    }
    let number = oid(&a[0])?;
    let typmod = if a[1].is_null() { -1 } else { int4(&a[1])? };
    if number == 0 {
        return name("-");
    }
    let Some(ty) = PgType::from_oid(number) else {
        if ctx.catalog.tables.contains_key(&number) {
            return name(info::reg_text(ctx, PgType::Regtype, number));
        }
        return name("???");
    };
    if let Some(element) = ty.element().filter(|_| typmod >= 0) {
        let element = ColumnType { ty: element, typmod };
        return name(format!("{element}[]"));
    }
    // Where a modifier is asked for and there is none, `character` would be read as one of a length of 1.
    if ty == PgType::Bpchar && typmod < 0 && !a[1].is_null() {
        return name("bpchar");
    }
    name(ColumnType { ty, typmod }.to_string())
}

/// `pg_get_userbyid(oid)`
pub fn userbyid(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let number = oid(&a[0])?;
    match role_name(&ctx.catalog, number) {
        Some(role) => name(role),
        None => name(format!("unknown (OID={number})")),
    }
}

/// `acldefault("char", oid)`: the privileges on objects of a kind whose owner has granted none.
///
/// # Errors
/// 22023 for kinds that Postgres does not have.
pub fn default_privileges(ctx: &EvalContext, types: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let Datum::Text(owner) = userbyid(ctx, types, &a[1..])? else { return Ok(Datum::Null) };
    // What everybody has, and the owner: PostgreSQL's documentation, "ACL Privilege Abbreviations".
    let (everybody, own) = match text(&a[0])? {
        "c" => ("", ""),
        "r" => ("", "arwdDxt"),
        "s" => ("", "rwU"),
        "d" => ("Tc", "CTc"),
        "f" => ("X", "X"),
        "l" | "T" => ("U", "U"),
        "L" => ("", "rw"),
        "n" => ("", "UC"),
        "t" => ("", "C"),
        "F" | "S" => ("", "U"),
        "p" => ("", "sA"),
        kind => {
            let message = format!("unrecognized object type abbreviation: {kind}");
            return Err(Error::new(ErrorKind::InvalidParameterValue, message));
        }
    };
    let owner = info::quote_ident(&owner);
    let granted = [("", everybody), (owner.as_str(), own)];
    let values = granted.iter().filter(|(_, privileges)| !privileges.is_empty());
    Ok(Datum::Array(Arc::new(ArrayDatum {
        element: PgType::AclItem,
        values: values.map(|(role, privileges)| Datum::text(format!("{role}={privileges}/{owner}"))).collect(),
    })))
}

/// `pg_table_is_visible(oid)`
pub fn table_is_visible(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let visible = info::relation_is_visible(ctx, oid(&a[0])?);
    Ok(visible.map_or(Datum::Null, Datum::Bool))
}

/// `pg_type_is_visible` and its kin: everything of those kinds is in pg_catalog.
pub fn always(_: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(true))
}

/// `pg_is_in_recovery()`, `pg_is_other_temp_schema()` …
pub fn never(_: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Bool(false))
}

/// What this server has nothing to say about.
pub fn null(_: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Null)
}

/// `pg_my_temp_schema()`
pub fn my_temp_schema(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    let path = ctx.host.search_path(false);
    let own = path.iter().find(|schema| is_temporary_name(schema));
    Ok(Datum::Oid(own.and_then(|schema| ctx.catalog.schema_oid(schema)).unwrap_or(0)))
}

/// `pg_is_other_temp_schema(oid)`
pub fn is_other_temp_schema(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let name = ctx.catalog.schema_name(oid(&a[0])?).filter(|name| is_temporary_name(name));
    let other = name.is_some_and(|name| !ctx.host.search_path(false).iter().any(|own| own == name));
    Ok(Datum::Bool(other))
}

/// `pg_trigger_depth()`
pub fn zero(_: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int4(0))
}

/// `pg_tablespace_location()`
pub fn empty_text(_: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    name("")
}

/// `current_query()`
pub fn current_query(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::text(ctx.host.current_query()))
}

/// `obj_description(oid[, catalog])`, `shobj_description(oid, catalog)`
pub fn obj_description(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let number = oid(&a[0])?;
    let class = match a.get(1) {
        Some(class) => info::system_relation_oid("pg_catalog", text(class)?),
        None => None,
    };
    let kept = class.and_then(|class| ctx.catalog.comments.get(&(class, number)));
    if let Some(comment) = kept {
        return Ok(Datum::text(comment.as_ref()));
    }
    // Those of relations are kept with them.
    if a.len() > 1 && class != info::system_relation_oid("pg_catalog", "pg_class") {
        return Ok(Datum::Null);
    }
    let comment = match ctx.catalog.tables.get(&number) {
        Some(table) => table.comment.clone(),
        None => ctx.catalog.tables.values().find_map(|t| {
            let index = t.indexes.iter().find(|i| i.oid == number && number != 0)?;
            index.comment.clone()
        }),
    };
    Ok(comment.map_or(Datum::Null, Datum::text))
}

/// `col_description(table, attnum)`
pub fn col_description(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let attnum = i16::try_from(int4(&a[1])?).unwrap_or(0);
    let comment = ctx.catalog.tables.get(&oid(&a[0])?).and_then(|table| {
        let position = table.column_index(attnum)?;
        table.columns[position].comment.clone()
    });
    Ok(comment.map_or(Datum::Null, Datum::text))
}

/// Number of UTF8 in Postgres's list of encodings.
const UTF8: i32 = 6;

/// `pg_encoding_to_char(number)`
pub fn encoding_to_char(_: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    name(match int4(&a[0])? {
        0 => "SQL_ASCII",
        UTF8 => "UTF8",
        8 => "LATIN1",
        _ => "",
    })
}

/// `pg_char_to_encoding(name)`
pub fn char_to_encoding(_: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let wanted = text(&a[0])?.to_ascii_lowercase().replace(['-', '_'], "");
    Ok(Datum::Int4(match wanted.as_str() {
        "sqlascii" => 0,
        "utf8" | "unicode" => UTF8,
        "latin1" | "iso88591" => 8,
        _ => -1,
    }))
}

/// `pg_client_encoding()`, `getdatabaseencoding()`
pub fn encoding(_: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    name("UTF8")
}

fn size(bytes: u64) -> Result<Datum> {
    Ok(Datum::Int8(i64::try_from(bytes).unwrap_or(i64::MAX)))
}

/// The size of a relation as `of` counts it; NULL where there is none.
fn size_of(ctx: &EvalContext, relation: &Datum, of: fn(RelationSize) -> u64) -> Result<Datum> {
    let number = oid(relation)?;
    if info::relation_name(ctx, number).is_none() {
        return Ok(Datum::Null);
    }
    size(ctx.host.relation_size(number).map_or(0, of))
}

/// `pg_relation_size`, `pg_table_size`
pub fn relation_size(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    size_of(ctx, &a[0], |size| size.own_bytes)
}

/// `pg_indexes_size`
pub fn indexes_size(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    size_of(ctx, &a[0], |size| size.index_bytes)
}

/// `pg_total_relation_size`
pub fn total_size(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    size_of(ctx, &a[0], |size| size.own_bytes + size.index_bytes)
}

/// `pg_database_size`: 3D000 for a name that is none, NULL for such an OID.
pub fn database_size(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let found = match &a[0] {
        Datum::Text(name) => match ctx.catalog.database_named(name) {
            Some(database) => Some(database.oid),
            // There is nothing in them.
            None if is_template(&ctx.catalog, name) => return size(0),
            None => {
                let message = format!("database \"{name}\" does not exist");
                return Err(Error::new(ErrorKind::InvalidCatalogName, message));
            }
        },
        number => Some(oid(number)?).filter(|number| is_database_oid(&ctx.catalog, *number)),
    };
    found.map_or(Ok(Datum::Null), |oid| size(ctx.host.database_bytes(oid)))
}

/// `pg_tablespace_size`: all tables lie in `pg_default`.
pub fn tablespace_size(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    const DEFAULT_OID: u32 = 1663;
    const GLOBAL_OID: u32 = 1664;
    let is_default = match &a[0] {
        Datum::Text(name) => match name.as_ref() {
            "pg_default" => Some(true),
            "pg_global" => Some(false),
            other => {
                let message = format!("tablespace \"{other}\" does not exist");
                return Err(Error::new(ErrorKind::UndefinedObject, message));
            }
        },
        number => match oid(number)? {
            DEFAULT_OID => Some(true),
            GLOBAL_OID => Some(false),
            _ => None,
        },
    };
    match is_default {
        Some(true) => size(ctx.catalog.databases.keys().map(|oid| ctx.host.database_bytes(*oid)).sum()),
        Some(false) => Ok(Datum::Int8(0)),
        None => Ok(Datum::Null),
    }
}

/// `pg_size_pretty`
pub fn size_pretty(_: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    if let Datum::Numeric(n) = &a[0] {
        return size_pretty_numeric(n);
    }
    let bytes = int(&a[0])?;
    if bytes.unsigned_abs() < MAX_PLAIN_BYTES {
        return name(format!("{bytes} bytes"));
    }
    size_pretty_int(bytes)
}

/// From here on a size is shown in a larger unit.
const MAX_PLAIN_BYTES: u64 = 10 * 1024;

fn size_pretty_numeric(bytes: &Numeric) -> Result<Datum> {
    match bytes.trunc(0)?.to_i64() {
        Ok(_) if bytes.abs() < Numeric::from(MAX_PLAIN_BYTES as i64) => name(format!("{bytes} bytes")),
        Ok(whole) => size_pretty_int(whole),
        Err(e) => Err(e),
    }
}

fn size_pretty_int(bytes: i64) -> Result<Datum> {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    // One bit more than the unit, so that halves round away from zero.
    let mut doubled = bytes / (1 << 9);
    for unit in &UNITS[..UNITS.len() - 1] {
        if doubled.unsigned_abs() < 2 * MAX_PLAIN_BYTES - 1 {
            return name(format!("{} {unit}", (doubled + doubled.signum()) / 2));
        }
        doubled /= 1 << 10;
    }
    name(format!("{} {}", (doubled + doubled.signum()) / 2, UNITS[UNITS.len() - 1]))
}

/// `txid_current()`
pub fn txid_current(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int8(ctx.host.transaction_id()?))
}

/// `txid_current_if_assigned()`
pub fn txid_if_assigned(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(ctx.host.assigned_transaction_id().map_or(Datum::Null, Datum::Int8))
}

/// `pg_column_size(any)`: roughly, what the value takes.
pub fn column_size(_: &EvalContext, types: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let fixed = type_of(types, 0).len();
    let bytes = match &a[0] {
        _ if fixed > 0 => i32::from(fixed),
        Datum::Text(s) | Datum::Jsonb(s) => s.len() as i32 + 1,
        Datum::Bytea(b) => b.len() as i32 + 1,
        other => other.size_bytes() as i32,
    };
    Ok(Datum::Int4(bytes))
}

macro_rules! to_reg {
    ($($name:ident $ty:ident;)*) => {$(
        /// NULL where nothing has the name.
        pub fn $name(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
            let input = text(&a[0])?;
            if !input.is_empty() && input.bytes().all(|b| b.is_ascii_digit()) {
                return Ok(Datum::Null);
            }
            let found = info::reg_lookup(ctx, PgType::$ty, input)?;
            Ok(found.map_or(Datum::Null, Datum::Oid))
        }
    )*};
}

to_reg! {
    to_regclass Regclass;
    to_regtype Regtype;
    to_regproc Regproc;
    to_regnamespace Regnamespace;
    to_regrole Regrole;
}

/// `nextval(regclass)`
pub fn nextval(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    ctx.host.nextval(sequence(ctx, &a[0])?).map(Datum::Int8)
}

/// `currval(regclass)`
pub fn currval(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    ctx.host.currval(sequence(ctx, &a[0])?).map(Datum::Int8)
}

/// `lastval()`
pub fn lastval(ctx: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    ctx.host.lastval().map(Datum::Int8)
}

/// `setval(regclass, value[, is_called])`
pub fn setval(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let is_called = a.get(2).map_or(Ok(true), boolean)?;
    let sequence = sequence(ctx, &a[0])?;
    ctx.host.setval(sequence, int(&a[1])?, is_called).map(Datum::Int8)
}

fn sequence(ctx: &EvalContext, d: &Datum) -> Result<u32> {
    let number = oid(d)?;
    if ctx.catalog.sequences.contains_key(&number) {
        return Ok(number);
    }
    Err(match info::relation_name(ctx, number) {
        Some((_, name)) => Error::new(ErrorKind::WrongObjectType, format!("\"{name}\" is not a sequence")),
        None => Error::new(ErrorKind::UndefinedTable, format!("relation with OID {number} does not exist")),
    })
}

macro_rules! node_functions {
    ($($name:ident)*) => {$(
        /// Done by the node, under the function's name.
        pub fn $name(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
            ctx.host.node_function(stringify!($name), a)
        }
    )*};
}

node_functions! {
    pg_cancel_backend pg_terminate_backend pg_postmaster_start_time pg_conf_load_time
    pg_reload_conf pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock
    pg_advisory_unlock_shared pg_advisory_unlock_all pg_advisory_xact_lock
    pg_advisory_xact_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared
    pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared pg_blocking_pids
    inet_client_addr inet_client_port inet_server_addr inet_server_port
}

/// `pg_safe_snapshot_blocking_pids(pid)`: nobody waits for a snapshot.
pub fn no_pids(_: &EvalContext, _: Types<'_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Array(Arc::new(ArrayDatum { element: PgType::Int4, values: Vec::new() })))
}

/// Events that `pg_relation_is_updatable` counts: UPDATE 4, INSERT 8, DELETE 16.
const ALL_EVENTS: i32 = 4 + 8 + 16;

/// `pg_relation_is_updatable(regclass, bool)`
pub fn is_updatable(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let table: Option<&Arc<Table>> = ctx.catalog.tables.get(&oid(&a[0])?);
    Ok(Datum::Int4(table.map_or(0, |_| ALL_EVENTS)))
}

fn arg_name(arg: ArgType) -> String {
    match arg {
        ArgType::Is(ty) => ty.sql_name(),
        ArgType::AnyElement => "anyelement".to_owned(),
        ArgType::AnyArray => "anyarray".to_owned(),
        ArgType::AnyNonArray => "anynonarray".to_owned(),
        ArgType::Compatible => "anycompatible".to_owned(),
        ArgType::CompatibleArray => "anycompatiblearray".to_owned(),
        ArgType::Any => "\"any\"".to_owned(),
    }
}

/// `pg_get_function_arguments(oid)`
pub fn function_arguments(_: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let Some(function) = super::by_oid(oid(&a[0])?) else {
        return Ok(Datum::Null);
    };
    let args: Vec<String> = function.args.iter().map(|arg| arg_name(*arg)).collect();
    name(args.join(", "))
}

/// `pg_get_function_result(oid)`
pub fn function_result(_: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let Some(function) = super::by_oid(oid(&a[0])?) else {
        return Ok(Datum::Null);
    };
    name(match function.ret {
        ReturnType::Is(ty) => ty.sql_name(),
        ReturnType::AnyElement => "anyelement".to_owned(),
        ReturnType::AnyArray => "anyarray".to_owned(),
        ReturnType::Compatible => "anycompatible".to_owned(),
        ReturnType::CompatibleArray => "anycompatiblearray".to_owned(),
    })
}

/// Longest piece of a sleep, so that a cancel is noticed.
const SLEEP_STEP: Duration = Duration::from_millis(20);
/// `pg_sleep` never sleeps longer.
const SLEEP_SECONDS_MAX: f64 = 30.0 * 86_400.0;

/// `pg_sleep`
pub fn pg_sleep(ctx: &EvalContext, _: Types<'_>, a: &[Datum]) -> Result<Datum> {
    let Some(Datum::Float8(seconds)) = a.first() else { return Ok(Datum::Null) };
    if seconds.is_nan() || *seconds <= 0.0 {
        return Ok(Datum::text(""));
    }
    let deadline = Instant::now() + Duration::from_secs_f64(seconds.min(SLEEP_SECONDS_MAX));
    ctx.host.note_sleep(true);
    let slept = tokio::task::block_in_place(|| {
        loop {
            ctx.check_canceled()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Datum::text(""));
            }
            std::thread::sleep(left.min(SLEEP_STEP));
        }
    });
    ctx.host.note_sleep(false);
    slept
}
