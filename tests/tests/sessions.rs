//! Several sessions that get in each other's way: PostgreSQL 15 says what must come of it, and a node must repeat that. In the
//! end the node's data is checked.
//!
//! The scenarios are in the files under `sessions/`, each in a schema of its own. A line is a session's letter and what it does:
//!
//! | line | meaning |
//! |---|---|
//! | `== name` | a scenario begins |
//! | `A: statements` | runs them, one after the other, and waits for their outcomes |
//! | `A& statements` | begins to run them, and goes on when they are done or seem to wait for somebody |
//! | `A.` | waits for those |
//! | `… -- or outcome` | what a node may answer instead |
//!
//! An outcome is what is in the rows, how many rows were changed, or the SQLSTATE of an error.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use stratos_tests::client::{Server, sqlstate};
use stratos_tests::node::{Node, run, workspace};
use stratos_tests::postgres::Postgres;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

/// What is not done by then waits for another session.
const SETTLE: Duration = Duration::from_millis(400);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

enum Step {
    Run(String),
    Begin(String),
    Await,
}

struct Line {
    session: char,
    step: Step,
    /// What a node may answer instead.
    or: Option<String>,
}

struct Scenario {
    name: String,
    lines: Vec<Line>,
}

/// The scenarios of a file.
fn parse(file: &str, text: &str) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (line, or) = match line.split_once(" -- or ") {
            Some((line, or)) => (line.trim(), Some(or.trim().to_owned())),
            None => (line.trim(), None),
        };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            scenarios.push(Scenario { name: format!("{file}: {name}"), lines: Vec::new() });
            continue;
        }
        let mut rest = line.chars();
        let (session, kind) = (rest.next().unwrap(), rest.next().unwrap_or(' '));
        let sql = rest.as_str().trim().to_owned();
        let step = match kind {
            ':' => Step::Run(sql),
            '&' => Step::Begin(sql),
            '.' => Step::Await,
            _ => panic!("{file}:{}: {line}", at + 1),
        };
        scenarios.last_mut().unwrap().lines.push(Line { session, step, or });
    }
    scenarios
}

fn scenarios() -> Vec<Scenario> {
    let mut files: Vec<_> =
        std::fs::read_dir(workspace().join("tests/sessions")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let name = file.file_stem().unwrap().to_string_lossy();
            parse(&name, &std::fs::read_to_string(file).unwrap())
        })
        .collect()
}

/// Runs statements one after the other, as psql would.
async fn outcome(client: &Client, sql: &str) -> String {
    let mut outcomes = Vec::new();
    for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        outcomes.push(match client.simple_query(statement).await {
            Err(error) => sqlstate(&error),
            Ok(messages) => {
                let (mut rows, mut changed) = (None, 0);
                for message in messages {
                    match message {
                        SimpleQueryMessage::RowDescription(_) => rows = Some(Vec::new()),
                        SimpleQueryMessage::Row(row) => {
                            let values: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
                            rows.as_mut().unwrap().push(values.join("|"));
                        }
                        SimpleQueryMessage::CommandComplete(count) => changed = count,
                        _ => {}
                    }
                }
                rows.map_or_else(|| changed.to_string(), |rows| format!("[{}]", rows.join(" ")))
            }
        });
    }
    outcomes.join("; ")
}

/// A session and what it is at.
struct Session {
    client: Arc<Client>,
    busy: Option<(String, JoinHandle<String>)>,
}

impl Session {
    fn begin(&mut self, sql: &str) {
        assert!(self.busy.is_none(), "the session is still at something: {sql}");
        let (client, text) = (self.client.clone(), sql.to_owned());
        self.busy = Some((sql.to_owned(), tokio::spawn(async move { outcome(&client, &text).await })));
    }

    async fn end(&mut self) -> (String, String) {
        let (sql, mut task) = self.busy.take().unwrap();
        match tokio::time::timeout(PATIENCE, &mut task).await {
            Ok(outcome) => (sql, outcome.unwrap()),
            Err(_) => {
                let _ = self.client.cancel_token().cancel_query(tokio_postgres::NoTls).await;
                (sql, "does not end".to_owned())
            }
        }
    }
}

/// What each line of each scenario came to: the line, the outcome, and what a node may answer instead.
async fn play(server: &Server, scenarios: &[Scenario]) -> Vec<Vec<(String, String, Option<String>)>> {
    let mut all = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let schema = format!("scenario_{number}");
        server.connect().await.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
        let mut sessions: BTreeMap<char, Session> = BTreeMap::new();
        let mut outcomes = Vec::new();
        for line in &scenario.lines {
            if let Entry::Vacant(vacant) = sessions.entry(line.session) {
                let client = Arc::new(server.connect().await);
                client.batch_execute(&format!("SET search_path TO {schema}")).await.unwrap();
                vacant.insert(Session { client, busy: None });
            }
            let session = sessions.get_mut(&line.session).unwrap();
            match &line.step {
                Step::Run(sql) => session.begin(sql),
                Step::Begin(sql) => {
                    session.begin(sql);
                    let (_, task) = session.busy.as_mut().unwrap();
                    let since = tokio::time::Instant::now();
                    while !task.is_finished() && since.elapsed() < SETTLE {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    continue;
                }
                Step::Await => {}
            }
            let (sql, outcome) = session.end().await;
            outcomes.push((format!("{}: {sql}", line.session), outcome, line.or.clone()));
        }
        all.push(outcomes);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_end_as_with_postgres_and_leave_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (mut node, postgres) = (Node::dev(&data), Postgres::start());
    let scenarios = scenarios();
    let (right, ours) = tokio::join!(play(postgres.server(), &scenarios), play(node.server(), &scenarios));
    let mut wrong = Vec::new();
    for ((scenario, right), ours) in scenarios.iter().zip(&right).zip(&ours) {
        let differs = |((_, right, or), (_, ours, _)): (&(String, String, Option<String>), &(String, String, _))| {
            ours != right && or.as_ref() != Some(ours)
        };
        if right.iter().zip(ours).any(differs) {
            wrong.push(format!("== {}", scenario.name));
            for ((line, right, or), (_, ours, _)) in right.iter().zip(ours) {
                let verdict = match ours == right || or.as_ref() == Some(ours) {
                    true => ours.clone(),
                    false => format!("{ours}   WRONG, PostgreSQL: {right}"),
                };
                wrong.push(format!("   {line} -> {verdict}"));
            }
        }
    }
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
    let checked = run(["check", "--data", data.to_str().unwrap()]);
    if !checked.status.success() {
        wrong.push(format!("{checked:?}"));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// How many sessions change rows at random, and how often each.
const CHANGERS: u64 = 6;
const CHANGES: u64 = 150;
/// Few, so that they meet.
const KEYS: u64 = 8;

/// A statement on parents `p` or on their children, who refer to them with an index (`c`, NO ACTION) and without (`d`, CASCADE).
fn change(random: &mut rand::rngs::StdRng) -> String {
    use rand::Rng;
    let mut key = || random.random_range(1..=KEYS);
    let (one, other, kind) = (key(), key(), random.random_range(0..12));
    match kind {
        0 => format!("INSERT INTO p VALUES ({one}, {other}) ON CONFLICT (k) DO UPDATE SET n = p.n + 1"),
        1 => format!("INSERT INTO p VALUES ({one}, {other}) ON CONFLICT DO NOTHING"),
        2 | 3 => format!("DELETE FROM p WHERE id = {one}"),
        4 => format!("UPDATE p SET id = {other} WHERE id = {one}"),
        5 => format!("UPDATE p SET k = {other} WHERE id = {one}"),
        6 => "UPDATE p SET n = n + 1 WHERE id IN (SELECT id FROM p WHERE n < 5 ORDER BY id FOR UPDATE)".to_owned(),
        7 => format!("INSERT INTO c VALUES ({one}, {other}) ON CONFLICT (id) DO UPDATE SET pk = excluded.pk"),
        8 => format!("INSERT INTO d (pid) VALUES ({one})"),
        9 => format!("DELETE FROM c WHERE pk = {one}"),
        10 => format!("DELETE FROM d WHERE pid = {one}"),
        _ => format!("UPDATE d SET pid = {other} WHERE pid = {one}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_at_random_leave_no_orphans() {
    use rand::{Rng, SeedableRng};
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    let client = node.server().connect().await;
    let tables = "CREATE TABLE p (id int PRIMARY KEY, k int UNIQUE, n int DEFAULT 0);
        CREATE TABLE c (id int PRIMARY KEY, pk int REFERENCES p (k));
        CREATE INDEX ON c (pk);
        CREATE TABLE d (id serial, pid int REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE)";
    client.batch_execute(tables).await.unwrap();
    let mut changers = Vec::new();
    for number in 0..CHANGERS {
        let client = node.server().connect().await;
        changers.push(tokio::spawn(async move {
            let mut random = rand::rngs::StdRng::seed_from_u64(number);
            let mut done = 0;
            for _ in 0..CHANGES {
                let several = random.random_range(0..4) == 0;
                let statements =
                    if several { vec![change(&mut random), change(&mut random)] } else { vec![change(&mut random)] };
                match client.batch_execute(&statements.join("; ")).await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        let state = sqlstate(&error);
                        let known = ["23503", "23505", "40001", "40P01", "21000"];
                        assert!(known.contains(&state.as_str()), "{state}: {error:?} after {statements:?}");
                    }
                }
            }
            done
        }));
    }
    let mut done = 0;
    for changer in changers {
        done += changer.await.unwrap();
    }
    assert!(done > CHANGERS * CHANGES / 4, "only {done} changes");
    for (what, query) in [
        (
            "children by an index",
            "SELECT c.id FROM c LEFT JOIN p ON p.k = c.pk WHERE c.pk IS NOT NULL AND p.id IS NULL",
        ),
        (
            "children without one",
            "SELECT d.id FROM d LEFT JOIN p ON p.id = d.pid WHERE d.pid IS NOT NULL AND p.id IS NULL",
        ),
        ("keys twice", "SELECT k FROM p GROUP BY k HAVING count(*) > 1"),
    ] {
        let found = stratos_tests::client::rows(&client, query).await.unwrap();
        assert!(found.is_empty(), "{what}: {found:?}");
    }
    drop(client);
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0), "{}", node.log());
    let checked = run(["check", "--data", data.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
}

/// Schema changes do not wait for readers. What a serializable transaction has read must not get out of its sight by that: two
/// such transactions that each read what the other writes are not both committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_change_hides_no_write_from_a_serializable_reader() {
    let node = Node::start();
    for change in [
        "ALTER TABLE x ALTER v TYPE bigint",
        "ALTER TABLE x ADD COLUMN r int DEFAULT (random() * 10)::int",
        "ALTER TABLE x DROP CONSTRAINT x_pkey",
        "DROP INDEX x_g",
        "CREATE TABLE z AS SELECT * FROM x; DROP TABLE x; ALTER TABLE z RENAME TO x",
        "TRUNCATE x; INSERT INTO x SELECT n, 0, n FROM generate_series(1, 5) n",
        "SELECT 1",
    ] {
        let [reader, other, schema] =
            [node.server().connect().await, node.server().connect().await, node.server().connect().await];
        let setup =
            "DROP TABLE IF EXISTS x, y; CREATE TABLE x (id int PRIMARY KEY, v int, g int); CREATE INDEX x_g ON x (g);
            CREATE TABLE y (id int PRIMARY KEY, v int); INSERT INTO x SELECT n, 0, n FROM generate_series(1, 5) n;
            INSERT INTO y SELECT n, 0 FROM generate_series(1, 5) n";
        schema.batch_execute(setup).await.unwrap();
        reader
            .batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(v) FROM x; SELECT * FROM x WHERE g = 77")
            .await
            .unwrap();
        schema.batch_execute(change).await.unwrap();
        let write =
            "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(v) FROM y; UPDATE x SET v = 1, g = 77 WHERE id = 3; COMMIT";
        other.batch_execute(write).await.unwrap();
        let second = reader.batch_execute("UPDATE y SET v = 1 WHERE id = 3; COMMIT").await;
        assert_eq!(second.map_err(|error| sqlstate(&error)), Err("40001".to_owned()), "{change}");
        // Who only reads has a place in the order in any case.
        reader.batch_execute("ROLLBACK; BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(v) FROM x").await.unwrap();
        schema.batch_execute("ALTER TABLE y ADD COLUMN more int").await.unwrap();
        reader.batch_execute("COMMIT").await.unwrap();
    }
}
