//! Dates, times, intervals and zones.
#![allow(missing_docs)]
pub mod arith; pub mod fields; pub mod interval; pub mod make; pub mod parse; pub mod print; pub mod to_char; pub mod zone;
