//! Expressions inside descriptors: DEFAULT and CHECK.
//!
//! They are stored as SQL text in a form that reads the same whatever the search_path is, and are bound anew when used.
//! What can be said without types (which columns an expression mentions, that there is no subquery in it) is said here;
//! the rest is asked of the binder through [`ExpressionBinder`].

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, Value,
    visit_expressions, visit_expressions_mut,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Tokenizer};
use stratos_types::{ColumnType, Datum, Error, ErrorKind, FormatOptions, PgType, Result};

use super::{Ddl, fold};
use crate::binder::{column_type, string_of};
use crate::catalog::{Column, Relation, Snapshot, Table, quote_identifier};
use crate::dialect::StratosDialect;

/// What the binder does for DDL.
pub trait ExpressionBinder {
    /// Checks a DEFAULT expression: it can be assigned to a column of that type. Gives its constants of time types.
    ///
    /// # Errors
    /// 42804 `column "…" is of type … but default expression is of type …`, 22P02 for a constant that does not read, others
    /// of the binder's.
    fn bind_default(
        &self,
        snapshot: &Snapshot,
        column: &str,
        ty: ColumnType,
        expression: &Expr,
    ) -> Result<Vec<Constant>>;
    /// Checks a CHECK condition over a table's columns: it is boolean. Gives its constants of time types.
    ///
    /// # Errors
    /// 42804 `argument of CHECK must be type boolean, not type …`, others of the binder's.
    fn bind_check(&self, snapshot: &Snapshot, table: &Table, expression: &Expr) -> Result<Vec<Constant>>;
    /// Checks the expression of `ALTER COLUMN … TYPE … USING` over the table's columns as they were. Without `expression`,
    /// whether the column casts to the type by assignment. Gives its constants of time types.
    ///
    /// # Errors
    /// 42804 `column "…" cannot be cast automatically to type …` with Postgres's hint, others of the binder's.
    fn bind_using(
        &self,
        snapshot: &Snapshot,
        table: &Table,
        column: &str,
        ty: ColumnType,
        expression: Option<&Expr>,
    ) -> Result<Vec<Constant>>;
    /// The value that rows stored before get for a new column with this default.
    ///
    /// # Errors
    /// As the expression's evaluation.
    fn evaluate_default(&self, snapshot: &Snapshot, ty: ColumnType, expression: &Expr) -> Result<DefaultValue>;
    /// Names and types of a query's columns, for CREATE TABLE AS.
    ///
    /// # Errors
    /// The binder's.
    fn query_columns(&self, snapshot: &Snapshot, query: &ast::Query) -> Result<Vec<(String, ColumnType)>>;
}

/// A string constant of a time type: what it means is decided when the definition is made, by the settings and the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constant {
    /// Where it stands.
    pub span: Span,
    /// As written.
    pub text: String,
    /// The type that it turned out to have.
    pub ty: ColumnType,
    /// The value, as every session reads it.
    pub value: String,
}

/// See [`ExpressionBinder::evaluate_default`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefaultValue {
    /// The same for every row: a field in the stored form of rows, none for NULL.
    Constant(Option<Vec<u8>>),
    /// Volatile: every row its own, so that the table is rewritten.
    PerRow,
}

/// Knows nothing about types: accepts every expression and takes every default for volatile. For tests, and tools that
/// have no binder.
#[derive(Debug, Clone, Copy, Default)]
pub struct Syntactic;

impl ExpressionBinder for Syntactic {
    fn bind_default(&self, _: &Snapshot, _: &str, _: ColumnType, _: &Expr) -> Result<Vec<Constant>> {
        Ok(Vec::new())
    }

    fn bind_check(&self, _: &Snapshot, _: &Table, _: &Expr) -> Result<Vec<Constant>> {
        Ok(Vec::new())
    }

    fn bind_using(&self, _: &Snapshot, _: &Table, _: &str, _: ColumnType, _: Option<&Expr>) -> Result<Vec<Constant>> {
        Ok(Vec::new())
    }

    fn evaluate_default(&self, _: &Snapshot, _: ColumnType, _: &Expr) -> Result<DefaultValue> {
        Ok(DefaultValue::PerRow)
    }

    fn query_columns(&self, _: &Snapshot, _: &ast::Query) -> Result<Vec<(String, ColumnType)>> {
        Err(Error::unsupported("CREATE TABLE AS without a binder"))
    }
}

/// Depth to which stored expressions may nest; they were parsed once with the session's limit, so this only guards.
const EXPRESSION_DEPTH_MAX: usize = 200;

/// Parses a stored expression. Its parts stand nowhere: they are no places in a statement.
///
/// # Errors
/// XX001 when it does not parse: the catalog is damaged.
pub fn parse_expression(sql: &str) -> Result<Expr> {
    let damaged = |error: sqlparser::parser::ParserError| {
        Error::new(ErrorKind::DataCorrupted, format!("a stored expression does not parse: {error}"))
    };
    let tokens = Tokenizer::new(&StratosDialect::default(), sql).tokenize().map_err(|error| damaged(error.into()))?;
    let dialect = StratosDialect::for_tokens(tokens.len());
    let mut parser = Parser::new(&dialect).with_recursion_limit(EXPRESSION_DEPTH_MAX).with_tokens(tokens);
    parser.parse_expr().map_err(damaged)
}

/// Names that read as columns but are functions without parentheses.
const BARE_FUNCTIONS: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "user",
];

fn is_bare_function(ident: &Ident) -> bool {
    ident.quote_style.is_none() && BARE_FUNCTIONS.contains(&ident.value.to_lowercase().as_str())
}

fn subquery_in(expression: &Expr) -> bool {
    visit_expressions(expression, |e| match e {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// A column that an expression names, if it is one.
fn column_of(expression: &Expr) -> Option<(Option<&Ident>, &Ident)> {
    match expression {
        Expr::Identifier(ident) if !is_bare_function(ident) => Some((None, ident)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, column] => Some((Some(table), column)),
            [_, table, column] => Some((Some(table), column)),
            _ => None,
        },
        _ => None,
    }
}

/// Attribute numbers of the columns that an expression mentions, in the order in which they first occur.
///
/// # Errors
/// 42703 for one that the table has not, 42P01 for one of another table.
pub fn mentioned_columns(
    table: &str,
    columns: &[Column],
    expression: &Expr,
) -> Result<Vec<i16>, (Error, Option<Ident>)> {
    let mut found: Vec<i16> = Vec::new();
    let stopped = visit_expressions(expression, |e| {
        let Some((qualifier, ident)) = column_of(e) else {
            return ControlFlow::Continue(());
        };
        if let Some(qualifier) = qualifier
            && fold(qualifier) != table
        {
            let error = Error::new(
                ErrorKind::UndefinedTable,
                format!("missing FROM-clause entry for table \"{}\"", fold(qualifier)),
            );
            return ControlFlow::Break((error, qualifier.clone()));
        }
        let name = fold(ident);
        match columns.iter().find(|c| c.name == name) {
            Some(column) => {
                if !found.contains(&column.attnum) {
                    found.push(column.attnum);
                }
                ControlFlow::Continue(())
            }
            None => {
                let error = Error::new(ErrorKind::UndefinedColumn, format!("column \"{name}\" does not exist"));
                ControlFlow::Break((error, ident.clone()))
            }
        }
    });
    match stopped {
        ControlFlow::Break((error, ident)) => Err((error, Some(ident))),
        ControlFlow::Continue(()) => Ok(found),
    }
}

fn plain_ident(name: &str) -> Ident {
    let quoted = quote_identifier(name);
    if quoted == name { Ident::new(name) } else { Ident::with_quote('"', name) }
}

/// Folds names, so that the printed text reads the same wherever it is parsed again, and drops qualifiers of columns.
fn normalize(expression: &mut Expr) {
    let _: ControlFlow<()> = visit_expressions_mut(expression, |e| {
        match e {
            Expr::Identifier(ident) if is_bare_function(ident) => {}
            Expr::Identifier(ident) => *ident = plain_ident(&fold(ident)),
            Expr::CompoundIdentifier(parts) => {
                if let Some(last) = parts.last() {
                    *e = Expr::Identifier(plain_ident(&fold(last)));
                }
            }
            Expr::Function(function) => {
                for part in &mut function.name.0 {
                    if let ObjectNamePart::Identifier(ident) = part
                        && !is_bare_function(ident)
                    {
                        *ident = plain_ident(&fold(ident));
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
}

/// Puts values in the places of constants of time types, each with its type, whose name is that which Postgres prints.
pub(super) fn freeze(expression: &mut Expr, constants: &[Constant]) {
    let typed = |constant: &Constant| {
        let data_type = DataType::Custom(ast::ObjectName::from(vec![Ident::new(constant.ty.to_string())]), Vec::new());
        (typed_literal(&constant.value, data_type), constant.ty)
    };
    let find = |value: &ast::ValueWithSpan| {
        let text = string_of(&value.value)?;
        constants.iter().find(|constant| constant.span == value.span && constant.text == text)
    };
    // The values that were put in by now; expressions are visited after what is in them.
    let mut put: Vec<(Expr, ColumnType)> = Vec::new();
    let _: ControlFlow<()> = visit_expressions_mut(expression, |e| {
        let frozen = match e {
            Expr::Value(value) => find(value).map(typed),
            Expr::TypedString(ast::TypedString { value, data_type, .. }) => find(value).map(|constant| {
                let (value, ty) = typed(constant);
                match column_type(data_type) {
                    Ok(written) if written != ty && ty.ty != PgType::Interval => (cast_to(value, data_type), written),
                    _ => (value, ty),
                }
            }),
            // The type that was written around the constant is the value's own.
            Expr::Cast { expr, data_type, .. } => put
                .iter()
                .find(|(value, ty)| {
                    value == expr.as_ref() && column_type(data_type).is_ok_and(|written| written == *ty)
                })
                .cloned(),
            Expr::Interval(interval) => put.iter().find(|(value, _)| *value == *interval.value).cloned(),
            _ => None,
        };
        if let Some((mut value, ty)) = frozen {
            // The modifier that is written around an interval is carried out, and not printed.
            if ty.ty == PgType::Interval
                && !matches!(e, Expr::Value(_))
                && let Expr::Cast { data_type, .. } = &mut value
            {
                *data_type = DataType::Custom(ast::ObjectName::from(vec![Ident::new("interval")]), Vec::new());
            }
            *e = value.clone();
            if !put.contains(&(value, ty)) {
                put.push((e.clone(), ty));
            }
        }
        ControlFlow::Continue(())
    });
}

/// The text to store: types print in lower case, as Postgres prints them.
pub(crate) fn stored_text(expression: &mut Expr) -> String {
    let _: ControlFlow<()> = visit_expressions_mut(expression, |e| {
        if let Expr::Cast { data_type, .. } = e
            && *data_type == DataType::Regclass
        {
            *data_type = regclass();
        }
        ControlFlow::Continue(())
    });
    expression.to_string()
}

/// The type's name as an identifier, because sqlparser prints its own form in capitals.
fn regclass() -> DataType {
    DataType::Custom(ast::ObjectName::from(vec![Ident::new("regclass")]), Vec::new())
}

/// Gives columns of a stored expression new names.
///
/// # Errors
/// XX001 when the text does not parse.
pub fn rename_columns_in(sql: &str, old: &str, new: &str) -> Result<String> {
    let mut expression = parse_expression(sql)?;
    let _: ControlFlow<()> = visit_expressions_mut(&mut expression, |e| {
        if let Expr::Identifier(ident) = e
            && !is_bare_function(ident)
            && fold(ident) == old
        {
            *ident = plain_ident(new);
        }
        ControlFlow::Continue(())
    });
    Ok(stored_text(&mut expression))
}

/// The string inside `'…'` or `'…'::regclass`.
pub(crate) fn regclass_literal(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        Expr::Cast { expr, data_type: DataType::Regclass, .. } => regclass_literal(expr),
        Expr::Nested(inner) => regclass_literal(inner),
        _ => None,
    }
}

fn string_literal(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

/// `'text'::data_type`
fn typed_literal(text: &str, data_type: DataType) -> Expr {
    cast_to(string_literal(text), &data_type)
}

fn cast_to(expr: Expr, data_type: &DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(expr),
        data_type: data_type.clone(),
        array: false,
        format: None,
    }
}

/// Puts values in the places of a query's parameters.
pub(crate) fn put_values(query: &mut ast::Query, types: &[PgType], values: &[Datum]) {
    let format = FormatOptions::default();
    let _: ControlFlow<()> = visit_expressions_mut(query, |e| {
        let Expr::Value(value) = &*e else { return ControlFlow::Continue(()) };
        let Value::Placeholder(name) = &value.value else { return ControlFlow::Continue(()) };
        let at = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()).and_then(|n| n.checked_sub(1));
        if let Some((ty, datum)) = at.and_then(|at| types.get(at).zip(values.get(at))) {
            let data_type = DataType::Custom(ast::ObjectName::from(vec![Ident::new(ty.sql_name())]), Vec::new());
            let mut text = String::new();
            datum.write_text(*ty, &format, &mut text);
            let mut literal = typed_literal(&text, data_type);
            if let Expr::Cast { expr, .. } = &mut literal
                && datum.is_null()
            {
                **expr = Expr::Value(Value::Null.into());
            }
            *e = Expr::Nested(Box::new(literal));
        }
        ControlFlow::Continue(())
    });
}

/// The argument of `nextval('…')`, `currval('…')`, `setval('…', …)`.
fn sequence_argument(expression: &mut Expr) -> Option<&mut Expr> {
    let Expr::Function(function) = expression else {
        return None;
    };
    let name = function.name.0.last()?.as_ident().map(fold)?;
    if !matches!(name.as_str(), "nextval" | "currval" | "setval") {
        return None;
    }
    let FunctionArguments::List(list) = &mut function.args else {
        return None;
    };
    match list.args.first_mut()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument),
        _ => None,
    }
}

/// Reads a possibly qualified and quoted name out of a string, as regclass input does.
pub(crate) fn name_in_string(text: &str) -> Option<(Option<String>, String)> {
    let dialect = StratosDialect::default();
    let mut parser = Parser::new(&dialect).try_with_sql(text).ok()?;
    let name = parser.parse_object_name(false).ok()?;
    let (schema, relation) = super::split_name(&name).ok()?;
    Some((schema.map(|s| s.name), relation))
}

/// A relation's name with its schema, quoted as needed.
pub(crate) fn qualified(snapshot: &Snapshot, relation: &Relation) -> String {
    format!(
        "{}.{}",
        quote_identifier(snapshot.schema_name(relation.schema()).unwrap_or_default()),
        quote_identifier(relation.name())
    )
}

/// Rewrites every sequence name in an expression through `change`: given what the name resolves to, the new name or none
/// to leave it. Tells whether anything changed.
pub(crate) fn map_sequences(
    expression: &mut Expr,
    snapshot: &Snapshot,
    path: &[String],
    change: &mut dyn FnMut(&Relation) -> Option<String>,
) -> bool {
    let mut changed = false;
    let _: ControlFlow<()> = visit_expressions_mut(expression, |e| {
        if let Some(argument) = sequence_argument(e)
            && let Some(text) = regclass_literal(argument)
            && let Some((schema, name)) = name_in_string(text)
            && let Some(relation) = snapshot.find_relation(schema.as_deref(), &name, path)
            && let Some(new_name) = change(&relation)
        {
            *argument = typed_literal(&new_name, DataType::Regclass);
            changed = true;
        }
        ControlFlow::Continue(())
    });
    changed
}

/// OIDs of the sequences that a stored expression names.
pub(crate) fn sequences_in(sql: &str, snapshot: &Snapshot) -> Vec<u32> {
    let mut found = Vec::new();
    // An expression that does not parse names no sequence that could be found; using it gives the error.
    if let Ok(mut expression) = parse_expression(sql) {
        map_sequences(&mut expression, snapshot, &[], &mut |relation| {
            if let Relation::Sequence(sequence) = relation {
                found.push(sequence.oid);
            }
            None
        });
    }
    found
}

impl Ddl<'_, '_> {
    /// Checks a DEFAULT expression and gives its stored text; none when it is just NULL, which needs no default.
    pub fn default_text(&self, column: &str, ty: ColumnType, expression: &Expr) -> Result<Option<String>> {
        if is_null_literal(expression) {
            return Ok(None);
        }
        if subquery_in(expression) {
            return Err(Error::new(ErrorKind::FeatureNotSupported, "cannot use subquery in DEFAULT expression"));
        }
        let column_reference = visit_expressions(expression, |e| match column_of(e) {
            Some((_, ident)) => ControlFlow::Break(ident.clone()),
            None => ControlFlow::Continue(()),
        });
        if let ControlFlow::Break(ident) = column_reference {
            let error = Error::new(ErrorKind::FeatureNotSupported, "cannot use column reference in DEFAULT expression");
            return Err(self.at(error, &ident));
        }
        let constants = self.context.binder.bind_default(self.snapshot(), column, ty, expression)?;
        let mut stored = expression.clone();
        freeze(&mut stored, &constants);
        normalize(&mut stored);
        let snapshot = self.snapshot();
        map_sequences(&mut stored, snapshot, self.context.search_path, &mut |r| Some(qualified(snapshot, r)));
        // A bare string takes the column's type, as Postgres prints it.
        if let Expr::Value(value) = &stored
            && let Value::SingleQuotedString(text) = &value.value
        {
            return Ok(Some(format!("{}::{}", crate::catalog::quote_literal(text), bare_type_name(ty))));
        }
        Ok(Some(stored_text(&mut stored)))
    }

    /// Checks a CHECK condition over a table's columns; gives its stored text and the columns that it mentions.
    pub fn check_text(&self, table: &Table, expression: &Expr) -> Result<(String, Vec<i16>)> {
        if subquery_in(expression) {
            return Err(Error::new(ErrorKind::FeatureNotSupported, "cannot use subquery in check constraint"));
        }
        let columns =
            mentioned_columns(&table.name, &table.columns, expression).map_err(|(error, ident)| match ident {
                Some(ident) => self.at(error, &ident),
                None => error,
            })?;
        let mut stored = expression.clone();
        normalize(&mut stored);
        let constants = self.context.binder.bind_check(self.snapshot(), table, expression)?;
        freeze(&mut stored, &constants);
        Ok((stored_text(&mut stored), columns))
    }
}

/// A type as Postgres prints it behind a constant: without modifier, and `bpchar` for `character`.
pub(crate) fn bare_type_name(ty: ColumnType) -> String {
    match ty.ty {
        PgType::Bpchar => "bpchar".into(),
        other => other.sql_name(),
    }
}

fn is_null_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => matches!(value.value, Value::Null),
        Expr::Nested(inner) => is_null_literal(inner),
        Expr::Cast { expr, .. } => is_null_literal(expr),
        _ => false,
    }
}
