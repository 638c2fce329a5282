use std::sync::Arc;

use stratos_types::{ArrayDatum, Datum, ErrorKind, PgType, Scalar};

use super::{Layout, Program, eval};
use crate::functions::{ArgType, Function, operators};
use crate::ir::{CaseBranch, ColumnId, Expr, ExprKind, Quantifier};
use crate::session::NoSession;

fn int4(v: i32) -> Expr {
    Expr::literal(Datum::Int4(v), PgType::Int4)
}

fn null() -> Expr {
    Expr::literal(Datum::Null, PgType::Int4)
}

fn boolean(v: Option<bool>) -> Expr {
    Expr::literal(v.map_or(Datum::Null, Datum::Bool), PgType::Bool)
}

fn operator(symbol: &str) -> &'static Function {
    let int4 = ArgType::Is(PgType::Int4);
    operators::exact(symbol, int4, int4).unwrap().function
}

fn expr(kind: ExprKind, ty: PgType) -> Expr {
    Expr { kind, ty: ty.into() }
}

fn call(symbol: &str, left: Expr, right: Expr) -> Expr {
    let function = operator(symbol);
    let args = vec![left, right];
    expr(ExprKind::Call { function, args }, PgType::Int4)
}

fn value(e: &Expr) -> Datum {
    eval(e, &(), &[], &NoSession::context()).unwrap()
}

#[test]
fn three_valued_logic() {
    let all = [Some(true), Some(false), None];
    for a in all {
        for b in all {
            let terms = vec![boolean(a), boolean(b)];
            let and = value(&expr(ExprKind::And(terms.clone()), PgType::Bool));
            let or = value(&expr(ExprKind::Or(terms), PgType::Bool));
            let expected_and = match (a, b) {
                (Some(false), _) | (_, Some(false)) => Datum::Bool(false),
                (Some(true), Some(true)) => Datum::Bool(true),
                _ => Datum::Null,
            };
            let expected_or = match (a, b) {
                (Some(true), _) | (_, Some(true)) => Datum::Bool(true),
                (Some(false), Some(false)) => Datum::Bool(false),
                _ => Datum::Null,
            };
            assert_eq!((and, or), (expected_and, expected_or), "{a:?} {b:?}");
        }
    }
}

#[test]
fn arithmetic_checks_its_range() {
    assert_eq!(value(&call("+", int4(2), int4(3))), Datum::Int4(5));
    assert_eq!(value(&call("+", int4(2), null())), Datum::Null);
    let overflow = eval(&call("+", int4(i32::MAX), int4(1)), &(), &[], &NoSession::context());
    assert_eq!(overflow.unwrap_err().kind(), ErrorKind::NumericValueOutOfRange);
    let division = eval(&call("/", int4(1), int4(0)), &(), &[], &NoSession::context());
    assert_eq!(division.unwrap_err().kind(), ErrorKind::DivisionByZero);
}

#[test]
fn case_is_lazy() {
    let kind = ExprKind::Case {
        branches: vec![CaseBranch { when: boolean(Some(true)), then: int4(1) }],
        otherwise: Some(Box::new(call("/", int4(1), int4(0)))),
    };
    assert_eq!(value(&expr(kind, PgType::Int4)), Datum::Int4(1));
}

#[test]
fn membership_remembers_null() {
    let within = |list: Vec<Expr>| {
        let kind = ExprKind::InList { equals: operator("="), arg: Box::new(int4(1)), list };
        value(&expr(kind, PgType::Bool))
    };
    assert_eq!(within(vec![int4(2), int4(1)]), Datum::Bool(true));
    assert_eq!(within(vec![int4(2), null()]), Datum::Null);
    assert_eq!(within(vec![int4(2)]), Datum::Bool(false));
}

#[test]
fn all_of_an_array() {
    let array = Datum::Array(Arc::new(ArrayDatum { element: PgType::Int4, values: vec![Datum::Int4(1), Datum::Null] }));
    let quantified = |quantifier, left| {
        let kind = ExprKind::Quantified {
            quantifier,
            operator: operator("="),
            left: Box::new(int4(left)),
            array: Box::new(Expr::literal(array.clone(), PgType::Array(Scalar::Int4))),
        };
        value(&expr(kind, PgType::Bool))
    };
    assert_eq!(quantified(Quantifier::Any, 1), Datum::Bool(true));
    assert_eq!(quantified(Quantifier::Any, 2), Datum::Null);
    assert_eq!(quantified(Quantifier::All, 1), Datum::Null);
    assert_eq!(quantified(Quantifier::All, 2), Datum::Bool(false));
}

#[test]
fn extremes_ignore_null() {
    let extreme = |greatest| {
        let kind = ExprKind::Extremum { greatest, less: operator("<"), args: vec![int4(2), null(), int4(3)] };
        value(&expr(kind, PgType::Int4))
    };
    assert_eq!(extreme(true), Datum::Int4(3));
    assert_eq!(extreme(false), Datum::Int4(2));
}

#[test]
fn programs_find_columns_by_position() {
    let (a, b) = (ColumnId(40), ColumnId(7));
    let column = |id| Expr::column(id, PgType::Int4.into());
    let param = expr(ExprKind::Param(0), PgType::Int4);
    let sum = call("+", column(a), call("-", column(b), param));
    let program = Program::compile(&sum, &Layout::new([b, a])).unwrap();
    let row = [Datum::Int4(10), Datum::Int4(1)];
    let result = program.run(&row, &[Datum::Int4(4)], &NoSession::context()).unwrap();
    assert_eq!(result, Datum::Int4(7));
    assert!(Program::compile(&sum, &Layout::new([a])).is_err());
}

#[test]
fn depth_is_bounded() {
    let chain = |length| (0..length).fold(int4(0), |deep, _| call("+", deep, int4(1)));
    let long = chain(5000);
    assert_eq!(eval(&long, &(), &[], &NoSession::context()).unwrap(), Datum::Int4(5000));
    let too_long = chain(25_000);
    let error = eval(&too_long, &(), &[], &NoSession::context()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StatementTooComplex);
    // Dropping a tree recurses as well, and this one is deeper than any that the parser lets through.
    std::mem::forget(too_long);
}
