//! Results are streams: neither side holds the whole of one, and the first row does not wait for the last.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::time::{Duration, Instant};

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, bind, execute, parse, query, sync};
use stratos_tests::node::Node;

/// Rows of the large results.
const ROWS: u64 = 1_000_000;
/// Bytes of a row's text, so that a whole result is a multiple of what a node may keep of it.
const TEXT_BYTES: u64 = 300;
/// Memory that a node may take more while it sends a result of `ROWS * TEXT_BYTES` (300 MB), in kB.
const GROWTH_KB_MAX: u64 = 100 << 10;
/// Rows of the stored table; building it is the slow part.
const TABLE_ROWS: u64 = 200_000;

/// A figure of /proc/PID/status in kB.
fn status_kb(node: &Node, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs `work`; by how much the memory was above its size before, at its highest.
fn growth_kb(node: &Node, work: impl FnOnce()) -> u64 {
    // 5 sets the highest mark back to the present size.
    std::fs::write(format!("/proc/{}/clear_refs", node.id()), "5").unwrap();
    let before = status_kb(node, "VmRSS");
    work();
    status_kb(node, "VmHWM").saturating_sub(before)
}

/// Takes all rows of a query; how many, and how long the first one took of the whole time.
fn take(server: &Server, sql: &str) -> (u64, Duration, Duration) {
    let mut frames = Frames::connect(server);
    let asked = Instant::now();
    frames.send(&query(sql));
    let (mut rows, mut first) = (0, Duration::ZERO);
    while let Some(message) = frames.message() {
        match message.kind {
            'D' if rows == 0 => (rows, first) = (1, asked.elapsed()),
            'D' => rows += 1,
            'E' => panic!("{sql}: {:?}", message.field(b'M')),
            'Z' => break,
            _ => {}
        }
    }
    (rows, first, asked.elapsed())
}

#[test]
fn large_results_are_streams() {
    let mut node = Node::start();
    let server = node.server().clone();
    server.sql("CREATE TABLE streamed (a int PRIMARY KEY, t text)");
    for part in 0..4 {
        let (from, to) = (part * TABLE_ROWS / 4, (part + 1) * TABLE_ROWS / 4 - 1);
        server.sql(&format!(
            "INSERT INTO streamed SELECT g, repeat('x', {TEXT_BYTES}) FROM generate_series({from}, {to}) g"
        ));
    }
    take(&server, "SELECT g, repeat('x', 300) FROM generate_series(1, 20000) g");

    let generated = format!("SELECT g, repeat('x', {TEXT_BYTES}) FROM generate_series(1, {ROWS}) g");
    let stored = "SELECT a, t, t, t, t, t FROM streamed";
    for (sql, expected) in [(generated.as_str(), ROWS), (stored, TABLE_ROWS)] {
        // Once before, so that what a node keeps of a table in its caches is there already.
        take(&server, sql);
        let mut taken = None;
        let growth = growth_kb(&node, || taken = Some(take(&server, sql)));
        let (rows, first, whole) = taken.unwrap();
        println!("{sql}: {rows} rows in {whole:?}, the first after {first:?}, {growth} kB more memory");
        assert_eq!(rows, expected, "{sql}");
        assert!(growth < GROWTH_KB_MAX, "{sql}: {growth} kB more memory");
        assert!(first < whole / 4, "{sql}: the first row came after {first:?} of {whole:?}");
    }

    // Readers that stop reading, and portals that are asked for little, hold a few rows each.
    let growth = growth_kb(&node, || {
        let mut slow = Vec::new();
        for _ in 0..5 {
            let mut frames = Frames::connect(&server);
            frames.send(&query(&generated));
            for _ in 0..100 {
                frames.message().unwrap();
            }
            slow.push(frames);
        }
        let mut limited = Frames::connect(&server);
        let start = [parse("", &generated), bind("p", "", &[])].concat();
        assert_eq!(limited.kinds(&[query("BEGIN"), start].concat()), "CZT");
        for _ in 0..10 {
            let kinds = limited.kinds(&[execute("p", 5), sync()].concat());
            assert!(kinds.ends_with("DDDDDsZT"), "{kinds}");
        }
        limited.kinds(&query("DECLARE c CURSOR FOR SELECT a, t FROM streamed"));
        assert_eq!(limited.kinds(&query("FETCH 3 FROM c")), "TDDDCZT");
        for _ in 0..50 {
            let asked = Instant::now();
            assert_eq!(server.sql("SELECT count(*) FROM streamed WHERE a = 7"), "1");
            assert!(asked.elapsed() < Duration::from_secs(10), "a slow reader holds up others");
        }
    });
    println!("slow readers: {growth} kB more memory");
    assert!(growth < GROWTH_KB_MAX, "slow readers: {growth} kB more memory");
    // The slow readers have gone; nothing keeps the node from stopping.
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));
}
