//! Intervals.
#![allow(unused_variables)]
use crate::*;
/// interval input; typmod carries fields and precision as in Postgres
pub fn parse_interval(s: &str, typmod: i32, o: &FormatOptions) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// applies interval typmod
pub fn interval_typmod(v: Interval, typmod: i32) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// +
pub fn interval_add(a: Interval, b: Interval) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// -
pub fn interval_sub(a: Interval, b: Interval) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// unary minus
pub fn interval_neg(a: Interval) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// * float8
pub fn interval_mul(a: Interval, by: f64) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// / float8
pub fn interval_div(a: Interval, by: f64) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// justify_hours
pub fn justify_hours(a: Interval) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// justify_days
pub fn justify_days(a: Interval) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// justify_interval
pub fn justify_interval(a: Interval) -> Result<Interval> { Err(Error::internal("not written yet")) }
