//! The physical log: ONE sequence of segment files for all Raft groups of a node.
//!
//! An fsync per group would divide the disk's few hundred syncs a second among the groups. Here every group
//! appends to the same file, and everything that was queued while a sync ran shares the next one.
//!
//! ```text
//!  group 1 ─┐  append, vote, commit,          ┌─ pwrite ─ fdatasync ─ callbacks of the batch
//!  group 2 ─┼─ truncate, purge ──► queue ──► writer (one task)
//!  group n ─┘  (encoded, place known)         └─ next segment, deletion of old ones
//! ```
//!
//! * [`mod@format`]: the bytes. `segment`: the files. `recover`: reading them at the start.
//! * `index`: what is known of a group in memory. `queue`, `writer`: the way to the disk.
//! * [`GroupLog`]: the log as one group sees it, which is what the consensus layer works with.
//!
//! The log has a thread of its own, with a runtime for the tasks of those who append: see `writer` and
//! [`PhysicalLog::runtime`].
//!
//! A failed write or sync is final: see [`LogError`]. Reads go on.

mod error;
#[cfg(test)]
mod faults;
pub(crate) mod format;
mod group;
mod index;
mod queue;
mod recover;
mod segment;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

pub use self::error::{LogError, Result};
pub use self::format::{ENTRY_BYTES_MAX, StoredVote};
use self::group::Group;
pub use self::group::{GroupLog, GroupState, LogEntry};
use self::queue::Queue;
use self::segment::Disk;
use self::shared::Shared;
pub use crate::api::Durability;
use crate::histogram::HistogramSnapshot;

/// Called once with the fate of a write.
pub type Done = Box<dyn FnOnce(Result<()>) + Send>;

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// What `done` with `Ok` means.
    pub durability: Durability,
    /// A segment is followed by the next one when it has reached this many bytes.
    pub segment_bytes: u64,
    /// Payloads of entries kept in memory, in bytes, for all groups together.
    pub cache_bytes: usize,
    /// Who appends while more bytes than this are queued writes them first.
    pub queue_bytes: usize,
    /// How often a relaxed log is synced.
    pub relaxed_sync_interval: Duration,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            durability: Durability::Fsync,
            segment_bytes: 64 * 1024 * 1024,
            cache_bytes: 64 * 1024 * 1024,
            queue_bytes: 256 * 1024 * 1024,
            relaxed_sync_interval: Duration::from_millis(200),
        }
    }
}

/// Counters of a log since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogMetrics {
    /// Syncs of batches.
    pub syncs: u64,
    /// Batches written.
    pub batches: u64,
    /// Records written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Segments on the disk.
    pub segments: u64,
    /// How long the syncs took.
    pub sync_times: HistogramSnapshot,
}

/// The log of a node. See the module's description.
pub struct PhysicalLog {
    shared: Arc<Shared>,
    runtime: Handle,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Stack of the log's thread, in bytes.
const THREAD_STACK_BYTES: usize = 8 << 20;

impl PhysicalLog {
    /// Opens the log in `dir`, which is created when missing, and reads it. What a crash has torn at its end
    /// is cut off.
    ///
    /// # Errors
    /// `Corruption` with file and offset for anything that a crash does not explain; `NewerFormat`; failures
    /// of the operating system.
    pub fn open(dir: &Path, options: LogOptions) -> Result<PhysicalLog> {
        Self::open_on(Disk::default(), dir, options)
    }

    fn open_on(disk: Disk, dir: &Path, options: LogOptions) -> Result<PhysicalLog> {
        crate::directory::create_durably(dir).map_err(|error| LogError::io("create", dir, &error))?;
        let recovered = recover::recover(&disk, dir)?;
        if recovered.torn_bytes > 0 {
            tracing::info!(bytes = recovered.torn_bytes, "cut off the torn end of the log");
        }
        let sequence = recovered.segments.last_key_value().map_or(1, |(last, _)| last + 1);
        let meta = recovered.groups.iter().map(|(group, index)| (*group, index.meta)).collect();
        let groups = recovered
            .groups
            .into_iter()
            .map(|(id, index)| (id, Arc::new(Group { id, index: Mutex::new(index) })))
            .collect();
        let (opened, wait_opened) = std::sync::mpsc::sync_channel(1);
        let mut queue = Queue::new(sequence, options.segment_bytes, meta);
        let first = queue.batch();
        first.collect = true;
        first.callbacks.push(Box::new(move |result| {
            // The receiver waits below; it cannot be gone.
            let _ = opened.send(result);
        }));
        let shared = Arc::new(Shared::new(dir.to_owned(), options, disk, queue, groups, recovered.segments));
        let not_started = |error| LogError::io("start the thread of", dir, &error);
        // Without a driver for sockets: waking the thread then costs no system call as long as it is awake.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .thread_name("log-blocking")
            .build()
            .map_err(not_started)?;
        let handle = runtime.handle().clone();
        let writer = writer::run(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(THREAD_STACK_BYTES)
            .spawn(move || runtime.block_on(writer))
            .map_err(not_started)?;
        let log = PhysicalLog { shared, runtime: handle, thread: Mutex::new(Some(thread)) };
        wait_opened.recv().unwrap_or(Err(LogError::Closed))?;
        Ok(log)
    }

    /// Where the tasks of those run who append and wait for it: on the log's thread, which writes when none of them is ready.
    /// What blocks or computes for long does not belong there. The tasks end when the log is closed.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The log of a group; an empty one if the group is new.
    pub fn group(&self, id: u64) -> GroupLog {
        let mut groups = self.shared.groups.lock();
        let group = groups.entry(id).or_insert_with(|| Arc::new(Group { id, index: Mutex::default() }));
        GroupLog { shared: Arc::clone(&self.shared), group: Arc::clone(group) }
    }

    /// The groups that the log knows, in ascending order.
    pub fn groups(&self) -> Vec<u64> {
        self.shared.groups.lock().keys().copied().collect()
    }

    /// Forgets a group with everything it has in the log. Handles on it are useless afterwards.
    ///
    /// # Errors
    /// The remembered failure.
    pub fn remove_group(&self, id: u64) -> Result<()> {
        // Held until the record is queued: the writer must not take the group for gone before, and a new group of the same
        // number must not be ahead of it.
        let mut groups = self.shared.groups.lock();
        let Some(group) = groups.get(&id).cloned() else { return Ok(()) };
        let mut index = group.index.lock();
        let mut queue = self.shared.queue()?;
        groups.remove(&id);
        *index = index::GroupIndex::default();
        index.removed = true;
        queue.meta.remove(&id);
        queue.push(id, &format::Record::Remove);
        queue.batch().collect = true;
        drop(queue);
        self.shared.wake_writer();
        Ok(())
    }

    /// Whether new work of `bytes` can be taken on. Asking before proposing keeps a full disk from breaking a
    /// write in the middle, so that work goes on as soon as there is space again.
    ///
    /// # Errors
    /// `DiskFull` while space lacks; the remembered failure.
    pub fn check_room(&self, bytes: usize) -> Result<()> {
        self.shared.check_room(bytes)
    }

    /// Looks how much of the disk is free: new work is refused while less is left than what has been taken on needs.
    pub fn look_at_space(&self) {
        self.shared.look_at_space();
    }

    /// What the disk shall refuse.
    #[cfg(test)]
    pub(crate) fn faults(&self) -> &faults::Faults {
        &self.shared.disk.faults
    }

    /// The failure after which nothing can be written any more.
    pub fn failure(&self) -> Option<LogError> {
        self.shared.lock_queue().failed.clone()
    }

    /// Counters since the log was opened.
    pub fn metrics(&self) -> LogMetrics {
        let counters = &self.shared.counters;
        LogMetrics {
            syncs: counters.syncs.load(Relaxed),
            batches: counters.batches.load(Relaxed),
            records: counters.records.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            segments: self.shared.segments.read().len() as u64,
            sync_times: counters.sync_times.snapshot(),
        }
    }

    /// Writes what is queued, syncs, and ends the log's thread. Everything after it is refused as `Closed`.
    ///
    /// # Errors
    /// The failure that came before.
    pub fn close(&self) -> Result<()> {
        self.shared.lock_queue().closing = true;
        self.shared.wake_writer();
        let thread = self.thread.lock().take();
        // The last owner may be a task on the thread itself, which ends when the task has let go.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the thread of the log panicked");
        }
        self.shared.drop_spare();
        match self.failure() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Drop for PhysicalLog {
    fn drop(&mut self) {
        // Whoever needs to know the outcome has called `close`.
        let _ = self.close();
    }
}

impl std::fmt::Debug for PhysicalLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PhysicalLog").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}
