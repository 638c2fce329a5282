//! What a transaction writes before it commits: to ranges that nobody can know of before it does.
//!
//! A table that is new, emptied or written anew gets its rows in a range of its own, and the catalog leads there only when the
//! transaction commits. Rows need not wait in memory for that. They are committed in portions as they come, with the moment of
//! the statement as their base, so that a key that is written twice is a conflict. The statement's own snapshot is older than
//! these commits and does not see them, as it should; the next statement's does.
//!
//! A record of such a range is durable before anything is written there, and the transaction's commit takes it away. Where it
//! stays, the transaction did not happen: the range is dropped, by whoever gives up, or after a restart.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::task::JoinHandle;

use super::pins::Pin;
use super::shards::{decode_span, encode_span};
use super::transaction::HeldLocks;
use super::{Inner, Store, commit};
use crate::api::{Direction, Isolation, Key, Span, Timestamp, TxnId, Value};
use crate::error::{Error, Result};
use crate::overlay::{Buffered, Writes};

/// Where the store keeps, in the system shard, the ranges that are being loaded. A record's key ends in the id of the
/// transaction and a number, its value is the range.
pub(super) const LOADED_PREFIX: &[u8] = &[0x01, 0xFF, b'l'];

/// Bytes of a statement's writes to such ranges from which on they are written. Less goes with the commit.
pub(super) const LOAD_BYTES: usize = if cfg!(test) { 4 << 10 } else { 16 << 20 };
/// Bytes that a statement leaves to the commit at most, once the transaction has kept as many as that.
pub(super) const LOAD_REST_BYTES: usize = LOAD_BYTES / 16;
/// Writes of one commit of a portion, and their bytes, roughly.
const PORTION_WRITES_MAX: usize = if cfg!(test) { 16 } else { 8_192 };
const PORTION_BYTES_MAX: usize = 2 << 20;
/// Portions that are under way at a time: one is made and logged while another is applied. The commits of others come between them.
const PORTIONS_IN_FLIGHT_MAX: usize = 2;

/// The ranges of a transaction.
pub(super) struct Loading {
    inner: Arc<Inner>,
    txn: TxnId,
    /// Start and end of each range; they do not overlap.
    own: BTreeMap<Key, Key>,
    /// The records of those in which something may be.
    recorded: Vec<(Key, Span)>,
    /// What is being written, one batch at a time.
    under_way: Option<JoinHandle<Result<()>>>,
}

impl Loading {
    pub(super) fn new(inner: Arc<Inner>, txn: TxnId) -> Self {
        Loading { inner, txn, own: BTreeMap::new(), recorded: Vec::new(), under_way: None }
    }

    /// Adds a range that begins in none of the others, or lies wholly within one.
    pub(super) fn add(&mut self, span: Span) {
        if !self.owns(&span.start) {
            self.own.insert(span.start, span.end);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Whether a key lies in one of the ranges.
    pub(super) fn owns(&self, key: &[u8]) -> bool {
        let before = (Bound::Unbounded, Bound::Included(key));
        self.own.range::<[u8], _>(before).next_back().is_some_and(|(_, end)| key < end.as_ref())
    }

    /// Whether a span lies in one of the ranges.
    pub(super) fn owns_span(&self, span: &Span) -> bool {
        let before = (Bound::Unbounded, Bound::Included(span.start.as_ref()));
        self.own.range::<[u8], _>(before).next_back().is_some_and(|(_, end)| span.end <= *end)
    }

    /// Begins to write; what was begun before is written first. `pin` holds the snapshot of `now`, of which the writes are.
    /// Answers with the keys of the records that the transaction's commit has to take away, and when they were written.
    pub(super) async fn load(
        &mut self,
        writes: Writes,
        pin: &Arc<Pin>,
        now: Timestamp,
    ) -> Result<Vec<(Key, Timestamp)>> {
        let fresh = self.record(&writes, pin, now).await?;
        self.settle().await?;
        let (inner, pin) = (self.inner.clone(), pin.clone());
        self.under_way = Some(tokio::spawn(async move {
            let (mut rest, mut putting, mut result) = (writes, FuturesUnordered::new(), Ok(()));
            loop {
                // While one is synced and applied, the next ones are made.
                while result.is_ok() && !rest.is_empty() && putting.len() < PORTIONS_IN_FLIGHT_MAX {
                    let (inner, pin, portion) = (inner.clone(), pin.clone(), cut(&mut rest));
                    putting.push(tokio::spawn(async move { put(&inner, portion, &pin).await }));
                }
                // Also after an error: nothing may come once the range is given up.
                let Some(ended) = putting.next().await else { return result };
                let ended = ended.map_err(|_| Error::ShuttingDown).and_then(|put| put.map(|_| ()));
                result = result.and(ended);
            }
        }));
        Ok(fresh)
    }

    /// Makes records of the ranges of these writes that have none.
    async fn record(&mut self, writes: &Writes, pin: &Arc<Pin>, now: Timestamp) -> Result<Vec<(Key, Timestamp)>> {
        let mut fresh = Vec::new();
        for (start, end) in &self.own {
            let range = (Bound::Included(start.as_ref()), Bound::Excluded(end.as_ref()));
            let written = writes.range::<[u8], _>(range).next().is_some();
            if written && !self.recorded.iter().any(|(_, recorded)| recorded.start == *start) {
                let number = (self.recorded.len() + fresh.len()) as u32;
                let key = [LOADED_PREFIX, &self.txn.0.to_be_bytes(), &number.to_be_bytes()].concat();
                fresh.push((Key::from(key), Span::new(start.clone(), end.clone())));
            }
        }
        if fresh.is_empty() {
            return Ok(Vec::new());
        }
        let record = |(key, span): &(Key, Span)| (key.clone(), Buffered { value: Some(encode_span(span)), base: now });
        let records: Writes = fresh.iter().map(record).collect();
        // Before it is certain that they are there: they may be.
        self.recorded.extend(fresh.iter().cloned());
        let written = put(&self.inner, records, pin).await?;
        Ok(fresh.into_iter().map(|(key, _)| (key, written)).collect())
    }

    /// Waits until everything is written that was begun.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let Some(under_way) = &mut self.under_way else { return Ok(()) };
        let result = under_way.await;
        self.under_way = None;
        result.map_err(|_| Error::ShuttingDown)?
    }

    /// The transaction has happened, or it is not known whether it has: a restart will tell by the records.
    pub(super) fn keep(&mut self) {
        self.recorded.clear();
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if self.recorded.is_empty() {
            return;
        }
        let (inner, recorded, under_way) =
            (self.inner.clone(), std::mem::take(&mut self.recorded), self.under_way.take());
        let given_up = async move {
            if let Some(under_way) = under_way {
                // Whether it failed or not, it is over.
                let _over = under_way.await;
            }
            if let Err(error) = give_up(&inner, recorded).await {
                tracing::warn!(%error, "what a transaction loaded before it was rolled back stays until the next start");
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(given_up);
        }
    }
}

/// The first writes, as many as go into one commit.
fn cut(rest: &mut Writes) -> Writes {
    let mut bytes = 0;
    let end = rest.iter().enumerate().find_map(|(count, (key, write))| {
        bytes += key.len() + write.value.as_ref().map_or(0, Value::len);
        (count > 0 && (count >= PORTION_WRITES_MAX || bytes > PORTION_BYTES_MAX)).then(|| key.clone())
    });
    match end {
        Some(end) => {
            let behind = rest.split_off(&end);
            std::mem::replace(rest, behind)
        }
        None => std::mem::take(rest),
    }
}

/// Commits writes by themselves.
async fn put(inner: &Arc<Inner>, writes: Writes, pin: &Arc<Pin>) -> Result<Timestamp> {
    let txn = inner.next_txn_id();
    let held = HeldLocks::none(inner.clone(), txn, Some(pin.clone()));
    Ok(commit::commit(inner, txn, writes, Vec::new(), held).await?.timestamp)
}

/// Has the ranges of records dropped, in place of the records.
async fn give_up(inner: &Arc<Inner>, recorded: Vec<(Key, Span)>) -> Result<()> {
    let store = Store { inner: inner.clone() };
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    for (key, span) in recorded {
        if transaction.get(&key)?.is_some() {
            transaction.delete(key)?;
            transaction.drop_span(&span)?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

impl Inner {
    /// Drops what transactions of earlier processes loaded and did not commit.
    pub(super) async fn abandon_loads(self: &Arc<Self>) -> Result<()> {
        let store = Store { inner: self.clone() };
        let mut left = Vec::new();
        let view = store.view_at(self.oracle.watermark());
        let mut cursor = view.scan(Span::prefix(LOADED_PREFIX), Direction::Forward);
        while cursor.next_chunk(1024, 1 << 20, &mut |key, value| {
            left.push((Key::copy_from_slice(key), decode_span(value)));
        })? {}
        let mut given_up = Vec::new();
        for (key, span) in left {
            let Some(span) = span else { return Err(Error::corruption("the record of a range that is being loaded")) };
            let incarnation = key.get(LOADED_PREFIX.len()..).and_then(|rest| rest.first_chunk()).copied();
            if incarnation.map(u64::from_be_bytes) != Some(self.incarnation) {
                given_up.push((key, span));
            }
        }
        if given_up.is_empty() {
            return Ok(());
        }
        tracing::info!(ranges = given_up.len(), "dropping what unfinished transactions had loaded");
        give_up(self, given_up).await
    }
}
