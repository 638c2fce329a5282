//! A client that changes the schema meanwhile: tables with rows made in one transaction and dropped, an index built beside
//! the writers, splits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use stratos_tests::client::{Server, rows};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::{Fate, Outcome, outcome};

/// Rows of a table that is made and filled in one transaction.
const ROWS: i64 = 10;
/// Such tables that are kept, because each is looked at after every crash.
const MADE_MAX: usize = 8;
/// Rows of the table over which the index is built, so that building takes a while.
const BROAD_ROWS: i64 = 4000;

/// What the client knows.
#[derive(Default, Clone)]
pub struct Schema {
    next: i64,
    /// Tables that were made, and whether they must be there.
    made: BTreeMap<i64, Fate>,
    /// Tables that were dropped, and whether they must be gone.
    dropped: BTreeMap<i64, Fate>,
    /// Whether the index is there, and how certain that is.
    index: (bool, Option<Fate>),
    tables: usize,
    indexes: usize,
    unfinished: usize,
    splits: usize,
}

pub async fn set_up(client: &Client) {
    let table = format!(
        "CREATE TABLE broad (id bigint PRIMARY KEY, code bigint);
         INSERT INTO broad SELECT i, i * 3 FROM generate_series(1, {BROAD_ROWS}) AS i"
    );
    client.batch_execute(&table).await.unwrap();
}

impl Schema {
    pub fn start(&self, runtime: &Runtime, server: &Server, seed: u64, stop: &Arc<AtomicBool>) -> JoinHandle<Schema> {
        let (known, server, stop) = (self.clone(), server.clone(), stop.clone());
        runtime.spawn(known.change(server, seed, stop))
    }

    pub async fn collect(&mut self, client: JoinHandle<Schema>) {
        *self = client.await.unwrap();
    }

    /// Changes the schema until the node is gone.
    async fn change(mut self, server: Server, seed: u64, stop: Arc<AtomicBool>) -> Schema {
        let mut random = StdRng::seed_from_u64(seed);
        let Ok(client) = server.try_connect().await else { return self };
        while !stop.load(Ordering::Relaxed) {
            let result = match random.random_range(0..8) {
                0..3 if self.made.len() < MADE_MAX => self.make(&client).await,
                0..4 => self.drop_one(&client).await,
                4..7 => self.index(&client).await,
                _ => self.split(&client, &mut random).await,
            };
            if matches!(result, Outcome::Lost) {
                break;
            }
        }
        self
    }

    async fn make(&mut self, client: &Client) -> Outcome {
        self.next += 1;
        let table = self.next;
        let sql = format!(
            "BEGIN; CREATE TABLE made_{table} (id int PRIMARY KEY, code int UNIQUE, note text);
             INSERT INTO made_{table} SELECT i, i * 2, 'note ' || i FROM generate_series(1, {ROWS}) AS i;
             CREATE INDEX made_{table}_note ON made_{table} (note); COMMIT"
        );
        let result = outcome("making a table", client.batch_execute(&sql).await);
        match result {
            Outcome::Done => {
                self.tables += 1;
                self.made.insert(table, Fate::Certain);
            }
            Outcome::Lost => drop(self.made.insert(table, Fate::Unknown)),
            Outcome::Refused => {
                // The block has failed, and stays open.
                client.batch_execute("ROLLBACK").await.unwrap_or_default();
            }
        }
        result
    }

    async fn drop_one(&mut self, client: &Client) -> Outcome {
        let Some(table) = self.made.keys().next().copied() else { return Outcome::Done };
        let result = outcome("dropping", client.batch_execute(&format!("DROP TABLE made_{table}")).await);
        match result {
            Outcome::Done => {
                self.made.remove(&table);
                self.dropped.insert(table, Fate::Certain);
            }
            Outcome::Lost => {
                self.made.remove(&table);
                self.dropped.insert(table, Fate::Unknown);
            }
            Outcome::Refused => {}
        }
        result
    }

    /// Makes the index beside the writers, or drops it.
    async fn index(&mut self, client: &Client) -> Outcome {
        let (there, _) = self.index;
        let sql = match there {
            true => "DROP INDEX broad_code",
            false => "CREATE UNIQUE INDEX broad_code ON broad (code)",
        };
        let result = outcome(sql, client.batch_execute(sql).await);
        match result {
            Outcome::Done => {
                self.indexes += usize::from(!there);
                self.index = (!there, Some(Fate::Certain));
            }
            Outcome::Lost => self.index.1 = Some(Fate::Unknown),
            Outcome::Refused => {}
        }
        result
    }

    async fn split(&mut self, client: &Client, random: &mut StdRng) -> Outcome {
        let at = random.random_range(-2000..2000);
        let sql = format!("ALTER TABLE ledger SPLIT AT VALUES ({at})");
        let result = outcome("splitting", client.batch_execute(&sql).await);
        self.splits += usize::from(matches!(result, Outcome::Done));
        result
    }

    pub async fn verify(&mut self, client: &Client, seed: u64) {
        let exists = async |name: &str| {
            let sql = format!("SELECT count(*) FROM pg_class WHERE relname = '{name}'");
            rows(client, &sql).await.unwrap()[0][0] == "1"
        };
        for (table, fate) in std::mem::take(&mut self.made) {
            let there = exists(&format!("made_{table}")).await;
            assert!(there || fate == Fate::Unknown, "acknowledged table made_{table} is lost (seed {seed})");
            if !there {
                continue;
            }
            // All of it, or nothing.
            for sql in [
                format!("SELECT count(*) FROM made_{table} WHERE code = id * 2"),
                format!("SELECT count(code) FROM made_{table} WHERE code BETWEEN 2 AND {}", ROWS * 2),
                format!("SELECT count(*) FROM made_{table} WHERE note >= 'note'"),
            ] {
                assert_eq!(rows(client, &sql).await.unwrap()[0][0], ROWS.to_string(), "{sql} (seed {seed})");
            }
            self.made.insert(table, Fate::Certain);
        }
        for (table, fate) in std::mem::take(&mut self.dropped) {
            let there = exists(&format!("made_{table}")).await;
            assert!(!there || fate == Fate::Unknown, "dropped table made_{table} is back (seed {seed})");
            if there {
                self.made.insert(table, Fate::Certain);
            }
        }
        self.verify_index(client, exists("broad_code").await, seed).await;
    }

    async fn verify_index(&mut self, client: &Client, there: bool, seed: u64) {
        if let (expected, Some(Fate::Certain)) = self.index {
            assert_eq!(there, expected, "the index is (not) there (seed {seed})");
        }
        // What a crash interrupted was told to nobody: it is gone, and can be made again.
        let states = rows(client, "SELECT state FROM pg_stratos.indexes WHERE name = 'broad_code'").await.unwrap();
        assert!(states.iter().all(|row| row[0] == "public"), "{states:?} (seed {seed})");
        if self.index == (false, Some(Fate::Unknown)) && !there {
            self.unfinished += 1;
            client.batch_execute("CREATE UNIQUE INDEX broad_code ON broad (code)").await.unwrap();
        }
        let now =
            rows(client, "SELECT count(*) FROM pg_class WHERE relname = 'broad_code'").await.unwrap()[0][0] == "1";
        self.index = (now, Some(Fate::Certain));
        let sql = "SELECT id FROM broad WHERE code = 3000";
        assert_eq!(rows(client, sql).await.unwrap(), [["1000"]], "seed {seed}");
    }

    /// Whether so much happened that it says something.
    pub fn was_enough(&self, crashes: u64) {
        assert!(self.tables as u64 * 4 > crashes, "too little load: {self}");
    }
}

impl std::fmt::Display for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} tables made, {} indexes built and {} not, {} splits",
            self.tables, self.indexes, self.unfinished, self.splits
        )
    }
}
