//! What can go wrong in the physical log.

use std::path::{Path, PathBuf};

/// Result of the log's functions.
pub type Result<T, E = LogError> = std::result::Result<T, E>;

/// An error of the physical log.
///
/// It can be copied because a failed write is *sticky*: the first failure is remembered and given to every
/// later caller. The operating system may have dropped the pages of a failed fsync, so trying again could
/// report as durable what is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk is full.
    #[error("no space left on the device for the log in {}", path.display())]
    DiskFull {
        /// The file or directory that could not grow.
        path: PathBuf,
    },
    /// The operating system reports a failure.
    #[error("cannot {action} {}: {message}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The report.
        message: String,
    },
    /// Stored bytes are not what the log wrote.
    #[error("the log file {} is damaged at byte {offset}: {what}", path.display())]
    Corruption {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// The log was written by a newer version of the program.
    #[error("the log has format {found}, but this version supports formats up to {supported}")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format that this program knows.
        supported: u32,
    },
    /// The group is not in the log, or was removed from it.
    #[error("the log has no group {group}")]
    UnknownGroup {
        /// The group asked for.
        group: u64,
    },
    /// Entries would leave a hole, overwrite others, or are asked for beyond the end: an error of the caller.
    #[error("group {group}: {what}")]
    Misuse {
        /// The group.
        group: u64,
        /// What was wrong.
        what: String,
    },
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// A failure of the operating system. A full disk is recognised.
    pub(crate) fn io(action: &'static str, path: &Path, error: &std::io::Error) -> LogError {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(error.kind(), StorageFull | QuotaExceeded) {
            return LogError::DiskFull { path: path.to_owned() };
        }
        LogError::Io { action, path: path.to_owned(), message: error.to_string() }
    }
}

impl From<LogError> for crate::error::Error {
    fn from(error: LogError) -> Self {
        match error {
            LogError::DiskFull { .. } => crate::error::Error::DiskFull,
            LogError::NewerFormat { found, supported } => crate::error::Error::NewerFormat { found, supported },
            LogError::Corruption { .. } => crate::error::Error::corruption(error.to_string()),
            LogError::Closed => crate::error::Error::ShuttingDown,
            LogError::UnknownGroup { group } => crate::error::Error::UnknownShard { shard: crate::api::ShardId(group) },
            LogError::Io { .. } | LogError::Misuse { .. } => {
                crate::error::Error::Io { context: "replicated log", message: error.to_string() }
            }
        }
    }
}

impl From<LogError> for std::io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::DiskFull { .. } => std::io::ErrorKind::StorageFull,
            LogError::Corruption { .. } => std::io::ErrorKind::InvalidData,
            LogError::UnknownGroup { .. } => std::io::ErrorKind::NotFound,
            LogError::Misuse { .. } => std::io::ErrorKind::InvalidInput,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}
