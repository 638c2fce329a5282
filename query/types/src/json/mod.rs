//! json and jsonb.
#![allow(unused_variables)]
use crate::*;
/// checks json text
pub fn validate(s: &str) -> Result<()> { Err(Error::internal("not written yet")) }
/// canonical jsonb text
pub fn canonicalize(s: &str) -> Result<String> { Err(Error::internal("not written yet")) }
/// json -> key (works on json text and on jsonb text; the result is the exact text of the member)
pub fn get_field<'a>(s: &'a str, key: &str) -> Result<Option<&'a str>> { Err(Error::internal("not written yet")) }
/// json -> index
pub fn get_index(s: &str, index: i32) -> Result<Option<&str>> { Err(Error::internal("not written yet")) }
/// #>
pub fn get_path<'a>(s: &'a str, path: &[&str]) -> Result<Option<&'a str>> { Err(Error::internal("not written yet")) }
/// text of a member for ->> and #>>: strings without quotes, null is None
pub fn as_text(member: &str) -> Result<Option<String>> { Err(Error::internal("not written yet")) }
/// jsonb @> jsonb
pub fn contains(a: &str, b: &str) -> Result<bool> { Err(Error::internal("not written yet")) }
/// jsonb ? text
pub fn exists(a: &str, key: &str) -> Result<bool> { Err(Error::internal("not written yet")) }
/// jsonb concatenation
pub fn concat(a: &str, b: &str) -> Result<String> { Err(Error::internal("not written yet")) }
/// jsonb - text
pub fn delete_key(a: &str, key: &str) -> Result<String> { Err(Error::internal("not written yet")) }
/// jsonb - text[]
pub fn delete_keys(a: &str, keys: &[&str]) -> Result<String> { Err(Error::internal("not written yet")) }
/// jsonb - int
pub fn delete_index(a: &str, index: i32) -> Result<String> { Err(Error::internal("not written yet")) }
/// jsonb #- text[]
pub fn delete_path(a: &str, path: &[&str]) -> Result<String> { Err(Error::internal("not written yet")) }
/// json_typeof
pub fn type_of(a: &str) -> Result<&'static str> { Err(Error::internal("not written yet")) }
/// json_array_length
pub fn array_length(a: &str) -> Result<i32> { Err(Error::internal("not written yet")) }
/// json_array_elements: exact texts
pub fn elements(a: &str) -> Result<Vec<String>> { Err(Error::internal("not written yet")) }
/// json_object_keys
pub fn object_keys(a: &str) -> Result<Vec<String>> { Err(Error::internal("not written yet")) }
/// json_each: (key, exact text)
pub fn each(a: &str) -> Result<Vec<(String, String)>> { Err(Error::internal("not written yet")) }
/// jsonb_set
pub fn set(a: &str, path: &[&str], value: &str, create: bool) -> Result<String> { Err(Error::internal("not written yet")) }
/// jsonb_insert
pub fn insert(a: &str, path: &[&str], value: &str, after: bool) -> Result<String> { Err(Error::internal("not written yet")) }
/// jsonb order
pub fn compare(a: &str, b: &str) -> Result<std::cmp::Ordering> { Err(Error::internal("not written yet")) }
/// jsonb_pretty
pub fn pretty(a: &str) -> Result<String> { Err(Error::internal("not written yet")) }
/// json_strip_nulls (json: keeps text compact; jsonb: canonical)
pub fn strip_nulls(a: &str, jsonb: bool) -> Result<String> { Err(Error::internal("not written yet")) }
/// to_json of any value
pub fn to_json(v: &Datum, ty: PgType, o: &FormatOptions) -> Result<String> { Err(Error::internal("not written yet")) }
/// to_jsonb of any value
pub fn to_jsonb(v: &Datum, ty: PgType, o: &FormatOptions) -> Result<String> { Err(Error::internal("not written yet")) }
/// json_build_object; arguments in pairs
pub fn build_object(args: &[(PgType, Datum)], jsonb: bool, o: &FormatOptions) -> Result<String> { Err(Error::internal("not written yet")) }
/// json_build_array
pub fn build_array(args: &[(PgType, Datum)], jsonb: bool, o: &FormatOptions) -> Result<String> { Err(Error::internal("not written yet")) }
/// Appends a JSON string literal.
pub fn write_string(out: &mut String, s: &str) {}
