//! Random statements over random tables, on a node and on PostgreSQL 15: the same rows, tags, types and SQLSTATEs.
//!
//! `STRATOS_RANDOM_SEED` starts with another seed, `STRATOS_RANDOM_STATEMENTS` runs more statements than the short test does. A
//! difference is shown with its seed and as the smallest statement that still differs; with `STRATOS_RANDOM_SHOW=1` also what
//! made the tables.
//!
//! What is not defined is not generated, so that every difference is one:
//! - rows are compared in order only if ORDER BY leaves one order; LIMIT, DISTINCT ON, rows of windows likewise
//! - equal values look the same wherever one stands for several (`Generator::plain`): `1.0` and `1.00`, `1 mon` and `30 days`
//! - sums of floats take small dyadic fractions, whose sums are exact in any order
//! - nothing fails that may or may not be computed: divisors are never zero, integers stay within their types (`Typed::bound`)
//! - every operation is in parentheses: how operators bind is the parser's tests' subject

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panics and tell what they do")]
#![allow(clippy::result_large_err, reason = "the answers that differ are what a failure is about")]

mod expr;
mod from;
mod peer;
mod query;
mod schema;
mod sql;
mod types;
mod write;

use std::collections::BTreeMap;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;
use stratos_tests::node::Node;
use stratos_tests::postgres::Postgres;

use expr::Generator;
use peer::{Answer, Parameter, Peer};
use schema::Table;
use sql::Sql;
use types::TYPES;

/// Statements of one schema.
const STATEMENTS_PER_SEED: usize = 100;
/// Statements of the short and of the long test.
const STATEMENTS_SHORT: usize = 500;
const STATEMENTS_LONG: usize = 20_000;
/// The first seed.
const SEED: u64 = 1;
/// Differences after which it is enough.
const DIFFERENCES_MAX: usize = 25;
/// Statements that are tried to make one smaller.
const REDUCTIONS_MAX: usize = 400;
/// The share of statements that may fail on both sides, of which the most are duplicates on purpose.
const FAILING_MAX: f64 = 0.12;

/// Both servers.
struct Pair {
    ours: Peer,
    theirs: Peer,
}

/// What was seen.
#[derive(Default)]
struct Tally {
    statements: usize,
    executions: usize,
    rows: usize,
    /// Statements that failed on both sides, by SQLSTATE.
    failed: BTreeMap<String, usize>,
    differences: Vec<String>,
}

impl Pair {
    fn both(&mut self, sql: &str) -> (Answer, Answer) {
        (self.ours.simple(sql), self.theirs.simple(sql))
    }

    /// What must succeed.
    fn must(&mut self, sql: &str) {
        if shows_all() {
            eprintln!("{sql};");
        }
        for (name, answer) in [("the node", self.ours.simple(sql)), ("PostgreSQL", self.theirs.simple(sql))] {
            assert_eq!(answer.error, None, "{name}: {sql}\n{}", answer.message.0);
        }
    }

    /// Both answers if they differ.
    fn differ(&mut self, sql: &str, ordered: bool) -> Result<Answer, (Answer, Answer)> {
        let (ours, theirs) = self.both(sql);
        let (ours, theirs) = if ordered { (ours, theirs) } else { (ours.sorted(), theirs.sorted()) };
        if ours == theirs { Ok(ours) } else { Err((ours, theirs)) }
    }

    /// A statement that writes: which of several constraints it is said to break depends on the order of the rows. The contents
    /// of all tables belong to the answer.
    fn wrote(&mut self, sql: &str, tables: &[Table]) -> Result<Answer, (Answer, Answer)> {
        let answer = self.differ(sql, false).or_else(|(ours, theirs)| {
            let constraint = |answer: &Answer| answer.error.as_ref().is_some_and(|code| code.starts_with("23"));
            if constraint(&ours) && constraint(&theirs) { Ok(theirs) } else { Err((ours, theirs)) }
        })?;
        if answer.error.is_none() {
            self.same_tables(tables)?;
        }
        Ok(answer)
    }

    fn same_tables(&mut self, tables: &[Table]) -> Result<(), (Answer, Answer)> {
        for table in tables {
            self.differ(&format!("select * from {}", table.name), false)?;
        }
        Ok(())
    }

    /// The same in a transaction that is given up.
    fn written(&mut self, sql: &str, tables: &[Table]) -> Result<Answer, (Answer, Answer)> {
        self.must("begin");
        let answers = self.wrote(sql, tables);
        self.must("rollback");
        answers
    }

    /// Prepared, with some constants as parameters, executed with them and with others.
    fn prepared(&mut self, statement: &Sql, generator: &mut Generator) -> Result<usize, (String, Answer, Answer)> {
        let mut types = Vec::new();
        let (sql, values) = statement.prepared(|| generator.chance(0.7));
        for number in 1..=values.len() {
            let name = sql.split_once(&format!("(${number}::")).map(|(_, rest)| rest).unwrap_or_default();
            types.push(*TYPES.iter().find(|ty| name.starts_with(&format!("{})", ty.name()))).unwrap());
        }
        let mut executions = Vec::new();
        for changed in [false, true] {
            let mut parameters = Vec::new();
            for (value, ty) in values.iter().zip(&types) {
                let value = if changed { generator.one(ty.values()) } else { value };
                let binary = generator.chance(0.5);
                let bytes = if binary { self.theirs.binary(value, ty.name()) } else { value.as_bytes().to_vec() };
                parameters.push(Parameter { bytes, binary });
            }
            executions.push(parameters);
        }
        let binary_results = generator.chance(0.7);
        let ours = self.ours.prepared(&sql, &executions, binary_results);
        let theirs = self.theirs.prepared(&sql, &executions, binary_results);
        for (ours, theirs) in ours.iter().cloned().zip(theirs.iter().cloned()) {
            let (ours, theirs) = (ours.sorted(), theirs.sorted());
            if ours != theirs {
                return Err((format!("{sql}\n    with {values:?}, then {executions:?}"), ours, theirs));
            }
        }
        Ok(ours.len())
    }

    /// The smallest statement whose answers differ in the same way: the same errors, or rows.
    fn reduced(
        &mut self,
        statement: &Sql,
        differ: impl Fn(&mut Pair, &str) -> Result<Answer, (Answer, Answer)>,
    ) -> (String, Option<(Answer, Answer)>) {
        let errors = |answers: &(Answer, Answer)| (answers.0.error.clone(), answers.1.error.clone());
        let mut answers = differ(self, &statement.simple()).err();
        let wanted = answers.as_ref().map(errors);
        let mut smallest = statement.clone();
        let (mut step, mut tries) = (0, 0);
        while step < smallest.steps() && tries < REDUCTIONS_MAX {
            let candidate = smallest.smaller(step);
            tries += 1;
            let differing = differ(self, &candidate.simple()).err();
            if differing.is_some() && differing.as_ref().map(errors) == wanted {
                (smallest, answers) = (candidate, differing);
                step = 0;
            } else {
                step += 1;
            }
        }
        (smallest.simple(), answers)
    }

    /// What one server must agree with itself about: a condition is true, false or unknown of each row (TLP), and it holds
    /// for as many rows as WHERE lets pass (NoREC).
    fn consistent(&mut self, generator: &mut Generator) -> Option<String> {
        let (from, condition) = generator.partition();
        let mut count = |sql: String| -> Result<i64, String> {
            let answer = self.ours.simple(&sql);
            match (&answer.error, answer.rows.first().and_then(|row| row[0].as_ref())) {
                (None, Some(bytes)) => Ok(String::from_utf8_lossy(bytes).parse().unwrap()),
                _ => Err(format!("{sql}\n    {}", answer.shown())),
            }
        };
        let mut check = || -> Result<Option<String>, String> {
            let all = count(format!("select count(*){from}"))?;
            let is = count(format!("select count(*){from} where {condition}"))?;
            let not = count(format!("select count(*){from} where (not {condition})"))?;
            let unknown = count(format!("select count(*){from} where ({condition} is null)"))?;
            let summed = count(format!("select coalesce(sum(case when {condition} then 1 else 0 end), 0){from}"))?;
            let agrees = all == is + not + unknown && is == summed;
            Ok((!agrees).then(|| {
                format!("{all} rows are {is} + {not} + {unknown}, {summed} by sum:\n  {from} where {condition}")
            }))
        };
        check().unwrap_or_else(Some)
    }
}

/// One schema with its statements.
fn run(pair: &mut Pair, seed: u64, statements: usize, tally: &mut Tally) {
    let mut random = StdRng::seed_from_u64(seed);
    let (tables, made) = schema::schema(&mut random);
    pair.must(&format!("create schema s{seed}"));
    pair.must(&format!("set search_path to s{seed}"));
    for statement in &made {
        pair.must(statement);
    }
    let mut next_id = tables.iter().map(|table| table.rows).max().unwrap_or(0) + 1;
    let mut generator = Generator { random, tables, ctes: Vec::new(), names: 0, subqueries: 0 };
    let mut shown = tally.differences.len();
    for number in 0..statements {
        tally.statements += 1;
        let kind = generator.below(20);
        let title = format!("seed {seed}, statement {number}");
        if kind == 0 {
            tally.executions += 1;
            tally.differences.extend(pair.consistent(&mut generator).map(|what| format!("{title}: {what}")));
        } else if kind == 1 {
            transaction(pair, &mut generator, &mut next_id, &title, tally);
        } else if kind < 5 {
            write(pair, &mut generator, &mut next_id, &title, tally);
        } else {
            read(pair, &mut generator, &title, tally);
        }
        if tally.differences.len() > shown {
            eprintln!("{}", tally.differences[shown..].join("\n"));
            shown = tally.differences.len();
        }
        if tally.differences.len() >= DIFFERENCES_MAX {
            break;
        }
    }
    pair.must(&format!("drop schema s{seed} cascade"));
}

fn report(title: &str, smallest: &str, answers: Option<(Answer, Answer)>, whole: &str, schema: &str) -> String {
    let (ours, theirs) = answers.map_or_else(Default::default, |(ours, theirs)| (ours.shown(), theirs.shown()));
    format!("{title}:\n  {smallest}\n    expected {theirs}\n    actual   {ours}\n  whole: {whole}{schema}\n")
}

fn read(pair: &mut Pair, generator: &mut Generator, title: &str, tally: &mut Tally) {
    let query = generator.statement();
    let sql = query.sql.simple();
    tally.executions += 1;
    match pair.differ(&sql, query.ordered) {
        Ok(answer) => {
            tally.rows += answer.rows.len();
            if let Some(code) = answer.error {
                *tally.failed.entry(code).or_default() += 1;
                if shows_all() {
                    eprintln!("-- {title} fails on both sides: {}\n-- {sql}", answer.message.0);
                }
                return;
            }
        }
        Err(_) => {
            let ordered = query.ordered;
            let (smallest, answers) = pair.reduced(&query.sql, |pair, sql| pair.differ(sql, ordered));
            tally.differences.push(report(title, &smallest, answers, &sql, ""));
            return;
        }
    }
    if generator.chance(0.25) {
        tally.executions += 2;
        if let Err((sql, ours, theirs)) = pair.prepared(&query.sql, generator) {
            tally.differences.push(report(&format!("{title}, prepared"), &sql, Some((ours, theirs)), &sql, ""));
        }
    }
}

fn write(pair: &mut Pair, generator: &mut Generator, next_id: &mut usize, title: &str, tally: &mut Tally) {
    let write = generator.write(next_id);
    let (sql, tables) = (write.simple(), generator.tables.clone());
    tally.executions += 1;
    match pair.written(&sql, &tables) {
        Ok(answer) => {
            if let Some(code) = answer.error {
                *tally.failed.entry(code).or_default() += 1;
            } else {
                // It has shown that both do the same.
                pair.must(&sql);
                if let Err(answers) = pair.same_tables(&tables) {
                    tally.differences.push(report(&format!("{title}, committed"), &sql, Some(answers), &sql, ""));
                }
            }
        }
        Err(_) => {
            let (smallest, answers) = pair.reduced(&write, |pair, sql| pair.written(sql, &tables));
            tally.differences.push(report(title, &smallest, answers, &sql, ""));
        }
    }
}

/// Several statements in a transaction, each of which sees what the ones before have done, and none that failed did.
fn transaction(pair: &mut Pair, generator: &mut Generator, next_id: &mut usize, title: &str, tally: &mut Tally) {
    let level = generator.one(&["", " isolation level repeatable read", " isolation level serializable"]);
    let mut said = vec![format!("begin{level}")];
    pair.must(&said[0]);
    let tables = generator.tables.clone();
    let mut outcome = Ok(());
    for _ in 0..generator.below(4) + 2 {
        tally.executions += 1;
        pair.must("savepoint s");
        let answer = if generator.chance(0.7) {
            let write = generator.write(next_id);
            said.push(write.simple());
            pair.wrote(&write.simple(), &tables)
        } else {
            let query = generator.statement();
            said.push(query.sql.simple());
            pair.differ(&query.sql.simple(), query.ordered)
        };
        match answer {
            Err(answers) => {
                outcome = Err(answers);
                break;
            }
            Ok(answer) => {
                if let Some(code) = answer.error {
                    *tally.failed.entry(code).or_default() += 1;
                    said.push("rollback to s".into());
                    pair.must("rollback to s");
                }
            }
        }
    }
    if outcome.is_ok() {
        let end = generator.one(&["commit", "commit", "rollback"]);
        said.push(end.into());
        outcome = pair.wrote(end, &tables).map(|_| ());
    }
    if let Err(answers) = outcome {
        let whole = said.join(";\n    ");
        tally.differences.push(report(&format!("{title}, transaction"), &whole, Some(answers), "", ""));
        pair.must("rollback");
    }
}

/// Whether to show the statements that make and change the tables, and those that fail on both sides.
fn shows_all() -> bool {
    std::env::var_os("STRATOS_RANDOM_SHOW").is_some()
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn random_statements() {
    let (node, postgres) = (Node::start(), Postgres::start());
    let first = setting("STRATOS_RANDOM_SEED").unwrap_or(SEED);
    let usual = if stratos_tests::long() { STATEMENTS_LONG } else { STATEMENTS_SHORT };
    let statements = setting("STRATOS_RANDOM_STATEMENTS").unwrap_or(usual);
    let begin = Instant::now();
    let mut tally = Tally::default();
    for seed in first.. {
        let rest = statements.saturating_sub(tally.statements);
        if rest == 0 || tally.differences.len() >= DIFFERENCES_MAX {
            break;
        }
        let mut pair = Pair { ours: Peer::connect(node.server()), theirs: Peer::connect(postgres.server()) };
        if seed % 2 == 0 {
            // Aggregates that keep their rows have a second way.
            pair.ours.simple("set enable_hashagg = off");
        }
        run(&mut pair, seed, rest.min(STATEMENTS_PER_SEED), &mut tally);
    }
    let failed: usize = tally.failed.values().sum();
    eprintln!(
        "{} statements ({} executions, {} rows) in {:.1?}; {failed} failed on both sides: {:?}",
        tally.statements,
        tally.executions,
        tally.rows,
        begin.elapsed(),
        tally.failed
    );
    assert!(
        tally.differences.is_empty(),
        "{} differ, as shown above; STRATOS_RANDOM_SEED runs from a seed again",
        tally.differences.len()
    );
    assert!((failed as f64) < FAILING_MAX * tally.statements as f64, "too many fail: {:?}", tally.failed);
}
