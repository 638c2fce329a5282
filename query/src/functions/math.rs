//! Math functions of double precision, and those that integers share.

use rand::Rng;
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::args::{float, int4, numeric};
use super::arithmetic::{float_function, float_overflow, float_underflow};
use crate::session::EvalContext;

fn out_of_range_input() -> Error {
    Error::new(
        ErrorKind::NumericValueOutOfRange,
        "input is out of range",
    )
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

/// Multiples of 30 and 45 degrees give exact results, as in Postgres.
fn exact(degrees: f64, of: fn(f64) -> f64, known: &[(f64, f64)]) -> f64 {
    let reduced = degrees % 360.0;
    let hit = known.iter().find(|(d, _)| *d == reduced);
    hit.map_or_else(|| of(reduced.to_radians()), |(_, v)| *v)
}

const SINES: &[(f64, f64)] = &[
    (0.0, 0.0), (30.0, 0.5), (90.0, 1.0), (150.0, 0.5), (180.0, 0.0), (210.0, -0.5), (270.0, -1.0),
    (330.0, -0.5), (-30.0, -0.5), (-90.0, -1.0), (-150.0, -0.5), (-180.0, 0.0), (-210.0, 0.5),
    (-270.0, 1.0), (-330.0, 0.5),
];
const COSINES: &[(f64, f64)] = &[
    (0.0, 1.0), (60.0, 0.5), (90.0, 0.0), (120.0, -0.5), (180.0, -1.0), (240.0, -0.5), (270.0, 0.0),
    (300.0, 0.5), (-60.0, 0.5), (-90.0, 0.0), (-120.0, -0.5), (-180.0, -1.0), (-240.0, -0.5),
    (-270.0, 0.0), (-300.0, 0.5),
];
const TANGENTS: &[(f64, f64)] = &[
    (0.0, 0.0), (45.0, 1.0), (135.0, -1.0), (180.0, 0.0), (225.0, 1.0), (315.0, -1.0),
    (-45.0, -1.0), (-135.0, 1.0), (-180.0, 0.0), (-225.0, -1.0), (-315.0, 1.0),
    (90.0, f64::INFINITY), (270.0, f64::NEG_INFINITY), (-90.0, f64::NEG_INFINITY), (-270.0, f64::INFINITY),
];

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
    sign: x => if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x.abs() };
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
    asinh: x => x.asinh();
    /// `atand`
    atand: x => x.atan().to_degrees();
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
    sind: x => exact(x, f64::sin, SINES);
    cosd: x => exact(x, f64::cos, COSINES);
    tand: x => exact(x, f64::tan, TANGENTS);
    cotd: x => 1.0 / exact(x, f64::tan, TANGENTS);
}

macro_rules! inverse {
    ($($name:ident: $x:ident in $domain:expr => $value:expr;)*) => {$(
        /// The function of this name, with its domain.
        pub fn $name(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            let $x = float(&a[0])?;
            if !$x.is_nan() && !$domain {
                return Err(out_of_range_input());
            }
            Ok(Datum::Float8($value))
        }
    )*};
}

inverse! {
    asin: x in (-1.0..=1.0).contains(&x) => x.asin();
    acos: x in (-1.0..=1.0).contains(&x) => x.acos();
    asind: x in (-1.0..=1.0).contains(&x) => if x.abs() == 0.5 { 30.0_f64.copysign(x) } else { x.asin().to_degrees() };
    acosd: x in (-1.0..=1.0).contains(&x) => if x == 0.5 { 60.0 } else if x == -0.5 { 120.0 } else { x.acos().to_degrees() };
    acosh: x in (x >= 1.0) => x.acosh();
    atanh: x in (-1.0..=1.0).contains(&x) => x.atanh();
}

/// `atan2`
pub fn atan2(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(Datum::Float8(float(&a[0])?.atan2(float(&a[1])?)))
}

/// `atan2d`
pub fn atan2d(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let radians = float(&a[0])?.atan2(float(&a[1])?);
    Ok(Datum::Float8(radians.to_degrees()))
}

/// `random()`
pub fn random(_: &EvalContext, _: &[PgType], _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Float8(rand::rng().random::<f64>()))
}

/// `width_bucket(x, low, high, count)`
pub fn width_bucket(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let count = int4(&a[3])?;
    let refused = |message| {
        Err(Error::new(
            ErrorKind::InvalidParameterValue,
            message,
        ))
    };
    if count <= 0 {
        return refused("count must be greater than zero");
    }
    if let Datum::Numeric(x) = &a[0] {
        return x
            .width_bucket(numeric(&a[1])?, numeric(&a[2])?, count)
            .map(Datum::Int4);
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
