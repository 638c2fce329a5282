//! Tables that outgrow their shards, and shards split on demand, while others read and write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stratos_tests::client::{Server, rows};
use stratos_tests::node::{Node, run};

/// The smallest size at which shards are split, and a short memory so that it is looked at often.
const SETTINGS: &str = "shard_split_mb = 1\ngc_window_seconds = 1";
/// Bytes of a row's text, and rows: about 8 MB.
const TEXT_BYTES: usize = 1000;
const ROWS: i64 = 8000;
/// What moves between rows.
const TOTAL: i64 = 100 * 1000;
/// How long splits may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Moves amounts between the first rows of the table until told to stop; gives how often.
async fn move_amounts(server: Server, number: i64, stop: Arc<AtomicBool>) -> usize {
    let mut client = server.connect().await;
    let mut moved = 0;
    while !stop.load(Ordering::Relaxed) {
        let (from, to) = ((moved as i64 * 7 + number) % 100 * 80, (moved as i64 * 13 + number) % 100 * 80);
        let transaction = client.transaction().await.unwrap();
        let change = "UPDATE t SET amount = amount + $2 WHERE id = $1";
        let mut changes = [(from, -1_i64), (to, 1)];
        changes.sort_unstable();
        let mut done = Ok(0);
        for (id, amount) in changes {
            done = done.and(transaction.execute(change, &[&id, &amount]).await);
        }
        let done = match done {
            Ok(_) => transaction.commit().await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => moved += 1,
            Err(error) => assert_eq!(stratos_tests::client::sqlstate(&error), "40001", "{error:?}"),
        }
    }
    moved
}

/// Adds everything up until told to stop: every snapshot must be whole.
async fn add_up(server: Server, stop: Arc<AtomicBool>) -> usize {
    let client = server.connect().await;
    let mut sums = 0;
    while !stop.load(Ordering::Relaxed) {
        let found = rows(&client, "SELECT sum(amount) FROM t").await.unwrap();
        assert_eq!(found, [[TOTAL.to_string()]]);
        sums += 1;
    }
    sums
}

async fn shards(client: &tokio_postgres::Client) -> i64 {
    rows(client, "SELECT count(*) FROM pg_stratos.shards").await.unwrap()[0][0].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_grows_over_several_shards() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::configured(&data, SETTINGS);
    let client = node.server().connect().await;
    client.batch_execute("CREATE TABLE t (id bigint PRIMARY KEY, amount bigint NOT NULL, note text)").await.unwrap();
    client.batch_execute("INSERT INTO t SELECT i * 80, 1000, '' FROM generate_series(0, 99) AS i").await.unwrap();
    client.batch_execute("CREATE INDEX ON t (amount)").await.unwrap();
    let before = shards(&client).await;

    let stop = Arc::new(AtomicBool::new(false));
    let movers: Vec<_> =
        (0..3).map(|number| tokio::spawn(move_amounts(node.server().clone(), number, stop.clone()))).collect();
    let adder = tokio::spawn(add_up(node.server().clone(), stop.clone()));
    for first in (0..ROWS).step_by(500) {
        let insert = format!(
            "INSERT INTO t SELECT i, 0, repeat('x', {TEXT_BYTES}) FROM generate_series({first}, {}) AS i WHERE i % 80 > 0",
            first + 499
        );
        client.batch_execute(&insert).await.unwrap();
        if first % 2000 == 0 {
            client.batch_execute(&format!("ALTER TABLE t SPLIT AT VALUES ({})", first + 250)).await.unwrap();
        }
    }
    let since = Instant::now();
    // Four were asked for; by its size the table needs at least eight.
    while shards(&client).await < before + 8 {
        assert!(since.elapsed() < PATIENCE, "only {} shards", shards(&client).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut moved = 0;
    for mover in movers {
        moved += mover.await.unwrap();
    }
    let sums = adder.await.unwrap();
    assert!(moved > 20 && sums > 2, "too little load: {moved} moves, {sums} sums");

    let everything = async |client: &tokio_postgres::Client| {
        for (sql, expected) in [
            ("SELECT count(*), sum(amount), count(DISTINCT id) FROM t", [ROWS, TOTAL, ROWS].map(|n| n.to_string())),
            (
                "SELECT count(*), min(id), max(id) FROM t WHERE id BETWEEN 100 AND 7000",
                ["6901", "100", "7000"].map(str::to_owned),
            ),
            ("SELECT count(*), sum(amount), 0 FROM t WHERE amount > 0", ["100", "100000", "0"].map(str::to_owned)),
        ] {
            assert_eq!(rows(client, sql).await.unwrap(), [expected], "{sql}");
        }
        let order = rows(client, "SELECT id FROM t ORDER BY id DESC LIMIT 3").await.unwrap();
        assert_eq!(order, [["7999"], ["7998"], ["7997"]]);
        // What is known of the table is the sum of what is known of its parts: no row is counted twice, or not at all.
        let known = rows(client, "SELECT sum(rows) FROM pg_stratos.tables WHERE table_name = 't'").await.unwrap();
        assert_eq!(known, [[ROWS.to_string()]]);
        let entries = rows(client, "SELECT entries FROM pg_stratos.indexes WHERE name = 't_amount_idx'").await.unwrap();
        assert_eq!(entries, [[ROWS.to_string()]]);
        let parts = rows(client, "SELECT sum(rows) >= 2 * 8000, bool_and(leader IS NOT NULL) FROM pg_stratos.shards")
            .await
            .unwrap();
        assert_eq!(parts, [["t", "t"]]);
    };
    everything(&client).await;
    let count = shards(&client).await;
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
    let checked = run(["check", "--data", data.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
    let node = Node::configured(&data, "shard_split_mb = 1024");
    let client = node.server().connect().await;
    // The ones that were still dividing when they were counted may have done so before the node stopped.
    assert!(shards(&client).await >= count);
    everything(&client).await;
}
