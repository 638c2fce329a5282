//! Indexes whose building beside writers is interrupted: by the end of the process, by the client, by a duplicate.

use std::time::{Duration, Instant};

use stratos_tests::client::{Server, rows, sqlstate};
use stratos_tests::node::{Node, run};

/// Enough that a build can be met on its way.
const ROWS: u32 = 60_000;
/// How long to wait for a build to be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

async fn fill(server: &Server) -> tokio_postgres::Client {
    let client = server.connect().await;
    let table = format!(
        "CREATE TABLE t (id int PRIMARY KEY, n int);
         INSERT INTO t SELECT i, i * 2 FROM generate_series(1, {ROWS}) AS i"
    );
    client.batch_execute(&table).await.unwrap();
    client
}

/// How often a build may be at its end before it is met on its way.
const MEETINGS_MAX: usize = 10;

type Built = tokio::task::JoinHandle<(Result<(), tokio_postgres::Error>, tokio_postgres::Client)>;

/// A build that writers know of, and that cannot end before `holder` does.
struct Met {
    built: Built,
    cancel: tokio_postgres::CancelToken,
    holder: tokio_postgres::Client,
}

impl Met {
    /// Has `statement` come before the build's last step: it waits for the table when the holder ends.
    async fn comes_between(self, server: &Server, statement: &'static str) -> (Built, tokio_postgres::Client) {
        let (client, watcher) = (server.connect().await, server.connect().await);
        let waiting = tokio::spawn(async move {
            client.batch_execute(statement).await.unwrap();
            client
        });
        let waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'";
        let since = Instant::now();
        while rows(&watcher, waits).await.unwrap() != [["t"]] {
            assert!(since.elapsed() < PATIENCE, "{statement} does not wait for a writer of its table");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.holder.batch_execute("ROLLBACK").await.unwrap();
        (self.built, waiting.await.unwrap())
    }
}

async fn state(client: &tokio_postgres::Client) -> Vec<Vec<String>> {
    rows(client, "SELECT state FROM pg_stratos.indexes WHERE name = 'later'").await.unwrap()
}

/// Begins to build the index and has a writer hold on to a row of the table as soon as the index is kept up by writers.
async fn met_on_its_way(server: &Server, client: &tokio_postgres::Client) -> Met {
    for _ in 0..MEETINGS_MAX {
        let (builder, holder) = (server.connect().await, server.connect().await);
        let cancel = builder.cancel_token();
        let built = tokio::spawn(async move {
            let result = builder.batch_execute("CREATE UNIQUE INDEX later ON t (n)").await;
            (result, builder)
        });
        let since = Instant::now();
        while state(client).await.is_empty() || state(client).await == [["delete only"]] {
            assert!(since.elapsed() < PATIENCE, "the build is not seen");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        holder.batch_execute(&format!("BEGIN; UPDATE t SET n = n WHERE id = {}", ROWS - 1)).await.unwrap();
        if state(client).await == [["write only"]] {
            return Met { built, cancel, holder };
        }
        // It was faster.
        holder.batch_execute("ROLLBACK").await.unwrap();
        built.await.unwrap().0.unwrap();
        client.batch_execute("DROP INDEX later").await.unwrap();
    }
    panic!("every build had ended before it was met");
}

async fn is_gone(client: &tokio_postgres::Client) {
    let found = rows(client, "SELECT count(*) FROM pg_stratos.indexes WHERE name = 'later'").await.unwrap();
    assert_eq!(found, [["0"]], "the index of a statement that failed is still there");
}

async fn can_be_made(client: &tokio_postgres::Client) {
    client.batch_execute("CREATE UNIQUE INDEX later ON t (n)").await.unwrap();
    let found = rows(client, "SELECT id FROM t WHERE n = 5000").await.unwrap();
    assert_eq!(found, [["2500"]]);
    let twice = rows(client, "INSERT INTO t VALUES (-1, 5000)").await.unwrap_err();
    assert_eq!(twice, "23505");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_takes_an_unfinished_index_away() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    let client = fill(node.server()).await;
    let met = met_on_its_way(node.server(), &client).await;
    // What writers put in on the way goes away with it.
    client.batch_execute("UPDATE t SET n = n + 1 WHERE id % 100 = 0").await.unwrap();
    node.kill();
    assert!(met.built.await.unwrap().0.is_err());
    let mut node = Node::dev(&data);
    let client = node.server().connect().await;
    is_gone(&client).await;
    client.batch_execute("UPDATE t SET n = n - 1 WHERE id % 100 = 0").await.unwrap();
    can_be_made(&client).await;
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
    let checked = run(["check", "--data", data.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canceled_build_takes_its_index_away() {
    let node = Node::start();
    let client = fill(node.server()).await;
    let met = met_on_its_way(node.server(), &client).await;
    met.cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
    // The index goes away when the writer has ended, and the statement waits a while for that.
    met.holder.batch_execute("COMMIT").await.unwrap();
    let (result, builder) = met.built.await.unwrap();
    assert_eq!(sqlstate(&result.unwrap_err()), "57014");
    is_gone(&client).await;

    // Also one that waits for a writer, and one that is out of its time.
    client.batch_execute("BEGIN; UPDATE t SET n = n WHERE id = 1").await.unwrap();
    let asked = Instant::now();
    builder.batch_execute("SET statement_timeout = '300ms'").await.unwrap();
    let late = builder.batch_execute("CREATE UNIQUE INDEX later ON t (n)").await.unwrap_err();
    assert_eq!(sqlstate(&late), "57014");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    client.batch_execute("COMMIT").await.unwrap();
    builder.batch_execute("SET statement_timeout = 0").await.unwrap();
    // It is taken away as soon as the writer has ended.
    let since = Instant::now();
    while rows(&client, "SELECT count(*) FROM pg_stratos.indexes WHERE name = 'later'").await.unwrap() != [["0"]] {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    can_be_made(&builder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_and_a_dropped_table_end_a_build() {
    let node = Node::start();
    let client = fill(node.server()).await;
    client.batch_execute(&format!("UPDATE t SET n = 2 WHERE id = {ROWS}")).await.unwrap();
    let error = client.batch_execute("CREATE UNIQUE INDEX later ON t (n)").await.unwrap_err();
    assert_eq!(sqlstate(&error), "23505");
    is_gone(&client).await;
    // The session sees the catalog as it is: nothing of the failed statement is left in it.
    assert_eq!(rows(&client, "SELECT count(*) FROM pg_class WHERE relname = 'later'").await.unwrap(), [["0"]]);
    client.batch_execute(&format!("UPDATE t SET n = {ROWS} * 2 WHERE id = {ROWS}")).await.unwrap();

    let met = met_on_its_way(node.server(), &client).await;
    let (built, _) = met.comes_between(node.server(), "TRUNCATE t; INSERT INTO t VALUES (1, 1), (2, 2)").await;
    built.await.unwrap().0.unwrap();
    assert_eq!(rows(&client, "SELECT id FROM t WHERE n = 2").await.unwrap(), [["2"]]);
    client.batch_execute("DROP INDEX later").await.unwrap();

    client.batch_execute(&format!("INSERT INTO t SELECT i, i FROM generate_series(3, {ROWS}) AS i")).await.unwrap();
    let met = met_on_its_way(node.server(), &client).await;
    let (built, _) = met.comes_between(node.server(), "DROP TABLE t").await;
    assert_eq!(sqlstate(&built.await.unwrap().0.unwrap_err()), "42704");
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); CREATE INDEX later ON t (n)").await.unwrap();
}

/// Deleted rows are still there for a while, and take as long to step over as others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_has_what_lies_behind_many_deleted_rows() {
    const KEPT: u32 = 10;
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::dev(&dir.path().join("data"));
    let client = fill(node.server()).await;
    client.batch_execute(&format!("DELETE FROM t WHERE id > {KEPT} AND id <= {}", ROWS - KEPT)).await.unwrap();
    client.batch_execute("CREATE UNIQUE INDEX later ON t (n)").await.unwrap();
    for id in [1, KEPT, ROWS - KEPT + 1, ROWS] {
        let found = rows(&client, &format!("SELECT id FROM t WHERE n = {}", 2 * id)).await.unwrap();
        assert_eq!(found, [[id.to_string()]], "the index lacks a row");
    }
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
    let checked = run(["check", "--data", node.data().to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}

/// A build that waits for a transaction keeps schema changes elsewhere from nothing, at its begin and on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_writer_holds_up_only_its_table() {
    let node = Node::start();
    let client = fill(node.server()).await;
    let (writer, late) = (node.server().connect().await, node.server().connect().await);
    writer.batch_execute("BEGIN; UPDATE t SET n = n WHERE id = 1").await.unwrap();
    let builder = node.server().connect().await;
    let built = tokio::spawn(async move { builder.batch_execute("CREATE UNIQUE INDEX later ON t (n)").await });
    let elsewhere = async |name: &str| {
        let sql =
            format!("CREATE TABLE {name} (id int PRIMARY KEY); ALTER TABLE {name} ADD COLUMN n int; DROP TABLE {name}");
        let done = tokio::time::timeout(PATIENCE, client.batch_execute(&sql)).await;
        done.expect("a schema change waits for a writer of another table").unwrap();
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    elsewhere("first").await;
    // The next writer comes as soon as the build lets it.
    let next = tokio::spawn(async move {
        late.batch_execute("BEGIN; UPDATE t SET n = n WHERE id = 2").await.unwrap();
        late
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    writer.batch_execute("COMMIT").await.unwrap();
    let late = next.await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    elsewhere("second").await;
    assert!(!built.is_finished(), "a build does not wait for writers");
    late.batch_execute("COMMIT").await.unwrap();
    built.await.unwrap().unwrap();
    assert_eq!(rows(&client, "SELECT id FROM t WHERE n = 5000").await.unwrap(), [["2500"]]);
}
