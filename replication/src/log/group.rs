//! The log as one group sees it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Done;
use super::error::{LogError, Result};
use super::format::{ENTRY_BYTES_MAX, Record, StoredVote, decode_entry};
use super::index::{GroupIndex, Place, Slot};
use super::queue::{CachedEntries, Queue};
use super::shared::Shared;
use crate::target::LogPosition;

/// One group of the log: its number and its index. The lock of the index is taken before that of the queue.
#[derive(Debug)]
pub(crate) struct Group {
    pub id: u64,
    pub index: Mutex<GroupIndex>,
}

/// An entry as the log keeps it. What `kind` and `payload` mean is the business of the layer above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its position.
    pub position: LogPosition,
    /// What sort of payload it has.
    pub kind: u8,
    /// The payload.
    pub payload: Bytes,
}

/// What the log knows of a group besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The vote saved last.
    pub vote: Option<StoredVote>,
    /// The commit position saved last.
    pub committed: Option<LogPosition>,
    /// Entries up to this one are gone.
    pub purged: Option<LogPosition>,
    /// The last entry; the purge point when there is none.
    pub last: Option<LogPosition>,
}

/// A handle on one group's log. Cheap to clone.
///
/// Changes are visible to readers when a function returns; they are durable when `done` is called with
/// `Ok`. Records of one group reach the disk in the order of the calls.
#[derive(Clone)]
pub struct GroupLog {
    pub(super) shared: Arc<Shared>,
    pub(super) group: Arc<Group>,
}

impl GroupLog {
    /// Number of the group.
    pub fn id(&self) -> u64 {
        self.group.id
    }

    /// Vote, commit position, purge point and last entry.
    pub fn state(&self) -> GroupState {
        let index = self.group.index.lock();
        GroupState {
            vote: index.meta.vote,
            committed: index.meta.committed,
            purged: index.meta.purged,
            last: index.last(),
        }
    }

    /// Appends consecutive entries; the first one follows the last one of the log. `done` is called from the
    /// log's thread once they are durable (as the mode defines it) or cannot become so; it must be quick.
    ///
    /// Writes what is queued when that is too much already.
    ///
    /// # Errors
    /// `Misuse` for entries that leave a hole or overwrite; the remembered failure. `done` is then dropped,
    /// and nothing was appended.
    pub fn append(&self, entries: impl IntoIterator<Item = LogEntry>, done: Done) -> Result<()> {
        let entries: Vec<LogEntry> = entries.into_iter().collect();
        self.shared.make_room();
        let mut index = self.group.index.lock();
        if index.removed {
            return Err(LogError::UnknownGroup { group: self.group.id });
        }
        for (expected, entry) in (index.next().unwrap_or(0)..).zip(&entries) {
            if entry.position.index != expected {
                return Err(self.misuse(format!("entry {} instead of {expected}", entry.position.index)));
            }
            if entry.payload.len() > ENTRY_BYTES_MAX {
                return Err(self.misuse(format!("an entry of {} bytes", entry.payload.len())));
            }
        }
        let mut queue = self.queue(&index)?;
        let mut bytes = 0;
        let mut end = Place { segment: 0, offset: 0 };
        let (first, last) = match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => (first.position.index, last.position.index),
            _ => {
                drop(queue);
                done(Ok(()));
                return Ok(());
            }
        };
        for LogEntry { position, kind, payload } in entries {
            let place = queue.push(self.group.id, &Record::Entry { position, kind, payload: &payload });
            bytes += payload.len();
            let slot = Slot {
                term: position.term,
                leader: position.leader,
                place,
                payload_bytes: u32::try_from(payload.len()).expect("checked against the largest entry"),
                kind,
                payload: Some(payload),
            };
            end = Place { segment: place.segment, offset: place.offset + slot.record_bytes() as u64 };
            index.push(position.index, slot);
        }
        let batch = queue.batch();
        batch.callbacks.push(done);
        batch.cached.push(CachedEntries { group: Arc::clone(&self.group), indexes: first..=last, bytes, end });
        drop(queue);
        drop(index);
        self.shared.wake_writer();
        Ok(())
    }

    /// Saves a vote. It is synced also in the relaxed mode: a forgotten vote could elect two leaders.
    ///
    /// # Errors
    /// The remembered failure.
    pub fn save_vote(&self, vote: StoredVote, done: Done) -> Result<()> {
        let mut index = self.group.index.lock();
        let mut queue = self.queue(&index)?;
        index.meta.vote = Some(vote);
        queue.meta.insert(self.group.id, index.meta);
        queue.push(self.group.id, &Record::Vote(vote));
        let batch = queue.batch();
        batch.must_sync = true;
        batch.callbacks.push(done);
        drop(queue);
        drop(index);
        self.shared.wake_writer();
        Ok(())
    }

    /// Remembers up to where the group has committed. It reaches the disk along with the next batch, or a
    /// moment later: a restart works without it, only with more to ask of the peers.
    pub fn save_committed(&self, position: LogPosition) -> Result<()> {
        let mut index = self.group.index.lock();
        let mut queue = self.queue(&index)?;
        index.meta.committed = index.meta.committed.max(Some(position));
        queue.set_committed(self.group.id, index.meta);
        Ok(())
    }

    /// Drops the entries after `position`; all of them for `None`. Later appends are ordered behind it.
    ///
    /// # Errors
    /// `Misuse` below the purge point; the remembered failure.
    pub fn truncate_after(&self, position: Option<LogPosition>) -> Result<()> {
        let mut index = self.group.index.lock();
        if position.map(|position| position.index) < index.meta.purged.map(|purged| purged.index) {
            return Err(self.misuse(format!("truncation after {position:?}, purged to {:?}", index.meta.purged)));
        }
        let mut queue = self.queue(&index)?;
        index.truncate_after(position);
        queue.push(self.group.id, &Record::TruncateAfter(position));
        queue.batch().collect = true;
        drop(queue);
        drop(index);
        self.shared.wake_writer();
        Ok(())
    }

    /// Drops the entries up to `position`, included. It may lie behind the last entry (a snapshot has replaced
    /// them); the log then goes on after it. Segments that nobody needs any more are deleted.
    ///
    /// # Errors
    /// The remembered failure.
    pub fn purge(&self, position: LogPosition) -> Result<()> {
        let mut index = self.group.index.lock();
        if index.meta.purged.is_some_and(|purged| position.index <= purged.index) {
            return Ok(());
        }
        let mut queue = self.queue(&index)?;
        index.purge(position);
        queue.meta.insert(self.group.id, index.meta);
        queue.push(self.group.id, &Record::Purge(position));
        queue.batch().collect = true;
        drop(queue);
        drop(index);
        self.shared.wake_writer();
        Ok(())
    }

    /// The entries of `range` that are there. Entries that left the cache are read from their segments.
    ///
    /// # Errors
    /// Reading fails, or finds other bytes than were written.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        let mut missing = Vec::new();
        {
            let index = self.group.index.lock();
            let there = index.range();
            for at in range.start.max(there.start)..range.end.min(there.end) {
                let slot = index.slot(at).expect("the index is in the range of the slots");
                let position = LogPosition { term: slot.term, leader: slot.leader, index: at };
                if slot.payload.is_none() {
                    // The open file is taken under the lock: a purge may delete its name at any time.
                    let segment = self.shared.segment(slot.place.segment)?;
                    missing.push((entries.len(), segment, slot.place.offset, slot.record_bytes()));
                }
                let payload = slot.payload.clone().unwrap_or_default();
                entries.push(LogEntry { position, kind: slot.kind, payload });
            }
        }
        for (at, segment, offset, length) in missing {
            let bytes = Bytes::from(segment.read(offset, length)?);
            let (group, position, kind, payload) =
                decode_entry(segment.sequence, &bytes).map_err(|what| segment.corruption(offset, what))?;
            let expected = &mut entries[at];
            if group != self.group.id || position != expected.position || kind != expected.kind {
                return Err(segment.corruption(offset, "another entry is where the index says"));
            }
            expected.payload = payload;
        }
        Ok(entries)
    }

    /// Locks the queue, unless the group is removed or the log has failed.
    fn queue(&self, index: &GroupIndex) -> Result<parking_lot::MutexGuard<'_, Queue>> {
        if index.removed {
            return Err(LogError::UnknownGroup { group: self.group.id });
        }
        self.shared.queue()
    }

    fn misuse(&self, what: String) -> LogError {
        LogError::Misuse { group: self.group.id, what }
    }
}

impl std::fmt::Debug for GroupLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GroupLog").field("group", &self.group.id).finish_non_exhaustive()
    }
}
