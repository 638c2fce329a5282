//! Expressions of descriptors (DEFAULT, CHECK, USING) and constants of utility statements: bound, and evaluated where they
//! have to be.
//!
//! A stored expression is bound anew at each use, by whoever uses it. What a string constant of a time type means depends
//! on settings and may name the moment (`'today'`); Postgres reads it once, when the definition is made. So the binder
//! notes what becomes of an expression's strings ([`Strings`]), and the definition keeps their values.

use std::sync::Arc;

use sqlparser::ast::{self, Expr as AstExpr, Statement};
use sqlparser::tokenizer::Span;
use stratos_types::{ColumnType, Datum, Error, ErrorKind, FormatOptions, PgType, Result, TypeCategory};

use super::{BindContext, Binder, ScalarUse, SourceText, bind, bind_scalar, bind_scalar_ast, scalar};
use crate::catalog::{Column, Snapshot, Table};
use crate::ddl::{Constant, DefaultValue, ExpressionBinder};
use crate::eval::{Layout, Program};
use crate::ir::Expr;
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

/// Evaluates the parameter of EXECUTE with this number, which starts with 1.
///
/// # Errors
/// What binding or evaluating it gives, with places in the context's text.
pub fn eval_parameter(
    expr: &AstExpr,
    number: usize,
    ty: ColumnType,
    context: &BindContext,
    eval: &EvalContext,
) -> Result<Datum> {
    let (source, used) = (context.source.clone(), ScalarUse::Parameter(number));
    let bound = bind_scalar_ast(expr, source, context, None, Some(("?column?", ty)), used)?;
    Program::compile(&bound, &Layout::default())?.run(&[], &[], eval)
}

/// String constants of an expression in the order in which they were met: where each stands, and the type that it turned out
/// to have. A constant of type `unknown` carries its number here as its type's modifier, which nothing else uses.
#[derive(Debug, Default)]
pub(super) struct Strings(Vec<(Span, String, Option<ColumnType>)>);

impl Binder<'_> {
    /// The type of a string constant that nothing decided yet.
    pub(super) fn string_type(&mut self, value: &ast::Value, span: Span) -> ColumnType {
        let mut ty = ColumnType::from(PgType::Unknown);
        if let (Some(strings), Some(text)) = (&mut self.strings, string_of(value)) {
            ty.typmod = i32::try_from(strings.0.len()).unwrap_or(-1);
            strings.0.push((span, text.to_owned(), None));
        }
        ty
    }

    /// A string constant is of type `to`.
    pub(super) fn string_is(&mut self, unknown: ColumnType, to: ColumnType) {
        if let (Some(strings), Ok(number)) = (&mut self.strings, usize::try_from(unknown.typmod))
            && let Some((_, _, ty)) = strings.0.get_mut(number)
        {
            *ty = Some(to);
        }
    }
}

/// The text of a string constant.
pub(crate) fn string_of(value: &ast::Value) -> Option<&str> {
    match value {
        ast::Value::SingleQuotedString(text)
        | ast::Value::EscapedStringLiteral(text)
        | ast::Value::NationalStringLiteral(text) => Some(text),
        ast::Value::DollarQuotedString(quoted) => Some(&quoted.value),
        _ => None,
    }
}

/// Whether what a text of that type means depends on settings or on the clock.
fn is_time(ty: PgType) -> bool {
    let scalar = ty.element().unwrap_or(ty);
    matches!(scalar.category(), TypeCategory::DateTime | TypeCategory::Timespan)
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

    /// Binds an expression that is to be stored. Gives the values of its constants of time types.
    fn constants(
        &self,
        snapshot: &Snapshot,
        expression: &AstExpr,
        table: Option<&Arc<Table>>,
        target: Option<(&str, ColumnType)>,
        used: ScalarUse,
    ) -> Result<Vec<Constant>> {
        let context = self.in_catalog(snapshot);
        let mut binder = Binder::new(&context);
        binder.strings = Some(Strings::default());
        scalar(&mut binder, expression, table, target, used)?;
        let mut constants = Vec::new();
        for (span, text, ty) in binder.strings.take().unwrap_or_default().0 {
            let Some(ty) = ty.filter(|ty| is_time(ty.ty)) else { continue };
            // The precision is a cast of its own, behind the constant; only that of an interval is the constant's.
            let ty = if ty.ty == PgType::Interval { ty } else { ty.ty.into() };
            let read = binder.cast(Expr::literal(Datum::text(text.as_str()), PgType::Unknown), ty, span)?;
            let value = Program::compile(&read, &Layout::default())?.run(&[], &[], &self.eval)?;
            constants.push(Constant { span, text, ty, value: value.to_text(ty.ty, &FormatOptions::default()) });
        }
        Ok(constants)
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

    /// Which rows of a table a COPY takes.
    ///
    /// # Errors
    /// What binding it gives.
    pub fn copy_condition(&self, condition: &AstExpr, source: Arc<SourceText>, table: &Arc<Table>) -> Result<Expr> {
        bind_scalar_ast(condition, source, &self.context, Some(table), None, ScalarUse::CopyWhere)
    }

    /// An expression over a table's columns, whose identities are 0, 1, … in the table's order, cast to `target`.
    ///
    /// # Errors
    /// What binding it gives.
    pub fn over_columns(&self, sql: &str, table: &Arc<Table>, target: Option<(&str, ColumnType)>) -> Result<Expr> {
        bind_scalar(sql, &self.context, Some(table), target, ScalarUse::Index)
    }
}

impl ExpressionBinder for ScalarBinder {
    fn bind_default(
        &self,
        snapshot: &Snapshot,
        column: &str,
        ty: ColumnType,
        expression: &AstExpr,
    ) -> Result<Vec<Constant>> {
        self.constants(snapshot, expression, None, Some((column, ty)), ScalarUse::Default)
    }

    fn bind_check(&self, snapshot: &Snapshot, table: &Table, expression: &AstExpr) -> Result<Vec<Constant>> {
        self.constants(snapshot, expression, Some(&Arc::new(table.clone())), None, ScalarUse::Check)
    }

    fn bind_using(
        &self,
        snapshot: &Snapshot,
        table: &Table,
        column: &str,
        ty: ColumnType,
        expression: Option<&AstExpr>,
    ) -> Result<Vec<Constant>> {
        let shared = Arc::new(table.clone());
        let own;
        let ast = match expression {
            Some(ast) => ast,
            None => {
                own = AstExpr::Identifier(ast::Ident::with_quote('"', column));
                &own
            }
        };
        self.constants(snapshot, ast, Some(&shared), Some((column, ty)), ScalarUse::Index).map_err(|error| {
            if error.kind() != ErrorKind::DatatypeMismatch {
                return error;
            }
            let (subject, hint) = match expression {
                Some(_) => ("result of USING clause for column", "You might need to add an explicit cast.".to_owned()),
                None => ("column", format!("You might need to specify \"USING {column}::{ty}\".")),
            };
            let message = format!("{subject} \"{column}\" cannot be cast automatically to type {}", ty.ty);
            Error::new(ErrorKind::DatatypeMismatch, message).with_hint(hint)
        })
    }

    fn evaluate_default(&self, snapshot: &Snapshot, ty: ColumnType, expression: &AstExpr) -> Result<DefaultValue> {
        let context = self.in_catalog(snapshot);
        let source = context.source.clone();
        let bound = bind_scalar_ast(expression, source, &context, None, Some(("?column?", ty)), ScalarUse::Default)?;
        if bound.is_volatile() {
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
