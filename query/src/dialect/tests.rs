//! Sentences put together as PostgreSQL 15 does. `tests/tests/precedence.rs` compares all pairs of operators with PostgreSQL
//! itself.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, VisitMut, VisitorMut};

use crate::binder::{parse, parse_expr};

/// Puts every operation into parentheses of its own.
struct Parentheses;

impl VisitorMut for Parentheses {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let operand = matches!(
            expr,
            Expr::Identifier(_)
                | Expr::Value(_)
                | Expr::Nested(_)
                | Expr::Tuple(_)
                | Expr::Function(_)
                | Expr::Array(_)
        );
        if !operand {
            *expr = Expr::Nested(Box::new(expr.clone()));
        } else if let Expr::Nested(inner) = expr
            && matches!(**inner, Expr::Nested(_))
        {
            *expr = (**inner).clone();
        }
        ControlFlow::Continue(())
    }
}

/// The tree of an expression in text, or what is wrong with it.
fn shape(sql: &str) -> String {
    match parse_expr(sql) {
        Ok((mut expr, _)) => {
            let _: ControlFlow<()> = expr.visit(&mut Parentheses);
            expr.to_string()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn operators_bind_as_in_postgres() {
    for (sql, expected) in [
        ("-2 ^ 2", "((-2) ^ 2)"),
        ("- a::text", "(-(a::TEXT))"),
        ("- a COLLATE \"C\" ::text", "(((-a) COLLATE \"C\")::TEXT)"),
        ("-a COLLATE \"C\"", "((-a) COLLATE \"C\")"),
        ("'a'::text COLLATE \"C\" || b", "((('a'::TEXT) COLLATE \"C\") || b)"),
        ("~a + b", "(~(a + b))"),
        ("|/ a + b", "(|/(a + b))"),
        ("@ -5 + 1", "(@((-5) + 1))"),
        ("a ~ b = c", "((a ~ b) = c)"),
        ("a || b -> c", "((a || b) -> c)"),
        ("a OPERATOR(pg_catalog.*) b + c", "(a OPERATOR(pg_catalog.*) (b + c))"),
        ("2 ^ 3 ^ 2", "((2 ^ 3) ^ 2)"),
        ("a = b IS NULL", "((a = b) IS NULL)"),
        ("a IS NULL = b", "((a IS NULL) = b)"),
        ("NOT a = b", "(NOT (a = b))"),
        ("NOT a IS DISTINCT FROM b", "(NOT (a IS DISTINCT FROM b))"),
        ("a IS DISTINCT FROM b OR c", "((a IS DISTINCT FROM b) OR c)"),
        ("a IS NOT DISTINCT FROM b = c AND d", "((a IS NOT DISTINCT FROM (b = c)) AND d)"),
        ("a BETWEEN b AND c AND d", "((a BETWEEN b AND c) AND d)"),
        ("a BETWEEN b = c AND d = e", "((a BETWEEN (b = c) AND d) = e)"),
        ("a LIKE b || c", "(a LIKE (b || c))"),
        ("a IN (b) = c", "((a IN (b)) = c)"),
        ("a = ANY (b) = c", "((a = ANY(b)) = c)"),
        ("a LIKE ANY (b)", "(a ~~ ANY(b))"),
        ("a AT TIME ZONE b || c", "((a AT TIME ZONE b) || c)"),
        ("a AT TIME ZONE b::c", "(a AT TIME ZONE (b::c))"),
        ("a * NOT b = c", "(a * (NOT (b = c)))"),
        ("a::int[1]", "(a::INT[1])"),
        ("1*-1", "(1 * (-1))"),
    ] {
        assert_eq!(shape(sql), expected, "{sql}");
    }
}

#[test]
fn what_does_not_associate_is_refused_where_it_goes_on() {
    for (sql, wrong) in [
        ("a < b < c", "<"),
        ("a = b <> c", "<>"),
        ("a = b = ANY (c)", "="),
        ("a LIKE b LIKE c", "LIKE"),
        ("a BETWEEN b AND c IN (d)", "IN"),
        ("a IS DISTINCT FROM b IS NULL", "IS"),
        ("5 !", "!"),
        ("1 OVERLAPS (c, d)", "OVERLAPS"),
    ] {
        let message = shape(sql);
        let expected = match sql {
            "5 !" => "syntax error at end of input".to_owned(),
            _ => format!("syntax error at or near \"{wrong}\""),
        };
        assert_eq!(message, expected, "{sql}");
    }
}

#[test]
fn queries_and_lists_in_parentheses_are_told_apart() {
    for sql in [
        "SELECT 1 IN ((SELECT 1), 2)",
        "SELECT 1 IN ((SELECT 1) + 1, 2)",
        "SELECT 1 IN ((SELECT 1))",
        "SELECT 1 IN ((SELECT 1) UNION (SELECT 2))",
        "SELECT ((SELECT 1) UNION (SELECT 1))",
        "SELECT (((SELECT 1)) + 1)",
        "SELECT ((SELECT (1)), 2) = (1, 2)",
        "SELECT 1 = ANY ((SELECT 1) UNION ALL SELECT 2)",
        "SELECT a = ANY ((SELECT 1) || b)",
    ] {
        assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql).map(|_| ()));
    }
}

#[test]
fn trees_read_back_what_they_print() {
    for sql in [
        "a BETWEEN SYMMETRIC b AND c",
        "a LIKE b ESCAPE c || d",
        "OPERATOR(pg_catalog.-) a * b",
        "! a",
        "- - 1",
        "@ -a + b",
        "|/ - - a::text || b",
        "NOT EXISTS (SELECT 1)",
        "-a ^ b COLLATE \"C\"",
    ] {
        let printed = parse_expr(sql).unwrap().0.to_string();
        let again = super::super::ddl::parse_expression(&printed).unwrap();
        assert_eq!(again.to_string(), printed, "{sql}");
        assert_eq!(shape(&printed), shape(sql), "{sql}");
    }
}
