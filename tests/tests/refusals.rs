//! What is wrong with statements: a node says it with PostgreSQL 15's SQLSTATE, message, detail, hint, place and names.
//!
//! `refusals/statements.sql` has a statement a line, for the tables of `refusals/setup.sql`. Each runs in a transaction block
//! that is rolled back, on both sides, and the answers are compared. `#` begins a comment, `\n` stands for a line break, ` ;; `
//! stands between several queries, and what begins with `!` runs outside a block. Rows are not compared here: the slt files do that.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, Message, frame, query};
use stratos_tests::node::{Node, workspace};
use stratos_tests::postgres::Postgres;

/// Fields of errors and notices that clients see: severity, SQLSTATE, message, detail, hint, place, internal place, and names of
/// constraint, schema, table, column and type.
const FIELDS: &[u8] = b"SCMDHPpncstd";
/// No statement of the file has anything to do for so long.
const SETTINGS: &str = "SET statement_timeout = '20s'";

fn read(name: &str) -> String {
    std::fs::read_to_string(workspace().join("tests/refusals").join(name)).unwrap()
}

/// What a client is told, without rows.
fn told(messages: &[Message]) -> Vec<String> {
    let tell = |message: &Message| match message.kind {
        'E' | 'N' => {
            let field = |code: &u8| message.field(*code).map(|value| format!("{}: {value}", char::from(*code)));
            Some(FIELDS.iter().filter_map(field).collect::<Vec<_>>().join(" | "))
        }
        'C' => Some(String::from_utf8_lossy(&message.body).trim_end_matches('\0').to_owned()),
        // Whether rows were promised before an error.
        'T' | 'G' | 'H' => Some(message.kind.to_string()),
        _ => None,
    };
    messages.iter().filter_map(tell).collect()
}

/// A session in a database made for it.
struct Side {
    frames: Frames,
}

impl Side {
    fn new(server: &Server) -> Side {
        server.sql("CREATE DATABASE refusals");
        let mut side = Side { frames: Frames::connect(&server.database("refusals")) };
        let said = side.run(&read("setup.sql"));
        assert!(said.iter().all(|line| !line.starts_with("S: ERROR")), "{said:?}");
        side.run(SETTINGS);
        side
    }

    fn run(&mut self, sql: &str) -> Vec<String> {
        self.frames.send(&query(sql));
        // Of a COPY FROM STDIN there are no rows. In the simple protocol what comes too late is left aside.
        if sql.to_ascii_lowercase().contains("from stdin") {
            self.frames.send(&frame(b'c', &[]));
        }
        told(&self.frames.until_ready())
    }

    fn answer(&mut self, line: &str) -> Vec<String> {
        let (statements, block) = match line.strip_prefix('!') {
            Some(statements) => (statements, false),
            None => (line, true),
        };
        if block {
            self.run("BEGIN");
        }
        let said = statements.replace("\\n", "\n").split(" ;; ").flat_map(|sql| self.run(sql)).collect();
        self.run(&format!("ROLLBACK; RESET ALL; DEALLOCATE ALL; {SETTINGS}"));
        said
    }
}

#[test]
fn a_node_refuses_as_postgres_does() {
    let (node, postgres) = (Node::start(), Postgres::start());
    let (mut ours, mut theirs) = (Side::new(node.server()), Side::new(postgres.server()));
    let mut different = Vec::new();
    let file = read("statements.sql");
    let statements = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    for line in statements {
        count += 1;
        let (expected, actual) = (theirs.answer(line), ours.answer(line));
        if expected != actual {
            different.push(format!("{line}\n  PostgreSQL: {expected:?}\n  Stratos:    {actual:?}"));
        }
    }
    assert!(count > 500, "{count}");
    assert!(different.is_empty(), "{} of {count} differ:\n{}", different.len(), different.join("\n"));
}
