//! Keys.
#![allow(unused_variables)]
use crate::*;
/// decodes one column
pub fn decode_column(bytes: &mut &[u8], ty: PgType, descending: bool, nulls_first: bool) -> Result<Datum> { Err(Error::internal("not written yet")) }
/// Appends one column of a key.
pub fn encode_column(out: &mut Vec<u8>, ty: PgType, value: &Datum, descending: bool, nulls_first: bool) {}
/// Whether decoding gives back exactly what was encoded.
pub fn is_lossless(ty: PgType) -> bool { true }
/// SQL order; NULLs last.
pub fn compare(ty: PgType, a: &Datum, b: &Datum) -> std::cmp::Ordering { std::cmp::Ordering::Equal }
