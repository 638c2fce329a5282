//! The same text prepared again and again: each Parse means what it would alone, whatever has changed since the last one.

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, bind, close, describe, execute, frame, parse, query, sync};

/// More often than a text has to come before what was made of it is kept.
const OFTEN: usize = 4;

/// `Parse` of the unnamed statement with one declared type.
fn parse_typed(sql: &str, oid: u32) -> Vec<u8> {
    frame(b'P', &[&[0], sql.as_bytes(), &[0, 0, 1], &oid.to_be_bytes()[..]].concat())
}

fn run(sql: &str, parameters: &[&str]) -> Vec<u8> {
    [parse("", sql), bind("", "", parameters), execute("", 0), sync()].concat()
}

/// What the text gives, asked several times.
fn asked(frames: &mut Frames, sql: &str) -> String {
    let mut all: Vec<_> = (0..OFTEN).map(|_| frames.kinds(&run(sql, &[]))).collect();
    all.dedup();
    assert_eq!(all.len(), 1, "{sql}: {all:?}");
    if all[0].contains('E') { all.swap_remove(0) } else { frames.values(&run(sql, &[])).join(",") }
}

pub fn again(server: &Server) {
    let mut other = Frames::connect(server);
    let mut ok = |sql: &str| {
        let kinds = other.kinds(&query(sql));
        assert!(kinds.ends_with('I') && !kinds.contains('E'), "{sql}: {kinds}");
    };
    ok("CREATE TABLE again (a int PRIMARY KEY, b text); INSERT INTO again VALUES (1, 'one'), (2, 'two')");
    let mut frames = Frames::connect(server);

    // Other values, and none left over from the last time.
    for (key, value) in [("1", "one"), ("2", "two"), ("1", "one"), ("3", ""), ("2", "two")] {
        assert_eq!(frames.values(&run("SELECT b FROM again WHERE a = $1", &[key])).join(","), value);
    }
    assert_eq!(frames.kinds(&run("SELECT b FROM again WHERE a = $1", &[])), "1E(08P01)ZI");

    // The definition of the table: no plan of a Parse before binds this one to its columns.
    let all = "SELECT * FROM again WHERE a = 1";
    assert_eq!(asked(&mut frames, all), "1");
    let described = [parse("", all), describe(b'S', ""), sync()].concat();
    let columns = |frames: &mut Frames| {
        frames.send(&described);
        let messages = frames.until_ready();
        let columns = messages.iter().find(|message| message.kind == 'T').map(|message| message.body[1]);
        columns.unwrap()
    };
    assert_eq!(columns(&mut frames), 2);
    ok("ALTER TABLE again ADD c int DEFAULT 7");
    assert_eq!(columns(&mut frames), 3);
    assert_eq!(asked(&mut frames, "SELECT c FROM again WHERE a = 1"), "7");
    ok("ALTER TABLE again DROP c");
    assert_eq!(asked(&mut frames, "SELECT c FROM again WHERE a = 1"), "E(42703)ZI");
    assert_eq!(columns(&mut frames), 2);

    // A transaction's own schema, as long as it is there.
    assert_eq!(asked(&mut frames, "SELECT count(*) FROM again"), "2");
    assert_eq!(frames.kinds(&query("BEGIN; ALTER TABLE again ADD d int; DELETE FROM again WHERE a = 2")), "CCCZT");
    assert_eq!(columns(&mut frames), 3);
    assert_eq!(frames.values(&run("SELECT count(*) FROM again", &[])), ["1"]);
    assert!(frames.kinds(&query("SELECT 1/0")).ends_with("E(22012)ZE"));
    assert_eq!(frames.kinds(&run("SELECT count(*) FROM again", &[])), "E(25P02)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK")), "CZI");
    assert_eq!(columns(&mut frames), 2);

    // Declared types.
    for (oid, name) in [(23, "integer"), (25, "text"), (23, "integer"), (20, "bigint"), (20, "bigint"), (20, "bigint")]
    {
        let bytes = [parse_typed("SELECT pg_typeof($1)", oid), bind("", "", &["5"]), execute("", 0), sync()];
        assert_eq!(frames.values(&bytes.concat()), [name]);
    }

    // Settings by which literals are read and names are looked up.
    let date = "SELECT extract(month FROM '01/02/2000'::date)::int";
    let instant = "SELECT extract(epoch FROM '2000-01-01 00:00:00'::timestamptz)::int8";
    assert_eq!(frames.kinds(&query("SET DateStyle = 'ISO, MDY'; SET TimeZone = 'UTC'")), "CCZI");
    assert_eq!([asked(&mut frames, date), asked(&mut frames, instant)], ["1", "946684800"]);
    assert_eq!(frames.kinds(&query("SET DateStyle = 'ISO, DMY'; SET TimeZone = 'Asia/Tokyo'")), "CCZI");
    assert_eq!([asked(&mut frames, date), asked(&mut frames, instant)], ["2", "946652400"]);
    ok("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.again (a text); INSERT INTO elsewhere.again VALUES ('x')");
    assert_eq!(frames.kinds(&query("SET search_path = elsewhere")), "CZI");
    assert_eq!(asked(&mut frames, "SELECT a FROM again"), "x");
    assert_eq!(frames.kinds(&query("RESET search_path")), "CZI");
    assert_eq!(asked(&mut frames, "SELECT a FROM again ORDER BY 1"), "1,2");
    for clock in ["SELECT 'now'::timestamptz::text", "SELECT 'now'::text::timestamptz::text", "SELECT now()::text"] {
        let mut moments: Vec<_> = (0..OFTEN).flat_map(|_| frames.values(&run(clock, &[]))).collect();
        moments.dedup();
        assert_eq!(moments.len(), OFTEN, "{clock}");
    }
    ok("CREATE ROLE again_role");
    assert_eq!(asked(&mut frames, "SELECT 'again_role'::regrole::text"), "again_role");
    ok("DROP ROLE again_role");
    assert!(asked(&mut frames, "SELECT 'again_role'::regrole::text").ends_with("E(42704)ZI"));

    // Writes, and the ends of transactions.
    let (insert, delete) = ("INSERT INTO again VALUES (9, $1) RETURNING b", "DELETE FROM again WHERE a = 9");
    for value in ["p", "q", "r", "s"] {
        assert_eq!(frames.kinds(&run("BEGIN", &[])), "12CZT");
        assert_eq!(frames.values(&run(insert, &[value])), [value]);
        assert_eq!(frames.kinds(&run("COMMIT", &[])), "12CZI");
        assert_eq!(frames.kinds(&run(insert, &[value])), "12E(23505)ZI");
        assert_eq!(frames.kinds(&run(delete, &[])), "12CZI");
    }

    // By names: each is a statement of its own.
    let sql = "SELECT b FROM again WHERE a = 1";
    for name in ["n1", "n2", "n3", "n4"] {
        assert_eq!(frames.kinds(&[parse(name, sql), sync()].concat()), "1ZI");
        assert_eq!(frames.kinds(&[parse(name, sql), sync()].concat()), "E(42P05)ZI");
    }
    assert_eq!(frames.kinds(&[close(b'S', "n2"), parse("n2", "SELECT 2"), sync()].concat()), "31ZI");
    let facts = "SELECT count(*) || ' ' || count(DISTINCT prepare_time) FROM pg_prepared_statements";
    assert_eq!(asked(&mut frames, facts), "4 4");
    let by_name = |name: &str| [bind("", name, &[]), execute("", 0), sync()].concat();
    assert_eq!(frames.values(&by_name("n1")), ["one"]);
    assert_eq!(frames.values(&by_name("n2")), ["2"]);
    // What was told of a name stays, whatever the same text means by another name since.
    assert_eq!(frames.kinds(&[parse("old", all), describe(b'S', "old"), sync()].concat()), "1tTZI");
    ok("ALTER TABLE again ADD e int");
    assert_eq!(columns(&mut frames), 3);
    assert_eq!(frames.kinds(&by_name("old")), "E(0A000)ZI");
    assert_eq!(frames.kinds(&run(all, &[])), "12DCZI");
    assert_eq!(frames.kinds(&query("DISCARD ALL")), "CZI");
    assert_eq!(frames.kinds(&by_name("n1")), "E(26000)ZI");
    assert_eq!(frames.values(&run(sql, &[])), ["one"]);
}
