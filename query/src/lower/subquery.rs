//! Subqueries in expressions, as functions of their outer columns.
//!
//! A [`SubqueryPlan`] keeps the relation, and its optimized plan where it can, and runs it for each different set of outer
//! values, which become constants of the plan (so that a lookup by key is one). Results are remembered. Subqueries that amount to joins do not come here:
//! see `unnest`.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::logical_expr::Operator;
use futures::StreamExt;
use parking_lot::Mutex;
use stratos_types::{ArrayDatum, Datum, Error, ErrorKind, PgType, Result, key};

use super::context::StatementContext;
use super::error::error_from;
use super::interrupt::stoppable;
use super::kernel;
use super::repeated::Repeated;
use super::runtime::block_on;
use super::udf::quantified;
use crate::arrow::datum_at;
use crate::cache::Cache;
use crate::functions::Function;
use crate::ir::{Quantifier, Rel};

/// Results remembered per subquery.
pub(super) const MEMO_ENTRIES_MAX: usize = 16_384;

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
    pub memo: Mutex<Cache<String, Arc<Values>>>,
}

/// What a subquery gave for one set of outer values.
pub(crate) struct Values {
    items: Vec<Datum>,
    /// For `= ANY` and `<> ALL`: the key encodings of the values that are not NULL.
    set: Option<HashSet<Vec<u8>>>,
    has_null: bool,
}

impl SubqueryPlan {
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
        Ok(match &self.usage {
            SubqueryUse::Scalar => result.items.first().cloned().unwrap_or(Datum::Null),
            SubqueryUse::Exists => Datum::Bool(!result.items.is_empty()),
            SubqueryUse::Array(element) => {
                Datum::Array(Arc::new(ArrayDatum { element: *element, values: result.items.clone() }))
            }
            SubqueryUse::Quantified { quantifier, operator, left: left_type, right } => {
                let left = left.unwrap_or(&Datum::Null);
                if let Some(set) = &result.set {
                    let every = *quantifier == Quantifier::All;
                    return Ok(match result.items.is_empty() {
                        true => Datum::Bool(every),
                        false if left.is_null() => Datum::Null,
                        false if set.contains(&encoded(*left_type, left)) => Datum::Bool(!every),
                        false if result.has_null => Datum::Null,
                        false => Datum::Bool(every),
                    });
                }
                quantified(&statement.eval, *quantifier, operator, *left_type, left, *right, &result.items)?
            }
        })
    }

    fn values(&self, statement: &Arc<StatementContext>, outer: &[Datum]) -> Result<Arc<Values>> {
        let key = format!("{} {outer:?}", self.repeated.round());
        // What refers to nothing outside is computed once, as Postgres does, also if it would be different the next time.
        let kept = !self.volatile || outer.is_empty();
        if kept && let Some(found) = self.memo.lock().get(&key) {
            return Ok(found.clone());
        }
        statement.eval.check_canceled()?;
        let items = match self.repeated.rows_by_key(statement, &self.query, outer)? {
            Some(rows) => self.items_of(rows)?,
            None => block_on(stoppable(statement, self.run(statement, outer)))??,
        };
        let result = Arc::new(self.values_of(items));
        if kept {
            let mut memo = self.memo.lock();
            // Another thread may have been first.
            if let Some(found) = memo.get(&key) {
                return Ok(found.clone());
            }
            memo.insert(key, result.clone());
        }
        Ok(result)
    }

    async fn run(&self, statement: &Arc<StatementContext>, outer: &[Datum]) -> Result<Vec<Datum>> {
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
                    for row in 0..batch.num_rows() {
                        items.push(datum_at(batch.column(0), row, ty)?);
                    }
                    self.check_number(&items)?;
                }
            }
        }
        Ok(items)
    }

    /// The same of rows that are there already.
    fn items_of(&self, rows: Vec<Vec<Datum>>) -> Result<Vec<Datum>> {
        if let SubqueryUse::Exists = self.usage {
            return Ok(rows.first().map(|_| Datum::Bool(true)).into_iter().collect());
        }
        let first = |row: Vec<Datum>| row.into_iter().next().ok_or_else(without_columns);
        let items = rows.into_iter().map(first).collect::<Result<Vec<_>>>()?;
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

    fn values_of(&self, items: Vec<Datum>) -> Values {
        let has_null = items.iter().any(Datum::is_null);
        let set = match &self.usage {
            SubqueryUse::Quantified { quantifier, operator, left, right }
                if (left == right || is_integer(*left) && is_integer(*right))
                    && kernel::comparison(operator) == Some(decisive(*quantifier)) =>
            {
                Some(items.iter().filter(|v| !v.is_null()).map(|v| encoded(*right, v)).collect())
            }
            _ => None,
        };
        Values { items, set, has_null }
    }
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
