//! Math functions of double precision, and those that integers share.

use rand::Rng;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::args::{float, int4, numeric};
use super::arithmetic::{float_function, float_overflow, float_underflow};
use crate::session::EvalContext;

fn out_of_range_input() -> Error {
    Error::new(ErrorKind::NumericValueOutOfRange, "input is out of range")
}

macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident: $x:ident => $value:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            let $x = float(&a[0])?;
            Ok(Datum::Float8($value))
        }
    )*};
}

/// Postgres's functions of degrees: scaled so that multiples of 30 and 45 come out exact.
mod degree {
    const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

    fn sin_to_30(x: f64) -> f64 {
        (x * RADIANS_PER_DEGREE).sin() / (30.0 * RADIANS_PER_DEGREE).sin() / 2.0
    }

    fn cos_to_60(x: f64) -> f64 {
        let complement = 1.0 - (60.0 * RADIANS_PER_DEGREE).cos();
        1.0 - (1.0 - (x * RADIANS_PER_DEGREE).cos()) / complement / 2.0
    }

    fn sin_quadrant(x: f64) -> f64 {
        if x <= 30.0 { sin_to_30(x) } else { cos_to_60(90.0 - x) }
    }

    fn cos_quadrant(x: f64) -> f64 {
        if x <= 60.0 { cos_to_60(x) } else { sin_to_30(90.0 - x) }
    }

    /// The angle in the first quadrant, and the signs of sine and cosine there.
    fn reduce(x: f64) -> (f64, f64, f64) {
        let mut x = x % 360.0;
        let (mut sine, mut cosine) = (1.0, 1.0);
        if x < 0.0 {
            x = -x;
            sine = -sine;
        }
        if x > 180.0 {
            x = 360.0 - x;
            sine = -sine;
        }
        if x > 90.0 {
            x = 180.0 - x;
            cosine = -cosine;
        }
        (x, sine, cosine)
    }

    pub fn sin(x: f64) -> f64 {
        let (x, sign, _) = reduce(x);
        sign * sin_quadrant(x)
    }

    pub fn cos(x: f64) -> f64 {
        let (x, _, sign) = reduce(x);
        sign * cos_quadrant(x)
    }

    pub fn tan(x: f64) -> f64 {
        let (x, sine, cosine) = reduce(x);
        let unit = sin_quadrant(45.0) / cos_quadrant(45.0);
        // + 0.0 makes -0.0 a plain zero, as Postgres does
        sine * cosine * (sin_quadrant(x) / cos_quadrant(x) / unit) + 0.0
    }

    pub fn cot(x: f64) -> f64 {
        let (x, sine, cosine) = reduce(x);
        let unit = cos_quadrant(45.0) / sin_quadrant(45.0);
        sine * cosine * (cos_quadrant(x) / sin_quadrant(x) / unit) + 0.0
    }

    fn asin_quadrant(x: f64) -> f64 {
        if x <= 0.5 { x.asin() / 0.5_f64.asin() * 30.0 } else { 90.0 - x.acos() / 0.5_f64.acos() * 60.0 }
    }

    pub fn asin(x: f64) -> f64 {
        if x >= 0.0 { asin_quadrant(x) } else { -asin_quadrant(-x) }
    }

    pub fn acos(x: f64) -> f64 {
        if x < 0.0 {
            90.0 + asin_quadrant(-x)
        } else if x <= 0.5 {
            90.0 - x.asin() / 0.5_f64.asin() * 30.0
        } else {
            x.acos() / 0.5_f64.acos() * 60.0
        }
    }

    pub fn of_radians(radians: f64) -> f64 {
        radians / 1.0_f64.atan() * 45.0
    }
}

/// Beyond this, the square in `asinh` and `acosh` would overflow and 1 does not matter beside it.
const LARGE: f64 = 1e150;

fn asinh_of(x: f64) -> f64 {
    if x.abs() > LARGE { (x.abs().ln() + std::f64::consts::LN_2).copysign(x) } else { x.asinh() }
}

fn acosh_of(x: f64) -> f64 {
    if x > LARGE { x.ln() + std::f64::consts::LN_2 } else { x.acosh() }
}

plain! {
    /// `ceil`
    ceil: x => x.ceil();
    /// `floor`
    floor: x => x.floor();
    /// `round`: half to even
    round: x => x.round_ties_even();
    /// `trunc`
    trunc: x => x.trunc();
    /// `sign`
    sign: x => if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 };
    /// `cbrt`
    cbrt: x => x.cbrt();
    /// `radians`
    radians: x => x * (std::f64::consts::PI / 180.0);
    /// `atan`
    atan: x => x.atan();
    /// `sinh`
    sinh: x => x.sinh();
    /// `cosh`
    cosh: x => x.cosh();
    /// `tanh`
    tanh: x => x.tanh();
    /// `asinh`
    asinh: x => asinh_of(x);
    /// `atand`
    atand: x => degree::of_radians(x.atan());
}

/// `degrees`
pub fn degrees(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let x = float(&a[0])?;
    float_function(x / (std::f64::consts::PI / 180.0), x, x == 0.0)
}

/// `pi()`
pub fn pi(_: &EvalContext, _: &[PgType], _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Float8(std::f64::consts::PI))
}

/// `sqrt`
pub fn sqrt(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let x = float(&a[0])?;
    if x < 0.0 {
        return Err(Error::new(
            ErrorKind::InvalidArgumentForPowerFunction,
            "cannot take square root of a negative number",
        ));
    }
    Ok(Datum::Float8(x.sqrt()))
}

/// `exp`
pub fn exp(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let x = float(&a[0])?;
    float_function(x.exp(), x, x.is_infinite())
}

fn log_argument(x: f64) -> Result<f64> {
    let refused = if x == 0.0 {
        "cannot take logarithm of zero"
    } else if x < 0.0 {
        "cannot take logarithm of a negative number"
    } else {
        return Ok(x);
    };
    Err(Error::new(ErrorKind::InvalidArgumentForLogarithm, refused))
}

/// `ln`
pub fn ln(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Float8(log_argument(float(&a[0])?)?.ln()))
}

/// `log`, `log10`
pub fn log10(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Float8(log_argument(float(&a[0])?)?.log10()))
}

/// `power`, `^`
pub fn power(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let (x, y) = (float(&a[0])?, float(&a[1])?);
    let refused = |message| Err(Error::new(ErrorKind::InvalidArgumentForPowerFunction, message));
    if x == 0.0 && y < 0.0 {
        return refused("zero raised to a negative power is undefined");
    }
    if x < 0.0 && y.is_finite() && y.fract() != 0.0 {
        return refused("a negative number raised to a non-integer power yields a complex result");
    }
    let value = x.powf(y);
    if x.is_finite() && y.is_finite() {
        if value.is_infinite() {
            return Err(float_overflow());
        }
        if value == 0.0 && x != 0.0 {
            return Err(float_underflow());
        }
    }
    Ok(Datum::Float8(value))
}

macro_rules! trigonometry {
    ($($name:ident: $x:ident => $value:expr;)*) => {$(
        /// The function of this name; infinities are out of its range.
        pub fn $name(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            let $x = float(&a[0])?;
            if $x.is_infinite() {
                return Err(out_of_range_input());
            }
            Ok(Datum::Float8($value))
        }
    )*};
}

trigonometry! {
    sin: x => x.sin();
    cos: x => x.cos();
    tan: x => x.tan();
    cot: x => 1.0 / x.tan();
    sind: x => degree::sin(x);
    cosd: x => degree::cos(x);
    tand: x => degree::tan(x);
    cotd: x => degree::cot(x);
}

macro_rules! inverse {
    ($($name:ident: $x:ident in $domain:expr => $value:expr;)*) => {$(
        /// The function of this name, with its domain.
        pub fn $name(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            let $x = float(&a[0])?;
            let inside = $x.is_nan() || $domain;
            if !inside {
                return Err(out_of_range_input());
            }
            Ok(Datum::Float8($value))
        }
    )*};
}

inverse! {
    asin: x in (-1.0..=1.0).contains(&x) => x.asin();
    acos: x in (-1.0..=1.0).contains(&x) => x.acos();
    asind: x in (-1.0..=1.0).contains(&x) => degree::asin(x);
    acosd: x in (-1.0..=1.0).contains(&x) => degree::acos(x);
    acosh: x in (x >= 1.0) => acosh_of(x);
    atanh: x in (-1.0..=1.0).contains(&x) => x.atanh();
}

/// `atan2`
pub fn atan2(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Float8(float(&a[0])?.atan2(float(&a[1])?)))
}

/// `atan2d`
pub fn atan2d(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let radians = float(&a[0])?.atan2(float(&a[1])?);
    Ok(Datum::Float8(degree::of_radians(radians)))
}

/// `random()`
pub fn random(ctx: &EvalContext, _: &[PgType], _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Float8(ctx.host.seeded_random().unwrap_or_else(|| rand::rng().random::<f64>())))
}

/// `setseed`
pub fn setseed(ctx: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let seed = float(&a[0])?;
    if !(-1.0..=1.0).contains(&seed) {
        let message = format!("setseed parameter {seed} is out of allowed range [-1,1]");
        return Err(Error::new(ErrorKind::InvalidParameterValue, message));
    }
    ctx.host.seed_random(seed);
    Ok(Datum::text(""))
}

/// `width_bucket(x, low, high, count)`
pub fn width_bucket(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let count = int4(&a[3])?;
    let refused = |message| Err(Error::new(ErrorKind::InvalidArgumentForWidthBucket, message));
    if count <= 0 {
        return refused("count must be greater than zero");
    }
    if let Datum::Numeric(x) = &a[0] {
        return x.width_bucket(numeric(&a[1])?, numeric(&a[2])?, count).map(Datum::Int4);
    }
    let (x, low, high) = (float(&a[0])?, float(&a[1])?, float(&a[2])?);
    if x.is_nan() || low.is_nan() || high.is_nan() {
        return refused("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return refused("lower and upper bounds must be finite");
    }
    if low == high {
        return refused("lower bound cannot equal upper bound");
    }
    // Falling bounds are rising ones of the negated values.
    let (x, low, high) = if low < high { (x, low, high) } else { (-x, -low, -high) };
    let bucket = if x < low {
        0
    } else if x >= high {
        count.checked_add(1).ok_or_else(|| Error::out_of_range("integer"))?
    } else {
        // Halved, because the difference of two large bounds may overflow.
        let part = (x / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        ((f64::from(count) * part) as i32 + 1).min(count)
    };
    Ok(Datum::Int4(bucket))
}
