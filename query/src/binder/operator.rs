//! Operators: AND and OR, overloads by the types of their operands, and the casts that a choice asks for.

use sqlparser::ast::{self, BinaryOperator, Ident, UnaryOperator, Value};
use sqlparser::tokenizer::Span;
use stratos_types::{Error, ErrorKind, PgType, Result};

use super::Binder;
use super::composite::is_row;
use super::expr::not;
use super::resolve::{Choice, choose, settle};
use super::scope::Place;
use crate::dialect::OPERATOR_PREFIX;
use crate::functions::{ArgType, Function, Operator};
use crate::ir::{Expr, ExprKind};

/// The symbol by which the operator is registered.
pub(crate) fn symbol(op: &BinaryOperator) -> Result<String> {
    use BinaryOperator as B;
    Ok(match op {
        B::PGCustomBinaryOperator(parts) => match parts.as_slice() {
            [symbol] => symbol.clone(),
            [schema, symbol] if schema.eq_ignore_ascii_case("pg_catalog") => symbol.clone(),
            _ => {
                return Err(Error::new(
                    ErrorKind::UndefinedFunction,
                    format!("operator does not exist: {}", parts.join(".")),
                ));
            }
        },
        B::Custom(symbol) => symbol.clone(),
        B::And
        | B::Or
        | B::Xor
        | B::Spaceship
        | B::DuckIntegerDivide
        | B::MyIntegerDivide
        | B::Match
        | B::Regexp
        | B::Overlaps
        | B::Assignment => return Err(Error::unsupported(format!("operator {op}"))),
        other => other.to_string(),
    })
}

/// Signs and brackets around a number that are read as parts of it; further signs are operators.
const SIGNS_MAX: usize = 100;

/// A number with the minus signs before it, or none: `- -9223372036854775808` is a `numeric`, as its absolute value is.
fn signed_number(expr: &ast::Expr, signs: usize) -> Option<String> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        ast::Expr::Nested(inner) if signs < SIGNS_MAX => signed_number(inner, signs + 1),
        ast::Expr::UnaryOp { op: UnaryOperator::Minus, expr } if signs < SIGNS_MAX => {
            let inner = signed_number(expr, signs + 1)?;
            Some(inner.strip_prefix('-').map_or_else(|| format!("-{inner}"), str::to_owned))
        }
        _ => None,
    }
}

/// The number that a minus sign makes of its operand, which the sign belongs to: -2147483648 is an int4.
pub(crate) fn negated_number(operand: &ast::Expr) -> Option<String> {
    let number = signed_number(operand, 0)?;
    Some(number.strip_prefix('-').map_or_else(|| format!("-{number}"), str::to_owned))
}

/// The symbol by which an operator before its operand is registered; none for NOT, which is none, and for those of others.
pub(crate) fn prefix_symbol(op: UnaryOperator) -> Option<&'static str> {
    Some(match op {
        UnaryOperator::Minus => "-",
        UnaryOperator::Plus => "+",
        UnaryOperator::BitwiseNot => "~",
        UnaryOperator::PGAbs => "@",
        UnaryOperator::PGSquareRoot => "|/",
        UnaryOperator::PGCubeRoot => "||/",
        _ => return None,
    })
}

impl Binder<'_> {
    /// A chain of ANDs or ORs, flattened.
    pub(super) fn logic(&mut self, e: &ast::Expr, and: bool) -> Result<Expr> {
        let mut terms: Vec<&ast::Expr> = Vec::new();
        let mut rest = vec![e];
        while let Some(next) = rest.pop() {
            match next {
                ast::Expr::BinaryOp { left, op: BinaryOperator::And, right } if and => rest.extend([&**right, left]),
                ast::Expr::BinaryOp { left, op: BinaryOperator::Or, right } if !and => rest.extend([&**right, left]),
                term => terms.push(term),
            }
        }
        let what = if and { "AND" } else { "OR" };
        let mut bound = Vec::with_capacity(terms.len());
        for term in terms {
            let expr = self.expr(term)?;
            bound.push(self.boolean(expr, what, term.place())?);
        }
        Ok(Expr { kind: if and { ExprKind::And(bound) } else { ExprKind::Or(bound) }, ty: PgType::Bool.into() })
    }

    pub(super) fn binary(&mut self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Result<Expr> {
        if *op == BinaryOperator::Overlaps {
            return self.overlaps(left, right);
        }
        let written = symbol(op)?;
        let place = self.operator_position(&written, op, right.place());
        if let Some(rows) = self.row_operands(left, right)? {
            return self.compare_rows(&written, rows, place);
        }
        // A left-deep chain of one operator is walked without recursion.
        let mut chain: Vec<(&ast::Expr, String, Option<usize>)> = vec![(right, written, place)];
        let mut first = left;
        while let ast::Expr::BinaryOp { left, op, right } = first {
            if matches!(op, BinaryOperator::And | BinaryOperator::Or) || is_row(left) || is_row(right) {
                break;
            }
            let s = symbol(op)?;
            let p = self.operator_position(&s, op, right.place());
            chain.push((right, s, p));
            first = left;
        }
        let mut result = self.expr(first)?;
        for (right, symbol, place) in chain.into_iter().rev() {
            let spans = [first.place(), right.place()];
            let right = self.expr(right)?;
            result = self.operator_at(&symbol, Some(result), right, place, &spans)?;
        }
        Ok(result)
    }

    /// `(a, b) OVERLAPS (c, d)`, which is a call of a function.
    fn overlaps(&mut self, left: &ast::Expr, right: &ast::Expr) -> Result<Expr> {
        let mut args = Vec::with_capacity(4);
        for (side, e) in [("left", left), ("right", right)] {
            match self.row_fields(e)? {
                Some(fields) if fields.len() == 2 => args.extend(fields),
                _ => {
                    let message = format!("wrong number of parameters on {side} side of OVERLAPS expression");
                    let error = Error::new(ErrorKind::SyntaxError, message);
                    return Err(match self.cx.source.symbol_before(e.place(), "(") {
                        Some(place) => error.at(place),
                        None => error,
                    });
                }
            }
        }
        let place = self.cx.source.symbol_before(right.place(), "overlaps");
        self.call_named("overlaps", args, left.place()).map_err(|error| in_catalog(error, place))
    }

    /// A call that the grammar has a syntax of its own for, which begins with the last of the words before its first operand.
    pub(crate) fn call_by_grammar(&mut self, name: &str, args: Vec<Expr>, first: Span, words: &[&str]) -> Result<Expr> {
        self.call_named(name, args, first).map_err(|error| {
            let place = self.cx.source.word_before(first, words).and_then(|span| self.position(span));
            in_catalog(error, place)
        })
    }

    fn operator_position(&self, symbol: &str, op: &BinaryOperator, right: Span) -> Option<usize> {
        let written = match op {
            BinaryOperator::PGCustomBinaryOperator(_) => "OPERATOR",
            BinaryOperator::NotEq => return self.cx.source.one_of_before(right, &["<>", "!="]),
            _ => symbol,
        };
        self.cx.source.symbol_before(right, written)
    }

    pub(super) fn unary(&mut self, op: UnaryOperator, inner: &ast::Expr) -> Result<Expr> {
        let span = inner.place();
        if op == UnaryOperator::Not {
            let expr = self.expr(inner)?;
            let expr = self.boolean(expr, "NOT", span)?;
            return Ok(not(expr));
        }
        if op == UnaryOperator::Minus
            && let Some(number) = negated_number(inner)
        {
            return self.number(&number, span);
        }
        let symbol = prefix_symbol(op).ok_or_else(|| Error::unsupported(format!("operator {op}")))?;
        let place = self.cx.source.symbol_before(span, symbol);
        let expr = self.expr(inner)?;
        self.operator(symbol, None, expr, place)
    }

    /// An operator that the tree knows only by its name, before its operand.
    pub(super) fn named_prefix(&mut self, prefix: &Ident, operand: &ast::Expr) -> Result<Expr> {
        let name = prefix.value.strip_prefix(OPERATOR_PREFIX).and_then(|rest| rest.strip_suffix(')'));
        let Some(name) = name else {
            return Err(Error::unsupported(format!("prefix {}", prefix.value)));
        };
        let symbol = name.strip_prefix("pg_catalog.").unwrap_or(name);
        let expr = self.expr(operand)?;
        self.operator(symbol, None, expr, self.cx.source.position(prefix.span))
    }

    /// Chooses and calls an operator.
    pub(crate) fn operator(
        &mut self,
        symbol: &str,
        left: Option<Expr>,
        right: Expr,
        place: Option<usize>,
    ) -> Result<Expr> {
        self.operator_at(symbol, left, right, place, &[])
    }

    /// As [`Binder::operator`], with the places of the operands for errors in literals.
    pub(crate) fn operator_at(
        &mut self,
        symbol: &str,
        left: Option<Expr>,
        right: Expr,
        place: Option<usize>,
        spans: &[Span],
    ) -> Result<Expr> {
        let actual: Vec<PgType> = left.iter().chain([&right]).map(|e| e.ty.ty).collect();
        let operator = self.find_operator(symbol, &actual, place)?;
        let formal: Vec<ArgType> = operator.left.into_iter().chain([operator.right]).collect();
        let args: Vec<Expr> = left.into_iter().chain([right]).collect();
        let (args, ret) =
            self.settle_args_at(&formal, operator.function.ret, args, spans).map_err(|e| match place {
                Some(p) => e.at(p),
                None => e,
            })?;
        Ok(Expr { kind: ExprKind::Call { function: operator.function, args }, ty: ret.into() })
    }

    /// The operator for operands of these types.
    pub(crate) fn find_operator(
        &self,
        symbol: &str,
        actual: &[PgType],
        place: Option<usize>,
    ) -> Result<&'static Operator> {
        let located = |e: Error| match place {
            Some(p) => e.at(p),
            None => e,
        };
        let operators: Vec<&'static Operator> = self
            .cx
            .registry
            .operators(symbol)
            .into_iter()
            .filter(|o| o.left.is_some() == (actual.len() == 2))
            .collect();
        // Types that share a representation may give one signature twice: the first counts.
        let mut candidates: Vec<Vec<ArgType>> = Vec::with_capacity(operators.len());
        let mut distinct: Vec<&'static Operator> = Vec::with_capacity(operators.len());
        for operator in operators {
            let formal: Vec<ArgType> = operator.left.into_iter().chain([operator.right]).collect();
            if !candidates.contains(&formal) {
                candidates.push(formal);
                distinct.push(operator);
            }
        }
        let operators = distinct;
        // With one operand unknown, first see whether both of the same type would do.
        if let [a, b] = actual {
            let same = match (*a, *b) {
                (PgType::Unknown, known) | (known, PgType::Unknown) if known != PgType::Unknown => Some(known),
                _ => None,
            };
            if let Some(ty) = same
                && let Some(i) = candidates.iter().position(|c| c.iter().all(|f| *f == ArgType::Is(ty)))
            {
                return Ok(operators[i]);
            }
        }
        // An array and an undecided operand: two arrays, where there is an operator for them (`array || '{1}'`).
        if let [a, b] = actual
            && (*a == PgType::Unknown) != (*b == PgType::Unknown)
            && (a.element().is_some() || b.element().is_some())
            && let Some(i) = candidates
                .iter()
                .position(|c| c.iter().all(|f| matches!(f, ArgType::AnyArray | ArgType::CompatibleArray)))
        {
            return Ok(operators[i]);
        }
        let shown = || match actual {
            [one] => format!("{symbol} {one}"),
            [a, b] => format!("{a} {symbol} {b}"),
            _ => symbol.to_owned(),
        };
        match choose(actual, &candidates) {
            Choice::One(i) => Ok(operators[i]),
            // Conditions of jsonb by a JSON path.
            Choice::None if matches!(symbol, "@?" | "@@") && actual.contains(&PgType::Jsonb) => {
                Err(located(Error::unsupported(format!("operator {}", shown()))))
            }
            Choice::None => Err(located(
                Error::new(ErrorKind::UndefinedFunction, format!("operator does not exist: {}", shown())).with_hint(
                    if actual.len() == 1 {
                        "No operator matches the given name and argument type. You might need to add an explicit type cast."
                    } else {
                        "No operator matches the given name and argument types. You might need to add explicit type casts."
                    },
                ),
            )),
            Choice::Ambiguous => Err(located(
                Error::new(ErrorKind::AmbiguousFunction, format!("operator is not unique: {}", shown())).with_hint(
                    "Could not choose a best candidate operator. You might need to add explicit type casts.",
                ),
            )),
        }
    }

    /// Calls a function, with arguments cast to what it takes.
    pub(crate) fn apply(
        &mut self,
        function: &'static Function,
        formal: &[ArgType],
        args: Vec<Expr>,
        spans: &[Span],
    ) -> Result<Expr> {
        let (args, ret) = self.settle_args_at(formal, function.ret, args, spans)?;
        Ok(Expr { kind: ExprKind::Call { function, args }, ty: ret.into() })
    }

    pub(crate) fn settle_args(
        &mut self,
        formal: &[ArgType],
        ret: crate::functions::ReturnType,
        args: Vec<Expr>,
        span: Span,
    ) -> Result<(Vec<Expr>, PgType)> {
        let spans = vec![span; args.len()];
        self.settle_args_at(formal, ret, args, &spans)
    }

    pub(crate) fn settle_args_at(
        &mut self,
        formal: &[ArgType],
        ret: crate::functions::ReturnType,
        args: Vec<Expr>,
        spans: &[Span],
    ) -> Result<(Vec<Expr>, PgType)> {
        let actual: Vec<PgType> = args.iter().map(|e| e.ty.ty).collect();
        let at = |i: usize| spans.get(i).copied().unwrap_or_else(Span::empty);
        let (targets, ret) = settle(&actual, formal, ret)?;
        let mut cast = Vec::with_capacity(args.len());
        for (i, (arg, target)) in args.into_iter().zip(targets).enumerate() {
            let span = at(i);
            cast.push(match target {
                Some(ty) => self.implicit(arg, ty, span)?,
                None => self.of_any_type(arg, span)?,
            });
        }
        Ok((cast, ret))
    }
}

/// The error of a call that means the catalog's function whatever the search path says: it is named with its schema.
pub(super) fn in_catalog(error: Error, place: Option<usize>) -> Error {
    if !matches!(error.kind(), ErrorKind::UndefinedFunction | ErrorKind::AmbiguousFunction) {
        return error;
    }
    let message = error.message().replacen("function ", "function pg_catalog.", 1);
    let renamed = Error::new(error.kind(), message).with_hint(error.hint().unwrap_or_default());
    match place {
        Some(place) => renamed.at(place),
        None => renamed,
    }
}
