//! DECLARE, FETCH, MOVE, CLOSE: results kept by name; and the protocol's portals, which share the names.
//!
//! Cursors go forwards; a SCROLL cursor keeps the rows that it has given, so that it can go back among them. A portal from which
//! SQL fetches becomes a cursor, which the protocol goes on to reach by the portal's name.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryReservation;
use foldhash::fast::RandomState;
use stratos_types::{Datum, Error, ErrorKind, Result};

use super::plan::Prepared;
use super::prepared::StatementDescription;
use super::session::Session;
use super::transaction::Company;
use crate::binder::Movement;
use crate::catalog::CursorFacts;
use crate::ir::OutputColumn;
use crate::lower::{error_from, kept_rows};
use crate::result::{ResultSet, RowBlock, StatementResult};

/// Cursors that one session may have open.
const CURSORS_MAX: usize = 1_000;
/// Portals that one session may have open.
const PORTALS_MAX: usize = 10_000;
/// Rows taken from the query at once.
const FETCH_CHUNK_ROWS: usize = 1024;

/// An open cursor.
pub struct Cursor {
    result: ResultSet,
    /// Rows given so far, where going back is allowed.
    kept: Option<Vec<Vec<Datum>>>,
    /// Whether it goes back to rows that it has passed.
    scrolls: bool,
    /// What `kept` is charged for to the memory of queries.
    charge: MemoryReservation,
    /// Number of rows before the current one and the current one itself: 0 is before the first.
    position: usize,
    /// The position is after the last row.
    after_last: bool,
    /// WITH HOLD: lives on after the transaction, if that commits.
    hold: bool,
    /// Formats in which the protocol gives its rows; those of the portal that it was.
    formats: Vec<i16>,
    /// Its place among all cursors and portals of the session.
    number: u64,
    /// The transaction that made it has committed.
    outlives: bool,
}

/// A statement that the protocol has bound, run or not yet.
pub struct Portal {
    /// The statement.
    pub prepared: Arc<Prepared>,
    /// Values of `$1…`; gone once it ran.
    pub params: Vec<Datum>,
    /// The protocol's codes of the formats of its columns.
    pub result_formats: Vec<i16>,
    /// Columns of its rows; none when it gives no rows.
    pub columns: Option<Arc<[OutputColumn]>>,
    /// How far it is.
    pub state: PortalState,
}

impl Portal {
    /// One that has nothing to run.
    pub fn of_nothing() -> Portal {
        Portal {
            prepared: Arc::new(Prepared::new(None, Vec::new())),
            params: Vec::new(),
            result_formats: Vec::new(),
            columns: None,
            state: PortalState::Bound,
        }
    }
}

/// See [`Portal`].
pub enum PortalState {
    /// It has not run.
    Bound,
    /// Rows are left, perhaps.
    Open(Box<ResultSet>),
    /// It ran, and cannot run again.
    Done,
}

/// A portal that exists.
struct OpenPortal {
    number: u64,
    /// None while it runs.
    portal: Option<Portal>,
}

/// The protocol's portals by name, and the order in which they and cursors were opened.
#[derive(Default)]
pub(super) struct Portals {
    open: HashMap<String, OpenPortal, RandomState>,
    last: u64,
}

impl Portals {
    /// Number of the youngest cursor or portal.
    pub fn last(&self) -> u64 {
        self.last
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

fn not_scrollable() -> Error {
    Error::new(ErrorKind::ObjectNotInPrerequisiteState, "cursor can only scan forward")
        .with_hint("Declare it with SCROLL option to enable backward scan.")
}

fn charge(reservation: &MemoryReservation, rows: &[Vec<Datum>]) -> Result<()> {
    let values: usize = rows.iter().flatten().map(Datum::size_bytes).sum();
    reservation.try_grow(values + size_of_val(rows)).map_err(error_from)
}

/// What is to become of the rows that a movement passes.
struct Passed {
    /// None where they are only counted.
    rows: Option<Vec<Vec<Datum>>>,
    charge: MemoryReservation,
    count: u64,
}

impl Passed {
    fn take(&mut self, more: Vec<Vec<Datum>>) -> Result<()> {
        self.count += more.len() as u64;
        if let Some(rows) = &mut self.rows {
            charge(&self.charge, &more)?;
            rows.extend(more);
        }
        Ok(())
    }
}

impl Cursor {
    /// The rows that it may go back to.
    ///
    /// # Errors
    /// 55000 where it goes forward only.
    fn passed_rows(&self) -> Result<&Vec<Vec<Datum>>> {
        self.kept.as_ref().filter(|_| self.scrolls).ok_or_else(not_scrollable)
    }

    fn remember(&mut self, rows: &[Vec<Datum>]) -> Result<()> {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        charge(&self.charge, rows)?;
        kept.extend_from_slice(rows);
        Ok(())
    }
}

fn to_rows(block: &RowBlock, types: &[stratos_types::PgType]) -> Result<Vec<Vec<Datum>>> {
    (0..block.len()).map(|row| types.iter().enumerate().map(|(at, ty)| block.datum(row, at, *ty)).collect()).collect()
}

/// 55000 for a portal that is running, or has run and gave no rows.
pub fn cannot_run(name: &str) -> Error {
    Error::new(ErrorKind::ObjectNotInPrerequisiteState, format!("portal \"{name}\" cannot be run"))
}

impl Session {
    /// `text` is the statement by which it is declared.
    pub(super) async fn declare_cursor(
        &mut self,
        name: String,
        text: &str,
        result: ResultSet,
        scroll: Option<bool>,
        hold: bool,
    ) -> Result<()> {
        self.refuse_taken_name(&name)?;
        if self.cursors.len() >= CURSORS_MAX {
            return Err(Error::new(ErrorKind::ConfigurationLimitExceeded, "too many open cursors in this session"));
        }
        let scrolls = scroll.unwrap_or(hold);
        let kept = (scrolls || hold).then(Vec::new);
        let (number, charge) = (self.portals.next(), self.reservation());
        let formats = Vec::new();
        let mut cursor = Cursor {
            result,
            kept,
            scrolls,
            charge,
            position: 0,
            after_last: false,
            hold,
            formats,
            number,
            outlives: false,
        };
        if hold {
            // It outlives its transaction, so its rows are all computed now.
            while self.pull(&mut cursor, FETCH_CHUNK_ROWS).await?.is_some() {}
        }
        self.show_cursor(&name, text, hold, scrolls);
        self.cursors.insert(name, cursor);
        Ok(())
    }

    /// Has `pg_cursors` show a cursor or portal that is opened now.
    fn show_cursor(&self, name: &str, text: &str, is_holdable: bool, is_scrollable: bool) {
        let facts = CursorFacts {
            name: name.to_owned(),
            statement: text.to_owned(),
            is_holdable,
            is_scrollable,
            created_micros: self.statement_micros,
        };
        self.shared.cursors.lock().insert(name.to_owned(), facts);
    }

    /// Has `pg_cursors` forget what is closed.
    fn hide_closed_cursors(&self) {
        let mut shown = self.shared.cursors.lock();
        if !shown.is_empty() {
            shown.retain(|name, _| self.cursors.contains_key(name) || self.portals.open.contains_key(name));
        }
    }

    /// 42P03 where a portal or a cursor has the name.
    ///
    /// # Errors
    /// This one.
    pub fn refuse_taken_name(&self, name: &str) -> Result<()> {
        if self.cursors.contains_key(name) || self.portals.open.contains_key(name) {
            return Err(Error::new(ErrorKind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        Ok(())
    }

    /// A portal of the protocol is opened. The one without a name replaces its predecessor.
    ///
    /// # Errors
    /// 42P03 when a portal or a cursor has the name, 53400 when there are too many.
    pub fn open_portal(&mut self, name: String, portal: Portal) -> Result<()> {
        if self.portals.open.len() >= PORTALS_MAX {
            return Err(Error::new(ErrorKind::ConfigurationLimitExceeded, "too many open portals in this session"));
        }
        if !name.is_empty() {
            self.refuse_taken_name(&name)?;
            let text = portal.prepared.parsed.as_ref().map_or("", |parsed| parsed.source.text());
            self.show_cursor(&name, text, false, false);
        }
        let number = self.portals.next();
        self.portals.open.insert(name, OpenPortal { number, portal: Some(portal) });
        Ok(())
    }

    /// A portal that is not running.
    pub fn portal(&self, name: &str) -> Option<&Portal> {
        self.portals.open.get(name)?.portal.as_ref()
    }

    /// Takes a portal out, so that it can run; with what [`Session::return_portal`] needs.
    pub fn take_portal(&mut self, name: &str) -> Option<(Portal, u64)> {
        let open = self.portals.open.get_mut(name)?;
        Some((open.portal.take()?, open.number))
    }

    /// Puts a portal back that has run, unless it was closed meanwhile: by SQL, by a return to a savepoint, or with its
    /// transaction.
    pub fn return_portal(&mut self, name: &str, portal: Portal, number: u64) {
        if let Some(open) = self.portals.open.get_mut(name).filter(|open| open.number == number) {
            open.portal = Some(portal);
        }
    }

    /// `Close` of a portal, which may be a cursor; nothing when there is none.
    pub fn close_portal(&mut self, name: &str) {
        self.portals.open.remove(name);
        self.cursors.remove(name);
        self.hide_closed_cursors();
    }

    /// Makes a cursor of the portal with this name, if there is no cursor: one that SQL fetches from.
    async fn portal_as_cursor(&mut self, name: &str) -> Result<()> {
        if self.cursors.contains_key(name) {
            return Ok(());
        }
        let Some((mut portal, number)) = self.take_portal(name) else {
            // One that is there runs this very statement.
            let running = self.portals.open.contains_key(name);
            return Err(if running { cannot_run(name) } else { Session::cursor_missing(name) });
        };
        let result = match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Open(result) => Ok(*result),
            PortalState::Bound if portal.columns.is_some() => {
                let params = std::mem::take(&mut portal.params);
                Box::pin(self.run_of_portal(&portal.prepared, params)).await
            }
            state => {
                portal.state = state;
                Err(cannot_run(name))
            }
        };
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                self.return_portal(name, portal, number);
                return Err(error);
            }
        };
        let cursor = Cursor {
            position: usize::try_from(result.given()).unwrap_or(usize::MAX),
            result,
            kept: None,
            scrolls: false,
            charge: self.reservation(),
            after_last: false,
            hold: false,
            formats: portal.result_formats,
            number,
            outlives: false,
        };
        self.portals.open.remove(name);
        self.cursors.insert(name.to_owned(), cursor);
        Ok(())
    }

    async fn run_of_portal(&mut self, prepared: &Arc<Prepared>, params: Vec<Datum>) -> Result<ResultSet> {
        let planned = self.plan(prepared).await?.ok_or_else(|| Error::internal("a portal lost its statement"))?;
        match self.execute(prepared, planned, params, Company::Pipeline).await? {
            StatementResult::Rows(result) => Ok(result),
            _ => Err(Error::internal("a portal gives no rows")),
        }
    }

    /// Whether a name is that of a cursor.
    pub fn has_cursor(&self, name: &str) -> bool {
        self.cursors.contains_key(name)
    }

    /// `Execute` of a portal that is a cursor: its next rows.
    ///
    /// # Errors
    /// 34000, 25P02, and what computing the rows gives.
    pub async fn execute_cursor(&mut self, name: &str, rows_max: usize) -> Result<ResultSet> {
        self.cursor_columns(name)?;
        self.resume_cursor(name)?;
        let movement = Movement::Forward(u64::try_from(rows_max).ok().filter(|_| rows_max < usize::MAX));
        self.fetch_from_cursor(name, movement, "SELECT").await
    }

    /// Closes the cursors and portals that were opened after another one.
    pub(super) fn close_younger(&mut self, last: u64) {
        self.cursors.retain(|_, cursor| cursor.number <= last);
        self.portals.open.retain(|_, open| open.number <= last);
        self.hide_closed_cursors();
    }

    async fn pull(&mut self, cursor: &mut Cursor, rows_max: usize) -> Result<Option<Vec<Vec<Datum>>>> {
        let types: Vec<_> = cursor.result.columns.iter().map(|c| c.ty.ty).collect();
        let Some(block) = self.fetch(&mut cursor.result, rows_max).await? else { return Ok(None) };
        let rows = to_rows(&block, &types)?;
        cursor.remember(&rows)?;
        Ok(Some(rows))
    }

    fn cursor_missing(name: &str) -> Error {
        Error::new(ErrorKind::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
    }

    /// Columns of a cursor.
    pub(super) fn cursor_columns(&self, name: &str) -> Result<std::sync::Arc<[crate::ir::OutputColumn]>> {
        self.cursors.get(name).map(|c| c.result.columns.clone()).ok_or_else(|| Session::cursor_missing(name))
    }

    /// Columns of a cursor, or of a portal that may become one.
    pub(super) fn columns_to_fetch(&mut self, name: &str) -> Option<Arc<[OutputColumn]>> {
        if let Ok(columns) = self.cursor_columns(name) {
            return Some(columns);
        }
        let prepared = self.portal(name)?.prepared.clone();
        let planned = self.plan_here(&prepared).ok()??;
        Some(planned.output.clone()).filter(|columns| !columns.is_empty())
    }

    /// `Describe` of a portal that is a cursor, with the codes of its formats.
    ///
    /// # Errors
    /// 34000.
    pub fn describe_cursor(&self, name: &str) -> Result<(StatementDescription, Vec<i16>)> {
        let columns = Some(self.cursor_columns(name)?);
        Ok((StatementDescription { params: Arc::default(), columns }, self.cursor_formats(name)))
    }

    /// The protocol's codes of the formats in which a cursor's rows are given to it.
    pub fn cursor_formats(&self, name: &str) -> Vec<i16> {
        self.cursors.get(name).map(|cursor| cursor.formats.clone()).unwrap_or_default()
    }

    fn reservation(&self) -> MemoryReservation {
        kept_rows(self.engine.runtime().memory_pool())
    }

    /// FETCH: the rows passed, in the order of the movement, under a command tag.
    pub(super) async fn fetch_from_cursor(
        &mut self,
        name: &str,
        movement: Movement,
        tag: &'static str,
    ) -> Result<ResultSet> {
        self.portal_as_cursor(name).await?;
        let mut cursor = self.cursors.remove(name).ok_or_else(|| Session::cursor_missing(name))?;
        if matches!(movement, Movement::Forward(None)) && cursor.kept.is_none() {
            // All that is left goes out as it comes.
            let rest = cursor.result.take_rest(tag);
            cursor.after_last = true;
            self.cursors.insert(name.to_owned(), cursor);
            return Ok(rest);
        }
        let columns = cursor.result.columns.clone();
        let mut passed = Passed { rows: Some(Vec::new()), charge: self.reservation(), count: 0 };
        let moved = self.advance(&mut cursor, movement, &mut passed).await;
        self.cursors.insert(name.to_owned(), cursor);
        moved?;
        let result = ResultSet::from_rows(columns, tag, passed.rows.unwrap_or_default());
        Ok(result.charged(Some(passed.charge)))
    }

    /// MOVE: the number of rows that FETCH would have given.
    pub(super) async fn move_cursor(&mut self, name: &str, movement: Movement) -> Result<u64> {
        self.portal_as_cursor(name).await?;
        let mut cursor = self.cursors.remove(name).ok_or_else(|| Session::cursor_missing(name))?;
        let mut passed = Passed { rows: None, charge: self.reservation(), count: 0 };
        let moved = self.advance(&mut cursor, movement, &mut passed).await;
        self.cursors.insert(name.to_owned(), cursor);
        moved?;
        Ok(passed.count)
    }

    async fn advance(&mut self, cursor: &mut Cursor, movement: Movement, passed: &mut Passed) -> Result<()> {
        match movement {
            Movement::Forward(Some(0)) | Movement::Backward(Some(0)) | Movement::Relative(0) => {
                passed.take(Self::here(cursor)?)
            }
            Movement::Forward(count) => self.forwards(cursor, count, passed).await,
            Movement::Backward(count) => Self::backwards(cursor, count, passed),
            Movement::Relative(n) if n > 0 => {
                let steps = n.unsigned_abs();
                if steps > 1 && !self.skip(cursor, Some(steps - 1)).await? {
                    return Ok(());
                }
                self.forwards(cursor, Some(1), passed).await
            }
            Movement::Relative(n) => {
                let steps = n.unsigned_abs();
                let mut skipped = self.counting();
                Self::backwards(cursor, Some(steps - 1), &mut skipped)?;
                if skipped.count == steps - 1 { Self::backwards(cursor, Some(1), passed) } else { Ok(()) }
            }
            Movement::Absolute(n) if n >= 0 => {
                let target = usize::try_from(n).unwrap_or(usize::MAX);
                if target < cursor.position || (target == cursor.position && cursor.after_last) {
                    cursor.passed_rows()?;
                    cursor.position = target;
                    cursor.after_last = false;
                    return passed.take(Self::here(cursor)?);
                }
                match (target - cursor.position) as u64 {
                    0 => passed.take(Self::here(cursor)?),
                    steps => Box::pin(self.advance(cursor, Movement::Relative(steps.cast_signed()), passed)).await,
                }
            }
            Movement::Absolute(n) => {
                self.skip(cursor, None).await?;
                let back = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
                let total = cursor.passed_rows()?.len();
                cursor.position = (total + 1).saturating_sub(back);
                cursor.after_last = false;
                passed.take(Self::here(cursor)?)
            }
        }
    }

    fn counting(&self) -> Passed {
        Passed { rows: None, charge: self.reservation(), count: 0 }
    }

    /// Goes past rows; whether there were so many.
    async fn skip(&mut self, cursor: &mut Cursor, count: Option<u64>) -> Result<bool> {
        let mut skipped = self.counting();
        self.forwards(cursor, count, &mut skipped).await?;
        Ok(count.is_none_or(|count| skipped.count == count))
    }

    /// The row that the cursor is on, as a list.
    fn here(cursor: &Cursor) -> Result<Vec<Vec<Datum>>> {
        if cursor.position == 0 || cursor.after_last {
            return Ok(Vec::new());
        }
        let kept = cursor.passed_rows()?;
        Ok(kept.get(cursor.position - 1).cloned().into_iter().collect())
    }

    async fn forwards(&mut self, cursor: &mut Cursor, count: Option<u64>, passed: &mut Passed) -> Result<()> {
        let mut left = count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        if cursor.after_last {
            return Ok(());
        }
        while left > 0
            && let Some(known) = cursor.kept.as_ref().and_then(|kept| kept.get(cursor.position..))
            && !known.is_empty()
        {
            let known = &known[..known.len().min(left).min(FETCH_CHUNK_ROWS)];
            let taken = known.len();
            passed.take(known.to_vec())?;
            cursor.position += taken;
            left -= taken;
        }
        while left > 0 {
            let Some(more) = self.pull(cursor, FETCH_CHUNK_ROWS.min(left)).await? else {
                cursor.after_last = true;
                break;
            };
            cursor.position += more.len();
            left -= more.len();
            passed.take(more)?;
        }
        Ok(())
    }

    fn backwards(cursor: &mut Cursor, count: Option<u64>, passed: &mut Passed) -> Result<()> {
        let kept = cursor.passed_rows()?;
        let wanted = count.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        // The row before the current one, or the last one when the cursor is past the end.
        let mut next = if cursor.after_last { cursor.position } else { cursor.position.saturating_sub(1) };
        let mut taken = 0;
        while taken < wanted && next > 0 {
            passed.take(vec![kept[next - 1].clone()])?;
            next -= 1;
            taken += 1;
        }
        cursor.position = if taken < wanted { 0 } else { next + 1 };
        cursor.after_last = false;
        Ok(())
    }

    /// The transaction ended: cursors WITH HOLD that it made stay if it committed.
    pub(super) fn settle_cursors(&mut self, committed: bool) {
        self.cursors.retain(|_, cursor| {
            cursor.outlives |= committed && cursor.hold;
            cursor.outlives || !cursor.hold
        });
        self.hide_closed_cursors();
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<()> {
        match name {
            None => {
                self.cursors.clear();
                self.portals.open.clear();
            }
            Some(name) => {
                let portal = self.portals.open.remove(name).is_some();
                if !portal && self.cursors.remove(name).is_none() {
                    return Err(Session::cursor_missing(name));
                }
            }
        }
        self.hide_closed_cursors();
        Ok(())
    }

    /// The transaction ended: portals and cursors without HOLD are gone.
    pub(super) fn end_cursors(&mut self) {
        if self.block.is_none() {
            self.cursors.retain(|_, cursor| cursor.hold);
            self.portals.open.clear();
            self.hide_closed_cursors();
        }
    }
}
