//! Rows of system tables against what PostgreSQL 15 says of the same objects.

use std::sync::Arc;

use stratos_replication::{PrefixStatistics, ShardInfo};
use stratos_types::{Datum, PgType};

use super::*;
use crate::catalog::system::PG_TYPE;
use crate::catalog::{PreparedFacts, SessionFacts, Snapshot, StoreFacts, SystemContext};

struct NoStore;

impl StoreFacts for NoStore {
    fn statistics(&self, _: &[u8]) -> PrefixStatistics {
        PrefixStatistics { rows: 7, bytes: 10_000 }
    }
    fn shards(&self) -> Vec<ShardInfo> {
        Vec::new()
    }
}

fn context() -> SystemContext {
    let mut db = crate::ddl::tests::Db::new();
    for sql in [
        "create table p(a int, b text, primary key(a))",
        "create unique index on p(b desc, a nulls first)",
        "create table c(id serial primary key, x int references p(a) on delete cascade, y varchar(10) default 'q' \
         check (length(y)>2), z numeric(10,2) not null default 0, i int generated always as identity, \
         check (x > 0 and id < 5), unique(y,z))",
        "create table zz(a int check (a>0), b varchar(3) check (b = 'a'), c text check (c like 'x%' and length(c) < 3), \
         d int default -5, e bigint default '7', g bool default 't', h timestamptz default now(), \
         i date default current_date, k int[] default '{}', l char(3) default 'a', \
         m int check (m between 1 and 3 or m is null), n float8 default 1.5)",
        "create schema other",
        "create table other.t(a int)",
        "comment on table p is 'parents'",
        "comment on database stratos is 'ours'",
    ] {
        db.ok(sql);
    }
    SystemContext {
        catalog: Arc::new(db.snapshot()),
        store: Arc::new(NoStore),
        sessions: Arc::new(vec![SessionFacts {
            pid: 5,
            user: "stratos".into(),
            database: "stratos".into(),
            application_name: "test".into(),
            client: "127.0.0.1:4000".into(),
            encryption: None,
            backend_start_micros: 1,
            transaction_start_micros: None,
            query_start_micros: 2,
            state: "idle",
            is_sleeping: false,
            query: "select 1".into(),
            is_visible: true,
        }]),
        cursors: Arc::default(),
        prepared: Arc::new(vec![PreparedFacts {
            name: "p1".into(),
            statement: "select $1::int, $2::text".into(),
            prepared_micros: 3,
            params: vec![PgType::Int4, PgType::Text],
            from_sql: false,
        }]),
        role: "stratos".into(),
        search_path: Arc::new(vec!["public".into()]),
        settings: Arc::new(vec![crate::catalog::SettingFacts {
            name: "DateStyle".into(),
            value: "ISO, MDY".into(),
            ..crate::catalog::SettingFacts::default()
        }]),
    }
}

/// Whether a value has the form that its type has in memory.
fn fits(ty: PgType, value: &Datum) -> bool {
    match value {
        Datum::Null => true,
        Datum::Bool(_) => ty == PgType::Bool,
        Datum::Int2(_) => ty == PgType::Int2,
        Datum::Int4(_) => ty == PgType::Int4,
        Datum::Int8(_) => ty == PgType::Int8,
        Datum::Float4(_) => ty == PgType::Float4,
        Datum::Float8(_) => ty == PgType::Float8,
        Datum::Oid(_) => ty.is_oid_like(),
        Datum::TimestampTz(_) => ty == PgType::TimestampTz,
        Datum::Bytea(_) => ty == PgType::Bytea,
        Datum::Array(array) => {
            ty.element() == Some(array.element) || ty.element() == Some(PgType::Regproc) && array.element == PgType::Oid
        }
        Datum::Text(_) => ty.is_string() || matches!(ty, PgType::PgNodeTree | PgType::AclItem),
        _ => false,
    }
}

#[test]
fn every_row_fits_its_table() {
    let context = context();
    let mut tables = 0;
    for table in all() {
        tables += 1;
        assert!(!table.columns().is_empty(), "{}", table.name());
        for row in table.rows(&context).unwrap() {
            assert_eq!(row.len(), table.columns().len(), "{}", table.name());
            for (value, (column, ty)) in row.iter().zip(table.columns()) {
                assert!(fits(ty.ty, value), "{}.{column} {:?} {value:?}", table.name(), ty.ty);
            }
        }
    }
    assert!(tables > 200);
}

#[test]
fn every_line_of_the_static_tables_reads() {
    for name in statics::names() {
        assert_eq!(statics::rows(name).len(), statics::lines(name), "{name}");
        assert!(statics::lines(name) > 0);
    }
    // Every type that we have is there, under the name that we give it.
    for ty in PgType::all() {
        assert!(statics::type_facts(ty).is_some(), "{ty}");
    }
    assert_eq!(function_oid("array_in"), Some(750));
    assert_eq!(function_name(750), Some("array_in"));
    assert_eq!(super::classes::default_class(PgType::Int4), 1978);
    assert_eq!(super::classes::default_class(PgType::Varchar), 3126);
    assert_eq!(statics::equality(PgType::Int4), 96);
}

#[test]
fn oids_are_unique_and_below_those_of_users() {
    let mut oids: Vec<u32> = all().map(|t| t.oid()).collect();
    let count = oids.len();
    oids.sort_unstable();
    oids.dedup();
    assert_eq!(oids.len(), count);
    assert!(oids.last().unwrap() < &crate::catalog::FIRST_USER_OID);
    assert_eq!(find("pg_catalog", "pg_class").unwrap().oid(), 1259);
    assert_eq!(find_by_oid(1259).unwrap().name(), "pg_class");
    assert!(find_on_path(None, "pg_class").is_some() && find_on_path(None, "columns").is_none());
}

fn definitions_of(catalog: &Snapshot, table: &str) -> Vec<(String, String)> {
    let path = ["public".to_string()];
    let table = catalog.tables.values().find(|t| t.name == table).unwrap();
    table
        .constraints
        .iter()
        .map(|c| (c.name.clone(), deparse::constraint_definition(catalog, &path, table, c)))
        .collect()
}

#[test]
fn definitions_print_as_postgres_prints_them() {
    let context = context();
    let c = definitions_of(&context.catalog, "c");
    let c: Vec<(&str, &str)> = c.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        c,
        [
            ("c_pkey", "PRIMARY KEY (id)"),
            ("c_y_z_key", "UNIQUE (y, z)"),
            ("c_y_check", "CHECK ((length((y)::text) > 2))"),
            ("c_check", "CHECK (((x > 0) AND (id < 5)))"),
            ("c_x_fkey", "FOREIGN KEY (x) REFERENCES p(a) ON DELETE CASCADE"),
        ]
    );
    let zz: Vec<String> = definitions_of(&context.catalog, "zz").into_iter().map(|(_, d)| d).collect();
    assert_eq!(
        zz,
        [
            "CHECK ((a > 0))",
            "CHECK (((b)::text = 'a'::text))",
            "CHECK (((c ~~ 'x%'::text) AND (length(c) < 3)))",
            "CHECK ((((m >= 1) AND (m <= 3)) OR (m IS NULL)))",
        ]
    );
    let p = context.catalog.tables.values().find(|t| t.name == "p").unwrap();
    assert_eq!(deparse::index_definition(p, &p.indexes[0]), "CREATE UNIQUE INDEX p_pkey ON public.p USING btree (a)");
    assert_eq!(
        deparse::index_definition(p, &p.indexes[1]),
        "CREATE UNIQUE INDEX p_b_a_idx ON public.p USING btree (b DESC, a NULLS FIRST)"
    );
}

#[test]
fn defaults_print_as_postgres_prints_them() {
    let context = context();
    let shown = |table: &str, path: &[String]| -> Vec<String> {
        let table = context.catalog.tables.values().find(|t| t.name == table).unwrap();
        table
            .columns
            .iter()
            .filter_map(|c| c.default.as_ref().map(|d| (d, c.ty)))
            .map(|(d, ty)| deparse::default_text(&context.catalog, path, &d.sql, ty))
            .collect()
    };
    let public = ["public".to_string()];
    assert_eq!(shown("c", &public), ["nextval('c_id_seq'::regclass)", "'q'::character varying", "0"]);
    assert_eq!(shown("c", &[])[0], "nextval('public.c_id_seq'::regclass)");
    assert_eq!(
        shown("zz", &public),
        ["'-5'::integer", "'7'::bigint", "true", "now()", "CURRENT_DATE", "'{}'::integer[]", "'a'::bpchar", "1.5"]
    );
}

/// Rows of a table as (column, value) lookups.
fn rows_of(context: &SystemContext, schema: &str, name: &str) -> Vec<Vec<Datum>> {
    find(schema, name).unwrap().rows(context).unwrap()
}

fn column(schema: &str, name: &str, column: &str) -> usize {
    find(schema, name).unwrap().columns().iter().position(|(n, _)| *n == column).unwrap()
}

#[test]
fn user_objects_appear() {
    let context = context();
    let name = column("pg_catalog", "pg_class", "relname");
    let kind = column("pg_catalog", "pg_class", "relkind");
    let classes: Vec<(String, String)> = rows_of(&context, "pg_catalog", "pg_class")
        .into_iter()
        .filter(|r| matches!(r[0], Datum::Oid(oid) if oid >= 16384))
        .map(|r| (r[name].as_str().unwrap().into(), r[kind].as_str().unwrap().into()))
        .collect();
    for expected in [("p", "r"), ("p_pkey", "i"), ("c_id_seq", "S"), ("c_y_z_key", "i")] {
        assert!(classes.contains(&(expected.0.into(), expected.1.into())), "{expected:?} in {classes:?}");
    }
    let triggers = column("pg_catalog", "pg_class", "relhastriggers");
    for (table, expected) in [("p", true), ("c", true), ("zz", false)] {
        let row =
            rows_of(&context, "pg_catalog", "pg_class").into_iter().find(|r| r[name].as_str() == Some(table)).unwrap();
        assert_eq!(row[triggers], Datum::Bool(expected), "{table}");
    }
    let depend = rows_of(&context, "pg_catalog", "pg_depend");
    assert!(depend.iter().any(|r| r.last().unwrap().as_str() == Some("i")));
    let comments = rows_of(&context, "pg_catalog", "pg_description");
    assert_eq!(comments.iter().filter(|comment| comment[1] != Datum::Oid(PG_TYPE)).count(), 3);
    assert_eq!(rows_of(&context, "pg_catalog", "pg_shdescription").len(), 4);
    assert_eq!(rows_of(&context, "pg_catalog", "pg_stat_activity").len(), 1);
    let usage = rows_of(&context, "information_schema", "key_column_usage");
    assert_eq!(usage.len(), 5);
}

/// The queries of `client_queries.sql`, with their names.
fn client_queries() -> Vec<(&'static str, &'static str)> {
    include_str!("data/client_queries.sql")
        .split("\n\n")
        .filter_map(|block| {
            let (name, query) = block.trim().strip_prefix("-- ")?.split_once('\n')?;
            (!query.starts_with("--")).then_some((name, query))
        })
        .collect()
}

#[test]
fn client_queries_parse_and_name_tables_that_exist() {
    use sqlparser::ast::{ObjectName, visit_relations};
    let queries = client_queries();
    assert!(queries.len() > 80, "{}", queries.len());
    let mut failures = Vec::new();
    let mut missing = std::collections::BTreeSet::new();
    for (name, query) in queries {
        let dialect = crate::dialect::StratosDialect::default();
        match sqlparser::parser::Parser::parse_sql(&dialect, query) {
            Err(error) => failures.push(format!("{name}: {error}")),
            Ok(statements) => {
                let _: std::ops::ControlFlow<()> = visit_relations(&statements, |relation: &ObjectName| {
                    let text = relation.to_string();
                    let (schema, table) = match text.split_once('.') {
                        Some((schema, table)) => (schema, table),
                        None => ("pg_catalog", text.as_str()),
                    };
                    // A function in FROM reads as a relation's name too.
                    let function = table == "pg_partition_ancestors";
                    if !function
                        && (table.starts_with("pg_") || schema == "information_schema")
                        && find(schema, table).is_none()
                    {
                        missing.insert(text.clone());
                    }
                    std::ops::ControlFlow::Continue(())
                });
            }
        }
    }
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(missing.into_iter().collect::<Vec<_>>(), Vec::<String>::new());
}

/// A store of which nothing may be asked but sizes.
struct OtherStore;

impl StoreFacts for OtherStore {
    fn statistics(&self, _: &[u8]) -> PrefixStatistics {
        PrefixStatistics { rows: 99, bytes: 990_000 }
    }
    fn shards(&self) -> Vec<ShardInfo> {
        panic!("shards")
    }
    fn sequence_value(&self, _: u32, _: u32) -> stratos_types::Result<Option<crate::catalog::keys::SequenceValue>> {
        panic!("a sequence's value")
    }
}

#[test]
fn what_is_kept_between_queries_depends_on_the_catalog_alone() {
    let here = context();
    let elsewhere = SystemContext {
        catalog: here.catalog.clone(),
        store: Arc::new(OtherStore),
        sessions: Arc::default(),
        prepared: Arc::default(),
        cursors: Arc::default(),
        role: "nobody".into(),
        search_path: here.search_path.clone(),
        settings: Arc::default(),
    };
    let mut kept = 0;
    for table in all() {
        let Some(live) = table.live_columns() else { continue };
        let settled = |context: &SystemContext| -> Vec<Vec<Datum>> {
            let settled = |row: Vec<Datum>| {
                let values = row.into_iter().enumerate().filter(|(at, _)| !live.contains(at));
                values.map(|(_, value)| value).collect()
            };
            table.rows(context).unwrap().into_iter().map(settled).collect()
        };
        assert!(settled(&here) == settled(&elsewhere), "{}", table.name());
        kept += 1;
    }
    assert!(kept > 20);
    let class = find("pg_catalog", "pg_class").unwrap();
    let live: Vec<&str> = class.live_columns().unwrap().iter().map(|at| class.columns()[*at].0).collect();
    assert_eq!(live, ["relpages", "reltuples"]);
    assert!(find("pg_catalog", "pg_locks").unwrap().live_columns().is_none());
}
