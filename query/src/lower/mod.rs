//! From the typed statement tree to a running DataFusion plan.
//!
//! A relation becomes a `LogicalPlan` whose columns are named after their [`ColumnId`]s, so that there is nothing left to
//! resolve; DataFusion's optimizer (without the rules that Postgres's semantics forbid) and physical planner do the rest.
//! DataFusion never sees a subquery: those that are joins become joins here, the others are functions that run their own
//! plan, once per different row of outer values.
//!
//! - [`execute`]: statement in, batches out · [`explain()`]: the plan in words
//! - `expr`, `rel`, `aggregate`, `window`: the translation · `ranges`: frames of windows that are ours to find · `udf`, `kernel`: what functions do to columns
//! - [`PlanTemplate`]: plans that are kept for the next execution
//! - `deep`: expressions that are kept from DataFusion · `quantified`, `tuples`: `= ANY` of an array, and pairs, as a list · `conclusions`: what it must not conclude · `interrupt`: planning on threads of its own
//! - `subquery`, `lateral`, `cte`: what needs plans inside plans, `repeated` of them once, `by_key` none, their results in a `memo` · `unnest`, `decorrelate`: what does not after all
//! - `sorted_groups`: aggregates over sorted rows, `fold` one of them, `sorter` and `records` how rows get there · `materialized`: rows that are read several times
//! - `lookup_rule`, `lookup_join`, `narrow`, `estimate`: joins that look rows up by key
//! - `pool`, `attempt`, `frugal`: memory of all queries, of one attempt at a query, and the second attempt
//! - `operators`: what our operators of physical plans have in common
//! - `ordered`: the first rows in an index's order · `offsets`: which rows are not the first · `unclaimed`: what rows are not ordered by
//! - [`error_from`]: our errors come back out of DataFusion as they went in

mod accumulate;
mod aggregate;
mod appended;
mod attempt;
mod by_key;
mod conclusions;
mod context;
mod cte;
mod decorrelate;
mod deep;
mod equivalence;
mod error;
mod estimate;
mod explain;
mod explain_text;
mod expr;
mod extension;
mod floats;
mod fold;
mod frugal;
mod guard;
mod interrupt;
mod kept;
mod kernel;
mod lateral;
mod lookup_join;
mod lookup_rule;
mod materialized;
mod memo;
mod narrow;
mod null_safe;
mod offsets;
mod one_writer;
pub(crate) mod operators;
mod ordered;
mod pool;
mod quantified;
mod ranges;
mod records;
mod rel;
mod repeated;
mod runtime;
mod sorted_groups;
mod sorter;
mod stream;
mod subquery;
mod template;
mod tuples;
mod udf;
mod unclaimed;
mod unnest;
mod walk;
mod widths;
mod window;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use stratos_types::{Datum, PgType};

pub use by_key::rows_by_key;
pub use context::StatementContext;
pub use error::{error_from, to_datafusion};
pub use explain::{ExplainOptions, explain};
pub use runtime::{QueryRuntime, execute, execute_in, statement};
pub use stream::RowStream;
pub use template::PlanTemplate;

pub(crate) use context::statement_of;
pub(crate) use pool::kept_rows;
pub(crate) use rel::Lowerer;
pub(crate) use runtime::remove_spilled;
pub(crate) use tuples::{TupleSet, membership};

use crate::ir::{ColumnId, Rel};
use cte::{CteSource, WorkTable};

/// Whether a relation calls something volatile.
pub(crate) fn is_volatile(rel: &Rel) -> bool {
    walk::Facts::of(rel).volatile
}

/// What a relation may refer to besides itself: outer columns with the values that they have, and CTEs.
#[derive(Clone, Default)]
pub(crate) struct Env {
    bindings: Arc<HashMap<ColumnId, (PgType, Datum)>>,
    ctes: Arc<HashMap<u32, CteSource>>,
    /// The recursions whose terms it stands in.
    recursions: Vec<Arc<WorkTable>>,
}

impl Env {
    /// With outer columns given values.
    fn bind(&self, columns: impl IntoIterator<Item = (ColumnId, PgType, Datum)>) -> Env {
        let mut bindings = (*self.bindings).clone();
        bindings.extend(columns.into_iter().map(|(id, ty, value)| (id, (ty, value))));
        Env { bindings: Arc::new(bindings), ..self.clone() }
    }

    /// With other CTEs.
    fn with_ctes(&self, ctes: HashMap<u32, CteSource>) -> Env {
        Env { ctes: Arc::new(ctes), ..self.clone() }
    }

    /// In the term of a recursion.
    fn recursing(&self, cte: u32, table: Arc<WorkTable>) -> Env {
        let mut ctes = (*self.ctes).clone();
        ctes.insert(cte, CteSource::Working(table.clone()));
        let mut recursions = self.recursions.clone();
        recursions.push(table);
        Env { ctes: Arc::new(ctes), recursions, ..self.clone() }
    }

    /// Whether it stands in the term of a recursion.
    fn recurses(&self) -> bool {
        !self.recursions.is_empty()
    }

    /// How many rounds these recursions have begun: what is computed once is so for each round.
    fn round(&self) -> usize {
        self.recursions.iter().map(|table| table.round()).sum()
    }
}
