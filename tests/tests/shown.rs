//! What a server shows of what it does: plans, who waits for whom, and the database that clients look for first.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::time::{Duration, Instant};

use stratos_tests::client::{Server, rows, sqlstate};
use stratos_tests::node::Node;
use stratos_tests::postgres::Postgres;

/// How long a wait may take to show.
const PATIENCE: Duration = Duration::from_secs(30);

fn digits_to_n(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('N') {
            out.push('N');
        }
    }
    out
}

/// Two sessions that wait for each other: what is seen of the wait, and what the victim is told.
async fn waits(server: &Server) {
    server.sql("CREATE TABLE waits (id int PRIMARY KEY, v int); INSERT INTO waits VALUES (1, 0), (2, 0)");
    let (one, two, watcher) = (server.connect().await, server.connect().await, server.connect().await);
    let mut pids = Vec::new();
    for (session, id) in [(&one, 1), (&two, 2)] {
        session.batch_execute(&format!("BEGIN; UPDATE waits SET v = 1 WHERE id = {id}")).await.unwrap();
        pids.push(rows(session, "SELECT pg_backend_pid()").await.unwrap()[0][0].clone());
    }
    let first = one.batch_execute("UPDATE waits SET v = 2 WHERE id = 2");
    let second = async {
        let seen = format!("SELECT {} = ANY (pg_blocking_pids({}))", pids[1], pids[0]);
        let started = Instant::now();
        while rows(&watcher, &seen).await.unwrap()[0][0] != "t" {
            assert!(started.elapsed() < PATIENCE, "the wait does not show");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let locks = format!(
            "SELECT locktype, mode, granted FROM pg_locks WHERE pid = {} AND locktype IN ('transactionid', 'tuple')
             ORDER BY granted, locktype",
            pids[0]
        );
        let shown = rows(&watcher, &locks).await.unwrap();
        let expected = [
            ["transactionid", "ShareLock", "f"],
            ["transactionid", "ExclusiveLock", "t"],
            ["tuple", "ExclusiveLock", "t"],
        ];
        assert_eq!(shown, expected);
        let relation =
            format!("SELECT relation::regclass FROM pg_locks WHERE pid = {} AND locktype = 'tuple'", pids[0]);
        assert_eq!(rows(&watcher, &relation).await.unwrap(), [["waits"]]);
        two.batch_execute("UPDATE waits SET v = 2 WHERE id = 1").await
    };
    let (first, second) = tokio::join!(
        async {
            let ended = first.await;
            if ended.is_err() {
                one.batch_execute("ROLLBACK").await.unwrap();
            }
            ended
        },
        async {
            let ended = second.await;
            if ended.is_err() {
                two.batch_execute("ROLLBACK").await.unwrap();
            }
            ended
        }
    );
    let error = first.and(second).unwrap_err();
    assert_eq!(sqlstate(&error), "40P01");
    let error = error.as_db_error().unwrap();
    assert_eq!(error.message(), "deadlock detected");
    let detail = error.detail().unwrap();
    let line = "Process N waits for ShareLock on transaction N; blocked by process N.";
    assert_eq!(digits_to_n(detail), format!("{line}\n{line}"));
    for pid in &pids {
        assert!(detail.contains(&format!("Process {pid} waits")), "{detail}");
        assert!(detail.contains(&format!("blocked by process {pid}.")), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_show_and_a_deadlock_tells_of_them() {
    let node = tokio::task::spawn_blocking(Node::start).await.unwrap();
    waits(node.server()).await;
    let postgres = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    waits(postgres.server()).await;
}

#[test]
fn plans_are_shown_in_the_statements_words() {
    let node = Node::start();
    let server = node.server();
    server.sql(
        "CREATE TABLE note (id int PRIMARY KEY, text text, n numeric, d date, u int UNIQUE);
         CREATE TABLE other (id bigint PRIMARY KEY, note_id int, x text);
         INSERT INTO note SELECT g, 'n' || g, g, '2020-01-01', g FROM generate_series(1, 100) g",
    );
    for (statement, plan) in [
        (
            "SELECT * FROM note WHERE text LIKE 'a%' AND n > 1.5 AND d < '2020-02-01'
             ORDER BY lower(text) NULLS FIRST, id DESC",
            "Sort
               Sort Key: (lower(text)) NULLS FIRST, id DESC
               ->  Seq Scan on note  (rows=100)
                     Filter: ((d < '2020-02-01'::date) AND (text ~~ 'a%'::text) AND (n > '1.5'::numeric))",
        ),
        (
            "SELECT count(*), text FROM note GROUP BY text HAVING count(*) > 1 ORDER BY count(*) DESC",
            "Sort
               Sort Key: (count(*)) DESC
               ->  Result
                     Filter: (count(*) > 1)
                     ->  HashAggregate
                           Group Key: text
                           ->  Seq Scan on note  (rows=100)",
        ),
        (
            "SELECT n.text, o.x FROM note n JOIN other o ON o.note_id = n.id WHERE o.x <> n.text",
            "Nested Loop
               Join Filter: (o.x <> n.text)
               ->  Seq Scan on other  (rows=0)
               ->  Index Scan using note_pkey on note  (rows=1)
                     Index Cond: (id = o.note_id)",
        ),
        (
            "SELECT * FROM (SELECT lower(text) l, u + 1 AS v FROM note) s WHERE v > 3 AND l IS NOT NULL ORDER BY l",
            "Sort
               Sort Key: (lower(text))
               ->  Seq Scan on note  (rows=100)
                     Filter: (((u + 1) > 3) AND (lower(text) IS NOT NULL))",
        ),
    ] {
        let shown = server.sql(&format!("SET stratos.direct_queries = off; EXPLAIN {statement}"));
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&shown), words(plan), "{statement}\n{shown}");
    }
    let hashed = "SELECT n.text, o.x FROM note n JOIN other o ON o.note_id = n.id WHERE o.x <> n.text";
    let shown = server.sql(&format!("SET enable_nestloop = off; EXPLAIN {hashed}"));
    for part in
        ["Hash Join", "Hash Cond: (o.note_id = n.id)", "Join Filter: (o.x <> n.text)", "Seq Scan on note  (rows=100)"]
    {
        assert!(shown.contains(part), "{shown}");
    }
    // Rows in a subquery are joined with it, also where NULL counts.
    let members = "SELECT * FROM note WHERE (id, u) IN (SELECT id, note_id FROM other WHERE x > 'a')";
    let shown = server.sql(&format!("EXPLAIN {members}"));
    assert!(shown.contains("Semi Join") && !shown.contains("SubPlan"), "{shown}");
    let shown = server.sql(&format!("EXPLAIN {}", members.replace(" IN ", " NOT IN ")));
    assert!(shown.contains("Anti Join") && shown.matches("SubPlan").count() <= 1, "{shown}");
    // What runs without a query plan says what it did, too.
    let shown = server.sql("EXPLAIN ANALYZE SELECT * FROM note WHERE id = 1");
    let first = shown.lines().next().unwrap_or_default();
    assert!(first.contains("(actual time=") && first.ends_with(" rows=1)"), "{shown}");
    // Of statements that carry a query it is the query, and nothing of it runs.
    let plan = server.sql("EXPLAIN SELECT * FROM note n, other o WHERE n.n < o.id");
    for carrier in ["DECLARE c CURSOR FOR", "CREATE TABLE made AS", "CREATE TABLE IF NOT EXISTS made AS"] {
        let shown = server.sql(&format!("EXPLAIN {carrier} SELECT * FROM note n, other o WHERE n.n < o.id"));
        assert_eq!(shown, plan, "{carrier}");
    }
    assert_eq!(
        server.sql("SELECT to_regclass('made') IS NULL, (SELECT count(*) FROM pg_cursors WHERE name = 'c')"),
        "t|0"
    );
    assert_eq!(server.sql("EXPLAIN CREATE TABLE IF NOT EXISTS note AS SELECT 1"), "");
    // Nothing of how plans are made inside, whatever the statement.
    for statement in [
        "SELECT * FROM note n, other o WHERE n.n < o.id",
        "SELECT * FROM note WHERE id IN (SELECT note_id FROM other)",
        "SELECT text || 'x', count(DISTINCT n) FROM note GROUP BY 1",
        "SELECT *, rank() OVER (PARTITION BY text ORDER BY d DESC) FROM note ORDER BY u + id",
        "SELECT * FROM note WHERE CASE WHEN u > 1 THEN true ELSE false END AND coalesce(text, 'x') = 'y'",
        "WITH c AS MATERIALIZED (SELECT text, n FROM note) SELECT * FROM c a JOIN c b ON a.n = b.n WHERE a.text = 'z'",
    ] {
        let shown = server.sql(&format!("SET stratos.direct_queries = off; EXPLAIN {statement}"));
        assert!(!shown.contains(['@', '#']) && !shown.contains("..."), "{statement}\n{shown}");
    }
}

#[test]
fn a_database_postgres_is_there() {
    let node = Node::start();
    assert_eq!(
        node.server()
            .sql("SELECT datname FROM pg_database ORDER BY 1; SELECT inet_server_port() > 0, inet_client_addr()"),
        "postgres\nstratos\ntemplate0\ntemplate1\nt|127.0.0.1"
    );
    // What new databases begin as can be named, and is left alone.
    let server = node.server();
    server.sql("CREATE DATABASE made TEMPLATE template0");
    for (statement, state) in [
        ("DROP DATABASE template1", "42809"),
        ("CREATE DATABASE template0", "42P04"),
        ("CREATE DATABASE other TEMPLATE nosuch", "3D000"),
    ] {
        let output = server.psql(&["-v", "VERBOSITY=sqlstate", "-qc", statement]);
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), format!("ERROR:  {state}"), "{statement}");
    }
    let refused = server.database("template0").psql(&["-c", "SELECT 1"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not currently accepting connections"));
    let described = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'public'";
    for database in ["stratos", "postgres", "made"] {
        assert_eq!(server.database(database).sql(described), "standard public schema");
    }
    let server = node.server().database("postgres");
    server.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    assert_eq!(server.sql("SELECT current_database(), count(*) FROM t"), "postgres|1");
    assert_eq!(node.server().sql("SELECT count(*) FROM pg_class WHERE relname = 't'"), "0");
}
