//! Subqueries in expressions, as functions of their outer columns.
//!
//! A [`SubqueryPlan`] keeps the relation, and its optimized plan where it can, and runs it for each different set of outer
//! values, which become constants of the plan (so that a lookup by key is one). Results are remembered. Subqueries that amount to joins do not come here:
//! see `unnest`.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::Operator;
use futures::StreamExt;
use parking_lot::Mutex;
use stratos_types::{ArrayDatum, Datum, Error, ErrorKind, PgType, Result, key};

use super::context::StatementContext;
use super::error::error_from;
use super::interrupt::stoppable;
use super::kernel;
use super::memo::Memo;
use super::pool::kept_rows;
use super::repeated::Repeated;
use super::runtime::block_on;
use super::udf::quantified;
use crate::arrow::datum_at;
use crate::functions::Function;
use crate::ir::{Quantifier, Rel};

/// Results remembered per subquery, and what a value costs in the set of them beside its bytes.
const MEMO_ENTRIES_MAX: usize = 16_384;
const SET_ENTRY_BYTES: usize = 48;

/// How the values of a subquery become one value.
#[derive(Clone)]
pub(crate) enum SubqueryUse {
    Scalar,
    Exists,
    Array(PgType),
    Quantified { quantifier: Quantifier, operator: &'static Function, left: PgType, right: PgType },
}

/// See the module.
pub(crate) struct SubqueryPlan {
    pub usage: SubqueryUse,
    pub query: Arc<Rel>,
    pub repeated: Repeated,
    pub volatile: bool,
    memo: Mutex<Memo<Values>>,
    /// What is computed once, in a round of the recursions around it.
    once: Mutex<Option<(usize, Arc<Values>)>>,
    /// Reserves nothing itself: values are reserved beside it.
    held: MemoryReservation,
}

/// What a subquery gave for one set of outer values.
struct Values {
    content: Content,
    has_null: bool,
    memory: MemoryReservation,
}

/// As they are asked for.
enum Content {
    Items(Vec<Datum>),
    /// For `= ANY` and, of `every` one, `<> ALL`: the key encodings of the values that are not NULL.
    Set {
        values: HashSet<Vec<u8>>,
        every: bool,
    },
}

impl SubqueryPlan {
    /// A subquery, and what runs it.
    pub fn new(
        usage: SubqueryUse,
        query: Arc<Rel>,
        repeated: Repeated,
        volatile: bool,
        statement: &StatementContext,
    ) -> Self {
        let pool = statement.runtime.memory_pool();
        SubqueryPlan {
            usage,
            query,
            repeated,
            volatile,
            memo: Mutex::new(Memo::new(MEMO_ENTRIES_MAX, pool)),
            once: Mutex::default(),
            held: kept_rows(pool),
        }
    }

    /// `values`: the left operand if there is one, then the outer columns.
    pub fn eval(&self, statement: &Arc<StatementContext>, values: &[Datum]) -> Result<Datum> {
        if statement.plan_only {
            // Rows of VALUES are computed when they are planned. No value of theirs is shown.
            return Ok(Datum::Null);
        }
        let (left, outer) = match &self.usage {
            SubqueryUse::Quantified { .. } => (values.first(), &values[1..]),
            _ => (None, values),
        };
        let result = self.values(statement, outer)?;
        Ok(match (&self.usage, &result.content) {
            (SubqueryUse::Scalar, Content::Items(items)) => items.first().cloned().unwrap_or(Datum::Null),
            (SubqueryUse::Exists, Content::Items(items)) => Datum::Bool(!items.is_empty()),
            (SubqueryUse::Array(element), Content::Items(items)) => {
                Datum::Array(Arc::new(ArrayDatum { element: *element, values: items.clone() }))
            }
            (SubqueryUse::Quantified { quantifier, operator, left: left_type, right }, Content::Items(items)) => {
                let left = left.unwrap_or(&Datum::Null);
                quantified(&statement.eval, *quantifier, operator, *left_type, left, *right, items)?
            }
            (SubqueryUse::Quantified { left: left_type, .. }, Content::Set { values, every }) => {
                let left = left.unwrap_or(&Datum::Null);
                if values.is_empty() && !result.has_null {
                    Datum::Bool(*every)
                } else if left.is_null() {
                    Datum::Null
                } else if values.contains(&encoded(*left_type, left)) {
                    Datum::Bool(!every)
                } else if result.has_null {
                    Datum::Null
                } else {
                    Datum::Bool(*every)
                }
            }
            (_, Content::Set { .. }) => return Err(Error::internal("a set of values that are not compared")),
        })
    }

    fn values(&self, statement: &Arc<StatementContext>, outer: &[Datum]) -> Result<Arc<Values>> {
        let round = self.repeated.round();
        // What refers to nothing outside is computed once, as Postgres does, also if it would be different the next time.
        if outer.is_empty() {
            if let Some((of, found)) = &*self.once.lock()
                && *of == round
            {
                return Ok(found.clone());
            }
            let result = self.computed(statement, outer)?;
            let mut once = self.once.lock();
            return Ok(match &*once {
                // Another thread was first.
                Some((of, found)) if *of == round => found.clone(),
                _ => once.insert((round, result)).1.clone(),
            });
        }
        if self.volatile {
            return self.computed(statement, outer);
        }
        let key = format!("{round} {outer:?}");
        if let Some(found) = self.memo.lock().get(&key) {
            return Ok(found);
        }
        let result = self.computed(statement, outer)?;
        self.memo.lock().insert(key, result.clone(), result.memory.size());
        Ok(result)
    }

    fn computed(&self, statement: &Arc<StatementContext>, outer: &[Datum]) -> Result<Arc<Values>> {
        statement.eval.check_canceled()?;
        let memory = self.held.new_empty();
        let items = match self.repeated.rows_by_key(statement, &self.query, outer)? {
            Some(rows) => self.items_of(rows, &memory)?,
            None => block_on(stoppable(statement, self.run(statement, outer, &memory)))??,
        };
        self.values_of(items, memory).map(Arc::new)
    }

    async fn run(
        &self,
        statement: &Arc<StatementContext>,
        outer: &[Datum],
        memory: &MemoryReservation,
    ) -> Result<Vec<Datum>> {
        let ty = self.query.output().first().map(|c| c.ty.ty);
        let mut stream = self.repeated.start(statement, &self.query, outer).await?;
        let mut items = Vec::new();
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(error_from)?;
            match &self.usage {
                SubqueryUse::Exists => {
                    if batch.num_rows() > 0 {
                        items.push(Datum::Bool(true));
                        break;
                    }
                }
                _ => {
                    let Some(ty) = ty else { return Err(without_columns()) };
                    let before = items.len();
                    for row in 0..batch.num_rows() {
                        items.push(datum_at(batch.column(0), row, ty)?);
                    }
                    reserve(memory, &items[before..])?;
                    self.check_number(&items)?;
                }
            }
        }
        Ok(items)
    }

    /// The same of rows that are there already.
    fn items_of(&self, rows: Vec<Vec<Datum>>, memory: &MemoryReservation) -> Result<Vec<Datum>> {
        if let SubqueryUse::Exists = self.usage {
            return Ok(rows.first().map(|_| Datum::Bool(true)).into_iter().collect());
        }
        let first = |row: Vec<Datum>| row.into_iter().next().ok_or_else(without_columns);
        let items = rows.into_iter().map(first).collect::<Result<Vec<_>>>()?;
        reserve(memory, &items)?;
        self.check_number(&items)?;
        Ok(items)
    }

    /// 21000 for a value that would be several.
    fn check_number(&self, items: &[Datum]) -> Result<()> {
        if matches!(self.usage, SubqueryUse::Scalar) && items.len() > 1 {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(Error::new(ErrorKind::CardinalityViolation, message));
        }
        Ok(())
    }

    fn values_of(&self, items: Vec<Datum>, memory: MemoryReservation) -> Result<Values> {
        let has_null = items.iter().any(Datum::is_null);
        let content = match &self.usage {
            SubqueryUse::Quantified { quantifier, operator, left, right }
                if (left == right || is_integer(*left) && is_integer(*right))
                    && kernel::comparison(operator) == Some(decisive(*quantifier)) =>
            {
                let values: HashSet<Vec<u8>> =
                    items.iter().filter(|v| !v.is_null()).map(|v| encoded(*right, v)).collect();
                let bytes = values.iter().map(|v| v.capacity() + SET_ENTRY_BYTES).sum();
                memory.try_resize(bytes).map_err(error_from)?;
                Content::Set { values, every: *quantifier == Quantifier::All }
            }
            _ => Content::Items(items),
        };
        Ok(Values { content, has_null, memory })
    }
}

/// Sets memory aside for values.
fn reserve(memory: &MemoryReservation, items: &[Datum]) -> Result<()> {
    memory.try_grow(items.iter().map(Datum::size_bytes).sum()).map_err(error_from)
}

fn without_columns() -> Error {
    Error::internal("a subquery without columns")
}

/// The operator with which a value that is among the others decides.
fn decisive(quantifier: Quantifier) -> Operator {
    match quantifier {
        Quantifier::Any => Operator::Eq,
        Quantifier::All => Operator::NotEq,
    }
}

fn is_integer(ty: PgType) -> bool {
    matches!(ty, PgType::Int2 | PgType::Int4 | PgType::Int8)
}

/// Equal values have equal key encodings, integers of all types.
fn encoded(ty: PgType, value: &Datum) -> Vec<u8> {
    let mut out = Vec::new();
    let wide = match value {
        Datum::Int2(v) => Some(i64::from(*v)),
        Datum::Int4(v) => Some(i64::from(*v)),
        _ => None,
    };
    match wide {
        Some(wide) => key::encode_column(&mut out, PgType::Int8, &Datum::Int8(wide), false, false),
        None => key::encode_column(&mut out, ty, value, false, false),
    }
    out
}
