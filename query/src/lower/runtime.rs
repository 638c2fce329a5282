//! Running statements: the node's memory and disk for queries, the optimizer's rules, the stream of results.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, SpillFile};
use datafusion::logical_expr::{Expr as DfExpr, LogicalPlan};
use datafusion::optimizer::OptimizerRule;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::metrics::SpillMetrics;
use datafusion::physical_plan::{ExecutionPlan, SpillManager};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use stratos_replication::PrefixStatistics;
use stratos_types::{Datum, Error, Result};
use tokio::runtime::Handle;

use super::appended::{APPEND, stream_in_order};
use super::attempt::AttemptPool;
use super::conclusions::{AskedAbove, WithoutDependencies};
use super::context::{StatementContext, StatementExtension, system_context};
use super::equivalence::without_equal_expressions;
use super::error::error_from;
use super::extension::OperatorPlanner;
use super::frugal::Fallback;
use super::guard::GuardConditions;
use super::interrupt::{Interruptible, prepare_away};
use super::kept::CHARGE_WINDOWS;
use super::lateral::LateralJoin;
use super::lookup_rule::LookupJoins;
use super::null_safe::{EqualKeys, null_safe_keys};
use super::offsets::ORDERED_OFFSETS;
use super::one_writer::ONE_WRITER;
use super::ordered::takes_first_rows;
use super::pool::QueryPool;
use super::sorted_groups::{SortedGroups, keeps_rows};
use super::stream::RowStream;
use super::unclaimed::UNCLAIM;
use super::widths::{BATCH_BYTES_MAX, batch_rows};
use super::{Env, Lowerer, PlanTemplate};
use crate::catalog::{StoreFacts, SystemTable, Table};
use crate::engine::EngineOptions;
use crate::functions::while_planning;
use crate::ir::Rel;
use crate::rows::index_prefix;
use crate::scan::{RowSource, SegmentCache};
use crate::session::EvalContext;
use crate::system::cache::{SharedRows, SystemCache};

/// Rows of a batch.
pub const BATCH_ROWS: usize = 8192;

/// A table with more rows than this is worth a plan on several cores.
const PARALLEL_ROWS_MIN: u64 = 50_000;

/// The part of the queries' memory that each sort keeps back for merging what it has spilled, and the most that is useful.
const SORT_RESERVE_DIVISOR: usize = 16;
const SORT_RESERVE_BYTES_MAX: usize = 10 << 20;
/// Partitions of a plan for little memory, which its parts share: the fewest with which joins that sort and merge are planned.
pub(super) const FRUGAL_PARTITIONS: usize = 2;
/// Rows of a batch in such a plan: one for so many bytes of the queries' memory, within bounds. A part that cannot hold a batch
/// cannot go to disk either.
const FRUGAL_ROW_BYTES: usize = 128 << 10;
const FRUGAL_BATCH_ROWS_MIN: usize = 128;
const FRUGAL_BATCH_ROWS_MAX: usize = 1024;

/// The node's shared means for queries. Cheap to clone.
#[derive(Clone)]
pub struct QueryRuntime(Arc<Inner>);

struct Inner {
    env: Arc<RuntimeEnv>,
    /// What a sort that goes to disk keeps back for merging, in bytes.
    sort_reserve_bytes: usize,
    /// Rows of a batch in plans for little memory.
    frugal_batch_rows: usize,
    logical: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    physical: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
    cores: usize,
    threads: Option<Handle>,
    store: Option<Arc<dyn StoreFacts>>,
    segments: SegmentCache,
    system: SystemCache,
}

/// How the names of directories begin in which queries keep what they spill.
const SPILL_PREFIX: &str = "datafusion-";

/// Removes what the queries of an earlier process have left on the disk: a crash gives them no time to.
pub(crate) fn remove_spilled(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(SPILL_PREFIX)) {
        if let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "what a query has left on the disk stays there");
        }
    }
}

impl QueryRuntime {
    /// One per node. `store` tells the sizes of tables, and is what system tables look at.
    ///
    /// # Errors
    /// When the spill directory cannot be used.
    pub fn new(options: &EngineOptions, store: Option<Arc<dyn StoreFacts>>) -> Result<Self> {
        let disk = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![options.spill_dir.clone()]))
            .with_max_temp_directory_size(options.spill_bytes_max);
        let env = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(QueryPool::new(options.query_memory_bytes)))
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(error_from)?;
        Ok(QueryRuntime(Arc::new(Inner {
            env,
            frugal_batch_rows: (options.query_memory_bytes / FRUGAL_ROW_BYTES)
                .clamp(FRUGAL_BATCH_ROWS_MIN, FRUGAL_BATCH_ROWS_MAX),
            sort_reserve_bytes: (options.query_memory_bytes / SORT_RESERVE_DIVISOR).min(SORT_RESERVE_BYTES_MAX),
            logical: logical_rules(),
            physical: physical_rules(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: options.query_threads.clone(),
            store,
            segments: SegmentCache::new(options.column_cache_bytes),
            system: SystemCache::default(),
        })))
    }

    /// Memory that running queries hold now, in bytes.
    pub fn memory_used_bytes(&self) -> usize {
        self.0.env.memory_pool.reserved()
    }

    /// What running queries keep on the disk: bytes, and files.
    pub fn spilled(&self) -> (u64, usize) {
        let progress = self.0.env.disk_manager.spilling_progress();
        (progress.current_bytes, progress.active_files_count)
    }

    /// Live rows of a table and their bytes, roughly.
    pub(crate) fn statistics(&self, table: &Table) -> PrefixStatistics {
        self.0.store.as_ref().map_or_else(PrefixStatistics::default, |store| {
            store.statistics(&index_prefix(table, table.primary_index()))
        })
    }

    /// Columns of tables, kept from earlier scans.
    pub(crate) fn segments(&self) -> &SegmentCache {
        &self.0.segments
    }

    /// The threads that queries are planned and run on.
    pub(super) fn threads(&self) -> Handle {
        self.0.threads.clone().unwrap_or_else(Handle::current)
    }

    pub(crate) fn store(&self) -> Option<&Arc<dyn StoreFacts>> {
        self.0.store.as_ref()
    }

    /// The rows of a system table, from earlier queries where nothing can have changed. `live`: those columns are looked at that
    /// tell more than the catalog.
    ///
    /// # Errors
    /// Where there is no store (tests), or it cannot be read.
    pub(crate) fn system_rows(&self, table: &dyn SystemTable, live: bool, eval: &EvalContext) -> Result<SharedRows> {
        let store = self.store().ok_or_else(|| Error::internal("system tables need a store"))?;
        let make = || table.rows(&system_context(eval, store));
        match table.live_columns() {
            Some(columns) if !live || columns.is_empty() => {
                self.0.system.rows(table, &eval.catalog, eval.host.search_path(false), make)
            }
            _ => make().map(Arc::new),
        }
    }

    pub(crate) fn memory_pool(&self) -> &Arc<dyn MemoryPool> {
        &self.0.env.memory_pool
    }

    /// A file for what a query has no memory for; it goes with what is given here.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn spill_file(&self, purpose: &str) -> Result<Arc<dyn SpillFile>> {
        self.0.env.disk_manager.create_tmp_file(purpose).map_err(error_from)
    }

    /// What writes batches with these columns to such files, and reads them.
    pub(super) fn spills(&self, metrics: SpillMetrics, schema: SchemaRef) -> SpillManager {
        SpillManager::new(self.0.env.clone(), metrics, schema)
    }

    pub(crate) fn session(&self, statement: &Arc<StatementContext>, partitions: usize) -> SessionState {
        let (partitions, batch_rows) =
            if statement.frugal { (FRUGAL_PARTITIONS, self.0.frugal_batch_rows) } else { (partitions, BATCH_ROWS) };
        self.session_of_batches(statement, partitions, batch_rows.min(statement.batch_rows))
    }

    fn session_of_batches(
        &self,
        statement: &Arc<StatementContext>,
        partitions: usize,
        batch_rows: usize,
    ) -> SessionState {
        let mut config = SessionConfig::new()
            .with_batch_size(batch_rows)
            .with_target_partitions(partitions)
            .with_sort_spill_reservation_bytes(self.0.sort_reserve_bytes)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false);
        let options = config.options_mut();
        // Plans are well typed by construction; a pass that changes nothing ends the loop anyway.
        options.optimizer.max_passes = 2;
        options.optimizer.skip_failed_rules = false;
        // Filters from a join's build side would reach our scans as opaque predicates and cost more than they save.
        options.optimizer.enable_dynamic_filter_pushdown = false;
        options.execution.coalesce_batches = true;
        // Plans and operators each have their own way to prove that a CASE is never NULL. Where only the plan finds the proof, this
        // check takes the difference for a fault.
        options.execution.skip_physical_aggregate_schema_check = true;
        // A hash join keeps one side in memory, whatever its size; merging sorts both on disk if need be.
        options.optimizer.prefer_hash_join = !statement.frugal;
        options.extensions.insert(StatementExtension(statement.clone()));
        let attempt = Arc::new(AttemptPool::new(self.0.env.memory_pool.clone()));
        config.set_extension(attempt.clone());
        let env = RuntimeEnv { memory_pool: attempt, ..self.0.env.as_ref().clone() };
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::new(env))
            .with_analyzer_rules(Vec::new())
            .with_optimizer_rules(self.0.logical.clone())
            .with_physical_optimizer_rules(self.0.physical.clone())
            .with_query_planner(Arc::new(Planner))
            .build();
        // Physical expressions take their configuration from here, and would do with the default one.
        state.mark_start_execution();
        state
    }

    fn partitions_for(&self, statement: &StatementContext, rel: &Rel) -> usize {
        if self.0.cores > 1 && largest_scan(statement, rel) >= PARALLEL_ROWS_MIN { self.0.cores } else { 1 }
    }
}

/// The optimizer's rules: those about subqueries and DISTINCT are missing (we hand it none), and those about metadata of files.
fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    use datafusion::optimizer::{
        common_subexpr_eliminate::CommonSubexprEliminate, eliminate_cross_join::EliminateCrossJoin,
        eliminate_duplicated_expr::EliminateDuplicatedExpr, eliminate_filter::EliminateFilter,
        eliminate_group_by_constant::EliminateGroupByConstant, eliminate_limit::EliminateLimit,
        eliminate_outer_join::EliminateOuterJoin, extract_equijoin_predicate::ExtractEquijoinPredicate,
        optimize_projections::OptimizeProjections, propagate_empty_relation::PropagateEmptyRelation,
        push_down_filter::PushDownFilter, push_down_limit::PushDownLimit, simplify_expressions::SimplifyExpressions,
        single_distinct_to_groupby::SingleDistinctToGroupBy,
    };
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(EqualKeys(ExtractEquijoinPredicate::new())),
        Arc::new(WithoutDependencies(EliminateDuplicatedExpr::new())),
        Arc::new(EliminateFilter::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateLimit::new()),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownLimit::new()),
        Arc::new(AskedAbove(PushDownFilter::new())),
        Arc::new(SingleDistinctToGroupBy::new()),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(WithoutDependencies(OptimizeProjections::new())),
        Arc::new(GuardConditions),
    ];
    rules.into_iter().map(|rule| Arc::new(Interruptible(rule)) as Arc<dyn OptimizerRule + Send + Sync>).collect()
}

/// The optimizer's rules for operators, and ours.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    // No table tells exact statistics, and the rule fails over a grouping that it does know to have one row.
    rules.retain(|rule| rule.name() != "aggregate_statistics");
    rules.insert(0, Arc::new(ORDERED_OFFSETS));
    rules.insert(0, Arc::new(UNCLAIM));
    let sides_chosen = rules.iter().position(|rule| rule.name() == "join_selection").map_or(0, |at| at + 1);
    rules.insert(sides_chosen, Arc::new(LookupJoins));
    rules.push(Arc::new(APPEND));
    rules.push(Arc::new(ONE_WRITER));
    rules.push(Arc::new(CHARGE_WINDOWS));
    rules
}

#[derive(Debug)]
struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let keyed = null_safe_keys(plan)?;
        let plan = keyed.as_ref().unwrap_or(plan);
        let separate = without_equal_expressions(plan)?;
        DefaultPhysicalPlanner::with_extension_planners(vec![
            OperatorPlanner::<LateralJoin>::shared(),
            OperatorPlanner::<SortedGroups>::shared(),
        ])
        .create_physical_plan(separate.as_ref().unwrap_or(plan), session)
        .await
    }
}

fn largest_scan(statement: &StatementContext, rel: &Rel) -> u64 {
    match rel {
        Rel::Scan { table, .. } => statement.statistics(table).rows,
        _ if takes_first_rows(rel) => 0,
        _ => rel.inputs().into_iter().map(|input| largest_scan(statement, input)).max().unwrap_or(0),
    }
}

/// A relation's physical plan with the session that it runs in.
pub(crate) struct Prepared {
    pub plan: Arc<dyn ExecutionPlan>,
    pub session: SessionState,
}

impl Prepared {
    pub fn stream(&self) -> Result<SendableRecordBatchStream> {
        stream_in_order(&self.plan, self.session.task_ctx()).map_err(error_from)
    }
}

/// Whether something volatile is computed of rows as they come, until a LIMIT has enough of them.
fn stops_volatile(rel: &Rel) -> bool {
    let here = || matches!(rel, Rel::Limit { limit: Some(_), .. }) && rel.inputs().into_iter().any(streams_volatile);
    here() || rel.inputs().into_iter().any(stops_volatile)
}

fn streams_volatile(rel: &Rel) -> bool {
    match rel {
        Rel::Filter { input, predicate } => predicate.is_volatile() || streams_volatile(input),
        Rel::Project { input, columns } => {
            columns.iter().any(|(_, expr)| expr.is_volatile()) || streams_volatile(input)
        }
        Rel::Alias { input, .. } | Rel::Limit { input, .. } => streams_volatile(input),
        _ => false,
    }
}

/// Bytes of the largest constant in a plan.
fn largest_constant(plan: &LogicalPlan) -> DfResult<usize> {
    let mut largest = 0;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let DfExpr::Literal(value, _) = part {
                    largest = largest.max(value.size());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(largest)
}

/// Plans a relation down to operators.
pub(crate) async fn prepare(
    statement: &Arc<StatementContext>,
    env: &Env,
    rel: &Rel,
    template: Option<&PlanTemplate>,
    partitions: usize,
) -> Result<Prepared> {
    let session = match stops_volatile(rel) {
        // Row by row: what no row is asked for is not done.
        true => statement.runtime.session_of_batches(statement, 1, 1),
        false => statement.runtime.session(statement, partitions),
    };
    let sorts = || keeps_rows(rel) && statement.groups_by_sorting();
    let kept = match template {
        // Kept plans group by hashing.
        Some(_) if sorts() => None,
        Some(template) => template.plan(statement, rel, &session)?,
        None => None,
    };
    let optimized = match kept {
        Some(plan) => plan,
        None => {
            let logical = Lowerer::new(statement, env.clone()).query(rel)?;
            while_planning(|| session.optimize(&logical)).map_err(error_from)?
        }
    };
    tracing::trace!(plan = %optimized.display_indent(), "optimized");
    // A constant stands in every row of a batch.
    let of_constants = BATCH_BYTES_MAX / largest_constant(&optimized).map_err(error_from)?.max(1);
    let session = match of_constants.min(batch_rows(rel, statement)) {
        rows if rows < session.config().batch_size() => {
            statement.runtime.session_of_batches(statement, session.config().target_partitions(), rows.max(1))
        }
        _ => session,
    };
    let plan = session.query_planner().create_physical_plan(&optimized, &session).await.map_err(error_from)?;
    Ok(Prepared { plan, session })
}

/// Plans and starts a relation inside a running statement, on one partition.
pub(crate) async fn run_nested(
    statement: &Arc<StatementContext>,
    env: &Env,
    rel: &Rel,
) -> Result<SendableRecordBatchStream> {
    prepare(statement, env, rel, None, 1).await?.stream()
}

/// Runs a future from synchronous code that may or may not be on a thread of the runtime.
pub(crate) fn block_on<F>(future: F) -> Result<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    use tokio::runtime::{Handle, RuntimeFlavor};
    let handle =
        Handle::try_current().map_err(|_| Error::internal("a subquery was evaluated outside of the runtime"))?;
    if handle.runtime_flavor() == RuntimeFlavor::CurrentThread {
        // The only thread is ours: another one must drive the future.
        return std::thread::scope(|scope| {
            scope.spawn(|| handle.block_on(future)).join().map_err(|_| Error::internal("a subquery panicked"))
        });
    }
    Ok(tokio::task::block_in_place(|| handle.block_on(future)))
}

/// The surroundings of a statement of a session.
pub fn statement(
    params: &[Datum],
    source: Arc<dyn RowSource>,
    eval: &EvalContext,
    runtime: &QueryRuntime,
    plan_only: bool,
) -> Arc<StatementContext> {
    Arc::new(StatementContext {
        eval: eval.of_statement(),
        source,
        params: params.into(),
        system: OnceLock::new(),
        runtime: runtime.clone(),
        plan_only,
        frugal: false,
        batch_rows: BATCH_ROWS,
    })
}

/// Plans a relation, on a thread that serves no clients, and starts it; rows come as the stream is polled.
///
/// # Errors
/// What planning finds: features that are missing, constant expressions that fail.
pub async fn execute(
    rel: &Rel,
    params: &[Datum],
    source: Arc<dyn RowSource>,
    eval: &EvalContext,
    runtime: &QueryRuntime,
) -> Result<RowStream> {
    execute_in(rel, None, &statement(params, source, eval, runtime, false)).await
}

/// [`execute`] in surroundings that are made already, with the plan of an earlier execution if there is one.
///
/// # Errors
/// As [`execute`]'s.
pub async fn execute_in(
    rel: &Rel,
    template: Option<&Arc<PlanTemplate>>,
    statement: &Arc<StatementContext>,
) -> Result<RowStream> {
    let partitions = statement.runtime.partitions_for(statement, rel);
    let prepared = prepare_away(rel, template, statement, partitions).await?;
    let fallback = Some(Fallback::of(&prepared.plan, partitions, rel, statement, &prepared.session));
    Ok(RowStream::start(rel.output(), prepared, fallback, statement))
}

/// [`prepare`] with the partitions that the statement deserves, for EXPLAIN.
pub(crate) async fn prepare_top(rel: &Rel, statement: &Arc<StatementContext>) -> Result<Prepared> {
    let partitions = statement.runtime.partitions_for(statement, rel);
    prepare_away(rel, None, statement, partitions).await
}
