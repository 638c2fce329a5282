//! UPDATE and DELETE in their general form.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use stratos_replication::LockMode;
use stratos_types::{Datum, Error, Result};

use super::dml::{Assignments, SOURCE_CHUNK_ROWS, columns_as, is_true, rows_by_key, source_rows, with_tables};
use super::foreign_keys::{Departed, after_departure};
use super::returning::Returns;
use super::rules::TableRules;
use super::write::{LockedValue, TableWriter};
use super::{Changes, StatementContext, breathe, row_locks};
use crate::catalog::Table;
use crate::eval::{Layout, Program};
use crate::ir::{Assignment, ColumnId, Delete, Expr, OutputColumn, Rel, Update};
use crate::rows::{StoredRow, decode_row};

/// Identities of columns that carry the values of subqueries start here; the binder counts from 0.
pub(super) const HOISTED_FIRST: u32 = 3 << 30;

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
    /// Nobody looks at the rows that it deletes: they have no index entries, and nothing depends on them.
    unseen: bool,
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
            unseen: false,
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
        let returning = Returns::compile(&delete.returning, kept)?;
        Ok(ChangePlan {
            unseen: returning.is_none() && rules.incoming.is_empty() && rules.maintained_indexes().next().is_none(),
            locks: !locked.is_empty(),
            relies_on: with_tables(&rules.reaches, locked),
            places,
            one_shot: asked,
            filter: filter.map(|f| Program::compile(f, &layout)).transpose()?,
            assignments: None,
            returning,
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
        // What was locked has become constants.
        let mut found = if self.locks { rows_by_key(context, source)? } else { None };
        let mut stream = if found.is_none() { Some(source_rows(context, source).await?) } else { None };
        loop {
            let rows = match &mut stream {
                Some(stream) => stream.next_rows(SOURCE_CHUNK_ROWS).await?,
                None => found.take(),
            };
            let Some(rows) = rows else { break };
            for row in rows {
                let key = self.key_of(&row)?;
                if !self.places.other_positions.is_empty() && !seen.insert(key.clone()) {
                    continue;
                }
                let others: Vec<Datum> = self.places.other_positions.iter().map(|at| row[*at].clone()).collect();
                let target = Target { key, others, seen: true, verify: false, fixed: false };
                self.change(context, &mut writer, target, &mut changes, &mut departed).await?;
            }
            breathe(context.eval).await?;
        }
        drop(stream);
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
                let mut values = vec![Datum::Null; table.columns.len()];
                for key in &table.primary_index().columns {
                    if let Some(column) = table.column_index(key.attnum) {
                        values[column] = row[self.places.columns[column]].clone();
                    }
                }
                Ok(crate::rows::primary_key(table, &values)?.into())
            }
        }
    }

    /// Whether the WHERE clause holds for a row as it is stored.
    fn is_wanted(&self, key: &[u8], value: &[u8], others: &[Datum], context: &StatementContext<'_>) -> Result<bool> {
        let mut row = decode_row(&self.rules.table, key, value)?;
        row.extend_from_slice(others);
        is_true(&self.filter, &row, context)
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
        let Target { key, others, seen, verify, fixed } = target;
        // What turns out not to be wanted is not kept from others.
        let mark = context.transaction.lock_mark();
        let doubtful = verify && self.filter.is_some();
        let wanted = |context: &StatementContext<'_>, value: &[u8]| {
            Ok(!doubtful || self.is_wanted(&key, value, &others, context)?)
        };
        let locked = match doubtful || !seen {
            true => writer.lock_wanted(context, &key, self.lock_mode, !seen, wanted).await?,
            false => Some(writer.lock_value(context, &key, self.lock_mode).await?),
        };
        let Some(LockedValue { value, changed, .. }) = locked else {
            context.transaction.give_back(mark, &key);
            return Ok(());
        };
        let Some(value) = value else {
            context.transaction.give_back(mark, &key);
            return if changed && !fixed { Err(context.look_again()) } else { Ok(()) };
        };
        if changed && self.one_shot {
            return Err(context.look_again());
        }
        let asks = changed || verify;
        if self.unseen && !asks {
            super::stored(context.transaction.delete(key))?;
            changes.count += 1;
            return Ok(());
        }
        let values = decode_row(&self.rules.table, &key, &value)?;
        let stored = StoredRow { key, values };
        let joined;
        let row = match others.is_empty() {
            true => &stored.values,
            false => {
                joined = [stored.values.as_slice(), &others].concat();
                &joined
            }
        };
        if asks && !is_true(&self.filter, row, context)? {
            context.transaction.give_back(mark, &stored.key);
            return Ok(());
        }
        let new = match &self.assignments {
            None => {
                writer.delete(context, &stored).await?;
                None
            }
            Some(assignments) => {
                let new = assignments.apply(&stored.values, row, context)?;
                writer.update(context, &stored, &new).await?;
                Some(new)
            }
        };
        changes.count += 1;
        if let Some(returning) = &self.returning {
            let mut row = new.clone().unwrap_or_else(|| stored.values.clone());
            row.extend(others);
            changes.returned.push(returning.row(&row, context)?, context.engine.runtime())?;
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
    /// Whether the statement's snapshot has been seen to have the row.
    pub(super) seen: bool,
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
