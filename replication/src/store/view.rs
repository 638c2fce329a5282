//! Reading: one snapshot, with a transaction's own writes over it.
//!
//! A read never waits and takes no lock. The only thing that can stand between a snapshot and the versions below it are the
//! prewrites of commits over several shards: those are looked at *before* the versions, so that a lock which is resolved
//! meanwhile is seen either as a lock or as a version, never as neither.

use std::collections::{HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Inner;
use super::pins::Pin;
use super::read_set::ReadSet;
use crate::api::{Direction, Key, Span, Timestamp, TxnId, Value};
use crate::error::Result;
use crate::mvcc::VersionScan;
use crate::overlay::{Buffered, Writes};
use crate::protocol::resolution::{Visibility, may_matter, visibility};
use crate::store::data::KeyLock;
use crate::watch::SpanWatch;

/// A snapshot, and over it the writes that a transaction had buffered when the view was taken. Cheap to clone.
#[derive(Clone)]
pub struct ReadView {
    inner: Arc<Inner>,
    at: Timestamp,
    overlay: Layers,
    reads: Option<Arc<Mutex<ReadSet>>>,
    _pin: Arc<Pin>,
}

/// What lies over a snapshot: a transaction's finished statements, and over them the one that runs.
#[derive(Clone, Default)]
pub(super) struct Layers {
    pub(super) kept: Option<Arc<Writes>>,
    pub(super) running: Option<Arc<Writes>>,
}

impl Layers {
    fn get(&self, key: &[u8]) -> Option<&Buffered> {
        [&self.running, &self.kept].into_iter().flatten().find_map(|layer| layer.get(key))
    }

    /// The writes to keys of the span: a layer as it is where only one has any.
    fn over(&self, span: &Span) -> Option<Arc<Writes>> {
        let within = |layer: &&Arc<Writes>| layer.range::<Key, _>(range_of(span)).next().is_some();
        match (self.kept.as_ref().filter(within), self.running.as_ref().filter(within)) {
            (one, None) | (None, one) => one.cloned(),
            (Some(kept), Some(running)) => {
                let layers = [kept, running];
                let writes = layers.into_iter().flat_map(|layer| layer.range::<Key, _>(range_of(span)));
                Some(Arc::new(writes.map(|(key, write)| (key.clone(), write.clone())).collect()))
            }
        }
    }
}

impl std::fmt::Debug for ReadView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ReadView").field("at", &self.at).finish_non_exhaustive()
    }
}

impl ReadView {
    pub(super) fn new(
        inner: Arc<Inner>,
        at: Timestamp,
        overlay: Layers,
        reads: Option<Arc<Mutex<ReadSet>>>,
        pin: Arc<Pin>,
    ) -> Self {
        ReadView { inner, at, overlay, reads, _pin: pin }
    }

    /// The moment that the view shows.
    pub fn timestamp(&self) -> Timestamp {
        self.at
    }

    /// The value of a key.
    ///
    /// # Errors
    /// `SnapshotTooOld`; the engine cannot read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.get_with(key, |value| value.map(Value::copy_from_slice))
    }

    /// Calls `f` with the value of a key, without a copy.
    ///
    /// # Errors
    /// `SnapshotTooOld`; the engine cannot read.
    pub fn get_with<R>(&self, key: &[u8], f: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        if let Some(write) = self.overlay.get(key) {
            return Ok(f(write.value.as_deref()));
        }
        if let Some(reads) = &self.reads {
            reads.lock().record(&Span::key(key));
        }
        self.inner.read_with(key, self.at, f)
    }

    /// Begins to notice changes of a span, for an image of what a scan finds there; see [`crate::watch`]. `None` when a part
    /// of it is watched already.
    pub fn watch(&self, span: &Span) -> Option<SpanWatch> {
        self.inner.data.watch(span)
    }

    /// Whether a scan of the span shows nothing but versions: neither own writes nor prewrites lie over them. Only then may
    /// an image stand in for the scan, and only if its watch is looked at after this.
    ///
    /// # Errors
    /// The engine cannot read.
    pub fn is_bare(&self, span: &Span) -> Result<bool> {
        Ok(self.over(span)?.is_none())
    }

    /// Notes a read of the span that an image answered, as a scan notes its own: SERIALIZABLE depends on it.
    pub fn record_read(&self, span: &Span) {
        if let Some(reads) = &self.reads {
            reads.lock().record(span);
        }
    }

    /// What lies over the versions of a span: committed but unresolved prewrites, and then the transaction's own writes.
    fn over(&self, span: &Span) -> Result<Option<Arc<Writes>>> {
        let own = self.overlay.over(span);
        if !self.inner.data.any_locks() || span.is_empty() {
            return Ok(own);
        }
        let mut visible = Writes::new();
        // A transaction is asked about once, however many keys it locks: what is undecided now commits above the snapshot.
        let mut known: HashMap<TxnId, bool> = HashMap::new();
        for lock in self.inner.data.locks_in(span)? {
            let shown = match known.get(&lock.txn) {
                Some(shown) => *shown,
                None => {
                    let shown = self.inner.is_visible(&lock, self.at)?;
                    known.insert(lock.txn, shown);
                    shown
                }
            };
            if shown {
                visible.insert(lock.key, Buffered { value: lock.value, base: Timestamp::ZERO });
            }
        }
        if visible.is_empty() {
            return Ok(own);
        }
        if let Some(own) = own {
            visible.extend(own.range::<Key, _>(range_of(span)).map(|(key, write)| (key.clone(), write.clone())));
        }
        Ok(Some(Arc::new(visible)))
    }

    /// The keys of a span with their values, in order.
    pub fn scan(&self, span: Span, direction: Direction) -> ScanCursor {
        ScanCursor {
            scan: VersionScan::new(span.clone(), direction, self.at),
            view: self.clone(),
            span,
            direction,
            state: State::Fresh,
        }
    }
}

impl Inner {
    /// The committed value as of `at`.
    pub(super) fn read_with<R>(&self, key: &[u8], at: Timestamp, f: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        if self.data.any_locks()
            && let Some(lock) = self.data.lock_on(key)?
            && self.is_visible(&lock, at)?
        {
            return Ok(f(lock.value.as_deref()));
        }
        let mut f = Some(f);
        let mut answer = None;
        self.data.read(key, at, &mut |value| answer = f.take().map(|f| f(value)))?;
        answer.ok_or_else(|| crate::Error::corruption("a read gave no answer"))
    }

    /// Whether the write of a lock belongs to the snapshot at `at`.
    fn is_visible(&self, lock: &KeyLock, at: Timestamp) -> Result<bool> {
        if !may_matter(lock.start_ts, at) {
            return Ok(false);
        }
        // The oracle is in this process and snapshots stay at or below its watermark, so a transaction that is undecided now
        // commits above `at` without the primary's leader having to remember this read.
        let status = self.data.status(&lock.primary, lock.txn)?;
        Ok(visibility(status, at, Default::default()) == Visibility::Visible)
    }
}

enum State {
    /// Nothing was read yet.
    Fresh,
    /// Nothing lies over the versions.
    Plain,
    /// Something does.
    Merging(Merge),
}

/// What lies over the versions of a span, and how far the merge has come.
struct Merge {
    over: Arc<Writes>,
    /// Keys of `over` up to here (in the scan's direction) are done.
    done: Option<Key>,
    /// Rows of the versions that were read ahead.
    ahead: VecDeque<(Key, Value)>,
    /// Whether the versions may have more.
    more: bool,
}

/// A scan that pauses after every chunk: it holds what is left of its span, and no resources of the engine.
pub struct ScanCursor {
    view: ReadView,
    span: Span,
    direction: Direction,
    scan: VersionScan,
    state: State,
}

/// Rows of the versions that are read ahead at a time when they are merged with something.
const AHEAD_ROWS: usize = 256;

impl ScanCursor {
    /// Visits the next rows: at most `max_rows`, and no further one once about `max_bytes` of keys and values were visited.
    /// Returns whether more may follow; a step can be without rows although more follow. Blocks on the disk: call it from
    /// where that is allowed, or in small steps.
    ///
    /// # Errors
    /// `SnapshotTooOld`; the engine cannot read.
    pub fn next_chunk(
        &mut self,
        max_rows: usize,
        max_bytes: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool> {
        if matches!(self.state, State::Fresh) {
            self.state = match self.view.over(&self.span)? {
                Some(over) => State::Merging(Merge { over, done: None, ahead: VecDeque::new(), more: true }),
                None => State::Plain,
            };
        }
        let result = match &mut self.state {
            State::Merging(merge) => {
                let mut read = |rows: usize, bytes: usize, row: &mut dyn FnMut(&[u8], &[u8])| {
                    self.view.inner.data.scan(self.view.at, &mut self.scan, rows, bytes, row)
                };
                merge.next_chunk(&mut read, &self.span, self.direction, max_rows, max_bytes, visit)
            }
            _ => self.view.inner.data.scan(self.view.at, &mut self.scan, max_rows, max_bytes, visit),
        };
        self.record_read();
        result
    }

    /// The newest version that the scan has met so far, whether its snapshot sees it or not.
    pub fn newest(&self) -> Timestamp {
        self.scan.newest()
    }

    /// What is left to scan, when nothing lies over the versions of the span.
    pub fn rest(&self) -> Option<&Span> {
        matches!(self.state, State::Plain).then(|| self.scan.remaining())
    }

    /// A serializable transaction depends on what it has seen so far, gaps included.
    fn record_read(&self) {
        let Some(reads) = &self.view.reads else { return };
        let left = self.scan.remaining();
        let seen = match self.direction {
            _ if left.is_empty() => self.span.clone(),
            Direction::Forward => Span { start: self.span.start.clone(), end: left.start.clone() },
            Direction::Backward => Span { start: left.end.clone(), end: self.span.end.clone() },
        };
        reads.lock().record(&seen);
    }
}

type ReadVersions<'a> = dyn FnMut(usize, usize, &mut dyn FnMut(&[u8], &[u8])) -> Result<bool> + 'a;

fn range_of(span: &Span) -> (Bound<&Key>, Bound<&Key>) {
    // An empty span must not become an inverted range, which a BTreeMap refuses with a panic.
    if span.is_empty() {
        return (Bound::Included(&span.start), Bound::Excluded(&span.start));
    }
    (Bound::Included(&span.start), Bound::Excluded(&span.end))
}

impl Merge {
    /// `read` reads the next rows of the versions: at most so many rows and bytes.
    fn next_chunk(
        &mut self,
        read: &mut ReadVersions<'_>,
        span: &Span,
        direction: Direction,
        max_rows: usize,
        max_bytes: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool> {
        let over = self.over.clone();
        let (low, high) = range_of(span);
        let bounds = match (direction, self.done.as_ref()) {
            (_, None) => (low, high),
            (Direction::Forward, Some(done)) => (Bound::Excluded(done), high),
            (Direction::Backward, Some(done)) => (low, Bound::Excluded(done)),
        };
        let mut forward = over.range::<Key, _>(bounds);
        let mut next_over = |from: Direction| match from {
            Direction::Forward => forward.next(),
            Direction::Backward => forward.next_back(),
        };
        let mut pending = next_over(direction);
        let mut done = None;
        let (mut rows, mut bytes) = (0, 0);
        let more = loop {
            if rows >= max_rows || bytes >= max_bytes {
                break pending.is_some() || self.more || !self.ahead.is_empty();
            }
            if self.ahead.is_empty() && self.more {
                let ahead = &mut self.ahead;
                self.more = read(max_rows.min(AHEAD_ROWS), max_bytes, &mut |key, value| {
                    ahead.push_back((Key::copy_from_slice(key), Value::copy_from_slice(value)));
                })?;
                if self.ahead.is_empty() && self.more {
                    // A barren step: the caller decides when to go on.
                    break true;
                }
            }
            let (over_first, same) = match (pending, self.ahead.front()) {
                (None, None) => break false,
                (Some(_), None) => (true, false),
                (None, Some(_)) => (false, false),
                (Some((over_key, _)), Some((key, _))) => match direction {
                    Direction::Forward => (over_key <= key, over_key == key),
                    Direction::Backward => (over_key >= key, over_key == key),
                },
            };
            if over_first {
                if same {
                    self.ahead.pop_front();
                }
                if let Some((key, write)) = pending {
                    if let Some(value) = &write.value {
                        rows += 1;
                        bytes += key.len() + value.len();
                        visit(key, value);
                    }
                    done = Some(key.clone());
                }
                pending = next_over(direction);
            } else if let Some((key, value)) = self.ahead.pop_front() {
                rows += 1;
                bytes += key.len() + value.len();
                visit(&key, &value);
            }
        };
        if done.is_some() {
            self.done = done;
        }
        Ok(more)
    }
}
