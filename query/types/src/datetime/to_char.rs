//! to_char and to_timestamp templates.
#![allow(unused_variables)]
use crate::*;
/// to_char(timestamp)
pub fn timestamp_to_char(t: i64, template: &str) -> Result<Option<String>> {
    Err(Error::internal("not written yet"))
}
/// to_char(timestamptz)
pub fn timestamptz_to_char(t: i64, template: &str, zone: &TimeZone) -> Result<Option<String>> {
    Err(Error::internal("not written yet"))
}
/// to_char(interval)
pub fn interval_to_char(i: Interval, template: &str) -> Result<Option<String>> {
    Err(Error::internal("not written yet"))
}
/// to_timestamp(text, text)
pub fn to_timestamp(s: &str, template: &str, zone: &TimeZone) -> Result<i64> {
    Err(Error::internal("not written yet"))
}
/// to_date(text, text)
pub fn to_date(s: &str, template: &str) -> Result<i32> {
    Err(Error::internal("not written yet"))
}
