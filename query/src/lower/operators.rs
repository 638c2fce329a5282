//! What our operators of physical plans answer alike, and our rules over them.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

/// What stands for an operator.
type Rewrite = fn(Arc<dyn ExecutionPlan>) -> DfResult<Transformed<Arc<dyn ExecutionPlan>>>;

/// A rule that looks at each operator of a plan by itself, from the leaves up.
pub(super) struct EachOperator {
    pub name: &'static str,
    pub rewrite: Rewrite,
}

impl fmt::Debug for EachOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PhysicalOptimizerRule for EachOperator {
    fn name(&self) -> &str {
        self.name
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(self.rewrite).map(|transformed| transformed.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// In `impl ExecutionPlan`: no expressions that rules of DataFusion look at.
macro_rules! no_expressions {
    () => {
        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(
                &::std::sync::Arc<dyn ::datafusion::physical_expr::PhysicalExpr>,
            ) -> ::datafusion::common::Result<::datafusion::common::tree_node::TreeNodeRecursion>,
        ) -> ::datafusion::common::Result<::datafusion::common::tree_node::TreeNodeRecursion> {
            Ok(::datafusion::common::tree_node::TreeNodeRecursion::Continue)
        }
    };
}

/// In `impl ExecutionPlan`: an operator with a name, its `properties`, no inputs and no expressions.
macro_rules! without_inputs {
    ($name:literal) => {
        fn name(&self) -> &str {
            $name
        }

        fn properties(&self) -> &::std::sync::Arc<::datafusion::physical_plan::PlanProperties> {
            &self.properties
        }

        fn children(&self) -> Vec<&::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>> {
            Vec::new()
        }

        $crate::lower::operators::no_expressions!();

        fn with_new_children(
            self: ::std::sync::Arc<Self>,
            _: Vec<::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>>,
        ) -> ::datafusion::common::Result<::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>> {
            Ok(self)
        }
    };
}

/// In `impl ExecutionPlan`: an operator with a name, an `input`, no expressions, and how it is made anew with another input.
macro_rules! with_an_input {
    ($name:literal, |$this:ident, $input:ident| $made:expr) => {
        fn name(&self) -> &str {
            $name
        }

        fn children(&self) -> Vec<&::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>> {
            vec![&self.input]
        }

        fn benefits_from_input_partitioning(&self) -> Vec<bool> {
            vec![false]
        }

        $crate::lower::operators::no_expressions!();

        fn with_new_children(
            self: ::std::sync::Arc<Self>,
            mut children: Vec<::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>>,
        ) -> ::datafusion::common::Result<::std::sync::Arc<dyn ::datafusion::physical_plan::ExecutionPlan>> {
            let $this = self;
            match (children.pop(), children.is_empty()) {
                (Some($input), true) => Ok(::std::sync::Arc::new($made)),
                _ => ::datafusion::common::internal_err!("{} has one input", $name),
            }
        }
    };
}

/// An operator whose name says all that a plan in words says of it.
macro_rules! shown_by_name {
    ($operator:ty) => {
        impl ::datafusion::physical_plan::DisplayAs for $operator {
            fn fmt_as(
                &self,
                _: ::datafusion::physical_plan::DisplayFormatType,
                f: &mut ::std::fmt::Formatter<'_>,
            ) -> ::std::fmt::Result {
                f.write_str(::datafusion::physical_plan::ExecutionPlan::name(self))
            }
        }
    };
}

pub(crate) use {no_expressions, without_inputs};
pub(super) use {shown_by_name, with_an_input};
