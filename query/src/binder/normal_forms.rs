//! `normalize(x, NFD)` and `x IS NFD NORMALIZED`: the forms are words there, not values.

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, NormalizationForm, Spanned};
use sqlparser::tokenizer::Span;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::Binder;
use super::expr::not;
use super::operator::in_catalog;
use super::scope::Place;
use crate::ir::Expr;

fn constant(form: &str) -> Expr {
    Expr::literal(Datum::text(form.to_ascii_uppercase()), PgType::Text)
}

impl Binder<'_> {
    /// `normalize(x [, form])`; none where it is no such call.
    pub(super) fn normalize_call(&mut self, args: &[FunctionArg]) -> Result<Option<Expr>> {
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(text)), form @ ..] = args else { return Ok(None) };
        let is_form = |word: &str| ["nfc", "nfd", "nfkc", "nfkd"].iter().any(|form| word.eq_ignore_ascii_case(form));
        let form = match form {
            [] => None,
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Identifier(form))), rest @ ..]
                if form.quote_style.is_none() && is_form(&form.value) =>
            {
                if !rest.is_empty() {
                    let error = Error::new(ErrorKind::SyntaxError, "syntax error at or near \",\"");
                    return Err(match self.cx.source.symbol_after(form.span, ",") {
                        Some(position) => error.at(position),
                        None => error,
                    });
                }
                Some(constant(&form.value))
            }
            [other, ..] => {
                let error = format!("syntax error at or near \"{other}\"");
                return Err(self.at(Error::new(ErrorKind::SyntaxError, error), other.span()));
            }
        };
        let args = std::iter::once(self.expr(text)?).chain(form).collect();
        self.call_by_grammar("normalize", args, text.place(), &["normalize"]).map(Some)
    }

    /// `x IS [NOT] [form] NORMALIZED`
    pub(super) fn is_normalized(
        &mut self,
        text: &ast::Expr,
        form: Option<NormalizationForm>,
        negated: bool,
    ) -> Result<Expr> {
        let form = form.map(|form| constant(&form.to_string()));
        let args = std::iter::once(self.expr(text)?).chain(form).collect();
        let span = text.place();
        let test = self.call_named("is_normalized", args, span).map_err(|error| {
            let is = self.cx.source.word_after(Span::new(span.end, span.end), "is");
            in_catalog(error, is.map(|(position, _)| position))
        })?;
        Ok(if negated { not(test) } else { test })
    }
}
