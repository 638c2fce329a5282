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
        while let Some((key, stored)) = cursor.item() {
            if rows >= rows_max || bytes >= bytes_max || barren >= BARREN_KEYS_MAX {
                self.pause_before(Bytes::copy_from_slice(key));
                return Ok(true);
            }
            let version = record::decode_version(stored).ok_or_else(|| damaged(key))?;
            self.newest = self.newest.max(version.ts);
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
