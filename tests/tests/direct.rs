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
    shape("one", "id IN ($1, $2, 7::int8)", PAIRS),
    shape("one", "id IN ($1, $2) AND s IS NOT NULL", PAIRS),
    shape("one", "id IN ($1, $2) AND id IN (7, 12)", PAIRS),
    shape("one", "id IN (7, 12) AND id = $1", INTEGERS),
    shape("one", "id IN (7, 12) AND id > $1", INTEGERS),
    shape("one", "id NOT IN ($1, $2)", PAIRS),
    shape("one", "NOT id = ANY ('{1,2}')", &[&[]]),
    shape("one", "id <> ALL ('{1,2}')", &[&[]]),
    shape("one", "id IN (1.0, 2.5, 3)", &[&[]]),
    shape("one", "u IN (70000000000, $1, NULL)", &[&["10000000000"], &["NULL"]]),
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
    shape("two", "a IN ($1, $2)", PAIRS),
    shape("two", "a IN ($1, $2) AND b = 1", PAIRS),
    shape("two", "a = 3 AND b IN ($1, $2)", &[&["1", "2"], &["4", "4"], &["9", "NULL"]]),
    shape("two", "a IN (3, 1) AND b IN ($1, $2)", &[&["1", "2"], &["4", "4"], &["9", "NULL"]]),
    shape("two", "a = ANY ('{5,3,1,3}') AND b > $1", &[&["1"], &["NULL"]]),
    shape("two", "c IN ('c1', $1)", &[&["c2"], &["c1"], &["NULL"]]),
    shape("two", "c IN ('c1', 'c0') AND d = $1", &[&["13"], &["NULL"]]),
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
    shape("word", "w IN ($1, 'b', 'é')", &[&["a"], &["a "], &["NULL"]]),
    shape("word", "w = ANY ($1)", &[&["{a,Z,\"a b\",NULL}"], &["{}"], &["NULL"]]),
    shape("word", "w >= $1 AND w < $2", &[&["", "b"], &["Z", "a"], &["a", "é"]]),
    shape("word", "w > $1", &[&["a"], &["é"]]),
    shape("word", "w LIKE $1", &[&["a%"], &["%"]]),
    shape("word", "w::char(5) = 'a'", &[&[]]),
    // An index that falls, with nulls in it.
    shape("falling", "a = $1", &[&["1"], &["3"], &["NULL"]]),
    shape("falling", "a = $1 AND b = $2", &[&["1", "5"], &["1", "6"]]),
    shape("falling", "a IN ($1, 3)", &[&["1"], &["NULL"]]),
    shape("falling", "a IN (3, 1) AND b < $1", &[&["20"], &["NULL"]]),
    shape("falling", "a > $1", &[&["1"], &["0"]]),
    shape("falling", "a <= $1", &[&["1"], &["9"]]),
    shape("falling", "a BETWEEN $1 AND $2", &[&["1", "2"]]),
    shape("falling", "a = $1 AND b >= $2", &[&["1", "10"], &["2", "NULL"]]),
    shape("falling", "a IS NULL AND b > $1", &[&["10"]]),
    // Other types of keys.
    shape("moment", "t = $1", &[&["2024-01-03 00:00:00+00"], &["2024-01-03 01:00:00+01"], &["NULL"]]),
    shape("moment", "t > $1 AND t <= $2", &[&["2024-01-03 00:00:00+00", "2024-01-06 00:00:00+00"]]),
    shape("moment", "t >= date '2024-01-08'", &[&[]]),
    shape("moment", "t IN ($1, '2024-01-05 00:00:00+00')", &[&["2024-01-03 01:00:00+01"], &["NULL"]]),
    shape("moment", "t = ANY ('{2024-01-03,2024-01-05}'::date[])", &[&[]]),
    shape("moment", "d IN (timestamptz '2024-01-03 00:00:00+00', timestamptz '2024-01-05 12:00:00+00')", &[&[]]),
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

/// What else may be asked of the rows: `{}` is the columns. All orders are total.
const QUERIES: &[&str] = &[
    "SELECT {} FROM one ORDER BY id",
    "SELECT {} FROM one ORDER BY id DESC LIMIT 3",
    "SELECT {} FROM one WHERE id > 5 ORDER BY id LIMIT 4 OFFSET 2",
    "SELECT {} FROM one WHERE id <= 5 ORDER BY id DESC OFFSET 3",
    "SELECT {} FROM one WHERE id > 5 ORDER BY s NULLS FIRST, id DESC LIMIT 7",
    "SELECT {} FROM one WHERE s LIKE 'row 1%' ORDER BY id LIMIT 2",
    "SELECT {} FROM one ORDER BY u, id LIMIT 5",
    "SELECT {} FROM one ORDER BY u DESC, id LIMIT 20",
    "SELECT {} FROM one WHERE u > 50000000000 ORDER BY u LIMIT 3",
    "SELECT {} FROM one ORDER BY n DESC, id OFFSET 40",
    "SELECT {} FROM one ORDER BY id % 7, id LIMIT 9",
    "SELECT {} FROM one ORDER BY s || '!', id LIMIT 4",
    "SELECT {} FROM one ORDER BY 1 LIMIT 6",
    "SELECT {} FROM one WHERE id = 7 ORDER BY s LIMIT 1",
    "SELECT {} FROM one WHERE id IN (9, 3, 40, 7, 3) ORDER BY id LIMIT 3",
    "SELECT {} FROM one WHERE id IN (9, 3, 40, 7, 3) ORDER BY id DESC LIMIT 3 OFFSET 1",
    "SELECT {} FROM one WHERE id IN (9, 3, 40, 7, 3) AND s IS NULL ORDER BY id DESC LIMIT 1",
    "SELECT {} FROM one WHERE id IN (9, 3, 40, 7, 3) ORDER BY s, id",
    "SELECT {} FROM two WHERE a IN (4, 2) ORDER BY a DESC, b DESC LIMIT 7",
    "SELECT {} FROM two WHERE a IN (4, 2) ORDER BY b, a LIMIT 7",
    "SELECT {} FROM two WHERE a = 3 AND b IN (4, 2, 1) ORDER BY b DESC LIMIT 2",
    "SELECT {} FROM two WHERE a IN (4, 2) AND b = 3 ORDER BY a LIMIT 1",
    "SELECT {} FROM two WHERE a IN (4, 2) AND b = 3 ORDER BY b, a DESC LIMIT 1",
    "SELECT {} FROM falling WHERE a IN (1, 3) ORDER BY a, b DESC LIMIT 7",
    "SELECT {} FROM falling WHERE a IN (1, 3) ORDER BY a DESC, b LIMIT 9",
    "SELECT {} FROM one WHERE id = 7 LIMIT 0",
    "SELECT {} FROM one WHERE id = 7 OFFSET 1",
    "SELECT {} FROM one ORDER BY id LIMIT NULL OFFSET 43",
    "SELECT {} FROM one ORDER BY id LIMIT 0",
    "SELECT {} FROM one ORDER BY id LIMIT -1",
    "SELECT {} FROM one ORDER BY id OFFSET -1",
    "SELECT {} FROM one ORDER BY id LIMIT 2::bigint + 1",
    "SELECT {}, 10 / (id - 5) FROM one ORDER BY id LIMIT 20",
    "SELECT {}, 10 / (id - 5) FROM one WHERE id < 5 ORDER BY id DESC LIMIT 2",
    "SELECT {} FROM two ORDER BY a, b LIMIT 7",
    "SELECT {} FROM two ORDER BY a DESC, b DESC LIMIT 7",
    "SELECT {} FROM two ORDER BY a DESC, b LIMIT 7",
    "SELECT {} FROM two WHERE a = 3 ORDER BY b DESC LIMIT 2",
    "SELECT {} FROM two WHERE a = 3 ORDER BY a DESC, b LIMIT 2",
    "SELECT {} FROM two WHERE b = 3 ORDER BY a LIMIT 2",
    "SELECT {} FROM two WHERE c = 'c1' ORDER BY d DESC, a LIMIT 3",
    "SELECT {} FROM two WHERE c = 'c1' AND d IS NOT NULL ORDER BY d LIMIT 3",
    "SELECT {} FROM two WHERE c = 'c1' AND d > 5 ORDER BY d DESC LIMIT 3",
    "SELECT {} FROM word ORDER BY w LIMIT 4",
    "SELECT {} FROM word ORDER BY w DESC",
    "SELECT {} FROM word WHERE w > 'a' ORDER BY w LIMIT 2",
    "SELECT {} FROM word ORDER BY w::char(3), n",
    "SELECT {} FROM falling ORDER BY a, b LIMIT 9",
    "SELECT {} FROM falling ORDER BY a DESC, b LIMIT 9",
    "SELECT {} FROM falling ORDER BY a DESC NULLS LAST, b LIMIT 9",
    "SELECT {} FROM falling ORDER BY a NULLS FIRST, b DESC LIMIT 9",
    "SELECT {} FROM falling WHERE a = 1 ORDER BY b DESC LIMIT 3",
    "SELECT {} FROM falling ORDER BY c LIMIT 3",
    "SELECT {} FROM moment ORDER BY t DESC LIMIT 3",
    "SELECT {} FROM moment ORDER BY k LIMIT 3 OFFSET 1",
    "SELECT {} FROM moment ORDER BY x DESC LIMIT 2",
    "SELECT {} FROM moment WHERE d > '2024-01-04' ORDER BY d",
];

/// Aggregates.
const TOTALS: &[&str] = &[
    "SELECT count(*) FROM one",
    "SELECT count(*), count(u), count(s), count(*) + 1, count(1), count(NULL::int) FROM one WHERE id > 3",
    "SELECT count(*) FILTER (WHERE s IS NULL), count(u) FILTER (WHERE id > 9), max(n) FILTER (WHERE id < 9) FROM one",
    "SELECT min(id), max(id), min(u), max(u), min(s), max(s), min(n), max(n), sum(id), sum(small) FROM one",
    "SELECT min(id), max(u), sum(id), count(*) FROM one WHERE id > 100",
    "SELECT max(id) FROM one",
    "SELECT min(id) + 10 FROM one WHERE s IS NOT NULL",
    "SELECT max(id), min(id), count(*) FROM one WHERE id IN (30, 7, 39)",
    "SELECT min(id) FROM one WHERE id = ANY ('{30,7,39,5}') AND s IS NULL",
    "SELECT max(b) FROM two WHERE a IN (3, 9)",
    "SELECT max(id) FROM one WHERE s LIKE 'row 1%'",
    "SELECT max(id) FROM one WHERE id < 12",
    "SELECT max(u) FROM one",
    "SELECT min(b) FROM two WHERE a = 3",
    "SELECT max(b) FROM two WHERE a = 30",
    "SELECT max(a), min(a) FROM falling",
    "SELECT max(a) FROM falling WHERE b > 10",
    "SELECT min(w), max(w) FROM word",
    "SELECT max(t), min(d), max(k), min(x) FROM moment",
    "SELECT count(*) FROM one LIMIT 0",
    "SELECT count(*) FROM one OFFSET 1",
    "SELECT count(*) FROM one ORDER BY 1 LIMIT 1",
    "SELECT count(*) AS c FROM one HAVING count(*) > 5",
    "SELECT count(*) AS c FROM one HAVING count(*) > 500",
    "SELECT count(DISTINCT small % 3), sum(n), avg(id), string_agg(s, ',' ORDER BY id) FROM one WHERE id < 4",
    "SELECT sum(id), avg(small) FROM one WHERE id BETWEEN 3 AND 9",
    "SELECT count(*) FROM two WHERE c = 'c1'",
    "SELECT sum(d), min(d), max(d) FROM two WHERE c = 'c1'",
    "SELECT 1 FROM one WHERE id = 5 HAVING count(*) > 0",
    "SELECT max(10 / (id - 5)) FROM one",
];

/// Without a table.
const WITHOUT_TABLE: &[&str] = &[
    "SELECT 1",
    "SELECT 1 + 1, 'a' || 'b', NULL, true",
    "SELECT 2147483647 + 1",
    "SELECT 1 / 0",
    "SELECT 7 LIMIT 0",
    "SELECT 7 OFFSET 1",
    "SELECT 7 LIMIT -1",
    "SELECT 7 ORDER BY 1",
    "SELECT 7 AS seven ORDER BY seven LIMIT 1",
    "SELECT 1 WHERE false",
    "SELECT 1 WHERE true",
    "SELECT count(*)",
    "SELECT generate_series(1, 3)",
    "SELECT DISTINCT 1",
    "SELECT 1 UNION ALL SELECT 2 ORDER BY 1",
    "SELECT ARRAY[1, 2, 3]::text, ROW(1, 'x')::text, (ARRAY[5, 6])[2]",
    "SELECT current_schema(), current_database() IS NOT NULL, pg_typeof(now())::text",
    "SELECT (SELECT 5), EXISTS (SELECT 1 FROM one)",
    "SELECT upper('x'), length('äö'), round(2.5), 5 / 2, 5 % 3, -5 / 2",
    "SELECT '2024-01-31'::date + interval '1 month', extract(year from date '2024-05-06')",
    "SELECT 'x'::int",
];

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_limits_agree() {
    let (node, postgres) = (Node::start(), Postgres::start());
    let (ours, theirs) = (prepare(node.server()).await, prepare(postgres.server()).await);
    let planner = node.server().connect().await;
    planner.batch_execute("SET TimeZone TO 'UTC'; SET stratos.direct_queries = off").await.unwrap();
    let mut wrong = Vec::new();
    let tables = ["one", "two", "word", "falling", "moment"];
    let queries = QUERIES.iter().map(|query| {
        let table = tables.iter().find(|table| query.contains(&format!(" FROM {table}"))).unwrap();
        query.replace("{}", columns(table))
    });
    for sql in queries.chain(WITHOUT_TABLE.iter().chain(TOTALS).map(ToString::to_string)) {
        let right = rows(&theirs, &sql).await;
        // Twice again: a text that comes again is recalled.
        for (form, client) in [("direct", &ours), ("again", &ours), ("recalled", &ours), ("planned", &planner)] {
            let answer = rows(client, &sql).await;
            if answer != right {
                wrong.push(format!("{form}: {sql}\n  expected {right:?}\n  actual   {answer:?}"));
            }
        }
        let prepared = match ours.prepare(&sql).await {
            Ok(statement) => ours.query(&statement, &[]).await.map(|rows| rows.len()).map_err(|error| sqlstate(&error)),
            Err(error) => Err(sqlstate(&error)),
        };
        if prepared != right.as_ref().map(Vec::len).map_err(Clone::clone) {
            wrong.push(format!("prepared: {sql}\n  expected {right:?}\n  actual   {prepared:?} rows"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A list is looked up member by member, and one that is too long for that is left to the planner.
#[tokio::test(flavor = "multi_thread")]
async fn members_of_lists_are_looked_up() {
    let node = Node::start();
    let client = node.server().connect().await;
    client.batch_execute("CREATE TABLE m (id int PRIMARY KEY, v int); CREATE INDEX ON m (v)").await.unwrap();
    client.batch_execute("INSERT INTO m SELECT i, i % 500 FROM generate_series(1, 20000) i").await.unwrap();
    for (query, expected) in [
        ("SELECT * FROM m WHERE id IN (1, 20, 700)", "Lookup on m using m_pkey (by key"),
        ("SELECT * FROM m WHERE v = ANY ('{1,20}') ORDER BY v LIMIT 5", "Lookup on m using m_v_idx, limited (by"),
        ("UPDATE m SET v = 0 WHERE id IN (1, 20, 700)", "Update on m using m_pkey (by key"),
        ("DELETE FROM m WHERE id = ANY ('{1,20}')", "Delete on m using m_pkey (by key"),
    ] {
        let plan = rows(&client, &format!("EXPLAIN {query}")).await.unwrap().concat().join("\n");
        assert!(plan.contains(expected), "{query}: {plan}");
    }
    let one = client.prepare("SELECT count(*), sum(id), min(v) FROM m WHERE id = ANY ($1) AND v >= 0").await.unwrap();
    let delete = client.prepare("DELETE FROM m WHERE id = ANY ($1)").await.unwrap();
    for count in [0, 1, 256, 257, 4_096, 4_097, 20_000] {
        let ids: Vec<i32> = (1..=count).rev().collect();
        let found = client.query_one(&one, &[&ids]).await.unwrap();
        let sum = (count > 0).then(|| i64::from(count) * i64::from(count + 1) / 2);
        assert_eq!((found.get(0), found.get(1)), (i64::from(count), sum), "{count}");
        let transaction = node.server().connect().await;
        transaction.batch_execute("BEGIN").await.unwrap();
        let list = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let list = if list.is_empty() { "NULL".to_owned() } else { list };
        let deleted =
            transaction.execute(&format!("DELETE FROM m WHERE id IN ({list}) AND v >= 0"), &[]).await.unwrap();
        assert_eq!(deleted, count as u64);
        transaction.batch_execute("ROLLBACK").await.unwrap();
    }
    let ids: Vec<i32> = (5_001..=12_000).collect();
    assert_eq!(client.execute(&delete, &[&ids]).await.unwrap(), 7_000);
    assert_eq!(rows(&client, "SELECT count(*) FROM m").await.unwrap(), [["13000"]]);
}

/// Tables that grow beyond what is read row by row, in the middle of a prepared statement's life.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grows_goes_to_the_planner() {
    let node = Node::start();
    let client = node.server().connect().await;
    client.batch_execute("CREATE TABLE g (id int PRIMARY KEY, v int); CREATE INDEX ON g (v)").await.unwrap();
    let all = client.prepare("SELECT id FROM g ORDER BY v DESC, id").await.unwrap();
    let few = client.prepare("SELECT id FROM g WHERE id > $1 AND v % 1000 = 1 ORDER BY id LIMIT 2").await.unwrap();
    for rows in [10, 900, 1_100, 5_000, 20_000] {
        let fill = format!("INSERT INTO g SELECT i, i FROM generate_series((SELECT count(*) + 1 FROM g), {rows}) i");
        client.batch_execute(&fill).await.unwrap();
        let found: Vec<i32> = client.query(&all, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        assert!(found.iter().copied().eq((1..=rows).rev()), "{rows}: {} found", found.len());
        let found: Vec<i32> = client.query(&few, &[&1]).await.unwrap().iter().map(|row| row.get(0)).collect();
        let right: Vec<i32> = [1001, 2001].into_iter().filter(|id| *id <= rows).collect();
        assert_eq!(found, right, "{rows}");
    }
}
