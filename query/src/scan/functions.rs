//! Set-returning functions in FROM.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream::BoxStream;
use stratos_types::datetime::arith;
use stratos_types::{Datum, Error, ErrorKind, Interval, Numeric, PgType, Result, TimeZone, json};

use super::batches::{BatchSource, SourceTable};
use super::system::batch_of;
use crate::functions::keywords::KEYWORDS;
use crate::functions::pattern;
use crate::ir::{OutputColumn, TableFunctionKind};
use crate::lower::StatementContext;
use crate::session::EvalContext;

/// Rows of a batch that is made at once.
const BATCH_ROWS: usize = 8192;

/// A set-returning function in a plan, called with constant arguments.
pub(crate) fn function_table(
    kind: TableFunctionKind,
    args: Vec<(PgType, Datum)>,
    columns: Vec<OutputColumn>,
    ordinality: bool,
) -> SourceTable {
    let call = Call { kind, args, columns: columns.clone(), ordinality };
    SourceTable::new(&columns, Arc::new(call))
}

#[derive(Debug)]
struct Call {
    kind: TableFunctionKind,
    args: Vec<(PgType, Datum)>,
    columns: Vec<OutputColumn>,
    ordinality: bool,
}

impl BatchSource for Call {
    fn describe(&self) -> String {
        format!("Function Scan on {:?}", self.kind)
    }

    fn stream(&self, statement: Arc<StatementContext>) -> BoxStream<'static, Result<RecordBatch>> {
        let rows = match FunctionRows::new(&statement.eval, self.kind, &self.args, &self.columns, self.ordinality) {
            Ok(rows) => rows,
            Err(error) => return futures::stream::iter([Err(error)]).boxed(),
        };
        futures::stream::try_unfold((rows, statement), |(mut rows, statement)| async move {
            statement.eval.check_canceled()?;
            Ok(rows.next_batch(BATCH_ROWS)?.map(|batch| (batch, (rows, statement))))
        })
        .boxed()
    }
}

/// The rows of one call, made as they are taken.
pub(crate) struct FunctionRows {
    rows: Box<dyn Iterator<Item = Result<Vec<Datum>>> + Send>,
    columns: Vec<OutputColumn>,
    /// Number of the last row, where `WITH ORDINALITY` asks for it.
    ordinality: Option<i64>,
}

impl FunctionRows {
    /// Starts a call.
    ///
    /// # Errors
    /// Arguments that the function does not take.
    pub fn new(
        ctx: &EvalContext,
        kind: TableFunctionKind,
        args: &[(PgType, Datum)],
        columns: &[OutputColumn],
        ordinality: bool,
    ) -> Result<Self> {
        let rows = rows(ctx, kind, args)?;
        Ok(FunctionRows { rows, columns: columns.to_vec(), ordinality: ordinality.then_some(0) })
    }

    /// The next rows, at most `max` of them; none at the end.
    ///
    /// # Errors
    /// As the function's.
    pub fn next_batch(&mut self, max: usize) -> Result<Option<RecordBatch>> {
        let mut out = Vec::new();
        for row in self.rows.by_ref().take(max) {
            let mut row = row?;
            if let Some(n) = &mut self.ordinality {
                *n += 1;
                row.push(Datum::Int8(*n));
            }
            out.push(row);
        }
        if out.is_empty() {
            return Ok(None);
        }
        batch_of(&self.columns, &out).map(Some)
    }
}

type Rows = Box<dyn Iterator<Item = Result<Vec<Datum>>> + Send>;

fn none() -> Rows {
    Box::new(std::iter::empty())
}

fn one_column(values: Vec<Datum>) -> Rows {
    Box::new(values.into_iter().map(|v| Ok(vec![v])))
}

fn rows(ctx: &EvalContext, kind: TableFunctionKind, args: &[(PgType, Datum)]) -> Result<Rows> {
    use TableFunctionKind as K;
    match kind {
        K::ScalarCall => Ok(Box::new(std::iter::once(Ok(args.iter().map(|(_, v)| v.clone()).collect())))),
        K::Unnest => Ok(unnest(args)),
        K::ExpandArray => Ok(match args.first() {
            Some((_, Datum::Array(array))) => {
                let rows = array.values.clone().into_iter().zip(1_i32..);
                Box::new(rows.map(|(value, n)| Ok(vec![value, Datum::Int4(n)])))
            }
            _ => none(),
        }),
        K::GenerateSubscripts => {
            let (Some((_, Datum::Array(array))), Some((_, Datum::Int4(1)))) = (args.first(), args.get(1)) else {
                return Ok(none());
            };
            let count = i32::try_from(array.values.len()).unwrap_or(i32::MAX);
            let reverse = matches!(args.get(2), Some((_, Datum::Bool(true))));
            // The catalogs' vectors count from 0.
            let first = i32::from(!matches!(args.first(), Some((PgType::Int2Vector | PgType::OidVector, _))));
            let mut values: Vec<Datum> = (first..first.saturating_add(count)).map(Datum::Int4).collect();
            if reverse {
                values.reverse();
            }
            Ok(one_column(values))
        }
        _ if args.iter().any(|(_, v)| v.is_null()) && kind != K::StringToTable => Ok(none()),
        K::GenerateSeries => generate_series(args, &ctx.format.time_zone),
        K::StringToTable => Ok(string_to_table(args)),
        K::RegexpSplitToTable => pattern::split(ctx, &values_of(args), "regexp_split_to_table").map(one_column),
        K::RegexpMatches => pattern::all_matches(ctx, &values_of(args)).map(one_column),
        K::JsonEach | K::JsonEachText => {
            let mut out = Vec::new();
            let members = json::each(text_of(args)).map_err(|error| match args.first() {
                Some((PgType::Jsonb, _)) => {
                    let name = if kind == K::JsonEach { "jsonb_each" } else { "jsonb_each_text" };
                    Error::new(ErrorKind::InvalidParameterValue, format!("cannot call {name} on a non-object"))
                }
                _ => error,
            })?;
            for (key, member) in members {
                out.push(Ok(vec![Datum::text(key), member_datum(args, member, kind == K::JsonEachText)?]));
            }
            Ok(Box::new(out.into_iter()))
        }
        K::JsonArrayElements | K::JsonArrayElementsText => json::elements(text_of(args))?
            .into_iter()
            .map(|member| member_datum(args, member, kind == K::JsonArrayElementsText))
            .collect::<Result<_>>()
            .map(one_column),
        K::JsonObjectKeys => Ok(one_column(json::object_keys(text_of(args))?.into_iter().map(Datum::text).collect())),
        K::PgGetKeywords => Ok(keywords()),
        K::PgOptionsToTable => Ok(options(args)),
        K::PgPartitionAncestors => Ok(none()),
    }
}

/// The options of an array, each with its value if it has one.
fn options(args: &[(PgType, Datum)]) -> Rows {
    let Some((_, Datum::Array(options))) = args.first() else { return none() };
    let parts = options.values.iter().filter_map(Datum::as_str).map(|option| match option.split_once('=') {
        Some((name, value)) => Ok(vec![Datum::text(name), Datum::text(value)]),
        None => Ok(vec![Datum::text(option), Datum::Null]),
    });
    Box::new(parts.collect::<Vec<_>>().into_iter())
}

fn values_of(args: &[(PgType, Datum)]) -> Vec<Datum> {
    args.iter().map(|(_, v)| v.clone()).collect()
}

/// The text of a json or jsonb argument.
fn text_of(args: &[(PgType, Datum)]) -> &str {
    args.first().and_then(|(_, v)| v.as_str()).unwrap_or_default()
}

/// A member of the json or jsonb argument, in its type or as text.
fn member_datum(args: &[(PgType, Datum)], member: String, as_text: bool) -> Result<Datum> {
    if as_text {
        return Ok(json::as_text(&member)?.map_or(Datum::Null, Datum::text));
    }
    Ok(match args.first() {
        Some((PgType::Jsonb, _)) => Datum::Jsonb(member.into()),
        _ => Datum::text(member),
    })
}

/// `pg_get_keywords()`
fn keywords() -> Rows {
    Box::new(KEYWORDS.iter().map(|(word, category, label)| {
        let described = match category {
            b'U' => "unreserved",
            b'C' => "unreserved (cannot be function or type name)",
            b'T' => "reserved (can be function or type name)",
            _ => "reserved",
        };
        Ok(vec![
            Datum::text(*word),
            Datum::text(char::from(*category).to_string()),
            Datum::Bool(*label),
            Datum::text(described),
            Datum::text(if *label { "can be bare label" } else { "requires AS" }),
        ])
    }))
}

/// Several arrays side by side, the shorter ones filled up with NULLs.
fn unnest(args: &[(PgType, Datum)]) -> Rows {
    let arrays: Vec<Vec<Datum>> = args
        .iter()
        .map(|(_, value)| match value {
            Datum::Array(array) => array.values.clone(),
            _ => Vec::new(),
        })
        .collect();
    let longest = arrays.iter().map(Vec::len).max().unwrap_or(0);
    Box::new((0..longest).map(move |i| Ok(arrays.iter().map(|a| a.get(i).cloned().unwrap_or(Datum::Null)).collect())))
}

fn step_is_zero() -> Error {
    Error::new(ErrorKind::InvalidParameterValue, "step size cannot equal zero")
}

fn generate_series(args: &[(PgType, Datum)], zone: &TimeZone) -> Result<Rows> {
    let values: Vec<&Datum> = args.iter().map(|(_, v)| v).collect();
    Ok(match values.as_slice() {
        [Datum::Int4(start), Datum::Int4(stop), rest @ ..] => {
            let step = match rest.first() {
                Some(Datum::Int4(step)) => *step,
                _ => 1,
            };
            Box::new(
                integers(i64::from(*start), i64::from(*stop), i64::from(step))?
                    .map(|n| Ok(vec![Datum::Int4(n as i32)])),
            )
        }
        [Datum::Int8(start), Datum::Int8(stop), rest @ ..] => {
            let step = match rest.first() {
                Some(Datum::Int8(step)) => *step,
                _ => 1,
            };
            Box::new(integers(*start, *stop, step)?.map(|n| Ok(vec![Datum::Int8(n)])))
        }
        [Datum::Numeric(start), Datum::Numeric(stop), rest @ ..] => {
            let step = match rest.first() {
                Some(Datum::Numeric(step)) => step.clone(),
                _ => Numeric::from(1_i32),
            };
            numerics(start.clone(), stop.clone(), step)?
        }
        [Datum::Timestamp(start), Datum::Timestamp(stop), Datum::Interval(step)] => {
            timestamps(*start, *stop, *step, arith::timestamp_plus, Datum::Timestamp)?
        }
        [Datum::TimestampTz(start), Datum::TimestampTz(stop), Datum::Interval(step)] => {
            let zone = zone.clone();
            timestamps(
                *start,
                *stop,
                *step,
                move |t, step| arith::timestamptz_plus(t, step, &zone),
                Datum::TimestampTz,
            )?
        }
        _ => return Err(Error::unsupported("generate_series of these types")),
    })
}

fn integers(start: i64, stop: i64, step: i64) -> Result<impl Iterator<Item = i64> + Send> {
    if step == 0 {
        return Err(step_is_zero());
    }
    let inside = move |n: i64| if step > 0 { n <= stop } else { n >= stop };
    Ok(std::iter::successors(Some(start), move |n| n.checked_add(step)).take_while(move |n| inside(*n)))
}

fn numerics(start: Numeric, stop: Numeric, step: Numeric) -> Result<Rows> {
    for (value, what) in [(&start, "start value"), (&stop, "stop value"), (&step, "step size")] {
        let wrong = if value.is_nan() {
            "NaN"
        } else if value.is_infinite() {
            "infinity"
        } else {
            continue;
        };
        return Err(Error::new(ErrorKind::InvalidParameterValue, format!("{what} cannot be {wrong}")));
    }
    if step.is_zero() {
        return Err(step_is_zero());
    }
    let rising = step > Numeric::from(0_i32);
    let mut next = Some(start);
    Ok(Box::new(std::iter::from_fn(move || {
        let current = next.take()?;
        let inside = if rising { current <= stop } else { current >= stop };
        if !inside {
            return None;
        }
        match current.add(&step) {
            Ok(sum) => next = Some(sum),
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(vec![Datum::Numeric(current)]))
    })))
}

fn timestamps(
    start: i64,
    stop: i64,
    step: Interval,
    plus: impl Fn(i64, Interval) -> Result<i64> + Send + 'static,
    wrap: fn(i64) -> Datum,
) -> Result<Rows> {
    const MICROS_PER_DAY: i128 = 86_400_000_000;
    let size = (i128::from(step.months) * 30 + i128::from(step.days)) * MICROS_PER_DAY + i128::from(step.micros);
    if size == 0 {
        return Err(step_is_zero());
    }
    let mut next = Some(start);
    Ok(Box::new(std::iter::from_fn(move || {
        let current = next.take()?;
        let inside = if size > 0 { current <= stop } else { current >= stop };
        if !inside {
            return None;
        }
        match plus(current, step) {
            Ok(sum) => next = Some(sum),
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(vec![wrap(current)]))
    })))
}

fn string_to_table(args: &[(PgType, Datum)]) -> Rows {
    let Some(text) = args.first().and_then(|(_, v)| v.as_str()) else {
        return none();
    };
    if text.is_empty() {
        return none();
    }
    let null = args.get(2).and_then(|(_, v)| v.as_str());
    let parts: Vec<String> = match args.get(1).and_then(|(_, v)| v.as_str()) {
        None => text.chars().map(String::from).collect(),
        Some("") => vec![text.to_owned()],
        Some(delimiter) => text.split(delimiter).map(str::to_owned).collect(),
    };
    one_column(
        parts
            .into_iter()
            .map(|part| if null == Some(part.as_str()) { Datum::Null } else { Datum::text(part) })
            .collect(),
    )
}
