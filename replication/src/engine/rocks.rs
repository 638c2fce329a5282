//! The engine on disk: one RocksDB, a column family per [`Family`], no write-ahead log, flushes of all families
//! together.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::Arc;

use rocksdb::compaction_filter::{CompactionFilter, Decision};
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{
    BlockBasedOptions, BlockBasedTablePinningTier, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRawIterator, DataBlockIndexType, Env, ErrorKind, FlushOptions, Options, Range, ReadOptions, ReadTier, Snapshot,
    WriteBatch, WriteOptions,
};

use super::gc::is_garbage;
use super::{Batch, BatchOp, Cursor, Engine, Family, GcRange, GcThresholds, Reads};
use crate::error::{Error, Result};

/// Bits of the Bloom filters per key: 1 % of lookups of missing keys read a block in vain.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Bytes of an uncompressed block. Small, because most reads want one row.
const BLOCK_BYTES: usize = 8 * 1024;
/// Keys between two that are stored whole in a block of newest versions: few, because a lookup reads its way through them.
const RESTART_INTERVAL: i32 = 4;
/// Part of a memtable's memory that is its Bloom filter: reads of older rows then skip its skip list.
const MEMTABLE_BLOOM_RATIO: f64 = 0.05;
/// Memtables per family, including those being flushed, before writers wait.
const MEMTABLES_MAX: i32 = 4;
/// Memtable bytes of the families of small items.
const SMALL_MEMTABLE_BYTES: usize = 16 * 1024 * 1024;
/// From this size on, a batch is written with a hint for each family.
const HINTED_BATCH_BYTES: usize = 64 * 1024;
/// Threads for flushes and compactions.
const BACKGROUND_JOBS: i32 = 2;
/// Open files; each costs a file descriptor and its index's bookkeeping.
const OPEN_FILES_MAX: i32 = 2048;
/// Bytes of a flushed or compacted file that go to the disk at a time, so that its end is not one long wait.
const SYNC_BYTES: u64 = 1024 * 1024;
/// Files older than this are rewritten even without cause, so that garbage in data at rest goes away.
const PERIODIC_COMPACTION_SECONDS: u64 = 24 * 60 * 60;
/// Old info logs of RocksDB that are kept, and their size.
const INFO_LOGS_MAX: usize = 4;
const INFO_LOG_BYTES: usize = 4 * 1024 * 1024;

/// How much memory the engine may use.
#[derive(Clone, Copy, Debug)]
pub struct RocksOptions {
    /// Memory for cached blocks, in bytes.
    pub cache_bytes: usize,
    /// Memory of one table of recent writes, in bytes.
    pub memtable_bytes: usize,
}

impl Default for RocksOptions {
    fn default() -> RocksOptions {
        RocksOptions { cache_bytes: 256 * 1024 * 1024, memtable_bytes: 64 * 1024 * 1024 }
    }
}

/// An engine on disk.
pub struct RocksEngine {
    db: DB,
    gc: Arc<GcThresholds>,
    write_options: WriteOptions,
    bulk_options: WriteOptions,
    read_options: ReadOptions,
}

impl RocksEngine {
    /// Opens the engine in `dir`, and creates it when there is none.
    ///
    /// # Errors
    /// `AlreadyRunning` when another process has it open, `DiskFull`, `Io`, `Corruption`.
    pub fn open(dir: &Path, options: RocksOptions) -> Result<RocksEngine> {
        let gc = Arc::new(GcThresholds::default());
        // Its lookups take no lock, unlike the LRU cache's. Without an estimate of its entries' size its table grows as needed.
        let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
        let families = Family::ALL
            .map(|family| ColumnFamilyDescriptor::new(family.name(), family_options(family, options, &cache, &gc)));
        let db = DB::open_cf_descriptors(&database_options(), dir, families).map_err(|error| {
            // RocksDB tells a held lock apart only in the text of an IO error.
            if error.kind() == ErrorKind::IOError && error.as_ref().contains("lock ") {
                return Error::AlreadyRunning { dir: dir.to_path_buf(), pid: None };
            }
            rocks_error("opening the store", &error)
        })?;
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let mut bulk_options = WriteOptions::default();
        bulk_options.disable_wal(true);
        bulk_options.set_memtable_insert_hint_per_batch(true);
        Ok(RocksEngine { db, gc, write_options, bulk_options, read_options: ReadOptions::default() })
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("all families are opened with the database")
    }

    /// Copies what a crash right now would leave.
    #[cfg(test)]
    pub(crate) fn copy_files(&self, to: &Path) {
        self.db.disable_file_deletions().expect("file deletions can be disabled");
        // A file that gets its name, or comes, meanwhile (a manifest with the file that names it) makes a mixture of two moments.
        while !self.copy_files_once(to).expect("the files can be copied") {
            std::fs::remove_dir_all(to).expect("the copy can be removed");
            std::fs::create_dir(to).expect("the directory can be made");
        }
        self.db.enable_file_deletions().expect("file deletions can be enabled");
    }

    /// Whether the files stayed the same ones.
    #[cfg(test)]
    fn copy_files_once(&self, to: &Path) -> std::io::Result<bool> {
        let list = || -> std::io::Result<std::collections::BTreeSet<_>> {
            std::fs::read_dir(self.db.path())?.map(|file| Ok(file?.file_name())).collect()
        };
        let before = list()?;
        let mut files: Vec<_> = before.iter().filter(|name| *name != "LOCK").collect();
        // Files named by a copied manifest are all still there when their turn comes.
        files.sort_by_key(|file| !file.to_string_lossy().contains("MANIFEST"));
        for name in files {
            match std::fs::copy(self.db.path().join(name), to.join(name)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                copied => copied?,
            };
        }
        Ok(list()? == before)
    }

    /// A number that RocksDB keeps about itself, summed over the families.
    pub fn property(&self, name: &str) -> u64 {
        Family::ALL
            .iter()
            .filter_map(|family| self.db.property_int_value_cf(self.family(*family), name).ok().flatten())
            .sum()
    }
}

impl std::fmt::Debug for RocksEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RocksEngine").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Without a log of its own the families would otherwise be on disk as of different moments.
    options.set_atomic_flush(true);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    // Compactions can wait for statements; flushes cannot.
    if let Ok(mut environment) = Env::new() {
        environment.lower_thread_pool_cpu_priority();
        options.set_env(&environment);
    }
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_bytes_per_sync(SYNC_BYTES);
    options.set_keep_log_file_num(INFO_LOGS_MAX);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options
}

fn family_options(family: Family, sizes: RocksOptions, cache: &Cache, gc: &Arc<GcThresholds>) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    // Every read needs them: looking them up in the cache each time would cost more than the search in them.
    table.set_unpartitioned_pinning_tier(BlockBasedTablePinningTier::All);
    table.set_format_version(6);
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_max_write_buffer_number(MEMTABLES_MAX);
    options.set_write_buffer_size(SMALL_MEMTABLE_BYTES.min(sizes.memtable_bytes));
    match family {
        Family::Latest => {
            table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
            table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            table.set_block_restart_interval(RESTART_INTERVAL);
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
            options.set_memtable_whole_key_filtering(true);
            options.set_write_buffer_size(sizes.memtable_bytes);
        }
        // All families are flushed together, so the smallest memtable must not fill first: a large commit goes through the
        // locks as a whole.
        Family::History | Family::Locks => options.set_write_buffer_size(sizes.memtable_bytes),
        Family::Txns => {
            table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
            // Every commit asks for a transaction that is almost never there.
            options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
            options.set_memtable_whole_key_filtering(true);
        }
        Family::Meta => {}
    }
    options.set_block_based_table_factory(&table);
    if matches!(family, Family::Latest | Family::History | Family::Txns) {
        options.set_periodic_compaction_seconds(PERIODIC_COMPACTION_SECONDS);
        options.set_compaction_filter_factory(GcFilterFactory { family, gc: Arc::clone(gc), name: filter_name() });
    }
    options
}

fn filter_name() -> CString {
    CString::from(c"stratos-gc")
}

fn rocks_error(context: &'static str, error: &rocksdb::Error) -> Error {
    let message: &str = error.as_ref();
    if message.contains("No space left on device") {
        return Error::DiskFull;
    }
    match error.kind() {
        ErrorKind::Corruption => Error::corruption(format!("{context}: {message}")),
        ErrorKind::ShutdownInProgress => Error::ShuttingDown,
        _ => Error::Io { context, message: message.to_owned() },
    }
}

impl Reads for RocksEngine {
    fn get(&self, family: Family, key: &[u8], visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        let value = self
            .db
            .get_pinned_cf_opt(self.family(family), key, &self.read_options)
            .map_err(|error| rocks_error("reading a key", &error))?;
        visit(value.as_deref());
        Ok(())
    }

    fn cursor<'a>(&'a self, family: Family, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        let iterator = self.db.raw_iterator_cf_opt(self.family(family), bounds(start, end));
        Ok(Box::new(RocksCursor { iterator }))
    }
}

fn bounds(start: &[u8], end: Option<&[u8]>) -> ReadOptions {
    let mut options = ReadOptions::default();
    if !start.is_empty() {
        options.set_iterate_lower_bound(start);
    }
    if let Some(end) = end {
        // RocksDB wants ordered bounds; an empty span stays empty when both are the start.
        options.set_iterate_upper_bound(end.max(start));
    }
    options
}

impl Engine for RocksEngine {
    fn view<'a>(&'a self) -> Box<dyn Reads + 'a> {
        Box::new(RocksView { engine: self, snapshot: self.db.snapshot() })
    }

    fn write(&self, batch: &Batch) -> Result<()> {
        // A large batch comes in runs of ascending keys, where the place of the last one tells that of the next.
        let options = if batch.bytes() >= HINTED_BATCH_BYTES { &self.bulk_options } else { &self.write_options };
        let families = Family::ALL.map(|family| self.family(family));
        let mut writes = WriteBatch::with_capacity_bytes(batch.bytes() + 64);
        for (family, operation) in batch.operations() {
            let handle = families[family as usize];
            match operation {
                BatchOp::Put(key, value) => writes.put_cf(handle, key, value),
                BatchOp::Delete(key) => writes.delete_cf(handle, key),
                BatchOp::DeleteRange(start, end) => writes.delete_range_cf(handle, start, end),
            }
        }
        self.db.write_opt(writes, options).map_err(|error| rocks_error("writing", &error))
    }

    fn flush(&self) -> Result<()> {
        let families = Family::ALL.map(|family| self.family(family));
        let families: Vec<&&ColumnFamily> = families.iter().collect();
        self.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|error| rocks_error("flushing", &error))
    }

    fn get_flushed(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::Persisted);
        self.db.get_cf_opt(self.family(family), key, &options).map_err(|error| rocks_error("reading a key", &error))
    }

    fn approximate_bytes(&self, family: Family, start: &[u8], end: &[u8]) -> u64 {
        if start >= end {
            return 0;
        }
        let sizes = self.db.get_approximate_sizes_cf(self.family(family), &[Range::new(start, end)]);
        sizes.into_iter().sum()
    }

    fn compact(&self, family: Family, start: &[u8], end: &[u8]) {
        let mut options = rocksdb::CompactOptions::default();
        // Without this the lowest level is left alone, and with it most of the garbage.
        options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
        self.db.compact_range_cf_opt(self.family(family), Some(start), Some(end), &options);
    }

    fn gc(&self) -> &GcThresholds {
        &self.gc
    }
}

struct RocksView<'a> {
    engine: &'a RocksEngine,
    snapshot: Snapshot<'a>,
}

impl Reads for RocksView<'_> {
    fn get(&self, family: Family, key: &[u8], visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<()> {
        let value = self
            .snapshot
            .get_pinned_cf(self.engine.family(family), key)
            .map_err(|error| rocks_error("reading a key", &error))?;
        visit(value.as_deref());
        Ok(())
    }

    fn cursor<'a>(&'a self, family: Family, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>> {
        let iterator = self.snapshot.raw_iterator_cf_opt(self.engine.family(family), bounds(start, end));
        Ok(Box::new(RocksCursor { iterator }))
    }
}

struct RocksCursor<'a> {
    iterator: DBRawIterator<'a>,
}

impl RocksCursor<'_> {
    /// An iterator that stops may have reached its end, or failed.
    fn settled(&self) -> Result<()> {
        if self.iterator.valid() {
            return Ok(());
        }
        self.iterator.status().map_err(|error| rocks_error("reading a range", &error))
    }
}

impl Cursor for RocksCursor<'_> {
    fn seek_first(&mut self) -> Result<()> {
        self.iterator.seek_to_first();
        self.settled()
    }

    fn seek_last(&mut self) -> Result<()> {
        self.iterator.seek_to_last();
        self.settled()
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.iterator.seek(key);
        self.settled()
    }

    fn next(&mut self) -> Result<()> {
        self.iterator.next();
        self.settled()
    }

    fn prev(&mut self) -> Result<()> {
        self.iterator.prev();
        self.settled()
    }

    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.iterator.item()
    }
}

/// Makes a filter per compaction, which sees the thresholds as of the compaction's start.
struct GcFilterFactory {
    family: Family,
    gc: Arc<GcThresholds>,
    name: CString,
}

impl CompactionFilterFactory for GcFilterFactory {
    type Filter = GcFilter;

    fn create(&mut self, _context: CompactionFilterContext) -> GcFilter {
        GcFilter {
            family: self.family,
            ranges: self.gc.current(),
            gc: Arc::clone(&self.gc),
            dropped: 0,
            name: filter_name(),
        }
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}

struct GcFilter {
    family: Family,
    ranges: Arc<Vec<GcRange>>,
    gc: Arc<GcThresholds>,
    dropped: u64,
    name: CString,
}

impl CompactionFilter for GcFilter {
    fn filter(&mut self, _level: u32, key: &[u8], value: &[u8]) -> Decision {
        if is_garbage(&self.ranges, self.family, key, value) {
            self.dropped += 1;
            Decision::Remove
        } else {
            Decision::Keep
        }
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}

impl Drop for GcFilter {
    fn drop(&mut self) {
        self.gc.count_dropped(self.dropped);
    }
}
