//! real and double precision.

use crate::numeric::is_space;
use crate::{Error, ErrorKind, Result};

fn out_of_range(input: &str, type_name: &str) -> Error {
    Error::new(ErrorKind::NumericValueOutOfRange, format!("\"{input}\" is out of range for type {type_name}"))
}

/// Whether the mantissa has a digit other than 0: zero as a result is an underflow then.
fn has_value(text: &str) -> bool {
    text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| (b'1'..=b'9').contains(&b))
}

pub(super) fn parse_float8(input: &str) -> Result<f64> {
    let text = input.trim_matches(is_space);
    let value: f64 = text.parse().map_err(|_| Error::invalid_text("double precision", input))?;
    let spelled = text.bytes().any(|b| matches!(b, b'n' | b'N'));
    if value.is_infinite() && !spelled || value == 0.0 && has_value(text) {
        return Err(out_of_range(text, "double precision"));
    }
    Ok(value)
}

pub(super) fn parse_float4(input: &str) -> Result<f32> {
    let text = input.trim_matches(is_space);
    let value: f32 = text.parse().map_err(|_| Error::invalid_text("real", input))?;
    let spelled = text.bytes().any(|b| matches!(b, b'n' | b'N'));
    if value.is_infinite() && !spelled || value == 0.0 && has_value(text) {
        return Err(out_of_range(text, "real"));
    }
    Ok(value)
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("Infinity")
    } else if value == f64::NEG_INFINITY {
        Some("-Infinity")
    } else {
        None
    }
}

/// Prints `d.ddde±x` as C's `%g` does: plain from 1e-4 up to 10^limit, else with an exponent of at least two digits.
fn layout(scientific: &str, limit: i32) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        significant => significant,
    };
    if exponent < -4 || exponent >= limit {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{exponent_sign}{:02}", exponent.abs());
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(-exponent as usize - 1));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        format!("{sign}{digits}{}", "0".repeat(whole - digits.len()))
    } else {
        let (whole, fraction) = digits.split_at(whole);
        format!("{sign}{whole}.{fraction}")
    }
}

/// float8 output: shortest exact form from `extra_float_digits` 1 on, else 15 + that many significant digits.
pub fn float8_text(value: f64, extra_float_digits: i32) -> String {
    if let Some(word) = special(value) {
        return word.to_owned();
    }
    if extra_float_digits > 0 {
        return layout(&format!("{value:e}"), 15);
    }
    let precision = (15 + extra_float_digits).max(1);
    layout(&format!("{value:.*e}", precision as usize - 1), precision)
}

/// float4 output: shortest exact form from `extra_float_digits` 1 on, else 6 + that many significant digits.
pub fn float4_text(value: f32, extra_float_digits: i32) -> String {
    if let Some(word) = special(f64::from(value)) {
        return word.to_owned();
    }
    if extra_float_digits > 0 {
        return layout(&format!("{value:e}"), 6);
    }
    let precision = (6 + extra_float_digits).max(1);
    layout(&format!("{value:.*e}", precision as usize - 1), precision)
}
