//! Segment files: names, creation in advance, reading, sealing, and the one place that touches the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fs4::fs_std::FileExt as _;

use super::error::{LogError, Result};
use super::format;

const SEGMENT_SUFFIX: &str = ".log";
/// Name of a file that is being prepared; whatever it holds is worthless after a restart.
pub(crate) const SPARE_NAME: &str = "spare.tmp";

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
    pub fn create(disk: &Disk, dir: &Path, sequence: u64, spare: File) -> Result<Segment> {
        let spare_path = dir.join(SPARE_NAME);
        let path = dir.join(file_name(sequence));
        disk.write(&spare, &spare_path, &format::encode_segment_header(sequence), 0)?;
        disk.sync_all(&spare, &spare_path)?;
        std::fs::rename(&spare_path, &path).map_err(|error| LogError::io("rename", &spare_path, &error))?;
        disk.sync_directory(dir)?;
        Ok(Segment { sequence, path, file: spare })
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
    pub fn prepare_spare(&self, dir: &Path, bytes: u64) -> Result<File> {
        let path = dir.join(SPARE_NAME);
        #[cfg(test)]
        self.faults.before_write(&path, 0)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|error| LogError::io("create", &path, &error))?;
        match file.allocate(bytes) {
            Ok(()) => Ok(file),
            // Not every file system can reserve; then the file grows as it is written.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
            Err(error) => {
                // A half-allocated file would hold the space that others need; losing the name is harmless.
                let _ = std::fs::remove_file(&path);
                Err(LogError::io("allocate", &path, &error))
            }
        }
    }
}
