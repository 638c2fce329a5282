//! What is made of several values, and taken out of them: arrays, rows, subscripts and fields.

use sqlparser::ast::{self, AccessExpr, Subscript};
use sqlparser::tokenizer::Span;
use stratos_types::{CastContext, ColumnType, Datum, Error, ErrorKind, FieldNames, PgType, Result, cast_kind};

use super::Binder;
use super::scope::{Place, fold_ident};
use super::special::{all, is_null};
use crate::functions::RECORD_FIELD;
use crate::ir::{CaseBranch, ColumnId, Expr, ExprKind};

pub(crate) fn is_row(e: &ast::Expr) -> bool {
    match e {
        ast::Expr::Tuple(_) => true,
        ast::Expr::Nested(inner) => is_row(inner),
        ast::Expr::Function(f) => super::call::is_row_constructor(f),
        _ => false,
    }
}

/// A row that is NULL as a whole where all of its fields are: that of a table in a row to which an outer join found none of it.
pub(super) fn row_or_null(fields: Vec<Expr>, names: FieldNames) -> Expr {
    let when = all_null(&fields);
    let then = Expr::literal(Datum::Null, PgType::Record);
    let row = Expr { kind: ExprKind::Row(fields, Some(names)), ty: PgType::Record.into() };
    let kind = ExprKind::Case { branches: vec![CaseBranch { when, then }], otherwise: Some(Box::new(row)) };
    Expr { kind, ty: PgType::Record.into() }
}

fn all_null(fields: &[Expr]) -> Expr {
    all(fields.iter().cloned().map(is_null).collect())
}

/// The row in [`row_or_null`], for whoever looks at its fields one by one; anything else as it is.
pub(super) fn bare_row(expr: Expr) -> Expr {
    match expr.kind {
        ExprKind::Case { branches, otherwise: Some(row) } if is_row_or_null(&branches, &row) => *row,
        kind => Expr { kind, ty: expr.ty },
    }
}

fn is_row_or_null(branches: &[CaseBranch], row: &Expr) -> bool {
    match (branches, &row.kind) {
        ([CaseBranch { when, then }], ExprKind::Row(fields, Some(_))) => {
            matches!(then.kind, ExprKind::Literal(Datum::Null)) && when.same(&all_null(fields))
        }
        _ => false,
    }
}

/// Texts as an array.
pub(super) fn text_array(items: Vec<Expr>) -> Expr {
    let ty = PgType::Text.array().unwrap_or(PgType::Text);
    Expr { kind: ExprKind::Array(items), ty: ty.into() }
}

impl Binder<'_> {
    pub(crate) fn access(&mut self, root: &ast::Expr, chain: &[AccessExpr]) -> Result<Expr> {
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
        while let Some((access, behind)) = rest.split_first() {
            let subscripts = rest.iter().take_while(|access| matches!(access, AccessExpr::Subscript(_))).count();
            if subscripts > 1 && value.ty.ty.element().is_some() {
                value = self.beyond_dimensions(value, &rest[..subscripts], span)?;
                rest = &rest[subscripts..];
                continue;
            }
            rest = behind;
            value = match access {
                AccessExpr::Dot(ast::Expr::Identifier(field)) => self.field(value, field, span)?,
                AccessExpr::Dot(_) => {
                    return Err(self.at(Error::unsupported("this form of a field"), span));
                }
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                    if stride.is_some() {
                        return Err(self.at(Error::unsupported("array slice with a stride"), span));
                    }
                    if value.ty.ty == PgType::Jsonb {
                        let bound = lower_bound.as_ref().or(upper_bound.as_ref());
                        return Err(self.json_slice(bound.map_or(span, Place::place)));
                    }
                    if value.ty.ty.element().is_none() {
                        return Err(self.not_subscriptable(value.ty.ty, span));
                    }
                    let typmod = value.ty.typmod;
                    let mut bounds = vec![value];
                    for (bound, all) in [(lower_bound, 1), (upper_bound, i32::MAX)] {
                        bounds.push(match bound {
                            Some(bound) => self.subscript(bound)?,
                            None => Expr::literal(Datum::Int4(all), PgType::Int4),
                        });
                    }
                    let mut slice = self.call_named(crate::functions::ARRAY_SLICE, bounds, span)?;
                    slice.ty.typmod = typmod;
                    slice
                }
                AccessExpr::Subscript(Subscript::Index { index }) if value.ty.ty == PgType::Jsonb => {
                    let (key, _) = self.json_subscript(index)?;
                    let path = text_array(vec![key]);
                    let place = self.position(span);
                    self.operator("#>", Some(value), path, place)?
                }
                // A name is an array of characters, counted from 0.
                AccessExpr::Subscript(Subscript::Index { index }) if value.ty.ty == PgType::Name => {
                    let place = self.position(span);
                    let index = self.subscript(index)?;
                    let one = Expr::literal(Datum::Int4(1), PgType::Int4);
                    let from = self.operator("+", Some(index), one.clone(), place)?;
                    let text = self.cast(value, PgType::Text.into(), span)?;
                    let character = self.call_named("substr", vec![text, from, one], span)?;
                    self.cast(character, PgType::Char.into(), span)?
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let Some(element) = value.ty.ty.element() else {
                        return Err(self.not_subscriptable(value.ty.ty, span));
                    };
                    let index = self.subscript(index)?;
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

    /// More subscripts than an array has dimensions: there is nothing there.
    fn beyond_dimensions(&mut self, array: Expr, subscripts: &[AccessExpr], span: Span) -> Result<Expr> {
        let mut bounds = Vec::new();
        let mut slice = false;
        for access in subscripts {
            let AccessExpr::Subscript(subscript) = access else { continue };
            match subscript {
                Subscript::Index { index } => bounds.push(self.subscript(index)?),
                Subscript::Slice { stride: Some(_), .. } => {
                    return Err(self.at(Error::unsupported("array slice with a stride"), span));
                }
                Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                    slice = true;
                    for bound in [lower_bound, upper_bound].into_iter().flatten() {
                        bounds.push(self.subscript(bound)?);
                    }
                }
            }
        }
        let typmod = array.ty.typmod;
        if !slice {
            return Ok(Self::null(array.ty.ty.element().unwrap_or(array.ty.ty)));
        }
        let ty = ColumnType { ty: array.ty.ty, typmod };
        let missing = [array].into_iter().chain(bounds).map(is_null).collect();
        let when = Expr { kind: ExprKind::Or(missing), ty: PgType::Bool.into() };
        let then = Expr { kind: ExprKind::Literal(Datum::Null), ty };
        let empty = Expr { kind: ExprKind::Array(Vec::new()), ty };
        let kind = ExprKind::Case { branches: vec![CaseBranch { when, then }], otherwise: Some(Box::new(empty)) };
        Ok(Expr { kind, ty })
    }

    pub(super) fn not_subscriptable(&self, ty: PgType, span: Span) -> Error {
        let message = format!("cannot subscript type {ty} because it does not support subscripting");
        self.at(Error::new(ErrorKind::DatatypeMismatch, message), span)
    }

    pub(super) fn json_slice(&self, place: Span) -> Error {
        self.at(Error::new(ErrorKind::DatatypeMismatch, "jsonb subscript does not support slices"), place)
    }

    /// A subscript of a jsonb value as a step of a path, and whether it is an integer.
    pub(super) fn json_subscript(&mut self, index: &ast::Expr) -> Result<(Expr, bool)> {
        let at = index.place();
        let index = self.expr(index)?;
        let from = index.ty.ty;
        let becomes = |to: PgType| cast_kind(from, to) == Some(CastContext::Implicit);
        let (integer, text) = match from {
            PgType::Unknown => (false, true),
            _ => (becomes(PgType::Int4), becomes(PgType::Text)),
        };
        if integer == text {
            let hint = match integer {
                true => "jsonb subscript must be coercible to only one type, integer or text.",
                false => "jsonb subscript must be coercible to either integer or text.",
            };
            let error = Error::new(ErrorKind::DatatypeMismatch, format!("subscript type {from} is not supported"));
            return Err(self.at(error.with_hint(hint), at));
        }
        Ok((self.cast(index, PgType::Text.into(), at)?, integer))
    }

    /// A subscript of an array, or a bound of a slice.
    pub(super) fn subscript(&mut self, index: &ast::Expr) -> Result<Expr> {
        let at = index.place();
        let index = self.expr(index)?;
        let from = index.ty.ty;
        self.coerce(index, PgType::Int4.into(), CastContext::Assignment, false, at)?
            .filter(|_| from.category() != stratos_types::TypeCategory::String)
            .ok_or_else(|| {
                self.at(Error::new(ErrorKind::DatatypeMismatch, "array subscript must have type integer"), at)
            })
    }

    /// The fields of a composite value with their names.
    pub(crate) fn fields(&self, value: Expr, span: Span) -> Result<Vec<(String, Expr)>> {
        let ty = value.ty.ty;
        if let ExprKind::Column(id) = value.kind
            && let Some(fields) = self.composites.get(&id)
        {
            let field = |((name, ty), at): (&(String, ColumnType), i32)| {
                let args = vec![value.clone(), Expr::literal(Datum::Int4(at), PgType::Int4)];
                Ok((name.clone(), self.record_field(args, *ty)?))
            };
            return fields.iter().zip(0..).map(field).collect();
        }
        match bare_row(value).kind {
            ExprKind::Row(fields, names) => Ok(fields
                .into_iter()
                .enumerate()
                .map(|(i, field)| match names.as_ref().and_then(|names| names.get(i)) {
                    Some(name) => (name.to_string(), field),
                    None => (format!("f{}", i + 1), field),
                })
                .collect()),
            _ if ty == PgType::Record => Err(self.at(Error::unsupported("field of a computed composite value"), span)),
            _ => Err(self.at(
                Error::new(
                    ErrorKind::WrongObjectType,
                    format!("column notation applied to type {ty}, which is not a composite type"),
                ),
                span,
            )),
        }
    }

    fn record_field(&self, args: Vec<Expr>, ty: ColumnType) -> Result<Expr> {
        let function = self.cx.registry.functions(RECORD_FIELD).into_iter().next();
        let function = function.ok_or_else(|| Error::internal("no function for fields"))?;
        Ok(Expr { kind: ExprKind::Call { function, args }, ty })
    }

    /// Remembers the fields of a column that is computed as a composite value, or passed on from one that is.
    pub(crate) fn note_composite(&mut self, column: ColumnId, value: &Expr) {
        if value.ty.ty != PgType::Record {
            return;
        }
        let value = &bare_row(value.clone());
        let fields = match &value.kind {
            ExprKind::Row(..) => self
                .fields(value.clone(), Span::empty())
                .map(|fields| fields.into_iter().map(|(name, field)| (name, field.ty)).collect())
                .ok(),
            ExprKind::Column(from) => self.composites.get(from).cloned(),
            _ => None,
        };
        if let Some(fields) = fields {
            self.composites.insert(column, fields);
        }
    }

    /// `(composite).field`.
    fn field(&self, value: Expr, field: &ast::Ident, span: Span) -> Result<Expr> {
        let name = fold_ident(field);
        let ty = value.ty.ty;
        if ty != PgType::Record {
            let message = format!("column notation .{name} applied to type {ty}, which is not a composite type");
            return Err(self.at(Error::new(ErrorKind::WrongObjectType, message), span));
        }
        if name == super::rewrite::STAR_MARKER {
            let e = Error::new(ErrorKind::FeatureNotSupported, "row expansion via \"*\" is not supported here");
            return Err(self.at(e, span));
        }
        let found = self.fields(value, span)?.into_iter().find(|(n, _)| *n == name);
        found.map(|(_, field)| field).ok_or_else(|| {
            let message = format!("could not identify column \"{name}\" in record data type");
            self.at(Error::new(ErrorKind::UndefinedColumn, message), span)
        })
    }

    pub(super) fn array(&mut self, items: &ast::Array, span: Span) -> Result<Expr> {
        let ast::Array { elem, named } = items;
        if !named {
            return Err(self.at(Error::unsupported("array of more than one dimension"), span));
        }
        if elem.is_empty() {
            let error = Error::new(ErrorKind::IndeterminateDatatype, "cannot determine type of empty array")
                .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[].");
            // The parser keeps no place of what has no parts.
            return Err(match self.cx.source.empty_array() {
                Some(position) => error.at(position),
                None => error,
            });
        }
        let (items, spans) = self.array_items(elem)?;
        let (items, ty) = self.unify(items, &spans, "ARRAY")?;
        if ty.ty == PgType::Record {
            return Err(self.at(Error::unsupported("array of composite values"), span));
        }
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
    pub(super) fn array_of(&mut self, items: &ast::Array, element: PgType) -> Result<Expr> {
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
            for field in self.row_item(item)? {
                fields.push(self.of_any_type(field, item.place())?);
            }
        }
        Ok(Expr { kind: ExprKind::Row(fields, None), ty: PgType::Record.into() })
    }

    /// What an item of a row constructor gives: `t.*` all fields of the row, anything else one.
    pub(super) fn row_item(&mut self, item: &ast::Expr) -> Result<Vec<Expr>> {
        let value = self.expr(item)?;
        if !matches!(item, ast::Expr::QualifiedWildcard(..)) {
            return Ok(vec![value]);
        }
        let bare = bare_row(value);
        Ok(match bare.kind {
            ExprKind::Row(fields, _) => fields,
            kind => vec![Expr { kind, ty: bare.ty }],
        })
    }
}
