//! kill -9 at random moments under a writing load: nothing acknowledged is lost, nothing unacknowledged is there by half,
//! and the indexes agree with the tables.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stratos_tests::client::{Server, rows, sqlstate};
use stratos_tests::node::{Node, run};

/// Clients that write at the same time.
const CLIENTS: u64 = 4;
/// Accounts between which they move money.
const ACCOUNTS: i64 = 20;
/// What every account has at first.
const BALANCE: i64 = 1000;
/// A node is killed so long after the load has begun, at most.
const LOAD_MAX: Duration = Duration::from_millis(1500);
/// Crashes in the short and in the long version.
const CRASHES: (u64, u64) = (4, 100);

/// What one client knows of the entries in the ledger that it asked for.
#[derive(Default)]
struct Entries {
    /// Acknowledged by the node: must be there.
    acknowledged: Vec<i64>,
    /// Neither acknowledged nor refused: may be there, wholly.
    unknown: Vec<i64>,
}

/// Moves money and writes the ledger until the node is gone.
async fn load(server: Server, seed: u64, next: Arc<AtomicI64>, stop: Arc<AtomicBool>) -> Entries {
    let mut entries = Entries::default();
    let mut random = StdRng::seed_from_u64(seed);
    let Ok(mut client) = server.try_connect().await else {
        return entries;
    };
    while !stop.load(Ordering::Relaxed) {
        let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
        let (amount, entry) = (random.random_range(1..10i64), next.fetch_add(1, Ordering::Relaxed));
        let give_up = random.random_range(0..10) == 0;
        let result = async {
            let transaction = client.transaction().await?;
            let change = "UPDATE accounts SET balance = balance + $2 WHERE id = $1";
            // In order of the keys, so that no deadlock arises.
            let mut changes = [(from, -amount), (to, amount)];
            changes.sort_unstable();
            for (account, amount) in changes {
                transaction.execute(change, &[&account, &amount]).await?;
            }
            // Two rows that belong together, with a secondary unique index on each of them.
            let insert = "INSERT INTO ledger VALUES ($1, $2, $3), (-$1, -$2, $3)";
            transaction.execute(insert, &[&entry, &(entry * 7), &format!("entry {entry}")]).await?;
            match give_up {
                true => transaction.rollback().await,
                false => transaction.commit().await,
            }
        };
        match result.await {
            Ok(()) if give_up => {}
            Ok(()) => entries.acknowledged.push(entry),
            Err(error) if error.code().is_some() => {
                let state = sqlstate(&error);
                // The node may refuse what conflicts, and says so when it is going down; anything else is a mistake.
                assert!(["40001", "40P01", "57P01", "57P03"].contains(&state.as_str()), "{state}: {error}");
            }
            Err(_) => {
                if !give_up {
                    entries.unknown.push(entry);
                }
                break;
            }
        }
    }
    entries
}

async fn set_up(server: &Server) {
    let client = server.connect().await;
    let tables = "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
        CREATE TABLE ledger (id bigint PRIMARY KEY, code bigint UNIQUE, note text);
        CREATE INDEX ledger_note ON ledger (note)";
    client.batch_execute(tables).await.unwrap();
    for id in 0..ACCOUNTS {
        client.execute("INSERT INTO accounts VALUES ($1, $2)", &[&id, &BALANCE]).await.unwrap();
    }
}

async fn verify(server: &Server, entries: &Entries, seed: u64) {
    let client = server.connect().await;
    let one = async |sql: &str| {
        rows(&client, sql).await.unwrap_or_else(|why| panic!("{sql}: {why} (seed {seed})"))[0][0].clone()
    };
    assert_eq!(one("SELECT sum(balance) FROM accounts").await, (ACCOUNTS * BALANCE).to_string(), "seed {seed}");
    let there = client.query("SELECT id, code, note FROM ledger WHERE id > 0", &[]).await.unwrap();
    let there: std::collections::BTreeSet<i64> = there
        .iter()
        .map(|row| {
            let id: i64 = row.get(0);
            assert_eq!((row.get::<_, i64>(1), row.get::<_, String>(2)), (id * 7, format!("entry {id}")), "seed {seed}");
            id
        })
        .collect();
    for id in &entries.acknowledged {
        assert!(there.contains(id), "acknowledged entry {id} is lost (seed {seed})");
    }
    for id in &there {
        assert!(
            entries.acknowledged.contains(id) || entries.unknown.contains(id),
            "entry {id} was never committed (seed {seed})"
        );
    }
    // Its other half, and both through the indexes.
    assert_eq!(one("SELECT count(*) FROM ledger WHERE id < 0").await, there.len().to_string(), "seed {seed}");
    for id in there.iter().rev().take(20) {
        for sql in [
            format!("SELECT count(*) FROM ledger WHERE id = -{id} AND code = -{}", id * 7),
            format!("SELECT count(*) FROM ledger WHERE code = {}", id * 7),
        ] {
            assert_eq!(one(&sql).await, "1", "{sql} (seed {seed})");
        }
        assert_eq!(one(&format!("SELECT count(*) FROM ledger WHERE note = 'entry {id}'")).await, "2", "seed {seed}");
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
    let next = Arc::new(AtomicI64::new(1));
    let mut entries = Entries::default();
    let mut node = Node::dev(&data);
    runtime.block_on(set_up(node.server()));
    let crashes = if stratos_tests::long() { CRASHES.1 } else { CRASHES.0 };
    for crash in 0..crashes {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let seed = seed ^ (crash * CLIENTS + client);
                runtime.spawn(load(node.server().clone(), seed, next.clone(), stop.clone()))
            })
            .collect();
        std::thread::sleep(random.random_range(Duration::ZERO..LOAD_MAX));
        node.kill();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let new = runtime.block_on(client).unwrap();
            entries.acknowledged.extend(new.acknowledged);
            entries.unknown.extend(new.unknown);
        }
        if crash % 5 == 2 {
            // The check reads what the crash left, before a node has recovered it.
            check(&data, seed);
        }
        node = Node::dev(&data);
        runtime.block_on(verify(node.server(), &entries, seed));
    }
    assert!(
        entries.acknowledged.len() as u64 > crashes,
        "too little load to say anything: {}",
        entries.acknowledged.len()
    );
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
    check(&data, seed);
}
