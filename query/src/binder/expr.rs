//! Expressions: literals, names, operators, casts, CASE. Predicates with a syntax of their own are in `special`, calls in
//! `call`.

use sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CastKind, CeilFloorKind, DateTimeField, ExtractSyntax, Subscript, TrimWhereField,
    TypedString, UnaryOperator, Value,
};
use sqlparser::tokenizer::Span;
use stratos_types::{ColumnType, Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::MAX_DEPTH;
use super::resolve::{Choice, choose, settle};
use super::scope::{Place, name_parts, name_span};
use super::types::column_type;
use crate::functions::{ArgType, Function, Operator};
use crate::ir::{CaseBranch, Expr, ExprKind};
use stratos_types::CastContext;

impl Binder<'_> {
    /// Binds an expression. Literals and parameters that nothing decided yet have type `unknown`.
    #[recursive::recursive]
    pub(crate) fn expr(&mut self, e: &ast::Expr) -> Result<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.depth -= 1;
            return Err(Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded"));
        }
        let result = self.expr_inner(e);
        self.depth -= 1;
        result
    }

    fn expr_inner(&mut self, e: &ast::Expr) -> Result<Expr> {
        use ast::Expr as E;
        let span = e.place();
        match e {
            E::Identifier(ident) => self.column_named(ident),
            E::CompoundIdentifier(idents) => self.qualified_column(idents),
            E::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            E::Value(value) => self.value(&value.value, value.span),
            E::Nested(inner) => self.expr(inner),
            E::TypedString(TypedString { data_type, value, uses_odbc_syntax }) => {
                if *uses_odbc_syntax {
                    return Err(Error::unsupported("ODBC literal"));
                }
                let ty = column_type(data_type).map_err(|e| self.at(e, span))?;
                let literal = self.value(&value.value, value.span)?;
                self.cast(literal, ty, span)
            }
            E::Interval(interval) => self.interval(interval),
            E::Cast { kind, expr, data_type, array, format } => {
                if *array || format.is_some() {
                    return Err(Error::unsupported("CAST with FORMAT or ARRAY"));
                }
                let place = match kind {
                    CastKind::Cast => self.cx.source.symbol_before(span, "cast"),
                    CastKind::DoubleColon => self.cx.source.symbol_after(span, "::"),
                    CastKind::TryCast | CastKind::SafeCast => {
                        return Err(Error::unsupported("TRY_CAST"));
                    }
                };
                let ty = column_type(data_type).map_err(|e| match data_type {
                    ast::DataType::Custom(name, _) => self.at(e, name_span(name)),
                    _ => self.at(e, span),
                })?;
                if let (E::Array(items), Some(element)) = (&**expr, ty.ty.element())
                    && items.elem.is_empty()
                {
                    return Ok(Expr {
                        kind: ExprKind::Array(Vec::new()),
                        ty: ColumnType { ty: element.array().unwrap_or(ty.ty), typmod: ty.typmod },
                    });
                }
                let arg = if let (E::Array(items), Some(element)) = (&**expr, ty.ty.element()) {
                    self.array_of(items, element)?
                } else {
                    self.expr(expr)?
                };
                // A literal that does not read is reported where it stands, a missing cast where the cast does.
                let literal = arg.ty.ty == PgType::Unknown;
                let at = if literal { span } else { Span::empty() };
                self.cast(arg, ty, at).map_err(|e| match place {
                    Some(p) => e.at(p),
                    None => e,
                })
            }
            E::BinaryOp { left: _, op: BinaryOperator::And, right: _ } => self.logic(e, true),
            E::BinaryOp { left: _, op: BinaryOperator::Or, right: _ } => self.logic(e, false),
            E::BinaryOp { left, op, right } => self.binary(left, op, right),
            E::UnaryOp { op, expr } => self.unary(*op, expr),
            E::IsNull(inner) => self.null_test(inner, true),
            E::IsNotNull(inner) => self.null_test(inner, false),
            E::IsTrue(inner) => self.truth_test(inner, Some(true), false, "IS TRUE"),
            E::IsNotTrue(inner) => self.truth_test(inner, Some(true), true, "IS NOT TRUE"),
            E::IsFalse(inner) => self.truth_test(inner, Some(false), false, "IS FALSE"),
            E::IsNotFalse(inner) => self.truth_test(inner, Some(false), true, "IS NOT FALSE"),
            E::IsUnknown(inner) => self.truth_test(inner, None, false, "IS UNKNOWN"),
            E::IsNotUnknown(inner) => self.truth_test(inner, None, true, "IS NOT UNKNOWN"),
            E::IsDistinctFrom(left, right) => Ok(not(self.not_distinct(left, right)?)),
            E::IsNotDistinctFrom(left, right) => self.not_distinct(left, right),
            E::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            E::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated),
            E::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            E::Like { negated, any, expr, pattern, escape_char } => {
                if *any {
                    return Err(Error::unsupported("LIKE ANY without an operator"));
                }
                let symbol = if *negated { "!~~" } else { "~~" };
                self.like(symbol, "like_escape", expr, pattern, escape_char.as_ref(), "LIKE")
            }
            E::ILike { negated, any, expr, pattern, escape_char } => {
                if *any {
                    return Err(Error::unsupported("ILIKE ANY without an operator"));
                }
                let symbol = if *negated { "!~~*" } else { "~~*" };
                self.like(symbol, "like_escape", expr, pattern, escape_char.as_ref(), "ILIKE")
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar(*negated, expr, pattern, escape_char.as_ref())
            }
            E::AnyOp { left, compare_op, right, is_some: _ } => {
                self.quantified(left, compare_op, right, crate::ir::Quantifier::Any)
            }
            E::AllOp { left, compare_op, right } => {
                self.quantified(left, compare_op, right, crate::ir::Quantifier::All)
            }
            E::Exists { subquery, negated } => self.exists(subquery, *negated),
            E::Subquery(query) => self.scalar_subquery(query),
            E::Case { case_token: _, end_token: _, operand, conditions, else_result } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            E::Array(items) => self.array(items, span),
            E::Tuple(items) => self.row(items),
            E::Function(function) => self.function(function),
            E::AtTimeZone { timestamp, time_zone } => {
                let args = vec![self.expr(time_zone)?, self.expr(timestamp)?];
                self.call_named("timezone", args, span)
            }
            E::Extract { field, syntax: ExtractSyntax::From | ExtractSyntax::Comma, expr } => {
                let field = Expr::literal(Datum::text(field_name(field)), PgType::Text);
                let args = vec![field, self.expr(expr)?];
                self.call_named("extract", args, span)
            }
            E::Ceil { expr, field } => self.rounding("ceil", expr, field, span),
            E::Floor { expr, field } => self.rounding("floor", expr, field, span),
            E::Position { expr, r#in } => {
                // position(substring IN string) is position(string, substring), also known as strpos.
                let args = vec![self.expr(r#in)?, self.expr(expr)?];
                let name = if self.cx.registry.functions("position").is_empty() { "strpos" } else { "position" };
                self.call_named(name, args, span)
            }
            E::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                let mut args = vec![self.expr(expr)?];
                match (substring_from, substring_for) {
                    (Some(from), length) => {
                        args.push(self.expr(from)?);
                        if let Some(length) = length {
                            args.push(self.expr(length)?);
                        }
                    }
                    (None, Some(length)) => {
                        args.push(Expr::literal(Datum::Int4(1), PgType::Int4));
                        let length = self.expr(length)?;
                        args.push(self.implicit(length, PgType::Int4, span)?);
                    }
                    (None, None) => {}
                }
                self.call_named("substring", args, span)
            }
            E::Trim { expr, trim_where, trim_what, trim_characters } => {
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let mut args = vec![self.expr(expr)?];
                if let Some(what) = trim_what {
                    args.push(self.expr(what)?);
                }
                for what in trim_characters.iter().flatten() {
                    args.push(self.expr(what)?);
                }
                self.call_named(name, args, span)
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![self.expr(expr)?, self.expr(overlay_what)?, self.expr(overlay_from)?];
                if let Some(length) = overlay_for {
                    args.push(self.expr(length)?);
                }
                self.call_named("overlay", args, span)
            }
            E::Collate { expr, collation } => {
                let parts = name_parts(collation)?;
                let known = match parts.as_slice() {
                    [name] => Some(name),
                    [schema, name] if schema == "pg_catalog" => Some(name),
                    _ => None,
                };
                if !known.is_some_and(|n| matches!(n.as_str(), "C" | "POSIX" | "default" | "ucs_basic")) {
                    return Err(self.at(Error::unsupported(format!("collation \"{}\"", parts.join("."))), span));
                }
                let inner = self.expr(expr)?;
                let inner = self.known(inner)?;
                if !inner.ty.ty.is_string() && inner.ty.ty.element().is_none() {
                    return Err(self.at(
                        Error::new(
                            ErrorKind::DatatypeMismatch,
                            format!("collations are not supported by type {}", inner.ty.ty),
                        ),
                        span,
                    ));
                }
                Ok(inner)
            }
            other => Err(self.at(Error::unsupported(format!("expression {other}")), span)),
        }
    }

    pub(crate) fn value(&mut self, value: &Value, span: Span) -> Result<Expr> {
        let unknown = |text: &str| Expr::literal(Datum::text(text), PgType::Unknown);
        Ok(match value {
            Value::Number(text, _) => self.number(text, span)?,
            Value::SingleQuotedString(s)
            | Value::EscapedStringLiteral(s)
            | Value::UnicodeStringLiteral(s)
            | Value::NationalStringLiteral(s) => unknown(s),
            Value::DollarQuotedString(s) => unknown(&s.value),
            Value::Boolean(b) => Expr::literal(Datum::Bool(*b), PgType::Bool),
            Value::Null => Expr::literal(Datum::Null, PgType::Unknown),
            Value::Placeholder(name) => self.param(name, span)?,
            Value::SingleQuotedByteStringLiteral(_) | Value::HexStringLiteral(_) => {
                return Err(self.at(Error::unsupported("bit string literal"), span));
            }
            _ => return Err(self.at(Error::unsupported("this form of literal"), span)),
        })
    }

    /// An integer constant is int4, int8 or numeric, whichever is the first to hold it.
    fn number(&mut self, text: &str, span: Span) -> Result<Expr> {
        let digits: String = text.chars().filter(|c| *c != '_').collect();
        if let Ok(v) = digits.parse::<i32>() {
            return Ok(Expr::literal(Datum::Int4(v), PgType::Int4));
        }
        if let Ok(v) = digits.parse::<i64>() {
            return Ok(Expr::literal(Datum::Int8(v), PgType::Int8));
        }
        let literal = Expr::literal(Datum::text(digits), PgType::Unknown);
        self.implicit(literal, PgType::Numeric, span)
    }

    fn interval(&mut self, interval: &ast::Interval) -> Result<Expr> {
        let ast::Interval { value, leading_field, leading_precision, last_field, fractional_seconds_precision } =
            interval;
        let span = value.place();
        if leading_precision.is_some() {
            return Err(self.at(Error::unsupported("interval precision"), span));
        }
        let bit = |f: &DateTimeField| -> Option<i32> {
            Some(match f {
                DateTimeField::Year => 1 << 2,
                DateTimeField::Month => 1 << 1,
                DateTimeField::Day => 1 << 3,
                DateTimeField::Hour => 1 << 10,
                DateTimeField::Minute => 1 << 11,
                DateTimeField::Second => 1 << 12,
                _ => return None,
            })
        };
        // The coarsest to the finest field: `DAY TO MINUTE` includes the hours between.
        let order = [1 << 2, 1 << 1, 1 << 3, 1 << 10, 1 << 11, 1 << 12];
        let mut ty = ColumnType::from(PgType::Interval);
        if let Some(first) = leading_field {
            let bad = || Error::unsupported("this field of an interval");
            let first = bit(first).ok_or_else(bad)?;
            let last = match last_field {
                Some(f) => bit(f).ok_or_else(bad)?,
                None => first,
            };
            let from = order.iter().position(|b| *b == first).unwrap_or(0);
            let to = order.iter().position(|b| *b == last).unwrap_or(0);
            let range: i32 = order.get(from..=to).unwrap_or(&[]).iter().sum();
            let precision = fractional_seconds_precision.map_or(0xffff, |p| i32::try_from(p.min(6)).unwrap_or(6));
            ty.typmod = (range << 16) | precision;
        } else if fractional_seconds_precision.is_some() {
            return Err(self.at(Error::unsupported("interval precision"), span));
        }
        let literal = self.expr(value)?;
        self.cast(literal, ty, span)
    }

    /// A cast that the user wrote.
    pub(crate) fn cast(&mut self, arg: Expr, to: ColumnType, span: Span) -> Result<Expr> {
        let from = arg.ty.ty;
        if from == PgType::Record && to.ty == PgType::Record {
            return Ok(arg);
        }
        self.coerce(arg, to, CastContext::Explicit, true, span)?.ok_or_else(|| {
            self.at(Error::new(ErrorKind::CannotCoerce, format!("cannot cast type {from} to {}", to.ty)), span)
        })
    }

    /// A chain of ANDs or ORs, flattened.
    fn logic(&mut self, e: &ast::Expr, and: bool) -> Result<Expr> {
        let mut terms: Vec<&ast::Expr> = Vec::new();
        let mut rest = e;
        loop {
            match rest {
                ast::Expr::BinaryOp { left, op: BinaryOperator::And, right } if and => {
                    terms.push(right);
                    rest = left;
                }
                ast::Expr::BinaryOp { left, op: BinaryOperator::Or, right } if !and => {
                    terms.push(right);
                    rest = left;
                }
                _ => break,
            }
        }
        terms.push(rest);
        let what = if and { "AND" } else { "OR" };
        let mut bound = Vec::with_capacity(terms.len());
        for term in terms.into_iter().rev() {
            let expr = self.expr(term)?;
            bound.push(self.boolean(expr, what, term.place())?);
        }
        Ok(Expr { kind: if and { ExprKind::And(bound) } else { ExprKind::Or(bound) }, ty: PgType::Bool.into() })
    }

    fn binary(&mut self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Result<Expr> {
        let symbol = symbol(op)?;
        let place = self.operator_position(&symbol, op, right.place());
        if let Some(rows) = self.row_operands(left, right)? {
            return self.compare_rows(&symbol, rows, place);
        }
        // A left-deep chain of one operator is walked without recursion.
        let mut chain: Vec<(&ast::Expr, String, Option<usize>)> = vec![(right, symbol, place)];
        let mut first = left;
        while let ast::Expr::BinaryOp { left, op, right } = first {
            if matches!(op, BinaryOperator::And | BinaryOperator::Or) || is_row(left) || is_row(right) {
                break;
            }
            let s = symbol_of(op)?;
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

    fn operator_position(&self, symbol: &str, op: &BinaryOperator, right: Span) -> Option<usize> {
        let written = match op {
            BinaryOperator::PGCustomBinaryOperator(_) => "OPERATOR",
            BinaryOperator::NotEq => {
                let a = self.cx.source.symbol_before(right, "<>");
                let b = self.cx.source.symbol_before(right, "!=");
                return a.max(b);
            }
            _ => symbol,
        };
        self.cx.source.symbol_before(right, written)
    }

    fn unary(&mut self, op: UnaryOperator, inner: &ast::Expr) -> Result<Expr> {
        let span = inner.place();
        let symbol = match op {
            UnaryOperator::Not => {
                let expr = self.expr(inner)?;
                let expr = self.boolean(expr, "NOT", span)?;
                return Ok(not(expr));
            }
            UnaryOperator::Minus => {
                // The sign belongs to the constant: -2147483648 is an int4.
                if let ast::Expr::Value(v) = inner
                    && let Value::Number(text, _) = &v.value
                {
                    return self.number(&format!("-{text}"), span);
                }
                "-"
            }
            UnaryOperator::Plus => "+",
            UnaryOperator::BitwiseNot => "~",
            UnaryOperator::PGAbs => "@",
            UnaryOperator::PGSquareRoot => "|/",
            UnaryOperator::PGCubeRoot => "||/",
            other => return Err(Error::unsupported(format!("operator {other}"))),
        };
        let place = self.cx.source.symbol_before(span, symbol);
        let expr = self.expr(inner)?;
        self.operator(symbol, None, expr, place)
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
    fn operator_at(
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
        let shown = || match actual {
            [one] => format!("{symbol} {one}"),
            [a, b] => format!("{a} {symbol} {b}"),
            _ => symbol.to_owned(),
        };
        match choose(actual, &candidates) {
            Choice::One(i) => Ok(operators[i]),
            Choice::None => Err(located(
                Error::new(ErrorKind::UndefinedFunction, format!("operator does not exist: {}", shown())).with_hint(
                    "No operator matches the given name and argument types. You might need to add explicit type casts.",
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
        span: Span,
    ) -> Result<Expr> {
        let (args, ret) = self.settle_args(formal, function.ret, args, span)?;
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

    fn settle_args_at(
        &mut self,
        formal: &[ArgType],
        ret: crate::functions::ReturnType,
        args: Vec<Expr>,
        spans: &[Span],
    ) -> Result<(Vec<Expr>, PgType)> {
        let actual: Vec<PgType> = args.iter().map(|e| e.ty.ty).collect();
        let at = |i: usize| spans.get(i).copied().unwrap_or_else(Span::empty);
        let (targets, ret) = settle(&actual, formal, ret).map_err(|e| self.at(e, at(0)))?;
        let mut cast = Vec::with_capacity(args.len());
        for (i, (arg, target)) in args.into_iter().zip(targets).enumerate() {
            let span = at(i);
            cast.push(match target {
                Some(ty) => self.implicit(arg, ty, span)?,
                None => self.known(arg)?,
            });
        }
        Ok((cast, ret))
    }

    fn access(&mut self, root: &ast::Expr, chain: &[AccessExpr]) -> Result<Expr> {
        let span = root.place();
        // `t.a[1]` comes as root `t` and a chain of `.a` and `[1]`.
        let mut idents = match root {
            ast::Expr::Identifier(ident) => vec![ident.clone()],
            ast::Expr::CompoundIdentifier(idents) => idents.clone(),
            _ => Vec::new(),
        };
        let mut rest = chain;
        while let (false, Some(AccessExpr::Dot(ast::Expr::Identifier(ident)))) = (idents.is_empty(), rest.first()) {
            idents.push(ident.clone());
            rest = &rest[1..];
        }
        let mut value = match idents.as_slice() {
            [] => self.expr(root)?,
            [one] => self.column_named(one)?,
            many => self.qualified_column(many)?,
        };
        for access in rest {
            value = match access {
                AccessExpr::Dot(_) => {
                    return Err(self.at(Error::unsupported("field of a composite value"), span));
                }
                AccessExpr::Subscript(Subscript::Slice { lower_bound: _, upper_bound: _, stride: _ }) => {
                    return Err(self.at(Error::unsupported("array slice"), span));
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let Some(element) = value.ty.ty.element() else {
                        return Err(self.at(
                            Error::new(
                                ErrorKind::DatatypeMismatch,
                                format!(
                                    "cannot subscript type {} because it does not support subscripting",
                                    value.ty.ty
                                ),
                            ),
                            span,
                        ));
                    };
                    let at = index.place();
                    let index = self.expr(index)?;
                    let from = index.ty.ty;
                    let index = self
                        .coerce(index, PgType::Int4.into(), CastContext::Assignment, false, at)?
                        .filter(|_| from.category() != stratos_types::TypeCategory::String)
                        .ok_or_else(|| {
                            self.at(
                                Error::new(ErrorKind::DatatypeMismatch, "array subscript must have type integer"),
                                at,
                            )
                        })?;
                    let typmod = value.ty.typmod;
                    Expr {
                        kind: ExprKind::Subscript { array: Box::new(value), index: Box::new(index) },
                        ty: ColumnType { ty: element, typmod },
                    }
                }
            };
        }
        Ok(value)
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Expr> {
        self.conditionally("CASE", |b| {
            let mut whens = Vec::with_capacity(conditions.len());
            let mut results = Vec::with_capacity(conditions.len() + 1);
            let mut spans = Vec::with_capacity(conditions.len() + 1);
            for ast::CaseWhen { condition, result } in conditions {
                let span = condition.place();
                let when = match operand {
                    Some(operand) => {
                        let left = b.expr(operand)?;
                        let left = b.known(left)?;
                        let right = b.expr(condition)?;
                        let place = b.position(span);
                        b.operator("=", Some(left), right, place)?
                    }
                    None => b.expr(condition)?,
                };
                whens.push(b.boolean(when, "CASE/WHEN", span)?);
                results.push(b.expr(result)?);
                spans.push(result.place());
            }
            if let Some(otherwise) = otherwise {
                // Postgres looks at ELSE first when it chooses the type.
                results.insert(0, b.expr(otherwise)?);
                spans.insert(0, otherwise.place());
            }
            let (mut results, ty) = b.unify(results, &spans, "CASE")?;
            let otherwise = otherwise.is_some().then(|| Box::new(results.remove(0)));
            let branches = whens.into_iter().zip(results).map(|(when, then)| CaseBranch { when, then }).collect();
            Ok(Expr { kind: ExprKind::Case { branches, otherwise }, ty })
        })
    }

    /// Runs `f` where set-returning functions may not stand.
    pub(crate) fn conditionally<T>(&mut self, what: &'static str, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.levels.last().and_then(|l| l.conditional);
        if let Some(level) = self.levels.last_mut() {
            level.conditional = Some(what);
        }
        let result = f(self);
        if let Some(level) = self.levels.last_mut() {
            level.conditional = before;
        }
        result
    }

    fn array(&mut self, items: &ast::Array, span: Span) -> Result<Expr> {
        let ast::Array { elem, named } = items;
        if !named {
            return Err(self.at(Error::unsupported("array literal without ARRAY"), span));
        }
        if elem.is_empty() {
            return Err(Error::new(ErrorKind::IndeterminateDatatype, "cannot determine type of empty array")
                .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let (items, spans) = self.array_items(elem)?;
        let (items, ty) = self.unify(items, &spans, "ARRAY")?;
        let array = ty.ty.array().ok_or_else(|| {
            self.at(
                Error::new(ErrorKind::UndefinedObject, format!("could not find array type for data type {}", ty.ty)),
                span,
            )
        })?;
        Ok(Expr { kind: ExprKind::Array(items), ty: ColumnType { ty: array, typmod: ty.typmod } })
    }

    fn array_items(&mut self, elem: &[ast::Expr]) -> Result<(Vec<Expr>, Vec<Span>)> {
        let mut items = Vec::with_capacity(elem.len());
        let mut spans = Vec::with_capacity(elem.len());
        for item in elem {
            let bound = self.expr(item)?;
            if bound.ty.ty.element().is_some() {
                return Err(self.at(Error::unsupported("array of more than one dimension"), item.place()));
            }
            spans.push(item.place());
            items.push(bound);
        }
        Ok((items, spans))
    }

    /// `ARRAY[…]::element[]`: the elements are read as the element type.
    fn array_of(&mut self, items: &ast::Array, element: PgType) -> Result<Expr> {
        let (items, spans) = self.array_items(&items.elem)?;
        let mut cast = Vec::with_capacity(items.len());
        for (item, span) in items.into_iter().zip(spans) {
            cast.push(self.cast(item, element.into(), span)?);
        }
        let ty = element.array().ok_or_else(|| Error::unsupported(format!("array of {element}")))?;
        Ok(Expr { kind: ExprKind::Array(cast), ty: ty.into() })
    }

    pub(crate) fn row(&mut self, items: &[ast::Expr]) -> Result<Expr> {
        let mut fields = Vec::with_capacity(items.len());
        for item in items {
            let field = self.expr(item)?;
            fields.push(self.known(field)?);
        }
        Ok(Expr { kind: ExprKind::Row(fields), ty: PgType::Record.into() })
    }

    fn rounding(&mut self, name: &'static str, expr: &ast::Expr, field: &CeilFloorKind, span: Span) -> Result<Expr> {
        if !matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime)) {
            return Err(Error::unsupported(format!("{name} to a unit")));
        }
        let arg = self.expr(expr)?;
        self.call_named(name, vec![arg], span)
    }
}

/// Name of a field of EXTRACT, as the function takes it.
fn field_name(field: &DateTimeField) -> String {
    match field {
        DateTimeField::Custom(ident) => ident.value.to_lowercase(),
        other => other.to_string().to_lowercase(),
    }
}

pub(crate) fn not(expr: Expr) -> Expr {
    Expr { kind: ExprKind::Not(Box::new(expr)), ty: PgType::Bool.into() }
}

pub(crate) fn is_row(e: &ast::Expr) -> bool {
    match e {
        ast::Expr::Tuple(_) => true,
        ast::Expr::Nested(inner) => is_row(inner),
        ast::Expr::Function(f) => super::call::is_row_constructor(f),
        _ => false,
    }
}

fn symbol_of(op: &BinaryOperator) -> Result<String> {
    symbol(op)
}

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
