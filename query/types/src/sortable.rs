//! Order-preserving bytes.
#![allow(unused_variables)]
use crate::*;
/// Length of the value part of a sortable form of numeric, interval, timetz.
pub fn sortable_value_len(bytes: &[u8]) -> usize { 0 }
/// The value part.
pub fn sortable_key(bytes: &[u8]) -> &[u8] { bytes }
impl Interval {
    /// Sortable form.
    pub fn to_sortable(&self) -> Vec<u8> { Vec::new() }
    /// Back.
    pub fn from_sortable(bytes: &[u8]) -> Result<Interval> { Err(Error::internal("not written yet")) }
}
impl TimeTz {
    /// Sortable form.
    pub fn to_sortable(&self) -> Vec<u8> { Vec::new() }
    /// Back.
    pub fn from_sortable(bytes: &[u8]) -> Result<TimeTz> { Err(Error::internal("not written yet")) }
}
