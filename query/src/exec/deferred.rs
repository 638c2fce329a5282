//! Deferrable constraints: what a transaction has still to check, and when.
//!
//! A check that waits is remembered as the key of a child's row, or of one that must be unique, or as the values that children had of a parent which departed. It is carried
//! out at COMMIT, at the end of an implicit transaction, or by SET CONSTRAINTS … IMMEDIATE, against the rows as they are then,
//! and with the same locks and promises to the commit as one that is made at once (see [`super::foreign_keys`]): a row that has
//! gone or was corrected since needs nothing. Only NO ACTION waits; what foreign keys do to rows, and RESTRICT, never does.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use stratos_replication::Transaction;
use stratos_types::{Datum, Result};

use super::deferred_keys::require_unique;
use super::foreign_keys::{require_children_gone, require_parents_of};
use super::{StatementContext, breathe, stored};

/// Memory of a check beside the key or values that it is about, bytes.
const CHECK_OVERHEAD_BYTES: usize = 64;
/// Checks between two looks at the cancel switch.
const BREATHE_CHECKS: usize = 64;

/// What is to be looked at.
#[derive(Debug, Clone)]
enum Subject {
    /// The row with this key must have its parent, or no equal.
    Child(Bytes),
    /// Nobody may have these values of a parent's referenced columns, unless there is a parent again.
    Parent(Vec<Datum>),
}

#[derive(Debug)]
struct Check {
    /// The table whose row was changed.
    table: u32,
    constraint: u32,
    subject: Subject,
    /// The round in which it was found to hold.
    held: Option<u64>,
    bytes: usize,
}

/// What SET CONSTRAINTS has said.
#[derive(Debug, Clone, Default)]
struct Modes {
    /// Of all deferrable constraints.
    all: Option<bool>,
    /// Of single ones, since then.
    each: HashMap<u32, bool>,
}

/// Where a savepoint or a statement goes back to.
#[derive(Debug, Clone)]
pub struct Mark {
    checks: usize,
    rounds: u64,
    modes: Modes,
}

/// The checks of one transaction that wait.
#[derive(Debug, Default)]
pub struct Deferred {
    checks: Vec<Check>,
    /// How often checks were carried out.
    rounds: u64,
    modes: Modes,
}

impl Deferred {
    /// Whether the checks of a constraint, by its OID, wait now. `deferral`: whether they do by themselves, where they may.
    pub fn waits(&self, constraint: u32, deferral: Option<bool>) -> bool {
        deferral.is_some_and(|initially| self.is_deferred(constraint, initially))
    }

    fn is_deferred(&self, constraint: u32, initially: bool) -> bool {
        let said = self.modes.each.get(&constraint).copied();
        said.or(self.modes.all).unwrap_or(initially)
    }

    /// Remembers that a row of a table has to have its parent, or to be unique.
    ///
    /// # Errors
    /// The transaction is too large.
    pub fn note_child(&mut self, transaction: &mut Transaction, table: u32, constraint: u32, key: Bytes) -> Result<()> {
        let bytes = key.len();
        self.note(transaction, table, constraint, Subject::Child(key), bytes)
    }

    /// Remembers that a table has lost a row with these values in the columns that a constraint refers to.
    ///
    /// # Errors
    /// The transaction is too large.
    pub fn note_parent(
        &mut self,
        transaction: &mut Transaction,
        table: u32,
        constraint: u32,
        values: Vec<Datum>,
    ) -> Result<()> {
        let bytes = values.iter().map(Datum::size_bytes).sum();
        self.note(transaction, table, constraint, Subject::Parent(values), bytes)
    }

    fn note(
        &mut self,
        transaction: &mut Transaction,
        table: u32,
        constraint: u32,
        subject: Subject,
        bytes: usize,
    ) -> Result<()> {
        let bytes = bytes + CHECK_OVERHEAD_BYTES;
        stored(transaction.charge(bytes))?;
        self.checks.push(Check { table, constraint, subject, held: None, bytes });
        Ok(())
    }

    /// Whether something of a table's rows, by its OID, has still to be checked.
    pub fn awaits(&self, table: u32) -> bool {
        self.checks.iter().any(|check| check.table == table && check.held.is_none())
    }

    /// Now.
    pub fn mark(&self) -> Mark {
        Mark { checks: self.checks.len(), rounds: self.rounds, modes: self.modes.clone() }
    }

    /// Forgets what came since the mark: checks that were found to hold since then wait again.
    pub fn undo_to(&mut self, mark: &Mark, transaction: &mut Transaction) {
        let undone = self.checks.drain(mark.checks.min(self.checks.len())..);
        transaction.discharge(undone.map(|check| check.bytes).sum());
        if self.rounds > mark.rounds {
            for check in &mut self.checks {
                check.held = check.held.filter(|round| *round <= mark.rounds);
            }
        }
        self.modes.clone_from(&mark.modes);
    }

    /// SET CONSTRAINTS of these constraints, by OID, or of all of them.
    pub fn set(&mut self, constraints: Option<&[u32]>, deferred: bool) {
        match constraints {
            None => self.modes = Modes { all: Some(deferred), each: HashMap::new() },
            Some(constraints) => self.modes.each.extend(constraints.iter().map(|oid| (*oid, deferred))),
        }
    }

    /// Whether any check waits.
    pub fn is_empty(&self) -> bool {
        self.checks.iter().all(|check| check.held.is_some())
    }
}

/// What one constraint asks of rows of one table.
struct Due {
    table: u32,
    constraint: u32,
    children: Vec<Bytes>,
    parents: Vec<Vec<Datum>>,
    /// Positions of the checks.
    checks: Vec<usize>,
}

/// The checks that are due, by constraint, in the order in which they came up.
fn due(context: &StatementContext<'_>, all: bool) -> Vec<Due> {
    let catalog = &context.eval.catalog;
    let keys: HashMap<u32, bool> = match all {
        true => HashMap::new(),
        false => catalog
            .tables
            .values()
            .flat_map(|table| {
                let references = table.foreign_keys().map(|(constraint, key)| (constraint.oid, key.initially_deferred));
                let keys = table.constraints.iter().filter_map(|c| Some((c.oid, table.deferrable_key(c.oid)?.1)));
                references.chain(keys)
            })
            .collect(),
    };
    let mut found: Vec<Due> = Vec::new();
    let mut places: HashMap<(u32, u32), usize> = HashMap::new();
    for (at, check) in context.deferred.checks.iter().enumerate().filter(|(_, check)| check.held.is_none()) {
        let (table, constraint) = (check.table, check.constraint);
        if !all && context.deferred.is_deferred(constraint, keys.get(&constraint).copied().unwrap_or(false)) {
            continue;
        }
        let place = *places.entry((table, constraint)).or_insert(found.len());
        if place == found.len() {
            let (children, parents, checks) = Default::default();
            found.push(Due { table, constraint, children, parents, checks });
        }
        let due = &mut found[place];
        due.checks.push(at);
        match &check.subject {
            Subject::Child(key) => due.children.push(key.clone()),
            Subject::Parent(values) => due.parents.push(values.clone()),
        }
    }
    found
}

/// Carries out the checks that no longer wait, or all of them.
///
/// # Errors
/// 23503, and waiting for locks may fail.
pub async fn check(context: &mut StatementContext<'_>, all: bool) -> Result<()> {
    let due = due(context, all);
    let catalog = context.eval.catalog.clone();
    context.deferred.rounds += 1;
    for Due { table, constraint, children, parents, checks } in due {
        // A constraint that went with what it referred to asks for nothing any more.
        if let Some(table) = catalog.tables.get(&table) {
            let rules = context.engine.table_rules(table, &catalog)?;
            let mut done = HashSet::with_capacity(children.len());
            for (at, key) in children.into_iter().filter(|key| done.insert(key.clone())).enumerate() {
                if at % BREATHE_CHECKS == BREATHE_CHECKS - 1 {
                    breathe(context.eval).await?;
                }
                match table.deferrable_key(constraint) {
                    Some((index, _)) => require_unique(context, &rules, index, &key, false).await?,
                    None => require_parents_of(context, &rules, constraint, &key).await?,
                }
            }
            require_children_gone(context, &rules, constraint, parents).await?;
        }
        let round = context.deferred.rounds;
        for at in checks {
            if let Some(check) = context.deferred.checks.get_mut(at) {
                check.held = Some(round);
            }
        }
    }
    Ok(())
}
