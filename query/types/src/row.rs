//! Rows.
#![allow(unused_variables)]
use crate::*;
/// one field
pub fn decode_field(ty: PgType, bytes: &[u8]) -> Result<Datum> { Err(Error::internal("not written yet")) }
/// one field
pub fn encode_field(ty: PgType, value: &Datum, out: &mut Vec<u8>) -> Result<()> { Err(Error::internal("not written yet")) }
/// Reads a row.
#[derive(Debug, Clone, Copy)]
pub struct RowReader<'a> { bytes: &'a [u8] }
impl<'a> RowReader<'a> {
    /// Checks the header.
    pub fn new(bytes: &'a [u8]) -> Result<Self> { Ok(RowReader { bytes }) }
    /// Number of columns in the row.
    pub fn columns(&self) -> usize { 0 }
    /// Field by position (attnum - 1): None when the row does not have it, Some(None) when NULL.
    pub fn field(&self, position: usize) -> Option<Option<&'a [u8]>> { let _ = self.bytes; None }
}
/// Writes a row, fields in order of attnum.
#[derive(Debug, Default)]
pub struct RowWriter { bytes: Vec<u8> }
impl RowWriter {
    /// Starts.
    pub fn new() -> Self { Self::default() }
    /// Next field.
    pub fn push(&mut self, ty: PgType, value: &Datum) -> Result<()> { Ok(()) }
    /// Next field is absent (dropped column, or kept in the key): reads as None.
    pub fn push_absent(&mut self) {}
    /// The row's bytes; the writer starts over.
    pub fn finish(&mut self) -> Vec<u8> { std::mem::take(&mut self.bytes) }
}
