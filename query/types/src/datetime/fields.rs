//! extract, date_part, date_trunc, date_bin.
#![allow(unused_variables)]
use crate::*;
/// extract(field from value) as numeric; None is NULL (infinite values); ty is Date, Time, TimeTz, Timestamp, TimestampTz or Interval
pub fn extract(field: &str, ty: PgType, value: &Datum, zone: &TimeZone) -> Result<Option<Numeric>> { Err(Error::internal("not written yet")) }
/// date_part(field, value) as float8
pub fn date_part(field: &str, ty: PgType, value: &Datum, zone: &TimeZone) -> Result<Option<f64>> { Err(Error::internal("not written yet")) }
/// date_trunc on timestamp
pub fn trunc_timestamp(field: &str, t: i64) -> Result<i64> { Err(Error::internal("not written yet")) }
/// date_trunc on timestamptz
pub fn trunc_timestamptz(field: &str, t: i64, zone: &TimeZone) -> Result<i64> { Err(Error::internal("not written yet")) }
/// date_trunc on interval
pub fn trunc_interval(field: &str, i: Interval) -> Result<Interval> { Err(Error::internal("not written yet")) }
/// date_bin (timestamp and timestamptz alike)
pub fn date_bin(stride: Interval, source: i64, origin: i64) -> Result<i64> { Err(Error::internal("not written yet")) }
