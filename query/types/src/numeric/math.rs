//! Roots, exponentials, logarithms and powers.
//!
//! The functions compute in fixed point with guard digits and round to the scale that numeric.c selects.

use num_bigint::BigInt;
use num_traits::{One, ToPrimitive, Zero};

use super::{MAX_RESULT_SCALE, MIN_SIGNIFICANT_DIGITS, Numeric, digits_big, div_round_big, overflow, pow10};
use crate::{Error, ErrorKind, Result};

/// Decimal digits computed beyond the result's scale.
const GUARD_DIGITS: u32 = 24;
/// log10(e), as numeric.c writes it.
#[allow(clippy::approx_constant, reason = "the last digits decide what Postgres prints")]
const LOG10_E: f64 = 0.434294481903252;
/// |x| from which exp(x) leaves the format (`NUMERIC_MAX_RESULT_SCALE * 3`).
const MAX_EXPONENT: f64 = 6000.0;

fn result_scale(wanted: i64, inputs: &[&Numeric]) -> u32 {
    inputs.iter().fold(wanted, |s, n| s.max(i64::from(n.scale().unwrap_or(0)))).clamp(0, MAX_RESULT_SCALE) as u32
}

/// x in fixed point with `digits` after the point.
fn fixed(x: &Numeric, digits: u32) -> BigInt {
    let Some(p) = x.parts() else {
        return BigInt::zero();
    };
    if digits >= p.scale {
        p.unscaled * pow10(digits - p.scale)
    } else {
        div_round_big(&p.unscaled, &pow10(p.scale - digits))
    }
}

fn from_fixed(value: &BigInt, digits: u32, scale: u32) -> Result<Numeric> {
    Numeric::checked(div_round_big(value, &pow10(digits - scale)), scale)
}

/// 2 atanh(n / d) in fixed point.
fn two_atanh(n: &BigInt, d: &BigInt, one: &BigInt) -> BigInt {
    let z = n * one / d;
    let square = &z * &z / one;
    let mut term = z;
    let mut sum = BigInt::zero();
    let mut k = 1u32;
    while !term.is_zero() {
        sum += &term / k;
        term = &term * &square / one;
        k += 2;
    }
    sum * 2u8
}

fn ln2(one: &BigInt) -> BigInt {
    two_atanh(&BigInt::one(), &BigInt::from(3u8), one)
}

/// ln(x) of a positive x in fixed point with `digits` after the point.
fn ln_fixed(x: &Numeric, digits: u32) -> BigInt {
    let Some(p) = x.parts() else {
        return BigInt::zero();
    };
    let one = pow10(digits);
    // x = m × 2^k with m about 1; m = n / d exactly
    let (mut n, mut d) = (p.unscaled, pow10(p.scale));
    let k = n.bits() as i64 - d.bits() as i64;
    if k >= 0 {
        d <<= k as u64;
    } else {
        n <<= (-k) as u64;
    }
    two_atanh(&(&n - &d), &(&n + &d), &one) + ln2(&one) * k
}

/// exp(x) of x in fixed point; the result has the same number of digits after the point.
fn exp_fixed(x: &BigInt, digits: u32) -> BigInt {
    const HALVINGS: u32 = 8;
    let one = pow10(digits);
    let ln2 = ln2(&one);
    let k = div_round_big(x, &ln2);
    let r = (x - &k * &ln2) >> HALVINGS;
    let mut term = one.clone();
    let mut sum = one.clone();
    let mut i = 1u32;
    while !term.is_zero() {
        term = &term * &r / &one / i;
        sum += &term;
        i += 1;
        if term == BigInt::from(-1) {
            break;
        }
    }
    for _ in 0..HALVINGS {
        sum = &sum * &sum / &one;
    }
    match k.to_i64().unwrap_or(0) {
        k if k >= 0 => sum << (k as u64),
        k => sum >> ((-k) as u64),
    }
}

/// Decimal weight of ln(x), estimated as numeric.c does.
fn ln_weight(x: &Numeric) -> i64 {
    if x.signum() <= 0 {
        return 0;
    }
    let nine = Numeric::from_scaled(9, 1);
    let eleven = Numeric::from_scaled(11, 1);
    if *x >= nine && *x <= eleven {
        return x.sub(&Numeric::ONE).ok().and_then(|d| d.exponent10()).unwrap_or(0);
    }
    let (weight, first) = x.first_group();
    // The first two base-10000 digits.
    let exponent = x.exponent10().unwrap_or(0);
    let (mut digits, mut power) = (first as f64, weight * 4);
    if let Some(parts) = x.parts() {
        let total = digits_big(&parts.unscaled) as i64;
        let lead = exponent.rem_euclid(4) + 1;
        if total > lead {
            let want = (lead + 4).min(total);
            let head = &parts.unscaled / pow10((total - want) as u32);
            digits = head.to_f64().unwrap_or(1.0) * 10f64.powi((lead + 4 - want) as i32);
            power -= 4;
        }
    }
    let ln = digits.ln() + power as f64 * std::f64::consts::LN_10;
    ln.abs().log10() as i64
}

fn log_domain(x: &Numeric) -> Result<()> {
    match x.signum() {
        0 => Err(Error::new(ErrorKind::InvalidArgumentForLogarithm, "cannot take logarithm of zero")),
        1 => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidArgumentForLogarithm, "cannot take logarithm of a negative number")),
    }
}

fn power_domain(message: &str) -> Error {
    Error::new(ErrorKind::InvalidArgumentForPowerFunction, message)
}

impl Numeric {
    /// Square root.
    ///
    /// # Errors
    /// 2201F of a negative number.
    pub fn sqrt(&self) -> Result<Numeric> {
        if self.is_nan() {
            return Ok(Numeric::NAN);
        }
        if self.signum() < 0 {
            return Err(power_domain("cannot take square root of a negative number"));
        }
        if self.is_infinite() {
            return Ok(Numeric::INFINITY);
        }
        let (weight, _) = self.first_group();
        let root_weight = if weight >= 0 { weight * 4 / 2 + 1 } else { 1 - (1 - weight * 4) / 2 };
        self.root_to_scale(result_scale(MIN_SIGNIFICANT_DIGITS - root_weight, &[self]))
    }

    /// Square root of a number that is not negative, with as many digits behind the point.
    ///
    /// # Errors
    /// As [`Numeric::sqrt`].
    pub fn sqrt_to_scale(&self, scale: u16) -> Result<Numeric> {
        match self.is_nan() || self.is_infinite() || self.signum() < 0 {
            true => self.sqrt(),
            false => self.root_to_scale(scale.into()),
        }
    }

    fn root_to_scale(&self, scale: u32) -> Result<Numeric> {
        let square = fixed(self, 2 * scale);
        let root = square.sqrt();
        let rest = &square - &root * &root;
        Numeric::checked(if rest > root { root + 1u8 } else { root }, scale)
    }

    /// e^x
    ///
    /// # Errors
    /// 22003 on overflow.
    pub fn exp(&self) -> Result<Numeric> {
        if self.is_nan() {
            return Ok(Numeric::NAN);
        }
        if self.is_infinite() {
            return Ok(if self.signum() > 0 { Numeric::INFINITY } else { Numeric::ZERO });
        }
        let weight = (self.to_f64_lossy() * LOG10_E).clamp(-2000.0, 2000.0);
        let scale = result_scale(MIN_SIGNIFICANT_DIGITS - weight as i64, &[self]);
        self.exp_to_scale(scale)
    }

    fn exp_to_scale(&self, scale: u32) -> Result<Numeric> {
        let x = self.to_f64_lossy();
        if x.abs() >= MAX_EXPONENT {
            if x > 0.0 {
                return Err(overflow());
            }
            return Ok(Numeric::from_scaled(0, scale as u16));
        }
        let digits = scale + GUARD_DIGITS + (x * LOG10_E).max(0.0) as u32;
        from_fixed(&exp_fixed(&fixed(self, digits), digits), digits, scale)
    }

    /// Natural logarithm.
    ///
    /// # Errors
    /// 2201E of zero and negative numbers.
    pub fn ln(&self) -> Result<Numeric> {
        if self.is_nan() {
            return Ok(Numeric::NAN);
        }
        log_domain(self)?;
        if self.is_infinite() {
            return Ok(Numeric::INFINITY);
        }
        let scale = result_scale(MIN_SIGNIFICANT_DIGITS - ln_weight(self), &[self]);
        let digits = scale + GUARD_DIGITS;
        from_fixed(&ln_fixed(self, digits), digits, scale)
    }

    /// Logarithm to base 10.
    ///
    /// # Errors
    /// 2201E of zero and negative numbers.
    pub fn log10(&self) -> Result<Numeric> {
        Numeric::from(10i32).log(self)
    }

    /// Logarithm of `x` to the base `self`.
    ///
    /// # Errors
    /// 2201E of zero and negative numbers, 22012 for base 1.
    pub fn log(&self, x: &Numeric) -> Result<Numeric> {
        if self.is_nan() || x.is_nan() {
            return Ok(Numeric::NAN);
        }
        log_domain(self)?;
        log_domain(x)?;
        match (self.is_infinite(), x.is_infinite()) {
            (true, true) => return Ok(Numeric::NAN),
            (true, false) => return Ok(Numeric::ZERO),
            (false, true) => return Ok(Numeric::INFINITY),
            _ => {}
        }
        let weights = ln_weight(x) - ln_weight(self);
        let scale = result_scale(MIN_SIGNIFICANT_DIGITS - weights, &[self, x]);
        let digits = scale + GUARD_DIGITS + ln_weight(self).unsigned_abs() as u32;
        let base = ln_fixed(self, digits);
        if base.is_zero() {
            return Err(Error::division_by_zero());
        }
        let value = ln_fixed(x, digits) * pow10(digits) / base;
        from_fixed(&value, digits, scale)
    }

    /// x^y
    ///
    /// # Errors
    /// 2201F for zero to a negative power and a negative number to a fraction; 22003 on overflow.
    pub fn power(&self, exponent: &Numeric) -> Result<Numeric> {
        if self.is_nan() {
            return Ok(if exponent.is_zero() { Numeric::ONE } else { Numeric::NAN });
        }
        if exponent.is_nan() {
            return Ok(if *self == Numeric::ONE { Numeric::ONE } else { Numeric::NAN });
        }
        if self.is_zero() && exponent.signum() < 0 {
            return Err(power_domain("zero raised to a negative power is undefined"));
        }
        let integral = !exponent.is_infinite() && exponent.min_scale() == Some(0);
        if self.signum() < 0 && !exponent.is_infinite() && !integral {
            return Err(power_domain("a negative number raised to a non-integer power yields a complex result"));
        }
        if self.is_infinite() || exponent.is_infinite() {
            return self.power_special(exponent);
        }
        if integral && let Ok(n) = exponent.to_i32() {
            return self.power_int(n);
        }
        if self.is_zero() {
            return Ok(Numeric::from_scaled(0, MIN_SIGNIFICANT_DIGITS as u16));
        }
        let base = self.abs();
        let guard = (8 - ln_weight(&base)).max(0) as u32 + GUARD_DIGITS;
        let rough = Numeric::finite(ln_fixed(&base, guard), guard).to_f64_lossy() * exponent.to_f64_lossy();
        if rough.abs() > MAX_EXPONENT {
            if rough > 0.0 {
                return Err(overflow());
            }
            return Ok(Numeric::from_scaled(0, MAX_RESULT_SCALE as u16));
        }
        let weight = rough * LOG10_E;
        let scale = result_scale(MIN_SIGNIFICANT_DIGITS - weight as i64, &[self, exponent]);
        let digits = scale + GUARD_DIGITS + weight.max(0.0) as u32 + exponent.exponent10().unwrap_or(0).max(0) as u32;
        let parts = exponent.parts().ok_or_else(overflow)?;
        let ln = div_round_big(&(ln_fixed(&base, digits) * parts.unscaled), &pow10(parts.scale));
        let value = from_fixed(&exp_fixed(&ln, digits), digits, scale)?;
        let odd = exponent.parts().is_some_and(|p| integral && (p.unscaled / pow10(p.scale)).bit(0));
        Ok(if self.signum() < 0 && odd { value.neg() } else { value })
    }

    fn power_special(&self, exponent: &Numeric) -> Result<Numeric> {
        if *self == Numeric::ONE || exponent.is_zero() {
            return Ok(Numeric::ONE);
        }
        if self.is_zero() {
            return Ok(Numeric::ZERO);
        }
        if exponent.is_infinite() {
            let magnitude = self.abs();
            if magnitude == Numeric::ONE {
                return Ok(Numeric::ONE);
            }
            let grows = (magnitude > Numeric::ONE) == (exponent.signum() > 0);
            return Ok(if grows { Numeric::INFINITY } else { Numeric::ZERO });
        }
        if exponent.signum() < 0 {
            return Ok(Numeric::ZERO);
        }
        let odd = exponent.parts().is_some_and(|p| (p.unscaled / pow10(p.scale)).bit(0));
        Ok(if self.signum() < 0 && odd { Numeric::NEG_INFINITY } else { Numeric::INFINITY })
    }

    /// Integer powers: 16 digits after the point, or those of the base if more.
    fn power_int(&self, n: i32) -> Result<Numeric> {
        let scale = result_scale(MIN_SIGNIFICANT_DIGITS, &[self]);
        if n == 0 {
            return Numeric::ONE.round(scale as i32);
        }
        if self.is_zero() {
            return Ok(Numeric::from_scaled(0, scale as u16));
        }
        if n == 1 {
            return self.round(scale as i32);
        }
        if n == -1 {
            return Numeric::ONE.div_to_scale(self, scale);
        }
        let exponent = self.exponent10().unwrap_or(0);
        let mantissa = self.abs().to_f64_lossy().log10();
        let weight = f64::from(n) * if mantissa.is_finite() { mantissa } else { exponent as f64 };
        if weight > 3.0 * f64::from(i16::MAX) * 4.0 {
            return Err(overflow());
        }
        if weight + 1.0 < -f64::from(scale) {
            return Ok(Numeric::from_scaled(0, scale as u16));
        }
        // Keep the significant digits that the result and the accumulated rounding need.
        let keep = (f64::from(scale) + weight.max(0.0)) as i64 + 20 + i64::from(digits_i32(n));
        let mut result = self.parts().ok_or_else(overflow)?;
        let base = self.parts().ok_or_else(overflow)?;
        let bits = 32 - n.unsigned_abs().leading_zeros();
        for bit in (0..bits - 1).rev() {
            result.unscaled = &result.unscaled * &result.unscaled;
            let mut places = 2 * i64::from(result.scale);
            if n.unsigned_abs() >> bit & 1 == 1 {
                result.unscaled *= &base.unscaled;
                places += i64::from(base.scale);
            }
            let excess = (digits_big(&result.unscaled) as i64 - 2 * keep).clamp(0, places);
            if excess > 0 {
                result.unscaled = div_round_big(&result.unscaled, &pow10(excess as u32));
                places -= excess;
            }
            result.scale = u32::try_from(places).map_err(|_| overflow())?;
            if digits_big(&result.unscaled) as i64 - places > super::MAX_DIGITS_BEFORE as i64 {
                return Err(overflow());
            }
        }
        let (numerator, denominator) = if n > 0 {
            (result.unscaled * pow10(scale), pow10(result.scale))
        } else {
            (pow10(result.scale + scale), result.unscaled)
        };
        Numeric::checked(div_round_big(&numerator, &denominator), scale)
    }
}

fn digits_i32(n: i32) -> u32 {
    n.unsigned_abs().checked_ilog10().unwrap_or(0) + 1
}
