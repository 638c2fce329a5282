//! What a gathering aggregate makes of its rows.

use std::cmp::Ordering;
use std::sync::Arc;

use stratos_types::{ArrayDatum, Datum, Error, PgType, Result, key};

use crate::functions::{Aggregate, AggregateKind};
use crate::session::EvalContext;

/// The result of an aggregate over rows that are distinct and in order already where that was asked for.
pub(super) fn aggregate<'a>(
    _ctx: &EvalContext,
    aggregate: &'static Aggregate,
    types: &[PgType],
    ret: PgType,
    rows: impl Iterator<Item = &'a [Datum]>,
) -> Result<Datum> {
    let first = types.first().copied().unwrap_or(PgType::Unknown);
    match aggregate.kind {
        AggregateKind::ArrayAgg => {
            let values: Vec<Datum> = rows.map(|row| row[0].clone()).collect();
            if values.is_empty() {
                return Ok(Datum::Null);
            }
            Ok(Datum::Array(Arc::new(ArrayDatum {
                element: ret.element().unwrap_or(first),
                values,
            })))
        }
        AggregateKind::StringAgg => Ok(string_agg(rows)),
        AggregateKind::Count => Ok(Datum::Int8(
            i64::try_from(rows.filter(|row| !row.iter().any(Datum::is_null)).count())
                .unwrap_or(i64::MAX),
        )),
        kind @ (AggregateKind::Min | AggregateKind::Max) => {
            let keep = if kind == AggregateKind::Min {
                Ordering::Less
            } else {
                Ordering::Greater
            };
            let best = rows
                .map(|row| &row[0])
                .filter(|v| !v.is_null())
                .reduce(|a, b| if key::compare(first, b, a) == keep { b } else { a });
            Ok(best.cloned().unwrap_or(Datum::Null))
        }
        _ => Err(Error::unsupported(format!("aggregate {}", aggregate.name))),
    }
}

fn string_agg<'a>(rows: impl Iterator<Item = &'a [Datum]>) -> Datum {
    let mut out: Option<Vec<u8>> = None;
    let mut is_bytes = false;
    for row in rows {
        let (value, delimiter): (&[u8], &[u8]) = match (&row[0], row.get(1)) {
            (Datum::Text(v), d) => (
                v.as_bytes(),
                d.and_then(Datum::as_str).unwrap_or_default().as_bytes(),
            ),
            (Datum::Bytea(v), Some(Datum::Bytea(d))) => {
                is_bytes = true;
                (v, d)
            }
            (Datum::Bytea(v), _) => {
                is_bytes = true;
                (v, &[])
            }
            _ => continue,
        };
        match &mut out {
            Some(out) => {
                out.extend_from_slice(delimiter);
                out.extend_from_slice(value);
            }
            None => out = Some(value.to_vec()),
        }
    }
    match out {
        None => Datum::Null,
        Some(bytes) if is_bytes => Datum::Bytea(bytes.into()),
        Some(bytes) => Datum::text(String::from_utf8_lossy(&bytes).into_owned()),
    }
}
