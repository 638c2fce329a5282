//! Spans whose changes are noticed: whoever keeps an image of a span's rows learns when it has gone stale.
//!
//! An image is what a scan at some moment found in a span. It is what a scan at `at` would find too, if
//!
//! 1. no version that the scan met is newer than its own snapshot, or than `at` (a scan meets the newest version of every
//!    key, also those that its snapshot does not see),
//! 2. the watch, begun before the scan, has noticed no version at or below `at`, and
//! 3. nothing lies over the versions: no write of the reader's own, no prewrite that its snapshot sees
//!    ([`crate::ReadView::is_bare`], asked before the watch).
//!
//! Versions are noticed after they are written and before the locks that they resolve disappear, before their command is
//! answered, and so before any snapshot includes them. A version that is written before the watch begins is met by the
//! scan, one that is written later is noticed: none is missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::api::{Key, Span, Timestamp};

#[derive(Debug)]
struct Watched {
    end: Key,
    /// The oldest version noticed; the maximum when there is none.
    changed: Arc<AtomicU64>,
}

/// All watched spans of a node. They do not overlap.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    spans: RwLock<BTreeMap<Key, Watched>>,
    count: AtomicUsize,
}

impl Watches {
    /// Begins to watch; `None` when a part of the span is watched already, or the span is empty.
    pub(crate) fn watch(self: &Arc<Self>, span: &Span) -> Option<SpanWatch> {
        if span.is_empty() {
            return None;
        }
        let mut spans = self.spans.write();
        if spans.range(..span.end.clone()).next_back().is_some_and(|(_, before)| before.end > span.start) {
            return None;
        }
        let changed = Arc::new(AtomicU64::new(u64::MAX));
        spans.insert(span.start.clone(), Watched { end: span.end.clone(), changed: Arc::clone(&changed) });
        self.count.store(spans.len(), Ordering::SeqCst);
        Some(SpanWatch { watches: Arc::clone(self), start: span.start.clone(), changed })
    }

    /// Whether nothing is watched, so that writers need not tell.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// A version of `key` was written.
    pub(crate) fn note(&self, key: &[u8], ts: Timestamp) {
        let spans = self.spans.read();
        let upto = (std::ops::Bound::Unbounded, std::ops::Bound::Included(key));
        if let Some((_, watched)) = spans.range::<[u8], _>(upto).next_back()
            && watched.end.as_ref() > key
        {
            watched.changed.fetch_min(ts.0, Ordering::AcqRel);
        }
    }

    /// Keys of the span went away or were replaced wholesale: no image of them is good for any moment.
    pub(crate) fn note_span(&self, span: &Span) {
        for (_, watched) in self.spans.read().range(..span.end.clone()).rev() {
            if watched.end <= span.start {
                break;
            }
            watched.changed.store(0, Ordering::Release);
        }
    }
}

/// A span that is watched as long as this lives.
#[derive(Debug)]
pub struct SpanWatch {
    watches: Arc<Watches>,
    start: Key,
    changed: Arc<AtomicU64>,
}

impl SpanWatch {
    /// The oldest version that was written since the watch began; the maximum when there was none.
    pub fn changed(&self) -> Timestamp {
        Timestamp(self.changed.load(Ordering::Acquire))
    }

    /// Watches the keys up to `end`, too, from now on; not if some of them are watched already, which gives false.
    pub(crate) fn extend_to(&self, end: &Key) -> bool {
        let mut spans = self.watches.spans.write();
        let later = (std::ops::Bound::Excluded(&self.start), std::ops::Bound::Excluded(end));
        if *end <= self.start || spans.range::<Key, _>(later).next().is_some() {
            return false;
        }
        match spans.get_mut(&self.start) {
            Some(watched) if watched.end <= *end => {
                watched.end = end.clone();
                true
            }
            _ => false,
        }
    }

    /// Stops watching the keys from `end` on.
    pub fn end_at(&self, end: &Key) {
        let mut spans = self.watches.spans.write();
        if let Some(watched) = spans.get_mut(&self.start)
            && *end < watched.end
            && *end > self.start
        {
            watched.end = end.clone();
        }
    }
}

impl Drop for SpanWatch {
    fn drop(&mut self) {
        let mut spans = self.watches.spans.write();
        spans.remove(&self.start);
        self.watches.count.store(spans.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: &str, end: &str) -> Span {
        Span::new(start.as_bytes().to_vec(), end.as_bytes().to_vec())
    }

    #[test]
    fn what_is_inside_is_noticed_and_nothing_else() {
        let watches = Arc::new(Watches::default());
        let watch = watches.watch(&span("b", "d")).unwrap();
        for outside in ["a", "az", "d", "e"] {
            watches.note(outside.as_bytes(), Timestamp(5));
        }
        assert_eq!(watch.changed(), Timestamp::MAX);
        watches.note(b"b", Timestamp(9));
        watches.note(b"czz", Timestamp(7));
        watches.note(b"c", Timestamp(8));
        assert_eq!(watch.changed(), Timestamp(7));
    }

    #[test]
    fn spans_do_not_overlap_and_end_with_their_watch() {
        let watches = Arc::new(Watches::default());
        let first = watches.watch(&span("b", "d")).unwrap();
        for overlapping in [span("a", "c"), span("c", "e"), span("b", "d"), span("bb", "c"), span("a", "z")] {
            assert!(watches.watch(&overlapping).is_none());
        }
        let second = watches.watch(&span("d", "f")).unwrap();
        first.end_at(&Key::from_static(b"c"));
        watches.note(b"cc", Timestamp(1));
        assert_eq!(first.changed(), Timestamp::MAX);
        watches.note_span(&span("e", "z"));
        assert_eq!((first.changed(), second.changed()), (Timestamp::MAX, Timestamp(0)));
        drop((first, second));
        assert!(watches.is_empty());
        assert!(watches.watch(&span("a", "z")).is_some());
    }
}
