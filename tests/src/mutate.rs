//! Streams of messages as clients send them, and what goes wrong with them.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::frames::{bind, close, describe, execute, frame, packet, parse, query, sync};

/// Most things that go wrong in one stream.
const MUTATIONS_MAX: usize = 4;
/// Most bytes that are inserted at once.
const INSERTED_BYTES_MAX: usize = 40;

/// Kinds of messages that clients send.
const KINDS: &[u8] = b"QPBDECHSFdcfpX";

/// The streams of well-behaved clients, message by message. They change nothing but the table `fuzzed`.
fn streams() -> Vec<Vec<Vec<u8>>> {
    let copied = |lines: &str| frame(b'd', lines.as_bytes());
    vec![
        vec![query("SELECT 1, 'two', 3.5, true, NULL"), query("SELECT * FROM fuzzed ORDER BY a LIMIT 3")],
        vec![query("BEGIN; INSERT INTO fuzzed VALUES (1000, 'x'); SELECT 1/0; SELECT 2"), query("ROLLBACK")],
        vec![
            parse("s", "SELECT a, b FROM fuzzed WHERE a > $1 AND b <> $2"),
            describe(b'S', "s"),
            bind("", "s", &["3", "zwölf"]),
            describe(b'P', ""),
            execute("", 0),
            sync(),
            close(b'S', "s"),
            sync(),
        ],
        vec![
            query("BEGIN"),
            parse("", "SELECT g FROM generate_series(1, 9) g"),
            bind("p", "", &[]),
            execute("p", 2),
            frame(b'H', b""),
            execute("p", 4),
            close(b'P', "p"),
            sync(),
            query("COMMIT"),
        ],
        vec![
            frame(b'P', b"bin\0SELECT $1::int4 + 1, $2::text, $3::numeric, $4::jsonb, $5::int4[]\0\0\x02\0\0\0\x17\0\0\0\x19"),
            frame(
                b'B',
                b"\0bin\0\0\x05\0\x01\0\x01\0\0\0\x01\0\x01\0\x05\0\0\0\x04\0\0\0\x29\0\0\0\x02ab\0\0\0\x031.5\0\0\0\x03\x01[]\
                  \0\0\0\x1c\0\0\0\x01\0\0\0\0\0\0\0\x17\0\0\0\x01\0\0\0\x01\0\0\0\x04\0\0\0\x07\0\x01\0\x01",
            ),
            execute("", 0),
            sync(),
        ],
        vec![query("COPY fuzzed FROM STDIN"), copied("2001\tone\n2002\t\\N\n"), copied("2003\tx"), frame(b'c', b"")],
        vec![query("COPY fuzzed FROM STDIN (FORMAT csv)"), copied("3001,\"a\"\"b\"\n"), frame(b'f', b"enough\0")],
        vec![
            query("COPY fuzzed FROM STDIN (FORMAT binary)"),
            frame(b'd', b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\x10\0\0\0\0\x01z\xff\xff"),
            frame(b'c', b""),
        ],
        vec![query("COPY (SELECT a, b FROM fuzzed ORDER BY a) TO STDOUT"), query("COPY fuzzed TO STDOUT (FORMAT binary)")],
        vec![
            parse("", "INSERT INTO fuzzed VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = excluded.b RETURNING a"),
            bind("", "", &["5", "five"]),
            execute("", 0),
            parse("", "DELETE FROM fuzzed WHERE a = $1"),
            bind("", "", &["4001"]),
            execute("", 1),
            sync(),
        ],
        vec![
            query("DECLARE c CURSOR WITH HOLD FOR SELECT a FROM fuzzed; FETCH 2 FROM c; CLOSE c"),
            query("PREPARE q (int) AS SELECT $1; EXECUTE q(1); DEALLOCATE q"),
            query("SET application_name TO 'fuzz'; SHOW application_name"),
            frame(b'X', b""),
        ],
    ]
}

/// What a client says before it may ask anything.
fn startup(user: &str, database: &str) -> Vec<u8> {
    packet(3 << 16, format!("user\0{user}\0database\0{database}\0options\0-c DateStyle=ISO\0\0").as_bytes())
}

/// A stream in which something is wrong.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// They begin with the startup packet; otherwise they are for a connection that is ready.
    pub from_the_start: bool,
}

/// A case by its number: the same every time.
pub fn case(seed: u64, number: u64, user: &str, database: &str) -> Case {
    let mut random = StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let mut known = streams();
    let mut messages = known.swap_remove(random.random_range(0..known.len()));
    if random.random_bool(0.3) {
        let mut known = streams();
        messages.extend(known.swap_remove(random.random_range(0..known.len())));
    }
    let from_the_start = random.random_bool(0.1);
    if from_the_start {
        messages.insert(0, startup(user, database));
        if random.random_bool(0.3) {
            messages.insert(0, packet(80_877_104, &[]));
        }
        if random.random_bool(0.1) {
            messages.insert(0, packet(80_877_102, &[0, 0, 0, 1, 0, 0, 0, 2]));
        }
    }
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..=MUTATIONS_MAX) {
        if random.random_bool(0.5) {
            mutate_message(&mut random, &mut messages);
        }
    }
    for message in &messages {
        bytes.extend(message);
    }
    for _ in 0..random.random_range(0..MUTATIONS_MAX) {
        mutate_bytes(&mut random, &mut bytes);
    }
    Case { bytes, from_the_start }
}

/// Wrong in a way that keeps the frames.
fn mutate_message(random: &mut StdRng, messages: &mut Vec<Vec<u8>>) {
    let at = random.random_range(0..messages.len());
    match random.random_range(0..7) {
        // A kind that does not go with the body.
        0 => messages[at][0] = KINDS[random.random_range(0..KINDS.len())],
        // A body that ends early, with the length to match.
        1 if messages[at].len() > 5 => {
            let body = random.random_range(5..=messages[at].len());
            messages[at] = frame(messages[at][0], &messages[at][5..body]);
        }
        // One that goes on too long.
        2 => {
            let mut body = messages[at].get(5..).unwrap_or_default().to_vec();
            body.extend((0..random.random_range(1..INSERTED_BYTES_MAX)).map(|_| random.random::<u8>()));
            messages[at] = frame(messages[at][0], &body);
        }
        // Bytes of the body, the length untouched.
        3 if messages[at].len() > 5 => {
            for _ in 0..random.random_range(1..4) {
                let byte = random.random_range(5..messages[at].len());
                messages[at][byte] = random.random();
            }
        }
        4 => {
            let again = messages[at].clone();
            messages.insert(at, again);
        }
        5 if messages.len() > 1 => {
            messages.remove(at);
        }
        _ => {
            let other = random.random_range(0..messages.len());
            messages.swap(at, other);
        }
    }
}

/// Wrong anywhere.
fn mutate_bytes(random: &mut StdRng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = random.random_range(0..bytes.len());
    match random.random_range(0..5) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes.truncate(at),
        2 => {
            let count = random.random_range(1..INSERTED_BYTES_MAX);
            let inserted: Vec<u8> = (0..count).map(|_| random.random()).collect();
            bytes.splice(at..at, inserted);
        }
        3 => {
            let end = (at + random.random_range(1..INSERTED_BYTES_MAX)).min(bytes.len());
            bytes.drain(at..end);
        }
        // A number that is interesting as a length or a count.
        _ => {
            let numbers = [0, 1, 3, 4, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, -1, -2, i32::MIN];
            let number: i32 = numbers[random.random_range(0..numbers.len())];
            let end = (at + 4).min(bytes.len());
            bytes.splice(at..end, number.to_be_bytes());
        }
    }
}
