//! Text form.
#![allow(unused_variables)]
use crate::*;
impl Datum {
    /// Text input of a type, its modifier applied (as on assignment of a literal).
    pub fn from_text(ty: ColumnType, s: &str, o: &FormatOptions) -> Result<Datum> { Err(Error::internal("not written yet")) }
    /// The same, with the instant that `now` and `today` mean (microseconds since the Unix epoch).
    pub fn from_text_at(ty: ColumnType, s: &str, o: &FormatOptions, now_micros: i64) -> Result<Datum> { Err(Error::internal("not written yet")) }
    /// Appends the text output; NULL appends nothing.
    pub fn write_text(&self, ty: PgType, o: &FormatOptions, out: &mut String) {}
    /// The text output.
    pub fn to_text(&self, ty: PgType, o: &FormatOptions) -> String { String::new() }
}
/// float8 output.
pub fn float8_text(v: f64, extra_float_digits: i32) -> String { String::new() }
/// float4 output.
pub fn float4_text(v: f32, extra_float_digits: i32) -> String { String::new() }
