//! Descriptors back to SQL: `pg_get_indexdef`, `pg_get_constraintdef` and their kin.

use stratos_types::{Datum, PgType, Result};

use super::args::{boolean, int4, oid, text};
use super::catalog_info::{quote_ident, reg_text};
use crate::catalog::{ConstraintKind, Index, ReferentialAction, Table, deferral_clause};
use crate::session::EvalContext;
use crate::system::deparse::{index_definition, index_definition_on};

fn column_list(table: &Table, attnums: &[i16]) -> String {
    let names: Vec<String> =
        attnums.iter().filter_map(|n| table.column_index(*n)).map(|i| quote_ident(&table.columns[i].name)).collect();
    names.join(", ")
}

fn find_index(ctx: &EvalContext, oid: u32) -> Option<(&Table, &Index)> {
    ctx.catalog.tables.values().find_map(|table| {
        let index = table.indexes.iter().find(|i| i.oid == oid && oid != 0)?;
        Some((table.as_ref(), index))
    })
}

/// `pg_get_indexdef(index[, column, pretty])`
pub fn indexdef(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let Some((table, index)) = find_index(ctx, oid(&a[0])?) else {
        return Ok(Datum::Null);
    };
    let name_of = |attnum: i16| {
        let position = table.column_index(attnum);
        position.map_or_else(String::new, |i| quote_ident(&table.columns[i].name))
    };
    if let Some(n) = a.get(1).map(int4).transpose()?.filter(|n| *n > 0) {
        let column = index.columns.get(n as usize - 1);
        return Ok(Datum::text(column.map_or_else(String::new, |c| name_of(c.attnum))));
    }
    Ok(Datum::text(match a.get(2).map_or(Ok(false), boolean)? {
        true => index_definition_on(table, index, &reg_text(ctx, PgType::Regclass, table.oid)),
        false => index_definition(table, index),
    }))
}

fn action(clause: &str, action: ReferentialAction) -> String {
    let name = match action {
        ReferentialAction::NoAction => return String::new(),
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    };
    format!(" ON {clause} {name}")
}

/// `pg_get_constraintdef(constraint[, pretty])`
pub fn constraintdef(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let wanted = oid(&a[0])?;
    let found = ctx.catalog.tables.values().find_map(|table| {
        let constraint = table.constraints.iter().find(|c| c.oid == wanted)?;
        Some((table, constraint))
    });
    let Some((table, constraint)) = found else {
        return Ok(Datum::Null);
    };
    Ok(Datum::text(match &constraint.kind {
        ConstraintKind::Unique { index, primary } => {
            let index = table.indexes.iter().find(|i| i.oid == *index);
            let attnums: Vec<i16> = index.map_or_else(Vec::new, |i| i.columns.iter().map(|c| c.attnum).collect());
            let word = if *primary { "PRIMARY KEY" } else { "UNIQUE" };
            let deferrable = index.and_then(|i| i.deferrable);
            let clause = deferral_clause(deferrable.is_some(), deferrable == Some(true));
            format!("{word} ({}){clause}", column_list(table, &attnums))
        }
        ConstraintKind::Check(check) => {
            let pretty = a.get(1).map_or(Ok(false), boolean)?;
            format!("CHECK ({})", crate::system::deparse::check_text(table, &check.sql, pretty))
        }
        ConstraintKind::ForeignKey(key) => {
            let referenced = ctx.catalog.tables.get(&key.table);
            format!(
                "FOREIGN KEY ({}) REFERENCES {}({}){}{}{}{}",
                column_list(table, &key.columns),
                reg_text(ctx, PgType::Regclass, key.table),
                referenced.map_or_else(String::new, |t| column_list(t, &key.referenced)),
                if key.match_full { " MATCH FULL" } else { "" },
                action("UPDATE", key.on_update),
                action("DELETE", key.on_delete),
                key.deferral_clause(),
            )
        }
    }))
}

/// `pg_get_expr(expression, relation[, pretty])`: the catalogs hold expressions as they print.
pub fn expr(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let printed = text(&a[0])?;
    if !a.get(2).map_or(Ok(false), boolean)? {
        return Ok(Datum::text(printed));
    }
    let table = ctx.catalog.tables.get(&oid(&a[1])?).map(AsRef::as_ref);
    let path = ctx.host.search_path(false);
    Ok(Datum::text(crate::system::deparse::pretty_text(&ctx.catalog, &path, table, printed)))
}

/// `pg_get_serial_sequence(table, column)`
pub fn serial_sequence(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    use super::catalog_info as info;
    let name = text(&a[0])?;
    let parts = info::split_name(name)?;
    let table = info::find_relation(ctx, &parts).and_then(|oid| ctx.catalog.tables.get(&oid));
    let table = table.ok_or_else(|| info::undefined_relation(&parts.join(".")))?;
    let column = text(&a[1])?;
    let position = table.column_named(column).ok_or_else(|| {
        stratos_types::Error::new(
            stratos_types::ErrorKind::UndefinedColumn,
            format!("column \"{column}\" of relation \"{}\" does not exist", table.name),
        )
    })?;
    let owner = Some((table.oid, table.columns[position].attnum));
    let mut sequences = ctx.catalog.sequences.values();
    let sequence = sequences.find(|s| s.owned_by == owner);
    Ok(sequence.map_or(Datum::Null, |s| {
        let schema = info::schema_name(ctx, s.schema).unwrap_or_default();
        Datum::text(format!("{}.{}", quote_ident(&schema), quote_ident(&s.name)))
    }))
}
