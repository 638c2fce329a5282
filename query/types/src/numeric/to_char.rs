//! `to_char` of numbers (`NUM_processor` of `formatting.c`, in the C locale).

use super::template::{Key, Node, Shape, SignSide, parse};
pub use super::to_number::to_number;
use crate::template::ordinal_suffix;
use crate::{Error, ErrorKind, Numeric, Result};

/// Width of a Roman numeral.
const ROMAN_WIDTH: usize = 15;
/// Sign, point, exponent: what `EEEE` takes beside the digits.
const SCIENTIFIC_EXTRA: i64 = 6;
/// Digits that a double and a float hold for certain.
const DOUBLE_DIGITS: i64 = 15;
const FLOAT_DIGITS: i64 = 6;

/// More significant digits than any double has in decimal.
const FLOAT_MAX_DIGITS: usize = 800;

/// State of the walk over a template, named as in Postgres.
struct Printer<'a> {
    shape: Shape,
    /// Digits with point, without sign.
    number: &'a [u8],
    /// Next of them.
    next: usize,
    /// `Some(b'+')` or `Some(b'-')`; none of Roman numerals.
    sign: Option<u8>,
    sign_written: bool,
    /// Whether a digit was written by the last digit pattern.
    in_number: bool,
    pre_spaces: i64,
    count: i64,
    current: i64,
    /// Last digit that FM keeps.
    last_relevant: Option<usize>,
    out: Vec<u8>,
}

impl Printer<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.number.get(at).copied().unwrap_or(0)
    }

    fn relevant_is_point(&self) -> bool {
        self.last_relevant.is_some_and(|at| self.byte(at) == b'.')
    }

    /// The zero before the point, which `9.9` does not print.
    fn is_leading_zero(&self) -> bool {
        !self.shape.zero && self.next == 0 && self.byte(0) == b'0' && self.shape.post != 0
    }

    fn put_sign(&mut self) {
        let negative = self.sign == Some(b'-');
        if self.shape.sign {
            if self.shape.sign_side == Some(SignSide::Before) {
                self.out.push(if negative { b'-' } else { b'+' });
                self.sign_written = true;
            }
        } else if self.shape.bracket {
            self.out.push(if negative { b'<' } else { b' ' });
            self.sign_written = true;
        } else {
            if negative {
                self.out.push(b'-');
            } else if !self.shape.fill {
                self.out.push(b' ');
            }
            self.sign_written = true;
        }
    }

    fn put_next(&mut self, key: Key) {
        if self.byte(self.next) == b'.' {
            if !self.relevant_is_point() || self.shape.fill {
                self.out.push(b'.');
            }
        } else if self.last_relevant.is_some_and(|at| self.next > at) && key != Key::Zero {
            // FM drops zeros at the end.
        } else if self.is_leading_zero() {
            if !self.shape.fill {
                self.out.push(b' ');
            } else if self.relevant_is_point() {
                self.out.push(b'0');
            }
        } else {
            self.out.push(self.byte(self.next));
            self.in_number = true;
        }
        if self.next < self.number.len() {
            self.next += 1;
        }
    }

    /// A digit or the point.
    fn digit(&mut self, key: Key) {
        if self.shape.roman {
            return;
        }
        self.in_number = false;
        let zero_here = self.shape.zero && self.shape.zero_start <= self.current;
        if !self.sign_written
            && (self.current >= self.pre_spaces || self.shape.zero && self.shape.zero_start == self.current)
            && (!self.is_leading_zero() || self.relevant_is_point())
        {
            self.put_sign();
        }
        if self.current < self.pre_spaces && !zero_here {
            if !self.shape.fill {
                self.out.push(b' ');
            }
        } else if self.current < self.pre_spaces {
            self.out.push(b'0');
            self.in_number = true;
        } else {
            self.put_next(key);
        }
        let mut end = self.count + i64::from(self.pre_spaces != 0) + i64::from(self.shape.point);
        if self.last_relevant == Some(self.next) {
            end = self.current;
        }
        if self.current + 1 == end {
            let negative = self.sign == Some(b'-');
            if self.sign_written && self.shape.bracket {
                self.out.push(if negative { b'>' } else { b' ' });
            } else if self.shape.sign && self.shape.sign_side == Some(SignSide::After) {
                self.out.push(if negative { b'-' } else { b'+' });
            }
        }
        self.current += 1;
    }

    fn key(&mut self, key: Key) -> Result<()> {
        let fill = self.shape.fill;
        match key {
            Key::Zero | Key::Nine | Key::Point => self.digit(key),
            Key::Comma | Key::Group => {
                if self.in_number {
                    self.out.push(b',');
                } else if !fill {
                    self.out.push(b' ');
                }
            }
            // The C locale has no currency symbol.
            Key::Currency => self.out.push(b' '),
            Key::Roman { upper } => {
                let mut text = String::from_utf8_lossy(&self.number[self.next..]).into_owned();
                if !upper {
                    text.make_ascii_lowercase();
                }
                let width = if fill { 0 } else { ROMAN_WIDTH };
                self.out.extend_from_slice(format!("{text:>width$}").as_bytes());
            }
            Key::Ordinal { upper } => {
                let none = self.shape.roman || self.byte(0) == b'#' || self.sign == Some(b'-') || self.shape.point;
                if !none {
                    let digits = String::from_utf8_lossy(self.number);
                    if !digits.ends_with(|c: char| c.is_ascii_digit()) {
                        return Err(Error::new(
                            ErrorKind::InvalidTextRepresentation,
                            format!("\"{digits}\" is not a number"),
                        ));
                    }
                    let suffix = ordinal_suffix(&digits, upper);
                    self.out.extend_from_slice(suffix.as_bytes());
                }
            }
            Key::Minus | Key::Plus => {
                let wanted = if key == Key::Minus { b'-' } else { b'+' };
                if self.sign == Some(wanted) {
                    self.out.push(wanted);
                } else if !fill {
                    self.out.push(b' ');
                }
            }
            Key::PlusMinus => self.out.push(self.sign.unwrap_or(0)),
            Key::Blank | Key::Scientific | Key::Fill | Key::Bracket | Key::Sign | Key::Multiply | Key::Nothing => {}
        }
        Ok(())
    }
}

/// Prints digits (with point, without sign) through a template.
fn process(mut shape: Shape, nodes: &[Node], number: &str, sign: u8, pre_spaces: i64) -> Result<String> {
    if shape.zero_start > 0 {
        shape.zero_start -= 1;
    }
    let mut sign = Some(sign);
    let mut pre_spaces = pre_spaces;
    if shape.roman {
        shape = Shape { fill: shape.fill, roman: true, ..Shape::default() };
        sign = None;
        pre_spaces = 0;
    }
    let sign_written = if shape.plus || shape.minus {
        // MI, PL and SG write it themselves.
        shape.minus || !shape.plus
    } else {
        if sign != Some(b'-') && shape.fill {
            shape.bracket = false;
        }
        if shape.sign_side == Some(SignSide::Before) && shape.pre == shape.pre_sign {
            shape.sign_side = Some(SignSide::After);
        }
        sign == Some(b'+') && shape.fill && !shape.sign
    };
    let mut last_relevant = None;
    if shape.fill && shape.point {
        last_relevant = number.find('.').map(|point| {
            let kept = number[point..].rfind(|c: char| c != '0').unwrap_or(0);
            point + kept
        });
        if let Some(at) = last_relevant
            && shape.zero_end > pre_spaces
        {
            let last_zero = (number.len() as i64 - 1).min(shape.zero_end - pre_spaces);
            last_relevant = Some(at.max(last_zero.max(0) as usize));
        }
    }
    let mut count = shape.post + shape.pre - 1;
    if !sign_written && pre_spaces == 0 {
        count += 1;
    }
    let mut printer = Printer {
        shape,
        number: number.as_bytes(),
        next: 0,
        sign,
        sign_written,
        in_number: false,
        pre_spaces,
        count,
        current: 0,
        last_relevant,
        out: Vec::new(),
    };
    for node in nodes {
        match node {
            Node::Key(key) => printer.key(*key)?,
            Node::Char(c) => {
                let mut buffer = [0; 4];
                printer.out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }
    // A pattern beyond the end of a shortened number ends the text.
    let end = printer.out.iter().position(|b| *b == 0);
    printer.out.truncate(end.unwrap_or(usize::MAX));
    Ok(String::from_utf8_lossy(&printer.out).into_owned())
}

/// Signs and pads plain digits, or marks an overflow, and prints.
fn finish(shape: Shape, nodes: &[Node], text: &str) -> Result<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (b'-', rest),
        None => (b'+', text),
    };
    let pre_length = digits.find('.').unwrap_or(digits.len()) as i64;
    if pre_length > shape.pre {
        let hashes = |n: i64| "#".repeat(n.max(0) as usize);
        let number = format!("{}.{}", hashes(shape.pre), hashes(shape.post));
        return process(shape, nodes, &number, sign, 0);
    }
    let pre_spaces = shape.pre - pre_length;
    process(shape, nodes, digits, sign, pre_spaces)
}

fn roman(number: i32) -> String {
    const NUMERALS: [(i32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if !(1..=3999).contains(&number) {
        return "#".repeat(ROMAN_WIDTH);
    }
    let mut rest = number;
    let mut out = String::new();
    for (value, numeral) in NUMERALS {
        while rest >= value {
            out.push_str(numeral);
            rest -= value;
        }
    }
    out
}

/// `EEEE` of NaN and the infinities.
fn scientific_overflow(shape: &Shape) -> String {
    let width = (shape.pre + shape.post + SCIENTIFIC_EXTRA) as usize;
    let mut out = vec![b'#'; width];
    out[0] = b' ';
    if let Some(point) = out.get_mut(shape.pre as usize + 1) {
        *point = b'.';
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `d.ddde+xx` of a finite value, with a blank for plus; the digits are rounded half up.
fn scientific(value: &Numeric, digits_after: usize) -> String {
    let exponent = value.exponent10().unwrap_or(0);
    let digits = value.digits();
    let mut kept: Vec<u8> = digits.bytes().take(digits_after + 1).collect();
    kept.resize(digits_after + 1, b'0');
    if digits.as_bytes().get(digits_after + 1).is_some_and(|b| *b >= b'5') {
        let mut carry = true;
        for b in kept.iter_mut().rev() {
            if *b == b'9' {
                *b = b'0';
            } else {
                *b += 1;
                carry = false;
                break;
            }
        }
        // As Postgres: 9.99 with one digit is 10.0e+00.
        if carry {
            kept.insert(0, b'1');
        }
    }
    let kept = String::from_utf8_lossy(&kept);
    let (whole, fraction) = kept.split_at(kept.len() - digits_after);
    let point = if digits_after > 0 { "." } else { "" };
    let sign = if value.signum() < 0 { '-' } else { ' ' };
    format!("{sign}{whole}{point}{fraction}e{exponent:+03}")
}

/// `to_char(numeric, template)`; empty for an empty template.
///
/// # Errors
/// 42601 for patterns that do not go together, 22003 out of range.
pub fn numeric_to_char(value: &Numeric, template: &str) -> Result<String> {
    let (mut shape, nodes) = parse(template)?;
    if shape.roman {
        let numeral = roman(value.to_i32()?);
        return process(shape, &nodes, &numeral, b'+', 0);
    }
    if shape.scientific {
        if value.is_nan() || value.is_infinite() {
            return Ok(scientific_overflow(&shape));
        }
        return Ok(scientific(value, shape.post as usize));
    }
    let mut scaled = value.clone();
    if shape.multiply {
        scaled = scaled.mul(&power_of_ten(shape.multi)?)?;
        shape.pre += shape.multi;
    }
    let rounded = scaled.round(shape.post as i32)?;
    finish(shape, &nodes, &rounded.to_string())
}

pub(super) fn power_of_ten(exponent: i64) -> Result<Numeric> {
    Numeric::from(10i64).power(&Numeric::from(exponent))
}

/// C's `%+.*e` with a blank for plus.
fn scientific_float(value: f64, digits_after: usize) -> String {
    let exact = digits_after.min(FLOAT_MAX_DIGITS);
    let text = format!("{value:.exact$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if mantissa.starts_with('-') { "" } else { " " };
    let zeros = "0".repeat(digits_after - exact);
    format!("{sign}{mantissa}{zeros}e{exponent:+03}")
}

fn fixed_float(value: f64, digits_after: usize) -> String {
    if value.is_finite() {
        format!("{value:.digits_after$}")
    } else if value.is_nan() {
        "NaN".to_owned()
    } else if value > 0.0 {
        "Infinity".to_owned()
    } else {
        "-Infinity".to_owned()
    }
}

/// Both float types: `digits` is what the type holds for certain, `multiply` scales in the type's own precision.
fn float_to_char(value: f64, template: &str, digits: i64, multiply: impl Fn(f64, i64) -> f64) -> Result<String> {
    let (mut shape, nodes) = parse(template)?;
    if shape.roman {
        let rounded = value.round_ties_even();
        // Saturates, and whatever is that large has no numeral; nor has NaN, which reads as 0.
        let numeral = roman(rounded as i32);
        return process(shape, &nodes, &numeral, b'+', 0);
    }
    if shape.scientific {
        if !value.is_finite() {
            return Ok(scientific_overflow(&shape));
        }
        return Ok(scientific_float(value, shape.post as usize));
    }
    let mut scaled = value;
    if shape.multiply {
        scaled = multiply(value, shape.multi);
        shape.pre += shape.multi;
    }
    let whole = fixed_float(scaled.abs(), 0).len() as i64;
    if whole >= digits {
        shape.post = 0;
    } else if whole + shape.post > digits {
        shape.post = digits - whole;
    }
    let text = fixed_float(scaled, shape.post as usize);
    finish(shape, &nodes, &text)
}

/// `to_char(double precision, template)`.
///
/// # Errors
/// As [`numeric_to_char`].
pub fn float8_to_char(value: f64, template: &str) -> Result<String> {
    float_to_char(value, template, DOUBLE_DIGITS, |v, n| v * 10f64.powf(n as f64))
}

/// `to_char(real, template)`.
///
/// # Errors
/// As [`numeric_to_char`].
pub fn float4_to_char(value: f32, template: &str) -> Result<String> {
    float_to_char(f64::from(value), template, FLOAT_DIGITS, |v, n| f64::from(v as f32 * 10f32.powf(n as f32)))
}

/// `to_char(bigint, template)`, also for integer.
///
/// # Errors
/// As [`numeric_to_char`].
pub fn int_to_char(value: i64, template: &str) -> Result<String> {
    let (shape, _) = parse(template)?;
    if shape.multiply {
        // Postgres multiplies in the integer type.
        let factor = power_of_ten(shape.multi)?.to_i64()?;
        value.checked_mul(factor).ok_or_else(|| Error::out_of_range("bigint"))?;
    }
    numeric_to_char(&Numeric::from(value), template)
}
