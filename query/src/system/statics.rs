//! Catalogs that are the same everywhere.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use stratos_types::{Datum, PgType, Result};

use super::definitions;
use super::rows::{Rows, array};
use crate::catalog::SystemContext;

const FILES: &[(&str, &str)] = &[
    ("pg_am", include_str!("data/pg_am.tsv")),
    ("pg_amop", include_str!("data/pg_amop.tsv")),
    ("pg_cast", include_str!("data/pg_cast.tsv")),
    ("pg_collation", include_str!("data/pg_collation.tsv")),
    ("pg_language", include_str!("data/pg_language.tsv")),
    ("pg_opclass", include_str!("data/pg_opclass.tsv")),
    ("pg_operator", include_str!("data/pg_operator.tsv")),
    ("pg_opfamily", include_str!("data/pg_opfamily.tsv")),
    ("pg_proc", include_str!("data/pg_proc.tsv")),
    ("pg_tablespace", include_str!("data/pg_tablespace.tsv")),
    ("pg_type", include_str!("data/pg_type.tsv")),
];

/// A cell of COPY's text form; none when it does not read as its type.
fn cell(ty: PgType, text: &str) -> Option<Datum> {
    if text == "\\N" {
        return Some(Datum::Null);
    }
    Some(match ty {
        PgType::Bool => Datum::Bool(text == "t"),
        PgType::Int2 => Datum::Int2(text.parse().ok()?),
        PgType::Int4 => Datum::Int4(text.parse().ok()?),
        PgType::Int8 => Datum::Int8(text.parse().ok()?),
        PgType::Float4 => Datum::Float4(text.parse().ok()?),
        PgType::Float8 => Datum::Float8(text.parse().ok()?),
        ty if ty.is_oid_like() => Datum::Oid(text.parse().ok()?),
        PgType::Int2Vector | PgType::OidVector => {
            let element = ty.element()?;
            let values = text.split_whitespace().map(|part| cell(element, part)).collect::<Option<Vec<Datum>>>()?;
            array(element, values)
        }
        PgType::Array(element) => {
            let element = element.into();
            let inner = text.strip_prefix('{')?.strip_suffix('}')?;
            let values = inner
                .split(',')
                .filter(|part| !part.is_empty())
                .map(|part| cell(element, part.trim_matches('"')))
                .collect::<Option<Vec<Datum>>>()?;
            array(element, values)
        }
        _ => Datum::text(text.replace("\\\\", "\\")),
    })
}

type Table = Vec<Vec<Datum>>;

static TABLES: LazyLock<BTreeMap<&'static str, Table>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|(name, text)| {
            let columns = definitions::find("pg_catalog", name).map(|table| table.columns.clone()).unwrap_or_default();
            let rows = text
                .lines()
                .filter_map(|line| {
                    line.split('\t')
                        .zip(&columns)
                        .map(|(text, (_, ty))| cell(ty.ty, text))
                        .collect::<Option<Vec<Datum>>>()
                        .filter(|row| row.len() == columns.len())
                })
                .collect();
            (*name, rows)
        })
        .collect()
});

/// Rows of a static table.
pub(super) fn rows(name: &str) -> &'static [Vec<Datum>] {
    TABLES.get(name).map_or(&[], Vec::as_slice)
}

/// Number of lines that a static table's file has; for the test that all of them read.
#[cfg(test)]
pub(super) fn lines(name: &str) -> usize {
    FILES.iter().find(|(n, _)| *n == name).map_or(0, |(_, text)| text.lines().count())
}

#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

pub(super) fn copy(into: &mut Rows<'_>, _: &SystemContext) -> Result<()> {
    let name = into.table.name;
    into.extend(rows(name).iter().cloned());
    Ok(())
}

/// Physical facts of a type that pg_attribute repeats.
#[derive(Clone)]
pub(super) struct TypeFacts {
    pub len: Datum,
    pub by_value: Datum,
    pub align: Datum,
    pub storage: Datum,
    pub collation: u32,
}

pub(super) fn as_oid(datum: &Datum) -> u32 {
    match datum {
        Datum::Oid(oid) => *oid,
        _ => 0,
    }
}

/// Positions of columns of a static table; the names are Postgres's and the test reads every table.
pub(super) fn positions<const N: usize>(table: &str, names: [&str; N]) -> Option<[usize; N]> {
    let table = definitions::find("pg_catalog", table)?;
    let mut found = [0; N];
    for (slot, name) in found.iter_mut().zip(names) {
        *slot = table.columns.iter().position(|(n, _)| *n == name)?;
    }
    Some(found)
}

static TYPE_FACTS: LazyLock<BTreeMap<u32, TypeFacts>> = LazyLock::new(|| {
    let Some([oid, len, by_value, align, storage, collation]) =
        positions("pg_type", ["oid", "typlen", "typbyval", "typalign", "typstorage", "typcollation"])
    else {
        return BTreeMap::new();
    };
    rows("pg_type")
        .iter()
        .map(|row| {
            (
                as_oid(&row[oid]),
                TypeFacts {
                    len: row[len].clone(),
                    by_value: row[by_value].clone(),
                    align: row[align].clone(),
                    storage: row[storage].clone(),
                    collation: as_oid(&row[collation]),
                },
            )
        })
        .collect()
});

pub(super) fn type_facts(ty: PgType) -> Option<&'static TypeFacts> {
    TYPE_FACTS.get(&ty.oid())
}

/// OID of btree, `pg_am`.
pub(super) const BTREE: u32 = 403;

/// OID of a type's equality operator; 0 where there is none.
pub(super) fn equality(ty: PgType) -> u32 {
    static EQUALITIES: LazyLock<BTreeMap<u32, u32>> = LazyLock::new(|| {
        let Some([oid, name, left, right]) = positions("pg_operator", ["oid", "oprname", "oprleft", "oprright"]) else {
            return BTreeMap::new();
        };
        rows("pg_operator")
            .iter()
            .filter(|row| row[name].as_str() == Some("=") && row[left] == row[right])
            .map(|row| (as_oid(&row[left]), as_oid(&row[oid])))
            .collect()
    });
    let ty = if ty == PgType::Varchar { PgType::Text } else { ty };
    EQUALITIES.get(&ty.oid()).copied().unwrap_or(0)
}

static FUNCTION_NAMES: LazyLock<BTreeMap<u32, &'static str>> = LazyLock::new(|| {
    FILES
        .iter()
        .find(|(name, _)| *name == "pg_proc")
        .map(|(_, text)| {
            text.lines()
                .filter_map(|line| {
                    let mut fields = line.split('\t');
                    Some((fields.next()?.parse().ok()?, fields.next()?))
                })
                .collect()
        })
        .unwrap_or_default()
});

pub(super) fn function_name(oid: u32) -> Option<&'static str> {
    FUNCTION_NAMES.get(&oid).copied()
}

pub(super) fn function_oid(name: &str) -> Option<u32> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let mut found = FUNCTION_NAMES.iter().filter(|(_, n)| **n == name);
    match (found.next(), found.next()) {
        (Some((oid, _)), None) => Some(*oid),
        _ => None,
    }
}
