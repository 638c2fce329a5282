//! INSERT, UPDATE, DELETE in their general form: rows come from a query, one by one, and go through [`TableWriter`].
//!
//! READ COMMITTED as Postgres means it: a row that somebody else is changing is waited for; when it did change, the WHERE
//! clause is asked again with the row as it is now, and the new values are computed from that. Where that is not possible,
//! the statement takes back what it did and begins again with a new snapshot, holding on to the rows that it has locked: when
//! the row has gone, because it may be there under another key, and when the statement has subqueries.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use stratos_replication::{LockMode, ReadView};
use stratos_types::{Datum, Error, ErrorKind, Result};

use super::foreign_keys::{Departed, after_departure};
use super::rules::TableRules;
use super::write::{Conflict, Inserted, Locked, TableWriter};
use super::{Changes, StatementContext, breathe, row_locks};
use crate::catalog::Table;
use crate::eval::{Layout, Program};
use crate::ir::{Assignment, ColumnId, Delete, Expr, Insert, InsertSource, OutputColumn, Rel, Returning, Update};
use crate::rows::StoredRow;

/// How often a row is tried again that was in the way of others which were gone when their locks were given.
const CONFLICTS_MAX: usize = 100;
/// Rows that a statement takes from its source at once.
const SOURCE_CHUNK_ROWS: usize = 1024;

fn compile_all(exprs: &[Expr], layout: &Layout) -> Result<Vec<Program>> {
    exprs.iter().map(|e| Program::compile(e, layout)).collect()
}

/// RETURNING, compiled.
#[derive(Debug)]
enum Returns {
    /// Row by row.
    Rows(Vec<Program>),
    /// With subqueries: the rows are kept as they are, and a query over them gives the result at the end.
    Query { kept: Vec<OutputColumn>, columns: Vec<(OutputColumn, Expr)> },
}

impl Returns {
    /// `kept`: the columns that a row has.
    fn compile(returning: &Option<Returning>, kept: Vec<OutputColumn>) -> Result<Option<Returns>> {
        let Some(returning) = returning else { return Ok(None) };
        if returning.columns.iter().any(|(_, e)| e.has_subquery()) {
            let rows = Rel::Values { columns: Vec::new(), rows: Vec::new() };
            let rel = Rel::Project { input: Box::new(rows), columns: returning.columns.clone() };
            if !row_locks::locked_tables(&rel).is_empty() {
                return Err(Error::unsupported("FOR UPDATE in RETURNING"));
            }
            return Ok(Some(Returns::Query { kept, columns: returning.columns.clone() }));
        }
        let layout = Layout::new(kept.iter().map(|c| c.id));
        let programs = returning.columns.iter().map(|(_, e)| Program::compile(e, &layout)).collect::<Result<_>>()?;
        Ok(Some(Returns::Rows(programs)))
    }

    /// What is to be remembered of a row.
    fn row(&self, row: &[Datum], context: &StatementContext<'_>) -> Result<Vec<Datum>> {
        match self {
            Returns::Rows(programs) => run_all(programs, row, context),
            Returns::Query { .. } => Ok(row.to_vec()),
        }
    }

    /// The statement's snapshot, where the end will need it: subqueries of RETURNING do not see what the statement did.
    fn snapshot(returning: &Option<Returns>, context: &StatementContext<'_>) -> Option<Arc<ReadView>> {
        matches!(returning, Some(Returns::Query { .. })).then(|| Arc::new(context.transaction.view()))
    }

    /// Turns what was remembered into the result.
    async fn finish(
        returning: &Option<Returns>,
        view: Option<Arc<ReadView>>,
        context: &mut StatementContext<'_>,
        changes: &mut Changes,
    ) -> Result<()> {
        let (Some(Returns::Query { kept, columns }), Some(view)) = (returning, view) else { return Ok(()) };
        let literals = |row: Vec<Datum>| row.into_iter().zip(kept).map(|(v, c)| Expr::literal(v, c.ty)).collect();
        let rows: Vec<Vec<Expr>> = std::mem::take(&mut changes.returned).into_iter().map(literals).collect();
        let input = Box::new(Rel::Values { columns: kept.clone(), rows });
        let rel = Rel::Project { input, columns: columns.clone() };
        let runtime = context.engine.runtime();
        let mut result = crate::lower::execute(&rel, context.params, view, context.eval, runtime).await?;
        while let Some(rows) = result.next_rows(SOURCE_CHUNK_ROWS).await? {
            changes.returned.extend(rows);
        }
        Ok(())
    }
}

/// A table's columns under the identities that a statement gave them.
fn columns_as(table: &Table, ids: &[ColumnId]) -> Vec<OutputColumn> {
    let column = |(column, id): (&crate::catalog::Column, &ColumnId)| OutputColumn {
        id: *id,
        name: column.name.clone(),
        ty: column.ty,
        origin: None,
    };
    table.columns.iter().zip(ids).map(column).collect()
}

fn run_all(programs: &[Program], row: &[Datum], context: &StatementContext<'_>) -> Result<Vec<Datum>> {
    programs.iter().map(|p| p.run(row, context.params, context.eval)).collect()
}

fn is_true(program: &Option<Program>, row: &[Datum], context: &StatementContext<'_>) -> Result<bool> {
    match program {
        None => Ok(true),
        Some(program) => Ok(program.run(row, context.params, context.eval)? == Datum::Bool(true)),
    }
}

/// `SET` assignments compiled against a layout.
#[derive(Debug)]
struct Assignments {
    columns: Vec<usize>,
    values: Vec<Program>,
}

impl Assignments {
    fn compile(assignments: &[Assignment], layout: &Layout) -> Result<Assignments> {
        Ok(Assignments {
            columns: assignments.iter().map(|a| a.column).collect(),
            values: assignments.iter().map(|a| Program::compile(&a.value, layout)).collect::<Result<_>>()?,
        })
    }

    fn apply(&self, old: &[Datum], row: &[Datum], context: &StatementContext<'_>) -> Result<Vec<Datum>> {
        let mut new = old.to_vec();
        for (column, value) in self.columns.iter().zip(&self.values) {
            new[*column] = value.run(row, context.params, context.eval)?;
        }
        Ok(new)
    }
}

/// Runs the query that feeds a data-changing statement.
pub(super) async fn source_rows(context: &mut StatementContext<'_>, rel: &Rel) -> Result<crate::lower::RowStream> {
    let view = Arc::new(context.transaction.view());
    // On the heap, so that statements without a query are small to move about.
    Box::pin(crate::lower::execute(rel, context.params, view, context.eval, context.engine.runtime())).await
}

/// Tables by OID, with some more.
fn with_tables(tables: &[Arc<Table>], more: Vec<Arc<Table>>) -> Vec<Arc<Table>> {
    let mut all: Vec<Arc<Table>> = tables.iter().cloned().chain(more).collect();
    all.sort_by_key(|table| table.oid);
    all.dedup_by_key(|table| table.oid);
    all
}

/// An INSERT, compiled.
#[derive(Debug)]
pub struct InsertPlan {
    insert: Insert,
    rules: Arc<TableRules>,
    /// Per row of VALUES, or once over the source's columns.
    values: Vec<Vec<Program>>,
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
    update: Option<(Assignments, Option<Program>)>,
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
                let layout = Layout::new(insert.target.iter().chain(&on_conflict.excluded).copied());
                let update = match &on_conflict.update {
                    None => None,
                    Some(assignments) => Some((
                        Assignments::compile(assignments, &layout)?,
                        on_conflict.filter.as_ref().map(|f| Program::compile(f, &layout)).transpose()?,
                    )),
                };
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
        Ok(InsertPlan { insert, rules, values, conflict, returning, locks, relies_on })
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
        };
        match &self.insert.source {
            InsertSource::Rows(_) => {
                for programs in &self.values {
                    let row = run_all(programs, &[], context)?;
                    run.insert(context, row).await?;
                }
            }
            InsertSource::Query(rel) if self.locks => {
                for source_row in row_locks::run(context, rel).await? {
                    let row = run_all(&self.values[0], &source_row, context)?;
                    run.insert(context, row).await?;
                }
            }
            InsertSource::Query(rel) => {
                let mut source = source_rows(context, rel).await?;
                let plain = self.conflict.is_none() && self.returning.is_none();
                while let Some(rows) = source.next_rows(SOURCE_CHUNK_ROWS).await? {
                    if plain {
                        run.insert_all(context, &rows).await?;
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
        let InsertRun { mut changes, departed, mut writer, .. } = run;
        after_departure(context, &self.rules, departed).await?;
        writer.finish(context).await?;
        Returns::finish(&self.returning, view, context, &mut changes).await?;
        Ok(changes)
    }
}

struct InsertRun<'a> {
    plan: &'a InsertPlan,
    writer: TableWriter<'a>,
    changes: Changes,
    /// Rows that the command put in or changed: Postgres refuses to change one twice.
    updated_keys: HashSet<Bytes>,
    departed: Vec<Departed>,
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
                (Inserted::Conflict(conflict), Some((assignments, filter))) => {
                    if self.update(context, conflict, &row, assignments, filter).await? {
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
        assignments: &Assignments,
        filter: &Option<Program>,
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
        let mut both = old.clone();
        both.extend_from_slice(excluded);
        if !is_true(filter, &both, context)? {
            return Ok(true);
        }
        self.updated_keys.insert(row_key.clone());
        let new = assignments.apply(&old, &both, context)?;
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
            self.changes.returned.push(returning.row(row, context)?);
        }
        if self.plan.conflict.as_ref().is_some_and(|c| c.update.is_some()) {
            self.updated_keys.insert(key);
        }
        Ok(())
    }
}

/// Identities of columns that carry the values of subqueries start here; the binder counts from 0.
const HOISTED_FIRST: u32 = 3 << 30;

/// Lets the source compute the assigned values that contain subqueries: the row evaluator cannot.
fn hoist(source: Rel, assignments: &mut [Assignment]) -> (Rel, bool) {
    let mut columns: Vec<(OutputColumn, Expr)> = Vec::new();
    for assignment in assignments.iter_mut().filter(|a| a.value.has_subquery()) {
        let id = ColumnId(HOISTED_FIRST + u32::try_from(columns.len()).unwrap_or(0));
        let ty = assignment.value.ty;
        let value = std::mem::replace(&mut assignment.value, Expr::column(id, ty));
        columns.push((OutputColumn { id, name: "(value)".to_owned(), ty, origin: None }, value));
    }
    if columns.is_empty() {
        return (source, false);
    }
    let mut all: Vec<(OutputColumn, Expr)> =
        source.output().into_iter().map(|c| (c.clone(), Expr::column(c.id, c.ty))).collect();
    all.extend(columns);
    (Rel::Project { input: Box::new(source), columns: all }, true)
}

/// UPDATE or DELETE, compiled.
#[derive(Debug)]
pub struct ChangePlan {
    rules: Arc<TableRules>,
    /// The source locks rows.
    locks: bool,
    relies_on: Vec<Arc<Table>>,
    /// Part of the statement depends on a subquery, so that a row which changed meanwhile cannot be looked at again.
    one_shot: bool,
    source: Rel,
    places: Places,
    /// Over target columns, then the others.
    filter: Option<Program>,
    /// None for DELETE.
    assignments: Option<Assignments>,
    /// Over the new row (UPDATE) or the old one (DELETE), then the others.
    returning: Option<Returns>,
    lock_mode: LockMode,
}

impl ChangePlan {
    /// Compiles a bound UPDATE.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub fn update(mut update: Update, rules: Arc<TableRules>) -> Result<ChangePlan> {
        let (source, hoisted) = hoist(update.source, &mut update.assignments);
        update.source = source;
        let asked = update.filter.as_ref().is_some_and(Expr::has_subquery);
        let filter = update.filter.as_ref().filter(|_| !asked);
        let places = Places::find(&update.source, &update.target, &rules)?;
        let old_layout = Layout::new(places.columns_of(&update.target).chain(places.others.iter().copied()));
        let mut kept = columns_as(&update.table, &update.new_row);
        kept.extend(places.others_of(&update.source));
        let locked = row_locks::locked_tables(&update.source);
        Ok(ChangePlan {
            locks: !locked.is_empty(),
            relies_on: with_tables(&rules.reaches, locked),
            places,
            filter: filter.map(|f| Program::compile(f, &old_layout)).transpose()?,
            one_shot: hoisted || asked,
            assignments: Some(Assignments::compile(&update.assignments, &old_layout)?),
            returning: Returns::compile(&update.returning, kept)?,
            source: update.source,
            rules,
            lock_mode: LockMode::NoKeyUpdate,
        })
    }

    /// Compiles a bound DELETE.
    ///
    /// # Errors
    /// Expressions that the row evaluator cannot run.
    pub fn delete(delete: Delete, rules: Arc<TableRules>) -> Result<ChangePlan> {
        let places = Places::find(&delete.source, &delete.target, &rules)?;
        let mut kept = columns_as(&delete.table, &delete.target);
        kept.extend(places.others_of(&delete.source));
        let layout = Layout::new(kept.iter().map(|c| c.id));
        let asked = delete.filter.as_ref().is_some_and(Expr::has_subquery);
        let filter = delete.filter.as_ref().filter(|_| !asked);
        let locked = row_locks::locked_tables(&delete.source);
        Ok(ChangePlan {
            locks: !locked.is_empty(),
            relies_on: with_tables(&rules.reaches, locked),
            places,
            one_shot: asked,
            filter: filter.map(|f| Program::compile(f, &layout)).transpose()?,
            assignments: None,
            returning: Returns::compile(&delete.returning, kept)?,
            source: delete.source,
            rules,
            lock_mode: LockMode::Update,
        })
    }

    /// The table written to.
    pub fn rules(&self) -> &Arc<TableRules> {
        &self.rules
    }

    /// The tables whose descriptors the statement relies on.
    pub fn relies_on(&self) -> &[Arc<Table>] {
        &self.relies_on
    }

    /// The query that finds the rows.
    pub fn source(&self) -> &Rel {
        &self.source
    }

    /// Whether RETURNING needs a query at the end.
    pub fn returns_query(&self) -> bool {
        matches!(self.returning, Some(Returns::Query { .. }))
    }

    /// Updates or deletes.
    ///
    /// # Errors
    /// Constraint violations, evaluation errors, the store's errors.
    pub async fn run(&self, context: &mut StatementContext<'_>) -> Result<Changes> {
        let settled;
        let source = match self.locks {
            true => {
                settled = row_locks::settle(context, &self.source).await?;
                &settled
            }
            false => &self.source,
        };
        let view = Returns::snapshot(&self.returning, context);
        let mut writer = TableWriter::new(&self.rules);
        let mut changes = Changes::default();
        let mut departed = Vec::new();
        // A join may give the same target row several times; the first one counts.
        let mut seen: HashSet<Bytes> = HashSet::new();
        let mut source = source_rows(context, source).await?;
        while let Some(rows) = source.next_rows(SOURCE_CHUNK_ROWS).await? {
            for row in rows {
                let key = self.key_of(&row)?;
                if !self.places.other_positions.is_empty() && !seen.insert(key.clone()) {
                    continue;
                }
                let others: Vec<Datum> = self.places.other_positions.iter().map(|at| row[*at].clone()).collect();
                let target = Target { key, others, verify: false, fixed: false };
                self.change(context, &mut writer, target, &mut changes, &mut departed).await?;
            }
            breathe(context.eval).await?;
        }
        drop(source);
        if !self.rules.incoming.is_empty() {
            after_departure(context, &self.rules, departed).await?;
        }
        writer.finish(context).await?;
        Returns::finish(&self.returning, view, context, &mut changes).await?;
        Ok(changes)
    }

    fn key_of(&self, row: &[Datum]) -> Result<Bytes> {
        let table = &self.rules.table;
        match self.places.row_id {
            Some(at) => {
                let Datum::Int8(row_id) = row[at] else {
                    return Err(Error::internal("row id of an unexpected type"));
                };
                Ok(crate::rows::row_id_key(table, row_id).into())
            }
            None => {
                let values: Vec<Datum> = self.places.columns.iter().map(|at| row[*at].clone()).collect();
                Ok(crate::rows::primary_key(table, &values)?.into())
            }
        }
    }

    /// Changes the row with this key, if it is still there and still wanted.
    ///
    /// # Errors
    /// As [`ChangePlan::run`].
    pub(super) async fn change(
        &self,
        context: &mut StatementContext<'_>,
        writer: &mut TableWriter<'_>,
        target: Target,
        changes: &mut Changes,
        departed: &mut Vec<Departed>,
    ) -> Result<()> {
        let Target { key, others, verify, fixed } = target;
        let Locked { row, changed, .. } = writer.lock(context, &key, self.lock_mode).await?;
        let Some(old) = row else {
            return if changed && !fixed { Err(context.look_again()) } else { Ok(()) };
        };
        let mut row = old.clone();
        row.extend(others.iter().cloned());
        if changed && self.one_shot {
            return Err(context.look_again());
        }
        if (changed || verify) && !is_true(&self.filter, &row, context)? {
            return Ok(());
        }
        let stored = StoredRow { key, values: old };
        let new = match &self.assignments {
            None => {
                writer.delete(context, &stored).await?;
                None
            }
            Some(assignments) => {
                let new = assignments.apply(&stored.values, &row, context)?;
                writer.update(context, &stored, &new).await?;
                Some(new)
            }
        };
        changes.count += 1;
        if let Some(returning) = &self.returning {
            let mut row = new.clone().unwrap_or_else(|| stored.values.clone());
            row.extend(others);
            changes.returned.push(returning.row(&row, context)?);
        }
        if !self.rules.incoming.is_empty() {
            departed.push(Departed { old: stored.values, new });
        }
        Ok(())
    }
}

/// A row to change.
pub(super) struct Target {
    /// Its key.
    pub(super) key: Bytes,
    /// Values of the source's other columns.
    pub(super) others: Vec<Datum>,
    /// Whether the WHERE clause has not been asked yet.
    pub(super) verify: bool,
    /// Whether the WHERE clause wants this key: the row is not wanted once it has another one.
    pub(super) fixed: bool,
}

/// Where the target's columns stand in the source's output, and what else is there.
#[derive(Debug)]
struct Places {
    /// For each column of the table, its position.
    columns: Vec<usize>,
    /// Position of the hidden row id, in a table without a primary key.
    row_id: Option<usize>,
    /// The source's other columns.
    others: Vec<ColumnId>,
    /// Their positions.
    other_positions: Vec<usize>,
}

impl Places {
    /// The target names the table's columns and then, in a table without a primary key, the hidden row id.
    fn find(source: &Rel, target: &[ColumnId], rules: &TableRules) -> Result<Places> {
        let output = source.output();
        let mut columns = Vec::with_capacity(target.len());
        for id in target {
            let at = output
                .iter()
                .position(|c| c.id == *id)
                .ok_or_else(|| Error::internal("the source of a change lacks a column of its target"))?;
            columns.push(at);
        }
        let (others, other_positions) =
            output.iter().enumerate().filter(|(at, _)| !columns.contains(at)).map(|(at, c)| (c.id, at)).unzip();
        let row_id = if rules.table.has_primary_key() { None } else { columns.pop() };
        if columns.len() != rules.table.columns.len() {
            return Err(Error::internal("the target of a change does not list its table's columns"));
        }
        Ok(Places { columns, row_id, others, other_positions })
    }

    /// The source's other columns, with their types.
    fn others_of(&self, source: &Rel) -> Vec<OutputColumn> {
        let output = source.output();
        self.other_positions.iter().filter_map(|at| output.get(*at).cloned()).collect()
    }

    fn columns_of<'a>(&self, target: &'a [ColumnId]) -> impl Iterator<Item = ColumnId> + use<'a> {
        target[..self.columns.len()].iter().copied()
    }
}
