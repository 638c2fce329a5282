//! Broken streams of messages against a node: it may refuse them and close, it may not panic, hang, answer with what is no
//! message, or let other sessions notice.
//!
//! `STRATOS_FUZZ_SEED` replays a run, `STRATOS_FUZZ_CASES` sets its length; a failure prints both and the case.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, query};
use stratos_tests::mutate::{Case, case};
use stratos_tests::node::Node;

const CASES: u64 = 2_000;
const CASES_LONG: u64 = 200_000;
/// Cases that run at the same time.
const CLIENTS: u64 = 4;
/// Longest that another session may wait for the answer to a trivial question. The machine may be compiling.
const PATIENCE: Duration = Duration::from_secs(10);

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Whether bytes of the server are whole messages of kinds that it may send.
fn is_well_formed(mut said: &[u8]) -> bool {
    while let Some((head, rest)) = said.split_first_chunk::<5>() {
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let Ok(length) = usize::try_from(length) else { return false };
        if !b"12357ACDEGHIKNRSTVWZcdnstv".contains(&head[0]) || length < 4 || rest.len() < length - 4 {
            return false;
        }
        said = &rest[length - 4..];
    }
    said.is_empty()
}

fn run(server: &Server, number: u64, case: &Case) {
    let mut frames = if case.from_the_start {
        Frames::raw(server)
    } else {
        let mut frames = Frames::connect(server);
        // A byte may turn a short statement into a long one.
        frames.kinds(&query("SET statement_timeout = 2000"));
        frames
    };
    frames.try_send(&case.bytes);
    frames.finish();
    let mut said = frames.until_closed();
    if case.from_the_start {
        // Answers to negotiations are single bytes.
        while said.first().is_some_and(|byte| *byte == b'N' && said.get(1) != Some(&0)) {
            said.remove(0);
        }
        // After `S` the client would have to speak TLS.
        if said.first() == Some(&b'S') {
            return;
        }
    }
    assert!(is_well_formed(&said), "case {number}: {:?}\nis answered by {said:?}", case.bytes);
}

#[test]
fn broken_streams_are_refused() {
    let seed = setting("STRATOS_FUZZ_SEED").unwrap_or_else(rand::random);
    let cases = setting("STRATOS_FUZZ_CASES").unwrap_or(if stratos_tests::long() { CASES_LONG } else { CASES });
    println!("STRATOS_FUZZ_SEED={seed} STRATOS_FUZZ_CASES={cases}");
    let mut node = Node::start();
    let server = node.server().clone();
    server.sql("CREATE TABLE fuzzed (a int PRIMARY KEY, b text); INSERT INTO fuzzed SELECT g, 'x' FROM generate_series(1, 9) g");
    let (next, failed, done) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= cases || failed.load(Ordering::Relaxed) {
                            return;
                        }
                        let case = case(seed, number, &server.user, &server.database);
                        let outcome = std::panic::catch_unwind(|| run(&server, number, &case));
                        if let Err(why) = outcome {
                            failed.store(true, Ordering::Relaxed);
                            println!("case {number}: {:?}", case.bytes);
                            std::panic::resume_unwind(why);
                        }
                    }
                })
            })
            .collect();
        let other = scope.spawn(|| {
            let mut frames = Frames::connect(&server);
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let asked = Instant::now();
                assert_eq!(frames.kinds(&query("SELECT 1")), "TDCZI");
                slowest = slowest.max(asked.elapsed());
                std::thread::sleep(Duration::from_millis(20));
            }
            slowest
        });
        let results: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        done.store(true, Ordering::Relaxed);
        let slowest = other.join();
        assert!(node.alive(), "the node ended: {}", node.log());
        for result in results {
            result.unwrap_or_else(|why| std::panic::resume_unwind(why));
        }
        let slowest = slowest.unwrap_or_else(|why| std::panic::resume_unwind(why));
        println!("{cases} cases, another session waited {slowest:?} at most");
        assert!(slowest < PATIENCE, "another session waited {slowest:?}");
    });
    assert!(!node.log().contains("panicked"), "{}", node.log());
    assert_eq!(server.sql("SELECT count(*) >= 0 FROM fuzzed"), "t");
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));
}
