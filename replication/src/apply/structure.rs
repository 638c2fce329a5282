//! The commands that change which keys a shard holds, or remove keys wholesale. They are written in batches of
//! their own, because they look at the rows themselves, which the overlay of a group would hide.

use std::sync::Arc;

use super::locks::LockChanges;
use super::meta::{self, kind, shard_key, shard_key_with};
use super::{PrefixRecord, Shard, ShardState, StateMachine};
use crate::api::{
    Key, STATISTICS_PREFIX_BYTES, ShardDescriptor, ShardId, Span, Timestamp, prefix_end, statistics_prefix,
};
use crate::command::{Command, CommandResult};
use crate::engine::{Batch, Family, Reads};
use crate::error::{Error, Result};
use crate::mvcc::record;
use crate::target::LogPosition;

/// Whether a command is applied on its own.
pub(super) fn is_structural(command: &Command) -> bool {
    matches!(command, Command::DeleteRange { .. } | Command::Split { .. } | Command::CreateShard { .. })
}

/// How the statistics of one prefix are divided between a span and the keys outside.
struct Division {
    prefix: Vec<u8>,
    inside: PrefixRecord,
    /// `None` when all keys of the prefix are inside.
    outside: Option<PrefixRecord>,
}

/// Where a prefix lies relative to a span.
enum Place {
    Inside,
    Outside,
    Across,
}

fn place(prefix: &[u8], span: &Span) -> Place {
    // A prefix shorter than all others is a whole key.
    let end = if prefix.len() < STATISTICS_PREFIX_BYTES { Span::key(prefix).end } else { prefix_end(prefix) };
    let keys = Span { start: Key::copy_from_slice(prefix), end };
    if span.covers(&keys) {
        Place::Inside
    } else if span.overlaps(&keys) {
        Place::Across
    } else {
        Place::Outside
    }
}

impl StateMachine {
    /// Applies one structural command. When it is refused nothing is written, and the position goes on with the
    /// next group.
    pub(super) fn apply_structural(
        &self,
        shard: &Arc<Shard>,
        position: LogPosition,
        epoch: u64,
        command: Command,
    ) -> Result<CommandResult> {
        match command {
            Command::Split { at, new_shard } => self.split(shard, position, epoch, at, new_shard),
            Command::CreateShard { shard: id, span } => {
                let applied = (shard.state.read().descriptor.shard, position);
                let answer = self.add_shard(id, span, Some(applied))?;
                shard.state.write().applied = Some(position);
                Ok(answer)
            }
            Command::DeleteRange { span, dropped_at, force } => {
                self.delete_range(shard, position, &span, dropped_at, force)
            }
            _ => Ok(CommandResult::refused("the command is not for a single entry")),
        }
    }

    /// Creates a shard over keys that no shard holds, outside of any log: for the first start of a node.
    ///
    /// # Errors
    /// `InvalidSpan` when the span is empty or overlaps a shard, or the id is taken; the engine cannot write.
    pub fn create_shard(&self, shard: ShardId, span: Span) -> Result<()> {
        match self.add_shard(shard, span, None)? {
            CommandResult::Refused { reason } => Err(Error::InvalidSpan { reason }),
            _ => self.engine.flush(),
        }
    }

    fn add_shard(&self, id: ShardId, span: Span, applied: Option<(ShardId, LogPosition)>) -> Result<CommandResult> {
        let _structure = self.structure.lock();
        if let Some(existing) = self.shards.read().get(&id) {
            // A repeated creation; the shard may have been split since.
            let same = existing.state.read().descriptor.span.start == span.start;
            return Ok(if same { CommandResult::Done } else { CommandResult::refused("the shard exists already") });
        }
        if span.is_empty() {
            return Ok(CommandResult::refused("the range is empty"));
        }
        if self.shard_map().overlapping(&span).next().is_some() {
            return Ok(CommandResult::refused("the range overlaps a shard"));
        }
        let state = ShardState::new(ShardDescriptor { shard: id, span, epoch: 1, parent: None });
        let mut batch = Batch::new();
        put_descriptor(&mut batch, &state.descriptor);
        if let Some((shard, position)) = applied {
            put_applied(&mut batch, shard, position);
        }
        self.engine.write(&batch)?;
        self.shards.write().insert(id, Shard::new(state));
        self.shards_changed();
        Ok(CommandResult::Done)
    }

    fn split(
        &self,
        shard: &Arc<Shard>,
        position: LogPosition,
        epoch: u64,
        at: Key,
        new_shard: ShardId,
    ) -> Result<CommandResult> {
        let _structure = self.structure.lock();
        let mut parent = shard.state.read().clone();
        let id = parent.descriptor.shard;
        if let Some(existing) = self.shards.read().get(&new_shard) {
            let existing = &existing.state.read().descriptor;
            let same = existing.parent == Some(id) && existing.span.start == at;
            return Ok(if same { CommandResult::Done } else { CommandResult::refused("the shard exists already") });
        }
        if epoch != parent.descriptor.epoch {
            return Ok(CommandResult::StaleEpoch { epoch: parent.descriptor.epoch });
        }
        let span = parent.descriptor.span.clone();
        if !span.contains(&at) || at == span.start {
            return Ok(CommandResult::refused("the key to split at is not inside the shard"));
        }
        let right = Span { start: at.clone(), end: span.end };
        let mut child =
            ShardState::new(ShardDescriptor { shard: new_shard, span: right, epoch: epoch + 1, parent: Some(id) });
        child.gc_threshold = parent.gc_threshold;
        // The child's log begins where the parent's stood, with the parent's members: so every replica of the parent can start
        // it without asking anybody.
        child.membership = parent.membership.clone();
        child.applied = Some(position);
        parent.descriptor.span.end = at;
        parent.descriptor.epoch += 1;
        parent.applied = Some(position);

        let mut batch = Batch::new();
        for Division { prefix, inside, outside } in self.divide_statistics(&parent, &child.descriptor.span)? {
            put_statistics(&mut batch, new_shard, &prefix, Some(inside));
            child.statistics.insert(prefix.clone(), inside);
            keep_statistics(&mut batch, &mut parent, prefix, outside);
        }
        let cut = self.cut_pieces(&mut batch, &child.descriptor.span);
        put_descriptor(&mut batch, &parent.descriptor);
        put_descriptor(&mut batch, &child.descriptor);
        batch.put(Family::Meta, &shard_key(kind::GC_THRESHOLD, new_shard), &child.gc_threshold.0.to_be_bytes());
        put_applied(&mut batch, id, position);
        put_applied(&mut batch, new_shard, position);
        if let Some(membership) = &child.membership {
            batch.put(Family::Meta, &shard_key(kind::MEMBERSHIP, new_shard), membership);
        }
        self.engine.write(&batch)?;
        self.locks.change(cut);
        *shard.state.write() = parent;
        self.shards.write().insert(new_shard, Shard::new(child));
        self.shards_changed();
        Ok(CommandResult::Done)
    }

    /// The statistics of the prefixes that have keys in `span`.
    fn divide_statistics(&self, state: &ShardState, span: &Span) -> Result<Vec<Division>> {
        let mut parts = Vec::new();
        for (prefix, record) in &state.statistics {
            match place(prefix, span) {
                Place::Outside => {}
                Place::Inside => parts.push(Division { prefix: prefix.clone(), inside: *record, outside: None }),
                Place::Across => {
                    let inside = count(self.engine.as_ref(), span, prefix, record.last_ts)?;
                    let rest = record.rows.checked_sub(inside.rows).zip(record.bytes.checked_sub(inside.bytes));
                    let (rows, bytes) =
                        rest.ok_or_else(|| Error::corruption("fewer rows are counted than are there"))?;
                    let outside = Some(PrefixRecord { rows, bytes, last_ts: record.last_ts });
                    parts.push(Division { prefix: prefix.clone(), inside, outside });
                }
            }
        }
        Ok(parts)
    }

    /// Cuts the pieces that lie across an end of `span` there.
    fn cut_pieces(&self, batch: &mut Batch, span: &Span) -> LockChanges {
        let mut changes = LockChanges::default();
        for piece in self.locks.pieces_over(span) {
            if span.contains(piece.first()) && span.contains(piece.last()) {
                continue;
            }
            let from = piece.writes.partition_point(|(key, _)| key < &span.start);
            let to = piece.writes.partition_point(|(key, _)| key < &span.end);
            let parts = [&piece.writes[..from], &piece.writes[from..to], &piece.writes[to..]];
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                let part = piece.with(part.to_vec());
                batch.put(Family::Locks, part.first(), &part.encode());
                changes.pieces.insert(part.first().clone(), Some(Arc::new(part)));
            }
        }
        changes
    }

    fn delete_range(
        &self,
        shard: &Arc<Shard>,
        position: LogPosition,
        span: &Span,
        dropped_at: Timestamp,
        force: bool,
    ) -> Result<CommandResult> {
        let mut state = shard.state.read().clone();
        let id = state.descriptor.shard;
        if !state.descriptor.span.covers(span) {
            return Ok(CommandResult::WrongShard { epoch: state.descriptor.epoch });
        }
        if !force && dropped_at > state.gc_threshold {
            return Ok(CommandResult::refused("snapshots may still read the range"));
        }
        let mut batch = Batch::new();
        for Division { prefix, outside, .. } in self.divide_statistics(&state, span)? {
            keep_statistics(&mut batch, &mut state, prefix, outside);
        }
        let cut = self.cut_pieces(&mut batch, span);
        for family in [Family::Latest, Family::History, Family::Locks] {
            batch.delete_range(family, &span.start, &span.end);
        }
        put_applied(&mut batch, id, position);
        self.engine.write(&batch)?;
        self.replaced(span);
        state.applied = Some(position);
        self.locks.change(cut);
        self.locks.replace_span(span, Vec::new(), Vec::new());
        *shard.state.write() = state;
        Ok(CommandResult::Done)
    }

    /// Follows a change of the shards. The caller holds `structure`.
    pub(super) fn shards_changed(&self) {
        self.rebuild_map();
    }

    /// The first key after half of the live bytes.
    pub(super) fn find_middle(&self, span: &Span, total: u64) -> Result<Option<Key>> {
        let mut cursor = self.engine.cursor(Family::Latest, &span.start, Some(&span.end))?;
        cursor.seek_first()?;
        let mut passed = 0u64;
        while let Some((key, stored)) = cursor.item() {
            if passed >= total / 2 && key > span.start.as_ref() {
                return Ok(Some(Key::copy_from_slice(key)));
            }
            passed += live_bytes(key, stored)?.unwrap_or(0);
            cursor.next()?;
        }
        Ok(None)
    }
}

/// Bytes of a live row; `None` for a tombstone.
fn live_bytes(key: &[u8], stored: &[u8]) -> Result<Option<u64>> {
    let version = record::decode_version(stored).ok_or_else(|| crate::mvcc::damaged(key))?;
    Ok(version.value.map(|value| (key.len() + value.len()) as u64))
}

/// Counts the live rows of a span that have a prefix.
pub(crate) fn count(reads: &dyn Reads, span: &Span, prefix: &[u8], last_ts: Timestamp) -> Result<PrefixRecord> {
    let keys = span.intersection(&Span::prefix(prefix));
    let mut counted = PrefixRecord { rows: 0, bytes: 0, last_ts };
    if keys.is_empty() {
        return Ok(counted);
    }
    let mut cursor = reads.cursor(Family::Latest, &keys.start, Some(&keys.end))?;
    cursor.seek_first()?;
    while let Some((key, stored)) = cursor.item() {
        if statistics_prefix(key) == prefix
            && let Some(bytes) = live_bytes(key, stored)?
        {
            counted.rows += 1;
            counted.bytes += bytes;
        }
        cursor.next()?;
    }
    Ok(counted)
}

/// Replaces the statistics of a prefix, here and in the batch.
fn keep_statistics(batch: &mut Batch, state: &mut ShardState, prefix: Vec<u8>, kept: Option<PrefixRecord>) {
    put_statistics(batch, state.descriptor.shard, &prefix, kept);
    match kept {
        Some(kept) => state.statistics.insert(prefix, kept),
        None => state.statistics.remove(&prefix),
    };
}

fn put_descriptor(batch: &mut Batch, descriptor: &ShardDescriptor) {
    let key = shard_key(kind::DESCRIPTOR, descriptor.shard);
    batch.put(Family::Meta, &key, &meta::encode_descriptor(descriptor));
}

fn put_applied(batch: &mut Batch, shard: ShardId, position: LogPosition) {
    batch.put(Family::Meta, &shard_key(kind::APPLIED, shard), &meta::encode_position(position));
}

fn put_statistics(batch: &mut Batch, shard: ShardId, prefix: &[u8], record: Option<PrefixRecord>) {
    let key = shard_key_with(kind::STATISTICS, shard, prefix);
    match record {
        Some(record) => batch.put(Family::Meta, &key, &record.encode()),
        None => batch.delete(Family::Meta, &key),
    }
}
