//! The four operations, remainders and rounding, with the scales that Postgres gives the results.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, Zero};

use super::{
    DIGITS_PER_GROUP, MAX_RESULT_SCALE, MAX_SCALE, MIN_SIGNIFICANT_DIGITS, Numeric, Parts, Repr, digits_big,
    digits_i128, div_round_big, div_round_i128, overflow, pow10, pow10_i128,
};
use crate::{Error, ErrorKind, Result};

/// Largest n of `n!` whose result fits the format.
const MAX_FACTORIAL: i64 = 32_177;

impl Numeric {
    /// a + b; infinities of opposite sign give NaN.
    ///
    /// # Errors
    /// 22003 beyond the format's limits.
    pub fn add(&self, other: &Numeric) -> Result<Numeric> {
        if let (Some((a, a_scale)), Some((b, b_scale))) = (self.as_scaled(), other.as_scaled()) {
            let scale = a_scale.max(b_scale);
            let up = |n: i128, s: u16| pow10_i128(u32::from(scale - s)).and_then(|p| n.checked_mul(p));
            if let (Some(a), Some(b)) = (up(a, a_scale), up(b, b_scale))
                && let Some(sum) = a.checked_add(b)
            {
                return Ok(Numeric(Repr::Small { unscaled: sum, scale }));
            }
        }
        match (self.parts(), other.parts()) {
            (Some(a), Some(b)) => {
                let scale = a.scale.max(b.scale);
                Numeric::checked(a.unscaled * pow10(scale - a.scale) + b.unscaled * pow10(scale - b.scale), scale)
            }
            _ if self.is_nan() || other.is_nan() => Ok(Numeric::NAN),
            (None, None) if self != other => Ok(Numeric::NAN),
            (None, _) => Ok(self.clone()),
            _ => Ok(other.clone()),
        }
    }

    /// a - b
    ///
    /// # Errors
    /// 22003 beyond the format's limits.
    pub fn sub(&self, other: &Numeric) -> Result<Numeric> {
        self.add(&other.neg())
    }

    /// a × b
    ///
    /// # Errors
    /// 22003 beyond the format's limits.
    pub fn mul(&self, other: &Numeric) -> Result<Numeric> {
        if let (Some((a, a_scale)), Some((b, b_scale))) = (self.as_scaled(), other.as_scaled())
            && let Some(product) = a.checked_mul(b)
            && u32::from(a_scale) + u32::from(b_scale) <= MAX_SCALE
        {
            return Ok(Numeric(Repr::Small { unscaled: product, scale: a_scale + b_scale }));
        }
        match (self.parts(), other.parts()) {
            (Some(a), Some(b)) => {
                let product = a.unscaled * b.unscaled;
                let scale = a.scale + b.scale;
                if scale > MAX_SCALE {
                    Numeric::checked(div_round_big(&product, &pow10(scale - MAX_SCALE)), MAX_SCALE)
                } else {
                    Numeric::checked(product, scale)
                }
            }
            _ if self.is_nan() || other.is_nan() => Ok(Numeric::NAN),
            _ => Ok(match self.signum() * other.signum() {
                0 => Numeric::NAN,
                1 => Numeric::INFINITY,
                _ => Numeric::NEG_INFINITY,
            }),
        }
    }

    /// a / b, rounded to the scale that Postgres selects (at least 16 significant digits).
    ///
    /// # Errors
    /// 22012 by zero, 22003 beyond the limits.
    pub fn div(&self, other: &Numeric) -> Result<Numeric> {
        if let Some(special) = self.div_special(other)? {
            return Ok(special);
        }
        let scale = self.quotient_scale(other);
        self.div_to_scale(other, scale)
    }

    /// The quotient rounded to `scale` digits; both finite, the divisor not zero.
    pub(super) fn div_to_scale(&self, other: &Numeric, scale: u32) -> Result<Numeric> {
        if let (Some((a, a_scale)), Some((b, b_scale))) = (self.as_scaled(), other.as_scaled()) {
            let shift = i64::from(scale) + i64::from(b_scale) - i64::from(a_scale);
            if let Ok(shift) = u32::try_from(shift)
                && let Some(n) = pow10_i128(shift).and_then(|p| a.checked_mul(p))
                && n != i128::MIN
            {
                return Ok(Numeric(Repr::Small { unscaled: div_round_i128(n, b), scale: scale as u16 }));
            }
        }
        let (Some(a), Some(b)) = (self.parts(), other.parts()) else {
            return Ok(Numeric::NAN);
        };
        let shift = i64::from(scale) + i64::from(b.scale) - i64::from(a.scale);
        let (n, d) = if shift >= 0 {
            (a.unscaled * pow10(shift as u32), b.unscaled)
        } else {
            (a.unscaled, b.unscaled * pow10((-shift) as u32))
        };
        Numeric::checked(div_round_big(&n, &d), scale)
    }

    /// Results of a division where an operand is NaN or infinite; the error of a division by zero.
    fn div_special(&self, other: &Numeric) -> Result<Option<Numeric>> {
        if self.is_nan() || other.is_nan() {
            return Ok(Some(Numeric::NAN));
        }
        if other.is_zero() {
            return Err(Error::division_by_zero());
        }
        if self.is_infinite() {
            return Ok(Some(if other.is_infinite() {
                Numeric::NAN
            } else if self.signum() == other.signum() {
                Numeric::INFINITY
            } else {
                Numeric::NEG_INFINITY
            }));
        }
        if other.is_infinite() {
            return Ok(Some(Numeric::ZERO));
        }
        Ok(None)
    }

    /// Power of ten of the first digit; `None` for zero and special values.
    pub(super) fn exponent10(&self) -> Option<i64> {
        match &self.0 {
            Repr::Small { unscaled: 0, .. } => None,
            Repr::Small { unscaled, scale } => Some(i64::from(digits_i128(*unscaled)) - 1 - i64::from(*scale)),
            Repr::Big(big) => Some(digits_big(&big.unscaled) as i64 - 1 - i64::from(big.scale)),
            _ => None,
        }
    }

    /// Weight and value of the first base-10000 digit, as Postgres holds the number; (0, 0) for zero.
    pub(super) fn first_group(&self) -> (i64, i64) {
        let Some(exponent) = self.exponent10() else {
            return (0, 0);
        };
        let weight = exponent.div_euclid(DIGITS_PER_GROUP);
        let wanted = exponent.rem_euclid(DIGITS_PER_GROUP) as u32 + 1;
        let group = match &self.0 {
            Repr::Small { unscaled, .. } => {
                let digits = digits_i128(*unscaled);
                let magnitude = unscaled.unsigned_abs();
                if digits >= wanted {
                    (magnitude / 10u128.pow(digits - wanted)) as i64
                } else {
                    (magnitude * 10u128.pow(wanted - digits)) as i64
                }
            }
            Repr::Big(big) => {
                let digits = digits_big(&big.unscaled) as u32;
                let head = big.unscaled.abs() / pow10(digits.saturating_sub(wanted));
                i64::try_from(head).unwrap_or(0)
            }
            _ => 0,
        };
        (weight, group)
    }

    /// `select_div_scale` of numeric.c.
    pub(super) fn quotient_scale(&self, other: &Numeric) -> u32 {
        let (weight1, first1) = self.first_group();
        let (weight2, first2) = other.first_group();
        let mut quotient_weight = weight1 - weight2;
        if first1 <= first2 {
            quotient_weight -= 1;
        }
        (MIN_SIGNIFICANT_DIGITS - quotient_weight * DIGITS_PER_GROUP)
            .max(i64::from(self.scale().unwrap_or(0)))
            .max(i64::from(other.scale().unwrap_or(0)))
            .clamp(0, MAX_RESULT_SCALE) as u32
    }

    /// Integer quotient (`div`), truncated toward zero.
    ///
    /// # Errors
    /// 22012 by zero.
    pub fn div_trunc(&self, other: &Numeric) -> Result<Numeric> {
        if let Some(special) = self.div_special(other)? {
            return Ok(special);
        }
        let (Some(a), Some(b)) = (self.parts(), other.parts()) else {
            return Ok(Numeric::NAN);
        };
        let scale = a.scale.max(b.scale);
        Numeric::checked((a.unscaled * pow10(scale - a.scale)) / (b.unscaled * pow10(scale - b.scale)), 0)
    }

    /// Remainder with the sign of the dividend.
    ///
    /// # Errors
    /// 22012 by zero.
    pub fn rem(&self, other: &Numeric) -> Result<Numeric> {
        if self.is_nan() || other.is_nan() {
            return Ok(Numeric::NAN);
        }
        if other.is_zero() {
            return Err(Error::division_by_zero());
        }
        if self.is_infinite() {
            return Ok(Numeric::NAN);
        }
        if other.is_infinite() {
            return Ok(self.clone());
        }
        let (Some(a), Some(b)) = (self.parts(), other.parts()) else {
            return Ok(Numeric::NAN);
        };
        let scale = a.scale.max(b.scale);
        Numeric::checked((a.unscaled * pow10(scale - a.scale)) % (b.unscaled * pow10(scale - b.scale)), scale)
    }

    /// -x
    #[must_use]
    pub fn neg(&self) -> Numeric {
        match &self.0 {
            Repr::NaN => Numeric::NAN,
            Repr::PosInf => Numeric::NEG_INFINITY,
            Repr::NegInf => Numeric::INFINITY,
            Repr::Small { unscaled, scale } => match unscaled.checked_neg() {
                Some(unscaled) => Numeric(Repr::Small { unscaled, scale: *scale }),
                None => Numeric::finite(-BigInt::from(*unscaled), u32::from(*scale)),
            },
            Repr::Big(big) => Numeric::finite(-&big.unscaled, u32::from(big.scale)),
        }
    }

    /// |x|
    #[must_use]
    pub fn abs(&self) -> Numeric {
        if self.signum() < 0 { self.neg() } else { self.clone() }
    }

    /// -1, 0 or 1 as a numeric; NaN stays.
    #[must_use]
    pub fn sign(&self) -> Numeric {
        if self.is_nan() {
            return Numeric::NAN;
        }
        Numeric::from(self.signum())
    }

    /// Rounds half away from zero to `digits` after the point (before it, when negative).
    ///
    /// # Errors
    /// 22003 beyond the limits (rounding up the largest number).
    pub fn round(&self, digits: i32) -> Result<Numeric> {
        self.rescale(digits, true)
    }

    /// Cuts to `digits` after the point.
    ///
    /// # Errors
    /// None in practice.
    pub fn trunc(&self, digits: i32) -> Result<Numeric> {
        self.rescale(digits, false)
    }

    fn rescale(&self, digits: i32, rounds: bool) -> Result<Numeric> {
        let limit = MAX_SCALE as i32;
        let digits = digits.clamp(-(super::MAX_DIGITS_BEFORE as i32) - 1, limit);
        let Some(scale) = self.scale() else {
            return Ok(self.clone());
        };
        let scale = i32::from(scale);
        let target = digits.max(0) as u32;
        if digits >= scale {
            return self.widen(target);
        }
        let drop = (scale - digits) as u32;
        if let Some((n, _)) = self.as_scaled()
            && digits >= 0
            && let Some(p) = pow10_i128(drop)
        {
            let unscaled = if rounds { div_round_i128(n, p) } else { n / p };
            return Ok(Numeric(Repr::Small { unscaled, scale: target as u16 }));
        }
        let Some(Parts { unscaled, .. }) = self.parts() else {
            return Ok(self.clone());
        };
        if u64::from(drop) > digits_big(&unscaled) + 1 {
            return Ok(Numeric::from_scaled(0, target as u16));
        }
        let divisor = pow10(drop);
        let mut quotient = if rounds { div_round_big(&unscaled, &divisor) } else { unscaled / divisor };
        if digits < 0 {
            quotient *= pow10((-digits) as u32);
        }
        Numeric::checked(quotient, target)
    }

    /// The same value with more digits after the point.
    fn widen(&self, scale: u32) -> Result<Numeric> {
        let Some(Parts { unscaled, scale: old }) = self.parts() else {
            return Ok(self.clone());
        };
        if let Some((n, _)) = self.as_scaled()
            && let Some(n) = pow10_i128(scale - old).and_then(|p| n.checked_mul(p))
        {
            return Ok(Numeric::from_scaled(n, scale as u16));
        }
        Numeric::checked(unscaled * pow10(scale - old), scale)
    }

    /// Smallest integer not below.
    #[must_use]
    pub fn ceil(&self) -> Numeric {
        match self.parts() {
            Some(p) => Numeric::finite(p.unscaled.div_ceil(&pow10(p.scale)), 0),
            None => self.clone(),
        }
    }

    /// Largest integer not above.
    #[must_use]
    pub fn floor(&self) -> Numeric {
        match self.parts() {
            Some(p) => Numeric::finite(p.unscaled.div_floor(&pow10(p.scale)), 0),
            None => self.clone(),
        }
    }

    /// Greatest common divisor.
    ///
    /// # Errors
    /// None in practice.
    pub fn gcd(&self, other: &Numeric) -> Result<Numeric> {
        let (Some(a), Some(b)) = (self.parts(), other.parts()) else {
            return Ok(Numeric::NAN);
        };
        let scale = a.scale.max(b.scale);
        let (a, b) = (a.unscaled * pow10(scale - a.scale), b.unscaled * pow10(scale - b.scale));
        Numeric::checked(a.gcd(&b), scale)
    }

    /// Least common multiple.
    ///
    /// # Errors
    /// 22003 beyond the limits.
    pub fn lcm(&self, other: &Numeric) -> Result<Numeric> {
        let (Some(a), Some(b)) = (self.parts(), other.parts()) else {
            return Ok(Numeric::NAN);
        };
        let scale = a.scale.max(b.scale);
        let (a, b) = (a.unscaled * pow10(scale - a.scale), b.unscaled * pow10(scale - b.scale));
        if a.is_zero() || b.is_zero() {
            return Ok(Numeric::from_scaled(0, scale as u16));
        }
        let gcd = a.gcd(&b);
        Numeric::checked((a / gcd * b).abs(), scale)
    }

    /// n!
    ///
    /// # Errors
    /// 22003 for negative n and results beyond the format.
    pub fn factorial(n: i64) -> Result<Numeric> {
        if n < 0 {
            return Err(Error::new(ErrorKind::NumericValueOutOfRange, "factorial of a negative number is undefined"));
        }
        if n > MAX_FACTORIAL {
            return Err(overflow());
        }
        let mut product = BigInt::from(1);
        for i in 2..=n {
            product *= i;
        }
        Numeric::checked(product, 0)
    }

    /// `width_bucket(x, low, high, count)`.
    ///
    /// # Errors
    /// Bounds that are equal, NaN or infinite, a count below 1.
    pub fn width_bucket(&self, low: &Numeric, high: &Numeric, count: i32) -> Result<i32> {
        let bad = |message: &str| Err(Error::new(ErrorKind::InvalidArgumentForWidthBucket, message));
        if count <= 0 {
            return bad("count must be greater than zero");
        }
        if self.is_nan() || low.is_nan() || high.is_nan() {
            return bad("operand, lower bound, and upper bound cannot be NaN");
        }
        if low.is_infinite() || high.is_infinite() {
            return bad("lower and upper bounds must be finite");
        }
        if low == high {
            return bad("lower bound cannot equal upper bound");
        }
        let over = || count.checked_add(1).ok_or_else(|| Error::out_of_range("integer"));
        let ascending = low < high;
        let (before, beyond) = if ascending { (self < low, self >= high) } else { (self > low, self <= high) };
        if before {
            return Ok(0);
        }
        if beyond {
            return over();
        }
        let offset = self.sub(low)?.mul(&Numeric::from(count))?;
        let bucket = offset.div_trunc(&high.sub(low)?)?.to_i32()?;
        bucket.checked_add(1).ok_or_else(|| Error::out_of_range("integer"))
    }
}
