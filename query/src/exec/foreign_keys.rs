//! Foreign keys: a child must have its parent, a parent's children are kept, deleted or set to NULL.
//!
//! While a transaction has written a child, it holds the parent's row locked (KEY SHARE) and has the commit check that the
//! parent is still there. While it deletes a parent, it holds the row locked (UPDATE), looks for children among all that is
//! committed by then, whatever its own snapshot, and has the commit check that nothing changed where it looked: among the
//! entries of an index that leads to the children, or in the whole child table where there is none. So the result is right
//! even if the locks, which live in memory, are lost.
//!
//! What waits for the end of the transaction is noted instead ([`super::deferred`]), and gets the same locks and checks then.
//!
//! Which tables refer to which is in their descriptors; the statement holds on to those of all tables that its foreign keys
//! may lead to ([`TableRules::reaches`]).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use stratos_replication::{LockMode, ReadView, Span, Timestamp};
use stratos_types::{Datum, Error, ErrorKind, Result};

use super::rules::{Incoming, Outgoing, TableRules};
use super::write::TableWriter;
use super::{BREATHE_ROWS, StatementContext, breathe, deferred_keys, scan, stored, violations};
use crate::binder::{BindContext, ScalarBinder};
use crate::catalog::{ForeignKey, ReferentialAction, Table};
use crate::eval::{Layout, Program};
use crate::rows::{INDEX_PREFIX_BYTES, StoredRow, decode_row, index_prefix, index_span, row_key_of_entry};

/// How deep cascades may follow one another.
const CASCADE_DEPTH_MAX: usize = 1000;
/// How often children are looked for again because some of them changed while they were being locked.
const SEARCHES_MAX: usize = 100;

fn values_of(table: &Table, attnums: &[i16], row: &[Datum]) -> Vec<Datum> {
    attnums.iter().filter_map(|a| table.column_index(*a)).map(|at| row[at].clone()).collect()
}

fn column_type(table: &Table, attnum: i16) -> Result<stratos_types::ColumnType> {
    let at = table.column_index(attnum).ok_or_else(|| Error::internal("column is gone"))?;
    Ok(table.columns[at].ty)
}

/// Values of these columns as bytes that are the same exactly where SQL says that the values are equal.
fn comparable(table: &Table, attnums: &[i16], values: &[Datum]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(16 * values.len());
    for (attnum, value) in attnums.iter().zip(values) {
        stratos_types::key::encode_column(&mut bytes, column_type(table, *attnum)?.ty, value, false, false);
    }
    Ok(bytes)
}

/// The key in the parent's referenced index of a row with these values in the referenced columns.
fn parent_key(parent: &Table, index: usize, referenced: &[i16], values: &[Datum]) -> Result<Vec<u8>> {
    let index = &parent.indexes[index];
    let mut key = Vec::with_capacity(INDEX_PREFIX_BYTES + 16);
    key.extend_from_slice(&index_prefix(parent, index));
    for column in &index.columns {
        let at = referenced
            .iter()
            .position(|attnum| *attnum == column.attnum)
            .ok_or_else(|| Error::internal("foreign key and its index disagree"))?;
        let ty = column_type(parent, column.attnum)?;
        stratos_types::key::encode_column(&mut key, ty.ty, &values[at], column.descending, column.nulls_first);
    }
    Ok(key)
}

/// Makes sure that every parent of a new row exists and stays, or notes that this has to be done at the end. `key` is the
/// row's; where it was another one before, `moved`. False when a parent is not there: that is an error when the statement
/// ends ([`require_late`]), but what is wrong with its other rows comes first.
///
/// # Errors
/// Waiting for a parent's lock may fail.
pub async fn require_parents(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    old: Option<&[Datum]>,
    new: &[Datum],
    (key, moved): (&[u8], bool),
) -> Result<bool> {
    let mut settled = true;
    for outgoing in &rules.outgoing {
        let waits = context.deferred.waits(outgoing.constraint.oid, outgoing.key.deferral());
        // Parents in the table itself may come with the same statement.
        if !waits && outgoing.key.table == rules.table.oid {
            continue;
        }
        let values = values_of(&rules.table, &outgoing.key.columns, new);
        // What was noted of the row by its former key is to be found by the new one.
        if !(waits && moved) && old.is_some_and(|old| values_of(&rules.table, &outgoing.key.columns, old) == values) {
            continue;
        }
        if old.is_some() && refers_to_nothing(outgoing, &values) {
            continue;
        }
        if waits {
            let key = Bytes::copy_from_slice(key);
            context.deferred.note_child(context.transaction, rules.table.oid, outgoing.constraint.oid, key)?;
            continue;
        }
        match require_parent(context, rules, outgoing, values, new).await {
            Err(error) if error.kind() == ErrorKind::ForeignKeyViolation => settled = false,
            found => found?,
        }
    }
    Ok(settled)
}

/// Whether a row with these values in the columns of a foreign key has no parent to look for, and nothing to complain of.
fn refers_to_nothing(outgoing: &Outgoing, values: &[Datum]) -> bool {
    match outgoing.key.match_full {
        true => values.iter().all(Datum::is_null),
        false => values.iter().any(Datum::is_null),
    }
}

/// The same for rows that the statement has written before their parents were all there, as they are now: for all of their
/// parents, or only for those in the table itself. What waits for the end was noted as they were written, unless a foreign key
/// did it (`cascaded`).
///
/// # Errors
/// 23503, and waiting for a parent's lock may fail.
pub async fn require_late(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    keys: Vec<Bytes>,
    all: bool,
    cascaded: bool,
) -> Result<()> {
    let mut done = HashSet::with_capacity(keys.len());
    for (at, key) in keys.into_iter().filter(|key| done.insert(key.clone())).enumerate() {
        if at % BREATHE_ROWS == BREATHE_ROWS - 1 {
            breathe(context.eval).await?;
        }
        // One that the statement took away again, or gave another key, needs nothing under this one.
        let Some(value) = stored(context.transaction.get(&key))? else { continue };
        let row = decode_row(&rules.table, &key, &value)?;
        for outgoing in rules.outgoing.iter().filter(|o| all || o.key.table == rules.table.oid) {
            let values = values_of(&rules.table, &outgoing.key.columns, &row);
            if context.deferred.waits(outgoing.constraint.oid, outgoing.key.deferral()) {
                if cascaded && !refers_to_nothing(outgoing, &values) {
                    let (table, constraint) = (rules.table.oid, outgoing.constraint.oid);
                    context.deferred.note_child(context.transaction, table, constraint, key.clone())?;
                }
                continue;
            }
            require_parent(context, rules, outgoing, values, &row).await?;
        }
    }
    Ok(())
}

/// Makes sure that the row with this key, if it is still there, has the parent that one constraint, by its OID, demands.
///
/// # Errors
/// As [`require_late`].
pub async fn require_parents_of(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    constraint: u32,
    key: &[u8],
) -> Result<()> {
    let Some(value) = stored(context.transaction.get(key))? else { return Ok(()) };
    let row = decode_row(&rules.table, key, &value)?;
    for outgoing in rules.outgoing.iter().filter(|o| o.constraint.oid == constraint) {
        let values = values_of(&rules.table, &outgoing.key.columns, &row);
        require_parent(context, rules, outgoing, values, &row).await?;
    }
    Ok(())
}

/// Makes sure that nobody refers to parents which are no longer there, for one constraint, by its OID. Of each parent, the
/// values of the referenced columns.
///
/// # Errors
/// 23503, and waiting for children's locks may fail.
pub async fn require_children_gone(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    constraint: u32,
    parents: Vec<Vec<Datum>>,
) -> Result<()> {
    for incoming in rules.incoming.iter().filter(|i| i.constraint.oid == constraint && !parents.is_empty()) {
        let child_rules = context.engine.table_rules(&incoming.child, &context.eval.catalog)?;
        // A row of which nothing is known but what is referred to.
        let row = |values: &[Datum]| {
            let mut old = vec![Datum::Null; rules.table.columns.len()];
            for (attnum, value) in incoming.key.referenced.iter().zip(values) {
                if let Some(at) = rules.table.column_index(*attnum) {
                    old[at] = value.clone();
                }
            }
            Departed { old, new: None }
        };
        let departed: Vec<Departed> = parents.iter().map(|values| row(values)).collect();
        let departures = departures(context, rules, incoming, &departed, true)?;
        if !departures.is_empty() {
            let round = Round { rules, incoming, child_rules: &child_rules, departures };
            round.refuse(context, true).await?;
        }
    }
    Ok(())
}

/// Checks one constraint, by its OID, when it is added to a table that has rows. Nobody else writes either table meanwhile.
///
/// # Errors
/// 23503.
pub fn validate_row(context: &StatementContext<'_>, rules: &TableRules, constraint: u32, row: &[Datum]) -> Result<()> {
    for outgoing in rules.outgoing.iter().filter(|o| o.constraint.oid == constraint) {
        let values = values_of(&rules.table, &outgoing.key.columns, row);
        if let Some(key) = key_of_parent(context, rules, outgoing, &values, row)?
            && stored(context.transaction.get(&key))?.is_none()
        {
            return Err(missing_parent(context, rules, outgoing, row));
        }
    }
    Ok(())
}

/// The key of the parent that a child with these values refers to, if it refers to any. 23503 where no parent can have them.
fn key_of_parent(
    context: &StatementContext<'_>,
    rules: &TableRules,
    outgoing: &Outgoing,
    values: &[Datum],
    row: &[Datum],
) -> Result<Option<Vec<u8>>> {
    // A NULL anywhere refers to nothing.
    if values.iter().any(Datum::is_null) {
        let mixed = outgoing.key.match_full && !values.iter().all(Datum::is_null);
        return if mixed { Err(violations::mixed_nulls(&rules.table, &outgoing.constraint)) } else { Ok(None) };
    }
    let Outgoing { key, parent, parent_index, .. } = outgoing;
    let casted = counterparts(context, (&rules.table, &key.columns), (parent, &key.referenced), values)?;
    let casted = casted.ok_or_else(|| missing_parent(context, rules, outgoing, row))?;
    parent_key(parent, *parent_index, &key.referenced, &casted).map(Some)
}

fn missing_parent(context: &StatementContext<'_>, rules: &TableRules, outgoing: &Outgoing, row: &[Datum]) -> Error {
    let Outgoing { constraint, key, parent, .. } = outgoing;
    violations::missing_parent(&rules.table, constraint, key, &parent.name, row, &context.eval.format)
}

async fn require_parent(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    outgoing: &Outgoing,
    values: Vec<Datum>,
    row: &[Datum],
) -> Result<()> {
    let Some(key) = key_of_parent(context, rules, outgoing, &values, row)? else { return Ok(()) };
    if !stored(context.transaction.hold_present(&key, context.wait).await)? {
        return Err(missing_parent(context, rules, outgoing, row));
    }
    context.transaction.check_exists(key.into());
    Ok(())
}

/// Values of one table's columns in the types of another's (an int4 column may refer to an int8 one).
fn convert(
    from_columns: &[i16],
    from: &Table,
    to_columns: &[i16],
    to: &Table,
    values: Vec<Datum>,
    context: &StatementContext<'_>,
) -> Result<Vec<Datum>> {
    let mut converted = Vec::with_capacity(values.len());
    for (at, value) in values.into_iter().enumerate() {
        let (source, target) = (column_type(from, from_columns[at])?, column_type(to, to_columns[at])?);
        converted.push(if source.ty == target.ty {
            value
        } else {
            stratos_types::cast(&value, source.ty, target.ty.into(), false, &context.eval.format)?
        });
    }
    Ok(converted)
}

/// A parent row that went away or whose key changed.
#[derive(Debug)]
pub struct Departed {
    /// The row as it was.
    pub old: Vec<Datum>,
    /// The row as it is now; none when deleted.
    pub new: Option<Vec<Datum>>,
}

/// Carries out what foreign keys of other tables demand after rows of `rules`' table were deleted or changed. Called when
/// the statement's own rows are all done, so that NO ACTION sees its final state.
///
/// # Errors
/// 23503, 54001 for endless cascades, and the store's errors.
pub async fn after_departure(
    context: &mut StatementContext<'_>,
    rules: &Arc<TableRules>,
    departed: Vec<Departed>,
) -> Result<()> {
    let mut queue: VecDeque<(Arc<TableRules>, Vec<Departed>, usize)> = VecDeque::from([(rules.clone(), departed, 0)]);
    // Rows that got another parent, which may be on its way to where it will be.
    let mut moved: Vec<(Arc<TableRules>, Vec<Bytes>)> = Vec::new();
    while let Some((rules, departed, depth)) = queue.pop_front() {
        if depth > CASCADE_DEPTH_MAX {
            return Err(Error::new(ErrorKind::StatementTooComplex, "foreign keys cascade too deeply"));
        }
        for incoming in &rules.incoming {
            let child_rules = context.engine.table_rules(&incoming.child, &context.eval.catalog)?;
            let mut next = Vec::new();
            for by_deletion in [true, false] {
                let departures = departures(context, &rules, incoming, &departed, by_deletion)?;
                if departures.is_empty() {
                    continue;
                }
                let key = &incoming.key;
                let action = if by_deletion { key.on_delete } else { key.on_update };
                if action == ReferentialAction::NoAction
                    && context.deferred.waits(incoming.constraint.oid, key.deferral())
                {
                    for Departure { old, .. } in departures {
                        let (table, constraint) = (rules.table.oid, incoming.constraint.oid);
                        context.deferred.note_parent(context.transaction, table, constraint, old)?;
                    }
                    continue;
                }
                let round = Round { rules: &rules, incoming, child_rules: &child_rules, departures };
                match action {
                    ReferentialAction::NoAction => {
                        round.refuse(context, true).await?;
                        continue;
                    }
                    ReferentialAction::Restrict => {
                        round.refuse(context, false).await?;
                        continue;
                    }
                    ReferentialAction::Cascade | ReferentialAction::SetNull | ReferentialAction::SetDefault => {}
                }
                moved.push((child_rules.clone(), round.carry(context, action, &mut next).await?));
            }
            if !next.is_empty() {
                queue.push_back((child_rules, next, depth + 1));
            }
        }
    }
    for (rules, keys) in moved {
        deferred_keys::require_unique_late(context, &rules, &keys).await?;
        require_late(context, &rules, keys, true, true).await?;
    }
    Ok(())
}

/// A parent's row that is no longer there under its key, as its children see it.
struct Departure<'a> {
    row: &'a Departed,
    /// The referenced columns as they were.
    old: Vec<Datum>,
    /// The same in the child's types.
    wanted: Vec<Datum>,
    /// The referenced columns as they are now.
    new: Option<Vec<Datum>>,
}

/// Whether values are equal and print the same: children are to have what their parent has, 1.00 or 1.000.
fn looks_same(old: &[Datum], new: &[Datum]) -> bool {
    let scales_agree = |(old, new): (&Datum, &Datum)| match (old, new) {
        (Datum::Numeric(old), Datum::Numeric(new)) => old.scale() == new.scale(),
        _ => true,
    };
    old == new && old.iter().zip(new).all(scales_agree)
}

/// Those of the rows, deleted or changed, that a child could refer to.
fn departures<'a>(
    context: &StatementContext<'_>,
    rules: &TableRules,
    incoming: &Incoming,
    departed: &'a [Departed],
    by_deletion: bool,
) -> Result<Vec<Departure<'a>>> {
    let Incoming { key, child, .. } = incoming;
    let mut found = Vec::new();
    for row in departed.iter().filter(|row| row.new.is_none() == by_deletion) {
        let old = values_of(&rules.table, &key.referenced, &row.old);
        if old.iter().any(Datum::is_null) {
            continue;
        }
        let new = row.new.as_ref().map(|new| values_of(&rules.table, &key.referenced, new));
        if new.as_ref().is_some_and(|new| looks_same(&old, new)) {
            continue;
        }
        if let Some(wanted) = counterparts(context, (&rules.table, &key.referenced), (child, &key.columns), &old)? {
            found.push(Departure { row, old, wanted, new });
        }
    }
    Ok(found)
}

/// Values of one side of a foreign key as the other side has them; `None` when there are no equal values of its types.
fn counterparts(
    context: &StatementContext<'_>,
    (from, from_columns): (&Table, &[i16]),
    (to, to_columns): (&Table, &[i16]),
    values: &[Datum],
) -> Result<Option<Vec<Datum>>> {
    let mut same_types = true;
    for (one, other) in from_columns.iter().zip(to_columns) {
        same_types &= column_type(from, *one)?.ty == column_type(to, *other)?.ty;
    }
    if same_types {
        return Ok(Some(values.to_vec()));
    }
    // The catalog's faults are no answer about values; what is left is that a value does not fit.
    let Ok(wanted) = convert(from_columns, from, to_columns, to, values.to_vec(), context) else {
        return Ok(None);
    };
    let Ok(back) = convert(to_columns, to, from_columns, from, wanted.clone(), context) else {
        return Ok(None);
    };
    let same = comparable(from, from_columns, &back)? == comparable(from, from_columns, values)?;
    Ok(same.then_some(wanted))
}

/// Rows of a parent that departed together, and a foreign key that leads to their children.
struct Round<'a> {
    rules: &'a TableRules,
    incoming: &'a Incoming,
    child_rules: &'a TableRules,
    departures: Vec<Departure<'a>>,
}

/// What was found of the children of a round.
struct Children {
    /// For each departure, the keys of the children's rows.
    keys: Vec<Vec<Bytes>>,
    /// Where they were looked for.
    spans: Vec<Span>,
    /// And as of when.
    at: Timestamp,
}

impl Round<'_> {
    fn refers(&self, row: &[Datum], departure: &Departure<'_>) -> Result<bool> {
        let Incoming { key, child, .. } = self.incoming;
        let values = values_of(child, &key.columns, row);
        if values.iter().any(Datum::is_null) {
            return Ok(false);
        }
        Ok(comparable(child, &key.columns, &values)? == comparable(child, &key.columns, &departure.wanted)?)
    }

    /// Looks for the children among all that is committed, whatever the transaction's snapshot.
    fn search(&self, context: &mut StatementContext<'_>) -> Result<Children> {
        let view = context.transaction.newest_view();
        match self.incoming.child_index {
            Some(index) => self.search_index(context, &view, index),
            None => self.search_table(context, &view),
        }
    }

    fn search_index(&self, context: &StatementContext<'_>, view: &ReadView, position: usize) -> Result<Children> {
        let Incoming { key, child, .. } = self.incoming;
        let index = &child.indexes[position];
        let mut children = Children { keys: Vec::new(), spans: Vec::new(), at: view.timestamp() };
        for departure in &self.departures {
            let mut prefix = index_prefix(child, index).to_vec();
            for column in &index.columns[..key.columns.len()] {
                let at = key.columns.iter().position(|a| *a == column.attnum);
                let value = &departure.wanted[at.ok_or_else(|| Error::internal("index changed"))?];
                let ty = column_type(child, column.attnum)?;
                stratos_types::key::encode_column(&mut prefix, ty.ty, value, column.descending, column.nulls_first);
            }
            let span = Span::prefix(&prefix);
            let mut found = Vec::new();
            scan(view, span.clone(), context.eval, |key, value| {
                // The rows themselves are the entries of the primary index.
                found.push(match position {
                    0 => Bytes::copy_from_slice(key),
                    _ => row_key_of_entry(child, index, key, value)?.into(),
                });
                Ok(true)
            })?;
            children.keys.push(found);
            children.spans.push(span);
        }
        Ok(children)
    }

    /// One look at the whole table tells of all departures.
    fn search_table(&self, context: &StatementContext<'_>, view: &ReadView) -> Result<Children> {
        let Incoming { key, child, .. } = self.incoming;
        let mut wanted: HashMap<Vec<u8>, usize> = HashMap::with_capacity(self.departures.len());
        for (at, departure) in self.departures.iter().enumerate() {
            wanted.entry(comparable(child, &key.columns, &departure.wanted)?).or_insert(at);
        }
        let mut keys = vec![Vec::new(); self.departures.len()];
        let span = index_span(child, child.primary_index());
        scan(view, span.clone(), context.eval, |row_key, value| {
            let values = values_of(child, &key.columns, &decode_row(child, row_key, value)?);
            if !values.iter().any(Datum::is_null)
                && let Some(at) = wanted.get(&comparable(child, &key.columns, &values)?)
            {
                keys[*at].push(Bytes::copy_from_slice(row_key));
            }
            Ok(true)
        })?;
        Ok(Children { keys, spans: vec![span], at: view.timestamp() })
    }

    /// NO ACTION and RESTRICT: an error if there is a child. `content` where another row that took a key over will do.
    async fn refuse(&self, context: &mut StatementContext<'_>, content: bool) -> Result<()> {
        let writer = TableWriter::new(self.child_rules);
        for _ in 0..SEARCHES_MAX {
            let children = self.search(context)?;
            let mut changed = false;
            for (departure, keys) in self.departures.iter().zip(&children.keys) {
                if keys.is_empty() || (content && self.key_still_exists(context, &departure.old)?) {
                    continue;
                }
                for (at, key) in keys.iter().enumerate() {
                    if at % BREATHE_ROWS == BREATHE_ROWS - 1 {
                        breathe(context.eval).await?;
                    }
                    // Somebody may be about to take it away, which decides.
                    let child = match writer.lock(context, key, LockMode::KeyShare).await {
                        Err(error) if error.kind() == ErrorKind::SerializationFailure => {
                            // It came after the one snapshot of the transaction, or is gone since.
                            let value = stored(context.transaction.newest_view().get(key))?;
                            let row = value.map(|value| decode_row(&self.incoming.child, key, &value)).transpose()?;
                            if !row.is_some_and(|row| self.refers(&row, departure).unwrap_or(false)) {
                                return Err(error);
                            }
                            return Err(self.still_referenced(context, departure));
                        }
                        locked => locked?,
                    };
                    if child.row.map(|row| self.refers(&row, departure)).transpose()? == Some(true) {
                        return Err(self.still_referenced(context, departure));
                    }
                    changed |= child.version > children.at;
                }
            }
            if !changed {
                self.rely_on(context, children);
                return Ok(());
            }
        }
        Err(kept_changing())
    }

    /// CASCADE, SET NULL and SET DEFAULT: deletes or changes the children, and gives the keys of those that changed.
    async fn carry(
        &self,
        context: &mut StatementContext<'_>,
        action: ReferentialAction,
        next: &mut Vec<Departed>,
    ) -> Result<Vec<Bytes>> {
        let Incoming { key, child, .. } = self.incoming;
        let rows = self.lock_children(context, action).await?;
        let mut writer = TableWriter::cascading(self.child_rules);
        for (departure, rows) in self.departures.iter().zip(rows) {
            let replacement = match (action, &departure.new) {
                (ReferentialAction::SetDefault, _) => Some(self.defaults(context)?),
                (ReferentialAction::Cascade, None) => None,
                (ReferentialAction::Cascade, Some(new)) => {
                    Some(convert(&key.referenced, &self.rules.table, &key.columns, child, new.clone(), context)?)
                }
                _ => Some(vec![Datum::Null; key.columns.len()]),
            };
            for (at, row) in rows.into_iter().enumerate() {
                if at % BREATHE_ROWS == BREATHE_ROWS - 1 {
                    breathe(context.eval).await?;
                }
                let Some(values) = &replacement else {
                    writer.delete(context, &row).await?;
                    next.push(Departed { old: row.values, new: None });
                    continue;
                };
                let mut changed = row.values.clone();
                for (attnum, value) in key.columns.iter().zip(values) {
                    if let Some(at) = child.column_index(*attnum) {
                        changed[at] = value.clone();
                    }
                }
                writer.update(context, &row, &changed).await?;
                next.push(Departed { old: row.values, new: Some(changed) });
            }
        }
        Ok(writer.into_unsettled())
    }

    /// The defaults of the children's columns.
    fn defaults(&self, context: &StatementContext<'_>) -> Result<Vec<Datum>> {
        let Incoming { key, child, .. } = self.incoming;
        let binder = ScalarBinder::new(BindContext::for_rules(&context.eval.catalog), context.eval.clone());
        let mut values = Vec::with_capacity(key.columns.len());
        for attnum in &key.columns {
            let at = child.column_index(*attnum).ok_or_else(|| Error::internal("column is gone"))?;
            values.push(match binder.column_default(child, &child.columns[at])? {
                Some(default) => Program::compile(&default, &Layout::default())?.run(&[], &[], context.eval)?,
                None => Datum::Null,
            });
        }
        Ok(values)
    }

    /// The children of each departure, locked for what the action does to them.
    async fn lock_children(
        &self,
        context: &mut StatementContext<'_>,
        action: ReferentialAction,
    ) -> Result<Vec<Vec<StoredRow>>> {
        let writer = TableWriter::new(self.child_rules);
        for _ in 0..SEARCHES_MAX {
            let children = self.search(context)?;
            let mut changed = false;
            let mut all = Vec::with_capacity(children.keys.len());
            for (departure, keys) in self.departures.iter().zip(&children.keys) {
                let mut rows = Vec::with_capacity(keys.len());
                // Whoever refers to a child that only changes need not wait, unless its own key does.
                let mode = match (action, &departure.new) {
                    (ReferentialAction::Cascade, None) => LockMode::Update,
                    _ => LockMode::NoKeyUpdate,
                };
                for (at, key) in keys.iter().enumerate() {
                    if at % BREATHE_ROWS == BREATHE_ROWS - 1 {
                        breathe(context.eval).await?;
                    }
                    let child = writer.lock(context, key, mode).await?;
                    changed |= child.version > children.at;
                    if let Some(values) = child.row
                        && self.refers(&values, departure)?
                    {
                        rows.push(StoredRow { key: key.clone(), values });
                    }
                }
                all.push(rows);
            }
            if !changed {
                self.rely_on(context, children);
                return Ok(all);
            }
        }
        Err(kept_changing())
    }

    /// Has the commit check that there are no other children than those that were found.
    fn rely_on(&self, context: &mut StatementContext<'_>, children: Children) {
        for span in children.spans {
            context.transaction.check_unchanged_since(span, children.at);
        }
    }

    fn key_still_exists(&self, context: &StatementContext<'_>, values: &[Datum]) -> Result<bool> {
        let ForeignKey { index, referenced, .. } = &self.incoming.key;
        let table = &self.rules.table;
        let position = table.indexes.iter().position(|i| i.oid == *index);
        let position = position.ok_or_else(|| Error::internal("referenced index is gone"))?;
        let key = parent_key(table, position, referenced, values)?;
        Ok(stored(context.transaction.get(&key))?.is_some())
    }

    fn still_referenced(&self, context: &StatementContext<'_>, departure: &Departure<'_>) -> Error {
        let Incoming { constraint, key, child, .. } = self.incoming;
        let row = &departure.row.old;
        violations::still_referenced(&self.rules.table, child, constraint, key, row, &context.eval.format)
    }
}

fn kept_changing() -> Error {
    Error::new(ErrorKind::SerializationFailure, "rows that refer to the row kept changing while they were being locked")
}
