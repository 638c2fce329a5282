//! Composite values as bytes.
//!
//! | bytes | what |
//! |---|---|
//! | n | the fields as a key column (`stratos_types::key`): their order is the SQL order, and equal values have equal ones |
//! | 2 | number of names, little endian; `ffff` for none |
//! | 2 + n each | a name: its length, and the name |
//! | 2 | number of fields that are composite values themselves, little endian |
//! | 2 + n each | one of them: its number, from 0, and its names in the same form |
//! | n | the fields as in a stored row (`stratos_types::row`) |
//! | 4 | length of the key column, little endian |

use std::sync::Arc;

use stratos_types::{Datum, Error, FieldNames, PgType, RecordDatum, Result, key, row};

const NO_NAMES: u16 = u16::MAX;
/// Composite values in each other that are read; rows take as many.
const DEPTH_MAX: u32 = 16;

fn broken() -> Error {
    Error::internal("bytes that are no composite value")
}

pub(crate) fn encode(record: &Arc<RecordDatum>) -> Result<Vec<u8>> {
    let value = Datum::Record(record.clone());
    let mut out = Vec::new();
    key::encode_column(&mut out, PgType::Record, &value, false, false);
    let key_length = u32::try_from(out.len()).map_err(|_| broken())?;
    write_names(record, &mut out)?;
    row::encode_field(PgType::Record, &value, &mut out)?;
    out.extend_from_slice(&key_length.to_le_bytes());
    Ok(out)
}

fn write_names(record: &RecordDatum, out: &mut Vec<u8>) -> Result<()> {
    let number = |n: usize| u16::try_from(n).map(u16::to_le_bytes).map_err(|_| broken());
    match &record.names {
        None => out.extend_from_slice(&NO_NAMES.to_le_bytes()),
        Some(names) => {
            out.extend_from_slice(&number(names.len())?);
            for name in names.iter() {
                out.extend_from_slice(&number(name.len())?);
                out.extend_from_slice(name.as_bytes());
            }
        }
    }
    let inner = || {
        record.fields.iter().enumerate().filter_map(|(at, (_, value))| match value {
            Datum::Record(inner) => Some((at, inner)),
            _ => None,
        })
    };
    out.extend_from_slice(&number(inner().count())?);
    for (at, inner) in inner() {
        out.extend_from_slice(&number(at)?);
        write_names(inner, out)?;
    }
    Ok(())
}

/// Names of the fields of a composite value, and of those in it.
struct Names {
    own: Option<FieldNames>,
    inner: Vec<(usize, Names)>,
}

fn read_names(bytes: &mut &[u8], depth: u32) -> Result<Names> {
    if depth > DEPTH_MAX {
        return Err(broken());
    }
    let own = match take_u16(bytes)? {
        NO_NAMES => None,
        count => {
            let mut names = Vec::with_capacity(count.into());
            for _ in 0..count {
                let length = take_u16(bytes)?;
                let (name, after) = bytes.split_at_checked(length.into()).ok_or_else(broken)?;
                names.push(Arc::from(std::str::from_utf8(name).map_err(|_| broken())?));
                *bytes = after;
            }
            Some(Arc::from(names))
        }
    };
    let count = take_u16(bytes)?;
    let inner = (0..count).map(|_| Ok((take_u16(bytes)?.into(), read_names(bytes, depth + 1)?)));
    Ok(Names { own, inner: inner.collect::<Result<_>>()? })
}

/// The value with the names.
fn named(value: &Datum, names: &Names) -> Datum {
    let Datum::Record(record) = value else { return value.clone() };
    let mut fields = record.fields.clone();
    for (at, names) in &names.inner {
        if let Some((_, field)) = fields.get_mut(*at) {
            *field = named(field, names);
        }
    }
    Datum::record(fields, names.own.clone())
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

pub(crate) fn decode(bytes: &[u8]) -> Result<Datum> {
    // Grouping may hand back an order key alone, whose forms are lost: it is no value to show.
    let (_, mut rest) = split(bytes).ok_or_else(broken)?;
    let names = read_names(&mut rest, 0)?;
    match row::decode_field(PgType::Record, rest)? {
        value @ Datum::Record(_) => Ok(named(&value, &names)),
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
        let nested = Datum::record(vec![(PgType::Int4, Datum::Null), (PgType::Record, values[2].clone())], None);
        assert_eq!(decode(&encoded(&nested)).unwrap(), nested);
        let Datum::Record(back) = decode(&encoded(&nested)).unwrap() else { panic!("no record") };
        assert!(matches!(&back.fields[1].1, Datum::Record(inner) if inner.names == Some(names.clone())));
        assert_eq!(order_key(&encoded(&record(5, None, true))), order_key(&encoded(&record(5, None, false))));
    }
}
