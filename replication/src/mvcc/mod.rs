//! Versions of keys by timestamp, and reading at a timestamp.
//!
//! The newest version of a key is kept apart from its older ones: a read of the present is one lookup behind a
//! Bloom filter, and a scan of the present has no versions to step over. When a version is overwritten it moves
//! to the history, in the same batch, together with the moment at which it was superseded.
//!
//! A read at `R` looks at the newest version first. If that is not after `R` it is the answer. Otherwise the
//! history is asked for the first version of the key at or before `R`; it is the answer if it was superseded
//! after `R`. (A deleted key whose tombstone was collected leaves a gap there, in which nothing is visible.)
//!
//! Reading needs no frozen view: between the two lookups the version that `R` sees can only move from the newest
//! to the history, never vanish, while the garbage collection threshold stays at or below `R`.

mod read;
pub mod record;
mod scan;

pub use read::{Latest, read_at, read_latest};
pub(crate) use read::{damaged, hex};
pub use scan::{VersionScan, Voids};
