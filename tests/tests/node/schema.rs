//! Transactions with schema changes beside readers and writers: nobody sees half of one, and no row gets lost in one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stratos_tests::client::{Server, rows, sqlstate};
use stratos_tests::frames::{Frames, query};
use stratos_tests::node::{Node, run};

/// How long the schema changes go on.
const BUSY: Duration = Duration::from_secs(10);

/// Fills one table anew and counts in another, in one transaction each time.
async fn refill(server: Server, stop: Arc<AtomicBool>) -> i64 {
    let client = server.connect().await;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let sql = format!(
            "BEGIN; TRUNCATE filled; INSERT INTO filled SELECT n, {number} FROM generate_series(1, 20) n;
             UPDATE counted SET number = {number}; COMMIT"
        );
        client.batch_execute(&sql).await.unwrap();
    }
    number
}

/// The number in both tables, over and over, by a query that is planned once and by one that is planned each time.
async fn compare(server: Server, stop: Arc<AtomicBool>) -> usize {
    let client = server.connect().await;
    let sql = "SELECT min(f.number), max(f.number), count(*), max(c.number) FROM filled f, counted c";
    let prepared = client.prepare(sql).await.unwrap();
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        let row = client.query_one(&prepared, &[]).await.unwrap();
        let (min, max, count, counted): (i32, i32, i64, i32) = (row.get(0), row.get(1), row.get(2), row.get(3));
        assert_eq!((min, max, count), (counted, counted, 20), "half of a transaction, after {seen} whole ones");
        let text = rows(&client, &format!("{sql} WHERE c.number >= -{seen}")).await.unwrap();
        assert_eq!(text[0], [text[0][3].clone(), text[0][3].clone(), "20".to_owned(), text[0][3].clone()]);
        seen += 1;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_sees_half_of_a_transaction_with_a_schema_change() {
    let node = Node::start();
    let client = node.server().connect().await;
    client
        .batch_execute(
            "CREATE TABLE filled (id int PRIMARY KEY, number int); CREATE TABLE counted (number int);
             INSERT INTO filled SELECT n, 0 FROM generate_series(1, 20) n; INSERT INTO counted VALUES (0)",
        )
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(refill(node.server().clone(), stop.clone()));
    let readers: Vec<_> = (0..2).map(|_| tokio::spawn(compare(node.server().clone(), stop.clone()))).collect();
    let began = Instant::now();
    while began.elapsed() < BUSY && !readers.iter().any(tokio::task::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.unwrap();
    for reader in readers {
        let seen = reader.await.unwrap();
        println!("{written} transactions, {seen} looks");
        assert!(written > 10 && seen > 10);
    }
}

/// Adds rows one by one; gives how many were acknowledged.
async fn insert(server: Server, number: i32, stop: Arc<AtomicBool>) -> i64 {
    let client = server.connect().await;
    let insert = "INSERT INTO rewritten (writer, number) VALUES ($1::int, $2::int)";
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        match client.execute(insert, &[&number, &(acknowledged as i32)]).await {
            Ok(_) => acknowledged += 1,
            Err(error) => assert_eq!(sqlstate(&error), "40001", "{error:?}"),
        }
    }
    acknowledged
}

/// Indexes come and go and the table is written anew, each in a transaction that writes another database's shard, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_row_is_lost_between_a_schema_change_and_a_writer_that_waited_for_it() {
    let node = Node::start();
    let client = node.server().connect().await;
    client
        .batch_execute("CREATE TABLE rewritten (writer int, number int, extra int, PRIMARY KEY (writer, number))")
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..3).map(|number| tokio::spawn(insert(node.server().clone(), number, stop.clone()))).collect();
    let began = Instant::now();
    let mut changes = 0;
    while began.elapsed() < BUSY {
        for sql in [
            "BEGIN; CREATE INDEX IF NOT EXISTS by_extra ON rewritten (extra); COMMIT",
            "ALTER TABLE rewritten ALTER COLUMN extra TYPE text",
            "DROP INDEX IF EXISTS by_extra",
            "ALTER TABLE rewritten ALTER COLUMN extra TYPE int USING extra::int",
        ] {
            match client.batch_execute(sql).await {
                Ok(()) => changes += 1,
                Err(error) => {
                    assert_eq!(sqlstate(&error), "40001", "{error:?}");
                    client.batch_execute("ROLLBACK").await.unwrap();
                }
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = 0;
    for writer in writers {
        acknowledged += writer.await.unwrap();
    }
    println!("{changes} schema changes, {acknowledged} rows");
    let found = rows(&client, "SELECT count(*) FROM rewritten").await.unwrap();
    assert_eq!(found, [[acknowledged.to_string()]]);
    assert!(changes > 4 && acknowledged > 10);
}

/// Temporary tables go with their session; those of a node that was killed go when it starts again.
#[test]
fn temporary_tables_go_with_their_session() {
    const LEFT: &str = "SELECT count(*) FROM pg_class WHERE relname LIKE 'passing%'";
    const SCHEMAS: &str = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pg\\_temp%'";
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    node.server().sql("CREATE TEMP TABLE passing (a serial PRIMARY KEY); INSERT INTO passing DEFAULT VALUES");
    let deadline = Instant::now() + Duration::from_secs(10);
    while node.server().sql(SCHEMAS) != "0" {
        assert!(Instant::now() < deadline, "the session's schema stays");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(node.server().sql(LEFT), "0");

    let mut frames = Frames::connect(node.server());
    frames.send(&query("CREATE TEMP TABLE passing (a int); INSERT INTO passing VALUES (1)"));
    frames.until_ready();
    assert_eq!(node.server().sql(LEFT), "1");
    node.kill();
    let mut node = Node::dev(&data);
    assert_eq!((node.server().sql(LEFT), node.server().sql(SCHEMAS)), ("0".to_owned(), "0".to_owned()));
    node.stop();
    let check = run(["check", "--data", data.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
}
