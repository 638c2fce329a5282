//! Every shape of statement that the node answers by key, without a query planner: the same rows must come from the form
//! that it gives to DataFusion, and from PostgreSQL 15.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::error::Error;

use stratos_tests::client::{Server, rows, sqlstate};
use stratos_tests::node::Node;
use stratos_tests::postgres::Postgres;
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut};
use tokio_postgres::{Client, SimpleQueryMessage};

const TABLES: &str = "
    CREATE TABLE one (id int PRIMARY KEY, u bigint UNIQUE, s text, n numeric(10,2), small smallint);
    CREATE TABLE two (a int, b bigint, c text, d int, PRIMARY KEY (a, b));
    CREATE INDEX two_c_d ON two (c, d);
    CREATE TABLE word (w varchar(20) PRIMARY KEY, n int);
    CREATE TABLE falling (a int, b int, c int);
    CREATE UNIQUE INDEX falling_a_b ON falling (a DESC, b);
    CREATE TABLE moment (t timestamptz PRIMARY KEY, d date, k uuid UNIQUE, x bytea);
    INSERT INTO one SELECT g, CASE WHEN g % 4 = 0 THEN NULL ELSE g * 10000000000 END, CASE WHEN g % 5 = 0 THEN NULL ELSE 'row ' || g END,
        g / 4.0, g FROM generate_series(-3, 40) g;
    INSERT INTO two SELECT g / 5, g % 5, CASE WHEN g % 7 = 0 THEN NULL ELSE 'c' || g % 3 END, CASE WHEN g % 4 = 0 THEN NULL ELSE g END
        FROM generate_series(0, 49) g;
    INSERT INTO word VALUES ('', 0), ('a', 1), ('ab', 2), ('b', 3), ('é', 4), ('Z', 5), ('a b', 6), ('%', 7);
    INSERT INTO falling SELECT CASE WHEN g % 6 = 0 THEN NULL ELSE g % 4 END, g, g * g FROM generate_series(1, 30) g;
    INSERT INTO moment SELECT timestamptz '2024-01-01 00:00+00' + g * interval '1 day', date '2024-01-01' + g,
        ('00000000-0000-0000-0000-0000000000' || (10 + g))::uuid, decode('0' || g, 'hex') FROM generate_series(0, 9) g;
";

/// A parameter as text, whatever type the server infers for it: what it infers is part of what is compared.
#[derive(Debug)]
struct Text(Option<String>);

impl ToSql for Text {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = &self.0 else {
            return Ok(IsNull::Yes);
        };
        match *ty {
            Type::INT2 => text.parse::<i16>()?.to_sql(ty, out),
            Type::INT4 => text.parse::<i32>()?.to_sql(ty, out),
            Type::INT8 => text.parse::<i64>()?.to_sql(ty, out),
            _ => text.to_sql(&Type::TEXT, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, ty: &Type) -> tokio_postgres::types::Format {
        match *ty {
            Type::INT2 | Type::INT4 | Type::INT8 => tokio_postgres::types::Format::Binary,
            _ => tokio_postgres::types::Format::Text,
        }
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A query, and the values of its parameters in turn; `NULL` is null.
struct Shape {
    table: &'static str,
    condition: &'static str,
    parameters: &'static [&'static [&'static str]],
}

const fn shape(table: &'static str, condition: &'static str, parameters: &'static [&'static [&'static str]]) -> Shape {
    Shape { table, condition, parameters }
}

const INTEGERS: &[&[&str]] = &[&["0"], &["-3"], &["7"], &["40"], &["41"], &["NULL"]];
const PAIRS: &[&[&str]] = &[&["3", "12"], &["12", "3"], &["-5", "0"], &["7", "7"], &["NULL", "5"], &["5", "NULL"]];

const SHAPES: &[Shape] = &[
    // A key.
    shape("one", "id = $1", INTEGERS),
    shape("one", "$1 = id", INTEGERS),
    shape("one", "id = $1::int8", &[&["7"], &["4294967303"], &["NULL"]]),
    shape("one", "id = $1::int2", &[&["7"], &["-3"], &["NULL"]]),
    shape("one", "id = 7", &[&[]]),
    shape("one", "id = 7::bigint", &[&[]]),
    shape("one", "id = 4294967303", &[&[]]),
    shape("one", "id = 7.0", &[&[]]),
    shape("one", "id = 7.5", &[&[]]),
    shape("one", "id = -$1::int4", &[&["3"], &["7"]]),
    shape("one", "id = $1 + 1", &[&["6"], &["NULL"]]),
    shape("one", "id = NULL", &[&[]]),
    shape("one", "id IS NULL", &[&[]]),
    shape("one", "id = $1 AND id = $2", &[&["7", "7"], &["7", "8"], &["7", "NULL"]]),
    shape("one", "id = $1 OR id = $2", &[&["7", "8"], &["7", "NULL"]]),
    shape("one", "id IN (1, 2, 99, NULL)", &[&[]]),
    shape("one", "id = ANY (ARRAY[1, 2, 99])", &[&[]]),
    shape("one", "id = ANY ($1::int4[])", &[&["{1,2,2,99}"], &["{NULL,7}"], &["{}"], &["NULL"]]),
    shape("one", "id = ANY ($1::int8[]) AND s = 'row 7'", &[&["{6,7}"], &["{4294967303}"], &["{}"], &["NULL"]]),
    shape("one", "u = ANY (ARRAY[$1, $2])", &[&["70000000000", "7"], &["7", "NULL"], &["10000000000", "30000000000"]]),
    shape("one", "id = $1 AND s = 'row 7'", INTEGERS),
    shape("one", "id = $1 AND s IS NULL", &[&["0"], &["5"], &["7"]]),
    shape("one", "id = $1 AND n > $2::numeric", &[&["7", "1"], &["7", "2"], &["7", "NULL"]]),
    shape("one", "id = $1 AND (u > 5 OR s IS NULL)", INTEGERS),
    shape("one", "id = $1 AND false", INTEGERS),
    // Ranges of a key.
    shape("one", "id BETWEEN $1 AND $2", PAIRS),
    shape("one", "id > $1 AND id <= $2", PAIRS),
    shape("one", "id >= $1 AND id < $2 AND s IS NOT NULL", PAIRS),
    shape("one", "id > $1", INTEGERS),
    shape("one", "id <= $1", INTEGERS),
    shape("one", "$1 > id", INTEGERS),
    shape(
        "one",
        "id BETWEEN $1::int8 AND $2::int8",
        &[&["-9999999999", "2"], &["38", "9999999999"], &["9999999999", "99999999999"]],
    ),
    shape("one", "id NOT BETWEEN $1 AND $2", PAIRS),
    shape("one", "id > $1 AND id > $2 AND id < 20", PAIRS),
    // A unique index.
    shape("one", "u = $1", &[&["70000000000"], &["7"], &["NULL"]]),
    shape("one", "u = $1::int4", &[&["7"], &["0"]]),
    shape("one", "u IS NULL", &[&[]]),
    shape("one", "u > $1 AND u < $2", &[&["0", "90000000000"], &["NULL", "90000000000"]]),
    shape("one", "u = $1 AND id = $2", &[&["70000000000", "7"], &["70000000000", "8"]]),
    shape("one", "small = $1", INTEGERS),
    // Several columns.
    shape("two", "a = $1 AND b = $2", PAIRS),
    shape("two", "b = $1 AND a = $2", &[&["1", "3"], &["3", "1"]]),
    shape("two", "a = $1", INTEGERS),
    shape("two", "b = $1", &[&["3"], &["NULL"]]),
    shape("two", "a = $1 AND b > $2", &[&["3", "1"], &["3", "NULL"], &["3", "9"]]),
    shape("two", "a = $1 AND b BETWEEN $2 AND $3", &[&["3", "1", "2"], &["3", "2", "1"], &["3", "0", "99"]]),
    shape("two", "a > $1 AND b = $2", &[&["3", "1"]]),
    shape("two", "(a, b) = ($1, $2)", &[&["3", "1"]]),
    shape("two", "a = $1 AND c = 'c1'", &[&["3"], &["0"]]),
    shape("two", "c = $1", &[&["c1"], &["c9"], &["NULL"]]),
    shape("two", "c = $1 AND d = $2", &[&["c1", "13"], &["c1", "1"], &["c1", "NULL"]]),
    shape("two", "c = $1 AND d > $2", &[&["c1", "13"], &["c0", "40"]]),
    shape("two", "c = $1 AND d IS NULL", &[&["c1"], &["c0"]]),
    shape("two", "c IS NULL AND d = $1", &[&["7"], &["8"]]),
    shape("two", "c > $1", &[&["c1"], &[""]]),
    shape("two", "d = $1", &[&["13"]]),
    // Text keys.
    shape("word", "w = $1", &[&[""], &["a"], &["A"], &["é"], &["a "], &["%"], &["NULL"]]),
    shape("word", "w = $1::text", &[&["a"], &["Z"]]),
    shape("word", "w >= $1 AND w < $2", &[&["", "b"], &["Z", "a"], &["a", "é"]]),
    shape("word", "w > $1", &[&["a"], &["é"]]),
    shape("word", "w LIKE $1", &[&["a%"], &["%"]]),
    shape("word", "w::char(5) = 'a'", &[&[]]),
    // An index that falls, with nulls in it.
    shape("falling", "a = $1", &[&["1"], &["3"], &["NULL"]]),
    shape("falling", "a = $1 AND b = $2", &[&["1", "5"], &["1", "6"]]),
    shape("falling", "a > $1", &[&["1"], &["0"]]),
    shape("falling", "a <= $1", &[&["1"], &["9"]]),
    shape("falling", "a BETWEEN $1 AND $2", &[&["1", "2"]]),
    shape("falling", "a = $1 AND b >= $2", &[&["1", "10"], &["2", "NULL"]]),
    shape("falling", "a IS NULL AND b > $1", &[&["10"]]),
    // Other types of keys.
    shape("moment", "t = $1", &[&["2024-01-03 00:00:00+00"], &["2024-01-03 01:00:00+01"], &["NULL"]]),
    shape("moment", "t > $1 AND t <= $2", &[&["2024-01-03 00:00:00+00", "2024-01-06 00:00:00+00"]]),
    shape("moment", "t >= date '2024-01-08'", &[&[]]),
    shape("moment", "k = $1", &[&["00000000-0000-0000-0000-000000000013"], &["00000000-0000-0000-0000-000000000099"]]),
];

async fn prepared(client: &Client, sql: &str, parameters: &[&str]) -> Result<Vec<Vec<String>>, String> {
    let values: Vec<Text> = parameters.iter().map(|p| Text((*p != "NULL").then(|| (*p).to_owned()))).collect();
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    let result = client.query(sql, &values).await.map_err(|error| sqlstate(&error))?;
    Ok(result.iter().map(|row| vec![row.get::<_, Option<String>>(0).unwrap_or_default()]).collect())
}

/// The same by a simple query with the values as literals.
async fn literal(client: &Client, sql: &str, parameters: &[&str]) -> Result<Vec<Vec<String>>, String> {
    let mut sql = sql.to_owned();
    for (at, value) in parameters.iter().enumerate().rev() {
        let value = if *value == "NULL" { "NULL".to_owned() } else { format!("'{value}'") };
        sql = sql.replace(&format!("${}", at + 1), &value);
    }
    rows(client, &sql).await
}

fn sorted(rows: Result<Vec<Vec<String>>, String>) -> Result<Vec<Vec<String>>, String> {
    rows.map(|mut rows| {
        rows.sort();
        rows
    })
}

/// Columns of each table, as one text.
fn columns(table: &str) -> &'static str {
    match table {
        "one" => "concat_ws('|', id, coalesce(u::text, '-'), coalesce(s, '-'), n, small)",
        "two" => "concat_ws('|', a, b, coalesce(c, '-'), coalesce(d::text, '-'))",
        "word" => "concat_ws('|', w, n)",
        "falling" => "concat_ws('|', coalesce(a::text, '-'), b, c)",
        _ => "concat_ws('|', t, d, k, x)",
    }
}

/// Not a direct form: the node gives a query over a query to DataFusion.
fn planned(sql: &str) -> String {
    format!("SELECT r FROM ({sql}) x (r) GROUP BY r HAVING count(*) > 0 ORDER BY 1")
}

async fn prepare(server: &Server) -> Client {
    let client = server.connect().await;
    client.batch_execute("SET TimeZone TO 'UTC'").await.unwrap();
    client.batch_execute(TABLES).await.unwrap_or_else(|error| panic!("{}: {error:?}", server.uri()));
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_agree() {
    let (node, postgres) = (Node::start(), Postgres::start());
    let (ours, theirs) = (prepare(node.server()).await, prepare(postgres.server()).await);
    let mut wrong = Vec::new();
    let mut found = 0;
    for Shape { table, condition, parameters } in SHAPES {
        let sql = format!("SELECT {} FROM {table} WHERE {condition}", columns(table));
        for values in *parameters {
            let right = sorted(prepared(&theirs, &sql, values).await);
            found += right.as_ref().map_or(0, Vec::len);
            let answers = [
                ("direct", prepared(&ours, &sql, values).await),
                ("direct, again", prepared(&ours, &sql, values).await),
                ("planned", prepared(&ours, &planned(&sql), values).await),
                ("locking", prepared(&ours, &format!("{sql} FOR UPDATE"), values).await),
            ];
            for (form, answer) in answers {
                let answer = sorted(answer);
                if answer != right {
                    wrong.push(format!("{form}: {sql} {values:?}\n  expected {right:?}\n  actual   {answer:?}"));
                }
            }
            let right = sorted(literal(&theirs, &sql, values).await);
            let answer = sorted(literal(&ours, &sql, values).await);
            if answer != right {
                wrong.push(format!("literal: {sql} {values:?}\n  expected {right:?}\n  actual   {answer:?}"));
            }
        }
    }
    assert!(found > 500, "the shapes find too little to say anything: {found} rows");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Rows that a statement changed, and the table behind it.
async fn changed(client: &Client, sql: &str, table: &str, form: &str) -> Result<(Vec<Vec<String>>, u64), String> {
    client.batch_execute("BEGIN").await.map_err(|error| sqlstate(&error))?;
    let mut result = async {
        let messages = client.simple_query(sql).await.map_err(|error| sqlstate(&error))?;
        let count =
            messages.iter().find_map(|m| if let SimpleQueryMessage::CommandComplete(n) = m { Some(*n) } else { None });
        let after = rows(client, &format!("SELECT {} FROM {table}", columns(table))).await?;
        Ok((after, count.unwrap_or_default()))
    }
    .await;
    client.batch_execute("ROLLBACK").await.map_err(|error| format!("{form}: {}", sqlstate(&error)))?;
    if let Ok((rows, _)) = &mut result {
        rows.sort();
    }
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_agree() {
    let (node, postgres) = (Node::start(), Postgres::start());
    let (ours, theirs) = (prepare(node.server()).await, prepare(postgres.server()).await);
    let mut wrong = Vec::new();
    let sets = [
        ("one", "s = 'changed', n = n + 1"),
        ("one", "id = id + 1000, u = NULL"),
        ("two", "d = coalesce(d, 0) + 1, c = 'new'"),
        ("word", "n = n * 2"),
        ("falling", "c = -c"),
        ("moment", "d = d + 1"),
    ];
    for Shape { table, condition, parameters } in SHAPES {
        for values in *parameters {
            let mut condition = (*condition).to_owned();
            for (at, value) in values.iter().enumerate().rev() {
                let value = if *value == "NULL" { "NULL".to_owned() } else { format!("'{value}'") };
                condition = condition.replace(&format!("${}", at + 1), &value);
            }
            let updates = sets.iter().filter(|(of, _)| of == table);
            let updates = updates.map(|(_, set)| format!("UPDATE {table} SET {set} WHERE {condition}"));
            for sql in updates.chain([format!("DELETE FROM {table} WHERE {condition}")]) {
                let right = changed(&theirs, &sql, table, "postgres").await;
                let answer = changed(&ours, &sql, table, "direct").await;
                // A condition that no index answers.
                let general = format!("{sql} AND (SELECT true)");
                let general = changed(
                    &ours,
                    &general.replacen("WHERE ", "WHERE (", 1).replacen(" AND (SELECT", ") AND (SELECT", 1),
                    table,
                    "planned",
                )
                .await;
                for (form, answer) in [("direct", answer), ("planned", general)] {
                    if answer != right {
                        wrong.push(format!("{form}: {sql}\n  expected {right:?}\n  actual   {answer:?}"));
                    }
                }
            }
        }
    }
    let shown: Vec<String> = wrong.iter().take(40).map(|text| text.chars().take(600).collect()).collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), shown.join("\n"));
}
