//! Clients that move money between accounts, write a ledger with two rows for each entry, and exchange unique codes between
//! places. Each of the tables lies on two shards from the start, so that many of the transactions span several.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stratos_tests::client::{Server, rows};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Transaction};

use super::{Fate, Outcome, outcome};

/// Clients that write at the same time.
const CLIENTS: u64 = 4;
/// Accounts between which they move money.
const ACCOUNTS: i64 = 20;
/// What every account has at first.
const BALANCE: i64 = 1000;
/// Places, each with a code that no other has.
const PLACES: i64 = 12;
/// Entries of which the indexes are asked one by one, after each crash.
const LOOKED_UP: usize = 20;
/// Length of the text with which an entry makes the table grow.
const FILLER: usize = 200;

/// What the clients know.
#[derive(Default)]
pub struct Ledger {
    next: Arc<AtomicI64>,
    entries: BTreeMap<i64, Fate>,
    exchanges: usize,
}

/// What one of them has learnt.
#[derive(Default)]
pub struct Learnt {
    entries: BTreeMap<i64, Fate>,
    exchanges: usize,
}

pub async fn set_up(client: &Client) {
    let tables = "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
        CREATE TABLE ledger (id bigint PRIMARY KEY, code bigint UNIQUE, note text);
        CREATE INDEX ledger_note ON ledger (note);
        CREATE TABLE places (id bigint PRIMARY KEY, code bigint NOT NULL UNIQUE)";
    client.batch_execute(tables).await.unwrap();
    client.batch_execute("ALTER TABLE accounts SPLIT AT VALUES (10)").await.unwrap();
    client.batch_execute("ALTER TABLE ledger SPLIT AT VALUES (0)").await.unwrap();
    client.batch_execute("ALTER TABLE places SPLIT AT VALUES (6)").await.unwrap();
    for id in 0..ACCOUNTS {
        client.execute("INSERT INTO accounts VALUES ($1, $2)", &[&id, &BALANCE]).await.unwrap();
    }
    for id in 0..PLACES {
        client.execute("INSERT INTO places VALUES ($1, $1::bigint + 100)", &[&id]).await.unwrap();
    }
}

async fn enter(transaction: &Transaction<'_>, random: &mut StdRng, entry: i64) -> Result<(), tokio_postgres::Error> {
    let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
    let amount = random.random_range(1..10i64);
    // In order of the keys, so that no deadlock arises.
    let mut changes = [(from, -amount), (to, amount)];
    changes.sort_unstable();
    for (account, amount) in changes {
        let change = "UPDATE accounts SET balance = balance + $2 WHERE id = $1";
        transaction.execute(change, &[&account, &amount]).await?;
    }
    // Two rows that belong together, on two shards, with a unique and another index on each of them.
    let insert = "INSERT INTO ledger VALUES ($1, $2, $3), (-$1, -$2, $3)";
    let note = format!("entry {entry} {}", "x".repeat(FILLER));
    transaction.execute(insert, &[&entry, &(entry * 7), &note]).await?;
    Ok(())
}

/// Two places exchange their codes: both rows go and come back, each under the unique key that the other had.
async fn exchange(transaction: &Transaction<'_>, random: &mut StdRng) -> Result<(), tokio_postgres::Error> {
    let mut places = [random.random_range(0..PLACES), random.random_range(0..PLACES)];
    places.sort_unstable();
    let [one, other] = places;
    let select = "SELECT code FROM places WHERE id = $1 OR id = $2 ORDER BY id FOR UPDATE";
    let found = transaction.query(select, &[&one, &other]).await?;
    assert_eq!(found.len(), if one == other { 1 } else { 2 }, "a place is missing");
    if one != other {
        transaction.execute("DELETE FROM places WHERE id = $1 OR id = $2", &[&one, &other]).await?;
        let codes: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
        let insert = "INSERT INTO places VALUES ($1, $2), ($3, $4)";
        transaction.execute(insert, &[&one, &codes[1], &other, &codes[0]]).await?;
    }
    Ok(())
}

/// Writes until the node is gone.
async fn load(server: Server, seed: u64, next: Arc<AtomicI64>, stop: Arc<AtomicBool>) -> Learnt {
    let mut learnt = Learnt::default();
    let mut random = StdRng::seed_from_u64(seed);
    let Ok(mut client) = server.try_connect().await else { return learnt };
    while !stop.load(Ordering::Relaxed) {
        let give_up = random.random_range(0..10) == 0;
        let entry = (random.random_range(0..4) > 0).then(|| next.fetch_add(1, Ordering::Relaxed) + 1);
        let result = async {
            let transaction = client.transaction().await?;
            match entry {
                Some(entry) => enter(&transaction, &mut random, entry).await?,
                None => exchange(&transaction, &mut random).await?,
            }
            match give_up {
                true => transaction.rollback().await,
                false => transaction.commit().await,
            }
        };
        let result = outcome("the load", result.await);
        match (&result, entry) {
            (Outcome::Done, Some(entry)) if !give_up => drop(learnt.entries.insert(entry, Fate::Certain)),
            (Outcome::Done, None) if !give_up => learnt.exchanges += 1,
            (Outcome::Lost, Some(entry)) if !give_up => drop(learnt.entries.insert(entry, Fate::Unknown)),
            _ => {}
        }
        if matches!(result, Outcome::Lost) {
            break;
        }
    }
    learnt
}

impl Ledger {
    pub fn start(
        &self,
        runtime: &Runtime,
        server: &Server,
        seed: u64,
        stop: &Arc<AtomicBool>,
    ) -> Vec<JoinHandle<Learnt>> {
        let one = |client: u64| {
            runtime.spawn(load(server.clone(), seed.wrapping_mul(31) + client, self.next.clone(), stop.clone()))
        };
        (0..CLIENTS).map(one).collect()
    }

    pub async fn collect(&mut self, clients: Vec<JoinHandle<Learnt>>) {
        for client in clients {
            let learnt = client.await.unwrap();
            self.entries.extend(learnt.entries);
            self.exchanges += learnt.exchanges;
        }
    }

    pub async fn verify(&mut self, client: &Client, seed: u64) {
        let one = async |sql: &str| {
            rows(client, sql).await.unwrap_or_else(|why| panic!("{sql}: {why} (seed {seed})"))[0][0].clone()
        };
        assert_eq!(one("SELECT sum(balance) FROM accounts").await, (ACCOUNTS * BALANCE).to_string(), "seed {seed}");
        let there = client.query("SELECT id, code, note FROM ledger WHERE id > 0", &[]).await.unwrap();
        let there: BTreeSet<i64> = there
            .iter()
            .map(|row| {
                let id: i64 = row.get(0);
                let note = format!("entry {id} {}", "x".repeat(FILLER));
                assert_eq!((row.get::<_, i64>(1), row.get::<_, String>(2)), (id * 7, note), "seed {seed}");
                id
            })
            .collect();
        for (id, fate) in &self.entries {
            assert!(*fate == Fate::Unknown || there.contains(id), "acknowledged entry {id} is lost (seed {seed})");
        }
        for id in &there {
            assert!(self.entries.contains_key(id), "entry {id} was never committed (seed {seed})");
        }
        // What was unknown is known now, and stays so.
        self.entries.retain(|id, _| there.contains(id));
        self.entries.values_mut().for_each(|fate| *fate = Fate::Certain);
        // Its other half, and both through the indexes.
        assert_eq!(one("SELECT count(*) FROM ledger WHERE id < 0").await, there.len().to_string(), "seed {seed}");
        for id in there.iter().rev().take(LOOKED_UP) {
            for (sql, expected) in [
                (format!("SELECT count(*) FROM ledger WHERE id = -{id} AND code = -{}", id * 7), "1"),
                (format!("SELECT count(*) FROM ledger WHERE code = {}", id * 7), "1"),
                (format!("SELECT count(*) FROM ledger WHERE note = 'entry {id} {}'", "x".repeat(FILLER)), "2"),
            ] {
                assert_eq!(one(&sql).await, expected, "{sql} (seed {seed})");
            }
        }
        let places = client.query("SELECT id, code FROM places ORDER BY id", &[]).await.unwrap();
        let ids: Vec<i64> = places.iter().map(|row| row.get(0)).collect();
        let codes: BTreeSet<i64> = places.iter().map(|row| row.get(1)).collect();
        assert_eq!(ids, (0..PLACES).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(codes, (100..100 + PLACES).collect(), "seed {seed}");
    }

    /// Whether so much happened that it says something.
    pub fn was_enough(&self, crashes: u64) {
        assert!(self.entries.len() as u64 > crashes, "too little load: {self}");
    }
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} entries, {} exchanges", self.entries.len(), self.exchanges)
    }
}
