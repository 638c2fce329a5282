//! The queue between those who append and the writer: records are put, already encoded and with their final
//! place in the log, into the batch that the writer will write next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use super::Done;
use super::error::LogError;
use super::format::{self, FRAME_HEADER_BYTES, GroupMeta, Record, SEGMENT_HEADER_BYTES};
use super::group::Group;
use super::index::Place;

/// A batch takes no further records beyond this many bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What one write puts into a segment.
pub(crate) struct Batch {
    pub start: Place,
    /// The frame: room for its header, then the records.
    pub bytes: Vec<u8>,
    pub records: u32,
    /// The batch is the first of its segment.
    pub starts_segment: bool,
    /// Durable before it is answered, whatever the mode.
    pub must_sync: bool,
    /// Segments may have become deletable.
    pub collect: bool,
    pub callbacks: Vec<Done>,
    /// Entries whose payloads may leave memory once they are written.
    pub cached: Vec<CachedEntries>,
}

/// Entries of one append, for the cache.
pub(crate) struct CachedEntries {
    pub group: Arc<Group>,
    pub indexes: RangeInclusive<u64>,
    pub bytes: usize,
    /// The place after the last of them.
    pub end: Place,
}

/// Everything that waits for the writer.
pub(crate) struct Queue {
    /// Place of the next frame or record.
    next: Place,
    segment_bytes: u64,
    pub batches: VecDeque<Batch>,
    pub queued_bytes: usize,
    /// The state of every group as of the last queued record, for the start of the next segment.
    pub meta: BTreeMap<u64, GroupMeta>,
    /// Groups whose commit position is newer than in the log; it is written along with the next batch.
    dirty: BTreeSet<u64>,
    pub dirty_since: Option<Instant>,
    /// The first failure; nothing is taken any more.
    pub failed: Option<LogError>,
    pub closing: bool,
    /// A buffer to use again.
    pub free_buffer: Vec<u8>,
}

impl Queue {
    /// A queue whose first record opens the segment `sequence`.
    pub fn new(sequence: u64, segment_bytes: u64, meta: BTreeMap<u64, GroupMeta>) -> Queue {
        let mut queue = Queue {
            next: Place { segment: sequence, offset: 0 },
            segment_bytes,
            batches: VecDeque::new(),
            queued_bytes: 0,
            meta,
            dirty: BTreeSet::new(),
            dirty_since: None,
            failed: None,
            closing: false,
            free_buffer: Vec::new(),
        };
        queue.start_segment(sequence);
        queue
    }

    /// Bytes left in the segment that is being filled.
    pub fn segment_room(&self) -> u64 {
        self.segment_bytes.saturating_sub(self.next.offset)
    }

    /// Adds a record and returns its place.
    pub fn push(&mut self, group: u64, record: &Record<'_>) -> Place {
        if self.batches.back().is_none_or(|batch| batch.bytes.len() >= BATCH_BYTES_MAX) {
            match self.next.offset >= self.segment_bytes {
                true => self.start_segment(self.next.segment + 1),
                false => self.open_batch(false),
            }
        }
        self.push_to_open(group, record)
    }

    /// The batch that holds the record pushed last.
    pub fn batch(&mut self) -> &mut Batch {
        self.batches.back_mut().expect("a record was pushed")
    }

    /// Remembers a commit position without writing it at once.
    pub fn set_committed(&mut self, group: u64, meta: GroupMeta) {
        self.meta.insert(group, meta);
        self.dirty.insert(group);
        self.dirty_since.get_or_insert_with(Instant::now);
    }

    /// Takes the next batch. Commit positions that are not yet in the log go along with the last one.
    pub fn take(&mut self) -> Option<Batch> {
        if self.batches.len() == 1 {
            self.write_dirty();
        }
        let batch = self.batches.pop_front()?;
        self.queued_bytes -= batch.bytes.len();
        Some(batch)
    }

    /// Queues the commit positions that are not yet in the log.
    pub fn write_dirty(&mut self) {
        self.dirty_since = None;
        for group in std::mem::take(&mut self.dirty) {
            if let Some(committed) = self.meta.get(&group).and_then(|meta| meta.committed) {
                self.push(group, &Record::Committed(committed));
            }
        }
    }

    fn start_segment(&mut self, sequence: u64) {
        self.next = Place { segment: sequence, offset: SEGMENT_HEADER_BYTES as u64 };
        self.open_batch(true);
        let states: Vec<_> = self.meta.iter().map(|(group, meta)| (*group, *meta)).collect();
        for (group, meta) in states {
            self.push_to_open(group, &Record::State(meta));
        }
    }

    fn open_batch(&mut self, starts_segment: bool) {
        let mut bytes = std::mem::take(&mut self.free_buffer);
        bytes.clear();
        bytes.resize(FRAME_HEADER_BYTES, 0);
        self.batches.push_back(Batch {
            start: self.next,
            bytes,
            records: 0,
            starts_segment,
            must_sync: starts_segment,
            collect: false,
            callbacks: Vec::new(),
            cached: Vec::new(),
        });
        self.next.offset += FRAME_HEADER_BYTES as u64;
        self.queued_bytes += FRAME_HEADER_BYTES;
    }

    fn push_to_open(&mut self, group: u64, record: &Record<'_>) -> Place {
        let place = self.next;
        let batch = self.batches.back_mut().expect("a batch is open");
        let length = format::encode_record(&mut batch.bytes, place.segment, group, record);
        batch.records += 1;
        self.next.offset += length as u64;
        self.queued_bytes += length;
        place
    }
}
