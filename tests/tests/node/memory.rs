//! Queries over more data than their memory, transactions larger than usual, and what is left behind by them.

use std::path::Path;

use stratos_tests::client::{rows, sqlstate};
use stratos_tests::frames::{Frames, frame, query};
use stratos_tests::node::Node;

/// The least that a node takes for its queries, in megabytes.
const SETTINGS: &str = "query_memory_mb = 16";
/// Rows of the large table: about 60 MB as Arrow batches.
const ROWS: u32 = 200_000;

/// Files of queries that went to disk.
pub(crate) fn spilled(data: &Path) -> Vec<std::path::PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { walk(&entry, found) } else { found.push(entry) }
        }
    }
    let mut found = Vec::new();
    walk(&data.join("spill"), &mut found);
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_data_than_memory() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::configured(&dir.path().join("data"), SETTINGS);
    let client = node.server().connect().await;
    let tables = format!(
        "CREATE TABLE large (id int PRIMARY KEY, code int, note text);
         INSERT INTO large SELECT i, i * 7919 % {ROWS}, md5(i::text) || repeat('x', 200) FROM generate_series(1, {ROWS}) AS i;
         CREATE TABLE other (id int PRIMARY KEY, code int, note text);
         INSERT INTO other SELECT id, code, note FROM large"
    );
    client.batch_execute(&tables).await.unwrap();
    let all = ROWS.to_string();
    let queries = [
        // Sorts, whose first and last rows tell that they are right.
        (
            "SELECT min(at), max(at) FROM (SELECT row_number() OVER () AS at FROM (SELECT note FROM large ORDER BY note) s) r",
            vec!["1", &all],
        ),
        // Groups, as many as rows.
        ("SELECT count(*), sum(n) FROM (SELECT note, count(*) AS n FROM large GROUP BY note) g", vec![&all, &all]),
        ("SELECT count(*) FROM (SELECT DISTINCT note, code FROM large) d", vec![&all]),
        // Joins by keys that are no index's.
        (
            "SELECT count(*), count(o.note) FROM large l JOIN other o ON l.code = o.code AND l.note = o.note",
            vec![&all, &all],
        ),
        ("SELECT count(*), count(o.note) FROM large l LEFT JOIN other o ON l.note = o.note", vec![&all, &all]),
        ("SELECT count(*) FROM large l WHERE EXISTS (SELECT 1 FROM other o WHERE o.note = l.note)", vec![&all]),
        ("SELECT count(*) FROM large l WHERE note NOT IN (SELECT note FROM other WHERE note IS NOT NULL)", vec!["0"]),
        ("SELECT count(*) FROM large WHERE note || '.' NOT IN (SELECT note FROM other)", vec![&all]),
        (
            "SELECT count(*) FROM large WHERE note || '.' NOT IN (SELECT nullif(note, repeat('x', id)) FROM other)",
            vec![&all],
        ),
        (
            "SELECT count(*) FROM large WHERE note || '.' NOT IN (SELECT CASE WHEN id <> 7 THEN note END FROM other)",
            vec!["0"],
        ),
        (
            "SELECT count(*) FROM large WHERE CASE WHEN id <> 7 THEN note || '.' END NOT IN (SELECT note FROM other)",
            vec!["199999"],
        ),
        ("SELECT count(*) FROM (SELECT note FROM large UNION SELECT note FROM other) u", vec![&all]),
    ];
    for (sql, expected) in queries {
        let found = rows(&client, sql).await;
        assert_eq!(
            found.as_ref().map(|rows| &rows[0][..]),
            Ok(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{sql}\n{}",
            node.log()
        );
        assert_eq!(spilled(node.data()), Vec::<std::path::PathBuf>::new(), "{sql}");
    }
    // A result of any size is sent as it comes; sorts by text, by numbers, by several columns.
    for order in ["note DESC", "code", "length(note), code DESC, note"] {
        let found = rows(&client, &format!("SELECT note FROM large ORDER BY {order}")).await;
        let found = found.unwrap_or_else(|state| panic!("{order}: {state}\n{}", node.log()));
        assert_eq!(found.len(), ROWS as usize, "{order}");
        if order == "note DESC" {
            assert!(found.windows(2).all(|pair| pair[0][0] >= pair[1][0]));
        }
    }
    // One that is given up leaves nothing behind.
    client.batch_execute("SET statement_timeout = '150ms'").await.unwrap();
    let late = rows(&client, "SELECT * FROM large l, other o WHERE l.note > o.note ORDER BY l.note, o.note").await;
    assert_eq!(late, Err("57014".to_owned()));
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(spilled(node.data()), Vec::<std::path::PathBuf>::new());
    // What cannot go to disk is refused, and the session goes on.
    client.batch_execute("SET statement_timeout = 0").await.unwrap();
    for kept in [
        "SELECT length(string_agg(note, ',' ORDER BY code)) FROM large",
        "SELECT cardinality(array_agg(note)) FROM large",
        "SELECT max(n) FROM (SELECT cardinality(array_agg(note)) AS n FROM large GROUP BY code % 3) g",
        "SELECT count(last) FROM (SELECT max(note) OVER () AS last FROM large) w",
        "SELECT count(last) FROM (SELECT last_value(note) OVER (PARTITION BY code % 2) AS last FROM large) w",
        // The right side of a lateral join is computed for a row of the left as a whole.
        "SELECT count(x) FROM (VALUES (1), (2)) v(n), LATERAL (SELECT note || n AS x FROM large ORDER BY id LIMIT 150000) r",
        "SELECT count(x) FROM (VALUES (100000)) v(n), LATERAL unnest(array_fill(repeat('x', 400), ARRAY[n])) AS x",
        // Rows that a statement keeps until it has ended.
        "SELECT id, note FROM large FOR UPDATE",
        "UPDATE large SET code = code RETURNING note",
    ] {
        assert_eq!(rows(&client, kept).await, Err("53200".to_owned()), "{kept}");
    }
    // A record that comes in by COPY, as long as it is not whole; one that fits is a row.
    let mut frames = Frames::connect(node.server());
    let record = |megabytes: usize| {
        let rest = frame(b'd', &vec![b'x'; 1 << 20]).repeat(megabytes);
        [query("COPY other (id, note) FROM STDIN"), frame(b'd', b"0\t"), rest, frame(b'd', b"\n"), frame(b'c', b"")]
            .concat()
    };
    assert_eq!(frames.kinds(&record(14)), "GE(53200)ZI");
    assert_eq!(frames.kinds(&record(4)), "GCZI");
    assert_eq!(rows(&client, "SELECT length(note) FROM other WHERE id = 0").await.unwrap(), [[(4 << 20).to_string()]]);
    // Window functions that need only what is around a row do with little.
    let found = rows(&client, "SELECT count(n) FROM (SELECT lag(note) OVER (ORDER BY id) AS n FROM large) w").await;
    assert_eq!(found.unwrap(), [[(ROWS - 1).to_string()]]);
    assert_eq!(rows(&client, "SELECT count(*) FROM large").await.unwrap(), [[all]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::configured(&dir.path().join("data"), "transaction_mb_max = 1");
    let client = node.server().connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, v text)").await.unwrap();
    let insert = "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 2000) AS i";
    let error = client.batch_execute(insert).await.unwrap_err();
    assert_eq!(sqlstate(&error), "54000");
    assert!(error.as_db_error().unwrap().message().contains("more than 1048576 bytes"), "{error:?}");
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await.unwrap(), [["0"]]);
    client.batch_execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 900) AS i").await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await.unwrap(), [["900"]]);
}

/// Beyond 20,000 rows an insert holds no locks: a key that somebody else takes meanwhile is 23505 at the commit all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_in_a_large_insert() {
    let node = Node::start();
    let (one, other) = (node.server().connect().await, node.server().connect().await);
    one.batch_execute("CREATE TABLE t (id int PRIMARY KEY, code int UNIQUE)").await.unwrap();
    let insert = "INSERT INTO t SELECT i, i * 2 FROM generate_series(1, 30000) AS i";
    for (meanwhile, constraint, detail) in [
        ("INSERT INTO t VALUES (30000, -1)", "t_pkey", "Key (id)=(30000) already exists."),
        ("INSERT INTO t VALUES (-1, 60000)", "t_code_key", "Key (code)=(60000) already exists."),
    ] {
        one.batch_execute(&format!("BEGIN; {insert}")).await.unwrap();
        other.batch_execute(meanwhile).await.unwrap();
        let error = one.batch_execute("COMMIT").await.unwrap_err();
        assert_eq!(sqlstate(&error), "23505", "{error:?}");
        let error = error.as_db_error().unwrap();
        assert_eq!((error.constraint(), error.detail()), (Some(constraint), Some(detail)));
        assert_eq!(rows(&one, "SELECT count(*) FROM t").await.unwrap(), [["1"]]);
        one.batch_execute("DELETE FROM t").await.unwrap();
    }
    // Whoever tolerates duplicates is told of them before.
    one.batch_execute(&format!("BEGIN; {insert} ON CONFLICT DO NOTHING")).await.unwrap();
    other.batch_execute("SET lock_timeout = '100ms'").await.unwrap();
    let waited = rows(&other, "INSERT INTO t VALUES (30000, -1)").await;
    assert_eq!(waited, Err("55P03".to_owned()));
    one.batch_execute("COMMIT").await.unwrap();
}
