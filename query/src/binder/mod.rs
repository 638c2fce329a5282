//! From syntax to meaning: names are looked up, operators and functions chosen, implicit casts made explicit, with
//! PostgreSQL 15's rules and error texts.
//!
//! - [`parse()`]: text → [`ParsedStatement`]s (limits, syntax errors with positions)
//! - [`bind`]: one SELECT, VALUES, INSERT, UPDATE or DELETE → [`BoundStatement`]
//! - [`bind_scalar`]: a DEFAULT, CHECK or index expression over a table's columns
//!
//! Inside, a [`Binder`] keeps a stack of query levels (`select`), each with a name space (`scope`); `expr`, `special` and
//! `call` bind expressions bottom up, leaving literals and parameters of type `unknown` until `coerce` decides them.
//! Clauses of the AST are taken apart without `..`, so that none is ignored by accident.

mod aggregate;
mod call;
mod coerce;
mod composite;
mod context;
mod creation;
mod cursor_statement;
mod dml;
mod elements;
mod escapes;
mod expr;
mod expression_forms;
mod frames;
mod from;
mod grouped_items;
mod grouping;
mod hypothetical;
mod insert;
mod lock_clauses;
mod maintenance;
mod nested_joins;
mod normal_forms;
mod operator;
mod parse;
mod query;
mod query_forms;
mod recursion;
mod refused;
mod relations;
mod resolve;
mod rewrite;
mod scope;
mod select;
mod sequence_options;
mod setop;
mod source;
mod spaces;
mod special;
mod statement_forms;
mod stored;
mod table_function;
mod tablespace;
mod targets;
mod ties;
mod type_forms;
mod types;
mod unicode;
mod window;
mod with;
mod words;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::Statement;
use sqlparser::tokenizer::Span;
use stratos_types::{ColumnType, Datum, Error, ErrorKind, PgType, Result};

pub use context::{BindContext, Builtins, Registry, Relation, SystemTables};
pub(crate) use creation::{LIKE_MARKER, NAME_ONLY, data_wanted, executed, replace_query};
pub use cursor_statement::{CursorMove, Movement};
pub(crate) use escapes::tokens as written_tokens;
pub(crate) use expr::undefined_collation;
pub use maintenance::Maintenance;
pub(crate) use operator::{negated_number, prefix_symbol, symbol as operator_symbol};
pub use parse::{Body, MAX_CHAIN, MAX_NESTING, MAX_SQL_BYTES, ParsedStatement, parse, parse_expr};
pub(crate) use parse::{near as near_token, parser_error, rewritten_tokens, too_complex};
pub(crate) use refused::{command_name, refusal};
pub(crate) use scope::cut_name;
pub use scope::{fold_ident, name_parts};
pub use source::SourceText;
pub(crate) use stored::string_of;
pub use stored::{ScalarBinder, eval_constant, eval_parameter};
pub use types::column_type;
pub(crate) use types::{is_nchar, missing as missing_type};

use crate::catalog::Table;
use crate::ir::{AggregateCall, BoundStatement, ColumnId, Expr, OutputColumn, Query, StatementKind, WindowCall};
use scope::{Scope, ScopeColumn, ScopeTable};
use stratos_types::CastContext;
use table_function::SetReturning;
use with::CteBinding;

/// Deepest expression or subquery nesting of a bound statement.
const MAX_DEPTH: usize = 1_000;
/// `$n` goes to this; the protocol counts parameters in 16 bits.
const MAX_PARAMS: usize = 65_535;
/// How often subqueries are bound, beyond the bytes of the statement: what a row is compared with is bound several times, and so
/// is each that stands in another.
const MAX_SUBQUERIES: usize = 10_000;

/// Which clause is being bound, for the errors about what may not stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clause {
    SelectList,
    Where,
    JoinOn,
    GroupBy,
    Having,
    OrderBy,
    DistinctOn,
    Values,
    FromFunction,
    FromSubquery,
    Limit,
    Offset,
    Returning,
    UpdateSet,
    Filter,
    Window,
    Default,
    Check,
    Index,
    Execute,
    CopyWhere,
}

impl Clause {
    /// As in "aggregate functions are not allowed in …".
    fn place(self) -> &'static str {
        match self {
            Clause::SelectList => "SELECT",
            Clause::Where => "WHERE",
            Clause::JoinOn => "JOIN conditions",
            Clause::GroupBy => "GROUP BY",
            Clause::Having => "HAVING",
            Clause::OrderBy => "ORDER BY",
            Clause::DistinctOn => "DISTINCT ON",
            Clause::Values => "VALUES",
            Clause::FromFunction => "functions in FROM",
            Clause::FromSubquery => "FROM clause of their own query level",
            Clause::Limit => "LIMIT",
            Clause::Offset => "OFFSET",
            Clause::Returning => "RETURNING",
            Clause::UpdateSet => "UPDATE",
            Clause::Filter => "FILTER",
            Clause::Window => "window definitions",
            Clause::Default => "DEFAULT expressions",
            Clause::Check => "check constraints",
            Clause::Index => "index expressions",
            Clause::Execute => "EXECUTE parameters",
            Clause::CopyWhere => "COPY FROM WHERE conditions",
        }
    }

    fn allows_aggregates(self) -> bool {
        matches!(self, Clause::SelectList | Clause::Having | Clause::OrderBy | Clause::DistinctOn | Clause::Window)
    }

    fn allows_windows(self) -> bool {
        matches!(self, Clause::SelectList | Clause::OrderBy | Clause::DistinctOn)
    }

    fn allows_sets(self) -> bool {
        matches!(self, Clause::SelectList | Clause::OrderBy | Clause::GroupBy | Clause::DistinctOn)
    }
}

/// Where a column is mentioned.
pub(crate) struct Reference {
    pub column: ColumnId,
    /// In the statement's text, from 1.
    pub position: usize,
    /// In a subquery of the level that remembers it.
    pub in_subquery: bool,
}

/// One query level: a SELECT being bound.
#[derive(Default)]
pub(crate) struct Level {
    pub scope: Scope,
    pub clause: Option<Clause>,
    pub aggregates: Vec<(OutputColumn, AggregateCall)>,
    pub groupings: Vec<(OutputColumn, Vec<Expr>, Span)>,
    pub windows: Vec<(OutputColumn, WindowCall)>,
    pub sets: Vec<SetReturning>,
    pub named_windows: Vec<(String, sqlparser::ast::WindowSpec, Span)>,
    /// Columns mentioned outside aggregates.
    pub references: Vec<Reference>,
    /// Direct arguments of ordered-set aggregates: they are computed once for a group.
    pub direct_args: Vec<Expr>,
    /// Inside the arguments of an aggregate, or of a window function.
    pub in_aggregate: bool,
    pub in_window: bool,
    /// Its FROM has the query that is being defined.
    pub recurses: bool,
    /// Inside CASE or COALESCE, where set-returning functions may not stand.
    pub conditional: Option<&'static str>,
}

/// Binds one statement.
pub(crate) struct Binder<'a> {
    pub cx: &'a BindContext,
    next_column: u32,
    next_cte: u32,
    /// `unknown` while undetermined.
    params: Vec<PgType>,
    /// Parameters that stand where any type may and had none then, with their places.
    open_params: Vec<(usize, Span)>,
    pub levels: Vec<Level>,
    pub ctes: Vec<CteBinding>,
    pub depth: usize,
    /// Subqueries that were bound, one that is bound several times as often.
    subqueries: usize,
    /// `set_config` was called further left.
    pub sets_config: bool,
    /// Names and types of the fields of columns that hold composite values, where they are known.
    pub composites: HashMap<ColumnId, Vec<(String, ColumnType)>>,
    /// The string constants of an expression that is to be stored; none are kept for others.
    strings: Option<stored::Strings>,
}

/// Binds a statement. `declared_params` are the types that Parse gave (`None`: to be inferred).
///
/// # Errors
/// Everything that PostgreSQL's parse analysis reports, and 0A000 for what is not supported.
pub fn bind(
    statement: &Statement,
    context: &BindContext,
    declared_params: &[Option<PgType>],
) -> Result<BoundStatement> {
    let mut binder = Binder::new(context);
    if declared_params.len() > MAX_PARAMS {
        return Err(Error::new(ErrorKind::TooManyArguments, "too many parameters"));
    }
    binder.params = declared_params.iter().map(|p| p.unwrap_or(PgType::Unknown)).collect();
    let (kind, output) = binder.statement(statement)?;
    let undetermined =
        |kind, n: usize| Error::new(kind, format!("could not determine data type of parameter ${}", n + 1));
    if let Some((n, span)) = binder.open_params.iter().find(|(n, _)| binder.params[*n] != PgType::Unknown) {
        return Err(binder.at(undetermined(ErrorKind::AmbiguousParameter, *n), *span));
    }
    if let Some(n) = binder.params.iter().position(|p| *p == PgType::Unknown) {
        return Err(undetermined(ErrorKind::IndeterminateDatatype, n));
    }
    Ok(BoundStatement { kind, params: binder.params, output })
}

/// Whether [`bind`] handles a statement; the others go from the AST to their executors.
pub fn is_bound(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) | Statement::Merge(_)
    )
}

/// What a bound scalar expression is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarUse {
    /// A column's DEFAULT: no column may be named.
    Default,
    /// A CHECK constraint: boolean.
    Check,
    /// An index expression.
    Index,
    /// The parameter of EXECUTE with this number, which starts with 1.
    Parameter(usize),
    /// Which rows a COPY takes: boolean.
    CopyWhere,
}

/// Binds an expression of a table's definition. The table's columns have the identities 0, 1, … in the table's order;
/// with `target` the value is cast for assignment to that type.
///
/// # Errors
/// As [`bind`].
pub fn bind_scalar(
    sql: &str,
    context: &BindContext,
    table: Option<&Arc<Table>>,
    target: Option<(&str, ColumnType)>,
    used: ScalarUse,
) -> Result<Expr> {
    let (ast, source) = parse_expr(sql)?;
    bind_scalar_ast(&ast, source, context, table, target, used)
}

/// As [`bind_scalar`], for an expression that is parsed already (in CREATE TABLE).
///
/// # Errors
/// As [`bind`].
pub fn bind_scalar_ast(
    ast: &sqlparser::ast::Expr,
    source: Arc<SourceText>,
    context: &BindContext,
    table: Option<&Arc<Table>>,
    target: Option<(&str, ColumnType)>,
    used: ScalarUse,
) -> Result<Expr> {
    let own = BindContext { source, ..context.clone() };
    scalar(&mut Binder::new(&own), ast, table, target, used)
}

/// Where the first subquery of an expression begins: at its parenthesis, or at the word before.
fn subquery_position(source: &SourceText, ast: &sqlparser::ast::Expr) -> Option<usize> {
    use sqlparser::ast::{Expr as Ast, Spanned as _};
    let found = sqlparser::ast::visit_expressions(ast, |inner| match inner {
        Ast::Subquery(query) => ControlFlow::Break(source.symbol_before(query.span(), "(")),
        Ast::Exists { subquery, .. } => ControlFlow::Break(source.symbol_before(subquery.span(), "exists")),
        Ast::InSubquery { subquery, .. } => ControlFlow::Break(source.symbol_before(subquery.span(), "in")),
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Break(position) => position,
        ControlFlow::Continue(()) => None,
    }
}

/// Binds one scalar expression with a binder that has bound nothing yet.
fn scalar(
    binder: &mut Binder<'_>,
    ast: &sqlparser::ast::Expr,
    table: Option<&Arc<Table>>,
    target: Option<(&str, ColumnType)>,
    used: ScalarUse,
) -> Result<Expr> {
    let clause = match used {
        ScalarUse::Default => Clause::Default,
        ScalarUse::Check => Clause::Check,
        ScalarUse::Index => Clause::Index,
        ScalarUse::Parameter(_) => Clause::Execute,
        ScalarUse::CopyWhere => Clause::CopyWhere,
    };
    let mut level = Level { clause: Some(clause), ..Level::default() };
    if let Some(table) = table {
        let (scope_table, ids) = binder.table_scope(table, None);
        debug_assert!(ids.first().is_none_or(|id| id.0 == 0));
        level.scope = Scope::of(scope_table);
    }
    binder.levels.push(level);
    let expr = binder.expr(ast)?;
    let span = sqlparser::ast::Spanned::span(ast);
    if used == ScalarUse::Default && !expr.columns().is_empty() {
        return Err(binder.at(
            Error::new(ErrorKind::FeatureNotSupported, "cannot use column reference in DEFAULT expression"),
            span,
        ));
    }
    let mut subquery = false;
    expr.visit(&mut |e| {
        subquery |= matches!(e.kind, crate::ir::ExprKind::Subquery { .. });
        crate::ir::Walk::Into
    });
    if subquery {
        let what = match used {
            ScalarUse::Default => "cannot use subquery in DEFAULT expression",
            ScalarUse::Check => "cannot use subquery in check constraint",
            ScalarUse::Index => "cannot use subquery in index expression",
            ScalarUse::Parameter(_) => "cannot use subquery in EXECUTE parameter",
            ScalarUse::CopyWhere => "cannot use subquery in COPY FROM WHERE condition",
        };
        let error = Error::new(ErrorKind::FeatureNotSupported, what);
        return Err(match subquery_position(&binder.cx.source, ast) {
            Some(position) => error.at(position),
            None => binder.at(error, span),
        });
    }
    if !binder.params.is_empty() {
        return Err(Error::new(ErrorKind::UndefinedParameter, "there is no parameter $1"));
    }
    match (used, target) {
        (ScalarUse::Check, _) => binder.boolean(expr, "CHECK", span),
        (ScalarUse::CopyWhere, _) => binder.boolean(expr, "WHERE", span),
        (_, Some((column, ty))) => {
            let from = expr.ty.ty;
            binder.coerce(expr, ty, CastContext::Assignment, false, span)?.ok_or_else(|| {
                let message = match used {
                    ScalarUse::Parameter(number) => {
                        format!("parameter ${number} of type {from} cannot be coerced to the expected type {}", ty.ty)
                    }
                    _ => format!("column \"{column}\" is of type {} but default expression is of type {from}", ty.ty),
                };
                let error = Error::new(ErrorKind::DatatypeMismatch, message)
                    .with_hint("You will need to rewrite or cast the expression.");
                if matches!(used, ScalarUse::Parameter(_)) { binder.at(error, span) } else { error }
            })
        }
        (_, None) => binder.known(expr),
    }
}

impl<'a> Binder<'a> {
    pub(crate) fn new(cx: &'a BindContext) -> Binder<'a> {
        Binder {
            cx,
            next_column: 0,
            next_cte: 0,
            params: Vec::new(),
            open_params: Vec::new(),
            levels: Vec::new(),
            ctes: Vec::new(),
            depth: 0,
            subqueries: 0,
            sets_config: false,
            composites: HashMap::new(),
            strings: None,
        }
    }

    /// How many parameters there are by now.
    pub(crate) fn parameter_count(&self) -> usize {
        self.params.len()
    }

    fn statement(&mut self, statement: &Statement) -> Result<(StatementKind, Vec<OutputColumn>)> {
        match statement {
            Statement::Query(query) => {
                if let Some(bound) = self.with_dml(query)? {
                    return Ok(bound);
                }
                let rel = self.top_query(query)?;
                let output = rel.output();
                let locks_rows = !crate::exec::row_locks::locked_tables(&rel).is_empty();
                Ok((StatementKind::Query(Query { rel, locks_rows }), output))
            }
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(_) => Err(Error::unsupported("MERGE")),
            other => Err(refusal(&other.to_string())),
        }
    }

    pub(crate) fn fresh(&mut self) -> ColumnId {
        let id = ColumnId(self.next_column);
        self.next_column += 1;
        id
    }

    pub(crate) fn fresh_cte(&mut self) -> u32 {
        let id = self.next_cte;
        self.next_cte += 1;
        id
    }

    pub(crate) fn output(&mut self, name: impl Into<String>, ty: ColumnType) -> OutputColumn {
        OutputColumn { id: self.fresh(), name: name.into(), ty, origin: None }
    }

    pub(crate) fn position(&self, span: Span) -> Option<usize> {
        self.cx.source.position(span)
    }

    pub(crate) fn at(&self, error: Error, span: Span) -> Error {
        match self.position(span) {
            Some(p) => error.at(p),
            None => error,
        }
    }

    pub(crate) fn clause(&self) -> Option<Clause> {
        self.levels.last().and_then(|l| l.clause)
    }

    /// Runs `f` with the innermost level in another clause.
    pub(crate) fn in_clause<T>(&mut self, clause: Clause, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = self.clause();
        if let Some(level) = self.levels.last_mut() {
            level.clause = Some(clause);
        }
        let result = f(self);
        if let Some(level) = self.levels.last_mut() {
            level.clause = before;
        }
        result
    }

    /// `$n`.
    pub(crate) fn param(&mut self, text: &str, span: Span) -> Result<Expr> {
        let number: usize = text.strip_prefix('$').and_then(|n| n.parse().ok()).unwrap_or(0);
        if number == 0 || number > MAX_PARAMS || self.cx.without_params {
            return Err(
                self.at(Error::new(ErrorKind::UndefinedParameter, format!("there is no parameter {text}")), span)
            );
        }
        if self.params.len() < number {
            self.params.resize(number, PgType::Unknown);
        }
        Ok(Expr { kind: crate::ir::ExprKind::Param(number - 1), ty: self.params[number - 1].into() })
    }

    /// A base table as a name space with fresh identities.
    pub(crate) fn table_scope(&mut self, table: &Arc<Table>, alias: Option<&str>) -> (ScopeTable, Vec<ColumnId>) {
        let mut ids = Vec::with_capacity(table.columns.len());
        let mut columns = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let id = self.fresh();
            ids.push(id);
            columns.push(ScopeColumn {
                name: column.name.clone(),
                expr: Expr::column(id, column.ty),
                origin: Some((table.oid, column.attnum)),
            });
        }
        let scope = ScopeTable {
            name: alias.unwrap_or(&table.name).to_owned(),
            schema: alias.is_none().then(|| table.schema_name.clone()),
            columns,
            table: Some(Arc::clone(table)),
            system: None,
            scalar: false,
            missing: false,
            out_of_reach: false,
        };
        (scope, ids)
    }

    pub(crate) fn null(ty: impl Into<ColumnType>) -> Expr {
        Expr::literal(Datum::Null, ty)
    }
}

#[cfg(test)]
mod nesting_tests;
#[cfg(test)]
mod tests;
