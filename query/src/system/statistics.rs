//! What is going on, and how much there is.

use std::sync::Arc;

use stratos_types::{ArrayDatum, Datum, PgType, Result};

use super::relations::table_statistics;
use super::rows::{Rows, boolean, oid, optional_text, text};
use crate::catalog::SystemContext;

pub(super) fn pg_stat_activity(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    let time = |micros: Option<i64>| micros.map_or(Datum::Null, Datum::TimestampTz);
    for session in context.sessions.iter() {
        let database = context.catalog.database_named(&session.database);
        let role = context.catalog.role_named(&session.user);
        let who = [
            ("datid", database.map_or(Datum::Null, |d| oid(d.oid))),
            ("datname", text(&session.database)),
            ("pid", Datum::Int4(session.pid)),
            ("usesysid", role.map_or(Datum::Null, |r| oid(r.oid))),
            ("usename", text(&session.user)),
            ("application_name", text(&session.application_name)),
        ];
        if !session.is_visible {
            rows.push(who.into_iter().chain([("query", text("<insufficient privilege>"))]));
            continue;
        }
        // `address:port`, or a word for a local one.
        let (address, port) = match session.client.rsplit_once(':') {
            Some((address, port)) => match port.parse() {
                Ok(port) => (Some(address), Datum::Int4(port)),
                Err(_) => (Some(session.client.as_str()), Datum::Null),
            },
            None => (None, Datum::Int4(-1)),
        };
        rows.push(who.into_iter().chain([
            ("client_addr", optional_text(address)),
            ("client_port", port),
            ("backend_start", Datum::TimestampTz(session.backend_start_micros)),
            ("xact_start", time(session.transaction_start_micros)),
            ("query_start", Datum::TimestampTz(session.query_start_micros)),
            ("state_change", Datum::TimestampTz(session.query_start_micros)),
            ("wait_event_type", optional_text(session.is_sleeping.then_some("Timeout"))),
            ("wait_event", optional_text(session.is_sleeping.then_some("PgSleep"))),
            ("state", text(session.state)),
            ("query", text(&session.query)),
            ("backend_type", text("client backend")),
        ]));
    }
    Ok(())
}

/// Others' are known to be there, and no more.
pub(super) fn pg_stat_ssl(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for session in context.sessions.iter() {
        let pid = ("pid", Datum::Int4(session.pid));
        match &session.encryption {
            _ if !session.is_visible => rows.push([pid]),
            None => rows.push([pid, ("ssl", boolean(false))]),
            Some(encryption) => rows.push([
                pid,
                ("ssl", boolean(true)),
                ("version", text(&encryption.version)),
                ("cipher", text(&encryption.cipher)),
                ("bits", Datum::Int4(encryption.bits)),
            ]),
        }
    }
    Ok(())
}

pub(super) fn pg_prepared_statements(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for prepared in context.prepared.iter() {
        let types = prepared.params.iter().map(|ty| Datum::Oid(ty.oid())).collect();
        rows.push([
            ("name", text(&prepared.name)),
            ("statement", text(&prepared.statement)),
            ("prepare_time", Datum::TimestampTz(prepared.prepared_micros)),
            ("parameter_types", Datum::Array(Arc::new(ArrayDatum { element: PgType::Regtype, values: types }))),
            ("from_sql", boolean(prepared.from_sql)),
            ("generic_plans", Datum::Int8(0)),
            ("custom_plans", Datum::Int8(0)),
        ]);
    }
    Ok(())
}

pub(super) fn pg_cursors(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for cursor in context.cursors.iter() {
        rows.push([
            ("name", text(&cursor.name)),
            ("statement", text(&cursor.statement)),
            ("is_holdable", boolean(cursor.is_holdable)),
            ("is_binary", boolean(false)),
            ("is_scrollable", boolean(cursor.is_scrollable)),
            ("creation_time", Datum::TimestampTz(cursor.created_micros)),
        ]);
    }
    Ok(())
}

pub(super) fn pg_locks(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for lock in context.store.locks() {
        let (class, object, sub) = match lock.object {
            Some((class, object, sub)) => (oid(class), oid(object), Datum::Int2(sub)),
            None => (Datum::Null, Datum::Null, Datum::Null),
        };
        let relation = lock.storage.filter(|_| lock.database == context.catalog.database).and_then(|storage| {
            context.catalog.tables.values().find(|table| table.storage == storage).map(|table| table.oid)
        });
        let relation = relation.or(lock.relation);
        rows.push([
            ("locktype", text(lock.kind)),
            ("database", if lock.database == 0 { Datum::Null } else { oid(lock.database) }),
            ("relation", relation.map_or(Datum::Null, oid)),
            // An xid has 32 bits, the lower ones of the number.
            ("transactionid", lock.transaction.map_or(Datum::Null, |number| oid(number as u32))),
            ("classid", class),
            ("objid", object),
            ("objsubid", sub),
            ("pid", Datum::Int4(lock.pid)),
            ("mode", text(lock.mode)),
            ("granted", boolean(lock.granted)),
            ("fastpath", boolean(false)),
        ]);
    }
    Ok(())
}

pub(super) fn pg_stat_user_tables(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in context.catalog.tables.values() {
        let (live, _) = table_statistics(context, table);
        rows.push([
            ("relid", oid(table.oid)),
            ("schemaname", text(&table.schema_name)),
            ("relname", text(&table.name)),
            ("n_live_tup", live),
        ]);
    }
    Ok(())
}

pub(super) fn pg_stat_user_indexes(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for table in context.catalog.tables.values() {
        for index in table.indexes.iter().filter(|i| i.oid != 0) {
            rows.push([
                ("relid", oid(table.oid)),
                ("indexrelid", oid(index.oid)),
                ("schemaname", text(&table.schema_name)),
                ("relname", text(&table.name)),
                ("indexrelname", text(&index.name)),
            ]);
        }
    }
    Ok(())
}

pub(super) fn pg_stat_database(rows: &mut Rows<'_>, context: &SystemContext) -> Result<()> {
    for database in context.catalog.databases.values() {
        let sessions = context.sessions.iter().filter(|s| s.database == database.name).count();
        let activity = context.store.activity(database.oid);
        let count = |number: u64| Datum::Int8(i64::try_from(number).unwrap_or(i64::MAX));
        rows.push([
            ("datid", oid(database.oid)),
            ("datname", text(&database.name)),
            ("numbackends", super::rows::int4(sessions)),
            ("xact_commit", count(activity.commits)),
            ("xact_rollback", count(activity.rollbacks)),
            ("tup_inserted", count(activity.inserted)),
            ("tup_updated", count(activity.updated)),
            ("tup_deleted", count(activity.deleted)),
        ]);
    }
    Ok(())
}
