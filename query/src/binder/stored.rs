//! Expressions of descriptors (DEFAULT, CHECK, USING) and constants of utility statements: bound, and evaluated where they
//! have to be.

use std::sync::Arc;

use sqlparser::ast::{self, Expr as AstExpr, Statement};
use stratos_types::{ColumnType, Datum, Error, ErrorKind, Result};

use super::{BindContext, ScalarUse, bind, bind_scalar, bind_scalar_ast};
use crate::catalog::{Column, Snapshot, Table};
use crate::ddl::{DefaultValue, ExpressionBinder};
use crate::eval::{Layout, Program};
use crate::functions::Volatility;
use crate::ir::{Expr, ExprKind};
use crate::session::EvalContext;

/// Evaluates an expression that names no column, as a value of `ty`.
///
/// # Errors
/// What binding or evaluating it gives.
pub fn eval_constant(expr: &AstExpr, ty: ColumnType, context: &BindContext, eval: &EvalContext) -> Result<Datum> {
    let source = context.source.clone();
    let bound = bind_scalar_ast(expr, source, context, None, Some(("?column?", ty)), ScalarUse::Default)?;
    Program::compile(&bound, &Layout::default())?.run(&[], &[], eval)
}

/// Binds the expressions of descriptors in one catalog.
pub struct ScalarBinder {
    context: BindContext,
    eval: EvalContext,
}

impl ScalarBinder {
    /// For expressions as `context` sees names, evaluated in `eval`.
    pub fn new(context: BindContext, eval: EvalContext) -> ScalarBinder {
        ScalarBinder { context, eval }
    }

    fn in_catalog(&self, snapshot: &Snapshot) -> BindContext {
        BindContext { catalog: Arc::new(snapshot.clone()), ..self.context.clone() }
    }

    /// The value of a column that a row does not give: identity, DEFAULT, or none for NULL.
    ///
    /// # Errors
    /// A stored expression that no longer binds.
    pub fn column_default(&self, table: &Table, column: &Column) -> Result<Option<Expr>> {
        let target = Some((column.name.as_str(), column.ty));
        let sql = match (&column.identity, &column.default) {
            (Some(identity), _) => format!("nextval({}::oid::regclass)", identity.sequence),
            (None, Some(default)) => default.sql.clone(),
            (None, None) => return Ok(None),
        };
        bind_scalar(&sql, &self.context, None, target, ScalarUse::Default).map(Some).map_err(|error| {
            Error::new(error.kind(), format!("default of column \"{}\" of \"{}\": {error}", column.name, table.name))
        })
    }

    /// An expression over a table's columns, whose identities are 0, 1, … in the table's order, cast to `target`.
    ///
    /// # Errors
    /// What binding it gives.
    pub fn over_columns(&self, sql: &str, table: &Arc<Table>, target: Option<(&str, ColumnType)>) -> Result<Expr> {
        bind_scalar(sql, &self.context, Some(table), target, ScalarUse::Index)
    }
}

fn is_volatile(expr: &Expr) -> bool {
    let mut volatile = false;
    expr.walk(&mut |e| {
        if let ExprKind::Call { function, .. } = &e.kind {
            volatile |= function.volatility == Volatility::Volatile;
        }
    });
    volatile
}

impl ExpressionBinder for ScalarBinder {
    fn bind_default(&self, snapshot: &Snapshot, column: &str, ty: ColumnType, expression: &AstExpr) -> Result<()> {
        let context = self.in_catalog(snapshot);
        let source = context.source.clone();
        bind_scalar_ast(expression, source, &context, None, Some((column, ty)), ScalarUse::Default).map(|_| ())
    }

    fn bind_check(&self, snapshot: &Snapshot, table: &Table, expression: &AstExpr) -> Result<()> {
        let context = self.in_catalog(snapshot);
        let source = context.source.clone();
        let table = Arc::new(table.clone());
        bind_scalar_ast(expression, source, &context, Some(&table), None, ScalarUse::Check).map(|_| ())
    }

    fn bind_using(
        &self,
        snapshot: &Snapshot,
        table: &Table,
        column: &str,
        ty: ColumnType,
        expression: Option<&AstExpr>,
    ) -> Result<()> {
        let context = self.in_catalog(snapshot);
        let source = context.source.clone();
        let shared = Arc::new(table.clone());
        let own;
        let ast = match expression {
            Some(ast) => ast,
            None => {
                own = AstExpr::Identifier(ast::Ident::with_quote('"', column));
                &own
            }
        };
        bind_scalar_ast(ast, source, &context, Some(&shared), Some((column, ty)), ScalarUse::Index).map(|_| ()).map_err(
            |error| {
                if expression.is_some() || error.kind() != ErrorKind::DatatypeMismatch {
                    return error;
                }
                Error::new(
                    ErrorKind::DatatypeMismatch,
                    format!("column \"{column}\" cannot be cast automatically to type {}", ty.ty),
                )
                .with_hint(format!("You might need to specify \"USING {column}::{ty}\"."))
            },
        )
    }

    fn evaluate_default(&self, snapshot: &Snapshot, ty: ColumnType, expression: &AstExpr) -> Result<DefaultValue> {
        let context = self.in_catalog(snapshot);
        let source = context.source.clone();
        let bound = bind_scalar_ast(expression, source, &context, None, Some(("?column?", ty)), ScalarUse::Default)?;
        if is_volatile(&bound) {
            return Ok(DefaultValue::PerRow);
        }
        let value = Program::compile(&bound, &Layout::default())?.run(&[], &[], &self.eval)?;
        if value.is_null() {
            return Ok(DefaultValue::Constant(None));
        }
        let mut field = Vec::new();
        stratos_types::row::encode_field(ty.ty, &value, &mut field)?;
        Ok(DefaultValue::Constant(Some(field)))
    }

    fn query_columns(&self, snapshot: &Snapshot, query: &ast::Query) -> Result<Vec<(String, ColumnType)>> {
        let context = self.in_catalog(snapshot);
        let bound = bind(&Statement::Query(Box::new(query.clone())), &context, &[])?;
        Ok(bound.output.into_iter().map(|c| (c.name, c.ty)).collect())
    }
}
