//! Small plans, built by hand and run to their rows.

use std::sync::{Arc, OnceLock};

use futures::StreamExt;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::{QueryRuntime, StatementContext, execute_in};
use crate::arrow::rows_of;
use crate::engine::EngineOptions;
use crate::functions::{ArgType, Function, Kernel, ReturnType, Volatility};
use crate::ir::{
    ColumnId, Cte, Expr, ExprKind, JoinKind, OutputColumn, Quantifier, Rel, SortKey, SubqueryKind, TableFunctionKind,
};
use crate::scan::MemorySource;
use crate::session::{EvalContext, NoSession};

const INT8_PAIR: &[ArgType] = &[ArgType::Is(PgType::Int8), ArgType::Is(PgType::Int8)];

fn pair(a: &[Datum]) -> (i64, i64) {
    match a {
        [Datum::Int8(a), Datum::Int8(b)] => (*a, *b),
        other => panic!("{other:?}"),
    }
}

const fn int8_function(
    oid: u32,
    name: &'static str,
    ret: PgType,
    kernel: Kernel,
    eval: fn(&EvalContext, &[PgType], &[Datum]) -> Result<Datum>,
) -> Function {
    Function {
        oid,
        name,
        args: INT8_PAIR,
        variadic: false,
        optional: 0,
        ret: ReturnType::Is(ret),
        strict: true,
        volatility: Volatility::Immutable,
        eval,
        kernel: Some(kernel),
    }
}

static EQ: Function = int8_function(467, "int8eq", PgType::Bool, Kernel::Eq, |_, _, a| {
    let (a, b) = pair(a);
    Ok(Datum::Bool(a == b))
});
static LT: Function = int8_function(469, "int8lt", PgType::Bool, Kernel::Lt, |_, _, a| {
    let (a, b) = pair(a);
    Ok(Datum::Bool(a < b))
});
static ADD: Function = int8_function(463, "int8pl", PgType::Int8, Kernel::Add, |_, _, a| {
    let (a, b) = pair(a);
    a.checked_add(b).map(Datum::Int8).ok_or_else(|| Error::out_of_range("bigint"))
});
static DIV: Function = int8_function(466, "int8div", PgType::Int8, Kernel::Div, |_, _, a| {
    let (a, b) = pair(a);
    if b == 0 {
        return Err(Error::division_by_zero());
    }
    Ok(Datum::Int8(a / b))
});

fn out(id: u32) -> OutputColumn {
    OutputColumn { id: ColumnId(id), name: format!("n{id}"), ty: PgType::Int8.into(), origin: None }
}

fn col(id: u32) -> Expr {
    Expr::column(ColumnId(id), PgType::Int8.into())
}

fn int(n: i64) -> Expr {
    Expr::literal(Datum::Int8(n), PgType::Int8)
}

fn call(function: &'static Function, left: Expr, right: Expr) -> Expr {
    let ReturnType::Is(ret) = function.ret else {
        panic!("no plain type");
    };
    Expr { kind: ExprKind::Call { function, args: vec![left, right] }, ty: ret.into() }
}

fn series(id: u32, from: Expr, to: Expr) -> Rel {
    Rel::TableFunction {
        function: TableFunctionKind::GenerateSeries,
        args: vec![from, to],
        columns: vec![out(id)],
        ordinality: false,
    }
}

fn filter(input: Rel, predicate: Expr) -> Rel {
    Rel::Filter { input: Box::new(input), predicate }
}

fn sorted(input: Rel, id: u32) -> Rel {
    Rel::Sort { input: Box::new(input), keys: vec![SortKey { expr: col(id), descending: false, nulls_first: false }] }
}

async fn run(rel: &Rel) -> Result<Vec<Vec<i64>>> {
    run_with(rel, false).await
}

/// `frugal`: with the plan that little memory is for.
async fn run_with(rel: &Rel, frugal: bool) -> Result<Vec<Vec<i64>>> {
    let dir = tempfile::tempdir().unwrap();
    let runtime = QueryRuntime::new(&EngineOptions::new(dir.path()), None)?;
    let statement = Arc::new(StatementContext {
        eval: NoSession::context(),
        source: Arc::new(MemorySource::default()),
        params: Arc::new([]),
        system: OnceLock::new(),
        runtime,
        plan_only: false,
        frugal,
        batch_rows: super::runtime::BATCH_ROWS,
    });
    let mut stream = execute_in(rel, None, &statement).await?;
    let types: Vec<PgType> = rel.output().iter().map(|c| c.ty.ty).collect();
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        for row in rows_of(&batch?, &types)? {
            rows.push(
                row.iter()
                    .map(|v| match v {
                        Datum::Int8(n) => *n,
                        Datum::Null => i64::MIN,
                        other => panic!("{other:?}"),
                    })
                    .collect(),
            );
        }
    }
    Ok(rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_sorts() {
    let rel = sorted(filter(series(1, int(1), int(5)), call(&LT, col(1), int(4))), 1);
    assert_eq!(run(&rel).await.unwrap(), [[1], [2], [3]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_division_does_not_fail() {
    let safe = Expr {
        kind: ExprKind::And(vec![call(&LT, int(0), col(1)), call(&LT, int(2), call(&DIV, int(10), col(1)))]),
        ty: PgType::Bool.into(),
    };
    let rel = sorted(filter(series(1, int(0), int(5)), safe), 1);
    assert_eq!(run(&rel).await.unwrap(), [[1], [2], [3]]);
    let bare = filter(series(1, int(0), int(5)), call(&LT, int(2), call(&DIV, int(10), col(1))));
    assert_eq!(run(&bare).await.unwrap_err(), Error::division_by_zero());
}

#[tokio::test(flavor = "multi_thread")]
async fn overflow_is_22003() {
    let rel = Rel::Project {
        input: Box::new(series(1, int(1), int(2))),
        columns: vec![(out(2), call(&ADD, col(1), int(i64::MAX)))],
    };
    let error = run(&rel).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NumericValueOutOfRange);
}

fn subquery(kind: SubqueryKind, query: Rel, ty: PgType) -> Expr {
    Expr { kind: ExprKind::Subquery { kind, query: Arc::new(query) }, ty: ty.into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scalar_subquery_of_two_rows_is_21000() {
    let project = |to: i64| Rel::Project {
        input: Box::new(series(1, int(1), int(1))),
        columns: vec![(out(3), subquery(SubqueryKind::Scalar, series(2, int(1), int(to)), PgType::Int8))],
    };
    assert_eq!(run(&project(1)).await.unwrap(), [[1]]);
    assert_eq!(run(&project(0)).await.unwrap(), [[i64::MIN]]);
    let error = run(&project(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CardinalityViolation);
}

#[tokio::test(flavor = "multi_thread")]
async fn correlated_exists_and_not_exists() {
    let inner = filter(series(2, int(2), int(3)), call(&EQ, col(2), col(1)));
    let exists = subquery(SubqueryKind::Exists, inner, PgType::Bool);
    let rel = sorted(filter(series(1, int(1), int(4)), exists.clone()), 1);
    assert_eq!(run(&rel).await.unwrap(), [[2], [3]]);
    let not = Expr { kind: ExprKind::Not(Box::new(exists)), ty: PgType::Bool.into() };
    let rel = sorted(filter(series(1, int(1), int(4)), not), 1);
    assert_eq!(run(&rel).await.unwrap(), [[1], [4]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lateral_left_join_keeps_rows_without_a_match() {
    let rel = Rel::Join {
        left: Box::new(series(1, int(0), int(2))),
        right: Box::new(series(2, int(1), col(1))),
        kind: JoinKind::Left,
        on: None,
        lateral: true,
    };
    assert_eq!(run(&rel).await.unwrap(), [[0, i64::MIN], [1, 1], [2, 1], [2, 2]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_recursion_ends_with_its_limit() {
    let cte = Cte {
        id: 1,
        name: "t".into(),
        query: Arc::new(series(1, int(1), int(1))),
        recursive: Some((
            Arc::new(Rel::Project {
                input: Box::new(Rel::CteScan { cte: 1, columns: vec![out(2)] }),
                columns: vec![(out(3), call(&ADD, col(2), int(1)))],
            }),
            true,
        )),
        columns: vec![out(1)],
        materialized: None,
    };
    let rel = Rel::Limit {
        input: Box::new(Rel::With { ctes: vec![cte], body: Box::new(Rel::CteScan { cte: 1, columns: vec![out(4)] }) }),
        limit: Some(int(4)),
        offset: None,
    };
    assert_eq!(run(&rel).await.unwrap(), [[1], [2], [3], [4]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_in_with_little_memory() {
    let values = |id: u32, values: &[Option<i64>]| Rel::Values {
        columns: vec![out(id)],
        rows: values.iter().map(|v| vec![v.map_or(Expr::literal(Datum::Null, PgType::Int8), int)]).collect(),
    };
    let left = [Some(1), Some(2), None];
    for (right, expected) in [
        (vec![], vec![[1], [2], [i64::MIN]]),
        (vec![Some(2), Some(3)], vec![[1]]),
        (vec![Some(3)], vec![[1], [2]]),
        (vec![Some(3), None], vec![]),
        (vec![None], vec![]),
    ] {
        let kind = SubqueryKind::Quantified { quantifier: Quantifier::Any, operator: &EQ, left: Box::new(col(1)) };
        let member = subquery(kind, values(2, &right), PgType::Bool);
        let not = Expr { kind: ExprKind::Not(Box::new(member)), ty: PgType::Bool.into() };
        let rel = sorted(filter(values(1, &left), not), 1);
        for frugal in [false, true] {
            assert_eq!(run_with(&rel, frugal).await.unwrap(), expected, "{right:?}, {frugal}");
        }
    }
}
