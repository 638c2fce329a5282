//! What runs again and again for different values of outer columns, as a program over keys and rows: the latest row of each
//! group, the number of rows below a value. Nothing is planned for each of them (see `exec::direct_select`).

use std::sync::Arc;

use stratos_types::{Datum, PgType, Result};

use super::context::StatementContext;
use super::{Env, QueryRuntime};

use crate::exec::direct_select::DirectSelect;
use crate::ir::{ColumnId, ExprKind, Rel, Walk};
use crate::scan::RowSource;
use crate::session::{DIRECT_QUERIES, EvalContext};

/// A relation whose outer columns are parameters behind the statement's own.
pub(super) struct ByKey(DirectSelect);

impl ByKey {
    /// Compiles a relation that refers to the `outer` columns; none where it has not the shape, or the session wants plans.
    pub fn compile(statement: &StatementContext, env: &Env, outer: &[(ColumnId, PgType)], rel: &Rel) -> Option<ByKey> {
        statement.source.view()?;
        let is_off = |name: &str| statement.eval.host.setting(name).as_deref() == Some("off");
        if is_off(DIRECT_QUERIES) || super::is_volatile(rel) {
            return None;
        }
        let mut rel = rel.clone();
        let before = statement.params.len();
        let put = rel.try_rewrite_exprs(&mut |e| {
            if let ExprKind::Column(id) = e.kind {
                if let Some(at) = outer.iter().position(|(column, _)| *column == id) {
                    e.kind = ExprKind::Param(before + at);
                } else if let Some((_, value)) = env.bindings.get(&id) {
                    e.kind = ExprKind::Literal(value.clone());
                }
            }
            Ok(Walk::Into)
        });
        put.ok()?;
        let program = DirectSelect::compile(&rel).ok()??;
        if program.is_join() && is_off("enable_nestloop") {
            return None;
        }
        // The same bound as for a statement of its own.
        let is_small = match (program.whole_table(), program.access()) {
            (Some((_, rows_max)), Some(access)) => statement.statistics(access.table()).rows <= rows_max,
            _ => true,
        };
        is_small.then_some(ByKey(program))
    }

    /// Whether it finds rows anywhere, and not only computes what is written.
    pub fn reads(&self) -> bool {
        self.0.reads()
    }

    /// The rows for these values of the outer columns; none when there is more than should be held at once.
    ///
    /// # Errors
    /// As [`DirectSelect::run`].
    pub fn rows(&self, statement: &StatementContext, values: &[Datum]) -> Result<Option<Vec<Vec<Datum>>>> {
        let Some(view) = statement.source.view() else { return Ok(None) };
        let params: Vec<Datum> = statement.params.iter().chain(values).cloned().collect();
        self.0.run(view, &statement.runtime, &params, &statement.eval)
    }
}

/// The rows of a relation that needs no plan, and has no more than should be held at once.
///
/// # Errors
/// As [`DirectSelect::run`].
pub fn rows_by_key(
    rel: &Rel,
    params: &[Datum],
    source: Arc<dyn RowSource>,
    eval: &EvalContext,
    runtime: &QueryRuntime,
) -> Result<Option<Vec<Vec<Datum>>>> {
    let statement = super::statement(params, source, eval, runtime, false);
    match ByKey::compile(&statement, &Env::default(), &[], rel) {
        Some(program) => program.rows(&statement, &[]),
        None => Ok(None),
    }
}
