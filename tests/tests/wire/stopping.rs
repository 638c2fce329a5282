//! Statements that are stopped, by a cancel request or because they are out of their time, and those that only take long.

use std::time::{Duration, Instant};

use stratos_tests::client::{Server, rows, sqlstate};
use stratos_tests::frames::{Frames, bind, execute, frame, packet, parse, query, sync};

const CANCEL_REQUEST: i32 = 80_877_102;

/// Waits until a session runs a statement.
fn is_active(server: &Server, pid: i32) {
    let until = Instant::now() + Duration::from_secs(30);
    while server.sql(&format!("SELECT state FROM pg_stat_activity WHERE pid = {pid}")) != "active" {
        assert!(Instant::now() < until, "session {pid} runs nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn cancel(server: &Server) {
    let mut frames = Frames::connect(server);
    let (pid, secret) = frames.key;
    let cancel = |secret: i32| {
        let mut canceller = Frames::raw(server);
        canceller.send(&packet(CANCEL_REQUEST, &[pid.to_be_bytes(), secret.to_be_bytes()].concat()));
        assert_eq!(canceller.until_closed(), b"");
    };
    // With the wrong secret nothing happens.
    cancel(secret.wrapping_add(1));
    for sql in ["SELECT pg_sleep(600)", "SELECT count(*) FROM generate_series(1, 100000000000) a"] {
        let begun = Instant::now();
        frames.send(&query(sql));
        is_active(server, pid);
        cancel(secret);
        assert_eq!(frames.kinds(&[]).replace('T', ""), "E(57014)ZI", "{sql}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{sql}");
    }
    // A blocked writer can be cancelled too.
    let mut holder = Frames::connect(server);
    holder.kinds(&query("CREATE TABLE cancelled (a int PRIMARY KEY, b int)"));
    holder.kinds(&query("INSERT INTO cancelled VALUES (1, 1)"));
    assert_eq!(holder.kinds(&query("BEGIN; UPDATE cancelled SET b = 2")), "CCZT");
    frames.send(&query("UPDATE cancelled SET b = 3 WHERE a = 1"));
    is_active(server, pid);
    cancel(secret);
    assert_eq!(frames.kinds(&[]), "E(57014)ZI");
    assert_eq!(holder.kinds(&query("COMMIT")), "CZI");
    // The next statement is not hit by an old request.
    assert_eq!(frames.kinds(&query("SELECT 1")), "TDCZI");
}

pub async fn timeouts(server: &Server) {
    let client = server.connect().await;
    client.batch_execute("SET statement_timeout = '200ms'").await.unwrap();
    assert_eq!(rows(&client, "SELECT pg_sleep(60)").await, Err("57014".into()));
    assert_eq!(rows(&client, "SELECT 1").await.unwrap(), [["1"]]);
    client.batch_execute("SET statement_timeout = 0").await.unwrap();
    client.batch_execute("SET lock_timeout = '200ms'").await.unwrap();
    let other = server.connect().await;
    other.batch_execute("CREATE TABLE timed (a int PRIMARY KEY); INSERT INTO timed VALUES (1)").await.unwrap();
    other.batch_execute("SET idle_in_transaction_session_timeout = '2s'").await.unwrap();
    other.batch_execute("BEGIN; UPDATE timed SET a = 2").await.unwrap();
    assert_eq!(rows(&client, "UPDATE timed SET a = 3").await, Err("55P03".into()));
    // The idle transaction is ended, its session with it, and its lock is free.
    client.batch_execute("SET lock_timeout = '30s'").await.unwrap();
    client.batch_execute("UPDATE timed SET a = 3").await.unwrap();
    let error = other.batch_execute("COMMIT").await.unwrap_err();
    assert!(other.is_closed() || sqlstate(&error) == "25P03", "{error}");
    assert_eq!(rows(&client, "SELECT a FROM timed").await.unwrap(), [["3"]]);

    // A schema change that takes long can be stopped.
    let mut frames = Frames::connect(server);
    let asked = Instant::now();
    let sql = format!("SET statement_timeout = '1s'; CREATE TABLE checked (a int{})", ", CHECK (a > 0)".repeat(20_000));
    assert_eq!(frames.kinds(&query(&sql)), "CE(57014)ZI");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());

    // Idle is who may say something new, not who is in the middle of it.
    let mut frames = Frames::connect(server);
    frames.kinds(&query("SET idle_session_timeout = '300ms'; SET idle_in_transaction_session_timeout = '300ms'"));
    frames.send(&[parse("", "SELECT 1"), bind("", "", &[]), execute("", 0), frame(b'H', b"")].concat());
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(frames.kinds(&sync()), "12DCZI");
    frames.send(&query("COPY timed FROM STDIN"));
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(frames.kinds(&[frame(b'd', b"7\n"), frame(b'c', b"")].concat()), "GCZI");
    let said: Vec<Option<String>> = std::iter::from_fn(|| frames.message()).map(|m| m.field(b'C')).collect();
    assert_eq!(said, [Some("57P05".to_owned())]);
}

/// A CTE that reads the one before it.
fn link(n: usize, how: &str) -> String {
    let before = n.checked_sub(1).map_or_else(|| "c".to_owned(), |before| format!("c{before}"));
    format!("c{n} AS {how} (SELECT a + 1 AS a FROM {before})")
}

/// Long statements are planned in a time that grows with their length, and nobody else waits for it.
pub fn long_statements(server: &Server) {
    let list = |count: usize, term: fn(usize) -> String, by: &str| (0..count).map(term).collect::<Vec<_>>().join(by);
    let numbers = list(20_000, |n| n.to_string(), ",");
    let rows = list(10_000, |n| format!("({n}, {n}, 'text {n}', {n}.5, true)"), ",");
    let statements = [
        "CREATE TABLE long (a int PRIMARY KEY, b int, c text, d numeric, e bool)".to_owned(),
        format!("INSERT INTO long VALUES {rows}"),
        format!("SELECT 1 WHERE 19999 IN ({numbers})"),
        format!("SELECT count(*) FROM long WHERE a IN ({numbers})"),
        format!("SELECT count(*) FROM long WHERE b NOT IN ({numbers})"),
        format!("SELECT count(*) FROM long WHERE d IN ({numbers})"),
        format!("SELECT 1 WHERE 19999 IN ({})", list(20_000, |n| format!("'{n}'::int4"), ",")),
        format!("SELECT count(*) FROM long WHERE {}", list(10_000, |n| format!("b <> {n}"), " AND ")),
        format!("SELECT count(*) FROM long WHERE {}", list(10_000, |n| format!("b = {n}"), " OR ")),
        format!("SELECT count(*) FROM long WHERE a < 10 AND ({})", list(2_000, |n| format!("b + {n} = 0"), " OR ")),
        format!("SELECT 1{}", " + 1".repeat(4_900)),
        format!("SELECT 'a'{}", " || 'b'".repeat(4_900)),
        format!("SELECT {}true", "NOT ".repeat(400)),
        format!("SELECT {}1{}", "(".repeat(400), ")".repeat(400)),
        format!("SELECT {}1{}", "(SELECT ".repeat(100), ")".repeat(100)),
        format!("SELECT count(*) FROM (SELECT 1{}) u", " UNION ALL SELECT 1".repeat(2_000)),
        format!("SELECT count(*) FROM (SELECT 1{}) u", " UNION SELECT 1".repeat(2_000)),
        format!("SELECT CASE b {} END FROM long WHERE a = 7", list(2_000, |n| format!("WHEN {n} THEN {n}"), " ")),
        format!("SELECT array_length(ARRAY[{numbers}], 1)"),
        // Of CTEs, each for itself, and each of the one before it.
        format!("WITH {} SELECT a FROM c4999", list(5_000, |n| format!("c{n} AS (SELECT {n} AS a)"), ",")),
        format!("WITH {} SELECT a FROM c3", list(1_000, |n| format!("c{n} AS MATERIALIZED (SELECT {n} AS a)"), ",")),
        format!("WITH c AS (SELECT 1 AS a), {} SELECT a FROM c299", list(300, |n| link(n, ""), ",")),
        format!("WITH c AS (SELECT 1 AS a), {} SELECT a FROM c299", list(300, |n| link(n, "MATERIALIZED"), ",")),
        format!("UPDATE long SET b = b + 1 WHERE a IN ({numbers})"),
        format!("DELETE FROM long WHERE d IN ({numbers})"),
    ];
    let done = std::sync::atomic::AtomicBool::new(false);
    /// Says so also when the test fails, lest the other session should ask for ever.
    struct Done<'a>(&'a std::sync::atomic::AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let ended = Done(&done);
        let other = scope.spawn(|| {
            let mut frames = Frames::connect(server);
            let mut slowest = Duration::ZERO;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let asked = Instant::now();
                assert_eq!(frames.kinds(&query("SELECT 1")), "TDCZI");
                slowest = slowest.max(asked.elapsed());
                std::thread::sleep(Duration::from_millis(10));
            }
            slowest
        });
        let mut frames = Frames::connect(server);
        for sql in &statements {
            let asked = Instant::now();
            let kinds = frames.kinds(&query(sql));
            assert!(kinds.ends_with("CZI"), "{}: {kinds}", &sql[..sql.len().min(80)]);
            // PostgreSQL takes a fraction of a second for each; the machine may be compiling.
            assert!(asked.elapsed() < Duration::from_secs(20), "{}: {:?}", &sql[..sql.len().min(80)], asked.elapsed());
        }
        drop(ended);
        let slowest = other.join().unwrap();
        assert!(slowest < Duration::from_secs(5), "another session waited {slowest:?}");
    });
    // Planning can be stopped, and does not stop the node from stopping: see `starts_and_stops`.
    let mut frames = Frames::connect(server);
    let tables = list(1_000, |n| format!("(SELECT 1 AS a) t{n}"), ", ");
    let sql = format!("SET statement_timeout = '1s'; SELECT count(*) FROM {tables}");
    let asked = Instant::now();
    let kinds = frames.kinds(&query(&sql));
    assert!(kinds == "CE(57014)ZI" || kinds == "CTDCZI", "{kinds}");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}
