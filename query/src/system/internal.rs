//! pg_stratos: what Postgres has no table for.

use stratos_types::{Datum, Result};

use super::definitions::Producer;
use super::relations::table_statistics;
use super::rows::{Rows, int8, oid, text};
use crate::catalog::{IndexState, SystemContext, keys};

pub(super) fn producer(name: &str) -> Option<Producer> {
    match name {
        "shards" => Some(shards),
        "tables" => Some(tables),
        "indexes" => Some(indexes),
        _ => None,
    }
}

fn shards(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for shard in context.store.shards() {
        rows.push([
            ("id", int8(shard.shard.0)),
            ("start_key", Datum::Bytea(shard.span.start.as_ref().into())),
            ("end_key", Datum::Bytea(shard.span.end.as_ref().into())),
            ("epoch", int8(shard.epoch)),
            ("rows", int8(shard.rows)),
            ("bytes", int8(shard.bytes)),
            ("leader", shard.leader.map_or(Datum::Null, int8)),
            ("applied_index", int8(shard.applied_index)),
        ]);
    }
    Ok(())
}

fn tables(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in context.catalog.tables.values() {
        let (live, bytes) = table_statistics(context, table);
        rows.push([
            ("oid", oid(table.oid)),
            ("schema_name", text(&table.schema_name)),
            ("table_name", text(&table.name)),
            ("storage", int8(table.storage.into())),
            ("rows", live),
            ("bytes", bytes),
            ("version", int8(table.version)),
        ]);
    }
    Ok(())
}

fn indexes(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in context.catalog.tables.values() {
        for index in &table.indexes {
            let found = context.store.statistics(&keys::index_data(table.database, table.storage, index.id));
            rows.push([
                ("oid", oid(index.oid)),
                ("table_oid", oid(table.oid)),
                ("name", text(&index.name)),
                ("id", int8(index.id.into())),
                (
                    "state",
                    text(match index.state {
                        IndexState::DeleteOnly => "delete only",
                        IndexState::WriteOnly => "write only",
                        IndexState::Public => "public",
                    }),
                ),
                ("entries", int8(found.rows)),
                ("bytes", int8(found.bytes)),
            ]);
        }
    }
    Ok(())
}
