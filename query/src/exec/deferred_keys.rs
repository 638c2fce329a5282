//! `UNIQUE … DEFERRABLE`: a row may be equal to another one until the statement ends, or the transaction.
//!
//! The index of such a constraint is as one that is not unique. Who has written a row looks whether there is an equal one among
//! all that is committed by then and its own writes, with the columns' values locked, so that others who want them wait; the
//! commit checks that nothing came where it looked, so that the result is right even if the locks are lost.

use std::collections::HashSet;

use bytes::Bytes;
use stratos_replication::{LockMode, Span};
use stratos_types::{Datum, Error, Result};

use super::rules::TableRules;
use super::{StatementContext, breathe, scan, stored};
use crate::catalog::{ConstraintKind, Index, Table};
use crate::rows::{decode_row, index_columns_prefix, index_span, row_key_of_entry};

/// From this many rows of a statement on, the commit checks the whole index, and their values are not locked.
const ROWS_ONE_BY_ONE: usize = 10_000;
/// Rows between two looks at the cancel switch.
const BREATHE_ROWS: usize = 64;

/// Whether a change of a row is one of a deferrable key.
///
/// # Errors
/// Only if the descriptor contradicts itself.
pub fn change(rules: &TableRules, old: &[Datum], new: &[Datum]) -> Result<bool> {
    for index in rules.deferrable_keys() {
        if index_columns_prefix(&rules.table, index, old)? != index_columns_prefix(&rules.table, index, new)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The constraint of an index.
fn constraint_of(table: &Table, index: &Index) -> Result<u32> {
    let found = table
        .constraints
        .iter()
        .find(|c| matches!(c.kind, ConstraintKind::Unique { index: enforced_by, .. } if enforced_by == index.oid));
    found.map(|c| c.oid).ok_or_else(|| Error::internal("a deferrable index without its constraint"))
}

/// The statement's rows are all written: those with these keys, as they are now, must have no equals in the deferrable keys; where
/// a constraint waits, that is noted.
///
/// # Errors
/// 23505, and waiting for a lock may fail.
pub async fn require_unique_late(context: &mut StatementContext<'_>, rules: &TableRules, keys: &[Bytes]) -> Result<()> {
    for index in rules.deferrable_keys() {
        let constraint = constraint_of(&rules.table, index)?;
        let waits = context.deferred.waits(constraint, index.deferrable);
        let many = keys.len() >= ROWS_ONE_BY_ONE;
        if many && !waits {
            let at = context.transaction.newest_view().timestamp();
            context.transaction.check_unchanged_since(index_span(&rules.table, index), at);
        }
        let mut done = HashSet::with_capacity(keys.len());
        for (at, key) in keys.iter().filter(|key| done.insert((*key).clone())).enumerate() {
            if at % BREATHE_ROWS == BREATHE_ROWS - 1 {
                breathe(context.eval).await?;
            }
            if waits {
                context.deferred.note_child(context.transaction, rules.table.oid, constraint, key.clone())?;
            } else {
                require_unique(context, rules, index, key, many).await?;
            }
        }
    }
    Ok(())
}

/// The row with this key, if it is still there, must have no equal in an index. `covered`: the commit checks the whole of it.
///
/// # Errors
/// 23505, and waiting for a lock may fail.
pub async fn require_unique(
    context: &mut StatementContext<'_>,
    rules: &TableRules,
    index: &Index,
    key: &[u8],
    covered: bool,
) -> Result<()> {
    let table = &rules.table;
    let Some(value) = stored(context.transaction.get(key))? else { return Ok(()) };
    let row = decode_row(table, key, &value)?;
    let Some(columns) = index_columns_prefix(table, index, &row)? else { return Ok(()) };
    if !covered {
        stored(context.transaction.lock_object(&columns, LockMode::Update, context.wait).await)?;
    }
    let view = context.transaction.newest_view();
    let span = Span::prefix(&columns);
    let mut equal = false;
    scan(&view, span.clone(), context.eval, |entry, value| {
        equal = row_key_of_entry(table, index, entry, value)? != key;
        Ok(!equal)
    })?;
    if equal {
        return Err(rules.unique_violation(index, &row, &context.eval.format));
    }
    let at = view.timestamp();
    if !covered {
        context.transaction.check_unchanged_since(span, at);
    }
    Ok(())
}
