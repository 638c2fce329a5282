//! SELECT … FOR UPDATE, FOR SHARE and their kin.
//!
//! The query runs with the keys of its locked tables' rows added to its output. Each row's rows are locked in the order of
//! the result, before LIMIT counts them, so that SKIP LOCKED finds as many as were asked for. When one of them changed while
//! its lock was awaited, the statement looks again with a new snapshot: what it holds locked cannot change a second time.
//!
//! A query inside a statement that locks rows (in WITH, in an expression, with a LIMIT in FROM, the source of a change) runs
//! first, in the same way, and its rows stand in its place. That needs it to be the same for all rows of the statement.

use std::collections::HashSet;
use std::sync::Arc;

use stratos_replication::{LockOutcome, WaitPolicy};
use stratos_types::{Datum, Error, ErrorKind, PgType, Result};

use super::{StatementContext, breathe, stored};
use crate::catalog::Table;
use crate::eval::{Layout, Program};
use crate::ir::{
    ColumnId, Cte, Expr, ExprKind, OutputColumn, Quantifier, ROW_ID_NAME, Rel, RowLock, ScanColumn, SubqueryKind, Walk,
};
use crate::result::KeptRows;

/// How often a statement looks again because rows changed under it.
const ATTEMPTS_MAX: usize = 1_000;
/// Rows taken from the query at once.
const CHUNK_ROWS: usize = 128;
/// Rows that somebody else has locked, and that are passed over before a plan is made.
const PASSED_MAX: usize = 64;

/// A locked table of the query.
struct Target {
    table: Arc<Table>,
    lock: RowLock,
    /// Identities of the columns that make its rows' keys.
    key: Vec<ColumnId>,
}

/// The tables of which a relation, or a query inside its expressions, locks rows.
pub fn locked_tables(rel: &Rel) -> Vec<Arc<Table>> {
    let mut tables = Vec::new();
    collect_locked(rel, &mut tables);
    tables.sort_by_key(|table| table.oid);
    tables.dedup_by_key(|table| table.oid);
    tables
}

fn collect_locked(rel: &Rel, tables: &mut Vec<Arc<Table>>) {
    if let Rel::Scan { table, lock: Some(_), .. } = rel {
        tables.push(table.clone());
    }
    for expr in rel.exprs() {
        expr.walk(&mut |e| {
            if let ExprKind::Subquery { query, .. } = &e.kind {
                collect_locked(query, tables);
            }
        });
    }
    for input in rel.inputs() {
        collect_locked(input, tables);
    }
}

/// A relation with the rows of its locking queries in their place, those locked. Its own tables are not locked, nor may they
/// ask for it: for the source of a change.
///
/// # Errors
/// As [`run`].
pub async fn settle(context: &mut StatementContext<'_>, rel: &Rel) -> Result<Rel> {
    let mut rel = rel.clone();
    settle_rel(context, &mut rel, &[], Place::Source).await?;
    Ok(rel)
}

/// Where a relation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a query that locks the rows of its own scans.
    Locking,
    /// In the source of a change, whose scans lock nothing.
    Source,
}

/// Whether what a relation gives out are rows of its inputs, to which the keys of these can be added ([`Rewrite`]).
fn carries_keys(rel: &Rel) -> bool {
    matches!(
        rel,
        Rel::Scan { .. }
            | Rel::Filter { .. }
            | Rel::Window { .. }
            | Rel::Sort { .. }
            | Rel::Project { .. }
            | Rel::Alias { .. }
            | Rel::Join { .. }
            | Rel::Limit { .. }
            | Rel::With { .. }
    )
}

type Settled<'f> = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send + 'f>>;

/// `ctes`: the settled definitions that the relation may name.
fn settle_rel<'f>(
    context: &'f mut StatementContext<'_>,
    rel: &'f mut Rel,
    ctes: &'f [Cte],
    place: Place,
) -> Settled<'f> {
    Box::pin(async move {
        let apart = match rel {
            Rel::Limit { .. } => true,
            Rel::Alias { .. } => place == Place::Source,
            Rel::Scan { lock: Some(_), .. } if place == Place::Source => {
                return Err(Error::unsupported("FOR UPDATE in this position"));
            }
            _ => false,
        };
        if apart && !locked_tables(rel).is_empty() {
            *rel = rows_of(context, rel, ctes).await?;
            return Ok(());
        }
        for expr in rel.exprs_mut() {
            settle_expr(context, expr, ctes).await?;
        }
        if place == Place::Locking && !carries_keys(rel) {
            for input in rel.inputs_mut().into_iter().filter(|input| !locked_tables(input).is_empty()) {
                *input = rows_of(context, input, ctes).await?;
            }
            return Ok(());
        }
        if let Rel::With { ctes: defined, body } = rel {
            let mut known = ctes.to_vec();
            for cte in defined {
                if cte.recursive.is_some() {
                    let terms = [Some(&cte.query), cte.recursive.as_ref().map(|(term, _)| term)];
                    if terms.into_iter().flatten().any(|term| !locked_tables(term).is_empty()) {
                        return Err(Error::unsupported("FOR UPDATE in a recursive query"));
                    }
                } else if !locked_tables(&cte.query).is_empty() {
                    cte.query = Arc::new(rows_of(context, &cte.query, &known).await?);
                }
                known.push(cte.clone());
            }
            return settle_rel(context, body, &known, place).await;
        }
        for input in rel.inputs_mut() {
            settle_rel(context, input, ctes, place).await?;
        }
        Ok(())
    })
}

fn settle_expr<'f>(context: &'f mut StatementContext<'_>, expr: &'f mut Expr, ctes: &'f [Cte]) -> Settled<'f> {
    Box::pin(async move {
        if let ExprKind::Subquery { query, .. } = &mut expr.kind
            && !locked_tables(query).is_empty()
        {
            *query = Arc::new(rows_of(context, query, ctes).await?);
            put_values(expr);
        }
        for child in expr.children_mut() {
            settle_expr(context, child, ctes).await?;
        }
        Ok(())
    })
}

/// The values of a query that has run, in the place of the query: an index finds rows by them.
fn put_values(expr: &mut Expr) {
    let ty = expr.ty;
    let ExprKind::Subquery { kind, query } = &mut expr.kind else { return };
    let Rel::Values { rows, .. } = query.as_ref() else { return };
    let first = |row: &Vec<Expr>| row.first().cloned();
    let kind = match (kind, rows.as_slice()) {
        (SubqueryKind::Scalar, []) => ExprKind::Literal(Datum::Null),
        (SubqueryKind::Scalar, [row]) => match first(row) {
            Some(value) => value.kind,
            None => return,
        },
        (SubqueryKind::Quantified { quantifier: Quantifier::Any, operator, left }, [_, ..]) if operator.name == "=" => {
            let Some(list) = rows.iter().map(first).collect() else { return };
            ExprKind::InList { equals: operator, arg: left.clone(), list }
        }
        _ => return,
    };
    *expr = Expr { kind, ty };
}

/// Runs a query that locks rows; its rows as a relation.
async fn rows_of(context: &mut StatementContext<'_>, rel: &Rel, ctes: &[Cte]) -> Result<Rel> {
    let mut produced = HashSet::new();
    collect_produced(rel, &mut produced);
    let mut correlated = false;
    rel.visit_exprs(&mut |e| {
        correlated |= matches!(e.kind, ExprKind::Column(id) if !produced.contains(&id));
        Walk::Into
    });
    if correlated {
        return Err(Error::unsupported("FOR UPDATE in a subquery that refers to the query around it"));
    }
    let columns = rel.output();
    let query = match ctes.is_empty() {
        true => rel.clone(),
        false => Rel::With { ctes: ctes.to_vec(), body: Box::new(rel.clone()) },
    };
    let literals = |row: Vec<Datum>| row.into_iter().zip(&columns).map(|(v, c)| Expr::literal(v, c.ty)).collect();
    let (rows, _charge) = run(context, &query).await?.into_parts();
    let rows = rows.into_iter().map(literals).collect();
    Ok(Rel::Values { columns, rows })
}

/// Columns that a relation, what is below it, and queries in its expressions make.
fn collect_produced(rel: &Rel, produced: &mut HashSet<ColumnId>) {
    produced.extend(rel.produced());
    rel.visit_exprs(&mut |e| {
        if let ExprKind::Subquery { query, .. } = &e.kind {
            collect_produced(query, produced);
        }
        Walk::Into
    });
    for input in rel.inputs() {
        collect_produced(input, produced);
    }
}

/// Runs the query and gives its rows, all of them locked.
///
/// # Errors
/// 55P03 with NOWAIT, deadlocks, 40001 above READ COMMITTED, 53200 for more rows than there is memory for, and the query's.
pub async fn run(context: &mut StatementContext<'_>, rel: &Rel) -> Result<KeptRows> {
    // Those of its WITH are its own, whatever stands around its body.
    let (ctes, rel) = match rel {
        Rel::With { ctes, body } => (ctes.clone(), body.as_ref()),
        other => (Vec::new(), other),
    };
    let (input, offset, limit) = match rel {
        Rel::Limit { input, limit, offset } => (
            input.as_ref(),
            count(offset, context, ErrorKind::InvalidRowCountInOffset, "OFFSET")?,
            count(limit, context, ErrorKind::InvalidRowCountInLimit, "LIMIT")?,
        ),
        other => (other, None, None),
    };
    let width = input.output().len();
    let mut input = match ctes.is_empty() {
        true => input.clone(),
        false => Rel::With { ctes, body: Box::new(input.clone()) },
    };
    settle_rel(context, &mut input, &[], Place::Locking).await?;
    let mut rewrite = Rewrite { targets: Vec::new(), next_id: u32::MAX };
    let keyed = rewrite.rel(&input)?;
    let positions = positions(&keyed, &rewrite.targets)?;
    for _ in 0..ATTEMPTS_MAX {
        let offset = usize::try_from(offset.unwrap_or(0)).unwrap_or(usize::MAX);
        let limit = limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        match attempt(context, &keyed, &rewrite.targets, &positions, offset.saturating_add(limit)).await? {
            Some(rows) => return Ok(rows.trimmed(offset, width)),
            None => stored(context.transaction.begin_statement())?,
        }
    }
    Err(Error::new(ErrorKind::SerializationFailure, "rows kept changing while they were being locked"))
}

fn count(expr: &Option<Expr>, context: &StatementContext<'_>, kind: ErrorKind, clause: &str) -> Result<Option<u64>> {
    let Some(expr) = expr else { return Ok(None) };
    let program = Program::compile(expr, &Layout::default())?;
    match program.run(&[], context.params, context.eval)? {
        Datum::Null => Ok(None),
        Datum::Int8(n) => {
            u64::try_from(n).map(Some).map_err(|_| Error::new(kind, format!("{clause} must not be negative")))
        }
        other => Err(Error::internal(format!("{clause} of an unexpected type: {other:?}"))),
    }
}

/// The rows, or nothing when one of them changed and the query has to be run again.
async fn attempt(
    context: &mut StatementContext<'_>,
    rel: &Rel,
    targets: &[Target],
    positions: &[Vec<Option<usize>>],
    wanted: usize,
) -> Result<Option<KeptRows>> {
    let mut locking = Locking { targets, positions, wanted, locked: KeptRows::default(), changed_any: false };
    let some = wanted.saturating_add(PASSED_MAX);
    let few = if wanted <= CHUNK_ROWS { Some(first_rows(rel, some)) } else { None };
    if let Some(rows) = super::dml::rows_by_key(context, few.as_ref().unwrap_or(rel))? {
        let all = few.is_none() || rows.len() < some;
        locking.lock(context, rows).await?;
        if all || locking.is_done() {
            return Ok(locking.end());
        }
        // Too many were passed over. Those that are locked stay so.
        locking.locked = KeptRows::default();
    }
    let mut stream = super::dml::source_rows(context, rel).await?;
    while !locking.is_done() {
        let Some(rows) = stream.next_rows(CHUNK_ROWS).await? else { break };
        locking.lock(context, rows).await?;
    }
    Ok(locking.end())
}

/// The first rows of a relation.
fn first_rows(rel: &Rel, count: usize) -> Rel {
    let limit = Expr::literal(Datum::Int8(i64::try_from(count).unwrap_or(i64::MAX)), PgType::Int8);
    Rel::Limit { input: Box::new(rel.clone()), limit: Some(limit), offset: None }
}

/// Rows that are locked as they come.
struct Locking<'t> {
    targets: &'t [Target],
    positions: &'t [Vec<Option<usize>>],
    wanted: usize,
    locked: KeptRows,
    changed_any: bool,
}

impl Locking<'_> {
    fn is_done(&self) -> bool {
        self.locked.len() >= self.wanted
    }

    fn end(self) -> Option<KeptRows> {
        (!self.changed_any).then_some(self.locked)
    }

    async fn lock(&mut self, context: &mut StatementContext<'_>, rows: Vec<Vec<Datum>>) -> Result<()> {
        for row in rows {
            if self.is_done() {
                break;
            }
            let mut keep = true;
            for (target, positions) in self.targets.iter().zip(self.positions) {
                let Some(key) = key_of(&target.table, &row, positions)? else { continue };
                let wait = match target.lock {
                    RowLock { nowait: true, .. } => WaitPolicy::NoWait,
                    RowLock { skip_locked: true, .. } => WaitPolicy::SkipLocked,
                    _ => context.wait,
                };
                let outcome =
                    stored(context.transaction.lock(&key, target.lock.mode, wait).await).map_err(|error| {
                        if error.kind() == ErrorKind::LockNotAvailable && target.lock.nowait {
                            let name = &target.table.name;
                            return Error::new(
                                ErrorKind::LockNotAvailable,
                                format!("could not obtain lock on row in relation \"{name}\""),
                            );
                        }
                        error
                    })?;
                match outcome {
                    LockOutcome::Skipped => keep = false,
                    LockOutcome::Granted { changed, .. } => self.changed_any |= changed,
                }
                if !keep {
                    break;
                }
            }
            if keep {
                self.locked.push(row, context.engine.runtime())?;
            }
        }
        breathe(context.eval).await
    }
}

/// The key of a target's row; none where an outer join gave none.
fn key_of(table: &Table, row: &[Datum], positions: &[Option<usize>]) -> Result<Option<Vec<u8>>> {
    if !table.has_primary_key() {
        return match positions.first().copied().flatten().map(|at| &row[at]) {
            Some(Datum::Int8(id)) => Ok(Some(crate::rows::row_id_key(table, *id))),
            _ => Ok(None),
        };
    }
    let mut values = vec![Datum::Null; table.columns.len()];
    for (column, position) in table.primary_index().columns.iter().zip(positions) {
        let (Some(at), Some(position)) = (table.column_index(column.attnum), position) else { return Ok(None) };
        if row[*position].is_null() {
            return Ok(None);
        }
        values[at] = row[*position].clone();
    }
    crate::rows::primary_key(table, &values).map(Some)
}

fn positions(rel: &Rel, targets: &[Target]) -> Result<Vec<Vec<Option<usize>>>> {
    let output = rel.output();
    let find = |id: &ColumnId| output.iter().position(|c| c.id == *id);
    let all: Vec<Vec<Option<usize>>> = targets.iter().map(|t| t.key.iter().map(find).collect()).collect();
    if all.iter().flatten().any(Option::is_none) {
        return Err(Error::unsupported("FOR UPDATE in this position"));
    }
    Ok(all)
}

/// Adds the keys of locked tables to what the relations on the way up give out.
struct Rewrite {
    targets: Vec<Target>,
    next_id: u32,
}

impl Rewrite {
    fn fresh(&mut self) -> ColumnId {
        self.next_id -= 1;
        ColumnId(self.next_id)
    }

    /// Key columns with their types, of the targets found from `first` on.
    fn keys_from(&self, first: usize) -> Vec<OutputColumn> {
        let mut columns = Vec::new();
        for target in &self.targets[first..] {
            let types: Vec<_> = if target.table.has_primary_key() {
                let index = target.table.primary_index();
                index
                    .columns
                    .iter()
                    .filter_map(|c| target.table.column_index(c.attnum))
                    .map(|at| target.table.columns[at].ty)
                    .collect()
            } else {
                vec![stratos_types::PgType::Int8.into()]
            };
            for (id, ty) in target.key.iter().zip(types) {
                columns.push(OutputColumn { id: *id, name: ROW_ID_NAME.to_owned(), ty, origin: None });
            }
        }
        columns
    }

    fn rel(&mut self, rel: &Rel) -> Result<Rel> {
        let first = self.targets.len();
        Ok(match rel {
            Rel::Scan { table, alias, columns, lock: Some(lock) } => {
                let mut columns = columns.clone();
                let wanted: Vec<usize> = if table.has_primary_key() {
                    let index = table.primary_index();
                    index.columns.iter().filter_map(|c| table.column_index(c.attnum)).collect()
                } else {
                    vec![table.columns.len()]
                };
                let mut key = Vec::with_capacity(wanted.len());
                for index in wanted {
                    match columns.iter().find(|c| c.index == index) {
                        Some(column) => key.push(column.id),
                        None => {
                            let id = self.fresh();
                            columns.push(ScanColumn { index, id });
                            key.push(id);
                        }
                    }
                }
                self.targets.push(Target { table: table.clone(), lock: *lock, key });
                Rel::Scan { table: table.clone(), alias: alias.clone(), columns, lock: None }
            }
            Rel::Filter { input, predicate } => {
                Rel::Filter { input: Box::new(self.rel(input)?), predicate: predicate.clone() }
            }
            // The numbers of rows WITH TIES.
            Rel::Window { input, calls } => Rel::Window { input: Box::new(self.rel(input)?), calls: calls.clone() },
            Rel::Sort { input, keys } => Rel::Sort { input: Box::new(self.rel(input)?), keys: keys.clone() },
            Rel::Project { input, columns } => {
                let input = self.rel(input)?;
                let mut columns = columns.clone();
                for key in self.keys_from(first) {
                    if !columns.iter().any(|(c, _)| c.id == key.id) {
                        let expr = Expr::column(key.id, key.ty);
                        columns.push((key, expr));
                    }
                }
                Rel::Project { input: Box::new(input), columns }
            }
            Rel::Alias { input, columns } => {
                let input = self.rel(input)?;
                let mut columns = columns.clone();
                for key in self.keys_from(first) {
                    if !columns.iter().any(|(c, _)| c.id == key.id) {
                        let id = key.id;
                        columns.push((key, id));
                    }
                }
                Rel::Alias { input: Box::new(input), columns }
            }
            Rel::Join { left, right, kind, on, lateral } => Rel::Join {
                left: Box::new(self.rel(left)?),
                right: Box::new(self.rel(right)?),
                kind: *kind,
                on: on.clone(),
                lateral: *lateral,
            },
            Rel::Limit { input, limit, offset } => {
                Rel::Limit { input: Box::new(self.rel(input)?), limit: limit.clone(), offset: offset.clone() }
            }
            Rel::With { ctes, body } => Rel::With { ctes: ctes.clone(), body: Box::new(self.rel(body)?) },
            other => other.clone(),
        })
    }
}
