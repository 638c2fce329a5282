//! Expressions of plans as SQL, for EXPLAIN. Plans name their columns by number; what the statement calls them, or how it
//! computes them, is read off the tree that was lowered.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{NullEquality, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NegativeExpr, NotExpr,
};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::JoinOnRef;
use datafusion::physical_plan::projection::ProjectionExec;
use stratos_types::{ColumnType, Datum, FormatOptions, PgType};

use super::expr::column_name;
use super::udf::{RowFunction, RowOp};
use crate::arrow::datum_of_scalar;
use crate::catalog::{quote_identifier, quote_literal};
use crate::functions::{Function, operators};
use crate::ir::{AggregateCall, ColumnId, Expr, ExprKind, Quantifier, Rel, WindowFunction};

/// How deep expressions are printed; deeper parts print as dots.
const DEPTH_MAX: usize = 100;
/// Items of a list that are printed.
const ITEMS_MAX: usize = 100;
/// What stands for what is not printed.
const OMITTED: &str = "...";

struct Named {
    text: String,
    ty: ColumnType,
}

/// What the columns of a plan are called.
pub(super) struct Names {
    columns: HashMap<String, Named>,
}

impl Names {
    /// The names of a statement's columns.
    pub(super) fn of(rel: &Rel) -> Names {
        let mut names = Names { columns: HashMap::new() };
        let qualified = sources(rel) > 1;
        names.collect(rel, qualified, 0);
        names
    }

    fn put(&mut self, id: ColumnId, text: String, ty: ColumnType) {
        self.columns.insert(column_name(id), Named { text, ty });
    }

    /// What is below is named first: expressions above are made of it.
    fn collect(&mut self, rel: &Rel, qualified: bool, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        if let Rel::With { ctes, .. } = rel {
            for cte in ctes {
                self.collect(&cte.query, qualified, depth + 1);
                if let Some((recursive, _)) = &cte.recursive {
                    self.collect(recursive, qualified, depth + 1);
                }
            }
        }
        for input in rel.inputs() {
            self.collect(input, qualified, depth + 1);
        }
        for expr in rel.exprs() {
            expr.walk(&mut |e| {
                if let ExprKind::Subquery { query, .. } = &e.kind {
                    self.collect(query, sources(query) > 1 || qualified, depth + 1);
                }
            });
        }
        match rel {
            Rel::Scan { alias, .. } => {
                for column in rel.output() {
                    let name = quote_identifier(&column.name);
                    let text = if qualified { format!("{}.{name}", quote_identifier(alias)) } else { name };
                    self.put(column.id, text, column.ty);
                }
            }
            Rel::Project { columns, .. } => {
                for (column, expr) in columns {
                    let text = self.expr(expr, 0);
                    self.put(column.id, text, column.ty);
                }
            }
            Rel::Alias { columns, .. } => {
                for (column, of) in columns {
                    let text = self.column(&column_name(*of)).unwrap_or_else(|| quote_identifier(&column.name));
                    self.put(column.id, text, column.ty);
                }
            }
            Rel::Aggregate { group_by, aggregates, groupings, .. } => {
                for (column, expr) in group_by {
                    let text = self.expr(expr, 0);
                    self.put(column.id, text, column.ty);
                }
                for (column, call) in aggregates {
                    let text = self.aggregate(call);
                    self.put(column.id, text, column.ty);
                }
                for (column, keys) in groupings {
                    let of: Vec<String> =
                        keys.iter().filter_map(|at| group_by.get(*at)).map(|(_, key)| self.expr(key, 0)).collect();
                    self.put(column.id, format!("GROUPING({})", of.join(", ")), column.ty);
                }
            }
            Rel::Window { calls, .. } => {
                for (column, call) in calls {
                    let text = match &call.function {
                        WindowFunction::Aggregate(aggregate) => self.aggregate(aggregate),
                        WindowFunction::Builtin { name, args } => format!("{name}({})", self.list(args, 0)),
                    };
                    self.put(column.id, format!("{text} OVER (?)"), column.ty);
                }
            }
            other => {
                for column in other.output() {
                    if !self.columns.contains_key(&column_name(column.id)) {
                        self.put(column.id, quote_identifier(&column.name), column.ty);
                    }
                }
            }
        }
    }

    fn column(&self, name: &str) -> Option<String> {
        self.columns.get(name).map(|named| named.text.clone())
    }

    fn aggregate(&self, call: &AggregateCall) -> String {
        let args = if call.args.is_empty() { "*".to_owned() } else { self.list(&call.args, 0) };
        format!("{}({}{args})", call.aggregate.name, if call.distinct { "DISTINCT " } else { "" })
    }

    fn list(&self, items: &[Expr], depth: usize) -> String {
        joined(items.iter().map(|item| self.expr(item, depth)), ", ")
    }

    fn expr(&self, expr: &Expr, depth: usize) -> String {
        if depth > DEPTH_MAX {
            return OMITTED.to_owned();
        }
        let depth = depth + 1;
        let text = |e: &Expr| self.expr(e, depth);
        match &expr.kind {
            ExprKind::Literal(value) => literal(value, expr.ty.ty),
            ExprKind::Column(id) => self.column(&column_name(*id)).unwrap_or_else(|| OMITTED.to_owned()),
            ExprKind::Param(n) => format!("${}", n + 1),
            ExprKind::Call { function, args } => call(function, args.iter().map(text).collect()),
            ExprKind::Cast { arg, .. } => cast(&text(arg), expr.ty),
            ExprKind::And(args) => format!("({})", joined(args.iter().map(text), " AND ")),
            ExprKind::Or(args) => format!("({})", joined(args.iter().map(text), " OR ")),
            ExprKind::Not(arg) => format!("(NOT {})", text(arg)),
            ExprKind::IsNull(arg) => format!("({} IS NULL)", text(arg)),
            ExprKind::NotDistinct { left, right, .. } => {
                format!("(NOT ({} IS DISTINCT FROM {}))", text(left), text(right))
            }
            ExprKind::Case { branches, otherwise } => {
                let mut words = String::from("CASE");
                for branch in branches.iter().take(ITEMS_MAX) {
                    words.push_str(&format!(" WHEN {} THEN {}", text(&branch.when), text(&branch.then)));
                }
                if let Some(otherwise) = otherwise {
                    words.push_str(&format!(" ELSE {}", text(otherwise)));
                }
                words + " END"
            }
            ExprKind::Coalesce(args) => format!("COALESCE({})", self.list(args, depth)),
            ExprKind::Extremum { greatest, args, .. } => {
                format!("{}({})", if *greatest { "GREATEST" } else { "LEAST" }, self.list(args, depth))
            }
            ExprKind::InList { arg, list, .. } => {
                format!("({} = ANY (ARRAY[{}]))", text(arg), self.list(list, depth))
            }
            ExprKind::Quantified { quantifier, operator, left, array } => {
                quantified(*quantifier, operator, &text(left), &text(array))
            }
            ExprKind::Array(items) => format!("ARRAY[{}]", self.list(items, depth)),
            ExprKind::Subscript { array, index } => format!("{}[{}]", text(array), text(index)),
            ExprKind::Row(items, _) => format!("ROW({})", self.list(items, depth)),
            ExprKind::Subquery { .. } => "(SubPlan)".to_owned(),
        }
    }

    /// The type of what a part of a plan computes, where it can be told.
    fn type_of(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<PgType> {
        let any: &dyn Any = expr.as_ref();
        if let Some(column) = any.downcast_ref::<Column>() {
            return self.columns.get(column.name()).map(|named| named.ty.ty);
        }
        Some(row_function(expr)?.1.result())
    }

    /// An expression over what `input` gives. `ty` is the type of a constant.
    pub(super) fn physical(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        input: &Arc<dyn ExecutionPlan>,
        ty: Option<PgType>,
        depth: usize,
    ) -> String {
        if depth > DEPTH_MAX {
            return OMITTED.to_owned();
        }
        let depth = depth + 1;
        let text = |e: &Arc<dyn PhysicalExpr>| self.physical(e, input, None, depth);
        let any: &dyn Any = expr.as_ref();
        if let Some(column) = any.downcast_ref::<Column>() {
            return self.column(column.name()).unwrap_or_else(|| match defined_by(column.name(), input) {
                Some((definition, below)) => self.physical(&definition, &below, None, depth),
                None => OMITTED.to_owned(),
            });
        }
        if let Some(constant) = any.downcast_ref::<Literal>() {
            return match ty.map(|ty| (ty, datum_of_scalar(constant.value(), ty))) {
                Some((ty, Ok(value))) => literal(&value, ty),
                _ if constant.value().is_null() => "NULL".to_owned(),
                _ => match constant.value().try_as_str().flatten() {
                    Some(text) => literal(&Datum::text(text), PgType::Text),
                    None => constant.value().to_string(),
                },
            };
        }
        if let Some(binary) = any.downcast_ref::<BinaryExpr>() {
            if matches!(binary.op(), Operator::And | Operator::Or) {
                let mut terms = Vec::new();
                chain(expr, *binary.op(), &mut terms);
                let joint = format!(" {} ", binary.op());
                return format!("({})", joined(terms.iter().map(text), &joint));
            }
            if *binary.op() == Operator::IsNotDistinctFrom
                && let Some(truth) = (binary.right().as_ref() as &dyn Any).downcast_ref::<Literal>()
                && let ScalarValue::Boolean(Some(truth)) = truth.value()
            {
                let word = if *truth { "TRUE" } else { "FALSE" };
                return format!("({} IS {word})", text(binary.left()));
            }
            let operator = match binary.op() {
                Operator::NotEq => "<>".to_owned(),
                other => other.to_string(),
            };
            let left = self.physical(binary.left(), input, self.type_of(binary.right()), depth);
            let right = self.physical(binary.right(), input, self.type_of(binary.left()), depth);
            return format!("({left} {operator} {right})");
        }
        if let Some((arguments, function)) = row_function(expr) {
            let args: Vec<String> = arguments
                .iter()
                .zip(function.arguments().iter().map(|ty| Some(*ty)).chain(std::iter::repeat(None)))
                .map(|(argument, ty)| self.physical(argument, input, ty, depth))
                .collect();
            return operation(function, args);
        }
        if let Some(not) = any.downcast_ref::<NotExpr>() {
            return format!("(NOT {})", text(not.arg()));
        }
        if let Some(test) = any.downcast_ref::<IsNullExpr>() {
            return format!("({} IS NULL)", text(test.arg()));
        }
        if let Some(test) = any.downcast_ref::<IsNotNullExpr>() {
            return format!("({} IS NOT NULL)", text(test.arg()));
        }
        if let Some(negative) = any.downcast_ref::<NegativeExpr>() {
            return format!("(- {})", text(negative.arg()));
        }
        // Casts that the user wrote are functions; these widen numbers.
        if let Some(cast) = any.downcast_ref::<CastExpr>() {
            return self.physical(cast.expr(), input, ty, depth);
        }
        if let Some(list) = any.downcast_ref::<InListExpr>() {
            let ty = self.type_of(list.expr());
            let items = joined(list.list().iter().map(|item| self.physical(item, input, ty, depth)), ", ");
            let test = if list.negated() { "<> ALL" } else { "= ANY" };
            return format!("({} {test} (ARRAY[{items}]))", text(list.expr()));
        }
        if let Some(case) = any.downcast_ref::<CaseExpr>() {
            let mut words = String::from("CASE");
            for (when, then) in case.when_then_expr().iter().take(ITEMS_MAX) {
                words.push_str(&format!(" WHEN {} THEN {}", text(when), text(then)));
            }
            if let Some(otherwise) = case.else_expr() {
                words.push_str(&format!(" ELSE {}", text(otherwise)));
            }
            return words + " END";
        }
        OMITTED.to_owned()
    }

    /// `a DESC, (lower(b)) NULLS FIRST`
    pub(super) fn ordering(&self, ordering: &LexOrdering, input: &Arc<dyn ExecutionPlan>) -> String {
        let keys = ordering.iter().map(|key| {
            let order = match (key.options.descending, key.options.nulls_first) {
                (false, false) => "",
                (false, true) => " NULLS FIRST",
                (true, true) => " DESC",
                (true, false) => " DESC NULLS LAST",
            };
            self.key(&key.expr, input) + order
        });
        joined(keys, ", ")
    }

    /// A key of a sort or a group: in parentheses unless it is a column.
    pub(super) fn key(&self, expr: &Arc<dyn PhysicalExpr>, input: &Arc<dyn ExecutionPlan>) -> String {
        let text = self.physical(expr, input, None, 0);
        let plain = text.starts_with('(') || !text.contains(['(', ' ', ':']) || text.starts_with('"');
        if plain { text } else { format!("({text})") }
    }

    /// `(a = b) AND (c = d)`, or with IS NOT DISTINCT FROM where NULL equals NULL.
    pub(super) fn equalities(
        &self,
        on: JoinOnRef<'_>,
        nulls: NullEquality,
        left: &Arc<dyn ExecutionPlan>,
        right: &Arc<dyn ExecutionPlan>,
    ) -> String {
        let operator = match nulls {
            NullEquality::NullEqualsNothing => "=",
            NullEquality::NullEqualsNull => "IS NOT DISTINCT FROM",
        };
        let parts: Vec<String> = on
            .iter()
            .map(|(l, r)| {
                format!("({} {operator} {})", self.physical(l, left, None, 0), self.physical(r, right, None, 0))
            })
            .collect();
        if let [one] = parts.as_slice() { one.clone() } else { format!("({})", parts.join(" AND ")) }
    }
}

/// How many relations a statement reads.
fn sources(rel: &Rel) -> usize {
    let own = match rel {
        Rel::Scan { .. } | Rel::SystemScan { .. } | Rel::TableFunction { .. } | Rel::CteScan { .. } => 1,
        _ => 0,
    };
    let below: usize = rel.inputs().into_iter().map(sources).sum();
    let ctes: usize = match rel {
        Rel::With { ctes, .. } => ctes.iter().map(|cte| sources(&cte.query)).sum(),
        _ => 0,
    };
    own + below + ctes
}

fn joined(items: impl Iterator<Item = String>, by: &str) -> String {
    let mut items = items.take(ITEMS_MAX + 1).collect::<Vec<String>>();
    if let Some(beyond) = items.get_mut(ITEMS_MAX) {
        OMITTED.clone_into(beyond);
    }
    items.join(by)
}

fn literal(value: &Datum, ty: PgType) -> String {
    match value {
        Datum::Null => format!("NULL::{ty}"),
        Datum::Bool(value) => value.to_string(),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) => value.to_text(ty, &FormatOptions::default()),
        value => format!("{}::{ty}", quote_literal(&value.to_text(ty, &FormatOptions::default()))),
    }
}

fn cast(arg: &str, to: ColumnType) -> String {
    if arg.starts_with('(') { format!("{arg}::{to}") } else { format!("({arg})::{to}") }
}

fn symbol_of(function: &Function, operands: usize) -> Option<&'static str> {
    let found = operators::all().iter().find(|operator| {
        operator.function.oid == function.oid && operands == if operator.left.is_some() { 2 } else { 1 }
    });
    found.map(|operator| operator.symbol)
}

fn call(function: &Function, args: Vec<String>) -> String {
    match (symbol_of(function, args.len()), args.as_slice()) {
        (Some(symbol), [left, right]) => format!("({left} {symbol} {right})"),
        (Some(symbol), [operand]) => format!("({symbol} {operand})"),
        _ => format!("{}({})", function.name, args.join(", ")),
    }
}

fn quantified(quantifier: Quantifier, operator: &Function, left: &str, array: &str) -> String {
    let symbol = symbol_of(operator, 2).unwrap_or(operator.name);
    let word = match quantifier {
        Quantifier::Any => "ANY",
        Quantifier::All => "ALL",
    };
    format!("({left} {symbol} {word} ({array}))")
}

fn operation(function: &RowFunction, args: Vec<String>) -> String {
    let list = || args.join(", ");
    match (function.operation(), args.as_slice()) {
        (RowOp::Call(f) | RowOp::Arithmetic(f, _), _) => call(f, args),
        (RowOp::Cast { to, .. }, [arg]) => cast(arg, *to),
        (RowOp::Quantified(quantifier, f), [left, array]) => quantified(*quantifier, f, left, array),
        (RowOp::NotDistinct(_), [left, right]) => format!("(NOT ({left} IS DISTINCT FROM {right}))"),
        (RowOp::Array(_), _) => format!("ARRAY[{}]", list()),
        (RowOp::Subscript, [array, index]) => format!("{array}[{index}]"),
        (RowOp::Row(_), _) => format!("ROW({})", list()),
        (RowOp::Extremum { greatest, .. }, _) => {
            format!("{}({})", if *greatest { "GREATEST" } else { "LEAST" }, list())
        }
        (RowOp::Coalesce, _) => format!("COALESCE({})", list()),
        (RowOp::EqualityKey | RowOp::OneNan, [arg]) => arg.clone(),
        (RowOp::Subquery(_), _) => "(SubPlan)".to_owned(),
        (RowOp::Member(set), _) => format!("(({}) IN ({} rows))", list(), set.tuples().len()),
        _ => OMITTED.to_owned(),
    }
}

fn row_function(expr: &Arc<dyn PhysicalExpr>) -> Option<(&[Arc<dyn PhysicalExpr>], &RowFunction)> {
    let any: &dyn Any = expr.as_ref();
    let call = any.downcast_ref::<ScalarFunctionExpr>()?;
    let function: &dyn Any = call.fun().inner().as_ref();
    Some((call.args(), function.downcast_ref::<RowFunction>()?))
}

/// The terms of a chain of one of AND and OR, with an explicit stack: chains are as long as their author liked.
fn chain(expr: &Arc<dyn PhysicalExpr>, operator: Operator, terms: &mut Vec<Arc<dyn PhysicalExpr>>) {
    let mut pending = vec![expr.clone()];
    while let Some(next) = pending.pop() {
        let any: &dyn Any = next.as_ref();
        match any.downcast_ref::<BinaryExpr>() {
            Some(binary) if *binary.op() == operator => {
                pending.push(binary.right().clone());
                pending.push(binary.left().clone());
            }
            _ => terms.push(next),
        }
    }
}

/// How a column that the optimizer named is computed below, and over what.
fn defined_by(name: &str, plan: &Arc<dyn ExecutionPlan>) -> Option<(Arc<dyn PhysicalExpr>, Arc<dyn ExecutionPlan>)> {
    let mut plan = plan.clone();
    for _ in 0..DEPTH_MAX {
        let any: &dyn Any = plan.as_ref();
        if let Some(projection) = any.downcast_ref::<ProjectionExec>()
            && let Some(found) = projection.expr().iter().find(|item| item.alias == name)
        {
            let passed_on =
                (found.expr.as_ref() as &dyn Any).downcast_ref::<Column>().is_some_and(|column| column.name() == name);
            if !passed_on {
                return Some((found.expr.clone(), projection.input().clone()));
            }
        }
        let next = match plan.children().as_slice() {
            [child] => (*child).clone(),
            // A join: its sides have no name in common.
            children => return children.iter().find_map(|child| defined_by(name, child)),
        };
        plan = next;
    }
    None
}
