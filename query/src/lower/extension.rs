//! Our own operators in DataFusion's logical plans, each over one input.

use std::any::Any;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, Result as DfResult, internal_err};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr as DfExpr, Extension, InvariantLevel, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use stratos_types::Result;

use super::error::error_from;

/// What an operator does with the rows of its input.
pub(super) trait Operator: Send + Sync + Sized + 'static {
    /// Its name in plans.
    const NAME: &'static str;

    /// Columns that the input lacks, or has otherwise: conditions on them are asked of the operator's rows.
    fn own_columns(&self, schema: &DFSchema) -> HashSet<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// What runs it.
    fn execution(self: Arc<Self>, input: Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Arc<dyn ExecutionPlan>;
}

/// A plan that does `operator` with the rows of `input`, and gives these columns.
pub(super) fn operator_plan<O: Operator>(
    operator: O,
    input: LogicalPlan,
    fields: Vec<Arc<Field>>,
) -> Result<LogicalPlan> {
    let schema = Arc::new(DFSchema::try_from(Schema::new(fields)).map_err(error_from)?);
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(Node { operator: Arc::new(operator), input, schema }) }))
}

struct Node<O> {
    operator: Arc<O>,
    input: LogicalPlan,
    schema: DFSchemaRef,
}

impl<O: Operator> fmt::Debug for Node<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(O::NAME)
    }
}

impl<O: Operator> UserDefinedLogicalNode for Node<O> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        O::NAME
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn check_invariants(&self, _: InvariantLevel) -> DfResult<()> {
        Ok(())
    }

    fn expressions(&self) -> Vec<DfExpr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.operator.own_columns(&self.schema)
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(O::NAME)
    }

    fn with_exprs_and_inputs(
        &self,
        _: Vec<DfExpr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Arc<dyn UserDefinedLogicalNode>> {
        let Some(input) = inputs.pop() else { return internal_err!("{} has one input", O::NAME) };
        Ok(Arc::new(Node { operator: self.operator.clone(), input, schema: self.schema.clone() }))
    }

    fn dyn_hash(&self, mut state: &mut dyn Hasher) {
        (Arc::as_ptr(&self.operator) as usize).hash(&mut state);
        self.input.hash(&mut state);
    }

    fn dyn_eq(&self, other: &dyn UserDefinedLogicalNode) -> bool {
        other
            .as_any()
            .downcast_ref::<Self>()
            .is_some_and(|other| Arc::ptr_eq(&self.operator, &other.operator) && self.input == other.input)
    }

    fn dyn_ord(&self, other: &dyn UserDefinedLogicalNode) -> Option<Ordering> {
        self.dyn_eq(other).then_some(Ordering::Equal)
    }
}

/// Brings operators of one kind into physical plans.
pub(super) struct OperatorPlanner<O>(PhantomData<fn() -> O>);

impl<O: Operator> OperatorPlanner<O> {
    /// The planner, as DataFusion asks for it.
    pub fn shared() -> Arc<dyn ExtensionPlanner + Send + Sync> {
        Arc::new(OperatorPlanner::<O>(PhantomData))
    }
}

#[async_trait]
impl<O: Operator> ExtensionPlanner for OperatorPlanner<O> {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [input]) = (node.as_any().downcast_ref::<Node<O>>(), inputs) else {
            return Ok(None);
        };
        Ok(Some(node.operator.clone().execution(input.clone(), node.schema.inner().clone())))
    }
}
