//! Statements against what they bind to, and errors against those of a real PostgreSQL 15.

use std::sync::Arc;

use stratos_types::{ColumnType, PgType};

use super::{BindContext, ScalarUse, SourceText, bind, bind_scalar, parse};
use crate::catalog::{
    Column, ColumnDefault, Constraint, ConstraintKind, Identity, Index, IndexColumn, IndexState, Schema, Snapshot,
    SystemTable, Table,
};

fn no_system(_: &str, _: &str) -> Option<Arc<dyn SystemTable>> {
    None
}

fn table(oid: u32, name: &str, columns: &[(&str, ColumnType)], key: bool) -> Table {
    let columns: Vec<Column> = columns
        .iter()
        .enumerate()
        .map(|(i, (name, ty))| Column {
            attnum: i16::try_from(i + 1).unwrap(),
            name: (*name).to_owned(),
            ty: *ty,
            collation: None,
            not_null: false,
            default: None,
            identity: None,
            missing: None,
            comment: None,
        })
        .collect();
    Table {
        oid,
        schema: 2200,
        schema_name: "public".into(),
        database: 5,
        name: name.into(),
        owner: 10,
        storage: oid,
        next_attnum: i16::try_from(columns.len() + 1).unwrap(),
        columns,
        indexes: vec![Index {
            deferrable: None,
            oid: if key { oid + 1 } else { 0 },
            name: format!("{name}_pkey"),
            id: 1,
            columns: key
                .then_some(IndexColumn { attnum: 1, descending: false, nulls_first: false, class: None })
                .into_iter()
                .collect(),
            unique: key,
            primary: key,
            state: IndexState::Public,
            comment: None,
        }],
        constraints: key
            .then_some(Constraint {
                oid: oid + 2,
                name: format!("{name}_pkey"),
                kind: ConstraintKind::Unique { index: oid + 1, primary: true },
            })
            .into_iter()
            .collect(),
        comment: None,
        on_commit: None,
        version: 1,
    }
}

/// t (id int primary key, name text, n int8, at timestamptz), u (id int, t_id int, v varchar(3)),
/// g (id int generated always as identity, d int default 7).
fn snapshot() -> Arc<Snapshot> {
    let t = |ty: PgType| ColumnType::from(ty);
    let mut snapshot = Snapshot { version: 1, database: 5, ..Snapshot::default() };
    let public = Schema { oid: 2200, name: "public".into(), owner: 10 };
    snapshot.schemas.insert(public.oid, Arc::new(public));
    let varchar = ColumnType { ty: PgType::Varchar, typmod: 7 };
    let mut g = table(16600, "g", &[("id", t(PgType::Int4)), ("d", t(PgType::Int4))], false);
    g.columns[0].identity = Some(Identity { always: true, sequence: 16700 });
    g.columns[1].default = Some(ColumnDefault { oid: 16701, sql: "7".into(), owned_sequence: None });
    for table in [
        table(
            16400,
            "t",
            &[
                ("id", t(PgType::Int4)),
                ("name", t(PgType::Text)),
                ("n", t(PgType::Int8)),
                ("at", t(PgType::TimestampTz)),
            ],
            true,
        ),
        table(16500, "u", &[("id", t(PgType::Int4)), ("t_id", t(PgType::Int4)), ("v", varchar)], false),
        g,
    ] {
        snapshot.relations.insert((2200, table.name.clone()), table.oid);
        snapshot.tables.insert(table.oid, Arc::new(table));
    }
    Arc::new(snapshot)
}

fn context(sql: &str) -> BindContext {
    BindContext::new(snapshot(), Arc::new(no_system), vec!["public".into()], Some(Arc::new(SourceText::new(sql))))
}

fn show(sql: &str) -> String {
    let result = parse(sql).and_then(|statements| {
        let statement = statements.into_iter().next().unwrap();
        bind(statement.sql().unwrap(), &context(sql), &[])
    });
    match result {
        Ok(bound) => {
            let mut text = bound.to_string();
            if !bound.params.is_empty() {
                let types: Vec<String> = bound.params.iter().map(ToString::to_string).collect();
                text.push_str(&format!("\nParams {}", types.join(", ")));
            }
            text
        }
        Err(e) => {
            let at = e.position().map_or_else(String::new, |p| format!(" @{p}"));
            let hint = e.hint().map_or_else(String::new, |h| format!(" HINT {h}"));
            format!("{:?}: {}{at}{hint}", e.kind(), e.message())
        }
    }
}

/// Blocks of `-- statement` and what it gives; `UPDATE_GOLDEN=1` writes them anew.
fn golden(name: &str, text: &str) {
    let mut fresh = String::new();
    for line in text.lines().filter(|l| l.starts_with("-- ")) {
        let sql = &line[3..];
        fresh.push_str(&format!("-- {sql}\n{}\n", show(sql)));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = format!("{}/src/binder/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, &fresh).unwrap();
        return;
    }
    for (is, wanted) in fresh.split("-- ").zip(text.split("-- ")) {
        assert_eq!(is, wanted);
    }
    assert_eq!(fresh, text);
}

#[test]
fn statements_bind_to_these_trees() {
    golden("bound.txt", include_str!("golden/bound.txt"));
}

/// Messages, positions and hints were compared with PostgreSQL 15.
#[test]
fn errors_are_those_of_postgres() {
    golden("errors.txt", include_str!("golden/errors.txt"));
}

#[test]
fn scalars_of_table_definitions() {
    let table = Arc::clone(&snapshot().tables[&16400]);
    let cx = context("");
    let check = bind_scalar("n > id + 1", &cx, Some(&table), None, ScalarUse::Check).unwrap();
    assert_eq!(check.to_string(), "int84gt(#2, int4pl(#0, 1))");
    let target = Some(("n", ColumnType::from(PgType::Int8)));
    let default = bind_scalar("'7'", &cx, None, target, ScalarUse::Default).unwrap();
    assert_eq!(default.to_string(), "'7':bigint");
    let e = bind_scalar("true", &cx, None, target, ScalarUse::Default).unwrap_err();
    assert_eq!(e.message(), "column \"n\" is of type bigint but default expression is of type boolean");
    let e = bind_scalar("(select 1)", &cx, None, target, ScalarUse::Default).unwrap_err();
    assert_eq!(e.message(), "cannot use subquery in DEFAULT expression");
}

#[test]
fn statements_of_a_query_string_keep_their_ranges() {
    let parsed = parse("select 1 ; \n select 'é', 2;;").unwrap();
    let texts: Vec<&str> = parsed.iter().map(super::ParsedStatement::text).collect();
    assert_eq!(texts, ["select 1", "select 'é', 2"]);
    assert!(parse(" ; ").unwrap().is_empty());
}

/// Depth ends in an error, not in the end of the stack (of a runtime's worker: 2 MiB).
#[test]
fn deep_statements_are_refused_or_bound() {
    let run = |sql: String| {
        std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(move || show(&sql).chars().take(60).collect::<String>())
            .unwrap()
            .join()
            .unwrap()
    };
    let deep = "StatementTooComplex";
    assert!(run(format!("select {}1{}", "(".repeat(5000), ")".repeat(5000))).starts_with(deep));
    assert!(run(format!("select 1{}", "+1".repeat(6000))).starts_with(deep));
    assert!(run(format!("select 1 where true{}", " or true".repeat(4000))).starts_with("Project"));
    assert!(run(format!("select 1{}", " union all select 1".repeat(400))).starts_with("Union"));
    assert!(run(format!("select {}1", "- ".repeat(3000))).starts_with(deep));
}

/// Rows that are looked for in subqueries are compared in several ways, and so is what is looked for in these.
#[test]
fn rows_in_subqueries_are_bound_a_bounded_number_of_times() {
    let nested = |depth: usize| {
        let condition = (0..depth).fold("true".to_owned(), |inner, _| format!("(1, 2) in (select 1, 2 where {inner})"));
        show(&format!("select 1 where {condition}"))
    };
    assert!(nested(5).starts_with("Project"));
    assert!(nested(40).starts_with("StatementTooComplex"));
}
