//! Ways around the general path that must not be noticed: rows taken by the thousand, texts that come again with other
//! integers. What is expected here is asked of PostgreSQL too.
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, frame, query};
use stratos_tests::node::{Node, run};
use stratos_tests::postgres::Postgres;

/// Rows that arrive by the thousand are taken as those that arrive one by one.
fn bulk_copy(server: &Server) {
    let mut frames = Frames::connect(server);
    assert_eq!(frames.kinds(&query("CREATE TABLE bulk (a int PRIMARY KEY, b int UNIQUE, c text)")), "CZI");
    let copy = |frames: &mut Frames, rows: &mut dyn Iterator<Item = (i32, String)>| {
        frames.send(&query("COPY bulk FROM STDIN"));
        assert_eq!(frames.message().map(|m| m.kind), Some('G'));
        let rows = rows.map(|(a, b)| frame(b'd', format!("{a}\t{b}\trow {a}\n").as_bytes()));
        let rows: Vec<u8> = rows.flatten().collect();
        frames.send(&[rows, frame(b'c', &[])].concat());
        frames.until_ready().into_iter().find(|m| m.kind == 'E').map(|m| (m.field(b'C'), m.field(b'W')))
    };
    let rows = |from: i32, to: i32| (from..=to).map(|a| (a, (a * 2).to_string()));
    let facts = || server.sql("SELECT count(*), sum(a), sum(b), min(c), max(length(c)) FROM bulk");
    assert_eq!(copy(&mut frames, &mut rows(1, 30_000)), None);
    assert_eq!(facts(), "30000|450015000|900030000|row 1|9");
    // A key that is taken, by the same COPY or before it, and a value that is none: the first of them counts.
    let fault = |code: &str, context: &str| Some((Some(code.to_owned()), Some(context.to_owned())));
    let twice = rows(40_000, 64_000).chain(rows(50_000, 50_000)).chain(rows(70_000, 90_000));
    assert_eq!(copy(&mut frames, &mut twice.into_iter()), fault("23505", "COPY bulk, line 24002"));
    let entry = rows(40_000, 64_000).chain([(70_000, "60000".to_owned())]);
    assert_eq!(copy(&mut frames, &mut entry.into_iter()), fault("23505", "COPY bulk, line 24002"));
    let text = rows(40_000, 64_000).chain([(70_000, "x".to_owned())]).chain(rows(50_000, 50_000));
    assert_eq!(copy(&mut frames, &mut text.into_iter()), fault("22P02", "COPY bulk, line 24002, column b: \"x\""));
    assert_eq!(facts(), "30000|450015000|900030000|row 1|9");
    // Between, before and behind the rows that are there, and read by key at once.
    assert_eq!(frames.kinds(&query("DELETE FROM bulk WHERE a % 3 = 0")), "CZI");
    let between = (-30_000..=0).chain((1..=30_000).filter(|a| a % 3 == 0)).chain(30_001..=31_000);
    assert_eq!(copy(&mut frames, &mut between.map(|a| (a, (a * 2).to_string()))), None);
    assert_eq!(facts(), "61001|30500500|61001000|row -1|10");
    assert_eq!(
        server.sql("SELECT c FROM bulk WHERE a = 29999; SELECT a FROM bulk WHERE b = -59998"),
        "row 29999\n-29999"
    );
    // The same by a query.
    assert_eq!(frames.kinds(&query("CREATE TABLE bulk2 (a int PRIMARY KEY, b int)")), "CZI");
    assert_eq!(frames.kinds(&query("INSERT INTO bulk2 SELECT a, b FROM bulk")), "CZI");
    assert_eq!(server.sql("SELECT count(*), sum(a), sum(b) FROM bulk2"), "61001|30500500|61001000");
    assert_eq!(frames.kinds(&query("INSERT INTO bulk2 SELECT a + 31000, b FROM bulk")), "E(23505)ZI");
    assert_eq!(server.sql("SELECT count(*) FROM bulk2"), "61001");
}

/// A text that comes again with other integers means what it would mean alone.
fn recalled(server: &Server) {
    let mut frames = Frames::connect(server);
    let mut first_value = |sql: String| {
        frames.send(&query(&sql));
        let messages = frames.until_ready();
        let error = messages.iter().find(|m| m.kind == 'E').and_then(|m| m.field(b'C'));
        let value = messages.iter().find(|m| m.kind == 'D').map(|m| m.columns()[0].clone());
        let tag = messages
            .iter()
            .find(|m| m.kind == 'C')
            .and_then(|m| Some(String::from_utf8_lossy(m.body.split_last()?.1).into_owned()));
        (error, value.map(|v| v.map(|v| String::from_utf8_lossy(&v).into_owned())), tag)
    };
    let value = |v: &str| (None, Some(Some(v.to_owned())), Some("SELECT 1".to_owned()));
    first_value("CREATE TABLE again (id int PRIMARY KEY, s int2, n numeric(6,2))".to_owned());
    for id in 1..=4 {
        let tag = Some("INSERT 0 1".to_owned());
        assert_eq!(
            first_value(format!("INSERT INTO again (id, s, n) VALUES ({id}, -{id}, {id} + 1)")),
            (None, None, tag)
        );
    }
    for id in 1..=4 {
        let tag = Some("UPDATE 1".to_owned());
        assert_eq!(first_value(format!("UPDATE again SET s = s + -{id} WHERE id = {id};")), (None, None, tag));
        assert_eq!(first_value(format!("SELECT s FROM again WHERE id = {id}")), value(&format!("{}", -2 * id)));
        assert_eq!(first_value(format!("SELECT n FROM again WHERE id = {id}")), value(&format!("{}.00", id + 1)));
    }
    // Errors of the values, other types of the integers.
    let code = |code: &str| (Some(code.to_owned()), None, None);
    assert_eq!(first_value("INSERT INTO again (id, s, n) VALUES (5, -70000, 5 + 1)".to_owned()), code("22003"));
    assert_eq!(first_value("UPDATE again SET s = s + -3000000000 WHERE id = 1;".to_owned()), code("22003"));
    let none = (None, None, Some("SELECT 0".to_owned()));
    for id in [3_000_000_000_u64, 4_000_000_000, 5_000_000_000] {
        assert_eq!(first_value(format!("SELECT s FROM again WHERE id = {id}")), none);
    }
    // The table changes under it.
    first_value("ALTER TABLE again ALTER COLUMN s TYPE text".to_owned());
    assert_eq!(first_value("SELECT s FROM again WHERE id = 2".to_owned()), value("-4"));
    assert_eq!(first_value("UPDATE again SET s = s + -5 WHERE id = 1;".to_owned()), code("42883"));
    first_value("ALTER TABLE again DROP COLUMN s".to_owned());
    assert_eq!(first_value("SELECT s FROM again WHERE id = 2".to_owned()), code("42703"));
    for _ in 0..3 {
        assert_eq!(first_value("BEGIN".to_owned()).2.as_deref(), Some("BEGIN"));
        assert_eq!(first_value("SELECT n FROM again WHERE id = 1".to_owned()), value("2.00"));
        assert_eq!(first_value("END;".to_owned()).2.as_deref(), Some("COMMIT"));
    }
}

/// What a statement gives first: the values of each row with `|` between them, rows with `,`, or the code of its error.
fn answer(frames: &mut Frames, sql: &str) -> String {
    frames.send(&query(sql));
    let messages = frames.until_ready();
    if let Some(code) = messages.iter().find(|m| m.kind == 'E').and_then(|m| m.field(b'C')) {
        return code;
    }
    let value = |v: Option<Vec<u8>>| v.map_or("NULL".to_owned(), |v| String::from_utf8_lossy(&v).into_owned());
    let rows = messages.iter().filter(|m| m.kind == 'D');
    let rows: Vec<String> = rows
        .map(|m| m.columns().iter().map(|v| value(v.as_ref().map(|v| v.to_vec()))).collect::<Vec<_>>().join("|"))
        .collect();
    rows.join(",")
}

/// Look-ups in system tables, whose rows are kept: each sees the catalog as it is for its transaction.
fn looked_up_in_the_catalog(server: &Server) {
    let (mut one, mut two) = (Frames::connect(server), Frames::connect(server));
    let named = "SELECT relname, relkind FROM pg_class WHERE relname LIKE 'looked%' ORDER BY relname DESC";
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'looked%'";
    let columns = "SELECT attname, attnotnull, format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute \
                   WHERE attrelid = 'looked_up'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    assert_eq!(answer(&mut one, named), "");
    assert_eq!(answer(&mut one, columns), "42P01");
    answer(&mut one, "CREATE TABLE looked_up (a int PRIMARY KEY, b varchar(5) DEFAULT 'x', c numeric(4,1))");
    for frames in [&mut one, &mut two] {
        assert_eq!(answer(frames, named), "looked_up_pkey|i,looked_up|r");
        assert_eq!(answer(frames, columns), "a|t|integer,b|f|character varying(5),c|f|numeric(4,1)");
        assert_eq!(answer(frames, tables), "1");
    }
    // What a transaction changes is seen by itself alone, and by nobody when it is taken back.
    answer(&mut one, "BEGIN");
    answer(&mut one, "CREATE TABLE looked_at (a int)");
    assert_eq!(answer(&mut one, named), "looked_up_pkey|i,looked_up|r,looked_at|r");
    assert_eq!(answer(&mut one, tables), "2");
    assert_eq!(answer(&mut two, named), "looked_up_pkey|i,looked_up|r");
    answer(&mut one, "CREATE TABLE looked_for (a int)");
    assert_eq!(answer(&mut one, tables), "3");
    answer(&mut one, "ROLLBACK");
    for frames in [&mut one, &mut two] {
        assert_eq!(answer(frames, tables), "1");
    }
    answer(&mut two, "ALTER TABLE looked_up RENAME COLUMN b TO bb; ALTER TABLE looked_up ALTER bb SET NOT NULL");
    assert_eq!(answer(&mut one, columns), "a|t|integer,bb|t|character varying(5),c|f|numeric(4,1)");
    answer(&mut two, "ALTER TABLE looked_up DROP COLUMN c");
    assert_eq!(answer(&mut one, columns), "a|t|integer,bb|t|character varying(5)");
    // Aggregates, limits, NULL, expressions, errors.
    assert_eq!(
        answer(
            &mut one,
            "SELECT max(attnum), count(*) FROM pg_attribute WHERE attrelid = 'looked_up'::regclass AND attnum > 0 AND NOT attisdropped"
        ),
        "2|2"
    );
    assert_eq!(
        answer(&mut one, "SELECT relname FROM pg_class WHERE relname LIKE 'looked%' ORDER BY 1 OFFSET 1 LIMIT 1"),
        "looked_up_pkey"
    );
    assert_eq!(answer(&mut one, "SELECT nspname FROM pg_namespace WHERE nspname = 'public' LIMIT 0"), "");
    assert_eq!(answer(&mut one, "SELECT 1 FROM pg_namespace WHERE nspname = NULL"), "");
    assert_eq!(answer(&mut one, "SELECT upper(typname::text) || typlen FROM pg_type WHERE oid = 23"), "INT44");
    assert_eq!(answer(&mut one, "SELECT 1 / (oid::int - 23) FROM pg_type WHERE oid = 23"), "22012");
    assert_eq!(answer(&mut one, "SELECT nspname FROM pg_namespace LIMIT -1"), "2201W");
    // Names print as the search path asks for them.
    answer(
        &mut one,
        "CREATE SCHEMA looked; CREATE SEQUENCE looked.at_last; CREATE TABLE looked_back (a int DEFAULT nextval('looked.at_last'))",
    );
    let default = "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'looked_back'::regclass";
    assert_eq!(answer(&mut one, default), "nextval('looked.at_last'::regclass)");
    answer(&mut one, "SET search_path = public, looked");
    assert_eq!(answer(&mut one, default), "nextval('at_last'::regclass)");
    assert_eq!(answer(&mut two, default), "nextval('looked.at_last'::regclass)");
    answer(&mut one, "DROP TABLE looked_up, looked_back; DROP SEQUENCE looked.at_last; DROP SCHEMA looked");
    assert_eq!(answer(&mut two, named), "");
}

/// Rows that go without being looked at are asked again when others have changed them meanwhile.
fn deleted_beside_others(server: &Server) {
    let (mut one, mut two) = (Frames::connect(server), Frames::connect(server));
    answer(&mut one, "CREATE TABLE gone (id int PRIMARY KEY, v int)");
    answer(&mut one, "INSERT INTO gone SELECT i, i % 100 FROM generate_series(1, 3000) i");
    answer(&mut one, "BEGIN");
    answer(&mut one, "UPDATE gone SET v = 1000 WHERE id = 150; UPDATE gone SET v = 71 WHERE id = 170");
    two.send(&query("DELETE FROM gone WHERE v < 90"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    answer(&mut one, "COMMIT");
    let tag = two.until_ready().into_iter().find(|m| m.kind == 'C').map(|m| m.body);
    assert_eq!(tag.as_deref(), Some(&b"DELETE 2699\0"[..]));
    assert_eq!(answer(&mut one, "SELECT count(*), min(v), max(v) FROM gone"), "301|90|1000");
    // What is gone by then is not counted.
    answer(&mut one, "BEGIN");
    answer(&mut one, "DELETE FROM gone WHERE id = 190");
    two.send(&query("DELETE FROM gone WHERE v = 90"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    answer(&mut one, "COMMIT");
    let tag = two.until_ready().into_iter().find(|m| m.kind == 'C').map(|m| m.body);
    assert_eq!(tag.as_deref(), Some(&b"DELETE 29\0"[..]));
    // Savepoints, and one after the other in a transaction.
    answer(&mut two, "BEGIN");
    answer(&mut two, "UPDATE gone SET v = 5 WHERE v > 95");
    answer(&mut two, "SAVEPOINT here");
    answer(&mut two, "DELETE FROM gone WHERE v > 0");
    assert_eq!(answer(&mut two, "SELECT count(*) FROM gone"), "0");
    answer(&mut two, "ROLLBACK TO here");
    answer(&mut two, "DELETE FROM gone WHERE v = 5");
    answer(&mut two, "COMMIT");
    assert_eq!(answer(&mut one, "SELECT count(*), max(v) FROM gone"), "150|95");
    assert_eq!(answer(&mut one, "DELETE FROM gone WHERE v > 0 AND id > 2900 RETURNING id"), "2991,2992,2993,2994,2995");
}

#[test]
fn nobody_notices() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Node::dev(&data);
    bulk_copy(node.server());
    recalled(node.server());
    looked_up_in_the_catalog(node.server());
    deleted_beside_others(node.server());
    let plan = node.server().sql("EXPLAIN SELECT oid FROM pg_class WHERE relname = 'again'");
    assert_eq!(plan, "Scan on pg_class (no query plan)");
    node.server().sql("CREATE TABLE counted AS SELECT 1");
    // Sizes are not the catalog's, and are those of now.
    for rows in 2..5 {
        node.server().sql("INSERT INTO counted VALUES (1)");
        assert_eq!(node.server().sql("SELECT reltuples FROM pg_class WHERE relname = 'counted'"), rows.to_string());
    }
    assert_eq!(node.stop().and_then(|status| status.code()), Some(0));
    let check = run(["check", "--data", data.to_str().unwrap()]);
    assert_eq!(check.status.code(), Some(0), "{check:?}");
}

#[test]
fn postgres_agrees() {
    let postgres = Postgres::start();
    bulk_copy(postgres.server());
    recalled(postgres.server());
    looked_up_in_the_catalog(postgres.server());
    deleted_beside_others(postgres.server());
}
