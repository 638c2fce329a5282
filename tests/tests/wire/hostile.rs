//! What only a broken or hostile client sends, and clients that stop in the middle: the node stays up, and others notice nothing.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, bind, execute, frame, packet, parse, query, sync};
use stratos_tests::node::Node;

/// More than the default limit on messages (256 MiB).
const OVERSIZED_BYTES: i32 = 1 << 30;

/// Sessions that a node may have, and connections that say nothing: more than it has places for.
const SESSIONS: usize = 20;
const SILENT: usize = 200;

/// Another session notices nothing.
fn others_work(server: &Server) {
    assert_eq!(Frames::connect(server).kinds(&query("SELECT 1")), "TDCZI");
}

pub fn malformed(server: &Server) {
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
pub fn garbage(server: &Server) {
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

pub fn bad_text(server: &Server) {
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

/// Clients that stop in the middle hold up nobody.
pub fn half_open(server: &Server) {
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

/// Any number of connections that say nothing, or not enough, leaves room for those that do: on both ports.
#[test]
fn silence_locks_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::configured(&dir.path().join("data"), &format!("connections_max = {SESSIONS}"));
    let server = node.server();
    let mut kept = Frames::connect(server);
    let start = packet(3 << 16, b"user\0stratos\0");
    let mut silent = Vec::new();
    let mut silent_pages = Vec::new();
    for i in 0..SILENT {
        let mut frames = Frames::raw(server);
        frames.send(&start[..i % 9]);
        silent.push(frames);
        silent_pages.push(TcpStream::connect(node.http_addr()).unwrap());
    }
    // They may be silent for half a minute.
    let asked = Instant::now();
    for _ in 0..3 {
        others_work(server);
        assert_eq!(node.http("/healthz").0, "HTTP/1.1 200 OK");
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "clients waited {:?} behind silent ones", asked.elapsed());
    assert!(node.http("/metrics").1.contains("stratos_connections_crowded_out_total"));
    // Who is authenticated stays, and only so many are.
    assert_eq!(kept.kinds(&query("SELECT 1")), "TDCZI");
    let mut others: Vec<Frames> = (1..SESSIONS).map(|_| Frames::connect(server)).collect();
    let (_, said) = Frames::start(server, &[]);
    assert_eq!(said.iter().find_map(|m| m.field(b'C')).as_deref(), Some("53300"));
    for other in &mut others {
        assert_eq!(other.kinds(&query("SELECT 1")), "TDCZI");
    }
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
