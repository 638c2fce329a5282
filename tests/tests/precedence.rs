//! How expressions are put together: every pair of operators, and many triples, as PostgreSQL 15 reads them.
//!
//! An expression goes through the node's parser, which says in parentheses what belongs together. PostgreSQL must then make the
//! same of the expression with and without them, and refuse what the parser refuses. All operands are of one type, for which
//! PostgreSQL gets operators of every kind, so that nothing but the grammar decides.

#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sqlparser::ast::{Expr, VisitMut as _, VisitorMut};
use stratos_query::binder::parse_expr;
use stratos_tests::client::rows;
use stratos_tests::postgres::Postgres;

/// Expressions of more operators than two, per type.
const LONG_SAMPLES: usize = 2_000;
/// Operators of those.
const LONG_OPERATORS: std::ops::RangeInclusive<usize> = 3..=6;
/// Expressions in one question to PostgreSQL: each replaces a view, which wants transactions that end.
const BATCH: usize = 200;

/// A type, and what may stand before and after an operand of it; `_` is an operand.
struct World {
    ty: &'static str,
    starts: &'static [&'static str],
    pieces: &'static [&'static str],
    /// Whether there are operators among them that do not associate.
    has_levels_without_direction: bool,
}

const BOOLEANS: World = World {
    ty: "boolean",
    starts: &["_", "NOT _", "- _", "@ _", "OPERATOR(public.~) _"],
    pieces: &[
        "OR _",
        "AND _",
        "AND NOT _",
        "IS NULL",
        "IS NOT TRUE",
        "ISNULL",
        "NOTNULL",
        "IS DISTINCT FROM _",
        "IS NOT DISTINCT FROM _",
        "IS DISTINCT FROM NOT _",
        "= _",
        "< _",
        ">= _",
        "!= _",
        "= NOT _",
        "<> - _",
        "< @ _",
        "= ANY (ARRAY[_])",
        "<> ALL (ARRAY[_])",
        "LIKE _",
        "NOT ILIKE _",
        "LIKE _ ESCAPE _",
        "LIKE @ _",
        "LIKE NOT _",
        "SIMILAR TO _",
        "LIKE ANY (ARRAY[_])",
        "IN (_, _)",
        "NOT IN (_)",
        "BETWEEN _ AND _",
        "NOT BETWEEN _ AND _",
        "BETWEEN SYMMETRIC _ AND _",
        "BETWEEN _ = _ AND NOT _",
        "BETWEEN @ _ AND @ _",
        "|| _",
        "-> _",
        "~ _",
        "|| - _",
        "-> @ _",
        "|| NOT _",
        "OPERATOR(public.*) _",
        "|| ANY (ARRAY[_])",
        "+ _",
        "- _",
        "+ @ _",
        "- NOT _",
        "* _",
        "% _",
        "/ - _",
        "* @ _",
        "^ _",
        "^ - _",
        "^ @ _",
        "AT TIME ZONE _",
        "AT TIME ZONE - _",
        "::boolean",
    ],
    has_levels_without_direction: true,
};

const TEXTS: World = World {
    ty: "text",
    starts: &["_", "- _", "@ _"],
    pieces: &["|| _", "-> @ _", "+ _", "- - _", "* _", "^ _", "AT TIME ZONE _", "COLLATE \"C\"", "::text"],
    has_levels_without_direction: false,
};

/// Operators between two operands, and before one.
const BINARY: &[&str] = &["||", "->", "~", "+", "-", "*", "/", "%", "^", "~~", "!~~", "~~*", "!~~*"];
const UNARY: &[&str] = &["-", "+", "@", "~"];

/// Puts every operation into parentheses of its own.
struct Parentheses;

impl VisitorMut for Parentheses {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let operand = matches!(expr, Expr::Identifier(_) | Expr::Nested(_) | Expr::Function(_) | Expr::Array(_));
        // The bound of BETWEEN SYMMETRIC and operators by name are prefixes to the tree.
        let bound = matches!(expr, Expr::Prefixed { prefix, value: _ } if prefix.value == "SYMMETRIC");
        if !operand && !bound {
            *expr = Expr::Nested(Box::new(expr.clone()));
        }
        ControlFlow::Continue(())
    }
}

/// What the parser makes of an expression, in parentheses; none where it refuses it.
fn read(sql: &str) -> Option<String> {
    let (mut expr, _) = parse_expr(sql).ok()?;
    let _: ControlFlow<()> = expr.visit(&mut Parentheses);
    Some(expr.to_string())
}

/// Fills the places of operands with the columns of the table, in turn.
fn filled(pattern: &str) -> String {
    let mut columns = "abcdefgh".chars().cycle();
    pattern.chars().map(|c| if c == '_' { columns.next().unwrap() } else { c }).collect()
}

fn expressions(world: &World) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in world.starts {
        for first in world.pieces {
            found.insert(filled(&format!("{start} {first}")));
            // What stands before the first operand matters to the operator behind it: a few seconds will do.
            let others = if *start == "_" { 1 } else { 5 };
            for second in world.pieces.iter().step_by(others) {
                found.insert(filled(&format!("{start} {first} {second}")));
            }
        }
    }
    let mut random = StdRng::seed_from_u64(15);
    for _ in 0..LONG_SAMPLES {
        let mut pattern = (*world.starts.choose(&mut random).unwrap()).to_owned();
        for _ in 0..random.random_range(LONG_OPERATORS) {
            pattern.push(' ');
            pattern.push_str(world.pieces.choose(&mut random).unwrap());
        }
        found.insert(filled(&pattern));
    }
    found
}

/// Statements that give PostgreSQL the operators, and a function that says how it reads an expression.
fn definitions(ty: &str) -> String {
    let mut sql = format!(
        "CREATE TABLE t (a {ty}, b {ty}, c {ty}, d {ty}, e {ty}, f {ty}, g {ty}, h {ty});
         CREATE FUNCTION one({ty}) RETURNS {ty} IMMUTABLE LANGUAGE sql AS 'SELECT $1';
         CREATE FUNCTION two({ty}, {ty}) RETURNS {ty} IMMUTABLE LANGUAGE sql AS 'SELECT $1';
         CREATE FUNCTION pg_catalog.timezone({ty}, {ty}) RETURNS {ty} IMMUTABLE LANGUAGE sql AS 'SELECT $1';
         CREATE FUNCTION shape(e text) RETURNS text STRICT LANGUAGE plpgsql AS $$
             BEGIN
                 EXECUTE concat('CREATE OR REPLACE TEMPORARY VIEW v AS SELECT (', e, ') IS NULL AS x FROM t');
                 RETURN pg_get_viewdef('v'::regclass);
             EXCEPTION WHEN syntax_error THEN
                 RETURN 'syntax error';
             WHEN OTHERS THEN
                 RETURN SQLERRM;
             END
         $$;\n"
    );
    if ty == "boolean" {
        sql.push_str(
            "CREATE FUNCTION pg_catalog.like_escape(boolean, boolean) RETURNS boolean LANGUAGE sql AS 'SELECT $1';
             CREATE FUNCTION pg_catalog.similar_to_escape(boolean) RETURNS boolean LANGUAGE sql AS 'SELECT $1';\n",
        );
    }
    for symbol in BINARY {
        writeln!(sql, "CREATE OPERATOR public.{symbol} (LEFTARG = {ty}, RIGHTARG = {ty}, FUNCTION = two);").unwrap();
    }
    for symbol in UNARY {
        writeln!(sql, "CREATE OPERATOR public.{symbol} (RIGHTARG = {ty}, FUNCTION = one);").unwrap();
    }
    sql.push_str("SET search_path = public, pg_catalog;");
    sql
}

fn compare(world: &World) {
    let postgres = Postgres::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(postgres.server().connect());
    runtime.block_on(client.batch_execute(&definitions(world.ty))).unwrap();
    let expressions: Vec<String> = expressions(world).into_iter().collect();
    let mut wrong = Vec::new();
    let mut refused = 0;
    for batch in expressions.chunks(BATCH) {
        let readings: Vec<Option<String>> = batch.iter().map(|sql| read(sql)).collect();
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let asked: Vec<String> = batch
            .iter()
            .zip(&readings)
            .map(|(sql, reading)| {
                format!("({}, {})", quoted(sql), reading.as_deref().map_or("NULL".to_owned(), quoted))
            })
            .collect();
        let question = format!("SELECT shape(e), shape(r) FROM (VALUES {}) AS q (e, r)", asked.join(", "));
        let answers = runtime.block_on(rows(&client, &question)).unwrap();
        assert_eq!(answers.len(), batch.len());
        for ((sql, reading), answer) in batch.iter().zip(readings).zip(answers) {
            let [as_written, as_read] = <[String; 2]>::try_from(answer).unwrap();
            let refuses = as_written == "syntax error";
            assert!(refuses || as_written.starts_with(" SELECT"), "{sql}: {as_written}");
            refused += usize::from(refuses);
            let agrees = if reading.is_some() { !refuses && as_written == as_read } else { refuses };
            if !agrees {
                wrong.push(format!("{sql}\n    is read as {reading:?}\n    by PostgreSQL as {as_written}"));
            }
        }
    }
    // An expression that may always go on tells nothing of where it may not.
    assert_eq!(refused > expressions.len() / 50, world.has_levels_without_direction, "{refused} are refused");
    assert!(refused < expressions.len() / 4 * 3, "{refused} of {} are refused", expressions.len());
    let first = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} are read otherwise:\n{first}", wrong.len(), expressions.len());
}

#[test]
fn logical_operators_bind_as_in_postgres() {
    compare(&BOOLEANS);
}

#[test]
fn operators_on_text_bind_as_in_postgres() {
    compare(&TEXTS);
}
