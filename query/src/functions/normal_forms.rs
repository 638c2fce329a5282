//! Unicode's normal forms.

use stratos_types::{Datum, Error, ErrorKind, PgType, Result};
use unicode_normalization::UnicodeNormalization;

use super::args::text;
use crate::session::EvalContext;

/// A text in the form that is named.
fn in_form(text: &str, form: &str) -> Result<String> {
    match form.to_ascii_uppercase().as_str() {
        "NFC" => Ok(text.nfc().collect()),
        "NFD" => Ok(text.nfd().collect()),
        "NFKC" => Ok(text.nfkc().collect()),
        "NFKD" => Ok(text.nfkd().collect()),
        _ => Err(Error::new(ErrorKind::InvalidParameterValue, format!("invalid normalization form: {form}"))),
    }
}

/// The second argument, or what stands for it.
fn form(a: &[Datum]) -> Result<&str> {
    a.get(1).map_or(Ok("NFC"), text)
}

/// `normalize(text[, form])`
pub fn normalize(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::text(in_form(text(&a[0])?, form(a)?)?))
}

/// `is_normalized(text[, form])`
pub fn is_normalized(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let text = text(&a[0])?;
    Ok(Datum::Bool(in_form(text, form(a)?)? == text))
}
