//! Tables that are new, or written anew, and larger than a transaction may be.

use stratos_tests::client::{rows, sqlstate};
use stratos_tests::node::{Node, run};

/// Megabytes that a transaction may keep in memory, and the rows of 8 KB that are some 60.
const SETTINGS: &str = "transaction_mb_max = 40";
const ROWS: u32 = 8_000;
const PAD: &str = "repeat(md5(i::text), 250)";

fn one(found: &str) -> Result<Vec<Vec<String>>, String> {
    Ok(vec![found.split('|').map(str::to_owned).collect()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_tables_are_larger_than_a_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::configured(&dir.path().join("data"), SETTINGS);
    let client = node.server().connect().await;
    let filled = format!("SELECT i, i * 2, {PAD} FROM generate_series(1, {ROWS}) AS i");
    let counted = "SELECT count(*), sum(id), count(DISTINCT pad) FROM t";
    let all = format!("{ROWS}|{}|{ROWS}", ROWS * (ROWS + 1) / 2);
    client
        .batch_execute(&format!("BEGIN; CREATE TABLE t (id int, n int UNIQUE, pad text); INSERT INTO t {filled}"))
        .await
        .unwrap();
    // The transaction sees its rows, and nobody else does.
    assert_eq!(rows(&client, counted).await, one(&all));
    let other = node.server().connect().await;
    assert_eq!(rows(&other, counted).await, Err("42P01".to_owned()));
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(rows(&other, counted).await, one(&all));

    // Written anew, indexed, copied, emptied and filled.
    for statement in [
        "ALTER TABLE t ADD PRIMARY KEY (id)".to_owned(),
        "ALTER TABLE t ALTER n TYPE bigint".to_owned(),
        "BEGIN; CREATE INDEX wide ON t (n, id); COMMIT".to_owned(),
        "CREATE TABLE u AS SELECT * FROM t; DROP TABLE u".to_owned(),
        format!("BEGIN; TRUNCATE t; INSERT INTO t {filled}; COMMIT"),
        // All in one, as dumps and migrations do it.
        format!(
            "BEGIN; DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, n int UNIQUE, pad text); CREATE INDEX wide ON t (n, id);
             ALTER TABLE t ADD CHECK (id >= 0); INSERT INTO t {filled}; CREATE INDEX narrow ON t (id); COMMIT"
        ),
    ] {
        client.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}\n{}", node.log()));
        assert_eq!(rows(&client, counted).await, one(&all), "{statement}");
        assert_eq!(rows(&client, "SELECT id FROM t WHERE n = 5000").await, one("2500"), "{statement}");
    }

    // What goes wrong on the way leaves everything as it was.
    for (statement, expected) in [
        ("ALTER TABLE t ALTER id TYPE bigint USING id / 2".to_owned(), "23505"),
        ("BEGIN; CREATE UNIQUE INDEX late ON t ((n)); COMMIT".to_owned(), "0A000"),
        (format!("BEGIN; TRUNCATE t; INSERT INTO t {filled}; INSERT INTO t VALUES (7, -7, '')"), "23505"),
        (format!("BEGIN; TRUNCATE t; INSERT INTO t {filled} UNION ALL SELECT 7, -7, ''"), "23505"),
        (format!("BEGIN; TRUNCATE t; INSERT INTO t {filled}; SELECT 1 / 0"), "22012"),
    ] {
        let error = client.batch_execute(&statement).await.unwrap_err();
        assert_eq!(sqlstate(&error), expected, "{statement}: {error:?}");
        client.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(rows(&client, counted).await, one(&all), "{statement}");
    }
    // A savepoint may be gone back to: what follows it is kept in memory, and is too much.
    let kept = format!("BEGIN; CREATE TABLE v (LIKE t); SAVEPOINT s; INSERT INTO v {filled}");
    assert_eq!(sqlstate(&client.batch_execute(&kept).await.unwrap_err()), "54000");
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(sqlstate(&client.batch_execute("UPDATE t SET pad = pad || 'x'").await.unwrap_err()), "54000");

    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
    let checked = run(["check", "--data", node.data().to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_takes_away_what_was_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::configured(&data, SETTINGS);
    let client = node.server().connect().await;
    let filled = format!("SELECT i, {PAD} FROM generate_series(1, {ROWS}) AS i");
    client.batch_execute(&format!("CREATE TABLE old AS {filled}")).await.unwrap();
    let loads = format!(
        "BEGIN; CREATE TABLE new AS {filled}; ALTER TABLE old ADD COLUMN more int DEFAULT random() * 10;
         ALTER TABLE old ALTER more TYPE text"
    );
    client.batch_execute(&loads).await.unwrap();
    node.kill();
    let mut node = Node::configured(&data, SETTINGS);
    let client = node.server().connect().await;
    assert_eq!(rows(&client, "SELECT count(*) FROM new").await, Err("42P01".to_owned()));
    let counted = rows(&client, "SELECT count(*), count(DISTINCT o.*) FROM old o").await;
    assert_eq!(counted, one(&format!("{ROWS}|{ROWS}")));
    client.batch_execute(&format!("{loads}; COMMIT")).await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*), count(more) FROM old").await, one(&format!("{ROWS}|{ROWS}")));
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
    let checked = run(["check", "--data", data.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}
