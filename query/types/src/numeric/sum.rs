//! Running sums of numerics and integers.

use num_bigint::BigInt;

use super::{Numeric, pow10_i128};
use crate::Result;

/// A running sum: an `i128` at the greatest scale seen while it fits, a big number beyond.
#[derive(Debug, Clone, Default)]
pub struct NumericSum {
    total: i128,
    scale: u16,
    /// What did not fit; finite.
    spilled: Option<Numeric>,
    nan: i64,
    positive_infinity: i64,
    negative_infinity: i64,
}

impl NumericSum {
    /// Adds a value.
    ///
    /// # Errors
    /// 22003 beyond the format's limits.
    pub fn add(&mut self, value: &Numeric) -> Result<()> {
        self.count(value, 1)
    }

    /// Takes a value away that was added before (moving windows).
    ///
    /// # Errors
    /// 22003 beyond the format's limits.
    pub fn subtract(&mut self, value: &Numeric) -> Result<()> {
        self.count(value, -1)
    }

    fn count(&mut self, value: &Numeric, by: i64) -> Result<()> {
        if value.is_nan() {
            self.nan += by;
        } else if value.is_infinite() {
            if value.signum() > 0 {
                self.positive_infinity += by;
            } else {
                self.negative_infinity += by;
            }
        } else if by > 0 {
            self.add_finite(value)?;
        } else {
            self.add_finite(&value.neg())?;
        }
        Ok(())
    }

    fn add_finite(&mut self, value: &Numeric) -> Result<()> {
        if let Some((n, scale)) = value.as_scaled() {
            if scale > self.scale
                && let Some(total) = pow10_i128(u32::from(scale - self.scale)).and_then(|p| self.total.checked_mul(p))
            {
                self.total = total;
                self.scale = scale;
            }
            if scale <= self.scale
                && let Some(n) = pow10_i128(u32::from(self.scale - scale)).and_then(|p| n.checked_mul(p))
                && let Some(total) = self.total.checked_add(n)
            {
                self.total = total;
                return Ok(());
            }
        }
        self.spill(value)
    }

    fn spill(&mut self, value: &Numeric) -> Result<()> {
        let base = self.spilled.take().unwrap_or(Numeric::ZERO);
        self.spilled = Some(base.add(value)?);
        Ok(())
    }

    /// Adds an integer.
    pub fn add_i64(&mut self, value: i64) {
        self.add_i128(i128::from(value));
    }

    /// Adds a wide integer (a partial sum of integers).
    pub fn add_i128(&mut self, value: i128) {
        let fits = pow10_i128(u32::from(self.scale))
            .and_then(|p| value.checked_mul(p))
            .and_then(|n| self.total.checked_add(n));
        match fits {
            Some(total) => self.total = total,
            None => {
                let base = self.spilled.take().unwrap_or(Numeric::ZERO);
                let sum = base.add(&Numeric::from(BigInt::from(value)));
                self.spilled = Some(sum.unwrap_or(Numeric::NAN));
            }
        }
    }

    /// Adds another sum.
    ///
    /// # Errors
    /// 22003 beyond the format's limits.
    pub fn merge(&mut self, other: &NumericSum) -> Result<()> {
        self.nan += other.nan;
        self.positive_infinity += other.positive_infinity;
        self.negative_infinity += other.negative_infinity;
        self.add_finite(&Numeric::from_scaled(other.total, other.scale))?;
        match &other.spilled {
            Some(value) => self.spill(value),
            None => Ok(()),
        }
    }

    /// The sum.
    ///
    /// # Errors
    /// 22003 beyond the format's limits.
    pub fn finish(&self) -> Result<Numeric> {
        if self.nan > 0 || self.positive_infinity > 0 && self.negative_infinity > 0 {
            return Ok(Numeric::NAN);
        }
        if self.positive_infinity > 0 {
            return Ok(Numeric::INFINITY);
        }
        if self.negative_infinity > 0 {
            return Ok(Numeric::NEG_INFINITY);
        }
        let total = Numeric::from_scaled(self.total, self.scale);
        match &self.spilled {
            Some(spilled) => total.add(spilled),
            None => Ok(total),
        }
    }
}
