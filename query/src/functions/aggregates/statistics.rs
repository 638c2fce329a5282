//! Sums of squares: variance, covariance, regression.

use stratos_types::{Datum, Error, ErrorKind, Numeric, NumericSum, Result};

use super::super::AggregateKind as K;

fn overflow() -> Error {
    Error::new(ErrorKind::NumericValueOutOfRange, "value out of range: overflow")
}

/// Youngs and Cramer's running sums over one or two float variables, as Postgres's `float8_regr_accum` keeps them.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    pub n: f64,
    pub sx: f64,
    pub sxx: f64,
    pub sy: f64,
    pub syy: f64,
    pub sxy: f64,
}

impl Moments {
    /// # Errors
    /// 22003 when a sum of finite values is infinite.
    pub fn add(&mut self, x: f64, y: f64) -> Result<()> {
        let old_n = self.n;
        let finite = self.sx.is_finite() && self.sy.is_finite() && x.is_finite() && y.is_finite();
        self.n += 1.0;
        self.sx += x;
        self.sy += y;
        if old_n > 0.0 {
            let dx = x * self.n - self.sx;
            let dy = y * self.n - self.sy;
            let scale = 1.0 / (self.n * old_n);
            self.sxx += dx * dx * scale;
            self.syy += dy * dy * scale;
            self.sxy += dx * dy * scale;
            let infinite = [self.sx, self.sxx, self.sy, self.syy, self.sxy].iter().any(|s| s.is_infinite());
            if infinite {
                if finite {
                    return Err(overflow());
                }
                self.sxx = nan_if_infinite(self.sxx);
                self.syy = nan_if_infinite(self.syy);
                self.sxy = nan_if_infinite(self.sxy);
            }
        } else {
            if !x.is_finite() {
                self.sxx = f64::NAN;
                self.sxy = f64::NAN;
            }
            if !y.is_finite() {
                self.syy = f64::NAN;
                self.sxy = f64::NAN;
            }
        }
        Ok(())
    }

    pub fn merge(&mut self, other: &Moments) {
        if other.n == 0.0 {
            return;
        }
        if self.n == 0.0 {
            *self = other.clone();
            return;
        }
        let n = self.n + other.n;
        let dx = self.sx / self.n - other.sx / other.n;
        let dy = self.sy / self.n - other.sy / other.n;
        let weight = self.n * other.n / n;
        self.sxx += other.sxx + weight * dx * dx;
        self.syy += other.syy + weight * dy * dy;
        self.sxy += other.sxy + weight * dx * dy;
        self.sx += other.sx;
        self.sy += other.sy;
        self.n = n;
    }

    /// The aggregate's value; NULL where it is undefined. For one variable, it is `x`.
    pub fn finish(&self, kind: K) -> Datum {
        let (n, needed) = match kind {
            K::RegrCount => return Datum::Int8(self.n as i64),
            K::VarSamp | K::StddevSamp | K::CovarSamp => (self.n - 1.0, 2.0),
            _ => (self.n, 1.0),
        };
        if self.n < needed {
            return Datum::Null;
        }
        let flat_x = self.sxx == 0.0;
        let value = match kind {
            K::Avg | K::RegrAvgX => self.sx / n,
            K::RegrAvgY => self.sy / n,
            K::VarPop | K::VarSamp => self.sxx / n,
            K::StddevPop | K::StddevSamp => (self.sxx / n).sqrt(),
            K::CovarPop | K::CovarSamp => self.sxy / n,
            K::RegrSxx => self.sxx,
            K::RegrSyy => self.syy,
            K::RegrSxy => self.sxy,
            K::Corr if flat_x || self.syy == 0.0 => return Datum::Null,
            K::Corr => self.sxy / (self.sxx * self.syy).sqrt(),
            K::RegrR2 | K::RegrSlope | K::RegrIntercept if flat_x => return Datum::Null,
            K::RegrR2 if self.syy == 0.0 => 1.0,
            K::RegrR2 => (self.sxy * self.sxy) / (self.sxx * self.syy),
            K::RegrSlope => self.sxy / self.sxx,
            K::RegrIntercept => (self.sy - self.sx * self.sxy / self.sxx) / n,
            _ => return Datum::Null,
        };
        Datum::Float8(value)
    }
}

fn nan_if_infinite(v: f64) -> f64 {
    if v.is_infinite() { f64::NAN } else { v }
}

/// Exact sums for the variance of integers and numerics.
#[derive(Debug, Clone, Default)]
pub struct NumericMoments {
    pub n: i64,
    pub sum: NumericSum,
    pub squares: NumericSum,
}

impl NumericMoments {
    /// # Errors
    /// When the square has no numeric.
    pub fn add(&mut self, x: &Numeric) -> Result<()> {
        self.n += 1;
        self.sum.add(x)?;
        self.squares.add(&x.mul(x)?)?;
        Ok(())
    }

    /// # Errors
    /// When a sum has no numeric.
    pub fn merge(&mut self, other: &NumericMoments) -> Result<()> {
        self.n += other.n;
        self.sum.merge(&other.sum)?;
        self.squares.merge(&other.squares)
    }

    /// Variance or standard deviation, in the scale that Postgres's `numeric_stddev_internal` gives.
    ///
    /// # Errors
    /// Overflow of numeric.
    pub fn finish(&self, kind: K) -> Result<Datum> {
        let sample = matches!(kind, K::VarSamp | K::StddevSamp);
        if self.n < if sample { 2 } else { 1 } {
            return Ok(Datum::Null);
        }
        let n = Numeric::from(self.n);
        let sum = self.sum.finish()?;
        if sum.is_nan() || sum.is_infinite() {
            return Ok(Datum::Numeric(Numeric::NAN));
        }
        let numerator = n.mul(&self.squares.finish()?)?.sub(&sum.mul(&sum)?)?;
        if numerator <= Numeric::ZERO {
            return Ok(Datum::Numeric(Numeric::ZERO));
        }
        let divisor = n.mul(&Numeric::from(if sample { self.n - 1 } else { self.n }))?;
        let variance = numerator.div(&divisor)?;
        let value = match kind {
            K::StddevPop | K::StddevSamp => {
                let scale = i32::from(variance.scale().unwrap_or(0));
                variance.sqrt()?.round(scale)?
            }
            _ => variance,
        };
        Ok(Datum::Numeric(value))
    }
}
