//! Runs of deleted keys that scans need not step over: the front of a queue is one, and a scan that looks for the first row
//! would meet every row that was ever taken from it, until a compaction has dropped what garbage collection left behind.
//!
//! A void is a span in which the newest version of every key is a tombstone. For a snapshot that sees all of these it is empty as
//! long as nothing is written there. So it is watched ([`crate::watch`]) before its keys are looked at, and good until the watch
//! notices a write. Prewrites lie over versions, here as elsewhere.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::api::{Key, Span, Timestamp};
use crate::engine::{Engine, Family};
use crate::error::Result;
use crate::mvcc::{self, Voids, record};
use crate::watch::{SpanWatch, Watches};

/// Most voids that are known at a time; no further ones are noted.
const VOIDS_MAX: usize = 4096;

#[derive(Debug)]
struct Void {
    /// The first key behind it.
    end: Key,
    /// Its newest tombstone.
    newest: Timestamp,
    watch: SpanWatch,
}

/// The voids of a node, by their first keys. They do not overlap.
#[derive(Debug, Default)]
pub(super) struct KnownVoids {
    watches: Arc<Watches>,
    known: Mutex<BTreeMap<Key, Void>>,
    count: AtomicUsize,
}

impl KnownVoids {
    /// What has to be told of writes.
    pub(super) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// The void around a key that is one for the snapshot, with its newest tombstone.
    pub(super) fn around(&self, key: &[u8], at: Timestamp) -> Option<(Span, Timestamp)> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut known = self.known.lock();
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (start, void) = known.range::<[u8], _>(upto).next_back().filter(|(_, void)| void.end.as_ref() > key)?;
        let start = start.clone();
        if void.watch.changed() != Timestamp::MAX {
            known.remove(&start);
            self.count.store(known.len(), Ordering::Relaxed);
            return None;
        }
        (void.newest <= at).then(|| (Span::new(start, void.end.clone()), void.newest))
    }

    /// Notes a run of deleted keys, if that is what it still is. With `behind`, the run goes on behind the void that ends there.
    pub(super) fn note(&self, engine: &dyn Engine, run: &Span, behind: Option<&Key>) -> Result<()> {
        let mut known = self.known.lock();
        let before = behind.and_then(|end| {
            let void = known.range_mut(..end.clone()).next_back();
            void.filter(|(_, void)| void.end == *end && void.watch.extend_to(&run.end))
        });
        if let Some((_, void)) = before {
            if let Some(newest) = newest_tombstone(engine, &Span::new(void.end.clone(), run.end.clone()))? {
                void.end = run.end.clone();
                void.newest = void.newest.max(newest);
            }
            return Ok(());
        }
        if known.len() >= VOIDS_MAX {
            return Ok(());
        }
        let Some(watch) = self.watches.watch(run) else { return Ok(()) };
        if let Some(newest) = newest_tombstone(engine, run)? {
            known.insert(run.start.clone(), Void { end: run.end.clone(), newest, watch });
            self.count.store(known.len(), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The newest of the versions in the span, if all are tombstones.
fn newest_tombstone(engine: &dyn Engine, span: &Span) -> Result<Option<Timestamp>> {
    let mut cursor = engine.cursor(Family::Latest, &span.start, Some(&span.end))?;
    cursor.seek_first()?;
    let mut newest = Timestamp::ZERO;
    while let Some((key, stored)) = cursor.item() {
        let version = record::decode_version(stored).ok_or_else(|| mvcc::damaged(key))?;
        if version.value.is_some() {
            return Ok(None);
        }
        newest = newest.max(version.ts);
        cursor.next()?;
    }
    Ok(Some(newest))
}

/// The voids for scans of an engine.
pub(super) struct VoidsOf<'e> {
    pub(super) voids: &'e KnownVoids,
    pub(super) engine: &'e dyn Engine,
}

impl Voids for VoidsOf<'_> {
    fn around(&self, key: &[u8], at: Timestamp) -> Option<(Span, Timestamp)> {
        self.voids.around(key, at)
    }

    fn note(&self, run: &Span, behind: Option<&Key>) -> Result<()> {
        self.voids.note(self.engine, run, behind)
    }
}
