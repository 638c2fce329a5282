//! Aggregates over rows that come one after another, in the order that they need: little is kept, and what is kept is charged.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::physical_plan::metrics::SpillMetrics;
use stratos_types::{ArrayDatum, Datum, Error, PgType, Result, key};

use super::accumulate::SortOrder;
use super::context::StatementContext;
use super::error::error_from;
use super::records::RowCodec;
use super::sorter::Sorter;
use crate::arrow::ColumnBuilder;
use crate::functions::aggregates::{Accumulator, Rank};
use crate::functions::{Aggregate, AggregateKind};
use crate::session::EvalContext;

/// How much more memory a column may take than its values, because it grows by doubling.
const GROWTH: usize = 2;
/// A state that is no larger is not charged.
const SMALL_STATE_BYTES: usize = 1024;
/// What a value of fixed width, or the end of another one, takes in a column, at most.
const FIXED_BYTES: usize = 8;

/// What is charged for the values of a grouping. It is no party to the memory before there is something: until then those
/// below have a larger share.
#[derive(Clone)]
pub(super) struct Charge {
    pool: Arc<dyn MemoryPool>,
    /// One party for all that belongs together.
    party: Arc<OnceLock<MemoryReservation>>,
}

impl Charge {
    pub fn new(pool: &Arc<dyn MemoryPool>) -> Charge {
        Charge { pool: pool.clone(), party: Arc::default() }
    }

    /// Sets aside so many bytes for one of them.
    pub fn grow(&self, held: &mut Option<MemoryReservation>, bytes: usize) -> Result<()> {
        let register = || MemoryConsumer::new("values of aggregates").register(&self.pool);
        let held = held.get_or_insert_with(|| self.party.get_or_init(register).new_empty());
        held.try_grow(bytes).map_err(error_from)
    }
}

/// One aggregate of a grouping. Columns are those of the grouping's input.
pub(super) struct Call {
    pub aggregate: &'static Aggregate,
    /// Of the arguments, with the ordered one of an ordered-set aggregate.
    pub types: Vec<PgType>,
    pub args: Vec<usize>,
    pub order: Vec<(usize, PgType, SortOrder)>,
    pub distinct: bool,
    pub filter: Option<usize>,
    pub ret: PgType,
}

impl Call {
    fn is_sorted(&self) -> bool {
        self.distinct || !self.order.is_empty()
    }

    /// The key by which rows are sorted. With DISTINCT, that of rows that count as one is the same.
    fn key(&self, row: &[Datum], out: &mut Vec<u8>) {
        out.clear();
        for (column, ty, order) in &self.order {
            key::encode_column(out, *ty, &row[*column], order.descending, order.nulls_first);
        }
        if self.distinct {
            for (column, ty) in self.args.iter().zip(&self.types) {
                key::encode_column(out, *ty, &row[*column], false, false);
            }
        }
    }
}

/// An aggregate under way, for one group after another.
pub(super) struct Running {
    call: Arc<Call>,
    statement: Arc<StatementContext>,
    /// Rows that must be put in order first.
    sorter: Option<Sorter>,
    /// The direct argument of an ordered-set aggregate.
    direct: Option<Datum>,
    fold: Fold,
    charge: Charge,
    /// For the group's state, and for values in the output.
    state: Option<MemoryReservation>,
    output: Option<MemoryReservation>,
    key: Vec<u8>,
    row: Vec<Datum>,
    codec: RowCodec,
    spills: SpillMetrics,
}

impl Running {
    pub fn new(
        call: Arc<Call>,
        statement: &Arc<StatementContext>,
        charge: Charge,
        spills: SpillMetrics,
    ) -> Result<Running> {
        let fold = Fold::new(&call)?;
        let codec = RowCodec::new(call.types.clone());
        Ok(Running {
            call,
            statement: statement.clone(),
            sorter: None,
            direct: None,
            fold,
            charge,
            state: None,
            output: None,
            key: Vec::new(),
            row: Vec::new(),
            codec,
            spills,
        })
    }

    /// Takes a row of the grouping's input.
    pub fn take(&mut self, row: &[Datum], out: &mut ColumnBuilder) -> Result<()> {
        if self.call.filter.is_some_and(|column| !matches!(row[column], Datum::Bool(true))) {
            return Ok(());
        }
        self.row.clear();
        self.row.extend(self.call.args.iter().map(|column| row[*column].clone()));
        if !self.call.is_sorted() {
            return self.add(out);
        }
        if self.call.aggregate.kind.is_ordered_set() {
            if let (None, [direct, _]) = (&self.direct, self.row.as_slice()) {
                self.direct = Some(direct.clone());
            }
            if self.row.last().is_some_and(Datum::is_null) {
                return Ok(());
            }
        }
        let mut key = std::mem::take(&mut self.key);
        self.call.key(row, &mut key);
        let payload = self.codec.encode(&self.row)?;
        let new = || Sorter::new(&self.statement, "sorted aggregates", self.spills.clone());
        self.sorter.get_or_insert_with(new).push(&key, payload)?;
        self.key = key;
        Ok(())
    }

    /// Ends the group, whose value goes to the output; the next one may begin.
    pub fn end(&mut self, out: &mut ColumnBuilder) -> Result<()> {
        if let Some(mut sorter) = self.sorter.take() {
            sorter.finish()?;
            self.fold.prepare(self.direct.as_ref(), sorter.len())?;
            let mut last: Option<Vec<u8>> = None;
            while let Some(record) = sorter.next()? {
                let repeated = last.as_deref() == Some(record.key);
                if repeated && self.call.distinct {
                    continue;
                }
                if let Fold::Mode(mode) = &mut self.fold
                    && repeated
                {
                    mode.again();
                    continue;
                }
                let last = last.get_or_insert_default();
                last.clear();
                last.extend_from_slice(record.key);
                self.codec.decode(record.payload, &mut self.row)?;
                self.add(out)?;
            }
            sorter.clear();
            self.sorter = Some(sorter);
        }
        let fold = std::mem::replace(&mut self.fold, Fold::new(&self.call)?);
        let value = fold.finish(&self.statement.eval, &self.call, self.direct.take().as_ref())?;
        self.state = None;
        match value {
            Folded::Value(value) => {
                self.charge_output(column_bytes(&value))?;
                out.push(&value)
            }
            Folded::Parts(parts) => {
                out.close(parts);
                Ok(())
            }
        }
    }

    /// The output was handed on.
    pub fn forget_output(&mut self) {
        self.output = None;
    }

    /// Bytes of the values in the output, roughly.
    pub fn output_bytes(&self) -> usize {
        self.output.as_ref().map_or(0, MemoryReservation::size)
    }

    fn charge_output(&mut self, bytes: usize) -> Result<()> {
        self.charge.grow(&mut self.output, GROWTH * bytes)
    }

    /// Adds the row that is at hand.
    fn add(&mut self, out: &mut ColumnBuilder) -> Result<()> {
        let row = std::mem::take(&mut self.row);
        match &mut self.fold {
            Fold::Elements(parts) => {
                let item = row.first().unwrap_or(&Datum::Null);
                *parts += 1;
                self.charge_output(column_bytes(item))?;
                out.push_part(item)?;
            }
            Fold::Text(parts) => {
                let (value, delimiter) = (row.first().unwrap_or(&Datum::Null), row.get(1).unwrap_or(&Datum::Null));
                if !value.is_null() {
                    *parts += 1;
                    if *parts > 1 && !delimiter.is_null() {
                        self.charge_output(text_bytes(delimiter))?;
                        out.push_part(delimiter)?;
                    }
                    self.charge_output(text_bytes(value))?;
                    out.push_part(value)?;
                }
            }
            Fold::State(state) => {
                state.update(&self.statement.eval, &row)?;
                let bytes = state.size_bytes();
                let charged = self.state.as_ref().map_or(SMALL_STATE_BYTES, MemoryReservation::size);
                if bytes > charged {
                    let before = self.state.as_ref().map_or(0, MemoryReservation::size);
                    self.charge.grow(&mut self.state, bytes - before)?;
                }
            }
            Fold::Ranks(ranks) => ranks.add(row.last()),
            Fold::Mode(mode) => mode.add(row.last()),
        }
        self.row = row;
        Ok(())
    }
}

/// Bytes of a value in a column, roughly.
pub(super) fn column_bytes(value: &Datum) -> usize {
    match value {
        Datum::Array(array) => FIXED_BYTES + array.values.iter().map(column_bytes).sum::<usize>(),
        Datum::Text(_) | Datum::Jsonb(_) | Datum::Bytea(_) | Datum::Numeric(_) | Datum::Record(_) => {
            FIXED_BYTES + value.size_bytes() - size_of::<Datum>()
        }
        Datum::Interval(_) | Datum::TimeTz(_) | Datum::Uuid(_) => size_of::<Datum>(),
        _ => FIXED_BYTES,
    }
}

/// Bytes of a text, or of bytes, as a part of another.
fn text_bytes(value: &Datum) -> usize {
    value.size_bytes() - size_of::<Datum>()
}

/// What is kept of the rows of a group.
enum Fold {
    /// `array_agg`: how many elements are in the output.
    Elements(usize),
    /// `string_agg`: how many values are.
    Text(usize),
    /// All that need no order of their own.
    State(Accumulator),
    Ranks(Ranks),
    Mode(Mode),
}

/// The value of a group.
enum Folded {
    Value(Datum),
    /// It is in the output already, in so many parts.
    Parts(usize),
}

impl Fold {
    fn new(call: &Call) -> Result<Fold> {
        Ok(match call.aggregate.kind {
            AggregateKind::ArrayAgg => Fold::Elements(0),
            AggregateKind::StringAgg => Fold::Text(0),
            AggregateKind::PercentileCont | AggregateKind::PercentileDisc => {
                Fold::Ranks(Ranks { kind: call.aggregate.kind, ranks: Vec::new(), at: 0, found: BTreeMap::new() })
            }
            AggregateKind::Mode => Fold::Mode(Mode::default()),
            _ => Fold::State(Accumulator::new(call.aggregate, &call.types, call.ret)?),
        })
    }

    /// Tells how many rows will come.
    fn prepare(&mut self, direct: Option<&Datum>, rows: usize) -> Result<()> {
        let (Fold::Ranks(ranks), Some(direct)) = (self, direct) else { return Ok(()) };
        if rows > 0 {
            let fractions = match direct {
                Datum::Array(fractions) => fractions.values.as_slice(),
                one => std::slice::from_ref(one),
            };
            let kind = ranks.kind;
            ranks.ranks = fractions.iter().map(|p| Rank::of(kind, p, rows)).collect::<Result<_>>()?;
            let positions = ranks.ranks.iter().flatten().flat_map(|rank| [rank.low, rank.high]);
            ranks.found = positions.map(|position| (position, Datum::Null)).collect();
        }
        Ok(())
    }

    fn finish(self, ctx: &EvalContext, call: &Call, direct: Option<&Datum>) -> Result<Folded> {
        Ok(match self {
            Fold::Elements(0) | Fold::Text(0) => Folded::Value(Datum::Null),
            Fold::Elements(parts) | Fold::Text(parts) => Folded::Parts(parts),
            Fold::State(state) => Folded::Value(state.finish(ctx)?),
            Fold::Ranks(ranks) => Folded::Value(ranks.finish(call, direct)?),
            Fold::Mode(mode) => Folded::Value(mode.finish()),
        })
    }
}

/// The values at the positions that percentiles are made of.
struct Ranks {
    kind: AggregateKind,
    ranks: Vec<Option<Rank>>,
    /// The position of the next value.
    at: usize,
    found: BTreeMap<usize, Datum>,
}

impl Ranks {
    fn add(&mut self, value: Option<&Datum>) {
        if let (Some(found), Some(value)) = (self.found.get_mut(&self.at), value) {
            *found = value.clone();
        }
        self.at += 1;
    }

    fn finish(self, call: &Call, direct: Option<&Datum>) -> Result<Datum> {
        if self.at == 0 {
            return Ok(Datum::Null);
        }
        let value = |rank: &Option<Rank>| match rank {
            Some(rank) => match (self.found.get(&rank.low), self.found.get(&rank.high)) {
                (Some(low), Some(high)) => rank.between(low, high),
                _ => Err(Error::internal("a percentile beyond its values")),
            },
            None => Ok(Datum::Null),
        };
        if !matches!(direct, Some(Datum::Array(_))) {
            return self.ranks.first().map_or(Ok(Datum::Null), value);
        }
        let values = self.ranks.iter().map(value).collect::<Result<_>>()?;
        let element = call.ret.element().ok_or_else(|| Error::internal("percentiles that are no array"))?;
        Ok(Datum::Array(Arc::new(ArrayDatum { element, values })))
    }
}

/// The most frequent of values in order.
#[derive(Default)]
struct Mode {
    best: Option<(Datum, usize)>,
    current: Option<(Datum, usize)>,
}

impl Mode {
    /// The value that came last comes again.
    fn again(&mut self) {
        if let Some((_, times)) = &mut self.current {
            *times += 1;
        }
    }

    fn add(&mut self, value: Option<&Datum>) {
        self.close();
        self.current = value.map(|value| (value.clone(), 1));
    }

    fn close(&mut self) {
        if let Some((value, times)) = self.current.take()
            && self.best.as_ref().is_none_or(|(_, most)| times > *most)
        {
            self.best = Some((value, times));
        }
    }

    fn finish(mut self) -> Datum {
        self.close();
        self.best.map_or(Datum::Null, |(value, _)| value)
    }
}
