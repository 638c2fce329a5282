//! Parts of a statement that run again and again, for different values of outer columns: optimized once, with these open.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use parking_lot::Mutex;
use stratos_types::{Datum, PgType, Result};

use super::by_key::ByKey;
use super::context::StatementContext;
use super::error::error_from;
use super::runtime::run_nested;
use super::{Env, Lowerer};
use crate::arrow::scalar_of;
use crate::functions::while_planning;
use crate::ir::{ColumnId, Expr, ExprKind, Rel};

/// A relation below an outer one, of the same statement.
pub(crate) struct Repeated {
    env: Env,
    outer: Vec<(ColumnId, PgType)>,
    state: Mutex<State>,
    by_key: Mutex<Program>,
}

/// The relation as a program over keys and rows.
#[derive(Clone, Default)]
enum Program {
    #[default]
    Untried,
    /// It has not the shape, or there were too many rows.
    Unfit,
    Kept(Arc<ByKey>),
}

#[derive(Clone, Default)]
enum State {
    #[default]
    Untried,
    /// The values must be known before.
    Unfit,
    Kept(Arc<(LogicalPlan, SessionState)>),
}

impl Repeated {
    /// For a relation that refers to these columns from outside.
    pub fn new(env: Env, outer: Vec<(ColumnId, PgType)>) -> Self {
        Repeated { env, outer, state: Mutex::default(), by_key: Mutex::default() }
    }

    /// The columns that it refers to.
    pub fn outer(&self) -> &[(ColumnId, PgType)] {
        &self.outer
    }

    /// Whether it stands in the term of a recursion, of which a plan serves many rounds: it has another value in each.
    pub fn recurses(&self) -> bool {
        self.env.recurses()
    }

    /// The round of the recursions around it.
    pub fn round(&self) -> usize {
        self.env.round()
    }

    /// Surroundings in which the outer columns have values.
    pub fn bound(&self, values: &[Datum]) -> Env {
        self.env.bind(self.outer.iter().zip(values).map(|((id, ty), value)| (*id, *ty, value.clone())))
    }

    /// The rows of the relation, always the same one, for values of the outer columns, where no plan is needed to find them.
    ///
    /// # Errors
    /// As running it.
    pub fn rows_by_key(
        &self,
        statement: &StatementContext,
        rel: &Rel,
        values: &[Datum],
    ) -> Result<Option<Vec<Vec<Datum>>>> {
        let program = {
            let mut state = self.by_key.lock();
            if let Program::Untried = *state {
                let found = ByKey::compile(statement, &self.env, &self.outer, rel);
                *state = found.map_or(Program::Unfit, |program| Program::Kept(Arc::new(program)));
            }
            state.clone()
        };
        let Program::Kept(program) = program else { return Ok(None) };
        let rows = program.rows(statement, values)?;
        if rows.is_none() {
            *self.by_key.lock() = Program::Unfit;
        }
        Ok(rows)
    }

    /// Whether the relation is known to only compute what is written in it: as soon done as looked up.
    pub fn only_computes(&self) -> bool {
        matches!(&*self.by_key.lock(), Program::Kept(program) if !program.reads())
    }

    /// Starts the relation, always the same one, with values of the outer columns.
    ///
    /// # Errors
    /// As planning's.
    pub async fn start(
        &self,
        statement: &Arc<StatementContext>,
        rel: &Rel,
        values: &[Datum],
    ) -> Result<SendableRecordBatchStream> {
        let state = self.state.lock().clone();
        let state = match state {
            State::Untried => {
                let kept = self.kept(statement, rel).map_or(State::Unfit, State::Kept);
                *self.state.lock() = kept.clone();
                kept
            }
            state => state,
        };
        let State::Kept(kept) = state else {
            return run_nested(statement, &self.bound(values), rel).await;
        };
        let (plan, session) = kept.as_ref();
        let values = values.iter().zip(&self.outer);
        let values = values.map(|(value, (_, ty))| Ok(ScalarAndMetadata::new(scalar_of(*ty, value)?, None)));
        let values = ParamValues::List(values.collect::<Result<_>>()?);
        let plan = plan.clone().replace_params_with_values(&values).map_err(error_from)?;
        let plan = session.query_planner().create_physical_plan(&plan, session).await.map_err(error_from)?;
        execute_stream(plan, session.task_ctx()).map_err(error_from)
    }

    /// The plan with open values. A failure may come from their being open, so the ordinary way has the last word.
    fn kept(&self, statement: &Arc<StatementContext>, rel: &Rel) -> Option<Arc<(LogicalPlan, SessionState)>> {
        if self.outer.is_empty() || !is_plain(rel) {
            return None;
        }
        let open: HashMap<ColumnId, usize> = self.outer.iter().enumerate().map(|(n, (id, _))| (*id, n)).collect();
        let session = statement.runtime.session(statement, 1);
        let logical = Lowerer::repeated(statement, self.env.clone(), &open).query(rel).ok()?;
        let plan = while_planning(|| session.optimize(&logical)).ok()?;
        Some(Arc::new((plan, session)))
    }
}

/// Whether a relation can be planned while the values are missing: what it calls functions of, or defines for itself, it could
/// not. Subqueries in its expressions are joins in the same plan, or functions of what they refer to, open values included.
fn is_plain(rel: &Rel) -> bool {
    let here = match rel {
        Rel::With { .. } | Rel::CteScan { .. } | Rel::TableFunction { .. } | Rel::Join { lateral: true, .. } => false,
        _ => rel.exprs().into_iter().all(has_plain_subqueries),
    };
    here && rel.inputs().into_iter().all(is_plain)
}

fn has_plain_subqueries(expr: &Expr) -> bool {
    let here = match &expr.kind {
        ExprKind::Subquery { query, .. } => is_plain(query),
        _ => true,
    };
    here && expr.children().into_iter().all(has_plain_subqueries)
}
