//! One SQL value.

use std::sync::Arc;

use crate::{Error, ErrorKind, Numeric, PgType, Result};

/// `interval`: months, days and microseconds apart, as in Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Interval {
    /// Whole months.
    pub months: i32,
    /// Whole days.
    pub days: i32,
    /// Microseconds, possibly more than a day.
    pub micros: i64,
}

/// `timetz`: microseconds since midnight and the zone's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeTz {
    /// Microseconds since midnight, local.
    pub micros: i64,
    /// Seconds WEST of Greenwich, as Postgres stores it.
    pub zone_seconds_west: i32,
}

/// One SQL value. The [`PgType`] that goes with it is known from the context (column, expression, parameter): several
/// types share a representation.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// SQL NULL of any type.
    Null,
    /// `boolean`
    Bool(bool),
    /// `smallint`
    Int2(i16),
    /// `integer`
    Int4(i32),
    /// `bigint`
    Int8(i64),
    /// `real`
    Float4(f32),
    /// `double precision`
    Float8(f64),
    /// `numeric`
    Numeric(Numeric),
    /// text, varchar, char(n) (blank-padded to its length), name, "char", json, undecided literals.
    Text(Arc<str>),
    /// `jsonb` in its canonical text (keys by length then bytes, one space after `:` and `,`).
    Jsonb(Arc<str>),
    /// `bytea`
    Bytea(Arc<[u8]>),
    /// `date`: days since 1970-01-01; `i32::MIN` and `i32::MAX` are -infinity and infinity.
    Date(i32),
    /// `time`: microseconds since midnight, 0 to 86,400,000,000.
    Time(i64),
    /// `timetz`
    TimeTz(TimeTz),
    /// `timestamp`: microseconds since 1970-01-01 00:00; `i64::MIN` and `i64::MAX` are the infinities.
    Timestamp(i64),
    /// `timestamptz`: microseconds since the Unix epoch in UTC; `i64::MIN` and `i64::MAX` are the infinities.
    TimestampTz(i64),
    /// `interval`
    Interval(Interval),
    /// `uuid`
    Uuid([u8; 16]),
    /// oid, xid and the reg* types.
    Oid(u32),
    /// A one-dimensional array (lower bound 1), int2vector, oidvector.
    Array(Arc<ArrayDatum>),
    /// `ROW(…)`
    Record(Arc<RecordDatum>),
}

/// Names of a composite value's fields.
pub type FieldNames = Arc<[Arc<str>]>;

/// A composite value.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordDatum {
    /// The fields with their types.
    pub fields: Vec<(PgType, Datum)>,
    /// Their names, where it is a row of something that has names; else they are `f1`, `f2`, ….
    pub names: Option<FieldNames>,
}

impl std::ops::Deref for RecordDatum {
    type Target = [(PgType, Datum)];

    fn deref(&self) -> &Self::Target {
        &self.fields
    }
}

/// A one-dimensional array.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrayDatum {
    /// Type of the elements.
    pub element: PgType,
    /// The elements; `Datum::Null` where NULL.
    pub values: Vec<Datum>,
}

/// Most bytes that a composite value may have as text.
pub const RECORD_TEXT_BYTES_MAX: u64 = 256 << 20;

/// Takes what fields may have as text from the bytes that are left, where each byte is written so many times.
fn take_text(fields: &[(PgType, Datum)], times: u64, left: &mut u64) -> Option<()> {
    for (_, value) in fields {
        match value {
            Datum::Record(inner) => take_text(inner, times.checked_mul(2)?, left)?,
            other => *left = left.checked_sub(times.checked_mul(other.size_bytes() as u64)?)?,
        }
    }
    Some(())
}

impl Datum {
    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// A string value.
    pub fn text(value: impl Into<Arc<str>>) -> Datum {
        Datum::Text(value.into())
    }

    /// A composite value.
    pub fn record(fields: Vec<(PgType, Datum)>, names: Option<FieldNames>) -> Datum {
        Datum::Record(Arc::new(RecordDatum { fields, names }))
    }

    /// A composite value that is made by a statement. As text each level doubles the quotes of the levels inside, so that what
    /// nests some thirty levels deep could not be written any more.
    ///
    /// # Errors
    /// 54000 where the text might be longer than [`RECORD_TEXT_BYTES_MAX`].
    pub fn row(fields: Vec<(PgType, Datum)>, names: Option<FieldNames>) -> Result<Datum> {
        let mut left = RECORD_TEXT_BYTES_MAX;
        match take_text(&fields, 1, &mut left) {
            Some(()) => Ok(Datum::record(fields, names)),
            None => {
                Err(Error::new(ErrorKind::ProgramLimitExceeded, "a composite value is too large, or nests too deeply"))
            }
        }
    }

    /// The string inside, for the string-like types and json.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Datum::Text(s) | Datum::Jsonb(s) => Some(s),
            _ => None,
        }
    }

    /// Bytes that the value occupies in memory, roughly; for accounting against limits.
    pub fn size_bytes(&self) -> usize {
        std::mem::size_of::<Datum>()
            + match self {
                Datum::Text(s) | Datum::Jsonb(s) => s.len(),
                Datum::Bytea(b) => b.len(),
                Datum::Numeric(n) => n.size_bytes(),
                Datum::Array(a) => a.values.iter().map(Datum::size_bytes).sum(),
                Datum::Record(fields) => fields.iter().map(|(_, d)| d.size_bytes()).sum(),
                _ => 0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_whose_text_would_be_endless_is_refused() {
        let nested = |levels: usize| {
            let one = Ok(Datum::Int4(1));
            (0..levels).fold(one, |inner: Result<Datum>, _| {
                inner.and_then(|inner| Datum::row(vec![(PgType::Record, inner)], None))
            })
        };
        assert!(nested(20).is_ok());
        assert_eq!(nested(100).map_err(|error| error.kind()), Err(ErrorKind::ProgramLimitExceeded));
        // Also where it is wide rather than deep.
        let mut wide = Ok(Datum::Int4(1));
        for _ in 0..30 {
            wide =
                wide.and_then(|inner| Datum::row(vec![(PgType::Record, inner.clone()), (PgType::Record, inner)], None));
        }
        assert_eq!(wide.map_err(|error| error.kind()), Err(ErrorKind::ProgramLimitExceeded));
    }
}
