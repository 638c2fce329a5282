//! `+ - * / %` and the bit operators of the numeric types, and their math functions.

use stratos_types::{Datum, Error, ErrorKind, Numeric, PgType, Result};

use super::args::{float, int, int4, numeric};
use crate::session::EvalContext;

fn pair(a: &[Datum]) -> Result<(&Datum, &Datum)> {
    match a {
        [x, y] => Ok((x, y)),
        _ => Err(Error::internal("an operator takes two arguments")),
    }
}

fn no_operator(a: &[Datum]) -> Error {
    Error::internal(format_args!("no such arithmetic on {a:?}"))
}

/// The wider of two integer types decides the result's.
fn integer_result(x: &Datum, y: &Datum, value: Option<i64>) -> Result<Datum> {
    match (x, y) {
        (Datum::Int8(_), _) | (_, Datum::Int8(_)) => {
            value.map(Datum::Int8).ok_or_else(|| Error::out_of_range("bigint"))
        }
        (Datum::Int4(_), _) | (_, Datum::Int4(_)) => {
            value.and_then(|v| i32::try_from(v).ok()).map(Datum::Int4).ok_or_else(|| Error::out_of_range("integer"))
        }
        _ => value.and_then(|v| i16::try_from(v).ok()).map(Datum::Int2).ok_or_else(|| Error::out_of_range("smallint")),
    }
}

fn overflow() -> Error {
    Error::new(ErrorKind::NumericValueOutOfRange, "value out of range: overflow")
}

fn underflow() -> Error {
    Error::new(ErrorKind::NumericValueOutOfRange, "value out of range: underflow")
}

/// Postgres's rule for every float result: an infinity needs an infinite input, a zero one of `zero_ok`.
fn checked(value: f64, inputs_infinite: bool, zero_ok: bool) -> Result<f64> {
    if value.is_infinite() && !inputs_infinite {
        return Err(overflow());
    }
    if value == 0.0 && !zero_ok {
        return Err(underflow());
    }
    Ok(value)
}

fn float_result(x: &Datum, y: &Datum, op: Op) -> Result<Datum> {
    if let (Datum::Float4(x), Datum::Float4(y)) = (x, y) {
        // In the arguments' own precision: rounding twice would differ in the last digit, and overflow is at f32's end.
        let value = match op {
            Op::Add => x + y,
            Op::Sub => x - y,
            Op::Mul => x * y,
            Op::Div => {
                if *y == 0.0 && !x.is_nan() {
                    return Err(Error::division_by_zero());
                }
                x / y
            }
        };
        let (infinite, zero_ok) = float_exceptions(op, f64::from(*x), f64::from(*y));
        checked(f64::from(value), infinite, zero_ok)?;
        return Ok(Datum::Float4(value));
    }
    let (x, y) = (float(x)?, float(y)?);
    let value = match op {
        Op::Add => x + y,
        Op::Sub => x - y,
        Op::Mul => x * y,
        Op::Div => {
            if y == 0.0 && !x.is_nan() {
                return Err(Error::division_by_zero());
            }
            x / y
        }
    };
    let (infinite, zero_ok) = float_exceptions(op, x, y);
    Ok(Datum::Float8(checked(value, infinite, zero_ok)?))
}

/// Whether an infinite result and a zero result are right for these operands.
fn float_exceptions(op: Op, x: f64, y: f64) -> (bool, bool) {
    match op {
        Op::Add | Op::Sub => (x.is_infinite() || y.is_infinite(), true),
        Op::Mul => (x.is_infinite() || y.is_infinite(), x == 0.0 || y == 0.0),
        Op::Div => (x.is_infinite(), x == 0.0 || y.is_infinite()),
    }
}

#[derive(Clone, Copy)]
enum Op {
    Add,
    Sub,
    Mul,
    Div,
}

/// `+` of two numbers.
pub fn add(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    use Datum::{Float4, Float8, Int2, Int4, Int8, Numeric};
    match pair(a)? {
        (x @ (Int2(_) | Int4(_) | Int8(_)), y @ (Int2(_) | Int4(_) | Int8(_))) => {
            integer_result(x, y, int(x)?.checked_add(int(y)?))
        }
        (x @ (Float4(_) | Float8(_)), y @ (Float4(_) | Float8(_))) => float_result(x, y, Op::Add),
        (Numeric(x), Numeric(y)) => x.add(y).map(Numeric),
        _ => Err(no_operator(a)),
    }
}

/// `-` of two numbers.
pub fn subtract(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    use Datum::{Float4, Float8, Int2, Int4, Int8, Numeric};
    match pair(a)? {
        (x @ (Int2(_) | Int4(_) | Int8(_)), y @ (Int2(_) | Int4(_) | Int8(_))) => {
            integer_result(x, y, int(x)?.checked_sub(int(y)?))
        }
        (x @ (Float4(_) | Float8(_)), y @ (Float4(_) | Float8(_))) => float_result(x, y, Op::Sub),
        (Numeric(x), Numeric(y)) => x.sub(y).map(Numeric),
        _ => Err(no_operator(a)),
    }
}

/// `*` of two numbers.
pub fn multiply(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    use Datum::{Float4, Float8, Int2, Int4, Int8, Numeric};
    match pair(a)? {
        (x @ (Int2(_) | Int4(_) | Int8(_)), y @ (Int2(_) | Int4(_) | Int8(_))) => {
            integer_result(x, y, int(x)?.checked_mul(int(y)?))
        }
        (x @ (Float4(_) | Float8(_)), y @ (Float4(_) | Float8(_))) => float_result(x, y, Op::Mul),
        (Numeric(x), Numeric(y)) => x.mul(y).map(Numeric),
        _ => Err(no_operator(a)),
    }
}

/// `/` of two numbers; integers truncate.
pub fn divide(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    use Datum::{Float4, Float8, Int2, Int4, Int8, Numeric};
    match pair(a)? {
        (x @ (Int2(_) | Int4(_) | Int8(_)), y @ (Int2(_) | Int4(_) | Int8(_))) => {
            let divisor = int(y)?;
            if divisor == 0 {
                return Err(Error::division_by_zero());
            }
            integer_result(x, y, int(x)?.checked_div(divisor))
        }
        (x @ (Float4(_) | Float8(_)), y @ (Float4(_) | Float8(_))) => float_result(x, y, Op::Div),
        (Numeric(x), Numeric(y)) => x.div(y).map(Numeric),
        _ => Err(no_operator(a)),
    }
}

/// `%` and `mod`; the sign is the dividend's.
pub fn remainder(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    use Datum::{Int2, Int4, Int8, Numeric};
    match pair(a)? {
        (x @ (Int2(_) | Int4(_) | Int8(_)), y @ (Int2(_) | Int4(_) | Int8(_))) => {
            let divisor = int(y)?;
            if divisor == 0 {
                return Err(Error::division_by_zero());
            }
            // wrapping: i64::MIN % -1 is 0, not an overflow
            integer_result(x, y, Some(int(x)?.wrapping_rem(divisor)))
        }
        (Numeric(x), Numeric(y)) => x.rem(y).map(Numeric),
        _ => Err(no_operator(a)),
    }
}

/// Prefix `-`.
pub fn negate(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    match &a[0] {
        x @ (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_)) => integer_result(x, x, int(x)?.checked_neg()),
        Datum::Float4(x) => Ok(Datum::Float4(-x)),
        Datum::Float8(x) => Ok(Datum::Float8(-x)),
        Datum::Numeric(x) => Ok(Datum::Numeric(x.neg())),
        _ => Err(no_operator(a)),
    }
}

/// Prefix `+`.
pub fn identity(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Ok(a[0].clone())
}

/// `abs` and prefix `@`.
pub fn abs(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    match &a[0] {
        x @ (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_)) => integer_result(x, x, int(x)?.checked_abs()),
        Datum::Float4(x) => Ok(Datum::Float4(x.abs())),
        Datum::Float8(x) => Ok(Datum::Float8(x.abs())),
        Datum::Numeric(x) => Ok(Datum::Numeric(x.abs())),
        _ => Err(no_operator(a)),
    }
}

/// `int4inc`
pub fn increment(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    integer_result(&a[0], &a[0], int(&a[0])?.checked_add(1))
}

macro_rules! bits {
    ($($(#[$doc:meta])* $name:ident: $x:ident, $y:ident => $value:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            let (first, second) = pair(a)?;
            let ($x, $y) = (int(first)?, int(second)?);
            integer_result(first, second, Some($value))
        }
    )*};
}

bits! {
    /// `&`
    bit_and: x, y => x & y;
    /// `|`
    bit_or: x, y => x | y;
    /// `#`
    bit_xor: x, y => x ^ y;
}

/// Prefix `~` of an integer.
pub fn bit_not(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    integer_result(&a[0], &a[0], Some(!int(&a[0])?))
}

/// `<<`; the count wraps at the type's width, bits fall off.
pub fn shift_left(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let count = int4(&a[1])? as u32;
    Ok(match &a[0] {
        // C shifts the promoted int by the count modulo 32 and cuts the result
        Datum::Int2(x) => Datum::Int2((i32::from(*x).wrapping_shl(count)) as i16),
        Datum::Int4(x) => Datum::Int4(x.wrapping_shl(count)),
        Datum::Int8(x) => Datum::Int8(x.wrapping_shl(count)),
        _ => return Err(no_operator(a)),
    })
}

/// `>>`, arithmetic.
pub fn shift_right(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let count = int4(&a[1])? as u32;
    Ok(match &a[0] {
        Datum::Int2(x) => Datum::Int2((i32::from(*x).wrapping_shr(count)) as i16),
        Datum::Int4(x) => Datum::Int4(x.wrapping_shr(count)),
        Datum::Int8(x) => Datum::Int8(x.wrapping_shr(count)),
        _ => return Err(no_operator(a)),
    })
}

fn gcd_of(x: i64, y: i64) -> u64 {
    let (mut x, mut y) = (x.unsigned_abs(), y.unsigned_abs());
    while y != 0 {
        (x, y) = (y, x % y);
    }
    x
}

/// `gcd`
pub fn gcd(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    match pair(a)? {
        (Datum::Numeric(x), Datum::Numeric(y)) => x.gcd(y).map(Datum::Numeric),
        (x, y) => integer_result(x, y, i64::try_from(gcd_of(int(x)?, int(y)?)).ok()),
    }
}

/// `lcm`
pub fn lcm(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    match pair(a)? {
        (Datum::Numeric(x), Datum::Numeric(y)) => x.lcm(y).map(Datum::Numeric),
        (x, y) => {
            let (m, n) = (int(x)?, int(y)?);
            let value = match m.unsigned_abs().checked_div(gcd_of(m, n)) {
                Some(part) => part.checked_mul(n.unsigned_abs()).and_then(|v| i64::try_from(v).ok()),
                None => Some(0),
            };
            integer_result(x, y, value)
        }
    }
}

macro_rules! numeric_functions {
    ($($(#[$doc:meta])* $name:ident: $x:ident => $value:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
            let $x = numeric(&a[0])?;
            Ok(Datum::Numeric($value))
        }
    )*};
}

numeric_functions! {
    /// `ceil(numeric)`
    numeric_ceil: x => x.ceil();
    /// `floor(numeric)`
    numeric_floor: x => x.floor();
    /// `sign(numeric)`
    numeric_sign: x => x.sign();
    /// `sqrt(numeric)`
    numeric_sqrt: x => x.sqrt()?;
    /// `exp(numeric)`
    numeric_exp: x => x.exp()?;
    /// `ln(numeric)`
    numeric_ln: x => x.ln()?;
    /// `log(numeric)`: base 10
    numeric_log10: x => x.log10()?;
    /// `trim_scale(numeric)`
    numeric_trim_scale: x => x.trim_scale();
}

/// `round(numeric[, digits])`
pub fn numeric_round(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let digits = a.get(1).map_or(Ok(0), int4)?;
    numeric(&a[0])?.round(digits).map(Datum::Numeric)
}

/// `trunc(numeric[, digits])`
pub fn numeric_trunc(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let digits = a.get(1).map_or(Ok(0), int4)?;
    numeric(&a[0])?.trunc(digits).map(Datum::Numeric)
}

/// `power(numeric, numeric)`
pub fn numeric_power(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    numeric(&a[0])?.power(numeric(&a[1])?).map(Datum::Numeric)
}

/// `log(base, x)`
pub fn numeric_log(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    numeric(&a[0])?.log(numeric(&a[1])?).map(Datum::Numeric)
}

/// `div(numeric, numeric)`
pub fn numeric_div_trunc(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    numeric(&a[0])?.div_trunc(numeric(&a[1])?).map(Datum::Numeric)
}

/// `scale(numeric)`
pub fn numeric_scale(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let scale = numeric(&a[0])?.scale();
    Ok(scale.map_or(Datum::Null, |s| Datum::Int4(i32::from(s))))
}

/// `min_scale(numeric)`
pub fn numeric_min_scale(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    let scale = numeric(&a[0])?.min_scale();
    Ok(scale.map_or(Datum::Null, |s| Datum::Int4(i32::from(s))))
}

/// `factorial(bigint)`
pub fn factorial(_: &EvalContext, _: &[PgType], a: &[Datum]) -> Result<Datum> {
    Numeric::factorial(int(&a[0])?).map(Datum::Numeric)
}

/// The common checks for float functions of one argument.
pub(super) fn float_function(value: f64, input: f64, zero_ok: bool) -> Result<Datum> {
    checked(value, input.is_infinite(), zero_ok).map(Datum::Float8)
}

pub(super) fn float_overflow() -> Error {
    overflow()
}

pub(super) fn float_underflow() -> Error {
    underflow()
}
