//! Sorting of more records than there is memory for: what does not fit goes to disk in sorted runs, which are merged.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SpillFile, SpillWriter};
use datafusion::physical_plan::metrics::SpillMetrics;
use stratos_types::{Error, Result};

use super::context::StatementContext;
use super::error::error_from;

/// Memory is taken in pieces of as much as is held already, between these bounds.
const PIECE_BYTES_MIN: usize = 16 << 10;
const PIECE_BYTES_MAX: usize = 256 << 10;
/// What is read or written of a run at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// Most runs that are merged at once, and the fewest that bring it forward.
const MERGED_MAX: usize = 128;
const MERGED_MIN: usize = 2;
/// Records between two looks at whether somebody still waits.
const RECORDS_PER_CHECK: usize = 4096;
/// In a run the lengths of key and payload stand before them.
const LENGTHS_BYTES: usize = 8;

/// A key, whose bytes are in the order of the records, and what comes along with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub key: &'a [u8],
    pub payload: &'a [u8],
}

/// Takes records, and gives them back by key; those with one key as they came.
pub(super) struct Sorter {
    statement: Arc<StatementContext>,
    spills: SpillMetrics,
    memory: MemoryReservation,
    held: Held,
    runs: Vec<Run>,
    records: usize,
    /// How many it has given back: those that it holds, sorted, or those that it merges.
    next: usize,
    merge: Option<Merge>,
}

/// Records in memory.
#[derive(Default)]
struct Held {
    pieces: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    /// Bytes of the pieces.
    bytes: usize,
}

/// Where a record lies.
#[derive(Clone, Copy)]
struct Entry {
    /// The first bytes of the key, as a number of the same order.
    prefix: u64,
    piece: u32,
    at: u32,
    key: u32,
    payload: u32,
}

impl Held {
    fn record(&self, entry: &Entry) -> Record<'_> {
        let bytes = self.pieces.get(entry.piece as usize).and_then(|piece| piece.get(entry.at as usize..));
        let (key, rest) = bytes.and_then(|bytes| bytes.split_at_checked(entry.key as usize)).unwrap_or_default();
        Record { key, payload: rest.get(..entry.payload as usize).unwrap_or_default() }
    }

    fn sort(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| {
            let by_key = a.prefix.cmp(&b.prefix).then_with(|| self.record(a).key.cmp(self.record(b).key));
            // Of one key, as they came.
            by_key.then_with(|| (a.piece, a.at).cmp(&(b.piece, b.at)))
        });
        self.entries = entries;
    }

    /// Bytes of a new piece in which `len` bytes have room; none where the last one has.
    fn piece_for(&self, len: usize) -> usize {
        match self.pieces.last() {
            Some(last) if last.capacity() - last.len() >= len => 0,
            _ => self.bytes.clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX).max(len),
        }
    }
}

fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

impl Sorter {
    pub fn new(statement: &Arc<StatementContext>, name: &str, spills: SpillMetrics) -> Sorter {
        let memory = MemoryConsumer::new(name).with_can_spill(true).register(statement.runtime.memory_pool());
        Sorter {
            statement: statement.clone(),
            spills,
            memory,
            held: Held::default(),
            runs: Vec::new(),
            records: 0,
            next: 0,
            merge: None,
        }
    }

    /// Records that it has taken.
    pub fn len(&self) -> usize {
        self.records
    }

    /// # Errors
    /// 53200 where not even one record finds room, the disk's, cancellation.
    pub fn push(&mut self, key: &[u8], payload: &[u8]) -> Result<()> {
        if self.records.is_multiple_of(RECORDS_PER_CHECK) {
            self.statement.eval.check_canceled()?;
        }
        let len = key.len() + payload.len();
        if let Err(error) = self.reserve(len) {
            if self.held.entries.is_empty() {
                return Err(error_from(error));
            }
            self.spill()?;
            self.reserve(len).map_err(error_from)?;
        }
        let piece = self.held.pieces.len() - 1;
        let bytes = &mut self.held.pieces[piece];
        self.held.entries.push(Entry {
            prefix: prefix(key),
            piece: piece as u32,
            at: bytes.len() as u32,
            key: key.len() as u32,
            payload: payload.len() as u32,
        });
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(payload);
        self.records += 1;
        Ok(())
    }

    /// Makes room for another record of `len` bytes.
    fn reserve(&mut self, len: usize) -> std::result::Result<(), DataFusionError> {
        let piece = self.held.piece_for(len);
        if piece > 0 {
            self.memory.try_grow(piece)?;
            self.held.pieces.push(Vec::with_capacity(piece));
            self.held.bytes += piece;
        }
        let entries = &mut self.held.entries;
        if entries.len() == entries.capacity() {
            let (before, more) = (entries.capacity(), entries.capacity().max(64));
            // For a moment there are both.
            self.memory.try_grow((before + more) * size_of::<Entry>())?;
            entries.reserve_exact(more);
            self.memory.shrink(before * size_of::<Entry>());
        }
        Ok(())
    }

    /// Writes what is in memory to the disk.
    fn spill(&mut self) -> Result<()> {
        self.statement.eval.check_canceled()?;
        self.held.sort();
        let mut run = RunWriter::new(&self.statement)?;
        for entry in &self.held.entries {
            run.write(self.held.record(entry))?;
        }
        self.runs.push(run.finish(&self.spills)?);
        self.held = Held::default();
        self.memory.free();
        Ok(())
    }

    /// All records are there: from now on [`Sorter::next`] gives them.
    ///
    /// # Errors
    /// As [`Sorter::push`]'s.
    pub fn finish(&mut self) -> Result<()> {
        if self.runs.is_empty() {
            self.held.sort();
            return Ok(());
        }
        if !self.held.entries.is_empty() {
            self.spill()?;
        }
        self.held = Held::default();
        self.memory.free();
        let mut at_once = self.runs.len().min(MERGED_MAX);
        while let Err(error) = self.memory.try_grow(at_once * BUFFER_BYTES) {
            if at_once <= MERGED_MIN {
                return Err(error_from(error));
            }
            at_once = (at_once / 2).max(MERGED_MIN);
        }
        while self.runs.len() > at_once {
            // Neighbours become one, so that equal records stay as they came.
            let mut fewer = Vec::with_capacity(self.runs.len().div_ceil(at_once));
            let mut runs = std::mem::take(&mut self.runs).into_iter().peekable();
            while runs.peek().is_some() {
                let mut merge = Merge::new(runs.by_ref().take(at_once).collect(), &self.memory)?;
                let mut merged = RunWriter::new(&self.statement)?;
                while let Some(record) = merge.next()? {
                    merged.write(record)?;
                }
                fewer.push(merged.finish(&self.spills)?);
            }
            self.runs = fewer;
        }
        self.merge = Some(Merge::new(std::mem::take(&mut self.runs), &self.memory)?);
        Ok(())
    }

    /// The next record in order.
    ///
    /// # Errors
    /// The disk's.
    pub fn next(&mut self) -> Result<Option<Record<'_>>> {
        if self.next.is_multiple_of(RECORDS_PER_CHECK) {
            self.statement.eval.check_canceled()?;
        }
        let entry = self.held.entries.get(self.next);
        self.next += 1;
        if let Some(merge) = &mut self.merge {
            return merge.next();
        }
        Ok(entry.map(|entry| self.held.record(entry)))
    }

    /// Starts over without records.
    pub fn clear(&mut self) {
        self.runs.clear();
        (self.records, self.next) = (0, 0);
        let spilled = self.merge.take().is_some();
        self.held.entries.clear();
        if spilled || self.held.pieces.len() > 1 {
            // What a small group needs is kept for the next one.
            self.held = Held::default();
            self.memory.free();
        } else if let Some(piece) = self.held.pieces.first_mut() {
            piece.clear();
        }
    }
}

/// Sorted records on the disk. The file goes with it.
struct Run(Arc<dyn SpillFile>);

struct RunWriter {
    file: Arc<dyn SpillFile>,
    out: BufWriter<Box<dyn SpillWriter>>,
    statement: Arc<StatementContext>,
    records: usize,
}

impl RunWriter {
    fn new(statement: &Arc<StatementContext>) -> Result<RunWriter> {
        let file = statement.runtime.spill_file("sorting")?;
        let writer = file.open_writer().map_err(error_from)?;
        let out = BufWriter::with_capacity(BUFFER_BYTES, writer);
        Ok(RunWriter { file, out, statement: statement.clone(), records: 0 })
    }

    fn write(&mut self, record: Record<'_>) -> Result<()> {
        if self.records.is_multiple_of(RECORDS_PER_CHECK) {
            self.statement.eval.check_canceled()?;
        }
        self.records += 1;
        let mut lengths = [0; LENGTHS_BYTES];
        lengths[..4].copy_from_slice(&(record.key.len() as u32).to_le_bytes());
        lengths[4..].copy_from_slice(&(record.payload.len() as u32).to_le_bytes());
        let mut write = |bytes: &[u8]| self.out.write_all(bytes).map_err(io_error);
        write(&lengths)?;
        write(record.key)?;
        write(record.payload)
    }

    fn finish(mut self, spills: &SpillMetrics) -> Result<Run> {
        self.out.flush().map_err(io_error)?;
        spills.spill_file_count.add(1);
        spills.spilled_rows.add(self.records);
        spills.spilled_bytes.add(usize::try_from(self.file.size().unwrap_or(0)).unwrap_or(usize::MAX));
        Ok(Run(self.file))
    }
}

fn io_error(error: std::io::Error) -> Error {
    error_from(DataFusionError::IoError(error))
}

/// Runs as one.
struct Merge {
    sources: BinaryHeap<Source>,
    /// The first of the sources has been handed out.
    given: bool,
    memory: MemoryReservation,
}

impl Merge {
    fn new(runs: Vec<Run>, memory: &MemoryReservation) -> Result<Merge> {
        let memory = memory.new_empty();
        let mut sources = BinaryHeap::with_capacity(runs.len());
        for (number, run) in runs.into_iter().enumerate() {
            let path = run.0.path().ok_or_else(|| Error::internal("what was spilled is no file"))?;
            let input = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(io_error)?);
            let mut source = Source { number, record: Vec::new(), key: 0, charged: 0, input, _run: run };
            if source.advance(&memory)? {
                sources.push(source);
            }
        }
        Ok(Merge { sources, given: false, memory })
    }

    fn next(&mut self) -> Result<Option<Record<'_>>> {
        if std::mem::replace(&mut self.given, true)
            && let Some(mut first) = self.sources.peek_mut()
            && !first.advance(&self.memory)?
        {
            self.memory.shrink(first.charged);
            PeekMut::pop(first);
        }
        Ok(self.sources.peek().map(Source::record))
    }
}

/// A run that is read, at its present record.
struct Source {
    number: usize,
    record: Vec<u8>,
    /// Bytes of the record that are its key.
    key: usize,
    /// Bytes that are set aside for records.
    charged: usize,
    input: BufReader<File>,
    _run: Run,
}

impl Source {
    fn record(&self) -> Record<'_> {
        let (key, payload) = self.record.split_at(self.key);
        Record { key, payload }
    }

    /// Reads the next record, if there is one.
    fn advance(&mut self, memory: &MemoryReservation) -> Result<bool> {
        let mut lengths = [0; LENGTHS_BYTES];
        let read = self.input.read(&mut lengths[..1]).map_err(io_error)?;
        if read == 0 {
            return Ok(false);
        }
        self.input.read_exact(&mut lengths[1..]).map_err(io_error)?;
        let [a, b, c, d, e, f, g, h] = lengths;
        let (key, payload) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize);
        let len = key + payload;
        self.record.clear();
        if len > self.charged {
            memory.try_grow(len - self.charged).map_err(error_from)?;
            self.charged = len;
            self.record.reserve_exact(len);
        }
        self.record.resize(len, 0);
        self.input.read_exact(&mut self.record).map_err(io_error)?;
        self.key = key;
        Ok(true)
    }
}

// The heap gives the greatest first: that is the least record here, of equal ones that of the first run.

impl Ord for Source {
    fn cmp(&self, other: &Self) -> Ordering {
        other.record().key.cmp(self.record().key).then_with(|| other.number.cmp(&self.number))
    }
}

impl PartialOrd for Source {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Source {}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
    use stratos_types::ErrorKind;

    use super::*;
    use crate::engine::EngineOptions;
    use crate::lower::QueryRuntime;
    use crate::scan::MemorySource;
    use crate::session::NoSession;

    fn statement(dir: &std::path::Path, bytes: usize) -> Arc<StatementContext> {
        let options = EngineOptions { query_memory_bytes: bytes, ..EngineOptions::new(dir) };
        Arc::new(StatementContext {
            eval: NoSession::context(),
            source: Arc::new(MemorySource::default()),
            params: Arc::new([]),
            system: OnceLock::new(),
            runtime: QueryRuntime::new(&options, None).unwrap(),
            plan_only: false,
            frugal: true,
            batch_rows: crate::lower::runtime::BATCH_ROWS,
        })
    }

    /// Keys of which some repeat, some are empty and some begin alike; each payload tells when it came.
    fn records(count: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
        let key = |n: u32| match n % 7 {
            0 => Vec::new(),
            1 => format!("begins alike {}", n * 7919 % count).into_bytes(),
            _ => (n * 7919 % (count / 2)).to_be_bytes().to_vec(),
        };
        (0..count).map(|n| (key(n), n.to_be_bytes().repeat(n as usize % 5))).collect()
    }

    fn in_order(sorter: &mut Sorter) -> Vec<(Vec<u8>, Vec<u8>)> {
        sorter.finish().unwrap();
        let mut found = Vec::new();
        while let Some(record) = sorter.next().unwrap() {
            found.push((record.key.to_vec(), record.payload.to_vec()));
        }
        found
    }

    #[test]
    fn gives_back_what_it_took_by_key_and_as_it_came() {
        let dir = tempfile::tempdir().unwrap();
        // All of it in memory; in some runs; in more runs than are merged at once.
        for (bytes, spills) in [(64 << 20, false), (1 << 20, true), (200 << 10, true)] {
            let statement = statement(dir.path(), bytes);
            let mut sorter = Sorter::new(&statement, "test", SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0));
            for count in [20_000, 700, 30_000] {
                let mut records = records(count);
                for (key, payload) in &records {
                    sorter.push(key, payload).unwrap();
                }
                assert_eq!(sorter.len(), records.len());
                assert_eq!(statement.runtime.spilled().1 > 0, spills && count > 700, "{bytes} bytes, {count} records");
                records.sort_by(|a, b| a.0.cmp(&b.0));
                assert!(in_order(&mut sorter) == records, "{bytes} bytes, {count} records");
                assert!(statement.runtime.memory_used_bytes() <= bytes);
                sorter.clear();
                assert_eq!(statement.runtime.spilled(), (0, 0));
            }
            drop(sorter);
            assert_eq!(statement.runtime.memory_used_bytes(), 0);
        }
    }

    #[test]
    fn leaves_nothing_behind_in_whatever_state_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let statement = statement(dir.path(), 300 << 10);
        for finished in [false, true] {
            let mut sorter = Sorter::new(&statement, "test", SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0));
            for (key, payload) in records(20_000) {
                sorter.push(&key, &payload).unwrap();
            }
            if finished {
                sorter.finish().unwrap();
                sorter.next().unwrap();
            }
            assert!(statement.runtime.spilled().1 > 0);
            drop(sorter);
            assert_eq!((statement.runtime.spilled(), statement.runtime.memory_used_bytes()), ((0, 0), 0));
        }
    }

    #[test]
    fn a_record_that_is_larger_than_the_memory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let statement = statement(dir.path(), 1 << 20);
        let mut sorter = Sorter::new(&statement, "test", SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0));
        sorter.push(b"small", b"").unwrap();
        assert_eq!(sorter.push(&vec![0; 2 << 20], b"").unwrap_err().kind(), ErrorKind::OutOfMemory);
        assert_eq!(sorter.push(b"key", &vec![0; 2 << 20]).unwrap_err().kind(), ErrorKind::OutOfMemory);
    }
}
