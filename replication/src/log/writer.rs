//! The writer: it brings the batches of all groups to the disk, each with one sync.
//!
//! It is a task on the log's own thread, where the groups' consensus runs too. What is queued is written as soon as nothing
//! else is ready there: a lone batch is written at once, and what arrives while a sync runs becomes the next batch. Another
//! thread for the writing would cost every commit two changes of threads, one on the way to the disk and one on the way back.

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

/// Writes what is queued, until the log is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        // Whoever is ready on this thread goes first: what they append is written with the rest.
        tokio::task::yield_now().await;
        let due = shared.write_queued();
        if shared.end_if_closing() {
            return;
        }
        let work = shared.work.notified();
        match due {
            // It makes no difference which of the two it was.
            Some(at) => drop(tokio::time::timeout_at(at.into(), work).await),
            None => work.await,
        }
    }
}

/// Where the log is being written. Everything it does is done with its lock held, so that batches are written in their order.
pub(crate) struct Writer {
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
    pub fn new() -> Writer {
        Writer {
            current: None,
            written: 0,
            durable: 0,
            last_sync: Instant::now(),
            cached: VecDeque::new(),
            cached_bytes: 0,
        }
    }

    /// Writes the batches that are queued, and what is due; returns when something will be.
    pub fn work(&mut self, shared: &Arc<Shared>) -> Option<Instant> {
        let now = Instant::now();
        let mut queue = shared.lock_queue();
        if queue.dirty_since.is_some_and(|since| since + COMMITTED_DELAY <= now) && queue.failed.is_none() {
            queue.write_dirty();
        }
        let queued = queue.batches.len();
        drop(queue);
        // Not those that are queued meanwhile: others on this thread have waited longer.
        for _ in 0..queued {
            let Some(batch) = shared.lock_queue().take() else { break };
            self.process(shared, batch);
        }
        let interval = shared.options.relaxed_sync_interval;
        if self.written > self.durable
            && self.last_sync + interval <= now
            && let Err(error) = self.sync(shared)
        {
            Self::fail(shared, error);
        }
        let queue = shared.lock_queue();
        if queue.failed.is_some() {
            return None;
        }
        let sync_at = (self.written > self.durable).then(|| self.last_sync + interval);
        let dirty_at = queue.dirty_since.map(|since| since + COMMITTED_DELAY);
        sync_at.into_iter().chain(dirty_at).min()
    }

    fn process(&mut self, shared: &Arc<Shared>, mut batch: Batch) {
        let result = self.write(shared, &mut batch);
        if let Err(error) = &result {
            // Before anybody hears of it, so that whoever asks why finds the answer.
            Self::fail(shared, error.clone());
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
        self.trim_cache(shared);
        if batch.collect
            && let Err(error) = self.collect(shared)
        {
            Self::fail(shared, error);
        }
        if batch.bytes.capacity() <= KEPT_BUFFER_BYTES {
            shared.lock_queue().free_buffer = batch.bytes;
        }
        if self.written > shared.options.segment_bytes / 2 {
            shared.prepare_spare();
        }
    }

    fn write(&mut self, shared: &Shared, batch: &mut Batch) -> Result<()> {
        // A batch that was taken while another one failed must not be written behind a gap.
        if let Some(error) = shared.lock_queue().failed.clone() {
            return Err(error);
        }
        let current = match (&self.current, batch.starts_segment) {
            (Some(current), false) => Arc::clone(current),
            _ => self.start_segment(shared, batch.start.segment)?,
        };
        let length = batch.bytes.len();
        let header = FrameHeader {
            length: u32::try_from(length - FRAME_HEADER_BYTES)
                .map_err(|_| LogError::Misuse { group: 0, what: format!("a batch of {length} bytes") })?,
            durable_offset: self.durable,
            records: batch.records,
        };
        batch.bytes[..FRAME_HEADER_BYTES].copy_from_slice(&format::encode_frame_header(current.sequence, header));
        shared.disk.write(&current.file, &current.path, &batch.bytes, batch.start.offset)?;
        self.written = batch.start.offset + length as u64;
        let counters = &shared.counters;
        counters.batches.fetch_add(1, Relaxed);
        counters.records.fetch_add(u64::from(batch.records), Relaxed);
        counters.bytes.fetch_add(length as u64, Relaxed);
        if batch.must_sync || shared.options.durability == Durability::Fsync {
            self.sync(shared)?;
        }
        Ok(())
    }

    fn sync(&mut self, shared: &Shared) -> Result<()> {
        if let Some(current) = &self.current
            && self.written > self.durable
        {
            let began = Instant::now();
            shared.disk.sync_data(&current.file, &current.path)?;
            shared.counters.sync_times.record(began.elapsed());
            shared.counters.syncs.fetch_add(1, Relaxed);
            self.durable = self.written;
        }
        self.last_sync = Instant::now();
        Ok(())
    }

    /// Finishes the current segment and makes the next one. The order matters: a segment that is followed by
    /// another one is complete on the disk.
    fn start_segment(&mut self, shared: &Shared, sequence: u64) -> Result<Arc<Segment>> {
        self.sync(shared)?;
        if let Some(current) = &self.current {
            current.seal(&shared.disk, self.written)?;
        }
        let spare = shared.take_spare()?;
        let segment = Arc::new(Segment::create(&shared.disk, &shared.dir, sequence, spare)?);
        shared.segments.write().insert(sequence, Arc::clone(&segment));
        self.written = SEGMENT_HEADER_BYTES as u64;
        self.durable = self.written;
        self.current = Some(Arc::clone(&segment));
        Ok(segment)
    }

    /// Remembers the first failure and refuses everything that is queued.
    fn fail(shared: &Shared, error: LogError) {
        tracing::error!(%error, "the log cannot be written any more");
        let mut queue = shared.lock_queue();
        let error = queue.failed.get_or_insert(error).clone();
        let batches = std::mem::take(&mut queue.batches);
        queue.queued_bytes = 0;
        drop(queue);
        shared.mark_failed();
        for done in batches.into_iter().flat_map(|batch| batch.callbacks) {
            done(Err(error.clone()));
        }
    }

    /// Lets the oldest written payloads go while there is more than the cache may hold.
    fn trim_cache(&mut self, shared: &Shared) {
        while self.cached_bytes > shared.options.cache_bytes {
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
    fn collect(&mut self, shared: &Shared) -> Result<()> {
        self.sync(shared)?;
        let Some(current) = &self.current else { return Ok(()) };
        let mut needed = current.sequence;
        let groups: Vec<_> = shared.groups.lock().values().cloned().collect();
        for group in groups {
            if let Some(first) = group.index.lock().first_segment() {
                needed = needed.min(first);
            }
        }
        // Changes of an index are queued while it is locked: what was seen above is queued here, or written.
        if shared.lock_queue().batches.iter().any(|batch| batch.collect) {
            return Ok(());
        }
        let unneeded: Vec<_> = {
            let mut segments = shared.segments.write();
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
    pub fn close(&mut self, shared: &Shared) -> Result<()> {
        if shared.lock_queue().failed.is_some() {
            return Ok(());
        }
        self.sync(shared)?;
        if let Some(current) = &self.current {
            let header = FrameHeader { length: 0, durable_offset: self.durable, records: 0 };
            let frame = format::encode_frame_header(current.sequence, header);
            shared.disk.write(&current.file, &current.path, &frame, self.written)?;
            self.written += frame.len() as u64;
            current.seal(&shared.disk, self.written)?;
        }
        Ok(())
    }
}
