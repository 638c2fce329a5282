//! Operator classes of indexes: how btree orders a type.
//!
//! The order of text is that of its bytes, so that the classes for patterns order as the default ones do: they are kept because
//! tools compare definitions, and change nothing.

use std::sync::LazyLock;

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::statics::{BTREE, as_oid, positions, rows};

struct Class {
    oid: u32,
    name: &'static str,
    /// OID of the type that it orders.
    input: u32,
    default: bool,
}

static BTREE_CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let fields = ["oid", "opcmethod", "opcname", "opcintype", "opcdefault"];
    let Some([oid, method, name, input, default]) = positions("pg_opclass", fields) else {
        return Vec::new();
    };
    rows("pg_opclass")
        .iter()
        .filter(|row| as_oid(&row[method]) == BTREE)
        .map(|row| Class {
            oid: as_oid(&row[oid]),
            name: row[name].as_str().unwrap_or_default(),
            input: as_oid(&row[input]),
            default: row[default] == Datum::Bool(true),
        })
        .collect()
});

/// The type whose classes order a type.
fn ordered_as(ty: PgType) -> u32 {
    if ty == PgType::Varchar { PgType::Text.oid() } else { ty.oid() }
}

/// OID of a type's default class; 0 where there is none.
pub(super) fn default_class(ty: PgType) -> u32 {
    let mut classes = BTREE_CLASSES.iter();
    classes.find(|class| class.default && class.input == ordered_as(ty)).map_or(0, |class| class.oid)
}

/// Name of a class.
pub(super) fn class_name(oid: u32) -> &'static str {
    BTREE_CLASSES.iter().find(|class| class.oid == oid).map_or("", |class| class.name)
}

/// The class that a statement names for a column; none where it is the type's default.
///
/// # Errors
/// 42704 for classes that are not there, 42804 for those of another type.
pub(crate) fn named_class(name: &str, ty: PgType) -> Result<Option<u32>> {
    let found = BTREE_CLASSES.iter().find(|class| class.name == name).ok_or_else(|| {
        let message = format!("operator class \"{name}\" does not exist for access method \"btree\"");
        Error::new(ErrorKind::UndefinedObject, message)
    })?;
    if found.input != ordered_as(ty) {
        let message = format!("operator class \"{name}\" does not accept data type {ty}");
        return Err(Error::new(ErrorKind::DatatypeMismatch, message));
    }
    Ok((!found.default).then_some(found.oid))
}
