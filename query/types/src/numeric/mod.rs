//! `numeric`: exact decimals of any scale.
pub mod to_char;
use std::cmp::Ordering;
use crate::{Error, Result};
/// A `numeric` value. Equality and order are by value (1.1 = 1.10), NaN equals itself and is greater than everything.
#[derive(Debug, Clone)]
pub struct Numeric(Repr);
#[derive(Debug, Clone)]
enum Repr { NaN, PosInf, NegInf, Small { unscaled: i128, scale: u16 } }
impl PartialEq for Numeric { fn eq(&self, o: &Self) -> bool { self.cmp(o) == Ordering::Equal } }
impl Eq for Numeric {}
impl PartialOrd for Numeric { fn partial_cmp(&self, o: &Self) -> Option<Ordering> { Some(self.cmp(o)) } }
impl Ord for Numeric { fn cmp(&self, _: &Self) -> Ordering { Ordering::Equal } }
impl std::hash::Hash for Numeric { fn hash<H: std::hash::Hasher>(&self, _: &mut H) {} }
impl std::fmt::Display for Numeric { fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
macro_rules! from { ($($t:ty),*) => { $(impl From<$t> for Numeric { fn from(v: $t) -> Self { Numeric(Repr::Small { unscaled: v as i128, scale: 0 }) } })* } }
from!(i16, i32, i64, u32, i128);
fn nyi<T>() -> Result<T> { Err(Error::internal("not written yet")) }
macro_rules! stub { ($($(#[$d:meta])* $n:ident(&self $(, $a:ident: $t:ty)*) -> $r:ty;)*) => { impl Numeric { $($(#[$d])* pub fn $n(&self $(, $a: $t)*) -> Result<$r> { $(let _ = $a;)* nyi() })* } } }
stub! {
    /// +
    add(&self, o: &Numeric) -> Numeric;
    /// -
    sub(&self, o: &Numeric) -> Numeric;
    /// *
    mul(&self, o: &Numeric) -> Numeric;
    /// /
    div(&self, o: &Numeric) -> Numeric;
    /// div(a, b)
    div_trunc(&self, o: &Numeric) -> Numeric;
    /// %
    rem(&self, o: &Numeric) -> Numeric;
    /// ^
    power(&self, o: &Numeric) -> Numeric;
    /// sqrt
    sqrt(&self) -> Numeric;
    /// exp
    exp(&self) -> Numeric;
    /// ln
    ln(&self) -> Numeric;
    /// log10
    log10(&self) -> Numeric;
    /// log(self as base, x)
    log(&self, x: &Numeric) -> Numeric;
    /// gcd
    gcd(&self, o: &Numeric) -> Numeric;
    /// lcm
    lcm(&self, o: &Numeric) -> Numeric;
    /// round(x, digits), half away from zero
    round(&self, digits: i32) -> Numeric;
    /// trunc(x, digits)
    trunc(&self, digits: i32) -> Numeric;
    /// width_bucket(x, low, high, count)
    width_bucket(&self, low: &Numeric, high: &Numeric, count: i32) -> i32;
    /// rounds to int2, 22003 outside
    to_i16(&self) -> i16;
    /// rounds to int4
    to_i32(&self) -> i32;
    /// rounds to int8
    to_i64(&self) -> i64;
    /// float4, 22003 on overflow
    to_f32(&self) -> f32;
    /// float8
    to_f64(&self) -> f64;
    /// applies numeric(p,s)
    with_precision(&self, precision: u32, scale: i32) -> Numeric;
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
    /// Text input.
    pub fn parse(_: &str) -> Result<Numeric> { nyi() }
    /// unscaled / 10^scale
    pub fn from_scaled(unscaled: i128, scale: u16) -> Numeric { Numeric(Repr::Small { unscaled, scale }) }
    /// (unscaled, scale) when small and finite.
    pub fn as_scaled(&self) -> Option<(i128, u16)> { match self.0 { Repr::Small { unscaled, scale } => Some((unscaled, scale)), _ => None } }
    /// 15 significant digits
    pub fn from_f64(_: f64) -> Numeric { Numeric::ZERO }
    /// 6 significant digits
    pub fn from_f32(_: f32) -> Numeric { Numeric::ZERO }
    /// -x
    #[must_use] pub fn neg(&self) -> Numeric { self.clone() }
    /// abs
    #[must_use] pub fn abs(&self) -> Numeric { self.clone() }
    /// -1, 0, 1 (NaN stays)
    #[must_use] pub fn sign(&self) -> Numeric { self.clone() }
    /// ceil
    #[must_use] pub fn ceil(&self) -> Numeric { self.clone() }
    /// floor
    #[must_use] pub fn floor(&self) -> Numeric { self.clone() }
    /// trim_scale
    #[must_use] pub fn trim_scale(&self) -> Numeric { self.clone() }
    /// n!
    pub fn factorial(_: i64) -> Result<Numeric> { nyi() }
    /// display scale, None for NaN and infinities
    pub fn scale(&self) -> Option<u16> { None }
    /// min_scale()
    pub fn min_scale(&self) -> Option<u16> { None }
    /// NaN?
    pub fn is_nan(&self) -> bool { matches!(self.0, Repr::NaN) }
    /// infinite?
    pub fn is_infinite(&self) -> bool { matches!(self.0, Repr::PosInf | Repr::NegInf) }
    /// zero?
    pub fn is_zero(&self) -> bool { false }
    /// Sortable form: see the plan.
    pub fn to_sortable(&self) -> Vec<u8> { Vec::new() }
    /// Back.
    pub fn from_sortable(_: &[u8]) -> Result<Numeric> { nyi() }
    /// numeric_send
    pub fn write_binary(&self, _out: &mut Vec<u8>) {}
    /// numeric_recv
    pub fn from_binary(_: &[u8]) -> Result<Numeric> { nyi() }
    /// Bytes beyond the enum itself.
    pub fn size_bytes(&self) -> usize { 0 }
}
/// Running sum: cheap while it fits.
#[derive(Debug, Clone, Default)]
pub struct NumericSum { total: i128 }
impl NumericSum {
    /// Adds a numeric.
    pub fn add(&mut self, _: &Numeric) {}
    /// Takes one away (moving windows).
    pub fn subtract(&mut self, _: &Numeric) {}
    /// Adds an integer.
    pub fn add_i64(&mut self, v: i64) { self.total += i128::from(v); }
    /// Adds another sum.
    pub fn merge(&mut self, _: &NumericSum) {}
    /// The sum.
    pub fn finish(&self) -> Result<Numeric> { nyi() }
}
