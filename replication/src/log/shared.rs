//! What the handles of the log and its writer share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;

use super::LogOptions;
use super::error::{LogError, Result};
use super::group::Group;
use super::queue::Queue;
use super::segment::{Disk, Segment, SpareFile};
use super::writer::Writer;
use crate::histogram::Histogram;

/// Without a next segment prepared, this share of a segment stays reserved for what is already under way.
const RESERVE_DIVISOR: u64 = 4;
/// Free space of the disk, in bytes, below which no new work is taken: what the state machine has in memory must find its
/// place, and so must the log of what is under way.
const FREE_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// How often preparing a segment is tried again on a full disk.
const SPARE_RETRY: Duration = Duration::from_secs(1);

/// Counters since the log was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub syncs: AtomicU64,
    pub batches: AtomicU64,
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    pub sync_times: Histogram,
}

/// A prepared next segment, or why there is none.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    pub file: Option<SpareFile>,
    pub preparing: bool,
    pub failed_at: Option<Instant>,
}

pub(crate) struct Shared {
    pub dir: PathBuf,
    pub options: LogOptions,
    pub disk: Disk,
    queue: Mutex<Queue>,
    /// Taken before every other lock of the log.
    writer: Mutex<Writer>,
    /// Told when the writer has something to do.
    pub work: Notify,
    pub groups: Mutex<BTreeMap<u64, Arc<Group>>>,
    pub segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    pub counters: Counters,
    pub spare: Mutex<Spare>,
    pub spare_ready: Condvar,
    /// The next segment could not be prepared, or the log has failed: new work needs a closer look.
    troubled: AtomicBool,
    /// The disk has less free space than is to be left to what was taken on already.
    short_of_space: AtomicBool,
}

impl Shared {
    pub fn new(
        dir: PathBuf,
        options: LogOptions,
        disk: Disk,
        queue: Queue,
        groups: BTreeMap<u64, Arc<Group>>,
        segments: BTreeMap<u64, Arc<Segment>>,
    ) -> Shared {
        Shared {
            dir,
            options,
            disk,
            queue: Mutex::new(queue),
            writer: Mutex::new(Writer::new()),
            work: Notify::new(),
            groups: Mutex::new(groups),
            segments: RwLock::new(segments),
            counters: Counters::default(),
            spare: Mutex::new(Spare::default()),
            spare_ready: Condvar::new(),
            troubled: AtomicBool::new(false),
            short_of_space: AtomicBool::new(false),
        }
    }

    /// Locks the queue for a new record.
    pub fn queue(&self) -> Result<MutexGuard<'_, Queue>> {
        let queue = self.queue.lock();
        match &queue.failed {
            Some(error) => Err(error.clone()),
            None if queue.closing => Err(LogError::Closed),
            None => Ok(queue),
        }
    }

    /// Locks the queue whatever its state: for the writer.
    pub fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    pub fn wake_writer(&self) {
        self.work.notify_one();
    }

    /// Writes what is queued, and returns when there will be something to do without anybody asking for it.
    pub fn write_queued(self: &Arc<Self>) -> Option<Instant> {
        self.writer.lock().work(self)
    }

    /// Makes room in the queue when it has none, by writing it: the thread that calls may be the one that the writer is waiting
    /// for. Called without any lock, because writing takes them.
    pub fn make_room(self: &Arc<Self>) {
        loop {
            let queue = self.queue.lock();
            if queue.queued_bytes <= self.options.queue_bytes || queue.failed.is_some() || queue.closing {
                return;
            }
            drop(queue);
            self.write_queued();
        }
    }

    /// Ends the log if it is to be closed and everything is written. Nothing is queued after that.
    pub fn end_if_closing(self: &Arc<Self>) -> bool {
        let mut queue = self.queue.lock();
        if !queue.closing {
            return false;
        }
        if queue.failed.is_none() {
            queue.write_dirty();
        }
        drop(queue);
        let mut writer = self.writer.lock();
        writer.work(self);
        if let Err(error) = writer.close(self) {
            tracing::error!(%error, "cannot close the log");
        }
        true
    }

    /// Lets `check_room` look at the failure that was put into the queue.
    pub fn mark_failed(&self) {
        self.troubled.store(true, Relaxed);
    }

    pub fn segment(&self, sequence: u64) -> Result<Arc<Segment>> {
        self.segments.read().get(&sequence).cloned().ok_or_else(|| LogError::Corruption {
            path: self.dir.join(super::segment::file_name(sequence)),
            offset: 0,
            what: "the segment is not there".to_owned(),
        })
    }

    /// Refuses new work of `bytes` while it could hit a full disk halfway: once the next segment cannot be
    /// prepared, the rest of the current one is kept for what is under way.
    pub fn check_room(self: &Arc<Self>, bytes: usize) -> Result<()> {
        if self.short_of_space.load(Relaxed) {
            return match &self.queue.lock().failed {
                Some(error) => Err(error.clone()),
                None => Err(LogError::DiskFull { path: self.dir.clone() }),
            };
        }
        if !self.troubled.load(Relaxed) {
            return Ok(());
        }
        let queue = self.queue.lock();
        if let Some(error) = &queue.failed {
            return Err(error.clone());
        }
        let needed = self.options.segment_bytes / RESERVE_DIVISOR + bytes as u64;
        let refused = queue.segment_room() < needed;
        drop(queue);
        self.prepare_spare();
        match refused {
            true => Err(LogError::DiskFull { path: self.dir.clone() }),
            false => Ok(()),
        }
    }

    /// Looks how much of the disk is free.
    pub fn look_at_space(&self) {
        let free = match fs4::available_space(&self.dir) {
            Ok(free) => free,
            Err(error) => {
                tracing::debug!(%error, "cannot tell the free space of the disk");
                return;
            }
        };
        let short = free < FREE_BYTES_MIN;
        #[cfg(test)]
        let short = short || self.disk.faults.short_of_space.load(Relaxed);
        if self.short_of_space.swap(short, Relaxed) != short {
            match short {
                true => tracing::warn!(free, needed = FREE_BYTES_MIN, "the disk is full: writes are refused"),
                false => tracing::warn!(free, "the disk has space again: writes go on"),
            }
        }
    }

    /// Prepares the next segment on a thread of its own, unless that is done or under way.
    pub fn prepare_spare(self: &Arc<Self>) {
        let mut spare = self.spare.lock();
        let retry_later = spare.failed_at.is_some_and(|at| at.elapsed() < SPARE_RETRY);
        if spare.file.is_some() || spare.preparing || retry_later {
            return;
        }
        spare.preparing = true;
        drop(spare);
        let shared = Arc::clone(self);
        let started = std::thread::Builder::new().name("log-spare".to_owned()).spawn(move || {
            let result = shared.disk.prepare_spare(&shared.dir, shared.options.segment_bytes);
            shared.finish_spare(result);
        });
        if started.is_err() {
            // The writer then makes the segment itself when it needs it.
            self.spare.lock().preparing = false;
        }
    }

    fn finish_spare(&self, result: Result<SpareFile>) {
        let mut spare = self.spare.lock();
        spare.preparing = false;
        match result {
            Ok(file) => {
                spare.file = Some(file);
                spare.failed_at = None;
                self.troubled.store(self.queue.lock().failed.is_some(), Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot prepare the next log segment");
                spare.failed_at = Some(Instant::now());
                self.troubled.store(true, Relaxed);
            }
        }
        self.spare_ready.notify_all();
    }

    /// The prepared file, or one made now.
    pub fn take_spare(&self) -> Result<SpareFile> {
        let mut spare = self.spare.lock();
        while spare.preparing {
            self.spare_ready.wait(&mut spare);
        }
        match spare.file.take() {
            Some(file) => Ok(file),
            None => self.disk.prepare_spare(&self.dir, self.options.segment_bytes),
        }
    }

    /// Gives back the prepared file, and waits for one that is being prepared.
    pub fn drop_spare(&self) {
        let mut spare = self.spare.lock();
        while spare.preparing {
            self.spare_ready.wait(&mut spare);
        }
        if let Some(file) = spare.file.take()
            && let Err(error) = std::fs::remove_file(&file.path)
        {
            tracing::warn!(path = %file.path.display(), %error, "cannot remove a prepared log segment");
        }
    }
}
