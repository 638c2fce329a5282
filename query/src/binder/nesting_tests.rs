//! Whatever nests, and however deeply, is read or refused in bounded time.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use stratos_types::ErrorKind;

use super::{parse, parse_expr};

/// What a text may take at most, unoptimised and beside other tests; alone it is a tenth of that.
const TIME_MAX: Duration = Duration::from_secs(5);
/// As the threads that parse in a node.
const STACK_BYTES: usize = 128 << 20;

/// Beginning, what nests, innermost, what closes, for every rule of the grammar that contains itself.
const FORMS: &[(&str, &str, &str, &str)] = &[
    ("SELECT ", "(", "1", ")"),
    ("SELECT ", "(1, ", "1", ")"),
    ("SELECT ", "ARRAY[", "1", "]"),
    ("SELECT ARRAY", "[", "1", "]"),
    ("SELECT ", "ROW(", "1", ")"),
    ("SELECT ", "CASE WHEN ", "true", " THEN 1 END"),
    ("SELECT ", "CASE WHEN true THEN ", "1", " END"),
    ("SELECT ", "CASE WHEN true THEN 1 ELSE ", "1", " END"),
    ("SELECT ", "CASE ", "1", " WHEN 1 THEN 1 END"),
    ("SELECT ", "f(", "1", ")"),
    ("SELECT ", "s.f(1, a => ", "1", ")"),
    ("SELECT ", "count(*) FILTER (WHERE ", "true", ")"),
    ("SELECT ", "count(*) OVER (PARTITION BY ", "1", ")"),
    ("SELECT ", "array_agg(1 ORDER BY ", "1", ")"),
    ("SELECT ", "f(1) WITHIN GROUP (ORDER BY ", "1", ")"),
    ("SELECT ", "(SELECT ", "1", ")"),
    ("SELECT ", "EXISTS(SELECT ", "1", ")"),
    ("SELECT ", "NOT EXISTS(SELECT ", "1", ")"),
    ("SELECT ", "1 IN (", "1", ")"),
    ("SELECT ", "1 NOT IN (SELECT ", "1", ")"),
    ("SELECT ", "1 IN ((SELECT ", "1", "))"),
    ("SELECT ", "1 = ANY (", "a", ")"),
    ("SELECT ", "1 = ANY (SELECT ", "1", ")"),
    ("SELECT ", "CAST(", "1", " AS int)"),
    ("SELECT ", "EXTRACT(day FROM ", "a", ")"),
    ("SELECT ", "POSITION('a' IN ", "'a'", ")"),
    ("SELECT ", "POSITION(", "'a'", ")"),
    ("SELECT ", "SUBSTRING(", "'a'", " FROM 1 FOR 2)"),
    ("SELECT ", "SUBSTRING('a', ", "1", ")"),
    ("SELECT ", "OVERLAY(", "'a'", " PLACING 'a' FROM 1)"),
    ("SELECT ", "TRIM(BOTH 'a' FROM ", "'a'", ")"),
    ("SELECT ", "TRIM(", "'a'", ")"),
    ("SELECT ", "CEIL(", "1", ")"),
    ("SELECT ", "FLOOR(", "1", ")"),
    ("SELECT ", "coalesce(", "1", ")"),
    ("SELECT ", "json_object('a' : ", "1", ")"),
    ("SELECT ", "INTERVAL (", "1", ")"),
    ("SELECT ", "INTERVAL ", "'1'", ""),
    ("SELECT ", "1 BETWEEN 0 AND (", "1", ")"),
    ("SELECT ", "1 BETWEEN (", "1", ") AND 2"),
    ("SELECT ", "NOT ", "true", ""),
    ("SELECT ", "- ", "1", ""),
    ("SELECT ", "~ ", "1", ""),
    ("SELECT ", "OPERATOR(pg_catalog.-) ", "1", ""),
    ("SELECT ", "1 OR 1 AND NOT 1 = 1 + 1 * - (", "1", ")"),
    ("SELECT 'a'", "", "", " COLLATE \"C\""),
    ("SELECT 1", "", "", "::int"),
    ("SELECT 1::int", "", "", "[]"),
    ("SELECT 1", "", "", " == 1"),
    ("SELECT 1", "", "", " AT TIME ZONE 'a'"),
    ("SELECT a", "", "", ".a"),
    ("SELECT a", "", "", ".array"),
    ("SELECT a", "", "", "[1]"),
    ("SELECT ", "a[", "1", "]"),
    ("SELECT ", "a[1:", "1", "]"),
    ("SELECT ", "(", "a", ").b"),
    ("SELECT ", "{", "1", "}"),
    ("SELECT * FROM ", "(SELECT * FROM ", "a", ") x"),
    ("SELECT * FROM ", "((SELECT * FROM ", "a", ") x CROSS JOIN t)"),
    ("SELECT FROM ", "((SELECT FROM ", "a", ") x CROSS JOIN t)"),
    ("SELECT * FROM ", "(((SELECT 1 FROM ", "a", ") x CROSS JOIN t) JOIN u ON true)"),
    ("SELECT * FROM ", "((TABLE ", "a", ") x CROSS JOIN t)"),
    ("SELECT * FROM ", "((DELETE FROM ", "a", ")) x"),
    ("SELECT * FROM ", "((MERGE INTO t USING ", "a", " ON true)) x"),
    ("SELECT * FROM ", "(", "a", " JOIN b ON true)"),
    ("SELECT * FROM ", "(a JOIN ", "b", " ON true)"),
    ("SELECT * FROM ", "((a JOIN (SELECT * FROM ", "b", ") y ON true) JOIN c ON true)"),
    ("SELECT * FROM ", "LATERAL (SELECT * FROM ", "b", ") x"),
    ("SELECT * FROM ", "f((SELECT 1 FROM ", "b", "))"),
    ("SELECT * FROM ", "(VALUES ((SELECT 1 FROM ", "a", "))) x"),
    ("SELECT 1 GROUP BY ", "ROLLUP(", "1", ")"),
    ("SELECT 1 LIMIT ", "(", "1", ")"),
    ("", "WITH x AS (", "SELECT 1", ") SELECT 1"),
    ("", "WITH x AS (SELECT * FROM ((", "SELECT 1", ") y JOIN z ON true)) SELECT 1"),
    ("", "WITH x AS (DELETE FROM t WHERE a IN (", "SELECT 1", ")) SELECT 1"),
    ("", "(", "SELECT 1", ") UNION SELECT 1"),
    ("", "SELECT 1 UNION (", "SELECT 1", ")"),
    ("SELECT 1", "", "", " UNION SELECT 1"),
    ("VALUES ", "((", "SELECT 1", "))"),
    ("INSERT INTO t ", "(", "SELECT 1", ")"),
    ("UPDATE t SET (a) = ", "(SELECT ", "1", ")"),
    ("COPY (SELECT ", "ARRAY[", "1", "]) TO STDOUT"),
    ("CREATE TABLE t (a int CHECK ", "(", "true", "))"),
    ("CREATE TABLE t (a int DEFAULT ", "ARRAY[", "1", "])"),
    ("CREATE TABLE t (a int GENERATED ALWAYS AS (", "f(", "1", "))"),
    ("CREATE TABLE t (a ", "array<", "int", ">)"),
    ("SELECT 1::", "array<", "int", ">"),
    ("SELECT 1::", "struct<a ", "int", ">"),
    ("SELECT 1::", "nullable(", "int", ")"),
    ("CREATE FUNCTION f() RETURNS ", "SETOF ", "int", " LANGUAGE sql"),
    ("", "EXPLAIN ", "SELECT 1", ""),
    ("", "PREPARE a AS ", "SELECT 1", ""),
    ("SELECT ", "ARRAY[POSITION('a' IN CASE WHEN ARRAY[", "1", "] THEN 1 END)]"),
];

/// How long it takes to parse; fails when that is too long, or the thread's stack too small.
fn timed(sql: String) -> Result<(), ErrorKind> {
    let (sender, receiver) = mpsc::channel();
    let shown: String = sql.chars().take(60).collect();
    let run = move || {
        let start = Instant::now();
        let parsed = parse(&sql).map(|_| ()).map_err(|error| error.kind());
        let _ = sender.send((parsed, start.elapsed()));
    };
    assert!(std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).is_ok());
    match receiver.recv_timeout(TIME_MAX * 4) {
        Ok((parsed, took)) => {
            assert!(took < TIME_MAX, "{took:?} for {shown}");
            parsed
        }
        Err(_) => panic!("no end: {shown}"),
    }
}

fn nested(form: &(&str, &str, &str, &str), depth: usize, junk: &str, closed: usize) -> String {
    let (start, open, innermost, shut) = form;
    format!("{start}{}{innermost}{junk}{}", open.repeat(depth), shut.repeat(closed))
}

#[test]
fn what_nests_is_read_or_refused_in_time() {
    for form in FORMS {
        for depth in [33, 100, 450] {
            let _ = timed(nested(form, depth, "", depth));
            // An error where it is found last, and what never ends.
            assert!(timed(nested(form, depth, " 1 2 )]", depth)).is_err(), "{form:?}");
            let _ = timed(nested(form, depth, " SELECT FROM ((", 0));
        }
        for depth in [499, 500, 501, 1_000, 20_000] {
            let _ = timed(nested(form, depth, "", depth));
            let _ = timed(nested(form, depth, "", 0));
        }
    }
}

/// What stands behind itself, and may be looked at from each place on.
const REPEATED: &[(&str, &str)] = &[
    ("CREATE TABLE t ", "(a)"),
    ("", "CREATE TABLE t (a);"),
    ("CREATE TABLE t ", "(a, "),
    ("SELECT * FROM t", " JOIN t USING"),
    ("SELECT * FROM t", " JOIN t USING (a)"),
    ("SELECT * FROM t", " JOIN t USING (a b)"),
    ("INSERT INTO t VALUES (1) ", "ON CONFLICT (a) WHERE "),
    ("INSERT INTO t VALUES (1) ", "ON CONFLICT (a "),
    ("SELECT 1 FROM t ", "FOR UPDATE OF a, "),
    ("CREATE TABLE t (", "a int GENERATED ALWAYS AS IDENTITY (a "),
    ("CREATE TABLE t (", "LIKE u INCLUDING ALL, "),
    ("CREATE TABLE t AS SELECT 1 ", "WITH NO DATA "),
    ("SELECT ", "U&'a' UESCAPE "),
    ("SELECT 1 GROUP BY ", "ROLLUP ((a)::int), "),
];

#[test]
fn what_is_repeated_is_read_or_refused_in_time() {
    for (start, part) in REPEATED {
        let _ = timed(format!("{start}{}", part.repeat(40_000)));
    }
}

#[test]
fn what_nests_moderately_is_read() {
    for (form, depth) in [
        (("SELECT ", "ARRAY[", "1", "]"), 450),
        (("SELECT ", "(", "1", ")"), 450),
        (("SELECT ", "replace(", "'a'", ", 'b', 'c')"), 200),
        (("SELECT ", "s.f(", "1", ")"), 100),
        (("SELECT ", "CASE WHEN true THEN ", "1", " END"), 200),
        (("SELECT * FROM ", "(SELECT * FROM ", "a", ") x"), 150),
        (("SELECT * FROM ", "(", "a", " JOIN b ON true)"), 150),
        // The parser reads the query of each level twice.
        (("SELECT * FROM ", "((SELECT * FROM ", "a", ") x CROSS JOIN t)"), 8),
    ] {
        assert_eq!(timed(nested(&form, depth, "", depth)), Ok(()), "{form:?}");
    }
    for form in [("SELECT ", "ARRAY[", "1", "]"), ("SELECT ", "(", "1", ")"), ("SELECT ", "NOT ", "true", "")] {
        assert_eq!(timed(nested(&form, 1_000, "", 1_000)), Err(ErrorKind::StatementTooComplex), "{form:?}");
    }
    // Too many ways to read it, far from every limit of depth.
    let form = ("SELECT ", "ARRAY[", "1", "]");
    assert_eq!(timed(nested(&form, 60, " 2", 60)), Err(ErrorKind::StatementTooComplex));
    assert!(parse_expr(&nested(&("", "ARRAY[", "1", "]"), 60, " 2", 60)).is_err());
}

#[test]
fn a_stopped_search_gives_nothing() {
    // What the parser had read when it was stopped must not pass for the statement.
    let form = ("SELECT 1; SELECT 2 FROM ", "((SELECT * FROM ", "a", ") x CROSS JOIN t)");
    assert_eq!(timed(nested(&form, 100, "", 100)), Err(ErrorKind::StatementTooComplex));
}
