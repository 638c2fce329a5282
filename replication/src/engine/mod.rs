//! The ordered key-value store under the state machine: families of keys, atomic batches, cursors, views.
//!
//! Two implementations: [`RocksEngine`] on disk and [`MemoryEngine`] for simulation. Neither keeps a log of its
//! own: after a crash an engine is at the state of its last flush, whole and the same for all families, and the
//! Raft log brings it forward again.
//!
//! Cursors and views borrow the engine, so they cannot be stored; a reader that pauses opens a new cursor
//! where it stopped. Versions carry timestamps, so that two cursors opened at different moments read the same
//! snapshot.

mod batch;
mod gc;
mod memory;
mod rocks;
mod rows;

pub use batch::{Batch, BatchMark, BatchOp};
pub use gc::{GcRange, GcThresholds};
pub use memory::MemoryEngine;
pub use rocks::{RocksEngine, RocksOptions};
pub use rows::{CachedEngine, RowCacheUse};

use crate::error::Result;

/// A family of keys with its own files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The newest version of every key.
    Latest,
    /// The older versions.
    History,
    /// Writes of transactions that are not decided yet.
    Locks,
    /// How transactions ended.
    Txns,
    /// What the store knows about itself.
    Meta,
}

impl Family {
    /// All families.
    pub const ALL: [Family; 5] = [Family::Latest, Family::History, Family::Locks, Family::Txns, Family::Meta];

    /// The name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Latest => "latest",
            Family::History => "history",
            Family::Locks => "locks",
            Family::Txns => "txns",
            Family::Meta => "meta",
        }
    }

    /// The number in exports.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The family of a number.
    pub fn from_number(number: u8) -> Option<Family> {
        Family::ALL.get(usize::from(number)).copied()
    }
}

/// Reads at one moment.
pub trait Reads {
    /// Calls `visit` exactly once with the value of `key`, which is not copied.
    ///
    /// # Errors
    /// The disk cannot be read, or holds damaged blocks.
    fn get(&self, family: Family, key: &[u8], visit: &mut dyn FnMut(Option<&[u8]>)) -> Result<()>;

    /// A cursor over the keys from `start` (included) to `end` (excluded; `None`: to the last key), not yet on
    /// an item.
    ///
    /// # Errors
    /// The disk cannot be read.
    fn cursor<'a>(&'a self, family: Family, start: &[u8], end: Option<&[u8]>) -> Result<Box<dyn Cursor + 'a>>;

    /// A copy of the value of `key`.
    ///
    /// # Errors
    /// As `get`.
    fn get_copy(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut copy = None;
        self.get(family, key, &mut |value| copy = value.map(<[u8]>::to_vec))?;
        Ok(copy)
    }
}

/// A position among the items of a span, as of the moment when the cursor was made. After every movement it
/// is on an item, or past the end on that side.
pub trait Cursor {
    /// Goes to the first item.
    ///
    /// # Errors
    /// The disk cannot be read; the same for all movements.
    fn seek_first(&mut self) -> Result<()>;
    /// Goes to the last item.
    ///
    /// # Errors
    /// As `seek_first`.
    fn seek_last(&mut self) -> Result<()>;
    /// Goes to the first item whose key is at least `key`.
    ///
    /// # Errors
    /// As `seek_first`.
    fn seek(&mut self, key: &[u8]) -> Result<()>;
    /// Goes one item up. Past the end it stays there.
    ///
    /// # Errors
    /// As `seek_first`.
    fn next(&mut self) -> Result<()>;
    /// Goes one item down. Past the end it stays there.
    ///
    /// # Errors
    /// As `seek_first`.
    fn prev(&mut self) -> Result<()>;
    /// Key and value of the item.
    fn item(&self) -> Option<(&[u8], &[u8])>;
}

/// An ordered key-value store. The reads of the trait itself are of the state now, each on its own.
pub trait Engine: Reads + Send + Sync + 'static {
    /// A frozen view of all families. It holds back the removal of old data: keep it briefly.
    fn view<'a>(&'a self) -> Box<dyn Reads + 'a>;

    /// Writes all operations or none. Visible at once, on disk after a flush.
    ///
    /// # Errors
    /// The disk is full or fails. The engine then refuses further writes.
    fn write(&self, batch: &Batch) -> Result<()>;

    /// Brings all that was written before the call to the disk, all families together.
    ///
    /// # Errors
    /// The disk is full or fails.
    fn flush(&self) -> Result<()>;

    /// What a crash right now would leave of `key`.
    ///
    /// # Errors
    /// The disk cannot be read.
    fn get_flushed(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// About the bytes that the span takes on the disk.
    fn approximate_bytes(&self, family: Family, start: &[u8], end: &[u8]) -> u64;

    /// Rewrites the span now, which applies the garbage collection. Takes long on much data.
    fn compact(&self, family: Family, start: &[u8], end: &[u8]);

    /// What compactions may drop.
    fn gc(&self) -> &GcThresholds;

    /// What single records are kept in memory; nothing where there is no such cache.
    fn row_cache(&self) -> RowCacheUse {
        RowCacheUse::default()
    }
}
