//! Scans of whole tables: what they leave in the column cache must never change an answer.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use stratos_tests::client::rows;
use stratos_tests::node::Node;
use tokio_postgres::Client;

/// The value of a counter of `/metrics`.
fn metric(node: &Node, name: &str) -> f64 {
    let (_, text) = node.http("/metrics");
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
}

async fn one(client: &Client, sql: &str) -> String {
    rows(client, sql).await.unwrap()[0].join(" ")
}

/// Through the scan, and again so that the cache answers; and by the rows of a key range, which the cache has no part in.
async fn agreed(client: &Client, table: &str) -> String {
    let scanned = format!("SELECT count(*), sum(n), sum(n * id), count(s), max(length(s)) FROM {table}");
    let first = one(client, &scanned).await;
    assert_eq!(one(client, &scanned).await, first);
    let piecewise = format!(
        "SELECT count(*), sum(n), sum(n * id), count(s), max(length(s))
         FROM (SELECT * FROM {table} ORDER BY id LIMIT 10000000) ordered"
    );
    assert_eq!(one(client, &piecewise).await, first);
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_that_were_made_before_change_no_answer() {
    let node = Node::start();
    let client = node.server().connect().await;
    client
        .batch_execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, n bigint NOT NULL, s text);
             INSERT INTO t SELECT g, g % 100, CASE WHEN g % 3 = 0 THEN NULL ELSE 'row ' || g END FROM generate_series(1, 200000) g",
        )
        .await
        .unwrap();
    let whole = agreed(&client, "t").await;
    assert!(whole.starts_with("200000 9900000 "), "{whole}");

    // Every kind of change, each looked at afterwards.
    let mut before = whole;
    for change in [
        "UPDATE t SET n = n + 1 WHERE id = 150000",
        "DELETE FROM t WHERE id = 7",
        "INSERT INTO t VALUES (200001, 1, 'new'), (-5, 3, 'first')",
        "UPDATE t SET n = n + 1 WHERE id % 1000 = 0",
        // More deleted rows in a row than one step of a scan looks at.
        "DELETE FROM t WHERE id BETWEEN 20000 AND 90000",
        "ALTER TABLE t SPLIT AT VALUES (120000)",
        "UPDATE t SET n = n + 1 WHERE id IN (110000, 130000)",
        "BEGIN; UPDATE t SET n = 0 WHERE id < 1000; SAVEPOINT a; DELETE FROM t WHERE id > 100000; ROLLBACK TO a; COMMIT",
    ] {
        client.batch_execute(change).await.unwrap();
        let after = agreed(&client, "t").await;
        assert_eq!(after == before, change.starts_with("ALTER"), "{change}: {after}");
        before = after;
    }

    assert!(metric(&node, "stratos_column_cache_hits_total") > 0.0, "the cache has no part in this test");

    // A transaction's own writes are seen by it alone, an old snapshot goes on seeing what it saw.
    let mut reader = node.server().connect().await;
    let old = reader
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .start()
        .await
        .unwrap();
    let sums = "SELECT count(*), sum(n) FROM t";
    let row = old.query_one(sums, &[]).await.unwrap();
    let seen: (i64, String) = (
        row.get(0),
        format!("{:?}", old.query_one("SELECT sum(n)::text FROM t", &[]).await.unwrap().get::<_, String>(0)),
    );
    client.batch_execute("BEGIN; INSERT INTO t VALUES (300000, 5, NULL)").await.unwrap();
    assert_ne!(one(&client, sums).await, before.split(' ').take(2).collect::<Vec<_>>().join(" "));
    client.batch_execute("COMMIT").await.unwrap();
    agreed(&client, "t").await;
    assert_eq!(old.query_one(sums, &[]).await.unwrap().get::<_, i64>(0), seen.0);
    old.rollback().await.unwrap();

    // Attribute numbers come again after a rollback.
    client.batch_execute("BEGIN; ALTER TABLE t ADD COLUMN extra int DEFAULT 5").await.unwrap();
    let sum: i64 = one(&client, "SELECT sum(extra) FROM t").await.parse().unwrap();
    client.batch_execute("ROLLBACK; ALTER TABLE t ADD COLUMN extra int DEFAULT 7").await.unwrap();
    let again: i64 = one(&client, "SELECT sum(extra) FROM t").await.parse().unwrap();
    assert_eq!(sum / 5, again / 7);
    client.batch_execute("TRUNCATE t").await.unwrap();
    assert_eq!(one(&client, "SELECT count(*), sum(n) FROM t").await, "0 NULL");
}

/// Money moves between accounts while others add it all up: at every moment there is as much of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sum_holds_while_its_parts_change() {
    const ACCOUNTS: i64 = 150_000;
    const TRANSFERS: i64 = 400;
    let node = Node::start();
    let client = node.server().connect().await;
    client
        .batch_execute(&format!(
            "CREATE TABLE account (id int PRIMARY KEY, cents int NOT NULL);
             INSERT INTO account SELECT g, 100 FROM generate_series(1, {ACCOUNTS}) g"
        ))
        .await
        .unwrap();
    client.batch_execute("ALTER TABLE account SPLIT AT VALUES (60000)").await.unwrap();
    let mut movers = Vec::new();
    for mover in 0..2_i64 {
        let mut client = node.server().connect().await;
        movers.push(tokio::spawn(async move {
            for step in 0..TRANSFERS {
                // Most within the first segments, so that others stay good; some across shards.
                let from = (step * 37 + mover * 11) % 20_000 + 1;
                let to = if step % 8 == 0 { ACCOUNTS - from } else { from + 7 };
                let transaction = client.transaction().await.unwrap();
                let moved = async {
                    let change = "UPDATE account SET cents = cents + $2 WHERE id = $1";
                    transaction.execute(change, &[&(from as i32), &-1_i32]).await?;
                    transaction.execute(change, &[&(to as i32), &1_i32]).await
                };
                match moved.await {
                    Ok(_) => transaction.commit().await.unwrap(),
                    // The movers may meet in a deadlock, which takes one of them back.
                    Err(error) => assert_eq!(error.code().unwrap().code(), "40P01"),
                }
            }
        }));
    }
    let mut looks = 0;
    while looks < 5 || movers.iter().any(|mover| !mover.is_finished()) {
        assert_eq!(
            one(&client, "SELECT sum(cents), count(*) FROM account").await,
            format!("{} {ACCOUNTS}", ACCOUNTS * 100)
        );
        looks += 1;
    }
    for mover in movers {
        mover.await.unwrap();
    }
    assert!(metric(&node, "stratos_column_cache_hits_total") > 0.0, "the cache has no part in this test");
}
