//! `numeric`: exact decimals of any scale, as Postgres has them.
//!
//! A finite value is `unscaled / 10^scale`; the scale is also what prints (1.50 keeps its two digits). Nearly all values fit
//! an `i128`; the others are big integers. Arithmetic chooses the scale of its result exactly as Postgres's `numeric.c`.

mod arith;
mod binary;
mod convert;
mod math;
mod sum;
mod template;
pub mod to_char;
mod to_number;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use num_bigint::{BigInt, Sign};
use num_traits::{Signed, ToPrimitive, Zero};

use crate::{Error, ErrorKind, Result};

pub use sum::NumericSum;

/// Most decimal digits before the point (`NUMERIC_WEIGHT_MAX`, in digits).
pub const MAX_DIGITS_BEFORE: u64 = 131_072;
/// Most decimal digits after the point (`NUMERIC_DSCALE_MAX`).
pub const MAX_SCALE: u32 = 16_383;
/// Most digits that Postgres chooses by itself for a quotient or a root (`NUMERIC_MAX_DISPLAY_SCALE`).
const MAX_RESULT_SCALE: i64 = 1000;
/// Significant digits that quotients and transcendental functions have at least (`NUMERIC_MIN_SIG_DIGITS`).
const MIN_SIGNIFICANT_DIGITS: i64 = 16;
/// Decimal digits of one of Postgres's own digits; the scales of quotients depend on it.
const DIGITS_PER_GROUP: i64 = 4;

/// A `numeric` value. Equality and order are by value (1.1 = 1.10), NaN equals itself and is greater than everything.
#[derive(Debug, Clone)]
pub struct Numeric(Repr);

#[derive(Debug, Clone)]
enum Repr {
    NaN,
    PosInf,
    NegInf,
    Small { unscaled: i128, scale: u16 },
    Big(Arc<Big>),
}

#[derive(Debug)]
struct Big {
    unscaled: BigInt,
    scale: u16,
}

/// A finite value taken apart.
struct Parts {
    unscaled: BigInt,
    scale: u32,
}

const POW10_I128: [i128; 39] = {
    let mut table = [1i128; 39];
    let mut i = 1;
    while i < 39 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// 10^n where it fits.
fn pow10_i128(n: u32) -> Option<i128> {
    POW10_I128.get(n as usize).copied()
}

fn pow10(n: u32) -> BigInt {
    match pow10_i128(n) {
        Some(p) => BigInt::from(p),
        None => BigInt::from(10u8).pow(n),
    }
}

fn overflow() -> Error {
    Error::new(ErrorKind::NumericValueOutOfRange, "value overflows numeric format")
}

/// Number of decimal digits of |n|; 0 for zero.
fn digits_i128(n: i128) -> u32 {
    n.unsigned_abs().checked_ilog10().map_or(0, |d| d + 1)
}

fn digits_big(n: &BigInt) -> u64 {
    if n.is_zero() {
        return 0;
    }
    // log10(2) from below gives a floor that is at most one too small.
    let low = ((n.bits() - 1) as f64 * std::f64::consts::LOG10_2) as u32;
    let mut digits = low.saturating_sub(1);
    let mut power = pow10(digits);
    let magnitude = n.abs();
    while power <= magnitude {
        power *= 10u8;
        digits += 1;
    }
    u64::from(digits)
}

/// n / d rounded half away from zero.
fn div_round_big(n: &BigInt, d: &BigInt) -> BigInt {
    let (q, r) = num_integer::Integer::div_rem(n, d);
    if r.abs() * 2u8 >= d.abs() {
        if (n.sign() == Sign::Minus) == (d.sign() == Sign::Minus) { q + 1u8 } else { q - 1u8 }
    } else {
        q
    }
}

fn div_round_i128(n: i128, d: i128) -> i128 {
    let (q, r) = (n / d, n % d);
    if r.unsigned_abs() >= d.unsigned_abs() - r.unsigned_abs() {
        if (n < 0) == (d < 0) { q + 1 } else { q - 1 }
    } else {
        q
    }
}

impl Numeric {
    /// NaN
    pub const NAN: Numeric = Numeric(Repr::NaN);
    /// Infinity
    pub const INFINITY: Numeric = Numeric(Repr::PosInf);
    /// -Infinity
    pub const NEG_INFINITY: Numeric = Numeric(Repr::NegInf);
    /// 0
    pub const ZERO: Numeric = Numeric(Repr::Small { unscaled: 0, scale: 0 });
    /// 1
    pub const ONE: Numeric = Numeric(Repr::Small { unscaled: 1, scale: 0 });

    /// `unscaled / 10^scale`; the scale is at most 16383 (a greater one is cut to it).
    pub fn from_scaled(unscaled: i128, scale: u16) -> Numeric {
        if u32::from(scale) > MAX_SCALE {
            let excess = u32::from(scale) - MAX_SCALE;
            return Numeric::finite(div_round_big(&BigInt::from(unscaled), &pow10(excess)), MAX_SCALE);
        }
        Numeric(Repr::Small { unscaled, scale })
    }

    /// `(unscaled, scale)` of a finite value that fits.
    pub fn as_scaled(&self) -> Option<(i128, u16)> {
        match self.0 {
            Repr::Small { unscaled, scale } => Some((unscaled, scale)),
            _ => None,
        }
    }

    /// A finite value without a check of the limits; the scale must be within them.
    fn finite(unscaled: BigInt, scale: u32) -> Numeric {
        let scale = scale.min(MAX_SCALE) as u16;
        match unscaled.to_i128() {
            Some(unscaled) => Numeric(Repr::Small { unscaled, scale }),
            None => Numeric(Repr::Big(Arc::new(Big { unscaled, scale }))),
        }
    }

    /// A finite value, if within the limits of the format.
    fn checked(unscaled: BigInt, scale: u32) -> Result<Numeric> {
        if let Some(small) = unscaled.to_i128()
            && scale <= MAX_SCALE
        {
            return Ok(Numeric::from_scaled(small, scale as u16));
        }
        if scale > MAX_SCALE || digits_big(&unscaled) > MAX_DIGITS_BEFORE + u64::from(scale) {
            return Err(overflow());
        }
        Ok(Numeric::finite(unscaled, scale))
    }

    fn parts(&self) -> Option<Parts> {
        match &self.0 {
            Repr::Small { unscaled, scale } => {
                Some(Parts { unscaled: BigInt::from(*unscaled), scale: u32::from(*scale) })
            }
            Repr::Big(big) => Some(Parts { unscaled: big.unscaled.clone(), scale: u32::from(big.scale) }),
            _ => None,
        }
    }

    /// Whether it is NaN.
    pub fn is_nan(&self) -> bool {
        matches!(self.0, Repr::NaN)
    }

    /// Whether it is one of the infinities.
    pub fn is_infinite(&self) -> bool {
        matches!(self.0, Repr::PosInf | Repr::NegInf)
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        matches!(self.0, Repr::Small { unscaled: 0, .. })
    }

    /// -1, 0 or 1; NaN counts as 1.
    pub fn signum(&self) -> i32 {
        match &self.0 {
            Repr::NaN | Repr::PosInf => 1,
            Repr::NegInf => -1,
            Repr::Small { unscaled, .. } => unscaled.signum() as i32,
            Repr::Big(big) => {
                if big.unscaled.is_negative() {
                    -1
                } else {
                    1
                }
            }
        }
    }

    /// Digits after the point as printed; `None` for NaN and the infinities.
    pub fn scale(&self) -> Option<u16> {
        match &self.0 {
            Repr::Small { scale, .. } => Some(*scale),
            Repr::Big(big) => Some(big.scale),
            _ => None,
        }
    }

    /// Digits after the point without trailing zeros (`min_scale`).
    pub fn min_scale(&self) -> Option<u16> {
        self.trim_scale().scale()
    }

    /// The same value without trailing zeros after the point.
    #[must_use]
    pub fn trim_scale(&self) -> Numeric {
        match &self.0 {
            Repr::Small { unscaled, scale } => {
                let (mut unscaled, mut scale) = (*unscaled, *scale);
                if unscaled == 0 {
                    scale = 0;
                }
                while scale > 0 && unscaled % 10 == 0 {
                    unscaled /= 10;
                    scale -= 1;
                }
                Numeric(Repr::Small { unscaled, scale })
            }
            Repr::Big(big) => {
                let text = big.unscaled.to_string();
                let zeros = text.bytes().rev().take_while(|b| *b == b'0').count();
                let cut = zeros.min(usize::from(big.scale)) as u32;
                Numeric::finite(&big.unscaled / pow10(cut), u32::from(big.scale) - cut)
            }
            _ => self.clone(),
        }
    }

    /// Bytes beyond the enum itself.
    pub fn size_bytes(&self) -> usize {
        match &self.0 {
            Repr::Big(big) => (big.unscaled.bits() / 8) as usize + std::mem::size_of::<Big>(),
            _ => 0,
        }
    }

    /// Text input as `numeric_in`: digits, point, exponent, `NaN`, `Infinity`, `inf`, blanks around.
    ///
    /// # Errors
    /// 22P02 for the syntax, 22003 beyond the format's limits.
    pub fn parse(input: &str) -> Result<Numeric> {
        let bad = || Error::invalid_text("numeric", input);
        let text = input.trim_matches(is_space);
        let (negative, body) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            if body.eq_ignore_ascii_case("infinity") || body.eq_ignore_ascii_case("inf") {
                return Ok(if negative { Numeric::NEG_INFINITY } else { Numeric::INFINITY });
            }
            if text.eq_ignore_ascii_case("nan") {
                return Ok(Numeric::NAN);
            }
            return Err(bad());
        }
        let (mantissa, exponent) = match body.find(['e', 'E']) {
            Some(at) => {
                let exponent = &body[at + 1..];
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(bad());
                }
                let limit = i64::from(i32::MAX) / 2;
                match exponent.parse::<i64>() {
                    Ok(e) if e.abs() < limit => (&body[..at], e),
                    _ => return Err(overflow()),
                }
            }
            None => (body, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        Numeric::from_digits(negative, whole, fraction, exponent)
    }

    /// Builds from decimal digits already checked.
    fn from_digits(negative: bool, whole: &str, fraction: &str, exponent: i64) -> Result<Numeric> {
        let scale = (fraction.len() as i64 - exponent).max(0);
        if scale > i64::from(MAX_SCALE) {
            return Err(overflow());
        }
        let scale = scale as u32;
        // zeros to append when the exponent moves the point beyond the last digit
        let append = (exponent - fraction.len() as i64).max(0);
        let significant = whole.trim_start_matches('0').len() + fraction.len();
        if significant <= 38 && append + (significant as i64) <= 38 {
            let mut unscaled = 0i128;
            for b in whole.bytes().chain(fraction.bytes()) {
                unscaled = unscaled * 10 + i128::from(b - b'0');
            }
            unscaled *= POW10_I128[append as usize];
            let unscaled = if negative { -unscaled } else { unscaled };
            return Ok(Numeric::from_scaled(unscaled, scale as u16));
        }
        let digits: String = [whole, fraction].concat();
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Numeric::from_scaled(0, scale as u16));
        }
        if digits.len() as i64 + append - i64::from(scale) > MAX_DIGITS_BEFORE as i64 {
            return Err(overflow());
        }
        let mut unscaled =
            BigInt::parse_bytes(digits.as_bytes(), 10).ok_or_else(|| Error::internal("digits checked before"))?;
        if append > 0 {
            unscaled *= pow10(append as u32);
        }
        if negative {
            unscaled = -unscaled;
        }
        Numeric::checked(unscaled, scale)
    }
}

/// C's `isspace` in the C locale.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, negative, scale) = match &self.0 {
            Repr::NaN => return f.write_str("NaN"),
            Repr::PosInf => return f.write_str("Infinity"),
            Repr::NegInf => return f.write_str("-Infinity"),
            Repr::Small { unscaled, scale: 0 } => return write!(f, "{unscaled}"),
            Repr::Small { unscaled, scale } => (unscaled.unsigned_abs().to_string(), *unscaled < 0, *scale),
            Repr::Big(big) => (big.unscaled.magnitude().to_string(), big.unscaled.is_negative(), big.scale),
        };
        if negative {
            f.write_str("-")?;
        }
        let scale = usize::from(scale);
        if scale == 0 {
            return f.write_str(&digits);
        }
        if digits.len() > scale {
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            write!(f, "{whole}.{fraction}")
        } else {
            write!(f, "0.{digits:0>scale$}")
        }
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        fn class(n: &Numeric) -> u8 {
            match n.0 {
                Repr::NegInf => 0,
                Repr::PosInf => 2,
                Repr::NaN => 3,
                _ => 1,
            }
        }
        let classes = class(self).cmp(&class(other));
        if classes != Ordering::Equal || class(self) != 1 {
            return classes;
        }
        if let (Some((a, a_scale)), Some((b, b_scale))) = (self.as_scaled(), other.as_scaled()) {
            if a_scale == b_scale {
                return a.cmp(&b);
            }
            if a.signum() != b.signum() {
                return a.signum().cmp(&b.signum());
            }
            let scale = a_scale.max(b_scale);
            let up = |n: i128, s: u16| pow10_i128(u32::from(scale - s)).and_then(|p| n.checked_mul(p));
            if let (Some(a), Some(b)) = (up(a, a_scale), up(b, b_scale)) {
                return a.cmp(&b);
            }
        }
        match (self.parts(), other.parts()) {
            (Some(a), Some(b)) => {
                let scale = a.scale.max(b.scale);
                (a.unscaled * pow10(scale - a.scale)).cmp(&(b.unscaled * pow10(scale - b.scale)))
            }
            _ => Ordering::Equal,
        }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.trim_scale().0 {
            Repr::NaN => 0u8.hash(state),
            Repr::NegInf => 1u8.hash(state),
            Repr::PosInf => 2u8.hash(state),
            Repr::Small { unscaled, scale } => (unscaled, scale).hash(state),
            Repr::Big(big) => (&big.unscaled, big.scale).hash(state),
        }
    }
}

#[cfg(test)]
mod tests;
