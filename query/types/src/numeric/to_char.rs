//! to_char of numbers.
#![allow(unused_variables)]
use crate::*;
/// to_char(numeric)
pub fn numeric_to_char(n: &Numeric, template: &str) -> Result<String> { Err(Error::internal("not written yet")) }
/// to_char(float8)
pub fn float8_to_char(v: f64, template: &str) -> Result<String> { Err(Error::internal("not written yet")) }
/// to_char(float4)
pub fn float4_to_char(v: f32, template: &str) -> Result<String> { Err(Error::internal("not written yet")) }
/// to_char(int8) and int4
pub fn int_to_char(v: i64, template: &str) -> Result<String> { Err(Error::internal("not written yet")) }
/// to_number(text, text)
pub fn to_number(s: &str, template: &str) -> Result<Option<Numeric>> { Err(Error::internal("not written yet")) }
