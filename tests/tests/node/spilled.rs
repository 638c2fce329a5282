//! Aggregates that need all of their rows, and rows that are read several times, with less memory than they take: PostgreSQL's
//! answers.

use stratos_tests::client::rows;
use stratos_tests::node::Node;
use stratos_tests::postgres::Postgres;

use crate::memory::spilled;

/// The least that a node takes for its queries, in megabytes.
const SETTINGS: &str = "query_memory_mb = 16";
/// About 15 MB as Arrow batches.
const TABLE: &str = "
    CREATE TABLE large (id int PRIMARY KEY, code int, note text, amount numeric, ratio float8, lasting interval);
    INSERT INTO large SELECT i, i % 100, md5((i * 7919 % 50021)::text) || repeat('x', 200),
        CASE WHEN i % 7 <> 0 THEN (i % 5000)::numeric / 10 END, CASE WHEN i % 11 <> 0 THEN (i * 31 % 7001) / 8.0 END,
        make_interval(secs => i % 1234)
        FROM generate_series(1, 60000) AS i";

/// Too much for the memory where rows are kept, or their different values.
const QUERIES: &[&str] = &[
    "SELECT count(DISTINCT note) FROM large",
    "SELECT count(DISTINCT code), count(DISTINCT note), count(*), sum(id), avg(amount) FROM large",
    "SELECT sum(DISTINCT id), avg(DISTINCT id), count(DISTINCT note) FILTER (WHERE code < 70), sum(DISTINCT amount) FROM large",
    "SELECT length(string_agg(DISTINCT left(note, 32), ',')), md5(string_agg(DISTINCT left(note, 32), ',')),
        count(DISTINCT note) FROM large",
    "SELECT md5(string_agg(left(note, 10), ',' ORDER BY note DESC, id)) FROM large",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY note), mode() WITHIN GROUP (ORDER BY note DESC),
        percentile_cont(ARRAY[0, 0.25, NULL]) WITHIN GROUP (ORDER BY ratio), mode() WITHIN GROUP (ORDER BY code),
        percentile_cont(0.3) WITHIN GROUP (ORDER BY lasting) FROM large",
    "SELECT cardinality(array_agg(id)), md5(array_agg(id ORDER BY note, id)::text), array_agg(DISTINCT code % 3) FROM large",
    "SELECT stddev(id), variance(amount), sum(lasting), max(lasting), bit_xor(id), min(note) FROM large",
    "SELECT code % 3, count(DISTINCT note), md5(json_agg(id ORDER BY note DESC, id)::text), array_agg(DISTINCT code % 5),
        mode() WITHIN GROUP (ORDER BY note) FROM large GROUP BY 1 ORDER BY 1",
    "SELECT code % 2, amount < 100, grouping(code % 2, amount < 100), count(DISTINCT note), count(*),
        md5(string_agg(left(note, 8), '' ORDER BY note)) FROM large GROUP BY ROLLUP (1, 2) ORDER BY 3, 1, 2",
    "SELECT t.n, (SELECT count(DISTINCT note) FROM large WHERE id <= t.n) FROM (VALUES (0), (40000), (60000)) t(n) ORDER BY 1",
    "SELECT count(DISTINCT note) + 1 FROM large HAVING count(DISTINCT (code, note)) > 100",
    "WITH x AS MATERIALIZED (SELECT * FROM large) SELECT count(*), sum(b.id), max(a.note) FROM x a JOIN x b USING (id)",
    "WITH x AS MATERIALIZED (SELECT * FROM large), y AS MATERIALIZED (SELECT * FROM x WHERE code < 90)
        SELECT count(*), (SELECT count(*) FROM x), (SELECT count(DISTINCT note) FROM y) FROM y",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_and_ctes_of_more_rows_than_memory() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::configured(&dir.path().join("data"), SETTINGS);
    let postgres = Postgres::start();
    let (ours, theirs) = (node.server().connect().await, postgres.server().connect().await);
    for client in [&ours, &theirs] {
        client.batch_execute(TABLE).await.unwrap();
    }
    for query in QUERIES {
        let found = rows(&ours, query).await;
        assert_eq!(found, rows(&theirs, query).await, "{query}\n{}", node.log());
        assert_eq!(spilled(node.data()), Vec::<std::path::PathBuf>::new(), "{query}");
    }
    // What ends early leaves nothing behind.
    ours.batch_execute("SET statement_timeout = '600ms'; SET enable_hashagg = off").await.unwrap();
    let late = rows(&ours, "SELECT count(DISTINCT l.note || o.id) FROM large l, large o").await;
    assert_eq!(late, Err("57014".to_owned()));
    ours.batch_execute("SET statement_timeout = 0").await.unwrap();
    let failed = rows(&ours, "SELECT count(DISTINCT note), stddev(1 / (id - 59000)) FROM large").await;
    assert_eq!(failed, Err("22012".to_owned()));
    let failed = rows(&ours, "SELECT percentile_disc(2) WITHIN GROUP (ORDER BY note) FROM large").await;
    assert_eq!(failed, Err("22003".to_owned()));
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(spilled(node.data()), Vec::<std::path::PathBuf>::new());
    let (_, metrics) = node.http("/metrics");
    assert!(metrics.lines().any(|line| line == "stratos_sql_query_memory_bytes 0"), "{metrics}");
}
