//! The writer: one thread that brings the batches of all groups to the disk, each with one sync.
//!
//! It has no timer between a batch and its write: a lone batch is written at once, and what is queued while
//! a sync runs becomes the next batch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Durability;
use super::error::{LogError, Result};
use super::format::{self, FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADER_BYTES};
use super::queue::{Batch, CachedEntries};
use super::segment::Segment;
use super::shared::Shared;

/// A commit position that came with no batch is written after this time.
const COMMITTED_DELAY: Duration = Duration::from_secs(1);
/// A buffer larger than this is not kept for the next batch.
const KEPT_BUFFER_BYTES: usize = 1024 * 1024;

enum Work {
    Batch(Batch),
    Sync,
    Close,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// The segment being filled; none before the first batch.
    current: Option<Arc<Segment>>,
    /// Bytes of the current segment that are written, and that are synced.
    written: u64,
    durable: u64,
    last_sync: Instant,
    /// Written entries whose payloads are in memory, oldest first.
    cached: VecDeque<CachedEntries>,
    cached_bytes: usize,
}

impl Writer {
    pub fn new(shared: Arc<Shared>) -> Writer {
        Writer {
            shared,
            current: None,
            written: 0,
            durable: 0,
            last_sync: Instant::now(),
            cached: VecDeque::new(),
            cached_bytes: 0,
        }
    }

    /// Works until the log is closed.
    pub fn run(mut self) {
        loop {
            match self.next_work() {
                Work::Batch(batch) => self.process(batch),
                Work::Sync => {
                    if let Err(error) = self.sync() {
                        self.fail(error);
                    }
                }
                Work::Close => {
                    if let Err(error) = self.close() {
                        tracing::error!(%error, "cannot close the log");
                    }
                    return;
                }
            }
        }
    }

    fn next_work(&self) -> Work {
        let shared = &self.shared;
        let mut queue = shared.lock_queue();
        loop {
            if let Some(batch) = queue.take() {
                drop(queue);
                shared.made_room();
                return Work::Batch(batch);
            }
            let failed = queue.failed.is_some();
            if queue.closing {
                if queue.dirty_since.is_some() && !failed {
                    queue.write_dirty();
                    continue;
                }
                return Work::Close;
            }
            let sync_at =
                (self.written > self.durable && !failed).then(|| self.last_sync + shared.options.relaxed_sync_interval);
            let dirty_at = queue.dirty_since.filter(|_| !failed).map(|since| since + COMMITTED_DELAY);
            let now = Instant::now();
            if sync_at.is_some_and(|at| at <= now) {
                return Work::Sync;
            }
            if dirty_at.is_some_and(|at| at <= now) {
                queue.write_dirty();
                continue;
            }
            match sync_at.into_iter().chain(dirty_at).min() {
                Some(at) => {
                    shared.work.wait_until(&mut queue, at);
                }
                None => shared.work.wait(&mut queue),
            }
        }
    }

    fn process(&mut self, mut batch: Batch) {
        let result = self.write(&mut batch);
        if let Err(error) = &result {
            // Before anybody hears of it, so that whoever asks why finds the answer.
            self.fail(error.clone());
        }
        for done in batch.callbacks.drain(..) {
            done(result.clone());
        }
        if result.is_err() {
            return;
        }
        for cached in batch.cached.drain(..) {
            self.cached_bytes += cached.bytes;
            self.cached.push_back(cached);
        }
        self.trim_cache();
        if batch.collect
            && let Err(error) = self.collect()
        {
            self.fail(error);
        }
        if batch.bytes.capacity() <= KEPT_BUFFER_BYTES {
            self.shared.lock_queue().free_buffer = batch.bytes;
        }
        if self.written > self.shared.options.segment_bytes / 2 {
            self.shared.prepare_spare();
        }
    }

    fn write(&mut self, batch: &mut Batch) -> Result<()> {
        // A batch that was taken while another one failed must not be written behind a gap.
        if let Some(error) = self.shared.lock_queue().failed.clone() {
            return Err(error);
        }
        let current = match (&self.current, batch.starts_segment) {
            (Some(current), false) => Arc::clone(current),
            _ => self.start_segment(batch.start.segment)?,
        };
        let length = batch.bytes.len();
        let header = FrameHeader {
            length: u32::try_from(length - FRAME_HEADER_BYTES)
                .map_err(|_| LogError::Misuse { group: 0, what: format!("a batch of {length} bytes") })?,
            durable_offset: self.durable,
            records: batch.records,
        };
        batch.bytes[..FRAME_HEADER_BYTES].copy_from_slice(&format::encode_frame_header(current.sequence, header));
        self.shared.disk.write(&current.file, &current.path, &batch.bytes, batch.start.offset)?;
        self.written = batch.start.offset + length as u64;
        let counters = &self.shared.counters;
        counters.batches.fetch_add(1, Relaxed);
        counters.records.fetch_add(u64::from(batch.records), Relaxed);
        counters.bytes.fetch_add(length as u64, Relaxed);
        if batch.must_sync || self.shared.options.durability == Durability::Fsync {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        if let Some(current) = &self.current
            && self.written > self.durable
        {
            self.shared.disk.sync_data(&current.file, &current.path)?;
            self.shared.counters.syncs.fetch_add(1, Relaxed);
            self.durable = self.written;
        }
        self.last_sync = Instant::now();
        Ok(())
    }

    /// Finishes the current segment and makes the next one. The order matters: a segment that is followed by
    /// another one is complete on the disk.
    fn start_segment(&mut self, sequence: u64) -> Result<Arc<Segment>> {
        self.sync()?;
        if let Some(current) = &self.current {
            current.seal(&self.shared.disk, self.written)?;
        }
        let spare = self.shared.take_spare()?;
        let segment = Arc::new(Segment::create(&self.shared.disk, &self.shared.dir, sequence, spare)?);
        self.shared.segments.write().insert(sequence, Arc::clone(&segment));
        self.written = SEGMENT_HEADER_BYTES as u64;
        self.durable = self.written;
        self.current = Some(Arc::clone(&segment));
        Ok(segment)
    }

    /// Remembers the first failure and refuses everything that is queued.
    fn fail(&mut self, error: LogError) {
        tracing::error!(%error, "the log cannot be written any more");
        let mut queue = self.shared.lock_queue();
        let error = queue.failed.get_or_insert(error).clone();
        let batches = std::mem::take(&mut queue.batches);
        queue.queued_bytes = 0;
        drop(queue);
        self.shared.mark_failed();
        self.shared.made_room();
        for done in batches.into_iter().flat_map(|batch| batch.callbacks) {
            done(Err(error.clone()));
        }
    }

    /// Lets the oldest written payloads go while there is more than the cache may hold.
    fn trim_cache(&mut self) {
        while self.cached_bytes > self.shared.options.cache_bytes {
            let Some(oldest) = self.cached.pop_front() else { break };
            // Whoever holds the index may be waiting for the queue, hence for this thread: try again later.
            let Some(mut index) = oldest.group.index.try_lock() else {
                self.cached.push_front(oldest);
                break;
            };
            index.forget_payloads(oldest.indexes.clone(), oldest.end);
            drop(index);
            self.cached_bytes -= oldest.bytes;
        }
    }

    /// Deletes the oldest segments that hold no entry any more. What made them unnecessary is written and synced first:
    /// as long as some of it is queued nothing goes, for its batch will ask again.
    fn collect(&mut self) -> Result<()> {
        self.sync()?;
        let Some(current) = &self.current else { return Ok(()) };
        let mut needed = current.sequence;
        let groups: Vec<_> = self.shared.groups.lock().values().cloned().collect();
        for group in groups {
            if let Some(first) = group.index.lock().first_segment() {
                needed = needed.min(first);
            }
        }
        // Changes of an index are queued while it is locked: what was seen above is queued here, or written.
        if self.shared.lock_queue().batches.iter().any(|batch| batch.collect) {
            return Ok(());
        }
        let unneeded: Vec<_> = {
            let mut segments = self.shared.segments.write();
            let kept = segments.split_off(&needed);
            std::mem::replace(&mut *segments, kept).into_values().collect()
        };
        // Oldest first: what is left after a crash is the end of the log without holes.
        for segment in unneeded {
            std::fs::remove_file(&segment.path).map_err(|error| LogError::io("remove", &segment.path, &error))?;
        }
        Ok(())
    }

    /// Syncs, and adds an empty frame that vouches for everything before it: after an orderly end, damage
    /// cannot be mistaken for the trace of a crash.
    fn close(&mut self) -> Result<()> {
        if self.shared.lock_queue().failed.is_some() {
            return Ok(());
        }
        self.sync()?;
        if let Some(current) = &self.current {
            let header = FrameHeader { length: 0, durable_offset: self.durable, records: 0 };
            let frame = format::encode_frame_header(current.sequence, header);
            self.shared.disk.write(&current.file, &current.path, &frame, self.written)?;
            self.written += frame.len() as u64;
            current.seal(&self.shared.disk, self.written)?;
        }
        Ok(())
    }
}
