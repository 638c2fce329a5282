//! Optimized plans that are kept for the next execution of a prepared query.

use arrow::datatypes::Field;
use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr as DfExpr, LogicalPlan};
use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::Arc;
use stratos_types::{PgType, Result};

use super::context::StatementContext;
use super::error::error_from;
use super::{Env, Lowerer};
use crate::arrow::{arrow_type, needs_equality_key, scalar_of};
use crate::functions::while_planning;
use crate::ir::Rel;

/// The plan of a query as far as it depends neither on the snapshot nor on the session nor on the values of the
/// parameters, which stay open in it. It holds for one catalog and one way to read literals, as the query itself does.
#[derive(Default)]
pub struct PlanTemplate {
    params: Vec<PgType>,
    state: Mutex<State>,
}

#[derive(Default, Clone)]
enum State {
    #[default]
    Untried,
    /// The plan holds something of its execution: a subquery's results, the time of day, a parameter that decides its shape.
    Unfit,
    Kept(Arc<LogicalPlan>),
}

impl PlanTemplate {
    /// For a query with parameters of these types.
    pub fn new(params: &[PgType]) -> Self {
        PlanTemplate { params: params.to_vec(), state: Mutex::default() }
    }

    /// The optimized plan for an execution; none when the query must be planned with everything known.
    ///
    /// # Errors
    /// What the optimizer finds.
    pub(super) fn plan(
        &self,
        statement: &Arc<StatementContext>,
        rel: &Rel,
        session: &SessionState,
    ) -> Result<Option<LogicalPlan>> {
        if statement.params.len() != self.params.len() {
            return Ok(None);
        }
        let state = self.state.lock().clone();
        let kept = match state {
            State::Unfit => return Ok(None),
            State::Kept(plan) => plan,
            State::Untried => {
                let plan = reusable(statement, rel, session);
                *self.state.lock() = plan.clone().map_or(State::Unfit, State::Kept);
                let Some(plan) = plan else { return Ok(None) };
                plan
            }
        };
        let plan = Arc::unwrap_or_clone(kept);
        if self.params.is_empty() {
            return Ok(Some(plan));
        }
        let values = statement.params.iter().zip(&self.params);
        let values = values.map(|(value, ty)| Ok(ScalarAndMetadata::new(scalar_of(*ty, value)?, None)));
        let values = ParamValues::List(values.collect::<Result<_>>()?);
        plan.replace_params_with_values(&values).map(Some).map_err(error_from)
    }
}

/// The plan with open parameters. A failure may come from their being open, so the ordinary way has the last word.
fn reusable(statement: &Arc<StatementContext>, rel: &Rel, session: &SessionState) -> Option<Arc<LogicalPlan>> {
    let reusable = Cell::new(true);
    let logical = Lowerer::template(statement, Env::default(), &reusable).query(rel).ok()?;
    if !reusable.get() {
        return None;
    }
    while_planning(|| session.optimize(&logical)).ok().map(Arc::new)
}

/// Parameter `n` (from 0) of a template, unless plans look at the values of its type.
pub(super) fn open_parameter(n: usize, ty: PgType) -> Option<DfExpr> {
    let open = (ty == PgType::Jsonb || !needs_equality_key(ty)) && ty.element().is_none();
    let field = Arc::new(Field::new("", arrow_type(ty), true));
    open.then(|| DfExpr::Placeholder(Placeholder::new_with_field(format!("${}", n + 1), Some(field))))
}
