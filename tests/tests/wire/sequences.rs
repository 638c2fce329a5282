//! Random sequences of the extended protocol's messages, each sent to PostgreSQL as well: what comes back must be the same, message
//! by message, errors with their SQLSTATE, text and position.
//!
//! `STRATOS_WIRE_SEED` starts with another seed, `STRATOS_WIRE_SEQUENCES` sets how many sequences there are. The first seed is a
//! fixed one: one sequence in some thousands shows what PostgreSQL leaves behind by accident, such as the unnamed portal of a query
//! string that failed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, Message, bind_values, close, describe, execute, frame, parse_typed, query, sync};
use stratos_tests::node::Node;
use stratos_tests::postgres::Postgres;

const FIRST_SEED: u64 = 1;
const SEQUENCES: u64 = 400;
/// Sequences by one connection, which is then another one.
const PER_CONNECTION: u64 = 20;

/// Statements of every kind. Not among them: what is planned when it is bound there, and computed when it is run here
/// (`1 / $1`); what fails in a later row, as rows are computed several at once here; what both refuse in a pipeline, at other
/// places of it (VACUUM, CREATE DATABASE); and TRUNCATE, which minds the session's own open portals there.
const STATEMENTS: &[&str] = &[
    "",
    "abort",
    "begin",
    "close c",
    "commit",
    "copy (select 1) to stdout with (format binary)",
    "copy (select * from wire order by id) to stdout",
    "copy (select * from wire order by id) to stdout csv header",
    "create temp table made (a int)",
    "deallocate all",
    "declare c cursor for select generate_series(1, 10)",
    "delete from wire where id = $1 returning id, v",
    "drop table made",
    "execute known",
    "fetch 2 from named",
    "fetch 3 from c",
    "insert into wire values ($1, $2)",
    "insert into wire values (100, 'x') returning *",
    "lock table wire",
    "move 1 in named",
    "prepare known as select 1",
    "rollback",
    "rollback to a",
    "savepoint a",
    "selec 1",
    "select",
    "select $1",
    "select $1 || 'x'",
    "select $1::bytea",
    "select $1::int",
    "select $1::int + $2",
    "select $1::numeric, $2::timestamptz",
    "select $1::text, $2::int4[]",
    "select $3::int",
    "select 1",
    "select 1::int2, 2::int8, 1.5::float4, true, '2020-01-01'::date",
    "select 1; select 2",
    "select 'a'::char(3), 1::numeric(5,2), '1'::varchar(4)",
    "select * from missing",
    "select * from wire order by id",
    "select * from wire where id = $1",
    "select generate_series(1, $1::int)",
    "select missing",
    "select null::int",
    "set application_name = 'x'",
    "set local work_mem = '1MB'",
    "show application_name",
    "update wire set v = $1 where id < $2",
    "values (1, 'a'), (2, 'b')",
];
const NAMES: &[&str] = &["", "", "first", "second"];
const PORTALS: &[&str] = &["", "", "named", "other"];
/// `unknown`, int4, text, numeric, int8; 0 leaves it open.
const TYPES: &[u32] = &[0, 23, 25, 1700, 20, 705];
const VALUES: &[Option<&[u8]>] = &[
    None,
    Some(b""),
    Some(b"0"),
    Some(b"1"),
    Some(b"2"),
    Some(b" 3 "),
    Some(b"abc"),
    Some(b"NaN"),
    Some(b"1e400"),
    Some(b"99999999999"),
    Some(b"2020-01-01"),
    Some(b"{1,2}"),
    Some(b"\\x00"),
    Some(b"\xff"),
    Some(b"\x00\x00\x00\x01"),
];

fn one<T: Copy>(random: &mut StdRng, of: &[T]) -> T {
    *of.choose(random).unwrap()
}

fn parameters(sql: &str) -> usize {
    ["$1", "$2", "$3"].iter().filter(|name| sql.contains(**name)).count()
}

fn values(random: &mut StdRng, count: usize) -> Vec<Option<&'static [u8]>> {
    (0..count).map(|_| one(random, VALUES)).collect()
}

/// A statement from Parse to Execute, mostly as a driver sends it.
fn whole(random: &mut StdRng) -> Vec<u8> {
    let (name, portal, sql) = (one(random, NAMES), one(random, PORTALS), one(random, STATEMENTS));
    let values = values(random, parameters(sql));
    let binary: &[u16] = if random.random_ratio(1, 3) { &[1] } else { &[] };
    let mut bytes = parse_typed(name, sql, &[]);
    bytes.extend(bind_values(portal, name, &[], &values, binary));
    if random.random_ratio(3, 5) {
        bytes.extend(describe(b'P', portal));
    }
    bytes.extend(execute(portal, one(random, &[0, 0, 1, 2])));
    if random.random_ratio(1, 3) {
        bytes.extend(execute(portal, one(random, &[0, 1, 2])));
    }
    bytes
}

/// A message that need not fit what was before.
fn any(random: &mut StdRng) -> Vec<u8> {
    let (name, portal) = (one(random, NAMES), one(random, PORTALS));
    match random.random_range(0..100) {
        0..25 => {
            let sql = one(random, STATEMENTS);
            let count = if parameters(sql) == 0 { 0 } else { random.random_range(0..=parameters(sql)) };
            let types: Vec<u32> = (0..count).map(|_| one(random, TYPES)).collect();
            parse_typed(name, sql, &types)
        }
        25..50 => {
            let count = random.random_range(0..4);
            let formats: &[&[u16]] = &[&[], &[], &[0], &[1], &[0, 1], &[0, 1, 0, 1]];
            let results: &[&[u16]] = &[&[], &[], &[0], &[1], &[0, 1], &[1, 1, 1]];
            let values = values(random, count);
            bind_values(portal, name, one(random, formats), &values, one(random, results))
        }
        50..62 => match random.random_bool(0.4) {
            true => describe(b'S', name),
            false => describe(b'P', portal),
        },
        62..84 => execute(portal, one(random, &[0, 0, 0, 1, 2, 5, -1])),
        84..88 => match random.random_bool(0.5) {
            true => close(b'S', name),
            false => close(b'P', portal),
        },
        88..91 => frame(b'H', &[]),
        // They belong to COPY, and are passed over here.
        91..94 => frame(b'd', b"7\tseven\n"),
        94..96 => frame(b'c', &[]),
        96..98 => frame(b'f', b"no\0"),
        _ => sync(),
    }
}

fn sequence(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..=3) {
        if random.random_ratio(1, 5) {
            let statements: Vec<&str> = STATEMENTS.iter().copied().filter(|sql| parameters(sql) == 0).collect();
            let several: Vec<&str> = (0..random.random_range(1..=4)).map(|_| one(random, &statements)).collect();
            bytes.extend(query(&several.join("; ")));
            continue;
        }
        for _ in 0..random.random_range(1..=9) {
            let next = if random.random_ratio(3, 5) { whole(random) } else { any(random) };
            bytes.extend(next);
            if random.random_ratio(1, 7) {
                bytes.extend(sync());
            }
        }
    }
    bytes.extend(sync());
    bytes
}

/// What a message says, without OIDs of tables.
fn told(message: &Message) -> String {
    match message.kind {
        'E' | 'N' => {
            let field = |code: &u8| message.field(*code).map(|value| format!("{}={value}", char::from(*code)));
            let fields: Vec<String> = [b'S', b'C', b'M', b'P'].iter().filter_map(field).collect();
            format!("{} {}", message.kind, fields.join(" "))
        }
        'T' => {
            let mut rest = &message.body[2..];
            let mut columns = Vec::new();
            while let Some(end) = rest.iter().position(|b| *b == 0) {
                // Behind the name: table and column, then type, length, modifier and format.
                columns.push(format!("{} {:?}", String::from_utf8_lossy(&rest[..end]), &rest[end + 7..end + 19]));
                rest = &rest[end + 19..];
            }
            format!("T {}", columns.join(", "))
        }
        kind => format!("{kind} {}", String::from_utf8_lossy(&message.body)),
    }
}

/// A connection that starts each sequence from the same state.
struct Peer(Frames);

impl Peer {
    fn new(server: &Server) -> Peer {
        Peer(Frames::connect(server))
    }

    fn reset(&mut self) {
        for sql in [
            "rollback",
            "discard all",
            "drop table if exists wire",
            "create table wire (id int primary key, v text)",
            "insert into wire values (1, 'a'), (2, 'b'), (3, null)",
        ] {
            let told = self.0.kinds(&query(sql));
            assert!(told.ends_with("CZI"), "{sql}: {told}");
        }
    }

    /// Everything that comes back, up to the answer to what is sent last.
    fn answers(&mut self, bytes: &[u8]) -> Vec<String> {
        // It is refused in the same words in every state of a transaction.
        const LAST: &str = "the_last_one";
        self.0.send(bytes);
        self.0.send(&query(LAST));
        let (mut all, mut last) = (Vec::new(), false);
        while let Some(message) = self.0.message() {
            last |= message.kind == 'E' && message.field(b'M').is_some_and(|text| text.contains(LAST));
            // ParameterStatus comes at once here, and at the end of what failed there.
            if message.kind != 'S' {
                all.push(told(&message));
            }
            if last && message.kind == 'Z' {
                break;
            }
        }
        all
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn random_sequences_are_answered_as_postgres_does() {
    let first = setting("STRATOS_WIRE_SEED").unwrap_or(FIRST_SEED);
    let count = setting("STRATOS_WIRE_SEQUENCES").unwrap_or(SEQUENCES);
    println!("STRATOS_WIRE_SEED={first} STRATOS_WIRE_SEQUENCES={count}");
    let (node, postgres) = (Node::start(), Postgres::start());
    let new = || [Peer::new(postgres.server()), Peer::new(node.server())];
    let mut peers = new();
    for number in 0..count {
        if number % PER_CONNECTION == 0 {
            peers = new();
        }
        let seed = first.wrapping_add(number);
        let bytes = sequence(&mut StdRng::seed_from_u64(seed));
        let [expected, told] = peers.each_mut().map(|peer| {
            peer.reset();
            peer.answers(&bytes)
        });
        if expected != told {
            let at = expected.iter().zip(&told).take_while(|(a, b)| a == b).count();
            panic!(
                "STRATOS_WIRE_SEED={seed} STRATOS_WIRE_SEQUENCES=1: {}\nanswer {at}\nPostgreSQL: {:?}\nStratos: {:?}",
                bytes.escape_ascii(),
                expected.get(at),
                told.get(at),
            );
        }
    }
}
