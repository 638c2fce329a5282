//! An expression of a definition as PostgreSQL's parser would leave it: every operand has its type, and the casts that the
//! user did not write are there, marked as such. Definitions are stored as SQL; what PostgreSQL prints of them depends on all
//! of this. The choice of operators, functions and types is the binder's.

use sqlparser::ast::{
    self, BinaryOperator, Expr as Ast, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};
use sqlparser::tokenizer::Span;
use stratos_types::{ColumnType, Datum, Error, FormatOptions, PgType, Result};

use super::deparse::relation_name;
use super::expression_node::{Kind, Node, Syntax, condition, names_column, node, number};
use crate::binder::{
    Binder, column_type, fold_ident, name_parts, negated_number, operator_symbol, prefix_symbol, string_of,
};
use crate::catalog::{Snapshot, Table, quote_identifier};
use crate::dialect::SYMMETRIC;
use crate::functions::ArgType;
use crate::ir::{ColumnId, Expr, ExprKind};

/// Makes trees of expressions.
pub(super) struct Builder<'a> {
    pub binder: Binder<'a>,
    /// Whose columns may be named.
    pub table: Option<&'a Table>,
    /// For names in constants of type regclass.
    pub names: Option<(&'a Snapshot, &'a [String])>,
}

/// Where nothing stands: what is printed was found to be right when it was stored.
fn nowhere() -> Span {
    Span::empty()
}

fn unsupported() -> Error {
    Error::unsupported("this expression in a definition")
}

impl Builder<'_> {
    /// The tree of a condition.
    pub fn boolean(&mut self, expression: &Ast) -> Result<Node> {
        let found = self.node(expression)?;
        Ok(self.settle(found, PgType::Bool))
    }

    /// The tree of an expression that is printed for the second time: all its casts are written.
    pub fn written(&mut self, expression: &Ast) -> Result<Node> {
        let found = self.node(expression)?;
        Ok(self.known(found))
    }

    /// The tree of a value that is assigned to something of a type.
    pub fn assigned(&mut self, expression: &Ast, ty: ColumnType) -> Result<Node> {
        let found = self.node(expression)?;
        Ok(self.cast(found, ty, false))
    }

    /// What the binder is asked about in place of a node.
    fn stand_in(&mut self, of: &Node) -> Result<Expr> {
        match &of.kind {
            // A parameter is as undecided as a string, and is not read.
            Kind::Undecided(_) => {
                let number = self.binder.parameter_count() + 1;
                self.binder.param(&format!("${number}"), nowhere())
            }
            Kind::Constant(None) => Ok(Expr::literal(Datum::Null, of.ty)),
            _ => Ok(Expr::column(ColumnId(u32::MAX), of.ty)),
        }
    }

    fn stand_ins(&mut self, of: &[Node]) -> Result<Vec<Expr>> {
        of.iter().map(|node| self.stand_in(node)).collect()
    }

    /// As a type that was found to fit.
    fn settle(&self, of: Node, to: PgType) -> Node {
        if of.ty.ty == to { of } else { self.cast(of, to.into(), false) }
    }

    fn cast(&self, of: Node, to: ColumnType, explicit: bool) -> Node {
        if of.ty == to || (of.ty.ty == to.ty && to.typmod < 0 && !explicit) {
            return of;
        }
        let constant = match of.kind {
            Kind::Undecided(text) => Some(self.value(&text, to.ty)),
            Kind::Constant(None) if of.ty.ty == PgType::Unknown => None,
            kind => return node(Kind::Cast(Box::new(Node { kind, ty: of.ty }), explicit), to),
        };
        let read = node(Kind::Constant(constant), to.ty);
        // The length of a constant is a cast of its own.
        if to.typmod < 0 { read } else { node(Kind::Cast(Box::new(read), explicit), to) }
    }

    /// The text of a string constant as its type prints it.
    fn value(&self, text: &str, ty: PgType) -> String {
        if ty == PgType::Regclass {
            let found = self.names.and_then(|(snapshot, path)| {
                let (schema, name) = crate::ddl::name_in_string(text)?;
                let relation = snapshot.find_relation(schema.as_deref(), &name, path)?;
                Some(relation_name(snapshot, path, &relation))
            });
            return found.unwrap_or_else(|| text.to_owned());
        }
        if ty.is_string() {
            return text.to_owned();
        }
        let format = FormatOptions::default();
        // What names something else of the catalog stays as it was written.
        Datum::from_text(ty.into(), text, &format).map_or_else(|_| text.to_owned(), |value| value.to_text(ty, &format))
    }

    /// All of them as their common type.
    fn unify(&mut self, nodes: Vec<Node>, what: &str) -> Result<(Vec<Node>, ColumnType)> {
        let stand_ins = self.stand_ins(&nodes)?;
        let spans = vec![nowhere(); nodes.len()];
        let (_, ty) = self.binder.unify(stand_ins, &spans, what)?;
        Ok((nodes.into_iter().map(|node| self.settle(node, ty.ty)).collect(), ty))
    }

    /// An operator over operands, as the binder chooses it.
    fn operator(&mut self, symbol: &str, left: Option<Node>, right: Node) -> Result<Node> {
        let left_in = left.as_ref().map(|left| self.stand_in(left)).transpose()?;
        let right_in = self.stand_in(&right)?;
        let bound = self.binder.operator(symbol, left_in, right_in, None)?;
        let ExprKind::Call { args, .. } = bound.kind else { return Err(unsupported()) };
        let operands: Vec<Node> = left.into_iter().chain([right]).collect();
        let operands = operands.into_iter().zip(args).map(|(node, arg)| self.settle(node, arg.ty.ty)).collect();
        Ok(node(Kind::Operator(symbol.to_owned(), operands), bound.ty))
    }

    /// The operands of an operator alone.
    fn operands(&mut self, symbol: &str, left: Node, right: Node) -> Result<Box<[Node; 2]>> {
        match self.operator(symbol, Some(left), right)?.kind {
            Kind::Operator(_, operands) => <[Node; 2]>::try_from(operands).map(Box::new).map_err(|_| unsupported()),
            _ => Err(unsupported()),
        }
    }

    /// The arguments of a function, cast to what it takes, and the type that it gives. None where the call is a cast.
    fn arguments(
        &mut self,
        name: &str,
        nodes: Vec<Node>,
    ) -> Result<(std::result::Result<Vec<Node>, Node>, ColumnType)> {
        let stand_ins = self.stand_ins(&nodes)?;
        let bound = self.binder.call_named(name, stand_ins, nowhere())?;
        match bound.kind {
            ExprKind::Call { function, args } => {
                let any = |at: usize| function.args.get(at).or(function.args.last()) == Some(&ArgType::Any);
                let settled = nodes.into_iter().zip(args).enumerate();
                let settled =
                    settled.map(|(at, (node, arg))| if any(at) { node } else { self.settle(node, arg.ty.ty) });
                Ok((Ok(settled.collect()), bound.ty))
            }
            _ => match <[Node; 1]>::try_from(nodes) {
                Ok([arg]) => Ok((Err(self.cast(arg, bound.ty, true)), bound.ty)),
                Err(_) => Err(unsupported()),
            },
        }
    }

    fn call(&mut self, name: &str, nodes: Vec<Node>) -> Result<Node> {
        Ok(match self.arguments(name, nodes)? {
            (Ok(nodes), ty) => node(Kind::Call(quote_identifier(name), nodes), ty),
            (Err(cast), _) => cast,
        })
    }

    fn syntax(&mut self, name: &str, syntax: Syntax, nodes: Vec<Node>) -> Result<Node> {
        match self.arguments(name, nodes)? {
            (Ok(nodes), ty) => Ok(node(Kind::Syntax(syntax, nodes), ty)),
            (Err(cast), _) => Ok(cast),
        }
    }

    fn nodes<'e>(&mut self, expressions: impl IntoIterator<Item = &'e Ast>) -> Result<Vec<Node>> {
        expressions.into_iter().map(|expression| self.node(expression)).collect()
    }

    /// The tree of an expression.
    ///
    /// # Errors
    /// For the forms of expressions that are not known here, and what the binder does not take.
    #[recursive::recursive]
    fn node(&mut self, expression: &Ast) -> Result<Node> {
        match expression {
            Ast::Nested(inner) => self.node(inner),
            Ast::Identifier(ident) => self.name(ident),
            Ast::Value(value) => self.constant(&value.value),
            Ast::TypedString(ast::TypedString { data_type, value, uses_odbc_syntax: false }) => {
                let text = self.constant(&value.value)?;
                Ok(self.cast(text, column_type(data_type)?, true))
            }
            Ast::Cast { expr, data_type, array: false, format: None, .. } => {
                self.written_cast(expr, column_type(data_type)?)
            }
            Ast::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => self.chain(expression, op),
            Ast::BinaryOp { left, op, right } => match (fields(left), fields(right)) {
                (Some(left), Some(right)) => self.rows(left, op, right),
                _ => {
                    let (left, right) = (self.node(left)?, self.node(right)?);
                    self.operator(&operator_symbol(op)?, Some(left), right)
                }
            },
            Ast::UnaryOp { op, expr } => self.prefixed(*op, expr),
            Ast::IsNull(inner) => self.test(inner, "IS NULL"),
            Ast::IsNotNull(inner) => self.test(inner, "IS NOT NULL"),
            Ast::IsTrue(inner) => self.test(inner, "IS TRUE"),
            Ast::IsNotTrue(inner) => self.test(inner, "IS NOT TRUE"),
            Ast::IsFalse(inner) => self.test(inner, "IS FALSE"),
            Ast::IsNotFalse(inner) => self.test(inner, "IS NOT FALSE"),
            Ast::IsUnknown(inner) => self.test(inner, "IS UNKNOWN"),
            Ast::IsNotUnknown(inner) => self.test(inner, "IS NOT UNKNOWN"),
            Ast::IsDistinctFrom(left, right) => self.distinct(left, right, false),
            Ast::IsNotDistinctFrom(left, right) => self.distinct(left, right, true),
            Ast::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            Ast::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Ast::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~" } else { "~~" }, expr, pattern, escape_char.as_ref())
            }
            Ast::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~*" } else { "~~*" }, expr, pattern, escape_char.as_ref())
            }
            Ast::SimilarTo { negated, expr, pattern, escape_char } => {
                let left = self.node(expr)?;
                let mut arguments = vec![self.node(pattern)?];
                if let Some(escape) = escape_char {
                    arguments.push(self.constant(&escape.value)?);
                }
                let arguments = arguments.into_iter().map(|argument| self.settle(argument, PgType::Text)).collect();
                let pattern = node(Kind::Call("similar_to_escape".to_owned(), arguments), PgType::Text);
                self.operator(if *negated { "!~" } else { "~" }, Some(left), pattern)
            }
            Ast::AnyOp { left, compare_op, right, is_some: _ } => self.quantified(left, compare_op, right, "ANY"),
            Ast::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, "ALL"),
            Ast::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Ast::Array(array) => {
                let items = self.nodes(&array.elem)?;
                let (items, ty) = self.unify(items, "ARRAY")?;
                let array = ty.ty.array().ok_or_else(unsupported)?;
                Ok(node(Kind::Array(items), ColumnType { ty: array, typmod: ty.typmod }))
            }
            Ast::CompoundFieldAccess { root, access_chain } => match access_chain.as_slice() {
                [ast::AccessExpr::Subscript(ast::Subscript::Index { index })] => {
                    let (array, index) = (self.node(root)?, self.node(index)?);
                    let element = array.ty.ty.element().ok_or_else(unsupported)?;
                    let index = self.settle(index, PgType::Int4);
                    Ok(node(Kind::Subscript(Box::new([array, index])), element))
                }
                _ => Err(unsupported()),
            },
            Ast::Function(function) => self.function(function),
            Ast::Collate { expr, collation } => {
                let inner = self.node(expr)?;
                let ty = if inner.ty.ty == PgType::Unknown { PgType::Text.into() } else { inner.ty };
                let inner = self.cast(inner, ty, false);
                let parts = name_parts(collation)?;
                let name = parts.last().map(|name| quote_identifier(name)).unwrap_or_default();
                Ok(node(Kind::Collate(Box::new(inner), name), ty))
            }
            other => self.by_syntax(other),
        }
    }

    /// Calls that are not written as calls.
    fn by_syntax(&mut self, expression: &Ast) -> Result<Node> {
        match expression {
            Ast::AtTimeZone { timestamp, time_zone } => {
                let arguments = self.nodes([time_zone.as_ref(), timestamp])?;
                self.syntax("timezone", Syntax::AtTimeZone, arguments)
            }
            Ast::Extract { field, expr, .. } => {
                let field = field.to_string().to_lowercase();
                let arguments = vec![node(Kind::Undecided(field.clone()), PgType::Unknown), self.node(expr)?];
                self.syntax("extract", Syntax::Extract(field), arguments)
            }
            Ast::Position { expr, r#in } => {
                let arguments = self.nodes([r#in.as_ref(), expr])?;
                self.syntax("position", Syntax::Position, arguments)
            }
            Ast::Substring { expr, substring_from: Some(from), substring_for, special, shorthand } => {
                let arguments = self.nodes([expr.as_ref(), from].into_iter().chain(substring_for.as_deref()))?;
                match (special, shorthand) {
                    (_, true) => self.call("substr", arguments),
                    (true, _) => self.call("substring", arguments),
                    _ => self.syntax("substring", Syntax::Substring, arguments),
                }
            }
            Ast::Trim { expr, trim_where, trim_what, trim_characters } => {
                use ast::TrimWhereField as Where;
                let (name, word) = match trim_where {
                    None | Some(Where::Both) => ("btrim", "BOTH"),
                    Some(Where::Leading) => ("ltrim", "LEADING"),
                    Some(Where::Trailing) => ("rtrim", "TRAILING"),
                };
                let what = trim_what.as_deref().into_iter().chain(trim_characters.iter().flatten());
                let arguments = self.nodes(std::iter::once(expr.as_ref()).chain(what))?;
                self.syntax(name, Syntax::Trim(word), arguments)
            }
            Ast::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let others = [overlay_what.as_ref(), overlay_from].into_iter().chain(overlay_for.as_deref());
                let arguments = self.nodes(std::iter::once(expr.as_ref()).chain(others))?;
                self.syntax("overlay", Syntax::Overlay, arguments)
            }
            Ast::Ceil { expr, .. } => {
                let arguments = self.nodes([expr.as_ref()])?;
                self.call("ceil", arguments)
            }
            Ast::Floor { expr, .. } => {
                let arguments = self.nodes([expr.as_ref()])?;
                self.call("floor", arguments)
            }
            _ => Err(unsupported()),
        }
    }

    fn name(&mut self, ident: &ast::Ident) -> Result<Node> {
        let name = fold_ident(ident);
        if let Some((table, at)) = self.table.and_then(|table| Some((table, table.column_named(&name)?))) {
            return Ok(node(Kind::Column(quote_identifier(&name)), table.columns[at].ty));
        }
        self.keyword(&name, None)
    }

    fn keyword(&mut self, name: &str, precision: Option<i32>) -> Result<Node> {
        let ty = self.binder.keyword_function(name, precision, nowhere())?.ty;
        let precision = precision.map(|digits| format!("({digits})")).unwrap_or_default();
        Ok(node(Kind::Keyword(format!("{}{precision}", name.to_uppercase())), ty))
    }

    fn constant(&mut self, value: &Value) -> Result<Node> {
        match value {
            Value::Boolean(value) => Ok(condition(Kind::Constant(Some(value.to_string())))),
            Value::Null => Ok(node(Kind::Constant(None), PgType::Unknown)),
            Value::Number(text, _) => Ok(number(text)),
            other => match string_of(other) {
                Some(text) => Ok(node(Kind::Undecided(text.to_owned()), PgType::Unknown)),
                None => Err(unsupported()),
            },
        }
    }

    fn written_cast(&mut self, expression: &Ast, to: ColumnType) -> Result<Node> {
        let mut inner = expression;
        while let Ast::Nested(next) = inner {
            inner = next;
        }
        // The elements of an array are cast one by one.
        if let (Ast::Array(array), Some(element)) = (inner, to.ty.element()) {
            let items = self.nodes(&array.elem)?.into_iter().map(|item| self.cast(item, element.into(), true));
            let array = node(Kind::Array(items.collect()), to.ty);
            return Ok(self.cast(array, to, true));
        }
        let inner = self.node(inner)?;
        Ok(self.cast(inner, to, true))
    }

    /// AND or OR: what stands to the left with the same word is part of it.
    fn chain(&mut self, expression: &Ast, op: &BinaryOperator) -> Result<Node> {
        let word = if *op == BinaryOperator::And { "AND" } else { "OR" };
        let (mut parts, mut rest) = (Vec::new(), expression);
        let first = loop {
            match rest {
                Ast::Nested(inner) => rest = inner,
                Ast::BinaryOp { left, op: other, right } if other == op => {
                    parts.push(right.as_ref());
                    rest = left;
                }
                other => break other,
            }
        };
        parts.push(first);
        let parts = parts.into_iter().rev().map(|part| self.boolean(part)).collect::<Result<_>>()?;
        Ok(condition(Kind::Chain(word, parts)))
    }

    /// Two rows: equal where all fields are, and the fields of two periods.
    fn rows(&mut self, left: &[Ast], op: &BinaryOperator, right: &[Ast]) -> Result<Node> {
        if *op == BinaryOperator::Overlaps {
            let arguments = self.nodes(left.iter().chain(right))?;
            return self.syntax("overlaps", Syntax::Overlaps, arguments);
        }
        let (symbol, word) = match op {
            BinaryOperator::Eq => ("=", "AND"),
            BinaryOperator::NotEq => ("<>", "OR"),
            _ => return Err(unsupported()),
        };
        let mut tests = Vec::with_capacity(left.len());
        for (left, right) in left.iter().zip(right) {
            let (left, right) = (self.node(left)?, self.node(right)?);
            tests.push(self.operator(symbol, Some(left), right)?);
        }
        Ok(condition(Kind::Chain(word, tests)))
    }

    fn prefixed(&mut self, op: UnaryOperator, operand: &Ast) -> Result<Node> {
        if op == UnaryOperator::Not {
            return Ok(condition(Kind::Not(Box::new(self.boolean(operand)?))));
        }
        if op == UnaryOperator::Minus
            && let Some(text) = negated_number(operand)
        {
            return Ok(number(&text));
        }
        let symbol = prefix_symbol(op).ok_or_else(unsupported)?;
        let operand = self.node(operand)?;
        self.operator(symbol, None, operand)
    }

    fn test(&mut self, operand: &Ast, words: &'static str) -> Result<Node> {
        let operand = match words {
            "IS NULL" | "IS NOT NULL" => {
                let operand = self.node(operand)?;
                self.known(operand)
            }
            _ => self.boolean(operand)?,
        };
        Ok(condition(Kind::Test(Box::new(operand), words)))
    }

    /// What nothing has decided is text.
    fn known(&self, of: Node) -> Node {
        if of.ty.ty == PgType::Unknown { self.settle(of, PgType::Text) } else { of }
    }

    fn distinct(&mut self, left: &Ast, right: &Ast, negated: bool) -> Result<Node> {
        let (left, right) = (self.node(left)?, self.node(right)?);
        let is_null = |node: &Node| matches!(node.kind, Kind::Constant(None)) && node.ty.ty == PgType::Unknown;
        if is_null(&left) || is_null(&right) {
            let tested = if is_null(&right) { left } else { right };
            let tested = Box::new(self.known(tested));
            return Ok(condition(Kind::Test(tested, if negated { "IS NULL" } else { "IS NOT NULL" })));
        }
        let distinct = condition(Kind::Distinct(self.operands("=", left, right)?));
        Ok(if negated { condition(Kind::Not(Box::new(distinct))) } else { distinct })
    }

    fn between(&mut self, expression: &Ast, negated: bool, low: &Ast, high: &Ast) -> Result<Node> {
        let mut pair = |low: &Ast, high: &Ast| -> Result<Node> {
            let (first, word, second) = if negated { ("<", "OR", ">") } else { (">=", "AND", "<=") };
            let mut sides = Vec::with_capacity(2);
            for (symbol, bound) in [(first, low), (second, high)] {
                let (value, bound) = (self.node(expression)?, self.node(bound)?);
                sides.push(self.operator(symbol, Some(value), bound)?);
            }
            Ok(condition(Kind::Chain(word, sides)))
        };
        match low {
            Ast::Prefixed { prefix, value } if prefix.value == SYMMETRIC => {
                let sides = vec![pair(value, high)?, pair(high, value)?];
                Ok(condition(Kind::Chain(if negated { "AND" } else { "OR" }, sides)))
            }
            low => pair(low, high),
        }
    }

    /// IN: one comparison with all constants, where there are several, and one with each of what is left.
    fn in_list(&mut self, expression: &Ast, list: &[Ast], negated: bool) -> Result<Node> {
        let (symbol, word, quantifier) = if negated { ("<>", "AND", "ALL") } else { ("=", "OR", "ANY") };
        let value = self.node(expression)?;
        let items = self.nodes(list)?;
        let (constants, others): (Vec<Node>, Vec<Node>) = items.into_iter().partition(|item| !names_column(item));
        let mut tests = Vec::new();
        let mut single = others;
        if constants.len() > 1 && self.has_array(&value, &constants)? {
            let (mut all, ty) = self.unify(std::iter::once(value.clone()).chain(constants).collect(), "IN")?;
            all.remove(0);
            let array = node(Kind::Array(all), ty.ty.array().ok_or_else(unsupported)?);
            tests.push(self.over_array(symbol, quantifier, value.clone(), array)?);
        } else {
            single.splice(0..0, constants);
        }
        for item in single {
            tests.push(self.operator(symbol, Some(value.clone()), item)?);
        }
        match <[Node; 1]>::try_from(tests) {
            Ok([one]) => Ok(one),
            Err(tests) => Ok(condition(Kind::Chain(word, tests))),
        }
    }

    /// Whether a value and what it is compared with have a type in common of which there are arrays.
    fn has_array(&mut self, value: &Node, items: &[Node]) -> Result<bool> {
        let all: Vec<Node> = std::iter::once(value).chain(items).cloned().collect();
        let stand_ins = self.stand_ins(&all)?;
        let spans = vec![nowhere(); all.len()];
        Ok(self.binder.unify(stand_ins, &spans, "IN").is_ok_and(|(_, ty)| ty.ty.array().is_some()))
    }

    fn over_array(&mut self, symbol: &str, quantifier: &'static str, left: Node, array: Node) -> Result<Node> {
        let element = array.ty.ty.element().unwrap_or(PgType::Unknown);
        let of_element = match element {
            PgType::Unknown => node(Kind::Undecided(String::new()), PgType::Unknown),
            element => node(Kind::Column(String::new()), element),
        };
        let [left, right] = *self.operands(symbol, left, of_element)?;
        let array_type = right.ty.ty.array().ok_or_else(unsupported)?;
        let array = self.settle(array, array_type);
        Ok(condition(Kind::Quantified(symbol.to_owned(), quantifier, Box::new([left, array]))))
    }

    fn quantified(&mut self, left: &Ast, op: &BinaryOperator, right: &Ast, quantifier: &'static str) -> Result<Node> {
        let (left, right) = (self.node(left)?, self.node(right)?);
        let left = if right.ty.ty == PgType::Unknown { self.known(left) } else { left };
        self.over_array(&operator_symbol(op)?, quantifier, left, right)
    }

    fn like(
        &mut self,
        symbol: &str,
        expression: &Ast,
        pattern: &Ast,
        escape: Option<&ast::ValueWithSpan>,
    ) -> Result<Node> {
        let left = self.node(expression)?;
        let mut right = self.node(pattern)?;
        if let Some(escape) = escape {
            let escape = self.constant(&escape.value)?;
            right = self.call("like_escape", vec![right, escape])?;
        }
        self.operator(symbol, Some(left), right)
    }

    fn case(&mut self, operand: Option<&Ast>, conditions: &[ast::CaseWhen], otherwise: Option<&Ast>) -> Result<Node> {
        let operand = match operand {
            Some(operand) => {
                let operand = self.node(operand)?;
                Some(self.known(operand))
            }
            None => None,
        };
        let mut whens = Vec::with_capacity(conditions.len());
        let mut results = vec![match otherwise {
            Some(otherwise) => self.node(otherwise)?,
            None => node(Kind::Constant(None), PgType::Unknown),
        }];
        for ast::CaseWhen { condition, result } in conditions {
            whens.push(match &operand {
                Some(operand) => {
                    let right = self.node(condition)?;
                    let [_, right] = *self.operands("=", operand.clone(), right)?;
                    right
                }
                None => self.boolean(condition)?,
            });
            results.push(self.node(result)?);
        }
        let (mut results, ty) = self.unify(results, "CASE")?;
        let otherwise = Box::new(results.remove(0));
        let branches = whens.into_iter().zip(results).map(|(when, then)| [when, then]).collect();
        Ok(node(Kind::Case { operand: operand.map(Box::new), branches, otherwise }, ty))
    }

    fn function(&mut self, function: &ast::Function) -> Result<Node> {
        let parts = name_parts(&function.name)?;
        let name = match parts.as_slice() {
            [name] => name.as_str(),
            [schema, name] if schema == "pg_catalog" => name.as_str(),
            _ => return Err(unsupported()),
        };
        let list = match &function.args {
            FunctionArguments::None => return self.keyword(name, None),
            FunctionArguments::List(list) => list,
            FunctionArguments::Subquery(_) => return Err(unsupported()),
        };
        let arguments = list.args.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => self.node(expression),
            _ => Err(unsupported()),
        });
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let list = match name {
            "coalesce" => "COALESCE",
            "greatest" => "GREATEST",
            "least" => "LEAST",
            "nullif" => {
                let [left, right] = <[Node; 2]>::try_from(arguments).map_err(|_| unsupported())?;
                let ty = left.ty;
                let operands = self.operands("=", left, right)?;
                return Ok(node(Kind::List("NULLIF", operands.into_iter().collect()), ty));
            }
            "current_time" | "current_timestamp" | "localtime" | "localtimestamp" => {
                let precision = arguments.first().and_then(|digits| match &digits.kind {
                    Kind::Constant(Some(digits)) => digits.parse().ok(),
                    _ => None,
                });
                return self.keyword(name, precision);
            }
            "row" | "grouping" => return Err(unsupported()),
            name => return self.call(name, arguments),
        };
        let (arguments, ty) = self.unify(arguments, list)?;
        Ok(node(Kind::List(list, arguments), ty))
    }
}

/// The fields of a row that is written as such.
fn fields(expression: &Ast) -> Option<&[Ast]> {
    match expression {
        Ast::Nested(inner) => fields(inner),
        Ast::Tuple(fields) => Some(fields),
        _ => None,
    }
}
