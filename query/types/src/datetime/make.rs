//! make_date and its kin.
#![allow(unused_variables)]
use crate::*;
/// make_date
pub fn make_date(y: i32, m: i32, d: i32) -> Result<i32> { Err(Error::internal("not written yet")) }
/// make_time
pub fn make_time(h: i32, m: i32, s: f64) -> Result<i64> { Err(Error::internal("not written yet")) }
/// make_timestamp
pub fn make_timestamp(y: i32, mo: i32, d: i32, h: i32, mi: i32, s: f64) -> Result<i64> { Err(Error::internal("not written yet")) }
/// make_timestamptz
pub fn make_timestamptz(y: i32, mo: i32, d: i32, h: i32, mi: i32, s: f64, zone: &TimeZone) -> Result<i64> { Err(Error::internal("not written yet")) }
/// make_interval
pub fn make_interval(years: i32, months: i32, weeks: i32, days: i32, hours: i32, mins: i32, secs: f64) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// to_timestamp(float8)
pub fn timestamptz_from_epoch(seconds: f64) -> Result<i64> { Err(Error::internal("not written yet")) }
