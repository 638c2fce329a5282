//! Calls: functions, and what looks like one but is syntax.

use sqlparser::ast::{
    self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, Spanned,
};
use sqlparser::tokenizer::Span;
use stratos_types::{ColumnType, Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::aggregate::CallShape;
use super::composite::bare_row;
use super::hypothetical::is_hypothetical;
use super::resolve::{Choice, choose};
use super::scope::{fold_ident, name_parts, name_span};
use super::table_function::{PG_EXPANDARRAY, returns_set};
use crate::functions::absent::postgres_has;
use crate::functions::{ArgType, CURRENT_SETTING_NOW, Function};
use crate::ir::{CaseBranch, Expr, ExprKind};
use stratos_types::cast_kind;

/// Functions that SQL calls without parentheses and the parser takes for columns.
pub(crate) fn is_keyword_function(name: &str) -> bool {
    ["current_schema", "current_role"].iter().any(|keyword| name.eq_ignore_ascii_case(keyword))
}

/// Names of arguments that callers give by name.
static NAMED_ARGS: &[(&str, &[&str])] = &[
    ("make_interval", &["years", "months", "weeks", "days", "hours", "mins", "secs"]),
    ("make_date", &["year", "month", "day"]),
    ("make_time", &["hour", "min", "sec"]),
    ("make_timestamp", &["year", "month", "mday", "hour", "min", "sec"]),
    ("make_timestamptz", &["year", "month", "mday", "hour", "min", "sec", "timezone"]),
    ("jsonb_set", &["jsonb_in", "path", "replacement", "create_if_missing"]),
    ("jsonb_insert", &["jsonb_in", "path", "replacement", "insert_after"]),
];

/// Whether it is `ROW(…)`.
pub(crate) fn is_row_constructor(function: &ast::Function) -> bool {
    matches!(name_parts(&function.name).as_deref(), Ok([name]) if name == "row")
        && matches!(function.args, FunctionArguments::List(_))
}

/// The fields of a `ROW(…)`.
pub(crate) fn row_items(function: &ast::Function) -> Result<Vec<&ast::Expr>> {
    let FunctionArguments::List(list) = &function.args else { return Ok(Vec::new()) };
    list.args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Ok(e),
            _ => Err(Error::unsupported("this field of a row")),
        })
        .collect()
}

/// The types of arguments.
pub(super) fn types(args: &[Expr]) -> Vec<PgType> {
    args.iter().map(|e| e.ty.ty).collect()
}

/// Whether an argument is a parameter that the client declared to be of type void: the place of a result among those of
/// a call (`{? = call abs(?)}` of JDBC), which is no argument.
fn is_for_result(arg: &Expr) -> bool {
    arg.ty.ty == PgType::Void && matches!(arg.kind, ExprKind::Param(_))
}

/// Arguments without the places of results.
pub(super) fn without_results(args: Vec<Expr>) -> Vec<Expr> {
    args.into_iter().filter(|arg| !is_for_result(arg)).collect()
}

/// Argument types of a signature for a call with `n` arguments; none if it does not take so many.
fn expand(args: &[ArgType], variadic: bool, optional: usize, n: usize) -> Option<Vec<ArgType>> {
    if n <= args.len() {
        return (n + optional >= args.len()).then(|| args[..n].to_vec());
    }
    let last = *args.last()?;
    if !variadic {
        return None;
    }
    let mut all = args.to_vec();
    all.resize(n, last);
    Some(all)
}

impl Binder<'_> {
    /// 42883; 0A000 for what PostgreSQL has with so many arguments and we have not.
    pub(crate) fn undefined_function(&self, name: &str, args: &[PgType], span: Span) -> Error {
        let shown: Vec<String> = args.iter().map(ToString::to_string).collect();
        let plain = name.strip_prefix("pg_catalog.").unwrap_or(name);
        if postgres_has(plain, args.len()) && !self.takes(plain, args.len()) {
            return self.at(Error::unsupported(format_args!("function {name}({})", shown.join(", "))), span);
        }
        self.at(
            Error::new(ErrorKind::UndefinedFunction, format!("function {name}({}) does not exist", shown.join(", ")))
                .with_hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                ),
            span,
        )
    }

    /// Whether we have a function of that name with so many arguments.
    fn takes(&self, name: &str, count: usize) -> bool {
        let registry = &self.cx.registry;
        registry.functions(name).iter().any(|f| expand(f.args, f.variadic, f.optional, count).is_some())
            || registry.aggregates(name).iter().any(|a| a.args.len() == count)
            || super::window::takes(name, count)
            || super::table_function::takes(name, count)
            // A cast that is written as a call.
            || count == 1 && PgType::from_name(name).is_some()
    }

    pub(crate) fn ambiguous_function(&self, name: &str, args: &[PgType], span: Span) -> Error {
        let shown: Vec<String> = args.iter().map(ToString::to_string).collect();
        self.at(
            Error::new(ErrorKind::AmbiguousFunction, format!("function {name}({}) is not unique", shown.join(", ")))
                .with_hint("Could not choose a best candidate function. You might need to add explicit type casts."),
            span,
        )
    }

    /// A call of a plain function.
    pub(crate) fn call_named(&mut self, name: &str, args: Vec<Expr>, span: Span) -> Result<Expr> {
        let places = vec![span; args.len()];
        self.call_at(name, args, span, &places)
    }

    /// As [`Binder::call_named`], with the places of the arguments for errors in literals.
    fn call_at(&mut self, name: &str, args: Vec<Expr>, span: Span, places: &[Span]) -> Result<Expr> {
        let name = if name == "current_setting" && self.sets_config { CURRENT_SETTING_NOW } else { name };
        self.sets_config |= name == "set_config";
        let actual = types(&args);
        let mut fitting: Vec<&'static Function> = Vec::new();
        let mut candidates: Vec<Vec<ArgType>> = Vec::new();
        for function in self.cx.registry.functions(name) {
            if let Some(formal) = expand(function.args, function.variadic, function.optional, args.len())
                && !candidates.contains(&formal)
            {
                fitting.push(function);
                candidates.push(formal);
            }
        }
        let exact = candidates.iter().any(|c| c.iter().zip(&actual).all(|(f, a)| *f == ArgType::Is(*a)));
        // `text(x)` and `date(x)` are casts, unless a function has exactly these arguments.
        if !exact
            && let [arg] = args.as_slice()
            && let Some(ty) = PgType::from_name(name).filter(|t| t.name() == name)
            && (arg.ty.ty == PgType::Unknown || cast_kind(arg.ty.ty, ty).is_some())
            && (fitting.is_empty() || arg.ty.ty == PgType::Unknown)
        {
            let arg = args.into_iter().next().ok_or_else(|| Error::internal("one argument"))?;
            return self.cast(arg, ty.into(), span);
        }
        match choose(&actual, &candidates) {
            Choice::One(i) => self.apply(fitting[i], &candidates[i], args, places),
            Choice::None => Err(self.undefined_function(name, &actual, span)),
            Choice::Ambiguous => Err(self.ambiguous_function(name, &actual, span)),
        }
    }

    /// An argument that is a plain expression.
    pub(crate) fn plain_arg(&mut self, arg: &FunctionArg) -> Result<Expr> {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => self.expr(e),
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => self.row_of(name),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard | FunctionArgExpr::WildcardWithOptions(_)) => {
                Err(Error::unsupported("* as an argument"))
            }
            FunctionArg::Named { name: _, arg: _, operator: _ }
            | FunctionArg::ExprNamed { name: _, arg: _, operator: _ } => Err(Error::unsupported("named argument")),
        }
    }

    /// Anything that has the form of a call.
    pub(crate) fn function(&mut self, function: &ast::Function) -> Result<Expr> {
        let ast::Function { name, uses_odbc_syntax, parameters, args, filter, null_treatment, over, within_group } =
            function;
        let span = name_span(name);
        if *uses_odbc_syntax || !matches!(parameters, FunctionArguments::None) {
            return Err(self.at(Error::unsupported("this form of a function call"), span));
        }
        if null_treatment.is_some() {
            return Err(self.at(Error::unsupported("IGNORE or RESPECT NULLS"), span));
        }
        let parts = name_parts(name)?;
        let (qualified, base) = match parts.as_slice() {
            [name] => (false, name.as_str()),
            [schema, name] if schema == "pg_catalog" => (true, name.as_str()),
            [schema, name] if schema == "information_schema" && name == PG_EXPANDARRAY => (true, PG_EXPANDARRAY),
            [schema, _] if !self.cx.has_schema(schema) => {
                return Err(self.at(
                    Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{schema}\" does not exist")),
                    span,
                ));
            }
            [_, _] => {
                let FunctionArguments::List(list) = args else {
                    return Err(self.undefined_function(&parts.join("."), &[], span));
                };
                let args: Vec<Expr> = list.args.iter().map(|a| self.plain_arg(a)).collect::<Result<_>>()?;
                return Err(self.undefined_function(&parts.join("."), &types(&args), span));
            }
            _ => return Err(self.at(Error::unsupported("this function name"), span)),
        };
        let list = match args {
            FunctionArguments::Subquery(query) => {
                if base == "array" && !qualified {
                    return self.array_subquery(query);
                }
                return Err(self.at(Error::unsupported("subquery without parentheses"), span));
            }
            FunctionArguments::None => {
                return self.keyword_function(base, None, span);
            }
            FunctionArguments::List(list) => list,
        };
        let FunctionArgumentList { duplicate_treatment, args, clauses } = list;
        let distinct = matches!(duplicate_treatment, Some(DuplicateTreatment::Distinct));
        let aggregates = self.cx.registry.aggregates(base);
        let window_only = super::window::is_window_function(base);
        let star = matches!(args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
        if let [FunctionArg::Unnamed(FunctionArgExpr::Wildcard), _, ..] = args.as_slice() {
            let error = Error::new(ErrorKind::SyntaxError, "syntax error at or near \",\"");
            return Err(match self.cx.source.symbol_after(span, ",") {
                Some(position) => error.at(position),
                None => error,
            });
        }
        if !aggregates.is_empty() || window_only {
            let mut order_by: &[ast::OrderByExpr] = &[];
            for clause in clauses {
                match clause {
                    FunctionArgumentClause::OrderBy(keys) => order_by = keys,
                    _ => {
                        return Err(self.at(Error::unsupported("this clause in a function call"), span));
                    }
                }
            }
            let within = || self.cx.source.word_after(span, "within").map(|(position, _)| position);
            let twice = match (within_group.is_empty(), distinct, order_by.is_empty()) {
                (false, true, _) => Some("cannot use DISTINCT with WITHIN GROUP"),
                (false, _, false) => Some("cannot use multiple ORDER BY clauses with WITHIN GROUP"),
                _ => None,
            };
            if let Some(message) = twice {
                let error = Error::new(ErrorKind::SyntaxError, message);
                return Err(match within() {
                    Some(position) => error.at(position),
                    None => error,
                });
            }
            let shape =
                CallShape { name: base, span, args, star, distinct, order_by, within_group, filter: filter.as_deref() };
            return match over {
                Some(over) => self.window_call(&shape, &aggregates, over),
                None if is_hypothetical(base) && !within_group.is_empty() => self.hypothetical(&shape),
                None if is_hypothetical(base) && !args.is_empty() => Err(self.without_group(&shape)),
                None if window_only => Err(self.at(
                    Error::new(ErrorKind::WrongObjectType, format!("window function {base} requires an OVER clause")),
                    span,
                )),
                None => self.aggregate_in_query(&shape, &aggregates),
            };
        }
        let refuse = |b: &Self, what: &str| {
            Err(b.at(
                Error::new(
                    ErrorKind::WrongObjectType,
                    format!("{what} specified, but {base} is not an aggregate function"),
                ),
                span,
            ))
        };
        if distinct {
            return refuse(self, "DISTINCT");
        }
        if !within_group.is_empty() {
            return refuse(self, "WITHIN GROUP");
        }
        if filter.is_some() {
            return refuse(self, "FILTER");
        }
        if star {
            return Err(self.at(
                Error::new(
                    ErrorKind::WrongObjectType,
                    format!("{base}(*) specified, but {base} is not an aggregate function"),
                ),
                span,
            ));
        }
        if over.is_some() {
            return Err(self.at(
                Error::new(
                    ErrorKind::WrongObjectType,
                    format!("OVER specified, but {base} is not a window function nor an aggregate function"),
                ),
                span,
            ));
        }
        if !clauses.is_empty() {
            return refuse(self, "ORDER BY");
        }
        if !qualified && let Some(expr) = self.syntax_function(base, args, span)? {
            return Ok(expr);
        }
        let mut places: Vec<Span> = args.iter().map(Spanned::span).collect();
        let args = if args.iter().any(|a| !matches!(a, FunctionArg::Unnamed(_))) {
            let args = self.named_args(base, args, span)?;
            places = vec![span; args.len()];
            args
        } else {
            let args: Vec<Expr> = args.iter().map(|a| self.plain_arg(a)).collect::<Result<_>>()?;
            let mut meant = args.iter().map(|arg| !is_for_result(arg));
            places.retain(|_| meant.next().unwrap_or(true));
            without_results(args)
        };
        if returns_set(base) && (base != PG_EXPANDARRAY || parts.len() > 1) {
            return self.set_in_select(base, args, span);
        }
        if base == "pg_typeof"
            && let [arg] = args.as_slice()
            && arg.ty.ty == PgType::Unknown
            && matches!(arg.kind, ExprKind::Literal(_))
        {
            return Ok(Expr::literal(Datum::Oid(PgType::Unknown.oid()), PgType::Regtype));
        }
        self.call_at(base, args, span, &places)
    }

    /// Arguments in the function's order where some are given by name (`make_interval(days => 3)`).
    fn named_args(&mut self, function: &str, args: &[FunctionArg], span: Span) -> Result<Vec<Expr>> {
        let found = NAMED_ARGS.iter().find(|(name, _)| *name == function);
        let Some((_, names)) = found else {
            return Err(self.at(Error::unsupported(format!("named argument of {function}")), span));
        };
        let mut bound: Vec<Option<Expr>> = vec![None; names.len()];
        for (at, arg) in args.iter().enumerate() {
            let (slot, value) = match arg {
                FunctionArg::Unnamed(_) => (Some(at), self.plain_arg(arg)?),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), operator: _ }
                | FunctionArg::ExprNamed {
                    name: ast::Expr::Identifier(name),
                    arg: FunctionArgExpr::Expr(e),
                    operator: _,
                } => {
                    let name = fold_ident(name);
                    (names.iter().position(|known| *known == name), self.expr(e)?)
                }
                _ => return Err(self.at(Error::unsupported("this form of a named argument"), span)),
            };
            let Some(free) = slot.and_then(|slot| bound.get_mut(slot)).filter(|slot| slot.is_none()) else {
                let types: Vec<PgType> = bound.iter().flatten().map(|e| e.ty.ty).chain([value.ty.ty]).collect();
                return Err(self.undefined_function(function, &types, span));
            };
            *free = Some(value);
        }
        // Only make_interval has defaults between its arguments, and all of them are zero.
        let given = bound.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        bound
            .into_iter()
            .take(given)
            .map(|arg| match arg {
                Some(arg) => Ok(arg),
                None if function == "make_interval" => Ok(Expr::literal(Datum::Int4(0), PgType::Int4)),
                None => Err(self.undefined_function(function, &[], span)),
            })
            .collect()
    }

    /// `COALESCE`, `NULLIF` and others that are syntax in Postgres.
    fn syntax_function(&mut self, name: &str, args: &[FunctionArg], span: Span) -> Result<Option<Expr>> {
        match name {
            "coalesce" | "greatest" | "least" => {
                let what = match name {
                    "coalesce" => "COALESCE",
                    "greatest" => "GREATEST",
                    _ => "LEAST",
                };
                let spans: Vec<Span> = args.iter().map(Spanned::span).collect();
                let bound =
                    self.conditionally(what, |b| args.iter().map(|a| b.plain_arg(a)).collect::<Result<Vec<_>>>())?;
                if bound.is_empty() {
                    let error = Error::new(ErrorKind::SyntaxError, "syntax error at or near \")\"");
                    return Err(match self.cx.source.symbol_after(span, ")") {
                        Some(position) => error.at(position),
                        None => error,
                    });
                }
                let (args, ty) = self.unify(bound, &spans, what)?;
                if what == "COALESCE" {
                    return Ok(Some(Expr { kind: ExprKind::Coalesce(args), ty }));
                }
                let less = self.find_operator("<", &[ty.ty, ty.ty], None).map_err(|_| {
                    self.at(
                        Error::new(
                            ErrorKind::UndefinedFunction,
                            format!("could not identify a comparison function for type {}", ty.ty),
                        ),
                        span,
                    )
                })?;
                // `<` may be that of another type (varchar compares as text).
                let target = match less.right {
                    ArgType::Is(t) => t,
                    _ => ty.ty,
                };
                let mut cast = Vec::with_capacity(args.len());
                for arg in args {
                    cast.push(self.implicit(arg, target, span)?);
                }
                let result = Expr {
                    kind: ExprKind::Extremum { greatest: what == "GREATEST", less: less.function, args: cast },
                    ty: target.into(),
                };
                let result = self.implicit(result, ty.ty, span)?;
                // It is one of its arguments, and has their modifier.
                Ok(Some(Expr { ty, ..result }))
            }
            "nullif" => {
                let [first, second] = args else {
                    return Err(self.at(Error::new(ErrorKind::SyntaxError, "NULLIF takes two arguments"), span));
                };
                let left = self.plain_arg(first)?;
                let right = self.plain_arg(second)?;
                let place = self.position(span);
                let places = [first.span(), second.span()];
                let (equals, left, right) = self.binary_operands_at("=", left, right, place, &places)?;
                let ty = left.ty;
                let when = Expr {
                    kind: ExprKind::Call { function: equals, args: vec![left.clone(), right] },
                    ty: PgType::Bool.into(),
                };
                Ok(Some(Expr {
                    kind: ExprKind::Case {
                        branches: vec![CaseBranch { when, then: Self::null(ty) }],
                        otherwise: Some(Box::new(left)),
                    },
                    ty,
                }))
            }
            "row" => {
                let mut fields = Vec::with_capacity(args.len());
                for arg in args {
                    let mut field = self.plain_arg(arg)?;
                    // `ROW(t.*)` has the fields of the row.
                    if let FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)) = arg {
                        field = bare_row(field);
                    }
                    if let (FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)), ExprKind::Row(..)) =
                        (arg, &field.kind)
                    {
                        fields.extend(self.fields(field, span)?.into_iter().map(|(_, field)| field));
                        continue;
                    }
                    fields.push(self.of_any_type(field, span)?);
                }
                Ok(Some(Expr { kind: ExprKind::Row(fields, None), ty: PgType::Record.into() }))
            }
            "normalize" => self.normalize_call(args),
            "grouping" => self.grouping_call(args, span).map(Some),
            "current_timestamp" | "current_time" | "localtime" | "localtimestamp" => {
                let precision = match args {
                    [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Value(v)))] => match &v.value {
                        ast::Value::Number(n, _) => n.parse::<i32>().ok(),
                        _ => None,
                    },
                    _ => None,
                };
                self.keyword_function(name, precision, span).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// `CURRENT_DATE` and others that are called without parentheses.
    pub(crate) fn keyword_function(&mut self, name: &str, precision: Option<i32>, span: Span) -> Result<Expr> {
        let precision = precision.map(|p| p.clamp(0, 6)).unwrap_or(-1);
        let mut clock = |ty: PgType| -> Result<Expr> {
            let now = self.call_named("now", Vec::new(), span)?;
            let ty = ColumnType { ty, typmod: precision };
            if now.ty == ty {
                return Ok(now);
            }
            self.cast(now, ty, span)
        };
        match name {
            "current_timestamp" => clock(PgType::TimestampTz),
            "current_date" => {
                let now = self.call_named("now", Vec::new(), span)?;
                self.cast(now, PgType::Date.into(), span)
            }
            "current_time" => clock(PgType::TimeTz),
            "localtimestamp" => clock(PgType::Timestamp),
            "localtime" => clock(PgType::Time),
            "current_user" | "user" | "current_role" => self.call_named("current_user", Vec::new(), span),
            "session_user" => self.call_named("session_user", Vec::new(), span),
            "current_catalog" => self.call_named("current_database", Vec::new(), span),
            "current_schema" => self.call_named("current_schema", Vec::new(), span),
            other => {
                Err(self.at(Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{other}\"")), span))
            }
        }
    }

    /// `nextval` of a sequence by OID, for identity columns.
    pub(crate) fn nextval(&mut self, sequence: u32) -> Result<Expr> {
        let arg = Expr::literal(Datum::Oid(sequence), PgType::Regclass);
        self.call_named("nextval", vec![arg], Span::empty())
    }
}

/// The name of a window, folded.
pub(crate) fn window_name(ident: &ast::Ident) -> String {
    fold_ident(ident)
}
