//! What is made of several values, and taken out of them: arrays, rows, subscripts and fields.

use sqlparser::ast::{self, AccessExpr, Subscript};
use sqlparser::tokenizer::Span;
use stratos_types::{CastContext, ColumnType, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::scope::Place;
use crate::ir::{Expr, ExprKind};

pub(crate) fn is_row(e: &ast::Expr) -> bool {
    match e {
        ast::Expr::Tuple(_) => true,
        ast::Expr::Nested(inner) => is_row(inner),
        ast::Expr::Function(f) => super::call::is_row_constructor(f),
        _ => false,
    }
}

impl Binder<'_> {
    pub(super) fn access(&mut self, root: &ast::Expr, chain: &[AccessExpr]) -> Result<Expr> {
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
        for access in rest {
            value = match access {
                AccessExpr::Dot(_) => {
                    return Err(self.at(Error::unsupported("field of a composite value"), span));
                }
                AccessExpr::Subscript(Subscript::Slice { lower_bound: _, upper_bound: _, stride: _ }) => {
                    return Err(self.at(Error::unsupported("array slice"), span));
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let Some(element) = value.ty.ty.element() else {
                        return Err(self.at(
                            Error::new(
                                ErrorKind::DatatypeMismatch,
                                format!(
                                    "cannot subscript type {} because it does not support subscripting",
                                    value.ty.ty
                                ),
                            ),
                            span,
                        ));
                    };
                    let at = index.place();
                    let index = self.expr(index)?;
                    let from = index.ty.ty;
                    let index = self
                        .coerce(index, PgType::Int4.into(), CastContext::Assignment, false, at)?
                        .filter(|_| from.category() != stratos_types::TypeCategory::String)
                        .ok_or_else(|| {
                            self.at(
                                Error::new(ErrorKind::DatatypeMismatch, "array subscript must have type integer"),
                                at,
                            )
                        })?;
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

    pub(super) fn array(&mut self, items: &ast::Array, span: Span) -> Result<Expr> {
        let ast::Array { elem, named } = items;
        if !named {
            return Err(self.at(Error::unsupported("array literal without ARRAY"), span));
        }
        if elem.is_empty() {
            return Err(Error::new(ErrorKind::IndeterminateDatatype, "cannot determine type of empty array")
                .with_hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let (items, spans) = self.array_items(elem)?;
        let (items, ty) = self.unify(items, &spans, "ARRAY")?;
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
            let field = self.expr(item)?;
            fields.push(self.known(field)?);
        }
        Ok(Expr { kind: ExprKind::Row(fields), ty: PgType::Record.into() })
    }
}
