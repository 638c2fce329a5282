//! Relations.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, JoinType, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::{
    EmptyRelation, Expr as DfExpr, ExprFunctionExt, Filter, Limit, LogicalPlan, LogicalPlanBuilder, Projection, Sort,
    Union, Values, ident, lit,
};
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::Env;
use super::context::StatementContext;
use super::error::error_from;
use super::expr::{column, column_name, comparable, conjunction, sortable};
use super::udf::{RowFunction, RowOp, literal};
use super::walk::Facts;
use super::window::KeyColumns;
use crate::arrow::{arrow_type, datum_of_scalar, needs_equality_key};
use crate::ir::{ColumnId, Expr, ExprKind, JoinKind, OutputColumn, Rel, ScanColumn, SetOpKind, SortKey};
use crate::scan::{ScanOrder, StoredTable, function_table, system_table};

/// Builds plans for one statement, or for a part of it that is run on its own.
pub(crate) struct Lowerer<'a> {
    pub(super) statement: &'a Arc<StatementContext>,
    pub(super) env: Env,
    /// Outer columns whose values are put into the finished plan, with their numbers.
    open: Option<&'a HashMap<ColumnId, usize>>,
    sequence: Cell<usize>,
    /// Scans that shall go by an index for its order, by their first columns.
    pub(super) orders: RefCell<HashMap<ColumnId, ScanOrder>>,
    /// In a template parameters stay open; it becomes false when the plan takes in something of this execution.
    reusable: Option<&'a Cell<bool>>,
}

impl<'a> Lowerer<'a> {
    pub fn new(statement: &'a Arc<StatementContext>, env: Env) -> Self {
        Lowerer { statement, env, open: None, sequence: Cell::new(0), orders: RefCell::default(), reusable: None }
    }

    /// One whose plan is to serve further executions too, if `reusable` still holds in the end.
    pub(super) fn template(statement: &'a Arc<StatementContext>, env: Env, reusable: &'a Cell<bool>) -> Self {
        Lowerer {
            statement,
            env,
            open: None,
            sequence: Cell::new(0),
            orders: RefCell::default(),
            reusable: Some(reusable),
        }
    }

    /// One whose plan is to serve for different values of these outer columns.
    pub(super) fn repeated(statement: &'a Arc<StatementContext>, env: Env, open: &'a HashMap<ColumnId, usize>) -> Self {
        Lowerer { open: Some(open), ..Lowerer::new(statement, env) }
    }

    /// The number of an outer column that stays open.
    pub(super) fn open_column(&self, id: ColumnId) -> Option<usize> {
        self.open?.get(&id).copied()
    }

    /// Whether an outer column has one value for the whole plan, known or open.
    pub(super) fn is_given(&self, id: ColumnId) -> bool {
        self.env.bindings.contains_key(&id) || self.open_column(id).is_some()
    }

    /// What follows is of this execution alone.
    pub(super) fn tie_to_execution(&self) {
        if let Some(reusable) = self.reusable {
            reusable.set(false);
        }
    }

    pub(super) fn is_template(&self) -> bool {
        self.reusable.is_some()
    }

    /// The same statement with other outer things in sight.
    pub(super) fn with_env(&self, env: Env) -> Lowerer<'a> {
        let sequence = Cell::new(self.sequence.get() + NAMES_PER_LEVEL);
        Lowerer {
            statement: self.statement,
            env,
            open: self.open,
            sequence,
            orders: RefCell::default(),
            reusable: self.reusable,
        }
    }

    /// A number that nothing else has.
    pub(super) fn number(&self) -> usize {
        let n = self.sequence.get();
        self.sequence.set(n + 1);
        n
    }

    /// A name that no column has.
    pub(super) fn fresh(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.number())
    }

    /// A relation with exactly its output columns, in order.
    pub fn query(&self, rel: &Rel) -> Result<LogicalPlan> {
        let plan = self.rel(rel)?;
        let output = rel.output();
        let in_order = plan.schema().fields().len() == output.len()
            && plan
                .schema()
                .fields()
                .iter()
                .zip(&output)
                .all(|(field, column)| *field.name() == column_name(column.id));
        if in_order {
            return Ok(plan);
        }
        project(plan, output.iter().map(|c| column(c.id)).collect())
    }

    /// A relation with at least its output columns, in any order.
    pub fn rel(&self, rel: &Rel) -> Result<LogicalPlan> {
        match rel {
            Rel::Scan { table, columns, .. } => {
                let order = columns.first().and_then(|c| self.orders.borrow_mut().remove(&c.id));
                let provider = StoredTable::new(table.clone(), columns.clone(), order);
                self.scan(Arc::new(provider), columns.iter().map(|c: &ScanColumn| c.id))
            }
            Rel::SystemScan { table, columns } => {
                let provider = system_table(table.clone(), columns.clone());
                self.scan(Arc::new(provider), columns.iter().map(|c| c.id))
            }
            Rel::Values { columns, rows } => self.values(columns, rows),
            Rel::TableFunction { function, args, columns, ordinality } => {
                let args = args.iter().map(|e| Ok((e.ty.ty, self.constant(e)?))).collect::<Result<_>>()?;
                let provider = function_table(*function, args, columns.clone(), *ordinality);
                self.scan(Arc::new(provider), columns.iter().map(|c| c.id))
            }
            Rel::Filter { input, predicate } => self.filter(input, predicate),
            Rel::Project { input, columns } => {
                let plan = self.rel(input)?;
                let mut columns = columns.clone();
                let plan = match columns.iter().any(|(_, e)| e.has_subquery()) {
                    true => {
                        let mut exprs: Vec<&mut Expr> = columns.iter_mut().map(|(_, e)| e).collect();
                        self.join_subqueries(plan, &mut exprs)?
                    }
                    false => plan,
                };
                let exprs =
                    columns.iter().map(|(c, e)| Ok(self.expr(e)?.alias(column_name(c.id)))).collect::<Result<_>>()?;
                project(plan, exprs)
            }
            Rel::Join { left, right, kind, on, .. } => self.join(left, right, *kind, on.as_ref()),
            Rel::Aggregate { input, group_by, grouping_sets, aggregates, groupings } => {
                self.aggregate(input, group_by, grouping_sets.as_deref(), aggregates, groupings)
            }
            Rel::Window { input, calls } => self.window(input, calls),
            Rel::Sort { input, keys } => {
                let plan = self.rel(input)?;
                sort(plan, self.sort_keys(keys)?)
            }
            Rel::Limit { input, limit, offset } => self.limit(input, limit.as_ref(), offset.as_ref()),
            Rel::Distinct { input } => {
                let output = input.output();
                let plan = self.query(input)?;
                self.distinct(plan, &output)
            }
            Rel::DistinctOn { input, on, keys } => self.distinct_on(input, on, keys),
            Rel::SetOp { op, all, left, right, columns } => self.set_operation(*op, *all, left, right, columns),
            Rel::With { ctes, body } => self.with(ctes, body),
            Rel::CteScan { cte, columns } => self.cte_scan(*cte, columns),
            Rel::Alias { input, columns } => {
                let plan = self.rel(input)?;
                let exprs = columns.iter().map(|(c, from)| column(*from).alias(column_name(c.id))).collect();
                project(plan, exprs)
            }
        }
    }

    /// A table whose fields are already named after the columns; the projection takes the table's name off them.
    pub(super) fn scan(
        &self,
        provider: Arc<dyn TableProvider>,
        columns: impl Iterator<Item = crate::ir::ColumnId>,
    ) -> Result<LogicalPlan> {
        let name = self.fresh("t");
        let plan = LogicalPlanBuilder::scan(name.as_str(), provider_as_source(provider), None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(error_from)?;
        let exprs = columns
            .map(|id| {
                DfExpr::Column(datafusion::common::Column::new(Some(name.as_str()), column_name(id)))
                    .alias(column_name(id))
            })
            .collect();
        project(plan, exprs)
    }

    fn values(&self, columns: &[OutputColumn], rows: &[Vec<Expr>]) -> Result<LogicalPlan> {
        let schema = schema_of(columns)?;
        if columns.is_empty() || rows.is_empty() {
            if rows.len() > 1 {
                return Err(Error::internal("several rows of no columns"));
            }
            let schema = Arc::new(schema);
            return Ok(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: !rows.is_empty(), schema }));
        }
        let values = rows.iter().map(|row| row.iter().map(|e| self.expr(e)).collect()).collect::<Result<_>>()?;
        let values = LogicalPlan::Values(Values { schema: Arc::new(numbered(&schema)?), values });
        let names = columns.iter().enumerate();
        project(values, names.map(|(at, c)| ident(value_name(at)).alias(column_name(c.id))).collect())
    }

    /// The value of an expression without columns.
    pub(super) fn constant(&self, expr: &Expr) -> Result<Datum> {
        let lowered = match self.expr(expr)? {
            DfExpr::Literal(value, _) => return datum_of_scalar(&value, expr.ty.ty),
            other => other,
        };
        if lowered.exists(|e| Ok(matches!(e, DfExpr::Placeholder(_)))).map_err(error_from)? {
            return Err(Error::internal("a value that decides the plan"));
        }
        self.tie_to_execution();
        let session = self.statement.runtime.session(self.statement, 1);
        let physical = session.create_physical_expr(lowered, &DFSchema::empty()).map_err(error_from)?;
        let batch = arrow::array::RecordBatch::try_new_with_options(
            Arc::new(arrow::datatypes::Schema::empty()),
            Vec::new(),
            &arrow::array::RecordBatchOptions::new().with_row_count(Some(1)),
        )
        .map_err(|e| Error::internal(format!("one-row batch: {e}")))?;
        let array = physical.evaluate(&batch).and_then(|v| v.into_array(1)).map_err(error_from)?;
        crate::arrow::datum_at(array.as_ref(), 0, expr.ty.ty)
    }

    pub(super) fn join(&self, left: &Rel, right: &Rel, kind: JoinKind, on: Option<&Expr>) -> Result<LogicalPlan> {
        let outer = self.needed_from(right, left);
        if !outer.is_empty() {
            let plain = matches!(kind, JoinKind::Inner | JoinKind::Left).then(|| self.without_laterality(left, right));
            if let Some((right, mut conditions)) = plain.flatten() {
                conditions.extend(on.cloned());
                return self.join(left, &right, kind, and(conditions).as_ref());
            }
            if let JoinKind::Inner | JoinKind::Left = kind
                && let Some(plan) = self.lateral_aggregates(left, right, kind, on)?
            {
                return Ok(plan);
            }
            return self.lateral(left, right, kind, on, outer);
        }
        let (l, r) = (self.rel(left)?, self.rel(right)?);
        let mut conditions = Vec::new();
        if let Some(on) = on {
            let (risky, safe): (Vec<&Expr>, Vec<&Expr>) =
                on.conjuncts().into_iter().partition(|e| super::expr::may_fail(e));
            for e in &safe {
                conditions.push(self.expr(e)?);
            }
            if !risky.is_empty() {
                conditions.push(self.expr(on)?);
            }
        }
        let kind = match kind {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
            JoinKind::Right => JoinType::Right,
            JoinKind::Full => JoinType::Full,
        };
        let builder = LogicalPlanBuilder::new(l);
        let builder = if conditions.is_empty() && kind == JoinType::Inner {
            builder.cross_join(r)
        } else {
            if conditions.is_empty() {
                conditions.push(lit(true));
            }
            builder.join_on(r, kind, conditions)
        };
        builder.and_then(LogicalPlanBuilder::build).map_err(error_from)
    }

    /// Columns of `left` that `right` refers to.
    pub(super) fn needed_from(&self, right: &Rel, left: &Rel) -> Vec<(crate::ir::ColumnId, PgType)> {
        let produced: std::collections::BTreeSet<_> = left.output().iter().map(|c| c.id).collect();
        Facts::of(right).free().into_iter().filter(|(id, _)| produced.contains(id)).collect()
    }

    pub(super) fn sort_keys(&self, keys: &[SortKey]) -> Result<Vec<SortExpr>> {
        let mut sorts = Vec::with_capacity(keys.len());
        for (at, k) in keys.iter().enumerate() {
            // Values that are equal in another form are peers to the keys that follow.
            let key = sortable(self.expr(&k.expr)?, k.expr.ty.ty, at + 1 < keys.len());
            sorts.push(key.sort(!k.descending, k.nulls_first));
        }
        Ok(sorts)
    }

    fn limit(&self, input: &Rel, limit: Option<&Expr>, offset: Option<&Expr>) -> Result<LogicalPlan> {
        let skip = self.row_count(offset, ErrorKind::InvalidRowCountInOffset, "OFFSET")?;
        let fetch = self.row_count(limit, ErrorKind::InvalidRowCountInLimit, "LIMIT")?;
        if let Some(rows) = fetch.and_then(|n| u64::try_from(n.saturating_add(skip.unwrap_or(0))).ok()) {
            self.prefer_order(input, rows.max(1));
        }
        let plan = self.rel(input)?;
        if fetch.is_none() && skip.unwrap_or(0) == 0 {
            return Ok(plan);
        }
        let constant = |n: i64| Box::new(DfExpr::Literal(ScalarValue::Int64(Some(n)), None));
        Ok(LogicalPlan::Limit(Limit {
            skip: skip.filter(|n| *n > 0).map(constant),
            fetch: fetch.map(constant),
            input: Arc::new(plan),
        }))
    }

    fn row_count(&self, expr: Option<&Expr>, kind: ErrorKind, clause: &str) -> Result<Option<i64>> {
        let Some(expr) = expr else { return Ok(None) };
        match self.constant(expr)? {
            Datum::Null => Ok(None),
            Datum::Int8(n) if n < 0 => Err(Error::new(kind, format!("{clause} must not be negative"))),
            Datum::Int8(n) => Ok(Some(n)),
            Datum::Int4(n) if n < 0 => Err(Error::new(kind, format!("{clause} must not be negative"))),
            Datum::Int4(n) => Ok(Some(i64::from(n))),
            other => Err(Error::internal(format!("{clause} of {other:?}"))),
        }
    }

    /// One row of each group of equal rows.
    pub(super) fn distinct(&self, plan: LogicalPlan, output: &[OutputColumn]) -> Result<LogicalPlan> {
        if output.is_empty() {
            return Ok(LogicalPlan::Limit(Limit {
                skip: None,
                fetch: Some(Box::new(DfExpr::Literal(ScalarValue::Int64(Some(1)), None))),
                input: Arc::new(plan),
            }));
        }
        self.grouped(plan, output, Vec::new(), None)
    }

    /// Groups equal rows, with more aggregates over the groups. What a group shows is one of the rows `of` which this holds.
    fn grouped(
        &self,
        plan: LogicalPlan,
        output: &[OutputColumn],
        aggregates: Vec<(String, DfExpr)>,
        of: Option<&DfExpr>,
    ) -> Result<LogicalPlan> {
        let mut keys = Vec::new();
        let mut values = Vec::new();
        let mut back = Vec::new();
        for c in output {
            let name = column_name(c.id);
            if needs_equality_key(c.ty.ty) {
                let key = self.fresh("k");
                keys.push(comparable(column(c.id), c.ty.ty).alias(key));
                let any = self.fresh("v");
                let mut shown = super::aggregate::representative(c.ty).call(vec![column(c.id)]);
                if let Some(of) = of {
                    shown = shown.filter(of.clone()).build().map_err(error_from)?;
                }
                values.push(shown.alias(any.clone()));
                back.push(ident(any).alias(name));
            } else {
                keys.push(column(c.id));
                back.push(column(c.id));
            }
        }
        for (name, e) in aggregates {
            values.push(e.alias(name.clone()));
            back.push(ident(name));
        }
        let plan = LogicalPlanBuilder::new(plan)
            .aggregate(keys, values)
            .and_then(LogicalPlanBuilder::build)
            .map_err(error_from)?;
        project(plan, back)
    }

    fn distinct_on(&self, input: &Rel, on: &[Expr], keys: &[SortKey]) -> Result<LogicalPlan> {
        let output = input.output();
        let plan = self.rel(input)?;
        let mut partition = on.iter().map(|e| Ok(comparable(self.expr(e)?, e.ty.ty))).collect::<Result<Vec<_>>>()?;
        let mut order = self.sort_keys(keys)?;
        let mut computed = KeyColumns::default();
        partition.iter_mut().chain(order.iter_mut().map(|key| &mut key.expr)).for_each(|key| computed.take(self, key));
        let plan = computed.below(plan)?;
        let number = datafusion::functions_window::expr_fn::row_number()
            .partition_by(partition)
            .order_by(order.clone())
            .build()
            .map_err(error_from)?;
        let name = number.schema_name().to_string();
        let plan = LogicalPlanBuilder::window_plan(plan, vec![number]).map_err(error_from)?;
        let first = ident(name).eq(lit(1_u64));
        let plan = filter(plan, first)?;
        let plan = sort(plan, order)?;
        project(plan, output.iter().map(|c| column(c.id)).collect())
    }

    fn set_operation(
        &self,
        op: SetOpKind,
        all: bool,
        left: &Rel,
        right: &Rel,
        columns: &[OutputColumn],
    ) -> Result<LogicalPlan> {
        let side = |rel: &Rel, extra: &[DfExpr]| {
            let plan = self.rel(rel)?;
            let mut exprs: Vec<DfExpr> =
                rel.output().iter().zip(columns).map(|(from, to)| column(from.id).alias(column_name(to.id))).collect();
            exprs.extend_from_slice(extra);
            project(plan, exprs)
        };
        if op == SetOpKind::Union {
            let inputs = union_inputs(left, right, all).into_iter().map(|rel| side(rel, &[])).collect::<Result<_>>()?;
            let plan = union(inputs)?;
            return if all { Ok(plan) } else { self.distinct(plan, columns) };
        }
        // Count each row's occurrences on both sides.
        let (in_left, in_right) = (self.fresh("l"), self.fresh("r"));
        let tag = |l: i64, r: i64| [lit(l).alias(in_left.clone()), lit(r).alias(in_right.clone())];
        let plan = union(vec![side(left, &tag(1, 0))?, side(right, &tag(0, 1))?])?;
        let total = |name: &String| datafusion::functions_aggregate::expr_fn::sum(ident(name.clone()));
        let (left_count, right_count) = (self.fresh("n"), self.fresh("n"));
        let plan = self.grouped(
            plan,
            columns,
            vec![(left_count.clone(), total(&in_left)), (right_count.clone(), total(&in_right))],
            Some(&ident(in_left.clone()).gt(lit(0_i64))),
        )?;
        let l = || ident(left_count.clone());
        let r = || ident(right_count.clone());
        let wanted = match (op, all) {
            (SetOpKind::Intersect, _) => l().gt(lit(0_i64)).and(r().gt(lit(0_i64))),
            (_, false) => l().gt(lit(0_i64)).and(r().eq(lit(0_i64))),
            (_, true) => l().gt(r()),
        };
        let plan = filter(plan, wanted)?;
        let mut exprs: Vec<DfExpr> = columns.iter().map(|c| column(c.id)).collect();
        if !all {
            return project(plan, exprs);
        }
        let times = match op {
            SetOpKind::Intersect => {
                datafusion::logical_expr::when(l().lt(r()), l()).otherwise(r()).map_err(error_from)?
            }
            _ => l() - r(),
        };
        let repeat = self.fresh("u");
        exprs.push(
            RowFunction::call(
                RowOp::Repeat,
                vec![PgType::Int8],
                PgType::Array(stratos_types::Scalar::Bool),
                vec![times],
            )
            .alias(repeat.clone()),
        );
        let plan = LogicalPlanBuilder::new(project(plan, exprs)?)
            .unnest_column(datafusion::common::Column::new_unqualified(repeat))
            .and_then(LogicalPlanBuilder::build)
            .map_err(error_from)?;
        project(plan, columns.iter().map(|c| column(c.id)).collect())
    }

    fn filter(&self, input: &Rel, predicate: &Expr) -> Result<LogicalPlan> {
        let mut plan = self.rel(input)?;
        let mut rest = Vec::new();
        let mut joins = Vec::new();
        for e in &super::unnest::asked(predicate) {
            if let Some(join) = self.as_join(e)? {
                joins.push(join);
            } else if let Some((join, besides)) = self.as_antijoin(e)? {
                joins.push(join);
                rest.push(besides);
            } else {
                rest.push(e.clone());
            }
        }
        if let Some(mut e) = and(rest) {
            let fields = plan.schema().columns();
            if e.has_subquery() {
                plan = self.join_subqueries(plan, &mut [&mut e])?;
            }
            let widened = plan.schema().fields().len() > fields.len();
            plan = filter(plan, self.expr(&e)?)?;
            if widened {
                plan = project(plan, fields.into_iter().map(DfExpr::Column).collect())?;
            }
        }
        for join in joins {
            plan = join.apply(plan)?;
        }
        Ok(plan)
    }
}

/// Names that one level of nested lowering may use before the next begins; only uniqueness matters.
const NAMES_PER_LEVEL: usize = 10_000;

pub(super) fn and(mut list: Vec<Expr>) -> Option<Expr> {
    if list.len() < 2 {
        return list.pop();
    }
    Some(Expr { kind: ExprKind::And(list), ty: PgType::Bool.into() })
}

/// The schema of columns in plans.
pub(super) fn schema_of(columns: &[OutputColumn]) -> Result<DFSchema> {
    let fields: Vec<arrow::datatypes::Field> =
        columns.iter().map(|c| arrow::datatypes::Field::new(column_name(c.id), arrow_type(c.ty.ty), true)).collect();
    DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(error_from)
}

/// The name that DataFusion gives a column of VALUES: it makes them anew, with these, when parameters get their values.
fn value_name(at: usize) -> String {
    format!("column{}", at + 1)
}

fn numbered(schema: &DFSchema) -> Result<DFSchema> {
    let fields = schema.fields().iter().enumerate();
    let fields: Vec<arrow::datatypes::Field> =
        fields.map(|(at, field)| field.as_ref().clone().with_name(value_name(at))).collect();
    DFSchema::try_from(arrow::datatypes::Schema::new(fields)).map_err(error_from)
}

pub(super) fn project(plan: LogicalPlan, exprs: Vec<DfExpr>) -> Result<LogicalPlan> {
    Projection::try_new(exprs, Arc::new(plan)).map(LogicalPlan::Projection).map_err(error_from)
}

pub(super) fn filter(plan: LogicalPlan, predicate: DfExpr) -> Result<LogicalPlan> {
    Filter::try_new(predicate, Arc::new(plan)).map(LogicalPlan::Filter).map_err(error_from)
}

fn sort(plan: LogicalPlan, keys: Vec<SortExpr>) -> Result<LogicalPlan> {
    if keys.is_empty() {
        return Ok(plan);
    }
    Ok(LogicalPlan::Sort(Sort { expr: keys, input: Arc::new(plan), fetch: None }))
}

fn union(inputs: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    let inputs = inputs.into_iter().map(Arc::new).collect();
    Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union).map_err(error_from)
}

/// What a chain of UNIONs unites, in order. One that keeps duplicates has only others like it as its parts; one that does not
/// may as well unite what the UNIONs inside it do.
fn union_inputs<'r>(left: &'r Rel, right: &'r Rel, keeps_duplicates: bool) -> Vec<&'r Rel> {
    let mut inputs = Vec::new();
    let mut pending = vec![right, left];
    while let Some(next) = pending.pop() {
        match next {
            Rel::SetOp { op: SetOpKind::Union, all, left, right, .. } if *all || !keeps_duplicates => {
                pending.extend([&**right, left]);
            }
            other => inputs.push(other),
        }
    }
    inputs
}

/// A boolean constant.
pub(super) fn truth(value: bool) -> Result<DfExpr> {
    literal(PgType::Bool, &Datum::Bool(value))
}

/// A join that a condition of WHERE amounts to.
pub(super) struct ConditionJoin {
    pub right: LogicalPlan,
    pub anti: bool,
    pub on: Vec<DfExpr>,
}

impl ConditionJoin {
    fn apply(self, left: LogicalPlan) -> Result<LogicalPlan> {
        let kind = if self.anti { JoinType::LeftAnti } else { JoinType::LeftSemi };
        let on = conjunction(self.on).map_or_else(|| truth(true), Ok)?;
        LogicalPlanBuilder::new(left)
            .join_on(self.right, kind, [on])
            .and_then(LogicalPlanBuilder::build)
            .map_err(error_from)
    }
}
