//! Which casts exist. A stand-in until the types crate says it: the table is `pg_cast`'s.

use stratos_types::{PgType, TypeCategory};

/// When Postgres applies a cast by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CastContext {
    /// Only where written.
    Explicit,
    /// Also on assignment to a column.
    Assignment,
    /// Anywhere.
    Implicit,
}

/// Whether there is a cast, and when it applies; the same type is implicit.
pub(crate) fn cast_kind(from: PgType, to: PgType) -> Option<CastContext> {
    use CastContext::{Assignment, Explicit, Implicit};
    use PgType as T;
    if from == to {
        return Some(Implicit);
    }
    let rank = |t: PgType| match t {
        T::Int2 => Some(0),
        T::Int4 => Some(1),
        T::Int8 => Some(2),
        T::Numeric => Some(3),
        T::Float4 => Some(4),
        T::Float8 => Some(5),
        _ => None,
    };
    if let (Some(f), Some(t)) = (rank(from), rank(to)) {
        return Some(if f < t { Implicit } else { Assignment });
    }
    if to.is_oid_like() && to != T::Xid {
        if matches!(from, T::Int2 | T::Int4 | T::Int8 | T::Oid) {
            return Some(Implicit);
        }
        if to == T::Regclass && matches!(from, T::Text | T::Varchar) {
            return Some(Implicit);
        }
        if to == T::Oid && from.is_oid_like() && from != T::Xid {
            return Some(Implicit);
        }
    }
    if from.is_oid_like() && from != T::Xid && matches!(to, T::Int4 | T::Int8) {
        return Some(Assignment);
    }
    match (from, to) {
        (T::Text | T::Varchar | T::Bpchar | T::Name | T::Char, T::Text) => return Some(Implicit),
        (T::Text | T::Varchar | T::Bpchar, T::Varchar | T::Bpchar | T::Name) => {
            return Some(Implicit);
        }
        (T::Name | T::Char, T::Varchar | T::Bpchar)
        | (T::Text | T::Varchar | T::Bpchar, T::Char) => return Some(Assignment),
        (T::Bool, T::Int4) | (T::Int4, T::Bool) => return Some(Explicit),
        (T::Bool, T::Text | T::Varchar | T::Bpchar) => return Some(Assignment),
        (T::Date, T::Timestamp | T::TimestampTz)
        | (T::Timestamp, T::TimestampTz)
        | (T::Time, T::Interval | T::TimeTz) => return Some(Implicit),
        (T::Timestamp, T::Date | T::Time)
        | (T::TimestampTz, T::Date | T::Time | T::TimeTz | T::Timestamp)
        | (T::Interval, T::Time)
        | (T::TimeTz, T::Time)
        | (T::Json, T::Jsonb)
        | (T::Jsonb, T::Json) => return Some(Assignment),
        (T::Jsonb, T::Bool) => return Some(Explicit),
        (T::Jsonb, t) if rank(t).is_some() => return Some(Explicit),
        (T::Char, T::Int4) | (T::Int4, T::Char) => return Some(Explicit),
        (T::Int2Vector | T::OidVector, T::Array(element)) => {
            return cast_kind(from.element()?, element.into());
        }
        (T::Array(f), T::Array(t)) => return cast_kind(f.into(), t.into()),
        _ => {}
    }
    if to.category() == TypeCategory::String && !pseudo(from) {
        return Some(Assignment);
    }
    if from.category() == TypeCategory::String && !pseudo(to) {
        return Some(Explicit);
    }
    None
}

fn pseudo(ty: PgType) -> bool {
    matches!(ty, PgType::Void | PgType::Unknown)
}
