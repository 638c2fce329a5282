//! A transaction as a session drives it: statements, savepoints, row locks and buffered writes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::Inner;
use super::loading::{LOAD_BYTES, LOAD_REST_BYTES, Loading};
use super::pins::Pin;
use super::read_set::ReadSet;
use super::shards::{DROPPED_PREFIX, encode_span};
use super::view::{Layers, ReadView};
use crate::api::{
    CommitInfo, Direction, Isolation, KEY_BYTES_MAX, Key, LockMode, LockOutcome, SavepointId, Span, Timestamp, TxnId,
    Value, WaitPolicy,
};
use crate::command::Check;
use crate::error::{Error, Result};
use crate::locks::table::{Acquired, Party};
use crate::overlay::Overlay;

/// The row locks of one transaction, in the order in which they were taken. Released when dropped.
pub(super) struct HeldLocks {
    inner: Arc<Inner>,
    txn: TxnId,
    /// Key and what was held on it before.
    taken: Vec<(Key, Option<LockMode>)>,
    /// The snapshot before which nothing that the transaction relies on was looked at. Garbage collection must not pass it
    /// before the commit is decided: an absent key could not be told from one deleted since.
    oldest: Option<Arc<Pin>>,
}

impl HeldLocks {
    /// None, of a transaction that relies on the snapshot.
    pub(super) fn none(inner: Arc<Inner>, txn: TxnId, oldest: Option<Arc<Pin>>) -> Self {
        HeldLocks { inner, txn, taken: Vec::new(), oldest }
    }

    fn undo_to(&mut self, mark: usize) {
        for (key, before) in self.taken.drain(mark..).rev() {
            self.inner.locks.restore(self.txn, &key, before);
        }
    }
}

impl Drop for HeldLocks {
    fn drop(&mut self) {
        // First things first taken: their first entry releases the key whatever was added later.
        for (key, before) in self.taken.drain(..) {
            if before.is_none() {
                self.inner.locks.restore(self.txn, &key, None);
            }
        }
    }
}

/// See [`Transaction::lock_mark`].
#[derive(Clone, Copy, Debug)]
pub struct LockMark(usize);

/// Where a savepoint goes back to.
struct Mark {
    locks: usize,
    checks: usize,
}

/// A transaction. Dropping it rolls it back.
pub struct Transaction {
    inner: Arc<Inner>,
    id: TxnId,
    label: u32,
    isolation: Isolation,
    read_only: bool,
    read_ts: Timestamp,
    pin: Arc<Pin>,
    /// Whether the one snapshot of repeatable read is taken.
    started: bool,
    overlay: Overlay,
    held: HeldLocks,
    /// For keys locked in this statement: the moment up to which nothing newer than what the lock showed can appear.
    bases: HashMap<Key, Timestamp, RandomState>,
    checks: Vec<Check>,
    marks: Vec<Mark>,
    /// How many checks there were when the statement began.
    checks_before: usize,
    reads: Option<Arc<Mutex<ReadSet>>>,
    /// Ranges dropped so far, undone ones included.
    dropped: u32,
    loading: Loading,
    /// Whether some of what the running statement wrote is in the store already, and cannot be taken back by itself.
    loaded: bool,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Transaction")
            .field("id", &self.id)
            .field("isolation", &self.isolation)
            .field("read_ts", &self.read_ts)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(super) fn new(inner: Arc<Inner>, id: TxnId, isolation: Isolation, read_only: bool) -> Self {
        let read_ts = inner.oracle.watermark();
        let pin = inner.pins.pin(read_ts, id.0 as u64);
        let overlay = Overlay::new(inner.options.max_transaction_bytes);
        // What a read-only transaction reads is consistent at its snapshot, which is where it belongs in the order.
        let serializable = isolation == Isolation::Serializable && !read_only;
        Transaction {
            held: HeldLocks::none(inner.clone(), id, None),
            loading: Loading::new(inner.clone(), id),
            inner,
            id,
            label: 0,
            isolation,
            read_only,
            read_ts,
            pin,
            started: false,
            overlay,
            bases: HashMap::default(),
            checks: Vec::new(),
            checks_before: 0,
            marks: Vec::new(),
            reads: serializable.then(Arc::default),
            dropped: 0,
            loaded: false,
        }
    }

    /// Its name in locks, logs and errors.
    pub fn id(&self) -> TxnId {
        self.id
    }

    /// What those who see it waiting call it: its session's number.
    pub fn set_label(&mut self, label: u32) {
        self.label = label;
    }

    fn party(&self) -> Party {
        Party { transaction: self.id, label: self.label }
    }

    /// How much it sees of others.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// The moment of the current snapshot.
    pub fn read_timestamp(&self) -> Timestamp {
        self.read_ts
    }

    /// Whether writes are refused.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether anything is buffered.
    pub fn has_writes(&self) -> bool {
        !self.overlay.is_empty()
    }

    /// Begins a statement: under read committed with a new snapshot. What an unfinished statement wrote is kept.
    ///
    /// # Errors
    /// `ShuttingDown`.
    pub fn begin_statement(&mut self) -> Result<()> {
        self.inner.check_open()?;
        self.finish_statement(true);
        self.checks_before = self.checks.len();
        if self.isolation == Isolation::ReadCommitted || !self.started {
            self.started = true;
            let read_ts = self.inner.oracle.watermark();
            if read_ts != self.read_ts {
                self.read_ts = read_ts;
                self.pin = self.inner.pins.pin(read_ts, self.id.0 as u64);
            }
        }
        Ok(())
    }

    /// Takes back all that the running statement wrote, so that it can begin again with a new snapshot (under read
    /// committed). Row locks stay.
    ///
    /// # Errors
    /// `ShuttingDown`; `SerializationFailure` when it has loaded something, see [`Transaction::load`].
    pub fn restart_statement(&mut self) -> Result<()> {
        if self.loaded {
            return Err(Error::SerializationFailure);
        }
        self.finish_statement(false);
        self.checks.truncate(self.checks_before);
        self.begin_statement()
    }

    /// Ends the statement: its writes join the transaction's, or vanish. Row locks stay, as in Postgres.
    pub fn finish_statement(&mut self, keep: bool) {
        self.overlay.finish_statement(keep);
        self.bases.clear();
        self.loaded = false;
    }

    /// Names a range that nobody can come to know of before this transaction commits, such as a new table's: what is written
    /// there may be loaded. If the transaction does not commit, the range is dropped.
    pub fn own_span(&mut self, span: Span) {
        self.loading.add(span);
    }

    /// Moves what the statement has written to ranges of its own into the store, when it is much. The statement must be one that
    /// never looks for what it wrote itself and is not started over. Nothing is loaded under other levels than read committed,
    /// whose next snapshot shows it, nor while there is a savepoint to which it could not go back.
    ///
    /// # Errors
    /// `WriteConflict`: a key was written twice. The store's. The transaction cannot go on then.
    pub async fn load(&mut self) -> Result<()> {
        if self.overlay.running_bytes() < LOAD_BYTES { Ok(()) } else { self.load_running().await }
    }

    async fn load_running(&mut self) -> Result<()> {
        let stays = self.isolation == Isolation::ReadCommitted && self.overlay.savepoints() == 0;
        if self.loading.is_empty() || !stays {
            return Ok(());
        }
        let loading = &self.loading;
        let writes = self.overlay.take_running(|key| loading.owns(key));
        if writes.is_empty() {
            return Ok(());
        }
        self.loaded = true;
        self.rely_on_snapshot();
        for (record, written) in self.loading.load(writes, &self.pin, self.read_ts).await? {
            self.overlay.write(record, None, written)?;
        }
        Ok(())
    }

    /// Ends what [`Transaction::load`] began: waits until what is loaded can be seen by the next statement. When the transaction
    /// keeps much in memory by now, most of the rest is loaded too.
    ///
    /// # Errors
    /// As [`Transaction::load`].
    pub async fn finish_load(&mut self) -> Result<()> {
        if self.overlay.bytes() >= LOAD_BYTES && self.overlay.running_bytes() >= LOAD_REST_BYTES {
            self.load_running().await?;
        }
        self.loading.settle().await
    }

    /// Sets a savepoint; the current statement is finished and kept.
    pub fn savepoint(&mut self) -> SavepointId {
        self.bases.clear();
        self.marks.push(Mark { locks: self.held.taken.len(), checks: self.checks.len() });
        self.overlay.savepoint()
    }

    /// Undoes all writes since the savepoint and gives back the row locks that were taken since. The savepoint stays; an
    /// unknown one changes nothing but the current statement, which is dropped.
    pub fn rollback_to(&mut self, savepoint: SavepointId) {
        self.bases.clear();
        self.overlay.rollback_to(savepoint);
        let Some(mark) = (savepoint.0 as usize).checked_sub(1).and_then(|at| self.marks.get(at)) else { return };
        self.checks.truncate(mark.checks);
        self.held.undo_to(mark.locks);
        self.marks.truncate(savepoint.0 as usize);
    }

    /// Forgets the savepoint and all later ones; what was done since stays.
    pub fn release(&mut self, savepoint: SavepointId) {
        if let Some(at) = (savepoint.0 as usize).checked_sub(1) {
            self.marks.truncate(at);
        }
        self.overlay.release(savepoint);
    }

    /// What the current statement sees: the snapshot, and the writes of the statements before.
    pub fn view(&self) -> ReadView {
        let overlay = Layers { kept: self.overlay.shared(), running: None };
        ReadView::new(self.inner.clone(), self.read_ts, overlay, self.reads.clone(), self.pin.clone())
    }

    /// The snapshot with all writes so far, this statement's own included.
    pub fn current_view(&self) -> ReadView {
        ReadView::new(self.inner.clone(), self.read_ts, self.layers(), self.reads.clone(), self.pin.clone())
    }

    fn layers(&self) -> Layers {
        Layers { kept: self.overlay.shared(), running: self.overlay.running() }
    }

    /// All that is committed now, whatever the isolation level, with all writes so far: what a constraint has to hold
    /// against. To depend on what it shows is the caller's business ([`Transaction::check_unchanged_since`]).
    pub fn newest_view(&mut self) -> ReadView {
        self.rely_on_snapshot();
        let at = self.inner.oracle.watermark();
        let pin = self.inner.pins.pin(at, self.id.0 as u64);
        ReadView::new(self.inner.clone(), at, self.layers(), None, pin)
    }

    /// The value of a key, this statement's own writes included.
    ///
    /// # Errors
    /// `SnapshotTooOld`; the engine cannot read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        if let Some(write) = self.overlay.newest(key) {
            return Ok(write.value.clone());
        }
        if let Some(reads) = &self.reads {
            reads.lock().record(&Span::key(key));
        }
        self.inner.read_with(key, self.read_ts, |value| value.map(Value::copy_from_slice))
    }

    /// As [`Transaction::lock`], but the lock is given back, if it was not held before, when the key has a value: for those
    /// who want the key only if it is free. Somebody who holds on to a key that has a value, without being about to take it
    /// away, is not waited for.
    ///
    /// # Errors
    /// As [`Transaction::lock`].
    pub async fn lock_if_free(&mut self, key: &[u8], mode: LockMode, wait: WaitPolicy) -> Result<LockOutcome> {
        let free = |outcome: &Result<LockOutcome>| matches!(outcome, Ok(LockOutcome::Granted { current: None, .. }));
        let at_once = self.lock_if(key, mode, WaitPolicy::SkipLocked, free).await;
        if !matches!(at_once, Ok(LockOutcome::Skipped)) {
            return at_once;
        }
        // Whoever lets the key be shared leaves it where it is.
        let shared = self.lock_if(key, LockMode::KeyShare, WaitPolicy::SkipLocked, |_| false).await;
        if !matches!(shared, Ok(LockOutcome::Skipped | LockOutcome::Granted { current: None, .. })) {
            return shared;
        }
        self.lock_if(key, mode, wait, free).await
    }

    /// As [`Transaction::lock`], but a lock that was not held before is given back unless the outcome is as wanted.
    async fn lock_if(
        &mut self,
        key: &[u8],
        mode: LockMode,
        wait: WaitPolicy,
        wanted: impl FnOnce(&Result<LockOutcome>) -> bool,
    ) -> Result<LockOutcome> {
        let mark = self.lock_mark();
        let outcome = self.lock(key, mode, wait).await;
        if !wanted(&outcome) {
            self.give_back(mark, key);
        }
        outcome
    }

    /// The locks that are held now, for [`Transaction::give_back`].
    pub fn lock_mark(&self) -> LockMark {
        LockMark(self.held.taken.len())
    }

    /// Gives the locks back that were taken since a mark, all on one key, which is not wanted after all.
    pub fn give_back(&mut self, mark: LockMark, key: &[u8]) {
        if self.held.taken.len() > mark.0 {
            self.held.undo_to(mark.0);
            self.bases.remove(key);
        }
    }

    /// Holds on to a key (KEY SHARE) until the end of the transaction, and tells whether it has a value now, that it came
    /// to or that was changed since the snapshot included: only whether there is one matters. Somebody who is about to take the
    /// value away is waited for, somebody who is about to bring one is not.
    ///
    /// # Errors
    /// `Deadlock`, `LockTimeout`, `LockNotAvailable`; `WriteConflict` when the one snapshot of repeatable read or serializable
    /// has it and it was taken away since; `ReadOnlyTransaction`.
    pub async fn hold_present(&mut self, key: &[u8], wait: WaitPolicy) -> Result<bool> {
        if self.read_only {
            return Err(Error::ReadOnlyTransaction);
        }
        // What somebody is only about to bring is not there yet, and not waited for.
        let at_once = self.lock_object(key, LockMode::KeyShare, WaitPolicy::SkipLocked).await?;
        if at_once == LockOutcome::Skipped {
            if !self.is_present(key).await? {
                return Ok(false);
            }
            self.lock_object(key, LockMode::KeyShare, wait).await?;
        }
        self.is_present(key).await
    }

    /// Whether a key has a value now, as [`Transaction::hold_present`] tells it.
    async fn is_present(&mut self, key: &[u8]) -> Result<bool> {
        if let Some(write) = self.overlay.newest(key) {
            return Ok(write.value.is_some());
        }
        self.rely_on_snapshot();
        let latest = self.inner.latest_committed(key, self.id).await?;
        let (latest_ts, current) = latest.unwrap_or((Timestamp::ZERO, None));
        if current.is_none() && latest_ts > self.read_ts && self.isolation != Isolation::ReadCommitted {
            return Err(Error::WriteConflict { key: Key::copy_from_slice(key) });
        }
        Ok(current.is_some())
    }

    /// Locks a row until the end of the transaction, and tells its value now.
    ///
    /// # Errors
    /// `Deadlock`, `LockTimeout`, `LockNotAvailable`; `WriteConflict` when the row has changed since the one snapshot of
    /// repeatable read or serializable; `ReadOnlyTransaction`.
    pub async fn lock(&mut self, key: &[u8], mode: LockMode, wait: WaitPolicy) -> Result<LockOutcome> {
        if self.read_only {
            return Err(Error::ReadOnlyTransaction);
        }
        match self.inner.locks.acquire(self.party(), key, mode, wait).await? {
            Acquired::Skipped => return Ok(LockOutcome::Skipped),
            Acquired::Held { previous, grown: true } => {
                self.held.taken.push((Key::copy_from_slice(key), previous));
            }
            Acquired::Held { .. } => {}
        }
        if let Some(write) = self.overlay.newest(key) {
            let current = write.value.clone();
            return Ok(LockOutcome::Granted { current, changed: false, version: Timestamp::ZERO });
        }
        self.rely_on_snapshot();
        // Taken before looking: everything committed at or below it is there to be seen, so nothing older than the base can
        // appear later.
        let looked_at = self.inner.oracle.watermark();
        let latest = self.inner.latest_committed(key, self.id).await?;
        let (latest_ts, current) = latest.unwrap_or((Timestamp::ZERO, None));
        let changed = latest_ts > self.read_ts;
        if changed && self.isolation != Isolation::ReadCommitted {
            return Err(Error::WriteConflict { key: Key::copy_from_slice(key) });
        }
        if let Some(reads) = &self.reads {
            reads.lock().record(&Span::key(key));
        }
        self.bases.insert(Key::copy_from_slice(key), latest_ts.max(looked_at));
        Ok(LockOutcome::Granted { current, changed, version: latest_ts })
    }

    /// Locks a key as a name of something (a table's descriptor) until the end of the transaction, without looking at its
    /// value.
    ///
    /// # Errors
    /// `Deadlock`, `LockTimeout`, `LockNotAvailable`.
    pub async fn lock_object(&mut self, key: &[u8], mode: LockMode, wait: WaitPolicy) -> Result<LockOutcome> {
        match self.inner.locks.acquire(self.party(), key, mode, wait).await? {
            Acquired::Skipped => return Ok(LockOutcome::Skipped),
            Acquired::Held { previous, grown: true } => {
                self.held.taken.push((Key::copy_from_slice(key), previous));
            }
            Acquired::Held { .. } => {}
        }
        Ok(LockOutcome::Granted { current: None, changed: false, version: Timestamp::ZERO })
    }

    /// Buffers a write (none deletes) to a key that only ever changes together with `guard`, which the statement has locked:
    /// the commit fails if the key has changed since that lock was taken.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn write_guarded(&mut self, guard: &[u8], key: Key, value: Option<Value>) -> Result<()> {
        if let (Some(base), None) = (self.bases.get(guard).copied(), self.bases.get(&key)) {
            self.bases.insert(key.clone(), base);
        }
        self.write(key, value)
    }

    /// Buffers a put. The commit fails if the key has changed since it was locked in this statement, or else since the
    /// snapshot.
    ///
    /// # Errors
    /// `TransactionTooLarge`, `KeyTooLong`, `ReadOnlyTransaction`.
    pub fn put(&mut self, key: Key, value: Value) -> Result<()> {
        self.write(key, Some(value))
    }

    /// As [`Transaction::put`], for a key that the caller knows to be free in the snapshot; tells whether the transaction itself
    /// has given it a value already, which is then replaced.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn put_new(&mut self, key: Key, value: Value) -> Result<bool> {
        let base = self.base_of(&key)?;
        self.overlay.replace(key, Some(value), base)
    }

    /// Whether the snapshot has no key in the span. What the transaction has written does not count.
    ///
    /// # Errors
    /// `SnapshotTooOld`; the engine cannot read.
    pub fn is_vacant(&self, span: Span) -> Result<bool> {
        let (at, pin) = (self.read_ts, self.pin.clone());
        let view = ReadView::new(self.inner.clone(), at, Layers::default(), self.reads.clone(), pin);
        let mut cursor = view.scan(span, Direction::Forward);
        let mut vacant = true;
        while vacant && cursor.next_chunk(1, usize::MAX, &mut |_, _| vacant = false)? {}
        Ok(vacant)
    }

    /// Buffers a delete, as [`Transaction::put`].
    ///
    /// # Errors
    /// `TransactionTooLarge`, `KeyTooLong`, `ReadOnlyTransaction`.
    pub fn delete(&mut self, key: Key) -> Result<()> {
        self.write(key, None)
    }

    /// Drops a range for good when the transaction commits: from then on nobody may begin to read or write it. Snapshots that
    /// exist stay readable, and the space is freed once garbage collection has passed them.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn drop_span(&mut self, span: &Span) -> Result<()> {
        if span.is_empty() {
            return Ok(());
        }
        let key = [DROPPED_PREFIX, &self.id.0.to_be_bytes(), &self.dropped.to_be_bytes()].concat();
        self.dropped += 1;
        self.put(key.into(), encode_span(span))
    }

    /// Whether it has written something in a span.
    pub fn touches(&self, span: &Span) -> bool {
        self.overlay.touches(span)
    }

    /// Takes back what it wrote in a span, as the last thing before it commits. Nothing of that may have been loaded.
    pub fn forget(&mut self, span: &Span) {
        self.overlay.forget(span);
        self.checks.retain(|check| !matches!(check, Check::KeyExists { key } if span.contains(key)));
    }

    /// Charges the transaction's size for what its user remembers on its behalf, in bytes.
    ///
    /// # Errors
    /// `TransactionTooLarge`; nothing is charged then.
    pub fn charge(&mut self, bytes: usize) -> Result<()> {
        self.overlay.charge(bytes)
    }

    /// Takes back what was charged with [`Transaction::charge`]; undoing writes does not.
    pub fn discharge(&mut self, bytes: usize) {
        self.overlay.discharge(bytes);
    }

    fn write(&mut self, key: Key, value: Option<Value>) -> Result<()> {
        let base = self.base_of(&key)?;
        self.overlay.write(key, value, base)
    }

    /// The moment up to which a write to `key` knows what is there.
    fn base_of(&mut self, key: &Key) -> Result<Timestamp> {
        if self.read_only {
            return Err(Error::ReadOnlyTransaction);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::KeyTooLong { bytes: key.len(), limit_bytes: KEY_BYTES_MAX });
        }
        self.rely_on_snapshot();
        let locked = if self.bases.is_empty() { None } else { self.bases.get(key).copied() };
        Ok(locked.unwrap_or(self.read_ts))
    }

    fn rely_on_snapshot(&mut self) {
        if self.held.oldest.is_none() {
            self.held.oldest = Some(self.pin.clone());
        }
    }

    /// Lets the commit fail if anything in the span has changed since the moment, that of a view of this transaction.
    pub fn check_unchanged_since(&mut self, span: Span, base: Timestamp) {
        self.rely_on_snapshot();
        self.checks.push(Check::SpanUnchanged { span, base });
    }

    /// Lets the commit fail unless the key has a value then. A key that the transaction itself deletes in the end is not
    /// asked for: what needed it went with it.
    pub fn check_exists(&mut self, key: Key) {
        self.checks.push(Check::KeyExists { key });
    }

    /// Lets the commit fail if anything in the span has changed since the current snapshot.
    pub fn check_unchanged(&mut self, span: Span) {
        self.rely_on_snapshot();
        self.checks.push(Check::SpanUnchanged { span, base: self.read_ts });
    }

    /// The prefixes by which rows are counted ([`crate::api::statistics_prefix`]) of all that a serializable transaction has read.
    pub fn read_prefixes(&self) -> BTreeSet<Key> {
        let prefix = |span: Span| Key::copy_from_slice(crate::api::statistics_prefix(&span.start));
        self.reads.iter().flat_map(|reads| reads.lock().spans().map(prefix).collect::<Vec<_>>()).collect()
    }

    /// Tells a serializable transaction that it depends on the span; nothing otherwise. Reads through views record themselves.
    pub fn record_read(&mut self, span: Span) {
        if let Some(reads) = &self.reads {
            reads.lock().record(&span);
        }
    }

    /// Commits. With nothing written there is nothing to validate: what was read is consistent at its snapshot. Dropping the
    /// future neither stops nor undoes a commit that is on its way.
    ///
    /// # Errors
    /// `WriteConflict` and `SerializationFailure`: nothing happened, run it again. `DiskFull`, `Io`, `ShuttingDown`: it is not
    /// known whether it will be committed.
    pub async fn commit(self) -> Result<CommitInfo> {
        let Transaction { inner, id, isolation, read_ts, overlay, held, mut checks, reads, mut loading, .. } = self;
        loading.settle().await?;
        if overlay.is_empty() {
            return Ok(CommitInfo { timestamp: read_ts, shards: 0 });
        }
        debug_assert!(reads.is_some() == (isolation == Isolation::Serializable));
        if let Some(reads) = reads {
            checks.extend(reads.lock().spans().map(|span| Check::SpanUnchanged { span, base: read_ts }));
        }
        let writes = overlay.into_writes();
        let mut asked = HashSet::new();
        checks.retain(|check| match check {
            // What the transaction itself writes is there with the commit, and what it deletes is not asked for. A commit in two
            // phases could not tell: its own writes are no versions yet when it looks.
            Check::KeyExists { key } => !writes.contains_key(key) && asked.insert(key.clone()),
            // Only the transaction itself can have changed a range of its own, by loading it.
            Check::SpanUnchanged { span, .. } => !loading.owns_span(span),
        });
        let result = super::commit::commit(&inner, id, writes, checks, held).await;
        match result {
            Err(Error::WriteConflict { .. } | Error::SerializationFailure) => inner.count_conflict(),
            // Also when it is not known: a restart will tell.
            _ => loading.keep(),
        }
        result
    }

    /// Drops everything.
    pub async fn rollback(self) {
        drop(self);
    }
}
