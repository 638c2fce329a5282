//! Name spaces: what FROM brings into sight, and looking columns up in it.

use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use sqlparser::tokenizer::Span;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::composite::row_or_null;
use super::rewrite::STAR_MARKER;
use super::{Binder, Reference};
use crate::catalog::Table;
use crate::ir::{ColumnId, Expr, ExprKind};

/// Longest identifier, bytes; longer ones are cut_name, as Postgres does.
pub(super) const MAX_IDENT_BYTES: usize = 63;

/// An identifier as it counts: folded to lower case unless quoted, cut to 63 bytes.
pub fn fold_ident(ident: &Ident) -> String {
    let mut name = folded(&ident.value, ident.quote_style);
    name.truncate(cut_name(&name).len());
    name
}

/// An identifier in lower case, unless it is quoted.
pub(super) fn folded(name: &str, quote: Option<char>) -> String {
    if quote.is_some() { name.to_owned() } else { name.to_ascii_lowercase() }
}

/// As much of a name as counts.
pub(crate) fn cut_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_IDENT_BYTES)]
}

/// The identifiers of a dotted name, folded.
///
/// # Errors
/// 0A000 for computed names.
pub fn name_parts(name: &ObjectName) -> Result<Vec<String>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(fold_ident(ident)),
            ObjectNamePart::Function(_) => Err(Error::unsupported("computed name")),
        })
        .collect()
}

/// Where a dotted name stands.
pub(crate) fn name_span(name: &ObjectName) -> Span {
    match name.0.first() {
        Some(ObjectNamePart::Identifier(ident)) => ident.span,
        _ => Span::empty(),
    }
}

/// Where an expression begins. As `Spanned::span`, without its recursion down the chains of operators, which may be long.
pub(crate) trait Place {
    /// Where it begins.
    fn place(&self) -> Span;
}

impl Place for sqlparser::ast::Expr {
    fn place(&self) -> Span {
        let mut e = self;
        while let sqlparser::ast::Expr::BinaryOp { left, op: _, right: _ } = e {
            e = left;
        }
        sqlparser::ast::Spanned::span(e)
    }
}

/// A column in sight.
#[derive(Debug, Clone)]
pub(crate) struct ScopeColumn {
    pub name: String,
    /// What the name stands for: a column, or the merge of two by USING.
    pub expr: Expr,
    pub origin: Option<(u32, i16)>,
}

/// A table, subquery or function in FROM.
#[derive(Debug, Clone)]
pub(crate) struct ScopeTable {
    pub name: String,
    /// Schema, where the table goes by its own name: `schema.table.column` is then possible.
    pub schema: Option<String>,
    pub columns: Vec<ScopeColumn>,
    /// The base table, for functional dependency and `tableoid`.
    pub table: Option<Arc<Table>>,
    /// OID of the system table, for `tableoid`.
    pub system: Option<u32>,
    /// A function's values, which its name stands for: not rows of one column.
    pub scalar: bool,
    /// An outer join may have found no row of it.
    pub missing: bool,
    /// In sight, but not to be referred to from here (a sibling of a subquery that is not LATERAL).
    pub out_of_reach: bool,
}

impl ScopeTable {
    /// What is no table of the catalog.
    pub fn of_columns(name: String, columns: Vec<ScopeColumn>) -> ScopeTable {
        ScopeTable {
            name,
            schema: None,
            columns,
            table: None,
            system: None,
            scalar: false,
            missing: false,
            out_of_reach: false,
        }
    }
}

/// What FROM brings into sight.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub tables: Vec<ScopeTable>,
    /// Columns without qualification, in the order of `*`.
    pub star: Vec<ScopeColumn>,
}

impl Scope {
    pub fn of(table: ScopeTable) -> Scope {
        Scope { star: table.columns.clone(), tables: vec![table] }
    }

    pub fn append(&mut self, other: Scope) {
        self.tables.extend(other.tables);
        self.star.extend(other.star);
    }
}

const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];

impl Binder<'_> {
    /// `column`.
    pub(crate) fn column_named(&mut self, ident: &Ident) -> Result<Expr> {
        let name = fold_ident(ident);
        let span = ident.span;
        if let Some(found) = self.find_unqualified(&name, span)? {
            return Ok(found);
        }
        // A table's name stands for its whole row.
        for level in (0..self.levels.len()).rev() {
            let found = self.levels[level].scope.tables.iter().find(|t| t.name == name && !t.out_of_reach).cloned();
            if let Some(table) = found {
                return self.whole_row(&table, span);
            }
        }
        Err(self.at(self.undefined_column(&name, None), span))
    }

    /// `t.*` as a value: the row as a whole.
    pub(crate) fn row_of(&mut self, name: &ObjectName) -> Result<Expr> {
        let table = self.find_table(&name_parts(name)?, name_span(name))?;
        self.whole_row(&table, name_span(name))
    }

    pub(crate) fn whole_row(&mut self, table: &ScopeTable, span: Span) -> Result<Expr> {
        let fields: Vec<Expr> = table.columns.iter().map(|c| c.expr.clone()).collect();
        for field in &fields {
            self.note_reference(field, span);
        }
        if let (true, [value]) = (table.scalar, fields.as_slice()) {
            return Ok(value.clone());
        }
        let names = table.columns.iter().map(|c| Arc::from(c.name.as_str())).collect();
        if table.missing && !fields.is_empty() {
            return Ok(row_or_null(fields, names));
        }
        Ok(Expr { kind: ExprKind::Row(fields, Some(names)), ty: PgType::Record.into() })
    }

    fn find_unqualified(&mut self, name: &str, span: Span) -> Result<Option<Expr>> {
        for level in (0..self.levels.len()).rev() {
            let scope = &self.levels[level].scope;
            let mut found = scope.star.iter().filter(|c| c.name == name);
            if let Some(first) = found.next() {
                if found.next().is_some() {
                    return Err(self.at(
                        Error::new(ErrorKind::AmbiguousColumn, format!("column reference \"{name}\" is ambiguous")),
                        span,
                    ));
                }
                let expr = first.expr.clone();
                self.note_reference(&expr, span);
                return Ok(Some(expr));
            }
            if SYSTEM_COLUMNS.contains(&name) {
                let mut having = scope.tables.iter().filter(|t| t.table.is_some() || t.system.is_some());
                if let Some(table) = having.next() {
                    if having.next().is_some() {
                        return Err(self.at(
                            Error::new(ErrorKind::AmbiguousColumn, format!("column reference \"{name}\" is ambiguous")),
                            span,
                        ));
                    }
                    return self.system_column(table, name, span);
                }
            }
        }
        Ok(None)
    }

    /// A column that tables have without having been given it.
    fn system_column(&self, table: &ScopeTable, name: &str, span: Span) -> Result<Option<Expr>> {
        let Some(oid) = table.table.as_ref().map(|base| base.oid).or(table.system) else { return Ok(None) };
        match name {
            "tableoid" => Ok(Some(Expr::literal(Datum::Oid(oid), PgType::Oid))),
            _ if SYSTEM_COLUMNS.contains(&name) => {
                Err(self.at(Error::unsupported(format!("system column \"{name}\"")), span))
            }
            _ => Ok(None),
        }
    }

    /// `table.column`, `schema.table.column`, `database.schema.table.column`.
    pub(crate) fn qualified_column(&mut self, idents: &[Ident]) -> Result<Expr> {
        let (Some((last, qualifier)), Some(first)) = (idents.split_last(), idents.first()) else {
            return Err(Error::internal("empty column name"));
        };
        let span = first.span;
        let column = fold_ident(last);
        let qualifier: Vec<String> = qualifier.iter().map(fold_ident).collect();
        let table = self.find_table(&qualifier, span)?;
        if last.value == STAR_MARKER {
            return self.whole_row(&table, span);
        }
        let mut found = table.columns.iter().filter(|c| c.name == column);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(self.at(
                Error::new(ErrorKind::AmbiguousColumn, format!("column reference \"{column}\" is ambiguous")),
                span,
            )),
            (Some(c), None) => {
                let expr = c.expr.clone();
                self.note_reference(&expr, span);
                Ok(expr)
            }
            (None, _) => {
                if let Some(found) = self.system_column(&table, &column, span)? {
                    return Ok(found);
                }
                Err(self.at(self.undefined_column(&column, Some(&table.name)), span))
            }
        }
    }

    /// The table of FROM that a qualifier means.
    pub(crate) fn find_table(&self, qualifier: &[String], span: Span) -> Result<ScopeTable> {
        let (schema, name) = match qualifier {
            [name] => (None, name),
            [schema, name] => (Some(schema), name),
            [database, schema, name] => {
                if *database != self.cx.database {
                    return Err(self.at(
                        Error::new(
                            ErrorKind::FeatureNotSupported,
                            format!("cross-database references are not implemented: {}", qualifier.join(".")),
                        ),
                        span,
                    ));
                }
                (Some(schema), name)
            }
            _ => {
                return Err(self.at(
                    Error::new(
                        ErrorKind::SyntaxError,
                        format!("improper qualified name (too many dotted names): {}", qualifier.join(".")),
                    ),
                    span,
                ));
            }
        };
        let mut unreachable = false;
        for level in self.levels.iter().rev() {
            let mut found = level
                .scope
                .tables
                .iter()
                .filter(|t| t.name == *name && schema.is_none_or(|s| t.schema.as_ref() == Some(s)));
            if let Some(table) = found.next() {
                if table.out_of_reach {
                    unreachable = true;
                    continue;
                }
                if found.next().is_some() {
                    return Err(self.at(
                        Error::new(ErrorKind::DuplicateAlias, format!("table reference \"{name}\" is ambiguous")),
                        span,
                    ));
                }
                return Ok(table.clone());
            }
        }
        if unreachable {
            return Err(self.at(
                Error::new(
                    ErrorKind::UndefinedTable,
                    format!("invalid reference to FROM-clause entry for table \"{name}\""),
                )
                .with_hint(format!(
                    "There is an entry for table \"{name}\", but it cannot be referenced from this part of the query."
                )),
                span,
            ));
        }
        // A table that goes by an alias here.
        let alias = self
            .levels
            .iter()
            .rev()
            .flat_map(|l| &l.scope.tables)
            .find(|t| t.schema.is_none() && t.table.as_ref().is_some_and(|b| b.name == *name))
            .map(|t| t.name.clone());
        let e = match alias {
            Some(alias) => Error::new(
                ErrorKind::UndefinedTable,
                format!("invalid reference to FROM-clause entry for table \"{name}\""),
            )
            .with_hint(format!("Perhaps you meant to reference the table alias \"{alias}\".")),
            None => Error::new(ErrorKind::UndefinedTable, format!("missing FROM-clause entry for table \"{name}\"")),
        };
        Err(self.at(e, span))
    }

    fn undefined_column(&self, column: &str, table: Option<&str>) -> Error {
        let message = match table {
            Some(t) => format!("column {t}.{column} does not exist"),
            None => format!("column \"{column}\" does not exist"),
        };
        let e = Error::new(ErrorKind::UndefinedColumn, message);
        let mut candidates: Vec<(usize, String)> = Vec::new();
        for level in self.levels.iter().rev() {
            for t in &level.scope.tables {
                if table.is_some_and(|name| name != t.name) {
                    continue;
                }
                for c in &t.columns {
                    if c.name == column {
                        if table.is_none() && t.out_of_reach {
                            return e.with_hint(format!(
                                "There is a column named \"{column}\" in table \"{}\", but it cannot be referenced from this part of the query.",
                                t.name
                            ));
                        }
                        continue;
                    }
                    candidates.push((distance(column, &c.name), format!("{}.{}", t.name, c.name)));
                }
            }
        }
        // Postgres's bounds (`MAX_FUZZY_DISTANCE`, and no more than half of the name wrong).
        let best = candidates.iter().map(|(d, _)| *d).min().unwrap_or(usize::MAX);
        if best > 3 || best > column.chars().count() / 2 {
            return e;
        }
        let names: Vec<&String> = candidates.iter().filter(|(d, _)| *d == best).map(|(_, n)| n).collect();
        match names.as_slice() {
            [one] => e.with_hint(format!("Perhaps you meant to reference the column \"{one}\".")),
            [a, b] => e.with_hint(format!("Perhaps you meant to reference the column \"{a}\" or the column \"{b}\".")),
            _ => e,
        }
    }

    /// Remembers where a column was mentioned, for errors that are found later (GROUP BY).
    pub(crate) fn note_reference(&mut self, expr: &Expr, span: Span) {
        let Some(position) = self.position(span) else {
            return;
        };
        let ids: Vec<ColumnId> = expr.columns();
        for (above, level) in self.levels.iter_mut().rev().enumerate().filter(|(_, level)| !level.in_aggregate) {
            let reference = |column: &ColumnId| Reference { column: *column, position, in_subquery: above > 0 };
            level.references.extend(ids.iter().map(reference));
        }
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut previous = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = previous + usize::from(ca != *cb);
            previous = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(previous + 1);
        }
    }
    row[b.len()]
}
