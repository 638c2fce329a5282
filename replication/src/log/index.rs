//! What is known in memory about the log of one group: where its entries are, and the recent ones themselves.

use std::collections::VecDeque;

use bytes::Bytes;

use super::format::{ENTRY_OVERHEAD_BYTES, GroupMeta, Record, StoredVote};
use crate::target::LogPosition;

/// Where a record is: the segment and the offset in it. Ordered as the log was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub segment: u64,
    pub offset: u64,
}

/// One entry that has not been purged.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub term: u64,
    pub leader: u64,
    pub place: Place,
    pub payload_bytes: u32,
    pub kind: u8,
    /// The payload itself, as long as it is cached. Entries that are not yet written are always cached.
    pub payload: Option<Bytes>,
}

impl Slot {
    /// Bytes of the whole record in the segment.
    pub fn record_bytes(&self) -> usize {
        ENTRY_OVERHEAD_BYTES + self.payload_bytes as usize
    }
}

/// The index of one group.
#[derive(Debug, Default)]
pub(crate) struct GroupIndex {
    pub meta: GroupMeta,
    /// Index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Set when the group is removed while somebody still holds a handle.
    pub removed: bool,
}

impl GroupIndex {
    /// Index that the next entry must have; `None` in a log that never had one.
    pub fn next(&self) -> Option<u64> {
        if !self.slots.is_empty() {
            return Some(self.first + self.slots.len() as u64);
        }
        self.meta.purged.map(|purged| purged.index + 1)
    }

    /// Position of the last entry, also when it is purged.
    pub fn last(&self) -> Option<LogPosition> {
        match self.slots.back() {
            Some(slot) => Some(LogPosition {
                term: slot.term,
                leader: slot.leader,
                index: self.first + self.slots.len() as u64 - 1,
            }),
            None => self.meta.purged,
        }
    }

    /// The indexes of the entries that are there.
    pub fn range(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.slots.len() as u64
    }

    pub fn slot(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(self.first)?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    /// Segment of the oldest entry that is there.
    pub fn first_segment(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.place.segment)
    }

    /// Adds the entry at `index`. The caller has checked that it is the next one.
    pub fn push(&mut self, index: u64, slot: Slot) {
        if self.slots.is_empty() {
            self.first = index;
        }
        debug_assert_eq!(index, self.first + self.slots.len() as u64);
        self.slots.push_back(slot);
    }

    /// Drops the entries after `position`; all of them for `None`.
    pub fn truncate_after(&mut self, position: Option<LogPosition>) {
        let keep = match position {
            None => 0,
            Some(position) => (position.index + 1).saturating_sub(self.first),
        };
        self.slots.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }

    /// Drops the entries up to `position`, included.
    pub fn purge(&mut self, position: LogPosition) {
        while !self.slots.is_empty() && self.first <= position.index {
            self.slots.pop_front();
            self.first += 1;
        }
        self.meta.purged = self.meta.purged.max(Some(position));
    }

    /// Forgets the payloads of `indexes` that were written before `end`.
    pub fn forget_payloads(&mut self, indexes: std::ops::RangeInclusive<u64>, end: Place) {
        for index in indexes {
            let Some(at) = index.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { continue };
            if let Some(slot) = self.slots.get_mut(at)
                && slot.place < end
            {
                slot.payload = None;
            }
        }
    }

    /// Does again what a record says, when the log is read at the start.
    pub fn replay(&mut self, record: &Record<'_>, place: Place) -> Result<(), String> {
        match record {
            Record::Entry { position, kind, payload } => {
                // A log whose oldest segments are gone may begin late; `check_complete` judges at the end.
                if !self.slots.is_empty() && self.next() != Some(position.index) {
                    return Err(format!("entry {} follows entry {:?}", position.index, self.last()));
                }
                let payload_bytes = u32::try_from(payload.len()).map_err(|_| "an entry is too large".to_owned())?;
                let slot = Slot {
                    term: position.term,
                    leader: position.leader,
                    place,
                    payload_bytes,
                    kind: *kind,
                    payload: None,
                };
                self.push(position.index, slot);
            }
            Record::Vote(vote) => self.meta.vote = Some(*vote),
            Record::Committed(position) => self.meta.committed = self.meta.committed.max(Some(*position)),
            Record::TruncateAfter(position) => self.truncate_after(*position),
            Record::Purge(position) => self.purge(*position),
            Record::State(meta) => {
                self.set_state(meta.vote, meta.committed);
                if let Some(purged) = meta.purged {
                    self.purge(purged);
                }
            }
            Record::Remove => *self = GroupIndex::default(),
        }
        Ok(())
    }

    fn set_state(&mut self, vote: Option<StoredVote>, committed: Option<LogPosition>) {
        self.meta.vote = vote.or(self.meta.vote);
        self.meta.committed = self.meta.committed.max(committed);
    }

    /// Whether the entries begin right after the purge point (or at 0), as they must once all of the log has
    /// been read.
    pub fn check_complete(&self) -> Result<(), String> {
        let expected = self.meta.purged.map_or(0, |purged| purged.index + 1);
        match self.slots.is_empty() || self.first == expected {
            true => Ok(()),
            false => Err(format!("entries {expected}..{} are missing", self.first)),
        }
    }
}
