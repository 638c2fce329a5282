//! The wire, byte by byte: what drivers rely on, and what only a broken or hostile client sends.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

mod implicit;
mod login;
mod portals;
mod privileges;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stratos_tests::client::{Server, rows, sqlstate};
use stratos_tests::frames::{Frames, bind, close, describe, execute, frame, packet, parse, query, sync};
use stratos_tests::node::{Node, run, stratos};
use stratos_tests::postgres::Postgres;

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// More than the default limit on messages (256 MiB).
const OVERSIZED_BYTES: i32 = 1 << 30;

/// Another session notices nothing.
fn others_work(server: &Server) {
    assert_eq!(Frames::connect(server).kinds(&query("SELECT 1")), "TDCZI");
}

fn pipelining(server: &Server) {
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

fn row_limits(server: &Server) {
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

/// Waits until a session runs a statement.
fn is_active(server: &Server, pid: i32) {
    let until = Instant::now() + Duration::from_secs(30);
    while server.sql(&format!("SELECT state FROM pg_stat_activity WHERE pid = {pid}")) != "active" {
        assert!(Instant::now() < until, "session {pid} runs nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn cancel(server: &Server) {
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

fn negotiation(server: &Server) {
    let mut frames = Frames::raw(server);
    frames.send(&packet(GSS_REQUEST, &[]));
    assert_eq!(frames.byte(), Some(b'N'));
    frames.send(&packet(SSL_REQUEST, &[]));
    assert_eq!(frames.byte(), Some(b'S'));
    // Something that is no TLS handshake.
    frames.try_send(b"hello, is this TLS?\r\n\r\n");
    frames.until_closed();
    // Bytes behind the request in the clear are refused (CVE-2021-23214).
    let mut frames = Frames::raw(server);
    frames.send(&[packet(SSL_REQUEST, &[]), query("SELECT 1")].concat());
    assert!(!frames.until_closed().contains(&b'T'));
    // An encrypted session by libpq.
    let uri = format!("{}?sslmode=require", server.uri());
    let output = server.psql(&["-d", &uri, "-qAtc", "SELECT 'encrypted'"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "encrypted", "{output:?}");
    let uri = format!("{}?sslmode=disable", server.uri());
    let output = server.psql(&["-d", &uri, "-qAtc", "SELECT 'plain'"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "plain", "{output:?}");
}

fn negotiation_without_tls(server: &Server) {
    let mut frames = Frames::raw(server);
    frames.send(&packet(SSL_REQUEST, &[]));
    assert_eq!(frames.byte(), Some(b'N'));
    // A server that is built with GSSAPI takes the offer.
    frames.send(&packet(GSS_REQUEST, &[]));
    assert!(matches!(frames.byte(), Some(b'N' | b'G')));
}

fn malformed(server: &Server) {
    let starts: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0; 64],
        &[0xff; 64],
        &[0, 0, 0, 8, 0, 2, 0, 0],
        &[0, 0, 0, 9, 0, 3, 0, 0, 0],
        &[0, 0, 0, 12, 0, 3, 0, 0, b'u', b's', b'e', b'r'],
        &[0x16, 3, 1, 0, 200, 1, 0, 0],
    ];
    for start in starts {
        let mut frames = Frames::raw(server);
        frames.try_send(start);
        frames.finish();
        frames.until_closed();
    }
    others_work(server);

    // A database and a role that are not there.
    for (user, database, state) in [("stratos", "nowhere", "3D000"), ("nobody", "stratos", "28000")] {
        let mut frames = Frames::raw(server);
        let body = format!("user\0{user}\0database\0{database}\0\0");
        frames.send(&packet(3 << 16, body.as_bytes()));
        let error = frames.until_ready().into_iter().find(|m| m.kind == 'E').unwrap();
        assert_eq!(error.field(b'C').as_deref(), Some(state));
        assert_eq!(error.field(b'S').as_deref(), Some("FATAL"));
    }

    // After the start: an unknown kind, lengths that lie.
    let messages: [&[u8]; 5] =
        [b"!\0\0\0\x04", b"Q\0\0\0\0", b"Q\xff\xff\xff\xff", &frame(b'p', b"x\0"), &frame(b'S', &[0; 20_000])];
    for message in messages {
        let mut frames = Frames::connect(server);
        frames.try_send(message);
        frames.finish();
        let said = frames.until_closed();
        assert!(said.is_empty() || said[0] == b'E', "{message:?}: {said:?}");
    }
    others_work(server);

    // Bodies that end too early, or too late: an error, and the session goes on behind the message.
    let mut frames = Frames::connect(server);
    for (kind, body) in [(b'Q', &b"SELECT "[..]), (b'Q', b"SELECT 1\0 + 1\0"), (b'Q', b""), (b'F', b"")] {
        let kinds = frames.kinds(&frame(kind, body));
        assert!(kinds == "E(08P01)ZI" || kind == b'F' && kinds == "E(0A000)ZI", "{kind} {body:?}: {kinds}");
    }
    assert_eq!(frames.kinds(&[parse("", "SELECT $1::text"), sync()].concat()), "1ZI");
    for (kind, body) in [
        (b'P', &b"no end"[..]),
        (b'P', b"\0SELECT 1\0\0\x02\0\0\0\x17"),
        (b'B', b"\0\0\0\0\0\x01\0\0\0\x09a"),
        (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        (b'B', b"\0\0\0\0\0\x01\0\0\0\x01a\0\0extra"),
        (b'E', b""),
        (b'E', b"\0\0\0"),
        (b'D', b"X\0"),
        (b'C', b"X\0"),
        (b'H', b"more"),
    ] {
        // Whatever else was pipelined is skipped.
        let kinds = frames.kinds(&[frame(kind, body), parse("", "SELECT 1"), sync()].concat());
        assert_eq!(kinds, "E(08P01)ZI", "{kind} {body:?}");
    }
    // Even a broken Sync is one.
    assert_eq!(frames.kinds(&frame(b'S', b"more")), "E(08P01)ZI");
    assert_eq!(frames.kinds(&[bind("", "", &["x"]), execute("", 0), sync()].concat()), "2DCZI");
    // What belongs to a COPY that is not going on is ignored.
    let strays = [frame(b'f', b"x\0"), frame(b'c', b""), frame(b'd', b"x"), sync()];
    assert_eq!(frames.kinds(&strays.concat()), "ZI");

    // An error, not an allocation, for a message that claims a gigabyte.
    let mut frames = Frames::connect(server);
    let mut head = vec![b'Q'];
    head.extend(OVERSIZED_BYTES.to_be_bytes());
    frames.try_send(&head);
    frames.try_send(&[b' '; 1 << 16]);
    frames.finish();
    let said = frames.until_closed();
    assert!(said.is_empty() || said[0] == b'E', "{said:?}");
    others_work(server);
}

/// Random frames: the session may end, the node may not.
fn garbage(server: &Server) {
    let kinds = prop::sample::select(b"QPBDECHSFdcfpX!".to_vec());
    let frames = prop::collection::vec((kinds, prop::collection::vec(any::<u8>(), 0..64)), 1..8);
    let config = Config {
        cases: if stratos_tests::long() { 2000 } else { 100 },
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&frames, |frames| {
            let mut connection = Frames::connect(server);
            for (kind, body) in &frames {
                if !connection.try_send(&frame(*kind, body)) {
                    break;
                }
            }
            connection.finish();
            connection.until_closed();
            Ok(())
        })
        .unwrap();
    others_work(server);
}

fn bad_text(server: &Server) {
    let mut frames = Frames::connect(server);
    // Invalid UTF-8 in a query and in a parameter; a zero byte in a parameter.
    assert_eq!(frames.kinds(&frame(b'Q', b"SELECT '\xff\xfe'\0")), "E(22021)ZI");
    let mut body = b"\0\0\0\0\0\x01\0\0\0\x02\xff\xfe\0\0".to_vec();
    let bound = frame(b'B', &body);
    assert_eq!(frames.kinds(&[parse("", "SELECT $1::text"), bound, sync()].concat()), "1E(22021)ZI");
    body[10..12].copy_from_slice(b"a\0");
    let bound = frame(b'B', &body);
    assert_eq!(frames.kinds(&[parse("", "SELECT $1::text"), bound, sync()].concat()), "1E(22021)ZI");

    // More placeholders than a Bind message can carry.
    let many: Vec<String> = (1..=100_000).map(|n| format!("${n}")).collect();
    let sql = format!("SELECT 1 WHERE 1 IN ({})", many.join(","));
    let kinds = frames.kinds(&[parse("", &sql), sync()].concat());
    assert_eq!(kinds, "E(42P02)ZI");
    // As many as it can.
    let many: Vec<String> = (1..=65_535).map(|n| format!("${n}::int4")).collect();
    let sql = format!("SELECT 1 WHERE 65535 IN ({})", many.join(","));
    let values: Vec<String> = (1..=65_535).map(|n| n.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let kinds = frames.kinds(&[parse("", &sql), bind("", "", &values), execute("", 0), sync()].concat());
    assert_eq!(kinds, "12DCZI");

    // Deep nesting is an error, not a crash.
    for (open, inner, shut) in [
        ("(", "1", ")"),
        ("- ", "1", ""),
        ("NOT ", "true", ""),
        ("ARRAY[", "1", "]"),
        ("CASE WHEN true THEN ", "1", " END"),
    ] {
        let sql = format!("SELECT {}{inner}{}", open.repeat(50_000), shut.repeat(50_000));
        let kinds = frames.kinds(&query(&sql));
        assert_eq!(kinds, "E(54001)ZI", "{open}");
    }
    let sql = format!("SELECT {}1{}", "(SELECT ".repeat(5_000), ")".repeat(5_000));
    assert_eq!(frames.kinds(&query(&sql)), "E(54001)ZI");
    // Where the parser has several ways to read each level, also far from every limit, and with the error found last.
    for (depth, inner) in [(495, "1"), (500, "1"), (60, "1 2"), (450, "1 2")] {
        let sql = format!("SELECT {}{inner}{}", "ARRAY[".repeat(depth), "]".repeat(depth));
        assert_eq!(frames.kinds(&query(&sql)), "E(54001)ZI", "{depth} {inner}");
    }
    let sql = format!("SELECT * FROM {}a{}", "((SELECT * FROM ".repeat(100), ") x CROSS JOIN t)".repeat(100));
    assert_eq!(frames.kinds(&query(&sql)), "E(54001)ZI");
    let sql = format!("SELECT 1 << {}'1'", "INTERVAL ".repeat(100_000));
    assert_eq!(frames.kinds(&query(&sql)), "E(54001)ZI");
    let sql = format!("SELECT 1{}", " + 1".repeat(50_000));
    assert_eq!(frames.kinds(&query(&sql)), "E(54001)ZI");
    // Long chains inside of each other.
    let sql = format!("SELECT {}1{}", "(".repeat(100), format!("{})", " + 1".repeat(1_000)).repeat(100));
    assert_eq!(frames.kinds(&query(&sql)), "E(54001)ZI");
    // Values that do not fit anywhere.
    for sql in [
        "SELECT repeat('x', 2000000000)",
        "SELECT repeat('x', 200000000) || repeat('y', 200000000)",
        "SELECT replace(repeat('x', 1000000), 'x', repeat('y', 1000000))",
        "SELECT regexp_replace(repeat('x', 100000), 'x', repeat('y', 100000), 'g')",
    ] {
        assert_eq!(frames.kinds(&query(sql)).replace('T', ""), "E(54000)ZI", "{sql}");
    }
    others_work(server);
    assert_eq!(frames.kinds(&query("SELECT 1")), "TDCZI");
}

/// Long statements are planned in a time that grows with their length, and nobody else waits for it.
fn long_statements(server: &Server) {
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

/// Clients that stop in the middle hold up nobody.
fn half_open(server: &Server) {
    let mut idle: Vec<Frames> = (0..20).map(|_| Frames::raw(server)).collect();
    for (i, frames) in idle.iter_mut().enumerate() {
        frames.send(&packet(3 << 16, b"user\0stratos\0")[..i % 12]);
    }
    // One that asks for much and reads nothing.
    let mut slow = Frames::connect(server);
    slow.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"));
    let mut half = Frames::connect(server);
    half.send(&query("SELECT 1")[..6]);
    for _ in 0..20 {
        others_work(server);
    }
    if stratos_tests::long() {
        gives_up_on_who_takes_nothing(server, &slow);
    }
    // One that vanishes inside a transaction lets its locks go.
    let mut gone = Frames::connect(server);
    gone.kinds(&query("CREATE TABLE vanished (a int PRIMARY KEY)"));
    gone.kinds(&query("INSERT INTO vanished VALUES (1)"));
    assert_eq!(gone.kinds(&query("BEGIN; DELETE FROM vanished")), "CCZT");
    drop(gone);
    assert_eq!(server.sql("SET statement_timeout = '30s'; DELETE FROM vanished RETURNING a"), "1");
}

/// A client that takes nothing at all is given up after two minutes; one that takes little stays.
fn gives_up_on_who_takes_nothing(server: &Server, stuck: &Frames) {
    let mut moving = Frames::connect(server);
    moving.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"));
    let until = Instant::now() + Duration::from_secs(240);
    let open = |pid: i32| server.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}"));
    while open(stuck.key.0) != "0" {
        assert!(Instant::now() < until, "a client that takes nothing is still served");
        for _ in 0..200 {
            assert!(moving.message().is_some(), "a client that reads slowly was sent away");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(open(moving.key.0), "1");
}

async fn timeouts(server: &Server) {
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

#[test]
fn a_node_and_its_clients() {
    let mut node = Node::start();
    let server = node.server().clone();
    let mut failed = Vec::new();
    type Part = (&'static str, fn(&Server));
    let parts: [Part; 15] = [
        ("pipelining", pipelining),
        ("shapes", portals::shapes),
        ("portals", portals::portals),
        ("fetched", portals::fetched),
        ("implicit", implicit::implicit),
        ("privileges", privileges::privileges),
        ("startup", login::startup),
        ("row_limits", row_limits),
        ("cancel", cancel),
        ("negotiation", negotiation),
        ("malformed", malformed),
        ("garbage", garbage),
        ("bad_text", bad_text),
        ("long_statements", long_statements),
        ("half_open", half_open),
    ];
    for (name, part) in parts {
        // The parts are independent: what one finds should not hide what the next would.
        if std::panic::catch_unwind(|| part(&server)).is_err() {
            failed.push(name);
        }
        assert!(node.alive(), "{name} ended the node: {}", node.log());
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(timeouts(&server));
    assert_eq!(node.http("/healthz").0, "HTTP/1.1 200 OK");
    assert_eq!(node.http("/readyz").0, "HTTP/1.1 200 OK");
    assert!(node.http("/metrics").1.contains("stratos_sql_connections_total"));
    assert!(failed.is_empty(), "failed: {failed:?}");
    assert!(!node.log().contains("panicked"), "{}", node.log());
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));
}

/// What the parts expect is not our opinion.
#[test]
fn postgres_agrees() {
    let postgres = Postgres::start();
    let parts: [fn(&Server); 11] = [
        pipelining,
        portals::shapes,
        portals::portals,
        portals::fetched,
        implicit::implicit,
        privileges::privileges,
        login::startup,
        row_limits,
        cancel,
        negotiation_without_tls,
        malformed,
    ];
    for part in parts {
        part(postgres.server());
    }
    tokio::runtime::Runtime::new().unwrap().block_on(timeouts(postgres.server()));
}

#[test]
fn passwords() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // The first password is set on a node that trusts loopback.
    let mut node = Node::dev(&data);
    node.server().sql("ALTER ROLE stratos PASSWORD 'correct horse'");
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));

    let config = dir.path().join("node.toml");
    let text = format!("data_dir = {data:?}\nsql_addr = \"127.0.0.1:0\"\nhttp_addr = \"127.0.0.1:0\"\n");
    std::fs::write(&config, text).unwrap();
    let node = Node::greeted(stratos(["start", "--config", config.to_str().unwrap()]), &data).unwrap();
    let with = |password: Option<&str>| Server { password: password.map(str::to_owned), ..node.server().clone() };
    assert_eq!(with(Some("correct horse")).sql("SELECT 1"), "1");
    for wrong in [Some("wrong"), Some(""), None] {
        let output = with(wrong).psql(&["-wc", "SELECT 1"]);
        assert!(!output.status.success(), "{wrong:?}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        rows(&with(Some("correct horse")).connect().await, "SELECT 1").await.unwrap();
        let error = with(Some("wrong")).try_connect().await.unwrap_err();
        assert_eq!(sqlstate(&error), "28P01");
        // Whether a role exists cannot be told from the answer.
        let nobody = Server { user: "nobody".into(), ..with(Some("wrong")) };
        assert_eq!(sqlstate(&nobody.try_connect().await.unwrap_err()), "28P01");
    });
    assert_eq!(with(Some("correct horse")).sql("SELECT 1"), "1");
}

#[test]
fn starts_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    node.server().sql("CREATE TABLE kept (a int PRIMARY KEY); INSERT INTO kept VALUES (7)");

    // A second node on the same data says so and ends.
    let dev = |data: &std::path::Path| {
        run(["dev", "--sql-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data", data.to_str().unwrap()])
    };
    let second = dev(&data);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_ne!(second.status.code(), Some(0));
    assert!(said.contains("in use") || said.contains("already"), "{said}");
    // As does one on the same address, and a check of a running node.
    let address = format!("127.0.0.1:{}", node.server().port);
    let other = dir.path().join("other");
    let taken = run(["dev", "--sql-addr", &address, "--http-addr", "127.0.0.1:0", "--data", other.to_str().unwrap()]);
    assert_ne!(taken.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&taken.stderr).contains(&address), "{taken:?}");
    assert_ne!(run(["check", "--data", data.to_str().unwrap()]).status.code(), Some(0));
    assert_eq!(node.server().sql("SELECT a FROM kept"), "7");

    // SIGTERM lets a running statement end.
    let server = node.server().clone();
    let running = std::thread::spawn(move || server.sql("SELECT 'ended' FROM pg_sleep(2)"));
    std::thread::sleep(Duration::from_millis(700));
    node.signal("TERM");
    assert_eq!(running.join().unwrap(), "ended");
    assert_eq!(node.wait(Duration::from_secs(30)).and_then(|status| status.code()), Some(0));

    // One that is still being planned does not hold up the stop, nor does a client that reads nothing.
    let mut node = Node::dev(&data);
    let tables: Vec<String> = (0..2_000).map(|n| format!("(SELECT 1 AS a) t{n}")).collect();
    let mut planned = Frames::connect(node.server());
    planned.send(&query(&format!("SELECT count(*) FROM {}", tables.join(", "))));
    let mut slow = Frames::connect(node.server());
    slow.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"));
    std::thread::sleep(Duration::from_millis(700));
    node.signal("TERM");
    assert_eq!(node.wait(Duration::from_secs(30)).and_then(|status| status.code()), Some(0));

    // What was written is there after a restart, also by SIGINT.
    let mut node = Node::dev(&data);
    assert_eq!(node.server().sql("SELECT a FROM kept"), "7");
    node.signal("INT");
    assert_eq!(node.wait(Duration::from_secs(30)).and_then(|status| status.code()), Some(0));
    let check = run(["check", "--data", data.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");

    // A data directory of a newer format is refused.
    let format = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let format = format.filter(|path| path.is_file() && path.to_string_lossy().to_lowercase().contains("format"));
    let format: Vec<_> = format.collect();
    let [format] = format.as_slice() else { panic!("which file says the format? {format:?}") };
    let text = std::fs::read_to_string(format).unwrap();
    let newer: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    std::fs::write(format, newer).unwrap();
    let refused = dev(&data);
    assert_ne!(refused.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("format"), "{refused:?}");
    std::fs::write(format, text).unwrap();
    assert_eq!(Node::dev(&data).server().sql("SELECT a FROM kept"), "7");

    // Directories that cannot be used.
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for bad in [file.clone(), file.join("below"), "/proc/nowhere".into()] {
        let refused = dev(&bad);
        assert_ne!(refused.status.code(), Some(0), "{bad:?}");
        assert!(!String::from_utf8_lossy(&refused.stderr).contains("panicked"), "{refused:?}");
    }
    assert_ne!(run(["check", "--data", "/nowhere"]).status.code(), Some(0));
}

#[test]
fn the_command_line() {
    for (args, expected) in [
        (vec!["version"], "stratos 0."),
        (vec!["--help"], "dev"),
        (vec!["dev", "--help"], "--sql-addr"),
        (vec!["start", "--help"], "--config"),
        (vec!["check", "--help"], "--data"),
        (vec!["config"], "sql_addr"),
    ] {
        let output = run(&args);
        assert!(output.status.success(), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(expected), "{args:?}: {output:?}");
    }
    for args in
        [vec!["nothing"], vec!["start"], vec!["start", "--config", "/nowhere.toml"], vec!["dev", "--sql-addr", "x"]]
    {
        assert!(!run(&args).status.success(), "{args:?}");
    }
}
