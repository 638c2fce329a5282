//! Time zones.
#![allow(unused_variables)]
use crate::*;
/// A zone by its name, abbreviation, or POSIX form, as SET TimeZone and AT TIME ZONE take it
pub fn parse_zone(s: &str) -> Result<TimeZone> { Err(Error::internal("not written yet")) }
/// SET TIME ZONE number of hours east (may have a fraction)
pub fn zone_from_hours(hours: f64) -> Result<TimeZone> { Err(Error::internal("not written yet")) }
/// SET TIME ZONE INTERVAL, seconds east
pub fn zone_from_seconds_east(s: i32) -> Result<TimeZone> { Err(Error::internal("not written yet")) }
/// As SHOW TimeZone prints it.
pub fn zone_name(zone: &TimeZone) -> String { String::new() }
/// Offset in seconds east at a UTC instant, and the abbreviation.
pub fn offset_at(utc_micros: i64, zone: &TimeZone) -> (i32, String) { (0, String::new()) }
