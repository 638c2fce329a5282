//! Order-preserving bytes of the types whose equality ignores something: numeric, interval, timetz.
//!
//! Each form is a value part (equal values have equal bytes, `memcmp` order is SQL order) and a suffix with the rest.
//!
//! | type | value part | suffix |
//! |---|---|---|
//! | numeric | see [`Numeric`] | scale, 2 bytes |
//! | interval | 0x10, span in microseconds + 2^79 (10 bytes big-endian), a month being 30 days | months i32, days i32, micros i64 |
//! | timetz | 0x20, UTC microseconds + 2^63 (8 bytes), seconds west + 2^31 (4 bytes) | none |

use crate::{Error, ErrorKind, Interval, Numeric, Result, TimeTz};

const INTERVAL_TAG: u8 = 0x10;
const TIMETZ_TAG: u8 = 0x20;
const INTERVAL_VALUE_LEN: usize = 11;
const TIMETZ_LEN: usize = 13;
const MICROS_PER_DAY: i128 = 86_400_000_000;

fn corrupt() -> Error {
    Error::new(ErrorKind::DataCorrupted, "malformed sortable value")
}

/// Length of the value part of a sortable numeric, interval or timetz; all of it when malformed.
pub fn sortable_value_len(bytes: &[u8]) -> usize {
    let length = match bytes.first() {
        Some(&INTERVAL_TAG) => INTERVAL_VALUE_LEN,
        Some(&TIMETZ_TAG) => TIMETZ_LEN,
        _ => Numeric::sortable_value_length(bytes).unwrap_or(bytes.len()),
    };
    length.min(bytes.len())
}

/// The value part alone: what comparisons and grouping use.
pub fn sortable_key(bytes: &[u8]) -> &[u8] {
    &bytes[..sortable_value_len(bytes)]
}

impl Interval {
    /// The whole as microseconds, a month being 30 days: what intervals compare by.
    pub fn span_micros(&self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * MICROS_PER_DAY + i128::from(self.micros)
    }

    /// Appends the value part.
    pub fn write_sortable(&self, out: &mut Vec<u8>) {
        out.push(INTERVAL_TAG);
        let biased = self.span_micros() + (1i128 << 79);
        out.extend_from_slice(&biased.to_be_bytes()[6..]);
    }

    /// Sortable form.
    pub fn to_sortable(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(INTERVAL_VALUE_LEN + 16);
        self.write_sortable(&mut out);
        out.extend_from_slice(&self.months.to_be_bytes());
        out.extend_from_slice(&self.days.to_be_bytes());
        out.extend_from_slice(&self.micros.to_be_bytes());
        out
    }

    /// Back from [`Interval::to_sortable`]; from a value part alone, the span in days and microseconds.
    ///
    /// # Errors
    /// Data corrupted.
    pub fn from_sortable(bytes: &[u8]) -> Result<Interval> {
        if bytes.first() != Some(&INTERVAL_TAG) {
            return Err(corrupt());
        }
        if let Some(suffix) = bytes.get(INTERVAL_VALUE_LEN..INTERVAL_VALUE_LEN + 16) {
            let (a, b) = suffix.split_at(4);
            let (b, c) = b.split_at(4);
            return Ok(Interval {
                months: i32::from_be_bytes(a.try_into().map_err(|_| corrupt())?),
                days: i32::from_be_bytes(b.try_into().map_err(|_| corrupt())?),
                micros: i64::from_be_bytes(c.try_into().map_err(|_| corrupt())?),
            });
        }
        let value = bytes.get(1..INTERVAL_VALUE_LEN).ok_or_else(corrupt)?;
        let biased = value.iter().fold(0i128, |n, b| n << 8 | i128::from(*b));
        let span = biased - (1i128 << 79);
        let months = (span / (30 * MICROS_PER_DAY)).clamp(i32::MIN.into(), i32::MAX.into());
        let rest = span - months * 30 * MICROS_PER_DAY;
        Ok(Interval {
            months: i32::try_from(months).map_err(|_| corrupt())?,
            days: i32::try_from(rest / MICROS_PER_DAY).map_err(|_| corrupt())?,
            micros: i64::try_from(rest % MICROS_PER_DAY).map_err(|_| corrupt())?,
        })
    }
}

impl TimeTz {
    /// Microseconds since midnight UTC, possibly negative or beyond a day: what values compare by first.
    pub fn utc_micros(&self) -> i64 {
        self.micros.saturating_add(i64::from(self.zone_seconds_west) * 1_000_000)
    }

    /// Sortable form; all of it is the value part.
    pub fn to_sortable(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TIMETZ_LEN);
        self.write_sortable(&mut out);
        out
    }

    /// Appends the value part.
    pub fn write_sortable(&self, out: &mut Vec<u8>) {
        out.push(TIMETZ_TAG);
        out.extend_from_slice(&(self.utc_micros() ^ i64::MIN).to_be_bytes());
        out.extend_from_slice(&(self.zone_seconds_west ^ i32::MIN).to_be_bytes());
    }

    /// Back from [`TimeTz::to_sortable`].
    ///
    /// # Errors
    /// Data corrupted.
    pub fn from_sortable(bytes: &[u8]) -> Result<TimeTz> {
        let [TIMETZ_TAG, rest @ ..] = bytes else {
            return Err(corrupt());
        };
        let (Some(utc), Some(zone), 12) = (rest.first_chunk::<8>(), rest.last_chunk::<4>(), rest.len()) else {
            return Err(corrupt());
        };
        let zone_seconds_west = i32::from_be_bytes(*zone) ^ i32::MIN;
        let utc = i64::from_be_bytes(*utc) ^ i64::MIN;
        Ok(TimeTz {
            micros: utc.checked_sub(i64::from(zone_seconds_west) * 1_000_000).ok_or_else(corrupt)?,
            zone_seconds_west,
        })
    }
}
