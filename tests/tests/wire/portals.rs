//! What a prepared statement and a portal remain, whatever happens between the messages.

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, bind, bind_binary, bind_formats, close, describe, execute, parse, query, sync};

/// Types of parameters and columns are those of Parse.
pub fn shapes(server: &Server) {
    let mut frames = Frames::connect(server);
    let mut ok = |sql: &str| assert!(frames.kinds(&query(sql)).ends_with("CZI"), "{sql}");
    ok("CREATE TABLE shapes (a int8)");
    let mut prepared = Frames::connect(server);
    assert_eq!(prepared.kinds(&[parse("i", "INSERT INTO shapes VALUES ($1)"), sync()].concat()), "1ZI");
    ok("ALTER TABLE shapes ALTER a TYPE float8");
    let bound = [bind_binary("", "i", &[&42_i64.to_be_bytes()]), execute("", 0), sync()];
    assert_eq!(prepared.kinds(&bound.concat()), "2CZI");
    assert_eq!(server.sql("SELECT a FROM shapes"), "42");

    let run = |name: &str| [bind("", name, &[]), execute("", 0), sync()].concat();
    for change in ["ADD b int", "RENAME b TO c", "ALTER c TYPE varchar(5)", "ALTER c TYPE varchar(6)", "DROP c"] {
        let mut prepared = Frames::connect(server);
        assert_eq!(prepared.kinds(&query("PREPARE q AS SELECT * FROM shapes")), "CZI");
        assert_eq!(
            prepared.kinds(&[parse("p", "SELECT * FROM shapes"), describe(b'S', "p"), sync()].concat()),
            "1tTZI"
        );
        assert_eq!(prepared.kinds(&run("p")), "2DCZI");
        ok(&format!("ALTER TABLE shapes {change}"));
        assert_eq!(prepared.kinds(&run("p")), "E(0A000)ZI", "{change}");
        assert_eq!(prepared.kinds(&query("EXECUTE q")).replace('T', ""), "E(0A000)ZI", "{change}");
    }
    // Another table by the search path is another statement, of the same shape.
    ok("CREATE SCHEMA shaped; CREATE TABLE shaped.shapes (a text); INSERT INTO shaped.shapes VALUES ('text')");
    let mut prepared = Frames::connect(server);
    assert_eq!(prepared.kinds(&[parse("p", "SELECT a FROM shapes"), sync()].concat()), "1ZI");
    assert_eq!(prepared.kinds(&query("SET search_path = shaped")), "CZI");
    assert_eq!(prepared.kinds(&run("p")), "E(0A000)ZI");
    ok("ALTER TABLE shaped.shapes ALTER a TYPE float8 USING 7");
    assert_eq!(prepared.values(&run("p")), ["7"]);
    // What does not change what comes out is done.
    ok("ALTER TABLE shaped.shapes ADD b int");
    assert_eq!(prepared.values(&run("p")), ["7"]);

    // EXECUTE is described as what it executes; names are folded like any other.
    let described = [parse("", "EXECUTE \"Foo\""), describe(b'S', ""), bind("", "", &[]), describe(b'P', "")];
    let run = [described.concat(), execute("", 0), sync()].concat();
    assert_eq!(frames.kinds(&query("PREPARE \"Foo\" AS SELECT 1; PREPARE foo AS SELECT 2")), "CCZI");
    assert_eq!(frames.kinds(&run), "1tT2TDCZI");
    assert_eq!(frames.values(&query("EXECUTE \"Foo\"; EXECUTE FOO")), ["1", "2"]);
    for missing in ["EXECUTE missing", "FETCH missing"] {
        assert_eq!(frames.kinds(&[parse("", missing), describe(b'S', ""), sync()].concat()), "1tnZI");
    }
    assert_eq!(frames.kinds(&query("EXECUTE missing")), "E(26000)ZI");
}

pub fn portals(server: &Server) {
    let mut frames = Frames::connect(server);
    frames.kinds(&query("CREATE TABLE portals (a int)"));
    let open = |name: &str, sql: &str| [parse("", sql), bind(name, "", &[])].concat();
    let rows = "SELECT g FROM generate_series(1, 5) g";

    // What was opened behind a savepoint is gone with what was done there; what was opened before stays.
    assert_eq!(frames.kinds(&query("BEGIN; DECLARE before CURSOR FOR SELECT 1; SAVEPOINT s")), "CCCZT");
    assert_eq!(
        frames.kinds(&query("INSERT INTO portals VALUES (1); DECLARE c CURSOR FOR SELECT a FROM portals")),
        "CCZT"
    );
    assert_eq!(frames.kinds(&[open("p", "SELECT a FROM portals"), open("", rows), sync()].concat()), "1212ZT");
    assert_eq!(frames.kinds(&query("ROLLBACK TO s")), "CZT");
    assert_eq!(frames.kinds(&query("FETCH before")), "TDCZT");
    assert_eq!(frames.kinds(&query("FETCH c")), "E(34000)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK TO s")), "CZT");
    assert_eq!(frames.kinds(&[execute("p", 0), sync()].concat()), "E(34000)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK")), "CZI");
    // A released savepoint's portals are the transaction's.
    assert_eq!(
        frames.kinds(&query("BEGIN; SAVEPOINT s; DECLARE c CURSOR FOR SELECT 1; RELEASE s; FETCH c")),
        "CCCCTDCZT"
    );
    assert_eq!(frames.kinds(&query("SAVEPOINT s; ROLLBACK TO s; FETCH c; COMMIT")), "CCTCCZI");
    // WITH HOLD outlives a commit, no rollback.
    assert_eq!(frames.kinds(&query("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; ROLLBACK")), "CCCZI");
    assert_eq!(frames.kinds(&query("FETCH c")), "E(34000)ZI");
    assert_eq!(
        frames.kinds(&query("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT; FETCH c; CLOSE c")),
        "CCCTDCCZI"
    );

    // Cursors and portals have one set of names.
    assert_eq!(frames.kinds(&query("BEGIN; DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 5) g")), "CCZT");
    let runs = [describe(b'P', "c"), execute("c", 2), execute("c", 0), execute("c", 0), sync()];
    assert_eq!(frames.kinds(&runs.concat()), "TDDsDDDCCZT");
    assert_eq!(frames.kinds(&[open("c", rows), sync()].concat()), "1E(42P03)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK; BEGIN")), "CCZT");
    assert_eq!(frames.kinds(&[open("c", rows), sync()].concat()), "12ZT");
    assert_eq!(frames.kinds(&query("SAVEPOINT s; DECLARE c CURSOR FOR SELECT 1")), "CE(42P03)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK TO s; CLOSE c")), "CCZT");
    assert_eq!(frames.kinds(&[execute("c", 0), sync()].concat()), "E(34000)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK; BEGIN; DECLARE c CURSOR FOR SELECT 1")), "CCCZT");
    assert_eq!(frames.kinds(&[close(b'P', "c"), sync()].concat()), "3ZT");
    assert_eq!(frames.kinds(&query("DECLARE c CURSOR FOR SELECT 1; ROLLBACK")), "CCZI");

    // A portal that has run out of rows gives none; one that gives none cannot run again.
    let finished = |sql: &str, frames: &mut Frames| {
        frames.kinds(&[open("p", sql), execute("p", 0), execute("p", 0), sync()].concat())
    };
    assert_eq!(finished(rows, &mut frames), "12DDDDDCCZI");
    assert_eq!(finished("INSERT INTO portals VALUES (1)", &mut frames), "12CE(55000)ZI");
    assert_eq!(finished("INSERT INTO portals VALUES (1) RETURNING a", &mut frames), "12DCCZI");
    assert_eq!(finished("SHOW work_mem", &mut frames), "12DCCZI");
    assert_eq!(finished("", &mut frames), "12IIZI");
    frames.send(
        &[open("p", "INSERT INTO portals SELECT 2 FROM generate_series(1, 3) RETURNING a"), execute("p", 2)].concat(),
    );
    frames.send(&[execute("p", 2), execute("p", 2), sync()].concat());
    let tags = frames.until_ready().into_iter().filter(|m| m.kind == 'C');
    let tags: Vec<String> = tags.map(|m| String::from_utf8_lossy(&m.body).trim_end_matches('\0').to_owned()).collect();
    assert_eq!(tags, ["INSERT 0 1", "INSERT 0 0"]);
    assert_eq!(server.sql("SELECT count(*) FROM portals WHERE a = 2"), "3");

    // Formats of results are looked at before anything runs.
    let formats = |sql: &str, formats: &[u16], frames: &mut Frames| {
        frames.kinds(&[parse("", sql), bind_formats("", "", formats), execute("", 0), sync()].concat())
    };
    let counts = "INSERT INTO portals VALUES (3) RETURNING a";
    assert_eq!(formats(counts, &[0, 0], &mut frames), "1E(08P01)ZI");
    assert_eq!(formats(counts, &[7], &mut frames), "12E(22023)ZI");
    assert_eq!(formats("INSERT INTO portals VALUES (4)", &[0, 0], &mut frames), "12CZI");
    assert_eq!(server.sql("SELECT array_agg(a) FROM portals WHERE a > 2"), "{4}");

    // Nothing but its end goes on in a failed block.
    assert_eq!(frames.kinds(&[parse("x", "SELECT 1"), parse("end", "ROLLBACK"), sync()].concat()), "11ZI");
    assert_eq!(frames.kinds(&query("BEGIN")), "CZT");
    assert_eq!(frames.kinds(&[open("p", rows), execute("p", 1), sync()].concat()), "12DsZT");
    assert_eq!(frames.kinds(&query("SELECT 1/0")).replace('T', ""), "E(22012)ZE");
    assert_eq!(frames.kinds(&[execute("p", 1), sync()].concat()), "E(25P02)ZE");
    assert_eq!(frames.kinds(&[bind("", "x", &[]), sync()].concat()), "E(25P02)ZE");
    assert_eq!(frames.kinds(&[describe(b'S', "x"), sync()].concat()), "E(25P02)ZE");
    assert_eq!(frames.kinds(&[bind("", "end", &[]), describe(b'P', ""), execute("", 0), sync()].concat()), "2nCZI");

    // Going on with a portal is a statement of its own: it has its own time.
    assert_eq!(frames.kinds(&query("SET statement_timeout = '3s'; BEGIN")), "CCZT");
    let slow = "SELECT g FROM generate_series(1, 100000) g";
    assert_eq!(frames.kinds(&[open("p", slow), execute("p", 1), sync()].concat()), "12DsZT");
    std::thread::sleep(std::time::Duration::from_millis(3200));
    assert_eq!(frames.kinds(&[execute("p", 0), sync()].concat()).replace('D', ""), "CZT");
    assert_eq!(frames.kinds(&query("ROLLBACK")), "CZI");
}

/// Portals that SQL fetches from.
pub fn fetched(server: &Server) {
    let mut frames = Frames::connect(server);
    let open = |name: &str, sql: &str| [parse("", sql), bind(name, "", &[])].concat();
    let rows = "SELECT g FROM generate_series(1, 9) g";
    assert_eq!(
        frames.kinds(&query("CREATE TABLE fetched (a int); BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1")),
        "CCCZT"
    );
    assert_eq!(frames.kinds(&[open("p", rows), open("q", "SELECT 7"), open("", rows), sync()].concat()), "121212ZT");
    let shown =
        "SELECT concat_ws('|', name, statement, is_holdable, is_binary) FROM pg_cursors WHERE name <> '' ORDER BY name";
    let declared = "CREATE TABLE fetched (a int); BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1";
    let expected = [format!("c|{declared}|t|f"), format!("p|{rows}|f|f"), "q|SELECT 7|f|f".to_owned()];
    assert_eq!(frames.values(&query(shown)), expected);
    assert_eq!(frames.values(&query("FETCH 2 p")), ["1", "2"]);
    assert_eq!(frames.kinds(&[parse("", "FETCH p"), describe(b'S', ""), sync()].concat()), "1tTZT");
    // The protocol goes on where SQL stopped, and the other way round.
    assert_eq!(frames.values(&[describe(b'P', "p"), execute("p", 2), sync()].concat()), ["3", "4"]);
    assert_eq!(frames.values(&query("MOVE p; FETCH NEXT FROM p")), ["6"]);
    assert_eq!(frames.kinds(&[execute("p", 2), execute("p", 2), execute("p", 2), sync()].concat()), "DDsDCCZT");
    assert_eq!(frames.values(&query("FETCH ALL p")).len(), 0);
    // One that ran before.
    assert_eq!(frames.kinds(&[open("r", rows), execute("r", 3), sync()].concat()), "12DDDsZT");
    assert_eq!(frames.values(&query("FETCH r; FETCH ABSOLUTE 6 r; FETCH ALL r")), ["4", "6", "7", "8", "9"]);
    // Formats stay, also for what SQL began to fetch.
    let binary = [parse("", rows), bind_formats("b", "", &[1]), sync()].concat();
    assert_eq!(frames.kinds(&binary), "12ZT");
    assert_eq!(frames.values(&query("FETCH b")), ["1"]);
    frames.send(&[execute("b", 1), sync()].concat());
    let row = frames.until_ready().into_iter().find(|m| m.kind == 'D');
    assert_eq!(row.map(|row| row.columns()), Some(vec![Some(vec![0, 0, 0, 2])]));
    // Writing portals are run by the first FETCH.
    let writes = "INSERT INTO fetched SELECT g FROM generate_series(1, 3) g RETURNING a";
    assert_eq!(frames.kinds(&[open("w", writes), sync()].concat()), "12ZT");
    assert_eq!(
        frames.values(&query("SELECT count(*) FROM fetched; FETCH w; SELECT count(*) FROM fetched")),
        ["0", "1", "3"]
    );
    // Closed by SQL, they are gone for the protocol; a savepoint takes those behind it along.
    assert_eq!(frames.kinds(&query("CLOSE q; CLOSE p; SAVEPOINT s")), "CCCZT");
    assert_eq!(frames.kinds(&[open("s", rows), sync()].concat()), "12ZT");
    assert_eq!(frames.values(&query("FETCH s")), ["1"]);
    assert_eq!(frames.values(&query("ROLLBACK TO s; SELECT name FROM pg_cursors ORDER BY 1")), ["b", "c", "r", "w"]);
    assert_eq!(frames.kinds(&query("FETCH BACKWARD r")), "E(55000)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK TO s")), "CZT");
    assert_eq!(frames.kinds(&[execute("p", 0), sync()].concat()), "E(34000)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK TO s; FETCH s")), "CE(34000)ZE");
    assert_eq!(frames.kinds(&query("ROLLBACK TO s; COMMIT")), "CCZI");
    assert_eq!(frames.values(&query("SELECT name FROM pg_cursors")), ["c"]);
    assert_eq!(frames.kinds(&query("CLOSE ALL; DROP TABLE fetched")), "CCZI");
}
