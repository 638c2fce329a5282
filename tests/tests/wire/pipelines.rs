//! Statements that come before the answers to those before them, and portals that give their rows bit by bit.

use std::time::{Duration, Instant};

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, bind, close, describe, execute, frame, parse, query, sync};

pub fn pipelining(server: &Server) {
    let mut frames = Frames::connect(server);
    // A whole pipeline in one packet is answered in order.
    let pipeline =
        [parse("", "SELECT $1::int4 + 1"), bind("", "", &["41"]), describe(b'P', ""), execute("", 0), sync()];
    frames.send(&pipeline.concat());
    let messages = frames.until_ready();
    let kinds: String = messages.iter().map(|m| m.kind).collect();
    assert_eq!(kinds, "12TDCZ");
    assert_eq!(messages[3].columns(), [Some(b"42".to_vec())]);

    // After an error everything up to Sync is skipped; after it the session goes on.
    let broken = [
        parse("", "SELECT 1/g FROM generate_series(0, $1::int4) g"),
        bind("", "", &["0"]),
        execute("", 0),
        parse("", "SELECT 2"),
        bind("", "", &[]),
        execute("", 0),
        sync(),
        parse("", "SELECT 3"),
        bind("", "", &[]),
        execute("", 0),
        sync(),
    ];
    assert_eq!(frames.kinds(&broken.concat()), "12E(22012)ZI");
    let rest: String = frames.until_ready().iter().map(|m| m.kind).collect();
    assert_eq!(rest, "12DCZ");

    // What one pipeline does up to Sync is one transaction.
    assert_eq!(frames.kinds(&query("CREATE TABLE piped (a int PRIMARY KEY)")), "CZI");
    let insert =
        |value: &str| [parse("", "INSERT INTO piped VALUES ($1)"), bind("", "", &[value]), execute("", 0)].concat();
    assert_eq!(frames.kinds(&[insert("1"), insert("2"), insert("1"), sync()].concat()), "12C12C12E(23505)ZI");
    assert_eq!(server.sql("SELECT count(*) FROM piped"), "0");
    assert_eq!(frames.kinds(&[insert("1"), insert("2"), sync()].concat()), "12C12CZI");
    assert_eq!(server.sql("SELECT count(*) FROM piped"), "2");

    // Several statements in one query are one transaction too.
    assert_eq!(frames.kinds(&query("INSERT INTO piped VALUES (3); INSERT INTO piped VALUES (3)")), "CE(23505)ZI");
    assert_eq!(server.sql("SELECT count(*) FROM piped"), "2");
    assert_eq!(frames.kinds(&query("")), "IZI");
    // No columns is not no rows.
    assert_eq!(frames.kinds(&query("SELECT")), "TDCZI");
    assert_eq!(frames.kinds(&query("BEGIN; SELECT 1/0; SELECT 1")).replace('T', ""), "CE(22012)ZE");
    assert_eq!(frames.kinds(&query("SELECT 1")), "E(25P02)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK")), "CZI");

    // Statements and portals that are not there, and a name that is taken.
    assert_eq!(frames.kinds(&[bind("", "nowhere", &[]), sync()].concat()), "E(26000)ZI");
    assert_eq!(frames.kinds(&[execute("nowhere", 0), sync()].concat()), "E(34000)ZI");
    assert_eq!(frames.kinds(&[parse("s", "SELECT 1"), parse("s", "SELECT 1"), sync()].concat()), "1E(42P05)ZI");
    assert_eq!(frames.kinds(&[close(b'S', "s"), close(b'S', "never"), sync()].concat()), "33ZI");
    assert_eq!(frames.kinds(&[parse("", "SELECT $1::int4"), bind("", "", &[]), sync()].concat()), "1E(08P01)ZI");
    assert_eq!(frames.kinds(&[parse("", "SELECT 1; SELECT 2"), sync()].concat()), "E(42601)ZI");
    assert_eq!(frames.kinds(&[parse("", "SELECT $1::int4"), describe(b'S', ""), sync()].concat()), "1tTZI");
    // A parameter has one type, however often it stands there.
    for (sql, kinds) in [
        ("SELECT $1::int4, $1::text", "1ZI"),
        ("INSERT INTO piped VALUES ($1), ($1 + 1)", "1ZI"),
        ("SELECT $1 || $1::int4", "E(42P08)ZI"),
        ("SELECT COALESCE($1, $1, 1) + $1", "1ZI"),
        ("SELECT CASE WHEN $1 = 1 THEN $1 ELSE $1 + 1.5 END", "1ZI"),
        ("SELECT 1 WHERE 1 IN ($1, $1) AND 2 BETWEEN $1 AND $1", "1ZI"),
    ] {
        assert_eq!(frames.kinds(&[parse("", sql), sync()].concat()), kinds, "{sql}");
    }
    frames.kinds(&query("CREATE TABLE typed (a float8, b int4, c text)"));
    for (sql, kinds) in [
        ("INSERT INTO typed VALUES ($1, $1)", "E(42P08)ZI"),
        ("INSERT INTO typed (b, c) VALUES ($1, $1::text)", "E(42P08)ZI"),
        ("INSERT INTO typed (a) VALUES ($1), ($1)", "1ZI"),
        ("INSERT INTO typed (b) VALUES ($1) ON CONFLICT DO NOTHING RETURNING b = $1", "1ZI"),
        ("UPDATE typed SET a = $1 WHERE b = $1", "1ZI"),
    ] {
        assert_eq!(frames.kinds(&[parse("", sql), sync()].concat()), kinds, "{sql}");
    }
    assert_eq!(frames.kinds(&[parse("", "SET work_mem TO '8MB'"), describe(b'S', ""), sync()].concat()), "1tnZI");
}

pub fn row_limits(server: &Server) {
    let mut frames = Frames::connect(server);
    let start = [parse("", "SELECT g FROM generate_series(1, 5) g"), bind("p", "", &[]), execute("p", 2)];
    let rest = [execute("p", 2), execute("p", 2), execute("p", 2), sync()];
    assert_eq!(frames.kinds(&[start.concat(), rest.concat()].concat()), "12DDsDDsDCCZI");
    // Outside of a transaction block, Sync ends the portal.
    assert_eq!(frames.kinds(&[execute("p", 2), sync()].concat()), "E(34000)ZI");
    assert_eq!(frames.kinds(&query("BEGIN")), "CZT");
    assert_eq!(frames.kinds(&[start.concat(), sync()].concat()), "12DDsZT");
    assert_eq!(frames.kinds(&[execute("p", 0), sync()].concat()), "DDDCZT");
    assert_eq!(frames.kinds(&query("COMMIT")), "CZI");
    assert_eq!(frames.kinds(&[execute("p", 0), sync()].concat()), "E(34000)ZI");
}

/// A pipeline is answered when its client asks: some count on hearing nothing before.
pub fn silent_until_asked(server: &Server) {
    const PATIENCE: Duration = Duration::from_millis(300);
    const FLUSH: u8 = b'H';
    let mut frames = Frames::connect(server);
    let one = [parse("", "SELECT 1"), bind("", "", &[]), execute("", 0)].concat();
    frames.send(&one);
    assert!(frames.is_silent(PATIENCE));
    frames.send(&frame(FLUSH, b""));
    let kinds: String = (0..4).filter_map(|_| frames.message()).map(|message| message.kind).collect();
    assert_eq!(kinds, "12DC");
    frames.send(&one);
    assert!(frames.is_silent(PATIENCE));
    assert_eq!(frames.kinds(&sync()), "12DCZI");
    // Errors, notices, the want of rows, and much that was said already do not wait.
    for (sql, kind) in [("SELECT 1/0", 'E'), ("COPY (SELECT 1) TO STDIN", 'H')] {
        frames.send(&[parse("", sql), bind("", "", &[]), execute("", 0)].concat());
        let heard = kind == 'E';
        assert_eq!(frames.is_silent(PATIENCE), !heard, "{sql}");
        assert!(frames.kinds(&sync()).contains(kind), "{sql}");
    }
    frames.kinds(&query("CREATE TEMP TABLE rows_wanted (a text)"));
    for sql in ["COPY rows_wanted FROM STDIN", "DROP TABLE IF EXISTS no_such_table", "SELECT repeat('x', 20000)"] {
        frames.send(&[parse("", sql), bind("", "", &[]), execute("", 0)].concat());
        assert!(!frames.is_silent(PATIENCE), "{sql}");
        let rest = if sql.starts_with("COPY") { [frame(b'c', b""), sync()].concat() } else { sync() };
        assert!(frames.kinds(&rest).ends_with("ZI"), "{sql}");
    }
}

/// What a pipeline has said up to a Sync is answered while what comes behind it still runs.
pub fn answered_at_each_sync(server: &Server) {
    const SLEEP: Duration = Duration::from_secs(3);
    let slow = format!("SELECT pg_sleep({})", SLEEP.as_secs());
    let extended = [parse("", "SELECT 1"), bind("", "", &[]), execute("", 0), sync()].concat();
    for first in [extended, query("SELECT 1")] {
        let mut frames = Frames::connect(server);
        let start = Instant::now();
        frames.send(&[first, query(&slow)].concat());
        assert!(frames.until_ready().iter().any(|message| message.kind == 'D'));
        assert!(start.elapsed() < SLEEP, "the answer waited for the next statement");
        frames.until_ready();
        assert!(start.elapsed() >= SLEEP);
    }
}
