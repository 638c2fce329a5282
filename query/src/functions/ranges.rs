//! How far the keys of rows are apart, for RANGE frames with offsets: Postgres's support function 3 of B-trees, `in_range`.

use stratos_types::datetime::arith::{date_to_timestamp, interval_sign, timestamptz_minus, timestamptz_plus};
use stratos_types::datetime::arith::{timestamp_minus, timestamp_plus};
use stratos_types::datetime::interval::{interval_add, interval_sub};
use stratos_types::{Datum, Error, ErrorKind, Numeric, Result, TimeTz};

use super::compare::compare;
use crate::session::EvalContext;

/// More microseconds than there are between two times of a day in any two zones.
const TIMES_APART_MAX: i64 = 4 * 86_400_000_000;

/// Which way from a row's key, and what is asked of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reach {
    /// To smaller keys.
    pub down: bool,
    /// Whether the other key is at or below the place that is reached, not at or above it.
    pub below: bool,
}

/// Whether `value` is on that side of the place at the distance `offset` from `base`. No key is beyond a place that its type
/// has no value for. None of the values is NULL.
///
/// # Errors
/// 22013 for an offset below zero, 22008 for a place that is no timestamp.
pub fn in_range(ctx: &EvalContext, value: &Datum, base: &Datum, offset: &Datum, reach: Reach) -> Result<bool> {
    use Datum as D;
    match (value, base, offset) {
        (D::Numeric(value), D::Numeric(base), D::Numeric(offset)) => numerics(value, base, offset, reach),
        (D::Float4(value), D::Float4(base), D::Float8(offset)) => {
            floats(f64::from(*value), f64::from(*base), *offset, reach)
        }
        (D::Float8(value), D::Float8(base), D::Float8(offset)) => floats(*value, *base, *offset, reach),
        (D::Time(value), D::Time(base), D::Interval(offset)) => {
            integers(i128::from(*value), i128::from(*base), i128::from(offset.micros), reach)
        }
        (D::TimeTz(_), D::TimeTz(base), D::Interval(offset)) => {
            must_be_positive(offset.micros < 0)?;
            // No two times of a day are further apart, whatever their zones.
            let (time, micros) = (base.micros, offset.micros.min(TIMES_APART_MAX));
            let micros = if reach.down { time - micros } else { time + micros };
            let place = D::TimeTz(TimeTz { micros, zone_seconds_west: base.zone_seconds_west });
            Ok(reach.holds(compare(ctx, value, &place)?))
        }
        (_, _, D::Interval(offset)) => {
            must_be_positive(interval_sign(*offset)? < 0)?;
            let zone = &ctx.format.time_zone;
            let day = |value: &Datum| match value {
                D::Date(day) => date_to_timestamp(*day).map(D::Timestamp),
                other => Ok(other.clone()),
            };
            let place = match (day(base)?, reach.down) {
                (D::Timestamp(t), false) => D::Timestamp(timestamp_plus(t, *offset)?),
                (D::Timestamp(t), true) => D::Timestamp(timestamp_minus(t, *offset)?),
                (D::TimestampTz(t), false) => D::TimestampTz(timestamptz_plus(t, *offset, zone)?),
                (D::TimestampTz(t), true) => D::TimestampTz(timestamptz_minus(t, *offset, zone)?),
                (D::Interval(i), false) => D::Interval(interval_add(i, *offset)?),
                (D::Interval(i), true) => D::Interval(interval_sub(i, *offset)?),
                _ => return Err(Error::internal("a key that no interval moves")),
            };
            Ok(reach.holds(compare(ctx, &day(value)?, &place)?))
        }
        _ => integers(wide(value)?, wide(base)?, wide(offset)?, reach),
    }
}

impl Reach {
    fn holds(self, order: std::cmp::Ordering) -> bool {
        if self.below { order.is_le() } else { order.is_ge() }
    }
}

fn must_be_positive(negative: bool) -> Result<()> {
    match negative {
        true => Err(Error::new(
            ErrorKind::InvalidPrecedingOrFollowingSize,
            "invalid preceding or following size in window function",
        )),
        false => Ok(()),
    }
}

fn wide(value: &Datum) -> Result<i128> {
    match value {
        Datum::Int2(n) => Ok(i128::from(*n)),
        Datum::Int4(n) => Ok(i128::from(*n)),
        Datum::Int8(n) => Ok(i128::from(*n)),
        _ => Err(Error::internal("a key that no offset moves")),
    }
}

fn integers(value: i128, base: i128, offset: i128, reach: Reach) -> Result<bool> {
    must_be_positive(offset < 0)?;
    let place = if reach.down { base - offset } else { base + offset };
    Ok(reach.holds(value.cmp(&place)))
}

fn floats(value: f64, base: f64, offset: f64, reach: Reach) -> Result<bool> {
    must_be_positive(offset.is_nan() || offset < 0.0)?;
    // NaN comes behind all others, at no distance.
    match (value.is_nan(), base.is_nan()) {
        (true, true) => return Ok(true),
        (true, false) => return Ok(!reach.below),
        (false, true) => return Ok(reach.below),
        (false, false) => {}
    }
    // All keys are so far from the infinity that is left.
    if offset.is_infinite() && base.is_infinite() && (base > 0.0) == reach.down {
        return Ok(true);
    }
    let place = if reach.down { base - offset } else { base + offset };
    Ok(if reach.below { value <= place } else { value >= place })
}

fn numerics(value: &Numeric, base: &Numeric, offset: &Numeric, reach: Reach) -> Result<bool> {
    must_be_positive(offset.is_nan() || *offset < Numeric::ZERO)?;
    match (value.is_nan(), base.is_nan()) {
        (true, true) => return Ok(true),
        (true, false) => return Ok(!reach.below),
        (false, true) => return Ok(reach.below),
        (false, false) => {}
    }
    if offset.is_infinite() && base.is_infinite() && (*base > Numeric::ZERO) == reach.down {
        return Ok(true);
    }
    let place = if reach.down { base.sub(offset)? } else { base.add(offset)? };
    Ok(reach.holds(value.cmp(&place)))
}
