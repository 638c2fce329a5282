//! Casts.
#![allow(unused_variables)]
use crate::*;
/// Converts a value; NULL stays NULL. reg* casts that need the catalog: InternalError.
pub fn cast(value: &Datum, from: PgType, to: ColumnType, explicit: bool, o: &FormatOptions) -> Result<Datum> { Err(Error::internal("not written yet")) }
/// When Postgres applies a cast by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    /// Only where written.
    Explicit,
    /// Also on assignment to a column.
    Assignment,
    /// Anywhere.
    Implicit,
}
/// Whether there is a cast, and when it applies. None where there is no cast; same type: Implicit.
pub fn cast_kind(from: PgType, to: PgType) -> Option<CastContext> { None }
