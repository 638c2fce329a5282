//! Text output.
#![allow(unused_variables)]
use crate::*;
/// Text output.
pub fn write_date(out: &mut String, d: i32, o: &FormatOptions) {}
/// Text output.
pub fn write_time(out: &mut String, t: i64) {}
/// Text output.
pub fn write_timetz(out: &mut String, t: TimeTz) {}
/// Text output.
pub fn write_timestamp(out: &mut String, t: i64, o: &FormatOptions) {}
/// Text output.
pub fn write_timestamptz(out: &mut String, t: i64, o: &FormatOptions) {}
/// Text output.
pub fn write_interval(out: &mut String, i: Interval, o: &FormatOptions) {}
