//! Shards and ranges: splitting, creating, dropping.

use std::ops::Range;
use std::sync::Arc;

use super::settle::{propose_at, submit};
use super::{Inner, SYSTEM_SHARD, Store, unexpected};
use crate::api::{Key, ShardId, Span, Timestamp, Value};
use crate::command::{Command, CommandResult};
use crate::error::{Error, Result};

/// The series from which shards get their ids.
const SHARD_SERIES: &str = "shard";

/// Where the store keeps, in the system shard, the ranges that wait to be dropped. Above everything that its users keep there.
///
/// A record's key ends in the id of the transaction that dropped the range and a number, its value is the range: the length of
/// its start (u32, big-endian), its start, its end. The record's own version says when the range was dropped.
pub(super) const DROPPED_PREFIX: &[u8] = &[0x01, 0xFF, b'd'];

impl Inner {
    pub(super) async fn allocate_ids(&self, name: &str, count: u64) -> Result<Range<u64>> {
        let epoch = self.routing.by_id(SYSTEM_SHARD)?.descriptor.epoch;
        let command = Command::ReserveIds { name: name.to_owned(), count }.encode(epoch);
        match submit(self, SYSTEM_SHARD, command).await? {
            CommandResult::Ids { first } => Ok(first..first + count),
            other => Err(unexpected("allocating ids", &other)),
        }
    }

    async fn new_shard_id(&self) -> Result<ShardId> {
        loop {
            // The system shard's id is not from the series.
            let id = ShardId(self.allocate_ids(SHARD_SERIES, 1).await?.start);
            if id != SYSTEM_SHARD {
                return Ok(id);
            }
        }
    }

    /// Splits a shard, and goes on if nobody waits for it any more: half way, the new shard would have no group.
    async fn split_at(self: &Arc<Self>, key: Key) -> Result<ShardId> {
        let inner = self.clone();
        tokio::spawn(async move { inner.split_here(key).await }).await.map_err(|_| Error::ShuttingDown)?
    }

    async fn split_here(&self, key: Key) -> Result<ShardId> {
        let _one_at_a_time = self.reshaping.lock().await;
        let shard = self.routing.of(&key)?;
        if shard.descriptor.span.start == key {
            return Ok(shard.descriptor.shard);
        }
        let new_shard = self.new_shard_id().await?;
        match propose_at(self, &key, &Command::Split { at: key.clone(), new_shard }).await? {
            CommandResult::Done => {}
            other => return Err(unexpected("splitting a shard", &other)),
        }
        self.proposer.start(new_shard, Some(shard.descriptor.shard)).await?;
        self.refresh_routing().await?;
        Ok(new_shard)
    }

    /// Creates a shard, and goes on if nobody waits for it any more.
    async fn create_shard_for(self: &Arc<Self>, span: Span) -> Result<ShardId> {
        let inner = self.clone();
        tokio::spawn(async move { inner.create_shard_here(span).await }).await.map_err(|_| Error::ShuttingDown)?
    }

    async fn create_shard_here(&self, span: Span) -> Result<ShardId> {
        let _one_at_a_time = self.reshaping.lock().await;
        if let Some(there) = self.routing.over(&span).first() {
            if there.descriptor.span.covers(&span) {
                return Ok(there.descriptor.shard);
            }
            return Err(Error::InvalidSpan { reason: "another shard holds a part of it".to_owned() });
        }
        let shard = self.new_shard_id().await?;
        let epoch = self.routing.by_id(SYSTEM_SHARD)?.descriptor.epoch;
        let command = Command::CreateShard { shard, span }.encode(epoch);
        match submit(self, SYSTEM_SHARD, command).await? {
            CommandResult::Done => {}
            CommandResult::Refused { reason } => return Err(Error::InvalidSpan { reason }),
            other => return Err(unexpected("creating a shard", &other)),
        }
        self.proposer.start(shard, None).await?;
        self.refresh_routing().await?;
        Ok(shard)
    }

    /// Starts the groups of shards that have none: something failed between the shard's entry and its group.
    pub(super) async fn start_missing(&self) -> Result<()> {
        let _one_at_a_time = self.reshaping.lock().await;
        let mut started = false;
        for descriptor in self.data.descriptors() {
            let id = descriptor.shard;
            if !self.proposer.has_group(id) {
                self.proposer.start(id, descriptor.parent).await?;
                tracing::warn!(shard = %id, "started the group of a shard that had none");
                started = true;
            }
        }
        if started {
            self.refresh_routing().await?;
        }
        Ok(())
    }

    /// Drops the ranges for whose drop the time has come: no snapshot can need them any more.
    pub(super) async fn drop_due_spans(self: &Arc<Self>) -> Result<()> {
        let store = Store { inner: self.clone() };
        let mut due = Vec::new();
        let view = store.view_at(self.oracle.watermark());
        let mut cursor = view.scan(Span::prefix(DROPPED_PREFIX), crate::api::Direction::Forward);
        while cursor.next_chunk(1024, 1 << 20, &mut |key, value| {
            due.push((Key::copy_from_slice(key), decode_span(value)));
        })? {}
        for (key, span) in due {
            let Some(span) = span else { return Err(Error::corruption("the record of a dropped range")) };
            // A record whose commit is not resolved yet is looked at in the next round.
            let Some((dropped_at, Some(_))) = self.data.latest(&key)? else { continue };
            let shards = self.routing.over(&span);
            let threshold = shards.iter().map(|shard| self.data.gc_threshold(shard.descriptor.shard));
            let threshold = threshold.collect::<Result<Vec<_>>>()?.into_iter().min();
            if threshold.is_some_and(|threshold| threshold < dropped_at) {
                continue;
            }
            self.delete_range(&span, dropped_at).await?;
            let mut transaction = store.begin(crate::api::Isolation::ReadCommitted, false);
            transaction.delete(key)?;
            transaction.commit().await?;
        }
        Ok(())
    }

    async fn delete_range(&self, span: &Span, dropped_at: Timestamp) -> Result<()> {
        for shard in self.routing.over(span) {
            let descriptor = &shard.descriptor;
            let part = span.intersection(&descriptor.span);
            let command = Command::DeleteRange { span: part, dropped_at, force: false };
            match submit(self, descriptor.shard, command.encode(descriptor.epoch)).await? {
                CommandResult::Done => {}
                CommandResult::StaleEpoch { .. } | CommandResult::WrongShard { .. } => {
                    self.refresh_routing().await?;
                    return Box::pin(self.delete_range(span, dropped_at)).await;
                }
                other => return Err(unexpected("dropping a range", &other)),
            }
        }
        Ok(())
    }
}

/// The record of a range.
pub(super) fn encode_span(span: &Span) -> Value {
    let mut bytes = (span.start.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&span.start);
    bytes.extend_from_slice(&span.end);
    bytes.into()
}

pub(super) fn decode_span(bytes: &[u8]) -> Option<Span> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (start, end) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some(Span::new(Key::copy_from_slice(start), Key::copy_from_slice(end)))
}

impl Store {
    /// Gives the keys from `key` on to a shard of their own. Answers with the shard that starts there, which is the present
    /// one when it does already.
    ///
    /// # Errors
    /// `NoShardForKey`; the log cannot take it.
    pub async fn split_at(&self, key: Key) -> Result<ShardId> {
        self.inner.check_open()?;
        self.inner.split_at(key).await
    }

    /// Creates a shard for a range that no shard holds; a range that lies within one shard already stays there.
    ///
    /// # Errors
    /// `InvalidSpan` when the range overlaps another shard; the log cannot take it.
    pub async fn create_shard_for(&self, span: Span) -> Result<ShardId> {
        self.inner.check_open()?;
        self.inner.create_shard_for(span).await
    }
}
