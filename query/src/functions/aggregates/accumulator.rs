//! Running aggregates over rows.

use std::sync::Arc;

use stratos_types::datetime::interval::{interval_add, interval_div};
use stratos_types::{ArrayDatum, Datum, Error, ErrorKind, Interval, Numeric, NumericSum, PgType, Result, json};

use super::super::args::{boolean, float, int, numeric};
use super::super::{Aggregate, AggregateKind as K};
use super::statistics::{FloatMoments, Moments, NumericMoments, float4_sum, float8_sum};
use crate::eval;
use crate::functions::compare;
use crate::session::EvalContext;

/// One group's aggregate under way.
#[derive(Debug, Clone)]
pub struct Accumulator {
    kind: K,
    types: Vec<PgType>,
    ret: PgType,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Count(i64),
    /// sum of int2 and int4, which is a bigint
    Integers(Option<i128>),
    /// sum and avg of int8 and numeric, avg of the smaller integers
    Numerics(NumericSum, i64),
    Float4(Option<f32>),
    Float8(Option<f64>),
    Intervals(Option<Interval>, i64),
    FloatMoments(FloatMoments),
    Moments(Moments),
    NumericMoments(NumericMoments),
    /// min, max, bool_and, bool_or, bit_*: the value so far
    Single(Datum),
    Bytes(Option<Vec<u8>>),
    Values(Vec<Datum>),
    /// JSON text so far
    Json(Option<String>),
    /// direct argument and ordered values
    Ordered(Option<Datum>, Vec<Datum>),
}

/// The aggregate of rows that come distinct, filtered and in order already.
///
/// # Errors
/// As [`Accumulator::update`] and [`Accumulator::finish`].
pub fn over_rows<'a>(
    ctx: &EvalContext,
    aggregate: &'static Aggregate,
    types: &[PgType],
    ret: PgType,
    rows: impl Iterator<Item = &'a [Datum]>,
) -> Result<Datum> {
    let mut accumulator = Accumulator::new(aggregate, types, ret)?;
    for row in rows {
        accumulator.update(ctx, row)?;
    }
    accumulator.finish(ctx)
}

fn text_bytes(d: &Datum) -> &[u8] {
    match d {
        Datum::Text(s) => s.as_bytes(),
        Datum::Bytea(b) => b,
        _ => &[],
    }
}

impl Accumulator {
    /// An empty group's, for arguments of these types.
    ///
    /// # Errors
    /// Internal: an aggregate over types that it has no signature for.
    pub fn new(aggregate: &'static Aggregate, types: &[PgType], ret: PgType) -> Result<Self> {
        let first = types.first().copied().unwrap_or(PgType::Unknown);
        let is_float = matches!(first, PgType::Float4 | PgType::Float8);
        let state = match aggregate.kind {
            K::CountStar | K::Count => State::Count(0),
            K::Sum => match first {
                PgType::Int2 | PgType::Int4 => State::Integers(None),
                PgType::Int8 | PgType::Numeric => State::Numerics(NumericSum::default(), 0),
                PgType::Float4 => State::Float4(None),
                PgType::Float8 => State::Float8(None),
                PgType::Interval => State::Intervals(None, 0),
                _ => return Err(Error::internal(format_args!("no sum of {first}"))),
            },
            K::Avg if is_float => State::FloatMoments(FloatMoments::default()),
            K::Avg if first == PgType::Interval => State::Intervals(None, 0),
            K::Avg => State::Numerics(NumericSum::default(), 0),
            K::VarPop | K::VarSamp | K::StddevPop | K::StddevSamp if !is_float => {
                State::NumericMoments(NumericMoments::default())
            }
            K::VarPop | K::VarSamp | K::StddevPop | K::StddevSamp => State::FloatMoments(FloatMoments::default()),
            K::Corr
            | K::CovarPop
            | K::CovarSamp
            | K::RegrCount
            | K::RegrAvgX
            | K::RegrAvgY
            | K::RegrSxx
            | K::RegrSyy
            | K::RegrSxy
            | K::RegrR2
            | K::RegrSlope
            | K::RegrIntercept => State::Moments(Moments::default()),
            K::Min | K::Max | K::BoolAnd | K::BoolOr | K::BitAnd | K::BitOr | K::BitXor => State::Single(Datum::Null),
            K::StringAgg => State::Bytes(None),
            K::ArrayAgg => State::Values(Vec::new()),
            K::JsonAgg | K::JsonObjectAgg => State::Json(None),
            K::PercentileCont | K::PercentileDisc | K::Mode => State::Ordered(None, Vec::new()),
        };
        Ok(Accumulator { kind: aggregate.kind, types: types.to_vec(), ret, state })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// 22003 where a running value overflows; NULL keys of objects.
    pub fn update(&mut self, ctx: &EvalContext, args: &[Datum]) -> Result<()> {
        let kind = self.kind;
        let Some(value) = args.first() else {
            if let State::Count(n) = &mut self.state {
                *n += 1;
            }
            return Ok(());
        };
        match &mut self.state {
            State::Values(values) => {
                values.push(value.clone());
                return Ok(());
            }
            State::Json(out) => return json_step(ctx, kind, self.ret, &self.types, args, out),
            State::Ordered(direct, values) => {
                let (head, ordered) = match args {
                    [ordered] => (None, ordered),
                    [head, ordered] => (Some(head), ordered),
                    _ => return Err(Error::unsupported("ordering by several expressions here")),
                };
                if direct.is_none() {
                    *direct = head.cloned();
                }
                if !ordered.is_null() {
                    values.push(ordered.clone());
                }
                return Ok(());
            }
            _ => {}
        }
        if value.is_null() {
            return Ok(());
        }
        match &mut self.state {
            State::Count(n) => *n += 1,
            State::Integers(sum) => {
                *sum = Some(sum.unwrap_or(0) + i128::from(int(value)?));
            }
            State::Numerics(sum, n) => {
                match value {
                    Datum::Numeric(v) => sum.add(v)?,
                    other => sum.add_i64(int(other)?),
                }
                *n += 1;
            }
            State::Float4(sum) => {
                if let Datum::Float4(v) = value {
                    *sum = Some(match *sum {
                        Some(sum) => float4_sum(sum, *v)?,
                        None => *v,
                    });
                }
            }
            State::Float8(sum) => {
                let v = float(value)?;
                *sum = Some(match *sum {
                    Some(sum) => float8_sum(sum, v)?,
                    None => v,
                });
            }
            State::Intervals(sum, n) => {
                if let Datum::Interval(v) = value {
                    *sum = Some(match *sum {
                        Some(sum) => interval_add(sum, *v)?,
                        None => *v,
                    });
                    *n += 1;
                }
            }
            State::FloatMoments(moments) => moments.add(float(value)?)?,
            State::Moments(moments) => match args {
                // The dependent variable comes first.
                [_, x] if x.is_null() => {}
                [..] if kind == K::RegrCount => moments.n += 1.0,
                [y, x] => moments.add(float(x)?, float(y)?)?,
                _ => {}
            },
            State::NumericMoments(moments) => match value {
                Datum::Numeric(v) => moments.add(v)?,
                other => moments.add(&Numeric::from(int(other)?))?,
            },
            State::Single(held) => {
                let next =
                    if held.is_null() { Some(value.clone()) } else { combine(ctx, kind, self.types[0], held, value)? };
                if let Some(next) = next {
                    *held = next;
                }
            }
            State::Bytes(out) => match out {
                Some(out) => {
                    out.extend_from_slice(args.get(1).map_or(&[], text_bytes));
                    out.extend_from_slice(text_bytes(value));
                }
                None => *out = Some(text_bytes(value).to_vec()),
            },
            State::Values(_) | State::Json(_) | State::Ordered(..) => {}
        }
        Ok(())
    }

    /// Adds the rows of another accumulator of the same aggregate, which come after this one's.
    ///
    /// # Errors
    /// As [`Accumulator::update`]; internal for `string_agg`, whose parts have lost their first delimiter.
    pub fn merge(&mut self, ctx: &EvalContext, other: Accumulator) -> Result<()> {
        match (&mut self.state, other.state) {
            (State::Count(a), State::Count(b)) => *a += b,
            (State::Integers(a), State::Integers(b)) => {
                *a = match (*a, b) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                }
            }
            (State::Numerics(a, n), State::Numerics(b, m)) => {
                a.merge(&b)?;
                *n += m;
            }
            (State::Float4(a), State::Float4(b)) => {
                *a = match (*a, b) {
                    (Some(a), Some(b)) => Some(float4_sum(a, b)?),
                    (a, b) => a.or(b),
                }
            }
            (State::Float8(a), State::Float8(b)) => {
                *a = match (*a, b) {
                    (Some(a), Some(b)) => Some(float8_sum(a, b)?),
                    (a, b) => a.or(b),
                }
            }
            (State::Intervals(a, n), State::Intervals(b, m)) => {
                *a = match (*a, b) {
                    (Some(a), Some(b)) => Some(interval_add(a, b)?),
                    (a, b) => a.or(b),
                };
                *n += m;
            }
            (State::FloatMoments(a), State::FloatMoments(b)) => a.merge(&b)?,
            (State::Moments(a), State::Moments(b)) => a.merge(&b)?,
            (State::NumericMoments(a), State::NumericMoments(b)) => a.merge(&b)?,
            (State::Single(_), State::Single(value)) => {
                if !value.is_null() {
                    self.update(ctx, &[value])?;
                }
            }
            (State::Values(a), State::Values(b)) => a.extend(b),
            (State::Ordered(..), State::Ordered(..))
            | (State::Json(_), State::Json(_))
            | (State::Bytes(_), State::Bytes(_)) => {
                return Err(Error::internal("this aggregate needs its rows in one place"));
            }
            _ => return Err(Error::internal("accumulators of different aggregates")),
        }
        Ok(())
    }

    /// The value for the rows so far.
    ///
    /// # Errors
    /// 22003 where the result type cannot hold it.
    pub fn finish(&self, ctx: &EvalContext) -> Result<Datum> {
        Ok(match &self.state {
            State::Count(n) => Datum::Int8(*n),
            State::Integers(None) => Datum::Null,
            State::Integers(Some(sum)) => Datum::Int8(i64::try_from(*sum).map_err(|_| Error::out_of_range("bigint"))?),
            State::Numerics(_, 0) => Datum::Null,
            State::Numerics(sum, n) => {
                let sum = sum.finish()?;
                Datum::Numeric(match self.kind {
                    K::Avg => sum.div(&Numeric::from(*n))?,
                    _ => sum,
                })
            }
            State::Float4(sum) => sum.map_or(Datum::Null, Datum::Float4),
            State::Float8(sum) => sum.map_or(Datum::Null, Datum::Float8),
            State::Intervals(None, _) => Datum::Null,
            State::Intervals(Some(sum), n) => Datum::Interval(match self.kind {
                K::Avg => interval_div(*sum, *n as f64)?,
                _ => *sum,
            }),
            State::FloatMoments(moments) => moments.finish(self.kind),
            State::Moments(moments) => moments.finish(self.kind),
            State::NumericMoments(moments) => moments.finish(self.kind)?,
            State::Single(value) => value.clone(),
            State::Bytes(None) => Datum::Null,
            State::Bytes(Some(bytes)) if self.ret == PgType::Bytea => Datum::Bytea(bytes.as_slice().into()),
            State::Bytes(Some(bytes)) => {
                Datum::text(std::str::from_utf8(bytes).map_err(|_| Error::internal("string_agg made no UTF-8"))?)
            }
            State::Values(values) if values.is_empty() => Datum::Null,
            State::Values(values) => array_of(self.ret.element().unwrap_or(PgType::Unknown), values.clone())?,
            State::Json(None) => Datum::Null,
            State::Json(Some(text)) => {
                let close = if self.kind == K::JsonAgg { "]" } else { " }" };
                let text = [text.as_str(), close].concat();
                if self.ret == PgType::Jsonb {
                    Datum::Jsonb(json::canonicalize(&text)?.into())
                } else {
                    Datum::text(text)
                }
            }
            State::Ordered(direct, values) => self.ordered(ctx, direct.as_ref(), values)?,
        })
    }

    /// Bytes in memory, roughly.
    pub fn size_bytes(&self) -> usize {
        let held = match &self.state {
            State::Single(value) => value.size_bytes(),
            State::Bytes(Some(bytes)) => bytes.capacity(),
            State::Json(Some(text)) => text.capacity(),
            State::Values(values) | State::Ordered(_, values) => values.iter().map(Datum::size_bytes).sum(),
            _ => 0,
        };
        std::mem::size_of::<Self>() + held
    }

    fn ordered(&self, ctx: &EvalContext, direct: Option<&Datum>, values: &[Datum]) -> Result<Datum> {
        if values.is_empty() {
            return Ok(Datum::Null);
        }
        match (self.kind, direct) {
            (K::Mode, _) => most_frequent(ctx, values),
            (_, Some(Datum::Array(fractions))) => {
                let mut results = Vec::with_capacity(fractions.values.len());
                for fraction in &fractions.values {
                    results.push(percentile(self.kind, fraction, values)?);
                }
                array_of(self.ret.element().unwrap_or(PgType::Unknown), results)
            }
            (_, Some(fraction)) => percentile(self.kind, fraction, values),
            (_, None) => Ok(Datum::Null),
        }
    }
}

fn array_of(element: PgType, values: Vec<Datum>) -> Result<Datum> {
    if element.element().is_some() {
        return Err(Error::unsupported("multidimensional array"));
    }
    Ok(Datum::Array(Arc::new(ArrayDatum { element, values })))
}

/// The new value of a running minimum, conjunction …; `None` keeps the old one.
fn combine(ctx: &EvalContext, kind: K, ty: PgType, held: &Datum, value: &Datum) -> Result<Option<Datum>> {
    Ok(match kind {
        K::BoolAnd => Some(Datum::Bool(boolean(held)? && boolean(value)?)),
        K::BoolOr => Some(Datum::Bool(boolean(held)? || boolean(value)?)),
        K::BitAnd | K::BitOr | K::BitXor => {
            let (x, y) = (int(held)?, int(value)?);
            let bits = match kind {
                K::BitAnd => x & y,
                K::BitOr => x | y,
                _ => x ^ y,
            };
            // Bits of two values of a type fit the type.
            Some(match value {
                Datum::Int2(_) => Datum::Int2(bits as i16),
                Datum::Int4(_) => Datum::Int4(bits as i32),
                _ => Datum::Int8(bits),
            })
        }
        _ => {
            let order = match (held, value) {
                (Datum::Text(x), Datum::Text(y)) if ty == PgType::Bpchar => {
                    y.trim_end_matches(' ').cmp(x.trim_end_matches(' '))
                }
                _ => compare(ctx, value, held)?,
            };
            let better = if kind == K::Min { order.is_lt() } else { order.is_gt() };
            better.then(|| value.clone())
        }
    })
}

fn json_step(
    ctx: &EvalContext,
    kind: K,
    ret: PgType,
    types: &[PgType],
    args: &[Datum],
    out: &mut Option<String>,
) -> Result<()> {
    let first = out.is_none();
    let ty = |i: usize| types.get(i).copied().unwrap_or(PgType::Unknown);
    let value_text = |value: &Datum, ty: PgType| {
        let (value, ty) = eval::named(ctx, value, ty);
        if value.is_null() {
            Ok("null".to_owned())
        } else if ret == PgType::Jsonb {
            json::to_jsonb(&value, ty, &ctx.format)
        } else {
            json::to_json(&value, ty, &ctx.format)
        }
    };
    if kind == K::JsonAgg {
        let text = value_text(&args[0], ty(0))?;
        let out = out.get_or_insert_with(|| "[".to_owned());
        if !first {
            out.push_str(", ");
            // Postgres starts a line for every structured element.
            if matches!(&args[0], Datum::Array(_) | Datum::Record(_)) {
                out.push_str("\n ");
            }
        }
        out.push_str(&text);
        return Ok(());
    }
    let [key, value] = args else {
        return Err(Error::internal("json_object_agg takes two arguments"));
    };
    if key.is_null() {
        return Err(Error::new(ErrorKind::InvalidParameterValue, "field name must not be null"));
    }
    let text = value_text(value, ty(1))?;
    let key = eval::to_text(ctx, key, ty(0))?;
    let out = out.get_or_insert_with(|| "{ ".to_owned());
    if !first {
        out.push_str(", ");
    }
    json::write_string(out, &key);
    out.push_str(" : ");
    out.push_str(&text);
    Ok(())
}

fn most_frequent(ctx: &EvalContext, values: &[Datum]) -> Result<Datum> {
    let (mut best, mut best_count) = (&values[0], 0_usize);
    let mut start = 0;
    for i in 1..=values.len() {
        if i == values.len() || compare(ctx, &values[i], &values[start])?.is_ne() {
            if i - start > best_count {
                (best, best_count) = (&values[start], i - start);
            }
            start = i;
        }
    }
    Ok(best.clone())
}

fn percentile(kind: K, fraction: &Datum, values: &[Datum]) -> Result<Datum> {
    match Rank::of(kind, fraction, values.len())? {
        Some(rank) => rank.between(&values[rank.low], &values[rank.high]),
        None => Ok(Datum::Null),
    }
}

/// Which of the values in order a percentile is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rank {
    /// The position of the one before it, or its own.
    pub low: usize,
    /// The position of the one behind it.
    pub high: usize,
    /// How far it is from the one to the other.
    part: f64,
}

impl Rank {
    /// For `rows` values, at least one; none for the fraction NULL.
    ///
    /// # Errors
    /// 22003 for a fraction that is none.
    pub fn of(kind: K, fraction: &Datum, rows: usize) -> Result<Option<Rank>> {
        if fraction.is_null() {
            return Ok(None);
        }
        let p = match fraction {
            Datum::Numeric(_) => numeric(fraction)?.to_f64()?,
            other => float(other)?,
        };
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::new(
                ErrorKind::NumericValueOutOfRange,
                format!("percentile value {} is not between 0 and 1", stratos_types::float8_text(p, 0)),
            ));
        }
        let n = rows as f64;
        if kind == K::PercentileDisc {
            let at = ((p * n).ceil().max(1.0) as usize - 1).min(rows.saturating_sub(1));
            return Ok(Some(Rank { low: at, high: at, part: 0.0 }));
        }
        let position = p * (n - 1.0);
        let (low, high) = (position.floor() as usize, position.ceil() as usize);
        Ok(Some(Rank { low, high, part: position - low as f64 }))
    }

    /// The percentile, of the values at its positions.
    ///
    /// # Errors
    /// 22003 where intervals overflow; internal for types without a way from one to the other.
    pub fn between(self, low: &Datum, high: &Datum) -> Result<Datum> {
        if self.low == self.high {
            return Ok(low.clone());
        }
        match (low, high) {
            (Datum::Float8(a), Datum::Float8(b)) => Ok(Datum::Float8(a + (b - a) * self.part)),
            (Datum::Interval(a), Datum::Interval(b)) => {
                use stratos_types::datetime::interval::{interval_mul, interval_sub};
                let step = interval_mul(interval_sub(*b, *a)?, self.part)?;
                Ok(Datum::Interval(interval_add(*a, step)?))
            }
            _ => Err(Error::internal("percentile_cont over another type")),
        }
    }
}
