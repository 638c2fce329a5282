//! SQL by subject: the files under `slt/` hold what PostgreSQL 15 answers, which both it and a node must repeat.
//!
//! After a change of the statements, `STRATOS_SLT_WRITE=1` writes PostgreSQL's answers into the files.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::fmt::{Display, Formatter};
use std::path::PathBuf;

use sqllogictest::{
    DB, DBOutput, DefaultColumnType, Runner, default_normalizer, default_validator, parse_file, strict_column_validator,
};
use stratos_tests::client::{Server, sqlstate};
use stratos_tests::node::{Node, workspace};
use stratos_tests::postgres::Postgres;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, SimpleQueryMessage};

/// A session, driven by simple queries.
struct Session {
    runtime: Runtime,
    client: Client,
}

impl Session {
    fn new(server: &Server, first: &str) -> Session {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(server.connect());
        runtime.block_on(client.batch_execute(first)).unwrap();
        Session { runtime, client }
    }
}

/// An error with all that the server says: tokio-postgres's own text is only "db error".
#[derive(Debug)]
struct Refusal(tokio_postgres::Error);

impl Display for Refusal {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(error) => write!(formatter, "{}: {}", error.code().code(), error.message()),
            None => write!(formatter, "{}", self.0),
        }
    }
}

impl std::error::Error for Refusal {}

impl DB for Session {
    type Error = Refusal;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refusal> {
        let mut answer: Option<(usize, Vec<Vec<String>>)> = None;
        let mut changed = 0;
        for message in self.runtime.block_on(self.client.simple_query(sql)).map_err(Refusal)? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => answer = Some((columns.len(), Vec::new())),
                SimpleQueryMessage::Row(row) => {
                    let values = (0..row.len()).map(|at| text(row.get(at))).collect();
                    answer.as_mut().unwrap().1.push(values);
                }
                SimpleQueryMessage::CommandComplete(count) => changed = count,
                _ => {}
            }
        }
        Ok(match answer {
            Some((columns, rows)) => DBOutput::Rows { types: vec![DefaultColumnType::Text; columns], rows },
            None => DBOutput::StatementComplete(changed),
        })
    }

    fn engine_name(&self) -> &str {
        "postgres"
    }

    fn error_sql_state(error: &Refusal) -> Option<String> {
        Some(sqlstate(&error.0))
    }
}

/// A value on one line and never empty, as the format of the files wants it.
fn text(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(value) => value.replace('\n', "\\n"),
    }
}

fn scripts() -> Vec<PathBuf> {
    let folder = workspace().join("tests/slt");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "slt"));
    scripts.sort();
    assert!(scripts.len() > 5, "{scripts:?}");
    scripts
}

/// Runs every file in a database of its own, in sessions that begin with a statement; what went wrong in each record, not only in the first.
fn failures(server: &Server, first: &str) -> Vec<String> {
    let mut failures = Vec::new();
    for script in scripts() {
        let name = format!("slt_{}", script.file_stem().unwrap().to_string_lossy());
        server.sql(&format!("CREATE DATABASE {name}"));
        let server = server.database(&name);
        let mut runner = Runner::new(|| {
            let session = Session::new(&server, first);
            async move { Ok(session) }
        });
        runner.with_column_validator(strict_column_validator);
        for record in parse_file(&script).unwrap() {
            if let Err(error) = runner.run(record) {
                failures.push(error.display(false).to_string());
            }
        }
    }
    failures
}

fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} statements failed:\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn postgres_answers_as_the_files_say() {
    let postgres = Postgres::start();
    if std::env::var_os("STRATOS_SLT_WRITE").is_some() {
        for script in scripts() {
            let name = format!("write_{}", script.file_stem().unwrap().to_string_lossy());
            postgres.server().sql(&format!("CREATE DATABASE {name}"));
            let server = postgres.server().database(&name);
            let mut runner = Runner::new(|| {
                let session = Session::new(&server, "");
                async move { Ok(session) }
            });
            let update =
                runner.update_test_file(&script, " ", default_validator, default_normalizer, strict_column_validator);
            futures::executor::block_on(update).unwrap();
        }
    }
    report(&failures(postgres.server(), ""));
}

#[test]
fn stratos_answers_as_postgres() {
    let node = Node::start();
    report(&failures(node.server(), ""));
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// What is answered row by row where it is little must be the same by the planner.
#[test]
fn the_planner_answers_as_postgres() {
    let node = Node::start();
    report(&failures(node.server(), "SET stratos.direct_queries = off"));
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// Aggregates that keep their rows are computed in two ways: by hashing, and by sorting once memory is short.
#[test]
fn sorted_groups_answer_as_postgres() {
    let node = Node::start();
    report(&failures(node.server(), "SET enable_hashagg = off; SET stratos.direct_queries = off"));
}
