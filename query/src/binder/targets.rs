//! Select lists: `*`, aliases, and the names that columns get when nobody names them (`FigureColname` of Postgres).

use sqlparser::ast::{self, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions};
use sqlparser::tokenizer::Span;
use stratos_types::{Error, ErrorKind, Result};

use super::Binder;
use super::composite::bare_row;
use super::rewrite::STAR_MARKER;
use super::scope::{Place, ScopeColumn, fold_ident, name_parts, name_span};
use super::types::column_type;
use crate::ir::{Expr, ExprKind};

/// One column of a select list.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub name: String,
    pub expr: Expr,
    pub origin: Option<(u32, i16)>,
    pub span: Span,
}

/// Columns of a result; Postgres's `MaxTupleAttributeNumber`.
const TARGETS_MAX: usize = 1664;

impl Binder<'_> {
    /// The columns of a select list.
    ///
    /// # Errors
    /// 54011 for too many, and those of their expressions.
    pub(crate) fn targets(&mut self, items: &[SelectItem]) -> Result<Vec<Target>> {
        let targets = self.all_targets(items)?;
        if targets.len() > TARGETS_MAX {
            let message = format!("target lists can have at most {TARGETS_MAX} entries");
            return Err(Error::new(ErrorKind::TooManyColumns, message));
        }
        Ok(targets)
    }

    fn all_targets(&mut self, items: &[SelectItem]) -> Result<Vec<Target>> {
        let mut targets = Vec::with_capacity(items.len());
        for item in items {
            match item {
                SelectItem::UnnamedExpr(ast::Expr::CompoundFieldAccess { root, access_chain })
                    if matches!(access_chain.last(), Some(ast::AccessExpr::Dot(ast::Expr::Identifier(field)))
                        if field.value == STAR_MARKER) =>
                {
                    let span = root.place();
                    let value = self.access(root, &access_chain[..access_chain.len() - 1])?;
                    for (name, field) in self.fields(value, span)? {
                        targets.push(self.target(name, field, span));
                    }
                }
                SelectItem::UnnamedExpr(e) => {
                    let expr = self.expr(e)?;
                    targets.push(self.target(column_name(e), expr, e.place()));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    if alias.quote_style == Some('\'') {
                        let error = Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{alias}\""));
                        return Err(match self.cx.source.symbol_after(expr.place(), &alias.to_string()) {
                            Some(place) => error.at(place),
                            None => error,
                        });
                    }
                    let bound = self.expr(expr)?;
                    targets.push(self.target(fold_ident(alias), bound, expr.place()));
                }
                SelectItem::ExprWithAliases { expr: _, aliases: _ } => {
                    return Err(Error::unsupported("several aliases of one expression"));
                }
                SelectItem::Wildcard(options) => {
                    let span = wildcard(options)?;
                    let star = self.levels.last().map(|l| l.scope.star.clone()).unwrap_or_default();
                    let none = self.levels.last().is_none_or(|l| l.scope.tables.is_empty());
                    if none {
                        return Err(self.at(
                            Error::new(ErrorKind::SyntaxError, "SELECT * with no tables specified is not valid"),
                            span,
                        ));
                    }
                    self.star(star, span, &mut targets);
                }
                SelectItem::QualifiedWildcard(kind, options) => {
                    wildcard(options)?;
                    let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
                        return Err(Error::unsupported("* of a composite value"));
                    };
                    let span = name_span(name);
                    let table = self.find_table(&name_parts(name)?, span)?;
                    self.star(table.columns, span, &mut targets);
                }
            }
        }
        Ok(targets)
    }

    fn star(&mut self, columns: Vec<ScopeColumn>, span: Span, targets: &mut Vec<Target>) {
        for column in columns {
            self.note_reference(&column.expr, span);
            targets.push(Target { name: column.name, expr: column.expr, origin: column.origin, span });
        }
    }

    fn target(&self, name: String, expr: Expr, span: Span) -> Target {
        let bare = matches!(expr.kind, ExprKind::Case { .. }).then(|| bare_row(expr.clone()));
        let origin = match bare.as_ref().unwrap_or(&expr).kind {
            ExprKind::Column(id) => self
                .levels
                .iter()
                .rev()
                .flat_map(|l| &l.scope.tables)
                .flat_map(|t| &t.columns)
                .find(|c| matches!(c.expr.kind, ExprKind::Column(other) if other == id))
                .and_then(|c| c.origin),
            // A whole row of a table has the table's own type, and is its column 0.
            ExprKind::Row(ref fields, Some(_)) => self
                .levels
                .iter()
                .rev()
                .flat_map(|l| &l.scope.tables)
                .find(|t| t.columns.len() == fields.len() && t.columns.iter().zip(fields).all(|(c, f)| c.expr.same(f)))
                .and_then(|t| Some((t.table.as_ref()?.oid, 0))),
            _ => None,
        };
        Target { name, expr, origin, span }
    }
}

fn wildcard(options: &WildcardAdditionalOptions) -> Result<Span> {
    let WildcardAdditionalOptions {
        wildcard_token,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    if opt_ilike.is_some()
        || opt_exclude.is_some()
        || opt_except.is_some()
        || opt_replace.is_some()
        || opt_rename.is_some()
        || opt_alias.is_some()
    {
        return Err(Error::unsupported("option of *"));
    }
    Ok(wildcard_token.0.span)
}

/// The name of an unnamed column.
pub(crate) fn column_name(e: &ast::Expr) -> String {
    named(e).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// A name with its strength: a weak one (`false`, of a type or CASE) gives way to a better one.
fn named(e: &ast::Expr) -> Option<(String, bool)> {
    use ast::Expr as E;
    let strong = |s: &str| Some((s.to_owned(), true));
    match e {
        E::Identifier(ident) => Some((fold_ident(ident), true)),
        E::QualifiedWildcard(name, _) => Some((name_parts(name).ok()?.pop()?, true)),
        E::CompoundIdentifier(idents) => idents.iter().rfind(|i| i.value != STAR_MARKER).map(|i| (fold_ident(i), true)),
        E::CompoundFieldAccess { root, access_chain } => access_chain
            .iter()
            .rev()
            .find_map(|a| match a {
                ast::AccessExpr::Dot(E::Identifier(ident)) => Some((fold_ident(ident), true)),
                _ => None,
            })
            .or_else(|| named(root)),
        E::Nested(inner) | E::Collate { expr: inner, collation: _ } => named(inner),
        E::Cast { expr, data_type, .. } => match named(expr) {
            Some((name, true)) => Some((name, true)),
            _ => Some((type_name(data_type), false)),
        },
        E::TypedString(s) => Some((type_name(&s.data_type), false)),
        E::Interval(_) => Some(("interval".into(), false)),
        E::Function(f) => {
            let name = name_parts(&f.name).ok()?.pop()?;
            Some((name, true))
        }
        E::Case { else_result, .. } => match else_result.as_deref().and_then(named) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".into(), false)),
        },
        E::Exists { negated: false, .. } => strong("exists"),
        E::Array(_) => strong("array"),
        E::Tuple(_) => strong("row"),
        E::BinaryOp { op: ast::BinaryOperator::Overlaps, .. } => strong("overlaps"),
        E::Subquery(query) => subquery_name(&query.body),
        E::IsNormalized { negated: false, .. } => strong("is_normalized"),
        E::Extract { .. } => strong("extract"),
        E::Ceil { .. } => strong("ceil"),
        E::Floor { .. } => strong("floor"),
        E::Position { .. } => strong("position"),
        E::Substring { shorthand: true, .. } => strong("substr"),
        E::Substring { .. } => strong("substring"),
        E::Overlay { .. } => strong("overlay"),
        E::AtTimeZone { .. } => strong("timezone"),
        E::Trim { trim_where, .. } => strong(match trim_where {
            None | Some(ast::TrimWhereField::Both) => "btrim",
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
        }),
        _ => None,
    }
}

fn subquery_name(body: &ast::SetExpr) -> Option<(String, bool)> {
    match body {
        ast::SetExpr::Select(select) => match select.projection.first()? {
            SelectItem::UnnamedExpr(e) => named(e),
            SelectItem::ExprWithAlias { alias, .. } => Some((fold_ident(alias), true)),
            SelectItem::Wildcard(_) => match select.from.as_slice() {
                [ast::TableWithJoins { relation: ast::TableFactor::Derived { subquery, .. }, joins }]
                    if joins.is_empty() =>
                {
                    subquery_name(&subquery.body)
                }
                _ => None,
            },
            _ => None,
        },
        ast::SetExpr::Query(q) => subquery_name(&q.body),
        ast::SetExpr::SetOperation { left, .. } => subquery_name(left),
        ast::SetExpr::Values(_) => Some(("column1".into(), true)),
        _ => None,
    }
}

fn type_name(ty: &ast::DataType) -> String {
    match column_type(ty) {
        Ok(t) => t.ty.element().filter(|_| t.ty.name().starts_with('_')).unwrap_or(t.ty).name(),
        Err(_) => ty.to_string().to_lowercase(),
    }
}
