//! From and to integers and floats, and `numeric(p,s)`.

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::{Numeric, Repr};
use crate::{Error, ErrorKind, Result};

macro_rules! from_integer {
    ($($t:ty),*) => { $(
        impl From<$t> for Numeric {
            fn from(value: $t) -> Self {
                Numeric(Repr::Small { unscaled: i128::from(value), scale: 0 })
            }
        }
    )* };
}
from_integer!(i16, i32, i64, u32, i128);

impl From<BigInt> for Numeric {
    /// Must be within the format's 131072 digits.
    fn from(value: BigInt) -> Self {
        Numeric::finite(value, 0)
    }
}

/// A finite float with `significant` digits, trailing zeros dropped, as C's `%.*g` would print it.
fn from_scientific(text: &str) -> Numeric {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    Numeric::from_digits(negative, whole, fraction.trim_end_matches('0'), exponent).unwrap_or(Numeric::NAN)
}

impl Numeric {
    /// `float8 → numeric`: 15 significant digits (`DBL_DIG`).
    pub fn from_f64(value: f64) -> Numeric {
        if value.is_nan() {
            Numeric::NAN
        } else if value.is_infinite() {
            if value > 0.0 { Numeric::INFINITY } else { Numeric::NEG_INFINITY }
        } else {
            from_scientific(&format!("{value:.14e}"))
        }
    }

    /// `float4 → numeric`: 6 significant digits (`FLT_DIG`).
    pub fn from_f32(value: f32) -> Numeric {
        if value.is_finite() { from_scientific(&format!("{value:.5e}")) } else { Numeric::from_f64(f64::from(value)) }
    }

    fn to_integer(&self, name: &str) -> Result<i128> {
        match &self.0 {
            Repr::Small { unscaled, scale: 0 } => Ok(*unscaled),
            Repr::Small { .. } | Repr::Big(_) => {
                self.round(0)?.as_scaled().map(|(n, _)| n).ok_or_else(|| Error::out_of_range(name))
            }
            Repr::NaN => Err(Error::new(ErrorKind::FeatureNotSupported, format!("cannot convert NaN to {name}"))),
            Repr::PosInf | Repr::NegInf => {
                Err(Error::new(ErrorKind::FeatureNotSupported, format!("cannot convert infinity to {name}")))
            }
        }
    }

    /// To smallint, rounded half away from zero.
    ///
    /// # Errors
    /// 22003 out of range, 0A000 for NaN and infinity.
    pub fn to_i16(&self) -> Result<i16> {
        i16::try_from(self.to_integer("smallint")?).map_err(|_| Error::out_of_range("smallint"))
    }

    /// To integer, rounded half away from zero.
    ///
    /// # Errors
    /// 22003 out of range, 0A000 for NaN and infinity.
    pub fn to_i32(&self) -> Result<i32> {
        i32::try_from(self.to_integer("integer")?).map_err(|_| Error::out_of_range("integer"))
    }

    /// To bigint, rounded half away from zero.
    ///
    /// # Errors
    /// 22003 out of range, 0A000 for NaN and infinity.
    pub fn to_i64(&self) -> Result<i64> {
        i64::try_from(self.to_integer("bigint")?).map_err(|_| Error::out_of_range("bigint"))
    }

    /// The nearest double; infinite where it does not fit.
    pub fn to_f64_lossy(&self) -> f64 {
        match &self.0 {
            Repr::NaN => f64::NAN,
            Repr::PosInf => f64::INFINITY,
            Repr::NegInf => f64::NEG_INFINITY,
            Repr::Small { unscaled, scale: 0 } => *unscaled as f64,
            Repr::Big(big) if big.scale == 0 => big.unscaled.to_f64().unwrap_or(f64::NAN),
            _ => self.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// To double precision.
    ///
    /// # Errors
    /// 22003 beyond its range.
    pub fn to_f64(&self) -> Result<f64> {
        let value = self.to_f64_lossy();
        let lost = value.is_infinite() && !self.is_infinite() || value == 0.0 && !self.is_zero();
        if lost {
            return Err(Error::new(
                ErrorKind::NumericValueOutOfRange,
                format!("\"{self}\" is out of range for type double precision"),
            ));
        }
        Ok(value)
    }

    /// To real.
    ///
    /// # Errors
    /// 22003 beyond its range.
    pub fn to_f32(&self) -> Result<f32> {
        if self.is_nan() {
            return Ok(f32::NAN);
        }
        let value: f32 =
            if self.is_infinite() { self.to_f64_lossy() as f32 } else { self.to_string().parse().unwrap_or(f32::NAN) };
        if value.is_infinite() && !self.is_infinite() || value == 0.0 && !self.is_zero() {
            return Err(Error::new(
                ErrorKind::NumericValueOutOfRange,
                format!("\"{self}\" is out of range for type real"),
            ));
        }
        Ok(value)
    }

    /// Applies `numeric(precision, scale)`: rounds to the scale (which may be negative) and checks the precision.
    ///
    /// # Errors
    /// 22003 "numeric field overflow".
    pub fn with_precision(&self, precision: u32, scale: i32) -> Result<Numeric> {
        let field_overflow = |detail: String| {
            Error::new(ErrorKind::NumericValueOutOfRange, "numeric field overflow").with_detail(detail)
        };
        if self.is_nan() {
            return Ok(Numeric::NAN);
        }
        if self.is_infinite() {
            return Err(field_overflow(format!(
                "A field with precision {precision}, scale {scale} cannot hold an infinite value."
            )));
        }
        let rounded = self.round(scale)?;
        let max_digits = i64::from(precision) - i64::from(scale);
        if rounded.exponent10().is_some_and(|e| e >= max_digits) {
            let limit = if max_digits == 0 { "1".to_owned() } else { format!("10^{max_digits}") };
            return Err(field_overflow(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
            )));
        }
        Ok(rounded)
    }
}
