//! The writes that a transaction has buffered: what its own statements see of them, and what savepoints undo.
//!
//! Two sorted maps: `kept` holds the writes of finished statements, `current` those of the statement that runs now, which the
//! statement's own view must not see. Both are shared (copy on write) with the views that were taken of them, so that taking a
//! view costs nothing as long as it is gone before the next write. Savepoints are marks in an undo log, so neither they nor
//! their number make a read slower.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use crate::api::{Key, SavepointId, Span, Timestamp, Value};
use crate::error::{Error, Result};

/// Memory of a buffered write beside its key and value, in bytes: the two handles, the base, and the tree's share.
const WRITE_OVERHEAD_BYTES: usize = 112;

/// One buffered write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffered {
    /// The new value; `None` deletes.
    pub value: Option<Value>,
    /// The commit fails when the key has a version newer than this.
    pub base: Timestamp,
}

/// The writes of finished statements, by key.
pub type Writes = BTreeMap<Key, Buffered>;

fn size(key: &[u8], write: &Buffered) -> usize {
    WRITE_OVERHEAD_BYTES + key.len() + write.value.as_ref().map_or(0, |value| value.len())
}

/// The keys that lie in a span.
fn within<'w>(writes: &'w Writes, span: &Span) -> impl Iterator<Item = &'w Key> + use<'w> {
    let range = (Bound::Included(span.start.clone()), Bound::Excluded(span.end.clone()));
    let range = (!span.is_empty()).then(|| writes.range(range));
    range.into_iter().flatten().map(|(key, _)| key)
}

#[derive(Debug)]
struct Undo {
    key: Key,
    before: Option<Buffered>,
}

/// The buffered writes of one transaction.
#[derive(Debug)]
pub struct Overlay {
    kept: Arc<Writes>,
    current: Arc<Writes>,
    undo: Vec<Undo>,
    /// For each savepoint, the length of `undo` when it was set.
    savepoints: Vec<usize>,
    bytes: usize,
    /// What `bytes` was when the running statement began.
    bytes_before: usize,
    limit_bytes: usize,
}

impl Overlay {
    /// An empty overlay that holds at most `limit_bytes` of keys, values and their bookkeeping.
    pub fn new(limit_bytes: usize) -> Self {
        Overlay {
            kept: Arc::default(),
            current: Arc::default(),
            undo: Vec::new(),
            savepoints: Vec::new(),
            bytes: 0,
            bytes_before: 0,
            limit_bytes,
        }
    }

    /// Buffers a write of the current statement. A key that is written again keeps its first base: that is when the
    /// transaction began to rely on it.
    ///
    /// # Errors
    /// `TransactionTooLarge`; nothing is buffered then.
    pub fn write(&mut self, key: Key, value: Option<Value>, base: Timestamp) -> Result<()> {
        self.replace(key, value, base).map(|_| ())
    }

    /// As [`Overlay::write`]; tells whether a buffered write had given the key a value.
    ///
    /// # Errors
    /// As [`Overlay::write`].
    pub fn replace(&mut self, key: Key, value: Option<Value>, base: Timestamp) -> Result<bool> {
        let kept = if self.kept.is_empty() { None } else { self.kept.get(&key) };
        let mut had_value = kept.is_some_and(|write| write.value.is_some());
        let mut write = Buffered { value, base: kept.map_or(base, |write| write.base) };
        let new = size(&key, &write);
        match Arc::make_mut(&mut self.current).entry(key) {
            Entry::Vacant(place) => {
                if self.bytes + new > self.limit_bytes {
                    return Err(Error::TransactionTooLarge { limit_bytes: self.limit_bytes });
                }
                self.bytes += new;
                place.insert(write);
            }
            Entry::Occupied(mut place) => {
                let bytes = self.bytes - size(place.key(), place.get()) + new;
                if bytes > self.limit_bytes {
                    return Err(Error::TransactionTooLarge { limit_bytes: self.limit_bytes });
                }
                self.bytes = bytes;
                write.base = place.get().base;
                had_value = place.insert(write).value.is_some();
            }
        }
        Ok(had_value)
    }

    /// Charges the transaction for what its user remembers on its behalf.
    ///
    /// # Errors
    /// `TransactionTooLarge`; nothing is charged then.
    pub fn charge(&mut self, bytes: usize) -> Result<()> {
        if self.bytes + bytes > self.limit_bytes {
            return Err(Error::TransactionTooLarge { limit_bytes: self.limit_bytes });
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Takes back what was charged.
    pub fn discharge(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// The newest buffered write of the key, that of the running statement included.
    pub fn newest(&self, key: &[u8]) -> Option<&Buffered> {
        if self.is_empty() {
            return None;
        }
        self.current.get(key).or_else(|| self.kept.get(key))
    }

    /// The writes of finished statements; `None` when there are none.
    pub fn shared(&self) -> Option<Arc<Writes>> {
        if self.kept.is_empty() { None } else { Some(self.kept.clone()) }
    }

    /// The writes of the running statement; `None` when there are none.
    pub fn running(&self) -> Option<Arc<Writes>> {
        if self.current.is_empty() { None } else { Some(self.current.clone()) }
    }

    /// Bytes of all that is buffered.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that the running statement has added.
    pub fn running_bytes(&self) -> usize {
        self.bytes.saturating_sub(self.bytes_before)
    }

    /// Takes the running statement's writes to the keys that are `wanted` out.
    pub fn take_running(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Writes {
        let all = Arc::unwrap_or_clone(std::mem::take(&mut self.current));
        let (taken, left) = match all.keys().all(|key| wanted(key)) {
            true => (all, Writes::new()),
            false => all.into_iter().partition(|(key, _)| wanted(key)),
        };
        self.current = Arc::new(left);
        self.bytes -= taken.iter().map(|(key, write)| size(key, write)).sum::<usize>();
        taken
    }

    /// Ends the current statement: its writes join those before, or vanish.
    pub fn finish_statement(&mut self, keep: bool) {
        self.end_statement(keep);
        self.bytes_before = self.bytes;
    }

    fn end_statement(&mut self, keep: bool) {
        if self.current.is_empty() {
            return;
        }
        let current = std::mem::take(&mut self.current);
        if !keep {
            for (key, write) in current.iter() {
                self.bytes -= size(key, write);
            }
            return;
        }
        if self.kept.is_empty() && self.savepoints.is_empty() {
            self.kept = current;
            return;
        }
        let kept = Arc::make_mut(&mut self.kept);
        for (key, write) in Arc::unwrap_or_clone(current) {
            let before = kept.insert(key.clone(), write);
            if !self.savepoints.is_empty() {
                // What the undo log keeps is memory too, so it stays in the account until it is forgotten.
                self.undo.push(Undo { key, before });
            } else if let Some(before) = before {
                self.bytes -= size(&key, &before);
            }
        }
    }

    /// Sets a savepoint.
    pub fn savepoint(&mut self) -> SavepointId {
        self.finish_statement(true);
        self.savepoints.push(self.undo.len());
        SavepointId(self.savepoints.len() as u32)
    }

    /// Undoes everything since the savepoint, which stays set; later ones are gone. An unknown savepoint changes nothing.
    pub fn rollback_to(&mut self, savepoint: SavepointId) {
        self.finish_statement(false);
        let Some(&mark) = (savepoint.0 as usize).checked_sub(1).and_then(|at| self.savepoints.get(at)) else { return };
        self.savepoints.truncate(savepoint.0 as usize);
        let kept = Arc::make_mut(&mut self.kept);
        for undo in self.undo.drain(mark..).rev() {
            let undone = match undo.before {
                Some(before) => kept.insert(undo.key.clone(), before),
                None => kept.remove(&undo.key),
            };
            if let Some(undone) = undone {
                self.bytes -= size(&undo.key, &undone);
            }
        }
    }

    /// Forgets the savepoint and later ones; their writes stay.
    pub fn release(&mut self, savepoint: SavepointId) {
        let Some(at) = (savepoint.0 as usize).checked_sub(1) else { return };
        self.savepoints.truncate(at);
        if self.savepoints.is_empty() {
            for undo in self.undo.drain(..) {
                if let Some(before) = undo.before {
                    self.bytes -= size(&undo.key, &before);
                }
            }
        }
    }

    /// Whether anything that lies in a span is buffered.
    pub fn touches(&self, span: &Span) -> bool {
        [&self.current, &self.kept].iter().any(|writes| within(writes, span).next().is_some())
    }

    /// Takes all writes that lie in a span back, as the last thing before the commit: a return to a savepoint would bring back
    /// some of them. The statement that runs is kept and ends.
    pub fn forget(&mut self, span: &Span) {
        self.finish_statement(true);
        let keys: Vec<Key> = within(&self.kept, span).cloned().collect();
        if keys.is_empty() {
            return;
        }
        let kept = Arc::make_mut(&mut self.kept);
        for key in keys {
            if let Some(write) = kept.remove(&key) {
                self.bytes -= size(&key, &write);
            }
        }
        self.bytes_before = self.bytes;
    }

    /// Whether nothing is buffered.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.current.is_empty()
    }

    /// Number of savepoints that are set.
    pub fn savepoints(&self) -> usize {
        self.savepoints.len()
    }

    /// All writes, for the commit. The statement that runs is kept.
    pub fn into_writes(mut self) -> Writes {
        self.finish_statement(true);
        Arc::unwrap_or_clone(self.kept)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const FROM: Timestamp = Timestamp(7);

    fn put(overlay: &mut Overlay, key: u8, value: u8) {
        overlay.write(Bytes::copy_from_slice(&[key]), Some(Bytes::copy_from_slice(&[value])), FROM).unwrap();
    }

    fn seen(overlay: &Overlay, key: u8) -> Option<u8> {
        overlay.newest(&[key]).and_then(|write| write.value.as_ref()).map(|value| value[0])
    }

    #[test]
    fn a_view_does_not_see_the_running_statement() {
        let mut overlay = Overlay::new(1 << 20);
        put(&mut overlay, 1, 1);
        overlay.finish_statement(true);
        let view = overlay.shared().unwrap();
        put(&mut overlay, 1, 2);
        put(&mut overlay, 2, 2);
        overlay.finish_statement(true);
        assert_eq!(view.len(), 1);
        assert_eq!(view.values().next().unwrap().value.as_deref(), Some(&[1_u8][..]));
        assert_eq!(seen(&overlay, 1), Some(2));
    }

    #[test]
    fn a_failed_statement_leaves_nothing() {
        let mut overlay = Overlay::new(1 << 20);
        put(&mut overlay, 1, 1);
        overlay.finish_statement(false);
        assert!(overlay.is_empty());
        assert_eq!(overlay.bytes, 0);
    }

    #[test]
    fn a_span_is_forgotten() {
        let mut overlay = Overlay::new(1 << 20);
        let span = Span::prefix(&[2]);
        put(&mut overlay, 1, 1);
        put(&mut overlay, 2, 1);
        overlay.savepoint();
        assert!(overlay.touches(&span) && !overlay.touches(&Span::prefix(&[3])));
        put(&mut overlay, 2, 2);
        put(&mut overlay, 3, 2);
        overlay.forget(&span);
        assert_eq!([1, 2, 3].map(|key| seen(&overlay, key)), [Some(1), None, Some(2)]);
        assert!(!overlay.touches(&span));
    }

    #[test]
    fn the_limit_is_an_error_and_buffers_nothing() {
        let mut overlay = Overlay::new(2 * (WRITE_OVERHEAD_BYTES + 2));
        put(&mut overlay, 1, 1);
        put(&mut overlay, 2, 1);
        put(&mut overlay, 2, 2);
        let third = overlay.write(Bytes::from_static(&[3]), None, FROM);
        assert!(matches!(third, Err(Error::TransactionTooLarge { .. })));
        assert_eq!(overlay.into_writes().len(), 2);
    }

    #[test]
    fn the_first_base_stays() {
        let mut overlay = Overlay::new(1 << 20);
        overlay.write(Bytes::from_static(b"a"), None, Timestamp(5)).unwrap();
        overlay.finish_statement(true);
        overlay.write(Bytes::from_static(b"a"), None, Timestamp(9)).unwrap();
        assert_eq!(overlay.into_writes()[&b"a"[..]].base, Timestamp(5));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Write(u8, u8),
        Delete(u8),
        Finish(bool),
        Savepoint,
        RollbackTo(u8),
        Release(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..6_u8, any::<u8>()).prop_map(|(key, value)| Step::Write(key, value)),
            2 => (0..6_u8).prop_map(Step::Delete),
            3 => any::<bool>().prop_map(Step::Finish),
            2 => Just(Step::Savepoint),
            1 => (1..4_u8).prop_map(Step::RollbackTo),
            1 => (1..4_u8).prop_map(Step::Release),
        ]
    }

    type Model = BTreeMap<u8, Option<u8>>;

    proptest! {
        /// Against the obvious model: a stack of whole copies.
        #[test]
        fn savepoints_restore_what_was(steps in proptest::collection::vec(step(), 0..60)) {
            let mut overlay = Overlay::new(1 << 20);
            let (mut kept, mut current): (Model, Model) = Default::default();
            let mut copies: Vec<Model> = Vec::new();
            for step in steps {
                match step {
                    Step::Write(key, value) => { put(&mut overlay, key, value); current.insert(key, Some(value)); }
                    Step::Delete(key) => {
                        overlay.write(Bytes::copy_from_slice(&[key]), None, FROM).unwrap();
                        current.insert(key, None);
                    }
                    Step::Finish(keep) => {
                        overlay.finish_statement(keep);
                        if keep { kept.append(&mut current) } else { current.clear() }
                    }
                    Step::Savepoint => { overlay.savepoint(); kept.append(&mut current); copies.push(kept.clone()); }
                    Step::RollbackTo(number) => {
                        overlay.rollback_to(SavepointId(u32::from(number)));
                        current.clear();
                        if let Some(copy) = copies.get(usize::from(number) - 1) {
                            kept = copy.clone();
                            copies.truncate(usize::from(number));
                        }
                    }
                    Step::Release(number) => {
                        overlay.release(SavepointId(u32::from(number)));
                        copies.truncate(usize::from(number) - 1);
                    }
                }
            }
            overlay.rollback_to(SavepointId(u32::MAX));
            let bytes = overlay.bytes;
            let no_savepoints = overlay.savepoints.is_empty();
            let writes = overlay.into_writes();
            let found: Model =
                writes.iter().map(|(key, write)| (key[0], write.value.as_ref().map(|value| value[0]))).collect();
            prop_assert_eq!(found, kept);
            if no_savepoints {
                prop_assert_eq!(bytes, writes.iter().map(|(key, write)| size(key, write)).sum::<usize>());
            }
        }
    }
}
