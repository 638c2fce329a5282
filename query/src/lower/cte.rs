//! Common table expressions: inlined, computed once, or recursive.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::common::runtime::SpawnedTask;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use stratos_types::{Error, Result, key};
use tokio::sync::OnceCell;

use super::Env;
use super::context::StatementContext;
use super::error::error_from;
use super::expr::{column, column_name};
use super::materialized::{Materialized, replay};
use super::rel::{Lowerer, project};
use super::runtime::{prepare, run_nested};
use super::walk::Facts;
use crate::arrow::datum_at;
use crate::ir::{Cte, OutputColumn, Rel};
use crate::scan::{BatchSource, SourceTable, schema_of};

/// What a scan of a CTE reads.
#[derive(Clone)]
pub(crate) enum CteSource {
    /// The definition, in place.
    Inline(Arc<InPlace>),
    /// Computed when first read, then kept.
    Shared(Arc<SharedRows>),
    /// Recursive, read in one place: computed as it is read, so that a LIMIT ends an endless recursion.
    Streamed(Arc<Cte>, Env),
    /// The rows of the last round of the recursion that is being computed.
    Working(Arc<WorkTable>),
}

/// A definition that stands where it is read.
pub(crate) struct InPlace {
    cte: Arc<Cte>,
    /// The CTEs that it reads.
    reads: Vec<u32>,
    /// How many such definitions stand in each other in it, itself included.
    depth: usize,
}

/// Most definitions that stand in each other: plans have all of their expressions in one, and the optimizer takes time that
/// grows with the cube of the depth. What is deeper is computed on its own, as if it were `MATERIALIZED`.
const INLINE_DEPTH_MAX: usize = 32;

impl CteSource {
    fn depth(&self) -> usize {
        match self {
            CteSource::Inline(place) => place.depth,
            _ => 0,
        }
    }
}

/// The CTEs that are needed to compute what reads these.
fn needed(known: &HashMap<u32, CteSource>, reads: &[u32]) -> HashMap<u32, CteSource> {
    let mut needed = HashMap::new();
    let mut open = reads.to_vec();
    while let Some(id) = open.pop() {
        let Some(source) = known.get(&id).filter(|_| !needed.contains_key(&id)) else { continue };
        if let CteSource::Inline(place) = source {
            open.extend(&place.reads);
        }
        needed.insert(id, source.clone());
    }
    needed
}

impl Lowerer<'_> {
    pub(super) fn with(&self, ctes: &[Cte], body: &Rel) -> Result<LogicalPlan> {
        self.tie_to_execution();
        let mut known = (*self.env.ctes).clone();
        let scans = scans_of(ctes, body);
        for (cte, scans) in ctes.iter().zip(scans) {
            let facts = Facts::of(&cte.query);
            let once = match cte.materialized {
                Some(materialized) => materialized,
                None => scans > 1,
            } || facts.volatile;
            let mut reads: Vec<u32> = facts.cte_scans.into_keys().collect();
            if let Some((term, _)) = &cte.recursive {
                reads.extend(Facts::of(term).cte_scans.into_keys());
            }
            let depth = 1 + reads.iter().filter_map(|id| known.get(id)).map(CteSource::depth).max().unwrap_or(0);
            // Not all that is known: thousands of them would each hold all of those before it.
            let env = || self.env.with_ctes(needed(&known, &reads));
            let cte = Arc::new(cte.clone());
            let id = cte.id;
            let source = if cte.recursive.is_some() && scans <= 1 {
                CteSource::Streamed(cte, env())
            } else if once || cte.recursive.is_some() || depth > INLINE_DEPTH_MAX {
                CteSource::Shared(Arc::new(SharedRows { env: env(), cte, rows: Mutex::default() }))
            } else {
                CteSource::Inline(Arc::new(InPlace { cte, reads, depth }))
            };
            known.insert(id, source);
        }
        self.with_env(self.env.with_ctes(known)).rel(body)
    }

    pub(super) fn cte_scan(&self, cte: u32, columns: &[OutputColumn]) -> Result<LogicalPlan> {
        let source = self.env.ctes.get(&cte).ok_or_else(|| Error::internal("a CTE that is not defined"))?;
        let source: Arc<dyn BatchSource> = match source {
            CteSource::Inline(place) => {
                // Numbers of CTEs are unique, so that those that are known here include those of the definition.
                let cte = &place.cte;
                let plan = self.with_env(self.env.clone()).rel(&cte.query)?;
                let exprs = cte
                    .query
                    .output()
                    .iter()
                    .zip(columns)
                    .map(|(from, to)| column(from.id).alias(column_name(to.id)))
                    .collect();
                return project(plan, exprs);
            }
            CteSource::Shared(rows) => rows.clone(),
            CteSource::Streamed(cte, env) => Arc::new(Streamed(cte.clone(), env.clone())),
            CteSource::Working(table) => Arc::new(Working(table.clone())),
        };
        self.scan(Arc::new(SourceTable::new(columns, source)), columns.iter().map(|c| c.id))
    }
}

/// A CTE that is computed at most once.
pub(crate) struct SharedRows {
    cte: Arc<Cte>,
    env: Env,
    /// With the round that they belong to.
    rows: Mutex<(usize, Arc<OnceCell<Materialized>>)>,
}

impl SharedRows {
    /// Where the rows are, or will be. Each round of a recursion around has its own.
    fn cell(&self) -> Arc<OnceCell<Materialized>> {
        let round = self.env.round();
        let mut rows = self.rows.lock();
        if rows.0 != round {
            *rows = (round, Arc::default());
        }
        rows.1.clone()
    }
}

impl fmt::Debug for SharedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CTE {}", self.cte.name)
    }
}

impl BatchSource for SharedRows {
    fn describe(&self) -> String {
        format!("CTE Scan on {}", self.cte.name)
    }

    fn stream(&self, statement: Arc<StatementContext>) -> BoxStream<'static, Result<RecordBatch>> {
        let (cte, env, cell) = (self.cte.clone(), self.env.clone(), self.cell());
        stream::once(async move {
            let kept = cell
                .get_or_try_init(|| async {
                    // A task of its own: in one, a chain of them would spend its turn on the way down, again and again.
                    let computed = SpawnedTask::spawn(keep(cte, env, statement)).join_unwind();
                    computed.await.map_err(|_| Error::internal("the computation of a CTE was given up"))?
                })
                .await?;
            Ok::<_, Error>(kept.read())
        })
        .try_flatten()
        .boxed()
    }
}

/// Computes a CTE.
async fn keep(cte: Arc<Cte>, env: Env, statement: Arc<StatementContext>) -> Result<Materialized> {
    let schema = schema_of(&cte.columns);
    let rows = compute(cte, env, statement.clone());
    Materialized::of(rows, schema, &statement).await
}

/// A recursive CTE that is read once.
struct Streamed(Arc<Cte>, Env);

impl fmt::Debug for Streamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CTE {}", self.0.name)
    }
}

impl BatchSource for Streamed {
    fn describe(&self) -> String {
        format!("Recursive Union {}", self.0.name)
    }

    fn stream(&self, statement: Arc<StatementContext>) -> BoxStream<'static, Result<RecordBatch>> {
        compute(self.0.clone(), self.1.clone(), statement)
    }
}

/// What the rounds of a recursion hand on to each other. One plan reads it in all of them.
#[derive(Default)]
pub(crate) struct WorkTable(Mutex<Round>);

#[derive(Default)]
struct Round {
    /// Counted from 1.
    round: usize,
    rows: Arc<Vec<RecordBatch>>,
}

impl WorkTable {
    fn rows(&self) -> usize {
        self.0.lock().rows.iter().map(RecordBatch::num_rows).sum()
    }

    /// The round that it is for.
    pub(super) fn round(&self) -> usize {
        self.0.lock().round
    }

    fn begin_round(&self, rows: Vec<RecordBatch>) {
        let mut last = self.0.lock();
        *last = Round { round: last.round + 1, rows: Arc::new(rows) };
    }
}

/// The working table of a recursion.
struct Working(Arc<WorkTable>);

impl fmt::Debug for Working {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkTable")
    }
}

impl BatchSource for Working {
    fn describe(&self) -> String {
        "WorkTable Scan".to_owned()
    }

    fn stream(&self, _: Arc<StatementContext>) -> BoxStream<'static, Result<RecordBatch>> {
        replay(self.0.0.lock().rows.clone())
    }

    fn rows(&self) -> Option<usize> {
        Some(self.0.rows())
    }
}

/// How often each CTE is read by those behind it and by the query.
fn scans_of(ctes: &[Cte], body: &Rel) -> Vec<usize> {
    let mut read: HashMap<u32, usize> = HashMap::new();
    let add = |rel: &Rel, times: usize, read: &mut HashMap<u32, usize>| {
        for (id, count) in Facts::of(rel).cte_scans {
            *read.entry(id).or_default() += times * count;
        }
    };
    add(body, 1, &mut read);
    let mut scans = Vec::with_capacity(ctes.len());
    for cte in ctes.iter().rev() {
        scans.push(read.get(&cte.id).copied().unwrap_or(0));
        add(&cte.query, 1, &mut read);
        // A recursive term is evaluated again and again.
        if let Some((term, _)) = &cte.recursive {
            add(term, 2, &mut read);
        }
    }
    scans.reverse();
    scans
}

/// The rows of a CTE, computed as they are taken.
fn compute(cte: Arc<Cte>, env: Env, statement: Arc<StatementContext>) -> BoxStream<'static, Result<RecordBatch>> {
    let state = Recursion {
        seen: HashSet::new(),
        cte,
        env,
        statement,
        begun: false,
        current: None,
        produced: Vec::new(),
        table: Arc::default(),
        term: None,
    };
    stream::try_unfold(state, |mut state| async move {
        let next = state.next().await?;
        Ok(next.map(|batch| (batch, state)))
    })
    .boxed()
}

/// How much more or less the working table may hold than the plan of the recursive term was made for: which side of a join is
/// read first, and whether rows are looked up by key, depends on it.
const GROWTH_MAX: usize = 8;

/// Rounds with one plan: operators that read keep metrics of each.
const ROUNDS_PER_PLAN: usize = 1024;

/// The recursive term as a plan, for many rounds.
struct Term {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    /// Rows of the working table that it was made for.
    rows: usize,
    rounds: usize,
}

impl Term {
    fn fits(&self, rows: usize) -> bool {
        self.rounds < ROUNDS_PER_PLAN
            && rows <= self.rows.saturating_mul(GROWTH_MAX)
            && self.rows <= rows.saturating_mul(GROWTH_MAX)
    }
}

struct Recursion {
    cte: Arc<Cte>,
    env: Env,
    statement: Arc<StatementContext>,
    /// The non-recursive term was started.
    begun: bool,
    /// The round that is being read.
    current: Option<SendableRecordBatchStream>,
    /// What this round has produced: the next round's working table.
    produced: Vec<RecordBatch>,
    table: Arc<WorkTable>,
    term: Option<Term>,
    /// Key encodings of all rows so far, for UNION.
    seen: HashSet<Vec<u8>>,
}

impl Recursion {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(current) = &mut self.current {
                let Some(batch) = current.next().await else {
                    self.current = None;
                    let working = std::mem::take(&mut self.produced);
                    let Some((term, _)) = self.cte.recursive.clone() else {
                        return Ok(None);
                    };
                    if working.is_empty() {
                        return Ok(None);
                    }
                    self.statement.eval.check_canceled()?;
                    self.table.begin_round(working);
                    self.current = Some(self.round(&term).await?);
                    continue;
                };
                let batch = self.fresh_rows(batch.map_err(error_from)?)?;
                if batch.num_rows() == 0 {
                    continue;
                }
                if self.cte.recursive.is_some() {
                    self.produced.push(batch.clone());
                }
                return Ok(Some(batch));
            }
            if std::mem::replace(&mut self.begun, true) {
                return Ok(None);
            }
            self.current = Some(run_nested(&self.statement, &self.env, &self.cte.query).await?);
        }
    }

    /// Starts the recursive term over the working table.
    async fn round(&mut self, term: &Rel) -> Result<SendableRecordBatchStream> {
        let rows = self.table.rows();
        let planned = match self.term.take().filter(|planned| planned.fits(rows)) {
            Some(planned) => Term {
                plan: reset_plan_states(planned.plan).map_err(error_from)?,
                rounds: planned.rounds + 1,
                ..planned
            },
            None => {
                let env = self.env.recursing(self.cte.id, self.table.clone());
                let prepared = prepare(&self.statement, &env, term, None, 1).await?;
                Term { plan: prepared.plan, context: prepared.session.task_ctx(), rows, rounds: 1 }
            }
        };
        let stream = execute_stream(planned.plan.clone(), planned.context.clone()).map_err(error_from);
        self.term = Some(planned);
        stream
    }

    /// Without the rows that came before, where duplicates do not count.
    fn fresh_rows(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        if !matches!(self.cte.recursive, Some((_, false))) {
            return Ok(batch);
        }
        let mut keep = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let mut encoded = Vec::new();
            for (array, column) in batch.columns().iter().zip(&self.cte.columns) {
                let value = datum_at(array.as_ref(), row, column.ty.ty)?;
                key::encode_column(&mut encoded, column.ty.ty, &value, false, false);
            }
            keep.push(self.seen.insert(encoded));
        }
        filter_record_batch(&batch, &BooleanArray::from(keep))
            .map_err(|e| Error::internal(format!("recursive query: {e}")))
    }
}
