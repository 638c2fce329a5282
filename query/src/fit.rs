//! A value of one type among the values of another: what a comparison with it says of a column of that other type.
//!
//! The comparison operators of a btree family go across types (`bigint = int`, `date < timestamptz`), while an index keeps
//! its column's own. Where no value of the column's type is equal to the one it is compared with, its neighbours bound the
//! column instead.

use stratos_types::{Datum, PgType, Result, TimeZone, datetime::arith};

/// Where a value lies among the values of a column's type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fit {
    /// NULL, to which nothing compares.
    Nothing,
    /// It is this value.
    Exact(Datum),
    /// It is none of them; the next ones below and above, none at the ends of the type.
    Between(Option<Datum>, Option<Datum>),
    /// What is equal to it lies from the first to the second, what is less or greater not beyond them.
    Near(Datum, Datum),
}

/// What a comparison leaves of a range, on one side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// Up to this value; `bool`: included.
    At(Datum, bool),
    /// No value at all.
    Empty,
}

impl Fit {
    /// The value that a column equal to it has. Not for pairs of which [`is_near`] is true.
    pub fn equal(self) -> Option<Datum> {
        match self {
            Fit::Exact(value) => Some(value),
            _ => None,
        }
    }

    /// The lower end of `column > value`, or with `inclusive` of `column >= value`.
    pub fn low(self, inclusive: bool) -> End {
        match self {
            Fit::Exact(value) => End::At(value, inclusive),
            Fit::Between(_, Some(value)) | Fit::Near(value, _) => End::At(value, true),
            Fit::Between(_, None) | Fit::Nothing => End::Empty,
        }
    }

    /// The upper end of `column < value`, or with `inclusive` of `column <= value`.
    pub fn high(self, inclusive: bool) -> End {
        match self {
            Fit::Exact(value) => End::At(value, inclusive),
            Fit::Between(Some(value), _) | Fit::Near(_, value) => End::At(value, true),
            Fit::Between(None, _) | Fit::Nothing => End::Empty,
        }
    }
}

fn is_integer(ty: PgType) -> bool {
    matches!(ty, PgType::Int2 | PgType::Int4 | PgType::Int8)
}

fn is_float(ty: PgType) -> bool {
    matches!(ty, PgType::Float4 | PgType::Float8)
}

/// Of the family of dates and timestamps.
pub(crate) fn is_moment(ty: PgType) -> bool {
    matches!(ty, PgType::Date | PgType::Timestamp | PgType::TimestampTz)
}

/// Whether [`fit`] knows what a value of the one type means for a column of the other.
pub(crate) fn fits(value: PgType, column: PgType) -> bool {
    let string = |t| matches!(t, PgType::Text | PgType::Varchar);
    let family = |of: fn(PgType) -> bool| of(value) && of(column);
    value == column || family(is_integer) || family(is_float) || family(is_moment) || (string(value) && string(column))
}

/// Whether the pair's equality is not that of one value: local times that a time zone's changes make ambiguous.
pub(crate) fn is_near(value: PgType, column: PgType) -> bool {
    value == PgType::TimestampTz && matches!(column, PgType::Date | PgType::Timestamp)
}

/// Where a value lies among those of a column's type; one of another type that [`fits`].
///
/// # Errors
/// Moments that cannot be converted.
pub(crate) fn fit(value: Datum, column: PgType, zone: &TimeZone) -> Result<Fit> {
    Ok(match (value, column) {
        (Datum::Date(date), PgType::Timestamp) => instant(date, arith::date_to_timestamp(date), Datum::Timestamp),
        (Datum::Date(date), PgType::TimestampTz) => {
            instant(date, arith::date_to_timestamptz(date, zone), Datum::TimestampTz)
        }
        (Datum::Timestamp(t), PgType::Date) => day(t)?,
        (Datum::Timestamp(t), PgType::TimestampTz) => {
            Fit::Exact(Datum::TimestampTz(arith::timestamp_to_timestamptz(t, zone)?))
        }
        (Datum::TimestampTz(t), PgType::Date) => match arith::timestamptz_to_date(t, zone)? {
            date @ (i32::MIN | i32::MAX) => Fit::Exact(Datum::Date(date)),
            date => Fit::Near(Datum::Date(date - NEAR_DAYS), Datum::Date(date + NEAR_DAYS)),
        },
        (Datum::TimestampTz(t), PgType::Timestamp) => match arith::timestamptz_to_timestamp(t, zone)? {
            t @ (i64::MIN | i64::MAX) => Fit::Exact(Datum::Timestamp(t)),
            t => Fit::Near(
                Datum::Timestamp(t.saturating_sub(NEAR_MICROS)),
                Datum::Timestamp(t.saturating_add(NEAR_MICROS)),
            ),
        },
        (value, column) => fit_number(value, column),
    })
}

/// No zone's offset moves by more than this at once.
const NEAR_DAYS: i32 = 2;
const MICROS_PER_DAY: i64 = 86_400_000_000;
const NEAR_MICROS: i64 = NEAR_DAYS as i64 * MICROS_PER_DAY;

/// A date as an instant; beyond the range of timestamps it is beyond all of them but the infinite ones.
fn instant(date: i32, converted: Result<i64>, datum: fn(i64) -> Datum) -> Fit {
    match converted {
        Ok(t) => Fit::Exact(datum(t)),
        Err(_) if date > 0 => Fit::Between(Some(datum(i64::MAX - 1)), Some(datum(i64::MAX))),
        Err(_) => Fit::Between(Some(datum(i64::MIN)), Some(datum(i64::MIN + 1))),
    }
}

fn day(t: i64) -> Result<Fit> {
    let date = arith::timestamp_to_date(t)?;
    let exact = matches!(date, i32::MIN | i32::MAX) || t.rem_euclid(MICROS_PER_DAY) == 0;
    Ok(match exact {
        true => Fit::Exact(Datum::Date(date)),
        false => Fit::Between(Some(Datum::Date(date)), Some(Datum::Date(date + 1))),
    })
}

/// [`fit`] where no time zone has a say: integers, floats, and values of the column's own type.
pub(crate) fn fit_number(value: Datum, column: PgType) -> Fit {
    let wide = match value {
        Datum::Null => return Fit::Nothing,
        Datum::Int2(v) => i64::from(v),
        Datum::Int4(v) => i64::from(v),
        Datum::Int8(v) => v,
        Datum::Float4(v) if column == PgType::Float8 => return Fit::Exact(Datum::Float8(f64::from(v))),
        Datum::Float8(v) if column == PgType::Float4 => return narrow(v),
        other => return Fit::Exact(other),
    };
    let (min, max, exact) = match column {
        PgType::Int2 => (Datum::Int2(i16::MIN), Datum::Int2(i16::MAX), i16::try_from(wide).ok().map(Datum::Int2)),
        PgType::Int4 => (Datum::Int4(i32::MIN), Datum::Int4(i32::MAX), i32::try_from(wide).ok().map(Datum::Int4)),
        _ => return Fit::Exact(Datum::Int8(wide)),
    };
    match exact {
        Some(value) => Fit::Exact(value),
        None if wide > 0 => Fit::Between(Some(max), None),
        None => Fit::Between(None, Some(min)),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "what rounding makes of it is the question")]
fn narrow(v: f64) -> Fit {
    let near = v as f32;
    let back = f64::from(near);
    if v.is_nan() || back == v {
        return Fit::Exact(Datum::Float4(near));
    }
    let (below, above) = if back < v { (near, near.next_up()) } else { (near.next_down(), near) };
    Fit::Between(Some(Datum::Float4(below)), Some(Datum::Float4(above)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: Datum, column: PgType) -> Fit {
        fit(value, column, &stratos_types::FormatOptions::default().time_zone).unwrap_or(Fit::Nothing)
    }

    #[test]
    fn integers_beyond_the_column() {
        assert_eq!(at(Datum::Int8(5), PgType::Int2), Fit::Exact(Datum::Int2(5)));
        assert_eq!(at(Datum::Int8(i64::from(i32::MAX)), PgType::Int4), Fit::Exact(Datum::Int4(i32::MAX)));
        let beyond = at(Datum::Int8(i64::from(i32::MAX) + 1), PgType::Int4);
        assert_eq!(beyond.clone().high(false), End::At(Datum::Int4(i32::MAX), true));
        assert_eq!(beyond.clone().low(true), End::Empty);
        assert_eq!(beyond.equal(), None);
        let below = at(Datum::Int4(i32::from(i16::MIN) - 1), PgType::Int2);
        assert_eq!(below.clone().low(false), End::At(Datum::Int2(i16::MIN), true));
        assert_eq!(below.high(true), End::Empty);
    }

    #[test]
    fn floats_between_two_narrow_ones() {
        let Fit::Between(Some(Datum::Float4(below)), Some(Datum::Float4(above))) =
            at(Datum::Float8(0.1), PgType::Float4)
        else {
            panic!("0.1 is no float4")
        };
        assert!(f64::from(below) < 0.1 && 0.1 < f64::from(above) && below.next_up() == above);
        let beyond = at(Datum::Float8(1e300), PgType::Float4);
        assert_eq!(beyond.clone().low(false), End::At(Datum::Float4(f32::INFINITY), true));
        assert_eq!(beyond.high(false), End::At(Datum::Float4(f32::MAX), true));
    }

    #[test]
    fn moments() {
        let noon = Datum::Timestamp(MICROS_PER_DAY / 2 - MICROS_PER_DAY);
        assert_eq!(at(noon, PgType::Date), Fit::Between(Some(Datum::Date(-1)), Some(Datum::Date(0))));
        assert_eq!(at(Datum::Timestamp(i64::MAX), PgType::Date), Fit::Exact(Datum::Date(i32::MAX)));
        assert_eq!(
            at(Datum::Date(2_000_000_000), PgType::Timestamp).low(false),
            End::At(Datum::Timestamp(i64::MAX), true)
        );
    }
}
