//! Binary form.
#![allow(unused_variables)]
use crate::*;
impl Datum {
    /// Binary input (22P03 when malformed).
    pub fn from_binary(ty: PgType, bytes: &[u8]) -> Result<Datum> { Err(Error::internal("not written yet")) }
    /// Appends the binary output; NULL appends nothing.
    pub fn write_binary(&self, ty: PgType, out: &mut Vec<u8>) -> Result<()> { Ok(()) }
}
