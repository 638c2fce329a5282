//! The bytes of the `meta` family. Numbers are big-endian; `blob` is an LEB128 length and the bytes.
//!
//! | key                                | value                                                             |
//! |------------------------------------|-------------------------------------------------------------------|
//! | `v`                                | format version u32                                                |
//! | `d`, shard u64                     | epoch u64, has parent u8, parent u64, start blob, end blob        |
//! | `a`, shard u64                     | applied position: term u64, leader u64, index u64                 |
//! | `m`, shard u64                     | membership, opaque                                                |
//! | `g`, shard u64                     | garbage collection threshold u64                                  |
//! | `o`, shard u64                     | limit of the timestamps given out u64                             |
//! | `i`, shard u64, name               | next number of the series u64                                     |
//! | `s`, shard u64, key prefix         | rows u64, bytes u64, newest commit ts u64                         |
//! | `p`, shard u64                     | an import is under way: start blob, end blob                      |

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::api::{PrefixStatistics, ShardDescriptor, ShardId, Span, Timestamp};
use crate::command::{Reader, put_blob};
use crate::engine::{Family, Reads};
use crate::error::{Error, Result};
use crate::target::LogPosition;

/// Format of the data directory that this program writes.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const FORMAT_KEY: &[u8] = b"v";

pub(crate) mod kind {
    pub(crate) const DESCRIPTOR: u8 = b'd';
    pub(crate) const APPLIED: u8 = b'a';
    pub(crate) const MEMBERSHIP: u8 = b'm';
    pub(crate) const GC_THRESHOLD: u8 = b'g';
    pub(crate) const RESERVED_UNTIL: u8 = b'o';
    pub(crate) const SERIES: u8 = b'i';
    pub(crate) const STATISTICS: u8 = b's';
    pub(crate) const IMPORTING: u8 = b'p';

    /// What belongs to a shard and moves with it.
    pub(crate) const OF_SHARD: [u8; 7] =
        [DESCRIPTOR, APPLIED, MEMBERSHIP, GC_THRESHOLD, RESERVED_UNTIL, SERIES, STATISTICS];
}

/// Bytes of the keys that name a kind and a shard.
pub(crate) const SHARD_KEY_BYTES: usize = 9;

/// The key of a kind of record of a shard.
pub(crate) fn shard_key(kind: u8, shard: ShardId) -> [u8; SHARD_KEY_BYTES] {
    let mut key = [kind; SHARD_KEY_BYTES];
    key[1..].copy_from_slice(&shard.0.to_be_bytes());
    key
}

/// The key of a named record of a shard.
pub(crate) fn shard_key_with(kind: u8, shard: ShardId, name: &[u8]) -> Vec<u8> {
    [shard_key(kind, shard).as_ref(), name].concat()
}

/// Statistics of a prefix, and when it last changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PrefixRecord {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// No version with the prefix is newer.
    pub(crate) last_ts: Timestamp,
}

impl PrefixRecord {
    pub(crate) fn encode(self) -> [u8; 24] {
        three(self.rows, self.bytes, self.last_ts.0)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<PrefixRecord> {
        let [rows, bytes, last_ts] = decode_three(bytes)?;
        Some(PrefixRecord { rows, bytes, last_ts: Timestamp(last_ts) })
    }

    pub(crate) fn statistics(self) -> PrefixStatistics {
        PrefixStatistics { rows: self.rows, bytes: self.bytes }
    }
}

fn three(a: u64, b: u64, c: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&a.to_be_bytes());
    bytes[8..16].copy_from_slice(&b.to_be_bytes());
    bytes[16..].copy_from_slice(&c.to_be_bytes());
    bytes
}

fn decode_three(bytes: &[u8]) -> Option<[u64; 3]> {
    let bytes: &[u8; 24] = bytes.try_into().ok()?;
    let (words, _) = bytes.as_chunks::<8>();
    Some([u64::from_be_bytes(words[0]), u64::from_be_bytes(words[1]), u64::from_be_bytes(words[2])])
}

pub(crate) fn encode_position(position: LogPosition) -> [u8; 24] {
    three(position.term, position.leader, position.index)
}

pub(crate) fn decode_position(bytes: &[u8]) -> Option<LogPosition> {
    let [term, leader, index] = decode_three(bytes)?;
    Some(LogPosition { term, leader, index })
}

pub(crate) fn decode_u64(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

pub(crate) fn encode_descriptor(descriptor: &ShardDescriptor) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(&descriptor.epoch.to_be_bytes());
    out.push(u8::from(descriptor.parent.is_some()));
    out.extend_from_slice(&descriptor.parent.unwrap_or(ShardId(0)).0.to_be_bytes());
    encode_span(&mut out, &descriptor.span);
    out
}

pub(crate) fn decode_descriptor(shard: ShardId, bytes: &[u8]) -> Option<ShardDescriptor> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut reader = Reader::new(&bytes);
    let epoch = reader.u64().ok()?;
    let has_parent = reader.u8().ok()? == 1;
    let parent = ShardId(reader.u64().ok()?);
    let span = Span { start: reader.blob().ok()?, end: reader.blob().ok()? };
    reader.finish().ok()?;
    Some(ShardDescriptor { shard, span, epoch, parent: has_parent.then_some(parent) })
}

pub(crate) fn encode_span(out: &mut Vec<u8>, span: &Span) {
    put_blob(out, &span.start);
    put_blob(out, &span.end);
}

pub(crate) fn decode_span(bytes: &[u8]) -> Option<Span> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut reader = Reader::new(&bytes);
    let span = Span { start: reader.blob().ok()?, end: reader.blob().ok()? };
    reader.finish().ok()?;
    Some(span)
}

/// All that is known of a shard besides its rows and locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardState {
    pub(crate) descriptor: ShardDescriptor,
    pub(crate) applied: Option<LogPosition>,
    pub(crate) membership: Option<Bytes>,
    pub(crate) gc_threshold: Timestamp,
    pub(crate) reserved_until: Timestamp,
    pub(crate) series: BTreeMap<String, u64>,
    pub(crate) statistics: BTreeMap<Vec<u8>, PrefixRecord>,
}

impl ShardState {
    /// No version of the shard is newer.
    pub(crate) fn last_written(&self) -> Timestamp {
        self.statistics.values().map(|record| record.last_ts).max().unwrap_or_default()
    }

    /// A shard without rows or history.
    pub(crate) fn new(descriptor: ShardDescriptor) -> ShardState {
        ShardState {
            descriptor,
            applied: None,
            membership: None,
            gc_threshold: Timestamp::ZERO,
            reserved_until: Timestamp::ZERO,
            series: BTreeMap::new(),
            statistics: BTreeMap::new(),
        }
    }

    /// Reads a shard. `None`: there is no such shard.
    pub(crate) fn load(reads: &dyn Reads, shard: ShardId) -> Result<Option<ShardState>> {
        let get = |kind: u8| reads.get_copy(Family::Meta, &shard_key(kind, shard));
        let Some(descriptor) = get(kind::DESCRIPTOR)? else {
            return Ok(None);
        };
        let descriptor = decode_descriptor(shard, &descriptor).ok_or_else(|| damaged(shard, "descriptor"))?;
        let mut state = ShardState::new(descriptor);
        if let Some(bytes) = get(kind::APPLIED)? {
            state.applied = Some(decode_position(&bytes).ok_or_else(|| damaged(shard, "applied position"))?);
        }
        state.membership = get(kind::MEMBERSHIP)?.map(Bytes::from);
        if let Some(bytes) = get(kind::GC_THRESHOLD)? {
            state.gc_threshold = Timestamp(decode_u64(&bytes).ok_or_else(|| damaged(shard, "threshold"))?);
        }
        if let Some(bytes) = get(kind::RESERVED_UNTIL)? {
            state.reserved_until = Timestamp(decode_u64(&bytes).ok_or_else(|| damaged(shard, "timestamp limit"))?);
        }
        each(reads, kind::SERIES, shard, |name, value| {
            let name = std::str::from_utf8(name).ok()?.to_owned();
            state.series.insert(name, decode_u64(value)?);
            Some(())
        })?;
        each(reads, kind::STATISTICS, shard, |prefix, value| {
            state.statistics.insert(prefix.to_vec(), PrefixRecord::decode(value)?);
            Some(())
        })?;
        Ok(Some(state))
    }
}

/// Visits the named records of a shard. The visitor says `None` to a damaged one.
fn each(reads: &dyn Reads, kind: u8, shard: ShardId, mut visit: impl FnMut(&[u8], &[u8]) -> Option<()>) -> Result<()> {
    let start = shard_key(kind, shard);
    let end = crate::api::prefix_end(&start);
    let mut cursor = reads.cursor(Family::Meta, &start, Some(&end))?;
    cursor.seek_first()?;
    while let Some((key, value)) = cursor.item() {
        let name = key.get(SHARD_KEY_BYTES..).unwrap_or_default();
        visit(name, value).ok_or_else(|| damaged(shard, "series or statistics"))?;
        cursor.next()?;
    }
    Ok(())
}

pub(crate) fn damaged(shard: ShardId, what: &str) -> Error {
    Error::corruption(format!("the {what} of shard {shard} cannot be decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes on disk, frozen.
    #[test]
    fn golden_bytes() {
        assert_eq!(shard_key(kind::APPLIED, ShardId(258)), [b'a', 0, 0, 0, 0, 0, 0, 1, 2]);
        let descriptor = ShardDescriptor {
            shard: ShardId(7),
            span: Span::new(&b"a"[..], &b"bc"[..]),
            epoch: 3,
            parent: Some(ShardId(5)),
        };
        let bytes = encode_descriptor(&descriptor);
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 5, 1, b'a', 2, b'b', b'c']);
        assert_eq!(decode_descriptor(ShardId(7), &bytes), Some(descriptor));
        let record = PrefixRecord { rows: 1, bytes: 2, last_ts: Timestamp(3) };
        let bytes = record.encode();
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(PrefixRecord::decode(&bytes), Some(record));
        assert_eq!(PrefixRecord::decode(&bytes[1..]), None);
    }
}
