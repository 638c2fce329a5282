//! Answers that PostgreSQL gives, too, message by message.

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, Message, bind_binary, describe, execute, frame, parse, query, sync};
use stratos_tests::node::Node;
use stratos_tests::postgres::Postgres;

/// Kinds of messages, with severity, SQLSTATE and text of errors.
fn told(messages: &[Message]) -> Vec<String> {
    let told = |message: &Message| match message.kind {
        'E' => [b'S', b'C', b'M'].iter().filter_map(|code| message.field(*code)).collect::<Vec<_>>().join(" "),
        kind => kind.to_string(),
    };
    messages.iter().map(told).collect()
}

fn both(ask: impl Fn(&Server) -> Vec<String>) {
    let (node, postgres) = (Node::start(), Postgres::start());
    let expected = ask(postgres.server());
    assert!(!expected.is_empty());
    assert_eq!(ask(node.server()), expected);
}

/// What is told of a binary parameter of each type with so many bytes.
fn lengths(server: &Server) -> Vec<String> {
    let mut frames = Frames::connect(server);
    let mut all = Vec::new();
    for ty in ["bool", "int2", "int4", "int8", "oid", "float4", "float8", "date", "uuid", "interval", "timestamptz"] {
        for length in [0, 1, 3, 17, 40] {
            let value = vec![1; length];
            let bytes = [parse("", &format!("SELECT $1::{ty} IS NULL")), bind_binary("", "", &[&value]), sync()];
            frames.send(&bytes.concat());
            all.push(format!("{ty} {length}: {:?}", told(&frames.until_ready())));
        }
    }
    all
}

#[test]
fn binary_parameters_of_a_wrong_length() {
    both(lengths);
}

/// What is told of a message that has no place among rows.
fn among_rows(server: &Server) -> Vec<String> {
    server.sql("CREATE TABLE rows (a int)");
    let intruders = [
        query("SELECT 1"),
        parse("", "SELECT 1"),
        bind_binary("", "", &[]),
        describe(b'S', ""),
        execute("", 0),
        frame(b'p', b"password\0"),
    ];
    let mut all = Vec::new();
    for intruder in intruders {
        let mut frames = Frames::connect(server);
        frames.send(&query("COPY rows FROM STDIN"));
        assert_eq!(frames.message().unwrap().kind, 'G');
        frames.send(&frame(b'd', b"1\n"));
        frames.send(&intruder);
        // Up to the end of the connection: there is no ReadyForQuery.
        all.push(format!("{}: {:?}", char::from(intruder[0]), told(&frames.until_ready())));
    }
    all.push(server.sql("SELECT count(*) FROM rows"));
    all
}

#[test]
fn a_message_among_copied_rows_ends_the_connection() {
    both(among_rows);
}

/// What drivers decide by, where nothing else would tell them.
fn decided_by(server: &Server) -> Vec<String> {
    let mut frames = Frames::connect(server);
    let mut all = Vec::new();
    // Rows without columns have a description, too.
    let statements = [
        "SELECT",
        "SELECT FROM generate_series(1, 2)",
        "CREATE TABLE nothing ()",
        "INSERT INTO nothing DEFAULT VALUES",
        "SELECT FROM nothing",
        "SELECT * FROM nothing",
        "EXPLAIN SELECT 1",
        "DELETE FROM nothing",
    ];
    for statement in statements {
        let described = [parse("", statement), describe(b'S', ""), bind_binary("", "", &[]), describe(b'P', "")];
        frames.send(&[described.concat(), execute("", 0), sync()].concat());
        let told = told(&frames.until_ready());
        all.push(format!("{statement}: {:?}", told.iter().filter(|kind| *kind != "D").collect::<Vec<_>>()));
    }
    // A driver prepares a statement anew whose columns have changed: it knows that by the routine.
    server.sql("CREATE TABLE changed (a int)");
    frames.send(&[parse("s", "SELECT * FROM changed"), sync()].concat());
    frames.until_ready();
    server.sql("ALTER TABLE changed ADD COLUMN b int");
    frames.send(&[bind_binary("", "s", &[]), execute("", 0), sync()].concat());
    let mut refused = frames.until_ready();
    for statement in ["EXECUTE nothing_prepared", "UPDATE changed SET a = 'x'::text"] {
        frames.send(&query(statement));
        refused.extend(frames.until_ready());
    }
    all.extend(refused.iter().filter(|message| message.kind == 'E').map(|error| format!("{:?}", error.field(b'R'))));
    // Types of what was prepared beside a table that nobody else sees yet.
    frames.send(&[query("BEGIN; CREATE TABLE unseen (a json, b date)")].concat());
    frames.until_ready();
    frames.send(&[parse("t", "INSERT INTO unseen VALUES ($1, $2)"), sync()].concat());
    frames.until_ready();
    all.extend(frames.values(&query("SELECT parameter_types FROM pg_prepared_statements WHERE name = 't'")));
    frames.send(&query("ROLLBACK"));
    frames.until_ready();
    // A session that stops itself, and one that ends itself.
    for stop in ["SELECT pg_cancel_backend(pg_backend_pid())", "SELECT pg_terminate_backend(pg_backend_pid())"] {
        frames.send(&query(stop));
        let told = told(&frames.until_ready());
        all.push(format!("{:?}", told.iter().filter(|kind| *kind != "T" && *kind != "D").collect::<Vec<_>>()));
    }
    all
}

#[test]
fn drivers_are_told_what_they_decide_by() {
    both(decided_by);
}

#[test]
fn types_that_are_not_here_are_refused_by_name() {
    let node = Node::start();
    let mut frames = Frames::connect(node.server());
    for (oid, code, message) in [
        (869_u32, "0A000", "type inet is not supported"),
        (1041, "0A000", "type inet[] is not supported"),
        (1560, "0A000", "type bit is not supported"),
        (3904, "0A000", "type int4range is not supported"),
        (987_654, "42704", "type with OID 987654 does not exist"),
    ] {
        let mut body = b"\0SELECT $1\0\0\x01".to_vec();
        body.extend(oid.to_be_bytes());
        frames.send(&[frame(b'P', &body), sync()].concat());
        let messages = frames.until_ready();
        let error = messages.iter().find(|message| message.kind == 'E').expect("it is refused");
        assert_eq!((error.field(b'C').as_deref(), error.field(b'M').as_deref()), (Some(code), Some(message)));
    }
}
