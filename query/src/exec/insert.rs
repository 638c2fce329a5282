//! INSERT, with ON CONFLICT, in its general form.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use stratos_replication::{LockMode, ReadView};
use stratos_types::{Datum, Error, ErrorKind, Result};

use super::dml::{SOURCE_CHUNK_ROWS, columns_as, compile_all, run_all, source_rows, with_tables};
use super::foreign_keys::{Departed, after_departure};
use super::on_conflict::ConflictUpdate;
use super::returning::Returns;
use super::rules::TableRules;
use super::write::{Conflict, Inserted, TableWriter};
use super::{BREATHE_ROWS, Changes, StatementContext, breathe, row_locks, violations};
use crate::catalog::Table;
use crate::eval::{Layout, Program};
use crate::ir::{Expr, Insert, InsertSource, Rel};
use crate::rows::StoredRow;

/// How often a row is tried again that was in the way of others which were gone when their locks were given.
const CONFLICTS_MAX: usize = 100;

/// An INSERT, compiled.
#[derive(Debug)]
pub struct InsertPlan {
    insert: Insert,
    rules: Arc<TableRules>,
    /// Per row of VALUES, or once over the source's columns.
    values: Vec<Vec<Program>>,
    /// Which of them, by row and column, are to be tried before anything runs that leaves traces: PostgreSQL computes constants
    /// when it plans, so that a wrong one draws no value of a sequence.
    constants: Vec<(usize, usize)>,
    conflict: Option<ConflictPlan>,
    returning: Option<Returns>,
    /// The source locks rows.
    locks: bool,
    relies_on: Vec<Arc<Table>>,
}

#[derive(Debug)]
struct ConflictPlan {
    /// Positions of arbiter indexes; empty is any.
    arbiters: Vec<usize>,
    update: Option<ConflictUpdate>,
}

impl InsertPlan {
    /// Compiles a bound INSERT.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub fn new(insert: Insert, rules: Arc<TableRules>) -> Result<InsertPlan> {
        let values = match &insert.source {
            InsertSource::Rows(rows) => {
                let layout = Layout::new(std::iter::empty());
                rows.iter().map(|row| compile_all(row, &layout)).collect::<Result<_>>()?
            }
            InsertSource::Query(rel) => {
                let layout = Layout::new(rel.output().iter().map(|c| c.id));
                vec![compile_all(&insert.values, &layout)?]
            }
        };
        let conflict = match &insert.on_conflict {
            None => None,
            Some(on_conflict) => {
                let arbiters = on_conflict
                    .arbiters
                    .iter()
                    .map(|oid| {
                        rules
                            .table
                            .indexes
                            .iter()
                            .position(|index| index.oid == *oid)
                            .ok_or_else(|| Error::internal("arbiter index is gone"))
                    })
                    .collect::<Result<_>>()?;
                let update = ConflictUpdate::compile(&insert.table, &insert.target, on_conflict)?;
                Some(ConflictPlan { arbiters, update })
            }
        };
        let returning = Returns::compile(&insert.returning, columns_as(&insert.table, &insert.target))?;
        let updates = conflict.as_ref().is_some_and(|conflict| conflict.update.is_some());
        let own = if updates { &rules.reaches } else { &rules.relies_on };
        let locked = match &insert.source {
            InsertSource::Rows(_) => Vec::new(),
            InsertSource::Query(rel) => row_locks::locked_tables(rel),
        };
        let (locks, relies_on) = (!locked.is_empty(), with_tables(own, locked));
        let constants = constants(&insert.source);
        Ok(InsertPlan { insert, rules, values, constants, conflict, returning, locks, relies_on })
    }

    /// `INSERT INTO table query` for a query whose columns are the table's.
    ///
    /// # Errors
    /// Internal only.
    pub fn from_query(table: Arc<Table>, query: Rel, rules: Arc<TableRules>) -> Result<InsertPlan> {
        let values = query.output().iter().map(|c| Expr::column(c.id, c.ty)).collect();
        let insert = Insert {
            table,
            source: InsertSource::Query(Box::new(query)),
            values,
            on_conflict: None,
            target: Vec::new(),
            returning: None,
        };
        InsertPlan::new(insert, rules)
    }

    /// The table written to.
    pub fn rules(&self) -> &Arc<TableRules> {
        &self.rules
    }

    /// The tables whose descriptors the statement relies on.
    pub fn relies_on(&self) -> &[Arc<Table>] {
        &self.relies_on
    }

    /// Whether it may change rows that are there already.
    pub fn updates(&self) -> bool {
        self.conflict.as_ref().is_some_and(|conflict| conflict.update.is_some())
    }

    /// The query that the rows come from, where there is one.
    pub fn source(&self) -> Option<&Rel> {
        match &self.insert.source {
            InsertSource::Query(rel) => Some(rel),
            InsertSource::Rows(_) => None,
        }
    }

    /// Whether rows come back.
    pub fn returns(&self) -> bool {
        self.returning.is_some()
    }

    /// Inserts.
    ///
    /// # Errors
    /// Constraint violations, evaluation errors, the store's errors.
    pub async fn run(&self, context: &mut StatementContext<'_>) -> Result<Changes> {
        let view = Returns::snapshot(&self.returning, context);
        let mut run = InsertRun {
            plan: self,
            writer: TableWriter::new(&self.rules),
            changes: Changes::default(),
            updated_keys: HashSet::new(),
            departed: Vec::new(),
            view: self.conflict.as_ref().and_then(|c| c.update.as_ref()?.snapshot(context)),
        };
        match &self.insert.source {
            InsertSource::Rows(_) => {
                for (row, column) in &self.constants {
                    self.values[*row][*column].run(&[], context.params, context.eval)?;
                }
                for (at, programs) in self.values.iter().enumerate() {
                    if at % BREATHE_ROWS == BREATHE_ROWS - 1 {
                        breathe(context.eval).await?;
                    }
                    let row = run_all(programs, &[], context)?;
                    run.insert(context, row).await?;
                }
            }
            InsertSource::Query(rel) if self.locks => {
                let (rows, _charge) = row_locks::run(context, rel).await?.into_parts();
                for (at, source_row) in rows.into_iter().enumerate() {
                    if at % BREATHE_ROWS == BREATHE_ROWS - 1 {
                        breathe(context.eval).await?;
                    }
                    let row = run_all(&self.values[0], &source_row, context)?;
                    run.insert(context, row).await?;
                }
            }
            InsertSource::Query(rel) => {
                let mut source = source_rows(context, rel).await?;
                let plain = self.conflict.is_none() && self.returning.is_none();
                let loads = plain && self.rules.loads();
                while let Some(rows) = source.next_rows(SOURCE_CHUNK_ROWS).await? {
                    if plain {
                        run.insert_all(context, &rows).await?;
                        if loads {
                            violations::loaded(context.transaction.load().await, context)?;
                        }
                        breathe(context.eval).await?;
                        continue;
                    }
                    for source_row in rows {
                        let row = run_all(&self.values[0], &source_row, context)?;
                        run.insert(context, row).await?;
                    }
                    breathe(context.eval).await?;
                }
            }
        }
        violations::loaded(context.transaction.finish_load().await, context)?;
        let InsertRun { mut changes, departed, mut writer, .. } = run;
        after_departure(context, &self.rules, departed).await?;
        writer.finish(context).await?;
        Returns::finish(&self.returning, view, context, &mut changes).await?;
        Ok(changes)
    }
}

/// The constants of VALUES that are computed, where something else in them leaves traces.
fn constants(source: &InsertSource) -> Vec<(usize, usize)> {
    let InsertSource::Rows(rows) = source else { return Vec::new() };
    let mut constants = Vec::new();
    let mut leaves_traces = false;
    for (row, values) in rows.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            leaves_traces |= value.is_volatile();
            if value.is_constant() && !value.is_given() {
                constants.push((row, column));
            }
        }
    }
    if leaves_traces { constants } else { Vec::new() }
}

struct InsertRun<'a> {
    plan: &'a InsertPlan,
    writer: TableWriter<'a>,
    changes: Changes,
    /// Rows that the command put in or changed: Postgres refuses to change one twice.
    updated_keys: HashSet<Bytes>,
    departed: Vec<Departed>,
    /// See [`ConflictUpdate::snapshot`].
    view: Option<Arc<ReadView>>,
}

impl InsertRun<'_> {
    /// Inserts rows of the source, where nothing is asked but that.
    async fn insert_all(&mut self, context: &mut StatementContext<'_>, source: &[Vec<Datum>]) -> Result<()> {
        let mut rows = Vec::with_capacity(source.len());
        let mut fault = None;
        for source_row in source {
            match run_all(&self.plan.values[0], source_row, context) {
                Ok(row) => rows.push(row),
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        // What is wrong with a row before the one that cannot be computed comes first.
        self.writer.insert_many(context, &rows).await.map_err(|(_, error)| error)?;
        self.changes.count += rows.len() as u64;
        fault.map_or(Ok(()), Err)
    }

    async fn insert(&mut self, context: &mut StatementContext<'_>, row: Vec<Datum>) -> Result<()> {
        let conflict = self.plan.conflict.as_ref();
        let arbiters = conflict.map(|c| c.arbiters.as_slice());
        let update = conflict.and_then(|c| c.update.as_ref());
        for _ in 0..CONFLICTS_MAX {
            match (self.writer.insert(context, &row, arbiters).await?, update) {
                (Inserted::Yes(key), _) => return self.count(context, &row, key),
                (Inserted::Conflict(_), None) => return Ok(()),
                (Inserted::Conflict(conflict), Some(update)) => {
                    if self.update(context, conflict, &row, update).await? {
                        return Ok(());
                    }
                }
            }
        }
        Err(Error::new(
            ErrorKind::SerializationFailure,
            "conflicting rows kept disappearing while they were being locked",
        ))
    }

    /// DO UPDATE. `false` when the row is no longer in the way.
    async fn update(
        &mut self,
        context: &mut StatementContext<'_>,
        conflict: Conflict,
        excluded: &[Datum],
        update: &ConflictUpdate,
    ) -> Result<bool> {
        let table = &self.plan.rules.table;
        let Conflict { index, taken, row_key } = conflict;
        let Some(old) = self.writer.lock(context, &row_key, LockMode::NoKeyUpdate).await?.row else {
            return Ok(false);
        };
        if index > 0 && crate::rows::index_entry(table, &table.indexes[index], &row_key, &old)?.key != taken {
            return Ok(false);
        }
        // The command's own rows are refused whatever the condition says of them.
        if self.updated_keys.contains(&row_key) {
            return Err(Error::new(
                ErrorKind::CardinalityViolation,
                "ON CONFLICT DO UPDATE command cannot affect row a second time",
            )
            .with_hint(
                "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
            ));
        }
        let Some(new) = update.new_row(context, &self.view, &old, excluded).await? else {
            return Ok(true);
        };
        self.updated_keys.insert(row_key.clone());
        let stored = StoredRow { key: row_key, values: old };
        let key = self.writer.update(context, &stored, &new).await?;
        self.count(context, &new, key)?;
        self.departed.push(Departed { old: stored.values, new: Some(new) });
        Ok(true)
    }

    /// A row is in or changed, and has this key now.
    fn count(&mut self, context: &StatementContext<'_>, row: &[Datum], key: Bytes) -> Result<()> {
        self.changes.count += 1;
        if let Some(returning) = &self.plan.returning {
            self.changes.returned.push(returning.row(row, context)?, context.engine.runtime())?;
        }
        if self.plan.conflict.as_ref().is_some_and(|c| c.update.is_some()) {
            self.updated_keys.insert(key);
        }
        Ok(())
    }
}
