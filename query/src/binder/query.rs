//! A query: WITH, the body, ORDER BY, LIMIT, row locks.

use sqlparser::ast::{self, LimitClause, LockType, NonBlock, ObjectNamePart, OrderByKind, SetExpr, Spanned};
use sqlparser::tokenizer::Span;
use stratos_replication::LockMode;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::lock_clauses::LOCK_MARKER;
use super::rewrite::TIES_MARKER;
use super::scope::{Place, Scope, ScopeColumn, ScopeTable, fold_ident};
use super::{Binder, Clause, Level};
use crate::ir::{ColumnId, Expr, ExprKind, OutputColumn, Rel, RowLock, SortKey};
use stratos_types::CastContext;

/// What stands behind the body of a query.
pub(crate) struct Tail<'q> {
    pub order_by: Vec<&'q ast::OrderByExpr>,
    pub limit: Option<&'q ast::Expr>,
    pub offset: Option<&'q ast::Expr>,
    /// `WITH TIES`: what is equal to the last row comes with it.
    pub ties: bool,
    pub locks: &'q [ast::LockClause],
}

impl Tail<'_> {
    fn is_empty(&self) -> bool {
        self.order_by.is_empty() && self.limit.is_none() && self.offset.is_none() && self.locks.is_empty()
    }
}

/// The expression of an ordering key.
pub(crate) fn order_key(key: &ast::OrderByExpr) -> Result<&ast::Expr> {
    let ast::OrderByExpr { expr, options: _, with_fill } = key;
    if with_fill.is_some() {
        return Err(Error::unsupported("WITH FILL"));
    }
    Ok(expr)
}

/// Whether it descends, and whether NULLs come first.
pub(crate) fn order_options(key: &ast::OrderByExpr) -> Result<(bool, bool)> {
    let ast::OrderByOptions { asc, nulls_first } = key.options;
    let descending = asc == Some(false);
    Ok((descending, nulls_first.unwrap_or(descending)))
}

fn order_list(order_by: Option<&ast::OrderBy>) -> Result<Vec<&ast::OrderByExpr>> {
    let Some(ast::OrderBy { kind, interpolate }) = order_by else {
        return Ok(Vec::new());
    };
    if interpolate.is_some() {
        return Err(Error::unsupported("INTERPOLATE"));
    }
    match kind {
        OrderByKind::Expressions(list) => Ok(list.iter().collect()),
        OrderByKind::All(_) => Err(Error::unsupported("ORDER BY ALL")),
    }
}

/// The count of `FETCH FIRST (…) ROWS WITH TIES`, which the parser was given as one of LIMIT.
fn count_with_ties(limit: &ast::Expr) -> Option<&ast::Expr> {
    let ast::Expr::Function(function) = limit else { return None };
    let [part] = function.name.0.as_slice() else { return None };
    if part.as_ident()?.value != TIES_MARKER {
        return None;
    }
    match &function.args {
        ast::FunctionArguments::List(list) => match list.args.as_slice() {
            [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(count))] => Some(count),
            _ => None,
        },
        _ => None,
    }
}

impl Binder<'_> {
    /// The query of a whole statement.
    pub(crate) fn top_query(&mut self, query: &ast::Query) -> Result<Rel> {
        self.query(query, true)
    }

    /// Binds a query. With `known`, output columns of type `unknown` become text; else the caller decides them.
    #[recursive::recursive]
    pub(crate) fn query(&mut self, query: &ast::Query, known: bool) -> Result<Rel> {
        self.depth += 1;
        if self.depth > super::MAX_DEPTH {
            return Err(Error::new(ErrorKind::StatementTooComplex, "stack depth limit exceeded"));
        }
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if for_clause.is_some() || settings.is_some() || format_clause.is_some() || !pipe_operators.is_empty() {
            return Err(Error::unsupported("this clause of a query"));
        }
        let (mut limit, mut offset, mut ties) = (None, None, false);
        match limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit: l, offset: o, limit_by }) => {
                if !limit_by.is_empty() {
                    return Err(Error::unsupported("LIMIT BY"));
                }
                limit = l.as_ref();
                offset = o.as_ref().map(|o| &o.value);
            }
            Some(LimitClause::OffsetCommaLimit { offset: o, .. }) => {
                return Err(self.at(
                    Error::new(ErrorKind::SyntaxError, "LIMIT #,# syntax is not supported")
                        .with_hint("Use separate LIMIT and OFFSET clauses."),
                    o.span(),
                ));
            }
        }
        let one = ast::Expr::value(ast::Value::Number("1".into(), false));
        if let Some(ast::Fetch { with_ties, percent, quantity }) = fetch {
            ties = *with_ties;
            if *percent {
                return Err(Error::unsupported("FETCH … PERCENT"));
            }
            if limit.is_some() {
                return Err(Error::new(ErrorKind::SyntaxError, "multiple LIMIT clauses not allowed"));
            }
            limit = Some(quantity.as_ref().unwrap_or(&one));
        }
        if let Some(count) = limit.and_then(count_with_ties) {
            (limit, ties) = (Some(count), true);
        }
        let visible = self.ctes.len();
        let ctes = match with {
            Some(with) => self.with_clause(with)?,
            None => Vec::new(),
        };
        let tail = Tail { order_by: order_list(order_by.as_ref())?, limit, offset, ties, locks };
        if ties && tail.order_by.is_empty() {
            return Err(Error::new(ErrorKind::SyntaxError, "WITH TIES cannot be specified without ORDER BY clause"));
        }
        if ties && locks.iter().any(|lock| matches!(lock.nonblock, Some(NonBlock::SkipLocked))) {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                "SKIP LOCKED and WITH TIES options cannot be used together",
            ));
        }
        let rel = self.body(body, &tail, known)?;
        self.ctes.truncate(visible);
        self.depth -= 1;
        if ctes.is_empty() {
            return Ok(rel);
        }
        Ok(Rel::With { ctes, body: Box::new(rel) })
    }

    pub(crate) fn body(&mut self, body: &SetExpr, tail: &Tail<'_>, known: bool) -> Result<Rel> {
        let mut set_operation = false;
        let rel = match body {
            SetExpr::Select(select) => return self.select(select, tail, known),
            SetExpr::Query(inner) => {
                let bare = inner.with.is_none()
                    && inner.order_by.is_none()
                    && inner.limit_clause.is_none()
                    && inner.fetch.is_none()
                    && inner.locks.is_empty();
                if bare && !tail.is_empty() {
                    return self.body(&inner.body, tail, known);
                }
                let rel = self.query(inner, known)?;
                if tail.is_empty() {
                    return Ok(rel);
                }
                rel
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                set_operation = true;
                self.set_operation(left, *op, *set_quantifier, right, known)?
            }
            SetExpr::Values(values) => self.values(values, known)?,
            SetExpr::Table(_) => return Err(Error::unsupported("this form of TABLE")),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                return Err(Error::unsupported("data-modifying statement in WITH"));
            }
        };
        if !tail.locks.is_empty() {
            return Err(Error::new(
                ErrorKind::FeatureNotSupported,
                "FOR UPDATE is not allowed with UNION/INTERSECT/EXCEPT",
            ));
        }
        self.output_tail(rel, tail, set_operation)
    }

    /// ORDER BY and LIMIT over the finished columns of a set operation or VALUES.
    fn output_tail(&mut self, rel: Rel, tail: &Tail<'_>, set_operation: bool) -> Result<Rel> {
        let columns = rel.output();
        let scope = Scope::of(ScopeTable {
            name: String::new(),
            schema: None,
            columns: columns
                .iter()
                .map(|c| ScopeColumn { name: c.name.clone(), expr: Expr::column(c.id, c.ty), origin: None })
                .collect(),
            table: None,
            system: None,
            scalar: false,
            missing: false,
            out_of_reach: false,
        });
        self.levels.push(Level { scope, clause: Some(Clause::OrderBy), ..Level::default() });
        let mut keys = Vec::with_capacity(tail.order_by.len());
        for key in &tail.order_by {
            let e = order_key(key)?;
            let (descending, nulls_first) = order_options(key)?;
            let expr = match self.output_position(e, &columns, "ORDER BY")? {
                Some(i) => Expr::column(columns[i].id, columns[i].ty),
                None if !set_operation => self.expr(e)?,
                None => match e {
                    ast::Expr::Identifier(ident) if columns.iter().any(|c| c.name == fold_ident(ident)) => {
                        self.expr(e)?
                    }
                    ast::Expr::Identifier(_) => self.expr(e)?,
                    _ => {
                        return Err(self.at(
                            Error::new(
                                ErrorKind::FeatureNotSupported,
                                "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                            )
                            .with_detail("Only result column names can be used, not expressions or functions.")
                            .with_hint(
                                "Add the expression/function to every SELECT, or move the UNION into a FROM clause.",
                            ),
                            e.place(),
                        ));
                    }
                },
            };
            let expr = self.known(expr)?;
            self.check_sortable(&expr, e.place())?;
            keys.push(SortKey { expr, descending, nulls_first });
        }
        self.levels.pop();
        let rel = if keys.is_empty() { rel } else { Rel::Sort { input: Box::new(rel), keys } };
        self.limited(rel, tail)
    }

    /// The output column that an integer constant means; other constants are errors.
    pub(crate) fn output_position(
        &self,
        e: &ast::Expr,
        columns: &[OutputColumn],
        clause: &str,
    ) -> Result<Option<usize>> {
        let ast::Expr::Value(value) = e else {
            return Ok(None);
        };
        match &value.value {
            ast::Value::Number(text, _) => match text.parse::<i64>() {
                Ok(n) if n >= 1 && usize::try_from(n).is_ok_and(|n| n <= columns.len()) => {
                    Ok(usize::try_from(n).ok().map(|n| n - 1))
                }
                Ok(n) => Err(self.at(
                    Error::new(
                        ErrorKind::InvalidColumnReference,
                        format!("{clause} position {n} is not in select list"),
                    ),
                    value.span,
                )),
                Err(_) => Err(self
                    .at(Error::new(ErrorKind::SyntaxError, format!("non-integer constant in {clause}")), value.span)),
            },
            ast::Value::Placeholder(_) => Ok(None),
            _ => {
                Err(self
                    .at(Error::new(ErrorKind::SyntaxError, format!("non-integer constant in {clause}")), value.span))
            }
        }
    }

    pub(crate) fn check_sortable(&self, expr: &Expr, span: Span) -> Result<()> {
        if matches!(expr.ty.ty, PgType::Json) {
            return Err(self.at(
                Error::new(
                    ErrorKind::UndefinedFunction,
                    format!("could not identify an ordering operator for type {}", expr.ty.ty),
                )
                .with_hint("Use an explicit ordering operator or modify the query."),
                span,
            ));
        }
        Ok(())
    }

    /// LIMIT and OFFSET.
    pub(crate) fn limited(&mut self, rel: Rel, tail: &Tail<'_>) -> Result<Rel> {
        let limit = self.limit_expr(tail.limit, Clause::Limit)?;
        let offset = self.limit_expr(tail.offset, Clause::Offset)?;
        if limit.is_none() && offset.is_none() {
            return Ok(rel);
        }
        if tail.ties
            && let Some(limit) = limit
        {
            return self.limited_with_ties(rel, limit, offset);
        }
        if [&limit, &offset].into_iter().flatten().any(|count| !count.columns().is_empty()) {
            return self.limited_from_around(rel, limit, offset);
        }
        Ok(Rel::Limit { input: Box::new(rel), limit, offset })
    }

    fn limit_expr(&mut self, e: Option<&ast::Expr>, clause: Clause) -> Result<Option<Expr>> {
        let Some(e) = e else { return Ok(None) };
        let span = e.place();
        self.levels.push(Level { clause: Some(clause), ..Level::default() });
        let bound = self.expr(e);
        self.levels.pop();
        let bound = bound?;
        let columns = bound.columns();
        let own = |id: &crate::ir::ColumnId| {
            let tables = self.levels.last().into_iter().flat_map(|level| &level.scope.tables);
            tables.flat_map(|table| &table.columns).any(|c| c.expr.columns().contains(id))
        };
        if columns.iter().any(own) {
            return Err(self.at(
                Error::new(
                    ErrorKind::InvalidColumnReference,
                    format!("argument of {} must not contain variables", clause.place()),
                ),
                span,
            ));
        }
        let from = bound.ty.ty;
        if matches!(bound.kind, ExprKind::Literal(Datum::Null)) {
            return Ok(Some(Self::null(PgType::Int8)));
        }
        self.coerce(bound, PgType::Int8.into(), CastContext::Assignment, false, span)?
            .filter(|_| from.category() != stratos_types::TypeCategory::String)
            .map(Some)
            .ok_or_else(|| {
                self.at(
                    Error::new(
                        ErrorKind::DatatypeMismatch,
                        format!("argument of {} must be type bigint, not type {from}", clause.place()),
                    ),
                    span,
                )
            })
    }

    /// `VALUES (…), (…)`.
    pub(crate) fn values(&mut self, values: &ast::Values, known: bool) -> Result<Rel> {
        let _ = known;
        let ast::Values { explicit_row, value_keyword, rows } = values;
        if *explicit_row || *value_keyword {
            return Err(Error::unsupported("ROW or VALUE in VALUES"));
        }
        self.levels.push(Level { clause: Some(Clause::Values), ..Level::default() });
        let width = rows.first().map_or(0, |r| r.content.len());
        let mut columns_of: Vec<Vec<Expr>> = (0..width).map(|_| Vec::new()).collect();
        let mut spans: Vec<Vec<Span>> = vec![Vec::new(); width];
        for row in rows {
            if row.content.len() != width {
                let span = row.content.first().map_or(Span::empty(), Spanned::span);
                return Err(
                    self.at(Error::new(ErrorKind::SyntaxError, "VALUES lists must all be the same length"), span)
                );
            }
            for (i, e) in row.content.iter().enumerate() {
                if is_default(e) {
                    return Err(self
                        .at(Error::new(ErrorKind::SyntaxError, "DEFAULT is not allowed in this context"), e.place()));
                }
                columns_of[i].push(self.expr(e)?);
                spans[i].push(e.place());
            }
        }
        let mut outputs = Vec::with_capacity(width);
        let mut bound_rows: Vec<Vec<Expr>> = rows.iter().map(|_| Vec::with_capacity(width)).collect();
        for (i, (column, spans)) in columns_of.into_iter().zip(spans).enumerate() {
            let (column, ty) = self.unify(column, &spans, "VALUES")?;
            for (row, e) in bound_rows.iter_mut().zip(column) {
                row.push(e);
            }
            outputs.push(self.output(format!("column{}", i + 1), ty));
        }
        self.levels.pop();
        Ok(Rel::Values { columns: outputs, rows: bound_rows })
    }

    /// Puts the locks of FOR UPDATE and its kin on the scans of FROM.
    pub(crate) fn lock(&self, rel: &mut Rel, locks: &[ast::LockClause]) -> Result<()> {
        for clause in locks {
            let ast::LockClause { lock_type, of, nonblock } = clause;
            let mut mode = match lock_type {
                LockType::Update => LockMode::Update,
                LockType::Share => LockMode::Share,
            };
            let mut wording = match lock_type {
                LockType::Update => "FOR UPDATE",
                LockType::Share => "FOR SHARE",
            };
            let mut names: Vec<(String, Span)> = Vec::new();
            if let Some(of) = of {
                let idents: Vec<&ast::Ident> =
                    of.0.iter()
                        .filter_map(|p| match p {
                            ObjectNamePart::Identifier(ident) => Some(ident),
                            ObjectNamePart::Function(_) => None,
                        })
                        .collect();
                match idents.as_slice() {
                    [marker, strength, rest @ ..] if marker.value == LOCK_MARKER => {
                        (mode, wording) = match strength.value.as_str() {
                            "no key update" => (LockMode::NoKeyUpdate, "FOR NO KEY UPDATE"),
                            "key share" => (LockMode::KeyShare, "FOR KEY SHARE"),
                            "share" => (LockMode::Share, "FOR SHARE"),
                            _ => (LockMode::Update, "FOR UPDATE"),
                        };
                        names.extend(rest.iter().map(|i| (fold_ident(i), i.span)));
                    }
                    [one] => names.push((fold_ident(one), one.span)),
                    _ => {
                        return Err(Error::new(
                            ErrorKind::SyntaxError,
                            format!("{wording} must specify unqualified relation names"),
                        ));
                    }
                }
            }
            let lock = RowLock {
                mode,
                nowait: matches!(nonblock, Some(NonBlock::Nowait)),
                skip_locked: matches!(nonblock, Some(NonBlock::SkipLocked)),
            };
            if names.is_empty() {
                put_lock(rel, Locked::All, lock, wording, false)?;
            }
            for (name, span) in names {
                let column = self.levels.last().and_then(|level| {
                    let table = level.scope.tables.iter().find(|table| table.name == name)?;
                    table.columns.iter().flat_map(|column| column.expr.columns()).next()
                });
                if !put_lock(rel, Locked::Of(&name, column), lock, wording, false)? {
                    return Err(self.at(
                        Error::new(
                            ErrorKind::UndefinedTable,
                            format!("relation \"{name}\" in {wording} clause not found in FROM clause"),
                        ),
                        span,
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The rows that a locking clause means.
#[derive(Clone, Copy)]
enum Locked<'n> {
    /// All.
    All,
    /// Those of the table of this name, or of the query in FROM that brings this column.
    Of(&'n str, Option<ColumnId>),
}

fn put_lock(rel: &mut Rel, of: Locked<'_>, wanted: RowLock, wording: &str, nullable: bool) -> Result<bool> {
    use crate::ir::JoinKind;
    let refused =
        |what: &str| Err(Error::new(ErrorKind::FeatureNotSupported, format!("{wording} is not allowed with {what}")));
    match (rel, of) {
        (Rel::Scan { alias, lock, .. }, _) => {
            if matches!(of, Locked::Of(name, _) if name != alias) {
                return Ok(false);
            }
            if nullable {
                return Err(Error::new(
                    ErrorKind::FeatureNotSupported,
                    format!("{wording} cannot be applied to the nullable side of an outer join"),
                ));
            }
            // The strongest of several clauses counts, and so does the least patient.
            *lock = Some(match lock.take() {
                None => wanted,
                Some(old) => RowLock {
                    mode: old.mode.join(wanted.mode),
                    nowait: old.nowait || wanted.nowait,
                    skip_locked: (old.skip_locked || wanted.skip_locked) && !(old.nowait || wanted.nowait),
                },
            });
            Ok(true)
        }
        (Rel::Join { left, right, kind, .. }, _) => {
            let (l, r) = match kind {
                JoinKind::Inner => (false, false),
                JoinKind::Left => (false, true),
                JoinKind::Right => (true, false),
                JoinKind::Full => (true, true),
            };
            let a = put_lock(left, of, wanted, wording, nullable || l)?;
            let b = put_lock(right, of, wanted, wording, nullable || r)?;
            Ok(a || b)
        }
        (Rel::Filter { input, .. }, _) => put_lock(input, of, wanted, wording, nullable),
        (query, Locked::Of(_, column)) => {
            let meant = query.output().iter().any(|output| Some(output.id) == column);
            if meant {
                put_lock(query, Locked::All, wanted, wording, nullable)?;
            }
            Ok(meant)
        }
        // What follows stands in queries in FROM.
        (
            Rel::Project { input, .. } | Rel::Alias { input, .. } | Rel::Sort { input, .. } | Rel::Limit { input, .. },
            _,
        ) => put_lock(input, of, wanted, wording, nullable),
        (Rel::With { body, .. }, _) => put_lock(body, of, wanted, wording, nullable),
        (Rel::Distinct { .. } | Rel::DistinctOn { .. }, _) => refused("DISTINCT clause"),
        (Rel::Aggregate { group_by, .. }, _) if !group_by.is_empty() => refused("GROUP BY clause"),
        (Rel::Aggregate { .. }, _) => refused("aggregate functions"),
        (Rel::Window { .. }, _) => refused("window functions"),
        (Rel::SetOp { .. }, _) => refused("UNION/INTERSECT/EXCEPT"),
        _ => Ok(false),
    }
}

/// The keyword DEFAULT in a VALUES list or an assignment.
pub(crate) fn is_default(e: &ast::Expr) -> bool {
    matches!(e, ast::Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"))
}
