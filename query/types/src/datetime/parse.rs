//! Text input.
#![allow(unused_variables)]
use crate::*;
/// date input; now_micros is what 'now', 'today' mean
pub fn parse_date(s: &str, o: &FormatOptions, now_micros: i64) -> Result<i32> { Err(Error::internal("not written yet")) }
/// time input, micros
pub fn parse_time(s: &str, typmod: i32, o: &FormatOptions, now_micros: i64) -> Result<i64> { Err(Error::internal("not written yet")) }
/// timetz input
pub fn parse_timetz(s: &str, typmod: i32, o: &FormatOptions, now_micros: i64) -> Result<TimeTz> { Err(Error::internal("not written yet")) }
/// timestamp input
pub fn parse_timestamp(s: &str, typmod: i32, o: &FormatOptions, now_micros: i64) -> Result<i64> { Err(Error::internal("not written yet")) }
/// timestamptz input
pub fn parse_timestamptz(s: &str, typmod: i32, o: &FormatOptions, now_micros: i64) -> Result<i64> { Err(Error::internal("not written yet")) }
