//! Dumps: what `pg_dump` writes of a node's database can be read back, by a node and by PostgreSQL 15, and holds the same then.
//! `objects.sql` makes one of everything.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::io::Write;
use std::process::{Command, Stdio};

use stratos_tests::client::Server;
use stratos_tests::node::Node;
use stratos_tests::postgres::{Postgres, client_program};

/// Runs a program of PostgreSQL's on a database; its output, or the test fails.
fn run(program: &str, server: &Server, database: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command: Command = client_program(program);
    let port = server.port.to_string();
    command.args(["-h", "127.0.0.1", "-p", &port, "-U", &server.user, "-d", database]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    let input = input.to_owned();
    // What comes out is read while the input goes in.
    let writer = std::thread::spawn(move || to.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("ERROR"), "{program} {arguments:?} of {database}: {said}");
    output.stdout
}

/// The database as text, without what is different each time.
fn dump(server: &Server, database: &str) -> String {
    let text = String::from_utf8(run("pg_dump", server, database, &[], b"")).unwrap();
    let kept =
        |line: &&str| !["-- Dumped ", "\\restrict ", "\\unrestrict "].iter().any(|prefix| line.starts_with(prefix));
    text.lines().filter(kept).collect::<Vec<_>>().join("\n")
}

fn fresh(server: &Server, database: &str) {
    run("psql", server, "postgres", &["-qc", &format!("DROP DATABASE IF EXISTS {database}")], b"");
    run("psql", server, "postgres", &["-qc", &format!("CREATE DATABASE {database}")], b"");
}

const STRICTLY: [&str; 4] = ["-X", "-q", "-v", "ON_ERROR_STOP=1"];

#[test]
fn dumps_can_be_read_back() {
    let node = Node::start();
    let postgres = Postgres::start();
    let (server, other) = (node.server(), postgres.server());
    run("psql", server, "stratos", &STRICTLY, include_bytes!("objects.sql"));
    run("psql", other, "stratos", &STRICTLY, include_bytes!("objects.sql"));
    let original = dump(server, "stratos");
    // The schema public has another owner in PostgreSQL, a role that stands for the database's.
    let relations = |text: &str| text.split_once("SET default_tablespace").map(|(_, relations)| relations.to_owned());
    assert_eq!(relations(&original), relations(&dump(other, "stratos")), "PostgreSQL's database is another one");
    for word in ["GRANT ", "REVOKE "] {
        assert!(!original.lines().any(|line| line.starts_with(word)), "{word}");
    }

    for options in [&[][..], &["--inserts", "--rows-per-insert=50"], &["--clean", "--if-exists"]] {
        let text = run("pg_dump", server, "stratos", options, b"");
        for to in [server, other] {
            fresh(to, "copy");
            run("psql", to, "copy", &STRICTLY, &text);
            assert_eq!(original, dump(to, "copy"), "{options:?} to port {}", to.port);
        }
    }

    let archive = run("pg_dump", server, "stratos", &["-Fc"], b"");
    for (to, options) in [(server, "--single-transaction"), (other, "--exit-on-error")] {
        fresh(to, "copy");
        run("pg_restore", to, "copy", &["--exit-on-error", options], &archive);
        assert_eq!(original, dump(to, "copy"), "to port {}", to.port);
    }
    // Over what is there already, and what PostgreSQL wrote.
    run("pg_restore", server, "copy", &["--clean", "--if-exists", "--exit-on-error"], &archive);
    assert_eq!(original, dump(server, "copy"));
    let archive = run("pg_dump", other, "stratos", &["-Fc"], b"");
    fresh(server, "copy");
    run("pg_restore", server, "copy", &["--exit-on-error"], &archive);
    assert_eq!(relations(&original), relations(&dump(server, "copy")));
}
