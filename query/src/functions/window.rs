//! Window functions that are no aggregates.

use stratos_types::PgType;

use super::{ArgType, ReturnType};

/// A window function with one signature.
#[derive(Debug)]
pub struct WindowSignature {
    /// Postgres's OID for it.
    pub oid: u32,
    /// Name in lower case.
    pub name: &'static str,
    /// Arguments.
    pub args: &'static [ArgType],
    /// Result.
    pub ret: ReturnType,
}

const fn w(oid: u32, name: &'static str, args: &'static [ArgType], ret: ReturnType) -> WindowSignature {
    WindowSignature { oid, name, args, ret }
}

const I4: ArgType = ArgType::Is(PgType::Int4);
const COMPATIBLE: ArgType = ArgType::Compatible;
const ELEMENT: ArgType = ArgType::AnyElement;
const SAME: ReturnType = ReturnType::AnyElement;
const INT8: ReturnType = ReturnType::Is(PgType::Int8);
const FLOAT8: ReturnType = ReturnType::Is(PgType::Float8);

static SIGNATURES: &[WindowSignature] = &[
    w(3100, "row_number", &[], INT8),
    w(3101, "rank", &[], INT8),
    w(3102, "dense_rank", &[], INT8),
    w(3103, "percent_rank", &[], FLOAT8),
    w(3104, "cume_dist", &[], FLOAT8),
    w(3105, "ntile", &[I4], ReturnType::Is(PgType::Int4)),
    w(3106, "lag", &[ELEMENT], SAME),
    w(3107, "lag", &[ELEMENT, I4], SAME),
    w(3108, "lag", &[COMPATIBLE, I4, COMPATIBLE], ReturnType::Compatible),
    w(3109, "lead", &[ELEMENT], SAME),
    w(3110, "lead", &[ELEMENT, I4], SAME),
    w(3111, "lead", &[COMPATIBLE, I4, COMPATIBLE], ReturnType::Compatible),
    w(3112, "first_value", &[ELEMENT], SAME),
    w(3113, "last_value", &[ELEMENT], SAME),
    w(3114, "nth_value", &[ELEMENT, I4], SAME),
];

/// The window functions of that name (lower case).
pub fn by_name(name: &str) -> Vec<&'static WindowSignature> {
    SIGNATURES.iter().filter(|s| s.name == name).collect()
}
