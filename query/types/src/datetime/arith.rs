//! Arithmetic.
#![allow(unused_variables)]
use crate::*;
/// timestamp + interval (also for date + interval after date_to_timestamp)
pub fn timestamp_plus(t: i64, i: Interval) -> Result<i64> { Err(Error::internal("not written yet")) }
/// timestamp - interval
pub fn timestamp_minus(t: i64, i: Interval) -> Result<i64> { Err(Error::internal("not written yet")) }
/// timestamptz + interval
pub fn timestamptz_plus(t: i64, i: Interval, zone: &TimeZone) -> Result<i64> { Err(Error::internal("not written yet")) }
/// timestamptz - interval
pub fn timestamptz_minus(t: i64, i: Interval, zone: &TimeZone) -> Result<i64> { Err(Error::internal("not written yet")) }
/// timestamp - timestamp, also timestamptz - timestamptz
pub fn timestamp_diff(a: i64, b: i64) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// age(a, b) of timestamps
pub fn timestamp_age(a: i64, b: i64) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// age(a, b) of timestamptz
pub fn timestamptz_age(a: i64, b: i64, zone: &TimeZone) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// date + integer
pub fn date_plus(d: i32, days: i32) -> Result<i32> { Err(Error::internal("not written yet")) }
/// date - date
pub fn date_diff(a: i32, b: i32) -> Result<i32> { Err(Error::internal("not written yet")) }
/// time + interval, wraps at midnight
pub fn time_plus(t: i64, i: Interval) -> Result<i64> { Err(Error::internal("not written yet")) }
/// time - interval
pub fn time_minus(t: i64, i: Interval) -> Result<i64> { Err(Error::internal("not written yet")) }
/// timetz + interval
pub fn timetz_plus(t: TimeTz, i: Interval) -> Result<TimeTz> { Err(Error::internal("not written yet")) }
/// timetz - interval
pub fn timetz_minus(t: TimeTz, i: Interval) -> Result<TimeTz> { Err(Error::internal("not written yet")) }
/// time - time
pub fn time_diff(a: i64, b: i64) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// date + time
pub fn date_time(d: i32, t: i64) -> Result<i64> { Err(Error::internal("not written yet")) }
/// date + timetz
pub fn date_timetz(d: i32, t: TimeTz) -> Result<i64> { Err(Error::internal("not written yet")) }
/// OVERLAPS of two periods, bounds NULL where None: None result is NULL
pub fn overlaps(a: Option<i64>, b: Option<i64>, c: Option<i64>, d: Option<i64>) -> Result<Option<bool>> { Err(Error::internal("not written yet")) }
/// date → timestamp
pub fn date_to_timestamp(d: i32) -> Result<i64> { Err(Error::internal("not written yet")) }
/// date → timestamptz at midnight of the zone
pub fn date_to_timestamptz(d: i32, zone: &TimeZone) -> Result<i64> { Err(Error::internal("not written yet")) }
/// timestamp → date
pub fn timestamp_to_date(t: i64) -> Result<i32> { Err(Error::internal("not written yet")) }
/// timestamptz → date in the zone
pub fn timestamptz_to_date(t: i64, zone: &TimeZone) -> Result<i32> { Err(Error::internal("not written yet")) }
/// timestamp → timestamptz: local time of the zone
pub fn timestamp_to_timestamptz(t: i64, zone: &TimeZone) -> Result<i64> { Err(Error::internal("not written yet")) }
/// timestamptz → timestamp
pub fn timestamptz_to_timestamp(t: i64, zone: &TimeZone) -> Result<i64> { Err(Error::internal("not written yet")) }
/// rounds to a precision of 0 to 6 digits
pub fn timestamp_round(t: i64, precision: Option<u32>) -> Result<i64> { Err(Error::internal("not written yet")) }
/// generate_series over timestamptz etc. compares: sign of an interval
pub fn interval_sign(i: Interval) -> Result<i32> { Err(Error::internal("not written yet")) }
