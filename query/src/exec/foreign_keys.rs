//! Foreign keys: a child must have its parent, a parent's children are kept, deleted or set to NULL.
//!
//! While a transaction has written a child, it holds the parent's row locked (KEY SHARE) and has the commit check that the
//! parent is still there; while it deletes a parent, it holds the row locked (UPDATE) and, where an index leads to the
//! children, has the commit check that none came. So the result is right even if the locks, which live in memory, are lost.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use stratos_replication::{LockMode, LockOutcome, Span};
use stratos_types::{Datum, Error, Result};

use super::rules::{Incoming, Outgoing, TableRules};
use super::write::TableWriter;
use super::{StatementContext, scan, stored, violations};
use crate::catalog::{ForeignKey, ReferentialAction, Table};
use crate::rows::{INDEX_PREFIX_BYTES, StoredRow, decode_row, index_prefix, index_span, row_key_of_entry};

/// How deep cascades may follow one another, and how many steps one statement may queue.
const CASCADE_DEPTH_MAX: usize = 1000;

fn values_of(table: &Table, attnums: &[i16], row: &[Datum]) -> Vec<Datum> {
    attnums.iter().filter_map(|a| table.column_index(*a)).map(|at| row[at].clone()).collect()
}

/// The key in the parent's referenced index that a child's values point at.
fn parent_key(outgoing: &Outgoing, values: &[Datum]) -> Result<Vec<u8>> {
    let parent = &outgoing.parent;
    let index = &parent.indexes[outgoing.parent_index];
    let mut key = Vec::with_capacity(INDEX_PREFIX_BYTES + 16);
    key.extend_from_slice(&index_prefix(parent, index));
    for column in &index.columns {
        let at = outgoing
            .key
            .referenced
            .iter()
            .position(|attnum| *attnum == column.attnum)
            .ok_or_else(|| Error::internal("foreign key and its index disagree"))?;
        let ty =
            parent.columns[parent.column_index(column.attnum).ok_or_else(|| Error::internal("column is gone"))?].ty;
        stratos_types::key::encode_column(&mut key, ty.ty, &values[at], column.descending, column.nulls_first);
    }
    Ok(key)
}

/// Makes sure that every parent of a new row exists and stays.
///
/// # Errors
/// 23503, and waiting for a parent's lock may fail.
pub async fn require_parents(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    old: Option<&[Datum]>,
    new: &[Datum],
) -> Result<()> {
    for outgoing in rules.outgoing.iter().filter(|o| o.key.table != rules.table.oid) {
        let values = values_of(&rules.table, &outgoing.key.columns, new);
        if old.is_some_and(|old| values_of(&rules.table, &outgoing.key.columns, old) == values) {
            continue;
        }
        require_parent(context, rules, outgoing, values, new).await?;
    }
    Ok(())
}

/// The same for foreign keys of the table to itself, once the statement has written all its rows.
///
/// # Errors
/// As [`require_parents`].
pub async fn require_own_parents(context: &mut StatementContext<'_>, rules: &TableRules, row: &[Datum]) -> Result<()> {
    for outgoing in rules.outgoing.iter().filter(|o| o.key.table == rules.table.oid) {
        let values = values_of(&rules.table, &outgoing.key.columns, row);
        require_parent(context, rules, outgoing, values, row).await?;
    }
    Ok(())
}

/// The same for one constraint, by its OID, when it is added to a table that has rows.
///
/// # Errors
/// As [`require_parents`].
pub async fn require_parents_of(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    constraint: u32,
    row: &[Datum],
) -> Result<()> {
    for outgoing in rules.outgoing.iter().filter(|o| o.constraint.oid == constraint) {
        let values = values_of(&rules.table, &outgoing.key.columns, row);
        require_parent(context, rules, outgoing, values, row).await?;
    }
    Ok(())
}

async fn require_parent(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    outgoing: &Outgoing,
    values: Vec<Datum>,
    row: &[Datum],
) -> Result<()> {
    // MATCH SIMPLE: a NULL anywhere refers to nothing.
    if values.iter().any(Datum::is_null) {
        return Ok(());
    }
    {
        let casted = cast_to_parent(outgoing, &rules.table, values, context)?;
        let key = parent_key(outgoing, &casted)?;
        let outcome = stored(context.transaction.lock(&key, LockMode::KeyShare, context.wait).await)?;
        if !matches!(outcome, LockOutcome::Granted { current: Some(_), .. }) {
            return Err(violations::missing_parent(
                &rules.table,
                &outgoing.constraint,
                &outgoing.key,
                &outgoing.parent.name,
                row,
                &context.eval.format,
            ));
        }
        context.transaction.check_exists(key.into());
    }
    Ok(())
}

/// Child values in the parent's column types (an int4 column may refer to an int8 one).
fn cast_to_parent(
    outgoing: &Outgoing,
    child: &Table,
    values: Vec<Datum>,
    context: &StatementContext<'_>,
) -> Result<Vec<Datum>> {
    convert(&outgoing.key.columns, child, &outgoing.key.referenced, &outgoing.parent, values, context)
}

fn convert(
    from_columns: &[i16],
    from: &Table,
    to_columns: &[i16],
    to: &Table,
    values: Vec<Datum>,
    context: &StatementContext<'_>,
) -> Result<Vec<Datum>> {
    let type_of = |table: &Table, attnum: i16| {
        table.column_index(attnum).map(|at| table.columns[at].ty).ok_or_else(|| Error::internal("column is gone"))
    };
    let mut converted = Vec::with_capacity(values.len());
    for (at, value) in values.into_iter().enumerate() {
        let (source, target) = (type_of(from, from_columns[at])?, type_of(to, to_columns[at])?);
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
    while let Some((rules, departed, depth)) = queue.pop_front() {
        if depth > CASCADE_DEPTH_MAX {
            return Err(Error::new(stratos_types::ErrorKind::StatementTooComplex, "foreign keys cascade too deeply"));
        }
        for incoming in &rules.incoming {
            let child_rules = context.engine.table_rules(&incoming.child, &context.eval.catalog)?;
            let mut next = Vec::new();
            for row in &departed {
                follow(context, &rules, incoming, &child_rules, row, &mut next).await?;
            }
            if !next.is_empty() {
                queue.push_back((child_rules, next, depth + 1));
            }
        }
    }
    Ok(())
}

async fn follow(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    incoming: &Incoming,
    child_rules: &TableRules,
    row: &Departed,
    next: &mut Vec<Departed>,
) -> Result<()> {
    let key = &incoming.key;
    let old = values_of(&rules.table, &key.referenced, &row.old);
    if old.iter().any(Datum::is_null) {
        return Ok(());
    }
    let new = row.new.as_ref().map(|new| values_of(&rules.table, &key.referenced, new));
    if new.as_ref() == Some(&old) {
        return Ok(());
    }
    let action = if new.is_some() { key.on_update } else { key.on_delete };
    let child = &incoming.child;
    let wanted = convert(&key.referenced, &rules.table, &key.columns, child, old.clone(), context)?;
    let children = find_children(context, incoming, &wanted)?;
    if children.is_empty() {
        return Ok(());
    }
    if matches!(action, ReferentialAction::NoAction | ReferentialAction::Restrict) {
        // NO ACTION is content when another row took the key over within the statement.
        if action == ReferentialAction::NoAction && key_still_exists(context, rules, key, &old)? {
            return Ok(());
        }
        return Err(violations::still_referenced(
            &rules.table,
            child,
            &incoming.constraint,
            key,
            &row.old,
            &context.eval.format,
        ));
    }
    let mut writer = TableWriter::new(child_rules);
    for child_key in children {
        let mode = LockMode::Update;
        let Some((current, _)) = writer.lock(context, &child_key, mode).await? else { continue };
        if values_of(child, &key.columns, &current) != wanted {
            continue;
        }
        let stored_row = StoredRow { key: child_key, values: current };
        let replacement = match (action, &new) {
            (ReferentialAction::Cascade, None) => None,
            (ReferentialAction::Cascade, Some(new)) => {
                Some(convert(&key.referenced, &rules.table, &key.columns, child, new.clone(), context)?)
            }
            _ => Some(vec![Datum::Null; key.columns.len()]),
        };
        match replacement {
            None => {
                writer.delete(context, &stored_row)?;
                next.push(Departed { old: stored_row.values, new: None });
            }
            Some(values) => {
                let mut changed = stored_row.values.clone();
                for (attnum, value) in key.columns.iter().zip(values) {
                    if let Some(at) = child.column_index(*attnum) {
                        changed[at] = value;
                    }
                }
                writer.update(context, &stored_row, &changed).await?;
                next.push(Departed { old: stored_row.values, new: Some(changed) });
            }
        }
    }
    Ok(())
}

fn key_still_exists(
    context: &StatementContext<'_>,
    rules: &TableRules,
    key: &ForeignKey,
    values: &[Datum],
) -> Result<bool> {
    let parent_index = rules
        .table
        .indexes
        .iter()
        .position(|index| index.oid == key.index)
        .ok_or_else(|| Error::internal("referenced index is gone"))?;
    let outgoing = Outgoing {
        constraint: crate::catalog::Constraint {
            oid: 0,
            name: String::new(),
            kind: crate::catalog::ConstraintKind::ForeignKey(key.clone()),
        },
        key: key.clone(),
        parent: rules.table.clone(),
        parent_index,
    };
    Ok(stored(context.transaction.get(&parent_key(&outgoing, values)?))?.is_some())
}

/// Keys of the child's rows that refer to these values, as the transaction sees them now.
fn find_children(context: &mut StatementContext<'_>, incoming: &Incoming, wanted: &[Datum]) -> Result<Vec<Bytes>> {
    let child = &incoming.child;
    let attnums = &incoming.key.columns;
    let mut found = Vec::new();
    let view = context.transaction.current_view();
    let Some(position) = incoming.child_index else {
        scan(&view, index_span(child, child.primary_index()), context.eval, |key, value| {
            if values_of(child, attnums, &decode_row(child, key, value)?) == wanted {
                found.push(Bytes::copy_from_slice(key));
            }
            Ok(true)
        })?;
        return Ok(found);
    };
    let index = &child.indexes[position];
    let mut prefix = index_prefix(child, index).to_vec();
    for column in &index.columns[..attnums.len()] {
        let at = attnums.iter().position(|a| *a == column.attnum).ok_or_else(|| Error::internal("index changed"))?;
        let ty = child.columns[child.column_index(column.attnum).ok_or_else(|| Error::internal("column is gone"))?].ty;
        stratos_types::key::encode_column(&mut prefix, ty.ty, &wanted[at], column.descending, column.nulls_first);
    }
    let span = Span::prefix(&prefix);
    context.transaction.check_unchanged(span.clone());
    scan(&view, span, context.eval, |key, value| {
        // The rows themselves are the entries of the primary index.
        found.push(match position {
            0 => Bytes::copy_from_slice(key),
            _ => row_key_of_entry(child, index, key, value)?.into(),
        });
        Ok(true)
    })?;
    Ok(found)
}
