//! Every function against what PostgreSQL 15 answered: `query/tests/data/functions.tsv`.

use stratos_types::{ColumnType, Datum, ErrorKind, PgType, Result};

use super::aggregates::{self, Accumulator};
use super::{Function, ReturnType, by_oid};
use crate::eval;
use crate::session::{EvalContext, NoSession};

static FIXTURE: &str = include_str!("../../tests/data/functions.tsv");

/// Functions that are known to answer otherwise, by `oid name`, with the reason.
static KNOWN: &[(&str, &str)] = &[
    ("1772 to_char", "templates of numbers are refused with 0A000"),
    ("1773 to_char", "templates of numbers are refused with 0A000"),
    ("1774 to_char", "templates of numbers are refused with 0A000"),
    ("1775 to_char", "templates of numbers are refused with 0A000"),
    ("1776 to_char", "templates of numbers are refused with 0A000"),
    ("1777 to_number", "templates of numbers are refused with 0A000"),
];

/// Functions whose last digit is the C library's.
static LAST_DIGIT: &[&str] = &["cbrt", "dcbrt", "acosh", "pow", "power", "dpow"];
/// How far those may be from Postgres, relatively.
const LAST_DIGIT_TOLERANCE: f64 = 4e-16;

fn unescape(s: &str) -> String {
    let mut out = String::new();
    let mut chars = s.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

/// The SQLSTATEs that functions raise.
fn sqlstate(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::FeatureNotSupported => "0A000",
        ErrorKind::StringDataRightTruncation => "22001",
        ErrorKind::NumericValueOutOfRange => "22003",
        ErrorKind::NullValueNotAllowed => "22004",
        ErrorKind::InvalidDatetimeFormat => "22007",
        ErrorKind::DatetimeFieldOverflow => "22008",
        ErrorKind::InvalidTimeZoneDisplacement => "22009",
        ErrorKind::SubstringError => "22011",
        ErrorKind::DivisionByZero => "22012",
        ErrorKind::IntervalFieldOverflow => "22015",
        ErrorKind::InvalidRegularExpression => "2201B",
        ErrorKind::InvalidArgumentForLogarithm => "2201E",
        ErrorKind::InvalidArgumentForPowerFunction => "2201F",
        ErrorKind::InvalidArgumentForWidthBucket => "2201G",
        ErrorKind::CharacterNotInRepertoire => "22021",
        ErrorKind::InvalidParameterValue => "22023",
        ErrorKind::InvalidEscapeSequence => "22025",
        ErrorKind::ArraySubscriptError => "2202E",
        ErrorKind::InvalidTextRepresentation => "22P02",
        ErrorKind::UntranslatableCharacter => "22P05",
        ErrorKind::SyntaxError => "42601",
        ErrorKind::ProgramLimitExceeded => "54000",
        ErrorKind::CannotCoerce => "42846",
        _ => "XX000",
    }
}

fn is_array(arg: super::ArgType) -> bool {
    matches!(arg, super::ArgType::AnyArray | super::ArgType::CompatibleArray)
}

fn result_type(args: &[super::ArgType], ret: ReturnType, types: &[PgType]) -> PgType {
    let at = |wanted: fn(super::ArgType) -> bool| {
        let position = args.iter().position(|a| wanted(*a));
        position.and_then(|i| types.get(i)).copied()
    };
    let element = || {
        at(|a| matches!(a, super::ArgType::AnyElement | super::ArgType::AnyNonArray | super::ArgType::Compatible))
            .or_else(|| at(is_array).and_then(PgType::element))
    };
    match ret {
        ReturnType::Is(ty) => ty,
        ReturnType::AnyElement | ReturnType::Compatible => element().unwrap(),
        ReturnType::AnyArray | ReturnType::CompatibleArray => {
            at(is_array).or_else(|| element().and_then(PgType::array)).unwrap()
        }
    }
}

fn close(got: &str, expected: &str) -> bool {
    let number = |s: &str| s.strip_prefix('=').and_then(|s| s.parse::<f64>().ok());
    match (number(got), number(expected)) {
        (Some(got), Some(expected)) => (got - expected).abs() <= expected.abs() * LAST_DIGIT_TOLERANCE,
        _ => false,
    }
}

/// Sign of `=-17`.
fn sign(answer: &str) -> Option<i64> {
    answer.strip_prefix('=')?.parse().ok().map(i64::signum)
}

fn type_named(name: &str) -> PgType {
    match name {
        "\"char\"" => PgType::Char,
        other => PgType::from_name(other).unwrap(),
    }
}

fn datum(ctx: &EvalContext, ty: PgType, value: &str) -> Result<Datum> {
    if value == "\\N" {
        return Ok(Datum::Null);
    }
    Datum::from_text(ColumnType::from(ty), &unescape(value), &ctx.format)
}

fn answer(ctx: &EvalContext, function: &Function, fields: &[&str]) -> Result<String> {
    let mut types = Vec::new();
    let mut args = Vec::new();
    for field in fields {
        let (ty, value) = field.split_once(':').unwrap();
        let ty = type_named(ty);
        types.push(ty);
        args.push(datum(ctx, ty, value)?);
    }
    let value = eval::call(ctx, function, &types, &args)?;
    let ty = result_type(function.args, function.ret, &types);
    shown(ctx, &value, ty)
}

fn shown(ctx: &EvalContext, value: &Datum, ty: PgType) -> Result<String> {
    if value.is_null() {
        return Ok("NULL".to_owned());
    }
    let shown = eval::to_text(ctx, value, ty)?;
    // The fixture casts the result to text: booleans print in full there.
    Ok(match value {
        Datum::Bool(b) => format!("={b}"),
        // … and lose their padding.
        _ if ty == PgType::Bpchar => format!("={}", shown.trim_end_matches(' ')),
        _ => format!("={shown}"),
    })
}

#[test]
fn functions_answer_as_postgres_does() {
    let ctx = NoSession::context();
    let mut wrong = Vec::new();
    let mut calls = 0;
    for line in FIXTURE.lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [oid, name, args @ .., "=>", expected] = fields.as_slice() else {
            panic!("malformed line: {line}");
        };
        let key = format!("{oid} {name}");
        if KNOWN.iter().any(|(known, _)| *known == key) {
            continue;
        }
        calls += 1;
        let function = by_oid(oid.parse().unwrap()).unwrap();
        let got = answer(&ctx, function, args).unwrap_or_else(|e| format!("!{} ({e})", sqlstate(e.kind())));
        let expected = unescape(expected);
        let same = match (got.strip_prefix('!'), expected.strip_prefix('!')) {
            (Some(got), Some(expected)) => got.starts_with(expected),
            _ if LAST_DIGIT.contains(name) && got != expected => close(&got, &expected),
            // Only the sign of these has a meaning.
            _ if name.ends_with("cmp") => sign(&got) == sign(&expected),
            _ => got == expected,
        };
        if !same {
            wrong.push(format!("{line}\n    got {got:?}"));
        }
    }
    assert!(calls > 1000);
    assert!(wrong.is_empty(), "{} of {calls} calls differ:\n{}", wrong.len(), wrong.join("\n"));
}

static AGGREGATES: &str = include_str!("../../tests/data/aggregates.tsv");

fn aggregate_answer(ctx: &EvalContext, oid: u32, types: &str, rows: &[&str]) -> Result<String> {
    let aggregate = aggregates::all().iter().find(|a| a.oid == oid).unwrap();
    let types: Vec<PgType> = types.split(',').filter(|t| !t.is_empty()).map(type_named).collect();
    let ret = result_type(aggregate.args, aggregate.ret, &types);
    let mut halves = [Accumulator::new(aggregate, &types, ret)?, Accumulator::new(aggregate, &types, ret)?];
    let mut whole = Accumulator::new(aggregate, &types, ret)?;
    for (i, row) in rows.iter().enumerate() {
        let fields = row.split('|').zip(&types);
        let values: Vec<Datum> = fields.map(|(value, ty)| datum(ctx, *ty, value)).collect::<Result<_>>()?;
        whole.update(ctx, &values)?;
        halves[usize::from(i >= rows.len() / 2)].update(ctx, &values)?;
    }
    let answer = shown(ctx, &whole.finish(ctx)?, ret)?;
    let [mut first, second] = halves;
    if first.merge(ctx, second).is_ok() {
        let merged = shown(ctx, &first.finish(ctx)?, ret)?;
        assert!(merged == answer || close_to(&merged, &answer), "{} merged: {merged} whole: {answer}", aggregate.name);
    }
    Ok(answer)
}

/// Sums of floats depend on their order, in the last digits.
fn close_to(a: &str, b: &str) -> bool {
    let number = |s: &str| s.strip_prefix('=').and_then(|s| s.parse::<f64>().ok());
    match (number(a), number(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= b.abs() * 1e-12,
        _ => false,
    }
}

#[test]
fn aggregates_answer_as_postgres_does() {
    let ctx = NoSession::context();
    let mut wrong = Vec::new();
    for line in AGGREGATES.lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [oid, _, types, rows @ .., "=>", expected] = fields.as_slice() else {
            panic!("malformed line: {line}");
        };
        let got = aggregate_answer(&ctx, oid.parse().unwrap(), types, rows)
            .unwrap_or_else(|e| format!("!{}", sqlstate(e.kind())));
        if got != unescape(expected) {
            wrong.push(format!("{line}\n    got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "differ:\n{}", wrong.join("\n"));
}
