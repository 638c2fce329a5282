//! Reading one key.

use super::record::{self, Version};
use crate::api::Timestamp;
use crate::engine::{Engine, Family, Reads};
use crate::error::{Error, Result};

/// What a lookup among the newest versions found.
enum Found<R> {
    Answer(R),
    /// The newest version is after the snapshot.
    Newer,
    Damaged,
}

/// Calls `visit` once with what the snapshot at `ts` sees of `key`, and returns its result. The value is not
/// copied.
///
/// # Errors
/// The disk cannot be read, or holds something else than versions.
pub fn read_at<E, R>(engine: &E, key: &[u8], ts: Timestamp, visit: impl FnOnce(Option<&[u8]>) -> R) -> Result<R>
where
    E: Reads + ?Sized,
{
    let mut visit = Some(visit);
    let mut answer = |value: Option<&[u8]>| visit.take().map_or(Found::Damaged, |visit| Found::Answer(visit(value)));
    let mut found = Found::Damaged;
    engine.get(Family::Latest, key, &mut |stored| {
        found = match stored {
            None => answer(None),
            Some(bytes) => match record::decode_version(bytes) {
                None => Found::Damaged,
                Some(version) if version.ts <= ts => answer(version.value),
                Some(_) => Found::Newer,
            },
        };
    })?;
    if matches!(found, Found::Newer) {
        let mut history = History::new();
        found = match history.find(engine, key, ts)? {
            Some(value) => answer(value),
            None => answer(None),
        };
    }
    match found {
        Found::Answer(result) => Ok(result),
        Found::Newer | Found::Damaged => Err(damaged(key)),
    }
}

/// The newest version of a key.
pub type Latest<'a> = Version<'a>;

/// Calls `visit` once with the newest version of `key`, committed or deleted whenever, and returns its result.
///
/// # Errors
/// As [`read_at`].
pub fn read_latest<R>(engine: &dyn Engine, key: &[u8], visit: impl FnOnce(Option<Latest<'_>>) -> R) -> Result<R> {
    let mut visit = Some(visit);
    let mut result = None;
    engine.get(Family::Latest, key, &mut |stored| {
        let version = match stored.map(record::decode_version) {
            None => None,
            Some(Some(version)) => Some(version),
            Some(None) => return,
        };
        result = visit.take().map(|visit| visit(version));
    })?;
    result.ok_or_else(|| damaged(key))
}

pub(crate) fn damaged(key: &[u8]) -> Error {
    Error::corruption(format!("the record of key {} is not a version", hex(key)))
}

/// A key for a message.
pub(crate) fn hex(key: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(key.len() * 2);
    for byte in key {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Looks up versions in the history, one cursor and one buffer for many keys.
pub(super) struct History<'a> {
    cursor: Option<Box<dyn crate::engine::Cursor + 'a>>,
    seek: Vec<u8>,
}

impl<'a> History<'a> {
    pub(super) fn new() -> History<'a> {
        History { cursor: None, seek: Vec::new() }
    }

    /// The value that `key` had at `ts`: `None` when it had no version then, `Some(None)` when deleted.
    pub(super) fn find<E>(&mut self, engine: &'a E, key: &[u8], ts: Timestamp) -> Result<Option<Option<&[u8]>>>
    where
        E: Reads + ?Sized,
    {
        let cursor = match &mut self.cursor {
            Some(cursor) => cursor,
            none => none.insert(engine.cursor(Family::History, &[], None)?),
        };
        self.seek.clear();
        self.seek.extend_from_slice(key);
        self.seek.extend_from_slice(&record::history_suffix(ts));
        cursor.seek(&self.seek)?;
        let Some((found, value)) = cursor.item() else {
            return Ok(None);
        };
        if found.len() != self.seek.len() || !found.starts_with(key) {
            return Ok(None);
        }
        let (superseded, value) = record::decode_superseded(value).ok_or_else(|| damaged(found))?;
        Ok((superseded > ts).then_some(value))
    }
}
