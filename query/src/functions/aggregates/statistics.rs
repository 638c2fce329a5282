//! Sums of squares: variance, covariance, regression.

use stratos_types::{Datum, Error, ErrorKind, Numeric, NumericSum, Result};

use super::super::AggregateKind as K;

fn overflow() -> Error {
    Error::new(ErrorKind::NumericValueOutOfRange, "value out of range: overflow")
}

/// What finite numbers make is finite.
fn checked(result: f64, operands: [f64; 2]) -> Result<f64> {
    if result.is_infinite() && !operands.iter().any(|v| v.is_infinite()) {
        return Err(overflow());
    }
    Ok(result)
}

/// The sum of two float8.
///
/// # Errors
/// 22003 where there is none for finite numbers.
pub fn float8_sum(a: f64, b: f64) -> Result<f64> {
    checked(a + b, [a, b])
}

/// The sum of two float4.
///
/// # Errors
/// As [`float8_sum`].
pub fn float4_sum(a: f32, b: f32) -> Result<f32> {
    Ok(checked(f64::from(a + b), [f64::from(a), f64::from(b)])? as f32)
}

/// Youngs and Cramer's running sums over one float variable, as Postgres's `float8_accum` keeps them.
#[derive(Debug, Clone, Copy, Default)]
pub struct FloatMoments {
    /// How many values.
    pub n: f64,
    /// Their sum.
    pub sum: f64,
    /// Sum of the squares of the differences from the mean.
    pub squares: f64,
}

impl FloatMoments {
    /// # Errors
    /// 22003 when a sum of finite values is infinite.
    pub fn add(&mut self, x: f64) -> Result<()> {
        let (old_n, old_sum) = (self.n, self.sum);
        self.n += 1.0;
        self.sum += x;
        if old_n > 0.0 {
            let off = x * self.n - self.sum;
            self.squares += off * off / (self.n * old_n);
            if self.sum.is_infinite() || self.squares.is_infinite() {
                checked(f64::INFINITY, [old_sum, x])?;
                self.squares = f64::NAN;
            }
        } else if !x.is_finite() {
            self.squares = f64::NAN;
        }
        Ok(())
    }

    /// # Errors
    /// As [`FloatMoments::add`].
    pub fn merge(&mut self, other: &FloatMoments) -> Result<()> {
        if other.n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            *self = *other;
            return Ok(());
        }
        let n = self.n + other.n;
        let off = self.sum / self.n - other.sum / other.n;
        let squares = self.squares + other.squares + self.n * other.n * off * off / n;
        self.squares = checked(squares, [self.squares, other.squares])?;
        self.sum = float8_sum(self.sum, other.sum)?;
        self.n = n;
        Ok(())
    }

    /// The aggregate's value; NULL where it is undefined.
    pub fn finish(&self, kind: K) -> Datum {
        let (n, needed) = match kind {
            K::VarSamp | K::StddevSamp => (self.n - 1.0, 2.0),
            _ => (self.n, 1.0),
        };
        if self.n < needed {
            return Datum::Null;
        }
        Datum::Float8(match kind {
            K::VarPop | K::VarSamp => self.squares / n,
            K::StddevPop | K::StddevSamp => (self.squares / n).sqrt(),
            _ => self.sum / n,
        })
    }
}

/// Youngs and Cramer's running sums over two float variables, as Postgres's `float8_regr_accum` keeps them.
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

    /// # Errors
    /// As [`Moments::add`].
    pub fn merge(&mut self, other: &Moments) -> Result<()> {
        if other.n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            *self = other.clone();
            return Ok(());
        }
        let n = self.n + other.n;
        let dx = self.sx / self.n - other.sx / other.n;
        let dy = self.sy / self.n - other.sy / other.n;
        let weight = self.n * other.n;
        let joined = |a: f64, b: f64, product: f64| checked(a + b + product / n, [a, b]);
        self.sxx = joined(self.sxx, other.sxx, weight * dx * dx)?;
        self.syy = joined(self.syy, other.syy, weight * dy * dy)?;
        self.sxy = joined(self.sxy, other.sxy, weight * dx * dy)?;
        self.sx = float8_sum(self.sx, other.sx)?;
        self.sy = float8_sum(self.sy, other.sy)?;
        self.n = n;
        Ok(())
    }

    /// The aggregate's value; NULL where it is undefined.
    pub fn finish(&self, kind: K) -> Datum {
        let (n, needed) = match kind {
            K::RegrCount => return Datum::Int8(self.n as i64),
            K::CovarSamp => (self.n - 1.0, 2.0),
            _ => (self.n, 1.0),
        };
        if self.n < needed {
            return Datum::Null;
        }
        let flat_x = self.sxx == 0.0;
        let value = match kind {
            K::RegrAvgX => self.sx / n,
            K::RegrAvgY => self.sy / n,
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
            // Rounded once, to the scale of the variance.
            K::StddevPop | K::StddevSamp => variance.sqrt_to_scale(variance.scale().unwrap_or(0))?,
            _ => variance,
        };
        Ok(Datum::Numeric(value))
    }
}
