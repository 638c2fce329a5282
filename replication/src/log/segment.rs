//! Segment files: names, creation in advance, reading, sealing, and the one place that touches the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fs4::fs_std::FileExt as _;

use super::error::{LogError, Result};
use super::format;
use crate::directory::{FILE_MODE, close_file};

const SEGMENT_SUFFIX: &str = ".log";
/// A file that is being prepared is named with these and a number in between; whatever it holds is worthless
/// after a restart.
const SPARE_PREFIX: &str = "spare-";
const SPARE_SUFFIX: &str = ".tmp";
/// Every spare of the process has its own name, so that no two ever write into the same file.
static SPARES: AtomicU64 = AtomicU64::new(0);

/// One file of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub sequence: u64,
    pub path: PathBuf,
    pub file: File,
}

impl Segment {
    /// The file of `sequence`, opened for reading and writing.
    pub fn open(dir: &Path, sequence: u64) -> Result<Segment> {
        let path = dir.join(file_name(sequence));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| LogError::io("open", &path, &error))?;
        Ok(Segment { sequence, path, file })
    }

    /// Turns the spare file into the segment `sequence`, durably: when the call returns, the directory shows
    /// a segment with an intact header.
    pub fn create(disk: &Disk, dir: &Path, sequence: u64, spare: SpareFile) -> Result<Segment> {
        let path = dir.join(file_name(sequence));
        disk.write(&spare.file, &spare.path, &format::encode_segment_header(sequence), 0)?;
        disk.sync_all(&spare.file, &spare.path)?;
        std::fs::rename(&spare.path, &path).map_err(|error| LogError::io("rename", &spare.path, &error))?;
        disk.sync_directory(dir)?;
        Ok(Segment { sequence, path, file: spare.file })
    }

    /// Reads `length` bytes at `offset`.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| LogError::io("read", &self.path, &error))?;
        Ok(bytes)
    }

    /// Cuts off what follows the last frame, durably. Afterwards the file must be read to its last byte.
    pub fn seal(&self, disk: &Disk, length: u64) -> Result<()> {
        self.file.set_len(length).map_err(|error| LogError::io("truncate", &self.path, &error))?;
        disk.sync_all(&self.file, &self.path)
    }

    /// A `Corruption` in this file.
    pub fn corruption(&self, offset: u64, what: impl Into<String>) -> LogError {
        LogError::Corruption { path: self.path.clone(), offset, what: what.into() }
    }
}

/// A file with reserved space that is to become a segment.
#[derive(Debug)]
pub(crate) struct SpareFile {
    pub path: PathBuf,
    pub file: File,
}

/// Removes what was being prepared when the log was left.
pub(crate) fn remove_spares(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|error| LogError::io("list", dir, &error))? {
        let entry = entry.map_err(|error| LogError::io("list", dir, &error))?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(SPARE_PREFIX) && name.ends_with(SPARE_SUFFIX)) {
            std::fs::remove_file(entry.path()).map_err(|error| LogError::io("remove", &entry.path(), &error))?;
        }
    }
    Ok(())
}

/// The name of a segment's file; names sort as the sequence numbers do.
pub(crate) fn file_name(sequence: u64) -> String {
    format!("{sequence:016x}{SEGMENT_SUFFIX}")
}

/// The sequence numbers of the segments in `dir`, ascending. Other files are left alone.
pub(crate) fn list(dir: &Path) -> Result<Vec<u64>> {
    let unreadable = |error: &io::Error| LogError::io("list", dir, error);
    let mut sequences = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| unreadable(&error))? {
        let entry = entry.map_err(|error| unreadable(&error))?;
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(SEGMENT_SUFFIX));
        if let Some(digits) = digits.filter(|digits| digits.len() == 16)
            && let Ok(sequence) = u64::from_str_radix(digits, 16)
        {
            sequences.push(sequence);
        }
    }
    sequences.sort_unstable();
    Ok(sequences)
}

/// Every write, sync and allocation of the log goes through here, so that tests can make them fail.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub faults: super::faults::Faults,
}

impl Disk {
    pub fn write(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<()> {
        #[cfg(test)]
        self.faults.before_write(path, bytes.len())?;
        file.write_all_at(bytes, offset).map_err(|error| LogError::io("write", path, &error))
    }

    /// Brings the written bytes to the disk (and the length of the file where it is needed to read them).
    pub fn sync_data(&self, file: &File, path: &Path) -> Result<()> {
        #[cfg(test)]
        self.faults.before_sync(path)?;
        file.sync_data().map_err(|error| LogError::io("sync", path, &error))
    }

    /// Brings the file and its length to the disk.
    pub fn sync_all(&self, file: &File, path: &Path) -> Result<()> {
        #[cfg(test)]
        self.faults.before_sync(path)?;
        file.sync_all().map_err(|error| LogError::io("sync", path, &error))
    }

    /// Makes names that were created or changed in `dir` durable.
    pub fn sync_directory(&self, dir: &Path) -> Result<()> {
        let failed = |error: &io::Error| LogError::io("sync", dir, error);
        File::open(dir).map_err(|error| failed(&error))?.sync_all().map_err(|error| failed(&error))
    }

    /// An empty spare file with room for `bytes` reserved on the disk, so that writing into it cannot fail
    /// for lack of space.
    pub fn prepare_spare(&self, dir: &Path, bytes: u64) -> Result<SpareFile> {
        let path = dir.join(format!("{SPARE_PREFIX}{:08x}{SPARE_SUFFIX}", SPARES.fetch_add(1, Relaxed)));
        #[cfg(test)]
        self.faults.before_write(&path, 0)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(|error| LogError::io("create", &path, &error))?;
        close_file(&file).map_err(|error| LogError::io("close to others", &path, &error))?;
        match file.allocate(bytes) {
            Ok(()) => Ok(SpareFile { path, file }),
            // Not every file system can reserve; then the file grows as it is written.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(SpareFile { path, file }),
            Err(error) => {
                // A half-allocated file would hold the space that others need; losing the name is harmless.
                let _ = std::fs::remove_file(&path);
                Err(LogError::io("allocate", &path, &error))
            }
        }
    }
}
