//! kill -9 at random moments under a writing load: nothing acknowledged is lost, nothing unacknowledged is there by half,
//! and the indexes agree with the tables.
//!
//! - [`ledger`]: transactions over several shards with unique and other indexes
//! - [`schema`]: tables, indexes and splits that come and go meanwhile
//!
//! What a load knows of something is its [`Fate`]; a restart must agree with it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panics, and print what was seen")]

mod ledger;
mod schema;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stratos_tests::node::{Node, run};

/// A node is killed so long after the load has begun, at most.
const LOAD_MAX: Duration = Duration::from_millis(1500);
/// Crashes in the short and in the long version.
const CRASHES: (u64, u64) = (4, 100);
/// Small shards and a short memory, so that splits by size and garbage collection happen too.
const SETTINGS: &str = "shard_split_mb = 1\ngc_window_seconds = 1\nquery_memory_mb = 16";

/// What a client knows of something that it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Acknowledged: must be so.
    Certain,
    /// Neither acknowledged nor refused: may be so, wholly.
    Unknown,
}

/// What came of one request.
enum Outcome {
    Done,
    /// Refused with an error that a node may give; nothing has changed.
    Refused,
    /// The connection is gone.
    Lost,
}

/// Sorts an answer; an error that a node must not give fails the test.
fn outcome(what: &str, result: Result<(), tokio_postgres::Error>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(error) => match error.code() {
            None => Outcome::Lost,
            Some(code) => {
                // The node may refuse what conflicts, and says so when it is going down.
                let allowed = ["40001", "40P01", "57P01", "57P03"];
                assert!(allowed.contains(&code.code()), "{what}: {} {error:?}", code.code());
                Outcome::Refused
            }
        },
    }
}

fn check(data: &Path, seed: u64) {
    let output = run(["check", "--data", data.to_str().unwrap()]);
    assert!(output.status.success(), "stratos check, seed {seed}: {output:?}");
}

#[test]
fn kill_at_random_moments() {
    let seed =
        std::env::var("STRATOS_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("STRATOS_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut ledger = ledger::Ledger::default();
    let mut schema = schema::Schema::default();
    let mut node = Node::configured(&data, SETTINGS);
    runtime.block_on(async {
        let client = node.server().connect().await;
        ledger::set_up(&client).await;
        schema::set_up(&client).await;
    });
    let crashes = if stratos_tests::long() { CRASHES.1 } else { CRASHES.0 };
    let mut slowest = Duration::ZERO;
    for crash in 0..crashes {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = ledger.start(&runtime, node.server(), seed ^ crash, &stop);
        let changers = schema.start(&runtime, node.server(), random.random(), &stop);
        std::thread::sleep(random.random_range(Duration::ZERO..LOAD_MAX));
        node.kill();
        stop.store(true, Ordering::Relaxed);
        runtime.block_on(async {
            ledger.collect(writers).await;
            schema.collect(changers).await;
        });
        if crash % 5 == 2 {
            // The check reads what the crash left, before a node has recovered it.
            check(&data, seed);
        }
        let started = Instant::now();
        node = Node::configured(&data, SETTINGS);
        slowest = slowest.max(started.elapsed());
        runtime.block_on(async {
            let client = node.server().connect().await;
            ledger.verify(&client, seed).await;
            schema.verify(&client, seed).await;
        });
    }
    let shards = node.server().sql("SELECT count(*) FROM pg_stratos.shards");
    println!("{crashes} crashes, slowest start {slowest:?}, {shards} shards; {ledger}; {schema}");
    ledger.was_enough(crashes);
    schema.was_enough(crashes);
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
    check(&data, seed);
}
