//! The data directory: one process at a time, and only a program that knows its format.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Format of the data directory written by this program, and the newest that it opens.
pub const DIRECTORY_FORMAT: u32 = 1;

/// Names of the directories within.
const LOG_DIR: &str = "log";
const STATE_DIR: &str = "state";
const LOCK_FILE: &str = "LOCK";
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_FILE_NEW: &str = "FORMAT.new";
/// Content of the format file before its number.
const FORMAT_PREFIX: &str = "stratos data directory, format ";

/// What a data directory allows: everything to its owner.
const MODE: u32 = 0o700;
/// The same of a file in it.
pub(crate) const FILE_MODE: u32 = 0o600;
/// What it may not allow to anybody else. The group may look, for backups, as in PostgreSQL.
const MODE_REFUSED: u32 = 0o027;

/// A data directory that belongs to this process until the value is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Locked as long as it is open, also when the process is killed.
    _lock: File,
}

impl DataDirectory {
    /// Takes the directory, creating it when it is missing.
    ///
    /// # Errors
    /// `AlreadyRunning` with the process that holds it; `NewerFormat`; `Corruption` of the format file; `Io`
    /// with the path when it cannot be created, read or written, or holds somebody else's files.
    pub fn open(path: &Path) -> Result<DataDirectory> {
        if path.exists() && !path.is_dir() {
            return Err(at("use", path, &io::Error::from(io::ErrorKind::NotADirectory)));
        }
        create_durably(path).map_err(|error| at("create", path, &error))?;
        if !DataDirectory::is_one(path) {
            check_empty(path)?;
        }
        let lock = lock(path)?;
        // First: what another version has written is left as it is.
        check_format(path)?;
        close_to_others(path)?;
        let directory = DataDirectory { path: path.to_owned(), _lock: lock };
        for part in [directory.log(), directory.state()] {
            create_durably(&part).map_err(|error| at("create", &part, &error))?;
        }
        Ok(directory)
    }

    /// Refuses a log that is gone. For a state that has applied entries: without its log it lacks what was acknowledged last, and
    /// must not be taken for whole.
    ///
    /// # Errors
    /// `Corruption` when nothing is left of the log.
    pub fn require_log(&self) -> Result<()> {
        let log = self.log();
        let mut entries = std::fs::read_dir(&log).map_err(|error| at("read", &log, &error))?;
        if entries.next().is_none() {
            return Err(Error::corruption(format!(
                "{} is missing or empty, although {} holds data: with the log the last commits are lost",
                log.display(),
                self.state().display()
            )));
        }
        Ok(())
    }

    /// Whether a node has written its format there.
    pub fn is_one(path: &Path) -> bool {
        path.join(FORMAT_FILE).is_file()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the replicated log is.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG_DIR)
    }

    /// Where the state machine's files are.
    pub fn state(&self) -> PathBuf {
        self.path.join(STATE_DIR)
    }
}

/// What a node's data take on the disk, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DiskUse {
    /// Segments of the log, prepared ones included.
    pub log_bytes: u64,
    /// Files of the state machine.
    pub state_bytes: u64,
    /// What is free on the disk for this process; none where the system does not tell.
    pub free_bytes: Option<u64>,
}

/// Looks how much a data directory takes on the disk. Files that come and go meanwhile count or do not.
pub fn disk_use(path: &Path) -> DiskUse {
    DiskUse {
        log_bytes: bytes_in(&path.join(LOG_DIR)),
        state_bytes: bytes_in(&path.join(STATE_DIR)),
        free_bytes: fs4::available_space(path).ok(),
    }
}

/// Bytes of the files of a directory that has no directories in it.
fn bytes_in(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).filter(|file| file.is_file()).map(|file| file.len()).sum()
}

/// Creates a directory and its parents, as far as they are missing, in such a way that a crash does not forget them. What is
/// created is closed to others.
pub(crate) fn create_durably(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(io::Error::from(io::ErrorKind::NotADirectory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match std::fs::DirBuilder::new().mode(MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        // The process's umask may have taken rights from the owner.
        result => result.and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE)))?,
    }
    File::open(parent)?.sync_all()
}

/// Gives a new file the rights that it is to have, whatever the process's umask made of them.
pub(crate) fn close_file(file: &File) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(FILE_MODE))
}

/// Takes rights on the directory away from others: it holds passwords' verifiers, and everybody's rows.
fn close_to_others(path: &Path) -> Result<()> {
    let mode = std::fs::metadata(path).map_err(|error| at("look at", path, &error))?.permissions().mode();
    if mode & MODE_REFUSED == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "the data directory had mode {:04o}: now only its owner has access", mode & 0o7777);
    let closed = std::fs::Permissions::from_mode(MODE);
    std::fs::set_permissions(path, closed).map_err(|error| at("take the rights of others away from", path, &error))
}

/// A new data directory may hold only what an interrupted first start leaves, or the root of a file system has.
fn check_empty(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|error| at("read", dir, &error))? {
        let name = entry.map_err(|error| at("read", dir, &error))?.file_name();
        if ![LOCK_FILE, FORMAT_FILE_NEW, "lost+found"].iter().any(|ours| name == **ours) {
            let message =
                format!("{} is neither empty nor a data directory: it holds {}", dir.display(), name.display());
            return Err(Error::Io { context: "data directory", message });
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(|error| at("open", &path, &error))?;
    close_file(&file).map_err(|error| at("take the rights of others away from", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let pid = file.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok());
            return Err(Error::AlreadyRunning { dir: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(at("lock", &path, &error)),
    }
    let write = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(|error| at("write", &path, &error))?;
    Ok(file)
}

fn check_format(dir: &Path) -> Result<()> {
    let path = dir.join(FORMAT_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return write_format(dir, &path),
        Err(error) => return Err(at("read", &path, &error)),
    };
    let found = text.trim().strip_prefix(FORMAT_PREFIX.trim_end()).and_then(|number| number.trim().parse().ok());
    match found {
        Some(found) if found > DIRECTORY_FORMAT => Err(Error::NewerFormat { found, supported: DIRECTORY_FORMAT }),
        Some(_) => Ok(()),
        None => Err(Error::corruption(format!("{} does not name a format", path.display()))),
    }
}

fn write_format(dir: &Path, path: &Path) -> Result<()> {
    let new = dir.join(FORMAT_FILE_NEW);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
        close_file(&file)?;
        writeln!(file, "{FORMAT_PREFIX}{DIRECTORY_FORMAT}")?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|error| at("write", path, &error))
}

fn at(action: &str, path: &Path, error: &io::Error) -> Error {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return Error::DiskFull;
    }
    Error::Io { context: "data directory", message: format!("cannot {action} {}: {error}", path.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/data");
        let first = DataDirectory::open(&path).unwrap();
        match DataDirectory::open(&path) {
            Err(Error::AlreadyRunning { dir, pid }) => {
                assert_eq!((dir, pid), (path.clone(), Some(std::process::id())));
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        let again = DataDirectory::open(&path).unwrap();
        assert_eq!(again.log(), path.join("log"));
    }

    #[test]
    fn a_newer_or_unreadable_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(dir.path()).unwrap());
        let file = dir.path().join(FORMAT_FILE);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "stratos data directory, format 1\n");
        std::fs::write(&file, "stratos data directory, format 2\n").unwrap();
        let newer = DataDirectory::open(dir.path());
        assert!(matches!(newer, Err(Error::NewerFormat { found: 2, supported: 1 })), "{newer:?}");
        std::fs::write(&file, "something else").unwrap();
        assert!(matches!(DataDirectory::open(dir.path()), Err(Error::Corruption { .. })));
    }

    #[test]
    fn other_peoples_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();
        std::fs::write(dir.path().join("letter.txt"), b"dear").unwrap();
        match DataDirectory::open(dir.path()) {
            Err(Error::Io { message, .. }) => assert!(message.contains("letter.txt"), "{message}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        std::fs::remove_file(dir.path().join("letter.txt")).unwrap();
        assert!(!DataDirectory::is_one(dir.path()));
        drop(DataDirectory::open(dir.path()).unwrap());
        assert!(DataDirectory::is_one(dir.path()));
    }

    #[test]
    fn nobody_else_has_access() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/data");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        drop(DataDirectory::open(&path).unwrap());
        assert_eq!((mode(&path), mode(&path.join("log")), mode(&path.join("state"))), (0o700, 0o700, 0o700));
        assert_eq!((mode(&path.join(LOCK_FILE)), mode(&path.join(FORMAT_FILE))), (0o600, 0o600));
        for (found, kept) in [(0o755, 0o700), (0o770, 0o700), (0o750, 0o750), (0o701, 0o700)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(found)).unwrap();
            drop(DataDirectory::open(&path).unwrap());
            assert_eq!(mode(&path), kept, "found as {found:o}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        match DataDirectory::open(&file.join("data")) {
            Err(Error::Io { message, .. }) => assert!(message.contains("file/data"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}
