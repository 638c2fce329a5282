//! Values and types of the SQL surface, with Postgres's semantics and no I/O.
//!
//! - [`PgType`]: the types that exist, with Postgres's OIDs, and [`TypeMod`]-bearing [`ColumnType`]
//! - [`Datum`]: one value; [`Numeric`] and [`Interval`] are ours, the rest are plain Rust
//! - [`Error`] and [`ErrorKind`]: what a statement can answer with; the server maps kinds to SQLSTATEs
//!
//! Data takes this path: wire text or binary → [`Datum`] → key and row bytes, and back.

mod datum;
mod error;
mod format;
mod numeric;
mod pgtype;

pub use datum::{ArrayDatum, Datum, Interval, TimeTz};
pub use error::{Error, ErrorKind, Result};
pub use format::{ByteaOutput, DateOrder, DateStyle, FormatOptions, IntervalStyle, TimeZone};
pub use numeric::Numeric;
pub use pgtype::{ColumnType, PgType, Scalar, TypeCategory};
