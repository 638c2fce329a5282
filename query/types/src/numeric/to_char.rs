//! `to_char` of numbers and `to_number`.

use crate::{Error, Numeric, Result};

/// `to_char(numeric, template)`.
///
/// # Errors
/// 0A000: not there yet.
pub fn numeric_to_char(_value: &Numeric, _template: &str) -> Result<String> {
    Err(Error::unsupported("to_char of numbers"))
}

/// `to_char(double precision, template)`.
///
/// # Errors
/// As [`numeric_to_char`].
pub fn float8_to_char(value: f64, template: &str) -> Result<String> {
    numeric_to_char(&Numeric::from_f64(value), template)
}

/// `to_char(real, template)`.
///
/// # Errors
/// As [`numeric_to_char`].
pub fn float4_to_char(value: f32, template: &str) -> Result<String> {
    numeric_to_char(&Numeric::from_f32(value), template)
}

/// `to_char(bigint, template)`, also for integer.
///
/// # Errors
/// As [`numeric_to_char`].
pub fn int_to_char(value: i64, template: &str) -> Result<String> {
    numeric_to_char(&Numeric::from(value), template)
}

/// `to_number(text, template)`.
///
/// # Errors
/// 0A000: not there yet.
pub fn to_number(_text: &str, _template: &str) -> Result<Option<Numeric>> {
    Err(Error::unsupported("to_number"))
}
