//! Comparisons across the types of an operator family, at the borders of the types: by key, through DataFusion and in
//! PostgreSQL 15 the same rows, and an index where PostgreSQL can use one.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use stratos_tests::client::{Server, rows};
use stratos_tests::node::Node;
use stratos_tests::postgres::Postgres;
use tokio_postgres::Client;

/// A type with values of it, its least and greatest among them.
struct Type {
    name: &'static str,
    values: &'static [&'static str],
}

const INTEGERS: &[Type] = &[
    Type { name: "smallint", values: &["-32768", "-32767", "-1", "0", "5", "32766", "32767"] },
    Type {
        name: "integer",
        values: &["-2147483648", "-32769", "-32768", "-1", "0", "5", "32767", "32768", "2147483646", "2147483647"],
    },
    Type {
        name: "bigint",
        values: &[
            "-9223372036854775808",
            "-2147483649",
            "-2147483648",
            "-32769",
            "-1",
            "0",
            "5",
            "32768",
            "2147483647",
            "2147483648",
            "3000000000",
            "9223372036854775807",
        ],
    },
];

const FLOATS: &[Type] = &[
    Type {
        name: "real",
        values: &[
            "-Infinity",
            "-3.4028235e38",
            "-0.5",
            "-0",
            "0",
            "0.1",
            "1e-45",
            "0.5",
            "3.4028235e38",
            "Infinity",
            "NaN",
        ],
    },
    Type {
        name: "double precision",
        values: &[
            "-Infinity",
            "-1.7976931348623157e308",
            "-3.4028235e38",
            "-0.5",
            "0",
            "0.1",
            "0.10000000149011612",
            "5e-324",
            "0.5",
            "3.4028236e38",
            "1e300",
            "Infinity",
            "NaN",
        ],
    },
];

const MOMENTS: &[Type] = &[
    Type {
        name: "date",
        values: &[
            "-infinity",
            "4713-01-01 BC",
            "1999-12-31",
            "2000-01-01",
            "2021-03-28",
            "2021-10-31",
            "2021-11-01",
            "5874897-12-31",
            "infinity",
        ],
    },
    Type {
        name: "timestamp",
        values: &[
            "-infinity",
            "4713-01-01 00:00:00 BC",
            "1999-12-31 23:59:59.999999",
            "2000-01-01 00:00:00",
            "2021-03-28 02:30:00",
            "2021-10-31 00:00:00",
            "2021-10-31 02:30:00",
            "294246-12-31 23:59:59.999999",
            "infinity",
        ],
    },
    Type {
        name: "timestamptz",
        values: &[
            "-infinity",
            "4713-01-02 00:00:00+00 BC",
            "1999-12-31 23:00:00+00",
            "2000-01-01 00:00:00+00",
            "2021-03-28 01:30:00+00",
            "2021-10-30 22:00:00+00",
            "2021-10-31 00:30:00+00",
            "2021-10-31 01:30:00+00",
            "294246-12-30 23:59:59+00",
            "infinity",
        ],
    },
];

const STRINGS: &[Type] = &[
    Type { name: "text", values: &["", " ", "a", "a ", "ab", "é"] },
    Type { name: "varchar(5)", values: &["", "a", "a ", "b"] },
    Type { name: "char(3)", values: &["", "a", "ab", "b"] },
];

const OTHERS: &[Type] = &[
    Type {
        name: "numeric",
        values: &["-Infinity", "-1.50", "0", "1.0", "1.5", "100000000000000000000", "Infinity", "NaN"],
    },
    Type { name: "interval", values: &["-1 day", "0", "24 hours", "1 mon", "30 days", "1 year"] },
];

const OPERATORS: &[&str] = &["=", "<>", "<", "<=", ">", ">="];

fn table(ty: &Type) -> String {
    format!("k_{}", ty.name.split(['(', ' ']).next().unwrap())
}

async fn prepare(server: &Server, family: &[Type]) -> Client {
    let client = server.connect().await;
    client.batch_execute("SET TimeZone TO 'Europe/Berlin'; SET enable_seqscan TO off").await.ok();
    client.batch_execute("SET TimeZone TO 'Europe/Berlin'").await.unwrap();
    for ty in family {
        let table = table(ty);
        client.batch_execute(&format!("CREATE TABLE {table} (k {} PRIMARY KEY, d int)", ty.name)).await.unwrap();
        client.batch_execute(&format!("CREATE TABLE f_{table} (k {})", ty.name)).await.unwrap();
        client.batch_execute(&format!("CREATE INDEX ON f_{table} (k DESC)")).await.unwrap();
        let mut values: Vec<String> = ty.values.iter().map(|value| format!("('{value}')")).collect();
        if ty.name == "real" {
            // One value in two forms.
            values.retain(|value| value != "('-0')");
        }
        if ty.name == "varchar(5)" || ty.name == "interval" {
            values.retain(|value| value != "('30 days')");
        }
        client.batch_execute(&format!("INSERT INTO {table} (k) VALUES {}", values.join(", "))).await.unwrap();
        client.batch_execute(&format!("INSERT INTO f_{table} VALUES {}, (NULL)", values.join(", "))).await.unwrap();
    }
    client
}

async fn plan(client: &Client, sql: &str) -> String {
    let lines = rows(client, &format!("EXPLAIN {sql}")).await.unwrap_or_else(|error| panic!("EXPLAIN {sql}: {error}"));
    lines.concat().join("\n")
}

fn sorted(rows: Result<Vec<Vec<String>>, String>) -> Result<Vec<Vec<String>>, String> {
    rows.map(|mut rows| {
        rows.sort();
        rows
    })
}

/// Every comparison of a column with a constant, by every type of the family; and joins.
async fn agree(family: &[Type], indexable: impl Fn(&Type, &Type) -> bool) {
    let (node, postgres) = (Node::start(), Postgres::start());
    let (ours, theirs) = (prepare(node.server(), family).await, prepare(postgres.server(), family).await);
    let planner = node.server().connect().await;
    planner.batch_execute("SET TimeZone TO 'Europe/Berlin'; SET stratos.direct_queries TO off").await.unwrap();
    let mut wrong = Vec::new();
    let mut found = 0;
    for column in family {
        for other in family {
            let indexable = indexable(column, other);
            for table in [table(column), format!("f_{}", table(column))] {
                for value in other.values {
                    let constant = format!("'{value}'::{}", other.name);
                    let mut conditions: Vec<(String, bool)> =
                        OPERATORS.iter().map(|op| (format!("k {op} {constant}"), *op != "<>")).collect();
                    conditions.extend(OPERATORS.iter().map(|op| (format!("{constant} {op} k"), *op != "<>")));
                    conditions
                        .push((format!("k BETWEEN {constant} AND '{}'::{}", column.values[2], column.name), true));
                    conditions
                        .push((format!("k BETWEEN '{}'::{} AND {constant}", column.values[1], column.name), true));
                    for (condition, bounded) in conditions {
                        let sql = format!("SELECT k::text FROM {table} WHERE {condition}");
                        let right = sorted(rows(&theirs, &sql).await);
                        found += right.as_ref().map_or(0, Vec::len);
                        let planned = format!("SELECT r FROM ({sql}) x (r) GROUP BY r HAVING count(*) > 0");
                        let whole = format!("SELECT k::text FROM {table} WHERE ({condition}) IS TRUE");
                        for (form, sql) in [("direct", &sql), ("planned", &planned), ("row by row", &whole)] {
                            let answer = sorted(rows(&ours, sql).await);
                            if answer != right {
                                wrong.push(format!("{form}: {sql}\n  expected {right:?}\n  actual   {answer:?}"));
                            }
                        }
                        let text = plan(&ours, &sql).await;
                        if indexable && bounded && text.contains("Seq Scan") {
                            wrong.push(format!("no index: {sql}\n{text}"));
                        }
                    }
                }
                let update = format!("UPDATE {table} SET k = k WHERE k = '{}'::{}", other.values[1], other.name);
                let text = plan(&ours, &update).await;
                if indexable && text.contains("Seq Scan") {
                    wrong.push(format!("no index: {update}\n{text}"));
                }
            }
            for kind in ["JOIN", "LEFT JOIN", "FULL JOIN"] {
                let sql = format!(
                    "SELECT a.k::text, b.k::text FROM {} a {kind} f_{} b ON a.k = b.k",
                    table(column),
                    table(other)
                );
                let right = sorted(rows(&theirs, &sql).await);
                // What PostgreSQL can neither hash nor merge.
                if right.as_ref().is_err_and(|code| code == "0A000") {
                    continue;
                }
                for (form, client) in [("by key", &ours), ("planned", &planner)] {
                    let answer = sorted(rows(client, &sql).await);
                    if answer != right {
                        wrong.push(format!("{form}: {sql}\n  expected {right:?}\n  actual   {answer:?}"));
                    }
                }
            }
            let join = format!("SELECT 1 FROM f_{} a JOIN f_{} b ON a.k = b.k", table(column), table(other));
            let text = plan(&planner, &join).await;
            let moments = ["date", "timestamp", "timestamptz"].contains(&column.name) && column.name != other.name;
            if indexable && !moments && text.contains("Nested Loop") {
                wrong.push(format!("no hash join: {join}\n{text}"));
            }
        }
    }
    assert!(found > 100, "too little is found to say anything: {found} rows");
    let shown: Vec<&str> = wrong.iter().take(40).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), shown.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn integers() {
    agree(INTEGERS, |_, _| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floats() {
    agree(FLOATS, |_, _| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_and_timestamps() {
    agree(MOMENTS, |_, _| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strings() {
    agree(STRINGS, |column, other| column.name.starts_with("char") == other.name.starts_with("char")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numeric_and_interval() {
    for one in OTHERS {
        agree(std::slice::from_ref(one), |_, _| true).await;
    }
}

/// What the constant is written as decides nothing: an integer literal finds a bigint.
#[tokio::test(flavor = "multi_thread")]
async fn literals_of_other_types() {
    let node = Node::start();
    let client = node.server().connect().await;
    client
        .batch_execute("CREATE TABLE bb (id bigint PRIMARY KEY, v text); CREATE TABLE n (id numeric PRIMARY KEY)")
        .await
        .unwrap();
    client.batch_execute("INSERT INTO bb SELECT g, g FROM generate_series(1, 100) g").await.unwrap();
    for sql in [
        "SELECT * FROM bb WHERE id = 5",
        "UPDATE bb SET v = 'x' WHERE id = 5",
        "DELETE FROM bb WHERE id = 5",
        "SELECT * FROM bb WHERE id BETWEEN 5 AND 7",
        "SELECT * FROM bb WHERE id > 5 AND id < 7",
        "SELECT * FROM bb WHERE id IN (5, 7)",
        "SELECT * FROM n WHERE id = 5",
    ] {
        let text = plan(&client, sql).await;
        assert!(text.contains("by key"), "{sql}: {text}");
    }
    let text = plan(&client, "SELECT * FROM bb WHERE id > 5").await;
    assert!(text.contains("Scan on bb (by key"), "{text}");
    client.batch_execute("SET stratos.direct_queries = off").await.unwrap();
    for sql in ["SELECT * FROM bb WHERE id > 5", "SELECT * FROM bb WHERE id IN (5, 7)"] {
        let text = plan(&client, sql).await;
        assert!(text.contains("Index Scan using bb_pkey"), "{sql}: {text}");
    }
    let moments = "CREATE TABLE m (t timestamptz PRIMARY KEY); CREATE TABLE l (t timestamp PRIMARY KEY)";
    client.batch_execute(moments).await.unwrap();
    for sql in ["SELECT * FROM m WHERE t > date '2024-01-01'", "SELECT * FROM l WHERE t > now() - interval '1 day'"] {
        let text = plan(&client, sql).await;
        assert!(text.contains("Index Scan") || text.contains("Index Only Scan"), "{sql}: {text}");
    }
}
