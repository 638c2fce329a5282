//! Reading a span of keys in steps.

use bytes::Bytes;

use super::read::{History, damaged};
use super::record;
use crate::api::{Direction, Key, Span, Timestamp};
use crate::engine::{Family, Reads};
use crate::error::Result;

/// Keys that one step may look at without giving a row (tombstones, rows younger than the snapshot), beyond
/// its number of rows: bounds the time of a step over a span where much was deleted.
const BARREN_KEYS_MAX: usize = 16 * 1024;

/// Deleted keys in a row from which on it is worth while to know of them.
const RUN_KEYS_MIN: usize = if cfg!(test) { 2 } else { 128 };

/// Spans without a row that are known, and become so.
pub trait Voids {
    /// The span around `key` that is empty for the snapshot at `at`, with the newest version there, which it sees.
    fn around(&self, key: &[u8], at: Timestamp) -> Option<(Span, Timestamp)>;

    /// All keys of the span that a scan met were deleted. With `behind`, it goes on behind the empty span that ends there.
    ///
    /// # Errors
    /// The disk cannot be read.
    fn note(&self, run: &Span, behind: Option<&Key>) -> Result<()>;
}

/// None is known.
impl Voids for () {
    fn around(&self, _: &[u8], _: Timestamp) -> Option<(Span, Timestamp)> {
        None
    }

    fn note(&self, _: &Span, _: Option<&Key>) -> Result<()> {
        Ok(())
    }
}

/// The deleted keys that a scan has met since its last row.
#[derive(Default)]
struct Run {
    first: Option<Key>,
    last: Vec<u8>,
    keys: usize,
    /// The end of the void that it began behind.
    behind: Option<Key>,
}

impl Run {
    fn add(&mut self, key: &[u8]) {
        if self.first.is_none() {
            self.first = Some(Key::copy_from_slice(key));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        self.keys += 1;
    }

    /// It ends here.
    fn end(&mut self, direction: Direction, voids: &dyn Voids) -> Result<()> {
        let run = std::mem::take(self);
        let Some(first) = run.first.filter(|_| run.keys >= RUN_KEYS_MIN) else { return Ok(()) };
        let span = match direction {
            Direction::Forward => Span::new(first, Span::key(&run.last).end),
            Direction::Backward => Span::new(run.last, Span::key(&first).end),
        };
        voids.note(&span, run.behind.as_ref())
    }
}

/// A scan at a timestamp that can pause: it holds what is left of its span, no cursor.
#[derive(Clone, Debug)]
pub struct VersionScan {
    span: Span,
    direction: Direction,
    ts: Timestamp,
    newest: Timestamp,
}

impl VersionScan {
    /// A scan of what the snapshot at `ts` sees in `span`.
    pub fn new(span: Span, direction: Direction, ts: Timestamp) -> VersionScan {
        VersionScan { span, direction, ts, newest: Timestamp::ZERO }
    }

    /// What is left to scan.
    pub fn remaining(&self) -> &Span {
        &self.span
    }

    /// The newest version that the scan has met so far, whether its snapshot sees it or not.
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Visits the next rows: at most `rows_max`, and no further one once `bytes_max` bytes of keys and values
    /// have been visited. Returns whether more may follow; a step can be without rows although more follow.
    ///
    /// The slices are valid during the visit only.
    ///
    /// # Errors
    /// The disk cannot be read, or holds something else than versions.
    pub fn next_chunk<E>(
        &mut self,
        engine: &E,
        voids: &dyn Voids,
        rows_max: usize,
        bytes_max: usize,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<bool>
    where
        E: Reads + ?Sized,
    {
        if self.span.is_empty() {
            return Ok(false);
        }
        let mut history = History::new();
        let mut cursor = engine.cursor(Family::Latest, &self.span.start, Some(&self.span.end))?;
        match self.direction {
            Direction::Forward => cursor.seek_first()?,
            Direction::Backward => cursor.seek_last()?,
        }
        let (mut rows, mut bytes, mut barren) = (0, 0, 0);
        let mut run = Run::default();
        while let Some((key, stored)) = cursor.item() {
            if rows >= rows_max || bytes >= bytes_max || barren >= BARREN_KEYS_MAX {
                self.pause_before(Bytes::copy_from_slice(key));
                run.end(self.direction, voids)?;
                return Ok(true);
            }
            let version = record::decode_version(stored).ok_or_else(|| damaged(key))?;
            let dead = version.value.is_none() && version.ts <= self.ts;
            if dead
                && run.keys % RUN_KEYS_MIN == 0
                && let Some((void, newest)) = voids.around(key, self.ts)
            {
                run.end(self.direction, voids)?;
                self.newest = self.newest.max(newest);
                barren += 1;
                match self.direction {
                    Direction::Forward if void.end >= self.span.end => break,
                    Direction::Forward => {
                        cursor.seek(&void.end)?;
                        run.behind = Some(void.end);
                    }
                    Direction::Backward if void.start <= self.span.start => break,
                    Direction::Backward => {
                        cursor.seek(&void.start)?;
                        cursor.prev()?;
                    }
                }
                continue;
            }
            self.newest = self.newest.max(version.ts);
            if dead {
                run.add(key);
            } else {
                run.end(self.direction, voids)?;
            }
            let value =
                if version.ts <= self.ts { version.value } else { history.find(engine, key, self.ts)?.flatten() };
            match value {
                Some(value) => {
                    rows += 1;
                    bytes += key.len() + value.len();
                    visit(key, value);
                }
                None => barren += 1,
            }
            match self.direction {
                Direction::Forward => cursor.next()?,
                Direction::Backward => cursor.prev()?,
            }
        }
        run.end(self.direction, voids)?;
        self.span.start = self.span.end.clone();
        Ok(false)
    }

    /// The next step begins with `key`.
    fn pause_before(&mut self, key: Key) {
        match self.direction {
            Direction::Forward => self.span.start = key,
            Direction::Backward => self.span.end = Span::key(&key).end,
        }
    }
}
