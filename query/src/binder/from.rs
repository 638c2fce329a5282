//! FROM: tables, subqueries, functions, joins.

use std::sync::Arc;

use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, JoinConstraint, JoinOperator, Spanned, TableAlias, TableFactor, TableWithJoins,
};
use sqlparser::tokenizer::Span;
use stratos_types::{Error, ErrorKind, PgType, Result};

use super::context::Relation;
use super::relations::EXPRESSION_MARKER;
use super::rewrite::JOIN_ALIAS_MARKER;
use super::scope::{Place, Scope, ScopeColumn, ScopeTable, fold_ident, name_parts, name_span};
use super::table_function::{PG_EXPANDARRAY, TableCall, returns_set};
use super::targets::column_name;
use super::{Binder, Clause};
use crate::ir::{Expr, ExprKind, JoinKind, OutputColumn, Rel, ScanColumn, TableFunctionKind};

/// A relation with what it brings into sight.
pub(crate) struct FromItem {
    pub rel: Rel,
    pub scope: Scope,
}

/// An alias taken apart: name and column names.
fn alias_parts(alias: &TableAlias) -> Result<(String, Vec<String>)> {
    let TableAlias { explicit: _, name, columns, at } = alias;
    if at.is_some() {
        return Err(Error::unsupported("AT in an alias"));
    }
    let mut names = Vec::with_capacity(columns.len());
    for column in columns {
        if column.data_type.is_some() {
            return Err(Error::unsupported("column definition list in an alias"));
        }
        names.push(fold_ident(&column.name));
    }
    Ok((fold_ident(name), names))
}

impl Binder<'_> {
    /// The whole FROM clause: the items' cross product. `base` is what is in sight already (the target of an UPDATE).
    pub(crate) fn bind_from(&mut self, from: &[TableWithJoins], base: Option<FromItem>) -> Result<Option<FromItem>> {
        let mut all = base;
        for item in from {
            let left = all.as_ref().map(|a| a.scope.clone()).unwrap_or_default();
            let (bound, lateral) = self.joined(item, &left)?;
            all = Some(match all {
                None => bound,
                Some(mut sofar) => {
                    Self::check_duplicates(&sofar.scope, &bound.scope)?;
                    sofar.scope.append(bound.scope);
                    FromItem {
                        rel: Rel::Join {
                            left: Box::new(sofar.rel),
                            right: Box::new(bound.rel),
                            kind: JoinKind::Inner,
                            on: None,
                            lateral,
                        },
                        scope: sofar.scope,
                    }
                }
            });
        }
        Ok(all)
    }

    fn check_duplicates(a: &Scope, b: &Scope) -> Result<()> {
        for t in &b.tables {
            let clash = a.tables.iter().any(|o| {
                o.name == t.name
                    && !t.name.is_empty()
                    && (o.schema.is_none() || t.schema.is_none() || o.schema == t.schema)
            });
            if clash {
                return Err(Error::new(
                    ErrorKind::DuplicateAlias,
                    format!("table name \"{}\" specified more than once", t.name),
                ));
            }
        }
        Ok(())
    }

    /// One item of FROM with its joins, and whether it looks at what stands to its left.
    fn joined(&mut self, item: &TableWithJoins, left: &Scope) -> Result<(FromItem, bool)> {
        let TableWithJoins { relation, joins } = item;
        let (mut bound, mut lateral) = self.factor(relation, left)?;
        for join in joins {
            let ast::Join { relation, global, join_operator } = join;
            if *global {
                return Err(Error::unsupported("GLOBAL join"));
            }
            let mut visible = left.clone();
            visible.append(bound.scope.clone());
            let (right, right_lateral) = self.factor(relation, &visible)?;
            Self::check_duplicates(&bound.scope, &right.scope)?;
            use JoinOperator as J;
            let (kind, constraint) = match join_operator {
                J::Join(c) | J::Inner(c) | J::CrossJoin(c) => (JoinKind::Inner, c),
                J::Left(c) | J::LeftOuter(c) => (JoinKind::Left, c),
                J::Right(c) | J::RightOuter(c) => (JoinKind::Right, c),
                J::FullOuter(c) => (JoinKind::Full, c),
                _ => return Err(Error::unsupported("this kind of join")),
            };
            if right_lateral && matches!(kind, JoinKind::Right | JoinKind::Full) {
                return Err(self.at(
                    Error::new(
                        ErrorKind::InvalidColumnReference,
                        "invalid reference to FROM-clause entry: the combining JOIN type must be INNER or LEFT for a LATERAL reference",
                    ),
                    relation.span(),
                ));
            }
            lateral |= right_lateral;
            bound = self.join(bound, right, kind, constraint, right_lateral)?;
        }
        Ok((bound, lateral))
    }

    fn join(
        &mut self,
        left: FromItem,
        right: FromItem,
        kind: JoinKind,
        constraint: &JoinConstraint,
        lateral: bool,
    ) -> Result<FromItem> {
        let mut tables = left.scope.tables.clone();
        tables.extend(right.scope.tables.clone());
        let plain_star = || {
            let mut star = left.scope.star.clone();
            star.extend(right.scope.star.clone());
            star
        };
        let (on, star) = match constraint {
            JoinConstraint::None => {
                if kind != JoinKind::Inner {
                    return Err(Error::new(ErrorKind::SyntaxError, "an outer join needs ON, USING or NATURAL"));
                }
                (None, plain_star())
            }
            JoinConstraint::On(condition) => {
                let scope = Scope { tables: tables.clone(), star: plain_star() };
                let on = self.with_scope(scope, Clause::JoinOn, |b| {
                    let on = b.expr(condition)?;
                    b.boolean(on, "JOIN/ON", condition.place())
                })?;
                (Some(on), plain_star())
            }
            JoinConstraint::Using(names) => {
                let mut using = Vec::with_capacity(names.len());
                let mut alias = None;
                for name in names {
                    let parts = name_parts(name)?;
                    let [column] = parts.as_slice() else {
                        return Err(Error::new(ErrorKind::SyntaxError, "USING takes column names"));
                    };
                    match column.strip_prefix(JOIN_ALIAS_MARKER) {
                        Some(name) => alias = Some(name.to_owned()),
                        None => using.push((column.clone(), name_span(name))),
                    }
                }
                let (on, star) = self.merge(&left.scope, &right.scope, kind, &using)?;
                if let Some(name) = alias {
                    let merged = star.iter().take(using.len()).cloned().collect();
                    let table = Scope::of(ScopeTable::of_columns(name, merged));
                    Self::check_duplicates(&left.scope, &table)?;
                    Self::check_duplicates(&right.scope, &table)?;
                    tables.extend(table.tables);
                }
                (on, star)
            }
            JoinConstraint::Natural => {
                let using: Vec<(String, Span)> = left
                    .scope
                    .star
                    .iter()
                    .filter(|c| right.scope.star.iter().any(|r| r.name == c.name))
                    .map(|c| (c.name.clone(), Span::empty()))
                    .collect();
                self.merge(&left.scope, &right.scope, kind, &using)?
            }
        };
        // An outer join without a condition still needs one.
        let on = match on {
            None if kind != JoinKind::Inner => Some(Expr::literal(stratos_types::Datum::Bool(true), PgType::Bool)),
            other => other,
        };
        let left_tables = left.scope.tables.len();
        let (left_missing, right_missing) = match kind {
            JoinKind::Inner => (false, false),
            JoinKind::Left => (false, true),
            JoinKind::Right => (true, false),
            JoinKind::Full => (true, true),
        };
        for (at, table) in tables.iter_mut().enumerate() {
            table.missing |= if at < left_tables { left_missing } else { right_missing };
        }
        Ok(FromItem {
            rel: Rel::Join { left: Box::new(left.rel), right: Box::new(right.rel), kind, on, lateral },
            scope: Scope { tables, star },
        })
    }

    /// USING and NATURAL: the condition, and the columns with the merged ones first.
    fn merge(
        &mut self,
        left: &Scope,
        right: &Scope,
        kind: JoinKind,
        using: &[(String, Span)],
    ) -> Result<(Option<Expr>, Vec<ScopeColumn>)> {
        let mut star = Vec::new();
        let mut conditions = Vec::new();
        for (i, (name, span)) in using.iter().enumerate() {
            if using[..i].iter().any(|(n, _)| n == name) {
                return Err(self.at(
                    Error::new(
                        ErrorKind::DuplicateColumn,
                        format!("column name \"{name}\" appears more than once in USING clause"),
                    ),
                    *span,
                ));
            }
            let a = self.using_column(left, name, "left", *span)?;
            let b = self.using_column(right, name, "right", *span)?;
            let place = self.position(*span);
            super::resolve::common_type(&[a.expr.ty.ty, b.expr.ty.ty], "JOIN/USING")?;
            conditions.push(self.operator("=", Some(a.expr.clone()), b.expr.clone(), place)?);
            let (mut sides, ty) = self.unify(vec![a.expr.clone(), b.expr.clone()], &[*span], "JOIN/USING")?;
            let b_expr = sides.remove(1);
            let a_expr = sides.remove(0);
            let (expr, origin) = match kind {
                JoinKind::Inner | JoinKind::Left => (a_expr, a.origin),
                JoinKind::Right => (b_expr, b.origin),
                JoinKind::Full => (Expr { kind: ExprKind::Coalesce(vec![a_expr, b_expr]), ty }, None),
            };
            star.push(ScopeColumn { name: name.clone(), expr, origin });
        }
        let merged = |c: &&ScopeColumn| !using.iter().any(|(n, _)| *n == c.name);
        star.extend(left.star.iter().filter(merged).cloned());
        star.extend(right.star.iter().filter(merged).cloned());
        let on = match conditions.len() {
            0 => None,
            1 => conditions.pop(),
            _ => Some(Expr { kind: ExprKind::And(conditions), ty: PgType::Bool.into() }),
        };
        Ok((on, star))
    }

    fn using_column(&self, scope: &Scope, name: &str, side: &str, span: Span) -> Result<ScopeColumn> {
        let mut found = scope.star.iter().filter(|c| c.name == name);
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column.clone()),
            (Some(_), Some(_)) => Err(self.at(
                Error::new(
                    ErrorKind::AmbiguousColumn,
                    format!("common column name \"{name}\" appears more than once in {side} table"),
                ),
                span,
            )),
            (None, _) => Err(Error::new(
                ErrorKind::UndefinedColumn,
                format!("column \"{name}\" specified in USING clause does not exist in {side} table"),
            )),
        }
    }

    /// Runs `f` with another name space at the innermost level.
    pub(crate) fn with_scope<T>(
        &mut self,
        scope: Scope,
        clause: Clause,
        f: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let Some(level) = self.levels.last_mut() else {
            return Err(Error::internal("no query level"));
        };
        let before = std::mem::replace(&mut level.scope, scope);
        let result = self.in_clause(clause, f);
        if let Some(level) = self.levels.last_mut() {
            level.scope = before;
        }
        result
    }

    /// One table, subquery, function or parenthesised join. `left` is what a LATERAL item may look at.
    fn factor(&mut self, factor: &TableFactor, left: &Scope) -> Result<(FromItem, bool)> {
        let span = factor.span();
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if !with_hints.is_empty()
                    || version.is_some()
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty()
                {
                    return Err(self.at(Error::unsupported("this decoration of a table"), span));
                }
                if sample.is_some() {
                    return Err(self.at(Error::unsupported("TABLESAMPLE"), span));
                }
                if let Some(args) = args {
                    if args.settings.is_some() {
                        return Err(Error::unsupported("SETTINGS"));
                    }
                    return self.function_item(name, &args.args, alias.as_ref(), *with_ordinality, left);
                }
                if *with_ordinality {
                    return Err(Error::new(ErrorKind::SyntaxError, "syntax error at or near \"WITH\""));
                }
                Ok((self.named_table(name, alias.as_ref())?, false))
            }
            TableFactor::Function { lateral: _, name, args, with_ordinality, alias } => {
                self.function_item(name, args, alias.as_ref(), *with_ordinality, left)
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, with_ordinality } => {
                if *with_offset || with_offset_alias.is_some() {
                    return Err(Error::unsupported("WITH OFFSET"));
                }
                let args: Vec<Expr> = self.with_scope(left.clone(), Clause::FromFunction, |b| {
                    array_exprs.iter().map(|e| b.expr(e)).collect()
                })?;
                self.table_function_item("unnest", args, alias.as_ref(), *with_ordinality, span)
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                if sample.is_some() {
                    return Err(self.at(Error::unsupported("TABLESAMPLE"), span));
                }
                let Some(alias) = alias else {
                    let what = if matches!(*subquery.body, ast::SetExpr::Values(_)) {
                        ("VALUES in FROM must have an alias", "For example, FROM (VALUES ...) [AS] foo.")
                    } else {
                        ("subquery in FROM must have an alias", "For example, FROM (SELECT ...) [AS] foo.")
                    };
                    let e = Error::new(ErrorKind::SyntaxError, what.0).with_hint(what.1);
                    let at = self.cx.source.symbol_before(subquery.span(), "(");
                    return Err(match at {
                        Some(p) => e.at(p),
                        None => e,
                    });
                };
                let mut visible = left.clone();
                if !lateral {
                    for table in &mut visible.tables {
                        table.out_of_reach = true;
                    }
                    visible.star.clear();
                }
                let rel = self.with_scope(visible, Clause::FromSubquery, |b| b.query(subquery, true))?;
                let item = self.derived(rel, alias)?;
                Ok((item, *lateral))
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let (mut item, lateral) = self.joined(table_with_joins, left)?;
                if let Some(alias) = alias {
                    let (name, columns) = alias_parts(alias)?;
                    let mut star = item.scope.star;
                    self.rename(&mut star, &columns, &name)?;
                    item.scope = Scope::of(ScopeTable::of_columns(name, star));
                }
                Ok((item, lateral))
            }
            TableFactor::TableFunction { .. } => Err(Error::unsupported("TABLE(…)")),
            TableFactor::JsonTable { .. } | TableFactor::OpenJsonTable { .. } => Err(Error::unsupported("JSON_TABLE")),
            TableFactor::XmlTable { .. } => Err(Error::unsupported("XMLTABLE")),
            TableFactor::Pivot { .. }
            | TableFactor::Unpivot { .. }
            | TableFactor::MatchRecognize { .. }
            | TableFactor::SemanticView { .. } => Err(self.at(Error::unsupported("this item of FROM"), span)),
        }
    }

    fn rename(&self, columns: &mut [ScopeColumn], names: &[String], table: &str) -> Result<()> {
        if names.len() > columns.len() {
            let (available, specified) = (columns.len(), names.len());
            return Err(Error::new(
                ErrorKind::InvalidColumnReference,
                format!("table \"{table}\" has {available} columns available but {specified} columns specified"),
            ));
        }
        for (column, name) in columns.iter_mut().zip(names) {
            column.name.clone_from(name);
        }
        Ok(())
    }

    fn exposed(columns: &[OutputColumn]) -> Vec<ScopeColumn> {
        columns
            .iter()
            .map(|c| ScopeColumn { name: c.name.clone(), expr: Expr::column(c.id, c.ty), origin: c.origin })
            .collect()
    }

    fn derived(&mut self, rel: Rel, alias: &TableAlias) -> Result<FromItem> {
        let (name, names) = alias_parts(alias)?;
        let mut columns = Self::exposed(&rel.output());
        self.rename(&mut columns, &names, &name)?;
        Ok(FromItem { rel, scope: Scope::of(ScopeTable::of_columns(name, columns)) })
    }

    /// A CTE, a base table or a system table.
    fn named_table(&mut self, name: &ast::ObjectName, alias: Option<&TableAlias>) -> Result<FromItem> {
        let span = name_span(name);
        let parts = name_parts(name)?;
        let alias_pair = alias.map(alias_parts).transpose()?;
        if let [cte] = parts.as_slice()
            && let Some((rel, own)) = self.cte_scan(cte, span)?
        {
            let (name, names) = alias_pair.unwrap_or((own, Vec::new()));
            let mut columns = Self::exposed(&rel.output());
            self.rename(&mut columns, &names, &name)?;
            return Ok(FromItem { rel, scope: Scope::of(ScopeTable::of_columns(name, columns)) });
        }
        let relation = self.cx.relation(&parts).map_err(|e| self.at(e, span))?;
        let (name, names) = match &alias_pair {
            Some((name, names)) => (Some(name.clone()), names.clone()),
            None => (None, Vec::new()),
        };
        let (rel, mut table) = match relation {
            Relation::Table(table) => {
                let (scope, ids) = self.table_scope(&table, name.as_deref());
                let columns = ids.into_iter().enumerate().map(|(index, id)| ScanColumn { index, id }).collect();
                let rel = Rel::Scan { alias: scope.name.clone(), table, columns, lock: None };
                (rel, scope)
            }
            Relation::System(_) | Relation::Sequence(_) => {
                let table = match relation {
                    Relation::System(table) => table,
                    Relation::Sequence(sequence) => {
                        let schema = self.cx.catalog.schema_name(sequence.schema).unwrap_or_default();
                        crate::system::sequence_table(&sequence, schema)
                    }
                    _ => return Err(Error::internal("neither a system table nor a sequence")),
                };
                let mut columns = Vec::new();
                for (i, (column, ty)) in table.columns().iter().enumerate() {
                    let mut output = self.output(*column, *ty);
                    output.origin = i16::try_from(i + 1).ok().map(|n| (table.oid(), n));
                    columns.push(output);
                }
                let own = table.name();
                let scope = ScopeTable {
                    name: name.clone().unwrap_or_else(|| own.to_owned()),
                    schema: name.is_none().then(|| table.schema().to_owned()),
                    columns: Self::exposed(&columns),
                    table: None,
                    system: Some(table.oid()),
                    scalar: false,
                    missing: false,
                    out_of_reach: false,
                };
                (Rel::SystemScan { table, columns }, scope)
            }
            Relation::Index(..) => {
                return Err(self.at(
                    Error::new(ErrorKind::WrongObjectType, format!("cannot open relation \"{}\"", parts.join(".")))
                        .with_detail("This operation is not supported for indexes."),
                    span,
                ));
            }
        };
        let shown = table.name.clone();
        self.rename(&mut table.columns, &names, &shown)?;
        Ok(FromItem { rel, scope: Scope::of(table) })
    }

    fn function_item(
        &mut self,
        name: &ast::ObjectName,
        args: &[ast::FunctionArg],
        alias: Option<&TableAlias>,
        ordinality: bool,
        left: &Scope,
    ) -> Result<(FromItem, bool)> {
        let span = name_span(name);
        let parts = name_parts(name)?;
        let base = match parts.as_slice() {
            [name] => name.clone(),
            [schema, name] if schema == "pg_catalog" => name.clone(),
            [schema, name] if schema == "information_schema" && name == PG_EXPANDARRAY => name.clone(),
            _ => {
                return Err(self.at(
                    Error::new(ErrorKind::UndefinedFunction, format!("function {}() does not exist", parts.join("."))),
                    span,
                ));
            }
        };
        let written = args;
        let args = self.with_scope(left.clone(), Clause::FromFunction, |b| b.function_args(args))?;
        if let ([FunctionArg::Unnamed(FunctionArgExpr::Expr(written))], EXPRESSION_MARKER) = (written, base.as_str()) {
            let args = args.into_iter().map(|value| self.known(value)).collect::<Result<Vec<_>>>()?;
            let name = column_name(written);
            let columns = args.iter().map(|value| (String::new(), value.ty)).collect();
            let call = TableCall { kind: TableFunctionKind::ScalarCall, args, columns };
            return self.called_item(&name, call, alias, ordinality);
        }
        self.table_function_item(&base, args, alias, ordinality, span)
    }

    fn table_function_item(
        &mut self,
        base: &str,
        args: Vec<Expr>,
        alias: Option<&TableAlias>,
        ordinality: bool,
        span: Span,
    ) -> Result<(FromItem, bool)> {
        let call = if returns_set(base) {
            self.table_call(base, args, span)?
        } else {
            let call = self.call_named(base, args, span)?;
            let columns = vec![(String::new(), call.ty)];
            TableCall { kind: TableFunctionKind::ScalarCall, args: vec![call], columns }
        };
        self.called_item(base, call, alias, ordinality)
    }

    fn called_item(
        &mut self,
        base: &str,
        call: TableCall,
        alias: Option<&TableAlias>,
        ordinality: bool,
    ) -> Result<(FromItem, bool)> {
        // Functions in FROM are LATERAL by themselves; it matters when they look at something.
        let lateral = call.args.iter().any(|a| !a.columns().is_empty());
        let TableCall { kind, args, columns: described } = call;
        let alias_pair = alias.map(alias_parts).transpose()?;
        let (name, names) = match alias_pair {
            Some(pair) => pair,
            None => (base.to_owned(), Vec::new()),
        };
        let mut columns: Vec<OutputColumn> = Vec::with_capacity(described.len() + 1);
        for (column, ty) in described {
            // A single column without a name of its own goes by the alias.
            let shown = if column.is_empty() { name.clone() } else { column };
            columns.push(self.output(shown, ty));
        }
        if ordinality {
            columns.push(self.output("ordinality", PgType::Int8.into()));
        }
        let mut exposed = Self::exposed(&columns);
        self.rename(&mut exposed, &names, &name)?;
        for (column, shown) in columns.iter_mut().zip(&exposed) {
            column.name.clone_from(&shown.name);
        }
        let scalar = exposed.len() == 1;
        let scope = Scope::of(ScopeTable { scalar, ..ScopeTable::of_columns(name, exposed) });
        Ok((FromItem { rel: Rel::TableFunction { function: kind, args, columns, ordinality }, scope }, lateral))
    }

    /// The base table that an INSERT, UPDATE or DELETE names.
    pub(crate) fn target_table(&mut self, name: &ast::ObjectName) -> Result<Arc<crate::catalog::Table>> {
        let span = name_span(name);
        let parts = name_parts(name)?;
        match self.cx.relation(&parts).map_err(|e| self.at(e, span))? {
            Relation::Table(table) => Ok(table),
            Relation::System(table) => Err(Error::new(
                ErrorKind::InsufficientPrivilege,
                format!("permission denied for table {}", table.name()),
            )),
            Relation::Sequence(sequence) => {
                Err(Error::new(ErrorKind::WrongObjectType, format!("cannot change sequence \"{}\"", sequence.name)))
            }
            Relation::Index(..) => {
                Err(Error::new(ErrorKind::WrongObjectType, format!("cannot open relation \"{}\"", parts.join(".")))
                    .with_detail("This operation is not supported for indexes."))
            }
        }
    }
}
