//! Composite values as bytes.
//!
//! | bytes | what |
//! |---|---|
//! | n | the fields as a key column (`stratos_types::key`): their order is the SQL order, and equal values have equal ones |
//! | 2 | number of names, little endian; `ffff` for none |
//! | 2 + n each | a name: its length, and the name |
//! | n | the fields as in a stored row (`stratos_types::row`) |
//! | 4 | length of the key column, little endian |

use std::sync::Arc;

use stratos_types::{Datum, Error, PgType, RecordDatum, Result, key, row};

const NO_NAMES: u16 = u16::MAX;

fn broken() -> Error {
    Error::internal("bytes that are no composite value")
}

pub(super) fn encode(record: &Arc<RecordDatum>) -> Result<Vec<u8>> {
    let value = Datum::Record(record.clone());
    let mut out = Vec::new();
    key::encode_column(&mut out, PgType::Record, &value, false, false);
    let key_length = u32::try_from(out.len()).map_err(|_| broken())?;
    match &record.names {
        None => out.extend_from_slice(&NO_NAMES.to_le_bytes()),
        Some(names) => {
            out.extend_from_slice(&u16::try_from(names.len()).map_err(|_| broken())?.to_le_bytes());
            for name in names.iter() {
                out.extend_from_slice(&u16::try_from(name.len()).map_err(|_| broken())?.to_le_bytes());
                out.extend_from_slice(name.as_bytes());
            }
        }
    }
    row::encode_field(PgType::Record, &value, &mut out)?;
    out.extend_from_slice(&key_length.to_le_bytes());
    Ok(out)
}

/// The part that comparisons, grouping and sorting look at.
pub(crate) fn order_key(bytes: &[u8]) -> &[u8] {
    split(bytes).map_or(bytes, |(key, _)| key)
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, length) = bytes.split_last_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

fn take_u16(bytes: &mut &[u8]) -> Result<u16> {
    let (head, rest) = bytes.split_first_chunk::<2>().ok_or_else(broken)?;
    *bytes = rest;
    Ok(u16::from_le_bytes(*head))
}

pub(super) fn decode(bytes: &[u8]) -> Result<Datum> {
    // Grouping may hand back an order key alone, whose forms are lost: it is no value to show.
    let (_, mut rest) = split(bytes).ok_or_else(broken)?;
    let names = match take_u16(&mut rest)? {
        NO_NAMES => None,
        count => {
            let mut names = Vec::with_capacity(count.into());
            for _ in 0..count {
                let length = take_u16(&mut rest)?;
                let (name, after) = rest.split_at_checked(length.into()).ok_or_else(broken)?;
                names.push(Arc::from(std::str::from_utf8(name).map_err(|_| broken())?));
                rest = after;
            }
            Some(Arc::from(names))
        }
    };
    match row::decode_field(PgType::Record, rest)? {
        Datum::Record(record) => Ok(Datum::record(record.fields.clone(), names)),
        _ => Err(broken()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panics")]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_sort_by_their_fields() {
        let names: stratos_types::FieldNames = Arc::from(vec![Arc::from("a"), Arc::from("b")]);
        let record = |n: i32, text: Option<&str>, named: bool| {
            let fields = vec![(PgType::Int4, Datum::Int4(n)), (PgType::Text, text.map_or(Datum::Null, Datum::text))];
            Datum::record(fields, named.then(|| names.clone()))
        };
        let encoded = |value: &Datum| match value {
            Datum::Record(record) => encode(record).unwrap(),
            _ => unreachable!("only records here"),
        };
        let values =
            [record(-1, Some("z"), true), record(1, Some("a"), false), record(1, None, true), record(2, None, false)];
        let bytes: Vec<Vec<u8>> = values.iter().map(encoded).collect();
        assert!(bytes.is_sorted());
        for (value, bytes) in values.iter().zip(&bytes) {
            assert_eq!(decode(bytes).unwrap(), *value);
        }
        assert_eq!(order_key(&encoded(&record(5, None, true))), order_key(&encoded(&record(5, None, false))));
    }
}
