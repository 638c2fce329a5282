//! Failures of the disk, made to order for tests.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::error::{LogError, Result};

/// What the disk shall refuse from now on.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Writing and allocating fail as on a full disk.
    pub full: AtomicBool,
    /// Syncing fails as on a broken disk.
    pub sync_fails: AtomicBool,
    /// Hardly anything of the disk is free.
    pub short_of_space: AtomicBool,
}

impl Faults {
    pub fn before_write(&self, path: &Path, _bytes: usize) -> Result<()> {
        if self.full.load(SeqCst) {
            return Err(LogError::DiskFull { path: path.to_owned() });
        }
        Ok(())
    }

    pub fn before_sync(&self, path: &Path) -> Result<()> {
        if self.sync_fails.load(SeqCst) {
            return Err(LogError::Io { action: "sync", path: path.to_owned(), message: "made to fail".to_owned() });
        }
        Ok(())
    }
}
