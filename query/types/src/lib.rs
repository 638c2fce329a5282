//! Values and types of the SQL surface, with Postgres's semantics and no I/O.
//!
//! - [`PgType`]: the types that exist, with Postgres's OIDs, and [`ColumnType`], which carries a modifier
//! - [`Datum`]: one value; [`Numeric`] and [`Interval`] are ours, the rest are plain Rust
//! - [`Error`] and [`ErrorKind`]: what a statement can answer with; the server maps kinds to SQLSTATEs
//! - [`text`](Datum::from_text), [`binary`](Datum::from_binary): the two wire forms of every type
//! - [`mod@cast`]: conversions between types, and which of them Postgres applies unasked
//! - [`datetime`]: calendar, zones, parsing, printing, arithmetic, `to_char`
//! - [`json`]: validation, jsonb's canonical form, and what its operators need
//! - [`key`] and [`row`]: the bytes that the store keeps
//!
//! Data takes this path: wire text or binary → [`Datum`] → key and row bytes, and back.

mod binary;
pub mod cast;
pub mod datetime;
mod datum;
mod error;
mod format;
pub mod json;
pub mod key;
pub mod numeric;
#[cfg(test)]
mod oracle_tests;
mod pgtype;
pub mod row;
mod sortable;
mod template;
mod text;
mod utf8;

pub use cast::{CastContext, cast, cast_kind};
pub use datum::{ArrayDatum, Datum, FieldNames, Interval, RecordDatum, TimeTz};
pub use error::{Error, ErrorKind, Result};
pub use format::{ByteaOutput, DateOrder, DateStyle, FormatOptions, IntervalStyle, TimeZone};
pub use numeric::{Numeric, NumericSum};
pub use pgtype::{ColumnType, PgType, Scalar, TypeCategory};
pub use sortable::{sortable_key, sortable_value_len};
pub use text::{float4_text, float8_text};
pub use utf8::utf8;
